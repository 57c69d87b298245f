use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::*;

/// A stream of the past: everything is due at once, so that nothing waits for a clock.
fn past(events: u64) -> StatusesConfig {
    StatusesConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        events: Some(events),
        start: Some("2026-07-04T14:38:00Z".parse().unwrap()),
        ..StatusesConfig::default()
    }
}

async fn server(config: StatusesConfig) -> (StatusesServing, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    (serve_statuses(config, async move { drop(stopped.await) }).await.unwrap(), stop)
}

/// The lines of a server that was asked this, and the way to tell it more.
async fn ask(serving: &StatusesServing, hello: &str) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
    let (read, mut write) = TcpStream::connect(serving.local_addr()).await.unwrap().into_split();
    write.write_all(hello.as_bytes()).await.unwrap();
    (BufReader::new(read).lines(), write)
}

async fn next(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> String {
    lines.next_line().await.unwrap().expect("open")
}

#[tokio::test]
async fn a_reader_receives_exactly_the_lines_of_the_script_after_the_one_it_names() {
    let (serving, stop) = server(past(500)).await;
    let script = serving.script().clone();
    for after in [0, 1, 137, 500] {
        let (mut lines, _write) = ask(&serving, &format!("{{\"vigie\":1,\"after\":{after}}}\n")).await;
        assert_eq!(next(&mut lines).await, format!("{{\"vigie\":1,\"after\":{after}}}"));
        for line in after + 1..=500 {
            let n = script.event_of(line);
            assert_eq!(script.line_of(n), Some(line));
            assert_eq!(next(&mut lines).await, Served::event(&script, n).frame);
        }
    }
    assert_eq!(serving.lines(), 500 + 499 + 363);
    assert_eq!(serving.asked(), [0, 1, 137, 500]);
    drop(stop);
    serving.finished().await;
}

#[tokio::test]
async fn whoever_has_lines_that_are_not_due_begins_with_the_first_that_is_not() {
    let (serving, _stop) = server(past(10)).await;
    let (mut lines, _write) = ask(&serving, "{\"vigie\":1,\"after\":11}\n").await;
    assert_eq!(next(&mut lines).await, "{\"vigie\":1,\"after\":10}");
    let future = StatusesConfig { start: Some("2077-01-01T00:00:00Z".parse().unwrap()), ..past(10) };
    let (serving, _stop) = server(future).await;
    let (mut lines, _write) = ask(&serving, "{\"vigie\":1,\"after\":3}\n").await;
    assert_eq!(next(&mut lines).await, "{\"vigie\":1,\"after\":0}");
}

#[tokio::test]
async fn acknowledgements_are_recorded_and_anything_else_ends_the_connection() {
    let (serving, _stop) = server(past(100)).await;
    let (mut lines, mut write) = ask(&serving, "{\"vigie\":1,\"after\":0}\n").await;
    for _ in 0..=100 {
        next(&mut lines).await;
    }
    write.write_all(b"{\"ack\":60}\n{\"ack\":100}\n{\"ack\":90}\nnonsense\n").await.unwrap();
    // The server lets go of us after it has read all of that.
    assert_eq!(lines.next_line().await.unwrap_or(None), None);
    assert_eq!((serving.acked(), serving.acks()), (100, 3));
    while serving.readers() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_first_line_that_is_no_hello_is_answered_with_what_is_wrong() {
    let (serving, _stop) = server(past(1)).await;
    for (hello, expected) in [
        ("GET / HTTP/1.1\n".to_owned(), "no hello"),
        ("{\"vigie\":2,\"after\":0}\n".to_owned(), "protocol 2 is not offered"),
        ("{\"vigie\":1}\n".to_owned(), "after"),
        ("x".repeat(300), "longer than 256"),
    ] {
        let (mut lines, _write) = ask(&serving, &hello).await;
        let answer: serde_json::Value = serde_json::from_str(&next(&mut lines).await).unwrap();
        assert!(answer["error"].as_str().unwrap().contains(expected), "{answer}");
        assert_eq!(lines.next_line().await.unwrap_or(None), None);
    }
}

#[tokio::test]
async fn shutdown_ends_every_reader_after_a_whole_line() {
    let config = StatusesConfig { rate: Rate::Max, events: None, ..past(0) };
    let (serving, stop) = server(config).await;
    let (mut lines, _write) = ask(&serving, "{\"vigie\":1,\"after\":0}\n").await;
    next(&mut lines).await;
    next(&mut lines).await;
    stop.send(()).unwrap();
    let mut rest = Vec::new();
    lines.into_inner().read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.last(), Some(&b'\n'));
    let address = serving.local_addr();
    serving.finished().await;
    assert!(TcpStream::connect(address).await.is_err());
}
