//! Mastodon's streaming messages and bare `Status` objects, and what other servers send in their shape.
//!
//! A streaming message is `{"stream":[…],"event":…,"payload":…}`, its payload JSON text inside JSON. That
//! text is copied out and parsed a second time, so such a post owns its strings, at 385 posts/s of the
//! whole fediverse a cost that does not matter. Bare statuses (backfill, files) borrow from the frame.
//!
//! The text is the `spoiler_text`, where authors put the subject, on a line of its own before the content.
//! [`Post::reply_to`] is an id local to the instance, as in deletions; all other ids are global.

use std::borrow::Cow;

use super::post::web_address;
use super::tape::{Reader, Value};
use super::{Author, Frame, Malformed, Network, Parsed, Post, html, language, time};

/// Where payloads are parsed: they lie inside the frame as a string, and parsing writes.
pub(super) struct Payloads {
    reader: Reader,
    json: Vec<u8>,
}

/// Payloads up to this size leave their memory for the next one, as in [`Reader`].
const PAYLOAD_BYTES_KEPT: usize = 256 * 1024;

impl Payloads {
    pub(super) fn new() -> Payloads {
        Payloads { reader: Reader::new(), json: Vec::new() }
    }

    fn read_status(&mut self, payload: &str) -> Result<Post<'static>, Malformed> {
        self.json.clear();
        self.json.extend_from_slice(payload.as_bytes());
        let post = self.reader.read(&mut self.json, |root| Ok(read_status(root)?.into_owned()));
        self.json.clear();
        self.json.shrink_to(PAYLOAD_BYTES_KEPT);
        post
    }
}

/// Reads one streaming message or status.
pub(super) fn read<'f>(root: Value<'_, 'f>, payloads: &mut Payloads) -> Result<Parsed<'f>, Malformed> {
    let (mut event, mut payload, mut is_status, mut is_error) = (None, None, false, false);
    for (key, value) in root.fields() {
        match key {
            "event" => event = value.string(),
            "payload" => payload = Some(value),
            "content" | "account" => is_status = true,
            "error" => is_error = true,
            _ => {}
        }
    }
    let frame = match event {
        Some("update" | "status.update") => {
            let payload = payload.ok_or(Malformed::Shape("payload"))?;
            let mut post = match payload.string() {
                Some(json) => payloads.read_status(json)?,
                None => read_status(payload)?,
            };
            post.edited = event == Some("status.update");
            Frame::Post(Box::new(post))
        }
        Some("delete") => {
            let id = payload.and_then(Value::id).ok_or(Malformed::Shape("payload"))?;
            Frame::PostDeleted { network: Network::Mastodon, id }
        }
        // Notifications, announcements, `filters_changed`, and events that do not exist yet.
        Some(_) => Frame::Control,
        None if is_status => Frame::Post(Box::new(read_status(root)?)),
        // `{"error":"Unknown stream type","status":400}`: the connection stays.
        None if is_error => Frame::Control,
        None => return Err(Malformed::Shape("event or content")),
    };
    Ok(Parsed { position: None, frame })
}

/// Reads a status; of a reblog the status it repeats.
fn read_status<'f>(outer: Value<'_, 'f>) -> Result<Post<'f>, Malformed> {
    match outer.field("reblog").and_then(Value::object) {
        Some(original) => {
            let mut post = read_original(original)?;
            post.reposted_by = Some(read_author(outer.field("account"))?.id);
            Ok(post)
        }
        None => read_original(outer),
    }
}

fn read_original<'f>(status: Value<'_, 'f>) -> Result<Post<'f>, Malformed> {
    let (mut uri, mut url, mut content, mut spoiler, mut account) = (None, None, None, None, None);
    let (mut tag, mut created_at, mut reply_to, mut quote) = (None, None, None, None);
    let (mut mentions, mut tags, mut media) = (None, None, None);
    for (key, value) in status.fields() {
        match key {
            "uri" => uri = value.string(),
            "url" => url = value.string(),
            "content" => content = value.string(),
            "spoiler_text" => spoiler = value.string(),
            "account" => account = Some(value),
            "language" => tag = value.string(),
            "created_at" => created_at = value.string(),
            "in_reply_to_id" => reply_to = value.id(),
            "quote" => quote = value.object(),
            "mentions" => mentions = value.array(),
            "tags" => tags = value.array(),
            "media_attachments" => media = value.array(),
            _ => {}
        }
    }
    let uri = uri.filter(|uri| !uri.is_empty()).ok_or(Malformed::Shape("uri"))?;
    let author = read_author(account)?;
    let mut links = Vec::new();
    let content = html::text(content.ok_or(Malformed::Shape("content"))?, &mut links);
    let text = match spoiler.map(str::trim) {
        None | Some("") => content,
        Some(spoiler) if content.is_empty() => Cow::Borrowed(spoiler),
        Some(spoiler) => Cow::Owned([spoiler, "\n", &content].concat()),
    };
    let mut post = Post::new(Network::Mastodon, Cow::Borrowed(uri), author, text);
    post.page = url.and_then(web_address).map(Cow::Borrowed);
    post.language = tag.and_then(language::primary);
    post.written_at = created_at.and_then(time::rfc3339);
    post.time_unread = created_at.is_some() && post.written_at.is_none();
    post.reply_to = reply_to;
    post.links = links;
    post.mentions = mentioned(mentions);
    post.hashtags = names(tags, "name");
    post.has_media = media.is_some_and(Value::has_items);
    if let Some(quoted) = quote.and_then(|quote| quote.field("quoted_status")?.object()) {
        post.quote_of = quoted.field("uri").and_then(Value::id);
        let text = quoted.field("content").and_then(Value::string);
        post.quoted_text = text.map(|text| html::text(text, &mut Vec::new()));
    }
    Ok(post)
}

fn read_author<'f>(account: Option<Value<'_, 'f>>) -> Result<Author<'f>, Malformed> {
    let account = account.and_then(Value::object).ok_or(Malformed::Shape("account"))?;
    let (mut uri, mut url, mut acct, mut name, mut followers) = (None, None, None, None, None);
    for (key, value) in account.fields() {
        match key {
            "uri" => uri = value.string(),
            "url" => url = value.string(),
            "acct" => acct = value.string(),
            "display_name" => name = value.string(),
            "followers_count" => followers = value.u64(),
            _ => {}
        }
    }
    let filled = |text: Option<&'f str>| text.filter(|text| !text.is_empty());
    let id = filled(uri).or(filled(url)).or(filled(acct)).ok_or(Malformed::Shape("account.uri"))?;
    Ok(Author {
        id: Cow::Borrowed(id),
        handle: filled(acct).map(|acct| with_host(acct, filled(url).or(filled(uri)))),
        name: filled(name).map(Cow::Borrowed),
        followers,
        verified: false,
    })
}

/// `user@host`: an instance leaves out the host of its own users, which only the account's address tells.
fn with_host<'f>(acct: &'f str, address: Option<&'f str>) -> Cow<'f, str> {
    let host = address.and_then(|address| address.split_once("://")?.1.split('/').next());
    match host.filter(|host| !host.is_empty()) {
        Some(host) if !acct.contains('@') => Cow::Owned(format!("{acct}@{host}")),
        _ => Cow::Borrowed(acct),
    }
}

/// The accounts in `mentions`, each with its host.
fn mentioned<'f>(mentions: Option<Value<'_, 'f>>) -> Vec<Cow<'f, str>> {
    let account = |mention: Value<'_, 'f>| {
        let mention = mention.object()?;
        let acct = mention.field("acct").and_then(Value::string)?;
        Some(with_host(acct, mention.field("url").and_then(Value::string)))
    };
    mentions.into_iter().flat_map(Value::items).filter_map(account).collect()
}

/// The field `name` of each object in `list`.
fn names<'f>(list: Option<Value<'_, 'f>>, name: &str) -> Vec<Cow<'f, str>> {
    let items = list.into_iter().flat_map(Value::items);
    items.filter_map(|item| item.field(name)?.string()).map(Cow::Borrowed).collect()
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::parse::{Format, Parser};

    const STATUS: &str = r##"{"id":"113","uri":"https://m.example/users/ana/statuses/113","url":"https://m.example/@ana/113",
        "created_at":"2024-10-21T19:29:01.175Z","language":"fr","spoiler_text":"Panne &","in_reply_to_id":"112",
        "content":"<p><span class=\"h-card\"><a href=\"https://m.example/@lumio\" class=\"u-url mention\">@<span>lumio</span></a></span> plus rien &amp; <a href=\"https://lumio.example/etat\"><span class=\"invisible\">https://</span>lumio.example/etat</a><br/>merci <a href=\"https://m.example/tags/panne\" class=\"mention hashtag\" rel=\"tag\">#<span>panne</span></a></p>",
        "reblog":null,"media_attachments":[{"id":"1"}],"mentions":[{"id":"2","acct":"lumio","url":"https://m.example/@lumio"},{"id":"3","acct":"bob@b.example","url":"https://b.example/@bob"}],"tags":[{"name":"panne"}],
        "quote":{"state":"accepted","quoted_status":{"uri":"https://m.example/q","content":"<p>cité</p>"}},
        "account":{"id":"7","acct":"ana","uri":"https://m.example/users/ana","url":"https://m.example/@ana","display_name":"Ana","followers_count":42}}"##;

    fn parsed(json: &str) -> Result<Frame<'static>, Malformed> {
        let mut frame = json.as_bytes().to_vec();
        let parsed = Parser::new(Format::Mastodon).parse(&mut frame)?;
        Ok(recorded::owned(parsed).frame)
    }

    fn message(event: &str, payload: &str) -> String {
        serde_json::json!({"stream": ["public"], "event": event, "payload": payload}).to_string()
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
        assert_eq!(post.id, "https://m.example/users/ana/statuses/113");
        assert_eq!(post.url().as_deref(), Some("https://m.example/@ana/113"));
        assert_eq!(post.author.id, "https://m.example/users/ana");
        assert_eq!(post.author.handle.as_deref(), Some("ana@m.example"));
        assert_eq!(post.author.name.as_deref(), Some("Ana"));
        assert_eq!(post.author.followers, Some(42));
        assert_eq!(post.text, "Panne &\n@lumio plus rien & lumio.example/etat\nmerci #panne");
        assert_eq!(post.language.as_deref(), Some("fr"));
        assert_eq!(post.written_at, time::rfc3339("2024-10-21T19:29:01.175Z"));
        assert_eq!(post.reply_to.as_deref(), Some("112"));
        assert_eq!(post.mentions, ["lumio@m.example", "bob@b.example"]);
        assert_eq!(post.hashtags, ["panne"]);
        assert_eq!(post.links, ["https://lumio.example/etat"]);
        assert_eq!(post.quote_of.as_deref(), Some("https://m.example/q"));
        assert_eq!(post.quoted_text.as_deref(), Some("cité"));
        assert!(post.has_media && !post.edited && post.reposted_by.is_none());
    }

    #[test]
    fn a_streamed_status_reads_as_the_bare_one() {
        assert_eq!(post(&message("update", STATUS)), post(STATUS));
        assert_eq!(post(&format!(r#"{{"event":"update","payload":{STATUS}}}"#)), post(STATUS));
    }

    #[test]
    fn an_edit_is_marked() {
        assert!(post(&message("status.update", STATUS)).edited);
    }

    #[test]
    fn a_reblog_is_the_original_with_who_repeated_it() {
        let reblog = format!(
            r#"{{"uri":"https://b.example/1","content":"","account":{{"acct":"bob@b.example","url":"https://b.example/@bob"}},"reblog":{STATUS}}}"#
        );
        let mut expected = post(STATUS);
        expected.reposted_by = Some("https://b.example/@bob".into());
        assert_eq!(post(&reblog), expected);
    }

    #[test]
    fn a_subject_without_content_stands_alone() {
        let text = |spoiler: &str, content: &str| {
            post(&format!(
                r#"{{"uri":"u","account":{{"acct":"a"}},"spoiler_text":"{spoiler}","content":"{content}"}}"#
            ))
            .text
        };
        assert_eq!(text("subject", ""), "subject");
        assert_eq!(text(" ", "<p>content</p>"), "content");
        assert_eq!(text("subject", "<p>content</p>"), "subject\ncontent");
    }

    #[test]
    fn a_deletion_names_the_local_id() {
        let deleted = Frame::PostDeleted { network: Network::Mastodon, id: "113".into() };
        assert_eq!(parsed(&message("delete", "113")), Ok(deleted.clone()));
        assert_eq!(parsed(r#"{"event":"delete","payload":113}"#), Ok(deleted));
    }

    #[test]
    fn what_is_no_post_is_control() {
        for json in [
            r#"{"event":"filters_changed"}"#,
            r#"{"event":"filters_changed","payload":"undefined"}"#,
            r#"{"event":"notification","payload":"{\"id\":\"1\"}"}"#,
            r#"{"event":"announcement.delete","payload":"3"}"#,
            r#"{"event":"tomorrow","payload":"{"}"#,
            r#"{"error":"Unknown stream type","status":400}"#,
        ] {
            assert_eq!(parsed(json), Ok(Frame::Control), "{json}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |json: &str, expected| assert_eq!(parsed(json), Err(expected), "{json}");
        check("{}", Malformed::Shape("event or content"));
        check("[1]", Malformed::Shape("event or content"));
        check(r#"{"event":"update"}"#, Malformed::Shape("payload"));
        check(r#"{"event":"delete","payload":{}}"#, Malformed::Shape("payload"));
        check(r#"{"event":"update","payload":"{\"uri\":"}"#, Malformed::NotJson);
        check(&message("update", &"[".repeat(100_000)), Malformed::TooDeep);
        check(r#"{"event":"update","payload":"1"}"#, Malformed::Shape("uri"));
        check(r#"{"content":"a","uri":"u"}"#, Malformed::Shape("account"));
        check(r#"{"content":"a","uri":"u","account":{}}"#, Malformed::Shape("account.uri"));
        check(r#"{"content":1,"uri":"u","account":{"acct":"a"}}"#, Malformed::Shape("content"));
    }

    #[test]
    fn a_page_that_is_no_web_address_is_left_out() {
        let check = |uri: &str, url: &str| {
            let json = format!(r#"{{"uri":"{uri}","url":"{url}","account":{{"acct":"a"}},"content":"a"}}"#);
            let post = post(&json);
            assert_eq!((post.page.as_deref(), post.url()), (None, None), "{url}");
        };
        check("tag:m.example:1", "javascript:x()");
        // Words behind an address would stand in a line that is ours.
        check(
            "https://m.example/1 Log in again at https://evil.example/",
            "https://m.example/1 Security: call us",
        );
        for between in [r"\n", r"\t", r"\u00a0", r"\u2028", r"\u0000", r"\u0085", r"\u200b", r"\u3164"] {
            check(
                "tag:m.example:1",
                &format!("https://m.example/1{between}Security:{between}call{between}us"),
            );
        }
    }

    #[test]
    fn recorded_statuses_are_all_understood() {
        let Some(tally) = recorded::tally("mastodon_update.jsonl", Format::Mastodon) else {
            return;
        };
        assert_eq!((tally.frames, tally.posts, tally.authors, tally.handles), (439, 439, 439, 439));
        assert_eq!((tally.followers, tally.written_at, tally.languages, tally.reposts), (439, 439, 435, 2));
        assert_eq!((tally.replies, tally.mentions, tally.hashtags, tally.links), (182, 187, 242, 190));
        assert_eq!((tally.media, tally.texts_empty, tally.texts_marked_up), (83, 1, 0));
    }
}
