//! Raw frame → [`Post`]: one canonical shape for all networks.
//!
//! The only door to simd-json. A frame is well-formed or [`Malformed`]; nothing else is decided here.
//! Strings borrow from the frame wherever the network's encoding allows.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;

/// A network that posts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// Bluesky, the AT protocol.
    Bluesky,
    /// Mastodon and what speaks its API.
    Mastodon,
    /// X, formerly Twitter.
    X,
    /// Facebook pages.
    Facebook,
    /// Anything else, as plain NDJSON.
    Plain,
}

impl Network {
    /// All networks.
    pub const ALL: [Network; 5] =
        [Network::Bluesky, Network::Mastodon, Network::X, Network::Facebook, Network::Plain];

    /// The name in config, tickets and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Network::Bluesky => "bluesky",
            Network::Mastodon => "mastodon",
            Network::X => "x",
            Network::Facebook => "facebook",
            Network::Plain => "plain",
        }
    }

    /// The network of this name.
    pub fn from_name(name: &str) -> Option<Network> {
        Network::ALL.into_iter().find(|network| network.name() == name)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a frame is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Bluesky Jetstream v1 events.
    Jetstream,
    /// Mastodon streaming messages, or bare `Status` objects.
    Mastodon,
    /// X API v2 filtered-stream payloads `{data, includes}`.
    XV2,
    /// X v1.1 / PowerTrack flat statuses.
    XV1,
    /// `{"text":…}` with optional `id`, `author`, `lang`, `created_at`, … ([`parse::plain`](plain)).
    Plain,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 5] =
        [Format::Jetstream, Format::Mastodon, Format::XV2, Format::XV1, Format::Plain];

    /// The name on the command line and in config.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jetstream => "jetstream",
            Format::Mastodon => "mastodon",
            Format::XV2 => "x-v2",
            Format::XV1 => "x-v1",
            Format::Plain => "plain",
        }
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// One item of a network, in the shape that every later stage knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Post<'f> {
    /// Where it was posted.
    pub network: Network,
    /// Globally unique on its network: `at://did/collection/rkey`, Mastodon's `uri`, X's id.
    pub id: Cow<'f, str>,
    /// Where people read it, if the frame says; otherwise see [`Post::url`].
    pub page: Option<Cow<'f, str>>,
    /// Who wrote it. For a repost: who wrote the original.
    pub author: Author<'f>,
    /// Plain text without HTML; the whole text where a network also sends a cut one.
    pub text: Cow<'f, str>,
    /// The quoted post's text, where the frame carries it: rules match it too, the model does not see it.
    pub quoted_text: Option<Cow<'f, str>>,
    /// Primary language subtag in lower case as claimed by author or network: `fr`.
    pub language: Option<Cow<'f, str>>,
    /// The author's clock: untrusted, never for statistics.
    pub written_at: Option<Timestamp>,
    /// The network's clock, where it stamps what it sends.
    pub seen_at: Option<Timestamp>,
    /// Id of the post this one answers.
    pub reply_to: Option<Cow<'f, str>>,
    /// Id of the post this one quotes.
    pub quote_of: Option<Cow<'f, str>>,
    /// Author id or handle of who reposted; the rest of the post is then the original's.
    pub reposted_by: Option<Cow<'f, str>>,
    /// Accounts named, as written, without `@`.
    pub mentions: Vec<Cow<'f, str>>,
    /// Tags, without `#`.
    pub hashtags: Vec<Cow<'f, str>>,
    /// Links, expanded where the frame carries the target.
    pub links: Vec<Cow<'f, str>>,
    /// Whether images, video or sound are attached.
    pub has_media: bool,
    /// Whether this frame is a later version of a post seen before (`update`, `status.update`).
    pub edited: bool,
}

/// Who wrote a post.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Author<'f> {
    /// Stable on the network: DID, account URI (or `acct`), X user id.
    pub id: Cow<'f, str>,
    /// Without `@`; Mastodon's is `user@host` for remote accounts. Jetstream carries none.
    pub handle: Option<Cow<'f, str>>,
    /// The name shown to people.
    pub name: Option<Cow<'f, str>>,
    /// How many follow this author, where the frame says.
    pub followers: Option<u64>,
    /// Verified by the network.
    pub verified: bool,
}

/// What a well-formed frame says.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame<'f> {
    /// Somebody posted, edited or reposted.
    Post(Box<Post<'f>>),
    /// The author deleted the post of this id.
    PostDeleted {
        /// The network the post was on.
        network: Network,
        /// As in [`Post::id`]; for Mastodon the id local to the instance.
        id: Cow<'f, str>,
    },
    /// The account is gone, and with it all its posts.
    AccountDeleted {
        /// The network the account was on.
        network: Network,
        /// As in [`Author::id`].
        author_id: Cow<'f, str>,
    },
    /// Anything else that is no post: likes, follows, identity events, heartbeats, unknown kinds.
    Control,
}

/// A frame with its place in the source's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<'f> {
    /// Where a restart would resume: Jetstream's `time_us`. Not monotonic. `None` where a network has none.
    pub position: Option<i64>,
    /// What it says.
    pub frame: Frame<'f>,
}

/// Why a frame is not well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, cut, or not UTF-8.
    #[error("not valid JSON")]
    NotJson,
    /// Nested more deeply than [`DEPTH_MAX`].
    #[error("nested more deeply than {DEPTH_MAX} levels")]
    TooDeep,
    /// Valid JSON of another shape.
    #[error("missing or wrong: {0}")]
    Shape(&'static str),
}

/// Deepest JSON nesting we follow; real frames stay under 20.
pub const DEPTH_MAX: usize = 64;
