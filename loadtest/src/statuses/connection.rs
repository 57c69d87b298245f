//! One reader, from its first line to the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{HELLO_WAIT, LAST_WAIT, Shared};
use crate::chunk::Chunk;
use crate::served::Served;

/// Lines are made and written so many bytes at a time: 50 of them, and less than a processor's second cache.
const CHUNK_BYTES: usize = 256 * 1024;
/// Longest line of a reader, in bytes: its numbers have 20 digits at most.
const LINE_BYTES_MAX: u64 = 256;

/// The version of the protocol.
const PROTOCOL: u32 = 1;

#[derive(Deserialize)]
struct Hello {
    vigie: u32,
    after: u64,
}

#[derive(Deserialize)]
struct Ack {
    ack: u64,
}

/// Serves one connection to its end; `admitted` says whether there was a place for it.
pub(super) async fn run(
    stream: TcpStream,
    shared: &Shared,
    mut leaving: watch::Receiver<bool>,
    admitted: bool,
) {
    // Best effort: without it small chunks wait for the reader's acknowledgement of the previous one.
    let _ = stream.set_nodelay(true);
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let hello = async {
        anyhow::ensure!(admitted, "too many readers");
        timeout(HELLO_WAIT, hello(&mut read)).await.context("no whole line in time")?
    };
    let next = match hello.await {
        Ok(after) => shared.script.event_of(1).saturating_add(shared.welcome(after, now_us())),
        Err(error) => {
            let line = format!("{}\n", serde_json::json!({ "error": format!("{error:#}") }));
            let _ = timeout(LAST_WAIT, write.write_all(line.as_bytes())).await;
            return;
        }
    };
    let after = shared.script.line_of(next).map_or(0, |line| line - 1);
    let mut speaker = Speaker { shared, next, caught_up: false, chunk: Chunk::default() };
    speaker.chunk.push_line(|out| {
        out.extend_from_slice(format!("{{\"vigie\":{PROTOCOL},\"after\":{after}}}").as_bytes());
    });
    tokio::select! {
        biased;
        _ = leaving.wait_for(|leaving| *leaving) => {}
        () = hear(read, shared) => return,
        () = speaker.speak(&mut write) => return,
    }
    // The last line is whole, if the reader takes it.
    let _ = timeout(LAST_WAIT, async {
        speaker.chunk.write_to(&mut write).await?;
        write.shutdown().await
    })
    .await;
}

async fn hello(read: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<u64> {
    let line = line(read).await?.context("nothing was asked")?;
    let hello: Hello = serde_json::from_slice(&line).context("the first line is no hello")?;
    anyhow::ensure!(hello.vigie == PROTOCOL, "protocol {} is not offered, {PROTOCOL} is", hello.vigie);
    Ok(hello.after)
}

/// Records what is acknowledged, until the reader goes or says something else.
async fn hear(mut read: BufReader<OwnedReadHalf>, shared: &Shared) {
    while let Ok(Some(line)) = line(&mut read).await {
        let Ok(Ack { ack }) = serde_json::from_slice(&line) else { return };
        shared.acks.fetch_add(1, Ordering::Relaxed);
        shared.acked.fetch_max(ack, Ordering::Relaxed);
    }
}

/// The next line; `None` at the end.
async fn line(read: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    read.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => Ok(Some(line)),
        None => Ok(None),
        Some(_) => anyhow::bail!("a line is cut or longer than {LINE_BYTES_MAX} bytes"),
    }
}

struct Speaker<'s> {
    shared: &'s Shared,
    next: u64,
    /// Whether the last chunk held all that was due.
    caught_up: bool,
    chunk: Chunk,
}

impl Speaker<'_> {
    /// Writes what is due until that fails.
    async fn speak(&mut self, write: &mut OwnedWriteHalf) {
        loop {
            if self.chunk.write_to(write).await.is_err() {
                return;
            }
            self.chunk.clear();
            match self.wait() {
                None => std::future::pending().await,
                Some(Duration::ZERO) => {}
                Some(wait) => tokio::time::sleep(wait).await,
            }
            self.fill();
        }
    }

    /// How long until a line is due; `None`: for ever.
    fn wait(&self) -> Option<Duration> {
        self.shared.script.timeline().wait(self.next, now_us(), self.caught_up)
    }

    /// Makes the lines that are due, up to a chunk of them.
    fn fill(&mut self) {
        let script = &self.shared.script;
        let (from, due) = (self.next, script.timeline().due(now_us()));
        while self.next < due && self.chunk.len() < CHUNK_BYTES {
            let n = self.next;
            self.chunk.push_line(|out| script.write(n, out));
            self.next += 1;
        }
        self.caught_up = self.next >= due;
        self.shared.lines.fetch_add(self.next - from, Ordering::Relaxed);
        self.shared.reached.fetch_max(self.next, Ordering::Relaxed);
    }
}

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}
