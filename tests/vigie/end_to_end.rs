//! Posts arrive over a real WebSocket, and the right tickets come out of the real socket.

use std::collections::BTreeSet;

use crate::daemon::{Network, State, patiently, ticket_of};

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
    patiently("all tickets", async {
        while received.len() < expected.len() {
            let delivery = client.next().await.unwrap();
            client.ack(vec![delivery.seq]).await.unwrap();
            if let Some(ticket) = ticket_of(&delivery) {
                assert!(received.insert(ticket), "delivered twice: {delivery:?}");
            }
        }
        client.settle().await.unwrap();
    })
    .await;
    assert_eq!(received, expected);

    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    let buckets = state.buckets();
    assert_eq!(buckets.get("ticketed"), Some(&(expected.len() as i64)), "{buckets:?}");
    assert_eq!(buckets.values().sum::<i64>(), 3_000, "every frame served is in one bucket: {buckets:?}");
}
