//! The statements: each function is one thing the ledger does to its tables, inside the caller's
//! transaction.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::outbox;
use super::{Accounting, Body, Feedback, NewTicket, RecordHead, Seq, Traits};
use crate::parse::Network;
use crate::source::Gap;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

const KIND_TICKET: i64 = 0;
const KIND_UPDATE: i64 = 1;

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

pub(super) fn add_buckets(connection: &Connection, source: &str, buckets: &Buckets) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO bucket (source, bucket, frames) VALUES (?1, ?2, ?3)
         ON CONFLICT (source, bucket) DO UPDATE SET frames = frames + excluded.frames",
    )?;
    for (bucket, frames) in buckets.iter().filter(|(_, frames)| *frames > 0) {
        statement.execute(params![source, bucket.name(), frames.cast_signed()])?;
    }
    Ok(())
}

pub(super) fn add_gap(
    connection: &Connection,
    source: &str,
    gap: &Gap,
    at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO gap (source, from_position, to_position, reason, noticed_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![source, gap.from, gap.to, gap.reason, at.as_microsecond()])?;
    Ok(())
}

/// Records a new ticket; `None` if its id is known.
pub(super) fn add_ticket(
    connection: &Connection,
    ticket: &NewTicket,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Option<RecordHead>> {
    let known =
        connection.prepare_cached("SELECT 1 FROM ticket WHERE id = ?1")?.exists([ticket.id.as_bytes()])?;
    if known {
        return Ok(None);
    }
    let rank =
        outbox::rank(ticket.traits.priority, ticket.created_at.as_microsecond(), ageing_points_per_hour);
    let seq = add_record(connection, ticket.id, KIND_TICKET, rank, &ticket.body)?;
    connection
        .prepare_cached(
            "INSERT INTO ticket (id, seq, network, author_id, brand, language, intent, priority,
                                 created_at_us, due_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
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
        ])?;
    let (ticket_id, due_at_us, traits) = (ticket.id, ticket.due_at_us, ticket.traits.clone());
    Ok(Some(RecordHead { seq, ticket_id, rank, due_at_us, traits }))
}

/// Records a change of a ticket; `None` if there is no such ticket or it is erased.
pub(super) fn add_update(
    connection: &Connection,
    ticket_id: TicketId,
    update: &proto::Update,
) -> rusqlite::Result<Option<RecordHead>> {
    let head = connection
        .prepare_cached(&format!("{HEADS} WHERE t.id = ?1 AND t.erased_at_us IS NULL AND r.seq = t.seq"))?
        .query_row([ticket_id.as_bytes()], head)
        .optional()?;
    let Some(head) = head else { return Ok(None) };
    let seq = add_record(connection, ticket_id, KIND_UPDATE, head.rank, &update.encode_to_vec())?;
    Ok(Some(RecordHead { seq, ..head }))
}

/// Removes a ticket's text wherever it is stored, and records that for the helpdesks.
pub(super) fn erase(
    connection: &Connection,
    ticket_id: TicketId,
    reason: &str,
    at: Timestamp,
) -> rusqlite::Result<Option<RecordHead>> {
    let erased = proto::update::Erased { reason: reason.to_owned() };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Erased(erased)),
    };
    let Some(head) = add_update(connection, ticket_id, &update)? else { return Ok(None) };
    connection
        .prepare_cached("UPDATE ticket SET erased_at_us = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
    for (seq, body) in bodies_of(connection, ticket_id)? {
        let body = match body {
            Body::Ticket(bytes) => without_text_in_ticket(&bytes),
            Body::Update(bytes) => without_text_in_update(&bytes),
        };
        connection
            .prepare_cached("UPDATE record SET body = ?2 WHERE seq = ?1")?
            .execute(params![seq.get().cast_signed(), body])?;
    }
    Ok(Some(head))
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

fn without_text_in_ticket(bytes: &[u8]) -> Vec<u8> {
    // We wrote these bytes; should they not decode, an empty ticket is the safe answer to an erasure.
    let mut ticket = proto::Ticket::decode(bytes).unwrap_or_default();
    if let Some(post) = &mut ticket.post {
        post.text.clear();
        post.mentions.clear();
        post.hashtags.clear();
        post.links.clear();
    }
    ticket.hits.clear();
    ticket.encode_to_vec()
}

fn without_text_in_update(bytes: &[u8]) -> Vec<u8> {
    let mut update = proto::Update::decode(bytes).unwrap_or_default();
    if let Some(proto::update::Change::Edited(edited)) = &mut update.change {
        edited.text.clear();
    }
    update.encode_to_vec()
}

fn add_record(
    connection: &Connection,
    ticket_id: TicketId,
    kind: i64,
    rank: i64,
    body: &[u8],
) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("INSERT INTO record (ticket_id, kind, rank, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![ticket_id.as_bytes(), kind, rank, body])?;
    let seq = connection.last_insert_rowid().cast_unsigned();
    Ok(Seq::new(seq).expect("SQLite's row ids count from 1"))
}

/// Opens the subscription, or creates it, and returns its pending heads.
pub(super) fn subscribe(
    connection: &Connection,
    name: &str,
    start_next: bool,
) -> rusqlite::Result<Vec<RecordHead>> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO subscription (name, floor)
             SELECT ?1, CASE WHEN ?2 THEN coalesce((SELECT max(seq) FROM record), 0) ELSE 0 END",
        )?
        .execute(params![name, start_next])?;
    connection
        .prepare_cached(&format!(
            "{HEADS} WHERE r.seq > (SELECT floor FROM subscription WHERE name = ?1)
               AND NOT EXISTS (SELECT 1 FROM acknowledgement a WHERE a.subscription = ?1 AND a.seq = r.seq)
             ORDER BY r.seq"
        ))?
        .query_map([name], head)?
        .collect()
}

pub(super) fn acknowledge(connection: &Connection, subscription: &str, seqs: &[Seq]) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT OR IGNORE INTO acknowledgement (subscription, seq) VALUES (?1, ?2)")?;
    for seq in seqs {
        statement.execute(params![subscription, seq.get().cast_signed()])?;
    }
    Ok(())
}

/// Forgets single acknowledgements below `floor`, under which nothing is pending any more.
pub(super) fn raise_floor(connection: &Connection, subscription: &str, floor: u64) -> rusqlite::Result<()> {
    let parameters = params![subscription, floor.cast_signed()];
    connection
        .prepare_cached("UPDATE subscription SET floor = max(floor, ?2) WHERE name = ?1")?
        .execute(parameters)?;
    connection
        .prepare_cached("DELETE FROM acknowledgement WHERE subscription = ?1 AND seq <= ?2")?
        .execute(parameters)?;
    Ok(())
}

/// All subscriptions by name.
pub(super) fn subscriptions(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection.prepare_cached("SELECT name FROM subscription")?.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn add_feedback(
    connection: &Connection,
    feedback: &Feedback,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (kind, ticket_id, body) = match feedback {
        Feedback::TicketStatus(id, body) => ("ticket_status", Some(id.as_bytes()), body),
        Feedback::Touchpoint(body) => ("touchpoint", None, body),
        Feedback::AgentState(body) => ("agent_state", None, body),
    };
    connection
        .prepare_cached("INSERT INTO feedback (at_us, kind, ticket_id, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![at.as_microsecond(), kind, ticket_id, body])?;
    Ok(())
}

pub(super) fn accounting(connection: &Connection) -> rusqlite::Result<Accounting> {
    let mut accounting = Accounting::default();
    let mut sources = connection.prepare("SELECT name, position FROM source")?;
    let mut rows = sources.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.position = row.get(1)?;
    }
    let mut buckets = connection.prepare("SELECT source, bucket, frames FROM bucket")?;
    let mut rows = buckets.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let bucket = Bucket::ALL.into_iter().find(|bucket| bucket.name() == name).ok_or_else(|| {
            let error = format!("unknown bucket {name}");
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
        })?;
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.buckets[bucket] = row.get::<_, i64>(2)?.cast_unsigned();
    }
    let mut gaps = connection.prepare("SELECT source, count(*) FROM gap GROUP BY source")?;
    let mut rows = gaps.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.gaps = row.get::<_, i64>(1)?.cast_unsigned();
    }
    Ok(accounting)
}

pub(super) fn tickets(
    connection: &Connection,
    tickets_max: usize,
    mut visit: impl FnMut(TicketId, &str),
) -> rusqlite::Result<()> {
    let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
    let mut statement = connection.prepare(
        "SELECT t.id, r.body FROM ticket t JOIN record r ON r.seq = t.seq
         WHERE t.seq > coalesce((SELECT seq FROM ticket ORDER BY seq DESC LIMIT 1 OFFSET ?1), 0)
         ORDER BY t.seq",
    )?;
    let mut rows = statement.query([limit])?;
    while let Some(row) = rows.next()? {
        let ticket = proto::Ticket::decode(row.get_ref(1)?.as_blob()?).unwrap_or_default();
        visit(ticket_id(row, 0)?, ticket.post.as_ref().map_or("", |post| &post.text));
    }
    Ok(())
}

/// Bodies in the order asked; a seq that is gone is left out.
pub(super) fn read(connection: &Connection, seqs: &[Seq]) -> rusqlite::Result<Vec<(Seq, Body)>> {
    let mut statement = connection.prepare_cached("SELECT seq, kind, body FROM record WHERE seq = ?1")?;
    let mut bodies = Vec::with_capacity(seqs.len());
    for seq in seqs {
        bodies.extend(statement.query_row([seq.get().cast_signed()], body).optional()?);
    }
    Ok(bodies)
}

fn bodies_of(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Vec<(Seq, Body)>> {
    connection
        .prepare_cached("SELECT seq, kind, body FROM record WHERE ticket_id = ?1")?
        .query_map([ticket_id.as_bytes()], body)?
        .collect()
}

fn body(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Seq, Body)> {
    let bytes = row.get(2)?;
    let body = if row.get::<_, i64>(1)? == KIND_TICKET { Body::Ticket(bytes) } else { Body::Update(bytes) };
    Ok((seq(row, 0)?, body))
}

/// A record with what filters look at; [`head`] reads its rows.
const HEADS: &str =
    "SELECT r.seq, r.ticket_id, r.rank, t.due_at_us, t.brand, t.network, t.language, t.intent, t.priority
     FROM record r JOIN ticket t ON t.id = r.ticket_id";

fn head(row: &rusqlite::Row<'_>) -> rusqlite::Result<RecordHead> {
    let network: String = row.get(5)?;
    Ok(RecordHead {
        seq: seq(row, 0)?,
        ticket_id: ticket_id(row, 1)?,
        rank: row.get(2)?,
        due_at_us: row.get(3)?,
        traits: Traits {
            brand: Arc::from(row.get::<_, String>(4)?),
            network: Network::from_name(&network).unwrap_or(Network::Plain),
            language: row.get::<_, String>(6)?.into(),
            intent: row.get::<_, String>(7)?.into(),
            priority: row.get(8)?,
        },
    })
}

fn seq(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    let seq: i64 = row.get(column)?;
    Seq::new(seq.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, seq))
}

fn ticket_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<TicketId> {
    let bytes = row.get_ref(column)?.as_blob()?;
    TicketId::from_bytes(bytes).ok_or_else(|| {
        let error = format!("a ticket id of {} bytes", bytes.len());
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, error.into())
    })
}
