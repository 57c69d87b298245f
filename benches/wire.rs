//! Record → acknowledged delivery: the order in memory, the frames, and a whole conversation over a pipe in
//! memory, without a disk.

#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/tickets.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod tickets;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{oneshot, watch};
use vigie::ledger::outbox::{AGEING_POINTS_PER_HOUR, ClientId, Filter, Outbox, rank};
use vigie::ledger::{Body, Feedback, NewTicket, RecordHead, Records, Seq, SubscriptionRequest};
use vigie::ticket::proto::delivery::Record;
use vigie::ticket::proto::{
    Ack, ClientMessage, Delivery, ServerMessage, Ticket, client_message, server_message,
};
use vigie::wire::frame::{self, Decoded, FRAME_BYTES_MAX};
use vigie::wire::{Client, Event, Hub, Introduction, serve_over};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DESK: &str = "desk";
/// As `vigie tail` and the load generator ask for by default.
const WINDOW: u32 = 1_000;

fn seq(place: usize) -> Seq {
    Seq::new(place as u64 + 1).expect("seqs count from 1")
}

/// The heads of so many records, as the ledger makes them of these tickets.
fn heads(tickets: &[NewTicket], records: usize) -> Vec<Arc<RecordHead>> {
    let head = |place: usize| {
        let ticket = &tickets[place % tickets.len()];
        let created_at_us = ticket.created_at.as_microsecond() + place as i64 * 1_000;
        let rank = rank(ticket.traits.priority, created_at_us, AGEING_POINTS_PER_HOUR);
        Arc::new(RecordHead {
            seq: seq(place),
            ticket_id: ticket.id,
            ticket_seq: seq(place),
            rank,
            due_at_us: ticket.due_at_us,
            traits: ticket.traits.clone(),
        })
    };
    (0..records).map(head).collect()
}

/// Publishes, takes and acknowledges everything; returns how many were taken, worst first.
fn taken(outbox: &mut Outbox, heads: &[Arc<RecordHead>], now: Instant) -> usize {
    heads.chunks(64).for_each(|heads| outbox.publish(heads));
    let (mut taken, mut seqs) = (0, Vec::with_capacity(32));
    while let Some(record) = outbox.take(DESK, ClientId(1), now) {
        taken += 1;
        seqs.push(record.seq);
        if seqs.len() == 32 {
            outbox.acknowledge(DESK, &seqs);
            seqs.clear();
        }
    }
    outbox.acknowledge(DESK, &seqs);
    taken
}

fn outbox(criterion: &mut Criterion) {
    let tickets = tickets::tickets(512);
    let mut group = criterion.benchmark_group("outbox");
    group.sample_size(20);
    for records in [1_000, 100_000] {
        let heads = heads(&tickets, records);
        let opened = || {
            let mut outbox = Outbox::new();
            outbox.open(DESK, Filter::default(), []);
            outbox
        };
        let mut outbox = opened();
        outbox.publish(&heads);
        let first = outbox.take(DESK, ClientId(1), Instant::now()).expect("a record is ready");
        let worst = heads.iter().map(|head| head.rank).max();
        let rank_of = |seq: Seq| heads.get(seq.get() as usize - 1).map(|head| head.rank);
        assert_eq!(rank_of(first.seq), worst, "what matters most goes first");
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("{records} records published, taken, acknowledged"), |bencher| {
            bencher.iter_batched_ref(
                opened,
                |outbox| assert_eq!(taken(outbox, &heads, Instant::now()), records),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let tickets = tickets::tickets(512);
    let delivery = |(place, ticket): (usize, &NewTicket)| {
        let ticket = Ticket::decode(&*ticket.body).expect("a ticket is stored as it is read");
        let record = Some(Record::Ticket(ticket));
        let delivery = Delivery { seq: place as u64 + 1, attempt: 1, record, priority_now: None };
        ServerMessage { kind: Some(server_message::Kind::Delivery(delivery)) }
    };
    let deliveries: Vec<_> = tickets.iter().enumerate().map(delivery).collect();
    let encoded = |out: &mut Vec<u8>| {
        out.clear();
        deliveries.iter().for_each(|one| frame::encode(one, FRAME_BYTES_MAX, out).expect("it is small"));
    };
    let mut bytes = Vec::new();
    encoded(&mut bytes);
    let mut rest = &bytes[..];
    for expected in &deliveries {
        let Decoded::Frame { payload, bytes } = frame::decode(rest, FRAME_BYTES_MAX) else {
            panic!("a frame")
        };
        assert_eq!(ServerMessage::decode(payload).as_ref(), Ok(expected));
        rest = &rest[bytes..];
    }
    assert!(rest.is_empty());

    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::ElementsAndBytes {
        elements: deliveries.len() as u64,
        bytes: bytes.len() as u64,
    });
    group.bench_function("deliveries encoded", |bencher| bencher.iter(|| encoded(black_box(&mut bytes))));

    // The longest message that a client sends: a whole window answered at once.
    let seqs: Vec<u64> = (0..65_536).map(|place| u64::MAX - place).collect();
    let ack = ClientMessage { kind: Some(client_message::Kind::Ack(Ack { seqs })) };
    let mut bytes = Vec::new();
    frame::encode(&ack, FRAME_BYTES_MAX, &mut bytes).expect("a window's acknowledgement fits");
    group.throughput(Throughput::ElementsAndBytes { elements: 65_536, bytes: bytes.len() as u64 });
    group.bench_function("the longest acknowledgement read", |bencher| {
        bencher.iter(|| {
            let Decoded::Frame { payload, .. } = frame::decode(black_box(&bytes), FRAME_BYTES_MAX) else {
                panic!("a frame")
            };
            ClientMessage::decode(payload).expect("a message")
        });
    });
    group.finish();
}

/// A ledger that forgets nothing and writes nothing.
struct Memory {
    bodies: Vec<Vec<u8>>,
    outbox: Arc<Mutex<Outbox>>,
    heads: Vec<Arc<RecordHead>>,
}

fn at_once() -> oneshot::Receiver<Result<(), String>> {
    let (answer, answered) = oneshot::channel();
    drop(answer.send(Ok(())));
    answered
}

impl Records for Memory {
    fn subscribe(&self, request: SubscriptionRequest) -> oneshot::Receiver<Result<(), String>> {
        self.outbox.lock().open(&request.name, request.filter, self.heads.iter().cloned());
        at_once()
    }

    fn acknowledge(&self, _: &str, _: Vec<Seq>) -> oneshot::Receiver<Result<(), String>> {
        at_once()
    }

    fn read(&self, seqs: &[Seq]) -> Result<Vec<(Seq, Body)>, String> {
        let body = |seq: &Seq| self.bodies[(seq.get() as usize - 1) % self.bodies.len()].clone();
        Ok(seqs.iter().map(|seq| (*seq, Body::Ticket(body(seq)))).collect())
    }

    fn feedback(&self, _: Feedback) -> oneshot::Receiver<Result<(), String>> {
        at_once()
    }
}

/// A client takes and acknowledges so many records; returns how many were confirmed.
async fn conversation(hub: Hub, records: usize) -> usize {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let stop = watch::Sender::new(false);
    let server = tokio::spawn(serve_over(ours, hub, stop.subscribe()));
    let introduction = Introduction { subscription: DESK.into(), window: WINDOW, ..Introduction::default() };
    let mut client = Client::over(theirs, introduction).await.expect("the client is let in");
    let (mut confirmed, mut seqs) = (0, Vec::new());
    let mut delivered = 0;
    while confirmed < records {
        match client.next_event().await.expect("the conversation goes on") {
            Event::Delivery(delivery) => {
                delivered += 1;
                seqs.push(delivery.seq);
                if seqs.len() == 32 || delivered == records {
                    client.ack(&seqs).await.expect("the server listens");
                    seqs.clear();
                }
            }
            Event::Acked(seqs) => confirmed += seqs.len(),
        }
    }
    drop(client);
    server.await.expect("the server ends with its client");
    confirmed
}

fn sessions(criterion: &mut Criterion) {
    const RECORDS: usize = 10_000;
    let tickets = tickets::tickets(512);
    let heads = heads(&tickets, RECORDS);
    let bodies: Vec<_> = tickets.iter().map(|ticket| ticket.body.clone()).collect();
    let hub = || {
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let (bodies, heads) = (bodies.clone(), heads.clone());
        Hub::new(Arc::new(Memory { bodies, outbox: outbox.clone(), heads }), outbox)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut group = criterion.benchmark_group("session");
    group.sample_size(20);
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("10,000 tickets delivered and confirmed", |bencher| {
        bencher.iter_batched(
            hub,
            |hub| assert_eq!(runtime.block_on(conversation(hub, RECORDS)), RECORDS),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, outbox, frames, sessions);
criterion_main!(benches);
