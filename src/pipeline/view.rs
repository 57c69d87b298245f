//! What can be seen of a running daemon: the status, and which stages are stuck.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::lane::Waiting;
use super::model::Verdicts;
use super::reload::Reloads;
use crate::console;
use crate::console::service::{ServiceStatus, StageStatus};
use crate::ledger::Handle;
use crate::ledger::outbox::{self, Outbox};
use crate::source::{Backlog, Health};
use crate::telemetry::process::Process;
use crate::telemetry::pulse::{Pulses, Stuck};
use crate::wire::Gates;
use crate::wire::bridges::Bridges;

/// A thread that is at one piece of work for longer is stuck, unless the watchdog says otherwise. Legitimate pieces
/// end within seconds: a model call, a commit with its fsync on a busy disk, the opening of a subscription with a
/// long backlog.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What can be seen of a running daemon from outside its path.
#[derive(Debug)]
pub struct View {
    pub(super) started: Instant,
    pub(super) started_at: Timestamp,
    pub(super) pulses: Pulses,
    pub(super) stuck_after: OnceLock<Duration>,
    /// Set once, relaxed: for people and load balancers.
    pub(super) draining: AtomicBool,
    pub(super) reloads: Arc<Reloads>,
    pub(super) queue_candidates_max: NonZeroUsize,
    pub(super) model: String,
    pub(super) runtime: String,
    pub(super) healths: Vec<(Arc<str>, &'static str, Arc<Health>)>,
    pub(super) ledger: Handle,
    pub(super) outbox: Arc<Mutex<Outbox>>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) verdicts: Arc<Verdicts>,
    pub(super) backlog: Backlog,
    pub(super) gates: Gates,
    pub(super) bridges: Arc<Bridges>,
}

impl View {
    /// Lets a stage count as stuck after another time than half a minute. The first caller decides.
    pub fn stuck_after(&self, limit: Duration) {
        self.stuck_after.get_or_init(|| limit);
    }

    /// The stages that have been at one piece of work for too long: a restart is better than waiting for them.
    pub fn stuck(&self) -> Vec<Stuck> {
        self.pulses.stuck(self.stuck_limit())
    }

    fn stuck_limit(&self) -> Duration {
        self.stuck_after.get().copied().unwrap_or(STUCK_AFTER)
    }

    fn service(&self) -> ServiceStatus {
        let stages = self.pulses.read().map(|(name, busy_for)| StageStatus {
            name: name.to_string(),
            busy_ms: busy_for.map(milliseconds),
        });
        let vitals = self.ledger.vitals();
        ServiceStatus {
            started_at_us: self.started_at.as_microsecond(),
            draining: self.draining.load(Ordering::Relaxed),
            stages: stages.collect(),
            stuck_after_ms: milliseconds(self.stuck_limit()),
            committed_at_us: vitals.committed_at_us(),
            commits: vitals.commits.read(),
            reloads_applied: self.reloads.applied(),
            reloads_refused: self.reloads.refused(),
            reloaded_at_us: self.reloads.applied_at_us(),
            last_reload_refused: self.reloads.is_last_refused(),
            queue_batches_max: self.backlog.batches_max().get(),
            queue_candidates_max: self.queue_candidates_max.get(),
            process: Process::read(),
        }
    }

    /// The status now.
    pub fn status(&self) -> console::Status {
        let now = Timestamp::now();
        let accounting = self.ledger.accounting();
        let clients = self.gates.counts();
        let sources = self
            .healths
            .iter()
            .map(|(name, kind, health)| {
                let health = health.read();
                let account = accounting.sources.get(name).cloned().unwrap_or_default();
                // Only Jetstream's positions are times.
                console::SourceStatus::new(name, kind, health, &account, *kind == "jetstream", now)
            })
            .collect();
        let subscriptions: Vec<_> = self
            .outbox
            .lock()
            .counts()
            // One without a name goes with its connection: a series of its own for each would never end.
            .filter(|counts| !outbox::is_unnamed(&counts.name))
            .map(|counts| console::SubscriptionStatus {
                name: counts.name,
                pending: counts.pending,
                in_flight: counts.in_flight,
                deferred: counts.deferred,
                acknowledged: counts.acknowledged,
            })
            .collect();
        let bridges = self.bridges.all(Instant::now()).into_iter().map(|said| {
            let counts = subscriptions.iter().find(|counts| counts.name == said.subscription);
            let waiting = counts.map_or(0, |counts| counts.pending + counts.in_flight + counts.deferred);
            console::BridgeStatus::new(said, waiting)
        });
        let bridges = bridges.collect();
        console::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_us: now.as_microsecond(),
            uptime_s: self.started.elapsed().as_secs(),
            model: self.model.clone(),
            runtime: self.runtime.clone(),
            sources,
            received: accounting.total().received(),
            buckets: console::named(&accounting.total()),
            queue_batches: self.backlog.batches(),
            queue_candidates: self.waiting.candidates(),
            verdicts_full: self.verdicts.full(),
            verdicts_quick: self.verdicts.quick(),
            tickets_provisional: self.ledger.provisional_tickets(),
            ledger: self.ledger.figures().into(),
            connections: clients.connections,
            strangers: clients.strangers,
            connections_refused: clients.crowded,
            tokens_refused: clients.wrong_tokens,
            subscriptions,
            bridges,
            service: self.service(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
