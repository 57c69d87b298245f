//! Fields of the helpdesk that an operator fills with what vigie makes of a ticket, each by a small template.
//!
//! The templates see words of ours, of the operator's and of the company's, and nothing that the author has written or
//! that a network says of them: when an author's text is taken out of a ticket, its fields may stay.

use std::sync::Arc;

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, json};
use tracing::warn;

use super::safe::{self, FourByte};
use super::{Values, hex, level_name, most_likely, sample, tags, team_of};
use crate::ticket::proto;

/// What the templates may use.
const SEEN: [&str; 16] = [
    "brand",
    "network",
    "language",
    "sentiment",
    "intent",
    "urgency",
    "sensitive",
    "level",
    "priority",
    "team",
    "agent",
    "supplier",
    "customer",
    "tier",
    "incident",
    "tags",
];
/// Longest text of a field, in characters: helpdesks keep 255 in a line.
const FIELD_CHARS_MAX: usize = 255;

/// The operator's own fields.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    names: Arc<[String]>,
    templates: Environment<'static>,
    four_byte: FourByte,
}

/// A field's template that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct FieldError {
    /// The field's name.
    pub name: String,
    error: String,
}

impl Fields {
    /// Of templates by the names of their fields.
    ///
    /// # Errors
    ///
    /// Every template that does not compile, asks for what there is not, or cannot be rendered with a sample of each kind
    /// of ticket.
    pub fn new(given: Vec<(String, String)>, four_byte: FourByte) -> Result<Fields, Vec<FieldError>> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_debug(true);
        templates.set_auto_escape_callback(|_| AutoEscape::None);
        let names = given.iter().map(|(name, _)| name.clone()).collect();
        let mut mistakes = Vec::new();
        for (name, template) in given {
            let added = templates.add_template_owned(name.clone(), template);
            mistakes.extend(added.err().map(|error| mistake(&name, &error)));
        }
        let fields = Fields { names, templates, four_byte };
        let samples: Vec<_> = sample::tickets("Sample").iter().map(seen).collect();
        for (name, template) in fields.templates.templates() {
            let asked = template.undeclared_variables(false).into_iter();
            let mut unknown: Vec<String> =
                asked.filter(|asked| !SEEN.contains(&asked.as_str()) && asked != "range").collect();
            unknown.sort_unstable();
            if !unknown.is_empty() {
                let error = format!("asks for {}; there are: {}", unknown.join(", "), SEEN.join(", "));
                mistakes.push(FieldError { name: name.to_owned(), error });
                continue;
            }
            let failed = samples.iter().find_map(|seen| template.render(Value::from(Serde(seen))).err());
            mistakes.extend(failed.map(|error| mistake(name, &error)));
        }
        if mistakes.is_empty() { Ok(fields) } else { Err(mistakes) }
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What stands in them of a ticket; those that are empty are left out.
    pub fn of(&self, ticket: &proto::Ticket) -> Values {
        if self.names.is_empty() {
            return Values::new();
        }
        let seen = Value::from(Serde(seen(ticket)));
        let text = |name: &String| {
            let rendered = self.templates.get_template(name).and_then(|template| template.render(&seen));
            let text = rendered.unwrap_or_else(|failed| {
                warn!(field = name, error = %failed, "a field's template fails, it is left empty");
                String::new()
            });
            let text = safe::cut(&safe::line(&text, self.four_byte), FIELD_CHARS_MAX, |_| "…".to_owned());
            (!text.is_empty()).then(|| (name.clone(), text.into()))
        };
        self.names.iter().filter_map(text).collect()
    }
}

/// Empty is what is not known. Words are those of conditions in the config: `x`, `fr`, `negative`.
fn seen(ticket: &proto::Ticket) -> Map<String, serde_json::Value> {
    let post = ticket.post.clone().unwrap_or_default();
    let verdict = ticket.verdict.clone().unwrap_or_default();
    let person = ticket.person.clone().unwrap_or_default();
    let assignment = ticket.assignment.clone().unwrap_or_default();
    // A tag of more letters than a language's code has may be a word of the author's.
    let said = Some(&post.language).filter(|tag| (2..=3).contains(&tag.len()));
    super::values(json!({
        "brand": ticket.brand,
        "network": post.network,
        "language": said.unwrap_or(&verdict.language),
        "sentiment": most_likely(&verdict.sentiment),
        "intent": most_likely(&verdict.intent),
        "urgency": most_likely(&verdict.urgency),
        "sensitive": ticket.sensitive.join(", "),
        "level": level_name(ticket.level()),
        "priority": ticket.priority,
        "team": team_of(ticket),
        "agent": assignment.agent,
        "supplier": assignment.supplier,
        "customer": person.customer,
        "tier": person.tier,
        "incident": hex(&ticket.incident_id),
        "tags": tags(ticket).join(", "),
    }))
}

fn mistake(name: &str, error: &minijinja::Error) -> FieldError {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    FieldError { name: name.to_owned(), error: format!("{}{detail}", error.kind()) }
}
