//! Subscriptions without a name: they last as long as their connection.

use super::*;
use crate::access::brands::Brands;
use crate::access::{Grant, Rights, Roster};
use crate::ledger::outbox::{UNNAMED_MAX, UNNAMED_OWNED_MAX};
use crate::wire::client::Wanted;

fn unnamed() -> Introduction {
    Introduction { subscription: Wanted::Unnamed, window: 2, ..Default::default() }
}

/// Waits until so many subscriptions are left.
async fn left(daemon: &Daemon, subscriptions: usize) {
    let gone = async {
        while daemon.hub.outbox.lock().counts().count() > subscriptions {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), gone).await.expect("it goes with its connection");
}

#[tokio::test(start_paused = true)]
async fn acks_are_answered_without_the_ledger_and_nothing_is_left_when_it_goes() {
    let daemon = Daemon::new();
    daemon.memory.record(&[10, 20, 30]);
    // What waits for the ledger waits for ever.
    daemon.memory.hold();
    let mut client = daemon.introduce(unnamed()).await.unwrap();
    assert_eq!(client.welcome().pending, 3);
    assert_eq!(next_some(&mut client, 2).await, [(3, 1), (2, 1)]);
    client.ack(&[3, 2]).await.unwrap();
    assert_eq!(acked(&mut client).await, [3, 2]);
    assert_eq!(next(&mut client).await, (1, 1));
    client.nack(1, "later", Duration::from_secs(5)).await.unwrap();
    assert_eq!(next(&mut client).await, (1, 2));
    daemon.memory.record(&[40]);
    assert_eq!(next(&mut client).await, (4, 1));
    assert_eq!(daemon.memory.held(), 0, "nothing was asked of the ledger");
    drop(client);
    left(&daemon, 0).await;
    assert!(daemon.hub.bells.is_silent());

    // Another one begins anew, beside the first.
    let mut client = daemon.introduce(unnamed()).await.unwrap();
    assert_eq!(client.welcome().pending, 4);
    let other = daemon.introduce(unnamed()).await.unwrap();
    assert_eq!(other.welcome().pending, 4);
    assert_eq!(next(&mut client).await, (4, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_pruned_meanwhile_is_skipped() {
    let daemon = Daemon::new();
    daemon.memory.record(&[10, 20, 30]);
    daemon.memory.shelf.lock().bodies.remove(&Seq::new(2).unwrap());
    let mut client = daemon.introduce(unnamed()).await.unwrap();
    assert_eq!(next(&mut client).await, (3, 1));
    assert_eq!(next(&mut client).await, (1, 1));
    client.ack(&[3, 1]).await.unwrap();
    assert_eq!(acked(&mut client).await, [3, 1]);
    idle(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn one_too_many_is_refused_until_another_goes_and_a_limited_token_has_its_share() {
    let mut roster = Roster::default();
    let brands = Brands::new(["lumio".to_owned()]);
    for (name, brands) in [("lumio", brands), ("all", None)] {
        let grant = Grant { name: name.into(), rights: Rights::SOCKET, brands };
        assert!(roster.add_token(&format!("of {name}"), grant));
    }
    let daemon = Daemon { access: Arc::new(Access::new(roster)), ..Daemon::new() };
    daemon.memory.record_of("lumio", &[1], 20);
    daemon.memory.record_of("volt", &[2], 20);
    let with = |name: &str| Introduction { token: format!("of {name}"), ..unnamed() };
    let mut clients = Vec::new();
    for _ in 0..UNNAMED_OWNED_MAX {
        let mut client = daemon.introduce(with("lumio")).await.unwrap();
        assert_eq!(next(&mut client).await, (1, 1), "of its brand, and nothing else");
        clients.push(client);
    }
    let refused = async |name: &str| match daemon.introduce(with(name)).await {
        Err(ClientError::Goodbye { code, reason }) => (code, reason),
        _ => panic!("one too many of {name} got in"),
    };
    let full = || (Code::Fault, "too many subscriptions without a name".to_owned());
    assert_eq!(refused("lumio").await, full());
    while clients.len() < UNNAMED_MAX {
        let mut client = daemon.introduce(with("all")).await.unwrap();
        assert_eq!(next(&mut client).await, (2, 1));
        clients.push(client);
    }
    assert_eq!(refused("all").await, full());
    drop(clients.pop());
    left(&daemon, UNNAMED_MAX - 1).await;
    daemon.introduce(with("all")).await.unwrap();
}
