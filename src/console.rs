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
    /// Those that were opened since the daemon started.
    pub subscriptions: Vec<SubscriptionStatus>,
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
    /// Why the daemon is not ready, if it is not: a source that is neither connected nor finished.
    pub fn unready(&self) -> Option<String> {
        let source = self.sources.iter().find(|source| !source.connected && !source.finished)?;
        let trouble = if source.trouble.is_empty() { "connecting" } else { &source.trouble };
        Some(format!("source {}: {trouble}", source.name))
    }
}

/// Buckets by name, all of them.
pub fn named(buckets: &Buckets) -> BTreeMap<String, u64> {
    buckets.iter().map(|(bucket, frames)| (bucket.name().to_owned(), frames)).collect()
}

/// Reads the status.
pub type Look = Arc<dyn Fn() -> Status + Send + Sync>;

/// A bound console.
#[derive(Debug)]
pub struct Console {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Console {
    /// Binds the listener.
    ///
    /// # Errors
    ///
    /// The address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Console> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Console { listener, address })
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
        let router = Router::new()
            .route("/", get(|| async { Html(include_str!("console/page.html")) }))
            .route("/v1/status", get(|State(look): State<Look>| async move { Json(look()) }))
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(look);
        async move {
            let served = async {
                let listener = TcpListener::from_std(self.listener)?;
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
    page.into_text()
}
