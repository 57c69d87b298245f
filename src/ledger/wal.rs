//! The write-ahead log: when what it holds moves into the file.

use std::time::{Duration, Instant};

use rusqlite::Connection;

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

/// Empties the write-ahead log into the file: what it holds of an erased text goes with it. Whether it could; a reader
/// of an older state is in the way, and is waited for so long at most.
pub(super) fn truncate_log(connection: &mut Connection, wait_max: Duration) -> rusqlite::Result<bool> {
    wait_for_others(connection, wait_max)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    wait_for_others(connection, BUSY_WAIT_MAX)?;
    Ok(!is_busy?)
}

/// Copies the write-ahead log into the file, as far as no reader is in the way.
pub(super) fn copy_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
