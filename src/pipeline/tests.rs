//! The whole daemon in this process: what happens when a stage fails.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// In a frame: the lane that takes its batch panics, while [`PANICS`] says so.
const PANIC: &[u8] = b"the lane panics here";
static PANICS: AtomicBool = AtomicBool::new(false);
/// A source of this name: the lane that takes its second batch panics.
const PANIC_SOURCE: &str = "panics";

pub(super) fn panic_as_asked(batch: Option<&FrameBatch>) {
    let Some(batch) = batch else { return };
    let is_marked = batch.bytes.windows(PANIC.len()).any(|bytes| bytes == PANIC);
    assert!(!(PANICS.load(Ordering::Relaxed) && is_marked), "as the test asked");
    assert!(&*batch.source != PANIC_SOURCE || batch.sequence == 0, "as the test asked");
}

/// Runs a daemon over the folder's `posts.ndjson` until it ends by itself or has read everything.
fn run(folder: &Path) -> Result<Accounting, PipelineError> {
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
    let pipeline = Pipeline::build(config.unwrap())?;
    let (view, (orders, control)) = (pipeline.view(), mpsc::channel(1));
    let daemon = std::thread::Builder::new().spawn(move || pipeline.run(control, || ())).unwrap();
    while !daemon.is_finished() && !view.status().sources.iter().all(|source| source.finished) {
        std::thread::yield_now();
    }
    // A daemon that has failed takes no orders any more.
    drop(orders.blocking_send(Control::Drain));
    daemon.join().unwrap()
}

#[test]
fn a_lane_that_panics_ends_the_daemon_and_its_batch_comes_again_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let line = |n: usize| match n {
        2_000 => {
            format!("{{\"id\":\"{n}\",\"author\":\"a\",\"text\":\"{}\"}}", String::from_utf8_lossy(PANIC))
        }
        n => format!("{{\"id\":\"{n}\",\"author\":\"a\",\"text\":\"@lumio panne numéro {n}\"}}"),
    };
    let lines: Vec<String> = (1..=3_000).map(line).collect();
    std::fs::write(folder.path().join("posts.ndjson"), lines.join("\n")).unwrap();

    PANICS.store(true, Ordering::Relaxed);
    let fault = run(folder.path()).expect_err("a lane has panicked").to_string();
    PANICS.store(false, Ordering::Relaxed);
    assert!(fault.contains("vigie-lane-0: panicked"), "{fault}");
    let ledger = rusqlite::Connection::open(folder.path().join("ledger.sqlite")).unwrap();
    let position: i64 = ledger.query_row("SELECT position FROM source", [], |row| row.get(0)).unwrap();
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
