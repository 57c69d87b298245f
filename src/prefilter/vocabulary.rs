//! Every term of a config, as it is collected → the [`Dictionary`] and the [`Uses`].

use std::cmp::Ordering;

use super::dictionary::{Dictionary, Opened, TooLarge};
use super::normalise::Begins;
use super::rule::Slot;
use super::term::Term;
use super::uses::{Shown, Use, Uses};

/// Terms in the order of the config, most of them once.
///
/// A million of them are sorted, so each is 40 bytes here and its letters lie with all the others'.
#[derive(Default)]
pub(super) struct Vocabulary {
    keys: String,
    entries: Vec<Entry>,
    uses: Uses,
}

struct Entry {
    /// The key's first eight bytes, most significant first: they decide most comparisons.
    head: u64,
    /// In `keys`; counts up with the entries.
    at: u32,
    /// Of the key in bytes, at most `TERM_BYTES_MAX`.
    len: u16,
    exact: bool,
    slot: Slot,
    shown: Shown,
    begins: Begins,
}

impl Vocabulary {
    /// Adds a use of `term`; `exact` where accents count.
    pub(super) fn add(&mut self, term: &Term, slot: Slot, exact: bool) {
        let bytes = term.key.bytes().chain(std::iter::repeat(0));
        self.entries.push(Entry {
            head: bytes.take(8).fold(0, |head, byte| head << 8 | u64::from(byte)),
            at: u32::try_from(self.keys.len()).unwrap_or(u32::MAX),
            len: u16::try_from(term.key.len()).unwrap_or(u16::MAX),
            exact,
            slot,
            shown: self.uses.shown_as(&term.key, &term.shown),
            begins: term.begins,
        });
        self.keys.push_str(&term.key);
    }

    /// Builds both; a term is an anchor where `is_anchor` says so of a slot that it fills.
    ///
    /// # Errors
    ///
    /// The config is beyond what the formats hold.
    pub(super) fn build(self, is_anchor: impl Fn(Slot) -> bool) -> Result<(Dictionary, Uses), TooLarge> {
        let Vocabulary { keys, mut entries, mut uses } = self;
        if u32::try_from(keys.len()).is_err() {
            return Err(TooLarge::Letters);
        }
        let key = |entry: &Entry| {
            let at = entry.at as usize;
            keys.get(at..at + usize::from(entry.len)).unwrap_or_default()
        };
        let by_key = |one: &Entry, other: &Entry| {
            one.head.cmp(&other.head).then_with(|| {
                if one.len.max(other.len) <= 8 { Ordering::Equal } else { key(one).cmp(key(other)) }
            })
        };
        // Of one key the slots count up with the config too, and of one slot the first way to write it is shown.
        entries.sort_unstable_by(|one, other| {
            by_key(one, other).then(one.slot.cmp(&other.slot)).then(one.at.cmp(&other.at))
        });
        let mut building = Dictionary::of(entries.iter().map(|entry| Opened {
            begins: entry.begins,
            is_sign: key(entry).starts_with(['#', '@']),
            is_anchor: is_anchor(entry.slot),
        }))?;
        let mut same = Vec::new();
        for group in entries.chunk_by(|one, other| by_key(one, other) == Ordering::Equal) {
            let Some(first) = group.first() else { continue };
            same.clear();
            for entry in group {
                let meaning = Use { slot: entry.slot, exact: entry.exact, shown: entry.shown };
                if !same.iter().rev().take_while(|other: &&Use| other.slot == meaning.slot).any(|other| {
                    !meaning.exact
                        || uses.spelling(other.shown, key(first)) == uses.spelling(meaning.shown, key(first))
                }) {
                    same.push(meaning);
                }
            }
            building.insert(key(first), uses.keep(&same))?;
        }
        uses.shrink_to_fit();
        Ok((building.finish()?, uses))
    }
}
