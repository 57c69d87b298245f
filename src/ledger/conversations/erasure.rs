//! What authors delete of conversations: post by post, as long as others are there.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::{BYSTANDER, FOLLOW_UP, Further, followed, forget_words, further, update};
use crate::desk::told::Told;
use crate::ledger::erasure::{self, Erasure};
use crate::ledger::rescoring::publish;
use crate::ledger::writer::Changes;
use crate::ledger::{Body, Seq, assigned, deadlines, records};
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
    match further(connection, post_id)? {
        None if has_others(connection, post_id)? => {
            if has_lost_its_own(connection, post_id)? {
                return Ok(false);
            }
            connection
                .prepare_cached("UPDATE conversation SET erased_at_us = ?2 WHERE ticket_id = ?1")?
                .execute(params![post_id.as_bytes(), at.as_microsecond()])?;
            erase_texts(connection, post_id, None, at, reason, ageing_points_per_hour, changes)
        }
        None => erasure::erase(connection, post_id, reason, at, ageing_points_per_hour, changes),
        Some(Further { ticket_id, kind: FOLLOW_UP, seq, is_erased: false }) => {
            let gone = [(post_id, seq)];
            erase_joined(connection, ticket_id, &gone, at, reason, ageing_points_per_hour, changes)
        }
        Some(_) => Ok(false),
    }
}

/// The same of all that this author has put into tickets; whether there was something.
pub(in crate::ledger) fn erase_posts_of(
    connection: &Connection,
    network: Network,
    author_id: &str,
    at: Timestamp,
    reason: Erasure,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    let posts = posts_of(connection, network, author_id)?;
    for of_ticket in posts.chunk_by(|one, other| one.0 == other.0) {
        let Some((ticket_id, ..)) = of_ticket.first() else { continue };
        let gone: Vec<_> = of_ticket.iter().map(|(_, post_id, seq)| (*post_id, *seq)).collect();
        erase_joined(connection, *ticket_id, &gone, at, reason, ageing_points_per_hour, changes)?;
    }
    Ok(!posts.is_empty())
}

/// Posts that have joined one ticket are gone, all at one go: each with the update that tells of it, if one does.
fn erase_joined(
    connection: &Connection,
    ticket_id: TicketId,
    gone: &[(TicketId, Option<Seq>)],
    at: Timestamp,
    reason: Erasure,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    let mut names = Vec::new();
    for (post_id, seq) in gone {
        connection
            .prepare_cached("UPDATE post SET erased_at_us = ?2 WHERE id = ?1")?
            .execute(params![post_id.as_bytes(), at.as_microsecond()])?;
        // Of one without an update there is no text.
        if let Some(seq) = seq {
            let name = followed(connection, *seq)?.and_then(|followed| followed.post).map(|post| post.id);
            names.push(name.unwrap_or_default());
        }
    }
    let erased = match names.is_empty() {
        true => false,
        false => {
            erase_texts(connection, ticket_id, Some(&names), at, reason, ageing_points_per_hour, changes)?
        }
    };
    if has_lost_its_own(connection, ticket_id)? && !has_others(connection, ticket_id)? {
        // Nothing is left that another post could join, or that waits for an answer.
        deadlines::forget(connection, ticket_id, changes)?;
        assigned::end(connection, ticket_id, changes)?;
        connection
            .prepare_cached("UPDATE ticket SET erased_at_us = ?2 WHERE id = ?1")?
            .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
        changes.told.push(Told::Over(ticket_id));
    }
    Ok(erased)
}

/// Removes the texts of the posts of these ids of the network from a ticket's records, `None`: that of its own post, and
/// records that.
fn erase_texts(
    connection: &Connection,
    ticket_id: TicketId,
    joined: Option<&[String]>,
    at: Timestamp,
    reason: Erasure,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    let mut own = String::new();
    for (seq, body) in records::bodies_of(connection, ticket_id)? {
        let body = match body {
            Body::Ticket(bytes) if joined.is_none() => {
                own = proto::Ticket::decode(bytes.as_slice())
                    .ok()
                    .and_then(|ticket| ticket.post)
                    .unwrap_or_default()
                    .id;
                Some(erasure::without_text_in_ticket(&bytes, reason))
            }
            Body::Ticket(_) => None,
            Body::Update(bytes) => without_text_of(&bytes, joined, reason).filter(|after| *after != bytes),
        };
        if let Some(body) = body {
            records::replace_body(connection, seq, &body)?;
        }
    }
    forget_words(connection, ticket_id)?;
    if joined.is_none() {
        erasure::read_no_more(connection, ticket_id, changes)?;
    }
    let own = [own];
    let mut is_told = false;
    for name in joined.unwrap_or(&own) {
        let erased = proto::update::PostErased { post_id: name.clone(), reason: reason.name().to_owned() };
        let update = update(ticket_id, at, proto::update::Change::PostErased(erased));
        is_told |= publish(connection, ticket_id, &update, None, ageing_points_per_hour, changes)?.is_some();
    }
    Ok(is_told)
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

/// Whether posts have joined the ticket that are still there.
fn has_others(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM post JOIN ticket t ON t.id = post.ticket_id
             WHERE post.ticket_id = ?1 AND kind = ?2 AND post.erased_at_us IS NULL AND t.erased_at_us IS NULL",
        )?
        .exists(params![ticket_id.as_bytes(), FOLLOW_UP])
}

/// The update without the text of the posts of these ids of the network, `None` for the ticket's own; `None` where it
/// holds none.
fn without_text_of(bytes: &[u8], joined: Option<&[String]>, reason: Erasure) -> Option<Vec<u8>> {
    let is_gone = |name: &String| joined.map_or(name.is_empty(), |joined| joined.contains(name));
    let mut update = proto::Update::decode(bytes).ok()?;
    match &mut update.change {
        Some(proto::update::Change::Edited(edited)) if is_gone(&edited.post_id) => edited.text.clear(),
        // Which of the posts held the words that are named there is not known.
        Some(proto::update::Change::FollowedUp(followed)) => {
            erasure::without_words(&mut followed.factors);
            if let Some(post) = followed.post.as_mut().filter(|post| is_gone(&post.id)) {
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

/// The posts that this author has put into tickets, and that still have their text, ticket by ticket: which ticket, which
/// post, which update tells of it.
fn posts_of(
    connection: &Connection,
    network: Network,
    author_id: &str,
) -> rusqlite::Result<Vec<(TicketId, TicketId, Option<Seq>)>> {
    connection
        .prepare_cached(
            "SELECT t.id, post.id, post.seq FROM post JOIN ticket t ON t.id = post.ticket_id
             WHERE post.network = ?1 AND post.author_id = ?2 AND kind = 0 AND post.erased_at_us IS NULL
               AND t.erased_at_us IS NULL ORDER BY t.seq, post.seq",
        )?
        .query_map(params![network.name(), author_id], |row| {
            let seq = row.get::<_, Option<i64>>(2)?.and_then(|seq| Seq::new(seq.cast_unsigned()));
            Ok((records::ticket_id(row, 0)?, records::ticket_id(row, 1)?, seq))
        })?
        .collect()
}
