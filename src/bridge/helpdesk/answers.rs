//! What a helpdesk's answers say, by its preset's expressions: plain code.

use std::collections::{BTreeMap, HashMap};

use minijinja::value::Value;

use super::Values;
use crate::bridge::http::CallError;
use crate::bridge::preset::{Changed, Fields, Find, Preset, RenderError};
use crate::ticket::proto::ticket_status::State;

/// What a ticket's state is called where the helpdesk says that it knows no such ticket.
pub const GONE: &str = "gone";
/// Of what nobody can make anything of, characters that are kept.
const MISREAD_CHARS_MAX: usize = 40;

/// What has become of a ticket in the helpdesk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// In our words; `None` where the preset does not know the helpdesk's.
    pub state: Option<State>,
    /// In its own.
    pub state_there: String,
    /// Empty: nobody's.
    pub agent: String,
    /// Microseconds since 1970.
    pub first_answer_at_us: Option<i64>,
    /// 1 to 5.
    pub satisfaction: Option<u32>,
    /// 0 to 10: how likely the customer is to recommend the company.
    pub recommendation: Option<u32>,
    /// The ticket that it was merged into.
    pub merged_into: Option<String>,
    /// What its level is called there.
    pub level_there: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// What it says that nobody can make anything of: the field, and the beginning of what stands in it.
    pub misread: Vec<(&'static str, String)>,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Which tickets, and what has become of them where the listing says it.
    pub cases: Vec<(String, Option<Standing>)>,
    /// When each was changed last, where the listing says it.
    pub at: BTreeMap<String, String>,
    /// From where to go on.
    pub cursor: String,
    /// Whether there is more already.
    pub more: bool,
}

impl From<RenderError> for CallError {
    fn from(error: RenderError) -> CallError {
        CallError::Template(error.to_string())
    }
}

impl Standing {
    /// Of a ticket that the helpdesk does not know.
    pub(super) fn gone() -> Standing {
        Standing {
            state: Some(State::Deleted),
            state_there: GONE.to_owned(),
            agent: String::new(),
            first_answer_at_us: None,
            satisfaction: None,
            recommendation: None,
            merged_into: None,
            level_there: None,
            subject: None,
            misread: Vec::new(),
        }
    }
}

/// The ids in the answer to a search; `is_answered`: whether there was one.
pub(super) fn found(
    preset: &Preset,
    find: &Find,
    values: &mut Values,
    is_answered: bool,
) -> Result<Vec<String>, CallError> {
    let mut ids = Vec::new();
    for item in items(preset, "find.items", &find.items, values, is_answered)? {
        values.insert("item".to_owned(), item);
        let seen = seen_by(&*values);
        let is_ours = match &find.matches {
            Some(matches) => preset.evaluate("find.matches", matches, &seen)?.is_true(),
            None => true,
        };
        if is_ours {
            ids.extend(id_of(&preset.evaluate("find.id", &find.id, &seen)?));
        }
    }
    Ok(ids)
}

/// A page of changes in the answer to a listing from `cursor` on.
pub(super) fn changes(
    preset: &Preset,
    changed: &Changed,
    mut values: Values,
    cursor: String,
    is_answered: bool,
) -> Result<Changes, CallError> {
    let seen = seen_by(&values);
    let next = preset.evaluate("changed.cursor", &changed.cursor, &seen)?;
    let more = match &changed.more {
        Some(more) => preset.evaluate("changed.more", more, &seen)?.is_true(),
        None => false,
    };
    // Each once, as it is said last.
    let mut cases: Vec<(String, Option<Standing>)> = Vec::new();
    let mut place_of: HashMap<String, usize> = HashMap::new();
    let mut at = BTreeMap::new();
    for item in items(preset, "changed.items", &changed.items, &values, is_answered)? {
        values.insert("item".to_owned(), item);
        let seen = seen_by(&values);
        let Some(id) = id_of(&preset.evaluate("changed.id", &changed.id, &seen)?) else { continue };
        let standing = match &changed.fields {
            // One of which the listing does not say it is to be read.
            Some(fields) => Some(standing(preset, "changed.fields", fields, &values)?)
                .filter(|standing| !standing.state_there.is_empty()),
            None => None,
        };
        if let Some(changed_at) = &changed.at {
            let changed_at = preset.evaluate("changed.at", changed_at, &seen)?;
            at.extend(id_of(&changed_at).map(|changed_at| (id.clone(), changed_at)));
        }
        match place_of.get(&id) {
            Some(place) => cases[*place].1 = standing,
            None => {
                place_of.insert(id.clone(), cases.len());
                cases.push((id, standing));
            }
        }
    }
    let next = if next.is_undefined() || next.is_none() { cursor } else { text_of(&next) };
    Ok(Changes { cases, at, cursor: next, more })
}

/// What has become of a ticket, which is `item` among the values.
pub(super) fn standing(
    preset: &Preset,
    key: &str,
    fields: &Fields,
    values: &Values,
) -> Result<Standing, CallError> {
    let seen = seen_by(values);
    let field = |name: &str, expression: Option<&String>| -> Result<Option<Value>, CallError> {
        let Some(expression) = expression else { return Ok(None) };
        let value = preset.evaluate(&format!("{key}.{name}"), expression, &seen)?;
        Ok(Some(value).filter(|value| !value.is_undefined() && !value.is_none()))
    };
    let state_there = field("state", Some(&fields.state))?.map(|state| text_of(&state)).unwrap_or_default();
    let state = preset.calls.states.get(&state_there).map(|state| State::from(*state));
    let mut misread = Vec::new();
    if state.is_none() {
        misread.push(("state", start_of(&state_there)));
    }
    // Of these one that is wrong loses none of the others.
    let mut lenient = |name: &'static str, expression, meaning: fn(&Value) -> Option<i64>| {
        let said = match field(name, expression) {
            Ok(value) => value?,
            Err(error) => Value::from(error.to_string()),
        };
        // An empty field is one in which nobody has said anything.
        if said.as_str().is_some_and(|text| text.trim().is_empty()) {
            return None;
        }
        let meant = meaning(&said);
        if meant.is_none() {
            misread.push((name, start_of(&text_of(&said))));
        }
        meant
    };
    let first_answer_at_us = lenient("first_answer_at", fields.first_answer_at.as_ref(), moment);
    let satisfaction = lenient("satisfaction", fields.satisfaction.as_ref(), |said| {
        number(said).filter(|given| (1..=5).contains(given))
    });
    let recommendation = lenient("recommendation", fields.recommendation.as_ref(), |said| {
        number(said).filter(|given| (0..=10).contains(given))
    });
    Ok(Standing {
        state,
        state_there,
        agent: field("agent", fields.agent.as_ref())?.map(|agent| text_of(&agent)).unwrap_or_default(),
        // 0 is what some say where there is none.
        first_answer_at_us: first_answer_at_us.filter(|at_us| *at_us > 0),
        satisfaction: satisfaction.and_then(|given| u32::try_from(given).ok()),
        recommendation: recommendation.and_then(|given| u32::try_from(given).ok()),
        merged_into: field("merged_into", fields.merged_into.as_ref())?.and_then(|id| id_of(&id)),
        level_there: field("level", fields.level.as_ref())?.map(|level| text_of(&level)),
        subject: field("subject", fields.subject.as_ref())?.map(|subject| text_of(&subject)),
        misread,
    })
}

/// The list that the expression says; an answer without it is not the one that the helpdesk is known to give.
pub(super) fn items(
    preset: &Preset,
    key: &str,
    expression: &str,
    values: &Values,
    is_answered: bool,
) -> Result<Vec<serde_json::Value>, CallError> {
    let items = preset.evaluate(key, expression, &seen_by(values))?;
    match serde_json::to_value(&items) {
        Ok(serde_json::Value::Array(items)) => Ok(items),
        _ if is_answered => Err(CallError::Unclear(format!("{key}: the answer holds no such list"))),
        _ => Ok(Vec::new()),
    }
}

/// Numbers and texts are ids; nothing else is, and no empty text.
pub(in crate::bridge) fn id_of(value: &Value) -> Option<String> {
    let id = match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_number() => value.to_string(),
        None => return None,
    };
    Some(id).filter(|id| !id.is_empty())
}

pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The beginning of what a field holds, for logs, on one line: what stands there may be anybody's.
fn start_of(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MISREAD_CHARS_MAX).collect()
}

/// RFC 3339, or seconds since 1970.
fn moment(value: &Value) -> Option<i64> {
    match value.as_str() {
        Some(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond),
        None if value.is_number() => i64::try_from(value.clone()).ok()?.checked_mul(1_000_000),
        None => None,
    }
    .filter(|at_us| *at_us >= 0)
}

/// A whole number, or a text that is one: fields of an operator's own hold either.
fn number(value: &Value) -> Option<i64> {
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None if value.is_number() => i64::try_from(value.clone()).ok(),
        None => None,
    }
}

/// What a template or expression sees of these values.
pub(in crate::bridge) fn seen_by(values: &impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(values))
}
