//! A ticket's team and agent, at 200 rules and 50 agents: where the last rule holds, where none does, and where the
//! whole team is full and the next two are asked; and what a text says of the 400 topics that the rules ask for.

#[path = "parts/routes.rs"]
mod routes;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use vigie::classify::{Language, Verdict};
use vigie::desk::person::{Customer, Person};
use vigie::desk::when::Facts;
use vigie::desk::{Config, Router};
use vigie::parse::{Author, Network, Post};
use vigie::prefilter::Candidate;
use vigie::ticket::TicketId;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TEXT: &str = "@lumio_help bonjour, ma box ne marche plus depuis hier soir et personne ne répond au téléphone, \
                    quelqu'un peut m'aider s'il vous plaît ? #panne";

fn route(criterion: &mut Criterion) {
    let routes = routes::routes();
    let mut post = Post::new(Network::X, "1".into(), Author::default(), "text".into());
    post.language = Some("fr".into());
    post.hashtags = vec!["panne".into(), "lumio".into()];
    let mut candidate = Candidate {
        post,
        brand: "Lumio".into(),
        hits: vec!["@lumio_help".to_owned(), "panne".to_owned()],
        addressed: true,
        value: 1,
        also_named: Vec::new(),
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
        router.set_agents(&routes::agents(full));
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
    // Asked once a ticket, before all rules.
    let words = Config { routes, ..Config::default() }.with_topic_words().topic_words;
    assert_eq!(words.read("mon product 7 est en panne").len(), 2);
    group.bench_function("topics of a text of 140 letters", |bencher| {
        bencher.iter(|| black_box(words.read(TEXT)));
    });
    group.finish();
}

criterion_group!(benches, route);
criterion_main!(benches);
