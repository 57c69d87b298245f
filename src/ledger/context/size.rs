//! How much of the file is context: what retention by size leaves out of its account of tickets.
//!
//! An import counts the pages exactly at its end, in its own process; what comes and goes between imports is added
//! and taken off as it is written, so that the ledger's thread never counts anything.

use rusqlite::Connection;

/// What a touchpoint takes in the file beyond its texts, about: two B-trees' cells, and pages that are not full.
const TOUCHPOINT_BYTES: usize = 100;

/// The tables and indexes of the context, as `dbstat` names them.
const COUNTED: &str = "'customer', 'sqlite_autoindex_customer_1', 'account', 'account_customer', 'touchpoint', 'touchpoint_age', 'agent'";

/// Bytes, as last counted and kept up since.
pub(in crate::ledger) fn bytes(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce((SELECT bytes FROM context_size WHERE id = 1), 0)")?
        .query_row([], |row| row.get(0))
}

/// What such a touchpoint takes, about.
pub(super) fn of_touchpoint(texts_bytes: usize) -> i64 {
    i64::try_from(texts_bytes + TOUCHPOINT_BYTES).unwrap_or(i64::MAX)
}

/// Adds what was written, or takes off what was removed.
pub(super) fn add(connection: &Connection, bytes: i64) -> rusqlite::Result<()> {
    if bytes != 0 {
        connection
            .prepare_cached("UPDATE context_size SET bytes = max(0, bytes + ?1) WHERE id = 1")?
            .execute([bytes])?;
    }
    Ok(())
}

/// Counts the pages: reads all of them, which takes about a third of a second for 500 MB.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    let pages =
        format!("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN ({COUNTED}) AND aggregate = 1");
    connection.query_row(&pages, [], |row| row.get(0))
}

/// Keeps what was counted.
pub(super) fn set(connection: &Connection, bytes: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE context_size SET bytes = ?1 WHERE id = 1", [bytes])?;
    Ok(())
}
