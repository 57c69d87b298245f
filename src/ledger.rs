//! Ticket → durable record, and back out again to the wire.
//!
//! The only door to SQLite. One thread owns the writing connection ([`Writer`]); whatever arrives while it
//! commits goes into the next commit together. A ticket, the buckets of the frames around it and the
//! position in its source's stream are one transaction: after a crash all three are there, or none.
//!
//! A failed commit ends the ledger for good: what is on disk is only known after a restart (Rebello et al.,
//! *Can Applications Recover from fsync Failures?*, USENIX ATC 2020).

use std::fs::{File, TryLockError};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::access::brands::Brands;
use crate::desk::follow_up::{Amended, Terms};
use crate::desk::route::OPEN_TICKETS_MAX;
use crate::parse::Network;
use crate::source::{Gap, Stored};
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

pub mod accounting;
pub mod articles;
pub mod backup;
pub mod assigned;
pub mod cases;
mod changed;
pub mod context;
pub mod conversations;
mod deadlines;
mod deliveries;
mod erasure;
mod feedback;
mod figures;
mod gaps;
mod importing;
pub mod outbox;
mod prune;
pub mod recall;
mod records;
mod rescoring;
pub mod report;
mod retention;
mod schema;
mod store;
pub mod subscriptions;
pub mod tickets;
pub mod vitals;
mod wal;
mod writer;

pub use accounting::{Accounting, SourceAccount};
pub use conversations::ThreadPost;
pub use deadlines::Standing;
pub use figures::Figures;
pub use retention::{Retention, Size};
pub use vitals::Vitals;
pub use writer::{Handle, Outcome, Scratch, Writer};

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
    /// That ticket's own record; `seq` itself for a ticket.
    pub ticket_seq: Seq,
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
    /// Priority and intent by the full model, where the others are the small one's and it says otherwise. A filter
    /// passes a ticket that either makes it pass: who had it must hear of the change, and who waits for such
    /// tickets must have it.
    pub rescored: Option<(u16, Box<str>)>,
}

/// A record's body as stored: encoded once, sent unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// An encoded `vigie.v1.Ticket`.
    Ticket(Vec<u8>),
    /// An encoded `vigie.v1.Update`.
    Update(Vec<u8>),
}

/// A subscription as a client asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionRequest {
    /// 1 to 100 of `a-z A-Z 0-9 . _ -`, or the outbox's name of one without a name, of which the ledger keeps nothing:
    /// see [`outbox::is_unnamed`].
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
    /// Opens or creates a subscription and fills its pending records into the outbox.
    fn subscribe(&self, request: SubscriptionRequest) -> tokio::sync::oneshot::Receiver<Result<(), String>>;

    /// Makes acknowledgements durable; not for a subscription without a name. Unknown seqs are ignored.
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
    /// The same from a client that may only speak of tickets of some brands: of others it is ignored.
    TicketStatusWithin {
        /// The ticket.
        ticket_id: TicketId,
        /// The encoded message.
        body: Vec<u8>,
        /// As in config.
        brands: Brands,
    },
    /// An encoded `vigie.v1.Touchpoint`.
    Touchpoint(Vec<u8>),
    /// An encoded `vigie.v1.AgentState`.
    AgentState(Vec<u8>),
    /// Contacts that were reported together, checked.
    Contacts(Vec<context::Contact>),
}

/// Where the ledger is, and how it commits.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The SQLite file; its folder must exist and be writable.
    pub path: PathBuf,
    /// Longest time that counts and positions without a ticket wait for a commit of their own.
    ///
    /// Tickets and acknowledgements never wait.
    pub bookkeeping_delay_max: Duration,
    /// Points that waiting earns a pending ticket in an hour: see [`outbox`].
    pub ageing_points_per_hour: u32,
    /// How long tickets are kept once they are acknowledged.
    pub retention: Retention,
}

/// What one batch of frames came to, handed over once all of it is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The source's name in config.
    pub source: Arc<str>,
    /// One more than the number that the source gave the batch, or the last of several that were joined.
    pub end_sequence: u64,
    /// Greatest position in the batch, in the source's own unit.
    pub position: Option<i64>,
    /// Where the frames ended that are not in `entries`.
    pub buckets: Buckets,
    /// Holes noticed before this batch.
    pub gaps: Vec<Gap>,
    /// Stretches, first to last position, in which every gap booked so far is filled with this batch.
    pub recovered: Vec<(i64, i64)>,
    /// What changes tickets, in the order of the frames. Each ends in a bucket that the ledger decides.
    pub entries: Vec<Entry>,
}

/// A frame that makes or changes a ticket.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A new ticket, or a duplicate if the ledger knows its id.
    Ticket(Box<NewTicket>),
    /// A post that joins a ticket.
    FollowUp(Box<NewFollowUp>),
    /// One of our own accounts has answered in a ticket's thread. Ends as `own`, whatever becomes of it.
    Answer {
        /// The answer.
        post: ThreadPost,
        /// What the helpdesks are told.
        answered: proto::update::Answered,
    },
    /// Somebody else has said something in a ticket's thread.
    Bystander {
        /// What was said: of it only the author is kept.
        post: ThreadPost,
        /// Where the frame ends.
        bucket: Bucket,
    },
    /// The author changed the text.
    Edit {
        /// Which ticket, or which post that had joined one: both have ids of the same kind.
        ticket_id: TicketId,
        /// The new text.
        text: String,
        /// When the network showed it, where it says so, else when we saw it. An edit that is older than
        /// the ticket's last, or is that one, has come before: it changes nothing.
        at: Timestamp,
        /// Where the frame ends if there is no such ticket, or its text was erased.
        otherwise: Bucket,
        /// What it says, by which the ticket may come to matter more; `None`: it is only shown.
        amended: Option<Box<Amended>>,
    },
    /// The author deleted the post.
    Erase {
        /// Which ticket, or post that had joined one, if there is one.
        ticket_id: TicketId,
        /// When we saw it.
        at: Timestamp,
    },
    /// The account is gone, with all its posts.
    EraseAuthor {
        /// On which network.
        network: Network,
        /// As in the tickets' `author.id`.
        author_id: String,
        /// When we saw it.
        at: Timestamp,
    },
}

/// A ticket to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTicket {
    /// Its identity.
    pub id: TicketId,
    /// The post's author on its network.
    pub author_id: String,
    /// What filters look at.
    pub traits: Traits,
    /// When the desk made it.
    pub created_at: Timestamp,
    /// When its post was seen, by which further ones join it.
    pub posted_at: Timestamp,
    /// When the poster expects an answer, µs since 1970.
    pub due_at_us: i64,
    /// From when on it may come too late; `None`: nobody is told of that, nor when it is due.
    pub at_risk_at_us: Option<i64>,
    /// [`desk::text_hash`](crate::desk::text_hash) of the post's text.
    pub text_hash: u64,
    /// [`of_post`](crate::prefilter::watched::of_post): by which answers to it are found.
    pub watch: u64,
    /// The first ticket of the thread in which its post stands, if that is another.
    pub thread: Option<TicketId>,
    /// Whether only the small model has read it: to be scored again when there is time.
    pub provisional: bool,
    /// Whose it is; `None`: no route speaks of it.
    pub assignee: Option<assigned::Assignee>,
    /// The encoded `vigie.v1.Ticket`.
    pub body: Vec<u8>,
}

/// A post that joins a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFollowUp {
    /// Its identity: that of the ticket that it would have been.
    pub post_id: TicketId,
    /// Which ticket.
    pub ticket_id: TicketId,
    /// Where it was posted.
    pub network: Network,
    /// By whom.
    pub author_id: String,
    /// [`desk::text_hash`](crate::desk::text_hash) of its text.
    pub text_hash: u64,
    /// When the desk decided.
    pub at: Timestamp,
    /// When it was seen, by which further ones join its ticket.
    pub posted_at: Timestamp,
    /// What the helpdesks are told.
    pub post: proto::Post,
    /// What the model says of it.
    pub verdict: proto::Verdict,
    /// What speaks for the post by itself, in full.
    pub factors: Vec<proto::Factor>,
    /// Whether it says that its author waits: thanks do not.
    pub raises: bool,
    /// The post whose author it thanks.
    pub thanks: Option<TicketId>,
    /// By what the priority is reckoned.
    pub terms: Terms,
    /// How old another ticket of its author's may be that it joins if this one is closed, or gone, µs.
    pub join_us: i64,
    /// What becomes of it if the ticket is closed, full, pruned or erased, and there is no such other.
    pub otherwise: Otherwise,
}

/// What becomes of a post whose ticket is closed, or gone.
#[derive(Debug, Clone, PartialEq)]
pub enum Otherwise {
    /// It makes one of its own.
    Ticket(Box<NewTicket>),
    /// Its frame ends here.
    Bucket(Bucket),
}

/// What the full model made of a ticket that the small one had decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescoring {
    /// Which ticket.
    pub ticket_id: TicketId,
    /// When.
    pub at: Timestamp,
    /// What subscribers must know; `None` if the small model was right in all that matters.
    pub change: Option<Box<proto::update::Rescored>>,
    /// By what the priority is reckoned where posts have joined it.
    pub terms: Terms,
}

/// Why a ledger cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another daemon uses this file.
    #[error("ledger {}: another vigie is using it", .0.display())]
    InUse(PathBuf),
    /// Asked to be read, and no vigie has made it yet.
    #[error("ledger {}: no such file: has `vigie run` been started with this config?", .0.display())]
    Absent(PathBuf),
    /// The folder or file cannot be written.
    #[error("ledger {}: {source}{}", path.display(), folder_hint(source))]
    Io {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("ledger {}: {}", path.display(), reason(error))]
    Sqlite {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// Another `vigie import` is under way.
    #[error(
        "ledger {}: another import{} is under way: only one at a time",
        .path.display(),
        .process.map(|process| format!(" (process {process})")).unwrap_or_default()
    )]
    Importing {
        /// The ledger.
        path: PathBuf,
        /// The process that imports, where that can be told.
        process: Option<u32>,
    },
    /// Another program's database.
    #[error("ledger {}: a database that is not vigie's", .0.display())]
    Foreign(PathBuf),
    /// Written by a newer vigie.
    #[error("ledger {}: schema {found} is newer than this vigie, which knows {known}", path.display())]
    Newer {
        /// The ledger's file.
        path: PathBuf,
        /// The schema in the file.
        found: i64,
        /// The newest schema we know.
        known: i64,
    },
    /// Written by an older vigie, and only asked to be read.
    #[error("ledger {}: schema {found} is older than this vigie's, {known}: `vigie run` brings it there", path.display())]
    Older {
        /// The ledger's file.
        path: PathBuf,
        /// The schema in the file.
        found: i64,
        /// The schema that we read.
        known: i64,
    },
}

/// A file that is made where it is absent is only not found if its folder is.
fn folder_hint(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::NotFound { "; is its folder there?" } else { "" }
}

/// SQLite's reason, once, with what an operator should look at.
fn reason(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode;
    let rusqlite::Error::SqliteFailure(code, message) = error else { return error.to_string() };
    let reason = message.clone().unwrap_or_else(|| code.to_string());
    match code.code {
        ErrorCode::DiskFull => reason,
        ErrorCode::SystemIoFailure => {
            let refused = refused(code.extended_code);
            format!("{reason}: {refused} (code {}); is the disk full, or failing?", code.extended_code)
        }
        // Also what a read error becomes.
        ErrorCode::DatabaseCorrupt => {
            format!(
                "{reason}: the disk cannot read it, or it is damaged; if a restart does not help, restore a backup"
            )
        }
        ErrorCode::ReadOnly | ErrorCode::CannotOpen => format!("{reason}: may this user write its folder?"),
        _ => reason,
    }
}

/// What the system refused. SQLite keeps its reason to itself.
fn refused(extended_code: i32) -> &'static str {
    use rusqlite::ffi;
    match extended_code {
        ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ => "a read failed",
        ffi::SQLITE_IOERR_WRITE => "a write failed",
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => "an fsync failed",
        ffi::SQLITE_IOERR_TRUNCATE => "the file could not be cut",
        ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_SHMMAP => {
            "the index of its write-ahead log could not be written"
        }
        _ => "the system refused",
    }
}

/// An open ledger, before its thread starts.
#[derive(Debug)]
pub struct Ledger {
    pub(super) config: Config,
    pub(super) connection: Connection,
    /// Pages in the write-ahead log, as of the last commit.
    log_pages: Arc<AtomicI32>,
    pub(super) reader: Connection,
    /// For how long no vigie was there before this one.
    pub(super) away: Duration,
    /// Held for as long as the ledger is open; the operating system frees it with the process.
    pub(super) lock: Lock,
}

impl Ledger {
    /// Opens or creates the ledger and proves that it can be written.
    ///
    /// # Errors
    ///
    /// The operator must act: the folder is missing or read-only, the disk is full, the file belongs to
    /// another running vigie or to a newer one, or is no ledger.
    pub fn open(config: Config) -> Result<Ledger, LedgerError> {
        let lock = lock(&config.path)?;
        let away = deadlines::away(&config.path, SystemTime::now());
        let failed = |source| LedgerError::Sqlite { path: config.path.clone(), error: source };
        // Posts are no secret, but their authors may delete them: nobody else need keep a copy.
        let io_failed = |source| LedgerError::Io { path: config.path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).mode(0o640).open(&config.path);
        drop(file.map_err(io_failed)?);
        let mut connection = Connection::open(&config.path).map_err(failed)?;
        schema::leave_log_on_close(&connection).map_err(failed)?;
        if !schema::is_ours(&connection).map_err(failed)? {
            lock.forget();
            return Err(LedgerError::Foreign(config.path.clone()));
        }
        // Before anything is written: what a newer vigie has made is left as it is.
        let found = schema::version(&connection).map_err(failed)?;
        if found > schema::VERSION {
            return Err(LedgerError::Newer { path: config.path.clone(), found, known: schema::VERSION });
        }
        let log_pages = schema::prepare(&mut connection).map_err(failed)?;
        schema::migrate(&connection).map_err(failed)?;
        schema::allow_shrinking(&connection).map_err(failed)?;
        schema::probe(&connection).map_err(failed)?;
        let reader = Connection::open_with_flags(
            &config.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        Ok(Ledger { config, connection, log_pages, reader, away, lock })
    }

    /// Lets commits return before they are on the disk: they outlive this process, but no power cut.
    ///
    /// For the benches that ask what durability costs. No config leads here.
    ///
    /// # Errors
    ///
    /// SQLite refused.
    #[doc(hidden)]
    pub fn without_durability(self) -> Result<Ledger, LedgerError> {
        let switched = self.connection.pragma_update(None, "synchronous", "OFF");
        switched.map_err(|source| self.failed(source))?;
        Ok(self)
    }

    /// Where a restart resumes this source.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn position(&self, source: &str) -> Result<Option<i64>, LedgerError> {
        store::position(&self.connection, source).map_err(|source| self.failed(source))
    }

    /// What a run of this source begins with.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn stored(&self, source: &str) -> Result<Stored, LedgerError> {
        let position = self.position(source)?;
        let open_gaps = gaps::open_gaps(&self.connection, source).map_err(|source| self.failed(source))?;
        Ok(Stored { position, open_gaps })
    }

    /// Calls `visit` with each ticket's id and the hash of its post's text, oldest first, for the desk to
    /// remember; at most the newest `tickets_max`.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn tickets(&self, tickets_max: usize, visit: impl FnMut(TicketId, u64)) -> Result<(), LedgerError> {
        store::tickets(&self.connection, tickets_max, visit).map_err(|source| self.failed(source))
    }

    /// Visits the open tickets that a route gave to a team, the newest that the desk keeps in mind, oldest first.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn open_assigned(&self, visit: impl FnMut(&assigned::Assigned)) -> Result<(), LedgerError> {
        assigned::visit_open(&self.connection, OPEN_TICKETS_MAX, visit).map_err(|source| self.failed(source))
    }

    /// Visits how many tickets each agent has got rid of since they said how many they have.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn relieved(&self, visit: impl FnMut(&str, u32)) -> Result<(), LedgerError> {
        assigned::visit_relieved(&self.connection, visit).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.config.path.clone(), error: source }
    }
}

/// Opens the ledger for reading alone, beside a daemon or without one; gives its schema, too.
fn open_to_read(path: &Path) -> Result<(Connection, i64), LedgerError> {
    let failed = |source| LedgerError::Sqlite { path: path.to_owned(), error: source };
    // SQLite does not say why it cannot open a file.
    drop(File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LedgerError::Absent(path.to_owned()),
        _ => LedgerError::Io { path: path.to_owned(), source },
    })?);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    schema::plan_once(&connection).map_err(failed)?;
    let found = schema::version(&connection).map_err(failed)?;
    if found == 0 || !schema::is_ours(&connection).map_err(failed)? {
        return Err(LedgerError::Foreign(path.to_owned()));
    }
    if found > schema::VERSION {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known: schema::VERSION });
    }
    Ok((connection, found))
}

/// Longest wait for those who only look whether the lock is taken, and have it for microseconds.
const GLANCE_MAX: Duration = Duration::from_millis(200);

/// The file lock that keeps a second daemon away.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
    is_new: bool,
}

impl Lock {
    /// Leaves no file behind beside a database that is not ours.
    fn forget(self) {
        if self.is_new {
            // It is empty and harms nobody.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Takes the lock. SQLite's own locks would let both in by turns.
fn lock(path: &Path) -> Result<Lock, LedgerError> {
    let lock_path = lock_path(path);
    let failed = |source| LedgerError::Io { path: path.to_owned(), source };
    let is_new = !lock_path.exists();
    let file = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(failed)?;
    let asked_since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file, path: lock_path, is_new }),
            Err(TryLockError::WouldBlock) if asked_since.elapsed() < GLANCE_MAX => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Whether a daemon may have the ledger now. Whoever asks has its lock for an instant, shared with others who ask, for which
/// a daemon that starts just then waits.
fn is_locked(path: &Path) -> bool {
    match File::open(lock_path(path)) {
        // Closing the file unlocks it.
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Beside the file itself, as SQLite's own files are, whatever link led to it.
fn lock_path(path: &Path) -> PathBuf {
    let mut lock_path = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
    lock_path.push(".lock");
    PathBuf::from(lock_path)
}

#[cfg(test)]
pub(crate) mod tests;
