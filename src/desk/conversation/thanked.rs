//! Who was thanked for answering others, and so is a helper.

use jiff::Timestamp;

use super::{Config, Conversation, Conversations, Further, Part, Person, THANKED_MAX};
use super::{THANKED_MIN_MAX, THANKS_COUNT_FOR_US};
use crate::parse::{Network, Post};
use crate::ticket::TicketId;

impl Conversations {
    /// The parent, if it is somebody else's and this the ticket's author, whose thanks are for it.
    pub(super) fn thanked_by(
        &self,
        conversation: &Conversation,
        person: Person,
        parent: TicketId,
    ) -> Option<TicketId> {
        let helper = self.helper_of(parent)?;
        (helper != person && conversation.author == person).then_some(parent)
    }

    /// Who wrote this post, if it may have been help: none of our own accounts, whose posts are answers. What names the
    /// brand may have become a ticket, and help all the same.
    fn helper_of(&self, post_id: TicketId) -> Option<Person> {
        match self.further.get(&post_id) {
            Some(Further { part: Part::Answer, .. }) => None,
            Some(further) => Some(further.author),
            None => self.tickets.get(&post_id).map(|conversation| conversation.author),
        }
    }

    /// Somebody was thanked in this ticket for this post.
    pub fn thank(&mut self, post_id: TicketId, ticket_id: TicketId, at: Timestamp) {
        if let Some(helper) = self.helper_of(post_id) {
            self.thanked_at(helper, ticket_id, at.as_microsecond());
        }
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

    /// Somebody is gone, and what they were thanked for.
    pub fn forget_helper(&mut self, network: Network, author_id: &str) {
        let author = Person::of(network, author_id);
        if let Some(thanks) = self.thanked.remove(&author) {
            self.thanked_ages.remove(&(last_of(&thanks), author));
        }
    }

    /// Whether the author of this post counts as a helper by then.
    pub fn helps(&self, config: &Config, post: &Post<'_>, at: Timestamp) -> bool {
        self.is_helper(config, Person::of(post.network, &post.author.id), at.as_microsecond())
    }

    pub(super) fn is_helper(&self, config: &Config, person: Person, at_us: i64) -> bool {
        config.thanked_min > 0 && self.times(person, at_us) >= config.thanked_min as usize
    }

    /// In how many tickets the author of this post was thanked for help, as far as that counts when they write it.
    pub fn times_thanked(&self, post: &Post<'_>, at: Timestamp) -> usize {
        self.times(Person::of(post.network, &post.author.id), at.as_microsecond())
    }

    fn times(&self, person: Person, at_us: i64) -> usize {
        let counts = |(_, then_us): &&(TicketId, i64)| at_us.saturating_sub(*then_us) < THANKS_COUNT_FOR_US;
        self.thanked.get(&person).map_or(0, |thanks| thanks.iter().filter(counts).count())
    }
}

/// When somebody was thanked last.
fn last_of(thanks: &[(TicketId, i64)]) -> i64 {
    thanks.iter().map(|(_, at_us)| *at_us).max().unwrap_or(i64::MIN)
}
