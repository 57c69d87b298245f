//! The whole source against a sender on loopback: what it asks for, what it hands over and acknowledges, when
//! it goes on.
//!
//! Waits are configured to be tiny or endless; nothing here depends on how fast the machine is.

use std::num::NonZeroUsize;

use crossbeam::channel::Receiver;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::fake::{PATIENCE, Sender, Visit, answer};
use super::*;
use crate::source::{HealthState, batch_queue};

/// A running source and everything it touches.
struct Run {
    sender: Sender,
    durable: watch::Sender<Durable>,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    source: JoinHandle<()>,
    lanes: Receiver<FrameBatch>,
}

/// All that was handed over, as one.
#[derive(Debug, Default, PartialEq)]
struct Handed {
    lines: Vec<String>,
    heartbeats: u64,
    oversize: u64,
    gaps: Vec<(i64, i64)>,
    position: Option<i64>,
}

impl Handed {
    fn add(&mut self, batch: FrameBatch) {
        let line =
            |range: &std::ops::Range<usize>| String::from_utf8_lossy(&batch.bytes[range.clone()]).into();
        self.lines.extend(batch.frames.iter().map(line));
        self.heartbeats += batch.heartbeats;
        self.oversize += batch.oversize;
        self.gaps.extend(batch.gaps.iter().map(|gap| (gap.from, gap.to)));
        self.position = batch.position;
    }
}

impl Run {
    async fn start(position: Option<i64>, visits: Vec<Visit>) -> Run {
        Run::start_with(position, visits, |_| {}).await
    }

    async fn start_with(position: Option<i64>, visits: Vec<Visit>, change: impl FnOnce(&mut Config)) -> Run {
        let sender = Sender::start(visits).await;
        let mut config = Config::new("test", Address::parse(&sender.address).unwrap(), Format::Plain);
        config.batch_delay_max = Duration::from_millis(1);
        config.ack_interval = Duration::ZERO;
        config.reconnect_delay_min = Duration::from_millis(1);
        config.reconnect_delay_max = Duration::from_millis(2);
        change(&mut config);
        assert_eq!(config.mistakes(), []);
        let (out, lanes) = batch_queue(NonZeroUsize::new(64).unwrap());
        let (durable, committed) = watch::channel(Durable { end_sequence: 0, position });
        let health = Arc::new(Health::default());
        let (stop, stopping) = watch::channel(false);
        let source = tokio::spawn(run(config, position, committed, out, health.clone(), stopping));
        Run { sender, durable, health, stop, source, lanes }
    }

    /// The next batch.
    async fn batch(&self) -> FrameBatch {
        let lanes = self.lanes.clone();
        let batch = tokio::task::spawn_blocking(move || lanes.recv_timeout(PATIENCE)).await.unwrap();
        batch.expect("a batch in time")
    }

    /// Batches until one reaches `position`.
    async fn until_position(&self, position: i64) -> Handed {
        let mut handed = Handed::default();
        while handed.position != Some(position) {
            handed.add(self.batch().await);
        }
        handed
    }

    /// Waits until the source says so.
    async fn until(&self, is_so: impl Fn(&HealthState) -> bool) -> HealthState {
        let waiting = async {
            loop {
                let state = self.health.read();
                if is_so(&state) {
                    return state;
                }
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("never so: {:?}", self.health.read()))
    }

    /// The ledger has committed all batches before number `end_sequence`, of which the last reached `position`.
    fn commit(&self, end_sequence: u64, position: i64) {
        self.durable.send_replace(Durable { end_sequence, position: Some(position) });
    }

    /// Stops the source; what it still handed over.
    async fn stop(self) -> Handed {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.source).await.expect("an end in time").unwrap();
        let mut handed = Handed::default();
        self.lanes.try_iter().for_each(|batch| handed.add(batch));
        assert!(!self.health.read().connected);
        handed
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_after_what_is_here_and_handed_over_line_by_line() {
    let bytes = b"one\ntwo\r\n\nfar too long for us\n\xff\xfe\0\n".to_vec();
    let change = |config: &mut Config| config.frame_bytes_max = 8;
    let mut run = Run::start_with(None, vec![Visit::Stay(answer(0), bytes.clone())], change).await;
    assert_eq!(run.sender.hear().await, "{\"vigie\":1,\"after\":0}");
    let expected = Handed {
        lines: vec!["one".to_owned(), "two".to_owned(), "\u{fffd}\u{fffd}\0".to_owned()],
        heartbeats: 1,
        oversize: 1,
        gaps: vec![],
        position: Some(5),
    };
    assert_eq!(run.until_position(5).await, expected);
    let state = run.until(|state| state.position.is_some()).await;
    assert_eq!((state.connected, state.reconnects, state.position), (true, 0, Some(5)));
    assert_eq!((state.trouble.as_str(), state.finished), ("", false));
    run.stop().await;

    // One byte at a time, the answer too, in a stream that goes on.
    let mut run = Run::start_with(Some(70), vec![Visit::Drip(answer(70), bytes)], change).await;
    assert_eq!(run.sender.greeting().await, 70);
    assert_eq!(run.until_position(75).await, Handed { position: Some(75), ..expected });
    run.stop().await;
}

#[tokio::test]
async fn batches_are_live_numbered_and_as_config_says() {
    let run = Run::start_with(None, vec![Visit::Stay(answer(0), b"post\n".repeat(10))], |config| {
        config.batch_delay_max = Duration::from_secs(3_600);
        config.batch_frames_max = 4;
    })
    .await;
    for sequence in 0..2 {
        let batch = run.batch().await;
        assert_eq!((batch.sequence, batch.frames.len(), batch.patient), (sequence, 4, false));
        assert_eq!((&*batch.source, batch.format), ("test", Format::Plain));
    }
    // The delay never ends: stopping hands over what there is.
    run.until(|state| state.position == Some(8)).await;
    let handed = run.stop().await;
    assert!(handed == Handed::default() || handed.position == Some(10), "{handed:?}");
}

#[tokio::test]
async fn a_lost_connection_goes_on_after_the_last_whole_line() {
    let visits = vec![
        Visit::Close(answer(0), b"one\ntwo\nthre".to_vec()),
        Visit::Close(answer(2), b"three\nfar too long for".to_vec()),
        Visit::Stay(answer(3), b"far too long for us\nfive\n".to_vec()),
    ];
    let mut run = Run::start_with(None, visits, |config| config.frame_bytes_max = 8).await;
    for expected in [0, 2, 3] {
        assert_eq!(run.sender.greeting().await, expected);
    }
    let handed = run.until_position(5).await;
    assert_eq!(handed.lines, ["one", "two", "three", "five"]);
    assert_eq!((handed.oversize, handed.gaps.len()), (1, 0));
    let state = run.until(|state| state.connected).await;
    assert_eq!((state.reconnects, state.trouble.as_str()), (2, ""));
    run.stop().await;
}

#[tokio::test]
async fn what_the_sender_no_longer_has_is_a_gap_booked_once() {
    let visits = vec![Visit::Close(answer(100), vec![]), Visit::Stay(answer(100), b"101\n".to_vec())];
    let mut run = Run::start(Some(40), visits).await;
    assert_eq!(run.sender.greeting().await, 40);
    assert_eq!(run.sender.greeting().await, 100);
    let handed = run.until_position(101).await;
    assert_eq!((handed.gaps, handed.lines), (vec![(40, 101)], vec!["101".to_owned()]));
    run.stop().await;
}

#[tokio::test]
async fn what_is_durable_is_acknowledged_and_nothing_else() {
    let mut run = Run::start(None, vec![Visit::Stay(answer(0), b"post\n".repeat(9))]).await;
    assert_eq!(run.sender.greeting().await, 0);
    run.until_position(9).await;
    run.commit(1, 4);
    assert_eq!(run.sender.ack().await, 4);
    run.commit(2, 9);
    assert_eq!(run.sender.ack().await, 9);
    run.stop().await;
}

#[tokio::test]
async fn a_new_connection_is_told_again_what_is_durable() {
    let visits = vec![Visit::Close(answer(7), b"8\n9\n".to_vec()), Visit::Stay(answer(9), vec![])];
    let mut run = Run::start(Some(7), visits).await;
    assert_eq!(run.sender.greeting().await, 7);
    assert_eq!(run.sender.greeting().await, 9);
    assert_eq!(run.sender.ack().await, 7);
    run.commit(1, 9);
    assert_eq!(run.sender.ack().await, 9);
    run.stop().await;
}

/// 3 lines were here when the sender begins a new stream: they must be durable before anything of it is taken,
/// and nothing may be acknowledged in their name.
#[tokio::test]
async fn a_stream_that_begins_again_is_taken_and_acknowledged_for_what_it_is() {
    let visits = vec![
        Visit::Close(answer(0), b"old 1\nold 2\nold 3\n".to_vec()),
        Visit::Stay(answer(0), b"new 1\nnew 2\n".to_vec()),
    ];
    let mut run = Run::start_with(None, visits, |config| config.batch_frames_max = 1).await;
    assert_eq!(run.sender.greeting().await, 0);
    assert_eq!(run.until_position(3).await.lines.len(), 3);
    assert_eq!(run.sender.greeting().await, 3);
    let state = run.until(|state| state.connected && !state.trouble.is_empty()).await;
    assert_eq!(state.trouble, "the sender began after line 0, and 3 were here");
    run.commit(2, 2);
    assert!(run.lanes.try_recv().is_err(), "taken before the old stream was durable");
    run.commit(3, 3);
    let handed = run.until_position(2).await;
    assert_eq!((handed.lines, handed.gaps), (vec!["new 1".to_owned(), "new 2".to_owned()], vec![]));
    run.commit(5, 2);
    assert_eq!(run.sender.ack().await, 2);
    run.stop().await;
}

/// The stored 1000 lines are those of another stream, on the second connection too, where both sides agree.
#[tokio::test]
async fn nothing_is_acknowledged_before_something_of_a_new_stream_is_durable() {
    let visits = vec![Visit::Close(answer(0), vec![]), Visit::Stay(answer(0), b"new\n".to_vec())];
    let mut run = Run::start(Some(1000), visits).await;
    assert_eq!((run.sender.greeting().await, run.sender.greeting().await), (1000, 0));
    assert_eq!(run.until_position(1).await.lines, ["new"]);
    run.commit(1, 1);
    assert_eq!(run.sender.ack().await, 1);
    run.stop().await;
}

/// Each life of the sender brings as many lines as the one before: only batches tell its streams apart.
#[tokio::test]
async fn a_stream_that_begins_again_and_again_is_never_taken_for_the_one_before() {
    let visits = vec![
        Visit::Close(answer(0), b"first\n".to_vec()),
        Visit::Close(answer(0), b"second\n".to_vec()),
        Visit::Stay(answer(0), b"third\nfourth\n".to_vec()),
    ];
    let mut run = Run::start_with(None, visits, |config| config.batch_frames_max = 1).await;
    assert_eq!((run.sender.greeting().await, run.sender.greeting().await), (0, 1));
    assert_eq!(run.until_position(1).await.lines, ["first"]);
    run.commit(1, 1);
    assert_eq!(run.until_position(1).await.lines, ["second"]);
    assert_eq!(run.sender.greeting().await, 1);
    run.until(|state| state.reconnects == 2 && state.trouble.starts_with("the sender began")).await;
    // Room for a source that does not wait to go wrong.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(run.lanes.try_recv().is_err(), "taken before the old stream was durable");
    run.commit(2, 1);
    assert_eq!(run.until_position(2).await.lines, ["third", "fourth"]);
    run.commit(4, 2);
    assert_eq!(run.sender.ack().await, 2);
    run.stop().await;
}

#[tokio::test]
async fn a_sender_that_never_reads_still_delivers_and_gets_the_newest_ack_when_it_does() {
    let (lines, sent) = mpsc::unbounded_channel();
    let (listen, listens) = oneshot::channel();
    let mut run = Run::start(None, vec![Visit::Deaf(answer(0), sent, listens)]).await;
    assert_eq!(run.sender.greeting().await, 0);
    // Far more than the two sockets hold: the rest must be given up.
    let rounds = 50_000_i64;
    for position in 1..=rounds {
        run.commit(position.cast_unsigned(), position);
        tokio::task::yield_now().await;
    }
    lines.send(b"post\n".to_vec()).unwrap();
    assert_eq!(run.until_position(1).await.lines, ["post"]);
    drop((lines, listen));
    let (mut acks, mut last) = (0, 0);
    while last < rounds {
        let ack = run.sender.ack().await;
        assert!(last < ack, "{ack} after {last}");
        (acks, last) = (acks + 1, ack);
    }
    assert!(acks < rounds / 4, "{acks} acknowledgements were kept for a sender that did not read");
    run.stop().await;
}

#[tokio::test]
async fn answers_that_are_none_end_the_connection_with_a_trouble() {
    let check = async |answer: &str, expected: &str| {
        let visit = || Visit::Close(answer.to_owned(), vec![]);
        let mut run = Run::start(Some(5), vec![visit(), visit(), Visit::Mute]).await;
        for _ in 0..3 {
            assert_eq!(run.sender.greeting().await, 5);
        }
        let state = run.health.read();
        assert!(state.trouble.contains(expected), "{answer:?}: {state:?}");
        assert!(!state.connected && state.position.is_none());
        assert_eq!(run.stop().await, Handed::default());
    };
    check("", "the sender closed the connection").await;
    check("{\"vigie\":1,", "the sender closed the connection").await;
    check("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak our protocol: it answered \"HTTP/1.1 400 Bad")
        .await;
    check("{\"vigie\":2,\"after\":5}\n", "the sender speaks version 2 of the protocol, and not 1").await;
    check("{\"error\":\"come back later\"}\n", "the sender refused: \"come back later\"").await;
    check(&answer(i64::MAX), "the sender begins after line 9223372036854775807, which no stream of 5").await;
    check(&"x".repeat(ANSWER), "does not speak our protocol").await;
}

/// Longer than an answer may be, without an end.
const ANSWER: usize = 5_000;

#[tokio::test]
async fn a_sender_that_slams_the_door_or_is_not_there_is_tried_again() {
    let visits = vec![Visit::Slam, Visit::Slam, Visit::Stay(answer(0), b"post\n".to_vec())];
    let run = Run::start(None, visits).await;
    assert_eq!(run.until_position(1).await.lines, ["post"]);
    run.stop().await;

    let run = Run::start_with(None, vec![], |config| {
        config.address = Address::parse("127.0.0.1:1").unwrap();
    })
    .await;
    let state = run.until(|state| !state.trouble.is_empty()).await;
    assert!(state.trouble.starts_with("cannot connect: "), "{}", state.trouble);
    run.stop().await;
}

#[tokio::test]
async fn a_sender_that_never_answers_is_left() {
    let mut run = Run::start_with(None, vec![], |config| {
        config.connect_timeout = Duration::from_millis(20);
    })
    .await;
    for _ in 0..2 {
        run.sender.greeting().await;
    }
    let state = run.until(|state| !state.trouble.is_empty()).await;
    assert_eq!(state.trouble, "connected, but no answer to the greeting within 20ms");
    run.stop().await;
}

#[tokio::test]
async fn a_sender_that_says_nothing_is_left() {
    let visits = vec![Visit::Stay(answer(0), b"post\nbegun".to_vec())];
    let mut run = Run::start_with(None, visits, |config| {
        config.silence_max = Duration::from_millis(20);
    })
    .await;
    assert_eq!(run.sender.greeting().await, 0);
    let state = run.until(|state| !state.trouble.is_empty()).await;
    assert_eq!((state.trouble.as_str(), state.connected), ("nothing heard from the sender for 20ms", false));
    assert_eq!(run.sender.greeting().await, 1);
    run.stop().await;
}

/// One place in the queue, and nobody takes from it: the source stops reading, and says nothing of silence.
#[tokio::test]
async fn while_the_lanes_are_behind_the_sender_waits() {
    let (lines, sent) = mpsc::unbounded_channel();
    let (_listen, listens) = oneshot::channel();
    let sender = Sender::start(vec![Visit::Deaf(answer(0), sent, listens)]).await;
    let mut config = Config::new("test", Address::parse(&sender.address).unwrap(), Format::Plain);
    config.batch_frames_max = 1;
    config.silence_max = Duration::from_millis(1);
    let (out, lanes) = batch_queue(NonZeroUsize::MIN);
    let (_durable, committed) = watch::channel(Durable::default());
    let (stop, stopping) = watch::channel(false);
    let health = Arc::new(Health::default());
    lines.send(b"1\n2\n3\n".to_vec()).unwrap();
    let source = tokio::spawn(run(config, None, committed, out, health.clone(), stopping));
    let waiting = async {
        while health.read().position.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let state = health.read();
    assert_eq!((state.position, state.connected, state.trouble.as_str()), (Some(1), true, ""));
    for position in 1..=3 {
        let lanes = lanes.clone();
        let batch = tokio::task::spawn_blocking(move || lanes.recv_timeout(PATIENCE)).await.unwrap();
        assert_eq!(batch.unwrap().position, Some(position));
    }
    stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, source).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sender_that_closes_at_once_is_asked_ever_more_slowly() {
    let failures_after = async |visits: u32, healthy_after: Duration| {
        let sender = Sender::start(
            (0..visits).map(|visit| Visit::Close(answer(visit.into()), b"post\n".to_vec())).collect(),
        )
        .await;
        let mut config = Config::new("test", Address::parse(&sender.address).unwrap(), Format::Plain);
        config.healthy_after = healthy_after;
        let (out, _lanes) = batch_queue(NonZeroUsize::new(64).unwrap());
        let (_durable, committed) = watch::channel(Durable::default());
        let (_stop, stopping) = watch::channel(false);
        let mut follower = Follower::new(config, None, committed, out, Arc::default(), stopping);
        for _ in 0..visits {
            let trouble = follower.attempt().await.unwrap().expect("the sender closes");
            assert!(matches!(trouble, Trouble::Closed), "{trouble}");
            follower.after(&trouble);
        }
        follower.backoff.failures()
    };
    assert_eq!(failures_after(5, Duration::from_secs(3_600)).await, 5);
    // A connection that was healthy starts over: its end is the first failure.
    assert_eq!(failures_after(5, Duration::ZERO).await, 1);
}

#[test]
fn a_peer_of_another_kind_is_tried_again_slowly() {
    let config = Config::new("test", Address::parse("h:1").unwrap(), Format::Plain);
    let (delay_min, delay_max) = (config.reconnect_delay_min, config.reconnect_delay_max);
    let (out, _lanes) = batch_queue(NonZeroUsize::MIN);
    let (_durable, committed) = watch::channel(Durable::default());
    let (_stop, stopping) = watch::channel(false);
    let mut follower = Follower::new(config, None, committed, out, Arc::default(), stopping);
    assert!(follower.after(&Trouble::Refused("later".to_owned())) <= delay_min);
    assert!((delay_max / 2..=delay_max).contains(&follower.after(&Trouble::OtherVersion(2))));
}

#[tokio::test]
async fn stopping_waits_for_nothing() {
    // Not for an answer,
    let mut run = Run::start_with(None, vec![], |config| config.connect_timeout = PATIENCE * 2).await;
    run.sender.greeting().await;
    run.stop().await;
    // nor a back-off,
    let visits = vec![Visit::Close("{\"vigie\":2}\n".to_owned(), vec![])];
    let run = Run::start_with(None, visits, |config| {
        config.reconnect_delay_max = Duration::from_secs(3_600);
    })
    .await;
    run.until(|state| !state.trouble.is_empty()).await;
    run.stop().await;
    // nor the old stream's lines.
    let visits = vec![Visit::Close(answer(0), b"old\n".to_vec()), Visit::Stay(answer(0), b"new\n".to_vec())];
    let run = Run::start(None, visits).await;
    run.until(|state| state.trouble.starts_with("the sender began")).await;
    assert_eq!(run.stop().await.lines, ["old"]);
}

#[tokio::test]
async fn the_source_ends_when_the_lanes_are_gone_or_nobody_can_stop_it() {
    let run = Run::start(None, vec![Visit::Stay(answer(0), b"post\n".to_vec())]).await;
    drop(run.lanes);
    tokio::time::timeout(PATIENCE, run.source).await.expect("an end in time").unwrap();

    let run = Run::start(None, vec![]).await;
    drop(run.stop);
    tokio::time::timeout(PATIENCE, run.source).await.expect("an end in time").unwrap();
}

/// The ledger's end is not the source's business: it goes on handing over what comes.
#[tokio::test]
async fn a_ledger_that_is_gone_disturbs_nothing() {
    let (lines, sent) = mpsc::unbounded_channel();
    let (_listen, listens) = oneshot::channel();
    let run = Run::start(None, vec![Visit::Deaf(answer(0), sent, listens)]).await;
    run.until(|state| state.connected).await;
    let Run { sender, durable, health, stop, source, lanes } = run;
    drop(durable);
    lines.send(b"post\n".to_vec()).unwrap();
    let run = Run { sender, durable: watch::Sender::new(Durable::default()), health, stop, source, lanes };
    assert_eq!(run.until_position(1).await.lines, ["post"]);
    run.stop().await;
}

#[test]
fn every_mistake_is_reported_with_its_key() {
    let mut config = Config::new("test", Address::parse("h:1").unwrap(), Format::Plain);
    assert_eq!(config.mistakes(), []);
    config.frame_bytes_max = 0;
    config.batch_frames_max = 65_537;
    config.batch_bytes_max = 4_095;
    config.connect_timeout = Duration::ZERO;
    config.silence_max = Duration::ZERO;
    config.reconnect_delay_max = Duration::from_millis(249);
    let keys: Vec<_> = config.mistakes().iter().map(|mistake| mistake.key).collect();
    let expected = [
        "frame_bytes_max",
        "batch_frames_max",
        "batch_bytes_max",
        "connect_timeout_ms",
        "silence_max_ms",
        "reconnect_delay_max_ms",
    ];
    assert_eq!(keys, expected);
    assert_eq!(config.mistakes()[5].to_string(), "reconnect_delay_max_ms = 249: must be 250 to 3600000");
}
