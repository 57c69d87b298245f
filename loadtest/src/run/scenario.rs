//! What is served, for how long, who takes the tickets, and what breaks meanwhile.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::{Burst, Rate, Scenario as Mentions};

/// The record of the largest network, posts in a second: X during *Castle in the Sky*, 3 August 2013.
const RECORD_PER_S: u32 = 143_199;
/// Four parts of five of the mentions need support; the others only name the brand.
const SUPPORT_PART: f64 = 0.8;
/// What the outage's peak is of all events: 2,000 of 8,000, so that 6,000 others remain.
const PEAK_PART: f64 = 0.25;

/// A load that a daemon is put under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// An average day: 6,000 posts a second over a WebSocket, 1 % mentions.
    Steady,
    /// The record second, all the time: 143,199 X statuses a second over TCP, 1 % mentions.
    Record,
    /// Posts as fast as they are taken, 0.1 % mentions.
    Flood,
    /// A quiet brand goes from 0.1 to 2,000 reports a second, over 6,000 other posts.
    Outage,
    /// A helpdesk that takes two tickets a second gets twenty.
    SlowHelpdesk,
    /// Servers and the helpdesk come and go.
    Reconnects,
    /// The daemon is killed at random moments, again and again, under the steady load.
    Crash,
    /// A daemon with many pending tickets is started.
    Restart,
    /// A helpdesk that fails and one that grants few calls get many pending tickets.
    Helpdesk,
    /// Many clients of the ticket socket are connected and idle, beside the steady load.
    Crowd,
    /// The steady load for half an hour, after which nothing may have grown.
    Soak,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 11] = [
        Scenario::Steady,
        Scenario::Record,
        Scenario::Flood,
        Scenario::Outage,
        Scenario::SlowHelpdesk,
        Scenario::Reconnects,
        Scenario::Crash,
        Scenario::Restart,
        Scenario::Helpdesk,
        Scenario::Crowd,
        Scenario::Soak,
    ];

    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Steady => "steady",
            Scenario::Record => "record",
            Scenario::Flood => "flood",
            Scenario::Outage => "outage",
            Scenario::SlowHelpdesk => "slow-helpdesk",
            Scenario::Reconnects => "reconnects",
            Scenario::Crash => "crash",
            Scenario::Restart => "restart",
            Scenario::Helpdesk => "helpdesk",
            Scenario::Crowd => "crowd",
            Scenario::Soak => "soak",
        }
    }

    /// Whether its posts may come as fast as they are taken: not where something happens at set times of the
    /// schedule, or where what the daemon needs is compared from one time to another.
    pub fn may_be_unlimited(self) -> bool {
        use Scenario::{Flood, Record, SlowHelpdesk, Steady};
        matches!(self, Steady | Record | Flood | SlowHelpdesk)
    }

    /// Whether it starts the daemon again and again: then it has no set length and no page with plots.
    pub fn restarts(self) -> bool {
        matches!(self, Scenario::Crash | Scenario::Restart | Scenario::Helpdesk)
    }

    /// One line for the report's head.
    pub fn description(self) -> &'static str {
        match self {
            Scenario::Steady => "an average day of a large network: posts over a WebSocket, 1 % mentions",
            Scenario::Record => "the record second of the largest network, all the time: X statuses over TCP",
            Scenario::Flood => "posts over a WebSocket as fast as they are taken, 0.1 % mentions",
            Scenario::Outage => "a quiet brand's service fails: a burst of reports over everyday traffic",
            Scenario::SlowHelpdesk => "a helpdesk that takes two tickets a second gets ten times as many",
            Scenario::Reconnects => "servers and helpdesk are cut off and come back, several times",
            Scenario::Crash => "the daemon is killed at random moments and started again",
            Scenario::Restart => "a daemon with many pending tickets is ended, each way, and started again",
            Scenario::Helpdesk => {
                "many pending tickets for a helpdesk that fails, and one that grants few calls"
            }
            Scenario::Crowd => "an average day, with a crowd of idle clients on the ticket socket",
            Scenario::Soak => "an average day for long, after which nothing may have grown",
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Scenario, String> {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.ok_or_else(|| format!("{name:?} is none of {names}"))
    }
}

/// How posts reach the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Bluesky's Jetstream.
    Jetstream,
    /// X v1.1 statuses as lines over TCP, with acknowledged positions.
    Statuses,
}

/// One network to serve.
#[derive(Debug, Clone)]
pub(super) struct FeedPlan {
    pub(super) name: String,
    pub(super) transport: Transport,
    pub(super) rate: Rate,
    /// Whether the stream goes on until its server leaves, whatever its rate.
    pub(super) endless: bool,
    /// Shares of posts that need support, and that only name the brand.
    pub(super) support: f64,
    pub(super) confusing: f64,
    pub(super) mentions: Mentions,
    pub(super) seed: u64,
}

/// How a server goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Everything written is flushed and the close is said.
    Orderly,
    /// The connection is cut; what was not flushed is lost, and comes again after the reconnection.
    Cut,
}

/// A server that goes away and comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interruption {
    /// Since the stream began.
    pub(super) at: Duration,
    /// Which of the feeds.
    pub(super) feed: usize,
    pub(super) departure: Departure,
    /// How long nobody listens.
    pub(super) away: Duration,
}

/// How the helpdesk under test takes tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helpdesk {
    /// Acknowledges at once.
    Prompt,
    /// Works on one ticket at a time, for so long.
    Slow(Duration),
    /// Acknowledges at once, and loses its connection again and again after so long.
    Flighty(Duration),
    /// Acknowledges at once, and is back as soon as the daemon is; one connection in four is dropped in the middle
    /// of its work, after a time drawn from this seed.
    Erratic(u64),
}

/// A scenario with its figures.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) duration: Duration,
    pub(super) feeds: Vec<FeedPlan>,
    pub(super) helpdesk: Helpdesk,
    pub(super) interruptions: Vec<Interruption>,
    /// Idle clients beside the helpdesk.
    pub(super) crowd: u32,
}

/// What may be asked to be other than the scenario says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Length of the stream.
    pub duration: Option<Duration>,
    /// Events a second, over all networks.
    pub rate: Option<Rate>,
    /// Share of mentions, 0 to 1. An outage has a rate of reports instead and takes none.
    pub share: Option<f64>,
    /// Another seed is another stream.
    pub seed: u64,
    /// Idle clients of a crowd.
    pub connections: u32,
}

impl Plan {
    /// The scenario's figures, where `changes` asks for no others.
    pub(super) fn new(scenario: Scenario, changes: Changes) -> Plan {
        let seconds = match scenario {
            Scenario::Flood => 30,
            Scenario::Soak => 1_800,
            _ => 60,
        };
        let duration = changes.duration.unwrap_or(Duration::from_secs(seconds));
        let (rate, share) = match scenario {
            Scenario::Steady
            | Scenario::Crash
            | Scenario::Restart
            | Scenario::Helpdesk
            | Scenario::Crowd
            | Scenario::Soak => (per_second(6_000), 0.01),
            Scenario::Record => (per_second(RECORD_PER_S), 0.01),
            Scenario::Flood => (Rate::Max, 0.001),
            Scenario::Outage => (per_second(8_000), 0.0),
            Scenario::SlowHelpdesk => (per_second(2_000), 0.01),
            Scenario::Reconnects => (per_second(6_000), 0.01),
        };
        let rate = changes.rate.unwrap_or(rate);
        let share = changes.share.unwrap_or(share);
        let feed = FeedPlan {
            name: "network".to_owned(),
            transport: Transport::Jetstream,
            rate,
            endless: scenario.restarts(),
            support: share * SUPPORT_PART,
            confusing: share * (1.0 - SUPPORT_PART),
            mentions: Mentions::Calm,
            seed: changes.seed,
        };
        let mut plan = Plan {
            scenario,
            duration,
            feeds: vec![feed],
            helpdesk: Helpdesk::Prompt,
            interruptions: Vec::new(),
            crowd: 0,
        };
        match scenario {
            Scenario::Steady | Scenario::Flood | Scenario::Restart | Scenario::Helpdesk | Scenario::Soak => {}
            Scenario::Crash => plan.helpdesk = Helpdesk::Erratic(changes.seed),
            Scenario::Crowd => plan.crowd = changes.connections,
            Scenario::Record => plan.feeds[0].transport = Transport::Statuses,
            Scenario::Outage => plan.feeds[0].mentions = Mentions::Burst(burst(rate, duration)),
            Scenario::SlowHelpdesk => plan.helpdesk = Helpdesk::Slow(Duration::from_millis(500)),
            Scenario::Reconnects => plan.disturb(),
        }
        plan
    }

    /// Two networks that share the rate, each gone twice, once each way, and a helpdesk gone five times.
    fn disturb(&mut self) {
        let other = self.feeds[0].clone();
        self.feeds.push(FeedPlan { name: "other".to_owned(), seed: other.seed ^ 0xabcd, ..other });
        for feed in &mut self.feeds {
            feed.rate = halved(feed.rate);
        }
        let twelfth = self.duration / 12;
        let gone = [
            (2, 0, Departure::Orderly),
            (4, 1, Departure::Cut),
            (6, 0, Departure::Cut),
            (8, 1, Departure::Orderly),
        ];
        self.interruptions = gone
            .map(|(n, feed, departure)| Interruption { at: twelfth * n, feed, departure, away: twelfth / 2 })
            .into();
        self.helpdesk = Helpdesk::Flighty(self.duration / 6);
    }

    /// When the reports of an outage begin, from the start of the stream; `None` in other scenarios.
    pub(super) fn burst_after(&self) -> Option<Duration> {
        self.feeds.iter().find_map(|feed| match feed.mentions {
            Mentions::Burst(burst) => Some(burst.after),
            _ => None,
        })
    }
}

/// A sixth quiet, the rise within at most ten seconds, a third at the peak, and quiet again.
fn burst(rate: Rate, duration: Duration) -> Burst {
    let all = match rate {
        Rate::PerSecond(rate) => f64::from(rate.get()),
        Rate::Max => f64::from(Rate::PER_SECOND_MAX),
    };
    Burst {
        quiet_per_s: 0.1,
        peak_per_s: all * PEAK_PART,
        after: duration / 6,
        rise: (duration / 6).min(Duration::from_secs(10)),
        lasts: duration / 3,
    }
}

fn halved(rate: Rate) -> Rate {
    match rate {
        Rate::PerSecond(rate) => per_second(rate.get() / 2),
        Rate::Max => Rate::Max,
    }
}

fn per_second(rate: u32) -> Rate {
    Rate::PerSecond(NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse(), Ok(scenario));
        }
        assert!("storm".parse::<Scenario>().unwrap_err().contains("steady, record, flood"));
    }

    #[test]
    fn the_figures_are_those_of_the_readme_unless_asked_otherwise() {
        let rate = |scenario, changes| Plan::new(scenario, changes).feeds[0].rate;
        assert_eq!(rate(Scenario::Record, Changes::default()), per_second(143_199));
        assert_eq!(rate(Scenario::Flood, Changes::default()), Rate::Max);
        assert_eq!(rate(Scenario::Reconnects, Changes::default()), per_second(3_000), "each of two");
        let changes = Changes { rate: Some(per_second(9)), ..Changes::default() };
        assert_eq!(rate(Scenario::Record, changes), per_second(9));
        assert_eq!(Plan::new(Scenario::Steady, Changes::default()).duration.as_secs(), 60);
        assert_eq!(Plan::new(Scenario::Flood, Changes::default()).duration.as_secs(), 30);
    }

    #[test]
    fn an_outage_of_any_length_rises_and_falls_within_it() {
        for seconds in [3, 60, 600] {
            let burst = burst(per_second(8_000), Duration::from_secs(seconds));
            assert_eq!(burst.peak_per_s, 2_000.0);
            assert!(burst.rise <= Duration::from_secs(10));
            assert!(burst.after + burst.rise + burst.lasts < Duration::from_secs(seconds));
        }
    }
}
