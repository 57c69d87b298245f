//! The ledger against real files: what is committed, what comes back, what is refused.

use std::sync::Arc;

use crossbeam::channel::{Sender, bounded};
use parking_lot::Mutex;
use prost::Message;

use super::outbox::{ClientId, Filter, Outbox};
use super::*;
use crate::source::Durable;
use crate::telemetry::Bucket;
use crate::ticket::proto;

/// A ledger with its thread, as the pipeline runs it.
pub(super) struct Running {
    settlements: Option<Sender<Settlement>>,
    pub(super) handle: Handle,
    outbox: Arc<Mutex<Outbox>>,
    thread: Option<std::thread::JoinHandle<Result<(), LedgerError>>>,
}

pub(super) fn config(folder: &Path) -> Config {
    Config {
        path: folder.join("ledger.sqlite"),
        bookkeeping_delay_max: Duration::from_millis(1),
        ageing_points_per_hour: 100,
        retention: Retention { age_max: None, live_bytes_max: None },
    }
}

impl Running {
    pub(super) fn start(folder: &Path) -> Running {
        Running::start_with(folder, config(folder).retention)
    }

    pub(super) fn start_with(folder: &Path, retention: Retention) -> Running {
        let (settlements, receiver) = bounded(8);
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let ledger = Ledger::open(Config { retention, ..config(folder) }).unwrap();
        let (writer, handle) = ledger.split(receiver, outbox.clone()).unwrap();
        let thread =
            std::thread::Builder::new().spawn(move || writer.run(|| ())).expect("a thread for the ledger");
        Running { settlements: Some(settlements), handle, outbox, thread: Some(thread) }
    }

    pub(super) fn settle(&self, settlement: Settlement) {
        self.settlements.as_ref().unwrap().send(settlement).unwrap();
    }

    pub(super) fn subscribe(&self, name: &str, start_next: bool) {
        let request = SubscriptionRequest { name: name.to_owned(), filter: Filter::default(), start_next };
        self.handle.subscribe(request).blocking_recv().unwrap().unwrap();
    }

    /// Takes everything that is pending, in order.
    pub(super) fn take(&self, name: &str) -> Vec<Seq> {
        let mut outbox = self.outbox.lock();
        std::iter::from_fn(|| outbox.take(name, ClientId(1), std::time::Instant::now()))
            .map(|taken| taken.seq)
            .collect()
    }

    pub(super) fn acknowledge(&self, name: &str, seqs: &[Seq]) {
        self.handle.acknowledge(name, seqs.to_vec()).blocking_recv().unwrap().unwrap();
        self.outbox.lock().acknowledge(name, seqs);
    }

    /// Everything handed over is committed; then the ledger is closed.
    pub(super) fn stop(mut self) -> Accounting {
        self.settlements.take();
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.handle.accounting()
    }
}

pub(super) fn ticket(id: &str, priority: u16) -> Entry {
    let post = proto::Post { id: id.to_owned(), text: format!("text of {id}"), ..proto::Post::default() };
    let id = TicketId::of_post(Network::Bluesky, id);
    let message = proto::Ticket { id: id.as_bytes().to_vec(), post: Some(post), ..proto::Ticket::default() };
    Entry::Ticket(Box::new(NewTicket {
        id,
        author_id: "did:plc:author".to_owned(),
        traits: Traits {
            brand: Arc::from("Lumio"),
            network: Network::Bluesky,
            language: "fr".into(),
            intent: "problem".into(),
            priority,
            rescored: None,
        },
        created_at: Timestamp::UNIX_EPOCH,
        due_at_us: 7_200_000_000,
        text_hash: 42,
        provisional: false,
        body: message.encode_to_vec(),
    }))
}

/// Batch 0 of a source.
pub(super) fn settlement(position: i64, unmatched: u64, entries: Vec<Entry>) -> Settlement {
    let mut buckets = Buckets::default();
    buckets[Bucket::Unmatched] = unmatched;
    Settlement {
        source: Arc::from("bluesky"),
        end_sequence: 1,
        position: Some(position),
        buckets,
        gaps: Vec::new(),
        recovered: Vec::new(),
        entries,
    }
}

fn text_of(handle: &Handle, seq: Seq) -> String {
    match handle.read(&[seq]).unwrap().pop().unwrap().1 {
        Body::Ticket(bytes) => proto::Ticket::decode(&*bytes).unwrap().post.unwrap().text,
        Body::Update(bytes) => match proto::Update::decode(&*bytes).unwrap().change {
            Some(proto::update::Change::Edited(edited)) => edited.text,
            other => format!("{other:?}"),
        },
    }
}

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
fn what_was_acknowledged_never_comes_again_and_the_rest_does() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 900), ticket("c", 500)]));
    running.subscribe("late", true);
    let taken = running.take("helpdesk");
    assert_eq!(taken.iter().map(|seq| seq.get()).collect::<Vec<_>>(), [2, 3, 1], "worst first");
    running.acknowledge("helpdesk", &taken[..2]);
    running.stop();

    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    assert_eq!(running.take("helpdesk"), taken[2..]);
    running.subscribe("late", true);
    assert_eq!(running.take("late"), [], "it asked for what comes next, and keeps its place");
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    running.settle(settlement(2, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
    running.stop();
    let running = Running::start(folder.path());
    running.subscribe("late", true);
    assert_eq!(running.take("late"), [], "an update of a ticket that it never had");
    running.subscribe("other", false);
    assert_eq!(running.take("other").len(), 3, "another name has its own copy");
    running.stop();
}

#[test]
fn an_erasure_removes_the_text_everywhere_and_is_delivered_as_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let at = Timestamp::UNIX_EPOCH;
    // On the disk with its text, before it is erased.
    running.settle(settlement(1, 0, vec![ticket("a", 100)]));
    running.subscribe("first", false);
    running.settle(settlement(
        1,
        0,
        vec![
            Entry::Edit { ticket_id, text: "new text of a".to_owned(), at, otherwise: Bucket::Duplicate },
            Entry::Erase { ticket_id, at },
            Entry::Erase { ticket_id, at },
            Entry::Edit { ticket_id, text: "too late".to_owned(), at, otherwise: Bucket::Unmatched },
            Entry::Erase { ticket_id: TicketId::of_post(Network::X, "a"), at },
        ],
    ));
    // Any answer from the writer comes after the commit before it.
    running.subscribe("other", false);
    let mut seqs = Vec::new();
    for _ in 0..3 {
        // An update is offered only once what came before it on the same ticket is acknowledged.
        let taken = running.take("helpdesk");
        running.acknowledge("helpdesk", &taken);
        seqs.extend(taken);
    }
    let texts: Vec<_> = seqs.iter().map(|seq| text_of(&running.handle, *seq)).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(texts[..2], ["", ""]);
    assert!(texts[2].contains("post_deleted"), "{texts:?}");
    for file in ["ledger.sqlite", "ledger.sqlite-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let is_there = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!is_there(b"text of a"), "the erased text is still in {file}");
    }
    let accounting = running.stop();
    let buckets = accounting.total();
    let of = |bucket| buckets[bucket];
    assert_eq!(
        (
            of(Bucket::Ticketed),
            of(Bucket::Merged),
            of(Bucket::Erased),
            of(Bucket::Control),
            of(Bucket::Unmatched)
        ),
        (1, 1, 1, 2, 1)
    );
}

#[test]
fn an_edited_text_is_what_a_restart_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let (text, at) = ("new text of a".to_owned(), Timestamp::UNIX_EPOCH);
    let edit = Entry::Edit { ticket_id, text: text.clone(), at, otherwise: Bucket::Duplicate };
    running.settle(settlement(1, 0, vec![ticket("a", 100), edit]));
    running.stop();
    let mut known = Vec::new();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    ledger.tickets(10, |id, text_hash| known.push((id, text_hash))).unwrap();
    assert_eq!(known, [(ticket_id, crate::desk::text_hash(&text))]);
}

#[test]
fn an_account_that_is_gone_takes_all_its_texts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let at = Timestamp::UNIX_EPOCH;
    let gone_from = |network, author: &str| Entry::EraseAuthor { network, author_id: author.to_owned(), at };
    let gone = |author: &str| gone_from(Network::Bluesky, author);
    running.settle(settlement(
        1,
        0,
        vec![
            ticket("a", 1),
            ticket("b", 1),
            gone("did:plc:somebody"),
            gone_from(Network::Mastodon, "did:plc:author"),
            gone("did:plc:author"),
            gone("did:plc:author"),
        ],
    ));
    let handle = running.handle.clone();
    let buckets = running.stop().total();
    assert_eq!((buckets[Bucket::Erased], buckets[Bucket::Control]), (1, 3));
    for seq in [1, 2] {
        assert_eq!(text_of(&handle, Seq::new(seq).unwrap()), "");
    }
}

#[test]
fn gaps_and_feedback_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let mut holed = settlement(1, 1, Vec::new());
    holed.gaps.push(Gap { from: 1, to: 5, reason: "the server forgot".to_owned() });
    running.settle(holed);
    let feedback = Feedback::Touchpoint(vec![1, 2, 3]);
    running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    assert_eq!(running.stop().sources["bluesky"].gaps, 1);
    let file = Connection::open(config(folder.path()).path).unwrap();
    let kept: (String, Vec<u8>) =
        file.query_row("SELECT kind, body FROM feedback", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(kept, ("touchpoint".to_owned(), vec![1, 2, 3]));
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

#[test]
fn no_more_subscriptions_are_made_than_the_outbox_holds_even_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let most = outbox::SUBSCRIPTIONS_MAX;
    let running = Running::start(folder.path());
    (0..most).for_each(|n| running.subscribe(&n.to_string(), false));
    running.stop();
    let running = Running::start(folder.path());
    let another =
        SubscriptionRequest { name: "another".to_owned(), filter: Filter::default(), start_next: false };
    let said = running.handle.subscribe(another).blocking_recv().unwrap().unwrap_err();
    assert!(said.contains("256 subscriptions"), "{said}");
    running.subscribe("7", false);
    running.stop();
}

#[test]
fn a_limited_token_has_its_share_of_the_subscriptions_even_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    (0..outbox::SUBSCRIPTIONS_OWNED_MAX).for_each(|n| running.subscribe(&format!("agency/{n}"), false));
    running.stop();
    let running = Running::start(folder.path());
    let another = SubscriptionRequest {
        name: "agency/another".to_owned(),
        filter: Filter::default(),
        start_next: false,
    };
    let said = running.handle.subscribe(another).blocking_recv().unwrap().unwrap_err();
    assert!(said.contains("32 subscriptions of token agency"), "{said}");
    for name in ["agency/7", "agency", "agency2/0"] {
        running.subscribe(name, false);
    }
    running.stop();
}

#[test]
fn an_erasure_takes_the_words_that_made_a_ticket_sensitive_and_leaves_the_topics() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let Entry::Ticket(mut new) = ticket("a", 100) else { panic!("a ticket") };
    let factor = |name: &str, evidence: &str| proto::Factor {
        name: name.to_owned(),
        points: 100,
        evidence: evidence.to_owned(),
    };
    let mut message = proto::Ticket::decode(&*new.body).unwrap();
    message.factors = vec![factor("age", "posted 1 min before"), factor("sensitive", "legal: lawyer")];
    message.sensitive = vec!["legal".to_owned()];
    new.body = message.encode_to_vec();
    let (ticket_id, at) = (new.id, Timestamp::UNIX_EPOCH);
    running.settle(settlement(1, 0, vec![Entry::Ticket(new), Entry::Erase { ticket_id, at }]));
    running.subscribe("other", false);
    let taken = running.take("helpdesk");
    let Some((_, Body::Ticket(body))) = running.handle.read(&taken).unwrap().pop() else {
        panic!("a ticket")
    };
    let kept = proto::Ticket::decode(&*body).unwrap();
    assert_eq!(kept.factors, [factor("age", "posted 1 min before"), factor("sensitive", "erased")]);
    assert_eq!(kept.sensitive, ["legal"]);
}

#[test]
fn a_reader_holds_up_no_commit_and_an_erased_text_goes_once_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let log = || std::fs::read(folder.path().join("ledger.sqlite-wal")).unwrap();
    let has_text = || log().windows(9).any(|window| window == b"text of a");
    let running = Running::start(folder.path());
    running.subscribe("first", false);
    // As `vigie backup` while it copies.
    let reader = Connection::open(config(folder.path()).path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM ticket").unwrap();
    running.settle(settlement(1, 0, vec![ticket("a", 100)]));
    // In the log with its text, before it is erased.
    running.subscribe("committed", false);
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    running.settle(settlement(2, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
    running.subscribe("second", false);
    // Each would wait five seconds: nothing but a bound that no machine is too slow for.
    let begun = std::time::Instant::now();
    (0..20).for_each(|position| {
        running.settle(settlement(position, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
        running.settle(settlement(position, 0, vec![ticket(&format!("b{position}"), 100)]));
        let ticket_id = TicketId::of_post(Network::Bluesky, &format!("b{position}"));
        running.settle(settlement(position, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
        running.subscribe(&format!("after {position}"), false);
    });
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    assert!(has_text(), "the reader holds the log");
    reader.execute_batch("ROLLBACK").unwrap();
    while has_text() {
        std::thread::yield_now();
    }
    running.stop();
}

#[test]
fn acknowledgements_below_the_floor_are_forgotten_without_coming_again() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let entries = (0..10).map(|n| ticket(&n.to_string(), 100)).collect();
    running.settle(settlement(1, 0, entries));
    running.subscribe("other", false);
    let taken = running.take("helpdesk");
    // All but the fourth, again and again until the writer raises the floors.
    let acknowledged: Vec<_> = taken.iter().copied().filter(|seq| seq.get() != 4).collect();
    for _ in 0..=writer::FLOOR_EVERY_ACKS / acknowledged.len() as u64 {
        running.acknowledge("helpdesk", &acknowledged);
    }
    running.stop();

    let file = Connection::open(config(folder.path()).path).unwrap();
    let one = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT floor FROM subscription WHERE name = 'helpdesk'"), 3);
    assert_eq!(one("SELECT count(*) FROM acknowledgement"), 6);
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    assert_eq!(running.take("helpdesk").iter().map(|seq| seq.get()).collect::<Vec<_>>(), [4]);
    running.stop();
}

#[test]
fn heads_and_tickets_come_in_the_order_of_their_numbers_however_many_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    running.settle(settlement(1, 0, (0..40).map(|n| ticket(&n.to_string(), 100)).collect()));
    running.stop();

    let mut file = Connection::open(config(folder.path()).path).unwrap();
    let request =
        SubscriptionRequest { name: "helpdesk".to_owned(), filter: Filter::default(), start_next: false };
    // Few are read by their numbers, most along the index of their tickets.
    for floor in 0..=40_i64 {
        file.execute("UPDATE subscription SET floor = ?1", [floor]).unwrap();
        let (_, heads) = store::subscribe(&mut file, &request, 100).unwrap().unwrap();
        let seqs: Vec<u64> = heads.iter().map(|head| head.seq.get()).collect();
        assert_eq!(seqs, (floor.unsigned_abs() + 1..=40).collect::<Vec<_>>(), "{floor}");
    }
    for tickets_max in [0, 1, 10, 40, 100] {
        let mut ids = Vec::new();
        store::tickets(&file, tickets_max, |id, _| ids.push(id)).unwrap();
        let newest =
            (40 - tickets_max.min(40)..40).map(|n| TicketId::of_post(Network::Bluesky, &n.to_string()));
        assert_eq!(ids, newest.collect::<Vec<_>>(), "{tickets_max}");
    }
}

#[test]
fn a_narrow_filter_loses_nothing_for_a_wider_one_later() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 900)]));
    let narrow = Filter { priority_min: 500, ..Filter::default() };
    let request = SubscriptionRequest { name: "helpdesk".to_owned(), filter: narrow, start_next: false };
    running.handle.subscribe(request).blocking_recv().unwrap().unwrap();
    let taken = running.take("helpdesk");
    assert_eq!(taken.iter().map(|seq| seq.get()).collect::<Vec<_>>(), [2]);
    for _ in 0..=writer::FLOOR_EVERY_ACKS {
        running.acknowledge("helpdesk", &taken);
    }
    running.subscribe("helpdesk", false);
    assert_eq!(running.take("helpdesk").iter().map(|seq| seq.get()).collect::<Vec<_>>(), [1]);
    running.stop();
}

#[test]
fn a_new_ageing_rate_ranks_old_tickets_with_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("old", 900)]));
    running.stop();
    let slower = Config { ageing_points_per_hour: 0, ..config(folder.path()) };
    let (settlements, receiver) = bounded(8);
    let outbox = Arc::new(Mutex::new(Outbox::new()));
    let (writer, handle) = Ledger::open(slower).unwrap().split(receiver, outbox.clone()).unwrap();
    let thread = std::thread::Builder::new().spawn(move || writer.run(|| ())).unwrap();
    let running = Running { settlements: Some(settlements), handle, outbox, thread: Some(thread) };
    running.settle(settlement(2, 0, vec![ticket("new", 100)]));
    running.subscribe("helpdesk", false);
    assert_eq!(running.take("helpdesk").iter().map(|seq| seq.get()).collect::<Vec<_>>(), [1, 2]);
    running.stop();
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

pub(super) fn provisional(id: &str, priority: u16) -> Entry {
    let Entry::Ticket(ticket) = ticket(id, priority) else { unreachable!() };
    Entry::Ticket(Box::new(NewTicket { provisional: true, ..*ticket }))
}

fn rescored(priority: u32) -> Option<Box<proto::update::Rescored>> {
    let verdict = proto::Verdict { intent: [("churn".to_owned(), 1.0)].into(), ..proto::Verdict::default() };
    let verdict = Some(verdict);
    Some(Box::new(proto::update::Rescored { priority, verdict, ..proto::update::Rescored::default() }))
}

#[test]
fn provisional_tickets_wait_worst_first_until_they_are_scored_again() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let id = |id: &str| TicketId::of_post(Network::Bluesky, id);
    let entries = vec![provisional("a", 100), ticket("b", 900), provisional("c", 300), provisional("d", 50)];
    running.settle(settlement(1, 0, entries));
    running.subscribe("desk", false);
    assert_eq!(running.handle.provisional_tickets(), 3);
    let waiting = |handle: &Handle| -> Vec<TicketId> {
        handle.provisional(2).unwrap().into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(waiting(&running.handle), [id("c"), id("a")]);

    let at = Timestamp::UNIX_EPOCH;
    let unchanged = Rescoring { ticket_id: id("c"), at, change: None };
    let changed = Rescoring { ticket_id: id("a"), at, change: rescored(700) };
    running.handle.rescore(vec![unchanged, changed]).blocking_recv().unwrap().unwrap();
    assert_eq!((running.handle.provisional_tickets(), waiting(&running.handle)), (1, vec![id("d")]));
    let pending = || running.outbox.lock().pending("desk");
    let first = || running.outbox.lock().take("desk", ClientId(1), std::time::Instant::now()).unwrap().seq;
    let seq_of = |seq: u64| Seq::new(seq).unwrap();
    assert_eq!(pending(), 5, "four tickets, and one update of the one that changed");

    // b has 900, a now 700, c still 300.
    assert_eq!([first(), first(), first()], [seq_of(2), seq_of(1), seq_of(3)]);
    running.outbox.lock().release("desk", ClientId(1));
    assert_eq!([first(), first(), first()], [seq_of(2), seq_of(1), seq_of(3)], "and so after it is put back");
    running.outbox.lock().release("desk", ClientId(1));

    // Erased meanwhile: there is nothing left to read.
    running.settle(settlement(2, 0, vec![Entry::Erase { ticket_id: id("d"), at }]));
    running.subscribe("another", false);
    assert_eq!((running.handle.provisional_tickets(), waiting(&running.handle)), (0, vec![]));
    let late = Rescoring { ticket_id: id("d"), at, change: rescored(700) };
    running.handle.rescore(vec![late]).blocking_recv().unwrap().unwrap();
    assert_eq!(pending(), 6, "an erased ticket has its erasure, and no update after it");
    running.stop();

    let again = Running::start(folder.path());
    assert_eq!(again.handle.provisional_tickets(), 0);
    again.subscribe("desk", false);
    assert_eq!(again.take("desk")[..3], [seq_of(2), seq_of(1), seq_of(3)], "and so after a restart");
    again.stop();
}

#[test]
fn a_ticket_that_turns_out_to_be_wanted_reaches_a_narrow_filter_with_its_update() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let filter = Filter { priority_min: 500, ..Filter::default() };
    let subscribe = |running: &Running, name: &str, filter: &Filter| {
        let request =
            SubscriptionRequest { name: name.to_owned(), filter: filter.clone(), start_next: false };
        running.handle.subscribe(request).blocking_recv().unwrap().unwrap();
    };
    running.settle(settlement(1, 0, vec![provisional("a", 100), provisional("b", 600)]));
    subscribe(&running, "worst", &filter);
    // Has acknowledged a under a wider filter.
    running.subscribe("changed", false);
    let seqs = |numbers: &[u64]| numbers.iter().map(|seq| Seq::new(*seq).unwrap()).collect::<Vec<_>>();
    running.acknowledge("changed", &seqs(&[1]));
    subscribe(&running, "changed", &filter);
    assert_eq!((running.take("worst"), running.take("changed")), (seqs(&[2]), seqs(&[2])));
    running.acknowledge("worst", &seqs(&[2]));

    let at = Timestamp::UNIX_EPOCH;
    let id = |id: &str| TicketId::of_post(Network::Bluesky, id);
    let rescorings = vec![
        Rescoring { ticket_id: id("a"), at, change: rescored(900) },
        Rescoring { ticket_id: id("b"), at, change: rescored(100) },
    ];
    running.handle.rescore(rescorings).blocking_recv().unwrap().unwrap();
    // The ticket a, and what became of b, which this subscription has; a's update waits for a.
    assert_eq!(running.take("worst"), seqs(&[1, 4]));
    running.acknowledge("worst", &seqs(&[1]));
    assert_eq!(running.take("worst"), seqs(&[3]));
    assert_eq!(
        running.take("changed"),
        seqs(&[3]),
        "a ticket that it has does not come again, its update does"
    );
    running.stop();

    let again = Running::start(folder.path());
    subscribe(&again, "worst", &filter);
    assert_eq!(again.take("worst"), seqs(&[3, 4]), "the same after a restart");
    again.stop();
}

#[test]
fn what_is_read_again_is_the_newest_text() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let edit = |text: &str| Entry::Edit {
        ticket_id,
        text: text.to_owned(),
        at: Timestamp::UNIX_EPOCH,
        otherwise: Bucket::Duplicate,
    };
    running.settle(settlement(1, 0, vec![provisional("a", 100), edit("second"), edit("third")]));
    running.subscribe("desk", false);
    let texts: Vec<_> = running
        .handle
        .provisional(8)
        .unwrap()
        .into_iter()
        .map(|(_, ticket)| ticket.post.unwrap().text)
        .collect();
    assert_eq!(texts, ["third"]);
    running.stop();
}

#[test]
fn an_edit_within_the_disorder_of_a_networks_clock_is_recorded_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let edit = |text: &str, at_us: i64| Entry::Edit {
        ticket_id,
        text: text.to_owned(),
        at: Timestamp::from_microsecond(at_us).unwrap(),
        otherwise: Bucket::Duplicate,
    };
    // The second edit has the earlier time, as Jetstream's clock may run backwards by 32 ms.
    let edits = [edit("b", 5_032_000), edit("c", 5_000_000)];
    running.settle(settlement(1, 0, [&[ticket("a", 100)][..], &edits].concat()));
    running.settle(settlement(1, 0, edits.to_vec()));
    let buckets = running.stop().total();
    assert_eq!((buckets[Bucket::Merged], buckets[Bucket::Duplicate]), (2, 2));
}

#[test]
fn an_edit_that_comes_again_or_after_a_newer_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let edit = |text: &str, second: i64| Entry::Edit {
        ticket_id,
        text: text.to_owned(),
        at: Timestamp::from_second(second).unwrap(),
        otherwise: Bucket::Unmatched,
    };
    // Edited twice, back to what it was first; then the stream is rewound.
    let entries = vec![ticket("a", 100), edit("b", 5), edit("c", 6), edit("b", 7)];
    running.settle(settlement(1, 0, entries));
    running.settle(settlement(1, 0, vec![edit("b", 5), edit("c", 6), edit("b", 7)]));
    let accounting = running.stop();
    let buckets = accounting.sources["bluesky"].buckets;
    assert_eq!((buckets[Bucket::Merged], buckets[Bucket::Duplicate], buckets[Bucket::Unmatched]), (3, 3, 0));
}

#[test]
fn a_gap_is_filled_by_a_stretch_that_holds_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let gap = |from, to| Gap { from, to, reason: "test".to_owned() };
    let gaps = vec![gap(10, 20), gap(30, 50), gap(i64::MIN, i64::MAX)];
    running.settle(Settlement { gaps, ..settlement(1, 0, vec![]) });
    running.settle(Settlement { recovered: vec![(10, 20), (31, 60), (25, 49)], ..settlement(2, 0, vec![]) });
    let check = |accounting: &Accounting| {
        let account = &accounting.sources["bluesky"];
        assert_eq!((account.gaps, account.gaps_recovered, account.gap_length_recovered), (3, 1, 10.0));
        assert!(account.gap_length > 1e19, "{}", account.gap_length);
    };
    check(&running.stop());
    check(&Running::start(folder.path()).stop());
}
