//! One reader, from its request to the last close.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::patience::Patience;
use super::request::{self, Refusal};
use super::subscription::{Opening, Request, Subscription};
use super::{Shared, Waits};

/// Frames are made and written so many bytes at a time: 80 posts, small beside a socket's own buffer.
const CHUNK_BYTES: usize = 64 * 1024;
/// Events looked at for one chunk, at most, so that a filter that lets nothing pass does not hold the thread.
const CHUNK_EVENTS_MAX: u64 = 4_096;
/// "Client messages (text, ≤ 10 MB)".
const MESSAGE_BYTES_MAX: usize = 10_000_000;
/// "Reason ≤ 123 bytes": what a close frame has room for.
const REASON_BYTES_MAX: usize = 123;
/// The shortest wait between two looks at the clock: what tokio's timer resolves.
const TICK: Duration = Duration::from_millis(1);
/// The longest one: bounds how late the stream is after the machine's clock was set.
const TICK_MAX: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<Patience<TcpStream>>;

/// Serves one connection to its end; `admitted` says whether there was a place for it.
pub(super) async fn run(
    mut stream: TcpStream,
    shared: &Shared,
    leaving: watch::Receiver<bool>,
    admitted: bool,
) {
    // Best effort: without it small batches wait for the reader's acknowledgement of the previous one.
    let _ = stream.set_nodelay(true);
    let waits = shared.waits;
    let request = async {
        let read = timeout(waits.request, request::read(&mut stream)).await;
        match read {
            _ if !admitted => Err(Refusal::new("503 Service Unavailable", "too many readers")),
            Err(_) => Err(Refusal::new("408 Request Timeout", "no whole request in time")),
            Ok(read) => read,
        }
    };
    match request.await {
        Ok(upgrade) => {
            if stream.write_all(upgrade.answer().as_bytes()).await.is_err() {
                return;
            }
            let config = WebSocketConfig::default()
                .read_buffer_size(16 * 1024)
                .write_buffer_size(CHUNK_BYTES)
                .max_message_size(Some(MESSAGE_BYTES_MAX))
                .max_frame_size(Some(MESSAGE_BYTES_MAX));
            let stream = Patience::new(stream, waits.write);
            let socket =
                WebSocketStream::from_partially_read(stream, upgrade.rest, Role::Server, Some(config)).await;
            Reader::new(socket, shared, upgrade.opening).serve(leaving).await;
        }
        Err(refusal) => {
            let answer = async {
                stream.write_all(refusal.answer().as_bytes()).await?;
                stream.shutdown().await
            };
            let _ = timeout(waits.write, answer).await;
        }
    }
}

struct Reader<'s> {
    socket: Socket,
    shared: &'s Shared,
    subscription: Subscription,
    /// The next event to look at. It moves on whatever the subscription filters out.
    next: u64,
    hello_required: bool,
    chunk: Chunk,
}

/// Frames back to back.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Why a connection ends from our side.
type Farewell = (CloseCode, String);

impl<'s> Reader<'s> {
    fn new(socket: Socket, shared: &'s Shared, opening: Opening) -> Reader<'s> {
        let next = shared.network.timeline().resume(opening.cursor, now_us());
        let Opening { subscription, hello_required, .. } = opening;
        Reader { socket, shared, subscription, next, hello_required, chunk: Chunk::default() }
    }

    async fn serve(mut self, mut leaving: watch::Receiver<bool>) {
        let waits = self.shared.waits;
        let farewell = tokio::select! {
            biased;
            _ = leaving.wait_for(|leaving| *leaving) => Some((CloseCode::Away, "server shutting down".to_owned())),
            farewell = self.stream(waits) => farewell,
        };
        if let Some((code, reason)) = farewell {
            let _ = timeout(waits.close, self.close(code, &reason)).await;
        }
    }

    /// Sends what is due until one of the two ends it; `None` if there is nobody left to say it to.
    async fn stream(&mut self, waits: Waits) -> Option<Farewell> {
        let mut ping = interval_at(Instant::now() + waits.ping, waits.ping);
        loop {
            let wait = self.wait();
            tokio::select! {
                biased;
                message = self.socket.next() => match self.hear(message) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(farewell) => return farewell,
                },
                _ = ping.tick() => self.socket.send(Message::Ping(Bytes::new())).await.ok()?,
                () = pause(wait) => self.send_chunk().await.ok()?,
            }
        }
    }

    /// How long until an event is due; `None`: for ever.
    fn wait(&self) -> Option<Duration> {
        let timeline = self.shared.network.timeline();
        if self.hello_required || self.next >= timeline.end() {
            return None;
        }
        let now_us = now_us();
        if self.next < timeline.due(now_us) {
            return Some(Duration::ZERO);
        }
        let until_us = u64::try_from(timeline.nominal_us(self.next) - now_us).unwrap_or(0);
        Some(Duration::from_micros(until_us).clamp(TICK, TICK_MAX))
    }

    fn hear(&mut self, message: Option<Result<Message, Error>>) -> ControlFlow<Option<Farewell>> {
        match message {
            Some(Ok(Message::Text(text))) => match Request::parse(&text) {
                Request::Update(subscription) => {
                    self.subscription = subscription;
                    self.hello_required = false;
                    ControlFlow::Continue(())
                }
                Request::Unknown => ControlFlow::Continue(()),
                Request::Malformed(reason) => ControlFlow::Break(Some((CloseCode::Invalid, reason))),
                Request::Refused(invalid) => {
                    ControlFlow::Break(Some((CloseCode::Policy, invalid.to_string())))
                }
            },
            Some(Ok(Message::Binary(_))) => {
                ControlFlow::Break(Some((CloseCode::Invalid, "messages must be text".to_owned())))
            }
            // The library has queued the answer to a close; one more read sends it and ends the stream.
            Some(Ok(_)) => ControlFlow::Continue(()),
            Some(Err(Error::Capacity(_))) => {
                ControlFlow::Break(Some((CloseCode::Size, format!("message over {MESSAGE_BYTES_MAX} bytes"))))
            }
            Some(Err(Error::Utf8(_))) => {
                ControlFlow::Break(Some((CloseCode::Invalid, "not UTF-8".to_owned())))
            }
            Some(Err(_)) | None => ControlFlow::Break(None),
        }
    }

    async fn send_chunk(&mut self) -> Result<(), Error> {
        self.fill();
        let bytes = Bytes::from(std::mem::take(&mut self.chunk.bytes));
        let mut start = 0;
        for end in self.chunk.ends.drain(..) {
            let frame = Utf8Bytes::try_from(bytes.slice(start..end)).expect("the encoder writes UTF-8");
            self.socket.feed(Message::Text(frame)).await?;
            start = end;
            self.shared.frames.fetch_add(1, Ordering::Relaxed);
        }
        self.socket.flush().await?;
        // The allocation goes round: the library has copied the frames into its own buffer.
        self.chunk.bytes = bytes.try_into_mut().map(Vec::from).unwrap_or_default();
        self.chunk.bytes.clear();
        if start == 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Makes the frames that are due, up to a chunk of them.
    fn fill(&mut self) {
        let script = self.shared.script(self.subscription.mix());
        let end = script.timeline().due(now_us()).min(self.next.saturating_add(CHUNK_EVENTS_MAX));
        let Chunk { bytes, ends } = &mut self.chunk;
        while self.next < end && bytes.len() < CHUNK_BYTES {
            let (n, start) = (self.next, bytes.len());
            self.next += 1;
            let kind = script.kind(n);
            if self.subscription.wants(script, n, kind) {
                script.write(n, kind, bytes);
                if self.subscription.takes(bytes.len() - start) {
                    ends.push(bytes.len());
                } else {
                    bytes.truncate(start);
                }
            }
        }
    }

    async fn close(&mut self, code: CloseCode, reason: &str) {
        let reason = reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or_default();
        if self.socket.close(Some(CloseFrame { code, reason: reason.into() })).await.is_ok() {
            // What the reader still sends is read and forgotten, so that its answer can be seen.
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }
}

/// Waits so long; not at all for zero, for ever for `None`.
async fn pause(wait: Option<Duration>) {
    match wait {
        Some(Duration::ZERO) => {}
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}
