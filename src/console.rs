//! HTTP for operators: the page, `/v1/status`, `/metrics`, `/healthz` and `/readyz`; and `POST /v1/touchpoints`.
//!
//! Listens on loopback unless told otherwise; `door` says who may look. Shows counts and states, never the
//! text of a post.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::access::Access;
use crate::ledger::{Figures, Records, SourceAccount, Standing};
use crate::source::{Health, HealthState};
use crate::telemetry::{self, Buckets};

mod door;
pub mod service;
mod touchpoints;

use service::ServiceStatus;

/// Where the console listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `None`: nowhere. Anything but loopback needs a token with the right to operate.
    pub listen: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: Some(SocketAddr::from(([127, 0, 0, 1], 6011))) }
    }
}

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
            position: account.position,
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

/// Reads the status.
pub type Look = Arc<dyn Fn() -> Status + Send + Sync>;

/// Says why the daemon is not alive, if it is not. Takes no lock that a stage may hold: whoever asks whether a stage is
/// stuck must not get stuck behind it.
pub type Judge = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// A bound console.
pub struct Console {
    listener: std::net::TcpListener,
    address: SocketAddr,
    judge: Judge,
    records: Option<Arc<dyn Records>>,
}

impl Console {
    /// Binds the listener.
    ///
    /// # Errors
    ///
    /// The address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Console> {
        Console::over(std::net::TcpListener::bind(address)?)
    }

    /// Over a listener that somebody else has bound.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn over(listener: std::net::TcpListener) -> io::Result<Console> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Console { listener, address, judge: Arc::new(|| None), records: None })
    }

    /// Lets `/healthz` answer what `judge` says; without one the daemon is alive as long as it answers.
    pub fn judged_by(self, judge: Judge) -> Console {
        Console { judge, ..self }
    }

    /// Takes what is reported here into these records; without them nothing can be reported.
    pub fn keeping(self, records: Arc<dyn Records>) -> Console {
        Console { records: Some(records), ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves those whom `access` lets in, until told to stop.
    pub fn serve(
        self,
        look: Look,
        access: Arc<Access>,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let Console { listener, address, judge, records } = self;
        let guard = door::Guard::new(access, !address.ip().is_loopback());
        let router = Router::new()
            .route("/", get(|| async { Html(include_str!("console/page.html")) }))
            .route("/v1/status", get(async |State(looker): State<Looker>| looker.status().await.map(Json)))
            .route("/metrics", get(metrics))
            .route("/healthz", get(move || std::future::ready(healthy(&judge))))
            .route("/readyz", get(ready))
            .with_state(Looker { look, guard: guard.clone() });
        let router = match records {
            None => router,
            Some(records) => router.route(
                door::TOUCHPOINTS,
                post(move |request: Request| touchpoints::post(records.clone(), request)),
            ),
        };
        async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => door::serve(listener, router, guard, stop).await,
                Err(error) => warn!(%error, "console ended"),
            }
        }
    }
}

fn healthy(judge: &Judge) -> (StatusCode, String) {
    match judge() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// What a request may look at.
#[derive(Clone)]
struct Looker {
    look: Look,
    guard: door::Guard,
}

impl Looker {
    /// The status of now. Reading it waits for locks and lists files, which is not for the threads that clients are
    /// served on.
    async fn status(self) -> Result<Status, StatusCode> {
        let read = tokio::task::spawn_blocking(move || {
            let mut status = (self.look)();
            status.tokens_refused += self.guard.wrong_tokens();
            status
        });
        // Fails only where reading it panics, which is logged as such, and when the daemon ends.
        read.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

async fn ready(State(looker): State<Looker>) -> Result<(StatusCode, String), StatusCode> {
    Ok(match looker.status().await?.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    })
}

async fn metrics(State(looker): State<Looker>) -> Result<Response, StatusCode> {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let status = looker.status().await?;
    Ok(([(header::CONTENT_TYPE, content_type)], exposition(&status)).into_response())
}

/// The status in Prometheus' text format.
pub fn exposition(status: &Status) -> String {
    let mut page = telemetry::Exposition::default();
    page.family("vigie_info", "gauge", "Always 1: which vigie, which model, and what runs it.");
    let Status { version, model, runtime, .. } = status;
    page.sample(&[("version", version), ("model", model), ("runtime", runtime)], 1.0);
    page.family("vigie_frames_total", "counter", "Frames received, by where they ended.");
    for source in &status.sources {
        for (bucket, frames) in &source.buckets {
            page.sample(&[("source", &source.name), ("bucket", bucket)], *frames as f64);
        }
    }
    page.family("vigie_source_connected", "gauge", "1 while the source is connected or reading.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], f64::from(u8::from(source.connected)));
    }
    page.family("vigie_source_finished", "gauge", "1 once the source has reached its end; only files do.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], f64::from(u8::from(source.finished)));
    }
    page.family("vigie_source_reconnects_total", "counter", "Connections made again since the start.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.reconnects as f64);
    }
    page.family("vigie_source_gaps_total", "counter", "Holes in the source's stream.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.gaps as f64);
    }
    page.family(
        "vigie_source_gaps_recovered_total",
        "counter",
        "Holes in the stream that were filled afterwards.",
    );
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.gaps_recovered as f64);
    }
    page.family("vigie_source_gap_seconds", "gauge", "Length of the holes, by whether they were filled.");
    for source in &status.sources {
        for (recovered, seconds) in [("false", source.gap_s), ("true", source.gap_recovered_s)] {
            if let Some(seconds) = seconds {
                page.sample(&[("source", &source.name), ("recovered", recovered)], seconds);
            }
        }
    }
    page.family(
        "vigie_source_usual_rate",
        "gauge",
        "Frames a second as learnt; absent while too little was seen.",
    );
    for (source, rate) in status.sources.iter().filter_map(|source| Some((source, source.usual_per_s?))) {
        page.sample(&[("source", &source.name)], rate);
    }
    page.family(
        "vigie_source_silent_seconds",
        "gauge",
        "Length of a silence that is unnatural at the usual rate, or 0.",
    );
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.silent_s.unwrap_or(0.0));
    }
    page.family("vigie_source_silences_total", "counter", "Such silences since the start.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.silences as f64);
    }
    page.family("vigie_source_lag_seconds", "gauge", "Age of the last frame received.");
    for (source, lag_ms) in status.sources.iter().filter_map(|source| Some((source, source.lag_ms?))) {
        page.sample(&[("source", &source.name)], lag_ms as f64 / 1000.0);
    }
    page.family("vigie_queue_batches", "gauge", "Frame batches that wait for a lane.");
    page.sample(&[], status.queue_batches as f64);
    page.family("vigie_queue_candidates", "gauge", "Candidates that wait for the model.");
    page.sample(&[], status.queue_candidates as f64);
    page.family("vigie_verdicts_total", "counter", "Verdicts since the start, by the model that gave them.");
    page.sample(&[("pace", "full")], status.verdicts_full as f64);
    page.sample(&[("pace", "quick")], status.verdicts_quick as f64);
    page.family(
        "vigie_tickets_provisional",
        "gauge",
        "Tickets that only the small model has read, to be scored again when the load falls.",
    );
    page.sample(&[], status.tickets_provisional as f64);
    page.family(
        "vigie_connections",
        "gauge",
        "Connections to the ticket socket, by whether they have said hello.",
    );
    let clients = status.connections.saturating_sub(status.strangers);
    page.sample(&[("state", "client")], clients as f64);
    page.sample(&[("state", "stranger")], status.strangers as f64);
    page.family(
        "vigie_connections_refused_total",
        "counter",
        "Connections to the ticket socket that a limit turned away since the start.",
    );
    page.sample(&[], status.connections_refused as f64);
    page.family(
        "vigie_tokens_refused_total",
        "counter",
        "Wrong tokens shown at the ticket socket and the console since the start.",
    );
    page.sample(&[], status.tokens_refused as f64);
    page.family(
        "vigie_subscription_records",
        "gauge",
        "Records of a subscription that are not acknowledged.",
    );
    for subscription in &status.subscriptions {
        let states = [
            ("pending", subscription.pending),
            ("in_flight", subscription.in_flight),
            ("deferred", subscription.deferred),
        ];
        for (state, records) in states {
            page.sample(&[("subscription", &subscription.name), ("state", state)], records as f64);
        }
    }
    ledger(&mut page, &status.ledger);
    page.family(
        "vigie_subscription_acknowledged_total",
        "counter",
        "Records that a subscription has acknowledged since the start.",
    );
    for SubscriptionStatus { name, acknowledged, .. } in &status.subscriptions {
        page.sample(&[("subscription", name)], *acknowledged as f64);
    }
    status.service.expose(&mut page);
    page.into_text()
}

fn ledger(page: &mut telemetry::Exposition, ledger: &LedgerStatus) {
    page.family(
        "vigie_ledger_bytes",
        "gauge",
        "Size of the ledger's file: what holds tickets, what holds customers and contacts, and what is free.",
    );
    page.sample(&[("state", "live")], ledger.live_bytes as f64);
    page.sample(&[("state", "context")], ledger.context_bytes as f64);
    page.sample(&[("state", "free")], ledger.free_bytes as f64);
    page.family("vigie_ledger_live_bytes_max", "gauge", "The limit of what is live, if there is one.");
    if let Some(max) = ledger.live_bytes_max {
        page.sample(&[], max as f64);
    }
    page.family(
        "vigie_ledger_blocked",
        "gauge",
        "1 while the ledger is above its limit because its tickets are not acknowledged.",
    );
    page.sample(&[], f64::from(u8::from(ledger.blocked)));
    page.family("vigie_tickets_pruned_total", "counter", "Tickets pruned since the ledger was made.");
    page.sample(&[], ledger.tickets_pruned as f64);
    page.family("vigie_tickets_waiting", "gauge", "Tickets that wait for an answer, by how late it is.");
    let AnswersStatus { open, at_risk, breached } = ledger.answers;
    for (state, tickets) in [("open", open), ("at_risk", at_risk), ("breached", breached)] {
        page.sample(&[("state", state)], tickets as f64);
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::PaceState;
    use crate::telemetry::Bucket;

    fn status() -> Status {
        let mut account = SourceAccount {
            position: Some(5),
            gaps: 3,
            gaps_recovered: 1,
            gap_length: 90e6,
            gap_length_recovered: 30e6,
            ..SourceAccount::default()
        };
        account.buckets[Bucket::Unmatched] = 40;
        account.buckets[Bucket::Ticketed] = 2;
        let pace = PaceState {
            usual_per_s: Some(6_000.0),
            silent_since_us: Some(500_000),
            silences: 2,
            ..PaceState::default()
        };
        let health = HealthState {
            connected: true,
            reconnects: 3,
            position: Some(2_000_000),
            pace,
            ..HealthState::default()
        };
        let now = Timestamp::from_millisecond(3_500).unwrap();
        let source = SourceStatus::new("blue\"sky", "jetstream", health, &account, true, now);
        assert_eq!(source.trouble, "silent for 3 s, unnatural at its usual 6000/s");
        Status {
            version: "0.0.0".to_owned(),
            at_us: 0,
            uptime_s: 0,
            model: "model 1".to_owned(),
            runtime: "rten".to_owned(),
            received: source.received,
            buckets: source.buckets.clone(),
            sources: vec![source],
            queue_batches: 0,
            queue_candidates: 7,
            verdicts_full: 11,
            verdicts_quick: 12,
            tickets_provisional: 13,
            ledger: LedgerStatus {
                live_bytes: 4096,
                context_bytes: 2048,
                live_bytes_max: Some(8192),
                blocked: true,
                tickets_pruned: 14,
                answers: AnswersStatus { open: 15, at_risk: 16, breached: 17 },
                ..LedgerStatus::default()
            },
            connections: 5,
            strangers: 2,
            connections_refused: 3,
            tokens_refused: 4,
            subscriptions: vec![SubscriptionStatus {
                name: "helpdesk".to_owned(),
                pending: 9,
                in_flight: 1,
                deferred: 0,
                acknowledged: 21,
            }],
            service: ServiceStatus::default(),
        }
    }

    #[test]
    fn metrics_have_help_type_and_escaped_labels() {
        let page = exposition(&status());
        for expected in [
            "# HELP vigie_frames_total Frames received, by where they ended.\n# TYPE vigie_frames_total counter\n",
            "vigie_frames_total{source=\"blue\\\"sky\",bucket=\"ticketed\"} 2\n",
            "vigie_frames_total{source=\"blue\\\"sky\",bucket=\"shed\"} 0\n",
            "vigie_source_lag_seconds{source=\"blue\\\"sky\"} 1.5\n",
            "vigie_info{version=\"0.0.0\",model=\"model 1\",runtime=\"rten\"} 1\n",
            "vigie_source_gaps_recovered_total{source=\"blue\\\"sky\"} 1\n",
            "vigie_source_gap_seconds{source=\"blue\\\"sky\",recovered=\"false\"} 60\n",
            "vigie_source_gap_seconds{source=\"blue\\\"sky\",recovered=\"true\"} 30\n",
            "vigie_source_usual_rate{source=\"blue\\\"sky\"} 6000\n",
            "vigie_source_silent_seconds{source=\"blue\\\"sky\"} 3\n",
            "vigie_source_silences_total{source=\"blue\\\"sky\"} 2\n",
            "vigie_queue_candidates 7\n",
            "vigie_verdicts_total{pace=\"quick\"} 12\n",
            "vigie_tickets_provisional 13\n",
            "vigie_ledger_bytes{state=\"live\"} 4096\n",
            "vigie_ledger_live_bytes_max 8192\n",
            "vigie_ledger_blocked 1\n",
            "vigie_tickets_pruned_total 14\n",
            "vigie_tickets_waiting{state=\"open\"} 15\n",
            "vigie_tickets_waiting{state=\"at_risk\"} 16\n",
            "vigie_tickets_waiting{state=\"breached\"} 17\n",
            "vigie_connections{state=\"client\"} 3\n",
            "vigie_connections_refused_total 3\n",
            "vigie_tokens_refused_total 4\n",
            "vigie_subscription_records{subscription=\"helpdesk\",state=\"pending\"} 9\n",
            "vigie_subscription_acknowledged_total{subscription=\"helpdesk\"} 21\n",
        ] {
            assert!(page.contains(expected), "{expected:?} is missing in\n{page}");
        }
    }

    #[test]
    fn a_daemon_is_ready_once_every_source_is_connected_or_finished() {
        let mut status = status();
        assert_eq!(status.unready(), None);
        status.sources[0].connected = false;
        status.sources[0].trouble = "HTTP 503".to_owned();
        assert_eq!(status.unready(), Some("source blue\"sky: HTTP 503".to_owned()));
        status.sources[0].finished = true;
        assert_eq!(status.unready(), None);
    }

    #[test]
    fn a_status_reads_back_as_it_was_written() {
        let text = serde_json::to_string(&status()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status());
    }

    #[tokio::test]
    async fn pages_answer_over_http() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let console = Console::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = console.address();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(console.serve(Arc::new(status), Arc::default(), stopped));
        let ask = async |address: SocketAddr, path: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(ask(address, "/").await.contains("<title>vigie</title>"));
        assert!(ask(address, "/healthz").await.ends_with("ok\n"));
        assert!(ask(address, "/readyz").await.contains("200 OK"));
        assert!(ask(address, "/metrics").await.contains("text/plain; version=0.0.4"));
        assert!(ask(address, "/v1/status").await.contains("\"queue_candidates\":7"));
        assert!(ask(address, "/nothing").await.contains("404"));
        stop.send_replace(true);
        serving.await.unwrap();

        let judge: Judge = Arc::new(|| Some("vigie-ledger is stuck".to_owned()));
        let console = Console::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().judged_by(judge);
        let (address, (_stop, stopped)) = (console.address(), watch::channel(false));
        let look: Look = Arc::new(|| unreachable!("health looks at nothing else"));
        tokio::spawn(console.serve(look, Arc::default(), stopped));
        let sick = ask(address, "/healthz").await;
        assert!(
            sick.contains("503 Service Unavailable") && sick.ends_with("vigie-ledger is stuck\n"),
            "{sick}"
        );
    }
}
