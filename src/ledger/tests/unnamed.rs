//! A subscription without a name: it is served like any other, and the ledger keeps nothing of it.

use super::*;
use crate::ledger::deliveries;

fn rows(folder: &Path, table: &str) -> i64 {
    let file = Connection::open(config(folder).path).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn it_starts_with_everything_or_with_what_comes_next_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 100), ticket("b", 900)]));
    // The answer to a name comes after the batch.
    running.subscribe("desk", false);
    let (all, next) = (running.look(1, false), running.look(2, true));
    let seqs = |seqs: Vec<Seq>| seqs.into_iter().map(Seq::get).collect::<Vec<_>>();
    assert_eq!(seqs(running.take(&all)), [2, 1]);
    assert_eq!(running.take(&next), Vec::new());
    let edit = Entry::Edit {
        ticket_id: TicketId::of_post(Network::Bluesky, "a"),
        text: "new".into(),
        at: Timestamp::UNIX_EPOCH,
        otherwise: Bucket::Unmatched,
        amended: None,
    };
    running.settle(settlement(2, 0, vec![ticket("c", 500), edit]));
    running.subscribe("night", true);
    assert_eq!(seqs(running.take(&next)), [3], "an update of a ticket that it was not given is not for it");
    running.outbox.lock().acknowledge(&all, &[Seq::new(1).unwrap()]);
    assert_eq!(seqs(running.take(&all)), [3, 4]);
    running.stop();
    assert_eq!((rows(folder.path(), "subscription"), rows(folder.path(), "acknowledgement")), (2, 0));
    let names = subscriptions::list(&config(folder.path()).path).unwrap();
    assert_eq!(names.into_iter().map(|held| held.name).collect::<Vec<_>>(), ["desk", "night"]);
}

#[test]
fn one_whose_client_has_gone_before_its_turn_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let name = outbox::unnamed("", ClientId(1));
    running.subscribe(&name, false);
    assert!(!running.outbox.lock().is_open(&name));
    running.stop();
}

#[test]
fn it_begins_with_the_newest_tickets_and_their_updates_found_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, ["a", "b", "c"].map(|name| ticket(name, 100)).into()));
    let edit = |name: &str| Entry::Edit {
        ticket_id: TicketId::of_post(Network::Bluesky, name),
        text: "new".into(),
        at: Timestamp::UNIX_EPOCH,
        otherwise: Bucket::Unmatched,
        amended: None,
    };
    running.settle(settlement(2, 0, vec![edit("a"), edit("b")]));
    running.stop();
    let file = Connection::open(config(folder.path()).path).unwrap();
    let retained = |tickets_max| {
        let (start, heads) = deliveries::retained(&file, false, tickets_max, 0).unwrap();
        let mut seqs: Vec<u64> = heads.iter().map(|head| head.seq.get()).collect();
        seqs.sort_unstable();
        (start, seqs)
    };
    assert_eq!(retained(2), (1, vec![2, 3, 5]), "not the oldest, nor its edit");
    assert_eq!(retained(3), (0, vec![1, 2, 3, 4, 5]));
    let plan = "EXPLAIN QUERY PLAN SELECT r.seq FROM ticket t CROSS JOIN record r INDEXED BY record_ticket
                ON r.ticket_id = t.id WHERE t.seq > 1";
    let mut statement = file.prepare(plan).unwrap();
    let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
    let steps: Vec<String> = steps.map(Result::unwrap).collect();
    assert!(steps.iter().all(|step| step.starts_with("SEARCH")), "{steps:?}");
}
