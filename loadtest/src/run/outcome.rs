//! What a run gave: for programs as JSON, for people as a summary.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::conservation::Balance;
use super::crowd::CrowdResult;
use super::figures::Percentiles;
use super::growth::Growth;
use super::watch::Sample;

/// Lines of the daemon's log that are shown when something does not add up.
const LOG_TAIL_LINES: usize = 20;

/// A run's result. The names are part of the command's interface.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunResult {
    /// The scenario's name.
    pub scenario: String,
    /// When the stream began, RFC 3339.
    pub started_at: String,
    /// Length of the stream, seconds.
    pub duration_s: f64,
    /// Distinct events that fell due, all networks together.
    pub offered_posts: u64,
    /// The same a second. In an unlimited rate: what was handed over.
    pub offered_posts_per_s: f64,
    /// Posts a second that the daemon accounted for durably, while the stream ran; without its first tenth, and
    /// without the part that frames asked for again have in the whole.
    pub achieved_posts_per_s: f64,
    /// Whether that is more than was offered meanwhile: what had been held up was caught up with.
    pub catching_up: bool,
    /// Tickets, and what does not add up.
    #[serde(flatten)]
    pub balance: Balance,
    /// From the scheduled instant of the post to its ticket at the client, milliseconds. In an unlimited rate
    /// from when it was handed over, to 5 ms.
    pub latency_ms: Percentiles,
    /// From the first report of an outage to the first ticket of one, milliseconds; absent without an outage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ticket_ms: Option<f64>,
    /// CPU time of the daemon for a million posts, seconds, from the stream's start until all were accounted for;
    /// frames that were asked for again are no posts.
    pub cpu_s_per_million_posts: f64,
    /// CPU time of the daemon after that, seconds: what the small model decided is scored again.
    pub cpu_s_rescoring: f64,
    /// CPU of the daemon while the stream ran, as a share of one core.
    pub cpu_share: f64,
    /// The same by thread.
    pub cpu_share_by_thread: BTreeMap<String, f64>,
    /// CPU of firehose itself while the stream ran, as a share of one core: what the daemon had to share the machine
    /// with.
    pub firehose_cpu_share: f64,
    /// CPU of everything else on the machine meanwhile, as a share of one core: in a quiet run next to nothing.
    pub others_cpu_share: f64,
    /// CPU that the machine wanted meanwhile and its host gave to others, as a share of one core.
    pub stolen_cpu_share: f64,
    /// Most resident memory of the daemon since its start, MiB.
    pub rss_max_mib: f64,
    /// Where the frames ended, as the daemon says.
    pub buckets: BTreeMap<String, u64>,
    /// Frames that the servers wrote, repeated ones included.
    pub frames_written: u64,
    /// Frames that the daemon received, repeated ones included: the sum of the buckets.
    pub frames_received: u64,
    /// Updates of tickets that came.
    pub updates: u64,
    /// Updates that told a new verdict.
    pub rescored: u64,
    /// Tickets that only the small model had read when the run ended.
    pub provisional: u64,
    /// Deliveries that came again because their acknowledgement had not been confirmed.
    pub redelivered: u64,
    /// Connections to servers that the daemon made again.
    pub connections_lost: u64,
    /// Connections of the helpdesk after its first.
    pub helpdesk_reconnects: u64,
    /// Tickets that a slow helpdesk took while the stream ran, and records that it left pending in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_helpdesk: Option<SlowHelpdesk>,
    /// What a crowd of idle clients cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crowd: Option<CrowdResult>,
    /// What a long run came to need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// How long after the stream's end everything was settled, seconds.
    pub settled_after_s: f64,
    /// What conservation was checked against: `replay`, or `counts` with `--no-replay`.
    pub checked_against: &'static str,
    /// Candidates of the mentions, and of the distinct background frames, which must have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<ReplayedCounts>,
    /// The type of the file system that the daemon's ledger was on: in memory, as `tmpfs`, durability costs nothing.
    pub state_fs: String,
    /// The processor.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// What ran the daemon's model.
    pub runtime: String,
    /// The daemon's model.
    pub model: String,
    /// The daemon's version.
    pub vigie_version: String,
}

/// What a slow helpdesk did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SlowHelpdesk {
    /// Tickets it took.
    pub taken: u64,
    /// Records pending when it left; all of them came afterwards.
    pub pending: u64,
    /// Tickets that were sent although one that mattered more was pending.
    pub out_of_turn: u64,
}

/// What was fed to `vigie replay`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ReplayedCounts {
    /// Frames of mentions.
    pub mentions: u64,
    /// Distinct background frames.
    pub background: u64,
    /// Candidates among the background frames.
    pub background_candidates: u64,
}

/// A run's result and what its report shows beside it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The result.
    pub result: RunResult,
    /// The scenario in a sentence.
    pub description: &'static str,
    /// The daemon's log.
    pub log: String,
    /// The daemon's config.
    pub config: String,
    /// Everything that was looked at, in order.
    pub(super) samples: Vec<Sample>,
    /// Latencies: when the post was scheduled, and how long it took; microseconds, sorted by the first.
    pub(super) latencies: Vec<(i64, i64)>,
    /// When the stream began, microseconds since 1970.
    pub(super) start_us: i64,
    /// What broke when, seconds since the start.
    pub(super) marks: Vec<(f64, &'static str)>,
}

impl Outcome {
    /// Whether everything adds up.
    pub fn is_sound(&self) -> bool {
        self.result.balance.violations.is_empty()
    }

    /// The last lines of the daemon's log.
    pub(super) fn log_tail(&self) -> impl Iterator<Item = &str> {
        let lines = self.log.lines().count();
        self.log.lines().skip(lines.saturating_sub(LOG_TAIL_LINES))
    }
}

impl fmt::Display for Outcome {
    /// The summary for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = &self.result;
        let Balance { missing, unexpected, duplicates, small_model, shed, .. } = result.balance;
        writeln!(f, "{}: {}", result.scenario, self.description)?;
        writeln!(
            f,
            "  offered     {:>12}/s   achieved {}/s{}, for {} s",
            grouped(result.offered_posts_per_s as u64),
            grouped(result.achieved_posts_per_s as u64),
            if result.catching_up { " as it caught up" } else { "" },
            result.duration_s
        )?;
        let expected = result.balance.tickets_expected.map_or("not known".to_owned(), grouped);
        writeln!(
            f,
            "  tickets     {:>12}     expected {expected}; {missing} missing, {unexpected} unexpected, {duplicates} twice",
            grouped(result.balance.tickets_received)
        )?;
        writeln!(
            f,
            "  overload    {:>12}     decided by the small model; {} rescored, {} provisional, {} shed",
            grouped(small_model),
            grouped(result.rescored),
            grouped(result.provisional),
            grouped(shed)
        )?;
        let latency = result.latency_ms;
        writeln!(
            f,
            "  latency     {:>12} ms  median; {} ms for 99 %, {} ms for 99.9 %",
            latency.p50, latency.p99, latency.p999
        )?;
        if let Some(first_ms) = result.first_ticket_ms {
            writeln!(f, "  first       {first_ms:>12} ms  from the first report to the first ticket")?;
        }
        if let Some(SlowHelpdesk { taken, pending, out_of_turn }) = result.slow_helpdesk {
            writeln!(
                f,
                "  slow desk   {taken:>12}     taken, {out_of_turn} out of turn; {pending} left pending"
            )?;
        }
        if let Some(CrowdResult { came, stayed, rss_before_mib, rss_after_mib, connection_kib, .. }) =
            result.crowd
        {
            writeln!(
                f,
                "  crowd       {came:>12}     idle clients came, {stayed} stayed; {rss_before_mib} MiB before, {rss_after_mib} MiB with them, {connection_kib} KiB each"
            )?;
        }
        if let Some(growth) = &result.growth {
            writeln!(
                f,
                "  growth      {:>12} %   of memory after the warm-up, {} MiB an hour; descriptors {:?}, threads {:?}, log MiB {:?}",
                (growth.rss_growth * 1_000.0).round() / 10.0,
                growth.rss_mib_per_hour,
                growth.descriptors,
                growth.threads,
                growth.wal_mib_max
            )?;
        }
        writeln!(
            f,
            "  daemon      {:>12} %   of one core, {} CPU s for a million posts, {} MiB at most",
            (result.cpu_share * 1_000.0).round() / 10.0,
            result.cpu_s_per_million_posts,
            result.rss_max_mib
        )?;
        let percent = |share: f64| (share * 1_000.0).round() / 10.0;
        writeln!(
            f,
            "  machine     {:>12} %   of one core for firehose, {} % for others, {} % stolen by the host",
            percent(result.firehose_cpu_share),
            percent(result.others_cpu_share),
            percent(result.stolen_cpu_share)
        )?;
        let buckets: Vec<String> = result
            .buckets
            .iter()
            .filter(|(_, frames)| **frames > 0)
            .map(|(bucket, frames)| format!("{bucket} {}", grouped(*frames)))
            .collect();
        writeln!(f, "  buckets     {}", buckets.join(", "))?;
        let against = match result.checked_against {
            "replay" => "frames by count, tickets against vigie replay",
            _ => "by counts only: tickets were not compared with vigie replay",
        };
        if self.is_sound() {
            return writeln!(f, "  conserved   yes: {against}");
        }
        writeln!(f, "  conserved   NO ({against})")?;
        result.balance.violations.iter().try_for_each(|violation| writeln!(f, "    - {violation}"))?;
        writeln!(f, "  the end of the daemon's log:")?;
        self.log_tail().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_the_fields_that_others_read() {
        let result = serde_json::to_value(RunResult::default()).unwrap();
        for field in [
            "offered_posts_per_s",
            "achieved_posts_per_s",
            "tickets_expected",
            "tickets_received",
            "missing",
            "duplicates",
            "latency_ms",
            "cpu_s_per_million_posts",
            "rss_max_mib",
            "buckets",
            "cpu_model",
            "cores",
            "runtime",
            "scenario",
            "duration_s",
            "small_model",
            "rescored",
            "shed",
            "cpu_share",
            "violations",
            "absent",
            "excused",
            "provisional",
            "cpu_s_rescoring",
            "state_fs",
        ] {
            assert!(result.get(field).is_some(), "{field}");
        }
        for percentile in ["p50", "p99", "p999"] {
            assert!(result["latency_ms"].get(percentile).is_some(), "{percentile}");
        }
    }

    #[test]
    fn a_summary_says_whether_everything_is_conserved() {
        let mut outcome = Outcome::default();
        outcome.result.checked_against = "replay";
        assert!(outcome.to_string().contains("conserved   yes"));
        outcome.result.balance.violations.push("2 tickets are missing".to_owned());
        outcome.log = (1..=30).map(|n| format!("line {n}\n")).collect();
        let summary = outcome.to_string();
        assert!(summary.contains("line 11\n") && !summary.contains("line 10\n"), "{summary}");
        assert!(summary.contains("conserved   NO") && summary.contains("- 2 tickets are missing"));
        assert!(!outcome.is_sound());
    }

    #[test]
    fn thousands_are_grouped() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(143_199, "143,199");
        check(1_000_000, "1,000,000");
    }
}
