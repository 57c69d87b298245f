//! What bridges say of themselves, for the operator. In memory: a bridge says it again when it connects.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ledger::outbox::ClientId;
use crate::ticket::proto::BridgeState;

/// Most bridges that are kept. Beyond, those that have gone make room, the longest gone first; then nobody is added.
const BRIDGES_MAX: usize = 64;
/// How long one that has gone is shown: long enough to be missed.
const GONE_MAX: Duration = Duration::from_secs(60 * 60);

/// Bridges by subscription and name.
#[derive(Debug, Default)]
pub struct Bridges(Mutex<BTreeMap<(String, String), Kept>>);

#[derive(Debug)]
struct Kept {
    client: ClientId,
    state: BridgeState,
    /// When its connection ended.
    gone_at: Option<Instant>,
}

/// One bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Of its connection; empty where it has none.
    pub subscription: String,
    /// As it said last.
    pub state: BridgeState,
    /// Whether it is connected.
    pub is_connected: bool,
}

impl Bridges {
    /// A bridge says how it stands.
    pub(super) fn say(&self, subscription: &str, client: ClientId, state: BridgeState, now: Instant) {
        let mut bridges = self.0.lock();
        forget(&mut bridges, now);
        let key = (subscription.to_owned(), state.name.clone());
        if bridges.len() >= BRIDGES_MAX && !bridges.contains_key(&key) {
            let gone = bridges.iter().filter_map(|(key, kept)| Some((kept.gone_at?, key.clone())));
            match gone.min() {
                Some((_, longest)) => drop(bridges.remove(&longest)),
                None => return,
            }
        }
        bridges.insert(key, Kept { client, state, gone_at: None });
    }

    /// A connection has ended.
    pub(super) fn left(&self, client: ClientId, now: Instant) {
        let mut bridges = self.0.lock();
        for kept in bridges.values_mut().filter(|kept| kept.client == client) {
            kept.gone_at.get_or_insert(now);
        }
    }

    /// All of them, by subscription and name.
    pub fn all(&self, now: Instant) -> Vec<Said> {
        let mut bridges = self.0.lock();
        forget(&mut bridges, now);
        let said = bridges.iter().map(|((subscription, _), kept)| Said {
            subscription: subscription.clone(),
            state: kept.state.clone(),
            is_connected: kept.gone_at.is_none(),
        });
        said.collect()
    }
}

fn forget(bridges: &mut BTreeMap<(String, String), Kept>, now: Instant) {
    bridges.retain(|_, kept| kept.gone_at.is_none_or(|at| now.duration_since(at) < GONE_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, made: u64) -> BridgeState {
        BridgeState { name: name.to_owned(), made, ..BridgeState::default() }
    }

    fn shown(bridges: &Bridges, now: Instant) -> Vec<(String, u64, bool)> {
        let all = bridges.all(now).into_iter();
        all.map(|said| (said.state.name, said.state.made, said.is_connected)).collect()
    }

    #[test]
    fn one_that_has_gone_is_shown_for_an_hour_and_one_that_is_back_as_before() {
        let (bridges, now) = (Bridges::default(), Instant::now());
        bridges.say("s", ClientId(1), state("desk", 1), now);
        bridges.say("s", ClientId(1), state("desk", 2), now);
        assert_eq!(shown(&bridges, now), [("desk".to_owned(), 2, true)]);
        // The new connection comes before the end of the old one is noticed.
        bridges.say("s", ClientId(2), state("desk", 3), now);
        bridges.left(ClientId(1), now);
        assert_eq!(shown(&bridges, now), [("desk".to_owned(), 3, true)]);
        bridges.left(ClientId(2), now);
        let later = now + GONE_MAX - Duration::from_secs(1);
        assert_eq!(shown(&bridges, later), [("desk".to_owned(), 3, false)]);
        assert_eq!(shown(&bridges, now + GONE_MAX), []);
    }

    #[test]
    fn no_more_are_kept_than_there_are_places_and_who_is_there_stays() {
        let (bridges, now) = (Bridges::default(), Instant::now());
        for n in 0..BRIDGES_MAX as u64 {
            bridges.say("s", ClientId(n), state(&format!("{n:02}"), 0), now);
        }
        bridges.say("s", ClientId(99), state("more", 0), now);
        assert!(shown(&bridges, now).iter().all(|(name, ..)| name != "more"));
        bridges.left(ClientId(7), now + Duration::from_secs(2));
        bridges.left(ClientId(5), now + Duration::from_secs(1));
        bridges.say("s", ClientId(99), state("more", 0), now + Duration::from_secs(3));
        let names: Vec<_> = shown(&bridges, now).into_iter().map(|(name, ..)| name).collect();
        assert!(names.contains(&"more".to_owned()) && !names.contains(&"05".to_owned()), "{names:?}");
        assert_eq!(names.len(), BRIDGES_MAX);
    }
}
