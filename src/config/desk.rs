//! The desk's sections: priorities, expectations, and what becomes a ticket.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::reader::Section;
use super::when::Known;
use super::{priority, sensitive};
use crate::parse::Network;
use crate::{desk, ledger};

/// The desk's config, and the points that waiting earns in an hour, which the ledger's outbox gives.
pub(super) fn desk(
    root: &Section<'_, '_>,
    brands: &[&str],
    warnings: &mut Vec<String>,
) -> (desk::Config, u32) {
    let default = desk::Config::default();
    let section = root.section("desk");
    let zone = time_zone(&section);
    let (topics, points) = sensitive::topics(&root.section("sensitive"), warnings);
    let names: Vec<_> = topics.names().collect();
    let known = Known { brands, sensitive: &names, zone: &zone };
    let section_of_priority = root.section("priority");
    let priorities = priority::priorities(&section_of_priority, &points, &known, warnings);
    let waiting = section_of_priority.section("waiting");
    let ageing =
        waiting.integer("points_per_hour", 0..=10_000, ledger::outbox::AGEING_POINTS_PER_HOUR.into());
    waiting.refuse_unknown();
    section_of_priority.refuse_unknown();

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
        factors: priorities.factors,
        levels: priorities.levels,
        brands: priorities.brands,
        sensitive: topics,
        answer_within,
        unsupported_min: section.share("unsupported_min", default.unsupported_min),
        unsupported_addressed_min: section
            .share("unsupported_addressed_min", default.unsupported_addressed_min),
    };
    section.refuse_unknown();
    (config, u32::try_from(ageing).unwrap_or(ledger::outbox::AGEING_POINTS_PER_HOUR))
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
