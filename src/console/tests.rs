use jiff::Timestamp;

use super::service::ServiceStatus;
use super::*;
use crate::ledger::SourceAccount;
use crate::source::{HealthState, PaceState};
use crate::telemetry::Bucket;

fn status() -> Status {
    let mut account = SourceAccount {
        position: Some(5),
        gaps: 3,
        gaps_recovered: 1,
        gap_length: 90e6,
        gap_length_recovered: 30e6,
        ..SourceAccount::default()
    };
    account.buckets[Bucket::Unmatched] = 40;
    account.buckets[Bucket::Ticketed] = 2;
    let pace = PaceState {
        usual_per_s: Some(6_000.0),
        silent_since_us: Some(500_000),
        silences: 2,
        ..PaceState::default()
    };
    let health = HealthState {
        connected: true,
        reconnects: 3,
        position: Some(2_000_000),
        pace,
        ..HealthState::default()
    };
    let now = Timestamp::from_millisecond(3_500).unwrap();
    let source = SourceStatus::new("blue\"sky", "jetstream", health, &account, true, now);
    assert_eq!(source.trouble, "silent for 3 s, unnatural at its usual 6000/s");
    Status {
        version: "0.0.0".to_owned(),
        at_us: 0,
        uptime_s: 0,
        model: "model 1".to_owned(),
        runtime: "rten".to_owned(),
        received: source.received,
        buckets: source.buckets.clone(),
        sources: vec![source],
        queue_batches: 0,
        queue_candidates: 7,
        verdicts_full: 11,
        verdicts_quick: 12,
        tickets_provisional: 13,
        ledger: LedgerStatus {
            live_bytes: 4096,
            context_bytes: 2048,
            live_bytes_max: Some(8192),
            blocked: true,
            tickets_pruned: 14,
            answers: AnswersStatus { open: 15, at_risk: 16, breached: 17 },
            ..LedgerStatus::default()
        },
        connections: 5,
        strangers: 2,
        bridges: bridges(),
        connections_refused: 3,
        tokens_refused: 4,
        subscriptions: vec![SubscriptionStatus {
            name: "helpdesk".to_owned(),
            pending: 9,
            in_flight: 1,
            deferred: 0,
            acknowledged: 21,
        }],
        service: ServiceStatus::default(),
    }
}

fn bridges() -> Vec<BridgeStatus> {
    vec![BridgeStatus {
        name: "desk".to_owned(),
        subscription: "bridge-desk".to_owned(),
        connected: true,
        waiting: 7,
        made: 31,
        unknown: 1,
        reported: 32,
        calls_per_minute: 80,
        calls_last_minute: 79,
        calls_limited: 2,
        paused_until_us: Some(5_000_000),
        ..BridgeStatus::default()
    }]
}

#[test]
fn the_trouble_of_a_bridge_is_what_matters_most() {
    let [bridge] = &bridges()[..] else { unreachable!("one") };
    let check = |bridge: BridgeStatus, expected: &str| assert_eq!(bridge.trouble(2_000_000), expected);
    check(bridge.clone(), "the helpdesk asks to wait, for 3 s more");
    let held = BridgeStatus { held: true, last_error: "status 401".to_owned(), ..bridge.clone() };
    check(held.clone(), "the helpdesk takes nothing: status 401");
    check(BridgeStatus { connected: false, ..held }, "not connected");
    check(BridgeStatus { paused_until_us: Some(1_000_000), ..bridge.clone() }, "");
}

#[test]
fn metrics_have_help_type_and_escaped_labels() {
    let page = exposition(&status());
    for expected in [
        "# HELP vigie_frames_total Frames received, by where they ended.\n# TYPE vigie_frames_total counter\n",
        "vigie_frames_total{source=\"blue\\\"sky\",bucket=\"ticketed\"} 2\n",
        "vigie_frames_total{source=\"blue\\\"sky\",bucket=\"shed\"} 0\n",
        "vigie_source_lag_seconds{source=\"blue\\\"sky\"} 1.5\n",
        "vigie_info{version=\"0.0.0\",model=\"model 1\",runtime=\"rten\"} 1\n",
        "vigie_source_gaps_recovered_total{source=\"blue\\\"sky\"} 1\n",
        "vigie_source_gap_seconds{source=\"blue\\\"sky\",recovered=\"false\"} 60\n",
        "vigie_source_gap_seconds{source=\"blue\\\"sky\",recovered=\"true\"} 30\n",
        "vigie_source_usual_rate{source=\"blue\\\"sky\"} 6000\n",
        "vigie_source_silent_seconds{source=\"blue\\\"sky\"} 3\n",
        "vigie_source_silences_total{source=\"blue\\\"sky\"} 2\n",
        "vigie_queue_candidates 7\n",
        "vigie_verdicts_total{pace=\"quick\"} 12\n",
        "vigie_tickets_provisional 13\n",
        "vigie_ledger_bytes{state=\"live\"} 4096\n",
        "vigie_ledger_live_bytes_max 8192\n",
        "vigie_ledger_blocked 1\n",
        "vigie_tickets_pruned_total 14\n",
        "vigie_tickets_waiting{state=\"open\"} 15\n",
        "vigie_tickets_waiting{state=\"at_risk\"} 16\n",
        "vigie_tickets_waiting{state=\"breached\"} 17\n",
        "vigie_connections{state=\"client\"} 3\n",
        "vigie_connections_refused_total 3\n",
        "vigie_tokens_refused_total 4\n",
        "vigie_subscription_records{subscription=\"helpdesk\",state=\"pending\"} 9\n",
        "vigie_subscription_acknowledged_total{subscription=\"helpdesk\"} 21\n",
        "vigie_bridge_connected{bridge=\"desk\",subscription=\"bridge-desk\"} 1\n",
        "vigie_bridge_paused{bridge=\"desk\",subscription=\"bridge-desk\"} 1\n",
        "vigie_bridge_calls_per_minute{bridge=\"desk\",subscription=\"bridge-desk\"} 79\n",
        "vigie_bridge_calls_per_minute_limit{bridge=\"desk\",subscription=\"bridge-desk\"} 80\n",
        "vigie_bridge_tickets_total{bridge=\"desk\",subscription=\"bridge-desk\",outcome=\"unknown\"} 1\n",
        "vigie_bridge_reports_total{bridge=\"desk\",subscription=\"bridge-desk\"} 32\n",
    ] {
        assert!(page.contains(expected), "{expected:?} is missing in\n{page}");
    }
}

#[test]
fn a_daemon_is_ready_once_every_source_is_connected_or_finished() {
    let mut status = status();
    assert_eq!(status.unready(), None);
    status.sources[0].connected = false;
    status.sources[0].trouble = "HTTP 503".to_owned();
    assert_eq!(status.unready(), Some("source blue\"sky: HTTP 503".to_owned()));
    status.sources[0].finished = true;
    assert_eq!(status.unready(), None);
}

#[test]
fn a_status_reads_back_as_it_was_written() {
    let text = serde_json::to_string(&status()).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status());
}

#[tokio::test]
async fn pages_answer_over_http() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let console = Console::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = console.address();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(console.serve(Arc::new(status), Arc::default(), stopped));
    let ask = async |address: SocketAddr, path: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(ask(address, "/").await.contains("<title>vigie</title>"));
    assert!(ask(address, "/healthz").await.ends_with("ok\n"));
    assert!(ask(address, "/readyz").await.contains("200 OK"));
    assert!(ask(address, "/metrics").await.contains("text/plain; version=0.0.4"));
    assert!(ask(address, "/v1/status").await.contains("\"queue_candidates\":7"));
    assert!(ask(address, "/nothing").await.contains("404"));
    stop.send_replace(true);
    serving.await.unwrap();

    let judge: Judge = Arc::new(|| Some("vigie-ledger is stuck".to_owned()));
    let console = Console::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().judged_by(judge);
    let (address, (_stop, stopped)) = (console.address(), watch::channel(false));
    let look: Look = Arc::new(|| unreachable!("health looks at nothing else"));
    tokio::spawn(console.serve(look, Arc::default(), stopped));
    let sick = ask(address, "/healthz").await;
    assert!(sick.contains("503 Service Unavailable") && sick.ends_with("vigie-ledger is stuck\n"), "{sick}");
}
