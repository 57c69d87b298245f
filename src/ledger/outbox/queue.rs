//! The records of one subscription, and what the order among them costs.

use std::cmp::{Ordering, Reverse};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{ClientId, Filter, Place, RecordHead, Reranked, Seq, Taken, Traits};

/// Tables smaller than this keep their memory when they run empty: below 64 KiB it is not worth returning.
const CAPACITY_KEPT: usize = 2048;

/// What a subscription has not acknowledged.
///
/// A record is in `ready`, `behind`, `deferred` or `in_flight`. Of each ticket at most one record is
/// outside `behind`: `led` has that ticket's key and the record's seq.
///
/// A record in `ready` whose place has changed is there more than once, since a heap cannot be searched: the entry with
/// the place that `reranked` names counts, the others are dropped when they come up.
#[derive(Debug, Default)]
pub(super) struct Queue {
    filter: Filter,
    /// Tickets up to and including this seq are not for this subscription.
    start: u64,
    /// The newest record offered, whether or not it passed the filter.
    newest: Option<Seq>,
    ready: BinaryHeap<Ready>,
    /// Records whose ticket has an older unacknowledged one. Few: updates come long after their tickets.
    behind: BTreeMap<(TicketKey, Seq), Arc<RecordHead>>,
    led: FxHashMap<TicketKey, Seq>,
    /// Records that have entries of older places in `ready`.
    reranked: FxHashMap<Seq, Counts>,
    /// How many such entries there are.
    stale: usize,
    deferred: BTreeMap<(Instant, Seq), Arc<RecordHead>>,
    in_flight: FxHashMap<Seq, InFlight>,
    /// Whether a record became ready since somebody asked.
    has_news: bool,
    /// How often a record was taken, for those that were and are not in flight now.
    attempts: FxHashMap<Seq, u32>,
    /// How many were acknowledged while in flight.
    acknowledged: u64,
}

#[derive(Debug)]
struct InFlight {
    client: ClientId,
    attempt: u32,
    head: Arc<RecordHead>,
}

/// Of a record with several entries in `ready`, which one counts. No two of them have the same place.
#[derive(Debug)]
struct Counts {
    place: Place,
    /// The entry's own may be older: an entry of an older place can come to count again.
    head: Arc<RecordHead>,
    /// The places of the others.
    stale: Vec<Place>,
}

/// The first 8 bytes of a ticket's id, which is a cryptographic hash. Two tickets that share them, one
/// pair in 2³² tickets, only wait for each other: half the memory for no loss.
type TicketKey = u64;

fn key_of(head: &RecordHead) -> TicketKey {
    let (key, _) = head.ticket_id.as_bytes().split_first_chunk().expect("a ticket's id has 16 bytes");
    u64::from_le_bytes(*key)
}

/// A record in the heap, with its order beside it: following the pointer at each comparison would miss
/// the cache twenty times a take among a million.
#[derive(Debug)]
struct Ready {
    rank: i64,
    due_at_us: i64,
    head: Arc<RecordHead>,
    seq: Seq,
}

impl Ready {
    fn new(head: Arc<RecordHead>) -> Ready {
        Ready { rank: head.rank, due_at_us: head.due_at_us, seq: head.seq, head }
    }

    fn order(&self) -> (i64, Reverse<i64>, Reverse<Seq>) {
        (self.rank, Reverse(self.due_at_us), Reverse(self.seq))
    }
}

impl Ord for Ready {
    fn cmp(&self, other: &Ready) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Ready) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Ready) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ready {}

impl Queue {
    /// Replaces the filter and all that is not in flight. `heads` are sorted by seq, each once.
    pub(super) fn open(&mut self, filter: Filter, heads: Vec<Arc<RecordHead>>) {
        self.filter = filter;
        self.ready.clear();
        self.reranked.clear();
        self.stale = 0;
        self.behind.clear();
        self.led = self.in_flight.values().map(|flight| (key_of(&flight.head), flight.head.seq)).collect();
        let deferred: FxHashMap<Seq, Instant> =
            std::mem::take(&mut self.deferred).into_keys().map(|(until, seq)| (seq, until)).collect();
        let mut attempts = std::mem::take(&mut self.attempts);
        for head in heads {
            self.newest = self.newest.max(Some(head.seq));
            if let Some(flight) = self.in_flight.get_mut(&head.seq) {
                flight.head = head;
                continue;
            }
            if !self.filter.matches(&head.traits) {
                continue;
            }
            if let Some(attempt) = attempts.remove(&head.seq) {
                self.attempts.insert(head.seq, attempt);
            }
            match deferred.get(&head.seq) {
                Some(&until) if self.lead(&head) => {
                    self.deferred.insert((until, head.seq), head);
                }
                _ => self.admit(head),
            }
        }
        self.trim();
    }

    pub(super) fn publish(&mut self, head: &Arc<RecordHead>) {
        if self.newest >= Some(head.seq) {
            return;
        }
        self.newest = Some(head.seq);
        if head.ticket_seq.get() > self.start && self.filter.matches(&head.traits) {
            self.admit(Arc::clone(head));
        }
    }

    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    pub(super) fn take(&mut self, client: ClientId, now: Instant) -> Option<Taken> {
        while let Some(first) = self.deferred.first_entry().filter(|first| first.key().0 <= now) {
            let head = first.remove();
            self.make_ready(head);
        }
        let (seq, head) = loop {
            let Ready { rank, due_at_us, seq, head } = self.ready.pop()?;
            let place = Place { rank, due_at_us };
            let Entry::Occupied(mut entry) = self.reranked.entry(seq) else { break (seq, head) };
            let counts = entry.get_mut();
            if counts.place == place {
                let head = counts.head.clone();
                if counts.stale.is_empty() {
                    entry.remove();
                }
                break (seq, head);
            }
            self.stale -= 1;
            counts.stale.retain(|stale| *stale != place);
            // Of one that waits here no more nothing is left to be told apart.
            if counts.stale.is_empty()
                && (self.in_flight.contains_key(&seq) || self.led.get(&key_of(&head)) != Some(&seq))
            {
                entry.remove();
            }
        };
        self.trim();
        let attempt = self.attempts.remove(&seq).unwrap_or(0).saturating_add(1);
        let Traits { priority, rescored, .. } = &head.traits;
        let priority_now = rescored.as_ref().map(|(now, _)| *now).filter(|now| now != priority);
        self.in_flight.insert(seq, InFlight { client, attempt, head });
        Some(Taken { seq, attempt, priority_now })
    }

    /// Gives the records of a ticket another place in the order, as far as they still wait for one.
    pub(super) fn rerank(&mut self, name: &String, reranked: &Reranked) {
        let Reranked { records, place_before, rescored_before } = reranked;
        for (head, has_it) in records {
            let passes_by = |rescored: &Option<(u16, Box<str>)>| {
                let traits = Traits { rescored: rescored.clone(), ..head.traits.clone() };
                self.filter.matches(&traits)
            };
            let is_news = !passes_by(rescored_before) && passes_by(&head.traits.rescored);
            let key = key_of(head);
            // One that is with a client comes back by what it is now.
            if let Some(flight) = self.in_flight.get_mut(&head.seq) {
                flight.head = head.clone();
            } else if is_news {
                if head.ticket_seq.get() > self.start && !has_it.contains(name) {
                    self.admit(head.clone());
                }
            } else if let Some(behind) = self.behind.get_mut(&(key, head.seq)) {
                *behind = head.clone();
            } else if self.led.get(&key) != Some(&head.seq) {
                // Acknowledged, or never wanted.
            } else if let Some((_, deferred)) = self.deferred.iter_mut().find(|((_, of), _)| *of == head.seq)
            {
                *deferred = head.clone();
            } else {
                self.rerank_ready(head, *place_before);
            }
        }
    }

    /// The record is in `ready`; at `place_before`, unless that is said there.
    fn rerank_ready(&mut self, head: &Arc<RecordHead>, place_before: Place) {
        let counts = self.reranked.entry(head.seq);
        let counts =
            counts.or_insert_with(|| Counts { place: place_before, head: head.clone(), stale: Vec::new() });
        if counts.place == Place::of(head) {
            counts.head = head.clone();
            return;
        }
        counts.stale.push(counts.place);
        self.stale += 1;
        self.has_news = true;
        self.make_ready(head.clone());
    }

    pub(super) fn acknowledge(&mut self, seqs: &[Seq]) -> bool {
        let ready_before = self.ready.len();
        let mut elsewhere = FxHashSet::default();
        for seq in seqs {
            match self.in_flight.remove(seq) {
                Some(flight) => {
                    self.acknowledged += 1;
                    self.advance(key_of(&flight.head));
                }
                None => _ = elsewhere.insert(*seq),
            }
        }
        let promoted = self.ready.len() > ready_before;
        promoted | (!elsewhere.is_empty() && self.forget(&elsewhere))
    }

    pub(super) fn nack(&mut self, client: ClientId, seq: Seq, until: Option<Instant>) -> bool {
        if self.in_flight.get(&seq).is_none_or(|flight| flight.client != client) {
            return false;
        }
        if let Some(flight) = self.in_flight.remove(&seq) {
            self.put_back(flight, until);
        }
        true
    }

    pub(super) fn release(&mut self, client: ClientId) -> usize {
        let released: Vec<_> = self
            .in_flight
            .extract_if(|_, flight| flight.client == client)
            .map(|(_, flight)| flight)
            .collect();
        let records = released.len();
        for flight in released {
            self.put_back(flight, None);
        }
        records
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deferred.first_key_value().map(|((until, _), _)| *until)
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn start_after(&mut self, seq: u64) {
        self.start = seq;
    }

    pub(super) fn pending(&self) -> usize {
        self.ready.len() - self.stale + self.behind.len()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// Takes in a record that is nowhere yet.
    fn admit(&mut self, head: Arc<RecordHead>) {
        if self.lead(&head) {
            self.has_news = true;
            self.make_ready(head);
        } else {
            self.behind.insert((key_of(&head), head.seq), head);
        }
    }

    /// Whether this record leads its ticket, now that nobody else does.
    fn lead(&mut self, head: &RecordHead) -> bool {
        match self.led.entry(key_of(head)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(head.seq);
                true
            }
        }
    }

    /// A record comes back from a client: it still leads its ticket, unless the filter has changed.
    fn put_back(&mut self, InFlight { attempt, head, .. }: InFlight, until: Option<Instant>) {
        if !self.filter.matches(&head.traits) {
            return self.advance(key_of(&head));
        }
        self.attempts.insert(head.seq, attempt);
        match until {
            Some(until) => _ = self.deferred.insert((until, head.seq), head),
            None => self.make_ready(head),
        }
    }

    /// Puts a record where it can be taken from, where no entry of its counts.
    fn make_ready(&mut self, head: Arc<RecordHead>) {
        if let Some(counts) = self.reranked.get_mut(&head.seq) {
            let place = Place::of(&head);
            (counts.place, counts.head) = (place, head.clone());
            // An entry of this place is there already, and counts from now on.
            if let Some(at) = counts.stale.iter().position(|stale| *stale == place) {
                counts.stale.swap_remove(at);
                self.stale -= 1;
                return;
            }
        }
        self.ready.push(Ready::new(head));
    }

    /// The record that led its ticket is gone: the next one leads, if there is one.
    fn advance(&mut self, key: TicketKey) {
        let behind = (key, Seq(NonZeroU64::MIN))..=(key, Seq(NonZeroU64::MAX));
        match self.behind.range(behind).next().map(|(place, _)| *place) {
            Some(place) => {
                self.led.insert(key, place.1);
                if let Some(head) = self.behind.remove(&place) {
                    self.make_ready(head);
                }
            }
            None => _ = self.led.remove(&key),
        }
    }

    /// Removes records that are not in flight; whether one behind them is ready now.
    fn forget(&mut self, seqs: &FxHashSet<Seq>) -> bool {
        let mut leaderless = FxHashSet::default();
        self.ready.retain(|ready| {
            let kept = !seqs.contains(&ready.seq);
            // An entry of an older place may stand for a record that is gone already.
            if !kept && self.led.get(&key_of(&ready.head)) == Some(&ready.seq) {
                leaderless.insert(key_of(&ready.head));
            }
            kept
        });
        let mut stale = 0;
        self.reranked.retain(|seq, counts| {
            let kept = !seqs.contains(seq);
            stale += if kept { 0 } else { counts.stale.len() };
            kept
        });
        self.stale -= stale;
        self.deferred.retain(|(_, seq), head| {
            let kept = !seqs.contains(seq);
            if !kept {
                leaderless.insert(key_of(head));
            }
            kept
        });
        self.behind.retain(|(_, seq), _| !seqs.contains(seq));
        self.attempts.retain(|seq, _| !seqs.contains(seq));
        let ready_before = self.ready.len();
        for key in leaderless {
            self.advance(key);
        }
        self.ready.len() > ready_before
    }

    /// Returns the memory of a backlog that has been worked off.
    fn trim(&mut self) {
        if self.ready.capacity() > CAPACITY_KEPT && self.ready.len() < self.ready.capacity() / 4 {
            self.ready.shrink_to(self.ready.capacity() / 2);
        }
        if self.led.capacity() > CAPACITY_KEPT && self.led.len() < self.led.capacity() / 4 {
            self.led.shrink_to(self.led.capacity() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_record_costs_32_bytes_in_the_heap() {
        assert_eq!(size_of::<Ready>(), 32);
    }

    #[test]
    fn a_backlog_worked_off_returns_its_memory() {
        let head = |seq: u64| RecordHead {
            seq: Seq::new(seq).unwrap(),
            ticket_id: crate::ticket::TicketId::of_post(crate::parse::Network::X, &seq.to_string()),
            ticket_seq: Seq::new(seq).unwrap(),
            rank: 0,
            due_at_us: 0,
            traits: super::super::Traits {
                brand: "lumio".into(),
                network: crate::parse::Network::X,
                language: "fr".into(),
                intent: "complaint".into(),
                priority: 1,
                rescored: None,
            },
        };
        let mut queue = Queue::default();
        for seq in 1..=20_000 {
            queue.publish(&Arc::new(head(seq)));
        }
        let now = Instant::now();
        while let Some(taken) = queue.take(ClientId(1), now) {
            queue.acknowledge(&[taken.seq]);
        }
        assert!(queue.ready.capacity() <= CAPACITY_KEPT * 2, "{}", queue.ready.capacity());
        assert!(queue.led.capacity() <= CAPACITY_KEPT * 2, "{}", queue.led.capacity());
    }
}
