//! When a daemon is killed: what it is waited for to do first, and how long after that. Pure.
//!
//! A kill at a uniformly random time would nearly always find the daemon waiting for the next post. What a crash
//! can spoil happens in a few milliseconds each: so each kind of moment has its turn, in an order drawn from the
//! seed, and the last milliseconds are drawn too.

use std::time::Duration;

use crate::script::dice::{Dice, Purpose};

/// Longest time that a daemon lives before what ends it is waited for, milliseconds: by then it has caught up.
const LIFE_MS_MAX: u32 = 1_200;

/// What a daemon is killed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// At any time of its start, or just after.
    Start,
    /// It has just opened its ledger, and reads it.
    Ledger,
    /// It has just said that it runs.
    Running,
    /// A helpdesk has connected and subscribes.
    Subscribe,
    /// It has connected to its source, which repeats what came before.
    Rewind,
    /// It writes to the write-ahead log: a commit, in whose middle or just after it is killed.
    Commit,
    /// A ticket has come to the helpdesk, which has not answered.
    Delivery,
    /// The helpdesk has sent acknowledgements, which are under way.
    Ack,
    /// The helpdesk has been told that its acknowledgements are durable.
    Acked,
    /// The helpdesk has dropped its connection with deliveries unanswered.
    Departure,
    /// It was told to end, and drains.
    Drain,
    /// At any time.
    Any,
}

impl Phase {
    pub(super) const ALL: [Phase; 12] = [
        Phase::Start,
        Phase::Ledger,
        Phase::Running,
        Phase::Subscribe,
        Phase::Rewind,
        Phase::Commit,
        Phase::Delivery,
        Phase::Ack,
        Phase::Acked,
        Phase::Departure,
        Phase::Drain,
        Phase::Any,
    ];

    /// Its name in results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Ledger => "ledger",
            Phase::Running => "running",
            Phase::Subscribe => "subscribe",
            Phase::Rewind => "rewind",
            Phase::Commit => "commit",
            Phase::Delivery => "delivery",
            Phase::Ack => "ack",
            Phase::Acked => "acked",
            Phase::Departure => "departure",
            Phase::Drain => "drain",
            Phase::Any => "any",
        }
    }

    /// How long it lives before what ends it is waited for, at most; and how long after that it is killed, at most.
    /// Milliseconds.
    fn times_ms(self) -> (u32, u32) {
        match self {
            // With a small ledger a start takes some 150 ms.
            Phase::Start => (0, 200),
            Phase::Ledger => (0, 10),
            Phase::Running => (0, 10),
            Phase::Subscribe => (0, 5),
            // Five seconds of the stream hold some 300 mentions: half a second's work for the model.
            Phase::Rewind => (0, 600),
            Phase::Commit | Phase::Ack => (LIFE_MS_MAX, 3),
            Phase::Delivery | Phase::Acked | Phase::Departure => (LIFE_MS_MAX, 2),
            Phase::Drain => (LIFE_MS_MAX, 30),
            Phase::Any => (0, 2 * LIFE_MS_MAX),
        }
    }
}

/// When one daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) phase: Phase,
    /// It lives at least so long from when it runs.
    pub(super) life: Duration,
    /// From what is waited for to the kill.
    pub(super) then: Duration,
}

impl Moment {
    /// The `n`th moment of a seed's sequence. Of as many as there are phases, in a row, each has one.
    pub(super) fn nth(seed: u64, n: u64) -> Moment {
        let phases = Phase::ALL.len() as u64;
        let order = Moment::order(seed, n / phases);
        let phase = order.get((n % phases) as usize).copied().unwrap_or(Phase::Any);
        let mut dice = Dice::new(seed, n, Purpose::Kill);
        let (life_ms_max, then_ms_max) = phase.times_ms();
        let life = Duration::from_millis(dice.below(life_ms_max).into());
        Moment { phase, life, then: Duration::from_micros(dice.below(1_000 * then_ms_max).into()) }
    }

    /// All phases, shuffled (Fisher and Yates) anew for each round.
    fn order(seed: u64, round: u64) -> [Phase; Phase::ALL.len()] {
        let mut dice = Dice::new(!seed, round, Purpose::Kill);
        let mut order = Phase::ALL;
        for last in (1..order.len()).rev() {
            order.swap(last, dice.below(last as u32 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn moments(seed: u64, count: u64) -> Vec<Moment> {
        (0..count).map(|n| Moment::nth(seed, n)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_moments_and_another_others() {
        assert_eq!(moments(7, 100), moments(7, 100));
        assert_ne!(moments(7, 100), moments(8, 100));
    }

    #[test]
    fn every_phase_has_its_turn_in_every_round() {
        for seed in 0..20 {
            let mut turns = BTreeMap::<Phase, u32>::new();
            moments(seed, 24).iter().for_each(|moment| *turns.entry(moment.phase).or_default() += 1);
            assert_eq!(turns.len(), Phase::ALL.len(), "{seed}");
            assert!(turns.values().all(|turns| *turns == 2), "{seed}: {turns:?}");
        }
    }

    #[test]
    fn the_times_of_a_phase_spread_over_all_it_allows() {
        let thens: Vec<Duration> = (0..6_000)
            .map(|n| Moment::nth(3, n))
            .filter(|moment| moment.phase == Phase::Rewind)
            .map(|moment| moment.then)
            .collect();
        let (least, most) = (thens.iter().min().unwrap(), thens.iter().max().unwrap());
        assert!(
            *least < Duration::from_millis(10) && *most > Duration::from_millis(590),
            "{least:?} {most:?}"
        );
        assert!(*most < Duration::from_millis(600));
    }
}
