//! An event as Jetstream v1 writes it.
//!
//! `cid` comes after `record`; deletions have neither. `cursor` is absent, as on the servers that still run
//! the older code. Everything is appended to one buffer; nothing is formatted that can be copied.

use super::dice::{Dice, Purpose};
use super::identifier::{Did, Tid, push_number, rfc3339};
use super::{EventKind, Script};
use crate::posts::{Conversation, Record, Reference};

/// Events back to which replies, quotes, likes and reposts refer.
const REFERENCE_EVENTS: u32 = 100_000;
/// Age of what is undone, at most: 30 days.
const UNDONE_AGE_S: u32 = 30 * 86_400;
/// Relay sequence numbers stand this far above the index, so that they look like the real ones.
const RELAY_SEQ_BASE: u64 = 31_000_000_000;

impl Script {
    /// Appends event `n`, whose kind is `kind`.
    pub(crate) fn write(&self, n: u64, kind: EventKind, out: &mut Vec<u8>) {
        if kind == EventKind::Background {
            return self.write_background(n, self.background_place(n), out);
        }
        out.extend_from_slice(b"{\"did\":\"");
        out.extend_from_slice(self.did(n, kind).as_bytes());
        out.extend_from_slice(b"\",\"time_us\":");
        push_number(out, u64::try_from(self.time_us(n)).unwrap_or(0));
        match kind {
            EventKind::Identity => self.write_identity(n, out),
            EventKind::Account => self.write_account(n, out),
            EventKind::Deletion => self.write_undoing(n, kind, Purpose::Stranger, out),
            EventKind::Unlike | EventKind::Unfollow => self.write_undoing(n, kind, Purpose::Text, out),
            EventKind::Withdrawal { of } => {
                let rkey = self.identifiers(of).rkey;
                write_commit(self.identifiers(n).rev, "delete", kind, rkey, out);
                out.extend_from_slice(b"}}");
            }
            EventKind::Edit { of } => {
                let (at, earlier) = (self.identifiers(n), self.identifiers(of));
                write_commit(at.rev, "update", kind, earlier.rkey, out);
                self.write_support(of, true, out);
                write_end(at.cid, out);
            }
            EventKind::Repeat { of } => self.write_creation(of, EventKind::Support, out),
            _ => self.write_creation(n, kind, out),
        }
    }

    fn write_creation(&self, n: u64, kind: EventKind, out: &mut Vec<u8>) {
        let identifiers = self.identifiers(n);
        write_commit(identifiers.rev, "create", kind, identifiers.rkey, out);
        let created_at = rfc3339(identifiers.written_us);
        let mut dice = self.draws.texts.of(n);
        match kind {
            EventKind::Support => self.write_support(n, false, out),
            EventKind::Reply { of } => {
                let (template, _) = self.support_text(of, false);
                let parent = self.identifiers(of);
                let parent = Reference { did: self.author(of), rkey: parent.rkey, cid: parent.cid };
                let reply = Record::of_text(&template.language, template.complaint());
                reply.write(&created_at, &Conversation::ReplyTo(parent), out);
            }
            EventKind::Confusing => {
                self.posts.confusing(&mut dice).write(&created_at, &Conversation::Alone, out);
            }
            _ => {
                out.extend_from_slice(b"{\"$type\":\"");
                out.extend_from_slice(kind.collection().unwrap_or_default().as_bytes());
                out.extend_from_slice(b"\",\"createdAt\":\"");
                out.extend_from_slice(&created_at);
                out.extend_from_slice(b"\",\"subject\":");
                match kind {
                    EventKind::Follow | EventKind::Block => {
                        out.push(b'"');
                        out.extend_from_slice(self.reference(n, &mut dice).did.as_bytes());
                        out.push(b'"');
                    }
                    _ => self.reference(n, &mut dice).write(out),
                }
                out.push(b'}');
            }
        }
        write_end(identifiers.cid, out);
    }

    /// A support post's record; its editing keeps `createdAt` and the conversation.
    fn write_support(&self, n: u64, edited: bool, out: &mut Vec<u8>) {
        let (template, text) = self.support_text(n, edited);
        let mut dice = Dice::new(self.mixed_seed(), n, Purpose::Stranger);
        let conversation = self.conversation(n, 10, 3, &mut dice);
        let created_at = rfc3339(self.identifiers(n).written_us);
        Record::of_text(&template.language, &text).write(&created_at, &conversation, out);
    }

    fn write_undoing(&self, n: u64, kind: EventKind, purpose: Purpose, out: &mut Vec<u8>) {
        let mut dice = Dice::new(self.mixed_seed(), n, purpose);
        let made_us = self.timeline.nominal_us(n) - 1_000_000 * i64::from(60 + dice.below(UNDONE_AGE_S));
        let rkey = Tid::new(made_us + i64::from(dice.below(1_000_000)), dice.bits());
        write_commit(self.identifiers(n).rev, "delete", kind, rkey, out);
        out.extend_from_slice(b"}}");
    }

    fn write_identity(&self, n: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"kind\":\"identity\",\"identity\":{\"did\":\"");
        out.extend_from_slice(self.did(n, EventKind::Identity).as_bytes());
        let mut dice = Dice::new(self.mixed_seed(), n, Purpose::Text);
        if dice.percent(50) {
            out.extend_from_slice(b"\",\"handle\":\"user");
            push_number(out, dice.bits() >> 40);
            out.extend_from_slice(b".bsky.social");
        }
        self.write_seq_and_time(n, out);
        out.extend_from_slice(b"\"}}");
    }

    fn write_account(&self, n: u64, out: &mut Vec<u8>) {
        let mut dice = Dice::new(self.mixed_seed(), n, Purpose::Text);
        let status: Option<&[u8]> = match dice.below(8) {
            0 => Some(b"deleted"),
            1 => Some(b"deactivated"),
            2 => Some(b"takendown"),
            _ => None,
        };
        out.extend_from_slice(b",\"kind\":\"account\",\"account\":{\"active\":");
        out.extend_from_slice(if status.is_none() { b"true" } else { b"false" });
        out.extend_from_slice(b",\"did\":\"");
        out.extend_from_slice(self.did(n, EventKind::Account).as_bytes());
        self.write_seq_and_time(n, out);
        if let Some(status) = status {
            out.extend_from_slice(b"\",\"status\":\"");
            out.extend_from_slice(status);
        }
        out.extend_from_slice(b"\"}}");
    }

    fn write_seq_and_time(&self, n: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\",\"seq\":");
        push_number(out, RELAY_SEQ_BASE + n);
        out.extend_from_slice(b",\"time\":\"");
        out.extend_from_slice(&rfc3339(self.identifiers(n).written_us));
    }

    fn conversation(&self, n: u64, replies: u32, quotes: u32, dice: &mut Dice) -> Conversation {
        match dice.below(100) {
            lot if lot < replies => Conversation::ReplyTo(self.reference(n, dice)),
            lot if lot < replies + quotes => Conversation::Quoting(self.reference(n, dice)),
            _ => Conversation::Alone,
        }
    }

    /// Something that happened a little before `n`, addressed as a post whatever it was.
    fn reference(&self, n: u64, dice: &mut Dice) -> Reference {
        let earlier = n.saturating_sub(1 + u64::from(dice.below(REFERENCE_EVENTS)));
        let identifiers = self.identifiers(earlier);
        let did: Did = self.author(earlier);
        Reference { did, rkey: identifiers.rkey, cid: identifiers.cid }
    }
}

/// Appends everything between the time and the record; where revision and record key stand.
pub(super) fn write_commit(
    rev: Tid,
    operation: &str,
    kind: EventKind,
    rkey: Tid,
    out: &mut Vec<u8>,
) -> (usize, usize) {
    out.extend_from_slice(b",\"kind\":\"commit\",\"commit\":{\"rev\":\"");
    let rev_at = out.len();
    out.extend_from_slice(&rev.characters());
    out.extend_from_slice(b"\",\"operation\":\"");
    out.extend_from_slice(operation.as_bytes());
    out.extend_from_slice(b"\",\"collection\":\"");
    out.extend_from_slice(kind.collection().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\",\"rkey\":\"");
    let rkey_at = out.len();
    out.extend_from_slice(&rkey.characters());
    out.push(b'"');
    if operation != "delete" {
        out.extend_from_slice(b",\"record\":");
    }
    (rev_at, rkey_at)
}

/// Appends what comes after the record.
pub(super) fn write_end(cid: super::identifier::Cid, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"cid\":\"");
    out.extend_from_slice(cid.as_bytes());
    out.extend_from_slice(b"\"}}");
}
