//! What a reader asks for: in the query of its request, or later in an `options_update`.

use std::collections::HashSet;

use serde::Deserialize;

use crate::script::{EventKind, Mix, POST, Script};

const WANTED_COLLECTIONS_MAX: usize = 100;
const WANTED_DIDS_MAX: usize = 10_000;

/// A request's parameters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) subscription: Subscription,
    /// Microseconds since 1970, inclusive.
    pub(super) cursor: Option<i64>,
    /// "With `requireHello=true` nothing is sent until a valid options_update."
    pub(super) hello_required: bool,
}

/// Which events a reader receives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// Whole names.
    collections: HashSet<String>,
    /// Beginnings of names, with their last dot.
    prefixes: HashSet<String>,
    dids: HashSet<String>,
    /// 0: no limit.
    message_bytes_max: usize,
}

/// A parameter that breaks the protocol; its text says which one and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidOptions(String);

/// What a message from the reader comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The subscription from now on.
    Update(Subscription),
    /// A type we do not know: "v1 logs and ignores" it.
    Unknown,
    /// "Bad envelope or payload → close 1007".
    Malformed(String),
    /// "Invalid options → close 1008".
    Refused(InvalidOptions),
}

impl Opening {
    /// Reads the part of the request after `?`. Parameters of other names are ignored.
    pub(super) fn from_query(query: &str) -> Result<Opening, InvalidOptions> {
        let mut opening = Opening::default();
        let (mut collections, mut dids) = (Vec::new(), Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value =
                decode(value).ok_or_else(|| InvalidOptions(format!("{name}: bad escape in {value}")))?;
            match name {
                "wantedCollections" => collections.push(value),
                "wantedDids" => dids.push(value),
                // "Invalid or negative silently = 0 = no cap."
                "maxMessageSizeBytes" => opening.subscription.message_bytes_max = value.parse().unwrap_or(0),
                "requireHello" => opening.hello_required = value == "true",
                "compress" if value == "true" => {
                    return Err(InvalidOptions("compress: zstd is not offered yet, leave it out".into()));
                }
                "cursor" if !value.is_empty() => {
                    let invalid =
                        || InvalidOptions(format!("cursor: {value:?} is no number of microseconds"));
                    opening.cursor = Some(value.parse().map_err(|_| invalid())?);
                }
                _ => {}
            }
        }
        opening.subscription.want_collections(collections)?;
        opening.subscription.want_dids(dids)?;
        Ok(opening)
    }
}

impl Subscription {
    /// The stream that this subscription filters.
    ///
    /// Whoever asks for posts alone gets the stream of posts, in which the rate counts posts.
    pub(super) fn mix(&self) -> Mix {
        let posts_only = self.prefixes.is_empty() && self.collections.iter().all(|name| name == POST);
        if posts_only && !self.collections.is_empty() { Mix::Posts } else { Mix::Network }
    }

    /// Whether every event of its mix is to be sent, which spares asking for each.
    pub(super) fn wants_all(&self) -> bool {
        let unfiltered = self.collections.is_empty() && self.prefixes.is_empty();
        self.dids.is_empty() && (unfiltered || self.mix() == Mix::Posts)
    }

    /// Whether event `n` is to be sent, as far as can be told without its frame.
    pub(super) fn wants(&self, script: &Script, n: u64, kind: EventKind) -> bool {
        let collection = match kind.collection() {
            // "`#account` and `#identity` events always come, whatever `wantedCollections` (but gated by
            // `wantedDids`)."
            None => true,
            Some(_) if self.collections.is_empty() && self.prefixes.is_empty() => true,
            Some(name) => {
                self.collections.contains(name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
            }
        };
        collection && (self.dids.is_empty() || self.dids.contains(script.did(n, kind).as_str()))
    }

    /// Whether a frame of this length is to be sent.
    pub(super) fn takes(&self, frame_bytes: usize) -> bool {
        self.message_bytes_max == 0 || frame_bytes <= self.message_bytes_max
    }

    fn want_collections(&mut self, names: Vec<String>) -> Result<(), InvalidOptions> {
        for name in names {
            // The prefix is taken as it is: `app.bsky.*` would be no name with two parts.
            if let Some(prefix) = name.strip_suffix('*').filter(|prefix| prefix.ends_with('.')) {
                self.prefixes.insert(prefix.to_owned());
            } else if is_collection(&name) {
                self.collections.insert(name);
            } else {
                return Err(InvalidOptions(format!("wantedCollections: {name:?} is no collection")));
            }
            if self.collections.len() + self.prefixes.len() > WANTED_COLLECTIONS_MAX {
                return Err(InvalidOptions(format!("wantedCollections: more than {WANTED_COLLECTIONS_MAX}")));
            }
        }
        Ok(())
    }

    fn want_dids(&mut self, dids: Vec<String>) -> Result<(), InvalidOptions> {
        for did in dids {
            if !is_did(&did) {
                return Err(InvalidOptions(format!("wantedDids: {did:?} is no DID")));
            }
            self.dids.insert(did);
            if self.dids.len() > WANTED_DIDS_MAX {
                return Err(InvalidOptions(format!("wantedDids: more than {WANTED_DIDS_MAX}")));
            }
        }
        Ok(())
    }
}

impl Request {
    /// Reads a text message of the reader.
    pub(super) fn parse(message: &str) -> Request {
        let envelope: Envelope = match serde_json::from_str(message) {
            Ok(envelope) => envelope,
            Err(error) => return Request::Malformed(format!("bad message: {error}")),
        };
        if envelope.r#type != "options_update" {
            return Request::Unknown;
        }
        let payload: Payload = match serde_json::from_value(envelope.payload) {
            Ok(payload) => payload,
            Err(error) => return Request::Malformed(format!("bad payload: {error}")),
        };
        let mut subscription = Subscription {
            message_bytes_max: usize::try_from(payload.message_bytes_max).unwrap_or(0),
            ..Subscription::default()
        };
        let wanted = subscription
            .want_collections(payload.collections.unwrap_or_default())
            .and_then(|()| subscription.want_dids(payload.dids.unwrap_or_default()));
        match wanted {
            Ok(()) => Request::Update(subscription),
            Err(invalid) => Request::Refused(invalid),
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    r#type: String,
    #[serde(default)]
    payload: serde_json::Value,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, rename = "wantedCollections")]
    collections: Option<Vec<String>>,
    #[serde(default, rename = "wantedDids")]
    dids: Option<Vec<String>>,
    #[serde(default, rename = "maxMessageSizeBytes")]
    message_bytes_max: i64,
}

/// Three parts or more, of letters, digits and hyphens (the atproto specification of NSIDs, less its lengths).
fn is_collection(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    name.len() <= 317 && name.split('.').count() >= 3 && name.split('.').all(part)
}

/// `did:`, a method of lower-case letters, and an identifier.
fn is_did(did: &str) -> bool {
    let mut parts = did.splitn(3, ':');
    let (Some("did"), Some(method), Some(identifier)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:%-".contains(&b);
    did.len() <= 2_048
        && !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_lowercase())
        && !identifier.is_empty()
        && !identifier.ends_with([':', '%'])
        && identifier.bytes().all(allowed)
}

/// Undoes percent-encoding; `None` if it is broken or hides something that is not UTF-8.
fn decode(value: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) =
                    (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
                (high * 16 + low) as u8
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str, expected: &str) {
        let error = Opening::from_query(query).unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }

    #[test]
    fn a_query_says_what_is_wanted() {
        let query = "wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.graph.*&wantedDids=did%3Aplc%3Aabc\
                     &maxMessageSizeBytes=500&cursor=1725911162329308&requireHello=true&unknown=1";
        let opening = Opening::from_query(query).unwrap();
        assert_eq!(opening.cursor, Some(1_725_911_162_329_308));
        assert!(opening.hello_required);
        let subscription = opening.subscription;
        assert!(subscription.takes(500) && !subscription.takes(501));
        assert!(subscription.collections.contains(POST) && subscription.prefixes.contains("app.bsky.graph."));
        assert!(subscription.dids.contains("did:plc:abc"));
        assert_eq!(Opening::from_query("").unwrap(), Opening::default());
        let lenient = Opening::from_query("maxMessageSizeBytes=-1&cursor=&requireHello=True").unwrap();
        assert_eq!(lenient, Opening::default());
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        refused("cursor=yesterday", "cursor");
        refused("compress=true", "zstd is not offered");
        refused("wantedCollections=post", "\"post\" is no collection");
        refused("wantedCollections=app.bsky.fo*", "no collection");
        refused("wantedDids=lumio", "\"lumio\" is no DID");
        refused("wantedDids=%zz", "bad escape");
        let many = |name: &str, value: &dyn Fn(usize) -> String, count: usize| {
            (0..count).map(|i| format!("{name}={}", value(i))).collect::<Vec<_>>().join("&")
        };
        let collections = |count| many("wantedCollections", &|i| format!("a.b.c{i}"), count);
        assert!(Opening::from_query(&collections(100)).is_ok());
        refused(&collections(101), "more than 100");
        let dids = |count| many("wantedDids", &|i| format!("did:plc:a{i}"), count);
        assert!(Opening::from_query(&dids(10_000)).is_ok());
        refused(&dids(10_001), "more than 10000");
    }

    #[test]
    fn only_a_subscription_to_posts_alone_gets_the_stream_of_posts() {
        let mix = |query| Opening::from_query(query).unwrap().subscription.mix();
        assert_eq!(mix(""), Mix::Network);
        assert_eq!(mix("wantedCollections=app.bsky.feed.post"), Mix::Posts);
        assert_eq!(mix("wantedCollections=app.bsky.feed.*"), Mix::Network);
        let all = |query| Opening::from_query(query).unwrap().subscription.wants_all();
        assert!(all("") && all("wantedCollections=app.bsky.feed.post"));
        assert!(!all("wantedCollections=app.bsky.feed.*") && !all("wantedDids=did:plc:abc"));
        assert_eq!(
            mix("wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.feed.like"),
            Mix::Network
        );
    }

    #[test]
    fn a_message_is_an_update_or_says_how_it_is_wrong() {
        let update =
            r#"{"type":"options_update","payload":{"wantedCollections":["a.b.c"],"maxMessageSizeBytes":-3}}"#;
        let Request::Update(subscription) = Request::parse(update) else { panic!("no update") };
        assert!(subscription.collections.contains("a.b.c") && subscription.takes(usize::MAX));
        assert_eq!(Request::parse(r#"{"type":"hello"}"#), Request::Unknown);
        for malformed in
            ["", "nonsense", "[]", r#"{"payload":{}}"#, r#"{"type":"options_update","payload":[1]}"#]
        {
            assert!(matches!(Request::parse(malformed), Request::Malformed(_)), "{malformed}");
        }
        let refused = r#"{"type":"options_update","payload":{"wantedDids":["lumio"]}}"#;
        assert!(matches!(Request::parse(refused), Request::Refused(_)));
    }
}
