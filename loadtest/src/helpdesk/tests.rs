//! A helpdesk that is not there breaks as it was told to, and says what it has done.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// One call on a connection of its own; `None` where the connection breaks without an answer.
async fn call(fake: &Fake<Plain>, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(fake.address()).await.ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

const TICKET: &str = r#"{"ref": "a b", "points": 700}"#;

async fn fake(faults: impl IntoIterator<Item = Option<Fault>>) -> Fake<Plain> {
    let options = Options { faults: Faults::script(faults), ..Options::default() };
    serve(Plain::default(), options).await.unwrap()
}

#[tokio::test]
async fn what_was_made_is_found_and_logged() {
    let fake = fake([]).await;
    let made = call(&fake, "POST", "/tickets", TICKET).await.unwrap();
    assert!(made.starts_with("HTTP/1.1 201") && made.ends_with(r#"{"id":1}"#), "{made}");
    let found = call(&fake, "GET", "/tickets?ref=a%20b", "").await.unwrap();
    assert!(found.contains(r#""id":1"#), "{found}");
    let log = fake.log();
    assert_eq!((log.calls.len(), log.made.len(), log.made[0].priority.as_u64()), (2, 1, Some(700)));
    call(&fake, "POST", "/tickets", TICKET).await.unwrap();
    assert_eq!(fake.log().doubled(), ["a b"]);
}

#[tokio::test]
async fn each_fault_does_the_work_or_not_as_it_says() {
    let check = async |fault: Fault, status: Option<&str>, done: usize| {
        let fake = fake([Some(fault)]).await;
        let answer = call(&fake, "POST", "/tickets", TICKET).await;
        let seen = answer.as_deref().and_then(|answer| answer.get(9..12));
        assert_eq!((seen, fake.counts().0), (status, done), "{fault:?}: {answer:?}");
        assert_eq!(fake.log().broken(), 1);
        // The one after it goes well.
        assert!(call(&fake, "GET", "/tickets?ref=x", "").await.unwrap().starts_with("HTTP/1.1 200"));
    };
    check(Fault::Reset { done: false }, None, 0).await;
    check(Fault::Reset { done: true }, None, 1).await;
    check(Fault::Status { status: 502, done: false }, Some("502"), 0).await;
    check(Fault::Status { status: 502, done: true }, Some("502"), 1).await;
    check(Fault::Page { done: false }, Some("200"), 0).await;
    check(Fault::Page { done: true }, Some("200"), 1).await;
    check(Fault::Limited { retry_after: None }, Some("429"), 0).await;
    check(Fault::Slow(Duration::from_millis(1)), Some("201"), 1).await;
    check(Fault::Late(Duration::from_millis(1)), Some("201"), 1).await;
}

#[tokio::test]
async fn a_silent_helpdesk_may_have_done_it() {
    for done in [false, true] {
        let fake = fake([Some(Fault::Silent { done })]).await;
        let mut call = std::pin::pin!(call(&fake, "POST", "/tickets", TICKET));
        while fake.counts().1 == 0 {
            let waited = tokio::time::timeout(Duration::from_millis(10), &mut call).await;
            assert!(waited.is_err(), "it has answered");
        }
        assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err(), "it has answered");
        assert_eq!(fake.counts(), (usize::from(done), 1));
    }
}

#[tokio::test]
async fn whoever_was_broken_twice_is_spared_and_others_are_not() {
    let broken = Faults::choose(|_| Some(Fault::Status { status: 502, done: false }));
    let faults = broken.sparing(Plain::reference, 2);
    let fake = serve(Plain::default(), Options { faults, ..Options::default() }).await.unwrap();
    let mut seen = Vec::new();
    for reference in ["a", "a", "b", "a", "b", "b"] {
        let body = format!("{{\"ref\": \"{reference}\"}}");
        let answer = call(&fake, "POST", "/tickets", &body).await.unwrap();
        seen.push(answer[9..12].to_owned());
    }
    assert_eq!(seen, ["502", "502", "502", "201", "502", "201"]);
}

#[tokio::test]
async fn an_answer_that_is_cut_ends_early() {
    let fake = fake([Some(Fault::Cut)]).await;
    // Either what there is arrives, or the connection breaks over it.
    if let Some(answer) = call(&fake, "POST", "/tickets", TICKET).await {
        assert!(!answer.ends_with(r#"{"id":1}"#), "{answer}");
    }
    assert_eq!(fake.counts().0, 1);
}

#[tokio::test]
async fn a_quota_refuses_what_is_too_much_and_says_for_how_long() {
    let fake = fake([]).await;
    fake.set_quota(Some(Quota {
        remaining_header: Some("x-left"),
        ..Quota::new(2, Duration::from_secs(3600))
    }));
    assert!(call(&fake, "POST", "/tickets", TICKET).await.unwrap().contains("x-left: 1"));
    assert!(call(&fake, "POST", "/tickets", TICKET).await.unwrap().contains("x-left: 0"));
    let refused = call(&fake, "POST", "/tickets", TICKET).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 35"), "{refused}");
    assert_eq!((fake.counts(), fake.log().refused), ((2, 3), 1));
}

#[tokio::test]
async fn a_helpdesk_that_is_down_refuses_connections_and_keeps_its_tickets() {
    let mut fake = fake([]).await;
    call(&fake, "POST", "/tickets", TICKET).await.unwrap();
    fake.close().await;
    assert!(TcpStream::connect(fake.address()).await.is_err());
    fake.open().await;
    assert!(call(&fake, "GET", "/tickets/1", "").await.unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn the_same_seed_breaks_the_same_calls() {
    let request = Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Value::Null,
        text: String::new(),
    };
    let broken = |seed| {
        let mut faults = Faults::seeded(seed, 0.5, |call| call.method == "POST", Faults::ambiguous());
        (0..1_000).map(|_| faults.of(&request)).collect::<Vec<_>>()
    };
    assert_eq!(broken(1), broken(1));
    assert_ne!(broken(1), broken(2));
    let count = broken(1).iter().flatten().count();
    assert!((400..600).contains(&count), "{count}");
    assert!(Faults::ambiguous().iter().all(|kind| broken(1).contains(&Some(*kind))));
}

#[test]
fn silence_may_be_rare_and_everything_else_is_there() {
    let silence = |done| Fault::Silent { done };
    for one_in in [2, 20, 100] {
        let kinds = Faults::ambiguous_mostly_at_once(one_in);
        let silent = kinds.iter().filter(|kind| matches!(kind, Fault::Silent { .. })).count();
        assert_eq!((silent, kinds.len()), (2, 2 * one_in));
        assert!(kinds.contains(&silence(false)) && kinds.contains(&silence(true)));
    }
    let (all, mostly) = (Faults::ambiguous(), Faults::ambiguous_mostly_at_once(20));
    assert!(all.iter().all(|kind| mostly.contains(kind)));
    assert!(!Faults::ambiguous_at_once().contains(&silence(true)));
}

#[test]
fn a_log_tells_what_is_there_and_what_is_doubled() {
    let made = |reference: &str| Made::new(reference, String::new(), Value::from(1));
    let log = Log { made: ["a", "b", "c", "b", "b"].map(made).into(), ..Log::default() };
    assert_eq!(log.doubled(), ["b"]);
    assert_eq!(log.references(), ["a", "b", "c"].into());
}
