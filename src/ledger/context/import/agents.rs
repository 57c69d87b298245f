//! Agents, of whom there are few.

use rusqlite::{OptionalExtension, params};

use super::{Importer, Numbered, Rejected, in_steps};
use crate::desk::Agent;
use crate::desk::week::Week;
use crate::ledger::LedgerError;
use crate::ledger::assigned;
use crate::ledger::context::agents;

/// What a file says of an agent. `None`: nothing, so that it stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentRow {
    /// The company's own name for them.
    pub name: String,
    /// The team they belong to.
    pub team: Option<String>,
    /// In lower case, without spaces.
    pub skills: Option<Vec<String>>,
    /// Primary subtags.
    pub languages: Option<Vec<String>>,
    /// Open tickets that they can have at once.
    pub capacity: Option<u32>,
    /// When they work; `Some(None)`: always.
    pub shifts: Option<Option<Week>>,
    /// IANA name of their time zone.
    pub zone: Option<Option<String>>,
    /// Open tickets that they have now.
    pub open_tickets: Option<u32>,
    /// Average time to their answer, minutes.
    pub answer_min: Option<Option<f64>>,
    /// 1 to 5.
    pub satisfaction: Option<Option<f64>>,
    /// Gets no new tickets.
    pub away: Option<bool>,
}

impl AgentRow {
    fn over(&self, known: Option<Agent>) -> Agent {
        let agent = known.unwrap_or_else(|| agents::named(&self.name));
        let AgentRow { name, team, skills, languages, capacity, shifts, zone, .. } = self.clone();
        Agent {
            name,
            team: team.unwrap_or(agent.team),
            skills: skills.unwrap_or(agent.skills),
            languages: languages.unwrap_or(agent.languages),
            capacity: capacity.unwrap_or(agent.capacity),
            shifts: shifts.unwrap_or(agent.shifts),
            zone: zone.unwrap_or(agent.zone),
            open_tickets: self.open_tickets.unwrap_or(agent.open_tickets),
            answer_min: self.answer_min.unwrap_or(agent.answer_min),
            satisfaction: self.satisfaction.unwrap_or(agent.satisfaction),
            away: self.away.unwrap_or(agent.away),
        }
    }
}

impl Importer {
    /// Takes a chunk over; `reject` hears of each row that is not.
    ///
    /// # Errors
    ///
    /// The file cannot be written or read: a part of the chunk may be taken over.
    pub fn agents(
        &mut self,
        chunk: &[Numbered<AgentRow>],
        reject: &mut dyn FnMut(Rejected),
    ) -> Result<(), LedgerError> {
        let mut tally = self.tally;
        let connection = &self.connection;
        let taken = in_steps(connection, &self.pace, chunk, |Numbered { line, row }| {
            let first: Option<i64> = connection
                .prepare_cached("SELECT line FROM temp.seen_agent WHERE name = ?1")?
                .query_row([&row.name], |row| row.get(0))
                .optional()?;
            if let Some(first) = first {
                let reason = format!("agent {:?} is in line {first} already", row.name);
                reject(Rejected { line: *line, reason });
                return Ok(());
            }
            connection
                .prepare_cached("INSERT INTO temp.seen_agent (name, line) VALUES (?1, ?2)")?
                .execute(params![row.name, line.cast_signed()])?;
            let known = agents::find(connection, &row.name)?;
            let agent = row.over(known.clone());
            match &known {
                None => tally.new += 1,
                Some(known) if *known == agent => tally.unchanged += 1,
                Some(_) => tally.changed += 1,
            }
            if known.as_ref() != Some(&agent) {
                agents::keep(connection, &agent)?;
            }
            if row.open_tickets.is_some() {
                assigned::counted(connection, &row.name)?;
            }
            Ok(())
        });
        self.tally = tally;
        taken.map_err(|error| self.failed(error))
    }

    /// Removes who was in no chunk.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn remove_other_agents(&mut self) -> Result<(), LedgerError> {
        self.remove_unseen_agents().map_err(|error| self.failed(error))
    }

    fn remove_unseen_agents(&mut self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        let mut list = connection
            .prepare("SELECT name FROM agent WHERE name NOT IN (SELECT name FROM temp.seen_agent)")?;
        let gone: Vec<String> = list.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut remove = connection.prepare("DELETE FROM agent WHERE name = ?1")?;
        let mut removed = 0;
        in_steps(connection, &self.pace, gone, |name| {
            removed += remove.execute([name])? as u64;
            Ok(())
        })?;
        self.tally.removed += removed;
        Ok(())
    }
}
