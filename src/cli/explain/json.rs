//! `vigie explain --json`.

use serde_json::{Value, json};

use super::story::{Outcome, Raised, Reading, Story};
use crate::classify::INTENTS;
use crate::config::Config;
use crate::desk::priority::Line;
use crate::desk::{Aside, Decision, Explained};
use crate::ticket::{self, TicketId};

/// Nothing but what becomes of it.
pub(super) fn outcome(outcome: &str) -> Value {
    json!({ "outcome": outcome })
}

/// What becomes of the post.
pub(super) fn story(config: &Config, story: &Story) -> Value {
    let mut value = match &story.outcome {
        Outcome::Own(None) => outcome("own"),
        Outcome::Own(Some(ticket_id)) => json!({ "outcome": "answer", "ticket_id": ticket_id.to_string() }),
        Outcome::Unmatched => outcome("unmatched"),
        Outcome::Bystander(ticket_id) => bystander(*ticket_id, Aside::Stranger),
        Outcome::Read(reading) => of_reading(config, reading),
    };
    if let (Some(ticket_id), Some(object)) = (story.known, value.as_object_mut()) {
        let outcome = if story.is_edit { "edited" } else { "duplicate" };
        let as_new = object.insert("outcome".to_owned(), outcome.into());
        object.insert("as_new".to_owned(), as_new.unwrap_or_default());
        object.insert("ticket_id".to_owned(), ticket_id.to_string().into());
    }
    value
}

fn of_reading(config: &Config, reading: &Reading) -> Value {
    let Reading { candidate, verdict, tried, .. } = reading;
    match &tried.decision {
        Decision::Unsupported => {
            let (key, least) = config.desk.unsupported_least(candidate.addressed);
            json!({
                "outcome": "unsupported", "other": verdict.intent[INTENTS.len() - 1], "at_least": least, "key": key,
            })
        }
        Decision::Bystander(ticket_id) => bystander(*ticket_id, tried.aside),
        Decision::Unmatched => outcome("unmatched"),
        Decision::Duplicate => outcome("duplicate"),
        Decision::Edited(ticket_id, _) => json!({ "outcome": "edited", "ticket_id": ticket_id.to_string() }),
        Decision::Joined(joined) => json!({
            "outcome": "joined",
            "ticket_id": joined.ticket_id.to_string(),
            "raises": joined.raises,
            "author_thanked": reading.thanked,
            "ticket_priority": reading.raised.as_ref().map(raised),
            "priority": priority(&tried.explained),
            "otherwise": joined.otherwise.as_deref().map(ticket::to_json),
        }),
        Decision::Ticket(_) => json!({
            "outcome": "ticketed",
            "author_thanked": reading.thanked,
            "priority": priority(&tried.explained),
            "ticket": reading.ticket.as_ref().map(ticket::to_json),
        }),
    }
}

fn bystander(ticket_id: TicketId, aside: Aside) -> Value {
    let because = match aside {
        Aside::Helper => "helper",
        Aside::Stranger => "stranger",
        Aside::Thanks => "thanks",
        Aside::NoMessage => "no_message",
    };
    json!({ "outcome": "bystander", "ticket_id": ticket_id.to_string(), "because": because })
}

fn raised(raised: &Raised) -> Value {
    let Raised { before, after, level } = raised;
    let factors = after
        .factors
        .iter()
        .map(|factor| json!({ "name": factor.name, "points": factor.points, "evidence": factor.evidence }));
    json!({
        "before": { "priority": before.priority, "level": before.level().as_str_name() },
        "after": { "priority": after.priority, "level": level.as_str_name() },
        "factors": factors.collect::<Vec<_>>(),
    })
}

fn priority(explained: &Explained) -> Value {
    let line = |line: &Line| {
        json!({
            "name": line.name, "points": line.points, "at_most": line.most, "evidence": line.evidence,
        })
    };
    json!({
        "factors": explained.lines.iter().map(line).collect::<Vec<_>>(),
        "sum": explained.sum,
        "priority": explained.priority,
        "level": explained.level.as_str_name(),
        "p1_min": explained.levels.p1_min,
        "p2_min": explained.levels.p2_min,
        "p3_min": explained.levels.p3_min,
    })
}
