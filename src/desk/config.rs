//! How the desk decides, and what it decides without remembering anything: points, levels, what is given up.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::draft::{Draft, message_of_verdict};
use super::sensitive::Care;
use super::{
    Expectations, Factors, Facts, Levels, Person, Routes, Score, Terms, articles, conversation, priority,
    recorded, sensitive, topic,
};
use crate::classify::{INTENTS, SENTIMENTS, Verdict, best};
use crate::prefilter::Candidate;
use crate::ticket::proto;

/// Up to this probability of a positive text danger that is near is believed against the model's word that it is no
/// customer message. Of the posts in `tests/data/danger.tsv` that the model says so of, real danger is at 0.31 at most.
const NEAR_POSITIVE_MAX: f32 = 0.35;

/// How the desk decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Points for what speaks for or against a post.
    pub factors: Factors,
    /// Where the sum is cut into P1 to P4.
    pub levels: Levels,
    /// Both for the brands that have their own, by the brand's name.
    pub brands: BTreeMap<String, BrandPriority>,
    /// Which words make a text sensitive, and which team such a ticket goes to.
    pub sensitive: sensitive::Topics,
    /// How soon people expect an answer.
    pub expectations: Expectations,
    /// Least probability of `other` at which a post is no customer message. `0.0..=1.0`.
    pub unsupported_min: f32,
    /// The same where the post names one of our handles: it speaks to us, so we doubt the model longer.
    pub unsupported_addressed_min: f32,
    /// Which posts join a ticket.
    pub conversation: conversation::Config,
    /// Contacts of a poster from before that long ago play no part.
    pub contacts_window: Duration,
    /// Which team answers.
    pub routes: Routes,
    /// Whether and how new tickets get articles of the knowledge base.
    pub articles: articles::Config,
    /// The topics that conditions ask for, looked for in texts: see [`Config::with_topic_words`].
    pub topic_words: topic::Words,
}

/// The priorities of one brand.
#[derive(Debug, Clone, PartialEq)]
pub struct BrandPriority {
    /// All factors, with those of every brand where this one has none of its own.
    pub factors: Factors,
    /// Where the sum is cut.
    pub levels: Levels,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            factors: Factors::default(),
            levels: Levels::default(),
            expectations: Expectations::default(),
            brands: BTreeMap::new(),
            sensitive: sensitive::Topics::default(),
            unsupported_min: 0.6,
            unsupported_addressed_min: 0.9,
            conversation: conversation::Config::default(),
            contacts_window: Duration::from_secs(30 * 24 * 3600),
            routes: Routes::default(),
            articles: articles::Config::default(),
            topic_words: topic::Words::default(),
        }
    }
}

impl Config {
    /// The factors and thresholds for this brand.
    pub fn priorities(&self, brand: &str) -> (&Factors, &Levels) {
        let own = self.brands.get(brand);
        own.map_or((&self.factors, &self.levels), |own| (&own.factors, &own.levels))
    }

    /// The priority that these facts give, and its level.
    pub fn score(&self, facts: &Facts<'_>) -> (Score, proto::Level) {
        let (factors, levels) = self.priorities(&facts.candidate.brand);
        let score = factors.score(&Facts { is_noise: self.is_noise(facts), ..*facts });
        let level = levels.level(score.priority);
        (score, level)
    }

    /// The priority of a ticket that this post has joined: what is known of the new post, and that there have been
    /// `follow_ups` posts after the first, this one among them.
    pub fn score_follow_up(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        follow_ups: u32,
        now: Timestamp,
    ) -> (Score, proto::Level) {
        self.score(&self.read(&candidate.post.text).facts(candidate, verdict, person, follow_ups, now))
    }

    /// Whether the model says that this is no customer message. `addressed`: the post names one of our handles.
    pub fn is_unsupported(&self, addressed: bool, verdict: &Verdict) -> bool {
        let (_, least) = self.unsupported_least(addressed);
        verdict.intent[INTENTS.len() - 1] >= least
    }

    /// Whether this is noise, though sensitive words may keep it: the model says so, the post does not name one of our
    /// handles, its author has not posted before, and it speaks of no danger that is [near](sensitive::is_near): of a fire
    /// in a few words the model knows too little to be asked.
    pub fn is_noise(&self, facts: &Facts<'_>) -> bool {
        let Facts { candidate, verdict, follow_ups, sensitive, .. } = *facts;
        follow_ups == 0
            && !candidate.addressed
            && self.is_unsupported(false, verdict)
            && !self.is_near_danger(&candidate.brand, sensitive, &candidate.post.text, verdict)
    }

    fn is_near_danger(&self, brand: &str, topics: &[String], text: &str, verdict: &Verdict) -> bool {
        let (factors, _) = self.priorities(brand);
        let [.., positive] = verdict.sentiment;
        // No customer message, and rather happy: two doubts are one too many.
        let is_meant = |topic: &&String| Care::of(topic) != Care::Mood || positive <= NEAR_POSITIVE_MAX;
        let mut meant = topics.iter().filter(is_meant);
        meant.any(|topic| factors.floors.of(topic).is_some()) && sensitive::is_near(text)
    }

    /// How sure the model must be for that, and the key that says so.
    pub fn unsupported_least(&self, addressed: bool) -> (&'static str, f32) {
        if addressed {
            ("unsupported_addressed_min", self.unsupported_addressed_min)
        } else {
            ("unsupported_min", self.unsupported_min)
        }
    }

    /// By what the priority of a ticket of this brand is reckoned when posts join it.
    pub fn terms(&self, brand: &str) -> Terms {
        let (factors, levels) = self.priorities(brand);
        Terms {
            follow_ups: factors.follow_ups,
            levels: *levels,
            caps: factors.caps,
            floors: factors.floors.clone(),
        }
    }

    /// Whether this post is given up for no customer message. What touches a sensitive topic never is: the model is wrong
    /// now and then, and a fire that nobody reads costs more than a joke that somebody does.
    pub fn gives_up(&self, candidate: &Candidate, verdict: &Verdict) -> bool {
        self.is_unsupported(candidate.addressed, verdict)
            && self.sensitive.read(&candidate.post.text).0.is_empty()
    }

    /// Whether a post speaks of somebody in danger: it touches a topic with a floor, and the model takes it neither for
    /// noise nor for praise.
    pub fn is_danger(&self, candidate: &Candidate, verdict: &Verdict) -> bool {
        let (factors, _) = self.priorities(&candidate.brand);
        let (topics, _) = self.sensitive.read(&candidate.post.text);
        topics.iter().any(|topic| factors.floors.of(topic).is_some())
            && SENTIMENTS[best(&verdict.sentiment)] != "positive"
            // In a thread with us words of danger are for us, as a handle makes them.
            && !self.is_unsupported(true, verdict)
    }

    /// What a surer verdict changes of a ticket that was made under overload; `None` if nothing that people
    /// or filters go by: the most probable classes, the level, whether it is a customer message.
    pub fn rescored(
        &self,
        ticket: &proto::Ticket,
        verdict: &Verdict,
        model: &str,
    ) -> Option<proto::update::Rescored> {
        let is_addressed = recorded::is_addressed(ticket);
        let unsupported = ticket.sensitive.is_empty() && self.is_unsupported(is_addressed, verdict);
        let has_posted = ticket.factors.iter().any(|factor| factor.name == priority::FOLLOW_UPS);
        let text = ticket.post.as_ref().map_or("", |post| &post.text);
        let is_noise = !(is_addressed || has_posted)
            && self.is_unsupported(false, verdict)
            && !self.is_near_danger(&ticket.brand, &ticket.sensitive, text, verdict);
        let (factors, levels) = self.priorities(&ticket.brand);
        let Score { priority, factors } =
            factors.rescore(ticket, verdict, &self.topic_words, &self.sensitive, is_noise);
        let level = levels.level(priority);
        let now = message_of_verdict(verdict, model);
        let before = ticket.verdict.clone().unwrap_or_default();
        let is_confirmed = !unsupported && level == ticket.level() && is_read_alike(&before, &now);
        (!is_confirmed).then(|| proto::update::Rescored {
            priority: u32::from(priority),
            level: level.into(),
            verdict: Some(now),
            factors,
            unsupported,
            edited: false,
        })
    }

    /// What a route goes by: all that the ticket was made of, with what it came to.
    pub fn facts_of<'a>(
        &self,
        draft: &'a Draft,
        candidate: &'a Candidate,
        verdict: &'a Verdict,
        person: &'a Person,
        now: Timestamp,
    ) -> Facts<'a> {
        let Draft { ticket, said } = draft;
        let priority = u16::try_from(ticket.priority).unwrap_or(priority::PRIORITY_MAX);
        let new = Facts::new(candidate, verdict, person, now);
        Facts { sensitive: &ticket.sensitive, said, priority, ..new }
    }
}

/// Whether the most probable classes are the same.
pub(super) fn is_read_alike(before: &proto::Verdict, now: &proto::Verdict) -> bool {
    let is_same = |one, other| most_probable(one) == most_probable(other);
    is_same(&before.sentiment, &now.sentiment)
        && is_same(&before.intent, &now.intent)
        && is_same(&before.urgency, &now.urgency)
}

/// The first of the most probable labels.
fn most_probable(probabilities: &BTreeMap<String, f32>) -> Option<&str> {
    let best = probabilities.iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(label, _)| label.as_str())
}
