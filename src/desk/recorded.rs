//! A ticket → what was known when it was made, so that it can be decided about again.
//!
//! What a ticket does not hold plays no part in points: media, reposts, the frame. An erased one has lost its text and
//! what matched, which only conditions on topics miss. A time at which the network saw
//! the post, where it said none, was replaced by the moment of the decision; [`Recorded::of`] takes that back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::conversation::is_thanks;
use super::follow_up::followed_up;
use super::person::{Customer, Person, Purchase, Touchpoint};
use super::priority::{ERASED, FORGOTTEN, is_floor, is_knowing};
use super::sensitive::{self, Hit};
use super::when::Facts;
use super::{Config, Score, topic};
use crate::classify::{INTENTS, Language, SENTIMENTS, URGENCIES, Verdict};
use crate::parse::{Author, Network, Post};
use crate::prefilter::Candidate;
use crate::ticket::proto;

/// What [`Facts`] borrows, rebuilt from a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The post and what matched.
    pub candidate: Candidate,
    /// What the model said.
    pub verdict: Verdict,
    /// Who wrote it.
    pub person: Person,
    /// The sensitive topics, as the ticket has them or as [`read`](Recorded::read) found them.
    pub sensitive: Vec<String>,
    /// The words that made it so; only known after [`read`](Recorded::read).
    pub sensitive_words: Vec<Hit>,
    /// The topics of conditions that its text says.
    pub said: Vec<Arc<str>>,
    /// Posts of the same author before it: 1 where they had a ticket that nothing joined any more.
    pub follow_ups: u32,
    /// Factors that gave points for what is erased since: of the customer, and combinations.
    pub erased: Vec<proto::Factor>,
    /// When the ticket was made.
    pub now: Timestamp,
}

impl Recorded {
    /// What this ticket says; `topics` are those that conditions ask for.
    pub fn of(ticket: &proto::Ticket, topics: &topic::Words) -> Recorded {
        let post = ticket.post.clone().unwrap_or_default();
        let said = topics.read(&post.text);
        let now = Timestamp::from_microsecond(ticket.created_at_us).unwrap_or_default();
        Recorded {
            candidate: Candidate {
                post: post_of(post, ticket.created_at_us),
                brand: Arc::from(ticket.brand.as_str()),
                also_named: Vec::new(),
                hits: ticket.hits.clone(),
                addressed: is_addressed(ticket),
                value: 1,
            },
            verdict: verdict_of(&ticket.verdict.clone().unwrap_or_default()),
            person: ticket.person.clone().map(person_of).unwrap_or_default(),
            sensitive: ticket.sensitive.clone(),
            sensitive_words: Vec::new(),
            said,
            follow_ups: 0,
            erased: erased_of(&ticket.factors),
            now,
        }
    }

    /// Reads the text for sensitive topics, unless its author has erased it.
    pub fn read(&mut self, topics: &sensitive::Topics) {
        if !self.candidate.post.text.is_empty() {
            (self.sensitive, self.sensitive_words) = topics.read(&self.candidate.post.text);
        }
    }

    /// For decisions.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            sensitive: &self.sensitive,
            sensitive_words: &self.sensitive_words,
            said: &self.said,
            follow_ups: self.follow_ups,
            ..Facts::new(&self.candidate, &self.verdict, &self.person, self.now)
        }
    }
}

/// What was read of a ticket after its own post.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The post that joined it, or was edited; `None`: its own post was read again, by a better model.
    pub post: Option<proto::Post>,
    /// Whether its author had only changed its text: it is another post's, or the ticket's own.
    pub is_edit: bool,
    /// What the model said.
    pub verdict: proto::Verdict,
    /// When, µs since 1970.
    pub at_us: i64,
    /// All that counted for the ticket from then on.
    pub factors: Vec<proto::Factor>,
}

impl Config {
    /// The priority that this config gives a ticket, reckoned as the ledger did: of its own post, then of what was read
    /// `later`.
    ///
    /// A post that has joined a ticket is recorded without the terms that it names, and its author as they were known
    /// when the ticket was made: only combinations that ask for either can differ. One whose text is erased keeps the
    /// points for sensitive words that the ticket had with it. What was known of an author who is forgotten since, and
    /// conditions that asked for it, keep the points that they gave, as long as this config knows them.
    pub fn score_again(&self, recorded: &Recorded, later: &[Reading]) -> (Score, proto::Level) {
        let (factors, levels) = self.priorities(&recorded.candidate.brand);
        let score_own = |facts: &Facts<'_>| factors.with_erased(self.score(facts).0, &recorded.erased);
        let mut score = score_own(&recorded.facts());
        let mut level = levels.level(score.priority);
        let terms = self.terms(&recorded.candidate.brand);
        let mut further = 0;
        for Reading { post, is_edit, verdict, at_us, factors } in later {
            let verdict = verdict_of(verdict);
            let said = match post {
                None => score_own(&Facts { verdict: &verdict, ..recorded.facts() }).factors,
                Some(post) if is_thanks(&post.text, &verdict, &self.sensitive) => Vec::new(),
                Some(post) => {
                    let author = post.author.as_ref().map_or("", |author| &author.id);
                    further += u32::from(!is_edit && author == recorded.candidate.post.author.id);
                    let now = Timestamp::from_microsecond(*at_us).unwrap_or_default();
                    let candidate = Candidate {
                        post: post_of(post.clone(), *at_us),
                        brand: recorded.candidate.brand.clone(),
                        also_named: Vec::new(),
                        hits: Vec::new(),
                        addressed: false,
                        value: 1,
                    };
                    let own = self.score_follow_up(&candidate, &verdict, &recorded.person, 1, now);
                    let mut said = own.0.factors;
                    if post.text.is_empty() {
                        said.extend(
                            factors
                                .iter()
                                .filter(|factor| factor.name == "sensitive" || is_floor(&factor.name))
                                .cloned(),
                        );
                    }
                    said
                }
            };
            (score, level) = followed_up(&score.factors, &said, further, &terms);
        }
        (score, level)
    }
}

fn erased_of(factors: &[proto::Factor]) -> Vec<proto::Factor> {
    factors
        .iter()
        .filter(|factor| factor.evidence == ERASED && (is_knowing(factor) || factor.name == FORGOTTEN))
        .cloned()
        .collect()
}

/// Whether the post named one of our handles: they are the first hits. An erasure takes these, but leaves the factor.
pub(super) fn is_addressed(ticket: &proto::Ticket) -> bool {
    ticket.hits.first().is_some_and(|hit| hit.starts_with('@'))
        || ticket.factors.iter().any(|factor| factor.name == "addressed")
}

/// The verdict that this message was made of; only a language of letters we do not know is forgotten.
pub(super) fn verdict_of(verdict: &proto::Verdict) -> Verdict {
    fn head<const CLASSES: usize>(
        labels: &[&str; CLASSES],
        probabilities: &BTreeMap<String, f32>,
    ) -> [f32; CLASSES] {
        labels.map(|label| probabilities.get(label).copied().unwrap_or(0.0))
    }
    Verdict {
        sentiment: head(&SENTIMENTS, &verdict.sentiment),
        intent: head(&INTENTS, &verdict.intent),
        urgency: head(&URGENCIES, &verdict.urgency),
        language: Language::from_code(&verdict.language).unwrap_or(Language::UNCLEAR),
    }
}

/// The post that this message was made of, in a ticket made at `created_at_us`.
pub(super) fn post_of(post: proto::Post, created_at_us: i64) -> Post<'static> {
    let said = |text: String| (!text.is_empty()).then_some(Cow::Owned(text));
    let list = |items: Vec<String>| items.into_iter().map(Cow::Owned).collect();
    let network = Network::ALL.into_iter().find(|network| network.name() == post.network);
    let network = network.unwrap_or(Network::Plain);
    let author = post.author.unwrap_or_default();
    let author = Author {
        id: author.id.into(),
        handle: said(author.handle),
        name: said(author.name),
        followers: author.followers_known.then_some(author.followers),
        verified: author.verified,
    };
    // Only a Jetstream says when it saw a post.
    let says_when = network == Network::Bluesky || post.seen_at_us != created_at_us;
    let seen_at = Timestamp::from_microsecond(post.seen_at_us).ok();
    let written_at = Timestamp::from_microsecond(post.written_at_us).ok();
    Post {
        language: said(post.language),
        written_at: written_at.filter(|_| post.written_at_us != 0),
        seen_at: seen_at.filter(|_| says_when),
        reply_to: said(post.reply_to),
        quote_of: said(post.quote_of),
        mentions: list(post.mentions),
        hashtags: list(post.hashtags),
        links: list(post.links),
        ..Post::new(network, post.id.into(), author, post.text.into())
    }
}

fn person_of(person: proto::Person) -> Person {
    let at = |at_us| Timestamp::from_microsecond(at_us).unwrap_or_default();
    let touchpoints = person.contacts.into_iter().map(|contact| Touchpoint {
        at: at(contact.at_us),
        channel: contact.channel,
        note: contact.note,
    });
    let purchases = person.purchases.into_iter().map(|purchase| Purchase {
        at: at(purchase.at_us),
        date: purchase.date.parse().ok(),
        what: purchase.what,
        // Nothing is given points for costing nothing.
        amount: (purchase.amount != 0.0).then_some(purchase.amount),
    });
    let customer = (!person.customer.is_empty()).then(|| Customer {
        key: person.customer,
        name: person.name,
        tier: person.tier,
        value: person.value_known.then_some(person.value),
        language: person.language,
        flags: person.flags,
        purchases: purchases.collect(),
    });
    Person { customer: customer.map(Arc::new), touchpoints: touchpoints.collect() }
}
