//! How the ledger's thread is, for the watchdog and the console.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use jiff::Timestamp;

use crate::telemetry::histogram::Histogram;
use crate::telemetry::pulse::Pulse;

/// Written by the ledger's thread, read by anyone.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Whether it is at a commit, and since when.
    pub pulse: Arc<Pulse>,
    /// How long the commits took: the transaction with its fsync.
    pub commits: Histogram,
    /// End of the last one, µs since 1970; 0 before the first. Relaxed: a number for people.
    committed_at_us: AtomicI64,
}

impl Vitals {
    /// When the last commit succeeded, µs since 1970; `None` before the first of this run.
    pub fn committed_at_us(&self) -> Option<i64> {
        Some(self.committed_at_us.load(Ordering::Relaxed)).filter(|at_us| *at_us != 0)
    }

    /// A commit that began then is durable.
    pub(super) fn committed(&self, began: Instant) {
        self.commits.record(began.elapsed());
        self.committed_at_us.store(Timestamp::now().as_microsecond(), Ordering::Relaxed);
    }
}
