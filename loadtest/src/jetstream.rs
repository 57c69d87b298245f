//! A server of Bluesky's Jetstream, version 1, whose stream is a [`Script`].
//!
//! It keeps no state: a reader that comes back with its cursor, to this process or to the next one, receives
//! the same frames again. Protocol: <https://github.com/bluesky-social/jetstream>, `/subscribe`.

mod connection;
mod lies;
mod patience;
mod request;
mod subscription;

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::script::{Mix, Script};
use crate::timeline::{LOOK_BACK_US, Rate, Timeline};
use lies::Record;

pub use lies::{Lie, Lies};

/// Readers at once. Each holds at most a chunk of frames and the buffers of its socket: under 1 MiB.
const CONNECTIONS_MAX: usize = 256;
/// After a failed `accept` (out of file descriptors) the next try waits this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct JetstreamConfig {
    /// Address to listen on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Events a second.
    pub rate: Rate,
    /// Share of the posts that ask for support, 0 to 1.
    pub share: f64,
    /// Share of the posts that name the brand and need nothing, 0 to 1.
    pub confusing: f64,
    /// Another seed is another stream.
    pub seed: u64,
    /// Serve only so many events from the start, then stay silent.
    pub events: Option<u64>,
    /// When the stream starts; `None`: now.
    ///
    /// A stream with a start given here or with `events` has nothing before it. Else it has existed for ever
    /// and the start only places the scenario and, in the unlimited rate, the live tail.
    pub start: Option<Timestamp>,
    /// Where a reader without a cursor begins: at the first event of a bounded stream, so that nothing is
    /// missed by whoever connects a little late, instead of live.
    pub from_start: bool,
    /// How far back a cursor reaches.
    pub look_back_us: i64,
    /// How much earlier than its turn the `time_us` of a quarter of the events is, at most.
    pub jitter_ms: u32,
    /// Recorded Jetstream events, JSON lines, whose posts take the place of the embedded background texts.
    pub streams: Vec<PathBuf>,
    /// What happens beside everyday life.
    pub scenario: Scenario,
    /// What the server does that it should not.
    pub lies: Lies,
}

impl Default for JetstreamConfig {
    fn default() -> JetstreamConfig {
        JetstreamConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 6008)),
            rate: Rate::PerSecond(std::num::NonZeroU32::new(2_000).expect("2,000 is not zero")),
            share: 0.01,
            confusing: 0.005,
            seed: 1,
            events: None,
            start: None,
            from_start: false,
            look_back_us: LOOK_BACK_US,
            jitter_ms: 31,
            streams: Vec::new(),
            scenario: Scenario::Calm,
            lies: Lies::default(),
        }
    }
}

impl JetstreamConfig {
    pub(crate) fn timeline(&self) -> Timeline {
        let start_us = self.start.unwrap_or_else(Timestamp::now).as_microsecond();
        Timeline::new(self.rate, start_us, self.look_back_us, self.start.is_some(), self.events)
            .from_start(self.from_start)
    }
}

/// What happens beside everyday life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scenario {
    /// Nothing.
    Calm,
    /// From 5 s after the start and for 20 s, ten times as many support posts, all problems in one city.
    Outage,
    /// A tenth of the mentions.
    Quiet,
    /// A quiet brand whose service fails in one city: see [`Burst`]. Takes the place of the share.
    Burst(Burst),
}

/// Support posts a second over time: quiet, then rising evenly to the peak, then quiet again.
///
/// The rate of all events stays the same, so the background makes room: 8,000 events/s with a peak of 2,000
/// are 6,000 others at the peak. From the rise on each report is a post of its own by an author of its own, in
/// the texts that name the city, and is never edited, repeated or withdrawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Support posts a second before and after.
    pub quiet_per_s: f64,
    /// Support posts a second at the peak.
    pub peak_per_s: f64,
    /// From the start to the beginning of the rise.
    pub after: Duration,
    /// How long the rise takes.
    pub rise: Duration,
    /// How long the peak lasts.
    pub lasts: Duration,
}

impl Default for Burst {
    fn default() -> Burst {
        Burst {
            quiet_per_s: 0.1,
            peak_per_s: 2_000.0,
            after: Duration::from_secs(10),
            rise: Duration::from_secs(10),
            lasts: Duration::from_secs(10),
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Scenario, String> {
        match name {
            "calm" => Ok(Scenario::Calm),
            "outage" => Ok(Scenario::Outage),
            "quiet" => Ok(Scenario::Quiet),
            "burst" => Ok(Scenario::Burst(Burst::default())),
            _ if name.starts_with("burst:") => name["burst:".len()..].parse().map(Scenario::Burst),
            _ => Err(format!("{name:?} is none of calm, outage, quiet, burst")),
        }
    }
}

impl FromStr for Burst {
    type Err = String;

    /// `quiet,peak,after,rise,lasts`: two counts a second and three times in seconds.
    fn from_str(text: &str) -> Result<Burst, String> {
        let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
        let wrong = || format!("{text:?} is not QUIET,PEAK,AFTER,RISE,LASTS: posts a second, then seconds");
        let Ok(&[quiet_per_s, peak_per_s, after, rise, lasts]) = numbers.as_deref() else {
            return Err(wrong());
        };
        let time = |seconds| Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
        let (after, rise, lasts) = (time(after)?, time(rise)?, time(lasts)?);
        Ok(Burst { quiet_per_s, peak_per_s, after, rise, lasts })
    }
}

/// A running server. Dropping this leaves it running until its shutdown comes.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address to give a client.
    pub fn url(&self) -> String {
        format!("ws://{}/subscribe", self.address)
    }

    /// What subscriptions of this mix receive.
    pub fn script(&self, mix: Mix) -> &Script {
        self.shared.script(mix)
    }

    /// Frames handed to all readers so far.
    pub fn frames(&self) -> u64 {
        self.shared.frames.load(Ordering::Relaxed)
    }

    /// The index after the greatest of any event that was written whole; 0: none.
    pub fn reached(&self) -> u64 {
        self.shared.reached.load(Ordering::Relaxed)
    }

    /// How often the server has told this lie. [`Lie::Drop`] and [`Lie::Reorder`] count events.
    pub fn told(&self, lie: Lie) -> u64 {
        self.shared.record.done(lie)
    }

    /// What a server that lies has begun to write, by index: all that its readers can have. A chunk that a reader
    /// left in the middle of is among it, and not in [`Serving::sent`].
    pub fn begun(&self) -> HashSet<u64> {
        self.shared.record.all_begun()
    }

    /// What a server that lies has written whole, by index; a server that does not keeps no such list.
    pub fn sent(&self) -> HashSet<u64> {
        self.shared.record.all_sent()
    }

    /// `lies told: close 3, duplicate 17`.
    pub fn lies_told(&self) -> String {
        self.shared.record.to_string()
    }

    /// Connections there are now.
    pub fn readers(&self) -> usize {
        CONNECTIONS_MAX - self.shared.places.available_permits()
    }

    /// Waits until the shutdown has come and every reader has been told or given up; then what
    /// [`Serving::lies_told`] says.
    pub async fn finished(self) -> String {
        // The task neither panics nor is aborted; if it did, there would be nobody left to wait for.
        let _ = self.task.await;
        self.shared.record.to_string()
    }
}

/// What all connections read.
#[derive(Debug)]
struct Shared {
    network: Script,
    posts: Script,
    frames: AtomicU64,
    reached: AtomicU64,
    /// One permit for each connection.
    places: Arc<Semaphore>,
    waits: Waits,
    record: Record,
}

impl Shared {
    fn script(&self, mix: Mix) -> &Script {
        match mix {
            Mix::Network => &self.network,
            Mix::Posts => &self.posts,
        }
    }
}

/// How long the server waits for what.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// "Server pings every 30 s".
    ping: Duration,
    /// "A write blocked 5 s closes the connection".
    write: Duration,
    /// For a whole request, before it counts as no request.
    request: Duration,
    /// For the reader's answer to our close.
    close: Duration,
}

const WAITS: Waits = Waits {
    ping: Duration::from_secs(30),
    write: Duration::from_secs(5),
    request: Duration::from_secs(5),
    close: Duration::from_secs(1),
};

/// Binds, and serves until `shutdown` completes.
///
/// # Errors
///
/// The address cannot be bound, or the script cannot be made: see [`Script::new`].
pub async fn serve(
    config: JetstreamConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<Serving> {
    serve_with(config, WAITS, shutdown).await
}

async fn serve_with(
    config: JetstreamConfig,
    waits: Waits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<Serving> {
    let network = Script::new(&config, Mix::Network)?;
    let posts = network.with_mix(Mix::Posts)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr().context("no local address")?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let shared = Arc::new(Shared {
        network,
        posts,
        frames: AtomicU64::new(0),
        reached: AtomicU64::new(0),
        places,
        waits,
        record: Record::new(config.lies, config.seed),
    });
    let task = tokio::spawn(accept(listener, shared.clone(), shutdown));
    Ok(Serving { address, shared, task })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, shutdown: impl Future<Output = ()>) {
    let (leave, leaving) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                };
                let (shared, leaving, place) = (shared.clone(), leaving.clone(), shared.places.clone().try_acquire_owned());
                connections.spawn(async move {
                    connection::run(stream, &shared, leaving, place.is_ok()).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    leave.send_replace(true);
    // Each ends within `Waits::close` of being told.
    while connections.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
