//! Hours of a week, as people write them: `mon-fri 08:00-18:00, sat 09:00-13:00`.
//!
//! Opening hours, an agent's shifts, the hours of a rule. Hours are those of a wall clock; which one is the caller's
//! to say, and what a clock does when the season changes is the time zone's.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Weekday};

/// Minutes of a day.
pub(super) const DAY_MIN: u16 = 24 * 60;
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Which hours of the week; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Week {
    /// Of each day from Monday on: first minute and the one after the last, in order, none touching the next.
    days: [Vec<(u16, u16)>; 7],
}

impl Week {
    /// Every hour of every day.
    pub fn always() -> Week {
        Week { days: std::array::from_fn(|_| vec![(0, DAY_MIN)]) }
    }

    /// Whether the wall clock shows one of these hours.
    pub fn contains(&self, at: DateTime) -> bool {
        let minute = minute_of(at);
        self.day(at.weekday()).iter().any(|(from, to)| (*from..*to).contains(&minute))
    }

    /// The spans of this day, minutes from midnight: first, and the one after the last, which may be 1440.
    pub fn day(&self, weekday: Weekday) -> &[(u16, u16)] {
        let day = usize::from(weekday.to_monday_zero_offset().unsigned_abs());
        self.days.get(day).map_or(&[], Vec::as_slice)
    }

    /// Whether every hour of `other` is one of these.
    pub fn covers(&self, other: &Week) -> bool {
        self.days.iter().zip(&other.days).all(|(ours, theirs)| {
            theirs.iter().all(|(from, to)| ours.iter().any(|(start, end)| start <= from && to <= end))
        })
    }

    /// Adds a span of a day; one that ends before it begins goes on into the next day.
    fn add(&mut self, day: usize, from: u16, to: u16) {
        if from < to {
            self.days[day].push((from, to));
        } else {
            self.days[day].push((from, DAY_MIN));
            if to > 0 {
                self.days[(day + 1) % 7].push((0, to));
            }
        }
    }

    /// Joins what overlaps or touches.
    fn tidy(&mut self) {
        for day in &mut self.days {
            day.sort_unstable();
            let mut joined: Vec<(u16, u16)> = Vec::with_capacity(day.len());
            for (from, to) in day.drain(..) {
                match joined.last_mut() {
                    Some(last) if from <= last.1 => last.1 = last.1.max(to),
                    _ => joined.push((from, to)),
                }
            }
            *day = joined;
        }
    }
}

fn minute_of(at: DateTime) -> u16 {
    u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs())
}

/// Why a text names no hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: must be days and hours, such as \"mon-fri 08:00-18:00, sat 09:00-13:00\" or \"always\"")]
pub struct NoWeek(String);

impl FromStr for Week {
    type Err = NoWeek;

    fn from_str(text: &str) -> Result<Week, NoWeek> {
        if text.trim().eq_ignore_ascii_case("always") {
            return Ok(Week::always());
        }
        let mut week = Week { days: Default::default() };
        for part in text.split([',', ';']) {
            let (days, from, to) = span(part).ok_or_else(|| NoWeek(part.trim().to_owned()))?;
            days.into_iter().for_each(|day| week.add(day, from, to));
        }
        week.tidy();
        Ok(week)
    }
}

/// `mon-fri 08:00-18:00`, or either half alone: all days, the whole day.
fn span(part: &str) -> Option<(Vec<usize>, u16, u16)> {
    let part = part.trim().to_ascii_lowercase();
    let (days, hours) = match part.split_once(char::is_whitespace) {
        Some((days, hours)) => (Some(days), Some(hours.trim())),
        None if part.starts_with(|first: char| first.is_ascii_digit()) => (None, Some(part.as_str())),
        None => (Some(part.as_str()), None),
    };
    let days = days.map_or_else(|| Some((0..7).collect()), days_of)?;
    let (from, to) = match hours {
        None => (0, DAY_MIN),
        Some(hours) => {
            let (from, to) = hours.split_once('-')?;
            (minute(from)?, minute(to)?)
        }
    };
    // Hours of no length would be all or none: nobody can tell which was meant.
    (from != to && from < DAY_MIN).then_some((days, from, to))
}

/// `mon` or `mon-fri`; `fri-mon` goes over the week's end.
fn days_of(text: &str) -> Option<Vec<usize>> {
    let day = |name: &str| NAMES.iter().position(|known| *known == name);
    let Some((first, last)) = text.split_once('-') else { return day(text).map(|day| vec![day]) };
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7 + 1;
    Some((first..first + count).map(|day| day % 7).collect())
}

/// `08:30` or `8`; `24:00` ends a day.
pub(super) fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':').unwrap_or((text.trim(), "0"));
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok());
    let (hour, minute) = (number(hour)??, number(minute)??);
    let total = hour.checked_mul(60)?.checked_add(minute)?;
    (hour <= 24 && minute < 60 && total <= DAY_MIN).then_some(total)
}

impl fmt::Display for Week {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, day) in NAMES.iter().zip(&self.days) {
            for (from, to) in day {
                let comma = if std::mem::take(&mut first) { "" } else { ", " };
                let clock = |minute: &u16| format!("{:02}:{:02}", minute / 60, minute % 60);
                write!(f, "{comma}{name} {}-{}", clock(from), clock(to))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(text: &str) -> Week {
        text.parse().unwrap()
    }

    /// 2026-11-23 is a Monday.
    fn at(day: i8, hour: i8, minute: i8) -> DateTime {
        jiff::civil::date(2026, 11, 23 + day).at(hour, minute, 0, 0)
    }

    #[test]
    fn hours_are_read_as_people_write_them() {
        let check = |text: &str, expected: &str| assert_eq!(week(text).to_string(), expected, "{text}");
        check("mon 8-18", "mon 08:00-18:00");
        check("MON-TUE 08:30-12:00,mon 13:00-18:00", "mon 08:30-12:00, mon 13:00-18:00, tue 08:30-12:00");
        check("sat-mon", "mon 00:00-24:00, sat 00:00-24:00, sun 00:00-24:00");
        check("fri 22:00-06:00", "fri 22:00-24:00, sat 00:00-06:00");
        check("mon 8-12; mon 11-18", "mon 08:00-18:00");
        check("sun 20:00-24:00", "sun 20:00-24:00");
        assert_eq!(week("always"), Week::always());
        assert_eq!(week("00:00-24:00"), Week::always());
    }

    #[test]
    fn what_names_no_hours_is_refused_with_the_part_that_does_not() {
        for text in [
            "",
            "mon",
            "mon 8-8",
            "lundi 8-18",
            "mon 8h-18h",
            "mon 8",
            "mon 25-26",
            "mon 24:00-06:00",
            "mon 08:60-09:00",
            "mon -1-5",
            "mon-fri 8-18,",
        ] {
            let read: Result<Week, NoWeek> = text.parse();
            assert_eq!(read.is_ok(), text == "mon", "{text:?}");
        }
        let told = "mon 8-18, tues 9-10".parse::<Week>().unwrap_err().to_string();
        assert!(told.starts_with("\"tues 9-10\": must be"), "{told}");
    }

    #[test]
    fn a_span_holds_its_first_minute_and_not_its_last() {
        let week = week("mon-fri 08:00-18:00");
        for (day, hour, minute, expected) in
            [(0, 8, 0, true), (0, 7, 59, false), (0, 17, 59, true), (0, 18, 0, false), (5, 12, 0, false)]
        {
            assert_eq!(week.contains(at(day, hour, minute)), expected, "{day} {hour}:{minute}");
        }
        assert!(Week::always().contains(at(6, 23, 59)));
    }

    #[test]
    fn a_week_covers_another_if_none_of_its_hours_lies_outside() {
        let check = |one: &str, other: &str, expected| {
            assert_eq!(week(one).covers(&week(other)), expected, "{one} over {other}");
        };
        check("mon-fri 8-18", "tue 9-17", true);
        check("mon-fri 8-18", "tue 9-19", false);
        check("mon-fri 8-18", "sat 9-10", false);
        check("always", "sun 0-24", true);
    }
}
