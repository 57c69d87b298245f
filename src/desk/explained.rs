//! What the desk would decide of one post, with all that it goes by: for people who ask why.
//!
//! Decided by the very lines that decide in the daemon; what is shown beside the decision is asked again of the same
//! functions, with the same facts.

use jiff::Timestamp;

use super::conversation::{Place, is_thanks};
use super::draft::Draft;
use super::priority::{self, FOLLOW_UPS};
use super::route::Weighing;
use super::{Config, Decision, Desk, Facts, Levels, Opinion, People, Person, Unreadable, posted_at};
use crate::classify::Verdict;
use crate::prefilter::Candidate;
use crate::ticket::proto;

/// A priority with all that speaks for and against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Every factor, also those that give nothing.
    pub lines: Vec<priority::Line>,
    /// Of all points, before it is cut.
    pub sum: i64,
    /// `0..=1000`.
    pub priority: u16,
    /// Where that lies.
    pub level: proto::Level,
    /// The thresholds that say so.
    pub levels: Levels,
}

/// A decision with all that was weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// What becomes of the post.
    pub decision: Decision,
    /// Every factor of the post: of the ticket that it makes, or of the post by itself where it joins one.
    pub explained: Explained,
    /// When its answer is due, in words; of a ticket that it makes.
    pub due: Option<String>,
    /// Who was asked in turn; of a ticket that it makes.
    pub weighing: Option<Weighing>,
    /// Why it is no ticket, though a rule matches it or its thread is watched.
    pub aside: Aside,
}

/// Why a post that stands in a thread is not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// Its author was thanked for helping others often enough.
    Helper,
    /// Somebody who has no part in the thread speaks, and not to us.
    Stranger,
    /// It says thanks.
    Thanks,
    /// The model takes it for no customer message.
    NoMessage,
}

impl Aside {
    /// Of a post that belongs there.
    fn of(desk: &Desk, config: &Config, candidate: &Candidate, verdict: &Verdict, now: Timestamp) -> Aside {
        let Candidate { post, brand, addressed, .. } = candidate;
        let (at, terms) = (posted_at(post, now), &config.conversation);
        let is_thanks = is_thanks(&post.text, verdict, &config.sensitive);
        match desk.conversations.place(terms, post, brand, *addressed, is_thanks, at) {
            Place::Bystander(_) if desk.conversations.helps(terms, post, at) => Aside::Helper,
            Place::Bystander(_) => Aside::Stranger,
            _ if is_thanks => Aside::Thanks,
            _ => Aside::NoMessage,
        }
    }
}

impl Desk {
    /// Decides about `candidate` as [`decide`](Desk::decide) does, and keeps what was weighed.
    ///
    /// # Errors
    ///
    /// It cannot be known who wrote the post.
    pub fn try_out(
        &mut self,
        config: &Config,
        candidate: &Candidate,
        verdict: &Verdict,
        opinion: Opinion<'_>,
        people: &mut dyn People,
        now: Timestamp,
    ) -> Result<Tried, Unreadable> {
        // As it is before the decision changes it.
        let router = self.router.clone();
        let aside = Aside::of(self, config, candidate, verdict, now);
        let decision = self.decide(config, candidate, verdict, opinion, people, now)?;
        let brand = match &decision {
            Decision::Ticket(ticket) => Some(ticket.brand.as_str().into()),
            // A reply that names no brand speaks of its ticket's.
            Decision::Joined(joined) => self.conversations.brand_of(joined.ticket_id),
            _ => None,
        };
        let brand = brand.unwrap_or_else(|| candidate.brand.clone());
        let candidate = Candidate { brand, ..candidate.clone() };
        let person = people.author_of(&candidate.post, config.contacts_window, now)?;
        let earlier = match &decision {
            Decision::Ticket(ticket) => ticket.factors.iter().find(|factor| factor.name == FOLLOW_UPS),
            _ => None,
        };
        let follow_ups = u32::from(earlier.is_some() || matches!(decision, Decision::Joined(_)));
        let mut explained = config.explain_post(&candidate, verdict, &person, follow_ups, now);
        if matches!(decision, Decision::Joined(_)) {
            // The ticket's, by how many have joined it: none of this post by itself.
            let mut by_itself = config.clone();
            let of_brands = by_itself.brands.values_mut().map(|own| &mut own.factors);
            for factors in of_brands.chain([&mut by_itself.factors]) {
                factors.follow_ups.points = 0;
            }
            explained = by_itself.explain_post(&candidate, verdict, &person, follow_ups, now);
            explained.lines.retain(|line| line.name != FOLLOW_UPS);
        }
        if let Some(earlier) = earlier {
            let line = explained.lines.iter_mut().find(|line| line.name == FOLLOW_UPS);
            line.into_iter().for_each(|line| line.evidence.clone_from(&earlier.evidence));
        }
        let (mut due, mut weighing) = (None, None);
        if let Decision::Ticket(ticket) = &decision {
            let said = config.topic_words.read(&candidate.post.text);
            let draft = Draft { ticket: (**ticket).clone(), said };
            let facts = config.facts_of(&draft, &candidate, verdict, &person, now);
            due = Some(config.expectations.of(&facts, &ticket.factors).to_string());
            weighing = router.weigh(&config.routes, &facts);
        }
        Ok(Tried { decision, explained, due, weighing, aside })
    }
}

impl Config {
    /// The priority that these facts give, with every factor.
    pub fn explain(&self, facts: &Facts<'_>) -> Explained {
        let (factors, levels) = self.priorities(&facts.candidate.brand);
        let lines = factors.lines(&Facts { is_noise: self.is_noise(facts), ..*facts }, true);
        let sum = priority::sum(&lines);
        let priority = priority::cut(sum);
        Explained { lines, sum, priority, level: levels.level(priority), levels: *levels }
    }

    /// As [`Config::explain`], of a new post as [`Config::ticket`] sees it, whose author has posted `follow_ups` times
    /// before: see [`Facts::follow_ups`].
    pub fn explain_post(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        follow_ups: u32,
        now: Timestamp,
    ) -> Explained {
        self.explain(&self.read(&candidate.post.text).facts(candidate, verdict, person, follow_ups, now))
    }
}
