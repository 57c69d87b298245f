//! Bytes as a connection brings them → batches of whole lines.
//!
//! Pure. Bytes are read straight into the buffer of the batch under construction and stay there: only the
//! beginning of a line whose end has not come moves, to the next buffer. Nothing is allocated or copied
//! for a line. What a sender does bounds nothing here: [`Limits`] do.

use std::time::Duration;

use memchr::memchr_iter;
use tokio::time::Instant;

use crate::source::batcher::Arrival;
use crate::source::{FrameBatch, Gap};

/// When a batch is complete, and which lines are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest line that is kept, in bytes, without its end.
    pub(super) line_bytes_max: usize,
    /// Lines in a batch, the ones counted without their bytes included.
    pub(super) batch_lines_max: usize,
    /// Bytes of a buffer, unless a single line needs more.
    pub(super) batch_bytes_max: usize,
    /// Age of the first line at which a batch goes, full or not.
    pub(super) delay_max: Duration,
}

/// Bytes of a buffer for a source that brings little. It doubles with each buffer that is filled, so a
/// source that wakes up reaches the largest within a millisecond or two.
const CAPACITY_MIN: usize = 64 * 1024;

/// The batch under construction.
#[derive(Debug)]
pub(super) struct Cutter {
    limits: Limits,
    /// Its `bytes` are whole lines up to `begun_at`, and then the beginning of one.
    batch: FrameBatch,
    begun_at: usize,
    /// No line ends between `begun_at` and here.
    scanned: usize,
    /// The beginning was longer than a line may be, and was dropped.
    is_skipping: bool,
    /// Lines of the batch.
    lines: usize,
    /// Number of the last whole line.
    position: i64,
    /// When the batch's first line or gap came.
    opened_at: Option<Instant>,
    /// Bytes of the next buffer.
    capacity: usize,
}

impl Cutter {
    /// Goes on from `batch`, which must be empty, after the line of number `position`.
    pub(super) fn new(batch: FrameBatch, position: i64, limits: Limits) -> Cutter {
        let capacity = CAPACITY_MIN.min(limits.batch_bytes_max);
        Cutter {
            limits,
            batch,
            begun_at: 0,
            scanned: 0,
            is_skipping: false,
            lines: 0,
            position,
            opened_at: None,
            capacity,
        }
    }

    /// Begins a connection after the line of number `position`. The beginning of a line that the last one
    /// left is forgotten: the sender sends that line again, or never finished it.
    pub(super) fn begin(&mut self, position: i64) {
        self.batch.bytes.truncate(self.begun_at);
        self.scanned = self.begun_at;
        self.is_skipping = false;
        self.position = position;
    }

    /// Books a hole in the stream.
    pub(super) fn push_gap(&mut self, gap: Gap, arrival: Arrival) {
        self.batch.gaps.push(gap);
        self.opened_at.get_or_insert(arrival.instant);
        self.batch.received_at = arrival.at;
    }

    /// Number of the last whole line.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Number of the batch under construction.
    pub(super) fn sequence(&self) -> u64 {
        self.batch.sequence
    }

    /// Where to read to: a buffer with spare capacity, to be appended to and then [`cut`](Cutter::cut).
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        let bytes = &mut self.batch.bytes;
        if bytes.capacity() == 0 {
            bytes.reserve_exact(self.capacity);
        } else if is_nearly_full(bytes) {
            // A single line that the buffer is too short for. Doubled, so that it moves a few times only.
            let rest = (self.limits.line_bytes_max + 2).saturating_sub(bytes.len());
            bytes.reserve_exact(bytes.len().min(rest).max(CAPACITY_MIN));
        }
        bytes
    }

    /// Finds the lines that have come whole, as many as the batch may have. It must not be full.
    pub(super) fn cut(&mut self, arrival: Arrival) {
        assert!(self.lines < self.limits.batch_lines_max, "a full batch was not taken");
        let lines_before = self.lines;
        let bytes = self.batch.bytes.as_slice();
        let unseen = bytes.get(self.scanned..).unwrap_or_default();
        let mut scanned = bytes.len();
        for end in memchr_iter(b'\n', unseen) {
            if self.lines == self.limits.batch_lines_max {
                scanned = self.begun_at;
                break;
            }
            let end = self.scanned + end;
            let line = bytes.get(self.begun_at..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if std::mem::take(&mut self.is_skipping) || line.len() > self.limits.line_bytes_max {
                self.batch.oversize += 1;
            } else if line.trim_ascii().is_empty() {
                self.batch.heartbeats += 1;
            } else {
                self.batch.frames.push(self.begun_at..self.begun_at + line.len());
            }
            self.begun_at = end + 1;
            self.lines += 1;
        }
        self.scanned = scanned;
        if self.lines > lines_before {
            self.position =
                self.position.saturating_add((self.lines - lines_before).try_into().unwrap_or(i64::MAX));
            self.opened_at.get_or_insert(arrival.instant);
            self.batch.received_at = arrival.at;
        }

        let begun = self.batch.bytes.get(self.begun_at..self.scanned).unwrap_or_default();
        let is_oversize = begun.strip_suffix(b"\r").unwrap_or(begun).len() > self.limits.line_bytes_max;
        if self.is_skipping || is_oversize {
            self.is_skipping = true;
            self.batch.bytes.truncate(self.begun_at);
            self.scanned = self.begun_at;
        }
    }

    /// Whether the batch must go before anything else is read.
    pub(super) fn is_full(&self) -> bool {
        self.lines >= self.limits.batch_lines_max || self.lines > 0 && is_nearly_full(&self.batch.bytes)
    }

    /// When the batch will be old enough to be taken as it is; `None` while it is empty.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.opened_at.map(|opened_at| opened_at + self.limits.delay_max)
    }

    /// The batch so far, and a new one in its place that begins with what is left of the buffer, to be
    /// [`cut`](Cutter::cut) next; `None` while it is empty.
    pub(super) fn take(&mut self) -> Option<FrameBatch> {
        self.opened_at.take()?;
        self.lines = 0;
        let bytes = &mut self.batch.bytes;
        let left = bytes.get(self.begun_at..).unwrap_or_default();
        if left.len() > bytes.len() / 2 || bytes.len() < bytes.capacity() / 4 {
            // Lines so short that a buffer holds many batches of them, or so few that it stays empty.
            self.capacity = (self.capacity / 2).max(CAPACITY_MIN.min(self.limits.batch_bytes_max));
        } else if is_nearly_full(bytes) {
            self.capacity = (self.capacity * 2).min(self.limits.batch_bytes_max);
        }
        let mut next = Vec::with_capacity(self.capacity.max(left.len() + left.len() / 2));
        next.extend_from_slice(left);
        bytes.truncate(self.begun_at);
        self.scanned -= self.begun_at;
        self.begun_at = 0;
        let next = FrameBatch {
            bytes: next,
            frames: Vec::with_capacity(self.batch.frames.len()),
            ..FrameBatch::empty(self.batch.source.clone(), self.batch.format, self.batch.sequence + 1)
        };
        let batch = std::mem::replace(&mut self.batch, next);
        Some(FrameBatch { position: Some(self.position), ..batch })
    }
}

/// Whether a read into what is left would not be worth its system call.
fn is_nearly_full(bytes: &Vec<u8>) -> bool {
    bytes.capacity() - bytes.len() <= bytes.capacity() / 16
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::parse::Format;

    const LIMITS: Limits = Limits {
        line_bytes_max: 8,
        batch_lines_max: 1_000,
        batch_bytes_max: 1 << 20,
        delay_max: Duration::from_millis(10),
    };

    fn cutter(limits: Limits) -> Cutter {
        Cutter::new(FrameBatch::empty(Arc::from("test"), Format::Plain, 0), 0, limits)
    }

    /// Feeds `piece`, as reads into whatever room there is, and takes each batch that is full.
    fn feed(cutter: &mut Cutter, mut piece: &[u8], batches: &mut Vec<FrameBatch>) {
        while !piece.is_empty() {
            let room = cutter.room();
            let (read, rest) = piece.split_at(piece.len().min(room.capacity() - room.len()));
            assert!(!read.is_empty(), "no room");
            room.extend_from_slice(read);
            piece = rest;
            cutter.cut(Arrival::now());
            while cutter.is_full() {
                batches.extend(cutter.take());
                cutter.cut(Arrival::now());
            }
        }
    }

    /// Text as it is, and how many lines were blank and too long.
    fn seen(batches: &[FrameBatch]) -> (Vec<String>, u64, u64) {
        let text = |batch: &FrameBatch| {
            let line =
                |range: &std::ops::Range<usize>| String::from_utf8_lossy(&batch.bytes[range.clone()]).into();
            batch.frames.iter().map(line).collect::<Vec<String>>()
        };
        let blank = batches.iter().map(|batch| batch.heartbeats).sum();
        let oversize = batches.iter().map(|batch| batch.oversize).sum();
        (batches.iter().flat_map(text).collect(), blank, oversize)
    }

    #[test]
    fn lines_are_cut_stripped_and_counted() {
        let check = |content: &[u8], expected: &[&str], blank: u64, oversize: u64| {
            let (mut cutter, mut batches) = (cutter(LIMITS), Vec::new());
            feed(&mut cutter, content, &mut batches);
            batches.extend(cutter.take());
            let expected = expected.iter().map(|&line| line.to_owned()).collect();
            assert_eq!(seen(&batches), (expected, blank, oversize), "{}", content.escape_ascii());
        };
        check(b"", &[], 0, 0);
        check(b"a\nb\n", &["a", "b"], 0, 0);
        check(b"a\r\nb\r\n", &["a", "b"], 0, 0);
        check(b"a\rb\n", &["a\rb"], 0, 0);
        check(b"a\nno end", &["a"], 0, 0);
        check(b"\n\r\n \t\na\n", &["a"], 3, 0);
        check(b"12345678\n123456789\n1\n", &["12345678", "1"], 0, 1);
        check(b"12345678\r\n123456789\r\n1\n", &["12345678", "1"], 0, 1);
        check(b"          \n", &[], 0, 1);
        check(b"\xff\0\n", &["\u{fffd}\0"], 0, 0);
    }

    #[test]
    fn a_batch_says_the_number_of_its_last_line_whatever_the_lines_were() {
        let mut cutter = cutter(LIMITS);
        let mut after = |content: &[u8]| {
            feed(&mut cutter, content, &mut Vec::new());
            cutter.take().map(|batch| (batch.sequence, batch.position))
        };
        assert_eq!(after(b"a\nb\nbeg"), Some((0, Some(2))));
        assert_eq!(after(b"un"), None);
        assert_eq!(after(b"\n"), Some((1, Some(3))));
        assert_eq!(after(b"\n\n"), Some((2, Some(5))));
        assert_eq!(after(b"far too long"), None);
        assert_eq!(after(b" and more\n"), Some((3, Some(6))));
        assert_eq!(after(b"far too long \xff"), None);
    }

    #[test]
    fn a_connection_begins_with_a_whole_line() {
        for left in [&b"c"[..], b"far too long"] {
            let (mut cutter, mut batches) = (cutter(LIMITS), Vec::new());
            feed(&mut cutter, b"a\nb\n", &mut batches);
            feed(&mut cutter, left, &mut batches);
            cutter.begin(2);
            feed(&mut cutter, b"d\n", &mut batches);
            batches.extend(cutter.take());
            assert_eq!(seen(&batches).0, ["a", "b", "d"]);
            assert_eq!(batches.last().map(|batch| batch.position), Some(Some(3)));
        }
    }

    #[test]
    fn a_gap_alone_makes_a_batch_that_is_due_and_has_a_position() {
        let mut cutter = cutter(LIMITS);
        cutter.begin(9);
        let gap = Gap { from: 1, to: 10, reason: "test".to_owned() };
        cutter.push_gap(gap.clone(), Arrival::now());
        assert!(cutter.due_at().is_some() && !cutter.is_full());
        let batch = cutter.take().unwrap();
        assert_eq!((batch.gaps, batch.position, batch.frames.len()), (vec![gap], Some(9), 0));
    }

    #[test]
    fn a_batch_is_due_when_its_first_line_is_old_enough() {
        let mut cutter = cutter(LIMITS);
        cutter.room().extend_from_slice(b"beg");
        let first = Arrival::now();
        cutter.cut(first);
        assert_eq!(cutter.due_at(), None, "no whole line yet");
        cutter.room().extend_from_slice(b"un\n");
        let later = |ms| Arrival { instant: first.instant + Duration::from_millis(ms), ..first };
        cutter.cut(later(3));
        cutter.room().extend_from_slice(b"next\n");
        cutter.cut(later(9));
        assert_eq!(cutter.due_at(), Some(later(13).instant));
        assert!(cutter.take().is_some());
        assert_eq!(cutter.due_at(), None);
    }

    #[test]
    fn a_line_without_end_is_held_in_bounded_memory() {
        let limits = Limits { line_bytes_max: 300_000, batch_bytes_max: 100_000, ..LIMITS };
        let (mut cutter, mut batches) = (cutter(limits), Vec::new());
        let mut capacity_max = 0;
        for _ in 0..1_000 {
            feed(&mut cutter, &[b'x'; 10_000], &mut batches);
            capacity_max = capacity_max.max(cutter.batch.bytes.capacity());
        }
        assert!(capacity_max <= limits.line_bytes_max + 2 + CAPACITY_MIN, "{capacity_max}");
        let longest = [b'y'; 300_000];
        feed(&mut cutter, &[b"\n", &longest[..], b"\r\nz\n"].concat(), &mut batches);
        batches.extend(cutter.take());
        let (lines, _, oversize) = seen(&batches);
        assert_eq!((lines.iter().map(String::len).collect::<Vec<_>>(), oversize), (vec![300_000, 1], 1));
    }

    #[test]
    fn buffers_grow_with_what_a_source_brings_and_shrink_again() {
        let (mut cutter, mut batches) = (cutter(Limits { batch_lines_max: 100_000, ..LIMITS }), Vec::new());
        assert_eq!(cutter.room().capacity(), CAPACITY_MIN);
        for _ in 0..4 << 20 {
            feed(&mut cutter, b"1234567\n", &mut batches);
        }
        assert_eq!(batches.last().map(|batch| batch.bytes.capacity()), Some(LIMITS.batch_bytes_max));
        for _ in 0..10 {
            feed(&mut cutter, b"1234567\n", &mut batches);
            cutter.take();
        }
        assert_eq!(cutter.room().capacity(), CAPACITY_MIN);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive_and_batches_keep_their_limits(
            content in "[a\r\n ]{0,200}",
            cuts in prop::collection::vec(1..40_usize, 1..100),
            batch_lines_max in 1..20_usize,
            batch_bytes_max in 1..200_usize,
        ) {
            let limits = Limits { batch_lines_max, batch_bytes_max, ..LIMITS };
            let (mut cutter, mut batches) = (cutter(limits), Vec::new());
            let mut rest = content.as_bytes();
            for cut in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                feed(&mut cutter, piece, &mut batches);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            batches.extend(cutter.take());

            let whole = content.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<&str> = if content.contains('\n') { whole.split('\n').collect() } else { Vec::new() };
            let stripped = lines.iter().map(|line| line.strip_suffix('\r').unwrap_or(line));
            let (long, short): (Vec<&str>, Vec<&str>) = stripped.partition(|line| line.len() > limits.line_bytes_max);
            let (blank, text): (Vec<&str>, Vec<&str>) =
                short.into_iter().partition(|line| line.trim_ascii().is_empty());
            let text = text.into_iter().map(str::to_owned).collect();
            prop_assert_eq!(seen(&batches), (text, blank.len() as u64, long.len() as u64));

            let mut position = 0;
            for (sequence, batch) in (0..).zip(&batches) {
                let lines = batch.frames.len() as u64 + batch.heartbeats + batch.oversize;
                prop_assert!((1..=batch_lines_max as u64).contains(&lines));
                position += lines as i64;
                prop_assert_eq!((batch.sequence, batch.position), (sequence, Some(position)));
            }
        }
    }
}
