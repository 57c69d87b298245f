//! Looks at everything four times a second, from outside the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::feed::Feed;
use super::status::Status;
use super::subscriber::now_us;
use super::usage::{Machine, Meter, Usage};

/// Between two samples. Each has the daemon answer one request, which costs it well under a millisecond.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Between two notes of how far an unlimited stream has come: how exact the time of sending is that latency
/// counts from there.
const PROGRESS_EVERY: Duration = Duration::from_millis(5);

/// Everything at one instant.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Microseconds since 1970.
    pub(super) at_us: i64,
    /// Positions that the daemon has acknowledged, of each feed that has such: how often one was ahead of what the
    /// daemon says it has committed, asked afterwards.
    pub(super) acked_early: u64,
    /// Distinct events due until now, over all networks.
    pub(super) due: u64,
    /// Tickets taken by the helpdesk.
    pub(super) tickets: u64,
    /// `None` where the daemon did not answer.
    pub(super) status: Option<Status>,
    /// `None` once the process is gone.
    pub(super) usage: Option<Usage>,
    /// The ledger's write-ahead log, in bytes.
    pub(super) wal_bytes: u64,
    /// CPU seconds of this process: servers, helpdesk, and looking itself.
    pub(super) firehose_cpu_s: f64,
    /// CPU time of everything on this machine.
    pub(super) machine: Machine,
}

/// How far a feed had come when: microseconds since 1970, frames written. Kept for unlimited ones only.
pub(super) type Progress = Vec<(i64, u64)>;

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Sample>,
    /// One for each feed.
    progress: Vec<Progress>,
}

/// A running observation. Memory: a sample is about 2 KiB, so an hour takes 30 MiB.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    tasks: [JoinHandle<()>; 2],
}

impl Watch {
    /// Begins to look.
    pub(super) fn start(
        feeds: Arc<Vec<Feed>>,
        tickets: impl Fn() -> u64 + Send + 'static,
        (console, pid): (SocketAddr, u32),
        wal: PathBuf,
    ) -> Watch {
        let progress = vec![Progress::new(); feeds.len()];
        let seen = Arc::new(Mutex::new(Seen { samples: Vec::new(), progress }));
        let noter = note_progress(feeds.clone(), seen.clone());
        let mut looker = Looker {
            feeds,
            tickets: Box::new(tickets),
            console,
            wal,
            meter: Meter::new(pid),
            own: Meter::new(std::process::id()),
            seen: seen.clone(),
        };
        // The noter apart: an answer of the console may take longer than its interval.
        let tasks = [tokio::spawn(async move { looker.run().await }), tokio::spawn(noter)];
        Watch { seen, tasks }
    }

    /// The last sample; `None` before the first.
    pub(super) fn last(&self) -> Option<Sample> {
        lock(&self.seen).samples.last().cloned()
    }

    /// Looks no more, and gives what was seen.
    pub(super) async fn stop(self) -> (Vec<Sample>, Vec<Progress>) {
        for task in self.tasks {
            task.abort();
            // Waited for so that nothing the task holds outlives it.
            drop(task.await);
        }
        let Seen { samples, progress } = std::mem::take(&mut *lock(&self.seen));
        (samples, progress)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Looker {
    feeds: Arc<Vec<Feed>>,
    tickets: Box<dyn Fn() -> u64 + Send>,
    console: SocketAddr,
    wal: PathBuf,
    meter: Meter,
    own: Meter,
    seen: Arc<Mutex<Seen>>,
}

impl Looker {
    async fn run(&mut self) {
        let mut samples = interval(SAMPLE_EVERY);
        samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            samples.tick().await;
            let sample = self.look().await;
            lock(&self.seen).samples.push(sample);
        }
    }

    async fn look(&mut self) -> Sample {
        let acked: Vec<_> = self.feeds.iter().map(|feed| feed.acked()).collect();
        let status = Status::ask(self.console).await.ok();
        let at_us = now_us();
        let committed = |feed: &Feed| {
            let source = status.as_ref()?.sources.iter().find(|source| source.name == feed.name())?;
            Some(source.received)
        };
        let early = self.feeds.iter().zip(acked).filter(|(feed, acked)| {
            acked.is_some_and(|acked| committed(feed).is_some_and(|committed| acked > committed))
        });
        Sample {
            acked_early: early.count() as u64,
            at_us,
            due: self.feeds.iter().map(|feed| feed.due(at_us)).sum(),
            tickets: (self.tickets)(),
            status,
            usage: self.meter.read().ok(),
            wal_bytes: std::fs::metadata(&self.wal).map_or(0, |wal| wal.len()),
            machine: Machine::read(),
            firehose_cpu_s: self.own.read().map_or(0.0, |usage| usage.cpu_s),
        }
    }
}

/// Notes again and again how far the unlimited feeds have come.
async fn note_progress(feeds: Arc<Vec<Feed>>, seen: Arc<Mutex<Seen>>) {
    let mut ticks = interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while feeds.iter().any(Feed::is_unlimited) {
        ticks.tick().await;
        let at_us = now_us();
        let mut seen = lock(&seen);
        for (feed, progress) in feeds.iter().zip(&mut seen.progress).filter(|(feed, _)| feed.is_unlimited()) {
            progress.push((at_us, feed.written()));
        }
    }
}

/// When a feed's `count`th frame was written, interpolated; `None` if it was not.
pub(super) fn written_at_us(progress: &Progress, count: u64) -> Option<i64> {
    let after = progress.partition_point(|(_, written)| *written < count);
    let (late_us, more) = *progress.get(after)?;
    let Some((early_us, fewer)) = after.checked_sub(1).and_then(|before| progress.get(before)) else {
        return Some(late_us);
    };
    let part = (count - fewer) as f64 / (more - fewer) as f64;
    Some(early_us + ((late_us - early_us) as f64 * part) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_writing_is_interpolated() {
        let progress = vec![(1_000, 0), (2_000, 100), (3_000, 100), (4_000, 300)];
        let check = |count, expected| assert_eq!(written_at_us(&progress, count), expected, "{count}");
        check(50, Some(1_500));
        check(100, Some(2_000));
        check(200, Some(3_500));
        check(300, Some(4_000));
        check(301, None);
    }
}
