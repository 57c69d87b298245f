//! How much a post matters: a dictionary of factors, each with its points and its evidence.
//!
//! The points of a head (sentiment, intent, urgency) are the expectation over its classes, Σ p·points:
//! a verdict of 0.51 against 0.49 then lies between its neighbours instead of jumping. The sum of all
//! factors is rounded, clamped to `0..=1000` and cut into P1 to P4.

use jiff::Timestamp;

use crate::classify::{INTENTS, SENTIMENTS, URGENCIES, Verdict};
use crate::desk::when::{Facts, When};
use crate::parse::Network;
use crate::prefilter::Candidate;
use crate::ticket::proto;

/// Points for each factor; any may be negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// By class, in the order of [`SENTIMENTS`].
    pub sentiment: [i32; SENTIMENTS.len()],
    /// By class, in the order of [`INTENTS`].
    pub intent: [i32; INTENTS.len()],
    /// By class, in the order of [`URGENCIES`].
    pub urgency: [i32; URGENCIES.len()],
    /// The poster named one of our handles: they wait for us.
    pub addressed: i32,
    /// The poster has an audience.
    pub reach: Reach,
    /// The post was already old when it reached us.
    pub age: Age,
    /// The poster has written before, and waits.
    pub follow_ups: FollowUps,
    /// Points for what counts only together.
    pub combinations: Vec<Combination>,
}

/// Points for each further post of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowUps {
    /// Points for each.
    pub points: i32,
    /// Never more than this; where `points` are negative, never less.
    pub points_max: i32,
}

/// Points for a post of which all of this holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// What the ticket calls it.
    pub name: String,
    /// When it counts.
    pub when: When,
    /// How much.
    pub points: i32,
}

/// Points that grow with the logarithm of the author's followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Points at `followers_max` and beyond.
    pub points_max: i32,
    /// Where the curve ends; at least 10.
    pub followers_max: u64,
}

/// Points that grow with the time between posting and seeing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Points for each hour.
    pub points_per_hour: i32,
    /// Never more than this.
    pub points_max: i32,
}

impl Default for Factors {
    fn default() -> Factors {
        Factors {
            sentiment: [150, 0, -40],
            //       churn problem help feature question complaint praise other
            intent: [200, 200, 150, 40, 100, 140, 0, 0],
            urgency: [0, 120, 300],
            addressed: 80,
            reach: Reach { points_max: 150, followers_max: 1_000_000 },
            age: Age { points_per_hour: 25, points_max: 100 },
            follow_ups: FollowUps { points: 40, points_max: 120 },
            combinations: Vec::new(),
        }
    }
}

/// Least priority of P1, P2 and P3, each at most the one before; the rest is P4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Drop what you are doing.
    pub p1_min: u16,
    /// Next.
    pub p2_min: u16,
    /// Today.
    pub p3_min: u16,
}

impl Default for Levels {
    fn default() -> Levels {
        // A confident urgent problem (negative, addressed) is P1; the same without urgency P2; a neutral
        // question to us P3; praise P4.
        Levels { p1_min: 600, p2_min: 430, p3_min: 250 }
    }
}

impl Levels {
    /// The level of this priority.
    pub fn level(&self, priority: u16) -> proto::Level {
        match priority {
            p if p >= self.p1_min => proto::Level::P1,
            p if p >= self.p2_min => proto::Level::P2,
            p if p >= self.p3_min => proto::Level::P3,
            _ => proto::Level::P4,
        }
    }
}

/// Largest priority.
pub const PRIORITY_MAX: u16 = 1000;

/// A priority with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// `0..=1000`.
    pub priority: u16,
    /// What gave points, in the order of the dictionary; factors that gave none are left out.
    pub factors: Vec<proto::Factor>,
}

impl Factors {
    /// Scores one candidate.
    pub fn score(&self, facts: &Facts<'_>) -> Score {
        let Facts { candidate, verdict, now, .. } = *facts;
        let mut factors = self.of_verdict(verdict);
        let mut give = |name: &str, points, evidence| give(&mut factors, name, points, evidence);
        if candidate.addressed {
            give("addressed", self.addressed, "names one of our handles".to_owned());
        }
        if let Some(followers) = candidate.post.author.followers {
            give("reach", self.reach.points(followers), format!("{followers} followers"));
        }
        if let Some(age_s) = age_s(candidate, now) {
            give("age", self.age.points(age_s), format!("posted {} min before we saw it", age_s / 60));
        }
        for combination in &self.combinations {
            if combination.when.holds(facts) {
                give(&combination.name, combination.points, "all of its conditions hold".to_owned());
            }
        }
        Score::of(factors)
    }

    /// Scores a ticket again whose verdict has changed: what the verdict has no part in stays as it was.
    pub fn rescore(&self, factors: &[proto::Factor], verdict: &Verdict) -> Score {
        let kept = factors.iter().filter(|factor| !is_of_verdict(factor));
        Score::of(self.of_verdict(verdict).into_iter().chain(kept.cloned()).collect())
    }

    /// What a verdict gives, in the order of the dictionary.
    pub fn of_verdict(&self, verdict: &Verdict) -> Vec<proto::Factor> {
        let mut factors = Vec::with_capacity(6);
        let [urgency, intent, sentiment] = VERDICT_FACTORS;
        let (points, evidence) = expected(&URGENCIES, &verdict.urgency, &self.urgency);
        give(&mut factors, urgency, points, evidence);
        let (points, evidence) = expected(&INTENTS, &verdict.intent, &self.intent);
        give(&mut factors, intent, points, evidence);
        let (points, evidence) = expected(&SENTIMENTS, &verdict.sentiment, &self.sentiment);
        give(&mut factors, sentiment, points, evidence);
        factors
    }
}

/// The factors that a verdict gives, in the order of the dictionary.
const VERDICT_FACTORS: [&str; 3] = ["urgency", "intent", "sentiment"];

/// Whether a verdict gave this factor.
pub fn is_of_verdict(factor: &proto::Factor) -> bool {
    VERDICT_FACTORS.contains(&factor.name.as_str())
}

/// Notes a factor, unless it gives no points.
fn give(factors: &mut Vec<proto::Factor>, name: &str, points: i32, evidence: String) {
    if points != 0 {
        factors.push(proto::Factor { name: name.to_owned(), points, evidence });
    }
}

impl Score {
    /// The clamped sum of these factors.
    pub(super) fn of(factors: Vec<proto::Factor>) -> Score {
        // Points are bounded by config to ±1000 each, so that six of them cannot overflow.
        let sum: i32 = factors.iter().map(|factor| factor.points).sum();
        let priority = u16::try_from(sum.max(0)).unwrap_or(PRIORITY_MAX).min(PRIORITY_MAX);
        Score { priority, factors }
    }
}

/// Expected points over the classes, and the most probable class as evidence.
fn expected(labels: &[&str], probabilities: &[f32], points: &[i32]) -> (i32, String) {
    let mut sum = 0.0;
    let mut best = ("", 0.0);
    for ((label, &probability), &class_points) in labels.iter().zip(probabilities).zip(points) {
        sum += f64::from(probability) * f64::from(class_points);
        if probability > best.1 {
            best = (label, probability);
        }
    }
    // Probabilities sum to 1 and points lie within ±1000: the cast cannot saturate.
    (sum.round() as i32, format!("{} {:.2}", best.0, best.1))
}

impl FollowUps {
    /// Points for so many further posts.
    pub fn points(self, posts: u32) -> i32 {
        let points = self.points.saturating_mul(i32::try_from(posts).unwrap_or(i32::MAX));
        if self.points >= 0 { points.min(self.points_max) } else { points.max(self.points_max) }
    }
}

impl Reach {
    fn points(&self, followers: u64) -> i32 {
        // log10(1 + followers): 0 at none, a third of the points at 100 of a million, all at a million.
        let share = (1.0 + followers as f64).ln() / (1.0 + self.followers_max as f64).ln();
        (share.min(1.0) * f64::from(self.points_max)).round() as i32
    }
}

impl Age {
    fn points(&self, age_s: i64) -> i32 {
        let points = (age_s as f64 / 3600.0 * f64::from(self.points_per_hour)).round();
        if self.points_per_hour >= 0 {
            points.min(f64::from(self.points_max)) as i32
        } else {
            points.max(f64::from(self.points_max)) as i32
        }
    }
}

/// Seconds from posting to `now`; `None` where only the author's own clock says when it was posted.
fn age_s(candidate: &Candidate, now: Timestamp) -> Option<i64> {
    let post = &candidate.post;
    let posted_at = match post.network {
        // X and Mastodon stamp `created_at` on their servers.
        Network::X | Network::Mastodon | Network::Facebook => post.seen_at.or(post.written_at),
        Network::Bluesky | Network::Plain => post.seen_at,
    }?;
    Some((now.as_second() - posted_at.as_second()).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Language;
    use crate::desk::person::Person;
    use crate::parse::{Author, Post};

    fn post(network: Network) -> Post<'static> {
        Post::new(network, "1".into(), Author::default(), "text".into())
    }

    fn candidate(change: impl FnOnce(&mut Candidate)) -> Candidate {
        let mut candidate = Candidate {
            post: post(Network::X),
            brand: "Lumio".into(),
            hits: Vec::new(),
            addressed: false,
            value: 1,
        };
        change(&mut candidate);
        candidate
    }

    const CALM: Verdict = Verdict {
        sentiment: [0.0, 1.0, 0.0],
        intent: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        urgency: [1.0, 0.0, 0.0],
        language: Language::UNCLEAR,
    };
    const GRAVE: Verdict = Verdict {
        sentiment: [1.0, 0.0, 0.0],
        intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        urgency: [0.0, 0.0, 1.0],
        language: Language::UNCLEAR,
    };

    fn score(factors: &Factors, candidate: &Candidate, verdict: &Verdict, now: Timestamp) -> Score {
        let person = Person::default();
        factors.score(&Facts { candidate, verdict, person: &person, sensitive: &[], priority: 0, now })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn check(candidate: &Candidate, verdict: &Verdict, expected: &[(&str, i32)]) {
        let score = score(&Factors::default(), candidate, verdict, at(10_000));
        let given: Vec<_> =
            score.factors.iter().map(|factor| (factor.name.as_str(), factor.points)).collect();
        assert_eq!(given, expected);
        let sum: i32 = expected.iter().map(|(_, points)| points).sum();
        assert_eq!(i32::from(score.priority), sum.clamp(0, 1000));
    }

    #[test]
    fn each_factor_gives_its_points_and_none_is_left_out() {
        check(&candidate(|_| ()), &CALM, &[]);
        check(&candidate(|_| ()), &GRAVE, &[("urgency", 300), ("intent", 200), ("sentiment", 150)]);
        check(&candidate(|c| c.addressed = true), &CALM, &[("addressed", 80)]);
        check(&candidate(|c| c.post.author.followers = Some(0)), &CALM, &[]);
        check(&candidate(|c| c.post.author.followers = Some(1_000_000)), &CALM, &[("reach", 150)]);
        check(&candidate(|c| c.post.author.followers = Some(u64::MAX)), &CALM, &[("reach", 150)]);
        check(&candidate(|c| c.post.author.followers = Some(999)), &CALM, &[("reach", 75)]);
        check(&candidate(|c| c.post.seen_at = Some(at(10_000 - 7_200))), &CALM, &[("age", 50)]);
        check(&candidate(|c| c.post.seen_at = Some(at(0))), &CALM, &[("age", 69)]);
        check(&candidate(|c| c.post.seen_at = Some(at(20_000))), &CALM, &[]);
    }

    #[test]
    fn a_clock_of_the_author_never_counts() {
        let old = |network| candidate(|c| (c.post.network, c.post.written_at) = (network, Some(at(0))));
        check(&old(Network::X), &CALM, &[("age", 69)]);
        check(&old(Network::Bluesky), &CALM, &[]);
        check(&old(Network::Plain), &CALM, &[]);
    }

    #[test]
    fn a_head_counts_its_expected_points_and_shows_its_likeliest_class() {
        let verdict = Verdict { sentiment: [0.5, 0.25, 0.25], ..CALM };
        let score = score(&Factors::default(), &candidate(|_| ()), &verdict, at(0));
        let [factor] = &score.factors[..] else { panic!("{score:?}") };
        assert_eq!((factor.points, factor.evidence.as_str()), (65, "negative 0.50"));
    }

    #[test]
    fn the_sum_is_cut_to_its_range() {
        for (addressed, priority) in [(1000, 1000), (-1000, 0)] {
            let factors = Factors { addressed, ..Factors::default() };
            let score = score(&factors, &candidate(|c| c.addressed = true), &GRAVE, at(0));
            assert_eq!(score.priority, priority);
        }
    }

    #[test]
    fn levels_begin_at_their_least_priority() {
        let levels = Levels::default();
        for (priority, level) in [
            (1000, proto::Level::P1),
            (600, proto::Level::P1),
            (599, proto::Level::P2),
            (430, proto::Level::P2),
            (429, proto::Level::P3),
            (250, proto::Level::P3),
            (249, proto::Level::P4),
            (0, proto::Level::P4),
        ] {
            assert_eq!(levels.level(priority), level, "{priority}");
        }
    }
}
