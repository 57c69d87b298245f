//! How much of the file is context: what retention by size leaves out of its account of tickets.
//!
//! What comes and goes is added and taken off in the transaction that writes it, an import's by the pages of the file
//! that its step has taken: retention never takes a part of an import for tickets. At its end an import of customers,
//! contacts or agents counts the pages exactly, in its own process, so that the ledger's thread never counts anything.

use rusqlite::Connection;

/// What a touchpoint takes in the file beyond its texts, about: two B-trees' cells, and pages that are not full.
const TOUCHPOINT_BYTES: usize = 100;

/// The tables and indexes of the context, as `dbstat` names them.
const COUNTED: &str =
    "'customer', 'sqlite_autoindex_customer_1', 'account', 'touchpoint', 'touchpoint_age', 'agent'";

/// Bytes, as last counted and kept up since.
pub(in crate::ledger) fn bytes(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM context_size")?
        .query_row([], |row| row.get(0))
}

/// What such a touchpoint takes, about.
pub(super) fn of_touchpoint(texts_bytes: usize) -> i64 {
    i64::try_from(texts_bytes + TOUCHPOINT_BYTES).unwrap_or(i64::MAX)
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Part {
    /// Customers, contacts and agents.
    People = 1,
    /// The knowledge base.
    Articles = 2,
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

/// How large the file's used part was when a transaction began that keeps others from writing.
pub(in crate::ledger) struct Before {
    part: Part,
    used: i64,
    counted: i64,
}

impl Before {
    /// Measures at the beginning of the transaction.
    pub(in crate::ledger) fn measure(connection: &Connection, part: Part) -> rusqlite::Result<Before> {
        let counted = connection
            .prepare_cached("SELECT bytes FROM context_size WHERE id = ?1")?
            .query_row([part as i64], |row| row.get(0))?;
        Ok(Before { part, used: used(connection)?, counted })
    }

    /// Adds, at its end, what the transaction has taken or given back; in the place of what it has counted itself.
    pub(in crate::ledger) fn account(self, connection: &Connection) -> rusqlite::Result<()> {
        let bytes = (self.counted + used(connection)? - self.used).max(0);
        connection
            .prepare_cached("UPDATE context_size SET bytes = ?1 WHERE id = ?2")?
            .execute([bytes, self.part as i64])?;
        Ok(())
    }
}

/// Bytes of the pages that hold something.
fn used(connection: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name: &str| {
        let mut statement = connection.prepare_cached(&format!("PRAGMA {name}"))?;
        statement.query_row([], |row| row.get::<_, i64>(0))
    };
    Ok((pragma("page_count")? - pragma("freelist_count")?).saturating_mul(pragma("page_size")?))
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
