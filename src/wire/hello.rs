//! `Hello` → a subscription that is known to be well-formed, or the reason to refuse it.

use super::PROTOCOL;
use super::session::Terms;
use super::visitor::Visitor;
use crate::access::{Grant, Pass, Right};
use crate::ledger::SubscriptionRequest;
use crate::ledger::outbox::Filter;
use crate::parse::Network;
use crate::ticket::proto::{self, Start, goodbye::Code};

/// Longest `Hello`, in bytes: all lists of a filter at their limits take some 200 KiB, so this allows the
/// largest one; the 64 strangers of a listener who never finish theirs hold 32 MiB at most, for 5 seconds.
pub(super) const HELLO_BYTES_MAX: usize = 256 * 1024;

/// Largest window a client may ask for, and the most an operator can grant.
pub(super) const WINDOW_MAX: u32 = 65_536;

/// The window of a client that asks for 0.
const WINDOW_DEFAULT: u32 = 100;

const CLIENT_BYTES_MAX: usize = 200;
const SUBSCRIPTION_BYTES_MAX: usize = 100;
const PRIORITY_MAX: u32 = 1000;

/// Most values in one list of a filter. Each record is compared with all of them.
const FILTER_VALUES_MAX: usize = 256;
const FILTER_VALUE_BYTES_MAX: usize = 200;

/// A `Hello` that is welcome.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) client: String,
    /// `None` for a client that may not read.
    pub(super) request: Option<SubscriptionRequest>,
    /// Granted.
    pub(super) window: u32,
    pub(super) pass: Pass,
}

/// Why a client must go.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) reason: String,
    /// Whether this may have been a guess at a token.
    pub(super) is_guess: bool,
}

impl Refusal {
    fn new(code: Code, reason: impl Into<String>) -> Refusal {
        Refusal { code, reason: reason.into(), is_guess: false }
    }
}

/// Checks all that can be known without the ledger. Who lacks the token learns nothing else.
pub(super) fn check(hello: proto::Hello, terms: &Terms, visitor: &Visitor) -> Result<Accepted, Refusal> {
    if hello.protocol != PROTOCOL {
        let reason = format!("protocol {} is not spoken here, {PROTOCOL} is", hello.protocol);
        return Err(Refusal::new(Code::ProtocolUnsupported, reason));
    }
    let pass = visitor.pass(&hello.token).map_err(|refused| Refusal {
        code: Code::TokenRefused,
        reason: refused.to_string(),
        is_guess: refused.is_guess(),
    })?;
    bounded("client", &hello.client, CLIENT_BYTES_MAX).map_err(invalid)?;
    let window = match hello.window {
        0 => WINDOW_DEFAULT,
        window if window <= WINDOW_MAX => window,
        window => return Err(invalid(format!("window = {window}: must be at most {WINDOW_MAX}"))),
    };
    let request = match (hello.subscription, pass.grant.rights.has(Right::Read)) {
        (Some(subscription), true) => Some(request(subscription, &pass.grant)?),
        (None, true) => return Err(invalid("subscription is required".to_owned())),
        (Some(_), false) => {
            let reason = lacks(&pass.grant, Right::Read);
            return Err(Refusal::new(Code::TokenRefused, format!("{reason}: send no subscription")));
        }
        (None, false) => None,
    };
    let window = if request.is_some() { window.min(terms.window_max) } else { 0 };
    Ok(Accepted { client: hello.client, request, window, pass })
}

/// What a client is told that has not the right to do what it wants.
pub(super) fn lacks(grant: &Grant, right: Right) -> String {
    format!("token {:?} has no right {:?}", grant.name, right.name())
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(Code::HelloInvalid, reason)
}

fn request(subscription: proto::Subscription, grant: &Grant) -> Result<SubscriptionRequest, Refusal> {
    let name = subscription.name;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // Without a name it ends with the connection, which then names it.
    if name.len() > SUBSCRIPTION_BYTES_MAX || !name.bytes().all(allowed) {
        let reason =
            format!("subscription.name must be none or 1 to {SUBSCRIPTION_BYTES_MAX} of a-z A-Z 0-9 . _ -");
        return Err(invalid(reason));
    }
    let start_next = match Start::try_from(subscription.start) {
        Ok(Start::Oldest) => false,
        Ok(Start::Next) => true,
        Err(_) => return Err(invalid(format!("subscription.start = {}: unknown", subscription.start))),
    };
    let mut filter = subscription.filter.map(filter).transpose().map_err(invalid)?.unwrap_or_default();
    limit(&mut filter, grant)?;
    Ok(SubscriptionRequest { name: grant.subscription(&name), filter, start_next })
}

/// Narrows a filter to the brands of the grant: all of them where the client names none.
fn limit(filter: &mut Filter, grant: &Grant) -> Result<(), Refusal> {
    let Some(brands) = &grant.brands else { return Ok(()) };
    if let Some(other) = filter.brands.iter().find(|asked| !brands.has(asked)) {
        let reason = format!("filter.brands: {other:?} is no brand of token {:?}", grant.name);
        return Err(Refusal::new(Code::TokenRefused, reason));
    }
    if filter.brands.is_empty() {
        filter.brands = brands.names().to_vec();
    }
    Ok(())
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
    use std::sync::Arc;

    use super::*;
    use crate::access::brands::Brands;
    use crate::access::peers::Place;
    use crate::access::{Access, Rights, Roster};

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

    fn asked(
        change: impl FnOnce(&mut proto::Hello),
        terms: &Terms,
        visitor: &Visitor,
    ) -> Result<Accepted, Refusal> {
        let mut hello = hello();
        change(&mut hello);
        super::check(hello, terms, visitor)
    }

    fn anyone() -> Visitor {
        Visitor::anyone(std::time::Instant::now())
    }

    /// Somebody before a door to which these tokens open.
    fn visitor(tokens: &[(&str, Grant)]) -> Visitor {
        let mut roster = Roster::default();
        tokens.iter().for_each(|(secret, grant)| assert!(roster.add_token(secret, grant.clone())));
        let access = Arc::new(Access::new(roster));
        Visitor::new(access, true, Place::uncounted(), std::time::Instant::now())
    }

    fn grant(rights: Rights, brands: Option<&[&str]>) -> Grant {
        let brands = brands.and_then(|brands| Brands::new(brands.iter().map(|brand| (*brand).to_owned())));
        Grant { name: "bridge".into(), rights, brands }
    }

    #[test]
    fn a_hello_that_breaks_a_rule_is_refused_with_the_rule() {
        let (terms, visitor) = (Terms::default(), visitor(&[("swordfish", grant(Rights::SOCKET, None))]));
        let check = |change: &dyn Fn(&mut proto::Hello), code: Code, reason: &str| {
            let known = |hello: &mut proto::Hello| {
                hello.token = "swordfish".into();
                change(hello);
            };
            let refusal = asked(known, &terms, &visitor).unwrap_err();
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
        for name in ["a b", "é", "a/b", "~7", &"n".repeat(101)] {
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
            let accepted = asked(|hello| hello.window = window, &terms, &anyone()).unwrap();
            assert_eq!(accepted.window, granted, "asked for {window}");
        }
        let narrow = Terms { window_max: 10, ..Terms::default() };
        assert_eq!(asked(|_| (), &narrow, &anyone()).unwrap().window, 10);
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
            &anyone(),
        )
        .unwrap();
        let filter = Filter {
            brands: vec!["Lumio".into()],
            networks: vec![Network::Bluesky, Network::X],
            languages: vec!["fr".into()],
            intents: vec!["outage".into()],
            priority_min: 1000,
        };
        let request = SubscriptionRequest { name: "desk.fr_2-x".into(), filter, start_next: true };
        assert_eq!((accepted.client.as_str(), accepted.window), ("bridge 1.0", 100));
        assert_eq!(accepted.request, Some(request));
    }

    #[test]
    fn a_token_of_some_brands_sees_those_and_no_others() {
        let lumio = visitor(&[("swordfish", grant(Rights::SOCKET, Some(&["Lumio", "Volt"])))]);
        let ask = |brands: &[&str]| {
            let change = |hello: &mut proto::Hello| {
                hello.token = "swordfish".into();
                filtered(hello).brands = brands.iter().map(|brand| (*brand).to_owned()).collect();
            };
            let accepted = asked(change, &Terms::default(), &lumio)?;
            Ok::<_, Refusal>(accepted.request.map(|request| (request.name, request.filter.brands)))
        };
        let brands = |brands: &[&str]| brands.iter().map(|brand| (*brand).to_owned()).collect::<Vec<_>>();
        let name = || "bridge/desk".to_owned();
        assert_eq!(ask(&[]), Ok(Some((name(), brands(&["Lumio", "Volt"])))), "none named: all of its own");
        assert_eq!(ask(&["LUMIO"]), Ok(Some((name(), brands(&["LUMIO"])))));
        let refusal = ask(&["Lumio", "Acme"]).unwrap_err();
        assert_eq!(refusal.code, Code::TokenRefused);
        assert_eq!(refusal.reason, "filter.brands: \"Acme\" is no brand of token \"bridge\"");
        assert!(!refusal.is_guess);
    }

    #[test]
    fn a_token_without_the_right_to_read_may_come_without_a_subscription() {
        let feedback = Rights::from_iter([Right::Feedback]);
        let reporter = visitor(&[("swordfish", grant(feedback, None))]);
        let known = |hello: &mut proto::Hello| hello.token = "swordfish".into();
        let refusal = asked(known, &Terms::default(), &reporter).unwrap_err();
        assert_eq!(refusal.code, Code::TokenRefused);
        assert_eq!(refusal.reason, "token \"bridge\" has no right \"read\": send no subscription");
        let change = |hello: &mut proto::Hello| {
            known(hello);
            hello.subscription = None;
        };
        let accepted = asked(change, &Terms::default(), &reporter).unwrap();
        assert_eq!((accepted.request, accepted.window), (None, 0));
    }

    /// However a hello comes to be printed, alone or in what holds it.
    #[test]
    fn a_hello_that_is_printed_shows_no_token() {
        let hello = proto::Hello { token: "swordfish".into(), window: 7, ..hello() };
        let kind = proto::client_message::Kind::Hello(hello.clone());
        let message = proto::ClientMessage { kind: Some(kind.clone()) };
        for printed in [format!("{hello:?}"), format!("{kind:?}"), format!("{message:#?}")] {
            assert!(!printed.contains("swordfish"), "{printed}");
            for part in ["protocol: 1", "bridge 1.0", "desk", "window: 7"] {
                assert!(printed.contains(part), "{part} is missing in {printed}");
            }
        }
    }
}
