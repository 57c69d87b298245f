//! The ticket that a candidate makes, whatever tickets exist already.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::sensitive::Hit;
use super::{Config, Facts, Person, follow_up, person};
use crate::classify::{INTENTS, SENTIMENTS, URGENCIES, Verdict};
use crate::parse::Post;
use crate::prefilter::Candidate;
use crate::ticket::{TicketId, proto};

/// A ticket that nobody has been chosen for yet, and what its route goes by beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// As it is without a route.
    pub ticket: proto::Ticket,
    /// Topics of conditions that the post's text says; no ticket holds them.
    pub(super) said: Vec<Arc<str>>,
}

/// What a ticket is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) verdict: &'a Verdict,
    pub(super) person: &'a Person,
    /// The name and version of what gave `verdict`.
    pub(super) model: &'a str,
    pub(super) now: Timestamp,
}

/// What a post's text says that factors and conditions go by.
#[derive(Debug)]
pub(super) struct Said {
    sensitive: Vec<String>,
    sensitive_words: Vec<Hit>,
    topics: Vec<Arc<str>>,
}

impl Said {
    /// What is known of a post by itself, whose author has posted `follow_ups` times before: see [`Facts::follow_ups`].
    pub(super) fn facts<'a>(
        &'a self,
        candidate: &'a Candidate,
        verdict: &'a Verdict,
        person: &'a Person,
        follow_ups: u32,
        now: Timestamp,
    ) -> Facts<'a> {
        Facts {
            sensitive: &self.sensitive,
            sensitive_words: &self.sensitive_words,
            said: &self.topics,
            follow_ups,
            ..Facts::new(candidate, verdict, person, now)
        }
    }
}

impl Config {
    /// Reads a text for sensitive words, and for the topics that conditions ask for.
    pub(super) fn read(&self, text: &str) -> Said {
        let (sensitive, sensitive_words) = self.sensitive.read(text);
        Said { sensitive, sensitive_words, topics: self.topic_words.read(text) }
    }

    /// The ticket that this candidate makes at `now`, without a route, whatever tickets exist already.
    ///
    /// `model` is the name and version of what gave `verdict`.
    pub fn ticket(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        model: &str,
        now: Timestamp,
    ) -> proto::Ticket {
        self.draft(Given { candidate, verdict, person, model, now }).ticket
    }

    /// The same with what is needed to find its route.
    pub(super) fn draft(&self, given: Given<'_>) -> Draft {
        self.draft_after(given, 0)
    }

    /// The same of somebody who has had a ticket before that nothing joins any more: they have posted again.
    pub(super) fn ticket_again(&self, given: Given<'_>, earlier: TicketId) -> Draft {
        let mut draft = self.draft_after(given, 1);
        for factor in draft.ticket.factors.iter_mut().filter(|factor| factor.name == follow_up::FACTOR) {
            factor.evidence = format!("earlier ticket {earlier}");
        }
        draft
    }

    fn draft_after(&self, given: Given<'_>, follow_ups: u32) -> Draft {
        let Given { candidate, verdict, person, model, now } = given;
        let post = &candidate.post;
        let read = self.read(&post.text);
        let facts = read.facts(candidate, verdict, person, follow_ups, now);
        let (score, level) = self.score(&facts);
        let due = self.expectations.of(&Facts { priority: score.priority, ..facts }, &score.factors);
        let (at_risk_at, due_at) = (due.at_risk_at, due.due_at);
        let watched = Some(at_risk_at).filter(|_| self.expectations.overdue_updates);
        let ticket = proto::Ticket {
            id: TicketId::of_post(post.network, &post.id).as_bytes().to_vec(),
            post: Some(message_of(post, now)),
            brand: candidate.brand.to_string(),
            priority: u32::from(score.priority),
            level: level.into(),
            created_at_us: now.as_microsecond(),
            due_at_us: due_at.as_microsecond(),
            verdict: Some(message_of_verdict(verdict, model)),
            factors: score.factors,
            hits: candidate.hits.clone(),
            incident_id: Vec::new(),
            route: String::new(),
            person: message_of_person(person),
            assignment: None,
            articles: Vec::new(),
            sensitive: read.sensitive,
            at_risk_at_us: watched.map_or(0, Timestamp::as_microsecond),
            erased: false,
        };
        Draft { ticket, said: read.topics }
    }
}

pub(super) fn assigned(draft: Draft, assignment: Option<proto::Assignment>) -> proto::Ticket {
    let route = assignment.as_ref().map(|assignment| assignment.team.clone()).unwrap_or_default();
    proto::Ticket { route, assignment, ..draft.ticket }
}

/// `None` for a stranger.
fn message_of_person(person: &Person) -> Option<proto::Person> {
    if *person == Person::default() {
        return None;
    }
    let customer = person.customer.as_deref().cloned().unwrap_or_default();
    let purchase = |purchase: person::Purchase| proto::person::Purchase {
        at_us: purchase.at.as_microsecond(),
        date: purchase.date.map(|date| date.to_string()).unwrap_or_default(),
        what: purchase.what,
        amount: purchase.amount.unwrap_or_default(),
    };
    let contact = |touchpoint: &person::Touchpoint| proto::person::Contact {
        at_us: touchpoint.at.as_microsecond(),
        channel: touchpoint.channel.clone(),
        note: touchpoint.note.clone(),
    };
    Some(proto::Person {
        customer: customer.key,
        name: customer.name,
        tier: customer.tier,
        flags: customer.flags,
        value: customer.value.unwrap_or_default(),
        value_known: customer.value.is_some(),
        language: customer.language,
        purchases: customer.purchases.into_iter().map(purchase).collect(),
        contacts: person.touchpoints.iter().map(contact).collect(),
    })
}

pub(super) fn message_of_verdict(verdict: &Verdict, model: &str) -> proto::Verdict {
    proto::Verdict {
        sentiment: labelled(&SENTIMENTS, &verdict.sentiment),
        intent: labelled(&INTENTS, &verdict.intent),
        urgency: labelled(&URGENCIES, &verdict.urgency),
        model: model.to_owned(),
        language: verdict.language.code().to_owned(),
    }
}

fn labelled(labels: &[&str], probabilities: &[f32]) -> BTreeMap<String, f32> {
    labels.iter().map(|label| (*label).to_owned()).zip(probabilities.iter().copied()).collect()
}

pub(super) fn message_of(post: &Post<'_>, now: Timestamp) -> proto::Post {
    let owned = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let list = |items: &[Cow<'_, str>]| items.iter().map(|item| item.to_string()).collect();
    proto::Post {
        network: post.network.name().to_owned(),
        id: post.id.to_string(),
        url: post.url().unwrap_or_default(),
        author: Some(proto::Author {
            id: post.author.id.to_string(),
            handle: owned(&post.author.handle),
            name: owned(&post.author.name),
            followers: post.author.followers.unwrap_or_default(),
            followers_known: post.author.followers.is_some(),
            verified: post.author.verified,
        }),
        text: post.text.to_string(),
        language: owned(&post.language),
        written_at_us: post.written_at.map_or(0, Timestamp::as_microsecond),
        seen_at_us: post.seen_at.unwrap_or(now).as_microsecond(),
        reply_to: owned(&post.reply_to),
        quote_of: owned(&post.quote_of),
        mentions: list(&post.mentions),
        hashtags: list(&post.hashtags),
        links: list(&post.links),
    }
}
