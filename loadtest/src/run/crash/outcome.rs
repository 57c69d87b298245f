//! What a run of kills came to: for programs as JSON, for people as a summary.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::run::conservation::Balance;
use crate::run::figures::Percentiles;
use crate::run::outcome::grouped;

/// A run's result. The names are part of the command's interface.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CrashResult {
    /// `crash`.
    pub scenario: &'static str,
    /// Gives the same posts and the same plan of kills again.
    pub seed: u64,
    /// When the stream began, RFC 3339.
    pub started_at: String,
    /// From there to the last kill, seconds.
    pub duration_s: f64,
    /// Daemons killed with `SIGKILL`.
    pub kills: u64,
    /// The same by what they were doing.
    pub phases: BTreeMap<&'static str, u64>,
    /// Daemons that were to be killed while they drained and were done before.
    pub drained: u64,
    /// Kills whose moment did not come in time; the daemon was killed all the same.
    pub missed: u64,
    /// Daemons started.
    pub starts: u64,
    /// From the start of a daemon's process to the first ticket or update that it delivered, milliseconds; of those
    /// that lived so long. A helpdesk that had everything waits for the next ticket of the stream.
    pub first_delivery_ms: Percentiles,
    /// How many lived so long.
    pub first_deliveries: u64,
    /// Tickets, and what does not add up.
    #[serde(flatten)]
    pub balance: Balance,
    /// Updates that tell of posts erased and edited by their authors.
    pub changes: u64,
    /// Those that ought to have come and did not, or that came more than once.
    pub changes_wrong: u64,
    /// Deliveries that came again because their acknowledgement had not been confirmed.
    pub redelivered: u64,
    /// Connections of the helpdesk after its first.
    pub helpdesk_reconnects: u64,
    /// Distinct events of the stream.
    pub offered_posts: u64,
    /// Frames that the server wrote, repeated ones included.
    pub frames_written: u64,
    /// Frames in the ledger's buckets.
    pub frames_received: u64,
    /// Where they ended.
    pub buckets: BTreeMap<String, u64>,
    /// Files in the daemon's folder at the end that are neither its ledger nor firehose's own.
    pub left_behind: Vec<String>,
    /// Tickets that are missing or came again, at most so many as help to find out why.
    pub suspects: Vec<String>,
    /// The type of the file system that the ledger was on.
    pub state_fs: String,
    /// The processor.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The daemon's version.
    pub vigie_version: String,
}

/// A run's result, and where the daemon's folder was left, if anything does not add up or it was asked for.
#[derive(Debug, Clone, Default)]
pub struct CrashOutcome {
    /// The result.
    pub result: CrashResult,
    /// The daemon's folder, with its ledger, its config and the logs of all starts.
    pub kept: Option<PathBuf>,
}

impl CrashOutcome {
    /// Whether everything adds up.
    pub fn is_sound(&self) -> bool {
        self.result.balance.violations.is_empty()
    }
}

impl fmt::Display for CrashOutcome {
    /// The summary for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = &self.result;
        let balance = &result.balance;
        let CrashResult { kills, drained, missed, starts, .. } = result;
        writeln!(f, "crash: the daemon is killed at random moments and started again; seed {}", result.seed)?;
        writeln!(
            f,
            "  kills       {kills:>12}     in {} s; {starts} starts, {drained} drained before the kill, {missed} moments missed",
            result.duration_s
        )?;
        let phases: Vec<String> =
            result.phases.iter().map(|(name, kills)| format!("{name} {kills}")).collect();
        writeln!(f, "  killed in   {}", phases.join(", "))?;
        let first = result.first_delivery_ms;
        writeln!(
            f,
            "  back after  {:>12} ms  median to the first delivery; {} ms for 99 %, {} ms at most, of {}",
            first.p50, first.p99, first.max, result.first_deliveries
        )?;
        let expected = balance.tickets_expected.map_or("not known".to_owned(), grouped);
        writeln!(
            f,
            "  tickets     {:>12}     expected {expected}; {} missing, {} unexpected, {} twice",
            grouped(balance.tickets_received),
            balance.missing,
            balance.unexpected,
            balance.duplicates
        )?;
        writeln!(
            f,
            "  updates     {:>12}     of erased and edited posts; {} missing or twice",
            grouped(result.changes),
            result.changes_wrong
        )?;
        writeln!(
            f,
            "  helpdesk    {:>12}     connections more; {} deliveries came again, none of them acknowledged before",
            grouped(result.helpdesk_reconnects),
            grouped(result.redelivered)
        )?;
        writeln!(
            f,
            "  frames      {:>12}     of {} posts in the buckets, {} of them repeated",
            grouped(result.frames_received),
            grouped(result.offered_posts),
            grouped(balance.frames_repeated)
        )?;
        if !result.left_behind.is_empty() {
            writeln!(f, "  left behind {}", result.left_behind.join(", "))?;
        }
        match self.is_sound() {
            true => writeln!(f, "  conserved   yes")?,
            false => writeln!(f, "  conserved   NO, with --seed {}:", result.seed)?,
        }
        for wrong in balance.violations.iter().chain(&result.suspects) {
            writeln!(f, "    - {wrong}")?;
        }
        if let Some(folder) = &self.kept {
            writeln!(f, "  kept        {}", folder.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_run_says_its_seed_what_is_wrong_and_where_to_look() {
        let mut outcome = CrashOutcome::default();
        outcome.result.seed = 4711;
        assert!(outcome.to_string().contains("conserved   yes"));
        outcome.result.balance.violations.push("1 tickets are missing".to_owned());
        outcome.result.suspects.push("missing: at://x".to_owned());
        outcome.kept = Some(PathBuf::from("/tmp/kept"));
        let text = outcome.to_string();
        for part in ["--seed 4711", "- 1 tickets are missing", "- missing: at://x", "/tmp/kept"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!outcome.is_sound());
    }
}
