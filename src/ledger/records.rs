//! Records as rows: how they are written, and how their heads and bodies are read.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Body, RecordHead, Seq, Traits, outbox};
use crate::parse::Network;
use crate::ticket::TicketId;

pub(super) const KIND_TICKET: i64 = 0;
pub(super) const KIND_UPDATE: i64 = 1;

pub(super) fn add_record(
    connection: &Connection,
    ticket_id: TicketId,
    kind: i64,
    body: &[u8],
) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("INSERT INTO record (ticket_id, kind, body) VALUES (?1, ?2, ?3)")?
        .execute(params![ticket_id.as_bytes(), kind, body])?;
    let seq = connection.last_insert_rowid().cast_unsigned();
    Ok(Seq::new(seq).expect("SQLite's row ids count from 1"))
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

pub(super) fn bodies_of(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Vec<(Seq, Body)>> {
    connection
        .prepare_cached("SELECT seq, kind, body FROM record WHERE ticket_id = ?1 ORDER BY seq")?
        .query_map([ticket_id.as_bytes()], body)?
        .collect()
}

/// Puts what is left of a text that was erased in the place of the record's body.
pub(super) fn replace_body(connection: &Connection, seq: Seq, body: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE record SET body = ?2 WHERE seq = ?1")?
        .execute(params![seq.get().cast_signed(), body])?;
    Ok(())
}

fn body(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Seq, Body)> {
    let bytes = row.get(2)?;
    let body = if row.get::<_, i64>(1)? == KIND_TICKET { Body::Ticket(bytes) } else { Body::Update(bytes) };
    Ok((seq(row, 0)?, body))
}

/// The heads of a ticket's records, its own first.
pub(super) fn heads_of(
    connection: &Connection,
    ticket_id: TicketId,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Vec<RecordHead>> {
    connection
        .prepare_cached(&format!(
            "SELECT {HEAD} FROM record r JOIN ticket t ON t.id = r.ticket_id WHERE r.ticket_id = ?1 ORDER BY r.seq"
        ))?
        .query_map([ticket_id.as_bytes()], |row| head(row, ageing_points_per_hour))?
        .collect()
}

/// The head of a ticket's own record.
pub(super) fn own_head(
    connection: &Connection,
    ticket_id: TicketId,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Option<RecordHead>> {
    connection
        .prepare_cached(&format!(
            "SELECT {HEAD} FROM ticket t JOIN record r ON r.seq = t.seq WHERE t.id = ?1"
        ))?
        .query_row([ticket_id.as_bytes()], |row| head(row, ageing_points_per_hour))
        .optional()
}

/// A record with what filters look at; [`head`] reads its rows.
pub(super) const HEAD: &str = "r.seq, r.ticket_id, t.seq, t.created_at_us, t.due_at_us,
            t.brand, t.network, t.language, t.intent, t.priority, t.rescored, t.rescored_intent";

/// Ranks are made when heads are read, not stored: a new ageing rate then ranks old records with the new ones.
pub(super) fn head(row: &rusqlite::Row<'_>, ageing_points_per_hour: u32) -> rusqlite::Result<RecordHead> {
    let traits = traits(row, 5)?;
    let priority_now = traits.rescored.as_ref().map_or(traits.priority, |(priority, _)| *priority);
    Ok(RecordHead {
        seq: seq(row, 0)?,
        ticket_id: ticket_id(row, 1)?,
        ticket_seq: seq(row, 2)?,
        rank: outbox::rank(priority_now, row.get(3)?, ageing_points_per_hour),
        due_at_us: row.get(4)?,
        traits,
    })
}

/// Brand, network, language, intent, priority, rescored and rescored_intent, from this column on.
pub(super) fn traits(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Traits> {
    let network: String = row.get(first + 1)?;
    let rescored: Option<(u16, String)> = row.get::<_, Option<u16>>(first + 5)?.zip(row.get(first + 6)?);
    Ok(Traits {
        brand: Arc::from(row.get::<_, String>(first)?),
        network: Network::from_name(&network).unwrap_or(Network::Plain),
        language: row.get::<_, String>(first + 2)?.into(),
        intent: row.get::<_, String>(first + 3)?.into(),
        priority: row.get(first + 4)?,
        rescored: rescored.map(|(priority, intent)| (priority, intent.into())),
    })
}

pub(super) fn seq(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    let seq: i64 = row.get(column)?;
    Seq::new(seq.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, seq))
}

/// The same of a column that may be NULL.
pub(super) fn some_ticket_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<TicketId>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => ticket_id(row, column).map(Some),
    }
}

pub(super) fn ticket_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<TicketId> {
    let bytes = row.get_ref(column)?.as_blob()?;
    TicketId::from_bytes(bytes).ok_or_else(|| {
        let error = format!("a ticket id of {} bytes", bytes.len());
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, error.into())
    })
}
