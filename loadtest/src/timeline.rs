//! Which event happens when, and where a reader starts.
//!
//! Event `n` happens at `n / rate` seconds after 1970, so that its index follows from its time and the other
//! way round: a server that was killed and started again serves the same past. Nothing here reads a clock.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// How far back a cursor reaches, in microseconds: 36 hours, as Jetstream does by default.
pub const LOOK_BACK_US: i64 = 36 * 3_600 * 1_000_000;

/// The shortest wait between two looks at the clock: what tokio's timer resolves.
const TICK: Duration = Duration::from_millis(1);
/// The longest one: bounds how late the stream is after the machine's clock was set.
const TICK_MAX: Duration = Duration::from_secs(1);

/// Events a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// On schedule by the wall clock, whether or not anyone reads.
    PerSecond(NonZeroU32),
    /// As fast as each reader reads. Events are a microsecond apart, by a clock of the reader's own.
    Max,
}

impl Rate {
    /// Highest rate that can be asked for. Twenty times what one core serves; more is `max`.
    pub const PER_SECOND_MAX: u32 = 10_000_000;

    fn per_second(self) -> u64 {
        match self {
            Rate::PerSecond(rate) => u64::from(rate.get()),
            Rate::Max => 1_000_000,
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "max" {
            return Ok(Rate::Max);
        }
        text.parse()
            .ok()
            .filter(|rate| *rate <= Rate::PER_SECOND_MAX)
            .and_then(NonZeroU32::new)
            .map(Rate::PerSecond)
            .ok_or_else(|| format!("{text:?} is neither 1 to {} nor max", Rate::PER_SECOND_MAX))
    }
}

/// The order of events in time, and its ends.
#[derive(Debug, Clone)]
pub struct Timeline {
    rate: Rate,
    start_us: i64,
    look_back_us: i64,
    /// Whether a reader who does not say where it begins does so at the first event.
    from_start: bool,
    /// First event there is, and first event there is no more.
    first: u64,
    end: u64,
}

impl Timeline {
    /// A stream that starts at `start_us`, microseconds since 1970.
    ///
    /// With `bounded` there is nothing before the start; else the stream has existed for ever. With
    /// `events` it ends after that many.
    pub fn new(rate: Rate, start_us: i64, look_back_us: i64, bounded: bool, events: Option<u64>) -> Timeline {
        let start_us = start_us.max(0);
        let mut timeline =
            Timeline { rate, start_us, look_back_us, from_start: false, first: 0, end: u64::MAX };
        let start = timeline.first_at(start_us);
        if bounded || events.is_some() {
            timeline.first = start;
        }
        if let Some(events) = events {
            timeline.end = start.saturating_add(events);
        }
        timeline
    }

    /// The same, but a reader without a cursor begins at the first event of a bounded stream.
    pub fn from_start(self, from_start: bool) -> Timeline {
        Timeline { from_start, ..self }
    }

    /// Whether events are due by the clock or as fast as they are read.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The first event at or after the start.
    pub fn start(&self) -> u64 {
        self.first_at(self.start_us)
    }

    /// The first event that does not exist any more; `u64::MAX` if the stream never ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether there is, was or will be an event `n`.
    pub fn has(&self, n: u64) -> bool {
        (self.first..self.end).contains(&n)
    }

    /// When event `n` happens, microseconds since 1970.
    pub fn nominal_us(&self, n: u64) -> i64 {
        let rate = self.rate.per_second();
        // Whole seconds apart from the rest, so that 64 bits are enough.
        ((n / rate) * 1_000_000 + (n % rate) * 1_000_000 / rate) as i64
    }

    /// The first event at or after `at_us`.
    pub fn first_at(&self, at_us: i64) -> u64 {
        let rate = self.rate.per_second();
        let at_us = u64::try_from(at_us).unwrap_or(0);
        (at_us / 1_000_000).saturating_mul(rate) + ((at_us % 1_000_000) * rate).div_ceil(1_000_000)
    }

    /// Where a reader starts who asks for `cursor` at `now_us`.
    ///
    /// "Inclusive … An older cursor is silently clamped to the oldest event of the window … A future cursor
    /// → live tail. Missing → live tail." In the unlimited rate the live tail is the start, as no reader's
    /// clock is another's, and the future begins a window's length after it.
    pub fn resume(&self, cursor: Option<i64>, now_us: i64) -> u64 {
        let (live_us, future_us) = match self.rate {
            Rate::PerSecond(_) => (now_us, now_us),
            Rate::Max => (self.start_us, self.start_us.saturating_add(self.look_back_us)),
        };
        let oldest_us = live_us.saturating_sub(self.look_back_us);
        let from_us = match cursor {
            Some(cursor_us) if cursor_us <= future_us => cursor_us.max(oldest_us),
            None if self.from_start && self.first > 0 => oldest_us,
            _ => live_us,
        };
        self.first_at(from_us).max(self.first)
    }

    /// The first event that is not due yet at `now_us`.
    pub fn due(&self, now_us: i64) -> u64 {
        match self.rate {
            Rate::PerSecond(_) => self.first_at(now_us.saturating_add(1)).min(self.end),
            Rate::Max => self.end,
        }
    }

    /// How long to wait at `now_us` before event `next` is sent; `None`: for ever.
    ///
    /// Whoever has `caught_up`, sent all that was due, waits until a tick's worth is due: at 600,000 events/s
    /// there is always a next one, and writing them by the dozen costs five times as much as by the hundred.
    pub(crate) fn wait(&self, next: u64, now_us: i64, caught_up: bool) -> Option<Duration> {
        if next >= self.end {
            return None;
        }
        if next < self.due(now_us) {
            return Some(if caught_up { TICK } else { Duration::ZERO });
        }
        let until_us = u64::try_from(self.nominal_us(next) - now_us).unwrap_or(0);
        Some(Duration::from_micros(until_us).clamp(TICK, TICK_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400_000_000;
    const NOW_US: i64 = 1_783_175_888_085_434;

    fn per_second(rate: u32) -> Rate {
        Rate::PerSecond(NonZeroU32::new(rate).unwrap())
    }

    #[test]
    fn index_and_time_are_each_others_inverse() {
        for rate in [per_second(1), per_second(3), per_second(2_000), per_second(7_919), Rate::Max] {
            let timeline = Timeline::new(rate, NOW_US, LOOK_BACK_US, false, None);
            let start = timeline.start();
            for n in start..start + 1_000 {
                assert_eq!(timeline.first_at(timeline.nominal_us(n)), n, "{rate:?}");
                assert_eq!(timeline.first_at(timeline.nominal_us(n) + 1), n + 1, "{rate:?}");
            }
        }
    }

    #[test]
    fn a_cursor_starts_where_the_protocol_says() {
        let free = Timeline::new(per_second(1_000), NOW_US - DAY_US, LOOK_BACK_US, false, None);
        let live = free.first_at(NOW_US);
        assert_eq!(free.resume(None, NOW_US), live, "missing: live tail");
        assert_eq!(free.resume(Some(NOW_US + DAY_US), NOW_US), live, "future: live tail");
        assert_eq!(free.resume(Some(NOW_US - 1_000_000), NOW_US), live - 1_000, "inclusive");
        let oldest = free.first_at(NOW_US - LOOK_BACK_US);
        assert_eq!(free.resume(Some(NOW_US - 2 * DAY_US), NOW_US), oldest, "too old: clamped");
        assert_eq!(free.resume(Some(i64::MIN), NOW_US), oldest, "absurd: clamped");

        let bounded = Timeline::new(per_second(1_000), NOW_US - 1_000_000, LOOK_BACK_US, true, Some(10));
        assert_eq!(bounded.resume(Some(1), NOW_US), bounded.start(), "nothing before the start");
        assert_eq!(bounded.due(NOW_US), bounded.start() + 10, "nothing after the end");

        let kept = bounded.clone().from_start(true);
        assert_eq!(kept.resume(None, NOW_US), bounded.start(), "from the start, however late");
        assert_eq!(kept.resume(Some(NOW_US - 500_000), NOW_US), bounded.start() + 500, "a cursor as ever");
        assert_eq!(free.from_start(true).resume(None, NOW_US), live, "there is no start");

        let max = Timeline::new(Rate::Max, NOW_US, LOOK_BACK_US, false, None);
        assert_eq!(max.resume(None, NOW_US + DAY_US), max.start(), "unlimited: everyone starts at the start");
        assert_eq!(max.resume(Some(NOW_US + 5), NOW_US), max.start() + 5);
    }

    #[test]
    fn an_event_is_due_from_its_own_microsecond_on() {
        let timeline = Timeline::new(per_second(1_000), NOW_US, LOOK_BACK_US, false, None);
        let n = timeline.start();
        assert_eq!(timeline.due(timeline.nominal_us(n) - 1), n);
        assert_eq!(timeline.due(timeline.nominal_us(n)), n + 1);
        assert_eq!(timeline.wait(n, timeline.nominal_us(n), false), Some(Duration::ZERO));
        assert_eq!(timeline.wait(n, timeline.nominal_us(n), true), Some(TICK), "with what comes in it");
        assert_eq!(timeline.wait(n + 9, timeline.nominal_us(n), true), Some(Duration::from_millis(9)));
        assert_eq!(timeline.wait(u64::MAX, timeline.nominal_us(n), false), None);
    }

    #[test]
    fn a_rate_is_a_count_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("2000".parse(), Ok(per_second(2_000)));
        for wrong in ["0", "-1", "fast", "10000001", ""] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("nor max"), "{wrong}");
        }
    }
}
