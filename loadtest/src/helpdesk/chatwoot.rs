//! Chatwoot: a contact before a conversation, attributes that must be defined, messages that are Liquid, answers without a
//! body.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::{has_id, list, push, set, shown};
use super::{Reply, Request, Store, Vendor};

/// Its conversations, with their messages as `_messages`.
#[derive(Debug)]
pub struct Chatwoot {
    /// What it keeps.
    pub store: Store,
    /// The access token of agent 7.
    pub token: String,
    /// Contacts.
    pub contacts: Vec<Value>,
    /// Keys of custom attributes of conversations.
    pub attributes: Vec<String>,
    /// Whether the agent may delete conversations.
    pub is_admin: bool,
    /// Messages that went to a person: those that are neither private nor incoming.
    pub sent: u64,
    /// Users and teams that messages have mentioned, who are written to.
    pub mentioned: u64,
    /// Tags and placeholders of Liquid that messages have run.
    pub run: u64,
}

/// The account.
const ACCOUNT: &str = "1";
/// Messages in an answer, and contacts.
const PAGE: usize = 20;
const CONTACTS: usize = 15;
/// Longest string, in characters.
const STRING_CHARS_MAX: usize = 255;
/// Its inboxes of the channel API.
const INBOXES: [&str; 2] = ["5", "8"];
/// Its team.
const TEAM: u64 = 3;

impl Default for Chatwoot {
    fn default() -> Chatwoot {
        Chatwoot {
            store: Store::default(),
            token: "secret".to_owned(),
            contacts: Vec::new(),
            attributes: ["vigie_ref", "network"].map(str::to_owned).to_vec(),
            is_admin: true,
            sent: 0,
            mentioned: 0,
            run: 0,
        }
    }
}

impl Chatwoot {
    fn message(&mut self, asked: &Value) -> Value {
        let is_private = asked["private"] == true;
        if !is_private && asked["message_type"] != "incoming" {
            self.sent += 1;
        }
        let content = asked["content"].as_str().unwrap_or_default();
        self.mentioned += mentions(content);
        if asked["message_type"] != "incoming" {
            self.run += run(&without_code(content));
        }
        let id = self.store.number();
        json!({
            "id": id, "content": asked["content"], "content_type": "text", "content_attributes": {}, "private": is_private,
            "sender": { "id": 7, "type": "user" },
        })
    }

    /// Asks the customer, as it does when a conversation is resolved; what they say is in the same message later.
    pub fn survey(&mut self, id: &str) {
        let number = self.store.number();
        if let Some(conversation) = self.store.ticket(id) {
            let question = json!({
                "id": number, "content": "Please rate the conversation", "content_type": "input_csat", "private": false,
                "content_attributes": {}, "message_type": 3,
            });
            push(conversation, "_messages", question);
        }
    }

    /// What the customer says to the last survey.
    pub fn rate(&mut self, id: &str, rating: &Value) {
        let messages =
            self.store.ticket(id).and_then(|conversation| conversation["_messages"].as_array_mut());
        let survey = messages.into_iter().flatten().rfind(|message| message["content_type"] == "input_csat");
        if let Some(survey) = survey {
            survey["content_attributes"]["submitted_values"] = json!({ "csat_survey_response": { "rating": rating, "feedback_message": "they wrote something" } });
        }
    }

    fn contact(&mut self, asked: &Value) -> Reply {
        let is_long = |name: &&&str| {
            let text = asked[**name].as_str().unwrap_or_default();
            text.chars().count() > STRING_CHARS_MAX
        };
        if let Some(name) = ["name", "identifier"].iter().find(is_long) {
            let words = format!("{name} is too long (maximum is {STRING_CHARS_MAX} characters)");
            return Reply::json(422, &json!({ "message": words, "attributes": [name] }));
        }
        let is_taken = |contact: &Value| contact["identifier"] == asked["identifier"];
        if !asked["identifier"].is_null() && self.contacts.iter().any(is_taken) {
            let words = "Identifier has already been taken";
            return Reply::json(422, &json!({ "message": words, "attributes": ["identifier"] }));
        }
        let mut contact = asked.clone();
        contact["id"] = self.store.number().into();
        self.contacts.push(contact.clone());
        Reply::json(200, &json!({ "payload": { "contact": contact, "contact_inbox": { "source_id": "s" } } }))
    }

    fn conversation(&mut self, asked: &Value, now: Instant) -> Reply {
        if !INBOXES.contains(&asked["inbox_id"].to_string().trim_matches('"'))
            || asked.get("team_id").is_some_and(|team| *team != TEAM)
            || !self.contacts.iter().any(|contact| contact["id"] == asked["contact_id"])
        {
            return Reply::json(404, &json!({ "error": "Resource could not be found" }));
        }
        let message = self.message(&asked["message"]);
        let conversation = json!({
            "status": asked["status"], "custom_attributes": asked["custom_attributes"], "priority": null, "labels": [],
            "inbox_id": asked["inbox_id"], "meta": { "team": { "id": asked["team_id"] }, "sender": { "id": asked["contact_id"] } }, "first_reply_created_at": 0, "_messages": [message],
        });
        let id = self.store.add(conversation, now);
        let reference = asked["custom_attributes"]["vigie_ref"].as_str().unwrap_or_default();
        Reply::json(200, &shown(&self.store.tickets[&id])).making(reference, id, &Value::Null)
    }

    fn filter(&self, asked: &Value, now: Instant) -> Reply {
        let filter = &asked["payload"][0];
        let key = filter["attribute_key"].as_str().unwrap_or_default();
        if !self.attributes.iter().any(|attribute| attribute == key) {
            return Reply::json(422, &json!({ "error": format!("Invalid attribute key - [{key}]") }));
        }
        let mut found = self.store.seen(std::time::Duration::ZERO, now);
        found.retain(|conversation| conversation["custom_attributes"][key] == filter["values"][0]);
        Reply::json(200, &json!({ "meta": { "all_count": found.len() }, "payload": found }))
    }

    /// As it is written, whether in capitals or not.
    fn filter_contacts(&self, asked: &Value) -> Reply {
        let filter = &asked["payload"][0];
        if filter["attribute_key"] != "identifier" || filter["filter_operator"] != "equal_to" {
            return Reply::json(422, &json!({ "error": "Invalid attribute key or operator" }));
        }
        let lower = |value: &Value| value.as_str().map(str::to_lowercase);
        let is_found = |contact: &&Value| {
            contact["identifier"].is_string() && lower(&contact["identifier"]) == lower(&filter["values"][0])
        };
        let found: Vec<&Value> = self.contacts.iter().filter(is_found).collect();
        let page = &found[..found.len().min(CONTACTS)];
        Reply::json(200, &json!({ "meta": { "count": found.len() }, "payload": page }))
    }

    fn conversation_call(&mut self, request: &Request, id: &str, rest: &[&str]) -> Reply {
        let message = match (request.method.as_str(), rest) {
            ("POST", ["messages"]) => Some(self.message(&request.body)),
            _ => None,
        };
        let is_admin = self.is_admin;
        let contacts = &self.contacts;
        let gone = || Reply::json(404, &json!({ "error": "Resource could not be found" }));
        let Some(conversation) = self.store.ticket(id) else { return gone() };
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let mut shown = shown(conversation);
                let is_sender = |contact: &&Value| contact["id"] == shown["meta"]["sender"]["id"];
                if let Some(contact) = contacts.iter().find(is_sender) {
                    shown["meta"]["sender"] = contact.clone();
                }
                Reply::json(200, &shown)
            }
            ("DELETE", []) if !is_admin => {
                Reply::json(401, &json!({ "error": "You are not authorized to do this action" }))
            }
            ("DELETE", []) => {
                self.store.tickets.remove(&id.parse().unwrap_or_default());
                Reply::empty(200)
            }
            ("POST", ["toggle_priority" | "labels"]) => {
                set(conversation, &request.body);
                Reply::empty(200)
            }
            ("POST", ["toggle_status"]) => {
                set(conversation, &request.body);
                Reply::json(200, &json!({ "payload": { "success": true } }))
            }
            ("GET", ["messages"]) => {
                let before: u64 = request.query("before").and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
                let mut messages = list(conversation, "_messages");
                messages.retain(|message| message["id"].as_u64().is_some_and(|id| id < before));
                let page = messages.split_off(messages.len().saturating_sub(PAGE));
                Reply::json(200, &json!({ "meta": {}, "payload": page }))
            }
            ("POST", ["messages"]) => {
                let message = message.unwrap_or_default();
                push(conversation, "_messages", message.clone());
                Reply::json(200, &message)
            }
            ("DELETE", ["messages", message]) => {
                let messages = conversation["_messages"].as_array_mut().into_iter().flatten();
                for found in messages.filter(|found| has_id(found, message)) {
                    found["content"] = json!("This message was deleted");
                }
                Reply::empty(200)
            }
            _ => gone(),
        }
    }
}

/// How many `\(mention://(user|team)/(\d+)/(.+?)\)` there are, which is what it looks for in the raw text.
fn mentions(content: &str) -> u64 {
    let is_mention = |rest: &&str| {
        let who = rest.strip_prefix("user/").or_else(|| rest.strip_prefix("team/"));
        let named = who.and_then(|who| who.split_once('/'));
        named.is_some_and(|(number, name)| {
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let line = name.lines().next().unwrap_or_default();
            is_number && line.chars().skip(1).any(|c| c == ')')
        })
    };
    content.split("(mention://").skip(1).filter(is_mention).count() as u64
}

/// What it makes of a message before it reads it as Liquid, private or not: nothing between two backticks is to be run.
fn without_code(content: &str) -> String {
    let (mut shown, mut rest) = (String::new(), content);
    while let Some((before, (code, after))) =
        rest.split_once('`').and_then(|(before, rest)| Some((before, rest.split_once('`')?)))
    {
        shown.push_str(&format!("{before}{{% raw %}}`{code}`{{% endraw %}}"));
        rest = after;
    }
    shown + rest
}

/// How many `{% … %}` and `{{ … }}` of it Liquid runs: all but what is raw.
fn run(content: &str) -> u64 {
    let (mut count, mut rest) = (0, content);
    while let Some(at) = rest.find("{%").into_iter().chain(rest.find("{{")).min() {
        let (end, is_tag) = if rest[at..].starts_with("{%") { ("%}", true) } else { ("}}", false) };
        let inside = &rest[at + 2..];
        let Some((inside, after)) = inside.split_once(end) else {
            rest = inside;
            continue;
        };
        rest = after;
        match inside.trim().trim_matches('-').trim() {
            "raw" if is_tag => rest = after.split_once("{% endraw %}").map_or("", |(_, after)| after),
            _ => count += 1,
        }
    }
    count
}

impl Vendor for Chatwoot {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        if request.header("api_access_token") != Some(&self.token) {
            return Reply::json(401, &json!({ "error": "Invalid Access Token" }));
        }
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let rest = match segments.as_slice() {
            ["api", "v1", "profile"] => {
                return Reply::json(200, &json!({ "id": 7, "accounts": [{ "id": 1, "role": "agent" }] }));
            }
            ["api", "v1", "accounts", ACCOUNT, rest @ ..] => rest,
            _ => {
                return Reply::json(
                    401,
                    &json!({ "error": "You are not authorized to access this account" }),
                );
            }
        };
        match (request.method.as_str(), rest) {
            ("GET", ["inboxes", id]) => match *id {
                id if INBOXES.contains(&id) => {
                    Reply::json(200, &json!({ "id": 5, "channel_type": "Channel::Api" }))
                }
                "6" => Reply::json(200, &json!({ "id": 6, "channel_type": "Channel::Email" })),
                _ => Reply::json(404, &json!({ "error": "Resource could not be found" })),
            },
            ("GET", ["teams", id]) if *id == TEAM.to_string() => {
                Reply::json(200, &json!({ "id": TEAM, "name": "billing" }))
            }
            ("GET", ["custom_attribute_definitions"]) => {
                let definitions = self.attributes.iter().map(|key| json!({ "attribute_key": key }));
                Reply::json(200, &definitions.collect())
            }
            ("GET", ["contacts", "search"]) => {
                let asked = request.query("q").unwrap_or_default();
                // Wherever it stands, and in no order that is documented.
                let holds = |value: &Value| value.as_str().is_some_and(|text| text.contains(asked));
                let is_found = |contact: &&Value| holds(&contact["identifier"]) || holds(&contact["name"]);
                let found: Vec<&Value> = self.contacts.iter().rev().filter(is_found).take(CONTACTS).collect();
                Reply::json(200, &json!({ "meta": { "count": found.len() }, "payload": found }))
            }
            ("POST", ["contacts", "filter"]) => self.filter_contacts(&request.body),
            ("POST", ["contacts"]) => self.contact(&request.body),
            ("PUT", ["contacts", id]) => match self.contacts.iter_mut().find(|contact| has_id(contact, id)) {
                Some(contact) => {
                    set(contact, &request.body);
                    Reply::json(200, &json!({ "payload": contact }))
                }
                None => Reply::json(404, &json!({ "error": "Resource could not be found" })),
            },
            ("POST", ["conversations", "filter"]) => self.filter(&request.body, now),
            ("POST", ["conversations"]) => self.conversation(&request.body, now),
            (_, ["conversations", id, rest @ ..]) => self.conversation_call(request, id, rest),
            _ => Reply::json(404, &json!({ "error": "Resource could not be found" })),
        }
    }
}
