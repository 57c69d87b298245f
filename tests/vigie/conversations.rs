//! Who writes again is heard, once: from the files of posts to what people are shown.

use std::io::Write;

use crate::daemon::{BRAND, CONVERSATION, State, patiently, run, vigie};

/// As `--format plain`: Ana asks, insists without naming anybody, is answered by us, and insists again; Bob helps her,
/// and asks for himself.
const POSTS: [(&str, &str, &str, &str); 8] = [
    ("1", "ana", "", "@lumio ma box est en panne depuis ce matin, rien ne marche, aidez-moi"),
    ("2", "ana", "1", "toujours rien, c'est honteux"),
    ("3", "lumio", "1", "Bonjour, nous regardons cela tout de suite."),
    ("4", "ana", "3", "toujours en panne"),
    ("5", "bob", "1", "essaie de la débrancher dix minutes"),
    ("6", "ana", "5", "merci beaucoup, ça remarche !"),
    ("7", "bob", "", "@lumio ma facture est fausse, pouvez-vous la corriger ?"),
    ("2", "ana", "1", "toujours rien, c'est honteux"),
];

fn lines_of(posts: &[(&str, &str, &str, &str)]) -> String {
    let line = |(id, author, reply_to, text): &(&str, &str, &str, &str)| {
        let at = format!("2026-07-04T14:{:02}:00Z", 10 + id.parse::<u32>().unwrap());
        let post = serde_json::json!({ "id": id, "author": author, "reply_to": reply_to, "text": text, "created_at": at });
        format!("{post}\n")
    };
    posts.iter().map(line).collect()
}

fn write(state: &State, posts: &[(&str, &str, &str, &str)]) -> std::path::PathBuf {
    let path = state.path().join("posts.ndjson");
    std::fs::write(&path, lines_of(posts)).unwrap();
    let source = format!(
        "[[source]]\nkind = \"ndjson\"\nformat = \"plain\"\nname = \"file\"\npath = \"{}\"\n",
        path.display()
    );
    state.configure(&source, BRAND);
    let config = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, config.replace(CONVERSATION, "")).unwrap();
    path
}

/// A daemon reads until so many frames have ended in all, and ends.
async fn come(state: &State, frames: i64) {
    let daemon = state.start();
    patiently("all frames", async {
        while state.buckets().values().sum::<i64>() < frames {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

/// The same with all that there is; where the frames of the ledger have ended then.
async fn settled(state: &State, expected: &[(&str, i64)]) {
    come(state, expected.iter().map(|(_, frames)| frames).sum()).await;
    let buckets = state.buckets();
    let found: Vec<_> =
        expected.iter().map(|(bucket, _)| (*bucket, buckets.get(*bucket).copied().unwrap_or(0))).collect();
    assert_eq!(found, expected, "{buckets:?}");
}

/// As `vigie ticket` prints it.
fn show(state: &State, id: &str, json: bool) -> String {
    let mut command = vigie();
    command.args(["ticket", id, "-c"]).arg(&state.config);
    let output = run(if json { command.arg("--json") } else { &mut command }, b"");
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

/// The posts that a ticket's timeline tells of, in order.
fn posts_of(state: &State, id: &str) -> Vec<String> {
    let shown: serde_json::Value = serde_json::from_str(&show(state, id, true)).unwrap();
    let told = |event: &serde_json::Value| -> Option<String> {
        let change = &event["update"];
        let texts = [&event["post"], &change["followed_up"]["post"]["id"], &change["answered"]["post_id"]];
        texts.into_iter().find_map(|text| text.as_str()).map(str::to_owned)
    };
    shown["timeline"].as_array().unwrap().iter().filter_map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_one_ticket_for_replay_the_daemon_and_whoever_asks() {
    let state = State::new("");
    let posts = write(&state, &POSTS);
    let replay = || {
        let mut command = vigie();
        command.args(["replay", "--format", "plain", "-c"]).arg(&state.config).arg(&posts);
        let output = run(&mut command, b"");
        assert!(output.status.success(), "{}", output.stderr);
        output
    };
    let replayed = replay();
    assert_eq!(replayed.stdout, replay().stdout, "the same bytes");
    let lines: Vec<serde_json::Value> =
        replayed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tickets: Vec<&str> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    let joined: Vec<_> = lines.iter().filter(|line| line["update"].is_object()).collect();
    assert_eq!((tickets.len(), joined.len()), (2, 3), "{}", replayed.stdout);
    let priority =
        |line: &serde_json::Value| line["update"]["change"]["followed_up"]["priority"].as_u64().unwrap();
    let first = lines[0]["priority"].as_u64().unwrap();
    assert!(priority(joined[0]) >= first + 40 && priority(joined[1]) > priority(joined[0]), "{joined:?}");
    assert_eq!(priority(joined[2]), priority(joined[1]), "thanks raise nothing");

    // Who starts again knows which tickets and posts there are: one that comes again is a duplicate, and one that is new
    // joins its ticket.
    let more = [POSTS[1], ("8", "ana", "", "lumio vous m'avez oublié")];
    for (further, joined, repeated) in [(&[][..], 3, 1), (&more[..], 4, 2)] {
        let mut file = std::fs::OpenOptions::new().append(true).open(&posts).unwrap();
        file.write_all(lines_of(further).as_bytes()).unwrap();
        let expected =
            [("ticketed", 2), ("merged", joined), ("own", 1), ("duplicate", repeated), ("unmatched", 1)];
        settled(&state, &expected).await;
    }

    assert_eq!(posts_of(&state, &tickets[0][..8]), ["1", "2", "3", "4", "6", "8"]);
    // Its head says how much it matters now, and its history how much it did.
    let shown: serde_json::Value = serde_json::from_str(&show(&state, tickets[0], true)).unwrap();
    let now = &shown["ticket"]["priority"];
    assert!(now.as_u64().unwrap() >= priority(joined[1]), "{now}");
    let made = shown["timeline"].as_array().unwrap().iter().find(|event| event["post"] == "1").unwrap();
    assert_eq!(made["priority"], first, "{made}");
    let text = show(&state, tickets[0], false);
    for part in ["why: ", "this ticket was made", "toujours rien", "answered by lumio", "merci beaucoup"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("answered by lumio on the network: nobody waits any more"), "{text}");
    // Who asks for once, and helps others.
    let of_bob = show(&state, tickets[1], false);
    assert!(of_bob.contains("author helps others: thanked once within 90 days"), "{of_bob}");
    assert!(!text.contains("helps others"), "{text}");
    let asks = lines_of(&[("30", "bob", "", "@lumio et mon remboursement, vous l'avez oublié ?")]);
    let mut explain = vigie();
    let explained = run(explain.args(["explain", "-c"]).arg(&state.config), asks.as_bytes());
    assert!(
        explained.stdout.contains("helps others: thanked once"),
        "{}{}",
        explained.stdout,
        explained.stderr
    );
    let mut nobody = vigie();
    nobody.args(["ticket", "0123456789", "-c"]).arg(&state.config);
    assert_eq!(run(&mut nobody, b"").status.code(), Some(64));
    let mut helpers = vigie();
    helpers
        .args(["helpers", "--thanked-min", "1", "--json", "--ledger"])
        .arg(state.path().join("ledger.sqlite"));
    let helpers = run(&mut helpers, b"");
    let of_ledger = |arguments: &[&str]| {
        let mut command = vigie();
        command.arg("helpers").args(arguments).arg("--ledger").arg(state.path().join("ledger.sqlite"));
        let output = run(&mut command, b"");
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let nowhere = state.path().join("none.toml");
    let nowhere = nowhere.to_str().unwrap();
    assert!(of_ledger(&["-c", nowhere]).contains("nobody was thanked 3 times"), "as without a config");
    let config = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, config + "\n[helpers]\nthanked_min = 0\n").unwrap();
    let config = state.config.to_str().unwrap();
    assert!(of_ledger(&["-c", config]).contains("nobody counts as a helper"));
    assert_eq!(of_ledger(&["-c", config, "--json"]), "");
    assert_ne!(of_ledger(&["-c", config, "--json", "--thanked-min", "1"]), "");
    let helper: serde_json::Value = serde_json::from_str(&helpers.stdout).unwrap();
    assert_eq!((helper["account"].as_str(), helper["thanked"].as_u64()), (Some("bob"), Some(1)));
}

/// Ana asks; Bob, who has the same trouble, names the brand below her post and so has a ticket of his own; both go on below
/// each other's posts, Cy advises one and Eve the other, and nobody names the brand any more.
const CROSSED: [(&str, &str, &str, &str); 9] = [
    ("1", "ana", "", "@lumio ma box est en panne depuis ce matin, rien ne marche, aidez-moi"),
    ("2", "bob", "1", "chez moi aussi lumio est en panne, plus d'internet, redémarrer ne sert à rien"),
    ("3", "ana", "2", "fait, toujours en panne"),
    ("4", "bob", "3", "pareil, toujours rien chez moi"),
    ("5", "cy", "2", "essaie de la débrancher dix minutes"),
    // From here on read by another daemon.
    ("6", "ana", "5", "débranchée, toujours rien"),
    ("7", "ana", "2", "toujours en panne ce soir"),
    ("8", "eve", "7", "et le câble ?"),
    ("9", "bob", "8", "le câble est bon, toujours en panne"),
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_whom_in_a_thread_each_goes_on_in_their_own_ticket() {
    let state = State::new("");
    let posts = write(&state, &CROSSED[..5]);
    let expected = |merged, unmatched| [("ticketed", 2), ("merged", merged), ("unmatched", unmatched)];
    settled(&state, &expected(2, 1)).await;
    std::fs::write(&posts, lines_of(&CROSSED)).unwrap();
    settled(&state, &expected(5, 2)).await;

    let mut replay = vigie();
    replay.args(["replay", "--format", "plain", "-c"]).arg(&state.config).arg(&posts);
    let replayed = run(&mut replay, b"").stdout;
    let of = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().map(str::to_owned)
    };
    let tickets: Vec<String> = replayed.lines().filter_map(of).collect();
    assert_eq!(tickets.len(), 2, "{replayed}");
    assert_eq!(posts_of(&state, &tickets[0]), ["1", "3", "6", "7"]);
    assert_eq!(posts_of(&state, &tickets[1]), ["2", "4", "9"]);
}

/// Who is in danger below somebody else's post names nobody.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_danger_in_somebodys_thread_has_a_ticket_and_who_wishes_luck_has_none() {
    let state = State::new("");
    write(
        &state,
        &[
            ("1", "ana", "", "@lumio ma box est en panne depuis ce matin, rien ne marche, aidez-moi"),
            ("2", "bob", "1", "bon courage"),
            ("3", "cy", "1", "au secours, la mienne a pris feu et ma fille est brûlée"),
        ],
    );
    settled(&state, &[("ticketed", 2), ("unmatched", 1)]).await;
}

const DESK: &str = "[routing]\ndefault_team = \"support\"\n[[team]]\nname = \"support\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_of_an_edit_that_it_changes_its_ticket() {
    let state = State::new("");
    let posts = write(&state, &[]);
    let config = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, config.replace("format = \"plain\"", "format = \"jetstream\"")).unwrap();
    let frame = |operation: &str, text: &str| {
        let record = serde_json::json!({ "text": text, "createdAt": "2026-07-04T14:10:00Z" });
        let commit = serde_json::json!({
            "operation": operation, "collection": "app.bsky.feed.post", "rkey": "3aaaaaaaaaaa2", "record": record,
        });
        let frame = serde_json::json!({
            "did": "did:plc:ana", "time_us": 1_783_174_200_000_000_i64, "kind": "commit", "commit": commit,
        });
        format!("{frame}\n")
    };
    let (first, milder) = ("@lumio ma box est en panne, mon numéro est le 06", "@lumio ma box est en panne");
    std::fs::write(&posts, frame("create", first)).unwrap();
    come(&state, 1).await;
    let explain = |post: &str, json: bool| {
        let mut command = vigie();
        command.args(["explain", "--format", "jetstream", "-c"]).arg(&state.config);
        let output = run(if json { command.arg("--json") } else { &mut command }, post.as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let check = |operation: &str, text: &str, outcome: &str, as_new: &str| {
        let told: serde_json::Value = serde_json::from_str(&explain(&frame(operation, text), true)).unwrap();
        assert_eq!([&told["outcome"], &told["as_new"]], [outcome, as_new], "{operation} {text}: {told}");
        told["ticket_id"].as_str().unwrap().to_owned()
    };
    let ticket = check("update", milder, "edited", "ticketed");
    assert_eq!(check("update", "elle a pris feu", "edited", "unmatched"), ticket);
    check("update", first, "duplicate", "ticketed");
    check("create", milder, "duplicate", "ticketed");
    let shown = explain(&frame("update", milder), false);
    let said =
        format!("edited: an edit of ticket {ticket}: shown, and raises the ticket where it makes it worse");
    assert!(shown.contains(&said), "{shown}");
    std::fs::write(&posts, frame("create", first) + &frame("update", milder)).unwrap();
    settled(&state, &[("ticketed", 1), ("merged", 1)]).await;
    check("update", milder, "duplicate", "ticketed");
}

/// `vigie explain` of each post before it comes, and what the daemon then makes of it: which ticket, what priority, whose.
#[tokio::test(flavor = "multi_thread")]
async fn explain_says_of_the_next_post_what_the_daemon_then_makes_of_it() {
    let state = State::new("");
    let posts = write(&state, &POSTS);
    std::fs::write(&posts, lines_of(&POSTS[..1])).unwrap();
    let config = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, format!("{config}\n{DESK}")).unwrap();
    let agents = state.path().join("agents.csv");
    std::fs::write(&agents, "name,team,capacity\nLena,support,1\nMax,support,1\n").unwrap();
    let imported = run(vigie().args(["import", "agents"]).arg(&agents).arg("-c").arg(&state.config), b"");
    assert!(imported.status.success(), "{}", imported.stderr);
    come(&state, 1).await;
    let explain = |post: &str, json: bool| {
        let mut command = vigie();
        command.args(["explain", "-c"]).arg(&state.config);
        let output = run(if json { command.arg("--json") } else { &mut command }, post.as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let expected = ["joined", "answer", "joined", "bystander", "joined", "ticketed", "duplicate"];
    let buckets = ["merged", "own", "merged", "unmatched", "merged", "ticketed", "duplicate"];
    for ((post, outcome), (bucket, frames)) in POSTS[1..].iter().zip(expected).zip(buckets.iter().zip(2..)) {
        let line = lines_of(std::slice::from_ref(post));
        let told: serde_json::Value = serde_json::from_str(&explain(&line, true)).unwrap();
        assert_eq!(told["outcome"], outcome, "{post:?}: {told}");
        assert_eq!(told["because"] == "stranger", outcome == "bystander", "{post:?}: {told}");
        if post.0 == "4" {
            let shown = explain(&line, false);
            let ticket = told["ticket_id"].as_str().unwrap();
            for part in [
                &format!("joins the open ticket {ticket} of Lumio, P"),
                "follow_ups",
                "priority of this post by itself",
            ] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            let (_, by_itself) = shown.split_once("priority of this post by itself").unwrap();
            assert!(!by_itself.split_once("conversation").unwrap().0.contains("follow_ups"), "{shown}");
        }
        let before = state.buckets().get(*bucket).copied().unwrap_or(0);
        let mut file = std::fs::OpenOptions::new().append(true).open(&posts).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        come(&state, frames).await;
        assert_eq!(state.buckets().get(*bucket).copied().unwrap_or(0), before + 1, "{post:?}");
        let made = match outcome {
            "ticketed" => &told["ticket"]["id"],
            _ => &told["ticket_id"],
        };
        let made = made.as_str().unwrap();
        let shown = run(vigie().args(["ticket", made, "--json", "-c"]).arg(&state.config), b"");
        assert!(shown.status.success(), "{post:?}: {}", shown.stderr);
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["ticket"]["id"], made);
        match outcome {
            "joined" => {
                let changes = shown["timeline"].as_array().unwrap().iter();
                let mut joined = changes.map(|event| &event["update"]["followed_up"]);
                let joined = joined.rfind(|joined| joined["post"]["id"] == post.0).unwrap();
                let after = &told["ticket_priority"]["after"];
                assert_eq!([&joined["priority"], &joined["level"]], [&after["priority"], &after["level"]]);
                assert_eq!(told["raises"], post.0 != "6");
            }
            "ticketed" => {
                // Lena has Ana's, and room for no other.
                assert_eq!(shown["ticket"]["assignment"], told["ticket"]["assignment"]);
                assert_eq!(told["ticket"]["assignment"]["agent"], "Max");
                assert_eq!(shown["ticket"]["priority"], told["ticket"]["priority"]);
            }
            _ => {}
        }
    }
    // Without the ledger there is no ticket to join.
    let mut command = vigie();
    command.args(["explain", "--json", "--no-context", "-c"]).arg(&state.config);
    let alone = run(&mut command, lines_of(&[("9", "ana", "", "@lumio toujours en panne")]).as_bytes());
    let alone: serde_json::Value = serde_json::from_str(&alone.stdout).unwrap();
    assert_eq!(alone["outcome"], "ticketed", "{alone}");
}

/// A log is rotated while the daemon is away: by as many lines, of which one was in the file before.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_another_loses_nothing_and_doubles_nothing() {
    let state = State::new("");
    let post = |id: &'static str, author: &'static str| {
        (id, author, "", "@lumio ma box est en panne depuis ce matin, rien ne marche, aidez-moi")
    };
    write(&state, &[post("1", "ana"), post("2", "bob")]);
    settled(&state, &[("ticketed", 2), ("duplicate", 0)]).await;
    write(&state, &[post("2", "bob"), post("3", "cy")]);
    settled(&state, &[("ticketed", 3), ("duplicate", 1)]).await;
    // And a start later it is the one that is known.
    write(&state, &[post("2", "bob"), post("3", "cy"), post("4", "dan")]);
    settled(&state, &[("ticketed", 4), ("duplicate", 1)]).await;
    write(&state, &[post("5", "eve")]);
    settled(&state, &[("ticketed", 5), ("duplicate", 1)]).await;
}
