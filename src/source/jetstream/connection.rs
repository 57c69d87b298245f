//! One connection, from the handshake to its end.
//!
//! Each wake takes everything the socket has, up to a full batch, into the batch's buffer; nothing is
//! done per frame but copying its bytes. tungstenite queues an answer to each ping and writes it at the
//! next read, and reads go on until the socket is empty, so answers leave in the same wake.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tracing::warn;

use super::address::Subscription;
use super::resume::Resume;
use super::seen::Seen;
use super::trouble::Trouble;
use super::{Config, FRAME_BYTES_CAP, Subscriber, position};
use crate::source::batcher::{Arrival, Batcher};
use crate::source::pace::Judgement;
use crate::source::{LanesGone, stopped};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why reading a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The daemon goes down.
    Stopped,
    /// The connection is gone or useless.
    Lost(Trouble),
}

/// Messages taken in one wake. A batch takes 512 frames by default, so this only bounds how long a
/// server that sends nothing but pings can keep the executor's thread.
const MESSAGES_PER_WAKE_MAX: usize = 4_096;

/// Frames in one wake below which the socket is left alone for [`PAUSE`]. Far below what its buffer holds, so
/// that this never slows a server down.
const FRAMES_PER_WAKE_MIN: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);

/// How long a ping or a farewell may take to be written. Both fit into any socket's buffer, unless the
/// server has stopped reading.
const WRITE_TIME_MAX: Duration = Duration::from_secs(1);

/// Bytes waiting to be written: some thousands of answers to pings.
const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Opens a connection and subscribes.
pub(super) async fn connect(config: &Config, cursor: Option<i64>) -> Result<Socket, Trouble> {
    let subscription = Subscription { collections: &config.collections, cursor };
    let mut request = config.url.with(&subscription).into_client_request().map_err(Trouble::connecting)?;
    let user_agent = HeaderValue::from_static(concat!("vigie/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, user_agent);

    let limits = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_CAP))
        .max_frame_size(Some(FRAME_BYTES_CAP))
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    // No connector: the web's roots, and the crypto provider that `run` installed.
    let connecting = connect_async_tls_with_config(request, Some(limits), true, None);
    match timeout(config.connect_timeout, connecting).await {
        Ok(Ok((socket, _response))) => Ok(socket),
        Ok(Err(error)) => Err(Trouble::connecting(error)),
        Err(_elapsed) => Err(Trouble::ConnectTimeout(config.connect_timeout)),
    }
}

/// Says goodbye, or answers the server's goodbye, as far as the server still listens.
pub(super) async fn close(socket: &mut Socket) {
    let _ = timeout(WRITE_TIME_MAX, SinkExt::close(socket)).await;
}

impl Subscriber {
    /// Hands the frames of `socket` to the lanes until it ends. What the last batch holds is left to the
    /// caller.
    ///
    /// # Errors
    ///
    /// The lanes are gone.
    pub(super) async fn read(&mut self, socket: &mut Socket) -> Result<End, LanesGone> {
        let start = Instant::now();
        let mut life = Life {
            heard_at: start,
            frame_at: start,
            ping_at: start + self.config.ping_interval,
            report_at: (!self.has_events).then(|| start + self.config.silence_max),
        };
        // A stream that brings little at a time is left alone for a moment: each wake costs more than the few
        // frames it would bring.
        let mut read_at = start;
        loop {
            let silent_at = life.heard_at + self.config.silence_max;
            // What is handed over was new, and is learnt from a little after it came.
            let brought_at = life.frame_at.max(self.pace.quiet_since());
            let quiet_at = brought_at + self.quiet_max(brought_at);
            let wake_at = silent_at.min(life.ping_at).min(quiet_at);
            let wake_at = life.report_at.map_or(wake_at, |report_at| report_at.min(wake_at));
            let wake_at = self.recheck_at.map_or(wake_at, |recheck_at| recheck_at.min(wake_at));
            let wake_at = self.batcher.due_at().map_or(wake_at, |due_at| due_at.min(wake_at));
            let wake_at = if read_at > Instant::now() { wake_at.min(read_at) } else { wake_at };
            let read = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Ok(End::Stopped),
                read = poll_fn(|cx| {
                    let config = &self.config;
                    poll_frames(socket, &mut self.batcher, &mut self.resume, &mut self.seen, config, cx)
                }), if read_at <= Instant::now() => Some(read),
                () = sleep_until(wake_at) => None,
            };

            let now = Instant::now();
            let mut is_company = false;
            if let Some(Read { frames, is_drained, trouble }) = read {
                life.heard_at = now;
                if is_drained && frames < FRAMES_PER_WAKE_MIN {
                    read_at = now + PAUSE.min(self.config.batch_delay_max);
                    // What came during the pause has waited for company once: not again for the batch.
                    is_company = self.config.batch_delay_max <= PAUSE;
                }
                if frames > 0 {
                    life.frame_at = now;
                    life.report_at = None;
                    self.has_frames = true;
                }
                if let Some(trouble) = trouble {
                    return Ok(End::Lost(trouble));
                }
            } else if now >= silent_at {
                return Ok(End::Lost(Trouble::Silent(self.config.silence_max)));
            } else if now >= quiet_at {
                return Ok(End::Lost(self.quiet(now, now.saturating_duration_since(brought_at))));
            } else if self.recheck_at.is_some_and(|recheck_at| now >= recheck_at) {
                return Ok(End::Lost(Trouble::Hole));
            }
            if is_company
                || self.batcher.is_full()
                || self.batcher.due_at().is_some_and(|due_at| now >= due_at)
            {
                self.hand_over().await?;
                // While the lanes held us up nobody listened, and we asked nothing: that is not the server's silence.
                life.heard_at += now.elapsed();
            }
            if now >= life.ping_at {
                life.ping_at = now + self.config.ping_interval;
                let ping = socket.send(Message::Ping(Bytes::new()));
                match timeout(WRITE_TIME_MAX, ping).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Ok(End::Lost(Trouble::reading(error, FRAME_BYTES_CAP))),
                    Err(_elapsed) => return Ok(End::Lost(Trouble::Silent(WRITE_TIME_MAX))),
                }
            }
            if life.report_at.take_if(|report_at| now >= *report_at).is_some() {
                self.no_events();
            }
        }
    }

    /// The connection is quiet for as long as we bear it.
    fn quiet(&mut self, now: Instant, lasts: Duration) -> Trouble {
        self.futile = self.futile.saturating_add(1);
        match (self.pace.judge(now), self.pace.usual_per_s()) {
            (Judgement::Silent { lasts }, Some(usual_per_s)) => {
                self.unnaturally_silent(lasts, usual_per_s, now);
                Trouble::Unnatural { lasts, usual_per_s }
            }
            _ => Trouble::Quiet(lasts),
        }
    }
}

/// When the connection last showed that it lives.
struct Life {
    /// Anything: frame, ping, or answer to ours.
    heard_at: Instant,
    frame_at: Instant,
    /// When to ping next.
    ping_at: Instant,
    /// When to say that no event has come; `None` once one has, ever.
    report_at: Option<Instant>,
}

/// What one wake brought.
struct Read {
    frames: usize,
    /// Whether the socket had no more.
    is_drained: bool,
    /// The connection's end.
    trouble: Option<Trouble>,
}

/// Takes what the socket has, as far as it fits into the batch. Pending only if that is nothing.
fn poll_frames(
    socket: &mut Socket,
    batcher: &mut Batcher,
    resume: &mut Resume,
    seen: &mut Seen,
    config: &Config,
    cx: &mut Context<'_>,
) -> Poll<Read> {
    let arrival = Arrival::now();
    let (mut frames, mut is_drained) = (0, false);
    for messages in 0..MESSAGES_PER_WAKE_MAX {
        if batcher.is_full() {
            break;
        }
        let message = match socket.poll_next_unpin(cx) {
            Poll::Pending if messages == 0 => return Poll::Pending,
            Poll::Pending => {
                is_drained = true;
                break;
            }
            Poll::Ready(message) => message,
        };
        let trouble = match message {
            Some(Ok(Message::Text(text))) => {
                frames += 1;
                take_frame(text.as_bytes(), arrival, batcher, resume, seen, config);
                continue;
            }
            Some(Ok(Message::Binary(_))) => {
                // We never asked for compression, so nothing that we could read comes in binary.
                frames += 1;
                batcher.push_unreadable(arrival);
                continue;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(frame))) => Trouble::closed(frame),
            Some(Err(error)) => Trouble::reading(error, FRAME_BYTES_CAP),
            None => Trouble::Dropped,
        };
        match trouble {
            Trouble::FrameTooLong(_) => batcher.push_oversize(arrival),
            Trouble::FrameNotText | Trouble::FrameBroken(_) => batcher.push_unreadable(arrival),
            _ => {}
        }
        return Poll::Ready(Read { frames, is_drained: true, trouble: Some(trouble) });
    }
    Poll::Ready(Read { frames, is_drained, trouble: None })
}

fn take_frame(
    frame: &[u8],
    arrival: Arrival,
    batcher: &mut Batcher,
    resume: &mut Resume,
    seen: &mut Seen,
    config: &Config,
) {
    if frame.len() > config.frame_bytes_max {
        batcher.push_oversize(arrival);
        return;
    }
    if resume.awaits_first()
        && let Some(first) = position(frame)
        && let Some(gap) = resume.first(first)
    {
        warn!(source = %config.name, from = gap.from, to = gap.to, reason = gap.reason, "gap");
        batcher.push_gap(gap, arrival);
    }
    // What is no event is malformed each time it comes.
    if seen.is_repeated(frame)
        && let Some(position) = position(frame)
    {
        seen.repeated_at(position);
        batcher.push_duplicate(arrival);
        return;
    }
    batcher.push(frame, arrival);
}
