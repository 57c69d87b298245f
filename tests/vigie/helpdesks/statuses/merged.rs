//! Tickets that agents have merged.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_merged_goes_on_as_the_one_that_it_went_into() {
    let desk = zammad().await;
    let ((one, into), (two, from)) = (desk.make().await, desk.make().await);
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        daemon.next().await;
        desk.fake.with(|zammad| {
            zammad.store.ticket(&into).unwrap()["state"] = json!("pending reminder");
            zammad.merge(&from, &into);
        });
        let (first, second) = (daemon.next().await, daemon.next().await);
        for status in [&first, &second] {
            assert_eq!((status.state(), status.helpdesk_ref.as_str()), (There::Pending, into.as_str()));
        }
        assert_ne!(first.ticket_id, second.ticket_id);
        desk.fake.with(|zammad| zammad.store.ticket(&into).unwrap()["state"] = json!("closed"));
        let ids = [daemon.next().await, daemon.next().await].map(|status| {
            assert_eq!(status.state(), There::Closed);
            status.ticket_id
        });
        assert!(ids.contains(&one.as_bytes().to_vec()) && ids.contains(&two.as_bytes().to_vec()));
    })
    .await;
    let cases = desk.shared.cases.lock();
    let mut both = cases.of_case(&into).unwrap();
    both.sort();
    let mut expected = [one, two];
    expected.sort();
    assert_eq!(both, expected);
}

/// The same where the ticket that was merged stays beside the other one, closed or in the bin.
async fn goes_on_as_the_other<V: Vendor>(
    desk: Desk<V>,
    merge: impl Fn(&mut V, &str, &str),
    solve: impl Fn(&mut V, &str),
) {
    let ((one, into), (two, from)) = (desk.make().await, desk.make().await);
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        daemon.next().await;
        desk.fake.with(|vendor| merge(vendor, &from, &into));
        let merged = daemon.next().await;
        assert_eq!(merged.ticket_id, two.as_bytes());
        assert_eq!((merged.state(), merged.helpdesk_ref.as_str()), (There::Open, into.as_str()));
        desk.fake.with(|vendor| solve(vendor, &into));
        let mut ids = [daemon.next().await, daemon.next().await].map(|status| {
            assert_eq!((status.state(), status.helpdesk_ref.as_str()), (There::Solved, into.as_str()));
            status.ticket_id
        });
        ids.sort();
        let mut both = [one, two].map(|id| id.as_bytes().to_vec());
        both.sort();
        assert_eq!(ids, both);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_zendesk_and_glpi_have_merged_goes_on_as_the_other_one() {
    let solved = json!({ "status": "solved" });
    goes_on_as_the_other(zendesk().await, Zendesk::merge, |zendesk, id| zendesk.change(id, &solved)).await;
    let glpi = Desk::new(Glpi::default(), "glpi", json!({ "app_token": "app" })).await;
    goes_on_as_the_other(glpi, Glpi::merge, |glpi, id| glpi.store.ticket(id).unwrap()["status"] = json!(5))
        .await;
}

/// The ticket that goes on was answered and rated before ours was made, and after a restart still is.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_and_rated_before_a_merger_is_not_our_authors() {
    let desk = zendesk().await;
    let now_us = jiff::Timestamp::now().as_microsecond();
    let ((_, into), (two, from)) = (desk.make().await, desk.make_at(now_us).await);
    let merged = async |daemon: &mut Daemon| loop {
        let told = daemon.next().await;
        if told.ticket_id == two.as_bytes() && told.helpdesk_ref == into {
            return told;
        }
    };
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        daemon.next().await;
        desk.fake.with(|zendesk| {
            let answered = json!({ "reply_time_in_minutes": { "calendar": 5, "business": 5 } });
            let before = json!({ "created_at": "2020-01-01T00:00:00Z", "metric_set": answered,
                "satisfaction_rating": { "score": "bad" } });
            zendesk.change(&into, &before);
            zendesk.merge(&from, &into);
        });
        let told = merged(daemon).await;
        assert_eq!((told.first_answer_at_us, told.satisfaction), (0, 0));
    })
    .await;
    let desk = desk.restarted();
    desk.while_looking(SOON, async |daemon| {
        desk.fake.with(|zendesk| zendesk.change(&into, &json!({ "status": "pending" })));
        let told = merged(daemon).await;
        assert_eq!((told.first_answer_at_us, told.satisfaction), (0, 0));
        // Ada answers now, and is rated for it.
        desk.fake.with(|zendesk| {
            let answered = json!({ "created_at": jiff::Timestamp::now().to_string(), "status": "solved",
                "satisfaction_rating": { "score": "good" } });
            zendesk.change(&into, &answered);
        });
        loop {
            let told = merged(daemon).await;
            if told.state() == There::Solved {
                assert!(told.first_answer_at_us > 0 && told.satisfaction == 5, "{told:?}");
                break;
            }
        }
    })
    .await;
}
