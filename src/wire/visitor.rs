//! Who has connected, before and after it is known who that is.

use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::CertificateDer;

use crate::access::peers::Place;
use crate::access::{Access, Door, Pass, Refused};

/// One connection's claim to be served.
#[derive(Debug)]
pub(super) struct Visitor {
    access: Arc<Access>,
    /// Whether other machines can come to this door.
    reachable: bool,
    /// Certificates shown in the handshake; empty without TLS, and of those who showed none.
    chain: Arc<[CertificateDer<'static>]>,
    /// Among the connections of the door.
    pub(super) place: Place,
    /// When it connected.
    pub(super) since: Instant,
}

impl Visitor {
    pub(super) fn new(access: Arc<Access>, reachable: bool, place: Place, since: Instant) -> Visitor {
        Visitor { access, reachable, chain: Arc::default(), place, since }
    }

    /// Somebody whom nobody asks who they are.
    pub(super) fn anyone(since: Instant) -> Visitor {
        Visitor::new(Arc::default(), false, Place::uncounted(), since)
    }

    pub(super) fn shows(&mut self, chain: Option<&[CertificateDer<'_>]>) {
        let chain = chain.unwrap_or_default().iter().cloned().map(CertificateDer::into_owned);
        self.chain = chain.collect();
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn pass(&self, token: &str) -> Result<Pass, Refused> {
        self.access.admit(Door::Socket, self.reachable, token, &self.chain)
    }
}
