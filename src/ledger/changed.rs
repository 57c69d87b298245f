//! Tickets that have changed since the desk decided whose they are: marked in the transaction that changes them, until the
//! desk's outcome is recorded.
//!
//! The desk is only told that there are some. What it does not hear, or does not come to before a crash, stays marked.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::writer::Changes;
use super::{Body, Seq, assigned, conversations, records, tickets};
use crate::desk::Changed;
use crate::ticket::{TicketId, proto};

pub(super) const TABLES: &str = "
    -- The newest update that may make a ticket another team's, or due at another time; NULL: the desk has decided since.
    ALTER TABLE ticket ADD COLUMN changed_seq INTEGER;
    CREATE INDEX ticket_changed ON ticket (changed_seq) WHERE changed_seq IS NOT NULL;
";

/// The ticket is not what it was, as the update of this seq says.
pub(super) fn mark(
    connection: &Connection,
    ticket_id: TicketId,
    seq: Option<Seq>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Some(seq) = seq else { return Ok(()) };
    connection
        .prepare_cached("UPDATE ticket SET changed_seq = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), seq.get().cast_signed()])?;
    changes.changed = true;
    Ok(())
}

/// The desk has decided about the ticket as this change left it: if there is another one since, that is still to do.
pub(super) fn decided(connection: &Connection, ticket_id: TicketId, change: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE ticket SET changed_seq = NULL WHERE id = ?1 AND changed_seq = ?2")?
        .execute(params![ticket_id.as_bytes(), change.cast_signed()])?;
    Ok(())
}

/// Nobody works on this ticket any more.
pub(super) fn forget(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE ticket SET changed_seq = NULL WHERE id = ?1")?
        .execute([ticket_id.as_bytes()])?;
    Ok(())
}

/// By `ticket_changed`, however many tickets there are.
const OLDEST: &str = "
    SELECT id, seq, changed_seq, answered_at_us, stopped_at_us FROM ticket INDEXED BY ticket_changed
    WHERE changed_seq IS NOT NULL ORDER BY changed_seq LIMIT ?1";

/// Those that have waited longest, at most `tickets_max`.
pub(super) fn read(connection: &Connection, tickets_max: usize) -> rusqlite::Result<Vec<Changed>> {
    type Marked = (TicketId, Seq, Seq, Option<i64>, Option<i64>);
    let marked: Vec<Marked> = connection
        .prepare_cached(OLDEST)?
        .query_map([i64::try_from(tickets_max).unwrap_or(i64::MAX)], |row| {
            Ok((
                records::ticket_id(row, 0)?,
                records::seq(row, 1)?,
                records::seq(row, 2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        })?
        .collect::<rusqlite::Result<_>>()?;
    marked
        .into_iter()
        .map(|(ticket_id, seq, change, answered_at_us, stopped_at_us)| {
            let (mut ticket, mut at) = (proto::Ticket::default(), Timestamp::default());
            // We wrote these bytes; what does not decode is damaged, and says nothing.
            for (_, body) in records::read(connection, &[seq, change])? {
                match body {
                    Body::Ticket(bytes) => ticket = proto::Ticket::decode(&*bytes).unwrap_or_default(),
                    Body::Update(bytes) => {
                        let update = proto::Update::decode(&*bytes).unwrap_or_default();
                        at = Timestamp::from_microsecond(update.at_us).unwrap_or_default();
                    }
                }
            }
            // Read after the mark: what is newer than that is marked again, and no outcome of this one unmarks it.
            let kept = tickets::updated(connection, ticket_id, ticket)?;
            // What was said before an answer is answered.
            let heard_us = answered_at_us.map(|answered_at_us| stopped_at_us.unwrap_or(answered_at_us));
            let floors_us = kept.floors.iter().map(|(_, at_us)| *at_us);
            let danger_at_us =
                floors_us.filter(|at_us| heard_us.is_none_or(|heard_us| *at_us > heard_us)).min();
            let joined = kept.later.into_iter().filter(|reading| !reading.is_edit);
            let joined = joined.filter_map(|reading| reading.post).map(|post| post.text);
            let texts = joined.chain(kept.edits.into_iter().map(|edited| edited.text));
            Ok(Changed {
                ticket_id,
                ticket: kept.ticket,
                verdict: kept.verdict,
                further: texts.filter(|text| !text.is_empty()).collect(),
                at,
                change: change.get(),
                whose: assigned::whose(connection, ticket_id)?,
                is_answered: answered_at_us.is_some(),
                danger_at: danger_at_us.and_then(|at_us| Timestamp::from_microsecond(at_us).ok()),
                own_is_erased: conversations::has_lost_its_own(connection, ticket_id)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
