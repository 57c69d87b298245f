//! What the service manager and the operator's signals meet: start, reload, watchdog, end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{Network, PATIENCE, State, vigie};

/// What the daemon tells its service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(state: &State) -> Manager {
        let path = state.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, path }
    }

    /// A daemon that tells us.
    fn command(&self, state: &State, watchdog: Option<Duration>) -> Command {
        let mut command = vigie();
        command.args(["run", "-c"]).arg(&state.config).env("NOTIFY_SOCKET", &self.path);
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self, state: &State, watchdog: Option<Duration>) -> Child {
        self.command(state, watchdog).spawn().unwrap()
    }

    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        // A signal of another test's children may interrupt the wait.
        let length = loop {
            match self.socket.recv(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.expect("a message in time"),
            }
        };
        String::from_utf8(bytes[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// The next message with a line that begins so; others that came before it are passed over.
    fn wait_for(&self, start: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|line| line.starts_with(start)) {
                return message;
            }
        }
    }
}

fn signal(daemon: &Child, signal: &str) {
    let pid = daemon.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

fn status_of(message: &[String]) -> &str {
    message.iter().find_map(|line| line.strip_prefix("STATUS=")).unwrap()
}

fn log_of(daemon: Child) -> (Option<i32>, String) {
    let output = daemon.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// What a daemon that runs writes, as it comes.
struct Log {
    lines: BufReader<ChildStderr>,
    said: String,
}

impl Log {
    fn of(daemon: &mut Child) -> Log {
        Log { lines: BufReader::new(daemon.stderr.take().unwrap()), said: String::new() }
    }

    /// Reads on until this was said.
    fn wait_for(&mut self, expected: &str) {
        while !self.said.contains(expected) {
            assert!(
                self.lines.read_line(&mut self.said).unwrap() > 0,
                "{expected} is missing in: {}",
                self.said
            );
        }
    }

    /// All of it, once the daemon has ended.
    fn rest(mut self) -> String {
        self.lines.read_to_string(&mut self.said).unwrap();
        self.said
    }
}

/// sd_notify(3), and systemd.service(5) on `Type=notify-reload`: `RELOADING=1` with the time in the same message,
/// `READY=1` when the reload is over.
#[test]
fn the_service_manager_is_told_of_start_reloads_and_the_end() {
    let network = Network::new(1, 0.0);
    let state = State::new(&network.source());
    let manager = Manager::new(&state);
    let daemon = manager.start(&state, None);
    assert!(status_of(&manager.wait_for("EXTEND_TIMEOUT_USEC=")).starts_with("starting"));
    assert_eq!(manager.wait_for("READY=1")[1], "STATUS=running");

    let reload = |expected: &str| {
        signal(&daemon, "HUP");
        let reloading = manager.wait_for("RELOADING=1");
        let since: u64 =
            reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap().parse().unwrap();
        assert!(since > 0);
        let ready = manager.wait_for("READY=1");
        assert!(status_of(&ready).starts_with(expected), "{ready:?}");
    };
    reload("reloaded");
    let right = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, right.replace("[[brand]]", "[[brand]]\nnonsense = 1")).unwrap();
    reload("reload refused, the running config stays: config ");
    std::fs::write(&state.config, right.replace("[engine]", "[engine]\nqueue_batches = 7")).unwrap();
    reload("reloaded, but for what takes a restart: engine.queue_batches");

    signal(&daemon, "TERM");
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping.iter().any(|line| line == "EXTEND_TIMEOUT_USEC=15000000"), "{stopping:?}");
    let (code, log) = log_of(daemon);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("taken only by a restart") && log.contains("engine.queue_batches"), "{log}");
}

#[test]
fn why_a_daemon_ended_by_itself_stays_in_its_status() {
    let state = State::new(&Network::new(1, 0.0).source());
    std::fs::write(state.path().join("ledger.sqlite"), "not a database, but notes ".repeat(100)).unwrap();
    let manager = Manager::new(&state);
    let daemon = manager.start(&state, None);
    let status = manager.wait_for("STATUS=ended: ");
    assert!(status_of(&status).contains("ledger.sqlite: file is not a database"), "{status:?}");
    assert_eq!(log_of(daemon).0, Some(1));
}

#[test]
fn the_watchdog_is_fed_by_a_daemon_whose_source_is_silent_and_whose_clients_are_absent() {
    // Nobody serves this network.
    let state = State::new(&Network::new(1, 0.0).source());
    let manager = Manager::new(&state);
    let mut daemon = manager.start(&state, Some(Duration::from_secs(2)));
    manager.wait_for("READY=1");
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    let status = manager.wait_for("STATUS=running: 0 of 1 sources connected");
    assert!(status_of(&status).contains("(bluesky: "), "{status:?}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn reloads_that_come_together_end_in_the_newest_config() {
    let network = Network::new(1, 0.0);
    let state = State::new(&network.source());
    let daemon = state.start();
    let right = std::fs::read_to_string(&state.config).unwrap();
    for points in 1..=20 {
        std::fs::write(&state.config, format!("{right}\n[priority]\naddressed = {points}\n")).unwrap();
        daemon.signal("HUP");
    }
    std::fs::write(&state.config, format!("{right}\n[log]\nlevel = \"debug\"\n")).unwrap();
    daemon.signal("HUP");
    daemon.wait_for("log_level=DEBUG");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn the_log_level_changes_while_the_daemon_runs() {
    let state = State::new(&Network::new(1, 0.0).source());
    let daemon = state.start();
    let right = std::fs::read_to_string(&state.config).unwrap();
    let reload = |level: &str| {
        std::fs::write(&state.config, format!("{right}\n[log]\nlevel = \"{level}\"\n")).unwrap();
        daemon.signal("HUP");
        // Said whatever the level was and is.
        daemon.wait_for(&format!("log_level={}", level.to_uppercase()));
    };
    reload("error");
    reload("warn");
    std::fs::write(&state.config, "nonsense = 1\n").unwrap();
    daemon.signal("HUP");
    daemon.wait_for("reload refused");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    let (_, since) = log.split_once("log_level=ERROR").unwrap();
    assert!(!since.contains("draining"), "INFO is not logged any more: {log}");
}

#[test]
fn a_signal_while_the_daemon_starts_ends_it() {
    let state = State::new(&Network::new(1, 0.0).source());
    // A config on a pipe that nobody writes to: the start takes for ever.
    std::fs::remove_file(&state.config).unwrap();
    assert!(Command::new("mkfifo").arg(&state.config).status().unwrap().success());
    let manager = Manager::new(&state);
    for (name, hangup_first) in [("TERM", false), ("INT", true)] {
        let daemon = manager.start(&state, None);
        manager.wait_for("EXTEND_TIMEOUT_USEC=");
        if hangup_first {
            signal(&daemon, "HUP");
        }
        signal(&daemon, name);
        let (code, log) = log_of(daemon);
        assert_eq!(code, Some(0), "{name}: {log}");
    }
}

/// Begins a reload that takes until somebody writes into the config, which is a pipe.
fn reload_for_ever(state: &State, manager: &Manager, daemon: &Child) {
    std::fs::remove_file(&state.config).unwrap();
    assert!(Command::new("mkfifo").arg(&state.config).status().unwrap().success());
    signal(daemon, "HUP");
    manager.wait_for("RELOADING=1");
}

#[test]
fn a_reload_under_way_does_not_hold_up_the_end() {
    let state = State::new(&Network::new(1, 0.0).source());
    let manager = Manager::new(&state);
    let daemon = manager.start(&state, None);
    manager.wait_for("READY=1");
    reload_for_ever(&state, &manager, &daemon);
    signal(&daemon, "TERM");
    manager.wait_for("STOPPING=1");
    let (code, log) = log_of(daemon);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("drained") && !log.contains("reload"), "{log}");
}

#[test]
fn a_reload_that_is_ready_only_while_draining_changes_nothing() {
    let state = State::new(&Network::new(1, 0.0).source());
    let (manager, disk) = (Manager::new(&state), Disk::new(&state));
    let right = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, format!("{right}\n[log]\nlevel = \"debug\"\n")).unwrap();
    let mut daemon = start_over(&disk, &state, &manager, None);
    let right = std::fs::read_to_string(&state.config).unwrap();
    let _tail = disk.stall(&state);
    reload_for_ever(&state, &manager, &daemon);
    signal(&daemon, "TERM");
    manager.wait_for("STOPPING=1");
    std::fs::write(&state.config, right).unwrap();
    let mut log = Log::of(&mut daemon);
    log.wait_for("the config was read and compiled ready=true");
    // Whoever answers this has had the time to take it.
    signal(&daemon, "HUP");
    log.wait_for("a reload is not taken while draining");
    std::fs::remove_file(&disk.stalls).unwrap();
    let said = log.rest();
    assert!(daemon.wait().unwrap().success(), "{said}");
    assert!(!said.contains("reloaded"), "{said}");
}

#[test]
fn a_fault_during_a_reload_ends_the_daemon_with_its_reason() {
    let state = State::new(&Network::new(1, 0.0).source());
    let manager = Manager::new(&state);
    let daemon = manager.start(&state, None);
    manager.wait_for("READY=1");
    reload_for_ever(&state, &manager, &daemon);
    // Somebody has taken the ledger apart: the commit of a subscription fails.
    state.ledger().execute_batch("ALTER TABLE subscription RENAME TO gone").unwrap();
    let _tail = Tail::start(&state);
    assert!(status_of(&manager.wait_for("STATUS=ended: ")).contains("no such table"));
    let (code, log) = log_of(daemon);
    assert_eq!(code, Some(1), "{log}");
}

/// A disk that does not answer: while a file is there, no fsync of the daemon comes back.
struct Disk {
    library: PathBuf,
    stalls: PathBuf,
}

impl Disk {
    fn new(state: &State) -> Disk {
        let library = state.path().join("stall.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stall.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().unwrap().success());
        Disk { library, stalls: state.path().join("stalls") }
    }

    /// Lets a daemon that runs wait for it for ever: for the commit of a new subscription.
    fn stall(&self, state: &State) -> Tail {
        std::fs::write(&self.stalls, "").unwrap();
        let tail = Tail::start(state);
        let waits = self.stalls.with_extension("waits");
        let begun = Instant::now();
        while !waits.exists() {
            assert!(begun.elapsed() < PATIENCE, "no fsync met the stall");
            std::thread::sleep(Duration::from_millis(10));
        }
        tail
    }
}

/// A client; killed when dropped.
struct Tail(Child);

impl Tail {
    /// With a subscription that the ledger does not know yet.
    fn start(state: &State) -> Tail {
        let mut tail = vigie();
        tail.args(["tail", "--name", "late", "--socket"]).arg(state.socket());
        Tail(tail.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a daemon over this disk that has five minutes to drain.
fn start_over(disk: &Disk, state: &State, manager: &Manager, watchdog: Option<Duration>) -> Child {
    let text = std::fs::read_to_string(&state.config).unwrap();
    let text = text.replace("[engine]", "[engine]\ndrain_max_ms = 300000");
    std::fs::write(&state.config, text).unwrap();
    let mut command = manager.command(state, watchdog);
    command.env("LD_PRELOAD", &disk.library).env("VIGIE_TEST_STALLS", &disk.stalls);
    let daemon = command.spawn().unwrap();
    manager.wait_for("READY=1");
    daemon
}

#[test]
fn a_commit_that_does_not_come_back_starves_the_watchdog_and_is_named_once() {
    let state = State::new(&Network::new(1, 0.0).source());
    let (manager, disk) = (Manager::new(&state), Disk::new(&state));
    let daemon = start_over(&disk, &state, &manager, Some(Duration::from_secs(2)));
    manager.wait_for("WATCHDOG=1");
    let _tail = disk.stall(&state);
    let named = "STATUS=vigie-ledger has been at one piece of work for ";
    manager.wait_for(named);
    for looks in 0..8 {
        let message = manager.next();
        assert!(!message.contains(&"WATCHDOG=1".to_owned()), "after {looks} more looks: {message:?}");
    }
    std::fs::remove_file(&disk.stalls).unwrap();
    manager.wait_for("WATCHDOG=1");
    signal(&daemon, "TERM");
    let (code, log) = log_of(daemon);
    assert_eq!(code, Some(0), "{log}");
    // On a busy machine the async threads may be late, too.
    let stuck = "stuck: the watchdog is not fed until it goes on stage=vigie-ledger";
    let goes_on = "goes on stage=vigie-ledger";
    // Once each time: a slow disk may be in its way a second time, at the start or the end.
    let told = log.lines().filter(|line| line.contains(stuck) || line.contains(goes_on));
    let told: Vec<bool> = told.map(|line| line.contains(stuck)).collect();
    assert!(told.starts_with(&[true, false]) && told.windows(2).all(|two| two[0] != two[1]), "{log}");
}

#[test]
fn a_second_signal_ends_a_drain_at_once_and_says_what_that_means() {
    for (name, expected) in [("TERM", 143), ("INT", 130)] {
        let state = State::new(&Network::new(1, 0.0).source());
        let (manager, disk) = (Manager::new(&state), Disk::new(&state));
        let daemon = start_over(&disk, &state, &manager, None);
        let _tail = disk.stall(&state);
        signal(&daemon, "TERM");
        manager.wait_for("STOPPING=1");
        // Nobody waits for a reload any more; the drain goes on.
        signal(&daemon, "HUP");
        signal(&daemon, name);
        let (code, log) = log_of(daemon);
        assert_eq!(code, Some(expected), "{log}");
        assert!(
            log.contains(&format!("a second time, by SIG{name}: ended at once and not drained")),
            "{log}"
        );
        assert!(disk.stalls.exists(), "the ledger never came back");
    }
}

#[test]
fn a_reload_is_not_taken_while_draining() {
    let state = State::new(&Network::new(1, 0.0).source());
    let (manager, disk) = (Manager::new(&state), Disk::new(&state));
    let mut daemon = start_over(&disk, &state, &manager, None);
    let _tail = disk.stall(&state);
    signal(&daemon, "TERM");
    manager.wait_for("STOPPING=1");
    signal(&daemon, "HUP");
    let mut log = Log::of(&mut daemon);
    log.wait_for("a reload is not taken while draining");
    std::fs::remove_file(&disk.stalls).unwrap();
    let said = log.rest();
    assert!(daemon.wait().unwrap().success(), "{said}");
    assert!(!said.contains("reloaded"), "{said}");
}

/// sd-daemon(3): a line that begins with `<N>` has this priority. journald's stream is told by its device and inode.
#[test]
fn on_journald_every_line_carries_its_priority() {
    use std::os::unix::fs::MetadataExt;
    let state = State::new(&Network::new(1, 0.0).source());
    let right = std::fs::read_to_string(&state.config).unwrap();
    let run = |is_journal: bool| {
        let log = state.path().join("journal");
        let file = std::fs::File::create(&log).unwrap();
        let metadata = file.metadata().unwrap();
        let named = format!("{}:{}", metadata.dev(), metadata.ino() + u64::from(!is_journal));
        let mut command = vigie();
        command.args(["run", "-c"]).arg(&state.config).env("JOURNAL_STREAM", named).stderr(file);
        let code = command.status().unwrap().code();
        (code, std::fs::read_to_string(&log).unwrap())
    };
    std::fs::write(&state.config, right.replace("[[brand]]", "[[brand]]\nnonsense = 1\nrubbish = 2"))
        .unwrap();
    let (code, log) = run(true);
    assert_eq!(code, Some(64));
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(log.lines().all(|line| line.starts_with("<3>")), "{log}");
    let (_, log) = run(false);
    assert!(log.starts_with("vigie: "), "{log}");

    // A fault after the logs have begun: a ledger that is none.
    std::fs::write(&state.config, &right).unwrap();
    std::fs::write(state.path().join("ledger.sqlite"), "not a database, but notes ".repeat(100)).unwrap();
    let (code, log) = run(true);
    assert_eq!(code, Some(1));
    assert!(log.lines().all(|line| line.starts_with("<3>")), "{log}");
}

#[test]
fn priorities_of_a_running_daemon_are_those_of_its_lines() {
    use std::os::unix::fs::MetadataExt;
    let state = State::new(&Network::new(1, 0.0).source());
    let manager = Manager::new(&state);
    let log = state.path().join("journal");
    let file = std::fs::File::create(&log).unwrap();
    let metadata = file.metadata().unwrap();
    let mut command = vigie();
    command.args(["run", "-c"]).arg(&state.config).env("NOTIFY_SOCKET", &manager.path);
    command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino())).stderr(file);
    let mut daemon = command.spawn().unwrap();
    manager.wait_for("READY=1");
    std::fs::write(&state.config, "nonsense = 1\n").unwrap();
    signal(&daemon, "HUP");
    manager.wait_for("STATUS=reload refused");
    signal(&daemon, "TERM");
    assert!(daemon.wait().unwrap().success());
    let log = std::fs::read_to_string(&log).unwrap();
    for expected in ["<6> INFO vigie", "<3>ERROR vigie", "<3>  line 1: nonsense = 1: unknown key"] {
        assert!(log.lines().any(|line| line.starts_with(expected)), "{expected} is missing in:\n{log}");
    }
    let is_stamped = |line: &str| line.get(3..7).is_some_and(|year| year.parse::<u16>().is_ok());
    assert!(!log.lines().any(is_stamped), "journald stamps lines itself: {log}");
}
