//! Builds the stages, joins them with bounded queues, and drains them.
//!
//! The only place that spawns threads and tasks. Data flows down, acknowledgements flow up on channels of
//! their own. Stopping is a direction too: the sources end, the queues run dry in order, the ledger
//! commits, the connections are closed.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::access::Access;
use crate::classify::{Classifier, OpenError};
use crate::config::{Engine, SourceConfig};
use crate::console::Console;
use crate::desk::Desk;
use crate::desk::told::Hearing;
use crate::ledger::context::Reader;
use crate::ledger::{Handle, LedgerError, Settlement, Writer, articles};
use crate::prefilter::watched::Watched;
use crate::source::{BatchSender, Durable, FrameBatch, Health, Stored};
use crate::telemetry::pulse::Pulse;
use crate::wire::{BindError, Hub, Listener};

pub mod bridges;
mod build;
mod complaints;
pub mod desk_thread;
mod hear;
pub mod inherited;
pub mod lane;
pub mod model;
pub mod overload;
pub mod reload;
pub mod rescore;
mod run;
pub mod settle;
mod spawn;
pub mod view;

pub use view::View;

use inherited::InheritedError;
use reload::Reloader;

/// Decided batches that wait for the desk, and settlements that wait for the ledger.
const QUEUE_DECIDED: usize = 64;

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The model.
    #[error(transparent)]
    Model(#[from] OpenError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ticket socket.
    #[error(transparent)]
    Wire(#[from] BindError),
    /// The console.
    #[error("console {address}: {error}")]
    Console {
        /// Where it should listen.
        address: String,
        /// Why it cannot.
        error: io::Error,
    },
    /// Rules that the config check let through.
    #[error(transparent)]
    Rules(#[from] reload::Refused),
    /// A socket that systemd hands over and that fits nothing.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// The async runtime or a thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// A stage ended before it was told to.
    #[error("{0}")]
    Fault(String),
    /// Draining took longer than allowed.
    #[error("not drained within {0} ms: what was not committed comes again after the restart")]
    DrainTimedOut(u128),
}

/// What the operator asks of a running daemon.
#[derive(Debug)]
pub enum Control {
    /// Stop the sources, finish what was received, and end.
    Drain,
}

/// A source that does not run yet.
struct Feed {
    source: SourceConfig,
    /// Where the ledger says it resumes, and what was missing before that.
    stored: Stored,
    /// Its last committed batch, against the data's direction: from the ledger's thread, past
    /// all stages, to a source that tells its sender.
    durable: watch::Receiver<Durable>,
    health: Arc<Health>,
}

/// Everything opened and bound, nothing running yet.
pub struct Pipeline {
    runtime: Runtime,
    sources: Vec<Feed>,
    engine: Engine,
    batches: (BatchSender, Receiver<FrameBatch>),
    reloader: Reloader,
    classifier: Classifier,
    model_threads: NonZeroUsize,
    batch_delay_max: Duration,
    desk: Desk,
    watched: Arc<Watched>,
    people: Reader,
    hearing: Hearing,
    articles: articles::Reader,
    settlements: Sender<Settlement>,
    writer: Writer,
    ledger: Handle,
    hub: Hub,
    access: Arc<Access>,
    listener: Listener,
    bridges: Vec<crate::bridge::config::Config>,
    console: Option<Console>,
    pulses: StagePulses,
    view: Arc<View>,
}

/// The pulse of each stage that has one, but for the ledger, which brings its own.
struct StagePulses {
    lanes: Vec<Arc<Pulse>>,
    model: Arc<Pulse>,
    desk: Arc<Pulse>,
    edges: Arc<Pulse>,
}

impl Pipeline {
    /// Where the console listens, if it does.
    pub fn console_address(&self) -> Option<std::net::SocketAddr> {
        self.console.as_ref().map(Console::address)
    }

    /// Reloads the daemon once it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// What the console shows, for whoever embeds the daemon.
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }
}

fn lane_name(lane: usize) -> String {
    format!("vigie-lane-{lane}")
}

#[cfg(test)]
mod tests;
