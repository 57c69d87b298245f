//! Bluesky's Jetstream v1: one event a message, positions in µs.
//!
//! Read: creates and updates of `app.bsky.feed.post`, deletes of them, and accounts deleted with all they
//! posted. Likes, reposts, follows, identities, and kinds that do not exist yet are [`Frame::Control`]. A
//! repost on Bluesky is a record of its own that holds no text, so it is no [`Post`].

use std::borrow::Cow;

use jiff::Timestamp;

use super::tape::Value;
use super::{Author, Frame, Malformed, Network, Parsed, Post, language, time};

/// The collection whose records are posts.
const POSTS: &str = "app.bsky.feed.post";

/// Reads one event; `passes` as in [`Parser::parse_unless`](super::Parser::parse_unless).
pub(super) fn read<'f>(
    root: Value<'_, 'f>,
    passes: &mut dyn FnMut(&Post<'_>) -> bool,
) -> Result<Parsed<'f>, Malformed> {
    let (mut did, mut time_us, mut kind, mut commit, mut account) = (None, None, None, None, None);
    for (key, value) in root.fields() {
        match key {
            "did" => did = value.string(),
            "time_us" => time_us = value.i64(),
            "kind" => kind = value.string(),
            "commit" => commit = value.object(),
            "account" => account = value.object(),
            _ => {}
        }
    }
    let time_us = time_us.ok_or(Malformed::Shape("time_us"))?;
    let did = did.filter(|did| !did.is_empty()).ok_or(Malformed::Shape("did"));
    let frame = match kind.ok_or(Malformed::Shape("kind"))? {
        "commit" => read_commit(did?, time_us, commit.ok_or(Malformed::Shape("commit"))?, passes)?,
        "account" => read_account(did?, account.ok_or(Malformed::Shape("account"))?),
        _ => Frame::Control,
    };
    Ok(Parsed { position: Some(time_us), frame })
}

/// The position of an event: `time_us`.
pub(super) fn position(root: Value<'_, '_>) -> Option<i64> {
    root.field("time_us").and_then(Value::i64)
}

fn read_commit<'f>(
    did: &'f str,
    time_us: i64,
    commit: Value<'_, 'f>,
    passes: &mut dyn FnMut(&Post<'_>) -> bool,
) -> Result<Frame<'f>, Malformed> {
    let (mut operation, mut collection, mut rkey, mut record) = (None, None, None, None);
    for (key, value) in commit.fields() {
        match key {
            "operation" => operation = value.string(),
            "collection" => collection = value.string(),
            "rkey" => rkey = value.string(),
            "record" => record = value.object(),
            _ => {}
        }
    }
    if collection.ok_or(Malformed::Shape("commit.collection"))? != POSTS {
        return Ok(Frame::Control);
    }
    let rkey = rkey.filter(|rkey| !rkey.is_empty()).ok_or(Malformed::Shape("commit.rkey"))?;
    let id = || Cow::Owned(["at://", did, "/", POSTS, "/", rkey].concat());
    let edited = match operation.ok_or(Malformed::Shape("commit.operation"))? {
        "create" => false,
        "update" => true,
        "delete" => {
            return Ok(Frame::PostDeleted { network: Network::Bluesky, id: id() });
        }
        _ => return Ok(Frame::Control),
    };
    let author = Author { id: Cow::Borrowed(did), ..Author::default() };
    let record = Record::read(record.ok_or(Malformed::Shape("commit.record"))?)?;
    let mut post = Post::new(Network::Bluesky, Cow::Borrowed(""), author, Cow::Borrowed(record.text));
    record.searched(&mut post);
    if !edited && passes(&post) {
        return Ok(Frame::PassedOver);
    }
    record.rest(&mut post);
    post.id = id();
    post.seen_at = Timestamp::from_microsecond(time_us).ok();
    post.edited = edited;
    Ok(Frame::Post(Box::new(post)))
}

fn read_account<'f>(did: &'f str, account: Value<'_, 'f>) -> Frame<'f> {
    let inactive = account.field("active").is_some_and(Value::is_false);
    let status = account.field("status").and_then(Value::string);
    // The other statuses (takendown, suspended, deactivated) can be undone: no erasure.
    if inactive && status == Some("deleted") {
        Frame::AccountDeleted { network: Network::Bluesky, author_id: Cow::Borrowed(did) }
    } else {
        Frame::Control
    }
}

/// A post's record, as it is.
struct Record<'t, 'f> {
    text: &'f str,
    created_at: Option<&'f str>,
    langs: Option<Value<'t, 'f>>,
    reply: Option<Value<'t, 'f>>,
    embed: Option<Value<'t, 'f>>,
    facets: Option<Value<'t, 'f>>,
    tags: Option<Value<'t, 'f>>,
}

impl<'t, 'f> Record<'t, 'f> {
    fn read(record: Value<'t, 'f>) -> Result<Record<'t, 'f>, Malformed> {
        let (mut text, mut created_at, mut langs) = (None, None, None);
        let (mut reply, mut embed, mut facets, mut tags) = (None, None, None, None);
        for (key, value) in record.fields() {
            match key {
                "text" => text = value.string(),
                "createdAt" => created_at = value.string(),
                "langs" => langs = value.array(),
                "reply" => reply = value.object(),
                "embed" => embed = value.object(),
                "facets" => facets = value.array(),
                "tags" => tags = value.array(),
                _ => {}
            }
        }
        let text = text.ok_or(Malformed::Shape("commit.record.text"))?;
        Ok(Record { text, created_at, langs, reply, embed, facets, tags })
    }

    /// Adds what rules look for in every post.
    fn searched(&self, post: &mut Post<'f>) {
        let parent = self.reply.and_then(|reply| reply.field("parent")?.field("uri")?.string());
        post.reply_to = parent.map(Cow::Borrowed);
        if let Some(facets) = self.facets {
            read_facets(facets, self.text, post);
        }
        if let Some(tags) = self.tags {
            // Tags that the author added outside the text.
            post.hashtags.extend(tags.items().filter_map(Value::string).map(Cow::Borrowed));
        }
    }

    /// Adds all else.
    fn rest(&self, post: &mut Post<'f>) {
        let language = self.langs.and_then(|langs| langs.items().next()?.string());
        post.language = language.and_then(language::primary);
        post.written_at = self.created_at.and_then(time::rfc3339);
        post.time_unread = self.created_at.is_some() && post.written_at.is_none();
        if let Some(embed) = self.embed {
            read_embed(embed, post);
        }
    }
}

fn read_facets<'f>(facets: Value<'_, 'f>, text: &'f str, post: &mut Post<'f>) {
    for facet in facets.items() {
        let (mut index, mut features) = (None, None);
        for (key, value) in facet.fields() {
            match key {
                "index" => index = Some(value),
                "features" => features = value.array(),
                _ => {}
            }
        }
        for feature in features.into_iter().flat_map(Value::items) {
            let (mut kind, mut did, mut uri, mut tag) = (None, None, None, None);
            for (key, value) in feature.fields() {
                match key {
                    "$type" => kind = value.string(),
                    "did" => did = value.string(),
                    "uri" => uri = value.string(),
                    "tag" => tag = value.string(),
                    _ => {}
                }
            }
            match (kind, did, uri, tag) {
                (Some("app.bsky.richtext.facet#mention"), Some(did), _, _) => {
                    // A facet may name an account under any words; only `@handle` is a handle.
                    let handle =
                        index.and_then(|index| marked(text, index)).and_then(|t| t.strip_prefix('@'));
                    post.mentions
                        .push(Cow::Borrowed(handle.filter(|handle| !handle.is_empty()).unwrap_or(did)));
                }
                (Some("app.bsky.richtext.facet#link"), _, Some(uri), _) => {
                    post.links.push(Cow::Borrowed(uri));
                }
                (Some("app.bsky.richtext.facet#tag"), _, _, Some(tag)) => {
                    post.hashtags.push(Cow::Borrowed(tag));
                }
                _ => {}
            }
        }
    }
}

/// What a facet marks. `index` counts UTF-8 bytes; `None` if it leaves the text or cuts a character.
fn marked<'f>(text: &'f str, index: Value<'_, 'f>) -> Option<&'f str> {
    let offset = |name| usize::try_from(index.field(name)?.u64()?).ok();
    text.get(offset("byteStart")?..offset("byteEnd")?)
}

fn read_embed<'f>(embed: Value<'_, 'f>, post: &mut Post<'f>) {
    let (mut kind, mut external, mut record, mut media) = (None, None, None, None);
    for (key, value) in embed.fields() {
        match key {
            "$type" => kind = value.string(),
            "external" => external = Some(value),
            "record" => record = Some(value),
            "media" => media = Some(value),
            _ => {}
        }
    }
    match kind {
        Some("app.bsky.embed.images" | "app.bsky.embed.video") => post.has_media = true,
        Some("app.bsky.embed.external") => read_external(external, post),
        Some("app.bsky.embed.record") => read_quote(record, post),
        Some("app.bsky.embed.recordWithMedia") => {
            read_quote(record.and_then(|record| record.field("record")), post);
            match media.and_then(|media| media.field("$type")?.string()) {
                Some("app.bsky.embed.images" | "app.bsky.embed.video") => post.has_media = true,
                _ => read_external(media.and_then(|media| media.field("external")), post),
            }
        }
        _ => {}
    }
}

fn read_external<'f>(external: Option<Value<'_, 'f>>, post: &mut Post<'f>) {
    // Mostly the card of a link that the text holds too.
    if let Some(uri) = external.and_then(|external| external.field("uri")?.string())
        && !post.links.iter().any(|link| link == uri)
    {
        post.links.push(Cow::Borrowed(uri));
    }
}

fn read_quote<'f>(record: Option<Value<'_, 'f>>, post: &mut Post<'f>) {
    // Feeds, lists and starter packs are embedded as records too; only a post can be quoted.
    let uri = record.and_then(|record| record.field("uri")?.string());
    post.quote_of = uri.filter(|uri| uri.contains("/app.bsky.feed.post/")).map(Cow::Borrowed);
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::parse::{Format, Parser};

    fn parsed(json: &str) -> Result<Parsed<'static>, Malformed> {
        let mut frame = json.as_bytes().to_vec();
        let parsed = Parser::new(Format::Jetstream).parse(&mut frame)?;
        Ok(recorded::owned(parsed))
    }

    fn check(json: &str, expected: Frame<'static>) {
        assert_eq!(
            parsed(json),
            Ok(Parsed { position: Some(1_725_911_162_329_308), frame: expected }),
            "{json}"
        );
    }

    /// The post in a create event around `record`.
    fn post(record: &str) -> Post<'static> {
        match parsed(&commit("create", record)).map(|parsed| parsed.frame) {
            Ok(Frame::Post(post)) => *post,
            other => panic!("{record}: {other:?}"),
        }
    }

    fn commit(operation: &str, record: &str) -> String {
        format!(
            r#"{{"did":"did:plc:ana","time_us":1725911162329308,"cursor":12345,"kind":"commit","commit":{{"rev":"3l","operation":"{operation}","collection":"app.bsky.feed.post","rkey":"3l3q","record":{record},"cid":"bafy"}}}}"#
        )
    }

    #[test]
    fn a_created_post_is_read_in_full() {
        let text = "Salut @lumio.bsky.social é #panne lumio.example";
        let at = |part: &str| {
            let start = text.find(part).unwrap();
            format!(r#"{{"byteStart":{start},"byteEnd":{}}}"#, start + part.len())
        };
        let post = post(&format!(
            r##"{{"$type":"app.bsky.feed.post","createdAt":"2024-09-09T19:46:02.102Z","langs":["fr-CA","en"],"text":"{text}",
                "reply":{{"root":{{"uri":"at://r","cid":"c"}},"parent":{{"uri":"at://p","cid":"c"}}}},
                "facets":[{{"index":{},"features":[{{"$type":"app.bsky.richtext.facet#mention","did":"did:plc:lumio"}}]}},
                          {{"index":{},"features":[{{"$type":"app.bsky.richtext.facet#tag","tag":"panne"}}]}},
                          {{"index":{},"features":[{{"$type":"app.bsky.richtext.facet#link","uri":"https://lumio.example/x"}}]}}],
                "tags":["box"],
                "embed":{{"$type":"app.bsky.embed.external","external":{{"uri":"https://lumio.example/x","title":"t"}}}}}}"##,
            at("@lumio.bsky.social"),
            at("#panne"),
            at("lumio.example"),
        ));
        assert_eq!(post.id, "at://did:plc:ana/app.bsky.feed.post/3l3q");
        assert_eq!(post.url().as_deref(), Some("https://bsky.app/profile/did:plc:ana/post/3l3q"));
        assert_eq!((&*post.author.id, post.author.handle.as_deref()), ("did:plc:ana", None));
        assert_eq!(post.text, text);
        assert_eq!(post.language.as_deref(), Some("fr"));
        assert_eq!(post.written_at, time::rfc3339("2024-09-09T19:46:02.102Z"));
        assert_eq!(post.seen_at, time::rfc3339("2024-09-09T19:46:02.329308Z"));
        assert_eq!(post.reply_to.as_deref(), Some("at://p"));
        assert_eq!(post.mentions, ["lumio.bsky.social"]);
        assert_eq!(post.hashtags, ["panne", "box"]);
        assert_eq!(post.links, ["https://lumio.example/x"]);
        assert!(!post.edited && !post.has_media && post.quote_of.is_none());
    }

    #[test]
    fn an_updated_post_is_edited() {
        let parsed = parsed(&commit("update", r#"{"text":"a"}"#)).unwrap();
        assert!(matches!(parsed.frame, Frame::Post(post) if post.edited && post.text == "a"));
    }

    #[test]
    fn quotes_and_media_come_from_the_embed() {
        let quote = r#"{"uri":"at://did:plc:q/app.bsky.feed.post/1","cid":"c"}"#;
        let list = r#"{"uri":"at://did:plc:q/app.bsky.graph.list/1","cid":"c"}"#;
        let check = |embed: String, quote: bool, media: bool, links: usize| {
            let post = post(&format!(r#"{{"text":"","embed":{embed}}}"#));
            assert_eq!(
                (post.quote_of.is_some(), post.has_media, post.links.len()),
                (quote, media, links),
                "{embed}"
            );
        };
        check(r#"{"$type":"app.bsky.embed.images","images":[]}"#.into(), false, true, 0);
        check(r#"{"$type":"app.bsky.embed.video","video":{}}"#.into(), false, true, 0);
        check(format!(r#"{{"$type":"app.bsky.embed.record","record":{quote}}}"#), true, false, 0);
        check(format!(r#"{{"$type":"app.bsky.embed.record","record":{list}}}"#), false, false, 0);
        let with = |media: &str| {
            format!(
                r#"{{"$type":"app.bsky.embed.recordWithMedia","record":{{"$type":"x","record":{quote}}},"media":{media}}}"#
            )
        };
        check(with(r#"{"$type":"app.bsky.embed.images","images":[]}"#), true, true, 0);
        check(with(r#"{"$type":"app.bsky.embed.external","external":{"uri":"https://e"}}"#), true, false, 1);
        check(r#"{"$type":"new"}"#.into(), false, false, 0);
        check("[]".into(), false, false, 0);
    }

    #[test]
    fn a_mention_that_marks_no_handle_falls_back_to_the_did() {
        let check = |index: &str, expected: &str| {
            let post = post(&format!(
                r#"{{"text":"é @bob","facets":[{{"index":{index},"features":[{{"$type":"app.bsky.richtext.facet#mention","did":"did:plc:bob"}}]}}]}}"#
            ));
            assert_eq!(post.mentions, [expected], "{index}");
        };
        check(r#"{"byteStart":3,"byteEnd":7}"#, "bob");
        // Inside é, outside the text, backwards, no handle, nothing, no numbers.
        check(r#"{"byteStart":1,"byteEnd":7}"#, "did:plc:bob");
        check(r#"{"byteStart":3,"byteEnd":8}"#, "did:plc:bob");
        check(r#"{"byteStart":7,"byteEnd":3}"#, "did:plc:bob");
        check(r#"{"byteStart":0,"byteEnd":2}"#, "did:plc:bob");
        check(r#"{"byteStart":3,"byteEnd":4}"#, "did:plc:bob");
        check(r#"{"byteStart":-1,"byteEnd":18446744073709551615}"#, "did:plc:bob");
        check(r#""none""#, "did:plc:bob");
    }

    #[test]
    fn deletions_are_told() {
        check(
            r#"{"did":"did:plc:ana","time_us":1725911162329308,"kind":"commit","commit":{"rev":"r","operation":"delete","collection":"app.bsky.feed.post","rkey":"3l"}}"#,
            Frame::PostDeleted {
                network: Network::Bluesky,
                id: "at://did:plc:ana/app.bsky.feed.post/3l".into(),
            },
        );
        check(
            r#"{"did":"did:plc:ana","time_us":1725911162329308,"kind":"account","account":{"active":false,"did":"did:plc:ana","seq":1,"status":"deleted"}}"#,
            Frame::AccountDeleted { network: Network::Bluesky, author_id: "did:plc:ana".into() },
        );
    }

    #[test]
    fn what_is_no_post_is_control() {
        for rest in [
            r#""kind":"identity","identity":{"did":"did:plc:ana","seq":1}"#,
            r#""kind":"account","account":{"active":true,"did":"did:plc:ana"}"#,
            r#""kind":"account","account":{"active":false,"status":"takendown"}"#,
            r#""kind":"account","account":{"active":true,"status":"deleted"}"#,
            r#""kind":"account","account":{"status":"deleted"}"#,
            r#""kind":"commit","commit":{"operation":"create","collection":"app.bsky.feed.like","rkey":"1","record":{}}"#,
            r#""kind":"commit","commit":{"operation":"delete","collection":"app.bsky.graph.follow","rkey":"1"}"#,
            r#""kind":"commit","commit":{"operation":"resync","collection":"app.bsky.feed.post","rkey":"1"}"#,
            r#""kind":"tomorrow","new":[]"#,
        ] {
            check(&format!(r#"{{"did":"did:plc:ana","time_us":1725911162329308,{rest}}}"#), Frame::Control);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check =
            |json: &str, expected| assert_eq!(parsed(json), Err(Malformed::Shape(expected)), "{json}");
        check("[]", "time_us");
        check(r#"{"did":"d","time_us":"1","kind":"commit"}"#, "time_us");
        check(r#"{"did":"d","time_us":1}"#, "kind");
        check(r#"{"time_us":1,"kind":"commit","commit":{}}"#, "did");
        check(r#"{"did":"d","time_us":1,"kind":"commit","commit":[]}"#, "commit");
        check(r#"{"did":"d","time_us":1,"kind":"account"}"#, "account");
        check(r#"{"did":"d","time_us":1,"kind":"commit","commit":{}}"#, "commit.collection");
        let at = r#"{"did":"d","time_us":1,"kind":"commit","commit":{"collection":"app.bsky.feed.post""#;
        check(&format!("{at}}}}}"), "commit.rkey");
        check(&format!(r#"{at},"rkey":"1"}}}}"#), "commit.operation");
        check(&format!(r#"{at},"rkey":"1","operation":"create"}}}}"#), "commit.record");
        check(
            &format!(r#"{at},"rkey":"1","operation":"create","record":{{"text":1}}}}}}"#),
            "commit.record.text",
        );
    }

    #[test]
    fn optional_fields_of_the_wrong_type_are_left_out() {
        let post = post(
            r#"{"text":"a","createdAt":1,"langs":"fr","reply":"x","embed":[1],"facets":{"a":[]},"tags":"b"}"#,
        );
        assert_eq!(post.text, "a");
        assert_eq!((post.language, post.written_at, post.reply_to), (None, None, None));
    }

    #[test]
    fn recorded_events_are_all_understood() {
        let Some(real) = recorded::tally("jetstream_real.jsonl", Format::Jetstream) else {
            return;
        };
        assert_eq!((real.frames, real.posts, real.posts_deleted, real.control), (152, 17, 1, 134));
        assert_eq!((real.replies, real.positions, real.hashtags, real.links), (8, 152, 2, 5));
        let Some(many) = recorded::tally("jetstream_reenveloped.jsonl", Format::Jetstream) else {
            return;
        };
        assert_eq!((many.frames, many.posts, many.authors, many.languages), (3988, 3988, 3988, 3988));
    }
}
