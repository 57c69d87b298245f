//! `vigie backup`: a copy of the ledger that a daemon can be started on, while this one runs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{ConfigFile, Failure, print::grouped};
use crate::ledger::backup::backup;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The copy to make; what is there already is never overwritten
    #[arg(value_name = "DEST")]
    destination: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.file.load()?;
    let copied = backup(&config.ledger.path, &arguments.destination).map_err(anyhow::Error::new)?;
    writeln!(
        std::io::stdout(),
        "{}: {} bytes, {} tickets, {} subscriptions, schema {}; checked and on the disk",
        arguments.destination.display(),
        grouped(copied.bytes),
        grouped(copied.tickets),
        copied.subscriptions,
        copied.schema,
    )
    .context("stdout")?;
    Ok(())
}
