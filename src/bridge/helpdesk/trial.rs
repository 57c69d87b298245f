//! What must hold whatever a helpdesk answers.

use std::sync::LazyLock;

use serde_json::{Value as Json, json};

use super::answers::{self, Standing, id_of, seen_by};
use super::options_with_defaults;
use super::{Case, Values};
use crate::bridge::preset::{BUILT_IN, Preset, Step};
use crate::bridge::reconcile::status;
use crate::parse::Network;
use crate::ticket::TicketId;

static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    let parse = |(_, text): &(&str, &str)| Preset::parse(text).expect("a test reads each built-in preset");
    BUILT_IN.iter().map(parse).collect()
});

/// Answers to a search, to a listing, to a reading and the calls after it: a line each, JSON or not. Nothing panics, no id
/// is empty, and what becomes of a status is what the ticket socket takes.
pub(crate) fn answers(data: &[u8]) {
    let (preset, data) = data.split_first().unwrap_or((&0, &[]));
    let preset = &PRESETS[usize::from(*preset) % PRESETS.len()];
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut answer = || serde_json::from_slice::<Json>(lines.next().unwrap_or_default()).unwrap_or_default();
    let calls = &preset.calls;
    let given = calls.options.keys().map(|name| (name.clone(), json!("7"))).collect();
    let mut values = Values::new();
    values.insert("option".to_owned(), options_with_defaults(preset, &given).into());
    values.insert("ref".to_owned(), "00".into());
    values.insert("id".to_owned(), "17".into());

    if let Some(find) = &calls.find {
        values.insert("response".to_owned(), answer());
        if let Ok(ids) = answers::found(preset, find, &mut values, true) {
            assert!(ids.iter().all(|id| !id.is_empty()), "an empty id is none");
        }
    }
    if let Some(changed) = &calls.changed {
        values.insert("response".to_owned(), answer());
        let page = answers::changes(preset, changed, values.clone(), "before".to_owned(), true);
        for (id, standing) in page.into_iter().flat_map(|page| page.cases) {
            assert!(!id.is_empty(), "an empty id is none");
            standing.iter().for_each(told);
        }
    }
    for (key, steps) in [("create", &calls.create), ("note", &calls.note), ("erase", &calls.erase)] {
        for (index, step) in steps.iter().enumerate() {
            take(preset, &format!("{key}[{index}]"), step, answer(), &mut values);
            let id = values.get("id").and_then(|id| id_of(&seen_by(id)));
            let case = id.map(|id| Case { id, captured: values.clone() });
            assert!(case.is_none_or(|case| !case.id.is_empty()), "an empty id is none");
        }
    }
    if let Some(read) = &calls.read {
        let item = answer();
        values.insert("item".to_owned(), item.clone());
        take(preset, "read.call", &read.call, item, &mut values);
        for (index, step) in read.also.iter().enumerate() {
            take(preset, &format!("read.also[{index}]"), step, answer(), &mut values);
        }
        if let Ok(standing) = answers::standing(preset, "read.fields", &read.fields, &values) {
            told(&standing);
        }
    }
}

/// What is taken from the answer to a step.
fn take(preset: &Preset, key: &str, step: &Step, answer: Json, values: &mut Values) {
    values.insert("response".to_owned(), answer);
    let done =
        step.done.as_ref().map(|done| preset.evaluate(&format!("{key}.done"), done, &seen_by(&*values)));
    drop(done);
    for (name, expression) in &step.capture {
        let value = preset.evaluate(&format!("{key}.capture.{name}"), expression, &seen_by(&*values));
        if let Ok(value) = value
            && !value.is_undefined()
        {
            values.insert(name.clone(), serde_json::to_value(&value).unwrap_or_default());
        }
    }
}

/// The daemon takes it, the first time and after something else (`wire/feedback.rs`).
fn told(standing: &Standing) {
    let ticket_id = TicketId::of_post(Network::X, "1");
    let first = status::status(ticket_id, "17", standing, None);
    let gone = status::status(ticket_id, "17", &Standing::gone(), Some(&first));
    for status in [first, gone] {
        assert!(status.agent.len() <= 200 && status.helpdesk_ref.len() <= 200, "{status:?}");
        assert!(
            status.satisfaction <= 5 && status.recommendation.is_none_or(|given| given <= 10),
            "{status:?}"
        );
        assert!(status.first_answer_at_us >= 0, "{status:?}");
        assert!(!status.agent.chars().any(char::is_control), "{status:?}");
    }
}
