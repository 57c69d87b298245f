//! Settling: what a source's batch does to the tables, inside the caller's transaction.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::records::{HEAD, KIND_TICKET, KIND_UPDATE, add_record, bodies_of, head, seq, ticket_id};
use super::writer::Changes;
use super::{Body, NewTicket, RecordHead, Seq, assigned, conversations, outbox};
use crate::desk::told::Told;
use crate::parse::Network;
use crate::telemetry::Bucket;
use crate::ticket::{TicketId, proto};

pub(super) fn position(connection: &Connection, source: &str) -> rusqlite::Result<Option<i64>> {
    let position = connection
        .prepare_cached("SELECT position FROM source WHERE name = ?1")?
        .query_row([source], |row| row.get(0))
        .optional()?;
    Ok(position.flatten())
}

/// Moves a position forward; it never goes back, because replays arrive with older ones.
pub(super) fn move_position(
    connection: &Connection,
    source: &str,
    position: Option<i64>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO source (name, position) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE
             SET position = max(coalesce(position, excluded.position), coalesce(excluded.position, position))",
        )?
        .execute(params![source, position])?;
    Ok(())
}

/// Records a new ticket; `None` if its id is known.
pub(super) fn add_ticket(
    connection: &Connection,
    ticket: &NewTicket,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Option<RecordHead>> {
    if conversations::is_known(connection, ticket.id)? {
        return Ok(None);
    }
    let rank =
        outbox::rank(ticket.traits.priority, ticket.created_at.as_microsecond(), ageing_points_per_hour);
    let seq = add_record(connection, ticket.id, KIND_TICKET, &ticket.body)?;
    connection
        .prepare_cached(
            "INSERT INTO ticket (id, seq, network, author_id, brand, language, intent, priority,
                                 created_at_us, due_at_us, text_hash, provisional, overdue, next_at_us,
                                 watch, thread_id, posted_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, iif(?13 IS NULL, NULL, 0), ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            ticket.id.as_bytes(),
            seq.get().cast_signed(),
            ticket.traits.network.name(),
            ticket.author_id,
            ticket.traits.brand,
            ticket.traits.language,
            ticket.traits.intent,
            ticket.traits.priority,
            ticket.created_at.as_microsecond(),
            ticket.due_at_us,
            ticket.text_hash.cast_signed(),
            ticket.provisional,
            ticket.at_risk_at_us,
            ticket.watch.cast_signed(),
            ticket.thread.as_ref().map(TicketId::as_bytes),
            ticket.posted_at.as_microsecond(),
        ])?;
    if let Some(assignee) = &ticket.assignee {
        assigned::add(connection, ticket.id, seq.get().cast_signed(), assignee)?;
    }
    let (ticket_id, due_at_us, traits) = (ticket.id, ticket.due_at_us, ticket.traits.clone());
    Ok(Some(RecordHead { seq, ticket_id, ticket_seq: seq, rank, due_at_us, traits }))
}

/// Records a new ticket and says where its frame ends.
pub(super) fn record_ticket(
    connection: &Connection,
    ticket: &NewTicket,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Bucket> {
    let Some(head) = add_ticket(connection, ticket, ageing_points_per_hour)? else {
        // The desk has forgotten that there is one, and counted it for an agent once more.
        if ticket.assignee.is_some() {
            changes.told.push(Told::Stands(ticket.id, assigned::holder(connection, ticket.id)?));
        }
        return Ok(Bucket::Duplicate);
    };
    changes.heads.push(head);
    changes.provisional += i64::from(ticket.provisional);
    changes.clocks.started(ticket.at_risk_at_us);
    Ok(Bucket::Ticketed)
}

/// Records a change of a ticket; `None` if there is no such ticket or it is erased.
pub(super) fn add_update(
    connection: &Connection,
    ticket_id: TicketId,
    update: &proto::Update,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Option<RecordHead>> {
    let head = connection
        .prepare_cached(&format!(
            "SELECT {HEAD} FROM record r JOIN ticket t ON t.id = r.ticket_id
             WHERE t.id = ?1 AND t.erased_at_us IS NULL AND r.seq = t.seq"
        ))?
        .query_row([ticket_id.as_bytes()], |row| head(row, ageing_points_per_hour))
        .optional()?;
    let Some(head) = head else { return Ok(None) };
    let seq = add_record(connection, ticket_id, KIND_UPDATE, &update.encode_to_vec())?;
    Ok(Some(RecordHead { seq, ..head }))
}

/// How far a network's clock may run backwards between two events of one post, µs: Jetstream's does by 32 ms.
const DISORDER_US: i64 = 100_000;

/// Edits of one post that are told, the first: each is an update, which a helpdesk shows to people, and whoever corrects
/// themselves has done so by then. Of later ones each hour's first is told; the others only take the place of the text
/// that was stored last, so that nothing stays that its author has taken out.
pub(super) const EDITS_MAX: usize = 20;
const HOUR_US: i64 = 3_600_000_000;

/// What an edit is to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    /// It changes the text.
    New,
    /// The same, and it is the last one of those that are told whenever they come: see [`EDITS_MAX`].
    Last,
    /// The ticket has this very edit, or a newer one: a stream that is rewound shows them all again.
    Known,
    /// Its post is changed too often: it goes into the place of the one in this record.
    Instead(Seq),
}

/// What this edit of a post is.
///
/// When the ticket's first text was seen says nothing: that may be by our clock, and an edit's by the network's.
///
/// `post_id` is empty for the ticket's own post.
pub(super) fn edit(
    connection: &Connection,
    ticket_id: TicketId,
    post_id: &str,
    text: &str,
    at: Timestamp,
) -> rusqlite::Result<Edit> {
    let texts = bodies_of(connection, ticket_id)?.into_iter().filter_map(|(seq, body)| match body {
        Body::Update(bytes) => {
            let update = proto::Update::decode(bytes.as_slice()).ok()?;
            let proto::update::Change::Edited(edited) = update.change? else { return None };
            (edited.post_id == post_id).then_some((seq, update.at_us, edited.text))
        }
        Body::Ticket(_) => None,
    });
    let at_us = at.as_microsecond();
    let mut edits = 0;
    let mut last = None;
    for (seq, known_us, known) in texts {
        if (known_us == at_us && known == text) || known_us > at_us.saturating_add(DISORDER_US) {
            return Ok(Edit::Known);
        }
        edits += 1;
        last = Some((seq, known_us));
    }
    let is_of_its_hour = |other_us: &i64| at_us.div_euclid(HOUR_US) <= other_us.div_euclid(HOUR_US);
    Ok(match last.filter(|(_, last_us)| edits >= EDITS_MAX && is_of_its_hour(last_us)) {
        Some((seq, _)) => Edit::Instead(seq),
        None if edits + 1 == EDITS_MAX => Edit::Last,
        None => Edit::New,
    })
}

/// Puts a change in the place of the one in this record; `false` if its ticket is erased.
pub(super) fn replace_update(
    connection: &Connection,
    seq: Seq,
    update: &proto::Update,
) -> rusqlite::Result<bool> {
    let replaced = connection
        .prepare_cached(
            "UPDATE record SET body = ?2 WHERE seq = ?1
             AND (SELECT erased_at_us IS NULL FROM ticket WHERE id = record.ticket_id)",
        )?
        .execute(params![seq.get().cast_signed(), update.encode_to_vec()])?;
    Ok(replaced > 0)
}

/// The text as last seen, so that a replay of the same edit is known after a restart.
pub(super) fn set_text_hash(
    connection: &Connection,
    ticket_id: TicketId,
    text_hash: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE ticket SET text_hash = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), text_hash.cast_signed()])?;
    Ok(())
}

/// The author's tickets that still have their text.
pub(super) fn tickets_of(
    connection: &Connection,
    network: Network,
    author_id: &str,
) -> rusqlite::Result<Vec<TicketId>> {
    connection
        .prepare_cached(
            "SELECT id FROM ticket WHERE network = ?1 AND author_id = ?2 AND erased_at_us IS NULL",
        )?
        .query_map(params![network.name(), author_id], |row| ticket_id(row, 0))?
        .collect()
}

pub(super) fn tickets(
    connection: &Connection,
    tickets_max: usize,
    mut visit: impl FnMut(TicketId, u64),
) -> rusqlite::Result<()> {
    let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
    // Along the table, whose order is that of the ids, and sorted here: in the order of seq, by its index, every row
    // would be a look-up somewhere else in the file. The plus keeps SQLite from that index.
    let mut statement = connection.prepare(
        "SELECT seq, id, text_hash FROM ticket
         WHERE +seq > coalesce((SELECT seq FROM ticket ORDER BY seq DESC LIMIT 1 OFFSET ?1), 0)",
    )?;
    let mut tickets = statement
        .query_map([limit], |row| {
            Ok((seq(row, 0)?, ticket_id(row, 1)?, row.get::<_, i64>(2)?.cast_unsigned()))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    tickets.sort_unstable_by_key(|(seq, ..)| *seq);
    tickets.into_iter().for_each(|(_, id, text_hash)| visit(id, text_hash));
    Ok(())
}
