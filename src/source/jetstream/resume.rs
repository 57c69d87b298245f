//! Where to ask the server to go on, and what its first event says about what was lost. Pure.
//!
//! Positions are `time_us`, µs since 1970. Servers say no word when they cannot go back as far as asked:
//! they start at the oldest event they have, or live. The first event is the only witness: the cursor is
//! inclusive, so a faithful server starts at or before the last event that we already have.

use std::time::Duration;

use crate::source::Gap;

/// What one run knows of its place in the stream.
#[derive(Debug)]
pub(super) struct Resume {
    rewind_us: i64,
    /// The greatest position stored or handed to the lanes. Events come out of order by some 30 ms, so
    /// neither the last nor the greatest is the place to go on from: that is what the rewind is for.
    greatest: Option<i64>,
    /// `greatest` when the connection was made.
    greatest_at_start: Option<i64>,
    awaits_first: bool,
    /// How often in a row a connection ended at a frame before it got any further.
    stuck: u32,
}

/// The first step over a frame that ends every connection, in µs; each next one is twice as long.
const STEP_US: i64 = 1_000;

/// Doublings of [`STEP_US`]: up to 17 minutes of stream are given up for one such frame.
const STEP_DOUBLINGS_MAX: u32 = 20;

impl Resume {
    /// `position` is the one stored by the ledger.
    pub(super) fn new(position: Option<i64>, rewind: Duration) -> Resume {
        Resume {
            rewind_us: i64::try_from(rewind.as_micros()).unwrap_or(i64::MAX),
            greatest: position,
            greatest_at_start: position,
            awaits_first: false,
            stuck: 0,
        }
    }

    /// The cursor to ask for; `None` for live.
    pub(super) fn cursor(&self) -> Option<i64> {
        let greatest = self.greatest?;
        let cursor = match self.stuck.checked_sub(1) {
            None => greatest.saturating_sub(self.rewind_us),
            Some(doublings) => greatest.saturating_add(STEP_US << doublings.min(STEP_DOUBLINGS_MAX)),
        };
        Some(cursor.max(0))
    }

    /// The greatest position so far.
    pub(super) fn position(&self) -> Option<i64> {
        self.greatest
    }

    /// A connection was made: the next event is its first.
    pub(super) fn connected(&mut self) {
        self.greatest_at_start = self.greatest;
        self.awaits_first = self.greatest.is_some();
    }

    /// Whether [`Resume::first`] is still to be told.
    pub(super) fn awaits_first(&self) -> bool {
        self.awaits_first
    }

    /// The connection's first position: the hole before it, if there is one.
    pub(super) fn first(&mut self, first: i64) -> Option<Gap> {
        self.awaits_first = false;
        let last = self.greatest.filter(|&last| first > last)?;
        let reason = if self.stuck > 0 {
            "stepped over a frame that ended every connection".to_owned()
        } else {
            let seconds = first.saturating_sub(last) / 1_000_000;
            format!(
                "the server starts {seconds} s after the last event: its window is shorter, or it keeps none"
            )
        };
        Some(Gap { from: last, to: first, reason })
    }

    /// A position was handed to the lanes.
    pub(super) fn reached(&mut self, position: i64) {
        self.greatest = self.greatest.max(Some(position));
    }

    /// The connection is gone; `at_a_frame` if it was because of what the server sent in a frame.
    ///
    /// The rewind would bring that frame again and again, so after an attempt that got no further the
    /// next one starts beyond the last event, ever further beyond. [`Resume::first`] books what is lost.
    pub(super) fn ended(&mut self, at_a_frame: bool) {
        let progressed = self.greatest > self.greatest_at_start;
        if progressed {
            self.stuck = 0;
        } else if at_a_frame {
            self.stuck = self.stuck.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: i64 = 1_725_911_162_329_308;
    const REWIND: Duration = Duration::from_secs(5);

    /// The gap seen when the server's first event is at `first` after all up to [`LAST`] were received.
    fn check(first: i64, expected: Option<(i64, i64)>) {
        let mut resume = Resume::new(Some(LAST), REWIND);
        resume.connected();
        assert!(resume.awaits_first());
        let gap = resume.first(first).map(|gap| (gap.from, gap.to));
        assert_eq!(gap, expected, "first at {first}");
        assert!(!resume.awaits_first());
    }

    #[test]
    fn a_gap_is_what_lies_between_the_last_event_and_a_later_first_one() {
        check(LAST - 5_000_000, None);
        check(LAST - 1, None);
        check(LAST, None);
        check(LAST + 1, Some((LAST, LAST + 1)));
        check(i64::MAX, Some((LAST, i64::MAX)));
        check(i64::MIN, None);
    }

    #[test]
    fn without_a_position_the_stream_is_live_and_has_no_gap() {
        let mut resume = Resume::new(None, REWIND);
        assert_eq!(resume.cursor(), None);
        resume.connected();
        assert!(!resume.awaits_first());
        assert_eq!(resume.first(LAST), None);
    }

    #[test]
    fn the_cursor_is_the_greatest_position_less_the_rewind() {
        let mut resume = Resume::new(None, REWIND);
        for position in [LAST, LAST - 31_600, LAST + 10, LAST] {
            resume.reached(position);
        }
        assert_eq!(resume.cursor(), Some(LAST + 10 - 5_000_000));
        assert_eq!(Resume::new(Some(3), REWIND).cursor(), Some(0));
    }

    #[test]
    fn a_frame_that_ends_every_connection_is_stepped_over_and_booked() {
        let mut resume = Resume::new(Some(LAST), REWIND);
        let mut cursors = Vec::new();
        for _ in 0..4 {
            cursors.push(resume.cursor().expect("a position is stored") - LAST);
            resume.connected();
            resume.ended(true);
        }
        assert_eq!(cursors, [-5_000_000, 1_000, 2_000, 4_000]);

        resume.connected();
        let gap = resume.first(LAST + 9_000).expect("events up to 9 ms were skipped");
        assert!(gap.reason.contains("stepped over"), "{}", gap.reason);
        resume.reached(LAST + 9_000);
        resume.ended(false);
        assert_eq!(resume.cursor(), Some(LAST + 9_000 - 5_000_000));
    }

    #[test]
    fn steps_stay_bounded_and_other_ends_take_none() {
        let mut resume = Resume::new(Some(LAST), REWIND);
        resume.connected();
        resume.ended(false);
        assert_eq!(resume.cursor(), Some(LAST - 5_000_000));
        (0..200).for_each(|_| resume.ended(true));
        assert_eq!(resume.cursor(), Some(LAST + (STEP_US << STEP_DOUBLINGS_MAX)));
    }
}
