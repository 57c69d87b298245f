//! What went wrong, of what, and whether it is over: an error of yesterday is not to look like one of now, and what is
//! refused again and again is not to be hidden by what works beside it.

use crate::ticket::TicketId;

/// Errors that last and are kept, the newest. What falls out comes again when it is tried again.
const STANDING_MAX: usize = 100;

/// What has to go right for an error to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The record of this number, which the helpdesk did not take.
    Record(u64),
    /// The operator's fields, without which a ticket was made.
    Fields,
    /// The helpdesk itself, which takes nothing.
    Helpdesk,
    /// The preset's questions, of which one is answered wrongly.
    Questions,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Of what.
    pub of: Of,
    /// When, microseconds since 1970; of what failed again, when that was last.
    pub at_us: i64,
    /// What was said.
    pub said: String,
    /// Whose text that may hold, since the helpdesk may quote it; `None`: nobody's.
    pub ticket_id: Option<TicketId>,
    /// The same without the helpdesk's words.
    pub in_short: String,
}

/// Those that last, and the last of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors {
    /// The oldest first.
    standing: Vec<Error>,
    past: Option<Error>,
}

impl Errors {
    /// Something went wrong.
    pub(in crate::bridge) fn failed(&mut self, error: Error) {
        self.standing.retain(|standing| standing.of != error.of);
        if self.standing.len() >= STANDING_MAX {
            self.standing.remove(0);
        }
        self.standing.push(error);
    }

    /// It goes right.
    pub(in crate::bridge) fn over(&mut self, of: Of) {
        let Some(at) = self.standing.iter().position(|standing| standing.of == of) else { return };
        let error = self.standing.remove(at);
        if self.past.as_ref().is_none_or(|past| past.at_us <= error.at_us) {
            self.past = Some(error);
        }
    }

    /// A post of the ticket was taken back by its author: what the helpdesk has said of it is shown to nobody any more.
    pub(super) fn forget_words_of(&mut self, ticket_id: TicketId) {
        for error in self.standing.iter_mut().chain(&mut self.past) {
            if error.ticket_id == Some(ticket_id) {
                error.said.clone_from(&error.in_short);
            }
        }
    }

    /// The one to be shown, and whether it is over: why nothing is taken, else the newest that lasts, tickets before
    /// questions, else the last.
    pub fn last(&self) -> Option<(&Error, bool)> {
        let of_all = self.standing.iter().find(|error| error.of == Of::Helpdesk);
        let of_tickets = || self.standing.iter().rfind(|error| error.of != Of::Questions);
        let standing = of_all.or_else(of_tickets).or(self.standing.last()).map(|error| (error, false));
        standing.or(self.past.as_ref().map(|error| (error, true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(errors: &Errors) -> Option<(&str, i64, bool)> {
        errors.last().map(|(error, is_over)| (error.said.as_str(), error.at_us, is_over))
    }

    fn failed(errors: &mut Errors, of: Of, at_us: i64, said: &str) {
        let (said, in_short) = (said.to_owned(), "in short".to_owned());
        errors.failed(Error { of, at_us, said, ticket_id: TicketId::from_bytes(&[1; 16]), in_short });
    }

    #[test]
    fn what_lasts_is_shown_before_what_is_over_and_why_nothing_is_taken_before_all() {
        let mut errors = Errors::default();
        assert_eq!(shown(&errors), None);
        failed(&mut errors, Of::Record(1), 10, "one");
        failed(&mut errors, Of::Record(2), 20, "two");
        errors.over(Of::Record(3));
        assert_eq!(shown(&errors), Some(("two", 20, false)));
        errors.over(Of::Record(2));
        assert_eq!(shown(&errors), Some(("one", 10, false)), "it is refused all the same");
        failed(&mut errors, Of::Record(1), 30, "one again");
        failed(&mut errors, Of::Helpdesk, 40, "all");
        failed(&mut errors, Of::Record(4), 50, "four");
        assert_eq!(shown(&errors), Some(("all", 40, false)));
        errors.over(Of::Helpdesk);
        errors.over(Of::Record(4));
        assert_eq!(shown(&errors), Some(("one again", 30, false)));
        errors.over(Of::Record(1));
        assert_eq!(shown(&errors), Some(("four", 50, true)), "the newest of what is over");
        failed(&mut errors, Of::Record(5), 60, "five");
        failed(&mut errors, Of::Questions, 70, "a field");
        assert_eq!(shown(&errors), Some(("five", 60, false)));
        errors.over(Of::Record(5));
        assert_eq!(shown(&errors), Some(("a field", 70, false)));
    }

    #[test]
    fn no_more_are_kept_than_there_are_places() {
        let mut errors = Errors::default();
        for seq in 0..=STANDING_MAX as u64 {
            failed(&mut errors, Of::Record(seq), 1, "says secret");
        }
        assert_eq!((errors.standing.len(), errors.standing[0].of), (STANDING_MAX, Of::Record(1)));
        errors.over(Of::Record(5));
        errors.forget_words_of(TicketId::from_bytes(&[1; 16]).unwrap());
        assert!(!format!("{errors:?}").contains("secret"));
    }
}
