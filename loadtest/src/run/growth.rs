//! Whether a daemon under a steady load grows: memory, descriptors, threads, and the write-ahead log.

use serde::Serialize;

use super::figures::{line, median, rounded};
use super::watch::Sample;

/// Part of the stream in which caches fill.
const WARM_UP: f64 = 0.2;
/// The rest in so many windows, of which medians are compared: a single sample may be anything.
const WINDOWS: usize = 8;
/// Part of the first window's median by which another's may exceed it.
const FLAT_WITHIN: f64 = 0.05;

/// How a daemon fared from the end of its warm-up to the end of the stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Growth {
    /// Samples that this is made of; one a second at most.
    pub samples: u64,
    /// Resident memory, MiB: medians of equal parts of the time after the warm-up.
    pub rss_mib: Vec<f64>,
    /// By what part of the first of them the greatest exceeds it.
    pub rss_growth: f64,
    /// The line of least squares through all samples, MiB an hour.
    pub rss_mib_per_hour: f64,
    /// Open descriptors, medians of the first and the last part.
    pub descriptors: [f64; 2],
    /// Threads, the same.
    pub threads: [f64; 2],
    /// The longest write-ahead log, MiB, in the first and the last part.
    pub wal_mib_max: [f64; 2],
}

/// What is looked at in a sample: seconds since the start, and the rest as in [`Growth`].
#[derive(Debug, Clone, Copy)]
struct Look {
    at_s: f64,
    rss_mib: f64,
    descriptors: f64,
    threads: f64,
    wal_mib: f64,
}

impl Growth {
    /// Of the samples of a stream of so many seconds.
    pub(super) fn of<'a>(samples: impl Iterator<Item = (f64, &'a Sample)>, duration_s: f64) -> Growth {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let from_s = duration_s * WARM_UP;
        let looks = samples.filter(|(at_s, _)| (from_s..duration_s).contains(at_s));
        let mut second = None;
        let looks = looks.filter(|(at_s, _)| second.replace(*at_s as u64) != Some(*at_s as u64));
        let looks: Vec<Look> = looks
            .filter_map(|(at_s, sample)| {
                let usage = sample.usage.as_ref()?;
                Some(Look {
                    at_s,
                    rss_mib: mib(usage.rss_bytes),
                    descriptors: usage.descriptors as f64,
                    threads: usage.threads as f64,
                    wal_mib: mib(sample.wal_bytes),
                })
            })
            .collect();
        if looks.len() < WINDOWS {
            return Growth { samples: looks.len() as u64, ..Growth::default() };
        }
        let windows: Vec<&[Look]> = looks.chunks(looks.len().div_ceil(WINDOWS)).collect();
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Growth::default() };
        let medians = |of: fn(&Look) -> f64| [first, last].map(|window| median(window.iter().map(of)));
        let longest = |window: &&[Look]| rounded(window.iter().map(|look| look.wal_mib).fold(0.0, f64::max));
        let rss: Vec<f64> =
            windows.iter().map(|window| median(window.iter().map(|look| look.rss_mib))).collect();
        let (first_mib, most_mib) =
            (rss.first().copied().unwrap_or(0.0), rss.iter().copied().fold(0.0, f64::max));
        Growth {
            samples: looks.len() as u64,
            rss_growth: rounded(most_mib / first_mib.max(f64::MIN_POSITIVE) - 1.0),
            rss_mib: rss.into_iter().map(rounded).collect(),
            rss_mib_per_hour: rounded(line(looks.iter().map(|look| (look.at_s, look.rss_mib))) * 3_600.0),
            descriptors: medians(|look| look.descriptors),
            threads: medians(|look| look.threads),
            wal_mib_max: [longest(first), longest(last)],
        }
    }

    /// What has grown and must not.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        if self.rss_mib.is_empty() {
            violations
                .push(format!("{} samples are too few to see growth: a longer --duration", self.samples));
        }
        if self.rss_growth > FLAT_WITHIN {
            violations.push(format!(
                "memory grew by {:.1} % after the warm-up, more than {} %: {:?} MiB",
                self.rss_growth * 100.0,
                FLAT_WITHIN * 100.0,
                self.rss_mib
            ));
        }
        for (what, [first, last]) in [("descriptors", self.descriptors), ("threads", self.threads)] {
            if last > first {
                violations.push(format!("{last} {what} at the end, and {first} after the warm-up"));
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::usage::Usage;

    /// A stream of 1,000 s, four samples a second, of which each has this.
    fn growth(usage: impl Fn(u64) -> Usage) -> Growth {
        let samples: Vec<(f64, Sample)> = (0..4_000)
            .map(|n| (n as f64 / 4.0, Sample { usage: Some(usage(n / 4)), ..Sample::default() }))
            .collect();
        Growth::of(samples.iter().map(|(at_s, sample)| (*at_s, sample)), 1_000.0)
    }

    fn usage(rss_mib: u64, descriptors: u64, threads: u64) -> Usage {
        Usage { rss_bytes: rss_mib << 20, descriptors, threads, ..Usage::default() }
    }

    #[test]
    fn what_fills_in_the_warm_up_and_peaks_for_a_second_is_flat() {
        let growth = growth(|s| match s {
            0..200 => usage(10 + s / 2, 5, 5),
            500 => usage(999, 99, 99),
            _ => usage(110 + s % 3, 20 + s % 2, 9),
        });
        assert_eq!(growth.violations(), [""; 0]);
        assert_eq!((growth.samples, growth.rss_mib.len(), growth.threads), (800, WINDOWS, [9.0, 9.0]));
    }

    #[test]
    fn what_grows_is_seen() {
        let seen = |usage: &dyn Fn(u64) -> Usage, text: &str| {
            let growth = growth(usage);
            assert!(growth.violations().join(";").contains(text), "{text}: {growth:?}");
            growth
        };
        // 20 MiB in 1,000 s.
        let leak = seen(&|s| usage(100 + s / 50, 5, 5), "memory grew");
        assert!((leak.rss_mib_per_hour - 72.0).abs() < 1.0, "{leak:?}");
        seen(&|s| usage(100, 5 + s / 400, 5), "7 descriptors at the end");
        seen(&|s| usage(100, 5, 5 + s / 900), "6 threads at the end");
        assert!(Growth::of([].into_iter(), 10.0).violations()[0].contains("too few"));
    }
}
