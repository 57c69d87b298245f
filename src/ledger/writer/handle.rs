//! What everyone but the writer holds of the ledger: it asks and reads, and never writes itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::Sender;
use parking_lot::Mutex;
use prost::Message;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Answer, Request};
use crate::desk::route::OPEN_TICKETS_MAX;
use crate::desk::{Anew, Changed, Desk};
use crate::ledger::{
    Accounting, Body, Feedback, Figures, LedgerError, Records, Rescoring, Seq, SubscriptionRequest, Vitals,
    assigned, changed, conversations, open_to_read, reason, recall, records, rescoring,
};
use crate::ticket::{TicketId, proto};

/// What everyone else holds of the ledger.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) path: PathBuf,
    pub(super) requests: Sender<Request>,
    pub(in crate::ledger) reader: Arc<Mutex<Connection>>,
    pub(super) accounting: Arc<Mutex<Accounting>>,
    pub(super) provisional: Arc<AtomicU64>,
    pub(super) figures: Arc<Mutex<Figures>>,
    pub(super) vitals: Arc<Vitals>,
}

impl Handle {
    /// The accounts as of the last commit.
    pub fn accounting(&self) -> Accounting {
        self.accounting.lock().clone()
    }

    /// What the ledger's thread says of itself.
    pub fn figures(&self) -> Figures {
        *self.figures.lock()
    }

    /// How many tickets only the small model has read, as of the last commit.
    pub fn provisional_tickets(&self) -> u64 {
        self.provisional.load(Ordering::Relaxed)
    }

    /// The worst of them, at most `tickets_max`, with their posts' newest texts. May block briefly.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn provisional(&self, tickets_max: usize) -> Result<Vec<(TicketId, proto::Ticket)>, LedgerError> {
        let bodies = rescoring::provisional(&self.reader.lock(), tickets_max);
        let bodies =
            bodies.map_err(|source| LedgerError::Sqlite { path: self.path.clone(), error: source })?;
        Ok(bodies
            .into_iter()
            .map(|rescoring::Provisional { id, body, edited }| {
                // We wrote these bytes; one that does not decode has no verdict that could be compared.
                let mut ticket = proto::Ticket::decode(body.as_slice()).unwrap_or_default();
                if let (Some(post), Some(text)) = (&mut ticket.post, edited) {
                    post.text = text;
                }
                (id, ticket)
            })
            .collect())
    }

    /// Calls `visit` with the newest tickets, oldest first, at most `tickets_max`, as of the last commit. On a connection
    /// of its own, since all tickets are looked at: nobody who delivers some waits for it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn conversations(
        &self,
        tickets_max: usize,
        visit: impl FnMut(crate::desk::conversation::Remembered),
    ) -> Result<(), LedgerError> {
        let (connection, _) = open_to_read(&self.path)?;
        let read = conversations::remembered(&connection, tickets_max, visit);
        read.map_err(|source| LedgerError::Sqlite { path: self.path.clone(), error: source })
    }

    /// How its thread is.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// Records what the full model made of such tickets. The receiver resolves once that is durable; a dropped
    /// sender means that the ledger has stopped.
    pub fn rescore(&self, rescorings: Vec<Rescoring>) -> oneshot::Receiver<Result<(), String>> {
        self.ask(|answer| Request::Rescore(rescorings, answer))
    }

    /// Records what was decided anew of these tickets, and tells the helpdesks. As [`rescore`](Handle::rescore).
    pub fn assign(&self, decided: Vec<Anew>) -> oneshot::Receiver<Result<(), String>> {
        self.ask(|answer| Request::Assign(decided, answer))
    }

    /// The tickets that have changed since the desk decided about them, those that have waited longest, at most
    /// `tickets_max`. May block briefly.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn changed(&self, tickets_max: usize) -> Result<Vec<Changed>, LedgerError> {
        changed::read(&self.reader.lock(), tickets_max)
            .map_err(|error| LedgerError::Sqlite { path: self.path.clone(), error })
    }

    /// Visits the open tickets that a route gave to a team, the newest that the desk keeps in mind, oldest first; and of
    /// `held` those that are closed or pruned. On a connection of its own, so that nobody who delivers tickets waits for it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn assigned(
        &self,
        held: &[TicketId],
        mut visit: impl FnMut(&assigned::Assigned),
    ) -> Result<(), LedgerError> {
        let (connection, _) = open_to_read(&self.path)?;
        assigned::visit_closed(&connection, held, &mut visit)
            .and_then(|()| assigned::visit_open(&connection, OPEN_TICKETS_MAX, visit))
            .map_err(|error| LedgerError::Sqlite { path: self.path.clone(), error })
    }

    /// Takes over who answered whom, as of the last commit. On a connection of its own.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn answers(&self, desk: &mut Desk) -> Result<(), LedgerError> {
        let (connection, _) = open_to_read(&self.path)?;
        recall::answers(&connection, desk)
            .map_err(|error| LedgerError::Sqlite { path: self.path.clone(), error })
    }

    /// Lets the writer commit what it has and end.
    pub fn stop(&self) {
        // A writer that has failed is gone already; its error is what its thread returns.
        drop(self.requests.send(Request::Stop));
    }

    fn ask(&self, request: impl FnOnce(Answer) -> Request) -> oneshot::Receiver<Result<(), String>> {
        let (answer, receiver) = oneshot::channel();
        // With the writer gone the request is dropped, and its answer's sender with it: the receiver fails.
        drop(self.requests.send(request(answer)));
        receiver
    }
}

impl Records for Handle {
    fn subscribe(&self, request: SubscriptionRequest) -> oneshot::Receiver<Result<(), String>> {
        self.ask(|answer| Request::Subscribe(request, answer))
    }

    fn acknowledge(&self, subscription: &str, seqs: Vec<Seq>) -> oneshot::Receiver<Result<(), String>> {
        let subscription = subscription.to_owned();
        self.ask(|answer| Request::Acknowledge { subscription, seqs, answer })
    }

    fn read(&self, seqs: &[Seq]) -> Result<Vec<(Seq, Body)>, String> {
        records::read(&self.reader.lock(), seqs).map_err(|error| {
            let said = reason(&error);
            // A file that cannot be read is no matter between us and one client. One that is locked passes.
            if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy) {
                drop(self.requests.send(Request::Broken(error)));
            }
            said
        })
    }

    fn feedback(&self, feedback: Feedback) -> oneshot::Receiver<Result<(), String>> {
        self.ask(|answer| Request::Feedback(feedback, answer))
    }
}
