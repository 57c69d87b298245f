//! Whose wall clock people are shown: the desk's, or the reader's where there is no config.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::Config;

/// A wall clock, which every table and ticket names once.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Clock(TimeZone);

impl Clock {
    /// As `[desk] time_zone` says.
    pub(in crate::cli) fn of_desk(config: &Config) -> Clock {
        Clock(config.desk.expectations.zone.clone())
    }

    /// This machine's; UTC where that cannot be told.
    pub(in crate::cli) fn of_reader() -> Clock {
        Clock(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// `2026-11-27 14:32`
    pub(in crate::cli) fn minute(&self, at: Timestamp) -> String {
        self.show(at, "%Y-%m-%d %H:%M")
    }

    /// `2026-11-27 14:32 CET`
    pub(in crate::cli) fn minute_and_name(&self, at: Timestamp) -> String {
        self.show(at, "%Y-%m-%d %H:%M %Z")
    }

    /// `2026-11-27 14:32:05`
    pub(in crate::cli) fn second(&self, at: Timestamp) -> String {
        self.show(at, "%Y-%m-%d %H:%M:%S")
    }

    /// `14:32 CET`, or `Mon 14:32 CET` on another day than `now`'s.
    pub(in crate::cli) fn beside(&self, now: Timestamp, at: Timestamp) -> String {
        let is_today = now.to_zoned(self.0.clone()).date() == at.to_zoned(self.0.clone()).date();
        self.show(at, if is_today { "%H:%M %Z" } else { "%a %H:%M %Z" })
    }

    /// `CET`, or what it is called at that time of the year.
    pub(in crate::cli) fn name(&self, at: Timestamp) -> String {
        self.show(at, "%Z")
    }

    /// `those of Europe/Paris, UTC+01:00 now`, where `now` decides the offset.
    pub(in crate::cli) fn zone(&self, now: Timestamp) -> String {
        let offset = self.show(now, "UTC%:z");
        match self.0.iana_name() {
            Some("UTC") => "UTC".to_owned(),
            Some(name) => format!("those of {name}, {offset} now"),
            None => format!("{offset} now"),
        }
    }

    fn show(&self, at: Timestamp, format: &str) -> String {
        at.to_zoned(self.0.clone()).strftime(format).to_string()
    }
}

#[cfg(test)]
impl Clock {
    pub(in crate::cli) fn in_zone(name: &str) -> Clock {
        Clock(TimeZone::get(name).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_named_as_it_is_called_at_that_time_and_the_day_only_where_it_is_another() {
        let clock = Clock::in_zone("Europe/Paris");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-27T22:30:00Z");
        assert_eq!(clock.beside(now, at("2026-11-27T22:45:00Z")), "23:45 CET");
        assert_eq!(clock.beside(now, at("2026-11-27T23:15:00Z")), "Sat 00:15 CET");
        assert_eq!(clock.minute_and_name(at("2026-07-01T10:00:00Z")), "2026-07-01 12:00 CEST");
        assert_eq!(clock.zone(now), "those of Europe/Paris, UTC+01:00 now");
        assert_eq!(Clock::in_zone("UTC").zone(now), "UTC");
        assert_eq!((clock.name(now).as_str(), clock.second(now).as_str()), ("CET", "2026-11-27 23:30:00"));
    }
}
