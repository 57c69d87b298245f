//! `vigie forget`: removes a customer, or what is known of an account, as people may ask of a company.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::print::counted;
use super::{Failure, LedgerFile};
use crate::ledger::context::account;
use crate::ledger::context::forget::{Forgotten, Whom, customer_of, forget};
use crate::parse::Network;

#[derive(Debug, Args)]
#[command(
    after_help = "Works beside a running daemon. The customer's tickets keep the post and the points; name, purchases, \
    contacts and what the points said of them go. Who is no customer is named by an account: \
    vigie forget --network bluesky --account did:plc:... (also by handle, if that is what contacts and posts say). \
    Helpdesks keep what they were sent."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    ledger: LedgerFile,
    /// The company's own key of the customer
    #[arg(value_name = "CUSTOMER_KEY", required_unless_present = "account", conflicts_with = "account")]
    key: Option<String>,
    /// Of somebody who is no customer: bluesky, mastodon, x, facebook or plain
    #[arg(long, value_name = "NETWORK", requires = "account", value_parser = network)]
    network: Option<Network>,
    /// Their account there, id or handle, with or without @
    #[arg(long, value_name = "ACCOUNT", requires = "network")]
    account: Option<String>,
}

fn network(name: &str) -> Result<Network, String> {
    let must = || format!("must be one of {}", Network::ALL.map(Network::name).join(", "));
    Network::from_name(name).ok_or_else(must)
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path: PathBuf = arguments.ledger.path()?;
    let key = arguments.key.as_deref().unwrap_or_default().trim();
    let of_account = match (arguments.network, &arguments.account) {
        (Some(network), Some(given)) => {
            let name =
                account(network, given).map_err(|why| Failure::Mistake(anyhow!("--account: {why}")))?;
            if let Some(key) = customer_of(&path, network, &name).map_err(anyhow::Error::new)? {
                let text = anyhow!("{network} {name:?} is customer {key:?}'s: vigie forget {key:?}");
                return Err(Failure::Mistake(text));
            }
            Some((network, name))
        }
        _ => None,
    };
    let (whom, shown) = match &of_account {
        Some((network, name)) => (Whom::Account(*network, name), format!("{network} {name}")),
        None => (Whom::Customer(key), key.to_owned()),
    };
    let Forgotten { customers, accounts, touchpoints, reports, tickets, is_gone } =
        forget(&path, whom).map_err(anyhow::Error::new)?;
    if customers + accounts + touchpoints + reports + tickets == 0 {
        let nobody = match whom {
            Whom::Customer(_) => {
                format!("no customer {key:?} in {}, nor a touchpoint of one", path.display())
            }
            Whom::Account(..) => {
                format!("nothing is known of {shown} in {}, but what they have posted", path.display())
            }
        };
        return Err(Failure::Mistake(anyhow!(nobody)));
    }
    let accounts = counted(accounts, "account", "accounts");
    let touchpoints = counted(touchpoints, "touchpoint", "touchpoints");
    let reports = counted(reports, "report of touchpoints", "reports of touchpoints");
    let tickets = counted(tickets, "ticket is cleared of it", "tickets are cleared of it");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{shown} is removed: {accounts}, {touchpoints}, {reports}; {tickets}").context("stdout")?;
    if !is_gone {
        writeln!(
            out,
            "somebody reads the ledger: the text leaves its -wal file within the daemon's next minutes"
        )
        .context("stdout")?;
    }
    Ok(())
}
