//! Raw frame → [`Post`]: one canonical shape for all networks.
//!
//! The only door to simd-json. A frame is well-formed or [`Malformed`]; nothing else is decided here.
//! Strings borrow from the frame wherever the network's encoding allows.

mod html;
mod jetstream;
pub(crate) mod language;
mod mastodon;
pub mod plain;
mod post;
#[cfg(test)]
mod recorded;
mod select;
mod tape;
mod time;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
mod x_entities;
mod x_v1;
mod x_v2;

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;

/// Turns the frames of one source's format into posts, in buffers that it keeps: one for each lane.
///
/// After the first few frames a Jetstream post costs two allocations, its box and its id.
pub struct Parser {
    format: Format,
    reader: tape::Reader,
    payloads: mastodon::Payloads,
    in_full: bool,
}

impl Parser {
    /// A parser of frames in this format.
    pub fn new(format: Format) -> Parser {
        Parser { format, reader: tape::Reader::new(), payloads: mastodon::Payloads::new(), in_full: false }
    }

    /// A parser that has simd-json read all of every frame, for tests and benches to compare with.
    pub fn in_full(format: Format) -> Parser {
        Parser { in_full: true, ..Parser::new(format) }
    }

    /// Reads one frame, overwriting it: strings are unescaped in place and borrowed from there.
    ///
    /// A frame of nothing but white space keeps a connection alive and is [`Frame::Control`].
    ///
    /// # Errors
    ///
    /// The frame is not what the format says it should be: count it and go on with the next.
    pub fn parse<'f>(&mut self, frame: &'f mut [u8]) -> Result<Parsed<'f>, Malformed> {
        self.parse_unless(frame, &mut |_| false)
    }

    /// As [`Parser::parse`], for somebody who needs few of the posts: one that `passes` says yes to becomes
    /// [`Frame::PassedOver`], and what it takes to make a whole [`Post`] of it is spared.
    ///
    /// `passes` is shown the network, author, text, quoted text, parent, mentions and hashtags, all else as it
    /// is in [`Post::new`]. It is not asked about edited posts, nor in every format. Frames that are malformed
    /// or no posts come out as from `parse`.
    ///
    /// # Errors
    ///
    /// As [`Parser::parse`].
    pub fn parse_unless<'f>(
        &mut self,
        frame: &'f mut [u8],
        passes: &mut dyn FnMut(&Post<'_>) -> bool,
    ) -> Result<Parsed<'f>, Malformed> {
        if frame.trim_ascii().is_empty() {
            return Ok(Parsed { position: None, frame: Frame::Control });
        }
        let Parser { format, reader, payloads, in_full } = self;
        let wanted: Option<&'static select::FieldsWanted> = match format {
            Format::XV1 => Some(&x_v1::LINE),
            // Jetstream's readers look at most of a frame: stepping over the rest took 10 % longer than a tape.
            Format::Jetstream | Format::Mastodon | Format::XV2 | Format::Plain => None,
        };
        let wanted = wanted.filter(|_| !*in_full);
        reader.read_wanted(frame, wanted, |root| match format {
            Format::Jetstream => jetstream::read(root, passes),
            Format::Mastodon => mastodon::read(root, payloads),
            Format::XV2 => x_v2::read(root),
            Format::XV1 => x_v1::read(root, passes),
            Format::Plain => plain::read(root),
        })
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("format", &self.format).finish_non_exhaustive()
    }
}

/// The position in the stream that `frame` names, as in [`Parsed::position`].
///
/// Works on a copy, with buffers of its own: for a few frames of a batch, not for each.
/// `None` for a frame that is malformed and for networks that have no positions.
pub fn position(format: Format, frame: &[u8]) -> Option<i64> {
    match format {
        Format::Jetstream => {
            tape::Reader::new().read(&mut frame.to_vec(), |root| Ok(jetstream::position(root))).ok().flatten()
        }
        Format::Mastodon | Format::XV2 | Format::XV1 | Format::Plain => None,
    }
}

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
    /// Whether it says when it was written in a form that cannot be read.
    pub time_unread: bool,
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
    /// A post that [`Parser::parse_unless`] was told to pass over.
    PassedOver,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// For each format a frame that uses most of what it can say.
    const FRAMES: [(Format, &str); 5] = [
        (
            Format::Jetstream,
            r##"{"did":"did:plc:ana","time_us":1725911162329308,"kind":"commit","commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"3l","record":{"$type":"app.bsky.feed.post","createdAt":"2024-09-09T19:46:02.102Z","langs":["fr"],"text":"\u00e9 @lumio #panne","reply":{"parent":{"uri":"at://p"}},"facets":[{"index":{"byteStart":3,"byteEnd":9},"features":[{"$type":"app.bsky.richtext.facet#mention","did":"did:plc:l"},{"$type":"app.bsky.richtext.facet#tag","tag":"panne"}]}],"embed":{"$type":"app.bsky.embed.recordWithMedia","record":{"record":{"uri":"at://q/app.bsky.feed.post/1"}},"media":{"$type":"app.bsky.embed.images"}}}}}"##,
        ),
        (
            Format::Mastodon,
            r##"{"stream":["public"],"event":"update","payload":"{\"uri\":\"https://m.example/1\",\"content\":\"<p>box &amp; <a href='https://e.org'><span class='invisible'>https://</span>e</a><br></p>\",\"spoiler_text\":\"panne\",\"language\":\"fr\",\"account\":{\"acct\":\"ana\",\"followers_count\":3},\"tags\":[{\"name\":\"a\"}]}"}"##,
        ),
        (
            Format::XV2,
            r##"{"data":{"id":"71","author_id":"7","text":"RT @bob: a &amp; b","lang":"fr","created_at":"2024-01-15T10:35:00.000Z","entities":{"mentions":[{"username":"bob"}],"urls":[{"expanded_url":"https://e.org"}]},"referenced_tweets":[{"type":"retweeted","id":"70"},{"type":"quoted","id":"90"}]},"includes":{"users":[{"id":"7","username":"ana","public_metrics":{"followers_count":3}}],"tweets":[{"id":"90","text":"q"}]}}"##,
        ),
        (
            Format::XV1,
            r##"{"created_at":"Wed Oct 10 20:19:24 +0000 2018","id":1050118621198921728,"text":"a &amp; b","lang":"fr","user":{"id":7,"screen_name":"ana"},"entities":{"hashtags":[{"text":"a"}]},"quoted_status":{"id":9,"text":"q"},"extended_tweet":{"full_text":"a &amp; b c"}}"##,
        ),
        (
            Format::Plain,
            r##"{"text":"a","id":12,"author":{"handle":"@ana","followers":3},"lang":"fr","at":"2024-01-15T10:35:00Z","mentions":["@a"]}"##,
        ),
    ];

    fn parse(format: Format, frame: &[u8]) -> Result<Parsed<'static>, Malformed> {
        let mut frame = frame.to_vec();
        Parser::new(format).parse(&mut frame).map(recorded::owned)
    }

    #[test]
    fn one_parser_reads_good_frames_after_bad_ones() {
        for (format, json) in FRAMES {
            let mut parser = Parser::new(format);
            let expected = parse(format, json.as_bytes());
            assert!(
                matches!(&expected, Ok(Parsed { frame: Frame::Post(_), .. })),
                "{format:?}: {expected:?}"
            );
            for bad in [&b"{"[..], b"[]", &b"[".repeat(1000), b"", b"\xff", json.as_bytes()] {
                let _ = parser.parse(&mut bad.to_vec());
                let mut good = json.as_bytes().to_vec();
                assert_eq!(parser.parse(&mut good).map(recorded::owned), expected, "{format:?}");
            }
        }
    }

    #[test]
    fn a_blank_frame_keeps_the_connection_alive_in_every_format() {
        for format in Format::ALL {
            for blank in ["", "\r\n", " \t\n"] {
                let control = Parsed { position: None, frame: Frame::Control };
                assert_eq!(parse(format, blank.as_bytes()), Ok(control), "{format:?}");
            }
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_too_deep_in_every_format() {
        for format in Format::ALL {
            let brackets = "[".repeat(100_000);
            assert_eq!(parse(format, brackets.as_bytes()), Err(Malformed::TooDeep), "{format:?}");
            let objects = r#"{"data":"#.repeat(100_000);
            assert_eq!(parse(format, objects.as_bytes()), Err(Malformed::TooDeep), "{format:?}");
        }
    }

    #[test]
    fn a_text_of_a_megabyte_is_kept_whole() {
        for (format, json) in FRAMES {
            let long = "é&amp;<".repeat(150_000);
            let frame = ["RT @bob: a", "full_text\":\"a", "text\":\"a", "box", "\\u00e9"]
                .iter()
                .find(|part| json.contains(**part))
                .map(|part| json.replacen(part, &[part, long.as_str()].concat(), 1))
                .unwrap();
            match parse(format, frame.as_bytes()).map(|parsed| parsed.frame) {
                Ok(Frame::Post(post)) => assert!(post.text.len() > 400_000, "{format:?}"),
                other => panic!("{format:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_cut_frame_is_not_json() {
        for (format, json) in FRAMES {
            for end in 1..json.len() {
                assert_eq!(
                    parse(format, &json.as_bytes()[..end]),
                    Err(Malformed::NotJson),
                    "{format:?} {end}"
                );
            }
        }
    }

    #[test]
    fn recorded_frames_cut_anywhere_are_not_json() {
        for (file, format) in [
            ("jetstream_real.jsonl", Format::Jetstream),
            ("jetstream_reenveloped.jsonl", Format::Jetstream),
            ("mastodon_update.jsonl", Format::Mastodon),
            ("x_v2_filtered_stream.jsonl", Format::XV2),
            ("x_v11_stream.jsonl", Format::XV1),
            ("x_v11_rest_extended.jsonl", Format::XV1),
        ] {
            let Some(frames) = recorded::frames(file) else {
                return;
            };
            let mut parser = Parser::new(format);
            let mut cut = Vec::new();
            for frame in frames.iter().take(3) {
                for end in 1..frame.len() {
                    cut.clear();
                    cut.extend_from_slice(&frame[..end]);
                    assert_eq!(parser.parse(&mut cut), Err(Malformed::NotJson), "{file} {end}");
                }
            }
        }
    }

    #[test]
    fn only_jetstream_frames_have_a_position() {
        for (format, json) in FRAMES {
            let expected = parse(format, json.as_bytes()).unwrap().position;
            assert_eq!(position(format, json.as_bytes()), expected);
            assert_eq!(expected.is_some(), format == Format::Jetstream);
        }
        assert_eq!(position(Format::Jetstream, br#"{"kind":"tomorrow","time_us":5}"#), Some(5));
        assert_eq!(position(Format::Jetstream, br#"{"time_us":5"#), None);
        assert_eq!(position(Format::Jetstream, b"[5]"), None);
    }

    #[test]
    fn names_lead_back_to_what_they_name() {
        for network in Network::ALL {
            assert_eq!(Network::from_name(network.name()), Some(network));
        }
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for format in Format::ALL {
                let _ = parse(format, &bytes);
                let _ = position(format, &bytes);
            }
        }

        #[test]
        fn any_change_of_a_good_frame_is_read_without_panic(
            which in 0..FRAMES.len(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
        ) {
            let (format, json) = FRAMES[which];
            let mut frame = json.as_bytes().to_vec();
            for (at, byte, change) in changes {
                let at = at.index(frame.len());
                match change {
                    0 => frame[at] = byte,
                    1 => frame.insert(at, byte),
                    2 => drop(frame.remove(at)),
                    // Digits and quotes change meaning more often than noise does.
                    _ => frame[at] = b"0129\"{}[]:,-"[usize::from(byte) % 12],
                }
            }
            let _ = parse(format, &frame);
        }

        #[test]
        fn any_value_in_any_place_is_read_without_panic(
            which in 0..FRAMES.len(),
            place in any::<prop::sample::Index>(),
            value in prop::sample::select(vec!["null", "1", "-1", "1e308", "\"\"", "\"<\"", "[]", "{}", "[[{}]]", "true"]),
        ) {
            let (format, json) = FRAMES[which];
            let mut root: serde_json::Value = serde_json::from_str(json).unwrap();
            let mut places = Vec::new();
            pointers(&root, String::new(), &mut places);
            *root.pointer_mut(place.get::<String>(&places)).unwrap() = serde_json::from_str(value).unwrap();
            let read = parse(format, root.to_string().as_bytes());
            prop_assert!(!matches!(read, Err(Malformed::TooDeep)));
        }
    }

    /// The JSON pointer of each value in `value`.
    fn pointers(value: &serde_json::Value, at: String, places: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(key, field)| pointers(field, format!("{at}/{key}"), places));
            }
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| pointers(item, format!("{at}/{i}"), places));
            }
            _ => {}
        }
        places.push(at);
    }
}
