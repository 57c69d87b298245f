//! The whole source against a server on loopback: what it asks for, what it hands over, when it goes on.
//!
//! Waits are configured to be tiny or endless; nothing here depends on how fast the machine is.

use std::num::NonZeroUsize;

use crossbeam::channel::Receiver;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::fake::{PATIENCE, Server, Visit, close, event, raw_text, text};
use super::*;
use crate::source::{FrameBatch, Gap, HealthState, batch_queue};

const LAST: i64 = 1_725_911_162_329_308;
const REWIND_US: i64 = 5_000_000;

/// A running source and everything it touches.
struct Run {
    server: Server,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    source: JoinHandle<()>,
    lanes: Receiver<FrameBatch>,
}

/// All that was handed over, as one.
#[derive(Debug, Default, PartialEq)]
struct Handed {
    frames: Vec<String>,
    oversize: u64,
    unreadable: u64,
    duplicates: u64,
    gaps: Vec<(i64, i64)>,
    recovered: Vec<(i64, i64)>,
}

impl Run {
    async fn start(cursor: Option<i64>, visits: Vec<Visit>) -> Run {
        Run::start_with(cursor, visits, |_| {}).await
    }

    async fn start_with(cursor: Option<i64>, visits: Vec<Visit>, change: impl FnOnce(&mut Config)) -> Run {
        Run::start_at(Stored { position: cursor, open_gaps: Vec::new() }, visits, change).await
    }

    async fn start_at(stored: Stored, visits: Vec<Visit>, change: impl FnOnce(&mut Config)) -> Run {
        let server = Server::start(visits).await;
        let mut config = Config::new("test", &server.url).unwrap();
        config.batch_delay_max = Duration::from_millis(1);
        config.reconnect_delay_min = Duration::from_millis(1);
        config.reconnect_delay_max = Duration::from_millis(2);
        change(&mut config);
        assert_eq!(config.mistakes(), []);
        let (out, lanes) = batch_queue(NonZeroUsize::new(64).unwrap());
        let health = Arc::new(Health::default());
        let (stop, stopping) = watch::channel(false);
        let source = tokio::spawn(run(config, stored, out, health.clone(), stopping));
        Run { server, health, stop, source, lanes }
    }

    /// The next batch.
    async fn batch(&self) -> FrameBatch {
        let lanes = self.lanes.clone();
        let batch = tokio::task::spawn_blocking(move || lanes.recv_timeout(PATIENCE)).await.unwrap();
        batch.expect("a batch in time")
    }

    /// Batches until they hold `frames` frames, of any kind.
    async fn frames(&self, frames: usize) -> Handed {
        let mut handed = Handed::default();
        while handed.frames.len() as u64 + handed.oversize + handed.unreadable + handed.duplicates
            < frames as u64
        {
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

impl Handed {
    fn add(&mut self, batch: FrameBatch) {
        let frame =
            |range: &std::ops::Range<usize>| String::from_utf8_lossy(&batch.bytes[range.clone()]).into();
        self.frames.extend(batch.frames.iter().map(frame));
        self.oversize += batch.oversize;
        self.unreadable += batch.unreadable;
        self.duplicates += batch.duplicates;
        self.recovered.extend(batch.recovered);
        self.gaps.extend(batch.gaps.iter().map(|gap: &Gap| (gap.from, gap.to)));
    }
}

fn strings<const N: usize>(messages: [Message; N]) -> Vec<String> {
    messages.iter().map(|message| message.to_text().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_server_is_asked_for_what_config_says() {
    let mut run = Run::start(Some(LAST), vec![]).await;
    let expected = format!("/subscribe?wantedCollections=app.bsky.feed.post&cursor={}", LAST - REWIND_US);
    assert_eq!(run.server.request().await, expected);
    run.stop().await;

    let mut run = Run::start_with(None, vec![], |config| {
        config.collections = vec!["a.b".to_owned(), "c.*".to_owned()];
    })
    .await;
    let expected = "/subscribe?wantedCollections=a.b&wantedCollections=c.*";
    assert_eq!(run.server.request().await, expected);
    run.stop().await;
}

#[tokio::test]
async fn text_frames_are_handed_over_in_order() {
    let run = Run::start(None, vec![Visit::Stay(vec![event(LAST), text("{"), text(""), event(7)])]).await;
    let handed = run.frames(4).await;
    assert_eq!(handed.frames, strings([event(LAST), text("{"), text(""), event(7)]));
    assert_eq!(handed.gaps, []);
    let state = run.until(|state| state.position.is_some()).await;
    assert_eq!((state.connected, state.reconnects, state.position), (true, 0, Some(LAST)));
    run.stop().await;
}

#[tokio::test]
async fn a_lost_connection_resumes_from_the_greatest_position_less_the_rewind() {
    let visits = vec![
        Visit::Drop(vec![event(LAST - 9), event(LAST), event(LAST - 31_000)]),
        Visit::Stay(vec![event(LAST - REWIND_US), event(LAST), event(LAST + 1)]),
    ];
    let mut run = Run::start(None, visits).await;
    assert_eq!(run.server.cursor().await, None);
    assert_eq!(run.server.cursor().await, Some(LAST - REWIND_US));
    let handed = run.frames(6).await;
    assert_eq!(handed.gaps, [], "a faithful replay has none");
    assert_eq!((handed.frames.len(), handed.duplicates), (5, 1));
    let state = run.until(|state| state.position == Some(LAST + 1)).await;
    assert_eq!((state.connected, state.reconnects, state.trouble.as_str()), (true, 1, ""));
    run.stop().await;
}

#[tokio::test]
async fn a_silent_clamp_is_booked_as_a_gap_once() {
    let late = LAST + 3_600_000_000;
    let visits = vec![
        Visit::Drop(vec![event(late), event(late + 1)]),
        Visit::Stay(vec![event(late), event(late + 2)]),
    ];
    let run = Run::start(Some(LAST), visits).await;
    let first = run.batch().await;
    assert_eq!(first.gaps.len(), 1);
    assert_eq!((first.gaps[0].from, first.gaps[0].to), (LAST, late));
    assert!(first.gaps[0].reason.contains("3600.000 s"), "{}", first.gaps[0].reason);
    let mut handed = Handed::default();
    handed.add(first);
    while handed.frames.len() < 3 {
        handed.add(run.batch().await);
    }
    assert_eq!((handed.gaps, handed.duplicates), (vec![(LAST, late)], 1));
    run.stop().await;
}

#[tokio::test]
async fn a_server_that_took_no_notice_of_the_cursor_is_asked_again_and_fills_the_gap() {
    let late = LAST + 60_000_000;
    let visits = vec![
        Visit::Drop(vec![event(late), event(late + 1)]),
        Visit::Stay(vec![
            event(LAST - 1),
            event(LAST + 5),
            event(late),
            event(late + 1),
            event(late + 200_000),
        ]),
    ];
    let mut run = Run::start(Some(LAST), visits).await;
    assert_eq!(run.server.cursor().await, Some(LAST - REWIND_US));
    assert_eq!(run.server.cursor().await, Some(LAST - REWIND_US), "from before the gap");
    let mut handed = run.frames(7).await;
    while handed.recovered.is_empty() {
        handed.add(run.batch().await);
    }
    assert_eq!((handed.gaps, handed.recovered), (vec![(LAST, late)], vec![(LAST, late)]));
    assert_eq!(handed.duplicates, 2);
    run.stop().await;
}

#[tokio::test]
async fn a_hole_that_an_earlier_run_has_left_open_is_asked_for_and_filled() {
    let (from, to) = (LAST - 60_000_000, LAST - 50_000_000);
    let visits = vec![
        Visit::Stay(vec![event(LAST), event(LAST + 1)]),
        Visit::Stay(vec![event(from), event(from + 5_000_000), event(to), event(LAST + 1), event(LAST + 2)]),
    ];
    let open_gaps = vec![Gap { from, to, reason: "late".to_owned() }];
    let stored = Stored { position: Some(LAST), open_gaps };
    let rewind = Duration::from_millis(20);
    let mut run = Run::start_at(stored, visits, |config| config.rewind = rewind).await;
    let rewind_us = rewind.as_micros() as i64;
    assert_eq!(run.server.cursor().await, Some(LAST - rewind_us), "first it goes on");
    assert_eq!(run.server.cursor().await, Some(from - rewind_us));
    let mut handed = run.frames(7).await;
    while handed.recovered.is_empty() {
        handed.add(run.batch().await);
    }
    assert_eq!((handed.gaps, handed.recovered, handed.duplicates), (vec![], vec![(from, to)], 1));
    run.stop().await;
}

#[tokio::test]
async fn repeated_events_are_counted_and_repeated_nonsense_is_nonsense_each_time() {
    let visits = vec![Visit::Stay(vec![event(LAST), event(LAST), text("{"), text("{"), event(LAST + 1)])];
    let run = Run::start(None, visits).await;
    let handed = run.frames(5).await;
    assert_eq!(handed.frames, strings([event(LAST), text("{"), text("{"), event(LAST + 1)]));
    assert_eq!(handed.duplicates, 1);
    run.stop().await;
}

/// Thirty seconds of a stream at ten events a second, by its own clock.
fn half_a_minute(end: i64) -> Vec<Message> {
    (0..300).map(|step| event(end - (299 - step) * 100_000)).collect()
}

#[tokio::test]
async fn a_silence_beyond_chance_makes_it_connect_again_and_is_told_once() {
    let visits = || Visit::Stay(half_a_minute(LAST));
    let last = Visit::Stay(vec![event(LAST + 1)]);
    let mut run = Run::start_with(Some(LAST), vec![visits(), visits(), last], |config| {
        config.batch_frames_max = 50;
    })
    .await;
    run.server.request().await;
    let state = run.until(|state| state.pace.silent_since_us.is_some()).await;
    assert!(state.pace.usual_per_s.is_some_and(|usual| (8.0..12.0).contains(&usual)), "{:?}", state.pace);
    let text = Health::trouble(&HealthState { trouble: String::new(), ..state }, Timestamp::now());
    assert!(text.starts_with("silent for ") && text.contains(" s, unnatural at its usual "), "{text}");
    // The second connection repeats what was there, which is no event; the third brings one.
    let state = run.until(|state| state.reconnects == 2 && state.pace.silent_since_us.is_none()).await;
    assert_eq!(state.pace.silences, 1);
    run.stop().await;
}

#[tokio::test]
async fn a_hole_at_the_change_to_live_is_booked_and_asked_for_again() {
    let now = Timestamp::now().as_microsecond();
    let mut lossy = half_a_minute(now - 1_000_000);
    // Nothing for 40 s at ten a second, up to now.
    lossy.iter_mut().take(290).enumerate().for_each(|(step, message)| {
        *message = event(now - 50_000_000 + step as i64 * 30_000);
    });
    let whole = Visit::Stay(half_a_minute(now));
    let run_config = |config: &mut Config| {
        config.rewind = Duration::from_millis(1);
        config.batch_frames_max = 50;
    };
    let first = now - 90_000_000;
    let mut learn: Vec<_> = (0..400).map(|step| event(first + step * 100_000)).collect();
    learn.extend(lossy);
    let mut run = Run::start_with(Some(first), vec![Visit::Stay(learn), whole], run_config).await;
    run.server.cursor().await;
    let again = run.server.cursor().await.expect("a cursor");
    let mut handed = Handed::default();
    while handed.gaps.is_empty() {
        handed.add(run.batch().await);
    }
    let [(from, to)] = handed.gaps[..] else { panic!("{:?}", handed.gaps) };
    assert!(to - from > 20_000_000 && again == from - 1_000, "{from} to {to}, {again}");
    run.stop().await;
}

#[tokio::test]
async fn frames_without_a_position_do_not_hide_a_gap() {
    let visits = vec![Visit::Stay(vec![text("{}"), event(LAST + 5), event(LAST + 6)])];
    let run = Run::start(Some(LAST), visits).await;
    assert_eq!(run.frames(3).await.gaps, [(LAST, LAST + 5)]);
    run.stop().await;
}

#[tokio::test]
async fn binary_and_oversize_frames_are_counted_and_the_connection_stays() {
    let long = "x".repeat(101);
    let visits = vec![Visit::Stay(vec![
        event(LAST),
        Message::binary(vec![1, 2, 3]),
        text(long),
        text("y".repeat(100)),
        event(LAST + 1),
    ])];
    let run = Run::start_with(None, visits, |config| config.frame_bytes_max = 100).await;
    let handed = run.frames(5).await;
    assert_eq!((handed.frames.len(), handed.oversize, handed.unreadable), (3, 1, 1));
    assert_eq!(run.health.read().reconnects, 0);
    run.stop().await;
}

#[tokio::test]
async fn a_frame_beyond_all_limits_ends_the_connection_and_is_counted() {
    let huge = "x".repeat(FRAME_BYTES_CAP + 1);
    let run = Run::start(None, vec![Visit::Stay(vec![event(LAST), text(huge)]), Visit::Mute]).await;
    let state = run.until(|state| !state.trouble.is_empty()).await;
    assert_eq!(state.trouble, "a frame of more than 16777216 bytes");
    let handed = run.frames(2).await;
    assert_eq!((handed.frames, handed.oversize), (strings([event(LAST)]), 1));
    run.stop().await;
}

#[tokio::test]
async fn a_frame_that_ends_every_connection_does_not_hold_the_source_up() {
    let poisoned = || Visit::Stay(vec![event(LAST), raw_text(b"\xff"), event(LAST + 1)]);
    let beyond = Visit::Stay(vec![event(LAST + 2), event(LAST + 3)]);
    let mut run = Run::start(None, vec![poisoned(), poisoned(), poisoned(), beyond]).await;
    assert_eq!(run.server.cursor().await, None);
    assert_eq!(run.server.cursor().await, Some(LAST - REWIND_US));
    assert_eq!(run.server.cursor().await, Some(LAST - REWIND_US), "once may have been chance");
    assert_eq!(run.server.cursor().await, Some(LAST + 1_000));
    let handed = run.frames(8).await;
    assert_eq!(handed.unreadable, 3);
    assert_eq!(handed.frames, strings([event(LAST), event(LAST + 2), event(LAST + 3)]));
    assert_eq!((handed.gaps, handed.duplicates), (vec![(LAST, LAST + 2)], 2));
    run.stop().await;
}

#[tokio::test]
async fn pings_are_answered_and_sent() {
    let visits = vec![Visit::Stay(vec![Message::Ping(Bytes::from_static(b"are you there"))])];
    let mut run = Run::start_with(None, visits, |config| {
        config.ping_interval = Duration::from_millis(1);
    })
    .await;
    let (mut has_answered, mut has_asked) = (false, false);
    while !has_answered || !has_asked {
        match run.server.hear().await {
            Message::Pong(payload) => has_answered |= payload == "are you there",
            Message::Ping(_) => has_asked = true,
            other => panic!("a v1 server was sent {other:?}"),
        }
    }
    run.stop().await;
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake_is_left() {
    let mut run = Run::start_with(None, vec![Visit::Mute, Visit::Mute], |config| {
        config.connect_timeout = Duration::from_millis(20);
    })
    .await;
    run.server.request().await;
    run.server.request().await;
    let state = run.health.read();
    assert_eq!((state.trouble.as_str(), state.connected), ("no subscription within 20ms", false));
    run.stop().await;
}

#[tokio::test]
async fn a_server_of_which_nothing_is_heard_is_left() {
    let mut run = Run::start_with(None, vec![Visit::Deaf, Visit::Mute], |config| {
        config.ping_interval = Duration::from_millis(1);
        config.silence_max = Duration::from_millis(20);
    })
    .await;
    run.server.request().await;
    let state = run.until(|state| state.trouble.starts_with("nothing heard")).await;
    assert_eq!((state.trouble.as_str(), state.connected), ("nothing heard from the server for 20ms", false));
    run.stop().await;
}

/// On a slow machine an answer to a ping may be late, and the source connects again: also right.
#[tokio::test]
async fn a_connection_without_events_is_reported() {
    let run = Run::start_with(None, vec![], |config| {
        config.ping_interval = Duration::from_millis(1);
        config.silence_max = Duration::from_millis(50);
    })
    .await;
    let state = run.until(|state| state.trouble == "connected, but no event for 50ms").await;
    assert!(state.connected);
    run.stop().await;
}

#[tokio::test]
async fn a_farewell_is_answered_and_followed_by_a_new_connection() {
    let visits = vec![
        Visit::Stay(vec![event(LAST), close(1001, "server shutting down")]),
        Visit::Stay(vec![event(LAST), event(LAST + 1)]),
    ];
    let mut run = Run::start(None, visits).await;
    assert_eq!(run.server.cursor().await, None);
    assert_eq!(run.server.cursor().await, Some(LAST - REWIND_US));
    assert!(matches!(run.server.hear().await, Message::Close(Some(frame)) if u16::from(frame.code) == 1001));
    assert_eq!(run.frames(3).await.frames, strings([event(LAST), event(LAST + 1)]));
    assert_eq!(run.until(|state| state.connected).await.reconnects, 1);
    run.stop().await;
}

#[tokio::test]
async fn a_refusal_names_status_and_reason_and_is_tried_again() {
    for (status, body, wants_operator) in
        [("400 Bad Request", "invalid cursor\n", true), ("503 Service Unavailable", "warming up", false)]
    {
        let answer = || {
            let length = body.len();
            Visit::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))
        };
        let mut run = Run::start_with(Some(LAST), vec![answer(), answer(), Visit::Mute], |config| {
            config.connect_timeout = PATIENCE;
        })
        .await;
        for _ in 0..3 {
            run.server.request().await;
        }
        let state = run.health.read();
        let code = &status[..3];
        let expected = format!("the server refused the subscription with status {code}: {:?}", body.trim());
        assert_eq!((state.connected, state.reconnects, state.trouble), (false, 0, expected));
        let refused = Trouble::Refused { status: code.parse().unwrap(), body: String::new() };
        assert_eq!(refused.wants_operator(), wants_operator);
        run.stop().await;
    }
}

#[test]
fn a_refusal_that_wants_the_operator_is_tried_again_slowly() {
    let config = Config::new("test", "ws://h/subscribe").unwrap();
    let (delay_min, delay_max) = (config.reconnect_delay_min, config.reconnect_delay_max);
    let (out, _lanes) = batch_queue(NonZeroUsize::MIN);
    let (_stop, stopping) = watch::channel(false);
    let mut subscriber =
        Subscriber::new(config, Stored::default(), out, Arc::new(Health::default()), stopping);
    let mut delay = |status| subscriber.after(&Trouble::Refused { status, body: String::new() });
    assert!(delay(503) <= delay_min);
    assert!((delay_max / 2..=delay_max).contains(&delay(400)));
}

#[tokio::test]
async fn a_server_that_accepts_and_closes_at_once_is_asked_ever_more_slowly() {
    let failures_after = async |visits: u32, healthy_after: Duration| {
        let server = Server::start((0..visits).map(|_| Visit::Drop(vec![event(LAST)])).collect()).await;
        let mut config = Config::new("test", &server.url).unwrap();
        config.healthy_after = healthy_after;
        let (out, _lanes) = batch_queue(NonZeroUsize::new(64).unwrap());
        let (_stop, stopping) = watch::channel(false);
        let mut subscriber =
            Subscriber::new(config, Stored::default(), out, Arc::new(Health::default()), stopping);
        for _ in 0..visits {
            let trouble = subscriber.attempt().await.unwrap().expect("the server drops the connection");
            assert!(matches!(trouble, Trouble::Dropped), "{trouble}");
            subscriber.after(&trouble);
        }
        subscriber.backoff.failures()
    };
    assert_eq!(failures_after(5, Duration::from_secs(3_600)).await, 5);
    // A connection that was healthy starts over: its end is the first failure.
    assert_eq!(failures_after(5, Duration::ZERO).await, 1);
}

#[tokio::test]
async fn nonsense_instead_of_a_handshake_is_a_trouble_not_a_crash() {
    let check = async |answer: &str, expected: &str| {
        let run = Run::start(None, vec![Visit::Answer(answer.to_owned()), Visit::Mute]).await;
        let state = run.until(|state| !state.trouble.is_empty()).await;
        assert!(state.trouble.contains(expected), "{answer:?}: {}", state.trouble);
        run.stop().await;
    };
    check("", "does not speak WebSocket").await;
    check("\0\0\0\0", "does not speak WebSocket").await;
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", "does not speak WebSocket").await;
    check("HTTP/1.1 200 OK\r\n\r\n<html>", "status 200: \"<html>\"").await;
    check(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)), "").await;
}

#[tokio::test]
async fn nobody_listening_and_no_tls_are_troubles() {
    let server = Server::start(vec![]).await;
    let check = async |url: String, expected: &str| {
        let mut config = Config::new("test", &url).unwrap();
        config.reconnect_delay_min = Duration::from_secs(3_600);
        config.reconnect_delay_max = Duration::from_secs(3_600);
        let (out, _lanes) = batch_queue(NonZeroUsize::MIN);
        let health = Arc::new(Health::default());
        let (stop, stopping) = watch::channel(false);
        let source = tokio::spawn(run(config, Stored::default(), out, health.clone(), stopping));
        let waiting = async {
            while health.read().trouble.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
        let trouble = health.read().trouble;
        assert!(trouble.starts_with("cannot connect: ") && trouble.contains(expected), "{trouble}");
        stop.send(true).unwrap();
        source.await.unwrap();
    };
    check(server.url.replace("ws://", "wss://"), "").await;
    check("ws://127.0.0.1:1/subscribe".to_owned(), "refused").await;
}

#[tokio::test]
async fn batches_respect_their_limits_and_are_numbered() {
    let events = || (0..10).map(|step| event(LAST + step)).collect::<Vec<_>>();
    let frame_bytes = event(LAST).len();
    // Endless delay: only the limits, or the stop, hand a batch over.
    let run = Run::start_with(None, vec![Visit::Stay(events())], |config| {
        config.batch_delay_max = Duration::from_secs(3_600);
        config.batch_frames_max = 4;
    })
    .await;
    for sequence in 0..2 {
        let batch = run.batch().await;
        assert_eq!((batch.sequence, batch.frames.len(), batch.patient), (sequence, 4, false));
        assert_eq!((batch.position, &*batch.source, batch.format), (None, "test", Format::Jetstream));
    }
    run.stop().await;

    let run = Run::start_with(None, vec![Visit::Stay(events())], |config| {
        config.batch_delay_max = Duration::from_secs(3_600);
        config.batch_bytes_max = 2 * frame_bytes + 1;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(run.batch().await.frames.len(), 3);
    }
    run.stop().await;
}

#[tokio::test]
async fn stopping_hands_over_the_partial_batch_and_says_goodbye() {
    // The answered ping proves that the frames before it were read.
    let visits = vec![Visit::Stay(vec![event(LAST), event(LAST + 1), Message::Ping(Bytes::new())])];
    let mut run = Run::start_with(None, visits, |config| {
        config.batch_delay_max = Duration::from_secs(3_600);
    })
    .await;
    assert!(matches!(run.server.hear().await, Message::Pong(_)));
    assert!(run.lanes.is_empty());
    let Run { mut server, health, stop, source, lanes } = run;
    stop.send(true).unwrap();
    source.await.unwrap();
    assert!(matches!(server.hear().await, Message::Close(_)));
    let batch = lanes.try_recv().unwrap();
    assert_eq!((batch.sequence, batch.frames.len()), (0, 2));
    assert_eq!(health.read().position, Some(LAST + 1));
}

#[tokio::test]
async fn the_source_ends_when_the_lanes_are_gone_or_nobody_can_stop_it() {
    let run = Run::start(None, vec![Visit::Stay(vec![event(LAST)])]).await;
    drop(run.lanes);
    tokio::time::timeout(PATIENCE, run.source).await.expect("an end in time").unwrap();

    let run = Run::start(None, vec![]).await;
    drop(run.stop);
    tokio::time::timeout(PATIENCE, run.source).await.expect("an end in time").unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_handshake_or_a_back_off() {
    let mut run = Run::start_with(None, vec![Visit::Mute], |config| {
        config.connect_timeout = PATIENCE * 2;
    })
    .await;
    run.server.request().await;
    run.stop().await;

    let answer = "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned();
    let run = Run::start_with(None, vec![Visit::Answer(answer)], |config| {
        config.reconnect_delay_max = Duration::from_secs(3_600);
    })
    .await;
    run.until(|state| !state.trouble.is_empty()).await;
    run.stop().await;
}

#[test]
fn every_mistake_is_reported_with_its_key() {
    let mut config = Config::new("test", "ws://h/subscribe").unwrap();
    assert_eq!(config.mistakes(), []);
    config.collections.clear();
    config.frame_bytes_max = FRAME_BYTES_CAP + 1;
    config.batch_frames_max = 0;
    config.batch_bytes_max = 0;
    config.connect_timeout = Duration::ZERO;
    config.silence_max = config.ping_interval;
    config.reconnect_delay_max = Duration::from_millis(249);
    let keys: Vec<_> = config.mistakes().iter().map(|mistake| mistake.key).collect();
    let expected = [
        "collections",
        "frame_bytes_max",
        "batch_frames_max",
        "batch_bytes_max",
        "connect_timeout_ms",
        "silence_max_ms",
        "reconnect_delay_max_ms",
    ];
    assert_eq!(keys, expected);
    let mistake = &config.mistakes()[2];
    assert_eq!(mistake.to_string(), "batch_frames_max = 0: must be 1 to 65536");
}
