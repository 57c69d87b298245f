//! More reports than the full model can read: the small one reads them at once, the full one afterwards.

use std::collections::BTreeMap;

use firehose::client::proto::{self, delivery::Record, update::Change};

use crate::daemon::{BRAND, Network, State, hex, patiently, run, vigie};

/// What a helpdesk ends up with: level, whether it is a customer message, and the model that said so last.
#[derive(Debug, Clone, PartialEq)]
struct Standing {
    priority: u32,
    unsupported: bool,
    model: String,
}

fn model_of(verdict: Option<&proto::Verdict>) -> String {
    verdict.map(|verdict| verdict.model.clone()).unwrap_or_default()
}

/// Each post's priority by the full model, as a replay of everything gives it.
fn replayed(network: &Network, state: &State) -> BTreeMap<String, u32> {
    let frames = network.frames().join("\n");
    let output = run(vigie().args(["replay", "-c"]).arg(&state.config).arg("-"), frames.as_bytes());
    assert!(output.status.success(), "{}", output.stderr);
    let ticket = |line: &str| {
        let ticket: serde_json::Value = serde_json::from_str(line).unwrap();
        (ticket["id"].as_str().unwrap().to_owned(), ticket["priority"].as_u64().unwrap() as u32)
    };
    output.stdout.lines().map(ticket).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_small_model_decided_under_load_is_what_the_full_one_says_in_the_end() {
    let network = Network::new(1_500, 0.4);
    let state = State::new(&network.source());
    // A replay takes the time from the posts, which are old news to a daemon of today.
    let brand = format!("{BRAND}\n[priority]\nage = {{ points_per_hour = 0, points_max = 0 }}\n");
    state.configure(&network.source(), &brand);
    let replayed = replayed(&network, &state);
    // The first batch alone holds more than an eighth of this queue, so that the small model is asked, and all
    // batches together less than the half that is open to mere names: none is shed.
    let brand = brand.replace("under_load = \"same\"", "under_load = \"small\"\nqueue_candidates = 1900");
    state.configure(&network.source(), &brand);

    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    let mut client = state.subscribe("helpdesk", 1_000).await;
    let mut standing = BTreeMap::<String, Standing>::new();
    let mut small = 0;
    let provisional = || -> i64 {
        let sql = "SELECT count(*) FROM ticket WHERE provisional = 1";
        state.ledger().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let mut records = 0;
    let recorded =
        || -> i64 { state.ledger().query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap() };
    patiently("every ticket, and every change of one", async {
        while state.frames() < 1_500 || provisional() > 0 || records < recorded() {
            let Ok(delivery) =
                tokio::time::timeout(std::time::Duration::from_millis(100), client.next()).await
            else {
                continue;
            };
            let delivery = delivery.unwrap();
            client.ack(vec![delivery.seq]).await.unwrap();
            records += 1;
            match delivery.record.unwrap() {
                Record::Ticket(ticket) => {
                    let model = model_of(ticket.verdict.as_ref());
                    small += usize::from(model.starts_with("vigie-small"));
                    let first = Standing { priority: ticket.priority, unsupported: false, model };
                    assert_eq!(standing.insert(hex(&ticket.id), first), None, "one ticket a post");
                }
                Record::Update(update) => {
                    let ticket =
                        standing.get_mut(&hex(&update.ticket_id)).expect("a ticket before its update");
                    if let Some(Change::Rescored(rescored)) = update.change {
                        ticket.priority = rescored.priority;
                        ticket.unsupported = rescored.unsupported;
                        ticket.model = model_of(rescored.verdict.as_ref());
                    }
                }
            }
        }
    })
    .await;
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(state.buckets().get("shed"), None, "the small model answers before anything is shed");
    assert!(small > 100, "only {small} tickets by the small model");

    let last = |ticket: &&Standing| ticket.model.starts_with("vigie-full");
    let changed = standing.values().filter(last).count();
    assert!(changed > 10, "only {changed} tickets by the full model, or changed by it");
    for (id, ticket) in &standing {
        match replayed.get(id) {
            Some(priority) if last(&ticket) => assert_eq!(ticket.priority, *priority, "{id}: {ticket:?}"),
            // Confirmed: labels and level are the same, the points may differ.
            Some(_) => assert!(!ticket.unsupported, "{id}: {ticket:?}"),
            None => assert!(ticket.unsupported, "{id} is no customer message to the full model: {ticket:?}"),
        }
    }
    assert!(replayed.keys().all(|id| standing.contains_key(id)), "the small model gives nothing up");
}
