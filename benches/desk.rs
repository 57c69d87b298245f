//! Verdict → ticket → settlement with the encoded ticket, as the desk thread does it: on generated support posts,
//! on posts that have their ticket already, on recorded ones, and on the longest. Then the priority alone: with every
//! factor, for a stranger and for a customer of whom everything is known; and the text read for sensitive words.

#[path = "parts/dictionary.rs"]
mod dictionary;
#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/tickets.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod tickets;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use prost::Message;
use vigie::desk::articles::NoArticles;
use vigie::desk::person::{self, Customer, Touchpoint};
use vigie::desk::{Config, Desk, Facts, Person, Strangers, conversation};
use vigie::ledger::{Entry, Settlement};
use vigie::parse::Format;
use vigie::pipeline::model::Decided;
use vigie::pipeline::settle::{Clock, settle};
use vigie::prefilter::Candidate;
use vigie::telemetry::Bucket;
use vigie::ticket::proto;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn decided(format: Format, frames: &[String]) -> Vec<Decided> {
    let model = Arc::from("bench 1");
    let outputs = posts::lane_outputs(format, frames).into_iter();
    outputs.map(|output| tickets::decided(output, &model)).collect()
}

fn settled(desk: &mut Desk, decided: Vec<Decided>) -> Vec<Settlement> {
    // Each post is a ticket: its authors write often.
    let conversation = conversation::Config { join_hours: 0, others: false, ..Default::default() };
    let config = Config { conversation, ..Config::default() };
    let settle = |decided| {
        settle(desk, &config, &mut Strangers, &mut NoArticles, Clock::Arrival, decided, |_| ())
            .expect("strangers need no file")
    };
    decided.into_iter().map(settle).collect()
}

fn desk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("desk");
    group.sample_size(30);
    let mut case = |name: &str, format: Format, frames: &[String], tickets: usize, known: bool| {
        let fresh = || {
            let mut desk = Desk::default();
            if known {
                settled(&mut desk, decided(format, frames));
            }
            desk
        };
        let settlements = settled(&mut fresh(), decided(format, frames));
        let entries: Vec<_> = settlements.iter().flat_map(|settlement| &settlement.entries).collect();
        let new = entries.iter().filter(|entry| matches!(entry, Entry::Ticket(_))).count();
        assert_eq!(new, tickets, "{name}");
        for entry in &entries {
            let Entry::Ticket(ticket) = entry else { continue };
            let read = proto::Ticket::decode(&*ticket.body).expect("a ticket is stored as it is read");
            assert_eq!(read.id, ticket.id.as_bytes());
            assert!(read.post.is_some_and(|post| !post.text.is_empty()), "{name}");
        }
        let received: u64 = settlements.iter().map(|settlement| settlement.buckets.received()).sum();
        assert_eq!(received as usize + entries.len(), frames.len(), "{name}");
        let duplicates: u64 = settlements.iter().map(|one| one.buckets[Bucket::Duplicate]).sum();
        assert_eq!(known, duplicates as usize > frames.len() / 2, "{name}: {duplicates} duplicates");

        let candidates: usize = decided(format, frames).iter().map(|one| one.verdicts.len()).sum();
        group.throughput(Throughput::Elements(candidates as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (fresh(), decided(format, frames)),
                |(mut desk, decided)| black_box(settled(&mut desk, decided)),
                BatchSize::LargeInput,
            );
        });
    };
    let support = posts::generated(1_024, 1.0);
    case("support posts", Format::Jetstream, &support, 993, false);
    case("support posts that have a ticket", Format::Jetstream, &support, 0, true);
    // Longer than a ticket holds: the lane cuts the text at 32 KiB.
    let long = |n: usize| {
        let text = format!("@lumio {}", "panne générale à la maison, personne ne répond ".repeat(1_000));
        serde_json::json!({ "id": n.to_string(), "author": "a", "text": text, "language": "fr" }).to_string()
    };
    case("48 KB posts", Format::Plain, &(0..64).map(long).collect::<Vec<_>>(), 64, false);
    if let Some(frames) = posts::recorded("jetstream_reenveloped.jsonl") {
        let about_us = |frame: &String| frame.replacen(r#""text":""#, r#""text":"@lumio help: "#, 1);
        let frames: Vec<_> = frames.iter().take(1_024).map(about_us).collect();
        case("recorded posts that name us", Format::Jetstream, &frames, 1_024, false);
    }
    group.finish();
}

fn known(now: Timestamp) -> Person {
    let at =
        |hours: i64| Timestamp::from_second(now.as_second() - hours * 3600).expect("a time of this century");
    let touchpoint = |number: i64| Touchpoint {
        at: at(number),
        channel: ["phone", "mail", "chat", "fax"][number as usize % 4].to_owned(),
        note: String::new(),
    };
    let purchase = |number: i64| person::Purchase {
        at: at(24 * number),
        date: None,
        what: format!("ThinkPad ×{number}"),
        amount: Some(1_200.0),
    };
    let customer = Customer {
        key: "4711".to_owned(),
        tier: "gold".to_owned(),
        value: Some(30_000.0),
        flags: vec!["press".to_owned(), "vulnerable".to_owned()],
        purchases: (1..=person::PURCHASES_MAX as i64).map(purchase).collect(),
        ..Customer::default()
    };
    let touchpoints = (1..=person::TOUCHPOINTS_MAX as i64).map(touchpoint).collect();
    Person { customer: Some(Arc::new(customer)), touchpoints }
}

fn priority(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("priority");
    let config = dictionary::everything();
    let outputs = posts::lane_outputs(Format::Jetstream, &posts::generated(1_024, 1.0));
    let candidates: Vec<_> = outputs.iter().flat_map(|output| output.candidates().cloned()).collect();
    assert!(candidates.len() > 900, "{} candidates", candidates.len());
    let now = Timestamp::from_second(1_700_000_000).expect("a time of this century");
    group.throughput(Throughput::Elements(candidates.len() as u64));
    for (name, person, factors) in [("stranger", Person::default(), 13), ("known customer", known(now), 18)] {
        let score = |candidate| config.score(&Facts::new(candidate, &tickets::PROBLEM, &person, now)).0;
        let first = score(&candidates[0]);
        assert!(first.factors.len() >= factors, "{name}: {} factors", first.factors.len());
        assert!(first.factors.iter().filter(|factor| factor.name.starts_with("combination")).count() == 10);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                candidates.iter().map(|candidate| u64::from(score(candidate).priority)).sum::<u64>()
            });
        });
    }
    let read = |candidate: &Candidate| config.sensitive.read(&candidate.post.text).0.len();
    assert_eq!(config.sensitive.read("my lawyer says it caught fire").0, ["safety", "legal"]);
    group.bench_function("sensitive words", |bencher| {
        bencher.iter(|| candidates.iter().map(read).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, desk, priority);
criterion_main!(benches);
