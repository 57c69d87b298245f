//! The desk's sections: priorities, expectations, and what becomes a ticket.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::reader::Section;
use super::when::{Known, when};
use crate::desk::priority::Combination;
use crate::desk::when::Quantity;
use crate::parse::Network;
use crate::{classify, desk, ledger};

/// The desk's config, and the points that waiting earns in an hour, which the ledger's outbox gives.
pub(super) fn desk(root: &Section<'_, '_>, brands: &[&str]) -> (desk::Config, u32) {
    let default = desk::Config::default();
    let section = root.section("desk");
    let zone = time_zone(&section);
    let priority = root.section("priority");
    let known = Known { brands, sensitive: &[], zone: &zone };
    let factors = factors(&priority, &default.factors, &known);
    let levels = levels(&priority.section("levels"), default.levels);
    let waiting = priority.section("waiting");
    let ageing =
        waiting.integer("points_per_hour", 0..=10_000, ledger::outbox::AGEING_POINTS_PER_HOUR.into());
    waiting.refuse_unknown();
    priority.refuse_unknown();

    let expectation = root.section("answer_within");
    let mut answer_within = default.answer_within;
    let keys = ["bluesky_min", "mastodon_min", "x_min", "facebook_min", "plain_min"];
    for ((network, key), within) in Network::ALL.into_iter().zip(keys).zip(&mut answer_within) {
        debug_assert!(key.starts_with(network.name()), "keys in the order of the networks");
        let default_min = i64::try_from(within.as_secs() / 60).unwrap_or(120);
        let minutes = expectation.integer(key, 1..=60 * 24 * 30, default_min);
        *within = Duration::from_secs(60 * minutes.unsigned_abs());
    }
    expectation.refuse_unknown();

    let config = desk::Config {
        factors,
        levels,
        answer_within,
        unsupported_min: section.share("unsupported_min", default.unsupported_min),
        unsupported_addressed_min: section
            .share("unsupported_addressed_min", default.unsupported_addressed_min),
        articles: articles(&root.section("articles"), default.articles),
    };
    section.refuse_unknown();
    (config, u32::try_from(ageing).unwrap_or(ledger::outbox::AGEING_POINTS_PER_HOUR))
}

/// The words that name brands come from their own sections.
fn articles(section: &Section<'_, '_>, default: desk::articles::Config) -> desk::articles::Config {
    let config = desk::articles::Config {
        enabled: section.flag("enabled", default.enabled),
        score_min: section.number("score_min", 0.0..=100.0, default.score_min),
        ..default
    };
    section.refuse_unknown();
    config
}

/// Whose wall clock hours are meant by; UTC unless the file says otherwise, so that a config means the same anywhere.
fn time_zone(section: &Section<'_, '_>) -> TimeZone {
    let Some(name) = section.string("time_zone") else { return TimeZone::UTC };
    TimeZone::get(&name.value).unwrap_or_else(|_| {
        let text = format_args!("{:?}: must be a time zone as Europe/Paris or America/Montreal", name.value);
        section.mistake_at(&name, text);
        TimeZone::UTC
    })
}

/// `[[priority.combination]]`: points for what counts only together.
fn combinations(priority: &Section<'_, '_>, known: &Known<'_>) -> Vec<Combination> {
    let mut combinations: Vec<Combination> = Vec::new();
    for section in priority.sections("combination") {
        let name = section.string("name").map(|name| name.value.trim().to_owned()).unwrap_or_default();
        let condition = section.section("when");
        let when = when(&condition, known);
        let points = section.points("points", 0);
        if name.is_empty() {
            section.mistake("name is missing: what tickets call these points");
        } else if combinations.iter().any(|other| other.name == name) {
            section.mistake(format_args!("the name {name:?} is taken by another combination"));
        }
        if !section.has("when") || when.asks_nothing() {
            section.mistake(
                "when is missing: what must hold, as when = { sentiment = \"negative\", tier = \"gold\" }",
            );
        }
        if !when.ranges.iter().all(|(quantity, _)| *quantity != Quantity::Priority) {
            condition.mistake(
                "priority_min and priority_max: points cannot depend on the priority that they make",
            );
        }
        if points == 0 {
            section.mistake("points is missing: -1000 to 1000, and not 0");
        }
        section.refuse_unknown();
        combinations.push(Combination { name, when, points });
    }
    combinations
}

fn factors(priority: &Section<'_, '_>, default: &desk::Factors, known: &Known<'_>) -> desk::Factors {
    let classes = |key: &'static str, labels: &'static [&'static str], defaults: &[i32]| -> Vec<i32> {
        let section = priority.section(key);
        let points =
            labels.iter().zip(defaults).map(|(label, default)| section.points(label, *default)).collect();
        section.refuse_unknown();
        points
    };
    let sentiment = classes("sentiment", &classify::SENTIMENTS, &default.sentiment);
    let intent = classes("intent", &classify::INTENTS, &default.intent);
    let urgency = classes("urgency", &classify::URGENCIES, &default.urgency);
    let reach = priority.section("reach");
    let age = priority.section("age");
    let factors = desk::Factors {
        // `classes` gives one number for each label.
        sentiment: sentiment.try_into().unwrap_or(default.sentiment),
        intent: intent.try_into().unwrap_or(default.intent),
        urgency: urgency.try_into().unwrap_or(default.urgency),
        addressed: priority.points("addressed", default.addressed),
        reach: desk::priority::Reach {
            points_max: reach.points("points_max", default.reach.points_max),
            followers_max: reach
                .integer("followers_max", 10..=1_000_000_000, default.reach.followers_max.cast_signed())
                .unsigned_abs(),
        },
        age: desk::priority::Age {
            points_per_hour: age.points("points_per_hour", default.age.points_per_hour),
            points_max: age.points("points_max", default.age.points_max),
        },
        combinations: combinations(priority, known),
    };
    reach.refuse_unknown();
    age.refuse_unknown();
    factors
}

fn levels(section: &Section<'_, '_>, default: desk::Levels) -> desk::Levels {
    let level = |key, default: u16| {
        let max = i64::from(desk::priority::PRIORITY_MAX);
        u16::try_from(section.integer(key, 0..=max, default.into())).unwrap_or(default)
    };
    let levels = desk::Levels {
        p1_min: level("p1_min", default.p1_min),
        p2_min: level("p2_min", default.p2_min),
        p3_min: level("p3_min", default.p3_min),
    };
    if !(levels.p1_min >= levels.p2_min && levels.p2_min >= levels.p3_min) {
        section.mistake(format_args!(
            "p1_min = {}, p2_min = {}, p3_min = {}: each must be at most the one before",
            levels.p1_min, levels.p2_min, levels.p3_min
        ));
    }
    section.refuse_unknown();
    levels
}
