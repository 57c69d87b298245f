//! Posts that are not about the brand: nearly all of a stream, so what the generator costs.
//!
//! Every distinct one is encoded once. An event copies one and writes its own identifiers and times over those
//! of the copy: a frame costs the copying of its bytes and some 130 characters.

use super::Script;
use super::dice::{Dice, Purpose};
use super::encode::{write_commit, write_end};
use super::identifier::{Cid, Did, Tid, decimal, digits, rfc3339};
use super::{EventKind, POST};
use crate::posts::{Conversation, Record, Reference};

/// Frames made of each text, in which it stands in different conversations.
const VARIANTS: usize = 4;
/// Of 100 texts so many stand once as a quote.
const QUOTES_PERCENT: u32 = 20;
/// Characters of a content identifier that are an event's own: 120 bits of 256.
const CID_CHARACTERS: usize = 24;
/// The time that stands in the pool: as long as any from 2001 to 2286.
const TIME_US: u64 = 1_000_000_000_000_000;
const TIME_DIGITS: usize = 16;

/// The distinct background posts, as frames with identifiers that are to be written over.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    at: Places,
}

/// Where things stand in a frame, in bytes: the same in each but for the content identifier, which is at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    did: usize,
    time_us: usize,
    rev: usize,
    rkey: usize,
    created_at: usize,
    /// Counted from the end of the frame: the last characters but one, which is not free.
    cid: usize,
}

impl Pool {
    /// All of `records`, each alone and in conversations; a recorded one has its own and comes once.
    pub(super) fn new(seed: u64, records: &[Record]) -> Pool {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        let mut at = None;
        for (idx, record) in records.iter().enumerate() {
            let variants = if record.is_recorded() { 1 } else { VARIANTS };
            for variant in 0..variants {
                let mut dice = Dice::new(seed, (idx * VARIANTS + variant) as u64, Purpose::Pool);
                let conversation = match variant {
                    // 8 of 17 captured posts were replies.
                    0 | 1 => Conversation::ReplyTo(stranger(&mut dice)),
                    2 if dice.percent(QUOTES_PERCENT) => Conversation::Quoting(stranger(&mut dice)),
                    _ => Conversation::Alone,
                };
                let start = bytes.len();
                at = Some(write_frame(record, &conversation, &mut dice, start, &mut bytes));
                ends.push(bytes.len());
            }
        }
        let at = at.expect("there is a background text");
        Pool { bytes, ends, at }
    }

    /// Frames.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn frame(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[place]]
    }
}

/// A post from before the stream.
fn stranger(dice: &mut Dice) -> Reference {
    let written_us = TIME_US + u64::from(dice.below(u32::MAX));
    let rkey = Tid::new(written_us as i64 * 3 / 2, dice.bits());
    Reference { did: Did::drawn(dice), rkey, cid: Cid::new(dice) }
}

fn write_frame(
    record: &Record,
    conversation: &Conversation,
    dice: &mut Dice,
    start: usize,
    out: &mut Vec<u8>,
) -> Places {
    let (did, tid) = (Did::drawn(dice), Tid::new(0, 0));
    out.extend_from_slice(b"{\"did\":\"");
    let did_at = out.len() - start;
    out.extend_from_slice(did.as_bytes());
    out.extend_from_slice(b"\",\"time_us\":");
    let time_at = out.len() - start;
    out.extend_from_slice(TIME_US.to_string().as_bytes());
    let (rev_at, rkey_at) = write_commit(tid, "create", EventKind::Background, tid, out);
    let record_at = out.len();
    record.write(&rfc3339(0), conversation, out);
    let created = b"{\"$type\":\"\",\"createdAt\":\"".len() + POST.len();
    write_end(Cid::new(dice), out);
    Places {
        did: did_at,
        time_us: time_at,
        rev: rev_at - start,
        rkey: rkey_at - start,
        created_at: record_at + created - start,
        cid: b"\"}}".len() + 1 + CID_CHARACTERS,
    }
}

impl Script {
    /// Which frame of the pool event `n` copies, if it is background.
    pub(super) fn background_place(&self, n: u64) -> usize {
        self.draws.texts.of(n).below(self.pool.len() as u32) as usize
    }

    /// Appends event `n` as a copy of this frame of the pool.
    pub(super) fn write_background(&self, n: u64, place: usize, out: &mut Vec<u8>) {
        let at = self.pool.at;
        let start = out.len();
        out.extend_from_slice(self.pool.frame(place));
        let frame = &mut out[start..];
        put(frame, at.did, self.regular(n).as_bytes());
        let (written_us, rkey) = self.written(n);
        put(frame, at.rkey, &rkey.characters());
        put(frame, at.created_at, &self.day.rfc3339(written_us));
        let mut dice = self.draws.identifiers.of(n);
        put(frame, at.rev, &self.revision(n, &mut dice).characters());
        let cid_at = frame.len() - at.cid;
        for half in frame[cid_at..cid_at + CID_CHARACTERS].chunks_exact_mut(12) {
            digits(dice.bits(), half);
        }
        let time_us = u64::try_from(self.time_us(n)).unwrap_or(0);
        decimal(time_us, &mut frame[at.time_us..at.time_us + TIME_DIGITS]);
        if !(TIME_US..10 * TIME_US).contains(&time_us) {
            // A stream of the distant past or future: its numbers have other lengths.
            let place = start + at.time_us;
            out.splice(place..place + TIME_DIGITS, time_us.to_string().into_bytes());
        }
    }
}

fn put(frame: &mut [u8], at: usize, text: &[u8]) {
    frame[at..at + text.len()].copy_from_slice(text);
}
