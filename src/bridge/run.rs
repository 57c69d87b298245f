//! One bridge of the operator's, from its config to its end.

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::config::Config;
use super::deliver::BridgeError;
use crate::wire::{Client, ClientError};

/// Reports that wait for the connection to the daemon.
const REPORTS_MAX: usize = 256;

/// Takes deliveries to the helpdesk until `stop`. It commits to its case store where it stands: it is to have a thread of
/// its own.
///
/// # Errors
///
/// The case store cannot be opened or is broken, or the daemon refuses us for good.
pub async fn run(
    config: &Config,
    connect: impl AsyncFn() -> Result<Client, ClientError>,
    stop: watch::Receiver<bool>,
) -> Result<(), BridgeError> {
    let preset = config.preset();
    info!(bridge = %config.name, helpdesk = %preset.calls.title, url = %config.url, "bridge runs");
    let bridge = super::open(&config.parts(), preset)?;
    let (_reports, reports) = mpsc::channel(REPORTS_MAX);
    bridge.run(connect, reports, stop).await
}
