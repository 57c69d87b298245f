//! A consistent copy of a ledger, made by a process of its own while a daemon may be writing.
//!
//! By SQLite's `VACUUM INTO` and not by its backup interface: that one starts from the beginning whenever the
//! daemon commits, or copies all in one step together with the pages that hold nothing. `VACUUM INTO` reads one
//! snapshot, which in WAL mode keeps nobody from writing, and leaves out what is free. What it costs the daemon is
//! a write-ahead log that grows until the copy is made, because what the copy reads cannot be moved out of it.
//!
//! The copy appears under its name only once it is on the disk and was checked: before that it is a
//! `.vigie-backup…` file in the same folder.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{LedgerError, open_to_read};

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Size of the copy.
    pub bytes: u64,
    /// Its schema.
    pub schema: i64,
    /// Tickets in it.
    pub tickets: u64,
    /// Subscriptions in it, each with what it has acknowledged.
    pub subscriptions: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is something under that name.
    #[error("backup {}: exists already; it is left as it is", .0.display())]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("backup {}: {source}", path.display())]
    Io {
        /// Where the copy should be.
        path: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// SQLite could not copy, for want of room or because the ledger is damaged.
    #[error("backup {}: {source}", path.display())]
    Copy {
        /// Where the copy should be.
        path: PathBuf,
        /// Why it cannot.
        source: rusqlite::Error,
    },
    /// The copy is not whole, and so the ledger is not.
    #[error("backup {}: the check of the copy found: {found}", path.display())]
    Damaged {
        /// Where the copy should be.
        path: PathBuf,
        /// The first thing that SQLite found.
        found: String,
    },
}

/// Copies the ledger at `path` to `destination`, which must not exist.
///
/// # Errors
///
/// There is no copy under that name then.
pub fn backup(path: &Path, destination: &Path) -> Result<Copied, BackupError> {
    let io_failed = |source| BackupError::Io { path: destination.to_owned(), source };
    let copy_failed = |source| BackupError::Copy { path: destination.to_owned(), source };
    // Asked again when the copy gets its name; here it saves the work.
    if destination.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(destination.to_owned()));
    }
    let (ledger, schema) = open_to_read(path)?;
    let folder = match destination.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // For its owner alone, whatever the umask.
    let copy = tempfile::Builder::new().prefix(".vigie-backup").tempfile_in(folder).map_err(io_failed)?;
    let into = copy.path().to_string_lossy();
    allow_shrinking(&ledger).map_err(copy_failed)?;
    ledger.execute("VACUUM INTO ?1", [&into]).map_err(copy_failed)?;
    copy.as_file().sync_all().map_err(io_failed)?;
    let copied = check(copy.path(), destination, schema)?;
    copy.persist_noclobber(destination).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(destination.to_owned()),
        _ => io_failed(error.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_failed)?;
    Ok(copied)
}

/// What was made before version 3 can give space back once it is restored.
fn allow_shrinking(ledger: &Connection) -> rusqlite::Result<()> {
    let is_allowed: i64 = ledger.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if is_allowed == 0 {
        // For the copy SQLite takes the wish, and then complains that it may not write it into the original.
        drop(ledger.pragma_update(None, "auto_vacuum", "INCREMENTAL"));
    }
    Ok(())
}

/// Reads the whole copy and counts what is in it.
fn check(copy: &Path, destination: &Path, schema: i64) -> Result<Copied, BackupError> {
    let failed = |source| BackupError::Copy { path: destination.to_owned(), source };
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(BackupError::Damaged { path: destination.to_owned(), found });
    }
    let count = |table: &str| {
        let rows =
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
        rows.map(i64::cast_unsigned).map_err(failed)
    };
    let bytes =
        copy.metadata().map_err(|source| BackupError::Io { path: destination.to_owned(), source })?.len();
    Ok(Copied { bytes, schema, tickets: count("ticket")?, subscriptions: count("subscription")? })
}
