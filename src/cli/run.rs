//! `vigie run`: the daemon, and what keeps an eye on it.
//!
//! The pipeline has a thread of its own. The main thread only listens: to signals, to the service manager's
//! watchdog, to the pipeline's end. It waits for nobody, so that a daemon that hangs can be told to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::{ConfigFile, Failure};
use crate::config::Config;
use crate::ledger::Accounting;
use crate::pipeline::inherited::Inherited;
use crate::pipeline::reload::Reloader;
use crate::pipeline::{Control, Pipeline, View};
use crate::telemetry::log::{self, LogLevel};

mod manager;
mod signals;
mod supervise;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    // While there is no other thread: it removes variables from the environment.
    let inherited = Inherited::from_environment().map_err(|error| Failure::Mistake(error.into()))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    let ended = runtime.block_on(async {
        let signals = signals::Signals::listen().context("signals")?;
        let (daemon, started) = Daemon::start(file.config.clone(), inherited)?;
        supervise::supervise(&file.config, signals, daemon, started).await
    });
    // A reload that is still being prepared would hold up the end.
    runtime.shutdown_background();
    ended
}

/// The thread with the pipeline.
struct Daemon {
    /// Resolves when it ends; without a value if it panicked.
    ended: oneshot::Receiver<Result<Accounting, Failure>>,
}

/// A pipeline whose every stage runs.
struct Started {
    orders: mpsc::Sender<Control>,
    reloader: Reloader,
    view: Arc<View>,
    log_level: LogLevel,
    drain_max: Duration,
}

impl Daemon {
    fn start(config: PathBuf, inherited: Inherited) -> Result<(Daemon, oneshot::Receiver<Started>), Failure> {
        let (tell_started, started) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let run = move || drop(tell_ended.send(daemon(&config, inherited, tell_started)));
        let thread = std::thread::Builder::new().name("vigie-pipeline".to_owned()).spawn(run);
        thread.context("thread")?;
        Ok((Daemon { ended }, started))
    }

    async fn ended(&mut self) -> Result<Accounting, Failure> {
        let ended = (&mut self.ended).await;
        ended.unwrap_or_else(|_| Err(Failure::Fault(anyhow!("the daemon panicked; this is a bug in vigie"))))
    }
}

/// From the config to the drained end.
fn daemon(
    path: &Path,
    inherited: Inherited,
    started: oneshot::Sender<Started>,
) -> Result<Accounting, Failure> {
    let config = Config::load(path)?;
    let log_level = log::install(config.log_level);
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    if !inherited.is_empty() {
        info!(sockets = %inherited, "sockets are systemd's: they stay open while vigie restarts");
    }
    let drain_max = config.engine.drain_max;
    let pipeline = Pipeline::build_with(config, inherited)?;
    let console = pipeline.console_address().map_or_else(|| "off".to_owned(), |address| address.to_string());
    info!(version = env!("CARGO_PKG_VERSION"), %console, "built");
    let (orders, control) = mpsc::channel(1);
    let started_now =
        Started { orders, reloader: pipeline.reloader(), view: pipeline.view(), log_level, drain_max };
    Ok(pipeline.run(control, || {
        info!("running");
        // Nobody listens any more only where the process is ending.
        drop(started.send(started_now));
    })?)
}
