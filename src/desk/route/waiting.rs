//! Open tickets without an agent, once there is somebody for them: a shift has begun, a ticket is done, agents have come.
//!
//! Nobody waits for that: whoever asks does so every second. Of those that an agent may have, what the best-rated should
//! have goes first, then the oldest.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::choice::{self, Member};
use super::{Router, Routes};
use crate::ticket::{TicketId, proto};

/// Tickets that are looked at in one go: more than wait in a night, and less than a millisecond.
const LOOKED_MAX: usize = 4096;
/// Tickets for which agents are weighed in one go, some 10 ms of work.
const WEIGHED_MAX: usize = 256;

impl Router {
    /// Gives some of the open tickets that have no agent to somebody who can have them by now.
    ///
    /// What has gone to a team of which no agent is known is that team's to give.
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
        let (mut looked, mut last) = (0, 0);
        let mut waiting = Vec::new();
        for (age, id, open) in self.open.without_agent(self.looked_at) {
            (looked, last) = (looked + 1, age);
            let mut chain = routes.chain(&open.want.team);
            if chain.clone().all(is_known) && chain.any(is_free) {
                waiting.push((open.want.worth_it.is_none(), age, id));
            }
            if looked == LOOKED_MAX || waiting.len() == WEIGHED_MAX {
                break;
            }
        }
        // Where there are more, the next go is on with those; what nobody can have holds up no others.
        self.looked_at = if looked == LOOKED_MAX || waiting.len() == WEIGHED_MAX { last } else { 0 };
        waiting.sort_unstable_by_key(|(is_plain, age, _)| (*is_plain, *age));
        waiting.into_iter().filter_map(|(_, _, id)| Some((id, self.assign_now(routes, id, now)?))).collect()
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
        self.keep(&weighing, id);
        Some(weighing.assignment)
    }
}

#[cfg(test)]
mod tests;
