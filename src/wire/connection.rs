//! The listening sockets: what may connect, how many, and what happens when accepting fails.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

use super::client::Address;
use super::conversation::{converse, refuse, stopped};
use super::frame::FRAME_BYTES_MAX;
use super::hello::WINDOW_MAX;
use super::hub::Hub;
use super::session::Terms;
use super::visitor::Visitor;
use crate::access::peers::{Counts, Gate, Limits, Peer, Place};
use crate::access::tls::Tls;
use crate::access::{Access, Door as Entrance};
use crate::telemetry::log::seconds;
use crate::ticket::proto::goodbye::Code;

/// The socket file where the config names neither one nor a TCP address.
pub const UNIX_DEFAULT: &str = "/run/vigie/vigie.sock";

/// Who may use the socket file: the daemon's user and group.
const SOCKET_MODE: u32 = 0o660;

/// How long to wait after `accept` failed for want of descriptors or memory: trying again at once would
/// only burn the processor until a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Clients over the limit that are told so at any one time; further ones are closed without a word.
const REFUSALS_MAX: usize = 64;

/// Smallest frame limit, in bytes: room for a `Welcome` and for a ticket with a short post.
const FRAME_BYTES_MIN: usize = 4096;

/// What the operator sets. Every limit can only be lowered, but for `connections_max`.
///
/// A connected client costs some 6 KiB while it is idle (10,000 in 64 subscriptions: 58 MiB). One that breaks nothing and
/// still wants to hurt can make it hold twice `frame_bytes_max` of unfinished frame and some 500 KiB of
/// unread deliveries; a stranger that has not said hello, 512 KiB for `handshake_max`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Socket file; its folder must exist. `None`: no Unix socket.
    pub unix: Option<PathBuf>,
    /// Address of the TCP listener. `None`: none. Anything but loopback needs somebody in `access`.
    pub tcp: Option<SocketAddr>,
    /// Who may do what, and the certificate that the TCP listener shows.
    pub access: Arc<Access>,
    /// Longest frame either way, in bytes: 4096 to 1 MiB, which is the default.
    pub frame_bytes_max: usize,
    /// Largest window granted: 1 to 65,536, which is the default.
    pub window_max: u32,
    /// From connecting to a whole `Hello`: at most 5 s, which is the default.
    pub handshake_max: Duration,
    /// Silence after which a heartbeat is sent; three times as long closes. At most an hour; default 15 s.
    pub heartbeat_interval: Duration,
    /// A client that has something to read and reads nothing for so long is closed; default 10 s.
    pub write_max: Duration,
    /// From the stop to the end of the last connection; default 5 s.
    pub drain_max: Duration,
    /// Most clients at once, both listeners together; default 64.
    pub connections_max: usize,
    /// Most connections of one peer, which is a user of this machine or an address; default 32.
    pub connections_per_peer_max: usize,
    /// Most connections of each listener that have not said hello; default 64. They do not count as clients.
    pub strangers_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        let terms = Terms::default();
        Config {
            unix: None,
            tcp: None,
            access: Arc::default(),
            frame_bytes_max: terms.frame_bytes_max,
            window_max: terms.window_max,
            handshake_max: terms.handshake_max,
            heartbeat_interval: terms.heartbeat_interval,
            write_max: terms.write_max,
            drain_max: terms.drain_max,
            connections_max: 64,
            connections_per_peer_max: 32,
            strangers_max: 64,
        }
    }
}

impl Config {
    /// Where a client on this machine finds the daemon: its socket file, if it has one.
    pub fn address(&self) -> Address {
        match (&self.unix, self.tcp) {
            (Some(unix), _) => Address::Unix(unix.clone()),
            (None, Some(tcp)) => Address::Tcp(tcp.to_string()),
            (None, None) => Address::Unix(UNIX_DEFAULT.into()),
        }
    }
}

/// Why the ticket socket cannot be opened. Each names the path, address or key.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Neither address is set.
    #[error("neither a unix socket nor a tcp address is configured")]
    NoAddress,
    /// A value outside its range.
    #[error("{key} = {value}: must be {range}")]
    OutOfRange {
        /// The field of [`Config`].
        key: &'static str,
        /// As given.
        value: String,
        /// Accepted.
        range: &'static str,
    },
    /// Open to the network, and nobody has a token or a certificate.
    #[error("tcp = {address}: a listener that others can reach needs a token or a certificate")]
    TokenMissing {
        /// As configured.
        address: SocketAddr,
    },
    /// Someone answers on the socket file.
    #[error("{}: another daemon is listening", path.display())]
    AnotherDaemon {
        /// The socket file.
        path: PathBuf,
    },
    /// The path holds something that is no socket, and that we do not remove.
    #[error("{}: exists and is not a socket", path.display())]
    NotASocket {
        /// As configured.
        path: PathBuf,
    },
    /// The socket file cannot be made.
    #[error("{}: {source}", path.display())]
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Of the system.
        source: io::Error,
    },
    /// The address cannot be used.
    #[error("{address}: {source}")]
    Tcp {
        /// As configured.
        address: SocketAddr,
        /// Of the system.
        source: io::Error,
    },
}

/// Bound sockets, not served yet.
#[derive(Debug)]
pub struct Listener {
    /// Without a file where somebody else made the socket, and keeps it.
    unix: Option<(std::os::unix::net::UnixListener, Option<SocketFile>)>,
    tcp: Option<std::net::TcpListener>,
    terms: Terms,
    access: Arc<Access>,
    gates: Gates,
}

/// Counts who comes in where.
#[derive(Debug, Clone)]
pub struct Gates {
    unix: Gate,
    tcp: Gate,
}

impl Gates {
    fn new(config: &Config) -> Gates {
        let limits = Limits {
            per_peer_max: config.connections_per_peer_max,
            strangers_max: config.strangers_max,
            penalty_max: config.handshake_max,
        };
        let places = Arc::new(Semaphore::new(config.connections_max));
        Gates { unix: Gate::new(limits, places.clone()), tcp: Gate::new(limits, places) }
    }

    /// Both listeners together.
    pub fn counts(&self) -> Counts {
        let (unix, tcp) = (self.unix.counts(), self.tcp.counts());
        Counts {
            connections: unix.connections + tcp.connections,
            strangers: unix.strangers + tcp.strangers,
            crowded: unix.crowded + tcp.crowded,
            wrong_tokens: unix.wrong_tokens + tcp.wrong_tokens,
        }
    }
}

impl Listener {
    /// Opens the sockets. Needs no runtime.
    ///
    /// # Errors
    ///
    /// See [`BindError`]; nothing is left open or on disk.
    pub fn bind(config: Config) -> Result<Listener, BindError> {
        Listener::bind_or_take(config, None, None)
    }

    /// The same, with sockets that somebody else has opened at these addresses, keeps open after us, and gave
    /// whatever mode they have: their files are left alone.
    ///
    /// # Errors
    ///
    /// See [`BindError`]; nothing is left open or on disk.
    pub fn bind_or_take(
        config: Config,
        unix: Option<std::os::unix::net::UnixListener>,
        tcp: Option<std::net::TcpListener>,
    ) -> Result<Listener, BindError> {
        check(&config)?;
        let unix = match (&config.unix, unix) {
            (Some(path), None) => Some(bind_unix(path).map(|(listener, file)| (listener, Some(file)))?),
            (Some(path), Some(listener)) => {
                let path = path.clone();
                listener.set_nonblocking(true).map_err(|source| BindError::Unix { path, source })?;
                Some((listener, None))
            }
            (None, _) => None,
        };
        let bind_tcp = |address: SocketAddr| {
            let listener = tcp.map_or_else(|| std::net::TcpListener::bind(address), Ok);
            listener
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .map_err(|source| BindError::Tcp { address, source })
        };
        let tcp = config.tcp.map(bind_tcp).transpose()?;
        let gates = Gates::new(&config);
        warn_of_few_files(&config);
        let terms = Terms {
            window_max: config.window_max,
            frame_bytes_max: config.frame_bytes_max,
            handshake_max: config.handshake_max,
            heartbeat_interval: config.heartbeat_interval,
            write_max: config.write_max,
            drain_max: config.drain_max,
        };
        Ok(Listener { unix, tcp, terms, access: config.access, gates })
    }

    /// Who is in, for metrics.
    pub fn gates(&self) -> Gates {
        self.gates.clone()
    }

    /// The TCP address bound, with the port that the system chose for port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Serves clients until `stop` holds true or its sender is gone, then drains them: each is told, may
    /// answer what it has, and is closed within `drain_max`. The socket file is removed first.
    ///
    /// # Errors
    ///
    /// Only where the runtime cannot watch the sockets. A failing `accept` or client ends nothing.
    pub async fn serve(self, hub: Hub, stop: watch::Receiver<bool>) -> io::Result<()> {
        let terms = Arc::new(self.terms);
        let reachable =
            self.tcp.as_ref().is_some_and(|tcp| !tcp.local_addr().is_ok_and(|at| at.ip().is_loopback()));
        let (unix, file) = self.unix.unzip();
        let unix = unix.map(tokio::net::UnixListener::from_std).transpose()?;
        let tcp = self.tcp.map(tokio::net::TcpListener::from_std).transpose()?;
        let guests = |gate: &Gate, reachable| Guests {
            hub: hub.clone(),
            terms: terms.clone(),
            access: self.access.clone(),
            reachable,
            gate: gate.clone(),
            stop: stop.clone(),
        };
        let unix = async {
            if let Some(unix) = unix {
                attend(unix, file.flatten(), guests(&self.gates.unix, false)).await;
            }
        };
        let tcp = async {
            if let Some(tcp) = tcp {
                attend(tcp, None, guests(&self.gates.tcp, reachable)).await;
            }
        };
        tokio::join!(unix, tcp);
        Ok(())
    }
}

/// Serves one client over a stream that is already connected, under the default limits: the other end of
/// [`Client::over`](super::Client::over). Ends as [`Listener::serve`] does, with the client or with `stop`.
pub async fn serve_over<S>(stream: S, hub: Hub, stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let visitor = Visitor::anyone(Instant::now().into_std());
    converse(stream, hub, visitor, Arc::new(Terms::default()), stop).await;
}

fn check(config: &Config) -> Result<(), BindError> {
    let second = Duration::from_secs(1);
    let checks = [
        (
            (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&config.frame_bytes_max),
            ("frame_bytes_max", config.frame_bytes_max.to_string(), "4096 to 1048576"),
        ),
        (
            (1..=WINDOW_MAX).contains(&config.window_max),
            ("window_max", config.window_max.to_string(), "1 to 65536"),
        ),
        (
            !config.handshake_max.is_zero() && config.handshake_max <= 5 * second,
            ("handshake_max", format!("{:?}", config.handshake_max), "more than 0 and at most 5 s"),
        ),
        (
            !config.heartbeat_interval.is_zero() && config.heartbeat_interval <= 3600 * second,
            ("heartbeat_interval", format!("{:?}", config.heartbeat_interval), "more than 0 and at most 1 h"),
        ),
        (
            !config.write_max.is_zero() && config.write_max <= 3600 * second,
            ("write_max", format!("{:?}", config.write_max), "more than 0 and at most 1 h"),
        ),
        (config.drain_max <= 3600 * second, ("drain_max", format!("{:?}", config.drain_max), "at most 1 h")),
        (
            (1..=Semaphore::MAX_PERMITS).contains(&config.connections_max),
            ("connections_max", config.connections_max.to_string(), "at least 1"),
        ),
        (
            config.connections_per_peer_max > 0,
            ("connections_per_peer_max", config.connections_per_peer_max.to_string(), "at least 1"),
        ),
        (config.strangers_max > 0, ("strangers_max", config.strangers_max.to_string(), "at least 1")),
    ];
    if let Some((_, (key, value, range))) = checks.into_iter().find(|(fine, _)| !fine) {
        return Err(BindError::OutOfRange { key, value, range });
    }
    match config.tcp {
        None if config.unix.is_none() => Err(BindError::NoAddress),
        Some(address) if !address.ip().is_loopback() && !config.access.roster().guards(Entrance::Socket) => {
            Err(BindError::TokenMissing { address })
        }
        _ => Ok(()),
    }
}

/// Descriptors for everything but connections: ledger, sources, listeners, console, the runtime's own.
const OTHER_FILES: usize = 300;

/// Tells the operator when the system allows fewer descriptors than the config allows connections: then `accept`
/// fails long before the limit, and for everybody.
fn warn_of_few_files(config: &Config) {
    let needed = config.connections_max + 2 * (config.strangers_max + REFUSALS_MAX) + OTHER_FILES;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(allowed) = open_files_max(&limits)
        && allowed < needed
    {
        warn!(allowed, needed, "fewer open files are allowed than connections_max needs: raise LimitNOFILE");
    }
}

/// The soft limit of open files in the text of `/proc/self/limits` (proc(5)); `None` where there is none.
fn open_files_max(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The file of a bound socket; removed with it, unless someone else has put another in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            std::fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "socket file not removed");
        }
    }
}

fn bind_unix(path: &Path) -> Result<(std::os::unix::net::UnixListener, SocketFile), BindError> {
    let at = |source: io::Error| BindError::Unix { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            // Nobody listens: a daemon that was killed left it behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // Answered, or alive with its queue full.
            Ok(_) => {
                return Err(BindError::AnotherDaemon { path: path.to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(BindError::AnotherDaemon { path: path.to_owned() });
            }
            Err(error) => return Err(at(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(error)),
    }
    // Made beside its place and moved there once its mode is right, so that nobody ever finds the socket
    // with the mode of the umask, and a stale file is replaced in one step.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let made = path.with_file_name(name);
    _ = std::fs::remove_file(&made);
    let prepare = || {
        let listener = std::os::unix::net::UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        listener.set_nonblocking(true)?;
        let file = std::fs::symlink_metadata(&made)?;
        std::fs::rename(&made, path)?;
        Ok((listener, SocketFile { path: path.to_owned(), identity: (file.dev(), file.ino()) }))
    };
    prepare().map_err(|error| {
        _ = std::fs::remove_file(&made);
        at(error)
    })
}

/// What every connection of one listener is given.
#[derive(Clone)]
struct Guests {
    hub: Hub,
    terms: Arc<Terms>,
    access: Arc<Access>,
    /// Whether other machines can come to this listener.
    reachable: bool,
    gate: Gate,
    stop: watch::Receiver<bool>,
}

/// Where clients come in.
trait Door: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Whether TLS is spoken here, where there is a certificate.
    const IS_NETWORK: bool;

    fn admit(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Door for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    const IS_NETWORK: bool = false;

    async fn admit(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, _) = self.accept().await?;
        let peer = Peer::User(stream.peer_cred()?.uid());
        Ok((stream, peer))
    }
}

impl Door for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    const IS_NETWORK: bool = true;

    async fn admit(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, peer) = self.accept().await?;
        debug!(%peer, "connected");
        // Deliveries and acks are small and awaited: Nagle's algorithm would hold each back for the last
        // one's answer.
        stream.set_nodelay(true)?;
        Ok((stream, peer.ip().into()))
    }
}

async fn attend<D: Door>(door: D, file: Option<SocketFile>, mut guests: Guests) {
    let mut conversations = JoinSet::new();
    let mut refusals = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut guests.stop) => break,
            Some(ended) = conversations.join_next() => log_panic(ended),
            Some(ended) = refusals.join_next() => log_panic(ended),
            admitted = door.admit() => match admitted {
                Ok((stream, peer)) => {
                    let place = tokio::select! {
                        () = stopped(&mut guests.stop) => break,
                        place = guests.gate.enter(peer) => place,
                    };
                    match place {
                        Ok(place) => _ = conversations.spawn(receive::<D>(stream, place, guests.clone())),
                        Err(_) => {
                            let code = Code::TooManyConnections.as_str_name();
                            let now = Instant::now().into_std();
                            if let Some(times) = guests.gate.refusals_to_log(peer, code, now) {
                                let most = guests.gate.per_peer_max();
                                info!(?peer, code, most, times, "refused: too many connections of one peer");
                            }
                            if refusals.len() < REFUSALS_MAX {
                                let most = guests.gate.per_peer_max();
                                refusals.spawn(turn_away(stream, most));
                            }
                        }
                    }
                }
                Err(error) if concerns_one_client(&error) => debug!(%error, "a client left at the door"),
                Err(error) => {
                    warn!(%error, pause = %seconds(ACCEPT_PAUSE), "no client can be accepted");
                    tokio::select! {
                        () = stopped(&mut guests.stop) => break,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    drop((door, file));
    refusals.abort_all();
    let drained = async {
        while let Some(ended) = conversations.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(guests.terms.drain_max, drained).await.is_err() {
        warn!(clients = conversations.len(), "clients closed at the end of the grace period");
        conversations.shutdown().await;
    }
}

/// Says why to a peer that has too many connections already. A client that expects TLS finds no handshake in it,
/// and is closed all the same: this must cost less than what it keeps away.
async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(stream: S, most: usize) {
    let reason = format!("too many connections: one peer may have {most} at once");
    refuse(stream, Code::TooManyConnections, &reason).await;
}

/// Serves one client from its first byte, or from its TLS handshake, on.
///
/// Boxed, both ways: a future is as long as the longest way through it, and most connections go the shorter one.
fn receive<D: Door>(
    stream: D::Stream,
    place: Place,
    guests: Guests,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let Guests { hub, terms, access, reachable, stop, .. } = guests;
    let tls = D::IS_NETWORK.then(|| access.roster().tls().map(Tls::acceptor)).flatten();
    let visitor = Visitor::new(access, reachable, place, Instant::now().into_std());
    match tls {
        None => Box::pin(converse(stream, hub, visitor, terms, stop)),
        Some(tls) => Box::pin(shake_hands(stream, tls, hub, visitor, terms, stop)),
    }
}

async fn shake_hands<S>(
    stream: S,
    tls: TlsAcceptor,
    hub: Hub,
    mut visitor: Visitor,
    terms: Arc<Terms>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let until = Instant::from_std(visitor.since) + terms.handshake_max;
    // It is longer than everything else that a connection holds.
    let mut handshake = Box::pin(tls.accept(stream));
    let shaken = tokio::select! {
        () = stopped(&mut stop) => return,
        () = visitor.place.sent_away() => return,
        shaken = tokio::time::timeout_at(until, &mut handshake) => shaken,
    };
    drop(handshake);
    match shaken {
        Ok(Ok(stream)) => {
            visitor.shows(stream.get_ref().1.peer_certificates());
            converse(Box::new(stream), hub, visitor, terms, stop).await;
        }
        Ok(Err(error)) => no_handshake(&visitor.place, &error.to_string()),
        Err(_) => no_handshake(&visitor.place, "not in time"),
    }
}

fn no_handshake(place: &Place, reason: &str) {
    if let Some((peer, times)) = place.refusals_to_log("TLS", Instant::now().into_std()) {
        info!(?peer, reason, times, "refused: no TLS handshake");
    }
}

/// Errors of `accept` that come from the connection at hand (accept(2), "Error handling").
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, InvalidInput,
        NetworkDown, NetworkUnreachable, NotConnected, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | InvalidInput
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | TimedOut
    )
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a connection failed");
    }
}

#[cfg(test)]
mod tests;
