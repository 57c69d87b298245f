//! Who is in conversation with us: which ticket a further post joins, and who helps others.
//!
//! A post joins the open ticket of its thread in which its author has part, whoever's post it hangs under; where the
//! operator allows it, a stranger's that names our handle joins the one that it hangs under; else a post joins the newest
//! open one of its author's last [`NEWEST_MAX`] tickets of the brand that has heard of them within
//! [`Config::join_hours`]. A thread may hold several tickets: somebody else's question that names the brand is one of its
//! own, and its posts are part of the thread all the same. What is said there and is not for us is kept as a
//! bystander's, so that an answer to it is known.
//!
//! Everything here can be made anew from the ledger, so that a restart decides as if there had been none. The order of the
//! posts decides, and their own times: no clock. Whether a ticket is still there the ledger knows better: it tells the
//! desk ([`Told`](super::told::Told)), and finds another place for what was taken to join one that is not.
//!
//! # Memory
//!
//! At most [`CONVERSATIONS_MAX`] tickets and [`FURTHER_MAX`] further posts, the newest: about 240 bytes each with
//! their places in the tables, 120 MB at worst (measured).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::parse::Network;
use crate::prefilter::watched::Watched;
use crate::ticket::TicketId;
use crate::ticket::proto::ticket_status::State;

mod place;
mod remembered;
mod thanked;
mod thanks;

pub use place::Place;
pub use remembered::{Remembered, RememberedPost};
pub use thanks::is_thanks;

/// Tickets that further posts may join, the newest.
pub const CONVERSATIONS_MAX: usize = 200_000;
/// Further posts whose replies are noticed, the newest of all conversations.
pub const FURTHER_MAX: usize = 300_000;
/// Posts that join one ticket. What comes after them makes another, of which as many are part: nobody reads a ticket that
/// is longer, and each change of it costs as much as it has records.
pub const JOINED_MAX: u32 = 200;
/// Bystanders' posts that are kept of one ticket, the first: whoever reads a thread of thousands takes the place of no
/// other's.
pub const BYSTANDERS_MAX: u32 = 100;
/// People beside a ticket's author who may have part in its conversation.
const PARTICIPANTS_MAX: usize = 16;
/// Tickets of one brand among which a person's newest open one is looked for.
pub const NEWEST_MAX: u32 = 4;
/// People whose thanks are counted.
const THANKED_MAX: usize = 10_000;

/// How conversations are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long after the last post of an open ticket another by its author joins it, hours; 0: only in its thread.
    pub join_hours: u32,
    /// Whether others who answer in the thread and name our handle join the ticket, too.
    pub others: bool,
    /// How often somebody must have been thanked within 90 days to count as a helper; 0: nobody does.
    pub thanked_min: u32,
}

impl Config {
    /// [`Config::join_hours`] in µs.
    pub fn join_us(&self) -> i64 {
        i64::from(self.join_hours) * 3_600_000_000
    }
}

impl Default for Config {
    fn default() -> Config {
        Config { join_hours: 72, others: true, thanked_min: 3 }
    }
}

/// An author: by a cryptographic hash, as tickets are, so that nobody can make himself another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Person(TicketId);

impl Person {
    fn of(network: Network, author_id: &str) -> Person {
        Person(TicketId::of_post(network, author_id))
    }
}

#[derive(Debug)]
struct Conversation {
    author: Person,
    brand: Arc<str>,
    /// The first ticket of its thread: itself, or another among whose posts its own stands.
    thread: TicketId,
    /// The newest ticket that began in the thread of which this is the first.
    latest: Option<TicketId>,
    others: Vec<Person>,
    /// When its last post was, of those that have part in it; µs since 1970.
    last_us: i64,
    /// Posts that have joined it, whether or not they are still there.
    joined: u32,
    /// Bystanders' posts that are kept, here or in the ledger alone.
    bystanders: u32,
    /// As the helpdesk says: it may be opened again.
    is_closed: bool,
    /// Nothing of it is left.
    is_over: bool,
}

impl Conversation {
    /// Whether further posts join it.
    fn takes_more(&self) -> bool {
        !self.is_closed && !self.is_over && self.joined < JOINED_MAX
    }

    /// Whether a post of this brand, or of none, may be about the same.
    fn is_about(&self, brand: &Arc<str>) -> bool {
        brand.is_empty() || *brand == self.brand
    }

    fn has_part(&self, person: Person) -> bool {
        self.author == person || self.others.contains(&person)
    }
}

/// A post beside a ticket's own.
#[derive(Debug, Clone, Copy)]
struct Further {
    ticket_id: TicketId,
    author: Person,
    part: Part,
}

/// What a further post is to its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It joined the ticket, and its author has part in the conversation.
    Joined,
    /// It is an answer of one of our own accounts.
    Answer,
    /// Somebody else said it.
    Bystander,
}

/// The conversations that are remembered.
#[derive(Debug, Default)]
pub struct Conversations {
    tickets: FxHashMap<TicketId, Conversation>,
    ages: VecDeque<TicketId>,
    /// Each person's newest tickets of each brand, oldest first.
    newest: FxHashMap<Person, Vec<(Arc<str>, TicketId)>>,
    further: FxHashMap<TicketId, Further>,
    further_ages: VecDeque<TicketId>,
    /// In whose tickets somebody was thanked, and when; oldest first.
    thanked: FxHashMap<Person, Vec<(TicketId, i64)>>,
    /// By when each was thanked last.
    thanked_ages: BTreeSet<(i64, Person)>,
    /// Whether posts are left out of `further` that the ledger may hold.
    pub(super) has_forgotten: bool,
    watched: Option<Arc<Watched>>,
}

impl Conversations {
    /// Tells the lanes, from now on, what to look for.
    pub fn watched_by(&mut self, watched: Arc<Watched>) {
        self.watched = Some(watched);
    }

    /// A ticket of this post begins a conversation, in the thread of which that ticket is the first, if it is not its own.
    /// Oldest first.
    pub fn begin(
        &mut self,
        ticket_id: TicketId,
        network: Network,
        author_id: &str,
        brand: &Arc<str>,
        thread: Option<TicketId>,
        at_us: i64,
    ) {
        self.begin_by(ticket_id, Person::of(network, author_id), brand, thread, at_us);
        if let Some(watched) = &self.watched {
            watched.keep_author(network, author_id);
        }
    }

    fn begin_by(
        &mut self,
        ticket_id: TicketId,
        author: Person,
        brand: &Arc<str>,
        thread: Option<TicketId>,
        at_us: i64,
    ) {
        let conversation = Conversation {
            author,
            brand: brand.clone(),
            thread: thread.unwrap_or(ticket_id),
            latest: None,
            others: Vec::new(),
            last_us: at_us,
            joined: 0,
            bystanders: 0,
            is_closed: false,
            is_over: false,
        };
        if self.tickets.insert(ticket_id, conversation).is_none() {
            self.ages.push_back(ticket_id);
        }
        if let Some(first) = thread.and_then(|thread| self.tickets.get_mut(&thread)) {
            first.latest = Some(ticket_id);
        }
        let newest = self.newest.entry(author).or_default();
        newest.retain(|(_, known)| *known != ticket_id);
        newest.push((brand.clone(), ticket_id));
        if newest.iter().filter(|(of, _)| of == brand).count() > NEWEST_MAX as usize
            && let Some(oldest) = newest.iter().position(|(of, _)| of == brand)
        {
            newest.remove(oldest);
        }
        while self.ages.len() > CONVERSATIONS_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, ticket_id: TicketId) {
        let Some(gone) = self.tickets.remove(&ticket_id) else { return };
        if let Entry::Occupied(mut newest) = self.newest.entry(gone.author) {
            newest.get_mut().retain(|(_, newest)| *newest != ticket_id);
            if newest.get().is_empty() {
                newest.remove();
            }
        }
    }

    /// A post belongs to this ticket from now on; `false`: it is not kept, for the ticket is not known, or has all the
    /// bystanders that it takes.
    pub fn add(
        &mut self,
        post_id: TicketId,
        ticket_id: TicketId,
        network: Network,
        author_id: &str,
        part: Part,
        at_us: i64,
    ) -> bool {
        let Some(conversation) = self.tickets.get_mut(&ticket_id) else {
            self.has_forgotten = true;
            return false;
        };
        let author = Person::of(network, author_id);
        if part == Part::Bystander {
            // As the ledger does: the first are kept, each where it stood.
            if self.further.contains_key(&post_id) {
                return true;
            }
            if conversation.bystanders >= BYSTANDERS_MAX {
                return false;
            }
            conversation.bystanders += 1;
        }
        let before = self.further.insert(post_id, Further { ticket_id, author, part });
        if before.is_none() {
            self.further_ages.push_back(post_id);
        }
        if part == Part::Joined {
            // What somebody said beside us before may have been changed into what is said to us.
            conversation.joined += u32::from(before.is_none_or(|before| before.part != Part::Joined));
            conversation.last_us = conversation.last_us.max(at_us);
            if !conversation.has_part(author) && conversation.others.len() < PARTICIPANTS_MAX {
                conversation.others.push(author);
                if let Some(watched) = &self.watched {
                    watched.keep_author(network, author_id);
                }
            }
        }
        if let Some(Further { part: Part::Bystander, ticket_id, .. }) = before
            && part != Part::Bystander
        {
            self.count_bystander_out(ticket_id);
        }
        while self.further_ages.len() > FURTHER_MAX
            && let Some(oldest) = self.further_ages.pop_front()
        {
            self.has_forgotten |= self.further.remove(&oldest).is_some();
        }
        true
    }

    /// The ledger knows better where a post belongs: to this ticket, its own if they are the same. The one that it was
    /// taken to join is closed, or gone.
    pub fn belongs(
        &mut self,
        post_id: TicketId,
        ticket_id: TicketId,
        brand: &Arc<str>,
        in_thread: bool,
        at_us: i64,
    ) {
        let Some(further) = self.further.get_mut(&post_id) else { return };
        let Further { ticket_id: taken_for, author, .. } = *further;
        further.ticket_id = ticket_id;
        if taken_for == ticket_id {
            return;
        }
        let gone = self.tickets.get_mut(&taken_for);
        let thread = gone.as_ref().map_or(taken_for, |gone| gone.thread);
        if let Some(gone) = gone {
            gone.is_closed = true;
        }
        if post_id == ticket_id {
            self.further.remove(&post_id);
            self.begin_by(ticket_id, author, brand, Some(thread).filter(|_| in_thread), at_us);
        } else if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.joined += 1;
            conversation.last_us = conversation.last_us.max(at_us);
        }
    }

    /// The ledger knows better what a post is that was taken to join its ticket: it stands beside.
    pub(super) fn is_beside(&mut self, post_id: TicketId) {
        let Some(further) = self.further.get_mut(&post_id).filter(|further| further.part == Part::Joined)
        else {
            return;
        };
        further.part = Part::Bystander;
        let Some(conversation) = self.tickets.get_mut(&further.ticket_id) else { return };
        conversation.joined = conversation.joined.saturating_sub(1);
        if conversation.bystanders < BYSTANDERS_MAX {
            conversation.bystanders += 1;
        } else {
            self.further.remove(&post_id);
        }
    }

    /// A post that joined this ticket once, and is gone.
    pub(super) fn count_joined(&mut self, ticket_id: TicketId, at_us: i64) {
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.joined += 1;
            conversation.last_us = conversation.last_us.max(at_us);
        }
    }

    /// A post is gone, whose ever it was; whether it was known as a further one. What that leaves of its ticket the ledger
    /// tells.
    pub fn post_deleted(&mut self, post_id: TicketId) -> bool {
        let gone = self.further.remove(&post_id);
        if let Some(Further { part: Part::Bystander, ticket_id, .. }) = gone {
            self.count_bystander_out(ticket_id);
        }
        gone.is_some()
    }

    fn count_bystander_out(&mut self, ticket_id: TicketId) {
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.bystanders = conversation.bystanders.saturating_sub(1);
        }
    }

    /// Lanes look out for answers to the post of this [hash](crate::prefilter::watched::of_post) from now on.
    pub fn watch(&self, hash: u64) {
        if let Some(watched) = &self.watched {
            watched.keep_post(hash);
        }
    }

    /// The helpdesk has closed the ticket, or opened it again; the same of what is told to be no customer message.
    pub fn set_closed(&mut self, ticket_id: TicketId, is_closed: bool) {
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.is_closed = is_closed;
        }
    }

    /// Takes over whether a ticket is open; false if it is not known.
    pub(super) fn recall(&mut self, known: &Remembered) -> bool {
        self.set_closed(known.ticket_id, known.is_closed);
        if known.is_erased {
            self.end(known.ticket_id);
        }
        self.tickets.contains_key(&known.ticket_id)
    }

    /// Whether another ticket takes the place of none.
    pub(super) fn has_room(&self) -> bool {
        self.tickets.len() < CONVERSATIONS_MAX
    }

    /// Nothing is left of this ticket: nothing joins it any more, whatever a helpdesk says of it.
    pub fn end(&mut self, ticket_id: TicketId) {
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.is_over = true;
        }
    }

    /// Whether nothing has ever joined this ticket, as far as is known here.
    pub(super) fn is_alone(&self, ticket_id: TicketId) -> bool {
        self.tickets.get(&ticket_id).is_some_and(|conversation| conversation.joined == 0)
    }

    /// The brand that this ticket is about, if it is remembered.
    pub fn brand_of(&self, ticket_id: TicketId) -> Option<Arc<str>> {
        self.tickets.get(&ticket_id).map(|conversation| conversation.brand.clone())
    }

    /// The ticket that this post has joined; else it can only have made one.
    pub fn ticket_of(&self, post_id: TicketId) -> TicketId {
        let joined = self.further.get(&post_id).filter(|further| further.part == Part::Joined);
        joined.map_or(post_id, |further| further.ticket_id)
    }

    /// The first ticket of the thread that this ticket is in; itself where nothing else is known.
    pub fn first_of(&self, ticket_id: TicketId) -> TicketId {
        self.tickets.get(&ticket_id).map_or(ticket_id, |conversation| conversation.thread)
    }
}

/// Whether a ticket in this state is joined by nothing any more; `None` where the helpdesk does not say.
pub fn is_closed(state: State) -> Option<bool> {
    match state {
        State::Unspecified => None,
        State::Open | State::Pending => Some(false),
        State::Solved | State::Closed | State::Deleted => Some(true),
    }
}

/// Greatest [`Config::thanked_min`].
pub const THANKED_MIN_MAX: u32 = 100;
/// How long a thank-you counts.
pub const THANKS_COUNT_FOR_US: i64 = 90 * 24 * 3_600_000_000;

#[cfg(test)]
mod tests;
