//! How long something took, counted into buckets that never change: a Prometheus histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets, in ms: from an NVMe disk's fsync to a disk that is dying.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// Durations, counted. Written by one thread, read by anyone, relaxed: a reading in the middle of a record may
/// miss it in one of the numbers, as any scrape may.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one for what is longer than all of them.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let place = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn read(&self) -> Durations {
        Durations {
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// A reading of a [`Histogram`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// How many fell between the bound before and this one of [`BOUNDS_MS`]; the last, above all bounds.
    pub counts: Vec<u64>,
    /// Their sum, in µs.
    pub sum_us: u64,
}

impl Durations {
    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_is_not_below_it() {
        let check = |took_us: u64, place: usize| {
            let histogram = Histogram::default();
            histogram.record(Duration::from_micros(took_us));
            let read = histogram.read();
            assert_eq!(read.counts.iter().position(|count| *count == 1), Some(place), "{took_us}");
            assert_eq!((read.count(), read.sum_us), (1, took_us));
        };
        check(0, 0);
        check(1_000, 0);
        check(1_001, 1);
        check(30_000_000, 11);
        check(30_000_001, 12);
    }
}
