//! The main thread's loop: what happens on which signal, when the watchdog is fed, what the manager hears.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{Level, debug, error, info, warn};

use super::manager::Manager;
use super::signals::{Asked, Signals};
use super::{Daemon, Started};
use crate::cli::Failure;
use crate::config::Config;
use crate::console::Status;
use crate::pipeline::reload::{Prepared, Reloader};
use crate::pipeline::{Control, View};
use crate::telemetry::log::seconds;

/// Between two looks at how the daemon is, without a watchdog or with a slow one.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Between two requests for more time while the daemon starts, and how much each asks for.
const START_ASK_EVERY: Duration = Duration::from_secs(10);
const START_ASK_FOR: Duration = Duration::from_secs(60);
/// After so long no more time is asked for: a million names and a ledger with a million tickets take seconds, so
/// that this is a disk or a library that does not answer.
const START_MAX: Duration = Duration::from_secs(900);

/// What the pipeline's own limit for a drain leaves out: the last line of the log.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Follows the daemon from its start to its end.
pub(super) async fn supervise(
    config: &Path,
    mut signals: Signals,
    mut daemon: Daemon,
    mut started: oneshot::Receiver<Started>,
) -> Result<(), Failure> {
    let manager = Arc::new(Manager::default());
    let mut reload_after_start = false;
    let begun = Instant::now();
    // The sender is dropped a moment before the end is told; a receiver that has answered must not be asked again.
    let mut may_start = true;
    let mut ask = tokio::time::interval(START_ASK_EVERY);
    let running = loop {
        tokio::select! {
            biased;
            running = &mut started, if may_start => match running {
                Ok(running) => break running,
                Err(_) => may_start = false,
            },
            ended = daemon.ended() => return ended.map(|_| ()).inspect_err(|failure| manager.ended(failure)),
            asked = signals.next() => match asked {
                Asked::End(why) => {
                    info!(signal = why.name(), "ended before it ran");
                    return Ok(());
                }
                Asked::Reload => reload_after_start = true,
            },
            _ = ask.tick(), if begun.elapsed() < START_MAX => manager.starting(START_ASK_FOR),
        }
    };
    let watchdog = Manager::watchdog();
    if let Some(watchdog) = watchdog {
        running.view.stuck_after(watchdog / 2);
    }
    let look_every = watchdog.map_or(LOOK_EVERY, |watchdog| LOOK_EVERY.min(watchdog / 4));
    let mut supervisor = Supervisor {
        config: Arc::from(config),
        manager,
        running,
        feeds: watchdog.is_some(),
        stuck: BTreeSet::new(),
        preparing: None,
        reload_again: false,
        refused: None,
        drain_until: None,
        telling: None,
    };
    supervisor.manager.ready("running");
    if reload_after_start {
        supervisor.reload();
    }
    let mut look = tokio::time::interval(look_every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            asked = signals.next() => supervisor.asked(asked)?,
            ended = daemon.ended() => {
                let accounting = ended.inspect_err(|failure| supervisor.manager.ended(failure))?;
                info!(received = accounting.total().received(), "drained");
                return Ok(());
            }
            () = passed(supervisor.drain_until) => return Err(supervisor.not_drained()),
            prepared = finished(&mut supervisor.preparing) => supervisor.prepared(prepared),
            _ = look.tick() => supervisor.look(),
        }
    }
}

/// What there is to know while the daemon runs.
struct Supervisor {
    config: Arc<Path>,
    manager: Arc<Manager>,
    running: Started,
    /// Whether somebody waits for `WATCHDOG=1`.
    feeds: bool,
    /// Stages that are stuck and were named.
    stuck: BTreeSet<Arc<str>>,
    /// A reload under way.
    preparing: Option<Preparing>,
    /// One more was asked for meanwhile.
    reload_again: bool,
    /// Why the last reload was refused, if it was.
    refused: Option<String>,
    /// When a drain that was asked for must have ended.
    drain_until: Option<Instant>,
    /// A status on its way to the manager.
    telling: Option<JoinHandle<()>>,
}

type Preparing = JoinHandle<Result<Prepared, String>>;

impl Supervisor {
    fn asked(&mut self, asked: Asked) -> Result<(), Failure> {
        match asked {
            Asked::End(why) if self.drain_until.is_some() => {
                let told =
                    format!("told to end a second time, by {}: ended at once and not drained; ", why.name());
                let told = anyhow!("{told}what was not committed comes again after the restart");
                Err(Failure::Ended(why.exit_code(), told))
            }
            Asked::End(why) => {
                info!(signal = why.name(), within = %seconds(self.running.drain_max), "told to end");
                // A reload that is not ready by now would change what the last posts are decided by.
                self.preparing = None;
                let within = self.running.drain_max + DRAIN_GRACE;
                self.drain_until = Some(Instant::now() + within);
                self.manager.stopping(within);
                // Full or closed only where it is ending already.
                drop(self.running.orders.try_send(Control::Drain));
                Ok(())
            }
            Asked::Reload if self.drain_until.is_some() => {
                info!("a reload is not taken while draining");
                Ok(())
            }
            Asked::Reload => {
                self.reload();
                Ok(())
            }
        }
    }

    /// Begins a reload; if one is under way, another one follows it, because the file may have changed since.
    fn reload(&mut self) {
        if self.preparing.is_some() {
            self.reload_again = true;
            return;
        }
        self.manager.reloading();
        let (config, reloader) = (self.config.clone(), self.running.reloader.clone());
        self.preparing = Some(tokio::task::spawn_blocking(move || prepare(&config, &reloader)));
    }

    /// Ends a reload: all of it is applied, or nothing.
    fn prepared(&mut self, prepared: Result<Prepared, String>) {
        let reloader = &self.running.reloader;
        let told = match prepared {
            Ok(prepared) => {
                let reloaded = reloader.commit(prepared);
                // Whoever lowers the level wants to see that it was, and so does who raises it.
                self.running.log_level.set(reloaded.log_level.max(Level::INFO));
                info!(log_level = %reloaded.log_level, "reloaded brands, service words, the desk, tokens, certificates and log level");
                reloaded.warnings.iter().for_each(|warning| warn!("{warning}"));
                self.refused = None;
                let told = if reloaded.takes_restart.is_empty() {
                    "reloaded".to_owned()
                } else {
                    let keys = reloaded.takes_restart.join(", ");
                    warn!(keys, "changed in the file, and taken only by a restart");
                    format!("reloaded, but for what takes a restart: {keys}")
                };
                self.running.log_level.set(reloaded.log_level);
                told
            }
            Err(why) => {
                reloader.refuse();
                error!(%why, "reload refused: the running config stays");
                self.refused.insert(format!("reload refused, the running config stays: {why}")).clone()
            }
        };
        self.manager.ready(&told);
        if std::mem::take(&mut self.reload_again) {
            self.reload();
        }
    }

    /// Feeds the watchdog if every stage makes progress, and tells how things are.
    fn look(&mut self) {
        let stuck = self.running.view.stuck();
        for stage in &stuck {
            if self.stuck.insert(stage.stage.clone()) {
                error!(stage = %stage.stage, busy_for = %seconds(stage.busy_for), "stuck: the watchdog is not fed until it goes on");
            }
        }
        self.stuck.retain(|stage| {
            let still = stuck.iter().any(|stuck| stuck.stage == *stage);
            if !still {
                info!(%stage, "goes on");
            }
            still
        });
        if stuck.is_empty() && self.feeds {
            self.manager.alive();
        }
        // Reading the status takes locks that a stage may hold: this thread waits for nobody.
        let is_told = self.telling.as_ref().is_none_or(JoinHandle::is_finished);
        if is_told && self.drain_until.is_none() && self.preparing.is_none() {
            let (view, manager) = (self.running.view.clone(), self.manager.clone());
            let (stuck, refused) = (stuck.first().map(ToString::to_string), self.refused.clone());
            self.telling = Some(tokio::task::spawn_blocking(move || tell(&view, &manager, stuck, refused)));
        }
    }

    fn not_drained(&self) -> Failure {
        let (limit, grace) = (seconds(self.running.drain_max), seconds(DRAIN_GRACE));
        Failure::Fault(anyhow!(
            "not drained {grace} after drain_max_ms, {limit}, was over: what was not committed comes again after the restart"
        ))
    }
}

fn tell(view: &View, manager: &Manager, stuck: Option<String>, refused: Option<String>) {
    let told = stuck.into_iter().chain([summary(&view.status())]).chain(refused);
    manager.status(&told.collect::<Vec<_>>().join("; "));
}

/// The status in a line.
fn summary(status: &Status) -> String {
    let right = status.sources.iter().filter(|source| source.connected || source.finished).count();
    let trouble = status.sources.iter().find(|source| !source.connected && !source.finished);
    let trouble =
        trouble.map_or_else(String::new, |source| format!(" ({}: {})", source.name, source.trouble));
    let waiting: usize = status.subscriptions.iter().map(|subscription| subscription.pending).sum();
    let sources = status.sources.len();
    format!(
        "running: {right} of {sources} sources connected or read{trouble}, {waiting} records wait for their clients"
    )
}

/// Everything of a reload that takes time or can fail.
fn prepare(config: &Path, reloader: &Reloader) -> Result<Prepared, String> {
    let config = Config::load(config).map_err(|mistakes| mistakes.to_string())?;
    let prepared = reloader.prepare(&config).map_err(|refused| refused.to_string());
    debug!(ready = prepared.is_ok(), "the config was read and compiled");
    prepared
}

/// Resolves when the reload under way is prepared; never if there is none.
async fn finished(preparing: &mut Option<Preparing>) -> Result<Prepared, String> {
    let Some(handle) = preparing else { return std::future::pending().await };
    let prepared = handle.await;
    *preparing = None;
    prepared.unwrap_or_else(|panicked| Err(format!("{panicked}; this is a bug in vigie")))
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_that_fails_to_start_is_waited_for_until_it_says_why() {
        let (tell_started, started) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        drop(tell_started);
        let signals = Signals::listen().unwrap();
        let supervised = tokio::spawn(async move {
            supervise(Path::new("vigie.toml"), signals, Daemon { ended }, started).await
        });
        // Meanwhile the first tick comes, after which everything is asked again.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        drop(tell_ended.send(Err(Failure::Fault(anyhow!("a full disk")))));
        let said = supervised.await.unwrap().unwrap_err();
        assert!(matches!(said, Failure::Fault(why) if why.to_string() == "a full disk"));
    }
}
