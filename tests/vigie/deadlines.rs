//! When answers are due: told in time, once, through restarts and kills, and explained.

use vigie::ticket::proto::update::{Change, overdue::State as Overdue};
use vigie::ticket::proto::{TicketStatus, client_message::Kind, delivery::Record};
use vigie::wire::{Address, Client, Introduction};

use crate::daemon::{QUICK_BRAND, State, get, patiently, run, vigie};

const POSTS: &str = r#"{"id":"1","author":"a1","text":"@lumio internet down again since this morning, fix it now","created_at":"2026-10-23T15:00:00Z"}
{"id":"2","author":"a2","text":"@lumio no internet since this morning, fix it now please","created_at":"2026-10-23T15:00:00Z"}
"#;

/// A daemon's folder with both posts, and these further lines in its config.
fn state(rest: &str) -> State {
    let state = State::new("");
    std::fs::write(state.path().join("posts.ndjson"), POSTS).unwrap();
    state.configure(&state.posts_source(), &format!("{QUICK_BRAND}{rest}"));
    state
}

async fn connect(state: &State) -> Client {
    let introduction = Introduction { subscription: "desk".into(), ..Introduction::default() };
    patiently("a welcome", Client::connect(&Address::Unix(state.socket()), introduction)).await.unwrap()
}

/// What comes next, acknowledged: its ticket, and the state if it says that an answer is late.
async fn take(client: &mut Client) -> (Vec<u8>, Option<Overdue>) {
    let delivery = patiently("a record", client.next()).await.unwrap();
    client.ack(&[delivery.seq]).await.unwrap();
    match delivery.record {
        Some(Record::Ticket(ticket)) => {
            assert_eq!(ticket.at_risk_at_us, ticket.created_at_us, "at once, as the config has it");
            (ticket.id, None)
        }
        Some(Record::Update(update)) => {
            let Some(Change::Overdue(overdue)) = update.change else { panic!("{update:?}") };
            (update.ticket_id, Some(overdue.state()))
        }
        None => panic!("{delivery:?}"),
    }
}

async fn until_stored(state: &State, table: &str, rows: i64) {
    let sql = format!("SELECT count(*) FROM {table}");
    patiently(table, async {
        while state.ledger().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap() < rows {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn report(client: &mut Client, ticket_id: &[u8], first_answer_at_us: i64) {
    let ticket_id = ticket_id.to_vec();
    let status = TicketStatus { ticket_id, state: 1, first_answer_at_us, ..TicketStatus::default() };
    client.report(Kind::TicketStatus(status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_told_once_before_it_is_late_and_once_after_whatever_ends_the_daemon() {
    let state = state("[answer_within]\nat_risk_share = 0.0\n");
    let daemon = state.start();
    let mut client = connect(&state).await;
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let (ticket, None) = take(&mut client).await else { panic!("told before any report") };
        tickets.push(ticket);
    }
    tickets.sort();
    // From the first report on there is somebody who tells what is answered.
    report(&mut client, &tickets[0], 0).await;
    until_stored(&state, "feedback", 1).await;
    until_stored(&state, "acknowledgement", 2).await;
    drop(client);
    daemon.kill();

    let changed = state.ledger().execute("UPDATE ticket SET overdue = 0, next_at_us = created_at_us", []);
    assert_eq!(changed.unwrap(), 2, "as if the moment came only now");
    let daemon = state.start();
    let mut client = connect(&state).await;
    let mut at_risk = Vec::new();
    for _ in 0..2 {
        let (ticket, Some(Overdue::AtRisk)) = take(&mut client).await else { panic!("not at risk") };
        at_risk.push(ticket);
    }
    at_risk.sort();
    assert_eq!(tickets, at_risk);
    report(&mut client, &tickets[0], 1).await;
    until_stored(&state, "feedback", 2).await;
    until_stored(&state, "acknowledgement", 4).await;
    drop(client);
    // A kill between the two states.
    daemon.kill();

    // As if two hours had passed.
    let changed = state.ledger().execute(
        "UPDATE ticket SET due_at_us = created_at_us, next_at_us = created_at_us WHERE next_at_us IS NOT NULL",
        [],
    );
    assert_eq!(changed.unwrap(), 2);
    let daemon = state.start();
    let mut client = connect(&state).await;
    assert_eq!(
        take(&mut client).await,
        (tickets[1].clone(), Some(Overdue::Breached)),
        "not what was answered"
    );
    let console = daemon.console();
    let pages = tokio::task::spawn_blocking(move || {
        let status = run(vigie().args(["status", "--http", &console]), b"");
        (get(&console, "/metrics"), status.stdout)
    });
    let (metrics, status) = pages.await.unwrap();
    for line in ["state=\"open\"} 0", "state=\"at_risk\"} 0", "state=\"breached\"} 1"] {
        assert!(
            metrics.contains(&format!("vigie_tickets_waiting{{{line}\n")),
            "{line} is missing in\n{metrics}"
        );
    }
    assert!(status.contains("0 in time · 0 at risk · 1 late"), "{status}");
    until_stored(&state, "acknowledgement", 5).await;
    drop(client);
    daemon.kill();

    let _daemon = state.start();
    let mut client = connect(&state).await;
    assert_eq!(client.welcome().pending, 0);
    // Whatever is late by now would be recorded with this report or before.
    report(&mut client, &tickets[0], 1).await;
    until_stored(&state, "feedback", 3).await;
    assert_eq!(state.updates(), 3, "two at risk, one breached");
}

const OFFICE: &str = r#"
    [[calendar]]
    name = "office"
    time_zone = "Europe/Paris"
    hours = "mon-fri 08:00-18:00"
    holidays = ["12-25", "2026-12-24 12:00-24:00"]
    [[expectation]]
    when = { sentiment = "positive" }
    answer_min = 600
    [[expectation]]
    when = { network = "plain" }
    answer_min = 240
    calendar = "office"
    [[expectation]]
    when = { network = "plain", brand = "Lumio" }
    answer_min = 60
"#;

#[test]
fn a_due_time_is_explained_and_the_same_in_a_replay_over_the_weekend_in_which_clocks_change() {
    let state = state(OFFICE);
    let (post, _) = POSTS.split_once('\n').unwrap();
    let explained = run(vigie().args(["explain", "-c"]).arg(&state.config), post.as_bytes());
    let expected = "answer within 4 h of working time: expectation 2, calendar office; \
                    at risk Mon 2026-10-26 09:00, due Mon 2026-10-26 10:00 UTC";
    assert!(explained.stdout.contains(expected), "{}{}", explained.stdout, explained.stderr);

    let replay = || {
        run(
            vigie().args(["replay", "-c"]).arg(&state.config).arg("--format=plain").arg("-"),
            POSTS.as_bytes(),
        )
    };
    let (first, again) = (replay(), replay());
    assert!(first.status.success(), "{}", first.stderr);
    assert_eq!(first.stdout, again.stdout);
    let tickets: Vec<serde_json::Value> =
        first.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tickets.len(), 2);
    for ticket in tickets {
        assert_eq!(
            (&ticket["at_risk_at"], &ticket["due_at"]),
            (&"2026-10-26T09:00:00Z".into(), &"2026-10-26T10:00:00Z".into())
        );
    }

    let checked = run(vigie().args(["check", "-c"]).arg(&state.config), b"");
    let warning = "expectation[3] never counts: expectation[2] holds wherever it does, and comes first";
    assert!(format!("{}{}", checked.stdout, checked.stderr).contains(warning), "{}", checked.stderr);
}
