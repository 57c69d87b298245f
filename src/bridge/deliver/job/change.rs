//! A change of a ticket that is there: which operations it takes, in order.

use std::collections::VecDeque;

use super::{End, Fact, Job, Note, Outcome, Stage, Step, values_of};
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
    EraseNote(Note),
}

impl Job {
    pub(super) fn change(&mut self) -> Step {
        let delivery::Record::Update(update) = &self.record else { return Step::End(End::Ack) };
        let is_erasure = matches!(&update.change, Some(Change::Erased(_)));
        // Nothing is said any more of what its author has taken back.
        if self.entry.is_erased && !is_erasure {
            return self.done([]);
        }
        self.acts = self.acts_of(update);
        self.act()
    }

    fn acts_of(&self, update: &Update) -> VecDeque<Act> {
        let erase_notes = |of: Option<&str>| -> Vec<Act> {
            let notes =
                self.entry.notes.iter().filter(|note| of.is_none_or(|post_id| note.post_id == post_id));
            notes.cloned().map(Act::EraseNote).collect()
        };
        let reprioritise = (self.level() != self.entry.level).then_some(Act::Reprioritise);
        let note = |post_id: Option<&str>| Act::Note { post_id: post_id.map(str::to_owned) };
        match &update.change {
            Some(Change::Erased(_)) => {
                let notes = erase_notes(None).into_iter().filter(|_| self.policy.can_erase_notes);
                [Act::Erase].into_iter().chain(notes).collect()
            }
            Some(Change::PostErased(erased)) => {
                let is_own =
                    Network::ALL.iter().any(|on| TicketId::of_post(*on, &erased.post_id) == self.ticket_id);
                let post_id = if is_own { "" } else { erased.post_id.as_str() };
                let notes = erase_notes(Some(post_id));
                let own = is_own.then_some(Act::Erase);
                match self.policy.can_erase_notes {
                    true => own.into_iter().chain(notes).collect(),
                    // Agents are asked to do what the API does not.
                    false => own.into_iter().chain((!notes.is_empty()).then(|| note(None))).collect(),
                }
            }
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

    /// The first of the acts that are left, or the end.
    pub(super) fn act(&mut self) -> Step {
        let (Some(act), Some(case)) = (self.acts.front(), self.case()) else {
            let delivery::Record::Update(update) = &self.record else { return self.done([]) };
            let erased = match &update.change {
                Some(Change::Erased(_)) => vec![Fact::Erased, Fact::NotesErased(None)],
                _ => Vec::new(),
            };
            return self.done(erased);
        };
        let step = match act {
            Act::Reprioritise => Step::Reprioritise(case),
            Act::Note { .. } => Step::Note(case),
            Act::Erase => Step::Erase(case),
            Act::EraseNote(note) => Step::EraseNote(case, values_of(&note.captured)),
        };
        self.go(Stage::Acting, step)
    }

    pub(super) fn acted(&mut self, outcome: Outcome, failures: u32) -> Step {
        match (outcome, self.acts.front().cloned()) {
            (Outcome::Failed(error, _), _) if error.is_absence() || error.may_be_of_one() => {
                self.doubt(error)
            }
            (Outcome::Failed(error, _), _) if error.is_of_one() => self.refused_alone(&error),
            (Outcome::Failed(error, _), _) => self.failed(error, failures),
            (Outcome::Noted(captured), Some(Act::Note { post_id: Some(post_id) })) => {
                let captured = serde_json::Value::from(captured).to_string();
                self.facts.push(Fact::Noted(Note { seq: self.seq, post_id, captured }));
                self.acts.pop_front();
                self.act()
            }
            (_, act) => {
                if let Some(Act::EraseNote(note)) = act
                    && !self.is_erased()
                {
                    self.facts.push(Fact::NotesErased(Some(note.post_id)));
                }
                self.acts.pop_front();
                self.act()
            }
        }
    }

    fn is_erased(&self) -> bool {
        matches!(&self.record, delivery::Record::Update(Update { change: Some(Change::Erased(_)), .. }))
    }

    /// Whether a note's text is being taken out.
    pub(super) fn erases_note(&self) -> bool {
        matches!(self.acts.front(), Some(Act::EraseNote(_)))
    }

    pub(super) fn is_erasure(&self) -> bool {
        matches!(
            &self.record,
            delivery::Record::Update(Update { change: Some(Change::Erased(_) | Change::PostErased(_)), .. })
        )
    }
}
