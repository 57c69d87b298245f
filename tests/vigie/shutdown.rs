//! How a daemon starts, reloads and ends, and what it says when it cannot.

use std::process::Command;

use crate::daemon::{BRAND, Network, State, run, skip, vigie};

fn refused(state: &State) -> (Option<i32>, String) {
    let output = run(vigie().args(["run", "-c"]).arg(&state.config), b"");
    (output.status.code(), output.stderr)
}

#[test]
fn a_second_daemon_on_the_same_ledger_is_refused() {
    let state = State::new(&Network::new(1, 0.0).source());
    let daemon = state.start();
    let (code, said) = refused(&state);
    assert_eq!(code, Some(1));
    assert!(said.contains("another vigie is using it"), "{said}");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

/// What a daemon says whose ledger is on a file system of its own, mounted with these options in a mount
/// namespace that ends with it; `None` where this user may not mount one.
fn on_a_disk(options: &str) -> Option<(Option<i32>, String, String)> {
    let state = State::new(&Network::new(1, 0.0).source());
    let disk = state.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let text = std::fs::read_to_string(&state.config).unwrap();
    let ledger = format!("{}/ledger.sqlite", disk.display());
    let before = format!("{}/ledger.sqlite", state.path().display());
    std::fs::write(&state.config, text.replace(&before, &ledger)).unwrap();
    let script = r#"mount -t tmpfs -o "$1" none "$2" && echo mounted && exec "$3" run -c "$4""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", options]).arg(&disk);
    let output = run(command.arg(env!("CARGO_BIN_EXE_vigie")).arg(&state.config), b"");
    if !output.stdout.contains("mounted") {
        skip(&format!("this user may not mount a file system: {}", output.stderr.trim()));
        return None;
    }
    Some((output.status.code(), output.stderr, ledger))
}

#[test]
fn a_state_folder_that_is_missing_is_named() {
    let state = State::new(&Network::new(1, 0.0).source());
    let text = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, text.replace("/ledger.sqlite", "/missing/ledger.sqlite")).unwrap();
    let (code, said) = refused(&state);
    assert_eq!(code, Some(1));
    assert!(said.contains("/missing/ledger.sqlite") && said.contains("No such file"), "{said}");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named() {
    let Some((code, said, ledger)) = on_a_disk("ro") else { return };
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&ledger) && said.contains("Read-only file system"), "{said}");
}

#[test]
fn a_full_disk_is_said_at_start() {
    let Some((code, said, ledger)) = on_a_disk("size=32k") else { return };
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&ledger), "{said}");
    assert!(["disk is full", "is the disk full"].iter().any(|full| said.contains(full)), "{said}");
}

#[test]
fn a_file_that_is_no_ledger_is_refused_and_left_alone() {
    let state = State::new(&Network::new(1, 0.0).source());
    let path = state.path().join("ledger.sqlite");
    let content = "not a database, but somebody's notes ".repeat(100);
    std::fs::write(&path, &content).unwrap();
    let (code, said) = refused(&state);
    assert_eq!(code, Some(1));
    assert!(said.contains("not a database"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
}

#[test]
fn a_ledger_of_a_newer_vigie_is_refused() {
    let state = State::new(&Network::new(1, 0.0).source());
    state.start().terminate();
    state.ledger().pragma_update(None, "user_version", 99).unwrap();
    let (code, said) = refused(&state);
    assert_eq!(code, Some(1));
    assert!(said.contains("schema 99 is newer"), "{said}");
}

#[test]
fn a_reload_with_a_mistake_leaves_the_running_config_in_place() {
    let network = Network::new(1, 0.0);
    let state = State::new(&network.source());
    let daemon = state.start();
    let right = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, right.replace("[[brand]]", "[[brand]]\nnonsense = 1")).unwrap();
    daemon.signal("HUP");
    // Signals of one kind merge while they wait: the second must come after the first was obeyed.
    daemon.wait_for("reload refused");
    state.configure(&network.source(), BRAND);
    daemon.signal("HUP");
    daemon.wait_for("reloaded brands");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("reload refused") && log.contains("nonsense = 1: unknown key"), "{log}");
    assert!(log.contains("reloaded brands"), "{log}");
}
