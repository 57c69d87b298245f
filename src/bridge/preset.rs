//! A helpdesk's API as a file: which calls make, find, change, read and remove a ticket there.
//!
//! The presets of `presets/` and an operator's own file are the same thing. Addresses, headers and bodies are
//! templates; what is taken from an answer is an expression. All of them are compiled when the file is read, so that a
//! mistake in one is found by `vigie check` and not by a customer.

mod check;
mod render;

use std::collections::BTreeMap;

use minijinja::Environment;
use serde::Deserialize;

pub(in crate::bridge) use render::base64;
pub use render::{Escape, RenderError};

use crate::ticket::proto::ticket_status::State;

/// The presets that are built in, by the name that `kind` takes.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("rt", include_str!("presets/rt.toml")),
    ("zammad", include_str!("presets/zammad.toml")),
    ("chatwoot", include_str!("presets/chatwoot.toml")),
    ("zendesk", include_str!("presets/zendesk.toml")),
    ("freshdesk", include_str!("presets/freshdesk.toml")),
    ("glpi", include_str!("presets/glpi.toml")),
    ("jira", include_str!("presets/jira.toml")),
    ("osticket", include_str!("presets/osticket.toml")),
];

/// A helpdesk's API.
#[derive(Debug)]
pub struct Preset {
    /// Its calls, as written.
    pub calls: Calls,
    templates: Environment<'static>,
    expressions: Environment<'static>,
}

/// A preset as its file says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// The helpdesk's name, for people.
    pub title: String,
    /// What the operator may or must say beside address and token, by name.
    #[serde(default)]
    pub options: BTreeMap<String, Opt>,
    /// Calls a minute that the helpdesk grants unless the operator knows better.
    pub quota_per_minute: u32,
    /// Calls under way at once at most.
    #[serde(default = "one")]
    pub calls_at_once: u32,
    /// Sent with each call; one that renders to nothing is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What answers say of the calls that are left.
    pub limits: Option<Limits>,
    /// What P1 to P4 are called there, in this order; `level_value` in templates.
    pub levels: [toml::Value; 4],
    /// Longest text it takes, in characters.
    #[serde(default = "text_chars_max")]
    pub text_chars_max: usize,
    /// Whether `erase` takes the text out of a ticket; if not, agents are told that it is still there.
    #[serde(default = "yes")]
    pub erases_text: bool,
    /// What its own history keeps of a ticket whose text was taken out.
    #[serde(default)]
    pub history_keeps: HistoryKeeps,
    /// Whether a ticket that was merged keeps its text beside the one that it went into, and takes an erasure.
    #[serde(default)]
    pub merged_keeps_text: bool,
    /// A call that opens a session, whose captures are `session` in templates; made again after a 401.
    pub login: Option<Step>,
    /// How a ticket is found by our reference; absent where the helpdesk cannot.
    pub find: Option<Find>,
    /// Makes a ticket. Exactly one step captures `id`; those after it may be made again.
    pub create: Vec<Step>,
    /// Adds what has happened since, for agents' eyes.
    #[serde(default)]
    pub note: Vec<Step>,
    /// Gives it another priority.
    #[serde(default)]
    pub reprioritise: Vec<Step>,
    /// Removes what the author has taken back: `subject` and `body` are what may stay.
    #[serde(default)]
    pub erase: Vec<Step>,
    /// Takes the text out of one note, of which its steps' captures are known, too. Absent: agents are asked to.
    #[serde(default)]
    pub erase_note: Vec<Step>,
    /// Removes the ticket that `vigie bridge test` has made.
    #[serde(default)]
    pub remove: Vec<Step>,
    /// What has become of a ticket.
    pub read: Option<Read>,
    /// Which tickets have changed since.
    pub changed: Option<Changed>,
    /// Its states, in ours.
    #[serde(default)]
    pub states: BTreeMap<String, StateName>,
    /// Hints that the helpdesk sends.
    pub webhook: Option<Webhook>,
    /// What `vigie bridge test` asks, in order.
    #[serde(default)]
    pub probe: Vec<Probe>,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn text_chars_max() -> usize {
    30_000
}

/// What agents read in a helpdesk's own history of what was replaced; its API changes nothing of that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryKeeps {
    /// Nothing.
    #[default]
    Nothing,
    /// The subject, which is one without the author's words, then.
    Subject,
    /// The text, or how it begins, whatever the subject is: agents are told.
    Text,
}

/// The headers in which answers say how many calls are left.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The header with the count.
    pub remaining: String,
    /// The header that says when there are more; absent: within a minute.
    pub reset: Option<String>,
    /// How it says it.
    #[serde(default)]
    pub reset_is: ResetIs,
}

/// How an answer says when there are more calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetIs {
    /// In so many seconds.
    #[default]
    Seconds,
    /// At this second since 1970.
    Epoch,
    /// At this time, as RFC 3339 writes it.
    Time,
}

/// Something that the operator says of their helpdesk.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opt {
    /// For people.
    pub about: String,
    /// Absent: it must be given.
    pub default: Option<toml::Value>,
    /// Whether it is of a ticket and not of the helpdesk: it may be another one for the tickets of a team.
    #[serde(default)]
    pub by_team: bool,
}

/// One call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Below the helpdesk's address, query and all. What templates put in is escaped.
    pub path: String,
    /// Beside those of every call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON. What templates put in is escaped, texts with their quotes.
    pub body: Option<String>,
    /// A list: the call is made once for each of its elements, which is `item` then. Such a step captures nothing.
    pub each: Option<String>,
    /// Of the answer: whether the step is made once more, as for the next page of a list. At most
    /// [`AGAIN_MAX`](super::helpdesk::AGAIN_MAX) times.
    pub again: Option<String>,
    /// The step is left out where this is false.
    pub when: Option<String>,
    /// How the answer is written.
    #[serde(default)]
    pub answer: Written,
    /// Of a good answer: whether the thing was done, where its status does not say. False is a refusal.
    pub done: Option<String>,
    /// Values for the steps after this one, and for those of later operations: expressions of `response`, `status` and
    /// `headers`.
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    /// Statuses beside 200 to 299 that are fine: the thing is as it should be.
    #[serde(default)]
    pub accept: Vec<u16>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// As JSON.
    #[default]
    Json,
    /// As plain text, which `response` is then; a page of HTML is none.
    Text,
}

/// How tickets are found by `ref`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// The call.
    pub call: Step,
    /// Where to look if that finds none: each in turn, until one does.
    #[serde(default)]
    pub further: Vec<Step>,
    /// The list in the answer.
    pub items: String,
    /// Of one `item`: its id.
    pub id: String,
    /// Of one `item`: whether it is ours, where the search may be inexact.
    pub matches: Option<String>,
    /// How long a ticket may exist before the search finds it, in milliseconds.
    #[serde(default)]
    pub lag_max_ms: u64,
}

/// What has become of a ticket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The call; 404 and 410 say that it is deleted.
    pub call: Step,
    /// They may as well say that our account may not see it: then it is told to be no longer visible, and nobody says
    /// that it was deleted.
    #[serde(default)]
    pub hides_as_absent: bool,
    /// Calls after it, whose captures `fields` may use.
    #[serde(default)]
    pub also: Vec<Step>,
    /// What to take from the first call's answer, which is `item`.
    pub fields: Fields,
}

/// Expressions of a ticket, which is `item`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// One of `states`.
    pub state: String,
    /// Who has it.
    pub agent: Option<String>,
    /// When it was first answered: RFC 3339 or seconds since 1970.
    pub first_answer_at: Option<String>,
    /// 1 to 5.
    pub satisfaction: Option<String>,
    /// 0 to 10: how likely the customer is to recommend the company.
    pub recommendation: Option<String>,
    /// The ticket that it was merged into.
    pub merged_into: Option<String>,
    /// What its level is called there: `vigie bridge test` sees whether a change has arrived.
    pub level: Option<String>,
    /// Its subject, likewise for an erasure.
    pub subject: Option<String>,
}

/// Which tickets have changed since `cursor`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// The call.
    pub call: Step,
    /// Calls after it, whose captures `items` and `fields` may use.
    #[serde(default)]
    pub also: Vec<Step>,
    /// The list in its answer.
    pub items: String,
    /// Of one `item`: the ticket's id.
    pub id: String,
    /// Of one `item`: when it was changed last, RFC 3339. What is listed twice with the same time is read once, and what
    /// only we have changed is not read first.
    pub at: Option<String>,
    /// Of the whole `response`, or where it says nothing the old `cursor`: the next one.
    pub cursor: String,
    /// The call that `first` is of.
    pub start: Option<Step>,
    /// The first one, of the answer to `start` if there is one; `now` is RFC 3339, `now_s` seconds since 1970.
    pub first: String,
    /// Whether there is more to ask for at once.
    pub more: Option<String>,
    /// Least time from one of these calls to the next, in milliseconds, also where there is more: some take few of them,
    /// whatever is left of the quota.
    #[serde(default)]
    pub interval_min_ms: u64,
    /// Present where an item says all that there is to know: no call is made for each but those without a `state`.
    pub fields: Option<Fields>,
}

/// What the helpdesk sends of itself; a hint, the ticket is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Of `event` (the body) and `headers`: the ticket's id.
    pub id: String,
    /// The header with the signature; absent where the secret is in the address.
    pub signature_header: Option<String>,
    /// Before the signature, such as `sha1=`.
    #[serde(default)]
    pub signature_prefix: String,
    /// Of what.
    #[serde(default)]
    pub digest: Digest,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// A header whose value is signed with the body.
    pub timestamp_header: Option<String>,
    /// Where it stands in what is signed.
    #[serde(default)]
    pub timestamp_comes: Comes,
}

/// Where a time stands in what is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Comes {
    /// Before the body.
    #[default]
    Before,
    /// After it.
    After,
}

/// HMAC's hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// Of 160 bits.
    Sha1,
    /// Of 256 bits.
    #[default]
    Sha256,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Base 16.
    #[default]
    Hex,
    /// Base 64.
    Base64,
}

/// One question of `vigie bridge test`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is found to be right: "token", "queue".
    pub about: String,
    /// The call.
    pub call: Step,
    /// Of the answer: whether it is right. Absent: a good status is enough.
    pub right: Option<String>,
    /// What to do about it if not, a template.
    pub advice: String,
}

/// A state's name in a preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// Nobody has ended it.
    Open,
    /// The customer's turn.
    Pending,
    /// Answered for good.
    Solved,
    /// The same, and nobody opens it again.
    Closed,
    /// Gone.
    Deleted,
}

impl From<StateName> for State {
    fn from(name: StateName) -> State {
        match name {
            StateName::Open => State::Open,
            StateName::Pending => State::Pending,
            StateName::Solved => State::Solved,
            StateName::Closed => State::Closed,
            StateName::Deleted => State::Deleted,
        }
    }
}

/// Why a preset's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// It is no such file.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A template or expression in it does not compile.
    #[error("{key}: {source}")]
    Template {
        /// Where: `create[0].body`.
        key: String,
        /// What is wrong.
        source: minijinja::Error,
    },
    /// Something that belongs together does not.
    #[error("{key}: {text}")]
    Mistake {
        /// Where.
        key: String,
        /// What.
        text: String,
    },
}

impl Calls {
    /// Whether an erasure takes the text out of a ticket.
    pub fn takes_text_out(&self) -> bool {
        self.erases_text && !self.erase.is_empty()
    }
}

impl Preset {
    /// Reads a preset's file.
    ///
    /// # Errors
    ///
    /// The first mistake in it.
    pub fn parse(text: &str) -> Result<Preset, PresetError> {
        let calls: Calls = toml::from_str(text)?;
        let preset = Preset { calls, templates: render::templates(), expressions: render::expressions() };
        preset.check()?;
        Ok(preset)
    }
}

#[cfg(test)]
mod tests;
