//! What a bridge has made of which ticket: a SQLite file of its own, beside the ledger or far from it.
//!
//! It is what a crash must not lose: that a ticket is about to be made in the helpdesk is on the disk before the
//! helpdesk is asked, and what it is called there before the daemon is told. No text of a post is in it.
//!
//! As with the ledger, one process at a time uses the file, and a failed commit ends it for good: what is on the disk
//! is only known after a restart.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{LedgerError, Lock, lock, schema, wal};
use crate::ticket::TicketId;

/// The schema that this vigie writes.
const VERSION: i64 = 1;
/// "vigB", so that a ledger is not taken for one of these, nor the other way round.
const APPLICATION_ID: i64 = 0x7669_6742;
/// Pages in the write-ahead log, of 4 KiB, from which on it is copied into the file.
const LOG_PAGES_MAX: i32 = 1_000;

const VERSION_1: &str = "
    CREATE TABLE opened (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        times     INTEGER NOT NULL,
        first_us  INTEGER NOT NULL             -- when the file was made
    ) STRICT;

    CREATE TABLE entry (
        ticket_id        BLOB PRIMARY KEY,     -- 16 bytes
        brand            TEXT NOT NULL,
        level            INTEGER NOT NULL,     -- as the helpdesk was told last
        attempted_at_us  INTEGER,              -- a ticket may have been made since; NULL: none can have been
        unclear          INTEGER NOT NULL DEFAULT 0,   -- 1: an attempt has ended so
        case_id          TEXT,                 -- the helpdesk's id; NULL: not known to be made
        captured         TEXT NOT NULL DEFAULT '{}',   -- what its creation gave beside, JSON
        complete         INTEGER NOT NULL DEFAULT 0,   -- 1: all steps of its creation are done
        how              INTEGER NOT NULL DEFAULT 0,   -- 0 made, 1 found, 2 made without knowing whether one was there
        others           INTEGER NOT NULL DEFAULT 0,   -- tickets found beside it
        done_seq         INTEGER NOT NULL DEFAULT 0,   -- the last of the daemon's records that is in the helpdesk
        refused_seq      INTEGER NOT NULL DEFAULT 0,   -- the record that the helpdesk will not take
        refusals         INTEGER NOT NULL DEFAULT 0,   -- how often it has said so
        erased_at_us     INTEGER,
        gone             INTEGER NOT NULL DEFAULT 0,   -- 1: the helpdesk has it no more
        open             INTEGER NOT NULL DEFAULT 1,   -- 0: ended there, as far as is known
        reported         BLOB,                 -- the last TicketStatus that the daemon was told, encoded
        again_at_us      INTEGER DEFAULT 0,    -- when to look at it again; NULL: unasked no more
        touched_at_us    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entry_case ON entry (case_id) WHERE case_id IS NOT NULL;
    CREATE INDEX entry_again ON entry (again_at_us) WHERE open = 1 AND case_id IS NOT NULL;
    CREATE INDEX entry_touched ON entry (touched_at_us);

    -- Notes that hold a post's text, so that it can be taken out again.
    CREATE TABLE note (
        ticket_id  BLOB NOT NULL,
        seq        INTEGER NOT NULL,           -- the record that it tells of
        post_id    TEXT NOT NULL,              -- empty: the ticket's own post
        captured   TEXT NOT NULL,              -- what its call gave, JSON
        PRIMARY KEY (ticket_id, seq)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE cursor (
        id     INTEGER PRIMARY KEY CHECK (id = 1),
        value  TEXT NOT NULL                   -- from where the helpdesk's changes are asked for
    ) STRICT;
";

/// How a ticket came to be known in the helpdesk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// We have made it, and were told so.
    Made,
    /// We were not told, and have found it.
    Found,
    /// The helpdesk cannot be asked what it has: there may be another.
    Unknown,
}

/// A ticket in the helpdesk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The helpdesk's id.
    pub id: String,
    /// What its creation gave beside, JSON.
    pub captured: String,
    /// How we know it.
    pub origin: Origin,
    /// Whether all steps of its creation are done.
    pub is_complete: bool,
    /// Whether the helpdesk has it no more.
    pub is_gone: bool,
}

/// All that is known of one ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// As named in the config.
    pub brand: String,
    /// As the helpdesk was told last; a `Level`.
    pub level: i32,
    /// When one was begun to be made whose end is not known; microseconds since 1970.
    pub attempted_at_us: Option<i64>,
    /// Whether an attempt has ever ended so that it may have been made.
    pub is_unclear: bool,
    /// Where it is.
    pub place: Option<Place>,
    /// The last record that is in the helpdesk; 0: none.
    pub done_seq: u64,
    /// The record that the helpdesk will not take, and how often it has said so.
    pub refused: (u64, u32),
    /// Whether the author has taken it back.
    pub is_erased: bool,
    /// Notes that hold a post's text, the oldest first.
    pub notes: Vec<Note>,
    /// The last `TicketStatus` that the daemon was told, encoded; empty: none.
    pub reported: Vec<u8>,
    /// When to look at it again, microseconds since 1970; `None`: not unless something is heard of it.
    pub again_at_us: Option<i64>,
}

/// A note in the helpdesk that holds a post's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The record that it tells of.
    pub seq: u64,
    /// Whose text; empty: that of the ticket's own post.
    pub post_id: String,
    /// What its call gave, JSON.
    pub captured: String,
}

/// What has happened to a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The helpdesk will be asked to make it.
    Attempted {
        /// As named in the config.
        brand: String,
        /// A `Level`.
        level: i32,
    },
    /// Nobody knows whether it has made it.
    Unclear,
    /// It has not, for certain.
    Withdrawn,
    /// It is there.
    Placed {
        /// As named in the config.
        brand: String,
        /// A `Level`.
        level: i32,
        /// Where.
        place: Place,
        /// Tickets with the same reference beside it.
        others: usize,
    },
    /// All steps of its creation are done.
    Completed,
    /// A record is in the helpdesk.
    Done {
        /// Which.
        seq: u64,
        /// The level that it holds now.
        level: i32,
    },
    /// A note was added that holds a post's text.
    Noted(Note),
    /// The notes that held a post's text hold it no more; `None`: of no post.
    NotesErased(Option<String>),
    /// The helpdesk will not take this record.
    Refused {
        /// Which.
        seq: u64,
    },
    /// The author has taken it back, and the helpdesk was told.
    Erased,
    /// The helpdesk has it no more.
    Gone,
    /// It was merged into another one there.
    Moved {
        /// That one's id.
        id: String,
    },
    /// It was looked at.
    Read {
        /// When to look again, microseconds since 1970; `None`: not unless something is heard of it.
        again_at_us: Option<i64>,
    },
    /// The daemon was told this `TicketStatus`, encoded.
    Reported(Vec<u8>),
}

/// A bridge's open file.
#[derive(Debug)]
pub struct Cases {
    path: PathBuf,
    connection: Connection,
    log_pages: Arc<AtomicI32>,
    /// A commit has failed.
    is_broken: bool,
    made_at_us: i64,
    _lock: Lock,
}

impl Cases {
    /// Opens or makes the file and proves that it can be written.
    ///
    /// # Errors
    ///
    /// The operator must act, as with [`Ledger::open`](super::Ledger::open).
    pub fn open(path: &Path, now_us: i64) -> Result<Cases, LedgerError> {
        let lock = lock(path)?;
        let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
        let io_failed = |source| LedgerError::Io { path: path.to_owned(), source };
        // Who asked a company for help is nobody else's business.
        let file = File::options().create(true).truncate(false).write(true).mode(0o640).open(path);
        drop(file.map_err(io_failed)?);
        let mut connection = Connection::open(path).map_err(failed)?;
        schema::leave_log_on_close(&connection).map_err(failed)?;
        if !is_ours(&connection).map_err(failed)? {
            lock.forget();
            return Err(LedgerError::Foreign(path.to_owned()));
        }
        let found = schema::version(&connection).map_err(failed)?;
        if found > VERSION {
            return Err(LedgerError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        let log_pages = schema::prepare(&mut connection).map_err(failed)?;
        if found < VERSION {
            let made = format!(
                "BEGIN IMMEDIATE; {VERSION_1} PRAGMA application_id = {APPLICATION_ID}; \
                 PRAGMA user_version = {VERSION}; COMMIT;"
            );
            connection.execute_batch(&made).map_err(failed)?;
        }
        let sql = "INSERT INTO opened (id, times, first_us) VALUES (1, 1, ?1)
                   ON CONFLICT (id) DO UPDATE SET times = times + 1 RETURNING first_us";
        let made_at_us = connection.query_row(sql, [now_us], |row| row.get(0)).map_err(failed)?;
        Ok(Cases { path: path.to_owned(), connection, log_pages, is_broken: false, made_at_us, _lock: lock })
    }

    /// When the file was made: of tickets older than that an earlier file may have known something.
    pub fn made_at_us(&self) -> i64 {
        self.made_at_us
    }

    /// What is known of a ticket.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn get(&self, ticket_id: TicketId) -> Result<Option<Entry>, LedgerError> {
        self.read(|connection| {
            let sql =
                "SELECT brand, level, attempted_at_us, unclear, case_id, captured, complete, how, done_seq,
                              refused_seq, refusals, erased_at_us IS NOT NULL, gone, reported, again_at_us
                       FROM entry WHERE ticket_id = ?1";
            let entry = connection
                .prepare_cached(sql)?
                .query_row([ticket_id.as_bytes()], |row| {
                    let id: Option<String> = row.get(4)?;
                    let place = match id {
                        Some(id) => Some(Place {
                            id,
                            captured: row.get(5)?,
                            is_complete: row.get(6)?,
                            origin: match row.get(7)? {
                                0 => Origin::Made,
                                1 => Origin::Found,
                                _ => Origin::Unknown,
                            },
                            is_gone: row.get(12)?,
                        }),
                        None => None,
                    };
                    Ok(Entry {
                        brand: row.get(0)?,
                        level: row.get(1)?,
                        attempted_at_us: row.get(2)?,
                        is_unclear: row.get(3)?,
                        place,
                        done_seq: row.get::<_, i64>(8)?.unsigned_abs(),
                        refused: (row.get::<_, i64>(9)?.unsigned_abs(), row.get(10)?),
                        is_erased: row.get(11)?,
                        notes: Vec::new(),
                        reported: row.get::<_, Option<Vec<u8>>>(13)?.unwrap_or_default(),
                        again_at_us: row.get(14)?,
                    })
                })
                .optional()?;
            let Some(mut entry) = entry else { return Ok(None) };
            let sql = "SELECT seq, post_id, captured FROM note WHERE ticket_id = ?1 ORDER BY seq";
            let mut statement = connection.prepare_cached(sql)?;
            let notes = statement.query_map([ticket_id.as_bytes()], |row| {
                let seq = row.get::<_, i64>(0)?.unsigned_abs();
                Ok(Note { seq, post_id: row.get(1)?, captured: row.get(2)? })
            })?;
            entry.notes = notes.collect::<rusqlite::Result<_>>()?;
            Ok(Some(entry))
        })
    }

    /// Which tickets this is in the helpdesk: several where one was merged into another. At most 100.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn of_case(&self, case_id: &str) -> Result<Vec<TicketId>, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT ticket_id FROM entry WHERE case_id = ?1 ORDER BY touched_at_us DESC LIMIT 100";
            let mut statement = connection.prepare_cached(sql)?;
            let ids = statement.query_map([case_id], ticket_id_of)?;
            ids.collect()
        })
    }

    /// Tickets that are to be looked at by now, the longest due first, at most so many.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn due(&self, now_us: i64, tickets_max: usize) -> Result<Vec<TicketId>, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT ticket_id FROM entry
                       WHERE open = 1 AND case_id IS NOT NULL AND gone = 0 AND again_at_us <= ?1
                       ORDER BY again_at_us LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
            let ids = statement.query_map([now_us, limit], ticket_id_of)?;
            ids.collect()
        })
    }

    /// From where the helpdesk's changes are asked for.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn cursor(&self) -> Result<Option<String>, LedgerError> {
        self.read(|connection| {
            connection.query_row("SELECT value FROM cursor", [], |row| row.get(0)).optional()
        })
    }

    /// Remembers it, durably.
    ///
    /// # Errors
    ///
    /// As [`Cases::apply`].
    pub fn set_cursor(&mut self, value: &str) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let sql = "INSERT INTO cursor (id, value) VALUES (1, ?1)
                       ON CONFLICT (id) DO UPDATE SET value = excluded.value";
            transaction.execute(sql, [value]).map(drop)
        })
    }

    /// Writes what has happened to a ticket, all of it or nothing; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// The file is used up: what is in it is only known after a restart.
    pub fn apply(&mut self, ticket_id: TicketId, changes: &[Change], now_us: i64) -> Result<(), LedgerError> {
        self.write(|transaction| {
            changes.iter().try_for_each(|change| apply(transaction, ticket_id, change, now_us))?;
            let sql = "UPDATE entry SET touched_at_us = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![ticket_id.as_bytes(), now_us]).map(drop)
        })
    }

    /// Forgets tickets that have ended and of which nothing was heard since; gives how many, at most `tickets_max`.
    ///
    /// # Errors
    ///
    /// As [`Cases::apply`].
    pub fn prune(&mut self, before_us: i64, tickets_max: usize) -> Result<usize, LedgerError> {
        let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
        self.write(|transaction| {
            let ended = "SELECT ticket_id FROM entry WHERE touched_at_us < ?1
                         AND (open = 0 OR gone = 1 OR erased_at_us IS NOT NULL) LIMIT ?2";
            let sql = format!("DELETE FROM note WHERE ticket_id IN ({ended})");
            transaction.execute(&sql, [before_us, limit])?;
            transaction
                .execute(&format!("DELETE FROM entry WHERE ticket_id IN ({ended})"), [before_us, limit])
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        read(&self.connection).map_err(|error| self.failed(error))
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        if self.is_broken {
            return Err(self.failed(rusqlite::Error::InvalidQuery));
        }
        let written = self.try_write(write);
        self.is_broken = written.is_err();
        written.map_err(|error| self.failed(error))
    }

    fn try_write<T>(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let transaction = self.connection.transaction()?;
        let written = write(&transaction)?;
        transaction.commit()?;
        if self.log_pages.load(Ordering::Relaxed) >= LOG_PAGES_MAX {
            wal::copy_log(&self.connection)?;
        }
        Ok(written)
    }

    fn failed(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.path.clone(), error }
    }
}

fn apply(
    transaction: &Transaction<'_>,
    ticket_id: TicketId,
    change: &Change,
    now_us: i64,
) -> rusqlite::Result<()> {
    let id = ticket_id.as_bytes();
    let set = |set: &str| {
        let sql = format!("UPDATE entry SET {set} WHERE ticket_id = ?1");
        transaction.prepare_cached(&sql)?.execute([id]).map(drop)
    };
    match change {
        Change::Attempted { brand, level } => {
            let sql = "INSERT INTO entry (ticket_id, brand, level, attempted_at_us, touched_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?4)
                       ON CONFLICT (ticket_id) DO UPDATE SET brand = excluded.brand, level = excluded.level,
                           attempted_at_us = excluded.attempted_at_us";
            transaction.prepare_cached(sql)?.execute(params![id, brand, level, now_us]).map(drop)
        }
        Change::Unclear => {
            let sql = "UPDATE entry SET attempted_at_us = ?2, unclear = 1 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, now_us]).map(drop)
        }
        Change::Withdrawn => set("attempted_at_us = NULL"),
        Change::Placed { brand, level, place, others } => {
            let sql = "INSERT INTO entry (ticket_id, brand, level, case_id, captured, complete, how, others, gone,
                                          touched_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                       ON CONFLICT (ticket_id) DO UPDATE SET level = excluded.level, case_id = excluded.case_id,
                           captured = excluded.captured, complete = excluded.complete, how = excluded.how,
                           others = excluded.others, gone = excluded.gone, attempted_at_us = NULL";
            let how = match place.origin {
                Origin::Made => 0,
                Origin::Found => 1,
                Origin::Unknown => 2,
            };
            let others = i64::try_from(*others).unwrap_or(i64::MAX);
            let values = params![
                id,
                brand,
                level,
                place.id,
                place.captured,
                place.is_complete,
                how,
                others,
                place.is_gone,
                now_us
            ];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        }
        Change::Completed => set("complete = 1"),
        Change::Done { seq, level } => {
            let sql = "UPDATE entry SET done_seq = max(done_seq, ?2), level = ?3 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, stored(*seq), level]).map(drop)
        }
        Change::Noted(note) => {
            let sql =
                "INSERT OR REPLACE INTO note (ticket_id, seq, post_id, captured) VALUES (?1, ?2, ?3, ?4)";
            let values = params![id, stored(note.seq), note.post_id, note.captured];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        }
        Change::NotesErased(post_id) => {
            let sql = "DELETE FROM note WHERE ticket_id = ?1 AND post_id = coalesce(?2, post_id)";
            transaction.prepare_cached(sql)?.execute(params![id, post_id]).map(drop)
        }
        Change::Refused { seq } => {
            let sql = "UPDATE entry SET refusals = iif(refused_seq = ?2, refusals + 1, 1), refused_seq = ?2
                       WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, stored(*seq)]).map(drop)
        }
        Change::Erased => {
            let sql = "UPDATE entry SET erased_at_us = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, now_us]).map(drop)
        }
        Change::Gone => set("gone = 1, open = 0"),
        Change::Moved { id: case_id } => {
            let sql = "UPDATE entry SET case_id = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, case_id]).map(drop)
        }
        Change::Read { again_at_us } => {
            let sql = "UPDATE entry SET again_at_us = ?2, open = ?2 IS NOT NULL WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, again_at_us]).map(drop)
        }
        Change::Reported(status) => {
            let sql = "UPDATE entry SET reported = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, status]).map(drop)
        }
    }
}

/// As SQLite keeps it: the daemon counts seqs from 1, in SQLite itself.
fn stored(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn ticket_id_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<TicketId> {
    let bytes: Vec<u8> = row.get(0)?;
    TicketId::from_bytes(&bytes).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 16))
}

/// An empty file, or one that a bridge has made.
fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(id == APPLICATION_ID || (id == 0 && tables == 0 && schema::version(connection)? == 0))
}

#[cfg(test)]
mod tests;
