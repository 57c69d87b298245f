//! Posts from anywhere: one JSON object a line, of which only `text` must be there.
//!
//! | field | holds |
//! |---|---|
//! | `text` | the text, plain |
//! | `id` | unique on its network, string or number; see below if absent |
//! | `author` | a handle, or `{"id","handle","name","followers","verified"}` of which any may be absent |
//! | `lang` or `language` | BCP 47 tag |
//! | `created_at` or `at` | when it was written, as RFC 3339, RFC 2822 or X's API v1.1 spell it |
//! | `network` | a name of [`Network`], `plain` if absent; another name is malformed |
//! | `url` | where people read it, `http` or `https` |
//! | `reply_to` | id of the post that this one answers |
//! | `mentions`, `hashtags`, `links` | arrays of strings |
//!
//! `null` is absent. A bare JSON string is an object of only that `text`.
//!
//! A post without `id` gets one that depends on its network, author, text and time as written, and on nothing
//! else: `blake3:` and 32 hexadecimal digits. The same line read twice is then the same post; two people who
//! write the same words are two posts if their `author` says so.

use std::borrow::Cow;

use super::post::web_address;
use super::tape::Value;
use super::{Author, Frame, Malformed, Network, Parsed, Post, language, time};

/// Reads one line.
pub(super) fn read<'f>(root: Value<'_, 'f>) -> Result<Parsed<'f>, Malformed> {
    let post = match root.string() {
        Some(text) => {
            let id = derived_id(Network::Plain, "", text, "");
            Post::new(Network::Plain, id, Author::default(), Cow::Borrowed(text))
        }
        None => read_post(root)?,
    };
    Ok(Parsed { position: None, frame: Frame::Post(Box::new(post)) })
}

fn read_post<'f>(root: Value<'_, 'f>) -> Result<Post<'f>, Malformed> {
    let (mut text, mut id, mut author, mut tag, mut written_at) = (None, None, None, None, None);
    let (mut network, mut url, mut reply_to) = (None, None, None);
    let (mut mentions, mut hashtags, mut links) = (None, None, None);
    let mut says_when = false;
    for (key, value) in root.fields() {
        match key {
            "text" => text = value.string(),
            "id" => id = value.id(),
            "author" => author = Some(value),
            "lang" | "language" => tag = value.string().or(tag),
            "created_at" | "at" => {
                written_at = value.string().or(written_at);
                says_when |= !value.is_null();
            }
            "network" => network = value.string(),
            "url" => url = value.string(),
            "reply_to" => reply_to = value.id(),
            "mentions" => mentions = Some(value),
            "hashtags" => hashtags = Some(value),
            "links" => links = Some(value),
            _ => {}
        }
    }
    let text = text.ok_or(Malformed::Shape("text"))?;
    let network = match network {
        Some(name) => Network::from_name(name).ok_or(Malformed::Shape("network"))?,
        None => Network::Plain,
    };
    let author = author.map(read_author).unwrap_or_default();
    let id = id.unwrap_or_else(|| derived_id(network, &author.id, text, written_at.unwrap_or_default()));
    let mut post = Post::new(network, id, author, Cow::Borrowed(text));
    post.page = url.and_then(web_address).map(Cow::Borrowed);
    post.language = tag.and_then(language::primary);
    post.written_at = written_at.and_then(time::usual);
    post.time_unread = says_when && post.written_at.is_none();
    post.reply_to = reply_to;
    post.mentions = strings(mentions, '@');
    post.hashtags = strings(hashtags, '#');
    post.links = strings(links, '\0');
    Ok(post)
}

fn read_author<'f>(author: Value<'_, 'f>) -> Author<'f> {
    if let Some(handle) = author.string() {
        let handle = without(handle, '@');
        return Author { handle: handle.clone(), id: handle.unwrap_or_default(), ..Author::default() };
    }
    let (mut id, mut read) = (None, Author::default());
    for (key, value) in author.fields() {
        match key {
            "id" => id = value.id(),
            "handle" => read.handle = value.string().and_then(|handle| without(handle, '@')),
            "name" => read.name = value.string().map(Cow::Borrowed),
            "followers" => read.followers = value.u64(),
            "verified" => read.verified = value.is_true(),
            _ => {}
        }
    }
    // Somebody is better known by a name than by nothing.
    read.id = id.or(read.handle.clone()).or(read.name.clone()).unwrap_or_default();
    read
}

fn strings<'f>(list: Option<Value<'_, 'f>>, mark: char) -> Vec<Cow<'f, str>> {
    let items = list.into_iter().flat_map(Value::items);
    items.filter_map(Value::string).filter_map(|string| without(string, mark)).collect()
}

/// `string` without a leading `mark`; `None` if nothing is left.
fn without(string: &str, mark: char) -> Option<Cow<'_, str>> {
    let string = string.strip_prefix(mark).unwrap_or(string);
    (!string.is_empty()).then_some(Cow::Borrowed(string))
}

fn derived_id(network: Network, author_id: &str, text: &str, written_at: &str) -> Cow<'static, str> {
    let mut hasher = blake3::Hasher::new();
    for part in [network.name(), author_id, written_at, text] {
        // Each with its length before it, so that no two posts run together into the same bytes.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let hex = hasher.finalize().to_hex();
    Cow::Owned(["blake3:", hex.get(..32).unwrap_or(&hex)].concat())
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::parse::{Format, Parser};

    fn parsed(json: &str) -> Result<Frame<'static>, Malformed> {
        let mut frame = json.as_bytes().to_vec();
        let parsed = Parser::new(Format::Plain).parse(&mut frame)?;
        Ok(recorded::owned(parsed).frame)
    }

    fn post(json: &str) -> Post<'static> {
        match parsed(json) {
            Ok(Frame::Post(post)) => *post,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn a_post_is_read_in_full() {
        let post = post(
            r##"{"text":"box en panne","id":12,"author":{"id":"7","handle":"@ana","name":"Ana","followers":42,"verified":true},
                "lang":"fr-FR","created_at":"2024-01-15T10:35:00Z","network":"facebook","url":"https://f.example/12","reply_to":"11",
                "mentions":["@lumio"],"hashtags":["#panne","box"],"links":["https://e.org"]}"##,
        );
        assert_eq!((post.network, &*post.id, &*post.text), (Network::Facebook, "12", "box en panne"));
        assert_eq!((&*post.author.id, post.author.handle.as_deref()), ("7", Some("ana")));
        assert_eq!((post.author.name.as_deref(), post.author.followers), (Some("Ana"), Some(42)));
        assert_eq!((post.language.as_deref(), post.author.verified), (Some("fr"), true));
        assert_eq!(post.written_at, time::rfc3339("2024-01-15T10:35:00Z"));
        assert_eq!(post.url().as_deref(), Some("https://f.example/12"));
        assert_eq!(post.reply_to.as_deref(), Some("11"));
        assert_eq!(post.mentions, ["lumio"]);
        assert_eq!(post.hashtags, ["panne", "box"]);
        assert_eq!(post.links, ["https://e.org"]);
    }

    #[test]
    fn other_names_for_fields_are_understood() {
        let post =
            post(r#"{"text":"a","author":"@ana","language":"EN","at":"2024-01-15T10:35:00Z","lang":null}"#);
        assert_eq!((&*post.author.id, post.author.handle.as_deref()), ("ana", Some("ana")));
        assert_eq!((post.language.as_deref(), post.written_at.is_some()), (Some("en"), true));
    }

    #[test]
    fn an_author_is_known_by_what_there_is() {
        let author = |author: &str| post(&format!(r#"{{"text":"a","author":{author}}}"#)).author.id;
        assert_eq!(author(r#"{"id":7,"handle":"ana"}"#), "7");
        assert_eq!(author(r#"{"handle":"ana","name":"Ana"}"#), "ana");
        assert_eq!(author(r#"{"name":"Ana"}"#), "Ana");
        for nobody in ["{}", "null", "[]", r#""@""#, r#""""#] {
            assert_eq!(author(nobody), "", "{nobody}");
        }
    }

    #[test]
    fn a_text_alone_is_a_post() {
        assert_eq!(post(r#""box en panne""#), post(r#"{"text":"box en panne"}"#));
    }

    #[test]
    fn a_derived_id_depends_on_who_wrote_what_when_and_where() {
        let id = |json: &str| post(json).id.into_owned();
        let first = id(r#"{"text":"a","author":"b","at":"2024-01-15T10:35:00Z"}"#);
        assert_eq!(first.len(), "blake3:".len() + 32);
        assert_eq!(
            first,
            id(r#"{"at":"2024-01-15T10:35:00Z","author":{"handle":"b"},"text":"a","url":"x"}"#)
        );
        for other in [
            r#"{"text":"a","author":"c","at":"2024-01-15T10:35:00Z"}"#,
            r#"{"text":"b","author":"b","at":"2024-01-15T10:35:00Z"}"#,
            r#"{"text":"a","author":"b","at":"2024-01-15T10:35:01Z"}"#,
            r#"{"text":"a","author":"b","at":"2024-01-15T10:35:00Z","network":"x"}"#,
            r#"{"text":"ba","at":"2024-01-15T10:35:00Z"}"#,
        ] {
            assert_ne!(first, id(other), "{other}");
        }
        // The same letters, cut elsewhere.
        assert_ne!(id(r#"{"text":"a","author":"b"}"#), id(r#"{"text":"ba"}"#));
    }

    #[test]
    fn what_is_missing_is_named() {
        let check =
            |json: &str, expected| assert_eq!(parsed(json), Err(Malformed::Shape(expected)), "{json}");
        check("{}", "text");
        check("[]", "text");
        check("3", "text");
        check(r#"{"text":["a"]}"#, "text");
        check(r#"{"text":"a","network":"aol"}"#, "network");
    }

    #[test]
    fn optional_fields_of_the_wrong_type_are_left_out() {
        let post = post(
            r#"{"text":"a","id":[],"author":3,"lang":4,"at":5,"url":"javascript:x","reply_to":{},"mentions":"x","links":[1]}"#,
        );
        assert_eq!((post.page, post.reply_to, post.written_at, post.language), (None, None, None, None));
        assert!(post.mentions.is_empty() && post.links.is_empty());
    }
}
