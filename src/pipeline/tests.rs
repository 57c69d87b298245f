//! The whole daemon in this process: what happens when a stage fails.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::*;
use crate::config::Config;
use crate::console;
use crate::ledger::Accounting;

/// In a frame: the lane that takes its batch panics, while [`PANICS`] says so.
const PANIC: &[u8] = b"the lane panics here";
static PANICS: AtomicBool = AtomicBool::new(false);
/// A source of this name: the lane that takes its second batch panics.
const PANIC_SOURCE: &str = "panics";

/// In a frame: the lane that takes its batch does not come back from it, while [`STALLS`] says so.
const STALL: &str = "the lane stalls here";
static STALLS: AtomicBool = AtomicBool::new(false);

pub(super) fn stall_as_asked(batch: Option<&FrameBatch>) {
    let is_marked =
        batch.is_some_and(|batch| batch.bytes.windows(STALL.len()).any(|bytes| bytes == STALL.as_bytes()));
    while is_marked && STALLS.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn panic_as_asked(batch: Option<&FrameBatch>) {
    let Some(batch) = batch else { return };
    let is_marked = batch.bytes.windows(PANIC.len()).any(|bytes| bytes == PANIC);
    assert!(!(PANICS.load(Ordering::Relaxed) && is_marked), "as the test asked");
    assert!(&*batch.source != PANIC_SOURCE || batch.sequence == 0, "as the test asked");
}

/// Runs a daemon over the folder's `posts.ndjson` until it ends by itself or has read everything.
fn run(folder: &Path) -> Result<Accounting, PipelineError> {
    let pipeline = Pipeline::build(config(folder))?;
    let (view, (orders, control)) = (pipeline.view(), mpsc::channel(1));
    let daemon = std::thread::Builder::new().spawn(move || pipeline.run(control, || ())).unwrap();
    while !daemon.is_finished() && !view.status().sources.iter().all(|source| source.finished) {
        std::thread::yield_now();
    }
    // A daemon that has failed takes no orders any more.
    drop(orders.blocking_send(Control::Drain));
    daemon.join().unwrap()
}

/// One that reads the folder's `posts.ndjson`, with everything else in the folder too.
fn config(folder: &Path) -> Config {
    let path = folder.display();
    let config = Config::parse(&format!(
        r#"
        [[source]]
        kind = "ndjson"
        name = "file"
        path = "{path}/posts.ndjson"
        [[brand]]
        name = "Lumio"
        handles = ["@lumio"]
        [model]
        name = "small"
        runtime = "rten"
        [engine]
        lanes = 1
        [ledger]
        path = "{path}/ledger.sqlite"
        [wire]
        unix = "{path}/vigie.sock"
        [http]
        enabled = false
        "#
    ));
    config.unwrap()
}

#[test]
fn a_lane_that_panics_ends_the_daemon_and_its_batch_comes_again_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let line = |n: usize| match n {
        2_000 => {
            format!("{{\"id\":\"{n}\",\"author\":\"a\",\"text\":\"{}\"}}", String::from_utf8_lossy(PANIC))
        }
        n => format!("{{\"id\":\"{n}\",\"author\":\"a{n}\",\"text\":\"@lumio panne numéro {n}\"}}"),
    };
    let lines: Vec<String> = (1..=3_000).map(line).collect();
    std::fs::write(folder.path().join("posts.ndjson"), lines.join("\n")).unwrap();

    PANICS.store(true, Ordering::Relaxed);
    let fault = run(folder.path()).expect_err("a lane has panicked").to_string();
    PANICS.store(false, Ordering::Relaxed);
    assert!(fault.contains("vigie-lane-0: panicked"), "{fault}");
    let ledger = rusqlite::Connection::open(folder.path().join("ledger.sqlite")).unwrap();
    let position: i64 = ledger.query_row("SELECT position FROM source", [], |row| row.get(0)).unwrap();
    let position = crate::source::ndjson::lines_of(position);
    assert!((1..2_000).contains(&position), "what came before it is committed, and no more: {position}");
    drop(ledger);

    let accounting = run(folder.path()).unwrap().total();
    assert_eq!((accounting.received(), accounting[crate::telemetry::Bucket::Unmatched]), (3_000, 1));
}

#[test]
fn a_live_source_whose_lane_is_gone_does_not_hold_up_the_drain() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let start = jiff::Timestamp::from_second(1_790_000_000).unwrap();
    let network = firehose::JetstreamConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        rate: firehose::Rate::Max,
        start: Some(start),
        ..firehose::JetstreamConfig::default()
    };
    let serving = runtime.block_on(firehose::serve(network, std::future::pending())).unwrap();
    let path = folder.path().display();
    let config = Config::parse(&format!(
        r#"
        [[source]]
        kind = "jetstream"
        name = "{PANIC_SOURCE}"
        url = "{}"
        [[brand]]
        name = "Lumio"
        [model]
        name = "small"
        runtime = "rten"
        [engine]
        lanes = 1
        queue_batches = 1
        [ledger]
        path = "{path}/ledger.sqlite"
        [wire]
        unix = "{path}/vigie.sock"
        [http]
        enabled = false
        "#,
        serving.url()
    ));
    let pipeline = Pipeline::build(config.unwrap()).unwrap();
    let ledger = pipeline.ledger.clone();
    let (_orders, control) = mpsc::channel(1);
    let fault = pipeline.run(control, || ()).expect_err("a lane has panicked").to_string();
    assert!(fault.contains("vigie-lane-0: panicked"), "{fault}");
    assert!(ledger.accounting().total().received() > 0, "the batch before it is committed");
}

#[test]
fn a_ledger_that_stalls_is_stuck_and_the_stages_that_wait_for_it_are_not() {
    let folder = tempfile::tempdir().unwrap();
    // More batches than the queues between the source and the ledger hold.
    let line = |n| format!("{{\"id\":\"{n}\",\"author\":\"a\",\"text\":\"numéro {n}\"}}");
    let lines: Vec<String> = (0..120_000).map(line).collect();
    std::fs::write(folder.path().join("posts.ndjson"), lines.join("\n")).unwrap();
    let pipeline = Pipeline::build(config(folder.path())).unwrap();
    let view = pipeline.view();
    view.stuck_after(Duration::from_secs(1));
    let (orders, control) = mpsc::channel(1);
    let settlements = pipeline.settlements.clone();
    // Each commit ends with a look at the outbox.
    let stalled = view.outbox.lock();
    let daemon = std::thread::Builder::new().spawn(move || pipeline.run(control, || ())).unwrap();
    let stuck = || view.stuck().iter().map(|stuck| stuck.stage.to_string()).collect::<Vec<_>>();
    eventually("the desk to wait for it", || settlements.is_full());
    // Whoever waits now has waited for longer than the limit by the time that this is over.
    let full = Instant::now();
    eventually("twice the limit", || full.elapsed() > Duration::from_secs(2));
    eventually("the ledger to be stuck, alone", || stuck() == [console::service::LEDGER_STAGE]);
    let waits = |stage: &str| view.pulses.read().any(|(name, busy)| &**name == stage && busy.is_none());
    assert!(waits("vigie-desk"));
    assert!(view.ledger.accounting().total().received() < 120_000, "there was more to do");
    drop((stalled, settlements));
    eventually("everything read", || view.status().received == 120_000);
    eventually("everybody at rest", || stuck().is_empty() && waits("vigie-desk"));
    assert_eq!((view.status().service.stuck(), view.status().service.draining), (None, false));
    drop(orders.blocking_send(Control::Drain));
    daemon.join().unwrap().unwrap();
    assert!(view.status().service.draining);
}

#[test]
fn a_lane_at_one_batch_for_ever_is_stuck_and_an_idle_daemon_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("{{\"id\":\"1\",\"author\":\"a\",\"text\":\"{STALL}\"}}");
    std::fs::write(folder.path().join("posts.ndjson"), line).unwrap();
    let pipeline = Pipeline::build(config(folder.path())).unwrap();
    let view = pipeline.view();
    view.stuck_after(Duration::from_secs(1));
    let (orders, control) = mpsc::channel(1);
    STALLS.store(true, Ordering::Relaxed);
    let daemon = std::thread::Builder::new().spawn(move || pipeline.run(control, || ())).unwrap();
    let stuck = || view.status().service.stuck();
    eventually("the lane to be stuck", || stuck().is_some_and(|stuck| stuck.starts_with("vigie-lane-0 has")));
    assert!(view.status().unready().unwrap().contains("vigie-lane-0"));
    STALLS.store(false, Ordering::Relaxed);
    eventually("everything read", || view.status().received == 1);
    let idle = Instant::now();
    // Twice the limit: no stage has anything to do, and none is stuck.
    eventually("idleness", || idle.elapsed() > Duration::from_secs(2));
    eventually("nobody to be stuck", || view.stuck().is_empty());
    drop(orders.blocking_send(Control::Drain));
    daemon.join().unwrap().unwrap();
}

/// Waits until `is` holds.
fn eventually(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(300), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
