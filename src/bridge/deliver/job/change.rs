//! A change of a ticket that is there: which operations it takes, in order.

use std::collections::VecDeque;

use super::{Case, End, Fact, Job, Note, Outcome, Stage, Step, Values, Whereabouts, values_of};
use crate::bridge::helpdesk::MERGERS_MAX;
use crate::parse::Network;
use crate::ticket::TicketId;
use crate::ticket::proto::update::Change;
use crate::ticket::proto::{Update, delivery};

/// Part of a change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Reprioritise,
    Note {
        /// Whose text is in it.
        post_id: Option<String>,
    },
    Erase,
    /// Another ticket with its text: of our reference, or what it was before it was merged.
    EraseDouble(String),
    EraseNote(Note),
    /// Whether there are others with our reference.
    Find,
}

impl Job {
    pub(super) fn change(&mut self) -> Step {
        let delivery::Record::Update(update) = &self.record else { return Step::End(End::Ack) };
        let is_erasure = matches!(&update.change, Some(Change::Erased(_)));
        // Nothing is said any more of what its author has taken back.
        if self.entry.is_erased && !is_erasure {
            return self.done([]);
        }
        match self.case().filter(|_| self.erases_ticket()) {
            // Agents may have merged it since anybody looked, and what it is now is another's, too.
            Some(case) => self.go(Stage::Checking, Step::Look(case)),
            None => self.start(),
        }
    }

    /// Where a ticket is whose text is to be erased.
    pub(super) fn checked(&mut self, outcome: Outcome, failures: u32) -> Step {
        match outcome {
            Outcome::Seen(Whereabouts::Gone) => self.gone(),
            Outcome::Seen(Whereabouts::In(id)) if id != self.case_id() && self.mergers < MERGERS_MAX => {
                self.mergers += 1;
                // As if it had been known from the beginning: the one that it is in may be in yet another.
                self.go(Stage::Begin, Step::Write(vec![Fact::Moved { id }]))
            }
            Outcome::Failed(error, _) => self.not_taken(error, failures),
            _ => self.start(),
        }
    }

    /// The helpdesk has the ticket no more; another one with its text may still be there.
    pub(super) fn gone(&mut self) -> Step {
        self.is_gone = true;
        self.acts = if self.erases_ticket() { self.erasure() } else { VecDeque::new() };
        self.act()
    }

    /// Whether there may be other tickets whose text is to be erased with this one's: some were found beside it, it was
    /// made again since the search was late, or agents have split or copied it, our reference with it. Of one that was
    /// merged the search may give what it was before, which takes no change any more.
    fn may_have_doubles(&self) -> bool {
        let may_be = self.entry.others > 0 || self.entry.is_unclear || !self.entry.is_shared();
        self.erases_ticket() && self.policy.can_find && may_be
    }

    /// What the ticket was before it was merged, where that still holds its text.
    fn merged_from(&self) -> Option<String> {
        let captured = values_of(&self.entry.place.as_ref()?.captured);
        let id = captured.get("merged_from")?.as_str()?;
        (self.policy.merged_keeps_text && self.erases_ticket()).then(|| id.to_owned())
    }

    /// Does the change.
    fn start(&mut self) -> Step {
        let delivery::Record::Update(update) = &self.record else { return Step::End(End::Ack) };
        self.acts = self.acts_of(update);
        self.act()
    }

    /// All tickets with our reference are these: the others' text is taken out next, in this order.
    fn found_beside(&mut self, ids: Vec<String>) {
        let was_shared = self.entry.is_shared();
        if ids.iter().any(|id| id == self.case_id()) {
            // Where it was merged into one of them, that is no other's.
            self.entry.is_in_anothers = false;
        }
        let is_own_now = was_shared && !self.entry.is_shared() && !self.is_gone;
        if is_own_now && !self.gave_up && !self.leaves_note() {
            // There is nothing to tell any more.
            self.acts.retain(|act| !matches!(act, Act::Note { .. }));
        }
        let own = is_own_now.then_some(Act::Erase).filter(|_| !self.is_taken_out(self.case_id()));
        let merged_from = self.merged_from();
        let others = ids.into_iter().filter(|id| id != self.case_id() && Some(id) != merged_from.as_ref());
        let others = others.filter(|id| !self.is_taken_out(id));
        let found: Vec<Act> = own.into_iter().chain(others.map(Act::EraseDouble)).collect();
        self.acts = found.into_iter().chain(self.acts.drain(..)).collect();
    }

    /// The helpdesk has refused the first of the acts for the last time: the others are done without it, and at the end
    /// agents are told of a text that stays.
    pub(super) fn do_without(&mut self) -> Step {
        self.facts.push(Fact::Refused { seq: self.seq });
        let refused = self.acts.pop_front();
        if self.is_erasure() && !std::mem::replace(&mut self.gave_up, true) && !self.is_gone {
            let is_told = refused.iter().chain(&self.acts).any(|act| matches!(act, Act::Note { .. }));
            self.acts.extend((!is_told).then_some(Act::Note { post_id: None }));
        }
        self.act()
    }

    fn acts_of(&self, update: &Update) -> VecDeque<Act> {
        // Agents decide how urgent another's ticket is.
        let is_shared = self.entry.is_shared();
        let reprioritise = (self.level() != self.entry.level && !is_shared).then_some(Act::Reprioritise);
        let note = |post_id: Option<&str>| Act::Note { post_id: post_id.map(str::to_owned) };
        match &update.change {
            Some(Change::Erased(_) | Change::PostErased(_)) => self.erasure(),
            Some(Change::Edited(edited)) => [note(Some(&edited.post_id))].into(),
            Some(Change::FollowedUp(followed)) => {
                let post_id = followed.post.as_ref().map_or("", |post| &post.id);
                reprioritise.into_iter().chain([note(Some(post_id))]).collect()
            }
            Some(Change::Rescored(rescored)) => {
                reprioritise.into_iter().chain(rescored.unsupported.then(|| note(None))).collect()
            }
            Some(Change::Answered(_) | Change::Overdue(_) | Change::Assigned(_)) => [note(None)].into(),
            None => VecDeque::new(),
        }
    }

    /// What is known comes first, so that no search keeps its text there; what agents are told comes last: once, however
    /// often one of these is refused.
    fn erasure(&self) -> VecDeque<Act> {
        let is_of_ticket = self.erases_ticket();
        // In what is another's, too, nothing but notes of which we know that they are this one's.
        let is_shared = self.entry.is_shared();
        let own = (is_of_ticket && !is_shared).then_some(Act::Erase);
        let own = own.filter(|_| !self.is_taken_out(self.case_id()));
        let notes = self.notes_of_text().filter(|_| self.policy.can_erase_notes).cloned();
        let own = own.into_iter().chain(notes.map(Act::EraseNote)).filter(|_| !self.is_gone);
        let before = self.merged_from().filter(|id| !self.is_taken_out(id)).map(Act::EraseDouble);
        let find = self.may_have_doubles().then_some(Act::Find);
        let is_told = !self.is_gone && ((is_of_ticket && is_shared) || self.leaves_note());
        let told = is_told.then_some(Act::Note { post_id: None });
        own.chain(before).chain(find).chain(told).collect()
    }

    /// The first of the acts that are left, or the end.
    pub(super) fn act(&mut self) -> Step {
        let (Some(act), Some(case)) = (self.acts.front(), self.case()) else {
            self.stays = self.leaves_text();
            if self.is_gone && !self.stays {
                self.facts.push(Fact::Gone);
            }
            let delivery::Record::Update(update) = &self.record else { return self.done([]) };
            let erased = match &update.change {
                Some(Change::Erased(_)) if self.stays => vec![Fact::Left],
                // Agents had deleted it, and there was nothing else.
                Some(Change::Erased(_)) if self.is_gone && self.taken_out.is_empty() => Vec::new(),
                Some(Change::Erased(_)) => vec![Fact::Erased, Fact::NotesErased(None)],
                _ => Vec::new(),
            };
            return self.done(erased);
        };
        let step = match act {
            Act::Reprioritise => Step::Reprioritise(case),
            Act::Note { .. } => Step::Note(case),
            Act::Erase => Step::Erase(case),
            Act::EraseDouble(id) => Step::Erase(Case { id: id.clone(), captured: Values::new() }),
            Act::EraseNote(note) => Step::EraseNote(case, values_of(&note.captured)),
            Act::Find => Step::Find,
        };
        self.go(Stage::Acting, step)
    }

    pub(super) fn acted(&mut self, outcome: Outcome, failures: u32) -> Step {
        match (outcome, self.acts.front().cloned()) {
            (Outcome::Failed(error, _), _) => self.not_taken(error, failures),
            (Outcome::Found(found), _) => {
                self.acts.pop_front();
                self.found_beside(found.unwrap_or_default());
                self.act()
            }
            (Outcome::Noted(captured), Some(Act::Note { post_id: Some(post_id) })) => {
                let captured = serde_json::Value::from(captured).to_string();
                self.facts.push(Fact::Noted(Note { seq: self.seq, post_id, captured }));
                self.acts.pop_front();
                self.act()
            }
            (_, act) => {
                match act {
                    Some(Act::Erase) => self.taken_out.push(self.case_id().to_owned()),
                    Some(Act::EraseDouble(id)) => self.taken_out.push(id),
                    Some(Act::EraseNote(note)) if !self.is_erased() => {
                        self.facts.push(Fact::NotesErased(Some(note.post_id)));
                    }
                    _ => {}
                }
                self.acts.pop_front();
                self.act()
            }
        }
    }

    /// Whether this one of the helpdesk's tickets holds the text no more: agents are not told again each time that
    /// another one refuses.
    fn is_taken_out(&self, case_id: &str) -> bool {
        self.taken_out.iter().any(|id| id == case_id)
    }

    /// What is to be remembered of it until all is done.
    pub(super) fn took_out(&self) -> impl Iterator<Item = Fact> {
        self.taken_out.iter().map(|id| Fact::TakenOut { seq: self.seq, case_id: id.clone() })
    }

    fn is_erased(&self) -> bool {
        matches!(&self.record, delivery::Record::Update(Update { change: Some(Change::Erased(_)), .. }))
    }

    /// Whether a text is being taken out of something beside the ticket itself.
    pub(super) fn erases_beside(&self) -> bool {
        matches!(self.acts.front(), Some(Act::EraseNote(_) | Act::EraseDouble(_)))
    }

    /// Whether the text of the ticket's own post is to be taken out.
    pub fn erases_ticket(&self) -> bool {
        let delivery::Record::Update(update) = &self.record else { return false };
        match &update.change {
            Some(Change::Erased(_)) => true,
            Some(Change::PostErased(erased)) => is_own(&erased.post_id, self.ticket_id),
            _ => false,
        }
    }

    /// Whether the helpdesk's agents are left with a text that its author has taken back.
    pub fn leaves_text(&self) -> bool {
        let ticket_stays = self.entry.is_shared() || !self.policy.takes_text_out;
        self.gave_up || (!self.is_gone && ((self.erases_ticket() && ticket_stays) || self.leaves_note()))
    }

    /// The same, once the record is in the helpdesk as far as it can be.
    pub fn has_left_text(&self) -> bool {
        self.stays
    }

    /// Whether one is left in a note that cannot be erased alone.
    fn leaves_note(&self) -> bool {
        let is_of_one = matches!(
            &self.record,
            delivery::Record::Update(Update { change: Some(Change::PostErased(_)), .. })
        );
        is_of_one && !self.policy.can_erase_notes && self.notes_of_text().next().is_some()
    }

    /// Our notes that hold the text that is to be taken out.
    fn notes_of_text(&self) -> impl Iterator<Item = &Note> {
        let post_id = match &self.record {
            delivery::Record::Update(Update { change: Some(Change::PostErased(erased)), .. }) => {
                Some(if is_own(&erased.post_id, self.ticket_id) { "" } else { erased.post_id.as_str() })
            }
            _ => None,
        };
        self.entry.notes.iter().filter(move |note| post_id.is_none_or(|post_id| note.post_id == post_id))
    }

    /// Whether an author's text is to be taken out.
    pub fn is_erasure(&self) -> bool {
        matches!(
            &self.record,
            delivery::Record::Update(Update { change: Some(Change::Erased(_) | Change::PostErased(_)), .. })
        )
    }
}

/// Whether the ticket is that of this post, on whatever network.
fn is_own(post_id: &str, ticket_id: TicketId) -> bool {
    Network::ALL.iter().any(|on| TicketId::of_post(*on, post_id) == ticket_id)
}
