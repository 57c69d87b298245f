//! The arithmetic of a report, in memory that does not grow with the tickets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::By;
use crate::ledger::report::Outcome;

/// Groups of one kind that are told apart; the tickets of more share one.
const GROUPS_MAX: usize = 1000;
/// Factors that are told apart: a company has some dozens.
const FACTORS_MAX: usize = 1000;
/// What the groups beyond the limit are called.
const OTHERS: &str = "(others)";
/// Tickets with and without a factor before its effect is more than chance, and how far apart their shares are.
const TELLING_TICKETS_MIN: u64 = 30;
const TELLING_DIFFERENCE: f64 = 0.1;

/// Response times in seconds, 16 steps for each doubling: a percentile is at most 6 % too low.
const STEPS: u32 = 16;
const BUCKETS: usize = 33 * STEPS as usize;

/// Tickets that have something in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) tickets: u64,
    pub(super) answered: u64,
    /// Those whose expectation is decided: answered, or due and not answered.
    decided: u64,
    late: u64,
    pub(super) rated: u64,
    satisfied: u64,
    ratings: u64,
    times: Vec<u64>,
}

impl Group {
    fn add(&mut self, outcome: &Outcome, late: Option<bool>) {
        self.tickets += 1;
        self.decided += u64::from(late.is_some());
        self.late += u64::from(late == Some(true));
        if let Some(rating) = outcome.satisfaction {
            self.rated += 1;
            self.satisfied += u64::from(rating >= 4);
            self.ratings += u64::from(rating);
        }
        if let Some(at_us) = outcome.first_answer_at_us {
            self.answered += 1;
            // A helpdesk's clock may be behind ours.
            let seconds =
                (at_us.saturating_sub(outcome.ticket.created_at_us) / 1_000_000).max(0).unsigned_abs();
            self.times.resize(BUCKETS, 0);
            if let Some(bucket) = self.times.get_mut(bucket(seconds)) {
                *bucket += 1;
            }
        }
    }

    /// Share of the tickets that were answered before they were due.
    pub(super) fn in_time(&self) -> Option<f64> {
        share(self.decided - self.late, self.decided)
    }

    /// Share of the ratings that are 4 or 5.
    pub(super) fn csat(&self) -> Option<f64> {
        share(self.satisfied, self.rated)
    }

    /// Mean rating, 1 to 5.
    pub(super) fn satisfaction(&self) -> Option<f64> {
        share(self.ratings, self.rated)
    }

    /// The response time that this share of the answers was within.
    pub(super) fn seconds(&self, within: f64) -> Option<u64> {
        let wanted = (within * self.answered as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.times.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bucket.map(least)
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

fn bucket(seconds: u64) -> usize {
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    if seconds < STEPS {
        return seconds as usize;
    }
    let octave = seconds.ilog2() - STEPS.ilog2();
    ((octave + 1) * STEPS + (seconds >> octave) - STEPS) as usize
}

/// The least time in a bucket.
fn least(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / u64::from(STEPS), bucket as u64 % u64::from(STEPS));
    if octave == 0 { step } else { (u64::from(STEPS) + step) << (octave - 1) }
}

/// What became of tickets that have a factor; those without are all less these.
#[derive(Debug, Clone, Default)]
pub(super) struct Factor {
    pub(super) tickets: u64,
    decided: u64,
    late: u64,
    rated: u64,
    ratings: u64,
    /// Over the decided tickets: of points, of their squares, and of the points of late ones.
    points: f64,
    squares: f64,
    late_points: f64,
}

impl Factor {
    /// Share that was late, with and without it.
    pub(super) fn late(&self, all: &Group) -> (Option<f64>, Option<f64>) {
        (share(self.late, self.decided), share(all.late - self.late, all.decided - self.decided))
    }

    /// Mean rating, with and without it.
    pub(super) fn ratings(&self, all: &Group) -> (Option<f64>, Option<f64>) {
        (share(self.ratings, self.rated), share(all.ratings - self.ratings, all.rated - self.rated))
    }

    /// Pearson's correlation of its points, 0 where a ticket has none, with being late.
    pub(super) fn correlation(&self, all: &Group) -> Option<f64> {
        let (n, late) = (all.decided as f64, all.late as f64);
        let spread = (n * self.squares - self.points * self.points) * (n * late - late * late);
        (spread > 0.0).then(|| (n * self.late_points - self.points * late) / spread.sqrt())
    }

    /// Whether its effect is large and of enough tickets to look at its points.
    pub(super) fn is_telling(&self, all: &Group) -> bool {
        let enough = self.decided.min(all.decided - self.decided) >= TELLING_TICKETS_MIN;
        let (Some(with), Some(without)) = self.late(all) else { return false };
        enough && (with - without).abs() >= TELLING_DIFFERENCE
    }
}

/// Everything that a report says.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) all: Group,
    pub(super) by: Vec<(By, BTreeMap<String, Group>)>,
    pub(super) factors: BTreeMap<String, Factor>,
    now_us: i64,
}

impl Sums {
    pub(super) fn new(by: &[By], now_us: i64) -> Sums {
        let by = by.iter().map(|by| (*by, BTreeMap::new())).collect();
        Sums { all: Group::default(), by, factors: BTreeMap::new(), now_us }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        let due_at_us = outcome.ticket.due_at_us;
        let late = match outcome.first_answer_at_us {
            Some(at_us) => Some(at_us > due_at_us),
            None => (self.now_us > due_at_us).then_some(true),
        };
        self.all.add(outcome, late);
        for (by, groups) in &mut self.by {
            let value = value(*by, outcome);
            let is_new = !groups.contains_key(&value);
            let value = if is_new && groups.len() >= GROUPS_MAX { OTHERS.to_owned() } else { value };
            groups.entry(value).or_default().add(outcome, late);
        }
        for factor in &outcome.ticket.factors {
            if self.factors.len() >= FACTORS_MAX && !self.factors.contains_key(&factor.name) {
                continue;
            }
            let sums = self.factors.entry(factor.name.clone()).or_default();
            sums.tickets += 1;
            if let Some(rating) = outcome.satisfaction {
                sums.rated += 1;
                sums.ratings += u64::from(rating);
            }
            if let Some(late) = late {
                let points = f64::from(factor.points);
                sums.decided += 1;
                sums.late += u64::from(late);
                sums.points += points;
                sums.squares += points * points;
                sums.late_points += if late { points } else { 0.0 };
            }
        }
    }
}

fn value(by: By, outcome: &Outcome) -> String {
    match by {
        By::Brand => outcome.ticket.brand.clone(),
        By::Network => outcome.ticket.post.as_ref().map_or(String::new(), |post| post.network.clone()),
        By::Team => outcome.team.clone(),
        By::Agent => outcome.agent.clone(),
        By::Intent => outcome.intent.clone(),
        By::Hour => Timestamp::from_microsecond(outcome.ticket.created_at_us).map_or(String::new(), |at| {
            let at = at.to_zoned(TimeZone::UTC);
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
            format!("{} {:02}", days.get(day).unwrap_or(&""), at.hour())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::proto;

    #[test]
    fn a_time_is_in_the_bucket_that_begins_at_most_a_sixteenth_below() {
        for seconds in (0..100_000).chain([u64::from(u32::MAX)]) {
            let least = least(bucket(seconds));
            assert!(least <= seconds && seconds - least <= seconds / 16, "{seconds}: {least}");
            assert!(bucket(seconds) < BUCKETS);
        }
    }

    fn outcome(points: i32, answered_s: Option<i64>, rating: u32) -> Outcome {
        let factor = proto::Factor { name: "reach".into(), points, ..proto::Factor::default() };
        let ticket = proto::Ticket {
            due_at_us: 3_600_000_000,
            factors: if points == 0 { Vec::new() } else { vec![factor] },
            ..proto::Ticket::default()
        };
        Outcome {
            ticket,
            intent: String::new(),
            team: String::new(),
            agent: String::new(),
            first_answer_at_us: answered_s.map(|seconds| seconds * 1_000_000),
            satisfaction: (rating > 0).then_some(rating),
        }
    }

    #[test]
    fn late_is_answered_after_due_or_due_and_not_answered() {
        let check = |now_s: i64, answered_s: Option<i64>, in_time: Option<f64>| {
            let mut sums = Sums::new(&[], now_s * 1_000_000);
            sums.add(&outcome(0, answered_s, 0));
            assert_eq!(sums.all.in_time(), in_time, "{now_s} {answered_s:?}");
        };
        check(10_000, Some(3600), Some(1.0));
        check(10_000, Some(3601), Some(0.0));
        check(10_000, None, Some(0.0));
        check(3600, None, None);
    }

    #[test]
    fn a_factor_that_foretells_lateness_is_marked() {
        let mut sums = Sums::new(&[By::Brand], i64::MAX);
        for number in 0..100 {
            let with = number % 2 == 0;
            let late = with && number % 4 == 0;
            sums.add(&outcome(
                if with { 50 } else { 0 },
                Some(if late { 7200 } else { 60 }),
                if with { 2 } else { 5 },
            ));
        }
        let factor = &sums.factors["reach"];
        assert_eq!(factor.late(&sums.all), (Some(0.5), Some(0.0)));
        assert_eq!(factor.ratings(&sums.all), (Some(2.0), Some(5.0)));
        assert!(factor.is_telling(&sums.all));
        assert!((factor.correlation(&sums.all).unwrap() - 0.577).abs() < 0.01);
        assert_eq!((sums.all.csat(), sums.all.satisfaction()), (Some(0.5), Some(3.5)));
        assert_eq!((sums.all.seconds(0.5), sums.by[0].1[""].tickets), (Some(60), 100));
    }
}
