use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use serde_json::Value;

use super::*;
use crate::jetstream::{Burst, Scenario};
use crate::timeline::Rate;

const EVENTS: u64 = 20_000;

fn config() -> StatusesConfig {
    StatusesConfig {
        start: Some("2026-07-04T14:38:00Z".parse().unwrap()),
        rate: Rate::PerSecond(NonZeroU32::new(143_199).unwrap()),
        ..StatusesConfig::default()
    }
}

fn script(config: &StatusesConfig) -> StatusScript {
    StatusScript::new(config).unwrap()
}

fn events(script: &StatusScript) -> impl Iterator<Item = (u64, Event, Value)> {
    let start = script.timeline().start();
    (start..start + EVENTS).map(|n| {
        let event = script.event(n);
        let json =
            serde_json::from_str(&event.frame).unwrap_or_else(|error| panic!("{error}: {}", event.frame));
        (n, event, json)
    })
}

#[test]
fn a_line_says_when_and_who_and_a_status_which_event() {
    let script = script(&config());
    let (mut ids, mut originals, mut names) = (HashSet::new(), HashSet::new(), HashMap::new());
    let mut check_user = |user: &Value| {
        let known = names.entry(user["id"].as_u64().unwrap()).or_insert_with(|| user.clone());
        assert_eq!(known, user, "one id, one person");
    };
    for (n, event, json) in events(&script) {
        assert!(!event.frame.contains('\n'));
        let at_ms = script.scheduled_us(n) / 1_000;
        if matches!(event.kind, EventKind::Deletion | EventKind::Withdrawal { .. }) {
            assert_eq!(json["delete"]["timestamp_ms"], at_ms.to_string());
            let of = script.index_of(json["delete"]["status"]["id_str"].as_str().unwrap());
            let EventKind::Withdrawal { of: withdrawn } = event.kind else {
                assert_eq!(of, None);
                continue;
            };
            assert!(withdrawn < script.timeline().start() || of == Some(withdrawn));
            continue;
        }
        let id = json["id_str"].as_str().unwrap();
        assert_eq!(json["id"].as_u64().unwrap().to_string(), id);
        assert_eq!(
            json["user"]["id"].as_u64().unwrap().to_string(),
            json["user"]["id_str"].as_str().unwrap()
        );
        check_user(&json["user"]);
        if let EventKind::Repeat { of } = event.kind {
            assert_eq!(event.frame, Served::event(&script, of).frame);
            continue;
        }
        assert_eq!(json["timestamp_ms"], at_ms.to_string());
        let seconds = jiff::Timestamp::from_millisecond(at_ms).unwrap();
        assert_eq!(json["created_at"], seconds.strftime("%a %b %d %H:%M:%S +0000 %Y").to_string());
        assert!(ids.insert(id.to_owned()), "{id} twice");
        let original = &json["retweeted_status"];
        if let Some(id) = original["id_str"].as_str() {
            let of = script.index_of(id);
            check_user(&original["user"]);
            match event.kind {
                EventKind::Retweet { of: passed_on } => {
                    assert!(passed_on < script.timeline().start() || of == Some(passed_on));
                }
                _ => assert!(of.is_none() && originals.insert(id.to_owned())),
            }
            if event.kind != EventKind::Background {
                assert_eq!(script.index_of(json["id_str"].as_str().unwrap()), None, "no post of its own");
                continue;
            }
        }
        assert_eq!(script.index_of(id), Some(n));
        if let Some(post) = &event.support {
            let full = &json["extended_tweet"]["full_text"];
            let text = full.as_str().or(json["text"].as_str()).unwrap();
            assert_eq!(text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"), post.text);
            assert_eq!((json["lang"].as_str().unwrap(), id), (&*post.lang, &*post.id));
        }
    }
}

#[test]
fn lines_are_as_long_and_as_mixed_as_real_ones() {
    let script = script(&config());
    let (mut bytes, mut escaped, mut counts) = (0, 0, HashMap::<&str, u32>::new());
    for (_, event, json) in events(&script) {
        bytes += event.frame.len();
        escaped += u32::from(event.frame.is_ascii());
        for key in ["retweeted_status", "quoted_status", "extended_tweet", "extended_entities", "delete"] {
            *counts.entry(key).or_default() += u32::from(json.get(key).is_some());
        }
    }
    let average = bytes as u64 / EVENTS;
    assert!((4_500..4_900).contains(&average), "{average} bytes");
    let share = |key: &str| f64::from(counts[key]) / EVENTS as f64;
    assert!((0.45..0.65).contains(&share("retweeted_status")), "{counts:?}");
    assert!((0.04..0.12).contains(&share("quoted_status")), "{counts:?}");
    assert!((0.05..0.30).contains(&share("extended_tweet")), "{counts:?}");
    assert!(share("extended_entities") > 0.03 && share("delete") > 0.001, "{counts:?}");
    assert!((0.6..0.9).contains(&(f64::from(escaped) / EVENTS as f64)), "{escaped} lines of ASCII");
}

#[test]
fn background_samples_are_every_background_line_but_for_its_digits() {
    let script = script(&config());
    let digitless = |line: &str| -> String { line.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let months = |line: &str| {
        let mut line = digitless(line);
        for day in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] {
            line = line.replace(&format!("\"{day} "), "\"");
        }
        line.replace("Jun", "Jul")
    };
    let samples: HashSet<String> = script.background_samples().iter().map(|line| months(line)).collect();
    // Two may say the same by people of one face.
    assert!(samples.len() + 5 > script.pool.len(), "{} samples", samples.len());
    for (n, event, _) in
        events(&script).filter(|(_, event, _)| event.kind == EventKind::Background).take(2_000)
    {
        assert!(samples.contains(&months(&event.frame)), "{n}: {}", event.frame);
    }
    let brand = |line: &String| line.to_lowercase().contains("lumio");
    assert_eq!(script.background_samples().iter().filter(|line| brand(line)).count(), 0);
}

#[test]
fn mentions_are_the_events_that_are_not_background() {
    let script = script(&config());
    let start = script.timeline().start();
    let expected: Vec<(u64, Event)> = (start..start + EVENTS)
        .map(|n| (n, Served::event(&script, n)))
        .filter(|(_, event)| !matches!(event.kind, EventKind::Background | EventKind::Deletion))
        .collect();
    let mentions: Vec<(u64, Event)> = script.mentions(start..start + EVENTS).collect();
    assert!(mentions == expected && expected.len() > 200);
}

#[test]
fn a_burst_is_of_first_hand_reports_by_different_people() {
    let burst = Burst {
        after: std::time::Duration::from_secs(2),
        rise: std::time::Duration::from_secs(10),
        lasts: std::time::Duration::from_secs(3),
        ..Burst::default()
    };
    let rate = Rate::PerSecond(NonZeroU32::new(8_000).unwrap());
    let script =
        script(&StatusesConfig { rate, scenario: Scenario::Burst(burst), confusing: 0.0, ..config() });
    let start = script.timeline().start();
    let of_second = |second: u64| -> Vec<SupportPost> {
        let range = start + second * 8_000..start + (second + 1) * 8_000;
        script.mentions(range).filter_map(|(_, event)| event.support).collect()
    };
    assert!(of_second(0).len() + of_second(1).len() <= 5);
    let rise = of_second(7).len();
    assert!((950..1_250).contains(&rise), "{rise} in the middle of the rise");
    let (mut authors, mut ids, mut problems) = (HashSet::new(), HashSet::new(), 0);
    let peak = start + 12 * 8_000..start + 15 * 8_000;
    let reports: Vec<(u64, Event)> = script.mentions(peak).collect();
    assert!((5_700..6_300).contains(&reports.len()), "{} in 3 s of the peak", reports.len());
    for (n, event) in &reports {
        let post = event.support.as_ref().unwrap();
        assert_eq!(event.kind, EventKind::Support);
        assert!(post.text.contains(&script.plot.any_incident().unwrap().city), "{}", post.text);
        assert!(authors.insert(script.author(*n).id) && ids.insert(post.id.clone()));
        problems += usize::from(post.intent == "problem");
    }
    assert!(problems * 2 > reports.len());
    assert!(of_second(15).len() + of_second(16).len() <= 5, "quiet again");
}

#[test]
fn a_start_whose_ids_have_other_lengths_is_refused() {
    let config = StatusesConfig { start: Some("2012-07-04T14:38:00Z".parse().unwrap()), ..config() };
    assert!(StatusScript::new(&config).unwrap_err().to_string().contains("2019"));
}
