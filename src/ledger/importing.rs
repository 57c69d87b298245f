//! One import at a time, of whatever: what a second one finds must not change under it.
//!
//! The lock is on a file of its own beside the ledger, which the daemon never looks at. It goes with the process that
//! has it, and its file stays.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::LedgerError;

/// Longest text in the file that is read: a process id.
const HOLDER_BYTES_MAX: u64 = 20;

/// Keeps other imports away until it is dropped.
///
/// # Errors
///
/// Another import is under way; or the file cannot be made.
pub(super) fn lock(path: &Path) -> Result<File, LedgerError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".import.lock");
    let failed = |source| LedgerError::Io { path: PathBuf::from(&lock_path), source };
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&lock_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // It may not have said so yet.
            let said = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder).is_ok();
            let process = holder.trim().parse().ok().filter(|_| said);
            Err(LedgerError::Importing { path: path.to_owned(), process })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
