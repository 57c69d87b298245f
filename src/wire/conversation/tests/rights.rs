//! What a token lets its client do, and what a replaced roster does to those who are in.

use super::*;
use crate::access::brands::Brands;
use crate::access::tests::Log;
use crate::access::{Grant, Right, Rights, Roster};
use crate::ticket::proto::{TicketStatus, Touchpoint};
use crate::wire::Wanted;

fn grant(name: &str, rights: &[Right], brands: Option<&[&str]>) -> Grant {
    let brands = brands.and_then(|brands| Brands::new(brands.iter().map(|brand| (*brand).to_owned())));
    Grant { name: name.into(), rights: rights.iter().copied().collect(), brands }
}

fn roster(tokens: &[(&str, Grant)]) -> Access {
    let mut roster = Roster::default();
    tokens.iter().for_each(|(secret, grant)| assert!(roster.add_token(secret, grant.clone())));
    Access::new(roster)
}

fn guarded(tokens: &[(&str, Grant)]) -> Daemon {
    Daemon { access: Arc::new(roster(tokens)), ..Daemon::new() }
}

fn with_token(token: &str) -> Introduction {
    Introduction { token: token.into(), subscription: "desk".into(), window: 10, ..Default::default() }
}

const BOTH: &[Right] = &[Right::Read, Right::Feedback];

/// Two limited tokens use the same name, and an unlimited one too: none of them sees or takes what is another's.
#[tokio::test(start_paused = true)]
async fn tokens_of_different_brands_never_share_a_subscription() {
    let daemon = guarded(&[
        ("of lumio", grant("lumio", BOTH, Some(&["lumio"]))),
        ("of volt", grant("volt", BOTH, Some(&["volt"]))),
        ("of all", grant("all", BOTH, None)),
    ]);
    daemon.memory.record_of("lumio", &[1], 20);
    daemon.memory.record_of("volt", &[2], 20);
    let mut lumio = daemon.introduce(with_token("of lumio")).await.unwrap();
    let mut volt = daemon.introduce(with_token("of volt")).await.unwrap();
    let mut all = daemon.introduce(with_token("of all")).await.unwrap();
    let mut second = daemon.introduce(with_token("of lumio")).await.unwrap();
    assert_eq!(next(&mut lumio).await, (1, 1));
    assert_eq!(next(&mut volt).await, (2, 1));
    assert_eq!(next_some(&mut all, 2).await, [(2, 1), (1, 1)]);
    idle(&mut second).await;
    drop(second);
    // An ack of what only the other one has is nobody's.
    lumio.ack(&[1, 2]).await.unwrap();
    assert_eq!(acked(&mut lumio).await, [1]);
    assert_eq!(daemon.memory.acknowledged("lumio/desk"), [1]);
    assert!(daemon.memory.acknowledged("volt/desk").is_empty());
    assert!(daemon.memory.acknowledged("desk").is_empty());
    daemon.memory.record_of("lumio", &[3], 20);
    assert_eq!(next(&mut lumio).await, (3, 1), "its own goes on");
    idle(&mut volt).await;
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_named() {
    let daemon = guarded(&[
        ("of a reader", grant("reader", &[Right::Read], None)),
        ("of a reporter", grant("reporter", &[Right::Feedback], None)),
    ]);
    daemon.memory.record(&[1]);
    let status = || TicketStatus { ticket_id: vec![1; 16], ..Default::default() };
    let mut reader = daemon.introduce(with_token("of a reader")).await.unwrap();
    assert_eq!(next(&mut reader).await.0, 1);
    reader.report(client_message::Kind::TicketStatus(status())).await.unwrap();
    let (code, reason) = goodbye(&mut reader).await;
    assert_eq!((code, reason.as_str()), (Code::TokenRefused, "token \"reader\" has no right \"feedback\""));
    assert!(daemon.memory.shelf.lock().feedback.is_empty());

    let Err(ClientError::Goodbye { code, reason }) = daemon.introduce(with_token("of a reporter")).await
    else {
        panic!()
    };
    assert_eq!(code, Code::TokenRefused);
    assert_eq!(reason, "token \"reporter\" has no right \"read\": send no subscription");
    let nameless = Introduction { subscription: Wanted::Nothing, ..with_token("of a reporter") };
    let mut reporter = daemon.introduce(nameless).await.unwrap();
    assert_eq!((reporter.welcome().window, reporter.welcome().pending), (0, 0));
    let touchpoint = Touchpoint { customer: "c1".into(), channel: "phone".into(), ..Touchpoint::default() };
    reporter.report(client_message::Kind::Touchpoint(touchpoint)).await.unwrap();
    reporter.ack(&[1]).await.unwrap();
    idle(&mut reporter).await;
    assert_eq!(daemon.memory.shelf.lock().feedback.len(), 1);
    assert!(daemon.memory.acknowledged("desk").is_empty());
}

#[tokio::test(start_paused = true)]
async fn feedback_of_a_limited_token_reaches_the_ledger_with_its_brands() {
    let daemon = guarded(&[("of lumio", grant("lumio", BOTH, Some(&["Lumio"])))]);
    let mut client = daemon.introduce(with_token("of lumio")).await.unwrap();
    let status = TicketStatus { ticket_id: vec![1; 16], ..Default::default() };
    client.report(client_message::Kind::TicketStatus(status.clone())).await.unwrap();
    idle(&mut client).await;
    let expected = Feedback::TicketStatusWithin {
        ticket_id: TicketId::from_bytes(&[1; 16]).unwrap(),
        body: status.encode_to_vec(),
        brands: Brands::new(["Lumio".to_owned()]).unwrap(),
    };
    assert_eq!(daemon.memory.shelf.lock().feedback, [expected]);
}

/// What a client had acknowledged counts, the rest goes to who may have it now.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rotated_away_ends_its_connections_and_no_other() {
    let daemon = guarded(&[
        ("the old secret", grant("bridge", BOTH, None)),
        ("of the archive", grant("archive", BOTH, None)),
        ("of a reader", grant("reader", BOTH, None)),
    ]);
    let archive = Introduction { subscription: "archive".into(), ..with_token("of the archive") };
    let mut archive = daemon.introduce(archive).await.unwrap();
    let reader = Introduction { subscription: "reader".into(), ..with_token("of a reader") };
    let mut reader = daemon.introduce(reader).await.unwrap();
    daemon.memory.record(&[2, 1]);
    let mut bridge = daemon.introduce(with_token("the old secret")).await.unwrap();
    next_some(&mut bridge, 2).await;
    bridge.ack(&[1]).await.unwrap();
    assert_eq!(acked(&mut bridge).await, [1]);
    next_some(&mut archive, 2).await;
    next_some(&mut reader, 2).await;

    daemon.access.replace(&roster(&[
        ("the new secret", grant("bridge", BOTH, None)),
        ("of the archive", grant("archive", BOTH, None)),
        ("of a reader", grant("reader", &[Right::Read], None)),
    ]));
    assert_eq!(goodbye(&mut bridge).await, (Code::TokenRefused, "this token is no longer valid".into()));
    let (code, reason) = goodbye(&mut reader).await;
    assert_eq!(code, Code::AccessChanged, "{reason}");
    idle(&mut archive).await;
    assert!(daemon.introduce(with_token("the old secret")).await.is_err());
    let mut bridge = daemon.introduce(with_token("the new secret")).await.unwrap();
    assert_eq!(next(&mut bridge).await, (2, 2), "the subscription is the same, the ack holds");
    idle(&mut bridge).await;
}

#[tokio::test(start_paused = true)]
async fn a_limited_token_cannot_fill_the_outbox_with_names() {
    let daemon = guarded(&[
        ("of lumio", grant("lumio", BOTH, Some(&["lumio"]))),
        ("of all", grant("all", BOTH, None)),
    ]);
    let named = |token: &str, number: usize| Introduction {
        subscription: Wanted::Named(format!("n{number}")),
        ..with_token(token)
    };
    for number in 0..crate::ledger::outbox::SUBSCRIPTIONS_OWNED_MAX {
        daemon.introduce(named("of lumio", number)).await.unwrap();
    }
    let refused = daemon.introduce(named("of lumio", 99)).await.err().unwrap();
    assert!(refused.to_string().contains("too many subscriptions"), "{refused}");
    daemon.introduce(named("of lumio", 5)).await.unwrap();
    daemon.introduce(named("of all", 99)).await.unwrap();
}

#[test]
fn the_rights_of_the_socket_are_to_read_and_to_report() {
    assert_eq!(Rights::SOCKET, BOTH.iter().copied().collect());
}

/// A hello that was checked before a reload reaches the ledger after it, and after another client of the same token
/// has subscribed to what is left: the queue lets through again what this one may not see.
#[tokio::test(start_paused = true)]
async fn a_filter_that_was_widened_behind_a_clients_back_ends_it_before_it_gets_anything() {
    let both = || grant("bridge", BOTH, Some(&["lumio", "volt"]));
    let daemon = guarded(&[("of the bridge", both())]);
    daemon.memory.record_of("lumio", &[1], 20);
    daemon.memory.record_of("volt", &[2], 20);
    daemon.access.replace(&roster(&[("of the bridge", grant("bridge", BOTH, Some(&["lumio"])))]));
    let mut client = daemon.introduce(with_token("of the bridge")).await.unwrap();
    assert_eq!(next(&mut client).await, (1, 1));
    idle(&mut client).await;
    let widened = |brands: &[&str]| SubscriptionRequest {
        name: "bridge/desk".into(),
        filter: Filter {
            brands: brands.iter().map(|brand| (*brand).to_owned()).collect(),
            ..Filter::default()
        },
        start_next: false,
    };
    assert_eq!(daemon.hub.records.subscribe(widened(&["lumio", "volt"])).await, Ok(Ok(())));
    daemon.memory.record_of("volt", &[3], 20);
    let farewell = tokio::time::timeout(Duration::from_secs(3600), client.next_event()).await.unwrap();
    let Err(ClientError::Goodbye { code, reason }) = farewell else { panic!("{farewell:?}") };
    assert_eq!(
        (code, reason.as_str()),
        (Code::AccessChanged, "what this token may do has changed: connect again")
    );
    // What it had goes to the next one, whose own hello has set the filter right.
    let mut again = daemon.introduce(with_token("of the bridge")).await.unwrap();
    assert_eq!(next(&mut again).await, (1, 2));
    idle(&mut again).await;
    // A filter without any brand asks for all of them.
    assert_eq!(daemon.hub.records.subscribe(widened(&[])).await, Ok(Ok(())));
    daemon.memory.record_of("volt", &[4], 20);
    assert_eq!(goodbye(&mut again).await.0, Code::AccessChanged);
    assert!(daemon.memory.acknowledged("bridge/desk").is_empty());
}

/// Those who may only report are in the log like everybody else: it is them whom an audit asks for.
#[tokio::test(start_paused = true)]
async fn a_client_that_only_reports_is_logged_when_it_comes_and_when_it_goes() {
    let log = Log::listen();
    let daemon = guarded(&[("of a reporter", grant("reporter", &[Right::Feedback], None))]);
    let introduction = Introduction {
        client: "survey 2".into(),
        subscription: Wanted::Nothing,
        ..with_token("of a reporter")
    };
    let mut reporter = daemon.introduce(introduction).await.unwrap();
    assert!(
        log.text()
            .contains("INFO vigie::wire::conversation: client client=\"survey 2\" token=\"reporter\"\n")
    );
    reporter.report(client_message::Kind::TicketStatus(TicketStatus::default())).await.unwrap();
    assert_eq!(goodbye(&mut reporter).await.0, Code::FrameInvalid);
    let text = log.text();
    let farewell = text.lines().last().unwrap_or_default();
    assert!(
        farewell.contains("goodbye code=\"CODE_FRAME_INVALID\" reason=\"ticket_status.ticket_id"),
        "{text}"
    );
    assert!(farewell.contains("token=\"reporter\""), "{text}");
    assert!(!text.contains("of a reporter"), "{text}");
}

#[test]
fn an_introduction_that_is_printed_shows_no_token() {
    let printed = format!("{:?}", with_token("swordfish"));
    assert!(printed.contains("subscription: Named(\"desk\")") && !printed.contains("swordfish"), "{printed}");
}
