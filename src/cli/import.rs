//! `vigie import`: what the company knows, into the ledger.

use clap::Subcommand;

use super::Failure;

mod articles;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Replace the knowledge base: support articles whose links tickets then carry
    Articles(articles::Arguments),
}

pub(super) fn run(import: &Import) -> Result<(), Failure> {
    match import {
        Import::Articles(arguments) => articles::run(arguments),
    }
}
