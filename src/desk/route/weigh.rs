//! Who would get a ticket, and why; nothing is changed by asking.

use jiff::Timestamp;

use super::choice::{self, Want, Weighed};
use super::rules::{AgentChoice, Routes, Target};
use super::{Router, words};
use crate::desk::when::Facts;
use crate::ticket::proto;

/// How an assignment was come to: for whoever wants to see all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighing {
    /// The teams that were asked in turn, each with its agents.
    pub teams: Vec<Weighed>,
    /// What the ticket says.
    pub assignment: proto::Assignment,
    pub(super) want: Want,
}

impl Weighing {
    pub(super) fn chosen(&self) -> Option<(usize, &Weighed)> {
        let last = self.teams.last()?;
        Some((last.chosen?.0, last))
    }
}

impl Router {
    /// Weighs a ticket and changes nothing; `None` if no route speaks of it.
    pub fn weigh(&self, routes: &Routes, facts: &Facts<'_>) -> Option<Weighing> {
        let target = routes.target(facts)?;
        let (why, want) = Want::of(routes, &target, facts);
        let mut assignment =
            proto::Assignment { team: target.team.to_string(), reasons: vec![why], ..Default::default() };
        if let Target { supplier: Some(supplier), .. } = target {
            assignment.reasons.push(format!("handed over to {supplier}"));
            supplier.clone_into(&mut assignment.supplier);
            return Some(Weighing { teams: Vec::new(), assignment, want });
        }
        Some(self.weigh_agents(routes, want, assignment, facts.now))
    }

    /// Finds the agent once the team is known.
    pub(super) fn weigh_agents(
        &self,
        routes: &Routes,
        want: Want,
        mut assignment: proto::Assignment,
        now: Timestamp,
    ) -> Weighing {
        let mut teams: Vec<Weighed> = Vec::new();
        if want.choice == AgentChoice::None {
            return Weighing { teams, assignment, want };
        }
        let before = self.seen.who_answered(want.person);
        let first = assignment.team.clone();
        // The first team of which nobody is known: whose helpdesk decides, if no fallback's agent can.
        let mut unknown = None;
        for team in routes.chain(&first) {
            let places = self.teams.get(&team.to_lowercase()).map_or(&[][..], Vec::as_slice);
            let weighed = choice::choose(&self.members, places, team, &want, before, &routes.zone, now);
            if weighed.chosen.is_some() {
                assignment.reasons.extend(teams.iter().map(words::nobody));
                if team != first {
                    assignment.reasons.push(format!("handed over to {team}"));
                }
                team.clone_into(&mut assignment.team);
                let reasons = words::reasons(&weighed, &self.members, before, &want);
                assignment.reasons.extend(reasons);
                assignment.agent = weighed.chosen().map(|(name, _)| name.to_owned()).unwrap_or_default();
                teams.push(weighed);
                return Weighing { teams, assignment, want };
            }
            if places.is_empty() && unknown.is_none() {
                unknown = Some(team.to_owned());
            }
            teams.push(weighed);
        }
        let known = teams.iter().filter(|weighed| !weighed.candidates.is_empty());
        assignment.reasons.extend(known.map(words::nobody));
        assignment.reasons.push(match &unknown {
            Some(team) if *team == first => format!("no agent of {team} is known: the team decides"),
            Some(team) => format!("handed over to {team}, of which no agent is known"),
            None => format!("{first} without an agent"),
        });
        if let Some(team) = unknown {
            assignment.team = team;
        }
        Weighing { teams, assignment, want }
    }
}
