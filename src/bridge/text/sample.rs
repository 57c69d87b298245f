//! Invented tickets and changes, one of each kind: what templates are tried with before a customer writes.

use crate::ticket::proto;
use crate::ticket::proto::update::{self, Change};

/// 24 November 2026, 13:05 UTC.
const AT_US: i64 = 1_795_525_500_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// A customer with a past who writes on Bluesky, and strangers on the other networks, the last without anything that a
/// post may lack.
pub fn tickets(brand: &str) -> Vec<proto::Ticket> {
    let mut all = vec![customer(brand)];
    for network in ["mastodon", "x", "facebook", "plain"] {
        let post = proto::Post {
            network: network.into(),
            id: format!("{network}-1"),
            text: "vous êtes là ?".into(),
            language: "fr".into(),
            ..proto::Post::default()
        };
        let post = Some(post);
        all.push(proto::Ticket {
            id: vec![7; 16],
            brand: brand.into(),
            post,
            level: 4,
            ..proto::Ticket::default()
        });
    }
    all.push(proto::Ticket { id: vec![8; 16], ..proto::Ticket::default() });
    all
}

fn customer(brand: &str) -> proto::Ticket {
    let factor = |name: &str, points, evidence: &str| proto::Factor {
        name: name.into(),
        points,
        evidence: evidence.into(),
    };
    let contact = |hours: i64, channel: &str, note: &str| proto::person::Contact {
        at_us: AT_US - hours * HOUR_US,
        channel: channel.into(),
        note: note.into(),
    };
    proto::Ticket {
        id: (0..16).collect(),
        brand: brand.into(),
        post: Some(proto::Post {
            network: "bluesky".into(),
            id: "at://did:plc:ana/app.bsky.feed.post/1".into(),
            url: "https://bsky.app/profile/did:plc:ana/post/1".into(),
            author: Some(proto::Author {
                id: "did:plc:ana".into(),
                handle: "ana.example".into(),
                name: "Ana".into(),
                followers: 12_345,
                followers_known: true,
                verified: false,
            }),
            text: "third time this week that your box is dead.\nanybody there?".into(),
            language: "en".into(),
            written_at_us: AT_US,
            seen_at_us: AT_US,
            ..proto::Post::default()
        }),
        priority: 780,
        level: proto::Level::P1 as i32,
        created_at_us: AT_US,
        due_at_us: AT_US + 2 * HOUR_US,
        verdict: Some(proto::Verdict {
            intent: [("problem".to_owned(), 0.9), ("help".to_owned(), 0.1)].into(),
            sentiment: [("negative".to_owned(), 1.0)].into(),
            urgency: [("high".to_owned(), 1.0)].into(),
            model: "sample".into(),
            language: "en".into(),
        }),
        factors: vec![
            factor("urgency", 284, "high 0.93"),
            factor("intent", 196, "problem 0.90"),
            factor("sentiment", 140, "negative 0.95"),
            factor("addressed", 80, "names one of our handles"),
            factor("reach", 90, "12345 followers"),
            factor("tier", 100, "gold customer"),
            factor("value", 30, "worth 1240.50"),
            factor("sensitive", 60, "safety: sparks, burnt; health: blood; counts less: positive 0.40"),
            factor("contacts", 120, "called 2 times, mailed 3 h ago"),
            factor("cap of customer", -20, "+220 of customer: no more than +200 counts"),
            factor("angry gold", 40, "sentiment = negative, tier = gold"),
        ],
        person: Some(proto::Person {
            customer: "C-1017".into(),
            name: "Ana Ferro".into(),
            tier: "gold".into(),
            flags: vec!["vulnerable".into()],
            value: 1_240.0,
            value_known: true,
            language: "en".into(),
            purchases: vec![proto::person::Purchase {
                at_us: AT_US - 200 * HOUR_US,
                what: "Box Pro".into(),
                amount: 199.9,
                date: String::new(),
            }],
            contacts: vec![contact(3, "mail", "asked when the technician comes"), contact(27, "phone", "")],
        }),
        assignment: Some(proto::Assignment {
            team: "Frontline".into(),
            agent: "lea".into(),
            supplier: String::new(),
            reasons: vec!["route 1: intent problem".into()],
        }),
        articles: vec![proto::Article {
            title: "The box does not start".into(),
            url: "https://help.example/box".into(),
            score: 2.0,
        }],
        sensitive: vec!["safety".into()],
        ..proto::Ticket::default()
    }
}

/// One of each kind, and one that a newer daemon may send.
pub fn updates() -> Vec<proto::Update> {
    let ticket = customer("");
    let post = proto::Post { text: "still dead".into(), ..ticket.post.clone().unwrap_or_default() };
    let overdue = |state: update::overdue::State| update::Overdue { state: state as i32, due_at_us: AT_US };
    let post_id = "at://did:plc:ana/app.bsky.feed.post/2".to_owned();
    let changes = [
        Change::Erased(update::Erased { reason: "post_deleted".into() }),
        Change::Edited(update::Edited { text: "third time.\nsolved now".into(), post_id: String::new() }),
        Change::Rescored(update::Rescored {
            priority: 300,
            level: proto::Level::P3 as i32,
            verdict: ticket.verdict.clone(),
            factors: ticket.factors.clone(),
            unsupported: true,
            edited: false,
        }),
        Change::FollowedUp(update::FollowedUp {
            post: Some(post),
            verdict: ticket.verdict.clone(),
            priority: 820,
            level: proto::Level::P1 as i32,
            factors: vec![proto::Factor {
                name: "follow_ups".into(),
                points: 40,
                evidence: "posted again".into(),
            }],
        }),
        Change::Answered(update::Answered {
            post_id: post_id.clone(),
            url: "https://bsky.app/profile/lumio/post/3".into(),
            account: "@lumio_help".into(),
        }),
        Change::Overdue(overdue(update::overdue::State::AtRisk)),
        Change::Overdue(overdue(update::overdue::State::Breached)),
        Change::Assigned(update::Assigned {
            assignment: ticket.assignment.clone(),
            ..update::Assigned::default()
        }),
        Change::PostErased(update::PostErased { post_id, reason: "post_deleted".into() }),
    ];
    let update =
        |change: Option<Change>| proto::Update { ticket_id: ticket.id.clone(), at_us: AT_US, change };
    changes.into_iter().map(Some).chain([None]).map(update).collect()
}
