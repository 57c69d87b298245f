//! Whether more points went with worse outcomes: rank correlation over counted pairs, in bounded memory.
//!
//! Spearman's coefficient is Pearson's of the ranks, where equal values share the mean of their ranks; nothing is assumed
//! of the shape of either. Outcomes come in classes, in their order, and those of one class are equal.

use std::collections::BTreeMap;

/// Different points of one factor that are told apart. Curves give some dozens; beyond, points count as the nearest below
/// that is known.
const POINTS_MAX: usize = 256;

/// Tickets beside those with the commonest points, before anything is said: under these, chance says more than they do.
pub(super) const TICKETS_MIN: u64 = 30;
/// A coefficient as small as this is of no use, however sure.
pub(super) const TELLING_MIN: f64 = 0.1;
/// How many times its standard error a coefficient must be from 0. A report looks at dozens: at two, one in twenty
/// would be chance.
const TELLING_ERRORS: f64 = 3.0;

/// How many tickets had these points and that outcome.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs {
    rows: BTreeMap<i32, Vec<u32>>,
}

/// What pairs come to.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Correlation {
    /// −1 to 1.
    pub(super) rho: f64,
    /// Tickets that it is of, those without the factor among them.
    pub(super) tickets: u64,
}

impl Correlation {
    /// Whether it is large, and too far from 0 for chance: the coefficient of n pairs that have nothing to do with each
    /// other has a standard error of 1/√(n − 1).
    pub(super) fn is_telling(self) -> bool {
        let error = 1.0 / ((self.tickets.max(2) - 1) as f64).sqrt();
        self.rho.abs() >= TELLING_MIN.max(TELLING_ERRORS * error)
    }
}

impl Pairs {
    pub(super) fn add(&mut self, points: i32, class: usize, classes: usize) {
        let points = if self.rows.len() < POINTS_MAX || self.rows.contains_key(&points) {
            points
        } else {
            let below = self.rows.range(..points).next_back().or_else(|| self.rows.iter().next());
            below.map_or(points, |(known, _)| *known)
        };
        let row = self.rows.entry(points).or_insert_with(|| vec![0; classes]);
        if let Some(count) = row.get_mut(class) {
            *count = count.saturating_add(1);
        }
    }

    /// The correlation over all tickets, of which these are the outcomes: those without the factor have 0 points.
    /// `None` where too few differ, or all ended alike.
    pub(super) fn correlation(&self, all: &[u64]) -> Option<Correlation> {
        let mut rows: BTreeMap<i32, Vec<u64>> = self
            .rows
            .iter()
            .map(|(points, row)| (*points, row.iter().map(|count| u64::from(*count)).collect()))
            .collect();
        let mut without = all.to_vec();
        for row in rows.values() {
            without.iter_mut().zip(row).for_each(|(left, had)| *left = left.saturating_sub(*had));
        }
        let absent = rows.entry(0).or_insert_with(|| vec![0; all.len()]);
        absent.iter_mut().zip(&without).for_each(|(count, more)| *count += more);

        let sizes: Vec<u64> = rows.values().map(|row| row.iter().sum()).collect();
        let tickets: u64 = sizes.iter().sum();
        if tickets - sizes.iter().max()? < TICKETS_MIN {
            return None;
        }
        let columns: Vec<u64> =
            (0..all.len()).map(|class| rows.values().filter_map(|row| row.get(class)).sum()).collect();
        let (of_points, of_outcomes) = (centred_ranks(&sizes, tickets), centred_ranks(&columns, tickets));
        let spread = |ranks: &[f64], counts: &[u64]| -> f64 {
            ranks.iter().zip(counts).map(|(rank, count)| rank * rank * *count as f64).sum()
        };
        let both = spread(&of_points, &sizes) * spread(&of_outcomes, &columns);
        let together: f64 = rows
            .values()
            .zip(&of_points)
            .map(|(row, rank)| {
                row.iter().zip(&of_outcomes).map(|(count, other)| *count as f64 * rank * other).sum::<f64>()
            })
            .sum();
        (both > 0.0).then(|| Correlation { rho: (together / both.sqrt()).clamp(-1.0, 1.0), tickets })
    }
}

/// The mean rank of each value that comes so often, in their order, less the mean of all ranks.
fn centred_ranks(counts: &[u64], all: u64) -> Vec<f64> {
    let mean = (all as f64 + 1.0) / 2.0;
    let mut before = 0;
    let rank = |count: &u64| {
        let rank = before as f64 + (*count as f64 + 1.0) / 2.0;
        before += count;
        rank - mean
    };
    counts.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coefficient as it is defined: every pair's ranks by counting, and Pearson's of those.
    fn by_definition(pairs: &[(i32, usize)]) -> f64 {
        let rank = |below: usize, equal: usize| below as f64 + (equal as f64 + 1.0) / 2.0;
        let ranks: Vec<(f64, f64)> = pairs
            .iter()
            .map(|(x, y)| {
                let count = |is: &dyn Fn(&(i32, usize)) -> bool| pairs.iter().filter(|pair| is(pair)).count();
                (
                    rank(count(&|pair| pair.0 < *x), count(&|pair| pair.0 == *x)),
                    rank(count(&|pair| pair.1 < *y), count(&|pair| pair.1 == *y)),
                )
            })
            .collect();
        let n = ranks.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| ranks.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
        let covariance = mean(&|pair| (pair.0 - x) * (pair.1 - y));
        covariance / (mean(&|pair| (pair.0 - x).powi(2)) * mean(&|pair| (pair.1 - y).powi(2))).sqrt()
    }

    fn correlation(pairs: &[(i32, usize)], classes: usize) -> Option<Correlation> {
        let (mut counted, mut all) = (Pairs::default(), vec![0; classes]);
        for (points, class) in pairs {
            all[*class] += 1;
            if *points != 0 {
                counted.add(*points, *class, classes);
            }
        }
        counted.correlation(&all)
    }

    #[test]
    fn it_is_spearmans_coefficient_with_ties_and_with_tickets_that_lack_the_factor() {
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let pairs: Vec<_> = (0..150).map(|_| (dice.i32(-3..12), dice.usize(0..9))).collect();
            let found = correlation(&pairs, 9).unwrap();
            assert_eq!(found.tickets, 150);
            let expected = by_definition(&pairs);
            assert!((found.rho - expected).abs() < 1e-9, "{} is not {expected}", found.rho);
        }
        let rising: Vec<_> = (0..100).map(|n| (n, n as usize)).collect();
        assert!((correlation(&rising, 100).unwrap().rho - 1.0).abs() < 1e-9);
        let falling: Vec<_> = (0..100).map(|n| (-n * n, n as usize)).collect();
        assert!((correlation(&falling, 100).unwrap().rho + 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_said_of_few_tickets_or_where_all_ended_alike() {
        let few =
            |with: usize| (0..500).map(|n| (i32::from(n < with), usize::from(n < with))).collect::<Vec<_>>();
        assert_eq!(correlation(&few(29), 2), None);
        assert_eq!(correlation(&few(30), 2).map(|found| found.tickets), Some(500));
        assert_eq!(correlation(&few(471), 2), None, "29 lack it");
        let alike: Vec<_> = (0..500).map(|n| (n, 1)).collect();
        assert_eq!(correlation(&alike, 2), None);
        assert_eq!(correlation(&[], 2), None);
    }

    #[test]
    fn a_coefficient_is_telling_if_it_is_large_and_not_chance() {
        let is_telling = |rho, tickets| Correlation { rho, tickets }.is_telling();
        assert!(is_telling(0.6, 40) && is_telling(-0.6, 40));
        assert!(!is_telling(0.3, 40), "one in twenty is");
        assert!(!is_telling(0.05, 1_000_000), "sure, and of no use");
        assert!(is_telling(0.11, 1_000_000));
    }

    #[test]
    fn points_beyond_the_limit_count_as_those_below() {
        let pairs: Vec<_> = (1..=1000).map(|n| (n, usize::from(n > 128))).collect();
        let mut counted = Pairs::default();
        pairs.iter().for_each(|(points, class)| counted.add(*points, *class, 2));
        assert_eq!(counted.rows.len(), POINTS_MAX);
        assert!(correlation(&pairs, 2).unwrap().rho > 0.5);
    }
}
