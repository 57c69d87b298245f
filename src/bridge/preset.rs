//! A helpdesk's API as a file: which calls make, find, change, read and remove a ticket there.
//!
//! The presets of `presets/` and an operator's own file are the same thing. Addresses, headers and bodies are
//! templates; what is taken from an answer is an expression. All of them are compiled when the file is read, so that a
//! mistake in one is found by `vigie check` and not by a customer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, State as Rendering, UndefinedBehavior};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::ticket::proto::ticket_status::State;

/// The presets that are built in, by the name that `kind` takes.
pub const BUILT_IN: [(&str, &str); 1] = [("rt", include_str!("presets/rt.toml"))];

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
    /// Sent with each call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What P1 to P4 are called there, in this order; `level_value` in templates.
    pub levels: [toml::Value; 4],
    /// Longest text it takes, in characters.
    #[serde(default = "text_chars_max")]
    pub text_chars_max: usize,
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

fn text_chars_max() -> usize {
    30_000
}

/// Something that the operator says of their helpdesk.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opt {
    /// For people.
    pub about: String,
    /// Absent: it must be given.
    pub default: Option<toml::Value>,
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
    /// The step is left out where this is false.
    pub when: Option<String>,
    /// Values for the steps after this one, and for those of later operations: expressions of `response`, `status` and
    /// `headers`.
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    /// Statuses beside 200 to 299 that are fine: the thing is as it should be.
    #[serde(default)]
    pub accept: Vec<u16>,
}

/// How tickets are found by `ref`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// The call.
    pub call: Step,
    /// The list in its answer.
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
    /// What to take from its answer.
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
    /// The ticket that it was merged into.
    pub merged_into: Option<String>,
}

/// Which tickets have changed since `cursor`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// The call.
    pub call: Step,
    /// The list in its answer.
    pub items: String,
    /// Of one `item`: the ticket's id.
    pub id: String,
    /// Of the whole `response`, or where it says nothing the old `cursor`: the next one.
    pub cursor: String,
    /// The first one; `now` is RFC 3339.
    pub first: String,
    /// Whether there is more to ask for at once.
    pub more: Option<String>,
    /// Present where an item says all that there is to know: no call is made for each.
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
    /// A header whose value comes before the body in what is signed.
    pub timestamp_header: Option<String>,
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
        text: &'static str,
    },
}

/// What a template needs could not be given.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {source}")]
pub struct RenderError {
    /// Where: `create[0].body`.
    pub key: String,
    source: minijinja::Error,
}

/// How what a template puts in is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// A part of an address.
    Url,
    /// JSON.
    Json,
    /// Nothing: a header, a text.
    Nothing,
}

impl Escape {
    fn extension(self) -> &'static str {
        match self {
            Escape::Url => "url",
            Escape::Json => "json",
            Escape::Nothing => "txt",
        }
    }
}

/// What may not stand in an address as it is.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl Preset {
    /// Reads a preset's file.
    ///
    /// # Errors
    ///
    /// The first mistake in it.
    pub fn parse(text: &str) -> Result<Preset, PresetError> {
        let calls: Calls = toml::from_str(text)?;
        let preset = Preset { calls, templates: templates(), expressions: expressions() };
        preset.check()?;
        Ok(preset)
    }

    /// Renders the template `text` that stands at `key`.
    ///
    /// # Errors
    ///
    /// It needs what `values` lacks.
    pub fn render(
        &self,
        key: &str,
        text: &str,
        escape: Escape,
        values: &Value,
    ) -> Result<String, RenderError> {
        let name = format!("{key}.{}", escape.extension());
        let rendered = self.templates.render_named_str(&name, text, values);
        let rendered = rendered.map_err(|source| RenderError { key: key.to_owned(), source })?;
        Ok(match escape {
            Escape::Url => utf8_percent_encode(&rendered, UNSAFE).to_string(),
            Escape::Json | Escape::Nothing => rendered,
        })
    }

    /// What the expression `text` that stands at `key` says of these values; undefined where it asks for what is not
    /// there.
    ///
    /// # Errors
    ///
    /// It cannot be reckoned of them.
    pub fn evaluate(&self, key: &str, text: &str, values: &Value) -> Result<Value, RenderError> {
        let failed = |source| RenderError { key: key.to_owned(), source };
        self.expressions
            .compile_expression_owned(text.to_owned())
            .map_err(failed)?
            .eval(values)
            .map_err(failed)
    }

    fn check(&self) -> Result<(), PresetError> {
        let calls = &self.calls;
        for (name, value) in &calls.headers {
            self.check_template(&format!("headers.{name}"), value, Escape::Nothing)?;
        }
        let operations = [
            ("create", &calls.create),
            ("note", &calls.note),
            ("reprioritise", &calls.reprioritise),
            ("erase", &calls.erase),
            ("remove", &calls.remove),
        ];
        for (name, steps) in operations {
            steps
                .iter()
                .enumerate()
                .try_for_each(|(index, step)| self.check_step(&format!("{name}[{index}]"), step))?;
        }
        let makes = calls.create.iter().filter(|step| step.capture.contains_key("id")).count();
        if makes != 1 {
            let text = "exactly one step must capture id";
            return Err(PresetError::Mistake { key: "create".to_owned(), text });
        }
        if let Some(login) = &calls.login {
            self.check_step("login", login)?;
        }
        if let Some(find) = &calls.find {
            self.check_step("find.call", &find.call)?;
            let expressions =
                [("items", Some(&find.items)), ("id", Some(&find.id)), ("matches", find.matches.as_ref())];
            self.check_expressions("find", &expressions)?;
        }
        if let Some(read) = &calls.read {
            self.check_step("read.call", &read.call)?;
            self.check_fields("read.fields", &read.fields)?;
        }
        if let Some(changed) = &calls.changed {
            self.check_step("changed.call", &changed.call)?;
            let expressions = [
                ("items", Some(&changed.items)),
                ("id", Some(&changed.id)),
                ("cursor", Some(&changed.cursor)),
                ("first", Some(&changed.first)),
                ("more", changed.more.as_ref()),
            ];
            self.check_expressions("changed", &expressions)?;
            changed.fields.iter().try_for_each(|fields| self.check_fields("changed.fields", fields))?;
        }
        if let Some(webhook) = &calls.webhook {
            self.check_expressions("webhook", &[("id", Some(&webhook.id))])?;
        }
        for (index, probe) in calls.probe.iter().enumerate() {
            let key = format!("probe[{index}]");
            self.check_step(&format!("{key}.call"), &probe.call)?;
            self.check_expressions(&key, &[("right", probe.right.as_ref())])?;
            self.check_template(&format!("{key}.advice"), &probe.advice, Escape::Nothing)?;
        }
        Ok(())
    }

    fn check_step(&self, key: &str, step: &Step) -> Result<(), PresetError> {
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&step.method.as_str()) {
            let text = "must be GET, POST, PUT, PATCH or DELETE";
            return Err(PresetError::Mistake { key: format!("{key}.method"), text });
        }
        if !step.path.starts_with('/') {
            let text = "must begin with a slash: it goes below the address";
            return Err(PresetError::Mistake { key: format!("{key}.path"), text });
        }
        self.check_template(&format!("{key}.path"), &step.path, Escape::Url)?;
        for (name, value) in &step.headers {
            self.check_template(&format!("{key}.headers.{name}"), value, Escape::Nothing)?;
        }
        if let Some(body) = &step.body {
            self.check_template(&format!("{key}.body"), body, Escape::Json)?;
        }
        self.check_expressions(key, &[("when", step.when.as_ref())])?;
        for (name, expression) in &step.capture {
            self.check_expressions(&format!("{key}.capture"), &[(name, Some(expression))])?;
        }
        Ok(())
    }

    fn check_fields(&self, key: &str, fields: &Fields) -> Result<(), PresetError> {
        let Fields { state, agent, first_answer_at, satisfaction, merged_into } = fields;
        let expressions = [
            ("state", Some(state)),
            ("agent", agent.as_ref()),
            ("first_answer_at", first_answer_at.as_ref()),
            ("satisfaction", satisfaction.as_ref()),
            ("merged_into", merged_into.as_ref()),
        ];
        self.check_expressions(key, &expressions)
    }

    fn check_template(&self, key: &str, text: &str, escape: Escape) -> Result<(), PresetError> {
        let name = format!("{key}.{}", escape.extension());
        let compiled = self.templates.template_from_named_str(&name, text);
        compiled.map(drop).map_err(|source| PresetError::Template { key: key.to_owned(), source })
    }

    fn check_expressions(
        &self,
        key: &str,
        expressions: &[(&str, Option<&String>)],
    ) -> Result<(), PresetError> {
        for (name, text) in expressions {
            let Some(text) = text else { continue };
            let compiled = self.expressions.compile_expression(text);
            compiled
                .map(drop)
                .map_err(|source| PresetError::Template { key: format!("{key}.{name}"), source })?;
        }
        Ok(())
    }
}

/// For texts: what is not there is a mistake, and what is put in is escaped as the template's name says.
fn templates() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "json")) => AutoEscape::Json,
        Some((_, "url")) => AutoEscape::Custom(ADDRESS),
        _ => AutoEscape::None,
    });
    templates.set_formatter(write_escaped);
    templates
}

/// For questions: what is not there is undefined.
fn expressions() -> Environment<'static> {
    let mut expressions = Environment::new();
    expressions.set_undefined_behavior(UndefinedBehavior::Chainable);
    expressions
}

/// The kind of escaping of what an address is made of.
const ADDRESS: Cow<'static, str> = Cow::Borrowed("url");

fn write_escaped(
    out: &mut Output<'_>,
    state: &mut Rendering<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    match state.auto_escape() {
        AutoEscape::Custom(name) if *name == ADDRESS && !value.is_undefined() => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Ok(write!(out, "{}", utf8_percent_encode(&text, NON_ALPHANUMERIC))?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}
