//! The desk itself: what becomes of a candidate, by what it remembers of earlier ones.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::conversation::{self, Part, Place};
use super::draft::{Given, assigned, message_of, message_of_verdict};
use super::known::{Known, Same, text_hash};
use super::route::{Needs, Weighing};
use super::{Amended, Config, Conversations, People, Router, Terms, Unreadable, told};
use crate::classify::Verdict;
use crate::parse::Post;
use crate::prefilter::Candidate;
use crate::prefilter::watched::of_post;
use crate::ticket::{TicketId, proto};

/// What becomes of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// A new ticket.
    Ticket(Box<proto::Ticket>),
    /// The post has its ticket already, and says the same.
    Duplicate,
    /// The post has its ticket already, and its author changed the text; to what, unless that is thanks.
    Edited(TicketId, Option<Box<Amended>>),
    /// The model says that it is no customer message.
    Unsupported,
    /// The post joins a ticket.
    Joined(Box<Joined>),
    /// It stands in the thread of this ticket and is not for us: a stranger's who speaks to somebody else, a helper's, or
    /// no customer message. It is kept as a part of the thread, in which others may answer it.
    Bystander(TicketId),
    /// No rule matches it, and it is in no conversation.
    Unmatched,
}

/// A post that joins a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// Which.
    pub ticket_id: TicketId,
    /// What the helpdesks are told of the post.
    pub post: proto::Post,
    /// What the model says of it.
    pub verdict: proto::Verdict,
    /// What speaks for the post by itself, in full.
    pub factors: Vec<proto::Factor>,
    /// Whether its author still waits: thanks raise nothing.
    pub raises: bool,
    /// The post whose author it thanks.
    pub thanks: Option<TicketId>,
    /// By what the ticket's priority is reckoned anew.
    pub terms: Terms,
    /// How old another ticket of its author's may be that it joins if this one is closed by then, or gone, µs.
    pub join_us: i64,
    /// The ticket that it makes if there is none; `None`: it is no customer message by itself.
    pub otherwise: Option<Box<proto::Ticket>>,
    /// What that one needs of whoever answers it; `None`: no route speaks of it.
    pub needs: Option<Needs>,
}

/// Whose verdict it is.
#[derive(Debug, Clone, Copy)]
pub struct Opinion<'m> {
    /// Name and version of the model.
    pub model: &'m str,
    /// Whether a better model will be asked when there is time.
    pub provisional: bool,
}

/// Decides, remembering which posts have a ticket, and who is busy with what.
#[derive(Debug, Default)]
pub struct Desk {
    pub(super) known: Known,
    /// Which tickets further posts join.
    pub conversations: Conversations,
    pub(super) posts_remembered: usize,
    pub(super) router: Router,
    /// Open tickets whose agent is no longer there.
    pub(super) orphans: VecDeque<TicketId>,
    /// Whether the ledger may have changed tickets that are to be decided about anew.
    pub(super) changed: bool,
}

impl Desk {
    /// Takes note of what helpdesks report.
    pub fn hear(&mut self, told: &told::Told) {
        self.router.hear(told);
        self.changed |= *told == told::Told::Changed;
        match told {
            told::Told::Status(ticket_id, status) => {
                if let Some(is_closed) = conversation::is_closed(status.state) {
                    self.conversations.set_closed(*ticket_id, is_closed);
                }
            }
            told::Told::Closed(ticket_id) => self.conversations.set_closed(*ticket_id, true),
            told::Told::Over(ticket_id) => self.conversations.end(*ticket_id),
            told::Told::Belongs { post_id, ticket_id, brand, in_thread, at_us } => {
                self.conversations.belongs(*post_id, *ticket_id, brand, *in_thread, *at_us);
            }
            told::Told::Beside(post_id) => {
                // Once its author has changed it, it may be for us.
                self.known.forget(*post_id);
                self.conversations.is_beside(*post_id);
            }
            told::Told::Agent(_) | told::Told::Stands(..) | told::Told::Changed => {}
        }
    }

    /// Whether this text is a change of the ticket of this id, which then is remembered.
    pub fn edits(&mut self, id: TicketId, text: &str) -> bool {
        let hash = text_hash(text);
        match self.known.texts.get(&id) {
            Some(known) if *known == hash => false,
            Some(_) => {
                self.known.insert(id, hash);
                true
            }
            // It may be older than what is remembered: the ledger knows.
            None => !self.known.complete,
        }
    }

    /// Decides what becomes of `candidate`.
    ///
    /// A verdict that was only `provisional`, the small model's under overload, gives up no post as
    /// [`Decision::Unsupported`]: its ticket is scored again when there is time, and lost posts are not.
    ///
    /// # Errors
    ///
    /// It cannot be known who wrote the post.
    pub fn decide(
        &mut self,
        config: &Config,
        candidate: &Candidate,
        verdict: &Verdict,
        Opinion { model, provisional }: Opinion<'_>,
        people: &mut dyn People,
        now: Timestamp,
    ) -> Result<Decision, Unreadable> {
        let post = &candidate.post;
        let id = TicketId::of_post(post.network, &post.id);
        let hash = text_hash(&post.text);
        match self.known.compare(id, hash) {
            Some(Same::Text) => return Ok(Decision::Duplicate),
            // Only a frame that says so is an edit: another server's copy may differ in white space.
            Some(Same::PostOnly) if !post.edited => return Ok(Decision::Duplicate),
            Some(Same::PostOnly) => {
                self.known.insert(id, hash);
                let amended = self.amended(config, candidate, verdict, model, people, now)?;
                return Ok(Decision::Edited(id, amended));
            }
            // It may be older than what is remembered: the ledger knows.
            None if candidate.is_edit_of_thread() && !self.known.complete => {
                return Ok(Decision::Edited(id, None));
            }
            None if candidate.is_edit_of_thread() => return Ok(Decision::Unmatched),
            None => {}
        }
        let is_refused = !provisional && config.gives_up(candidate, verdict);
        let at = posted_at(post, now);
        let Candidate { brand, addressed, .. } = candidate;
        let is_thanks = conversation::is_thanks(&post.text, verdict, &config.sensitive);
        let places = std::iter::once(brand).chain(&candidate.also_named).map(|brand| {
            self.conversations.place(&config.conversation, post, brand, *addressed, is_thanks, at)
        });
        let mut place = self.conversations.liveliest(places);
        // What only names the brand goes on with what its author has begun, or is nothing.
        if candidate.is_only_named() && (is_refused || !matches!(place, Place::Joins { .. })) {
            return Ok(Decision::Unmatched);
        }
        // Who is in danger, or a customer who speaks to us, has a ticket of their own in somebody else's thread.
        if let Some(ticket_id) = self.conversations.stranger_in(place, post)
            && !(is_refused || is_thanks)
            && let of_brand = self.about(ticket_id, candidate)
            && (config.is_danger(&of_brand, verdict)
                // What is known of a customer says nothing of the ticket of somebody else.
                || matches!(place, Place::Joins { .. })
                    && people.author_of(post, config.contacts_window, now)?.customer.is_some())
        {
            let Some(ticket_id) =
                self.conversations.own_open(&config.conversation, post, &of_brand.brand, at)
            else {
                let ticket = self.begin(config, &of_brand, verdict, None, model, people, now)?;
                return Ok(Decision::Ticket(ticket));
            };
            place = Place::Joins { ticket_id, thanks: None, has_part: false };
        }
        let (ticket_id, thanks) = match place {
            Place::Joins { has_part: false, .. } if is_refused => {
                return Ok(self.beside(post, at, Decision::Unsupported));
            }
            Place::Joins { ticket_id, thanks, .. } => (ticket_id, thanks),
            Place::Bystander(ticket_id) => {
                let is_kept = self.note(id, ticket_id, post, Part::Bystander, at);
                let otherwise =
                    if candidate.is_of_thread() { Decision::Unmatched } else { Decision::Unsupported };
                return Ok(if is_kept { Decision::Bystander(ticket_id) } else { otherwise });
            }
            // Of what is over, thanks open nothing anew.
            Place::Again(_) if is_refused || is_thanks => {
                return Ok(self.beside(post, at, Decision::Unmatched));
            }
            Place::Alone { .. } if candidate.is_of_thread() => return Ok(Decision::Unmatched),
            Place::Alone { .. } if is_thanks && self.conversations.is_among_ours(post, brand) => {
                return Ok(self.beside(post, at, Decision::Unsupported));
            }
            Place::Alone { .. } if is_refused => return Ok(self.beside(post, at, Decision::Unsupported)),
            Place::Again(earlier) => {
                let of_brand = self.about(earlier, candidate);
                let ticket = self.begin(config, &of_brand, verdict, Some(earlier), model, people, now)?;
                return Ok(Decision::Ticket(ticket));
            }
            Place::Alone { earlier } => {
                let ticket = self.begin(config, candidate, verdict, earlier, model, people, now)?;
                return Ok(Decision::Ticket(ticket));
            }
        };
        self.known.insert(id, hash);
        self.note(id, ticket_id, post, Part::Joined, at);
        if let Some(post_id) = thanks {
            self.conversations.thank(post_id, ticket_id, at);
        }
        let person = people.author_of(post, config.contacts_window, now)?;
        let of_brand = self.about(ticket_id, candidate);
        let (score, _) = config.score_follow_up(&of_brand, verdict, &person, 1, now);
        // By then the ticket is over, and what only names the brand, or thanks in its thread, opens nothing.
        let is_said_there = candidate.is_of_thread() || self.conversations.thread_of(post).is_some();
        let is_one = !(is_refused || candidate.is_only_named() || is_thanks && is_said_there);
        let mut needs = None;
        let otherwise = is_one.then(|| {
            let given = Given { candidate: &of_brand, verdict, person: &person, model, now };
            let ticket = config.ticket_again(given, ticket_id);
            let facts = config.facts_of(&ticket, &of_brand, verdict, &person, now);
            // Nobody is given it yet: the ticket that it joins keeps its agent.
            let weighing = self.router.weigh(&config.routes, &facts);
            needs = weighing.as_ref().map(Weighing::needs);
            Box::new(assigned(ticket, weighing.map(|weighing| weighing.assignment)))
        });
        Ok(Decision::Joined(Box::new(Joined {
            ticket_id,
            post: message_of(post, now),
            verdict: message_of_verdict(verdict, model),
            factors: score.factors,
            raises: !is_thanks,
            thanks,
            terms: config.terms(&of_brand.brand),
            join_us: config.conversation.join_us(),
            otherwise,
            needs,
        })))
    }

    /// What the changed text of this post says of the ticket that it made or joined, if that may raise it.
    fn amended(
        &self,
        config: &Config,
        candidate: &Candidate,
        verdict: &Verdict,
        model: &str,
        people: &mut dyn People,
        now: Timestamp,
    ) -> Result<Option<Box<Amended>>, Unreadable> {
        let post = &candidate.post;
        if conversation::is_thanks(&post.text, verdict, &config.sensitive) {
            return Ok(None);
        }
        let ticket_id = self.conversations.ticket_of(TicketId::of_post(post.network, &post.id));
        let of_brand = self.about(ticket_id, candidate);
        let person = people.author_of(post, config.contacts_window, now)?;
        // Whoever waits already does not have to name us again, nor say whose danger it is: as in a further post.
        let (score, _) = config.score_follow_up(&of_brand, verdict, &person, 1, now);
        Ok(Some(Box::new(Amended {
            verdict: message_of_verdict(verdict, model),
            factors: score.factors,
            terms: config.terms(&of_brand.brand),
        })))
    }

    /// Makes a ticket of the post, which its author writes again after `earlier`.
    #[expect(clippy::too_many_arguments, reason = "what `decide` is given")]
    fn begin(
        &mut self,
        config: &Config,
        candidate: &Candidate,
        verdict: &Verdict,
        earlier: Option<TicketId>,
        model: &str,
        people: &mut dyn People,
        now: Timestamp,
    ) -> Result<Box<proto::Ticket>, Unreadable> {
        let Candidate { post, brand, .. } = candidate;
        let id = TicketId::of_post(post.network, &post.id);
        self.known.insert(id, text_hash(&post.text));
        let thread = self.conversations.thread_of(post).map(|(among, _)| self.conversations.first_of(among));
        let at_us = posted_at(post, now).as_microsecond();
        self.conversations.begin(id, post.network, &post.author.id, brand, thread, at_us);
        self.conversations.watch(of_post(post.network, &post.id));
        let person = people.author_of(post, config.contacts_window, now)?;
        let given = Given { candidate, verdict, person: &person, model, now };
        let ticket = match earlier {
            Some(earlier) => config.ticket_again(given, earlier),
            None => config.draft(given),
        };
        let facts = config.facts_of(&ticket, candidate, verdict, &person, now);
        let assignment = self.router.route(&config.routes, &facts, id);
        Ok(Box::new(assigned(ticket, assignment)))
    }

    /// What is not for us is a part of the thread that it stands in, if it does: others may answer it, and speak to us.
    fn beside(&mut self, post: &Post<'_>, at: Timestamp, otherwise: Decision) -> Decision {
        let Some(ticket_id) = self.conversations.beside(post) else { return otherwise };
        let is_kept =
            self.note(TicketId::of_post(post.network, &post.id), ticket_id, post, Part::Bystander, at);
        if is_kept { Decision::Bystander(ticket_id) } else { otherwise }
    }

    /// A reply that names no brand speaks of its ticket's.
    fn about(&self, ticket_id: TicketId, candidate: &Candidate) -> Candidate {
        let brand = self.conversations.brand_of(ticket_id).unwrap_or_else(|| candidate.brand.clone());
        Candidate { brand, ..candidate.clone() }
    }

    /// Whether it is kept in mind: of bystanders, no more than anybody needs.
    fn note(
        &mut self,
        post_id: TicketId,
        ticket_id: TicketId,
        post: &Post<'_>,
        part: Part,
        at: Timestamp,
    ) -> bool {
        let at_us = at.as_microsecond();
        let is_kept = self.conversations.add(post_id, ticket_id, post.network, &post.author.id, part, at_us);
        if is_kept {
            self.conversations.watch(of_post(post.network, &post.id));
        }
        is_kept
    }

    /// Whose conversation this post of one of our own accounts answers, if it does.
    pub fn answers(&mut self, post: &Post<'_>, now: Timestamp) -> Option<TicketId> {
        let (ticket_id, _) = self.conversations.thread_of(post)?;
        let post_id = TicketId::of_post(post.network, &post.id);
        let at = answered_at(post, now);
        self.note(post_id, ticket_id, post, Part::Answer, at);
        self.router.answered(ticket_id, at);
        Some(ticket_id)
    }

    /// In whose conversation somebody says this who has no part in it, if it is one.
    pub fn overhears(&mut self, config: &Config, post: &Post<'_>, now: Timestamp) -> Option<TicketId> {
        let at = posted_at(post, now);
        match self.conversations.place(&config.conversation, post, &Arc::from(""), false, false, at) {
            Place::Bystander(ticket_id) => {
                let post_id = TicketId::of_post(post.network, &post.id);
                self.note(post_id, ticket_id, post, Part::Bystander, at).then_some(ticket_id)
            }
            Place::Joins { .. } | Place::Again(_) | Place::Alone { .. } => None,
        }
    }

    /// Somebody has deleted the post of this id; whether the ledger may hold something of it: `false` is certain.
    pub fn deletes(&mut self, id: TicketId) -> bool {
        // The ledger will say so, too, but only once this is durable: what its author posts next is a ticket by then.
        if self.known.complete && self.conversations.is_alone(id) {
            self.conversations.end(id);
        }
        self.conversations.post_deleted(id) || self.may_know(id)
    }

    /// Whether a ticket of this id may exist: `false` is certain.
    pub fn may_know(&self, id: TicketId) -> bool {
        self.known.texts.contains_key(&id) || !self.known.complete || self.conversations.has_forgotten
    }
}

/// When this post was seen: by that it joins, and others join it.
pub fn posted_at(post: &Post<'_>, now: Timestamp) -> Timestamp {
    post.seen_at.unwrap_or(now)
}

/// When this answer was given, as far as its network says, whose clock may be ahead of ours: after an outage it comes
/// long after that.
pub fn answered_at(post: &Post<'_>, now: Timestamp) -> Timestamp {
    post.seen_at.map_or(now, |seen| seen.min(now))
}
