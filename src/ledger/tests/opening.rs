//! What is opened, and what is refused.

use super::*;

#[test]
fn commits_are_durable_unless_a_bench_asks_otherwise() {
    let synchronous = |ledger: &Ledger| -> i64 {
        ledger.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    // SQLite's numbers: 0 is OFF, 2 is FULL.
    assert_eq!(synchronous(&ledger), 2);
    let ledger = ledger.without_durability().unwrap();
    assert_eq!(synchronous(&ledger), 0);
    drop(ledger);
    assert_eq!(synchronous(&Ledger::open(config(folder.path())).unwrap()), 2, "the file does not keep it");
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path()).path;
    let file = Connection::open(&path).unwrap();
    // With a write-ahead log, which the last one to close it would move into the file.
    file.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    file.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (text)").unwrap();
    drop(file);
    let files =
        || ["ledger.sqlite", "ledger.sqlite-wal"].map(|name| std::fs::read(folder.path().join(name)).ok());
    let before = files();
    assert!(before[1].as_ref().is_some_and(|log| !log.is_empty()));
    let error = Ledger::open(config(folder.path())).unwrap_err();
    assert!(matches!(error, LedgerError::Foreign(_)), "{error}");
    assert!(files() == before);
    assert!(!folder.path().join("ledger.sqlite.lock").exists());
}

#[test]
fn a_second_ledger_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Ledger::open(config(folder.path())).unwrap();
    let error = Ledger::open(config(folder.path())).unwrap_err();
    assert!(matches!(error, LedgerError::InUse(_)), "{error}");
}

#[test]
fn whoever_looks_whether_there_is_a_daemon_keeps_none_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path()).path;
    assert!(!is_locked(&path), "there has never been one");
    let ledger = Ledger::open(config(folder.path())).unwrap();
    assert!(is_locked(&path));
    let link = folder.path().join("link.sqlite");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(is_locked(&link));
    let second = Ledger::open(Config { path: link, ..config(folder.path()) });
    assert!(matches!(second, Err(LedgerError::InUse(_))), "by another name");
    drop(ledger);
    assert!(!is_locked(&path));
    // An import that looks, and is slow about it: the operating system may take the processor away in between.
    let looking = File::open(lock_path(&path)).unwrap();
    looking.lock_shared().unwrap();
    assert!(!is_locked(&path), "two that look are in nobody's way");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            drop(looking);
        });
        drop(Ledger::open(config(folder.path())).unwrap());
    });
}
