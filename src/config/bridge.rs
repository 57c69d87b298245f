//! `[[bridge]]`: helpdesks that tickets go to.

mod doors;
mod options;
mod secrets;
mod texts;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;

use self::doors::{socket, socket_tls, url};
use self::options::{fields, read_options, teams};
use self::secrets::hidden;
use self::texts::{texts, wordings};
use super::access::is_name;
use super::reader::Section;
use crate::access::{brands, tls};
use crate::bridge::config::{
    BRIDGES_MAX, CALL_MAX, Config, HEADROOM_PERCENT, NAME_BYTES_MAX, POLL_INTERVAL, Place,
};
use crate::bridge::deliver::WhenUnknown;
use crate::bridge::forget::LONGER;
use crate::bridge::preset::{BUILT_IN, Preset};
use crate::bridge::rehearsal::{names_beside_fields, rehearse};
use crate::bridge::text::{FourByte, Shape};
use crate::desk::route::Team;
use crate::ledger;
use crate::prefilter;
use crate::wire;

/// Of an operator's own preset: the kind that has no built-in one.
const OWN: &str = "http";
/// Longest preset or template, in bytes: ten times the longest built-in one.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Keys of how a bridge apart reaches the daemon.
const SOCKET: [&str; 6] = [
    "socket",
    "socket_token_file",
    "socket_token_credential",
    "socket_ca_file",
    "socket_cert_file",
    "socket_key_file",
];

/// What bridges are told of the rest of the file.
pub(super) struct Surroundings<'c> {
    pub(super) brands: &'c [prefilter::Brand],
    pub(super) teams: &'c [Team],
    /// Whose wall clock agents go by.
    pub(super) zone: TimeZone,
    /// The ledger's file: case stores are beside it, and keep what it keeps.
    pub(super) ledger: &'c Path,
    pub(super) retention: ledger::Retention,
    pub(super) wire: &'c wire::connection::Config,
}

/// Reads every bridge. Adds to `warnings` what works and is not as it should be.
pub(super) fn bridges(
    root: &Section<'_, '_>,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Vec<Config> {
    let sections = root.sections("bridge");
    if sections.len() > BRIDGES_MAX {
        root.mistake(format_args!("{} [[bridge]]: at most {BRIDGES_MAX}", sections.len()));
        return Vec::new();
    }
    let mut bridges: Vec<Config> = Vec::new();
    for section in &sections {
        let bridge = bridge(section, around, warnings);
        section.refuse_unknown();
        let Some(bridge) = bridge else { continue };
        if bridges.iter().any(|other| other.name == bridge.name) {
            section.mistake(format_args!("name = {:?}: is taken by another bridge", bridge.name));
        } else if bridges.iter().any(|other| other.subscription == bridge.subscription) {
            let taken = &bridge.subscription;
            section.mistake(format_args!(
                "subscription = {taken:?}: is another bridge's: each ticket would go to one of the two"
            ));
        }
        bridges.push(bridge);
    }
    bridges
}

fn bridge(
    section: &Section<'_, '_>,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Option<Config> {
    let name = name(section);
    let kinds: Vec<(&str, &str)> =
        BUILT_IN.iter().map(|(kind, _)| (*kind, *kind)).chain([(OWN, OWN)]).collect();
    let kind = section.choice("kind", &kinds);
    if !section.has("kind") {
        let names: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
        section.mistake(format_args!("kind is missing: one of {}", names.join(", ")));
    }
    let preset = preset(section, kind);
    let url = url(section, "url", warnings);
    let token = hidden(section, "token_file", "token_credential", warnings);
    if token.is_none() && !section.has("token_file") && !section.has("token_credential") {
        section.mistake(
            "token_file is missing: a file that holds what the helpdesk knows vigie by; or token_credential",
        );
    }
    let place =
        section.choice("run", &[("daemon", Place::Daemon), ("apart", Place::Apart)]).unwrap_or_default();
    let default_subscription = name.as_ref().map(|name| format!("bridge-{name}")).unwrap_or_default();
    let subscription = section.string("subscription").map_or(default_subscription, |given| {
        if !is_name(&given.value) {
            section
                .mistake_at(&given, format_args!("{:?}: must be 1 to 100 of a-z A-Z 0-9 . _ -", given.value));
        }
        given.value
    });
    let from_oldest = section.choice("from", &[("now", false), ("oldest", true)]).unwrap_or(false);
    let brands = brands_of(section, around.brands);
    let number = |key, range: std::ops::RangeInclusive<i64>, default: u32| {
        u32::try_from(section.integer(key, range, default.into())).unwrap_or(default)
    };
    let seconds = |key, range, default: Duration| {
        let default = u32::try_from(default.as_secs()).unwrap_or(u32::MAX);
        Duration::from_secs(number(key, range, default).into())
    };
    let quota = preset.as_ref().map_or(60, |(_, preset)| preset.calls.quota_per_minute);
    let quota_per_minute = number("quota_per_minute", 1..=100_000, quota);
    let headroom_percent = number("headroom_percent", 0..=90, HEADROOM_PERCENT);
    let poll_interval = seconds("poll_interval_s", 5..=86_400, POLL_INTERVAL);
    let call_max = seconds("call_max_s", 1..=300, CALL_MAX);
    let priority_min = number("priority_min", 0..=1000, 0);
    let when_unknown = section
        .choice("when_unknown", &[("again", WhenUnknown::Again), ("leave", WhenUnknown::Leave)])
        .unwrap_or(WhenUnknown::Again);
    let roots = section.file("ca_file").and_then(|path| {
        let roots = tls::roots(Path::new(&path.value));
        roots.map_err(|error| section.mistake_at(&path, error)).ok().map(Arc::new)
    });
    let webhook_secret = hidden(section, "webhook_secret_file", "webhook_secret_credential", warnings);
    let has_webhooks = preset.as_ref().is_none_or(|(_, preset)| preset.calls.webhook.is_some());
    if webhook_secret.is_some() && !has_webhooks {
        section.mistake(
            "webhook_secret_file: this kind of helpdesk sends no webhooks; what becomes of tickets is asked",
        );
    }
    let webhook_url =
        section.has("webhook_url").then(|| doors::url(section, "webhook_url", warnings)).flatten();
    if webhook_url.is_some() && webhook_secret.is_none() {
        section.mistake("webhook_url needs webhook_secret_file: without it no webhook is taken");
    }
    if place == Place::Apart && webhook_secret.is_some() {
        warnings.push(
            "webhook_secret_file of a bridge with run = \"apart\": webhooks come to the daemon's console; apart from it the \
             helpdesk is asked"
                .to_owned(),
        );
    }
    let four_byte = section
        .choice("four_byte_characters", &[("keep", FourByte::Keep), ("replace", FourByte::Replace)])
        .unwrap_or_default();
    let levels = section.scalars("levels", "must be four: what P1, P2, P3 and P4 are called there");
    let state_dir = section.path("state_dir").unwrap_or_else(|| beside(around.ledger));
    let socket = socket(section, around.wire);
    let socket_token = hidden(section, "socket_token_file", "socket_token_credential", warnings);
    let socket_tls = socket_tls(section, &socket);
    if place == Place::Daemon && SOCKET.iter().any(|key| section.has(key)) {
        section.mistake("socket is for run = \"apart\": within the daemon a bridge needs none");
    }
    let options = section.section("options");
    let given = preset.as_ref().map(|(_, preset)| read_options(&options, preset, warnings));
    if given.is_none() {
        options.other_scalars();
    }
    let options = given.flatten();
    let known = preset.as_ref().map(|(_, preset)| preset);
    let teams = teams(&section.section("teams"), known, around.teams, four_byte, warnings);
    let fields = fields(&section.section("fields"), known, options.as_ref(), four_byte);
    let wordings = wordings(&section.section("text"), around.brands);
    let (preset_text, preset) = preset?;
    let mut shape = Shape { four_byte, zone: around.zone.clone(), ..Shape::of(&preset) };
    if let Some(levels) = levels {
        check_levels(section, &levels, &preset, &shape.levels);
        shape.levels = levels;
    }
    let texts = texts(section, shape, wordings)?;
    let (options, teams, token) = (options?, teams?, token?);
    let texts = texts.with_fields(fields?);
    if let Err((team, error)) = rehearse(&preset, token.secret(), &options, &teams, &texts) {
        let of_team = team.map(|team| format!(" of team {team}")).unwrap_or_default();
        section.mistake(format_args!(
            "a sample ticket{of_team} cannot be put into the calls of {}: {error}",
            kind.unwrap_or(OWN)
        ));
        return None;
    }
    let taken = names_beside_fields(&preset, token.secret(), &options, &teams, &texts);
    for name in texts.fields().names().iter().filter(|name| taken.contains(*name)) {
        section.mistake(format_args!(
            "fields.{name}: {} takes fields beside what the preset itself fills, and this is one of those: {}",
            preset.calls.title,
            taken.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        ));
    }
    Some(Config {
        name: name?,
        kind: kind?.to_owned(),
        place,
        url: url?,
        preset: preset_text,
        token,
        options,
        teams,
        subscription,
        brands,
        priority_min,
        from_oldest,
        quota_per_minute,
        headroom_percent,
        poll_interval,
        when_unknown,
        call_max,
        roots,
        webhook_secret: webhook_secret.unwrap_or_default(),
        webhook_url,
        texts,
        state_dir,
        kept: around.retention.age_max.map(|age| age + LONGER),
        socket,
        socket_token: socket_token.unwrap_or_default(),
        socket_tls,
    })
}

fn name(section: &Section<'_, '_>) -> Option<String> {
    let Some(name) = section.string("name") else {
        if !section.has("name") {
            section.mistake("name is missing: what logs and `vigie status` call the bridge");
        }
        return None;
    };
    if !is_name(&name.value) || name.value.len() > NAME_BYTES_MAX {
        section.mistake_at(
            &name,
            format_args!("{:?}: must be 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -", name.value),
        );
        return None;
    }
    Some(name.value)
}

/// The preset with its text.
fn preset(section: &Section<'_, '_>, kind: Option<&str>) -> Option<(Arc<str>, Preset)> {
    section.know("preset_file");
    let built_in = BUILT_IN.iter().find(|(name, _)| Some(*name) == kind).map(|(_, text)| *text);
    match (kind?, section.has("preset_file")) {
        (OWN, false) => {
            section.mistake("preset_file is missing: kind = \"http\" needs one; `vigie bridge preset rt` prints one to begin with");
            None
        }
        (OWN, true) => {
            let (path, text) = section.text_file("preset_file", FILE_BYTES_MAX)?;
            match Preset::parse(&text) {
                Ok(preset) => Some((text.into(), preset)),
                Err(error) => {
                    // toml's errors have several lines, with the place drawn.
                    let error = error.to_string();
                    let error: Vec<&str> =
                        error.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                    section.mistake_at(&path, error.join(" "));
                    None
                }
            }
        }
        (kind, true) => {
            section
                .mistake(format_args!("preset_file is for kind = \"http\"; {kind} has a preset of its own"));
            None
        }
        (_, false) => {
            let text = built_in?;
            Some((text.into(), Preset::parse(text).expect("a test reads each built-in preset")))
        }
    }
}

/// The brands as the file writes them; empty: all.
fn brands_of(section: &Section<'_, '_>, known: &[prefilter::Brand]) -> Vec<String> {
    let given = section.strings("brands");
    if section.has("brands") && given.is_empty() {
        section.mistake("brands = []: a bridge of no brand takes nothing; leave the key out for all brands");
    }
    let brand = |given: String| match known.iter().find(|brand| brands::is_same(&brand.name, &given)) {
        Some(brand) => brand.name.clone(),
        None => {
            section.mistake(format_args!("brands: there is no [[brand]] {given:?}"));
            given
        }
    };
    given.into_iter().map(brand).collect()
}

/// What one level is called is of the kind that the preset's are, a text or a number: RT takes no words, Zammad no numbers.
fn check_levels(section: &Section<'_, '_>, given: &[Value; 4], preset: &Preset, usual: &[Value; 4]) {
    let is_alike =
        |(given, usual): (&Value, &Value)| !given.is_boolean() && given.is_string() == usual.is_string();
    if !given.iter().zip(usual).all(is_alike) {
        let kind = if usual[0].is_string() { "texts" } else { "numbers" };
        let usual = Value::from(usual.as_slice());
        section
            .mistake(format_args!("levels: {} takes {kind}, such as its usual {usual}", preset.calls.title));
    }
}

fn beside(ledger: &Path) -> PathBuf {
    match ledger.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests;
