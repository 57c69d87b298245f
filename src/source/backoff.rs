//! How long to wait before connecting again.
//!
//! Exponential back-off with jitter: the wait is drawn evenly between a quarter of a ceiling and all of it, and
//! the ceiling doubles with each failure. When a server restarts, all its clients come back at once; jitter
//! from nothing on spreads them best (M. Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog,
//! 2015), but a fifth failure in a row was then seen to be followed by the sixth attempt within a millisecond.
//! A quarter keeps most of the spread and some of the wait. Pure: the caller brings the randomness and does
//! the waiting.

use std::time::Duration;

/// Counts failures in a row and turns them into waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    failures: u32,
}

impl Backoff {
    /// The first ceiling is `delay_min`, the last `delay_max`.
    pub fn new(delay_min: Duration, delay_max: Duration) -> Backoff {
        Backoff { delay_min, delay_max, failures: 0 }
    }

    /// The wait after one more failure: between a quarter of the ceiling and all of it; the ceiling then doubles.
    pub fn next_delay(&mut self, random: &mut fastrand::Rng) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(0.25 + 0.75 * random.f64())
    }

    /// The wait when trying again at once cannot help: between half of `delay_max` and all of it.
    pub fn slow_delay(&mut self, random: &mut fastrand::Rng) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.delay_max.mul_f64(0.5 + random.f64() / 2.0)
    }

    /// Starts over. Only for a connection that has proved itself: a server that accepts and closes at
    /// once would otherwise be asked without end.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).and_then(|factor| self.delay_min.checked_mul(factor));
        doubled.unwrap_or(self.delay_max).min(self.delay_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(30);

    proptest! {
        #[test]
        fn a_delay_lies_between_a_quarter_of_its_ceiling_and_all_of_it(seed: u64, failures in 0..2_000_u32) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut backoff = Backoff::new(MIN, MAX);
            for failure in 0..failures {
                let doubled = MIN.as_secs_f64() * 2_f64.powi(failure.min(1_000) as i32);
                let ceiling = doubled.min(MAX.as_secs_f64());
                let delay = backoff.next_delay(&mut random).as_secs_f64();
                prop_assert!((0.2499 * ceiling..=ceiling).contains(&delay), "{delay} s after {failure}");
            }
        }

        #[test]
        fn a_slow_delay_is_at_least_half_the_maximum(seed: u64) {
            let delay = Backoff::new(MIN, MAX).slow_delay(&mut fastrand::Rng::with_seed(seed));
            prop_assert!(MAX / 2 <= delay && delay <= MAX, "{delay:?}");
        }

        #[test]
        fn the_same_seed_gives_the_same_delays(seed: u64) {
            let delays = || {
                let (mut random, mut backoff) = (fastrand::Rng::with_seed(seed), Backoff::new(MIN, MAX));
                (0..20).map(|_| backoff.next_delay(&mut random)).collect::<Vec<_>>()
            };
            prop_assert_eq!(delays(), delays());
        }
    }

    /// Means over many draws: five eighths of the ceiling.
    #[test]
    fn delays_double_until_the_maximum_and_start_over_after_a_reset() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut mean_after = |failures: u32, reset: bool| {
            let draws = 2_000;
            let sum: Duration = (0..draws)
                .map(|_| {
                    let mut backoff = Backoff::new(MIN, MAX);
                    for _ in 0..failures {
                        backoff.next_delay(&mut random);
                    }
                    if reset {
                        backoff.reset();
                    }
                    backoff.next_delay(&mut random)
                })
                .sum();
            (sum / draws).as_secs_f64()
        };
        for (failures, reset, expected) in [
            (0, false, 0.15625),
            (1, false, 0.3125),
            (4, false, 2.5),
            (7, false, 18.75),
            (50, false, 18.75),
            (50, true, 0.15625),
        ] {
            let mean = mean_after(failures, reset);
            assert!(
                (mean / expected - 1.0).abs() < 0.1,
                "{mean} s after {failures} failures, expected {expected}"
            );
        }
    }
}
