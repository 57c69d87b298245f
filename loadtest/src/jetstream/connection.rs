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
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::lies::{Ending, Liar, Lie};
use super::patience::Patience;
use super::request::{self, Refusal};
use super::subscription::{Opening, Request, Subscription};
use super::{Shared, Waits};
use crate::chunk::Chunk;
use crate::timeline::Rate;

/// Frames are made and written so many bytes at a time: 230 posts, small beside a socket's own buffer.
const CHUNK_BYTES: usize = 128 * 1024;
/// What the library gathers before it writes: pings, pongs and closes.
const CONTROL_BYTES: usize = 4 * 1024;
/// Events looked at for one chunk, at most, so that a filter that lets nothing pass does not hold the thread.
const CHUNK_EVENTS_MAX: u64 = 4_096;
/// "Client messages (text, ≤ 10 MB)".
const MESSAGE_BYTES_MAX: usize = 10_000_000;
/// "Reason ≤ 123 bytes": what a close frame has room for.
const REASON_BYTES_MAX: usize = 123;
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
                .write_buffer_size(CONTROL_BYTES)
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
    /// Whether the last chunk held all that was due.
    caught_up: bool,
    /// Whether the reader has said its close: nothing may follow our answer to it.
    closing: bool,
    chunk: Chunk,
    /// Frames in the chunk.
    frames: u64,
    liar: Option<Liar<'s>>,
    /// How the connection ends after the chunk.
    ending: Option<Ending>,
    /// Whether nothing is to come any more.
    is_mute: bool,
    /// Whether the change from replay to live is still to come.
    replays: bool,
    /// Events yet to be sent twice.
    repeats: u64,
    /// Events in the chunk; only kept by a liar.
    events: Vec<u64>,
}

/// Events at the end of a replay that are sent in one chunk, so that all of them can be reordered.
const REPLAYED_AT_ONCE: u64 = 300;

/// How long a dead connection is kept. Its reader is long gone by then.
const DEAD_MAX: Duration = Duration::from_secs(600);

/// Why a connection ends from our side.
type Farewell = (CloseCode, String);

impl<'s> Reader<'s> {
    fn new(socket: Socket, shared: &'s Shared, opening: Opening) -> Reader<'s> {
        let timeline = shared.network.timeline();
        let now_us = now_us();
        let mut next = timeline.resume(opening.cursor, now_us);
        let mut liar = shared.record.liar();
        let mut repeats = 0;
        if let (Some(liar), Some(cursor)) = (&mut liar, opening.cursor) {
            let live = timeline.resume(Some(i64::MAX), now_us);
            // Without a schedule there is no present moment to begin at.
            if liar.ignores_cursor() && timeline.rate() != Rate::Max && next < live {
                next = live;
                liar.record.count(Lie::IgnoreCursor, 1);
            }
            let window_s = liar.amount(Lie::Clamp) as i64;
            let oldest = timeline.first_at(now_us.saturating_sub(window_s * 1_000_000));
            if window_s > 0 && next < oldest && timeline.first_at(cursor) < oldest {
                next = oldest;
                liar.record.count(Lie::Clamp, 1);
            }
            repeats = liar.amount(Lie::CursorDuplicate);
        }
        let Opening { subscription, hello_required, cursor, .. } = opening;
        Reader {
            socket,
            shared,
            subscription,
            next,
            hello_required,
            caught_up: false,
            closing: false,
            chunk: Chunk::default(),
            frames: 0,
            replays: liar.is_some() && cursor.is_some() && timeline.rate() != Rate::Max,
            liar,
            ending: None,
            is_mute: false,
            repeats,
            events: Vec::new(),
        }
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
                () = pause(wait) => match self.send_chunk().await.ok()? {
                    None => {}
                    Some(Ending::Close) => return Some((CloseCode::Away, "server shutting down".to_owned())),
                    Some(Ending::Cut(bytes)) => {
                        // Only part of it may be taken; half of half a frame is as good.
                        let _ = self.socket.get_mut().write_all(&bytes).await;
                        let _ = self.socket.get_mut().shutdown().await;
                        return None;
                    }
                    Some(Ending::Quiet | Ending::Poisoned) => self.is_mute = true,
                    Some(Ending::Dead) => {
                        tokio::time::sleep(DEAD_MAX).await;
                        return None;
                    }
                },
            }
        }
    }

    /// How long until an event is due; `None`: for ever.
    fn wait(&self) -> Option<Duration> {
        if self.hello_required || self.closing || self.is_mute {
            return None;
        }
        self.shared.network.timeline().wait(self.next, now_us(), self.caught_up)
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
            // The library has queued the answer; one more read sends it and ends the stream.
            Some(Ok(Message::Close(_))) => {
                self.closing = true;
                ControlFlow::Continue(())
            }
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

    async fn send_chunk(&mut self) -> Result<Option<Ending>, Error> {
        if self.liar.is_some() {
            self.fill_lying();
        } else {
            self.fill();
        }
        if self.chunk.len() == 0 {
            tokio::task::yield_now().await;
            return Ok(self.ending.take());
        }
        // Past the library, so what it holds goes first: frames follow frames, never the half of one.
        self.socket.flush().await?;
        if let Some(liar) = &self.liar {
            liar.record.begun(&self.events);
        }
        self.chunk.write_to(self.socket.get_mut()).await?;
        self.shared.reached.fetch_max(self.next, Ordering::Relaxed);
        if let Some(liar) = &self.liar {
            liar.record.sent(&self.events);
        }
        Ok(self.ending.take())
    }

    /// The same as [`Reader::fill`], and what else the dice say.
    fn fill_lying(&mut self) {
        let shared = self.shared;
        let Some(liar) = &mut self.liar else { return };
        let script = shared.script(self.subscription.mix());
        let due = script.timeline().due(now_us());
        self.chunk.clear();
        self.events.clear();
        let (dropped, reordered) = (liar.amount(Lie::Drop), liar.amount(Lie::Reorder));
        let mut planned: Vec<u64> =
            (self.next..due.min(self.next.saturating_add(CHUNK_EVENTS_MAX))).collect();
        let goes_on = due < script.timeline().end();
        let is_cut_over = self.replays && goes_on && due.saturating_sub(self.next) <= REPLAYED_AT_ONCE;
        if is_cut_over {
            self.replays = false;
            let tail = planned.len().saturating_sub(reordered as usize);
            liar.record.count(Lie::Reorder, (planned.len() - tail) as u64);
            if let Some(tail) = planned.get_mut(tail..) {
                tail.reverse();
            }
            liar.record.count(Lie::Drop, dropped);
            self.next = due + dropped;
        }
        let mut frame = Vec::new();
        let mut frames = 0;
        for n in planned {
            if self.chunk.len() >= CHUNK_BYTES && !is_cut_over {
                break;
            }
            let kind = script.kind(n);
            if self.subscription.wants_all() || self.subscription.wants(script, n, kind) {
                frame.clear();
                script.write(n, kind, &mut frame);
                if let Some(ending) = liar.ending(&frame) {
                    self.ending = Some(ending);
                    break;
                }
                let times = 1 + usize::from(liar.tells(Lie::Duplicate)) + usize::from(self.repeats > 0);
                if self.repeats > 0 {
                    self.repeats -= 1;
                    liar.record.count(Lie::CursorDuplicate, 1);
                }
                for _ in 0..times {
                    match liar.fragments(&frame) {
                        Some(fragments) => self.chunk.push_raw(&fragments),
                        None => {
                            self.chunk.push_message(|out| out.extend_from_slice(&frame), |_| true);
                        }
                    }
                    frames += 1;
                }
                self.events.push(n);
                if let Some((message, poisons)) = liar.intruder(script.time_us(n)) {
                    self.chunk.push_message(|out| out.extend_from_slice(&message), |_| true);
                    frames += 1;
                    if poisons {
                        self.ending = Some(Ending::Poisoned);
                        break;
                    }
                }
            }
            self.next = self.next.max(n + 1);
        }
        self.caught_up = self.next >= due;
        self.frames = frames;
        shared.frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// Makes the frames that are due, up to a chunk of them.
    fn fill(&mut self) {
        let script = self.shared.script(self.subscription.mix());
        let due = script.timeline().due(now_us());
        let end = due.min(self.next.saturating_add(CHUNK_EVENTS_MAX));
        self.chunk.clear();
        let all = self.subscription.wants_all();
        let mut frames = 0;
        while self.next < end && self.chunk.len() < CHUNK_BYTES {
            let n = self.next;
            self.next += 1;
            let kind = script.kind(n);
            if all || self.subscription.wants(script, n, kind) {
                let write = |out: &mut Vec<u8>| script.write(n, kind, out);
                frames += u64::from(self.chunk.push_message(write, |length| self.subscription.takes(length)));
            }
        }
        self.caught_up = self.next >= due;
        self.frames = frames;
        self.shared.frames.fetch_add(frames, Ordering::Relaxed);
    }

    async fn close(&mut self, code: CloseCode, reason: &str) {
        // A message that was begun before this interrupted it must end before the close.
        if self.chunk.is_begun() {
            if self.chunk.write_to(self.socket.get_mut()).await.is_err() {
                return;
            }
            self.shared.reached.fetch_max(self.next, Ordering::Relaxed);
        } else if self.chunk.is_untouched() {
            // Counted when they were made, and never to be written.
            self.shared.frames.fetch_sub(self.frames, Ordering::Relaxed);
        }
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
