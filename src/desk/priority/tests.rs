//! What each factor gives, and that everything that speaks of points says the same.

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
        also_named: Vec::new(),
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
    factors.score(&Facts::new(candidate, verdict, &person, now))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn check(candidate: &Candidate, verdict: &Verdict, expected: &[(&str, i32)]) {
    let score = score(&Factors::default(), candidate, verdict, at(10_000));
    let given: Vec<_> = score.factors.iter().map(|factor| (factor.name.as_str(), factor.points)).collect();
    assert_eq!(given, expected);
    let sum: i32 = expected.iter().map(|(_, points)| points).sum();
    assert_eq!(i32::from(score.priority), sum.clamp(0, 1000));
}

#[test]
fn each_factor_gives_its_points_and_none_is_left_out() {
    check(&candidate(|_| ()), &CALM, &[]);
    check(&candidate(|_| ()), &GRAVE, &[("urgency", 270), ("intent", 200), ("sentiment", 150)]);
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
    // Points against a complaint never stand beside "positive", nor the other way round.
    let of = |sentiment| {
        let verdict = Verdict { sentiment, ..CALM };
        let factors = self::score(&Factors::default(), &candidate(|_| ()), &verdict, at(0)).factors;
        factors.first().map(|factor| (factor.points, factor.evidence.clone()))
    };
    assert_eq!(of([0.32, 0.32, 0.36]), Some((34, "negative 0.32; likeliest is positive 0.36".to_owned())));
    assert_eq!(of([0.3, 0.7, 0.0]), Some((45, "negative 0.30; likeliest is neutral 0.70".to_owned())));
    assert_eq!(of([0.0, 0.6, 0.4]), Some((-16, "positive 0.40; likeliest is neutral 0.60".to_owned())));
    assert_eq!(of([0.0, 0.1, 0.9]), Some((-36, "positive 0.90".to_owned())));
}

#[test]
fn the_sum_is_cut_to_its_range() {
    for (addressed, priority) in [(1000, 1000), (-1000, 0)] {
        let factors = Factors { addressed, floors: Floors::new([]), ..Factors::default() };
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

mod danger;
mod random;

use std::sync::Arc;

use crate::desk::person::{self, Customer, Touchpoint};
use crate::desk::{BrandPriority, Config, Recorded};

fn lines(factors: &Factors, facts: &Facts<'_>) -> Vec<(String, i32, String)> {
    let lines = factors.lines(facts, false).into_iter();
    lines.map(|line| (line.name.into_owned(), line.points, line.evidence)).collect()
}

fn customer(change: impl FnOnce(&mut Customer)) -> Person {
    let mut customer = Customer { key: "1".into(), ..Customer::default() };
    change(&mut customer);
    Person { customer: Some(Arc::new(customer)), touchpoints: Vec::new() }
}

fn words(points: &[(&str, i32)]) -> Words {
    Words { points: points.iter().map(|(word, points)| ((*word).into(), *points)).collect(), cap: 1000 }
}

#[test]
fn what_the_company_knows_gives_points_and_reasons() {
    let factors = Factors {
        tier: words(&[("gold", 120)]),
        flag: words(&[("press", 60), ("staff", -100)]),
        verified: 15,
        ..Factors::default()
    };
    let person = customer(|customer| {
        customer.tier = "Gold".into();
        customer.flags = vec!["press".into(), "blue eyes".into()];
        customer.value = Some(999.0);
    });
    let candidate = candidate(|candidate| candidate.post.author.verified = true);
    let facts = Facts { follow_ups: 4, ..Facts::new(&candidate, &CALM, &person, at(0)) };
    let said = lines(&factors, &facts);
    let expected = [
        ("follow_ups", 120, "posted again 4 times"),
        ("verified", 15, "verified by the network"),
        ("tier", 120, "Gold customer"),
        ("flag", 60, "press"),
        ("value", 48, "worth 999"),
    ];
    let expected = expected.map(|(name, points, said)| (name.to_owned(), points, said.to_owned()));
    assert_eq!(said, expected);
}

#[test]
fn each_further_post_raises_a_ticket_up_to_a_limit() {
    let config = Config::default();
    let candidate = candidate(|candidate| candidate.addressed = true);
    let priority = |follow_ups| {
        let person = Person::default();
        config.score_follow_up(&candidate, &CALM, &person, follow_ups, at(0)).0.priority
    };
    assert_eq!([0, 1, 2, 3, 4, u32::MAX].map(priority), [80, 120, 160, 200, 200, 200]);
}

#[test]
fn sensitive_topics_give_points_and_name_their_words() {
    let config = Config::default();
    let read = |text: &str| {
        let (topics, words) = config.sensitive.read(text);
        let (candidate, person) = (candidate(|_| ()), Person::default());
        let facts = Facts {
            sensitive: &topics,
            sensitive_words: &words,
            ..Facts::new(&candidate, &CALM, &person, at(0))
        };
        lines(&config.factors, &facts)
    };
    let floor = |points| {
        ("floor of safety".to_owned(), points, "safety has 900 to 949: +0 beside it says where".to_owned())
    };
    let one = [("sensitive".to_owned(), 800, "safety: caught fire, burned my hand".to_owned()), floor(100)];
    assert_eq!(read("it caught fire and burned my hand"), one);
    // A ticket keeps the floor, even where it adds nothing.
    let two = [("sensitive".to_owned(), 900, "safety: caught fire; legal: lawyer".to_owned()), floor(0)];
    assert_eq!(read("it caught fire, says my lawyer"), two);
    assert_eq!(read("suicide, fire hazard, lawyer")[0].1, 900, "all topics together have a limit");
}

#[test]
fn a_group_gives_no_more_than_its_cap_and_the_line_says_so() {
    let mut factors = Factors::default();
    factors.caps.set(Group::Verdict, 500);
    let candidate = candidate(|_| ());
    let person = Person::default();
    let facts = Facts::new(&candidate, &GRAVE, &person, at(0));
    let given = lines(&factors, &facts);
    let cap = ("cap of verdict".to_owned(), -120, "+620 of verdict: no more than +500 counts".to_owned());
    assert_eq!(given.last(), Some(&cap));
    assert_eq!(factors.score(&facts).priority, 500);
    factors.sentiment = [-1000; 3];
    factors.intent = [-1000; 8];
    let given = lines(&factors, &facts);
    assert_eq!(given.last().map(|(_, points, _)| *points), Some(1_230), "neither does it take more");
}

#[test]
fn no_sum_overflows() {
    let combination = |number| {
        let when = When { answers: vec![(crate::desk::when::Question::Customer, false)], ..When::default() };
        Combination::new(format!("combination {number}"), when, i32::MAX)
    };
    let factors = Factors {
        addressed: i32::MAX,
        combinations: (0..100).map(combination).collect(),
        ..Factors::default()
    };
    let candidate = candidate(|candidate| candidate.addressed = true);
    let score = score(&factors, &candidate, &GRAVE, at(0));
    assert_eq!(score.priority, 1000);
}

#[test]
fn a_brand_has_its_own_points_and_thresholds() {
    let mut config = Config::default();
    let own = BrandPriority {
        factors: Factors { addressed: 7, ..Factors::default() },
        levels: Levels { p3_min: 5, ..Levels::default() },
    };
    config.brands.insert("Lumio".into(), own);
    let priority = |brand: &str| {
        let candidate = candidate(|candidate| (candidate.addressed, candidate.brand) = (true, brand.into()));
        let ticket = config.ticket(&candidate, &CALM, &Person::default(), "model 1", at(0));
        (ticket.priority, ticket.level())
    };
    assert_eq!(priority("Lumio"), (7, proto::Level::P3));
    assert_eq!(priority("Another"), (80, proto::Level::P4));
}

/// The first paragraph of what the desk is for, with nothing configured.
#[test]
fn who_has_tried_everything_goes_before_a_joke_and_a_plain_complaint() {
    let verdict = |sentiment, intent: usize, urgency| {
        let mut classes = [0.02; 8];
        classes[intent] = 0.86;
        Verdict { sentiment, intent: classes, urgency, language: Language::UNCLEAR }
    };
    let complaint = verdict([0.9, 0.08, 0.02], 5, [0.2, 0.7, 0.1]);
    let joke = verdict([0.1, 0.3, 0.6], 7, [0.9, 0.08, 0.02]);
    let problem = verdict([0.9, 0.08, 0.02], 1, [0.1, 0.7, 0.2]);
    let now = at(100 * 24 * 3600);
    let touched = |channel: &str, hours: i64| Touchpoint {
        at: at(now.as_second() - hours * 3600),
        channel: channel.into(),
        note: String::new(),
    };
    let caller = Person {
        touchpoints: vec![touched("mail", 3), touched("phone", 20), touched("phone", 26)],
        ..customer(|_| ())
    };
    let buyer = customer(|customer| {
        customer.purchases = vec![person::Purchase {
            at: at(now.as_second() - 6 * 24 * 3600),
            date: None,
            what: "ThinkPad ×10".into(),
            amount: Some(12_000.0),
        }];
    });
    let priority = |person: &Person, verdict: &Verdict, followers| {
        let candidate = candidate(|c| (c.addressed, c.post.author.followers) = (true, Some(followers)));
        Config::default().ticket(&candidate, verdict, person, "model 1", now)
    };
    let order = [
        priority(&buyer, &problem, 20),
        priority(&caller, &complaint, 20),
        priority(&Person::default(), &complaint, 20),
        priority(&Person::default(), &joke, 20_000),
    ];
    let priorities: Vec<_> = order.iter().map(|ticket| ticket.priority).collect();
    assert!(priorities.is_sorted_by(|one, next| one > next), "{priorities:?}");
    let evidence = |ticket: &proto::Ticket, name: &str| {
        ticket.factors.iter().find(|factor| factor.name == name).unwrap().evidence.clone()
    };
    assert_eq!(evidence(&order[0], "purchase"), "bought ThinkPad ×10 6 days ago, for 12000");
    assert_eq!(evidence(&order[1], "contacts"), "called 2 times, mailed 3 h ago");
}

#[test]
fn factors_combinations_and_caps_have_names_of_their_own() {
    for name in ["sentiment", "contacts", "cap of verdict", "floor of safety", "ceiling"] {
        assert!(is_reserved(name), "{name}");
    }
    assert!(!is_reserved("angry gold"));
}
