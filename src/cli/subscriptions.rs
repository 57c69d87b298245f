//! `vigie subscriptions`: who is subscribed, with what is pending, and the end of one that nobody uses any more.

use std::io::Write;

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;

use super::print::{Clock, grouped};
use super::{ConfigFile, Failure};
use crate::config::Config;
use crate::ledger::subscriptions::{self, Subscription};
use crate::ledger::{Ledger, LedgerError};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Forget this subscription, so that nothing is kept for it any more; the daemon must be stopped
    #[arg(long, value_name = "NAME")]
    remove: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.file.load()?;
    let subscriptions = subscriptions::list(&config.ledger.path).map_err(anyhow::Error::new)?;
    match &arguments.remove {
        Some(name) => remove(config, name, &subscriptions),
        None => Ok(list(&subscriptions, &Clock::of_desk(&config)).context("stdout")?),
    }
}

fn list(subscriptions: &[Subscription], clock: &Clock) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if subscriptions.is_empty() {
        return writeln!(out, "no subscription: nobody has asked for tickets yet");
    }
    let width = subscriptions.iter().map(|subscription| subscription.name.len()).max().unwrap_or(0).max(12);
    let zone = clock.name(Timestamp::now());
    writeln!(out, "{:<width$}  {:>12}  oldest pending, {zone}", "subscription", "pending")?;
    for Subscription { name, pending, oldest } in subscriptions {
        let oldest = oldest.map_or_else(|| "-".to_owned(), |at| clock.minute(at));
        writeln!(out, "{name:<width$}  {:>12}  {oldest}", grouped(*pending))?;
    }
    Ok(())
}

fn remove(config: Config, name: &str, subscriptions: &[Subscription]) -> Result<(), Failure> {
    let Some(found) = subscriptions.iter().find(|subscription| subscription.name == name) else {
        let names: Vec<_> = subscriptions.iter().map(|subscription| subscription.name.as_str()).collect();
        let known = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
        return Err(Failure::Mistake(anyhow!("no subscription {name:?}: {known}")));
    };
    let mut ledger = match Ledger::open(config.ledger) {
        Err(error @ LedgerError::InUse(_)) => {
            return Err(Failure::Fault(anyhow!("{error}: stop it, remove the subscription, start it again")));
        }
        opened => opened.map_err(anyhow::Error::new)?,
    };
    ledger.remove_subscription(name).map_err(anyhow::Error::new)?;
    writeln!(
        std::io::stdout(),
        "{name} is removed, and with it the claim on {} pending records; a client of that name would begin anew, \
         with everything that is kept",
        grouped(found.pending),
    )
    .context("stdout")?;
    Ok(())
}
