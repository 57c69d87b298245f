//! What the service manager and the operator's signals meet: start, reload, watchdog, end.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{BRAND, Network, PATIENCE, State, vigie};

/// What the daemon tells its service manager.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(state: &State) -> Manager {
        let path = state.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, path }
    }

    /// Starts a daemon that tells us.
    fn start(&self, state: &State, watchdog: Option<Duration>) -> Child {
        let mut command = vigie();
        command.args(["run", "-c"]).arg(&state.config).env("NOTIFY_SOCKET", &self.path);
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message in time");
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
        let since: u64 = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap().parse().unwrap();
        assert!(since > 0);
        // Between the two nothing else is said: whoever waits for READY has the reload's own status.
        let ready = manager.next();
        assert_eq!(ready[0], "READY=1");
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
    for lanes in 1..=20 {
        std::fs::write(&state.config, right.replace("[engine]", &format!("[engine]\nlanes = {lanes}"))).unwrap();
        daemon.signal("HUP");
    }
    std::fs::write(&state.config, format!("{right}\n[log]\nlevel = \"debug\"\n[desk]\nunsupported_min = 0.5\n")).unwrap();
    daemon.signal("HUP");
    daemon.wait_for("log_level=DEBUG");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("DEBUG"), "what is logged at debug level follows the reload: {log}");
}

#[test]
fn the_log_level_changes_while_the_daemon_runs() {
    let state = State::new(&Network::new(1, 0.0).source());
    let daemon = state.start();
    let right = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, format!("{right}\n[log]\nlevel = \"error\"\n")).unwrap();
    daemon.signal("HUP");
    // Said before the new level holds would be too early, and after it not at all.
    daemon.wait_for("log_level=ERROR");
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

/// Starts to drain a daemon that cannot: its source is patient, and its ledger is locked by somebody else.
fn draining_for_ever(state: &State, manager: &Manager) -> (Child, rusqlite::Connection) {
    let daemon = manager.start(state, None);
    manager.wait_for("READY=1");
    let ledger = state.ledger();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    signal(&daemon, "TERM");
    manager.wait_for("STOPPING=1");
    (daemon, ledger)
}

#[test]
fn a_second_signal_ends_a_drain_at_once_and_says_what_that_means() {
    for (name, expected) in [("TERM", 143), ("INT", 130)] {
        let state = State::new(&endless_lines());
        let manager = Manager::new(&state);
        let (daemon, _ledger) = draining_for_ever(&state, &manager);
        let begun = Instant::now();
        signal(&daemon, name);
        let (code, log) = log_of(daemon);
        assert_eq!(code, Some(expected), "{log}");
        assert!(log.contains(&format!("a second time, by SIG{name}: ended at once and not drained")), "{log}");
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn a_reload_is_not_taken_while_draining() {
    let state = State::new(&endless_lines());
    let manager = Manager::new(&state);
    let (daemon, ledger) = draining_for_ever(&state, &manager);
    signal(&daemon, "HUP");
    drop(ledger);
    let (_, log) = log_of(daemon);
    assert!(log.contains("a reload is not taken while draining") && !log.contains("reloaded"), "{log}");
}

/// Of a file that is read at once.
fn endless_lines() -> String {
    let folder = std::env::temp_dir().join(format!("vigie-lines-{}", std::process::id()));
    let lines: String = (0..2_000)
        .map(|n| format!("{{\"id\":\"{n}\",\"author\":\"a\",\"text\":\"@lumio panne {n}\"}}\n"))
        .collect();
    std::fs::write(&folder, lines).unwrap();
    format!("[[source]]\nkind = \"ndjson\"\npath = \"{}\"\n", folder.display())
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
    std::fs::write(&state.config, right.replace("[[brand]]", "[[brand]]\nnonsense = 1\nrubbish = 2")).unwrap();
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
    assert!(!log.contains("20\u{32}\u{36}-"), "no time stamps: {log}");
    let _ = BRAND;
}
