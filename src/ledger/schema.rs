//! The ledger's tables, version 4, and how an older file becomes a newer one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use tracing::warn;

use super::{articles, assigned, changed, context, conversations, deadlines, report, wal};

/// The schema that this vigie writes.
pub(super) const VERSION: i64 = 4;

/// Largest older file that is written anew when it is opened, so that it can give space back from then on: it takes
/// a second at most and as much free disk. A larger one only uses its free pages again, until it is restored from
/// a backup.
const REWRITE_BYTES_MAX: i64 = 64 << 20;

const VERSION_1: &str = "
    CREATE TABLE source (
        name      TEXT PRIMARY KEY,
        position  INTEGER              -- where a restart resumes, in the source's own unit
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE bucket (
        source  TEXT NOT NULL,
        bucket  TEXT NOT NULL,         -- a name from telemetry::Bucket
        frames  INTEGER NOT NULL,
        PRIMARY KEY (source, bucket)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE gap (
        source         TEXT NOT NULL,
        from_position  INTEGER NOT NULL,
        to_position    INTEGER NOT NULL,
        reason         TEXT NOT NULL,
        noticed_at_us  INTEGER NOT NULL,
        recovered      INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    CREATE TABLE ticket (
        id             BLOB PRIMARY KEY,   -- 16 bytes
        seq            INTEGER NOT NULL UNIQUE,
        network        TEXT NOT NULL,
        author_id      TEXT NOT NULL,
        brand          TEXT NOT NULL,
        language       TEXT NOT NULL,
        intent         TEXT NOT NULL,
        priority       INTEGER NOT NULL,
        created_at_us  INTEGER NOT NULL,
        due_at_us      INTEGER NOT NULL,
        text_hash      INTEGER NOT NULL,   -- of the text as last seen, as desk::text_hash
        erased_at_us   INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX ticket_author ON ticket (network, author_id);

    -- What is delivered, in order. AUTOINCREMENT: a seq is never used twice, even if rows are pruned.
    CREATE TABLE record (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        ticket_id  BLOB NOT NULL,
        kind       INTEGER NOT NULL,       -- 0 ticket, 1 update
        body       BLOB NOT NULL           -- the encoded message, sent unchanged
    ) STRICT;
    CREATE INDEX record_ticket ON record (ticket_id);

    -- Tickets up to and including `start`, and their updates, were never wanted; every record up to and
    -- including `floor` is acknowledged. Filters play no part in either: they may change.
    CREATE TABLE subscription (
        name    TEXT PRIMARY KEY,
        start   INTEGER NOT NULL,
        floor   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE acknowledgement (
        subscription  TEXT NOT NULL,
        seq           INTEGER NOT NULL,
        PRIMARY KEY (subscription, seq)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE feedback (
        at_us      INTEGER NOT NULL,
        kind       TEXT NOT NULL,          -- ticket_status, touchpoint, agent_state
        ticket_id  BLOB,
        body       BLOB NOT NULL           -- the encoded message
    ) STRICT;
    CREATE INDEX feedback_ticket ON feedback (ticket_id);

    CREATE TABLE opened (
        id     INTEGER PRIMARY KEY CHECK (id = 1),
        times  INTEGER NOT NULL
    ) STRICT;
";

/// Version 2: tickets that only the small model has read, worst first, to be scored again.
const TO_VERSION_2: &str = "
    ALTER TABLE ticket ADD COLUMN provisional INTEGER NOT NULL DEFAULT 0;   -- 1 until scored again
    ALTER TABLE ticket ADD COLUMN rescored INTEGER;           -- the priority that came out then, if it matters
    ALTER TABLE ticket ADD COLUMN rescored_intent TEXT;
    CREATE INDEX ticket_provisional ON ticket (priority DESC, seq) WHERE provisional = 1;
";

/// Version 3: what tickets leave behind when they are pruned, and what pruning must know.
const TO_VERSION_3: &str = "
    -- The ids of pruned tickets: their posts make no second ticket, whenever they come again.
    CREATE TABLE pruned (
        id  BLOB PRIMARY KEY               -- 16 bytes
    ) STRICT, WITHOUT ROWID;

    -- An encoded vigie.v1.Filter, as last asked for; NULL: not asked for since version 3, so it may want anything.
    ALTER TABLE subscription ADD COLUMN filter BLOB;
    -- Holes that were booked once and have no row any more.
    ALTER TABLE source ADD COLUMN gaps_forgotten INTEGER NOT NULL DEFAULT 0;
    -- Feedback that speaks of no ticket, by age.
    CREATE INDEX feedback_alone ON feedback (at_us) WHERE ticket_id IS NULL;
";

/// Version 4: what is known of the holes that have no row any more, so that nothing that is counted ever falls. Those
/// that version 3 has forgotten count as never filled, as they did there after each start; their lengths are lost.
const TO_VERSION_4_GAPS: &str = "
    -- Those of `gaps_forgotten` that had been filled.
    ALTER TABLE source ADD COLUMN gaps_forgotten_recovered INTEGER NOT NULL DEFAULT 0;
    -- Their lengths together, in the source's own unit, and of those that had been filled.
    ALTER TABLE source ADD COLUMN gap_length_forgotten REAL NOT NULL DEFAULT 0;
    ALTER TABLE source ADD COLUMN gap_length_forgotten_recovered REAL NOT NULL DEFAULT 0;
";

/// What brings a file to each version, in order. A version may take several steps.
const STEPS: &[(i64, &str)] = &[
    (1, VERSION_1),
    (2, TO_VERSION_2),
    (3, TO_VERSION_3),
    (4, TO_VERSION_4_GAPS),
    (4, deadlines::TABLES),
    (4, context::TABLES),
    (4, assigned::TABLES),
    (4, articles::TABLES),
    (4, conversations::TABLES),
    (4, changed::TABLES),
    (4, report::INDEX),
];

/// "vigi", which tells a ledger from another program's SQLite file.
const APPLICATION_ID: i64 = 0x7669_6769;

/// Whether the file is a ledger, or empty.
pub(super) fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(application == APPLICATION_ID || tables == 0)
}

/// Closing the connection writes nothing: after a failed commit nothing may be written any more, and a file that is
/// refused is left as it is.
pub(super) fn leave_log_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// Lets a statement keep its plan. SQLite would otherwise plan some anew for every value that is bound, in case its
/// statistics say otherwise for that one: 20 µs for a look-up of two.
pub(super) fn plan_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Settings that belong to a connection and must come before any transaction. Gives what is told after each commit:
/// the pages in the write-ahead log.
///
/// That takes the place of SQLite's own automatic checkpoint, which swallows every error: a disk that loses what is
/// copied into the file would be noticed by nobody.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<Arc<AtomicI32>> {
    // Takes hold while the file has no page yet, or when it is written anew.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // An erased text is overwritten in the file, not only unlinked.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    plan_once(connection)?;
    wal::wait_for_others(connection, wal::BUSY_WAIT_MAX)?;
    // Stored and loaded by one thread, the one that commits.
    let log_pages = Arc::new(AtomicI32::new(0));
    let told = log_pages.clone();
    connection.wal_hook(Some(move |_: &mut Wal, pages| {
        told.store(pages, Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(log_pages)
}

/// The schema in the file; 0 in an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings an older schema to [`VERSION`].
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let found = version(connection)?;
    if found >= VERSION {
        return Ok(());
    }
    let steps: String = STEPS.iter().filter(|(version, _)| *version > found).map(|(_, step)| *step).collect();
    // In one transaction, so that a crash in between leaves the file as it was and not half a schema.
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// Lets a small file that was made before version 3 give free pages back to the file system, if there is room for
/// writing it anew.
pub(super) fn allow_shrinking(connection: &Connection) -> rusqlite::Result<()> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let is_allowed = pragma("auto_vacuum")? != 0;
    if is_allowed || pragma("page_count")? * pragma("page_size")? > REWRITE_BYTES_MAX {
        return Ok(());
    }
    // That is worth nothing beside a daemon that starts.
    if let Err(error) = connection.execute_batch("VACUUM") {
        warn!(%error, "the ledger could not be written anew: its free pages are used again, but not given back");
    }
    Ok(())
}

/// Writes something for real, so that a read-only or full disk shows at start and not with the first ticket.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO opened (id, times) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET times = times + 1",
        [],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_file_that_cannot_be_written_anew_is_used_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(folder.path().join("old.sqlite")).unwrap();
        connection.execute_batch("CREATE TABLE a (b); INSERT INTO a VALUES (1), (2)").unwrap();
        prepare(&mut connection).unwrap();
        {
            // SQLite refuses to VACUUM beside a statement of the same connection, as it does on a full disk.
            let mut statement = connection.prepare("SELECT b FROM a").unwrap();
            let mut rows = statement.query([]).unwrap();
            assert!(rows.next().unwrap().is_some());
            assert!(connection.execute_batch("VACUUM").is_err(), "the fault fires");
            allow_shrinking(&connection).unwrap();
        }
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
    }

    /// What version 3 forgot of its holes cannot be known any more, but that they were there.
    #[test]
    fn holes_that_version_3_has_forgotten_stay_counted() {
        let connection = Connection::open_in_memory().unwrap();
        let steps: String =
            STEPS.iter().filter(|(version, _)| *version <= 3).map(|(_, step)| *step).collect();
        connection.execute_batch(&format!("{steps} PRAGMA user_version = 3;")).unwrap();
        connection.execute_batch("INSERT INTO source (name, gaps_forgotten) VALUES ('bluesky', 7)").unwrap();
        migrate(&connection).unwrap();
        migrate(&connection).unwrap();
        let account = super::super::accounting::read(&connection).unwrap().sources["bluesky"].clone();
        assert_eq!((account.gaps, account.gaps_recovered, account.gap_length), (7, 0, 0.0));
    }
}
