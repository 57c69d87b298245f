//! `vigie bridge`: tickets into the helpdesk that a company already has.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use sd_notify::NotifyState;
use tracing::{info, warn};

use super::{ConfigFile, Failure, asked_to_end};
use crate::bridge::config::{Config as BridgeConfig, Place};
use crate::bridge::preset::BUILT_IN;
use crate::config::Config;
use crate::pipeline::bridges::{Bridges, Connect, unhinted};
use crate::telemetry::log;

mod test;

/// Longest that calls under way are waited for at the end, a little more than a bridge waits itself.
const DRAIN_MAX: Duration = Duration::from_secs(45);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the calls that a kind of helpdesk takes, as a start for a preset of one's own
    Preset {
        /// One of rt, zammad, chatwoot, zendesk, freshdesk, glpi, jira, osticket
        kind: String,
    },
    /// Say whether address, credentials, queue and fields are right; makes one test ticket and removes it
    Test {
        #[command(flatten)]
        file: ConfigFile,
        /// Only the bridge of this name
        name: Option<String>,
        /// Also make a test ticket where the helpdesk's API cannot remove one: look at it, and close it by hand
        #[arg(long)]
        leave_ticket: bool,
    },
    /// Run the bridges with `run = "apart"`, or the one that is named, beside the daemon
    Run(RunArguments),
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Only the bridge of this name
    name: Option<String>,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Preset { kind } => preset(kind),
        Command::Test { file, name, leave_ticket } => {
            let config = file.load()?;
            let bridges = chosen(&config, name.as_deref(), |_| true)?;
            test::run(&config, &bridges, *leave_ticket)
        }
        Command::Run(arguments) => apart(arguments),
    }
}

fn preset(kind: &str) -> Result<(), Failure> {
    let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == kind) else {
        let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        return Err(Failure::Mistake(anyhow!("{kind:?}: must be one of {}", names.join(", "))));
    };
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    Ok(())
}

/// The bridge of this name, or all that are wanted.
fn chosen(
    config: &Config,
    name: Option<&str>,
    wanted: impl Fn(&BridgeConfig) -> bool,
) -> Result<Vec<BridgeConfig>, Failure> {
    let bridges = config.bridges.iter();
    let chosen: Vec<_> = match name {
        Some(name) => bridges.filter(|bridge| bridge.name == name).cloned().collect(),
        None => bridges.filter(|bridge| wanted(bridge)).cloned().collect(),
    };
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let names: Vec<_> = config.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
    Err(Failure::Mistake(match (name, names.as_slice()) {
        (_, []) => anyhow!("the config has no [[bridge]]"),
        (Some(name), names) => anyhow!("there is no [[bridge]] {name:?}; there are: {}", names.join(", ")),
        (None, names) => {
            anyhow!("no [[bridge]] has run = \"apart\": the daemon itself runs {}", names.join(", "))
        }
    }))
}

fn apart(arguments: &RunArguments) -> Result<(), Failure> {
    let config = arguments.file.load()?;
    let bridges = chosen(&config, arguments.name.as_deref(), |bridge| bridge.place == Place::Apart)?;
    if let Some(bridge) = bridges.iter().find(|bridge| bridge.place == Place::Daemon) {
        return Err(Failure::Mistake(anyhow!(
            "bridge {:?} is run by the daemon: give it run = \"apart\" to run it here",
            bridge.name
        )));
    }
    log::install(config.log_level);
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    let connect: Connect = Arc::new(|bridge: &BridgeConfig| {
        let bridge = bridge.clone();
        Box::pin(async move { bridge.connect().await })
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    runtime.block_on(async {
        let running = Bridges::start(bridges.into_iter().map(unhinted), &connect);
        tell(&[NotifyState::Ready, NotifyState::Status("running")]);
        asked_to_end().await;
        info!("told to end: calls under way are waited for");
        tell(&[NotifyState::Stopping]);
        tokio::select! {
            () = running.end(DRAIN_MAX) => Ok(()),
            () = asked_to_end() => {
                Err(Failure::Ended(143, anyhow!("told to end a second time: calls under way are looked for at the next start")))
            }
        }
    })
}

/// The service manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told how we are");
    }
}
