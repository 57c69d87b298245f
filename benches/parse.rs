//! Parsing alone, frames → posts: as the lane does, which in X v1.1 steps over the fields that nobody reads, and
//! with every frame read in full by simd-json. Both must find the same posts.

#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vigie::parse::{Format, Frame, Parser};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Parses every frame; how many were posts.
fn parsed(parser: &mut Parser, frames: &mut [Vec<u8>]) -> usize {
    let is_post = |frame: &mut Vec<u8>| {
        matches!(black_box(parser.parse(frame)).map(|parsed| parsed.frame), Ok(Frame::Post(_)))
    };
    frames.iter_mut().map(is_post).filter(|is_post| *is_post).count()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    // How many of the frames are posts: a fast wrong answer is no answer.
    let mut case = |name: &str, format: Format, frames: &[String], posts: usize| {
        let frames: Vec<Vec<u8>> = frames.iter().map(|frame| frame.clone().into_bytes()).collect();
        let bytes = frames.iter().map(Vec::len).sum::<usize>() as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: frames.len() as u64, bytes });
        for (how, mut parser) in [("", Parser::new(format)), (", in full", Parser::in_full(format))] {
            assert_eq!(parsed(&mut parser, &mut frames.clone()), posts, "{name}{how}");
            group.bench_function(format!("{name}{how}"), |bencher| {
                bencher.iter_batched_ref(
                    || frames.clone(),
                    |frames| parsed(&mut parser, frames),
                    BatchSize::LargeInput,
                );
            });
        }
    };
    case("x-v1", Format::XV1, &posts::statuses(512, 0.01), 509);
    for (name, format, file, posts) in [
        ("recorded jetstream", Format::Jetstream, "jetstream_reenveloped.jsonl", 3_988),
        ("recorded mastodon", Format::Mastodon, "mastodon_update.jsonl", 439),
        ("recorded x-v2", Format::XV2, "x_v2_filtered_stream.jsonl", 987),
        ("recorded x-v1", Format::XV1, "x_v11_stream.jsonl", 523),
    ] {
        if let Some(frames) = posts::recorded(file) {
            case(name, format, &frames, posts);
        }
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
