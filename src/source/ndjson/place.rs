//! How far a file has been read, and which file: what the ledger stores as the position of such a source.
//!
//! The ledger keeps one number of 63 bits for each source, and never lets it fall. From the highest bit on:
//!
//! | bits | hold |
//! |---|---|
//! | 1 | 1; a number without it is one that an older vigie wrote, of lines alone |
//! | 12 | how often another file has taken the place of the one before, so that its first line comes after all of theirs |
//! | 32 | lines read |
//! | 18 | of their digest, so that another file is told from one that has grown |
//!
//! Inodes would tell less: a file that is copied back is still the same, and one that is written anew in its place
//! is not. The lines that were read are read over at a restart anyhow.

const FILE_BITS: u32 = 12;
const LINE_BITS: u32 = 32;
const DIGEST_BITS: u32 = 18;
const MARK: i64 = 1 << (FILE_BITS + LINE_BITS + DIGEST_BITS);

/// How far which file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// How many files there were before it under this source's name. Stays at its greatest, 4095: then what is
    /// read of later ones may be read again after a restart.
    pub(super) file: u64,
    /// Its lines that were read; beyond 2^32 they count as so many.
    pub(super) lines: u64,
    /// What they held, as [`fold`] sums it up, cut to 18 bits; `None`: an older vigie did not say, or they are too many
    /// to count, so that it is unknown which lines it is of.
    pub(super) digest: Option<u64>,
}

impl Place {
    /// What the ledger has stored.
    pub(super) fn of(position: i64) -> Place {
        let Ok(number) = u64::try_from(position) else { return Place::default() };
        if position & MARK == 0 {
            return Place { lines: number, ..Place::default() };
        }
        let part = |below: u32, bits: u32| number >> below & low(bits);
        let lines = part(DIGEST_BITS, LINE_BITS);
        Place {
            file: part(LINE_BITS + DIGEST_BITS, FILE_BITS),
            lines,
            digest: (lines < low(LINE_BITS)).then_some(part(0, DIGEST_BITS)),
        }
    }

    /// After `lines` lines of the `file`th file, of this whole digest.
    pub(super) fn after(file: u64, lines: u64, digest: u64) -> Place {
        // The highest bits of a product are its best mixed ones.
        Place { file, lines, digest: Some(digest >> (u64::BITS - DIGEST_BITS)) }
    }

    /// What the ledger is to store.
    pub(super) fn position(self) -> i64 {
        let part = |value: u64, bits: u32| value.min(low(bits)).cast_signed();
        MARK | part(self.file, FILE_BITS) << (LINE_BITS + DIGEST_BITS)
            | part(self.lines, LINE_BITS) << DIGEST_BITS
            | part(self.digest.unwrap_or_default(), DIGEST_BITS)
    }
}

/// How many lines of its file a stored `position` speaks of; of a source over TCP, whose positions are such numbers,
/// itself.
pub fn lines_of(position: i64) -> i64 {
    if position & MARK == 0 || position < 0 { position } else { Place::of(position).lines.cast_signed() }
}

/// How much of a line goes into the digest beside its length: the same whatever limit is set on lines.
pub(super) const FOLDED_BYTES_MAX: usize = 64 * 1024;

/// `digest` with one more line of `line_bytes` bytes, of which at least the first [`FOLDED_BYTES_MAX`] are given. Not meant to withstand anybody who looks for two files alike, and the same on any
/// machine and in any version: 8 bytes a step, since every line that is read goes through here.
pub(super) fn fold(digest: u64, line: &[u8], line_bytes: usize) -> u64 {
    let line = line.get(..FOLDED_BYTES_MAX).unwrap_or(line);
    // The golden ratio's fraction, odd: as in Fibonacci hashing.
    let step = |digest: u64, word: u64| {
        (digest.wrapping_add(1) ^ word).rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let (words, rest) = line.as_chunks();
    let digest = words.iter().fold(digest, |digest, word| step(digest, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // The length tells a line's end from what a next line begins with.
    step(step(digest, u64::from_le_bytes(last)), line_bytes as u64)
}

fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_comes_back_as_it_was_stored(
            file in 0..1_u64 << 12, lines in 0..(1_u64 << 32) - 1, digest in any::<u64>(),
        ) {
            let place = Place::after(file, lines, digest);
            prop_assert_eq!(Place::of(place.position()), place);
            prop_assert_eq!(lines_of(place.position()), lines.cast_signed());
        }

        /// The ledger lets no position fall.
        #[test]
        fn later_is_greater(digests in any::<(u64, u64)>(), lines in 0..1_u64 << 31, file in 0..4095_u64) {
            let place = Place::after(file, lines, digests.0).position();
            prop_assert!(place > i64::try_from(lines).unwrap());
            prop_assert!(Place::after(file, lines + 1, digests.1).position() > place);
            prop_assert!(Place::after(file + 1, 0, digests.1).position() > place);
        }
    }

    #[test]
    fn a_number_of_lines_is_one_of_an_older_vigie() {
        let check = |position: i64, lines: u64| {
            assert_eq!(Place::of(position), Place { file: 0, lines, digest: None });
        };
        check(0, 0);
        check(8_000_000_000, 8_000_000_000);
        check(-5, 0);
        assert_eq!(lines_of(1 << 53), 1 << 53);
        assert_eq!(lines_of(-5), -5);
    }

    #[test]
    fn what_is_too_great_stays_at_the_greatest() {
        let place = Place::after(1 << 20, 1 << 40, u64::MAX);
        assert_eq!(place.position(), i64::MAX);
        // The digest is of other lines than the position can tell.
        assert_eq!(Place::of(i64::MAX), Place { file: low(FILE_BITS), lines: low(LINE_BITS), digest: None });
    }

    #[test]
    fn lines_differ_by_what_they_hold_and_where_they_end() {
        let digest =
            |lines: &[&str]| lines.iter().fold(0, |digest, line| fold(digest, line.as_bytes(), line.len()));
        let all = [
            digest(&[]),
            digest(&[""]),
            digest(&["", ""]),
            digest(&["a"]),
            digest(&["a\0"]),
            digest(&["a", ""]),
            digest(&["a", "b"]),
            digest(&["b", "a"]),
            digest(&["ab"]),
            digest(&["12345678"]),
            digest(&["1234567", "8"]),
            digest(&["12345678", "1"]),
        ];
        let different: std::collections::HashSet<_> =
            all.iter().map(|digest| Place::after(0, 0, *digest).digest).collect();
        assert_eq!(different.len(), all.len(), "{all:x?}");
        // Ledgers hold it.
        assert_eq!(digest(&["a post", "another, of more than eight bytes"]), 0x5af2_abe5_ce93_012f);
    }
}
