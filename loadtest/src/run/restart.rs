//! `firehose run restart`: how long a daemon with many pending tickets takes from its start to the first of them.
//!
//! A ledger is filled. Then the daemon is ended, with `SIGKILL` and with `SIGTERM` by turns, and started again, each
//! time with the full model and the steady load. A helpdesk tries to connect from the start on; what is measured is
//! the time from starting the process to the first ticket that it gets. In the end the stream ends, and the helpdesk takes
//! all that is left: each ticket of the ledger must have come.

mod outcome;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::daemon::{Daemon, State};
use super::feed::Feed;
use super::figures::{Percentiles, rounded};
use super::filling::{Filled, Full, fill};
use super::scenario::{Departure, Plan};
use super::status::Status;
use super::{HELPDESK, LOOK_EVERY, Progressing, Settings, usage};
use crate::client::proto::{Delivery, delivery::Record};
use crate::client::{Address, Client};
pub use outcome::{RestartOutcome, RestartResult};

/// Tickets in the ledger unless asked otherwise.
const PENDING: u64 = 100_000;
/// Starts after each way to end.
const STARTS: u32 = 5;
/// The figure to be reached by each start.
const FIRST_TICKET_MAX: Duration = Duration::from_secs(2);
/// Between two tries of the helpdesk to connect.
const CONNECT_RETRY: Duration = Duration::from_millis(1);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// Deliveries unanswered at once, as many as a helpdesk takes after each start before it acknowledges all of them.
const WINDOW: u32 = 100;
/// The same for what is left in the end.
const REST_WINDOW: u32 = 1_000;
/// Fills a ledger, and measures the starts. That one takes too long is no error but part of the outcome.
///
/// # Errors
///
/// The ledger cannot be filled, or a daemon does not start or deliver at all.
pub async fn run(settings: &Settings, progress: Progressing<'_>) -> anyhow::Result<RestartOutcome> {
    let plan = Plan::new(settings.scenario, settings.changes);
    let Some(steady) = plan.feeds.first() else { bail!("no network") };
    let started_at = Timestamp::now();
    let pending = settings.pending.unwrap_or(PENDING);
    let filled = fill(settings, &plan, Full::Tickets(pending), progress).await?;
    let Filled { state, mut daemon, tickets, took_s: filled_s, .. } = filled;

    let steady = Feed::serve(steady, Timestamp::now(), plan.duration).await?;
    state.configure(&steady.source(), &[])?;
    let mut desk = Desk::default();
    let mut times_us = [Vec::new(), Vec::new()];
    for n in 0..2 * STARTS {
        let drains = n % 2 == 1;
        if drains {
            let ended = daemon.terminate().await?;
            anyhow::ensure!(ended.success(), "the daemon did not end well: {ended}");
        } else {
            daemon.kill()?;
        }
        progress(&format!("start {} of {}", n + 1, 2 * STARTS));
        let begun = Instant::now();
        daemon = state.spawn()?;
        let first = desk.serve(&state, &mut daemon, begun).await?;
        times_us[usize::from(drains)].push(i64::try_from(first.as_micros()).unwrap_or(i64::MAX));
    }
    daemon.wait_until_running().await?;
    let status = desk.settled(&daemon).await?;
    let [mut after_kill, mut after_drain] = times_us;
    let result = RestartResult {
        scenario: "restart",
        started_at: started_at.to_string(),
        pending: tickets,
        filled_s,
        ledger_mib: rounded(state.ledger_bytes() as f64 / f64::from(1 << 20)),
        after_kill_ms: Percentiles::of(&mut after_kill),
        after_drain_ms: Percentiles::of(&mut after_drain),
        starts: 2 * STARTS,
        taken: desk.confirmed.len() as u64,
        left_pending: status.unacknowledged(HELPDESK),
        violations: Vec::new(),
        rss_max_mib: usage::Meter::new(daemon.pid())
            .read()
            .map_or(0.0, |usage| rounded(usage.rss_bytes_max as f64 / f64::from(1 << 20))),
        state_fs: state.file_system(),
        cpu_model: usage::cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        vigie_version: status.version.clone(),
    };
    progress("taking what is left");
    steady.leave(Departure::Cut).await;
    let status = desk.take_rest(&state, &daemon).await?;
    let ended = daemon.terminate().await?;
    let mut violations = violations(&result, &status, &desk);
    if !ended.success() {
        violations.push(format!("the last daemon did not end well: {ended}"));
    }
    Ok(RestartOutcome { result: RestartResult { violations, ..result } })
}

/// A helpdesk that takes some tickets after each start.
#[derive(Debug, Default)]
struct Desk {
    /// Deliveries whose acknowledgement was answered as durable.
    confirmed: HashSet<u64>,
    /// Deliveries that came although they were among those.
    repeated: u64,
    /// Ids of the tickets that came.
    tickets: HashSet<Vec<u8>>,
}

impl Desk {
    /// Connects as soon as the daemon listens, takes a window full of tickets and acknowledges them; how long after
    /// `begun` the first came.
    async fn serve(
        &mut self,
        state: &State,
        daemon: &mut Daemon,
        begun: Instant,
    ) -> anyhow::Result<Duration> {
        let address = Address::Unix(state.socket());
        let serving = async {
            let mut client = loop {
                match Client::connect(&address, HELPDESK, WINDOW).await {
                    Ok(client) => break client,
                    Err(_) => sleep(CONNECT_RETRY).await,
                }
                if let Some(ended) = daemon.ended() {
                    bail!("the daemon ended by itself: {ended}\n{}", daemon.log().read());
                }
            };
            let first = client.next().await?;
            let took = begun.elapsed();
            let mut seqs = vec![self.note(&first)];
            while seqs.len() < WINDOW as usize {
                seqs.push(self.note(&client.next().await?));
            }
            client.ack(seqs).await?;
            client.settle().await?;
            self.confirmed.extend(client.take_confirmed());
            anyhow::Ok(took)
        };
        timeout(PATIENCE, serving).await.context("no ticket comes")?
    }

    fn note(&mut self, delivery: &Delivery) -> u64 {
        self.repeated += u64::from(self.confirmed.contains(&delivery.seq));
        // Updates are records, too: counted with the tickets they would hide that some are lost.
        if let Some(Record::Ticket(ticket)) = &delivery.record {
            self.tickets.insert(ticket.id.clone());
        }
        delivery.seq
    }

    /// Takes everything, once no more is to come; what the daemon says then.
    async fn take_rest(&mut self, state: &State, daemon: &Daemon) -> anyhow::Result<Status> {
        let mut client = Client::connect(&Address::Unix(state.socket()), HELPDESK, REST_WINDOW).await?;
        let mut unanswered = Vec::new();
        let mut last_at = Instant::now();
        loop {
            if let Ok(delivery) = timeout(LOOK_EVERY, client.next()).await {
                unanswered.push(self.note(&delivery?));
                last_at = Instant::now();
                if unanswered.len() < REST_WINDOW as usize / 2 {
                    continue;
                }
            }
            self.confirmed.extend(client.take_confirmed());
            if !unanswered.is_empty() {
                client.ack(std::mem::take(&mut unanswered)).await?;
                continue;
            }
            let status = Status::ask(daemon.console()).await.context("console")?;
            let waiting = status.unacknowledged(HELPDESK) + status.queue_batches + status.queue_candidates;
            if waiting == 0 || last_at.elapsed() > PATIENCE {
                return Ok(status);
            }
        }
    }

    /// What the daemon says once the helpdesk's connection is gone from its books.
    async fn settled(&self, daemon: &Daemon) -> anyhow::Result<Status> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = Status::ask(daemon.console()).await.context("console")?;
            let in_flight = status.subscriptions.iter().any(|subscription| subscription.in_flight > 0);
            if !in_flight || Instant::now() > deadline {
                return Ok(status);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// What does not add up, and which figure is not reached.
fn violations(result: &RestartResult, status: &Status, desk: &Desk) -> Vec<String> {
    let mut violations = Vec::new();
    if desk.repeated > 0 {
        violations.push(format!("{} deliveries came again after their acknowledgement", desk.repeated));
    }
    let tickets = status.buckets.get("ticketed").copied().unwrap_or(0);
    let taken = desk.tickets.len() as u64;
    if taken != tickets {
        violations.push(format!("{tickets} tickets in the ledger, and {taken} came"));
    }
    let pending = status.unacknowledged(HELPDESK);
    if pending > 0 {
        violations.push(format!("{pending} records wait and do not come"));
    }
    for (way, times) in [("SIGKILL", result.after_kill_ms), ("SIGTERM", result.after_drain_ms)] {
        let limit_ms = FIRST_TICKET_MAX.as_secs_f64() * 1e3;
        if times.max > limit_ms {
            violations
                .push(format!("{} ms to the first ticket after {way}, more than {limit_ms}", times.max));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proto::{Ticket, Update};
    use crate::run::status::Subscription;

    fn ticket(seq: u64) -> Delivery {
        let ticket = Ticket { id: vec![seq as u8; 16], ..Ticket::default() };
        Delivery { seq, record: Some(Record::Ticket(ticket)), ..Delivery::default() }
    }

    /// Ten tickets, of which all were taken.
    fn sound() -> (RestartResult, Status, Desk) {
        let helpdesk = Subscription { name: HELPDESK.to_owned(), ..Subscription::default() };
        let status = Status {
            buckets: [("ticketed".to_owned(), 10)].into(),
            subscriptions: vec![helpdesk],
            ..Status::default()
        };
        let mut desk = Desk::default();
        for seq in 1..=10 {
            desk.note(&ticket(seq));
        }
        desk.confirmed = [1, 2].into();
        (RestartResult::default(), status, desk)
    }

    #[test]
    fn what_is_lost_repeated_or_slow_is_seen() {
        let check = |change: &dyn Fn(&mut RestartResult, &mut Status, &mut Desk), expected: &str| {
            let (mut result, mut status, mut desk) = sound();
            change(&mut result, &mut status, &mut desk);
            let violations = violations(&result, &status, &desk).join("; ");
            assert!(
                violations.contains(expected) && violations.is_empty() == expected.is_empty(),
                "{violations}"
            );
        };
        check(&|_, _, _| (), "");
        check(&|_, status, _| status.subscriptions[0].pending = 7, "7 records wait");
        // The updates that came are not taken for the two tickets that did not.
        let updated = |_: &mut RestartResult, status: &mut Status, desk: &mut Desk| {
            status.buckets.insert("ticketed".to_owned(), 12);
            for seq in 11..=15 {
                desk.note(&Delivery {
                    seq,
                    record: Some(Record::Update(Update::default())),
                    ..Delivery::default()
                });
            }
        };
        check(&updated, "12 tickets in the ledger, and 10 came");
        check(&|_, _, desk| desk.repeated = 1, "1 deliveries came again");
        check(&|result, _, _| result.after_kill_ms.max = 2_001.0, "after SIGKILL");
        check(&|result, _, _| result.after_drain_ms.max = 2_001.0, "after SIGTERM");
        let (.., mut desk) = sound();
        assert_eq!((desk.note(&ticket(2)), desk.note(&ticket(3)), desk.repeated), (2, 3, 1));
    }
}
