//! `vigie report` over so many tickets with what a helpdesk told of them, beside a ledger that goes on taking tickets.
//!
//! `VIGIE_BENCH_TICKETS` says how many (a thousand by default, so that this runs as a test in a moment); a million take
//! some 3 GB below `target/`, and are gone afterwards. Not criterion: a report is run a few times as the command that it
//! is, and its processor time and memory are the kernel's. The ledger's thread writes 8 tickets every 10 ms meanwhile, as
//! a busy daemon would, so that the growth of its write-ahead log shows whether the report keeps it from being cut.

#[path = "parts/command.rs"]
mod command;
#[path = "parts/keeping.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod keeping;
#[path = "parts/mode.rs"]
mod mode;
#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/threads.rs"]
mod threads;
#[path = "parts/tickets.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod tickets;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::RecvTimeoutError;
use jiff::Timestamp;
use prost::Message;
use vigie::ledger::{Entry, NewTicket, Settlement};
use vigie::parse::Network;
use vigie::telemetry::Buckets;
use vigie::ticket::{TicketId, proto};

use command::Ran;
use keeping::{Commits, Keeping};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs with figures; the middle one is to be believed.
const RUNS: usize = 3;

fn main() {
    let asked = std::env::var("VIGIE_BENCH_TICKETS").ok().and_then(|count| count.parse().ok());
    let count: u64 = asked.unwrap_or(1_000);
    let folder = keeping::folder();
    let path = folder.path().join("ledger.sqlite");
    let templates = tickets::tickets(512);
    // The ledger makes its own tables.
    Keeping::start(keeping::open(&folder, Commits::SwitchedOff)).stop();
    fill(&path, &templates, count);
    let config = folder.path().join("vigie.toml");
    let text = format!(
        "[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n[[source]]\nkind = \"ndjson\"\nformat = \"plain\"\npath = \"-\"\n\
         [ledger]\npath = \"{}\"\n",
        path.display()
    );
    std::fs::write(&config, text).expect("the folder can be written");
    let runs = if mode::measures() { RUNS } else { 1 };
    for (name, since) in [("30 days: all of them", "30d"), ("1 minute: none of the old ones", "1m")] {
        for _ in 0..runs {
            let ((ran, json), log_bytes) = beside_a_writer(&folder, &templates, || report(&config, since));
            let told = json["groups"][0].clone();
            let (tickets, rated) = (told["tickets"].as_u64(), told["rated"].as_u64());
            if since == "30d" {
                assert!(tickets >= Some(count) && rated >= Some(count / 2), "{told}");
                assert!(told["nps"].is_f64() && json["factors"][0].is_object(), "{told}");
            } else {
                assert!(tickets < Some(count), "{told}");
            }
            if mode::measures() {
                println!(
                    "{count} tickets, {name}: {}; write-ahead log at most {} KiB",
                    ran.shown(),
                    log_bytes / 1024
                );
            }
        }
    }
}

/// Tickets of the last 29 days, evenly; nine in ten were answered, of half of which the customer said something.
fn fill(path: &Path, templates: &[NewTicket], count: u64) {
    let mut file = rusqlite::Connection::open(path).expect("the ledger opens");
    file.pragma_update(None, "synchronous", "OFF").expect("SQLite obeys");
    let decoded = templates.iter().map(|ticket| proto::Ticket::decode(ticket.body.as_slice()));
    let decoded: Vec<proto::Ticket> = decoded.map(|ticket| ticket.expect("the desk made it")).collect();
    let span_us = 29 * 86_400 * 1_000_000_i64;
    let begin_us = Timestamp::now().as_microsecond() - span_us;
    let mut dice = fastrand::Rng::with_seed(1);
    let mut n = 0;
    while n < count {
        let transaction = file.transaction().expect("nobody else writes");
        {
            let prepare = |sql| transaction.prepare(sql).expect("the ledger has these tables");
            let mut records = prepare("INSERT INTO record (ticket_id, kind, body) VALUES (?1, 0, ?2)");
            let mut tickets = prepare(
                "INSERT INTO ticket (id, seq, network, author_id, brand, language, intent, priority, created_at_us,
                   due_at_us, text_hash) VALUES (?1, ?2, 'bluesky', ?3, 'Lumio', 'en', 'problem', ?4, ?5, ?6, 0)",
            );
            let mut feedback = prepare(
                "INSERT INTO feedback (at_us, kind, ticket_id, body) VALUES (?1, 'ticket_status', ?2, ?3)",
            );
            for _ in 0..20_000.min(count - n) {
                let id = TicketId::of_post(Network::Bluesky, &format!("filled {n}"));
                let made_us = begin_us + span_us / count.cast_signed() * n.cast_signed();
                let mut ticket = decoded[n as usize % decoded.len()].clone();
                ticket.id = id.as_bytes().to_vec();
                (ticket.created_at_us, ticket.due_at_us) = (made_us, made_us + 3_600_000_000);
                records.execute((id.as_bytes(), ticket.encode_to_vec())).expect("room on the disk");
                let seq = transaction.last_insert_rowid();
                let row = (id.as_bytes(), seq, n.to_string(), ticket.priority, made_us, ticket.due_at_us);
                tickets.execute(row).expect("room on the disk");
                let mut tell = |status: proto::TicketStatus| {
                    let status = proto::TicketStatus { ticket_id: id.as_bytes().to_vec(), ..status };
                    let row = (made_us, id.as_bytes(), status.encode_to_vec());
                    feedback.execute(row).expect("room on the disk");
                };
                if n % 10 > 0 {
                    tell(proto::TicketStatus {
                        state: 1,
                        agent: format!("agent {:02}", n % 50),
                        first_answer_at_us: made_us + dice.i64(60..7200) * 1_000_000,
                        ..Default::default()
                    });
                }
                if n % 2 == 0 {
                    tell(proto::TicketStatus {
                        state: 3,
                        satisfaction: dice.u32(1..=5),
                        recommendation: Some(dice.u32(0..=10)),
                        ..Default::default()
                    });
                }
                n += 1;
            }
        }
        transaction.commit().expect("room on the disk");
    }
    let cut = file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    assert_eq!(cut, Ok(0), "nobody else reads");
}

fn report(config: &Path, since: &str) -> (Ran, serde_json::Value) {
    let ran = command::run(|command| {
        command.args(["report", "--json", "--since", since, "-c"]).arg(config);
    });
    let json = serde_json::from_slice(&ran.stdout).expect("it prints one object");
    (ran, json)
}

/// Runs this while a ledger takes tickets; gives with its result the most bytes that the write-ahead log had.
fn beside_a_writer<T>(
    folder: &tempfile::TempDir,
    templates: &[NewTicket],
    run: impl FnOnce() -> T,
) -> (T, u64) {
    let ledger = Keeping::start(keeping::open(folder, Commits::Durable));
    let log = folder.path().join("ledger.sqlite-wal");
    let (settlements, templates) = (ledger.settlements.clone(), templates.to_vec());
    let (stop, stopped) = crossbeam::channel::bounded::<()>(0);
    let writer = threads::spawn("bench-tickets", move || {
        let (mut made, mut most) = (Timestamp::now().as_microsecond(), 0);
        while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
            let some = templates.iter().cycle().skip(made as usize % templates.len()).take(8);
            let entry = |ticket: &NewTicket| {
                made += 1;
                let id = TicketId::of_post(Network::Bluesky, &format!("meanwhile {made}"));
                Entry::Ticket(Box::new(NewTicket { id, created_at: Timestamp::now(), ..ticket.clone() }))
            };
            let entries = some.map(entry).collect();
            let settlement = Settlement {
                source: Arc::from("bench"),
                end_sequence: 0,
                position: Some(made),
                buckets: Buckets::default(),
                gaps: Vec::new(),
                recovered: Vec::new(),
                entries,
            };
            settlements.send(settlement).expect("the ledger runs");
            most = std::fs::metadata(&log).map_or(0, |log| log.len()).max(most);
        }
        most
    });
    let result = run();
    drop(stop);
    let log_bytes = writer.join().expect("it does not panic");
    ledger.stop();
    (result, log_bytes)
}
