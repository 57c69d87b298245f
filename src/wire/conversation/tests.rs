//! Conversations over in-memory pipes with the clock paused, against a ledger in memory.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::*;
use crate::access::Access;
use crate::access::peers::Place;
use crate::ledger::outbox::{ClientId, Filter, Outbox};
use crate::ledger::{Feedback, RecordHead, Records, Traits};
use crate::parse::Network;
use crate::ticket::TicketId;
use crate::ticket::proto::{Ticket, client_message, delivery::Record};
use crate::wire::client::{Client, ClientError, Event, Introduction};
use crate::wire::hub::Bells;

mod hostile;
mod rights;
mod unnamed;

/// A ledger in memory. While `holding`, acknowledgements wait for [`Memory::settle`].
pub(in crate::wire) struct Memory {
    outbox: Arc<Mutex<Outbox>>,
    bells: Bells,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    heads: Vec<Arc<RecordHead>>,
    bodies: BTreeMap<Seq, Body>,
    acknowledged: BTreeMap<String, BTreeSet<Seq>>,
    holding: bool,
    held: Vec<(String, Vec<Seq>, oneshot::Sender<Answer>)>,
    feedback: Vec<Feedback>,
    unreadable: bool,
}

impl Memory {
    pub(in crate::wire) fn new() -> Arc<Memory> {
        Arc::new(Memory { outbox: Arc::default(), bells: Bells::default(), shelf: Mutex::default() })
    }

    pub(in crate::wire) fn hub(self: &Arc<Memory>) -> Hub {
        let records: Arc<dyn Records> = Arc::<Memory>::clone(self);
        Hub::with_bells(records, Arc::clone(&self.outbox), self.bells.clone())
    }

    /// Records one ticket for each rank, in this order, and publishes them together.
    pub(in crate::wire) fn record(&self, ranks: &[i64]) {
        self.record_of("lumio", ranks, 20);
    }

    fn record_of(&self, brand: &str, ranks: &[i64], text_bytes: usize) {
        let mut shelf = self.shelf.lock();
        let published: Vec<_> = ranks
            .iter()
            .map(|rank| {
                let seq = Seq::new(shelf.heads.len() as u64 + 1).unwrap();
                let ticket_id = TicketId::of_post(Network::X, &seq.get().to_string());
                let traits = Traits {
                    brand: brand.into(),
                    network: Network::X,
                    language: "fr".into(),
                    intent: "outage".into(),
                    priority: 1,
                    rescored: None,
                };
                let head = Arc::new(RecordHead {
                    seq,
                    ticket_id,
                    ticket_seq: seq,
                    rank: *rank,
                    due_at_us: 0,
                    traits,
                });
                let ticket = Ticket {
                    id: ticket_id.as_bytes().to_vec(),
                    route: "r".repeat(text_bytes),
                    ..Default::default()
                };
                shelf.bodies.insert(seq, Body::Ticket(ticket.encode_to_vec()));
                shelf.heads.push(Arc::clone(&head));
                head
            })
            .collect();
        self.outbox.lock().publish(&published);
        self.bells.ring_news(&self.outbox);
    }

    fn hold(&self) {
        self.shelf.lock().holding = true;
    }

    /// Makes what is held durable. Returns how many seqs.
    fn settle(&self) -> usize {
        let mut shelf = self.shelf.lock();
        shelf.holding = false;
        let held = std::mem::take(&mut shelf.held);
        let mut seqs = 0;
        for (name, part, answer) in held {
            seqs += part.len();
            shelf.acknowledged.entry(name).or_default().extend(part);
            _ = answer.send(Ok(()));
        }
        seqs
    }

    /// How many requests to acknowledge wait for an answer.
    fn held(&self) -> usize {
        self.shelf.lock().held.len()
    }

    fn acknowledged(&self, name: &str) -> Vec<u64> {
        let shelf = self.shelf.lock();
        shelf.acknowledged.get(name).into_iter().flatten().map(|seq| seq.get()).collect()
    }
}

impl Records for Memory {
    fn subscribe(&self, request: SubscriptionRequest) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let mut shelf = self.shelf.lock();
        let done = shelf.acknowledged.entry(request.name.clone()).or_default().clone();
        let heads = shelf.heads.iter().filter(|head| !done.contains(&head.seq)).cloned();
        self.outbox.lock().open(&request.name, request.filter, heads);
        _ = answer.send(Ok(()));
        receiver
    }

    fn acknowledge(&self, subscription: &str, seqs: Vec<Seq>) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        self.shelf.lock().held.push((subscription.to_owned(), seqs, answer));
        if !self.shelf.lock().holding {
            self.settle();
        }
        receiver
    }

    fn read(&self, seqs: &[Seq]) -> Result<Vec<(Seq, Body)>, String> {
        let shelf = self.shelf.lock();
        if shelf.unreadable {
            return Err("disk gone".into());
        }
        Ok(seqs.iter().filter_map(|seq| Some((*seq, shelf.bodies.get(seq)?.clone()))).collect())
    }

    fn feedback(&self, feedback: Feedback) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        self.shelf.lock().feedback.push(feedback);
        _ = answer.send(Ok(()));
        receiver
    }
}

struct Daemon {
    memory: Arc<Memory>,
    hub: Hub,
    terms: Terms,
    access: Arc<Access>,
    stop: watch::Sender<bool>,
}

impl Daemon {
    fn new() -> Daemon {
        let memory = Memory::new();
        Daemon {
            hub: memory.hub(),
            memory,
            terms: Terms::default(),
            access: Arc::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// A raw connection whose pipe holds `bytes` each way.
    fn dial(&self, bytes: usize) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(bytes);
        let terms = Arc::new(self.terms.clone());
        let since = Instant::now().into_std();
        let visitor = Visitor::new(Arc::clone(&self.access), false, Place::uncounted(), since);
        (ours, tokio::spawn(converse(theirs, self.hub.clone(), visitor, terms, self.stop.subscribe())))
    }

    async fn connect(&self, subscription: &str, window: u32) -> Client {
        self.introduce(Introduction { subscription: subscription.into(), window, ..Default::default() })
            .await
            .unwrap()
    }

    async fn introduce(&self, introduction: Introduction) -> Result<Client, ClientError> {
        Client::over(self.dial(64 * 1024).0, introduction).await
    }
}

async fn next(client: &mut Client) -> (u64, u32) {
    let hour = Duration::from_secs(3600);
    let delivery = tokio::time::timeout(hour, client.next()).await.expect("a record in time").unwrap();
    assert!(matches!(delivery.record, Some(Record::Ticket(_))), "{delivery:?}");
    (delivery.seq, delivery.attempt)
}

async fn next_some(client: &mut Client, records: usize) -> Vec<(u64, u32)> {
    let mut taken = Vec::new();
    while taken.len() < records {
        taken.push(next(client).await);
    }
    taken
}

/// With the clock paused 20 seconds pass once everyone only waits.
async fn idle(client: &mut Client) {
    let waited = tokio::time::timeout(Duration::from_secs(20), client.next_event()).await;
    assert!(waited.is_err(), "nothing was expected: {waited:?}");
}

async fn acked(client: &mut Client) -> Vec<u64> {
    match client.next_event().await.unwrap() {
        Event::Acked(seqs) => seqs,
        Event::Delivery(delivery) => panic!("no confirmation: {delivery:?}"),
    }
}

async fn goodbye(client: &mut Client) -> (Code, String) {
    let late = Instant::now() + Duration::from_secs(3600);
    loop {
        match tokio::time::timeout_at(late, client.next_event()).await.expect("a goodbye in time") {
            Ok(_) => {}
            Err(ClientError::Goodbye { code, reason }) => return (code, reason),
            Err(error) => panic!("no goodbye: {error}"),
        }
    }
}

/// Sends raw bytes and reads what comes until the end.
async fn blurt(daemon: &Daemon, bytes: &[u8]) -> Goodbye {
    let (mut stream, task) = daemon.dial(4 * 1024 * 1024);
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    drop(stream);
    task.await.unwrap();
    let Decoded::Frame { payload, .. } = frame::decode(&answer, usize::MAX) else { panic!("{answer:?}") };
    match ServerMessage::decode(payload).unwrap().kind {
        Some(Kind::Goodbye(goodbye)) => goodbye,
        other => panic!("no goodbye: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_delivered_in_order_up_to_the_window() {
    let daemon = Daemon::new();
    daemon.memory.record(&[10, 30, 20, 30]);
    let mut client = daemon.connect("desk", 3).await;
    assert_eq!((client.welcome().window, client.welcome().pending), (3, 4));
    assert_eq!(next_some(&mut client, 3).await, [(2, 1), (4, 1), (3, 1)]);
    idle(&mut client).await;
    client.ack(&[4]).await.unwrap();
    assert_eq!(acked(&mut client).await, [4]);
    assert_eq!(next(&mut client).await, (1, 1));
    assert_eq!(daemon.memory.acknowledged("desk"), [4]);
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_later_reaches_a_client_that_waits() {
    let daemon = Daemon::new();
    let mut client = daemon.connect("desk", 0).await;
    idle(&mut client).await;
    daemon.memory.record(&[1, 2]);
    assert_eq!(next_some(&mut client, 2).await, [(2, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_many_groups_arrives_whole() {
    let daemon = Daemon::new();
    daemon.memory.record_of("lumio", &[0; 1000], 2000);
    let mut client = daemon.connect("desk", 65_536).await;
    let seqs: Vec<u64> = next_some(&mut client, 1000).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (1..=1000).collect::<Vec<_>>());
    client.ack(&seqs).await.unwrap();
    let mut confirmed = Vec::new();
    while confirmed.len() < 1000 {
        confirmed.extend(acked(&mut client).await);
    }
    assert_eq!(daemon.memory.acknowledged("desk"), seqs);
}

#[tokio::test(start_paused = true)]
async fn two_clients_share_a_subscription_and_another_name_gets_its_own_copy() {
    let daemon = Daemon::new();
    let mut anne = daemon.connect("desk", 2).await;
    let mut bill = daemon.connect("desk", 2).await;
    let mut archive = daemon.connect("archive", 10).await;
    daemon.memory.record(&[4, 3, 2, 1]);
    let mut shared = next_some(&mut anne, 2).await;
    shared.extend(next_some(&mut bill, 2).await);
    shared.sort_unstable();
    assert_eq!(shared, [(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(next_some(&mut archive, 4).await, [(1, 1), (2, 1), (3, 1), (4, 1)]);
    idle(&mut anne).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_client_did_not_ack_goes_to_another() {
    let daemon = Daemon::new();
    daemon.memory.record(&[3, 2, 1]);
    let mut anne = daemon.connect("desk", 3).await;
    next_some(&mut anne, 3).await;
    let mut bill = daemon.connect("desk", 3).await;
    idle(&mut bill).await;
    anne.ack(&[2]).await.unwrap();
    drop(anne);
    let since = Instant::now();
    assert_eq!(next_some(&mut bill, 2).await, [(1, 2), (3, 2)]);
    assert_eq!(since.elapsed(), Duration::ZERO, "woken, not found by chance");
    idle(&mut bill).await;
    assert_eq!(daemon.memory.acknowledged("desk"), [2], "acked with its last words");
}

#[tokio::test(start_paused = true)]
async fn an_ack_under_way_keeps_its_record_from_others_when_the_client_is_lost() {
    let daemon = Daemon::new();
    daemon.memory.record(&[2, 1]);
    let mut anne = daemon.connect("desk", 2).await;
    next_some(&mut anne, 2).await;
    daemon.memory.hold();
    anne.ack(&[1]).await.unwrap();
    drop(anne);
    let mut bill = daemon.connect("desk", 2).await;
    idle(&mut bill).await;
    assert_eq!(daemon.memory.settle(), 1);
    assert_eq!(next(&mut bill).await, (2, 2));
    idle(&mut bill).await;
}

#[tokio::test(start_paused = true)]
async fn acked_is_said_only_once_the_ack_is_durable() {
    let daemon = Daemon::new();
    daemon.memory.record(&[2, 1]);
    let mut client = daemon.connect("desk", 1).await;
    next(&mut client).await;
    daemon.memory.hold();
    client.ack(&[1, 2, 77]).await.unwrap();
    idle(&mut client).await;
    assert_eq!(daemon.memory.settle(), 1, "2 was never delivered, 77 does not exist");
    assert_eq!(acked(&mut client).await, [1]);
    assert_eq!(next(&mut client).await, (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_nack_brings_the_record_back_later_as_attempt_2() {
    let daemon = Daemon::new();
    daemon.memory.record(&[2, 1]);
    let mut client = daemon.connect("desk", 1).await;
    assert_eq!(next(&mut client).await, (1, 1));
    let sent_back = Instant::now();
    client.nack(1, "helpdesk busy", Duration::from_secs(50)).await.unwrap();
    assert_eq!(next(&mut client).await, (2, 1), "others go on meanwhile");
    client.ack(&[2]).await.unwrap();
    assert_eq!(acked(&mut client).await, [2]);
    assert_eq!(next(&mut client).await, (1, 2));
    let waited = sent_back.elapsed();
    assert!((50..51).contains(&waited.as_secs()), "{waited:?}");
    client.nack(1, "again", Duration::ZERO).await.unwrap();
    assert_eq!(next(&mut client).await, (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_filter_holds_back_what_it_does_not_ask_for() {
    let daemon = Daemon::new();
    daemon.memory.record_of("volt", &[9], 1);
    daemon.memory.record(&[1]);
    let filter = crate::ticket::proto::Filter { brands: vec!["LUMIO".into()], ..Default::default() };
    let introduction =
        Introduction { subscription: "desk".into(), filter: Some(filter), ..Default::default() };
    let mut client = daemon.introduce(introduction).await.unwrap();
    assert_eq!(client.welcome().pending, 1);
    assert_eq!(next(&mut client).await, (2, 1));
    daemon.memory.record_of("volt", &[9], 1);
    idle(&mut client).await;
    daemon.memory.record(&[1]);
    assert_eq!(next(&mut client).await, (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wider_filter_wakes_the_clients_that_share_it() {
    let daemon = Daemon::new();
    daemon.memory.record(&[2, 1]);
    let filter = crate::ticket::proto::Filter { brands: vec!["volt".into()], ..Default::default() };
    let introduction =
        Introduction { subscription: "desk".into(), filter: Some(filter), ..Default::default() };
    let mut anne = daemon.introduce(introduction).await.unwrap();
    idle(&mut anne).await;
    let since = Instant::now();
    let mut bill = daemon.connect("desk", 1).await;
    let (one, other) = tokio::join!(next(&mut anne), next(&mut bill));
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert_eq!(one.0 + other.0, 3, "each has one: {one:?} {other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_heartbeats_stays_for_hours() {
    let daemon = Daemon::new();
    let mut client = daemon.connect("desk", 1).await;
    let hours = Duration::from_secs(3 * 3600);
    assert!(tokio::time::timeout(hours, client.next_event()).await.is_err());
    daemon.memory.record(&[1]);
    assert_eq!(next(&mut client).await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_loses_its_records() {
    let daemon = Daemon::new();
    daemon.memory.record(&[1]);
    let mut anne = daemon.connect("desk", 1).await;
    assert_eq!(next(&mut anne).await, (1, 1));
    let mut bill = daemon.connect("desk", 1).await;
    let since = Instant::now();
    assert_eq!(next(&mut bill).await, (1, 2));
    assert_eq!(since.elapsed().as_secs(), 45);
    assert_eq!(goodbye(&mut anne).await.0, Code::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_broken_beginning_is_answered_with_the_reason() {
    let daemon = Daemon::new();
    let check = async |bytes: &[u8], code: Code, reason: &str| {
        let goodbye = blurt(&daemon, bytes).await;
        assert_eq!(goodbye.code, code as i32, "{goodbye:?}");
        assert!(goodbye.reason.contains(reason), "{goodbye:?} lacks {reason:?}");
    };
    let mut old = Vec::new();
    let hello = crate::ticket::proto::Hello { protocol: 9, ..Default::default() };
    let hello = ClientMessage { kind: Some(client_message::Kind::Hello(hello)) };
    frame::encode(&hello, 1000, &mut old).unwrap();
    check(&old, Code::ProtocolUnsupported, "protocol 9").await;
    check(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nand enough more that a whole frame is here, 71 bytes after its length", Code::FrameInvalid, "").await;
    check(&[0x80, 0x00], Code::FrameInvalid, "no varint").await;
    check(&[0], Code::HelloInvalid, "first message").await;
    check(&[0xff, 0xff, 0xff, 0x7f], Code::FrameTooLarge, "frame of 268435455 bytes").await;
    let mut long = vec![0x80, 0x80, 0x80, 0x01];
    long.resize(3 * 1024 * 1024, 7);
    check(&long, Code::FrameTooLarge, "frame of 2097152 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn no_hello_in_time_is_answered_with_a_goodbye() {
    let daemon = Daemon::new();
    for bytes in [&[][..], &[0x80, 0x01, 0x0a]] {
        let since = Instant::now();
        let goodbye = blurt(&daemon, bytes).await;
        assert_eq!(goodbye.code, Code::HelloInvalid as i32, "{goodbye:?}");
        assert_eq!(since.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_ends_an_open_session() {
    let mut daemon = Daemon::new();
    daemon.terms.frame_bytes_max = 4096;
    let mut client = daemon.connect("desk", 1).await;
    assert_eq!(client.welcome().frame_bytes_max, 4096);
    // The server answers before it has read it all, so the pipe may already be closed.
    _ = client.ack(&vec![u64::MAX; 1000]).await;
    assert_eq!(goodbye(&mut client).await.0, Code::FrameTooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_closed_while_another_goes_on() {
    let daemon = Daemon::new();
    daemon.memory.record(&[0; 200]);
    let (mut deaf, task) = daemon.dial(256);
    let mut hello = Vec::new();
    let message = crate::ticket::proto::Hello {
        protocol: 1,
        window: 150,
        subscription: Some(crate::ticket::proto::Subscription { name: "desk".into(), ..Default::default() }),
        ..Default::default()
    };
    frame::encode(&ClientMessage { kind: Some(client_message::Kind::Hello(message)) }, 1000, &mut hello)
        .unwrap();
    deaf.write_all(&hello).await.unwrap();
    let since = Instant::now();
    let mut other = daemon.connect("archive", 200).await;
    assert_eq!(next_some(&mut other, 200).await.len(), 200);
    assert_eq!(since.elapsed(), Duration::ZERO, "the other waits for nobody");
    task.await.unwrap();
    assert_eq!(since.elapsed(), daemon.terms.write_max);
    let mut heir = daemon.connect("desk", 200).await;
    let inherited = next_some(&mut heir, 200).await;
    assert!(inherited.iter().any(|(_, attempt)| *attempt == 2), "what the deaf one had is here");
    drop(deaf);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_a_client_answer_what_it_has() {
    let daemon = Daemon::new();
    daemon.memory.record(&[3, 2, 1]);
    let (stream, task) = daemon.dial(4096);
    let introduction = Introduction { subscription: "desk".into(), window: 2, ..Default::default() };
    let mut client = Client::over(stream, introduction).await.unwrap();
    next_some(&mut client, 2).await;
    daemon.stop.send_replace(true);
    assert_eq!(goodbye(&mut client).await.0, Code::Shutdown);
    client.ack(&[1, 2]).await.unwrap();
    assert_eq!(acked(&mut client).await, [1, 2]);
    assert!(matches!(client.next().await, Err(ClientError::Closed)));
    drop(client);
    let since = Instant::now();
    task.await.unwrap();
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert_eq!(daemon.memory.acknowledged("desk"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_a_client_that_does_not_answer_only_so_long() {
    let daemon = Daemon::new();
    daemon.memory.record(&[1]);
    let (stream, task) = daemon.dial(4096);
    let introduction = Introduction { subscription: "desk".into(), ..Default::default() };
    let mut client = Client::over(stream, introduction).await.unwrap();
    next(&mut client).await;
    let since = Instant::now();
    daemon.stop.send_replace(true);
    task.await.unwrap();
    assert!(since.elapsed() <= daemon.terms.drain_max, "{:?}", since.elapsed());
    assert_eq!(daemon.hub.outbox.lock().pending("desk"), 1, "pending again");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_gone_holds_up_nobody() {
    let daemon = Daemon::new();
    daemon.memory.record(&[2, 1]);
    daemon.memory.shelf.lock().bodies.remove(&Seq::new(1).unwrap());
    let mut client = daemon.connect("desk", 1).await;
    assert_eq!(next(&mut client).await, (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_over_the_frame_limit_rests_and_others_go_on() {
    let mut daemon = Daemon::new();
    daemon.terms.frame_bytes_max = 4096;
    daemon.memory.record_of("lumio", &[9], 5000);
    daemon.memory.record(&[1]);
    let mut client = daemon.connect("desk", 1).await;
    assert_eq!(next(&mut client).await, (2, 1));
    assert_eq!(daemon.hub.outbox.lock().pending("desk"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_read_is_a_fault_and_loses_nothing() {
    let daemon = Daemon::new();
    daemon.memory.record(&[1]);
    daemon.memory.shelf.lock().unreadable = true;
    let mut client = daemon.connect("desk", 1).await;
    assert_eq!(goodbye(&mut client).await, (Code::Fault, "disk gone".into()));
    daemon.memory.shelf.lock().unreadable = false;
    assert_eq!(next(&mut daemon.connect("desk", 1).await).await, (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_feedback_is_stored_whole() {
    let daemon = Daemon::new();
    let mut client = daemon.connect("desk", 1).await;
    let touchpoint = crate::ticket::proto::Touchpoint {
        customer: "c1".into(),
        channel: "phone".into(),
        ..Default::default()
    };
    for _ in 0..FEEDBACKS_MAX * 5 {
        client.report(client_message::Kind::Touchpoint(touchpoint.clone())).await.unwrap();
    }
    idle(&mut client).await;
    let shelf = daemon.memory.shelf.lock();
    assert_eq!(shelf.feedback.len(), FEEDBACKS_MAX * 5);
    assert_eq!(shelf.feedback[0], Feedback::Touchpoint(touchpoint.encode_to_vec()));
}

#[tokio::test(start_paused = true)]
async fn one_subscription_too_many_is_refused() {
    let daemon = Daemon::new();
    for number in 0..crate::ledger::outbox::SUBSCRIPTIONS_MAX {
        daemon.hub.outbox.lock().open(&number.to_string(), Filter::default(), []);
    }
    let introduction = Introduction { subscription: "another".into(), ..Default::default() };
    let Err(ClientError::Goodbye { code, reason }) = daemon.introduce(introduction).await else { panic!() };
    assert_eq!((code, reason.as_str()), (Code::Fault, "too many subscriptions"));
    assert_eq!(daemon.connect("7", 1).await.welcome().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_cut_at_any_byte_disturbs_nobody() {
    let daemon = Daemon::new();
    let mut bytes = Vec::new();
    let introduction = crate::ticket::proto::Hello {
        protocol: 1,
        subscription: Some(crate::ticket::proto::Subscription { name: "desk".into(), ..Default::default() }),
        ..Default::default()
    };
    let ack = crate::ticket::proto::Ack { seqs: vec![1, 2] };
    for kind in [client_message::Kind::Hello(introduction), client_message::Kind::Ack(ack)] {
        frame::encode(&ClientMessage { kind: Some(kind) }, 1000, &mut bytes).unwrap();
    }
    for cut in 0..=bytes.len() {
        let (mut stream, task) = daemon.dial(4096);
        stream.write_all(&bytes[..cut]).await.unwrap();
        drop(stream);
        task.await.unwrap();
    }
    daemon.memory.record(&[1]);
    assert_eq!(daemon.hub.outbox.lock().release("desk", ClientId(1)), 0);
    assert_eq!(next(&mut daemon.connect("desk", 1).await).await.0, 1);
}

/// However fast it acknowledges, and even if it leaves meanwhile, the ledger has one request of it at a time.
#[tokio::test(start_paused = true)]
async fn acks_behind_one_under_way_are_asked_of_the_ledger_together() {
    for leaves in [false, true] {
        let daemon = Daemon::new();
        daemon.memory.record(&[4, 3, 2, 1]);
        let mut client = daemon.connect("desk", 4).await;
        next_some(&mut client, 4).await;
        daemon.memory.hold();
        for seq in [1, 2, 3] {
            client.ack(&[seq]).await.unwrap();
            idle(&mut client).await;
            assert_eq!(daemon.memory.held(), 1);
        }
        if leaves {
            drop(client);
            assert_eq!(daemon.memory.settle(), 1);
            let mut other = daemon.connect("desk", 4).await;
            assert_eq!(next(&mut other).await, (4, 2));
            idle(&mut other).await;
        } else {
            assert_eq!(daemon.memory.settle(), 1);
            assert_eq!(acked(&mut client).await, [1]);
            assert_eq!(acked(&mut client).await, [2, 3]);
        }
        assert_eq!(daemon.memory.acknowledged("desk"), [1, 2, 3]);
    }
}

#[test]
fn a_new_record_wakes_whoever_waits_for_one() {
    let memory = Memory::new();
    let hub = memory.hub();
    memory.record(&[1]);
    memory.outbox.lock().open("desk", Filter::default(), []);
    hub.published();
    let mut heard = hub.bells.listen("desk");
    heard.mark_unchanged();
    hub.published();
    assert!(!heard.has_changed().unwrap(), "nothing is new");
    let known = RecordHead::clone(&memory.shelf.lock().heads[0]);
    let seq = Seq::new(2).unwrap();
    memory.outbox.lock().publish(&[Arc::new(RecordHead { seq, ticket_seq: seq, ..known })]);
    hub.published();
    assert!(heard.has_changed().unwrap());
}
