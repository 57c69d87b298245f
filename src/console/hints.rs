//! `POST /v1/bridge/NAME`: a helpdesk says of itself that something has become of a ticket.
//!
//! What is signed, and how, the bridge's preset says; where the helpdesk signs nothing the address is
//! `/v1/bridge/NAME/SECRET`. 202 at once: the ticket is read by the bridge when its turn comes, and would be without the
//! hint, too. A bridge that runs apart has no webhooks, as this listener is the daemon's; it asks, and says so.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::door::BODY_BYTES_MAX;
use crate::bridge::webhook::{Hint, Inbox};

/// From the head to the end of the body.
const BODY_MAX: Duration = Duration::from_secs(10);

/// What is said of a wrong secret and of a bridge that is not there.
const UNKNOWN: &str = "no bridge of this name takes webhooks here, or the signature, or the secret at the end of the address, \
    is not that of its webhook_secret_file\n";

/// Answers a request. Of a bridge that is not there it says no more than of a wrong secret: names are not told.
pub(super) async fn post(inboxes: Arc<[Inbox]>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let bytes_max = usize::try_from(BODY_BYTES_MAX).unwrap_or(usize::MAX);
    let body = match tokio::time::timeout(BODY_MAX, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let text = format!("a body has at most {BODY_BYTES_MAX} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response(),
    };
    let mut parts = head.uri.path().split('/').skip(3);
    let (name, secret) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // A secret may hold what an address cannot.
    let secret = percent_encoding::percent_decode_str(secret).decode_utf8_lossy();
    let Some(inbox) = inboxes.iter().find(|inbox| inbox.name() == name) else {
        return (StatusCode::UNAUTHORIZED, UNKNOWN).into_response();
    };
    let named = head.headers.iter();
    let headers: Vec<(&str, &str)> =
        named.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    match inbox.take(&Hint { secret: &secret, headers: &headers, body: &body }) {
        // Whether it waits or was one too many: the ticket will be read.
        Ok(_) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) if refusal.is_guess() => (StatusCode::UNAUTHORIZED, UNKNOWN).into_response(),
        Err(refusal) => (StatusCode::BAD_REQUEST, format!("{refusal}\n")).into_response(),
    }
}
