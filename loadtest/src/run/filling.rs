//! A ledger with many tickets that nobody has taken, filled through the daemon's own path: a stream of support posts
//! alone, as fast as they are taken, read by the small model.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::daemon::{Daemon, Setting, State};
use super::feed::Feed;
use super::figures::rounded;
use super::scenario::{Departure, FeedPlan, Plan};
use super::status::Status;
use super::{LOOK_EVERY, Progressing, Settings};
use crate::{Rate, Scenario};

/// Posts a second of a stream that ends.
const POSTS_PER_S: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// Longest wait for another ticket.
const PATIENCE: Duration = Duration::from_secs(120);
/// The daemon meanwhile: every post becomes a ticket, also of those who write again and again, and is read by a model
/// that is fast enough.
const CONFIG: [&str; 6] = [
    "conversation.join_hours=0",
    "conversation.others=false",
    "model.name=\"small\"",
    "engine.under_load=\"same\"",
    "desk.unsupported_min=1",
    "desk.unsupported_addressed_min=1",
];

/// And of a stream that ends, every post waits for the model that does not find it free.
const NONE_IS_SHED: &str = "engine.queue_candidates=1000000";

/// When a ledger is full enough.
#[derive(Debug, Clone, Copy)]
pub(super) enum Full {
    /// At so many tickets; what is under way by then still comes.
    Tickets(u64),
    /// When so many posts have been read, of which nearly all become tickets.
    Posts(u64),
}

/// What came of it.
pub(super) struct Filled {
    pub(super) state: State,
    /// Still runs; its network has left.
    pub(super) daemon: Daemon,
    /// That network, as the config says it.
    pub(super) source: String,
    pub(super) tickets: u64,
    pub(super) took_s: f64,
}

/// Fills a new ledger until it is full.
///
/// # Errors
///
/// The daemon does not start, or makes no tickets.
pub(super) async fn fill(
    settings: &Settings,
    plan: &Plan,
    full: Full,
    progress: Progressing<'_>,
) -> anyhow::Result<Filled> {
    let Some(network) = plan.feeds.first() else { bail!("no network") };
    let (rate, duration) = match full {
        Full::Tickets(_) => (Rate::Max, plan.duration),
        Full::Posts(posts) => {
            let seconds = posts as f64 / f64::from(POSTS_PER_S.get());
            (Rate::PerSecond(POSTS_PER_S), Duration::from_secs_f64(seconds))
        }
    };
    let filling = FeedPlan {
        name: "filling".to_owned(),
        rate,
        endless: matches!(full, Full::Tickets(_)),
        support: 1.0,
        confusing: 0.0,
        mentions: Scenario::Calm,
        ..network.clone()
    };
    let feed = Feed::serve(&filling, Timestamp::now(), duration).await?;
    let state = State::new(settings, "")?;
    let whole = matches!(full, Full::Posts(_)).then_some(NONE_IS_SHED);
    let own = CONFIG.into_iter().chain(whole);
    let own = own.map(|setting| setting.parse::<Setting>().map_err(anyhow::Error::msg));
    state.configure(&feed.source(), &own.collect::<Result<Vec<_>, _>>()?)?;
    let begun = Instant::now();
    let daemon = state.start().await?;
    progress("filling the ledger");
    let tickets = wait_until(&daemon, full, &feed, progress).await?;
    feed.leave(Departure::Cut).await;
    let took_s = rounded(begun.elapsed().as_secs_f64());
    Ok(Filled { state, daemon, source: feed.source(), tickets, took_s })
}

/// Waits until the ledger is full, and gives how many tickets it holds.
async fn wait_until(
    daemon: &Daemon,
    full: Full,
    feed: &Feed,
    progress: Progressing<'_>,
) -> anyhow::Result<u64> {
    let (mut last, mut last_at, mut told) = (0, Instant::now(), 0);
    loop {
        let status = Status::ask(daemon.console()).await.context("console")?;
        let tickets = status.buckets.get("ticketed").copied().unwrap_or(0);
        let is_full = match full {
            Full::Tickets(pending) => tickets >= pending,
            Full::Posts(_) => {
                let events = feed.events();
                status.received >= events.end - events.start
                    && status.queue_batches + status.queue_candidates == 0
            }
        };
        if is_full {
            return Ok(tickets);
        }
        if tickets > last {
            (last, last_at) = (tickets, Instant::now());
        }
        if last_at.elapsed() > PATIENCE {
            bail!("{tickets} tickets, and no more for {} s: {status:?}", PATIENCE.as_secs());
        }
        if tickets / 20_000 > told {
            told = tickets / 20_000;
            progress(&format!("{tickets} tickets"));
        }
        sleep(LOOK_EVERY).await;
    }
}
