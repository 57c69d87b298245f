//! Zammad: a search for words that is late, notes that stay after ten minutes, triggers that write to customers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::{list, push, remove, set, shown};
use super::{Reply, Request, Store, Vendor};

/// Its tickets, with their articles as `_articles`.
#[derive(Debug)]
pub struct Zammad {
    /// What it keeps.
    pub store: Store,
    /// The token of the agent `vigie@vigie.test`.
    pub token: String,
    /// The groups that the agent may use.
    pub groups: Vec<String>,
    /// Attributes of tickets that were added to those that each Zammad has.
    pub attributes: Vec<String>,
    /// How late the index is that words are searched in.
    pub lag: Duration,
    /// Whether there is such an index: else words are looked for in titles and texts alone.
    pub has_index: bool,
    /// Whether the agent may delete tickets.
    pub is_admin: bool,
    /// Whether notes are too old to be deleted.
    pub notes_stay: bool,
    /// Customers that a trigger has written to: those of tickets whose article is not internal.
    pub mailed: Vec<String>,
}

impl Default for Zammad {
    fn default() -> Zammad {
        Zammad {
            store: Store::default(),
            token: "secret".to_owned(),
            groups: ["Social", "Billing"].map(str::to_owned).to_vec(),
            attributes: ["vigie_ref", "network"].map(str::to_owned).to_vec(),
            lag: Duration::ZERO,
            has_index: true,
            is_admin: true,
            notes_stay: false,
            mailed: Vec::new(),
        }
    }
}

impl Zammad {
    /// What an agent does: closes one ticket into another.
    pub fn merge(&mut self, from: &str, into: &str) {
        let into: u64 = into.parse().unwrap_or_default();
        if let Some(ticket) = self.store.ticket(from) {
            ticket["state"] = json!("merged");
            ticket["_parent"] = json!(into);
        }
    }

    /// What an agent does: another ticket of a ticket's first article, with its title and attributes; its number.
    pub fn split(&mut self, id: &str, now: Instant) -> String {
        let mut split = self.store.ticket(id).cloned().unwrap_or_default();
        let number = self.store.number();
        let mut article = split["_articles"][0].clone();
        set(
            &mut article,
            &json!({ "id": number, "subject": split["title"], "type": "phone", "internal": false, "created_by": "ada@vigie.test" }),
        );
        split["_articles"] = json!([article]);
        self.store.add(split, now).to_string()
    }

    fn create(&mut self, request: &Request, now: Instant) -> Reply {
        let asked = &request.body;
        if !self.groups.iter().any(|group| asked["group"] == group.as_str()) {
            let words = format!("No lookup value found for 'group': {}", asked["group"]);
            return Reply::json(422, &json!({ "error": words }));
        }
        let customer = asked["customer_id"].as_str().unwrap_or_default();
        if asked["article"]["internal"] != true {
            self.mailed.push(customer.trim_start_matches("guess:").to_owned());
        }
        let article = self.article(&asked["article"]);
        let mut ticket = json!({
            "title": asked["title"], "group": asked["group"], "priority": asked["priority"], "state": "new", "owner": "-",
            "first_response_at": null, "_tags": asked["tags"], "_articles": [article],
        });
        // What it does not know it leaves out, without a word.
        for name in &self.attributes {
            ticket[name.as_str()] = asked[name.as_str()].clone();
        }
        let id = self.store.add(ticket, now);
        let reference = asked["vigie_ref"].as_str().unwrap_or_default();
        Reply::json(201, &shown(&self.store.tickets[&id])).making(reference, id, &asked["priority"])
    }

    /// Words are searched in the index, conditions in the database.
    fn search(&self, request: &Request, now: Instant) -> Reply {
        let limit = request.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(50);
        let mut found = match request.query("query") {
            Some(query) => {
                let reference = query.strip_prefix("vigie_ref:\"").and_then(|rest| rest.strip_suffix('"'));
                let mut found = self.store.seen(self.lag, now);
                found.retain(|ticket| self.has_index && ticket["vigie_ref"].as_str() == reference);
                found
            }
            None => {
                let mut found = self.store.seen(Duration::ZERO, now);
                for (key, value) in &request.query {
                    let Some(field) = key.strip_prefix("condition[ticket.") else { continue };
                    let Some(field) = field.strip_suffix("][value]") else { continue };
                    let operator = request.query(&format!("condition[ticket.{field}][operator]"));
                    if operator != Some("is") || !self.attributes.iter().any(|known| known == field) {
                        let words = format!("column tickets.{field} does not exist");
                        return Reply::json(500, &json!({ "error": words }));
                    }
                    found.retain(|ticket| ticket[field] == value.as_str());
                }
                found
            }
        };
        found.truncate(limit);
        Reply::json(200, &found.into())
    }

    fn article(&mut self, asked: &Value) -> Value {
        let mut article = asked.clone();
        article["id"] = self.store.number().into();
        article["created_by"] = json!("vigie@vigie.test");
        article
    }
}

impl Vendor for Zammad {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        if request.header("authorization") != Some(&format!("Token token={}", self.token)) {
            return Reply::json(401, &json!({ "error": "Authentication required" }));
        }
        let gone = || Reply::json(404, &json!({ "error": "Couldn't find Ticket" }));
        let refused = |words: &str| Reply::json(403, &json!({ "error": words }));
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "v1", "users", "me"]) => Reply::json(
                200,
                &json!({ "id": 3, "login": "vigie@vigie.test",
                    "groups": self.groups.iter().map(|group| (group.clone(), json!(["full"]))).collect::<Value>() }),
            ),
            ("GET", ["api", "v1", "tickets"]) => {
                let mut listed = self.store.seen(Duration::ZERO, now);
                listed
                    .truncate(request.query("per_page").and_then(|count| count.parse().ok()).unwrap_or(100));
                Reply::json(200, &listed.into())
            }
            ("GET", ["api", "v1", "tickets", "search"]) => self.search(request, now),
            ("POST", ["api", "v1", "tickets"]) => self.create(request, now),
            ("GET", ["api", "v1", "tickets", id]) => {
                self.store.ticket(id).map_or_else(gone, |ticket| Reply::json(200, &shown(ticket)))
            }
            ("PUT", ["api", "v1", "tickets", id]) => {
                let Some(ticket) = self.store.ticket(id) else { return gone() };
                let was = ticket.clone();
                set(ticket, &request.body);
                let answer = shown(ticket);
                self.store.remember(&was, &["title"], &request.body, usize::MAX);
                Reply::json(200, &answer)
            }
            ("DELETE", ["api", "v1", "tickets", id]) => match self.is_admin {
                true => match self.store.tickets.remove(&id.parse().unwrap_or_default()) {
                    Some(_) => Reply::json(200, &json!({})),
                    None => gone(),
                },
                false => refused("Not authorized"),
            },
            ("GET", ["api", "v1", "links"]) => {
                let id = request.query("link_object_value").unwrap_or_default();
                let parent =
                    self.store.ticket(id).map(|ticket| ticket["_parent"].clone()).unwrap_or_default();
                let parent =
                    json!({ "link_type": "parent", "link_object": "Ticket", "link_object_value": parent });
                Reply::json(
                    200,
                    &json!({ "links": [{ "link_type": "normal", "link_object_value": 99 }, parent] }),
                )
            }
            ("POST", ["api", "v1", "ticket_articles"]) => {
                let article = self.article(&request.body);
                let Some(ticket) = request.body["ticket_id"].as_str().and_then(|id| self.store.ticket(id))
                else {
                    return gone();
                };
                push(ticket, "_articles", article.clone());
                Reply::json(201, &article)
            }
            ("GET", ["api", "v1", "ticket_articles", "by_ticket", id]) => match self.store.ticket(id) {
                Some(ticket) => Reply::json(200, &list(ticket, "_articles").into()),
                None => gone(),
            },
            ("DELETE", ["api", "v1", "ticket_articles", _]) if self.notes_stay => {
                refused("note is too old to be deleted")
            }
            ("DELETE", ["api", "v1", "ticket_articles", id]) => {
                match remove(&mut self.store.tickets, "_articles", id) {
                    true => Reply::json(200, &json!({})),
                    false => gone(),
                }
            }
            _ => Reply::json(404, &json!({ "error": "No such file" })),
        }
    }
}
