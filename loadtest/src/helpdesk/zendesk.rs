//! Zendesk: idempotency keys, comments that are Markdown and are blackened, placeholders that are filled in, a cursor over what
//! changed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::{basic, has_id, list, push, set, shown};
use super::{Reply, Request, Store, Vendor};

/// Its tickets, with their comments as `_comments` and what was done to them as `_audits`.
#[derive(Debug)]
pub struct Zendesk {
    /// What it keeps.
    pub store: Store,
    /// The token that acts for `agent@vigie.test`.
    pub token: String,
    /// What was made by which idempotency key: the body and the ticket.
    keys: BTreeMap<String, (Value, u64)>,
    /// Tickets in the order in which they changed; the cursor counts them.
    changes: Vec<u64>,
    /// Tickets whose requester was written to: those that were made with a public comment.
    pub mailed: u64,
    /// Whether its plan has surveys.
    pub has_surveys: bool,
    /// Whether it answers a redaction as if it were done, and does none.
    pub redacts_nothing: bool,
    /// So many changes of one ticket it takes in ten minutes, whatever is left of the account's calls.
    pub updates_max: usize,
    /// So many listings of changes in one.
    pub listings_max: usize,
    /// When each ticket was changed by our account of late, and when changes were listed.
    updated_at: BTreeMap<u64, VecDeque<Instant>>,
    listed_at: VecDeque<Instant>,
}

/// In which time the limits of one ticket and of listings count.
const UPDATES_IN: Duration = Duration::from_secs(600);
const LISTINGS_IN: Duration = Duration::from_secs(60);

/// The agent.
const ME: u64 = 35_436;
/// Longest page of a list.
const PAGE: usize = 100;
/// Longest comment, in bytes.
const COMMENT_BYTES_MAX: usize = 65_535;
/// Its groups, and its ticket fields.
const GROUPS: [u64; 2] = [21, 22];
const FIELDS: [u64; 2] = [360_001, 360_002];

impl Default for Zendesk {
    fn default() -> Zendesk {
        Zendesk {
            store: Store::default(),
            token: "secret".to_owned(),
            keys: BTreeMap::new(),
            changes: Vec::new(),
            mailed: 0,
            has_surveys: true,
            redacts_nothing: false,
            updates_max: 30,
            listings_max: 10,
            updated_at: BTreeMap::new(),
            listed_at: VecDeque::new(),
        }
    }
}

impl Zendesk {
    /// What an agent does.
    pub fn change(&mut self, id: &str, fields: &Value) {
        if let Some(ticket) = self.store.ticket(id) {
            set(ticket, fields);
            self.changes.extend(id.parse::<u64>().ok());
        }
    }

    /// What an agent does: closes one ticket into another, which gets its last comment. The one keeps its own.
    pub fn merge(&mut self, from: &str, into: &str) {
        let number = |id: &str| id.parse::<u64>().unwrap_or_default();
        let (source, target) = (number(from), number(into));
        let audit = |from: Value| json!({ "via": { "channel": "web", "source": { "from": from, "to": {}, "rel": "merge" } } });
        let mut last = Value::Null;
        if let Some(ticket) = self.store.ticket(from) {
            last = list(ticket, "_comments").pop().unwrap_or_default();
            push(ticket, "tags", json!("closed_by_merge"));
            push(ticket, "_audits", audit(json!({ "ticket_id": target, "subject": "that one" })));
        }
        last["id"] = self.store.number().into();
        last["author_id"] = json!(8);
        if let Some(ticket) = self.store.ticket(into) {
            push(ticket, "_comments", last);
            push(ticket, "_audits", audit(json!({ "ticket_ids": [source] })));
        }
        self.change(from, &json!({ "status": "closed" }));
        self.change(into, &json!({}));
    }

    /// What a customer says to a survey of five choices.
    pub fn rate(&mut self, id: &str, rating: &Value) {
        self.rate_of(id, rating, 5);
    }

    /// What a customer says to a survey of so many choices, which is no part of the ticket: its own rating is what Zendesk
    /// makes of it, of five 4 and 5 are good.
    pub fn rate_of(&mut self, id: &str, rating: &Value, choices: u64) {
        let number = self.store.number();
        let is_good = rating.as_u64().is_some_and(|rating| rating > choices.div_ceil(2));
        let category = if is_good { "good" } else { "bad" };
        let options: Vec<Value> = (1..=choices).map(|rating| json!({ "rating": rating })).collect();
        let question =
            |kind: &str| json!({ "type": "rating_scale_numeric", "sub_type": kind, "options": options });
        let answers = json!([
            { "type": "skipped", "question": { "type": "open_ended" } },
            { "type": "rating_scale", "question": question("other"), "rating": 2, "rating_category": "bad" },
            { "type": "rating_scale", "question": question("customer_satisfaction"), "rating": rating, "rating_category": category },
        ]);
        if let Some(ticket) = self.store.ticket(id) {
            push(ticket, "_surveys", json!({ "id": format!("01J{number:09}"), "answers": answers }));
        }
        self.change(id, &json!({ "satisfaction_rating": { "score": category } }));
    }

    fn comment(&mut self, asked: &Value) -> Value {
        let html = match asked["html_body"].is_string() {
            true => {
                format!("<div class=\"zd-comment\" dir=\"auto\">{}</div>", filled_in(&asked["html_body"]))
            }
            false => rendered(&filled_in(&asked["body"])),
        };
        json!({ "id": self.store.number(), "author_id": ME, "public": asked["public"], "html_body": html })
    }

    fn create(&mut self, request: &Request, now: Instant) -> Reply {
        let asked = &request.body["ticket"];
        let key = request.header("idempotency-key");
        match key.and_then(|key| self.keys.get(key)) {
            Some((body, _)) if *body != request.body => {
                let words = "the idempotency key was used with other parameters";
                return Reply::json(
                    400,
                    &json!({ "error": "IdempotencyRequestError", "description": words }),
                );
            }
            Some((_, id)) => {
                let ticket = self.store.tickets.get(id).map(shown);
                return Reply::json(201, &json!({ "ticket": ticket }))
                    .with_header("x-idempotency-lookup", "hit");
            }
            None => {}
        }
        if !["urgent", "high", "normal", "low"].iter().any(|name| asked["priority"] == *name) {
            return Reply::json(
                422,
                &json!({ "error": "RecordInvalid", "description": "Priority is invalid" }),
            );
        }
        let group = &asked["group_id"];
        if !group.is_null() && !GROUPS.iter().any(|known| is_number(group, *known)) {
            return Reply::json(422, &json!({ "error": "RecordInvalid", "description": "Group is invalid" }));
        }
        // A list of fields by their numbers; those that it does not know it leaves out, without a word.
        let given = asked.get("custom_fields").map(|fields| fields.as_array().cloned());
        if given == Some(None) {
            return Reply::json(400, &json!({ "error": "custom_fields is not a list" }));
        }
        let mut custom_fields = given.flatten().unwrap_or_default();
        custom_fields.retain(|field| FIELDS.iter().any(|known| field["id"] == *known));
        if asked["comment"]["public"] != false {
            self.mailed += 1;
        }
        if is_too_long(&asked["comment"]) {
            return too_long();
        }
        let comment = self.comment(&asked["comment"]);
        let ticket = json!({
            "subject": filled_in(&asked["subject"]), "priority": asked["priority"], "external_id": asked["external_id"],
            "tags": asked["tags"], "status": "new", "assignee_id": null, "created_at": "2026-11-27T00:00:00Z",
            "satisfaction_rating": { "score": "unoffered" }, "group_id": group, "custom_fields": custom_fields, "_comments": [comment],
            "_audits": [{ "via": { "channel": "api", "source": { "from": {}, "to": {}, "rel": null } } }],
            "metric_set": { "reply_time_in_minutes": { "calendar": null, "business": null } },
        });
        let id = self.store.add(ticket, now);
        self.changes.push(id);
        if let Some(key) = key {
            self.keys.insert(key.to_owned(), (request.body.clone(), id));
        }
        let reference = asked["external_id"].as_str().unwrap_or_default();
        Reply::json(201, &json!({ "ticket": shown(&self.store.tickets[&id]) }))
            .with_header("x-idempotency-lookup", "miss")
            .making(reference, id, &asked["priority"])
    }

    fn update(&mut self, request: &Request, id: &str, now: Instant) -> Reply {
        let updated_at = self.updated_at.entry(id.parse().unwrap_or_default()).or_default();
        if let Some(refused) = one_too_many(updated_at, self.updates_max, UPDATES_IN, now) {
            return refused;
        }
        let mut asked = request.body["ticket"].clone();
        let comment = asked.as_object_mut().and_then(|asked| asked.remove("comment"));
        if comment.as_ref().is_some_and(is_too_long) {
            return too_long();
        }
        let comment = comment.map(|comment| self.comment(&comment));
        let Some(ticket) = self.store.ticket(id) else { return gone() };
        if ticket["status"] == "closed" {
            let words = json!({ "status": [{ "description": "Status: closed prevents ticket update" }] });
            return Reply::json(422, &json!({ "error": "RecordInvalid", "details": words }));
        }
        let was = ticket.clone();
        set(ticket, &asked);
        let mut events = vec![json!({ "id": 1, "type": "Change", "field_name": "priority" })];
        if let Some(comment) = comment {
            events.push(json!({ "id": comment["id"], "type": "Comment" }));
            push(ticket, "_comments", comment);
        }
        let answer = json!({ "ticket": shown(ticket), "audit": { "events": events } });
        self.store.remember(&was, &["subject"], &asked, usize::MAX);
        self.changes.extend(id.parse::<u64>().ok());
        Reply::json(200, &answer)
    }

    fn redact(&mut self, request: &Request, id: &str) -> Reply {
        let ticket = request.body["ticket_id"].as_str().unwrap_or_default();
        let refuses = self.redacts_nothing;
        let Some(ticket) = self.store.ticket(ticket) else { return gone() };
        let mut comments = list(ticket, "_comments");
        let Some(comment) = comments.iter_mut().find(|comment| has_id(comment, id)) else {
            return gone();
        };
        let html = request.body["html_body"].as_str().unwrap_or_default();
        // It is the comment's own text, with marks.
        let unmarked = html.replace("<redact>", "").replace("</redact>", "");
        let unmarked = unmarked.replace("<a redact ", "<a ").replace("<img redact ", "<img ");
        if unmarked == html || comment["html_body"] != unmarked {
            return Reply::json(400, &json!({ "error": "InvalidValue", "description": "nothing to redact" }));
        }
        if !refuses {
            comment["html_body"] = json!(redacted(html));
        }
        ticket["_comments"] = comments.into();
        Reply::json(200, &json!({ "comment": {} }))
    }

    fn changed(&mut self, request: &Request, now: Instant) -> Reply {
        if let Some(refused) = one_too_many(&mut self.listed_at, self.listings_max, LISTINGS_IN, now) {
            return refused;
        }
        // Everything here has happened since any start that is asked for.
        let from = request.query("cursor").and_then(|cursor| cursor.parse().ok());
        let from = from.unwrap_or(0_usize).min(self.changes.len());
        let to = self.changes.len().min(from + 2);
        let mut ids = self.changes[from..to].to_vec();
        ids.dedup();
        let tickets: Vec<Value> = ids.iter().filter_map(|id| self.store.tickets.get(id)).map(shown).collect();
        let is_end = to == self.changes.len();
        let mut page = json!({ "tickets": tickets, "after_cursor": to.to_string(), "end_of_stream": is_end });
        if request.query("include").is_some_and(|include| include.contains("users")) {
            page["users"] = users();
        }
        Reply::json(200, &page)
    }
}

/// The refusal of a call that is one more than there may be within that time; else it counts.
fn one_too_many(
    at: &mut VecDeque<Instant>,
    calls_max: usize,
    within: Duration,
    now: Instant,
) -> Option<Reply> {
    while at.front().is_some_and(|at| now.duration_since(*at) >= within) {
        at.pop_front();
    }
    if at.len() < calls_max {
        at.push_back(now);
        return None;
    }
    let wait = at.front().map_or(within, |first| within.saturating_sub(now.duration_since(*first)));
    let reply = Reply::json(
        429,
        &json!({ "error": "APIRateLimitExceeded", "description": "Number of allowed API requests per minute exceeded" }),
    );
    Some(reply.with_header("retry-after", wait.as_secs().to_string()))
}

/// A page of a list: by a cursor where a size is asked for, else the first.
fn page(request: &Request, name: &str, all: Vec<Value>) -> Reply {
    let size = request.query("page[size]").and_then(|size| size.parse().ok());
    let from = request
        .query("page[after]")
        .and_then(|after| after.strip_prefix("after-")?.parse().ok())
        .unwrap_or(0);
    let to = all.len().min(from + size.unwrap_or(PAGE).min(PAGE));
    let mut page = json!({ name: all[from.min(to)..to] });
    if size.is_some() {
        page["meta"] = json!({ "has_more": to < all.len(), "after_cursor": format!("after-{to}") });
    }
    Reply::json(200, &page)
}

/// As Zendesk fills placeholders in: its documentation says it of a subject and of what rules write, and of what comes by the
/// API not that it does not.
fn filled_in(text: &Value) -> String {
    text.as_str()
        .unwrap_or_default()
        .replace("{{ticket.id}}", "1729")
        .replace("{{ticket.assignee.email}}", "ada@vigie.test")
}

fn is_too_long(comment: &Value) -> bool {
    [&comment["body"], &comment["html_body"]]
        .iter()
        .any(|text| text.as_str().is_some_and(|text| text.len() > COMMENT_BYTES_MAX))
}

fn too_long() -> Reply {
    let words = "Comment: is too long (maximum is 65535 characters)";
    Reply::json(422, &json!({ "error": "RecordInvalid", "description": words }))
}

/// `[text](address)` as a link and `![text](address)` as a picture.
fn with_markdown(line: &str) -> String {
    let (mut html, mut rest) = (String::new(), line);
    while let Some((before, (text, (address, after)))) = rest.split_once('[').and_then(|(before, rest)| {
        let (text, rest) = rest.split_once("](")?;
        Some((before, (text, rest.split_once(')')?)))
    }) {
        match before.strip_suffix('!') {
            Some(before) => html.push_str(&format!("{before}<img src=\"{address}\" alt=\"{text}\">")),
            None => html.push_str(&format!("{before}<a href=\"{address}\" target=\"_blank\">{text}</a>")),
        }
        rest = after;
    }
    html + rest
}

/// A text as HTML, which it takes for Markdown: lists, links, pictures, paragraphs where there are several, and none where
/// there is one.
fn rendered(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let word = |word: &str| match word.starts_with("https://") {
        true => format!("<a href=\"{word}\" target=\"_blank\" rel=\"nofollow noreferrer\">{word}</a>"),
        false => word.to_owned(),
    };
    let line = |line: &str| with_markdown(&line.split(' ').map(word).collect::<Vec<_>>().join(" "));
    let lines = |block: &str| block.lines().map(line).collect::<Vec<_>>();
    let blocks: Vec<&str> = escaped.split("\n\n").filter(|block| !block.is_empty()).collect();
    let inner: String = match blocks.as_slice() {
        [one] => format!("{}<br>", lines(one).join("<br>")),
        several => several
            .iter()
            .map(|block| match block.starts_with("- ") {
                true => format!("<ul dir=\"auto\"><li>{}</li></ul>\n", lines(block).join("</li>\n<li>")),
                false => format!("<p dir=\"auto\">{}</p>\n", lines(block).join("<br>\n")),
            })
            .collect(),
    };
    format!("<div class=\"zd-comment\" dir=\"auto\">{inner}</div>")
}

/// What is left: within `<redact>` black for each character, of a tag with the attribute `redact` nothing but its text.
fn redacted(html: &str) -> String {
    let mut left = String::new();
    for (index, part) in html.split("<redact>").enumerate() {
        let (text, after) =
            if index == 0 { ("", part) } else { part.split_once("</redact>").unwrap_or((part, "")) };
        left.push_str(&"\u{2587}".repeat(text.chars().count()));
        left.push_str(after);
    }
    let mut shown = String::new();
    for part in left.split_inclusive('>') {
        let (text, tag) = part.split_once('<').unwrap_or((part, ""));
        shown.push_str(text);
        if !tag.is_empty() && !tag.contains(" redact ") {
            shown.push('<');
            shown.push_str(tag);
        }
    }
    shown
}

/// Whether this is the number, as one or as a text: Zendesk takes both.
fn is_number(value: &Value, number: u64) -> bool {
    *value == number || value.as_str() == Some(&number.to_string())
}

fn users() -> Value {
    json!([{ "id": ME, "name": "Vigie" }, { "id": 8, "name": "Ada Agent" }])
}

fn gone() -> Reply {
    Reply::json(404, &json!({ "error": "RecordNotFound", "description": "Not found" }))
}

impl Vendor for Zendesk {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        let right = basic("agent@vigie.test/token", &self.token);
        if request.header("authorization") != Some(&right) {
            return Reply::json(401, &json!({ "error": "Couldn't authenticate you" }));
        }
        let path = request.path.strip_suffix(".json").unwrap_or(&request.path);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "v2", "users", "me"]) => {
                Reply::json(200, &json!({ "user": { "id": ME, "role": "admin", "name": "Vigie" } }))
            }
            ("GET", ["api", "v2", "tickets"]) => {
                let mut found = self.store.seen(Duration::ZERO, now);
                found.retain(|ticket| ticket["external_id"].as_str() == request.query("external_id"));
                Reply::json(200, &json!({ "tickets": found, "count": found.len() }))
            }
            ("GET", ["api", "v2", kind @ ("groups" | "ticket_fields"), id]) => {
                let (name, known) =
                    if *kind == "groups" { ("group", GROUPS) } else { ("ticket_field", FIELDS) };
                match known.iter().find(|known| known.to_string() == **id) {
                    Some(number) => Reply::json(200, &json!({ name: { "id": number, "deleted": false } })),
                    None => gone(),
                }
            }
            ("POST", ["api", "v2", "tickets"]) => self.create(request, now),
            ("GET", ["api", "v2", "tickets", id]) => match self.store.ticket(id) {
                Some(ticket) => Reply::json(200, &json!({ "ticket": shown(ticket), "users": users() })),
                None => gone(),
            },
            ("PUT", ["api", "v2", "tickets", id]) => self.update(request, id, now),
            ("DELETE", ["api", "v2", "tickets", id]) => {
                match self.store.tickets.remove(&id.parse().unwrap_or_default()) {
                    Some(_) => Reply::empty(204),
                    None => gone(),
                }
            }
            ("GET", ["api", "v2", "tickets", id, what @ ("comments" | "audits")]) => {
                match self.store.ticket(id) {
                    Some(ticket) => page(request, what, list(ticket, &format!("_{what}"))),
                    None => gone(),
                }
            }
            ("GET", ["api", "v2", "guide", "survey_responses"]) if !self.has_surveys => {
                Reply::json(403, &json!({ "error": "Forbidden" }))
            }
            ("GET", ["api", "v2", "guide", "survey_responses"]) => {
                let zrn =
                    request.query("filter[subject_zrns]").and_then(|zrn| zrn.strip_prefix("zen:ticket:"));
                let ticket = zrn.and_then(|id| self.store.ticket(id));
                let mut found = ticket.map(|ticket| list(ticket, "_surveys")).unwrap_or_default();
                if request.query("sort") == Some("-id") {
                    found.reverse();
                }
                Reply::json(200, &json!({ "survey_responses": found, "meta": { "has_more": false } }))
            }
            ("PUT", ["api", "v2", "comment_redactions", id]) => self.redact(request, id),
            ("GET", ["api", "v2", "incremental", "tickets", "cursor"]) => self.changed(request, now),
            _ => gone(),
        }
    }
}
