//! X API v1.1 and PowerTrack: one flat status a line, or an array that holds one (Powerstream).
//!
//! The whole text is `extended_tweet.full_text`, else `full_text`, else `text`. A repost is the status in
//! `retweeted_status`: the outer text is cut and its entities are incomplete because of the `RT @handle:`
//! before it. Lines that carry no status (`limit`, `connection_metadata`, `scrub_geo`, …) are control.

use std::borrow::Cow;

use super::select::FieldsWanted;
use super::select::Wanted::{Items, Object, Scalar};
use super::tape::Value;
use super::x_entities::{self, ENTITIES, decoded};
use super::{Author, Frame, Malformed, Network, Parsed, Post, language, time};

/// What [`read`] looks at in a line: a status, or the notice that one was deleted.
pub(super) static LINE: FieldsWanted = FieldsWanted::of(&[
    ("id_str", Scalar),
    ("id", Scalar),
    ("text", Scalar),
    ("full_text", Scalar),
    ("lang", Scalar),
    ("created_at", Scalar),
    ("in_reply_to_status_id_str", Scalar),
    ("quoted_status_id_str", Scalar),
    ("user", Object(&USER)),
    ("entities", Object(&ENTITIES)),
    ("extended_entities", Object(&MEDIA)),
    ("extended_tweet", Object(&EXTENDED)),
    ("retweeted_status", Object(&ORIGINAL)),
    ("quoted_status", Object(&QUOTED)),
    ("delete", Object(&DELETED)),
]);

static ORIGINAL: FieldsWanted = FieldsWanted::of(&[
    ("id_str", Scalar),
    ("id", Scalar),
    ("text", Scalar),
    ("full_text", Scalar),
    ("lang", Scalar),
    ("created_at", Scalar),
    ("in_reply_to_status_id_str", Scalar),
    ("quoted_status_id_str", Scalar),
    ("user", Object(&USER)),
    ("entities", Object(&ENTITIES)),
    ("extended_entities", Object(&MEDIA)),
    ("extended_tweet", Object(&EXTENDED)),
    ("quoted_status", Object(&QUOTED)),
]);

/// Of a quoted status only what identifies it.
static QUOTED: FieldsWanted = FieldsWanted::of(&[
    ("id_str", Scalar),
    ("id", Scalar),
    ("text", Scalar),
    ("full_text", Scalar),
    ("extended_tweet", Object(&EXTENDED_TEXT)),
]);

static USER: FieldsWanted = FieldsWanted::of(&[
    ("id_str", Scalar),
    ("id", Scalar),
    ("screen_name", Scalar),
    ("name", Scalar),
    ("followers_count", Scalar),
    ("verified", Scalar),
]);

static EXTENDED: FieldsWanted = FieldsWanted::of(&[
    ("full_text", Scalar),
    ("entities", Object(&ENTITIES)),
    ("extended_entities", Object(&MEDIA)),
]);

static EXTENDED_TEXT: FieldsWanted = FieldsWanted::of(&[("full_text", Scalar)]);

static MEDIA: FieldsWanted = FieldsWanted::of(&[("media", Items(&Scalar))]);

static DELETED: FieldsWanted = FieldsWanted::of(&[("status", Object(&DELETED_STATUS))]);

static DELETED_STATUS: FieldsWanted = FieldsWanted::of(&[("id_str", Scalar), ("id", Scalar)]);

/// Reads one line of the stream; `passes` as in [`Parser::parse_unless`](super::Parser::parse_unless).
pub(super) fn read<'f>(
    root: Value<'_, 'f>,
    passes: &mut dyn FnMut(&Post<'_>) -> bool,
) -> Result<Parsed<'f>, Malformed> {
    let frame = read_frame(only_item(root)?, passes)?;
    Ok(Parsed { position: None, frame })
}

/// Of an array with one item the item: a frame is one post, so whoever reads arrays of several cuts them up.
fn only_item<'t, 'f>(root: Value<'t, 'f>) -> Result<Value<'t, 'f>, Malformed> {
    let Some(array) = root.array() else {
        return Ok(root);
    };
    let mut items = array.items();
    match (items.next(), items.next()) {
        (Some(item), None) => Ok(item),
        _ => Err(Malformed::Shape("one status a frame")),
    }
}

fn read_frame<'f>(
    root: Value<'_, 'f>,
    passes: &mut dyn FnMut(&Post<'_>) -> bool,
) -> Result<Frame<'f>, Malformed> {
    let (mut is_status, mut delete) = (false, None);
    for (key, value) in root.object().ok_or(Malformed::Shape("object"))?.fields() {
        match key {
            "text" | "full_text" | "user" => is_status = true,
            "delete" => delete = value.object(),
            _ => {}
        }
    }
    if is_status {
        return read_post(root, passes);
    }
    match delete.and_then(|delete| delete.field("status")) {
        Some(status) => {
            let id = status.field("id_str").and_then(Value::id).or(status.field("id").and_then(Value::id));
            Ok(Frame::PostDeleted {
                network: Network::X,
                id: id.ok_or(Malformed::Shape("delete.status.id_str"))?,
            })
        }
        None => Ok(Frame::Control),
    }
}

fn read_post<'f>(
    outer: Value<'_, 'f>,
    passes: &mut dyn FnMut(&Post<'_>) -> bool,
) -> Result<Frame<'f>, Malformed> {
    let outer = Status::read(outer)?;
    let (status, reposter) = match outer.retweeted {
        Some(original) => (Status::read(original)?, Some(outer.user)),
        None => (outer, None),
    };
    let author = read_user(status.user)?;
    let reposted_by = match reposter {
        Some(user) => Some(read_user(user)?.id),
        None => None,
    };
    let mut post = Post::new(Network::X, Cow::Borrowed(""), author, decoded(status.text));
    status.searched(&mut post);
    if passes(&post) {
        return Ok(Frame::PassedOver);
    }
    status.rest(&mut post);
    post.reposted_by = reposted_by;
    Ok(Frame::Post(Box::new(post)))
}

/// A status object's fields, as they are.
struct Status<'t, 'f> {
    id: Cow<'f, str>,
    text: &'f str,
    user: Option<Value<'t, 'f>>,
    language: Option<&'f str>,
    created_at: Option<&'f str>,
    entities: Option<Value<'t, 'f>>,
    extended_entities: Option<Value<'t, 'f>>,
    reply_to: Option<Cow<'f, str>>,
    retweeted: Option<Value<'t, 'f>>,
    quoted: Option<Value<'t, 'f>>,
    quoted_id: Option<Cow<'f, str>>,
}

impl<'t, 'f> Status<'t, 'f> {
    fn read(status: Value<'t, 'f>) -> Result<Status<'t, 'f>, Malformed> {
        let (mut id_str, mut id, mut text, mut full_text, mut extended) = (None, None, None, None, None);
        let (mut user, mut language, mut created_at) = (None, None, None);
        let (mut entities, mut extended_entities) = (None, None);
        let (mut reply_to, mut retweeted, mut quoted, mut quoted_id) = (None, None, None, None);
        for (key, value) in status.fields() {
            match key {
                "id_str" => id_str = value.id(),
                "id" => id = Some(value),
                "text" => text = value.string(),
                "full_text" => full_text = value.string(),
                "extended_tweet" => extended = value.object(),
                "user" => user = value.object(),
                "lang" => language = value.string(),
                "created_at" => created_at = value.string(),
                "entities" => entities = value.object(),
                "extended_entities" => extended_entities = value.object(),
                "in_reply_to_status_id_str" => reply_to = value.id(),
                "retweeted_status" => retweeted = value.object(),
                "quoted_status" => quoted = value.object(),
                "quoted_status_id_str" => quoted_id = value.id(),
                _ => {}
            }
        }
        for (key, value) in extended.into_iter().flat_map(Value::fields) {
            match key {
                "full_text" => full_text = value.string().or(full_text),
                "entities" => entities = value.object().or(entities),
                "extended_entities" => extended_entities = value.object().or(extended_entities),
                _ => {}
            }
        }
        Ok(Status {
            // A number costs an allocation, and is mostly there as text too.
            id: id_str.or_else(|| id?.id()).ok_or(Malformed::Shape("id_str"))?,
            text: full_text.or(text).ok_or(Malformed::Shape("text"))?,
            user,
            language,
            created_at,
            entities,
            extended_entities,
            reply_to,
            retweeted,
            quoted,
            quoted_id,
        })
    }

    /// Adds what rules look for in every post.
    fn searched(&self, post: &mut Post<'f>) {
        post.reply_to.clone_from(&self.reply_to);
        if let Some(entities) = self.entities {
            x_entities::read(entities, &x_entities::V1, post);
        }
        // A quoted status that cannot be read leaves the post as it is.
        if let Some(quoted) = self.quoted.and_then(|quoted| Status::read(quoted).ok()) {
            post.quoted_text = Some(decoded(quoted.text));
        }
    }

    /// Adds all else.
    fn rest(self, post: &mut Post<'f>) {
        post.id = self.id;
        post.language = self.language.and_then(language::primary);
        post.written_at = self.created_at.and_then(time::x_v1);
        post.time_unread = self.created_at.is_some() && post.written_at.is_none();
        let media = |entities: Option<Value<'_, '_>>| {
            entities.and_then(|entities| entities.field("media")).is_some_and(Value::has_items)
        };
        post.has_media = media(self.entities) || media(self.extended_entities);
        post.quote_of = match self.quoted.and_then(|quoted| Status::read(quoted).ok()) {
            Some(quoted) => Some(quoted.id),
            None => self.quoted_id,
        };
    }
}

fn read_user<'f>(user: Option<Value<'_, 'f>>) -> Result<Author<'f>, Malformed> {
    let user = user.ok_or(Malformed::Shape("user"))?;
    let (mut id_str, mut id, mut author) = (None, None, Author::default());
    for (key, value) in user.fields() {
        match key {
            "id_str" => id_str = value.id(),
            "id" => id = Some(value),
            "screen_name" => author.handle = value.string().map(Cow::Borrowed),
            "name" => author.name = value.string().map(Cow::Borrowed),
            "followers_count" => author.followers = value.u64(),
            "verified" => author.verified = value.is_true(),
            _ => {}
        }
    }
    author.id = id_str.or_else(|| id?.id()).ok_or(Malformed::Shape("user.id_str"))?;
    Ok(author)
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::parse::{Format, Parser};

    const STATUS: &str = r##"{"created_at":"Wed Oct 10 20:19:24 +0000 2018","id":1050118621198921728,"id_str":"1050118621198921728",
        "text":"cut…","truncated":true,"lang":"fr","in_reply_to_status_id_str":"80",
        "entities":{"hashtags":[{"text":"no"}]},
        "extended_tweet":{"full_text":"@lumio box &amp; panne #panne https://t.co/a","entities":{"user_mentions":[{"screen_name":"lumio"}],"hashtags":[{"text":"panne"}],"urls":[{"url":"https://t.co/a","expanded_url":"https://e.org/a"}],"media":[{"id":1}]}},
        "quoted_status_id_str":"90","quoted_status":{"id_str":"90","text":"vive &lt;Lumio&gt;"},
        "user":{"id":7,"id_str":"7","screen_name":"ana","name":"Ana","followers_count":42,"verified":true}}"##;

    fn parsed(json: &str) -> Result<Frame<'static>, Malformed> {
        let mut frame = json.as_bytes().to_vec();
        let parsed = Parser::new(Format::XV1).parse(&mut frame)?;
        Ok(recorded::owned(parsed).frame)
    }

    fn post(json: &str) -> Post<'static> {
        match parsed(json) {
            Ok(Frame::Post(post)) => *post,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn a_status_is_read_in_full() {
        let post = post(STATUS);
        assert_eq!(post.id, "1050118621198921728");
        assert_eq!(post.url().as_deref(), Some("https://x.com/ana/status/1050118621198921728"));
        assert_eq!(post.author.id, "7");
        assert_eq!((post.author.handle.as_deref(), post.author.name.as_deref()), (Some("ana"), Some("Ana")));
        assert_eq!((post.author.followers, post.author.verified), (Some(42), true));
        assert_eq!(post.text, "@lumio box & panne #panne https://t.co/a");
        assert_eq!(post.language.as_deref(), Some("fr"));
        assert_eq!(post.written_at, time::rfc3339("2018-10-10T20:19:24Z"));
        assert_eq!(post.reply_to.as_deref(), Some("80"));
        assert_eq!(post.mentions, ["lumio"]);
        assert_eq!(post.hashtags, ["panne"]);
        assert_eq!(post.links, ["https://e.org/a"]);
        assert_eq!(post.quote_of.as_deref(), Some("90"));
        assert_eq!(post.quoted_text.as_deref(), Some("vive <Lumio>"));
        assert!(post.has_media && !post.edited && post.reposted_by.is_none());
    }

    #[test]
    fn an_array_of_one_status_is_that_status() {
        assert_eq!(post(&format!("[{STATUS}]")), post(STATUS));
    }

    #[test]
    fn the_longest_text_is_taken() {
        let text = |fields: &str| post(&format!(r#"{{"id_str":"1","user":{{"id_str":"2"}},{fields}}}"#)).text;
        assert_eq!(text(r#""text":"a""#), "a");
        assert_eq!(text(r#""text":"a","full_text":"b""#), "b");
        assert_eq!(text(r#""full_text":"b","extended_tweet":{"full_text":"c"},"text":"a""#), "c");
    }

    #[test]
    fn ids_beyond_a_double_are_exact() {
        let post = post(r#"{"id":9007199254740993,"user":{"id":18446744073709551615},"text":"a"}"#);
        assert_eq!((&*post.id, &*post.author.id), ("9007199254740993", "18446744073709551615"));
    }

    #[test]
    fn a_repost_is_the_original_with_who_reposted_it() {
        let outer = format!(
            r#"{{"id_str":"2","text":"RT @ana: …","user":{{"id_str":"8"}},"entities":{{"user_mentions":[{{"screen_name":"ana"}}]}},"retweeted_status":{STATUS}}}"#
        );
        let mut expected = post(STATUS);
        expected.reposted_by = Some("8".into());
        assert_eq!(post(&outer), expected);
    }

    #[test]
    fn a_deletion_is_told() {
        let deleted = Frame::PostDeleted { network: Network::X, id: "1234".into() };
        let json = r#"{"delete":{"status":{"id":1234,"id_str":"1234","user_id":3},"timestamp_ms":"1"}}"#;
        assert_eq!(parsed(json), Ok(deleted.clone()));
        assert_eq!(parsed(r#"{"delete":{"status":{"id":1234}}}"#), Ok(deleted));
    }

    #[test]
    fn what_is_no_post_is_control() {
        for json in [
            r#"{"limit":{"track":1234}}"#,
            r#"{"type":"connection_metadata","datacenter":"atla","timestamp":1}"#,
            r#"{"delete":{"favorite":{}}}"#,
            "{}",
            " \r\n",
        ] {
            assert_eq!(parsed(json), Ok(Frame::Control), "{json}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check =
            |json: &str, expected| assert_eq!(parsed(json), Err(Malformed::Shape(expected)), "{json}");
        check("1", "object");
        check("[]", "one status a frame");
        check("[{},{}]", "one status a frame");
        check(r#"{"text":"a"}"#, "id_str");
        check(r#"{"id_str":"1","user":{"id_str":"2"}}"#, "text");
        check(r#"{"id_str":"1","text":"a"}"#, "user");
        check(r#"{"id_str":"1","text":"a","user":{}}"#, "user.id_str");
        check(r#"{"id_str":"1","text":"a","user":{"id":1},"retweeted_status":{}}"#, "id_str");
        check(r#"{"delete":{"status":{}}}"#, "delete.status.id_str");
    }

    #[test]
    fn recorded_statuses_are_all_understood() {
        let Some(stream) = recorded::tally("x_v11_stream.jsonl", Format::XV1) else {
            return;
        };
        assert_eq!((stream.frames, stream.posts, stream.authors, stream.handles), (523, 523, 523, 523));
        assert_eq!((stream.followers, stream.written_at, stream.reposts), (523, 523, 336));
        assert_eq!((stream.languages, stream.replies, stream.quotes, stream.quoted_texts), (515, 72, 91, 91));
        assert_eq!((stream.mentions, stream.hashtags, stream.links, stream.media), (132, 94, 261, 98));
        assert_eq!((stream.verified, stream.texts_marked_up), (99, 0));
        let Some(rest) = recorded::tally("x_v11_rest_extended.jsonl", Format::XV1) else {
            return;
        };
        assert_eq!((rest.frames, rest.posts, rest.authors, rest.followers), (781, 781, 781, 781));
        assert_eq!((rest.reposts, rest.written_at, rest.texts_marked_up), (148, 781, 0));
        assert_eq!((rest.languages, rest.replies, rest.quotes, rest.quoted_texts), (746, 130, 60, 58));
        assert_eq!((rest.mentions, rest.hashtags, rest.links, rest.media), (319, 264, 417, 300));
    }
}
