//! The HTTP around a vendor: the quota, the faults and the log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{Called, Fault, Faults, Log, Reply, Request, Vendor, unescaped};

/// Longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A page such as a proxy's.
const PAGE: &str = "<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>";

/// What is served around a vendor.
#[derive(Debug)]
pub struct Options {
    /// Where; port 0: any.
    pub listen: SocketAddr,
    /// How many calls it takes.
    pub quota: Option<Quota>,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Options {
        Options { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), quota: None, faults: Faults::none() }
    }
}

/// Calls that a helpdesk takes in any span of a minute. One more is answered with 429 and `Retry-After`.
#[derive(Debug, Clone)]
pub struct Quota {
    /// So many.
    pub calls: u32,
    /// A minute, or less of it so that a test need not take as long; `Retry-After` then has decimals.
    pub minute: Duration,
    /// The header of each answer that says how many calls are left.
    pub remaining_header: Option<&'static str>,
    /// The header of each answer that says when there are more.
    pub reset_header: Option<&'static str>,
    /// How that header says it, of how long it is until then.
    pub reset_as: fn(Duration) -> String,
    /// The first minute does not end before a call was refused, however long that takes: so that one is, on a slow
    /// machine too.
    pub first_refusal_is_sure: bool,
}

impl Quota {
    /// So many calls a minute of this length, and no headers but `Retry-After`.
    pub fn new(calls: u32, minute: Duration) -> Quota {
        Quota {
            calls,
            minute,
            remaining_header: None,
            reset_header: None,
            reset_as: |wait| wait.as_secs_f64().to_string(),
            first_refusal_is_sure: false,
        }
    }
}

/// A helpdesk that is served; it ends when dropped.
#[derive(Debug)]
pub struct Fake<V> {
    address: SocketAddr,
    shared: Arc<Shared<V>>,
    up: watch::Sender<bool>,
    /// Whether the server listens, as it says itself.
    listens: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Shared<V> {
    state: Mutex<State<V>>,
    started: Instant,
}

#[derive(Debug)]
struct State<V> {
    vendor: V,
    quota: Option<Quota>,
    /// When the calls of the last minute came.
    taken: VecDeque<Instant>,
    faults: Faults,
    under_way: usize,
    log: Log,
}

/// Serves a vendor's API.
///
/// # Errors
///
/// The address cannot be bound.
pub async fn serve<V: Vendor>(vendor: V, options: Options) -> io::Result<Fake<V>> {
    let listener = TcpListener::bind(options.listen).await?;
    let address = listener.local_addr()?;
    let state = State {
        vendor,
        quota: options.quota,
        taken: VecDeque::new(),
        faults: options.faults,
        under_way: 0,
        log: Log::default(),
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), started: Instant::now() });
    let (up, wanted) = watch::channel(true);
    let (listening, listens) = watch::channel(true);
    tokio::spawn(listen(listener, address, shared.clone(), wanted, listening));
    Ok(Fake { address, shared, up, listens })
}

impl<V: Vendor> Fake<V> {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked and made so far.
    pub fn log(&self) -> Log {
        self.shared.lock().log.clone()
    }

    /// How many tickets were made, and how many calls there were.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.log.made.len(), state.log.calls.len())
    }

    /// Looks at the vendor, or changes it behind the API's back, as an agent does.
    pub fn with<T>(&self, act: impl FnOnce(&mut V) -> T) -> T {
        act(&mut self.shared.lock().vendor)
    }

    /// From now on goes wrong what `faults` says.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// From now on takes so many calls.
    pub fn set_quota(&self, quota: Option<Quota>) {
        let mut state = self.shared.lock();
        state.quota = quota;
        state.taken.clear();
    }

    /// Takes it down: nobody listens any more, and its connections break. Its tickets stay.
    pub async fn close(&mut self) {
        self.up.send_replace(false);
        self.wait_for(false).await;
    }

    /// Brings it up again at the same address.
    pub async fn open(&mut self) {
        self.up.send_replace(true);
        self.wait_for(true).await;
    }

    async fn wait_for(&mut self, is_up: bool) {
        // The server ends before this does only if the runtime does.
        drop(self.listens.wait_for(|listens| *listens == is_up).await);
    }
}

impl<V> Shared<V> {
    fn lock(&self) -> MutexGuard<'_, State<V>> {
        // A vendor that panicked has failed its test already; what it holds may still be looked at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen<V: Vendor>(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared<V>>,
    mut up: watch::Receiver<bool>,
    listening: watch::Sender<bool>,
) {
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            if up.wait_for(|up| *up).await.is_err() {
                return;
            }
            match TcpListener::bind(address).await {
                Ok(bound) => {
                    listener = Some(bound);
                    listening.send_replace(true);
                }
                // Connections of before may still hold it.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            continue;
        };
        // `None`: to be taken down.
        let accepted = tokio::select! {
            accepted = open.accept() => Some(accepted),
            down = async { up.wait_for(|up| !up).await.is_ok() } => match down {
                true => None,
                false => return,
            },
        };
        match accepted {
            Some(Ok((stream, _))) => drop(tokio::spawn(converse(stream, shared.clone(), up.clone()))),
            Some(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            None => {
                listener = None;
                listening.send_replace(false);
            }
        }
    }
}

/// One connection: call after call, until the client leaves, the helpdesk goes down, or a fault resets it.
async fn converse<V: Vendor>(stream: TcpStream, shared: Arc<Shared<V>>, mut up: watch::Receiver<bool>) {
    // Small answers otherwise wait for the client's delayed acknowledgement.
    drop(stream.set_nodelay(true));
    let reset = Arc::new(Notify::new());
    let reset_by = reset.clone();
    let service = service_fn(move |request| {
        let (shared, reset) = (shared.clone(), reset_by.clone());
        async move { Ok::<_, Infallible>(answer(request, &shared, &reset).await) }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut connection => return,
        () = reset.notified() => {}
        _ = up.wait_for(|up| !up) => {}
    }
    // No goodbye, as a crash or a firewall has none.
    drop(connection.into_parts().io.into_inner().set_zero_linger());
}

type Response = hyper::Response<Sent>;

/// What an answer's body is sent as.
struct Sent {
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

async fn answer<V: Vendor>(
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
        if let Some(reply) = state.over_quota() {
            state.log.refused += 1;
            state.log.calls.push(Called {
                at: shared.started.elapsed(),
                request,
                fault: None,
                status: Some(reply.status),
            });
            return response(&state.quota_told(reply));
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
            return response(&reply);
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
        state.quota_told(reply)
    }

    fn undone(&self, request: Request, fault: Option<Fault>, status: Option<u16>) {
        let at = self.started.elapsed();
        self.lock().log.calls.push(Called { at, request, fault, status });
    }
}

impl<V> State<V> {
    /// Counts the call, or says that it is one too many.
    fn over_quota(&mut self) -> Option<Reply> {
        let quota = self.quota.as_ref()?;
        let now = Instant::now();
        let stands_still = quota.first_refusal_is_sure && self.log.refused == 0;
        while !stands_still && self.taken.front().is_some_and(|at| now.duration_since(*at) >= quota.minute) {
            self.taken.pop_front();
        }
        if self.taken.len() < quota.calls as usize {
            self.taken.push_back(now);
            return None;
        }
        let age = self.taken.front().map_or(Duration::ZERO, |at| now.duration_since(*at));
        // A minute that was held open is over by now, or will be.
        let wait = quota.minute.saturating_sub(age);
        let reply = Reply::json(429, &serde_json::json!({ "error": "rate limit exceeded" }));
        Some(reply.with_header("retry-after", wait.as_secs_f64().to_string()))
    }

    fn quota_told(&self, mut reply: Reply) -> Reply {
        let Some(quota) = &self.quota else { return reply };
        if let Some(name) = quota.remaining_header {
            let remaining = (quota.calls as usize).saturating_sub(self.taken.len());
            reply = reply.with_header(name, remaining.to_string());
        }
        if let Some(name) = quota.reset_header {
            let since = self.taken.front().map_or(Duration::ZERO, Instant::elapsed);
            let reset = quota.minute.saturating_sub(since);
            reply = reply.with_header(name, (quota.reset_as)(reset));
        }
        reply
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
