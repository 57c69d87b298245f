//! More reports than the full model can read: the small one reads them at once, the full one afterwards.

use std::collections::{BTreeMap, BTreeSet};

use firehose::client::proto::{self, delivery::Record, update::Change};

use crate::daemon::{BRAND, Network, State, hex, patiently, run, vigie};

/// What a helpdesk ends up with: level, whether it is a customer message, and the model that said so last.
#[derive(Debug, Clone, PartialEq)]
struct Standing {
    priority: u32,
    unsupported: bool,
    model: String,
}

/// The factor of whoever has had a ticket before, which may have been one of the small model's alone: left out.
const AGAIN: &str = "follow_ups";

fn without_again(priority: u32, factors: &[proto::Factor]) -> u32 {
    let again = factors.iter().filter(|factor| factor.name == AGAIN).map(|factor| factor.points).sum::<i32>();
    priority.checked_add_signed(-again).unwrap()
}

fn model_of(verdict: Option<&proto::Verdict>) -> String {
    verdict.map(|verdict| verdict.model.clone()).unwrap_or_default()
}

/// Each ticket's priority by the full model, as a replay of everything gives it, and whom a further post has joined.
fn replayed(network: &Network, state: &State) -> (BTreeMap<String, u32>, BTreeSet<String>) {
    let frames = network.frames().join("\n");
    let output = run(vigie().args(["replay", "-c"]).arg(&state.config).arg("-"), frames.as_bytes());
    assert!(output.status.success(), "{}", output.stderr);
    let (mut tickets, mut joined) = (BTreeMap::new(), BTreeSet::new());
    for line in output.stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        match record["id"].as_str() {
            Some(id) => {
                let again = record["factors"].as_array().unwrap().iter();
                let again = again.filter(|factor| factor["name"] == AGAIN).map(|factor| &factor["points"]);
                let again = again.map(|points| points.as_u64().unwrap()).sum::<u64>();
                let priority = record["priority"].as_u64().unwrap() - again;
                _ = tickets.insert(id.to_owned(), priority as u32);
            }
            None => _ = joined.insert(record["update"]["ticket_id"].as_str().unwrap().to_owned()),
        }
    }
    (tickets, joined)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_small_model_decided_under_load_is_what_the_full_one_says_in_the_end() {
    let network = Network::new(1_500, 0.4);
    let state = State::new(&network.source());
    // A replay takes the time from the posts, which are old news to a daemon of today.
    let brand = format!("{BRAND}\n[priority]\nage = {{ points_per_hour = 0, points_max = 0 }}\n");
    state.configure(&network.source(), &brand);
    let (replayed, mut joined) = replayed(&network, &state);
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
                    let priority = without_again(ticket.priority, &ticket.factors);
                    let first = Standing { priority, unsupported: false, model };
                    assert_eq!(standing.insert(hex(&ticket.id), first), None, "one ticket a post");
                }
                Record::Update(update) => {
                    let ticket =
                        standing.get_mut(&hex(&update.ticket_id)).expect("a ticket before its update");
                    if let Some(Change::Rescored(rescored)) = update.change {
                        // As a further post.
                        if rescored.edited {
                            joined.insert(hex(&update.ticket_id));
                        }
                        ticket.priority = without_again(rescored.priority, &rescored.factors);
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
            // What a further post, or an edit, makes of a priority depends on which model has read it.
            _ if joined.contains(id) => {}
            Some(priority) if last(&ticket) => assert_eq!(ticket.priority, *priority, "{id}: {ticket:?}"),
            // Confirmed: labels and level are the same, the points may differ.
            Some(_) => assert!(!ticket.unsupported, "{id}: {ticket:?}"),
            None => assert!(ticket.unsupported, "{id} is no customer message to the full model: {ticket:?}"),
        }
    }
    assert!(replayed.keys().all(|id| standing.contains_key(id)), "the small model gives nothing up");
}
