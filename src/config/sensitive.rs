//! `[sensitive]`: topics whose words lift a ticket and may send it to a team.

use std::collections::{BTreeMap, HashMap};

use super::reader::{Placed, Section, nearest};
use crate::desk::priority::{Floors, PRIORITY_MAX, SQUEEZED};
use crate::desk::sensitive::{Topic, Topics, builtin, check, key};

/// Longest name of a topic; tickets and routes carry it.
const NAME_BYTES_MAX: usize = 40;

/// What the section says.
pub(super) struct Given {
    pub(super) topics: Topics,
    /// Of the topics whose tables say them.
    pub(super) points: BTreeMap<String, Placed<i64>>,
    /// Of all topics.
    pub(super) floors: Floors,
    /// Where a topic's team is named.
    pub(super) teams_named: Vec<Placed<String>>,
}

/// Reads the section.
pub(super) fn topics(section: &Section<'_, '_>, warnings: &mut Vec<String>) -> Given {
    let has_builtin = section.flag("builtin", true);
    let known = builtin();
    let mut topics: Vec<Topic> = if has_builtin { known.clone() } else { Vec::new() };
    let (mut points, mut teams, mut teams_named) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut floors: BTreeMap<String, u16> = BTreeMap::new();
    for (name, section) in section.other_sections() {
        let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if name.len() > NAME_BYTES_MAX || name.is_empty() || !name.bytes().all(is_name) {
            section.mistake(format_args!(
                "a topic's name is 1 to {NAME_BYTES_MAX} letters a to z, digits, `_` and `-`"
            ));
        }
        let is_known = known.iter().any(|topic| topic.name == name);
        let topic = Topic {
            builtin: section.flag("builtin", has_builtin) && is_known,
            words: phrases(&section, "words", warnings),
            exclude: phrases(&section, "exclude", warnings),
            name: name.clone(),
        };
        if topic.words.is_empty() && !is_known && !section.has("words") {
            let names: Vec<_> = known.iter().map(|topic| topic.name.as_str()).collect();
            let meant = nearest(&name, &names).map_or_else(
                || format!("; built in are {}", names.join(", ")),
                |near| format!("; did you mean {near}?"),
            );
            section.mistake(format_args!("words is missing: a topic of your own needs some{meant}"));
        }
        if has_builtin
            && section.has("words")
            && !is_known
            && let Some(near) =
                known.iter().map(|topic| topic.name.as_str()).find(|known| is_near(&name, known))
        {
            warnings.push(section.warning(format_args!(
                "a topic of your own, beside the built-in {near} and without its words and points; did you mean {near}?"
            )));
        }
        if section.has("points") {
            let given = section.points("points", 0);
            // In the range, or the mistake is noted.
            let placed = section.numbers("points").into_iter().next();
            points.extend(placed.map(|placed| (name.clone(), Placed { value: given.into(), ..placed })));
        }
        if let Some(team) = section.string("team") {
            if team.value.trim().is_empty() {
                section.mistake_at(&team, "must name a team");
            } else {
                teams.insert(name.clone(), team.value.trim().to_owned());
                teams_named.push(team);
            }
        }
        if let Some(floor) = floor(&section) {
            floors.insert(name.clone(), floor);
        }
        section.refuse_unknown();
        warn_of_idle_exclusions(&section, &topic, warnings);
        match topics.iter_mut().find(|other| other.name == name) {
            Some(place) => *place = topic,
            None => topics.push(topic),
        }
    }
    let is_default = topics == known;
    let mut topics = if is_default { Topics::default() } else { Topics::new(topics) };
    topics.teams = teams;
    let default = Floors::default();
    let floor = |topic: &str| Some((topic.to_owned(), floors.get(topic).copied().or(default.of(topic))?));
    let floors = Floors::new(topics.names().filter_map(floor));
    Given { topics, points, floors, teams_named }
}

/// The least priority of a topic's posts; 0: none.
fn floor(section: &Section<'_, '_>) -> Option<u16> {
    if !section.has("floor") {
        section.know("floor");
        return None;
    }
    let floor = section.integer("floor", 0..=PRIORITY_MAX.into(), 0);
    if floor != 0 && !(SQUEEZED.into()..PRIORITY_MAX.into()).contains(&floor) {
        section.mistake_in(
            "floor",
            format_args!(
                "floor = {floor}: must be 0, for none, or {SQUEEZED} to {}: others need room below",
                PRIORITY_MAX - 1
            ),
        );
    }
    u16::try_from(floor).ok()
}

fn is_near(name: &str, known: &str) -> bool {
    strsim::damerau_levenshtein(name, known) <= 2
}

/// The words of a list, each of which a text can hold.
fn phrases(section: &Section<'_, '_>, list: &'static str, warnings: &mut Vec<String>) -> Vec<String> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut phrases = Vec::new();
    for phrase in section.string_or_strings(list) {
        let Placed { value, .. } = &phrase;
        match check(value) {
            Err(why) => section.mistake_at(&phrase, format_args!("{value:?} {why}")),
            Ok(()) => {
                let twin = key(value).and_then(|key| seen.insert(key, value.clone()));
                if let Some(twin) = twin {
                    warnings.push(format!(
                        "{}: {twin:?} and {value:?} read the same: once is enough",
                        phrase.key
                    ));
                }
                phrases.push(value.trim().to_owned());
            }
        }
    }
    phrases
}

/// A phrase without a word of its topic takes nothing away.
fn warn_of_idle_exclusions(section: &Section<'_, '_>, topic: &Topic, warnings: &mut Vec<String>) {
    if topic.exclude.is_empty() {
        return;
    }
    let words = Topics::new(vec![Topic { exclude: Vec::new(), ..topic.clone() }]);
    for phrase in topic.exclude.iter().filter(|phrase| words.read(phrase).0.is_empty()) {
        warnings.push(format!(
            "{}.exclude: {phrase:?} holds no word of this topic, so that it changes nothing",
            section.path_in_file()
        ));
    }
}
