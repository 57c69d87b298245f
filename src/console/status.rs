//! The status of a running daemon, as `/v1/status` and `vigie status` show it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::service::ServiceStatus;
use crate::ledger::{Figures, SourceAccount, Standing};
use crate::source::{Health, HealthState, ndjson};
use crate::telemetry::Buckets;
use crate::wire::bridges::Said;

/// What an operator can see of a running daemon. Counters count since the ledger was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// vigie's version.
    pub version: String,
    /// When this was read, µs since 1970.
    pub at_us: i64,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Name and version of the model.
    pub model: String,
    /// What runs it.
    pub runtime: String,
    /// One for each source in config.
    pub sources: Vec<SourceStatus>,
    /// Frames received by all sources that the ledger knows: the sum of `buckets`.
    pub received: u64,
    /// Where they ended.
    pub buckets: BTreeMap<String, u64>,
    /// Frame batches that wait for a lane.
    pub queue_batches: usize,
    /// Candidates that wait for the model.
    pub queue_candidates: usize,
    /// Verdicts by the configured model since the daemon started.
    #[serde(default)]
    pub verdicts_full: u64,
    /// Verdicts by the small model alone, under overload.
    #[serde(default)]
    pub verdicts_quick: u64,
    /// Tickets that only the small model has read, to be scored again when the load falls.
    #[serde(default)]
    pub tickets_provisional: u64,
    /// The file that tickets are kept in.
    #[serde(default)]
    pub ledger: LedgerStatus,
    /// Connections to the ticket socket.
    #[serde(default)]
    pub connections: usize,
    /// Of these, those that have not said hello yet.
    #[serde(default)]
    pub strangers: usize,
    /// Connections to the ticket socket that a limit turned away since the daemon started.
    #[serde(default)]
    pub connections_refused: u64,
    /// Wrong tokens shown there and at the console since the daemon started.
    #[serde(default)]
    pub tokens_refused: u64,
    /// Those that were opened since the daemon started.
    pub subscriptions: Vec<SubscriptionStatus>,
    /// Bridges that have told how they stand, and are connected or were within the last hour.
    #[serde(default)]
    pub bridges: Vec<BridgeStatus>,
    /// The process and its threads.
    #[serde(default)]
    pub service: ServiceStatus,
}

/// The ledger's file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// Bytes that hold something, but for the context.
    pub live_bytes: u64,
    /// Bytes that hold customers, accounts, contacts and agents, about.
    #[serde(default)]
    pub context_bytes: u64,
    /// Bytes that hold nothing any more and wait for the next tickets.
    pub free_bytes: u64,
    /// `[ledger] size_max_mb` in bytes; `None`: no limit.
    pub live_bytes_max: Option<u64>,
    /// Above that limit, because what is left is not acknowledged.
    pub blocked: bool,
    /// Tickets pruned since the ledger was made.
    pub tickets_pruned: u64,
    /// Tickets that wait for an answer.
    #[serde(default)]
    pub answers: AnswersStatus,
}

/// Tickets that wait for an answer, by how late it is. None of those whose helpdesk has reported an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersStatus {
    /// In time.
    pub open: u64,
    /// Soon late.
    pub at_risk: u64,
    /// Late.
    pub breached: u64,
}

impl From<Figures> for LedgerStatus {
    fn from(figures: Figures) -> LedgerStatus {
        let Standing { open, at_risk, breached } = figures.standing;
        LedgerStatus {
            live_bytes: figures.size.live_bytes,
            context_bytes: figures.size.context_bytes,
            free_bytes: figures.size.free_bytes,
            live_bytes_max: figures.live_bytes_max,
            blocked: figures.is_blocked,
            tickets_pruned: figures.tickets_pruned,
            answers: AnswersStatus { open, at_risk, breached },
        }
    }
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// As in config.
    pub name: String,
    /// As in config.
    pub kind: String,
    /// Connected and subscribed, or reading.
    pub connected: bool,
    /// Has reached its end; only files do.
    pub finished: bool,
    /// How often the connection was made again since the start.
    pub reconnects: u64,
    /// The last trouble, or what its pace is like if that is one; empty if none.
    pub trouble: String,
    /// Frames a second, usually; `None` while too little was seen.
    #[serde(default)]
    pub usual_per_s: Option<f64>,
    /// For how long it has been silent, if that is unnatural at its usual rate.
    #[serde(default)]
    pub silent_s: Option<f64>,
    /// How often it was silent like that since the start.
    #[serde(default)]
    pub silences: u64,
    /// How far the last frame received is behind the clock, ms; `None` where positions are no times.
    pub lag_ms: Option<i64>,
    /// Where a restart would resume, in the source's own unit.
    pub position: Option<i64>,
    /// Holes in its stream.
    pub gaps: u64,
    /// Those of them that were filled afterwards.
    #[serde(default)]
    pub gaps_recovered: u64,
    /// Length of those that were not, in seconds; `None` where positions are no times.
    #[serde(default)]
    pub gap_s: Option<f64>,
    /// The same of those that were filled.
    #[serde(default)]
    pub gap_recovered_s: Option<f64>,
    /// Frames received: the sum of `buckets`.
    pub received: u64,
    /// Where they ended.
    pub buckets: BTreeMap<String, u64>,
}

/// One durable subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// Records that wait.
    pub pending: usize,
    /// Records sent and not yet answered.
    pub in_flight: usize,
    /// Records that a client refused for now.
    pub deferred: usize,
    /// Records acknowledged since the daemon started.
    #[serde(default)]
    pub acknowledged: u64,
}

/// One bridge to a helpdesk. Counts since it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeStatus {
    /// Its name.
    pub name: String,
    /// Which helpdesk.
    pub kind: String,
    /// Of its connection.
    pub subscription: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Records that wait for it.
    pub waiting: usize,
    /// Tickets that it made and was told of.
    pub made: u64,
    /// Tickets that it found there after a call of which nobody knew the end.
    pub adopted: u64,
    /// Tickets found beside them.
    pub doubled: u64,
    /// Tickets of which nobody can know whether there are none, one or two.
    pub unknown: u64,
    /// Times that the helpdesk did not take a record, which is tried again.
    pub refused: u64,
    /// Changes of tickets done there.
    pub changed: u64,
    /// Tickets whose text was taken out.
    pub erased: u64,
    /// Tickets with a text that its author has taken back and that is still there.
    #[serde(default)]
    pub unerased: u64,
    /// Tickets that the helpdesk does not show it any more.
    #[serde(default)]
    pub hidden: u64,
    /// Tickets of which it holds what the bridge does not understand, a state or a rating.
    #[serde(default)]
    pub misread: u64,
    /// Tickets seen solved, closed or deleted there; again if opened again in between.
    #[serde(default)]
    pub ended: u64,
    /// News of tickets that it has told.
    pub reported: u64,
    /// Calls a minute that it makes at most.
    pub calls_per_minute: u32,
    /// Those that it made in the last one.
    pub calls_last_minute: u32,
    /// Calls that were refused as too many.
    pub calls_limited: u64,
    /// Until when the helpdesk asks to wait, µs since 1970; `None`: it does not.
    pub paused_until_us: Option<i64>,
    /// Whether the helpdesk takes nothing at present.
    pub held: bool,
    /// Why, or what it said last of a ticket that it did not take; empty if nothing.
    pub last_error: String,
    /// When, µs since 1970; `None` where the bridge does not say.
    #[serde(default)]
    pub last_error_at_us: Option<i64>,
    /// Whether what failed then has gone right since.
    #[serde(default)]
    pub last_error_over: bool,
}

impl BridgeStatus {
    /// What a bridge has said, with what waits for it.
    pub fn new(said: Said, waiting: usize) -> BridgeStatus {
        let Said { subscription, state, is_connected } = said;
        BridgeStatus {
            name: state.name,
            kind: state.kind,
            subscription,
            connected: is_connected,
            waiting,
            made: state.made,
            adopted: state.adopted,
            doubled: state.doubled,
            unknown: state.unknown,
            refused: state.refused,
            changed: state.changed,
            erased: state.erased,
            unerased: state.unerased,
            hidden: state.hidden,
            misread: state.misread,
            ended: state.ended,
            reported: state.reported,
            calls_per_minute: state.calls_per_minute,
            calls_last_minute: state.calls_last_minute,
            calls_limited: state.calls_limited,
            paused_until_us: Some(state.paused_until_us).filter(|until| *until != 0),
            held: state.held,
            last_error: state.last_error,
            last_error_at_us: Some(state.last_error_at_us).filter(|at| *at != 0),
            last_error_over: state.last_error_over,
        }
    }

    /// What an operator should know of it now, in words; empty if nothing.
    pub fn trouble(&self, now_us: i64) -> String {
        let paused_s = self.paused_until_us.map_or(0, |until| (until - now_us) / 1_000_000);
        match (self.connected, self.held, paused_s > 0) {
            (false, ..) => "not connected".to_owned(),
            (_, true, _) => format!("the helpdesk takes nothing: {}", self.last_error),
            (_, _, true) => format!("the helpdesk asks to wait, for {paused_s} s more"),
            _ => String::new(),
        }
    }
}

impl SourceStatus {
    /// Puts together what the source and the ledger say at `now`; `has_times` where positions are µs since 1970.
    pub fn new(
        name: &str,
        kind: &str,
        health: HealthState,
        account: &SourceAccount,
        has_times: bool,
        now: Timestamp,
    ) -> SourceStatus {
        let since_s = |at_us: i64| now.as_microsecond().saturating_sub(at_us).max(0) as f64 / 1e6;
        let position = health.position.filter(|_| has_times);
        let lag_ms = position.map(|position| now.as_microsecond().saturating_sub(position) / 1000);
        let seconds = |length: f64| has_times.then_some(length / 1e6);
        SourceStatus {
            name: name.to_owned(),
            kind: kind.to_owned(),
            connected: health.connected,
            finished: health.finished,
            reconnects: health.reconnects,
            trouble: Health::trouble(&health, now),
            usual_per_s: health.pace.usual_per_s,
            silent_s: health.pace.silent_since_us.map(since_s),
            silences: health.pace.silences,
            lag_ms,
            position: account.position.map(ndjson::lines_of),
            gaps: account.gaps,
            gaps_recovered: account.gaps_recovered,
            gap_s: seconds((account.gap_length - account.gap_length_recovered).max(0.0)),
            gap_recovered_s: seconds(account.gap_length_recovered),
            received: account.buckets.received(),
            buckets: named(&account.buckets),
        }
    }
}

impl Status {
    /// Why the daemon is not ready, if it is not, one reason a line: a source that is neither connected nor
    /// finished, and what is wrong with the service itself.
    pub fn unready(&self) -> Option<String> {
        let sources = self.sources.iter().filter(|source| !source.connected && !source.finished);
        let sources = sources.map(|source| {
            let trouble = if source.trouble.is_empty() { "connecting" } else { &source.trouble };
            format!("source {}: {trouble}", source.name)
        });
        let reasons: Vec<_> = sources.chain(self.service.unready()).collect();
        (!reasons.is_empty()).then(|| reasons.join("\n"))
    }
}

/// Buckets by name, all of them.
pub fn named(buckets: &Buckets) -> BTreeMap<String, u64> {
    buckets.iter().map(|(bucket, frames)| (bucket.name().to_owned(), frames)).collect()
}
