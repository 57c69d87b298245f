//! Requests over pipes in memory, with the clock paused.

use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::access::brands::Brands;
use crate::access::tests::Log;
use crate::access::{Grant, Right, Roster};

const OPERATOR: &str = "a token of the operator";
const HELPDESK: &str = "a token of the helpdesk";

fn access() -> Arc<Access> {
    let mut roster = Roster::default();
    let grant =
        |name: &str, right| Grant { name: name.into(), rights: [right].into_iter().collect(), brands: None };
    assert!(roster.add_token(OPERATOR, grant("operator", Right::Operate)));
    assert!(roster.add_token(HELPDESK, grant("helpdesk", Right::Read)));
    Arc::new(Access::new(roster))
}

fn router() -> Router {
    Router::new().route("/metrics", get(|| async { "42\n" })).route("/healthz", get(|| async { "ok\n" }))
}

struct Console {
    guard: Guard,
    stop: watch::Sender<bool>,
}

impl Console {
    fn new(access: Arc<Access>, reachable: bool) -> Console {
        Console { guard: Guard::new(access, reachable), stop: watch::Sender::new(false) }
    }

    async fn dial(&self) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let place = self.guard.gate.enter(Peer::User(1)).await.unwrap();
        let served =
            attend(theirs, Arc::default(), router(), self.guard.clone(), place, self.stop.subscribe());
        (ours, tokio::spawn(served))
    }

    /// The answer to one request.
    async fn ask(&self, path: &str, headers: &str) -> String {
        let (mut stream, served) = self.dial().await;
        let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap();
        answer
    }

    async fn check(&self, path: &str, headers: &str, status: &str) {
        let answer = self.ask(path, headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {headers:?}: {answer}");
    }
}

fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{user}:{password}");
    let mut encoded = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, place| bits << 8 | u32::from(*group.get(place).unwrap_or(&0)));
        let digits = (0..4).map(|place| char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        encoded.extend(digits.take(group.len() + 1));
        encoded.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    format!("Authorization: Basic {encoded}\r\n")
}

#[tokio::test(start_paused = true)]
async fn who_is_limited_to_brands_reports_no_contacts() {
    let mut roster = Roster::default();
    let grant = |name: &str, brands| Grant {
        name: name.into(),
        rights: [Right::Feedback].into_iter().collect(),
        brands,
    };
    let only_lumio = Brands::new(["Lumio".to_owned()]);
    assert!(roster.add_token("of one brand", grant("shop", only_lumio)));
    assert!(roster.add_token("of all brands", grant("telephone", None)));
    let console = Console::new(Arc::new(Access::new(roster)), false);
    let shown = |token| format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
    let answer = console.ask(TOUCHPOINTS, &shown("of one brand")).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("token \"shop\" is limited to brands"), "{answer}");
    console.check(TOUCHPOINTS, &shown("of all brands"), "404").await;
}

#[tokio::test(start_paused = true)]
async fn loopback_is_open_to_who_means_this_machine() {
    let console = Console::new(Arc::default(), false);
    for host in ["localhost", "localhost:6011", "127.0.0.1:6011", "[::1]:6011", "192.0.2.7", "LOCALHOST"] {
        console.check("/metrics", &format!("Host: {host}\r\n"), "200").await;
    }
    // What a browser sends on behalf of a page of evil.example whose name was given our address.
    for host in ["evil.example", "evil.example:6011", "localhost.evil.example", "127.0.0.1.evil.example", ""]
    {
        console.check("/metrics", &format!("Host: {host}\r\n"), "421").await;
    }
    console.check("/healthz", "Host: evil.example\r\n", "200").await;
}

#[tokio::test(start_paused = true)]
async fn elsewhere_a_token_with_the_right_to_operate_is_asked() {
    let console = Console::new(access(), true);
    let host = "Host: vigie.example\r\n";
    let bearer = |token: &str| format!("{host}Authorization: Bearer {token}\r\n");
    console.check("/metrics", &bearer(OPERATOR), "200").await;
    console.check("/metrics", &format!("{host}{}", basic("anyone", OPERATOR)), "200").await;
    console.check("/metrics", &format!("{host}authorization: bEaReR  {OPERATOR}\r\n"), "200").await;
    console.check("/metrics", &bearer(HELPDESK), "403").await;
    console.check("/metrics", &bearer("wrong"), "401").await;
    console.check("/metrics", &format!("{host}{}", basic(OPERATOR, "")), "401").await;
    console.check("/metrics", &format!("{host}Authorization: Digest {OPERATOR}\r\n"), "401").await;
    console.check("/nothing", host, "401").await;
    console.check("/healthz", host, "200").await;
    let answer = console.ask("/metrics", host).await;
    assert!(answer.contains("401") && answer.to_lowercase().contains("www-authenticate: basic"), "{answer}");
    assert!(answer.ends_with("this listener asks for a token\n"), "{answer}");
    // The same on loopback, once somebody has the right.
    let local = Console::new(access(), false);
    local.check("/metrics", "Host: localhost\r\n", "401").await;
    local.check("/metrics", &bearer(OPERATOR), "200").await;
    // And where others can come and nobody has it, nobody looks.
    Console::new(Arc::default(), true).check("/metrics", host, "401").await;
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_answered_later_each_time() {
    let console = Console::new(access(), true);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let since = Instant::now();
        console.check("/metrics", "Host: x\r\nAuthorization: Bearer guess\r\n", "401").await;
        waits.push(since.elapsed().as_millis());
    }
    assert_eq!(waits, [250, 500, 1000]);
    assert_eq!(console.guard.gate.counts().wrong_tokens, 3);
}

/// Closing at once is no way to guess faster: the place is taken until the answer would have come.
#[tokio::test(start_paused = true)]
async fn a_guesser_that_does_not_wait_holds_its_place_all_the_same_and_is_logged_once() {
    let log = Log::listen();
    let console = Console::new(access(), true);
    for guesses in 1..=3 {
        let since = Instant::now();
        let (mut stream, served) = console.dial().await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess\r\n\r\n";
        stream.write_all(request).await.unwrap();
        while console.guard.wrong_tokens() < guesses {
            tokio::task::yield_now().await;
        }
        drop(stream);
        served.await.unwrap();
        assert_eq!(since.elapsed().as_millis(), 250 << (guesses - 1));
    }
    assert_eq!(console.guard.gate.counts().connections, 0);
    let text = log.text();
    assert_eq!(
        text.matches("INFO vigie::console::door: wrong token peer=User(1) guesses=1").count(),
        1,
        "{text}"
    );
    assert_eq!(text.matches("wrong token").count(), 1, "{text}");
}

/// A slow-loris: one byte of the head a second, for ever.
#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_ends_the_connection() {
    let console = Console::new(Arc::default(), false);
    let (mut stream, served) = console.dial().await;
    let since = Instant::now();
    for byte in format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(1000)).into_bytes() {
        if stream.write_all(&[byte]).await.is_err() || served.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(stream);
    served.await.unwrap();
    assert!((10..=12).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    assert_eq!(console.guard.gate.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_more_ends() {
    let console = Console::new(Arc::default(), false);
    let (mut stream, served) = console.dial().await;
    let since = Instant::now();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("42\n"), "{answer}");
    served.await.unwrap();
    assert_eq!(since.elapsed().as_secs(), HEAD_MAX.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_is_refused_before_it_comes() {
    let console = Console::new(Arc::default(), false);
    console.check("/metrics", "Host: localhost\r\nContent-Length: 1048577\r\n", "413").await;
    console.check("/metrics", &format!("Host: localhost\r\nX: {}\r\n", "x".repeat(20_000)), "431").await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_lock_nobody_out() {
    let console = Console::new(Arc::default(), false);
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS_MAX as u32 {
        let (ours, theirs) = tokio::io::duplex(64);
        let place = console.guard.gate.enter(Peer::User(number)).await.unwrap();
        let served =
            attend(theirs, Arc::default(), router(), console.guard.clone(), place, console.stop.subscribe());
        idle.push((ours, tokio::spawn(served)));
    }
    let since = Instant::now();
    console.check("/metrics", "Host: localhost\r\n", "200").await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let (_, longest) = idle.remove(0);
    longest.await.unwrap();
    assert_eq!(console.guard.gate.counts().crowded, 1);
}

/// A server certificate, an authority for clients, and one of its clients.
struct Shown {
    access: Arc<Access>,
    roots: rustls::RootCertStore,
    identity: (CertificateDer<'static>, Vec<u8>),
}

fn shown() -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let sign = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    let (server, key) = sign("vigie.example");
    std::fs::write(file("ca.pem"), authority.pem()).unwrap();
    std::fs::write(file("server.pem"), server.pem()).unwrap();
    std::fs::write(file("server.key"), key.serialize_pem()).unwrap();
    let (ca, mut warnings) = (file("ca.pem"), Vec::new());
    let mut roster = Roster::default();
    roster.set_tls(Tls::load(&file("server.pem"), &file("server.key"), Some(&ca), &mut warnings).unwrap());
    let rights = [Right::Operate].into_iter().collect();
    let grant = Grant { name: "grafana".into(), rights, brands: None };
    roster.add_certificate(ServerName::try_from("grafana.example").unwrap(), grant);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let (client, key) = sign("grafana.example");
    let identity = (client.der().clone(), key.serialize_der());
    Shown { access: Arc::new(Access::new(roster)), roots, identity }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_with_the_right_to_operate_opens_the_console() {
    let Shown { access, roots, identity } = shown();
    let console = Console::new(access.clone(), true);
    for (shows, status) in [(true, "200"), (false, "401")] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone());
        let config = if shows {
            let (chain, key) = (vec![identity.0.clone()], identity.1.clone());
            builder.with_client_auth_cert(chain, key.try_into().unwrap()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let place = console.guard.gate.enter(Peer::User(1)).await.unwrap();
        let tls = access.roster().tls().map(Tls::http_acceptor).unwrap();
        let (guard, stop) = (console.guard.clone(), console.stop.subscribe());
        tokio::spawn(shake_hands(theirs, tls, router(), guard, place, stop));
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream =
            connector.connect(ServerName::try_from("vigie.example").unwrap(), ours).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        _ = stream.read_to_string(&mut answer).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "shows {shows}: {answer}");
    }
}

/// Silent handshakes take every place, and the next one gets in all the same.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_stalls_in_the_handshake_is_sent_away_for_another_and_ends_with_the_daemon() {
    let console = Console::new(shown().access, true);
    let mut silent = Vec::new();
    for number in 0..CONNECTIONS_MAX as u32 {
        let (ours, theirs) = tokio::io::duplex(64);
        let place = console.guard.gate.enter(Peer::User(number)).await.unwrap();
        let tls = console.guard.access.roster().tls().map(Tls::http_acceptor).unwrap();
        let (guard, stop) = (console.guard.clone(), console.stop.subscribe());
        silent.push((ours, tokio::spawn(shake_hands(theirs, tls, router(), guard, place, stop))));
    }
    let since = Instant::now();
    let _place = console.guard.gate.enter(Peer::User(1000)).await.unwrap();
    let (_ours, longest) = silent.remove(0);
    longest.await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    console.stop.send_replace(true);
    for (_ours, other) in silent {
        other.await.unwrap();
    }
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[test]
fn base64_is_read_as_rfc_4648_writes_it() {
    for (text, expected) in [
        ("", Some("")),
        ("Zg==", Some("f")),
        ("Zm8=", Some("fo")),
        ("Zm9v", Some("foo")),
        ("Zm9vYg==", Some("foob")),
        ("Zm9vYmE", Some("fooba")),
        ("Zm9vYmFy", Some("foobar")),
        ("Z", None),
        ("Zm9vY", None),
        ("Zm-v", None),
        ("Zm 9v", None),
    ] {
        assert_eq!(from_base64(text), expected.map(|text| text.as_bytes().to_vec()), "{text:?}");
    }
}
