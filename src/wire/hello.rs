//! `Hello` → a subscription that is known to be well-formed, or the reason to refuse it.

use std::fmt;

use super::PROTOCOL;
use super::session::Terms;
use crate::ledger::SubscriptionRequest;
use crate::ledger::outbox::Filter;
use crate::parse::Network;
use crate::ticket::proto::{self, Start, goodbye::Code};

/// Longest `Hello`, in bytes: all lists of a filter at their limits take some 200 KiB, so this allows the
/// largest one; a thousand strangers who never finish theirs hold 512 MiB at most, for 5 seconds.
pub(super) const HELLO_BYTES_MAX: usize = 256 * 1024;

/// Largest window a client may ask for, and the most an operator can grant.
pub(super) const WINDOW_MAX: u32 = 65_536;

/// The window of a client that asks for 0.
const WINDOW_DEFAULT: u32 = 100;

const CLIENT_BYTES_MAX: usize = 200;
const TOKEN_BYTES_MAX: usize = 1024;
const SUBSCRIPTION_BYTES_MAX: usize = 100;
const PRIORITY_MAX: u32 = 1000;

/// Most values in one list of a filter. Each record is compared with all of them.
const FILTER_VALUES_MAX: usize = 256;
const FILTER_VALUE_BYTES_MAX: usize = 200;

/// A secret that clients must know. Holds only its hash; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(blake3::Hash);

impl Token {
    /// The token with this text; `None` if it is empty, which every client would know.
    pub fn new(secret: &str) -> Option<Token> {
        (!secret.is_empty()).then(|| Token(blake3::hash(secret.as_bytes())))
    }

    /// Whether `given` is the token. Hashes are compared in constant time, so neither the time nor the
    /// length tells how much of a guess is right.
    pub(super) fn admits(&self, given: &str) -> bool {
        self.0 == blake3::hash(given.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A `Hello` that may subscribe.
#[derive(Debug, PartialEq)]
pub(super) struct Accepted {
    pub(super) client: String,
    pub(super) request: SubscriptionRequest,
    /// Granted.
    pub(super) window: u32,
}

/// Why a client must go.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) reason: String,
}

/// Checks all that can be known without the ledger. Who lacks the token learns nothing else.
pub(super) fn check(hello: proto::Hello, terms: &Terms) -> Result<Accepted, Refusal> {
    if hello.protocol != PROTOCOL {
        let reason = format!("protocol {} is not spoken here, {PROTOCOL} is", hello.protocol);
        return Err(Refusal { code: Code::ProtocolUnsupported, reason });
    }
    let known = hello.token.len() <= TOKEN_BYTES_MAX
        && terms.token.as_ref().is_none_or(|token| token.admits(&hello.token));
    if !known {
        let reason = match hello.token.as_str() {
            "" => "this listener asks for a token".to_owned(),
            _ => "wrong token".to_owned(),
        };
        return Err(Refusal { code: Code::TokenRefused, reason });
    }
    accept(hello, terms).map_err(|reason| Refusal { code: Code::HelloInvalid, reason })
}

fn accept(hello: proto::Hello, terms: &Terms) -> Result<Accepted, String> {
    bounded("client", &hello.client, CLIENT_BYTES_MAX)?;
    let window = match hello.window {
        0 => WINDOW_DEFAULT,
        window if window <= WINDOW_MAX => window,
        window => return Err(format!("window = {window}: must be at most {WINDOW_MAX}")),
    };
    let subscription = hello.subscription.ok_or("subscription is required")?;
    let name = subscription.name;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > SUBSCRIPTION_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(format!("subscription.name must be 1 to {SUBSCRIPTION_BYTES_MAX} of a-z A-Z 0-9 . _ -"));
    }
    let start_next = match Start::try_from(subscription.start) {
        Ok(Start::Oldest) => false,
        Ok(Start::Next) => true,
        Err(_) => return Err(format!("subscription.start = {}: unknown", subscription.start)),
    };
    let filter = subscription.filter.map(filter).transpose()?.unwrap_or_default();
    Ok(Accepted {
        client: hello.client,
        request: SubscriptionRequest { name, filter, start_next },
        window: window.min(terms.window_max),
    })
}

fn filter(filter: proto::Filter) -> Result<Filter, String> {
    let lists = [
        ("filter.brands", &filter.brands),
        ("filter.networks", &filter.networks),
        ("filter.languages", &filter.languages),
        ("filter.intents", &filter.intents),
    ];
    for (field, values) in lists {
        if values.len() > FILTER_VALUES_MAX {
            return Err(format!("{field} has {} values: must be at most {FILTER_VALUES_MAX}", values.len()));
        }
        values.iter().try_for_each(|value| bounded(field, value, FILTER_VALUE_BYTES_MAX))?;
    }
    if filter.priority_min > PRIORITY_MAX {
        return Err(format!("filter.priority_min = {}: must be at most {PRIORITY_MAX}", filter.priority_min));
    }
    let network = |name: &String| {
        Network::from_name(name).ok_or_else(|| format!("filter.networks: {name:?} is no network"))
    };
    Ok(Filter {
        networks: filter.networks.iter().map(network).collect::<Result<_, _>>()?,
        brands: filter.brands,
        languages: filter.languages,
        intents: filter.intents,
        priority_min: filter.priority_min as u16,
    })
}

/// Refuses a string that is longer than the protocol allows.
pub(super) fn bounded(field: &str, value: &str, bytes_max: usize) -> Result<(), String> {
    if value.len() > bytes_max {
        return Err(format!("{field} has {} bytes: must be at most {bytes_max}", value.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> proto::Hello {
        proto::Hello {
            protocol: 1,
            client: "bridge 1.0".into(),
            subscription: Some(proto::Subscription { name: "desk".into(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn subscription(hello: &mut proto::Hello) -> &mut proto::Subscription {
        hello.subscription.as_mut().unwrap()
    }

    fn filtered(hello: &mut proto::Hello) -> &mut proto::Filter {
        subscription(hello).filter.get_or_insert_default()
    }

    fn asked(change: impl FnOnce(&mut proto::Hello), terms: &Terms) -> Result<Accepted, Refusal> {
        let mut hello = hello();
        change(&mut hello);
        super::check(hello, terms)
    }

    #[test]
    fn a_hello_that_breaks_a_rule_is_refused_with_the_rule() {
        let terms = Terms { token: Token::new("swordfish"), ..Terms::default() };
        let check = |change: &dyn Fn(&mut proto::Hello), code: Code, reason: &str| {
            let known = |hello: &mut proto::Hello| {
                hello.token = "swordfish".into();
                change(hello);
            };
            let refusal = asked(known, &terms).unwrap_err();
            assert_eq!(refusal.code, code, "{refusal:?}");
            assert!(refusal.reason.contains(reason), "{refusal:?} lacks {reason:?}");
        };
        use Code::{HelloInvalid, ProtocolUnsupported, TokenRefused};
        check(&|hello| hello.protocol = 0, ProtocolUnsupported, "protocol 0");
        check(&|hello| hello.protocol = 2, ProtocolUnsupported, "protocol 2");
        check(&|hello| (hello.token, hello.window) = ("".into(), 70_000), TokenRefused, "asks for a token");
        check(&|hello| hello.token = "Swordfish".into(), TokenRefused, "wrong token");
        check(&|hello| hello.token = "x".repeat(2000), TokenRefused, "wrong token");
        check(&|hello| hello.client = "c".repeat(201), HelloInvalid, "client has 201 bytes");
        check(&|hello| hello.window = 65_537, HelloInvalid, "window = 65537");
        check(&|hello| hello.subscription = None, HelloInvalid, "subscription is required");
        for name in ["", "a b", "é", "a/b", &"n".repeat(101)] {
            check(&|hello| subscription(hello).name = name.into(), HelloInvalid, "subscription.name");
        }
        check(&|hello| subscription(hello).start = 9, HelloInvalid, "subscription.start = 9");
        check(&|hello| filtered(hello).networks = vec!["Bluesky".into()], HelloInvalid, "\"Bluesky\"");
        check(&|hello| filtered(hello).priority_min = 1001, HelloInvalid, "priority_min = 1001");
        check(&|hello| filtered(hello).intents = vec!["x".repeat(201)], HelloInvalid, "filter.intents");
        check(&|hello| filtered(hello).brands = vec![String::new(); 257], HelloInvalid, "257 values");
    }

    #[test]
    fn a_window_is_granted_up_to_the_operators_limit() {
        let terms = Terms { window_max: 1000, ..Terms::default() };
        for (window, granted) in [(0, 100), (1, 1), (999, 999), (1000, 1000), (65_536, 1000)] {
            let accepted = asked(|hello| hello.window = window, &terms).unwrap();
            assert_eq!(accepted.window, granted, "asked for {window}");
        }
        let narrow = Terms { window_max: 10, ..Terms::default() };
        assert_eq!(asked(|_| (), &narrow).unwrap().window, 10);
    }

    #[test]
    fn a_full_hello_becomes_the_request() {
        let accepted = asked(
            |hello| {
                subscription(hello).start = Start::Next as i32;
                subscription(hello).name = "desk.fr_2-x".into();
                *filtered(hello) = proto::Filter {
                    brands: vec!["Lumio".into()],
                    networks: vec!["bluesky".into(), "x".into()],
                    languages: vec!["fr".into()],
                    intents: vec!["outage".into()],
                    priority_min: 1000,
                };
            },
            &Terms::default(),
        );
        let filter = Filter {
            brands: vec!["Lumio".into()],
            networks: vec![Network::Bluesky, Network::X],
            languages: vec!["fr".into()],
            intents: vec!["outage".into()],
            priority_min: 1000,
        };
        let request = SubscriptionRequest { name: "desk.fr_2-x".into(), filter, start_next: true };
        assert_eq!(accepted, Ok(Accepted { client: "bridge 1.0".into(), request, window: 100 }));
    }

    #[test]
    fn a_token_is_asked_only_where_there_is_one_and_never_shown() {
        assert!(asked(|hello| hello.token = "anything".into(), &Terms::default()).is_ok());
        assert_eq!(Token::new(""), None);
        assert_eq!(format!("{:?}", Token::new("swordfish").unwrap()), "Token(…)");
    }
}
