//! What a preset would send of a sample ticket: an option that its templates cannot work with, or a field that is not
//! there, is found by `vigie check` and not by a customer.

use minijinja::value::{Serde, Value};
use serde_json::json;

use super::config::options_with_defaults;
use super::helpdesk::Values;
use super::preset::{Escape, Preset, RenderError, Step};

/// Renders every template that needs nothing of an answer.
///
/// # Errors
///
/// The first that cannot be rendered, by its key.
pub fn rehearse(preset: &Preset, token: &str, options: &Values, sample: &Values) -> Result<(), RenderError> {
    let calls = &preset.calls;
    let option = options_with_defaults(preset, options);
    let mut values = sample.clone();
    values.insert("token".to_owned(), token.into());
    values.insert("option".to_owned(), option.into());
    values.insert("id".to_owned(), "1".into());
    values.insert("note".to_owned(), "sample".into());
    let mut session = Values::new();
    session.extend(
        calls.login.iter().flat_map(|login| login.capture.keys()).map(|name| (name.clone(), json!("1"))),
    );
    values.insert("session".to_owned(), session.into());
    let values = Value::from(Serde(&values));

    for (name, value) in &calls.headers {
        preset.render(&format!("headers.{name}"), value, Escape::Nothing, &values)?;
    }
    let single = [("login", calls.login.as_ref()), ("find.call", calls.find.as_ref().map(|find| &find.call))];
    let single = single.into_iter().filter_map(|(key, step)| Some((key.to_owned(), step?)));
    let operations = [
        ("create", &calls.create),
        ("note", &calls.note),
        ("reprioritise", &calls.reprioritise),
        ("erase", &calls.erase),
    ];
    let numbered = operations.into_iter().flat_map(|(name, steps)| {
        steps.iter().enumerate().map(move |(index, step)| (format!("{name}[{index}]"), step))
    });
    let captured: Vec<&String> = calls
        .create
        .iter()
        .chain(&calls.note)
        .chain(&calls.reprioritise)
        .chain(&calls.erase)
        .flat_map(|step| step.capture.keys())
        .collect();
    for (key, step) in single.chain(numbered) {
        step_of(preset, &key, step, &captured, &values)?;
    }
    Ok(())
}

fn step_of(
    preset: &Preset,
    key: &str,
    step: &Step,
    captured: &[&String],
    values: &Value,
) -> Result<(), RenderError> {
    let path = (format!("{key}.path"), step.path.as_str(), Escape::Url);
    let body = step.body.as_ref().map(|body| (format!("{key}.body"), body.as_str(), Escape::Json));
    let headers = step
        .headers
        .iter()
        .map(|(name, value)| (format!("{key}.headers.{name}"), value.as_str(), Escape::Nothing));
    for (key, template, escape) in [path].into_iter().chain(body).chain(headers) {
        // What an answer gives is not known here; `id` alone is the same everywhere.
        let mut words = template.split(|c: char| !c.is_alphanumeric() && c != '_');
        let needs_answers =
            words.any(|word| word == "item" || (word != "id" && captured.iter().any(|name| *name == word)));
        if !needs_answers {
            preset.render(&key, template, escape, values)?;
        }
    }
    Ok(())
}
