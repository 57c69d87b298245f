//! Removes a customer, as people may ask of a company.

use std::path::Path;
use std::time::Duration;

use prost::Message;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{account_name, import, listed, owner, size};
use crate::ledger::{LedgerError, schema, wal};
use crate::ticket::proto;

/// Longest wait for whoever reads an older state of the file; the daemon's commits wait meanwhile.
const TRUNCATE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Reports that one transaction removes.
const REPORTS_AT_ONCE: usize = 256;
/// After each of them, for the daemon to get in.
const PAUSE: Duration = Duration::from_millis(4);

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Customers: one or none.
    pub customers: u64,
    /// Accounts that were linked to them.
    pub accounts: u64,
    /// Their contacts.
    pub touchpoints: u64,
    /// Reports of helpdesks about their contacts, as received.
    pub reports: u64,
    /// Whether nothing of it is in the write-ahead log any more; else it leaves it within the daemon's next minutes.
    pub is_gone: bool,
}

/// Removes the customer of this key from the ledger, beside a running daemon or without one.
///
/// Tickets that were made say what they said until retention prunes them, or their authors delete the posts.
///
/// # Errors
///
/// The ledger cannot be written, or is of another version.
pub fn forget(path: &Path, key: &str) -> Result<Forgotten, LedgerError> {
    let (reader, found) = crate::ledger::open_to_read(path)?;
    drop(reader);
    if found < schema::VERSION {
        return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
    }
    let (mut connection, _) = import::writable(path)?;
    remove(&mut connection, key).map_err(|error| LedgerError::Sqlite { path: path.to_owned(), error })
}

fn remove(connection: &mut Connection, key: &str) -> rusqlite::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    // The reports first, since they are found by the accounts: reading all of them may take seconds, in which nobody
    // is kept from writing.
    let reading = connection.transaction()?;
    let (_, accounts) = accounts_of(&reading, key)?;
    let theirs = reports(&reading, key, &accounts, None)?;
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
    let (id, accounts) = accounts_of(&transaction, key)?;
    let theirs = reports(&transaction, key, &accounts, Some(last))?;
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
    let mut contacts = transaction.execute("DELETE FROM touchpoint WHERE customer = ?1", [key])?;
    for (network, name) in &accounts {
        contacts += transaction.execute(
            "DELETE FROM touchpoint WHERE customer = '' AND network = ?1 AND account = ?2",
            params![network, name],
        )?;
    }
    forgotten.touchpoints = contacts as u64;
    size::add(
        &transaction,
        -size::of_touchpoint(0).saturating_mul(i64::try_from(contacts).unwrap_or_default()),
    )?;
    transaction.commit()?;
    forgotten.is_gone = wal::truncate_log(connection, TRUNCATE_WAIT_MAX)?;
    Ok(forgotten)
}

/// Network and name.
type Account = (String, String);

/// The customer of this key, if there is one, with their accounts.
fn accounts_of(connection: &Connection, key: &str) -> rusqlite::Result<(Option<i64>, Vec<Account>)> {
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

/// The reports about contacts of this customer, which are kept as they came: all, or those after that row. In the order of
/// their numbers.
fn reports(
    connection: &Connection,
    key: &str,
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
            report.customer.trim() == key
                || accounts.iter().any(|(network, held)| *network == report.network && *held == name)
        });
        if is_theirs {
            theirs.push(row.get(0)?);
        }
    }
    theirs.sort_unstable();
    Ok(theirs)
}

fn remove_reports(connection: &Connection, rowids: &[i64]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("DELETE FROM feedback WHERE rowid = ?1")?;
    rowids.iter().try_fold(0, |removed, rowid| Ok(removed + statement.execute([rowid])? as u64))
}
