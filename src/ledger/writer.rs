//! The ledger's thread: whatever waits is committed together, then everyone concerned is told.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Select, Sender, TryRecvError, after, never, unbounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use prost::Message;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::deadlines::{self, Alarm, Clocks, Standing};
use super::erasure::Erasure;
use super::outbox::{self, Outbox, Reranked};
use super::retention::{self, Pruner};
use super::{
    Accounting, Body, Config, Entry, Feedback, Figures, Ledger, LedgerError, Lock, RecordHead, Records,
    Rescoring, Seq, Settlement, SubscriptionRequest, Vitals, accounting, assigned, conversations, deliveries,
    erasure, feedback, gaps, open_to_read, prune, reason, records, rescoring, schema, store, wal,
};
use crate::desk::text_hash;
use crate::desk::told::{Teller, Told};
use crate::source::Durable;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

/// Settlements and requests taken into one commit at most.
///
/// A settlement is one batch of frames with at most a few hundred tickets of about 1 KiB, so that a group
/// stays well under the 4 MiB at which SQLite begins to spill its page cache.
const GROUP_MAX: usize = 256;

/// Pages in the write-ahead log after which it is copied into the file: 4 MiB, as SQLite would.
const LOG_PAGES_MAX: i32 = 1000;

/// Between two tries to empty the write-ahead log of an erased text while somebody reads an older state.
const TRUNCATE_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for such a reader at the end.
const END_WAIT_MAX: Duration = Duration::from_secs(1);

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
    /// To the desk, which is told what helpdesks report.
    teller: Option<Teller>,
    acknowledgements: u64,
    /// Pages in the write-ahead log, as of the last commit.
    log_pages: Arc<AtomicI32>,
    /// When to try next to empty the write-ahead log, which may hold an erased text.
    truncate_due: Option<Instant>,
    provisional: Arc<AtomicU64>,
    pruner: Pruner,
    /// When an answer is at risk next, or due.
    alarm: Alarm,
    figures: Arc<Mutex<Figures>>,
    vitals: Arc<Vitals>,
    _lock: Lock,
}

/// What everyone else holds of the ledger.
#[derive(Debug, Clone)]
pub struct Handle {
    path: PathBuf,
    requests: Sender<Request>,
    reader: Arc<Mutex<Connection>>,
    accounting: Arc<Mutex<Accounting>>,
    provisional: Arc<AtomicU64>,
    figures: Arc<Mutex<Figures>>,
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
    Assign(Vec<(TicketId, proto::Assignment)>, Answer),
    /// The file could not be read: the ledger ends as after a failed commit.
    Broken(rusqlite::Error),
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
    broken: Option<rusqlite::Error>,
}

impl Group {
    /// Whether anybody waits for this commit: a ticket to be delivered, a client to be answered.
    fn is_urgent(&self) -> bool {
        self.stop
            || self.broken.is_some()
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
        let accounting = accounting::read(&self.connection).map_err(|source| self.failed(source))?;
        // Every ticket ever made was counted with its commit. Counting the pruned ones' ids would take longer each year.
        let tickets = prune::tickets(&self.connection).map_err(|source| self.failed(source))?;
        let provisional =
            rescoring::provisional_tickets(&self.connection).map_err(|source| self.failed(source))?;
        // Stored by the writer after each commit that changes it, read by whoever would like to score again;
        // relaxed, since the tickets themselves are read from the file.
        let provisional = Arc::new(AtomicU64::new(provisional));
        let alarm = Alarm::read(&self.connection).map_err(|source| self.failed(source))?;
        let figures = Figures {
            size: retention::size(&self.connection).map_err(|source| self.failed(source))?,
            live_bytes_max: self.config.retention.live_bytes_max,
            tickets_pruned: accounting.total()[Bucket::Ticketed].saturating_sub(tickets),
            standing: Standing::read(&self.connection).map_err(|source| self.failed(source))?,
            ..Figures::default()
        };
        let figures = Arc::new(Mutex::new(figures));
        let accounting = Arc::new(Mutex::new(accounting));
        // Requests are few: each connection has at most one of each kind under way.
        let (sender, requests) = unbounded();
        let vitals = Arc::<Vitals>::default();
        let handle = Handle {
            path: self.config.path.clone(),
            requests: sender,
            reader: Arc::new(Mutex::new(self.reader)),
            accounting: accounting.clone(),
            provisional: provisional.clone(),
            figures: figures.clone(),
            vitals: vitals.clone(),
        };
        let writer = Writer {
            pruner: Pruner::new(self.config.retention),
            alarm,
            config: self.config,
            connection: self.connection,
            log_pages: self.log_pages,
            settlements,
            requests,
            outbox,
            accounting,
            durable: HashMap::new(),
            teller: None,
            acknowledgements: 0,
            // What the run before could not do, or no longer.
            truncate_due: Some(Instant::now()),
            provisional,
            figures,
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

    /// Tells the desk from now on what helpdesks report, once it is durable.
    pub fn tell(&mut self, teller: Teller) {
        self.teller = Some(teller);
    }

    /// Commits until told to stop. `published` is called after each commit that put heads into the outbox.
    ///
    /// # Errors
    ///
    /// A commit failed: nothing may be written any more, the process must end and recover.
    pub fn run(mut self, published: impl Fn()) -> Result<(), LedgerError> {
        while self.turn(&published)? {}
        // The file alone is then whole, for whoever copies it.
        self.vitals.pulse.begin();
        let is_whole = wal::truncate_log(&mut self.connection, END_WAIT_MAX);
        self.vitals.pulse.rest();
        if !is_whole.map_err(|source| self.failed(source))? && self.truncate_due.is_some() {
            warn!(
                "somebody reads the ledger: texts that were erased are in its -wal file until the next start"
            );
        }
        Ok(())
    }

    /// Waits for work, commits it and answers; whether more may come.
    pub(crate) fn turn(&mut self, published: &impl Fn()) -> Result<bool, LedgerError> {
        self.work(published).map_err(|source| self.failed(source))
    }

    fn work(&mut self, published: &impl Fn()) -> rusqlite::Result<bool> {
        if self.pruner.is_overdue(Instant::now()) {
            self.prune()?;
        }
        let group = self.gather()?;
        self.vitals.pulse.begin();
        if let Some(error) = group.broken {
            return Err(error);
        }
        let begun = Instant::now();
        let new_records = self.commit(&group.settlements, &group.requests)?;
        self.vitals.committed(begun);
        if new_records {
            published();
        }
        let subscribed = self.answer(group.requests)?;
        if subscribed {
            published();
        }
        self.keep_log_short()?;
        self.vitals.pulse.rest();
        Ok(!group.stop)
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.config.path.clone(), error: source }
    }

    /// Waits for work and takes all there is; bookkeeping alone waits for more, up to its delay. Prunes meanwhile.
    fn gather(&mut self) -> rusqlite::Result<Group> {
        let mut group = Group::default();
        loop {
            self.take_what_is_there(&mut group);
            let now = Instant::now();
            if group.is_full() || group.is_urgent() || group.due.is_some_and(|due| due <= now) {
                return Ok(group);
            }
            let clock = Timestamp::now();
            if self.alarm.rings(clock) {
                return Ok(group);
            }
            if self.pruner.due() <= now {
                self.prune()?;
                continue;
            }
            if self.truncate_due.is_some_and(|due| due <= now) {
                self.keep_log_short()?;
                continue;
            }
            let dues = [Some(self.pruner.due()), group.due, self.truncate_due, self.alarm.due(clock, now)];
            let until = dues.into_iter().flatten().min().unwrap_or(now);
            let wait = after(until.saturating_duration_since(now));
            // Only woken here; what woke us is taken above, settlements before requests.
            let mut woken = Select::new();
            woken.recv(&self.settlements);
            woken.recv(&self.requests);
            woken.recv(&wait);
            woken.ready();
        }
    }

    /// One step of pruning: short, and a commit of its own.
    fn prune(&mut self) -> rusqlite::Result<()> {
        self.vitals.pulse.begin();
        let step = self.pruner.step(&mut self.connection, Timestamp::now())?;
        self.figures.lock().add_step(step);
        self.keep_log_short()?;
        self.vitals.pulse.rest();
        Ok(())
    }

    /// After a commit and its answers: nobody waits for it, but whoever comes next.
    fn keep_log_short(&mut self) -> rusqlite::Result<()> {
        if self.truncate_due.is_some_and(|due| due <= Instant::now()) {
            let is_empty = wal::truncate_log(&mut self.connection, Duration::ZERO)?;
            self.truncate_due = (!is_empty).then(|| Instant::now() + TRUNCATE_EVERY);
        } else if self.log_pages.load(Ordering::Relaxed) >= LOG_PAGES_MAX {
            wal::copy_log(&self.connection)?;
        }
        Ok(())
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
                Ok(Request::Broken(error)) => group.broken = Some(error),
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
        let mut filled = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let buckets = apply(&transaction, settlement, ageing, &mut changes)?;
            accounting::add_buckets(&transaction, &settlement.source, &buckets)?;
            store::move_position(&transaction, &settlement.source, settlement.position)?;
            for gap in &settlement.gaps {
                gaps::add_gap(&transaction, &settlement.source, gap, now)?;
            }
            ends.push(buckets);
            let mut lengths = Vec::new();
            for stretch in &settlement.recovered {
                lengths.extend(gaps::recover_gaps(&transaction, &settlement.source, *stretch)?);
            }
            filled.push(lengths);
        }
        for request in requests {
            match request {
                Request::Acknowledge { subscription, seqs, .. } => {
                    deliveries::acknowledge(&transaction, subscription, seqs)?;
                    self.acknowledgements += seqs.len() as u64;
                }
                Request::Feedback(feedback, _) => {
                    if feedback::add_feedback(&transaction, feedback, now)? {
                        changes.told.extend(told(feedback));
                    }
                    deadlines::reported(&transaction, feedback, now, &mut changes)?;
                }
                Request::Rescore(rescorings, _) => {
                    for rescoring in rescorings {
                        rescoring::rescore(&transaction, rescoring, ageing, &mut changes)?;
                    }
                }
                Request::Assign(assignments, _) => {
                    let at_us = now.as_microsecond();
                    for (id, assignment) in assignments {
                        assigned::assign(&transaction, *id, assignment, at_us, ageing, &mut changes)?;
                    }
                }
                Request::Subscribe(..) | Request::Broken(_) | Request::Stop => {}
            }
        }
        // After the reports: what is answered with this very commit is not late.
        let alarm = self.alarm.after(&transaction, now, ageing, &mut changes)?;
        // Counted in SQL and not beside it: a duplicate or an erasure is decided there.
        transaction.commit()?;

        let Changes { heads, reranked, provisional, clocks, told } = changes;
        self.alarm = alarm;
        if !clocks.moves.is_empty() {
            self.figures.lock().standing.apply(&clocks.moves);
        }
        if let Some(teller) = &self.teller {
            told.into_iter().for_each(|told| teller.tell(told));
        }
        let before = self.provisional.load(Ordering::Relaxed);
        self.provisional.store(before.saturating_add_signed(provisional), Ordering::Relaxed);
        self.account(settlements, &ends, &filled);
        if ends.iter().any(|buckets| buckets[Bucket::Erased] > 0) {
            self.truncate_due = Some(Instant::now());
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
    fn account(&self, settlements: &[Settlement], ends: &[Buckets], filled: &[Vec<f64>]) {
        let mut accounting = self.accounting.lock();
        for ((settlement, buckets), filled) in settlements.iter().zip(ends).zip(filled) {
            let account = accounting.sources.entry(settlement.source.clone()).or_default();
            account.buckets.add(buckets);
            account.position = account.position.max(settlement.position);
            account.gaps += settlement.gaps.len() as u64;
            account.gap_length +=
                settlement.gaps.iter().map(|gap| gap.to as f64 - gap.from as f64).sum::<f64>();
            account.gaps_recovered += filled.len() as u64;
            account.gap_length_recovered += filled.iter().sum::<f64>();
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
                | Request::Rescore(_, answer)
                | Request::Assign(_, answer) => {
                    drop(answer.send(Ok(())));
                }
                Request::Subscribe(request, answer) => {
                    // A client that comes back finds its records in memory: reading a long backlog again
                    // would make everyone else wait for it.
                    let is_open = self.outbox.lock().is_open_with(&request.name, &request.filter);
                    if !is_open && let Err(full) = self.open(&request)? {
                        drop(answer.send(Err(full)));
                        continue;
                    }
                    drop(answer.send(Ok(())));
                    subscribed = true;
                }
                Request::Broken(_) | Request::Stop => {}
            }
        }
        Ok(subscribed)
    }

    /// Opens the subscription with what it has pending; the inner error is why it may not be.
    fn open(&mut self, request: &SubscriptionRequest) -> rusqlite::Result<Result<(), String>> {
        if outbox::is_unnamed(&request.name) {
            return self.fill_unnamed(request).map(Ok);
        }
        let ageing = self.config.ageing_points_per_hour;
        let (start, heads) = match deliveries::subscribe(&mut self.connection, request, ageing)? {
            Ok(opened) => opened,
            Err(full) => return Ok(Err(full)),
        };
        self.pruner.filter_changed(&request.name);
        let heads: Vec<_> = heads.into_iter().map(Arc::new).collect();
        // Nobody but this thread opens subscriptions: one that is new is filled before anybody else can see it.
        let is_new = !self.outbox.lock().is_open(&request.name);
        if is_new {
            let mut filled = Outbox::new();
            filled.start_after(&request.name, start);
            filled.open(&request.name, request.filter.clone(), heads);
            self.outbox.lock().take_over(filled);
        } else {
            let mut outbox = self.outbox.lock();
            outbox.start_after(&request.name, start);
            outbox.open(&request.name, request.filter.clone(), heads);
        }
        Ok(Ok(()))
    }

    /// Fills a subscription that the ledger keeps nothing of, if its client is still there.
    fn fill_unnamed(&self, request: &SubscriptionRequest) -> rusqlite::Result<()> {
        let SubscriptionRequest { name, filter, start_next } = request;
        if !self.outbox.lock().is_expected(name) {
            return Ok(());
        }
        let ageing = self.config.ageing_points_per_hour;
        let tickets_max = deliveries::UNNAMED_TICKETS_MAX;
        let (start, heads) = deliveries::retained(&self.connection, *start_next, tickets_max, ageing)?;
        let mut filled = Outbox::new();
        filled.start_after(name, start);
        filled.open(name, filter.clone(), heads.into_iter().map(Arc::new));
        self.outbox.lock().take_over(filled);
        Ok(())
    }

    pub(crate) fn raise_floors(&mut self) -> rusqlite::Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for name in deliveries::subscriptions(&transaction)? {
            deliveries::raise_floor(&transaction, &name)?;
        }
        transaction.commit()
    }
}

/// For whoever drives the thread's steps by hand.
#[cfg(test)]
impl Writer {
    /// Prunes nothing of its own accord.
    pub(crate) fn put_off_pruning(&mut self) {
        self.pruner.put_off();
    }

    /// Prunes all that may go as of `now`, and says how many tickets that were.
    pub(crate) fn prune_round(&mut self, retention: retention::Retention, now: Timestamp) -> u64 {
        self.pruner.round(&mut self.connection, retention, now).expect("no fault is planted here")
    }

    /// Bytes of the file that hold something.
    pub(crate) fn live_bytes(&self) -> u64 {
        retention::size(&self.connection).expect("no fault is planted here").live_bytes
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
    /// What becomes of the clocks of answers.
    pub(super) clocks: Clocks,
    /// What helpdesks report.
    pub(super) told: Vec<Told>,
}

/// What the desk is told of it. The wire has decoded these bytes before: none of them is broken.
fn told(feedback: &Feedback) -> Option<Told> {
    match feedback {
        Feedback::TicketStatus(id, body) | Feedback::TicketStatusWithin { ticket_id: id, body, .. } => {
            proto::TicketStatus::decode(&**body).ok().map(|status| Told::Status(*id, status))
        }
        Feedback::AgentState(body) => proto::AgentState::decode(&**body).ok().map(Told::Agent),
        // Looked up in the ledger when its person writes.
        Feedback::Touchpoint(_) | Feedback::Contacts(_) => None,
    }
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
    pub(super) connection: Connection,
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

    /// Applies the settlement; says where its frames ended, and which posts have joined a ticket by them.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<(Buckets, Vec<proto::Update>)> {
        let transaction = self.connection.transaction()?;
        let mut changes = Changes::default();
        let buckets = apply(&transaction, settlement, 0, &mut changes)?;
        transaction.commit()?;
        let updates = changes.heads.iter().filter(|head| head.seq != head.ticket_seq).map(|head| head.seq);
        let bodies = records::read(&self.connection, &updates.collect::<Vec<_>>())?;
        let joined = bodies.into_iter().filter_map(|(_, body)| match body {
            Body::Update(bytes) => proto::Update::decode(bytes.as_slice()).ok(),
            Body::Ticket(_) => None,
        });
        let is_joined =
            |update: &proto::Update| matches!(update.change, Some(proto::update::Change::FollowedUp(_)));
        Ok((buckets, joined.filter(is_joined).collect()))
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
        Entry::Ticket(ticket) => store::record_ticket(connection, ticket, ageing_points_per_hour, changes)?,
        Entry::FollowUp(new) => conversations::follow_up(connection, new, ageing_points_per_hour, changes)?,
        Entry::Answer { post, answered } => {
            conversations::answer(connection, post, answered, ageing_points_per_hour, changes)?;
            Bucket::Own
        }
        Entry::Bystander { post, bucket } => {
            conversations::bystander(connection, post)?;
            *bucket
        }
        Entry::Edit { ticket_id: edited_id, text, at, otherwise } => {
            let joined = conversations::joined(connection, *edited_id)?;
            let (ticket_id, post_id) = joined.clone().unwrap_or((*edited_id, String::new()));
            if store::has_edit(connection, ticket_id, &post_id, text, *at)? {
                return Ok(Bucket::Duplicate);
            }
            if joined.is_none() && conversations::has_lost_its_own(connection, ticket_id)? {
                return Ok(*otherwise);
            }
            let edited = proto::update::Edited { text: text.clone(), post_id };
            let update = proto::Update {
                ticket_id: ticket_id.as_bytes().to_vec(),
                at_us: at.as_microsecond(),
                change: Some(proto::update::Change::Edited(edited)),
            };
            match store::add_update(connection, ticket_id, &update, ageing_points_per_hour)? {
                Some(head) => {
                    match joined {
                        Some(_) => conversations::set_text_hash(connection, *edited_id, text_hash(text))?,
                        None => store::set_text_hash(connection, ticket_id, text_hash(text))?,
                    }
                    changes.heads.push(head);
                    Bucket::Merged
                }
                // No such ticket, or erased before: the text stays away.
                None => *otherwise,
            }
        }
        Entry::Erase { ticket_id, at } => {
            let reason = Erasure::PostDeleted;
            match conversations::erase_post(
                connection,
                *ticket_id,
                *at,
                reason,
                ageing_points_per_hour,
                changes,
            )? {
                true => Bucket::Erased,
                false => Bucket::Control,
            }
        }
        Entry::EraseAuthor { network, author_id, at } => {
            let mut bucket = Bucket::Control;
            let reason = Erasure::AccountDeleted;
            conversations::forget_helper(connection, *network, author_id)?;
            for ticket_id in store::tickets_of(connection, *network, author_id)? {
                let erased = match conversations::is_of_one(connection, ticket_id, author_id)? {
                    true => {
                        erasure::erase(connection, ticket_id, reason, *at, ageing_points_per_hour, changes)?
                    }
                    false => conversations::erase_post(
                        connection,
                        ticket_id,
                        *at,
                        reason,
                        ageing_points_per_hour,
                        changes,
                    )?,
                };
                if erased {
                    bucket = Bucket::Erased;
                }
            }
            for post_id in conversations::posts_of(connection, *network, author_id)? {
                conversations::erase_post(connection, post_id, *at, reason, ageing_points_per_hour, changes)?;
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

    /// As [`Ledger::conversations`], as of the last commit. May block briefly.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn conversations(
        &self,
        tickets_max: usize,
        visit: impl FnMut(crate::desk::conversation::Remembered),
    ) -> Result<(), LedgerError> {
        let read = conversations::remembered(&self.reader.lock(), tickets_max, visit);
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

    /// Records that these tickets are somebody else's now, and tells the helpdesks. As [`rescore`](Handle::rescore).
    pub fn assign(
        &self,
        assignments: Vec<(TicketId, proto::Assignment)>,
    ) -> oneshot::Receiver<Result<(), String>> {
        self.ask(|answer| Request::Assign(assignments, answer))
    }

    /// Visits every ticket that a route gave to a team, open or not, in the order in which they were made. On a
    /// connection of its own, so that nobody who delivers tickets waits for it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn assigned(&self, visit: impl FnMut(&assigned::Assigned)) -> Result<(), LedgerError> {
        let (connection, _) = open_to_read(&self.path)?;
        assigned::visit(&connection, false, visit)
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
