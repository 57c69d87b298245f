//! How much a post matters: a dictionary of factors, each with its points and its evidence.
//!
//! The points of a head (sentiment, intent, urgency) are the expectation over its classes, Σ p·points:
//! a verdict of 0.51 against 0.49 then lies between its neighbours instead of jumping. The sum of all
//! factors is rounded, clamped to `0..=1000` and cut into P1 to P4. Who is in danger stands on a [floor](Floors) of their
//! own, above everybody else.
//!
//! One function, [`Factors::lines`], gives what `run` scores by, what `explain` shows and what
//! `priorities simulate` compares: they cannot disagree.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::classify::{INTENTS, SENTIMENTS, URGENCIES, Verdict};
use crate::desk::recorded::Recorded;
use crate::desk::sensitive::{self, Care};
use crate::desk::topic;
use crate::desk::when::{Facts, When};
use crate::parse::Network;
use crate::prefilter::Candidate;
use crate::ticket::proto;

mod curve;
mod customer;
mod danger;
mod line;
#[cfg(test)]
mod tests;

pub use curve::{Curve, Shape};
pub(crate) use customer::ago;
pub use customer::{Contacts, Purchase, Words};
pub use danger::{Floors, SQUEEZED};
pub(in crate::desk) use line::forgotten;
pub use line::{
    ERASED, FORGOTTEN, Group, Line, Score, cut, forget, is_floor, is_knowing, is_reserved, recorded_group,
    sum,
};

use customer::{STRANGER, limited, number, shown};
use line::{FACTORS, Tally};

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
    /// The post was already old when it reached us; by hours.
    pub age: Curve,
    /// The poster has posted again, and that joined the ticket.
    pub follow_ups: Repeated,
    /// The poster has an audience; by followers.
    pub reach: Curve,
    /// The network says that the poster is who they say they are.
    pub verified: i32,
    /// By the customer's tier.
    pub tier: Words,
    /// By the customer's flags.
    pub flag: Words,
    /// By what the customer is worth, in the company's unit.
    pub value: Curve,
    /// The customer has bought something not long ago.
    pub purchase: Purchase,
    /// The customer has been in touch on other channels.
    pub contacts: Contacts,
    /// By the sensitive topics that the text touches.
    pub sensitive: Words,
    /// Points for what counts only together.
    pub combinations: Vec<Combination>,
    /// Limits of groups of factors.
    pub caps: Caps,
    /// The least priorities of posts that touch certain topics.
    pub floors: Floors,
}

/// Points for a post of which all of this holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// What the ticket calls it; not [reserved](is_reserved).
    pub name: String,
    /// When it counts.
    when: When,
    /// That in words: tickets repeat it, and a condition is put into words once.
    shown: String,
    /// How much.
    pub points: i32,
}

impl Combination {
    /// Points for a post of which `when` holds.
    pub fn new(name: String, when: When, points: i32) -> Combination {
        Combination { name, shown: when.to_string(), when, points }
    }

    /// When it counts.
    pub fn when(&self) -> &When {
        &self.when
    }
}

/// Points for each time that something happens again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// Each time.
    pub points: i32,
    /// It gives or takes no more than this.
    pub cap: i32,
}

impl Repeated {
    /// Points for so many times.
    pub fn times(self, times: u32) -> i32 {
        limited(i64::from(times) * i64::from(self.points), self.cap)
    }
}

/// The factor of posts that have joined a ticket.
pub(super) const FOLLOW_UPS: &str = "follow_ups";

/// Why it gives points.
pub(super) fn posted_again(times: u32) -> String {
    match times {
        0 => "has not posted again".to_owned(),
        1 => "posted again".to_owned(),
        times => format!("posted again {times} times"),
    }
}

/// The most that the factors of a group give or take together; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps([Option<i32>; Group::ALL.len()]);

impl Caps {
    /// The limit of this group.
    pub fn of(&self, group: Group) -> Option<i32> {
        self.0.get(group as usize).copied().flatten()
    }

    /// With this group limited to `-cap..=cap`; not negative.
    #[must_use]
    pub fn with(mut self, group: Group, cap: i32) -> Caps {
        self.set(group, cap);
        self
    }

    /// Limits this group to `-cap..=cap`; not negative.
    pub fn set(&mut self, group: Group, cap: i32) {
        if let Some(place) = self.0.get_mut(group as usize) {
            *place = Some(cap);
        }
    }
}

impl Default for Factors {
    fn default() -> Factors {
        let word = |word: &(&str, i32)| (word.0.to_owned(), word.1);
        let none = Words { points: BTreeMap::new(), cap: PRIORITY_MAX.into() };
        Factors {
            sentiment: [150, 0, -40],
            //       churn problem help feature question complaint praise other
            intent: [200, 200, 150, 40, 100, 140, 0, 0],
            urgency: [0, 120, 270],
            addressed: 80,
            age: Curve::linear(25.0, 100),
            follow_ups: Repeated { points: 40, cap: 120 },
            reach: Curve::logarithmic(150, 1_000_000.0),
            // Some networks sell the mark.
            verified: 0,
            // Only the company knows its own words.
            tier: none.clone(),
            flag: none,
            // The unit is the company's: a logarithm is right within a third whether it counts in francs or euros.
            value: Curve::logarithmic(80, 100_000.0),
            purchase: Purchase {
                within_days: 14,
                points: 50,
                amount: Curve::steps(&[(100.0, 20), (1_000.0, 60), (5_000.0, 120)]),
                cap: 200,
            },
            contacts: Contacts {
                window_hours: 72,
                channels: [
                    ("phone", 40),
                    ("mail", 30),
                    ("chat", 30),
                    ("shop", 30),
                    ("visit", 30),
                    ("post", 30),
                ]
                .iter()
                .map(word)
                .collect(),
                other: 30,
                half_life_hours: 0,
                count: Curve::steps(&[]),
                // A customer who has tried everything goes before a confident plain complaint.
                cap: 250,
            },
            sensitive: Words {
                points: sensitive::BUILTIN.iter().map(|topic| word(&(topic.name, topic.points))).collect(),
                cap: 900,
            },
            combinations: Vec::new(),
            // A good customer's joke is no emergency, even if they have called about something.
            caps: Caps::default().with(Group::Customer, 260),
            floors: Floors::default(),
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

/// Up to this probability of a positive text nothing is taken from what is a question of [mood](Care::Mood).
const HAPPY_FROM: f64 = 0.1;
/// From this probability of a positive text on, danger that is a question of [mood](Care::Mood) is none.
const HAPPY_MIN: f32 = 0.8;
/// What sensitive words give at most where the model is sure that a post that is not addressed to us is no customer message.
const NOISE_MAX: i64 = 120;

/// Largest priority.
pub const PRIORITY_MAX: u16 = 1000;

impl Factors {
    /// Scores one candidate.
    pub fn score(&self, facts: &Facts<'_>) -> Score {
        Score::of(self.lines(facts, false))
    }

    /// What each factor gives; with `all` also those that give nothing, each with its reason.
    pub fn lines(&self, facts: &Facts<'_>, all: bool) -> Vec<Line> {
        let mut tally = Tally::new(&self.caps, &self.floors, all);
        self.of_verdict(&mut tally, facts.verdict);
        self.of_post(&mut tally, facts);
        self.of_customer(&mut tally, facts);
        self.of_words(&mut tally, facts);
        self.of_combinations(&mut tally, facts);
        tally.finish()
    }

    /// Scores a ticket again whose verdict has changed: what the verdict has no part in stays as it was. `topics` are those
    /// that conditions ask for, `sensitive` those whose words its text is read for; `is_noise` as in [`Facts`].
    pub fn rescore(
        &self,
        ticket: &proto::Ticket,
        verdict: &Verdict,
        topics: &topic::Words,
        sensitive: &sensitive::Topics,
        is_noise: bool,
    ) -> Score {
        let mut tally = Tally::new(&self.caps, &self.floors, false);
        self.of_verdict(&mut tally, verdict);
        let is_kept = |group| !matches!(group, Group::Verdict | Group::Sensitive);
        for (name, group) in FACTORS.into_iter().filter(|(_, group)| is_kept(*group)) {
            for kept in ticket.factors.iter().filter(|factor| factor.name == name) {
                tally.give(group, name, kept.points, kept.points, || kept.evidence.clone());
            }
        }
        let forgotten = forgotten(&ticket.factors);
        tally.keep_forgotten(forgotten);
        if !(self.combinations.is_empty() && ticket.sensitive.is_empty()) {
            let recorded = Recorded::of(ticket, topics);
            let (_, words) = sensitive.read(&recorded.candidate.post.text);
            let facts = Facts { verdict, sensitive_words: &words, is_noise, ..recorded.facts() };
            self.of_words(&mut tally, &facts);
            // Theirs are in what is forgotten.
            if forgotten == 0 {
                self.of_combinations(&mut tally, &facts);
            }
        }
        Score::of(tally.finish())
    }

    /// The score of a ticket of which these factors are erased: what they gave they keep, for it cannot be asked again, as
    /// long as this dictionary knows them.
    pub fn with_erased(&self, score: Score, erased: &[proto::Factor]) -> Score {
        let knows = |factor: &&proto::Factor| {
            is_reserved(&factor.name) || self.combinations.iter().any(|one| one.name == factor.name)
        };
        let kept: Vec<_> = erased.iter().filter(knows).cloned().collect();
        if kept.is_empty() {
            return score;
        }
        // What combinations gave is in what is forgotten.
        let is_kept = |factor: &proto::Factor| {
            kept.iter().any(|one| one.name == factor.name)
                || forgotten(&kept) != 0 && recorded_group(&factor.name) == Some(Group::Combinations)
        };
        let rest = score.factors.into_iter().filter(|factor| !is_kept(factor));
        Score::of_recorded(rest.chain(kept.clone()).collect::<Vec<_>>(), &self.caps, &self.floors)
    }

    fn of_verdict(&self, tally: &mut Tally<'_>, verdict: &Verdict) {
        let mut head = |name: &'static str, labels: &[&str], probabilities: &[f32], points: &[i32]| {
            let (expected, cause, best) = expected(labels, probabilities, points);
            let most = points.iter().copied().max_by_key(|points| points.unsigned_abs()).unwrap_or(0);
            tally.give(Group::Verdict, name, expected, most, || match cause {
                // What is likeliest may have given nothing, or taken.
                Some(cause) => {
                    format!("{} {:.2}; likeliest is {} {:.2}", cause.0, cause.1, best.0, best.1)
                }
                None => format!("{} {:.2}", best.0, best.1),
            });
        };
        head("urgency", &URGENCIES, &verdict.urgency, &self.urgency);
        head("intent", &INTENTS, &verdict.intent, &self.intent);
        head("sentiment", &SENTIMENTS, &verdict.sentiment, &self.sentiment);
    }

    fn of_post(&self, tally: &mut Tally<'_>, facts: &Facts<'_>) {
        let Facts { candidate, follow_ups, now, .. } = *facts;
        let points = if candidate.addressed { self.addressed } else { 0 };
        tally.give(Group::Post, "addressed", points, self.addressed, || {
            let names = if candidate.addressed { "one" } else { "none" };
            format!("names {names} of our handles")
        });
        let age_s = age_s(candidate, now);
        let points = age_s.map_or(0, |age_s| self.age.points(age_s as f64 / 3600.0));
        tally.give(Group::Post, "age", points, self.age.most(), || match age_s {
            Some(age_s) => format!("posted {} min before we saw it", age_s / 60),
            None if candidate.post.time_unread => "the post's time cannot be read".to_owned(),
            None if candidate.post.written_at.is_none() => "the post says no time".to_owned(),
            None => "only the author's clock says when it was posted".to_owned(),
        });
        let Repeated { points, cap } = self.follow_ups;
        let most = if points < 0 { -cap } else { cap };
        let again = self.follow_ups.times(follow_ups);
        tally.give(Group::Post, FOLLOW_UPS, again, most, || posted_again(follow_ups));
        let author = &candidate.post.author;
        let points = author.followers.map_or(0, |followers| self.reach.points(followers as f64));
        tally.give(Group::Author, "reach", points, self.reach.most(), || match author.followers {
            Some(followers) => format!("{followers} followers"),
            None => "the network does not say how many follow".to_owned(),
        });
        let points = if author.verified { self.verified } else { 0 };
        tally.give(Group::Author, "verified", points, self.verified, || {
            format!("{}verified by the network", if author.verified { "" } else { "not " })
        });
    }

    fn of_customer(&self, tally: &mut Tally<'_>, facts: &Facts<'_>) {
        let Facts { person, now, .. } = *facts;
        let customer = person.customer.as_deref();
        let points = customer.map_or(0, |customer| self.tier.of(&customer.tier));
        tally.give(Group::Customer, "tier", points, self.tier.most(), || match customer {
            None => STRANGER.to_owned(),
            Some(customer) if customer.tier.is_empty() => "a customer without a tier".to_owned(),
            Some(customer) => format!("{} customer", shown(&customer.tier)),
        });
        let points = customer.map_or(0, |customer| self.flag.of_all(&customer.flags));
        tally.give(Group::Customer, "flag", points, self.flag.most_of_all(), || match customer {
            None => STRANGER.to_owned(),
            Some(customer) => {
                let counting = customer.flags.iter().filter(|flag| self.flag.get(flag) != 0);
                let flags: Vec<_> = counting.map(|flag| shown(flag)).collect();
                if flags.is_empty() { "no flag that counts".to_owned() } else { flags.join(", ") }
            }
        });
        let value = customer.and_then(|customer| customer.value);
        let points = value.map_or(0, |value| self.value.points(value));
        tally.give(Group::Customer, "value", points, self.value.most(), || match (customer, value) {
            (None, _) => STRANGER.to_owned(),
            (_, None) => "not known".to_owned(),
            (_, Some(value)) => format!("worth {}", number(value)),
        });
        let (points, evidence) = self.purchase.score(person, now);
        tally.give(Group::Customer, "purchase", points, self.purchase.most(), evidence);
        let (points, evidence) = self.contacts.score(person, now);
        tally.give(Group::Contacts, "contacts", points, self.contacts.most(), evidence);
    }

    fn of_words(&self, tally: &mut Tally<'_>, facts: &Facts<'_>) {
        let positive = facts.verdict.sentiment[SENTIMENTS.len() - 1];
        let (mut surely, mut perhaps, mut is_happy) = (0, 0, false);
        for topic in facts.sensitive {
            let points = f64::from(self.sensitive.get(topic));
            let care = Care::of(topic);
            let share = if care == Care::Mood { share_of_mood(positive) } else { 1.0 };
            // A thousand points at most.
            let given = (points * share).round() as i64;
            is_happy |= given as f64 != points;
            match care {
                Care::Always => surely += given,
                Care::Message | Care::Mood => perhaps += given,
            }
            let is_doubted = facts.is_noise || care == Care::Mood && positive >= HAPPY_MIN;
            if !is_doubted {
                tally.raise(topic);
            }
        }
        let is_noise = facts.is_noise && perhaps > NOISE_MAX;
        let points = limited(surely + if is_noise { NOISE_MAX } else { perhaps }, self.sensitive.cap);
        tally.give(Group::Sensitive, "sensitive", points, self.sensitive.most_of_all(), || {
            if facts.sensitive.is_empty() {
                return "no sensitive word".to_owned();
            }
            let topics = facts.sensitive.iter().map(|topic| {
                let words = facts.sensitive_words.iter().filter(|hit| *hit.topic == **topic);
                let words: Vec<_> = words.map(|hit| hit.phrase.as_ref()).collect();
                if words.is_empty() { topic.clone() } else { format!("{topic}: {}", words.join(", ")) }
            });
            let mut said = topics.collect::<Vec<_>>().join("; ");
            if is_happy {
                said.push_str(&format!("; counts less: positive {positive:.2}"));
            }
            if is_noise {
                said.push_str("; counts little: no customer message, says the model");
            }
            said
        });
    }

    fn of_combinations(&self, tally: &mut Tally<'_>, facts: &Facts<'_>) {
        for Combination { name, when, shown, points } in &self.combinations {
            let holds = when.holds(facts);
            if !holds && !tally.wants_all() {
                continue;
            }
            tally.give(Group::Combinations, name.clone(), if holds { *points } else { 0 }, *points, || {
                if holds { shown.clone() } else { format!("not all of: {shown}") }
            });
        }
    }
}

/// How much of the points of a topic counts where the text is that surely positive: none at 1.
fn share_of_mood(positive: f32) -> f64 {
    ((1.0 - f64::from(positive)) / (1.0 - HAPPY_FROM)).clamp(0.0, 1.0)
}

/// A class and its probability.
type Class<'l> = (&'l str, f32);

/// Expected points over the classes; the class that gave most of them, unless the most probable one gave half; and that.
fn expected<'l>(
    labels: &[&'l str],
    probabilities: &[f32],
    points: &[i32],
) -> (i32, Option<Class<'l>>, Class<'l>) {
    let mut sum = 0.0;
    let (mut best, mut of_best) = (("", 0.0), 0.0);
    let (mut greatest, mut least) = ((0.0, ("", 0.0)), (0.0, ("", 0.0)));
    for ((label, &probability), &class_points) in labels.iter().zip(probabilities).zip(points) {
        let given = f64::from(probability) * f64::from(class_points);
        sum += given;
        if probability > best.1 {
            (best, of_best) = ((*label, probability), given);
        }
        if given > greatest.0 {
            greatest = (given, (*label, probability));
        }
        if given < least.0 {
            least = (given, (*label, probability));
        }
    }
    // Probabilities sum to 1 and points lie within ±1000: the cast cannot saturate.
    let expected = sum.round() as i32;
    let (_, cause) = if sum > 0.0 { greatest } else { least };
    let is_told_by_best = expected == 0 || 2.0 * of_best * sum.signum() >= sum.abs();
    (expected, (!is_told_by_best).then_some(cause), best)
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
