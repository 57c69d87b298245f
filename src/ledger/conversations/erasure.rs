//! What authors delete of conversations: post by post, as long as others are there.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::{BYSTANDER, FOLLOW_UP, Further, followed, forget_words, further, update};
use crate::ledger::erasure::{self, Erasure};
use crate::ledger::rescoring::publish;
use crate::ledger::writer::Changes;
use crate::ledger::{Body, assigned, deadlines, records};
use crate::parse::Network;
use crate::ticket::{TicketId, proto};

/// Removes the text of a post wherever it is stored, and records that; whether there was one.
///
/// A ticket that nothing has joined is erased whole; of others each post goes by itself.
pub(in crate::ledger) fn erase_post(
    connection: &Connection,
    post_id: TicketId,
    at: Timestamp,
    reason: Erasure,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    // What was overheard once may have become a ticket since.
    connection
        .prepare_cached("DELETE FROM post WHERE id = ?1 AND kind = ?2")?
        .execute(params![post_id.as_bytes(), BYSTANDER])?;
    let (ticket_id, name) = match further(connection, post_id)? {
        None if has_others(connection, post_id, post_id)? => {
            if has_lost_its_own(connection, post_id)? {
                return Ok(false);
            }
            connection
                .prepare_cached("UPDATE conversation SET erased_at_us = ?2 WHERE ticket_id = ?1")?
                .execute(params![post_id.as_bytes(), at.as_microsecond()])?;
            (post_id, None)
        }
        None => return erasure::erase(connection, post_id, reason, at, ageing_points_per_hour, changes),
        Some(Further { ticket_id, kind: FOLLOW_UP, seq: Some(seq), is_erased: false }) => {
            connection
                .prepare_cached("UPDATE post SET erased_at_us = ?2 WHERE id = ?1")?
                .execute(params![post_id.as_bytes(), at.as_microsecond()])?;
            let name = followed(connection, seq)?.and_then(|followed| followed.post).map(|post| post.id);
            (ticket_id, Some(name.unwrap_or_default()))
        }
        Some(_) => return Ok(false),
    };
    let mut shown = name.clone().unwrap_or_default();
    for (seq, body) in records::bodies_of(connection, ticket_id)? {
        let body = match body {
            Body::Ticket(bytes) if name.is_none() => {
                shown = proto::Ticket::decode(bytes.as_slice())
                    .ok()
                    .and_then(|ticket| ticket.post)
                    .unwrap_or_default()
                    .id;
                Some(erasure::without_text_in_ticket(&bytes, reason))
            }
            Body::Ticket(_) => None,
            Body::Update(bytes) => without_text_of(&bytes, name.as_deref().unwrap_or_default(), reason),
        };
        if let Some(body) = body {
            records::replace_body(connection, seq, &body)?;
        }
    }
    forget_words(connection, ticket_id)?;
    if name.is_none() {
        erasure::read_no_more(connection, ticket_id, changes)?;
    }
    let erased = proto::update::PostErased { post_id: shown, reason: reason.name().to_owned() };
    let update = update(ticket_id, at, proto::update::Change::PostErased(erased));
    let seq = publish(connection, ticket_id, &update, None, ageing_points_per_hour, changes)?;
    if name.is_some()
        && has_lost_its_own(connection, ticket_id)?
        && !has_others(connection, ticket_id, post_id)?
    {
        // Nothing is left that another post could join, or that waits for an answer.
        deadlines::forget(connection, ticket_id, changes)?;
        assigned::end(connection, ticket_id, changes)?;
        connection
            .prepare_cached("UPDATE ticket SET erased_at_us = ?2 WHERE id = ?1")?
            .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
    }
    Ok(seq.is_some())
}

/// Whether the ticket's own post is gone.
pub(in crate::ledger) fn has_lost_its_own(
    connection: &Connection,
    ticket_id: TicketId,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM conversation WHERE ticket_id = ?1 AND erased_at_us IS NOT NULL")?
        .exists([ticket_id.as_bytes()])
}

/// Whether other posts than this one have joined the ticket and are still there.
fn has_others(connection: &Connection, ticket_id: TicketId, post_id: TicketId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM post JOIN ticket t ON t.id = post.ticket_id
             WHERE post.ticket_id = ?1 AND post.id <> ?2 AND kind = ?3 AND post.erased_at_us IS NULL
               AND t.erased_at_us IS NULL",
        )?
        .exists(params![ticket_id.as_bytes(), post_id.as_bytes(), FOLLOW_UP])
}

/// The update without the text of the post of this network's id, empty for the ticket's own; `None` where it holds none.
fn without_text_of(bytes: &[u8], name: &str, reason: Erasure) -> Option<Vec<u8>> {
    let mut update = proto::Update::decode(bytes).ok()?;
    match &mut update.change {
        Some(proto::update::Change::Edited(edited)) if edited.post_id == name => edited.text.clear(),
        // Which of the posts held the words that are named there is not known.
        Some(proto::update::Change::FollowedUp(followed)) => {
            erasure::without_words(&mut followed.factors);
            if let Some(post) = followed.post.as_mut().filter(|post| post.id == name) {
                erasure::clear_post(post, reason);
            }
        }
        Some(proto::update::Change::Rescored(rescored)) => erasure::without_words(&mut rescored.factors),
        Some(proto::update::Change::Assigned(assigned)) => {
            assigned.assignment.iter_mut().for_each(erasure::without_reasons);
        }
        _ => return None,
    }
    Some(update.encode_to_vec())
}

/// Whether all that is left of a conversation is this author's.
pub(in crate::ledger) fn is_of_one(
    connection: &Connection,
    ticket_id: TicketId,
    author_id: &str,
) -> rusqlite::Result<bool> {
    let others = connection
        .prepare_cached("SELECT 1 FROM post WHERE ticket_id = ?1 AND kind = 0 AND erased_at_us IS NULL AND author_id <> ?2")?
        .exists(params![ticket_id.as_bytes(), author_id])?;
    Ok(!others)
}

/// The posts that this author has put into tickets, and that still have their text.
pub(in crate::ledger) fn posts_of(
    connection: &Connection,
    network: Network,
    author_id: &str,
) -> rusqlite::Result<Vec<TicketId>> {
    connection
        .prepare_cached(
            "SELECT post.id FROM post JOIN ticket t ON t.id = post.ticket_id
             WHERE post.network = ?1 AND post.author_id = ?2 AND kind = 0 AND post.erased_at_us IS NULL
               AND t.erased_at_us IS NULL ORDER BY post.seq",
        )?
        .query_map(params![network.name(), author_id], |row| records::ticket_id(row, 0))?
        .collect()
}
