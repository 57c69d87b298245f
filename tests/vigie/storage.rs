//! The disk under the ledger fails in every way it can, under load, and at every moment that matters.
//!
//! What is promised: after a failed write, fsync or read the daemon writes nothing more and ends with exit code 1
//! and a line that names the ledger and the cause; the next one, on a disk that works, delivers exactly what
//! `vigie replay` makes of the same posts, and nothing again whose acknowledgement was confirmed. A slow disk, or
//! one that writes less at once than it was asked to, is no fault: everything goes on, more slowly.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use firehose::client::{Address, Client, ClientError};
use tokio::sync::{OnceCell, oneshot};

use crate::daemon::{Network, State, patiently, run, skip, ticket_of};
use disk::{Disk, EIO, ENOSPC};

/// A feed of some 250 tickets, at full rate.
fn network() -> Network {
    Network::new(4_000, 0.04)
}

/// What replay makes of it; the same for every test, so asked once.
async fn expected() -> &'static BTreeSet<String> {
    static EXPECTED: OnceCell<BTreeSet<String>> = OnceCell::const_new();
    EXPECTED
        .get_or_init(async || {
            let network = network();
            network.expected_tickets(&State::new(&network.source()))
        })
        .await
}

/// A helpdesk that acknowledges all it gets, through any number of connections.
#[derive(Default)]
struct Helpdesk {
    tickets: BTreeSet<String>,
    /// Deliveries whose acknowledgements were confirmed.
    confirmed: BTreeSet<u64>,
    ticket_of: BTreeMap<u64, String>,
}

impl Helpdesk {
    /// Takes until it has so many tickets in all, and all are confirmed; fails when the connection does.
    async fn take(&mut self, state: &State, tickets: usize) -> Result<(), ClientError> {
        let mut client = Client::connect(&Address::Unix(state.socket()), "helpdesk", 16).await?;
        let mut outcome = Ok(());
        while self.tickets.len() < tickets && outcome.is_ok() {
            outcome = self.take_one(&mut client).await;
            self.confirmed.extend(client.take_confirmed());
        }
        if outcome.is_ok() {
            outcome = client.settle().await;
        }
        self.confirmed.extend(client.take_confirmed());
        outcome
    }

    async fn take_one(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let delivery = client.next().await?;
        assert!(!self.confirmed.contains(&delivery.seq), "{} came again after its ack", delivery.seq);
        if let Some(ticket) = ticket_of(&delivery) {
            self.ticket_of.insert(delivery.seq, ticket.clone());
            self.tickets.insert(ticket);
        }
        client.ack(vec![delivery.seq]).await
    }

    /// Tickets whose acknowledgement was confirmed.
    fn confirmed_tickets(&self) -> BTreeSet<String> {
        self.confirmed.iter().filter_map(|seq| self.ticket_of.get(seq)).cloned().collect()
    }
}

/// When the disk begins to fail.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    /// Before the daemon opens the ledger.
    Start,
    /// Before the first frame.
    FirstFrame,
    /// When the helpdesk has so many tickets.
    Tickets(usize),
    /// When everything is delivered, and the daemon is told to end.
    Drain,
}

/// A daemon ended well or badly, as the moment says.
fn assert_fault((status, log): (std::process::ExitStatus, String), state: &State, said: &str) {
    assert_eq!(status.code(), Some(1), "{log}");
    let ledger = state.path().join("ledger.sqlite").display().to_string();
    let line = log.lines().find(|line| line.contains("ledger ") && line.contains(said));
    assert!(line.is_some_and(|line| line.contains(&ledger)), "no line with {said:?} and {ledger}:\n{log}");
}

/// The daemon meets this fault at this moment and ends; the next one makes up for it.
async fn fails(plan: &str, moment: Moment, said: &str) {
    let (mut network, expected) = (network(), expected().await);
    network.config.listen = Network::new(1, 0.0).config.listen;
    let state = State::new(&network.source());
    let disk = Disk::new(&state);
    let mut helpdesk = Helpdesk::default();
    let (_stop, stopped) = oneshot::channel();
    let serving;
    if moment == Moment::Start {
        disk.arm(plan);
        let output = run(&mut disk.command(&state), b"");
        assert_fault((output.status, output.stderr), &state, said);
        serving = network.serve(stopped).await;
    } else {
        let daemon = state.start_as(&mut disk.command(&state));
        if moment == Moment::FirstFrame {
            disk.arm(plan);
        }
        serving = network.serve(stopped).await;
        let taken = patiently("tickets, or the end", async {
            match moment {
                Moment::Tickets(tickets) => {
                    helpdesk.take(&state, tickets).await?;
                    disk.arm(plan);
                }
                Moment::Drain => {
                    helpdesk.take(&state, expected.len()).await?;
                    disk.arm(plan);
                    daemon.signal("TERM");
                }
                Moment::Start | Moment::FirstFrame => {}
            }
            // Whatever it still delivers is taken, until it is gone.
            let until = if moment == Moment::Drain { usize::MAX } else { expected.len() };
            helpdesk.take(&state, until).await
        })
        .await;
        assert!(taken.is_err(), "everything was delivered: {} faults were passed over", disk.faults());
        assert_fault(daemon.ended(), &state, said);
    }
    assert!(disk.faults() > 0, "the fault never happened");
    if moment != Moment::Start {
        let durable = state.acknowledged("helpdesk");
        let confirmed = helpdesk.confirmed_tickets();
        let lost: Vec<_> = confirmed.difference(&durable).collect();
        assert!(lost.is_empty(), "confirmed and not on the disk: {lost:?}");
    }
    recover(&state, helpdesk, expected).await;
    drop(serving);
}

/// A daemon on a disk that works delivers the rest, each once.
async fn recover(state: &State, mut helpdesk: Helpdesk, expected: &BTreeSet<String>) {
    let daemon = state.start();
    patiently("the rest of the tickets", helpdesk.take(state, expected.len())).await.unwrap();
    // What was confirmed needs no orderly end.
    daemon.kill();
    assert_eq!(&helpdesk.tickets, expected);
    let ledger = state.ledger();
    let one = |sql: &str| ledger.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT count(*) FROM ticket"), expected.len() as i64);
    assert_eq!(state.buckets().get("ticketed"), Some(&(expected.len() as i64)));
    let check: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// The daemon meets this and carries on.
async fn carries_on(plan: &str, moment: Moment) {
    let (mut network, expected) = (network(), expected().await);
    network.config.listen = Network::new(1, 0.0).config.listen;
    let state = State::new(&network.source());
    let disk = Disk::new(&state);
    let (_stop, stopped) = oneshot::channel();
    let daemon = state.start_as(&mut disk.command(&state));
    let mut helpdesk = Helpdesk::default();
    if moment == Moment::FirstFrame {
        disk.arm(plan);
    }
    let _serving = network.serve(stopped).await;
    patiently("all tickets", async {
        if let Moment::Tickets(tickets) = moment {
            helpdesk.take(&state, tickets).await.unwrap();
            disk.arm(plan);
        }
        helpdesk.take(&state, expected.len()).await.unwrap();
    })
    .await;
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert!(disk.faults() > 0, "the disk was never slow");
    recover(&state, helpdesk, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_error_at_the_start_is_said() {
    fails(&format!("write any 1 0 fail {EIO}"), Moment::Start, "a write failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_fsync_error_at_the_start_is_said() {
    fails(&format!("sync any 1 1 fail {EIO}"), Moment::Start, "an fsync failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_the_start_is_said() {
    fails(&format!("write wal 2 0 full {ENOSPC}"), Moment::Start, "database or disk is full").await;
    fails(&format!("write shm 1 0 fail {ENOSPC}"), Moment::Start, "the index of its write-ahead log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_error_in_the_first_commit_loses_nothing() {
    fails(&format!("write wal 1 0 fail {EIO}"), Moment::FirstFrame, "a write failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_error_under_load_is_never_passed_over() {
    fails(&format!("write wal 7 1 fail {EIO}"), Moment::Tickets(30), "a write failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_runs_full_in_the_middle_of_a_write_loses_nothing() {
    fails(&format!("write wal 5 0 full {ENOSPC}"), Moment::Tickets(30), "database or disk is full").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_fsync_error_in_the_first_commit_is_never_passed_over() {
    fails(&format!("sync wal 1 1 fail {EIO}"), Moment::FirstFrame, "an fsync failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_fsync_error_under_load_is_never_passed_over() {
    fails(&format!("sync wal 3 1 fail {EIO}"), Moment::Tickets(30), "an fsync failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_error_in_a_checkpoint_is_never_passed_over() {
    fails(&format!("write main 2 1 fail {EIO}"), Moment::FirstFrame, "a write failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_a_checkpoint_loses_nothing() {
    fails(&format!("write main 1 0 full {ENOSPC}"), Moment::FirstFrame, "database or disk is full").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_fsync_error_in_a_checkpoint_is_never_passed_over() {
    fails(&format!("sync main 1 1 fail {EIO}"), Moment::FirstFrame, "an fsync failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_ends_the_daemon() {
    fails(&format!("read any 1 0 fail {EIO}"), Moment::Tickets(30), "the disk cannot read it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_fsync_error_at_the_very_end_is_said() {
    fails(&format!("sync main 1 1 fail {EIO}"), Moment::Drain, "an fsync failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_error_at_the_very_end_is_said() {
    fails(&format!("write main 1 1 fail {EIO}"), Moment::Drain, "a write failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_cut_at_the_very_end_is_said() {
    fails(&format!("truncate wal 1 1 fail {EIO}"), Moment::Drain, "the file could not be cut").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_writes_are_completed() {
    carries_on("write any 1 0 short 0", Moment::FirstFrame).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_loses_nothing_and_stops_nothing() {
    carries_on("sync any 1 0 slow 25", Moment::FirstFrame).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_for_a_while_loses_nothing_and_stops_nothing() {
    carries_on("sync wal 2 1 slow 4000", Moment::Tickets(30)).await;
    carries_on("write wal 2 2 slow 2000", Moment::Tickets(30)).await;
}

/// A long write-ahead log is copied into the file of the daemon's own accord, at first after an older ledger was
/// written anew. SQLite's own automatism keeps the errors of that to itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_checkpoint_that_nobody_asked_for_is_never_passed_over() {
    for (plan, said) in [
        (format!("sync main 1 1 fail {EIO}"), "an fsync failed"),
        (format!("write main 700 1 fail {EIO}"), "a write failed"),
    ] {
        // Nobody serves it: there is nothing to commit.
        let state = State::new(&network().source());
        crate::ledgers::place(&state, 2);
        let large = "INSERT INTO feedback (at_us, kind, body) VALUES (9000000000000000, 'touchpoint', zeroblob(5000000))";
        state.ledger().execute_batch(large).unwrap();
        let disk = Disk::new(&state);
        disk.arm(&plan);
        let daemon = disk.command(&state);
        // Where the fault is passed over the daemon would wait for its network for ever.
        let mut limited = Command::new("timeout");
        limited.arg("300").arg(daemon.get_program()).args(daemon.get_args());
        limited.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = run(&mut limited, b"");
        assert_fault((output.status, output.stderr), &state, said);
        assert!(disk.faults() > 0, "the fault never happened");
        let daemon = state.start();
        let (tickets, updates) = crate::ledgers::take(&state, "helpdesk", 9).await;
        assert_eq!((tickets.len(), updates.len()), (7, 2));
        daemon.kill();
    }
}

/// A ledger of an older schema, with what its daemon had delivered: see `ledgers.rs`.
#[test]
fn a_migration_that_fails_leaves_the_older_ledger_as_it_was() {
    for plan in [format!("write wal 1 0 full {ENOSPC}"), format!("sync wal 1 1 fail {EIO}")] {
        let state = State::new(&network().source());
        crate::ledgers::place(&state, 2);
        // However old its tickets are by now.
        state.configure_more("ledger", "retain_days = 0");
        let disk = Disk::new(&state);
        disk.arm(&plan);
        let output = run(&mut disk.command(&state), b"");
        let said = if plan.contains("full") { "database or disk is full" } else { "an fsync failed" };
        assert_fault((output.status, output.stderr), &state, said);
        assert!(disk.faults() > 0, "the fault never happened");
        let one = |sql: &str| state.ledger().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(one("SELECT count(*) FROM ticket"), 11, "{plan}");
        // After a failed fsync either may be there, but nothing in between.
        let (version, has_pruned) =
            (one("PRAGMA user_version"), one("SELECT count(*) FROM sqlite_schema WHERE name = 'pruned'"));
        assert!((version, has_pruned) == (2, 0) || (version, has_pruned) == (4, 1), "{version} {has_pruned}");
        state.start().kill();
        assert_eq!((one("PRAGMA user_version"), one("SELECT count(*) FROM ticket")), (4, 11));
    }
}

/// No injected fault: the system itself lets no file of this process grow beyond a limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_grow_ends_the_daemon() {
    let (network, expected) = (network(), expected().await);
    let state = State::new(&network.source());
    let (_stop, stopped) = oneshot::channel();
    let _serving = network.serve(stopped).await;
    // Without the signal, which would end the process before it could say anything.
    let mut limited = Command::new("sh");
    limited.args([
        "-c",
        r#"trap "" XFSZ; ulimit -f 560; exec "$0" run -c "$1""#,
        env!("CARGO_BIN_EXE_vigie"),
    ]);
    let daemon = state.start_as(limited.arg(&state.config));
    let mut helpdesk = Helpdesk::default();
    let taken = patiently("tickets, or the end", helpdesk.take(&state, expected.len())).await;
    assert!(taken.is_err(), "the limit was never met");
    assert_fault(daemon.ended(), &state, "a write failed");
    recover(&state, helpdesk, expected).await;
}

/// No injected fault: a file system of 350 KB, which is full before the tickets are all there, and larger later.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_ends_the_daemon_and_a_larger_one_has_everything() {
    let (network, expected) = (network(), expected().await);
    let state = State::new(&network.source());
    let disk = state.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let text = std::fs::read_to_string(&state.config).unwrap();
    let before = format!("{}/ledger.sqlite", state.path().display());
    let after = format!("{}/ledger.sqlite", disk.display());
    std::fs::write(&state.config, text.replace(&before, &after)).unwrap();
    let (_stop, stopped) = oneshot::channel();
    let _serving = network.serve(stopped).await;
    // The file system ends with its mount namespace: both daemons live in the same one.
    let script = r#"
        mount -t tmpfs -o size=350k none "$2" || exit 9
        "$0" run -c "$1"; echo "first ended $?" >&2
        mount -o remount,size=64m none "$2"
        exec "$0" run -c "$1""#;
    let probe = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none"]).arg(&disk).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skip("this user may not mount a file system");
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_vigie")]).arg(&state.config).arg(&disk);
    let daemon = state.start_as(&mut command);
    let mut helpdesk = Helpdesk::default();
    let first = patiently("the first daemon's end", helpdesk.take(&state, expected.len())).await;
    assert!(first.is_err(), "the file system was large enough for {} tickets", expected.len());
    daemon.wait_for("first ended 1");
    patiently("all tickets, from the second daemon", async {
        // Until it listens.
        while helpdesk.take(&state, expected.len()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    daemon.wait_for("database or disk is full");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(&helpdesk.tickets, expected, "{log}");
}
