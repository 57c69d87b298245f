//! `POST /v1/touchpoints`: contacts on other channels, as a telephone system or a shop reports them.
//!
//! One object or a list (`application/json`), or one a line (`application/x-ndjson`): `customer`, the company's own
//! key, or `network` and `account`; `channel`; `at`, an RFC 3339 time, else now; `note`. All of a request is taken or
//! nothing: 202 says that it is durable, and how many; 400 names each mistake. Sending the same again does no harm: who,
//! when and on which channel make a contact. A request without a time is another contact each time.
//!
//! The content type is asked for because of browsers: a page elsewhere may make one send a plain text to this
//! machine, but not JSON, unless we said that it may.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::BODY_BYTES_MAX;
use crate::ledger::context::Contact;
use crate::ledger::{Feedback, Records};
use crate::ticket::proto;

/// Contacts of one request: some 50 ms of the ledger's thread.
const CONTACTS_MAX: usize = 1000;
/// Mistakes that an answer names.
const MISTAKES_MAX: usize = 100;
/// From the head to the end of the body.
const BODY_MAX: Duration = Duration::from_secs(30);

/// A contact as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    customer: String,
    #[serde(default)]
    network: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    channel: String,
    at: Option<String>,
    #[serde(default)]
    note: String,
}

impl Given {
    fn contact(self, now: Timestamp) -> Result<Contact, String> {
        let at = match &self.at {
            None => now,
            Some(at) => at
                .parse::<Timestamp>()
                .map_err(|_| format!("at = {at:?}: must be a time as 2026-11-02T10:00:00Z"))?,
        };
        let Given { customer, network, account, channel, note, .. } = self;
        // Not as its number: 1970-01-01T00:00:00Z would be no time at all.
        Contact::made_at(at, proto::Touchpoint { customer, network, account, channel, at_us: 0, note })
    }
}

/// Answers a request.
pub(super) async fn post(records: Arc<dyn Records>, request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_lines = content_type.eq_ignore_ascii_case("application/x-ndjson");
    if !is_lines && !content_type.eq_ignore_ascii_case("application/json") {
        let text = "Content-Type must be application/json or application/x-ndjson\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let bytes_max = usize::try_from(BODY_BYTES_MAX).unwrap_or(usize::MAX);
    let body = match tokio::time::timeout(BODY_MAX, to_bytes(request.into_body(), bytes_max)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let text = format!("a body has at most {BODY_BYTES_MAX} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response(),
    };
    let contacts = match read(&body, is_lines, Timestamp::now()) {
        Ok(contacts) => contacts,
        Err(mistakes) => return (StatusCode::BAD_REQUEST, Json(mistakes)).into_response(),
    };
    let accepted = contacts.len();
    match records.feedback(Feedback::Contacts(contacts)).await {
        Ok(Ok(())) => (StatusCode::ACCEPTED, Json(json!({ "accepted": accepted }))).into_response(),
        // A ledger that has failed is gone, and the process ends.
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the ledger takes nothing any more\n").into_response()
        }
    }
}

/// The contacts in a body, or its mistakes by place, from 1: lines of NDJSON, items of a list.
fn read(body: &[u8], is_lines: bool, now: Timestamp) -> Result<Vec<Contact>, Value> {
    let whole = |reason: String| json!({ "mistakes": [{ "place": 1, "reason": reason }] });
    let items: Vec<(usize, Result<Value, String>)> = if is_lines {
        let lines = body.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        let parsed = lines.map(|(place, line)| {
            (place + 1, serde_json::from_slice(line).map_err(|error| error.to_string()))
        });
        parsed.take(CONTACTS_MAX + 1).collect()
    } else {
        match serde_json::from_slice(body).map_err(|error| whole(error.to_string()))? {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(at, item)| (at + 1, Ok(item))).collect()
            }
            item => vec![(1, Ok(item))],
        }
    };
    if items.len() > CONTACTS_MAX {
        return Err(whole(format!("more than {CONTACTS_MAX} touchpoints in one request")));
    }
    if items.is_empty() {
        return Err(whole("no touchpoint".to_owned()));
    }
    let (mut contacts, mut mistakes) = (Vec::with_capacity(items.len()), Vec::new());
    for (place, item) in items {
        let given = item.and_then(|item| Given::deserialize(item).map_err(|error| error.to_string()));
        match given.and_then(|given| given.contact(now)) {
            Ok(contact) => contacts.push(contact),
            Err(reason) => mistakes.push(json!({ "place": place, "reason": reason })),
        }
    }
    if mistakes.is_empty() {
        return Ok(contacts);
    }
    let count = mistakes.len();
    mistakes.truncate(MISTAKES_MAX);
    Err(json!({ "mistakes": mistakes, "mistaken": count, "accepted": 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }

    #[test]
    fn a_body_is_one_object_a_list_or_lines() {
        let one = r#"{"customer":"C1","channel":"Phone"}"#;
        let other = r#"{"network":"bluesky","account":"@Ana.bsky.social","channel":"mail","at":"2026-09-20T10:00:00Z"}"#;
        let check = |body: String, is_lines, count| {
            let contacts = read(body.as_bytes(), is_lines, now()).unwrap();
            assert_eq!(contacts.len(), count);
            assert_eq!((contacts[0].customer.as_str(), contacts[0].touchpoint.at), ("C1", now()));
            assert_eq!(contacts[0].touchpoint.channel, "phone");
            if let Some(second) = contacts.get(1) {
                let (_, account) = second.account.as_ref().unwrap();
                assert_eq!(account, "ana.bsky.social");
            }
        };
        check(one.to_owned(), false, 1);
        check(format!("[{one},{other}]"), false, 2);
        check(format!("{one}\n\n{other}\n"), true, 2);
    }

    #[test]
    fn the_first_moment_of_all_is_a_time_like_any_other() {
        let body = br#"{"customer":"C1","channel":"phone","at":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(read(body, false, now()).unwrap()[0].touchpoint.at, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn each_mistake_is_named_with_its_place_and_nothing_is_taken() {
        let check = |body: &str, is_lines, place: u64, reason: &str| {
            let told = read(body.as_bytes(), is_lines, now()).unwrap_err();
            let found = told["mistakes"].as_array().unwrap().iter().any(|mistake| {
                mistake["place"] == place && mistake["reason"].as_str().unwrap().contains(reason)
            });
            assert!(found, "{told}");
        };
        let right = r#"{"customer":"C1","channel":"phone"}"#;
        check("", false, 1, "EOF");
        check("[]", false, 1, "no touchpoint");
        check(&format!("[{right},{{}}]"), false, 2, "names nobody");
        check(&format!("{right}\n{{\"customer\":\"C1\"}}"), true, 2, "channel is missing");
        check(&format!("{right}\n\nnonsense"), true, 3, "expected");
        check(r#"{"customer":"C1","chanel":"phone"}"#, false, 1, "unknown field `chanel`");
        check(r#"{"customer":"C1","channel":"phone","at":"yesterday"}"#, false, 1, "must be a time");
        check(r#"{"network":"myspace","account":"a","channel":"phone"}"#, false, 1, "must be bluesky");
        check(r#"{"network":"x","channel":"phone"}"#, false, 1, "belong together");
        check(r#"{"network":"mastodon","account":"ana","channel":"phone"}"#, false, 1, "must be user@server");
        check(r#"{"customer":"C1","channel":"by phone"}"#, false, 1, "must be one word");
        check(r#"{"customer":"C1","channel":"phone","at":"0026-11-02T10:00:00Z"}"#, false, 1, "the year 26");
        let long = format!(r#"{{"customer":"{}","channel":"phone"}}"#, "c".repeat(201));
        check(&long, false, 1, "customer has 201 bytes");
        let many = format!("[{}]", vec![right; CONTACTS_MAX + 1].join(","));
        check(&many, false, 1, "more than 1000");
    }
}
