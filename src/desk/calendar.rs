//! Working time: when somebody is there to answer, as an office has it.
//!
//! A calendar is the hours of a week by the wall clock of a time zone, less holidays. It counts time as it passes, not
//! as the clock shows it: an hour that the clock skips in spring is no working time, one that it shows twice in
//! autumn is two hours of it, and a stretch at midnight belongs to the day that the clock shows.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::week::{self, Week};

/// How far ahead a calendar is looked up. Working time that does not pass by then ends there, so that a calendar that
/// is open five minutes a year costs a look at some seven hundred days and no more.
pub const HORIZON: Duration = Duration::from_secs(731 * 24 * 3600);

/// Closings in one calendar at most: the holidays of a century.
pub const CLOSINGS_MAX: usize = 2_000;

/// The time zone of this name.
///
/// # Errors
///
/// There is none: what it must be, in words.
pub fn zone(name: &str) -> Result<TimeZone, &'static str> {
    TimeZone::get(name).map_err(|_| "must be a time zone as Europe/Paris or America/Montreal")
}

/// When there is working time.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// As in config.
    pub name: String,
    /// By whose wall clock.
    pub zone: TimeZone,
    /// The hours of an ordinary week.
    pub hours: Week,
    /// When it is closed all the same.
    pub closings: Vec<Closing>,
}

impl Calendar {
    /// The moment at which so much working time has passed since `from`; `from` and [`HORIZON`] where that takes longer.
    ///
    /// No working time at all has passed when it next begins, or at `from` where it runs.
    pub fn add(&self, from: Timestamp, working: Duration) -> Timestamp {
        let mut left = SignedDuration::try_from(working).unwrap_or(SignedDuration::MAX);
        let until = horizon(from);
        let reached = self.walk(from, until, |open, close| {
            let span = close.duration_since(open);
            if left <= span {
                return ControlFlow::Break(open.checked_add(left).unwrap_or(close));
            }
            left -= span;
            ControlFlow::Continue(())
        });
        reached.unwrap_or(until)
    }

    /// How much working time passes from `from` to `to`, [`HORIZON`] after `from` at most; none if `to` is the earlier.
    pub fn working_between(&self, from: Timestamp, to: Timestamp) -> Duration {
        let mut passed = Duration::ZERO;
        self.walk(from, to.min(horizon(from)), |open, close| {
            passed += close.duration_since(open).unsigned_abs();
            ControlFlow::<()>::Continue(())
        });
        passed
    }

    /// Whether it opens on any day of these four years, a leap year among them.
    pub fn opens_within_four_years_of(&self, first: Date) -> bool {
        first.series(jiff::Span::new().days(1)).take(4 * 366).any(|date| !self.hours_of(date).is_empty())
    }

    /// Visits each stretch of working time, in order, until one is enough.
    fn walk<B>(
        &self,
        mut from: Timestamp,
        until: Timestamp,
        mut visit: impl FnMut(Timestamp, Timestamp) -> ControlFlow<B>,
    ) -> Option<B> {
        while from < until {
            // Until its clocks change, a zone's wall clock runs as time does.
            let change = self.zone.following(from).next().map_or(until, |next| next.timestamp().min(until));
            let offset = self.zone.to_offset(from);
            let last = offset.to_datetime(change).date();
            let days = offset.to_datetime(from).date().series(jiff::Span::new().days(1));
            for date in days.take_while(|date| *date <= last) {
                for (open, close) in self.hours_of(date) {
                    let open = instant(date, open, offset).max(from);
                    let close = instant(date, close, offset).min(change);
                    if open < close
                        && let ControlFlow::Break(enough) = visit(open, close)
                    {
                        return Some(enough);
                    }
                }
            }
            from = change;
        }
        None
    }

    /// The working time of this day by the wall clock, minutes from midnight.
    fn hours_of(&self, date: Date) -> Vec<(u16, u16)> {
        let mut open = self.hours.day(date.weekday()).to_vec();
        for closing in self.closings.iter().filter(|closing| closing.is_on(date)) {
            let (from, to) = closing.hours;
            open = open
                .into_iter()
                .flat_map(|(open, close)| [(open, close.min(from)), (open.max(to), close)])
                .filter(|(open, close)| open < close)
                .collect();
        }
        open
    }
}

fn horizon(from: Timestamp) -> Timestamp {
    from.checked_add(HORIZON).unwrap_or(Timestamp::MAX)
}

/// When a clock that is ahead of UTC by `offset` shows so many minutes after midnight of this day.
fn instant(date: Date, minute: u16, offset: Offset) -> Timestamp {
    let midnight = offset.to_timestamp(date.at(0, 0, 0, 0));
    let at = midnight.and_then(|midnight| midnight.checked_add(SignedDuration::from_mins(minute.into())));
    // Only the last day of the year 9999 ends after the end of time.
    at.unwrap_or(Timestamp::MAX)
}

/// A holiday: `2026-12-25`, or each year `12-25`; several days `2026-12-24..2027-01-02` or `12-24..01-02`; part of a
/// day `12-24 12:00-24:00`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    days: Days,
    /// Minutes from midnight.
    hours: (u16, u16),
}

/// First and last day.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    Once(Date, Date),
    /// Month and day; the last may lie before the first, in the next year.
    Yearly((i8, i8), (i8, i8)),
}

impl Closing {
    fn is_on(&self, date: Date) -> bool {
        match self.days {
            Days::Once(first, last) => (first..=last).contains(&date),
            Days::Yearly(first, last) => {
                let day = (date.month(), date.day());
                if first <= last { first <= day && day <= last } else { first <= day || day <= last }
            }
        }
    }
}

/// Why a text names no holiday.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoClosing {
    /// It is written otherwise.
    #[error(
        "{0:?}: must be a date, such as \"2026-12-25\", \"12-25\", \"2026-12-24..2027-01-02\" or \"12-24 12:00-24:00\""
    )]
    Unreadable(String),
    /// No calendar has this day.
    #[error("{0:?}: there is no such date")]
    NoDate(String),
    /// The last day lies before the first.
    #[error("{0:?}: ends before it begins")]
    Backwards(String),
}

impl FromStr for Closing {
    type Err = NoClosing;

    fn from_str(text: &str) -> Result<Closing, NoClosing> {
        let text = text.trim();
        let unreadable = || NoClosing::Unreadable(text.to_owned());
        let no_date = || NoClosing::NoDate(text.to_owned());
        let (days, hours) = match text.split_once(char::is_whitespace) {
            None => (text, (0, week::DAY_MIN)),
            Some((days, hours)) => {
                let (from, to) = hours.split_once('-').ok_or_else(unreadable)?;
                (days, week::minute(from).zip(week::minute(to)).ok_or_else(unreadable)?)
            }
        };
        if hours.0 >= hours.1 {
            return Err(NoClosing::Backwards(text.to_owned()));
        }
        let (first, last) = days.split_once("..").unwrap_or((days, days));
        let days = match (day(first).ok_or_else(unreadable)?, day(last).ok_or_else(unreadable)?) {
            ((Some(year), first), (Some(last_year), last)) => {
                Days::Once(date(year, first).ok_or_else(no_date)?, date(last_year, last).ok_or_else(no_date)?)
            }
            ((None, first), (None, last)) => {
                // A leap year, since each year means those that have the day.
                date(2024, first).and(date(2024, last)).ok_or_else(no_date)?;
                Days::Yearly(first, last)
            }
            _ => return Err(unreadable()),
        };
        match days {
            Days::Once(first, last) if first > last => Err(NoClosing::Backwards(text.to_owned())),
            days => Ok(Closing { days, hours }),
        }
    }
}

/// `2026-12-25` or `12-25`, whether or not there is such a day.
fn day(text: &str) -> Option<(Option<i16>, (i8, i8))> {
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<i16>().ok())
            .flatten()
    };
    let two = |text: &str| number(text, 2).and_then(|number| i8::try_from(number).ok());
    let mut parts = text.trim().split('-').rev();
    let (day, month, year) = (two(parts.next()?)?, two(parts.next()?)?, parts.next());
    let year = match year {
        None => None,
        Some(year) => Some(number(year, 4)?),
    };
    parts.next().is_none().then_some((year, (month, day)))
}

fn date(year: i16, (month, day): (i8, i8)) -> Option<Date> {
    Date::new(year, month, day).ok()
}

#[cfg(test)]
mod tests;
