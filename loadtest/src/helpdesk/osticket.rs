//! osTicket: tickets are made and nothing else, by a key that is good at one address, answered with a bare number. HTML is
//! unescaped before it is made safe.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Reply, Request, Store, Vendor};

/// Its tickets.
#[derive(Debug)]
pub struct OsTicket {
    /// What it keeps.
    pub store: Store,
    /// The key.
    pub key: String,
    /// Whether the key was made for the address that calls.
    pub is_known_here: bool,
    /// Owners that were written to.
    pub mailed: u64,
}

impl Default for OsTicket {
    fn default() -> OsTicket {
        OsTicket { store: Store::default(), key: "secret".to_owned(), is_known_here: true, mailed: 0 }
    }
}

/// Longest text that a column of the type TEXT holds.
const TEXT_BYTES_MAX: usize = 65_535;
/// What a ticket may be made of; anything else is an error.
const KNOWN: [&str; 11] = [
    "alert",
    "autorespond",
    "source",
    "name",
    "email",
    "subject",
    "message",
    "ip",
    "priorityId",
    "topicId",
    // A field of the ticket form's own.
    "network",
];

/// What it makes of HTML before it looks for what is not allowed (`Format::safe_html`, `decode`): links, pictures and
/// styles are.
fn unescaped(html: &str) -> String {
    let html = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    html.replace("&amp;", "&")
}

/// A text, as it is kept and shown (`TextThreadEntryBody`).
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#039;")
}

impl Vendor for OsTicket {
    fn handle(&mut self, request: &Request, now: Instant) -> Reply {
        let said = |status, words: String| Reply::text(status, "text/plain", words);
        if (request.method.as_str(), request.path.as_str()) != ("POST", "/api/tickets.json") {
            return said(404, "Not Found".to_owned());
        }
        if request.header("x-api-key") != Some(&self.key) || !self.is_known_here {
            return said(401, "Valid API key required".to_owned());
        }
        let asked = &request.body;
        if let Some((name, _)) =
            asked.as_object().into_iter().flatten().find(|(name, _)| !KNOWN.contains(&name.as_str()))
        {
            return said(400, format!("{name}: Unexpected data received in API request"));
        }
        if asked["topicId"].as_u64().is_some_and(|topic| topic > 9) {
            return said(
                400,
                "Unable to create new ticket: validation errors:\ntopicId: Invalid help topic".to_owned(),
            );
        }
        self.mailed += u64::from(asked["autorespond"] != false);
        let message = asked["message"].as_str().unwrap_or_default();
        let html = match message.split_once(";charset=utf-8,") {
            Some(("data:text/html", html)) => unescaped(html),
            Some(("data:text/plain", text)) => escaped(text),
            _ => return said(400, "message: not a data URL".to_owned()),
        };
        let reference = html.rsplit("vigie-ref: ").next().unwrap_or_default().to_owned();
        // MySQL cuts a text that its column does not hold.
        let held = (0..=TEXT_BYTES_MAX.min(html.len())).rev().find(|at| html.is_char_boundary(*at));
        let html = &html[..held.unwrap_or_default()];
        let ticket = json!({
            "subject": asked["subject"], "message": html, "priority": asked["priorityId"], "topic": asked["topicId"],
            "network": asked["network"],
        });
        let id = self.store.add(ticket, now);
        // A number of six digits, which as JSON would be none.
        let number = format!("{id:06}");
        let priority: &Value = &asked["priorityId"];
        said(201, number.clone()).making(&reference, number, priority)
    }
}
