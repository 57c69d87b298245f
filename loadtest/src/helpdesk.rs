//! Helpdesks that are not there: their HTTP APIs on loopback, with the misbehaviour of the real ones.
//!
//! A [`Vendor`] keeps tickets and answers as one product does. Around it, [`serve`] is the same for all: it speaks
//! HTTP/1.1, counts a quota, breaks what [`Faults`] says, and keeps a [`Log`] of what was asked and what was made,
//! in which order, that a test compares with what it expects.

mod chatwoot;
mod fault;
mod freshdesk;
mod glpi;
mod jira;
mod log;
mod osticket;
mod plain;
mod serve;
mod store;
mod zammad;
mod zendesk;

use serde_json::Value;
use tokio::time::Instant;

pub use chatwoot::Chatwoot;
pub use fault::{Fault, Faults};
pub use freshdesk::Freshdesk;
pub use glpi::Glpi;
pub use jira::Jira;
pub use log::{Called, Log, Made};
pub use osticket::OsTicket;
pub use plain::Plain;
pub use serve::{Fake, Options, Quota, serve};
pub use store::Store;
pub use zammad::Zammad;
pub use zendesk::Zendesk;

/// A product's API and its tickets.
pub trait Vendor: Send + 'static {
    /// Does what is asked, at once and whole, and answers.
    ///
    /// `now` is the helpdesk's clock: what is found by a search only later goes by it.
    fn handle(&mut self, request: &Request, now: Instant) -> Reply;
}

/// What a helpdesk is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// As in HTTP: `POST`.
    pub method: String,
    /// Without the query, as sent: escaped.
    pub path: String,
    /// Unescaped, in the order given.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// JSON; null where there is none.
    pub body: Value,
    /// The body as sent, for those that do not speak JSON.
    pub text: String,
}

impl Request {
    /// A header's value, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path's segments, unescaped, without empty ones: `["api", "v1", "tickets", "7"]`.
    pub fn segments(&self) -> Vec<String> {
        self.path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| unescaped(segment, false))
            .collect()
    }
}

/// What a helpdesk answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// As in HTTP.
    pub status: u16,
    /// Beside `content-type` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// Of the body.
    pub content_type: &'static str,
    /// As sent.
    pub body: String,
    /// The ticket that this call has made.
    pub made: Option<Made>,
}

impl Reply {
    /// JSON.
    pub fn json(status: u16, body: &Value) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            content_type: "application/json",
            body: body.to_string(),
            made: None,
        }
    }

    /// No body, as 204 has none.
    pub fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), content_type: "", body: String::new(), made: None }
    }

    /// Something else, such as a page.
    pub fn text(status: u16, content_type: &'static str, body: impl Into<String>) -> Reply {
        Reply { status, headers: Vec::new(), content_type, body: body.into(), made: None }
    }

    /// The same with another header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Says that this call has made a ticket: with our reference, the helpdesk's id, and its priority there.
    #[must_use]
    pub fn making(mut self, reference: &str, id: impl ToString, priority: &Value) -> Reply {
        self.made = Some(Made::new(reference, id.to_string(), priority.clone()));
        self
    }
}

/// Percent-encoding undone; in a query a plus is a space.
pub(crate) fn unescaped(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) if is_query => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests;
