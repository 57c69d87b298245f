//! What a preset's templates and expressions give of values.

use std::borrow::Cow;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State as Rendering, UndefinedBehavior};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::IgnoredAny;

use super::Preset;
use crate::bridge::text::QUOTE;

/// What a template needs could not be given.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {why}")]
pub struct RenderError {
    /// Where: `create[0].body`.
    pub key: String,
    why: String,
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
    pub(super) fn extension(self) -> &'static str {
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
    /// Renders the template `text` that stands at `key`.
    ///
    /// # Errors
    ///
    /// It needs what `values` lacks, or it was to give JSON and does not.
    pub fn render(
        &self,
        key: &str,
        text: &str,
        escape: Escape,
        values: &Value,
    ) -> Result<String, RenderError> {
        let name = format!("{key}.{}", escape.extension());
        let rendered = self.templates.render_named_str(&name, text, values);
        let rendered = rendered.map_err(|error| failed(key, &error))?;
        match escape {
            Escape::Url => Ok(utf8_percent_encode(&rendered, UNSAFE).to_string()),
            Escape::Nothing => Ok(rendered),
            Escape::Json => match serde_json::from_str::<IgnoredAny>(&rendered) {
                Ok(_) => Ok(rendered),
                Err(error) => {
                    let why = format!("gives no JSON: {error}; what is put in brings its own quotes");
                    Err(RenderError { key: key.to_owned(), why })
                }
            },
        }
    }

    /// What the expression `text` that stands at `key` says of these values; undefined where it asks for what is not
    /// there.
    ///
    /// # Errors
    ///
    /// It cannot be reckoned of them.
    pub fn evaluate(&self, key: &str, text: &str, values: &Value) -> Result<Value, RenderError> {
        let expression = self.expressions.compile_expression_owned(text.to_owned());
        expression.and_then(|expression| expression.eval(values)).map_err(|error| failed(key, &error))
    }
}

fn failed(key: &str, error: &minijinja::Error) -> RenderError {
    RenderError { key: key.to_owned(), why: error.to_string() }
}

/// For texts: what is not there is a mistake, and what is put in is escaped as the template's name says.
pub(super) fn templates() -> Environment<'static> {
    let mut templates = with_filters();
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
pub(super) fn expressions() -> Environment<'static> {
    let mut expressions = with_filters();
    expressions.set_undefined_behavior(UndefinedBehavior::Chainable);
    expressions
}

fn with_filters() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.add_filter("base64", |text: String| base64(text.as_bytes()));
    environment.add_filter("html", |text: String| html(&text));
    environment.add_filter("wiki", |text: String, units_max: Option<usize>| wiki(&text, units_max));
    environment.add_filter("markdown", |text: String| markdown(&text));
    environment.add_filter("liquid", |text: String| liquid(&text));
    environment.add_filter("redacted", |html: String| redacted(&html));
    environment.add_test("blackened", |html: String| is_blackened(&html));
    environment.add_filter("epoch", epoch);
    environment
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
        AutoEscape::Custom(_) => {
            Err(minijinja::Error::new(ErrorKind::UndefinedError, "a value is not there"))
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// RFC 4648, section 4.
pub(in crate::bridge) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for letter in 0..4 {
            let six = (bits >> (18 - 6 * letter)) & 63;
            text.push(if letter <= group.len() { char::from(LETTERS[six as usize]) } else { '=' });
        }
    }
    text
}

/// Plain text as HTML that shows the same.
fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' => html.push_str("<br>\n"),
            other => html.push(other),
        }
    }
    html
}

/// Plain text as Jira's wiki markup in which nobody is mentioned, no macro or image stands and no link has another text.
/// Addresses stay what they are: they have none of these characters. At most so long, in UTF-16, which is what Jira
/// counts; cut after it is escaped, since that makes some texts five times as long.
fn wiki(text: &str, units_max: Option<usize>) -> String {
    let units_max = units_max.unwrap_or(usize::MAX);
    let mut wiki = String::with_capacity(text.len() + text.len() / 8);
    // How long it is, and where it is cut if it grows too long: with a mark it fits there.
    let (mut units, mut cut) = (0, 0);
    for character in text.chars() {
        let before = wiki.len();
        match character {
            // Two of them would be a line break, after which what follows is markup again.
            '\\' => wiki.push_str("&#92;"),
            '[' | ']' | '{' | '}' | '!' | '|' => wiki.extend(['\\', character]),
            other => wiki.push(other),
        }
        units += wiki[before..].encode_utf16().count();
        if units > units_max {
            wiki.truncate(cut);
            wiki.push('…');
            return wiki;
        }
        if units < units_max {
            cut = wiki.len();
        }
    }
    wiki
}

/// The same as Markdown, and nothing that Liquid would run; lines of a post become a quotation. Chatwoot looks for
/// `(mention://user/1/Ada)` in the text as it is written, whatever stands around it, and puts `{% raw %}` and `{% endraw %}`
/// of its own around what stands between two backticks, so that a `{%` needs no end to be a tag's beginning.
fn markdown(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive('\n') {
        let quoted = line.strip_prefix(QUOTE);
        markdown.extend(quoted.map(|_| '>'));
        for character in quoted.unwrap_or(line).chars() {
            if matches!(character, '\\' | '[' | ']' | '{' | '}' | '<' | '`') {
                markdown.push('\\');
            }
            markdown.push(character);
        }
    }
    liquid(&markdown.replace("mention://", r"mention\://"))
}

/// Plain text in which Liquid fills nothing in: no two braces are side by side, nor one and a percent sign.
fn liquid(text: &str) -> String {
    let mut parted = String::with_capacity(text.len());
    let mut is_open = false;
    for character in text.chars() {
        if is_open && matches!(character, '{' | '%') {
            parted.push(' ');
        }
        parted.push(character);
        is_open = character == '{';
    }
    parted
}

/// What stands for a character that Zendesk has blackened.
const BLACK: char = '\u{2587}';

/// HTML in which everything is marked that Zendesk is to take out of it: texts by `<redact>` around them, what shows or
/// leads somewhere of its own by the attribute `redact`.
fn redacted(html: &str) -> String {
    let mut marked = String::with_capacity(html.len() * 2);
    for (tag, text) in tags_and_texts(html) {
        match tag.find(char::is_whitespace).filter(|_| tells(tag)).and_then(|name| tag.split_at_checked(name))
        {
            Some((name, attributes)) => marked.extend([name, " redact", attributes]),
            None => marked.push_str(tag),
        }
        if !text.is_empty() {
            marked.extend(["<redact>", text, "</redact>"]);
        }
    }
    marked
}

/// Whether nothing is left of a text in this HTML of Zendesk's: tags that say nothing, and black.
fn is_blackened(html: &str) -> bool {
    tags_and_texts(html).all(|(tag, text)| {
        let text = text.replace("&nbsp;", " ");
        let is_whole = tag.is_empty() || tag.ends_with('>');
        is_whole && !tells(tag) && text.chars().all(|c| c == BLACK || c.is_whitespace())
    })
}

/// Each tag of it, from `<` to `>`, with the text behind it; first, with no tag, the text before them all. One that does not
/// end has all that follows in it.
fn tags_and_texts(html: &str) -> impl Iterator<Item = (&str, &str)> {
    let first = html.find('<').unwrap_or(html.len());
    let (text, mut rest) = html.split_at(first);
    let tags = std::iter::from_fn(move || {
        let begin = rest.strip_prefix('<')?;
        let next = begin.find('<').map_or(rest.len(), |at| at + 1);
        let (part, others) = rest.split_at(next);
        rest = others;
        Some(part.split_at(part.find('>').map_or(part.len(), |end| end + 1)))
    });
    std::iter::once(("", text)).chain(tags)
}

/// Whether a tag has an attribute that people see or that leads somewhere.
fn tells(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    ["href=", "src=", "alt=", "title="].iter().any(|attribute| tag.contains(attribute))
}

/// Seconds since 1970 of a time as RFC 3339 writes it; undefined of anything else.
fn epoch(time: &Value) -> Value {
    let time = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    time.map_or(Value::UNDEFINED, |time| Value::from(time.as_second()))
}
