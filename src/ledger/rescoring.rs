//! Tickets that only the small model has read, and what the full one makes of them.

use std::sync::Arc;

use prost::Message;
use rusqlite::{Connection, params};

use super::deliveries::{has_acknowledged, subscriptions};
use super::outbox::Reranked;
use super::records::{bodies_of, heads_of, ticket_id};
use super::store::add_update;
use super::writer::Changes;
use super::{Body, Rescoring};
use crate::ticket::{TicketId, proto};

/// How many tickets only the small model has read.
pub(super) fn provisional_tickets(connection: &Connection) -> rusqlite::Result<u64> {
    let tickets = "SELECT count(*) FROM ticket WHERE provisional = 1";
    connection.prepare_cached(tickets)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// A ticket that only the small model has read.
pub(super) struct Provisional {
    pub(super) id: TicketId,
    /// The encoded ticket.
    pub(super) body: Vec<u8>,
    /// The text that its author has put in the place of the first.
    pub(super) edited: Option<String>,
}

/// The worst of them, at most `tickets_max`.
pub(super) fn provisional(connection: &Connection, tickets_max: usize) -> rusqlite::Result<Vec<Provisional>> {
    connection
        .prepare_cached(
            "SELECT t.id, r.body FROM ticket t JOIN record r ON r.seq = t.seq WHERE t.provisional = 1
             ORDER BY t.priority DESC, t.seq LIMIT ?1",
        )?
        .query_map([i64::try_from(tickets_max).unwrap_or(i64::MAX)], |row| {
            let id = ticket_id(row, 0)?;
            Ok(Provisional { id, body: row.get(1)?, edited: edited_text(connection, id)? })
        })?
        .collect()
}

/// The newest text that an author has given this ticket's post afterwards.
fn edited_text(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Option<String>> {
    let edited = |body| match body {
        Body::Update(bytes) => match proto::Update::decode(bytes.as_slice()).ok()?.change? {
            proto::update::Change::Edited(edited) => Some(edited.text),
            _ => None,
        },
        Body::Ticket(_) => None,
    };
    Ok(bodies_of(connection, ticket_id)?.into_iter().rev().find_map(|(_, body)| edited(body)))
}

/// Records that the full model has read a ticket, and what that changes.
///
/// The ticket has the traits of both opinions from then on: see [`Traits::rescored`].
pub(super) fn rescore(
    connection: &Connection,
    rescoring: &Rescoring,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Rescoring { ticket_id, at, change } = rescoring;
    let awaited = connection
        .prepare_cached(
            "UPDATE ticket SET provisional = 0, rescored = ?2, rescored_intent = ?3
             WHERE id = ?1 AND provisional = 1",
        )?
        .execute(params![
            ticket_id.as_bytes(),
            change.as_ref().map(|change| change.priority),
            change.as_ref().and_then(|change| most_probable_intent(change)),
        ])?;
    changes.provisional -= i64::from(awaited > 0);
    let Some(change) = change.as_ref().filter(|_| awaited > 0) else { return Ok(()) };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Rescored((**change).clone())),
    };
    let records = heads_of(connection, *ticket_id, ageing_points_per_hour)?;
    if let Some(update) = add_update(connection, *ticket_id, &update, ageing_points_per_hour)? {
        // A rank is a priority less something that depends on the ticket's age alone.
        let rank_before = update.rank - i64::from(change.priority) + i64::from(update.traits.priority);
        let mut reranked = Reranked { records: Vec::new(), rank_before };
        for head in records {
            // What comes with this very commit is published by what it is now.
            if let Some(fresh) = changes.heads.iter_mut().find(|fresh| fresh.seq == head.seq) {
                *fresh = head;
                continue;
            }
            let mut has_it = Vec::new();
            for name in subscriptions(connection)? {
                if has_acknowledged(connection, &name, head.seq)? {
                    has_it.push(name);
                }
            }
            reranked.records.push((Arc::new(head), has_it));
        }
        changes.reranked.push(reranked);
        changes.heads.push(update);
    }
    Ok(())
}

fn most_probable_intent(change: &proto::update::Rescored) -> Option<&str> {
    let intents = &change.verdict.as_ref()?.intent;
    let best = intents.iter().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    Some(best.0)
}
