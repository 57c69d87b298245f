//! Removes a customer, as people may ask of a company: from the context, and from the tickets that say who wrote.

use std::path::Path;
use std::time::Duration;

use prost::Message;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{account_name, import, listed, names_of, owner, size, touchpoints};
use crate::ledger::{LedgerError, Seq, assigned, conversations, erasure, importing, records, schema, wal};
use crate::parse::Network;
use crate::ticket::{TicketId, proto};

/// Longest wait for whoever reads an older state of the file; the daemon's commits wait meanwhile.
const TRUNCATE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Reports that one transaction removes.
const REPORTS_AT_ONCE: usize = 256;
/// Tickets that one transaction clears.
const TICKETS_AT_ONCE: usize = 32;
/// Records that one read looks through: a few MB.
const RECORDS_AT_ONCE: i64 = 4096;
/// After each of them, for the daemon to get in.
const PAUSE: Duration = Duration::from_millis(4);

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Customers: one or none.
    pub customers: u64,
    /// Accounts that were linked to them, or known to have answered others.
    pub accounts: u64,
    /// Their contacts.
    pub touchpoints: u64,
    /// Reports of helpdesks about their contacts, as received.
    pub reports: u64,
    /// Tickets that said who they are, and keep only the post.
    pub tickets: u64,
    /// Whether nothing of it is in the write-ahead log any more; else it leaves it within the daemon's next minutes.
    pub is_gone: bool,
}

/// Who is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom<'w> {
    /// The customer of this key, with the accounts that are linked to them.
    Customer(&'w str),
    /// An account that is no customer's: its network, and its name as
    /// [`account`](crate::ledger::context::account) gives it.
    Account(Network, &'w str),
}

impl<'w> Whom<'w> {
    /// The customer's key.
    fn key(self) -> Option<&'w str> {
        match self {
            Whom::Customer(key) => Some(key),
            Whom::Account(..) => None,
        }
    }
}

/// Whose this account is, by key.
///
/// # Errors
///
/// The ledger cannot be read, or is of another version.
pub fn customer_of(path: &Path, network: Network, name: &str) -> Result<Option<String>, LedgerError> {
    let (reader, found) = crate::ledger::open_to_read(path)?;
    if found < schema::VERSION {
        return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
    }
    let owner = owner(&reader, network, name);
    let owner = owner.map_err(|error| LedgerError::Sqlite { path: path.to_owned(), error })?;
    Ok(owner.map(|(_, key)| key))
}

/// Removes the customer of this key, or what is known of an account, from the ledger, beside a running daemon or without
/// one.
///
/// Their tickets keep the post, the points and who answered; what the company had told of the author goes, and the
/// evidence of the points with it. All tickets are read for that, which takes seconds for millions and keeps nobody
/// from writing. One that the daemon is about to commit meanwhile keeps it until this is called again.
///
/// # Errors
///
/// The ledger cannot be written, is of another version, or an import is under way.
pub fn forget(path: &Path, whom: Whom<'_>) -> Result<Forgotten, LedgerError> {
    let (reader, found) = crate::ledger::open_to_read(path)?;
    drop(reader);
    if found < schema::VERSION {
        return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
    }
    // An import would bring back what is removed here.
    let _lock = importing::lock(path)?;
    let (mut connection, _) = import::writable(path)?;
    remove(&mut connection, whom).map_err(|error| LedgerError::Sqlite { path: path.to_owned(), error })
}

fn remove(connection: &mut Connection, whom: Whom<'_>) -> rusqlite::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    // The reports first, since they are found by the accounts: reading all of them may take seconds, in which nobody
    // is kept from writing.
    let reading = connection.transaction()?;
    let (_, accounts) = accounts_of(&reading, whom)?;
    let theirs = reports(&reading, whom.key(), &accounts, None)?;
    let speakers = speakers(&reading, &accounts)?;
    // The last row that stays: whatever comes gets a later number.
    let mut last: i64 =
        reading.query_row("SELECT coalesce(max(rowid), 0) FROM feedback", [], |row| row.get(0))?;
    while theirs.binary_search(&last).is_ok() {
        last -= 1;
    }
    reading.finish()?;
    for some in theirs.chunks(REPORTS_AT_ONCE) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        forgotten.reports += remove_reports(&transaction, some)?;
        transaction.commit()?;
        std::thread::sleep(PAUSE);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // And what has come since.
    let (id, accounts) = accounts_of(&transaction, whom)?;
    let theirs = reports(&transaction, whom.key(), &accounts, Some(last))?;
    forgotten.reports += remove_reports(&transaction, &theirs)?;
    if let Some(id) = id {
        for (network, name) in &accounts {
            forgotten.accounts += transaction.execute(
                "DELETE FROM account WHERE network = ?1 AND name = ?2 AND customer = ?3",
                params![network, name, id],
            )? as u64;
        }
        forgotten.customers = transaction.execute("DELETE FROM customer WHERE id = ?1", [id])? as u64;
    }
    for (network, author_id) in &speakers {
        let rows = conversations::forget_helper(&transaction, *network, author_id)?;
        // A customer's are counted above.
        forgotten.accounts += u64::from(rows > 0 && id.is_none());
    }
    let mut contacts = match whom {
        Whom::Customer(key) => transaction.execute("DELETE FROM touchpoint WHERE customer = ?1", [key])?,
        Whom::Account(..) => 0,
    };
    for (network, name) in &accounts {
        contacts += transaction.execute(
            "DELETE FROM touchpoint WHERE customer = '' AND network = ?1 AND account = ?2",
            params![network, name],
        )?;
    }
    forgotten.touchpoints = contacts as u64;
    touchpoints::count(&transaction, -i64::try_from(contacts).unwrap_or_default())?;
    size::add(
        &transaction,
        -size::of_touchpoint(0).saturating_mul(i64::try_from(contacts).unwrap_or_default()),
    )?;
    transaction.commit()?;
    forgotten.tickets = clear_tickets(connection, whom.key(), &accounts)?;
    forgotten.is_gone = wal::truncate_log(connection, TRUNCATE_WAIT_MAX)?;
    Ok(forgotten)
}

/// Network and name.
type Account = (String, String);

/// The customer of this key, if there is one, with their accounts; or the account alone.
fn accounts_of(connection: &Connection, whom: Whom<'_>) -> rusqlite::Result<(Option<i64>, Vec<Account>)> {
    let key = match whom {
        Whom::Customer(key) => key,
        Whom::Account(network, name) => {
            return Ok((None, vec![(network.name().to_owned(), name.to_owned())]));
        }
    };
    let found: Option<(i64, String)> = connection
        .query_row("SELECT id, accounts FROM customer WHERE key = ?1", [key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((id, column)) = found else { return Ok((None, Vec::new())) };
    let mut accounts = Vec::new();
    for (network, name) in listed(&column) {
        // Those that have gone to somebody else are not this customer's.
        if owner(connection, network, name)?.is_some_and(|(owner, _)| owner == id) {
            accounts.push((network.name().to_owned(), name.to_owned()));
        }
    }
    Ok((Some(id), accounts))
}

/// Who of these accounts has said something in others' threads, by the id that the network gives them.
fn speakers(connection: &Connection, accounts: &[Account]) -> rusqlite::Result<Vec<(Network, String)>> {
    let mut speakers = Vec::new();
    for (network, name) in accounts {
        let Some(network) = Network::from_name(network) else { continue };
        let ids = conversations::ids_of(connection, network, name)?;
        speakers.extend(ids.into_iter().map(|id| (network, id)));
    }
    Ok(speakers)
}

/// The reports about contacts of this customer, which are kept as they came: all, or those after that row. In the order of
/// their numbers.
fn reports(
    connection: &Connection,
    key: Option<&str>,
    accounts: &[Account],
    after: Option<i64>,
) -> rusqlite::Result<Vec<i64>> {
    // All that speak of no ticket have an index; the few newest are found by their row.
    let by = if after.is_some() { "NOT INDEXED" } else { "" };
    let mut statement = connection.prepare(&format!(
        "SELECT rowid, body FROM feedback {by}
         WHERE ticket_id IS NULL AND kind = 'touchpoint' AND rowid > ?1"
    ))?;
    let mut rows = statement.query([after.unwrap_or_default()])?;
    let mut theirs: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        let report = proto::Touchpoint::decode(row.get_ref(1)?.as_blob()?).ok();
        let is_theirs = report.is_some_and(|report| {
            let name = account_name(&report.account);
            key.is_some_and(|key| report.customer.trim() == key)
                || accounts.iter().any(|(network, held)| *network == report.network && *held == name)
        });
        if is_theirs {
            theirs.push(row.get(0)?);
        }
    }
    theirs.sort_unstable();
    Ok(theirs)
}

/// Removes what tickets say of this customer, a few at a time; how many did.
fn clear_tickets(
    connection: &mut Connection,
    key: Option<&str>,
    accounts: &[Account],
) -> rusqlite::Result<u64> {
    let mut cleared = 0;
    let mut clear = |connection: &mut Connection, tickets: &[TicketId]| -> rusqlite::Result<()> {
        for some in tickets.chunks(TICKETS_AT_ONCE) {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for ticket_id in some {
                let mut is_cleared = false;
                for (seq, body) in records::bodies_of(&transaction, *ticket_id)? {
                    if let Some(body) = erasure::without_person(&body) {
                        records::replace_body(&transaction, seq, &body)?;
                        is_cleared = true;
                    }
                }
                // The same evidence is kept for the ticket's next post.
                conversations::forget_person(&transaction, *ticket_id)?;
                assigned::forget_person(&transaction, *ticket_id)?;
                cleared += u64::from(is_cleared);
            }
            transaction.commit()?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    };
    // Those of an account that was linked later say what was known of the account, and no key. It may be linked by its
    // handle, where the ticket's row has the network's id.
    let is_of_account = |post: Option<&proto::Post>| {
        let author = post.and_then(|post| Some((&post.network, post.author.as_ref()?)));
        author.is_some_and(|(network, author)| {
            let is_theirs =
                |name: String| accounts.iter().any(|(other, held)| other == network && *held == name);
            names_of(&author.id, Some(author.handle.as_str())).any(is_theirs)
        })
    };
    let key_bytes = key.map(memchr::memmem::Finder::new);
    let mut after = 0;
    loop {
        let (mut theirs, mut joined, mut is_end) = (Vec::new(), Vec::new(), true);
        {
            let mut some = connection.prepare_cached(
                "SELECT seq, kind, body, ticket_id FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = some.query([after, RECORDS_AT_ONCE])?;
            while let Some(row) = rows.next()? {
                (after, is_end) = (row.get(0)?, false);
                let body = row.get_ref(2)?.as_blob()?;
                let may_be_theirs = !accounts.is_empty()
                    || key_bytes.as_ref().is_some_and(|key_bytes| key_bytes.find(body).is_some());
                if !may_be_theirs {
                    continue;
                }
                if row.get::<_, i64>(1)? != records::KIND_TICKET {
                    let change = proto::Update::decode(body).unwrap_or_default().change;
                    let followed = match &change {
                        Some(proto::update::Change::FollowedUp(followed)) => followed.post.as_ref(),
                        _ => None,
                    };
                    if is_of_account(followed) {
                        joined.push((records::seq(row, 0)?, records::ticket_id(row, 3)?));
                    }
                    continue;
                }
                // We wrote these bytes; what does not decode says nothing.
                let ticket = proto::Ticket::decode(body).unwrap_or_default();
                let is_of_key = |person: &proto::Person| key.is_some_and(|key| person.customer == key);
                if ticket.person.as_ref().is_some_and(is_of_key) || is_of_account(ticket.post.as_ref()) {
                    theirs.push(records::ticket_id(row, 3)?);
                }
            }
        }
        if is_end {
            return Ok(cleared);
        }
        clear(connection, &theirs)?;
        clear_joined(connection, &joined)?;
    }
}

/// In a ticket of somebody else that they have joined, what is known of them stands in these updates alone.
fn clear_joined(connection: &mut Connection, updates: &[(Seq, TicketId)]) -> rusqlite::Result<()> {
    for some in updates.chunks(TICKETS_AT_ONCE) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (seq, ticket_id) in some {
            for (_, body) in records::read(&transaction, &[*seq])? {
                if let Some(body) = erasure::without_person(&body) {
                    records::replace_body(&transaction, *seq, &body)?;
                }
            }
            conversations::forget_words(&transaction, *ticket_id)?;
        }
        transaction.commit()?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn remove_reports(connection: &Connection, rowids: &[i64]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("DELETE FROM feedback WHERE rowid = ?1")?;
    rowids.iter().try_fold(0, |removed, rowid| Ok(removed + statement.execute([rowid])? as u64))
}
