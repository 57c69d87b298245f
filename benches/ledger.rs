//! Settlements with tickets into a real file, acknowledgements, and a restart with a long backlog.
//!
//! The file is on the disk that the build is on. What a commit costs there is the disk's: compare two commits of
//! vigie on the same one only. The cases with commits switched off show what of it is ours.

#[path = "parts/keeping.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod keeping;
#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/tickets.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod tickets;
#[path = "parts/threads.rs"]
mod threads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use jiff::Timestamp;
use vigie::ledger::outbox::ClientId;
use vigie::ledger::{Entry, NewTicket, Records, Seq, Settlement};
use vigie::parse::Network;
use vigie::telemetry::{Bucket, Buckets};
use vigie::ticket::TicketId;

use keeping::{Commits, Keeping};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Frames of a settlement that make no ticket.
const UNMATCHED: u64 = 500;

/// Makes tickets that no ledger has seen, out of a few real ones.
struct Fresh {
    templates: Vec<NewTicket>,
    made: usize,
}

impl Fresh {
    fn new() -> Fresh {
        Fresh { templates: tickets::tickets(512), made: 0 }
    }

    fn ticket(&mut self) -> NewTicket {
        let id = TicketId::of_post(Network::Bluesky, &self.made.to_string());
        let template = &self.templates[self.made % self.templates.len()];
        self.made += 1;
        NewTicket { id, ..template.clone() }
    }

    fn settlement(&mut self, tickets: usize) -> Settlement {
        let mut buckets = Buckets::default();
        buckets[Bucket::Unmatched] = UNMATCHED;
        let entries = (0..tickets).map(|_| Entry::Ticket(Box::new(self.ticket()))).collect();
        let position = i64::try_from(self.made).ok();
        Settlement {
            source: Arc::from("bench"),
            end_sequence: 0,
            position,
            buckets,
            gaps: Vec::new(),
            recovered: Vec::new(),
            entries,
        }
    }
}

/// Settlements of so many tickets handed over together, until all of them are committed.
fn commits(
    group: &mut BenchmarkGroup<'_, WallTime>,
    fresh: &mut Fresh,
    settlements: usize,
    tickets: usize,
    commits: Commits,
) {
    let name = match commits {
        Commits::Durable => format!("{settlements} x {tickets} tickets"),
        Commits::SwitchedOff => format!("{settlements} x {tickets} tickets, commits switched off"),
    };
    let folder = keeping::folder();
    let ledger = Keeping::start(keeping::open(&folder, commits));
    let (mut frames, mut made) = (0, 0);
    group.throughput(Throughput::Elements((settlements * tickets) as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let batch: Vec<_> = (0..settlements).map(|_| fresh.settlement(tickets)).collect();
                frames += settlements as u64 * (UNMATCHED + tickets as u64);
                made += (settlements * tickets) as u64;
                let begun = Instant::now();
                batch.into_iter().for_each(|one| ledger.settlements.send(one).expect("the ledger runs"));
                ledger.wait_for(frames);
                spent += begun.elapsed();
            }
            spent
        });
    });
    let account = ledger.stop().total();
    assert_eq!((account.received(), account[Bucket::Ticketed]), (frames, made), "all of it is on disk");
}

/// One text erased in each settlement, as when people delete what they wrote: the costliest entry there is, since
/// the text must leave the write-ahead log too.
fn erasures(group: &mut BenchmarkGroup<'_, WallTime>, fresh: &mut Fresh) {
    let folder = keeping::folder();
    let ledger = Keeping::start(keeping::open(&folder, Commits::Durable));
    let (mut frames, mut erased) = (0, 0);
    group.throughput(Throughput::Elements(1));
    group.bench_function("an erased text", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let written = fresh.settlement(1);
                let Some(Entry::Ticket(ticket)) = written.entries.first() else { panic!("a ticket") };
                let entries = vec![Entry::Erase { ticket_id: ticket.id, at: Timestamp::UNIX_EPOCH }];
                let erasure = Settlement { entries, ..fresh.settlement(0) };
                frames += UNMATCHED + 1;
                ledger.settlements.send(written).expect("the ledger runs");
                ledger.wait_for(frames);
                frames += UNMATCHED + 1;
                erased += 1;
                let begun = Instant::now();
                ledger.settlements.send(erasure).expect("the ledger runs");
                ledger.wait_for(frames);
                spent += begun.elapsed();
            }
            spent
        });
    });
    assert_eq!(ledger.stop().total()[Bucket::Erased], erased);
}

/// Acknowledgements until they are durable: 32 records, as a client's reads bring them.
fn acknowledgements(group: &mut BenchmarkGroup<'_, WallTime>, fresh: &mut Fresh) {
    const RECORDS: usize = 32;
    let folder = keeping::folder();
    let ledger = Keeping::start(keeping::open(&folder, Commits::Durable));
    ledger.subscribe("desk");
    let mut frames = 0;
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("32 records acknowledged", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                frames += UNMATCHED + RECORDS as u64;
                ledger.settlements.send(fresh.settlement(RECORDS)).expect("the ledger runs");
                ledger.wait_for(frames);
                let begun = Instant::now();
                let seqs: Vec<Seq> = {
                    let mut outbox = ledger.outbox.lock();
                    let take = || outbox.take("desk", ClientId(1), begun).map(|taken| taken.seq);
                    std::iter::from_fn(take).collect()
                };
                assert_eq!(seqs.len(), RECORDS);
                let answer = ledger.handle.acknowledge("desk", seqs.clone()).blocking_recv();
                answer.expect("the ledger answers").expect("the acknowledgements are durable");
                ledger.outbox.lock().acknowledge("desk", &seqs);
                spent += begun.elapsed();
            }
            spent
        });
    });
    assert_eq!(ledger.outbox.lock().pending("desk"), 0);
    ledger.stop();
}

/// From opening the file to a subscription that may take: the desk's memory is filled, too.
fn restart(group: &mut BenchmarkGroup<'_, WallTime>, fresh: &mut Fresh) {
    // Fewer where a build is slow because it is a test.
    const PENDING: usize = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    let folder = keeping::folder();
    let ledger = Keeping::start(keeping::open(&folder, Commits::SwitchedOff));
    ledger.subscribe("desk");
    for _ in 0..PENDING / 100 {
        ledger.settlements.send(fresh.settlement(100)).expect("the ledger runs");
    }
    let account = ledger.stop().total();
    assert_eq!(account[Bucket::Ticketed], PENDING as u64);

    group.throughput(Throughput::Elements(PENDING as u64));
    group.bench_function(format!("restart with {PENDING} pending"), |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let begun = Instant::now();
                let ledger = keeping::open(&folder, Commits::Durable);
                let mut known = 0;
                ledger.tickets(PENDING, |_, _| known += 1).expect("the ledger is read");
                let ledger = Keeping::start(ledger);
                ledger.subscribe("desk");
                let first = ledger.outbox.lock().take("desk", ClientId(1), begun);
                spent += begun.elapsed();
                assert!(known == PENDING && first.is_some());
                assert_eq!(ledger.outbox.lock().pending("desk"), PENDING - 1);
                ledger.stop();
            }
            spent
        });
    });
}

fn ledger(criterion: &mut Criterion) {
    let mut fresh = Fresh::new();
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(20);
    for durability in [Commits::Durable, Commits::SwitchedOff] {
        commits(&mut group, &mut fresh, 1, 1, durability);
        commits(&mut group, &mut fresh, 64, 8, durability);
    }
    erasures(&mut group, &mut fresh);
    acknowledgements(&mut group, &mut fresh);
    group.sample_size(10);
    restart(&mut group, &mut fresh);
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
