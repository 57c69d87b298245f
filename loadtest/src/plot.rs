//! What happens at index `n`, whatever the network makes of it.
//!
//! No event depends on having made another one. Where one refers to another (the deletion of a support
//! post), the earlier one is asked again: every block of `BLOCK` events ends with a slot that may hold what
//! became of the first support post of an earlier block. What is in such a slot is never followed up itself.

mod kind;
mod share;

use std::ops::Range;
use std::time::Duration;

pub use kind::EventKind;

use crate::jetstream::{Burst, Scenario};
use crate::posts::Posts;
use crate::script::dice::{Dice, Draws, Purpose};
use crate::timeline::{Rate, Timeline};
use share::{Schedule, Share};

/// Events between two slots for what became of an earlier support post.
const BLOCK: u64 = 16;
/// Blocks between a support post and what became of it: at 2,000 events/s 8 ms, 64 ms and 0.5 s.
const FATE_DELAYS_BLOCKS: [u64; 3] = [1, 8, 64];

const OUTAGE_AFTER: Duration = Duration::from_secs(5);
const OUTAGE_LASTS: Duration = Duration::from_secs(20);
const OUTAGE_SHARE_FACTOR: f64 = 10.0;
/// Least and greatest share of support posts in an outage.
const OUTAGE_SHARE_MIN: f64 = 0.02;
const OUTAGE_SHARE_MAX: f64 = 0.5;
const QUIET_SHARE_FACTOR: f64 = 0.1;

/// What a stream is made of, in parts of 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    /// All of Bluesky.
    Network,
    /// What a subscription to Bluesky's posts alone receives.
    Posts,
    /// X's statuses.
    Statuses,
}

/// What a plot is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Premises {
    pub(crate) seed: u64,
    pub(crate) share: f64,
    pub(crate) confusing: f64,
    pub(crate) scenario: Scenario,
}

/// What happens, event by event.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    cast: Cast,
    roles: Draws,
    fates: Draws,
    support: Schedule,
    confusing: Share,
    incident: Option<Incident>,
}

/// A time of trouble in one city.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    /// The events in its time.
    pub(crate) events: Range<u64>,
    /// Where.
    pub(crate) city: String,
    /// What people write about it, and who.
    pub(crate) reports: Reports,
}

/// What the support posts of an incident are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reports {
    /// Problems, by whoever else writes, with the fates of any support post.
    Problems,
    /// Everything that names a city, each by an author of its own, and nothing becomes of them.
    FirstHand,
}

impl Plot {
    /// What happens on this timeline.
    ///
    /// # Errors
    ///
    /// A share is not in 0..=1, or both are more than 1 together.
    pub(crate) fn new(
        premises: &Premises,
        cast: Cast,
        timeline: &Timeline,
        posts: &Posts,
    ) -> anyhow::Result<Plot> {
        let Premises { share, confusing, scenario, .. } = *premises;
        let (support, others) = (Share::new("share", share)?, Share::new("confusing", confusing)?);
        anyhow::ensure!(share + confusing <= 1.0, "share and confusing are more than 1 together");
        let start = timeline.start();
        let at = |after: Duration| {
            let after_us = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
            timeline.first_at(timeline.nominal_us(start).saturating_add(after_us))
        };
        let incident = |events, reports| Incident {
            events,
            city: posts.city(&mut Dice::new(premises.seed, 0, Purpose::Outage)).to_owned(),
            reports,
        };
        let seed = cast.seed(premises.seed);
        let mut plot = Plot {
            cast,
            roles: Draws::new(seed, Purpose::Role),
            fates: Draws::new(seed, Purpose::Fate),
            support: Schedule::constant(support),
            confusing: others,
            incident: None,
        };
        match scenario {
            Scenario::Calm => {}
            Scenario::Quiet => {
                plot.support = Schedule::constant(support.times(QUIET_SHARE_FACTOR));
                plot.confusing = others.times(QUIET_SHARE_FACTOR);
            }
            Scenario::Outage => {
                let most = (share * OUTAGE_SHARE_FACTOR).clamp(OUTAGE_SHARE_MIN, OUTAGE_SHARE_MAX);
                let (from, to) = (at(OUTAGE_AFTER), at(OUTAGE_AFTER + OUTAGE_LASTS));
                plot.support = Schedule::through(vec![
                    (from, support),
                    (from, Share::of(most)),
                    (to, Share::of(most)),
                    (to, support),
                ]);
                plot.incident = Some(incident(from..to, Reports::Problems));
            }
            Scenario::Burst(burst) => {
                let Burst { quiet_per_s, peak_per_s, after, rise, lasts } = burst;
                let rate = match timeline.rate() {
                    Rate::PerSecond(rate) => f64::from(rate.get()),
                    Rate::Max => anyhow::bail!("a burst has its reports a second: it needs a rate"),
                };
                // A whole network has few posts among its events, and its burst then is all of them: only a stream
                // of posts can be asked for more reports than it has room for.
                let posts_per_s = match cast {
                    Cast::Network => (rate * cast.posts_share()).max(peak_per_s / (1.0 - confusing)),
                    _ => rate * cast.posts_share(),
                };
                let of = |name: &str, per_s: f64| Share::new(name, per_s / posts_per_s);
                let (quiet, peak) = (of("quiet share", quiet_per_s)?, of("peak share", peak_per_s)?);
                anyhow::ensure!(
                    peak_per_s / posts_per_s + confusing <= 1.0,
                    "the peak and confusing are more than all posts together"
                );
                let (from, top, to) = (at(after), at(after + rise), at(after + rise + lasts));
                plot.support = Schedule::through(vec![(from, quiet), (top, peak), (to, peak), (to, quiet)]);
                plot.incident = Some(incident(from..to, Reports::FirstHand));
            }
        }
        Ok(plot)
    }

    /// The trouble at the time of event `n`.
    pub(crate) fn incident(&self, n: u64) -> Option<&Incident> {
        self.incident.as_ref().filter(|incident| incident.events.contains(&n))
    }

    /// The trouble there is at some time.
    #[cfg(test)]
    pub(crate) fn any_incident(&self) -> Option<&Incident> {
        self.incident.as_ref()
    }

    /// Whether the support post of event `n` has an author who writes nothing else.
    pub(crate) fn is_first_hand(&self, n: u64) -> bool {
        self.incident(n).is_some_and(|incident| incident.reports == Reports::FirstHand)
    }

    /// What event `n` is.
    pub(crate) fn kind(&self, n: u64) -> EventKind {
        if n % BLOCK == BLOCK - 1
            && let Some(kind) = self.follow_up(n / BLOCK)
        {
            return kind;
        }
        self.first_hand(n)
    }

    /// What event `n` is if it follows nothing up.
    fn first_hand(&self, n: u64) -> EventKind {
        let mut dice = self.roles.of(n);
        let kind = self.cast.role(dice.below(1_024));
        if kind != EventKind::Background {
            return kind;
        }
        match dice.bits() {
            lot if self.support.holds(n, lot) => EventKind::Support,
            lot if self.confusing.holds(!lot) => EventKind::Confusing,
            _ => EventKind::Background,
        }
    }

    /// What becomes of an earlier support post in the last slot of `block`.
    fn follow_up(&self, block: u64) -> Option<EventKind> {
        FATE_DELAYS_BLOCKS.iter().find_map(|delay| {
            let earlier = block.checked_sub(*delay)?;
            let mut dice = self.fates.of(earlier);
            if dice.pick(&FATE_DELAYS_BLOCKS) != Some(delay) {
                return None;
            }
            let fate = dice.below(100);
            let fates = if self.cast == Cast::Statuses { 14 } else { 20 };
            if fate >= fates {
                return None;
            }
            let first = earlier * BLOCK;
            let of = (first..first + BLOCK - 1).find(|n| self.first_hand(*n) == EventKind::Support)?;
            if self.is_first_hand(of) {
                return None;
            }
            Some(match (fate, self.cast) {
                (0..6, _) => EventKind::Withdrawal { of },
                (6..10, Cast::Statuses) => EventKind::Retweet { of },
                (6..10, _) => EventKind::Edit { of },
                (10..14, _) => EventKind::Repeat { of },
                _ => EventKind::Reply { of },
            })
        })
    }
}

impl Cast {
    /// The casts of one seed are different streams of the same accounts.
    pub(crate) fn seed(self, seed: u64) -> u64 {
        match self {
            Cast::Network => seed,
            Cast::Posts => !seed,
            Cast::Statuses => seed.rotate_left(32),
        }
    }

    /// What is drawn with this number of 0..1,024; every post is background at first.
    fn role(self, drawn: u32) -> EventKind {
        match self {
            // The proportions are those of 152 events captured from a public server in July 2026; deleted
            // likes, which that third of a second lacked, are added.
            Cast::Network => match drawn {
                0..115 => EventKind::Background,
                115..122 => EventKind::Deletion,
                122..129 => EventKind::Identity,
                129..136 => EventKind::Account,
                136..237 => EventKind::Repost,
                237..277 => EventKind::Follow,
                277..297 => EventKind::Unfollow,
                297..303 => EventKind::Block,
                303..317 => EventKind::Unlike,
                _ => EventKind::Like,
            },
            Cast::Posts => match drawn {
                0..16 => EventKind::Deletion,
                16..20 => EventKind::Identity,
                20..24 => EventKind::Account,
                _ => EventKind::Background,
            },
            Cast::Statuses => match drawn {
                0..4 => EventKind::Deletion,
                _ => EventKind::Background,
            },
        }
    }

    /// The part of the events that are posts.
    fn posts_share(self) -> f64 {
        (0..1_024).filter(|drawn| self.role(*drawn) == EventKind::Background).count() as f64 / 1_024.0
    }
}
