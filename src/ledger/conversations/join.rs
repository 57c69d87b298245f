//! Posts that join a ticket, and what that makes of its priority.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::{FOLLOW_UP, ThreadPost, add_post, bystander, helpers, is_known, update};
use crate::desk::Whose;
use crate::desk::conversation::{JOINED_MAX, NEWEST_MAX};
use crate::desk::follow_up::{self, Amended, Terms, followed_up};
use crate::desk::priority::forget;
use crate::desk::told::Told;
use crate::ledger::rescoring::{Reading, most_probable_intent, publish};
use crate::ledger::writer::Changes;
use crate::ledger::{
    Body, NewFollowUp, Otherwise, Seq, assigned, changed, deadlines, erasure as texts, records, store,
    tickets,
};
use crate::telemetry::Bucket;
use crate::ticket::{TicketId, proto};

/// A post joins its ticket. If that is closed by now, gone, or has all the posts that it takes, it joins its author's next
/// one, or does what is said otherwise; and the desk is told.
pub(in crate::ledger) fn follow_up(
    connection: &Connection,
    new: &NewFollowUp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Bucket> {
    if is_known(connection, new.post_id)? {
        return Ok(Bucket::Duplicate);
    }
    if takes_more(connection, new.ticket_id)? {
        return join(connection, new, ageing_points_per_hour, changes);
    }
    let ticket = match &new.otherwise {
        Otherwise::Ticket(ticket) => ticket,
        Otherwise::Bucket(bucket) => {
            // It stands in the thread all the same.
            bystander(connection, &ThreadPost::of(new))?;
            changes.told.push(Told::Closed(new.ticket_id));
            changes.told.push(Told::Beside(new.post_id));
            return Ok(*bucket);
        }
    };
    let brand = ticket.traits.brand.clone();
    let (at_us, in_thread) = (new.posted_at.as_microsecond(), ticket.thread.is_some());
    let (ticket_id, bucket) = match open_ticket_of(connection, new, &brand, ticket.thread)? {
        // A post before this one, which the desk had taken for the same ticket, may have made it in this very commit.
        Some(ticket_id) => {
            let new = NewFollowUp { ticket_id, ..new.clone() };
            (ticket_id, join(connection, &new, ageing_points_per_hour, changes)?)
        }
        None => {
            let bucket = store::record_ticket(connection, ticket, ageing_points_per_hour, changes)?;
            // The desk took it for one that joins, and counted it for nobody.
            if bucket == Bucket::Ticketed && ticket.assignee.is_some() {
                changes.told.push(Told::Stands(ticket.id, assigned::holder(connection, ticket.id)?));
            }
            (ticket.id, bucket)
        }
    };
    changes.told.push(Told::Belongs { post_id: new.post_id, ticket_id, brand, in_thread, at_us });
    Ok(bucket)
}

/// Whether further posts join the ticket.
fn takes_more(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(&format!("SELECT 1 FROM ({OPEN} AND t.id = ?1) WHERE joined < ?2"))?
        .exists(params![ticket_id.as_bytes(), JOINED_MAX])
}

/// Open tickets, and how many posts have joined them, as far as that matters: as
/// [`Conversations`](crate::desk::Conversations) counts them.
const OPEN: &str = "
    SELECT t.id, t.seq, t.thread_id, coalesce(t.posted_at_us, t.created_at_us) AS posted_at_us,
           (SELECT count(*) FROM (SELECT 1 FROM post WHERE ticket_id = t.id AND kind = 0 LIMIT ?2)) AS joined
    FROM ticket t LEFT JOIN conversation c ON c.ticket_id = t.id
    WHERE t.erased_at_us IS NULL AND c.closed_at_us IS NULL";

/// The open ticket of the post's author that the desk would have it join: the newest one of the thread that it hangs in,
/// else the newest one whose last post is near enough.
fn open_ticket_of(
    connection: &Connection,
    new: &NewFollowUp,
    brand: &str,
    thread: Option<TicketId>,
) -> rusqlite::Result<Option<TicketId>> {
    let since_us = match new.join_us {
        0 => i64::MAX,
        join_us => new.posted_at.as_microsecond().saturating_sub(join_us),
    };
    connection
        .prepare_cached(&format!(
            "SELECT id, coalesce(id = ?7 OR thread_id = ?7, 0) AS is_of_thread FROM ({OPEN} AND t.id IN
               (SELECT id FROM ticket WHERE network = ?1 AND author_id = ?3 AND brand = ?4 ORDER BY seq DESC LIMIT ?6)) o
             WHERE joined < ?2 AND (is_of_thread OR posted_at_us > ?5 OR
               ?5 < (SELECT max(at_us) FROM post WHERE ticket_id = o.id AND kind = 0))
             ORDER BY is_of_thread DESC, seq DESC LIMIT 1",
        ))?
        .query_row(
            params![
                new.network.name(),
                JOINED_MAX,
                new.author_id,
                brand,
                since_us,
                NEWEST_MAX,
                thread.as_ref().map(TicketId::as_bytes),
            ],
            |row| records::ticket_id(row, 0),
        )
        .optional()
}

fn join(
    connection: &Connection,
    new: &NewFollowUp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Bucket> {
    let mut standing = standing(connection, new.ticket_id)?;
    // What somebody else says there may be worse; but who has waited and writes again is the ticket's author alone.
    standing.further += u32::from(new.raises && is_by_its_author(connection, new)?);
    let said: &[proto::Factor] = if new.raises { &new.factors } else { &[] };
    let (score, level) = followed_up(&standing.factors, said, standing.further, &new.terms);
    standing.factors.clone_from(&score.factors);
    set_standing(connection, new.ticket_id, &standing)?;
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

fn is_by_its_author(connection: &Connection, new: &NewFollowUp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM ticket WHERE id = ?1 AND network = ?2 AND author_id = ?3")?
        .exists(params![new.ticket_id.as_bytes(), new.network.name(), new.author_id])
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
pub(in crate::ledger) fn forget_words(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<()> {
    change_factors(connection, ticket_id, |factors| texts::without_words(factors))
}

/// As [`forget_words`], and nothing that was known of who wrote it either.
pub(in crate::ledger) fn forget_person(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<()> {
    change_factors(connection, ticket_id, |factors| {
        forget(factors);
        texts::without_words(factors);
    })
}

fn change_factors(
    connection: &Connection,
    ticket_id: TicketId,
    change: impl FnOnce(&mut Vec<proto::Factor>),
) -> rusqlite::Result<()> {
    let factors = connection
        .prepare_cached("SELECT factors FROM conversation WHERE ticket_id = ?1 AND factors IS NOT NULL")?
        .query_row([ticket_id.as_bytes()], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    let Some(factors) = factors else { return Ok(()) };
    let mut factors = proto::update::FollowedUp::decode(factors.as_slice()).unwrap_or_default();
    change(&mut factors.factors);
    connection
        .prepare_cached("UPDATE conversation SET factors = ?2 WHERE ticket_id = ?1")?
        .execute(params![ticket_id.as_bytes(), factors.encode_to_vec()])?;
    Ok(())
}

/// An edit of a ticket's post, or of one that has joined it, once it is recorded.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Edited {
    pub(in crate::ledger) ticket_id: TicketId,
    /// Of the update that tells of it.
    pub(in crate::ledger) seq: Seq,
    /// Whether it is the ticket's own post.
    pub(in crate::ledger) is_own: bool,
    pub(in crate::ledger) at: Timestamp,
}

/// What the text of a post as its author has changed it makes of its ticket: it never comes to matter less by that.
pub(in crate::ledger) fn amend(
    connection: &Connection,
    edited: Edited,
    amended: &Amended,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Edited { ticket_id, seq, is_own, at } = edited;
    let Some(kept) = tickets::one(connection, ticket_id)? else { return Ok(()) };
    let mut standing = standing(connection, ticket_id)?;
    let factors = standing.factors.clone();
    let stands = proto::Ticket { verdict: Some(kept.verdict), factors, ..kept.ticket };
    let mut changed_by = Some(seq);
    if let Some(rescored) = follow_up::amended(&stands, standing.further, amended) {
        standing.factors.clone_from(&rescored.factors);
        set_standing(connection, ticket_id, &standing)?;
        // Of what is closed nobody waits for anything.
        if assigned::whose(connection, ticket_id)? != Whose::Nobodys {
            deadlines::waits(connection, ticket_id, changes)?;
        }
        // Of several posts the intent stays that filters went by.
        let is_said_anew = follow_up::is_said_anew(&stands.factors, &rescored.factors);
        let intent = most_probable_intent(&rescored).filter(|_| is_own && is_said_anew).map(str::to_owned);
        let priority = u16::try_from(rescored.priority).unwrap_or(u16::MAX);
        let reading = Reading { priority, intent: intent.as_deref() };
        let update = update(ticket_id, at, proto::update::Change::Rescored(rescored));
        changed_by = publish(connection, ticket_id, &update, Some(reading), ageing_points_per_hour, changes)?;
    }
    // What it says may be another team's, however much it matters.
    changed::mark(connection, ticket_id, changed_by, changes)
}

/// What the full model has read a ticket to be, joined with what further posts and edits had made of it meanwhile: of those
/// it takes nothing back.
pub(in crate::ledger) fn reread(
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
    // Whatever its first post is, people wait there.
    let unsupported = false;
    Ok(Some(proto::update::Rescored {
        priority,
        level,
        factors: score.factors,
        unsupported,
        ..change.clone()
    }))
}
