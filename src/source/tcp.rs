//! Lines over TCP, resumable by their number, acknowledged once they are durable.
//!
//! # Protocol 1
//!
//! vigie is the client. One connection carries posts from the sender to vigie, a line each, and positions
//! back. Lines are counted from 1 over the life of the stream; a position is the number of the last line
//! of what it speaks of, 0 where that is none.
//!
//! 1. vigie sends `{"vigie":1,"after":N}` and `\n`: it has N lines of the stream. After a lost connection
//!    these are the lines received and handed to the lanes, after a restart those that are durable.
//! 2. The sender answers with one line of at most 4096 bytes, `{"vigie":1,"after":M}`, and then sends the
//!    lines M + 1, M + 2, … Each ends with `\n` or `\r\n`. Bytes at the end of a connection without
//!    a line's end are no line: the sender sends that line again.
//!    - M = N: the stream goes on.
//!    - M > N: the sender no longer has the lines between. vigie books a [`Gap`] from N to M + 1. More than
//!      2^53 of them are a mistake, and end the connection as below.
//!    - M < N: the sender has lost count, or its stream was started anew. vigie warns, waits until
//!      everything it was sent before is durable, and takes what comes as it is; its position is then
//!      M + the lines read. See [below](#a-stream-that-begins-again).
//!    - `{"error":"…"}`, another version, or anything else ends the connection, with a trouble that says so.
//! 3. While it reads, vigie sends `{"ack":N}` and `\n` when more lines have become durable, at most one
//!    each 100 ms. Every line up to N is committed in its ledger: the sender may forget them. A new connection
//!    begins with the newest again, and with none as long as nothing of the stream is durable. A sender need
//!    not read them; vigie then sends only the newest.
//! 4. An empty line, or one of nothing but white space, is a heartbeat. It counts as a line and ends in the
//!    bucket `control`. A line of more than `frame_bytes_max` bytes counts as a line and ends in `oversize`.
//! 5. Either side may close at any time. vigie connects again with a growing, jittered wait. It leaves
//!    a sender that says nothing for [`Config::silence_max`], so one with nothing to send sends heartbeats.
//!
//! # Promises
//!
//! Nothing that a sender does ends the source or makes it spin. Memory is a batch's buffer, which one line
//! that is longer may stretch to [`Config::frame_bytes_max`]. The source is live: candidates may be shed
//! under load. It is never shed itself: while the lanes are behind it does not read, and TCP slows the sender.
//!
//! # A stream that begins again
//!
//! The ledger keeps the greatest position that it was ever given for a source. A sender whose stream really
//! starts anew makes a restarted vigie ask after a line that does not exist yet: give the new stream a new
//! source `name`. Acknowledgements never speak of another stream's lines, as long as a sender that has begun
//! again says M < N: where the new stream has come to N lines as well, nobody can tell the two apart.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::batcher::Arrival;
use super::pace::{Judgement, Pace};
use super::{BatchSender, Durable, FrameBatch, Gap, Health, LanesGone, Mistake, stopped};
use crate::parse::Format;

mod acks;
mod address;
mod connection;
mod cutter;
mod greeting;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
mod trouble;

pub use address::Address;
use connection::{Connection, End};
use cutter::{Cutter, Limits};
use trouble::Trouble;

/// Where to connect and what to expect. Made by [`Config::new`] with defaults that work.
#[derive(Debug, Clone)]
pub struct Config {
    /// The source's name in config, logs and metrics.
    pub name: Arc<str>,
    /// Where the sender listens.
    pub address: Address,
    /// How each line is encoded.
    pub format: Format,
    /// Longer lines are counted and dropped; 1 MiB.
    pub frame_bytes_max: usize,
    /// Lines in a batch; 4096, of 16 bytes each beside the buffer.
    pub batch_frames_max: usize,
    /// Bytes of a batch's buffer, unless a single line needs more; 1 MiB. From 128 KiB to 4 MiB a source that
    /// carried 143,199 lines/s of 4.7 KB took the same fifth of a core within what two runs differ by
    /// (`cargo bench --bench tcp`), so this is the size that `queue_batches` is reckoned with.
    pub batch_bytes_max: usize,
    /// How long a line may wait for others; 10 ms.
    pub batch_delay_max: Duration,
    /// Name lookup, TCP and greeting together; 10 s.
    pub connect_timeout: Duration,
    /// A sender of which nothing is heard for that long is left; 60 s.
    pub silence_max: Duration,
    /// Least time between two acknowledgements; 100 ms.
    pub ack_interval: Duration,
    /// Ceiling of the first wait before connecting again; 250 ms.
    pub reconnect_delay_min: Duration,
    /// Ceiling of all later ones; 30 s.
    pub reconnect_delay_max: Duration,
    /// How long a connection must bring lines before its end counts as the first failure; 30 s.
    pub healthy_after: Duration,
}

impl Config {
    /// Defaults for the sender at `address`.
    pub fn new(name: impl Into<Arc<str>>, address: Address, format: Format) -> Config {
        Config {
            name: name.into(),
            address,
            format,
            frame_bytes_max: 1024 * 1024,
            batch_frames_max: 4096,
            batch_bytes_max: 1024 * 1024,
            batch_delay_max: Duration::from_millis(10),
            connect_timeout: Duration::from_secs(10),
            silence_max: Duration::from_secs(60),
            ack_interval: Duration::from_millis(100),
            reconnect_delay_min: Duration::from_millis(250),
            reconnect_delay_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(30),
        }
    }

    /// Everything that is wrong with values set after [`Config::new`]; empty if nothing is.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut check = |is_right: bool, key, value: String, accepted: String| {
            if !is_right {
                mistakes.push(Mistake { key, value, accepted });
            }
        };
        for (key, value, least, most) in [
            ("frame_bytes_max", self.frame_bytes_max, 1, 16 << 20),
            ("batch_frames_max", self.batch_frames_max, 1, 65_536),
            ("batch_bytes_max", self.batch_bytes_max, 4_096, 64 << 20),
        ] {
            let accepted = format!("must be {least} to {most}");
            check((least..=most).contains(&value), key, value.to_string(), accepted);
        }
        let hour = Duration::from_secs(3_600);
        for (key, value, least) in [
            ("batch_delay_max_ms", self.batch_delay_max, Duration::ZERO),
            ("connect_timeout_ms", self.connect_timeout, Duration::from_millis(1)),
            ("silence_max_ms", self.silence_max, Duration::from_millis(1)),
            ("ack_interval_ms", self.ack_interval, Duration::ZERO),
            ("reconnect_delay_min_ms", self.reconnect_delay_min, Duration::from_millis(1)),
            ("reconnect_delay_max_ms", self.reconnect_delay_max, self.reconnect_delay_min),
            ("healthy_after_ms", self.healthy_after, Duration::ZERO),
        ] {
            let accepted = format!("must be {} to {}", least.as_millis(), hour.as_millis());
            check((least..=hour).contains(&value), key, value.as_millis().to_string(), accepted);
        }
        mistakes
    }
}

/// Hands lines to `out` until `stop` turns true or the lanes are gone; the last partial batch goes too.
///
/// `position` is the one that the ledger stored. `durable` shows this source's last committed batch, and
/// changes after each commit.
pub async fn run(
    config: Config,
    position: Option<i64>,
    durable: watch::Receiver<Durable>,
    out: BatchSender,
    health: Arc<Health>,
    stop: watch::Receiver<bool>,
) {
    let name = config.name.clone();
    let mut follower = Follower::new(config, position, durable, out, health, stop);
    let end = follower.follow().await;
    follower.health.update(|state| state.connected = false);
    info!(source = %name, lanes_gone = end.is_err(), "source stopped");
}

/// A run of this source.
struct Follower {
    config: Config,
    durable: watch::Receiver<Durable>,
    out: BatchSender,
    health: Arc<Health>,
    stop: watch::Receiver<bool>,
    cutter: Cutter,
    /// Number of the first batch of the sender's stream; `None` as long as none has begun again: all that the
    /// ledger has is then of this one.
    stream_from: Option<u64>,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Connections made.
    connections: u64,
    /// The clock of the stream's pace: lines tell no time.
    started: Instant,
    pace: Pace,
    /// Unnatural silences so far, and whether this is one.
    silences: u64,
    is_silent: bool,
}

impl Follower {
    fn new(
        config: Config,
        position: Option<i64>,
        durable: watch::Receiver<Durable>,
        out: BatchSender,
        health: Arc<Health>,
        stop: watch::Receiver<bool>,
    ) -> Follower {
        let limits = Limits {
            line_bytes_max: config.frame_bytes_max,
            batch_lines_max: config.batch_frames_max,
            batch_bytes_max: config.batch_bytes_max,
            delay_max: config.batch_delay_max,
        };
        let batch = FrameBatch::empty(config.name.clone(), config.format, 0);
        Follower {
            cutter: Cutter::new(batch, position.unwrap_or(0).max(0), limits),
            stream_from: None,
            backoff: Backoff::new(config.reconnect_delay_min, config.reconnect_delay_max),
            random: fastrand::Rng::new(),
            connections: 0,
            started: Instant::now(),
            pace: Pace::new(Instant::now()),
            silences: 0,
            is_silent: false,
            config,
            durable,
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
        let after = self.cutter.position();
        let connected = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return Ok(None),
            connected = connection::connect(&self.config, after) => connected,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(trouble) => return Ok(Some(trouble)),
        };

        let connected_at = Instant::now();
        let begins_after = connection.after;
        self.connected(after, &connection);
        let is_settled = self.begin(after, begins_after).await;
        let end = if is_settled { self.read(connection).await? } else { End::Stopped };
        let has_lines = self.cutter.position() > begins_after;
        self.hand_over().await?;
        match end {
            End::Stopped => Ok(None),
            End::Lost(trouble) => {
                if has_lines && connected_at.elapsed() >= self.config.healthy_after {
                    self.backoff.reset();
                }
                Ok(Some(trouble))
            }
        }
    }

    fn connected(&mut self, after: i64, connection: &Connection) {
        self.connections += 1;
        self.pace.connected(Instant::now());
        let reconnects = self.connections - 1;
        let begins_after = connection.after;
        self.health.update(|state| {
            state.connected = true;
            state.reconnects = reconnects;
            state.trouble.clear();
        });
        let (source, address) = (&self.config.name, &self.config.address);
        info!(%source, %address, after, begins_after, reconnects, "connected");
    }

    /// Compares what we have with where the sender begins; `false` if the source was stopped meanwhile.
    async fn begin(&mut self, after: i64, begins_after: i64) -> bool {
        self.cutter.begin(begins_after);
        if begins_after >= after {
            if begins_after > after {
                let reason = format!("the sender no longer has the {} lines between", begins_after - after);
                warn!(source = %self.config.name, after, begins_after, reason, "gap");
                let gap = Gap { from: after, to: begins_after.saturating_add(1), reason };
                self.cutter.push_gap(gap, Arrival::now());
            }
            return true;
        }
        warn!(source = %self.config.name, after, begins_after, "the sender repeats lines, or has begun a new stream");
        self.health.update(|state| {
            state.trouble = format!("the sender began after line {begins_after}, and {after} were here");
        });
        // All that was read before was handed over when its connection ended, so the next batch is the first of
        // this stream. The lanes may join neighbours, of which the greatest position counts: the two streams'
        // batches must never be under way together.
        let from = self.cutter.sequence();
        self.stream_from = Some(from);
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => false,
            // An error means that the ledger has ended, and the daemon is about to.
            settled = self.durable.wait_for(|durable| durable.end_sequence >= from) => settled.is_ok(),
        }
    }

    /// Tells people, and says how long to wait.
    fn after(&mut self, trouble: &Trouble) -> Duration {
        let text = trouble.to_string();
        let source = &self.config.name;
        let delay = if trouble.wants_operator() {
            let delay = self.backoff.slow_delay(&mut self.random);
            let failures = self.backoff.failures();
            error!(%source, trouble = text, failures, delay_ms = delay.as_millis(), "the sender is no sender of ours: change its config or the source's");
            delay
        } else {
            let delay = self.backoff.next_delay(&mut self.random);
            let failures = self.backoff.failures();
            warn!(%source, trouble = text, failures, delay_ms = delay.as_millis(), "disconnected");
            delay
        };
        self.health.update(|state| {
            state.connected = false;
            state.trouble = text;
        });
        delay
    }

    /// Hands over the batch as it is, if it holds anything.
    async fn hand_over(&mut self) -> Result<(), LanesGone> {
        let Some(batch) = self.cutter.take() else {
            return Ok(());
        };
        let position = batch.position;
        let lines = batch.frames.len();
        self.out.send(batch).await?;
        self.health.update(|state| state.position = position);
        let now = Instant::now();
        let at_us =
            i64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(i64::MAX);
        if self.pace.learn(lines, at_us, at_us, now) {
            info!(source = %self.config.name, "lines again");
            self.is_silent = false;
        }
        self.tell_pace(now);
        Ok(())
    }

    /// When the source, if it stays quiet, is silent beyond chance; `None` if that is not known or told already.
    /// Heartbeats are no lines: this is about what the sender's own source brings.
    fn silent_at(&self, lines_at: Instant) -> Option<Instant> {
        let wait = self.pace.silence_max(lines_at).filter(|_| !self.is_silent)?;
        lines_at.checked_add(wait)
    }

    /// Says so once, if it is. Another connection would bring nothing that this one does not: the sender knows
    /// which lines we have.
    fn look_for_silence(&mut self, now: Instant) {
        if let Judgement::Silent { lasts } = self.pace.judge(now)
            && !std::mem::replace(&mut self.is_silent, true)
        {
            self.silences += 1;
            let usual_per_s = self.pace.usual_per_s();
            warn!(source = %self.config.name, ?lasts, usual_per_s, "silent beyond chance");
        }
        self.tell_pace(now);
    }

    fn tell_pace(&mut self, now: Instant) {
        let pace = self.pace.state(now, jiff::Timestamp::now().as_microsecond(), self.silences);
        self.health.update(|state| state.pace = pace);
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
