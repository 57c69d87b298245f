//! What must hold of any bytes that a sender of lines writes.

use std::sync::Arc;
use std::time::Duration;

use super::cutter::{Cutter, Limits};
use super::greeting;
use crate::parse::Format;
use crate::source::FrameBatch;
use crate::source::batcher::Arrival;
use crate::trials::Bytes;

/// Lines are the same however their bytes arrive; none is lost, none is longer than its limit, every batch
/// keeps its own, and positions count them all.
pub(crate) fn lines(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let limits = Limits {
        line_bytes_max: bytes.byte().into(),
        batch_lines_max: 1 + bytes.under(256),
        batch_bytes_max: 1 + usize::from(bytes.u16()),
        delay_max: Duration::from_millis(10),
    };
    let (cuts, content) = (bytes.take(4), bytes.rest());
    let batch = FrameBatch::empty(Arc::from("trial"), Format::Plain, 0);
    let (mut cutter, mut batches) = (Cutter::new(batch, 0, limits), Vec::new());
    let (mut rest, mut cut) = (content, cuts.iter().cycle());
    let now = Arrival::now();
    while !rest.is_empty() {
        let piece = rest.split_off(..usize::from(*cut.next().unwrap_or(&9)).clamp(1, rest.len()));
        feed(&mut cutter, piece.unwrap_or_default(), now, &mut batches);
    }
    assert_eq!(cutter.due_at().is_some(), !is_whole(&batches, content), "due while it has lines");
    batches.extend(cutter.take());
    check(&batches, content, limits);
}

/// As a connection feeds it: reads into whatever room there is, and each batch that is full is taken.
fn feed(cutter: &mut Cutter, mut piece: &[u8], now: Arrival, batches: &mut Vec<FrameBatch>) {
    while !piece.is_empty() {
        let room = cutter.room();
        let read = piece.split_off(..piece.len().min(room.capacity() - room.len())).unwrap_or_default();
        assert!(!read.is_empty(), "no room");
        room.extend_from_slice(read);
        cutter.cut(now);
        while cutter.is_full() {
            batches.extend(cutter.take());
            cutter.cut(now);
        }
    }
}

fn is_whole(batches: &[FrameBatch], content: &[u8]) -> bool {
    let lines = content.iter().filter(|byte| **byte == b'\n').count();
    batches.iter().map(lines_of).sum::<usize>() == lines
}

fn lines_of(batch: &FrameBatch) -> usize {
    batch.frames.len() + (batch.heartbeats + batch.oversize) as usize
}

fn check(batches: &[FrameBatch], content: &[u8], limits: Limits) {
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(&b""[..], |end| &content[..end]);
    let lines = whole.split(|byte| *byte == b'\n').filter(|_| content.contains(&b'\n'));
    let stripped = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (long, short): (Vec<_>, Vec<_>) = stripped.partition(|line| line.len() > limits.line_bytes_max);
    let (blank, text): (Vec<_>, Vec<_>) = short.into_iter().partition(|line| line.trim_ascii().is_empty());
    let frames =
        batches.iter().flat_map(|batch| batch.frames.iter().map(|range| &batch.bytes[range.clone()]));
    assert_eq!(frames.collect::<Vec<_>>(), text);
    assert_eq!(batches.iter().map(|batch| batch.heartbeats).sum::<u64>(), blank.len() as u64);
    assert_eq!(batches.iter().map(|batch| batch.oversize).sum::<u64>(), long.len() as u64);
    let mut position = 0;
    for (sequence, batch) in (0..).zip(batches) {
        assert!((1..=limits.batch_lines_max).contains(&lines_of(batch)));
        position += lines_of(batch) as i64;
        assert_eq!((batch.sequence, batch.position), (sequence, Some(position)));
    }
}

/// An answer is a place to begin that the stream can have, or a trouble that fits on one line of a log.
pub(crate) fn greeting(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let after = i64::from(bytes.u16());
    match greeting::answer(bytes.rest(), after) {
        Ok(begins_after) => assert!((0..=after + (1 << 53)).contains(&begins_after)),
        Err(trouble) => {
            let text = trouble.to_string();
            assert!(text.len() < 2_000 && !text.chars().any(char::is_control), "{text:?}");
        }
    }
}
