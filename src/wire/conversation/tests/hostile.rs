//! Clients that mean harm, or are broken in a way that does it. Beside each of them a helpdesk works on, and must
//! not notice.

use super::super::Event as Moved;
use super::*;
use crate::access::peers::{Gate, Limits, Peer};
use crate::access::{Grant, Rights, Roster};
use crate::ticket::proto::{Ack, Hello, Nack, Subscription};

fn hello(name: &str, window: u32) -> client_message::Kind {
    let subscription = Subscription { name: name.into(), ..Default::default() };
    client_message::Kind::Hello(Hello {
        protocol: 1,
        window,
        subscription: Some(subscription),
        ..Default::default()
    })
}

fn bytes_of(kinds: impl IntoIterator<Item = client_message::Kind>) -> BytesMut {
    let mut bytes = BytesMut::new();
    for kind in kinds {
        frame::encode(&ClientMessage { kind: Some(kind) }, usize::MAX, &mut bytes).unwrap();
    }
    bytes
}

/// Records one ticket, and has the helpdesk receive and acknowledge it without any time passing.
async fn works(daemon: &Daemon, helpdesk: &mut Client) {
    let since = Instant::now();
    daemon.memory.record(&[1]);
    let newest = daemon.memory.shelf.lock().heads.len() as u64;
    loop {
        match helpdesk.next_event().await.unwrap() {
            Event::Delivery(delivery) => helpdesk.ack(&[delivery.seq]).await.unwrap(),
            Event::Acked(seqs) if seqs.contains(&newest) => break,
            Event::Acked(_) => {}
        }
    }
    assert_eq!(since.elapsed(), Duration::ZERO, "the helpdesk waited for somebody");
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_comes_byte_by_byte_ends_with_the_handshake() {
    let daemon = Daemon::new();
    let mut helpdesk = daemon.connect("helpdesk", 10).await;
    let (mut slow, task) = daemon.dial(4096);
    let since = Instant::now();
    // Never silent, and never done.
    for byte in bytes_of([hello(&"n".repeat(100), 1)]) {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        works(&daemon, &mut helpdesk).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        if task.is_finished() {
            break;
        }
    }
    drop(slow);
    task.await.unwrap();
    let lasted = since.elapsed();
    assert!((daemon.terms.handshake_max..Duration::from_secs(7)).contains(&lasted), "{lasted:?}");
    works(&daemon, &mut helpdesk).await;
}

/// Nothing more is heard of the peer, and its side of the connection never ends.
#[tokio::test(start_paused = true)]
async fn a_half_open_connection_ends_after_three_heartbeats_and_its_tickets_go_to_another() {
    let daemon = Daemon::new();
    daemon.memory.record(&[2, 1]);
    let (mut gone, task) = daemon.dial(64 * 1024);
    gone.write_all(&bytes_of([hello("desk", 2)])).await.unwrap();
    let mut other = daemon.connect("desk", 10).await;
    idle(&mut other).await;
    let since = Instant::now();
    let inherited = next_some(&mut other, 2).await;
    assert_eq!(inherited, [(1, 2), (2, 2)], "as second attempts");
    let waited = since.elapsed() + Duration::from_secs(20);
    assert_eq!(waited.as_secs(), (daemon.terms.heartbeat_interval * 3).as_secs());
    assert!(daemon.memory.acknowledged("desk").is_empty());
    drop(gone);
    task.await.unwrap();
}

/// As when the peer's machine lost its power: what is written to it is taken by nobody, and no end comes.
#[tokio::test(start_paused = true)]
async fn a_half_open_connection_that_takes_nothing_ends_too() {
    let daemon = Daemon::new();
    daemon.memory.record(&[0; 50]);
    let (mut gone, task) = daemon.dial(256);
    gone.write_all(&bytes_of([hello("desk", 50)])).await.unwrap();
    let since = Instant::now();
    task.await.unwrap();
    assert_eq!(since.elapsed(), daemon.terms.write_max);
    assert_eq!(daemon.hub.outbox.lock().pending("desk"), 50, "nothing is in flight with it");
    drop(gone);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_dies_in_the_middle_of_an_ack_has_acknowledged_nothing() {
    let daemon = Daemon::new();
    let mut helpdesk = daemon.connect("helpdesk", 10).await;
    daemon.memory.record(&[0; 20]);
    let acks = bytes_of([client_message::Kind::Ack(Ack { seqs: (1..=20).collect() })]);
    for cut in 0..acks.len() {
        let (mut dying, task) = daemon.dial(64 * 1024);
        dying.write_all(&bytes_of([hello("desk", 20)])).await.unwrap();
        // Not before it has its tickets: an ack of what was not delivered would be ignored for that alone.
        while !daemon.hub.outbox.lock().counts().any(|counts| counts.name == "desk" && counts.in_flight == 20)
        {
            tokio::task::yield_now().await;
        }
        dying.write_all(&acks[..cut]).await.unwrap();
        drop(dying);
        task.await.unwrap();
        assert!(daemon.memory.acknowledged("desk").is_empty(), "cut at byte {cut}");
    }
    let mut heir = daemon.connect("desk", 20).await;
    assert_eq!(next_some(&mut heir, 20).await.len(), 20);
    works(&daemon, &mut helpdesk).await;
}

/// Acknowledgements of what it does not have, twice, of another's, of nothing; refusals in thousands.
#[tokio::test(start_paused = true)]
async fn answers_to_what_a_client_does_not_have_change_nothing() {
    let daemon = Daemon::new();
    daemon.memory.record(&[4, 3, 2, 1]);
    let mut victim = daemon.connect("desk", 2).await;
    assert_eq!(next_some(&mut victim, 2).await, [(1, 1), (2, 1)]);
    let mut hostile = daemon.connect("desk", 1).await;
    assert_eq!(next(&mut hostile).await, (3, 1));
    let mut seqs: Vec<u64> = (0..1000).chain([u64::MAX, 1, 2, 4, 4]).collect();
    seqs.retain(|seq| *seq != 3);
    for _ in 0..50 {
        hostile.ack(&seqs).await.unwrap();
    }
    for seq in (0..2000).filter(|seq| *seq != 3) {
        hostile.nack(seq, "no", Duration::ZERO).await.unwrap();
    }
    idle(&mut hostile).await;
    assert!(daemon.memory.acknowledged("desk").is_empty(), "of all these it has none");
    // What the victim has it still has, at its first attempt.
    idle(&mut victim).await;
    hostile.ack(&[3, 3, 3]).await.unwrap();
    assert_eq!(acked(&mut hostile).await, [3]);
    assert_eq!(next(&mut hostile).await, (4, 1));
    hostile.ack(&[3]).await.unwrap();
    hostile.nack(3, "changed my mind", Duration::ZERO).await.unwrap();
    idle(&mut hostile).await;
    victim.ack(&[1, 2]).await.unwrap();
    assert_eq!(acked(&mut victim).await, [1, 2]);
    assert_eq!(daemon.memory.acknowledged("desk"), [1, 2, 3]);
}

/// It refuses each record as fast as it comes. Others of the same name still get theirs.
#[tokio::test(start_paused = true)]
async fn a_storm_of_refusals_keeps_no_record_from_another() {
    let daemon = Daemon::new();
    daemon.memory.record(&[0; 20]);
    let mut hostile = daemon.connect("desk", 1).await;
    let mut refused = 0;
    let storm = async {
        while refused < 5_000 {
            let delivery = hostile.next().await.unwrap();
            hostile.nack(delivery.seq, "no", Duration::ZERO).await.unwrap();
            refused += 1;
        }
        std::future::pending::<()>().await;
    };
    let work = async {
        let mut victim = daemon.connect("desk", 5).await;
        let mut done = BTreeSet::new();
        while done.len() < 20 {
            let (seq, _) = next(&mut victim).await;
            victim.ack(&[seq]).await.unwrap();
            done.insert(seq);
        }
        // The last confirmation says that all of them are durable.
        while daemon.memory.acknowledged("desk").len() < 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = storm => {}
        () = work => {}
    }
    assert!(refused > 0);
    assert_eq!(daemon.memory.acknowledged("desk").len(), 20);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_what_was_granted_whatever_was_asked() {
    let mut daemon = Daemon::new();
    daemon.terms.window_max = 3;
    daemon.memory.record(&[0; 10]);
    let mut greedy = daemon.connect("desk", 65_536).await;
    assert_eq!(greedy.welcome().window, 3);
    next_some(&mut greedy, 3).await;
    // Made-up answers open no window.
    greedy.ack(&[u64::MAX, 0, 9, 10]).await.unwrap();
    idle(&mut greedy).await;
    let over = Introduction { subscription: "desk".into(), window: 65_537, ..Default::default() };
    let Err(ClientError::Goodbye { code, reason }) = daemon.introduce(over).await else { panic!() };
    assert_eq!(code, Code::HelloInvalid, "{reason}");
}

/// It sends without end and reads nothing, while records wait for it.
#[tokio::test(start_paused = true)]
async fn a_client_that_only_talks_is_closed_and_its_records_go_to_others() {
    let daemon = Daemon::new();
    let mut helpdesk = daemon.connect("helpdesk", 200).await;
    daemon.memory.record_of("lumio", &[0; 200], 2000);
    let (mut deaf, task) = daemon.dial(2048);
    deaf.write_all(&bytes_of([hello("desk", 200)])).await.unwrap();
    let nack = bytes_of([client_message::Kind::Nack(Nack { seq: 7, ..Default::default() })]);
    let since = Instant::now();
    works(&daemon, &mut helpdesk).await;
    drop(helpdesk);
    while !task.is_finished() {
        // Taken as long as the server reads; then the pipe is full.
        _ = tokio::time::timeout(Duration::from_secs(1), deaf.write_all(&nack)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(since.elapsed() <= daemon.terms.write_max + Duration::from_secs(2), "{:?}", since.elapsed());
    let in_flight =
        daemon.hub.outbox.lock().counts().map(|counts| (counts.name, counts.in_flight)).collect::<Vec<_>>();
    assert!(in_flight.contains(&("desk".to_owned(), 0)), "{in_flight:?}");
    let mut heir = daemon.connect("desk", 201).await;
    assert_eq!(next_some(&mut heir, 201).await.len(), 201);
}

/// A wrong token is answered late, each time later; a right one at once, from the same peer.
#[tokio::test(start_paused = true)]
async fn guessing_gets_slower_and_slows_down_nobody_else() {
    let mut roster = Roster::default();
    let grant = Grant { name: "bridge".into(), rights: Rights::SOCKET, brands: None };
    assert!(roster.add_token("the right token", grant));
    let access = Arc::new(Access::new(roster));
    let daemon = Daemon { access, ..Daemon::new() };
    let limits = Limits { per_peer_max: 9, strangers_max: 9, penalty_max: daemon.terms.handshake_max };
    let gate = Gate::new(limits, Arc::new(tokio::sync::Semaphore::new(9)));
    let knock = async |token: &str| {
        let since = Instant::now();
        let place = gate.enter(Peer::User(1)).await.unwrap();
        let visitor = Visitor::new(Arc::clone(&daemon.access), false, place, since.into_std());
        let (ours, theirs) = tokio::io::duplex(4096);
        let terms = Arc::new(daemon.terms.clone());
        let task =
            tokio::spawn(converse(theirs, daemon.hub.clone(), visitor, terms, daemon.stop.subscribe()));
        let introduction =
            Introduction { token: token.into(), subscription: "desk".into(), ..Default::default() };
        let came = Client::over(ours, introduction).await;
        let waited = since.elapsed();
        match came {
            Ok(client) => {
                assert_eq!(gate.counts().strangers, 0);
                drop(client);
            }
            Err(error) => assert!(error.to_string().contains("wrong token"), "{error}"),
        }
        task.await.unwrap();
        waited.as_millis()
    };
    assert_eq!(knock("the right token").await, 0);
    let mut waits = Vec::new();
    for _ in 0..7 {
        waits.push(knock("the wrong token").await);
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    assert_eq!(knock("the right token").await, 0);
    let counts = gate.counts();
    assert_eq!((counts.connections, counts.strangers, counts.wrong_tokens), (0, 0, 7));
}

/// An idle client keeps no buffers: the state of its conversation is all that it costs beside its task.
#[tokio::test(start_paused = true)]
async fn an_idle_conversation_is_small() {
    let daemon = Daemon::new();
    let (_ours, theirs) = tokio::io::duplex(64);
    let visitor = Visitor::anyone(Instant::now().into_std());
    let conversation = converse(theirs, daemon.hub.clone(), visitor, Arc::default(), daemon.stop.subscribe());
    let bytes = size_of_val(&conversation);
    assert!(bytes <= 4096, "{bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_idle_holds_no_buffer() {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut line = Line::new(theirs);
    ours.write_all(&[7; 10_000]).await.unwrap();
    assert!(matches!(line.move_on(true).await, Moved::Read(Ok(10_000))));
    assert_eq!(line.incoming, [7; 10_000][..]);
    // A rest makes room for more, of which the buffer then has too much.
    line.incoming.advance(9_000);
    ours.write_all(&[7; 1_500]).await.unwrap();
    assert!(matches!(line.move_on(true).await, Moved::Read(Ok(1_500))));
    line.incoming.advance(2_500);
    assert!(line.incoming.capacity() > 0, "there is something to give back");
    line.shrink();
    let waited = tokio::time::timeout(Duration::from_secs(1), line.move_on(true)).await;
    assert!(waited.is_err(), "nothing is there to be read or written");
    assert_eq!((line.incoming.capacity(), line.outgoing.capacity()), (0, 0));
}

/// Whoever sends without end must still be written to, and whoever reads without end still be heard.
#[tokio::test(start_paused = true)]
async fn reading_and_writing_take_turns() {
    let (mut ours, theirs) = tokio::io::duplex(1024 * 1024);
    let mut line = Line::new(theirs);
    ours.write_all(&[7; 5 * READ_BYTES]).await.unwrap();
    let mut turns = String::new();
    for _ in 0..8 {
        line.outgoing.extend_from_slice(b"words");
        match line.move_on(true).await {
            Moved::Read(Ok(_)) => turns.push('r'),
            Moved::Wrote(Ok(_)) => turns.push('w'),
            _ => panic!("neither"),
        }
    }
    assert_eq!(turns, "rwrwrwrw");
}

/// Who is turned away is seen in the log, once a minute for each reason, and their token never.
#[tokio::test(start_paused = true)]
async fn each_kind_of_refusal_is_logged_once_a_minute_and_peer() {
    use crate::access::peers::{Gate, Limits, Peer};
    let log = crate::access::tests::Log::listen();
    let limits = Limits { per_peer_max: 50, strangers_max: 50, penalty_max: Duration::from_secs(1) };
    let gate = Gate::new(limits, Arc::new(tokio::sync::Semaphore::new(10)));
    let daemon = Daemon::new();
    let come = async |window: u32, name: &str| {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let now = Instant::now().into_std();
        let place = gate.knock(Peer::User(7), now).unwrap();
        let visitor = Visitor::new(Arc::clone(&daemon.access), false, place, now);
        let terms = Arc::new(daemon.terms.clone());
        tokio::spawn(converse(theirs, daemon.hub.clone(), visitor, terms, daemon.stop.subscribe()));
        let introduction = Introduction {
            token: "swordfish".into(),
            subscription: name.into(),
            window,
            ..Default::default()
        };
        assert!(Client::over(ours, introduction).await.is_err());
    };
    for _ in 0..5 {
        come(70_000, "desk").await;
    }
    let refusals = || {
        let text = log.text();
        text.lines()
            .filter(|line| line.contains("INFO") && line.contains("refused"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(refusals().len(), 1, "{}", log.text());
    tokio::time::advance(Duration::from_secs(61)).await;
    come(1, "no name").await;
    let refusals = refusals();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    assert!(
        refusals[0].contains("peer=User(7) code=\"CODE_HELLO_INVALID\" reason=\"window = 70000"),
        "{refusals:?}"
    );
    assert!(refusals[1].contains("subscription.name") && refusals[1].contains("times=5"), "{refusals:?}");
    assert!(!log.text().contains("swordfish"));
}
