//! What the starts came to: for programs as JSON, for people as a summary.

use std::fmt;

use serde::Serialize;

use crate::run::figures::Percentiles;
use crate::run::outcome::grouped;

/// A run's result. The names are part of the command's interface.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestartResult {
    /// `restart`.
    pub scenario: &'static str,
    /// When the run began, RFC 3339.
    pub started_at: String,
    /// Tickets in the ledger before the first start, all of them pending.
    pub pending: u64,
    /// How long it took to fill it, seconds.
    pub filled_s: f64,
    /// The ledger and its write-ahead log at the end.
    pub ledger_mib: f64,
    /// Starts that were measured, half of them after each way to end.
    pub starts: u32,
    /// From the start of the process to the first ticket at the helpdesk, after `SIGKILL`; milliseconds.
    pub after_kill_ms: Percentiles,
    /// The same after `SIGTERM` and a drain.
    pub after_drain_ms: Percentiles,
    /// Records that the helpdesk took and acknowledged after the starts.
    pub taken: u64,
    /// Records that were pending after the last start; they are taken then, and counted.
    pub left_pending: u64,
    /// Most resident memory of the last daemon, MiB.
    pub rss_max_mib: f64,
    /// What does not add up, and which figure is not reached, in words.
    pub violations: Vec<String>,
    /// The type of the file system that the ledger was on.
    pub state_fs: String,
    /// The processor.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The daemon's version.
    pub vigie_version: String,
}

/// A run's result.
#[derive(Debug, Clone, Default)]
pub struct RestartOutcome {
    /// The result.
    pub result: RestartResult,
}

impl RestartOutcome {
    /// Whether everything adds up, fast enough.
    pub fn is_sound(&self) -> bool {
        self.result.violations.is_empty()
    }
}

impl fmt::Display for RestartOutcome {
    /// The summary for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = &self.result;
        writeln!(f, "restart: a daemon with many pending tickets is ended, each way, and started again")?;
        writeln!(
            f,
            "  pending     {:>12}     tickets, made in {} s; a ledger of {} MiB",
            grouped(result.pending),
            result.filled_s,
            result.ledger_mib
        )?;
        for (way, times) in [("killed", result.after_kill_ms), ("drained", result.after_drain_ms)] {
            writeln!(
                f,
                "  {way:<11} {:>12} ms  from the start to the first ticket, median; {} ms at most",
                times.p50, times.max
            )?;
        }
        writeln!(
            f,
            "  helpdesk    {:>12}     taken, {} left pending; the daemon took {} MiB at most",
            grouped(result.taken),
            grouped(result.left_pending),
            result.rss_max_mib
        )?;
        if self.is_sound() {
            return writeln!(f, "  conserved   yes");
        }
        writeln!(f, "  conserved   NO:")?;
        result.violations.iter().try_for_each(|violation| writeln!(f, "    - {violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_is_wrong() {
        let mut outcome = RestartOutcome::default();
        assert!(outcome.to_string().contains("conserved   yes"));
        outcome.result.violations.push("3,000 ms to the first ticket".to_owned());
        assert!(outcome.to_string().contains("NO:\n    - 3,000 ms") && !outcome.is_sound());
    }
}
