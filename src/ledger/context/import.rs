//! Takes over what the company's files say, beside a running daemon or without one.
//!
//! # Beside a daemon
//!
//! SQLite lets one process write at a time. An import writes in steps of at most `STEP_MAX` and, where a daemon has the
//! ledger, leaves the file alone for `PAUSE` after each; the daemon asks every millisecond, so that its commit waits for
//! one step and no longer. What it sees meanwhile is the file as of some step. A step does not wait for the disk, the last one of an
//! import does, and with it all before are there; the write-ahead log is copied into the file as it grows.
//!
//! # Order
//!
//! Rows come in chunks of [`CHUNK_ROWS`]. Each is sorted before it is written, customers by key and accounts by name:
//! in the order of a file every row is a page of its own somewhere, and a million of them write a thousand times the
//! data. Of each customer in the file 4 bytes are kept in memory.
//!
//! A ledger without customers is not asked for each row: a filter of a fixed size knows what this import has written.
//! One import at a time, so that this stays true.
//!
//! An import that is broken off has taken over a part, in which customers may lack accounts; repeating it mends that.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::size;
use crate::ledger::outbox::AGEING_POINTS_PER_HOUR;
use crate::ledger::{Config, Ledger, LedgerError, Retention, importing, is_locked, schema, wal};

mod agents;
mod customers;
mod known;
mod touchpoints;

pub use agents::AgentRow;
pub use customers::{CustomerChunk, CustomerRow};
use known::{Filter, Seen};

/// Rows that are sorted and written together; a customer with two accounts takes some 500 bytes, and two chunks are in
/// memory: an import of a million customers takes 430 MiB. Every chunk writes into every page of the tables again.
pub const CHUNK_ROWS: usize = 131_072;
/// Rows of the first chunk; each further one may have twice as many. While the tables are small that costs little, and the
/// sooner the first is there, the sooner writing begins.
pub const FIRST_CHUNK_ROWS: usize = CHUNK_ROWS / 16;
/// The same in bytes of the rows' texts, for those with long ones.
pub const CHUNK_BYTES: usize = 32 << 20;

/// Longest step but for the row that ends it, and its commit.
const STEP_MAX: Duration = Duration::from_millis(40);
/// After each step, for the daemon to get in.
const PAUSE: Duration = Duration::from_millis(4);
/// Pages in the write-ahead log after which an import copies it into the file: 64 MiB.
const LOG_PAGES_MAX: i32 = 16_000;
/// Pages that an import keeps in memory.
const CACHE_KIB: i64 = 64 * 1024;
/// Longest wait for the daemon, which writes for milliseconds.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(60);

/// A row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered<T> {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What it says.
    pub row: T,
}

/// Why a row of a file was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Taken over, and not known before.
    pub new: u64,
    /// Known, and said otherwise.
    pub changed: u64,
    /// Known, and said the same.
    pub unchanged: u64,
    /// Known, and not in the file that is the whole truth.
    pub removed: u64,
    /// Contacts of a key or account that is no customer's, or not yet.
    pub of_nobody: u64,
}

/// What the steps of an import go by.
#[derive(Debug)]
struct Pace {
    /// The ledger, as the daemon names it: its lock lies beside that, whatever a link points to.
    path: PathBuf,
    /// Pages in the write-ahead log, as of the last commit.
    log_pages: Arc<AtomicI32>,
}

impl Pace {
    /// Lets others write, after a step.
    fn rest(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.log_pages.load(Ordering::Relaxed) >= LOG_PAGES_MAX {
            wal::copy_log(connection)?;
        }
        if is_locked(&self.path) {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// An import into one ledger.
#[derive(Debug)]
pub struct Importer {
    connection: Connection,
    pace: Pace,
    /// Whether the file's rows are the whole truth, and what is not among them goes at the end.
    replace: bool,
    tally: Tally,
    /// Whether the contacts that were there at the start have been noted.
    knows_old_touchpoints: bool,
    /// Customers that were in the file.
    seen: Seen,
    /// Keys and accounts that may be there; `None`: ask the file.
    written: Option<Filter>,
    /// Keeps other imports away.
    _lock: File,
}

impl Importer {
    /// Opens the ledger to be imported into; without a daemon on it, it is made, or brought to this vigie's version.
    ///
    /// # Errors
    ///
    /// It cannot be written, is no ledger, is of another version and in use, or another import is under way.
    pub fn open(path: &Path, replace: bool) -> Result<Importer, LedgerError> {
        let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
        if !is_current(path).map_err(failed)? {
            // The daemon's own way of making it, and of keeping others away meanwhile.
            drop(Ledger::open(Config {
                path: path.to_owned(),
                bookkeeping_delay_max: Duration::ZERO,
                ageing_points_per_hour: AGEING_POINTS_PER_HOUR,
                retention: Retention::default(),
            })?);
        }
        let lock = importing::lock(path)?;
        let (mut connection, log_pages) = writable(path)?;
        wal::wait_for_others(&mut connection, BUSY_WAIT_MAX).map_err(failed)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        connection
            .execute_batch(
                "CREATE TEMP TABLE seen_agent (name TEXT PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID;
                 CREATE TEMP TABLE old_touchpoint (
                     customer TEXT, network TEXT, account TEXT, at_us INTEGER, channel TEXT,
                     PRIMARY KEY (customer, network, account, at_us, channel)) WITHOUT ROWID;",
            )
            .map_err(failed)?;
        let is_empty = "SELECT NOT EXISTS (SELECT 1 FROM customer) AND NOT EXISTS (SELECT 1 FROM account)";
        let is_empty: bool = connection.query_row(is_empty, [], |row| row.get(0)).map_err(failed)?;
        Ok(Importer {
            connection,
            pace: Pace { path: path.to_owned(), log_pages },
            replace,
            tally: Tally::default(),
            knows_old_touchpoints: false,
            seen: Seen::default(),
            written: is_empty.then(Filter::new),
            _lock: lock,
        })
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts what the context takes and waits until all of it is on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be written: what was imported may be lost with the next power cut.
    pub fn finish(mut self) -> Result<Tally, LedgerError> {
        let done = self.settle();
        done.map_err(|error| self.failed(error))?;
        Ok(self.tally)
    }

    fn settle(&mut self) -> rusqlite::Result<()> {
        let bytes = size::count(&self.connection)?;
        // What is written before is durable with this commit.
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        size::set(&transaction, bytes)?;
        transaction.commit()?;
        wal::copy_log(&self.connection)
    }

    fn failed(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.pace.path.clone(), error }
    }
}

/// Does something for each item, in as many steps as it takes. Whoever prepares statements does so once, before.
fn in_steps<T>(
    connection: &Connection,
    pace: &Pace,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(T) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    in_asking_steps(connection, pace, items, || Ok(()), |(), item| each(item))
}

/// The same; what `ask` reads holds for the whole step, in which nobody else writes.
fn in_asking_steps<T, A: Copy>(
    connection: &Connection,
    pace: &Pace,
    items: impl IntoIterator<Item = T>,
    mut ask: impl FnMut() -> rusqlite::Result<A>,
    mut each: impl FnMut(A, T) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        // The lock is ours from here on.
        let begun = Instant::now();
        let before = size::Before::measure(&transaction, size::Part::People)?;
        let answer = ask()?;
        for item in items.by_ref() {
            each(answer, item)?;
            if begun.elapsed() >= STEP_MAX {
                break;
            }
        }
        before.account(&transaction)?;
        transaction.commit()?;
        pace.rest(connection)?;
    }
    Ok(())
}

/// Whether the ledger is there with this vigie's tables.
fn is_current(path: &Path) -> rusqlite::Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    Ok(schema::is_ours(&connection)? && schema::version(&connection)? == schema::VERSION)
}

/// A connection that writes into a ledger of this vigie's version, beside whoever else does.
pub(super) fn writable(path: &Path) -> Result<(Connection, Arc<AtomicI32>), LedgerError> {
    let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    schema::leave_log_on_close(&connection).map_err(failed)?;
    let log_pages = schema::prepare(&mut connection).map_err(failed)?;
    Ok((connection, log_pages))
}
