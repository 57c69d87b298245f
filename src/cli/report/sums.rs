//! The arithmetic of a report, in memory that does not grow with the tickets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::By;
use super::factors::{Factor, RATINGS, TIMES, rating_class, time_class};
use super::periods::{HOURS, Periods};
use crate::ledger::report::Outcome;

/// Groups of one kind that are told apart; the tickets of more share one.
const GROUPS_MAX: usize = 1000;
/// Factors that are told apart: a company has some dozens. Each may take 80 KiB. The points of more share one.
const FACTORS_MAX: usize = 200;
/// What the groups and factors beyond the limits are called.
const OTHERS: &str = "(others)";
/// Answers of 0 to 10 from which on somebody promotes the company, and below which they detract from it.
const PROMOTER_MIN: u32 = 9;
const PASSIVE_MIN: u32 = 7;

/// Response times in seconds, 16 steps for each doubling: a percentile is at most 6 % too low.
const STEPS: u32 = 16;
const BUCKETS: usize = 33 * STEPS as usize;

/// Tickets that have something in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) tickets: u64,
    pub(super) answered: u64,
    /// Those whose expectation is decided: answered, or due while somebody waited.
    pub(super) decided: u64,
    pub(super) late: u64,
    pub(super) rated: u64,
    satisfied: u64,
    pub(super) ratings: u64,
    /// Those that were answered with 0 to 10 how likely the customer is to recommend the company.
    pub(super) recommended: u64,
    promoters: u64,
    detractors: u64,
    times: Vec<u64>,
    pub(super) solved: u64,
    solving: Vec<u64>,
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
        if let Some(answer) = outcome.recommendation {
            self.recommended += 1;
            self.promoters += u64::from(answer >= PROMOTER_MIN);
            self.detractors += u64::from(answer < PASSIVE_MIN);
        }
        let made_at_us = outcome.ticket.created_at_us;
        if let Some(at_us) = outcome.first_answer_at_us {
            self.answered += 1;
            count(&mut self.times, at_us.saturating_sub(made_at_us));
        }
        if let Some(at_us) = outcome.solved_at_us {
            self.solved += 1;
            count(&mut self.solving, at_us.saturating_sub(made_at_us));
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

    /// Net promoter score, −100 to 100: promoters less detractors, in parts of 100 of those who answered.
    pub(super) fn nps(&self) -> Option<f64> {
        let part = |of: u64| share(of, self.recommended);
        Some(100.0 * (part(self.promoters)? - part(self.detractors)?))
    }

    /// The response time that this share of the answers was within.
    pub(super) fn seconds(&self, within: f64) -> Option<u64> {
        percentile(&self.times, self.answered, within)
    }

    /// The time to solve them that this share of those that are solved was within.
    pub(super) fn solving_seconds(&self, within: f64) -> Option<u64> {
        percentile(&self.solving, self.solved, within)
    }
}

/// Counts a time.
fn count(times: &mut Vec<u64>, us: i64) {
    // A helpdesk's clock may be behind ours.
    let seconds = (us / 1_000_000).max(0).unsigned_abs();
    times.resize(BUCKETS, 0);
    if let Some(bucket) = times.get_mut(bucket(seconds)) {
        *bucket += 1;
    }
}

/// Of so many times that are counted, the one that this share was within; `None` of nothing.
fn percentile(times: &[u64], all: u64, within: f64) -> Option<u64> {
    let wanted = (within * all as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    let bucket = times.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    bucket.map(least)
}

/// `None` of nothing.
pub(super) fn share(part: u64, of: u64) -> Option<f64> {
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

/// Everything that a report says of tickets.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) all: Group,
    pub(super) by: Vec<(By, BTreeMap<String, Group>)>,
    /// As many as there are periods.
    pub(super) over_time: Vec<Group>,
    /// By the hour of the week.
    pub(super) hours: Vec<Group>,
    /// Those that factors speak of: all but those that are no customer message after all.
    pub(super) supported: Group,
    pub(super) factors: BTreeMap<String, Factor>,
    /// Of those the tickets in each class of times and of ratings.
    pub(super) times: [u64; TIMES],
    pub(super) ratings: [u64; RATINGS],
    pub(super) periods: Periods,
    now_us: i64,
}

impl Sums {
    pub(super) fn new(by: &[By], periods: Periods, now_us: i64) -> Sums {
        let of_tickets = by.iter().filter(|by| !matches!(by, By::Time | By::Hour));
        Sums {
            all: Group::default(),
            by: of_tickets.map(|by| (*by, BTreeMap::new())).collect(),
            over_time: vec![Group::default(); periods.len()],
            hours: vec![Group::default(); HOURS],
            supported: Group::default(),
            factors: BTreeMap::new(),
            times: [0; TIMES],
            ratings: [0; RATINGS],
            periods,
            now_us,
        }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        let late = outcome.is_late(self.now_us);
        self.all.add(outcome, late);
        let made_at_us = outcome.ticket.created_at_us;
        let period = self.over_time.get_mut(self.periods.place(made_at_us));
        let hour = self.hours.get_mut(self.periods.hour(made_at_us));
        period.into_iter().chain(hour).for_each(|group| group.add(outcome, late));
        for (by, groups) in &mut self.by {
            let value = value(*by, outcome);
            if let Some(group) = groups.get_mut(&*value) {
                group.add(outcome, late);
                continue;
            }
            let value = if groups.len() >= GROUPS_MAX { OTHERS.into() } else { value };
            groups.entry(value.into_owned()).or_default().add(outcome, late);
        }
        if outcome.is_unsupported {
            return;
        }
        self.supported.add(outcome, late);
        if let Some(count) = time_class(outcome, self.now_us).and_then(|class| self.times.get_mut(class)) {
            *count += 1;
        }
        if let Some(count) = rating_class(outcome).and_then(|class| self.ratings.get_mut(class)) {
            *count += 1;
        }
        self.add_factors(outcome, late);
    }

    fn add_factors(&mut self, outcome: &Outcome, late: Option<bool>) {
        let factors = &outcome.ticket.factors;
        let mut of_others: Option<i32> = None;
        for (place, factor) in factors.iter().enumerate() {
            let has_name = |other: &&crate::ticket::proto::Factor| other.name == factor.name;
            // A ticket counts once, whatever says a name twice.
            if factors.iter().take(place).any(|earlier| has_name(&earlier)) {
                continue;
            }
            let points =
                factors.iter().filter(has_name).fold(0_i32, |sum, other| sum.saturating_add(other.points));
            if let Some(sums) = self.factors.get_mut(&factor.name) {
                sums.add(points, outcome, late, self.now_us);
            } else if self.factors.len() < FACTORS_MAX {
                let sums = self.factors.entry(factor.name.clone()).or_default();
                sums.add(points, outcome, late, self.now_us);
            } else {
                of_others = Some(of_others.unwrap_or(0).saturating_add(points));
            }
        }
        if let Some(points) = of_others {
            let sums = self.factors.entry(OTHERS.to_owned()).or_default();
            sums.add(points, outcome, late, self.now_us);
        }
    }
}

fn value(by: By, outcome: &Outcome) -> Cow<'_, str> {
    // Somebody else's whom it was handed over to, unless one of our own has it all the same.
    let or_supplier = |ours: &'_ str| match outcome.supplier.as_str() {
        supplier if ours.is_empty() && !supplier.is_empty() => Some(format!("{supplier} (supplier)").into()),
        _ => None,
    };
    match by {
        By::Brand => outcome.ticket.brand.as_str().into(),
        By::Network => outcome.ticket.post.as_ref().map_or("", |post| &post.network).into(),
        By::Team => or_supplier(&outcome.team).unwrap_or(outcome.team.as_str().into()),
        By::Agent => or_supplier(&outcome.agent).unwrap_or(outcome.agent.as_str().into()),
        By::Intent => outcome.intent.as_str().into(),
        By::Time | By::Hour => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

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

    fn outcome(answered_s: Option<i64>) -> Outcome {
        let ticket = proto::Ticket { due_at_us: 3_600_000_000, ..proto::Ticket::default() };
        let first_answer_at_us = answered_s.map(|seconds| seconds * 1_000_000);
        Outcome { ticket, first_answer_at_us, is_awaited: true, ..Outcome::default() }
    }

    fn sums(by: &[By], now_s: i64) -> Sums {
        let periods =
            Periods::new(Timestamp::UNIX_EPOCH, Timestamp::from_second(now_s).unwrap(), TimeZone::UTC);
        Sums::new(by, periods, now_s * 1_000_000)
    }

    #[test]
    fn late_is_answered_after_due_or_due_and_not_answered() {
        let check = |now_s: i64, answered_s: Option<i64>, in_time: Option<f64>| {
            let mut sums = sums(&[], now_s);
            sums.add(&outcome(answered_s));
            assert_eq!(sums.all.in_time(), in_time, "{now_s} {answered_s:?}");
        };
        check(10_000, Some(3600), Some(1.0));
        check(10_000, Some(3601), Some(0.0));
        check(10_000, None, Some(0.0));
        check(3600, None, None);
    }

    #[test]
    fn who_waits_no_more_is_not_late() {
        let check = |outcome: Outcome, in_time: Option<f64>| {
            let mut sums = sums(&[], 10_000);
            sums.add(&outcome);
            assert_eq!(sums.all.in_time(), in_time, "{outcome:?}");
            assert_eq!(sums.times.iter().sum::<u64>(), u64::from(in_time.is_some()), "{outcome:?}");
        };
        let stopped = |at_s: i64| Outcome { stopped_at_us: Some(at_s * 1_000_000), ..outcome(None) };
        check(stopped(3600), None);
        check(stopped(3601), Some(0.0));
        check(Outcome { is_awaited: false, ..outcome(None) }, None);
        check(Outcome { is_awaited: false, ..outcome(Some(60)) }, Some(1.0));
    }

    #[test]
    fn what_is_no_customer_message_says_nothing_of_factors() {
        let mut sums = sums(&[], 10_000);
        let factors = vec![proto::Factor { name: "reach".into(), points: 5, ..proto::Factor::default() }];
        let mut one = outcome(Some(60));
        one.ticket.factors = factors;
        sums.add(&one);
        sums.add(&Outcome { is_unsupported: true, ..one });
        assert_eq!((sums.all.tickets, sums.factors["reach"].tickets), (2, 1));
        assert_eq!(sums.factors["reach"].late(&sums.supported), (Some(0.0), None), "without it is nobody");
    }

    #[test]
    fn what_was_handed_over_is_its_suppliers_unless_somebody_of_ours_has_it() {
        let mut sums = sums(&[By::Team, By::Agent], 10_000);
        for (team, agent, supplier) in
            [("", "", "Colis"), ("care", "", "Colis"), ("care", "ana", "Colis"), ("", "", "")]
        {
            let [team, agent, supplier] = [team, agent, supplier].map(str::to_owned);
            sums.add(&Outcome { team, agent, supplier, ..outcome(None) });
        }
        let of = |kind: usize| {
            let groups = sums.by[kind].1.iter().map(|(name, group)| (name.as_str(), group.tickets));
            groups.collect::<Vec<_>>()
        };
        assert_eq!(of(0), [("", 1), ("Colis (supplier)", 1), ("care", 2)]);
        assert_eq!(of(1), [("", 1), ("Colis (supplier)", 2), ("ana", 1)]);
    }

    #[test]
    fn what_is_solved_is_counted_with_how_long_it_took() {
        let mut sums = sums(&[], 10_000);
        assert_eq!((sums.all.solved, sums.all.solving_seconds(0.5)), (0, None));
        for solved_s in [Some(100), Some(1000), Some(9000), None] {
            let solved_at_us = solved_s.map(|seconds: i64| seconds * 1_000_000);
            sums.add(&Outcome { solved_at_us, ..outcome(Some(10)) });
        }
        let middle = sums.all.solving_seconds(0.5).unwrap();
        assert_eq!((sums.all.solved, sums.all.answered), (3, 4));
        assert!((940..=1000).contains(&middle), "{middle}");
        assert_eq!(sums.all.seconds(0.5), Some(10));
    }

    #[test]
    fn factors_beyond_the_limit_share_one() {
        let mut sums = sums(&[], 10_000);
        let factor = |name: String| proto::Factor { name, points: 5, ..proto::Factor::default() };
        let mut one = outcome(Some(60));
        for name in 0..FACTORS_MAX {
            one.ticket.factors = vec![factor(name.to_string())];
            sums.add(&one);
        }
        one.ticket.factors = vec![factor("a".into()), factor("0".into()), factor("b".into())];
        sums.add(&one);
        sums.add(&one);
        let tickets = |name: &str| sums.factors.get(name).map(|factor| factor.tickets);
        assert_eq!((tickets("0"), tickets("a"), tickets(OTHERS)), (Some(3), None, Some(2)));
    }

    #[test]
    fn nps_is_promoters_less_detractors_of_those_who_answered() {
        let check = |answers: &[u32], nps: Option<f64>| {
            let mut sums = sums(&[By::Brand], 10_000);
            answers.iter().for_each(|answer| {
                sums.add(&Outcome { recommendation: Some(*answer), ..outcome(None) });
            });
            sums.add(&outcome(None));
            assert_eq!((sums.all.recommended, sums.all.nps()), (answers.len() as u64, nps), "{answers:?}");
            assert_eq!(sums.by[0].1[""].nps(), nps);
        };
        check(&[], None);
        check(&[9, 10], Some(100.0));
        check(&[7, 8], Some(0.0));
        check(&[0, 6], Some(-100.0));
        check(&[10, 9, 8, 6], Some(25.0));
    }

    #[test]
    fn a_factor_that_foretells_is_told_from_one_that_does_not() {
        let mut sums = sums(&[By::Brand], 100_000);
        let mut dice = fastrand::Rng::with_seed(3);
        for _ in 0..600 {
            let (contacts, reach) = (dice.i32(0..5) * 20, dice.i32(0..5) * 20);
            // Each contact makes the answer later and the rating worse, beside much else; reach changes nothing.
            let mut outcome = outcome(Some(600 + i64::from(contacts) * 60 + dice.i64(0..7200)));
            outcome.satisfaction =
                Some((5 - contacts.unsigned_abs() / 40).saturating_sub(dice.u32(0..3)).max(1));
            let factor = |(name, points): (&str, i32)| proto::Factor {
                name: name.into(),
                points,
                ..Default::default()
            };
            let had = [("contacts", contacts), ("reach", reach), ("always", 10)];
            outcome.ticket.factors = had.into_iter().filter(|(_, points)| *points > 0).map(factor).collect();
            sums.add(&outcome);
        }
        let told = |name: &str| {
            let factor = &sums.factors[name];
            (factor.time(&sums.times), factor.rating(&sums.ratings))
        };
        let (Some(time), Some(rating)) = told("contacts") else { panic!("nothing said") };
        assert!(time.rho > 0.3 && time.is_telling() && time.tickets == 600, "{time:?}");
        assert!(rating.rho < -0.3 && rating.is_telling() && rating.tickets == 600, "{rating:?}");
        let (Some(time), Some(rating)) = told("reach") else { panic!("nothing said") };
        assert!(!time.is_telling() && !rating.is_telling(), "{time:?} {rating:?}");
        assert_eq!(told("always"), (None, None), "who has it always can foretell nothing");
        let (with, without) = sums.factors["contacts"].late(&sums.supported);
        assert!(with > without, "{with:?} {without:?}");
    }

    #[test]
    fn a_factor_that_a_ticket_has_twice_counts_once_with_both_points() {
        let mut sums = sums(&[], 10_000);
        let factor = |points| proto::Factor { name: "combined".into(), points, ..proto::Factor::default() };
        for points in 1..=60 {
            let mut outcome = outcome(Some(i64::from(points) * 600));
            outcome.ticket.factors = vec![factor(points), factor(points)];
            sums.add(&outcome);
        }
        assert_eq!(sums.factors["combined"].tickets, 60);
        assert!(sums.factors["combined"].time(&sums.times).unwrap().rho > 0.99);
    }
}
