//! What customers say of it: how content they are, where the helpdesk asks them, and how likely they are to recommend the
//! company, where the operator has a field for it.

use firehose::helpdesk::Vendor;
use serde_json::{Value, json};
use vigie::bridge::helpdesk::Case;
use vigie::ticket::proto::ticket_status::State;

use super::super::read;
use super::Desk;
use super::hosted::{freshdesk, jira, zendesk};
use super::own::{chatwoot, glpi, zammad};

/// The customer has answered, as the helpdesk's field holds it; who has no such option reads none.
async fn reads<V: Vendor>(desk: Desk<V>, option: &str, given: impl Fn(Value) -> Value) {
    let (case, _) = desk.make(0).await;
    let asking = desk.other("secret", json!({ "recommendation": option }));
    assert_eq!(read(&asking, &case).await.recommendation, None, "{}: not answered", desk.kind);
    for (there, expected) in
        [(json!(9), Some(9)), (json!("0"), Some(0)), (json!(null), None), (json!("much"), None)]
    {
        desk.agent(&case, given(there.clone()));
        let standing = read(&asking, &case).await;
        assert_eq!(standing.recommendation, expected, "{}: {there}", desk.kind);
        assert_eq!(!standing.misread.is_empty(), there == json!("much"), "{}: {there}", desk.kind);
        assert_eq!(read(&desk.vigie, &case).await.recommendation, None, "{}: nobody asks", desk.kind);
    }
}

#[tokio::test]
async fn what_customers_answer_is_read_where_there_is_a_field_for_it() {
    reads(zammad().await, "nps", |given| json!({ "nps": given })).await;
    reads(chatwoot().await, "nps", |given| json!({ "custom_attributes": { "nps": given } })).await;
    reads(
        zendesk().await,
        "360",
        |given| json!({ "custom_fields": [{ "id": 1, "value": 5 }, { "id": 360, "value": given }] }),
    )
    .await;
    reads(freshdesk().await, "cf_nps", |given| json!({ "custom_fields": { "cf_nps": given } })).await;
    let status = json!({ "name": "Open", "statusCategory": { "key": "new" } });
    let desk = jira().await;
    reads(desk, "10060", |given| json!({ "fields": { "customfield_10060": given, "status": status } })).await;
}

/// Jira gives the fields that it is asked for and no others.
#[tokio::test]
async fn jira_is_asked_for_the_field() {
    let desk = jira().await;
    let (case, _) = desk.make(0).await;
    let asked = || {
        let log = desk.fake.log();
        let fields = |call: &firehose::helpdesk::Called| call.request.query("fields").map(str::to_owned);
        log.calls.iter().rev().find_map(fields).unwrap()
    };
    read(&desk.vigie, &case).await;
    assert_eq!(asked(), "status,assignee,summary,priority");
    read(&desk.other("secret", json!({ "recommendation": 10060 })), &case).await;
    assert_eq!(asked(), "status,assignee,summary,priority,customfield_10060");
}

/// Each rating as it is given, and as it is read; none before, none of an open ticket, and what is none is said and loses
/// nothing else.
async fn rated<V: Vendor>(
    desk: &Desk<V>,
    ended: Value,
    rate: impl Fn(&mut V, &Case, &Value),
    ratings: &[(Value, u32)],
) {
    let (case, _) = desk.make(0).await;
    let read_counted = async || {
        let (before, mut counted) = (desk.fake.counts().1, 0);
        let standing = desk.vigie.read_counting(&case, &mut counted).await.unwrap().unwrap();
        let calls = desk.fake.counts().1 - before;
        assert_eq!(calls, counted as usize, "{}: so much of our share of the calls is used up", desk.kind);
        (standing, calls)
    };
    let (standing, calls_open) = read_counted().await;
    assert_eq!(standing.satisfaction, None, "{}: open", desk.kind);
    desk.agent(&case, ended);
    let (standing, calls_ended) = read_counted().await;
    assert_eq!((standing.satisfaction, standing.misread), (None, Vec::new()), "{}: not rated", desk.kind);
    assert_eq!(calls_ended, calls_open + 1, "{}: who has not ended is not asked for", desk.kind);
    for (given, expected) in ratings {
        desk.fake.with(|vendor| rate(vendor, &case, given));
        let standing = read(&desk.vigie, &case).await;
        assert_eq!((standing.satisfaction, standing.misread), (Some(*expected), Vec::new()), "{given}");
    }
    for wrong in [json!("great"), json!(99), json!(4.5), json!(["x"])] {
        desk.fake.with(|vendor| rate(vendor, &case, &wrong));
        let standing = read(&desk.vigie, &case).await;
        assert_eq!(
            (standing.state, standing.satisfaction),
            (Some(State::Solved), None),
            "{}: {wrong}",
            desk.kind
        );
        assert_eq!(standing.misread.len(), 1, "{}: {wrong} {:?}", desk.kind, standing.misread);
        assert_eq!(standing.misread[0].0, "satisfaction");
    }
}

/// It is read all the same, without a rating.
async fn is_read_without<V: Vendor>(desk: &Desk<V>, ended: Value, hide: impl Fn(&mut V)) {
    let (case, _) = desk.make(0).await;
    desk.agent(&case, ended);
    desk.fake.with(hide);
    let standing = read(&desk.vigie, &case).await;
    assert_eq!((standing.state, standing.satisfaction), (Some(State::Solved), None), "{}", desk.kind);
}

#[tokio::test]
async fn how_content_customers_are_is_read_where_the_helpdesk_asks_them() {
    let given = |ratings: &[(i64, u32)]| -> Vec<(Value, u32)> {
        ratings.iter().map(|(given, expected)| (json!(given), *expected)).collect()
    };
    let one_to_five = given(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);

    let desk = freshdesk().await;
    let ended = json!({ "status": 4 });
    let degrees = given(&[(103, 5), (102, 4), (101, 4), (100, 3), (-101, 2), (-102, 2), (-103, 1)]);
    rated(&desk, ended.clone(), |freshdesk, case, given| freshdesk.rate(&case.id, given), &degrees).await;
    is_read_without(&desk, ended, |freshdesk| freshdesk.has_surveys = false).await;

    let desk = chatwoot().await;
    let ended = json!({ "status": "resolved" });
    let rate = |chatwoot: &mut firehose::helpdesk::Chatwoot, case: &Case, given: &Value| {
        chatwoot.survey(&case.id);
        chatwoot.rate(&case.id, given);
    };
    rated(&desk, ended.clone(), rate, &one_to_five).await;
    let (case, _) = desk.make(0).await;
    desk.agent(&case, ended);
    desk.fake.with(|chatwoot| chatwoot.survey(&case.id));
    let standing = read(&desk.vigie, &case).await;
    assert_eq!((standing.satisfaction, standing.misread), (None, Vec::new()), "asked and not answered");

    let desk = jira().await;
    let status = json!({ "name": "Done", "statusCategory": { "key": "done" } });
    let ended = json!({ "fields": { "status": status } });
    let rate = |jira: &mut firehose::helpdesk::Jira, case: &Case, given: &Value| {
        jira.issue(&case.id).unwrap()["_rating"] = given.clone();
    };
    rated(&desk, ended.clone(), rate, &one_to_five).await;
    is_read_without(&desk, ended, |jira| jira.shows_feedback = false).await;

    let desk = zendesk().await;
    let ended = json!({ "status": "solved" });
    rated(&desk, ended.clone(), |zendesk, case, given| zendesk.rate(&case.id, given), &one_to_five).await;
    is_read_without(&desk, ended, |zendesk| zendesk.has_surveys = false).await;
}

#[tokio::test]
async fn glpis_stars_are_read_of_what_is_closed() {
    let desk = glpi().await;
    let (case, _) = desk.make(0).await;
    let surveyed = async |survey: Value| {
        desk.agent(&case, json!({ "status": 6, "_survey": survey }));
        let standing = read(&desk.vigie, &case).await;
        assert_eq!(standing.state, Some(State::Closed));
        (standing.satisfaction, standing.misread.first().map(|(_, value)| value.clone()))
    };
    assert_eq!(surveyed(json!(null)).await, (None, None));
    assert_eq!(surveyed(json!({ "satisfaction": null, "date_answered": null })).await, (None, None));
    for (stars, expected) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)] {
        assert_eq!(
            surveyed(json!({ "satisfaction": stars })).await,
            (Some(expected), None),
            "GLPI 10: {stars}"
        );
    }
    // Of ten, since GLPI 11; what was given before it has not been reckoned down.
    for (stars, scaled, expected) in
        [(10, json!(5.0), 5), (7, json!(3.5), 4), (0, json!(0), 1), (4, json!(null), 4)]
    {
        let survey = json!({ "satisfaction": stars, "satisfaction_scaled_to_5": scaled });
        assert_eq!(surveyed(survey).await, (Some(expected), None), "GLPI 11: {stars}");
    }
    assert_eq!(surveyed(json!({ "satisfaction": "great" })).await, (None, Some("great".to_owned())));
    assert_eq!(surveyed(json!({ "satisfaction": 9 })).await, (None, Some("9".to_owned())));
    desk.fake.with(|glpi| glpi.shows_surveys = false);
    assert_eq!(surveyed(json!({ "satisfaction": 5 })).await, (None, None));
}

#[tokio::test]
async fn what_zendesk_has_only_asked_is_no_rating_and_what_it_never_says_is_told() {
    let desk = zendesk().await;
    let (case, _) = desk.make(0).await;
    for (score, expected, is_misread) in [
        (json!("offered"), None, false),
        (json!("unoffered"), None, false),
        (json!(null), None, false),
        (json!("good"), Some(5), false),
        (json!("bad"), Some(1), false),
        (json!("superb"), None, true),
    ] {
        desk.fake
            .with(|zendesk| zendesk.change(&case.id, &json!({ "satisfaction_rating": { "score": score } })));
        let standing = read(&desk.vigie, &case).await;
        assert_eq!((standing.satisfaction, !standing.misread.is_empty()), (expected, is_misread), "{score}");
        let listed = desk.vigie.changed(Some("0"), jiff::Timestamp::now()).await.unwrap().unwrap();
        // One that has been rated is read: the survey may say more.
        let Some(listed) = listed.cases[0].1.clone() else {
            assert!(expected.is_some(), "{score}");
            continue;
        };
        assert_eq!((listed.satisfaction, !listed.misread.is_empty()), (None, is_misread), "{score}");
    }
}

/// Since surveys a ticket's own rating is what Zendesk makes of the survey's: of five 4 and 5 are good, the others bad.
#[tokio::test]
async fn zendesks_list_does_not_contradict_the_survey() {
    let desk = zendesk().await;
    let (case, _) = desk.make(0).await;
    desk.agent(&case, json!({ "status": "solved" }));
    for rating in 1..=5 {
        desk.fake.with(|zendesk| zendesk.rate(&case.id, &json!(rating)));
        assert_eq!(read(&desk.vigie, &case).await.satisfaction, Some(rating));
        let (mut cursor, mut listed) = ("0".to_owned(), None);
        loop {
            let page = desk.vigie.changed(Some(&cursor), jiff::Timestamp::now()).await.unwrap().unwrap();
            listed = page.cases.into_iter().next_back().or(listed);
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        // It is read, then.
        assert_eq!(listed, Some((case.id.clone(), None)), "{rating}");
    }
}

#[tokio::test]
async fn the_best_of_two_or_three_choices_in_zendesk_is_five() {
    let desk = zendesk().await;
    for (rating, choices, expected) in [(2, 2, 5), (1, 2, 1), (3, 3, 5), (2, 3, 3), (1, 3, 1)] {
        let (case, _) = desk.make(0).await;
        desk.agent(&case, json!({ "status": "solved" }));
        desk.fake.with(|zendesk| zendesk.rate_of(&case.id, &json!(rating), choices));
        assert_eq!(read(&desk.vigie, &case).await.satisfaction, Some(expected), "{rating} of {choices}");
    }
    // Where it does not say of how many, good or bad is all that is known.
    let (case, _) = desk.make(0).await;
    for (category, expected) in [("good", 5), ("bad", 1)] {
        let question = json!({ "sub_type": "customer_satisfaction" });
        let answer =
            json!({ "type": "rating_scale", "rating": 2, "rating_category": category, "question": question });
        desk.agent(&case, json!({ "status": "solved", "_surveys": [{ "answers": [answer] }] }));
        assert_eq!(read(&desk.vigie, &case).await.satisfaction, Some(expected));
    }
}
