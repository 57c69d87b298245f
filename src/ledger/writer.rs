//! The ledger's thread: whatever waits is committed together, then everyone concerned is told.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam::channel::{Receiver, Select, Sender, TryRecvError, after, never, unbounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use prost::Message;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::outbox::{Outbox, Reranked};
use super::store::Erasure;
use super::{
    Accounting, Body, Config, Entry, Feedback, Ledger, LedgerError, RecordHead, Records, Rescoring, Seq,
    Settlement, SubscriptionRequest, Vitals, schema, store,
};
use crate::desk::text_hash;
use crate::source::Durable;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

/// Settlements and requests taken into one commit at most.
///
/// A settlement is one batch of frames with at most a few hundred tickets of about 1 KiB, so that a group
/// stays well under the 4 MiB at which SQLite begins to spill its page cache.
const GROUP_MAX: usize = 256;

/// Acknowledgements after which a subscription's floor is raised and their rows are dropped.
pub(super) const FLOOR_EVERY_ACKS: u64 = 10_000;

/// The writing half: owns the connection, runs on a thread of its own.
#[derive(Debug)]
pub struct Writer {
    config: Config,
    connection: Connection,
    settlements: Receiver<Settlement>,
    requests: Receiver<Request>,
    outbox: Arc<Mutex<Outbox>>,
    accounting: Arc<Mutex<Accounting>>,
    /// For the sources that acknowledge upstream: their last committed batch.
    durable: HashMap<Arc<str>, watch::Sender<Durable>>,
    acknowledgements: u64,
    provisional: Arc<AtomicU64>,
    vitals: Arc<Vitals>,
    _lock: File,
}

/// What everyone else holds of the ledger.
#[derive(Debug, Clone)]
pub struct Handle {
    path: PathBuf,
    requests: Sender<Request>,
    reader: Arc<Mutex<Connection>>,
    accounting: Arc<Mutex<Accounting>>,
    provisional: Arc<AtomicU64>,
    vitals: Arc<Vitals>,
}

type Answer = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
enum Request {
    Subscribe(SubscriptionRequest, Answer),
    Acknowledge {
        subscription: String,
        seqs: Vec<Seq>,
        answer: Answer,
    },
    Feedback(Feedback, Answer),
    Rescore(Vec<Rescoring>, Answer),
    /// Everything handed over before is committed, then the thread ends.
    Stop,
}

/// What one commit takes.
#[derive(Default)]
struct Group {
    settlements: Vec<Settlement>,
    requests: Vec<Request>,
    /// When the oldest bookkeeping in it must be on disk.
    due: Option<Instant>,
    stop: bool,
}

impl Group {
    /// Whether anybody waits for this commit: a ticket to be delivered, a client to be answered.
    fn is_urgent(&self) -> bool {
        self.stop
            || !self.requests.is_empty()
            || self.settlements.iter().any(|settlement| !settlement.entries.is_empty())
    }

    fn is_full(&self) -> bool {
        self.settlements.len() + self.requests.len() >= GROUP_MAX
    }
}

impl Ledger {
    /// Splits the ledger into the half that writes and the half that everyone else holds.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn split(
        self,
        settlements: Receiver<Settlement>,
        outbox: Arc<Mutex<Outbox>>,
    ) -> Result<(Writer, Handle), LedgerError> {
        let accounting = store::accounting(&self.connection).map_err(|source| self.failed(source))?;
        let accounting = Arc::new(Mutex::new(accounting));
        let provisional =
            store::provisional_tickets(&self.connection).map_err(|source| self.failed(source))?;
        // Stored by the writer after each commit that changes it, read by whoever would like to score again;
        // relaxed, since the tickets themselves are read from the file.
        let provisional = Arc::new(AtomicU64::new(provisional));
        // Requests are few: each connection has at most one of each kind under way.
        let (sender, requests) = unbounded();
        let vitals = Arc::<Vitals>::default();
        let handle = Handle {
            path: self.config.path.clone(),
            requests: sender,
            reader: Arc::new(Mutex::new(self.reader)),
            accounting: accounting.clone(),
            provisional: provisional.clone(),
            vitals: vitals.clone(),
        };
        let writer = Writer {
            config: self.config,
            connection: self.connection,
            settlements,
            requests,
            outbox,
            accounting,
            durable: HashMap::new(),
            acknowledgements: 0,
            provisional,
            vitals,
            _lock: self.lock,
        };
        Ok((writer, handle))
    }
}

impl Writer {
    /// Follows what is durable of this source: `position` until then, and from each commit on its last batch
    /// in there.
    ///
    /// Not the greatest position, which a restart resumes from: where a stream begins again, that one speaks
    /// of other lines.
    pub fn follow(&mut self, source: &Arc<str>, position: Option<i64>) -> watch::Receiver<Durable> {
        let stored = Durable { end_sequence: 0, position };
        self.durable.entry(source.clone()).or_insert_with(|| watch::Sender::new(stored)).subscribe()
    }

    /// Commits until told to stop. `published` is called after each commit that put heads into the outbox.
    ///
    /// # Errors
    ///
    /// A commit failed: nothing may be written any more, the process must end and recover.
    pub fn run(mut self, published: impl Fn()) -> Result<(), LedgerError> {
        loop {
            self.vitals.pulse.rest();
            let group = self.gather();
            self.vitals.pulse.begin();
            let path = self.config.path.clone();
            let failed = |source| LedgerError::Sqlite { path: path.clone(), source };
            let began = Instant::now();
            let new_records = self.commit(&group.settlements, &group.requests).map_err(failed)?;
            self.vitals.committed(began);
            if new_records {
                published();
            }
            let subscribed = self.answer(group.requests).map_err(failed)?;
            if subscribed {
                published();
            }
            if group.stop {
                // The file alone is then whole, for whoever copies it.
                let whole = store::checkpoint(&self.connection).map_err(failed);
                self.vitals.pulse.rest();
                return whole;
            }
        }
    }

    /// Waits for work and takes all there is; bookkeeping alone waits for more, up to its delay.
    fn gather(&mut self) -> Group {
        let mut group = Group::default();
        loop {
            self.take_what_is_there(&mut group);
            let wait = match group.due {
                _ if group.is_full() || group.is_urgent() => return group,
                Some(due) => after(due.saturating_duration_since(Instant::now())),
                None => never(),
            };
            // Only woken here; what woke us is taken above, settlements before requests.
            let mut woken = Select::new();
            woken.recv(&self.settlements);
            woken.recv(&self.requests);
            let timeout = woken.recv(&wait);
            if woken.ready() == timeout {
                return group;
            }
        }
    }

    /// Takes without waiting. A stop comes after everything that was handed over before it, so that whatever
    /// is settled by then is committed.
    fn take_what_is_there(&mut self, group: &mut Group) {
        while !group.is_full() {
            match self.settlements.try_recv() {
                Ok(settlement) => {
                    group.due.get_or_insert_with(|| Instant::now() + self.config.bookkeeping_delay_max);
                    group.settlements.push(settlement);
                    continue;
                }
                // The desk has ended; what remains to come are acknowledgements and the stop.
                Err(TryRecvError::Disconnected) => self.settlements = never(),
                Err(TryRecvError::Empty) => {}
            }
            match self.requests.try_recv() {
                Ok(Request::Stop) => group.stop = true,
                Ok(request) => group.requests.push(request),
                Err(TryRecvError::Empty) => return,
                // Every handle is gone, so nobody can tell us to stop.
                Err(TryRecvError::Disconnected) => {
                    group.stop = true;
                    return;
                }
            }
        }
    }

    /// One transaction for everything in the group; returns whether the outbox got new heads.
    fn commit(&mut self, settlements: &[Settlement], requests: &[Request]) -> rusqlite::Result<bool> {
        let now = Timestamp::now();
        let ageing = self.config.ageing_points_per_hour;
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut changes = Changes::default();
        let mut ends = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let buckets = apply(&transaction, settlement, ageing, &mut changes)?;
            store::add_buckets(&transaction, &settlement.source, &buckets)?;
            store::move_position(&transaction, &settlement.source, settlement.position)?;
            for gap in &settlement.gaps {
                store::add_gap(&transaction, &settlement.source, gap, now)?;
            }
            ends.push(buckets);
        }
        for request in requests {
            match request {
                Request::Acknowledge { subscription, seqs, .. } => {
                    store::acknowledge(&transaction, subscription, seqs)?;
                    self.acknowledgements += seqs.len() as u64;
                }
                Request::Feedback(feedback, _) => store::add_feedback(&transaction, feedback, now)?,
                Request::Rescore(rescorings, _) => {
                    for rescoring in rescorings {
                        store::rescore(&transaction, rescoring, ageing, &mut changes)?;
                    }
                }
                Request::Subscribe(..) | Request::Stop => {}
            }
        }
        // Counted in SQL and not beside it: a duplicate or an erasure is decided there.
        transaction.commit()?;

        let Changes { heads, reranked, provisional } = changes;
        let before = self.provisional.load(Ordering::Relaxed);
        self.provisional.store(before.saturating_add_signed(provisional), Ordering::Relaxed);
        self.account(settlements, &ends);
        if ends.iter().any(|buckets| buckets[Bucket::Erased] > 0) {
            store::checkpoint(&self.connection)?;
        }
        let heads: Vec<_> = heads.into_iter().map(Arc::new).collect();
        {
            let mut outbox = self.outbox.lock();
            outbox.rerank(&reranked);
            outbox.publish(&heads);
        }
        if self.acknowledgements >= FLOOR_EVERY_ACKS {
            self.acknowledgements = 0;
            self.raise_floors()?;
        }
        Ok(!heads.is_empty())
    }

    /// Shows the commit's frames to readers, all batches at once, and tells the sources.
    fn account(&self, settlements: &[Settlement], ends: &[Buckets]) {
        let mut accounting = self.accounting.lock();
        for (settlement, buckets) in settlements.iter().zip(ends) {
            let account = accounting.sources.entry(settlement.source.clone()).or_default();
            account.buckets.add(buckets);
            account.position = account.position.max(settlement.position);
            account.gaps += settlement.gaps.len() as u64;
            if settlement.position.is_some()
                && let Some(durable) = self.durable.get(&settlement.source)
            {
                let Settlement { end_sequence, position, .. } = *settlement;
                durable.send_replace(Durable { end_sequence, position });
            }
        }
    }

    /// Answers what is now durable, and opens subscriptions; returns whether there was one.
    fn answer(&mut self, requests: Vec<Request>) -> rusqlite::Result<bool> {
        let mut subscribed = false;
        for request in requests {
            // A dropped receiver is a client that has gone: its answer interests nobody.
            match request {
                Request::Acknowledge { answer, .. }
                | Request::Feedback(_, answer)
                | Request::Rescore(_, answer) => {
                    drop(answer.send(Ok(())));
                }
                Request::Subscribe(request, answer) => {
                    // A client that comes back finds its records in memory: reading a long backlog again
                    // would make everyone else wait for it.
                    let is_open = self.outbox.lock().is_open_with(&request.name, &request.filter);
                    if !is_open {
                        let ageing = self.config.ageing_points_per_hour;
                        let (start, heads) =
                            store::subscribe(&self.connection, &request.name, request.start_next, ageing)?;
                        let heads = heads.into_iter().map(Arc::new);
                        let mut outbox = self.outbox.lock();
                        outbox.start_after(&request.name, start);
                        outbox.open(&request.name, request.filter, heads);
                    }
                    drop(answer.send(Ok(())));
                    subscribed = true;
                }
                Request::Stop => {}
            }
        }
        Ok(subscribed)
    }

    fn raise_floors(&self) -> rusqlite::Result<()> {
        for name in store::subscriptions(&self.connection)? {
            store::raise_floor(&self.connection, &name)?;
        }
        Ok(())
    }
}

/// What a transaction changes outside the file, once it is durable.
#[derive(Default)]
pub(super) struct Changes {
    /// New records.
    pub(super) heads: Vec<RecordHead>,
    /// Tickets that have another rank now.
    pub(super) reranked: Vec<Reranked>,
    /// By how much the number of provisional tickets changes.
    pub(super) provisional: i64,
}

/// Applies the settlement's entries and says where all of its frames ended.
fn apply(
    connection: &Connection,
    settlement: &Settlement,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Buckets> {
    let mut buckets = settlement.buckets;
    for entry in &settlement.entries {
        buckets[record(connection, entry, ageing_points_per_hour, changes)?] += 1;
    }
    Ok(buckets)
}

/// A ledger in memory that delivers nothing: for replays, which must decide as the daemon does.
#[derive(Debug)]
pub struct Scratch {
    connection: Connection,
}

impl Scratch {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new() -> rusqlite::Result<Scratch> {
        let connection = Connection::open_in_memory()?;
        schema::migrate(&connection)?;
        Ok(Scratch { connection })
    }

    /// Applies the settlement and says where its frames ended.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<Buckets> {
        let transaction = self.connection.transaction()?;
        let buckets = apply(&transaction, settlement, 0, &mut Changes::default())?;
        transaction.commit()?;
        Ok(buckets)
    }
}

/// Applies one entry and says in which bucket its frame ends.
fn record(
    connection: &Connection,
    entry: &Entry,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Bucket> {
    Ok(match entry {
        Entry::Ticket(ticket) => match store::add_ticket(connection, ticket, ageing_points_per_hour)? {
            Some(head) => {
                changes.heads.push(head);
                changes.provisional += i64::from(ticket.provisional);
                Bucket::Ticketed
            }
            None => Bucket::Duplicate,
        },
        Entry::Edit { ticket_id, text, at, otherwise } => {
            let edited = proto::update::Edited { text: text.clone() };
            let update = proto::Update {
                ticket_id: ticket_id.as_bytes().to_vec(),
                at_us: at.as_microsecond(),
                change: Some(proto::update::Change::Edited(edited)),
            };
            match store::add_update(connection, *ticket_id, &update, ageing_points_per_hour)? {
                Some(head) => {
                    store::set_text_hash(connection, *ticket_id, text_hash(text))?;
                    changes.heads.push(head);
                    Bucket::Merged
                }
                // No such ticket, or erased before: the text stays away.
                None => *otherwise,
            }
        }
        Entry::Erase { ticket_id, at } => {
            let reason = Erasure::PostDeleted;
            match store::erase(connection, *ticket_id, reason, *at, ageing_points_per_hour, changes)? {
                true => Bucket::Erased,
                false => Bucket::Control,
            }
        }
        Entry::EraseAuthor { network, author_id, at } => {
            let mut bucket = Bucket::Control;
            for ticket_id in store::tickets_of(connection, *network, author_id)? {
                let reason = Erasure::AccountDeleted;
                store::erase(connection, ticket_id, reason, *at, ageing_points_per_hour, changes)?;
                bucket = Bucket::Erased;
            }
            bucket
        }
    })
}

impl Handle {
    /// The accounts as of the last commit.
    pub fn accounting(&self) -> Accounting {
        self.accounting.lock().clone()
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
        let bodies = store::provisional(&self.reader.lock(), tickets_max);
        let bodies = bodies.map_err(|source| LedgerError::Sqlite { path: self.path.clone(), source })?;
        Ok(bodies
            .into_iter()
            .map(|store::Provisional { id, body, edited }| {
                // We wrote these bytes; one that does not decode has no verdict that could be compared.
                let mut ticket = proto::Ticket::decode(body.as_slice()).unwrap_or_default();
                if let (Some(post), Some(text)) = (&mut ticket.post, edited) {
                    post.text = text;
                }
                (id, ticket)
            })
            .collect())
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
        store::read(&self.reader.lock(), seqs).map_err(|error| error.to_string())
    }

    fn feedback(&self, feedback: Feedback) -> oneshot::Receiver<Result<(), String>> {
        self.ask(|answer| Request::Feedback(feedback, answer))
    }
}
