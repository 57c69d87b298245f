//! A server of X v1.1 statuses, one JSON object a line, over TCP with acknowledged positions (protocol 1).
//!
//! The reader sends `{"vigie":1,"after":N}`, the server answers the same and goes on with line N + 1, each line
//! when it is due. Line numbers count from 1 at the start of the stream: event `n` is line `n - start + 1`, and
//! so the server keeps nothing and waits for a slow reader for as long as it takes. While reading, the reader sends `{"ack":N}`; these are recorded.

mod connection;
mod entities;
mod json;
mod person;
mod pool;
mod script;
mod snowflake;
mod status;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use script::StatusScript;

use crate::jetstream::Scenario;
use crate::served::Served;
use crate::timeline::{LOOK_BACK_US, Rate, Timeline};

/// Readers at once. Each holds at most a chunk of lines and the buffers of its socket: under 1 MiB.
const CONNECTIONS_MAX: usize = 64;
/// Requests remembered for [`StatusesServing::asked`]; the others are served all the same.
const ASKED_MAX: usize = 4_096;
/// After a failed `accept` (out of file descriptors) the next try waits this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// For the reader's first line.
const HELLO_WAIT: Duration = Duration::from_secs(5);
/// For the reader to take the rest of a line, or an error, before its connection is closed.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct StatusesConfig {
    /// Address to listen on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Lines a second.
    pub rate: Rate,
    /// Share of the statuses that ask for support, 0 to 1.
    pub share: f64,
    /// Share of the statuses that name the brand and need nothing, 0 to 1.
    pub confusing: f64,
    /// Another seed is another stream.
    pub seed: u64,
    /// Serve only so many lines, then stay silent.
    pub events: Option<u64>,
    /// When line 1 is due; `None`: when the server starts. There is nothing before it.
    pub start: Option<Timestamp>,
    /// What happens beside everyday life.
    pub scenario: Scenario,
}

impl Default for StatusesConfig {
    fn default() -> StatusesConfig {
        StatusesConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 6020)),
            rate: Rate::PerSecond(std::num::NonZeroU32::new(2_000).expect("2,000 is not zero")),
            share: 0.01,
            confusing: 0.005,
            seed: 1,
            events: None,
            start: None,
            scenario: Scenario::Calm,
        }
    }
}

impl StatusesConfig {
    pub(crate) fn timeline(&self) -> Timeline {
        let start_us = self.start.unwrap_or_else(Timestamp::now).as_microsecond();
        Timeline::new(self.rate, start_us, LOOK_BACK_US, true, self.events)
    }
}

/// A running server. Dropping this leaves it running until its shutdown comes.
#[derive(Debug)]
pub struct StatusesServing {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl StatusesServing {
    /// Where it listens: `tcp` of the daemon's `[[source]]`.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn script(&self) -> &StatusScript {
        &self.shared.script
    }

    /// Lines handed to all readers so far, repeated ones included.
    pub fn lines(&self) -> u64 {
        self.shared.lines.load(Ordering::Relaxed)
    }

    /// The index after the greatest of any event that was handed over; 0: none.
    pub fn reached(&self) -> u64 {
        self.shared.reached.load(Ordering::Relaxed)
    }

    /// Connections there are now.
    pub fn readers(&self) -> usize {
        CONNECTIONS_MAX - self.shared.places.available_permits()
    }

    /// The greatest line number acknowledged by any reader; 0: none.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Acknowledgements received.
    pub fn acks(&self) -> u64 {
        self.shared.acks.load(Ordering::Relaxed)
    }

    /// The line after which each connection asked to go on, in the order in which they came; the first
    /// `ASKED_MAX` of them.
    pub fn asked(&self) -> Vec<u64> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the shutdown has come and every reader has been let go.
    pub async fn finished(self) {
        // The task neither panics nor is aborted; if it did, there would be nobody left to wait for.
        let _ = self.task.await;
    }
}

/// What all connections read and count.
#[derive(Debug)]
struct Shared {
    script: StatusScript,
    lines: AtomicU64,
    reached: AtomicU64,
    acks: AtomicU64,
    acked: AtomicU64,
    asked: Mutex<Vec<u64>>,
    /// One permit for each connection.
    places: Arc<Semaphore>,
}

impl Shared {
    /// The line after which a reader is served who asks for what comes after `after`.
    ///
    /// Lines that are not due yet cannot have been read: whoever has them has those of another stream.
    fn welcome(&self, after: u64, now_us: i64) -> u64 {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() < ASKED_MAX {
            asked.push(after);
        }
        let due = self.script.timeline().due(now_us);
        after.min(self.script.line_of(due).map_or(0, |line| line - 1))
    }
}

/// Binds, and serves until `shutdown` completes.
///
/// # Errors
///
/// The address cannot be bound, or the script cannot be made: see [`StatusScript::new`].
pub async fn serve_statuses(
    config: StatusesConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<StatusesServing> {
    let script = StatusScript::new(&config)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr().context("no local address")?;
    let shared = Arc::new(Shared {
        script,
        lines: AtomicU64::new(0),
        reached: AtomicU64::new(0),
        acks: AtomicU64::new(0),
        acked: AtomicU64::new(0),
        asked: Mutex::new(Vec::new()),
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    });
    let task = tokio::spawn(accept(listener, shared.clone(), shutdown));
    Ok(StatusesServing { address, shared, task })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, shutdown: impl Future<Output = ()>) {
    let (leave, leaving) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                };
                let (shared, leaving, place) = (shared.clone(), leaving.clone(), shared.places.clone().try_acquire_owned());
                connections.spawn(async move {
                    connection::run(stream, &shared, leaving, place.is_ok()).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    leave.send_replace(true);
    // Each ends within `LAST_WAIT` of being told.
    while connections.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
