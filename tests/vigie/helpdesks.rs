//! Helpdesks: each built-in preset against what its helpdesk really says, or a fake says of it.

mod real;
mod statuses;
mod vendors;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use vigie::bridge::helpdesk::{Case, Helpdesk, Standing, Values};
use vigie::bridge::http::Http;
use vigie::bridge::pace::Pace;
use vigie::bridge::preset::{BUILT_IN, Preset};
use vigie::ticket::proto::ticket_status::State;

/// Calls a minute that no test waits for.
const CALLS: u32 = 600_000;

/// A built-in preset.
fn built_in(kind: &str) -> Preset {
    let (_, text) = BUILT_IN.iter().find(|(name, _)| *name == kind).unwrap();
    Preset::parse(text).unwrap()
}

fn helpdesk(preset: Preset, url: &str, token: &str, options: serde_json::Value) -> Helpdesk {
    let http = Http::new(url, None, Duration::from_secs(60));
    let serde_json::Value::Object(options) = options else { panic!("options are a table") };
    Helpdesk::new(preset, http, Arc::new(Pace::new(CALLS)), token, &options)
}

/// What a bridge would give the templates: a ticket of this level, 0 for P1.
fn values(helpdesk: &Helpdesk, reference: &str, level: usize) -> Values {
    let level_value = serde_json::to_value(&helpdesk.preset().calls.levels[level]).unwrap();
    let subject = format!("P{}: \"my box\" is {{{{ kaput }}}} \u{1f525}", level + 1);
    let body = format!("It's <kaput> & \"gone\".\nSecond\tline \u{1f525}\n\nvigie-ref: {reference}");
    let html =
        body.replace('&', "&amp;").replace('<', "&lt;").replace("\n\n", "</p><p>").replace('\n', "<br>");
    let html = format!("<p>{html}</p>");
    let values = json!({
        "ref": reference, "subject": subject, "body": body, "body_html": html, "level": format!("P{}", level + 1),
        "level_value": level_value, "priority": 800, "team": "", "agent": "", "language": "en", "tags": ["vigie", "p1"], "fields": {},
        "ticket": { "post": { "network": "bluesky", "author": { "id": "did:plc:ada", "handle": "ada", "name": "Ada" } } },
    });
    let serde_json::Value::Object(values) = values else { unreachable!("a table") };
    values
}

/// These and what a later operation is given.
fn also(values: &Values, more: serde_json::Value) -> Values {
    let serde_json::Value::Object(more) = more else { panic!("a table") };
    values.clone().into_iter().chain(more).collect()
}

async fn read(helpdesk: &Helpdesk, case: &Case) -> Standing {
    helpdesk.read(case).await.unwrap().unwrap()
}

async fn state(helpdesk: &Helpdesk, case: &Case) -> Option<State> {
    read(helpdesk, case).await.state
}

/// What there is to be said about each question of the preset that is answered wrongly.
async fn advice(helpdesk: &Helpdesk) -> Vec<String> {
    advice_of(helpdesk, None).await
}

/// The same of what a team's tickets ask beside.
async fn advice_of(helpdesk: &Helpdesk, team: Option<&str>) -> Vec<String> {
    let mut advice = Vec::new();
    for index in helpdesk.questions(team) {
        match helpdesk.probe(index, team).await {
            Ok(Ok(())) => {}
            Ok(Err(words)) => advice.push(words),
            Err(error) => advice.push(error.to_string()),
        }
    }
    advice
}

/// A reference that no other test and no other run uses.
fn reference() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(1), RandomState::new().hash_one(2))
}
