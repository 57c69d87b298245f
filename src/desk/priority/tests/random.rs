//! Over random dictionaries and facts: `explain` agrees with the ticket, a ticket read back scores the same, and a
//! ticket scored again is as if made afresh.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::desk::sensitive::BUILTIN;
use crate::desk::week::Week;
use crate::desk::when::{Field, Quantity, Question};

const CHANNELS: [&str; 5] = ["phone", "mail", "post", "fax", "Chat"];
const TIERS: [&str; 4] = ["gold", "silver", "", "Platin"];
const FLAGS: [&str; 3] = ["press", "vulnerable", "staff"];
const TEXTS: [&str; 5] = [
    "works again",
    "it caught fire",
    "my lawyer and a journalist",
    "je veux porter plainte, fuite de gaz",
    "",
];
const NOW_S: i64 = 1_700_000_000;

fn points() -> impl Strategy<Value = i32> {
    -1000..=1000_i32
}

fn curve() -> impl Strategy<Value = Curve> {
    let cap = 0..=1000_i32;
    let steps = btree_map(0..10_000_u32, points(), 0..5).prop_map(|steps| {
        Shape::Steps(steps.into_iter().map(|(at, points)| (f64::from(at), points)).collect())
    });
    let logarithmic = (points(), 1.0..1e6_f64).prop_map(|(points, at)| Shape::Logarithmic { points, at });
    let shape = prop_oneof![steps, (-1000.0..1000.0_f64).prop_map(Shape::Linear), logarithmic];
    (shape, cap).prop_map(|(shape, cap)| Curve { shape, cap })
}

fn words(among: &'static [&'static str]) -> impl Strategy<Value = Words> {
    let points = btree_map(prop::sample::select(among).prop_map(str::to_lowercase), points(), 0..4);
    (points, 0..=1000_i32).prop_map(|(points, cap)| Words { points, cap })
}

fn when() -> impl Strategy<Value = When> {
    let word = |field, among: &'static [&'static str]| {
        prop::sample::select(among)
            .prop_map(move |word| When { words: vec![(field, vec![word.to_lowercase()])], ..When::default() })
    };
    let answer = prop::sample::select(vec![Question::Customer, Question::Addressed, Question::Verified]);
    let quantity = prop::sample::select(vec![
        Quantity::Followers,
        Quantity::Value,
        Quantity::Contacts,
        Quantity::Bought,
    ]);
    prop_oneof![
        word(Field::Sentiment, &SENTIMENTS),
        word(Field::Intent, &INTENTS),
        word(Field::Urgency, &URGENCIES),
        word(Field::Tier, &["gold", "silver"]),
        word(Field::Flag, &FLAGS),
        word(Field::Channel, &["phone", "fax"]),
        word(Field::Sensitive, &["safety", "legal"]),
        word(Field::Network, &["bluesky", "x"]),
        word(Field::Language, &["fr", "und"]),
        word(Field::Topic, &["lumio", "panne", "lawyer", "fuite de gaz"]),
        (answer, any::<bool>()).prop_map(|answer| When { answers: vec![answer], ..When::default() }),
        (quantity, 0..2_000_i64).prop_map(|(quantity, from)| When {
            ranges: vec![(quantity, from..=i64::MAX)],
            ..When::default()
        }),
        Just(When { hours: Some((Week::always(), jiff::tz::TimeZone::UTC)), ..When::default() }),
    ]
}

fn factors() -> impl Strategy<Value = Factors> {
    let heads =
        (prop::array::uniform3(points()), prop::array::uniform8(points()), prop::array::uniform3(points()))
            .boxed();
    let post = (points(), points(), curve(), curve(), curve(), points(), 0..=1000_i32).boxed();
    let person =
        (words(&["gold", "silver", "platin"]), words(&FLAGS), curve(), points(), curve(), 0..=1000_i32)
            .boxed();
    let channels = btree_map(prop::sample::select(&CHANNELS[..]).prop_map(str::to_lowercase), points(), 0..4);
    let contacts = (channels, points(), 0..48_u32, curve(), 0..=1000_i32, 1..200_u32).boxed();
    let topics = BUILTIN.map(|topic| topic.name);
    let topics = btree_map(prop::sample::select(topics.to_vec()).prop_map(str::to_owned), points(), 0..9);
    let rest = (
        topics,
        0..=1000_i32,
        vec((when(), points()), 0..4),
        prop::array::uniform7(option::of(0..=1000_i32)),
        any::<bool>(),
    )
        .boxed();
    (heads, post, person, contacts, rest).prop_map(|(heads, post, person, contacts, rest)| {
        let mut caps = Caps::default();
        for (group, cap) in Group::ALL.into_iter().zip(rest.3) {
            if let Some(cap) = cap {
                caps.set(group, cap);
            }
        }
        let combination = |(number, (when, points))| Combination::new(format!("rule {number}"), when, points);
        Factors {
            sentiment: heads.0,
            intent: heads.1,
            urgency: heads.2,
            addressed: post.0,
            verified: post.1,
            age: post.2,
            reach: post.3,
            value: post.4,
            follow_ups: Repeated { points: post.5, cap: post.6 },
            tier: person.0,
            flag: person.1,
            purchase: Purchase { within_days: 30, points: person.3, amount: person.4, cap: person.5 },
            contacts: Contacts {
                window_hours: contacts.5,
                channels: contacts.0,
                other: contacts.1,
                half_life_hours: contacts.2,
                count: contacts.3,
                cap: contacts.4,
            },
            sensitive: Words { points: rest.0, cap: rest.1 },
            combinations: (0..).zip(rest.2).map(combination).collect(),
            caps,
            floors: if rest.4 { Floors::default() } else { Floors::new([("legal".to_owned(), 700)]) },
        }
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    fn head<const CLASSES: usize>() -> impl Strategy<Value = [f32; CLASSES]> {
        vec(0.0..1.0_f32, CLASSES).prop_map(|parts| {
            let sum = parts.iter().sum::<f32>() + 0.001;
            let mut parts = parts.into_iter();
            std::array::from_fn(|_| parts.next().unwrap() / sum)
        })
    }
    let language = prop::sample::select(vec![Language::UNCLEAR, Language::from_code("fr").unwrap()]);
    (head(), head(), head(), language).prop_map(|(sentiment, intent, urgency, language)| Verdict {
        sentiment,
        intent,
        urgency,
        language,
    })
}

fn ago() -> impl Strategy<Value = Timestamp> {
    (-3_600..60 * 24 * 3600_i64).prop_map(|ago_s| at(NOW_S - ago_s))
}

fn person() -> impl Strategy<Value = Person> {
    let purchase = (ago(), "[a-z ]{0,70}", option::of(0.01..20_000.0_f64))
        .prop_map(|(at, what, amount)| person::Purchase { at, date: None, what, amount });
    let flags = prop::sample::subsequence(FLAGS.to_vec(), 0..=3);
    let customer = (prop::sample::select(&TIERS[..]), flags, option::of(0.0..1e6_f64), vec(purchase, 0..4));
    let customer = customer.prop_map(|(tier, flags, value, purchases)| {
        Arc::new(Customer {
            key: "4711".into(),
            tier: tier.into(),
            flags: flags.into_iter().map(str::to_owned).collect(),
            value,
            purchases,
            ..Customer::default()
        })
    });
    let touchpoint = (ago(), prop::sample::select(&CHANNELS[..])).prop_map(|(at, channel)| Touchpoint {
        at,
        channel: channel.into(),
        note: String::new(),
    });
    (option::of(customer), vec(touchpoint, 0..6))
        .prop_map(|(customer, touchpoints)| Person { customer, touchpoints })
}

fn candidates() -> impl Strategy<Value = Candidate> {
    let post = (
        prop::sample::select(&TEXTS[..]),
        prop::sample::select(vec![Network::Bluesky, Network::X, Network::Mastodon, Network::Plain]),
        option::of(0..3_000_000_u64),
        (any::<bool>(), any::<bool>()),
        option::of(ago()),
        ago(),
        option::of(Just("fr")),
    );
    post.prop_map(|(text, network, followers, (addressed, verified), written_at, seen_at, language)| {
        candidate(|candidate| {
            candidate.post.text = text.into();
            candidate.post.network = network;
            candidate.post.author.followers = followers;
            candidate.post.author.verified = verified;
            candidate.post.written_at = written_at;
            // As the parsers do it: only a Jetstream says when it saw a post.
            candidate.post.seen_at = (network == Network::Bluesky).then_some(seen_at);
            candidate.post.language = language.map(Into::into);
            candidate.addressed = addressed;
            candidate.hits =
                [if addressed { "@lumio" } else { "lumio" }, "panne"].map(str::to_owned).to_vec();
        })
    })
}

fn config() -> BoxedStrategy<Config> {
    let levels = vec(0..=1000_u16, 3).prop_map(|mut levels| {
        levels.sort_unstable();
        Levels { p1_min: levels[2], p2_min: levels[1], p3_min: levels[0] }
    });
    let own = (factors(), levels.clone()).prop_map(|(factors, levels)| BrandPriority { factors, levels });
    (factors(), levels, option::of(own))
        .prop_map(|(factors, levels, own)| {
            Config {
                factors,
                levels,
                brands: own.into_iter().map(|own| ("Lumio".to_owned(), own)).collect(),
                ..Config::default()
            }
            .with_topic_words()
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn explain_agrees_with_the_ticket(
        (config, candidate, verdict, person) in (config(), candidates(), verdict(), person()),
    ) {
        let now = at(NOW_S);
        let ticket = config.ticket(&candidate, &verdict, &person, "model 1", now);
        // `explain` reads the text and asks for every line, by the function that the ticket was scored by.
        let explained = config.explain_post(&candidate, &verdict, &person, 0, now);
        let shown: Vec<_> = explained.lines.iter().filter(|line| line.counts()).collect();
        prop_assert_eq!(shown.len(), ticket.factors.len());
        for (line, factor) in shown.iter().zip(&ticket.factors) {
            prop_assert_eq!(
                (line.name.as_ref(), line.points, &line.evidence),
                (factor.name.as_str(), factor.points, &factor.evidence)
            );
        }
        let sum: i64 = explained.lines.iter().map(|line| i64::from(line.points)).sum();
        prop_assert_eq!(explained.sum, sum);
        prop_assert_eq!(i64::from(ticket.priority), sum.clamp(0, 1000));
        prop_assert_eq!(u32::from(explained.priority), ticket.priority);
        prop_assert_eq!(explained.level, ticket.level());
        for line in &explained.lines {
            if let Some(most) = line.most {
                prop_assert!(line.points.unsigned_abs() <= most.unsigned_abs(), "{:?}", line);
            }
            prop_assert!(!line.evidence.is_empty(), "{:?}", line);
        }
        for (name, _) in FACTORS {
            prop_assert_eq!(explained.lines.iter().filter(|line| line.name == name).count(), 1, "{}", name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_ticket_read_back_scores_the_same(
        (config, candidate, verdict, person) in (config(), candidates(), verdict(), person()),
    ) {
        let ticket = config.ticket(&candidate, &verdict, &person, "model 1", at(NOW_S));
        let mut recorded = Recorded::of(&ticket, &config.topic_words);
        recorded.read(&config.sensitive);
        let (score, level) = config.score(&recorded.facts());
        prop_assert_eq!(&score.factors, &ticket.factors);
        prop_assert_eq!((u32::from(score.priority), level), (ticket.priority, ticket.level()));
    }

    #[test]
    fn a_ticket_scored_again_is_as_if_made_afresh(
        (config, candidate, verdict, person) in (config(), candidates(), verdict(), person()),
        surer in verdict(),
    ) {
        let now = at(NOW_S);
        let ticket = config.ticket(&candidate, &verdict, &person, "small 1", now);
        let afresh = config.ticket(&candidate, &surer, &person, "full 1", now);
        let (factors, _) = config.priorities("Lumio");
        let facts = Facts::new(&candidate, &surer, &person, now);
        let again = factors.rescore(
            &ticket, &surer, &config.topic_words, &config.sensitive, config.is_noise(&facts),
        );
        prop_assert_eq!(&again.factors, &afresh.factors);
        prop_assert_eq!(u32::from(again.priority), afresh.priority);
    }
}
