//! A real daemon in a folder of its own, and a network for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firehose::client::{Address, Client, proto};
use firehose::{JetstreamConfig, Mix, Rate, Script, Serving};
use proto::delivery::Record;
use tempfile::TempDir;

/// Longest wait for anything that must happen: far above what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// A brand whose posts the small model reads: where labels do not matter.
pub(crate) const QUICK_BRAND: &str = r#"
    [[brand]]
    name = "Lumio"
    handles = ["@lumio"]
    names = ["lumio"]
    [model]
    name = "small"
    runtime = "rten"
"#;

/// The brand that firehose's posts are about.
pub(crate) const BRAND: &str = r#"
    [[brand]]
    name = "Lumio"
    handles = ["@lumio", "@lumio_help", "@lumio.bsky.social"]
    names = ["lumio", "lumiobox", "lumio mobile"]
    exclude = ["lumio festival", "lumio lamp"]
    [model]
    runtime = "rten"
    # A replay reads everything with the full model; a network at full rate would not leave it the time.
    [engine]
    under_load = "same"
"#;

/// A command of the binary under test.
pub(crate) fn vigie() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vigie"))
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end with `input` on stdin.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input is free to end before.
            drop(std::io::Write::write_all(&mut stdin, input));
        });
        child.wait_with_output().unwrap()
    });
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The invented authors write often: what these tests count is tickets, one a post. `conversations` goes without it.
pub(crate) const CONVERSATION: &str = "[conversation]\njoin_hours = 0\nothers = false\n";

/// A folder with a config, in which a daemon can be started and killed.
pub(crate) struct State {
    pub(crate) folder: TempDir,
    pub(crate) config: PathBuf,
}

impl State {
    /// A config with these sources and our brand; everything else in the folder.
    pub(crate) fn new(sources: &str) -> State {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("vigie.toml");
        let state = State { folder, config };
        state.configure(sources, BRAND);
        state
    }

    pub(crate) fn configure(&self, sources: &str, brands: &str) {
        let path = self.folder.path().display();
        let mut text = String::new();
        write!(
            text,
            "{sources}\n{brands}\n[ledger]\npath = \"{path}/ledger.sqlite\"\n\
             [wire]\nunix = \"{path}/vigie.sock\"\n[http]\nlisten = \"127.0.0.1:0\"\n{CONVERSATION}"
        )
        .unwrap();
        std::fs::write(&self.config, text).unwrap();
    }

    /// Puts more keys into a table that the config has already.
    pub(crate) fn configure_more(&self, table: &str, keys: &str) {
        let head = format!("[{table}]\n");
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(&head), "{text}");
        std::fs::write(&self.config, text.replace(&head, &format!("{head}{keys}\n"))).unwrap();
    }

    /// A source that reads the plain posts in the folder's `posts.ndjson`.
    pub(crate) fn posts_source(&self) -> String {
        let posts = self.path().join("posts.ndjson");
        format!("[[source]]\nkind = \"ndjson\"\nformat = \"plain\"\npath = \"{}\"\n", posts.display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("vigie.sock")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the daemon and waits until it says that it runs.
    pub(crate) fn start(&self) -> Daemon {
        self.start_as(vigie().args(["run", "-c"]).arg(&self.config))
    }

    /// The same with a command of one's own.
    pub(crate) fn start_as(&self, command: &mut Command) -> Daemon {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("running") {
            let bytes = log.read_line(&mut seen).unwrap();
            assert!(bytes > 0, "the daemon ended before it ran:\n{seen}");
        }
        // The rest of the log is read to the end, so that a full pipe never stops the daemon.
        let logged = Arc::new(Mutex::new(String::new()));
        let (log_of, mut line) = (logged.clone(), Vec::new());
        let rest = std::thread::Builder::new().spawn(move || {
            while log.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                log_of.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Daemon { child, started: seen, logged, rest: Some(rest.unwrap()) }
    }

    pub(crate) async fn subscribe(&self, name: &str, window: u32) -> Client {
        Client::connect(&Address::Unix(self.socket()), name, window).await.unwrap()
    }

    pub(crate) fn ledger(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("ledger.sqlite")).unwrap()
    }

    /// Frames that have ended in a bucket.
    pub(crate) fn frames(&self) -> i64 {
        self.buckets().values().sum()
    }

    /// Tickets that a subscription has acknowledged durably.
    pub(crate) fn acknowledged(&self, subscription: &str) -> std::collections::BTreeSet<String> {
        let ledger = self.ledger();
        let sql = "SELECT lower(hex(t.id)) FROM acknowledgement a JOIN ticket t ON t.seq = a.seq WHERE a.subscription = ?1";
        let mut statement = ledger.prepare(sql).unwrap();
        statement.query_map([subscription], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Tickets whose text their authors have taken back.
    pub(crate) fn erased(&self) -> std::collections::BTreeSet<String> {
        let ledger = self.ledger();
        let sql = "SELECT lower(hex(id)) FROM ticket WHERE erased_at_us IS NOT NULL";
        let mut statement = ledger.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Changes of tickets that are recorded.
    pub(crate) fn updates(&self) -> i64 {
        self.ledger().query_row("SELECT count(*) FROM record WHERE kind = 1", [], |row| row.get(0)).unwrap()
    }

    /// Where the frames ended, as stored.
    pub(crate) fn buckets(&self) -> BTreeMap<String, i64> {
        let ledger = self.ledger();
        let mut statement = ledger.prepare("SELECT bucket, sum(frames) FROM bucket GROUP BY bucket").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// What it logged until it ran.
    started: String,
    /// What it has logged since.
    logged: Arc<Mutex<String>>,
    rest: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    /// Where its console listens.
    pub(crate) fn console(&self) -> String {
        let (_, rest) = self.started.split_once("console=").unwrap();
        rest.split_once(char::is_whitespace).unwrap().0.to_owned()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to drain, and gives how it ended and what it logged.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        self.rest.take().unwrap().join().unwrap();
        let log = self.logged.lock().unwrap().clone();
        (status, log)
    }

    /// Waits until it ends of itself, and gives how, and what it logged.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let begun = std::time::Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.logged.lock().unwrap());
        };
        self.rest.take().unwrap().join().unwrap();
        let log = self.logged.lock().unwrap().clone();
        (status, log)
    }

    /// Waits until it has logged this, be it before it said that it runs.
    pub(crate) fn wait_for(&self, text: &str) {
        let begun = std::time::Instant::now();
        while !(self.started.contains(text) || self.logged.lock().unwrap().contains(text)) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {text:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address of ours alone while the tests run, at which nobody listens until somebody who names it does: the system
/// gives a port that is bound to none who asks for any.
pub(crate) fn reserved() -> std::net::SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Whoever listens there later says the same.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A network of `events` invented posts, at an address that stays the same when it is served again.
pub(crate) struct Network {
    pub(crate) config: JetstreamConfig,
}

impl Network {
    pub(crate) fn new(events: u64, share: f64) -> Network {
        // In the past, so that a server at full rate can hand out everything at once.
        let start = jiff::Timestamp::from_second(1_790_000_000).unwrap();
        Network {
            config: JetstreamConfig {
                listen: reserved(),
                rate: Rate::Max,
                share,
                confusing: share / 2.0,
                events: Some(events),
                start: Some(start),
                ..JetstreamConfig::default()
            },
        }
    }

    pub(crate) fn source(&self) -> String {
        format!("[[source]]\nkind = \"jetstream\"\nurl = \"ws://{}/subscribe\"\n", self.config.listen)
    }

    pub(crate) async fn serve(&self, stop: tokio::sync::oneshot::Receiver<()>) -> Serving {
        firehose::serve(self.config.clone(), async { drop(stop.await) }).await.unwrap()
    }

    /// Every frame that a subscription to posts receives, in order.
    pub(crate) fn frames(&self) -> Vec<String> {
        let script = Script::new(&self.config, Mix::Posts).unwrap();
        let timeline = script.timeline();
        (timeline.start()..timeline.end()).map(|n| script.event(n).frame).collect()
    }

    /// The ids of the tickets that `vigie replay` makes of these posts.
    pub(crate) fn expected_tickets(&self, state: &State) -> std::collections::BTreeSet<String> {
        let frames = self.frames().join("\n");
        let output = run(vigie().args(["replay", "-c"]).arg(&state.config).arg("-"), frames.as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        output
            .stdout
            .lines()
            .filter_map(|line| {
                let ticket: serde_json::Value = serde_json::from_str(line).unwrap();
                Some(ticket["id"].as_str()?.to_owned())
            })
            .collect()
    }
}

/// What the console answers, with its head.
pub(crate) fn get(console: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(console).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {console}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until so many records of a subscription are on their way to its clients.
pub(crate) async fn until_in_flight(console: &str, subscription: &str, expected: u64) {
    patiently("the records on their way", async {
        loop {
            let answer = get(console, "/v1/status");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            let status: serde_json::Value = serde_json::from_str(body).unwrap();
            let all = status["subscriptions"].as_array().unwrap();
            let this = all.iter().find(|other| other["name"] == subscription);
            if this.is_some_and(|this| this["in_flight"] == expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Says why a test checks nothing here; where `VIGIE_TEST_NO_SKIP` is set that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("VIGIE_TEST_NO_SKIP").is_none(), "skipped: {why}");
    println!("skipped: {why}");
}

/// Hexadecimal, as `vigie tail --json` and `replay` show ids.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The ticket's id, if the delivery is a ticket.
pub(crate) fn ticket_of(delivery: &proto::Delivery) -> Option<String> {
    match &delivery.record {
        Some(Record::Ticket(ticket)) => Some(hex(&ticket.id)),
        _ => None,
    }
}

/// Fails the test when `wait` takes for ever.
pub(crate) async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
