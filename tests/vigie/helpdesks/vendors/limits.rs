//! What answers say of the calls that are left: each preset that knows such headers goes by them.

use std::sync::Arc;
use std::time::Duration;

use firehose::helpdesk::{Quota as Granted, Vendor};
use serde_json::json;
use vigie::bridge::helpdesk::Helpdesk;
use vigie::bridge::http::Http;
use vigie::bridge::pace::{Pace, Quota};
use vigie::bridge::preset::BUILT_IN;

use super::super::{also, built_in, reference, values};
use super::Desk;
use super::hosted::{freshdesk, jira, zendesk};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// Where the vendor says it, and how.
struct Said {
    remaining: &'static str,
    reset: Option<&'static str>,
    reset_as: fn(Duration) -> String,
}

/// Makes one call of a helpdesk that grants so many an hour: how long it waits then, if it does. A fifth of the hundred
/// that the operator has promised is its agents'.
async fn waits<V: Vendor>(desk: &Desk<V>, calls: u32, said: &Said) -> Option<Duration> {
    let granted = Granted {
        remaining_header: Some(said.remaining),
        reset_header: said.reset,
        reset_as: said.reset_as,
        ..Granted::new(calls, HOUR)
    };
    desk.fake.set_quota(Some(granted));
    let preset = built_in(desk.kind);
    let limits = preset.calls.limits.clone();
    assert!(limits.is_some(), "{}: no such headers", desk.kind);
    let quota = Quota { calls_per_minute: 100, headroom_percent: 20, limits, ..Quota::default() };
    let pace = Arc::new(Pace::of(quota));
    let http = Http::new(&desk.fake.url(), None, MINUTE);
    let vigie = Helpdesk::new(preset, http, pace.clone(), "secret", desk.options.as_object().unwrap());
    assert_eq!(vigie.probe(0, None).await, Ok(Ok(())), "{}", desk.kind);
    pace.standing().paused_for
}

/// `until`: how long it takes until there are more, as far as the vendor says.
async fn heeds<V: Vendor>(desk: Desk<V>, said: &Said, until: Duration) {
    let is_until = |wait: Duration| wait <= until && wait + MINUTE / 2 >= until;
    // None are left, or just those of the agents.
    for calls in [1, 21] {
        let wait = waits(&desk, calls, said).await;
        assert!(wait.is_some_and(is_until), "{} of {calls}: {wait:?}", desk.kind);
    }
    assert_eq!(waits(&desk, 22, said).await, None, "{}: one is left", desk.kind);
    // Without the headers nothing is known of it.
    assert_eq!(waits(&desk, 1, &Said { remaining: "x-other", ..*said }).await, None, "{}", desk.kind);
}

#[tokio::test]
async fn the_calls_that_are_left_are_heeded_as_each_vendor_says_them() {
    let seconds: fn(Duration) -> String = |wait| wait.as_secs().to_string();
    let said = Said { remaining: "ratelimit-remaining", reset: Some("ratelimit-reset"), reset_as: seconds };
    heeds(zendesk().await, &said, HOUR).await;
    // Freshdesk does not say until when: a minute.
    let said = Said { remaining: "x-ratelimit-remaining", reset: None, reset_as: seconds };
    heeds(freshdesk().await, &said, MINUTE).await;
    let time: fn(Duration) -> String = |wait| (jiff::Timestamp::now() + wait).to_string();
    let said = Said { remaining: "x-ratelimit-remaining", reset: Some("x-ratelimit-reset"), reset_as: time };
    heeds(jira().await, &said, HOUR).await;
}

/// Zendesk takes thirty changes of one ticket in ten minutes and ten listings in one, and says how many calls are left beside.
#[tokio::test]
async fn zendesks_limits_of_one_ticket_and_of_listings_are_not_the_accounts() {
    let desk = zendesk().await;
    desk.fake.with(|zendesk| (zendesk.updates_max, zendesk.listings_max) = (30, 10));
    let grant = |calls| {
        let remaining_header = Some("ratelimit-remaining");
        desk.fake.set_quota(Some(Granted { remaining_header, ..Granted::new(calls, HOUR) }));
    };
    grant(1_000_000);
    let preset = built_in("zendesk");
    let limits = preset.calls.limits.clone();
    let apart = preset.calls.changed.as_ref().unwrap().interval_min_ms;
    assert!(apart * 10 >= 60_000, "ten listings a minute are what there may be: {apart} ms");
    let pace = Arc::new(Pace::of(Quota { calls_per_minute: 6_000, limits, ..Quota::default() }));
    let http = Http::new(&desk.fake.url(), None, MINUTE);
    let vigie = Helpdesk::new(preset, http, pace.clone(), "secret", desk.options.as_object().unwrap());
    let (case, ticket) = desk.make(0).await;
    let note = also(&ticket, json!({ "note": "a follower wrote" }));
    for _ in 0..30 {
        vigie.note(&case, &note).await.unwrap();
    }
    let error = vigie.note(&case, &note).await.unwrap_err();
    assert!(error.is_limit_of_one() && error.wait() > Some(MINUTE * 9), "{error:?}");
    let now = jiff::Timestamp::now();
    for _ in 0..10 {
        vigie.changed(None, now).await.unwrap().unwrap();
    }
    assert!(vigie.changed(None, now).await.unwrap_err().is_limit_of_one());
    let standing = pace.standing();
    assert_eq!((standing.calls_per_minute, standing.limited, standing.paused_for), (4_800, 0, None));
    let another = values(&vigie, &reference(), 0);
    let at_once = tokio::time::timeout(MINUTE / 2, vigie.create(&another));
    at_once.await.expect("others are taken").unwrap();
    // None is left to the account: everybody waits.
    grant(0);
    let error = vigie.probe(0, None).await.unwrap_err();
    assert!(!error.is_limit_of_one() && pace.standing().paused_for > Some(MINUTE), "{error:?}");
}

/// Whoever adds headers to a preset adds it above.
#[test]
fn every_preset_with_such_headers_is_tried() {
    let with_limits = BUILT_IN.iter().filter(|(kind, _)| built_in(kind).calls.limits.is_some());
    let kinds: Vec<&str> = with_limits.map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["zendesk", "freshdesk", "jira"]);
}
