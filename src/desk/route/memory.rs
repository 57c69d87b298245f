//! What the router keeps in mind, each within a bound: open tickets, and who answered whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::choice::Want;
use super::rules::AgentChoice;
use crate::ticket::TicketId;

/// Open tickets kept at most. Beyond, the oldest is forgotten as if it were closed: a helpdesk that never says what
/// became of a ticket fills no memory, and no agent for ever.
///
/// With [`PEOPLE_MAX`] people 57 MiB when both are full and have just grown, as the test that fills them shows.
pub const OPEN_TICKETS_MAX: usize = 200_000;

/// People of whom it is kept who answered them. Beyond, whoever was answered longest ago is forgotten.
/// Counted with [`OPEN_TICKETS_MAX`].
pub const PEOPLE_MAX: usize = 100_000;

/// Names a person, or a word: 8 bytes of BLAKE3, so that a hundred thousand people fit and two are never mixed up
/// (one chance in four billion among all of them).
pub(super) fn hash(key: &str) -> u64 {
    crate::desk::text_hash(key)
}

/// An open ticket.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Open {
    /// Whose it is; `None`: only the team's.
    pub(super) agent: Option<Arc<str>>,
    /// Whether the desk chose that agent; whom a helpdesk named stays.
    pub(super) is_ours: bool,
    /// What is needed to find another agent.
    pub(super) want: Want,
}

/// The open tickets, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenTickets {
    tickets: FxHashMap<TicketId, (u64, Open)>,
    /// With tickets that are closed by now: those are left out when there are more of them than others.
    ages: VecDeque<(u64, TicketId)>,
    next: u64,
    by_agent: FxHashMap<Arc<str>, u32>,
    /// Those that are only their team's, and may be an agent's, the oldest first.
    without: BTreeMap<u64, TicketId>,
}

impl OpenTickets {
    /// Takes one that is not there; gives back the oldest if there is no room for it any more.
    pub(super) fn insert(&mut self, id: TicketId, open: Open) -> Option<Open> {
        if let Some(agent) = &open.agent {
            *self.by_agent.entry(agent.clone()).or_default() += 1;
        }
        self.next += 1;
        if open.agent.is_none() && open.want.choice != AgentChoice::None {
            self.without.insert(self.next, id);
        }
        self.tickets.insert(id, (self.next, open));
        self.ages.push_back((self.next, id));
        if self.ages.len() > self.tickets.len() + self.tickets.len() / 4 + 1024 {
            let tickets = &self.tickets;
            self.ages.retain(|(age, id)| tickets.get(id).is_some_and(|(own, _)| own == age));
        }
        if self.tickets.len() <= OPEN_TICKETS_MAX {
            return None;
        }
        while let Some((age, id)) = self.ages.pop_front() {
            if self.tickets.get(&id).is_some_and(|(own, _)| *own == age) {
                return self.remove(id);
            }
        }
        None
    }

    pub(super) fn get(&self, id: TicketId) -> Option<&Open> {
        self.tickets.get(&id).map(|(_, open)| open)
    }

    /// What a ticket wants is known now.
    pub(super) fn learn(&mut self, id: TicketId, want: Want) {
        let Some((age, open)) = self.tickets.get_mut(&id) else { return };
        if want.choice == AgentChoice::None {
            self.without.remove(age);
        }
        open.want = want;
    }

    /// The oldest of those without an agent that are younger than `after`.
    pub(super) fn without_agent(&self, after: u64) -> impl Iterator<Item = (u64, TicketId, &Open)> {
        let younger = self.without.range((Bound::Excluded(after), Bound::Unbounded));
        younger.filter_map(|(age, id)| Some((*age, *id, self.get(*id)?)))
    }

    pub(super) fn remove(&mut self, id: TicketId) -> Option<Open> {
        let (age, open) = self.tickets.remove(&id)?;
        self.without.remove(&age);
        self.uncount(open.agent.as_deref());
        Some(open)
    }

    fn uncount(&mut self, agent: Option<&str>) {
        let Some(agent) = agent else { return };
        if let Some(count) = self.by_agent.get_mut(agent) {
            *count -= 1;
            if *count == 0 {
                self.by_agent.remove(agent);
            }
        }
    }

    /// Makes it another agent's; gives whose it was.
    pub(super) fn give(&mut self, id: TicketId, agent: Arc<str>, is_ours: bool) -> Option<Arc<str>> {
        let (age, open) = self.tickets.get_mut(&id)?;
        self.without.remove(age);
        open.is_ours = is_ours;
        let before = open.agent.replace(agent.clone());
        *self.by_agent.entry(agent).or_default() += 1;
        self.uncount(before.as_deref());
        before
    }

    /// Tickets of this agent.
    pub(super) fn count(&self, agent: &str) -> u32 {
        self.by_agent.get(agent).copied().unwrap_or(0)
    }

    /// The tickets that the desk gave to agents of whom `is_gone` holds, the oldest first.
    pub(super) fn of_agents(&self, is_gone: impl Fn(&str) -> bool) -> Vec<TicketId> {
        if !self.by_agent.keys().any(|agent| is_gone(agent)) {
            return Vec::new();
        }
        let gone = self
            .tickets
            .iter()
            .filter(|(_, (_, open))| open.is_ours && open.agent.as_deref().is_some_and(&is_gone));
        let mut gone: Vec<_> = gone.map(|(id, (age, _))| (*age, *id)).collect();
        gone.sort_unstable_by_key(|(age, _)| *age);
        gone.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TicketId> {
        self.tickets.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }
}

/// Who answered whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    people: FxHashMap<u64, (Timestamp, Arc<str>)>,
    ages: BTreeSet<(Timestamp, u64)>,
}

impl Seen {
    pub(super) fn answered(&mut self, person: u64, agent: &str, at: Timestamp) {
        if person == 0 || agent.is_empty() {
            return;
        }
        match self.people.get(&person) {
            Some((known, _)) if *known > at => return,
            Some((known, _)) => _ = self.ages.remove(&(*known, person)),
            None => {}
        }
        self.people.insert(person, (at, Arc::from(agent)));
        self.ages.insert((at, person));
        if self.people.len() > PEOPLE_MAX
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.people.remove(&oldest);
        }
    }

    pub(super) fn who_answered(&self, person: u64) -> Option<&str> {
        self.people.get(&person).map(|(_, agent)| &**agent)
    }
}
