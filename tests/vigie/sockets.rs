//! Sockets that systemd holds: clients wait while the daemon restarts, and an upgrade loses nothing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use firehose::Rate;
use firehose::client::{Address, Client, ClientError};

use crate::daemon::{BRAND, Network, PATIENCE, State, get, patiently, skip, ticket_of};

/// `vigie run` as systemd starts it: these sockets are its descriptors 3 and 4, under these names.
fn handing(binary: &Path, state: &State, names: &str, sockets: [Option<OwnedFd>; 2]) -> Command {
    handing_to("$$", binary, state, names, sockets)
}

/// The same, with this for `LISTEN_PID`.
fn handing_to(
    pid: &str,
    binary: &Path,
    state: &State,
    names: &str,
    sockets: [Option<OwnedFd>; 2],
) -> Command {
    let script = format!(
        r#"exec 3<&0 4<&1 </dev/null >/dev/null
        LISTEN_PID={pid} LISTEN_FDS="$1" LISTEN_FDNAMES="$2" exec "$0" run -c "$3""#
    );
    let count = sockets.iter().flatten().count().to_string();
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(binary).args([&count, names]).arg(&state.config);
    let [first, second] = sockets.map(|socket| socket.map_or_else(Stdio::null, Stdio::from));
    command.stdin(first).stdout(second).stderr(Stdio::piped());
    command
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_vigie"))
}

/// A ticket socket and a console, as a `.socket` unit would hold them, and a config that says so.
struct Held {
    tickets: UnixListener,
    http: TcpListener,
}

impl Held {
    fn new(state: &State, network: &Network) -> Held {
        let tickets = UnixListener::bind(state.socket()).unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        state.configure(&network.source(), BRAND);
        let text = std::fs::read_to_string(&state.config).unwrap();
        let address = http.local_addr().unwrap();
        let text = text.replace("127.0.0.1:0", &address.to_string());
        // A model without optimisation on a busy machine takes its time.
        let text = text.replace("[engine]", "[engine]\ndrain_max_ms = 300000");
        std::fs::write(&state.config, text).unwrap();
        Held { tickets, http }
    }

    fn copies(&self) -> [Option<OwnedFd>; 2] {
        [Some(self.tickets.try_clone().unwrap().into()), Some(self.http.try_clone().unwrap().into())]
    }

    fn start(&self, state: &State, binary: &Path) -> Child {
        handing(binary, state, "tickets:http", self.copies()).spawn().unwrap()
    }
}

fn terminate(daemon: Child) -> String {
    assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
    let output = daemon.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    log
}

/// Connects, and takes a farewell for an invitation to come back; refused it must never be.
async fn connect(state: &State) -> Client {
    loop {
        match Client::connect(&Address::Unix(state.socket()), "helpdesk", 16).await {
            Ok(client) => return client,
            Err(ClientError::Goodbye { .. }) => {}
            Err(ClientError::Lost(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => panic!("a client was turned away: {error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_place_under_load_loses_nothing_and_turns_nobody_away() {
    // Eight seconds of a stream. On a machine on which a start takes longer than that, no restart would meet it.
    let mut seconds = 8;
    while upgrades_that_met(seconds).await == 0 {
        seconds *= 4;
        assert!(seconds <= PATIENCE.as_secs(), "no restart met the stream");
    }
}

/// Replaces the daemon again and again under a stream of so many seconds; how often while there was more to come.
async fn upgrades_that_met(seconds: u64) -> u32 {
    const POSTS_PER_S: u32 = 1_500;
    // As many posts to answer in a longer one.
    let mut network = Network::new(seconds * u64::from(POSTS_PER_S), 0.24 / seconds as f64);
    network.config.rate = Rate::PerSecond(NonZeroU32::new(POSTS_PER_S).unwrap());
    let state = State::new("");
    let held = Held::new(&state, &network);
    // A ledger that has seen the moment before the stream begins: the network serves all of it, however late we come.
    let daemon = held.start(&state, &binary());
    drop(patiently("a welcome", connect(&state)).await);
    terminate(daemon);
    let start = jiff::Timestamp::now();
    network.config.start = Some(start);
    let begin = "INSERT OR REPLACE INTO source (name, position) VALUES ('bluesky', ?1)";
    state.ledger().execute(begin, [start.as_microsecond() - 1]).unwrap();
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;

    let installed = state.path().join("vigie");
    let mut received = BTreeSet::new();
    let mut durable = BTreeSet::new();
    let mut under_load = 0;
    // Frames are no measure: each restart asks for the last seconds again, and counts them again.
    let time_us = |frame: &String| {
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        frame["time_us"].as_i64().unwrap()
    };
    // The greatest: the network's clock runs backwards now and then.
    let last = network.frames().iter().map(time_us).max().unwrap();
    let is_read = |state: &State| {
        let position: i64 =
            state.ledger().query_row("SELECT position FROM source", [], |row| row.get(0)).unwrap();
        position == last
    };
    let is_all = |state: &State, received: &BTreeSet<String>| {
        is_read(state) && state.buckets().get("ticketed") == Some(&(received.len() as i64))
    };
    patiently("all tickets", async {
        for restart in 0.. {
            // As a package does: the new file takes the name of the old one, which may still run.
            let new = state.path().join("vigie.new");
            // By a process of its own: what another test starts meanwhile would have our file open for writing.
            assert!(Command::new("cp").arg(binary()).arg(&new).status().unwrap().success());
            std::fs::rename(&new, &installed).unwrap();
            let daemon = held.start(&state, &installed);
            let mut client = connect(&state).await;
            let mut taken = 0;
            while taken < 20 || restart >= 4 {
                let Ok(delivery) = tokio::time::timeout(Duration::from_millis(100), client.next()).await
                else {
                    if is_all(&state, &received) {
                        break;
                    }
                    continue;
                };
                let delivery = delivery.unwrap();
                if let Some(ticket) = ticket_of(&delivery) {
                    assert!(!durable.contains(&ticket), "{ticket} came again after its ack was durable");
                    received.insert(ticket);
                }
                client.ack(vec![delivery.seq]).await.unwrap();
                taken += 1;
            }
            let is_done = is_all(&state, &received);
            if is_done {
                client.settle().await.unwrap();
            }
            // The client stays until it is told goodbye; what it does not answer any more comes again.
            tokio::spawn(async move { while client.next().await.is_ok() {} });
            let log = tokio::task::spawn_blocking(move || terminate(daemon)).await.unwrap();
            assert!(log.contains("drained"), "{log}");
            under_load += u32::from(!is_read(&state));
            durable = state.acknowledged("helpdesk");
            if is_done {
                break;
            }
        }
    })
    .await;
    assert_eq!(received, network.expected_tickets(&state));
    assert_eq!(durable, received);
    under_load
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_while_no_daemon_runs_waits_for_it() {
    let network = Network::new(200, 0.2);
    let state = State::new("");
    let held = Held::new(&state, &network);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let http = held.http.local_addr().unwrap();

    let waiting = tokio::spawn({
        let socket = Address::Unix(state.socket());
        async move { Client::connect(&socket, "early", 1).await }
    });
    let page = tokio::task::spawn_blocking(move || get(&http.to_string(), "/healthz"));
    let daemon = held.start(&state, &binary());
    let mut client = patiently("a welcome", waiting).await.unwrap().unwrap();
    patiently("a ticket", client.next()).await.unwrap();
    assert!(patiently("the page", page).await.unwrap().ends_with("ok\n"));
    let log = terminate(daemon);
    assert!(log.contains("sockets=tickets (unix), http"), "{log}");
    assert!(state.socket().exists(), "a socket that somebody else made is left where it is");

    // Without one handed over it opens its own, as the address is free now.
    drop(held);
    std::fs::remove_file(state.socket()).unwrap();
    drop(state.start());
}

#[tokio::test(flavor = "multi_thread")]
async fn systemds_own_tool_hands_sockets_over_as_we_take_them() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        return skip("systemd-socket-activate is not installed");
    }
    let network = Network::new(200, 0.2);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let mut command = Command::new("systemd-socket-activate");
    command.arg("-l").arg(state.socket()).arg("--fdname=tickets").arg(binary()).args(["run", "-c"]);
    let daemon = command.arg(&state.config).stderr(Stdio::piped()).spawn().unwrap();
    let begun = std::time::Instant::now();
    while !state.socket().exists() {
        assert!(begun.elapsed() < PATIENCE, "no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The tool starts the daemon when somebody connects, and becomes it.
    let mut client = patiently("a welcome", connect(&state)).await;
    patiently("a ticket", client.next()).await.unwrap();
    let log = terminate(daemon);
    assert!(log.contains("sockets=tickets (unix)"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_are_not_said_to_be_for_this_process_are_left_alone() {
    let state = State::new(&Network::new(1, 0.0).source());
    let other = UnixListener::bind(state.path().join("other.sock")).unwrap();
    for pid in ["''", "1"] {
        let sockets = [Some(other.try_clone().unwrap().into()), None];
        let mut daemon = handing_to(pid, &binary(), &state, "nonsense", sockets).spawn().unwrap();
        let begun = std::time::Instant::now();
        while !state.socket().exists() {
            assert_eq!(daemon.try_wait().unwrap(), None, "LISTEN_PID={pid}");
            assert!(begun.elapsed() < PATIENCE, "no socket of its own");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Told to end before it runs it would leave its socket's file to the next one.
        drop(patiently("a welcome", connect(&state)).await);
        let log = terminate(daemon);
        assert!(!log.contains("sockets="), "LISTEN_PID={pid}: {log}");
        assert!(!state.socket().exists(), "its own socket went with it");
    }
}

#[test]
fn a_socket_that_fits_nothing_is_named_and_no_restart_would_cure_it() {
    let network = Network::new(1, 0.0);
    let state = State::new("");
    let held = Held::new(&state, &network);
    let other = UnixListener::bind(state.path().join("other.sock")).unwrap();
    let unix = |listener: &UnixListener| Some(OwnedFd::from(listener.try_clone().unwrap()));
    let (client, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let [tickets, http] = held.copies();
    let check = |names: &str, sockets: [Option<OwnedFd>; 2], expected: &str| {
        let output = handing(&binary(), &state, names, sockets).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(expected), "{expected} is missing in: {said}");
    };
    check(
        "vigie.socket",
        [unix(&other), None],
        "socket 3 that systemd hands over is named \"vigie.socket\": FileDescriptorName= must be \"tickets\" or \"http\"",
    );
    check("http", [unix(&other), None], "socket 3 that systemd hands over as \"http\" is a Unix socket");
    check(
        "tickets:tickets",
        [unix(&other), unix(&held.tickets)],
        "socket 4 that systemd hands over as \"tickets\" is the second of its kind",
    );
    check("tickets", [Some(client.into()), None], "does not listen");
    check("tickets", [Some(datagrams.into()), None], "is neither a Unix nor a TCP stream socket");
    let elsewhere = format!(
        "for \"tickets\" that listens on {}/other.sock, but [wire] unix is {}: make them the same",
        state.path().display(),
        state.socket().display()
    );
    check("tickets", [unix(&other), None], &elsewhere);
    check(
        "http:tickets",
        [tickets, http].map(|_| Some(held.http.try_clone().unwrap().into())),
        "but [wire] tcp is not set",
    );
}
