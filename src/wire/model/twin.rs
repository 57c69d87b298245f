//! What must be true, as plainly as it can be said: nothing is kept in order, everything is looked up anew.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::step::{AUTHORS, BRANDS, Event, INTENTS};
use crate::ledger::outbox::rank;
use crate::parse::Network;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

/// How long a filter must have been the same before pruning goes by it.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Points that waiting earns in an hour.
pub(super) const AGEING: u32 = 100;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Ticket,
    Edited,
    Erased,
    Rescored,
    FollowedUp,
    PostErased,
}

/// Records count from seq 1 in the order of the vector.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Whose ticket.
    pub(super) post: u8,
    /// Which of its posts.
    pub(super) about: u8,
    pub(super) kind: Kind,
}

/// A post that has joined a ticket.
#[derive(Debug, Clone)]
pub(super) struct Further {
    ticket: u8,
    author: usize,
    seq: u64,
    erased: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) seq: u64,
    author: usize,
    brand: usize,
    intent: usize,
    priority: u16,
    pub(super) hour: i64,
    pub(super) erased: bool,
    /// Its own post is gone, and others are there.
    lost_its_own: bool,
    provisional: bool,
    /// What its priority is without the posts that joined it, how many those are, how many of them its author's, and the
    /// worst of their urgencies.
    base: u16,
    joined: u16,
    again: u16,
    urgency: u16,
    /// Priority and intent by the full model, or by the posts that joined.
    rescored: Option<(u16, usize)>,
    /// All that is left of it is that it was there.
    pub(super) pruned: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Subscription {
    /// Tickets up to here, and their updates, were never wanted.
    pub(super) start: u64,
    pub(super) acked: BTreeSet<u64>,
    /// The number of the filter that it asked for last.
    filter: usize,
}

/// What the disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) records: Vec<Record>,
    pub(super) tickets: BTreeMap<u8, Ticket>,
    further: BTreeMap<u8, Further>,
    /// The seconds of each post's edits.
    edits: BTreeMap<u8, BTreeSet<u8>>,
    pub(super) subscriptions: BTreeMap<&'static str, Subscription>,
    pub(super) buckets: Buckets,
    pub(super) position: Option<i64>,
}

/// What is handed to the ledger and not committed.
#[derive(Debug, Clone)]
pub(super) enum Job {
    Settle { events: Vec<Event>, position: i64 },
    Rescore { post: u8, change: Option<(u16, usize)> },
    Acknowledge { name: &'static str, seqs: Vec<u64> },
    Subscribe { name: &'static str, filter: usize, start_next: bool },
}

/// Where a delivery is; of what is not here, everything that passes waits.
type Places<T> = BTreeMap<(&'static str, u64), T>;

#[derive(Debug, Default)]
pub(super) struct Twin {
    pub(super) disk: Disk,
    /// Open subscriptions, and the number of their filter.
    pub(super) open: BTreeMap<&'static str, usize>,
    /// With which client.
    in_flight: Places<u64>,
    deferred: Places<Instant>,
    attempts: Places<u32>,
    /// The filters that pruning has seen, and since when.
    watched: BTreeMap<&'static str, (usize, Instant)>,
    /// What clients were told is acknowledged for good, across all crashes.
    pub(super) confirmed: BTreeSet<(&'static str, u64)>,
}

impl Disk {
    /// Does all of it.
    pub(super) fn commit(&mut self, jobs: &[Job]) {
        for job in jobs {
            match job {
                Job::Settle { events, position } => {
                    self.position = self.position.max(Some(*position));
                    for event in events {
                        let bucket = self.settle(event);
                        self.buckets[bucket] += 1;
                    }
                }
                Job::Rescore { post, change } => self.rescore(*post, *change),
                Job::Acknowledge { name, seqs } => {
                    let subscription = self.subscriptions.get_mut(name).expect("subscribed before");
                    subscription.acked.extend(seqs);
                }
                Job::Subscribe { .. } => {}
            }
        }
    }

    fn settle(&mut self, event: &Event) -> Bucket {
        match *event {
            Event::Ticket { post, .. } | Event::Join { post, .. } if self.knows(post) => Bucket::Duplicate,
            Event::Ticket { post, author, brand, intent, priority, hour, provisional } => {
                let seq = self.record(post, post, Kind::Ticket);
                let ticket = Ticket {
                    seq,
                    author,
                    brand,
                    intent,
                    priority,
                    hour,
                    erased: false,
                    lost_its_own: false,
                    provisional,
                    base: priority,
                    joined: 0,
                    again: 0,
                    urgency: 0,
                    rescored: None,
                    pruned: false,
                };
                self.tickets.insert(post, ticket);
                Bucket::Ticketed
            }
            Event::Join { post, to, author, urgency } => {
                let Some(ticket) = self.tickets.get_mut(&to).filter(|ticket| ticket.has_text()) else {
                    return Bucket::Unmatched;
                };
                ticket.joined += 1;
                ticket.again += u16::from(ticket.author == author);
                ticket.urgency = ticket.urgency.max(urgency);
                let priority = (ticket.base + ticket.urgency + (40 * ticket.again).min(120)).min(1000);
                let intent = ticket.rescored.map_or(ticket.intent, |(_, intent)| intent);
                ticket.rescored = Some((priority, intent));
                let seq = self.record(to, post, Kind::FollowedUp);
                self.further.insert(post, Further { ticket: to, author, seq, erased: false });
                Bucket::Merged
            }
            Event::Edit { post, second } => {
                // Of a post that joined nothing is known any more once it is gone by itself.
                let is_left = self.further.get(&post).is_none_or(|further| !further.erased);
                if !self.knows(post) || self.tickets[&self.ticket_with(post)].pruned || !is_left {
                    return Bucket::Unmatched;
                }
                // A text that is erased cannot be told from another one.
                let oldest = second + u8::from(self.is_erased(post));
                if self.edits.entry(post).or_default().range(oldest..).next().is_some() {
                    return Bucket::Duplicate;
                }
                if self.is_erased(post) {
                    return Bucket::Unmatched;
                }
                self.edits.entry(post).or_default().insert(second);
                self.record(self.ticket_with(post), post, Kind::Edited);
                Bucket::Merged
            }
            Event::Erase { post } => match self.erase(post) {
                true => Bucket::Erased,
                false => Bucket::Control,
            },
            Event::EraseAuthor { author } => {
                let of_author = |(_, ticket): &(&u8, &Ticket)| ticket.author == author && ticket.has_text();
                let mut tickets: Vec<u8> =
                    self.tickets.iter().filter(of_author).map(|(post, _)| *post).collect();
                tickets.sort_by_key(|post| ticket_id(*post));
                let mut erased = false;
                for ticket in tickets {
                    let is_shared = self.others(ticket).any(|(_, further)| further.author != author);
                    erased |= if is_shared { self.erase(ticket) } else { self.erase_whole(ticket) };
                }
                let is_left =
                    |(post, further): &(&u8, &Further)| further.author == author && !self.is_erased(**post);
                let mut left: Vec<(u64, u8)> =
                    self.further.iter().filter(is_left).map(|(post, further)| (further.seq, *post)).collect();
                left.sort_unstable();
                for (_, post) in left {
                    erased |= self.erase(post);
                }
                if erased { Bucket::Erased } else { Bucket::Control }
            }
        }
    }

    fn knows(&self, post: u8) -> bool {
        self.tickets.contains_key(&post) || self.further.contains_key(&post)
    }

    /// The ticket that this post, which is known, made or joined.
    fn ticket_with(&self, post: u8) -> u8 {
        self.further.get(&post).map_or(post, |further| further.ticket)
    }

    /// Whether the text of this post, which is known, is gone.
    pub(super) fn is_erased(&self, post: u8) -> bool {
        let ticket = &self.tickets[&self.ticket_with(post)];
        let by_itself = self.further.get(&post).map_or(ticket.lost_its_own, |further| further.erased);
        by_itself || !ticket.has_text()
    }

    /// The posts that have joined the ticket and are still there.
    fn others(&self, ticket: u8) -> impl Iterator<Item = (&u8, &Further)> {
        self.further.iter().filter(move |(_, further)| further.ticket == ticket && !further.erased)
    }

    fn erase(&mut self, post: u8) -> bool {
        if !self.knows(post) || self.is_erased(post) {
            return false;
        }
        if let Some(further) = self.further.get_mut(&post) {
            further.erased = true;
            let ticket = further.ticket;
            self.record(ticket, post, Kind::PostErased);
            let is_over = self.tickets[&ticket].lost_its_own && self.others(ticket).next().is_none();
            self.tickets.get_mut(&ticket).expect("it is there").erased |= is_over;
        } else if self.others(post).next().is_some() {
            let ticket = self.tickets.get_mut(&post).expect("it is known");
            (ticket.lost_its_own, ticket.provisional) = (true, false);
            self.record(post, post, Kind::PostErased);
        } else {
            self.erase_whole(post);
        }
        true
    }

    fn erase_whole(&mut self, post: u8) -> bool {
        let Some(ticket) = self.tickets.get_mut(&post).filter(|ticket| ticket.has_text()) else {
            return false;
        };
        (ticket.erased, ticket.provisional) = (true, false);
        self.record(post, post, Kind::Erased);
        true
    }

    fn rescore(&mut self, post: u8, change: Option<(u16, usize)>) {
        let Some(ticket) = self.tickets.get_mut(&post).filter(|ticket| ticket.provisional) else { return };
        ticket.provisional = false;
        if let Some((priority, _)) = change {
            // What posts that joined have said stands.
            if ticket.joined == 0 {
                (ticket.base, ticket.rescored) = (priority, change);
            }
            self.record(post, post, Kind::Rescored);
        }
    }

    fn record(&mut self, post: u8, about: u8, kind: Kind) -> u64 {
        self.records.push(Record { post, about, kind });
        self.records.len() as u64
    }

    /// Of the records that are there.
    pub(super) fn seqs(&self) -> impl Iterator<Item = u64> + '_ {
        (1..).take(self.records.len()).filter(|seq| !self.ticket_of(*seq).pruned)
    }

    pub(super) fn record_of(&self, seq: u64) -> &Record {
        &self.records[seq as usize - 1]
    }

    pub(super) fn ticket_of(&self, seq: u64) -> &Ticket {
        &self.tickets[&self.record_of(seq).post]
    }

    /// Whether the subscription wants this record under this filter and does not have it.
    fn owes(&self, name: &str, filter: usize, seq: u64) -> bool {
        let (subscription, ticket) = (&self.subscriptions[name], self.ticket_of(seq));
        !ticket.pruned
            && ticket.seq > subscription.start
            && !subscription.acked.contains(&seq)
            && passes(filter, ticket)
    }

    /// The posts of the tickets that may go, oldest first: nobody has a record of theirs to take, under the filter that
    /// counts by now, or else under any.
    fn prunable(&self, settled: &BTreeSet<&str>) -> Vec<u8> {
        let is_taken = |post: u8, ticket: &Ticket| {
            self.subscriptions.iter().all(|(name, subscription)| {
                ticket.seq <= subscription.start
                    || (settled.contains(name) && !passes(subscription.filter, ticket))
                    || self
                        .seqs()
                        .all(|seq| self.record_of(seq).post != post || subscription.acked.contains(&seq))
            })
        };
        let mut posts: Vec<_> = self
            .tickets
            .iter()
            .filter(|(post, ticket)| !ticket.pruned && !ticket.provisional && is_taken(**post, ticket))
            .map(|(post, ticket)| (ticket.seq, *post))
            .collect();
        posts.sort_unstable();
        posts.into_iter().map(|(_, post)| post).collect()
    }

    /// What decides who goes first; greater does.
    fn order(&self, seq: u64) -> (i64, Reverse<u8>, Reverse<u64>) {
        let Record { post, .. } = *self.record_of(seq);
        let ticket = self.ticket_of(seq);
        let priority = ticket.rescored.map_or(ticket.priority, |(priority, _)| priority);
        (rank(priority, created_at_us(ticket.hour), AGEING), Reverse(due(post)), Reverse(seq))
    }
}

impl Ticket {
    fn has_text(&self) -> bool {
        !self.erased && !self.pruned
    }
}

/// Filters by number: everything, one brand, what is urgent, one intent.
fn passes(filter: usize, ticket: &Ticket) -> bool {
    let opinions = [Some((ticket.priority, ticket.intent)), ticket.rescored];
    let mut opinions = opinions.into_iter().flatten();
    match filter {
        0 => true,
        1 => BRANDS[ticket.brand] == "Lumio",
        2 => opinions.any(|(priority, _)| priority >= 500),
        _ => opinions.any(|(_, intent)| INTENTS[intent] == "outage"),
    }
}

pub(super) fn ticket_id(post: u8) -> TicketId {
    TicketId::of_post(Network::Bluesky, &post.to_string())
}

/// What a ticket's priority is made of before posts join it, and what none of those says anything of.
pub(super) fn base(priority: u16) -> proto::Factor {
    proto::Factor { name: "addressed".to_owned(), points: priority.into(), evidence: String::new() }
}

pub(super) fn author_id(author: usize) -> String {
    format!("did:plc:{}", AUTHORS[author])
}

pub(super) fn created_at_us(hour: i64) -> i64 {
    hour * 3_600_000_000
}

/// Some posts want an answer at the same time as others.
pub(super) fn due(post: u8) -> u8 {
    post % 3
}

impl Twin {
    /// What the ledger's turn does to memory, after the disk's commit.
    pub(super) fn opened(&mut self, jobs: &[Job]) {
        for job in jobs {
            let Job::Subscribe { name, filter, start_next } = *job else { continue };
            let newest = self.disk.records.len() as u64;
            let start = if start_next { newest } else { 0 };
            let fresh = Subscription { start, acked: BTreeSet::new(), filter };
            self.disk.subscriptions.entry(name).or_insert(fresh).filter = filter;
            if self.open.insert(name, filter) != Some(filter) {
                self.watched.remove(name);
                // What the new filter does not want is forgotten, and how often it was tried.
                let disk = &self.disk;
                let kept = |at: &(&str, u64)| at.0 != name || disk.owes(name, filter, at.1);
                self.deferred.retain(|at, _| kept(at));
                self.attempts.retain(|at, _| kept(at) || self.in_flight.contains_key(at));
            }
        }
    }

    /// What the subscription's next record is, by what the disk holds and where deliveries are.
    pub(super) fn next(&self, name: &'static str, now: Instant) -> Option<u64> {
        let filter = *self.open.get(name)?;
        let is_in_flight = |seq| self.in_flight.contains_key(&(name, seq));
        let is_ready = |seq: &u64| {
            let is_due = self.deferred.get(&(name, *seq)).is_none_or(|until| *until <= now);
            let post = self.disk.record_of(*seq).post;
            let mut older = (1..*seq).filter(|older| self.disk.record_of(*older).post == post);
            self.disk.owes(name, filter, *seq)
                && is_due
                && !is_in_flight(*seq)
                && !older.any(|older| is_in_flight(older) || self.disk.owes(name, filter, older))
        };
        self.disk.seqs().filter(is_ready).max_by_key(|seq| self.disk.order(*seq))
    }

    /// The record goes to a client; gives which attempt this is.
    pub(super) fn take(&mut self, name: &'static str, seq: u64, client: u64) -> u32 {
        self.deferred.remove(&(name, seq));
        self.in_flight.insert((name, seq), client);
        let attempts = self.attempts.entry((name, seq)).or_default();
        *attempts += 1;
        *attempts
    }

    pub(super) fn put_back(&mut self, name: &'static str, seq: u64, until: Option<Instant>) {
        self.in_flight.remove(&(name, seq)).expect("only what is in flight is put back");
        if !self.open.get(name).is_some_and(|filter| self.disk.owes(name, *filter, seq)) {
            self.attempts.remove(&(name, seq));
        } else if let Some(until) = until {
            self.deferred.insert((name, seq), until);
        }
    }

    /// An acknowledgement has come back from the disk.
    pub(super) fn settled(&mut self, name: &'static str, seq: u64) {
        self.in_flight.remove(&(name, seq));
        self.attempts.remove(&(name, seq));
    }

    pub(super) fn release(&mut self, client: u64) {
        let held: Vec<_> =
            self.in_flight.iter().filter(|(_, by)| **by == client).map(|(at, _)| *at).collect();
        held.into_iter().for_each(|(name, seq)| self.put_back(name, seq, None));
    }

    /// How many records of a subscription wait and are in flight.
    pub(super) fn counts(&self, name: &'static str) -> (usize, usize) {
        let is_in_flight = |seq: &u64| self.in_flight.contains_key(&(name, *seq));
        let Some(filter) = self.open.get(name) else { return (0, 0) };
        let waits = |seq: &u64| self.disk.owes(name, *filter, *seq) && !is_in_flight(seq);
        // One that is acknowledged may be pruned before its client hears of it, and is in flight until then.
        let in_flight = self.in_flight.keys().filter(|(of, _)| *of == name).count();
        (self.disk.seqs().filter(waits).count(), in_flight)
    }

    /// The tickets that a round of pruning may take now, oldest first.
    pub(super) fn prunable(&mut self, now: Instant) -> Vec<u8> {
        let mut settled = BTreeSet::new();
        for (name, subscription) in &self.disk.subscriptions {
            let watched = self.watched.entry(name).or_insert((subscription.filter, now));
            assert_eq!(watched.0, subscription.filter, "whoever changes a filter begins anew");
            if now - watched.1 >= DAY {
                settled.insert(*name);
            }
        }
        self.disk.prunable(&settled)
    }

    pub(super) fn pruned(&mut self, post: u8) {
        self.disk.tickets.get_mut(&post).expect("a ticket").pruned = true;
    }

    /// Everything that is only in memory is gone.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.in_flight.clear();
        self.deferred.clear();
        self.attempts.clear();
        self.watched.clear();
    }
}
