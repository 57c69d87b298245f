//! What X finds in a text: mentions, hashtags, links and photographs, by characters.

use std::fmt::Write;

use super::json;
use crate::script::dice::{Dice, Purpose};

/// The entities of one text.
#[derive(Debug, Clone, Default)]
pub(super) struct Entities {
    mentions: Vec<Word>,
    hashtags: Vec<Word>,
    links: Vec<(Link, usize)>,
    photo: Option<(u64, usize)>,
}

/// A name or tag, without its sign, and the character that the sign is.
#[derive(Debug, Clone)]
struct Word {
    text: String,
    start: usize,
}

/// A link that X has shortened.
#[derive(Debug, Clone)]
pub(super) struct Link {
    number: u64,
    /// Where it leads.
    pub(super) long: String,
}

impl Link {
    /// To a status.
    pub(super) fn to_status(id: u64) -> Link {
        Link { number: id, long: format!("https://twitter.com/i/web/status/{id}") }
    }

    /// To a photograph.
    pub(super) fn to_photo(number: u64) -> Link {
        Link { number, long: format!("https://twitter.com/i/status/{number}/photo/1") }
    }

    /// As it stands in a text: 23 characters.
    pub(super) fn short(&self) -> String {
        let mut name = [0; 10];
        crate::script::identifier::digits(Dice::new(0, self.number, Purpose::Slot(0)).bits(), &mut name);
        format!("https://t.co/{}", String::from_utf8_lossy(&name))
    }

    /// As people see it.
    pub(super) fn shown(&self) -> String {
        let bare = self.long.trim_start_matches("https://");
        format!("{}\u{2026}", bare.get(..26).unwrap_or(bare))
    }
}

impl Entities {
    /// The mentions and hashtags of a text.
    pub(super) fn of(text: &str) -> Entities {
        let mut entities = Entities::default();
        let mut start = 0;
        for word in text.split(' ') {
            let named = |c: char| c.is_alphanumeric() || c == '_';
            let name =
                |sign| word.strip_prefix(sign).map(|rest| rest.split(|c| !named(c)).next().unwrap_or(""));
            for (sign, list) in [('@', &mut entities.mentions), ('#', &mut entities.hashtags)] {
                if let Some(text) = name(sign).filter(|text| !text.is_empty()) {
                    list.push(Word { text: text.to_owned(), start });
                }
            }
            start += word.chars().count() + 1;
        }
        entities
    }

    /// Adds the link that ends this text.
    pub(super) fn link(&mut self, text: &str, link: Link) {
        let start = text.chars().count().saturating_sub(link.short().len());
        self.links.push((link, start));
    }

    /// Adds the photograph whose link ends this text.
    pub(super) fn photo(&mut self, text: &str, number: u64) {
        let length = Link::to_photo(number).short().len();
        self.photo = Some((number, text.chars().count().saturating_sub(length)));
    }

    /// Those that begin and end before this character.
    pub(super) fn before(mut self, end: usize) -> Entities {
        let fits = |word: &Word| word.start + 1 + word.text.chars().count() <= end;
        self.mentions.retain(fits);
        self.hashtags.retain(fits);
        self.links.retain(|(link, start)| start + link.short().len() <= end);
        self.photo =
            self.photo.filter(|(number, start)| start + Link::to_photo(*number).short().len() <= end);
        self
    }

    /// Whether there is a photograph.
    pub(super) fn has_photo(&self) -> bool {
        self.photo.is_some()
    }

    /// Whether something is linked to.
    pub(super) fn has_links(&self) -> bool {
        self.has_photo() || !self.links.is_empty()
    }

    /// Appends the object.
    pub(super) fn write(&self, escapes: bool, out: &mut String) {
        out.push_str("{\"hashtags\":[");
        separated(&self.hashtags, out, |tag, out| {
            out.push_str("{\"text\":");
            json::string(&tag.text, escapes, out);
            tag.indices(out);
        });
        out.push_str("],\"urls\":[");
        separated(&self.links, out, |(link, start), out| {
            out.push_str("{\"url\":");
            json::string(&link.short(), escapes, out);
            out.push_str(",\"expanded_url\":");
            json::string(&link.long, escapes, out);
            out.push_str(",\"display_url\":");
            json::string(&link.shown(), escapes, out);
            let _ = write!(out, ",\"indices\":[{start},{}]}}", start + link.short().len());
        });
        out.push_str("],\"user_mentions\":[");
        separated(&self.mentions, out, |mention, out| {
            let name = &mention.text;
            let id = name.bytes().fold(17_u64, |id, byte| (id * 31 + u64::from(byte)) % 900_000_000);
            out.push_str("{\"screen_name\":");
            json::string(name, escapes, out);
            out.push_str(",\"name\":");
            json::string(name, escapes, out);
            let _ = write!(out, ",\"id\":{id},\"id_str\":\"{id}\"");
            mention.indices(out);
        });
        out.push_str("],\"symbols\":[]");
        if let Some(photo) = self.photo {
            out.push_str(",\"media\":");
            media(photo, escapes, out);
        }
        out.push('}');
    }

    /// Appends the object that holds the photograph alone.
    pub(super) fn write_media(&self, escapes: bool, out: &mut String) {
        out.push_str("{\"media\":");
        match self.photo {
            Some(photo) => media(photo, escapes, out),
            None => out.push_str("[]"),
        }
        out.push('}');
    }
}

impl Word {
    fn indices(&self, out: &mut String) {
        let end = self.start + 1 + self.text.chars().count();
        let _ = write!(out, ",\"indices\":[{},{end}]}}", self.start);
    }
}

fn media((number, start): (u64, usize), escapes: bool, out: &mut String) {
    let link = Link::to_photo(number);
    let short = link.short();
    let _ = write!(
        out,
        "[{{\"id\":{number},\"id_str\":\"{number}\",\"indices\":[{start},{}]",
        start + short.len()
    );
    for (key, value) in [
        ("media_url", format!("http://pbs.twimg.com/media/{number}.jpg")),
        ("media_url_https", format!("https://pbs.twimg.com/media/{number}.jpg")),
        ("url", short.clone()),
        ("display_url", short.replace("https://t.co", "pic.twitter.com")),
        ("expanded_url", link.long),
    ] {
        let _ = write!(out, ",\"{key}\":");
        json::string(&value, escapes, out);
    }
    out.push_str(
        ",\"type\":\"photo\",\"sizes\":{\"thumb\":{\"w\":150,\"h\":150,\"resize\":\"crop\"},\
         \"small\":{\"w\":680,\"h\":383,\"resize\":\"fit\"},\"medium\":{\"w\":1200,\"h\":675,\"resize\":\"fit\"},\
         \"large\":{\"w\":2048,\"h\":1152,\"resize\":\"fit\"}}}]",
    );
}

fn separated<T>(items: &[T], out: &mut String, mut write: impl FnMut(&T, &mut String)) {
    for (idx, item) in items.iter().enumerate() {
        if idx > 0 {
            out.push(',');
        }
        write(item, out);
    }
}
