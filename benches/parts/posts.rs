//! What several benches read: posts of the load generator and recorded ones, in batches; and the rules of the brand
//! that they are about.

use std::sync::Arc;

use firehose::{JetstreamConfig, Mix, Rate, Script, Served, StatusScript, StatusesConfig};
use jiff::Timestamp;
use vigie::parse::Format;
use vigie::pipeline::lane::{Lane, LaneOutput};
use vigie::prefilter::{Brand, Config, LISTEN_DEFAULT, Prefilter};
use vigie::source::FrameBatch;

/// Frames in a batch of a Jetstream source, by default.
pub(crate) const BATCH_FRAMES: usize = 512;

/// The brand that the load generator's support posts are about.
pub(crate) fn prefilter() -> Prefilter {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let brand = Brand {
        name: "Lumio".to_owned(),
        handles: owned(&["@lumio", "@lumio_help", "@lumio.bsky.social"]),
        names: owned(&["lumio", "lumiobox", "lumio mobile"]),
        exclude: owned(&["lumio festival", "lumio lamp", "festival lumio", "lampe lumio"]),
        listen: LISTEN_DEFAULT.to_owned(),
        fold_accents: true,
        ..Brand::default()
    };
    Prefilter::build(&Config { brands: vec![brand], ..Config::default() })
        .expect("the bench's rules are right")
}

/// When the first post is due: the same on every run.
fn start() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("a time")
}

/// So many Bluesky posts, of which `share` ask for support.
pub(crate) fn generated(events: usize, share: f64) -> Vec<String> {
    let config = JetstreamConfig {
        rate: Rate::Max,
        share,
        confusing: 0.0,
        events: Some(events as u64),
        start: Some(start()),
        ..JetstreamConfig::default()
    };
    frames(&Script::new(&config, Mix::Posts).expect("the embedded posts make a script"))
}

/// So many lines of X v1.1, of which `share` ask for support: statuses of 4.6 KB, and short deletions.
pub(crate) fn statuses(events: usize, share: f64) -> Vec<String> {
    let config = StatusesConfig {
        rate: Rate::Max,
        share,
        confusing: 0.0,
        events: Some(events as u64),
        start: Some(start()),
        ..StatusesConfig::default()
    };
    frames(&StatusScript::new(&config).expect("the embedded posts make a script"))
}

fn frames(script: &impl Served) -> Vec<String> {
    let timeline = script.timeline();
    (timeline.start()..timeline.end()).map(|n| script.event(n).frame).collect()
}

/// The lines of a recorded stream, where it is: recordings are not part of this repository.
pub(crate) fn recorded(file: &str) -> Option<Vec<String>> {
    let path = format!("{}/../shared/data/streams/{file}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: ../shared/data/streams/{file} is absent");
        return None;
    };
    Some(text.lines().map(str::to_owned).collect())
}

/// These frames in one batch.
pub(crate) fn batch(format: Format, frames: &[String]) -> FrameBatch {
    let mut batch = FrameBatch::empty(Arc::from("bench"), format, 0);
    batch.received_at = Timestamp::from_second(1_790_000_010).expect("a time");
    frames.iter().for_each(|frame| batch.push(frame.as_bytes()));
    batch
}

/// A batch like this one: who processes a batch consumes it.
pub(crate) fn copy(batch: &FrameBatch) -> FrameBatch {
    FrameBatch {
        source: batch.source.clone(),
        bytes: batch.bytes.clone(),
        frames: batch.frames.clone(),
        gaps: Vec::new(),
        recovered: Vec::new(),
        permit: None,
        ..*batch
    }
}

/// The frames in a source's batches, numbered from `sequence`.
pub(crate) fn batches(format: Format, frames: &[String], sequence: u64) -> Vec<FrameBatch> {
    let batch = |(sequence, frames)| FrameBatch { sequence, ..batch(format, frames) };
    (sequence..).zip(frames.chunks(BATCH_FRAMES)).map(batch).collect()
}

/// What a lane leaves of these frames.
pub(crate) fn lane_outputs(format: Format, frames: &[String]) -> Vec<LaneOutput> {
    let (mut lane, prefilter) = (Lane::default(), prefilter());
    batches(format, frames, 0).into_iter().map(|batch| lane.process(&prefilter, batch)).collect()
}
