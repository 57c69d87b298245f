//! Whose open tickets are, beside decisions about posts: agents come and go, and an earlier run has left tickets to them.

use jiff::Timestamp;

use super::route::Needs;
use super::{Agent, Anew, Config, Desk};
use crate::ticket::TicketId;

/// Tickets that are assigned anew at once: some 10 ms of work, and a commit of the ledger that nobody notices.
pub const ORPHANS_MAX: usize = 256;

impl Desk {
    /// Takes the agents as they are now. Open tickets of those who are no longer there are
    /// [assigned anew](Desk::assign_anew).
    pub fn set_agents(&mut self, agents: &[Agent]) {
        // Who came back before their tickets had gone to others keeps them.
        self.orphans = self.router.set_agents(agents).into();
    }

    /// Whether tickets are left whose agent is no longer there.
    pub fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Takes over what the ledger knows of an assigned ticket, as [`Router::restore`](super::route::Router::restore).
    pub fn restore_assignment(
        &mut self,
        id: TicketId,
        team: &str,
        agent: &str,
        is_ours: bool,
        is_open: bool,
    ) {
        self.router.restore(id, team, agent, is_ours, is_open);
    }

    /// What the ledger knows that an open ticket needs and how much it matters, as [`Router::learn`](super::route::Router::learn).
    pub fn restore_needs(&mut self, id: TicketId, needs: &Needs, priority: u16) {
        self.router.learn(id, needs, priority);
    }

    /// What an open ticket needs of whoever answers it; `None`: no route has spoken of it.
    pub fn needs_of(&self, id: TicketId) -> Option<Needs> {
        self.router.needs_of(id)
    }

    /// Remembers how many tickets an agent has got rid of since they said how many they have; before agents are known.
    pub fn restore_relieved(&mut self, agent: &str, tickets: u32) {
        self.router.relieved(agent, tickets);
    }

    /// Remembers who answered somebody in an earlier run.
    pub fn remember_answer(&mut self, person: u64, agent: &str, at: Timestamp) {
        self.router.remember_answer(person, agent, at);
    }

    /// The tickets that are somebody's, as far as is known here: for [`restore_assignment`](Desk::restore_assignment).
    pub fn held(&self) -> Vec<TicketId> {
        self.router.held()
    }

    /// Who takes over from agents who are no longer there: the next few of their tickets, empty once all are done.
    pub fn assign_anew(&mut self, config: &Config, now: Timestamp) -> Vec<Anew> {
        let few = self.orphans.drain(..self.orphans.len().min(ORPHANS_MAX));
        let router = &mut self.router;
        few.filter_map(|ticket_id| {
            let assignment = Some(router.assign_anew(&config.routes, ticket_id, now)?);
            Some(Anew { ticket_id, at: now, change: None, assignment, needs: None, due: None })
        })
        .collect()
    }

    /// Who gets tickets that had no agent so far, now that somebody can have them: a few at a time.
    pub fn assign_waiting(&mut self, config: &Config, now: Timestamp) -> Vec<Anew> {
        let given = self.router.assign_waiting(&config.routes, now).into_iter();
        given
            .map(|(ticket_id, assignment)| {
                let assignment = Some(assignment);
                Anew { ticket_id, at: now, change: None, assignment, needs: None, due: None }
            })
            .collect()
    }
}
