//! Who gets which ticket, against the real ledger.

use crate::daemon::{State, patiently, ticket_of, until_in_flight};
use firehose::client::proto;
use proto::delivery::Record;

/// Six posts to our handle, the worst in the middle, as a file.
fn posts() -> String {
    let texts = [
        ("1", "@lumio thanks, great service, all works fine"),
        ("2", "@lumio do you ship to Spain?"),
        ("3", "@lumio URGENT my elderly mother has no phone for 3 days, your box is dead, nobody helps"),
        ("4", "@lumio could you add a dark mode to the app please"),
        ("5", "@lumio internet down again since this morning, I cannot work, fix it now"),
        ("6", "@lumio merci beaucoup, super service"),
    ];
    texts
        .map(|(id, text)| {
            format!(r#"{{"id":"{id}","author":"a{id}","text":"{text}","created_at":"2026-11-02T10:00:00Z"}}"#)
        })
        .join("\n")
}

fn state() -> State {
    let state = State::new("");
    std::fs::write(state.path().join("posts.ndjson"), posts()).unwrap();
    state.configure(&state.posts_source(), crate::daemon::BRAND);
    state
}

async fn wait_until_settled(state: &State) {
    patiently("six posts", async {
        while state.buckets().values().sum::<i64>() < 6 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_comes_first_and_its_points_add_up() {
    let state = state();
    let _daemon = state.start();
    wait_until_settled(&state).await;
    let tickets = state.buckets()["ticketed"];
    assert!(tickets >= 4, "only {tickets} of six posts to our handle became tickets");

    let mut client = state.subscribe("helpdesk", 1).await;
    let mut priorities = Vec::new();
    for _ in 0..tickets {
        let delivery = patiently("a ticket", client.next()).await.unwrap();
        let Some(Record::Ticket(ticket)) = &delivery.record else { panic!("{delivery:?}") };
        priorities.push(ticket.priority);
        assert_eq!(u64::from(ticket.priority), factors(ticket), "the breakdown adds up to the priority");
        client.ack(vec![delivery.seq]).await.unwrap();
    }
    assert!(priorities.is_sorted_by(|a, b| a >= b), "{priorities:?}");
}

fn factors(ticket: &proto::Ticket) -> u64 {
    let sum: i32 = ticket.factors.iter().map(|factor| factor.points).sum();
    sum.clamp(0, 1000).unsigned_abs().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscription_has_its_own_copy_and_its_clients_share_it() {
    let state = state();
    let daemon = state.start();
    wait_until_settled(&state).await;
    let tickets = state.buckets()["ticketed"];

    let mut first = state.subscribe("shared", 1).await;
    let mut second = state.subscribe("shared", 1).await;
    let mut other = state.subscribe("other", 100).await;
    let a = patiently("a ticket", first.next()).await.unwrap();
    let b = patiently("a ticket", second.next()).await.unwrap();
    assert_ne!(ticket_of(&a), ticket_of(&b), "two clients of one name share the work");
    let mut copies = Vec::new();
    for _ in 0..tickets {
        copies.extend(ticket_of(&patiently("a ticket", other.next()).await.unwrap()));
    }
    assert!(copies.contains(&ticket_of(&a).unwrap()) && copies.contains(&ticket_of(&b).unwrap()));

    // A client that goes without an ack leaves its ticket to the others.
    drop(first);
    until_in_flight(&daemon.console(), "shared", 1).await;
    second.ack(vec![b.seq]).await.unwrap();
    let again = patiently("the ticket left behind", second.next()).await.unwrap();
    assert_eq!((ticket_of(&again), again.attempt), (ticket_of(&a), 2));
}
