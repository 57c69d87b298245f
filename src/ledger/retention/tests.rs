//! What goes and what stays, a step at a time, on real files.

use crate::ledger::assigned::Assignee;
use std::path::Path;

use jiff::ToSpan;
use rusqlite::Connection;

use super::*;
use crate::ledger::context::import::{CustomerChunk, CustomerRow, Importer, Numbered};
use crate::ledger::outbox::Filter;
use crate::ledger::tests::{Running, config, provisional, settlement, ticket};
use crate::ledger::{
    Accounting, Entry, Feedback, Ledger, NewTicket, Records, Seq, SubscriptionRequest, deliveries, feedback,
    gaps, subscriptions, wal,
};
use crate::parse::Network;
use crate::source::Gap;
use crate::telemetry::Bucket;
use crate::ticket::TicketId;

/// Tickets made by `ticket` are from 1970: whatever is kept a day is too old.
fn by_age() -> Retention {
    Retention { age_max: Some(DAY), live_bytes_max: None, contacts_age_max: None }
}

fn by_size(live_bytes_max: u64) -> Retention {
    Retention { age_max: None, live_bytes_max: Some(live_bytes_max), contacts_age_max: None }
}

/// Prunes until a round is at its end; gives every step.
fn prune(folder: &Path, retention: Retention) -> Vec<Step> {
    let mut ledger = Ledger::open(config(folder)).unwrap();
    let mut pruner = settled(&ledger.connection, retention);
    let mut steps = Vec::new();
    while steps.is_empty() || pruner.due != pruner.round_due {
        steps.push(pruner.step(&mut ledger.connection, Timestamp::now()).unwrap());
    }
    steps
}

/// One that has seen the subscriptions' filters a day ago.
fn settled(connection: &Connection, retention: Retention) -> Pruner {
    let mut pruner = Pruner::new(retention);
    pruner.holders(connection, Timestamp::now() - 25.hours()).unwrap();
    pruner
}

fn pruned(folder: &Path, retention: Retention) -> u64 {
    prune(folder, retention).iter().map(|step| step.pruned).sum()
}

fn file(folder: &Path) -> Connection {
    Connection::open(config(folder).path).unwrap()
}

fn count(folder: &Path, what: &str) -> i64 {
    file(folder).query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

fn seqs(numbers: &[u64]) -> Vec<Seq> {
    numbers.iter().map(|seq| Seq::new(*seq).unwrap()).collect()
}

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::Bluesky, post)
}

fn edit(post: &str) -> Entry {
    let (ticket_id, text) = (id(post), format!("new text of {post}"));
    Entry::Edit { ticket_id, text, at: Timestamp::UNIX_EPOCH, otherwise: Bucket::Unmatched, amended: None }
}

fn narrow(running: &Running, name: &str) {
    let filter = Filter { priority_min: 500, ..Filter::default() };
    let request = SubscriptionRequest { name: name.to_owned(), filter, start_next: false };
    running.handle.subscribe(request).blocking_recv().unwrap().unwrap();
}

#[test]
fn a_ticket_goes_once_nobody_has_anything_of_it_pending() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let running = Running::start(folder);
    running.subscribe("helpdesk", false);
    running.subscribe("archive", false);
    // Seqs: a is 1 and its update 4, b is 2, c is 3.
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 900), ticket("c", 500)]));
    // An update of a ticket from before its start is none of its business.
    running.subscribe("late", true);
    running.settle(settlement(2, 0, vec![edit("a")]));
    narrow(&running, "worst");
    running.acknowledge("helpdesk", &seqs(&[1, 2, 3, 4]));
    running.acknowledge("archive", &seqs(&[1, 2]));
    running.acknowledge("worst", &seqs(&[3]));
    running.stop();
    assert_eq!(pruned(folder, by_age()), 0, "a's update and c are the archive's, b is the worst's");

    let running = Running::start(folder);
    running.subscribe("archive", false);
    assert_eq!(running.take("archive"), seqs(&[3, 4]));
    running.acknowledge("archive", &seqs(&[4]));
    running.acknowledge("worst", &seqs(&[2]));
    running.stop();
    assert_eq!(pruned(folder, by_age()), 2, "a, whose priority is not for the worst, and b");
    for (what, left) in [("ticket", 1), ("record", 1), ("pruned", 2), ("acknowledgement", 2)] {
        assert_eq!(count(folder, what), left, "{what}");
    }

    let running = Running::start(folder);
    for (name, pending) in [("helpdesk", &[][..]), ("archive", &[3]), ("late", &[]), ("new", &[3])] {
        running.subscribe(name, false);
        assert_eq!(running.take(name), seqs(pending), "{name}");
    }
    running.stop();
}

#[test]
fn a_filter_that_was_never_told_may_want_everything() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    narrow(&running, "worst");
    running.settle(settlement(1, 0, vec![ticket("a", 100)]));
    running.stop();
    // As a migration leaves it.
    file(folder.path()).execute_batch("UPDATE subscription SET filter = NULL").unwrap();
    assert_eq!(pruned(folder.path(), by_age()), 0);
    let running = Running::start(folder.path());
    narrow(&running, "worst");
    running.stop();
    assert_eq!(pruned(folder.path(), by_age()), 1);
}

#[test]
fn a_pruned_ticket_makes_no_second_one() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 100)]));
    running.stop();
    assert_eq!(pruned(folder.path(), by_age()), 1);

    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let erase = Entry::Erase { ticket_id: id("a"), at: Timestamp::UNIX_EPOCH };
    running.settle(settlement(2, 0, vec![ticket("a", 100), edit("a"), erase, ticket("b", 100)]));
    running.subscribe("after the commit", false);
    assert_eq!(running.take("helpdesk"), seqs(&[2]), "and a seq is never used twice");
    let buckets = running.stop().total();
    let ends = [Bucket::Ticketed, Bucket::Duplicate, Bucket::Unmatched, Bucket::Control];
    assert_eq!(ends.map(|bucket| buckets[bucket]), [2, 1, 1, 1]);
}

#[test]
fn floors_rise_over_the_holes_and_never_fall() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    running.subscribe("slow", false);
    let entries = (0..10).map(|n| ticket(&n.to_string(), 100)).collect();
    running.settle(settlement(1, 0, entries));
    running.subscribe("after the commit", true);
    // Everything but the third, which the slow one has not taken.
    running.acknowledge("helpdesk", &running.take("helpdesk"));
    let rest: Vec<_> = running.take("slow").into_iter().filter(|seq| seq.get() != 3).collect();
    running.acknowledge("slow", &rest);
    running.stop();
    let floor = |name: &str| -> i64 {
        let file = file(folder.path());
        deliveries::raise_floor(&file, name).unwrap();
        file.query_row("SELECT floor FROM subscription WHERE name = ?1", [name], |row| row.get(0)).unwrap()
    };
    assert_eq!((floor("helpdesk"), floor("slow")), (10, 2));
    assert_eq!(pruned(folder.path(), by_age()), 9);
    assert_eq!(
        (floor("helpdesk"), floor("slow")),
        (10, 2),
        "what is left is below the one and holds the other"
    );

    let running = Running::start(folder.path());
    running.subscribe("slow", false);
    running.subscribe("helpdesk", false);
    running.subscribe("next", true);
    running.settle(settlement(2, 0, vec![ticket("new", 100)]));
    running.subscribe("after the commit", true);
    assert_eq!(running.take("slow"), seqs(&[3, 11]));
    assert_eq!((running.take("helpdesk"), running.take("next")), (seqs(&[11]), seqs(&[11])));
    running.acknowledge("slow", &seqs(&[3]));
    running.stop();
    assert_eq!(floor("slow"), 10);
}

/// A ticket of some 64 KiB.
fn large(post: usize) -> Entry {
    let Entry::Ticket(ticket) = ticket(&post.to_string(), 100) else { unreachable!() };
    Entry::Ticket(Box::new(NewTicket { body: vec![b'x'; 64 << 10], ..*ticket }))
}

/// So many large tickets, the first of them acknowledged by the only subscription.
fn filled(folder: &Path, tickets: usize, acknowledged: usize) {
    let running = Running::start(folder);
    running.subscribe("helpdesk", false);
    (0..tickets).for_each(|post| running.settle(settlement(1, 0, vec![large(post)])));
    running.subscribe("after the commit", true);
    let taken: Vec<_> = running.take("helpdesk").into_iter().take(acknowledged).collect();
    running.acknowledge("helpdesk", &taken);
    running.stop();
}

#[test]
fn above_the_size_limit_the_oldest_go_first_and_their_space_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    filled(folder, 200, 190);
    let path = config(folder).path;
    let before = path.metadata().unwrap().len();
    assert!(before > 200 << 16, "{before} bytes");
    assert_eq!(pruned(folder, by_size(16 << 20)), 0, "it is not above that");

    let steps = prune(folder, by_size(4 << 20));
    let gone: u64 = steps.iter().map(|step| step.pruned).sum();
    assert!(steps.iter().all(|step| step.pruned <= TICKETS_MAX), "{steps:?}");
    let last = steps.last().unwrap();
    assert!(last.size.live_bytes <= 4 << 20 && !last.is_blocked, "{last:?}");
    assert!((130..150).contains(&gone), "no more than needed: {gone} of 200");
    let oldest: i64 = file(folder).query_row("SELECT min(seq) FROM ticket", [], |row| row.get(0)).unwrap();
    assert_eq!(oldest, gone.cast_signed() + 1, "the oldest");
    let freed: Vec<_> =
        steps.windows(2).map(|two| two[0].size.free_bytes.saturating_sub(two[1].size.free_bytes)).collect();
    assert!(freed.iter().any(|freed| *freed > 4096), "one page a step is for ever: {freed:?}");
    assert!(freed.iter().all(|freed| *freed <= PAGES_MAX.cast_unsigned() * 4096), "{freed:?}");

    assert!(wal::truncate_log(&mut file(folder), Duration::ZERO).unwrap());
    let after = path.metadata().unwrap().len();
    assert!(after <= (4 << 20) + FREE_BYTES_KEPT.cast_unsigned() + 65_536, "{after} of {before} bytes");
    let check: String = file(folder).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_is_pending_stays_whatever_the_size() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 100, 10);
    let steps = prune(folder.path(), by_size(1 << 20));
    assert_eq!(steps.iter().map(|step| step.pruned).sum::<u64>(), 10);
    assert!(steps.last().unwrap().is_blocked, "{steps:?}");
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    assert_eq!(running.take("helpdesk").len(), 90);
    running.stop();
}

#[test]
fn without_any_subscription_age_prunes_and_size_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let assigned = |post| {
        let Entry::Ticket(mut ticket) = large(post) else { panic!() };
        ticket.assignee = Some(Assignee { team: "billing".to_owned(), ..Default::default() });
        Entry::Ticket(ticket)
    };
    (0..20).for_each(|post| running.settle(settlement(1, 0, vec![assigned(post)])));
    running.stop();
    let steps = prune(folder.path(), by_size(1 << 19));
    assert_eq!(steps.iter().map(|step| step.pruned).sum::<u64>(), 0);
    assert!(!steps.last().unwrap().is_blocked, "nobody has anything to acknowledge");
    assert_eq!(count(folder.path(), "assigned"), 20);
    assert_eq!(pruned(folder.path(), by_age()), 20);
    assert_eq!(count(folder.path(), "assigned"), 0, "nothing is left of whose they were");
}

#[test]
fn young_tickets_stay_and_those_behind_them_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let Entry::Ticket(young) = ticket("young", 100) else { unreachable!() };
    let yesterday = Timestamp::now() - 23.hours();
    let young = Entry::Ticket(Box::new(NewTicket { created_at: yesterday, ..*young }));
    let old: Vec<_> = (0..300).map(|post| ticket(&post.to_string(), 100)).collect();
    running.settle(settlement(1, 0, old.into_iter().chain([young, provisional("read again", 1)]).collect()));
    running.stop();
    let steps = prune(folder.path(), by_age());
    assert_eq!(steps.iter().map(|step| step.pruned).collect::<Vec<_>>()[..5], [64, 64, 64, 64, 44]);
    let left: Vec<i64> = {
        let file = file(folder.path());
        let mut left = file.prepare("SELECT seq FROM ticket ORDER BY seq").unwrap();
        left.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(left, [301, 302], "the young one, and the one that the full model is still to read");
    assert_eq!(
        pruned(
            folder.path(),
            Retention { age_max: Some(DAY / 2), live_bytes_max: None, contacts_age_max: None }
        ),
        1
    );
}

#[test]
fn what_was_reported_goes_with_its_ticket_and_otherwise_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 100)]));
    running.subscribe("helpdesk", false);
    let report = |feedback| running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    for n in 0..=feedback::STATUSES_MAX {
        report(Feedback::TicketStatus(id("a"), n.to_be_bytes().to_vec()));
    }
    report(Feedback::TicketStatus(id("b"), vec![1]));
    report(Feedback::Touchpoint(vec![2]));
    report(Feedback::AgentState(vec![3]));
    running.acknowledge("helpdesk", &seqs(&[1]));
    running.stop();
    assert_eq!(
        count(folder.path(), "feedback"),
        feedback::STATUSES_MAX + 3,
        "the oldest of too many is gone"
    );
    let first: Vec<u8> =
        file(folder.path()).query_row("SELECT body FROM feedback", [], |row| row.get(0)).unwrap();
    assert_eq!(first, 1_i64.to_be_bytes());

    file(folder.path()).execute_batch("UPDATE feedback SET at_us = 0 WHERE kind = 'touchpoint'").unwrap();
    assert_eq!(pruned(folder.path(), by_age()), 1);
    let file = file(folder.path());
    let mut kept = file.prepare("SELECT kind FROM feedback ORDER BY kind").unwrap();
    let kept: Vec<String> = kept.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(kept, ["agent_state", "ticket_status"], "b's, and what is not old");

    let forgotten = super::prune::forget_feedback_beyond(&file, 1, 10).unwrap();
    assert_eq!(forgotten, 0, "one is within what is kept");
    assert_eq!(super::prune::forget_feedback_beyond(&file, 0, 10).unwrap(), 1);
}

#[test]
fn holes_beyond_the_newest_are_only_counted() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let holes = gaps::GAPS_MAX + 5;
    for from in 0..holes {
        let gap = Gap { from, to: from + 1, reason: String::new() };
        let mut holed = settlement(1, 0, Vec::new());
        holed.gaps.push(gap);
        running.settle(holed);
    }
    let gaps = |accounting: &Accounting| accounting.sources["bluesky"].gaps.cast_signed();
    assert_eq!(gaps(&running.stop()), holes);
    assert_eq!(count(folder.path(), "gap"), gaps::GAPS_MAX);
    assert_eq!(gaps(&Running::start(folder.path()).stop()), holes, "and so after a restart");
    let first: i64 =
        file(folder.path()).query_row("SELECT min(from_position) FROM gap", [], |row| row.get(0)).unwrap();
    assert_eq!(first, 5);
}

#[test]
fn the_thread_prunes_beside_its_work_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_with(folder.path(), by_age());
    running.settle(settlement(1, 0, (0..100).map(|post| ticket(&post.to_string(), 100)).collect()));
    // The first look may have come before the tickets; the next round for their age is an hour away.
    let pruned = running.handle.figures().tickets_pruned;
    running.stop();
    let running = Running::start_with(folder.path(), by_age());
    while running.handle.figures().tickets_pruned < 100 {
        std::thread::yield_now();
    }
    assert!(pruned <= 100);
    assert!(running.handle.figures().size.live_bytes > 0);
    running.settle(settlement(2, 3, vec![ticket("0", 100)]));
    assert_eq!(running.stop().total()[Bucket::Duplicate], 1);
}

#[test]
fn a_removed_subscription_holds_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path()).path;
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 900)]));
    running.subscribe("forgotten", false);
    narrow(&running, "worst");
    running.acknowledge("helpdesk", &seqs(&[1, 2]));
    running.acknowledge("forgotten", &seqs(&[1]));
    running.acknowledge("worst", &seqs(&[2]));
    let listed = |path: &Path| -> Vec<(String, u64)> {
        let listed = subscriptions::list(path).unwrap();
        listed.into_iter().map(|subscription| (subscription.name, subscription.pending)).collect()
    };
    let expected =
        [("forgotten", 1), ("helpdesk", 0), ("worst", 0)].map(|(name, pending)| (name.to_owned(), pending));
    assert_eq!(listed(&path), expected, "while the ledger is in use");
    running.stop();
    assert_eq!(pruned(folder.path(), by_age()), 1);

    let mut ledger = Ledger::open(config(folder.path())).unwrap();
    assert!(ledger.remove_subscription("forgotten").unwrap());
    assert!(!ledger.remove_subscription("forgotten").unwrap());
    drop(ledger);
    assert_eq!(listed(&path), expected[1..]);
    assert_eq!(pruned(folder.path(), by_age()), 1);
}

#[test]
fn a_narrower_filter_gives_nothing_away_before_it_is_a_day_old() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    (0..10).for_each(|post| running.settle(settlement(1, 0, vec![large(post)])));
    narrow(&running, "helpdesk");
    running.stop();
    let mut ledger = Ledger::open(config(folder.path())).unwrap();
    let mut pruner = Pruner::new(by_size(1 << 16));
    let start = Timestamp::now();
    let mut step = |pruner: &mut Pruner, hours: i64| {
        pruner.round_due = Instant::now();
        pruner.step(&mut ledger.connection, start + hours.hours()).unwrap().pruned
    };
    assert_eq!([0, 23].map(|hours| step(&mut pruner, hours)), [0, 0]);
    // Asked for something else in between, unseen by any step.
    pruner.filter_changed("helpdesk");
    assert_eq!([25, 48].map(|hours| step(&mut pruner, hours)), [0, 0]);
    // A clock that is set back begins the day anew.
    assert_eq!([0, 23, 25].map(|hours| step(&mut pruner, hours)), [0, 0, 10]);
}

#[test]
fn pruning_goes_on_while_space_is_given_back_and_an_overdue_step_does_more() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    running.settle(settlement(1, 0, (0..700).map(large).collect()));
    running.subscribe("after the commit", true);
    running.acknowledge("helpdesk", &running.take("helpdesk"));
    running.stop();
    let mut ledger = Ledger::open(config(folder.path())).unwrap();
    let mut pruner = Pruner::new(by_size(1 << 20));
    pruner.commit_max = Duration::MAX;
    let mut steps = Vec::new();
    while steps.is_empty() || pruner.due != pruner.round_due {
        if steps.len() == 6 {
            // As where the thread has had other work ever since.
            pruner.due = Instant::now().checked_sub(OVERDUE).unwrap();
        }
        steps.push(pruner.step(&mut ledger.connection, Timestamp::now()).unwrap());
    }
    assert!(steps[..6].iter().all(|step| step.pruned == TICKETS_MAX), "{steps:?}");
    let given_back =
        steps[..6].windows(2).any(|two| two[1].size.free_bytes < two[0].size.free_bytes + (4 << 20));
    assert!(given_back, "{steps:?}");
    assert!((TICKETS_MAX + 1..=OVERDUE_TICKETS_MAX).contains(&steps[6].pruned), "{steps:?}");
}

#[test]
fn reports_beyond_what_is_kept_go_before_any_ticket() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 20, 20);
    file(folder.path())
        .execute_batch(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {})
             INSERT INTO feedback (at_us, kind, body) SELECT n, 'touchpoint', zeroblob(4000) FROM n",
            FEEDBACK_KEPT + 300
        ))
        .unwrap();
    let size = size(&file(folder.path())).unwrap();
    // Forgetting 300 reports is enough.
    let steps = prune(folder.path(), by_size(size.live_bytes - 200 * 4096));
    assert_eq!(count(folder.path(), "feedback"), FEEDBACK_KEPT + 300 - 256, "one step was enough");
    assert_eq!(steps.iter().map(|step| step.pruned).sum::<u64>(), 0);
}

#[test]
fn customers_do_not_make_room_for_themselves_at_the_cost_of_tickets() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 20, 20);
    let before = size(&file(folder.path())).unwrap();
    let rows: Vec<_> = (0..5000)
        .map(|n| {
            let row =
                CustomerRow { key: format!("C{n}"), name: Some("n".repeat(100)), ..CustomerRow::default() };
            Numbered { line: n, row }
        })
        .collect();
    let mut importer = Importer::open(&config(folder.path()).path, false).unwrap();
    importer.customers(CustomerChunk::new(rows), &mut |rejected| panic!("{rejected:?}")).unwrap();
    importer.finish().unwrap();
    let after = size(&file(folder.path())).unwrap();
    assert!(after.context_bytes > 5000 * 100, "{after:?}");
    assert!(after.live_bytes < before.live_bytes + 10 * 4096, "{before:?} {after:?}");
    assert_eq!(pruned(folder.path(), by_size(before.live_bytes + 10 * 4096)), 0);
    assert_eq!(count(folder.path(), "ticket"), 20);
    // It would be far too much otherwise.
    file(folder.path()).execute_batch("UPDATE context_size SET bytes = 0").unwrap();
    assert!(pruned(folder.path(), by_size(before.live_bytes + 10 * 4096)) > 0);
}

#[test]
fn contacts_go_by_their_own_age() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 1, 1);
    file(folder.path())
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
             INSERT INTO touchpoint (customer, network, account, at_us, channel, note) SELECT 'C', '', '', n, 'mail', '' FROM n",
        )
        .unwrap();
    let soon = Timestamp::now().as_microsecond();
    file(folder.path())
        .execute("INSERT INTO touchpoint VALUES ('C', '', '', ?1, 'mail', '')", [soon])
        .unwrap();
    prune(folder.path(), Retention { age_max: None, live_bytes_max: None, contacts_age_max: None });
    assert_eq!(count(folder.path(), "touchpoint"), 1001);
    prune(folder.path(), Retention { contacts_age_max: Some(DAY), age_max: None, live_bytes_max: None });
    assert_eq!((count(folder.path(), "touchpoint"), count(folder.path(), "ticket")), (1, 1));
}

/// What was said of people does not stay because tickets do.
#[test]
fn helpers_go_by_their_age_however_long_tickets_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 1, 1);
    let helped = "INSERT INTO helper (network, author_id, thanked, last_at_us) VALUES ('x', ?1, 1, ?2)";
    for (name, at_us) in [("old", 1), ("new", Timestamp::now().as_microsecond())] {
        file(folder.path()).execute(helped, (name, at_us)).unwrap();
    }
    prune(folder.path(), Retention { age_max: None, live_bytes_max: None, contacts_age_max: None });
    assert_eq!((count(folder.path(), "helper"), count(folder.path(), "ticket")), (1, 1));
}

#[test]
fn a_ledger_is_blocked_only_by_what_is_pending() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    running.settle(settlement(1, 0, vec![provisional("a", 1)]));
    running.subscribe("after the commit", true);
    running.acknowledge("helpdesk", &seqs(&[1]));
    running.stop();
    let last = prune(folder.path(), by_size(1)).pop().unwrap();
    assert!(!last.is_blocked, "the full model's to read");
    file(folder.path()).execute_batch("UPDATE ticket SET provisional = 0").unwrap();
    let steps = prune(folder.path(), by_size(1));
    assert_eq!(steps.iter().map(|step| step.pruned).sum::<u64>(), 1);
    assert!(!steps.last().unwrap().is_blocked, "what is left is no ticket's");
}

#[test]
fn a_clock_that_jumps_ahead_prunes_nothing_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let Entry::Ticket(young) = ticket("young", 100) else { unreachable!() };
    let young = Entry::Ticket(Box::new(NewTicket { created_at: Timestamp::now(), ..*young }));
    running.settle(settlement(1, 0, vec![young]));
    running.stop();
    let mut ledger = Ledger::open(config(folder.path())).unwrap();
    let mut pruner = Pruner::new(by_age());
    let mut step = |now| {
        let at = Instant::now();
        (pruner.age_due, pruner.round_due) = (at, at);
        let step = pruner.step(&mut ledger.connection, now).unwrap();
        (step.pruned, pruner.age_due > at + DAY / 2)
    };
    let now = Timestamp::now();
    assert_eq!(step(now), (0, false));
    assert_eq!(step(now + 24.hours() * 400), (0, true), "the look is put off");
    assert_eq!(step(now).0, 0, "set right again");
}

#[test]
fn the_number_of_pruned_tickets_is_known_without_counting_them() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 100), ticket("a", 100)]));
    running.stop();
    assert_eq!(pruned(folder.path(), by_age()), 2);
    let running = Running::start(folder.path());
    assert_eq!(running.handle.figures().tickets_pruned, 2);
    running.stop();
}

#[test]
fn the_oldest_pending_is_the_oldest_whatever_the_ids() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let made = |day: i64| {
        let Entry::Ticket(ticket) = ticket(&day.to_string(), 100) else { unreachable!() };
        let created_at = Timestamp::from_second(day * 86_400).unwrap();
        Entry::Ticket(Box::new(NewTicket { created_at, ..*ticket }))
    };
    running.settle(settlement(1, 0, (1..=20).map(made).collect()));
    running.subscribe("after the commit", true);
    let listed = subscriptions::list(&config(folder.path()).path).unwrap();
    let helpdesk = listed.iter().find(|subscription| subscription.name == "helpdesk").unwrap();
    assert_eq!(helpdesk.oldest, Some(Timestamp::from_second(86_400).unwrap()));
    running.stop();
}

/// Somebody who only looks is nobody who still has to take a ticket.
#[test]
fn nothing_is_kept_for_a_subscription_without_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 900)]));
    running.subscribe("helpdesk", false);
    let name = running.look(1, false);
    running.acknowledge("helpdesk", &seqs(&[1, 2]));
    assert_eq!(running.take(&name), seqs(&[2, 1]));
    running.stop();
    assert_eq!(pruned(folder.path(), by_age()), 2);
}
