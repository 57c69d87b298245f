//! A ticket that comes to be about something worse goes to another team, and is due sooner.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use vigie::ticket::proto::{TicketStatus, client_message::Kind, delivery::Record};
use vigie::wire::{Address, Client, Introduction};

use crate::daemon::{BRAND, CONVERSATION, State, patiently, run, vigie};

/// What is not urgent is Lena's and due in two hours; what is, is Max's and due in thirty minutes, and in fifteen where
/// somebody is in danger.
const DESK: &str = r#"
    [routing]
    default_team = "support"
    [[team]]
    name = "support"
    [[team]]
    name = "critical"
    [[route]]
    when = { urgency = "high" }
    team = "critical"
    [[expectation]]
    when = { urgency = "high" }
    answer_min = 30
"#;

const AGENTS: &str = "name,team,capacity\nLena,support,5\nMax,critical,5\n";

/// Two people ask something.
const CALM: &str = r#"{"id":"a1","author":"ana","text":"@lumio bonjour, ma box est un peu lente ce soir, une idée ?","created_at":"2026-07-06T09:00:00Z"}
{"id":"b1","author":"bob","text":"@lumio bonjour, comment changer le nom du wifi de ma box ?","created_at":"2026-07-06T09:01:00Z"}
"#;

/// And write again.
const WORSE: &str = r#"{"id":"a2","author":"ana","reply_to":"a1","text":"de la fumée sort de la box, il y a un début d'incendie, c'est très urgent, aidez-moi tout de suite","created_at":"2026-07-06T09:10:00Z"}
{"id":"b2","author":"bob","reply_to":"b1","text":"de la fumée sort de la box, il y a un début d'incendie, c'est très urgent, aidez-moi tout de suite","created_at":"2026-07-06T09:11:00Z"}
"#;

fn write(state: &State, posts: &str) {
    std::fs::write(state.path().join("posts.ndjson"), posts).unwrap();
}

fn state() -> State {
    let state = State::new("");
    write(&state, CALM);
    state.configure(&state.posts_source(), &format!("{BRAND}{DESK}"));
    let config = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, config.replace(CONVERSATION, "")).unwrap();
    let agents = state.path().join("agents.csv");
    std::fs::write(&agents, AGENTS).unwrap();
    let imported = run(vigie().args(["import", "agents"]).arg(agents).arg("-c").arg(&state.config), b"");
    assert!(imported.status.success(), "{}{}", imported.stdout, imported.stderr);
    state
}

/// Waits until a query of the ledger gives so much.
async fn until(state: &State, sql: &str, expected: i64) {
    patiently(sql, async {
        while state.ledger().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A helpdesk takes both tickets and says that Nora, of whom vigie knows nothing, has Bob's.
async fn name_nora(state: &State) {
    let introduction = Introduction { subscription: "desk".into(), ..Introduction::default() };
    let socket = Address::Unix(state.socket());
    let mut client = patiently("a welcome", Client::connect(&socket, introduction)).await.unwrap();
    for _ in 0..2 {
        let delivery = patiently("a ticket", client.next()).await.unwrap();
        client.ack(&[delivery.seq]).await.unwrap();
        let Some(Record::Ticket(ticket)) = delivery.record else { panic!("{delivery:?}") };
        let assignment = ticket.assignment.unwrap();
        assert_eq!((assignment.team.as_str(), assignment.agent.as_str()), ("support", "Lena"));
        if ticket.post.unwrap().id == "b1" {
            let (ticket_id, agent) = (ticket.id, "Nora".to_owned());
            let status = TicketStatus { ticket_id, state: 1, agent, ..TicketStatus::default() };
            client.report(Kind::TicketStatus(status)).await.unwrap();
        }
    }
    until(state, "SELECT count(*) FROM feedback", 1).await;
}

/// The records of each author's ticket in their order, as `vigie tail` shows them.
fn tail(state: &State, records: usize) -> [Vec<Value>; 2] {
    let count = records.to_string();
    let shown = run(vigie().args(["tail", "--json", "--count", &count, "--socket"]).arg(state.socket()), b"");
    assert!(shown.status.success(), "{}", shown.stderr);
    let lines: Vec<Value> = shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    ["a1", "b1"].map(|post| {
        let ticket = lines.iter().find(|line| line["post"]["id"] == post).unwrap();
        let of_it = |line: &&Value| line["id"] == ticket["id"] || line["update"]["ticket_id"] == ticket["id"];
        lines.iter().filter(of_it).cloned().collect()
    })
}

/// How long after that, to the microsecond.
fn due_after(from: &Value, due_at: &Value) -> SignedDuration {
    let at = |at: &Value| at.as_str().unwrap().parse::<Timestamp>().unwrap();
    at(due_at).duration_since(at(from))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_has_become_urgent_goes_to_the_team_for_that_unless_a_helpdesk_has_named_somebody() {
    let state = state();
    let daemon = state.start();
    name_nora(&state).await;
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");

    write(&state, &format!("{CALM}{WORSE}"));
    let daemon = state.start();
    until(&state, "SELECT count(*) FROM record WHERE kind = 1", 4).await;
    until(&state, "SELECT count(*) FROM ticket WHERE changed_seq IS NOT NULL", 0).await;
    let [ana, bob] = tail(&state, 6);
    for records in [&ana, &bob] {
        let [ticket, joined, anew] = &records[..] else { panic!("{records:?}") };
        assert_eq!(due_after(&ticket["created_at"], &ticket["due_at"]), SignedDuration::from_mins(120));
        assert_eq!(joined["update"]["change"]["followed_up"]["level"], "P1", "{joined}");
        let said = &anew["update"]["change"]["assigned"];
        let quarter = SignedDuration::from_mins(15);
        assert_eq!(
            due_after(&joined["update"]["at"], &said["due_at"]),
            quarter,
            "from the second on: {anew}"
        );
    }
    let said = &ana[2]["update"]["change"]["assigned"];
    assert_eq!((&said["team"], &said["agent"]), (&"critical".into(), &"Max".into()), "{said}");
    assert_eq!(said["reasons"][0], "route 1: urgency high");
    let said = &bob[2]["update"]["change"]["assigned"];
    assert_eq!(said["team"], Value::Null, "a helpdesk's word stands: {said}");
    let of_bob =
        "SELECT count(*) FROM assigned WHERE team = 'support' AND agent = 'Nora' AND by_helpdesk = 1";
    until(&state, of_bob, 1).await;

    // Whoever asks for the ticket sees it.
    let id = ana[0]["id"].as_str().unwrap();
    let shown = run(vigie().args(["ticket", id, "-c"]).arg(&state.config), b"");
    assert!(shown.stdout.contains("is now for critical, Max; answer by"), "{}{}", shown.stdout, shown.stderr);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    // Nothing is decided twice.
    let daemon = state.start();
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(state.updates(), 4);
}

/// What a replay of the posts prints: the same each time.
fn replayed(state: &State, format: &str) -> String {
    let replay = || {
        let mut command = vigie();
        command.args(["replay", "--format", format, "-c"]).arg(&state.config);
        let output = run(command.arg(state.path().join("posts.ndjson")), b"");
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout
    };
    let replayed = replay();
    assert_eq!(replayed, replay(), "the same bytes");
    replayed
}

#[test]
fn a_replay_routes_what_has_changed_again_and_the_same_way_each_time() {
    let state = state();
    write(&state, &format!("{CALM}{WORSE}"));
    let replayed = replayed(&state, "plain");
    let mut anew = String::new();
    for line in replayed.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let said = &line["update"]["change"]["assigned"];
        if let Some(team) = said["team"].as_str() {
            let (agent, due_at) = (said["agent"].as_str().unwrap(), said["due_at"].as_str().unwrap());
            writeln!(anew, "{team} {agent} {due_at}").unwrap();
        }
    }
    assert_eq!(anew, "critical Max 2026-07-06T09:25:00Z\ncritical Max 2026-07-06T09:26:00Z\n", "{replayed}");
}

/// A status of Mastodon as its streams bring it.
fn status(event: &str, id: &str, author: &str, text: &str) -> String {
    let account = format!("https://m.example/users/{author}");
    let payload = serde_json::json!({
        "uri": format!("https://m.example/users/{author}/statuses/{id}"),
        "created_at": format!("2026-07-06T09:0{id}:00Z"),
        "language": "en",
        "content": format!("<p>{text}</p>"),
        "account": { "acct": author, "uri": account },
    });
    let message = serde_json::json!({ "stream": ["public"], "event": event, "payload": payload.to_string() });
    format!("{message}\n")
}

/// Nobody else has said anything since: the ticket goes where it would have gone if that had been posted in the first place.
#[tokio::test(flavor = "multi_thread")]
async fn who_changes_a_post_into_one_about_danger_is_heard() {
    const DANGER: &str = "[[team]]\nname = \"support\"\n[[team]]\nname = \"critical\"\n[routing]\n\
                          default_team = \"support\"\n[[route]]\nwhen = { sensitive = \"safety\" }\nteam = \"critical\"\n";
    let state = State::new("");
    let source = state.posts_source().replace("\"plain\"", "\"mastodon\"");
    state.configure(&source, &format!("{BRAND}{DANGER}"));
    let posts = status("update", "1", "ana", "@lumio my parcel is late, where is it?")
        + &status("update", "2", "bob", "@lumio the app shows a blank page sinse this morning");
    let burnt = "the battery of my parcel caught fire and burned my hand";
    let edits = status("status.update", "1", "ana", burnt)
        + &status("status.update", "2", "bob", "@lumio the app shows a blank page since this morning");
    write(&state, &posts);
    let daemon = state.start();
    until(&state, "SELECT count(*) FROM ticket", 2).await;
    let (ended, log) = daemon.terminate();
    assert!(ended.success(), "{log}");

    write(&state, &(posts + &edits));
    let replayed = replayed(&state, "mastodon");
    let lines: Vec<Value> = replayed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes: Vec<&Value> =
        lines.iter().map(|line| &line["update"]["change"]).filter(|change| change.is_object()).collect();
    let [rescored, assigned] = &changes[..] else { panic!("{replayed}") };
    assert_eq!(assigned["assigned"]["team"], "critical");
    let reread = &rescored["rescored"];
    assert!(reread["priority"].as_u64().unwrap() >= 900, "{reread}");
    assert_eq!((&reread["level"], &reread["edited"]), (&"P1".into(), &true.into()));
    let of_floor = |factor: &Value| factor["name"] == "floor of safety";
    assert!(reread["factors"].as_array().unwrap().iter().any(of_floor), "{reread}");

    let daemon = state.start();
    until(&state, "SELECT count(*) FROM record WHERE kind = 1", 4).await;
    until(&state, "SELECT count(*) FROM ticket WHERE changed_seq IS NOT NULL", 0).await;
    let tail = run(vigie().args(["tail", "--json", "--count", "6", "--socket"]).arg(state.socket()), b"");
    let told: Vec<Value> = tail.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (told.len(), &told[0]["post"]["author"]["handle"]),
        (6, &"ana@m.example".into()),
        "worst first"
    );
    let of_ana = |line: &&Value| line["update"]["ticket_id"] == told[0]["id"];
    let changes: Vec<&Value> = told.iter().filter(of_ana).map(|line| &line["update"]["change"]).collect();
    assert_eq!(changes[0]["edited"], burnt);
    // The daemon's clock says how old the post was.
    let by_clock = |reread: &Value| [reread["level"].clone(), reread["verdict"].clone()];
    assert_eq!(by_clock(&changes[1]["rescored"]), by_clock(reread));
    assert_eq!(changes[2]["assigned"]["team"], "critical");
    let shown = run(vigie().args(["ticket", told[0]["id"].as_str().unwrap(), "-c"]).arg(&state.config), b"");
    let parts = ["caught fire and burned", "as it was edited: ", "is now for critical", "floor of safety"];
    for part in parts {
        assert!(shown.stdout.contains(part), "{part}: {}{}", shown.stdout, shown.stderr);
    }
    let (ended, log) = daemon.terminate();
    assert!(ended.success(), "{log}");
    // A stream that is rewound says nothing new.
    let file = std::fs::read_to_string(state.path().join("posts.ndjson")).unwrap();
    write(&state, &(status("update", "3", "cy", "@lumio hello, my invoice is wrong") + &file));
    let daemon = state.start();
    until(&state, "SELECT coalesce(sum(frames), 0) FROM bucket WHERE bucket = 'duplicate'", 4).await;
    let (ended, log) = daemon.terminate();
    assert!(ended.success(), "{log}");
    assert_eq!(state.updates(), 4);
}
