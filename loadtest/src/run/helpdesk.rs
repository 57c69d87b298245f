//! `firehose run helpdesk`: whether a helpdesk that fails, and then one that grants few calls, get each ticket once.
//!
//! A ledger is filled as for a restart. Then the daemon has a bridge to a helpdesk that is not there
//! ([`Plain`]), over real HTTP: half of the creations end so that nobody can know whether they were done. When that
//! one has everything, the same tickets go to another, which takes 100 calls a minute and refuses the next; a minute is
//! half a second there. What each of them was asked and has made is compared with the ledger.

mod outcome;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::daemon::State;
use super::figures::rounded;
use super::filling::{Filled, fill, parsed};
use super::scenario::Plan;
use super::status::{Bridge, Status};
use super::{LOOK_EVERY, Progressing, Settings, usage};
use crate::Rate;
use crate::helpdesk::{Fake, Fault, Faults, Log, Options, Plain, Quota, serve};
pub use outcome::{HelpdeskOutcome, HelpdeskResult};

/// Tickets unless asked otherwise: two thirds of them end unclear once, 10,000 and some.
const TICKETS: u64 = 16_000;
/// Nothing that a ticket gains by waiting: the order is that of priorities alone.
const CONFIG: [&str; 1] = ["priority.waiting.points_per_hour=0"];
/// Of the creations, end unclear.
const UNCLEAR: f64 = 0.5;
/// Of those, one in so many is a call that is never answered, each way: it takes the second that a call may last.
const SILENT_ONE_IN: usize = 100;
/// What the helpdesk grants in a minute, and how long that is.
const CALLS: u32 = 100;
const MINUTE: Duration = Duration::from_millis(500);
/// Posts a second while the ledger is filled: not so many that it holds far more than was asked for.
const FILLING_PER_S: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
/// Longest wait for another call.
const PATIENCE: Duration = Duration::from_secs(120);

/// One helpdesk that has got everything.
struct Served {
    /// That the ledger holds.
    tickets: u64,
    log: Log,
    /// What the bridge says of itself.
    bridge: Bridge,
    /// CPU time of the bridge's thread, seconds.
    cpu_s: f64,
    took_s: f64,
}

/// Fills a ledger and takes it to both helpdesks. That something does not add up is no error but part of the outcome.
///
/// # Errors
///
/// The ledger cannot be filled, a daemon does not start, or a helpdesk is asked nothing for two minutes.
pub async fn run(settings: &Settings, progress: Progressing<'_>) -> anyhow::Result<HelpdeskOutcome> {
    let plan = Plan::new(settings.scenario, settings.changes);
    let pending = settings.pending.unwrap_or(TICKETS);
    let started_at = Timestamp::now();
    let rate = Rate::PerSecond(FILLING_PER_S);
    let filled = fill(settings, &plan, pending, rate, &CONFIG, progress).await?;
    let Filled { state, daemon, source, took_s: filled_s, .. } = filled;
    let version = Status::ask(daemon.console()).await.context("console")?.version;
    end(daemon).await?;

    let faults = Faults::seeded(settings.changes.seed, UNCLEAR, "POST", kinds());
    let fake = serve(Plain::default(), Options { faults, ..Options::default() }).await?;
    progress("a helpdesk that fails");
    let grants = "quota_per_minute = 100000\nheadroom_percent = 0\ncall_max_s = 1\n";
    let mut unclear = take(&state, &source, "fails", grants, fake, progress).await?;
    if settings.lose_ticket {
        unclear.log.made.pop();
    }

    let quota = Quota::new(CALLS, MINUTE);
    let fake = serve(Plain::default(), Options { quota: Some(quota), ..Options::default() }).await?;
    progress("a helpdesk that grants few calls");
    let per_minute = f64::from(CALLS) * 60.0 / MINUTE.as_secs_f64();
    let grants = format!("quota_per_minute = {per_minute}\n");
    let paced = take(&state, &source, "grants", &grants, fake, progress).await?;

    let made = |served: &Served| {
        let references: BTreeSet<&str> = served.log.made.iter().map(|made| made.reference.as_str()).collect();
        references.len() as u64
    };
    let tickets = paced.tickets;
    let priorities: Vec<u64> =
        paced.log.made.iter().map(|made| made.priority.as_u64().unwrap_or_default()).collect();
    let mut result = HelpdeskResult {
        scenario: "helpdesk",
        started_at: started_at.to_string(),
        tickets,
        filled_s,
        unclear_ends: unclear.log.broken() as u64,
        unclear_made: made(&unclear),
        unclear_doubled: unclear.log.doubled().len() as u64,
        unclear_adopted: unclear.bridge.adopted,
        unclear_unknown: unclear.bridge.unknown,
        unclear_s: unclear.took_s,
        paced_made: made(&paced),
        paced_doubled: paced.log.doubled().len() as u64,
        paced_refused: paced.log.refused,
        paced_unsorted: priorities.windows(2).filter(|pair| pair[0] < pair[1]).count() as u64,
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

/// Every way in which a call may end unclear, silence now and then only.
fn kinds() -> Vec<Fault> {
    let (silent, others): (Vec<Fault>, Vec<Fault>) =
        Faults::ambiguous().into_iter().partition(|kind| matches!(kind, Fault::Silent { .. }));
    let others = others.into_iter().cycle().take(SILENT_ONE_IN * silent.len());
    others.chain(silent).collect()
}

/// Runs the daemon with a bridge of this name to `fake` until that has all tickets and the bridge has said so.
async fn take(
    state: &State,
    source: &str,
    name: &str,
    grants: &str,
    fake: Fake<Plain>,
    progress: Progressing<'_>,
) -> anyhow::Result<Served> {
    let preset = state.add("plain.toml", Plain::PRESET)?;
    let token = state.add("helpdesk.token", "firehose")?;
    let bridge = format!(
        "[[bridge]]\nname = \"{name}\"\nkind = \"http\"\npreset_file = \"{}\"\nurl = \"{}\"\ntoken_file = \"{}\"\n\
         from = \"oldest\"\n{grants}",
        preset.display(),
        fake.url(),
        token.display()
    );
    state.configure(&format!("{source}{bridge}"), &parsed(&CONFIG)?)?;
    let begun = Instant::now();
    let mut daemon = state.start().await?;
    let mut meter = usage::Meter::new(daemon.pid());
    let (mut calls, mut called_at, mut told) = (0, Instant::now(), 0);
    let (status, tickets, took_s) = loop {
        let status = Status::ask(daemon.console()).await.context("console")?;
        let tickets = status.buckets.get("ticketed").copied().unwrap_or(0);
        let (made, called) = fake.counts();
        if called > calls {
            (calls, called_at) = (called, Instant::now());
        }
        let is_up = status.bridges.iter().any(|bridge| bridge.name == name);
        if is_up && made as u64 >= tickets && status.unacknowledged(&format!("bridge-{name}")) == 0 {
            break (status, tickets, begun.elapsed().as_secs_f64());
        }
        if let Some(ended) = daemon.ended() {
            bail!("the daemon ended by itself: {ended}\n{}", daemon.log().read());
        }
        if called_at.elapsed() > PATIENCE {
            bail!("{made} of {tickets} tickets, and no call for {} s: {status:?}", PATIENCE.as_secs());
        }
        if made / 2_000 > told {
            told = made / 2_000;
            progress(&format!("{made} of {tickets} tickets"));
        }
        sleep(LOOK_EVERY).await;
    };
    let usage = meter.read().context("the daemon's processor time")?;
    let of_bridges = usage.thread_cpu_s.iter().filter(|(thread, _)| thread.starts_with("vigie-bridge"));
    let cpu_s = of_bridges.map(|(_, cpu_s)| cpu_s).sum();
    let bridge = status.bridges.into_iter().find(|bridge| bridge.name == name).unwrap_or_default();
    end(daemon).await?;
    Ok(Served { tickets, log: fake.log(), bridge, cpu_s, took_s })
}

async fn end(daemon: super::daemon::Daemon) -> anyhow::Result<()> {
    let ended = daemon.terminate().await?;
    anyhow::ensure!(ended.success(), "the daemon did not end well: {ended}");
    Ok(())
}
