//! A served network that can go away and come back at the same address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::scenario::{Departure, FeedPlan, Transport};
use crate::{
    EventKind, JetstreamConfig, Mix, Rate, Script, Served, Serving, StatusScript, StatusesConfig,
    StatusesServing,
};

/// The address of a server that has just gone may be taken for so many tries more.
const BIND_TRIES: u32 = 50;
const BIND_RETRY: Duration = Duration::from_millis(20);
/// Between two looks at the count of a server that was cut off: it may still finish the frame at hand.
const COUNT_SETTLES: Duration = Duration::from_millis(20);

/// Longest wait for a server that says goodbye; it gives its readers a second.
const ORDERLY_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a daemon that has not come back yet.
const READER_MAX: Duration = Duration::from_secs(60);

/// How much earlier than its turn a Jetstream event's own time is, at most: microseconds.
pub(super) const JITTER_US: i64 = 31_000;

/// A network of a run.
pub(super) struct Feed {
    plan: FeedPlan,
    address: SocketAddr,
    start: Timestamp,
    /// Events there are; `None`: as many as are taken.
    events: Option<u64>,
    served: Arc<dyn Served>,
    /// All servers that there were, whose counts remain.
    servers: Mutex<Vec<Arc<Network>>>,
    running: Mutex<Option<Running>>,
}

/// A server's runtime: its own, so that it can be cut off and shares no threads with the client.
struct Running {
    runtime: Own,
    network: Arc<Network>,
    /// Dropping this tells it to go.
    shutdown: oneshot::Sender<()>,
}

enum Network {
    Jetstream(Serving),
    Statuses(StatusesServing),
}

impl Feed {
    /// Serves the network from `start` on: nothing comes before. In a fixed rate the stream has the events of
    /// `duration`, else, and where it is endless, it ends with [`Feed::leave`].
    pub(super) async fn serve(plan: &FeedPlan, start: Timestamp, duration: Duration) -> anyhow::Result<Feed> {
        let events = match plan.rate {
            Rate::PerSecond(rate) if !plan.endless => {
                Some((f64::from(rate.get()) * duration.as_secs_f64()) as u64)
            }
            _ => None,
        };
        let mut feed = Feed {
            plan: plan.clone(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            start,
            events,
            served: Arc::new(Script::new(&jetstream(plan, start, events), Mix::Posts)?),
            servers: Mutex::default(),
            running: Mutex::default(),
        };
        if plan.transport == Transport::Statuses {
            feed.served = Arc::new(StatusScript::new(&statuses(plan, start, events))?);
        }
        feed.come_back().await?;
        feed.address = lock(&feed.running).as_ref().map_or(feed.address, |running| running.network.address());
        Ok(feed)
    }

    /// The `[[source]]` that reads this network.
    pub(super) fn source(&self) -> String {
        let (name, address) = (&self.plan.name, self.address);
        match self.plan.transport {
            Transport::Jetstream => format!(
                "[[source]]\nkind = \"jetstream\"\nname = \"{name}\"\nurl = \"ws://{address}/subscribe\"\n"
            ),
            Transport::Statuses => format!(
                "[[source]]\nkind = \"ndjson\"\nname = \"{name}\"\ntcp = \"{address}\"\nformat = \"x-v1\"\n\
                 silence_max_ms = 3600000\n"
            ),
        }
    }

    /// The name of the source in the daemon's config.
    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }

    /// Network of its tickets.
    pub(super) fn network(&self) -> &'static str {
        match self.plan.transport {
            Transport::Jetstream => "bluesky",
            Transport::Statuses => "x",
        }
    }

    pub(super) fn served(&self) -> &Arc<dyn Served> {
        &self.served
    }

    /// Frames handed to the daemon so far, repeated ones included.
    pub(super) fn written(&self) -> u64 {
        lock(&self.servers).iter().map(|network| network.frames()).sum()
    }

    /// Distinct events handed to the daemon so far, by the greatest index.
    fn reached(&self) -> u64 {
        let start = self.served.timeline().start();
        let reached = lock(&self.servers).iter().map(|network| network.reached()).max();
        reached.unwrap_or(0).saturating_sub(start)
    }

    /// The greatest position that the daemon has acknowledged, in events from the start; `None` where the protocol
    /// has no acknowledgements.
    pub(super) fn acked(&self) -> Option<u64> {
        lock(&self.servers).iter().filter_map(|network| network.acked()).max()
    }

    /// Whether all that was acknowledged so far is all that was offered, where the protocol has acknowledgements: the
    /// last one comes a moment after its commit.
    pub(super) fn is_acked(&self) -> bool {
        let events = self.events();
        self.acked().is_none_or(|acked| acked == events.end - events.start)
    }

    /// Waits until somebody reads it; not for ever.
    pub(super) async fn wait_for_reader(&self) {
        let given_up = Instant::now() + READER_MAX;
        let has_reader = || lock(&self.running).as_ref().is_some_and(|running| running.network.readers() > 0);
        while !has_reader() && Instant::now() < given_up {
            sleep(COUNT_SETTLES).await;
        }
    }

    /// Distinct events until `now_us`: those due, or in the unlimited rate those handed over.
    pub(super) fn due(&self, now_us: i64) -> u64 {
        let timeline = self.served.timeline();
        match self.plan.rate {
            Rate::PerSecond(_) => timeline.due(now_us).saturating_sub(timeline.start()),
            Rate::Max => self.reached(),
        }
    }

    /// Whether events come as fast as they are taken.
    pub(super) fn is_unlimited(&self) -> bool {
        self.plan.rate == Rate::Max
    }

    /// The indices of the events that were offered.
    pub(super) fn events(&self) -> std::ops::Range<u64> {
        let timeline = self.served.timeline();
        let start = timeline.start();
        start..start + self.events.unwrap_or_else(|| self.reached())
    }

    /// Posts from before the stream of which something comes within it, which may become tickets: each with the
    /// first event of this stream that carries it.
    pub(super) fn earlier_posts(&self) -> HashMap<String, u64> {
        let start = self.served.timeline().start();
        let mut posts = HashMap::new();
        for n in self.events().filter(|n| about(self.served.kind(*n)).is_some_and(|of| of < start)) {
            if let Some(post) = self.served.event(n).support {
                posts.entry(post.id).or_insert(n);
            }
        }
        posts
    }

    /// The event that carried the post of event `first` to whoever saw it at `seen_at_us` by the network's clock: a
    /// later one, if the post came again or was edited before it became a ticket.
    ///
    /// Only Jetstream stamps each event: its clock is up to 31 ms early and never late.
    pub(super) fn seen_event(&self, first: u64, seen_at_us: i64) -> u64 {
        let timeline = self.served.timeline();
        if self.plan.transport != Transport::Jetstream || seen_at_us <= self.served.scheduled_us(first) {
            return first;
        }
        let seen = timeline.first_at(seen_at_us)..timeline.first_at(seen_at_us + JITTER_US) + 1;
        seen.into_iter().find(|n| about(self.served.kind(*n)) == Some(first)).unwrap_or(first)
    }

    /// Serves again, at the address that it had.
    ///
    /// # Errors
    ///
    /// The address is taken by somebody else.
    pub(super) async fn come_back(&self) -> anyhow::Result<()> {
        let mut tries = 0;
        loop {
            match self.bind().await {
                Ok(running) => {
                    lock(&self.servers).push(running.network.clone());
                    *lock(&self.running) = Some(running);
                    return Ok(());
                }
                Err(_) if tries < BIND_TRIES && self.address.port() != 0 => tries += 1,
                Err(error) => return Err(error),
            }
            sleep(BIND_RETRY).await;
        }
    }

    async fn bind(&self) -> anyhow::Result<Running> {
        let runtime = Own(Some(
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("firehose-serve")
                .enable_all()
                .build()
                .context("no runtime for a server")?,
        ));
        let (shutdown, told) = oneshot::channel();
        let told = async { drop(told.await) };
        let network = match self.plan.transport {
            Transport::Jetstream => {
                let plain = jetstream(&self.plan, self.start, self.events);
                let config = JetstreamConfig { listen: self.address, ..plain };
                Network::Jetstream(runtime.run(crate::serve(config, told)).await?)
            }
            Transport::Statuses => {
                let plain = statuses(&self.plan, self.start, self.events);
                let config = StatusesConfig { listen: self.address, ..plain };
                Network::Statuses(runtime.run(crate::serve_statuses(config, told)).await?)
            }
        };
        Ok(Running { runtime, network: Arc::new(network), shutdown })
    }

    /// Goes away. Does nothing where nobody serves.
    pub(super) async fn leave(&self, departure: Departure) {
        let Some(running) = lock(&self.running).take() else { return };
        let Running { runtime, network, shutdown } = running;
        if departure == Departure::Orderly {
            drop(shutdown);
            let given_up = Instant::now() + ORDERLY_MAX;
            while network.readers() > 0 && Instant::now() < given_up {
                sleep(COUNT_SETTLES).await;
            }
        }
        drop(runtime);
        // A task ends where it next waits: the frames at hand may still be counted.
        let mut frames = network.frames();
        loop {
            sleep(COUNT_SETTLES).await;
            match network.frames() {
                now if now == frames => return,
                now => frames = now,
            }
        }
    }
}

/// A runtime that may be dropped anywhere: its tasks end where they are, their connections are closed by the
/// system, and nothing is flushed.
struct Own(Option<Runtime>);

impl Own {
    /// Runs something on this runtime's threads, from another's.
    async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        let Own(Some(runtime)) = self else { anyhow::bail!("the server is cut off") };
        runtime.spawn(task).await.context("the server panicked")?
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A panic elsewhere leaves both as they were: they are only taken and put.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    fn address(&self) -> SocketAddr {
        match self {
            Network::Jetstream(serving) => serving.local_addr(),
            Network::Statuses(serving) => serving.local_addr(),
        }
    }

    fn frames(&self) -> u64 {
        match self {
            Network::Jetstream(serving) => serving.frames(),
            Network::Statuses(serving) => serving.lines(),
        }
    }

    fn reached(&self) -> u64 {
        match self {
            Network::Jetstream(serving) => serving.reached(),
            Network::Statuses(serving) => serving.reached(),
        }
    }

    fn acked(&self) -> Option<u64> {
        match self {
            Network::Jetstream(_) => None,
            Network::Statuses(serving) => Some(serving.acked()),
        }
    }

    fn readers(&self) -> usize {
        match self {
            Network::Jetstream(serving) => serving.readers(),
            Network::Statuses(serving) => serving.readers(),
        }
    }
}

/// The event whose post this one carries again or changes.
fn about(kind: EventKind) -> Option<u64> {
    match kind {
        EventKind::Edit { of } | EventKind::Repeat { of } | EventKind::Retweet { of } => Some(of),
        _ => None,
    }
}

fn jetstream(plan: &FeedPlan, start: Timestamp, events: Option<u64>) -> JetstreamConfig {
    JetstreamConfig {
        rate: plan.rate,
        share: plan.support,
        confusing: plan.confusing,
        seed: plan.seed,
        events,
        start: Some(start),
        from_start: true,
        scenario: plan.mentions,
        ..JetstreamConfig::default()
    }
}

fn statuses(plan: &FeedPlan, start: Timestamp, events: Option<u64>) -> StatusesConfig {
    StatusesConfig {
        rate: plan.rate,
        share: plan.support,
        confusing: plan.confusing,
        seed: plan.seed,
        events,
        start: Some(start),
        scenario: plan.mentions,
        ..StatusesConfig::default()
    }
}
