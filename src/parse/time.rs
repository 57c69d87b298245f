//! The networks' ways of writing a time. A time that cannot be read is no reason to lose a post: `None`.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimeParser;

static RFC3339: DateTimeParser = DateTimeParser::new();

/// `2024-09-09T19:46:02.102Z`, any offset, up to nanoseconds (RFC 3339). A time without offset is none.
pub(super) fn rfc3339(time: &str) -> Option<Timestamp> {
    RFC3339.parse_timestamp(time).ok()
}

/// `Wed Oct 10 20:19:24 +0000 2018`, as X's API v1.1 writes it.
pub(super) fn x_v1(time: &str) -> Option<Timestamp> {
    Timestamp::strptime("%a %b %d %H:%M:%S %z %Y", time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
