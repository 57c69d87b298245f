//! The write-ahead log: when what it holds moves into the file.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tracing::warn;

/// Longest wait of a statement for another process that writes: an import, which does so for some 40 ms at a time, or a
/// `vigie subscriptions --remove` that has just begun.
pub(super) const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two tries meanwhile. SQLite's own waits grow to 100 ms: whoever writes again and again, with short pauses,
/// could keep a commit out for seconds.
const BUSY_ASK_EVERY: Duration = Duration::from_millis(1);

/// Lets statements wait for other processes.
pub(super) fn wait_for_others(connection: &mut Connection, wait_max: Duration) -> rusqlite::Result<()> {
    let mut begun = Instant::now();
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            begun = Instant::now();
        }
        let is_waiting = begun.elapsed() < wait_max;
        if is_waiting {
            std::thread::sleep(BUSY_ASK_EVERY);
        }
        is_waiting
    }))
}

/// Begins a transaction of the daemon's that writes. Whoever keeps the file longer than statements wait is named in the
/// log and waited for on: nothing is written yet, so that nothing is lost, and the watchdog bounds it with the rest of
/// the thread's work.
pub(super) fn begin(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    let begun = Instant::now();
    loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                let waited_s = begun.elapsed().as_secs();
                warn!(waited_s, "another process keeps the ledger's file locked: tickets wait for it");
            }
            result => return result,
        }
    }
}

/// Empties the write-ahead log into the file: what it holds of an erased text goes with it. Whether it could; a reader
/// of an older state is in the way, and is waited for so long at most.
pub(super) fn truncate_log(connection: &mut Connection, wait_max: Duration) -> rusqlite::Result<bool> {
    wait_for_others(connection, wait_max)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    wait_for_others(connection, BUSY_WAIT_MAX)?;
    Ok(!is_busy?)
}

/// Pages in the write-ahead log from which on it is too long: 64 MiB. Where somebody always reads, one page after
/// another, a copy never meets a moment in which nobody reads what is older than it, and the log never begins anew.
pub(super) const LONG_PAGES: i32 = 16_000;
/// Pages by which it grows before a try that has failed is made again: 16 MiB.
pub(super) const AGAIN_PAGES: i32 = 4_000;
/// Longest wait for whoever reads an older state. A report reads for some 10 ms.
const RESTART_WAIT_MAX: Duration = Duration::from_millis(50);

/// Lets the write-ahead log begin anew although others read: waits a little for those who read an older state. Whether it
/// does.
pub(super) fn restart_log(connection: &mut Connection) -> rusqlite::Result<bool> {
    wait_for_others(connection, RESTART_WAIT_MAX)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, bool>(0));
    wait_for_others(connection, BUSY_WAIT_MAX)?;
    Ok(!is_busy?)
}

/// Copies the write-ahead log into the file, as far as no reader is in the way.
pub(super) fn copy_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_anew_once_whoever_reads_an_older_state_has_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let mut connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE a (b)").unwrap();
        let reader = Connection::open(&path).unwrap();
        let read = |from: &Connection| {
            from.execute_batch("BEGIN").unwrap();
            from.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let write = |connection: &Connection| {
            connection.execute("INSERT INTO a VALUES (zeroblob(100000))", []).unwrap();
            std::fs::metadata(folder.path().join("ledger.sqlite-wal")).unwrap().len()
        };
        write(&connection);
        read(&reader);
        let long = write(&connection);
        assert!(!restart_log(&mut connection).unwrap(), "an older state is read");
        let longer = write(&connection);
        assert!(longer > long, "it goes on: {long}, {longer}");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                reader.execute_batch("COMMIT").unwrap();
            });
            let mut tries = 0;
            while !restart_log(&mut connection).unwrap() {
                tries += 1;
                assert!(tries < 1000);
            }
        });
        assert_eq!(write(&connection), longer, "it has begun anew");
    }

    #[test]
    fn a_transaction_of_the_daemon_waits_for_whoever_keeps_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE a (b); BEGIN IMMEDIATE").unwrap();
        let mut connection = Connection::open(&path).unwrap();
        wait_for_others(&mut connection, Duration::from_millis(1)).unwrap();
        assert!(connection.execute_batch("BEGIN IMMEDIATE").is_err(), "the file is locked");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                other.execute_batch("INSERT INTO a VALUES (1); COMMIT").unwrap();
            });
            let transaction = begin(&connection).unwrap();
            transaction.execute("INSERT INTO a VALUES (2)", []).unwrap();
            transaction.commit().unwrap();
        });
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
    }
}
