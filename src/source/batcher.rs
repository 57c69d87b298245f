//! Single frames → [`FrameBatch`]: the part of every source that decides when a batch is complete.
//!
//! Pure: time comes in with each frame. All sources share it, so that a batch means the same to later
//! stages whatever it was read from.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{FrameBatch, Gap};
use crate::parse::Format;

/// When a batch is complete: as soon as one of these is reached.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Frames, the ones counted without their bytes included. 0 means 1.
    pub frames_max: usize,
    /// Bytes of all frames. Reached *with* the last frame, so a buffer holds at most this and one frame.
    pub bytes_max: usize,
    /// Age of the first frame.
    pub delay_max: Duration,
}

/// When frames arrived. Read the clocks once for all frames of one wake.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// For the batch's age.
    pub instant: Instant,
    /// For people and statistics.
    pub at: Timestamp,
}

impl Arrival {
    /// Both clocks, now.
    pub fn now() -> Arrival {
        Arrival { instant: Instant::now(), at: Timestamp::now() }
    }
}

/// The batch under construction, and the number of the next.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    /// Frames of the batch, including those that are only counted.
    frames: usize,
    /// When its first frame or gap came.
    opened_at: Option<Instant>,
    batch: FrameBatch,
}

impl Batcher {
    /// For one source; `patient` as in [`FrameBatch::patient`].
    pub fn new(source: Arc<str>, format: Format, patient: bool, limits: Limits) -> Batcher {
        let batch = FrameBatch { patient, ..FrameBatch::empty(source, format, 0) };
        Batcher { limits, frames: 0, opened_at: None, batch }
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: &[u8], arrival: Arrival) {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(frame);
        self.batch.frames.push(start..self.batch.bytes.len());
        self.arrived(arrival);
    }

    /// Counts a frame that was too long to keep.
    pub fn push_oversize(&mut self, arrival: Arrival) {
        self.batch.oversize += 1;
        self.arrived(arrival);
    }

    /// Counts a frame that is no text.
    pub fn push_unreadable(&mut self, arrival: Arrival) {
        self.batch.unreadable += 1;
        self.arrived(arrival);
    }

    /// Counts an empty frame.
    pub fn push_heartbeat(&mut self, arrival: Arrival) {
        self.batch.heartbeats += 1;
        self.arrived(arrival);
    }

    /// Counts a frame that had come before.
    pub fn push_duplicate(&mut self, arrival: Arrival) {
        self.batch.duplicates += 1;
        self.arrived(arrival);
    }

    /// Says that this stretch of the stream has come whole, after all.
    pub fn push_recovered(&mut self, stretch: (i64, i64), arrival: Arrival) {
        self.batch.recovered.push(stretch);
        self.opened_at.get_or_insert(arrival.instant);
        self.batch.received_at = arrival.at;
    }

    /// Books a hole in the stream.
    pub fn push_gap(&mut self, gap: Gap, arrival: Arrival) {
        self.batch.gaps.push(gap);
        self.opened_at.get_or_insert(arrival.instant);
        self.batch.received_at = arrival.at;
    }

    /// Notes how far the source has come, where frames do not say so themselves.
    pub fn reach(&mut self, position: i64) {
        self.batch.position = Some(position);
    }

    /// Whether nothing was pushed since the last batch.
    pub fn is_empty(&self) -> bool {
        self.opened_at.is_none()
    }

    /// Whether frames or bytes have reached their limit.
    pub fn is_full(&self) -> bool {
        self.frames >= self.limits.frames_max.max(1) || self.batch.bytes.len() >= self.limits.bytes_max.max(1)
    }

    /// When the batch will be old enough to be taken as it is; `None` while it is empty.
    pub fn due_at(&self) -> Option<Instant> {
        self.opened_at.map(|opened_at| opened_at + self.limits.delay_max)
    }

    /// The batch so far, and a new one in its place; `None` while it is empty.
    pub fn take(&mut self) -> Option<FrameBatch> {
        self.opened_at.take()?;
        self.frames = 0;
        let next = FrameBatch {
            // Lanes drop the buffers, so there is none to reuse: the last batch's size is the best guess
            // at the next one's, and keeps quiet sources small.
            bytes: Vec::with_capacity(self.batch.bytes.len()),
            frames: Vec::with_capacity(self.batch.frames.len()),
            patient: self.batch.patient,
            ..FrameBatch::empty(self.batch.source.clone(), self.batch.format, self.batch.sequence + 1)
        };
        Some(std::mem::replace(&mut self.batch, next))
    }

    fn arrived(&mut self, arrival: Arrival) {
        self.frames += 1;
        self.opened_at.get_or_insert(arrival.instant);
        self.batch.received_at = arrival.at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batcher(frames_max: usize, bytes_max: usize) -> Batcher {
        let limits = Limits { frames_max, bytes_max, delay_max: Duration::from_millis(10) };
        Batcher::new("test".into(), Format::Plain, false, limits)
    }

    /// Pushes `frames`, taking a batch whenever it is full, and the rest at the end.
    fn batches(mut batcher: Batcher, frames: &[Vec<u8>]) -> Vec<FrameBatch> {
        let mut batches = Vec::new();
        for frame in frames {
            batcher.push(frame, Arrival::now());
            if batcher.is_full() {
                batches.extend(batcher.take());
            }
        }
        batches.extend(batcher.take());
        batches
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_in_order_and_within_the_limits(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..200),
            frames_max in 0..20_usize,
            bytes_max in 0..300_usize,
        ) {
            let batches = batches(batcher(frames_max, bytes_max), &frames);
            let mut seen = Vec::new();
            for (sequence, batch) in (0..).zip(&batches) {
                prop_assert_eq!(batch.sequence, sequence);
                prop_assert!((1..=frames_max.max(1)).contains(&batch.frames.len()));
                prop_assert!(batch.bytes.len() < bytes_max.max(1) + 50);
                seen.extend(batch.frames.iter().map(|range| batch.bytes[range.clone()].to_vec()));
            }
            prop_assert_eq!(seen, frames);
        }
    }

    #[test]
    fn a_batch_is_due_when_its_first_frame_is_old_enough() {
        let mut batcher = batcher(10, 1_000);
        assert_eq!(batcher.due_at(), None);
        let first = Arrival::now();
        batcher.push(b"a", first);
        let later = Arrival { instant: first.instant + Duration::from_millis(9), ..first };
        batcher.push(b"b", later);
        assert_eq!(batcher.due_at(), Some(first.instant + Duration::from_millis(10)));
        assert!(batcher.take().is_some());
        assert_eq!(batcher.due_at(), None);
    }

    #[test]
    fn frames_without_bytes_fill_a_batch_too() {
        let mut batcher = batcher(3, 1_000);
        assert!(batcher.is_empty() && batcher.take().is_none());
        let arrival = Arrival::now();
        batcher.push_oversize(arrival);
        batcher.push_unreadable(arrival);
        assert!(!batcher.is_full());
        batcher.push_duplicate(arrival);
        assert!(batcher.is_full());
        let batch = batcher.take().expect("three frames were pushed");
        assert!(!batcher.is_full());
        assert_eq!((batch.oversize, batch.unreadable, batch.duplicates), (1, 1, 1));
        assert_eq!(batch.received_at, arrival.at);
    }

    #[test]
    fn a_gap_alone_makes_a_batch_that_is_due() {
        let mut batcher = batcher(3, 1_000);
        let gap = Gap { from: 1, to: 9, reason: "test".to_owned() };
        batcher.push_gap(gap.clone(), Arrival::now());
        assert!(batcher.due_at().is_some());
        assert_eq!(batcher.take().map(|batch| batch.gaps), Some(vec![gap]));
    }

    #[test]
    fn a_position_belongs_to_the_batch_it_was_reached_in() {
        let mut batcher = batcher(3, 1_000);
        batcher.push(b"a", Arrival::now());
        batcher.reach(1);
        assert_eq!(batcher.take().and_then(|batch| batch.position), Some(1));
        batcher.push(b"b", Arrival::now());
        assert_eq!(batcher.take().and_then(|batch| batch.position), None);
    }
}
