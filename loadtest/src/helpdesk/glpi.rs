//! GLPI: sessions, errors as lists, 207 where only a part was done, a page where a session has ended.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::store::{has_id, list, push, remove, set, shown};
use super::{Reply, Request, Store, Vendor};

/// Its tickets, with their followups as `_followups`, those whose child they are as `_parents`, the agent as `_agent` and the survey as `_survey`.
#[derive(Debug)]
pub struct Glpi {
    /// What it keeps.
    pub store: Store,
    /// The user token of user 6.
    pub token: String,
    /// The API client's token.
    pub app_token: String,
    /// Sessions that are open.
    pub sessions: BTreeSet<String>,
    /// Sessions that were opened.
    pub logins: u64,
    /// Whether a call without a session gets a page, as behind a single sign-on, and not an error.
    pub pages: bool,
    /// Whether the next update is refused inside a good answer.
    pub refuses_update: bool,
    /// Tickets with a requester, who is written to.
    pub mailed: u64,
    /// Whether our account may see surveys.
    pub shows_surveys: bool,
    /// Whether it answers a login well and opens no session.
    pub opens_nothing: bool,
    /// As its configuration says it.
    pub version: &'static str,
}

/// Its entities, categories and groups to which tickets may be assigned.
const ENTITIES: [u64; 2] = [0, 2];
const CATEGORIES: [u64; 2] = [11, 12];
const GROUPS: [u64; 2] = [5, 6];
/// A group of customers.
const CUSTOMERS: u64 = 9;

impl Default for Glpi {
    fn default() -> Glpi {
        Glpi {
            store: Store::default(),
            token: "secret".to_owned(),
            app_token: "app".to_owned(),
            sessions: BTreeSet::new(),
            logins: 0,
            pages: false,
            refuses_update: false,
            mailed: 0,
            shows_surveys: true,
            opens_nothing: false,
            version: "10.0.18",
        }
    }
}

impl Glpi {
    /// What an agent does: one ticket's text becomes a followup of another, as old as that ticket and by whoever made it,
    /// and it goes into the bin as a child of the other (`Ticket::merge`).
    pub fn merge(&mut self, from: &str, into: &str) {
        let Some(ticket) = self.store.ticket(from) else { return };
        let text = |name: &str| ticket[name].as_str().unwrap_or_default().to_owned();
        let followup = json!({
            "users_id": 6, "itemtype": "Ticket", "items_id": number(into), "sourceitems_id": ticket["id"],
            "content": format!("{}<br /><br />{}", text("name"), text("content")), "is_private": 0,
            "date": ticket["date_creation"],
        });
        self.follow_up(followup);
        self.link(from, into);
        if let Some(ticket) = self.store.ticket(from) {
            ticket["is_deleted"] = json!(1);
        }
    }

    /// What an agent does: one ticket becomes the child of another.
    pub fn link(&mut self, child: &str, parent: &str) {
        if let Some(ticket) = self.store.ticket(child) {
            push(ticket, "_parents", json!(number(parent)));
        }
    }

    /// Adds a followup, and copies of it to the tickets whose child this one is (`ITILFollowup::addToMergedTickets`, up to
    /// GLPI 11.0.6 also where nothing was merged); its number.
    pub fn follow_up(&mut self, followup: Value) -> Option<u64> {
        let id = self.store.number();
        let ticket = self.store.ticket(&followup["items_id"].to_string())?;
        let parents = list(ticket, "_parents");
        let mut added = json!({ "id": id, "sourceitems_id": 0, "date": format!("2026-11-28 00:{:02}:{:02}", id / 60 % 60, id % 60) });
        set(&mut added, &followup);
        push(ticket, "_followups", added);
        for parent in parents {
            let mut copy = followup.clone();
            copy["sourceitems_id"] = followup["items_id"].clone();
            copy["items_id"] = parent;
            self.follow_up(copy);
        }
        Some(id)
    }

    /// What an agent does: a copy of a ticket, text and all; its number.
    pub fn clone_ticket(&mut self, id: &str, now: Instant) -> String {
        let mut copy = self.store.ticket(id).cloned().unwrap_or_default();
        copy["_followups"] = json!([]);
        self.store.add(copy, now).to_string()
    }

    /// Followups of all tickets with these values of their fields.
    fn followups(&self, request: &Request) -> Vec<Value> {
        let mut found: Vec<Value> =
            self.store.tickets.values().flat_map(|ticket| list(ticket, "_followups")).collect();
        for (name, value) in &request.query {
            let Some(field) = name.strip_prefix("searchText[").and_then(|name| name.strip_suffix(']')) else {
                continue;
            };
            // Anchored at both ends, else anywhere.
            let whole = value.strip_prefix('^').and_then(|value| value.strip_suffix('$'));
            found.retain(|followup| {
                let there = &followup[field];
                let there = there.as_str().map_or_else(|| there.to_string(), str::to_owned);
                whole.map_or_else(|| there.contains(value.as_str()), |whole| there == whole)
            });
        }
        found.sort_by_key(|followup| followup["id"].as_u64());
        if request.query("order") == Some("DESC") {
            found.reverse();
        }
        found
    }

    fn login(&mut self, request: &Request) -> Reply {
        if request.header("app-token") != Some(&self.app_token) {
            return Reply::json(
                400,
                &json!(["ERROR_WRONG_APP_TOKEN_PARAMETER", "parameter app_token seems wrong"]),
            );
        }
        if request.header("authorization") != Some(&format!("user_token {}", self.token)) {
            return Reply::json(
                401,
                &json!(["ERROR_GLPI_LOGIN_USER_TOKEN", "parameter user_token seems invalid"]),
            );
        }
        if self.opens_nothing {
            return Reply::json(200, &json!({}));
        }
        self.logins += 1;
        let session = format!("session-{}", self.logins);
        self.sessions.insert(session.clone());
        Reply::json(200, &json!({ "session_token": session }))
    }

    fn create(&mut self, input: &Value, now: Instant) -> Reply {
        let is_of = |known: &[u64], value: &Value| known.iter().any(|known| *value == *known);
        let (category, group) = (&input["itilcategories_id"], &input["_groups_id_assign"]);
        if !is_of(&ENTITIES, &input["entities_id"])
            || !(*category == 0 || is_of(&CATEGORIES, category))
            || !(group.is_null() || is_of(&GROUPS, group))
        {
            return Reply::json(
                400,
                &json!(["ERROR_GLPI_ADD", "You don't have permission to perform this action."]),
            );
        }
        self.mailed += u64::from(input["_users_id_requester"] != 0);
        let content = input["content"].as_str().unwrap_or_default();
        let reference = content.rsplit("vigie-ref: ").next().and_then(|last| last.split('<').next());
        let reference = reference.unwrap_or_default().to_owned();
        let urgency = input["urgency"].clone();
        let ticket = json!({
            "name": input["name"], "content": content, "urgency": urgency, "impact": input["impact"], "status": 1,
            "is_deleted": 0, "entities_id": input["entities_id"], "itilcategories_id": category, "_group": group,
            "_followups": [], "_parents": [], "_agent": null, "_survey": null,
        });
        let id = self.store.add(ticket, now);
        let made_at = format!("2026-11-27 00:{:02}:{:02}", id / 60 % 60, id % 60);
        set(self.store.tickets.entry(id).or_default(), &json!({ "date_creation": made_at }));
        Reply::json(201, &json!({ "id": id, "message": "" })).making(&reference, id, &urgency)
    }

    fn search(&self, request: &Request, now: Instant) -> Reply {
        let right =
            [("criteria[0][field]", "21"), ("criteria[0][searchtype]", "contains"), ("forcedisplay[0]", "2")];
        if right.iter().any(|(name, value)| request.query(name) != Some(value)) {
            return Reply::json(400, &json!(["ERROR", "Bad criteria"]));
        }
        let asked = request.query("criteria[0][value]").unwrap_or_default();
        let mut found = self.store.seen(Duration::ZERO, now);
        found.retain(|ticket| ticket["is_deleted"] == 0);
        found.retain(|ticket| ticket["content"].as_str().is_some_and(|content| content.contains(asked)));
        let mut answer = json!({ "totalcount": found.len(), "count": found.len() });
        // Where nothing is found there is no list either.
        if !found.is_empty() {
            answer["data"] = found
                .iter()
                .map(|ticket| json!({ "2": ticket["id"], "1": ticket["name"], "21": ticket["content"] }))
                .collect();
        }
        Reply::json(200, &answer)
    }

    fn update(&mut self, id: &str, input: &Value) -> Reply {
        let refuses = std::mem::take(&mut self.refuses_update);
        let Some(ticket) = self.store.ticket(id) else { return gone() };
        let mut done = Map::new();
        done.insert(id.to_owned(), (!refuses).into());
        done.insert("message".to_owned(), if refuses { "Item not found" } else { "" }.into());
        if !refuses {
            let was = ticket.clone();
            set(ticket, input);
            // `Log::constructHistory` cuts them.
            self.store.remember(&was, &["name", "content"], input, 255);
        }
        Reply::json(if refuses { 207 } else { 200 }, &json!([done]))
    }
}

fn number(id: &str) -> u64 {
    id.parse().unwrap_or_default()
}

/// What a list gives of all for `range`, 0-49 where none is asked for: partial content, unless that is all.
fn ranged(request: &Request, all: &[Value]) -> Reply {
    let (from, to) = request.query("range").and_then(|range| range.split_once('-')).unwrap_or(("0", "49"));
    let (from, to): (usize, usize) = (from.parse().unwrap_or_default(), to.parse().unwrap_or_default());
    if from > all.len() {
        let words = format!("Provided range exceed total count of data: {}", all.len());
        return Reply::json(400, &json!(["ERROR_RANGE_EXCEED_TOTAL", words]));
    }
    let page = &all[from..all.len().min(to + 1)];
    Reply::json(if page.len() < all.len() { 206 } else { 200 }, &json!(page))
}

fn gone() -> Reply {
    Reply::json(404, &json!(["ERROR_ITEM_NOT_FOUND", "Item not found"]))
}

impl Vendor for Glpi {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["apirest.php", rest @ ..] = segments.as_slice() else {
            return Reply::text(404, "text/html", "<html><body>GLPI</body></html>");
        };
        if let ["initSession"] = rest {
            return self.login(request);
        }
        if !request.header("session-token").is_some_and(|session| self.sessions.contains(session)) {
            return match self.pages {
                true => Reply::text(200, "text/html", "<html><body>Sign in</body></html>"),
                false => {
                    Reply::json(401, &json!(["ERROR_SESSION_TOKEN_INVALID", "session_token seems invalid"]))
                }
            };
        }
        let input = &request.body["input"];
        match (request.method.as_str(), rest) {
            ("GET", ["getFullSession"]) => Reply::json(200, &json!({ "session": { "glpiID": 6 } })),
            ("GET", ["getGlpiConfig"]) => {
                Reply::json(200, &json!({ "cfg_glpi": { "version": self.version, "language": "en_GB" } }))
            }
            ("GET", ["getMyEntities"]) => Reply::json(
                200,
                &json!({ "myentities": ENTITIES.map(|id| json!({ "id": id, "name": "Root" })) }),
            ),
            ("GET", ["ITILCategory", id]) => {
                match CATEGORIES.iter().find(|known| known.to_string() == **id) {
                    Some(id) => Reply::json(200, &json!({ "id": id, "name": "Invoices" })),
                    None => gone(),
                }
            }
            ("GET", ["Group", id]) => {
                match GROUPS.iter().chain([&CUSTOMERS]).find(|known| known.to_string() == **id) {
                    Some(id) => {
                        Reply::json(200, &json!({ "id": id, "is_assign": u8::from(*id != CUSTOMERS) }))
                    }
                    None => gone(),
                }
            }
            ("GET", ["search", "Ticket"]) => self.search(request, now),
            ("POST", ["Ticket"]) => self.create(input, now),
            ("PUT", ["Ticket", id]) => self.update(id, input),
            ("GET", ["Ticket", id]) => match self.store.ticket(id) {
                Some(ticket) => Reply::json(200, &shown(ticket)),
                None => gone(),
            },
            ("DELETE", ["Ticket", id]) => {
                let Some(ticket) = self.store.ticket(id) else { return gone() };
                // Without a purge it is in the dustbin.
                ticket["is_deleted"] = json!(1);
                if request.query("force_purge") == Some("true") {
                    self.store.tickets.remove(&id.parse().unwrap_or_default());
                }
                Reply::json(200, &json!([{ (*id): true, "message": "" }]))
            }
            ("GET", ["Ticket", id, "Ticket_User"]) => match self.store.ticket(id) {
                Some(ticket) if ticket["_agent"].is_null() => Reply::json(200, &json!([])),
                Some(ticket) => {
                    let people = json!([{ "users_id": "nobody", "type": 1 }, { "users_id": ticket["_agent"], "type": 2 }]);
                    Reply::json(200, &people)
                }
                None => gone(),
            },
            ("GET", ["Ticket", _, "TicketSatisfaction"]) if !self.shows_surveys => {
                let words = "You don't have permission to perform this action.";
                Reply::json(403, &json!(["ERROR_RIGHT_MISSING", words]))
            }
            ("GET", ["Ticket", id, "TicketSatisfaction"]) => match self.store.ticket(id) {
                Some(ticket) if ticket["_survey"].is_null() => Reply::json(200, &json!([])),
                Some(ticket) => Reply::json(200, &json!([ticket["_survey"]])),
                None => gone(),
            },
            ("GET", ["Ticket", id, "ITILFollowup"]) => match self.store.ticket(id) {
                Some(ticket) => ranged(request, &list(ticket, "_followups")),
                None => gone(),
            },
            ("GET", ["ITILFollowup"]) => ranged(request, &self.followups(request)),
            ("POST", ["ITILFollowup"]) => {
                let mut followup = json!({ "users_id": 6 });
                set(&mut followup, input);
                match self.follow_up(followup) {
                    Some(number) => Reply::json(201, &json!({ "id": number, "message": "" })),
                    None => gone(),
                }
            }
            ("PUT", ["ITILFollowup", id]) => {
                let tickets = self.store.tickets.values_mut();
                let followups =
                    tickets.flat_map(|ticket| ticket["_followups"].as_array_mut().into_iter().flatten());
                match followups.into_iter().find(|followup| has_id(followup, id)) {
                    Some(followup) => {
                        set(followup, input);
                        Reply::json(200, &json!([{ (*id): true, "message": "" }]))
                    }
                    None => gone(),
                }
            }
            ("DELETE", ["ITILFollowup", id]) => match remove(&mut self.store.tickets, "_followups", id) {
                true => Reply::json(200, &json!([{ (*id): true, "message": "" }])),
                false => gone(),
            },
            _ => Reply::json(400, &json!(["ERROR_RESOURCE_NOT_FOUND_NOR_COMMONDBTM", "resource not found"])),
        }
    }
}
