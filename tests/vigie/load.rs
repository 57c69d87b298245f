//! The load generator's scenarios, small and short: nothing is lost, and what is lost would be seen.

use std::time::Duration;

use firehose::run::{Changes, Outcome, Scenario, Settings, helpdesk, restart, run};

use crate::daemon::patiently;

/// Three seconds of a scenario at a few hundred posts a second.
fn small(scenario: Scenario, rate: &str) -> Settings {
    let mut settings = Settings::new(scenario, env!("CARGO_BIN_EXE_vigie"));
    settings.changes = Changes {
        duration: Some(Duration::from_secs(3)),
        rate: Some(rate.parse().unwrap()),
        share: Some(0.1),
        seed: 7,
        connections: 100,
    };
    // The small model may make other tickets than replay, and on a busy machine it is asked.
    let set = ["model.runtime=\"rten\"", "engine.under_load=\"same\""];
    settings.set = set.map(|setting| setting.parse().unwrap()).into();
    settings
}

async fn outcome(settings: &Settings) -> Outcome {
    patiently("the end of a run", run(settings, &|_| ())).await.unwrap()
}

/// Runs the scenario and checks that it conserves everything, and that there was something to conserve.
async fn check(scenario: Scenario, rate: &str) -> Outcome {
    let outcome = outcome(&small(scenario, rate)).await;
    assert!(outcome.is_sound(), "{outcome}\n{}", outcome.log);
    let balance = &outcome.result.balance;
    assert!(balance.tickets_received > 20, "{outcome}");
    let came = balance.tickets_received + balance.posts_joined;
    assert_eq!(balance.tickets_expected, Some(came), "{outcome}");
    let replayed = outcome.result.replayed.unwrap();
    assert!(replayed.background > 0 && replayed.background_candidates == 0, "{outcome}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn an_average_day_is_conserved() {
    let outcome = check(Scenario::Steady, "300").await;
    let result = &outcome.result;
    assert_eq!((result.frames_written, result.frames_received), (900, 900), "{outcome}");
    let latency = result.latency_ms;
    assert!(0.0 < latency.p50 && latency.p50 <= latency.p99 && latency.p99 <= latency.p999, "{outcome}");
    assert!(result.cpu_s_per_million_posts > 0.0 && result.rss_max_mib > 0.0, "{outcome}");

    let folder = tempfile::tempdir().unwrap();
    outcome.write_report(folder.path()).unwrap();
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("Everything is conserved.") && page.contains("vigie-lane-0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_over_tcp_are_conserved() {
    check(Scenario::Record, "300").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_conserved() {
    let outcome = check(Scenario::Outage, "200").await;
    assert!(outcome.result.first_ticket_ms.is_some(), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_helpdesk_gets_the_worst_first_and_loses_nothing() {
    let outcome = check(Scenario::SlowHelpdesk, "300").await;
    let slow = outcome.result.slow_helpdesk.unwrap();
    assert!(slow.taken > 0 && slow.pending > 0 && slow.out_of_turn == 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_helpdesk_may_come_and_go() {
    let outcome = check(Scenario::Reconnects, "300").await;
    assert!(outcome.result.connections_lost >= 4 && outcome.result.helpdesk_reconnects > 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_idle_clients_costs_no_ticket() {
    let outcome = check(Scenario::Crowd, "300").await;
    let crowd = outcome.result.crowd.unwrap();
    assert_eq!((crowd.connections, crowd.came, crowd.stayed), (100, 100, 100), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_is_not_let_in_is_seen() {
    let mut settings = small(Scenario::Crowd, "300");
    settings.set.push("wire.connections_max=50".parse().unwrap());
    let outcome = outcome(&settings).await;
    assert!(outcome.to_string().contains("of 100 idle clients were let in"), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_what_was_pending() {
    let settings = Settings { pending: Some(1_500), ..small(Scenario::Restart, "300") };
    let outcome = patiently("the end of a run", restart::run(&settings, &|_| ())).await.unwrap();
    let result = &outcome.result;
    // How fast it is is not for a test on a busy machine to say.
    let violations: Vec<&String> =
        result.violations.iter().filter(|violation| !violation.contains("to the first ticket")).collect();
    assert!(violations.is_empty(), "{outcome}");
    assert!(
        result.pending >= 1_500 && result.after_kill_ms.p50 > 0.0 && result.after_drain_ms.p50 > 0.0,
        "{outcome}"
    );
    assert!(result.taken >= 1_000, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn helpdesks_get_each_ticket_once_and_the_worst_first() {
    let settings = Settings { pending: Some(150), ..small(Scenario::Helpdesk, "300") };
    let outcome = patiently("the end of a run", helpdesk::run(&settings, &|_| ())).await.unwrap();
    assert!(outcome.is_sound(), "{outcome}");
    let result = &outcome.result;
    assert!(result.tickets > 100 && result.unclear_ends > 50 && result.unclear_adopted > 20, "{outcome}");
    assert!(result.paced_calls >= result.tickets && result.cpu_ms_per_ticket > 0.0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_a_helpdesk_has_not_or_twice_is_seen() {
    let settings = Settings {
        pending: Some(40),
        lose_ticket: true,
        repeat_ticket: true,
        ..small(Scenario::Helpdesk, "300")
    };
    let outcome = patiently("the end of a run", helpdesk::run(&settings, &|_| ())).await.unwrap();
    let (result, text) = (&outcome.result, outcome.to_string());
    assert_eq!((result.unclear_lost, result.unclear_doubled), (1, 1), "{outcome}");
    assert!(text.contains("1 tickets are not in the helpdesk that fails"), "{outcome}");
    assert!(text.contains("1 tickets are twice in the helpdesk that fails"), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ticket_is_seen() {
    let settings = Settings { lose_ticket: true, ..small(Scenario::Steady, "300") };
    let outcome = outcome(&settings).await;
    assert!(!outcome.is_sound());
    assert_eq!(outcome.result.balance.missing, 1, "{outcome}");
    assert!(outcome.to_string().contains("1 tickets are missing"), "{outcome}");
}
