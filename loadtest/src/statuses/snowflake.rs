//! Status ids that say which event made them.
//!
//! 41 bits of milliseconds since the epoch of X, 8 bits of machine and 14 bits of sequence: X has 10 and 12, but
//! may make 4,096 ids a millisecond on each machine, where we make up to 10,000 on one. The highest bit of the
//! machine is set in ids from before the stream.

use crate::timeline::Timeline;

/// 2010-11-04T01:42:54.657Z, milliseconds since 1970.
const EPOCH_MS: i64 = 1_288_834_974_657;
const TIME_SHIFT: u32 = 22;
const SEQUENCE_BITS: u32 = 14;
const MACHINES: u64 = 1 << 7;
const EARLIER: u64 = 1 << (TIME_SHIFT - 1);
/// Times whose ids have 19 digits: from 2018-06-01 to 2080-07-10, a little inside both.
const AT_MS: std::ops::Range<i64> = 1_527_811_200_000..3_487_000_000_000;

/// Digits of an id.
pub(super) const ID_DIGITS: usize = 19;

/// Whether ids of this instant, microseconds since 1970, have the digits that they should.
pub(super) fn holds(at_us: i64) -> bool {
    AT_MS.contains(&at_us.div_euclid(1_000))
}

/// The id of the status that event `n` makes.
pub(super) fn id(seed: u64, timeline: &Timeline, n: u64) -> u64 {
    let at_ms = timeline.nominal_us(n).div_euclid(1_000);
    let sequence = n - timeline.first_at(at_ms * 1_000);
    of_time(at_ms) | (machine(seed, n) << SEQUENCE_BITS) | sequence
}

/// The event that makes the status of this id, if it is one of this stream's.
pub(super) fn event(seed: u64, timeline: &Timeline, id_of_status: u64) -> Option<u64> {
    let at_ms = i64::try_from(id_of_status >> TIME_SHIFT).ok()?.checked_add(EPOCH_MS)?;
    let n = timeline.first_at(at_ms.checked_mul(1_000)?) + (id_of_status & ((1 << SEQUENCE_BITS) - 1));
    (holds(at_ms.checked_mul(1_000)?) && timeline.has(n) && id(seed, timeline, n) == id_of_status)
        .then_some(n)
}

/// The id of a status from before the stream, of this time; `drawn` tells those of one millisecond apart.
pub(super) fn earlier(at_ms: i64, drawn: u64) -> u64 {
    of_time(at_ms) | EARLIER | (drawn & (EARLIER - 1))
}

fn of_time(at_ms: i64) -> u64 {
    u64::try_from(at_ms - EPOCH_MS).unwrap_or(0) << TIME_SHIFT
}

fn machine(seed: u64, n: u64) -> u64 {
    (n ^ seed) % MACHINES
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::timeline::{LOOK_BACK_US, Rate};

    const START_US: i64 = 1_783_175_880_000_500;

    #[test]
    fn an_id_says_its_event_and_its_time() {
        for rate in [1, 7_919, 143_199, Rate::PER_SECOND_MAX] {
            let rate = Rate::PerSecond(NonZeroU32::new(rate).unwrap());
            let timeline = Timeline::new(rate, START_US, LOOK_BACK_US, true, Some(30_000));
            for n in timeline.start()..timeline.end() {
                let made = id(5, &timeline, n);
                assert_eq!(event(5, &timeline, made), Some(n));
                assert_eq!((made >> 22) as i64 + 1_288_834_974_657, timeline.nominal_us(n) / 1_000);
                assert_eq!(made.to_string().len(), ID_DIGITS);
            }
            for n in [timeline.start() - 1, timeline.end()] {
                assert_eq!(event(5, &timeline, id(5, &timeline, n)), None);
            }
        }
    }

    #[test]
    fn an_earlier_id_is_of_no_event() {
        let timeline = Timeline::new(Rate::Max, START_US, LOOK_BACK_US, true, None);
        for drawn in 0..10_000 {
            assert_eq!(event(0, &timeline, earlier(START_US / 1_000 + 1, drawn)), None);
        }
        for wrong in [0, 1, u64::MAX] {
            assert_eq!(event(0, &timeline, wrong), None);
        }
        for (at_us, holds_expected) in [(START_US, true), (1_500_000_000_000_000, false), (i64::MAX, false)] {
            assert_eq!(holds(at_us), holds_expected);
        }
    }
}
