//! Who has which ticket: what the desk must know again after a restart, and after reports that it missed.
//!
//! A row follows its ticket: written with it, changed by what helpdesks report and by the desk itself, pruned with it.

use prost::Message;
use rusqlite::{Connection, params};

use super::writer::Changes;
use super::{records, store};
use crate::ticket::proto::ticket_status::State;
use crate::ticket::{TicketId, proto};

pub(super) const TABLES: &str = "
    -- Tickets that a route gave to a team. Of those that are open, the desk counts what each agent has to do.
    CREATE TABLE assigned (
        ticket_id  BLOB PRIMARY KEY,       -- 16 bytes
        seq        INTEGER NOT NULL,       -- the ticket's
        team       TEXT NOT NULL,
        agent      TEXT NOT NULL,          -- as last reported, or as the desk decided; empty: only the team's
        by_helpdesk INTEGER NOT NULL DEFAULT 0, -- 1 if a helpdesk named an agent other than the desk's
        is_open    INTEGER NOT NULL        -- 0 once solved, closed or deleted
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX assigned_open ON assigned (seq) WHERE is_open = 1;
";

/// Whose a new ticket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignee {
    /// As in config.
    pub team: String,
    /// Empty: only the team's.
    pub agent: String,
}

/// A ticket that a route gave to a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// Which ticket.
    pub ticket_id: TicketId,
    /// Whose it is.
    pub assignee: Assignee,
    /// Whether a helpdesk named the agent, and not the desk.
    pub by_helpdesk: bool,
    /// Whether somebody still works on it, as far as helpdesks have said.
    pub is_open: bool,
}

pub(super) fn add(
    connection: &Connection,
    id: TicketId,
    seq: i64,
    assignee: &Assignee,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO assigned (ticket_id, seq, team, agent, is_open) VALUES (?1, ?2, ?3, ?4, 1)",
        )?
        .execute(params![id.as_bytes(), seq, assignee.team, assignee.agent])?;
    Ok(())
}

/// Takes over what a helpdesk says of the ticket; `body` is an encoded `TicketStatus`.
pub(super) fn report(connection: &Connection, id: TicketId, body: &[u8]) -> rusqlite::Result<()> {
    // The wire has decoded it before.
    let Ok(status) = proto::TicketStatus::decode(body) else { return Ok(()) };
    let is_done = matches!(status.state(), State::Solved | State::Closed | State::Deleted);
    connection
        .prepare_cached(
            "UPDATE assigned SET is_open = ?2, agent = CASE ?3 WHEN '' THEN agent ELSE ?3 END,
                                 by_helpdesk = CASE ?3 WHEN '' THEN by_helpdesk
                                                       WHEN agent THEN by_helpdesk ELSE 1 END
             WHERE ticket_id = ?1",
        )?
        .execute(params![id.as_bytes(), !is_done, status.agent])?;
    Ok(())
}

/// Records that the ticket is somebody else's now. Of a ticket that is erased or gone nobody is told.
pub(super) fn assign(
    connection: &Connection,
    id: TicketId,
    assignment: &proto::Assignment,
    at_us: i64,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let assigned = proto::update::Assigned { assignment: Some(assignment.clone()) };
    let update = proto::Update {
        ticket_id: id.as_bytes().to_vec(),
        at_us,
        change: Some(proto::update::Change::Assigned(assigned)),
    };
    changes.heads.extend(store::add_update(connection, id, &update, ageing_points_per_hour)?);
    connection
        .prepare_cached("UPDATE assigned SET team = ?2, agent = ?3, by_helpdesk = 0 WHERE ticket_id = ?1")?
        .execute(params![id.as_bytes(), assignment.team, assignment.agent])?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, id: TicketId) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM assigned WHERE ticket_id = ?1")?.execute([id.as_bytes()])?;
    Ok(())
}

/// Those that are open, the oldest first, or all of them.
pub(super) fn visit(
    connection: &Connection,
    open_only: bool,
    mut visit: impl FnMut(&Assigned),
) -> rusqlite::Result<()> {
    let which = if open_only { "WHERE is_open = 1 ORDER BY seq" } else { "ORDER BY seq" };
    let mut statement = connection
        .prepare(&format!("SELECT ticket_id, team, agent, by_helpdesk, is_open FROM assigned {which}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(&Assigned {
            ticket_id: records::ticket_id(row, 0)?,
            assignee: Assignee { team: row.get(1)?, agent: row.get(2)? },
            by_helpdesk: row.get(3)?,
            is_open: row.get(4)?,
        });
    }
    Ok(())
}
