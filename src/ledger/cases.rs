//! What a bridge has made of which ticket: a SQLite file of its own, beside the ledger or far from it.
//!
//! It is what a crash must not lose: that a ticket is about to be made in the helpdesk is on the disk before the
//! helpdesk is asked, and what it is called there before the daemon is told. No text of a post is in it.
//!
//! As with the ledger, one process at a time uses the file, and a failed commit ends it for good: what is on the disk
//! is only known after a restart.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{LedgerError, Lock, lock, schema, wal};

mod apply;
mod entry;

pub use entry::{Change, Entry, Note, Origin, Place};

use crate::ticket::TicketId;
use apply::apply;

/// The schema that this vigie writes.
const VERSION: i64 = 4;
/// "vigB", so that a ledger is not taken for one of these, nor the other way round.
const APPLICATION_ID: i64 = 0x7669_6742;
/// Pages in the write-ahead log, of 4 KiB, from which on it is copied into the file.
const LOG_PAGES_MAX: i32 = 1_000;
/// Writes to the helpdesk that are remembered: some seconds of them.
const WROTE_MAX: usize = 256;

const VERSION_1: &str = "
    CREATE TABLE opened (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        times     INTEGER NOT NULL,
        first_us  INTEGER NOT NULL,            -- when the file was made
        forgotten_us INTEGER NOT NULL DEFAULT 0   -- of tickets older than that something may have been forgotten
    ) STRICT;

    CREATE TABLE entry (
        ticket_id        BLOB PRIMARY KEY,     -- 16 bytes
        brand            TEXT NOT NULL,
        level            INTEGER NOT NULL,     -- as the helpdesk was told last
        language         TEXT NOT NULL DEFAULT '',     -- of the texts that agents read: fr, en; empty: not known
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

const TO_VERSION_2: &str = "
    -- Erasures after which a text is still there: refused until now or for good, or in what is another's, too.
    CREATE TABLE unerased (
        ticket_id  BLOB NOT NULL,
        seq        INTEGER NOT NULL,           -- the record that asks for it
        PRIMARY KEY (ticket_id, seq)
    ) STRICT, WITHOUT ROWID;
";

const TO_VERSION_3: &str = "
    -- What an erasure has done already while something else that holds the text refuses.
    CREATE TABLE taken_out (
        ticket_id  BLOB NOT NULL,
        seq        INTEGER NOT NULL,           -- the record that asks for it
        case_id    TEXT NOT NULL,              -- the helpdesk's ticket that holds the text no more
        PRIMARY KEY (ticket_id, seq, case_id)
    ) STRICT, WITHOUT ROWID;
";

const TO_VERSION_4: &str = "
    ALTER TABLE entry ADD COLUMN made_at_us INTEGER;   -- not made in the helpdesk before; NULL: not known
    ALTER TABLE entry ADD COLUMN stood_there BLOB;     -- the ticket that it was merged into, when that was read first:
                                                       -- a TicketStatus, encoded; NULL: not read yet
    ALTER TABLE entry ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;   -- looks since the helpdesk shows it no more
    CREATE INDEX entry_hidden ON entry (ticket_id) WHERE hidden > 0;
";

/// What brings a file to each version, in order.
const SCHEMAS: [(i64, &str); 4] = [(1, VERSION_1), (2, TO_VERSION_2), (3, TO_VERSION_3), (4, TO_VERSION_4)];

/// A bridge's open file.
#[derive(Debug)]
pub struct Cases {
    path: PathBuf,
    connection: Connection,
    log_pages: Arc<AtomicI32>,
    /// A commit has failed.
    is_broken: bool,
    /// From when on it knows of every ticket.
    knows_since_us: i64,
    /// When the helpdesk was last told something of a ticket, the oldest first; of this process alone.
    wrote: VecDeque<(i64, TicketId)>,
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
            let steps: String =
                SCHEMAS.iter().filter(|(version, _)| *version > found).map(|(_, schema)| *schema).collect();
            let made = format!(
                "BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION_ID}; \
                 PRAGMA user_version = {VERSION}; COMMIT;"
            );
            connection.execute_batch(&made).map_err(failed)?;
        }
        let sql = "INSERT INTO opened (id, times, first_us) VALUES (1, 1, ?1)
                   ON CONFLICT (id) DO UPDATE SET times = times + 1 RETURNING max(first_us, forgotten_us)";
        let knows_since_us = connection.query_row(sql, [now_us], |row| row.get(0)).map_err(failed)?;
        Ok(Cases {
            path: path.to_owned(),
            connection,
            log_pages,
            is_broken: false,
            knows_since_us,
            wrote: VecDeque::new(),
            _lock: lock,
        })
    }

    /// Since when the file knows of every ticket: of older ones an earlier file may have known something, or this one,
    /// and have forgotten it.
    pub fn knows_since_us(&self) -> i64 {
        self.knows_since_us
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
                              refused_seq, refusals, erased_at_us IS NOT NULL, gone, reported, again_at_us, language,
                              others,
                              json_extract(captured, '$.merged_from') IS NOT NULL AND NOT EXISTS (
                                  SELECT 1 FROM entry AS ours
                                  WHERE ours.case_id = entry.case_id
                                      AND json_extract(ours.captured, '$.merged_from') IS NULL),
                              EXISTS (
                                  SELECT 1 FROM entry AS other
                                  WHERE other.case_id = entry.case_id AND other.case_id <> ''
                                      AND other.ticket_id <> entry.ticket_id AND other.erased_at_us IS NULL),
                              json_extract(captured, '$.merged_from') IS NOT NULL, made_at_us, stood_there,
                              hidden
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
                        language: row.get(15)?,
                        attempted_at_us: row.get(2)?,
                        is_unclear: row.get(3)?,
                        place,
                        done_seq: row.get::<_, i64>(8)?.unsigned_abs(),
                        refused: (row.get::<_, i64>(9)?.unsigned_abs(), row.get(10)?),
                        others: row.get(16)?,
                        is_in_anothers: row.get(17)?,
                        is_joined: row.get(18)?,
                        is_erased: row.get(11)?,
                        notes: Vec::new(),
                        taken_out: Vec::new(),
                        reported: row.get::<_, Option<Vec<u8>>>(13)?.unwrap_or_default(),
                        again_at_us: row.get(14)?,
                        hidden: row.get(22)?,
                        is_merged: row.get(19)?,
                        made_at_us: row.get(20)?,
                        stood_there: row.get::<_, Option<Vec<u8>>>(21)?.unwrap_or_default(),
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
            let sql = "SELECT seq, case_id FROM taken_out WHERE ticket_id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let taken_out = statement.query_map([ticket_id.as_bytes()], |row| {
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
            })?;
            entry.taken_out = taken_out.collect::<rusqlite::Result<_>>()?;
            Ok(Some(entry))
        })
    }

    /// How many tickets have a text that its author has taken back and that is still there, or may be: of those with an
    /// empty id nobody knows whether they were ever made.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn unerased(&self) -> Result<u64, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT count(DISTINCT ticket_id) FROM unerased JOIN entry USING (ticket_id)
                 WHERE gone = 0 OR case_id = ''";
            connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        })
    }

    /// How many tickets the helpdesk does not show our account any more.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn hidden(&self) -> Result<u64, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM entry WHERE hidden > 0";
            connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
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

    /// When something was last written of a ticket, microseconds since 1970; `None`: nothing is known of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn touched_at_us(&self, ticket_id: TicketId) -> Result<Option<i64>, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT touched_at_us FROM entry WHERE ticket_id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row([ticket_id.as_bytes()], |row| row.get(0)).optional()
        })
    }

    /// When we have last told the helpdesk something of a ticket, if that is among the last things that we told it.
    pub fn wrote_at_us(&self, ticket_id: TicketId) -> Option<i64> {
        self.wrote.iter().rev().find(|(_, id)| *id == ticket_id).map(|(at_us, _)| *at_us)
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
        if changes.iter().any(|change| matches!(change, Change::Placed { .. } | Change::Done { .. })) {
            if self.wrote.len() >= WROTE_MAX {
                self.wrote.pop_front();
            }
            self.wrote.push_back((now_us, ticket_id));
        }
        self.write(|transaction| {
            changes.iter().try_for_each(|change| apply(transaction, ticket_id, change, now_us))?;
            let sql = "UPDATE entry SET touched_at_us = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![ticket_id.as_bytes(), now_us]).map(drop)
        })
    }

    /// Forgets tickets of which nothing was heard since `before_us` and nothing is expected: those that have ended, or
    /// were never made for certain, and where the helpdesk never says what becomes of tickets all that were made. Gives
    /// how many, at most `tickets_max`.
    ///
    /// # Errors
    ///
    /// As [`Cases::apply`].
    pub fn prune(
        &mut self,
        before_us: i64,
        is_told_of_ends: bool,
        tickets_max: usize,
    ) -> Result<usize, LedgerError> {
        let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
        let count = self.write(|transaction| {
            // An attempt whose end is not known is kept for ever: it is what keeps a ticket from being doubled.
            let over = "SELECT ticket_id FROM entry WHERE touched_at_us < ?1 AND (
                            (case_id IS NOT NULL AND (open = 0 OR gone = 1 OR NOT ?2))
                            OR (case_id IS NULL AND attempted_at_us IS NULL)
                        ) ORDER BY touched_at_us, ticket_id LIMIT ?3";
            let values = params![before_us, is_told_of_ends, limit];
            for table in ["note", "unerased", "taken_out"] {
                let sql = format!("DELETE FROM {table} WHERE ticket_id IN ({over})");
                transaction.prepare_cached(&sql)?.execute(values)?;
            }
            let count = transaction
                .prepare_cached(&format!("DELETE FROM entry WHERE ticket_id IN ({over})"))?
                .execute(values)?;
            if count > 0 {
                let sql = "UPDATE opened SET forgotten_us = max(forgotten_us, ?1)";
                transaction.execute(sql, [before_us])?;
            }
            Ok(count)
        })?;
        if count > 0 {
            self.knows_since_us = self.knows_since_us.max(before_us);
        }
        Ok(count)
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
