//! The server's address as the operator wrote it → the subscription request.
//!
//! What vigie asks for itself (`cursor`, `wantedCollections`) or cannot read
//! (`compress`, `requireHello`) may not be in the address: the server would believe it silently.

use std::fmt;
use std::fmt::Write as _;

use tokio_tungstenite::tungstenite::http::Uri;

use crate::source::Mistake;

/// A checked `ws://` or `wss://` address of a Jetstream v1 server.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Ends in `?` or `&`, ready for the first parameter.
    base: String,
    written: String,
}

/// What is asked of the server at each connection.
#[derive(Debug)]
pub(super) struct Subscription<'c> {
    pub(super) collections: &'c [String],
    pub(super) cursor: Option<i64>,
}

const ACCEPTED: &str =
    "must be ws://HOST[:PORT]/subscribe or wss://HOST[:PORT]/subscribe, with no parameter but wantedDids";

/// The path of Jetstream v2, which refuses v1's parameters.
const V2_PATH: &str = "/xrpc/network.bsky.jetstream.subscribeEvents";

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// It is none that this source can subscribe at; shown under the key `url`.
    pub fn parse(written: &str) -> Result<Address, Mistake> {
        let mistake = |accepted: String| Mistake { key: "url", value: format!("{written:?}"), accepted };
        let refuse = |why: &str| mistake(format!("{ACCEPTED}: {why}"));

        let uri: Uri = written.parse().map_err(|error| refuse(&format!("{error}")))?;
        if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
            return Err(refuse("the scheme is another"));
        }
        let authority = uri.authority().ok_or_else(|| refuse("the host is missing"))?;
        if authority.host().is_empty() {
            return Err(refuse("the host is missing"));
        }
        if authority.as_str().contains('@') {
            return Err(refuse("it holds a user name, and Jetstream knows none"));
        }
        // `http` reads a port that is none as no port, and would connect to the scheme's own.
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if !port.is_empty() && uri.port_u16().is_none_or(|port| port == 0) {
            return Err(refuse("the port is no number from 1 to 65535"));
        }
        if uri.path() == V2_PATH {
            return Err(mistake("is Jetstream v2, vigie speaks v1: the same host's /subscribe".to_owned()));
        }
        for parameter in uri.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty())
        {
            let name = parameter.split('=').next().unwrap_or_default();
            if name != "wantedDids" {
                return Err(refuse(&format!("{name:?} is another")));
            }
        }

        let scheme = uri.scheme_str().unwrap_or_default();
        let mut base = format!("{scheme}://{authority}{}?", uri.path());
        if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
            let _ = write!(base, "{query}&");
        }
        Ok(Address { base, written: written.to_owned() })
    }

    /// The whole address of a subscription.
    pub(super) fn with(&self, subscription: &Subscription<'_>) -> String {
        // `maxMessageSizeBytes` is not asked for: the server would leave longer events out without a word,
        // and vigie counts every frame that there was.
        let mut url = self.base.clone();
        for (index, collection) in subscription.collections.iter().enumerate() {
            let separator = if index == 0 { "" } else { "&" };
            // Writing to a string cannot fail.
            let _ = write!(url, "{separator}wantedCollections={collection}");
        }
        if let Some(cursor) = subscription.cursor {
            let _ = write!(url, "&cursor={cursor}");
        }
        url
    }
}

/// Checks names of collections, whole (`app.bsky.feed.post`) or as prefix (`app.bsky.*`).
pub(super) fn check_collections(collections: &[String]) -> Result<(), Mistake> {
    /// The server's own limit.
    const COLLECTIONS_MAX: usize = 100;
    /// An NSID's (atproto specification, "NSID Syntax").
    const NAME_BYTES_MAX: usize = 317;

    let mistake = |accepted: &str| Mistake {
        key: "collections",
        value: format!("{collections:?}"),
        accepted: accepted.to_owned(),
    };
    if collections.is_empty() || collections.len() > COLLECTIONS_MAX {
        return Err(mistake("must be 1 to 100 collections"));
    }
    let is_name = |collection: &String| {
        let name = collection.strip_suffix(".*").unwrap_or(collection);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
    };
    if !collections.iter().all(is_name) {
        return Err(mistake("must be names like app.bsky.feed.post or app.bsky.*"));
    }
    Ok(())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_v1_are_accepted_and_get_the_parameters() {
        let check = |written: &str, cursor: Option<i64>, expected: &str| {
            let collections = ["app.bsky.feed.post".to_owned(), "app.bsky.graph.*".to_owned()];
            let subscription = Subscription { collections: &collections, cursor };
            let address = Address::parse(written).unwrap_or_else(|mistake| panic!("{mistake}"));
            assert_eq!(address.with(&subscription), expected);
            assert_eq!(address.to_string(), written);
        };
        let parameters = "wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.graph.*";
        check("ws://localhost:6008/subscribe", None, &format!("ws://localhost:6008/subscribe?{parameters}"));
        check("wss://[::1]/subscribe?", Some(5), &format!("wss://[::1]/subscribe?{parameters}&cursor=5"));
        check(
            "ws://h/subscribe?wantedDids=did:plc:a&wantedDids=did:plc:b",
            None,
            &format!("ws://h/subscribe?wantedDids=did:plc:a&wantedDids=did:plc:b&{parameters}"),
        );
        check("ws://h", None, &format!("ws://h/?{parameters}"));
    }

    #[test]
    fn a_wrong_address_is_refused_with_key_value_and_accepted_form() {
        let check = |written: &str, why: &str| {
            let mistake = Address::parse(written).expect_err(written).to_string();
            assert!(mistake.starts_with(&format!("url = {written:?}: ")), "{mistake}");
            assert!(mistake.contains("/subscribe") && mistake.contains(why), "{mistake}");
        };
        check("", "empty");
        check("https://jetstream/subscribe", "scheme");
        check("jetstream/subscribe", "");
        check("localhost:6008", "scheme");
        check("ws:///subscribe", "");
        check("ws://:80/subscribe", "host");
        check("ws://user:password@h/subscribe", "user");
        check("ws://h:port/subscribe", "");
        check("ws://h:99999/subscribe", "");
        check("ws://h:0/subscribe", "port");
        check("ws://h/sub scribe", "");
        check("ws://h/subscribe?compress=true", "\"compress\"");
        check("ws://h/subscribe?wantedDids=a&cursor=1", "\"cursor\"");
        check("wss://h/xrpc/network.bsky.jetstream.subscribeEvents", "v2");
    }

    #[test]
    fn collections_are_names_or_prefixes() {
        let check = |collections: &[&str], accepted: bool| {
            let collections: Vec<String> = collections.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(check_collections(&collections).is_ok(), accepted, "{collections:?}");
        };
        check(&["app.bsky.feed.post"], true);
        check(&["app.bsky.*", "com.ex-ample.a1"], true);
        check(&["a.b"; 100], true);
        check(&["a.b"; 101], false);
        check(&[], false);
        check(&[""], false);
        check(&["*"], false);
        check(&["app..post"], false);
        check(&["app.bsky.feed.post&compress=true"], false);
        check(&[&"a".repeat(318)], false);
    }
}
