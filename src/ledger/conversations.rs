//! Conversations: posts that join a ticket, answers of our own accounts, and who helps others.
//!
//! The desk says which ticket a post joins; here it is reckoned, inside the commit, what that makes of the ticket's
//! priority, so that a rescoring that came in between is not forgotten. A post that joined is known by the id that a
//! ticket of its own would have had: it makes none, however often it comes.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::rescoring::{Reading, publish};
use super::writer::Changes;
use super::{
    Body, NewFollowUp, Otherwise, Seq, assigned, changed, deadlines, erasure as texts, records, store,
};
use crate::desk::conversation::is_closed;
use crate::desk::follow_up::{Terms, followed_up};
use crate::desk::told::Told;
use crate::parse::Network;
use crate::prefilter::watched::of_post;
use crate::telemetry::Bucket;
use crate::ticket::{TicketId, proto};

mod erasure;
mod helpers;
mod memory;
#[cfg(test)]
mod tests;
pub mod timeline;

pub(super) use erasure::{erase_post, has_lost_its_own, is_of_one, posts_of};
pub use helpers::{HELPERS_MAX, Helper};
pub(super) use helpers::{forget_helper, forget_helpers_before, forget_what_was_said, helpers, thanks};
pub(super) use memory::{remembered, remembered_posts};

/// Posts of bystanders that are kept for each ticket: whoever reads a thread of thousands is not kept.
const BYSTANDERS_MAX: i64 = 100;

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
        seq           INTEGER,             -- the update that tells of it
        network       TEXT NOT NULL,
        author_id     TEXT NOT NULL,
        text_hash     INTEGER NOT NULL,    -- of the text as last seen, as desk::text_hash
        watch         INTEGER,             -- as prefilter::watched::of_post
        at_us         INTEGER NOT NULL,
        erased_at_us  INTEGER
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE ticket ADD COLUMN watch INTEGER;   -- the same of its own post; NULL where it is older than version 4
    CREATE INDEX post_ticket ON post (ticket_id, at_us);
    CREATE INDEX post_author ON post (network, author_id);

    -- What has become of tickets that are more than one post; others have no row.
    CREATE TABLE conversation (
        ticket_id        BLOB PRIMARY KEY,
        further          INTEGER NOT NULL DEFAULT 0,   -- posts that joined and count
        factors          BLOB,             -- an encoded vigie.v1.Update.FollowedUp, its factors alone; NULL: the ticket's own
        answered_at_us   INTEGER,          -- by one of our accounts, and nobody has followed up since
        closed_at_us     INTEGER,          -- solved, closed or deleted in the helpdesk
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

/// What a ticket's priority is made of now.
struct Standing {
    further: u32,
    factors: Vec<proto::Factor>,
}

fn standing(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Standing> {
    let row = connection
        .prepare_cached("SELECT further, factors FROM conversation WHERE ticket_id = ?1")?
        .query_row([ticket_id.as_bytes()], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
        })
        .optional()?;
    let (further, factors) = row.unwrap_or_default();
    // We wrote these bytes, here and below.
    let factors = match factors {
        Some(bytes) => proto::update::FollowedUp::decode(bytes.as_slice()).unwrap_or_default().factors,
        None => own_factors(connection, ticket_id)?,
    };
    Ok(Standing { further, factors })
}

/// The ticket's own factors, or those that the full model put in their place.
fn own_factors(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Vec<proto::Factor>> {
    let factors = |body| match body {
        Body::Ticket(bytes) => Some(proto::Ticket::decode(bytes.as_slice()).ok()?.factors),
        Body::Update(bytes) => match proto::Update::decode(bytes.as_slice()).ok()?.change? {
            proto::update::Change::Rescored(rescored) => Some(rescored.factors),
            _ => None,
        },
    };
    let bodies = records::bodies_of(connection, ticket_id)?;
    Ok(bodies.into_iter().rev().find_map(|(_, body)| factors(body)).unwrap_or_default())
}

fn set_standing(connection: &Connection, ticket_id: TicketId, standing: &Standing) -> rusqlite::Result<()> {
    let factors = proto::update::FollowedUp { factors: standing.factors.clone(), ..Default::default() };
    connection
        .prepare_cached(
            "INSERT INTO conversation (ticket_id, further, factors) VALUES (?1, ?2, ?3)
             ON CONFLICT (ticket_id) DO UPDATE SET further = excluded.further, factors = excluded.factors",
        )?
        .execute(params![ticket_id.as_bytes(), standing.further, factors.encode_to_vec()])?;
    Ok(())
}

/// Which sensitive words a text held that is erased now is not known any more.
pub(super) fn forget_words(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<()> {
    let factors = connection
        .prepare_cached("SELECT factors FROM conversation WHERE ticket_id = ?1 AND factors IS NOT NULL")?
        .query_row([ticket_id.as_bytes()], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    let Some(factors) = factors else { return Ok(()) };
    let mut factors = proto::update::FollowedUp::decode(factors.as_slice()).unwrap_or_default();
    texts::without_words(&mut factors.factors);
    connection
        .prepare_cached("UPDATE conversation SET factors = ?2 WHERE ticket_id = ?1")?
        .execute(params![ticket_id.as_bytes(), factors.encode_to_vec()])?;
    Ok(())
}

/// A post joins its ticket, or does what is said otherwise if that is gone.
pub(super) fn follow_up(
    connection: &Connection,
    new: &NewFollowUp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Bucket> {
    if is_known(connection, new.post_id)? {
        return Ok(Bucket::Duplicate);
    }
    let is_open = connection
        .prepare_cached("SELECT 1 FROM ticket WHERE id = ?1 AND erased_at_us IS NULL")?
        .exists([new.ticket_id.as_bytes()])?;
    if !is_open {
        return match &new.otherwise {
            Otherwise::Ticket(ticket) => {
                let bucket = store::record_ticket(connection, ticket, ageing_points_per_hour, changes)?;
                // The desk took it for one that joins, and counted it for nobody.
                if bucket == Bucket::Ticketed && ticket.assignee.is_some() {
                    changes.told.push(Told::Stands(ticket.id, assigned::holder(connection, ticket.id)?));
                }
                Ok(bucket)
            }
            Otherwise::Bucket(bucket) => Ok(*bucket),
        };
    }
    let mut standing = standing(connection, new.ticket_id)?;
    standing.further += u32::from(new.raises);
    let said: &[proto::Factor] = if new.raises { &new.factors } else { &[] };
    let (score, level) = followed_up(&standing.factors, said, standing.further, &new.terms);
    standing.factors.clone_from(&score.factors);
    set_standing(connection, new.ticket_id, &standing)?;
    connection
        .prepare_cached("UPDATE conversation SET answered_at_us = NULL WHERE ticket_id = ?1 AND ?2")?
        .execute(params![new.ticket_id.as_bytes(), new.raises])?;
    if new.raises {
        deadlines::waits(connection, new.ticket_id, changes)?;
    }
    let followed = proto::update::FollowedUp {
        post: Some(new.post.clone()),
        verdict: Some(new.verdict.clone()),
        priority: score.priority.into(),
        level: level.into(),
        factors: score.factors,
    };
    let update = update(new.ticket_id, new.at, proto::update::Change::FollowedUp(followed));
    let reading = Reading { priority: score.priority, intent: None };
    let seq = publish(connection, new.ticket_id, &update, Some(reading), ageing_points_per_hour, changes)?;
    add_post(connection, new, FOLLOW_UP, seq)?;
    if new.raises {
        changed::mark(connection, new.ticket_id, seq, changes)?;
    }
    if let Some(post_id) = new.thanks {
        helpers::thank(connection, new, post_id)?;
    }
    Ok(Bucket::Merged)
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
            new.at.as_microsecond(),
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
    deadlines::answered(connection, post.ticket_id, post.at, changes)?;
    connection
        .prepare_cached(
            "INSERT INTO conversation (ticket_id, answered_at_us) VALUES (?1, ?2)
             ON CONFLICT (ticket_id) DO UPDATE SET answered_at_us = excluded.answered_at_us",
        )?
        .execute(params![post.ticket_id.as_bytes(), post.at.as_microsecond()])?;
    Ok(())
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

/// What the full model has read a ticket to be, joined with what further posts had made of it meanwhile: of those it
/// takes nothing back.
pub(super) fn reread(
    connection: &Connection,
    ticket_id: TicketId,
    change: &proto::update::Rescored,
    terms: &Terms,
) -> rusqlite::Result<Option<proto::update::Rescored>> {
    let has_joined = connection
        .prepare_cached("SELECT 1 FROM conversation WHERE ticket_id = ?1 AND factors IS NOT NULL")?
        .exists([ticket_id.as_bytes()])?;
    if !has_joined {
        return Ok(None);
    }
    let mut standing = standing(connection, ticket_id)?;
    let (score, level) = followed_up(&standing.factors, &change.factors, standing.further, terms);
    standing.factors.clone_from(&score.factors);
    set_standing(connection, ticket_id, &standing)?;
    let (priority, level) = (score.priority.into(), level.into());
    Ok(Some(proto::update::Rescored { priority, level, factors: score.factors, ..change.clone() }))
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
