//! `vigie forget`: removes a customer, as people may ask of a company.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::{Failure, LedgerFile};
use crate::ledger::context::forget::{Forgotten, forget};

#[derive(Debug, Args)]
#[command(
    after_help = "Works beside a running daemon. The customer's tickets keep the post and the points; name, purchases, \
    contacts and what the points said of them go. Helpdesks keep what they were sent."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    ledger: LedgerFile,
    /// The company's own key of the customer
    #[arg(value_name = "CUSTOMER_KEY")]
    key: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path: PathBuf = arguments.ledger.path()?;
    let key = arguments.key.trim();
    let forgotten = forget(&path, key).map_err(anyhow::Error::new)?;
    let Forgotten { customers, accounts, touchpoints, reports, tickets, is_gone } = forgotten;
    if customers + accounts + touchpoints + reports + tickets == 0 {
        return Err(Failure::Mistake(anyhow!(
            "no customer {key:?} in {}, nor a touchpoint of one",
            path.display()
        )));
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{key} is removed: {accounts} accounts, {touchpoints} touchpoints, {reports} reports of touchpoints; {tickets} \
         tickets are cleared of it"
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
