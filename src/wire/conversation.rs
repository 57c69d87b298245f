//! Drives one session over one stream: the only place where protocol, outbox, ledger and bytes meet.
//!
//! One task a connection. It waits for whatever comes next and never for one thing alone, so that a client
//! that does not read, a slow disk or a slow ledger delays this connection and no other. Bodies are read in
//! groups on the blocking pool.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use prost::Message;
use prost::bytes::{Buf, BytesMut};
use rustc_hash::FxHashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::delivery::Envelope;
use super::frame::{self, Decoded};
use super::hub::{Hub, Lease};
use super::session::{Action, Session, Terms, farewell};
use super::visitor::Visitor;
use crate::access::brands::Brands;
use crate::ledger::outbox::{ClientId, Taken, unnamed};
use crate::ledger::{Body, Seq, SubscriptionRequest};
use crate::telemetry::log::seconds;
use crate::ticket::proto::{ClientMessage, Goodbye, ServerMessage, goodbye::Code, server_message::Kind};

/// Bytes asked of the socket at once. They are read onto the stack and kept only if they came: ten thousand clients
/// that say nothing hold no buffer.
const READ_BYTES: usize = 16 * 1024;

/// No further records are read for a client while this much waits to be written: some 100 tickets, more
/// than a round trip on a fast network carries.
pub(super) const OUTGOING_BYTES_MAX: usize = 256 * 1024;

/// Records read from the ledger at once: enough to spread the cost of a hop to the blocking pool, few
/// enough that a more urgent record which arrives meanwhile is not far behind.
const GROUP_RECORDS: usize = 32;

/// Feedback handed to the ledger and not durable yet. At the limit the client is not read from.
const FEEDBACKS_MAX: usize = 64;

/// How long a closed connection still listens, so that the client gets to read the goodbye: closing with
/// unread bytes resets the connection and destroys what the client has not read.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// How long a record that is longer than `frame_bytes_max` rests before the next try. Only a greater limit
/// can help, and meanwhile it must not take a place in the window again and again.
const UNSENDABLE_REST: Duration = Duration::from_secs(60 * 60);

type Answer = Result<(), String>;

type Bodies = Result<Vec<(Seq, Body)>, String>;

/// Serves one client until it leaves, breaks a rule, or the daemon stops and it is drained.
///
/// The future holds the conversation and nothing else: thousands of them may be waiting.
pub(super) fn converse<S>(
    stream: S,
    hub: Hub,
    visitor: Visitor,
    terms: Arc<Terms>,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let access_changed = visitor.access().changes();
    let mut conversation = Conversation {
        line: Line::new(stream),
        session: Session::new(Arc::clone(&terms), visitor),
        terms,
        hub,
        published: None,
        access_changed,
        stop,
        stopping: false,
        write_deadline: None,
        retry_at: None,
        subscribing: None,
        lease: None,
        client: None,
        token: None,
        acknowledging: Vec::new(),
        acknowledged: None,
        stored: FuturesUnordered::new(),
        reading: None,
        actions: Vec::new(),
        lost: false,
    };
    async move {
        conversation.run().await;
        Box::pin(conversation.finish()).await;
    }
}

/// Says goodbye to a client that was never let in.
pub(super) async fn refuse<S>(mut stream: S, code: Code, reason: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = BytesMut::new();
    if frame::encode(&ServerMessage { kind: Some(farewell(code, reason)) }, usize::MAX, &mut bytes).is_ok() {
        _ = tokio::time::timeout(LINGER_MAX, stream.write_all(&bytes)).await;
        linger(&mut stream).await;
    }
}

struct Conversation<S> {
    line: Line<S>,
    session: Session,
    terms: Arc<Terms>,
    hub: Hub,
    /// The bell of the subscription, once there is one.
    published: Option<watch::Receiver<()>>,
    access_changed: watch::Receiver<()>,
    stop: watch::Receiver<bool>,
    stopping: bool,
    /// When the client must have read something, while there is something to read.
    write_deadline: Option<Instant>,
    /// When a deferred record becomes ready, while this client has room.
    retry_at: Option<Instant>,
    subscribing: Option<(Lease, oneshot::Receiver<Answer>)>,
    lease: Option<Lease>,
    /// Under which number it has said how a bridge stands.
    client: Option<ClientId>,
    /// The name of the token of who was let in; empty where nobody is asked.
    token: Option<Arc<str>>,
    /// Acknowledgements to ask of the ledger together, once it has answered those before: a client's window bounds them.
    acknowledging: Vec<Seq>,
    /// Those asked before, until the ledger has answered.
    acknowledged: Option<(Vec<Seq>, oneshot::Receiver<Answer>)>,
    stored: FuturesUnordered<BoxFuture<'static, Answer>>,
    reading: Option<(Vec<Taken>, JoinHandle<Bodies>)>,
    actions: Vec<Action>,
    /// The stream is of no more use.
    lost: bool,
}

/// A stream with what has arrived of it and what waits to be written.
struct Line<S> {
    stream: S,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Something was written that the stream may still hold back, as TLS does.
    unflushed: bool,
    /// Reading and writing take turns, so that neither starves when both could go on for ever.
    reads_next: bool,
}

/// What happened next.
enum Event {
    Stopped,
    SentAway,
    AccessChanged,
    Read(std::io::Result<usize>),
    Wrote(std::io::Result<usize>),
    Subscribed(Lease, Answer),
    Durable(Vec<Seq>, Answer),
    Stored(Answer),
    Fetched(Vec<Taken>, Bodies),
    Published,
    Elapsed,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Conversation<S> {
    async fn run(&mut self) {
        while !self.lost && !self.session.is_closed() {
            let now = Instant::now();
            self.digest(now);
            self.ask_acknowledgements(now);
            self.refill(now);
            if self.session.is_closed() {
                break;
            }
            let event = self.next_event(now).await;
            self.apply(event);
        }
    }

    /// Waits for whatever comes next. Each wait can be given up without losing anything.
    async fn next_event(&mut self, now: Instant) -> Event {
        if self.line.owes_nothing() {
            self.write_deadline = None;
        } else if self.write_deadline.is_none() {
            self.write_deadline = Some(now + self.terms.write_max);
        }
        let session_at = self.session.deadline().map(Instant::from_std);
        let wake_at = [session_at, self.retry_at, self.write_deadline].into_iter().flatten().min();
        let listens = self.may_digest() && self.line.outgoing.len() < OUTGOING_BYTES_MAX;
        let hungry = self.may_refill();
        let Conversation { line, session, subscribing, acknowledged, reading, .. } = self;
        tokio::select! {
            () = stopped(&mut self.stop), if !self.stopping => Event::Stopped,
            () = session.sent_away() => Event::SentAway,
            Ok(()) = self.access_changed.changed() => Event::AccessChanged,
            moved = line.move_on(listens) => moved,
            (seqs, answer) = answer_to(acknowledged), if acknowledged.is_some() => {
                Event::Durable(seqs, answer)
            }
            Some(answer) = self.stored.next() => Event::Stored(answer),
            (lease, answer) = answer_to(subscribing), if subscribing.is_some() => {
                Event::Subscribed(lease, answer)
            }
            (taken, bodies) = bodies(reading), if reading.is_some() => Event::Fetched(taken, bodies),
            () = rung(&mut self.published), if hungry => Event::Published,
            () = tokio::time::sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => Event::Elapsed,
        }
    }

    fn apply(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Stopped => {
                self.stopping = true;
                self.session.stop(now.into_std(), &mut self.actions);
            }
            Event::SentAway => {
                let reason = "others wait at the door, and no hello came";
                self.session.violated(Code::TooManyConnections, reason, &mut self.actions);
            }
            Event::AccessChanged => self.session.recheck(&mut self.actions),
            Event::Read(Ok(0) | Err(_)) | Event::Wrote(Ok(0) | Err(_)) => self.lost = true,
            // What was read is digested at the start of the next turn.
            Event::Read(Ok(_)) => {}
            Event::Wrote(Ok(_)) => self.write_deadline = None,
            Event::Subscribed(lease, answer) => {
                let answer = answer.map(|()| self.hub.outbox.lock().pending(&lease.subscription));
                if answer.is_ok() {
                    // Before the first look into the outbox, so that nothing is missed in between.
                    self.published = Some(self.hub.bells.listen(&lease.subscription));
                    // The filter may let through more than before, to others of this name too.
                    self.hub.bells.ring(&lease.subscription);
                    self.lease = Some(lease);
                }
                self.session.subscribed(answer, now.into_std(), &mut self.actions);
            }
            Event::Durable(seqs, answer) => self.settle(&seqs, answer, now),
            Event::Stored(Ok(())) | Event::Published => {}
            Event::Stored(Err(reason)) => warn!(reason, "feedback not stored"),
            Event::Fetched(taken, bodies) => self.deliver(taken, bodies, now),
            Event::Elapsed => {
                if self.write_deadline.is_some_and(|deadline| deadline <= now) {
                    info!(waited = %seconds(self.terms.write_max), "client does not read: closed");
                    self.lost = true;
                } else {
                    self.session.elapse(now.into_std(), &mut self.actions);
                }
            }
        }
        self.act(now);
    }

    /// Hands every whole frame that has arrived to the session.
    fn digest(&mut self, now: Instant) {
        while self.may_digest() {
            let limit = self.session.frame_bytes_max();
            match frame::decode(&self.line.incoming, limit) {
                Decoded::Frame { payload, bytes } => {
                    match ClientMessage::decode(payload) {
                        Ok(message) => self.session.receive(message, now.into_std(), &mut self.actions),
                        Err(error) => {
                            self.session.violated(Code::FrameInvalid, error.to_string(), &mut self.actions);
                        }
                    }
                    self.line.incoming.advance(bytes);
                }
                Decoded::TooLarge { bytes } => {
                    let reason = format!("frame of {bytes} bytes exceeds the limit of {limit}");
                    self.session.violated(Code::FrameTooLarge, reason, &mut self.actions);
                }
                Decoded::Invalid => {
                    self.session.violated(
                        Code::FrameInvalid,
                        "the frame's length is no varint",
                        &mut self.actions,
                    );
                }
                Decoded::Incomplete { .. } => break,
            }
            if let Some((peer, guesses)) = self.session.guesser(now.into_std()) {
                info!(?peer, guesses, "wrong token");
            }
            self.act(now);
        }
        self.line.shrink();
    }

    fn may_digest(&self) -> bool {
        self.session.listens() && self.stored.len() < FEEDBACKS_MAX
    }

    /// Does what the session asks.
    fn act(&mut self, now: Instant) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(kind) => self.send(kind),
                Action::LetIn { client, token, request } => {
                    let subscription = request.as_ref().map(|request| request.name.as_str());
                    let subscription = subscription.filter(|name| !is_nameless(name));
                    info!(?client, ?token, subscription, "client");
                    self.token = Some(token);
                    if let Some(request) = request {
                        self.subscribe(request, now);
                    }
                }
                Action::Acknowledge(seqs) => self.acknowledging.extend(seqs),
                Action::PutBack { seq, until, reason } => {
                    debug!(seq = seq.get(), ?reason, "nack");
                    self.put_back(seq, until);
                }
                Action::Store(feedback) => {
                    self.stored.push(Box::pin(answered(self.hub.records.feedback(feedback))));
                }
                Action::Show(state) => {
                    let (subscription, client) = match &self.lease {
                        Some(lease) => (lease.subscription.as_str(), lease.client),
                        None => ("", *self.client.get_or_insert_with(|| self.hub.next_client())),
                    };
                    self.client = Some(client);
                    self.hub.bridges.say(subscription, client, *state, now.into_std());
                }
                // The session is closed now, which ends the loop.
                Action::Close => {}
            }
        }
        // Only a refused subscription asks for more at once: its goodbye.
        let asked = std::mem::replace(&mut self.actions, actions);
        if !asked.is_empty() {
            self.actions = asked;
            self.act(now);
        }
    }

    fn send(&mut self, kind: Kind) {
        if let Kind::Goodbye(Goodbye { code, reason }) = &kind {
            let kind_of = Code::try_from(*code).unwrap_or_default();
            let code = kind_of.as_str_name();
            let subscription = self.lease.as_ref().map(|lease| lease.subscription.as_str());
            match &self.token {
                Some(token) => info!(code, ?reason, ?token, subscription, "goodbye"),
                None => match self.session.refused(kind_of, Instant::now().into_std()) {
                    Some((peer, times)) => info!(?peer, code, ?reason, times, "refused"),
                    // Whoever can connect could fill the log with these; metrics count them.
                    None => debug!(code, ?reason, "goodbye"),
                },
            }
        }
        let message = ServerMessage { kind: Some(kind) };
        if let Err(error) = frame::encode(&message, self.terms.frame_bytes_max, &mut self.line.outgoing) {
            error!(%error, "message not sent");
            self.lost = true;
        }
    }

    fn subscribe(&mut self, mut request: SubscriptionRequest, now: Instant) {
        let (hub, client) = (self.hub.clone(), self.hub.next_client());
        let is_unnamed = is_nameless(&request.name);
        let has_room = {
            let mut outbox = hub.outbox.lock();
            if is_unnamed {
                request.name = unnamed(&request.name, client);
                outbox.expect(&request.name)
            } else {
                outbox.has_room_for(&request.name)
            }
        };
        if !has_room {
            let which =
                if is_unnamed { "too many subscriptions without a name" } else { "too many subscriptions" };
            return self.session.subscribed(Err(which.to_owned()), now.into_std(), &mut self.actions);
        }
        let lease = Lease { hub, subscription: request.name.clone(), client };
        self.subscribing = Some((lease, self.hub.records.subscribe(request)));
    }

    fn ask_acknowledgements(&mut self, now: Instant) {
        let (Some(lease), false, None) = (&self.lease, self.acknowledging.is_empty(), &self.acknowledged)
        else {
            return;
        };
        let seqs = std::mem::take(&mut self.acknowledging);
        if lease.is_unnamed() {
            // Nothing of it outlives the connection: that the outbox has forgotten them is all there is to do.
            self.settle(&seqs, Ok(()), now);
            return self.act(now);
        }
        let answer = self.hub.records.acknowledge(&lease.subscription, seqs.clone());
        self.acknowledged = Some((seqs, answer));
    }

    fn settle(&mut self, seqs: &[Seq], answer: Answer, now: Instant) {
        if let (Some(lease), Ok(())) = (&self.lease, &answer) {
            let promoted = self.hub.outbox.lock().acknowledge(&lease.subscription, seqs);
            if promoted {
                self.hub.bells.ring(&lease.subscription);
            }
        }
        self.session.durable(seqs, answer, now.into_std(), &mut self.actions);
    }

    fn put_back(&self, seq: Seq, until: Option<std::time::Instant>) {
        if let Some(lease) = &self.lease {
            self.hub.outbox.lock().nack(&lease.subscription, lease.client, seq, until);
            self.hub.bells.ring(&lease.subscription);
        }
    }

    fn may_refill(&self) -> bool {
        self.session.room() > 0 && self.reading.is_none() && self.line.outgoing.len() < OUTGOING_BYTES_MAX
    }

    /// Takes as many records as this client has room for, and has their bodies read.
    ///
    /// The queue's filter belongs to the subscription's name and not to this client: a request that was checked under
    /// an older roster may have widened it since. So it is held against this client's brands each time.
    fn refill(&mut self, now: Instant) {
        self.retry_at = None;
        let (Some(lease), true) = (&self.lease, self.may_refill()) else {
            return;
        };
        let room = self.session.room().min(GROUP_RECORDS);
        let mut group = Vec::new();
        {
            let mut outbox = self.hub.outbox.lock();
            let exceeds = |brands: &Brands| {
                outbox.filter(&lease.subscription).is_none_or(|filter| !brands.hold(&filter.brands))
            };
            if self.session.brands().is_some_and(exceeds) {
                drop(outbox);
                self.session.exceeded(&mut self.actions);
                return self.act(now);
            }
            while group.len() < room {
                let Some(taken) = outbox.take(&lease.subscription, lease.client, now.into_std()) else {
                    self.retry_at = outbox.next_deadline(&lease.subscription).map(Instant::from_std);
                    break;
                };
                group.push(taken);
            }
        }
        if group.is_empty() {
            return;
        }
        let seqs: Vec<Seq> = group.iter().map(|taken| taken.seq).collect();
        seqs.iter().for_each(|seq| self.session.taken(*seq));
        let records = Arc::clone(&self.hub.records);
        self.reading = Some((group, tokio::task::spawn_blocking(move || records.read(&seqs))));
    }

    fn deliver(&mut self, group: Vec<Taken>, bodies: Bodies, now: Instant) {
        let mut bodies: FxHashMap<Seq, Body> = match bodies {
            Ok(bodies) => bodies.into_iter().collect(),
            Err(reason) => return self.session.violated(Code::Fault, reason, &mut self.actions),
        };
        for taken in group {
            let seq = taken.seq;
            if !self.session.awaits(seq) {
                // Answered before it was sent, by a client that guesses.
                continue;
            }
            let Some(body) = bodies.remove(&seq) else {
                self.forget(seq);
                continue;
            };
            let until = if self.session.is_open() {
                let envelope = Envelope::seal(taken, body);
                match frame::encode(&envelope, self.terms.frame_bytes_max, &mut self.line.outgoing) {
                    Ok(()) => {
                        self.session.spoke(now.into_std());
                        continue;
                    }
                    Err(error) => {
                        error!(seq = seq.get(), %error, "record cannot be sent: raise frame_bytes_max");
                        Some((now + UNSENDABLE_REST).into_std())
                    }
                }
            } else {
                None
            };
            self.put_back(seq, until);
            self.session.untaken(seq, &mut self.actions);
        }
    }

    /// The ledger no longer holds a record: nobody can have it, and it must not hold up others.
    fn forget(&mut self, seq: Seq) {
        debug!(seq = seq.get(), "record is gone from the ledger");
        if let Some(lease) = &self.lease {
            let promoted = self.hub.outbox.lock().acknowledge(&lease.subscription, &[seq]);
            if promoted {
                self.hub.bells.ring(&lease.subscription);
            }
        }
        self.session.untaken(seq, &mut self.actions);
    }

    /// Settles what the client has acknowledged, gives back what it has not, and lets it read the rest.
    async fn finish(&mut self) {
        // The lease outlives the acknowledgements under way and those behind them: released earlier, their records
        // could go to another client although they are about to be durable.
        loop {
            self.ask_acknowledgements(Instant::now());
            if self.acknowledged.is_none() {
                break;
            }
            let (seqs, answer) = answer_to(&mut self.acknowledged).await;
            self.settle(&seqs, answer, Instant::now());
        }
        drop(self.lease.take());
        if let Some(client) = self.client {
            self.hub.bridges.left(client, Instant::now().into_std());
        }
        if !self.lost {
            let Line { stream, outgoing, .. } = &mut self.line;
            let written = async {
                stream.write_all_buf(outgoing).await?;
                stream.flush().await
            };
            if let Ok(Ok(())) = tokio::time::timeout(self.terms.write_max, written).await {
                linger(&mut self.line.stream).await;
            }
        }
        // Feedback under way is the ledger's already; only its failure would go unlogged.
        while let Some(answer) = self.stored.next().await {
            if let Err(reason) = answer {
                warn!(reason, "feedback not stored");
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn new(stream: S) -> Line<S> {
        let (incoming, outgoing) = (BytesMut::new(), BytesMut::new());
        Line { stream, incoming, outgoing, unflushed: false, reads_next: true }
    }

    /// Reads, if `listens`, or writes, whatever is possible first; pending while neither is.
    async fn move_on(&mut self, listens: bool) -> Event {
        poll_fn(|cx| {
            if self.reads_next {
                let read = self.poll_read(cx, listens);
                if read.is_ready() { read } else { self.poll_write(cx) }
            } else {
                let wrote = self.poll_write(cx);
                if wrote.is_ready() { wrote } else { self.poll_read(cx, listens) }
            }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, listens: bool) -> Poll<Event> {
        if !listens {
            return Poll::Pending;
        }
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        let done = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read));
        self.reads_next = false;
        self.incoming.extend_from_slice(read.filled());
        Poll::Ready(Event::Read(done.map(|()| read.filled().len())))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let stream = Pin::new(&mut self.stream);
        if !self.outgoing.is_empty() {
            let wrote = std::task::ready!(stream.poll_write(cx, &self.outgoing));
            self.reads_next = true;
            if let Ok(bytes) = wrote {
                self.outgoing.advance(bytes);
                self.unflushed = true;
            }
            return Poll::Ready(Event::Wrote(wrote));
        }
        if !self.unflushed {
            return Poll::Pending;
        }
        let flushed = std::task::ready!(stream.poll_flush(cx));
        self.unflushed = false;
        // A flush that is done is progress, as a byte written is.
        Poll::Ready(Event::Wrote(flushed.map(|()| 1)))
    }

    /// Whether the client has been given everything that there is for it.
    fn owes_nothing(&self) -> bool {
        self.outgoing.is_empty() && !self.unflushed
    }

    /// Gives back buffers that are empty: an idle client needs none, and a busy one gets them again for little.
    fn shrink(&mut self) {
        for buffer in [&mut self.incoming, &mut self.outgoing] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }
}

/// Whether a client has named no subscription: an owner may stand before the name.
fn is_nameless(name: &str) -> bool {
    name.is_empty() || name.ends_with('/')
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    _ = stream.shutdown().await;
    // On the heap, since an array would be part of every conversation from its beginning.
    let mut unread = vec![0; 4096];
    let drained = async { while !matches!(stream.read(&mut unread).await, Ok(0) | Err(_)) {} };
    _ = tokio::time::timeout(LINGER_MAX, drained).await;
}

/// Waits until the daemon stops. Whoever could say so being gone means the same.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    _ = stop.wait_for(|stopping| *stopping).await;
}

/// Waits for the bell; for ever where there is none, or nobody who could ring it.
async fn rung(bell: &mut Option<watch::Receiver<()>>) {
    let Some(bell) = bell else { return std::future::pending().await };
    if bell.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn answered(answer: impl Future<Output = Result<Answer, oneshot::error::RecvError>>) -> Answer {
    answer.await.unwrap_or_else(|_| Err("the ledger has stopped".to_owned()))
}

/// Waits for the ledger's answer to what was asked; the caller checks that something was.
async fn answer_to<T>(asked: &mut Option<(T, oneshot::Receiver<Answer>)>) -> (T, Answer) {
    let Some((_, answer)) = asked else {
        return std::future::pending().await;
    };
    let answer = answered(answer).await;
    match asked.take() {
        Some((about, _)) => (about, answer),
        None => std::future::pending().await,
    }
}

async fn bodies(reading: &mut Option<(Vec<Taken>, JoinHandle<Bodies>)>) -> (Vec<Taken>, Bodies) {
    let Some((_, read)) = reading else {
        return std::future::pending().await;
    };
    let read = read.await.unwrap_or_else(|error| Err(format!("reading records failed: {error}")));
    match reading.take() {
        Some((group, _)) => (group, read),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
pub(super) mod tests;
