//! How soon a poster expects an answer, and when it is late for that.
//!
//! The first rule whose condition holds says it, else the network's own expectation does. Its time is working time
//! where it has a calendar. Somebody in danger waits no longer than [`Expectations::danger`], whatever these say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::calendar::Calendar;
use super::priority::is_floor;
use super::when::{Facts, When};
use crate::parse::Network;
use crate::ticket::proto;

/// The share of its time after which an answer is at risk, unless the config says otherwise.
pub const AT_RISK_SHARE: f32 = 0.75;

/// Who is in danger is answered within this, unless the config says otherwise: long enough for somebody who is there to
/// read and call, and too short to be in any queue.
pub const DANGER_WITHIN: Duration = Duration::from_secs(15 * 60);

/// What is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// So soon, in working time.
    pub answer_within: Duration,
    /// After so much of it there is a risk that it will not be.
    pub at_risk_after: Duration,
    /// When that time passes; `None`: always.
    pub calendar: Option<Arc<Calendar>>,
}

impl Expectation {
    /// Always, at risk after [`AT_RISK_SHARE`].
    pub fn always(answer_within: Duration) -> Expectation {
        Expectation { answer_within, at_risk_after: share_of(answer_within, AT_RISK_SHARE), calendar: None }
    }

    fn after(&self, now: Timestamp, working: Duration) -> Timestamp {
        match &self.calendar {
            Some(calendar) => calendar.add(now, working),
            None => now.checked_add(working).unwrap_or(Timestamp::MAX),
        }
    }
}

/// That share of it, in whole seconds.
pub fn share_of(time: Duration, share: f32) -> Duration {
    // At most 30 days, which a float holds to the microsecond; a share is not negative.
    Duration::from_secs((time.as_secs_f64() * f64::from(share)).round() as u64)
}

/// All that is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectations {
    /// In order: the first whose condition holds counts.
    pub rules: Vec<(When, Expectation)>,
    /// Where none holds, by network in the order of [`Network::ALL`].
    pub by_network: [Expectation; Network::ALL.len()],
    /// Of who is in danger, where that is sooner.
    pub danger: Expectation,
    /// Whether helpdesks are told when an answer is at risk, and when it was due.
    pub overdue_updates: bool,
    /// By whose wall clock people are told.
    pub zone: TimeZone,
}

impl Default for Expectations {
    fn default() -> Expectations {
        const HOUR: Duration = Duration::from_secs(3600);
        let by_network = Network::ALL.map(|network| match network {
            Network::Bluesky | Network::Mastodon | Network::X | Network::Plain => {
                Expectation::always(2 * HOUR)
            }
            // "The same day": a working day, so that a report at opening time is due before closing.
            Network::Facebook => Expectation::always(8 * HOUR),
        });
        Expectations {
            rules: Vec::new(),
            by_network,
            danger: Expectation::always(DANGER_WITHIN),
            overdue_updates: true,
            zone: TimeZone::UTC,
        }
    }
}

impl Expectations {
    /// What is expected of this post from `facts.now` on; by its `factors` it may stand on a floor.
    pub fn of(&self, facts: &Facts<'_>, factors: &[proto::Factor]) -> Due<'_> {
        let is_in_danger = factors.iter().any(|factor| is_floor(&factor.name));
        self.of_both(facts, is_in_danger.then_some(facts.now))
    }

    /// What is expected from `facts.now` on, and of danger from when a post has said it.
    pub(super) fn of_both(&self, facts: &Facts<'_>, danger_at: Option<Timestamp>) -> Due<'_> {
        let network = facts.candidate.post.network;
        let rule = self.rules.iter().position(|(when, _)| when.holds(facts));
        // `Network` has as many variants as the array has places.
        let expectation = match rule.and_then(|rule| self.rules.get(rule)) {
            Some((_, expectation)) => expectation,
            None => self.by_network.get(network as usize).unwrap_or(&self.by_network[0]),
        };
        let due = Due { rule, ..self.due(expectation, facts.now, network) };
        let danger = danger_at.map(|danger_at| self.of_danger(danger_at, network));
        danger.filter(|danger| danger.due_at < due.due_at).unwrap_or(due)
    }

    /// What is expected of somebody who is in danger since then.
    pub(super) fn of_danger(&self, danger_at: Timestamp, network: Network) -> Due<'_> {
        Due { is_danger: true, ..self.due(&self.danger, danger_at, network) }
    }

    fn due<'e>(&'e self, expectation: &'e Expectation, from: Timestamp, network: Network) -> Due<'e> {
        Due {
            expectation,
            rule: None,
            is_danger: false,
            network,
            at_risk_at: expectation.after(from, expectation.at_risk_after),
            due_at: expectation.after(from, expectation.answer_within),
            zone: &self.zone,
        }
    }

    /// Whether what says this goes by what is said.
    pub(super) fn is_by_text(&self, due: &Due<'_>) -> bool {
        let rule = due.rule.and_then(|rule| self.rules.get(rule));
        due.is_danger || rule.is_some_and(|(when, _)| when.is_by_text())
    }
}

/// When an answer is due, and by what.
#[derive(Debug, Clone, PartialEq)]
pub struct Due<'e> {
    /// What says so.
    pub expectation: &'e Expectation,
    /// Its place among the rules, from 0; `None`: it is the network's, or of who is in danger.
    pub rule: Option<usize>,
    /// Whether that somebody is in danger says so.
    pub(super) is_danger: bool,
    network: Network,
    /// From then on there is a risk that it will be late.
    pub at_risk_at: Timestamp,
    /// When it is late.
    pub due_at: Timestamp,
    zone: &'e TimeZone,
}

/// `answer within 4 h of working time: expectation 2, calendar office; at risk Mon …, due Mon 2026-11-30 10:00 CET`, by
/// the desk's clock whatever the calendar's
impl fmt::Display for Due<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expectation { answer_within, calendar, .. } = self.expectation;
        write!(f, "answer within {}", span(*answer_within))?;
        f.write_str(if calendar.is_some() { " of working time: " } else { ": " })?;
        match self.rule {
            Some(rule) => write!(f, "expectation {}", rule + 1)?,
            None if self.is_danger => f.write_str("answer_within.danger_min")?,
            None => write!(f, "answer_within.{}_min", self.network)?,
        }
        if let Some(calendar) = calendar {
            write!(f, ", calendar {}", calendar.name)?;
        }
        let [at_risk_at, due_at] = [self.at_risk_at, self.due_at].map(|at| at.to_zoned(self.zone.clone()));
        write!(f, "; at risk {}", at_risk_at.strftime("%a %Y-%m-%d %H:%M"))?;
        // The zone once, unless its clocks change in between.
        if at_risk_at.offset() != due_at.offset() {
            write!(f, " {}", at_risk_at.strftime("%Z"))?;
        }
        write!(f, ", due {}", due_at.strftime("%a %Y-%m-%d %H:%M %Z"))
    }
}

/// `4 h`, `1 h 30 min`, `45 min`.
fn span(of: Duration) -> String {
    match (of.as_secs() / 3600, of.as_secs() / 60 % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::case::Case;
    use crate::desk::when::Field;

    const HOUR: Duration = Duration::from_secs(3600);

    fn rule(field: Field, word: &str, expectation: Expectation) -> (When, Expectation) {
        (When { words: vec![(field, vec![word.to_owned()])], ..When::default() }, expectation)
    }

    #[test]
    fn the_first_rule_that_holds_says_when_an_answer_is_due_and_why() {
        let office = Arc::new(Calendar {
            name: "office".to_owned(),
            zone: TimeZone::get("Europe/Paris").unwrap(),
            hours: "mon-fri 08:00-18:00".parse().unwrap(),
            closings: Vec::new(),
        });
        let at_work =
            |hours| Expectation { calendar: Some(office.clone()), ..Expectation::always(hours * HOUR) };
        let expectations = Expectations {
            rules: vec![
                rule(Field::Brand, "lumio", Expectation::always(HOUR / 2)),
                rule(Field::Network, "x", at_work(4)),
                rule(Field::Network, "x", at_work(1)),
            ],
            zone: TimeZone::get("America/Montreal").unwrap(),
            ..Expectations::default()
        };
        // A Friday, 17:00 in Paris.
        let now: Timestamp = "2026-11-27T16:00:00Z".parse().unwrap();
        let check = |network, brand: &str, rule, expected: &str| {
            let mut case = Case { now, ..Case::new("ana") };
            case.candidate.post.network = network;
            case.candidate.brand = brand.into();
            let due = expectations.of(&case.facts(), &[]);
            assert_eq!((due.rule, due.to_string().as_str()), (rule, expected));
        };
        check(
            Network::X,
            "another",
            Some(1),
            "answer within 4 h of working time: expectation 2, calendar office; \
             at risk Mon 2026-11-30 04:00, due Mon 2026-11-30 05:00 EST",
        );
        check(
            Network::X,
            "Lumio",
            Some(0),
            "answer within 30 min: expectation 1; at risk Fri 2026-11-27 11:22, due Fri 2026-11-27 11:30 EST",
        );
        check(
            Network::Facebook,
            "another",
            None,
            "answer within 8 h: answer_within.facebook_min; \
             at risk Fri 2026-11-27 17:00, due Fri 2026-11-27 19:00 EST",
        );
    }

    #[test]
    fn who_is_in_danger_waits_no_longer_than_anybody_at_any_hour() {
        let floor = [proto::Factor { name: "floor of safety".to_owned(), ..Default::default() }];
        let case = Case::new("ana");
        let check = |expectations: &Expectations, factors: &[proto::Factor], expected: &str| {
            let due = expectations.of(&case.facts(), factors).to_string();
            assert_eq!(due.split_once(';').unwrap().0, expected);
        };
        let mut expectations = Expectations::default();
        check(&expectations, &[], "answer within 2 h: answer_within.x_min");
        check(&expectations, &floor, "answer within 15 min: answer_within.danger_min");
        expectations.rules = vec![rule(Field::Network, "x", Expectation::always(HOUR))];
        check(&expectations, &floor, "answer within 15 min: answer_within.danger_min");
        expectations.rules[0].1 = Expectation::always(HOUR / 6);
        check(&expectations, &floor, "answer within 10 min: expectation 1");
    }
}
