//! The ledger's thread: whatever waits is committed together, then everyone concerned is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Select, TryRecvError, after, never, unbounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::deadlines::{Alarm, Standing};
use super::outbox::Outbox;
use super::retention::{self, Pruner};
use super::{
    Accounting, Config, Feedback, Figures, Ledger, LedgerError, Lock, Rescoring, Seq, Settlement,
    SubscriptionRequest, Vitals, accounting, prune, rescoring, wal,
};
use crate::desk::Anew;
use crate::desk::told::{Teller, Told};
use crate::source::Durable;
use crate::telemetry::Bucket;

mod answer;
mod apply;
mod commit;
mod handle;
mod scratch;

pub(super) use apply::{Changes, Placed};
pub use handle::Handle;
pub use scratch::{Outcome, Scratch};

/// Settlements and requests taken into one commit at most, and the last of them; see [`Request::weight`].
///
/// A settlement is one batch of frames with at most a few hundred tickets of about 1 KiB, so that a group
/// stays well under the 4 MiB at which SQLite begins to spill its page cache.
const GROUP_MAX: usize = 256;

/// Contacts of a request that count as one more in a group: some thousands are one commit, and not the quarter of a
/// million that 256 requests of a thousand would be.
const CONTACTS_AS_ONE: usize = 16;

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
    /// How many of them are too many.
    log_pages_long: i32,
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
    Assign(Vec<Anew>, Answer),
    /// The file could not be read: the ledger ends as after a failed commit.
    Broken(rusqlite::Error),
    /// Everything handed over before is committed, then the thread ends.
    Stop,
}

impl Request {
    /// How much of a group it takes: one, or more if it brings many contacts.
    fn weight(&self) -> usize {
        match self {
            Request::Feedback(Feedback::Contacts(contacts), _) => 1 + contacts.len() / CONTACTS_AS_ONE,
            _ => 1,
        }
    }
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
        self.settlements.len() + self.requests.iter().map(Request::weight).sum::<usize>() >= GROUP_MAX
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
        let alarm = Alarm::read(&self.connection, Timestamp::now(), self.away)
            .map_err(|source| self.failed(source))?;
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
            log_pages_long: wal::LONG_PAGES,
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
        let released = self.pruner.take_released();
        if let Some(teller) = &self.teller {
            released.into_iter().for_each(|id| teller.tell(Told::Stands(id, None)));
        }
        self.keep_log_short()?;
        self.vitals.pulse.rest();
        Ok(())
    }

    /// After a commit and its answers: nobody waits for it, but whoever comes next.
    fn keep_log_short(&mut self) -> rusqlite::Result<()> {
        if self.truncate_due.is_some_and(|due| due <= Instant::now()) {
            let is_empty = wal::truncate_log(&mut self.connection, Duration::ZERO)?;
            self.truncate_due = (!is_empty).then(|| Instant::now() + TRUNCATE_EVERY);
            return Ok(());
        }
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < wal::LONG_PAGES {
            self.log_pages_long = wal::LONG_PAGES;
        }
        if pages >= self.log_pages_long {
            if wal::restart_log(&mut self.connection)? {
                self.log_pages.store(0, Ordering::Relaxed);
            } else {
                self.log_pages_long = pages.saturating_add(wal::AGAIN_PAGES);
            }
        } else if pages >= LOG_PAGES_MAX {
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
