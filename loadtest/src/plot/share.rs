//! Probabilities, and how they change over a stream's events.

/// A probability, as the number of 64-bit draws that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(u64);

impl Share {
    /// Checks a share that somebody asked for by this name.
    pub(crate) fn new(name: &str, share: f64) -> anyhow::Result<Share> {
        anyhow::ensure!((0.0..=1.0).contains(&share), "{name} = {share}: must be 0 to 1");
        Ok(Share::of(share))
    }

    /// `share` is taken as 0 to 1, whatever it is.
    pub(crate) fn of(share: f64) -> Share {
        // `as` saturates, so that 1 covers all draws but one in 2^64.
        Share((share * 2_f64.powi(64)) as u64)
    }

    /// So many times as often.
    pub(crate) fn times(self, factor: f64) -> Share {
        Share((self.0 as f64 * factor) as u64)
    }

    /// Whether this draw falls into it.
    pub(crate) fn holds(self, draw: u64) -> bool {
        draw < self.0
    }
}

/// A share for each event: constant before the first and after the last of some points, straight between them.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Event and share there, in the order of events; never empty.
    points: Vec<(u64, Share)>,
    /// No event's share is greater: spares most events the look at the points.
    most: Share,
}

impl Schedule {
    /// The same share for all events.
    pub(crate) fn constant(share: Share) -> Schedule {
        Schedule { points: vec![(0, share)], most: share }
    }

    /// Where two points are at one event, the share jumps there to the second one's.
    pub(crate) fn through(points: Vec<(u64, Share)>) -> Schedule {
        assert!(points.is_sorted_by_key(|(n, _)| *n), "points go forward");
        let most = points.iter().map(|(_, share)| *share).max().expect("a schedule has a point");
        Schedule { points, most }
    }

    /// Whether the draw of event `n` falls into its share.
    pub(crate) fn holds(&self, n: u64, draw: u64) -> bool {
        self.most.holds(draw) && (self.points.len() == 1 || self.at(n).holds(draw))
    }

    fn at(&self, n: u64) -> Share {
        let after = self.points.partition_point(|(at, _)| *at <= n);
        let (before, after) =
            (after.checked_sub(1).and_then(|idx| self.points.get(idx)), self.points.get(after));
        match (before, after) {
            (Some((n0, share0)), Some((n1, share1))) => {
                let part = |share: u64, events: u64| u128::from(share) * u128::from(events);
                let sum = part(share0.0, n1 - n) + part(share1.0, n - n0);
                Share((sum / u128::from(n1 - n0)) as u64)
            }
            (Some((_, share)), None) | (None, Some((_, share))) => *share,
            (None, None) => Share(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_straight_between_its_points_and_constant_outside() {
        let schedule = Schedule::through(vec![
            (100, Share::of(0.0)),
            (200, Share::of(0.5)),
            (300, Share::of(0.5)),
            (300, Share::of(0.125)),
        ]);
        let check = |n, expected: f64| {
            let share = schedule.at(n).0 as f64 / 2_f64.powi(64);
            assert!((share - expected).abs() < 1e-9, "{share} at {n}");
        };
        check(0, 0.0);
        check(100, 0.0);
        check(150, 0.25);
        check(299, 0.5);
        check(300, 0.125);
        check(u64::MAX, 0.125);
        assert!(schedule.holds(250, u64::MAX / 4) && !schedule.holds(120, u64::MAX / 4));
    }
}
