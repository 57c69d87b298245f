//! Parse and prefilter, as a lane does them: on posts as the load generator writes them for Bluesky and X, on the
//! worst ones, and on recordings where there are any. Each case asserts its answer before it is measured.
//!
//! At the end, for the two of the load generator, a table: beside the lane, what simd-json's tape alone takes for
//! the same frames.

#[path = "parts/mode.rs"]
mod mode;
#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vigie::parse::{Format, Network};
use vigie::pipeline::lane::Lane;
use vigie::prefilter::Prefilter;
use vigie::prefilter::watched::{Watched, of_post};
use vigie::source::FrameBatch;
use vigie::telemetry::Bucket;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lines of X v1.1, 2.3 MB of them.
const STATUSES: usize = 512;

fn lane(criterion: &mut Criterion) {
    let prefilter = posts::prefilter();
    let mut group = criterion.benchmark_group("lane");
    // A fast wrong answer is no answer.
    let mut case = |name: &str, format: Format, frames: &[String], candidates: usize| {
        let batch = posts::batch(format, frames);
        let output = Lane::default().process(&prefilter, posts::copy(&batch));
        assert_eq!(output.candidates().count(), candidates, "{name}");
        assert_eq!(output.buckets[Bucket::Malformed], 0, "{name}");
        assert_eq!(output.buckets.received() as usize + output.items.len(), frames.len(), "{name}");
        group.throughput(Throughput::ElementsAndBytes {
            elements: frames.len() as u64,
            bytes: batch.bytes.len() as u64,
        });
        let mut lane = Lane::default();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || posts::copy(&batch),
                |batch| black_box(lane.process(&prefilter, batch)),
                BatchSize::LargeInput,
            );
        });
    };
    case("jetstream, 0.1 % support", Format::Jetstream, &posts::generated(4_096, 0.001), 4);
    case("x-v1, 1 % support", Format::XV1, &posts::statuses(STATUSES, 0.01), 6);
    case("jetstream, all support", Format::Jetstream, &posts::generated(1_024, 1.0), 993);
    let post = |text: &str| serde_json::json!({ "id": "1", "author": "a", "text": text }).to_string();
    case(
        "plain, 64 KiB posts of service words",
        Format::Plain,
        &vec![post(&"panne help ".repeat(6_000)); 16],
        0,
    );
    case("plain, 64 KiB posts of accents", Format::Plain, &vec![post(&"éàü ".repeat(10_000)); 16], 0);
    for (name, format, file, candidates) in [
        ("recorded jetstream", Format::Jetstream, "jetstream_reenveloped.jsonl", 0),
        ("recorded mastodon", Format::Mastodon, "mastodon_update.jsonl", 0),
        ("recorded x-v2", Format::XV2, "x_v2_filtered_stream.jsonl", 0),
        ("recorded x-v1", Format::XV1, "x_v11_stream.jsonl", 0),
    ] {
        if let Some(frames) = posts::recorded(file) {
            case(name, format, &frames, candidates);
        }
    }
    // The longest that any source keeps is 1 MiB; this is ten times that.
    let long = format!(r#"{{"id":"1","author":"a","text":"a","more":"{}"}}"#, "x".repeat(10 << 20));
    case("plain, a frame of 10 MB", Format::Plain, &[long], 0);
    let nested = format!(r#"{{"text":"a","more":{}{}}}"#, "[".repeat(60), "]".repeat(60));
    case("plain, nested to the limit", Format::Plain, &vec![nested; 1_024], 0);
    let escaped = format!(r#"{{"id_str":"1","user":{{"id":1}},"text":"{}"}}"#, r"\u00e9\n".repeat(1_000));
    case("x-v1, 8 KB of escapes", Format::XV1, &vec![escaped; 128], 0);
    group.finish();
    compare(&prefilter);
}

/// What a lane looks into for every reply when there are many conversations.
fn watched() -> Arc<Watched> {
    let watched = Arc::<Watched>::default();
    for n in 0..200_000 {
        let id = format!("at://did:plc:somebody{n}/app.bsky.feed.post/{n}");
        watched.keep_post(of_post(Network::Bluesky, &id));
    }
    watched
}

/// Several rounds of a lane and of simd-json's tape alone, by turns on the same frames: the best, and the medians.
fn compare(prefilter: &Prefilter) {
    let rounds = if mode::measures() { 41 } else { 1 };
    println!(
        "\n{:26} {:>21} {:>21} {:>14}",
        format!("{rounds} rounds: best, median"),
        "tape, posts/s",
        "lane, posts/s",
        "of tape, %"
    );
    for (name, format, frames) in [
        ("jetstream, 0.1 % support", Format::Jetstream, posts::generated(4_096, 0.001)),
        ("x-v1, 1 % support", Format::XV1, posts::statuses(STATUSES, 0.01)),
    ] {
        let batch = posts::batch(format, &frames);
        let (mut lane, mut buffers) = (Lane::default(), simd_json::Buffers::with_max_depth(0, 64));
        let mut tape = simd_json::Tape(Vec::new());
        let (mut tape_took, mut lane_took, mut watching_took) = (Vec::new(), Vec::new(), Vec::new());
        let mut watching = Lane::watching(watched());
        for _ in 0..rounds {
            let FrameBatch { mut bytes, frames, .. } = posts::copy(&batch);
            let start = Instant::now();
            for range in frames {
                let mut filled = tape.reset();
                simd_json::fill_tape(&mut bytes[range], &mut buffers, &mut filled).expect("JSON");
                tape = black_box(filled).reset();
            }
            tape_took.push(start.elapsed());
            let copy = posts::copy(&batch);
            let start = Instant::now();
            black_box(lane.process(prefilter, copy));
            lane_took.push(start.elapsed());
            let copy = posts::copy(&batch);
            let start = Instant::now();
            black_box(watching.process(prefilter, copy));
            watching_took.push(start.elapsed());
        }
        let per_s = |took: &mut Vec<Duration>| {
            took.sort_unstable();
            [took[0], took[took.len() / 2]].map(|took| frames.len() as f64 / took.as_secs_f64())
        };
        let ([tape_best, tape_median], [lane_best, lane_median]) =
            (per_s(&mut tape_took), per_s(&mut lane_took));
        let gb_per_s = |posts_per_s: f64| posts_per_s * batch.bytes.len() as f64 / frames.len() as f64 / 1e9;
        println!(
            "{name:26} {tape_best:10.0} {tape_median:10.0} {lane_best:10.0} {lane_median:10.0} {:7.0} {:6.0}",
            100.0 * lane_best / tape_best,
            100.0 * lane_median / tape_median,
        );
        println!("{:26} {:32.2} {:10.2} GB/s", "", gb_per_s(lane_best), gb_per_s(lane_median));
        let [watching_best, watching_median] = per_s(&mut watching_took);
        println!(
            "{:26} {:>21} {watching_best:10.0} {watching_median:10.0} {:7.1} {:6.1} % of that",
            "  with 200,000 threads",
            "",
            100.0 * watching_best / lane_best,
            100.0 * watching_median / lane_median,
        );
    }
}

criterion_group!(benches, lane);
criterion_main!(benches);
