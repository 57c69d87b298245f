//! X API v2 stream payloads: `{"data":{…},"includes":{…},"matching_rules":[…],"errors":[…]}`.
//!
//! `errors` beside `data` tells of fields that could not be filled in and is no fault of the post. What has
//! no `data` is a system message. A bare tweet object, as in files of hydrated tweets, is read like a
//! `data` without `includes`.
//!
//! A repost is the original as far as the payload knows it, under the original's id, so that a post reposted
//! a hundred times is one post:
//! - original in `includes.tweets`: its text, author and all else;
//! - not there (deleted, protected, expansion not asked for): the outer `RT @handle: …` without that prefix,
//!   mostly cut at 140 characters, with the handle as its author;
//! - nor such a prefix: the outer post as it is.
//!
//! An edit on X has a new id; it is marked [`Post::edited`] when its history names an earlier one.

use std::borrow::Cow;

use super::tape::Value;
use super::x_entities::{self, decoded};
use super::{Author, Frame, Malformed, Network, Parsed, Post, language, time};

/// Reads one line of the stream.
pub(super) fn read<'f>(root: Value<'_, 'f>) -> Result<Parsed<'f>, Malformed> {
    let (mut data, mut includes, mut is_tweet) = (None, None, false);
    for (key, value) in root.object().ok_or(Malformed::Shape("object"))?.fields() {
        match key {
            "data" => data = Some(value),
            "includes" => includes = value.object(),
            "text" => is_tweet = true,
            _ => {}
        }
    }
    let data = match data {
        Some(data) => Some(data.object().ok_or(Malformed::Shape("data"))?),
        None => is_tweet.then_some(root),
    };
    let frame = match data {
        Some(data) => Frame::Post(Box::new(read_post(data, &Includes::read(includes))?)),
        None => Frame::Control,
    };
    Ok(Parsed { position: None, frame })
}

/// The objects that `data` refers to.
#[derive(Default)]
struct Includes<'t, 'f> {
    users: Option<Value<'t, 'f>>,
    tweets: Option<Value<'t, 'f>>,
}

impl<'t, 'f> Includes<'t, 'f> {
    fn read(includes: Option<Value<'t, 'f>>) -> Includes<'t, 'f> {
        let mut read = Includes::default();
        for (key, value) in includes.into_iter().flat_map(Value::fields) {
            match key {
                "users" => read.users = value.array(),
                "tweets" => read.tweets = value.array(),
                _ => {}
            }
        }
        read
    }

    fn tweet(&self, id: &str) -> Option<Value<'t, 'f>> {
        find(self.tweets, "id", |tweet_id| tweet_id == id)
    }

    fn author(&self, id: Cow<'f, str>) -> Author<'f> {
        match find(self.users, "id", |user_id| user_id == id) {
            Some(user) => read_user(id, user),
            None => Author { id, ..Author::default() },
        }
    }

    /// The author of this handle; without a user object the handle is all there is to know them by.
    fn author_of_handle(&self, handle: &'f str) -> Author<'f> {
        let user = find(self.users, "username", |username| username.eq_ignore_ascii_case(handle));
        match user.and_then(|user| Some((user.field("id")?.id()?, user))) {
            Some((id, user)) => read_user(id, user),
            None => Author { id: handle.into(), handle: Some(handle.into()), ..Author::default() },
        }
    }
}

/// The object in `list` whose string field `key` passes `test`.
fn find<'t, 'f>(
    list: Option<Value<'t, 'f>>,
    key: &str,
    test: impl Fn(&str) -> bool,
) -> Option<Value<'t, 'f>> {
    list?.items().find(|item| item.field(key).and_then(Value::string).is_some_and(&test))
}

fn read_user<'f>(id: Cow<'f, str>, user: Value<'_, 'f>) -> Author<'f> {
    let mut author = Author { id, ..Author::default() };
    for (key, value) in user.fields() {
        match key {
            "username" => author.handle = value.string().map(Cow::Borrowed),
            "name" => author.name = value.string().map(Cow::Borrowed),
            "public_metrics" => author.followers = value.field("followers_count").and_then(Value::u64),
            "verified" => author.verified = value.is_true(),
            _ => {}
        }
    }
    author
}

/// A tweet object's fields, as they are.
struct Tweet<'t, 'f> {
    id: Cow<'f, str>,
    text: &'f str,
    author_id: Option<Cow<'f, str>>,
    language: Option<&'f str>,
    created_at: Option<&'f str>,
    entities: Option<Value<'t, 'f>>,
    has_media: bool,
    edited: bool,
    replied_to: Option<Cow<'f, str>>,
    quoted: Option<Cow<'f, str>>,
    retweeted: Option<Cow<'f, str>>,
}

impl<'t, 'f> Tweet<'t, 'f> {
    fn read(tweet: Value<'t, 'f>) -> Result<Tweet<'t, 'f>, Malformed> {
        let (mut id, mut text, mut note, mut author_id, mut language) = (None, None, None, None, None);
        let (mut created_at, mut entities, mut attachments) = (None, None, None);
        let (mut history, mut references) = (None, None);
        for (key, value) in tweet.fields() {
            match key {
                "id" => id = value.id(),
                "text" => text = value.string(),
                "note_tweet" => note = value.object(),
                "author_id" => author_id = value.id(),
                "lang" => language = value.string(),
                "created_at" => created_at = value.string(),
                "entities" => entities = value.object(),
                "attachments" => attachments = value.object(),
                "edit_history_tweet_ids" => history = value.array(),
                "referenced_tweets" => references = value.array(),
                _ => {}
            }
        }
        // Of a long post `text` is cut, and so are its entities.
        let note_text = note.and_then(|note| note.field("text")?.string());
        let note_entities = note.and_then(|note| note.field("entities")?.object());
        let mut tweet = Tweet {
            // Each edit has an id of its own; the first version's is the post's.
            id: history
                .and_then(|history| history.items().next().and_then(Value::id))
                .or(id)
                .ok_or(Malformed::Shape("data.id"))?,
            text: note_text.or(text).ok_or(Malformed::Shape("data.text"))?,
            author_id,
            language,
            created_at,
            entities: note_entities.or(entities),
            has_media: attachments
                .and_then(|attachments| attachments.field("media_keys"))
                .is_some_and(Value::has_items),
            edited: history.is_some_and(|history| history.items().nth(1).is_some()),
            replied_to: None,
            quoted: None,
            retweeted: None,
        };
        for reference in references.into_iter().flat_map(Value::items) {
            let id = reference.field("id").and_then(Value::id);
            match reference.field("type").and_then(Value::string) {
                Some("replied_to") => tweet.replied_to = id,
                Some("quoted") => tweet.quoted = id,
                Some("retweeted") => tweet.retweeted = id,
                _ => {}
            }
        }
        Ok(tweet)
    }

    fn into_post(self, author: Author<'f>, includes: &Includes<'_, 'f>) -> Post<'f> {
        let mut post = Post::new(Network::X, self.id, author, decoded(self.text));
        post.language = self.language.and_then(language::primary);
        post.written_at = self.created_at.and_then(time::rfc3339);
        post.time_unread = self.created_at.is_some() && post.written_at.is_none();
        post.reply_to = self.replied_to;
        post.has_media = self.has_media;
        post.edited = self.edited;
        if let Some(entities) = self.entities {
            x_entities::read(entities, &x_entities::V2, &mut post);
        }
        if let Some(quoted) = self.quoted {
            // A quoted tweet that cannot be read leaves its id, and the post as it is.
            let tweet = includes.tweet(&quoted).and_then(|tweet| Tweet::read(tweet).ok());
            post.quoted_text = tweet.map(|tweet| decoded(tweet.text));
            post.quote_of = Some(quoted);
        }
        post
    }
}

fn read_post<'f>(data: Value<'_, 'f>, includes: &Includes<'_, 'f>) -> Result<Post<'f>, Malformed> {
    let mut outer = Tweet::read(data)?;
    // The id is a default field only of the newest API version; without it the post is nobody's.
    let outer_author_id = outer.author_id.take().unwrap_or_default();
    let Some(original_id) = outer.retweeted.take() else {
        let author = includes.author(outer_author_id);
        return Ok(outer.into_post(author, includes));
    };
    let mut post = if let Some(original) = includes.tweet(&original_id) {
        let mut original = Tweet::read(original)?;
        let author = includes.author(original.author_id.take().unwrap_or_default());
        original.into_post(author, includes)
    } else if let Some((handle, text)) = repost_prefix(outer.text) {
        outer.id = original_id;
        outer.text = text;
        // When the repost was made says nothing of when the original was written.
        outer.created_at = None;
        let mut post = outer.into_post(includes.author_of_handle(handle), includes);
        // The first mention is the prefix's.
        if post.mentions.first().is_some_and(|mention| mention.eq_ignore_ascii_case(handle)) {
            post.mentions.remove(0);
        }
        post
    } else {
        let author = includes.author(outer_author_id.clone());
        outer.into_post(author, includes)
    };
    post.reposted_by = Some(outer_author_id);
    Ok(post)
}

/// Splits `RT @handle: text`.
fn repost_prefix(text: &str) -> Option<(&str, &str)> {
    let (handle, text) = text.strip_prefix("RT @")?.split_once(": ")?;
    let is_handle =
        !handle.is_empty() && handle.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_handle.then_some((handle, text))
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::parse::{Format, Parser};

    const USERS: &str = r#"{"id":"7","username":"ana","name":"Ana","verified":true,"public_metrics":{"followers_count":42}},{"id":"8","username":"Bob","name":"Bob"}"#;
    const QUOTED: &str = r#"{"id":"90","author_id":"8","text":"vive &lt;Lumio&gt;"}"#;

    fn parsed(json: &str) -> Result<Frame<'static>, Malformed> {
        let mut frame = json.as_bytes().to_vec();
        let parsed = Parser::new(Format::XV2).parse(&mut frame)?;
        Ok(recorded::owned(parsed).frame)
    }

    fn post(json: &str) -> Post<'static> {
        match parsed(json) {
            Ok(Frame::Post(post)) => *post,
            other => panic!("{json}: {other:?}"),
        }
    }

    /// A payload of `data` and the users and tweets above, with `tweets` added.
    fn payload(data: &str, tweets: &str) -> String {
        format!(
            r#"{{"data":{data},"includes":{{"users":[{USERS}],"tweets":[{QUOTED}{tweets}]}},"errors":[{{}}]}}"#
        )
    }

    const TWEET: &str = r#"{"id":"1234567890123456789","author_id":"7","text":"cut…","lang":"fr","created_at":"2024-01-15T10:35:00.000Z",
        "note_tweet":{"text":"@lumio box &amp; panne #panne https://t.co/a","entities":{"mentions":[{"username":"lumio"}],"hashtags":[{"tag":"panne"}],
            "urls":[{"url":"https://t.co/a","expanded_url":"https://e.org/a"},{"url":"https://t.co/b","expanded_url":"https://x.com/p","media_key":"3_1"}]}},
        "entities":{"mentions":[{"username":"other"}]},"attachments":{"media_keys":["3_1"]},
        "edit_history_tweet_ids":["1234567890123456788","1234567890123456789"],
        "referenced_tweets":[{"type":"replied_to","id":"80"},{"type":"quoted","id":"90"}]}"#;

    #[test]
    fn a_tweet_is_read_in_full() {
        let post = post(&payload(TWEET, ""));
        // The first version's id is the post's, so that an edit is known as one.
        assert_eq!(post.id, "1234567890123456788");
        assert_eq!(post.url().as_deref(), Some("https://x.com/ana/status/1234567890123456788"));
        assert_eq!(post.author.id, "7");
        assert_eq!((post.author.handle.as_deref(), post.author.name.as_deref()), (Some("ana"), Some("Ana")));
        assert_eq!((post.author.followers, post.author.verified), (Some(42), true));
        assert_eq!(post.text, "@lumio box & panne #panne https://t.co/a");
        assert_eq!(post.language.as_deref(), Some("fr"));
        assert_eq!(post.written_at, time::rfc3339("2024-01-15T10:35:00Z"));
        assert_eq!(post.mentions, ["lumio"]);
        assert_eq!(post.hashtags, ["panne"]);
        assert_eq!(post.links, ["https://e.org/a"]);
        assert_eq!(post.reply_to.as_deref(), Some("80"));
        assert_eq!(post.quote_of.as_deref(), Some("90"));
        assert_eq!(post.quoted_text.as_deref(), Some("vive <Lumio>"));
        assert!(post.has_media && post.edited && post.reposted_by.is_none());
    }

    #[test]
    fn the_default_fields_are_enough() {
        let post = post(r#"{"data":{"id":"1","text":"a","edit_history_tweet_ids":["1"]}}"#);
        assert_eq!((&*post.id, &*post.text, &*post.author.id, post.edited), ("1", "a", "", false));
        assert_eq!(post.url().as_deref(), Some("https://x.com/i/status/1"));
    }

    #[test]
    fn a_bare_tweet_is_one_without_includes() {
        let bare = post(r#"{"id":5,"text":"a","author_id":"7"}"#);
        assert_eq!((&*bare.id, &*bare.author.id), ("5", "7"));
    }

    #[test]
    fn a_repost_is_the_original_with_who_reposted_it() {
        let original = r#"{"id":"70","author_id":"8","text":"whole text","lang":"en","entities":{"hashtags":[{"tag":"a"}]},"referenced_tweets":[{"type":"quoted","id":"90"}]}"#;
        let data = r#"{"id":"71","author_id":"7","text":"RT @Bob: whole…","lang":"en","referenced_tweets":[{"type":"retweeted","id":"70"}]}"#;
        let mut expected = post(&payload(original, ""));
        expected.reposted_by = Some("7".into());
        assert_eq!(post(&payload(data, &format!(",{original}"))), expected);
    }

    #[test]
    fn a_repost_without_its_original_keeps_what_is_known_of_it() {
        let data = |text: &str| {
            format!(
                r#"{{"id":"71","author_id":"7","text":"{text}","created_at":"2024-01-15T10:35:00.000Z","entities":{{"mentions":[{{"username":"bob"}},{{"username":"lumio"}}]}},"referenced_tweets":[{{"type":"retweeted","id":"70"}}]}}"#
            )
        };
        let of = |text: &str| {
            let post = post(&payload(&data(text), ""));
            assert_eq!(post.reposted_by.as_deref(), Some("7"));
            (post.id, post.author.id, post.text, post.mentions.len(), post.written_at.is_some())
        };
        assert_eq!(of("RT @bob: @lumio it is…"), ("70".into(), "8".into(), "@lumio it is…".into(), 1, false));
        assert_eq!(
            of("RT @eve: @lumio it is…"),
            ("70".into(), "eve".into(), "@lumio it is…".into(), 2, false)
        );
        assert_eq!(of("@lumio it is…"), ("71".into(), "7".into(), "@lumio it is…".into(), 2, true));
        assert_eq!(of("RT @b b: x"), ("71".into(), "7".into(), "RT @b b: x".into(), 2, true));
    }

    #[test]
    fn codes_that_name_no_language_are_none() {
        let language =
            |tag: &str| post(&format!(r#"{{"data":{{"id":"1","text":"a","lang":"{tag}"}}}}"#)).language;
        assert_eq!(language("und"), None);
        assert_eq!(language("qme"), None);
        assert_eq!(language("pt"), Some("pt".into()));
    }

    #[test]
    fn what_is_no_post_is_control() {
        for json in [
            r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"UpstreamOperationalDisconnect"}]}"#,
            r#"{"title":"ConnectionException","connection_issue":"TooManyConnections"}"#,
            "{}",
            "",
            "\r\n",
        ] {
            assert_eq!(parsed(json), Ok(Frame::Control), "{json}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check =
            |json: &str, expected| assert_eq!(parsed(json), Err(Malformed::Shape(expected)), "{json}");
        check("[]", "object");
        check(r#"{"data":[]}"#, "data");
        check(r#"{"data":{"text":"a"}}"#, "data.id");
        check(r#"{"data":{"id":"1","text":null}}"#, "data.text");
        check(r#"{"data":{"id":{},"text":"a"}}"#, "data.id");
    }

    #[test]
    fn recorded_payloads_are_all_understood() {
        let Some(tally) = recorded::tally("x_v2_filtered_stream.jsonl", Format::XV2) else {
            return;
        };
        assert_eq!((tally.frames, tally.posts, tally.authors), (987, 987, 987));
        assert_eq!((tally.reposts, tally.texts_marked_up), (589, 0));
        // The same as a few lines of Python count: half of the users came without metrics, 38 reposts
        // without their original.
        assert_eq!((tally.names, tally.followers, tally.verified), (949, 475, 87));
        assert_eq!((tally.languages, tally.replies, tally.quotes, tally.quoted_texts), (506, 225, 82, 31));
        assert_eq!((tally.mentions, tally.hashtags, tally.links, tally.media), (323, 423, 384, 162));
        // Reposts of one post are one post.
        assert!(tally.distinct_ids < tally.posts);
    }
}
