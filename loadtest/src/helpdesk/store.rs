//! What the vendors' helpdesks have in common: numbered tickets, and accounts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// Tickets by number.
///
/// Keys that begin with `_` are the helpdesk's own: its API does not show them.
#[derive(Debug, Default)]
pub struct Store {
    /// By number.
    pub tickets: BTreeMap<u64, Value>,
    /// What agents read of how they were before: fields that were changed, with the old value and the new one, by number.
    pub histories: BTreeMap<u64, Vec<Value>>,
    made_at: BTreeMap<u64, Instant>,
    last: u64,
}

impl Store {
    /// A number that nothing has yet.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Keeps a ticket, with its number as `id`.
    pub fn add(&mut self, mut ticket: Value, now: Instant) -> u64 {
        let id = self.number();
        ticket["id"] = id.into();
        self.tickets.insert(id, ticket);
        self.made_at.insert(id, now);
        id
    }

    /// The ticket of this number as it stands in an address.
    pub fn ticket(&mut self, id: &str) -> Option<&mut Value> {
        self.tickets.get_mut(&id.parse().ok()?)
    }

    /// Keeps what those of `fields` were that are asked to become something else, each cut to so many characters.
    pub(super) fn remember(&mut self, was: &Value, fields: &[&str], asked: &Value, chars_max: usize) {
        let first =
            |value: &Value| value.as_str().unwrap_or_default().chars().take(chars_max).collect::<String>();
        for field in fields.iter().filter(|field| !asked[**field].is_null()) {
            let change = json!({ "field": field, "from": first(&was[*field]), "to": first(&asked[*field]) });
            self.histories.entry(was["id"].as_u64().unwrap_or_default()).or_default().push(change);
        }
    }

    /// The last one made.
    pub fn newest(&mut self) -> Option<&mut Value> {
        self.tickets.values_mut().next_back()
    }

    /// Those that have existed for so long, as the API shows them.
    pub fn seen(&self, lag: Duration, now: Instant) -> Vec<Value> {
        let is_seen = |id: &u64| self.made_at.get(id).is_some_and(|at| now.duration_since(*at) >= lag);
        self.tickets.iter().filter(|(id, _)| is_seen(id)).map(|(_, ticket)| shown(ticket)).collect()
    }

    /// Everything that is kept of all tickets.
    pub fn text(&self) -> String {
        self.tickets.values().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// A ticket as the API shows it.
pub(super) fn shown(ticket: &Value) -> Value {
    let fields = ticket.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !name.starts_with('_'));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Puts the fields of one object into another, in the place of those that are there.
pub(super) fn set(object: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
}

/// Adds to the list of that name.
pub(super) fn push(object: &mut Value, list: &str, element: Value) {
    match object[list].as_array_mut() {
        Some(elements) => elements.push(element),
        None => object[list] = Value::Array(vec![element]),
    }
}

/// The elements of the list of that name.
pub(super) fn list(object: &Value, list: &str) -> Vec<Value> {
    object[list].as_array().cloned().unwrap_or_default()
}

/// Whether this is the number of it, as it stands in an address.
pub(super) fn has_id(element: &Value, id: &str) -> bool {
    id.parse().is_ok_and(|id: u64| element["id"] == id)
}

/// Removes from a list of all tickets the element with this `id`; whether there was one.
pub(super) fn remove(tickets: &mut BTreeMap<u64, Value>, list: &str, id: &str) -> bool {
    let mut is_removed = false;
    for ticket in tickets.values_mut() {
        if let Some(elements) = ticket[list].as_array_mut() {
            let before = elements.len();
            elements.retain(|element| !has_id(element, id));
            is_removed |= elements.len() < before;
        }
    }
    is_removed
}

/// What `Authorization` holds for a name and a password (RFC 7617).
pub(super) fn basic(name: &str, password: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::from("Basic ");
    for group in format!("{name}:{password}").into_bytes().chunks(3) {
        let bytes = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for letter in 0..4_usize {
            let six = (bits >> (18 - 6 * letter)) & 63;
            coded.push(if letter <= group.len() { char::from(LETTERS[six as usize]) } else { '=' });
        }
    }
    coded
}
