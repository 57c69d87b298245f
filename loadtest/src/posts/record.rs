//! `app.bsky.feed.post` records, encoded but for what an event adds: its time and its conversation.

use crate::script::identifier::{Cid, Did, Tid};

/// Account of the fictitious brand, for the mentions of its Bluesky handle.
const BRAND_DID: &str = "did:plc:lumiolumiolumiolumio2345";
/// The handle that resolves to it. The brand's other handles belong to other networks: they stay plain text.
const BRAND_HANDLE: &str = "lumio.bsky.social";

/// A post's record in two pieces, between which an event writes what it knows.
///
/// In the order of the real network, which sorts the keys: `$type`, `createdAt`, `embed`, *head*, `reply`,
/// *tail*.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    language: String,
    /// Empty if it is recorded.
    text: String,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// A recorded post has its own conversation.
    recorded: bool,
}

/// Another post, as records refer to it.
#[derive(Clone, Copy)]
pub(crate) struct Reference {
    pub(crate) did: Did,
    pub(crate) rkey: Tid,
    pub(crate) cid: Cid,
}

impl Reference {
    /// Appends `{"cid":"…","uri":"at://…"}`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"cid\":\"");
        out.extend_from_slice(self.cid.as_bytes());
        out.extend_from_slice(b"\",\"uri\":\"at://");
        out.extend_from_slice(self.did.as_bytes());
        out.extend_from_slice(b"/app.bsky.feed.post/");
        out.extend_from_slice(&self.rkey.characters());
        out.extend_from_slice(b"\"}");
    }
}

/// How a post stands to others.
#[derive(Clone, Copy)]
pub(crate) enum Conversation {
    Alone,
    ReplyTo(Reference),
    Quoting(Reference),
}

impl Record {
    /// A record of this text; `language` is a primary tag, `und` for none.
    pub(crate) fn of_text(language: &str, text: &str) -> Record {
        let mut head = facets(text);
        if language != "und" {
            head.push_str(",\"langs\":[");
            head.push_str(&json(language));
            head.push(']');
        }
        let tail = format!(",\"text\":{}}}", json(text));
        Record {
            language: language.to_owned(),
            text: text.to_owned(),
            head: head.into_bytes(),
            tail: tail.into_bytes(),
            recorded: false,
        }
    }

    /// The record of a recorded Jetstream event; `None` unless it creates or changes a post.
    pub(crate) fn of_event(mut event: serde_json::Value) -> Option<Record> {
        let commit = event.get_mut("commit")?;
        if commit.get("collection")? != "app.bsky.feed.post" {
            return None;
        }
        let serde_json::Value::Object(mut record) = commit.get_mut("record")?.take() else {
            return None;
        };
        record.remove("$type");
        record.remove("createdAt");
        let rest = serde_json::Value::Object(record).to_string();
        // `{…}` without its opening brace; nothing between the braces would leave a comma too many.
        let tail = match rest.get(1..)? {
            "}" => "}".to_owned(),
            rest => format!(",{rest}"),
        };
        Some(Record {
            language: String::new(),
            text: String::new(),
            head: Vec::new(),
            tail: tail.into_bytes(),
            recorded: true,
        })
    }

    /// Primary tag of its language, or `und`; empty if it is recorded.
    pub(crate) fn language(&self) -> &str {
        &self.language
    }

    /// What it says; empty if it is recorded.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it comes from a recorded stream.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Appends the record as JSON.
    pub(crate) fn write(&self, created_at: &[u8], conversation: &Conversation, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"$type\":\"app.bsky.feed.post\",\"createdAt\":\"");
        out.extend_from_slice(created_at);
        out.push(b'"');
        match conversation {
            Conversation::Quoting(post) if !self.recorded => {
                out.extend_from_slice(b",\"embed\":{\"$type\":\"app.bsky.embed.record\",\"record\":");
                post.write(out);
                out.push(b'}');
                out.extend_from_slice(&self.head);
            }
            Conversation::ReplyTo(post) if !self.recorded => {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(b",\"reply\":{\"parent\":");
                post.write(out);
                out.extend_from_slice(b",\"root\":");
                post.write(out);
                out.push(b'}');
            }
            _ => out.extend_from_slice(&self.head),
        }
        out.extend_from_slice(&self.tail);
    }
}

/// `,"facets":[…]` for the hashtags and resolvable handles of a text, or nothing.
///
/// Offsets count UTF-8 bytes, end exclusive.
fn facets(text: &str) -> String {
    let mut facets = Vec::new();
    for (start, word) in words(text) {
        if let Some(tag) = word.strip_prefix('#') {
            let tag = tag.trim_end_matches(|c: char| !c.is_alphanumeric());
            if !tag.is_empty() {
                let feature = format!("{{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":{}}}", json(tag));
                facets.push(facet(start, start + 1 + tag.len(), &feature));
            }
        } else if word.strip_prefix('@').is_some_and(|handle| handle.starts_with(BRAND_HANDLE)) {
            let feature =
                format!("{{\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":\"{BRAND_DID}\"}}");
            facets.push(facet(start, start + 1 + BRAND_HANDLE.len(), &feature));
        }
    }
    match facets.is_empty() {
        true => String::new(),
        false => format!(",\"facets\":[{}]", facets.join(",")),
    }
}

fn facet(start: usize, end: usize, feature: &str) -> String {
    format!("{{\"features\":[{feature}],\"index\":{{\"byteEnd\":{end},\"byteStart\":{start}}}}}")
}

/// The words of a text, each with the byte it starts at.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::dice::{Dice, Purpose};

    fn written(record: &Record, conversation: &Conversation) -> serde_json::Value {
        let mut out = Vec::new();
        record.write(b"2026-07-04T14:38:06.240Z", conversation, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn reference() -> Reference {
        Reference {
            did: Did::new(1, 1, Purpose::Did),
            rkey: Tid::new(1, 1),
            cid: Cid::new(&mut Dice::new(1, 1, Purpose::Identifiers)),
        }
    }

    #[test]
    fn facets_cover_the_bytes_of_their_word() {
        let text = "Été \"chaud\" @lumio.bsky.social, à @lumio_help #fibre! #";
        let record = written(&Record::of_text("fr", text), &Conversation::Alone);
        assert_eq!(record["text"], text);
        assert_eq!(record["langs"], serde_json::json!(["fr"]));
        let covered: Vec<&str> = record["facets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|facet| {
                let at = |key| facet["index"][key].as_u64().unwrap() as usize;
                &text[at("byteStart")..at("byteEnd")]
            })
            .collect();
        assert_eq!(covered, ["@lumio.bsky.social", "#fibre"]);
    }

    #[test]
    fn replies_and_quotes_refer_to_a_post() {
        let record = Record::of_text("und", "x");
        let reply = written(&record, &Conversation::ReplyTo(reference()));
        assert_eq!(reply["reply"]["parent"], reply["reply"]["root"]);
        assert!(reply["reply"]["root"]["uri"].as_str().unwrap().starts_with("at://did:plc:"));
        assert_eq!(reply.get("langs"), None);
        let quote = written(&record, &Conversation::Quoting(reference()));
        assert_eq!(quote["embed"]["$type"], "app.bsky.embed.record");
    }

    #[test]
    fn a_recorded_post_keeps_everything_but_its_time() {
        let event = |record| serde_json::json!({"kind": "commit", "commit": {"collection": "app.bsky.feed.post", "record": record}});
        let original = serde_json::json!({
            "$type": "app.bsky.feed.post", "createdAt": "x", "text": "é", "reply": {"a": 1}, "langs": ["en"],
        });
        let record = Record::of_event(event(original.clone())).unwrap();
        let mut expected = original;
        expected["createdAt"] = "2026-07-04T14:38:06.240Z".into();
        assert_eq!(written(&record, &Conversation::ReplyTo(reference())), expected);

        let bare = Record::of_event(event(serde_json::json!({"createdAt": "x"}))).unwrap();
        assert!(written(&bare, &Conversation::Alone).get("text").is_none());
        assert!(Record::of_event(event(serde_json::Value::Null)).is_none());
    }
}
