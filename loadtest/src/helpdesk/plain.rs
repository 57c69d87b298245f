//! A helpdesk of no vendor: the smallest API that a bridge can work with.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Reply, Request, Vendor};

/// Tickets under `/tickets`, by number; `POST`, `GET ?ref=`, `GET`, `PATCH` and `DELETE`, `POST` of `/notes`.
#[derive(Debug, Default)]
pub struct Plain {
    /// By number.
    pub tickets: BTreeMap<u64, Value>,
    /// How long a ticket exists before the search finds it.
    pub lag: Duration,
    /// Whether it says yes to changes of these fields and leaves them as they are.
    pub ignored: Vec<String>,
    made_at: BTreeMap<u64, Instant>,
    last: u64,
}

impl Plain {
    /// How a bridge speaks to it: a preset's file.
    pub const PRESET: &str = r#"
title = "Plain"
quota_per_minute = 6000
levels = ["urgent", "high", "normal", "low"]

[find]
call = { method = "GET", path = "/tickets?ref={{ ref }}" }
items = "response.tickets"
id = "item.id"

[[create]]
method = "POST"
path = "/tickets"
body = '{"ref": {{ ref }}, "subject": {{ subject }}, "body": {{ body }}, "level": {{ level_value }}, "points": {{ priority }}}'
capture = { id = "response.id" }

[[note]]
method = "POST"
path = "/tickets/{{ id }}/notes"
body = '{"note": {{ note }}}'

[[reprioritise]]
method = "PATCH"
path = "/tickets/{{ id }}"
body = '{"level": {{ level_value }}, "points": {{ priority }}}'

[[erase]]
method = "PATCH"
path = "/tickets/{{ id }}"
body = '{"subject": {{ subject }}, "body": {{ body }}, "notes": []}'

[[remove]]
method = "DELETE"
path = "/tickets/{{ id }}"

[read]
call = { method = "GET", path = "/tickets/{{ id }}" }
fields = { state = "item.state", agent = "item.agent", level = "item.level", subject = "item.subject" }

[states]
open = "open"
closed = "closed"
"#;

    /// Whether this call makes a ticket.
    pub fn is_creation(request: &Request) -> bool {
        request.method == "POST" && request.path == "/tickets"
    }

    /// The reference that a creation gives.
    pub fn reference(request: &Request) -> String {
        request.body["ref"].as_str().unwrap_or_default().to_owned()
    }
}

impl Vendor for Plain {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let gone = || Reply::json(404, &json!({ "error": "no such ticket" }));
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", ["tickets"]) => {
                let Some(reference) = request.body["ref"].as_str() else {
                    return Reply::json(422, &json!({ "error": "ref is missing" }));
                };
                self.last += 1;
                let id = self.last;
                let mut ticket = request.body.clone();
                ticket["id"] = json!(id);
                ticket["state"] = json!("open");
                ticket["agent"] = json!("");
                ticket["notes"] = json!([]);
                self.made_at.insert(id, now);
                self.tickets.insert(id, ticket);
                Reply::json(201, &json!({ "id": id })).making(reference, id, &request.body["points"])
            }
            ("GET", ["tickets"]) => {
                let reference = request.query("ref");
                let found = |(id, ticket): &(&u64, &Value)| {
                    ticket["ref"].as_str() == reference && now.duration_since(self.made_at[*id]) >= self.lag
                };
                let found: Vec<&Value> =
                    self.tickets.iter().filter(found).map(|(_, ticket)| ticket).collect();
                Reply::json(200, &json!({ "tickets": found }))
            }
            (method, ["tickets", id, rest @ ..]) => {
                let Ok(id) = id.parse() else { return gone() };
                let Some(ticket) = self.tickets.get_mut(&id) else { return gone() };
                match (method, rest) {
                    ("GET", []) => Reply::json(200, ticket),
                    ("PATCH", []) => {
                        let fields = request.body.as_object().into_iter().flatten();
                        for (name, value) in fields.filter(|(name, _)| !self.ignored.contains(name)) {
                            ticket[name] = value.clone();
                        }
                        Reply::json(200, ticket)
                    }
                    ("POST", ["notes"]) => {
                        let note = request.body["note"].clone();
                        if let Some(notes) = ticket["notes"].as_array_mut() {
                            notes.push(note);
                        }
                        Reply::json(201, &json!({}))
                    }
                    ("DELETE", []) => {
                        self.tickets.remove(&id);
                        Reply::empty(204)
                    }
                    _ => Reply::json(405, &json!({ "error": "not that" })),
                }
            }
            _ => Reply::json(404, &json!({ "error": "no such page" })),
        }
    }
}
