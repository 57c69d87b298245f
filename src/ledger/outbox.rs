//! Who gets which record next: pending and in-flight records of every subscription, in memory.
//!
//! Pure: it reads no clock and does no IO. The ledger opens subscriptions and publishes what it has made
//! durable; the wire takes, acknowledges and puts back. Nothing here is durable itself: after a restart
//! the ledger opens each subscription again with the heads that nobody has acknowledged, and attempts
//! count from 1.
//!
//! # Promises
//!
//! - A record that passes the filter is in exactly one place until it is acknowledged: ready, behind an
//!   older record of its ticket, deferred, or in flight with one client.
//! - [`Outbox::take`] gives the ready record with the greatest rank, then the nearest `due_at_us`, then
//!   the smallest seq.
//! - Records of one ticket are delivered in seq order, and the next only once the one before is
//!   acknowledged: a client never meets an update of a ticket that it does not have. This leans on an
//!   update carrying the [`Traits`] of its ticket, so that a filter passes both or neither.
//!
//! # Ageing
//!
//! Waiting earns points at one rate for all, so at instant `now` a record is worth
//! `priority + (now − created) / step`, where `step` is the time that earns one point. `now` is the same
//! for every record that could be sent, so comparing those sums is comparing `priority − created / step`,
//! which never changes: [`rank`] is computed once, and the order is never recomputed. `created / step` is
//! rounded down, so records created within the same step with equal priority tie, and then urgency and
//! age decide. The sum is not clamped: a record of priority 0 overtakes new ones of 1000 after
//! 1000 steps, which is 10 hours at the default rate, and so nothing starves.
//!
//! # Memory
//!
//! A pending record costs each subscription 32 bytes in its heap and 17 in the table of led tickets;
//! with the growth of both about 75 bytes, 130 at worst just after doubling. The head is shared by
//! all subscriptions: about 180 bytes with its strings. A million pending records in one subscription are
//! therefore some 260 MB, in four subscriptions some 490 MB.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::{RecordHead, Seq, Traits};
use crate::access::brands;
use crate::parse::Network;

mod queue;

use queue::Queue;

/// Points a waiting record earns in an hour unless the operator says otherwise: one each 36 seconds, so
/// that the lowest priority overtakes the highest in a working day.
pub const AGEING_POINTS_PER_HOUR: u32 = 100;

/// Most subscriptions held: each costs memory for everything it has not acknowledged, and anyone who may
/// connect may name a new one. Helpdesks have one each; 256 leaves room for every desk of a large company.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// Most subscriptions of one grant that is limited to brands, which are named `TOKEN/NAME`: it must not take the
/// others' places.
pub const SUBSCRIPTIONS_OWNED_MAX: usize = 32;

/// Most subscriptions without a name at once: each costs as much as a named one, for as long as its connection lasts.
/// They are people who look; they have places of their own, so that they cannot take those of the helpdesks.
pub const UNNAMED_MAX: usize = 32;

/// Most of them of one grant that is limited to brands.
pub const UNNAMED_OWNED_MAX: usize = 8;

/// What the outbox's name of a subscription without one begins with, after its owner: `~NUMBER` or `TOKEN/~NUMBER`.
/// The name that a client gives cannot hold it.
const UNNAMED: char = '~';

const HOUR_US: i64 = 3_600_000_000;

/// The static key of a record in the order of delivery; greater goes first.
///
/// `priority` is 0 to 1000, `created_at_us` µs since 1970. With `ageing_points_per_hour` 0 waiting earns
/// nothing. Ranks compare only among records ranked at the same rate: the ledger
/// ranks all heads at the rate that it was opened with.
pub fn rank(priority: u16, created_at_us: i64, ageing_points_per_hour: u32) -> i64 {
    if ageing_points_per_hour == 0 {
        return i64::from(priority);
    }
    let step_us = (HOUR_US / i64::from(ageing_points_per_hour)).max(1);
    i64::from(priority).saturating_sub(created_at_us.div_euclid(step_us))
}

/// The outbox's name of the subscription without a name that belongs to `client`. `owner` is empty, or `TOKEN/`.
pub fn unnamed(owner: &str, client: ClientId) -> String {
    format!("{owner}{UNNAMED}{}", client.0)
}

/// Whether the outbox knows by this name a subscription that has none, and ends with its connection.
pub fn is_unnamed(name: &str) -> bool {
    name.contains(UNNAMED)
}

/// The `TOKEN/` with which a name begins.
fn owner_of(name: &str) -> Option<&str> {
    name.find('/').and_then(|end| name.get(..=end))
}

/// Which records a subscription wants. Fields given must all hold; an empty list asks nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Brands, case ignored.
    pub brands: Vec<String>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Primary language subtags.
    pub languages: Vec<String>,
    /// Intents.
    pub intents: Vec<String>,
    /// Least priority.
    pub priority_min: u16,
}

impl Filter {
    /// Whether a record with these traits passes.
    pub fn matches(&self, traits: &Traits) -> bool {
        let asks_or = |asked: &[String], holds: &dyn Fn(&str) -> bool| {
            asked.is_empty() || asked.iter().any(|value| holds(value))
        };
        let second = traits.rescored.as_ref().map(|(priority, intent)| (*priority, &**intent));
        let opinions = [Some((traits.priority, &*traits.intent)), second];
        let is_wanted = |(priority, intent): (u16, &str)| {
            priority >= self.priority_min && asks_or(&self.intents, &|asked| asked == intent)
        };
        opinions.into_iter().flatten().any(is_wanted)
            && (self.networks.is_empty() || self.networks.contains(&traits.network))
            && asks_or(&self.languages, &|language| language.eq_ignore_ascii_case(&traits.language))
            && asks_or(&self.brands, &|brand| brands::is_same(brand, &traits.brand))
    }
}

/// One connection, for as long as it lasts. Never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(pub u64);

/// A record handed to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub seq: Seq,
    /// 1 the first time since the daemon started; one more after each nack or lost connection.
    pub attempt: u32,
    /// What its ticket's priority has become, where that is another than the ticket itself says; also with an update that
    /// says so, or that names none.
    pub priority_now: Option<u16>,
}

/// Where a record is in the order: by its rank, then by when its answer is due. Its seq decides among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// As [`RecordHead::rank`].
    pub rank: i64,
    /// As [`RecordHead::due_at_us`].
    pub due_at_us: i64,
}

impl Place {
    /// Of this record.
    pub fn of(head: &RecordHead) -> Place {
        Place { rank: head.rank, due_at_us: head.due_at_us }
    }
}

/// A ticket that has come to matter more or less, or whose answer is due at another time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reranked {
    /// Its own head and those of its updates so far, oldest first, with the new place and traits; each with the
    /// subscriptions that have acknowledged it.
    pub records: Vec<(Arc<RecordHead>, Vec<String>)>,
    /// Where they were before.
    pub place_before: Place,
    /// [`Traits::rescored`] as it was before.
    pub rescored_before: Option<(u16, Box<str>)>,
}

/// How many records a subscription has where, for the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The subscription's name.
    pub name: String,
    /// Waiting to be taken, those behind an older record of their ticket included.
    pub pending: usize,
    /// With a client, unacknowledged.
    pub in_flight: usize,
    /// Sent back with a delay that has not passed.
    pub deferred: usize,
    /// Acknowledged by a client that had it, since the daemon started.
    pub acknowledged: u64,
}

/// The records of every subscription that nobody has acknowledged yet.
#[derive(Debug, Default)]
pub struct Outbox {
    queues: BTreeMap<String, Queue>,
    /// Subscriptions without a name whose connection is there, open or about to be.
    unnamed: BTreeSet<String>,
}

impl Outbox {
    /// An outbox without subscriptions.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Whether a subscription of this name is open or may still be opened: see [`SUBSCRIPTIONS_MAX`] and
    /// [`SUBSCRIPTIONS_OWNED_MAX`].
    ///
    /// Asked by the wire before the ledger is, which knows those too that nobody has opened since the start, and
    /// decides; the ledger's own subscriptions are opened in any case.
    pub fn has_room_for(&self, name: &str) -> bool {
        let is_named = |name: &&String| !is_unnamed(name);
        let owner_has_room = owner_of(name).is_none_or(|owner| {
            let from = self.queues.range::<str, _>((Bound::Included(owner), Bound::Unbounded));
            let owned = from.map(|(name, _)| name).take_while(|name| name.starts_with(owner));
            owned.filter(is_named).count() < SUBSCRIPTIONS_OWNED_MAX
        });
        let named = self.queues.keys().filter(is_named).count();
        (named < SUBSCRIPTIONS_MAX && owner_has_room) || self.queues.contains_key(name)
    }

    /// Gives a subscription without a name its place, until [`Outbox::close`]; false if there is none:
    /// see [`UNNAMED_MAX`] and [`UNNAMED_OWNED_MAX`].
    ///
    /// Asked by the wire before the ledger fills it, which may be after its client has gone.
    #[must_use]
    pub fn expect(&mut self, unnamed: &str) -> bool {
        let owner_has_room = owner_of(unnamed).is_none_or(|owner| {
            self.unnamed.iter().filter(|name| name.starts_with(owner)).count() < UNNAMED_OWNED_MAX
        });
        let has_room = self.unnamed.len() < UNNAMED_MAX && owner_has_room;
        has_room && self.unnamed.insert(unnamed.to_owned())
    }

    /// Whether this subscription without a name still has its connection.
    pub fn is_expected(&self, unnamed: &str) -> bool {
        self.unnamed.contains(unnamed)
    }

    /// Ends a subscription without a name, with its connection: nothing is left of it.
    pub fn close(&mut self, unnamed: &str) {
        self.unnamed.remove(unnamed);
        self.queues.remove(unnamed);
    }

    /// Opens a subscription, or replaces the filter of an open one.
    ///
    /// `unacknowledged` are the heads of all records the ledger holds that this subscription has not
    /// acknowledged, in any order, filtered or not. What is in flight stays with its client; deferrals and
    /// attempts are kept; everything else pending is replaced by those heads that pass `filter`.
    pub fn open(
        &mut self,
        name: &str,
        filter: Filter,
        unacknowledged: impl IntoIterator<Item = Arc<RecordHead>>,
    ) {
        let mut heads: Vec<_> = unacknowledged.into_iter().collect();
        heads.sort_unstable_by_key(|head| head.seq);
        heads.dedup_by_key(|head| head.seq);
        self.queues.entry(name.to_owned()).or_default().open(filter, heads);
    }

    /// Whether a subscription of this name is open.
    pub fn is_open(&self, name: &str) -> bool {
        self.queues.contains_key(name)
    }

    /// Takes over the subscriptions of an outbox that was filled apart, in the place of those of the same name.
    /// One without a name whose connection has gone meanwhile is dropped.
    pub fn take_over(&mut self, filled: Outbox) {
        let unnamed = &self.unnamed;
        let wanted = |(name, _): &(String, Queue)| !is_unnamed(name) || unnamed.contains(name);
        self.queues.extend(filled.queues.into_iter().filter(wanted));
    }

    /// Whether the subscription is open with this very filter: opening it again would change nothing.
    pub fn is_open_with(&self, name: &str, filter: &Filter) -> bool {
        self.filter(name) == Some(filter)
    }

    /// What an open subscription lets through; another client of its name may replace it at any time.
    pub fn filter(&self, name: &str) -> Option<&Filter> {
        self.queues.get(name).map(Queue::filter)
    }

    /// Tickets up to and including this seq, and their updates, are not for this subscription.
    pub fn start_after(&mut self, name: &str, seq: u64) {
        self.queues.entry(name.to_owned()).or_default().start_after(seq);
    }

    /// Adds records that have just become durable to every subscription whose filter they pass.
    ///
    /// `heads` are in ledger order. A head that is not newer than the newest a subscription has seen is
    /// skipped there, so that publishing what `open` already brought cannot deliver it twice.
    pub fn publish(&mut self, heads: &[Arc<RecordHead>]) {
        for queue in self.queues.values_mut() {
            for head in heads {
                queue.publish(head);
            }
        }
    }

    /// Places tickets and their updates anew that have come to matter more or less, or are due at another time, wherever
    /// they still wait, and lets in those that pass a filter only now.
    pub fn rerank(&mut self, tickets: &[Reranked]) {
        for (name, queue) in &mut self.queues {
            for reranked in tickets {
                queue.rerank(name, reranked);
            }
        }
    }

    /// Calls `visit` with the name of each subscription in which a record became ready by [`Outbox::open`],
    /// [`Outbox::publish`] or [`Outbox::rerank`] since the last call.
    pub fn take_news(&mut self, mut visit: impl FnMut(&str)) {
        for (name, queue) in &mut self.queues {
            if queue.take_news() {
                visit(name);
            }
        }
    }

    /// Hands the record that matters most next to `client`; `None` if none is ready at `now`.
    ///
    /// How many a client may hold is the caller's to bound.
    pub fn take(&mut self, name: &str, client: ClientId, now: Instant) -> Option<Taken> {
        self.queues.get_mut(name)?.take(client, now)
    }

    /// Forgets records whose acknowledgement is durable, wherever they are. Unknown seqs are ignored.
    ///
    /// Returns whether a record that waited behind one of them is ready now. Seqs in flight cost one look
    /// each; others cost one walk over everything pending, so callers check what clients claim first.
    pub fn acknowledge(&mut self, name: &str, seqs: &[Seq]) -> bool {
        self.queues.get_mut(name).is_some_and(|queue| queue.acknowledge(seqs))
    }

    /// Puts back one record that `client` has: pending at once, or from `until` on.
    ///
    /// Returns false, and does nothing, if `client` does not have it.
    pub fn nack(&mut self, name: &str, client: ClientId, seq: Seq, until: Option<Instant>) -> bool {
        self.queues.get_mut(name).is_some_and(|queue| queue.nack(client, seq, until))
    }

    /// Puts back everything that `client` has, keeping attempts. Returns how many records.
    pub fn release(&mut self, name: &str, client: ClientId) -> usize {
        self.queues.get_mut(name).map_or(0, |queue| queue.release(client))
    }

    /// When the next deferred record of this subscription becomes ready.
    pub fn next_deadline(&self, name: &str) -> Option<Instant> {
        self.queues.get(name)?.next_deadline()
    }

    /// Records waiting for this subscription: not in flight, deferred ones included.
    pub fn pending(&self, name: &str) -> usize {
        self.queues.get(name).map_or(0, |queue| queue.pending() + queue.deferred())
    }

    /// The counts of every subscription, by name; of those without one by the outbox's: see [`is_unnamed`].
    pub fn counts(&self) -> impl Iterator<Item = Counts> + '_ {
        self.queues.iter().map(|(name, queue)| Counts {
            name: name.clone(),
            pending: queue.pending(),
            in_flight: queue.in_flight(),
            deferred: queue.deferred(),
            acknowledged: queue.acknowledged(),
        })
    }
}

#[cfg(test)]
mod tests;
