//! The desk's sections: priorities, expectations, and what becomes a ticket.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::expectation::expectations;
use super::reader::Section;
use super::when::{Known, meant_channel};
use super::{priority, sensitive};
use crate::{desk, ledger};

/// The desk's config, the points that waiting earns in an hour, which the ledger's outbox gives, and whose wall clock
/// people here go by.
pub(super) fn desk(
    root: &Section<'_, '_>,
    brands: &[&str],
    warnings: &mut Vec<String>,
) -> (desk::Config, u32, TimeZone) {
    let default = desk::Config::default();
    let section = root.section("desk");
    let zone = time_zone(&section, TimeZone::UTC);
    let sensitive::Given { topics, points, floors, teams_named } =
        sensitive::topics(&root.section("sensitive"), warnings);
    let names: Vec<_> = topics.names().collect();
    let contacts_days = u32::try_from(section.integer("contacts_days", 1..=3650, 30)).unwrap_or(30);
    let section_of_priority = root.section("priority");
    let channels = channels(&section_of_priority, &default, warnings);
    let known = Known { brands, sensitive: &names, zone: &zone, contacts_days, channels: &channels };
    let priorities = priority::priorities(&section_of_priority, (&points, floors), &known, warnings);
    let waiting = section_of_priority.section("waiting");
    let ageing =
        waiting.integer("points_per_hour", 0..=10_000, ledger::outbox::AGEING_POINTS_PER_HOUR.into());
    waiting.refuse_unknown();
    section_of_priority.refuse_unknown();

    let expectations = expectations(root, &known, warnings);

    let routes = super::route::routes(
        root,
        &known,
        (topics.teams.clone(), teams_named),
        priorities.levels.p1_min,
        warnings,
    );
    let config = desk::Config {
        // Of all conditions, once they are there.
        topic_words: default.topic_words,
        routes,
        expectations,
        factors: priorities.factors,
        levels: priorities.levels,
        brands: priorities.brands,
        sensitive: topics,
        unsupported_min: section.share("unsupported_min", default.unsupported_min),
        unsupported_addressed_min: section
            .share("unsupported_addressed_min", default.unsupported_addressed_min),
        contacts_window: Duration::from_secs(24 * 3600 * u64::from(contacts_days)),
        articles: articles(&root.section("articles"), default.articles),
        conversation: super::conversation::conversation(root),
    };
    section.refuse_unknown();
    let ageing = u32::try_from(ageing).unwrap_or(ledger::outbox::AGEING_POINTS_PER_HOUR);
    (config.with_topic_words(), ageing, zone)
}

/// The channels that have points. One of the company's own that reads as a built-in one may be meant for that.
fn channels(section: &Section<'_, '_>, default: &desk::Config, warnings: &mut Vec<String>) -> Vec<String> {
    let mut channels: Vec<String> = default.factors.contacts.channels.keys().cloned().collect();
    let builtin = channels.clone();
    for placed in section.keys_of("channels") {
        let word = placed.key.rsplit('.').next().unwrap_or_default().trim().to_lowercase();
        if word == "other" || channels.contains(&word) {
            continue;
        }
        if let Some(meant) = meant_channel(&word, &builtin) {
            let text = format_args!(
                "counts for contacts that say {word:?}, and not for those that say {meant:?}; did you mean {meant}?"
            );
            warnings.push(section.warning_at(&placed, text));
        }
        channels.push(word);
    }
    channels
}

/// The words that name brands come from their own sections.
fn articles(section: &Section<'_, '_>, default: desk::articles::Config) -> desk::articles::Config {
    let config = desk::articles::Config {
        enabled: section.flag("enabled", default.enabled),
        score_min: section.number("score_min", 0.0..=100.0).map_or(default.score_min, |least| least as f32),
        ..default
    };
    section.refuse_unknown();
    config
}

/// Whose wall clock hours are meant by. That of [desk] is UTC unless the file says otherwise, so that a config means the
/// same anywhere.
pub(super) fn time_zone(section: &Section<'_, '_>, default: TimeZone) -> TimeZone {
    let Some(name) = section.string("time_zone") else { return default };
    desk::calendar::zone(&name.value).unwrap_or_else(|must| {
        section.mistake_at(&name, format_args!("{:?}: {must}", name.value));
        default
    })
}
