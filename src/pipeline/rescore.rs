//! Reads again, with the full model, the tickets that only the small one has read.
//!
//! The ledger knows which they are, so that neither a crash nor a long backlog loses any, and they cost no
//! memory. The worst come first.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::model::Model;
use super::reload::Rules;
use crate::classify::ClassifyError;
use crate::ledger::{Handle, LedgerError, Rescoring};
use crate::telemetry::pulse::Pulse;

/// Tickets read again at once: some 10 ms of work. A new candidate may find the model busy for that long and for
/// one commit of the ledger.
const TICKETS_MAX: usize = 8;

/// Between two looks at whether the load has fallen.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at whether there is anything to read again.
const LOOK_IDLE_EVERY: Duration = Duration::from_secs(1);

/// Why tickets cannot be scored again.
#[derive(Debug, thiserror::Error)]
pub enum RescoreError {
    /// The model failed.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Scores provisional tickets again.
#[derive(Debug)]
pub struct Rescorer {
    ledger: Handle,
    rules: Arc<ArcSwap<Rules>>,
    /// Whether the ledger still takes anything.
    ledger_is_gone: bool,
}

impl Rescorer {
    /// Over this ledger, by the points of these rules.
    pub fn new(ledger: Handle, rules: Arc<ArcSwap<Rules>>) -> Rescorer {
        Rescorer { ledger, rules, ledger_is_gone: false }
    }

    /// How long to wait before asking again; zero: [`rescore`](Rescorer::rescore) now. `None`: for ever.
    pub fn wait(&self, is_calm: bool) -> Option<Duration> {
        match self.ledger.provisional_tickets() {
            _ if self.ledger_is_gone => None,
            // What was decided a moment ago is not committed yet, and nothing else may come to wake the thread.
            0 => Some(LOOK_IDLE_EVERY),
            _ if is_calm => Some(Duration::ZERO),
            _ => Some(LOOK_EVERY),
        }
    }

    /// Reads some tickets again and waits until the outcome is durable.
    ///
    /// # Errors
    ///
    /// A restart may cure it.
    pub fn rescore(&mut self, model: &mut Model, pulse: &Pulse) -> Result<(), RescoreError> {
        let tickets = self.ledger.provisional(TICKETS_MAX)?;
        let text = |ticket: &crate::ticket::proto::Ticket| {
            ticket.post.as_ref().map_or_else(String::new, |post| post.text.clone())
        };
        let texts: Vec<String> = tickets.iter().map(|(_, ticket)| text(ticket)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let verdicts = model.read_again(&texts)?;
        let (rules, at) = (self.rules.load(), Timestamp::now());
        let rescorings = tickets.iter().zip(&verdicts).map(|((ticket_id, ticket), verdict)| Rescoring {
            ticket_id: *ticket_id,
            at,
            change: ticket
                .verdict
                .is_some()
                .then(|| rules.desk.rescored(ticket, verdict, model.name()).map(Box::new))
                .flatten(),
            terms: rules.desk.terms(&ticket.brand),
        });
        // Asked again before that is on disk, the ledger would name the same tickets.
        let durable = self.ledger.rescore(rescorings.collect());
        self.ledger_is_gone = pulse.resting(|| durable.blocking_recv()).is_err();
        Ok(())
    }
}
