//! Bluesky's stream as a pure function: event `n`, for a seed, a rate and a start.
//!
//! `plot` says what happens; this adds who acts, the identifiers and the bytes. No event depends
//! on having made another one.

pub(crate) mod dice;
pub(crate) mod identifier;
mod background;
mod encode;

use std::ops::Range;
use std::sync::Arc;

use background::Pool;
use dice::{Dice, Draws, Purpose};
use identifier::{Cid, Day, Did, Tid};

use crate::jetstream::JetstreamConfig;
use crate::plot::{Cast, Plot, Premises};
use crate::posts::Posts;
use crate::served::Served;
use crate::timeline::Timeline;

pub use crate::plot::EventKind;

/// Accounts that act. Ranks follow Zipf's law from 64 on: without its head, as no one account makes 5 % of a
/// network, a tenth of all events comes from 64 accounts and half from 2,000.
const AUTHOR_RANK_BITS: Range<u32> = 6..16;
/// Clock identifiers of a record key go round with the index, so that no two keys of a microsecond are the same.
const CLOCKS: u64 = 1 << 10;

/// Which events the stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Everything, in the proportions of the real network: mostly likes, one post in nine events.
    Network,
    /// What a subscription to `app.bsky.feed.post` alone receives: posts, and the account and identity events
    /// that come whatever is asked for. The rate counts these, as they are what the reader has to bear.
    Posts,
}

pub(crate) const POST: &str = "app.bsky.feed.post";

/// One event as served, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The text of the WebSocket message.
    pub frame: String,
    /// What it is.
    pub kind: EventKind,
    /// The support post that is created, changed or created again; `None` for everything else.
    pub support: Option<SupportPost>,
}

/// A post that ought to become a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportPost {
    /// `at://` address.
    pub id: String,
    /// What the author wants: `problem`, `question`, `help`, `complaint`, `churn`, `feature`, `praise`.
    pub intent: String,
    /// `negative`, `neutral` or `positive`.
    pub sentiment: String,
    /// `low`, `normal` or `high`.
    pub urgency: String,
    /// Primary language tag.
    pub lang: String,
    /// The text as it stands in the record.
    pub text: String,
}

/// A stream of which every event can be asked for by its index.
#[derive(Debug, Clone)]
pub struct Script {
    mix: Mix,
    timeline: Timeline,
    jitter_ms: u32,
    premises: Premises,
    plot: Plot,
    draws: ScriptDraws,
    /// The first day.
    day: Day,
    posts: Arc<Posts>,
    pool: Arc<Pool>,
}

/// What is drawn for every event.
#[derive(Debug, Clone, Copy)]
struct ScriptDraws {
    authors: Draws,
    dids: Draws,
    identifiers: Draws,
    jitter: Draws,
    texts: Draws,
}

impl ScriptDraws {
    fn new(seed: u64, mix: Mix) -> ScriptDraws {
        let mixed = mix.cast().seed(seed);
        ScriptDraws {
            authors: Draws::new(seed, Purpose::Author),
            dids: Draws::new(seed, Purpose::Did),
            identifiers: Draws::new(mixed, Purpose::Identifiers),
            jitter: Draws::new(seed, Purpose::Jitter),
            texts: Draws::new(mixed, Purpose::Text),
        }
    }
}

impl Mix {
    fn cast(self) -> Cast {
        match self {
            Mix::Network => Cast::Network,
            Mix::Posts => Cast::Posts,
        }
    }
}

impl Script {
    /// The stream that a server with this config serves to subscriptions of this mix.
    ///
    /// Without a start in `config` it starts now.
    ///
    /// # Errors
    ///
    /// A share is not in 0..=1, both are more than 1 together, a burst has more reports than there are posts, or
    /// a stream file cannot be read.
    pub fn new(config: &JetstreamConfig, mix: Mix) -> anyhow::Result<Script> {
        let timeline = config.timeline();
        let (posts, background) = Posts::load(&config.streams)?;
        let premises = Premises {
            seed: config.seed,
            share: config.share,
            confusing: config.confusing,
            scenario: config.scenario,
        };
        Ok(Script {
            mix,
            jitter_ms: config.jitter_ms,
            plot: Plot::new(&premises, mix.cast(), &timeline, &posts)?,
            premises,
            day: Day::of(timeline.nominal_us(timeline.start())),
            timeline,
            draws: ScriptDraws::new(config.seed, mix),
            posts: Arc::new(posts),
            pool: Arc::new(Pool::new(config.seed, &background)),
        })
    }

    /// The same stream for subscriptions of another mix.
    ///
    /// # Errors
    ///
    /// A burst has more reports than there are posts in that mix.
    pub fn with_mix(&self, mix: Mix) -> anyhow::Result<Script> {
        let plot = Plot::new(&self.premises, mix.cast(), &self.timeline, &self.posts)?;
        Ok(Script { mix, plot, draws: ScriptDraws::new(self.premises.seed, mix), ..self.clone() })
    }

    /// When events happen, and which there are.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Event `n`, as served to a subscription that wants everything of this mix.
    pub fn event(&self, n: u64) -> Event {
        let kind = self.kind(n);
        let mut frame = Vec::new();
        self.write(n, kind, &mut frame);
        let frame = String::from_utf8(frame).expect("the encoder writes UTF-8");
        let support = match kind {
            EventKind::Support => Some(self.support_post(n, false)),
            EventKind::Repeat { of } => Some(self.support_post(of, false)),
            EventKind::Edit { of } => Some(self.support_post(of, true)),
            _ => None,
        };
        Event { frame, kind, support }
    }

    /// What event `n` is. Costs a few nanoseconds, unlike its frame.
    pub fn kind(&self, n: u64) -> EventKind {
        self.plot.kind(n)
    }

    /// The account whose repository event `n` is about.
    pub(crate) fn did(&self, n: u64, kind: EventKind) -> Did {
        let index = match kind {
            EventKind::Edit { of }
            | EventKind::Repeat { of }
            | EventKind::Reply { of }
            | EventKind::Withdrawal { of } => of,
            EventKind::Account | EventKind::Deletion => {
                return Did::new(self.premises.seed, n, Purpose::Stranger);
            }
            _ => n,
        };
        self.author(index)
    }

    fn author(&self, n: u64) -> Did {
        if self.plot.is_first_hand(n) && self.kind(n) == EventKind::Support {
            return Did::new(self.premises.seed, n, Purpose::Witness);
        }
        self.regular(n)
    }

    /// One of those who write again and again.
    fn regular(&self, n: u64) -> Did {
        let mut dice = self.draws.authors.of(n);
        let bits = AUTHOR_RANK_BITS.start + dice.below(AUTHOR_RANK_BITS.end - AUTHOR_RANK_BITS.start);
        let rank = (1_u64 << bits) + u64::from(dice.below(1 << bits));
        Did::drawn(&mut self.draws.dids.of(rank))
    }

    /// The text of the support post at `n`, and the template that it was made from.
    fn support_text(&self, n: u64, edited: bool) -> (&crate::posts::Template, String) {
        let (template, mut text) = self.posts.support(self.mixed_seed(), n, self.plot.incident(n));
        if edited {
            text.push_str(template.afterthought());
        }
        (template, text)
    }

    fn support_post(&self, n: u64, edited: bool) -> SupportPost {
        let (template, text) = self.support_text(n, edited);
        let rkey = self.identifiers(n).rkey.characters();
        SupportPost {
            id: format!("at://{}/{POST}/{}", self.author(n).as_str(), String::from_utf8_lossy(&rkey)),
            intent: template.intent.clone(),
            sentiment: template.sentiment.clone(),
            urgency: template.urgency.clone(),
            lang: template.language.clone(),
            text,
        }
    }

    fn identifiers(&self, n: u64) -> Identifiers {
        let mut dice = self.draws.identifiers.of(n);
        let (written_us, rkey) = self.written(n);
        Identifiers { written_us, rkey, rev: self.revision(n, &mut dice), cid: Cid::new(&mut dice) }
    }

    /// When the record of event `n` was written by its author's clock, and its key.
    ///
    /// A record reaches the stream 0.3 to 1.3 s after it was written. How long is a function of the key's clock
    /// identifier, so that [`Served::index_of`] can go from the key to the event.
    fn written(&self, n: u64) -> (i64, Tid) {
        let clock = (n ^ self.premises.seed) % CLOCKS;
        let written_us = self.timeline.nominal_us(n) - delay_us(clock);
        (written_us, Tid::new(written_us, clock))
    }

    /// The revision that event `n` makes: its repository took it 50 to 200 ms before.
    fn revision(&self, n: u64, dice: &mut Dice) -> Tid {
        let late_us = 50_000 + i64::from(dice.below(150_000));
        Tid::new(self.timeline.nominal_us(n) - late_us, dice.bits())
    }

    /// `time_us`: the nominal time, for a quarter of the events a little earlier, as on the real network.
    pub(crate) fn time_us(&self, n: u64) -> i64 {
        let nominal_us = self.timeline.nominal_us(n);
        if self.jitter_ms == 0 {
            return nominal_us;
        }
        let mut dice = self.draws.jitter.of(n);
        let late = dice.percent(25);
        let jitter_us = if late { 1 + dice.below(self.jitter_ms.saturating_mul(1_000)) } else { 0 };
        nominal_us - i64::from(jitter_us)
    }

    fn mixed_seed(&self) -> u64 {
        self.mix.cast().seed(self.premises.seed)
    }
}

/// From a record's writing to its event, by the clock identifier of its key.
fn delay_us(clock: u64) -> i64 {
    // An odd factor goes through all 1,024 steps of 977 µs, neighbours far from each other.
    300_000 + (clock.wrapping_mul(619) % CLOCKS * 977) as i64
}

impl Served for Script {
    fn format(&self) -> &'static str {
        "jetstream"
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn kind(&self, n: u64) -> EventKind {
        Script::kind(self, n)
    }

    fn event(&self, n: u64) -> Event {
        Script::event(self, n)
    }

    fn index_of(&self, post_id: &str) -> Option<u64> {
        let (did, rkey) = post_id.strip_prefix("at://")?.split_once('/')?;
        let rkey = rkey.strip_prefix(POST)?.strip_prefix('/')?;
        let (written_us, clock) = Tid::parse(rkey)?.parts();
        let nominal_us = written_us.checked_add(delay_us(clock))?;
        // Of the events of one microsecond each has a clock of its own: see `CLOCKS`.
        let events = self.timeline.first_at(nominal_us)..self.timeline.first_at(nominal_us.checked_add(1)?);
        let n = events.into_iter().find(|n| (n ^ self.premises.seed) % CLOCKS == clock)?;
        let kind = self.kind(n);
        let same = self.written(n).1.characters() == rkey.as_bytes() && self.timeline.has(n);
        let made = kind.creates_post() && !matches!(kind, EventKind::Repeat { .. });
        (same && made && self.did(n, kind).as_str() == did).then_some(n)
    }

    fn background_samples(&self) -> Vec<String> {
        let frame = |place: usize| {
            let mut frame = Vec::new();
            self.write_background(self.timeline.start() + place as u64, place, &mut frame);
            String::from_utf8(frame).expect("the encoder writes UTF-8")
        };
        (0..self.pool.len()).map(frame).collect()
    }
}

struct Identifiers {
    written_us: i64,
    rkey: Tid,
    rev: Tid,
    cid: Cid,
}

#[cfg(test)]
mod tests;
