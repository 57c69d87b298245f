//! A status as X v1.1 streams it, in compatibility mode: `text` has 140 characters at most, what is longer stands
//! in `extended_tweet`.

use std::fmt::Write;

use super::entities::{Entities, Link};
use super::json;
use super::person::{Person, Profile};
use crate::script::identifier;

/// Characters of `text`.
const TEXT_CHARS_MAX: usize = 140;
/// Characters of a text that goes on elsewhere, before its ellipsis and link.
const CUT_CHARS: usize = 115;
const SOURCES: [&str; 4] = [
    "<a href=\"http://twitter.com/download/iphone\" rel=\"nofollow\">Twitter for iPhone</a>",
    "<a href=\"http://twitter.com/download/android\" rel=\"nofollow\">Twitter for Android</a>",
    "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
    "<a href=\"https://about.twitter.com/products/tweetdeck\" rel=\"nofollow\">TweetDeck</a>",
];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Characters of `created_at`.
pub(super) const CREATED_CHARS: usize = 30;

/// What a status says, and about which others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status<'s> {
    pub(super) id: u64,
    /// Milliseconds since 1970.
    pub(super) at_ms: i64,
    pub(super) author: Person,
    pub(super) language: &'s str,
    /// Empty for a retweet, which says what the original does.
    pub(super) text: &'s str,
    pub(super) form: Form<'s>,
    /// The number of a photograph.
    pub(super) photo: Option<u64>,
    /// How often it has been passed on and liked so far.
    pub(super) likes: u32,
}

/// How a status stands to others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'s> {
    Alone,
    ReplyTo { id: u64, author: Person },
    Retweet(&'s Status<'s>),
    Quote(&'s Status<'s>),
}

/// Appends the status as one object, as it stands on a line of the stream.
pub(super) fn write(status: &Status<'_>, profiles: &[Profile], out: &mut String) {
    let Some(profile) = profiles.get(status.author.profile) else { return };
    Writer { profiles, escapes: profile.escapes, out }.status(status, true);
}

/// `Sat Jul 04 14:38:08 +0000 2026`.
pub(super) fn created_at(at_ms: i64) -> [u8; CREATED_CHARS] {
    let (seconds, day) = (at_ms.div_euclid(1_000), at_ms.div_euclid(86_400_000));
    let (year, month, day_of_month) = identifier::civil(day);
    let in_day = seconds.rem_euclid(86_400) as u64;
    let mut text = *b"Thu Jan 00 00:00:00 +0000 0000";
    text[0..3].copy_from_slice(WEEKDAYS[day.rem_euclid(7) as usize].as_bytes());
    text[4..7].copy_from_slice(MONTHS[(month as usize - 1) % 12].as_bytes());
    identifier::decimal(day_of_month, &mut text[8..10]);
    identifier::decimal(in_day / 3_600, &mut text[11..13]);
    identifier::decimal(in_day / 60 % 60, &mut text[14..16]);
    identifier::decimal(in_day % 60, &mut text[17..19]);
    identifier::decimal(year, &mut text[26..30]);
    text
}

struct Writer<'w> {
    profiles: &'w [Profile],
    escapes: bool,
    out: &'w mut String,
}

impl Writer<'_> {
    fn status(&mut self, status: &Status<'_>, outermost: bool) {
        let full = self.full_text(status);
        let mut entities = Entities::of(&full);
        match status.form {
            Form::Quote(quoted) => entities.link(&full, Link::to_status(quoted.id)),
            _ => {
                if let Some(photo) = status.photo {
                    entities.photo(&full, photo);
                }
            }
        }
        let is_retweet = matches!(status.form, Form::Retweet(_));
        let chars = full.chars().count();
        let extended = chars > TEXT_CHARS_MAX && !is_retweet;
        let (text, shown) = match (extended, chars > TEXT_CHARS_MAX) {
            (true, _) => {
                let link = Link::to_status(status.id);
                let text = format!("{}\u{2026} {}", cut(&full, CUT_CHARS), link.short());
                let mut shown = Entities::of(cut(&full, CUT_CHARS));
                shown.link(&text, link);
                (text, shown)
            }
            (false, true) => {
                let text = format!("{}\u{2026}", cut(&full, TEXT_CHARS_MAX - 1));
                (text, entities.clone().before(TEXT_CHARS_MAX - 1))
            }
            (false, false) => (full.clone(), entities.clone()),
        };
        self.out.push_str("{\"created_at\":\"");
        self.out.push_str(&String::from_utf8_lossy(&created_at(status.at_ms)));
        self.field("\",\"id\":", status.id);
        self.field(",\"id_str\":\"", status.id);
        self.out.push_str("\",\"text\":");
        self.string(&text);
        self.out.push_str(",\"source\":");
        self.string(SOURCES[status.author.profile % SOURCES.len()]);
        let _ = write!(self.out, ",\"truncated\":{extended}");
        self.reply(status.form);
        self.out.push_str(",\"user\":");
        if let Some(profile) = self.profiles.get(status.author.profile) {
            profile.write(status.author.id, self.out);
        }
        self.out.push_str(",\"geo\":null,\"coordinates\":null,\"place\":null,\"contributors\":null");
        self.others(status.form);
        if extended {
            self.out.push_str(",\"extended_tweet\":{\"full_text\":");
            self.string(&full);
            let _ = write!(self.out, ",\"display_text_range\":[0,{chars}],\"entities\":");
            entities.write(self.escapes, self.out);
            self.out.push('}');
        }
        let (likes, passed_on) = (status.likes, status.likes / 3);
        let _ = write!(
            self.out,
            ",\"quote_count\":{},\"reply_count\":{},\"retweet_count\":{passed_on},\"favorite_count\":{likes},\
             \"entities\":",
            likes / 40,
            likes / 11
        );
        shown.write(self.escapes, self.out);
        if shown.has_photo() {
            self.out.push_str(",\"extended_entities\":");
            shown.write_media(self.escapes, self.out);
        }
        self.out.push_str(",\"favorited\":false,\"retweeted\":false");
        if shown.has_links() {
            self.out.push_str(",\"possibly_sensitive\":false");
        }
        let _ = write!(self.out, ",\"filter_level\":\"low\",\"lang\":\"{}\"", status.language);
        if outermost {
            let _ = write!(self.out, ",\"timestamp_ms\":\"{}\"", status.at_ms);
        }
        self.out.push('}');
    }

    /// The text as X gives it: with HTML's escapes, and the links of what is attached.
    fn full_text(&self, status: &Status<'_>) -> String {
        let text = status.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match status.form {
            Form::Retweet(original) => {
                format!("RT @{}: {}", self.screen_name(original.author), self.full_text(original))
            }
            Form::Quote(quoted) => format!("{text} {}", Link::to_status(quoted.id).short()),
            Form::ReplyTo { author, .. } => format!("@{} {text}", self.screen_name(author)),
            Form::Alone => match status.photo {
                Some(photo) => format!("{text} {}", Link::to_photo(photo).short()),
                None => text,
            },
        }
    }

    fn reply(&mut self, form: Form<'_>) {
        let Form::ReplyTo { id, author } = form else {
            return self.out.push_str(
                ",\"in_reply_to_status_id\":null,\"in_reply_to_status_id_str\":null,\
                 \"in_reply_to_user_id\":null,\"in_reply_to_user_id_str\":null,\"in_reply_to_screen_name\":null",
            );
        };
        let (user, screen_name) = (author.id, self.screen_name(author));
        let _ = write!(
            self.out,
            ",\"in_reply_to_status_id\":{id},\"in_reply_to_status_id_str\":\"{id}\",\"in_reply_to_user_id\":{user},\
             \"in_reply_to_user_id_str\":\"{user}\",\"in_reply_to_screen_name\":\"{screen_name}\""
        );
    }

    fn others(&mut self, form: Form<'_>) {
        match form {
            Form::Retweet(original) => {
                self.out.push_str(",\"retweeted_status\":");
                self.status(original, false);
                let _ = write!(self.out, ",\"is_quote_status\":{}", matches!(original.form, Form::Quote(_)));
            }
            Form::Quote(quoted) => {
                let (id, link) = (quoted.id, Link::to_status(quoted.id));
                let _ = write!(self.out, ",\"quoted_status_id\":{id},\"quoted_status_id_str\":\"{id}\"");
                self.out.push_str(",\"quoted_status\":");
                self.status(quoted, false);
                self.out.push_str(",\"quoted_status_permalink\":{\"url\":");
                self.string(&link.short());
                self.out.push_str(",\"expanded\":");
                self.string(&link.long);
                self.out.push_str(",\"display\":");
                self.string(&link.shown());
                self.out.push_str("},\"is_quote_status\":true");
            }
            Form::Alone | Form::ReplyTo { .. } => self.out.push_str(",\"is_quote_status\":false"),
        }
    }

    fn screen_name(&self, person: Person) -> String {
        self.profiles.get(person.profile).map(|profile| profile.screen_name(person.id)).unwrap_or_default()
    }

    fn string(&mut self, text: &str) {
        json::string(text, self.escapes, self.out);
    }

    fn field(&mut self, before: &str, number: u64) {
        let _ = write!(self.out, "{before}{number}");
    }
}

/// The first `chars` characters.
fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_calendar_has_it() {
        for at_ms in [0, 1_783_175_888_085, 951_782_399_999, 951_868_800_000, 4_102_444_800_000] {
            let at = jiff::Timestamp::from_millisecond(at_ms).unwrap();
            let expected = at.strftime("%a %b %d %H:%M:%S +0000 %Y").to_string();
            assert_eq!(String::from_utf8_lossy(&created_at(at_ms)), expected);
        }
    }

    fn status(text: &str) -> Status<'_> {
        Status {
            id: 1_990_000_000_000_000_001,
            at_ms: 1_783_175_888_085,
            author: Person::regular(70),
            language: "fr",
            text,
            form: Form::Alone,
            photo: None,
            likes: 120,
        }
    }

    fn written(status: &Status<'_>) -> serde_json::Value {
        let mut line = String::new();
        write(status, &Profile::all(1, |_| "Lyon".to_owned()), &mut line);
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[test]
    fn a_long_text_is_cut_and_whole_in_the_extension() {
        let text = "@lumio_help été & panne #fibre ".repeat(7);
        let line = written(&status(text.trim()));
        assert_eq!(line["truncated"], true);
        assert!(line["text"].as_str().unwrap().chars().count() <= TEXT_CHARS_MAX);
        let full = line["extended_tweet"]["full_text"].as_str().unwrap();
        assert_eq!(full.replace("&amp;", "&"), text.trim());
        let covered = |of: &serde_json::Value, text: &str| -> String {
            let at = |idx: usize| of["indices"][idx].as_u64().unwrap() as usize;
            text.chars().skip(at(0)).take(at(1) - at(0)).collect()
        };
        let entities = &line["extended_tweet"]["entities"];
        for mention in entities["user_mentions"].as_array().unwrap() {
            assert_eq!(covered(mention, full), "@lumio_help");
        }
        assert_eq!(covered(&entities["hashtags"][6], full), "#fibre");
        let text = line["text"].as_str().unwrap();
        assert_eq!(covered(&line["entities"]["urls"][0], text), line["entities"]["urls"][0]["url"]);
    }

    #[test]
    fn a_retweet_holds_the_original_and_a_quote_links_to_it() {
        let original = Status { photo: Some(77), ..status("panne à Lyon") };
        let retweet = Status { id: 3, form: Form::Retweet(&original), text: "", ..original };
        let line = written(&retweet);
        assert_eq!(line["retweeted_status"]["text"].as_str().unwrap().find("panne"), Some(0));
        assert!(line["text"].as_str().unwrap().starts_with("RT @"));
        assert_eq!(line["retweeted_status"].get("timestamp_ms"), None);
        assert_eq!(line["retweeted_status"]["entities"]["media"][0]["id"], 77);
        let quote = Status { form: Form::Quote(&original), ..status("regardez") };
        let line = written(&quote);
        assert_eq!(line["quoted_status_id_str"], "1990000000000000001");
        assert_eq!(line["entities"]["urls"][0]["url"], line["quoted_status_permalink"]["url"]);
        let reply = Form::ReplyTo { id: 9, author: Person::regular(65) };
        let line = written(&Status { form: reply, ..status("non") });
        let name = line["in_reply_to_screen_name"].as_str().unwrap();
        assert_eq!(line["text"], format!("@{name} non"));
        assert_eq!(line["timestamp_ms"], "1783175888085");
    }
}
