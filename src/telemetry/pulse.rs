//! What each thread is doing, for the watchdog: at one piece of work since when, or waiting for more.
//!
//! Progress and not activity is what counts. A thread that waits for input, for a client, or for the next stage
//! rests, for however long; one that has been at a single batch, commit or model call for too long is stuck,
//! whatever it burns. A piece of work is a batch, so that a pulse costs one clock reading a batch and nothing a
//! post.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// From where pulses count: the first use.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Stored while a thread rests; a piece of work begins at 1 ms or later.
const RESTS: u64 = 0;

/// One thread's. Written by that thread, read by the watchdog and the console, relaxed: the number says
/// nothing about any other data.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// A piece of work begins; the last one, if any, is done.
    pub fn begin(&self) {
        self.begin_at(now_ms());
    }

    /// The thread waits for something to do.
    pub fn rest(&self) {
        self.0.store(RESTS, Ordering::Relaxed);
    }

    /// Waits within a piece of work, for somebody else who has a pulse of their own: a full queue, a commit.
    pub fn resting<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.rest();
        let waited = wait();
        self.begin();
        waited
    }

    /// How long the thread has been at its present piece of work, to the millisecond; `None` if it rests.
    pub fn busy_for(&self) -> Option<Duration> {
        self.busy_for_at(now_ms())
    }

    fn begin_at(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }

    fn busy_for_at(&self, now_ms: u64) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            RESTS => None,
            since_ms => Some(Duration::from_millis(now_ms.saturating_sub(since_ms))),
        }
    }
}

fn now_ms() -> u64 {
    // The monotonic clock stands still while the machine sleeps, as systemd's watchdog does.
    u64::try_from(EPOCH.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
}

/// A thread that has been at one piece of work for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its name, as `top -H` shows it.
    pub stage: Arc<str>,
    /// For so long.
    pub busy_for: Duration,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has been at one piece of work for {} s", self.stage, self.busy_for.as_secs())
    }
}

/// The pulses of all threads that must make progress.
#[derive(Debug, Default, Clone)]
pub struct Pulses(Vec<(Arc<str>, Arc<Pulse>)>);

impl Pulses {
    /// A new thread's.
    pub fn add(&mut self, stage: &str) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        self.follow(stage, pulse.clone());
        pulse
    }

    /// One that exists already.
    pub fn follow(&mut self, stage: &str, pulse: Arc<Pulse>) {
        self.0.push((Arc::from(stage), pulse));
    }

    /// Each thread with how long it has been at its piece of work; `None` if it rests.
    pub fn read(&self) -> impl Iterator<Item = (&Arc<str>, Option<Duration>)> + '_ {
        self.0.iter().map(|(stage, pulse)| (stage, pulse.busy_for()))
    }

    /// Those that have been at one piece of work for longer than `limit`.
    pub fn stuck(&self, limit: Duration) -> Vec<Stuck> {
        let stuck = self.read().filter_map(|(stage, busy_for)| {
            busy_for
                .filter(|busy_for| *busy_for > limit)
                .map(|busy_for| Stuck { stage: stage.clone(), busy_for })
        });
        stuck.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_counts_from_the_beginning_of_the_present_piece_of_work() {
        let pulse = Pulse::default();
        let check = |now_ms, expected: Option<u64>| {
            assert_eq!(pulse.busy_for_at(now_ms), expected.map(Duration::from_millis), "at {now_ms}");
        };
        check(5_000, None);
        pulse.begin_at(1_000);
        check(1_000, Some(0));
        check(61_000, Some(60_000));
        // The next piece of work is progress, even where the thread never rests in between.
        pulse.begin_at(60_000);
        check(61_000, Some(1_000));
        // A reading that raced with the beginning is none of the past's.
        check(59_000, Some(0));
        pulse.rest();
        check(90_000, None);
    }

    #[test]
    fn whoever_waits_for_another_thread_is_not_stuck_and_works_again_afterwards() {
        let pulse = Pulse::default();
        pulse.begin();
        assert!(pulse.resting(|| pulse.busy_for()).is_none());
        assert!(pulse.busy_for().is_some());
    }

    #[test]
    fn only_threads_at_one_piece_of_work_for_longer_than_the_limit_are_stuck() {
        let mut pulses = Pulses::default();
        let (long, short, _idle) = (pulses.add("ledger"), pulses.add("lane"), pulses.add("desk"));
        assert_eq!(pulses.stuck(Duration::ZERO), []);
        long.begin();
        while long.busy_for() < Some(Duration::from_millis(20)) {
            std::thread::yield_now();
        }
        short.begin();
        let stuck = pulses.stuck(long.busy_for().unwrap() - Duration::from_millis(1));
        assert_eq!(stuck.iter().map(|stuck| &*stuck.stage).collect::<Vec<_>>(), ["ledger"]);
        let said = Stuck { stage: Arc::from("vigie-ledger"), busy_for: Duration::from_millis(31_900) };
        assert_eq!(said.to_string(), "vigie-ledger has been at one piece of work for 31 s");
    }
}
