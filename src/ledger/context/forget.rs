//! Removes a customer, as people may ask of a company.

use std::path::Path;
use std::time::Duration;

use prost::Message;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{account_name, import, size};
use crate::ledger::{LedgerError, schema, wal};
use crate::ticket::proto;

/// Longest wait for whoever reads an older state of the file; the daemon's commits wait meanwhile.
const TRUNCATE_WAIT_MAX: Duration = Duration::from_secs(1);

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
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut forgotten = Forgotten::default();
    let id: Option<i64> = transaction
        .query_row("SELECT id FROM customer WHERE key = ?1", [key], |row| row.get(0))
        .optional()?;
    let mut accounts: Vec<(String, String)> = Vec::new();
    if let Some(id) = id {
        let mut statement = transaction.prepare("SELECT network, name FROM account WHERE customer = ?1")?;
        accounts = statement
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        forgotten.accounts = transaction.execute("DELETE FROM account WHERE customer = ?1", [id])? as u64;
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
    forgotten.reports = reports(&transaction, key, &accounts)?;
    transaction.commit()?;
    forgotten.is_gone = wal::truncate_log(connection, TRUNCATE_WAIT_MAX)?;
    Ok(forgotten)
}

/// Removes the reports about contacts of this customer, which are kept as they came.
fn reports(connection: &Connection, key: &str, accounts: &[(String, String)]) -> rusqlite::Result<u64> {
    let mut statement = connection
        .prepare("SELECT rowid, body FROM feedback WHERE ticket_id IS NULL AND kind = 'touchpoint'")?;
    let mut rows = statement.query([])?;
    let mut theirs: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(report) = proto::Touchpoint::decode(row.get_ref(1)?.as_blob()?) else { continue };
        let name = account_name(&report.account);
        let is_theirs = report.customer.trim() == key
            || accounts.iter().any(|(network, held)| *network == report.network && *held == name);
        if is_theirs {
            theirs.push(row.get(0)?);
        }
    }
    for rowid in &theirs {
        connection.prepare_cached("DELETE FROM feedback WHERE rowid = ?1")?.execute([rowid])?;
    }
    Ok(theirs.len() as u64)
}
