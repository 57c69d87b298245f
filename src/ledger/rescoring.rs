//! Tickets that only the small model has read, and what the full one makes of them.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use rusqlite::{Connection, params};

use super::deliveries::{floors, has_acknowledged};
use super::outbox::Reranked;
use super::records::{bodies_of, heads_of, own_head, ticket_id};
use super::store::add_update;
use super::writer::{Changes, Placed};
use super::{Body, Rescoring, Seq, assigned, changed, conversations, deadlines};
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
            proto::update::Change::Edited(edited) if edited.post_id.is_empty() => Some(edited.text),
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
    let Rescoring { ticket_id, at, change, terms } = rescoring;
    let awaited = connection
        .prepare_cached("UPDATE ticket SET provisional = 0 WHERE id = ?1 AND provisional = 1")?
        .execute([ticket_id.as_bytes()])?;
    changes.provisional -= i64::from(awaited > 0);
    let Some(change) = change.as_ref().filter(|_| awaited > 0) else { return Ok(()) };
    let joined = conversations::reread(connection, *ticket_id, change, terms)?;
    // Nor does it take the ticket from those who have joined it, or made it worse since.
    let unsupported = change.unsupported && joined.is_none();
    if unsupported {
        conversations::close(connection, *ticket_id, *at, changes)?;
        deadlines::forget(connection, *ticket_id, changes)?;
        assigned::end(connection, *ticket_id, changes)?;
    }
    // Where posts have joined, filters go on by the intent that they went by.
    let intent = if joined.is_some() { None } else { most_probable_intent(change) };
    let change = joined.unwrap_or_else(|| (**change).clone());
    let priority = u16::try_from(change.priority).unwrap_or(u16::MAX);
    let reading = Reading { priority, intent };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Rescored(change)),
    };
    let seq = publish(connection, *ticket_id, &update, Some(reading), ageing_points_per_hour, changes)?;
    // Of what is no customer message nobody is to be found any more.
    if unsupported {
        changed::forget(connection, *ticket_id)
    } else {
        changed::mark(connection, *ticket_id, seq, changes)
    }
}

/// Another priority, and another intent where that is new.
pub(super) struct Reading<'r> {
    pub(super) priority: u16,
    pub(super) intent: Option<&'r str>,
}

/// Records a change of a ticket and, where it gives the ticket another priority, ranks all its records by that; `None`
/// if there is no such ticket or it is erased.
pub(super) fn publish(
    connection: &Connection,
    ticket_id: TicketId,
    update: &proto::Update,
    reading: Option<Reading<'_>>,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Option<Seq>> {
    let before = match reading {
        Some(_) => own_head(connection, ticket_id, ageing_points_per_hour)?,
        None => None,
    };
    let Some((before, reading)) = before.zip(reading) else {
        let head = add_update(connection, ticket_id, update, ageing_points_per_hour)?;
        let seq = head.as_ref().map(|head| head.seq);
        changes.heads.extend(head);
        return Ok(seq);
    };
    let read = connection
        .prepare_cached(
            "UPDATE ticket SET rescored = ?2, rescored_intent = coalesce(?3, rescored_intent, intent)
             WHERE id = ?1 AND erased_at_us IS NULL",
        )?
        .execute(params![ticket_id.as_bytes(), reading.priority, reading.intent])?;
    if read == 0 {
        return Ok(None);
    }
    changes.place_anew(ticket_id, &before);
    let update = add_update(connection, ticket_id, update, ageing_points_per_hour)?;
    let seq = update.as_ref().map(|update| update.seq);
    changes.heads.extend(update);
    Ok(seq)
}

/// Gives all records of the tickets that a transaction has placed anew the place that their rows say by now: once, before
/// its commit, however often that was changed.
pub(super) fn reranked(
    connection: &Connection,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Vec<Reranked>> {
    if changes.placed.is_empty() {
        return Ok(Vec::new());
    }
    let subscriptions = floors(connection)?;
    let fresh: HashMap<Seq, usize> =
        changes.heads.iter().enumerate().map(|(place, head)| (head.seq, place)).collect();
    let mut all = Vec::with_capacity(changes.placed.len());
    for (ticket_id, Placed { place_before, rescored_before }) in std::mem::take(&mut changes.placed) {
        let mut records = Vec::new();
        for head in heads_of(connection, ticket_id, ageing_points_per_hour)? {
            // What comes with this very commit is published by what it is now.
            if let Some(place) = fresh.get(&head.seq) {
                changes.heads[*place] = head;
                continue;
            }
            let mut has_it = Vec::new();
            for (name, floor) in &subscriptions {
                if *floor >= head.seq.get() || has_acknowledged(connection, name, head.seq)? {
                    has_it.push(name.clone());
                }
            }
            records.push((Arc::new(head), has_it));
        }
        all.push(Reranked { records, place_before, rescored_before });
    }
    Ok(all)
}

/// Of the most probable class.
pub(super) fn most_probable_intent(change: &proto::update::Rescored) -> Option<&str> {
    let intents = &change.verdict.as_ref()?.intent;
    let best = intents.iter().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    Some(best.0)
}
