//! Jira Service Management: keys, workflows, a search by an index, limits that nobody foresees.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::{basic, list, push, remove, set};
use super::{Reply, Request, Store, Vendor};

/// Its issues as `fields`, with comments as `_comments` and the customer's rating as `_rating`.
#[derive(Debug)]
pub struct Jira {
    /// What it keeps.
    pub store: Store,
    /// The token of `agent@vigie.test`.
    pub token: String,
    /// How late the search is.
    pub lag: Duration,
    /// Calls that are taken before the next one gets 429; `None`: all.
    pub budget: Option<u32>,
    /// Tickets raised on somebody's behalf, who is written to.
    pub mailed: u64,
    /// Whether our account may see feedback.
    pub shows_feedback: bool,
    /// Whether our account administers the projects.
    pub is_admin: bool,
    /// Edits of which whoever watches the issue was mailed, with what was there before.
    pub told: u64,
}

/// Longest text.
const TEXT_UNITS_MAX: usize = 32_767;
/// Longest summary, likewise as Java counts.
const SUMMARY_UNITS_MAX: usize = 255;
/// Longest page of comments, whatever is asked for.
const PAGE: usize = 100;
/// The account.
const ME: &str = "557058:vigie";
/// The field of the request types for our reference.
const FIELD: &str = "customfield_10050";
/// Its service desks, each with a project and request types, and the fields of those beside what each has.
const DESKS: [(&str, &str, &str, &[&str]); 3] = [
    ("3", "SUP", "25", &[FIELD, "customfield_10060"]),
    ("3", "SUP", "26", &[FIELD]),
    ("4", "BIL", "31", &[FIELD, "customfield_10060"]),
];

impl Default for Jira {
    fn default() -> Jira {
        Jira {
            store: Store::default(),
            token: "secret".to_owned(),
            lag: Duration::ZERO,
            budget: None,
            mailed: 0,
            shows_feedback: true,
            is_admin: false,
            told: 0,
        }
    }
}

impl Jira {
    /// What an agent does: the status's name and its category.
    pub fn transition(&mut self, key: &str, name: &str, category: &str) {
        if let Some(issue) = self.issue(key) {
            issue["fields"]["status"] = json!({ "name": name, "statusCategory": { "key": category } });
        }
    }

    /// The issue of a key such as `SUP-7`.
    pub fn issue(&mut self, key: &str) -> Option<&mut Value> {
        let (project, number) = key.split_once('-')?;
        self.store.ticket(number).filter(|issue| issue["_project"] == project)
    }

    fn create(&mut self, request: &Request, now: Instant) -> Reply {
        let asked = &request.body;
        let place = DESKS
            .iter()
            .find(|(desk, _, kind, _)| asked["serviceDeskId"] == *desk && asked["requestTypeId"] == *kind);
        let Some((_, project, kind, fields_there)) = place else {
            let words = "The service desk or request type does not exist.";
            return Reply::json(404, &json!({ "errorMessage": words }));
        };
        let values = &asked["requestFieldValues"];
        if is_too_long(&values["description"], TEXT_UNITS_MAX) {
            return too_long();
        }
        if is_too_long(&values["summary"], SUMMARY_UNITS_MAX) {
            return Reply::json(400, &json!({ "errorMessage": "Summary must be less than 255 characters." }));
        }
        let known = |name: &str| ["summary", "description"].contains(&name) || fields_there.contains(&name);
        if let Some((name, _)) = values.as_object().into_iter().flatten().find(|(name, _)| !known(name)) {
            let words =
                format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.");
            return Reply::json(400, &json!({ "errorMessage": words }));
        }
        self.mailed += u64::from(asked.get("raiseOnBehalfOf").is_some());
        let status = json!({ "name": "Waiting for support", "statusCategory": { "key": "indeterminate" } });
        let mut fields = values.clone();
        set(&mut fields, &json!({ "status": status, "assignee": null, "priority": { "name": "Medium" } }));
        let id = self
            .store
            .add(json!({ "fields": fields, "_kind": kind, "_project": project, "_comments": [], "_answered": null }), now);
        let key = format!("{project}-{id}");
        if let Some(issue) = self.store.tickets.get_mut(&id) {
            issue["key"] = json!(key);
        }
        let reference = values[FIELD].as_str().unwrap_or_default();
        Reply::json(201, &json!({ "issueId": id.to_string(), "issueKey": key })).making(
            reference,
            key,
            &Value::Null,
        )
    }

    fn search(&self, request: &Request, now: Instant) -> Reply {
        let jql = request.query("jql").unwrap_or_default();
        let asked = jql.strip_prefix("cf[10050] ~ \"").and_then(|rest| rest.split_once('"'));
        let Some((reference, _)) = asked else {
            return Reply::json(400, &json!({ "errorMessages": ["Error in the JQL Query"] }));
        };
        let mut found = self.store.seen(self.lag, now);
        found.retain(|issue| issue["fields"][FIELD] == reference);
        Reply::json(200, &json!({ "issues": found, "isLast": true }))
    }

    fn issue_call(&mut self, request: &Request, key: &str, rest: &[&str]) -> Reply {
        let (number, shows_feedback, is_admin) = (self.store.number(), self.shows_feedback, self.is_admin);
        let is_silent = request.query("notifyUsers") == Some("false");
        let gone = || {
            Reply::json(
                404,
                &json!({ "errorMessages": ["Issue does not exist or you do not have permission"] }),
            )
        };
        if let ("DELETE", ["comment", id]) = (request.method.as_str(), rest) {
            return match remove(&mut self.store.tickets, "_comments", id) {
                true => Reply::empty(204),
                false => gone(),
            };
        }
        let Some(issue) = self.issue(key) else { return gone() };
        match (request.method.as_str(), rest) {
            ("GET", []) => Reply::json(200, &json!({ "key": key, "fields": issue["fields"] })),
            // The documentation has it that the parameter is ignored then: the whole change is refused.
            ("PUT", []) if is_silent && !is_admin => {
                let words = "To discard the user notification either admin or project admin permissions are required.";
                Reply::json(403, &json!({ "errorMessages": [words], "errors": {} }))
            }
            ("PUT", []) if is_too_long(&request.body["fields"]["description"], TEXT_UNITS_MAX) => too_long(),
            ("POST", ["comment"]) if is_too_long(&request.body["body"], TEXT_UNITS_MAX) => too_long(),
            ("PUT", []) => {
                let (mut was, asked) = (issue["fields"].clone(), &request.body["fields"]);
                was["id"] = issue["id"].clone();
                set(&mut issue["fields"], asked);
                self.store.remember(&was, &["summary", "description"], asked, usize::MAX);
                self.told += u64::from(!is_silent);
                Reply::empty(204)
            }
            ("DELETE", []) => {
                let id = issue["id"].as_u64().unwrap_or_default();
                self.store.tickets.remove(&id);
                Reply::empty(204)
            }
            ("GET", ["comment"]) => {
                let asked = |name: &str| request.query(name).and_then(|value| value.parse::<usize>().ok());
                let (all, from) = (list(issue, "_comments"), asked("startAt").unwrap_or(0));
                let to = all.len().min(from + asked("maxResults").unwrap_or(PAGE).min(PAGE));
                let page = &all[from.min(to)..to];
                Reply::json(
                    200,
                    &json!({ "comments": page, "startAt": from, "maxResults": PAGE, "total": all.len() }),
                )
            }
            ("POST", ["comment"]) => {
                let mut comment = json!({ "id": number, "author": { "accountId": ME } });
                set(&mut comment, &request.body);
                push(issue, "_comments", comment.clone());
                Reply::json(201, &comment)
            }
            ("GET", ["feedback"]) if request.header("x-experimentalapi") != Some("opt-in") => {
                Reply::json(412, &json!({ "errorMessage": "This API is experimental." }))
            }
            ("GET", ["feedback"]) if !shows_feedback => {
                Reply::json(403, &json!({ "errorMessage": "You do not have permission." }))
            }
            ("GET", ["feedback"]) => match &issue["_rating"] {
                Value::Null => Reply::json(404, &json!({ "errorMessage": "No feedback was given." })),
                rating => {
                    let comment = json!({ "body": "they wrote something" });
                    Reply::json(200, &json!({ "type": "csat", "rating": rating, "comment": comment }))
                }
            },
            ("GET", ["sla"]) => {
                let cycles = match issue["_answered"].as_str() {
                    Some(at) => json!([{ "stopTime": { "iso8601": at }, "breached": false }]),
                    None => json!([]),
                };
                let values = json!([
                    { "name": "Time to resolution", "completedCycles": [] },
                    { "name": "Time to first response", "completedCycles": cycles },
                ]);
                Reply::json(200, &json!({ "values": values }))
            }
            _ => gone(),
        }
    }
}

fn is_project(key: &str) -> bool {
    DESKS.iter().any(|(_, project, _, _)| *project == key)
}

/// As Java counts.
fn is_too_long(text: &Value, units_max: usize) -> bool {
    text.as_str().is_some_and(|text| text.encode_utf16().count() > units_max)
}

fn too_long() -> Reply {
    let words = "The entered text is too long. It exceeds the allowed limit of 32,767 characters.";
    Reply::json(400, &json!({ "errorMessages": [words] }))
}

impl Vendor for Jira {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        if request.header("authorization") != Some(&basic("agent@vigie.test", &self.token)) {
            return Reply::text(401, "text/plain", "Client must be authenticated to access this resource.");
        }
        match &mut self.budget {
            Some(0) => {
                self.budget = None;
                let reply = Reply::json(429, &json!({ "errorMessages": ["Rate limit exceeded."] }));
                return reply
                    .with_header("retry-after", "7")
                    .with_header("x-ratelimit-reset", "2100-01-01T00:00Z");
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["rest", "api", "2", "myself"]) => Reply::json(200, &json!({ "accountId": ME })),
            ("GET", ["rest", "servicedeskapi", "servicedesk", desk, "requesttype", kind, "field"]) => {
                match DESKS.iter().find(|(known, _, type_there, _)| (known, type_there) == (desk, kind)) {
                    Some((_, _, _, own)) => {
                        let fields = ["summary", "description"].iter().chain(*own);
                        let fields: Vec<Value> = fields.map(|id| json!({ "fieldId": id })).collect();
                        Reply::json(200, &json!({ "requestTypeFields": fields }))
                    }
                    None => Reply::json(404, &json!({ "errorMessage": "The request type does not exist." })),
                }
            }
            ("GET", ["rest", "api", "2", "project", key]) if is_project(key) => {
                Reply::json(200, &json!({ "key": key }))
            }
            ("POST", ["rest", "servicedeskapi", "request"]) => self.create(request, now),
            ("GET", ["rest", "api", "2", "search", "jql"]) => self.search(request, now),
            (_, ["rest", "api", "2", "issue", key, rest @ ..])
            | (_, ["rest", "servicedeskapi", "request", key, rest @ ..]) => {
                self.issue_call(request, key, rest)
            }
            _ => Reply::json(404, &json!({ "errorMessages": ["no such resource"] })),
        }
    }
}
