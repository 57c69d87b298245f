//! Conversations: posts that join a ticket, answers of our own accounts, and who helps others.
//!
//! The desk says which ticket a post joins; here it is reckoned, inside the commit, what that makes of the ticket's
//! priority, so that a rescoring that came in between is not forgotten. A post that joined is known by the id that a
//! ticket of its own would have had: it makes none, however often it comes.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::rescoring::publish;
use super::writer::Changes;
use super::{Body, NewFollowUp, Seq, deadlines, records};
use crate::desk::conversation::{BYSTANDERS_MAX, is_closed};
use crate::desk::told::Told;
use crate::parse::Network;
use crate::prefilter::watched::of_post;
use crate::ticket::{TicketId, proto};

mod erasure;
mod helpers;
mod join;
mod memory;
#[cfg(test)]
mod tests;
pub mod timeline;

pub(super) use erasure::{erase_post, erase_posts_of, has_lost_its_own, is_of_one};
pub use helpers::{HELPERS_MAX, Helper};
pub(super) use helpers::{forget_helper, forget_helpers_before, helpers, ids_of, thanks};
pub(super) use join::{Edited, amend, follow_up, forget_person, forget_words, reread};
pub(super) use memory::{remembered, remembered_posts};

const FOLLOW_UP: i64 = 0;
const ANSWER: i64 = 1;
const BYSTANDER: i64 = 2;

pub(super) const TABLES: &str = "
    -- Posts that belong to a ticket beside its own: those that joined it, our answers, and what others say in its
    -- thread, of which only the author is kept.
    CREATE TABLE post (
        id            BLOB PRIMARY KEY,    -- 16 bytes, as a ticket's: of network and post id
        ticket_id     BLOB NOT NULL,
        kind          INTEGER NOT NULL,    -- 0 joined, 1 our answer, 2 a bystander's
        seq           INTEGER,             -- the update that tells of it; NULL: none does
        network       TEXT NOT NULL,
        author_id     TEXT NOT NULL,
        text_hash     INTEGER NOT NULL,    -- of the text as last seen, as desk::text_hash
        watch         INTEGER,             -- as prefilter::watched::of_post
        at_us         INTEGER NOT NULL,    -- when it was seen, by which others join; of an answer, when it was given
        erased_at_us  INTEGER
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE ticket ADD COLUMN watch INTEGER;   -- the same of its own post; NULL where it is older than version 4
    ALTER TABLE ticket ADD COLUMN thread_id BLOB;  -- the first ticket of the thread that its post hangs in; NULL: itself
    ALTER TABLE ticket ADD COLUMN posted_at_us INTEGER; -- when its own post was seen; NULL where it is older than version 4
    CREATE INDEX post_ticket ON post (ticket_id, kind);
    CREATE INDEX post_author ON post (network, author_id);

    -- What has become of tickets that are more than one post; others have no row.
    CREATE TABLE conversation (
        ticket_id        BLOB PRIMARY KEY,
        further          INTEGER NOT NULL DEFAULT 0,   -- posts of the ticket's author that joined and count
        factors          BLOB,             -- an encoded vigie.v1.Update.FollowedUp, its factors alone; NULL: the ticket's own
        closed_at_us     INTEGER,          -- solved, closed or deleted in the helpdesk, or no customer message
        erased_at_us     INTEGER           -- the ticket's own post, while others are still there
    ) STRICT, WITHOUT ROWID;

    -- Who was thanked in whose conversation, once for each; and the sum, for whoever lists helpers.
    CREATE TABLE thanked (
        network    TEXT NOT NULL,
        author_id  TEXT NOT NULL,
        ticket_id  BLOB NOT NULL,
        at_us      INTEGER NOT NULL,
        PRIMARY KEY (network, author_id, ticket_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE helper (
        network    TEXT NOT NULL,
        author_id  TEXT NOT NULL,
        thanked    INTEGER NOT NULL,       -- within the 90 days before `last_at_us`
        last_at_us INTEGER NOT NULL,
        PRIMARY KEY (network, author_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX helper_age ON helper (last_at_us);
";

/// A post that belongs to a ticket beside its own.
pub(super) struct Further {
    pub(super) ticket_id: TicketId,
    kind: i64,
    seq: Option<Seq>,
    is_erased: bool,
}

/// Where this post belongs, if it is not a ticket's own.
pub(super) fn further(connection: &Connection, post_id: TicketId) -> rusqlite::Result<Option<Further>> {
    connection
        .prepare_cached("SELECT ticket_id, kind, seq, erased_at_us IS NOT NULL FROM post WHERE id = ?1")?
        .query_row([post_id.as_bytes()], |row| {
            Ok(Further {
                ticket_id: records::ticket_id(row, 0)?,
                kind: row.get(1)?,
                seq: row.get::<_, Option<i64>>(2)?.and_then(|seq| Seq::new(seq.cast_unsigned())),
                is_erased: row.get(3)?,
            })
        })
        .optional()
}

/// Whether this post may change the text of a ticket that it joined, and its network's id.
pub(super) fn joined(
    connection: &Connection,
    post_id: TicketId,
) -> rusqlite::Result<Option<(TicketId, String)>> {
    let Some(Further { ticket_id, kind: FOLLOW_UP, seq: Some(seq), is_erased: false }) =
        further(connection, post_id)?
    else {
        return Ok(None);
    };
    let name = followed(connection, seq)?.and_then(|followed| followed.post).map(|post| post.id);
    Ok(name.map(|name| (ticket_id, name)))
}

fn followed(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<proto::update::FollowedUp>> {
    let bodies = records::read(connection, &[seq])?;
    Ok(bodies.into_iter().find_map(|(_, body)| match body {
        Body::Update(bytes) => match proto::Update::decode(bytes.as_slice()).ok()?.change? {
            proto::update::Change::FollowedUp(followed) => Some(followed),
            _ => None,
        },
        Body::Ticket(_) => None,
    }))
}

/// Whether a ticket was made of this post, ever, or it belongs to one.
pub(super) fn is_known(connection: &Connection, post_id: TicketId) -> rusqlite::Result<bool> {
    // A pruned ticket has left its id: what it was made of makes no second one.
    connection
        .prepare_cached(
            "SELECT 1 FROM ticket WHERE id = ?1 UNION ALL SELECT 1 FROM pruned WHERE id = ?1
             UNION ALL SELECT 1 FROM post WHERE id = ?1 AND kind <> 2",
        )?
        .exists([post_id.as_bytes()])
}

fn update(ticket_id: TicketId, at: Timestamp, change: proto::update::Change) -> proto::Update {
    proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(change),
    }
}

fn add_post(connection: &Connection, new: &NewFollowUp, kind: i64, seq: Option<Seq>) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            // A bystander may have become somebody who speaks to us.
            "INSERT OR REPLACE INTO post (id, ticket_id, kind, seq, network, author_id, text_hash, at_us, watch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            new.post_id.as_bytes(),
            new.ticket_id.as_bytes(),
            kind,
            seq.map(|seq| seq.get().cast_signed()),
            new.network.name(),
            new.author_id,
            new.text_hash.cast_signed(),
            new.posted_at.as_microsecond(),
            of_post(new.network, &new.post.id).cast_signed(),
        ])?;
    Ok(())
}

/// Somebody else's post in a ticket's thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadPost {
    /// Its identity.
    pub post_id: TicketId,
    /// Whose thread.
    pub ticket_id: TicketId,
    /// Where.
    pub network: Network,
    /// By whom.
    pub author_id: String,
    /// [`of_post`].
    pub watch: u64,
    /// When.
    pub at: Timestamp,
}

impl ThreadPost {
    /// Of a post that was to join a ticket.
    fn of(new: &NewFollowUp) -> ThreadPost {
        ThreadPost {
            post_id: new.post_id,
            ticket_id: new.ticket_id,
            network: new.network,
            author_id: new.author_id.clone(),
            watch: of_post(new.network, &new.post.id),
            at: new.posted_at,
        }
    }
}

/// Keeps who said something in a thread, for a while at most as long as the ticket.
pub(super) fn bystander(connection: &Connection, post: &ThreadPost) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO post (id, ticket_id, kind, network, author_id, text_hash, at_us, watch)
             SELECT ?1, ?2, ?3, ?4, ?5, 0, ?6, ?8
             WHERE EXISTS (SELECT 1 FROM ticket WHERE id = ?2 AND erased_at_us IS NULL)
               AND (SELECT count(*) FROM post WHERE ticket_id = ?2 AND kind = ?3) < ?7",
        )?
        .execute(params![
            post.post_id.as_bytes(),
            post.ticket_id.as_bytes(),
            BYSTANDER,
            post.network.name(),
            post.author_id,
            post.at.as_microsecond(),
            BYSTANDERS_MAX,
            post.watch.cast_signed(),
        ])?;
    Ok(())
}

/// One of our accounts has answered; nothing if that is known, or the ticket is gone.
pub(super) fn answer(
    connection: &Connection,
    post: &ThreadPost,
    answered: &proto::update::Answered,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    if is_known(connection, post.post_id)? {
        return Ok(());
    }
    let change = proto::update::Change::Answered(answered.clone());
    let update = update(post.ticket_id, post.at, change);
    let seq = publish(connection, post.ticket_id, &update, None, ageing_points_per_hour, changes)?;
    let Some(seq) = seq else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO post (id, ticket_id, kind, seq, network, author_id, text_hash, at_us, watch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
        )?
        .execute(params![
            post.post_id.as_bytes(),
            post.ticket_id.as_bytes(),
            ANSWER,
            seq.get().cast_signed(),
            post.network.name(),
            post.author_id,
            post.at.as_microsecond(),
            post.watch.cast_signed(),
        ])?;
    deadlines::answered(connection, post.ticket_id, post.at, changes)
}

/// The author has changed a post that had joined a ticket.
pub(super) fn set_text_hash(
    connection: &Connection,
    post_id: TicketId,
    text_hash: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE post SET text_hash = ?2 WHERE id = ?1")?
        .execute(params![post_id.as_bytes(), text_hash.cast_signed()])?;
    Ok(())
}

/// Nothing joins a ticket any more that is no customer message.
pub(super) fn close(
    connection: &Connection,
    ticket_id: TicketId,
    at: Timestamp,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO conversation (ticket_id, closed_at_us) VALUES (?1, ?2)
             ON CONFLICT (ticket_id) DO UPDATE SET closed_at_us = excluded.closed_at_us",
        )?
        .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
    changes.told.push(Told::Closed(ticket_id));
    Ok(())
}

/// The helpdesk says what has become of a ticket that there is.
pub(super) fn set_status(
    connection: &Connection,
    ticket_id: TicketId,
    body: &[u8],
    at: Timestamp,
) -> rusqlite::Result<()> {
    // The wire has decoded these bytes before.
    let status = proto::TicketStatus::decode(body).unwrap_or_default();
    let Some(is_closed) = is_closed(status.state()) else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO conversation (ticket_id, closed_at_us) SELECT ?1, ?2
             WHERE EXISTS (SELECT 1 FROM ticket WHERE id = ?1)
             ON CONFLICT (ticket_id) DO UPDATE SET closed_at_us = excluded.closed_at_us",
        )?
        .execute(params![ticket_id.as_bytes(), is_closed.then(|| at.as_microsecond())])?;
    Ok(())
}

/// What belongs to a ticket that is pruned: its posts leave their ids, as it does.
pub(super) fn prune(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<()> {
    let id = ticket_id.as_bytes();
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO pruned (id) SELECT id FROM post WHERE ticket_id = ?1 AND kind <> 2",
        )?
        .execute([id])?;
    connection.prepare_cached("DELETE FROM post WHERE ticket_id = ?1")?.execute([id])?;
    connection.prepare_cached("DELETE FROM conversation WHERE ticket_id = ?1")?.execute([id])?;
    Ok(())
}

fn network(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Network> {
    let name: String = row.get(column)?;
    Ok(Network::from_name(&name).unwrap_or(Network::Plain))
}
