//! The statements about agents.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{CAPACITY_DEFAULT, joined, words};
use crate::desk::Agent;
use crate::ticket::proto;

/// All agents, by name.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Agent>> {
    let columns = format!("SELECT {COLUMNS} FROM agent ORDER BY name");
    connection.prepare_cached(&columns)?.query_map([], read)?.collect()
}

/// The agent of this name.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Agent>> {
    let columns = format!("SELECT {COLUMNS} FROM agent WHERE name = ?1");
    connection.prepare_cached(&columns)?.query_row([name], read).optional()
}

/// Keeps this agent in the place of what was known of them.
pub(super) fn keep(connection: &Connection, agent: &Agent) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO agent ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        ))?
        .execute(params![
            agent.name,
            agent.team,
            joined(&agent.skills),
            joined(&agent.languages),
            agent.capacity,
            agent.shifts.as_ref().map(ToString::to_string),
            agent.zone,
            agent.open_tickets,
            agent.answer_min,
            agent.satisfaction,
            agent.away,
        ])?;
    Ok(())
}

/// An agent of whom only the name is known.
pub(super) fn named(name: &str) -> Agent {
    Agent {
        name: name.to_owned(),
        team: String::new(),
        skills: Vec::new(),
        languages: Vec::new(),
        capacity: CAPACITY_DEFAULT,
        shifts: None,
        zone: None,
        open_tickets: 0,
        answer_min: None,
        satisfaction: None,
        away: false,
    }
}

/// Takes over what a helpdesk reports of an agent. Skills, languages and a capacity that it leaves out stay as they
/// are: a helpdesk that knows none must not empty what was imported.
pub(in crate::ledger) fn report(connection: &Connection, state: &proto::AgentState) -> rusqlite::Result<()> {
    let name = state.agent.trim();
    if name.is_empty() {
        return Ok(());
    }
    let mut agent = find(connection, name)?.unwrap_or_else(|| named(name));
    let lower = |words: &[String]| -> Vec<String> {
        // A column separates its words by spaces.
        words.iter().flat_map(|word| word.split_whitespace()).map(str::to_lowercase).collect()
    };
    if !state.skills.is_empty() {
        agent.skills = lower(&state.skills);
    }
    if !state.languages.is_empty() {
        agent.languages = lower(&state.languages);
    }
    if state.capacity > 0 {
        agent.capacity = state.capacity;
    }
    agent.open_tickets = state.open_tickets;
    keep(connection, &agent)
}

const COLUMNS: &str = "name, team, skills, languages, capacity, shifts, zone, open_tickets, answer_min,
                       satisfaction, away";

fn read(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let shifts: Option<String> = row.get(5)?;
    Ok(Agent {
        name: row.get(0)?,
        team: row.get(1)?,
        skills: words(row.get_ref(2)?.as_str()?),
        languages: words(row.get_ref(3)?.as_str()?),
        capacity: row.get(4)?,
        // We wrote it; one that a newer vigie wrote otherwise keeps nobody from work.
        shifts: shifts.and_then(|shifts| shifts.parse().ok()),
        zone: row.get(6)?,
        open_tickets: row.get(7)?,
        answer_min: row.get(8)?,
        satisfaction: row.get(9)?,
        away: row.get(10)?,
    })
}
