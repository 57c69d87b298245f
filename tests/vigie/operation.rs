//! What an operator sees of a running daemon.

use crate::daemon::{Network, State, patiently, run, vigie};

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_where_every_frame_ended_and_how_the_source_is() {
    let network = Network::new(1_000, 0.05);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    let mut client = state.subscribe("helpdesk", 1).await;
    drop(patiently("a ticket", client.next()).await.unwrap());
    patiently("all frames", async {
        while state.buckets().values().sum::<i64>() < 1_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;

    let console = daemon.console();
    let ask = move |arguments: &'static [&'static str]| {
        let mut command = vigie();
        command.args(["status", "--http", &console]).args(arguments);
        tokio::task::spawn_blocking(move || run(&mut command, b""))
    };
    let output = ask(&["--json"]).await.unwrap();
    assert!(output.status.success(), "{}", output.stderr);
    let status: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(status["received"], 1_000);
    let buckets = status["buckets"].as_object().unwrap();
    assert_eq!(buckets.len(), 11);
    assert_eq!(buckets.values().map(|frames| frames.as_u64().unwrap()).sum::<u64>(), 1_000);
    assert_eq!(status["sources"][0]["name"], "bluesky");
    assert_eq!(status["sources"][0]["connected"], true);
    let subscription = &status["subscriptions"][0];
    assert_eq!((&subscription["name"], &subscription["in_flight"]), (&"helpdesk".into(), &1.into()));

    let output = ask(&[]).await.unwrap();
    assert!(output.status.success(), "{}", output.stderr);
    for expected in [
        "connected",
        "1,000",
        "helpdesk",
        "the sum: every frame is above, once",
        "model vigie-full ",
        " on rten 0.",
    ] {
        assert!(output.stdout.contains(expected), "{expected} is missing in:\n{}", output.stdout);
    }
    assert!(!output.stdout.contains('\u{1b}'), "colours where there is no terminal:\n{}", output.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_what_comes_and_acknowledges_it() {
    let network = Network::new(1_000, 0.05);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let _daemon = state.start();
    let tail = |count: &str, json: bool| {
        let mut command = vigie();
        command.args(["tail", "--name", "screen", "--count", count, "--socket"]).arg(state.socket());
        if json {
            command.arg("--json");
        }
        tokio::task::spawn_blocking(move || run(&mut command, b""))
    };
    let first = tail("5", true).await.unwrap();
    let second = tail("5", true).await.unwrap();
    let ids = |stdout: &str| -> Vec<String> {
        let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        stdout.lines().filter_map(|line| Some(of(line)["id"].as_str()?.to_owned())).collect()
    };
    let (first, second) = (ids(&first.stdout), ids(&second.stdout));
    assert!(!first.is_empty() && first.iter().chain(&second).all(|id| expected.contains(id)));
    assert!(
        first.iter().all(|id| !second.contains(id)),
        "delivered again after its ack: {first:?} {second:?}"
    );

    let readable = tail("1", false).await.unwrap();
    assert!(
        readable.stdout.contains("answer by") || readable.stdout.contains("ticket"),
        "{}",
        readable.stdout
    );

    // By the desk's clock, where its config can be read.
    let config = state.path().join("elsewhere.toml");
    let kiritimati = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n\
                      [desk]\ntime_zone = \"Pacific/Kiritimati\"\n";
    std::fs::write(&config, kiritimati).unwrap();
    let mut command = vigie();
    command.args(["tail", "--count", "1", "-c"]).arg(config).arg("--socket").arg(state.socket());
    let shown = tokio::task::spawn_blocking(move || run(&mut command, b"")).await.unwrap();
    let said = "vigie tail: times are those of Pacific/Kiritimati, UTC+14:00 now\n";
    assert!(shown.stderr.contains(said), "{}", shown.stderr);
    assert!(shown.stdout.contains(" +14"), "{}", shown.stdout);

    // And where its config says, unless somebody says otherwise.
    let mut command = vigie();
    command.args(["tail", "--count", "1", "--json", "-c"]).arg(state.path().join("vigie.toml"));
    let shown = tokio::task::spawn_blocking(move || run(&mut command, b"")).await.unwrap();
    assert_eq!(shown.stdout.lines().count(), 1, "{}", shown.stderr);
}

/// Who has looked once must not keep the ledger from forgetting, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_without_a_name_leaves_nothing_behind_and_says_what_it_did_not_show() {
    let network = Network::new(1_000, 0.05);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    let mut command = vigie();
    command.args(["tail", "--json", "--socket"]).arg(state.socket());
    let pipes = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut tail = pipes.spawn().unwrap();
    let lines = |pipe: Box<dyn std::io::Read + Send>| {
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::Builder::new()
            .spawn(move || {
                for line in std::io::BufRead::lines(std::io::BufReader::new(pipe)).map_while(Result::ok) {
                    drop(sender.send(line));
                }
            })
            .unwrap();
        lines
    };
    let mut shown = lines(Box::new(tail.stdout.take().unwrap()));
    let mut said = lines(Box::new(tail.stderr.take().unwrap()));
    for _ in 0..3 {
        patiently("a ticket", shown.recv()).await.unwrap();
    }
    let subscriptions = || {
        let list = run(vigie().args(["subscriptions", "-c"]).arg(&state.config), b"");
        assert!(list.status.success(), "{}", list.stderr);
        list.stdout
    };
    assert_eq!(subscriptions(), "no subscription: nobody has asked for tickets yet\n");
    assert!(!crate::daemon::get(&daemon.console(), "/metrics").contains("vigie_subscription_records{"));

    drop(daemon.terminate());
    let lost = patiently("a word on the lost connection", said.recv()).await.unwrap();
    assert!(lost.contains("trying again"), "{lost}");
    let _daemon = state.start();
    let skipped = patiently("a word on what is not shown", said.recv()).await.unwrap();
    assert!(skipped.contains("is not shown (--name NAME would have kept it)"), "{skipped}");
    assert_eq!(subscriptions(), "no subscription: nobody has asked for tickets yet\n");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_there_before_its_daemon_waits_for_it() {
    let network = Network::new(500, 0.05);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let mut command = vigie();
    command.args(["tail", "--json", "--count", "1", "--socket"]).arg(state.socket());
    let mut tail =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // It says that nobody is there before anybody is.
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(tail.stderr.take().unwrap()), &mut said)
        .unwrap();
    assert!(said.contains("trying again") && said.contains("vigie.sock"), "{said}");
    let _daemon = state.start();
    let output = tokio::task::spawn_blocking(move || tail.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}
