//! What a [`Post`] can say about itself.

use std::borrow::Cow;

use super::{Author, Network, Post};

impl<'f> Post<'f> {
    /// A post that says nothing yet but who wrote what.
    pub fn new(network: Network, id: Cow<'f, str>, author: Author<'f>, text: Cow<'f, str>) -> Post<'f> {
        Post {
            network,
            id,
            page: None,
            author,
            text,
            quoted_text: None,
            language: None,
            written_at: None,
            time_unread: false,
            seen_at: None,
            reply_to: None,
            quote_of: None,
            reposted_by: None,
            mentions: Vec::new(),
            hashtags: Vec::new(),
            links: Vec::new(),
            has_media: false,
            edited: false,
        }
    }

    /// The same post, independent of its frame.
    pub fn into_owned(self) -> Post<'static> {
        Post {
            network: self.network,
            id: owned(self.id),
            page: self.page.map(owned),
            author: self.author.into_owned(),
            text: owned(self.text),
            quoted_text: self.quoted_text.map(owned),
            language: self.language.map(owned),
            written_at: self.written_at,
            time_unread: self.time_unread,
            seen_at: self.seen_at,
            reply_to: self.reply_to.map(owned),
            quote_of: self.quote_of.map(owned),
            reposted_by: self.reposted_by.map(owned),
            mentions: self.mentions.into_iter().map(owned).collect(),
            hashtags: self.hashtags.into_iter().map(owned).collect(),
            links: self.links.into_iter().map(owned).collect(),
            has_media: self.has_media,
            edited: self.edited,
        }
    }

    /// Where people read it: [`Post::page`], or the address that the network makes of its ids.
    ///
    /// Ids come from the network and the address goes to people, so one that holds anything but the id's
    /// own letters is not put into an address.
    pub fn url(&self) -> Option<String> {
        if let Some(page) = &self.page {
            return Some(page.clone().into_owned());
        }
        match self.network {
            Network::Bluesky => {
                let (did, rest) = self.id.strip_prefix("at://")?.split_once('/')?;
                let rkey = rest.strip_prefix("app.bsky.feed.post/")?;
                (is_plain(did) && is_plain(rkey))
                    .then(|| format!("https://bsky.app/profile/{did}/post/{rkey}"))
            }
            Network::X if is_plain(&self.id) => {
                // Without a handle X itself leads on from any name; `i` is the one that is nobody's.
                let handle = self.author.handle.as_deref().filter(|handle| is_plain(handle));
                Some(match handle {
                    Some(handle) => format!("https://x.com/{handle}/status/{}", self.id),
                    None => format!("https://x.com/i/status/{}", self.id),
                })
            }
            // A Mastodon `uri` is an address too, of the post's data; most servers lead browsers on to the page.
            Network::Mastodon => web_address(&self.id).map(str::to_owned),
            Network::X | Network::Facebook | Network::Plain => None,
        }
    }
}

impl Author<'_> {
    fn into_owned(self) -> Author<'static> {
        Author {
            id: owned(self.id),
            handle: self.handle.map(owned),
            name: self.name.map(owned),
            followers: self.followers,
            verified: self.verified,
        }
    }
}

/// `address`, if it is one that a browser may be sent to, and nothing beside that: it stands in lines of ours, where words
/// behind it would pass for ours, too. RFC 3986 knows visible ASCII alone, and what else shows as a space is many.
pub(super) fn web_address(address: &str) -> Option<&str> {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    (is_web && address.bytes().all(|byte| byte.is_ascii_graphic())).then_some(address)
}

/// Whether `id` holds only what DIDs, record keys, handles and numbers are made of.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'_' | b'-' | b'~'))
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(network: Network, id: &'static str, handle: Option<&'static str>) -> Post<'static> {
        let author = Author { handle: handle.map(Cow::Borrowed), ..Author::default() };
        Post::new(network, id.into(), author, "text".into())
    }

    fn check(network: Network, id: &'static str, handle: Option<&'static str>, expected: Option<&str>) {
        assert_eq!(post(network, id, handle).url().as_deref(), expected, "{network} {id}");
    }

    #[test]
    fn an_address_is_made_of_the_networks_ids() {
        let bluesky = "https://bsky.app/profile/did:plc:abc/post/3k2a";
        check(Network::Bluesky, "at://did:plc:abc/app.bsky.feed.post/3k2a", None, Some(bluesky));
        check(Network::X, "123", None, Some("https://x.com/i/status/123"));
        check(Network::X, "123", Some("lumio"), Some("https://x.com/lumio/status/123"));
        check(Network::Mastodon, "https://m.example/users/a/1", None, Some("https://m.example/users/a/1"));
        check(Network::Plain, "123", None, None);
    }

    #[test]
    fn an_id_of_other_letters_makes_no_address() {
        check(Network::Bluesky, "at://did:plc:abc/app.bsky.feed.like/3k2a", None, None);
        check(Network::Bluesky, "at://did:plc:abc/app.bsky.feed.post/a?b=c", None, None);
        check(Network::Bluesky, "3k2a", None, None);
        check(Network::X, "12 3", None, None);
        check(Network::X, "123", Some("a/../b"), Some("https://x.com/i/status/123"));
        check(Network::Mastodon, "tag:m.example,2024:1", None, None);
    }

    #[test]
    fn the_page_in_the_frame_goes_first() {
        let mut post = post(Network::X, "123", None);
        post.page = Some("https://example.org/1".into());
        assert_eq!(post.url().as_deref(), Some("https://example.org/1"));
    }

    #[test]
    fn an_owned_post_says_the_same() {
        let mut post = post(Network::X, "123", Some("lumio"));
        post.page = Some("https://example.org/1".into());
        post.author.name = Some("Lumio".into());
        post.author.followers = Some(3);
        post.author.verified = true;
        post.quoted_text = Some("quoted".into());
        post.language = Some("fr".into());
        post.written_at = Some(jiff::Timestamp::UNIX_EPOCH);
        post.seen_at = Some(jiff::Timestamp::UNIX_EPOCH);
        post.reply_to = Some("1".into());
        post.quote_of = Some("2".into());
        post.reposted_by = Some("3".into());
        post.mentions = vec!["a".into()];
        post.hashtags = vec!["b".into(), "c".into()];
        post.links = vec!["https://e.org".into()];
        post.has_media = true;
        post.edited = true;
        assert_eq!(post.clone().into_owned(), post);
    }
}
