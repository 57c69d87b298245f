//! Clients of the ticket socket that are not ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{Network, State, run, skip};

/// A Python with the `protobuf` package and a protoc, or why there is none.
fn python() -> Result<PathBuf, String> {
    let python =
        std::env::var_os("VIGIE_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let has = Command::new(&python).args(["-c", "import google.protobuf, grpc_tools"]).output();
    match has {
        Ok(output) if output.status.success() => Ok(python),
        _ => Err(format!("{} has no protobuf and grpc_tools", python.display())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_python_client_receives_and_acknowledges() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skip(&format!("{why}; VIGIE_TEST_PYTHON may name a Python that has them")),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let network = Network::new(1_000, 0.05);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    let made = run(
        Command::new(&python)
            .args(["-m", "grpc_tools.protoc", "-I"])
            .arg(root.join("src/wire"))
            .arg(format!("--python_out={}", state.path().display()))
            .arg("vigie.proto"),
        b"",
    );
    assert!(made.status.success(), "{}", made.stderr);

    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    let client = root.join("tests/clients/subscribe.py");
    let source = std::fs::read_to_string(&client).unwrap();
    assert!(source.lines().count() <= 60, "a client of this protocol fits on a page");
    let count = 20.min(expected.len());
    let mut command = Command::new(&python);
    command
        .arg(&client)
        .arg(state.socket())
        .args(["python", &count.to_string()])
        .env("PYTHONPATH", state.path());
    let output = tokio::task::spawn_blocking(move || run(&mut command, b"")).await.unwrap();
    assert!(output.status.success(), "{}", output.stderr);
    // Of the first records some may be updates of the first tickets: it is a matter of time how many.
    let lines: Vec<(&str, &str)> = output.stdout.lines().filter_map(|line| line.split_once(' ')).collect();
    assert!(lines.len() >= count && lines.iter().all(|(id, _)| expected.contains(*id)), "{}", output.stdout);
    let is_ticket =
        |rest: &str| rest.split(' ').next().is_some_and(|priority| priority.parse::<u32>().is_ok());
    let tickets: BTreeSet<String> =
        lines.iter().filter(|(_, rest)| is_ticket(rest)).map(|(id, _)| (*id).to_owned()).collect();
    drop(daemon);
    let unseen: Vec<String> = state.acknowledged("python").difference(&tickets).cloned().collect();
    assert!(
        !tickets.is_empty() && unseen.is_empty(),
        "acknowledged and never printed: {unseen:?}\n{}",
        output.stdout
    );
    let acknowledged: i64 = state
        .ledger()
        .query_row("SELECT count(*) FROM acknowledgement WHERE subscription = 'python'", [], |row| row.get(0))
        .unwrap();
    assert!(acknowledged >= count as i64, "{acknowledged} acknowledged");
}
