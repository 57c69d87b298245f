//! The console's door: who may look, how many at once, and how long they may take.
//!
//! On loopback whoever can connect may look, as long as no token has the right `operate`; then a request must name
//! this machine in `Host`, so that a web page elsewhere cannot read the console through a visitor's browser by
//! giving its own name our address (DNS rebinding). Everywhere else, and once there is such a token, a request
//! shows one: `Authorization: Bearer TOKEN`, or `Basic` with the token as password, which a browser asks for. Where
//! there is TLS a client certificate does as well.
//! Reports, which change what the daemon knows, are another door with the same rule: there the right `feedback` counts.
//! Hints of helpdesks are a third: each is signed, or its address holds a secret, and no token is asked for.
//! `/healthz` says only that the process lives, and says it to anyone.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::access::peers::{Gate, Limits, Peer, Place};
use crate::access::tls::Tls;
use crate::access::{Access, Door, Refused};
use crate::bridge::webhook::from_base64;
use crate::telemetry::log::seconds;

/// Most connections at once. Beyond, the one that has been there longest goes for the new one.
const CONNECTIONS_MAX: usize = 64;
/// Most connections of one peer: it leaves half of them to others.
const CONNECTIONS_PER_PEER_MAX: usize = 32;
/// From connecting, or from the last answer, to the end of the next request's head.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// From connecting to the end, however well-behaved: a browser or a scraper connects again.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// Longest head of a request, in bytes; hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest body of a request, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = 1024 * 1024;
/// Where contacts are reported.
pub(super) const TOUCHPOINTS: &str = "/v1/touchpoints";
/// Where helpdesks send hints: with a signature, or with the secret in the address.
pub(super) const HINTS: &str = "/v1/bridge/{name}";
pub(super) const HINTS_SECRET: &str = "/v1/bridge/{name}/{secret}";
/// What both begin with.
const HINTS_PREFIX: &str = "/v1/bridge/";
/// Latest answer to a wrong token.
const PENALTY_MAX: Duration = Duration::from_secs(5);
/// After `accept` failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long open connections may finish their answer when the daemon stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// What every connection is given.
#[derive(Clone)]
pub(super) struct Guard {
    access: Arc<Access>,
    /// Whether other machines can come here.
    reachable: bool,
    gate: Gate,
}

impl Guard {
    pub(super) fn new(access: Arc<Access>, reachable: bool) -> Guard {
        let limits = Limits {
            per_peer_max: CONNECTIONS_PER_PEER_MAX,
            strangers_max: CONNECTIONS_MAX,
            penalty_max: PENALTY_MAX,
        };
        // Nobody is let in for longer than a request.
        Guard { access, reachable, gate: Gate::new(limits, Arc::new(Semaphore::new(0))) }
    }

    /// Wrong tokens shown here since the start.
    pub(super) fn wrong_tokens(&self) -> u64 {
        self.gate.counts().wrong_tokens
    }
}

/// One connection's view of the guard.
#[derive(Clone)]
struct Watch {
    guard: Guard,
    /// Certificates shown in the handshake; empty without TLS, and of those who showed none.
    chain: Arc<[CertificateDer<'static>]>,
    place: Arc<Place>,
    /// When the last wrong token is answered.
    held_until: Arc<Mutex<Option<Instant>>>,
}

/// Serves until told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    guard: Guard,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let place = tokio::select! {
                        () = stopped(&mut stop) => break,
                        place = guard.gate.enter(Peer::from(peer.ip())) => place,
                    };
                    // One over its share is closed without a word: whoever is there already knows.
                    let Ok(place) = place else { continue };
                    let tls = guard.reachable.then(|| guard.access.roster().tls().map(Tls::http_acceptor)).flatten();
                    let (router, guard, stop) = (router.clone(), guard.clone(), stop.clone());
                    connections.spawn(async move {
                        match tls {
                            None => attend(stream, Arc::default(), router, guard, place, stop).await,
                            Some(tls) => shake_hands(stream, tls, router, guard, place, stop).await,
                        }
                    });
                }
                Err(error) => {
                    if is_of_one_client(&error) {
                        debug!(%error, "a visitor left at the door");
                        continue;
                    }
                    warn!(%error, pause = %seconds(ACCEPT_PAUSE), "the console accepts nobody");
                    tokio::select! {
                        () = stopped(&mut stop) => break,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    _ = tokio::time::timeout(DRAIN_MAX, drained).await;
}

/// Waits until the daemon stops. Whoever could say so being gone means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    _ = stop.wait_for(|stop| *stop).await;
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        warn!(%error, "a connection to the console failed");
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NotConnected, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | NotConnected | TimedOut)
}

/// Serves one connection from its TLS handshake on, which a stranger must not stretch.
async fn shake_hands<S>(
    stream: S,
    tls: TlsAcceptor,
    router: Router,
    guard: Guard,
    mut place: Place,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut handshake = Box::pin(tls.accept(stream));
    let shaken = tokio::select! {
        () = stopped(&mut stop) => return,
        () = place.sent_away() => return,
        shaken = tokio::time::timeout(HEAD_MAX, &mut handshake) => shaken,
    };
    drop(handshake);
    match shaken {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let chain = chain.iter().cloned().map(CertificateDer::into_owned).collect();
            attend(stream, chain, router, guard, place, stop).await;
        }
        Ok(Err(error)) => debug!(%error, "no TLS handshake"),
        Err(_) => debug!(waited = %seconds(HEAD_MAX), "no TLS handshake"),
    }
}

/// Serves one connection. One that has guessed at a token keeps its place until it would have had its answer, even if
/// it does not wait for it: else closing would be the way to guess faster.
async fn attend<S>(
    stream: S,
    chain: Arc<[CertificateDer<'static>]>,
    router: Router,
    guard: Guard,
    mut place: Place,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let leave = place.until_sent_away();
    let watch = Watch { guard, chain, place: Arc::new(place), held_until: Arc::default() };
    let router = router.layer(middleware::from_fn_with_state(watch.clone(), let_in));
    exchange(stream, router, leave, &mut stop).await;
    let held_until = *watch.held_until.lock();
    if let Some(until) = held_until {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Answers requests until one side has enough, or `leave` says that another one needs the place.
async fn exchange<S>(
    stream: S,
    router: Router,
    leave: impl Future<Output = ()>,
    stop: &mut watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_header_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let over = Instant::now() + CONNECTION_MAX;
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = leave => return,
        () = tokio::time::sleep_until(over) => return,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to the console ended early");
    }
}

/// Answers a request only if its sender may ask.
async fn let_in(State(watch): State<Watch>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" {
        return next.run(request).await;
    }
    let headers = request.headers();
    if body_bytes(headers).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        let text = format!("a body has at most {BODY_BYTES_MAX} bytes\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    if request.uri().path().starts_with(HINTS_PREFIX) {
        // The signature or secret lets in, and no page of a browser knows it. Who lacks it may be guessing.
        let response = next.run(request).await;
        if response.status() == StatusCode::UNAUTHORIZED {
            penalise(&watch).await;
        }
        return response;
    }
    let guard = &watch.guard;
    let token = token(headers).unwrap_or_default();
    let door = if request.uri().path() == TOUCHPOINTS { Door::Reports } else { Door::Http };
    match guard.access.admit(door, guard.reachable, &token, &watch.chain) {
        // Nobody was asked: then the request must be meant for this machine.
        Ok(pass) if pass.grant.name.is_empty() && !is_for_this_machine(headers) => {
            let text = "Host must be localhost or an IP address: a proxy in front sends one of them\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
        Ok(pass) if door == Door::Reports && pass.grant.brands.is_some() => {
            (StatusCode::FORBIDDEN, format!("{}\n", pass.grant.beyond_its_brands("touchpoints")))
                .into_response()
        }
        Ok(_) => next.run(request).await,
        Err(refused) => refuse(&refused, &watch).await,
    }
}

async fn refuse(refused: &Refused, watch: &Watch) -> Response {
    if refused.is_guess() {
        penalise(watch).await;
    }
    let status = match refused {
        Refused::Missing | Refused::Wrong => StatusCode::UNAUTHORIZED,
        Refused::Rights { .. } => StatusCode::FORBIDDEN,
    };
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"vigie\", charset=\"UTF-8\", Bearer")];
    (status, challenge, format!("{refused}\n")).into_response()
}

/// Who guesses waits, each time longer.
async fn penalise(watch: &Watch) {
    let (now, place) = (Instant::now(), &watch.place);
    let until = now + place.penalty(now.into_std());
    *watch.held_until.lock() = Some(until);
    if let Some((peer, guesses)) = place.peer().zip(place.to_log(now.into_std())) {
        info!(?peer, guesses, "wrong token");
    }
    tokio::time::sleep_until(until).await;
}

fn body_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The token that a request shows: RFC 6750 section 2.1, or the password of RFC 7617.
fn token(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = given.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(from_base64(rest)?).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}

/// Whether the browser, or whoever it is, meant this machine. HTTP/1.0 without a `Host` comes from no browser.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
