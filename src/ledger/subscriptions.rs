//! Who is subscribed, what each still has to take, and the end of a subscription that nobody uses any more.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{Ledger, LedgerError, Seq, deliveries, open_to_read, prune, schema, wal};

/// Longest wait for whoever reads the ledger when a subscription is removed.
const REMOVE_WAIT_MAX: Duration = Duration::from_secs(5);

/// A durable subscription, with what it has pending under the filter that it last asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// Tickets and updates that it has not acknowledged.
    pub pending: u64,
    /// When the oldest ticket among them was made.
    pub oldest: Option<Timestamp>,
}

/// The first schema that has all that is read here.
const SINCE: i64 = 3;

/// All subscriptions of this ledger by name, whether or not a daemon uses it.
///
/// # Errors
///
/// It cannot be read, is no ledger, or is of another version than this vigie's.
pub fn list(path: &Path) -> Result<Vec<Subscription>, LedgerError> {
    let (connection, found) = open_to_read(path)?;
    if found < SINCE {
        return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
    }
    read(&connection).map_err(|source| LedgerError::Sqlite { path: path.to_owned(), error: source })
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<Subscription>> {
    let mut subscriptions = Vec::new();
    for holder in prune::holders(connection)? {
        let (mut pending, mut first) = (0, None::<Seq>);
        deliveries::unacknowledged(connection, &holder.name, 0, |head| {
            if holder.wants(&head.traits) {
                pending += 1;
                first = Some(first.map_or(head.ticket_seq, |first| first.min(head.ticket_seq)));
            }
        })?;
        let oldest = match first {
            Some(seq) => connection
                .prepare_cached("SELECT created_at_us FROM ticket WHERE seq = ?1")?
                .query_row([seq.get().cast_signed()], |row| row.get(0))
                .optional()?
                .and_then(|created_at_us| Timestamp::from_microsecond(created_at_us).ok()),
            None => None,
        };
        subscriptions.push(Subscription { name: holder.name, pending, oldest });
    }
    Ok(subscriptions)
}

impl Ledger {
    /// Ends a subscription: nothing is kept for it any more. Whether there was one of this name.
    ///
    /// A client that asks for the name again begins anew, with everything that is retained.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn remove_subscription(&mut self, name: &str) -> Result<bool, LedgerError> {
        let removed = remove(&mut self.connection, name);
        removed.map_err(|source| self.failed(source))
    }
}

fn remove(connection: &mut Connection, name: &str) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let removed = transaction.execute("DELETE FROM subscription WHERE name = ?1", [name])?;
    transaction.execute("DELETE FROM acknowledgement WHERE subscription = ?1", [name])?;
    transaction.commit()?;
    // A reader leaves it to the daemon's start.
    wal::truncate_log(connection, REMOVE_WAIT_MAX)?;
    Ok(removed > 0)
}
