//! What a Jetstream does that it should not, as real ones were seen to do, and worse.
//!
//! Each misdeed is drawn from dice of the connection, which are drawn from the seed: the same connections with the
//! same readers see the same lies. Each is counted when it is done, so that a test can prove that it was.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::script::dice::{Dice, Purpose};

/// A kind of misdeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// One frame in so many comes twice.
    Duplicate,
    /// The first so many events after a cursor come twice.
    CursorDuplicate,
    /// So many events after the change from replay to live are never sent on that connection.
    Drop,
    /// So many events before it, at most, come in the opposite order.
    Reorder,
    /// The window reaches back so many seconds, and an older cursor is moved to its beginning without a word.
    Clamp,
    /// In so many cases of 100 the server takes no notice of a cursor and begins live.
    IgnoreCursor,
    /// After so many frames, on average, the server closes with 1001 "server shutting down".
    Close,
    /// After so many frames the connection dies inside a frame.
    HalfFrame,
    /// After so many frames the connection dies between two fragments of a message.
    HalfMessage,
    /// One message in so many comes in three fragments, with a ping between them.
    Fragment,
    /// After so many frames nothing comes any more; pings are answered.
    Quiet,
    /// After so many frames the server neither sends nor reads; TCP stays.
    Dead,
    /// One frame in so many is followed by one of 10 MB.
    Huge,
    /// One frame in so many is followed by one that is not UTF-8.
    InvalidUtf8,
    /// One frame in so many is followed by one with a broken escape.
    BadEscape,
    /// One frame in so many is followed by an event of a kind, operation or collection that does not exist.
    Unknown,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 16] = [
        Lie::Duplicate,
        Lie::CursorDuplicate,
        Lie::Drop,
        Lie::Reorder,
        Lie::Clamp,
        Lie::IgnoreCursor,
        Lie::Close,
        Lie::HalfFrame,
        Lie::HalfMessage,
        Lie::Fragment,
        Lie::Quiet,
        Lie::Dead,
        Lie::Huge,
        Lie::InvalidUtf8,
        Lie::BadEscape,
        Lie::Unknown,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Lie::Duplicate => "duplicate",
            Lie::CursorDuplicate => "cursor-duplicate",
            Lie::Drop => "drop",
            Lie::Reorder => "reorder",
            Lie::Clamp => "clamp",
            Lie::IgnoreCursor => "ignore-cursor",
            Lie::Close => "close",
            Lie::HalfFrame => "half-frame",
            Lie::HalfMessage => "half-message",
            Lie::Fragment => "fragment",
            Lie::Quiet => "quiet",
            Lie::Dead => "dead",
            Lie::Huge => "huge",
            Lie::InvalidUtf8 => "invalid-utf8",
            Lie::BadEscape => "bad-escape",
            Lie::Unknown => "unknown",
        }
    }
}

/// How much a server lies; by default not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lies {
    amounts: [u32; Lie::ALL.len()],
    /// Only the first so many connections are lied to; `None`: all.
    connections_max: Option<u32>,
    /// The first so many frames of the first connection are honest.
    honest_frames: u32,
}

impl Lies {
    /// The same, and this one so much; what the number counts is said at each [`Lie`], 0 is never.
    pub fn with(mut self, lie: Lie, amount: u32) -> Lies {
        if let Some(place) = self.amounts.get_mut(lie as usize) {
            *place = amount;
        }
        self
    }

    /// The same to the first `connections` only; those that come after are served honestly.
    pub fn to_the_first(self, connections: u32) -> Lies {
        Lies { connections_max: Some(connections), ..self }
    }

    /// The same, but nothing about the first `frames` of the first connection, from which a reader may learn what
    /// is usual.
    pub fn after(self, frames: u32) -> Lies {
        Lies { honest_frames: frames, ..self }
    }

    /// Everything at once, to the first 12 connections, at moderate rates.
    pub fn all() -> Lies {
        Lies { connections_max: Some(12), ..Lies::default() }
            .with(Lie::Duplicate, 50)
            .with(Lie::CursorDuplicate, 20)
            .with(Lie::Drop, 150)
            .with(Lie::Reorder, 50)
            .with(Lie::IgnoreCursor, 20)
            .with(Lie::Close, 4_000)
            .with(Lie::HalfFrame, 4_000)
            .with(Lie::HalfMessage, 6_000)
            .with(Lie::Fragment, 100)
            .with(Lie::Quiet, 20_000)
            .with(Lie::Dead, 30_000)
            .with(Lie::Huge, 5_000)
            .with(Lie::InvalidUtf8, 8_000)
            .with(Lie::BadEscape, 500)
            .with(Lie::Unknown, 100)
    }

    pub(super) fn amount(&self, lie: Lie) -> u32 {
        self.amounts.get(lie as usize).copied().unwrap_or_default()
    }

    /// Whether there is anything to draw for.
    pub(super) fn is_honest(&self) -> bool {
        self.amounts == [0; Lie::ALL.len()]
    }
}

impl FromStr for Lies {
    type Err = String;

    /// `all`, or `NAME=AMOUNT` separated by commas.
    fn from_str(text: &str) -> Result<Lies, String> {
        let mut lies = Lies::default();
        for part in text.split(',') {
            if part == "all" {
                lies = Lies::all();
                continue;
            }
            let names = || Lie::ALL.map(Lie::name).join(", ");
            let (name, amount) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is neither all nor NAME=AMOUNT"))?;
            let amount = amount.parse().map_err(|_| format!("{part:?}: {amount:?} is no count"))?;
            if name == "honest-frames" {
                lies.honest_frames = amount;
                continue;
            }
            if name == "connections-max" {
                lies.connections_max = Some(amount);
                continue;
            }
            let lie = Lie::ALL.into_iter().find(|lie| lie.name() == name);
            lies = lies.with(
                lie.ok_or_else(|| {
                    format!("{name:?} is none of {}, connections-max, honest-frames", names())
                })?,
                amount,
            );
        }
        Ok(lies)
    }
}

/// Events that are remembered as sent, at most: beyond it a test would have to count another way.
const SENT_MAX: usize = 4_000_000;

/// What a server has done so far.
#[derive(Debug)]
pub(super) struct Record {
    lies: Lies,
    seed: u64,
    connections: AtomicU64,
    injected: AtomicU64,
    done: [AtomicU64; Lie::ALL.len()],
    begun: Mutex<HashSet<u64>>,
    sent: Mutex<HashSet<u64>>,
}

impl Record {
    pub(super) fn new(lies: Lies, seed: u64) -> Record {
        Record {
            lies,
            seed,
            connections: AtomicU64::new(0),
            injected: AtomicU64::new(0),
            done: Default::default(),
            begun: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    /// For the next connection; `None` if there is nothing to lie about.
    pub(super) fn liar(&self) -> Option<Liar<'_>> {
        if self.lies.is_honest() {
            return None;
        }
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let is_lied_to = self.lies.connections_max.is_none_or(|most| connection < u64::from(most));
        let lies = if is_lied_to { self.lies } else { Lies::default() };
        let honest_frames = if connection == 0 { self.lies.honest_frames } else { 0 };
        Some(Liar { dice: Dice::new(self.seed, connection, Purpose::Lie), lies, honest_frames, record: self })
    }

    pub(super) fn count(&self, lie: Lie, times: u64) {
        if let Some(done) = self.done.get(lie as usize) {
            done.fetch_add(times, Ordering::Relaxed);
        }
    }

    pub(super) fn done(&self, lie: Lie) -> u64 {
        self.done.get(lie as usize).map_or(0, |done| done.load(Ordering::Relaxed))
    }

    /// These events are about to be written: from now on the reader may have them.
    pub(super) fn begun(&self, events: &[u64]) {
        remember(&self.begun, events);
    }

    /// These events were written whole.
    pub(super) fn sent(&self, events: &[u64]) {
        remember(&self.sent, events);
    }

    pub(super) fn all_begun(&self) -> HashSet<u64> {
        self.begun.lock().expect("nobody panics with it").clone()
    }

    pub(super) fn all_sent(&self) -> HashSet<u64> {
        self.sent.lock().expect("nobody panics with it").clone()
    }
}

fn remember(place: &Mutex<HashSet<u64>>, events: &[u64]) {
    let mut place = place.lock().expect("nobody panics with it");
    if place.len() < SENT_MAX {
        place.extend(events);
    }
}

impl fmt::Display for Record {
    /// `lies told: close 3, duplicate 17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<_> = Lie::ALL
            .into_iter()
            .filter(|lie| self.done(*lie) > 0)
            .map(|lie| format!("{} {}", lie.name(), self.done(lie)))
            .collect();
        write!(f, "lies told: {}", if told.is_empty() { "none".to_owned() } else { told.join(", ") })
    }
}

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a close frame.
    Close,
    /// After these bytes, without a word.
    Cut(Vec<u8>),
    /// It does not, but nothing comes.
    Quiet,
    /// The same, and nothing is read.
    Dead,
    /// Its reader leaves, if it reads text as text.
    Poisoned,
}

/// The lies of one connection.
#[derive(Debug)]
pub(super) struct Liar<'s> {
    dice: Dice,
    lies: Lies,
    /// Frames that are still served honestly.
    honest_frames: u32,
    pub(super) record: &'s Record,
}

impl Liar<'_> {
    /// What the amount says of a lie that is told once a connection.
    pub(super) fn amount(&self, lie: Lie) -> u64 {
        u64::from(self.lies.amount(lie))
    }

    /// Whether the cursor goes unheard.
    pub(super) fn ignores_cursor(&mut self) -> bool {
        self.dice.percent(self.lies.amount(Lie::IgnoreCursor))
    }

    /// Whether it is time for this one.
    pub(super) fn tells(&mut self, lie: Lie) -> bool {
        let every = self.lies.amount(lie);
        let tells = every > 0 && self.honest_frames == 0 && self.dice.below(every) == 0;
        self.record.count(lie, u64::from(tells));
        tells
    }

    /// How the connection ends before `frame`, if it does.
    pub(super) fn ending(&mut self, frame: &[u8]) -> Option<Ending> {
        self.honest_frames = self.honest_frames.saturating_sub(1);
        if self.tells(Lie::Close) {
            return Some(Ending::Close);
        }
        if self.tells(Lie::HalfFrame) {
            let mut bytes = header(true, TEXT, frame.len());
            bytes.extend(frame.get(..frame.len() / 2).unwrap_or_default());
            return Some(Ending::Cut(bytes));
        }
        if self.tells(Lie::HalfMessage) {
            let (first, _) = frame.split_at(frame.len() / 2);
            let mut bytes = header(false, TEXT, first.len());
            bytes.extend(first);
            return Some(Ending::Cut(bytes));
        }
        if self.tells(Lie::Quiet) {
            return Some(Ending::Quiet);
        }
        self.tells(Lie::Dead).then_some(Ending::Dead)
    }

    /// A message that is no event of the script, and whether it ends the connection. No two are the same.
    pub(super) fn intruder(&mut self, time_us: i64) -> Option<(Vec<u8>, bool)> {
        let number = self.record.injected.fetch_add(1, Ordering::Relaxed);
        let post = |text: &str| {
            format!(
                r#"{{"did":"did:plc:liar{number}","time_us":{time_us},"kind":"commit","commit":{{"rev":"3l3qo2vutsw2b","operation":"create","collection":"app.bsky.feed.post","rkey":"3l3qo2vuowo2b","record":{{"$type":"app.bsky.feed.post","createdAt":"2026-07-04T14:38:00Z","text":"{text}"}},"cid":"bafyreiliar"}}}}"#
            )
        };
        if self.tells(Lie::Huge) {
            return Some((post(&"x".repeat(HUGE_BYTES)).into_bytes(), false));
        }
        if self.tells(Lie::InvalidUtf8) {
            let mut bytes = post("cut ").into_bytes();
            if let Some(middle) = bytes.iter().position(|byte| *byte == b' ') {
                bytes.splice(middle..middle + 1, [0xc3, 0x28, 0xff]);
            }
            return Some((bytes, true));
        }
        if self.tells(Lie::BadEscape) {
            return Some((post(r"\u12 \x").into_bytes(), false));
        }
        if self.tells(Lie::Unknown) {
            let event = match number % 3 {
                0 => format!(
                    r#"{{"did":"did:plc:liar{number}","time_us":{time_us},"kind":"weather","weather":{{"rain":true}}}}"#
                ),
                1 => post("later").replace(r#""create""#, r#""rename""#),
                _ => post("elsewhere").replace("app.bsky.feed.post", "app.example.feed.thought"),
            };
            return Some((event.into_bytes(), false));
        }
        None
    }

    /// The message in three fragments, if this one comes so.
    pub(super) fn fragments(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if !self.tells(Lie::Fragment) {
            return None;
        }
        let (first, rest) = frame.split_at(frame.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let mut bytes = header(false, TEXT, first.len());
        bytes.extend(first);
        // A control frame may come between fragments: RFC 6455, 5.4.
        bytes.extend(header(true, PING, 0));
        bytes.extend(header(false, CONTINUATION, second.len()));
        bytes.extend(second);
        bytes.extend(header(true, CONTINUATION, third.len()));
        bytes.extend(third);
        Some(bytes)
    }
}

const HUGE_BYTES: usize = 10_000_000;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const PING: u8 = 9;

/// A frame's header as a server writes it.
fn header(is_final: bool, opcode: u8, length: usize) -> Vec<u8> {
    let mut header = vec![u8::from(is_final) << 7 | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => header.push(short),
        (_, Ok(middle)) => {
            header.push(126);
            header.extend(middle.to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend((length as u64).to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_are_read_as_typed_and_a_wrong_one_is_named() {
        let lies: Lies = "close=5,drop=100,connections-max=3".parse().unwrap();
        assert_eq!(
            (lies.amount(Lie::Close), lies.amount(Lie::Drop), lies.connections_max),
            (5, 100, Some(3))
        );
        assert_eq!("all,close=7".parse(), Ok(Lies::all().with(Lie::Close, 7)));
        assert!(Lies::default().is_honest() && !lies.is_honest());
        for (wrong, expected) in [("closing=5", "half-frame"), ("close", "NAME=AMOUNT"), ("close=x", "\"x\"")]
        {
            assert!(wrong.parse::<Lies>().unwrap_err().contains(expected), "{wrong}");
        }
    }

    #[test]
    fn the_same_seed_tells_the_same_lies_to_the_first_connections() {
        let told = |seed, connections_max| {
            let lies = Lies { connections_max, ..Lies::all() };
            let record = Record::new(lies, seed);
            for _ in 0..4 {
                let mut liar = record.liar().unwrap();
                for n in 0..20_000 {
                    liar.ending(b"{}");
                    liar.intruder(n);
                    liar.fragments(b"{}");
                }
            }
            Lie::ALL.map(|lie| record.done(lie))
        };
        assert_eq!(told(1, None), told(1, None));
        assert_ne!(told(1, None), told(2, None));
        let (all, half) = (told(1, None), told(1, Some(2)));
        for lie in [Lie::Close, Lie::Fragment, Lie::Unknown] {
            let (all, half) = (all[lie as usize], half[lie as usize]);
            assert!(half > 0 && half < all, "{lie:?}: {half} of {all}");
        }
    }
}
