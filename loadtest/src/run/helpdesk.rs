//! `firehose run helpdesk`: whether a helpdesk that fails, and then one that grants few calls, get each ticket once.
//!
//! A ledger is filled with the tickets of a stream of support posts. Then the daemon has a bridge to a helpdesk that is
//! not there ([`Plain`]), over real HTTP: half of the creations end so that nobody can know whether they were done. When
//! that one has everything, the same tickets go to another, which takes 100 calls a minute and refuses the next; a minute
//! is half a second there. What each of them has made is compared with what another subscription was given.

mod outcome;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::daemon::{Daemon, State};
use super::figures::rounded;
use super::filling::{Filled, Full, fill};
use super::order::unsorted;
use super::scenario::{self, Plan};
use super::status::{Bridge, Status};
use super::subscriber::{Intake, Subscriber, Taken, hex};
use super::{AUDIT, LOOK_EVERY, Progressing, Settings, usage};
use crate::helpdesk::{Fake, Faults, Log, Options, Plain, Quota, serve};
pub use outcome::{HelpdeskOutcome, HelpdeskResult};

/// Posts unless asked otherwise. 95 of a hundred become tickets, and to make a hundred tickets ends unclear some sixty
/// times: 9,000 and some.
const POSTS: u64 = 17_000;
/// Of the creations, end unclear.
const UNCLEAR: f64 = 0.5;
/// So often at most for one ticket: the bridge tries what has ended so again and again ever later, and a run would wait
/// for the last few alone.
const UNCLEAR_TIMES_MAX: u32 = 2;
/// Of those, one in so many is never answered: it takes the second that a call may last.
const SILENT_ONE_IN: usize = 100;
/// What the helpdesk grants in a minute, and how long that is.
const CALLS: u32 = 100;
const MINUTE: Duration = Duration::from_millis(500);
/// Longest wait for something to go on.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest wait for the bridge's own counts, which it tells the daemon every two seconds.
const TOLD_MAX: Duration = Duration::from_secs(20);

/// What a helpdesk is to get, and to whom it is said how it goes.
struct Task<'t> {
    state: &'t State,
    /// The network that the tickets are from, as the config says it.
    source: String,
    expected: Intake,
    progress: Progressing<'t>,
}

/// A helpdesk that has got everything.
struct Served {
    log: Log,
    /// What the bridge says of itself.
    bridge: Bridge,
    /// CPU time of the bridge's thread, seconds.
    cpu_s: f64,
    took_s: f64,
}

impl Served {
    /// Tickets that it has not got.
    fn lost(&self, expected: &Intake) -> u64 {
        let there = self.log.references();
        let is_lost = |ticket: &&Taken| !there.contains(reference(ticket).as_str());
        expected.tickets.iter().filter(is_lost).count() as u64
    }

    /// Tickets that it has more than once, and those that nobody gave it.
    fn doubled(&self, expected: &Intake) -> u64 {
        let known: HashSet<String> = expected.tickets.iter().map(reference).collect();
        let strange = self.log.references().iter().filter(|reference| !known.contains(**reference)).count();
        (self.log.doubled().len() + strange) as u64
    }

    /// Tickets that it got before one that mattered more: all were pending from the beginning.
    fn out_of_turn(&self, expected: &Intake) -> u64 {
        let tickets: HashMap<String, &Taken> =
            expected.tickets.iter().map(|ticket| (reference(ticket), ticket)).collect();
        let made = self.log.made.iter().filter_map(|made| tickets.get(&made.reference));
        let made: Vec<Taken> = made.map(|ticket| (*ticket).clone()).collect();
        unsorted(&made, &expected.raises)
    }

    /// By how many tickets the bridge's own counts are wrong.
    fn untold(&self, expected: &Intake) -> u64 {
        let told = self.bridge.made + self.bridge.adopted + self.bridge.unknown;
        told.abs_diff(expected.tickets.len() as u64)
    }
}

/// What a ticket is known by in a helpdesk.
fn reference(ticket: &Taken) -> String {
    hex(&ticket.id)
}

/// Fills a ledger and takes it to both helpdesks. That something does not add up is no error but part of the outcome.
///
/// # Errors
///
/// The ledger cannot be filled, a daemon does not start, or with a helpdesk nothing goes on for five minutes.
pub async fn run(settings: &Settings, progress: Progressing<'_>) -> anyhow::Result<HelpdeskOutcome> {
    let plan = Plan::new(settings.scenario, settings.changes);
    let posts = Full::Posts(settings.pending.unwrap_or(POSTS));
    let started_at = Timestamp::now();
    let Filled { state, daemon, source, took_s: filled_s, .. } =
        fill(settings, &plan, posts, progress).await?;
    let version = Status::ask(daemon.console()).await.context("console")?.version;
    // What was under way is in the ledger then.
    end(daemon).await?;
    let expected = everything(&state).await?;
    let task = Task { state: &state, source, expected, progress };

    progress("a helpdesk that fails");
    let kinds = Faults::ambiguous_mostly_at_once(SILENT_ONE_IN);
    let faults = Faults::seeded(settings.changes.seed, UNCLEAR, Plain::is_creation, kinds)
        .sparing(Plain::reference, UNCLEAR_TIMES_MAX);
    let fake = serve(Plain::default(), Options { faults, ..Options::default() }).await?;
    let grants = "quota_per_minute = 100000\nheadroom_percent = 0\ncall_max_s = 1\n";
    let mut unclear = take(&task, "fails", grants, fake).await?;
    if settings.lose_ticket {
        unclear.log.made.pop();
    }
    if settings.repeat_ticket {
        unclear.log.made.extend(unclear.log.made.first().cloned());
    }

    progress("a helpdesk that grants few calls");
    let quota = Quota::new(CALLS, MINUTE);
    let fake = serve(Plain::default(), Options { quota: Some(quota), ..Options::default() }).await?;
    let per_minute = f64::from(CALLS) * 60.0 / MINUTE.as_secs_f64();
    let grants = format!("quota_per_minute = {per_minute}\n");
    let paced = take(&task, "grants", &grants, fake).await?;

    let tickets = task.expected.tickets.len() as u64;
    let mut result = HelpdeskResult {
        scenario: "helpdesk",
        started_at: started_at.to_string(),
        tickets,
        filled_s,
        unclear_ends: unclear.log.broken() as u64,
        unclear_lost: unclear.lost(&task.expected),
        unclear_doubled: unclear.doubled(&task.expected),
        unclear_adopted: unclear.bridge.adopted,
        unclear_unknown: unclear.bridge.unknown,
        unclear_untold: unclear.untold(&task.expected),
        unclear_s: rounded(unclear.took_s),
        paced_lost: paced.lost(&task.expected),
        paced_doubled: paced.doubled(&task.expected),
        paced_refused: paced.log.refused,
        paced_out_of_turn: paced.out_of_turn(&task.expected),
        paced_calls: paced.log.calls.len() as u64,
        paced_minutes: rounded(paced.took_s / MINUTE.as_secs_f64()),
        cpu_ms_per_ticket: rounded(paced.cpu_s * 1e3 / tickets.max(1) as f64),
        violations: Vec::new(),
        state_fs: state.file_system(),
        cpu_model: usage::cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        vigie_version: version,
    };
    result.violations = outcome::violations(&result);
    Ok(HelpdeskOutcome { result })
}

/// Starts the daemon and takes everything over the ticket socket, by a subscription of its own.
async fn everything(state: &State) -> anyhow::Result<Intake> {
    let daemon = state.start().await?;
    let subscriber = Subscriber::start(state.socket(), AUDIT, scenario::Helpdesk::Prompt);
    let begun = Instant::now();
    loop {
        let status = Status::ask(daemon.console()).await.context("console")?;
        let is_there = status.subscriptions.iter().any(|other| other.name == AUDIT);
        if is_there && status.unacknowledged(AUDIT) == 0 {
            let mut expected = subscriber.stop().await;
            end(daemon).await?;
            // A bridge makes none of what its author had taken back before.
            expected.tickets.retain(|ticket| !ticket.is_erased);
            return Ok(expected);
        }
        if begun.elapsed() > PATIENCE {
            bail!("not all tickets came within {} s: {status:?}", PATIENCE.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Runs the daemon with a bridge of this name to `fake` until nothing waits any more and the bridge has said what it did.
async fn take(task: &Task<'_>, name: &str, grants: &str, fake: Fake<Plain>) -> anyhow::Result<Served> {
    let (state, tickets) = (task.state, task.expected.tickets.len());
    let preset = state.add("plain.toml", Plain::PRESET)?;
    let token = state.add("helpdesk.token", "firehose")?;
    let bridge = format!(
        "[[bridge]]\nname = \"{name}\"\nkind = \"http\"\npreset_file = \"{}\"\nurl = \"{}\"\ntoken_file = \"{}\"\n\
         from = \"oldest\"\n{grants}",
        preset.display(),
        fake.url(),
        token.display()
    );
    state.configure(&format!("{}{bridge}", task.source), &[])?;
    let begun = Instant::now();
    let mut daemon = state.start().await?;
    let mut meter = usage::Meter::new(daemon.pid());
    let (mut last, mut last_at, mut told) = ((0, 0), Instant::now(), 0);
    // When nothing waited any more.
    let mut done_at = None;
    let mut served = loop {
        let status = Status::ask(daemon.console()).await.context("console")?;
        let (waiting, made) = (status.unacknowledged(&format!("bridge-{name}")), fake.counts().0);
        if let Some(bridge) = status.bridges.iter().find(|bridge| bridge.name == name)
            && waiting == 0
        {
            let done_at: &mut Instant = done_at.get_or_insert_with(Instant::now);
            let took_s = done_at.duration_since(begun).as_secs_f64();
            let served = Served { log: fake.log(), bridge: bridge.clone(), cpu_s: 0.0, took_s };
            if served.untold(&task.expected) == 0 || done_at.elapsed() > TOLD_MAX {
                break served;
            }
        }
        if let Some(ended) = daemon.ended() {
            bail!("the daemon ended by itself: {ended}\n{}", daemon.log().read());
        }
        if (waiting, made) != last {
            (last, last_at) = ((waiting, made), Instant::now());
        }
        if last_at.elapsed() > PATIENCE {
            bail!("{made} of {tickets} tickets, and nothing for {} s: {status:?}", PATIENCE.as_secs());
        }
        if made / 2_000 > told {
            told = made / 2_000;
            (task.progress)(&format!("{made} of {tickets} tickets"));
        }
        sleep(LOOK_EVERY).await;
    };
    let usage = meter.read().context("the daemon's processor time")?;
    let of_bridges = usage.thread_cpu_s.iter().filter(|(thread, _)| thread.starts_with("vigie-bridge"));
    served.cpu_s = of_bridges.map(|(_, cpu_s)| cpu_s).sum();
    end(daemon).await?;
    Ok(served)
}

async fn end(daemon: Daemon) -> anyhow::Result<()> {
    let ended = daemon.terminate().await?;
    anyhow::ensure!(ended.success(), "the daemon did not end well: {ended}");
    Ok(())
}
