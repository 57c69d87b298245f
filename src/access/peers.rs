//! How much of a door one peer may hold, and all strangers together.
//!
//! A *peer* is a user on this machine or an address on the network. A *stranger* has connected and not yet been let
//! in. Strangers have places of their own, so that they cannot take those of the clients that are in; and when all
//! of theirs are taken the one that has waited longest goes, so that whoever says who they are gets in however many
//! others only hold a connection.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// How long a stranger may take its time before it can be sent away for a new one: more than a round trip around
/// the world and the scheduling of a busy machine.
pub const STRANGER_GRACE: Duration = Duration::from_millis(500);

/// How late the first wrong token is answered; each further one twice as late.
const PENALTY_FIRST: Duration = Duration::from_millis(250);

/// Without a wrong token for so long a peer is as good as new.
const PENALTY_FORGET: Duration = Duration::from_secs(60);

/// Peers whose wrong tokens are remembered: 64 KiB. Beyond, the one that has been quiet longest is forgotten.
const PENALISED_PEERS_MAX: usize = 1024;

/// Between two lines in the log about one kind of refusal of one peer.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Kinds of refusals of peers that the log is told of in that time: 64 KiB. Beyond, it hears of no others.
const TOLD_MAX: usize = 1024;

/// Who is at the other end, as far as the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A user of this machine.
    User(u32),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The network part of an IPv6 address: one customer has at least a /64, and may use each address in it.
    V6([u16; 4]),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Peer {
        match address.to_canonical() {
            IpAddr::V4(address) => Peer::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Peer::V6([a, b, c, d])
            }
        }
    }
}

/// How much a door gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections of one peer, let in or not.
    pub per_peer_max: usize,
    /// Most connections that are not let in yet.
    pub strangers_max: usize,
    /// Latest answer to a wrong token.
    pub penalty_max: Duration,
}

/// What a gate has seen, for metrics. Counters count from the start of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections now.
    pub connections: usize,
    /// Of these, those that are not let in yet.
    pub strangers: usize,
    /// Connections turned away or cut off because a limit was reached.
    pub crowded: u64,
    /// Wrong tokens.
    pub wrong_tokens: u64,
}

/// Counts the connections of one door.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    /// Places of those who were let in; doors may share them.
    places: Arc<Semaphore>,
    book: Mutex<Book>,
    /// A stranger's place has become free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Book {
    peers: FxHashMap<Peer, usize>,
    /// By their number, so that the one that has waited longest comes first.
    strangers: BTreeMap<u64, Stranger>,
    numbers: u64,
    penalties: FxHashMap<Peer, Penalty>,
    /// What the log was told, and when; how often it came since.
    told: FxHashMap<(Peer, &'static str), (Instant, u64)>,
    crowded: u64,
    wrong_tokens: u64,
}

#[derive(Debug)]
struct Stranger {
    since: Instant,
    /// Dropping it sends them away.
    _stay: oneshot::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
struct Penalty {
    wrong: u32,
    last: Instant,
    /// When the log was last told.
    told: Option<Instant>,
    /// Wrong tokens that the log was not told of.
    untold: u64,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// This peer has as many connections as it may.
    Peer,
    /// Every place of a stranger is taken, by some that have just come: ask again then, or when one is freed.
    Strangers(Instant),
}

impl Gate {
    /// A gate with nobody in. `places` are those of clients that are let in.
    pub fn new(limits: Limits, places: Arc<Semaphore>) -> Gate {
        Gate(Arc::new(Shared { limits, places, book: Mutex::default(), freed: Notify::new() }))
    }

    /// Gives a new connection a stranger's place, if need be that of the one who has waited longest.
    ///
    /// # Errors
    ///
    /// See [`Crowded`].
    pub fn knock(&self, peer: Peer, now: Instant) -> Result<Place, Crowded> {
        let Shared { limits, book, .. } = &*self.0;
        let mut book = book.lock();
        if book.peers.get(&peer).is_some_and(|held| *held >= limits.per_peer_max) {
            book.crowded += 1;
            return Err(Crowded::Peer);
        }
        if book.strangers.len() >= limits.strangers_max
            && let Some(longest) = book.strangers.first_entry()
        {
            let until = longest.get().since + STRANGER_GRACE;
            if now < until {
                return Err(Crowded::Strangers(until));
            }
            longest.remove();
            book.crowded += 1;
        }
        book.numbers += 1;
        let number = book.numbers;
        let (stay, leave) = oneshot::channel();
        book.strangers.insert(number, Stranger { since: now, _stay: stay });
        *book.peers.entry(peer).or_default() += 1;
        Ok(Place { gate: Some((self.clone(), peer)), stranger: Some((number, leave)), permit: None })
    }

    /// The same, waiting for a place as long as that takes.
    ///
    /// # Errors
    ///
    /// This peer has as many connections as it may.
    pub async fn enter(&self, peer: Peer) -> Result<Place, Crowded> {
        loop {
            let freed = self.0.freed.notified();
            match self.knock(peer, tokio::time::Instant::now().into_std()) {
                Err(Crowded::Strangers(until)) => {
                    _ = tokio::time::timeout_at(until.into(), freed).await;
                }
                other => return other,
            }
        }
    }

    /// What it has seen.
    pub fn counts(&self) -> Counts {
        let book = self.0.book.lock();
        Counts {
            connections: book.peers.values().sum(),
            strangers: book.strangers.len(),
            crowded: book.crowded,
            wrong_tokens: book.wrong_tokens,
        }
    }

    /// Most connections of one peer.
    pub fn per_peer_max(&self) -> usize {
        self.0.limits.per_peer_max
    }

    /// This peer has shown a wrong token: how late it should hear of it. A right one is never answered late, so
    /// that a guesser slows down nobody who shares its address.
    fn penalty(&self, peer: Peer, now: Instant) -> Duration {
        let mut book = self.0.book.lock();
        book.wrong_tokens += 1;
        if book.penalties.len() >= PENALISED_PEERS_MAX && !book.penalties.contains_key(&peer) {
            let quietest = book.penalties.iter().min_by_key(|(_, penalty)| penalty.last);
            let quietest = quietest.map(|(peer, _)| *peer);
            quietest.and_then(|quietest| book.penalties.remove(&quietest));
        }
        let penalty =
            book.penalties.entry(peer).or_insert(Penalty { wrong: 0, last: now, told: None, untold: 0 });
        if now.saturating_duration_since(penalty.last) > PENALTY_FORGET {
            penalty.wrong = 0;
        }
        penalty.last = now;
        penalty.untold += 1;
        let doubled = 1_u32.checked_shl(penalty.wrong).unwrap_or(u32::MAX);
        penalty.wrong = penalty.wrong.saturating_add(1).min(u32::BITS);
        PENALTY_FIRST.saturating_mul(doubled).min(self.0.limits.penalty_max)
    }

    /// A refusal of this `kind`: how many of this peer the log should hear of now, at the first and then once a minute
    /// at most. However many peers there are, it is told of so many in a minute that it cannot be flooded.
    pub fn refusals_to_log(&self, peer: Peer, kind: &'static str, now: Instant) -> Option<u64> {
        let told = &mut self.0.book.lock().told;
        if told.len() >= TOLD_MAX && !told.contains_key(&(peer, kind)) {
            told.retain(|_, (last, _)| now.saturating_duration_since(*last) < TELL_EVERY);
            if told.len() >= TOLD_MAX {
                return None;
            }
        }
        let Some((last, untold)) = told.get_mut(&(peer, kind)) else {
            told.insert((peer, kind), (now, 0));
            return Some(1);
        };
        *untold += 1;
        if now.saturating_duration_since(*last) < TELL_EVERY {
            return None;
        }
        *last = now;
        Some(std::mem::take(untold))
    }

    fn to_log(&self, peer: Peer, now: Instant) -> Option<u64> {
        let mut book = self.0.book.lock();
        let penalty = book.penalties.get_mut(&peer)?;
        if penalty.told.is_some_and(|told| now.saturating_duration_since(told) < PENALTY_FORGET) {
            return None;
        }
        penalty.told = Some(now);
        Some(std::mem::take(&mut penalty.untold))
    }
}

/// A connection's place at a gate, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Option<(Gate, Peer)>,
    stranger: Option<(u64, oneshot::Receiver<()>)>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// A place where nobody counts: for a stream that somebody has connected for us.
    pub fn uncounted() -> Place {
        Place { gate: None, stranger: None, permit: None }
    }

    /// Whose it is, where somebody counts.
    pub fn peer(&self) -> Option<Peer> {
        self.gate.as_ref().map(|(_, peer)| *peer)
    }

    /// Gives up the stranger's place for a client's; false if there is none.
    #[must_use]
    pub fn admit(&mut self) -> bool {
        let Some((gate, _)) = &self.gate else { return true };
        if self.permit.is_none() {
            self.permit = Arc::clone(&gate.0.places).try_acquire_owned().ok();
            if self.permit.is_none() {
                gate.0.book.lock().crowded += 1;
                return false;
            }
        }
        self.leave_strangers();
        true
    }

    /// Waits until this stranger is sent away for another one. Never, once it is let in.
    pub async fn sent_away(&mut self) {
        match &mut self.stranger {
            // The sender is dropped and never sends.
            Some((_, leave)) => _ = leave.await,
            None => std::future::pending().await,
        }
    }

    /// The same wait, on its own: the place may be shared meanwhile.
    pub fn until_sent_away(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let (stay, leave) = oneshot::channel();
        let leave = match &mut self.stranger {
            Some((_, ours)) => std::mem::replace(ours, leave),
            None => return Box::pin(std::future::pending()),
        };
        drop(stay);
        Box::pin(async move { _ = leave.await })
    }

    /// How late a wrong token should be answered to this peer, each one later than the last; none where nobody counts.
    pub fn penalty(&self, now: Instant) -> Duration {
        self.gate.as_ref().map_or(Duration::ZERO, |(gate, peer)| gate.penalty(*peer, now))
    }

    /// How many wrong tokens of this peer the log should hear of now: at the first, and then once a minute at most,
    /// so that who guesses cannot fill it.
    pub fn to_log(&self, now: Instant) -> Option<u64> {
        self.gate.as_ref().and_then(|(gate, peer)| gate.to_log(*peer, now))
    }

    /// Whose refusals of this kind, and how many, the log should hear of now: see [`Gate::refusals_to_log`].
    pub fn refusals_to_log(&self, kind: &'static str, now: Instant) -> Option<(Peer, u64)> {
        let (gate, peer) = self.gate.as_ref()?;
        Some((*peer, gate.refusals_to_log(*peer, kind, now)?))
    }

    fn leave_strangers(&mut self) {
        if let (Some((gate, _)), Some((number, _))) = (&self.gate, self.stranger.take()) {
            gate.0.book.lock().strangers.remove(&number);
            gate.0.freed.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_strangers();
        let Some((gate, peer)) = &self.gate else { return };
        let mut book = gate.0.book.lock();
        if let Some(held) = book.peers.get_mut(peer) {
            *held -= 1;
            if *held == 0 {
                book.peers.remove(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer::User(7);

    fn gate(per_peer_max: usize, strangers_max: usize, places: usize) -> Gate {
        let limits = Limits { per_peer_max, strangers_max, penalty_max: Duration::from_secs(5) };
        Gate::new(limits, Arc::new(Semaphore::new(places)))
    }

    #[test]
    fn a_peer_gets_its_share_and_leaves_the_rest_to_others() {
        let (gate, now) = (gate(2, 10, 10), Instant::now());
        let first = gate.knock(PEER, now).unwrap();
        let mut second = gate.knock(PEER, now).unwrap();
        assert!(second.admit());
        assert_eq!(gate.knock(PEER, now).unwrap_err(), Crowded::Peer, "let in or not, it counts");
        let _other = gate.knock(Peer::User(8), now).unwrap();
        let counts = Counts { connections: 3, strangers: 2, crowded: 1, wrong_tokens: 0 };
        assert_eq!(gate.counts(), counts);
        drop(first);
        let _third = gate.knock(PEER, now).unwrap();
        drop(second);
        assert_eq!(gate.counts(), Counts { connections: 2, ..counts });
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_strangers_the_one_that_waited_longest_goes_and_not_before_its_time() {
        let (gate, begun) = (gate(10, 2, 1), tokio::time::Instant::now());
        let mut longest = gate.enter(PEER).await.unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
        let mut other = gate.enter(PEER).await.unwrap();
        let mut newcomer = gate.enter(PEER).await.unwrap();
        assert_eq!(begun.elapsed(), STRANGER_GRACE);
        let sent_away = tokio::time::timeout(Duration::from_secs(1), longest.sent_away()).await;
        assert!(sent_away.is_ok(), "the one that waited longest stays");
        assert_eq!(gate.counts().strangers, 2);
        // One that is let in makes room at once, and is never sent away.
        assert!(other.admit());
        let _another = gate.enter(PEER).await.unwrap();
        assert_eq!(begun.elapsed(), STRANGER_GRACE);
        assert!(!newcomer.admit(), "the one client's place is taken");
        drop((longest, other));
        assert!(newcomer.admit());
        assert_eq!(gate.counts().crowded, 2);
    }

    #[test]
    fn a_wrong_token_is_answered_later_each_time_and_forgotten_after_a_minute() {
        let (gate, begun) = (gate(9, 9, 9), Instant::now());
        let place = gate.knock(PEER, begun).unwrap();
        let millis = |at: u64| place.penalty(begun + Duration::from_secs(at)).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(millis), [250, 500, 1000, 2000, 4000, 5000, 5000]);
        (0..100).for_each(|_| _ = millis(7));
        assert_eq!(millis(67), 5000);
        assert_eq!(millis(128), 250);
        let other = gate.knock(Peer::User(8), begun).unwrap();
        assert_eq!(other.penalty(begun + Duration::from_secs(128)).as_millis(), 250, "each for itself");
        assert_eq!(gate.counts().wrong_tokens, 110);
    }

    #[test]
    fn the_log_hears_of_the_first_wrong_token_and_then_once_a_minute_how_many() {
        let (gate, begun) = (gate(9, 9, 9), Instant::now());
        let place = gate.knock(PEER, begun).unwrap();
        let guess = |second: u64| {
            let now = begun + Duration::from_secs(second);
            place.penalty(now);
            place.to_log(now)
        };
        let told = [0, 1, 30, 59, 60, 61, 200].map(guess);
        assert_eq!(told, [Some(1), None, None, None, Some(4), None, Some(2)]);
        assert_eq!(gate.knock(Peer::User(8), begun).unwrap().to_log(begun), None, "it has not guessed");
    }

    #[test]
    fn the_log_hears_of_each_kind_of_refusal_once_a_minute_and_of_so_many_peers_at_most() {
        let (gate, begun) = (gate(9, 9, 9), Instant::now());
        let refused = |user: u32, kind: &'static str, second: u64| {
            gate.refusals_to_log(Peer::User(user), kind, begun + Duration::from_secs(second))
        };
        let told = [0, 1, 59, 60, 61, 200].map(|second| refused(7, "a", second));
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
        assert_eq!((refused(7, "b", 200), refused(8, "a", 200)), (Some(1), Some(1)), "each for itself");
        let lines = (100..3000).filter(|user| refused(*user, "a", 201).is_some()).count();
        assert_eq!(lines, TOLD_MAX - 3);
        assert_eq!(refused(1, "a", 259), None);
        assert_eq!(refused(1, "a", 270), Some(1), "there is room again");
        assert!(gate.0.book.lock().told.len() <= TOLD_MAX);
    }

    #[test]
    fn the_penalties_of_many_peers_are_bounded() {
        let (gate, now) = (gate(9, 9, 9), Instant::now());
        for user in 0..PENALISED_PEERS_MAX as u32 + 50 {
            gate.penalty(Peer::User(user), now + Duration::from_millis(user.into()));
        }
        let book = gate.0.book.lock();
        assert_eq!(book.penalties.len(), PENALISED_PEERS_MAX);
        assert!(
            !book.penalties.contains_key(&Peer::User(49)) && book.penalties.contains_key(&Peer::User(50))
        );
    }

    #[test]
    fn an_ipv6_customer_is_one_peer_and_a_mapped_address_is_its_ipv4() {
        let peer = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }
}
