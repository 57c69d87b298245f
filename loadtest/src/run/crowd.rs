//! Idle clients of the ticket socket: each has said hello and subscribed, answers heartbeats, and gets nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::daemon::Setting;
use super::figures::{median, rounded};
use super::watch::Sample;
use crate::client::proto::{Filter, Subscription};
use crate::client::{Address, Client};

/// Subscriptions that the crowd shares: a daemon holds 256 at most.
const SUBSCRIPTIONS: u32 = 64;
/// A brand that no ticket is about: nothing is ever pending for a member.
const NOBODYS_BRAND: &str = "nobody's brand";
/// Members that connect at once: fewer than a listener's queue holds.
const CONNECTING_MAX: usize = 64;
/// Tries of each member.
const TRIES_MAX: u32 = 20;
const RETRY: Duration = Duration::from_millis(100);
/// Descriptors of the daemon and of this program beside those of the crowd: far more than either has.
const OTHER_DESCRIPTORS: u64 = 500;
/// Clients beside the crowd: the helpdesk, and room for one that comes again before its place is free.
const OTHER_CLIENTS: u32 = 16;
/// What all of them together may add to the daemon's memory, and no less for a smaller crowd: the steady load alone
/// moves it by some MiB.
const GROWTH_MIB_MAX: f64 = 100.0;
/// Part of the stream after which the crowd comes, and part at its beginning whose memory is not looked at.
pub(super) const COMES_AFTER: f64 = 0.3;
const WARM_UP: f64 = 0.15;
/// Part of the stream at its end whose memory is looked at.
const LOOKED_AT: f64 = 0.3;

/// Settings with which a daemon lets so many in.
pub(super) fn settings(connections: u32) -> anyhow::Result<Vec<Setting>> {
    let clients = connections + OTHER_CLIENTS;
    // All of them come from one user.
    [format!("wire.connections_max={clients}"), format!("wire.connections_per_peer_max={clients}")]
        .into_iter()
        .map(|setting| setting.parse().map_err(anyhow::Error::msg))
        .collect()
}

/// Raises the limit of descriptors of this process, and so of the daemon that it starts, as far as the crowd needs.
///
/// # Errors
///
/// The system allows fewer.
pub(super) fn make_room(connections: u32) -> anyhow::Result<()> {
    let needed = u64::from(connections) + OTHER_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        bail!(
            "{connections} connections need {needed} descriptors, and this system allows {maximum}: raise its hard limit (ulimit -Hn), or take fewer --connections"
        );
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .with_context(|| format!("cannot raise the limit of descriptors to {needed}"))
}

#[derive(Debug, Default)]
struct Counts {
    /// Subscribed now.
    present: AtomicU32,
    /// Deliveries, of which there must be none.
    deliveries: AtomicU32,
}

/// The members, until it is dropped.
pub(super) struct Crowd {
    counts: Arc<Counts>,
    /// Ends the members when dropped.
    _members: JoinSet<()>,
}

impl Crowd {
    /// Connects all of them, and gives those that came: fewer, where the daemon lets no more in.
    pub(super) async fn assemble(socket: PathBuf, connections: u32) -> Crowd {
        let counts = Arc::<Counts>::default();
        let mut members = JoinSet::new();
        let (address, places) = (Arc::new(Address::Unix(socket)), Arc::new(Semaphore::new(CONNECTING_MAX)));
        let (tried, mut trying) = tokio::sync::mpsc::channel::<()>(1);
        for n in 0..connections {
            let (counts, address, places) = (counts.clone(), address.clone(), places.clone());
            let tried = tried.clone();
            members.spawn(async move {
                let Some(client) = join(&address, n, &places).await else { return };
                counts.present.fetch_add(1, Ordering::Relaxed);
                // Counted before it says that it has tried: whoever waits for all of them looks at the count.
                drop(tried);
                idle(client, &counts).await;
                counts.present.fetch_sub(1, Ordering::Relaxed);
            });
        }
        drop(tried);
        // Nothing is sent: it ends when all have tried.
        let _ = trying.recv().await;
        Crowd { counts, _members: members }
    }

    pub(super) fn present(&self) -> u32 {
        self.counts.present.load(Ordering::Relaxed)
    }

    pub(super) fn deliveries(&self) -> u32 {
        self.counts.deliveries.load(Ordering::Relaxed)
    }
}

async fn join(address: &Address, n: u32, places: &Semaphore) -> Option<Client> {
    let name = format!("crowd-{}", n % SUBSCRIPTIONS);
    let filter = Filter { brands: vec![NOBODYS_BRAND.to_owned()], ..Filter::default() };
    for _ in 0..TRIES_MAX {
        let subscription =
            Subscription { name: name.clone(), filter: Some(filter.clone()), ..Subscription::default() };
        // Never closed.
        let place = places.acquire().await.ok()?;
        let client = Client::subscribe(address, subscription, 1).await;
        drop(place);
        match client {
            Ok(client) => return Some(client),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
    None
}

/// Answers heartbeats until the connection ends.
async fn idle(mut client: Client, counts: &Counts) {
    while let Ok(heard) = client.hear().await {
        counts.deliveries.fetch_add(u32::from(heard.is_some()), Ordering::Relaxed);
    }
}

/// What a crowd cost the daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CrowdResult {
    /// Idle clients that were to come.
    pub connections: u32,
    /// Those that were connected and subscribed when all had come.
    pub came: u32,
    /// Those that still were at the end.
    pub stayed: u32,
    /// Resident memory of the daemon before they came, MiB: the median of some seconds.
    pub rss_before_mib: f64,
    /// The same at the end of the stream.
    pub rss_after_mib: f64,
    /// The difference, for each of them: KiB.
    pub connection_kib: f64,
}

impl CrowdResult {
    /// By the samples of a stream of so many seconds.
    pub(super) fn of(
        (connections, came, stayed): (u32, u32, u32),
        samples: impl Iterator<Item = (f64, Sample)>,
        duration_s: f64,
    ) -> CrowdResult {
        let rss: Vec<(f64, f64)> = samples
            .filter_map(|(at_s, sample)| {
                Some((at_s / duration_s, sample.usage?.rss_bytes as f64 / f64::from(1 << 20)))
            })
            .collect();
        let within = |from: f64, to: f64| {
            median(rss.iter().filter(|(part, _)| (from..to).contains(part)).map(|(_, mib)| *mib))
        };
        let (before, after) = (within(WARM_UP, COMES_AFTER), within(1.0 - LOOKED_AT, 1.0));
        CrowdResult {
            connections,
            came,
            stayed,
            rss_before_mib: rounded(before),
            rss_after_mib: rounded(after),
            connection_kib: rounded((after - before) * 1_024.0 / f64::from(came.max(1))),
        }
    }

    /// What is not as it should be.
    pub(super) fn violations(&self) -> Vec<String> {
        let CrowdResult { connections, came, stayed, rss_before_mib, rss_after_mib, .. } = *self;
        let mut violations = Vec::new();
        if came < connections {
            violations.push(format!("{came} of {connections} idle clients were let in"));
        }
        if stayed < came {
            violations.push(format!("{} idle clients were cut off", came - stayed));
        }
        // A machine that is too slow to look tells nothing.
        if rss_before_mib > 0.0 && rss_after_mib - rss_before_mib > GROWTH_MIB_MAX {
            violations.push(format!(
                "{came} idle clients took {:.0} MiB, more than {GROWTH_MIB_MAX}",
                rss_after_mib - rss_before_mib
            ));
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::usage::Usage;

    #[test]
    fn growth_is_that_from_before_they_came_to_the_end() {
        let sample = |mib: u64| Sample {
            usage: Some(Usage { rss_bytes: mib << 20, ..Usage::default() }),
            ..Sample::default()
        };
        // Warm at 100 MiB, 150 MiB with the crowd.
        let samples = (0..100).map(|s| {
            (
                f64::from(s),
                sample(if s < 10 {
                    1
                } else if s < 35 {
                    100
                } else {
                    150
                }),
            )
        });
        let result = CrowdResult::of((1_000, 1_000, 1_000), samples, 100.0);
        assert_eq!((result.rss_before_mib, result.rss_after_mib), (100.0, 150.0));
        assert_eq!(result.connection_kib, 51.2);
        assert_eq!(result.violations(), [""; 0]);
        let check =
            |result: CrowdResult, expected: &str| assert!(result.violations().join(";").contains(expected));
        check(CrowdResult { came: 999, ..result }, "999 of 1000 idle clients were let in");
        check(CrowdResult { stayed: 998, ..result }, "2 idle clients were cut off");
        check(CrowdResult { rss_after_mib: 201.0, ..result }, "took 101 MiB");
    }

    #[test]
    fn a_limit_that_is_high_enough_stays() {
        let before = getrlimit(Resource::Nofile);
        assert!(make_room(0).is_ok());
        assert_eq!(getrlimit(Resource::Nofile), before);
        if before.maximum.is_some_and(|maximum| maximum < u64::from(u32::MAX)) {
            let error = make_room(u32::MAX).unwrap_err().to_string();
            assert!(error.contains("ulimit -Hn"), "{error}");
        }
    }
}
