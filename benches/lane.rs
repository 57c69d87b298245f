//! Parse and prefilter, as a lane does them: on Bluesky posts of the load generator, on the worst ones, and
//! on recordings where there are any.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use firehose::{JetstreamConfig, Mix, Rate, Script};
use jiff::Timestamp;
use vigie::parse::Format;
use vigie::pipeline::lane::Lane;
use vigie::prefilter::{Brand, Config, LISTEN_DEFAULT, Prefilter};
use vigie::source::FrameBatch;
use vigie::telemetry::Bucket;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn prefilter() -> Prefilter {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let brand = |name: &str, names: &[&str]| Brand {
        name: name.to_owned(),
        handles: owned(&[&format!("@{}", name.to_lowercase())]),
        names: owned(names),
        listen: LISTEN_DEFAULT.to_owned(),
        fold_accents: true,
        ..Brand::default()
    };
    let brands = vec![
        brand("Lumio", &["lumio", "lumiobox", "lumio mobile"]),
        brand("Brumeo", &["brumeo air", "brumeo"]),
        brand("Castelnet", &["castelnet"]),
    ];
    Prefilter::build(&Config { brands, ..Config::default() }).expect("the bench's rules are right")
}

fn batch(format: Format, frames: &[String]) -> FrameBatch {
    let mut batch = FrameBatch::empty(Arc::from("bench"), format, 0);
    frames.iter().for_each(|frame| batch.push(frame.as_bytes()));
    batch
}

fn copy(batch: &FrameBatch) -> FrameBatch {
    FrameBatch {
        source: batch.source.clone(),
        bytes: batch.bytes.clone(),
        frames: batch.frames.clone(),
        gaps: Vec::new(),
        permit: None,
        ..*batch
    }
}

/// Posts as the load generator serves them, of which `share` ask for support.
fn generated(events: u64, share: f64) -> Vec<String> {
    let config = JetstreamConfig {
        rate: Rate::Max,
        share,
        confusing: 0.0,
        events: Some(events),
        start: Some(Timestamp::from_second(1_790_000_000).expect("a time")),
        ..JetstreamConfig::default()
    };
    let script = Script::new(&config, Mix::Posts).expect("the embedded posts make a script");
    let timeline = script.timeline();
    (timeline.start()..timeline.end()).map(|n| script.event(n).frame).collect()
}

fn recorded(file: &str) -> Option<Vec<String>> {
    let path = format!("{}/../shared/data/streams/{file}", env!("CARGO_MANIFEST_DIR"));
    Some(std::fs::read_to_string(path).ok()?.lines().map(str::to_owned).collect())
}

fn lane(criterion: &mut Criterion) {
    let prefilter = prefilter();
    let mut group = criterion.benchmark_group("lane");
    // Least and most candidates: a fast wrong answer is no answer.
    let mut case =
        |name: &str, format: Format, frames: &[String], candidates: std::ops::RangeInclusive<usize>| {
            let batch = batch(format, frames);
            let output = Lane::default().process(&prefilter, copy(&batch));
            let found = output.candidates().count();
            assert!(candidates.contains(&found), "{name}: {found} candidates");
            assert_eq!(output.buckets[Bucket::Malformed], 0, "{name}");
            assert_eq!(output.buckets.received() as usize + output.items.len(), frames.len(), "{name}");
            group.throughput(Throughput::ElementsAndBytes {
                elements: frames.len() as u64,
                bytes: batch.bytes.len() as u64,
            });
            let mut lane = Lane::default();
            group.bench_function(name, |bencher| {
                bencher.iter_batched(
                    || copy(&batch),
                    |batch| black_box(lane.process(&prefilter, batch)),
                    BatchSize::LargeInput,
                );
            });
        };
    case("jetstream, 0.1 % support", Format::Jetstream, &generated(4_096, 0.001), 1..=20);
    case("jetstream, all support", Format::Jetstream, &generated(1_024, 1.0), 600..=1_024);
    let post = |text: &str| serde_json::json!({ "id": "1", "author": "a", "text": text }).to_string();
    case(
        "plain, 64 KiB posts of service words",
        Format::Plain,
        &vec![post(&"panne help ".repeat(6_000)); 16],
        0..=0,
    );
    case("plain, 64 KiB posts of accents", Format::Plain, &vec![post(&"éàü ".repeat(10_000)); 16], 0..=0);
    for (name, format, file) in [
        ("recorded jetstream", Format::Jetstream, "jetstream_reenveloped.jsonl"),
        ("recorded mastodon", Format::Mastodon, "mastodon_update.jsonl"),
        ("recorded x-v2", Format::XV2, "x_v2_filtered_stream.jsonl"),
        ("recorded x-v1", Format::XV1, "x_v11_stream.jsonl"),
    ] {
        match recorded(file) {
            Some(frames) => case(name, format, &frames, 0..=frames.len()),
            None => println!("skipped: {name}: ../shared/data/streams/{file} is absent"),
        }
    }
    group.finish();
}

criterion_group!(benches, lane);
criterion_main!(benches);
