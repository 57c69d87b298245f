//! The ledger as operators meet it: older ones, copies, subscriptions that nobody uses, and what is kept.
//!
//! `tests/data/ledgers/version-N.sqlite` were written by the vigie of that schema, from `posts.ndjson`: eleven tickets,
//! one edited and one erased, four acknowledged by the subscription `helpdesk`. A schema's file is made once and
//! never again, when its tables are final:
//!
//! ```sh
//! VIGIE_TEST_KEEP_LEDGER=$PWD/tests/data/ledgers/version-N.sqlite cargo test --test vigie a_ledger_of_today
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::daemon::{BRAND, State, hex, patiently, run, ticket_of, until_in_flight, vigie};
use firehose::client::proto;
use proto::delivery::Record;

/// Tickets that the subscription `helpdesk` had acknowledged when the files were made.
const ACKNOWLEDGED: [&str; 4] = [
    "a9584bcb754266916e3c7b51ca455625",
    "3471f9cd274cd166296065e7bfb2947a",
    "f4ef1b14773681bd9c17c7a8ce685a5c",
    "eec79ea8d142f6ddf910df9f566d6ca8",
];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ledgers").join(name)
}

/// Puts the ledger of this schema where the daemon looks for it.
pub(crate) fn place(state: &State, version: u32) {
    std::fs::copy(data(&format!("version-{version}.sqlite")), state.path().join("ledger.sqlite")).unwrap();
}

/// The posts that those ledgers were made of, under a source's name, with these keys of `[ledger]`.
fn configure(state: &State, source: &str, keys: &str) {
    let posts = data("posts.ndjson");
    let sources = format!(
        "[[source]]\nkind = \"ndjson\"\nformat = \"jetstream\"\nname = \"{source}\"\npath = \"{}\"\n",
        posts.display()
    );
    state.configure(&sources, BRAND);
    state.configure_more("ledger", keys);
}

fn count(state: &State, what: &str) -> i64 {
    state.ledger().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

async fn until(what: &str, mut there: impl FnMut() -> bool) {
    patiently(what, async {
        while !there() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What a subscription gets, acknowledged as it comes: tickets, and the ids of those that updates speak of.
pub(crate) async fn take(state: &State, name: &str, records: usize) -> (BTreeSet<String>, Vec<String>) {
    let mut client = state.subscribe(name, 100).await;
    let (mut tickets, mut updates) = (BTreeSet::new(), Vec::new());
    for _ in 0..records {
        let delivery = patiently("a record", client.next()).await.unwrap();
        client.ack(vec![delivery.seq]).await.unwrap();
        match (&delivery.record, ticket_of(&delivery)) {
            (_, Some(ticket)) => assert!(tickets.insert(ticket), "a ticket came twice"),
            (Some(Record::Update(update)), None) => updates.push(hex(&update.ticket_id)),
            (other, None) => panic!("{other:?}"),
        }
    }
    patiently("the last acks", client.settle()).await.unwrap();
    assert_eq!(client.welcome().pending, records as u64, "and nothing else was pending");
    (tickets, updates)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_every_schema_delivers_its_rest_and_knows_its_posts() {
    for version in [1, 2, 3, 4] {
        let state = State::new("");
        place(&state, version);
        // Another name than the file was made with: everything is read again.
        configure(&state, "again", "retain_days = 0");
        let before = state.buckets();
        assert_eq!(before["ticketed"], 11, "schema {version}");
        let daemon = state.start();
        until("all posts", || state.buckets().values().sum::<i64>() == 28).await;
        let buckets = state.buckets();
        assert_eq!((buckets["ticketed"], buckets["duplicate"]), (11, 12), "schema {version}: {buckets:?}");

        // Seven tickets, and two updates: the edit, and the erasure of one that is acknowledged.
        let (tickets, updates) = take(&state, "helpdesk", 9).await;
        assert!(ACKNOWLEDGED.iter().all(|ticket| !tickets.contains(*ticket)), "schema {version}");
        assert_eq!((tickets.len(), updates.len()), (7, 2), "schema {version}");
        assert!(updates.contains(&ACKNOWLEDGED[3].to_owned()), "schema {version}: {updates:?}");
        assert_eq!(take(&state, "another", 13).await.0.len(), 11, "schema {version}");
        let (status, log) = daemon.terminate();
        assert!(status.success(), "{log}");
        let pragma =
            |name: &str| -> i64 { state.ledger().pragma_query_value(None, name, |row| row.get(0)).unwrap() };
        assert_eq!((pragma("user_version"), pragma("auto_vacuum")), (4, 2), "schema {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_today_holds_what_those_of_older_schemas_do() {
    let state = State::new("");
    configure(&state, "posts", "");
    let daemon = state.start();
    until("all posts", || state.buckets().values().sum::<i64>() == 14).await;
    let mut client = state.subscribe("helpdesk", 100).await;
    let (mut tickets, mut acknowledged) = (BTreeSet::new(), Vec::new());
    while tickets.len() < 11 {
        let delivery = patiently("a ticket", client.next()).await.unwrap();
        let ticket = ticket_of(&delivery).expect("no update overtakes its ticket");
        if ACKNOWLEDGED.contains(&ticket.as_str()) {
            acknowledged.push(delivery.seq);
        }
        tickets.insert(ticket);
    }
    assert_eq!(acknowledged.len(), ACKNOWLEDGED.len(), "{tickets:?}");
    client.ack(acknowledged).await.unwrap();
    patiently("the acks", client.settle()).await.unwrap();
    drop(client);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    let counts = ["ticketed", "merged", "erased", "unmatched"].map(|bucket| state.buckets()[bucket]);
    assert_eq!((counts, count(&state, "record"), count(&state, "post")), ([11, 1, 1, 1], 13, 0));
    let ledger = state.path().join("ledger.sqlite");
    let log = std::fs::metadata(state.path().join("ledger.sqlite-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "the file alone is all of it");
    if let Some(path) = std::env::var_os("VIGIE_TEST_KEEP_LEDGER") {
        std::fs::copy(ledger, path).unwrap();
    }
}

#[test]
fn a_ledger_of_a_newer_vigie_is_refused_and_left_as_it_is() {
    let state = State::new("");
    configure(&state, "posts", "");
    place(&state, 3);
    state.ledger().execute_batch("PRAGMA user_version = 5; CREATE TABLE of_tomorrow (x)").unwrap();
    let path = state.path().join("ledger.sqlite");
    let before = std::fs::read(&path).unwrap();
    let copy = state.path().join("copy.sqlite");
    let config = |command: &str| {
        let mut asked = vigie();
        asked.args([command, "-c"]).arg(&state.config);
        asked
    };
    for command in [&mut config("run"), &mut config("subscriptions"), config("backup").arg(&copy)] {
        let output = run(command, b"");
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        let said = format!("ledger {}: schema 5 is newer than this vigie, which knows 4", path.display());
        assert!(output.stderr.contains(&said), "{}", output.stderr);
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(!copy.exists());
}

fn backup(state: &State, destination: &Path) -> crate::daemon::Output {
    run(vigie().args(["backup", "-c"]).arg(&state.config).arg(destination), b"")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_daemon_is_a_ledger_to_go_on_with() {
    let state = State::new("");
    configure(&state, "posts", "");
    let daemon = state.start();
    until("all posts", || state.buckets().values().sum::<i64>() == 14).await;
    let mut client = state.subscribe("helpdesk", 100).await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..5 {
        let delivery = patiently("a ticket", client.next()).await.unwrap();
        acknowledged.extend(ticket_of(&delivery));
        client.ack(vec![delivery.seq]).await.unwrap();
    }
    patiently("five acks", client.settle()).await.unwrap();
    // Tables are in the write-ahead log alone so far: a copy of the file would be none of the ledger.
    let copy = state.path().join("copy.sqlite");
    let output = backup(&state, &copy);
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stdout.contains(" 11 tickets, 1 subscriptions, schema 4; checked"), "{}", output.stdout);
    let mode = std::os::unix::fs::PermissionsExt::mode(&copy.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "posts are not for everybody to read");
    let bytes = std::fs::read(&copy).unwrap();
    let again = backup(&state, &copy);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stderr.contains("copy.sqlite: exists already"), "{}", again.stderr);
    assert_eq!(std::fs::read(&copy).unwrap(), bytes, "nothing is overwritten");
    let left: Vec<_> =
        std::fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("vigie-backup")), "{left:?}");

    drop(client);
    until_in_flight(&daemon.console(), "helpdesk", 0).await;
    // What the original does from here on is not in the copy.
    let (rest, _) = take(&state, "helpdesk", 8).await;
    let restored = State::new("");
    configure(&restored, "posts", "");
    std::fs::rename(&copy, restored.path().join("ledger.sqlite")).unwrap();
    let daemon = restored.start();
    let (tickets, updates) = take(&restored, "helpdesk", 8).await;
    assert_eq!((&tickets, updates.len()), (&rest, 2));
    assert!(tickets.is_disjoint(&acknowledged), "what was acknowledged before the copy came again");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(restored.buckets().values().sum::<i64>(), 14, "the source resumes where the copy was");
}

#[test]
fn a_backup_of_an_older_ledger_is_made_and_one_of_a_damaged_is_not() {
    let state = State::new("");
    configure(&state, "posts", "");
    let copy = state.path().join("copy.sqlite");
    let missing = backup(&state, &copy);
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stderr.contains("ledger.sqlite: no such file: has `vigie run`"), "{}", missing.stderr);
    place(&state, 1);
    let older = state.path().join("older.sqlite");
    let output = backup(&state, &older);
    assert!(output.stdout.contains(" 11 tickets, 1 subscriptions, schema 1; checked"), "{}", output.stderr);
    let older = rusqlite::Connection::open(older).unwrap();
    let shrinks: i64 = older.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(shrinks, 2, "a restored ledger gives space back");
    place(&state, 3);
    let nowhere = backup(&state, &state.path().join("nowhere/copy.sqlite"));
    assert!(nowhere.stderr.contains("nowhere/copy.sqlite: No such file"), "{}", nowhere.stderr);

    // A page in the middle, as a bad disk gives it back.
    let path = state.path().join("ledger.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    bytes[4096 * (pages / 2)..4096 * (pages / 2 + 2)].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    let damaged = backup(&state, &copy);
    assert_eq!(damaged.status.code(), Some(1), "{}", damaged.stdout);
    assert!(damaged.stderr.contains("copy.sqlite: database disk image is malformed"), "{}", damaged.stderr);
    assert!(!copy.exists());
}

#[test]
fn subscriptions_are_listed_and_removed() {
    let state = State::new("");
    configure(&state, "posts", "retain_days = 0");
    place(&state, 3);
    // It brings the file to the schema that is asked for.
    let (status, log) = state.start().terminate();
    assert!(status.success(), "{log}");
    let ask = |more: &[&str]| run(vigie().args(["subscriptions", "-c"]).arg(&state.config).args(more), b"");
    let listed = ask(&[]);
    let line = listed.stdout.lines().find(|line| line.starts_with("helpdesk ")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some("9"), "{}", listed.stdout);

    let unknown = ask(&["--remove", "helpdesks"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(unknown.stderr.contains("no subscription \"helpdesks\": helpdesk"), "{}", unknown.stderr);
    let daemon = state.start();
    assert_eq!(ask(&[]).stdout, listed.stdout, "it is asked beside the daemon, too");
    let refused = ask(&["--remove", "helpdesk"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("another vigie is using it: stop it"), "{}", refused.stderr);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");

    let removed = ask(&["--remove", "helpdesk"]);
    assert!(removed.status.success(), "{}", removed.stderr);
    assert!(
        removed.stdout.contains("helpdesk is removed") && removed.stdout.contains(" 9 pending"),
        "{}",
        removed.stdout
    );
    assert!(ask(&[]).stdout.contains("no subscription"));
    assert_eq!((count(&state, "acknowledgement"), count(&state, "ticket")), (0, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_forgets_what_is_old_and_acknowledged_and_nothing_else() {
    let state = State::new("");
    configure(&state, "again", "retain_days = 1");
    place(&state, 2);
    // Ten years ago, whatever the clock of this machine says.
    state
        .ledger()
        .execute_batch("UPDATE ticket SET created_at_us = created_at_us - 315360000000000")
        .unwrap();
    let daemon = state.start();
    until("all posts", || state.buckets().values().sum::<i64>() == 28).await;
    // The subscription has not said since the migration what it wants; of its four tickets one has an update pending.
    until("three to be pruned", || count(&state, "pruned") == 3).await;
    assert_eq!(state.buckets()["ticketed"], 11, "a pruned ticket's post makes no second one");
    let (tickets, updates) = take(&state, "helpdesk", 9).await;
    assert_eq!((tickets.len(), updates.len()), (7, 2));
    daemon.wait_for("kept beyond retain_days");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("pending=\"helpdesk: 8\""), "{log}");

    let daemon = state.start();
    until("all to be pruned", || count(&state, "ticket") == 0).await;
    let status = || -> serde_json::Value {
        let status = run(vigie().args(["status", "--json", "--http", &daemon.console()]), b"").stdout;
        serde_json::from_str(&status).unwrap()
    };
    until("the count", || status()["ledger"]["tickets_pruned"] == 11).await;
    for (what, left) in [("record", 0), ("pruned", 11)] {
        assert_eq!(count(&state, what), left, "{what}");
    }
}
