//! A ticket's team and agent, at 200 rules and 50 agents: where the last rule holds, where none does, and where the
//! whole team is full and the next two are asked.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use vigie::classify::{Language, Verdict};
use vigie::desk::Router;
use vigie::desk::agent::Agent;
use vigie::desk::person::{Customer, Person};
use vigie::desk::route::{Routes, Rule, Team};
use vigie::desk::when::{Facts, Field, Quantity, When};
use vigie::parse::{Author, Network, Post};
use vigie::prefilter::Candidate;
use vigie::ticket::TicketId;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

fn agents(full: bool) -> Vec<Agent> {
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

fn route(criterion: &mut Criterion) {
    let team = |name: &str, fallback: Option<&str>| Team {
        name: name.to_owned(),
        fallback: fallback.map(str::to_owned),
    };
    let routes = Routes {
        rules: rules(),
        teams: vec![team("support", Some("second")), team("second", Some("third")), team("third", None)],
        default_team: Some("support".to_owned()),
        ..Routes::default()
    };
    let mut post = Post::new(Network::X, "1".into(), Author::default(), "text".into());
    post.language = Some("fr".into());
    post.hashtags = vec!["panne".into(), "lumio".into()];
    let mut candidate = Candidate {
        post,
        brand: "Lumio".into(),
        hits: vec!["@lumio_help".to_owned(), "panne".to_owned()],
        addressed: true,
        value: 1,
    };
    let verdict = Verdict {
        sentiment: [0.9, 0.08, 0.02],
        intent: [0.03, 0.8, 0.05, 0.01, 0.04, 0.05, 0.01, 0.01],
        urgency: [0.1, 0.6, 0.3],
        language: Language::UNCLEAR,
    };
    let customer = Customer { key: "4711".to_owned(), tier: "gold".to_owned(), ..Customer::default() };
    let person = Person { customer: Some(Arc::new(customer)), touchpoints: Vec::new() };
    // A Thursday.
    let now: Timestamp = "2026-11-26T12:00:00Z".parse().expect("a time");

    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(1));
    for (name, network, full) in [
        ("the last of 200 rules, 50 agents", Network::X, false),
        ("no rule of 200, 50 agents", Network::Plain, false),
        ("the last of 200 rules, 50 agents who are full, three teams", Network::X, true),
    ] {
        candidate.post.network = network;
        let facts = Facts { priority: 500, ..Facts::new(&candidate, &verdict, &person, now) };
        let mut router = Router::default();
        router.set_agents(&agents(full));
        let first = router.route(&routes, &facts, TicketId::of_post(network, "0")).expect("a route");
        assert_eq!((first.team.as_str(), first.agent.is_empty()), ("support", full), "{:?}", first.reasons);
        let mut n = 0_u64;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                n += 1;
                black_box(router.route(&routes, &facts, TicketId::of_post(network, &n.to_string())))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, route);
criterion_main!(benches);
