//! Where a post belongs.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Config, Conversation, Conversations, Person};
use crate::parse::Post;
use crate::ticket::TicketId;

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
    /// It stands in the thread of this ticket, in which its author has no part: a helper's, or of somebody who does not
    /// speak to us.
    Bystander(TicketId),
    /// It answers in a thread without naming the brand; its author had part there, in this ticket, but that one is closed,
    /// or has all the posts that it takes.
    Again(TicketId),
    /// It belongs to none that is open.
    Alone {
        /// The author's last ticket of the brand, which is closed or too old to be joined.
        earlier: Option<TicketId>,
    },
}

impl Conversations {
    /// The ticket among whose posts this one hangs, whoever wrote it, and the post that leads there.
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

    /// The ticket in whose thread this post is kept as a bystander's: the one that it hangs under, or the thread's first
    /// where nothing of that is left.
    pub fn beside(&self, post: &Post<'_>) -> Option<TicketId> {
        let (ticket_id, _) = self.thread_of(post)?;
        let is_left = |of: &TicketId| self.tickets.get(of).is_some_and(|conversation| !conversation.is_over);
        [ticket_id, self.first_of(ticket_id)].into_iter().find(is_left)
    }

    /// Whether this post hangs where its author has part, or under what is over: thanks there open nothing anew, whether
    /// or not they name the brand.
    pub fn is_among_ours(&self, post: &Post<'_>, brand: &Arc<str>) -> bool {
        let Some((ticket_id, _)) = self.thread_of(post) else { return false };
        let person = Person::of(post.network, &post.author.id);
        let is_over = |here: &Conversation| here.is_about(brand) && !here.takes_more();
        self.part_of(person, ticket_id, brand).is_some() || self.tickets.get(&ticket_id).is_some_and(is_over)
    }

    /// The ticket in which `place` puts a post of somebody who has no part in it, or beside it.
    pub fn stranger_in(&self, place: Place, post: &Post<'_>) -> Option<TicketId> {
        let ticket_id = match place {
            Place::Joins { ticket_id, has_part: false, .. } | Place::Bystander(ticket_id) => ticket_id,
            Place::Joins { .. } | Place::Again(_) | Place::Alone { .. } => return None,
        };
        let person = Person::of(post.network, &post.author.id);
        // Who joins their own by hours alone has had no part in the thread.
        let here = self.tickets.get(&ticket_id)?;
        (!here.has_part(person)).then_some(ticket_id)
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
        let thread = self.thread_of(post);
        let part = thread.and_then(|(ticket_id, _)| self.part_of(person, ticket_id, brand));
        if let (Some((ticket_id, conversation)), Some((_, parent))) = (part, thread)
            && conversation.takes_more()
        {
            let thanks = self.thanked_by(conversation, person, parent).filter(|_| is_thanks);
            return Place::Joins { ticket_id, thanks, has_part: true };
        }
        if let (None, Some((ticket_id, _))) = (part, thread)
            && let Some(place) = self.place_of_stranger(config, post, person, ticket_id, brand, addressed, at)
        {
            return place;
        }
        // Who answers there speaks of its brand, whether or not they name it.
        let again = part.filter(|_| brand.is_empty());
        if brand.is_empty() && again.is_none() {
            return Place::Alone { earlier: None };
        }
        let of = again.map_or(brand, |(_, conversation)| &conversation.brand);
        match (self.own_open(config, post, of, at), again) {
            (Some(ticket_id), _) => Place::Joins { ticket_id, thanks: None, has_part: again.is_some() },
            (None, Some((ticket_id, _))) => Place::Again(ticket_id),
            (None, None) => Place::Alone { earlier: self.own(person, of).next() },
        }
    }

    /// Of the places that a post may have by the brands that it names, the first: but what it joins before what it does
    /// not, and the ticket of the newest post before others.
    pub fn liveliest(&self, places: impl Iterator<Item = Place>) -> Place {
        let last_us = |place: &Place| match place {
            Place::Joins { ticket_id, .. } => self.tickets.get(ticket_id).map(|joined| joined.last_us),
            Place::Bystander(_) | Place::Again(_) | Place::Alone { .. } => None,
        };
        let first = places.reduce(|one, other| if last_us(&other) > last_us(&one) { other } else { one });
        first.unwrap_or(Place::Alone { earlier: None })
    }

    /// The newest ticket of this post's author about this brand that it may join, whatever thread it stands in.
    pub fn own_open(
        &self,
        config: &Config,
        post: &Post<'_>,
        brand: &Arc<str>,
        at: Timestamp,
    ) -> Option<TicketId> {
        let mut own = self.own(Person::of(post.network, &post.author.id), brand);
        own.find(|ticket_id| self.is_joinable(config, *ticket_id, at))
    }

    /// Somebody's tickets of this brand, the newest first.
    fn own(&self, person: Person, brand: &Arc<str>) -> impl Iterator<Item = TicketId> {
        self.newest_of(person).filter(move |(of, _)| of == brand).map(|(_, id)| *id)
    }

    /// Whether its author's posts join this ticket at `at` for their author alone.
    fn is_joinable(&self, config: &Config, ticket_id: TicketId, at: Timestamp) -> bool {
        let Some(conversation) = self.tickets.get(&ticket_id) else { return false };
        let (join_us, at_us) = (config.join_us(), at.as_microsecond());
        // A post may be older than what is remembered of its ticket: clocks differ, and after a restart that is when the
        // ticket was decided about.
        let is_near = join_us > 0 && at_us.saturating_sub(conversation.last_us) < join_us;
        conversation.takes_more() && is_near
    }

    fn newest_of(&self, person: Person) -> impl Iterator<Item = &(Arc<str>, TicketId)> + Clone {
        self.newest.get(&person).map_or(&[][..], Vec::as_slice).iter().rev()
    }

    /// The ticket of this one's thread, about this brand or any, in which somebody has part: the one that their post hangs
    /// under, their own newest, or the thread's first; one that is open before one that is not.
    fn part_of(
        &self,
        person: Person,
        ticket_id: TicketId,
        brand: &Arc<str>,
    ) -> Option<(TicketId, &Conversation)> {
        let first = self.first_of(ticket_id);
        let own = self.newest_of(person).map(|(_, id)| *id).filter(|id| self.first_of(*id) == first);
        let mut parts = [ticket_id].into_iter().chain(own).chain([first]).filter_map(|id| {
            let conversation = self.tickets.get(&id)?;
            (conversation.is_about(brand) && conversation.has_part(person)).then_some((id, conversation))
        });
        parts.clone().find(|(_, conversation)| conversation.takes_more()).or_else(|| parts.next())
    }

    /// Of a post by somebody who has no part in the thread; `None`: it is of its own.
    #[expect(clippy::too_many_arguments, reason = "what `place` knows of the post")]
    fn place_of_stranger(
        &self,
        config: &Config,
        post: &Post<'_>,
        person: Person,
        ticket_id: TicketId,
        brand: &Arc<str>,
        addressed: bool,
        at: Timestamp,
    ) -> Option<Place> {
        let here = self.tickets.get(&ticket_id)?;
        let is_helper = here.is_about(brand) && self.is_helper(config, person, at.as_microsecond());
        let is_open = here.is_about(brand) && !here.is_closed && !here.is_over;
        if config.others && addressed && !is_helper && is_open {
            // Where it hangs, or once there is no room, in the newest of the thread.
            let latest = self.tickets.get(&here.thread).and_then(|first| first.latest);
            let takes = |id: &TicketId| {
                let conversation = self.tickets.get(id);
                conversation
                    .is_some_and(|conversation| conversation.takes_more() && conversation.is_about(brand))
            };
            if let Some(ticket_id) = [Some(ticket_id), latest].into_iter().flatten().find(takes) {
                return Some(Place::Joins { ticket_id, thanks: None, has_part: false });
            }
        }
        // A question of their own that names the brand is one all the same.
        let is_beside = is_helper || brand.is_empty();
        is_beside.then(|| self.beside(post)).flatten().map(Place::Bystander)
    }
}
