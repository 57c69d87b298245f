use proptest::prelude::*;

use super::*;

/// A source under a made-up clock.
struct Source {
    pace: Pace,
    start: Instant,
    now_us: i64,
}

impl Source {
    fn new() -> Source {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.connected(start);
        Source { pace, start, now_us: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us as u64)
    }

    /// So many frames, now.
    fn frames(&mut self, frames: usize) -> bool {
        self.pace.learn(frames, self.now_us, self.now_us, self.now())
    }

    fn wait(&mut self, time: Duration) {
        self.now_us += time.as_micros() as i64;
    }

    /// Independent arrivals at this rate for so long; how often a silence was unnatural meanwhile.
    fn poisson(&mut self, per_s: f64, lasts: Duration, random: &mut fastrand::Rng) -> u32 {
        let end_us = self.now_us + lasts.as_micros() as i64;
        let mut alarms = 0;
        loop {
            let wait_s = -(1.0 - random.f64()).ln() / per_s;
            let next_us = self.now_us + (wait_s * 1e6) as i64;
            if next_us >= end_us {
                self.now_us = end_us;
                return alarms;
            }
            self.now_us = next_us;
            alarms += u32::from(matches!(self.judge(), Judgement::Silent { .. }));
            self.frames(1);
        }
    }

    /// Ticks of 100 ms with so many frames each, for so long.
    fn steady(&mut self, per_tick: usize, lasts: Duration) {
        for _ in 0..lasts.as_millis() / 100 {
            self.wait(Duration::from_millis(100));
            self.frames(per_tick);
        }
    }

    fn judge(&mut self) -> Judgement {
        let now = self.now();
        self.pace.judge(now)
    }

    fn limit(&self) -> Option<Duration> {
        self.pace.silence_max(self.now())
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn six_thousand_a_second_are_missed_after_two_seconds() {
    let mut source = Source::new();
    source.steady(600, MINUTE);
    assert_eq!(source.limit(), Some(SILENCE_MIN));
    source.wait(Duration::from_millis(1_999));
    assert_eq!(source.judge(), Judgement::Usual);
    source.wait(Duration::from_millis(1));
    assert_eq!(source.judge(), Judgement::Silent { lasts: SILENCE_MIN });
    assert!(source.frames(1), "the silence has ended");
    assert!(!source.frames(1), "only once");
}

#[test]
fn a_post_an_hour_is_never_missed() {
    let mut source = Source::new();
    for _ in 0..100 {
        source.wait(HOUR);
        source.frames(1);
        assert_eq!(source.judge(), Judgement::Unknown);
    }
    source.wait(48 * HOUR);
    assert_eq!(source.judge(), Judgement::Unknown);
}

#[test]
fn nothing_is_judged_just_after_a_start() {
    let mut source = Source::new();
    source.steady(100, Duration::from_secs(19));
    source.wait(HOUR);
    assert_eq!(source.judge(), Judgement::Unknown);
}

/// One frame in ten seconds: 200 s are beyond chance, a minute is not.
#[test]
fn a_slow_source_is_missed_after_a_slow_while() {
    let mut source = Source::new();
    let mut random = fastrand::Rng::with_seed(1);
    assert_eq!(source.poisson(0.1, 4 * HOUR, &mut random), 0);
    let limit = source.limit().expect("enough was seen");
    assert!((150..800).contains(&limit.as_secs()), "{limit:?}");
}

/// A million silences of chance, at the rate where false alarms are most probable.
#[test]
fn chance_is_not_taken_for_trouble() {
    for (seed, per_s) in [(1, 10.0), (2, 1.0), (3, 100.0), (4, 0.05)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let lasts = Duration::from_secs_f64(250_000.0 / per_s);
        assert_eq!(Source::new().poisson(per_s, lasts, &mut random), 0, "at {per_s}/s");
    }
}

/// From 30 a second to 10 and back within half a day, as networks do between afternoon and night.
#[test]
fn a_networks_day_is_no_trouble() {
    let mut source = Source::new();
    let mut random = fastrand::Rng::with_seed(9);
    for quarter in 0..96 {
        let of_day = f64::from(quarter) / 96.0 * std::f64::consts::TAU;
        assert_eq!(source.poisson(20.0 + 10.0 * of_day.cos(), 15 * MINUTE, &mut random), 0);
        assert_eq!(source.judge(), Judgement::Usual, "quarter {quarter}");
    }
}

/// 100 frames at once each minute, and nothing in between.
#[test]
fn bursts_are_judged_by_their_own_rate() {
    let mut source = Source::new();
    for minute in 0..60 {
        source.wait(MINUTE);
        assert!(!matches!(source.judge(), Judgement::Silent { .. }), "minute {minute}");
        source.frames(100);
    }
    source.wait(3 * HOUR);
    assert!(matches!(source.judge(), Judgement::Silent { .. }));
}

/// A minute of posts each half hour: two alarms at most, then it is known.
#[test]
fn what_ends_by_itself_again_and_again_is_usual() {
    let mut source = Source::new();
    let mut alarms = 0;
    for _ in 0..12 {
        source.steady(10, MINUTE);
        source.wait(30 * MINUTE);
        alarms += u32::from(matches!(source.judge(), Judgement::Silent { .. }));
    }
    assert_eq!(alarms, 2);
    // And forgotten after some days of another behaviour.
    source.steady(10, 24 * HOUR);
    source.steady(10, 24 * HOUR);
    source.wait(35 * MINUTE);
    assert!(matches!(source.judge(), Judgement::Silent { .. }));
}

#[test]
fn one_stall_does_not_blind_and_what_a_new_connection_brings_at_once_excuses_nothing() {
    let mut source = Source::new();
    source.steady(10, HOUR);
    source.wait(10 * MINUTE);
    assert!(matches!(source.judge(), Judgement::Silent { .. }));
    source.steady(10, HOUR);
    assert_eq!(source.limit(), Some(SILENCE_MIN), "one stall");
    for _ in 0..5 {
        source.wait(10 * MINUTE);
        assert!(matches!(source.judge(), Judgement::Silent { .. }));
        let now = source.now();
        source.pace.connected(now);
        source.steady(10, MINUTE);
    }
    assert_eq!(source.limit(), Some(SILENCE_MIN), "held back by the old connections");
}

#[test]
fn time_without_a_connection_is_no_silence_and_a_silence_outlasts_the_reconnect_that_it_made() {
    let mut source = Source::new();
    source.steady(10, MINUTE);
    source.wait(HOUR);
    let now = source.now();
    source.pace.connected(now);
    assert_eq!(source.judge(), Judgement::Usual);
    source.wait(3 * MINUTE);
    assert!(matches!(source.judge(), Judgement::Silent { .. }));
    let now = source.now();
    source.pace.connected(now);
    source.wait(MINUTE);
    assert_eq!(source.judge(), Judgement::Silent { lasts: 4 * MINUTE });
}

#[test]
fn a_replay_teaches_what_the_hour_it_repeats_was_like() {
    let mut source = Source::new();
    let now = source.now();
    // Ten a second for an hour, handed over in a second in batches of 512.
    for batch in 0..36_000 / 512 {
        let (from_us, now) = (batch * 51_200_000, now + Duration::from_millis(batch as u64 * 14));
        source.pace.learn(512, from_us, from_us + 51_200_000, now);
    }
    let usual = source.pace.usual_per_s().expect("an hour was seen");
    assert!((9.0..11.0).contains(&usual), "{usual}");
    assert!(source.limit().is_some_and(|limit| limit < Duration::from_secs(5)), "{:?}", source.limit());
}

/// Whatever the size of the batches: what is even in the stream is learnt as even.
#[test]
fn a_replay_in_large_batches_looks_no_more_bursty_than_it_was() {
    for (batch, wait_ms) in [(230, 5), (512, 90), (700, 300), (3_000, 50)] {
        let mut source = Source::new();
        let start = source.now();
        let batches = 30_000 / batch;
        for n in 1..=batches {
            let at_us = |n: usize| (n * batch) as i64 * 2_000;
            let now = start + Duration::from_millis(n as u64 * wait_ms);
            source.pace.learn(batch, at_us(n - 1), at_us(n), now);
        }
        let hole_min = source.pace.hole_min().expect("a minute was seen");
        assert!(hole_min <= Duration::from_millis(250), "{hole_min:?} with batches of {batch}");
    }
}

/// 500 a second in a minute of the stream, the reader stopped for up to three seconds at a time.
#[test]
fn a_machine_that_hiccups_makes_no_source_bursty() {
    let mut source = Source::new();
    let mut random = fastrand::Rng::with_seed(5);
    let mut at_us = 0;
    while at_us < 60_000_000 {
        let from_us = at_us;
        at_us += random.i64(5..3_000) * 1_000;
        let now = source.start + Duration::from_micros(at_us as u64);
        source.pace.learn(((at_us - from_us) / 2_000) as usize, from_us, at_us, now);
    }
    let hole_min = source.pace.hole_min().expect("a minute was seen");
    assert_eq!(hole_min, HOLE_MIN);
}

/// A minute at 100 a second, and then a hole of a second that was booked, filled four times on another connection.
#[test]
fn a_hole_that_is_filled_late_teaches_nothing() {
    let mut source = Source::new();
    source.steady(10, MINUTE);
    let before = source.pace.hole_min();
    for _ in 0..4 {
        let now = source.now();
        source.pace.connected(now);
        let filled_us = source.now_us - 10_000_000;
        source.pace.learn(100, filled_us, filled_us + 1_000_000, now);
        source.steady(10, Duration::from_secs(2));
    }
    assert!(
        before.is_some() && source.pace.hole_min() <= before,
        "{:?} after {before:?}",
        source.pace.hole_min()
    );
}

#[test]
fn a_backlog_that_comes_at_once_changes_little() {
    let mut source = Source::new();
    source.steady(10, HOUR);
    source.frames(360_000);
    source.steady(10, Duration::from_secs(5));
    let usual = source.pace.usual_per_s().unwrap();
    assert!((95.0..110.0).contains(&usual), "{usual}");
    assert_eq!(source.limit(), Some(SILENCE_MIN));
}

#[test]
fn a_tenth_of_the_rate_is_a_collapse_until_it_is_usual_or_over() {
    let mut source = Source::new();
    source.steady(100, HOUR);
    source.steady(9, 2 * MINUTE);
    let Judgement::Collapsed { per_s } = source.judge() else { panic!("{:?}", source.judge()) };
    assert!((85.0..125.0).contains(&per_s), "{per_s}");
    source.steady(100, MINUTE);
    assert_eq!(source.judge(), Judgement::Usual);
    // Half is none.
    source.steady(50, 10 * MINUTE);
    assert_eq!(source.judge(), Judgement::Usual);
}

#[test]
fn holes_in_the_streams_time_teach_nothing() {
    let mut source = Source::new();
    source.steady(10, MINUTE);
    let before = source.pace.usual_per_s().unwrap();
    let now = source.now();
    for at_us in [source.now_us + STEP_MAX_US + 2 * SLOT_US, i64::MAX, i64::MIN, 0] {
        source.pace.learn(1, at_us, at_us, now);
    }
    assert_eq!(source.pace.usual_per_s(), Some(before));
}

proptest! {
    /// Whatever a server claims: no panic, no silence below the least, and a limit only from real evidence.
    #[test]
    fn nothing_that_a_server_sends_makes_a_hasty_judge(
        steps in prop::collection::vec((0..5_000_usize, any::<[i64; 2]>(), 0..100_000_u64, any::<bool>()), 0..200),
    ) {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        for (frames, [from_us, at_us], wait_ms, reconnects) in steps {
            now += Duration::from_millis(wait_ms);
            let quiet = now.saturating_duration_since(pace.quiet_since);
            let judgement = pace.judge(now);
            if let Judgement::Silent { lasts } = judgement {
                prop_assert!(lasts >= SILENCE_MIN && lasts == quiet);
            }
            if let Some(limit) = pace.silence_max(now) {
                prop_assert!(limit >= SILENCE_MIN);
                prop_assert!(pace.usual_per_s().is_some_and(|usual| usual > 0.0 && usual.is_finite()));
            }
            if reconnects {
                pace.connected(now);
            }
            pace.learn(frames, from_us, at_us, now);
        }
    }

    /// A source twice as fast, twice as regular in the same time, is never waited for longer.
    #[test]
    fn the_limit_falls_as_the_rate_grows(per_tick in 1..1_000_usize) {
        let limit = |per_tick| {
            let mut source = Source::new();
            source.steady(per_tick, 5 * MINUTE);
            source.limit().expect("five minutes were seen")
        };
        prop_assert!(limit(2 * per_tick) <= limit(per_tick));
    }
}
