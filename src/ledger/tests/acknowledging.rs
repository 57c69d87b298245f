//! Who still has to take what.

use super::*;

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
        let (_, heads) = deliveries::subscribe(&mut file, &request, 100).unwrap().unwrap();
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
