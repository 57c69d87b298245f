//! Verdict → ticket → settlement with the encoded ticket, as the desk thread does it: on generated support posts,
//! on posts that have their ticket already, on recorded ones, and on the longest.

#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/tickets.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod tickets;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use vigie::desk::articles::NoArticles;
use vigie::desk::{Config, Desk, Strangers};
use vigie::ledger::{Entry, Settlement};
use vigie::parse::Format;
use vigie::pipeline::model::Decided;
use vigie::pipeline::settle::{Clock, settle};
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
    let config = Config::default();
    let settle =
        |decided| settle(desk, &config, &mut Strangers, &mut NoArticles, Clock::Arrival, decided, |_| ());
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
    case("support posts", Format::Jetstream, &support, 999, false);
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

criterion_group!(benches, desk);
criterion_main!(benches);
