//! HTTP for operators: the page, `/v1/status`, `/metrics`, `/healthz` and `/readyz`; and `POST /v1/touchpoints` and
//! `POST /v1/bridge/…`.
//!
//! Listens on loopback unless told otherwise; `door` says who may look. Shows counts and states, never the
//! text of a post.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::access::Access;
use crate::bridge::webhook::Inbox;
use crate::ledger::Records;

mod door;
mod exposition;
mod hints;
pub mod service;
mod status;
mod touchpoints;

pub use exposition::exposition;
pub use status::{
    AnswersStatus, BridgeStatus, LedgerStatus, SourceStatus, Status, SubscriptionStatus, named,
};

/// Where the console listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `None`: nowhere. Anything but loopback needs a token with the right to operate.
    pub listen: Option<SocketAddr>,
}

/// Where the console listens unless the operator says otherwise.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6011);

impl Default for Config {
    fn default() -> Config {
        Config { listen: Some(LISTEN_DEFAULT) }
    }
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
    inboxes: Vec<Inbox>,
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
        Ok(Console { listener, address, judge: Arc::new(|| None), records: None, inboxes: Vec::new() })
    }

    /// Lets `/healthz` answer what `judge` says; without one the daemon is alive as long as it answers.
    pub fn judged_by(self, judge: Judge) -> Console {
        Console { judge, ..self }
    }

    /// Takes what is reported here into these records; without them nothing can be reported.
    pub fn keeping(self, records: Arc<dyn Records>) -> Console {
        Console { records: Some(records), ..self }
    }

    /// Takes the helpdesks' hints into these.
    pub fn hinted(self, inboxes: Vec<Inbox>) -> Console {
        Console { inboxes, ..self }
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
        let Console { listener, address, judge, records, inboxes } = self;
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
        let inboxes: Arc<[Inbox]> = inboxes.into();
        let router = [door::HINTS, door::HINTS_SECRET].into_iter().fold(router, |router, path| {
            let inboxes = inboxes.clone();
            router.route(path, post(move |request: Request| hints::post(inboxes.clone(), request)))
        });
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

#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

#[cfg(test)]
mod tests;
