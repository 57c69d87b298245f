//! The time that a report is about, cut by a wall clock: into hours, days, weeks or months, and by the hour of the week.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit, Zoned, ZonedRound};

/// Hours of a week.
pub(super) const HOURS: usize = 7 * 24;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A moment that cannot be taken for another one, whatever the clocks do.
pub(super) const MOMENT: &str = "%Y-%m-%d %H:%M %:z";

/// How long a stretch is. Chosen so that a report has at most some 160 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Hour,
    Day,
    Week,
    Month,
}

/// Consecutive stretches from `since` to `until`; the first and the last may be cut by these.
#[derive(Debug, Clone)]
pub(super) struct Periods {
    zone: TimeZone,
    length: Length,
    starts: Vec<Zoned>,
    starts_us: Vec<i64>,
}

impl Periods {
    pub(super) fn new(since: Timestamp, until: Timestamp, zone: TimeZone) -> Periods {
        let days = until.duration_since(since).as_hours() / 24;
        let length = match days {
            ..=2 => Length::Hour,
            3..=92 => Length::Day,
            93..=1095 => Length::Week,
            _ => Length::Month,
        };
        let mut starts: Vec<Zoned> = Vec::new();
        let mut next = length.start(since, &zone);
        while let Some(start) = next.filter(|start| start.timestamp() <= until) {
            next = length.after(&start, &zone).filter(|after| *after > start);
            starts.push(start);
        }
        let starts_us = starts.iter().map(|start| start.timestamp().as_microsecond()).collect();
        Periods { zone, length, starts, starts_us }
    }

    /// Their name: `hour`, `day`, `week` or `month`.
    pub(super) fn unit(&self) -> &'static str {
        match self.length {
            Length::Hour => "hour",
            Length::Day => "day",
            Length::Week => "week",
            Length::Month => "month",
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Which one a time is in; before the first one it is the first.
    pub(super) fn place(&self, at_us: i64) -> usize {
        self.starts_us.partition_point(|start| *start <= at_us).saturating_sub(1)
    }

    /// What each is called, in their order: `2026-11-27 09:00`, `2026-11-27` (a week's is its Monday), `2026-11`. Hours
    /// that the clock shows twice say their offset: `2026-10-25 02:00 +01:00`.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let format = match self.length {
            Length::Hour => "%Y-%m-%d %H:%M",
            Length::Day | Length::Week => "%Y-%m-%d",
            Length::Month => "%Y-%m",
        };
        self.starts.iter().map(move |start| {
            let is_twice = self.zone.to_ambiguous_timestamp(start.datetime()).is_ambiguous();
            let format = if self.length == Length::Hour && is_twice { MOMENT } else { format };
            start.strftime(format).to_string()
        })
    }

    /// The hour of the week, from Monday's first, by the clock on the wall.
    pub(super) fn hour(&self, at_us: i64) -> usize {
        let Ok(at) = Timestamp::from_microsecond(at_us) else { return 0 };
        let at = self.zone.to_datetime(at);
        let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
        (24 * day + usize::try_from(at.hour()).unwrap_or(0)).min(HOURS - 1)
    }
}

/// `mon 09`.
pub(super) fn hour_name(hour: usize) -> String {
    format!("{} {:02}", DAYS.get(hour / 24).unwrap_or(&""), hour % 24)
}

impl Length {
    /// When the stretch began that a time is in.
    fn start(self, at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
        let at = at.to_zoned(zone.clone());
        let midnight = |date: Date| date.to_zoned(zone.clone()).ok();
        match self {
            Length::Hour => {
                at.round(ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc)).ok()
            }
            Length::Day => midnight(at.date()),
            Length::Week => {
                let days = i64::from(at.weekday().to_monday_zero_offset());
                midnight(at.date().checked_sub(days.days()).ok()?)
            }
            Length::Month => midnight(at.date().first_of_month()),
        }
    }

    /// When the next one begins. A day is as long as the clocks make it.
    fn after(self, start: &Zoned, zone: &TimeZone) -> Option<Zoned> {
        let date = match self {
            Length::Hour => return start.checked_add(SignedDuration::from_hours(1)).ok(),
            Length::Day => start.date().tomorrow().ok()?,
            Length::Week => start.date().checked_add(7.days()).ok()?,
            Length::Month => start.date().checked_add(1.month()).ok()?,
        };
        date.to_zoned(zone.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn periods(since: &str, until: &str, zone: &str) -> Periods {
        Periods::new(at(since), at(until), TimeZone::get(zone).unwrap())
    }

    #[test]
    fn the_hour_of_the_week_is_that_of_the_clock_on_the_wall() {
        let paris = periods("2026-10-20T00:00:00Z", "2026-11-01T00:00:00Z", "Europe/Paris");
        let check = |text: &str, name: &str| {
            assert_eq!(hour_name(paris.hour(at(text).as_microsecond())), name, "{text}");
        };
        // Saturday in summer time, and a week later in winter time: nine on the wall is seven and eight in UTC.
        check("2026-10-24T07:30:00Z", "sat 09");
        check("2026-10-31T08:30:00Z", "sat 09");
        // The hour that comes twice.
        check("2026-10-25T00:59:59Z", "sun 02");
        check("2026-10-25T01:00:00Z", "sun 02");
        check("2026-10-25T02:00:00Z", "sun 03");
        // Monday has begun in Paris.
        check("2026-10-25T23:00:00Z", "mon 00");
        // Spring: two on the wall never comes.
        check("2026-03-29T00:59:59Z", "sun 01");
        check("2026-03-29T01:00:00Z", "sun 03");
        // Half an hour off UTC.
        let kolkata = periods("2026-10-20T00:00:00Z", "2026-10-21T00:00:00Z", "Asia/Kolkata");
        assert_eq!(hour_name(kolkata.hour(at("2026-10-26T18:30:00Z").as_microsecond())), "tue 00");
    }

    #[test]
    fn a_day_is_as_long_as_the_clocks_make_it() {
        let paris = periods("2026-10-23T12:00:00Z", "2026-10-27T12:00:00Z", "Europe/Paris");
        assert_eq!(paris.unit(), "day");
        let names: Vec<_> = paris.names().collect();
        assert_eq!(names, ["2026-10-23", "2026-10-24", "2026-10-25", "2026-10-26", "2026-10-27"]);
        let hours: Vec<_> =
            paris.starts_us.windows(2).map(|pair| (pair[1] - pair[0]) / 3_600_000_000).collect();
        assert_eq!(hours, [24, 24, 25, 24]);
        let place = |text: &str| paris.place(at(text).as_microsecond());
        assert_eq!(place("2026-10-24T21:59:59Z"), 1);
        assert_eq!(place("2026-10-24T22:00:00Z"), 2);
        assert_eq!(place("2026-10-25T22:59:59Z"), 2);
        assert_eq!(place("2026-10-25T23:00:00Z"), 3);
        assert_eq!((place("1970-01-01T00:00:00Z"), place("2030-01-01T00:00:00Z")), (0, 4));
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_names() {
        let paris = periods("2026-10-24T23:30:00Z", "2026-10-25T03:00:00Z", "Europe/Paris");
        let expected = [
            "2026-10-25 01:00",
            "2026-10-25 02:00 +02:00",
            "2026-10-25 02:00 +01:00",
            "2026-10-25 03:00",
            "2026-10-25 04:00",
        ];
        assert_eq!(paris.names().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_longer_time_has_longer_periods_and_never_many() {
        let check = |since: &str, unit: &str, count: usize, first: &str| {
            let periods = periods(since, "2026-11-27T10:20:00Z", "America/New_York");
            let names: Vec<_> = periods.names().collect();
            assert_eq!((periods.unit(), names.len(), names[0].as_str()), (unit, count, first));
            assert!(periods.starts_us.is_sorted_by(|one, next| one < next));
        };
        check("2026-11-27T09:50:00Z", "hour", 2, "2026-11-27 04:00");
        check("2026-11-25T10:20:00Z", "hour", 49, "2026-11-25 05:00");
        check("2026-11-20T10:20:00Z", "day", 8, "2026-11-20");
        check("2026-08-27T10:20:00Z", "day", 93, "2026-08-27");
        check("2026-08-01T10:20:00Z", "week", 18, "2026-07-27");
        check("2016-11-30T10:20:00Z", "month", 121, "2016-11");
    }
}
