//! One call to a helpdesk, and how it may end.
//!
//! What matters of a call that failed is whether it may have been done all the same: then whoever asked looks before
//! asking again.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::preset::Written;

/// Longest answer that is read, in bytes: some hundred tickets with all their fields.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a connection that is not used is kept: shorter than servers do.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How long connecting may take, TLS and all.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Of a refusal's body, characters that are shown.
const WORDS_CHARS_MAX: usize = 300;

/// Where a helpdesk is.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Without a slash at its end.
    base: String,
    /// Longest that a call may take, in full.
    call_max: Duration,
}

/// A call to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// As in HTTP.
    pub method: Method,
    /// Below the helpdesk's address; escaped.
    pub path: String,
    /// Name and value; secrets are among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: Option<String>,
    /// Statuses beside 200 to 299 that are fine.
    pub accept: Vec<u16>,
    /// How the answer is written.
    pub answer: Written,
    /// The header in which answers say how many calls are left to the account.
    pub left_in: Option<String>,
}

/// What a helpdesk said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// A good one, or one that was to be accepted.
    pub status: u16,
    /// Names in lower case.
    pub headers: HeaderMap,
    /// JSON, a text where that was asked for; null where there is no body.
    pub body: serde_json::Value,
}

impl Answer {
    /// What a good answer is that says of itself that the thing was not done.
    pub(super) fn refusal(&self) -> CallError {
        CallError::Refused { status: self.status, words: words(self.body.to_string().as_bytes()) }
    }
}

/// How a call may end otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It never left: nothing has been done.
    #[error("{0}")]
    NotSent(String),
    /// It may have been done.
    #[error("{0}")]
    Unclear(String),
    /// The same: what answers is in trouble, or is not the helpdesk's API. A proxy may say so after the work.
    #[error("{}{}{words}", self.in_short(), if words.is_empty() { "" } else { ": " })]
    Trouble {
        /// 408, 500 and above; a good one with a page where data should be.
        status: u16,
        /// What it says of it; it may hold a post's text.
        words: String,
        /// How long it asks us to wait, where it does.
        wait: Option<Duration>,
    },
    /// The helpdesk asks us to wait: nothing has been done.
    #[error("the helpdesk asks for fewer calls{} (status {status})", if *left > Some(0) { " of this kind" } else { "" })]
    Limited {
        /// 429.
        status: u16,
        /// How long, where it says so.
        wait: Option<Duration>,
        /// How many calls are left to the account, where it says so: if there are any, the limit is one of this ticket or
        /// of calls of this kind.
        left: Option<u32>,
    },
    /// The helpdesk will not: nothing has been done, and asking again changes nothing.
    #[error("{}{}{words}", self.in_short(), if words.is_empty() { "" } else { ": " })]
    Refused {
        /// 300 to 499; a good one where the answer itself says no.
        status: u16,
        /// What it says of it; it may hold a post's text.
        words: String,
    },
    /// A template could not be rendered: nothing has been done.
    #[error("{0}")]
    Template(String),
}

impl CallError {
    /// Whether the call may have been done.
    pub fn is_unclear(&self) -> bool {
        matches!(self, CallError::Unclear(_) | CallError::Trouble { .. })
    }

    /// Whether we are asked to wait: nothing is wrong but that.
    pub fn asks_to_wait(&self) -> bool {
        matches!(self, CallError::Limited { .. } | CallError::Trouble { wait: Some(_), .. })
    }

    /// Whether that is for this ticket or calls of this kind alone: the account's calls are not used up, and others are
    /// taken meanwhile.
    pub fn is_limit_of_one(&self) -> bool {
        matches!(self, CallError::Limited { left: Some(1..), .. })
    }

    /// How long, where it says so.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            CallError::Limited { wait, .. } | CallError::Trouble { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether the helpdesk knows no such thing.
    pub fn is_absence(&self) -> bool {
        matches!(self, CallError::Refused { status: 404 | 410, .. })
    }

    /// Whether the helpdesk does not know us, or says so.
    pub fn is_stranger(&self) -> bool {
        matches!(self, CallError::Refused { status: 401, .. })
    }

    /// Whether it is about this ticket alone: others may still be taken.
    pub fn is_of_one(&self) -> bool {
        matches!(
            self,
            CallError::Refused { status: 200..=299 | 400 | 404 | 409 | 410 | 413 | 422, .. }
                | CallError::Template(_)
        )
    }

    /// Whether it may be about one ticket alone, if that is there and the helpdesk takes other calls of ours: agents
    /// have moved it to where we have no rights, which Chatwoot answers with 401, locked it, or it is too old to be changed.
    pub fn may_be_of_one(&self) -> bool {
        matches!(self, CallError::Refused { status: 401 | 402 | 403 | 405 | 412 | 423 | 451, .. })
    }

    /// The same, said of what our account may not see.
    pub(super) fn hidden(self) -> CallError {
        match self {
            CallError::Refused { words, .. } => CallError::Refused { status: 403, words },
            other => other,
        }
    }

    /// The same without the helpdesk's own words.
    pub fn without_words(self) -> CallError {
        let words = String::new();
        match self {
            CallError::Refused { status, .. } => CallError::Refused { status, words },
            CallError::Trouble { status, wait, .. } => CallError::Trouble { status, words, wait },
            other => other,
        }
    }

    /// What it is without the helpdesk's own words, which may hold a post's text: for logs.
    pub fn in_short(&self) -> String {
        match self {
            CallError::Refused { status: status @ 200..=299, .. } => {
                format!("the helpdesk refuses: status {status} whose answer says that it was not done")
            }
            CallError::Refused { status, .. } => format!("the helpdesk refuses: status {status}"),
            CallError::Trouble { status: status @ 200..=299, .. } => {
                format!("status {status} with what is no answer of its API")
            }
            CallError::Trouble { status, .. } => format!("status {status}"),
            other => other.to_string(),
        }
    }
}

impl Http {
    /// A helpdesk at `base`, such as `https://rt.example.com/rt`; `roots` where its authority is a company's own.
    pub fn new(base: &str, roots: Option<RootCertStore>, call_max: Duration) -> Http {
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3");
        let tls = match roots {
            Some(roots) => tls.with_root_certificates(roots).with_no_client_auth(),
            None => tls.with_webpki_roots().with_no_client_auth(),
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Http { client, base: base.trim_end_matches('/').to_owned(), call_max }
    }

    /// Makes a call.
    ///
    /// # Errors
    ///
    /// Everything but an answer that can be used.
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let called = tokio::time::timeout(self.call_max, self.answered(call)).await;
        called.unwrap_or_else(|_| {
            Err(CallError::Unclear(format!("no answer within {} s", self.call_max.as_secs())))
        })
    }

    async fn answered(&self, call: Call) -> Result<Answer, CallError> {
        let not_sent = |error: &dyn std::fmt::Display| CallError::NotSent(error.to_string());
        let uri: Uri = format!("{}{}", self.base, call.path).parse().map_err(|error| not_sent(&error))?;
        let mut request = Request::builder().method(call.method).uri(uri);
        if call.body.is_some() {
            request = request.header(hyper::header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(call.body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| not_sent(&error))?;
        let response = self.client.request(request).await.map_err(|error| match error.is_connect() {
            true => CallError::NotSent(chain(&error)),
            false => CallError::Unclear(chain(&error)),
        })?;
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let status = head.status;
        if status == StatusCode::TOO_MANY_REQUESTS {
            let left = call.left_in.and_then(|name| calls_left(head.headers.get(name)?.to_str().ok()?));
            let left = left.map(|left| left as u32);
            return Err(CallError::Limited {
                status: status.as_u16(),
                wait: retry_after(&head.headers),
                left,
            });
        }
        let bytes = collected.map_err(|error| CallError::Unclear(format!("answer: {error}")))?.to_bytes();
        let is_fine = status.is_success() || call.accept.contains(&status.as_u16());
        if !is_fine {
            return Err(refusal(status, &head.headers, &bytes));
        }
        let body = match bytes.is_empty() || !status.is_success() {
            true => Some(serde_json::Value::Null),
            false => read(&bytes, call.answer),
        };
        let body = body.ok_or_else(|| CallError::Trouble {
            status: status.as_u16(),
            words: words(&bytes),
            wait: None,
        })?;
        Ok(Answer { status: status.as_u16(), headers: head.headers, body })
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> CallError {
    let words = match headers.get(hyper::header::LOCATION).filter(|_| status.is_redirection()) {
        Some(place) => format!("it sends us to {}", String::from_utf8_lossy(place.as_bytes())),
        None => words(bytes),
    };
    match status.is_server_error() || status.is_informational() || status == StatusCode::REQUEST_TIMEOUT {
        true => {
            let wait = retry_after(headers).filter(|_| status == StatusCode::SERVICE_UNAVAILABLE);
            CallError::Trouble { status: status.as_u16(), words, wait }
        }
        false => CallError::Refused { status: status.as_u16(), words },
    }
}

fn read(bytes: &[u8], written: Written) -> Option<serde_json::Value> {
    match written {
        Written::Json => serde_json::from_slice(bytes).ok(),
        Written::Text => {
            let text = std::str::from_utf8(bytes).ok()?.trim();
            (!text.starts_with('<')).then(|| text.into())
        }
    }
}

/// The beginning of a body, on one line.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(WORDS_CHARS_MAX).collect()
}

/// Seconds, as all helpdesks write it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(hyper::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// How many calls are left, as a header says it: "NaN" and "inf" are numbers to Rust and none to us.
pub(super) fn calls_left(said: &str) -> Option<f64> {
    said.trim().parse().ok().filter(|left: &f64| left.is_finite() && *left >= 0.0)
}

/// An error and what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_may_come_after_the_work() {
        let headers: HeaderMap =
            [(hyper::header::RETRY_AFTER, HeaderValue::from_static("7"))].into_iter().collect();
        let busy = refusal(StatusCode::SERVICE_UNAVAILABLE, &headers, b"in maintenance");
        let wait = Some(Duration::from_secs(7));
        assert_eq!(busy, CallError::Trouble { status: 503, words: "in maintenance".to_owned(), wait });
        assert!(busy.is_unclear() && busy.asks_to_wait());
        for status in [408, 500, 502, 504] {
            let trouble = refusal(StatusCode::from_u16(status).unwrap(), &headers, b"");
            assert!(trouble.is_unclear() && !trouble.asks_to_wait(), "{trouble:?}");
            assert_eq!(trouble.to_string(), format!("status {status}"));
        }
        assert!(!refusal(StatusCode::FORBIDDEN, &headers, b"").is_unclear());
    }
}
