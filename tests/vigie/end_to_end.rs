//! Posts arrive over a real WebSocket, and the right tickets come out of the real socket.

use std::collections::BTreeSet;
use std::time::Duration;

use firehose::client::proto::delivery::Record;
use tokio::time::timeout;

use crate::daemon::{Network, State, hex, patiently, ticket_of};

#[tokio::test(flavor = "multi_thread")]
async fn every_post_that_replay_would_ticket_arrives_once() {
    let network = Network::new(3_000, 0.03);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    assert!(expected.len() > 50, "only {} tickets expected", expected.len());

    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    let mut client = state.subscribe("helpdesk", 100).await;
    let mut received = BTreeSet::new();
    let mut updates = 0;
    patiently("all tickets, and all updates of them", async {
        while state.frames() < 3_000 || updates < state.updates() || received.len() < expected.len() {
            // The last frames may make no record, and be counted after the last one came.
            let Ok(delivery) = timeout(Duration::from_millis(100), client.next()).await else { continue };
            let delivery = delivery.unwrap();
            client.ack(vec![delivery.seq]).await.unwrap();
            match &delivery.record {
                Some(Record::Update(update)) => {
                    let ticket = hex(&update.ticket_id);
                    assert!(received.contains(&ticket), "an update before its ticket: {delivery:?}");
                    updates += 1;
                }
                _ => {
                    let ticket = ticket_of(&delivery).unwrap();
                    assert!(received.insert(ticket), "delivered twice: {delivery:?}");
                }
            }
        }
        client.settle().await.unwrap();
    })
    .await;
    assert_eq!(received, expected);
    assert!(updates > 5, "the network deletes and edits posts, and only {updates} updates came");

    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    let buckets = state.buckets();
    assert_eq!(buckets.get("ticketed"), Some(&(expected.len() as i64)), "{buckets:?}");
    assert_eq!(buckets.values().sum::<i64>(), 3_000, "every frame served is in one bucket: {buckets:?}");
}
