//! What is kept of a post at most, whatever the network sent.

use std::borrow::Cow;

use crate::parse::{Author, Post};

/// Longest text that is kept of a post. X's long posts have at most 25,000 characters, others far less.
pub(super) const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Longest id, and longest of the other strings; the rest of a longer one is cut.
const ID_BYTES_MAX: usize = 1024;
const STRING_BYTES_MAX: usize = 512;
/// Mentions, hashtags and links that are kept, of each.
const LIST_ITEMS_MAX: usize = 32;

/// Cuts a candidate's post to what a ticket may hold, at most some 90 KiB, whatever the network sent; `false`
/// if its identity itself is too long.
pub(super) fn bound(post: &mut Post<'static>) -> bool {
    let cut_to = |text: &mut Cow<'static, str>, bytes_max: usize| {
        if text.len() > bytes_max {
            *text = Cow::Owned(text[..text.floor_char_boundary(bytes_max)].to_owned());
        }
    };
    cut_to(&mut post.text, TEXT_BYTES_MAX);
    post.quoted_text = None;
    for list in [&mut post.mentions, &mut post.hashtags, &mut post.links] {
        list.truncate(LIST_ITEMS_MAX);
        list.shrink_to_fit();
        list.iter_mut().for_each(|item| cut_to(item, STRING_BYTES_MAX));
    }
    let shown = [&mut post.author.handle, &mut post.author.name, &mut post.language];
    shown.into_iter().flatten().for_each(|text| cut_to(text, STRING_BYTES_MAX));
    let ids = [&post.page, &post.reply_to, &post.quote_of, &post.reposted_by];
    let mut ids = ids.into_iter().flatten().chain([&post.id, &post.author.id]);
    ids.all(|id| id.len() <= ID_BYTES_MAX)
}

/// Who says something in which thread, and where, without what; `None` where an id is too long to be kept.
pub(super) fn said(post: &Post<'_>) -> Option<Box<Post<'static>>> {
    let mut said = Post::new(post.network, post.id.clone(), Author::default(), "".into()).into_owned();
    said.author.id = Cow::Owned(post.author.id.clone().into_owned());
    said.author.handle = post.author.handle.as_deref().map(|handle| Cow::Owned(handle.to_owned()));
    said.page = post.page.as_deref().map(|page| Cow::Owned(page.to_owned()));
    said.reply_to = post.reply_to.as_deref().map(|parent| Cow::Owned(parent.to_owned()));
    said.seen_at = post.seen_at;
    said.written_at = post.written_at;
    bound(&mut said).then(|| Box::new(said))
}

/// The text as far as a ticket may hold it.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
