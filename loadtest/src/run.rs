//! `firehose run`: a daemon under load, watched from outside.
//!
//! A scenario says what is served and what breaks. `vigie run` is started as a process of its own on a temporary
//! folder; the networks are served to it over real sockets, each event at its scheduled instant whether or not
//! anyone keeps up (open loop); a helpdesk takes the tickets over the ticket socket and acknowledges them; CPU and
//! memory are read from `/proc`, queues from the console. When everything is settled the daemon is told to drain,
//! and what it did is compared with what was offered and with what `vigie replay` makes of the same posts.

mod scenario;
mod feed;
mod daemon;
mod usage;
mod status;
mod subscriber;
mod watch;
mod order;
mod expectation;
mod conservation;
mod figures;
mod crowd;
mod growth;
mod outcome;
mod seen;
mod report;
mod filling;
pub mod crash;
pub mod restart;
pub mod helpdesk;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crowd::Crowd;
use daemon::{Daemon, State};
use feed::Feed;
use scenario::{Departure, Helpdesk, Plan};
use seen::{Expectation, Seen};
use status::Status;
use subscriber::{Intake, Subscriber, now_us};
use watch::Watch;

pub use conservation::Balance;
pub use crowd::CrowdResult;
pub use daemon::Setting;
pub use figures::Percentiles;
pub use growth::Growth;
pub use outcome::{Outcome, ReplayedCounts, RunResult, SlowHelpdesk};
pub use scenario::{Changes, Scenario};

/// The subscription under test, and the one beside a slow helpdesk that takes everything at once.
const HELPDESK: &str = "helpdesk";
const AUDIT: &str = "audit";
/// Between two looks at whether the daemon lives and whether everything is settled.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for everything to be settled after the stream's end: a queue of candidates takes the model
/// seconds, a backlog in a socket less.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// Longest further wait for the tickets of the small model to be scored again, in the daemon's spare time: so long,
/// and for each of them three times what the full model takes for one on a quiet core.
const RESCORE_MAX: Duration = Duration::from_secs(60);
const RESCORE_TICKET_MAX: Duration = Duration::from_millis(6);
/// After a lost connection the daemon may ask for frames again at any time; unchanged counts for so long mean
/// that it has them.
const UNCHANGED: Duration = Duration::from_secs(2);
/// Longest time from the stream's start to the daemon's connection, microseconds: a minute.
const START_MAX_US: i64 = 60_000_000;

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The load.
    pub scenario: Scenario,
    /// What is to be other than the scenario says.
    pub changes: Changes,
    /// The daemon's binary.
    pub vigie: PathBuf,
    /// TOML to add to the daemon's config: brands, and sections that neither `set` nor firehose writes.
    pub config_extra: String,
    /// Single keys of the daemon's config.
    pub set: Vec<Setting>,
    /// Whether to compare the tickets with those of `vigie replay`.
    pub replay: bool,
    /// From now to the first event; by then the daemon should be connected.
    pub lead: Duration,
    /// Where the daemon's folder is made; `None`: in the system's folder for temporary files.
    pub state: Option<PathBuf>,
    /// Forget the last ticket that came, to show that the check sees it.
    pub lose_ticket: bool,
    /// Take one ticket twice whose acknowledgement was confirmed, or find it twice in a helpdesk, to show that the check
    /// sees it.
    pub repeat_ticket: bool,
    /// Leave the daemon's folder where it is even if nothing is wrong, after a crash.
    pub keep_state: bool,
    /// How often a crash kills the daemon.
    pub kills: u64,
    /// Tickets that a restart finds pending, or posts whose tickets go to helpdesks; `None`: as many as the figure is
    /// about.
    pub pending: Option<u64>,
}

impl Settings {
    /// The scenario as it is, with this daemon.
    pub fn new(scenario: Scenario, vigie: impl Into<PathBuf>) -> Settings {
        Settings {
            scenario,
            changes: Changes { seed: 1, connections: 10_000, ..Changes::default() },
            vigie: vigie.into(),
            config_extra: String::new(),
            set: Vec::new(),
            replay: true,
            lead: Duration::from_secs(3),
            state: None,
            lose_ticket: false,
            repeat_ticket: false,
            keep_state: false,
            kills: 200,
            pending: None,
        }
    }
}

/// Told what is going on, a line at a time.
pub type Progressing<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Runs a scenario. That something does not add up is no error but part of the outcome.
///
/// # Errors
///
/// The daemon or a server cannot be started. What goes wrong later is part of the outcome, too.
pub async fn run(settings: &Settings, progress: Progressing<'_>) -> anyhow::Result<Outcome> {
    let plan = Plan::new(settings.scenario, settings.changes);
    if plan.crowd > 0 {
        crowd::make_room(plan.crowd)?;
    }
    let start = Timestamp::now() + settings.lead;
    let mut feeds = Vec::new();
    for feed in &plan.feeds {
        feeds.push(Feed::serve(feed, start, plan.duration).await?);
    }
    let feeds = Arc::new(feeds);
    let sources: String = feeds.iter().map(Feed::source).collect();
    let state = State::new(settings, &sources)?;
    if plan.crowd > 0 {
        state.configure(&sources, &crowd::settings(plan.crowd)?)?;
    }
    progress("starting vigie");
    let mut run = Run::start(plan, feeds, &state, start).await?;
    match run.wait_until_connected().await {
        Ok(()) => run.stream(progress).await,
        Err(error) => run.trouble.push(format!("{error:#}")),
    }
    let mut seen = run.end(&state).await;
    let expectation = match settings.replay && seen.alive {
        true => Expectation::ask(&state, &seen.feeds, progress),
        false => return Ok(seen.conclude(None, settings, &state)),
    };
    let expectation = expectation.map_err(|error| seen.trouble.push(format!("{error:#}"))).ok();
    Ok(seen.conclude(expectation, settings, &state))
}

/// A run while the daemon lives.
struct Run {
    plan: Plan,
    feeds: Arc<Vec<Feed>>,
    start: Timestamp,
    daemon: Daemon,
    helpdesk: Subscriber,
    /// Only beside a slow helpdesk.
    audit: Option<Subscriber>,
    socket: PathBuf,
    /// Idle clients, and how many of them came.
    crowd: Option<(Crowd, u32)>,
    watch: Watch,
    marks: Vec<(f64, &'static str)>,
    /// What went wrong since the start.
    trouble: Vec<String>,
}

impl Run {
    async fn start(
        plan: Plan,
        feeds: Arc<Vec<Feed>>,
        state: &State,
        start: Timestamp,
    ) -> anyhow::Result<Run> {
        let daemon = state.start().await?;
        let helpdesk = Subscriber::start(state.socket(), HELPDESK, plan.helpdesk);
        let audit = matches!(plan.helpdesk, Helpdesk::Slow(_))
            .then(|| Subscriber::start(state.socket(), AUDIT, Helpdesk::Prompt));
        let counter = audit.as_ref().unwrap_or(&helpdesk).counter();
        let watch = Watch::start(feeds.clone(), counter, (daemon.console(), daemon.pid()), state.wal());
        let socket = state.socket();
        let (marks, trouble) = (Vec::new(), Vec::new());
        Ok(Run { plan, feeds, start, daemon, helpdesk, audit, socket, crowd: None, watch, marks, trouble })
    }

    /// Waits for the daemon. A stream does not: who connects late gets it from its first event all the same, and
    /// the wait is in the latencies.
    async fn wait_until_connected(&mut self) -> anyhow::Result<()> {
        loop {
            let status = self.watch.last().and_then(|sample| sample.status).unwrap_or_default();
            if !status.sources.is_empty() && status.sources.iter().all(|source| source.connected) {
                return Ok(());
            }
            if let Some(ended) = self.daemon.ended() {
                bail!("the daemon ended before the stream began: {ended}");
            }
            if now_us() > self.start.as_microsecond() + START_MAX_US {
                let trouble = status.sources.iter().find(|source| !source.connected);
                let trouble = trouble.map_or("the console does not answer", |source| &source.trouble);
                bail!("the daemon does not connect: {trouble}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The stream from its start until everything is settled.
    async fn stream(&mut self, progress: Progressing<'_>) {
        if self.feeds.iter().any(Feed::is_unlimited) {
            // Such a stream has no schedule: it runs since somebody reads it.
            self.start = Timestamp::now();
        }
        progress(&format!("streaming for {} s", self.plan.duration.as_secs_f64()));
        if let Err(error) = self.play().await {
            self.trouble.push(format!("{error:#}"));
        }
        progress("settling");
        if let Some(what) = self.settle().await {
            self.trouble.push(format!("not settled: {what}"));
        }
    }

    /// Lets the stream run to its end and breaks what the plan says.
    async fn play(&mut self) -> anyhow::Result<()> {
        for interruption in self.plan.interruptions.clone() {
            if !self.wait_until(interruption.at).await {
                return Ok(());
            }
            // On a slow machine it may not have come back from the departure before: nothing would be lost with this one.
            self.feeds[interruption.feed].wait_for_reader().await;
            let (feed, text) = match interruption.departure {
                Departure::Orderly => (&self.feeds[interruption.feed], "server leaves"),
                Departure::Cut => (&self.feeds[interruption.feed], "server cut off"),
            };
            self.marks.push((self.elapsed_s(), text));
            feed.leave(interruption.departure).await;
            sleep(interruption.away).await;
            feed.come_back().await?;
        }
        if self.plan.crowd > 0 && self.wait_until(self.plan.duration.mul_f64(crowd::COMES_AFTER)).await {
            self.marks.push((self.elapsed_s(), "crowd"));
            let crowd = Crowd::assemble(self.socket.clone(), self.plan.crowd).await;
            let came = crowd.present();
            self.crowd = Some((crowd, came));
        }
        self.wait_until(self.plan.duration).await;
        for feed in self.feeds.iter().filter(|feed| feed.is_unlimited()) {
            feed.leave(Departure::Orderly).await;
        }
        Ok(())
    }

    /// Waits until so long after the stream's start; `false` as soon as the daemon is dead.
    async fn wait_until(&mut self, after: Duration) -> bool {
        let at = self.start + after;
        loop {
            if self.daemon.ended().is_some() {
                return false;
            }
            match Duration::try_from(at.duration_since(Timestamp::now())) {
                Ok(left) if !left.is_zero() => sleep(left.min(LOOK_EVERY)).await,
                _ => return true,
            }
        }
    }

    fn elapsed_s(&self) -> f64 {
        (now_us() - self.start.as_microsecond()) as f64 / 1e6
    }

    /// Takes what a slow helpdesk left; then ends the daemon.
    async fn end(mut self, state: &State) -> Seen {
        let settled_us = now_us();
        let mut slow = None;
        let mut trouble = self.trouble;
        let crowd = self.crowd.take().map(|(crowd, came)| {
            let (stayed, deliveries) = (crowd.present(), crowd.deliveries());
            if deliveries > 0 {
                trouble.push(format!("{deliveries} deliveries to idle clients, which want none"));
            }
            (self.plan.crowd, came, stayed)
        });
        let (intake, rest) = match self.audit.take() {
            None => (self.helpdesk.stop().await, None),
            Some(audit) => {
                let taken = self.helpdesk.stop().await;
                let (pending, rest) = match the_rest(state, self.daemon.console()).await {
                    Ok((pending, rest)) => (pending, Some(rest)),
                    Err(error) => {
                        trouble.push(format!("the rest of the slow helpdesk: {error:#}"));
                        (0, None)
                    }
                };
                slow = Some((taken, pending));
                (audit.stop().await, rest)
            }
        };
        let (mut samples, progress) = self.watch.stop().await;
        if let Ok(status) = Status::ask(self.daemon.console()).await
            && let Some(last) = samples.last_mut()
        {
            last.status = Some(status);
        }
        let alive = match self.daemon.ended() {
            Some(ended) => {
                trouble.push(format!("the daemon died: {ended}"));
                false
            }
            None => {
                match self.daemon.terminate().await {
                    Ok(ended) if ended.success() => {}
                    Ok(ended) => trouble.push(format!("the daemon did not end well: {ended}")),
                    Err(error) => trouble.push(format!("{error:#}")),
                }
                true
            }
        };
        Seen {
            plan: self.plan,
            feeds: self.feeds,
            start: self.start,
            settled_us,
            alive,
            samples,
            progress,
            intake,
            slow,
            rest,
            crowd,
            trouble,
            marks: self.marks,
        }
    }

    /// Waits until nothing is under way; what still is, if that takes too long.
    async fn settle(&mut self) -> Option<String> {
        let deadline = Instant::now() + SETTLE_MAX;
        let mut rescored = None;
        let mut last = (0, Instant::now());
        loop {
            if self.daemon.ended().is_some() {
                return None;
            }
            let sample = self.watch.last().unwrap_or_default();
            let status = sample.status.unwrap_or_default();
            if status.received != last.0 {
                last = (status.received, Instant::now());
            }
            let (events, written) = counts(&self.feeds);
            let unlost = self.plan.interruptions.is_empty() && status.reconnects() == 0;
            let frames = match unlost {
                true => status.received >= written,
                false => status.received >= events && last.1.elapsed() >= UNCHANGED,
            };
            let acked = self.feeds.iter().all(Feed::is_acked);
            let watched = if self.audit.is_some() { AUDIT } else { HELPDESK };
            let waiting = status.unacknowledged(watched);
            let queued = status.queue_batches + status.queue_candidates;
            let now = Instant::now();
            if frames && acked && waiting == 0 && queued == 0 {
                let tickets = u32::try_from(status.tickets_provisional).unwrap_or(u32::MAX);
                let until = *rescored.get_or_insert(now + RESCORE_MAX + RESCORE_TICKET_MAX * tickets);
                if tickets == 0 || now > until {
                    return None;
                }
            } else if now > deadline {
                let received = status.received;
                return Some(format!(
                    "{received} of {written} frames received, {queued} queued, {waiting} records not acknowledged"
                ));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Takes what a slow helpdesk has left, and says how many records that were.
async fn the_rest(state: &State, console: std::net::SocketAddr) -> anyhow::Result<(u64, Intake)> {
    let deadline = Instant::now() + SETTLE_MAX;
    let left = async |in_flight_counts: bool| -> anyhow::Result<u64> {
        loop {
            let status = Status::ask(console).await.context("console")?;
            let helpdesk = status.subscriptions.iter().find(|other| other.name == HELPDESK);
            let helpdesk = helpdesk.cloned().unwrap_or_default();
            let wanted =
                if in_flight_counts { helpdesk.unacknowledged() == 0 } else { helpdesk.in_flight == 0 };
            if wanted || Instant::now() > deadline {
                return Ok(helpdesk.unacknowledged());
            }
            sleep(LOOK_EVERY).await;
        }
    };
    // Its last delivery becomes pending again once the daemon has seen it go.
    let pending = left(false).await?;
    let taker = Subscriber::start(state.socket(), HELPDESK, Helpdesk::Prompt);
    left(true).await?;
    Ok((pending, taker.stop().await))
}

/// Distinct events and frames written, over all feeds.
fn counts(feeds: &[Feed]) -> (u64, u64) {
    let events = feeds.iter().map(|feed| feed.events()).map(|events| events.end - events.start).sum();
    (events, feeds.iter().map(Feed::written).sum())
}
