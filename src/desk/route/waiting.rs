//! Open tickets without an agent, once there is somebody for them: a shift has begun, a ticket is done, agents have come.
//!
//! Nobody waits for that: whoever asks does so every second. Of those that an agent may have the most important goes first,
//! then the oldest.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::choice::{self, Alike, Member};
use super::{Router, Routes};
use crate::ticket::{TicketId, proto};

/// Tickets that are given in one go, some 10 ms of work.
const GIVEN_MAX: usize = 256;

impl Router {
    /// Gives some of the open tickets that have no agent to somebody who can have them by now.
    ///
    /// What has gone to a team of which no agent is known is that team's to give. However many wait, it takes no more than
    /// those that are given, and one look for each kind of agent of whom there is none.
    pub fn assign_waiting(&mut self, routes: &Routes, now: Timestamp) -> Vec<(TicketId, proto::Assignment)> {
        let has_room = |member: &&Member| {
            member.open < member.agent.capacity && choice::is_at_work(member, &routes.zone, now)
        };
        let free: BTreeSet<&str> =
            self.members.iter().filter(has_room).map(|member| member.team.as_str()).collect();
        if free.is_empty() {
            return Vec::new();
        }
        let is_free = |team: &str| free.contains(&*team.to_lowercase());
        let is_known = |team: &str| self.teams.contains_key(&team.to_lowercase());
        let may_be_given = |(team, _): &&Alike| {
            let mut chain = routes.chain(team);
            chain.clone().all(is_known) && chain.any(is_free)
        };
        let kinds: Vec<Alike> = self.open.waiting().filter(may_be_given).cloned().collect();
        let next_of = |router: &Router, place: usize| Some((router.open.next_of(kinds.get(place)?)?, place));
        let mut turns: BTreeSet<_> = (0..kinds.len()).filter_map(|place| next_of(self, place)).collect();
        let mut given = Vec::new();
        while given.len() < GIVEN_MAX
            && let Some(((.., ticket), place)) = turns.pop_first()
        {
            // Where nobody can have this one, nobody can have those that need the same: capacities only fill.
            if let Some(assignment) = self.assign_now(routes, ticket, now) {
                given.push((ticket, assignment));
                turns.extend(next_of(self, place));
            }
        }
        given
    }

    fn assign_now(&mut self, routes: &Routes, id: TicketId, now: Timestamp) -> Option<proto::Assignment> {
        let want = self.open.get(id)?.want.clone();
        let assignment = proto::Assignment {
            team: want.team.to_string(),
            reasons: vec!["had no agent so far".to_owned()],
            ..Default::default()
        };
        let weighing = self.weigh_agents(routes, want, assignment, now);
        weighing.chosen()?;
        self.keep(&weighing, id, self.open.get(id)?.age);
        Some(weighing.assignment)
    }
}

#[cfg(test)]
mod tests;
