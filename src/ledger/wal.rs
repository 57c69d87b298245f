//! The write-ahead log: when what it holds moves into the file.

use std::time::Duration;

use rusqlite::Connection;

/// Longest wait of a statement for another process: a `vigie subscriptions --remove` that has just begun. As rusqlite.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Empties the write-ahead log into the file: what it holds of an erased text goes with it. Whether it could; a reader
/// of an older state is in the way, and is waited for so long at most.
pub(super) fn truncate_log(connection: &Connection, wait_max: Duration) -> rusqlite::Result<bool> {
    connection.busy_timeout(wait_max)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.busy_timeout(BUSY_WAIT_MAX)?;
    Ok(!is_busy?)
}

/// Copies the write-ahead log into the file, as far as no reader is in the way.
pub(super) fn copy_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
