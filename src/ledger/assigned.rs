//! Who has which ticket: what the desk must know again after a restart, and after reports that it missed.
//!
//! A row follows its ticket: written with it, changed by what helpdesks report and by the desk itself, pruned with it.

use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Changes;
use super::{changed, deadlines, store, tickets};
use crate::desk::conversation::is_closed;
use crate::desk::route::{AgentChoice, Needs};
use crate::desk::told::Told;
use crate::desk::{Anew, Whose};
use crate::ticket::{TicketId, proto};

mod read;

#[cfg(test)]
pub(super) use read::NEWEST;
pub(super) use read::{holder, visit_answered, visit_closed, visit_open, visit_relieved};

pub(super) const TABLES: &str = "
    -- Tickets that a route gave to a team. Of those that are open, the desk counts what each agent has to do.
    CREATE TABLE assigned (
        ticket_id  BLOB PRIMARY KEY,       -- 16 bytes
        seq        INTEGER NOT NULL,       -- the ticket's
        team       TEXT NOT NULL,
        agent      TEXT NOT NULL,          -- as last reported, or as the desk decided; empty: only the team's
        by_helpdesk INTEGER NOT NULL DEFAULT 0, -- 1 if a helpdesk named an agent other than the desk's
        is_open    INTEGER NOT NULL,       -- 0 once solved, closed or deleted
        -- What whoever takes over must have; of whom it is.
        route_team TEXT NOT NULL,          -- its route's, of which `team` may be a fallback
        person     INTEGER NOT NULL,       -- a hash; 0: not known, or not to be known any more
        skills     TEXT NOT NULL,          -- one a line
        languages  TEXT NOT NULL,          -- by blanks
        choice     TEXT NOT NULL,          -- of the agent, as in config
        worth_it   INTEGER NOT NULL,       -- 1 if the best-rated should have it
        -- Who answered it last, and when: the person's next ticket goes to the same one.
        answered_by    TEXT,
        answered_at_us INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX assigned_open ON assigned (seq) WHERE is_open = 1;
    CREATE INDEX assigned_answered ON assigned (answered_at_us, person, answered_by) WHERE answered_at_us IS NOT NULL;

    -- Tickets that an agent has got rid of since they said how many they have: those still count in what they said.
    CREATE TABLE relieved (
        agent    TEXT PRIMARY KEY,
        tickets  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER relieved_gone AFTER DELETE ON agent BEGIN DELETE FROM relieved WHERE agent = old.name; END;
";

/// Whose a new ticket is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignee {
    /// As in config.
    pub team: String,
    /// Empty: only the team's.
    pub agent: String,
    /// What whoever takes over from them must have.
    pub needs: Needs,
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
    /// The ticket's by now, `0..=1000`.
    pub priority: u16,
}

pub(super) fn add(
    connection: &Connection,
    id: TicketId,
    seq: i64,
    assignee: &Assignee,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO assigned (ticket_id, seq, team, agent, is_open, route_team, person, skills, languages, choice,
                                   worth_it)
             VALUES (?1, ?2, ?3, ?4, 1, '', 0, '', '', '', 0)",
        )?
        .execute(params![id.as_bytes(), seq, assignee.team, assignee.agent])?;
    set_needs(connection, id, &assignee.needs)
}

fn set_needs(connection: &Connection, id: TicketId, needs: &Needs) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE assigned SET route_team = ?2, person = ?3, skills = ?4, languages = ?5, choice = ?6, worth_it = ?7
             WHERE ticket_id = ?1",
        )?
        .execute(params![
            id.as_bytes(),
            needs.team,
            needs.person.cast_signed(),
            needs.skills.join("\n"),
            needs.languages.join(" "),
            needs.choice.name(),
            needs.is_worth_it,
        ])?;
    Ok(())
}

/// Nothing says any more whose this ticket is: its text is erased, or its author wants to be forgotten.
pub(super) fn forget_person(connection: &Connection, id: TicketId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE assigned SET person = 0, languages = '', answered_by = NULL, answered_at_us = NULL
             WHERE ticket_id = ?1",
        )?
        .execute([id.as_bytes()])?;
    Ok(())
}

/// Takes over what a helpdesk says of the ticket; `body` is an encoded `TicketStatus`.
pub(super) fn report(connection: &Connection, id: TicketId, body: &[u8]) -> rusqlite::Result<()> {
    // The wire has decoded it before.
    let Ok(status) = proto::TicketStatus::decode(body) else { return Ok(()) };
    // A report without a state says nothing of it.
    let is_open = is_closed(status.state()).map(|is_closed| !is_closed);
    relieve(connection, id, is_open == Some(false), &status.agent)?;
    connection
        .prepare_cached(
            "UPDATE assigned SET is_open = coalesce(?2, is_open), agent = CASE ?3 WHEN '' THEN agent ELSE ?3 END,
                                 by_helpdesk = CASE ?3 WHEN '' THEN by_helpdesk
                                                       WHEN agent THEN by_helpdesk ELSE 1 END
             WHERE ticket_id = ?1",
        )?
        .execute(params![id.as_bytes(), is_open, status.agent])?;
    if status.first_answer_at_us > 0 && !status.agent.is_empty() {
        answered(connection, id, Some(&status.agent), status.first_answer_at_us)?;
    }
    Ok(())
}

/// Whoever has this open ticket has room for another, if it is closed or becomes somebody else's.
fn relieve(connection: &Connection, id: TicketId, is_closed: bool, agent: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO relieved (agent, tickets)
             SELECT a.agent, 1 FROM assigned a JOIN agent g ON g.name = a.agent
             WHERE a.ticket_id = ?1 AND a.is_open = 1 AND (?2 OR (?3 <> '' AND a.agent <> ?3))
             ON CONFLICT (agent) DO UPDATE SET tickets = tickets + 1",
        )?
        .execute(params![id.as_bytes(), is_closed, agent])?;
    Ok(())
}

/// The agent has said anew how many tickets they have.
pub(super) fn counted(connection: &Connection, agent: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM relieved WHERE agent = ?1")?.execute([agent])?;
    Ok(())
}

/// This agent has answered the ticket; `None`: whoever has it.
pub(super) fn answered(
    connection: &Connection,
    id: TicketId,
    agent: Option<&str>,
    at_us: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE assigned SET answered_by = coalesce(?2, agent), answered_at_us = ?3
             WHERE ticket_id = ?1 AND coalesce(?2, agent) <> '' AND ?3 >= coalesce(answered_at_us, 0)
               AND (?2 IS NOT NULL OR is_open = 1)",
        )?
        .execute(params![id.as_bytes(), agent, at_us])?;
    Ok(())
}

/// Records what the desk has decided anew of a ticket: whose it is, and when its answer is due.
///
/// What helpdesks have said of it since counts for more. The desk, which has counted it for somebody by then, is told.
pub(super) fn assign(
    connection: &Connection,
    anew: &Anew,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let id = anew.ticket_id;
    if let Some(change) = anew.change {
        changed::decided(connection, id, change)?;
    }
    let mut whose = whose(connection, id)?;
    if whose == Whose::Ours && anew.change.is_none() && leave_to_supplier(connection, id)? {
        whose = Whose::Theirs;
    }
    if anew.assignment.is_some() && whose != Whose::Ours {
        changes.told.push(Told::Stands(id, holder(connection, id)?));
    }
    let assignment = anew.assignment.as_ref().filter(|_| whose == Whose::Ours);
    let due = anew.due.as_ref().filter(|_| whose != Whose::Nobodys);
    let dated = match due {
        Some(due) => deadlines::date_anew(connection, id, due, anew.at, ageing_points_per_hour, changes)?,
        None => None,
    };
    if assignment.is_none() && dated.is_none() {
        return Ok(());
    }
    let (due_at_us, at_risk_at_us) = dated.unwrap_or_default();
    let assigned = proto::update::Assigned { assignment: assignment.cloned(), due_at_us, at_risk_at_us };
    let update = proto::Update {
        ticket_id: id.as_bytes().to_vec(),
        at_us: anew.at.as_microsecond(),
        change: Some(proto::update::Change::Assigned(assigned)),
    };
    changes.heads.extend(store::add_update(connection, id, &update, ageing_points_per_hour)?);
    let Some(assignment) = assignment else { return Ok(()) };
    relieve(connection, id, false, &assignment.agent)?;
    connection
        .prepare_cached(
            "INSERT INTO assigned (ticket_id, seq, team, agent, is_open, route_team, person, skills, languages, choice,
                                   worth_it)
             SELECT id, seq, ?2, ?3, 1, '', 0, '', '', '', 0 FROM ticket WHERE id = ?1
             ON CONFLICT (ticket_id) DO UPDATE SET team = excluded.team, agent = excluded.agent",
        )?
        .execute(params![id.as_bytes(), assignment.team, assignment.agent])?;
    if let Some(needs) = &anew.needs {
        set_needs(connection, id, needs)?;
    }
    Ok(())
}

/// Whether a ticket without an agent is a supplier's, whatever is noted of it: builds before this one noted nothing. From
/// now on it is.
fn leave_to_supplier(connection: &Connection, id: TicketId) -> rusqlite::Result<bool> {
    let may_be = connection
        .prepare_cached("SELECT 1 FROM assigned WHERE ticket_id = ?1 AND agent = ''")?
        .exists([id.as_bytes()])?;
    let is_suppliers = may_be
        && tickets::one(connection, id)?
            .and_then(|kept| kept.ticket.assignment)
            .is_some_and(|assignment| !assignment.supplier.is_empty());
    if is_suppliers {
        connection
            .prepare_cached("UPDATE assigned SET choice = ?2 WHERE ticket_id = ?1")?
            .execute(params![id.as_bytes(), AgentChoice::None.name()])?;
    }
    Ok(is_suppliers)
}

/// Who may say whose this ticket is.
pub(super) fn whose(connection: &Connection, id: TicketId) -> rusqlite::Result<Whose> {
    let row = connection
        .prepare_cached(
            "SELECT t.erased_at_us IS NOT NULL OR c.closed_at_us IS NOT NULL OR a.is_open IS 0, a.by_helpdesk
             FROM ticket t LEFT JOIN assigned a ON a.ticket_id = t.id
                           LEFT JOIN conversation c ON c.ticket_id = t.id WHERE t.id = ?1",
        )?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match row {
        None | Some((true, _)) => Whose::Nobodys,
        Some((false, Some(true))) => Whose::Theirs,
        Some((false, Some(false))) => Whose::Ours,
        // No route has spoken of it, so that nothing was noted of an agent whom a helpdesk named.
        Some((false, None)) if has_agent(connection, id)? => Whose::Theirs,
        Some((false, None)) => Whose::Ours,
    })
}

/// Whether a helpdesk has ever named an agent for this ticket.
fn has_agent(connection: &Connection, id: TicketId) -> rusqlite::Result<bool> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM feedback WHERE ticket_id = ?1 AND kind = 'ticket_status'")?;
    let mut rows = statement.query([id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        // The wire has decoded these bytes before.
        let status = proto::TicketStatus::decode(row.get_ref(0)?.as_blob()?).unwrap_or_default();
        if !status.agent.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Goes with its ticket; whether somebody still worked on that.
pub(super) fn forget(connection: &Connection, id: TicketId) -> rusqlite::Result<bool> {
    relieve(connection, id, true, "")?;
    let was_open = connection
        .prepare_cached("DELETE FROM assigned WHERE ticket_id = ?1 RETURNING is_open")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(was_open.unwrap_or_default())
}

/// Nobody works on this ticket any more: its text is erased, or it is no customer message after all.
pub(super) fn end(connection: &Connection, id: TicketId, changes: &mut Changes) -> rusqlite::Result<()> {
    relieve(connection, id, true, "")?;
    let ended = connection
        .prepare_cached("UPDATE assigned SET is_open = 0 WHERE ticket_id = ?1 AND is_open = 1")?
        .execute([id.as_bytes()])?;
    if ended > 0 {
        changes.told.push(Told::Stands(id, None));
    }
    forget_person(connection, id)
}
