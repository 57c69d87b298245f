//! Holes in the sources' streams: the newest are rows, all are counted.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::source::Gap;

/// Holes of one source whose rows are kept, the newest. The others are only counted.
pub(super) const GAPS_MAX: i64 = 1000;

pub(super) fn add_gap(
    connection: &Connection,
    source: &str,
    gap: &Gap,
    at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO gap (source, from_position, to_position, reason, noticed_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![source, gap.from, gap.to, gap.reason, at.as_microsecond()])?;
    forget_beyond(connection, source, GAPS_MAX)
}

/// Keeps the rows of the newest holes; what is known of the others goes into the source's sums.
fn forget_beyond(connection: &Connection, source: &str, kept: i64) -> rusqlite::Result<()> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM gap WHERE source = ?1 AND rowid <=
               (SELECT rowid FROM gap WHERE source = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)
             RETURNING recovered, CAST(to_position AS REAL) - from_position",
        )?
        .query_map(params![source, kept], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(bool, f64)>>>()?;
    let mut sums = connection.prepare_cached(
        "UPDATE source SET gaps_forgotten = gaps_forgotten + 1,
                gap_length_forgotten = gap_length_forgotten + ?3,
                gaps_forgotten_recovered = gaps_forgotten_recovered + ?2,
                gap_length_forgotten_recovered = gap_length_forgotten_recovered + iif(?2, ?3, 0)
         WHERE name = ?1",
    )?;
    for (is_recovered, length) in forgotten {
        sums.execute(params![source, is_recovered, length])?;
    }
    Ok(())
}

/// Marks the gaps that lie in this stretch as filled; gives their lengths.
pub(super) fn recover_gaps(
    connection: &Connection,
    source: &str,
    (from, to): (i64, i64),
) -> rusqlite::Result<Vec<f64>> {
    connection
        .prepare_cached(
            "UPDATE gap SET recovered = 1
             WHERE source = ?1 AND from_position >= ?2 AND to_position <= ?3 AND recovered = 0
             RETURNING CAST(to_position AS REAL) - from_position",
        )?
        .query_map(params![source, from, to], |row| row.get(0))?
        .collect()
}

/// The source's holes that are not filled and have rows, in the order in which they were noticed.
pub(super) fn open_gaps(connection: &Connection, source: &str) -> rusqlite::Result<Vec<Gap>> {
    connection
        .prepare_cached(
            "SELECT from_position, to_position, reason FROM gap WHERE source = ?1 AND recovered = 0
             ORDER BY rowid",
        )?
        .query_map([source], |row| Ok(Gap { from: row.get(0)?, to: row.get(1)?, reason: row.get(2)? }))?
        .collect()
}
