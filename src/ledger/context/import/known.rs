//! What an import remembers of its own rows, in little memory: who was in the file, and what was surely never there.

use std::hash::{BuildHasher, BuildHasherDefault, Hash};

use rustc_hash::{FxHashMap, FxHasher};

/// Customers whose lines are kept together.
const PAGE_CUSTOMERS: i64 = 1024;

/// The line of the file in which each customer was, by `customer.id`: 4 bytes each, since ids are given in a row.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pages: FxHashMap<i64, Vec<u32>>,
}

impl Seen {
    /// Notes the line; the first one stays. Lines from 2^32 on are told as that.
    pub(super) fn note(&mut self, id: i64, line: u64) {
        let page = self
            .pages
            .entry(id.div_euclid(PAGE_CUSTOMERS))
            .or_insert_with(|| vec![0; PAGE_CUSTOMERS.unsigned_abs() as usize]);
        if let Some(place) = page.get_mut(place(id)).filter(|place| **place == 0) {
            *place = u32::try_from(line).unwrap_or(u32::MAX).max(1);
        }
    }

    /// The line in which this customer was.
    pub(super) fn line(&self, id: i64) -> Option<u64> {
        let line = *self.pages.get(&id.div_euclid(PAGE_CUSTOMERS))?.get(place(id))?;
        (line > 0).then_some(u64::from(line))
    }
}

fn place(id: i64) -> usize {
    id.rem_euclid(PAGE_CUSTOMERS).unsigned_abs() as usize
}

/// Words of 64 bits in a [`Filter`]: 16 MiB, which is 9 bits for each of five million customers with two accounts.
const WORDS: usize = 1 << 21;
/// Words that one item's bits lie in: a line of the processor's cache.
const BLOCK_WORDS: usize = 8;
/// Bits of an item.
const BITS: usize = 4;

/// What may have been written, of an import that began with empty tables: what is not in here needs no look-up. A Bloom
/// filter whose bits for one item lie together (Putze, Sanders, Singler, *Cache-, Hash- and Space-Efficient Bloom
/// Filters*, 2007).
///
/// One that is full costs look-ups, and says nothing wrong.
#[derive(Debug)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    pub(super) fn new() -> Filter {
        Filter { words: vec![0; WORDS] }
    }

    /// Adds the item; whether it may have been there.
    pub(super) fn add(&mut self, item: impl Hash) -> bool {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(item);
        // That hasher's upper bits are its good ones, and the multiplication makes others of them.
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let block = (mixed >> 40) as usize % (WORDS / BLOCK_WORDS) * BLOCK_WORDS;
        let mut was_there = true;
        for which in 0..BITS {
            let bit = (mixed >> (which * 9)) as usize & 511;
            if let Some(word) = self.words.get_mut(block + bit / 64) {
                let mask = 1 << (bit % 64);
                was_there &= *word & mask != 0;
                *word |= mask;
            }
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_customer_is_kept() {
        let mut seen = Seen::default();
        for (id, line) in [(1, 7), (5_000_000, 8), (1, 9), (-3, 10), (2, u64::MAX)] {
            seen.note(id, line);
        }
        let lines = [1, 5_000_000, -3, 2, 3, 1025].map(|id| seen.line(id));
        assert_eq!(lines, [Some(7), Some(8), Some(10), Some(u64::from(u32::MAX)), None, None]);
    }

    #[test]
    fn what_was_added_is_always_there_and_other_things_nearly_never() {
        let mut filter = Filter::new();
        let wrong = (0..1_000_000).filter(|n| filter.add(("key", format!("C{n}")))).count();
        assert!((0..1_000_000).all(|n| filter.add(("key", format!("C{n}")))));
        assert!(wrong < 1000, "{wrong} were said to be there");
    }
}
