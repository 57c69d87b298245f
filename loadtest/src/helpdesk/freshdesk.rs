//! Freshdesk: numbers where others have words, a search that is minutes late, a list that is not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::{basic, list, push, remove, set, shown};
use super::{Reply, Request, Store, Vendor};

/// Its tickets, with their notes as `_notes` and their ratings as `_ratings`.
#[derive(Debug)]
pub struct Freshdesk {
    /// What it keeps.
    pub store: Store,
    /// The API key of agent 42.
    pub key: String,
    /// Whether the agent may look at groups.
    pub is_admin: bool,
    /// How late the search is; the list is not.
    pub lag: Duration,
    /// Tickets whose requester has an address, which is written to.
    pub mailed: u64,
    /// Whether its plan has surveys.
    pub has_surveys: bool,
    clock: u64,
}

/// Longest list, in tickets.
const PAGE: usize = 100;
/// Its groups, and the names of its ticket fields.
const GROUPS: [u64; 2] = [31, 32];
const FIELDS: [&str; 2] = ["cf_vigie_ref", "cf_network"];

impl Default for Freshdesk {
    fn default() -> Freshdesk {
        let lag = Duration::from_secs(180);
        Freshdesk {
            store: Store::default(),
            key: "secret".to_owned(),
            is_admin: true,
            lag,
            mailed: 0,
            has_surveys: true,
            clock: 0,
        }
    }
}

impl Freshdesk {
    /// What an agent does.
    pub fn change(&mut self, id: &str, fields: &Value) {
        let now = self.time();
        if let Some(ticket) = self.store.ticket(id) {
            set(ticket, fields);
            ticket["updated_at"] = now;
        }
    }

    /// A second later at each change, from the year 2100 on so that whatever is asked for has been.
    /// The same at a time of the caller's own, `updated_at` among the fields.
    pub fn changed_at(&mut self, id: &str, fields: &Value) {
        if let Some(ticket) = self.store.ticket(id) {
            set(ticket, fields);
        }
    }

    /// What a customer says to the question that each survey has; nothing of it shows that the ticket has changed.
    pub fn rate(&mut self, id: &str, default_question: &Value) {
        let (number, now) = (self.store.number(), self.time());
        if let Some(ticket) = self.store.ticket(id) {
            let rating = json!({
                "id": number, "survey_id": 1, "ticket_id": ticket["id"], "feedback": "they wrote something",
                "ratings": { "default_question": default_question }, "created_at": now,
            });
            // In no order that is documented.
            let mut ratings = list(ticket, "_ratings");
            ratings.insert(0, rating);
            ticket["_ratings"] = ratings.into();
        }
    }

    fn time(&mut self) -> Value {
        self.clock += 1;
        json!(format!(
            "2100-01-01T{:02}:{:02}:{:02}Z",
            self.clock / 3600,
            self.clock / 60 % 60,
            self.clock % 60
        ))
    }

    fn create(&mut self, request: &Request, now: Instant) -> Reply {
        let asked = &request.body;
        let is_level = |value: &Value| value.as_u64().is_some_and(|level| (1..=4).contains(&level));
        let mut errors = Vec::new();
        if !is_level(&asked["priority"]) {
            errors.push(json!({ "field": "priority", "message": "It should be one of 1,2,3,4", "code": "invalid_value" }));
        }
        if asked["status"].as_u64().is_none() {
            errors.push(
                json!({ "field": "status", "message": "It should be a number", "code": "datatype_mismatch" }),
            );
        }
        for name in asked["custom_fields"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if !FIELDS.contains(&name.as_str()) {
                errors.push(json!({ "field": name, "message": "Unexpected field", "code": "invalid_field" }));
            }
        }
        if asked.get("group_id").is_some_and(|group| !GROUPS.iter().any(|known| *group == *known)) {
            errors.push(
                json!({ "field": "group_id", "message": "There is no group matching the given group_id",
                "code": "invalid_value" }),
            );
        }
        if asked.get("unique_external_id").is_none() && asked.get("email").is_none() {
            errors.push(json!({ "field": "requester_id", "message": "is missing", "code": "missing_field" }));
        }
        if !errors.is_empty() {
            return Reply::json(400, &json!({ "description": "Validation failed", "errors": errors }));
        }
        self.mailed += u64::from(asked.get("email").is_some());
        let mut ticket = asked.clone();
        set(
            &mut ticket,
            &json!({
                "responder_id": null, "deleted": false, "spam": false, "updated_at": self.time(),
                "stats": { "first_responded_at": null }, "_notes": [],
            }),
        );
        let id = self.store.add(ticket, now);
        let reference = asked["custom_fields"]["cf_vigie_ref"].as_str().unwrap_or_default();
        Reply::json(201, &shown(&self.store.tickets[&id])).making(reference, id, &asked["priority"])
    }

    fn list(&self, request: &Request, now: Instant) -> Reply {
        let mut found = self.store.seen(Duration::ZERO, now);
        found.retain(|ticket| ticket["deleted"] == false);
        if let Some(since) = request.query("updated_since") {
            found.retain(|ticket| ticket["updated_at"].as_str() >= Some(since));
            found.sort_by_key(|ticket| ticket["updated_at"].to_string());
        }
        if request.query("order_type") == Some("desc") {
            found.reverse();
        }
        let page: usize = request.query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let found: Vec<_> = found.into_iter().skip((page - 1) * PAGE).take(PAGE).collect();
        Reply::json(200, &found.into())
    }
}

fn gone() -> Reply {
    Reply::empty(404)
}

impl Vendor for Freshdesk {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        if request.header("authorization") != Some(&basic(&self.key, "X")) {
            let words = "You have to be logged in to perform this action.";
            return Reply::json(401, &json!({ "code": "invalid_credentials", "message": words }));
        }
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "v2", "agents", "me"]) => Reply::json(200, &json!({ "id": 42 })),
            ("GET", ["api", "v2", "agents", "8"]) => {
                Reply::json(200, &json!({ "id": 8, "contact": { "name": "Ada Agent" } }))
            }
            ("GET", ["api", "v2", "tickets"]) => self.list(request, now),
            ("GET", ["api", "v2", "search", "tickets"]) => {
                let query = request.query("query").unwrap_or_default();
                let reference =
                    query.strip_prefix("\"cf_vigie_ref:'").and_then(|rest| rest.strip_suffix("'\""));
                let mut found = self.store.seen(self.lag, now);
                found.retain(|ticket| ticket["custom_fields"]["cf_vigie_ref"].as_str() == reference);
                Reply::json(200, &json!({ "total": found.len(), "results": found }))
            }
            ("GET", ["api", "v2", "groups", _]) if !self.is_admin => {
                let words = "You are not authorized to perform this action.";
                Reply::json(403, &json!({ "code": "access_denied", "message": words }))
            }
            ("GET", ["api", "v2", "groups", id]) => {
                match GROUPS.iter().find(|known| known.to_string() == **id) {
                    Some(number) => Reply::json(200, &json!({ "id": number, "name": "Billing" })),
                    None => gone(),
                }
            }
            ("POST", ["api", "v2", "tickets"]) => self.create(request, now),
            ("GET", ["api", "v2", "tickets", id]) => match self.store.ticket(id) {
                Some(ticket) => Reply::json(200, &shown(ticket)),
                None => gone(),
            },
            ("PUT", ["api", "v2", "tickets", id]) => {
                if self.store.ticket(id).is_none() {
                    return gone();
                }
                self.change(id, &request.body);
                Reply::json(200, &json!({}))
            }
            ("DELETE", ["api", "v2", "tickets", id]) => match self.store.ticket(id) {
                Some(ticket) => {
                    ticket["deleted"] = json!(true);
                    Reply::empty(204)
                }
                None => gone(),
            },
            ("POST", ["api", "v2", "tickets", id, "notes"]) => {
                let number = self.store.number();
                let Some(ticket) = self.store.ticket(id) else { return gone() };
                let mut note = json!({ "id": number, "user_id": 42 });
                set(&mut note, &request.body);
                push(ticket, "_notes", note.clone());
                Reply::json(201, &note)
            }
            ("GET", ["api", "v2", "tickets", _, "satisfaction_ratings"]) if !self.has_surveys => {
                let words = "The Surveys feature(s) is/are not supported in your plan.";
                Reply::json(403, &json!({ "code": "require_feature", "message": words }))
            }
            ("GET", ["api", "v2", "tickets", id, "satisfaction_ratings"]) => match self.store.ticket(id) {
                Some(ticket) => Reply::json(200, &list(ticket, "_ratings").into()),
                None => gone(),
            },
            ("GET", ["api", "v2", "tickets", id, "conversations"]) => match self.store.ticket(id) {
                Some(ticket) => Reply::json(200, &list(ticket, "_notes").into()),
                None => gone(),
            },
            ("DELETE", ["api", "v2", "conversations", id]) => {
                match remove(&mut self.store.tickets, "_notes", id) {
                    true => Reply::empty(204),
                    false => gone(),
                }
            }
            _ => gone(),
        }
    }
}
