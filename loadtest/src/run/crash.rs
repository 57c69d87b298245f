//! `firehose run crash`: the daemon is killed with `SIGKILL` again and again, at moments drawn from a seed, and
//! started again at once on the same ledger and sockets, under the steady load.
//!
//! The network goes on meanwhile and resumes at the cursor that it is asked for; the helpdesk connects again as
//! soon as it can, and drops its connection now and then itself, with acknowledgements under way. In the end the
//! daemon catches up, drains, and is started once more: what its ledger then says is what counts.

mod moment;
mod eyes;
mod evidence;
mod outcome;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::conservation::{self, Books};
use super::daemon::{Daemon, State};
use super::feed::Feed;
use super::figures::{Percentiles, rounded};
use super::scenario::{Departure, Plan};
use super::seen::{Expectation, mentioned, support};
use super::status::Status;
use super::subscriber::{Intake, Subscriber, now_us};
use super::{HELPDESK, LOOK_EVERY, Progressing, RESCORE_MAX, SETTLE_MAX, Settings, UNCHANGED, counts, usage};
use eyes::Eyes;
use moment::{Moment, Phase};
pub use outcome::{CrashOutcome, CrashResult};

/// How long the stream goes on after the last kill.
const CALM: Duration = Duration::from_secs(2);
/// A daemon that has nothing to do and gets nothing for so long will not get what is missing.
const STUCK: Duration = Duration::from_secs(30);
/// One moment of so many may be missed, and one in any case: kills at other moments than the plan's prove something else.
const MISSED_ONE_OF: u64 = 20;
/// Between two lines of progress.
const PROGRESS_KILLS: u64 = 20;
/// A daemon that drains before it is killed is no kill; after so many for each kill wanted the run is given up.
const DRAINED_FOR_EACH: u64 = 3;
/// What a daemon's folder holds: of the daemon, and of firehose. A daemon that was killed leaves its socket.
const OWN_FILES: [&str; 7] = [
    "ledger.sqlite",
    "ledger.sqlite-wal",
    "ledger.sqlite-shm",
    "ledger.sqlite.lock",
    "vigie.sock",
    "vigie.log",
    "vigie.toml",
];

/// Runs the kills. That something does not add up is no error but part of the outcome.
///
/// # Errors
///
/// The daemon or its network cannot be started at all.
pub async fn run(settings: &Settings, progress: Progressing<'_>) -> anyhow::Result<CrashOutcome> {
    let plan = Plan::new(settings.scenario, settings.changes);
    let start = Timestamp::now();
    let Some(feed) = plan.feeds.first() else { bail!("no network") };
    let feeds = Arc::new(vec![Feed::serve(feed, start, plan.duration).await?]);
    let state = State::new(settings, &feeds.iter().map(Feed::source).collect::<String>())?;
    let helpdesk = Subscriber::start(state.socket(), HELPDESK, plan.helpdesk);
    let mut run = Run {
        seed: settings.changes.seed,
        keep_state: settings.keep_state,
        start,
        feeds,
        state,
        tally: Tally::default(),
        lives_us: Vec::new(),
        killed_us: 0,
        trouble: Vec::new(),
    };
    let mut last = Status::default();
    match run.kill(settings.kills, &helpdesk, progress).await {
        Ok(()) => match run.settle(progress).await {
            Ok(status) => last = status,
            Err(error) => run.trouble.push(format!("{error:#}")),
        },
        Err(error) => run.trouble.push(format!("{error:#}")),
    }
    let mut intake = helpdesk.stop().await;
    if settings.lose_ticket {
        intake.tickets.pop();
    }
    if settings.repeat_ticket {
        intake.repeat_one();
    }
    let expectation = match settings.replay && run.trouble.is_empty() {
        true => Expectation::ask(&run.state, &run.feeds, progress)
            .map_err(|error| run.trouble.push(format!("{error:#}")))
            .ok(),
        false => None,
    };
    Ok(run.conclude(&last, &intake, expectation.as_ref()))
}

#[derive(Debug, Default)]
struct Tally {
    phases: BTreeMap<&'static str, u64>,
    kills: u64,
    drained: u64,
    missed: u64,
    starts: u64,
}

struct Run {
    seed: u64,
    keep_state: bool,
    start: Timestamp,
    feeds: Arc<Vec<Feed>>,
    state: State,
    tally: Tally,
    /// When each daemon was started and when it ended.
    lives_us: Vec<(i64, i64)>,
    /// When the last one was killed.
    killed_us: i64,
    trouble: Vec<String>,
}

impl Run {
    /// Starts and kills so many daemons.
    async fn kill(
        &mut self,
        kills: u64,
        helpdesk: &Subscriber,
        progress: Progressing<'_>,
    ) -> anyhow::Result<()> {
        for n in 0.. {
            if self.tally.kills >= kills {
                break;
            }
            if self.tally.drained > DRAINED_FOR_EACH * kills {
                bail!("the daemon drains before it can be killed");
            }
            let moment = Moment::nth(self.seed, n);
            let born_us = now_us();
            let mut daemon = self.spawn()?;
            let mut eyes = Eyes::new(&daemon, self.state.wal(), helpdesk);
            let seen = eyes.wait_for(&moment).await;
            if let Some(ended) = daemon.ended() {
                let log = daemon.log().read();
                bail!(
                    "daemon {n} ended by itself, {ended}, before it was killed ({:?}):\n{log}",
                    moment.phase
                );
            }
            if moment.phase == Phase::Drain {
                daemon.tell_to_drain()?;
                sleep(moment.then).await;
            }
            let ended = daemon.kill()?;
            self.killed_us = now_us();
            self.lives_us.push((born_us, self.killed_us));
            match ended.code() {
                // Killed by a signal, and there was only one.
                None => {
                    self.tally.kills += 1;
                    self.tally.missed += u64::from(!seen);
                    *self.tally.phases.entry(moment.phase.name()).or_default() += 1;
                    if self.tally.kills.is_multiple_of(PROGRESS_KILLS) {
                        progress(&format!("{} of {kills} kills", self.tally.kills));
                    }
                }
                Some(0) if moment.phase == Phase::Drain => self.tally.drained += 1,
                Some(_) => bail!("daemon {n} ended by itself, {ended}:\n{}", daemon.log().read()),
            }
        }
        Ok(())
    }

    fn spawn(&mut self) -> anyhow::Result<Daemon> {
        self.tally.starts += 1;
        self.state.spawn()
    }

    /// Lets a daemon catch up with a stream that then ends, drains it, and gives what the next one says of itself.
    async fn settle(&mut self, progress: Progressing<'_>) -> anyhow::Result<Status> {
        progress("settling");
        let born_us = now_us();
        let mut daemon = self.spawn()?;
        daemon.wait_until_running().await?;
        sleep(CALM).await;
        for feed in self.feeds.iter() {
            feed.leave(Departure::Orderly).await;
        }
        let (status, unsettled) = self.wait_until_settled(&mut daemon).await?;
        self.trouble.extend(unsettled);
        let ended = daemon.terminate().await?;
        self.lives_us.push((born_us, now_us()));
        if !ended.success() {
            self.trouble.push(format!("the last daemon did not end well: {ended}"));
        }
        let mut next = self.spawn()?;
        next.wait_until_running().await?;
        let mut found = Status::ask(next.console()).await.context("console")?;
        if found.buckets != status.buckets || found.unacknowledged(HELPDESK) > 0 {
            self.trouble.push(format!(
                "{:?} in the ledger, where the daemon had said {:?}",
                found.buckets, status.buckets
            ));
        }
        let ended = next.terminate().await?;
        if !ended.success() {
            self.trouble.push(format!("a daemon without work did not end well: {ended}"));
        }
        // How its connections fared in its lifetime.
        found.sources = status.sources;
        found.tickets_provisional = status.tickets_provisional;
        Ok(found)
    }

    /// The status once nothing is under way; with what still is, if that takes too long.
    async fn wait_until_settled(&self, daemon: &mut Daemon) -> anyhow::Result<(Status, Option<String>)> {
        let deadline = Instant::now() + SETTLE_MAX + RESCORE_MAX;
        let mut last = (0, Instant::now());
        loop {
            if let Some(ended) = daemon.ended() {
                bail!("the daemon ended by itself, {ended}:\n{}", daemon.log().read());
            }
            let status = Status::ask(daemon.console()).await.context("console")?;
            if status.received != last.0 {
                last = (status.received, Instant::now());
            }
            let (events, _) = counts(&self.feeds);
            let waiting = status.unacknowledged(HELPDESK) + status.queue_batches + status.queue_candidates;
            let idle = status.received >= events && last.1.elapsed() >= UNCHANGED && waiting == 0;
            if idle && status.tickets_provisional == 0 {
                return Ok((status, None));
            }
            let is_stuck = waiting + status.tickets_provisional == 0 && last.1.elapsed() > STUCK;
            if is_stuck || Instant::now() > deadline {
                let Status { received, tickets_provisional, .. } = status;
                let what = format!(
                    "not settled: {received} frames received of {events} events, {waiting} waiting, {tickets_provisional} provisional"
                );
                return Ok((status, Some(what)));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn conclude(
        mut self,
        status: &Status,
        intake: &Intake,
        expectation: Option<&Expectation>,
    ) -> CrashOutcome {
        let duration_s = (self.killed_us - self.start.as_microsecond()) as f64 / 1e6;
        let (events, written) = counts(&self.feeds);
        let support = support(&self.feeds);
        let joined = mentioned(&self.feeds, &intake.joined);
        let mut balance = conservation::check(&Books {
            events,
            written,
            received: status.received,
            buckets: status.buckets.clone(),
            connections_lost: status.reconnects(),
            connections_ended: self.tally.kills + self.tally.drained,
            gaps: status.sources.iter().map(|source| source.gaps).sum(),
            provisional: status.tickets_provisional,
            withdrawn: Some(&intake.withdrawn),
            support: Some(&support),
            expected: expectation.map(|expectation| &expectation.tickets),
            tickets: &intake.tickets,
            joined: &joined,
            duplicates: intake.duplicates,
        });
        balance.violations.splice(0..0, self.trouble.drain(..));
        if let Some(first) = intake.troubles.first() {
            let times = intake.troubles.len();
            balance.violations.push(format!("{times} times the ticket socket spoke wrongly, first: {first}"));
        }
        balance.violations.extend(too_many_missed(self.tally.kills, self.tally.missed));
        let candidates = expectation.map_or(0, |expectation| expectation.counts.background_candidates);
        if candidates > 0 {
            balance.violations.push(format!("{candidates} background frames are candidates"));
        }
        let mut changes_wrong = Vec::new();
        let mut suspects = Vec::new();
        for feed in self.feeds.iter() {
            let (sure, possible) = evidence::changes(feed, intake);
            changes_wrong.extend(evidence::wrong(&sure, &possible, intake));
            let expected = expectation.map(|expectation| &expectation.tickets).unwrap_or(&support);
            suspects.extend(evidence::suspects(feed, expected, intake));
        }
        if !changes_wrong.is_empty() {
            let count = changes_wrong.len();
            balance.violations.push(format!(
                "{count} updates of erased or edited posts are missing, came twice, or came unasked"
            ));
        }
        suspects.extend(changes_wrong.iter().take(evidence::SUSPECTS_MAX).cloned());
        let mut firsts_us: Vec<i64> =
            self.lives_us.iter().filter_map(|life| first_after(*life, intake)).collect();
        let left_behind: Vec<String> =
            self.state.files().into_iter().filter(|name| !OWN_FILES.contains(&name.as_str())).collect();
        let is_sound = balance.violations.is_empty();
        let result = CrashResult {
            scenario: "crash",
            seed: self.seed,
            started_at: self.start.to_string(),
            duration_s: rounded(duration_s),
            kills: self.tally.kills,
            phases: self.tally.phases,
            drained: self.tally.drained,
            missed: self.tally.missed,
            starts: self.tally.starts,
            first_deliveries: firsts_us.len() as u64,
            first_delivery_ms: Percentiles::of(&mut firsts_us),
            balance,
            changes: intake.changes.len() as u64,
            changes_wrong: changes_wrong.len() as u64,
            redelivered: intake.again,
            helpdesk_reconnects: intake.reconnects,
            offered_posts: events,
            frames_written: written,
            frames_received: status.received,
            buckets: status.buckets.clone(),
            left_behind,
            suspects: if is_sound { Vec::new() } else { suspects },
            state_fs: self.state.file_system(),
            cpu_model: usage::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            vigie_version: status.version.clone(),
        };
        let kept = if is_sound && !self.keep_state { None } else { Some(self.state.keep()) };
        CrashOutcome { result, kept }
    }
}

/// How long after its start a daemon delivered something first; `None` if it did not live so long.
fn first_after((born_us, died_us): (i64, i64), intake: &Intake) -> Option<i64> {
    let firsts = intake.firsts_us.iter().filter(|first_us| (born_us..died_us).contains(*first_us));
    firsts.min().map(|first_us| first_us - born_us)
}

/// Says so where too few kills met the moment that they were to meet.
fn too_many_missed(kills: u64, missed: u64) -> Option<String> {
    (missed > (kills / MISSED_ONE_OF).max(1))
        .then(|| format!("{missed} of {kills} kills missed their moment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_kills_come_at_other_moments_proves_nothing() {
        let check = |kills, missed, is_wrong| {
            assert_eq!(too_many_missed(kills, missed).is_some(), is_wrong, "{missed} of {kills}");
        };
        check(12, 1, false);
        check(12, 2, true);
        check(200, 10, false);
        check(200, 11, true);
        check(0, 0, false);
    }

    #[test]
    fn a_first_delivery_belongs_to_the_daemon_that_lived_then() {
        let mut intake = Intake::default();
        intake.firsts_us.extend([150, 170, 420]);
        let check = |life, expected| assert_eq!(first_after(life, &intake), expected, "{life:?}");
        check((100, 200), Some(50));
        check((200, 400), None);
        check((400, 500), Some(20));
    }
}
