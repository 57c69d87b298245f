//! The stream as a pure function: what happens at index `n`, for a seed, a rate and a start.
//!
//! No event depends on having made another one. Where one refers to another (the deletion of a support
//! post), the earlier one is asked again: every block of `BLOCK` events ends with a slot that may hold what
//! became of the first support post of an earlier block. What is in such a slot is never followed up itself.

pub(crate) mod dice;
pub(crate) mod identifier;
mod encode;

use std::ops::Range;
use std::sync::Arc;

use dice::{Dice, Purpose};
use identifier::{Cid, Did, Tid};

use crate::jetstream::{JetstreamConfig, Scenario};
use crate::posts::Posts;
use crate::timeline::Timeline;

/// Events between two slots for what became of an earlier support post.
const BLOCK: u64 = 16;
/// Blocks between a support post and what became of it: at 2,000 events/s 8 ms, 64 ms and 0.5 s.
const FATE_DELAYS_BLOCKS: [u64; 3] = [1, 8, 64];
/// Accounts that act. Ranks follow Zipf's law from 64 on: without its head, as no one account makes 5 % of a
/// network, a tenth of all events comes from 64 accounts and half from 2,000.
const AUTHOR_RANK_BITS: Range<u32> = 6..16;

const OUTAGE_AFTER_US: i64 = 5_000_000;
const OUTAGE_LASTS_US: i64 = 20_000_000;
const OUTAGE_SHARE_FACTOR: f64 = 10.0;
/// Least and greatest share of support posts in an outage.
const OUTAGE_SHARE_MIN: f64 = 0.02;
const OUTAGE_SHARE_MAX: f64 = 0.5;
const QUIET_SHARE_FACTOR: f64 = 0.1;

/// Which events the stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Everything, in the proportions of the real network: mostly likes, one post in nine events.
    Network,
    /// What a subscription to `app.bsky.feed.post` alone receives: posts, and the account and identity events
    /// that come whatever is asked for. The rate counts these, as they are what the reader has to bear.
    Posts,
}

/// What an event is. `of` is the index of the support post that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A post that is not about the brand.
    Background,
    /// Somebody needs the brand's support.
    Support,
    /// The brand is named and nobody needs anything.
    Confusing,
    /// A support post is changed by its author (`update`).
    Edit {
        /// The post's index.
        of: u64,
    },
    /// The very commit of a support post comes again, at a new time.
    Repeat {
        /// The post's index.
        of: u64,
    },
    /// A support post is deleted by its author.
    Withdrawal {
        /// The post's index.
        of: u64,
    },
    /// A post from before the stream is deleted.
    Deletion,
    /// `app.bsky.feed.like`, created.
    Like,
    /// `app.bsky.feed.like`, deleted.
    Unlike,
    /// `app.bsky.feed.repost`, created.
    Repost,
    /// `app.bsky.graph.follow`, created.
    Follow,
    /// `app.bsky.graph.follow`, deleted.
    Unfollow,
    /// `app.bsky.graph.block`, created.
    Block,
    /// A handle changed.
    Identity,
    /// An account changed; never one of those that post here.
    Account,
}

impl EventKind {
    /// The collection of the commit; `None` for identity and account events, which have none.
    pub fn collection(self) -> Option<&'static str> {
        match self {
            EventKind::Identity | EventKind::Account => None,
            EventKind::Like | EventKind::Unlike => Some("app.bsky.feed.like"),
            EventKind::Repost => Some("app.bsky.feed.repost"),
            EventKind::Follow | EventKind::Unfollow => Some("app.bsky.graph.follow"),
            EventKind::Block => Some("app.bsky.graph.block"),
            _ => Some(POST),
        }
    }

    /// Whether a post is created or created again.
    pub fn creates_post(self) -> bool {
        use EventKind::{Background, Confusing, Repeat, Support};
        matches!(self, Background | Support | Confusing | Repeat { .. })
    }
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
    seed: u64,
    mix: Mix,
    timeline: Timeline,
    jitter_ms: u32,
    support: Share,
    confusing: Share,
    outage: Option<Outage>,
    posts: Arc<Posts>,
}

#[derive(Debug, Clone)]
struct Outage {
    events: Range<u64>,
    support: Share,
    city: String,
}

impl Script {
    /// The stream that a server with this config serves to subscriptions of this mix.
    ///
    /// Without a start in `config` it starts now.
    ///
    /// # Errors
    ///
    /// A share is not in 0..=1, both are more than 1 together, or a stream file cannot be read.
    pub fn new(config: &JetstreamConfig, mix: Mix) -> anyhow::Result<Script> {
        let quiet = if config.scenario == Scenario::Quiet { QUIET_SHARE_FACTOR } else { 1.0 };
        let support = Share::new("share", config.share)?;
        let confusing = Share::new("confusing", config.confusing)?;
        anyhow::ensure!(
            config.share + config.confusing <= 1.0,
            "share and confusing are more than 1 together"
        );
        let timeline = config.timeline();
        let posts = Arc::new(Posts::load(&config.streams)?);
        let outage = (config.scenario == Scenario::Outage).then(|| {
            let start_us = timeline.nominal_us(timeline.start());
            let share = (config.share * OUTAGE_SHARE_FACTOR).clamp(OUTAGE_SHARE_MIN, OUTAGE_SHARE_MAX);
            let from_us = start_us.saturating_add(OUTAGE_AFTER_US);
            Outage {
                events: timeline.first_at(from_us)
                    ..timeline.first_at(from_us.saturating_add(OUTAGE_LASTS_US)),
                support: Share::of(share),
                city: posts.city(&mut Dice::new(config.seed, 0, Purpose::Outage)).to_owned(),
            }
        });
        Ok(Script {
            seed: config.seed,
            mix,
            timeline,
            jitter_ms: config.jitter_ms,
            support: support.times(quiet),
            confusing: confusing.times(quiet),
            outage,
            posts,
        })
    }

    /// The same stream for subscriptions of another mix.
    pub fn with_mix(&self, mix: Mix) -> Script {
        Script { mix, ..self.clone() }
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
        if n % BLOCK == BLOCK - 1
            && let Some(kind) = self.follow_up(n / BLOCK)
        {
            return kind;
        }
        self.first_hand(n)
    }

    /// The account whose repository event `n` is about.
    pub(crate) fn did(&self, n: u64, kind: EventKind) -> Did {
        let index = match kind {
            EventKind::Edit { of } | EventKind::Repeat { of } | EventKind::Withdrawal { of } => of,
            EventKind::Account | EventKind::Deletion => return Did::new(self.seed, n, Purpose::Stranger),
            _ => n,
        };
        self.author(index)
    }

    fn author(&self, n: u64) -> Did {
        let mut dice = Dice::new(self.seed, n, Purpose::Author);
        let bits = AUTHOR_RANK_BITS.start + dice.below(AUTHOR_RANK_BITS.end - AUTHOR_RANK_BITS.start);
        let rank = (1_u64 << bits) + u64::from(dice.below(1 << bits));
        Did::new(self.seed, rank, Purpose::Did)
    }

    /// What event `n` is if it follows nothing up.
    fn first_hand(&self, n: u64) -> EventKind {
        let mut dice = Dice::new(self.mixed_seed(), n, Purpose::Role);
        // Of 1,024. The network's proportions are those of 152 events captured from a public server in July
        // 2026; deleted likes, which that third of a second lacked, are added.
        let drawn = dice.below(1_024);
        let kind = match self.mix {
            Mix::Network => match drawn {
                0..115 => EventKind::Background,
                115..122 => EventKind::Deletion,
                122..129 => EventKind::Identity,
                129..136 => EventKind::Account,
                136..237 => EventKind::Repost,
                237..277 => EventKind::Follow,
                277..297 => EventKind::Unfollow,
                297..303 => EventKind::Block,
                303..317 => EventKind::Unlike,
                _ => EventKind::Like,
            },
            Mix::Posts => match drawn {
                0..16 => EventKind::Deletion,
                16..20 => EventKind::Identity,
                20..24 => EventKind::Account,
                _ => EventKind::Background,
            },
        };
        if kind != EventKind::Background {
            return kind;
        }
        let lot = dice.bits();
        let support = match &self.outage {
            Some(outage) if outage.events.contains(&n) => outage.support,
            _ => self.support,
        };
        match lot {
            lot if support.holds(lot) => EventKind::Support,
            lot if self.confusing.holds(!lot) => EventKind::Confusing,
            _ => EventKind::Background,
        }
    }

    /// What becomes of an earlier support post in the last slot of `block`.
    fn follow_up(&self, block: u64) -> Option<EventKind> {
        FATE_DELAYS_BLOCKS.iter().find_map(|delay| {
            let earlier = block.checked_sub(*delay)?;
            let mut dice = Dice::new(self.mixed_seed(), earlier, Purpose::Fate);
            if dice.pick(&FATE_DELAYS_BLOCKS) != Some(delay) {
                return None;
            }
            let fate = dice.below(100);
            if fate >= 14 {
                return None;
            }
            let first = earlier * BLOCK;
            let of = (first..first + BLOCK - 1).find(|n| self.first_hand(*n) == EventKind::Support)?;
            Some(match fate {
                0..6 => EventKind::Withdrawal { of },
                6..10 => EventKind::Edit { of },
                _ => EventKind::Repeat { of },
            })
        })
    }

    /// The text of the support post at `n`, and the template that it was made from.
    fn support_text(&self, n: u64, edited: bool) -> (&crate::posts::Template, String) {
        let city = self.outage.as_ref().filter(|outage| outage.events.contains(&n)).map(|o| o.city.as_str());
        let (template, mut text) = self.posts.support(self.mixed_seed(), n, city);
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
        let mut dice = Dice::new(self.mixed_seed(), n, Purpose::Identifiers);
        let nominal_us = self.timeline.nominal_us(n);
        // A record reaches the stream 0.3 to 1.3 s after its author's clock wrote it, and up to 0.2 s after
        // its repository took it.
        let written_us = nominal_us - 300_000 - i64::from(dice.below(1_000_000));
        let committed_us = nominal_us - 50_000 - i64::from(dice.below(150_000));
        let clocks = dice.bits();
        Identifiers {
            written_us,
            rkey: Tid::new(written_us, clocks),
            rev: Tid::new(committed_us, clocks >> 16),
            cid: Cid::new(&mut dice),
        }
    }

    /// `time_us`: the nominal time, for a quarter of the events a little earlier, as on the real network.
    fn time_us(&self, n: u64) -> i64 {
        let mut dice = Dice::new(self.seed, n, Purpose::Jitter);
        let late = self.jitter_ms > 0 && dice.percent(25);
        let jitter_us = if late { 1 + dice.below(self.jitter_ms.saturating_mul(1_000)) } else { 0 };
        self.timeline.nominal_us(n) - i64::from(jitter_us)
    }

    /// The mixes are different streams of the same accounts.
    fn mixed_seed(&self) -> u64 {
        match self.mix {
            Mix::Network => self.seed,
            Mix::Posts => !self.seed,
        }
    }
}

struct Identifiers {
    written_us: i64,
    rkey: Tid,
    rev: Tid,
    cid: Cid,
}

/// A probability, as the number of 64-bit draws that it covers.
#[derive(Debug, Clone, Copy)]
struct Share(u64);

impl Share {
    fn new(name: &str, share: f64) -> anyhow::Result<Share> {
        anyhow::ensure!((0.0..=1.0).contains(&share), "{name} = {share}: must be 0 to 1");
        Ok(Share::of(share))
    }

    fn of(share: f64) -> Share {
        // `as` saturates, so that 1 covers all draws but one in 2^64.
        Share((share * 2_f64.powi(64)) as u64)
    }

    fn times(self, factor: f64) -> Share {
        Share((self.0 as f64 * factor) as u64)
    }

    fn holds(self, draw: u64) -> bool {
        draw < self.0
    }
}

#[cfg(test)]
mod tests;
