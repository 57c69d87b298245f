//! The stream of statuses as a pure function of seed, rate and index.

use std::ops::Range;
use std::sync::Arc;

use super::StatusesConfig;
use super::person::{PROFILES, Person, Profile};
use super::pool::Pool;
use super::snowflake;
use super::status::{self, Form, Status};
use crate::plot::{Cast, EventKind, Plot, Premises};
use crate::posts::Posts;
use crate::script::dice::{Draws, Purpose};
use crate::script::identifier::decimal;
use crate::script::{Event, SupportPost};
use crate::served::Served;
use crate::timeline::Timeline;

/// Accounts that write, by Zipf's law without its head, as in Jetstream's script. The six lowest bits of a rank say
/// the face.
const AUTHOR_RANK_BITS: Range<u32> = 6..16;
/// Age of what is passed on, at most: three days.
const ORIGINAL_AGE_MS: u32 = 3 * 86_400_000;
/// Age of what is deleted, at most: 30 days.
const DELETED_AGE_S: u32 = 30 * 86_400;

/// A stream of statuses of which every line can be asked for by its index.
#[derive(Debug, Clone)]
pub struct StatusScript {
    /// That of this cast.
    seed: u64,
    timeline: Timeline,
    plot: Plot,
    authors: Draws,
    places: Draws,
    originals: Draws,
    posts: Arc<Posts>,
    profiles: Arc<Vec<Profile>>,
    pool: Arc<Pool>,
}

impl StatusScript {
    /// The stream that a server with this config serves; without a start in `config` it starts now.
    ///
    /// # Errors
    ///
    /// A share is not in 0..=1, both are more than 1 together, a burst has more reports than there are posts, or
    /// the start is not from 2019 to 2079, between which ids have 19 digits.
    pub fn new(config: &StatusesConfig) -> anyhow::Result<StatusScript> {
        let timeline = config.timeline();
        let start_us = timeline.nominal_us(timeline.start());
        anyhow::ensure!(snowflake::holds(start_us), "the start must be from 2019 to 2079");
        let (posts, background) = Posts::load(&[])?;
        let StatusesConfig { share, confusing, scenario, .. } = *config;
        let premises = Premises { seed: config.seed, share, confusing, scenario };
        let seed = Cast::Statuses.seed(config.seed);
        let profiles = Profile::all(seed, |dice| posts.city(dice).to_owned());
        Ok(StatusScript {
            seed,
            plot: Plot::new(&premises, Cast::Statuses, &timeline, &posts)?,
            authors: Draws::new(seed, Purpose::Author),
            places: Draws::new(seed, Purpose::Text),
            originals: Draws::new(seed, Purpose::Identifiers),
            pool: Arc::new(Pool::new(seed, &background, &profiles, start_us / 1_000)),
            profiles: Arc::new(profiles),
            posts: Arc::new(posts),
            timeline,
        })
    }

    /// The number of event `n`'s line, counted from 1; `None` before the start.
    pub fn line_of(&self, n: u64) -> Option<u64> {
        n.checked_sub(self.timeline.start()).map(|earlier| earlier + 1)
    }

    /// The event of line `line`, which is 1 or more.
    pub fn event_of(&self, line: u64) -> u64 {
        self.timeline.start().saturating_add(line).saturating_sub(1)
    }

    /// Appends event `n` as a line, without its end.
    pub(super) fn write(&self, n: u64, out: &mut Vec<u8>) {
        match self.plot.kind(n) {
            EventKind::Background => self.write_background(n, self.place(n), out),
            kind => out.extend_from_slice(self.rendered(n, kind).as_bytes()),
        }
    }

    /// The line of an event that is made from nothing.
    fn rendered(&self, n: u64, kind: EventKind) -> String {
        let mut out = String::with_capacity(8 * 1_024);
        match kind {
            EventKind::Repeat { of } => return self.rendered(of, EventKind::Support),
            EventKind::Withdrawal { of } => {
                write_deletion(self.id(of), self.author(of), self.at_ms(n), &mut out);
            }
            EventKind::Deletion => {
                let mut dice = self.originals.of(n);
                let written_ms = self.at_ms(n) - 1_000 * i64::from(60 + dice.below(DELETED_AGE_S));
                let id = snowflake::earlier(written_ms, dice.bits());
                write_deletion(id, self.regular(n, None), self.at_ms(n), &mut out);
            }
            EventKind::Retweet { of } => {
                let post = self.support_post(of);
                let original = self.said(of, &post.lang, &post.text);
                let retweet = Status {
                    form: Form::Retweet(&original),
                    text: "",
                    likes: 0,
                    ..self.said(n, &post.lang, "")
                };
                status::write(&retweet, &self.profiles, &mut out);
            }
            EventKind::Support => {
                let post = self.support_post(n);
                status::write(&self.said(n, &post.lang, &post.text), &self.profiles, &mut out);
            }
            _ => {
                let record = self.posts.confusing(&mut self.places.of(n));
                status::write(&self.said(n, record.language(), record.text()), &self.profiles, &mut out);
            }
        }
        out
    }

    fn said<'s>(&self, n: u64, language: &'s str, text: &'s str) -> Status<'s> {
        Status {
            id: self.id(n),
            at_ms: self.at_ms(n),
            author: self.author(n),
            language,
            text,
            form: Form::Alone,
            photo: None,
            likes: 0,
        }
    }

    fn support_post(&self, n: u64) -> SupportPost {
        let (template, text) = self.posts.support(self.seed, n, self.plot.incident(n));
        SupportPost {
            id: self.id(n).to_string(),
            intent: template.intent.clone(),
            sentiment: template.sentiment.clone(),
            urgency: template.urgency.clone(),
            lang: template.language.clone(),
            text,
        }
    }

    /// Which line of the pool event `n` copies, if it is background.
    fn place(&self, n: u64) -> usize {
        self.places.of(n).below(self.pool.len() as u32) as usize
    }

    fn write_background(&self, n: u64, place: usize, out: &mut Vec<u8>) {
        let line = self.pool.line(place);
        let start = out.len();
        out.extend_from_slice(&line.bytes);
        let bytes = &mut out[start..];
        let at_ms = self.at_ms(n);
        let mut id = [0; snowflake::ID_DIGITS];
        decimal(self.id(n), &mut id);
        put(bytes, &line.ids, &id);
        let mut author = [0; super::person::USER_DIGITS];
        decimal(self.regular(n, Some(line.profile)).id, &mut author);
        put(bytes, &line.authors, &author);
        put(bytes, &line.created, &status::created_at(at_ms));
        let mut timestamp = [0; 13];
        decimal(at_ms as u64, &mut timestamp);
        put(bytes, &line.timestamps, &timestamp);
        if !line.original_ids.is_empty() {
            let mut dice = self.originals.of(n);
            let original_ms = at_ms - 1_000 - i64::from(dice.below(ORIGINAL_AGE_MS));
            decimal(snowflake::earlier(original_ms, dice.bits()), &mut id);
            put(bytes, &line.original_ids, &id);
            put(bytes, &line.original_created, &status::created_at(original_ms));
        }
    }

    fn id(&self, n: u64) -> u64 {
        snowflake::id(self.seed, &self.timeline, n)
    }

    fn at_ms(&self, n: u64) -> i64 {
        self.timeline.nominal_us(n).div_euclid(1_000)
    }

    fn author(&self, n: u64) -> Person {
        if self.plot.is_first_hand(n) && self.plot.kind(n) == EventKind::Support {
            return Person::witness(n);
        }
        self.regular(n, None)
    }

    /// One of those who write again and again, with this face if it matters.
    fn regular(&self, n: u64, profile: Option<u64>) -> Person {
        let mut dice = self.authors.of(n);
        let bits = AUTHOR_RANK_BITS.start + dice.below(AUTHOR_RANK_BITS.end - AUTHOR_RANK_BITS.start);
        let rank = (1_u64 << bits) + u64::from(dice.below(1 << bits));
        Person::regular(profile.map_or(rank, |profile| rank / PROFILES * PROFILES + profile))
    }
}

impl Served for StatusScript {
    fn format(&self) -> &'static str {
        "x-v1"
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn kind(&self, n: u64) -> EventKind {
        self.plot.kind(n)
    }

    fn event(&self, n: u64) -> Event {
        let mut frame = Vec::new();
        self.write(n, &mut frame);
        let kind = self.kind(n);
        let support = match kind {
            EventKind::Support => Some(self.support_post(n)),
            EventKind::Repeat { of } | EventKind::Retweet { of } => Some(self.support_post(of)),
            _ => None,
        };
        Event { frame: String::from_utf8(frame).expect("the encoder writes UTF-8"), kind, support }
    }

    fn index_of(&self, post_id: &str) -> Option<u64> {
        let n = snowflake::event(self.seed, &self.timeline, post_id.parse().ok()?)?;
        let kind = self.kind(n);
        // A retweet has an id of its own, but no post: what is read from it is the original.
        matches!(kind, EventKind::Background | EventKind::Support | EventKind::Confusing).then_some(n)
    }

    fn background_samples(&self) -> Vec<String> {
        let line = |place: usize| {
            let mut line = Vec::new();
            self.write_background(self.timeline.start() + place as u64, place, &mut line);
            String::from_utf8(line).expect("the encoder writes UTF-8")
        };
        (0..self.pool.len()).map(line).collect()
    }
}

fn put(line: &mut [u8], places: &[usize], text: &[u8]) {
    for at in places {
        line[*at..at + text.len()].copy_from_slice(text);
    }
}

fn write_deletion(id: u64, author: Person, at_ms: i64, out: &mut String) {
    let user = author.id;
    out.push_str(&format!(
        "{{\"delete\":{{\"status\":{{\"id\":{id},\"id_str\":\"{id}\",\"user_id\":{user},\"user_id_str\":\"{user}\"}},\
         \"timestamp_ms\":\"{at_ms}\"}}}}"
    ));
}

#[cfg(test)]
mod tests;
