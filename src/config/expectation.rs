//! `[answer_within]`, `[[expectation]]` and `[[calendar]]`: how soon people expect an answer, and when somebody works.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::desk::time_zone;
use super::reader::Section;
use super::when::{Known, when};
use crate::desk::calendar::{CLOSINGS_MAX, Calendar, HORIZON};
use crate::desk::expectation::{AT_RISK_SHARE, Expectation, Expectations, share_of};
use crate::desk::when::shadowed;
use crate::parse::Network;

/// The calendar that every file has: all hours of all days.
const ALWAYS: &str = "always";
/// Longest expectation: 30 days.
const ANSWER_MIN_MAX: i64 = 60 * 24 * 30;

/// Reads all of it; every mistake is noted with its place.
pub(super) fn expectations(
    root: &Section<'_, '_>,
    known: &Known<'_>,
    warnings: &mut Vec<String>,
) -> Expectations {
    let calendars = calendars(root, known.zone);
    let default = Expectations::default();
    let section = root.section("answer_within");
    let otherwise = Terms {
        calendar: calendar_of(&section, &calendars, None),
        at_risk: at_risk(&section, AtRisk::Share(AT_RISK_SHARE)),
    };
    let keys = ["bluesky_min", "mastodon_min", "x_min", "facebook_min", "plain_min"];
    let mut by_network = default.by_network;
    for ((network, key), expectation) in Network::ALL.into_iter().zip(keys).zip(&mut by_network) {
        debug_assert!(key.starts_with(network.name()), "keys in the order of the networks");
        let default_min = i64::try_from(expectation.answer_within.as_secs() / 60).unwrap_or(120);
        let minutes = section.integer(key, 1..=ANSWER_MIN_MAX, default_min);
        *expectation = otherwise.expectation(&section, key, minutes);
    }
    let default_min = i64::try_from(default.danger.answer_within.as_secs() / 60).unwrap_or(15);
    let danger_min = section.integer("danger_min", 1..=ANSWER_MIN_MAX, default_min);
    // Danger keeps no office hours, and minutes after which two hours are at risk say nothing of a few.
    let danger_at_risk = match otherwise.at_risk {
        AtRisk::Share(share) => AtRisk::Share(share),
        AtRisk::Minutes(_) => AtRisk::Share(AT_RISK_SHARE),
    };
    let danger =
        Terms { calendar: None, at_risk: danger_at_risk }.expectation(&section, "danger_min", danger_min);
    let overdue_updates = section.flag("overdue_updates", default.overdue_updates);
    section.refuse_unknown();

    let sections = root.sections("expectation");
    let count = sections.len();
    let mut rules = Vec::with_capacity(count);
    for (index, section) in sections.iter().enumerate() {
        let condition = section.section("when");
        let when = when(&condition, known, warnings);
        let says_nothing = !section.has("when") || condition.is_blank();
        if says_nothing && index + 1 < count {
            section.mistake(
                "when is missing: what must hold, as when = { tier = \"gold\" }; the last one alone may be without",
            );
        }
        if !section.has("answer_min") {
            section.mistake("answer_min is missing: within how many minutes an answer is expected");
        }
        let terms = Terms {
            calendar: calendar_of(section, &calendars, otherwise.calendar.clone()),
            at_risk: at_risk(section, otherwise.at_risk),
        };
        let minutes = section.integer("answer_min", 1..=ANSWER_MIN_MAX, 120);
        rules.push((when, terms.expectation(section, "answer_min", minutes)));
        section.refuse_unknown();
    }
    warnings.extend(shadowed(rules.iter().map(|(when, _)| when)).into_iter().map(|(earlier, later)| {
        let (earlier, later) = (earlier + 1, later + 1);
        format!("expectation[{later}] never counts: expectation[{earlier}] holds wherever it does, and comes first")
    }));
    Expectations { rules, by_network, danger, overdue_updates, zone: known.zone.clone() }
}

/// What an expectation says beside its minutes.
struct Terms {
    calendar: Option<Arc<Calendar>>,
    at_risk: AtRisk,
}

/// When an answer is at risk.
#[derive(Debug, Clone, Copy)]
enum AtRisk {
    /// After this share of the time that is allowed.
    Share(f32),
    /// After so many minutes of it.
    Minutes(i64),
}

impl Terms {
    fn expectation(&self, section: &Section<'_, '_>, key: &str, minutes: i64) -> Expectation {
        let answer_within = Duration::from_secs(60 * minutes.unsigned_abs());
        let at_risk_after = match self.at_risk {
            AtRisk::Share(share) => share_of(answer_within, share),
            AtRisk::Minutes(at_risk) => {
                if at_risk >= minutes {
                    section.mistake(format_args!(
                        "at_risk_min = {at_risk} is not below {key} = {minutes}: nobody would be told in time"
                    ));
                }
                Duration::from_secs(60 * at_risk.unsigned_abs())
            }
        };
        if let Some(calendar) = &self.calendar {
            // Any moment would do: holidays of single years aside, each year has as much working time as another.
            let begin = Timestamp::UNIX_EPOCH;
            if calendar.add(begin, answer_within) == begin.checked_add(HORIZON).unwrap_or(begin)
                && calendar.opens_within_four_years_of(FIRST_DAY)
            {
                section.mistake(format_args!(
                    "{key} = {minutes}: calendar {} has less working time than that in two years",
                    calendar.name
                ));
            }
        }
        Expectation { answer_within, at_risk_after, calendar: self.calendar.clone() }
    }
}

/// From when on a calendar is looked through for a day on which it opens: a year that holidays of single years name.
const FIRST_DAY: jiff::civil::Date = date(2026, 1, 1);

fn at_risk(section: &Section<'_, '_>, default: AtRisk) -> AtRisk {
    let (share, minutes) = ("at_risk_share", "at_risk_min");
    if section.has(share) && section.has(minutes) {
        section.mistake(
            "at_risk_share and at_risk_min both say when an answer is at risk: give only one of them",
        );
    }
    let of_share = section.share(share, AT_RISK_SHARE);
    let of_minutes = section.integer(minutes, 1..=ANSWER_MIN_MAX, 1);
    match (section.has(share), section.has(minutes)) {
        (true, _) => AtRisk::Share(of_share),
        (false, true) => AtRisk::Minutes(of_minutes),
        (false, false) => default,
    }
}

fn calendar_of(
    section: &Section<'_, '_>,
    calendars: &[Arc<Calendar>],
    default: Option<Arc<Calendar>>,
) -> Option<Arc<Calendar>> {
    let Some(name) = section.string("calendar") else { return default };
    if name.value == ALWAYS {
        return None;
    }
    let found = calendars.iter().find(|calendar| calendar.name == name.value);
    // One without a name may be the one that is meant: that is told.
    if found.is_none() && calendars.iter().all(|calendar| !calendar.name.is_empty()) {
        let known = calendars.iter().map(|calendar| calendar.name.as_str()).chain([ALWAYS]);
        let known = known.collect::<Vec<_>>().join(", ");
        section.mistake_at(
            &name,
            format_args!("{:?}: no [[calendar]] has this name; known: {known}", name.value),
        );
    }
    found.cloned()
}

fn calendars(root: &Section<'_, '_>, zone: &TimeZone) -> Vec<Arc<Calendar>> {
    let mut calendars: Vec<Arc<Calendar>> = Vec::new();
    for section in root.sections("calendar") {
        let given = section.string("name");
        let name = given.as_ref().map(|name| name.value.trim().to_owned()).unwrap_or_default();
        let is_taken = name == ALWAYS || calendars.iter().any(|other| other.name == name);
        match &given {
            Some(given) if name.is_empty() => section.mistake_at(given, "must not be empty"),
            Some(given) if is_taken => {
                section.mistake_at(given, format_args!("the name {name:?} is taken by another calendar"));
            }
            Some(_) => {}
            None => section.mistake("name is missing: what expectations call this calendar"),
        }
        let zone = time_zone(&section, zone.clone());
        let hours = section.string("hours");
        if hours.is_none() && !section.has("hours") {
            section.mistake("hours is missing: such as \"mon-fri 08:00-18:00, sat 09:00-13:00\"");
        }
        let week = hours
            .as_ref()
            .and_then(|text| text.value.parse().map_err(|no_week| section.mistake_at(text, no_week)).ok());
        let mut closings = Vec::new();
        let holidays = section.string_or_strings("holidays");
        if let Some(first_beyond) = holidays.get(CLOSINGS_MAX) {
            section.mistake_at(first_beyond, format_args!("more than {CLOSINGS_MAX} holidays"));
        }
        for text in holidays.iter().take(CLOSINGS_MAX) {
            match text.value.parse() {
                Ok(closing) => closings.push(closing),
                Err(no_closing) => section.mistake_at(text, no_closing),
            }
        }
        section.refuse_unknown();
        let is_complete = week.is_some();
        let calendar =
            Calendar { name, zone, hours: week.unwrap_or_else(crate::desk::week::Week::always), closings };
        if is_complete && !calendar.opens_within_four_years_of(FIRST_DAY) {
            section.mistake("never open: its holidays leave nothing of its hours");
        }
        calendars.push(Arc::new(calendar));
    }
    calendars
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const REST: &str = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n\
                        [triggers]\nbuiltin = false\n";

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let read = Config::parse(&format!("{REST}{text}"));
        read.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_rule_takes_what_it_does_not_say_from_answer_within() {
        let config = read(
            "[answer_within]\nx_min = 60\ndanger_min = 20\ncalendar = \"office\"\nat_risk_min = 30\n\
             [[calendar]]\nname = \"office\"\ntime_zone = \"Europe/Paris\"\nhours = \"mon-fri 9-17\"\nholidays = [\"07-14\"]\n\
             [[expectation]]\nwhen = { network = \"x\" }\nanswer_min = 40\n\
             [[expectation]]\nwhen = { network = \"bluesky\" }\nanswer_min = 40\ncalendar = \"always\"\nat_risk_share = 0.8\n\
             [[expectation]]\nanswer_min = 50\n",
        )
        .unwrap();
        let expectations = &config.desk.expectations;
        let seen: Vec<_> = expectations
            .rules
            .iter()
            .map(|(_, of)| {
                let calendar = of.calendar.as_ref().map(|calendar| calendar.name.as_str());
                (of.answer_within.as_secs() / 60, of.at_risk_after.as_secs() / 60, calendar)
            })
            .collect();
        assert_eq!(seen, [(40, 30, Some("office")), (40, 32, None), (50, 30, Some("office"))]);
        assert_eq!(expectations.by_network[2].answer_within.as_secs(), 3600);
        assert!(expectations.by_network.iter().all(|of| of.calendar.is_some()));
        let danger = &expectations.danger;
        assert_eq!((danger.answer_within.as_secs(), danger.at_risk_after.as_secs()), (1200, 900));
        assert!(danger.calendar.is_none());
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn a_rule_that_never_counts_is_named_with_the_one_before_it() {
        let config = read(
            "[[expectation]]\nwhen = { tier = [\"gold\", \"silver\"] }\nanswer_min = 40\n\
             [[expectation]]\nwhen = { tier = \"gold\", network = \"x\" }\nanswer_min = 20\n",
        )
        .unwrap();
        let expected = "expectation[2] never counts: expectation[1] holds wherever it does, and comes first";
        assert_eq!(config.warnings, [expected]);
    }

    #[test]
    fn every_mistake_names_its_place_and_what_is_right() {
        let check = |text: &str, expected: &[&str]| {
            let mistakes = read(text).expect_err(text);
            assert_eq!(mistakes.len(), expected.len(), "{text}: {mistakes:#?}");
            for (mistake, expected) in mistakes.iter().zip(expected) {
                assert!(mistake.contains(expected), "{text}: {mistake}");
            }
        };
        const OFFICE: &str = "[[calendar]]\nname = \"office\"\nhours = \"mon-fri 9-17\"\n";
        check(
            "[answer_within]\ncalendar = \"offices\"\n",
            &["line 10: answer_within.calendar: \"offices\": no [[calendar]] has this name; known: always"],
        );
        check(
            &format!("{OFFICE}{OFFICE}[[calendar]]\nname = \"always\"\nhours = \"always\"\n"),
            &[
                "line 13: calendar[2].name: the name \"office\" is taken",
                "line 16: calendar[3].name: the name \"always\" is taken",
            ],
        );
        check(
            &format!(
                "{OFFICE}time_zone = \"Europe/Pari\"\nholidays = [\"02-30\", \"2026-12-24\", \"soon\"]\nhour = 1\n"
            ),
            &[
                "line 12: calendar[1].time_zone: \"Europe/Pari\": must be a time zone",
                "line 13: calendar[1].holidays: \"02-30\": there is no such date",
                "line 13: calendar[1].holidays: \"soon\": must be a date",
                "line 14: calendar[1].hour = 1: unknown key; did you mean hours?",
            ],
        );
        check(&format!("{OFFICE}holidays = \"01-01..12-31\"\n"), &["calendar[1]: never open"]);
        check("[[calendar]]\n", &["calendar[1]: name is missing", "calendar[1]: hours is missing"]);
        check(
            "[[calendar]]\nname = \"rare\"\nhours = \"10:00-10:05\"\nholidays = [\"01-01..06-30\", \"07-02..12-31\"]\n\
             [[expectation]]\nanswer_min = 11\ncalendar = \"rare\"\n",
            &["expectation[1]: answer_min = 11: calendar rare has less working time than that in two years"],
        );
        check(
            "[[expectation]]\nanswer_min = 10\n[[expectation]]\nwhen = { network = \"x\" }\nanswer_min = 0\n",
            &[
                "expectation[1]: when is missing",
                "expectation[2].answer_min = 0: must be a whole number from 1 to 43200",
            ],
        );
        check(
            "[[expectation]]\nwhen = { network = \"x\" }\nat_risk_min = 120\nat_risk_share = 0.5\n",
            &["answer_min is missing", "at_risk_share and at_risk_min both"],
        );
        check(
            "[[expectation]]\nanswer_min = 60\nat_risk_min = 60\n",
            &["expectation[1]: at_risk_min = 60 is not below answer_min = 60"],
        );
    }
}
