//! Who has which ticket and who answered whom, read for the desk.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Assigned, Assignee};
use crate::desk::route::{AgentChoice, Needs};
use crate::desk::told::Holder;
use crate::ledger::records;
use crate::ticket::TicketId;

/// By `assigned_open`, however many are closed.
pub(in crate::ledger) const NEWEST: &str = "
    SELECT ticket_id, team, agent, by_helpdesk, is_open, route_team, person, skills, languages, choice, worth_it,
           (SELECT coalesce(rescored, priority) FROM ticket WHERE id = ticket_id)
    FROM assigned WHERE is_open = 1 ORDER BY seq DESC LIMIT ?1";
const ONE: &str = "
    SELECT ticket_id, team, agent, by_helpdesk, is_open, route_team, person, skills, languages, choice, worth_it,
           (SELECT coalesce(rescored, priority) FROM ticket WHERE id = ticket_id)
    FROM assigned WHERE ticket_id = ?1 AND is_open = ?2";
/// By `assigned_answered`, which holds all that is read.
const ANSWERED: &str = "
    SELECT person, answered_by, answered_at_us FROM assigned
    WHERE answered_at_us IS NOT NULL AND person <> 0 ORDER BY answered_at_us DESC LIMIT ?1";

/// Who was answered by whom, and when in µs since 1970: the newest, as many as the desk keeps in mind. Of a ticket that is
/// pruned nobody knows it any more.
pub(in crate::ledger) fn visit_answered(
    connection: &Connection,
    people_max: usize,
    mut visit: impl FnMut(u64, &str, i64),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(ANSWERED)?;
    let mut rows = statement.query([i64::try_from(people_max).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let person: i64 = row.get(0)?;
        visit(person.cast_unsigned(), row.get_ref(1)?.as_str()?, row.get(2)?);
    }
    Ok(())
}

/// The newest open ones, as many as the desk keeps in mind, the oldest of them first.
pub(in crate::ledger) fn visit_open(
    connection: &Connection,
    tickets_max: usize,
    visit: impl FnMut(&Assigned),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(NEWEST)?;
    let newest = statement.query_map([i64::try_from(tickets_max).unwrap_or(i64::MAX)], read)?;
    let newest: Vec<Assigned> = newest.collect::<rusqlite::Result<_>>()?;
    newest.iter().rev().for_each(visit);
    Ok(())
}

/// Those of `held` that nobody works on any more: closed, or pruned. One that the ledger does not have yet is neither.
pub(in crate::ledger) fn visit_closed(
    connection: &Connection,
    held: &[TicketId],
    mut visit: impl FnMut(&Assigned),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(ONE)?;
    let mut pruned = connection.prepare("SELECT 1 FROM pruned WHERE id = ?1")?;
    for id in held {
        if let Some(closed) = statement.query_row(params![id.as_bytes(), false], read).optional()? {
            visit(&closed);
        } else if pruned.exists([id.as_bytes()])? {
            let assignee = Assignee::default();
            visit(&Assigned { ticket_id: *id, assignee, by_helpdesk: false, is_open: false, priority: 0 });
        }
    }
    Ok(())
}

/// Whose this ticket is, for the desk; `None`: nobody works on it.
pub(in crate::ledger) fn holder(connection: &Connection, id: TicketId) -> rusqlite::Result<Option<Holder>> {
    let holder = |row: &Row<'_>| {
        let Assigned { assignee: Assignee { team, agent, needs }, by_helpdesk, .. } = read(row)?;
        let is_nobodys = agent.is_empty() && needs.choice == AgentChoice::None;
        Ok(Holder { team: team.into(), agent: agent.into(), is_ours: !by_helpdesk && !is_nobodys })
    };
    connection.prepare_cached(ONE)?.query_row(params![id.as_bytes(), true], holder).optional()
}

/// How many tickets each agent has got rid of since they said how many they have.
pub(in crate::ledger) fn visit_relieved(
    connection: &Connection,
    mut visit: impl FnMut(&str, u32),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT agent, tickets FROM relieved")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(row.get_ref(0)?.as_str()?, row.get(1)?);
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Assigned> {
    let needs = Needs {
        team: row.get(5)?,
        person: row.get::<_, i64>(6)?.cast_unsigned(),
        skills: row.get_ref(7)?.as_str()?.lines().map(str::to_owned).collect(),
        languages: row.get_ref(8)?.as_str()?.split_whitespace().map(str::to_owned).collect(),
        choice: AgentChoice::from_name(row.get_ref(9)?.as_str()?).unwrap_or_default(),
        is_worth_it: row.get(10)?,
    };
    Ok(Assigned {
        ticket_id: records::ticket_id(row, 0)?,
        assignee: Assignee { team: row.get(1)?, agent: row.get(2)?, needs },
        by_helpdesk: row.get(3)?,
        is_open: row.get(4)?,
        priority: row.get::<_, Option<u16>>(11)?.unwrap_or_default(),
    })
}
