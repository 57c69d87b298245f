//! What operators see of the service itself: whether its threads make progress, its commits, reloads and limits,
//! and what the process uses.

use serde::{Deserialize, Serialize};

use crate::telemetry::Exposition;
use crate::telemetry::histogram::Durations;
use crate::telemetry::process::Process;

/// The stage whose piece of work is a commit.
pub const LEDGER_STAGE: &str = "vigie-ledger";

/// Longest commit during which the ledger still counts as writable, ms: an fsync on a busy disk takes tens of ms,
/// and while it lasts nothing that is received gets durable.
const COMMIT_READY_MS_MAX: u64 = 10_000;

/// The service as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// When the daemon started, µs since 1970.
    pub started_at_us: i64,
    /// Has been told to end.
    pub draining: bool,
    /// Every thread that must make progress.
    pub stages: Vec<StageStatus>,
    /// A stage that has been at one piece of work for longer is stuck, ms: what the watchdog goes by too.
    pub stuck_after_ms: u64,
    /// When the last commit succeeded, µs since 1970; `None` before the first.
    pub committed_at_us: Option<i64>,
    /// How long commits took.
    pub commits: Durations,
    /// Reloads since the start that were applied.
    pub reloads_applied: u64,
    /// Those that were refused, and changed nothing.
    pub reloads_refused: u64,
    /// When the last one was applied, µs since 1970; `None` before the first.
    pub reloaded_at_us: Option<i64>,
    /// Whether the last one was refused: what runs is not the file on disk.
    pub last_reload_refused: bool,
    /// Frame batches that may wait for a lane.
    pub queue_batches_max: usize,
    /// Candidates that may wait for the model.
    pub queue_candidates_max: usize,
    /// What the process uses; `None` where there is no `/proc`.
    pub process: Option<Process>,
}

/// One thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// As `top -H` shows it.
    pub name: String,
    /// How long it has been at its present piece of work; `None` while it waits for one.
    pub busy_ms: Option<u64>,
}

impl ServiceStatus {
    /// Which stage is stuck, if one is: the daemon does not work any more, and its watchdog starves.
    pub fn stuck(&self) -> Option<String> {
        let stuck =
            self.stages.iter().find(|stage| stage.busy_ms.is_some_and(|ms| ms > self.stuck_after_ms))?;
        let seconds = stuck.busy_ms.unwrap_or_default() / 1000;
        Some(format!("{} has been at one piece of work for {seconds} s", stuck.name))
    }

    /// Why the service is not ready, one reason each.
    pub(super) fn unready(&self) -> impl Iterator<Item = String> + '_ {
        let draining = self.draining.then(|| "draining".to_owned());
        let stuck = self.stuck();
        // An idle daemon commits nothing, so that the age of its last commit says nothing; a commit that does not
        // come to an end does. One that fails ends the daemon.
        let commit_ms = self
            .stages
            .iter()
            .find(|stage| stage.name == LEDGER_STAGE)
            .and_then(|stage| stage.busy_ms)
            .filter(|ms| stuck.is_none() && *ms > COMMIT_READY_MS_MAX);
        let ledger = commit_ms.map(|ms| format!("ledger: one commit has taken {} s so far", ms / 1000));
        draining.into_iter().chain(stuck).chain(ledger)
    }

    /// What an operator should know, one sentence each: why it is not ready, and what runs instead of the file on
    /// disk.
    pub fn troubles(&self) -> impl Iterator<Item = String> + '_ {
        let refused = "the last reload was refused: the config before it runs";
        self.unready().chain(self.last_reload_refused.then(|| refused.to_owned()))
    }

    /// Adds the service's metrics.
    pub(super) fn expose(&self, page: &mut Exposition) {
        let seconds = |us: i64| us as f64 / 1e6;
        page.family("vigie_draining", "gauge", "1 once the daemon has been told to end.");
        page.sample(&[], f64::from(u8::from(self.draining)));
        page.family(
            "vigie_stage_busy_seconds",
            "gauge",
            "How long the thread has been at its present piece of work; 0 while it waits for one.",
        );
        for stage in &self.stages {
            page.sample(&[("stage", &stage.name)], stage.busy_ms.unwrap_or_default() as f64 / 1000.0);
        }
        page.family(
            "vigie_stage_stuck_after_seconds",
            "gauge",
            "A stage that is at one piece of work for longer starves the watchdog and fails /healthz.",
        );
        page.sample(&[], self.stuck_after_ms as f64 / 1000.0);
        page.family(
            "vigie_ledger_commit_seconds",
            "histogram",
            "How long commits took, their fsync included.",
        );
        page.histogram(&[], &self.commits);
        page.family("vigie_ledger_last_commit_timestamp_seconds", "gauge", "When the last commit succeeded.");
        self.committed_at_us.iter().for_each(|at_us| page.sample(&[], seconds(*at_us)));
        page.family("vigie_config_reloads_total", "counter", "Reloads since the start, by outcome.");
        page.sample(&[("outcome", "applied")], self.reloads_applied as f64);
        page.sample(&[("outcome", "refused")], self.reloads_refused as f64);
        page.family(
            "vigie_config_last_reload_successful",
            "gauge",
            "0 where the last reload was refused: what runs is not the file on disk.",
        );
        page.sample(&[], f64::from(u8::from(!self.last_reload_refused)));
        page.family(
            "vigie_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When the config that runs was read.",
        );
        page.sample(&[], seconds(self.reloaded_at_us.unwrap_or(self.started_at_us)));
        page.family("vigie_queue_batches_limit", "gauge", "Frame batches that may wait for a lane.");
        page.sample(&[], self.queue_batches_max as f64);
        page.family(
            "vigie_queue_candidates_limit",
            "gauge",
            "Candidates that may wait for the model; beyond it the least valuable are shed.",
        );
        page.sample(&[], self.queue_candidates_max as f64);
        page.family("process_start_time_seconds", "gauge", "When the daemon started, seconds since 1970.");
        page.sample(&[], seconds(self.started_at_us));
        let Some(process) = &self.process else { return };
        page.family("process_cpu_seconds_total", "counter", "Processor time of all threads.");
        page.sample(&[], process.cpu_seconds);
        page.family("process_resident_memory_bytes", "gauge", "Memory in use.");
        page.sample(&[], process.resident_bytes as f64);
        page.family("process_virtual_memory_bytes", "gauge", "Address space.");
        page.sample(&[], process.virtual_bytes as f64);
        page.family("process_threads", "gauge", "Threads.");
        page.sample(&[], process.threads as f64);
        page.family("process_open_fds", "gauge", "File descriptors that are open.");
        page.sample(&[], process.open_fds as f64);
        page.family("process_max_fds", "gauge", "File descriptors that may be open.");
        process.max_fds.iter().for_each(|max| page.sample(&[], *max as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(busy: &[(&str, Option<u64>)]) -> ServiceStatus {
        let stages =
            busy.iter().map(|(name, busy_ms)| StageStatus { name: (*name).to_owned(), busy_ms: *busy_ms });
        ServiceStatus { stages: stages.collect(), stuck_after_ms: 30_000, ..ServiceStatus::default() }
    }

    #[test]
    fn a_service_is_alive_while_no_stage_is_at_one_piece_of_work_for_too_long() {
        let check = |busy_ms, expected: Option<&str>| {
            let status = status(&[("vigie-desk", None), ("vigie-lane-0", busy_ms)]);
            assert_eq!(status.stuck().as_deref(), expected);
        };
        check(None, None);
        check(Some(30_000), None);
        check(Some(31_500), Some("vigie-lane-0 has been at one piece of work for 31 s"));
    }

    #[test]
    fn a_service_is_ready_while_it_can_commit_and_is_not_told_to_end() {
        let reasons = |status: &ServiceStatus| status.unready().collect::<Vec<_>>();
        assert_eq!(reasons(&status(&[(LEDGER_STAGE, Some(10_000)), ("vigie-model", Some(20_000))])), [""; 0]);
        let stalled = status(&[(LEDGER_STAGE, Some(10_001))]);
        assert_eq!(reasons(&stalled), ["ledger: one commit has taken 10 s so far"]);
        let stuck = status(&[(LEDGER_STAGE, Some(40_000))]);
        assert_eq!(reasons(&stuck), ["vigie-ledger has been at one piece of work for 40 s"]);
        let draining = ServiceStatus { draining: true, ..status(&[]) };
        assert_eq!(reasons(&draining), ["draining"]);
        // Whoever runs with the config before is ready.
        let refused = ServiceStatus { last_reload_refused: true, ..status(&[]) };
        assert_eq!(reasons(&refused), [""; 0]);
        assert_eq!(refused.troubles().count(), 1);
    }

    #[test]
    fn commits_are_shown_as_a_cumulative_histogram_in_seconds() {
        let mut page = Exposition::default();
        let commits = Durations { counts: vec![3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], sum_us: 40_000_500 };
        ServiceStatus { commits, ..ServiceStatus::default() }.expose(&mut page);
        let page = page.into_text();
        for expected in [
            "vigie_ledger_commit_seconds_bucket{le=\"0.001\"} 3\n",
            "vigie_ledger_commit_seconds_bucket{le=\"0.005\"} 5\n",
            "vigie_ledger_commit_seconds_bucket{le=\"30\"} 5\n",
            "vigie_ledger_commit_seconds_bucket{le=\"+Inf\"} 6\n",
            "vigie_ledger_commit_seconds_sum 40.0005\nvigie_ledger_commit_seconds_count 6\n",
        ] {
            assert!(page.contains(expected), "{expected:?} is missing in\n{page}");
        }
    }
}
