//! What a preset would send of a sample ticket and of a change of it, each call with the values that it is really given: an
//! option that its templates cannot work with, or a field that is not there, is found by `vigie check` and not by a
//! customer.

use std::collections::BTreeSet;

use minijinja::value::{Serde, Value};
use serde_json::json;

use super::helpdesk::{Teams, Values, common, options_with_defaults};
use super::preset::{Escape, Preset, RenderError, Step};
use super::text::{About, Texts, sample};
use crate::ticket::proto::Level;
use crate::ticket::proto::update::Change;

/// Of an answer, and so not known here.
const OF_ANSWERS: [&str; 4] = ["item", "response", "status", "headers"];

/// Renders every template that needs nothing of an answer, for a ticket of no team and for one of each team that has
/// options of its own.
///
/// # Errors
///
/// The first that cannot be rendered, by its key, and of which team the ticket is.
pub fn rehearse(
    preset: &Preset,
    token: &str,
    options: &Values,
    teams: &Teams,
    texts: &Texts,
) -> Result<(), (Option<String>, RenderError)> {
    for (team, seen) in of_each_team(preset, token, options, teams) {
        all_calls(preset, seen, texts).map_err(|error| (team, error))?;
    }
    Ok(())
}

/// The names that stand beside the operator's fields in what makes a ticket, where they have no place of their own there:
/// a field that is called so would take the preset's one away. What cannot be rendered has none: [`rehearse`] says so.
pub fn names_beside_fields(
    preset: &Preset,
    token: &str,
    options: &Values,
    teams: &Teams,
    texts: &Texts,
) -> BTreeSet<String> {
    // No preset writes such a name.
    const PROBE: &str = "vigie's probe";
    let ticket = texts.ticket(&sample::tickets("Sample").remove(0));
    let mut names = BTreeSet::new();
    for (_, common) in of_each_team(preset, token, options, teams) {
        for step in &preset.calls.create {
            let with_fields = |fields: serde_json::Value| -> Option<Values> {
                let mut seen: Values = common.clone().into_iter().chain(ticket.clone()).collect();
                seen.insert("fields".to_owned(), fields);
                let seen = Value::from(Serde(&seen));
                let body = preset.render("create", step.body.as_ref()?, Escape::Json, &seen).ok()?;
                serde_json::from_str(&body).ok()
            };
            if with_fields(json!({ PROBE: "x" })).is_some_and(|body| body.contains_key(PROBE)) {
                names.extend(with_fields(json!({})).unwrap_or_default().into_iter().map(|(name, _)| name));
            }
        }
    }
    names
}

/// What the calls see of which the ticket is of no team, and of each team that has options of its own.
fn of_each_team(
    preset: &Preset,
    token: &str,
    options: &Values,
    teams: &Teams,
) -> Vec<(Option<String>, Values)> {
    let (base, of_teams) = common(token, options_with_defaults(preset, options), teams);
    let of_team = |(team, own): (String, Values)| {
        let mut seen = base.clone();
        seen.insert("option".to_owned(), own.into());
        (Some(team), seen)
    };
    let of_teams: Vec<_> = of_teams.into_iter().map(of_team).collect();
    std::iter::once((None, base)).chain(of_teams).collect()
}

fn all_calls(preset: &Preset, mut common: Values, texts: &Texts) -> Result<(), RenderError> {
    let calls = &preset.calls;
    let login = calls.login.as_ref();
    if let Some(login) = login {
        step_of(preset, "login", login, &common)?;
        let session = login.capture.keys().map(|name| (name.clone(), json!("1"))).collect::<Values>();
        common.insert("session".to_owned(), session.into());
    }
    let seen = Value::from(Serde(&common));
    for (name, value) in &calls.headers {
        preset.render(&format!("headers.{name}"), value, Escape::Nothing, &seen)?;
    }

    let also = |more: Values| -> Values { common.clone().into_iter().chain(more).collect() };
    let named = |name: &str, value: serde_json::Value| Values::from_iter([(name.to_owned(), value)]);
    let id = also(named("id", "1".into()));
    let ticket = sample::tickets("Sample").remove(0);
    // Those that are empty in this ticket are not in another.
    let fields: Values = texts.fields().names().iter().map(|name| (name.clone(), "x".into())).collect();
    let mut made = also(texts.ticket(&ticket));
    made.insert("fields".to_owned(), fields.clone().into());
    let about = About { reference: "00", brand: "Sample", language: None, level: None };
    let followed_up =
        sample::updates().into_iter().find(|update| matches!(update.change, Some(Change::FollowedUp(_))));
    let mut changed = texts.change(&about, &followed_up.unwrap_or_default(), Level::P1);
    changed.extend(id.clone());
    // Times and cursors are as long or short as their helpdesk likes.
    let mut listed = also(named("now", "2026-11-24T13:05:00Z".into()));
    listed.insert("now_s".to_owned(), 1_795_525_500.into());
    listed.insert("cursor".to_owned(), "1".into());

    if let Some(find) = &calls.find {
        let values = also(named("ref", "00".into()));
        step_of(preset, "find.call", &find.call, &values)?;
        steps_of(preset, "find.further", &find.further, &values)?;
    }
    steps_of(preset, "create", &calls.create, &made)?;
    let changes = [
        ("note", &calls.note),
        ("reprioritise", &calls.reprioritise),
        ("erase", &calls.erase),
        ("erase_note", &calls.erase_note),
    ];
    for (name, steps) in changes {
        steps_of(preset, name, steps, &changed)?;
    }
    steps_of(preset, "remove", &calls.remove, &id)?;
    if let Some(read) = &calls.read {
        step_of(preset, "read.call", &read.call, &id)?;
        steps_of(preset, "read.also", &read.also, &id)?;
    }
    if let Some(changed) = &calls.changed {
        if let Some(start) = &changed.start {
            step_of(preset, "changed.start", start, &listed)?;
        }
        step_of(preset, "changed.call", &changed.call, &listed)?;
        steps_of(preset, "changed.also", &changed.also, &listed)?;
    }
    let asked = also(named("fields", fields.into()));
    for (index, probe) in calls.probe.iter().enumerate() {
        step_of(preset, &format!("probe[{index}].call"), &probe.call, &asked)?;
    }
    Ok(())
}

fn steps_of(preset: &Preset, name: &str, steps: &[Step], values: &Values) -> Result<(), RenderError> {
    steps.iter().enumerate().try_for_each(|(index, step)| {
        let key = format!("{name}[{index}]");
        step_of(preset, &key, step, values)
    })
}

fn step_of(preset: &Preset, key: &str, step: &Step, values: &Values) -> Result<(), RenderError> {
    let calls = &preset.calls;
    let read = calls.read.iter().flat_map(|read| std::iter::once(&read.call).chain(&read.also));
    let listed = calls.changed.iter().flat_map(|list| std::iter::once(&list.call).chain(&list.also));
    let steps =
        [&calls.create, &calls.note, &calls.reprioritise, &calls.erase, &calls.erase_note, &calls.remove];
    let captured: Vec<&String> =
        steps.into_iter().flatten().chain(read).chain(listed).flat_map(|step| step.capture.keys()).collect();
    let path = (format!("{key}.path"), step.path.as_str(), Escape::Url);
    let body = step.body.as_ref().map(|body| (format!("{key}.body"), body.as_str(), Escape::Json));
    let headers = step
        .headers
        .iter()
        .map(|(name, value)| (format!("{key}.headers.{name}"), value.as_str(), Escape::Nothing));
    let mut seen = values.clone();
    // Of the calls that make a ticket, those after the one that does: the id alone is the same everywhere.
    seen.entry("id").or_insert_with(|| "1".into());
    let seen = Value::from(Serde(&seen));
    for (key, template, escape) in [path].into_iter().chain(body).chain(headers) {
        let needs_answers = preset.asked_by_template(template).iter().any(|asked| {
            let name = asked.split('.').next().unwrap_or_default();
            OF_ANSWERS.contains(&name) || (name != "id" && captured.iter().any(|captured| *captured == name))
        });
        if !needs_answers {
            preset.render(&key, template, escape, &seen)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::text::{FourByte, Shape};

    /// `(what stands in the preset, what is put there)`: the key that is named, if one is.
    fn check(there: &str, put: &str, key: Option<&str>) {
        const PRESET: &str = r#"
title = "Small"
quota_per_minute = 60
levels = [1, 2, 3, 4]
[find]
call = { method = "GET", path = "/find" }
items = "response"
id = "item.id"
[[create]]
method = "POST"
path = "/tickets"
body = '{"text": {{ body }}}'
capture = { id = "response.id", place = "response.place" }
[[note]]
method = "POST"
path = "/notes"
[[erase]]
method = "POST"
path = "/erase"
[[remove]]
method = "POST"
path = "/remove"
[read]
call = { method = "GET", path = "/read" }
fields = { state = "item.state" }
"#;
        assert!(PRESET.contains(there), "{there}");
        let preset = Preset::parse(&PRESET.replace(there, put)).unwrap();
        let texts =
            Texts::new(Shape { four_byte: FourByte::Keep, ..Shape::of(&preset) }, Vec::new()).unwrap();
        let rehearsed = rehearse(&preset, "token", &Values::new(), &Teams::new(), &texts);
        assert_eq!(
            rehearsed.as_ref().err().map(|(_, error)| error.key.as_str()),
            key,
            "{put}: {rehearsed:?}"
        );
    }

    #[test]
    fn each_call_is_tried_with_what_it_is_given() {
        check("/find", "/find?ref={{ ref }}", None);
        check("/find", "/find?title={{ subject }}", Some("find.call.path"));
        check("/tickets", "/tickets?by={{ ticket.post.author.id }}&tags={{ tags|length }}", None);
        check(
            "/notes",
            "/notes?{{ id }}{{ note }}{{ level_value }}{{ priority }}{{ subject }}{{ place.x }}",
            None,
        );
        check("/notes", "/notes?by={{ ticket.post.author.id }}", Some("note[0].path"));
        check("/erase", "/erase?{{ id }}{{ subject }}{{ body_html }}", None);
        check("/erase", "/erase?tags={{ tags|length }}", Some("erase[0].path"));
        // What is called as an answer's part is, and is none.
        check("/notes", "/notes?status={{ ticket.post.author.id }}", Some("note[0].path"));
        check("/remove", "/remove/{{ id }}", None);
        check("/remove", "/remove/{{ ref }}", Some("remove[0].path"));
        check("/read", "/read/{{ id }}", None);
        check("/read", "/read/{{ ref }}", Some("read.call.path"));
    }
}
