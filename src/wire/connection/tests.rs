//! Real sockets in a temporary folder, and a door that fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::*;
use crate::access::brands::Brands;
use crate::access::{Grant, Rights, Roster};
use crate::wire::client::{Address, Client, ClientError, Introduction};
use crate::wire::conversation::tests::Memory;

mod tls;

fn config(path: &Path) -> Config {
    Config { unix: Some(path.to_owned()), ..Config::default() }
}

fn grant(name: &str, brands: Option<&[&str]>) -> Grant {
    let brands = brands.and_then(|brands| Brands::new(brands.iter().map(|brand| (*brand).to_owned())));
    Grant { name: name.into(), rights: Rights::SOCKET, brands }
}

fn access(tokens: &[(&str, Grant)]) -> Arc<Access> {
    let mut roster = Roster::default();
    tokens.iter().for_each(|(secret, grant)| assert!(roster.add_token(secret, grant.clone())));
    Arc::new(Access::new(roster))
}

fn introduction(subscription: &str) -> Introduction {
    Introduction { client: "test".into(), subscription: subscription.into(), ..Default::default() }
}

#[tokio::test]
async fn a_client_is_served_over_a_unix_socket_and_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.sock");
    let tcp = Some("127.0.0.1:0".parse().unwrap());
    let config = Config { tcp, access: access(&[("swordfish", grant("bridge", None))]), ..config(&path) };
    let listener = Listener::bind(config).unwrap();
    let addresses = [Address::Unix(path.clone()), Address::Tcp(listener.tcp_address().unwrap().to_string())];
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let memory = Memory::new();
    memory.record(&[1, 2]);
    let stop = watch::Sender::new(false);
    let served = tokio::spawn(listener.serve(memory.hub(), stop.subscribe()));
    for address in &addresses {
        let refused = Client::connect(address, introduction("desk")).await;
        assert!(matches!(refused, Err(ClientError::Goodbye { code: Code::TokenRefused, .. })));
        let introduction = Introduction {
            token: "swordfish".into(),
            ..introduction(&address.to_string().replace(['/', ':'], "."))
        };
        let mut client = Client::connect(address, introduction).await.unwrap();
        assert_eq!(client.next().await.unwrap().seq, 2);
        client.ack(&[2]).await.unwrap();
        assert_eq!(client.next().await.unwrap().seq, 1);
        client.ack(&[1]).await.unwrap();
    }
    stop.send_replace(true);
    served.await.unwrap().unwrap();
    assert!(!path.exists(), "the socket file goes with the daemon");
}

#[tokio::test]
async fn clients_over_the_limit_are_told_and_a_place_that_is_left_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.sock");
    let listener = Listener::bind(Config { connections_max: 2, ..config(&path) }).unwrap();
    let stop = watch::Sender::new(false);
    let served = tokio::spawn(listener.serve(Memory::new().hub(), stop.subscribe()));
    let address = Address::Unix(path);
    let _first = Client::connect(&address, introduction("desk")).await.unwrap();
    let second = Client::connect(&address, introduction("desk")).await.unwrap();
    let refused = Client::connect(&address, introduction("desk")).await.err().unwrap();
    assert!(matches!(&refused, ClientError::Goodbye { code: Code::TooManyConnections, .. }), "{refused}");
    assert!(refused.is_transient());
    drop(second);
    let mut third = loop {
        match Client::connect(&address, introduction("desk")).await {
            Ok(client) => break client,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    };
    stop.send_replace(true);
    let farewell = third.next().await.unwrap_err();
    assert!(matches!(&farewell, ClientError::Goodbye { code: Code::Shutdown, .. }), "{farewell}");
    served.await.unwrap().unwrap();
}

/// Closing a socket with unread bytes resets it, and a reset destroys what the other side has not read.
#[tokio::test]
async fn a_client_sent_away_in_the_middle_of_a_frame_still_reads_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.sock");
    let listener = Listener::bind(config(&path)).unwrap();
    let stop = watch::Sender::new(false);
    let served = tokio::spawn(listener.serve(Memory::new().hub(), stop.subscribe()));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut long = vec![0x80, 0x80, 0x80, 0x01];
    long.resize(2 * 1024 * 1024, 7);
    stream.write_all(&long).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("frame of 2097152 bytes exceeds"), "{answer:?}");
    drop(stream);
    stop.send_replace(true);
    served.await.unwrap().unwrap();
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let live = Listener::bind(config(&path)).unwrap();
    let error = Listener::bind(config(&path)).unwrap_err();
    assert!(matches!(error, BindError::AnotherDaemon { .. }), "{error}");
    assert_eq!(error.to_string(), format!("{}: another daemon is listening", path.display()));
    drop(live);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_socket_that_took_our_place_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.sock");
    let ours = Listener::bind(config(&path)).unwrap();
    // Kept beside, so that the other file cannot be given the same inode.
    std::fs::rename(&path, folder.path().join("aside")).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
}

#[test]
fn what_cannot_be_bound_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let check = |config: Config, expected: &str| {
        let error = Listener::bind(config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    check(Config::default(), "neither");
    check(config(&file), "file: exists and is not a socket");
    check(config(&folder.path().join("missing/vigie.sock")), "missing/vigie.sock: No such file");
    check(Config { tcp: Some(address), ..Config::default() }, &format!("{address}: Address already in use"));
    let open = Some("0.0.0.0:0".parse().unwrap());
    check(
        Config { tcp: open, ..Config::default() },
        "tcp = 0.0.0.0:0: a listener that others can reach needs a token or a certificate",
    );
    let fine = || config(&folder.path().join("s"));
    check(
        Config { frame_bytes_max: 2_000_000, ..fine() },
        "frame_bytes_max = 2000000: must be 4096 to 1048576",
    );
    check(Config { window_max: 0, ..fine() }, "window_max = 0: must be 1 to 65536");
    check(Config { handshake_max: Duration::from_secs(6), ..fine() }, "handshake_max = 6s: must be");
    check(Config { heartbeat_interval: Duration::ZERO, ..fine() }, "heartbeat_interval = 0ns: must be");
    check(Config { write_max: Duration::ZERO, ..fine() }, "write_max = 0ns: must be");
    check(Config { connections_max: 0, ..fine() }, "connections_max = 0: must be at least 1");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn the_systems_limit_of_open_files_is_read_where_there_is_one() {
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                  Max processes             96235                96235                processes \n\
                  Max open files            1024                 524288               files     \n";
    assert_eq!(open_files_max(limits), Some(1024));
    assert_eq!(open_files_max(&limits.replace("1024  ", "unlimited")), None);
    assert!(open_files_max(&std::fs::read_to_string("/proc/self/limits").unwrap()).is_some());
}

/// Fails as an exhausted system does, some times before each client.
struct StickyDoor {
    failures: AtomicUsize,
    clients: tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>,
}

impl Door for StickyDoor {
    type Stream = DuplexStream;

    const IS_NETWORK: bool = false;

    async fn admit(&self) -> io::Result<(DuplexStream, Peer)> {
        if self.failures.fetch_sub(1, Ordering::SeqCst) > 1 {
            const EMFILE: i32 = 24;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        self.failures.store(1, Ordering::SeqCst);
        match self.clients.lock().await.recv().await {
            Some(client) => Ok((client, Peer::User(1))),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_accept_is_tried_again_after_a_pause() {
    let (dial, clients) = mpsc::channel(1);
    let door = StickyDoor { failures: AtomicUsize::new(6), clients: clients.into() };
    let stop = watch::Sender::new(false);
    let memory = Memory::new();
    let guests = Guests {
        hub: memory.hub(),
        terms: Arc::default(),
        access: Arc::default(),
        reachable: false,
        gate: Gates::new(&Config::default()).unix,
        stop: stop.subscribe(),
    };
    let attended = tokio::spawn(attend(door, None, guests));
    let (ours, theirs) = tokio::io::duplex(4096);
    let since = tokio::time::Instant::now();
    dial.send(theirs).await.unwrap();
    let client = Client::over(ours, introduction("desk")).await.unwrap();
    assert_eq!(since.elapsed(), 5 * ACCEPT_PAUSE);
    assert_eq!(client.welcome().pending, 0);
    stop.send_replace(true);
    drop(client);
    attended.await.unwrap();
}
