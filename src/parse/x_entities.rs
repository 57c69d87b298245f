//! What both of X's APIs say about a post's text, each with names of its own.
//!
//! Entity indices count code points, unlike Bluesky's bytes; nothing here uses them.

use std::borrow::Cow;

use super::Post;
use super::select::FieldsWanted;
use super::select::Wanted::{Items, Object, Scalar};
use super::tape::Value;

/// An API's names for mentions, a mention's handle, and a hashtag's text.
pub(super) struct Names {
    pub(super) mentions: &'static str,
    pub(super) handle: &'static str,
    pub(super) hashtag: &'static str,
}

/// API v2.
pub(super) const V2: Names = Names { mentions: "mentions", handle: "username", hashtag: "tag" };

/// API v1.1.
pub(super) const V1: Names = Names { mentions: "user_mentions", handle: "screen_name", hashtag: "text" };

/// What [`read`] looks at in the entities of either API, and `media`, which v1.1 has beside them.
pub(super) static ENTITIES: FieldsWanted = FieldsWanted::of(&[
    ("mentions", Items(&Object(&MENTION))),
    ("user_mentions", Items(&Object(&MENTION))),
    ("hashtags", Items(&Object(&HASHTAG))),
    ("urls", Items(&Object(&LINK))),
    ("media", Items(&Scalar)),
]);

static MENTION: FieldsWanted = FieldsWanted::of(&[("username", Scalar), ("screen_name", Scalar)]);

static HASHTAG: FieldsWanted = FieldsWanted::of(&[("tag", Scalar), ("text", Scalar)]);

static LINK: FieldsWanted =
    FieldsWanted::of(&[("expanded_url", Scalar), ("url", Scalar), ("media_key", Scalar)]);

/// Adds the mentions, hashtags and links of `entities` to `post`.
pub(super) fn read<'f>(entities: Value<'_, 'f>, names: &Names, post: &mut Post<'f>) {
    for (key, list) in entities.fields() {
        if key == names.mentions {
            post.mentions = list.items().filter_map(|item| string(item, names.handle)).collect();
        } else if key == "hashtags" {
            post.hashtags = list.items().filter_map(|item| string(item, names.hashtag)).collect();
        } else if key == "urls" {
            post.links = list.items().filter_map(link).collect();
        }
    }
}

/// X writes `&`, `<` and `>` in texts as character references.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    html_escape::decode_html_entities(text)
}

fn link<'f>(url: Value<'_, 'f>) -> Option<Cow<'f, str>> {
    let (mut expanded, mut short, mut is_media) = (None, None, false);
    for (key, value) in url.fields() {
        match key {
            "expanded_url" => expanded = value.string(),
            "url" => short = value.string(),
            // The post's own picture, listed as if the text linked to it.
            "media_key" => is_media = true,
            _ => {}
        }
    }
    let target = expanded.filter(|url| !url.is_empty()).or(short)?;
    (!is_media).then_some(Cow::Borrowed(target))
}

fn string<'f>(item: Value<'_, 'f>, name: &str) -> Option<Cow<'f, str>> {
    item.field(name)?.string().map(Cow::Borrowed)
}
