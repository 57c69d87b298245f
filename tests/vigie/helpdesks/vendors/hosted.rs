//! Those that their makers run.

use std::time::Duration;

use firehose::helpdesk::{Fault, Faults, Freshdesk, Jira, Store, Zendesk};
use serde_json::json;
use vigie::bridge::helpdesk::Changes;
use vigie::bridge::http::CallError;
use vigie::bridge::text::SUBJECT_CHARS_MAX;
use vigie::ticket::proto::ticket_status::State;

use super::super::{advice, also, read, state, values};
use super::{Desk, refusal};

pub(super) async fn zendesk() -> Desk<Zendesk> {
    let options = json!({ "user": "agent@vigie.test" });
    let store: fn(&mut Zendesk) -> &mut Store = |zendesk| &mut zendesk.store;
    let desk = Desk::new(Zendesk::default(), "zendesk", options, "/api/v2/tickets.json", store).await;
    // No test waits for the limits of one ticket or of listings.
    desk.fake.with(|zendesk| (zendesk.updates_max, zendesk.listings_max) = (usize::MAX, usize::MAX));
    desk
}

#[tokio::test]
async fn zendesk_goes_round() {
    let desk = zendesk().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|ticket| ticket["priority"].clone()).await;
    let states =
        [("new", State::Open), ("open", State::Open), ("pending", State::Pending), ("hold", State::Pending)];
    let states = states.into_iter().chain([("solved", State::Solved), ("closed", State::Closed)]);
    desk.states(&states.map(|(name, state)| (json!({ "status": name }), state)).collect::<Vec<_>>()).await;
    assert_eq!(desk.fake.with(|zendesk| zendesk.mailed), 0);
}

#[tokio::test]
async fn zendesk_makes_one_ticket_of_one_key() {
    let desk = zendesk().await;
    let (case, ticket) = desk.make(0).await;
    assert_eq!(desk.vigie.create(&ticket).await.unwrap().id, case.id);
    assert_eq!(desk.fake.counts().0, 1);
    // With another text it is another call, which Zendesk refuses.
    let (error, _) = desk.vigie.create(&also(&ticket, json!({ "subject": "other" }))).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.is_of_one(), "{error:?}");
}

#[tokio::test]
async fn what_zendesks_agents_do_is_read_and_listed() {
    let desk = zendesk().await;
    let now = jiff::Timestamp::now();
    let (case, _) = desk.make(0).await;
    let replied = json!({ "assignee_id": 8, "metric_set": { "reply_time_in_minutes": { "calendar": 61 } },
        "satisfaction_rating": { "score": "good" }, "status": "solved" });
    desk.fake.with(|zendesk| zendesk.change(&case.id, &replied));
    let standing = read(&desk.vigie, &case).await;
    assert_eq!((standing.state, standing.agent.as_str()), (Some(State::Solved), "Ada Agent"));
    assert_eq!(standing.first_answer_at_us, Some((1_795_737_600 + 61 * 60) * 1_000_000));
    assert_eq!(standing.satisfaction, Some(5));
    desk.agent(&case, json!({ "satisfaction_rating": { "score": "bad" } }));
    assert_eq!(read(&desk.vigie, &case).await.satisfaction, Some(1));
    desk.agent(&case, json!({ "satisfaction_rating": { "score": "offered" } }));

    let (other, _) = desk.make(1).await;
    let first = desk.vigie.changed(None, now).await.unwrap().unwrap();
    let ids = |changes: &Changes| changes.cases.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first), first.more), (vec![case.id.clone()], true));
    // It says all that there is to know, while there is no rating.
    let listed = first.cases[0].1.clone().unwrap();
    assert_eq!((listed.state, listed.agent.as_str()), (Some(State::Solved), "Ada Agent"));
    assert_eq!((listed.first_answer_at_us, listed.satisfaction), (standing.first_answer_at_us, None));
    let started = desk
        .fake
        .log()
        .calls
        .iter()
        .rev()
        .find_map(|call| call.request.query("start_time").map(str::to_owned));
    assert_eq!(started, Some((now.as_second() - 120).to_string()));
    let second = desk.vigie.changed(Some(&first.cursor), now).await.unwrap().unwrap();
    assert_eq!((ids(&second), second.more), (vec![other.id], false));
    let third = desk.vigie.changed(Some(&second.cursor), now).await.unwrap().unwrap();
    assert_eq!((third.cases.len(), third.cursor), (0, second.cursor));

    desk.agent(&case, json!({ "status": "closed" }));
    let error = desk.vigie.reprioritise(&case, &values(&desk.vigie, "", 0)).await.unwrap_err();
    assert!(refusal(&error) == 422 && error.is_of_one(), "{error:?}");
}

pub(super) async fn freshdesk() -> Desk<Freshdesk> {
    let store: fn(&mut Freshdesk) -> &mut Store = |freshdesk| &mut freshdesk.store;
    Desk::new(Freshdesk::default(), "freshdesk", json!({}), "/api/v2/tickets", store).await
}

#[tokio::test]
async fn freshdesk_goes_round() {
    let desk = freshdesk().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|ticket| ticket["priority"].clone()).await;
    let states =
        [(2, State::Open), (3, State::Pending), (4, State::Solved), (5, State::Closed), (6, State::Pending)];
    desk.states(&states.map(|(number, state)| (json!({ "status": number }), state))).await;
    desk.states(&[(json!({ "spam": true }), State::Deleted)]).await;
    assert_eq!(desk.fake.with(|freshdesk| freshdesk.mailed), 0);
}

#[tokio::test]
async fn what_freshdesks_list_no_longer_shows_its_search_finds() {
    let desk = freshdesk().await;
    let (case, ticket) = desk.make(0).await;
    let reference = ticket["ref"].as_str().unwrap();
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![case.id.clone()]));
    let calls = desk.fake.counts().1;
    for _ in 0..100 {
        desk.make(3).await;
    }
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(Vec::new()));
    desk.fake.with(|freshdesk| freshdesk.lag = Duration::ZERO);
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![case.id]));
    assert_eq!(desk.fake.counts().1, calls + 100 + 4);
    // Before the search can know it, no other one is made: more than a hundred come within the time of one call.
    let lag = Duration::from_millis(desk.vigie.preset().calls.find.as_ref().unwrap().lag_max_ms);
    assert!(lag >= Freshdesk::default().lag, "{lag:?}");
}

#[tokio::test]
async fn freshdesk_lists_all_that_changed_in_the_same_second() {
    let desk = freshdesk().await;
    let now = jiff::Timestamp::now();
    let mut made = std::collections::BTreeSet::new();
    for _ in 0..250 {
        let (case, _) = desk.make(3).await;
        desk.agent(&case, json!({ "updated_at": "2100-02-01T00:00:00Z" }));
        made.insert(case.id);
    }
    let (mut cursor, mut listed) = (None, std::collections::BTreeSet::new());
    loop {
        let page = desk.vigie.changed(cursor.as_deref(), now).await.unwrap().unwrap();
        listed.extend(page.cases.iter().map(|(id, _)| id.clone()));
        let is_over = !page.more || cursor.as_ref() == Some(&page.cursor);
        cursor = Some(page.cursor);
        if is_over {
            break;
        }
    }
    assert_eq!(listed.len(), made.len());
    // What comes after it is listed, too, wherever the pages end now.
    assert_eq!(cursor.as_deref(), Some("2100-02-01T00:00:00Z"));
}

#[tokio::test]
async fn a_stranger_mentions_nobody_in_jira_and_runs_no_macro() {
    let desk = jira().await;
    let hostile = "[~accountid:ada] {html}x{html} !http://x.example/y.png! [us|http://x.example]";
    let ticket = also(&values(&desk.vigie, "r", 0), json!({ "body": hostile }));
    let case = desk.vigie.create(&ticket).await.unwrap();
    desk.vigie.note(&case, &also(&ticket, json!({ "note": hostile }))).await.unwrap();
    let kept = desk.kept(&case).to_string().replace("\\\\", "\\");
    for markup in ["[~", "{html", "!http", "[us|"] {
        let escaped = kept.matches(&format!("\\{markup}")).count();
        assert!(escaped >= 2 || markup == "[us|", "{markup} {kept}");
        assert_eq!(kept.matches(markup).count(), escaped, "{markup} {kept}");
    }
}

#[tokio::test]
async fn jira_takes_what_is_long_once_it_is_escaped() {
    let desk = jira().await;
    for hostile in ["\\".repeat(7_000), "\u{1f525}".repeat(20_000), "{!}".repeat(10_000)] {
        let ticket = also(&values(&desk.vigie, "r", 0), json!({ "body": hostile, "note": hostile }));
        let case = desk.vigie.create(&ticket).await.unwrap();
        desk.vigie.note(&case, &ticket).await.unwrap();
        desk.vigie.erase(&case, &ticket).await.unwrap();
    }
}

#[tokio::test]
async fn what_freshdesks_agents_do_is_read_and_listed() {
    let desk = freshdesk().await;
    let (case, _) = desk.make(0).await;
    let first = desk.vigie.changed(None, jiff::Timestamp::now()).await.unwrap().unwrap();
    assert_eq!((first.cases, first.more), (vec![(case.id.clone(), None)], false));
    let (other, _) = desk.make(0).await;
    let second = desk.vigie.changed(Some(&first.cursor), jiff::Timestamp::now()).await.unwrap().unwrap();
    // The last one that was seen is listed again: a second may hold more than one change.
    assert_eq!(second.cases, [(case.id.clone(), None), (other.id, None)]);
    let answered = json!({ "responder_id": 8, "stats": { "first_responded_at": "2026-11-27T01:00:00Z" } });
    desk.fake.with(|freshdesk| freshdesk.change(&case.id, &answered));
    let standing = read(&desk.vigie, &case).await;
    assert_eq!(
        (standing.agent.as_str(), standing.first_answer_at_us),
        ("Ada Agent", Some(1_795_741_200_000_000))
    );
    desk.agent(&case, json!({ "responder_id": 9 }));
    assert_eq!(read(&desk.vigie, &case).await.agent, "9");

    let unknown = desk.other("secret", json!({ "field": "cf_nothing" }));
    let (error, _) = unknown.create(&values(&unknown, "x", 0)).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.to_string().contains("cf_nothing"), "{error}");
}

pub(super) async fn jira() -> Desk<Jira> {
    let options = json!({ "user": "agent@vigie.test", "project": "SUP", "desk": 3, "request_type": 25, "field": 10050 });
    Desk::new(Jira::default(), "jira", options, "/rest/servicedeskapi/request", |jira| &mut jira.store).await
}

#[tokio::test]
async fn jira_goes_round() {
    let desk = jira().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|issue| issue["fields"]["priority"]["name"].clone()).await;
    let (case, _) = desk.make(0).await;
    assert_eq!(desk.kept(&case)["fields"]["labels"], json!(["vigie", "p1"]));
    let states = [
        ("Open", "new", State::Open),
        ("Work in progress", "indeterminate", State::Open),
        ("Waiting for customer", "indeterminate", State::Pending),
        ("Resolved", "done", State::Solved),
    ];
    for (name, category, expected) in states {
        desk.fake.with(|jira| jira.transition(&case.id, name, category));
        assert_eq!(state(&desk.vigie, &case).await, Some(expected), "{name}");
    }
    assert_eq!(desk.fake.with(|jira| jira.mailed), 0);
}

#[tokio::test]
async fn an_agent_who_does_not_administer_the_project_makes_and_erases_jiras_issues() {
    let desk = jira().await;
    for (is_admin, mails) in [(false, 1), (true, 0)] {
        desk.fake.with(|jira| jira.is_admin = is_admin);
        let (case, ticket) = desk.make(0).await;
        let fields = desk.kept(&case)["fields"].clone();
        assert_eq!((&fields["priority"]["name"], &fields["labels"][0]), (&desk.level(0), &json!("vigie")));
        // What Jira mails of a change has what was there before.
        desk.fake.with(|jira| jira.told = 0);
        let left = json!({ "subject": "erased", "body": "Taken back." });
        desk.vigie.erase(&case, &also(&ticket, left)).await.unwrap();
        assert!(!desk.kept(&case).to_string().contains("kaput"));
        assert_eq!(desk.fake.with(|jira| jira.told), mails, "{is_admin}");
    }
    // Another 403 is one.
    desk.fake.with(|jira| jira.is_admin = false);
    let (case, ticket) = desk.make(0).await;
    desk.fake.set_faults(Faults::choose(|request| {
        (request.method == "PUT").then_some(Fault::Status { status: 403, done: false })
    }));
    assert_eq!(refusal(&desk.vigie.erase(&case, &ticket).await.unwrap_err()), 403);
}

#[tokio::test]
async fn a_subject_of_nothing_but_emoji_is_taken_by_jira() {
    let desk = jira().await;
    let ticket =
        also(&values(&desk.vigie, "r", 0), json!({ "subject": "\u{1f525}".repeat(SUBJECT_CHARS_MAX) }));
    desk.vigie.create(&ticket).await.unwrap();
}

#[tokio::test]
async fn what_jiras_agents_do_is_read_and_its_limits_are_heard() {
    let desk = jira().await;
    let (case, _) = desk.make(0).await;
    assert_eq!(read(&desk.vigie, &case).await.first_answer_at_us, None);
    desk.fake.with(|jira| {
        let issue = jira.issue(&case.id).unwrap();
        issue["fields"]["assignee"] = json!({ "displayName": "Ada Agent" });
        issue["_answered"] = json!("2026-11-27T01:00:00+0000");
    });
    let standing = read(&desk.vigie, &case).await;
    assert_eq!(
        (standing.agent.as_str(), standing.first_answer_at_us),
        ("Ada Agent", Some(1_795_741_200_000_000))
    );

    let lost = desk.other("secret", json!({ "desk": 4 }));
    assert_eq!(refusal(&lost.create(&values(&lost, "x", 0)).await.unwrap_err().0), 404);
    let unknown = desk.other("secret", json!({ "field": 10051 }));
    let (error, _) = unknown.create(&values(&unknown, "x", 0)).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.to_string().contains("customfield_10051"), "{error}");
    assert!(advice(&unknown).await[0].contains("no field customfield_10051"));

    // Two calls more than one reading takes are one too many.
    desk.fake.with(|jira| jira.budget = Some(1));
    let limited = desk.vigie.read(&case).await.unwrap_err();
    assert_eq!(limited, CallError::Limited { status: 429, wait: Some(Duration::from_secs(7)), left: None });
}
