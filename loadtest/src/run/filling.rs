//! A ledger with many tickets that nobody has taken, filled through the daemon's own path: a stream of support posts
//! alone, at a rate or as fast as they are taken, read by the small model.

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

/// Fills a new ledger with so many tickets at least; what is under way by then still comes. `more` is config beside the usual.
///
/// # Errors
///
/// The daemon does not start, or makes no tickets.
pub(super) async fn fill(
    settings: &Settings,
    plan: &Plan,
    pending: u64,
    rate: Rate,
    more: &[&str],
    progress: Progressing<'_>,
) -> anyhow::Result<Filled> {
    let Some(network) = plan.feeds.first() else { bail!("no network") };
    let filling = FeedPlan {
        name: "filling".to_owned(),
        rate,
        support: 1.0,
        confusing: 0.0,
        mentions: Scenario::Calm,
        ..network.clone()
    };
    let feed = Feed::serve(&filling, Timestamp::now(), plan.duration).await?;
    let state = State::new(settings, "")?;
    state.configure(&feed.source(), &parsed(CONFIG.iter().chain(more))?)?;
    let begun = Instant::now();
    let daemon = state.start().await?;
    progress("filling the ledger");
    let tickets = wait_for(&daemon, pending, progress).await?;
    feed.leave(Departure::Cut).await;
    let took_s = rounded(begun.elapsed().as_secs_f64());
    Ok(Filled { state, daemon, source: feed.source(), tickets, took_s })
}

/// Settings as on the command line.
pub(super) fn parsed<'s>(settings: impl IntoIterator<Item = &'s &'s str>) -> anyhow::Result<Vec<Setting>> {
    settings.into_iter().map(|setting| setting.parse::<Setting>().map_err(anyhow::Error::msg)).collect()
}

/// Waits until so many tickets are in the ledger, and gives how many are.
async fn wait_for(daemon: &Daemon, pending: u64, progress: Progressing<'_>) -> anyhow::Result<u64> {
    let (mut last, mut last_at, mut told) = (0, Instant::now(), 0);
    loop {
        let status = Status::ask(daemon.console()).await.context("console")?;
        let tickets = status.buckets.get("ticketed").copied().unwrap_or(0);
        if tickets >= pending {
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
            progress(&format!("{tickets} of {pending} tickets"));
        }
        sleep(LOOK_EVERY).await;
    }
}
