//! The networks' ways of writing a time. A time that cannot be read is no reason to lose a post: `None`.
//!
//! The networks' own spelling is read by place, which costs a fifth of what jiff's parsers cost; these are asked
//! about every other.

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::fmt::rfc2822;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::Offset;

static RFC3339: DateTimeParser = DateTimeParser::new();
static RFC2822: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();

/// `2024-09-09T19:46:02.102Z`, any offset, up to nanoseconds (RFC 3339). A time without offset is none.
pub(super) fn rfc3339(time: &str) -> Option<Timestamp> {
    utc(time.as_bytes()).or_else(|| RFC3339.parse_timestamp(time).ok())
}

/// `Wed Oct 10 20:19:24 +0000 2018`, as X's API v1.1 writes it.
pub(super) fn x_v1(time: &str) -> Option<Timestamp> {
    x_utc(time.as_bytes()).or_else(|| Timestamp::strptime("%a %b %d %H:%M:%S %z %Y", time).ok())
}

/// Any of the forms that people's exports have: RFC 3339, X's, and `Mon, 09 Sep 2024 19:46:02 +0000` (RFC 2822).
pub(super) fn usual(time: &str) -> Option<Timestamp> {
    rfc3339(time).or_else(|| x_v1(time)).or_else(|| RFC2822.parse_timestamp(time).ok())
}

/// `2024-09-09T19:46:02.102Z`, with milliseconds or none.
fn utc(time: &[u8]) -> Option<Timestamp> {
    let (seconds, fraction) = time.split_at_checked(19)?;
    let nanosecond = match fraction {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if digits.len() == 3 => number(digits)? * 1_000_000,
        _ => return None,
    };
    let &[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', ref clock @ ..] = seconds else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let date = Date::new(year.try_into().ok()?, two(mo1, mo2)?, two(d1, d2)?).ok()?;
    Offset::UTC.to_timestamp(date.to_datetime(time_of_day(clock, nanosecond)?)).ok()
}

/// The form that X writes, with no other offset than it writes.
fn x_utc(time: &[u8]) -> Option<Timestamp> {
    let (day, clock) = time.split_at_checked(11)?;
    let (clock, year) = clock.split_at_checked(8)?;
    let year = number(year.strip_prefix(b" +0000 ").filter(|year| year.len() == 4)?)?;
    let &[w1, w2, w3, b' ', mo1, mo2, mo3, b' ', d1, d2, b' '] = day else {
        return None;
    };
    let months = b"JanFebMarAprMayJunJulAugSepOctNovDec".as_chunks::<3>().0;
    let month = months.iter().position(|month| *month == [mo1, mo2, mo3])? + 1;
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, two(d1, d2)?).ok()?;
    let weekday = match date.weekday() {
        Weekday::Monday => b"Mon",
        Weekday::Tuesday => b"Tue",
        Weekday::Wednesday => b"Wed",
        Weekday::Thursday => b"Thu",
        Weekday::Friday => b"Fri",
        Weekday::Saturday => b"Sat",
        Weekday::Sunday => b"Sun",
    };
    if *weekday != [w1, w2, w3] {
        return None;
    }
    Offset::UTC.to_timestamp(date.to_datetime(time_of_day(clock, 0)?)).ok()
}

/// `19:46:02`
fn time_of_day(clock: &[u8], nanosecond: i32) -> Option<Time> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = clock else {
        return None;
    };
    Time::new(two(h1, h2)?, two(m1, m2)?, two(s1, s2)?, nanosecond).ok()
}

fn two(tens: u8, ones: u8) -> Option<i8> {
    number(&[tens, ones])?.try_into().ok()
}

fn number(digits: &[u8]) -> Option<i32> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_read_by_place_are_those_that_jiff_reads(
            second in -62_135_596_800_i64..253_402_300_799,
            millisecond in 0..1000_u32,
            change in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(b"0123456789 :-+TZ.Ja".to_vec()))),
        ) {
            let at = Timestamp::new(second, millisecond as i32 * if second < 0 { -1_000_000 } else { 1_000_000 }).unwrap();
            let zoned = at.to_zoned(jiff::tz::TimeZone::UTC);
            for format in ["%Y-%m-%dT%H:%M:%S.%3fZ", "%Y-%m-%dT%H:%M:%SZ", "%a %b %d %H:%M:%S +0000 %Y"] {
                let mut time = zoned.strftime(format).to_string().into_bytes();
                if let Some((place, byte)) = &change {
                    let place = place.index(time.len());
                    time[place] = *byte;
                }
                if let Some(read) = utc(&time) {
                    prop_assert_eq!(RFC3339.parse_timestamp(&time).ok(), Some(read));
                }
                if let Some(read) = x_utc(&time) {
                    let jiffs = Timestamp::strptime("%a %b %d %H:%M:%S %z %Y", &time).ok();
                    prop_assert_eq!(jiffs, Some(read));
                }
                let is_read = utc(&time).or(x_utc(&time)).is_some();
                prop_assert!(is_read || change.is_some() || second < 0, "{:?}", String::from_utf8_lossy(&time));
            }
        }
    }

    fn check(read: fn(&str) -> Option<Timestamp>, time: &str, second: Option<i64>) {
        assert_eq!(read(time).map(Timestamp::as_second), second, "{time}");
    }

    #[test]
    fn rfc3339_is_read_with_any_offset_and_precision() {
        check(rfc3339, "1970-01-01T00:00:10Z", Some(10));
        check(rfc3339, "1970-01-01T01:00:10.123456789+01:00", Some(10));
        check(rfc3339, "2026-07-04T14:38:02+00:00", Some(1_783_175_882));
        check(rfc3339, "2024-09-09T19:46:02.102Z", Some(1_725_911_162));
        assert_eq!(
            rfc3339("2024-09-09T19:46:02.102Z").map(|t| t.as_microsecond()),
            Some(1_725_911_162_102_000)
        );
    }

    #[test]
    fn x_v1_times_are_read() {
        check(x_v1, "Wed Oct 10 20:19:24 +0000 2018", Some(1_539_202_764));
        check(x_v1, "Thu Jan 01 01:00:10 +0100 1970", Some(10));
    }

    #[test]
    fn a_time_that_is_none_reads_as_none() {
        for time in ["", "now", "2024-09-09T19:46:02", "2024-02-30T00:00:00Z", "99999-01-01T00:00:00Z", "é"]
        {
            check(rfc3339, time, None);
            check(x_v1, time, None);
        }
        check(x_v1, "Wed Oct 32 20:19:24 +0000 2018", None);
    }
}
