//! Who helps others: thanked in whose conversation, and how often.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{ANSWER, network};
use crate::desk::conversation::THANKS_COUNT_FOR_US;
use crate::ledger::{NewFollowUp, records};
use crate::parse::Network;
use crate::ticket::TicketId;

/// People that are kept as helpers, the most recent.
pub const HELPERS_MAX: usize = 10_000;

/// Calls `visit` with each thank-you: network, who was thanked, in whose ticket, when in µs since 1970; oldest first.
pub(in crate::ledger) fn thanks(
    connection: &Connection,
    mut visit: impl FnMut(Network, &str, TicketId, i64),
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare("SELECT network, author_id, ticket_id, at_us FROM thanked ORDER BY at_us, author_id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(network(row, 0)?, &row.get::<_, String>(1)?, records::ticket_id(row, 2)?, row.get(3)?);
    }
    Ok(())
}

/// Somebody who was thanked for helping others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// Where.
    pub network: Network,
    /// Who.
    pub author_id: String,
    /// How often, within the 90 days before the last time.
    pub thanked: u64,
    /// The last time.
    pub last: Timestamp,
}

/// Those who were thanked that often since then, most often first.
pub(in crate::ledger) fn helpers(
    connection: &Connection,
    thanked_min: u64,
    since: Timestamp,
) -> rusqlite::Result<Vec<Helper>> {
    connection
        .prepare_cached(
            "SELECT network, author_id, thanked, last_at_us FROM helper WHERE thanked >= ?1 AND last_at_us >= ?2
             ORDER BY thanked DESC, last_at_us DESC, author_id",
        )?
        .query_map(params![thanked_min.cast_signed(), since.as_microsecond()], |row| {
            Ok(Helper {
                network: network(row, 0)?,
                author_id: row.get(1)?,
                thanked: row.get::<_, i64>(2)?.cast_unsigned(),
                last: Timestamp::from_microsecond(row.get(3)?).unwrap_or_default(),
            })
        })?
        .collect()
}

/// The author of a ticket thanks whoever wrote this post in its thread.
pub(in crate::ledger) fn thank(
    connection: &Connection,
    new: &NewFollowUp,
    post_id: TicketId,
) -> rusqlite::Result<()> {
    let helper = connection
        .prepare_cached(
            // What names the brand may have become a ticket, and help all the same.
            "SELECT author_id FROM post WHERE id = ?1 AND kind <> ?2
             UNION ALL SELECT author_id FROM ticket WHERE id = ?1 AND erased_at_us IS NULL LIMIT 1",
        )?
        .query_row(params![post_id.as_bytes(), ANSWER], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(helper) = helper.filter(|helper| *helper != new.author_id) else { return Ok(()) };
    let (network, at_us) = (new.network.name(), new.posted_at.as_microsecond());
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO thanked (network, author_id, ticket_id, at_us) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![network, helper, new.ticket_id.as_bytes(), at_us])?;
    connection
        .prepare_cached("DELETE FROM thanked WHERE network = ?1 AND author_id = ?2 AND at_us <= ?3")?
        .execute(params![network, helper, at_us.saturating_sub(THANKS_COUNT_FOR_US)])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO helper (network, author_id, thanked, last_at_us)
             SELECT ?1, ?2, count(*), coalesce(max(at_us), ?3) FROM thanked WHERE network = ?1 AND author_id = ?2",
        )?
        .execute(params![network, helper, at_us])?;
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM helper WHERE last_at_us <=
               (SELECT last_at_us FROM helper ORDER BY last_at_us DESC LIMIT 1 OFFSET ?1)
             RETURNING network, author_id",
        )?
        .query_map([i64::try_from(HELPERS_MAX).unwrap_or(i64::MAX)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (network, author_id) in forgotten {
        connection
            .prepare_cached("DELETE FROM thanked WHERE network = ?1 AND author_id = ?2")?
            .execute([network, author_id])?;
    }
    Ok(())
}

/// What somebody said in others' threads, and what they were thanked for; in how many rows.
pub(in crate::ledger) fn forget_helper(
    connection: &Connection,
    network: Network,
    author_id: &str,
) -> rusqlite::Result<usize> {
    ["thanked WHERE true", "helper WHERE true", "post WHERE kind = 2"].iter().try_fold(0, |rows, of| {
        let forget = format!("DELETE FROM {of} AND network = ?1 AND author_id = ?2");
        Ok(rows + connection.prepare_cached(&forget)?.execute(params![network.name(), author_id])?)
    })
}

/// The ids, as networks write them, of whoever has this name in small letters and has said something in others' threads.
/// All who have are looked at.
pub(in crate::ledger) fn ids_of(
    connection: &Connection,
    network: Network,
    name: &str,
) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT author_id FROM helper WHERE network = ?1 AND lower(author_id) = ?2
             UNION SELECT author_id FROM thanked WHERE network = ?1 AND lower(author_id) = ?2
             UNION SELECT author_id FROM post WHERE network = ?1 AND lower(author_id) = ?2",
        )?
        .query_map(params![network.name(), name], |row| row.get(0))?
        .collect()
}

/// Forgets thanks, and helpers, of before then, a few at a time; how many.
pub(in crate::ledger) fn forget_helpers_before(
    connection: &Connection,
    at_us: i64,
    rows_max: usize,
) -> rusqlite::Result<usize> {
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM helper WHERE (network, author_id) IN
               (SELECT network, author_id FROM helper WHERE last_at_us < ?1 ORDER BY last_at_us LIMIT ?2)",
        )?
        .execute(params![at_us, limit])?;
    if forgotten > 0 {
        connection.prepare_cached("DELETE FROM thanked WHERE at_us < ?1")?.execute([at_us])?;
    }
    Ok(forgotten)
}
