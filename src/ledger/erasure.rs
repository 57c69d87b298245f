//! Erasure: a text that its author took back goes wherever it is stored.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::records::{bodies_of, replace_body};
use super::store::add_update;
use super::writer::Changes;
use super::{Body, conversations, deadlines};
use crate::ticket::{TicketId, proto};

/// Why a text is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erasure {
    PostDeleted,
    /// The name goes too: there is nobody left to answer.
    AccountDeleted,
}

impl Erasure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Erasure::PostDeleted => "post_deleted",
            Erasure::AccountDeleted => "account_deleted",
        }
    }
}

/// Removes a ticket's text wherever it is stored, and records that for the helpdesks; whether there was one.
pub(super) fn erase(
    connection: &Connection,
    ticket_id: TicketId,
    reason: Erasure,
    at: Timestamp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    let erased = proto::update::Erased { reason: reason.name().to_owned() };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Erased(erased)),
    };
    let Some(head) = add_update(connection, ticket_id, &update, ageing_points_per_hour)? else {
        return Ok(false);
    };
    changes.heads.push(head);
    deadlines::forget(connection, ticket_id, changes)?;
    read_no_more(connection, ticket_id, changes)?;
    connection
        .prepare_cached("UPDATE ticket SET erased_at_us = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
    for (seq, body) in bodies_of(connection, ticket_id)? {
        let body = match body {
            Body::Ticket(bytes) => without_text_in_ticket(&bytes, reason),
            Body::Update(bytes) => without_text_in_update(&bytes, reason),
        };
        replace_body(connection, seq, &body)?;
    }
    conversations::forget_words(connection, ticket_id)?;
    Ok(true)
}

/// Nobody will read again what is not there any more.
pub(super) fn read_no_more(
    connection: &Connection,
    ticket_id: TicketId,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let awaited = connection
        .prepare_cached("UPDATE ticket SET provisional = 0 WHERE id = ?1 AND provisional = 1")?
        .execute([ticket_id.as_bytes()])?;
    changes.provisional -= i64::from(awaited > 0);
    Ok(())
}

pub(super) fn without_text_in_ticket(bytes: &[u8], reason: Erasure) -> Vec<u8> {
    // We wrote these bytes; should they not decode, an empty ticket is the safe answer to an erasure.
    let mut ticket = proto::Ticket::decode(bytes).unwrap_or_default();
    if let Some(post) = &mut ticket.post {
        clear_post(post, reason);
    }
    ticket.hits.clear();
    without_words(&mut ticket.factors);
    ticket.encode_to_vec()
}

pub(super) fn clear_post(post: &mut proto::Post, reason: Erasure) {
    post.text.clear();
    post.mentions.clear();
    post.hashtags.clear();
    post.links.clear();
    if let Some(author) = post.author.as_mut().filter(|_| reason == Erasure::AccountDeleted) {
        author.name.clear();
        author.handle.clear();
    }
}

/// Which sensitive words a text held says what was in it; that it held some, and its topics, stay.
pub(super) fn without_words(factors: &mut [proto::Factor]) {
    for factor in factors.iter_mut().filter(|factor| factor.name == "sensitive") {
        factor.evidence = "erased".to_owned();
    }
}

fn without_text_in_update(bytes: &[u8], reason: Erasure) -> Vec<u8> {
    let mut update = proto::Update::decode(bytes).unwrap_or_default();
    match &mut update.change {
        Some(proto::update::Change::Edited(edited)) => edited.text.clear(),
        Some(proto::update::Change::Rescored(rescored)) => without_words(&mut rescored.factors),
        Some(proto::update::Change::FollowedUp(followed)) => {
            followed.post.iter_mut().for_each(|post| clear_post(post, reason));
            without_words(&mut followed.factors);
        }
        _ => {}
    }
    update.encode_to_vec()
}
