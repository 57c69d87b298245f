//! For tests: recorded streams, and what the parser finds in them.

use std::collections::BTreeSet;
use std::path::Path;

pub(super) use super::trial::owned;
use super::{Format, Frame, Parser, Post};

/// How often each thing is said in a file. Counts posts that say it, not how many times one post does.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) frames: usize,
    pub(super) posts: usize,
    pub(super) posts_deleted: usize,
    pub(super) accounts_deleted: usize,
    pub(super) control: usize,
    pub(super) positions: usize,
    pub(super) authors: usize,
    pub(super) handles: usize,
    pub(super) names: usize,
    pub(super) followers: usize,
    pub(super) verified: usize,
    pub(super) languages: usize,
    pub(super) written_at: usize,
    pub(super) replies: usize,
    pub(super) quotes: usize,
    pub(super) quoted_texts: usize,
    pub(super) reposts: usize,
    pub(super) mentions: usize,
    pub(super) hashtags: usize,
    pub(super) links: usize,
    pub(super) media: usize,
    pub(super) urls: usize,
    pub(super) texts_empty: usize,
    /// Texts with something left that looks like a tag or an undecoded reference.
    pub(super) texts_marked_up: usize,
    pub(super) distinct_ids: usize,
}

/// The frames of a recorded stream, or `None`, said on stdout, where the data is not at hand.
pub(super) fn frames(file: &str) -> Option<Vec<Vec<u8>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/streams").join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        assert!(std::env::var_os("VIGIE_TEST_NO_SKIP").is_none(), "no recorded stream at {}", path.display());
        println!("skipped: no recorded stream at {}", path.display());
        return None;
    };
    Some(bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Parses every frame of `file`, printing the counts. Panics on a malformed one.
pub(super) fn tally(file: &str, format: Format) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut ids = BTreeSet::new();
    let mut parser = Parser::new(format);
    for (line, mut frame) in frames(file)?.into_iter().enumerate() {
        tally.frames += 1;
        let parsed = match parser.parse(&mut frame) {
            Ok(parsed) => parsed,
            Err(malformed) => panic!("{file}:{}: {malformed}", line + 1),
        };
        tally.positions += usize::from(parsed.position.is_some());
        match parsed.frame {
            Frame::Post(post) => {
                tally.add(&post);
                ids.insert(post.id.into_owned());
            }
            Frame::PostDeleted { .. } => tally.posts_deleted += 1,
            Frame::AccountDeleted { .. } => tally.accounts_deleted += 1,
            Frame::Control => tally.control += 1,
            Frame::PassedOver => unreachable!("nothing is passed over"),
        }
    }
    tally.distinct_ids = ids.len();
    println!("{file}: {tally:?}");
    Some(tally)
}

impl Tally {
    fn add(&mut self, post: &Post<'_>) {
        let marks = ["<p>", "<br", "</", "<span", "href=", "&amp;", "&lt;", "&gt;", "&#39;", "&quot;"];
        for (count, said) in [
            (&mut self.posts, true),
            (&mut self.authors, !post.author.id.is_empty()),
            (&mut self.handles, post.author.handle.is_some()),
            (&mut self.names, post.author.name.is_some()),
            (&mut self.followers, post.author.followers.is_some()),
            (&mut self.verified, post.author.verified),
            (&mut self.languages, post.language.is_some()),
            (&mut self.written_at, post.written_at.is_some()),
            (&mut self.replies, post.reply_to.is_some()),
            (&mut self.quotes, post.quote_of.is_some()),
            (&mut self.quoted_texts, post.quoted_text.is_some()),
            (&mut self.reposts, post.reposted_by.is_some()),
            (&mut self.mentions, !post.mentions.is_empty()),
            (&mut self.hashtags, !post.hashtags.is_empty()),
            (&mut self.links, !post.links.is_empty()),
            (&mut self.media, post.has_media),
            (&mut self.urls, post.url().is_some()),
            (&mut self.texts_empty, post.text.trim().is_empty()),
            (&mut self.texts_marked_up, marks.iter().any(|mark| post.text.contains(mark))),
        ] {
            *count += usize::from(said);
        }
    }
}
