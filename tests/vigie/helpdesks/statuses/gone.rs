//! Tickets that are deleted, out of sight, or neither.

use super::*;

/// Where the helpdesk says so of a ticket, which it still has.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_erased_is_nobodys_to_erase_once_agents_have_deleted_it() {
    let desk = Desk::new(Freshdesk::default(), "freshdesk", json!({})).await;
    let (ticket_id, id) = desk.make().await;
    let stays = Change::TextStays { seq: 3 };
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        desk.shared.cases.lock().apply(ticket_id, &[stays], 1).unwrap();
        desk.taken().await;
        assert_eq!(desk.shared.cases.lock().unerased().unwrap(), 1);
        desk.fake.with(|freshdesk| freshdesk.store.ticket(&id).unwrap()["deleted"] = json!(true));
        desk.forward(DAY_US);
        assert_eq!(daemon.next().await.state(), There::Deleted);
        desk.taken().await;
        assert_eq!(desk.shared.cases.lock().unerased().unwrap(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helpdesk_that_knows_nothing_or_answers_nothing_has_deleted_nothing() {
    let desk = zammad().await;
    let (_, id) = desk.make().await;
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        let always = |fault| Faults::choose(move |_| Some(fault));
        for fault in [
            Fault::Status { status: 404, done: false },
            Fault::Page { done: false },
            Fault::Status { status: 500, done: false },
            Fault::Limited { retry_after: Some(Duration::from_millis(10)) },
        ] {
            desk.fake.set_faults(always(fault));
            let before = desk.calls();
            desk.forward(400_000_000);
            patiently("the fault to fire", async {
                while desk.calls() == before {
                    tokio::time::sleep(SOON).await;
                }
            })
            .await;
            daemon.is_quiet().await;
        }
        desk.fake.set_faults(Faults::none());
        desk.fake.with(|zammad| zammad.store.ticket(&id).unwrap()["state"] = json!("closed"));
        desk.forward(400_000_000);
        assert_eq!(daemon.told().await.0, There::Closed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ticket_out_of_our_reach_keeps_no_other_from_being_read() {
    let desk = zammad().await;
    let ((_, hidden), (_, other)) = (desk.make().await, desk.make().await);
    let path = format!("/api/v1/tickets/{hidden}");
    let fired = Arc::new(AtomicI64::new(0));
    let fires = fired.clone();
    desk.fake.set_faults(Faults::choose(move |request| {
        (request.path == path).then(|| {
            fires.fetch_add(1, Ordering::Relaxed);
            Fault::Status { status: 403, done: false }
        })
    }));
    desk.while_looking(SOON, async |daemon| {
        assert_eq!(daemon.told().await, told(There::Open, "", &other));
        for (state, there) in [("closed", There::Closed), ("open", There::Open), ("closed", There::Closed)] {
            desk.fake.with(|zammad| zammad.store.ticket(&other).unwrap()["state"] = json!(state));
            desk.forward(2 * DAY_US);
            assert_eq!(daemon.told().await, told(there, "", &other));
            desk.taken().await;
        }
        assert!(fired.load(Ordering::Relaxed) > 2, "the fault fires");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_out_of_our_sight_is_told_once_and_not_asked_for_for_ever() {
    let desk = zammad().await;
    let (ticket_id, id) = desk.make().await;
    let hide = || {
        Faults::choose(|request| {
            request.path.contains("/tickets/").then_some(Fault::Status { status: 403, done: false })
        })
    };
    let hidden = || desk.shared.cases.lock().hidden().unwrap();
    let again_at_us = || desk.shared.cases.lock().get(ticket_id).unwrap().unwrap().again_at_us;
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        desk.taken().await;
        desk.fake.set_faults(hide());
        desk.forward(DAY_US);
        patiently("the fault to fire", async {
            while hidden() == 0 {
                tokio::time::sleep(SOON).await;
            }
        })
        .await;
        daemon.is_quiet().await;
        let before = desk.calls();
        daemon.is_quiet().await;
        assert_eq!(desk.calls(), before, "not before a day is over");
        // A right that is given back is noticed.
        desk.fake.set_faults(Faults::none());
        desk.fake.with(|zammad| zammad.store.ticket(&id).unwrap()["state"] = json!("closed"));
        desk.forward(DAY_US + 1);
        assert_eq!(daemon.told().await.0, There::Closed);
        assert_eq!(hidden(), 0);
        desk.taken().await;
        desk.fake.set_faults(hide());
        for day in 0..20 {
            let before = again_at_us();
            assert!(day < 15 || before.is_none(), "for ever");
            desk.forward(DAY_US + 1);
            patiently("a look a day", async {
                while before.is_some() && again_at_us() == before {
                    tokio::time::sleep(SOON).await;
                }
            })
            .await;
        }
        assert_eq!((hidden(), again_at_us()), (1, None));
    })
    .await;
    // Another process knows that, and does not say it once more.
    let desk = desk.restarted();
    let looks = || desk.shared.cases.lock().get(ticket_id).unwrap().unwrap().hidden;
    let hidden = desk.shared.cases.lock().hidden().unwrap();
    assert_eq!((hidden, looks()), (1, 14));
    desk.while_looking(SOON, async |daemon| {
        daemon.hints.send(id.clone()).await.unwrap();
        patiently("a look", async {
            while looks() == 14 {
                tokio::time::sleep(REST).await;
            }
        })
        .await;
    })
    .await;
    assert_eq!(looks(), 15);
}

/// Jira says 404 of an issue that our account may not see, as of one that there is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_is_moved_out_of_our_sight_was_not_deleted() {
    let options = json!({ "user": "agent@vigie.test", "project": "SUP", "desk": 3, "request_type": 25, "field": 10050 });
    let desk = Desk::new(Jira::default(), "jira", options).await;
    let (_, id) = desk.make().await;
    desk.while_looking(SOON, async |daemon| {
        assert_eq!(daemon.told().await.0, There::Open);
        desk.taken().await;
        let number = id.trim_start_matches("SUP-").parse().unwrap();
        let moved = desk.fake.with(|jira| jira.store.tickets.remove(&number)).unwrap();
        desk.forward(DAY_US);
        daemon.is_quiet().await;
        assert_eq!(desk.shared.cases.lock().hidden().unwrap(), 1);
        desk.fake.with(|jira| jira.store.tickets.insert(number, moved));
        desk.fake.with(|jira| jira.transition(&id, "Resolved", "done"));
        desk.forward(DAY_US);
        assert_eq!(daemon.told().await.0, There::Solved);
        assert_eq!(desk.shared.cases.lock().hidden().unwrap(), 0);
    })
    .await;
    let case = vigie::bridge::helpdesk::Case { id: "SUP-999".to_owned(), captured: serde_json::Map::new() };
    assert!(desk.vigie.whereabouts(&case).await.unwrap_err().may_be_of_one(), "its text may still be there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_thought_gone_and_is_read_is_there_again() {
    let desk = zammad().await;
    let (ticket_id, id) = desk.make().await;
    let is_gone =
        || desk.shared.cases.lock().get(ticket_id).unwrap().unwrap().place.is_some_and(|place| place.is_gone);
    desk.while_looking(NEVER, async |daemon| {
        daemon.next().await;
        desk.shared.cases.lock().apply(ticket_id, &[Change::Gone], 1).unwrap();
        assert!(is_gone());
        daemon.hints.send(id.clone()).await.unwrap();
        patiently("it to be there", async {
            while is_gone() {
                tokio::time::sleep(SOON).await;
            }
        })
        .await;
    })
    .await;
}
