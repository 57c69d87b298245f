//! 200 rules, three teams and 50 agents.

use std::sync::Arc;

use jiff::tz::TimeZone;
use vigie::desk::agent::Agent;
use vigie::desk::route::{Routes, Rule, Team};
use vigie::desk::when::{Field, Quantity, When};

const RULES: usize = 200;
const AGENTS: usize = 50;

/// Conditions as people write them: two or three keys, hours in one of four. None but the last holds.
fn rules() -> Vec<Rule> {
    let week = "mon-fri 08:00-18:00".parse().expect("hours");
    let zone = TimeZone::get("Europe/Paris").expect("a zone");
    let words = |field, words: &[String]| (field, words.to_vec());
    let rule = |n: usize| When {
        words: vec![
            words(Field::Intent, &["problem".to_owned(), "question".to_owned()]),
            words(Field::Language, &["fr".to_owned()]),
            words(Field::Topic, &[format!("product {n}"), format!("product-{n}")]),
        ],
        ranges: vec![(Quantity::Priority, 0..=1000)],
        answers: Vec::new(),
        hours: n.is_multiple_of(4).then(|| (Clone::clone(&week), zone.clone())),
    };
    let last = When { words: vec![words(Field::Network, &["x".to_owned()])], ..When::default() };
    let conditions = (1..RULES).map(rule).chain([last]);
    conditions.map(|when| Rule { when, team: Arc::from("support"), ..Rule::default() }).collect()
}

pub(crate) fn agents(full: bool) -> Vec<Agent> {
    let team = |n: usize| if full { ["support", "second", "third"][n % 3] } else { "support" };
    let agent = |n: usize| Agent {
        name: format!("agent {n}"),
        team: team(n).to_owned(),
        skills: vec![format!("product-{n}"), "invoices".to_owned(), "contracts".to_owned()],
        languages: vec!["fr".to_owned(), "en".to_owned()],
        capacity: if full { 0 } else { u32::MAX },
        shifts: Some("mon-sun 00:00-24:00".parse().expect("hours")),
        zone: Some("Europe/Paris".to_owned()),
        answer_min: Some(n as f64),
        satisfaction: Some(3.0 + (n % 20) as f64 / 10.0),
        ..Agent::default()
    };
    (0..AGENTS).map(agent).collect()
}

/// Each team is followed by the next.
pub(crate) fn routes() -> Routes {
    let team = |name: &str, fallback: Option<&str>| Team {
        name: name.to_owned(),
        fallback: fallback.map(str::to_owned),
    };
    Routes {
        rules: rules(),
        teams: vec![team("support", Some("second")), team("second", Some("third")), team("third", None)],
        default_team: Some("support".to_owned()),
        ..Routes::default()
    }
}
