use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::script::EventKind;

type Reader = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A stream of the past: everything is due at once, so that nothing waits for a clock.
const PAST: &str = "2026-07-04T14:38:00Z";
const POSTS: &str = "wantedCollections=app.bsky.feed.post";

/// Enough for some dozen chunks.
const EVENTS: u64 = 10_000;
/// All history from [`PAST`] on counts as recent.
const LONG_US: i64 = 100 * 365 * 86_400_000_000;

fn past(events: u64) -> JetstreamConfig {
    JetstreamConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        events: Some(events),
        start: Some(PAST.parse().unwrap()),
        look_back_us: LONG_US,
        ..JetstreamConfig::default()
    }
}

async fn server(config: JetstreamConfig) -> (Serving, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    let serving = serve(config, async move { drop(stopped.await) }).await.unwrap();
    (serving, stop)
}

async fn reader(serving: &Serving, query: &str) -> Reader {
    connect_async(format!("{}?{query}", serving.url())).await.unwrap().0
}

/// The next `count` frames.
async fn take(reader: &mut Reader, count: usize) -> Vec<String> {
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        match reader.next().await.expect("open").expect("unbroken") {
            Message::Text(frame) => frames.push(frame.to_string()),
            Message::Ping(_) => {}
            other => panic!("{other:?} after {} frames", frames.len()),
        }
    }
    frames
}

/// Code and reason of the close, and the frames before it.
async fn end(reader: &mut Reader) -> (CloseCode, String, usize) {
    let mut frames = 0;
    loop {
        match reader.next().await {
            Some(Ok(Message::Close(Some(close)))) => return (close.code, close.reason.to_string(), frames),
            Some(Ok(Message::Text(_))) => frames += 1,
            Some(Ok(_)) => {}
            other => panic!("{other:?} instead of a close"),
        }
    }
}

fn time_us(frame: &str) -> i64 {
    serde_json::from_str::<serde_json::Value>(frame).unwrap()["time_us"].as_i64().unwrap()
}

#[tokio::test]
async fn a_reader_receives_exactly_the_events_of_the_script() {
    let (serving, stop) = server(past(EVENTS)).await;
    for (query, mix) in [("cursor=1", Mix::Network), (&*format!("cursor=1&{POSTS}"), Mix::Posts)] {
        let script = serving.script(mix);
        let start = script.timeline().start();
        let mut reader = reader(&serving, query).await;
        for (n, frame) in (start..).zip(take(&mut reader, EVENTS as usize).await) {
            assert_eq!(frame, script.event(n).frame);
        }
        // Then silence: an answer to a ping comes before any further frame could not.
        reader.send(Message::Ping("x".into())).await.unwrap();
        assert!(matches!(reader.next().await, Some(Ok(Message::Pong(_)))));
    }
    assert_eq!(serving.frames(), 2 * EVENTS);
    drop(stop);
    serving.finished().await;
}

#[tokio::test]
async fn a_cursor_replays_the_same_frames_from_this_server_and_from_the_next() {
    let config = past(3_000);
    let (first, stop) = server(config.clone()).await;
    let all = take(&mut reader(&first, "cursor=1").await, 3_000).await;
    let nominal = |n: usize| {
        let timeline = first.script(Mix::Network).timeline();
        timeline.nominal_us(timeline.start() + n as u64)
    };
    let cursor = format!("cursor={}", nominal(1_234));
    assert_eq!(take(&mut reader(&first, &cursor).await, 1_766).await, all[1_234..]);
    drop(stop);
    first.finished().await;

    let (second, _stop) = server(config).await;
    assert_eq!(take(&mut reader(&second, &cursor).await, 1_766).await, all[1_234..]);
    // Whatever frame was seen last, its own time as cursor loses nothing after it.
    for seen in [0, 500, 501, 502, 503, 2_990] {
        let mut again = reader(&second, &format!("cursor={}", time_us(&all[seen]))).await;
        let expected = all[seen..].to_vec();
        let first = take(&mut again, 1).await.remove(0);
        let from = all.iter().position(|frame| *frame == first).unwrap();
        assert!(from <= seen, "{from} after {seen}");
        let mut replayed = vec![first];
        replayed.extend(take(&mut again, 2_999 - from).await);
        assert!(replayed.ends_with(&expected));
    }
}

#[tokio::test]
async fn an_old_cursor_is_clamped_and_a_future_one_is_live() {
    let config = JetstreamConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        rate: "10000".parse().unwrap(),
        ..JetstreamConfig::default()
    };
    let (serving, _stop) = server(config).await;
    let now_us = Timestamp::now().as_microsecond();
    // Wide enough for any pause of the machine between here and there.
    let minute_us = 60_000_000;
    for (cursor, expected_us) in [
        (String::new(), now_us),
        (format!("cursor={}", now_us + 10 * minute_us), now_us),
        (format!("cursor={}", now_us - 2 * LOOK_BACK_US), now_us - LOOK_BACK_US),
        ("cursor=-5".to_owned(), now_us - LOOK_BACK_US),
        (format!("cursor={}", now_us - 10 * minute_us), now_us - 10 * minute_us),
    ] {
        let frame = take(&mut reader(&serving, &cursor).await, 1).await.remove(0);
        let off_us = time_us(&frame) - expected_us;
        assert!((-31_000..minute_us).contains(&off_us), "{cursor}: {off_us} µs off");
    }
}

#[tokio::test]
async fn filters_let_pass_what_was_asked_for() {
    let (serving, _stop) = server(past(20_000)).await;
    let script = serving.script(Mix::Network);
    let start = script.timeline().start();
    let wanted = |test: &dyn Fn(u64, EventKind) -> bool| {
        (start..start + 20_000)
            .filter(|n| test(*n, script.kind(*n)))
            .map(|n| script.event(n).frame)
            .collect::<Vec<_>>()
    };
    let anyway = |kind: EventKind| kind.collection().is_none();
    let likes = wanted(&|_, kind| anyway(kind) || kind.collection() == Some("app.bsky.feed.like"));
    let graph = wanted(&|_, kind| {
        anyway(kind) || kind.collection().is_some_and(|c| c.starts_with("app.bsky.graph."))
    });
    let did = (start..).map(|n| script.did(n, script.kind(n))).next().unwrap();
    let of_one = wanted(&|n, kind| script.did(n, kind) == did);
    let short = (start..start + 20_000).map(|n| script.event(n).frame).filter(|f| f.len() <= 300).collect();
    for (query, expected) in [
        ("wantedCollections=app.bsky.feed.like".to_owned(), likes),
        ("wantedCollections=app.bsky.graph.*".to_owned(), graph),
        (format!("wantedDids={}", did.as_str()), of_one),
        ("maxMessageSizeBytes=300".to_owned(), short),
    ] {
        let mut reader = reader(&serving, &format!("cursor=1&{query}")).await;
        assert_eq!(take(&mut reader, expected.len()).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_burst_is_served_to_subscriptions_of_posts_and_of_everything() {
    let rate = Rate::PerSecond(std::num::NonZeroU32::new(8_000).unwrap());
    let scenario = Scenario::Burst(Burst { after: Duration::ZERO, rise: Duration::ZERO, ..Burst::default() });
    let config = JetstreamConfig { rate, scenario, from_start: true, ..past(8_000) };
    let (serving, _stop) = server(config).await;
    for (query, mix, expected) in [("", Mix::Network, 870), (POSTS, Mix::Posts, 2_000)] {
        let script = serving.script(mix);
        let start = script.timeline().start();
        let frames = take(&mut reader(&serving, query).await, 100).await;
        assert_eq!(frames, (start..start + 100).map(|n| script.event(n).frame).collect::<Vec<_>>());
        let reports = (start..start + 8_000).filter(|n| script.kind(*n) == EventKind::Support).count();
        assert!(reports.abs_diff(expected) < 200, "{reports} of {mix:?}");
    }
}

#[tokio::test]
async fn a_wrong_request_is_refused_before_the_upgrade() {
    let (serving, _stop) = server(past(1)).await;
    let check = async |url: String, status: u16| match connect_async(url).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), status),
        other => panic!("{other:?}"),
    };
    check(format!("{}?cursor=x", serving.url()), 400).await;
    check(format!("{}?compress=true", serving.url()), 400).await;
    check(format!("{}?wantedCollections=post", serving.url()), 400).await;
    check(format!("ws://{}/xrpc/other", serving.local_addr()), 404).await;
}

#[tokio::test]
async fn ten_thousand_dids_fit_into_a_request() {
    let (serving, _stop) = server(past(10)).await;
    let script = serving.script(Mix::Network);
    let n = script.timeline().start();
    let mut query = format!("cursor=1&wantedDids={}", script.did(n, script.kind(n)).as_str());
    for i in 1..10_000 {
        query.push_str(&format!("&wantedDids=did:plc:{i:024}"));
    }
    // The client library has a limit of its own for addresses: the request is written by hand.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(serving.local_addr()).await.unwrap();
    let request = format!(
        "GET /subscribe?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 101");
}

#[tokio::test]
async fn nothing_comes_before_the_hello_and_an_update_changes_what_comes() {
    let (serving, _stop) = server(past(100)).await;
    let mut reader = reader(&serving, "cursor=1&requireHello=true").await;
    reader.send(Message::text(r#"{"type":"unknown to us"}"#)).await.unwrap();
    reader.send(Message::Ping("x".into())).await.unwrap();
    assert!(matches!(reader.next().await, Some(Ok(Message::Pong(_)))), "a frame before the hello");
    let update = r#"{"type":"options_update","payload":{"wantedCollections":["app.bsky.feed.post"]}}"#;
    reader.send(Message::text(update)).await.unwrap();
    let script = serving.script(Mix::Posts);
    let expected: Vec<String> =
        (script.timeline().start()..).take(100).map(|n| script.event(n).frame).collect();
    assert_eq!(take(&mut reader, 100).await, expected);
}

#[tokio::test]
async fn a_bad_message_closes_with_its_code() {
    let (serving, _stop) = server(past(10)).await;
    let long = format!(r#"{{"type":"options_update","payload":{{"wantedDids":["{}"]}}}}"#, "é".repeat(500));
    for (message, expected) in [
        (Message::text("nonsense"), CloseCode::Invalid),
        (Message::text(r#"{"type":"options_update","payload":{"wantedDids":7}}"#), CloseCode::Invalid),
        (Message::binary(vec![1]), CloseCode::Invalid),
        (
            Message::text(r#"{"type":"options_update","payload":{"wantedCollections":["x"]}}"#),
            CloseCode::Policy,
        ),
        (Message::text(long), CloseCode::Policy),
    ] {
        let mut reader = reader(&serving, "requireHello=true").await;
        reader.send(message).await.unwrap();
        let (code, reason, _) = end(&mut reader).await;
        assert_eq!(code, expected);
        assert!(!reason.is_empty() && reason.len() <= 123, "{reason}");
    }
}

#[tokio::test]
async fn shutdown_closes_every_reader_with_1001() {
    let config = JetstreamConfig { rate: Rate::Max, events: None, ..past(0) };
    let (serving, stop) = server(config).await;
    let (mut busy, mut idle) = (reader(&serving, POSTS).await, reader(&serving, "requireHello=true").await);
    take(&mut busy, 100).await;
    stop.send(()).unwrap();
    for (reader, least) in [(&mut busy, 1), (&mut idle, 0)] {
        let (code, reason, frames) = end(reader).await;
        assert_eq!((code, reason.as_str()), (CloseCode::Away, "server shutting down"));
        assert!(frames >= least);
    }
    let address = serving.local_addr();
    serving.finished().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed() {
    let config = JetstreamConfig { rate: Rate::Max, events: None, ..past(0) };
    let waits = Waits { write: Duration::from_millis(2), ..WAITS };
    let serving = serve_with(config, waits, std::future::pending()).await.unwrap();
    let mut reader = reader(&serving, POSTS).await;
    while serving.readers() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What the sockets' buffers held, then the end without a close: there was no way to say it.
    let last = loop {
        match reader.next().await {
            Some(Ok(Message::Text(_) | Message::Ping(_))) => {}
            last => break last,
        }
    };
    assert!(matches!(last, Some(Err(_)) | None), "{last:?}");
}

#[tokio::test]
async fn pings_come_in_silence() {
    let waits = Waits { ping: Duration::from_millis(1), ..WAITS };
    let serving = serve_with(past(0), waits, std::future::pending()).await.unwrap();
    let mut reader = reader(&serving, "").await;
    for _ in 0..2 {
        assert!(matches!(reader.next().await, Some(Ok(Message::Ping(_)))));
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (serving, _stop) = server(past(1)).await;
    let config = JetstreamConfig { listen: serving.local_addr(), ..past(1) };
    let error = serve(config, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains(&serving.local_addr().to_string()), "{error}");
}
