//! A ticket that has changed after it was made: whose it is and when its answer is due, decided again.
//!
//! By the same rules as of a new one, of what it is now: the priority that it has come to, the verdict that this stands
//! by, the sensitive topics of all its posts and what these say. Who its author is stays as it was known with the first
//! post, and so does the moment from which an answer is waited for, but for danger: that is
//! waited for from the post on that first says it, after an answer, too. Where the first post is erased, nobody knows any more whom
//! the rules went by: then the ticket stays where it is, and due as it is, unless a rule that goes by what is said speaks
//! of it.

use jiff::Timestamp;

use super::route::Needs;
use super::when::Facts;
use super::{Config, Desk, Recorded};
use crate::ticket::{TicketId, proto};

/// Tickets that are decided about anew at once, as [`ORPHANS_MAX`](super::ORPHANS_MAX): each is read with all that has
/// happened to it.
pub const CHANGED_MAX: usize = 64;

/// A ticket that has changed since it was last decided whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Which.
    pub ticket_id: TicketId,
    /// As its updates have left it.
    pub ticket: proto::Ticket,
    /// The verdict that its priority stands by: that of its own post, or of the worse one that has joined it.
    pub verdict: proto::Verdict,
    /// The texts that have joined it, and those that its posts were given afterwards; what is erased is left out.
    pub further: Vec<String>,
    /// When it changed last.
    pub at: Timestamp,
    /// The ledger's number of that change: what an outcome is of, and what is still to do if there is another one.
    pub change: u64,
    /// Who may say whose it is.
    pub whose: Whose,
    /// Whether somebody has answered it: nobody waits any more, unless somebody is in danger since.
    pub is_answered: bool,
    /// When a post first said that somebody is in danger, in a way that none had said before; of what is answered only
    /// what was said since.
    pub danger_at: Option<Timestamp>,
    /// Whether its own post is erased, and with it who its author is.
    pub own_is_erased: bool,
}

/// Who may say whose a ticket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// We.
    Ours,
    /// The helpdesk: it has named an agent.
    Theirs,
    /// Nobody: it is closed, erased, or no customer message.
    Nobodys,
}

/// What is decided anew of a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Anew {
    /// Which.
    pub ticket_id: TicketId,
    /// When that was decided.
    pub at: Timestamp,
    /// As [`Changed::change`]; `None`: for another reason than a change of the ticket.
    pub change: Option<u64>,
    /// Whose it is from now on; `None`: that stays.
    pub assignment: Option<proto::Assignment>,
    /// What it needs from now on of whoever answers it; `None`: that stays.
    pub needs: Option<Needs>,
    /// When its answer is due from now on; `None`: that stays.
    pub due: Option<DueAnew>,
}

/// When an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueAnew {
    /// From then on it may come too late.
    pub at_risk_at: Timestamp,
    /// When it is late.
    pub due_at: Timestamp,
    /// The moment of the post by which somebody is in danger, if that says it: an answer from before it is none to that.
    pub danger_at: Option<Timestamp>,
}

impl Desk {
    /// Whether the ledger may have tickets that have changed.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether to look for them: at the start, and after reports were missed; not once none is left.
    pub fn look_for_changed(&mut self, changed: bool) {
        self.changed = changed;
    }

    /// Decides again whose a ticket is that has changed, and when its answer is due.
    pub fn decide_anew(&mut self, config: &Config, changed: &Changed, now: Timestamp) -> Anew {
        let Changed { ticket_id, ticket, change, whose, .. } = changed;
        let (ticket_id, change) = (*ticket_id, Some(*change));
        let mut anew = Anew { ticket_id, at: now, change, assignment: None, needs: None, due: None };
        if *whose == Whose::Nobodys {
            return anew;
        }
        let recorded = Recorded::of_changed(changed, config);
        let priority = u16::try_from(ticket.priority).unwrap_or(super::priority::PRIORITY_MAX);
        // From the first post on.
        let waiting = Facts { priority, ..recorded.facts() };
        // Whom the rules went by is erased with its post; what is said in the others is known.
        let has_its_author = !changed.own_is_erased;
        let due = match (changed.is_answered, changed.danger_at) {
            (false, danger_at) => Some(config.expectations.of_both(&waiting, danger_at)),
            (true, Some(danger_at)) => {
                Some(config.expectations.of_danger(danger_at, recorded.candidate.post.network))
            }
            (true, None) => None,
        };
        let due = due.filter(|due| has_its_author || config.expectations.is_by_text(due));
        let due = due.map(|due| DueAnew {
            at_risk_at: due.at_risk_at,
            due_at: due.due_at,
            danger_at: changed.danger_at.filter(|_| due.is_danger),
        });
        anew.due = due.filter(|due| due.due_at.as_microsecond() != ticket.due_at_us);
        let (facts, has_it) = (Facts { now, ..waiting }, ticket.assignment.as_ref());
        let may_move = has_its_author || has_it.is_none() || config.routes.is_by_text(&facts);
        if *whose == Whose::Ours && may_move {
            anew.assignment = self.router.reroute(&config.routes, &facts, ticket_id, has_it);
            anew.needs = anew.assignment.as_ref().and_then(|_| self.router.needs_of(ticket_id));
        }
        anew
    }
}

impl Recorded {
    /// What a changed ticket is now.
    fn of_changed(changed: &Changed, config: &Config) -> Recorded {
        let ticket = proto::Ticket { verdict: Some(changed.verdict.clone()), ..changed.ticket.clone() };
        let mut recorded = Recorded::of(&ticket, &config.topic_words);
        for text in &changed.further {
            let said = config.topic_words.read(text).into_iter();
            let said: Vec<_> = said.filter(|word| !recorded.said.contains(word)).collect();
            recorded.said.extend(said);
            let (further, _) = config.sensitive.read(text);
            let is_new = |topic: &String| !changed.ticket.sensitive.contains(topic);
            recorded.sensitive.extend(further.into_iter().filter(is_new));
        }
        recorded
    }
}

#[cfg(test)]
mod tests;
