//! Ticket → durable record, and back out again to the wire.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::parse::Network;
use crate::ticket::TicketId;

pub mod outbox;

/// A record's place in the ledger; counts from 1 and never repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(NonZeroU64);

impl Seq {
    /// The seq of this number; `None` for 0, which peers use for "none".
    pub fn new(seq: u64) -> Option<Seq> {
        NonZeroU64::new(seq).map(Seq)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// All that deciding who gets which record next needs to know of a record; its body stays on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordHead {
    /// Its place in the ledger.
    pub seq: Seq,
    /// The ticket that it is or changes.
    pub ticket_id: TicketId,
    /// Greater goes first. Holds priority and ageing together: see [`outbox`].
    pub rank: i64,
    /// Nearer goes first among equal ranks, µs since 1970.
    pub due_at_us: i64,
    /// What filters look at.
    pub traits: Traits,
}

/// What a subscription's filter looks at. An update has those of its ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Traits {
    /// As in config.
    pub brand: Arc<str>,
    /// Where the post was.
    pub network: Network,
    /// Primary subtag, empty if unknown.
    pub language: Box<str>,
    /// Most probable intent.
    pub intent: Box<str>,
    /// 0 to 1000.
    pub priority: u16,
}

/// A record's body as stored: encoded once, sent unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// An encoded `vigie.v1.Ticket`.
    Ticket(Vec<u8>),
    /// An encoded `vigie.v1.Update`.
    Update(Vec<u8>),
}

/// A durable subscription as a client asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionRequest {
    /// 1 to 100 of `a-z A-Z 0-9 . _ -`.
    pub name: String,
    /// Replaces the filter kept under this name.
    pub filter: outbox::Filter,
    /// A new name starts with the next record instead of the oldest retained.
    pub start_next: bool,
}

/// What the wire asks of the ledger. Implemented by the ledger's handle; faked in the wire's own tests.
///
/// The receivers resolve once the answer is durable; a dropped sender means that the ledger has stopped.
pub trait Records: Send + Sync + 'static {
    /// Opens or creates a durable subscription and fills its pending records into the outbox.
    fn subscribe(&self, request: SubscriptionRequest) -> tokio::sync::oneshot::Receiver<Result<(), String>>;

    /// Makes acknowledgements durable. Unknown seqs are ignored.
    fn acknowledge(
        &self,
        subscription: &str,
        seqs: Vec<Seq>,
    ) -> tokio::sync::oneshot::Receiver<Result<(), String>>;

    /// Reads bodies from disk, in the order asked; a seq that is gone is left out. May block briefly.
    fn read(&self, seqs: &[Seq]) -> Result<Vec<(Seq, Body)>, String>;

    /// Stores what a client reports back: ticket status, touchpoint, agent state, as the encoded message.
    fn feedback(&self, feedback: Feedback) -> tokio::sync::oneshot::Receiver<Result<(), String>>;
}

/// What a client reports back, validated as far as the protocol goes, encoded as received.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback {
    /// An encoded `vigie.v1.TicketStatus`, and the ticket it speaks of.
    TicketStatus(TicketId, Vec<u8>),
    /// An encoded `vigie.v1.Touchpoint`.
    Touchpoint(Vec<u8>),
    /// An encoded `vigie.v1.AgentState`.
    AgentState(Vec<u8>),
}
