//! Stands in for `Post::into_owned` until the parse stage has it.

use std::borrow::Cow;

use crate::parse::{Author, Post};

/// `post` without its borrows.
pub(super) fn into_owned(post: &Post<'_>) -> Post<'static> {
    let one = |text: &Cow<'_, str>| Cow::Owned(text.to_string());
    let some = |text: &Option<Cow<'_, str>>| text.as_ref().map(one);
    let all = |texts: &[Cow<'_, str>]| texts.iter().map(one).collect();
    Post {
        network: post.network,
        id: one(&post.id),
        page: some(&post.page),
        author: Author {
            id: one(&post.author.id),
            handle: some(&post.author.handle),
            name: some(&post.author.name),
            followers: post.author.followers,
            verified: post.author.verified,
        },
        text: one(&post.text),
        quoted_text: some(&post.quoted_text),
        language: some(&post.language),
        written_at: post.written_at,
        seen_at: post.seen_at,
        reply_to: some(&post.reply_to),
        quote_of: some(&post.quote_of),
        reposted_by: some(&post.reposted_by),
        mentions: all(&post.mentions),
        hashtags: all(&post.hashtags),
        links: all(&post.links),
        has_media: post.has_media,
        edited: post.edited,
    }
}
