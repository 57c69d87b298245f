//! Bluesky's Jetstream, version 1: JSON events over a WebSocket, resumable by time.
//!
//! Promises: nothing that a server does ends the source or makes it spin. Every wait has a limit, each
//! reconnect asks for what came since the last event handed over and [`Config::rewind`] more, what the server
//! no longer has is booked as a [`Gap`](super::Gap) and asked for again, a silence beyond chance makes it connect
//! again, and events that come twice within a run's memory are counted as duplicates. Left to later stages: those
//! that come again after a restart, and the durable cursor, which the ledger keeps.
//!
//! Deliberately absent: compression. zstd frames need the server's dictionary, and a frame of 800 bytes
//! costs the network half a kilobyte more and the CPU nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::batcher::{Arrival, Batcher, Limits};
use super::pace::Pace;
use super::{BatchSender, Health, LanesGone, Mistake, Stored, stopped};
use jiff::Timestamp;

use crate::parse::Format;

mod address;
mod connection;
mod cut_over;
mod resume;
mod seen;
mod trouble;

pub use address::Address;
use connection::End;
use cut_over::CutOver;
use resume::Resume;
use seen::Seen;
use trouble::Trouble;

/// Longest frame that a connection survives, in bytes. Longer than any `frame_bytes_max`; tungstenite
/// holds one such frame at most, and fake servers send 10 MB.
const FRAME_BYTES_CAP: usize = 16 * 1024 * 1024;

/// How to subscribe. Made by [`Config::new`] with defaults that work.
#[derive(Debug, Clone)]
pub struct Config {
    /// The source's name in config, logs and metrics.
    pub name: Arc<str>,
    /// Where the server is.
    pub url: Address,
    /// NSIDs of the collections wanted, or prefixes `app.bsky.*`. Account and identity events come anyway.
    pub collections: Vec<String>,
    /// Longer frames are counted and dropped. Real posts stay under 100 KiB; 1 MiB.
    pub frame_bytes_max: usize,
    /// How far before the last event to ask again after a reconnect. Servers drop and reorder around the
    /// change from replay to live, and `time_us` runs backwards by 32 ms; 5 s.
    pub rewind: Duration,
    /// Frames in a batch; 512.
    pub batch_frames_max: usize,
    /// Bytes at which a batch is full; a buffer holds at most this and one frame. 512 posts of 800 bytes
    /// are 400 KiB; 1 MiB.
    pub batch_bytes_max: usize,
    /// How long a frame may wait for others; 5 ms.
    pub batch_delay_max: Duration,
    /// Name lookup, TCP, TLS and handshake together; 10 s.
    pub connect_timeout: Duration,
    /// How often we ask whether the server lives; 20 s.
    pub ping_interval: Duration,
    /// A server of which nothing is heard for that long, not even the answer to a ping, is left; 60 s. One
    /// that answers but sends no event is left when that is unnatural at its usual rate ([`super::pace`]); as
    /// long as that rate is not known, after twice this. Each such reconnect in vain doubles the wait for the
    /// next, up to an hour.
    pub silence_max: Duration,
    /// Ceiling of the first wait before connecting again; 250 ms.
    pub reconnect_delay_min: Duration,
    /// Ceiling of all later ones; 30 s.
    pub reconnect_delay_max: Duration,
    /// How long a connection must bring events before its end counts as the first failure; 30 s.
    pub healthy_after: Duration,
}

impl Config {
    /// Defaults for the server at `url`.
    ///
    /// # Errors
    ///
    /// `url` is no address of a Jetstream v1 server.
    pub fn new(name: impl Into<Arc<str>>, url: &str) -> Result<Config, Mistake> {
        Ok(Config {
            name: name.into(),
            url: Address::parse(url)?,
            collections: vec!["app.bsky.feed.post".to_owned()],
            frame_bytes_max: 1024 * 1024,
            rewind: Duration::from_secs(5),
            batch_frames_max: 512,
            batch_bytes_max: 1024 * 1024,
            batch_delay_max: Duration::from_millis(5),
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            silence_max: Duration::from_secs(60),
            reconnect_delay_min: Duration::from_millis(250),
            reconnect_delay_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(30),
        })
    }

    /// Everything that is wrong with values set after [`Config::new`]; empty if nothing is.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        mistakes.extend(address::check_collections(&self.collections).err());
        let mut check = |is_right: bool, key, value: String, accepted: &str| {
            if !is_right {
                mistakes.push(Mistake { key, value, accepted: accepted.to_owned() });
            }
        };
        let frame = 1..=FRAME_BYTES_CAP;
        let value = self.frame_bytes_max;
        check(frame.contains(&value), "frame_bytes_max", value.to_string(), "must be 1 to 16777216");
        let value = self.batch_frames_max;
        check((1..=65_536).contains(&value), "batch_frames_max", value.to_string(), "must be 1 to 65536");
        let value = self.batch_bytes_max;
        check((1..=64 << 20).contains(&value), "batch_bytes_max", value.to_string(), "must be 1 to 67108864");

        let hour = Duration::from_secs(3_600);
        for (key, value, least) in [
            ("rewind_ms", self.rewind, Duration::ZERO),
            ("batch_delay_max_ms", self.batch_delay_max, Duration::ZERO),
            ("connect_timeout_ms", self.connect_timeout, Duration::from_millis(1)),
            ("ping_interval_ms", self.ping_interval, Duration::from_millis(1)),
            ("silence_max_ms", self.silence_max, Duration::from_millis(1)),
            ("reconnect_delay_min_ms", self.reconnect_delay_min, Duration::from_millis(1)),
            ("reconnect_delay_max_ms", self.reconnect_delay_max, Duration::from_millis(1)),
            ("healthy_after_ms", self.healthy_after, Duration::ZERO),
        ] {
            let accepted = format!("must be {} to {}", least.as_millis(), hour.as_millis());
            check((least..=hour).contains(&value), key, value.as_millis().to_string(), &accepted);
        }
        let value = self.silence_max.as_millis().to_string();
        check(self.silence_max > self.ping_interval, "silence_max_ms", value, "must exceed ping_interval_ms");
        let value = self.reconnect_delay_max.as_millis().to_string();
        check(
            self.reconnect_delay_max >= self.reconnect_delay_min,
            "reconnect_delay_max_ms",
            value,
            "must not be below reconnect_delay_min_ms",
        );
        mistakes
    }
}

/// Hands events to `out` until `stop` turns true or the lanes are gone; the last partial batch goes too.
///
/// `stored` is what the ledger knows of this stream, its positions µs since 1970; without one it begins live.
pub async fn run(
    config: Config,
    stored: Stored,
    out: BatchSender,
    health: Arc<Health>,
    stop: watch::Receiver<bool>,
) {
    // rustls takes its provider from the process. An error means that one is installed: any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let name = config.name.clone();
    let mut subscriber = Subscriber::new(config, stored, out, health, stop);
    let end = subscriber.follow().await;
    subscriber.health.update(|state| state.connected = false);
    info!(source = %name, lanes_gone = end.is_err(), "source stopped");
}

/// A run of this source.
struct Subscriber {
    config: Config,
    out: BatchSender,
    health: Arc<Health>,
    stop: watch::Receiver<bool>,
    batcher: Batcher,
    resume: Resume,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Connections made.
    connections: u64,
    /// Whether the present connection has brought any frame.
    has_frames: bool,
    /// Whether any connection has brought an event.
    has_events: bool,
    seen: Seen,
    pace: Pace,
    /// Unnatural silences so far.
    silences: u64,
    /// Reconnects because of a silence that brought nothing, in a row.
    futile: u32,
    cut_over: CutOver,
    /// When to connect again because events are missing.
    recheck_at: Option<Instant>,
}

/// Longest silence that is borne without connecting again to make sure.
const QUIET_MAX: Duration = Duration::from_secs(3_600);

impl Subscriber {
    fn new(
        config: Config,
        stored: Stored,
        out: BatchSender,
        health: Arc<Health>,
        stop: watch::Receiver<bool>,
    ) -> Subscriber {
        let limits = Limits {
            frames_max: config.batch_frames_max,
            bytes_max: config.batch_bytes_max,
            delay_max: config.batch_delay_max,
        };
        let random = fastrand::Rng::new();
        Subscriber {
            seen: Seen::new(),
            pace: Pace::new(Instant::now()),
            silences: 0,
            futile: 0,
            has_events: false,
            cut_over: CutOver::default(),
            recheck_at: None,
            batcher: Batcher::new(config.name.clone(), Format::Jetstream, false, limits),
            resume: Resume::new(stored.position, config.rewind).with_booked(&stored.open_gaps),
            backoff: Backoff::new(config.reconnect_delay_min, config.reconnect_delay_max),
            random,
            connections: 0,
            has_frames: false,
            config,
            out,
            health,
            stop,
        }
    }

    /// Connects and reads, again and again.
    async fn follow(&mut self) -> Result<(), LanesGone> {
        loop {
            let Some(trouble) = self.attempt().await? else {
                return Ok(());
            };
            let delay = self.after(&trouble);
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Ok(()),
                () = sleep(delay) => {}
            }
        }
    }

    /// One connection, from the attempt to make it to its end; `None` when the source was stopped.
    async fn attempt(&mut self) -> Result<Option<Trouble>, LanesGone> {
        let cursor = self.resume.cursor();
        let connected = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return Ok(None),
            connected = connection::connect(&self.config, cursor) => connected,
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(trouble) => return Ok(Some(trouble)),
        };

        let connected_at = Instant::now();
        self.connected(cursor);
        let end = self.read(&mut socket).await?;
        self.hand_over().await?;
        connection::close(&mut socket).await;
        match end {
            End::Stopped => Ok(None),
            End::Lost(trouble) => {
                self.resume.ended(trouble.is_at_a_frame());
                if self.has_frames && connected_at.elapsed() >= self.config.healthy_after {
                    self.backoff.reset();
                }
                Ok(Some(trouble))
            }
        }
    }

    fn connected(&mut self, cursor: Option<i64>) {
        self.connections += 1;
        self.has_frames = false;
        self.resume.connected();
        let now = Instant::now();
        self.pace.connected(now);
        self.cut_over.connected(cursor.is_some());
        self.recheck_at = None;
        let reconnects = self.connections - 1;
        self.health.update(|state| {
            state.connected = true;
            state.reconnects = reconnects;
            state.trouble.clear();
        });
        info!(source = %self.config.name, url = %self.config.url, cursor, reconnects, "connected");
    }

    /// Tells people, and says how long to wait.
    ///
    /// A close with 1001 ("server shutting down") needs no case of its own: after a healthy connection
    /// the first wait is a quarter of a second at most, and its jitter keeps a server's clients from
    /// coming back all at once.
    fn after(&mut self, trouble: &Trouble) -> Duration {
        let text = trouble.to_string();
        let source = &self.config.name;
        let delay = if trouble.wants_operator() {
            let delay = self.backoff.slow_delay(&mut self.random);
            let failures = self.backoff.failures();
            error!(%source, trouble = text, failures, delay_ms = delay.as_millis(), "subscription refused: change the source's config");
            delay
        } else if trouble.is_our_choice() {
            // A server that says a few words to each connection and then nothing is asked ever more rarely, too.
            let delay = self.backoff.next_delay(&mut self.random);
            info!(%source, trouble = text, delay_ms = delay.as_millis(), "connecting again");
            delay
        } else {
            let delay = self.backoff.next_delay(&mut self.random);
            let failures = self.backoff.failures();
            if trouble.is_farewell() {
                info!(%source, trouble = text, failures, delay_ms = delay.as_millis(), "disconnected");
            } else {
                warn!(%source, trouble = text, failures, delay_ms = delay.as_millis(), "disconnected");
            }
            delay
        };
        self.health.update(|state| {
            state.connected = false;
            state.trouble = text;
        });
        delay
    }

    /// How long the connection may bring nothing.
    fn quiet_max(&self, now: Instant) -> Duration {
        let limit = self.pace.silence_max(now).unwrap_or(2 * self.config.silence_max);
        // A network that is really quiet is asked ever more rarely.
        limit.saturating_mul(1 << self.futile.min(16)).min(QUIET_MAX.max(limit))
    }

    /// Said once for each silence, however often it makes us connect again.
    fn unnaturally_silent(&mut self, lasts: Duration, usual_per_s: f64, now: Instant) {
        if self.health.read().pace.silent_since_us.is_none() {
            self.silences += 1;
            warn!(source = %self.config.name, ?lasts, usual_per_s, "silent beyond chance: connecting again");
        }
        self.tell_pace(now);
    }

    fn tell_pace(&mut self, now: Instant) {
        let pace = self.pace.state(now, Timestamp::now().as_microsecond(), self.silences);
        self.health.update(|state| state.pace = pace);
    }

    /// The server answers but has sent nothing since the start: its own source may have stalled, and on a small
    /// subscription quiet hours are normal.
    fn no_events(&mut self) {
        let silence = self.config.silence_max;
        warn!(source = %self.config.name, ?silence, "connected, but no event");
        self.health.update(|state| state.trouble = format!("connected, but no event for {silence:?}"));
    }

    fn events_again(&mut self) {
        info!(source = %self.config.name, "events again");
    }

    /// Hands over the batch as it is, if it holds anything.
    async fn hand_over(&mut self) -> Result<(), LanesGone> {
        /// Positions looked at in each batch. `time_us` runs backwards by 32 ms at most, and the rewind
        /// covers what these miss.
        const POSITIONS_PER_BATCH: usize = 4;

        let Some(mut batch) = self.batcher.take() else {
            return Ok(());
        };
        let last = batch.frames.iter().rev().take(POSITIONS_PER_BATCH);
        let reached = last.filter_map(|range| position(batch.bytes.get(range.clone())?)).max();
        let from = batch
            .frames
            .iter()
            .take(POSITIONS_PER_BATCH)
            .find_map(|range| position(batch.bytes.get(range.clone())?));
        let repeated = self.seen.take_repeated();
        let passed = reached.max(repeated.iter().max().copied());
        let hole = passed.and_then(|passed| {
            let hole_min = self.pace.hole_min();
            self.cut_over.look(&batch, &repeated, passed, hole_min, Timestamp::now().as_microsecond())
        });
        // In the very batch whose frames prove it: the position must not move over a hole that is not booked.
        let gap = hole.and_then(|(from, to)| self.resume.missing(from, to));
        if let Some(gap) = &gap {
            warn!(source = %self.config.name, from = gap.from, to = gap.to, reason = gap.reason, "gap");
        }
        let mut asks_again = gap.is_some();
        batch.gaps.extend(gap);
        if self.resume.is_filling() {
            let frames = batch.frames.iter().filter_map(|range| batch.bytes.get(range.clone()));
            frames.filter_map(position).for_each(|position| self.resume.came(position));
        }
        let filled = passed.map(|passed| self.resume.reached(passed)).unwrap_or_default();
        asks_again |= self.resume.take_up_booked();
        for stretch in &filled {
            info!(source = %self.config.name, from = stretch.0, to = stretch.1, "gap filled");
        }
        batch.recovered.extend(filled);
        let fresh = batch.frames.len();
        self.out.send(batch).await?;

        let arrival = Arrival::now();
        if asks_again {
            self.recheck_at =
                self.cut_over.recheck_after(self.config.rewind).map(|wait| arrival.instant + wait);
        }
        if let Some(reached) = reached {
            if self.pace.learn(fresh, from.unwrap_or(reached), reached, arrival.instant) {
                self.events_again();
            }
            self.futile = 0;
            self.tell_pace(arrival.instant);
            let position = self.resume.position();
            let is_first = !std::mem::replace(&mut self.has_events, true);
            self.health.update(|state| {
                state.position = position;
                if is_first {
                    // That none had come.
                    state.trouble.clear();
                }
            });
        }
        Ok(())
    }
}

/// The event's `time_us`, never later than our clock.
fn position(frame: &[u8]) -> Option<i64> {
    // As in the lanes: a server whose clock is ahead must not make us resume in its future, where there is
    // nothing to replay. Earlier than needed only repeats.
    let now = Timestamp::now().as_microsecond();
    crate::parse::position(Format::Jetstream, frame).map(|position| position.min(now))
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
