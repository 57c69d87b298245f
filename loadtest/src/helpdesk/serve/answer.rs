//! One call, from what is read to what is sent: refused, broken, or done.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use crate::helpdesk::{Called, Fault, Reply, Request, Vendor, unescaped};

/// Longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A page such as a proxy's.
const PAGE: &str = "<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>";

pub(super) type Response = hyper::Response<Sent>;

/// What an answer's body is sent as.
pub(super) struct Sent {
    data: Option<Bytes>,
    /// As the answer's head says it.
    length: Option<u64>,
    /// Ends with the connection, before all that the head has promised.
    is_cut: bool,
}

impl Sent {
    fn whole(text: impl Into<Bytes>) -> Sent {
        let data: Bytes = text.into();
        Sent { length: Some(data.len() as u64), data: Some(data), is_cut: false }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.data.take().filter(|data| !data.is_empty()) {
            Some(data) => Some(Ok(Frame::data(data))),
            None if self.is_cut => Some(Err(io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

pub(super) async fn answer<V: Vendor>(
    request: hyper::Request<Incoming>,
    shared: &Arc<Shared<V>>,
    reset: &Notify,
) -> Response {
    let request = match read(request).await {
        Ok(request) => request,
        Err(error) => return response(&Reply::text(400, "text/plain", error)),
    };
    let fault = {
        let mut state = shared.lock();
        let is_first = state.log.refused == 0;
        if let Some(reply) = state.grant.over(is_first) {
            state.log.refused += 1;
            state.log.calls.push(Called {
                at: shared.started.elapsed(),
                request,
                fault: None,
                status: Some(reply.status),
            });
            return response(&state.grant.told(reply));
        }
        state.faults.of(&request)
    };
    let _under_way = UnderWay::begin(shared);
    match fault {
        None => {}
        Some(Fault::Limited { retry_after }) => {
            let mut reply = Reply::json(429, &serde_json::json!({ "error": "too many requests" }));
            if let Some(wait) = retry_after {
                reply = reply.with_header("retry-after", wait.as_secs_f64().to_string());
            }
            shared.undone(request, fault, Some(429));
            return response(&shared.lock().grant.told(reply));
        }
        Some(Fault::Silent { done: false }) => {
            shared.undone(request, fault, None);
            return std::future::pending().await;
        }
        Some(Fault::Reset { done: false }) => {
            shared.undone(request, fault, None);
            reset.notify_one();
            return std::future::pending().await;
        }
        Some(Fault::Status { status, done: false }) => {
            shared.undone(request, fault, Some(status));
            return response(&Reply::text(status, "text/html", PAGE));
        }
        Some(Fault::Page { done: false }) => {
            shared.undone(request, fault, Some(200));
            return response(&Reply::text(200, "text/html", PAGE));
        }
        Some(Fault::Late(wait)) => {
            // The caller may leave meanwhile, and takes its connection with it.
            let (shared, at) = (shared.clone(), shared.started.elapsed());
            let late = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                shared.done(request, at, fault)
            });
            return match late.await {
                Ok(reply) => response(&reply),
                Err(_) => response(&Reply::empty(500)),
            };
        }
        Some(_) => {}
    }
    let reply = shared.done(request, shared.started.elapsed(), fault);
    match fault {
        Some(Fault::Silent { .. }) => std::future::pending().await,
        Some(Fault::Reset { .. }) => {
            reset.notify_one();
            std::future::pending().await
        }
        Some(Fault::Cut) => {
            let mut response = response(&reply);
            let body = response.body_mut();
            body.length = body.data.as_ref().map(|data| data.len() as u64);
            body.data = body.data.take().map(|data| data.slice(..data.len() / 2));
            body.is_cut = true;
            response
        }
        Some(Fault::Status { status, .. }) => response(&Reply::text(status, "text/html", PAGE)),
        Some(Fault::Page { .. }) => response(&Reply::text(200, "text/html", PAGE)),
        Some(Fault::Slow(wait)) => {
            tokio::time::sleep(wait).await;
            response(&reply)
        }
        Some(Fault::Limited { .. } | Fault::Late(_)) | None => response(&reply),
    }
}

impl<V: Vendor> Shared<V> {
    fn done(&self, request: Request, at: Duration, fault: Option<Fault>) -> Reply {
        let mut state = self.lock();
        let reply = state.vendor.handle(&request, Instant::now());
        if let Some(mut made) = reply.made.clone() {
            made.at = self.started.elapsed();
            state.log.made.push(made);
        }
        state.log.calls.push(Called { at, request, fault, status: Some(reply.status) });
        state.grant.told(reply)
    }

    fn undone(&self, request: Request, fault: Option<Fault>, status: Option<u16>) {
        let at = self.started.elapsed();
        self.lock().log.calls.push(Called { at, request, fault, status });
    }
}

/// Counts a call while it lasts, however it ends.
struct UnderWay<V> {
    shared: Arc<Shared<V>>,
}

impl<V> UnderWay<V> {
    fn begin(shared: &Arc<Shared<V>>) -> UnderWay<V> {
        let mut state = shared.lock();
        state.under_way += 1;
        state.log.at_once_max = state.log.at_once_max.max(state.under_way);
        UnderWay { shared: shared.clone() }
    }
}

impl<V> Drop for UnderWay<V> {
    fn drop(&mut self) {
        self.shared.lock().under_way -= 1;
    }
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, String> {
    let (head, body) = request.into_parts();
    let bytes = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes.to_bytes().to_vec()).map_err(|error| error.to_string())?;
    let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(name, true), unescaped(value, true))
        })
        .collect();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query,
        headers,
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    })
}

fn response(reply: &Reply) -> Response {
    let mut builder = hyper::Response::builder().status(reply.status);
    if !reply.content_type.is_empty() {
        builder = builder.header(hyper::header::CONTENT_TYPE, reply.content_type);
    }
    for (name, value) in &reply.headers {
        builder = builder.header(name, value);
    }
    let body = Sent::whole(reply.body.clone());
    builder.body(body).unwrap_or_else(|error| {
        let mut wrong = hyper::Response::new(Sent::whole(error.to_string()));
        *wrong.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        wrong
    })
}
