//! What the router keeps in mind, each within a bound: open tickets, and who answered whom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::choice::{Alike, Want};
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
    /// Which of all tickets it is, by when each came; 0: it has just come.
    pub(super) age: u64,
    /// Whose it is; `None`: only the team's.
    pub(super) agent: Option<Arc<str>>,
    /// Whether the desk chose that agent, or may; whom a helpdesk named stays.
    pub(super) is_ours: bool,
    /// What is needed to find another agent.
    pub(super) want: Want,
}

/// The most important first, of those the oldest.
pub(super) type Turn = (Reverse<u16>, u64, TicketId);

impl Open {
    fn turn(&self, id: TicketId) -> Turn {
        (Reverse(self.want.priority), self.age, id)
    }

    /// Whether it waits for an agent. Of whom nobody knows what it needs may be a supplier's.
    fn waits(&self) -> bool {
        let Open { agent, is_ours, want, .. } = self;
        agent.is_none() && *is_ours && want.is_known && want.choice != AgentChoice::None
    }
}

/// The open tickets, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenTickets {
    tickets: FxHashMap<TicketId, Open>,
    /// With tickets that are closed by now: those are left out when there are more of them than others.
    ages: VecDeque<(u64, TicketId)>,
    next: u64,
    by_agent: FxHashMap<Arc<str>, u32>,
    waiting: Waiting,
}

/// Those that wait for an agent.
#[derive(Debug, Clone, Default)]
struct Waiting(BTreeMap<Alike, BTreeSet<Turn>>);

impl Waiting {
    fn add(&mut self, id: TicketId, open: &Open) {
        if open.waits() {
            self.0.entry(open.want.alike()).or_default().insert(open.turn(id));
        }
    }

    fn remove(&mut self, id: TicketId, open: &Open) {
        let alike = open.want.alike();
        if let Some(turns) = self.0.get_mut(&alike) {
            turns.remove(&open.turn(id));
            if turns.is_empty() {
                self.0.remove(&alike);
            }
        }
    }
}

impl OpenTickets {
    /// Takes one that is not there; gives back the oldest if there is no room for it any more. One that was there just
    /// before keeps its age.
    pub(super) fn insert(&mut self, id: TicketId, mut open: Open) -> Option<Open> {
        if let Some(agent) = &open.agent {
            *self.by_agent.entry(agent.clone()).or_default() += 1;
        }
        if open.age == 0 {
            self.next += 1;
            open.age = self.next;
            self.ages.push_back((open.age, id));
        }
        self.waiting.add(id, &open);
        self.tickets.insert(id, open);
        if self.ages.len() > self.tickets.len() + self.tickets.len() / 4 + 1024 {
            let tickets = &self.tickets;
            self.ages.retain(|(age, id)| tickets.get(id).is_some_and(|open| open.age == *age));
        }
        if self.tickets.len() <= OPEN_TICKETS_MAX {
            return None;
        }
        while let Some((age, id)) = self.ages.pop_front() {
            if self.tickets.get(&id).is_some_and(|open| open.age == age) {
                return self.remove(id);
            }
        }
        None
    }

    pub(super) fn get(&self, id: TicketId) -> Option<&Open> {
        self.tickets.get(&id)
    }

    /// What a ticket wants is another thing now.
    pub(super) fn wants(&mut self, id: TicketId, change: impl FnOnce(&mut Want)) {
        let Some(open) = self.tickets.get_mut(&id) else { return };
        self.waiting.remove(id, open);
        change(&mut open.want);
        self.waiting.add(id, open);
    }

    /// Who is needed for those that wait for an agent.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Alike> {
        self.waiting.0.keys()
    }

    /// Whose turn it is of those that need such an agent.
    pub(super) fn next_of(&self, alike: &Alike) -> Option<Turn> {
        self.waiting.0.get(alike)?.first().copied()
    }

    pub(super) fn remove(&mut self, id: TicketId) -> Option<Open> {
        let open = self.tickets.remove(&id)?;
        self.waiting.remove(id, &open);
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
        let open = self.tickets.get_mut(&id)?;
        self.waiting.remove(id, open);
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
            .filter(|(_, open)| open.is_ours && open.agent.as_deref().is_some_and(&is_gone));
        let mut gone: Vec<_> = gone.map(|(id, open)| (open.age, *id)).collect();
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
