//! Nothing vanishes: every line of every recording ends in one bucket, the same one each time.

use std::path::PathBuf;

use crate::daemon::{Output, State, run, skip, vigie};

fn replay(state: &State, format: &str, file: &str, input: &[u8]) -> Output {
    let output = run(vigie().args(["replay", "--format", format, "-c"]).arg(&state.config).arg(file), input);
    assert!(output.status.success(), "{}", output.stderr);
    output
}

/// The numbers of the table on stderr, by bucket.
fn table(output: &Output) -> std::collections::BTreeMap<String, usize> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some((name, words.next()?.replace(',', "").parse().ok()?))
    };
    output.stderr.lines().filter(|line| !line.starts_with("warning: ")).filter_map(row).collect()
}

fn check_sum(output: &Output, lines: usize) {
    let mut table = table(output);
    let received = table.remove("received").unwrap();
    assert_eq!(received, lines, "{}", output.stderr);
    assert_eq!(table.values().sum::<usize>(), lines, "{}", output.stderr);
    // Beside the tickets it prints the posts that joined one.
    let tickets = output.stdout.lines().filter(|line| !line.starts_with("{\"update\"")).count();
    assert_eq!(table["ticketed"], tickets, "{}", output.stderr);
}

fn state() -> State {
    let state = State::new("");
    // Names that real recordings hold, so that there is something to decide about.
    let brands = r#"
        [[brand]]
        name = "Everything"
        names = ["twitter", "india", "trump", "covid", "mastodon", "bluesky", "rstats", "apple", "google"]
        [model]
        runtime = "rten"
    "#;
    state.configure("[[source]]\nkind = \"ndjson\"\npath = \"-\"", brands);
    state
}

#[test]
fn recorded_streams_are_accounted_for_line_by_line_twice_the_same() {
    let streams = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/streams"));
    if !streams.is_dir() {
        skip(&format!("{} is absent", streams.display()));
        return;
    }
    let state = state();
    for (file, format) in [
        ("jetstream_real.jsonl", "jetstream"),
        ("jetstream_reenveloped.jsonl", "jetstream"),
        ("mastodon_update.jsonl", "mastodon"),
        ("x_v2_filtered_stream.jsonl", "x-v2"),
        ("x_v11_stream.jsonl", "x-v1"),
        ("x_v11_rest_extended.jsonl", "x-v1"),
    ] {
        let path = streams.join(file);
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        let first = replay(&state, format, path.to_str().unwrap(), b"");
        check_sum(&first, lines);
        assert_eq!(table(&first)["malformed"], 0, "{file}: {}", first.stderr);
        let second = replay(&state, format, path.to_str().unwrap(), b"");
        assert_eq!((&first.stdout, &first.stderr), (&second.stdout, &second.stderr), "{file}");
        println!("{file}: {lines} lines, {} tickets", table(&first)["ticketed"]);
    }
}

#[test]
fn hostile_lines_are_counted_and_disturb_nothing() {
    let post = r#"{"id":"1","author":"a","text":"twitter is broken again, please help, cannot log in since monday"}"#;
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(2 << 20));
    let lines: Vec<&[u8]> = vec![
        post.as_bytes(),
        b"{\"text\": \"cut",
        b"\xff\xfe\xfd",
        deep.as_bytes(),
        b"",
        long.as_bytes(),
        b"{\"text\": 7}",
        b"{\"nothing\": true}",
        b"[]",
        b"null",
        b"{\"text\": \"a\", \"text\": \"nothing of interest\"}",
        post.as_bytes(),
    ];
    let output = replay(&state(), "plain", "-", &lines.join(&b'\n'));
    check_sum(&output, lines.len());
    let table = table(&output);
    assert_eq!(table["oversize"], 1, "{}", output.stderr);
    assert_eq!(table["control"], 1, "{}", output.stderr);
    assert_eq!((table["ticketed"], table["duplicate"]), (1, 1), "{}", output.stderr);
    assert_eq!(table["unmatched"], 1, "{}", output.stderr);
    assert_eq!(table["malformed"], lines.len() - 5, "{}", output.stderr);
}

#[test]
fn a_deleted_post_and_an_edited_one_end_in_their_buckets() {
    let event = |operation: &str, rkey: &str, text: &str| {
        let record = if operation == "delete" {
            String::new()
        } else {
            format!(
                r#","record":{{"$type":"app.bsky.feed.post","createdAt":"2026-11-02T10:00:00Z","text":"{text}"}},"cid":"c""#
            )
        };
        format!(
            r#"{{"did":"did:plc:abcdefghijklmnopqrstuvwx","time_us":1790000000000000,"kind":"commit","commit":{{"rev":"r","operation":"{operation}","collection":"app.bsky.feed.post","rkey":"{rkey}"{record}}}}}"#
        )
    };
    let help = "twitter is broken again, please help me, I cannot log in";
    let lines = [
        event("create", "3aaaaaaaaaaa2", help),
        event("create", "3aaaaaaaaaaa2", help),
        event("update", "3aaaaaaaaaaa2", "twitter is broken again, please help me, I cannot log in since monday"),
        event("delete", "3aaaaaaaaaaa2", ""),
        event("delete", "3aaaaaaaaaaa2", ""),
        event("delete", "3bbbbbbbbbbb2", ""),
        event("create", "3ccccccccccc2", help),
        r#"{"did":"did:plc:abcdefghijklmnopqrstuvwx","time_us":1790000000000001,"kind":"account","account":{"active":false,"did":"did:plc:abcdefghijklmnopqrstuvwx","seq":1,"time":"2026-11-02T10:00:00Z","status":"deleted"}}"#.to_owned(),
    ];
    let output = replay(&state(), "jetstream", "-", lines.join("\n").as_bytes());
    check_sum(&output, lines.len());
    let table = table(&output);
    assert_eq!(
        (table["ticketed"], table["duplicate"], table["merged"], table["erased"], table["control"]),
        (2, 1, 1, 2, 2),
        "{}",
        output.stderr
    );
}
