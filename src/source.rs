//! Network → batches of raw frames, each batch with what a restart needs to know.
//!
//! Sources are async and hold no rules about posts: they connect, cut the stream into frames, and decide
//! when to reconnect, from where, and which gap to book. Frames travel by the batch, never one by one.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use crate::parse::Format;

pub mod jetstream;
pub mod ndjson;
pub mod tcp;

pub mod backoff;
pub mod pace;
pub mod batcher;

/// Raw frames of one source, one after the other in one buffer.
#[derive(Debug)]
pub struct FrameBatch {
    /// Which source, by its name in config.
    pub source: Arc<str>,
    /// How to parse the frames.
    pub format: Format,
    /// Counts the batches of this source from 0, without holes: later stages settle them in this order.
    pub sequence: u64,
    /// All frames' bytes, and perhaps what separated them.
    pub bytes: Vec<u8>,
    /// Each frame's place in `bytes`.
    pub frames: Vec<Range<usize>>,
    /// Frames that were longer than the limit: counted here, their bytes dropped.
    pub oversize: u64,
    /// Frames that are no text at all (a binary message where none was agreed): counted as malformed.
    pub unreadable: u64,
    /// Frames that were empty: networks and recorders send blank lines to keep a connection open.
    /// Counted as control.
    pub heartbeats: u64,
    /// Frames that had come before, byte for byte: counted as duplicates, their bytes dropped.
    pub duplicates: u64,
    /// Position after this batch, where the source counts: a line's number. `None` where the frames' own
    /// positions count.
    pub position: Option<i64>,
    /// When the last frame arrived, by our clock.
    pub received_at: Timestamp,
    /// Holes in the stream noticed before the first frame of this batch.
    pub gaps: Vec<Gap>,
    /// Stretches of the stream that have come whole after all, first to last position: the gaps in them, booked
    /// before, are filled with this batch and those before it.
    pub recovered: Vec<(i64, i64)>,
    /// Whether frames wait in the network or in a file while we are behind: such a source is slowed
    /// down rather than shed.
    pub patient: bool,
    /// The batch's place in the queue, given back when it is dropped.
    pub permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl FrameBatch {
    /// A batch of a live source that holds nothing yet.
    pub fn empty(source: Arc<str>, format: Format, sequence: u64) -> FrameBatch {
        FrameBatch {
            source,
            format,
            sequence,
            bytes: Vec::new(),
            frames: Vec::new(),
            oversize: 0,
            unreadable: 0,
            heartbeats: 0,
            duplicates: 0,
            position: None,
            received_at: Timestamp::UNIX_EPOCH,
            gaps: Vec::new(),
            recovered: Vec::new(),
            patient: false,
            permit: None,
        }
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.frames.push(start..self.bytes.len());
    }
}

/// A hole in a source's stream: frames that existed and were not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Last position received before the hole, in the source's own unit (Jetstream: µs since 1970).
    pub from: i64,
    /// First position received after it.
    pub to: i64,
    /// Why, for people: `cursor older than the server's window`.
    pub reason: String,
}

/// What the ledger knows of a source's stream when a run begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Where it goes on; `None`: nothing of it was ever committed.
    pub position: Option<i64>,
    /// Holes of earlier runs that nothing has filled, oldest first.
    pub open_gaps: Vec<Gap>,
}

/// How far a source's batches are committed. Changes after each commit, in the order of the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    /// One more than the [`sequence`](FrameBatch::sequence) of the last batch committed in this run; 0 before
    /// the first. Where a stream begins again its positions do, and this does not.
    pub end_sequence: u64,
    /// That batch's position, in the source's own unit; before the first the one that the ledger stored.
    pub position: Option<i64>,
}

/// Where a batch goes: to the lanes, at most `batches` of them waiting.
#[derive(Debug, Clone)]
pub struct BatchSender {
    queue: crossbeam::channel::Sender<FrameBatch>,
    places: Arc<tokio::sync::Semaphore>,
    patient_places: Arc<tokio::sync::Semaphore>,
    batches_max: NonZeroUsize,
}

/// How many batches of live sources wait for a lane or are in one. Holds nothing of the queue open.
#[derive(Debug, Clone)]
pub struct Backlog {
    places: Arc<tokio::sync::Semaphore>,
    batches_max: NonZeroUsize,
}

impl Backlog {
    /// So many now.
    pub fn batches(&self) -> usize {
        self.batches_max.get().saturating_sub(self.places.available_permits())
    }

    /// So many at most.
    pub fn batches_max(&self) -> NonZeroUsize {
        self.batches_max
    }
}

/// Batches of patient sources between the source and the model. Their candidates are never shed, so their
/// number is what bounds them: 4 batches of 512 posts.
const PATIENT_BATCHES: usize = 4;

/// Makes the queue between the sources and the lanes.
pub fn batch_queue(batches: NonZeroUsize) -> (BatchSender, crossbeam::channel::Receiver<FrameBatch>) {
    // The semaphore bounds the queue, so that a source waits without blocking the executor; the channel
    // itself never fills.
    let (queue, lanes) = crossbeam::channel::unbounded();
    let places = Arc::new(tokio::sync::Semaphore::new(batches.get()));
    let patient_places = Arc::new(tokio::sync::Semaphore::new(PATIENT_BATCHES));
    (BatchSender { queue, places, patient_places, batches_max: batches }, lanes)
}

impl BatchSender {
    /// For whoever watches how full the queue is.
    pub fn backlog(&self) -> Backlog {
        Backlog { places: self.places.clone(), batches_max: self.batches_max }
    }

    /// Hands `batch` to the lanes, waiting while the queue is full.
    ///
    /// # Errors
    ///
    /// The lanes are gone: the daemon is going down, the source ends.
    pub async fn send(&self, mut batch: FrameBatch) -> Result<(), LanesGone> {
        let places = if batch.patient { &self.patient_places } else { &self.places };
        let permit = places.clone().acquire_owned().await.map_err(|_| LanesGone)?;
        batch.permit = Some(permit);
        self.queue.send(batch).map_err(|_| LanesGone)
    }
}

/// A setting that a source cannot work with. Shown as `url = "http://…": must …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {accepted}")]
pub struct Mistake {
    /// The key in the source's section of the config.
    pub key: &'static str,
    /// What was found there, as TOML would write it.
    pub value: String,
    /// What would be right: `must be at least 1`.
    pub accepted: String,
}

/// The lanes have ended.
#[derive(Debug, thiserror::Error)]
#[error("the lanes have ended")]
pub struct LanesGone;

/// What a source tells the console about itself; shared, written by the source, read by anyone.
#[derive(Debug, Default)]
pub struct Health {
    state: parking_lot::Mutex<HealthState>,
}

/// A reading of [`Health`].
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct HealthState {
    /// Connected and subscribed, or reading.
    pub connected: bool,
    /// How often the connection was made again.
    pub reconnects: u64,
    /// Last position received, in the source's own unit.
    pub position: Option<i64>,
    /// The last trouble, for people; empty when there was none since connecting.
    pub trouble: String,
    /// A file or stdin source that has reached its end.
    pub finished: bool,
    /// How much comes, compared with what usually does.
    pub pace: PaceState,
}

/// What a source has learnt about its own rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct PaceState {
    /// Frames a second, usually; `None` while too little was seen.
    pub usual_per_s: Option<f64>,
    /// Since when it is silent, if chance does not explain that; µs since 1970.
    pub silent_since_us: Option<i64>,
    /// Frames a second of late, if that is a small part of the usual.
    pub collapsed_to_per_s: Option<f64>,
    /// How often it was silent like that since the start.
    pub silences: u64,
}

impl Health {
    /// The state now.
    pub fn read(&self) -> HealthState {
        self.state.lock().clone()
    }

    /// The trouble for people: what the source last met, or else what its pace is like at `now`.
    pub fn trouble(state: &HealthState, now: Timestamp) -> String {
        let PaceState { usual_per_s, silent_since_us, collapsed_to_per_s, .. } = state.pace;
        let usual = pace::shown(usual_per_s.unwrap_or_default());
        match (silent_since_us, collapsed_to_per_s) {
            _ if !state.trouble.is_empty() => state.trouble.clone(),
            (Some(since_us), _) => {
                let seconds = now.as_microsecond().saturating_sub(since_us).max(0) / 1_000_000;
                format!("silent for {seconds} s, unnatural at its usual {usual}/s")
            }
            (None, Some(per_s)) => format!("only {}/s of late, usually {usual}/s", pace::shown(per_s)),
            (None, None) => String::new(),
        }
    }

    /// Changes the state.
    pub fn update(&self, change: impl FnOnce(&mut HealthState)) {
        change(&mut self.state.lock());
    }
}

/// Resolves once `stop` has turned true, or nobody is left who could turn it.
async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}

/// Bytes shown of what a peer wrote: enough for its error message, too little to flood a log.
const QUOTE_BYTES_MAX: usize = 200;

/// The beginning of what a peer wrote, for people, without control characters.
fn quote(bytes: &[u8]) -> String {
    let start = bytes.get(..QUOTE_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(start).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_wrote_is_cut_and_without_control_characters() {
        assert_eq!(quote(b"bad\r\n\x1b[31mcursor\n"), "bad   [31mcursor");
        assert_eq!(quote("é".repeat(150).as_bytes()), "é".repeat(100));
        assert_eq!(quote(&[b'a', 0xff]), "a\u{fffd}");
    }
}
