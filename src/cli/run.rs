//! `vigie run`: the daemon.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{ConfigFile, Failure};
use crate::config::Config;
use crate::pipeline::{Control, Pipeline};
use crate::telemetry;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    telemetry::install(config.log_level);
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    let pipeline = Pipeline::build(config)?;
    info!(version = env!("CARGO_PKG_VERSION"), console = ?pipeline.console_address(), "built");
    let (orders, control) = mpsc::channel(1);
    let path = file.config.clone();
    pipeline.spawn(|| obey_signals(path, orders));
    let accounting = pipeline.run(control, || {
        info!("running");
        notify(sd_notify::NotifyState::Ready);
    })?;
    info!(received = accounting.total().received(), "drained");
    Ok(())
}

/// Turns signals into orders: SIGHUP reloads, SIGTERM and SIGINT drain.
async fn obey_signals(path: PathBuf, orders: mpsc::Sender<Control>) {
    let listen = |kind| signal(kind).map_err(|error| error!(%error, "cannot listen to signals"));
    let signals =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()));
    // Dropping `orders` drains: a daemon that cannot be told to stop must not run.
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else { return };
    loop {
        let order = tokio::select! {
            _ = terminate.recv() => Some(Control::Drain),
            _ = interrupt.recv() => Some(Control::Drain),
            _ = hangup.recv() => reload(path.clone()).await,
        };
        let Some(order) = order else { continue };
        let last = matches!(order, Control::Drain);
        if last {
            notify(sd_notify::NotifyState::Stopping);
        }
        if orders.send(order).await.is_err() || last {
            return;
        }
    }
}

/// Reads the file again, away from the executor: a large dictionary takes a while to check.
async fn reload(path: PathBuf) -> Option<Control> {
    let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
    match loaded {
        Ok(Ok(config)) => Some(Control::Reload(Box::new(config))),
        Ok(Err(mistakes)) => {
            error!(%mistakes, "reload refused: the running config stays");
            None
        }
        Err(panicked) => {
            error!(%panicked, "reload refused: the running config stays");
            None
        }
    }
}

fn notify(state: sd_notify::NotifyState<'_>) {
    // Without systemd there is nobody to tell, and that is fine.
    drop(sd_notify::notify(&[state]));
}
