//! What an event can be.

use crate::script::POST;

/// What an event is. `of` is the index of the support post that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A post that is not about the brand.
    Background,
    /// Somebody needs the brand's support.
    Support,
    /// The brand is named and nobody needs anything.
    Confusing,
    /// A support post is changed by its author (`update`).
    Edit {
        /// The post's index.
        of: u64,
    },
    /// The very commit of a support post comes again, at a new time.
    Repeat {
        /// The post's index.
        of: u64,
    },
    /// The author of a support post answers it, and names nobody: "still nothing".
    Reply {
        /// The post's index.
        of: u64,
    },
    /// A support post is passed on by somebody else (X: `RT @…` with the status in `retweeted_status`).
    Retweet {
        /// The post's index.
        of: u64,
    },
    /// A support post is deleted by its author.
    Withdrawal {
        /// The post's index.
        of: u64,
    },
    /// A post from before the stream is deleted.
    Deletion,
    /// `app.bsky.feed.like`, created.
    Like,
    /// `app.bsky.feed.like`, deleted.
    Unlike,
    /// `app.bsky.feed.repost`, created.
    Repost,
    /// `app.bsky.graph.follow`, created.
    Follow,
    /// `app.bsky.graph.follow`, deleted.
    Unfollow,
    /// `app.bsky.graph.block`, created.
    Block,
    /// A handle changed.
    Identity,
    /// An account changed; never one of those that post here.
    Account,
}

impl EventKind {
    /// The collection of the commit; `None` for identity and account events, which have none.
    pub fn collection(self) -> Option<&'static str> {
        match self {
            EventKind::Identity | EventKind::Account => None,
            EventKind::Like | EventKind::Unlike => Some("app.bsky.feed.like"),
            EventKind::Repost => Some("app.bsky.feed.repost"),
            EventKind::Follow | EventKind::Unfollow => Some("app.bsky.graph.follow"),
            EventKind::Block => Some("app.bsky.graph.block"),
            _ => Some(POST),
        }
    }

    /// Whether it may have to do with a ticket: a support or a confusing post, or what became of one.
    pub fn is_mention(self) -> bool {
        use EventKind::{Confusing, Edit, Repeat, Reply, Retweet, Support, Withdrawal};
        matches!(
            self,
            Support
                | Confusing
                | Edit { .. }
                | Repeat { .. }
                | Reply { .. }
                | Retweet { .. }
                | Withdrawal { .. }
        )
    }

    /// Whether a post is created or created again.
    pub fn creates_post(self) -> bool {
        use EventKind::{Background, Confusing, Repeat, Reply, Support};
        matches!(self, Background | Support | Confusing | Repeat { .. } | Reply { .. })
    }
}
