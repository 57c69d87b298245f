//! Latencies and rates from what was noted.

use std::ops::Range;

use serde::Serialize;

/// Percentiles of latencies, by sorting all of them: exact, and a million take a tenth of a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are no longer.
    pub p50: f64,
    /// 99 of 100 are no longer.
    pub p99: f64,
    /// 999 of 1,000 are no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// Of latencies in microseconds, given in milliseconds; zeros where there are none.
    pub fn of(latencies_us: &mut [i64]) -> Percentiles {
        latencies_us.sort_unstable();
        // The nearest rank: the least value that at least this part of all does not exceed.
        let at = |part: f64| {
            let rank = (latencies_us.len() as f64 * part).ceil() as usize;
            latencies_us.get(rank.max(1) - 1).map_or(0.0, |us| rounded(*us as f64 / 1_000.0))
        };
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// Three digits after the point: a microsecond of a millisecond, which is more than any of the clocks is worth.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Growth a second of a count that was looked at now and then, within a window of time.
///
/// The line of least squares through the looks at which the count had changed: a count that grows in steps, as
/// that of commits, is then looked at after a step each time, and where in a step the window ends counts little.
pub(super) fn slope(looks: impl Iterator<Item = (f64, u64)>, within: Range<f64>) -> f64 {
    let mut before = None;
    let changed = looks.filter(|(at_s, _)| within.contains(at_s));
    let changed = changed.filter(|(_, count)| before.replace(*count) != Some(*count));
    line(changed.map(|(at_s, count)| (at_s, count as f64)))
}

/// The slope of the line of least squares through points; 0 where there are fewer than two.
pub(super) fn line(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<(f64, f64)> = points.collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len().max(1) as f64;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut both, mut square) = (0.0, 0.0);
    for (x, y) in &points {
        both += (x - mean_x) * (y - mean_y);
        square += (x - mean_x).powi(2);
    }
    if square > 0.0 { both / square } else { 0.0 }
}

/// The middle one of some values, by the lower of two; 0 where there are none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut latencies: Vec<i64> = (1..=1_000).rev().map(|ms| ms * 1_000).collect();
        let expected = Percentiles { p50: 500.0, p99: 990.0, p999: 999.0, max: 1_000.0 };
        assert_eq!(Percentiles::of(&mut latencies), expected);
        let one = Percentiles { p50: 0.007, p99: 0.007, p999: 0.007, max: 0.007 };
        assert_eq!(Percentiles::of(&mut [7]), one);
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }

    #[test]
    fn a_median_is_the_lower_middle() {
        let check = |values: &[f64], expected| assert_eq!(median(values.iter().copied()), expected);
        check(&[3.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0, 3.0, 2.0], 2.0);
        check(&[], 0.0);
    }

    #[test]
    fn a_slope_is_that_of_the_window() {
        let looks = [(0.0, 0), (1.0, 50), (2.0, 150), (3.0, 250), (9.0, 250)];
        assert_eq!(slope(looks.into_iter(), 1.0..4.0), 100.0);
        let steps =
            [(0.0, 0), (0.25, 0), (0.5, 50), (0.75, 50), (1.0, 100), (1.25, 100), (1.3, 100), (1.5, 150)];
        assert_eq!(slope(steps.into_iter(), 0.0..1.6), 100.0);
        assert_eq!(slope(looks.into_iter(), 0.0..0.5), 0.0, "one look is no slope");
    }
}
