//! `when = { … }`: a condition as the file has it.

use jiff::tz::TimeZone;

use super::reader::{Section, nearest};
use crate::access::brands::is_same;
use crate::classify::{INTENTS, SENTIMENTS, URGENCIES};
use crate::desk::priority::PRIORITY_MAX;
use crate::desk::when::{Field, Quantity, Question, When};
use crate::parse::{Network, language};

/// What conditions may name.
pub(super) struct Known<'k> {
    /// The brands of the file.
    pub(super) brands: &'k [&'k str],
    /// The sensitive topics of the file and the built-in ones.
    pub(super) sensitive: &'k [&'k str],
    /// By which wall clock `hours` are meant.
    pub(super) zone: &'k TimeZone,
    /// Earlier contacts are looked at for so long.
    pub(super) contacts_days: u32,
    /// Through which channels people come: those with points of their own, in lower case.
    pub(super) channels: &'k [String],
}

impl Known<'_> {
    /// Whether a brand of the file has no name, which is told: it may be the one that is meant.
    pub(super) fn has_nameless_brand(&self) -> bool {
        self.brands.iter().any(|brand| brand.trim().is_empty())
    }

    /// What is wrong with a channel that nothing speaks of, and which was meant.
    fn unknown_channel(&self, channel: &str) -> Option<String> {
        if self.channels.iter().any(|known| known == channel) {
            return None;
        }
        let near = meant_channel(channel, self.channels).map_or_else(
            || {
                format!(
                    "known are {}; one of your own needs points in contacts.channels",
                    self.channels.join(", ")
                )
            },
            |near| format!("did you mean {near}?"),
        );
        Some(format!("{channel:?}: no channel that [priority] contacts.channels knows; {near}"))
    }
}

/// The built-in channel, or one of the company's, that this is another word or a misspelling for.
pub(super) fn meant_channel<'c>(channel: &str, known: &'c [String]) -> Option<&'c str> {
    const OTHER_WORDS: [(&str, &[&str]); 5] = [
        ("phone", &["telephone", "téléphone", "telefone", "telefon", "tel", "call", "appel", "hotline"]),
        ("mail", &["email", "e-mail", "courriel", "e-mails", "emails"]),
        ("chat", &["livechat", "live-chat", "webchat"]),
        ("shop", &["store", "boutique", "magasin"]),
        ("visit", &["visite", "technician"]),
    ];
    let other = OTHER_WORDS.iter().find(|(_, words)| words.contains(&channel)).map(|(known, _)| *known);
    let other = other.and_then(|other| known.iter().find(|known| **known == *other).map(String::as_str));
    // Of short words nearly everything is near.
    let distance = |known: &&String| strsim::damerau_levenshtein(channel, known);
    let is_near = |known: &&String| distance(known) <= 1 + usize::from(known.chars().count() > 4);
    other.or_else(|| known.iter().filter(is_near).min_by_key(distance).map(String::as_str))
}

/// Reads the condition of this table; every mistake is noted with its place.
pub(super) fn when(section: &Section<'_, '_>, known: &Known<'_>, warnings: &mut Vec<String>) -> When {
    let networks = Network::ALL.map(Network::name);
    let lists: [(Field, Option<&[&str]>); 11] = [
        (Field::Brand, Some(known.brands)),
        (Field::Network, Some(&networks)),
        (Field::Language, None),
        (Field::Sentiment, Some(&SENTIMENTS)),
        (Field::Intent, Some(&INTENTS)),
        (Field::Urgency, Some(&URGENCIES)),
        (Field::Tier, None),
        (Field::Flag, None),
        (Field::Topic, None),
        (Field::Channel, None),
        (Field::Sensitive, Some(known.sensitive)),
    ];
    let mut words = Vec::new();
    for (field, accepted) in lists {
        let mut given = Vec::new();
        for word in section.string_or_strings(field.name()) {
            match accepted {
                _ if bare(field, &word.value).is_empty() => section.mistake_at(&word, "must not be empty"),
                _ if field == Field::Language => match code(&word.value) {
                    Some(code) => given.push(code),
                    None => section.mistake_at(
                        &word,
                        format_args!("{:?}: must be a language's code, as fr, en or pt", word.value),
                    ),
                },
                Some(_) if field == Field::Brand && known.has_nameless_brand() => {}
                Some(accepted) if !accepted.iter().any(|known| is_same(known, word.value.trim())) => {
                    let near = nearest(&word.value.trim().to_lowercase(), accepted);
                    let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                    let text = format_args!("{:?}: must be of {}{near}", word.value, accepted.join(", "));
                    section.mistake_at(&word, text);
                }
                _ => {
                    let bare = bare(field, &word.value).to_lowercase();
                    if field == Field::Channel
                        && let Some(unknown) = known.unknown_channel(&bare)
                    {
                        warnings.push(section.warning_at(&word, unknown));
                    }
                    given.push(bare);
                }
            }
        }
        given.sort_unstable();
        given.dedup();
        if !given.is_empty() {
            words.push((field, given));
        }
    }
    let bounds: [(Quantity, &'static str, &'static str, i64); 5] = [
        (Quantity::Priority, "priority_min", "priority_max", PRIORITY_MAX.into()),
        (Quantity::Followers, "followers_min", "followers_max", 1_000_000_000),
        (Quantity::Value, "value_min", "value_max", 1_000_000_000_000),
        (Quantity::Contacts, "contacts_min", "contacts_max", 32),
        (Quantity::Bought, "bought_days_min", "bought_days_max", 36_500),
    ];
    let mut ranges = Vec::new();
    for (quantity, min, max, limit) in bounds {
        let is_asked = section.has(min) || section.has(max);
        let most = if section.has(max) { section.integer(max, 0..=limit, limit) } else { i64::MAX };
        let least = section.integer(min, 0..=limit, 0);
        // Known to the section, so that a misspelt one is told of.
        section.know(max);
        if least > most {
            section.mistake(format_args!("{min} = {least} is above {max} = {most}: nothing lies between"));
        } else if is_asked {
            ranges.push((quantity, least..=most));
        }
    }
    let questions = [
        (Question::Customer, "customer"),
        (Question::Addressed, "addressed"),
        (Question::Verified, "verified"),
    ];
    let answers = questions.into_iter().filter_map(|(question, key)| {
        let answer = section.flag(key, true);
        section.has(key).then_some((question, answer))
    });
    let answers: Vec<_> = answers.collect();
    let hours = section.string("hours").and_then(|text| match text.value.parse() {
        Ok(week) => Some((week, known.zone.clone())),
        Err(no_week) => {
            section.mistake_at(&text, no_week);
            None
        }
    });
    section.refuse_unknown();
    if answers.contains(&(Question::Customer, false)) {
        let of_customers = words.iter().filter(|(field, _)| matches!(field, Field::Tier | Field::Flag));
        let of_customers = of_customers.map(|(field, _)| field.name());
        let theirs = ranges.iter().map(|(quantity, _)| *quantity);
        let theirs = theirs.filter(|quantity| matches!(quantity, Quantity::Value | Quantity::Bought));
        if let Some(key) = of_customers.chain(theirs.map(Quantity::name)).next() {
            let path = section.path_in_file();
            warnings.push(format!(
                "{path}: customer = false beside {key}, which customers alone have: it never holds"
            ));
        }
    }
    When { words, ranges, answers, hours }
}

/// A word as it is compared: a topic without what makes it a hashtag or a handle.
fn bare(field: Field, word: &str) -> &str {
    match field {
        Field::Topic => word.trim().trim_start_matches(['#', '@']).trim_start(),
        _ => word.trim(),
    }
}

/// The primary subtag, as posts and verdicts have it: `fr` of `fr-FR`. `None` for what is no code of two or three letters;
/// `und` is what verdicts say of a language that nobody knows.
fn code(tag: &str) -> Option<String> {
    let tag = tag.trim();
    if tag.eq_ignore_ascii_case("und") {
        return Some("und".to_owned());
    }
    language::primary(tag).filter(|code| code.len() <= 3).map(Into::into)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::desk::when::{Field, Quantity, Question, When};

    fn config(when: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n\
             [desk]\ntime_zone = \"Europe/Paris\"\n[[priority.combination]]\nname = \"a\"\npoints = -1\nwhen = {when}\n"
        );
        Config::parse(&text).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    fn when(text: &str) -> When {
        config(text).unwrap().desk.factors.combinations.remove(0).when().clone()
    }

    #[test]
    fn a_condition_reads_one_word_or_several_in_any_case() {
        let read =
            when("{ sentiment = \"Negative\", tier = [\"Silver\", \"gold\", \"gold\"], brand = \"LUMIO\" }");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let expected = vec![
            (Field::Brand, words(&["lumio"])),
            (Field::Sentiment, words(&["negative"])),
            (Field::Tier, words(&["gold", "silver"])),
        ];
        assert_eq!(read, When { words: expected, ..When::default() });
    }

    #[test]
    fn a_language_is_its_primary_subtag_and_a_topic_has_no_mark() {
        let read =
            when("{ language = [\"fr-FR\", \"PT_br\", \"und\", \"iw\"], topic = [\"#Panne\", \"@lumio\"] }");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            read.words,
            [
                (Field::Language, words(&["fr", "he", "pt", "und"])),
                (Field::Topic, words(&["lumio", "panne"]))
            ]
        );
    }

    #[test]
    fn what_only_customers_have_is_never_found_where_nobody_is_one() {
        let warnings = |when: &str| config(when).unwrap().warnings;
        for (key, asked) in [
            ("tier", "tier = \"gold\""),
            ("flag", "flag = \"press\""),
            ("value", "value_min = 5"),
            ("bought_days", "bought_days_max = 14"),
        ] {
            let expected = format!(
                "priority.combination[1].when: customer = false beside {key}, which customers alone have: it never holds"
            );
            assert_eq!(warnings(&format!("{{ customer = false, {asked} }}")), [expected]);
            assert_eq!(warnings(&format!("{{ customer = true, {asked} }}")), [""; 0]);
        }
        assert_eq!(warnings("{ customer = false, channel = \"phone\" }"), [""; 0]);
    }

    #[test]
    fn ranges_are_open_where_nothing_is_said_and_answers_count_only_if_given() {
        let read = when("{ followers_min = 10, value_max = 5, customer = false }");
        assert_eq!(read.ranges, [(Quantity::Followers, 10..=i64::MAX), (Quantity::Value, 0..=5)]);
        assert_eq!(read.answers, [(Question::Customer, false)]);
    }

    #[test]
    fn hours_are_those_of_the_desks_clock() {
        let (week, zone) = when("{ hours = \"mon-fri 8-18\" }").hours.unwrap();
        assert_eq!((week, zone.iana_name()), ("mon-fri 8-18".parse().unwrap(), Some("Europe/Paris")));
    }

    #[test]
    fn a_mistake_in_a_condition_names_key_value_and_what_would_do() {
        for (text, expected) in [
            (
                "{ sentimnt = \"negative\" }",
                "when.sentimnt = \"negative\": unknown key; did you mean sentiment?",
            ),
            (
                "{ sentiment = \"angry\" }",
                "when.sentiment: \"angry\": must be of negative, neutral, positive",
            ),
            ("{ brand = [\"Lumio\", \"Nope\"] }", "when.brand: \"Nope\": must be of Lumio"),
            ("{ intent = \"Problm\" }", "complaint, praise, other; did you mean problem?"),
            ("{ sensitive = \"saftey\" }", "press; did you mean safety?"),
            ("{ tier = [1] }", "when.tier = 1: each item of the list must be a text in quotes"),
            ("{ tier = 1 }", "when.tier = 1: must be a text in quotes, or a list of such"),
            ("{ tier = \" \" }", "when.tier: must not be empty"),
            ("{ topic = \"#\" }", "when.topic: must not be empty"),
            (
                "{ language = \"french\" }",
                "when.language: \"french\": must be a language's code, as fr, en or pt",
            ),
            ("{ language = \"f\" }", "when.language: \"f\": must be a language's code"),
            ("{ followers_min = 5, followers_max = 4 }", "followers_min = 5 is above followers_max = 4"),
            ("{ hours = \"mon 9\" }", "when.hours: \"mon 9\": must be days and hours"),
            ("{ priority_min = 5 }", "points cannot depend on the priority"),
            ("{ customer = 1 }", "when.customer = 1: must be true or false"),
            ("{}", "when is missing: what must hold"),
            ("3", "when = 3: must be a table"),
        ] {
            let told = config(text).unwrap_err();
            assert!(told.iter().any(|told| told.contains(expected)), "{text}: {told:?}");
        }
    }
}
