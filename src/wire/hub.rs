//! Where the conversations meet the ledger: its records, the shared outbox, and the bells that wake them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use super::bridges::Bridges;
use crate::ledger::Records;
use crate::ledger::outbox::{self, ClientId, Outbox};

/// One bell for each subscription: it wakes the conversations of that name that have room for another record, and
/// not the thousands that may be waiting for other ones.
///
/// Rung from any thread; ringing twice before anyone listens is ringing once. There are never more than there may be
/// subscriptions.
#[derive(Debug, Clone, Default)]
pub(super) struct Bells(Arc<Mutex<FxHashMap<String, watch::Sender<()>>>>);

impl Bells {
    /// Something of this subscription became ready.
    pub(super) fn ring(&self, subscription: &str) {
        if let Some(bell) = self.0.lock().get(subscription) {
            bell.send_replace(());
        }
    }

    /// Rings for every subscription that has news in the outbox.
    pub(super) fn ring_news(&self, outbox: &Mutex<Outbox>) {
        outbox.lock().take_news(|subscription| self.ring(subscription));
    }

    /// Hears what is rung from now on.
    pub(super) fn listen(&self, subscription: &str) -> watch::Receiver<()> {
        self.0.lock().entry(subscription.to_owned()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Whether there is none.
    #[cfg(test)]
    pub(super) fn is_silent(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Nobody will listen to this one again.
    fn take_down(&self, subscription: &str) {
        self.0.lock().remove(subscription);
    }
}

/// What all conversations share. Cloning it is cheap and shares it.
#[derive(Clone)]
pub struct Hub {
    pub(super) records: Arc<dyn Records>,
    pub(super) outbox: Arc<Mutex<Outbox>>,
    pub(super) bells: Bells,
    pub(super) bridges: Arc<Bridges>,
    clients: Arc<AtomicU64>,
}

impl Hub {
    /// Joins the ledger's records with the outbox that the ledger fills.
    pub fn new(records: Arc<dyn Records>, outbox: Arc<Mutex<Outbox>>) -> Hub {
        Hub::with_bells(records, outbox, Bells::default())
    }

    /// The same, with bells that somebody else has, too.
    pub(super) fn with_bells(records: Arc<dyn Records>, outbox: Arc<Mutex<Outbox>>, bells: Bells) -> Hub {
        Hub { records, outbox, bells, bridges: Arc::default(), clients: Arc::new(AtomicU64::new(0)) }
    }

    /// Tells the conversations that the ledger has put heads into the outbox.
    pub fn published(&self) {
        self.bells.ring_news(&self.outbox);
    }

    /// What bridges say of themselves.
    pub fn bridges(&self) -> Arc<Bridges> {
        self.bridges.clone()
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

impl Lease {
    /// Whether the subscription has no name, and ends with this.
    pub(super) fn is_unnamed(&self) -> bool {
        outbox::is_unnamed(&self.subscription)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_unnamed() {
            self.hub.outbox.lock().close(&self.subscription);
            return self.hub.bells.take_down(&self.subscription);
        }
        let released = self.hub.outbox.lock().release(&self.subscription, self.client);
        if released > 0 {
            self.hub.bells.ring(&self.subscription);
        }
    }
}
