//! Strangers at the real daemon's socket, in numbers, while a helpdesk works.

use std::time::Duration;

use firehose::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::daemon::{Network, State, patiently, ticket_of};

/// More than the daemon has places for strangers and clients together.
const STRANGERS: usize = 300;

/// What one hostile connection sends before it waits.
fn openings() -> Vec<Vec<u8>> {
    let mut oversize = vec![0xff, 0xff, 0xff, 0x7f];
    oversize.resize(70_000, 7);
    vec![
        // Nothing.
        Vec::new(),
        // The beginning of a length, and of a hello.
        vec![0x80],
        vec![0x40, 0x0a],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n and so on, until this is a whole frame of rubbish"
            .to_vec(),
        vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
        oversize,
        (0..4096_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect(),
    ]
}

/// Opens connections that say little or nothing, and keeps those that the daemon keeps.
async fn besiege(state: &State) -> Vec<UnixStream> {
    let mut streams = Vec::new();
    let openings = openings();
    for opening in openings.iter().cycle().take(STRANGERS) {
        // The daemon lets new ones wait for a moment when it is crowded.
        let mut stream = patiently("a connection", UnixStream::connect(state.socket())).await.unwrap();
        // One that is turned away at once reads no more of this.
        _ = stream.write_all(opening).await;
        streams.push(stream);
    }
    streams
}

async fn status(console: &str) -> serde_json::Value {
    let mut stream = tokio::net::TcpStream::connect(console).await.unwrap();
    let request = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_in_hundreds_keep_no_ticket_from_a_helpdesk() {
    let network = Network::new(2_000, 0.05);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let text = std::fs::read_to_string(&state.config).unwrap();
    // All of them are this user. The strangers have fewer places than there are strangers.
    let limits = "[wire]\nconnections_per_peer_max = 65536\nstrangers_max = 20\n";
    std::fs::write(&state.config, text.replace("[wire]\n", limits)).unwrap();
    let daemon = state.start();
    let console = daemon.console();

    let mut helpdesk = state.subscribe("desk", 10).await;
    let siege = besiege(&state).await;
    let _serving = network.serve(stopped).await;
    let mut received = std::collections::BTreeSet::new();
    let take = async |client: &mut Client, received: &mut std::collections::BTreeSet<String>, upto: usize| {
        while received.len() < upto {
            let delivery = patiently("a ticket", client.next()).await.unwrap();
            received.extend(ticket_of(&delivery));
            client.ack(vec![delivery.seq]).await.unwrap();
        }
    };
    take(&mut helpdesk, &mut received, expected.len() / 2).await;
    // A second helpdesk gets in while the strangers are there.
    let mut second = state.subscribe("second", 10).await;
    drop(patiently("a ticket", second.next()).await.unwrap());
    take(&mut helpdesk, &mut received, expected.len()).await;
    patiently("the confirmations", helpdesk.settle()).await.unwrap();
    assert_eq!(received, expected);
    assert_eq!(state.acknowledged("desk"), expected, "all that it had, and nothing more");

    let now = status(&console).await;
    assert!(now["connections_refused"].as_u64().unwrap() > 0, "the limit was never reached: {now}");
    assert!(now["strangers"].as_u64().unwrap() <= 20, "{now}");
    drop(siege);
    // Everything that was a stranger's is given back.
    patiently("the strangers to be gone", async {
        loop {
            let now = status(&console).await;
            if now["strangers"] == 0 && now["connections"] == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (ended, log) = daemon.terminate();
    assert!(ended.success(), "{log}");
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

/// One user may have so many connections and no more, let in or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_too_many_connections_is_told_so() {
    let state = State::new(&Network::new(1, 0.0).source());
    let text = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, text.replace("[wire]\n", "[wire]\nconnections_per_peer_max = 3\n"))
        .unwrap();
    let daemon = state.start();
    let _client = state.subscribe("desk", 1).await;
    let silent = [
        UnixStream::connect(state.socket()).await.unwrap(),
        UnixStream::connect(state.socket()).await.unwrap(),
    ];
    let mut refused = UnixStream::connect(state.socket()).await.unwrap();
    let mut answer = Vec::new();
    patiently("the refusal", refused.read_to_end(&mut answer)).await.unwrap();
    let said = String::from_utf8_lossy(&answer);
    assert!(said.contains("one peer may have 3 at once"), "{said}");
    assert_eq!(status(&daemon.console()).await["connections_refused"], 1);
    drop(silent);
    patiently("a free place", async {
        while Client::connect(&firehose::client::Address::Unix(state.socket()), "other", 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
