//! Where to ask the server to go on, and what its first event says about what was lost. Pure.
//!
//! Positions are `time_us`, µs since 1970. Servers say no word when they cannot go back as far as asked:
//! they start at the oldest event they have, or live. The first event is the only witness: the cursor is
//! inclusive, so a faithful server starts at or before the last event that we already have.
//!
//! A hole that the server may only have failed to fill this time (it took no notice of the cursor, or another
//! one behind the same address has more) stays open: the next connections ask from before it, and when what
//! comes has run through it, it is filled. One that an earlier run has left open is taken up once this run has
//! brought something that none had: a daemon that never lives long gets on all the same.

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
    /// Holes to be asked for again, oldest first.
    holes: Vec<Hole>,
    /// Those of earlier runs, until they are taken up.
    booked: Vec<Hole>,
    /// `greatest` when this run began.
    stored: Option<i64>,
    /// How often in a row a connection ended at a frame before it got any further than the ones before.
    stuck: u32,
}

/// A gap that was booked, and may be filled yet.
#[derive(Debug)]
struct Hole {
    from: i64,
    to: i64,
    /// Within so much of its ends, in µs, nothing proves that it is filled.
    margin_us: i64,
    /// Connections that were asked for it, whatever became of them.
    tries: u32,
    /// Whether the present connection began early enough.
    is_filling: bool,
    /// Events between its margins that this connection brought and that had not come before.
    inside: u64,
}

impl Hole {
    fn new(from: i64, to: i64) -> Hole {
        Hole { from, to, margin_us: 0, tries: 0, is_filling: false, inside: 0 }
    }

    /// Whether the stream has not gone on too far since, to `greatest`.
    fn is_young(&self, greatest: i64) -> bool {
        greatest.saturating_sub(self.from) <= HOLE_AGE_MAX_US
    }
}

/// Holes that are asked for again at once. More means a server that never goes back: the oldest are given up.
const HOLES_MAX: usize = 8;

/// Connections that are asked for a hole before it is given up: one that ends each of them early must not keep the
/// source from going on.
const TRIES_MAX: u32 = 3;

/// How far the stream may have gone on before a hole is given up, in µs: 10 minutes. All that has come since
/// comes again with it.
const HOLE_AGE_MAX_US: i64 = 600_000_000;

/// Events are out of order by up to 32 ms; three times that after its end a hole is filled.
const DISORDER_US: i64 = 100_000;

/// Connections that end so before the frame is stepped over. Once it may have been hurt on its way: what a server
/// sends again to fill an old hole is no progress either, and would be given up with all up to the present.
const STUCK_MAX: u32 = 2;

/// Why there is a hole that is not asked for again: it would bring the frame again.
const STEPPED_OVER: &str = "stepped over a frame that ended every connection";

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
            holes: Vec::new(),
            booked: Vec::new(),
            stored: position,
            stuck: 0,
        }
    }

    /// With the holes that earlier runs have left open, oldest first.
    pub(super) fn with_booked(mut self, gaps: &[Gap]) -> Resume {
        // An earlier run had events out of order around the hole. This one has forgotten them, and would take them for
        // what was missing.
        let hole = |gap: &Gap| Hole { margin_us: DISORDER_US, ..Hole::new(gap.from, gap.to) };
        let holes = gaps.iter().filter(|gap| gap.reason != STEPPED_OVER).map(hole);
        self.booked = holes.filter(|hole| hole.to.saturating_sub(hole.from) > 2 * DISORDER_US).collect();
        self
    }

    /// Whether there are holes of earlier runs to be asked for from now on: once, when this run has got further than
    /// those.
    pub(super) fn take_up_booked(&mut self) -> bool {
        let Some(greatest) = self.greatest.filter(|_| self.greatest > self.stored) else { return false };
        let young = std::mem::take(&mut self.booked).into_iter().filter(|hole| hole.is_young(greatest));
        let room = HOLES_MAX.saturating_sub(self.holes.len());
        let mut young: Vec<_> = young.collect();
        young.drain(..young.len().saturating_sub(room));
        let is_any = !young.is_empty();
        self.holes.splice(..0, young);
        is_any
    }

    /// The cursor to ask for; `None` for live.
    pub(super) fn cursor(&self) -> Option<i64> {
        let greatest = self.greatest?;
        let cursor = match self.stuck.checked_sub(STUCK_MAX) {
            None => {
                let hole = self.holes.iter().find(|hole| hole.is_young(greatest));
                hole.map_or(greatest, |hole| hole.from.min(greatest)).saturating_sub(self.rewind_us)
            }
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
        if let Some(greatest) = self.greatest {
            self.holes.retain(|hole| hole.is_young(greatest));
        }
        self.holes.iter_mut().for_each(|hole| hole.is_filling = false);
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
        for hole in &mut self.holes {
            hole.is_filling = first <= hole.from;
            hole.inside = 0;
            hole.tries += 1;
        }
        self.holes.retain(|hole| hole.is_filling || hole.tries < TRIES_MAX);
        let last = self.greatest.filter(|&last| first > last)?;
        let reason = if self.stuck >= STUCK_MAX {
            // Asking for it again would bring that frame.
            STEPPED_OVER.to_owned()
        } else {
            self.open(last, first);
            let seconds = first.saturating_sub(last) as f64 / 1e6;
            format!(
                "the server starts {seconds:.3} s after the last event: its window is shorter, or it took no notice of the cursor"
            )
        };
        Some(Gap { from: last, to: first, reason })
    }

    /// Events between these positions are missing, and the server may have them; `None` if that is known already, and
    /// the server does not send them this time either.
    pub(super) fn missing(&mut self, from: i64, to: i64) -> Option<Gap> {
        if self.holes.iter().any(|hole| from < hole.to && hole.from < to) {
            return None;
        }
        self.open(from, to);
        let seconds = to.saturating_sub(from) as f64 / 1e6;
        let reason = format!("nothing for {seconds:.3} s around the change from replay to live");
        Some(Gap { from, to, reason })
    }

    /// Whether [`Resume::came`] wants to know of each event.
    pub(super) fn is_filling(&self) -> bool {
        self.holes.iter().any(|hole| hole.is_filling)
    }

    /// An event of this position has come, for the first time.
    pub(super) fn came(&mut self, position: i64) {
        for hole in self.holes.iter_mut().filter(|hole| hole.is_filling) {
            let from = hole.from.saturating_add(hole.margin_us);
            let to = hole.to.saturating_sub(hole.margin_us);
            hole.inside += u64::from(from < position && position < to);
        }
    }

    fn open(&mut self, from: i64, to: i64) {
        if self.holes.len() == HOLES_MAX {
            self.holes.remove(0);
        }
        self.holes.push(Hole::new(from, to));
    }

    /// A position is handed to the lanes; the holes that are filled with it, first and last position.
    ///
    /// One that the stream has run through again without a new event in it is not filled, but asked for again.
    pub(super) fn reached(&mut self, position: i64) -> Vec<(i64, i64)> {
        self.greatest = self.greatest.max(Some(position));
        let mut filled = Vec::new();
        self.holes.retain_mut(|hole| {
            if !hole.is_filling || position < hole.to.saturating_add(DISORDER_US) {
                return true;
            }
            hole.is_filling = false;
            let is_filled = hole.inside > 0;
            if is_filled {
                filled.push((hole.from, hole.to));
            }
            !is_filled && hole.tries < TRIES_MAX
        });
        filled
    }

    /// The connection is gone; `at_a_frame` if it was because of what the server sent in a frame.
    ///
    /// The rewind would bring that frame again and again, so after [`STUCK_MAX`] attempts that got no further the
    /// next one starts beyond the last event, ever further beyond. [`Resume::first`] books what is lost.
    pub(super) fn ended(&mut self, at_a_frame: bool) {
        self.holes.retain(|hole| hole.tries < TRIES_MAX);
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
            assert_eq!(resume.reached(position), []);
        }
        assert_eq!(resume.cursor(), Some(LAST + 10 - 5_000_000));
        assert_eq!(Resume::new(Some(3), REWIND).cursor(), Some(0));
    }

    #[test]
    fn a_hole_is_asked_for_again_and_filled_once_the_stream_has_run_through_it() {
        let mut resume = Resume::new(Some(LAST), REWIND);
        resume.connected();
        let late = LAST + 60_000_000;
        assert!(resume.first(late).is_some());
        assert_eq!(resume.reached(late + 5), [], "it was not filled by what came after it");
        assert_eq!(resume.reached(late + 5_000_000), []);
        assert_eq!(resume.cursor(), Some(LAST - 5_000_000));

        resume.connected();
        assert_eq!(resume.first(LAST - 5_000_000), None);
        resume.came(LAST + 1);
        assert_eq!(resume.reached(late + DISORDER_US - 1), []);
        // Lost again before the end of the hole: all of it is asked for again.
        resume.ended(false);
        assert_eq!(resume.cursor(), Some(LAST - 5_000_000));
        resume.connected();
        assert_eq!(resume.first(LAST), None);
        assert!(resume.is_filling());
        resume.came(LAST + 1);
        assert_eq!(resume.reached(late + DISORDER_US), [(LAST, late)]);
        assert!(!resume.is_filling());
        assert_eq!(resume.cursor(), Some(late));
    }

    #[test]
    fn a_hole_in_which_nothing_comes_the_second_time_either_is_not_filled() {
        let mut resume = Resume::new(Some(LAST), REWIND);
        resume.connected();
        assert_eq!(resume.first(LAST - 5_000_000), None);
        let hole = resume.missing(LAST, LAST + 2_000_000).expect("it is new");
        assert_eq!((hole.from, hole.to), (LAST, LAST + 2_000_000));
        assert_eq!(resume.reached(LAST + 9_000_000), []);
        for _ in 0..TRIES_MAX {
            assert_eq!(resume.cursor(), Some(LAST - 5_000_000));
            resume.connected();
            assert_eq!(resume.first(LAST - 5_000_000), None);
            // Its ends are no events in it.
            [LAST - 1, LAST, LAST + 2_000_000].into_iter().for_each(|position| resume.came(position));
            assert_eq!(resume.missing(LAST - 10, LAST + 2_000_000), None, "booked already");
            assert_eq!(resume.reached(LAST + 9_000_000), []);
        }
        assert_eq!(resume.cursor(), Some(LAST + 4_000_000));
    }

    #[test]
    fn connections_that_end_within_a_hole_do_not_hold_the_source_up_for_ever() {
        let late = LAST + 60_000_000;
        let mut resume = Resume::new(Some(LAST), REWIND);
        resume.connected();
        assert!(resume.first(late).is_some());
        assert_eq!(resume.reached(late), []);
        for _ in 0..TRIES_MAX {
            assert_eq!(resume.cursor(), Some(LAST - 5_000_000));
            resume.connected();
            assert_eq!(resume.first(LAST - 5_000_000), None);
            assert_eq!(resume.reached(LAST + 1_000_000), []);
            resume.ended(false);
        }
        assert_eq!(resume.cursor(), Some(late - 5_000_000));
    }

    #[test]
    fn a_hole_is_given_up_after_some_tries_or_when_the_stream_is_far_beyond_it() {
        let late = LAST + 1_000_000;
        let broken = || {
            let mut resume = Resume::new(Some(LAST), REWIND);
            resume.connected();
            assert!(resume.first(late).is_some());
            assert_eq!(resume.reached(late), []);
            resume
        };
        let mut resume = broken();
        for _ in 0..TRIES_MAX {
            assert_eq!(resume.cursor(), Some(LAST - 5_000_000));
            resume.connected();
            assert_eq!(resume.first(late), None, "what lies behind is no new hole");
        }
        assert_eq!(resume.cursor(), Some(late - 5_000_000));

        let mut resume = broken();
        assert_eq!(resume.reached(LAST + HOLE_AGE_MAX_US + 1), []);
        assert_eq!(resume.cursor(), Some(LAST + HOLE_AGE_MAX_US + 1 - 5_000_000), "not even once more");
        resume.connected();
        assert_eq!(resume.cursor(), Some(LAST + HOLE_AGE_MAX_US + 1 - 5_000_000));

        let mut resume = broken();
        for step in 1..=2 * HOLES_MAX as i64 {
            resume.connected();
            assert!(resume.first(late + step * 1_000_000).is_some());
            assert_eq!(resume.reached(late + step * 1_000_000), []);
        }
        assert!(resume.holes.len() <= HOLES_MAX);
    }

    #[test]
    fn a_frame_that_ends_every_connection_is_stepped_over_and_booked() {
        let mut resume = Resume::new(Some(LAST), REWIND);
        let mut cursors = Vec::new();
        for _ in 0..5 {
            cursors.push(resume.cursor().expect("a position is stored") - LAST);
            resume.connected();
            resume.ended(true);
        }
        assert_eq!(cursors, [-5_000_000, -5_000_000, 1_000, 2_000, 4_000]);

        resume.connected();
        let gap = resume.first(LAST + 9_000).expect("events up to 9 ms were skipped");
        assert!(gap.reason.contains("stepped over"), "{}", gap.reason);
        assert_eq!(resume.reached(LAST + 9_000), []);
        resume.ended(false);
        assert_eq!(resume.cursor(), Some(LAST + 9_000 - 5_000_000));
    }

    #[test]
    fn a_frame_that_ends_one_connection_while_a_hole_is_filled_costs_nothing() {
        let late = LAST + 1_000_000;
        let mut resume = Resume::new(Some(LAST), REWIND);
        resume.connected();
        assert!(resume.first(late).is_some());
        assert_eq!(resume.reached(late), []);
        // Hurt on its way, before the connection got to anything new.
        resume.connected();
        assert_eq!(resume.first(LAST), None);
        assert_eq!(resume.reached(LAST + 500_000), []);
        resume.ended(true);
        assert_eq!(resume.cursor(), Some(LAST - 5_000_000), "the hole is asked for again");
        // On the next one it comes whole, and the stream goes on.
        resume.connected();
        assert_eq!(resume.first(LAST), None);
        resume.came(LAST + 500_000);
        assert_eq!(resume.reached(late + DISORDER_US), [(LAST, late)]);
        resume.ended(false);
        assert_eq!(resume.cursor(), Some(late + DISORDER_US - 5_000_000));
    }

    fn booked(from: i64, to: i64, reason: &str) -> Gap {
        Gap { from, to, reason: reason.to_owned() }
    }

    #[test]
    fn a_hole_of_an_earlier_run_is_asked_for_once_this_one_has_got_on() {
        let (from, to) = (LAST - 60_000_000, LAST - 50_000_000);
        let gaps = [booked(from, to, "the server starts late")];
        let mut resume = Resume::new(Some(LAST), REWIND).with_booked(&gaps);
        // Runs that end before they have got anywhere go on from the same place.
        assert_eq!(resume.cursor(), Some(LAST - 5_000_000));
        resume.connected();
        assert_eq!(resume.first(LAST - 5_000_000), None);
        assert_eq!(resume.reached(LAST), []);
        assert!(!resume.take_up_booked());
        assert_eq!(resume.reached(LAST + 1), []);
        assert!(resume.take_up_booked() && !resume.take_up_booked(), "once");
        assert_eq!(resume.cursor(), Some(from - 5_000_000));

        // What the earlier run had at its ends proves nothing.
        resume.connected();
        assert_eq!(resume.first(from), None);
        [from + DISORDER_US, to - DISORDER_US].into_iter().for_each(|position| resume.came(position));
        assert_eq!(resume.reached(LAST + 1), []);
        resume.connected();
        assert_eq!(resume.first(from), None);
        resume.came(from + DISORDER_US + 1);
        assert_eq!(resume.reached(LAST + 1), [(from, to)]);
        assert_eq!(resume.cursor(), Some(LAST + 1 - 5_000_000));
    }

    #[test]
    fn of_earlier_runs_holes_only_the_newest_are_asked_for_that_can_be_filled() {
        let taken_up = |gaps: &[Gap]| {
            let mut resume = Resume::new(Some(LAST), REWIND).with_booked(gaps);
            resume.reached(LAST + 1);
            let is_any = resume.take_up_booked();
            assert_eq!(is_any, !resume.holes.is_empty());
            resume.holes.iter().map(|hole| LAST - hole.from).collect::<Vec<_>>()
        };
        let hole = |before: i64, length: i64| booked(LAST - before, LAST - before + length, "late");
        assert!(taken_up(&[]).is_empty());
        assert!(taken_up(&[booked(LAST - 9_000_000, LAST, STEPPED_OVER)]).is_empty());
        assert!(taken_up(&[hole(9_000_000, 2 * DISORDER_US)]).is_empty(), "its ends are all of it");
        assert_eq!(taken_up(&[hole(HOLE_AGE_MAX_US, 1_000_000), hole(1_000_000, 300_000)]), [1_000_000]);
        let many: Vec<_> = (0..20).map(|n| hole((20 - n) * 1_000_000, 500_000)).collect();
        let newest: Vec<_> = (1..=HOLES_MAX as i64).rev().map(|n| n * 1_000_000).collect();
        assert_eq!(taken_up(&many), newest);
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
