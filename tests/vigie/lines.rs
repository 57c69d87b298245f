//! Lines over TCP: every line is committed once, and acknowledged only then, whatever breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::daemon::{State, patiently};

/// Lines of the stream; every 500th asks for help, every 1,000th before it is a heartbeat, one is too long.
const LINES: usize = 20_000;
/// The connections that end early bring so many each, and the beginning of another one.
const LINES_OF_A_SHORT_CONNECTION: usize = 1_500;
const SHORT_CONNECTIONS: usize = 3;
/// What the sender has when the daemon is killed, and what must be durable by then.
const LINES_BEFORE_KILL: usize = 14_000;
const DURABLE_BEFORE_KILL: i64 = 6_000;

fn line(number: usize) -> String {
    match number {
        5_000 => format!("{{\"text\":\"{}\"}}", "x".repeat(4_096)),
        _ if number % 1_000 == 999 => String::new(),
        _ => {
            let text = match number % 500 {
                0 => "@lumio my internet has been down since monday, please help",
                _ => "nothing of interest to anybody",
            };
            format!("{{\"id\":\"{number}\",\"author\":\"a{number}\",\"text\":\"{text}\"}}")
        }
    }
}

/// What the sender has seen and been allowed.
#[derive(Debug, Default)]
struct Progress {
    /// Lines that it may send.
    available: usize,
    /// Each greeting's `after`.
    asked: Vec<i64>,
    /// Each acknowledgement, over all connections.
    acks: Vec<i64>,
    /// Acknowledgements that the ledger did not bear out when they came.
    early: Vec<(i64, i64)>,
}

/// A sender that keeps everything, and ends its first connections early.
async fn send(listener: TcpListener, state: Arc<State>, progress: Arc<Mutex<Progress>>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        // A daemon that is killed ends its connection; the next one is another.
        drop(serve(socket, &state, &progress).await);
    }
}

async fn serve(
    socket: TcpStream,
    state: &Arc<State>,
    progress: &Arc<Mutex<Progress>>,
) -> std::io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).lines();
    let number = |line: &str, key: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line[key].as_i64().unwrap()
    };
    let Some(greeting) = lines.next_line().await? else { return Ok(()) };
    let after = number(&greeting, "after");
    let short = {
        let mut progress = progress.lock();
        progress.asked.push(after);
        progress.asked.len() <= SHORT_CONNECTIONS
    };
    writer.write_all(format!("{{\"vigie\":1,\"after\":{after}}}\n").as_bytes()).await?;

    let (heard, state) = (progress.clone(), state.clone());
    let listening = tokio::spawn(async move {
        while let Ok(Some(ack)) = lines.next_line().await {
            let ack = number(&ack, "ack");
            let durable = state.frames();
            let mut heard = heard.lock();
            heard.acks.push(ack);
            if ack > durable {
                heard.early.push((ack, durable));
            }
        }
    });
    let mut next = usize::try_from(after).unwrap() + 1;
    let end = if short { next + LINES_OF_A_SHORT_CONNECTION } else { LINES + 1 };
    while next < end {
        let available = progress.lock().available;
        if next > available {
            tokio::time::sleep(Duration::from_millis(5)).await;
            // Notices that the daemon is gone.
            if listening.is_finished() {
                return Ok(());
            }
            continue;
        }
        let chunk: String =
            (next..end.min(available + 1).min(next + 100)).map(|number| line(number) + "\n").collect();
        next += chunk.matches('\n').count();
        writer.write_all(chunk.as_bytes()).await?;
    }
    if short {
        writer.write_all(&line(next).as_bytes()[..5]).await?;
        writer.shutdown().await?;
    }
    drop(listening.await);
    Ok(())
}

/// Where a restart resumes, as stored.
fn position(state: &State) -> i64 {
    state.ledger().query_row("SELECT position FROM source", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_committed_once_and_acknowledged_only_then() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let state = Arc::new(State::new(&format!(
        "[[source]]\nkind = \"ndjson\"\ntcp = \"{address}\"\nformat = \"plain\"\nframe_bytes_max = 4096\n"
    )));
    let progress = Arc::new(Mutex::new(Progress { available: LINES_BEFORE_KILL, ..Progress::default() }));
    let daemon = state.start();
    let _sender = tokio::spawn(send(listener, state.clone(), progress.clone()));

    let acked = || progress.lock().acks.last().copied().unwrap_or(0);
    patiently("acknowledgements", async {
        while acked() < DURABLE_BEFORE_KILL {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    daemon.kill();
    // Nobody writes any more, so position and buckets are those that the restart finds.
    let (durable, frames) = (position(&state), state.frames());
    assert_eq!(durable, frames, "a line is in a bucket exactly when the position has passed it");
    let greetings = progress.lock().asked.len();
    progress.lock().available = LINES;

    let daemon = state.start();
    patiently("the last acknowledgement", async {
        while acked() < LINES as i64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    {
        let progress = progress.lock();
        assert_eq!(progress.early, [], "acknowledged before it was durable: (ack, durable)");
        assert_eq!(progress.asked.get(greetings), Some(&durable), "a restart resumes after what is durable");
        // Each short connection was used up, and the next asked after the last line received.
        let received = [0, 1, 2, 3].map(|short| (short * LINES_OF_A_SHORT_CONNECTION) as i64);
        assert_eq!(progress.asked.get(..received.len()), Some(&received[..]));
    }
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");

    let buckets = state.buckets();
    let frames = |bucket: &str| buckets.get(bucket).copied().unwrap_or(0);
    assert_eq!(buckets.values().sum::<i64>(), LINES as i64, "{buckets:?}");
    assert_eq!(position(&state), LINES as i64);
    let kinds = ["control", "oversize", "malformed", "duplicate", "shed"].map(frames);
    assert_eq!(kinds, [LINES as i64 / 1_000, 1, 0, 0, 0], "{buckets:?}");
    // Line 5,000 asks for help in the list above, and is too long.
    assert_eq!(frames("ticketed") + frames("unsupported"), LINES as i64 / 500 - 1, "{buckets:?}");
    let gaps: i64 = state.ledger().query_row("SELECT count(*) FROM gap", [], |row| row.get(0)).unwrap();
    assert_eq!(gaps, 0);
}
