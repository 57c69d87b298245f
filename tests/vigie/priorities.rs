//! Priorities as a team lead meets them: a post explained, and other points tried on what has come in.

use crate::daemon::{BRAND, Network, State, patiently, run, vigie};
use crate::ledgers::place;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn state(more: &str) -> State {
    let source = "[[source]]\nkind = \"ndjson\"\npath = \"-\"";
    let state = State::new(source);
    state.configure(source, &format!("{BRAND}\n{more}"));
    state
}

#[test]
fn what_explain_says_is_what_a_replay_makes_of_the_post() {
    let state = state(
        "[priority]\ncaps = { verdict = 300 }\n[[priority.brand]]\nname = \"Lumio\"\naddressed = 111\n\
         [sensitive.heat]\nwords = [\"chauffe\"]\npoints = 33",
    );
    let post = r#"{"id": "1", "author": "a", "text": "@lumio ma box chauffe puis a pris feu, en panne depuis 3 jours!"}"#;
    let output = run(vigie().args(["explain", "--json", "-c"]).arg(&state.config), post.as_bytes());
    assert!(output.status.success(), "{}", output.stderr);
    let explained = json(&output.stdout);
    let replay =
        run(vigie().args(["replay", "--format", "plain", "-c"]).arg(&state.config).arg("-"), post.as_bytes());
    assert!(replay.status.success(), "{}", replay.stderr);
    let ticket = json(&replay.stdout);

    assert_eq!(explained["outcome"], "ticketed");
    assert_eq!(explained["priority"]["priority"], ticket["priority"]);
    assert_eq!(explained["priority"]["level"], ticket["level"]);
    assert_eq!(ticket["sensitive"], serde_json::json!(["safety", "heat"]));
    let factors = explained["priority"]["factors"].as_array().unwrap();
    let given: Vec<_> = factors
        .iter()
        .filter(|factor| factor["points"] != 0)
        .map(|factor| (&factor["name"], &factor["points"], &factor["evidence"]))
        .collect();
    let of_ticket = ticket["factors"].as_array().unwrap().iter();
    let of_ticket: Vec<_> =
        of_ticket.map(|factor| (&factor["name"], &factor["points"], &factor["evidence"])).collect();
    assert_eq!(given, of_ticket);
    let factor = |name: &str| factors.iter().find(|factor| factor["name"] == name).unwrap();
    assert_eq!(factor("addressed")["points"], 111, "the brand's own");
    assert_eq!(factor("sensitive")["points"], 833);
    assert_eq!(factor("sensitive")["evidence"], "safety: a pris feu; heat: chauffe");
    assert_eq!(factor("tier")["points"], 0, "factors that gave nothing are shown, too");
    assert_eq!(factor("cap of verdict")["at_most"], serde_json::Value::Null);

    let output = run(vigie().args(["explain", "-c"]).arg(&state.config), post.as_bytes());
    for expected in
        ["of at most", "no customer that we know", "P1 from 600, P2 from 430, P3 from 250", "cap of verdict"]
    {
        assert!(output.stdout.contains(expected), "{expected} is missing in:\n{}", output.stdout);
    }
    for (post, outcome) in [("nothing for anybody", "unmatched"), (r#"{"delete": 1}"#, "control")] {
        let format = if outcome == "control" { "x-v1" } else { "plain" };
        let output = run(
            vigie().args(["explain", "--json", "--format", format, "-c"]).arg(&state.config),
            post.as_bytes(),
        );
        assert_eq!(output.stdout.trim(), format!("{{\"outcome\":\"{outcome}\"}}"), "{}", output.stderr);
    }
}

/// What a sceptical reader stumbles over: a decision without its threshold, a name that is not there, two clocks.
#[test]
fn explain_names_thresholds_and_what_is_not_known_and_shows_one_clock() {
    let state = state(
        "[desk]\ntime_zone = \"Europe/Paris\"\n[[calendar]]\nname = \"montreal\"\ntime_zone = \"America/Montreal\"\n\
         hours = \"mon-fri 09:00-17:00\"\n[answer_within]\ncalendar = \"montreal\"",
    );
    let explain = |post: &str, more: &[&str]| {
        let output = run(vigie().args(["explain", "-c"]).arg(&state.config).args(more), post.as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let told = explain("@lumio ma box est en panne depuis 3 jours!", &[]);
    for expected in ["unknown author", "the post says no time"] {
        assert!(told.contains(expected), "{expected} is missing in:\n{told}");
    }
    assert_eq!(told.matches("no customer that we know").count(), 4, "{told}");

    // A Wednesday, 15:00 in Paris: Montréal opens.
    let post = r#"{"text": "@lumio ma box est en panne depuis 3 jours!", "at": "2026-11-25T14:00:00Z"}"#;
    let told = explain(post, &[]);
    assert!(told.contains("only the author's clock says when"), "{told}");
    assert!(told.contains("at risk Wed 2026-11-25 16:30, due Wed 2026-11-25 17:00 CET"), "{told}");
    assert!(told.contains("answer by 17:00 CET (in 2 h 00)"), "{told}");

    let joke = "lumio mon pote en panne d'inspiration mdr, belle photo du jour, good night everyone";
    state.configure(
        "[[source]]\nkind = \"ndjson\"\npath = \"-\"",
        &format!("{BRAND}\n[desk]\nunsupported_min = 0.01"),
    );
    let told = explain(joke, &[]);
    assert!(told.contains("desk.unsupported_min = 0.01 (no handle of ours is named)"), "{told}");
    let told = json(&explain(joke, &["--json"]));
    assert_eq!(
        (&told["outcome"], &told["key"]),
        (&"unsupported".into(), &"unsupported_min".into()),
        "{told}"
    );
}

#[test]
fn ledgers_of_every_schema_can_be_tried_and_stay_as_they_are() {
    for version in [1, 2, 3, 4] {
        let state = state("");
        place(&state, version);
        let ledger = state.path().join("ledger.sqlite");
        let before = std::fs::read(&ledger).unwrap();
        let simulate = |more: &[&str]| {
            let output = run(
                vigie()
                    .args(["priorities", "simulate", "--since", "3650d"])
                    .args(more)
                    .arg("-c")
                    .arg(&state.config),
                b"",
            );
            assert!(output.status.success(), "schema {version}: {}", output.stderr);
            output.stdout
        };
        let said = simulate(&[]);
        assert!(said.contains("11 tickets since"), "schema {version}: {said}");
        assert!(said.contains("11 came while nothing was known of their author"), "schema {version}: {said}");
        assert!(said.contains("1 text is erased"), "schema {version}: {said}");
        let told = json(&simulate(&["--json", "--limit", "4"]));
        assert_eq!(told["tickets"], 4, "schema {version}");
        assert_eq!(std::fs::read(&ledger).unwrap(), before, "schema {version}");
    }
}

#[test]
fn a_window_without_tickets_and_a_wrong_one_are_named() {
    let state = state("");
    place(&state, 3);
    let simulate = |since: &str| {
        run(vigie().args(["priorities", "simulate", "--since", since, "-c"]).arg(&state.config), b"")
    };
    let output = simulate("1m");
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stdout.contains("no ticket since "), "{}", output.stdout);
    assert!(output.stdout.contains("the newest is of "), "{}", output.stdout);
    let output = simulate("1y");
    assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
    assert!(
        output.stderr.contains("must be a number with m, h, d or w, as 90m, 12h, 7d or 4w"),
        "{}",
        output.stderr
    );
    let output =
        run(vigie().args(["priorities", "simulate", "--ledger", "/nowhere", "-c"]).arg(&state.config), b"");
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("ledger /nowhere: "), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_priorities_are_tried_beside_the_running_daemon() {
    let network = Network::new(300, 0.4);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    patiently("all frames", async {
        while state.frames() < 300 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let simulate = |priority: &str, more: &[&str]| {
        let path = state.path().join("new.toml");
        let text = std::fs::read_to_string(&state.config).unwrap();
        std::fs::write(&path, format!("{text}\n{priority}")).unwrap();
        let output = run(vigie().args(["priorities", "simulate"]).args(more).arg("-c").arg(&path), b"");
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let count = || -> (i64, i64) {
        let count = |what: &str| state.ledger().query_row(what, [], |row| row.get(0)).unwrap();
        (count("SELECT count(*) FROM ticket"), count("SELECT sum(priority) FROM ticket"))
    };
    let before = count();
    let same = json(&simulate("", &["--json"]));
    assert_eq!(same["tickets"], before.0);
    assert_eq!((&same["change_level"], &same["change_points"]), (&0.into(), &0.into()), "the same config");

    let lowered = "[priority]\naddressed = -1000\n";
    let told = json(&simulate(lowered, &["--json", "--show", "3"]));
    let changed = told["change_level"].as_u64().unwrap();
    assert!(changed > 3, "{told}");
    let levels = told["levels"].as_object().unwrap();
    let cells = levels.values().flat_map(|row| row.as_object().unwrap().values());
    assert_eq!(cells.map(|count| count.as_u64().unwrap()).sum::<u64>(), before.0.unsigned_abs());
    let changes = told["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 3);
    for change in changes {
        // What is counted less of a great sum follows from it.
        let factors = change["factors"].as_array().unwrap().iter();
        let own: Vec<_> = factors.filter(|factor| factor["name"] != "ceiling").collect();
        let [factor] = own[..] else { panic!("{change}") };
        assert_eq!(
            (&factor["name"], &factor["before"], &factor["after"]),
            (&"addressed".into(), &80.into(), &(-1000).into())
        );
    }
    let said = simulate(lowered, &[]);
    assert!(said.contains("greatest changes"), "{said}");
    assert!(said.contains("addressed      +80 → -1000   names one of our handles"), "{said}");
    assert_eq!(count(), before, "nothing is written");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}
