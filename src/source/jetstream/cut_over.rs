//! Events that a server loses where it changes from replay to live.
//!
//! Servers of Jetstream were seen to drop and reorder events there, and numbers that would show it do not exist. What
//! shows is a hole in the stream's own time that chance does not explain at the usual rate. A hole that is
//! only suspected does no harm: it is booked, asked for again, and marked as filled. Pure.

use std::time::Duration;

use super::position;
use crate::source::FrameBatch;

/// Behind our clock by less than this a stream is live.
const LIVE_US: i64 = 2_000_000;

/// For so long by the stream's clock after it was live first the change may still be under way.
const AFTER_US: i64 = 10_000_000;

/// Connections in a row that are made for what the one before missed: a server that drops events each time
/// would have us connect for ever.
const RECHECKS_MAX: u32 = 4;

/// What one connection shows of its change from replay to live.
#[derive(Debug, Default)]
pub(super) struct CutOver {
    is_watching: bool,
    /// The greatest position of this connection.
    reached: Option<i64>,
    /// Where the stream was live first.
    live_at: Option<i64>,
    has_hole: bool,
    /// Connections in a row that had a hole.
    rechecks: u32,
}

impl CutOver {
    /// A connection begins; with a cursor it begins with a replay.
    pub(super) fn connected(&mut self, replays: bool) {
        if !std::mem::take(&mut self.has_hole) {
            self.rechecks = 0;
        }
        self.is_watching = replays;
        self.reached = None;
        self.live_at = None;
    }

    /// The hole in a batch, last position before and first after it, if there is one of `hole_min` or more. The
    /// batch has brought the stream to `reached`; `repeated` are the positions of frames that had come before.
    pub(super) fn look(
        &mut self,
        batch: &FrameBatch,
        repeated: &[i64],
        reached: i64,
        hole_min: Option<Duration>,
        now_us: i64,
    ) -> Option<(i64, i64)> {
        if !self.is_watching {
            return None;
        }
        let before = self.reached.replace(self.reached.map_or(reached, |before| before.max(reached)));
        if now_us.saturating_sub(reached) < LIVE_US {
            let live_at = *self.live_at.get_or_insert(reached);
            self.is_watching = reached.saturating_sub(live_at) < AFTER_US;
        }
        let hole_min = i64::try_from(hole_min?.as_micros()).unwrap_or(i64::MAX);
        if before.is_some_and(|before| reached.saturating_sub(before) < hole_min) {
            return None;
        }
        let mut positions: Vec<_> =
            batch.frames.iter().filter_map(|range| position(batch.bytes.get(range.clone())?)).collect();
        positions.extend(repeated);
        positions.extend(before);
        positions.sort_unstable();
        // Nothing is before the first batch, but there may be a hole in it: a reader that is slow, or the rewind of
        // which every frame is a duplicate, brings the replay, the change and what is live in one.
        let steps = positions.iter().zip(positions.iter().skip(1));
        let steps = steps.filter(|(from, _)| before.is_none_or(|before| **from >= before));
        let (from, to) = steps.max_by_key(|(from, to)| to.saturating_sub(**from))?;
        (to.saturating_sub(*from) >= hole_min).then_some((*from, *to))
    }

    /// How long to wait before connecting again for a hole; `None` if that was tried often enough. Each
    /// next one waits four times as long, as the hole must be all past when it is asked for.
    pub(super) fn recheck_after(&mut self, rewind: Duration) -> Option<Duration> {
        if std::mem::replace(&mut self.has_hole, true) || self.rechecks >= RECHECKS_MAX {
            return None;
        }
        let wait = rewind * 4_u32.pow(self.rechecks);
        self.rechecks += 1;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Format;

    const NOW: i64 = 1_725_911_162_329_308;
    const HOLE: Option<Duration> = Some(Duration::from_millis(200));

    fn batch(positions: &[i64]) -> FrameBatch {
        let mut batch = FrameBatch::empty("test".into(), Format::Jetstream, 0);
        for position in positions {
            batch.push(format!(r#"{{"time_us":{position}}}"#).as_bytes());
        }
        batch
    }

    /// What is noticed when these batches come, milliseconds relative to now.
    fn check(batches: &[&[i64]], hole_min: Option<Duration>, expected: &[(i64, i64)]) {
        let mut cut_over = CutOver::default();
        cut_over.connected(true);
        let look = |batch_ms: &&[i64]| {
            let positions: Vec<_> = batch_ms.iter().map(|ms| NOW + ms * 1_000).collect();
            let reached = *positions.iter().max().unwrap();
            cut_over.look(&batch(&positions), &[], reached, hole_min, NOW)
        };
        let holes: Vec<_> = batches.iter().filter_map(look).collect();
        let expected: Vec<_> =
            expected.iter().map(|(from, to)| (NOW + from * 1_000, NOW + to * 1_000)).collect();
        assert_eq!(holes, expected, "{batches:?}");
    }

    #[test]
    fn a_hole_is_found_between_batches_and_inside_one() {
        check(&[&[-900, -800], &[-700, -100, -50]], HOLE, &[(-700, -100)]);
        check(&[&[-900, -800], &[-100, -50]], HOLE, &[(-800, -100)]);
        check(&[&[-900, -800], &[-601, -500]], HOLE, &[]);
        check(&[&[-900, -800], &[-100, -50]], None, &[]);
        // All that a slow reader missed comes in one.
        check(&[&[-900, -800, -500, -450]], HOLE, &[(-800, -500)]);
        // Out of order is no hole.
        check(&[&[-780, -600], &[-832, -450, -570]], HOLE, &[]);
    }

    #[test]
    fn only_the_change_is_watched_and_only_after_a_replay() {
        let mut cut_over = CutOver::default();
        cut_over.connected(false);
        assert_eq!(cut_over.look(&batch(&[NOW - 5, NOW]), &[], NOW, HOLE, NOW), None);
        assert_eq!(cut_over.look(&batch(&[NOW + 5_000_000]), &[], NOW + 5_000_000, HOLE, NOW), None);
        cut_over.connected(true);
        for seconds in [0, 5, 10, 15] {
            let at = NOW + seconds * 1_000_000;
            let is_noticed = cut_over.look(&batch(&[at]), &[], at, HOLE, at).is_some();
            assert_eq!(is_noticed, [5, 10].contains(&seconds), "after {seconds} s");
        }
    }

    #[test]
    fn what_comes_again_fills_the_stream_too() {
        let mut cut_over = CutOver::default();
        cut_over.connected(true);
        assert_eq!(cut_over.look(&batch(&[NOW - 500_000]), &[], NOW - 500_000, HOLE, NOW), None);
        let repeated: Vec<_> = (1..5).map(|step| NOW - 500_000 + step * 100_000).collect();
        assert_eq!(cut_over.look(&batch(&[NOW]), &repeated, NOW, HOLE, NOW), None);
    }

    #[test]
    fn rechecks_come_ever_more_slowly_and_end() {
        let mut cut_over = CutOver::default();
        let mut waits = Vec::new();
        for _ in 0..RECHECKS_MAX + 2 {
            cut_over.connected(true);
            waits.push(cut_over.recheck_after(Duration::from_secs(5)).map(|wait| wait.as_secs()));
            assert_eq!(cut_over.recheck_after(Duration::from_secs(5)), None, "once a connection");
        }
        assert_eq!(waits, [Some(5), Some(20), Some(80), Some(320), None, None]);
        cut_over.connected(true);
        cut_over.connected(true);
        assert!(cut_over.recheck_after(Duration::from_secs(5)).is_some(), "one without a hole in between");
    }
}
