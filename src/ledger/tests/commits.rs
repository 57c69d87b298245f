//! What is on the disk together, and what a disk that fails ends.

use super::*;

#[test]
fn a_source_is_told_what_is_durable_once_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (settlements, receiver) = bounded(8);
    let outbox = Arc::new(Mutex::new(Outbox::new()));
    let ledger = Ledger::open(config(folder.path())).unwrap();
    let (mut writer, handle) = ledger.split(receiver, outbox).unwrap();
    let (bluesky, other) = (Arc::from("bluesky"), Arc::from("other"));
    let followed = writer.follow(&bluesky, Some(3));
    let unmoved = writer.follow(&other, None);
    assert_eq!(*followed.borrow(), Durable { end_sequence: 0, position: Some(3) });
    let thread = std::thread::Builder::new().spawn(move || writer.run(|| ())).unwrap();

    let mut expected = 0;
    // The last one belongs to a stream that began again, and came as far as the old one.
    for (end_sequence, position) in [(1, 7), (2, 9), (5, 9)] {
        settlements.send(Settlement { end_sequence, ..settlement(position, 1, vec![]) }).unwrap();
        while *followed.borrow() != (Durable { end_sequence, position: Some(position) }) {
            std::thread::yield_now();
        }
        expected += 1;
        let durable: i64 = rusqlite::Connection::open(config(folder.path()).path)
            .unwrap()
            .query_row("SELECT sum(frames) FROM bucket", [], |row| row.get(0))
            .unwrap();
        assert!(durable >= expected, "told of batch {expected} when {durable} were durable");
    }
    assert_eq!(*unmoved.borrow(), Durable::default());
    drop((settlements, handle));
    thread.join().unwrap().unwrap();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    assert_eq!(ledger.position("bluesky").unwrap(), Some(9), "a restart resumes after the greatest");
}

#[test]
fn tickets_counts_and_positions_survive_a_restart_together() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(10, 5, vec![ticket("a", 100), ticket("b", 900)]));
    running.settle(settlement(7, 2, vec![ticket("a", 100)]));
    let before = running.stop();
    let account = &before.sources["bluesky"];
    assert_eq!(account.position, Some(10), "a replay must not move the position back");
    assert_eq!((account.buckets[Bucket::Ticketed], account.buckets[Bucket::Duplicate]), (2, 1));
    assert_eq!(account.buckets.received(), 10);

    let ledger = Ledger::open(config(folder.path())).unwrap();
    assert_eq!(ledger.position("bluesky").unwrap(), Some(10));
    assert_eq!(ledger.position("mastodon").unwrap(), None);
    let known = |tickets_max: usize| {
        let mut known = Vec::new();
        ledger.tickets(tickets_max, |id, text_hash| known.push((id, text_hash))).unwrap();
        known
    };
    let of = |id: &str| (TicketId::of_post(Network::Bluesky, id), 42);
    assert_eq!(known(10), [of("a"), of("b")]);
    assert_eq!(known(1), [of("b")]);
    drop(ledger);
    assert_eq!(Running::start(folder.path()).stop(), before);
}

#[test]
fn a_commit_that_fails_ends_the_ledger_and_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(10, 5, Vec::new()));
    running.subscribe("helpdesk", false);
    // A trigger that refuses the write: the fault comes from SQLite itself, inside the transaction.
    let file = Connection::open(config(folder.path()).path).unwrap();
    file.execute_batch(
        "CREATE TRIGGER fault BEFORE INSERT ON gap BEGIN SELECT RAISE(ABORT, 'disk on fire'); END",
    )
    .unwrap();
    let mut holed = settlement(20, 7, vec![ticket("a", 1)]);
    holed.gaps.push(Gap { from: 1, to: 5, reason: String::new() });
    running.settle(holed);
    let Running { handle, outbox, thread, .. } = running;
    let error = thread.unwrap().join().unwrap().unwrap_err();
    assert!(error.to_string().contains("disk on fire"), "{error}");
    assert_eq!(handle.accounting().total().received(), 5, "nothing of the failed commit is shown");
    assert_eq!(outbox.lock().pending("helpdesk"), 0, "and nothing of it is delivered");
    assert!(handle.acknowledge("helpdesk", Vec::new()).blocking_recv().is_err(), "the ledger answers nobody");
    drop(file);
    let ledger = Ledger::open(config(folder.path())).unwrap();
    assert_eq!(ledger.position("bluesky").unwrap(), Some(10));
}

#[test]
fn a_file_that_cannot_be_read_ends_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 1)]));
    running.subscribe("helpdesk", false);
    // Behind the daemon's back, as a bad sector would.
    Connection::open(config(folder.path()).path).unwrap().execute_batch("DROP TABLE record").unwrap();
    let said = running.handle.read(&[Seq::new(1).unwrap()]).unwrap_err();
    assert!(said.contains("no such table"), "{said}");
    let error = running.thread.unwrap().join().unwrap().unwrap_err().to_string();
    assert!(error.contains("ledger.sqlite") && error.contains("no such table"), "{error}");
}

#[test]
fn a_long_write_ahead_log_is_copied_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let Entry::Ticket(large) = ticket("large", 1) else { unreachable!() };
    let large = Entry::Ticket(Box::new(NewTicket { body: vec![1; 5_000_000], ..*large }));
    running.settle(settlement(1, 0, vec![large]));
    running.subscribe("after the commit", false);
    running.subscribe("and what follows it", false);
    assert!(config(folder.path()).path.metadata().unwrap().len() > 5_000_000);
    running.stop();
}
