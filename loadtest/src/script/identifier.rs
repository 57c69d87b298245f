//! Bluesky's identifiers, made from random bits: DIDs, TIDs, content identifiers, RFC 3339 times.
//!
//! Formats: <https://atproto.com/specs/did>, <https://atproto.com/specs/tid>, CIDv1 of multiformats.

use super::dice::{Dice, Purpose};

/// The alphabet of RFC 4648 base32 in lower case, for DIDs and content identifiers.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The sortable alphabet of TIDs.
const BASE32_SORTABLE: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

const DAY_US: i64 = 86_400_000_000;

/// Two digits at a time, the low one first: half the look-ups.
const BASE32_PAIRS: [[u8; 2]; 1_024] = pairs(BASE32);
const SORTABLE_PAIRS: [[u8; 2]; 1_024] = pairs(BASE32_SORTABLE);
const DECIMAL_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

const fn pairs(alphabet: &[u8; 32]) -> [[u8; 2]; 1_024] {
    let mut pairs = [[0; 2]; 1_024];
    let mut bits = 0;
    while bits < 1_024 {
        pairs[bits] = [alphabet[bits & 31], alphabet[bits >> 5]];
        bits += 1;
    }
    pairs
}

/// A `did:plc:` identifier: 8 characters of prefix and 24 of base32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Did([u8; 32]);

impl Did {
    /// The DID of the account with this rank, or of a stranger.
    pub(crate) fn new(seed: u64, rank: u64, purpose: Purpose) -> Did {
        Did::drawn(&mut Dice::new(seed, rank, purpose))
    }

    /// The DID that these draws make.
    pub(crate) fn drawn(dice: &mut Dice) -> Did {
        let mut did = *b"did:plc:________________________";
        for half in did[8..].chunks_exact_mut(12) {
            digits(dice.bits(), half);
        }
        Did(did)
    }

    /// The characters.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The characters as text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("every byte comes from an ASCII alphabet")
    }
}

/// A timestamp identifier: 53 bits of microseconds since 1970 and 10 bits of clock identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tid(u64);

impl Tid {
    /// The identifier of this instant; times before 1970 count as 1970.
    pub(crate) fn new(at_us: i64, clock: u64) -> Tid {
        let micros = u64::try_from(at_us).unwrap_or(0) & ((1 << 53) - 1);
        Tid((micros << 10) | (clock & 0x3ff))
    }

    /// Its 13 characters.
    pub(crate) fn characters(self) -> [u8; 13] {
        let mut characters = [0; 13];
        let mut bits = self.0;
        for pair in characters.rchunks_exact_mut(2) {
            let [low, high] = SORTABLE_PAIRS[(bits & 1_023) as usize];
            pair.copy_from_slice(&[high, low]);
            bits >>= 10;
        }
        characters[0] = BASE32_SORTABLE[(bits & 31) as usize];
        characters
    }

    /// Reads 13 characters; `None` if they are none of ours.
    pub(crate) fn parse(text: &str) -> Option<Tid> {
        let digit = |byte: u8| BASE32_SORTABLE.iter().position(|known| *known == byte);
        // The first of the 13 has one bit to spare less than the others: 65 bits do not fit.
        if text.len() != 13 || text.bytes().next().and_then(digit)? >= 16 {
            return None;
        }
        text.bytes().try_fold(0, |bits, byte| Some((bits << 5) | digit(byte)? as u64)).map(Tid)
    }

    /// Microseconds since 1970, and the clock identifier.
    pub(crate) fn parts(self) -> (i64, u64) {
        ((self.0 >> 10) as i64, self.0 & 0x3ff)
    }
}

/// A CIDv1 of a DAG-CBOR record, SHA-256: 59 characters.
#[derive(Clone, Copy)]
pub(crate) struct Cid([u8; 59]);

impl Cid {
    /// Takes the 256 bits of the digest from `dice`.
    pub(crate) fn new(dice: &mut Dice) -> Cid {
        let mut cid = *b"bafyrei____________________________________________________";
        for part in cid[7..].chunks_mut(12) {
            digits(dice.bits(), part);
        }
        // 0x01 0x71 0x12 0x20 and 32 bytes are 288 bits, 58 characters are 290: the first of ours carries two
        // bits of the prefix, all zero, and the last one ends in two bits of padding, also zero.
        let last = dice.bits();
        cid[7] = BASE32[(last & 0b00111) as usize];
        cid[58] = BASE32[((last >> 8) & 0b11100) as usize];
        Cid(cid)
    }

    /// The characters.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `2026-07-04T14:38:08.999Z`, as Bluesky's applications write it.
pub(crate) fn rfc3339(at_us: i64) -> [u8; 24] {
    Day::of(at_us).rfc3339(at_us)
}

/// A day's date, so that the times of one day need no calendar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Day {
    /// Since 1970.
    day: i64,
    /// Year, month and day of the month.
    date: [u8; 10],
}

impl Day {
    /// The day of this instant.
    pub(crate) fn of(at_us: i64) -> Day {
        let day = at_us.div_euclid(DAY_US);
        let (year, month, day_of_month) = civil(day);
        let mut date = *b"0000-00-00";
        decimal(year, &mut date[0..4]);
        decimal(month, &mut date[5..7]);
        decimal(day_of_month, &mut date[8..10]);
        Day { day, date }
    }

    /// As [`rfc3339`]; cheap for the instants of this day.
    pub(crate) fn rfc3339(&self, at_us: i64) -> [u8; 24] {
        let date = if at_us.div_euclid(DAY_US) == self.day { self.date } else { Day::of(at_us).date };
        let in_day_ms = at_us.rem_euclid(DAY_US) as u64 / 1_000;
        let (in_minute_ms, minutes) = (in_day_ms % 60_000, in_day_ms / 60_000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        text[0..10].copy_from_slice(&date);
        decimal(minutes / 60, &mut text[11..13]);
        decimal(minutes % 60, &mut text[14..16]);
        decimal(in_minute_ms / 1_000, &mut text[17..19]);
        decimal(in_minute_ms % 1_000, &mut text[20..23]);
        text
    }
}

/// Appends `number` in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let width = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let from = out.len();
    out.resize(from + width, b'0');
    decimal(number, &mut out[from..]);
}

/// Year, month and day of a day since 1970 (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
pub(crate) fn civil(day: i64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u64;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era as i64 + era * 400 + i64::from(month <= 2);
    (year.unsigned_abs(), month, day_of_month)
}

/// Fills `out` with the last digits of `number`.
#[inline]
pub(crate) fn decimal(mut number: u64, out: &mut [u8]) {
    let mut pairs = out.rchunks_exact_mut(2);
    for pair in &mut pairs {
        pair.copy_from_slice(&DECIMAL_PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if let [digit] = pairs.into_remainder() {
        *digit = b'0' + (number % 10) as u8;
    }
}

/// Fills `out`, an even number of characters, with the lowest bits of `bits`, the lowest first.
#[inline]
pub(crate) fn digits(mut bits: u64, out: &mut [u8]) {
    for pair in out.chunks_exact_mut(2) {
        pair.copy_from_slice(&BASE32_PAIRS[(bits & 1_023) as usize]);
        bits >>= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_did_is_24_base32_characters_after_its_method() {
        let did = Did::new(1, 2, Purpose::Did);
        let (method, rest) = did.as_str().split_at(8);
        assert_eq!(method, "did:plc:");
        assert!(rest.len() == 24 && rest.bytes().all(|byte| BASE32.contains(&byte)), "{rest}");
    }

    #[test]
    fn a_tid_is_the_one_that_the_network_writes_for_that_instant() {
        // 1725911162329 ms is in the documentation of Jetstream with record keys that begin 3l3qo2.
        assert!(text(&Tid::new(1_725_911_162_329_308, 0).characters()).starts_with("3l3qo2"));
        assert!(Tid::new(5, 1_023) < Tid::new(6, 0));
        assert_eq!(text(&Tid::new(0, 0).characters()), "2222222222222");
        for tid in [Tid::new(1_725_911_162_329_308, 1_023), Tid::new(0, 0), Tid::new((1 << 53) - 1, 1)] {
            assert_eq!(Tid::parse(text(&tid.characters())), Some(tid));
        }
        for wrong in ["", "222222222222", "22222222222222", "zzzzzzzzzzzzz", "222222222222A"] {
            assert_eq!(Tid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cid_is_59_characters_whose_padding_is_zero() {
        for index in 0..100 {
            let cid = Cid::new(&mut Dice::new(3, index, Purpose::Identifiers));
            let cid = text(cid.as_bytes());
            assert_eq!(cid.len(), 59);
            assert!(cid.starts_with("bafyrei"), "{cid}");
            assert!("abcdefgh".contains(&cid[7..8]), "{cid}");
            assert!("aeimquy4".contains(&cid[58..]), "{cid}");
        }
    }

    #[test]
    fn times_read_as_a_calendar_library_writes_them() {
        for at_us in
            [0, 1_783_175_888_085_434, 951_782_399_999_999, 951_868_800_000_000, 4_102_444_800_000_000]
        {
            let expected = jiff::Timestamp::from_microsecond(at_us / 1_000 * 1_000).unwrap();
            assert_eq!(text(&rfc3339(at_us)), format!("{expected:.3}"));
        }
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 9, 10, 1_783_175_888_085_434, u64::MAX] {
            let mut out = b"x".to_vec();
            push_number(&mut out, number);
            assert_eq!(text(&out), format!("x{number}"));
        }
    }
}
