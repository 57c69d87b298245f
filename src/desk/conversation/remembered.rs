//! What the desk is given of conversations at its start, from the ledger.

use std::sync::Arc;

use super::Part;
use crate::parse::Network;
use crate::ticket::TicketId;

/// A ticket as the desk remembers it, with the posts that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Which.
    pub ticket_id: TicketId,
    /// Where its own post is.
    pub network: Network,
    /// By whom.
    pub author_id: String,
    /// As in config.
    pub brand: Arc<str>,
    /// When its own post was decided about, µs since 1970.
    pub created_at_us: i64,
    /// [`of_post`](crate::prefilter::watched::of_post) of its own post; `None` in older ledgers.
    pub watch: Option<u64>,
    /// The first ticket of the thread in which it began, if that is another.
    pub thread: Option<TicketId>,
    /// Whether it is closed in the helpdesk, so that nothing joins it until it is opened again.
    pub is_closed: bool,
    /// Whether it is erased, so that nothing ever joins it.
    pub is_erased: bool,
}

/// A further post as the desk remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedPost {
    /// Its identity.
    pub post_id: TicketId,
    /// Which ticket it belongs to.
    pub ticket_id: TicketId,
    /// Where it is.
    pub network: Network,
    /// By whom.
    pub author_id: String,
    /// [`text_hash`](super::text_hash) of its text.
    pub text_hash: u64,
    /// What it is.
    pub part: Part,
    /// When it was decided about, µs since 1970.
    pub at_us: i64,
    /// Whether its author has deleted it.
    pub is_erased: bool,
    /// [`of_post`](crate::prefilter::watched::of_post).
    pub watch: Option<u64>,
}
