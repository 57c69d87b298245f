//! What the points of each priority factor foretold.

use super::rank::{Correlation, Pairs};
use super::sums::{Group, share};
use crate::ledger::report::Outcome;

/// Times to the first answer, as parts of the time there was, in [`STEPS`] classes for each doubling from 1/256 to 256
/// times: times within a fifth of each other count as equal.
const STEPS: f64 = 4.0;
const DOUBLINGS: f64 = 8.0;
/// Slower than every answer: there was none by the time it was due.
const UNANSWERED: usize = (2.0 * DOUBLINGS * STEPS) as usize + 1;
/// Classes of times.
pub(super) const TIMES: usize = UNANSWERED + 1;
/// Classes of ratings: 1 to 5.
pub(super) const RATINGS: usize = 5;

/// The class of a ticket's time to its first answer; `None`: not answered, and not late.
pub(super) fn time_class(outcome: &Outcome, now_us: i64) -> Option<usize> {
    let ticket = &outcome.ticket;
    let Some(at_us) = outcome.first_answer_at_us else {
        return (outcome.is_late(now_us) == Some(true)).then_some(UNANSWERED);
    };
    let part = |us: i64| us.saturating_sub(ticket.created_at_us).max(1_000_000) as f64;
    let doublings = (part(at_us) / part(ticket.due_at_us)).log2().clamp(-DOUBLINGS, DOUBLINGS);
    Some(((doublings + DOUBLINGS) * STEPS) as usize)
}

/// The class of a rating.
pub(super) fn rating_class(outcome: &Outcome) -> Option<usize> {
    let rating = usize::try_from(outcome.satisfaction?).ok()?;
    (1..=RATINGS).contains(&rating).then(|| rating - 1)
}

/// What became of tickets that have a factor; those without are all less these.
#[derive(Debug, Clone, Default)]
pub(super) struct Factor {
    pub(super) tickets: u64,
    decided: u64,
    late: u64,
    rated: u64,
    ratings: u64,
    times: Pairs,
    rates: Pairs,
}

impl Factor {
    /// A ticket that had these points.
    pub(super) fn add(&mut self, points: i32, outcome: &Outcome, late: Option<bool>, now_us: i64) {
        self.tickets += 1;
        self.decided += u64::from(late.is_some());
        self.late += u64::from(late == Some(true));
        if let Some(class) = time_class(outcome, now_us) {
            self.times.add(points, class, TIMES);
        }
        if let Some(class) = rating_class(outcome) {
            self.rated += 1;
            self.ratings += class as u64 + 1;
            self.rates.add(points, class, RATINGS);
        }
    }

    /// Share that was late, with and without it.
    pub(super) fn late(&self, all: &Group) -> (Option<f64>, Option<f64>) {
        (share(self.late, self.decided), share(all.late - self.late, all.decided - self.decided))
    }

    /// Mean rating, with and without it.
    pub(super) fn ratings(&self, all: &Group) -> (Option<f64>, Option<f64>) {
        (share(self.ratings, self.rated), share(all.ratings - self.ratings, all.rated - self.rated))
    }

    /// Of its points with the time to the first answer, as part of the time there was.
    pub(super) fn time(&self, all: &[u64]) -> Option<Correlation> {
        self.times.correlation(all)
    }

    /// Of its points with the rating.
    pub(super) fn rating(&self, all: &[u64]) -> Option<Correlation> {
        self.rates.correlation(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::proto;

    #[test]
    fn times_are_classed_by_the_time_there_was_and_no_answer_is_the_slowest() {
        let class = |due_s: i64, answered_s: Option<i64>, now_s: i64| {
            let ticket = proto::Ticket { due_at_us: due_s * 1_000_000, ..proto::Ticket::default() };
            let first_answer_at_us = answered_s.map(|seconds| seconds * 1_000_000);
            let outcome = Outcome { ticket, first_answer_at_us, is_awaited: true, ..Outcome::default() };
            time_class(&outcome, now_s * 1_000_000)
        };
        assert_eq!(class(3600, None, 3600), None, "it may still be in time");
        assert_eq!(class(3600, None, 3601), Some(UNANSWERED));
        assert_eq!(class(3600, Some(1800), 0), class(7200, Some(3600), 0), "half of it");
        let in_order =
            [1, 60, 1800, 3600, 7200, 86_400, 9_999_999].map(|answered| class(3600, Some(answered), 0));
        assert!(in_order.is_sorted() && in_order[6] < Some(UNANSWERED), "{in_order:?}");
        assert!(in_order[1] < in_order[2] && in_order[2] < in_order[3] && in_order[3] < in_order[4]);
        // Clocks may say anything.
        for (due, answered) in [(-5, 0), (0, -9), (i64::MAX / 1_000_000, i64::MIN / 1_000_000)] {
            assert!(class(due, Some(answered), 0) < Some(UNANSWERED));
        }
    }
}
