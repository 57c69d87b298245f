//! A ticket as agents like it: subject, text, notes and tags, in French or English, by templates.
//!
//! The built-in templates are in `text/en` and `text/fr`; an operator's own, by brand, see the same values
//! (`systemd/bridges.md` lists them). One that cannot be rendered is a mistake that `vigie check` finds, and one that
//! fails at a ticket all the same gives way to the built-in one: nobody waits for an answer because of a template.
//!
//! What strangers write comes out safe: no control characters, nothing that turns the order of what is shown, each line of
//! a post marked as quoted, everything cut to what the helpdesk takes, HTML escaped.

use std::sync::Arc;

use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, json};
use tracing::{error, warn};

use super::preset::{HistoryKeeps, Preset};
use crate::ticket::proto;

mod fields;
mod safe;
pub mod sample;
mod view;
mod words;

pub use fields::{FieldError, Fields};
pub use safe::FourByte;
pub use words::Language;

use view::View;

/// What begins the last line of a ticket's text; vigie's reference follows. Helpdesks without a field for it are searched
/// for it, and people may be.
pub const REFERENCE: &str = "vigie-ref: ";

/// What begins each line of a post. No `>`, nor anything else that mail quotes with: Request Tracker folds such lines away,
/// and agents would open a ticket without the post in it.
pub const QUOTE: char = '│';

/// Longest subject, in characters: RT keeps 200, others 255.
pub const SUBJECT_CHARS_MAX: usize = 150;
/// Characters of anything else on one line: a name, a title, a reason. Addresses of posts are shorter than 500.
const LINE_CHARS_MAX: usize = 500;
/// Longest tag, in characters, and most of them.
const TAG_CHARS_MAX: usize = 40;
const TAGS_MAX: usize = 10;

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A ticket's subject.
    Subject,
    /// Its text.
    Body,
    /// What has happened since.
    Note,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::Subject, Part::Body, Part::Note];

    fn name(self) -> &'static str {
        match self {
            Part::Subject => "subject",
            Part::Body => "body",
            Part::Note => "note",
        }
    }

    fn built_in(self, language: Language) -> &'static str {
        match (self, language) {
            (Part::Subject, Language::En) => include_str!("text/en/subject.txt"),
            (Part::Subject, Language::Fr) => include_str!("text/fr/subject.txt"),
            (Part::Body, Language::En) => include_str!("text/en/body.txt"),
            (Part::Body, Language::Fr) => include_str!("text/fr/body.txt"),
            (Part::Note, Language::En) => include_str!("text/en/note.txt"),
            (Part::Note, Language::Fr) => include_str!("text/fr/note.txt"),
        }
    }
}

/// The name of the subject's template where a subject that was replaced stays in a history that agents read: nothing of it
/// is the author's words or name, so that an erasure leaves nothing of them. Agents tell tickets apart by what vigie makes of
/// the post and by the company's own article about it.
const SUBJECT_THAT_STAYS: &str = "subject_that_stays";

fn subject_that_stays(language: Language) -> &'static str {
    match language {
        Language::En => include_str!("text/en/subject_that_stays.txt"),
        Language::Fr => include_str!("text/fr/subject_that_stays.txt"),
    }
}

/// What a brand has of its own.
#[derive(Debug, Clone, Default)]
pub struct Brand {
    /// As tickets call it.
    pub name: String,
    /// Where a post is in neither language; English.
    pub language: Option<Language>,
    /// Its accounts on the networks, as in config.
    pub handles: Vec<String>,
    /// Its own templates.
    pub templates: Vec<(Part, String)>,
}

/// How texts must be for a helpdesk.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Longest text that it takes, in characters.
    pub text_chars_max: usize,
    /// Whether its text is taken out of a ticket that is erased.
    pub erases_text: bool,
    /// What its history keeps of that.
    pub history_keeps: HistoryKeeps,
    /// What its database makes of emoji.
    pub four_byte: FourByte,
    /// What P1 to P4 are called there, in this order.
    pub levels: [serde_json::Value; 4],
    /// Whose wall clock times are shown by.
    pub zone: TimeZone,
}

impl Shape {
    /// As this helpdesk takes them, with emoji and by UTC.
    pub fn of(preset: &Preset) -> Shape {
        let levels = preset.calls.levels.clone();
        Shape {
            text_chars_max: preset.calls.text_chars_max,
            erases_text: preset.calls.takes_text_out(),
            history_keeps: preset.calls.history_keeps,
            four_byte: FourByte::Keep,
            levels: levels.map(|level| serde_json::to_value(level).unwrap_or_default()),
            zone: TimeZone::UTC,
        }
    }
}

/// A template of an operator's that cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TextError {
    /// Whose.
    pub brand: String,
    /// Which.
    pub part: Part,
    error: String,
}

/// What is known of a ticket when one of its changes is put into words.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The ticket's id as 32 hex digits.
    pub reference: &'a str,
    /// Whose it is.
    pub brand: &'a str,
    /// In which language its text was written ([`Texts::language`]); `None`: by the change's post, or the brand.
    pub language: Option<Language>,
    /// Its level until now, such as "P3"; `None` if it is not known.
    pub level: Option<&'a str>,
}

/// Puts tickets into words for one helpdesk.
#[derive(Debug, Clone)]
pub struct Texts {
    brands: Arc<[Brand]>,
    templates: Environment<'static>,
    text_chars_max: usize,
    erases_text: bool,
    history_keeps: HistoryKeeps,
    four_byte: FourByte,
    levels: [serde_json::Value; 4],
    zone: TimeZone,
    fields: Fields,
}

/// What preset templates see, by name.
pub type Values = Map<String, serde_json::Value>;

impl Texts {
    /// With the brands that have something of their own.
    ///
    /// # Errors
    ///
    /// Every template that does not compile, or cannot be rendered with a sample of each kind of ticket and change.
    pub fn new(shape: Shape, brands: Vec<Brand>) -> Result<Texts, Vec<TextError>> {
        let Shape { text_chars_max, erases_text, history_keeps, four_byte, levels, zone } = shape;
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::None);
        // A line that holds a tag alone is no line of the text.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        templates.set_syntax(syntax.expect("the usual delimiters"));
        for language in [Language::En, Language::Fr] {
            let parts = Part::ALL.map(|part| (part.name(), part.built_in(language)));
            for (name, text) in parts.into_iter().chain([(SUBJECT_THAT_STAYS, subject_that_stays(language))])
            {
                let name = format!("{}/{name}", language.tag());
                templates.add_template_owned(name, text).expect("a test renders each");
            }
        }
        let mut mistakes = Vec::new();
        for brand in &brands {
            for (part, text) in &brand.templates {
                let added = templates.add_template_owned(own(&brand.name, *part), text.clone());
                mistakes.extend(added.err().map(|error| mistake(&brand.name, *part, &error)));
            }
        }
        let (brands, fields) = (brands.into(), Fields::default());
        let texts = Texts {
            brands,
            templates,
            text_chars_max,
            erases_text,
            history_keeps,
            four_byte,
            levels,
            zone,
            fields,
        };
        if mistakes.is_empty() {
            mistakes = texts.try_samples();
        }
        if mistakes.is_empty() { Ok(texts) } else { Err(mistakes) }
    }

    /// In the words that are built in, for every brand.
    pub fn built_in(preset: &Preset) -> Texts {
        Texts::new(Shape::of(preset), Vec::new()).expect("a test renders each built-in template")
    }

    /// With fields of the operator's own.
    pub fn with_fields(self, fields: Fields) -> Texts {
        Texts { fields, ..self }
    }

    /// The operator's own fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The language of a ticket's text: its post's, if it is one of ours, else its brand's.
    pub fn language(&self, ticket: &proto::Ticket) -> Language {
        let said = ticket.post.as_ref().map_or("", |post| &post.language);
        let heard = ticket.verdict.as_ref().map_or("", |verdict| &verdict.language);
        let tag = if said.is_empty() { heard } else { said };
        Language::of(tag).unwrap_or_else(|| self.language_of_brand(&ticket.brand))
    }

    /// What calls that make a ticket see of it.
    pub fn ticket(&self, ticket: &proto::Ticket) -> Values {
        let reference = hex(&ticket.id);
        let view = View { texts: self, language: self.language(ticket) };
        let seen = view.ticket(ticket, &reference);
        let subject = self.subject(&self.written(Part::Subject, &ticket.brand, view.language, &seen));
        let body = self.written(Part::Body, &ticket.brand, view.language, &seen);
        let body = self.with_reference(&body, &reference, &view);
        let text_of = |name: &str| seen.get(name).cloned().unwrap_or_default();
        values(json!({
            "ref": reference,
            "subject": subject,
            "body_html": safe::html(&body),
            "body": body,
            "level": level_name(ticket.level()),
            "level_value": self.level(ticket.level()),
            "priority": ticket.priority,
            "team": text_of("team"),
            "agent": text_of("agent"),
            "brand": text_of("brand"),
            "language": view.language.tag(),
            "tags": tags(ticket),
            "fields": self.fields.of(ticket),
            "ticket": text_of("ticket"),
        }))
    }

    /// What calls that note a change, or give the ticket another priority, see of it.
    pub fn update(&self, about: &About<'_>, update: &proto::Update) -> Values {
        use proto::update::Change;
        let (post, level) = match &update.change {
            Some(Change::FollowedUp(followed)) => (followed.post.as_ref(), Some(followed.level())),
            Some(Change::Rescored(rescored)) => (None, Some(rescored.level())),
            _ => (None, None),
        };
        let language = about
            .language
            .or_else(|| Language::of(&post?.language))
            .unwrap_or_else(|| self.language_of_brand(about.brand));
        let view = View { texts: self, language };
        let seen = view.update(about, update);
        let note = self.written(Part::Note, about.brand, language, &seen);
        let note = safe::cut(&note, self.text_chars_max, |missing| view.mark(missing));
        let mut values = values(json!({
            "ref": about.reference,
            "note": note,
            "brand": seen.get("brand").cloned().unwrap_or_default(),
            "language": language.tag(),
            "priority": seen.get("priority").cloned().unwrap_or_default(),
            "team": seen.get("team").cloned().unwrap_or_default(),
            "agent": seen.get("agent").cloned().unwrap_or_default(),
        }));
        if let Some(level) = level {
            values.insert("level".to_owned(), level_name(level).into());
            values.insert("level_value".to_owned(), self.level(level));
        }
        values
    }

    /// What all calls about a change see: `subject`, `body` and `body_html` of what may stay if it is an erasure, `note`
    /// that tells of it, and the level that the ticket has by then.
    pub fn change(&self, about: &About<'_>, update: &proto::Update, level: proto::Level) -> Values {
        let reason = match &update.change {
            Some(proto::update::Change::Erased(erased)) => &erased.reason,
            _ => "",
        };
        let mut values = self.erasure(about, reason);
        values.extend(self.update(about, update));
        self.set_level(&mut values, level);
        values
    }

    /// What templates see of a level.
    pub fn set_level(&self, values: &mut Values, level: proto::Level) {
        values.insert("level".to_owned(), level.as_str_name().into());
        values.insert("level_value".to_owned(), self.level(level));
    }

    /// What calls that take an author's text out of a ticket see: what may stay, and why it goes.
    pub fn erasure(&self, about: &About<'_>, reason: &str) -> Values {
        self.erasure_that(self.erases_text, about, reason)
    }

    /// The same, where the helpdesk has not let the text be taken out: agents are told that it is still there.
    pub fn left(&self, about: &About<'_>, reason: &str) -> Values {
        self.erasure_that(false, about, reason)
    }

    /// What agents are told where the text of one of a ticket's further posts stays: which it is, since the others are not
    /// to go.
    pub fn left_of_one(&self, about: &About<'_>, post_id: &str) -> Values {
        let language = about.language.unwrap_or_else(|| self.language_of_brand(about.brand));
        let view = View { texts: self, language };
        let post = as_seen(post_id, self.four_byte);
        let note = match language {
            Language::En => format!(
                "One of the further posts in this ticket has been deleted by its author: {post}. Its text is still in one of \
                 the earlier messages here: no program can take it out there, an administrator must."
            ),
            Language::Fr => format!(
                "Un des messages suivants de ce ticket a été retiré par son auteur : {post}. Son texte reste dans un des \
                 messages précédents : aucun programme ne peut l'en retirer, un administrateur doit le faire."
            ),
        };
        values(json!({ "note": self.with_reference(&note, about.reference, &view) }))
    }

    fn erasure_that(&self, takes_out: bool, about: &About<'_>, reason: &str) -> Values {
        let language = about.language.unwrap_or_else(|| self.language_of_brand(about.brand));
        let view = View { texts: self, language };
        let (subject, body) = match (reason, language) {
            ("account_deleted", Language::En) => {
                ("Removed: the author has deleted their account", "The author has deleted their account.")
            }
            ("account_deleted", Language::Fr) => {
                ("Supprimé : l'auteur a fermé son compte", "L'auteur a fermé son compte.")
            }
            (_, Language::En) => {
                ("Removed: the author has deleted the post", "The author has deleted the post.")
            }
            (_, Language::Fr) => ("Supprimé : l'auteur a retiré le message", "L'auteur a retiré le message."),
        };
        let what = match takes_out {
            true if self.history_tells(about.brand) => language.say(
                "Its text, and what was known of the person, has been taken out of this ticket, but this ticket's history still \
                 shows what was there, or how it began: no program can take it out there, an administrator must. What agents \
                 have copied of it, into notes of their own or other tickets, is still there, too: please take it out.",
                "Son texte, et ce que l'on savait de la personne, ont été retirés de ce ticket, mais l'historique du ticket en \
                 montre encore le contenu ou le début : aucun programme ne peut l'en retirer, un administrateur doit le faire. \
                 Ce que des agents en ont recopié, dans leurs notes ou d'autres tickets, y reste aussi : merci de le retirer.",
            ),
            true => language.say(
                "Its text, and what was known of the person, has been taken out of this ticket. What agents have copied of \
                 it, into notes of their own or other tickets, is still there: please take it out, too.",
                "Son texte, et ce que l'on savait de la personne, ont été retirés de ce ticket. Ce que des agents en ont \
                 recopié, dans leurs notes ou d'autres tickets, y reste : merci de le retirer aussi.",
            ),
            false => language.say(
                "Its text, and what was known of the person, is still in this ticket's earlier messages, or in another \
                 ticket with the same reference: no program can take it out there, an administrator must.",
                "Son texte, et ce que l'on savait de la personne, restent dans les messages précédents de ce ticket, ou \
                 dans un autre de même référence : aucun programme ne peut les en retirer, un administrateur doit le \
                 faire.",
            ),
        };
        let body = self.with_reference(&format!("{body} {what}"), about.reference, &view);
        values(json!({
            "ref": about.reference,
            "subject": subject,
            "body_html": safe::html(&body),
            "note": body,
            "body": body,
            "reason": reason,
            "language": language.tag(),
        }))
    }

    /// Whether the helpdesk's history still shows what an author has taken back: a subject of the operator's own may say
    /// anything.
    fn history_tells(&self, brand: &str) -> bool {
        match self.history_keeps {
            HistoryKeeps::Nothing => false,
            HistoryKeeps::Subject => self.templates.get_template(&own(brand, Part::Subject)).is_ok(),
            HistoryKeeps::Text => true,
        }
    }

    /// The accounts of this brand.
    fn handles(&self, brand: &str) -> &[String] {
        self.brand(brand).map(|brand| brand.handles.as_slice()).unwrap_or_default()
    }

    fn brand(&self, name: &str) -> Option<&Brand> {
        self.brands.iter().find(|brand| brand.name == name)
    }

    fn language_of_brand(&self, brand: &str) -> Language {
        self.brand(brand).and_then(|brand| brand.language).unwrap_or(Language::En)
    }

    /// What this level is called there.
    pub fn level(&self, level: proto::Level) -> serde_json::Value {
        // As in `level_name`.
        let index = usize::try_from(level as i32 - 1).unwrap_or(self.levels.len() - 1);
        self.levels.get(index).cloned().unwrap_or_default()
    }

    /// The text by the brand's own template, else by the built-in one.
    fn written(&self, part: Part, brand: &str, language: Language, seen: &serde_json::Value) -> String {
        let seen = Value::from(Serde(seen));
        if let Ok(template) = self.templates.get_template(&own(brand, part)) {
            match template.render(&seen) {
                Ok(text) => return self.tidy(&text),
                Err(failed) => {
                    warn!(brand, part = part.name(), error = %failed, "template fails, the built-in one is used");
                }
            }
        }
        let name = match (part, self.history_keeps) {
            (Part::Subject, HistoryKeeps::Subject) => SUBJECT_THAT_STAYS,
            (part, _) => part.name(),
        };
        let name = format!("{}/{name}", language.tag());
        let rendered = self.templates.get_template(&name).and_then(|template| template.render(&seen));
        rendered.map(|text| self.tidy(&text)).unwrap_or_else(|failed| {
            error!(name, error = %failed, "built-in template fails; this is a bug in vigie");
            String::new()
        })
    }

    /// Every template of an operator's with every sample, in each language: which one a ticket has its post decides.
    fn try_samples(&self) -> Vec<TextError> {
        let mut mistakes: Vec<TextError> = Vec::new();
        for brand in self.brands.iter() {
            for (part, _) in &brand.templates {
                let failed = self.samples_of(*part, &brand.name).into_iter().find_map(|seen| {
                    let template = self.templates.get_template(&own(&brand.name, *part)).ok()?;
                    let rendered = template.render(Value::from(Serde(&seen)));
                    rendered.err()
                });
                mistakes.extend(failed.map(|error| mistake(&brand.name, *part, &error)));
            }
        }
        mistakes
    }

    fn samples_of(&self, part: Part, brand: &str) -> Vec<serde_json::Value> {
        let about = About { reference: "00", brand, language: None, level: Some("P3") };
        let of = |language| -> Vec<_> {
            let view = View { texts: self, language };
            match part {
                Part::Subject | Part::Body => {
                    sample::tickets(brand).iter().map(|ticket| view.ticket(ticket, "00")).collect()
                }
                Part::Note => sample::updates().iter().map(|update| view.update(&about, update)).collect(),
            }
        };
        [Language::En, Language::Fr].into_iter().flat_map(of).collect()
    }

    /// What a template gives, with the blank lines that agents would put there.
    fn tidy(&self, text: &str) -> String {
        let mut tidy = String::with_capacity(text.len());
        let mut blank = true;
        for line in safe::lines(text, self.four_byte).lines().map(str::trim_end) {
            if line.is_empty() && blank {
                continue;
            }
            blank = line.is_empty();
            tidy.push_str(line);
            tidy.push('\n');
        }
        tidy.truncate(tidy.trim_end().len());
        tidy
    }

    /// Never empty, always one line.
    fn subject(&self, text: &str) -> String {
        let line = safe::line(text, self.four_byte);
        let line = if line.is_empty() { "vigie".to_owned() } else { line };
        safe::cut(&line, SUBJECT_CHARS_MAX, |_| "…".to_owned())
    }

    /// The reference is the last line, however long the text is and whatever the template says.
    fn with_reference(&self, text: &str, reference: &str, view: &View<'_>) -> String {
        let last = format!("\n\n{REFERENCE}{reference}");
        let room = self.text_chars_max.saturating_sub(last.chars().count());
        let text = safe::cut(text, room, |missing| view.mark(missing));
        format!("{text}{last}").trim_start().to_owned()
    }
}

/// Words to sort and count by: letters, digits, `_` and `-` only, which is what all helpdesks take.
fn tags(ticket: &proto::Ticket) -> Vec<String> {
    let network = ticket.post.as_ref().map_or("", |post| &post.network);
    let verdict = ticket.verdict.clone().unwrap_or_default();
    let (intent, sentiment) = (most_likely(&verdict.intent), most_likely(&verdict.sentiment));
    let tier = ticket.person.as_ref().map_or("", |person| &person.tier);
    let words = ["vigie", network, &ticket.brand, intent, sentiment, tier].map(str::to_owned);
    let mut tags: Vec<String> = Vec::new();
    for word in words.iter().chain(&ticket.sensitive) {
        let word = safe::line(word, FourByte::Replace).to_lowercase();
        let tag = word.chars().map(|c| if c.is_alphanumeric() || "_-".contains(c) { c } else { '_' });
        let tag: String = tag.take(TAG_CHARS_MAX).collect();
        if !tag.trim_matches('_').is_empty() && !tags.contains(&tag) && tags.len() < TAGS_MAX {
            tags.push(tag);
        }
    }
    tags
}

/// The class of a head with the greatest probability; empty where there is none.
fn most_likely(head: &std::collections::BTreeMap<String, f32>) -> &str {
    let best = head.iter().max_by(|one, other| one.1.total_cmp(other.1));
    best.map(|(label, _)| label.as_str()).unwrap_or_default()
}

/// Whose it is; empty where no route speaks of it.
fn team_of(ticket: &proto::Ticket) -> &str {
    let assigned = ticket.assignment.as_ref().map_or("", |assignment| &assignment.team);
    if assigned.is_empty() { &ticket.route } else { assigned }
}

/// A name as templates see it.
pub fn as_seen(name: &str, four_byte: FourByte) -> String {
    safe::cut(&safe::line(name, four_byte), LINE_CHARS_MAX, |_| "…".to_owned())
}

fn own(brand: &str, part: Part) -> String {
    format!("own/{}/{brand}", part.name())
}

fn mistake(brand: &str, part: Part, error: &minijinja::Error) -> TextError {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TextError { brand: brand.to_owned(), part, error: format!("{line}{}{detail}", error.kind()) }
}

fn values(json: serde_json::Value) -> Values {
    match json {
        serde_json::Value::Object(values) => values,
        _ => Values::new(),
    }
}

/// A level that is not known, which our own daemon does not send, is the least.
fn level_name(level: proto::Level) -> &'static str {
    match level {
        proto::Level::Unspecified => proto::Level::P4.as_str_name(),
        level => level.as_str_name(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
