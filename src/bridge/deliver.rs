//! Deliveries of the ticket socket → the helpdesk, each once, worst first.
//!
//! The acknowledgement of one delivery is what asks the daemon for the next, so it is sent only when the helpdesk takes
//! another call: which ticket goes next is decided at that moment, by the daemon, among all that wait. The bridge has
//! no queue of its own. What is to be done about a delivery is [`job`]'s to say; here it is done.
//!
//! A helpdesk that is away, in maintenance or refuses our token takes nothing of anybody: the delivery is given back
//! after a wait that grows, everything stays pending with the daemon, and the worst goes first again. A single ticket
//! that it will not take, or those of one team, are given back to come later, and others go on.
//!
//! It commits to its case store where it stands: it is to run on a thread of its own, where a slow disk delays nobody
//! else.

pub mod job;
mod run;
mod target;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use target::Target;

use self::job::End;
use super::pace::Pace;
use super::text::Texts;
use crate::ledger::LedgerError;
use crate::ledger::cases::{Cases, Change as Fact, Origin};
use crate::source::backoff::Backoff;
use crate::ticket::TicketId;
use crate::wire::ClientError;

/// What deliveries go by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// First wait after something went wrong.
    pub retry_min: Duration,
    /// Longest wait for a helpdesk that takes nothing.
    pub retry_max: Duration,
    /// What to do after an unclear end where the helpdesk cannot be asked what it has.
    pub when_unknown: WhenUnknown,
    /// Whether it can.
    pub can_find: bool,
    /// Whether it can be asked if it knows us.
    pub can_ask: bool,
    /// Whether tickets fill fields of the operator's own.
    pub has_fields: bool,
    /// How long a ticket may exist before it says so.
    pub find_lag: Duration,
    /// How long what we have given up waiting for may still be under way there.
    pub settle: Duration,
    /// How long after it was made a ticket is looked at.
    pub look_after: Duration,
    /// Whether the text of a ticket can be taken out.
    pub takes_text_out: bool,
    /// Whether that of one note can.
    pub can_erase_notes: bool,
    /// Whether a ticket that was merged keeps its text beside the one that it went into.
    pub merged_keeps_text: bool,
    /// Since when the case store knows of every ticket; microseconds since 1970.
    pub cases_know_since_us: i64,
    /// When we began; likewise.
    pub started_at_us: i64,
}

/// What to do about a ticket that may have been made where nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnknown {
    /// Make it: there may be two of it.
    Again,
    /// Leave it: there may be none.
    Leave,
}

/// What has become of deliveries since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tickets that we have made and were told of.
    pub made: u64,
    /// Tickets that were found there after nobody knew.
    pub adopted: u64,
    /// Tickets found beside them.
    pub doubled: u64,
    /// Tickets of which nobody can know whether there are none, one or two.
    pub unknown: u64,
    /// Times that the helpdesk did not take a record, which is tried again.
    pub refused: u64,
    /// Tickets whose text was taken out.
    pub erased: u64,
    /// Tickets of which a field holds what we do not understand: a state, a rating.
    pub misread: u64,
    /// Changes done.
    pub changed: u64,
    /// Tickets that were seen solved, closed or deleted there; one that is opened again in between counts each time.
    pub ended: u64,
    /// Times that the daemon was told what has become of a ticket, and took it.
    pub reported: u64,
    /// Why the helpdesk takes nothing at present, or what it said last of a ticket that it did not take.
    pub last_error: Option<String>,
    /// Whose text that may hold, since the helpdesk may quote it, and the same without the helpdesk's words.
    words_of: Option<(TicketId, String)>,
    /// Whether it takes nothing at present.
    pub is_held: bool,
}

impl Counts {
    /// A ticket was not taken; `in_short` is without the helpdesk's words.
    fn failed(&mut self, ticket_id: TicketId, said: String, in_short: String) {
        self.last_error = Some(said);
        self.words_of = Some((ticket_id, in_short));
    }

    /// A post of the ticket was taken back by its author: what the helpdesk has said of it is shown to nobody any more.
    fn forget_words_of(&mut self, ticket_id: TicketId) {
        if let Some((_, in_short)) = self.words_of.take_if(|(of, _)| *of == ticket_id) {
            self.last_error = Some(in_short);
        }
    }

    fn wrote(&mut self, fact: &Fact) {
        match fact {
            Fact::Placed { place, others, .. } => {
                match place.origin {
                    Origin::Made => self.made += 1,
                    Origin::Found => self.adopted += 1,
                    Origin::Unknown => self.unknown += 1,
                }
                self.doubled += *others as u64;
            }
            Fact::Refused { .. } => self.refused += 1,
            Fact::Erased => self.erased += 1,
            _ => {}
        }
    }
}

/// Why a bridge ends.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Its case store cannot be used any more.
    #[error("{0}")]
    Cases(#[from] LedgerError),
    /// The daemon will not have it.
    #[error("{0}")]
    Daemon(ClientError),
}

/// What `vigie status` is told, and reports to be sent: what a bridge shares with others.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What it knows of each ticket.
    pub cases: Arc<Mutex<Cases>>,
    /// What has become of deliveries.
    pub counts: Arc<Mutex<Counts>>,
    /// When calls may be made.
    pub pace: Arc<Pace>,
}

/// How the connection to the daemon stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub is_up: bool,
    /// How many have been lost. What was sent over such a one may not have been taken.
    pub lost: u64,
}

/// Takes deliveries to a helpdesk.
pub struct Bridge<T> {
    name: String,
    target: T,
    shared: Shared,
    policy: Policy,
    texts: Texts,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    health: Mutex<Health>,
    /// When calls were last cut off while they were under way; microseconds since 1970.
    cut_off_us: AtomicI64,
    link: watch::Sender<Link>,
}

/// How the helpdesk has been lately.
#[derive(Debug)]
struct Health {
    /// Calls in a row that nobody knows the end of, or that did not leave.
    failures: u32,
    /// Calls that it had answered when an operation was last over.
    answers: u64,
    /// Tickets that it did not take since it took one, [`run::REFUSED_IN_ROW_MAX`] of them at most.
    refused: BTreeSet<TicketId>,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Whether the operator has been told.
    is_told: bool,
}

/// One delivery worked off.
struct Worked {
    seq: u64,
    end: End,
    calls: u32,
}

impl<T: Target> Bridge<T> {
    /// A bridge of this name to this helpdesk, in these words; `clock` gives microseconds since 1970.
    pub fn new(
        name: &str,
        target: T,
        shared: Shared,
        policy: Policy,
        texts: Texts,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Bridge<T> {
        let health = Health {
            failures: 0,
            answers: 0,
            refused: BTreeSet::new(),
            backoff: Backoff::new(policy.retry_min, policy.retry_max),
            random: fastrand::Rng::new(),
            is_told: false,
        };
        let name = name.to_owned();
        Bridge {
            name,
            target,
            shared,
            policy,
            texts,
            clock,
            health: Mutex::new(health),
            cut_off_us: AtomicI64::new(0),
            link: watch::Sender::default(),
        }
    }

    /// What it shares with others.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The helpdesk.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// How the connection to the daemon stands.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }
}

#[cfg(test)]
mod tests;
