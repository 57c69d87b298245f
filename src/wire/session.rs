//! The protocol of one connection as a state machine: messages and time in, actions out.
//!
//! Pure: the conversation that drives it reads the clock, the socket, the outbox and the ledger. It knows
//! which deliveries this client has not answered, and so needs nobody to tell a client's own seq from one
//! that is unknown or another's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::hello::{self, HELLO_BYTES_MAX, Refusal, WINDOW_MAX};
use super::visitor::Visitor;
use super::{PROTOCOL, feedback, frame};
use crate::access::brands::Brands;
use crate::access::peers::Peer;
use crate::access::{Pass, Right, Standing};
use crate::ledger::{Feedback, Seq, SubscriptionRequest};
use crate::ticket::proto::{
    Acked, BridgeState, ClientMessage, Goodbye, Heartbeat, Nack, Welcome, client_message, goodbye::Code,
    server_message::Kind,
};

/// Longest that a nack may defer a delivery.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of a nack's reason is kept, in bytes.
const NACK_REASON_BYTES_MAX: usize = 500;

/// What a client is told that gets in again, to other rights.
const ACCESS_CHANGED: &str = "what this token may do has changed: connect again";

/// Heartbeat intervals without a message after which a client is taken for gone.
const SILENT_INTERVALS: u32 = 3;

/// What the operator grants and demands.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) window_max: u32,
    pub(super) frame_bytes_max: usize,
    pub(super) handshake_max: Duration,
    pub(super) heartbeat_interval: Duration,
    /// How long a client that makes no progress in reading is put up with.
    pub(super) write_max: Duration,
    /// From the stop to the end of the last connection.
    pub(super) drain_max: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            window_max: WINDOW_MAX,
            frame_bytes_max: frame::FRAME_BYTES_MAX,
            handshake_max: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(15),
            write_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(5),
        }
    }
}

/// What the conversation must do, in this order.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one or two live at a time, in a buffer that is reused")]
pub(super) enum Action {
    /// Send this message.
    Send(Kind),
    /// Somebody is in. If they want a subscription, ask the ledger for it, then call [`Session::subscribed`].
    LetIn {
        /// As the client names itself.
        client: String,
        /// The name of its token; empty where nobody is asked for one.
        token: Arc<str>,
        /// Checked; `None` for who may not read.
        request: Option<SubscriptionRequest>,
    },
    /// Ask the ledger to acknowledge, then call [`Session::durable`].
    Acknowledge(Vec<Seq>),
    /// Put one delivery back into the outbox.
    PutBack {
        /// Which.
        seq: Seq,
        /// Not before; `None`: at once.
        until: Option<Instant>,
        /// The client's.
        reason: String,
    },
    /// Hand to the ledger.
    Store(Feedback),
    /// Show to the operator.
    Show(Box<BridgeState>),
    /// Write what is left to send and close.
    Close,
}

/// One connection's place in the protocol.
#[derive(Debug)]
pub(super) struct Session {
    terms: Arc<Terms>,
    visitor: Visitor,
    state: State,
    /// Whether it has shown a wrong token.
    has_guessed: bool,
}

#[derive(Debug)]
enum State {
    AwaitingHello {
        deadline: Instant,
    },
    /// A wrong token, which is answered late.
    Refusing {
        until: Instant,
        refusal: Refusal,
    },
    Subscribing {
        window: u32,
        heard_at: Instant,
        pass: Pass,
    },
    Open(Open),
    Draining {
        open: Open,
        deadline: Instant,
    },
    Closed,
}

#[derive(Debug)]
struct Open {
    pass: Pass,
    window: usize,
    unanswered: FxHashMap<Seq, Answer>,
    heard_at: Instant,
    spoke_at: Instant,
    /// The last heartbeat sent.
    asked_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Awaited,
    /// Acknowledged by the client, not yet durable.
    Acknowledging,
}

impl Session {
    /// A session of a client that has connected, and may have shown a certificate since.
    pub(super) fn new(terms: Arc<Terms>, visitor: Visitor) -> Session {
        let deadline = visitor.since + terms.handshake_max;
        Session { terms, visitor, state: State::AwaitingHello { deadline }, has_guessed: false }
    }

    /// Whether what the client says is heard now. Between a wrong token and its answer it is not.
    pub(super) fn listens(&self) -> bool {
        !matches!(self.state, State::Refusing { .. } | State::Closed)
    }

    /// Who has just shown a wrong token, and how many so far that the log has not heard of, if it should now.
    pub(super) fn guesser(&self, now: Instant) -> Option<(Peer, u64)> {
        let State::Refusing { .. } = self.state else { return None };
        let place = &self.visitor.place;
        place.peer().and_then(|peer| Some((peer, place.to_log(now)?)))
    }

    /// Who is refused with this code, and how often so far that the log has not heard of, if it should now. Of wrong
    /// tokens it hears as of guesses.
    pub(super) fn refused(&self, code: Code, now: Instant) -> Option<(Peer, u64)> {
        if self.has_guessed || code == Code::Shutdown {
            return None;
        }
        self.visitor.place.refusals_to_log(code.as_str_name(), now)
    }

    /// Waits until this client, which has not said who it is, has to go for another one.
    pub(super) async fn sent_away(&mut self) {
        self.visitor.place.sent_away().await;
    }

    /// Longest frame the client may send now. A stranger's is shorter.
    pub(super) fn frame_bytes_max(&self) -> usize {
        match self.state {
            State::AwaitingHello { .. } => self.terms.frame_bytes_max.min(HELLO_BYTES_MAX),
            _ => self.terms.frame_bytes_max,
        }
    }

    /// How many more records may be taken for this client.
    pub(super) fn room(&self) -> usize {
        match &self.state {
            State::Open(open) => open.window.saturating_sub(open.unanswered.len()),
            _ => 0,
        }
    }

    /// What this client's records must be of, where its token is limited.
    pub(super) fn brands(&self) -> Option<&Brands> {
        self.open()?.pass.grant.brands.as_ref()
    }

    /// The subscription lets through what this client may not see: under an older roster another client of the same
    /// token has asked for more.
    pub(super) fn exceeded(&mut self, actions: &mut Vec<Action>) {
        self.violated(Code::AccessChanged, ACCESS_CHANGED, actions);
    }

    /// Whether deliveries may still be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the last action was to close.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the client has this record and has not answered it.
    pub(super) fn awaits(&self, seq: Seq) -> bool {
        self.open().is_some_and(|open| open.unanswered.get(&seq) == Some(&Answer::Awaited))
    }

    /// When [`Session::elapse`] wants to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitingHello { deadline } | State::Draining { deadline, .. } => Some(*deadline),
            State::Refusing { until, .. } => Some(*until),
            State::Open(open) => {
                let interval = self.terms.heartbeat_interval;
                Some(open.ask_at(interval).min(open.silent_at(interval)))
            }
            State::Subscribing { .. } | State::Closed => None,
        }
    }

    /// A message of the client.
    pub(super) fn receive(&mut self, message: ClientMessage, now: Instant, actions: &mut Vec<Action>) {
        use client_message::Kind as Client;
        match (&mut self.state, message.kind) {
            (State::Closed | State::Refusing { .. }, _) => {}
            (State::AwaitingHello { .. }, Some(Client::Hello(hello))) => {
                match hello::check(hello, &self.terms, &self.visitor) {
                    Ok(accepted) => self.accept(accepted, now, actions),
                    Err(refusal) if refusal.is_guess => {
                        self.has_guessed = true;
                        let until = now + self.visitor.place.penalty(now);
                        self.state = State::Refusing { until, refusal };
                        self.elapse(now, actions);
                    }
                    Err(refusal) => self.end(refusal.code, refusal.reason, actions),
                }
            }
            (State::AwaitingHello { .. }, _) => {
                self.end(Code::HelloInvalid, "the first message must be a hello", actions);
            }
            (_, Some(Client::Hello(_))) => self.end(Code::HelloInvalid, "a second hello", actions),
            (State::Subscribing { heard_at, pass, .. }, kind) => {
                *heard_at = now;
                let pass = pass.clone();
                self.report(kind, &pass, actions);
            }
            (State::Open(open) | State::Draining { open, .. }, kind) => {
                open.heard_at = now;
                match kind {
                    Some(Client::Ack(ack)) => {
                        let seqs = open.acknowledged(ack.seqs);
                        if !seqs.is_empty() {
                            actions.push(Action::Acknowledge(seqs));
                        }
                    }
                    Some(Client::Nack(nack)) => actions.extend(open.refused(nack, now)),
                    kind => {
                        let pass = open.pass.clone();
                        self.report(kind, &pass, actions);
                    }
                }
                self.close_if_drained(actions);
            }
        }
    }

    fn accept(&mut self, accepted: hello::Accepted, now: Instant, actions: &mut Vec<Action>) {
        let hello::Accepted { client, request, window, pass } = accepted;
        if !self.visitor.place.admit() {
            return self.end(Code::TooManyConnections, "too many connections", actions);
        }
        let token = Arc::clone(&pass.grant.name);
        self.state = State::Subscribing { window, heard_at: now, pass };
        let waits = request.is_some();
        actions.push(Action::LetIn { client, token, request });
        if !waits {
            self.subscribed(Ok(0), now, actions);
        }
    }

    /// The roster has been replaced: whoever is in must still have what let them in.
    pub(super) fn recheck(&mut self, actions: &mut Vec<Action>) {
        let pass = match &self.state {
            State::Subscribing { pass, .. } => pass,
            State::Open(open) => &open.pass,
            _ => return,
        };
        match self.visitor.access().standing(pass) {
            Standing::Same => {}
            Standing::Changed => {
                self.end(Code::AccessChanged, ACCESS_CHANGED, actions);
            }
            Standing::Gone => self.end(Code::TokenRefused, "this token is no longer valid", actions),
        }
    }

    /// The stream holds something that is no message.
    pub(super) fn violated(&mut self, code: Code, reason: impl Into<String>, actions: &mut Vec<Action>) {
        if !self.is_closed() {
            self.end(code, reason, actions);
        }
    }

    /// The ledger has answered: how many records wait, or why it cannot serve this subscription.
    pub(super) fn subscribed(
        &mut self,
        answer: Result<usize, String>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let State::Subscribing { window, heard_at, pass } = &self.state else {
            return;
        };
        let (window, heard_at, pass) = (*window, *heard_at, pass.clone());
        match answer {
            Ok(pending) => {
                actions.push(Action::Send(Kind::Welcome(Welcome {
                    protocol: PROTOCOL,
                    server: concat!("vigie ", env!("CARGO_PKG_VERSION")).to_owned(),
                    window,
                    frame_bytes_max: u32::try_from(self.terms.frame_bytes_max).unwrap_or(u32::MAX),
                    heartbeat_interval_ms: u32::try_from(self.terms.heartbeat_interval.as_millis())
                        .unwrap_or(u32::MAX),
                    pending: pending as u64,
                })));
                // A ledger that took its time to answer must not make the client look silent.
                let heard_at = heard_at.max(now);
                let unanswered = FxHashMap::default();
                let window = window as usize;
                self.state =
                    State::Open(Open { pass, window, unanswered, heard_at, spoke_at: now, asked_at: now });
            }
            Err(reason) => self.end(Code::Fault, reason, actions),
        }
    }

    /// A record was taken from the outbox for this client.
    pub(super) fn taken(&mut self, seq: Seq) {
        if let State::Open(open) = &mut self.state {
            open.unanswered.insert(seq, Answer::Awaited);
        }
    }

    /// A record taken for this client will not be sent to it.
    pub(super) fn untaken(&mut self, seq: Seq, actions: &mut Vec<Action>) {
        if let Some(open) = self.open_mut() {
            open.unanswered.remove(&seq);
        }
        self.close_if_drained(actions);
    }

    /// Something was sent.
    pub(super) fn spoke(&mut self, now: Instant) {
        if let Some(open) = self.open_mut() {
            open.spoke_at = now;
        }
    }

    /// The ledger has made acknowledgements durable, or cannot.
    pub(super) fn durable(
        &mut self,
        seqs: &[Seq],
        answer: Result<(), String>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        // A seq takes at most 10 bytes, the envelope less than 16.
        let seqs_max = (self.terms.frame_bytes_max.saturating_sub(16) / 10).max(1);
        let Some(open) = self.open_mut() else { return };
        if let Err(reason) = answer {
            return self.end(Code::Fault, reason, actions);
        }
        open.spoke_at = now;
        for part in seqs.chunks(seqs_max) {
            part.iter().for_each(|seq| _ = open.unanswered.remove(seq));
            let seqs = part.iter().map(|seq| seq.get()).collect();
            actions.push(Action::Send(Kind::Acked(Acked { seqs })));
        }
        self.close_if_drained(actions);
    }

    /// The daemon stops: no more deliveries; answers to those sent are awaited for a while.
    pub(super) fn stop(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(open) => {
                actions.push(Action::Send(farewell(Code::Shutdown, "the server stops; connect again later")));
                // The last quarter is for writing out what is left.
                let deadline = now + self.terms.drain_max.mul_f64(0.75);
                self.state = State::Draining { open, deadline };
                self.close_if_drained(actions);
            }
            State::AwaitingHello { .. } | State::Refusing { .. } | State::Subscribing { .. } => {
                self.end(Code::Shutdown, "the server stops; connect again later", actions);
            }
            ending @ (State::Draining { .. } | State::Closed) => self.state = ending,
        }
    }

    /// Time has passed.
    pub(super) fn elapse(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let interval = self.terms.heartbeat_interval;
        match &mut self.state {
            State::AwaitingHello { deadline } if *deadline <= now => {
                let reason = format!("no hello within {:?}", self.terms.handshake_max);
                self.end(Code::HelloInvalid, reason, actions);
            }
            State::Refusing { until, refusal } if *until <= now => {
                let (code, reason) = (refusal.code, std::mem::take(&mut refusal.reason));
                self.end(code, reason, actions);
            }
            State::Open(open) if open.silent_at(interval) <= now => {
                let reason = format!("nothing heard for {:?}", interval * SILENT_INTERVALS);
                self.end(Code::Silent, reason, actions);
            }
            State::Open(open) if open.ask_at(interval) <= now => {
                (open.spoke_at, open.asked_at) = (now, now);
                actions.push(Action::Send(Kind::Heartbeat(Heartbeat {})));
            }
            State::Draining { deadline, .. } if *deadline <= now => {
                self.state = State::Closed;
                actions.push(Action::Close);
            }
            _ => {}
        }
    }

    fn report(&mut self, kind: Option<client_message::Kind>, pass: &Pass, actions: &mut Vec<Action>) {
        use client_message::Kind as Client;
        let is_feedback = matches!(
            kind,
            Some(
                Client::TicketStatus(_)
                    | Client::Touchpoint(_)
                    | Client::AgentState(_)
                    | Client::BridgeState(_)
            )
        );
        if is_feedback && !pass.grant.rights.has(Right::Feedback) {
            return self.end(Code::TokenRefused, hello::lacks(&pass.grant, Right::Feedback), actions);
        }
        // They count for the tickets of all brands.
        let beyond = match (&pass.grant.brands, &kind) {
            (Some(_), Some(Client::Touchpoint(_))) => Some("touchpoints"),
            (Some(_), Some(Client::AgentState(_))) => Some("agents"),
            _ => None,
        };
        if let Some(what) = beyond {
            return self.end(Code::TokenRefused, pass.grant.beyond_its_brands(what), actions);
        }
        let checked = match kind {
            Some(Client::TicketStatus(status)) => feedback::ticket_status(&status, &pass.grant),
            Some(Client::Touchpoint(touchpoint)) => feedback::touchpoint(&touchpoint),
            Some(Client::AgentState(state)) => feedback::agent_state(&state),
            Some(Client::BridgeState(state)) => match feedback::bridge_state(&state) {
                Ok(()) => return actions.push(Action::Show(Box::new(state))),
                Err(reason) => Err(reason),
            },
            // A heartbeat has done its work by being heard, and so has a kind that is new to us.
            _ => return,
        };
        match checked {
            Ok(feedback) => actions.push(Action::Store(feedback)),
            Err(reason) => self.end(Code::FrameInvalid, reason, actions),
        }
    }

    fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) | State::Draining { open, .. } => Some(open),
            _ => None,
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) | State::Draining { open, .. } => Some(open),
            _ => None,
        }
    }

    fn close_if_drained(&mut self, actions: &mut Vec<Action>) {
        if matches!(&self.state, State::Draining { open, .. } if open.unanswered.is_empty()) {
            self.state = State::Closed;
            actions.push(Action::Close);
        }
    }

    fn end(&mut self, code: Code, reason: impl Into<String>, actions: &mut Vec<Action>) {
        let has_said_goodbye = matches!(self.state, State::Draining { .. });
        self.state = State::Closed;
        if !has_said_goodbye {
            actions.push(Action::Send(farewell(code, reason)));
        }
        actions.push(Action::Close);
    }
}

impl Open {
    /// Asking when nothing was *heard* for an interval, and not only when nothing was sent, is what lets a
    /// client live by answering heartbeats alone while deliveries keep coming.
    fn ask_at(&self, interval: Duration) -> Instant {
        self.spoke_at.min(self.heard_at.max(self.asked_at)) + interval
    }

    fn silent_at(&self, interval: Duration) -> Instant {
        self.heard_at + interval * SILENT_INTERVALS
    }

    /// Those of `seqs` that this client has and has not answered: each once.
    fn acknowledged(&mut self, seqs: Vec<u64>) -> Vec<Seq> {
        let mut answered = Vec::new();
        for seq in seqs.into_iter().filter_map(Seq::new) {
            if let Some(answer @ Answer::Awaited) = self.unanswered.get_mut(&seq) {
                *answer = Answer::Acknowledging;
                answered.push(seq);
            }
        }
        answered
    }

    fn refused(&mut self, nack: Nack, now: Instant) -> Option<Action> {
        let seq = Seq::new(nack.seq)?;
        if self.unanswered.get(&seq) != Some(&Answer::Awaited) {
            return None;
        }
        self.unanswered.remove(&seq);
        let after = Duration::from_millis(nack.retry_after_ms.into()).min(RETRY_AFTER_MAX);
        let mut reason = nack.reason;
        reason.truncate(reason.floor_char_boundary(NACK_REASON_BYTES_MAX));
        Some(Action::PutBack { seq, until: (!after.is_zero()).then(|| now + after), reason })
    }
}

/// The last message of a connection.
pub(super) fn farewell(code: Code, reason: impl Into<String>) -> Kind {
    Kind::Goodbye(Goodbye { code: code as i32, reason: reason.into() })
}

#[cfg(test)]
mod tests;
