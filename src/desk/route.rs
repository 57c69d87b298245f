//! Which team answers, and which of its agents.
//!
//! The first rule that holds names the team; sensitive topics come before all rules. Of the team's agents those are
//! eligible who are there, have room and can do it; `choice` says which of them gets the ticket, and why nobody
//! starves. Decisions go by nothing but what is handed in and what was decided before: no clock, no chance.

use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::agent::Agent;
use super::conversation::is_closed;
use super::told::{Holder, Status, Told};
use super::when::Facts;
use crate::ticket::{TicketId, proto};

mod anew;
mod choice;
mod memory;
mod needs;
mod rules;
mod waiting;
mod weigh;
mod words;

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

pub use choice::{Because, Candidate, Points, Standing, Weighed, passed_over_max};
pub use memory::{OPEN_TICKETS_MAX, PEOPLE_MAX};
pub use needs::Needs;
pub use rules::{AgentChoice, BestRated, Routes, Rule, Team};
pub use weigh::Weighing;

use choice::{Member, Want};
use memory::{Open, OpenTickets, Seen};

/// Knows the agents, what they have open, and who answered whom.
#[derive(Debug, Clone, Default)]
pub struct Router {
    members: Vec<Member>,
    by_name: FxHashMap<Arc<str>, usize>,
    /// In lower case → places in `members`.
    teams: FxHashMap<String, Vec<usize>>,
    open: OpenTickets,
    seen: Seen,
    /// Tickets given to agents since the start.
    given: u64,
    /// Tickets of an earlier run that agents got rid of since they said how many they have; taken with the first agents.
    relieved: FxHashMap<Box<str>, u32>,
}

impl Router {
    /// Takes the agents as they are now; gives the tickets of those who are no longer there, to be
    /// [assigned anew](Router::assign_anew). Only tickets that the desk gave to them: whom a helpdesk named it may
    /// know without us. Where no agent was known and none is, nobody has left.
    ///
    /// Whoever stays in their team keeps their turn. What the router counts as open stays too, unless the agent's own
    /// count has changed since the last time: then that is the truth.
    pub fn set_agents(&mut self, agents: &[Agent]) -> Vec<TicketId> {
        let mut before: FxHashMap<Arc<str>, Member> =
            self.members.drain(..).map(|member| (member.name.clone(), member)).collect();
        let had_none = before.is_empty();
        let relieved = std::mem::take(&mut self.relieved);
        let mut agents: Vec<_> = agents.iter().filter(|agent| !agent.name.is_empty()).collect();
        agents.sort_by(|one, other| one.name.cmp(&other.name));
        agents.dedup_by(|one, other| one.name == other.name);
        for agent in agents {
            let mut member = Member::new(agent);
            let relieved = relieved.get(&*member.name).copied().unwrap_or_default();
            member.open = member.open.saturating_sub(relieved).max(self.open.count(&member.name));
            if let Some(known) = before.remove(&member.name) {
                if known.agent.open_tickets == agent.open_tickets {
                    member.open = known.open;
                } else {
                    member.open = agent.open_tickets;
                }
                if known.team == member.team {
                    (member.passed, member.given) = (known.passed, known.given);
                }
            }
            self.members.push(member);
        }
        self.by_name =
            self.members.iter().enumerate().map(|(place, member)| (member.name.clone(), place)).collect();
        self.teams.clear();
        for (place, member) in self.members.iter().enumerate() {
            self.teams.entry(member.team.clone()).or_default().push(place);
        }
        if had_none && self.members.is_empty() {
            return Vec::new();
        }
        self.open.of_agents(|agent| !self.by_name.contains_key(agent))
    }

    /// The agents as they are known, with what the router counts as open; by name.
    pub fn agents(&self) -> impl Iterator<Item = (&Agent, u32)> {
        self.members.iter().map(|member| (&member.agent, member.open))
    }

    /// Weighs a new ticket and keeps in mind who got it; `None` if no route speaks of it.
    pub fn route(
        &mut self,
        routes: &Routes,
        facts: &Facts<'_>,
        ticket: TicketId,
    ) -> Option<proto::Assignment> {
        let weighing = self.weigh(routes, facts)?;
        self.keep(&weighing, ticket, 0);
        Some(weighing.assignment)
    }

    /// Weighs an open ticket again, for its agent is not there any more; `None` if it is not open here, or has an
    /// agent by now.
    pub fn assign_anew(
        &mut self,
        routes: &Routes,
        ticket: TicketId,
        now: Timestamp,
    ) -> Option<proto::Assignment> {
        let is_orphan = |open: &Open| {
            open.is_ours && open.agent.as_deref().is_some_and(|agent| !self.by_name.contains_key(agent))
        };
        self.open.get(ticket).filter(|open| is_orphan(open))?;
        let Open { age, agent, want, .. } = self.open.remove(ticket)?;
        self.count_down(agent.as_deref());
        let why = format!("{} is no longer there", agent.as_deref().unwrap_or("its agent"));
        let assignment =
            proto::Assignment { team: want.team.to_string(), reasons: vec![why], ..Default::default() };
        let weighing = self.weigh_agents(routes, want, assignment, now);
        self.keep(&weighing, ticket, age);
        Some(weighing.assignment)
    }

    /// `age`: as it had it before, or 0.
    fn keep(&mut self, weighing: &Weighing, ticket: TicketId, age: u64) {
        if let Some((chosen, weighed)) = weighing.chosen() {
            self.given += 1;
            for candidate in &weighed.candidates {
                if matches!(candidate.standing, Standing::Eligible(_)) {
                    let member = &mut self.members[candidate.place];
                    member.passed = member.passed.saturating_add(1);
                }
            }
            let member = &mut self.members[chosen];
            (member.passed, member.given) = (0, self.given);
            member.open = member.open.saturating_add(1);
        }
        let agent = weighing.chosen().map(|(place, _)| self.members[place].name.clone());
        self.hold(ticket, Open { age, agent, is_ours: true, want: weighing.want.without_words() });
    }

    /// Keeps in mind whose an open ticket is, whose agent has counted it by now. Whoever had it before, and whoever has
    /// the one that is forgotten for it, has room for another.
    fn hold(&mut self, ticket: TicketId, open: Open) {
        self.released(ticket);
        if let Some(forgotten) = self.open.insert(ticket, open) {
            self.count_down(forgotten.agent.as_deref());
        }
    }

    fn count_up(&mut self, agent: &str) {
        if let Some(place) = self.by_name.get(agent) {
            let member = &mut self.members[*place];
            member.open = member.open.saturating_add(1);
        }
    }

    /// The name as the agents' table has it, so that it is kept once.
    fn name_of(&self, agent: &str) -> Arc<str> {
        let known = self.by_name.get_key_value(agent);
        known.map_or_else(|| Arc::from(agent), |(name, _)| name.clone())
    }

    fn count_down(&mut self, agent: Option<&str>) {
        if let Some(place) = agent.and_then(|agent| self.by_name.get(agent)) {
            let member = &mut self.members[*place];
            member.open = member.open.saturating_sub(1);
        }
    }

    /// This ticket is solved, closed or deleted: its agent has room for another. One that is not known changes nothing.
    pub fn released(&mut self, ticket: TicketId) {
        if let Some(open) = self.open.remove(ticket) {
            self.count_down(open.agent.as_deref());
        }
    }

    /// The ledger says whose the ticket is, whatever was decided here: it was there before, or came to be otherwise.
    fn stands(&mut self, ticket: TicketId, holder: Option<&Holder>) {
        let before = self.open.remove(ticket);
        self.count_down(before.as_ref().and_then(|open| open.agent.as_deref()));
        let Some(Holder { team, agent, is_ours }) = holder else { return };
        let age = before.as_ref().map_or(0, |open| open.age);
        // What was decided here speaks of the same post: whoever takes over is found by that.
        let want = before.map_or_else(|| Want::only(team), |open| open.want.of_team(team));
        let agent = (!agent.is_empty()).then(|| self.name_of(agent));
        agent.iter().for_each(|agent| self.count_up(agent));
        self.hold(ticket, Open { age, agent, is_ours: *is_ours, want });
    }

    /// The ticket is this agent's, whoever had it before; `is_ours` unless the helpdesk said so.
    fn moved(&mut self, ticket: TicketId, agent: &str, is_ours: bool) {
        let Some(open) = self.open.get(ticket) else { return };
        if agent.is_empty() || open.agent.as_deref() == Some(agent) {
            return;
        }
        let before = self.open.give(ticket, self.name_of(agent), is_ours);
        self.count_down(before.as_deref());
        self.count_up(agent);
    }

    /// A helpdesk speaks of a ticket that is not open here: it was opened again, or is older than what is kept.
    fn taken_up(&mut self, ticket: TicketId, status: &Status) {
        let is_open = is_closed(status.state) == Some(false);
        let Some(place) = self.by_name.get(&*status.agent).filter(|_| is_open) else { return };
        let member = &mut self.members[*place];
        member.open = member.open.saturating_add(1);
        let want = Want::only(&member.agent.team);
        let open = Open { age: 0, agent: Some(member.name.clone()), is_ours: false, want };
        self.hold(ticket, open);
    }

    /// One of our accounts has answered this ticket on its network: so has its agent, as far as is known. The next
    /// ticket of the person goes to the same one, if they can take it.
    ///
    /// The ticket stays open, and counts: whether it is done says the helpdesk.
    pub fn answered(&mut self, ticket: TicketId, at: Timestamp) {
        if let Some(Open { agent: Some(agent), want, .. }) = self.open.get(ticket) {
            self.seen.answered(want.person, agent, at);
        }
    }

    /// So many tickets has the agent got rid of in an earlier run, since they said how many they have.
    pub fn relieved(&mut self, agent: &str, tickets: u32) {
        self.relieved.insert(agent.into(), tickets);
    }

    /// Who answered this person in an earlier run, and when.
    pub fn remember_answer(&mut self, person: u64, agent: &str, at: Timestamp) {
        self.seen.answered(person, agent, at);
    }

    /// Takes note of what a helpdesk reports.
    pub fn hear(&mut self, told: &Told) {
        match told {
            Told::Status(ticket, status) => {
                if self.open.get(*ticket).is_none() {
                    return self.taken_up(*ticket, status);
                }
                self.moved(*ticket, &status.agent, false);
                let person = self.open.get(*ticket).map(|open| open.want.person);
                if let (Some(person), true, Ok(at)) = (
                    person,
                    status.first_answer_at_us > 0 && !status.agent.is_empty(),
                    Timestamp::from_microsecond(status.first_answer_at_us),
                ) {
                    self.seen.answered(person, &status.agent, at);
                }
                if is_closed(status.state) == Some(true) {
                    self.released(*ticket);
                }
            }
            Told::Agent(load) => {
                let Some(place) = self.by_name.get(&*load.agent) else { return };
                let member = &mut self.members[*place];
                (member.agent.open_tickets, member.open) = (load.open_tickets, load.open_tickets);
                if load.capacity > 0 {
                    member.agent.capacity = load.capacity;
                }
            }
            Told::Stands(ticket, holder) => self.stands(*ticket, holder.as_ref()),
            Told::Closed(_) | Told::Over(_) | Told::Belongs { .. } | Told::Beside(_) | Told::Changed => {}
        }
    }

    /// Takes over what the ledger knows of an assigned ticket: at the start, and after reports were missed.
    ///
    /// Each agent's count is then what is open here, where that is more than they reported less what they
    /// [got rid of](Router::relieved) since.
    /// `is_ours` unless a helpdesk named the agent.
    pub fn restore(&mut self, ticket: TicketId, team: &str, agent: &str, is_ours: bool, is_open: bool) {
        if !is_open {
            return self.released(ticket);
        }
        if self.open.get(ticket).is_some() {
            if agent.is_empty() {
                let (team, agent) = (team.into(), agent.into());
                return self.stands(ticket, Some(&Holder { team, agent, is_ours }));
            }
            return self.moved(ticket, agent, is_ours);
        }
        let known = self.by_name.get(agent).copied();
        let agent = (!agent.is_empty()).then(|| self.name_of(agent));
        let counted = agent.as_ref().map_or(0, |agent| self.open.count(agent));
        if let Some(place) = known {
            let member = &mut self.members[place];
            member.open = member.open.max(counted.saturating_add(1));
        }
        self.hold(ticket, Open { age: 0, agent, is_ours, want: Want::only(team) });
    }

    /// The open tickets that the router knows of, in no order.
    pub fn held(&self) -> Vec<TicketId> {
        self.open.ids().collect()
    }

    /// Tickets that are open, as far as is known here.
    pub fn open_tickets(&self) -> usize {
        self.open.len()
    }
}

/// Whom an author is to the desk: the customer where one is known, else the account.
pub fn person_key(facts: &Facts<'_>) -> String {
    match &facts.person.customer {
        Some(customer) if !customer.key.is_empty() => format!("customer/{}", customer.key),
        _ => format!("{}/{}", facts.candidate.post.network.name(), facts.candidate.post.author.id),
    }
}
