//! What a ticket needs of whoever answers it, as the ledger keeps it: whoever takes over after a restart is found by
//! that.

use super::choice::{Tongue, Want, Worth};
use super::rules::AgentChoice;
use super::{Router, Weighing};
use crate::ticket::TicketId;

/// What is needed to find another agent, and to know the person again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The route's team, of which the ticket's may be a fallback; empty: nothing is known of what it needs.
    pub team: String,
    /// Hash of whom the ticket is from; 0 if that is not known.
    pub person: u64,
    /// What the agent must know, all of it.
    pub skills: Vec<String>,
    /// The customer's and the text's, as far as they are known; primary subtags.
    pub languages: Vec<String>,
    /// How the agent is chosen.
    pub choice: AgentChoice,
    /// Whether it is worth the best-rated's time.
    pub is_worth_it: bool,
}

impl Want {
    fn needs(&self) -> Needs {
        if !self.is_known {
            return Needs::default();
        }
        Needs {
            team: self.team.to_string(),
            person: self.person,
            skills: self.skills().to_vec(),
            languages: self.tongues.iter().flatten().map(|tongue| tongue.tag().to_owned()).collect(),
            choice: self.choice,
            is_worth_it: self.worth_it.is_some(),
        }
    }

    fn of_needs(needs: &Needs) -> Want {
        let mut languages = needs.languages.iter().filter_map(|tag| Tongue::new(tag));
        Want {
            skills: (!needs.skills.is_empty()).then(|| needs.skills.as_slice().into()),
            choice: needs.choice,
            tongues: [languages.next(), languages.next()],
            worth_it: needs.is_worth_it.then_some(match needs.choice {
                AgentChoice::Best => Worth::Rule,
                AgentChoice::Any | AgentChoice::None => Worth::Before,
            }),
            person: needs.person,
            is_known: true,
            ..Want::only(&needs.team)
        }
    }
}

impl Weighing {
    /// What the ticket needs, for the ledger.
    pub fn needs(&self) -> Needs {
        self.want.needs()
    }
}

impl Router {
    /// What an open ticket needs, for the ledger.
    pub fn needs_of(&self, ticket: TicketId) -> Option<Needs> {
        self.open.get(ticket).map(|open| open.want.needs())
    }

    /// What the ledger knows that an open ticket needs, nothing new where it was decided here; and how much it matters.
    pub fn learn(&mut self, ticket: TicketId, needs: &Needs, priority: u16) {
        self.open.wants(ticket, |want| {
            if !want.is_known && !needs.team.is_empty() {
                *want = Want::of_needs(needs);
            }
            want.priority = priority;
        });
    }
}
