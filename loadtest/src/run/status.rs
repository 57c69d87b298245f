//! What the daemon says of itself: `/v1/status` of its console.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer: a daemon that is busy still answers in a few milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest answer that is read: a thousand sources.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The part of a daemon's status that is checked or shown. What this does not know is skipped.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Status {
    /// vigie's version.
    pub(super) version: String,
    /// Name and version of the model.
    pub(super) model: String,
    /// What runs the model.
    pub(super) runtime: String,
    /// Frames received, as committed.
    pub(super) received: u64,
    /// Where they ended.
    pub(super) buckets: BTreeMap<String, u64>,
    /// Frame batches that wait for a lane.
    pub(super) queue_batches: u64,
    /// Candidates that wait for the model.
    pub(super) queue_candidates: u64,
    /// Tickets that only the small model has read and that are to be scored again.
    #[serde(default)]
    pub(super) tickets_provisional: u64,
    /// One for each network.
    pub(super) sources: Vec<Source>,
    /// One for each subscription.
    pub(super) subscriptions: Vec<Subscription>,
    /// One for each bridge to a helpdesk.
    #[serde(default)]
    pub(super) bridges: Vec<Bridge>,
}

/// One bridge to a helpdesk. Counts since it began.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Bridge {
    /// Its name.
    pub(super) name: String,
    /// Tickets that it made.
    pub(super) made: u64,
    /// Tickets that it found there after a call of which nobody knew the end.
    pub(super) adopted: u64,
    /// Tickets of which nobody can know.
    pub(super) unknown: u64,
}

/// One network.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Source {
    /// As in config.
    pub(super) name: String,
    /// Connected and subscribed.
    pub(super) connected: bool,
    /// How often the connection was made again.
    pub(super) reconnects: u64,
    /// The last trouble; empty if none.
    pub(super) trouble: String,
    /// Holes in its stream.
    pub(super) gaps: u64,
    /// Frames received.
    pub(super) received: u64,
}

/// One durable subscription.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Subscription {
    /// Its name.
    pub(super) name: String,
    /// Records that wait.
    pub(super) pending: u64,
    /// Records sent and not yet answered.
    pub(super) in_flight: u64,
    /// Records refused for now.
    pub(super) deferred: u64,
}

impl Subscription {
    /// Records that are not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.pending + self.in_flight + self.deferred
    }
}

impl Status {
    /// Asks the console at `address`.
    ///
    /// # Errors
    ///
    /// Nobody listens, or the answer is no status or does not come.
    pub(super) async fn ask(address: SocketAddr) -> io::Result<Status> {
        let asked = timeout(ANSWER_MAX, answer(address)).await;
        let answer = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(io::Error::from)
    }

    /// Connections to servers that were made again.
    pub(super) fn reconnects(&self) -> u64 {
        self.sources.iter().map(|source| source.reconnects).sum()
    }

    /// Records of a subscription that are not acknowledged; 0 if there is no such subscription.
    pub(super) fn unacknowledged(&self, subscription: &str) -> u64 {
        let found = self.subscriptions.iter().find(|other| other.name == subscription);
        found.map_or(0, Subscription::unacknowledged)
    }
}

async fn answer(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /v1/status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_skipped() {
        let text = r#"{"version":"0.1.0","model":"m 1","runtime":"rten","received":5,"new":{},"at_us":1,
            "buckets":{"unmatched":4,"ticketed":1},"queue_batches":0,"queue_candidates":2,
            "sources":[{"name":"a","kind":"jetstream","connected":true,"finished":false,"reconnects":1,
                "trouble":"","lag_ms":3,"position":null,"gaps":0,"received":5,"buckets":{}}],
            "subscriptions":[{"name":"helpdesk","pending":1,"in_flight":2,"deferred":3}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.buckets["unmatched"], 4);
        assert_eq!((status.unacknowledged("helpdesk"), status.unacknowledged("other")), (6, 0));
    }
}
