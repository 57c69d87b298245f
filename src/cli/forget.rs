//! `vigie forget`: removes a customer, as people may ask of a company.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::Failure;
use super::import::Place;
use crate::ledger::context::forget::{Forgotten, forget};

#[derive(Debug, Args)]
#[command(
    after_help = "Works beside a running daemon. Tickets that were made keep the customer's name, purchases and contacts \
    as they were then: they go by age, or when their authors delete the posts."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The company's own key of the customer
    #[arg(value_name = "CUSTOMER_KEY")]
    key: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path: PathBuf = arguments.place.ledger()?;
    let key = arguments.key.trim();
    let forgotten = forget(&path, key).map_err(anyhow::Error::new)?;
    let Forgotten { customers, accounts, touchpoints, reports, is_gone } = forgotten;
    if customers + accounts + touchpoints + reports == 0 {
        return Err(Failure::Mistake(anyhow!(
            "no customer {key:?} in {}, nor a touchpoint of one",
            path.display()
        )));
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{key} is removed: {accounts} accounts, {touchpoints} touchpoints, {reports} reports of touchpoints"
    )
    .context("stdout")?;
    if !is_gone {
        writeln!(
            out,
            "somebody reads the ledger: the text leaves its -wal file within the daemon's next minutes"
        )
        .context("stdout")?;
    }
    Ok(())
}
