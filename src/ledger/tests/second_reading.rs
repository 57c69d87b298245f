//! What only the small model has read, until the full one has.

use super::*;

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
    let unchanged = Rescoring { ticket_id: id("c"), at, change: None, terms: terms() };
    let changed = Rescoring { ticket_id: id("a"), at, change: rescored(700), terms: terms() };
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
    let late = Rescoring { ticket_id: id("d"), at, change: rescored(700), terms: terms() };
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
        Rescoring { ticket_id: id("a"), at, change: rescored(900), terms: terms() },
        Rescoring { ticket_id: id("b"), at, change: rescored(100), terms: terms() },
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
        amended: None,
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
