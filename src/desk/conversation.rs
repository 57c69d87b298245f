//! Who is in conversation with us: which ticket a further post joins, and who helps others.
//!
//! A post joins the open ticket of its thread if it is by somebody who has part in it, or, where the operator allows
//! it, names our handle; else its author's newest open ticket of the brand that has heard of them within
//! [`Config::join_hours`], if one of their last [`NEWEST_MAX`] of it has. Everything here can be made anew from the ledger, so that a restart decides as if there
//! had been none. The order of the posts decides, and their own times: no clock.
//!
//! # Memory
//!
//! At most [`CONVERSATIONS_MAX`] tickets and [`FURTHER_MAX`] further posts, the newest: about 180 bytes each with
//! their places in the tables, 90 MB at worst.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::parse::{Network, Post};
use crate::prefilter::watched::Watched;
use crate::ticket::TicketId;
use crate::ticket::proto::ticket_status::State;

mod thanks;

pub use thanks::is_thanks;

/// Tickets that further posts may join, the newest.
pub const CONVERSATIONS_MAX: usize = 200_000;
/// Further posts whose replies are noticed, the newest of all conversations.
pub const FURTHER_MAX: usize = 300_000;
/// People beside a ticket's author who may have part in its conversation.
const PARTICIPANTS_MAX: usize = 16;
/// Tickets of one brand among which a person's newest open one is looked for.
const NEWEST_MAX: usize = 4;
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
    others: Vec<Person>,
    /// When its last post was, of those that have part in it; µs since 1970.
    last_us: i64,
    /// Posts that joined it and are still there.
    joined: u32,
    /// Whether its own post is gone.
    lost_its_own: bool,
    /// As the helpdesk says: it may be opened again.
    is_closed: bool,
    /// Nothing of it is left.
    is_over: bool,
}

impl Conversation {
    fn is_open(&self) -> bool {
        !self.is_closed && !self.is_over
    }

    fn lose(&mut self, joined: u32, its_own: bool) {
        self.lost_its_own |= its_own;
        self.joined = self.joined.saturating_sub(joined);
        self.is_over |= self.lost_its_own && self.joined == 0;
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

/// Where a post belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It joins this ticket.
    Joins {
        /// Which.
        ticket_id: TicketId,
        /// The post whose author it thanks, if the ticket's author has written it.
        thanks: Option<TicketId>,
        /// Whether it is in the ticket's thread and its author had part in that before: it belongs there whatever
        /// it says.
        has_part: bool,
    },
    /// It answers in this ticket's conversation, whose author is another and in which its own has no part: a helper, or
    /// somebody who does not speak to us.
    Bystander(TicketId),
    /// It answers in the thread of this ticket, in which its author has part, without naming the brand; but that one is
    /// closed.
    Again(TicketId),
    /// It belongs to none that is open.
    Alone {
        /// The author's last ticket of the brand, which is closed or too old to be joined.
        earlier: Option<TicketId>,
    },
}

/// A ticket as the desk remembers it, with the posts that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Which.
    pub ticket_id: TicketId,
    /// Where its own post is.
    pub network: Network,
    /// By whom.
    pub author_id: String,
    /// As in config.
    pub brand: Arc<str>,
    /// When its own post was decided about, µs since 1970.
    pub created_at_us: i64,
    /// [`of_post`](crate::prefilter::watched::of_post) of its own post; `None` in older ledgers.
    pub watch: Option<u64>,
    /// Whether its own post is gone.
    pub has_lost_its_own: bool,
    /// Whether it is closed in the helpdesk, so that nothing joins it until it is opened again.
    pub is_closed: bool,
    /// Whether it is erased, so that nothing ever joins it.
    pub is_erased: bool,
}

/// A further post as the desk remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedPost {
    /// Its identity.
    pub post_id: TicketId,
    /// Which ticket it belongs to.
    pub ticket_id: TicketId,
    /// Where it is.
    pub network: Network,
    /// By whom.
    pub author_id: String,
    /// [`text_hash`](super::text_hash) of its text.
    pub text_hash: u64,
    /// What it is.
    pub part: Part,
    /// When it was decided about, µs since 1970.
    pub at_us: i64,
    /// Whether its author has deleted it.
    pub is_erased: bool,
    /// [`of_post`](crate::prefilter::watched::of_post).
    pub watch: Option<u64>,
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

    /// A ticket of this post begins a conversation. Oldest first.
    pub fn begin(
        &mut self,
        ticket_id: TicketId,
        network: Network,
        author_id: &str,
        brand: &Arc<str>,
        at_us: i64,
    ) {
        self.begin_by(ticket_id, Person::of(network, author_id), brand, at_us);
        if let Some(watched) = &self.watched {
            watched.keep_author(network, author_id);
        }
    }

    fn begin_by(&mut self, ticket_id: TicketId, author: Person, brand: &Arc<str>, at_us: i64) {
        let conversation = Conversation {
            author,
            brand: brand.clone(),
            others: Vec::new(),
            last_us: at_us,
            joined: 0,
            lost_its_own: false,
            is_closed: false,
            is_over: false,
        };
        if self.tickets.insert(ticket_id, conversation).is_none() {
            self.ages.push_back(ticket_id);
        }
        let newest = self.newest.entry(author).or_default();
        newest.retain(|(_, known)| *known != ticket_id);
        newest.push((brand.clone(), ticket_id));
        if newest.iter().filter(|(of, _)| of == brand).count() > NEWEST_MAX
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

    /// A post belongs to this ticket from now on.
    pub fn add(
        &mut self,
        post_id: TicketId,
        ticket_id: TicketId,
        network: Network,
        author_id: &str,
        part: Part,
        at_us: i64,
    ) {
        let Some(conversation) = self.tickets.get_mut(&ticket_id) else {
            self.has_forgotten = true;
            return;
        };
        let author = Person::of(network, author_id);
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
        while self.further_ages.len() > FURTHER_MAX
            && let Some(oldest) = self.further_ages.pop_front()
        {
            self.has_forgotten |= self.further.remove(&oldest).is_some();
        }
    }

    /// The ledger knows better where a post belongs: to this ticket, its own if they are the same. The one that it was
    /// taken to join is closed, or gone.
    pub fn belongs(&mut self, post_id: TicketId, ticket_id: TicketId, brand: &Arc<str>, at_us: i64) {
        let Some(further) = self.further.get_mut(&post_id) else { return };
        let Further { ticket_id: taken_for, author, .. } = *further;
        further.ticket_id = ticket_id;
        if taken_for == ticket_id {
            return;
        }
        if let Some(gone) = self.tickets.get_mut(&taken_for) {
            gone.is_closed = true;
            gone.lose(1, false);
        }
        if post_id == ticket_id {
            self.further.remove(&post_id);
            self.begin_by(ticket_id, author, brand, at_us);
        } else if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.joined += 1;
            conversation.last_us = conversation.last_us.max(at_us);
        }
    }

    /// A post is gone, whose ever it was: a conversation of which nothing is left is over. Whether it was known as a
    /// further one.
    pub fn post_deleted(&mut self, post_id: TicketId) -> bool {
        let further = self.further.remove(&post_id);
        let joined = further.filter(|further| further.part == Part::Joined);
        let ticket_id = joined.map_or(post_id, |joined| joined.ticket_id);
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.lose(u32::from(joined.is_some()), joined.is_none());
        }
        further.is_some()
    }

    /// Lanes look out for answers to the post of this [hash](crate::prefilter::watched::of_post) from now on.
    pub fn watch(&self, hash: u64) {
        if let Some(watched) = &self.watched {
            watched.keep_post(hash);
        }
    }

    /// The helpdesk has closed the ticket, or opened it again.
    pub fn set_closed(&mut self, ticket_id: TicketId, is_closed: bool) {
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.is_closed = is_closed;
        }
    }

    /// Takes over whether a ticket is open; false if it is to begin, for it is not known and there is room.
    pub(super) fn recall(&mut self, known: &Remembered) -> bool {
        self.set_closed(known.ticket_id, known.is_closed);
        self.set_erased(known.ticket_id, known.is_erased);
        self.tickets.contains_key(&known.ticket_id) || self.tickets.len() >= CONVERSATIONS_MAX
    }

    /// Nothing is left of this ticket, or it is as the ledger has it.
    pub fn set_erased(&mut self, ticket_id: TicketId, is_erased: bool) {
        if let Some(conversation) = self.tickets.get_mut(&ticket_id) {
            conversation.is_over |= is_erased;
        }
    }

    /// An author is gone, and all their posts: of their tickets only those go on that others have joined.
    pub fn end_of(&mut self, network: Network, author_id: &str) {
        let author = Person::of(network, author_id);
        if let Some(thanks) = self.thanked.remove(&author) {
            self.thanked_ages.remove(&(last_of(&thanks), author));
        }
        // Almost everybody who deletes an account has never written to us: no walk for them.
        if self.newest.remove(&author).is_none() {
            return;
        }
        let mut lost: FxHashMap<TicketId, u32> = FxHashMap::default();
        self.further.retain(|_, further| {
            let is_theirs = further.author == author;
            if is_theirs && further.part == Part::Joined {
                *lost.entry(further.ticket_id).or_default() += 1;
            }
            !is_theirs
        });
        for (ticket_id, conversation) in &mut self.tickets {
            let joined = lost.get(ticket_id).copied().unwrap_or(0);
            if conversation.author == author || joined > 0 {
                conversation.lose(joined, conversation.author == author);
            }
        }
    }

    /// The brand that this ticket is about, if it is remembered.
    pub fn brand_of(&self, ticket_id: TicketId) -> Option<Arc<str>> {
        self.tickets.get(&ticket_id).map(|conversation| conversation.brand.clone())
    }

    /// The ticket in whose thread this post is, whoever wrote it, and the post that leads there.
    pub fn thread_of(&self, post: &Post<'_>) -> Option<(TicketId, TicketId)> {
        let parents = [&post.reply_to, &post.quote_of].into_iter().flatten();
        parents.map(|parent| TicketId::of_post(post.network, parent)).find_map(|parent| {
            let is_first = self.tickets.contains_key(&parent);
            let further = self.further.get(&parent).map(|further| further.ticket_id);
            let ticket_id = if is_first { Some(parent) } else { further };
            ticket_id
                .filter(|ticket_id| self.tickets.contains_key(ticket_id))
                .map(|ticket_id| (ticket_id, parent))
        })
    }

    /// Where this post belongs, which was posted at `at`. `brand` is empty where no rule matches it. `is_thanks` as the
    /// function says.
    pub fn place(
        &self,
        config: &Config,
        post: &Post<'_>,
        brand: &Arc<str>,
        addressed: bool,
        is_thanks: bool,
        at: Timestamp,
    ) -> Place {
        let person = Person::of(post.network, &post.author.id);
        let at_us = at.as_microsecond();
        let (mut of, mut again) = (brand, None);
        if let Some((ticket_id, parent)) = self.thread_of(post)
            && let Some(conversation) = self.tickets.get(&ticket_id)
            && (brand.is_empty() || *brand == conversation.brand)
        {
            if !conversation.is_open() {
                // Who answers there speaks of its brand, whether or not they name it.
                again = Some(ticket_id).filter(|_| brand.is_empty() && conversation.has_part(person));
                of = &conversation.brand;
            } else if conversation.has_part(person) {
                let thanks = self.thanked_by(conversation, person, parent).filter(|_| is_thanks);
                return Place::Joins { ticket_id, thanks, has_part: true };
            } else {
                let is_helper = self.is_helper(config, person, at_us);
                if config.others && addressed && !is_helper {
                    return Place::Joins { ticket_id, thanks: None, has_part: false };
                }
                // A question of their own that names the brand is one all the same.
                if is_helper || brand.is_empty() {
                    return Place::Bystander(ticket_id);
                }
            }
        }
        if brand.is_empty() && again.is_none() {
            return Place::Alone { earlier: None };
        }
        let join_us = config.join_us();
        let joinable = |ticket_id: &TicketId| {
            let Some(conversation) = self.tickets.get(ticket_id) else { return false };
            // A post may be older than what is remembered of its ticket: clocks differ, and after a restart that is when
            // the ticket was decided about.
            let is_near = join_us > 0 && at_us.saturating_sub(conversation.last_us) < join_us;
            conversation.is_open() && is_near
        };
        let newest = self.newest.get(&person).map_or(&[][..], Vec::as_slice);
        let mut newest = newest.iter().rev().filter(|(brand, _)| brand == of).map(|(_, id)| *id);
        let earlier = newest.clone().next();
        match (newest.find(joinable), again) {
            (Some(ticket_id), _) => Place::Joins { ticket_id, thanks: None, has_part: again.is_some() },
            (None, Some(ticket_id)) => Place::Again(ticket_id),
            (None, None) => Place::Alone { earlier },
        }
    }

    /// The parent, if it is somebody else's and this the ticket's author, whose thanks are for it.
    fn thanked_by(&self, conversation: &Conversation, person: Person, parent: TicketId) -> Option<TicketId> {
        let Further { author: helper, part, .. } = *self.further.get(&parent)?;
        let helps = helper != person && part != Part::Answer;
        (helps && conversation.author == person).then_some(parent)
    }

    /// Somebody was thanked in this ticket for this post; not our own accounts, whose posts are answers.
    pub fn thank(&mut self, post_id: TicketId, at_us: i64) {
        let Some(Further { ticket_id, author, .. }) = self.further.get(&post_id).copied() else { return };
        self.thanked_at(author, ticket_id, at_us);
    }

    /// The same as the ledger remembers it; oldest first.
    pub fn remember_thanks(&mut self, network: Network, author_id: &str, ticket_id: TicketId, at_us: i64) {
        self.thanked_at(Person::of(network, author_id), ticket_id, at_us);
    }

    fn thanked_at(&mut self, author: Person, ticket_id: TicketId, at_us: i64) {
        let thanks = self.thanked.entry(author).or_default();
        self.thanked_ages.remove(&(last_of(thanks), author));
        thanks.retain(|(_, then_us)| at_us.saturating_sub(*then_us) < THANKS_COUNT_FOR_US);
        if !thanks.iter().any(|(known, _)| *known == ticket_id) {
            thanks.push((ticket_id, at_us));
        }
        // More than anybody asks for tells nothing more.
        if thanks.len() > THANKED_MIN_MAX as usize {
            thanks.remove(0);
        }
        self.thanked_ages.insert((last_of(thanks), author));
        // Who was thanked longest ago goes first, as in the ledger.
        while self.thanked_ages.len() > THANKED_MAX
            && let Some((_, oldest)) = self.thanked_ages.pop_first()
        {
            self.thanked.remove(&oldest);
        }
    }

    fn is_helper(&self, config: &Config, person: Person, at_us: i64) -> bool {
        let counts = |(_, then_us): &&(TicketId, i64)| at_us.saturating_sub(*then_us) < THANKS_COUNT_FOR_US;
        config.thanked_min > 0
            && self
                .thanked
                .get(&person)
                .is_some_and(|thanks| thanks.iter().filter(counts).count() >= config.thanked_min as usize)
    }
}

/// When somebody was thanked last.
fn last_of(thanks: &[(TicketId, i64)]) -> i64 {
    thanks.iter().map(|(_, at_us)| *at_us).max().unwrap_or(i64::MIN)
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
