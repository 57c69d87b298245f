//! The statements about agents.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{CAPACITY_DEFAULT, joined, words};
use crate::desk::Agent;
use crate::ledger::assigned;
use crate::ticket::proto;

/// Agents beyond whom a helpdesk's reports make no new ones: all are read by the desk, and whoever may report can name
/// anybody. Those of an import do not fall under it.
const REPORTED_MAX: i64 = 1000;
/// Skills or languages of a reported agent that are used.
const REPORTED_WORDS_MAX: usize = 32;
/// Longest of them, in bytes.
const REPORTED_WORD_BYTES_MAX: usize = 64;

/// A number that is another one after each change of the table.
pub(super) fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT generation FROM agent_change")?.query_row([], |row| row.get(0))
}

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
/// are: a helpdesk that knows none must not empty what was imported. An unknown agent is passed over where there are
/// [`REPORTED_MAX`], and so are words beyond the limits.
pub(in crate::ledger) fn report(connection: &Connection, state: &proto::AgentState) -> rusqlite::Result<()> {
    let name = state.agent.trim();
    if name.is_empty() {
        return Ok(());
    }
    let known = find(connection, name)?;
    if known.is_none() && is_full(connection)? {
        return Ok(());
    }
    let mut agent = known.clone().unwrap_or_else(|| named(name));
    let lower = |words: &[String]| -> Vec<String> {
        // A column separates its words by spaces.
        let words = words.iter().flat_map(|word| word.split_whitespace()).map(str::to_lowercase);
        words.filter(|word| word.len() <= REPORTED_WORD_BYTES_MAX).take(REPORTED_WORDS_MAX).collect()
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
    assigned::counted(connection, name)?;
    if known.as_ref() == Some(&agent) {
        return Ok(());
    }
    keep(connection, &agent)
}

fn is_full(connection: &Connection) -> rusqlite::Result<bool> {
    let agents: i64 = connection
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM agent LIMIT ?1)")?
        .query_row([REPORTED_MAX], |row| row.get(0))?;
    Ok(agents >= REPORTED_MAX)
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
