//! Connections: what clients say, what sessions do about it, and what arrives.

use std::sync::Arc;

use prost::Message;
use tokio::sync::oneshot::Receiver;

use super::World;
use crate::ledger::outbox::{ClientId, Taken};
use crate::ledger::{Records, Seq};
use crate::ticket::proto::{self, client_message, server_message, update::Change};
use crate::wire::delivery::Envelope;
use crate::wire::frame::{self, Decoded, FRAME_BYTES_MAX};
use crate::wire::model::daemon::Daemon;
use crate::wire::model::twin::{self, Job, Kind, Twin};
use crate::wire::session::{Action, Session, Terms};
use crate::wire::visitor::Visitor;

type Answer = Receiver<Result<(), String>>;

/// A connection, driven as `conversation` drives one.
pub(super) struct Client {
    id: ClientId,
    pub(super) session: Session,
    name: &'static str,
    window: usize,
    subscribing: Option<Answer>,
    is_subscribed: bool,
    asked: Vec<(Vec<Seq>, Answer)>,
    /// Taken, and not yet sent.
    reading: Vec<Taken>,
    /// Sent, and neither refused nor confirmed.
    pub(super) unanswered: Vec<u64>,
}

impl World {
    pub(super) fn connect(
        &mut self,
        place: usize,
        name: &'static str,
        filter: usize,
        start_next: bool,
        window: u32,
    ) {
        self.disconnect(place);
        self.clients_ever += 1;
        self.clients[place] = Some(Client {
            id: ClientId(self.clients_ever),
            session: Session::new(Arc::new(Terms::default()), Visitor::anyone(self.now)),
            name,
            window: 0,
            subscribing: None,
            is_subscribed: false,
            asked: Vec::new(),
            reading: Vec::new(),
            unanswered: Vec::new(),
        });
        let asked = proto::Filter {
            brands: if filter == 1 { vec!["LUMIO".into()] } else { Vec::new() },
            priority_min: if filter == 2 { 500 } else { 0 },
            intents: if filter == 3 { vec!["outage".into()] } else { Vec::new() },
            ..Default::default()
        };
        let start = if start_next { proto::Start::Next } else { proto::Start::Oldest } as i32;
        let subscription = proto::Subscription { name: name.into(), filter: Some(asked), start };
        self.queued.push(Job::Subscribe { name, filter, start_next });
        let hello = proto::Hello {
            protocol: 1,
            client: "model".into(),
            subscription: Some(subscription),
            window,
            ..Default::default()
        };
        self.say(place, client_message::Kind::Hello(hello));
    }

    /// A message of the client, as it comes over the wire.
    pub(super) fn say(&mut self, place: usize, kind: client_message::Kind) {
        let now = self.now;
        let Some(client) = &mut self.clients[place] else { return };
        let mut bytes = Vec::new();
        let message = proto::ClientMessage { kind: Some(kind) };
        frame::encode(&message, FRAME_BYTES_MAX, &mut bytes).unwrap();
        let Decoded::Frame { payload, .. } = frame::decode(&bytes, client.session.frame_bytes_max()) else {
            panic!("our own frame")
        };
        let mut actions = Vec::new();
        client.session.receive(proto::ClientMessage::decode(payload).unwrap(), now, &mut actions);
        self.act(place, actions);
    }

    pub(super) fn act(&mut self, place: usize, actions: Vec<Action>) {
        for action in actions {
            let (client, daemon) = match (&mut self.clients[place], &mut self.daemon) {
                (Some(client), Some(daemon)) => (client, daemon),
                _ => panic!("{action:?} by nobody"),
            };
            let name = client.name;
            match action {
                Action::Send(server_message::Kind::Welcome(welcome)) => {
                    client.window = welcome.window as usize;
                }
                Action::Send(server_message::Kind::Acked(acked)) => {
                    for seq in acked.seqs {
                        let acked = &self.twin.disk.subscriptions[name].acked;
                        assert!(acked.contains(&seq), "{seq} is told to be durable, and is not");
                        client.unanswered.retain(|unanswered| *unanswered != seq);
                        self.twin.confirmed.insert((name, seq));
                    }
                }
                Action::Send(_) | Action::Store(_) | Action::Show(_) => {}
                Action::LetIn { request, .. } => {
                    let request = request.expect("a subscription");
                    assert_eq!(request.name, name);
                    client.subscribing = Some(daemon.handle.subscribe(request));
                }
                Action::Acknowledge(seqs) => {
                    let answer = daemon.handle.acknowledge(name, seqs.clone());
                    let numbers = seqs.iter().map(|seq| seq.get()).collect();
                    self.queued.push(Job::Acknowledge { name, seqs: numbers });
                    client.asked.push((seqs, answer));
                }
                Action::PutBack { seq, until, .. } => {
                    assert!(
                        daemon.outbox.lock().nack(name, client.id, seq, until),
                        "{seq:?} is not put back"
                    );
                    client.unanswered.retain(|unanswered| *unanswered != seq.get());
                    self.twin.put_back(name, seq.get(), until);
                }
                Action::Close => {
                    self.disconnect(place);
                    return;
                }
            }
        }
    }

    pub(super) fn answer_client(&mut self, place: usize) {
        let now = self.now;
        let Some(client) = &mut self.clients[place] else { return };
        let mut actions = Vec::new();
        if let Some(answer) = client.subscribing.as_mut().and_then(|answer| answer.try_recv().ok()) {
            answer.expect("no fault is planted here");
            client.subscribing = None;
            client.is_subscribed = true;
            let pending = self.daemon.as_ref().map(|daemon| daemon.outbox.lock().pending(client.name));
            client.session.subscribed(Ok(pending.unwrap_or(0)), now, &mut actions);
        }
        for (seqs, answer) in durable(&mut client.asked) {
            answer.expect("no fault is planted here");
            settle(self.daemon.as_ref(), &mut self.twin, client.name, &seqs);
            client.session.durable(&seqs, Ok(()), now, &mut actions);
        }
        self.act(place, actions);
    }

    pub(super) fn take(&mut self, place: usize) {
        let now = self.now;
        let (Some(client), Some(daemon)) = (&mut self.clients[place], &self.daemon) else { return };
        if !client.reading.is_empty() || !client.is_subscribed {
            return;
        }
        for _ in 0..client.session.room() {
            let expected = self.twin.next(client.name, now);
            let taken = daemon.outbox.lock().take(client.name, client.id, now);
            assert_eq!(taken.map(|taken| taken.seq.get()), expected, "the next of {}", client.name);
            let Some(taken) = taken else { break };
            let seq = taken.seq.get();
            assert_eq!(taken.attempt, self.twin.take(client.name, seq, client.id.0), "attempt of {seq}");
            client.session.taken(taken.seq);
            client.reading.push(taken);
        }
    }

    pub(super) fn send(&mut self, place: usize) {
        let now = self.now;
        let (Some(client), Some(daemon)) = (&mut self.clients[place], &self.daemon) else { return };
        let group = std::mem::take(&mut client.reading);
        let seqs: Vec<Seq> = group.iter().map(|taken| taken.seq).collect();
        let bodies = daemon.handle.read(&seqs).unwrap();
        // One that its client has acknowledged unseen may be pruned by now.
        let is_there = |seq: &Seq| !self.twin.disk.ticket_of(seq.get()).pruned;
        let there: Vec<Seq> = seqs.into_iter().filter(is_there).collect();
        assert_eq!(bodies.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), there, "all of them are there");
        let mut arrived = Vec::new();
        let group = group.into_iter().filter(|taken| there.contains(&taken.seq));
        for (taken, (seq, body)) in group.zip(bodies) {
            if !client.session.awaits(seq) {
                // Answered before it was sent, by a client that guesses.
                continue;
            }
            let mut bytes = Vec::new();
            frame::encode(&Envelope::seal(taken, body), FRAME_BYTES_MAX, &mut bytes).unwrap();
            client.session.spoke(now);
            client.unanswered.push(seq.get());
            assert!(client.unanswered.len() <= client.window, "the window of {} holds", client.window);
            arrived.push(bytes);
        }
        for bytes in arrived {
            self.arrives(place, &bytes);
        }
    }

    /// What the client sees is what it was promised.
    fn arrives(&mut self, place: usize, bytes: &[u8]) {
        let Decoded::Frame { payload, .. } = frame::decode(bytes, FRAME_BYTES_MAX) else {
            panic!("no frame")
        };
        let message = proto::ServerMessage::decode(payload).unwrap();
        let Some(server_message::Kind::Delivery(delivery)) = message.kind else { panic!("{message:?}") };
        let (seq, name) = (delivery.seq, self.clients[place].as_ref().map(|client| client.name).unwrap());
        self.done.delivered += 1;
        assert!(!self.twin.confirmed.contains(&(name, seq)), "{seq} again after its ack was durable");
        let elsewhere = self.clients.iter().enumerate().filter(|(other, _)| *other != place);
        let mut elsewhere = elsewhere.filter_map(|(_, client)| client.as_ref()).chain(&self.leaving);
        let shares = |other: &Client| other.name == name && other.unanswered.contains(&seq);
        assert!(!elsewhere.any(shares), "{seq} with two clients of {name}");

        let disk = &self.twin.disk;
        let (record, ticket) = (disk.record_of(seq), disk.ticket_of(seq));
        let id = twin::ticket_id(record.post).as_bytes().to_vec();
        match delivery.record.expect("a record") {
            proto::delivery::Record::Ticket(sent) => {
                assert_eq!((record.kind, sent.id), (Kind::Ticket, id));
                let is_erased = disk.is_erased(record.about);
                assert_eq!(sent.post.unwrap().text.is_empty(), is_erased, "the text of an erased post");
            }
            proto::delivery::Record::Update(sent) => {
                assert_eq!(sent.ticket_id, id);
                let has_ticket = disk.subscriptions[name].acked.contains(&ticket.seq);
                assert!(has_ticket, "update {seq} before its ticket {}", ticket.seq);
                let kind = match sent.change.expect("a change") {
                    Change::Erased(_) => Kind::Erased,
                    Change::Rescored(_) => Kind::Rescored,
                    Change::Edited(edited) => {
                        let is_erased = disk.is_erased(record.about);
                        assert_eq!(edited.text.is_empty(), is_erased, "the text of an erased post");
                        let is_own = record.about == record.post;
                        assert_eq!(edited.post_id.is_empty(), is_own, "{edited:?}");
                        Kind::Edited
                    }
                    Change::FollowedUp(followed) => {
                        let post = followed.post.expect("a post");
                        let is_erased = disk.is_erased(record.about);
                        let text = (post.id, post.text.is_empty());
                        assert_eq!(text, (record.about.to_string(), is_erased), "the text of an erased post");
                        Kind::FollowedUp
                    }
                    Change::PostErased(erased) => {
                        assert_eq!(erased.post_id, record.about.to_string());
                        Kind::PostErased
                    }
                    other => unreachable!("no step of the model makes {other:?}"),
                };
                assert_eq!(record.kind, kind);
            }
        }
    }

    pub(super) fn acknowledge(&mut self, place: usize, nths: &[usize]) {
        let Some(client) = &self.clients[place] else { return };
        // What it has been sent; else what it has not been sent yet; else what may be anybody's.
        let seq = |nth: &usize| {
            let sent = client.unanswered.get(*nth).copied();
            sent.or_else(|| client.reading.get(*nth).map(|taken| taken.seq.get())).unwrap_or(*nth as u64)
        };
        let seqs = nths.iter().map(seq).collect();
        self.say(place, client_message::Kind::Ack(proto::Ack { seqs }));
    }

    /// Settles what the ledger has answered; once that is all, gives back what the client had.
    pub(super) fn leave(&mut self, client: &mut Client) -> bool {
        for (seqs, answer) in durable(&mut client.asked) {
            answer.expect("no fault is planted here");
            settle(self.daemon.as_ref(), &mut self.twin, client.name, &seqs);
        }
        if !client.asked.is_empty() {
            return false;
        }
        self.daemon().outbox.lock().release(client.name, client.id);
        self.twin.release(client.id.0);
        true
    }
}

/// The acknowledgements that the ledger has answered.
fn durable(asked: &mut Vec<(Vec<Seq>, Answer)>) -> Vec<(Vec<Seq>, Result<(), String>)> {
    let mut answers = Vec::new();
    asked.retain_mut(|(seqs, answer)| match answer.try_recv() {
        Ok(answer) => {
            answers.push((seqs.clone(), answer));
            false
        }
        Err(_) => true,
    });
    answers
}

fn settle(daemon: Option<&Daemon>, twin: &mut Twin, name: &'static str, seqs: &[Seq]) {
    if let Some(daemon) = daemon {
        daemon.outbox.lock().acknowledge(name, seqs);
    }
    seqs.iter().for_each(|seq| twin.settled(name, seq.get()));
}
