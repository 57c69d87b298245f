use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use serde_json::Value;

use super::*;
use crate::jetstream::{Burst, Scenario};
use crate::timeline::Rate;

const EVENTS: u64 = 100_000;

fn config() -> JetstreamConfig {
    JetstreamConfig { start: Some("2026-07-04T14:38:00Z".parse().unwrap()), ..JetstreamConfig::default() }
}

fn script(mix: Mix) -> Script {
    Script::new(&config(), mix).unwrap()
}

fn events(script: &Script, count: u64) -> impl Iterator<Item = (u64, Event)> {
    let start = script.timeline().start();
    (start..start + count).map(|n| (n, script.event(n)))
}

fn json(event: &Event) -> Value {
    serde_json::from_str(&event.frame).unwrap_or_else(|error| panic!("{error}: {}", event.frame))
}

/// Asserts that `count` is within five standard deviations of `share` of `of`.
fn check_share(count: usize, of: usize, share: f64) {
    let expected = share * of as f64;
    let deviation = (expected * (1.0 - share)).sqrt();
    assert!((count as f64 - expected).abs() <= 5.0 * deviation, "{count} of {of}, expected {expected}");
}

#[test]
fn the_same_config_makes_the_same_events() {
    for mix in [Mix::Network, Mix::Posts] {
        let (one, other) = (script(mix), script(mix));
        for (n, event) in events(&one, 2_000) {
            assert_eq!(event, other.event(n));
        }
        let reseeded = Script::new(&JetstreamConfig { seed: 2, ..config() }, mix).unwrap();
        let start = one.timeline().start();
        assert_ne!(one.event(start).frame, reseeded.event(start).frame);
    }
}

#[test]
fn every_frame_has_the_fields_of_its_kind() {
    let text =
        |value: &Value| value.as_str().map(str::to_owned).unwrap_or_else(|| panic!("no text: {value}"));
    for mix in [Mix::Network, Mix::Posts] {
        for (_, event) in events(&script(mix), EVENTS / 4) {
            let frame = json(&event);
            let did = text(&frame["did"]);
            assert!(did.starts_with("did:plc:") && did.len() == 32, "{did}");
            assert!(frame["time_us"].as_i64().unwrap() > 1_700_000_000_000_000);
            assert_eq!(frame.get("cursor"), None, "absent, as on the servers with the older code");
            let Some(collection) = event.kind.collection() else {
                let kind = text(&frame["kind"]);
                let body = &frame[&kind];
                assert_eq!(body["did"], frame["did"]);
                assert!(body["seq"].is_u64());
                body["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
                if event.kind == EventKind::Account {
                    assert_eq!(body["active"].as_bool().unwrap(), body.get("status").is_none());
                }
                continue;
            };
            assert_eq!(frame["kind"], "commit");
            let commit = &frame["commit"];
            assert_eq!(commit["collection"], collection);
            assert_eq!(text(&commit["rkey"]).len(), 13);
            assert_eq!(text(&commit["rev"]).len(), 13);
            if commit["operation"] == "delete" {
                assert_eq!((commit.get("record"), commit.get("cid")), (None, None));
                continue;
            }
            assert_eq!(commit["record"]["$type"], collection);
            assert_eq!(text(&commit["cid"]).len(), 59);
            text(&commit["record"]["createdAt"]).parse::<jiff::Timestamp>().unwrap();
            assert!(event.frame.find("\"record\":").unwrap() < event.frame.rfind("\"cid\":").unwrap());
            if collection == POST {
                text(&commit["record"]["text"]);
            }
        }
    }
}

#[test]
fn support_posts_are_what_the_frames_say() {
    let script = script(Mix::Posts);
    let start = script.timeline().start();
    let mut seen = HashMap::new();
    let mut replies = 0;
    for (n, event) in events(&script, EVENTS) {
        let frame = json(&event);
        let commit = &frame["commit"];
        let id = format!(
            "at://{}/{POST}/{}",
            frame["did"].as_str().unwrap(),
            commit["rkey"].as_str().unwrap_or("")
        );
        match (event.kind, &event.support) {
            (EventKind::Support, Some(post)) => {
                assert_eq!((&post.id, commit["operation"].as_str()), (&id, Some("create")));
                assert_eq!(commit["record"]["text"], post.text);
                assert_eq!(commit["record"]["langs"], serde_json::json!([post.lang]));
                assert_eq!(seen.insert(id, (n, post.clone(), commit.clone())), None, "fresh");
            }
            (EventKind::Repeat { of }, Some(post)) => {
                if of >= start {
                    let (n, first, first_commit) = &seen[&id];
                    assert_eq!((n, first, first_commit), (&of, post, commit));
                }
            }
            (EventKind::Edit { of }, Some(post)) => {
                assert_eq!((&post.id, commit["operation"].as_str()), (&id, Some("update")));
                assert_eq!(commit["record"]["text"], post.text);
                if of >= start {
                    let (n, first, first_commit) = &seen[&id];
                    assert!(*n == of && post.text.starts_with(&first.text) && post.text != first.text);
                    assert_eq!(commit["record"]["createdAt"], first_commit["record"]["createdAt"]);
                    assert_ne!(commit["cid"], first_commit["cid"]);
                }
            }
            (EventKind::Withdrawal { of }, None) => {
                assert_eq!(commit["operation"], "delete");
                if of >= start {
                    assert_eq!(seen[&id].0, of);
                }
            }
            (EventKind::Reply { of }, None) => {
                let parent = commit["record"]["reply"]["parent"]["uri"].as_str().unwrap();
                let text = commit["record"]["text"].as_str().unwrap().to_lowercase();
                assert!(!text.contains("lumio"), "{text}");
                assert!(
                    parent.starts_with(&format!("at://{}/", frame["did"].as_str().unwrap())),
                    "to oneself"
                );
                if of >= start {
                    assert_eq!(seen[parent].0, of);
                    replies += 1;
                }
            }
            (_, support) => assert_eq!(*support, None),
        }
    }
    assert!(replies > 0, "nobody answers");
}

#[test]
fn shares_are_as_configured() {
    let kinds = |script: &Script| {
        let start = script.timeline().start();
        (start..start + EVENTS).map(|n| script.kind(n)).collect::<Vec<_>>()
    };
    let count =
        |kinds: &[EventKind], test: &dyn Fn(EventKind) -> bool| kinds.iter().filter(|k| test(**k)).count();
    let support = |kind| kind == EventKind::Support;
    let first_hand = |kind: EventKind| {
        kind.creates_post() && !matches!(kind, EventKind::Repeat { .. } | EventKind::Reply { .. })
    };
    for (share, confusing) in [(0.01, 0.005), (0.2, 0.1), (0.0, 0.0), (1.0, 0.0)] {
        let config = JetstreamConfig { share, confusing, ..config() };
        for mix in [Mix::Posts, Mix::Network] {
            let kinds = kinds(&Script::new(&config, mix).unwrap());
            let posts = count(&kinds, &first_hand);
            check_share(count(&kinds, &support), posts, share);
            check_share(count(&kinds, &|kind| kind == EventKind::Confusing), posts, confusing);
        }
    }
    let network = kinds(&script(Mix::Network));
    check_share(count(&network, &|kind| kind == EventKind::Like), network.len(), 707.0 / 1_024.0);
    check_share(count(&network, &first_hand), network.len(), 115.0 / 1_024.0);

    let posts = kinds(&script(Mix::Posts));
    let all = count(&posts, &support);
    for (least, most, test) in [
        (0.02, 0.09, &(|kind| matches!(kind, EventKind::Withdrawal { .. })) as &dyn Fn(EventKind) -> bool),
        (0.01, 0.07, &|kind| matches!(kind, EventKind::Edit { .. })),
        (0.01, 0.07, &|kind| matches!(kind, EventKind::Repeat { .. })),
        (0.02, 0.09, &|kind| matches!(kind, EventKind::Reply { .. })),
    ] {
        let share = count(&posts, test) as f64 / all as f64;
        assert!((least..most).contains(&share), "{share} of {all} support posts");
    }
}

#[test]
fn no_support_post_is_followed_up_twice_or_from_its_future() {
    let script = Script::new(&JetstreamConfig { share: 0.3, ..config() }, Mix::Posts).unwrap();
    let start = script.timeline().start();
    let mut followed = HashSet::new();
    for n in start..start + EVENTS {
        if let EventKind::Edit { of }
        | EventKind::Repeat { of }
        | EventKind::Reply { of }
        | EventKind::Withdrawal { of } = script.kind(n)
        {
            assert_eq!(script.kind(of), EventKind::Support);
            assert!(of < n && followed.insert(of), "{of} at {n}");
        }
    }
    assert!(!followed.is_empty());
}

#[test]
fn time_goes_backwards_but_never_more_than_stated() {
    let times = |jitter_ms| {
        let script = Script::new(&JetstreamConfig { jitter_ms, ..config() }, Mix::Posts).unwrap();
        let start = script.timeline().start();
        (start..start + 10_000)
            .map(|n| (script.time_us(n), script.timeline().nominal_us(n)))
            .collect::<Vec<_>>()
    };
    let jittered = times(31);
    assert!(jittered.iter().all(|(time, nominal)| (0..=31_000).contains(&(nominal - time))));
    check_share(jittered.iter().filter(|(time, nominal)| time < nominal).count(), jittered.len(), 0.25);
    assert!(jittered.windows(2).filter(|pair| pair[1].0 < pair[0].0).count() > 2_000);
    assert!(times(0).iter().all(|(time, nominal)| time == nominal));
}

#[test]
fn one_author_writes_several_posts() {
    let script = script(Mix::Posts);
    let mut posts: HashMap<String, usize> = HashMap::new();
    for (n, event) in events(&script, 20_000) {
        if event.kind.creates_post() {
            *posts.entry(script.did(n, event.kind).as_str().to_owned()).or_default() += 1;
        }
    }
    assert!(posts.len() > 5_000, "{} authors", posts.len());
    let most = *posts.values().max().unwrap();
    assert!((20..200).contains(&most), "{most} posts by one author of {}", posts.len());
}

#[test]
fn an_outage_multiplies_the_problems_of_one_city() {
    let config = JetstreamConfig { scenario: Scenario::Outage, ..config() };
    let script = Script::new(&config, Mix::Posts).unwrap();
    let outage = script.plot.any_incident().cloned().unwrap();
    let start = script.timeline().start();
    assert_eq!(outage.events, start + 10_000..start + 50_000, "from 5 s on, for 20 s, at 2,000 events/s");
    let support = |range: Range<u64>| {
        let posts: Vec<SupportPost> = range
            .filter(|n| script.kind(*n) == EventKind::Support)
            .map(|n| script.support_post(n, false))
            .collect();
        posts
    };
    let (calm, during) = (support(start..start + 10_000), support(start + 10_000..start + 20_000));
    assert!(during.len() > 6 * calm.len(), "{} and {}", calm.len(), during.len());
    assert!(during.iter().all(|post| post.intent == "problem" && post.text.contains(&outage.city)));
    assert!(calm.iter().any(|post| post.intent != "problem"));
}

#[test]
fn a_quiet_network_has_a_tenth_of_the_mentions() {
    let config = JetstreamConfig { scenario: Scenario::Quiet, ..config() };
    let script = Script::new(&config, Mix::Posts).unwrap();
    let start = script.timeline().start();
    let support = (start..start + EVENTS).filter(|n| script.kind(*n) == EventKind::Support).count();
    check_share(support, 97_600, 0.001);
}

#[test]
fn the_stream_is_its_own_history_whatever_the_start() {
    let later = JetstreamConfig { start: Some("2026-07-04T14:39:00Z".parse().unwrap()), ..config() };
    let (early, late) = (script(Mix::Posts), Script::new(&later, Mix::Posts).unwrap());
    let n = late.timeline().start() + 5;
    assert_eq!(early.event(n), late.event(n));
}

#[test]
fn a_post_says_which_event_made_it() {
    for rate in [Rate::Max, Rate::PerSecond(NonZeroU32::new(7_919).unwrap())] {
        let script = Script::new(&JetstreamConfig { rate, share: 0.1, ..config() }, Mix::Posts).unwrap();
        let mut known = 0;
        for (n, event) in events(&script, 20_000) {
            let frame = json(&event);
            let (did, commit) = (frame["did"].as_str().unwrap(), &frame["commit"]);
            let Some(rkey) = commit["rkey"].as_str() else { continue };
            let made = match event.kind {
                EventKind::Deletion => None,
                EventKind::Edit { of } | EventKind::Repeat { of } | EventKind::Withdrawal { of } => {
                    (of >= script.timeline().start()).then_some(of)
                }
                _ => Some(n),
            };
            assert_eq!(script.index_of(&format!("at://{did}/{POST}/{rkey}")), made, "{:?}", event.kind);
            known += usize::from(made.is_some());
            for wrong in [
                format!("at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/{POST}/{rkey}"),
                format!("at://{did}/app.bsky.feed.like/{rkey}"),
                format!("at://{did}/{POST}/{rkey}2"),
                format!("at://{did}/{POST}/2{}", &rkey[1..]),
            ] {
                assert_eq!(script.index_of(&wrong), None, "{wrong}");
            }
        }
        assert!(known > 19_000);
    }
}

#[test]
fn background_posts_are_as_long_as_real_ones_and_none_names_the_brand() {
    let script = script(Mix::Posts);
    let samples = script.background_samples();
    assert!(samples.iter().all(|frame| !frame.to_lowercase().contains("lumio")));
    // What stands between the identifiers and times, which are an event's own.
    let record = |frame: &str| {
        let (start, end) = (frame.find("\"createdAt\"").unwrap() + 40, frame.rfind(",\"cid\"").unwrap());
        frame[start..end].to_owned()
    };
    let records: HashSet<String> = samples.iter().map(|frame| record(frame)).collect();
    assert!(records.len() > 800, "{} records", records.len());
    let (mut bytes, mut seen) = (0, 0);
    for (n, event) in events(&script, 20_000).filter(|(_, event)| event.kind == EventKind::Background) {
        assert!(records.contains(&record(&event.frame)), "{n}: {}", event.frame);
        bytes += event.frame.len();
        seen += 1;
    }
    let average = bytes / seen;
    assert!((520..600).contains(&average), "{average} bytes");
}

#[test]
fn mentions_are_the_events_that_are_about_the_brand() {
    let script = script(Mix::Network);
    let start = script.timeline().start();
    let expected: Vec<(u64, Event)> =
        events(&script, EVENTS).filter(|(_, event)| event.kind.is_mention()).collect();
    let named = |event: &Event| event.frame.to_lowercase().contains("lumio");
    for (n, event) in events(&script, EVENTS) {
        let unnamed = matches!(event.kind, EventKind::Withdrawal { .. } | EventKind::Reply { .. });
        assert_eq!(named(&event) || unnamed, event.kind.is_mention(), "{n}: {}", event.frame);
    }
    assert!(script.mentions(start..start + EVENTS).collect::<Vec<_>>() == expected);
}

#[test]
fn a_burst_rises_from_nearly_nothing_to_its_peak() {
    let burst = Burst { after: std::time::Duration::from_secs(1), ..Burst::default() };
    let rate = Rate::PerSecond(NonZeroU32::new(8_000).unwrap());
    let config = JetstreamConfig { rate, scenario: Scenario::Burst(burst), ..config() };
    let script = Script::new(&config, Mix::Posts).unwrap();
    let start = script.timeline().start();
    let reports = |second: u64| -> Vec<SupportPost> {
        let range = start + second * 8_000..start + (second + 1) * 8_000;
        script
            .mentions(range)
            .filter(|(_, event)| event.kind == EventKind::Support)
            .filter_map(|(_, e)| e.support)
            .collect()
    };
    assert!(reports(0).len() <= 3);
    for (second, expected) in [(3, 500_usize), (8, 1_500), (12, 2_000), (20, 2_000)] {
        let reports = reports(second);
        assert!(reports.len().abs_diff(expected) < 250, "{} in second {second}", reports.len());
        let authors: HashSet<&str> = reports.iter().map(|post| &post.id[5..37]).collect();
        assert_eq!(authors.len(), reports.len());
        assert!(reports.iter().filter(|post| post.intent == "problem").count() * 2 > reports.len());
    }
    assert!(reports(21).len() <= 3, "quiet again");
    let wrong = JetstreamConfig { rate: Rate::Max, ..config.clone() };
    assert!(Script::new(&wrong, Mix::Posts).unwrap_err().to_string().contains("needs a rate"));
    let wrong = JetstreamConfig { rate: Rate::PerSecond(NonZeroU32::new(1_000).unwrap()), ..config };
    assert!(Script::new(&wrong, Mix::Posts).unwrap_err().to_string().contains("peak share"));
}

#[test]
fn a_wrong_share_is_named() {
    for (share, confusing, expected) in [
        (1.5, 0.0, "share = 1.5: must be 0 to 1"),
        (0.0, f64::NAN, "confusing = NaN: must be 0 to 1"),
        (0.6, 0.6, "more than 1 together"),
    ] {
        let config = JetstreamConfig { share, confusing, ..config() };
        let error = Script::new(&config, Mix::Posts).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn recorded_posts_are_served_with_fresh_identifiers() {
    let streams = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/streams");
    let file = streams.join("jetstream_reenveloped.jsonl");
    if !file.exists() {
        println!("{} is absent: nothing to check", file.display());
        return;
    }
    let config =
        JetstreamConfig { share: 0.0, confusing: 0.0, rate: Rate::Max, streams: vec![file], ..config() };
    let script = Script::new(&config, Mix::Posts).unwrap();
    let mut texts = HashSet::new();
    for (_, event) in events(&script, 2_000).filter(|(_, event)| event.kind == EventKind::Background) {
        let frame = json(&event);
        assert!(frame["commit"]["record"]["createdAt"].as_str().unwrap().starts_with("2026-07-04T14:3"));
        texts.insert(frame["commit"]["record"]["text"].to_string());
    }
    assert!(texts.len() > 1_000, "{} texts", texts.len());
}
