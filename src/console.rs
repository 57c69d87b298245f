//! HTTP for operators: the page, `/v1/status`, `/metrics`, `/healthz` and `/readyz`.
//!
//! Listens on loopback. Shows counts and states, never the text of a post.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::ledger::SourceAccount;
use crate::source::HealthState;
use crate::telemetry::{self, Buckets};

pub mod service;

use service::ServiceStatus;

/// Where the console listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `None`: nowhere.
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
    /// Those that were opened since the daemon started.
    pub subscriptions: Vec<SubscriptionStatus>,
    /// The process and its threads.
    #[serde(default)]
    pub service: ServiceStatus,
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
    /// The last trouble; empty if none.
    pub trouble: String,
    /// How far the last frame received is behind the clock, ms; `None` where positions are no times.
    pub lag_ms: Option<i64>,
    /// Where a restart would resume, in the source's own unit.
    pub position: Option<i64>,
    /// Holes in its stream.
    pub gaps: u64,
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
    /// Puts together what the source and the ledger say.
    pub fn new(
        name: &str,
        kind: &str,
        health: HealthState,
        account: &SourceAccount,
        lag_ms: Option<i64>,
    ) -> SourceStatus {
        SourceStatus {
            name: name.to_owned(),
            kind: kind.to_owned(),
            connected: health.connected,
            finished: health.finished,
            reconnects: health.reconnects,
            trouble: health.trouble,
            lag_ms,
            position: account.position,
            gaps: account.gaps,
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
        Ok(Console { listener, address, judge: Arc::new(|| None) })
    }

    /// Lets `/healthz` answer what `judge` says; without one the daemon is alive as long as it answers.
    pub fn judged_by(self, judge: Judge) -> Console {
        Console { judge, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop.
    pub fn serve(
        self,
        look: Look,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let Console { listener, judge, .. } = self;
        let router = Router::new()
            .route("/", get(|| async { Html(include_str!("console/page.html")) }))
            .route("/v1/status", get(|State(look): State<Look>| async move { Json(look()) }))
            .route("/metrics", get(metrics))
            .route("/healthz", get(move || std::future::ready(healthy(&judge))))
            .route("/readyz", get(ready))
            .with_state(look);
        async move {
            let served = async {
                let listener = TcpListener::from_std(listener)?;
                axum::serve(listener, router)
                    .with_graceful_shutdown(async move { drop(stop.wait_for(|stop| *stop).await) })
                    .await
            };
            if let Err(error) = served.await {
                warn!(%error, "console ended");
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

async fn ready(State(look): State<Look>) -> (StatusCode, String) {
    match look().unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(look): State<Look>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], exposition(&look())).into_response()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Bucket;

    fn status() -> Status {
        let mut account = SourceAccount { position: Some(5), gaps: 1, ..SourceAccount::default() };
        account.buckets[Bucket::Unmatched] = 40;
        account.buckets[Bucket::Ticketed] = 2;
        let health = HealthState { connected: true, reconnects: 3, ..HealthState::default() };
        let source = SourceStatus::new("blue\"sky", "jetstream", health, &account, Some(1500));
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
            "vigie_queue_candidates 7\n",
            "vigie_verdicts_total{pace=\"quick\"} 12\n",
            "vigie_tickets_provisional 13\n",
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
        let serving = tokio::spawn(console.serve(Arc::new(status), stopped));
        let ask = async |address: SocketAddr, path: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
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
        tokio::spawn(console.serve(look, stopped));
        let sick = ask(address, "/healthz").await;
        assert!(
            sick.contains("503 Service Unavailable") && sick.ends_with("vigie-ledger is stuck\n"),
            "{sick}"
        );
    }
}
