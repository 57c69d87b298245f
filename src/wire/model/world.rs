//! The real parts, driven one step at a time and compared with the twin after each.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use prost::Message;
use tempfile::TempDir;
use tokio::sync::oneshot::Receiver;

use super::step::{BRANDS, Event, INTENTS, NAMES, PLACES, Step};
use super::twin::{self, AGEING, Job, Kind, Twin};
use crate::ledger::outbox::{ClientId, Outbox, Taken};
use crate::ledger::{
    self, Entry, Handle, Ledger, NewTicket, Records, Rescoring, Seq, Settlement, Traits, Writer,
};
use crate::parse::Network;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::proto::{self, client_message, server_message, update::Change};
use crate::wire::delivery::Envelope;
use crate::wire::frame::{self, Decoded, FRAME_BYTES_MAX};
use crate::wire::session::{Action, Session, Terms};

const SOURCE: &str = "bluesky";

type Answer = Receiver<Result<(), String>>;

/// A ledger with its outbox, as one process has them.
struct Daemon {
    settlements: Sender<Settlement>,
    writer: Writer,
    handle: Handle,
    outbox: Arc<Mutex<Outbox>>,
}

/// A connection, driven as `conversation` drives one.
struct Client {
    id: ClientId,
    session: Session,
    name: &'static str,
    window: usize,
    subscribing: Option<Answer>,
    is_subscribed: bool,
    asked: Vec<(Vec<Seq>, Answer)>,
    /// Taken, and not yet sent.
    reading: Vec<Taken>,
    /// Sent, and neither refused nor confirmed.
    unanswered: Vec<u64>,
}

pub(super) struct World {
    folder: TempDir,
    daemon: Option<Daemon>,
    now: Instant,
    clients: [Option<Client>; PLACES],
    /// Connections that are closed and wait for the ledger's answers.
    leaving: Vec<Client>,
    clients_ever: u64,
    batches: u64,
    twin: Twin,
    /// Handed to the ledger, not committed.
    queued: Vec<Job>,
    delivered: u64,
}

impl World {
    pub(super) fn new() -> World {
        let folder = folder();
        std::fs::write(path(&folder), empty_ledger()).unwrap();
        let daemon = Some(Daemon::start(&folder));
        World {
            folder,
            daemon,
            now: Instant::now(),
            clients: Default::default(),
            leaving: Vec::new(),
            clients_ever: 0,
            batches: 0,
            twin: Twin::default(),
            queued: Vec::new(),
            delivered: 0,
        }
    }

    /// Does all steps, then delivers what is left; gives how many deliveries there were.
    pub(super) fn run(mut self, steps: &[Step]) -> u64 {
        for step in steps {
            self.step(step);
            self.compare();
        }
        self.finish(steps.len() % 2 == 0);
        self.delivered
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Settle(events) => self.settle(events),
            Step::Rescore { post, priority, intent } => {
                self.rescore(*post, priority.map(|priority| (priority, *intent)));
            }
            Step::Connect { place, name, filter, start_next, window } => {
                self.connect(*place, NAMES[*name], *filter, *start_next, *window);
            }
            Step::Turn => {
                self.commit();
                self.answer();
            }
            Step::Commit => self.commit(),
            Step::Answer => self.answer(),
            Step::Serve { place } => {
                self.take(*place);
                self.send(*place);
            }
            Step::Take { place } => self.take(*place),
            Step::Send { place } => self.send(*place),
            Step::Ack { place, nths } => self.acknowledge(*place, nths),
            Step::Nack { place, nth, delay_s } => {
                let Some(client) = &self.clients[*place] else { return };
                // A seq that is nobody's now and then.
                let seq = client.unanswered.get(*nth).copied().unwrap_or(*nth as u64);
                let retry_after_ms = delay_s.saturating_mul(1000);
                let nack = proto::Nack { seq, reason: String::new(), retry_after_ms };
                self.say(*place, client_message::Kind::Nack(nack));
            }
            Step::Heartbeat { place } => {
                self.say(*place, client_message::Kind::Heartbeat(proto::Heartbeat {}));
            }
            Step::Disconnect { place } => self.disconnect(*place),
            Step::Pass { seconds } => {
                self.now += Duration::from_secs(*seconds);
                self.elapse();
            }
            Step::RaiseFloors => self.daemon().writer.raise_floors().unwrap(),
            Step::Crash { during_commit } => self.crash(*during_commit),
            Step::Restart => self.restart(),
        }
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("a daemon runs between steps")
    }

    fn settle(&mut self, events: &[Event]) {
        self.batches += 1;
        let position = self.batches as i64 * 10;
        let settlement = Settlement {
            source: SOURCE.into(),
            end_sequence: self.batches,
            position: Some(position),
            buckets: Buckets::default(),
            gaps: Vec::new(),
            entries: events.iter().map(entry).collect(),
        };
        self.queued.push(Job::Settle { events: events.to_vec(), position });
        self.daemon().settlements.send(settlement).unwrap();
    }

    fn rescore(&mut self, post: u8, change: Option<(u16, usize)>) {
        // Only what is committed is read again.
        if !self.twin.disk.tickets.contains_key(&post) {
            return;
        }
        let rescored = change.map(|(priority, intent)| {
            let intent = [(INTENTS[intent].to_owned(), 0.9)].into();
            let verdict = proto::Verdict { intent, ..Default::default() };
            Box::new(proto::update::Rescored {
                priority: priority.into(),
                verdict: Some(verdict),
                ..Default::default()
            })
        });
        let rescoring =
            Rescoring { ticket_id: twin::ticket_id(post), at: Timestamp::UNIX_EPOCH, change: rescored };
        // Whether it is answered interests nobody here: what was not committed is provisional still.
        drop(self.daemon().handle.rescore(vec![rescoring]));
        self.queued.push(Job::Rescore { post, change });
    }

    fn connect(&mut self, place: usize, name: &'static str, filter: usize, start_next: bool, window: u32) {
        self.disconnect(place);
        self.clients_ever += 1;
        self.clients[place] = Some(Client {
            id: ClientId(self.clients_ever),
            session: Session::new(Arc::new(Terms::default()), self.now),
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
    fn say(&mut self, place: usize, kind: client_message::Kind) {
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

    fn act(&mut self, place: usize, actions: Vec<Action>) {
        for action in actions {
            let (client, daemon) = match (&mut self.clients[place], &mut self.daemon) {
                (Some(client), Some(daemon)) => (client, daemon),
                _ => panic!("{action:?} by nobody"),
            };
            let name = client.name;
            match action {
                Action::Send(server_message::Kind::Welcome(welcome)) => {
                    client.window = welcome.window as usize
                }
                Action::Send(server_message::Kind::Acked(acked)) => {
                    for seq in acked.seqs {
                        let acked = &self.twin.disk.subscriptions[name].acked;
                        assert!(acked.contains(&seq), "{seq} is told to be durable, and is not");
                        client.unanswered.retain(|unanswered| *unanswered != seq);
                        self.twin.confirmed.insert((name, seq));
                    }
                }
                Action::Send(_) | Action::Store(_) => {}
                Action::Subscribe { request, .. } => {
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

    /// One turn of the ledger.
    fn commit(&mut self) {
        if self.queued.is_empty() {
            // It would wait for work.
            return;
        }
        let mut jobs = std::mem::take(&mut self.queued);
        // The ledger takes batches before requests.
        jobs.sort_by_key(|job| !matches!(job, Job::Settle { .. }));
        self.twin.disk.commit(&jobs);
        self.twin.opened(&jobs);
        assert!(self.daemon().writer.turn(&|| ()).unwrap());
    }

    fn answer(&mut self) {
        for place in 0..PLACES {
            self.answer_client(place);
        }
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain_mut(|client| !self.leave(client));
        self.leaving = leaving;
    }

    fn answer_client(&mut self, place: usize) {
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

    fn take(&mut self, place: usize) {
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

    fn send(&mut self, place: usize) {
        let now = self.now;
        let (Some(client), Some(daemon)) = (&mut self.clients[place], &self.daemon) else { return };
        let group = std::mem::take(&mut client.reading);
        let seqs: Vec<Seq> = group.iter().map(|taken| taken.seq).collect();
        let bodies = daemon.handle.read(&seqs).unwrap();
        assert_eq!(bodies.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), seqs, "all of them are there");
        let mut arrived = Vec::new();
        for (taken, (seq, body)) in group.into_iter().zip(bodies) {
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
        self.delivered += 1;
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
                assert_eq!(sent.post.unwrap().text.is_empty(), ticket.erased, "the text of an erased post");
            }
            proto::delivery::Record::Update(sent) => {
                assert_eq!(sent.ticket_id, id);
                let has_ticket = disk.subscriptions[name].acked.contains(&ticket.seq);
                assert!(has_ticket, "update {seq} before its ticket {}", ticket.seq);
                let kind = match sent.change.expect("a change") {
                    Change::Erased(_) => Kind::Erased,
                    Change::Rescored(_) => Kind::Rescored,
                    Change::Edited(edited) => {
                        assert_eq!(edited.text.is_empty(), ticket.erased, "the text of an erased post");
                        Kind::Edited
                    }
                };
                assert_eq!(record.kind, kind);
            }
        }
    }

    fn acknowledge(&mut self, place: usize, nths: &[usize]) {
        let Some(client) = &self.clients[place] else { return };
        // What it has been sent; else what it has not been sent yet; else what may be anybody's.
        let seq = |nth: &usize| {
            let sent = client.unanswered.get(*nth).copied();
            sent.or_else(|| client.reading.get(*nth).map(|taken| taken.seq.get())).unwrap_or(*nth as u64)
        };
        let seqs = nths.iter().map(seq).collect();
        self.say(place, client_message::Kind::Ack(proto::Ack { seqs }));
    }

    fn elapse(&mut self) {
        for place in 0..PLACES {
            let Some(client) = &mut self.clients[place] else { continue };
            let mut actions = Vec::new();
            if client.session.deadline().is_some_and(|deadline| deadline <= self.now) {
                client.session.elapse(self.now, &mut actions);
            }
            self.act(place, actions);
        }
    }

    fn disconnect(&mut self, place: usize) {
        if let Some(mut client) = self.clients[place].take()
            && !self.leave(&mut client)
        {
            self.leaving.push(client);
        }
    }

    /// Settles what the ledger has answered; once that is all, gives back what the client had.
    fn leave(&mut self, client: &mut Client) -> bool {
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

    fn compare(&mut self) {
        for name in NAMES {
            let daemon = self.daemon.as_ref().expect("a daemon runs between steps");
            let outbox = daemon.outbox.lock();
            let counts = outbox.counts().find(|counts| counts.name == name);
            let counts = counts.map_or((0, 0), |counts| (counts.pending + counts.deferred, counts.in_flight));
            assert_eq!(counts, self.twin.counts(name), "records of {name} that wait and are in flight");
        }
        let account = self.daemon().handle.accounting().sources.remove(SOURCE).unwrap_or_default();
        let disk = &self.twin.disk;
        assert_eq!((account.buckets, account.position), (disk.buckets, disk.position), "the account");
    }

    /// The power fails: what was not committed is gone, and of a commit under way as much as had been written.
    fn crash(&mut self, during_commit: Option<u8>) {
        let before = files(&self.folder);
        let disk = self.twin.disk.clone();
        let opens = self.queued.iter().any(|job| matches!(job, Job::Subscribe { .. }));
        if during_commit.is_some() {
            self.commit();
        }
        let (file, mut log) = files(&self.folder);
        // A subscription is a commit of its own; a log that was emptied into the file had been whole before.
        if let Some(share) = during_commit
            && !opens
            && file == before.0
            && log.starts_with(&before.1)
            && log.len() > before.1.len()
        {
            let written = (log.len() - before.1.len()) * usize::from(share) / 256;
            log.truncate(before.1.len() + written);
            self.twin.disk = disk;
        }
        self.clients = Default::default();
        self.leaving.clear();
        self.queued.clear();
        let folder = folder();
        std::fs::write(path(&folder), file).unwrap();
        std::fs::write(log_path(&folder), log).unwrap();
        self.daemon = None;
        self.folder = folder;
        self.start();
    }

    /// An orderly stop: clients are told, what is under way is committed and answered.
    fn restart(&mut self) {
        for place in 0..PLACES {
            let Some(client) = &mut self.clients[place] else { continue };
            let mut actions = Vec::new();
            client.session.stop(self.now, &mut actions);
            self.act(place, actions);
        }
        self.commit();
        self.answer();
        self.now += Terms::default().drain_max;
        self.elapse();
        assert!(self.clients.iter().all(Option::is_none), "all are closed when the drain is over");
        assert!(self.leaving.is_empty(), "all is answered when the drain is over");
        let daemon = self.daemon();
        daemon.handle.stop();
        assert!(!daemon.writer.turn(&|| ()).unwrap());
        self.daemon = None;
        self.start();
    }

    fn start(&mut self) {
        self.twin.forget();
        self.daemon = Some(Daemon::start(&self.folder));
    }

    /// After another start everybody gets the rest: nothing is lost, and nothing comes again.
    fn finish(&mut self, with_crash: bool) {
        if with_crash {
            self.crash(None)
        } else {
            self.restart()
        }
        self.compare();
        let names: Vec<_> = self.twin.disk.subscriptions.keys().copied().collect();
        for name in names {
            self.connect(0, name, 0, false, 7);
            loop {
                self.commit();
                self.answer();
                self.take(0);
                self.send(0);
                self.compare();
                let count = self.clients[0].as_ref().map_or(0, |client| client.unanswered.len());
                if count == 0 {
                    break;
                }
                self.acknowledge(0, &Vec::from_iter(0..count));
            }
            let disk = &self.twin.disk;
            let Some(subscription) = disk.subscriptions.get(name) else { continue };
            let wanted = disk.seqs().filter(|seq| disk.ticket_of(*seq).seq > subscription.start);
            let lost: Vec<_> = wanted.filter(|seq| !subscription.acked.contains(seq)).collect();
            assert!(lost.is_empty(), "{lost:?} never came to {name}");
        }
    }
}

impl Daemon {
    fn start(folder: &TempDir) -> Daemon {
        let config = ledger::Config {
            path: path(folder),
            bookkeeping_delay_max: Duration::ZERO,
            ageing_points_per_hour: AGEING,
        };
        let (settlements, receiver) = bounded(128);
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let (writer, handle) = Ledger::open(config).unwrap().split(receiver, outbox.clone()).unwrap();
        Daemon { settlements, writer, handle, outbox }
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

fn entry(event: &Event) -> Entry {
    let at = Timestamp::UNIX_EPOCH;
    match *event {
        Event::Ticket { post, author, brand, intent, priority, hour, provisional } => {
            let id = twin::ticket_id(post);
            let text = format!("text of {post}");
            let message = proto::Ticket {
                id: id.as_bytes().to_vec(),
                post: Some(proto::Post { text, ..Default::default() }),
                ..Default::default()
            };
            Entry::Ticket(Box::new(NewTicket {
                id,
                author_id: twin::author_id(author),
                traits: Traits {
                    brand: BRANDS[brand].into(),
                    network: Network::Bluesky,
                    language: "fr".into(),
                    intent: INTENTS[intent].into(),
                    priority,
                    rescored: None,
                },
                created_at: Timestamp::from_microsecond(twin::created_at_us(hour)).unwrap(),
                due_at_us: twin::due(post).into(),
                text_hash: post.into(),
                provisional,
                body: message.encode_to_vec(),
            }))
        }
        Event::Edit { post } => Entry::Edit {
            ticket_id: twin::ticket_id(post),
            text: "edited".into(),
            at,
            otherwise: Bucket::Unmatched,
        },
        Event::Erase { post } => Entry::Erase { ticket_id: twin::ticket_id(post), at },
        Event::EraseAuthor { author } => {
            Entry::EraseAuthor { network: Network::Bluesky, author_id: twin::author_id(author), at }
        }
    }
}

/// A folder in memory where there is one.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn path(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("ledger.sqlite")
}

fn log_path(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("ledger.sqlite-wal")
}

/// The ledger's file and its write-ahead log.
fn files(folder: &TempDir) -> (Vec<u8>, Vec<u8>) {
    (std::fs::read(path(folder)).unwrap(), std::fs::read(log_path(folder)).unwrap_or_default())
}

/// The file of a ledger that was opened and closed, made once.
fn empty_ledger() -> &'static [u8] {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let folder = folder();
        drop(Daemon::start(&folder));
        std::fs::read(path(&folder)).unwrap()
    })
}
