//! The bridges that run in this process, each on a thread of its own: a slow disk or helpdesk delays nobody else, and
//! one that fails, or panics, is started again and ends nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::spawn::join;
use crate::bridge::config::{Config, Place};
use crate::bridge::reconcile::plan::HINTS_MAX;
use crate::bridge::run::run;
use crate::bridge::webhook::Inbox;
use crate::wire::{self, Client, ClientError, Hub};

/// Bytes between a bridge and the ticket socket within the daemon: some tickets.
const PIPE_BYTES: usize = 64 * 1024;
/// From a bridge's failure to its next start.
const RESTART_AFTER: Duration = Duration::from_secs(60);

/// How a bridge reaches the daemon.
pub type Connect = Arc<dyn Fn(&Config) -> BoxFuture<'static, Result<Client, ClientError>> + Send + Sync>;

/// A bridge and the hints of its helpdesk.
pub type Hinted = (Config, mpsc::Receiver<String>);

/// Those that run in the daemon, and where their helpdesks' hints come in.
pub(super) fn hinted(bridges: Vec<Config>) -> (Vec<Hinted>, Vec<Inbox>) {
    let within = bridges.into_iter().filter(|config| config.place == Place::Daemon);
    let mut inboxes = Vec::new();
    let bridges = within.map(|config| {
        let (ids, hints) = mpsc::channel(HINTS_MAX);
        inboxes.extend(Inbox::new(&config.name, config.preset(), config.webhook_secret.secret(), ids));
        (config, hints)
    });
    (bridges.collect(), inboxes)
}

/// One that nobody gives hints.
pub fn unhinted(config: Config) -> Hinted {
    (config, mpsc::channel(1).1)
}

/// Bridges that run.
pub struct Bridges {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Bridges {
    /// Starts them, each with its helpdesk's hints. One that cannot have a thread is logged and left out.
    pub fn start(bridges: impl IntoIterator<Item = Hinted>, connect: &Connect) -> Bridges {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        for (config, mut hints) in bridges {
            let (connect, stopped, name) = (connect.clone(), stopped.clone(), config.name.clone());
            let thread = std::thread::Builder::new()
                .name(format!("vigie-bridge-{name}"))
                .spawn(move || keep(&config, &connect, &mut hints, &stopped));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => error!(bridge = %name, %error, "bridge not started"),
            }
        }
        Bridges { stop, threads }
    }

    /// Those of the daemon itself, over pipes in memory instead of the socket.
    pub(super) fn within(
        bridges: Vec<Hinted>,
        hub: Hub,
        runtime: Handle,
        edges_stopped: watch::Receiver<bool>,
    ) -> Bridges {
        let connect: Connect = Arc::new(move |config| {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            runtime.spawn(wire::serve_over(theirs, hub.clone(), edges_stopped.clone()));
            Box::pin(Client::over(ours, config.introduction()))
        });
        Bridges::start(bridges, &connect)
    }

    /// Tells them to end and waits for it, at most so long: what is cut off then is looked for at the next start.
    pub async fn end(self, within: Duration) {
        self.stop.send_replace(true);
        let all = async {
            for thread in self.threads {
                join(thread).await;
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            warn!(within_ms = within.as_millis(), "a helpdesk does not answer; its bridge is not waited for");
        }
    }
}

/// Runs one bridge until it is told to end, through its failures.
fn keep(
    config: &Config,
    connect: &Connect,
    hints: &mut mpsc::Receiver<String>,
    stopped: &watch::Receiver<bool>,
) {
    loop {
        let mut once = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("async runtime: {error}"))?;
            let ran = runtime.block_on(run(config, async || connect(config).await, hints, stopped.clone()));
            // A look-up of a name may still hang on a thread of its own.
            runtime.shutdown_background();
            ran.map_err(|error| error.to_string())
        };
        let failed = match std::panic::catch_unwind(AssertUnwindSafe(&mut once)) {
            Ok(Ok(())) => return info!(bridge = %config.name, "bridge ended"),
            Ok(Err(failed)) => failed,
            Err(_) => "panicked; this is a bug in vigie".to_owned(),
        };
        let again_s = RESTART_AFTER.as_secs();
        error!(bridge = %config.name, error = %failed, again_s, "bridge failed; it is started again");
        if waits_for_end(stopped, RESTART_AFTER) {
            return;
        }
    }
}

/// Whether the end came within that time.
fn waits_for_end(stopped: &watch::Receiver<bool>, within: Duration) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        std::thread::sleep(within);
        return *stopped.borrow();
    };
    let mut stopped = stopped.clone();
    runtime.block_on(async { tokio::time::timeout(within, stopped.wait_for(|stop| *stop)).await.is_ok() })
}
