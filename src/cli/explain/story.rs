//! What becomes of one post, and how that is come to: told once, for people and machines alike.
//!
//! The lane, the desk and what it remembers are the daemon's own. How often each agent was passed over is all that only
//! the running daemon knows.

use std::sync::Arc;

use anyhow::anyhow;
use jiff::Timestamp;

use super::Failure;
use crate::classify::{Classifier, Verdict};
use crate::config::Config;
use crate::desk::articles::{Articles, Question, Sought};
use crate::desk::follow_up::followed_up;
use crate::desk::{Decision, Desk, Joined, Opinion, People, Score, Tried, text_hash};
use crate::ledger::recall::{Memory, Standing};
use crate::parse::{Format, Post};
use crate::pipeline::lane::{Item, Lane};
use crate::prefilter::watched::Watched;
use crate::prefilter::{Candidate, Explanation, Prefilter};
use crate::source::FrameBatch;
use crate::telemetry::Bucket;
use crate::ticket::{TicketId, proto};

/// What a story is told by.
pub(super) struct Teller<'t> {
    pub(super) config: &'t Config,
    pub(super) prefilter: &'t Prefilter,
    pub(super) people: Box<dyn People>,
    pub(super) knowledge_base: Box<dyn Articles>,
    /// The ledger; `None` where there is none yet, or nothing is asked of it.
    pub(super) memory: Option<Memory>,
}

/// What becomes of a post.
pub(super) struct Story {
    /// Which terms were found, and which rules match.
    pub(super) rules: Explanation,
    /// The ticket that was made of this post or that it has joined: all else is as if it came for the first time, and
    /// nobody were in conversation.
    pub(super) known: Option<TicketId>,
    /// Whether it changes the text that this ticket has of it.
    pub(super) is_edit: bool,
    /// Whether the ledger was asked for open tickets.
    pub(super) remembers: bool,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// By one of our own accounts; the ticket in whose thread it answers, if it does.
    Own(Option<TicketId>),
    /// No rule matches, and it is in no conversation.
    Unmatched,
    /// Somebody else's, in the thread of this ticket, and not for us.
    Bystander(TicketId),
    /// The model has read it.
    Read(Box<Reading>),
}

/// What was read, and what comes of it.
pub(super) struct Reading {
    pub(super) candidate: Candidate,
    pub(super) verdict: Verdict,
    /// Name and version, and what it runs on.
    pub(super) model: String,
    pub(super) runtime: String,
    pub(super) now: Timestamp,
    pub(super) tried: Tried,
    /// How often its author was thanked for helping others.
    pub(super) thanked: usize,
    /// The articles that were looked for; of a ticket that it makes.
    pub(super) articles: Option<(Question, Sought)>,
    /// The ticket that it makes, with its articles.
    pub(super) ticket: Option<proto::Ticket>,
    /// What it makes of the ticket that it joins.
    pub(super) raised: Option<Raised>,
}

/// A ticket before a post joins it, and after.
pub(super) struct Raised {
    pub(super) before: proto::Ticket,
    pub(super) after: Score,
    pub(super) level: proto::Level,
}

impl Raised {
    /// As the ledger reckons it, of what it holds now.
    fn of(standing: Standing, joined: &Joined) -> Raised {
        let Standing { ticket, further } = standing;
        let said: &[proto::Factor] = if joined.raises { &joined.factors } else { &[] };
        // Of others nobody counts how often they write.
        let author =
            |post: &Option<proto::Post>| post.clone().and_then(|post| post.author).unwrap_or_default().id;
        let is_own = author(&ticket.post) == author(&Some(joined.post.clone()));
        let further = further + u32::from(joined.raises && is_own);
        let (after, level) = followed_up(&ticket.factors, said, further, &joined.terms);
        Raised { before: ticket, after, level }
    }
}

impl Teller<'_> {
    /// Tells what becomes of this post, which `frame` holds.
    pub(super) fn tell(&mut self, post: &Post<'_>, format: Format, frame: &[u8]) -> Result<Story, Failure> {
        let ledger = |error| Failure::Fault(anyhow::Error::new(error));
        let watched = Arc::<Watched>::default();
        let mut desk = Desk::default();
        desk.conversations.watched_by(watched.clone());
        let mut known = None;
        if let Some(memory) = &self.memory {
            known = memory.belongs(TicketId::of_post(post.network, &post.id)).map_err(ledger)?;
            match known {
                None => memory.recall(&mut desk).map_err(ledger)?,
                Some(_) => memory.recall_assignments(&mut desk).map_err(ledger)?,
            }
        }
        if let Some(agents) = self.people.new_agents().map_err(anyhow::Error::from)? {
            desk.set_agents(&agents);
        }
        let rules = self.prefilter.explain(post);
        let mut batch = FrameBatch::empty(Arc::from("stdin"), format, 0);
        batch.push(frame);
        let mut output = Lane::watching(watched).process(self.prefilter, batch);
        let edited = match output.items.last() {
            Some(Item::Candidate(candidate) | Item::Reply(candidate)) if candidate.post.edited => {
                Some(&*candidate.post.text)
            }
            Some(Item::Edited { text, .. }) => Some(text.as_str()),
            _ => None,
        };
        let is_edit = match (&self.memory, known.and(edited)) {
            (Some(memory), Some(text)) => {
                let post_id = TicketId::of_post(post.network, &post.id);
                memory.is_changed(post_id, text_hash(text)).map_err(ledger)?
            }
            _ => false,
        };
        let now = post.seen_at.or(post.written_at).unwrap_or_else(Timestamp::now);
        let outcome = match output.items.pop() {
            Some(Item::Candidate(candidate) | Item::Reply(candidate)) => {
                Outcome::Read(Box::new(self.read(&mut desk, *candidate, now)?))
            }
            Some(Item::Overheard(post)) => match desk.overhears(&self.config.desk, &post, now) {
                Some(ticket_id) => Outcome::Bystander(ticket_id),
                None => Outcome::Unmatched,
            },
            Some(Item::Answer(post)) => Outcome::Own(desk.answers(&post, now)),
            _ if output.buckets[Bucket::Malformed] > 0 => {
                return Err(Failure::Mistake(anyhow!("stdin: a post with an id that no network gives")));
            }
            _ if output.buckets[Bucket::Own] > 0 => Outcome::Own(None),
            _ => Outcome::Unmatched,
        };
        let remembers = self.memory.is_some() && known.is_none();
        Ok(Story { rules, known, is_edit, remembers, outcome })
    }

    fn read(&mut self, desk: &mut Desk, candidate: Candidate, now: Timestamp) -> Result<Reading, Failure> {
        let config = &self.config.desk;
        let mut classifier = Classifier::open(&self.config.classify)?;
        let mut verdicts = Vec::new();
        classifier.classify(&[&candidate.post.text], &mut verdicts).map_err(anyhow::Error::from)?;
        let verdict = verdicts.pop().ok_or_else(|| anyhow!("the model gave no verdict"))?;
        let opinion = Opinion { model: classifier.model(), provisional: false };
        let thanked = desk.conversations.times_thanked(&candidate.post, now);
        let tried = desk.try_out(config, &candidate, &verdict, opinion, self.people.as_mut(), now);
        let tried = tried.map_err(anyhow::Error::from)?;
        let (mut articles, mut ticket, mut raised) = (None, None, None);
        match &tried.decision {
            Decision::Ticket(new) => {
                let language = verdict.language.code();
                let question = Question::of(&candidate.post, &new.brand, language, &config.articles);
                let sought = self.knowledge_base.seek(&question, true);
                let found = sought.found.iter().map(|found| found.article.clone()).collect();
                ticket = Some(proto::Ticket { articles: found, ..(**new).clone() });
                articles = Some((question, sought));
            }
            Decision::Joined(joined) => {
                let standing = self.memory.as_ref().map(|memory| memory.ticket(joined.ticket_id));
                let standing = standing.transpose().map_err(anyhow::Error::new)?.flatten();
                raised = standing.map(|standing| Raised::of(standing, joined));
            }
            _ => {}
        }
        Ok(Reading {
            model: classifier.model().to_owned(),
            runtime: classifier.runtime().to_owned(),
            candidate,
            verdict,
            now,
            tried,
            thanked,
            articles,
            ticket,
            raised,
        })
    }
}
