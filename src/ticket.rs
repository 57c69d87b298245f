//! A ticket, its identity and its binary form: the contract with the outside.
//!
//! A leaf. The messages are generated from `wire/vigie.proto`, where their fields are specified.

use std::fmt;

use crate::parse::Network;

/// The generated messages of wire protocol 1.
#[expect(missing_docs, reason = "generated: the comments are in vigie.proto")]
#[allow(clippy::allow_attributes_without_reason, unreachable_pub, clippy::doc_markdown, clippy::large_enum_variant, reason = "generated code")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/vigie.v1.rs"));
}

/// Identity of a ticket: the same post gives the same id on any machine, after any crash.
///
/// The first 16 bytes of BLAKE3 over `network name, 0x00, post id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId([u8; 16]);

impl TicketId {
    /// The id of the ticket that this post makes, if any.
    pub fn of_post(network: Network, post_id: &str) -> TicketId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(network.name().as_bytes());
        hasher.update(&[0]);
        hasher.update(post_id.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        TicketId(id)
    }

    /// The id with these bytes; `None` unless there are 16.
    pub fn from_bytes(bytes: &[u8]) -> Option<TicketId> {
        Some(TicketId(bytes.try_into().ok()?))
    }

    /// The bytes, as sent and stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}
