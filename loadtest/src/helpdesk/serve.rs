//! The HTTP around a vendor: who listens, and the connections.

mod answer;
mod quota;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{Faults, Log, Vendor};
use answer::answer;
use quota::Grant;
pub use quota::Quota;

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
    grant: Grant,
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
        grant: Grant::new(options.quota),
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
        self.shared.lock().grant = Grant::new(quota);
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
