//! Where the conversations meet the ledger: its records, the shared outbox, and the bell that wakes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ledger::Records;
use crate::ledger::outbox::{ClientId, Outbox};

/// Wakes every conversation that has room for another record.
///
/// Rung from any thread; ringing twice before anyone listens is ringing once.
#[derive(Debug, Clone)]
pub struct Bell(Arc<watch::Sender<()>>);

impl Bell {
    /// A bell that nobody hears yet.
    pub fn new() -> Bell {
        Bell(Arc::new(watch::Sender::new(())))
    }

    /// Something in the outbox became ready.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

impl Default for Bell {
    fn default() -> Bell {
        Bell::new()
    }
}

/// What all conversations share. Cloning it is cheap and shares it.
#[derive(Clone)]
pub struct Hub {
    pub(super) records: Arc<dyn Records>,
    pub(super) outbox: Arc<Mutex<Outbox>>,
    pub(super) bell: Bell,
    clients: Arc<AtomicU64>,
}

impl Hub {
    /// Joins the ledger's records with the outbox that the ledger fills.
    pub fn new(records: Arc<dyn Records>, outbox: Arc<Mutex<Outbox>>) -> Hub {
        Hub::with_bell(records, outbox, Bell::new())
    }

    /// The same, with a bell made before the ledger was, so that the ledger's thread can ring it.
    pub fn with_bell(records: Arc<dyn Records>, outbox: Arc<Mutex<Outbox>>, bell: Bell) -> Hub {
        Hub { records, outbox, bell, clients: Arc::new(AtomicU64::new(0)) }
    }

    /// Tells the conversations that the ledger has put heads into the outbox.
    pub fn published(&self) {
        self.bell.ring();
    }

    pub(super) fn next_client(&self) -> ClientId {
        // Only uniqueness matters: nothing is published through this number.
        ClientId(self.clients.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// A client's claim on what it has taken; when it goes, for whatever reason, that is pending again.
pub(super) struct Lease {
    pub(super) hub: Hub,
    pub(super) subscription: String,
    pub(super) client: ClientId,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let released = self.hub.outbox.lock().release(&self.subscription, self.client);
        if released > 0 {
            self.hub.bell.ring();
        }
    }
}
