//! What people type, and what they are told.

use crate::daemon::{State, run, vigie};

/// The example config, with what it would need root for moved into a folder.
fn example() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/vigie.toml")).unwrap()
}

#[test]
fn the_example_config_is_right_with_and_without_its_comments() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let path = folder.path().join("vigie.toml");
        std::fs::write(&path, text).unwrap();
        let output = run(vigie().args(["check", "-c"]).arg(&path), b"");
        assert!(output.status.success(), "{}", output.stderr);
        assert!(output.stdout.contains("fine"), "{}", output.stdout);
    };
    check(&example());

    // A line that is a commented-out key becomes one; whole commented-out tables stay comments.
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123").unwrap();
    // Beside the config, as the example says.
    std::fs::write(folder.path().join("lumio-names.txt"), "lumio fibre\n").unwrap();
    std::fs::write(folder.path().join("lumio-rules.txt"), "lumiobox panne\n").unwrap();
    let uncommented: String = example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if key.split(" = ").next().is_some_and(|key| !key.contains(' ')) && key.contains(" = ") =>
            {
                key
            }
            _ => line,
        })
        .map(|line| line.replace("/etc/vigie/token", &token.display().to_string()))
        // A file and a model that are not on this machine.
        .filter(|line| !["path   =", "format =", "library =", "path = \"/etc"].iter().any(|key| line.starts_with(key)))
        .map(|line| line + "\n")
        .collect();
    assert!(uncommented.contains("\nunsupported_min = 0.6"), "nothing was uncommented:\n{uncommented}");
    check(&uncommented);
}

/// What stands in the example as a whole block, commented out, is right as it stands there.
#[test]
fn every_block_of_the_example_config_is_right_once_its_comment_marks_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let is_key = |text: &str| {
        let key = text.split(['=', ' ']).next().unwrap_or_default();
        let is_name = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        text.starts_with('[') || (is_name && text[key.len()..].trim_start().starts_with("= "))
    };
    // Of alternatives the first, and no file that is not here.
    let elsewhere = [
        "credential ",
        "certificate ",
        "cert_file ",
        "key_file ",
        "client_ca_file ",
        "ca_file ",
        "library ",
        "path = \"/etc",
    ];
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123").unwrap();
    std::fs::write(folder.path().join("lumio-names.txt"), "lumio fibre\n").unwrap();
    std::fs::write(folder.path().join("lumio-rules.txt"), "lumiobox panne\n").unwrap();
    std::fs::write(folder.path().join("lumio-body.txt"), "{{ post.quoted }}\n").unwrap();
    let mut blocks = 0;
    let mut text = String::new();
    for line in example().lines() {
        let bare = line.strip_prefix("# ").filter(|bare| is_key(bare));
        blocks += usize::from(bare.is_some_and(|bare| bare.starts_with('[')));
        let line = bare.unwrap_or(line);
        if !elsewhere.iter().any(|key| line.starts_with(key)) {
            let token = token.display().to_string();
            text.push_str(
                &line
                    .replace("/etc/vigie/zammad.token", &token)
                    .replace("/etc/vigie/desk.token", &token)
                    .replace("/etc/vigie/token", &token),
            );
            text.push('\n');
        }
    }
    // TLS without its certificates is a mistake of its own.
    let text = text.replace("[tls]\n", "");
    assert!(blocks >= 14, "{blocks} blocks in:\n{text}");
    let path = folder.path().join("vigie.toml");
    std::fs::write(&path, &text).unwrap();
    let output = run(vigie().args(["check", "-c"]).arg(&path), b"");
    assert!(output.status.success(), "{}\n{text}", output.stderr);
    assert!(!output.stderr.contains("never gets a turn"), "{}", output.stderr);
    for feature in [
        "import customers",
        "import agents",
        "import articles",
        "touchpoints",
        "simulate",
        "[[priority.combination]]",
        "[[priority.brand]]",
        "caps = ",
        "[sensitive.",
        "waiting = ",
        "[conversation]",
        "[helpers]",
        "[[expectation]]",
        "[[calendar]]",
        "holidays",
        "at_risk_share",
        "[[route]]",
        "[[team]]",
        "fallback",
        "supplier",
        "best_rated_",
        "[articles]",
        "vigie report",
        "time_zone",
        "[[bridge]]",
        "[bridge.text.",
    ] {
        assert!(example().contains(feature), "{feature} is not in the example");
    }
}

#[test]
fn a_replay_of_posts_without_a_time_says_so_once_and_its_help_names_the_key() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"\n");
    let replay = |lines: &str| {
        run(vigie().args(["replay", "--format", "plain", "-c"]).arg(&state.config).arg("-"), lines.as_bytes())
    };
    let timed = r#"{"text": "@lumio en panne, aidez moi", "created_at": "2026-11-02T10:00:00Z"}"#;
    let timeless =
        "{\"text\": \"@lumio en panne\"}\n{\"text\": \"nothing for us\"}\n\"@lumio ça marche plus\"\n";
    let output = replay(&format!("{timed}\n{timeless}"));
    assert!(output.status.success(), "{}", output.stderr);
    let warnings: Vec<_> = output.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{}", output.stderr);
    assert!(
        warnings[0].starts_with("warning: 2 matching posts say no time that can be read: "),
        "{}",
        output.stderr
    );
    assert!(!replay(timed).stderr.contains("warning"));
    for usual in ["Mon, 02 Nov 2026 10:00:00 +0000", "Mon Nov 02 10:00:00 +0000 2026"] {
        let same = replay(&timed.replace("2026-11-02T10:00:00Z", usual));
        assert!(!same.stderr.contains("warning") && same.stdout.contains("2026-11-02T10:00:00Z"), "{same:?}");
    }
    for odd in ["\"02.11.2026 10:00\"", "1793613600"] {
        let unread = replay(&timed.replace("\"2026-11-02T10:00:00Z\"", odd));
        let expected = "warning: 1 matching post says no time that can be read (1 of them in a form that cannot be read: ";
        assert!(unread.stderr.contains(expected), "{odd}: {}", unread.stderr);
    }
    let help = run(vigie().args(["replay", "--help"]), b"").stdout;
    for key in ["text*", "created_at", "reply_to", "followers"] {
        assert!(help.contains(key), "{key} is not in {help}");
    }
}

#[test]
fn a_replay_names_malformed_lines_and_refuses_what_holds_no_post_at_all() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"\n");
    let replay = |format: &str, lines: &str| {
        run(vigie().args(["replay", "--format", format, "-c"]).arg(&state.config).arg("-"), lines.as_bytes())
    };
    let timed = r#"{"text": "@lumio en panne, aidez moi", "created_at": "2026-11-02T10:00:00Z"}"#;
    let output = replay("plain", &format!("\n{{\"id\": 1}}\n{timed}\n{{cut\n"));
    assert!(output.status.success(), "{}", output.stderr);
    for told in ["stdin:2: malformed: missing or wrong: text", "stdin:4: malformed: not valid JSON"] {
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
    }
    let many = replay("plain", &format!("{timed}\n{}", "{\n".repeat(20)));
    assert!(
        many.stderr.contains("stdin:9: malformed") && !many.stderr.contains("stdin:10:"),
        "{}",
        many.stderr
    );
    assert!(many.stderr.contains("12 more malformed lines"), "{}", many.stderr);
    let wrong = replay("jetstream", &format!("{timed}\n{timed}\n"));
    assert_eq!(wrong.status.code(), Some(64), "{}", wrong.stderr);
    let told = "none of 2 lines is a post of the format jetstream; the first one reads as --format plain";
    assert!(wrong.stderr.contains(told), "{}", wrong.stderr);
    assert!(replay("jetstream", "").status.success(), "nothing is not wrong");
    let like = r#"{"did":"did:plc:a","time_us":1,"kind":"commit","commit":{"rev":"1","operation":"create","collection":"app.bsky.feed.like","rkey":"1"}}"#;
    let likes = replay("jetstream", &format!("{like}\n{like}\n"));
    assert!(likes.status.success(), "a recording without posts is one: {}", likes.stderr);
}

#[test]
fn ten_mistakes_are_shown_at_once_with_line_key_value_and_range() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.toml");
    let text = r#"
[[source]]
kind = "jetstrem"

[[source]]
kind = "jetstream"
url = "https://example.org/subscribe"
rewind_ms = 1

[[brand]]
name = "Lumio"
names = ["lumio", 7]
rules = ["(lumio panne"]

[model]
batch_posts_max = 0
runtime = "tensorflow"
name = "medium"
path = "/etc/vigie/model"

[wire]
windw_max = 5
tcp = "0.0.0.0:6010"

[desk]
unsupported_min = 1.5

[priority.levels]
p1_min = 100

[log]
level = true
"#;
    std::fs::write(&path, text).unwrap();
    let output = run(vigie().args(["check", "-c"]).arg(&path), b"");
    assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
    for expected in [
        r#"line 3: source[1].kind = "jetstrem": must be "jetstream" or "ndjson""#,
        "source[2]: url = \"https://example.org/subscribe\": must be ws://",
        "line 8: source[2].rewind_ms = 1: must be a whole number from 1000 to 3600000",
        "line 12: brand[1].names = 7: each item of the list must be a text in quotes",
        "rules[0] = \"(lumio panne\"",
        "line 16: model.batch_posts_max = 0: must be a whole number from 1 to 1024",
        r#"line 17: model.runtime = "tensorflow": must be "auto" or "rten" or "onnxruntime""#,
        r#"line 18: model.name = "medium": must be "full" or "small""#,
        "line 15: model: name and path both choose a model: give only one of them",
        "line 22: wire.windw_max = 5: unknown key; did you mean window_max?",
        "line 23: wire.tcp: 0.0.0.0:6010: other machines can reach this: set token_file",
        "line 26: desk.unsupported_min = 1.5: must be a number from 0.0 to 1.0",
        "p1_min = 100, p2_min = 430, p3_min = 250: each must be at most the one before",
        r#"line 32: log.level = true: must be "error" or "warn""#,
    ] {
        assert!(output.stderr.contains(expected), "{expected} is missing in:\n{}", output.stderr);
    }
    assert!(output.stderr.contains("has 14 mistakes"), "{}", output.stderr);
}

#[test]
fn lines_come_from_a_file_or_a_sender_and_a_mistake_in_either_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.toml");
    let check = |keys: &str, code: i32, said: &str| {
        let text = format!("[[source]]\nkind = \"ndjson\"\n{keys}\n{}", crate::daemon::BRAND);
        std::fs::write(&path, text).unwrap();
        let output = run(vigie().args(["check", "-c"]).arg(&path), b"");
        assert_eq!(output.status.code(), Some(code), "{keys}: {}", output.stderr);
        assert!(output.stderr.contains(said) || output.stdout.contains(said), "{keys}: {}", output.stderr);
    };
    check("path = \"-\"", 0, "fine: 1 source");
    check("tcp = \"feed.example.org:6020\"\nformat = \"x-v1\"\nsilence_max_ms = 5000", 0, "fine: 1 source");
    check("", 64, "source[1]: path is missing");
    check("", 64, "or tcp = \"HOST:PORT\"");
    check("path = \"-\"\ntcp = \"h:1\"", 64, "path and tcp both say where the lines come from");
    check(
        "tcp = \"feed\"",
        64,
        "line 3: source[1].tcp: \"feed\": must be a host and a port, as 127.0.0.1:6020",
    );
    check("tcp = 6020", 64, "line 3: source[1].tcp = 6020: must be");
    check("tcp = \"h:1\"\nframe_bytes_max = 1", 64, "source[1].frame_bytes_max = 1: must be");
    check("path = \"-\"\nsilence_max_ms = 5000", 64, "source[1].silence_max_ms = 5000: unknown key");
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.toml");
    let check = |expected: &str| {
        let output = run(vigie().args(["check", "-c"]).arg(&path), b"");
        assert_eq!(output.status.code(), Some(64));
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    };
    check("No such file");
    std::fs::write(&path, "[[source\nkind = ").unwrap();
    check("line 1:");
    // What comes of the rest of such a file is nobody's mistake.
    let text = example().replacen("[[brand]]", "[[brand]\nhandles = [\"@lumio\"", 1);
    std::fs::write(&path, &text).unwrap();
    let line = text.lines().position(|line| line == "[[brand]").unwrap() + 1;
    check(&format!("has 1 mistake:\n  line {line}: "));
    std::fs::write(&path, "").unwrap();
    check("no [[source]]");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    check("UTF-8");
}

#[test]
fn arguments_that_are_wrong_exit_with_64_and_help_with_0() {
    let check = |arguments: &[&str], code: i32, said: &str| {
        let output = run(vigie().args(arguments), b"");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", output.stderr);
        assert!(
            output.stdout.contains(said) || output.stderr.contains(said),
            "{said} is missing in:\n{}{}",
            output.stdout,
            output.stderr
        );
    };
    check(&["--help"], 0, "Exit codes: 0 fine, 1 a fault that a restart may cure, 64 a mistake");
    check(&["replay", "--help"], 0, "jetstream, mastodon, x-v2, x-v1 or plain");
    check(&["--version"], 0, "vigie 0.");
    check(&[], 64, "Usage: vigie <COMMAND>");
    check(&["replai"], 64, "unrecognized subcommand 'replai'");
    check(&["replay", "--format", "xml", "-"], 64, "must be one of jetstream, mastodon, x-v2, x-v1, plain");
    check(&["demo", "--rate", "0"], 64, "neither 1 to");
    check(&["demo", "--scenario", "calmer"], 64, "none of calm, outage, quiet");
    check(&["classify", "--model", "medium"], 64, "must be full, small, or a folder that is there");
    check(&["classify", "--runtime", "cuda"], 64, "must be one of auto, rten, onnxruntime");
    let library = ["classify", "--runtime", "onnxruntime", "--library", "/nowhere/libonnxruntime.so"];
    check(&library, 64, "/nowhere/libonnxruntime.so: No such file");
    check(&["evaluate", "/nowhere/posts.tsv"], 64, "/nowhere/posts.tsv: No such file");
    check(&["evaluate", "-", "--head", "mood"], 64, "[possible values: sentiment, intent, urgency]");
    check(&["evaluate", "-", "--map", "bad"], 64, "must be LABEL=a+b+c");
    check(
        &["evaluate", "-", "--map", "bad=worse"],
        64,
        "\"worse\" is no sentiment: must be one of negative, ",
    );
    check(&["evaluate", "-", "--where", "lang"], 64, "must be COLUMN=VALUE");
    check(&["tail", "--socket", "/nowhere/vigie.sock"], 1, "/nowhere/vigie.sock");
    check(&["tail", "-c", "/nowhere/vigie.toml"], 64, "/nowhere/vigie.toml");
    check(&["status", "--http", "127.0.0.1:9"], 1, "no vigie console at 127.0.0.1:9");
    check(&["status", "-c", "/nowhere/vigie.toml"], 64, "/nowhere/vigie.toml");
}

#[test]
fn status_looks_where_the_config_says() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"\n");
    let written = std::fs::read_to_string(&state.config).unwrap();
    let check = |http: &str, arguments: &[&str], code: i32, said: &str| {
        std::fs::write(&state.config, written.replace("listen = \"127.0.0.1:0\"", http)).unwrap();
        let output = run(vigie().arg("status").arg("-c").arg(&state.config).args(arguments), b"");
        assert_eq!(output.status.code(), Some(code), "{http}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{said} is missing in:\n{}", output.stderr);
    };
    check("listen = \"127.0.0.2:9\"", &[], 1, "no vigie console at 127.0.0.2:9");
    check("listen = \"127.0.0.2:9\"", &["--http", "127.0.0.1:9"], 1, "no vigie console at 127.0.0.1:9");
    check("enabled = false", &[], 64, "[http] enabled = false");
    std::fs::write(state.path().join("token"), "a secret of many letters and digits 0123456789\n").unwrap();
    let token =
        format!("[[token]]\nname = \"o\"\nrights = [\"operate\"]\nfile = {:?}\n", state.path().join("token"));
    check(&format!("listen = \"0.0.0.0:9\"\n{token}"), &[], 1, "no vigie console at 127.0.0.1:9");
    check(&format!("listen = \"[::]:9\"\n{token}"), &[], 1, "no vigie console at [::1]:9");
}

#[test]
fn classify_answers_each_line_in_order_whatever_it_holds() {
    let long = "panne ".repeat(200_000);
    let input = format!(
        "@lumio plus d'internet depuis 3 jours, c'est inadmissible\n{{\"text\": \"merci beaucoup @lumio, super service !\"}}\n\n🔥\n{long}\n\u{202e}\u{0}x\n{{\"no\": 1}}"
    );
    for model in ["full", "small"] {
        let output = run(vigie().args(["classify", "--model", model]), input.as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        let answers: Vec<serde_json::Value> =
            output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 7);
        if model == "full" {
            assert_eq!(answers[0]["sentiment"]["label"], "negative");
            assert_eq!(answers[1]["sentiment"]["label"], "positive");
        }
        assert_eq!((&answers[0]["lang"], &answers[3]["lang"]), (&"fr".into(), &"und".into()));
        for answer in &answers {
            assert!(answer["model"].as_str().unwrap().starts_with(&format!("vigie-{model} ")), "{answer}");
            for head in ["sentiment", "intent", "urgency"] {
                let sum: f64 = answer[head].as_object().unwrap().values().filter_map(|p| p.as_f64()).sum();
                assert!((sum - 1.0).abs() < 0.01, "{head} sums to {sum} in {answer}");
            }
        }
    }
}

const LABELLED: &str = "text\tlang\tverdict\n\
    @lumio plus d'internet depuis 3 jours, c'est inadmissible\tfr\tangry\n\
    merci beaucoup @lumio, super service !\tfr\tfine\n\
    @lumio your app is a disaster, three crashes today\ten\tangry\n\
    @lumio no label here\tfr\t\n\
    @lumio c'est nul, toujours en panne\tfr\tangry\n";

#[test]
fn evaluate_judges_the_model_by_labelled_posts() {
    let evaluate = |more: &[&str]| {
        let map = ["--map", "angry=negative", "--map", "fine=neutral+positive"];
        let mut command = vigie();
        command.args(["evaluate", "-", "--label-column", "verdict"]).args(map).args(more);
        run(&mut command, LABELLED.as_bytes())
    };
    for model in ["full", "small"] {
        let output = evaluate(&["--where", "lang=fr", "--model", model, "--runtime", "rten", "--json"]);
        assert!(output.status.success(), "{}", output.stderr);
        let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(
            (&report["rows"], &report["unlabelled"], &report["left_out"]),
            (&3.into(), &1.into(), &1.into())
        );
        assert!(report["model"].as_str().unwrap().starts_with(&format!("vigie-{model} ")));
        assert!(report["runtime"].as_str().unwrap().starts_with("rten "));
        let classes = report["classes"].as_array().unwrap();
        let of = |key: &str| classes.iter().map(|class| class[key].clone()).collect::<Vec<_>>();
        assert_eq!(of("label"), ["angry", "fine"]);
        assert_eq!(of("rows"), [2, 1]);
        assert!((0.0..=1.0).contains(&report["accuracy"].as_f64().unwrap()));
        assert!(report["posts_per_s"]["whole"].as_f64().unwrap() > 0.0);
    }
    let output = evaluate(&[]);
    assert!(output.status.success(), "{}", output.stderr);
    for expected in ["sentiment of 4 rows", "1 rows skipped", "macro F1", "angry", "calibration", "posts/s"] {
        assert!(output.stdout.contains(expected), "{expected} is missing in:\n{}", output.stdout);
    }
    assert!(!output.stdout.contains('\u{1b}'), "colours where there is no terminal:\n{}", output.stdout);
}

#[test]
fn a_mistake_in_labelled_posts_is_named_by_line_column_and_value() {
    let check = |arguments: &[&str], expected: &str| {
        let output = run(vigie().args(["evaluate", "-"]).args(arguments), LABELLED.as_bytes());
        assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
        assert!(output.stderr.contains(expected), "{expected} is missing in:\n{}", output.stderr);
    };
    check(&[], "stdin: line 1: no column \"label\": there are \"text\", \"lang\", \"verdict\"");
    let label = ["--label-column", "verdict"];
    check(
        &label,
        "stdin: line 2: verdict = \"angry\": must be one of negative, neutral, positive; or say what it stands for: --map",
    );
    check(&["--label-column", "verdict", "--where", "lang=de"], "stdin: no rows to evaluate");
    check(&["--label-column", "verdict", "--where", "tongue=fr"], "stdin: line 1: no column \"tongue\"");
}

#[test]
fn explain_shows_terms_rules_classes_points_and_the_ticket() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"");
    let explain = |input: &str| {
        let output = run(vigie().args(["explain", "-c"]).arg(&state.config), input.as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let said = explain("Lumiobox en panne depuis 3 jours @lumio, je ne peux plus travailler");
    for expected in [
        "handle of Lumio",
        "trigger of any brand",
        "listen",
        "matches",
        "urgency",
        "sum",
        "names one of our handles",
        "vigie-full ",
        ", language fr",
    ] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    assert!(said.contains("none speaks of it, and there is no default team"), "{said}");
    assert!(explain("nothing for anybody").contains("unmatched: no rule matches"));
    let own = r#"{"text": "Panne résolue chez Lumio", "author": {"id": "1", "handle": "lumio_help"}}"#;
    assert!(explain(own).contains("own: by one of the brand's own accounts"));
    assert!(
        explain("Le Lumio Festival est en panne de bière")
            .contains("does not count: inside an excluded phrase")
    );

    let said = explain("{sigh} Lumiobox en panne depuis 3 jours @lumio");
    assert!(said.contains("{sigh} Lumiobox en panne"), "{said}");

    let output = run(vigie().args(["explain", "-c"]).arg(&state.config), b"{\"text\": ");
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.contains("not valid JSON"), "{}", output.stderr);
}

#[test]
fn a_replay_names_the_file_that_it_cannot_read() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"");
    let output = run(vigie().args(["replay", "-c"]).arg(&state.config).arg("/nowhere/posts.ndjson"), b"");
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.contains("/nowhere/posts.ndjson"), "{}", output.stderr);
}

/// Whoever answers at an address once, with these bytes, and closes.
fn answering(bytes: Vec<u8>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The hello, or its beginning.
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(&bytes).unwrap();
    };
    std::thread::Builder::new().spawn(answer).unwrap();
    address
}

/// Trying again would not help, and would look like waiting for tickets.
#[test]
fn a_tail_that_was_never_let_in_ends_with_the_reason() {
    use prost::Message;
    use vigie::ticket::proto::{Goodbye, ServerMessage, goodbye::Code, server_message::Kind};
    let goodbye = |code: Code, reason: &str| {
        let goodbye = Goodbye { code: code as i32, reason: reason.to_owned() };
        ServerMessage { kind: Some(Kind::Goodbye(goodbye)) }.encode_length_delimited_to_vec()
    };
    let check = |bytes: Vec<u8>, arguments: &[&str], code: i32, said: &str| {
        let address = answering(bytes);
        let output = run(vigie().args(["tail", "--socket", &address]).args(arguments), b"");
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(said), "{said} is missing in: {}", output.stderr);
        assert!(!output.stderr.contains("trying again"), "{}", output.stderr);
    };
    check(Vec::new(), &[], 1, "the server closed the connection");
    check(Vec::new(), &[], 1, "is that the ticket socket of a vigie?");
    check(b"\x15\x03\x03\x00\x02\x02\x32".to_vec(), &[], 64, "speaks TLS: give --tls-ca");
    check(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), &[], 1, "is that the ticket socket of a vigie?");
    let named = goodbye(Code::HelloInvalid, "subscription.name must be 1 to 100 of a-z A-Z 0-9 . _ -");
    check(named, &[], 1, "an older vigie knows named subscriptions only: give --name");
    check(goodbye(Code::TokenRefused, "wrong token"), &["--name", "desk"], 1, "wrong token");
}

#[test]
fn nothing_and_too_much_to_explain_are_told() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"\n");
    let explain = |input: &[u8]| run(vigie().args(["explain", "-c"]).arg(&state.config), input);
    for (input, expected) in
        [(b" \n".to_vec(), "stdin is empty"), (vec![b'x'; (1 << 20) + 1], "more than 1048576 bytes")]
    {
        let told = explain(&input);
        assert_eq!(told.status.code(), Some(64));
        assert!(told.stderr.contains(expected), "{}", told.stderr);
    }
}
