//! Whatever is killed, and whenever: nothing is lost, and nothing comes again after its ack.

use std::collections::BTreeSet;
use std::time::Duration;

use firehose::run::crash::{self, CrashOutcome};
use firehose::run::{Changes, Scenario, Settings};

use crate::daemon::{Network, State, patiently, reserved, ticket_of};

/// Kills the daemon with a window half acknowledged: some acks confirmed, some under way, some deliveries
/// never answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_again_and_again_loses_and_repeats_nothing() {
    let network = Network::new(4_000, 0.04);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;

    // What the ledger holds as acknowledged when the daemon is dead, and what it had told us of that.
    let mut durable = BTreeSet::new();
    let mut received = BTreeSet::new();
    let mut kills = 0;
    patiently("all tickets", async {
        while durable.len() < expected.len() {
            let daemon = state.start();
            let mut client = state.subscribe("helpdesk", 16).await;
            // Each run takes a few more; the eighth takes what is left.
            let deliveries = if kills < 7 { 5 + 7 * kills } else { usize::MAX };
            let mut acknowledged = Vec::new();
            let mut confirmed = BTreeSet::new();
            for _ in 0..deliveries {
                let delivery = client.next().await.unwrap();
                if let Some(ticket) = ticket_of(&delivery) {
                    assert!(!durable.contains(&ticket), "{ticket} came again after its ack was durable");
                    received.insert(ticket);
                }
                acknowledged.push(ticket_of(&delivery));
                client.ack(vec![delivery.seq]).await.unwrap();
                // Acks are confirmed in the order in which they were sent.
                let safe = usize::try_from(client.acks_confirmed()).unwrap();
                confirmed = acknowledged[..safe].iter().flatten().cloned().collect();
                if durable.len() + acknowledged.iter().flatten().count() == expected.len() {
                    // Nothing more will come, so the last confirmations are waited for.
                    client.settle().await.unwrap();
                    break;
                }
            }
            daemon.kill();
            kills += 1;
            durable = state.acknowledged("helpdesk");
            assert!(confirmed.is_subset(&durable), "an ack was confirmed before it was on disk");
        }
    })
    .await;
    assert!(kills >= 6, "the daemon was killed only {kills} times");
    assert_eq!(received, expected);
    assert_eq!(state.buckets().get("ticketed"), Some(&(expected.len() as i64)));
}

/// The load generator's driver, `firehose run crash`, for a few kills; what is left of it is removed with `folder`.
async fn crash(folder: &std::path::Path, change: impl FnOnce(&mut Settings)) -> CrashOutcome {
    let mut settings = Settings::new(Scenario::Crash, env!("CARGO_BIN_EXE_vigie"));
    settings.changes =
        Changes { rate: Some("600".parse().unwrap()), share: Some(0.05), seed: 11, ..settings.changes };
    // On a busy machine the small model would be asked, which lets other posts join.
    let set = ["model.runtime=\"rten\"", "engine.under_load=\"same\""];
    settings.set = set.map(|setting| setting.parse().unwrap()).into();
    settings.state = Some(folder.to_owned());
    settings.keep_state = true;
    change(&mut settings);
    patiently("the end of a run", crash::run(&settings, &|_| ())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_moments_from_a_seed_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = crash(folder.path(), |settings| settings.kills = 5).await;
    assert!(outcome.is_sound(), "{outcome}");
    let result = &outcome.result;
    assert_eq!((result.kills, result.phases.values().sum::<u64>()), (5, 5), "{outcome}");
    let balance = &result.balance;
    let came = balance.tickets_received + balance.posts_joined;
    assert_eq!(balance.tickets_expected, Some(came - balance.withdrawn));
    assert!(balance.posts_joined > 0, "{outcome}");
    assert!(result.balance.tickets_received > 20 && result.balance.frames_repeated > 0, "{outcome}");

    let ledger = rusqlite::Connection::open(outcome.kept.unwrap().join("ledger.sqlite")).unwrap();
    let check: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let frames: i64 = ledger.query_row("SELECT sum(frames) FROM bucket", [], |row| row.get(0)).unwrap();
    assert_eq!(frames.unsigned_abs(), result.frames_received);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_lost_or_delivered_after_its_ack_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = crash(folder.path(), |settings| {
        (settings.kills, settings.lose_ticket, settings.repeat_ticket) = (1, true, true);
    });
    let outcome = outcome.await;
    let balance = &outcome.result.balance;
    assert_eq!((balance.missing, balance.duplicates), (1, 1), "{outcome}");
    let text = outcome.to_string();
    for part in
        ["--seed 11", "missing: ticket ", "twice: ticket ", "1 tickets are missing", "1 tickets came twice"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_goes_away_and_comes_back_is_resumed_without_a_gap() {
    let network = Network::new(3_000, 0.03);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    // Nobody serves yet: the daemon must wait for its network.
    let daemon = state.start();
    let mut client = state.subscribe("helpdesk", 50).await;
    let mut received = BTreeSet::new();
    patiently("all tickets", async {
        while received.len() < expected.len() {
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let serving = network.serve(stopped).await;
            let until = received.len() + expected.len() / 3;
            while received.len() < until.min(expected.len()) {
                let delivery = client.next().await.unwrap();
                client.ack(vec![delivery.seq]).await.unwrap();
                if let Some(ticket) = ticket_of(&delivery) {
                    assert!(received.insert(ticket), "delivered twice: {delivery:?}");
                }
            }
            drop(stop);
            serving.finished().await;
        }
    })
    .await;
    assert_eq!(received, expected);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    let gaps: i64 = state.ledger().query_row("SELECT count(*) FROM gap", [], |row| row.get(0)).unwrap();
    assert_eq!(gaps, 0, "the server replays everything, so no hole may be booked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_older_than_the_networks_memory_is_booked_as_a_gap() {
    let mut network = Network::new(2_000, 0.03);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let serving = network.serve(stopped).await;
    let daemon = state.start();
    wait_for_frames(&state, 2_000).await;
    daemon.kill();
    drop((_stop, serving));

    // The same network an hour later, which remembers only what comes from there on.
    let start = network.config.start.unwrap() + Duration::from_secs(3600);
    network.config.start = Some(start);
    network.config.listen = reserved();
    state.configure(&network.source(), crate::daemon::BRAND);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let _daemon = state.start();
    wait_for_frames(&state, 4_000).await;
    let (from, to): (i64, i64) = state
        .ledger()
        .query_row("SELECT from_position, to_position FROM gap", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let hour = Duration::from_secs(3600).as_micros() as i64;
    assert!((hour - 100_000..=hour).contains(&(to - from)), "a hole of {} µs", to - from);
}

async fn wait_for_frames(state: &State, frames: i64) {
    patiently("frames", async {
        while state.buckets().values().sum::<i64>() < frames {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
