//! What must hold of a session, whatever comes and whenever.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;

use crate::ledger::Seq;
use crate::ticket::proto::{self, client_message, goodbye::Code, server_message::Kind};
use crate::trials::Bytes;
use crate::wire::frame::FRAME_BYTES_MAX;
use crate::wire::session::{Action, Session, Terms};
use crate::wire::visitor::Visitor;

/// What the session's driver and its client know, kept beside it.
struct Twin {
    session: Session,
    limit: usize,
    now: Instant,
    /// Asked for in the hello that was accepted.
    window: usize,
    /// By seq; whether it is being acknowledged.
    unanswered: BTreeMap<u64, bool>,
    /// Handed to the ledger and not answered by it.
    asked: VecDeque<Vec<Seq>>,
    stage: Stage,
    next_seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Stranger,
    Subscribing,
    Open,
    Draining,
    Closed,
}

/// A session keeps its promises whatever the client sends, the ledger answers and the clock says: the window
/// holds, only what was delivered is acknowledged, once, and nothing follows the close.
pub(crate) fn session(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let now = Instant::now();
    // 4096 bytes are the least that an operator may set.
    let limit = if bytes.is_set() { 4096 } else { FRAME_BYTES_MAX };
    let window_max = 1 + u32::from(bytes.byte());
    let terms = Terms { window_max, frame_bytes_max: limit, ..Terms::default() };
    let mut twin = Twin {
        session: Session::new(Arc::new(terms), Visitor::anyone(now)),
        limit,
        now,
        window: 0,
        unanswered: BTreeMap::new(),
        asked: VecDeque::new(),
        stage: Stage::Stranger,
        next_seq: 1,
    };
    while !bytes.is_empty() {
        twin.step(&mut bytes);
    }
}

impl Twin {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        use client_message::Kind as Client;
        let mut actions = Vec::new();
        let mut confirmed = BTreeSet::new();
        match bytes.byte() % 15 {
            0 => {
                let len = bytes.under(300);
                match proto::ClientMessage::decode(bytes.take(len)) {
                    Ok(message) => self.session.receive(message, self.now, &mut actions),
                    Err(error) => {
                        self.session.violated(Code::FrameInvalid, error.to_string(), &mut actions);
                    }
                }
            }
            1 => {
                let subscription = proto::Subscription { name: "desk".into(), ..Default::default() };
                let hello = proto::Hello {
                    protocol: 1,
                    window: bytes.byte().into(),
                    subscription: Some(subscription),
                    ..Default::default()
                };
                self.receive(Client::Hello(hello), &mut actions);
            }
            2 => {
                let seqs = (0..bytes.under(8)).map(|_| bytes.byte().into()).collect();
                self.receive(Client::Ack(proto::Ack { seqs }), &mut actions);
            }
            3 => {
                let (seq, after) = (bytes.byte().into(), u32::from(bytes.u16()) * 5_000);
                let reason = "é".repeat(bytes.byte().into()) + &"x".repeat(bytes.byte().into());
                self.receive(Client::Nack(proto::Nack { seq, reason, retry_after_ms: after }), &mut actions);
            }
            4 => self.receive(Client::Heartbeat(proto::Heartbeat {}), &mut actions),
            5 => {
                let ticket_id = vec![7; 10 + bytes.under(10)];
                let status = proto::TicketStatus { ticket_id, ..Default::default() };
                self.receive(Client::TicketStatus(status), &mut actions);
            }
            6 => {
                self.now += Duration::from_millis(u64::from(bytes.u16()) * 10);
                self.elapse(&mut actions);
            }
            7 => {
                self.now = self.session.deadline().map_or(self.now, |deadline| deadline.max(self.now));
                self.elapse(&mut actions);
            }
            8 => {
                let answer = if bytes.byte() == 0 { Err("disk full".to_owned()) } else { Ok(5) };
                self.session.subscribed(answer, self.now, &mut actions);
            }
            9 => {
                for _ in 0..bytes.under(256).min(self.session.room()) {
                    self.session.taken(seq(self.next_seq));
                    self.unanswered.insert(self.next_seq, false);
                    self.next_seq += 1;
                }
                self.session.spoke(self.now);
            }
            10 => {
                let awaited = self.unanswered.iter().filter(|(_, answered)| !**answered);
                if let Some((&first, _)) = awaited.clone().nth(bytes.under(8)) {
                    self.unanswered.remove(&first);
                    self.session.untaken(seq(first), &mut actions);
                }
            }
            11 | 12 => {
                if let Some(seqs) = self.asked.pop_front() {
                    confirmed.extend(seqs.iter().map(|seq| seq.get()));
                    self.session.durable(&seqs, Ok(()), self.now, &mut actions);
                }
            }
            13 => {
                if bytes.is_set() {
                    self.session.stop(self.now, &mut actions);
                } else if let Some(seqs) = self.asked.pop_front() {
                    self.session.durable(&seqs, Err("disk gone".into()), self.now, &mut actions);
                }
            }
            _ => self.session.violated(Code::FrameTooLarge, "too large", &mut actions),
        }
        self.follow(actions, confirmed);
        self.compare();
    }

    fn receive(&mut self, kind: client_message::Kind, actions: &mut Vec<Action>) {
        self.session.receive(proto::ClientMessage { kind: Some(kind) }, self.now, actions);
    }

    fn elapse(&mut self, actions: &mut Vec<Action>) {
        let deadline = self.session.deadline();
        self.session.elapse(self.now, actions);
        if deadline.is_none_or(|deadline| self.now < deadline) {
            assert_eq!(*actions, [], "before the deadline");
        }
        let next = self.session.deadline();
        assert!(next.is_none_or(|next| next > self.now), "a deadline that is met and stays would spin");
    }

    /// Does what a driver does, and sees that it may be done.
    fn follow(&mut self, actions: Vec<Action>, mut confirmed: BTreeSet<u64>) {
        let mut said_goodbye = false;
        for action in actions {
            assert_ne!(self.stage, Stage::Closed, "{action:?} after the close");
            match action {
                Action::Send(kind) => {
                    assert!(!said_goodbye || matches!(kind, Kind::Acked(_)), "{kind:?} after the goodbye");
                    let message = proto::ServerMessage { kind: Some(kind.clone()) };
                    assert!(message.encoded_len() <= self.limit, "{} bytes", message.encoded_len());
                    match kind {
                        Kind::Welcome(welcome) => {
                            assert_eq!(self.stage, Stage::Subscribing);
                            self.window = welcome.window as usize;
                            self.stage = Stage::Open;
                        }
                        Kind::Goodbye(goodbye) => {
                            said_goodbye = true;
                            assert_ne!(self.stage, Stage::Draining, "a second goodbye: {goodbye:?}");
                            if self.stage == Stage::Open && goodbye.code == Code::Shutdown as i32 {
                                self.stage = Stage::Draining;
                            }
                        }
                        Kind::Acked(acked) => {
                            for seq in acked.seqs {
                                assert!(confirmed.remove(&seq), "{seq} is not durable");
                                assert_eq!(self.unanswered.remove(&seq), Some(true), "{seq} was not acked");
                            }
                        }
                        Kind::Heartbeat(_) => assert_eq!(self.stage, Stage::Open),
                        Kind::Delivery(_) => panic!("deliveries are the driver's"),
                    }
                }
                Action::LetIn { client, request, .. } => {
                    let request = request.expect("whom nobody asks for a token may read");
                    assert_eq!(self.stage, Stage::Stranger);
                    assert!(client.len() <= 200 && request.name.len() <= 100);
                    self.stage = Stage::Subscribing;
                }
                Action::Acknowledge(seqs) => {
                    assert!(!seqs.is_empty());
                    for seq in &seqs {
                        let answered = self.unanswered.insert(seq.get(), true);
                        assert_eq!(answered, Some(false), "{seq:?} is not this client's to acknowledge");
                    }
                    self.asked.push_back(seqs);
                }
                Action::PutBack { seq, until, reason } => {
                    assert_eq!(
                        self.unanswered.remove(&seq.get()),
                        Some(false),
                        "{seq:?} is not this client's"
                    );
                    assert!(until.is_none_or(|until| until <= self.now + Duration::from_secs(24 * 60 * 60)));
                    assert!(reason.len() <= 500);
                }
                Action::Store(_) | Action::Show(_) => assert_ne!(self.stage, Stage::Stranger),
                Action::Close => self.stage = Stage::Closed,
            }
        }
        assert!(confirmed.is_empty() || self.stage == Stage::Closed, "{confirmed:?} are not confirmed");
        let may_stay = matches!(self.stage, Stage::Draining | Stage::Closed);
        assert!(!said_goodbye || may_stay, "a goodbye without a close");
    }

    fn compare(&self) {
        assert_eq!(self.session.is_closed(), self.stage == Stage::Closed);
        assert_eq!(self.session.is_open(), self.stage == Stage::Open);
        let room = if self.stage == Stage::Open { self.window - self.unanswered.len() } else { 0 };
        assert_eq!(self.session.room(), room);
        if matches!(self.stage, Stage::Open | Stage::Draining) {
            for (number, answered) in &self.unanswered {
                assert_eq!(self.session.awaits(seq(*number)), !answered, "{number}");
            }
        }
        assert!(self.stage != Stage::Draining || !self.unanswered.is_empty(), "drained, and still there");
    }
}

fn seq(seq: u64) -> Seq {
    Seq::new(seq).expect("seqs count from 1")
}
