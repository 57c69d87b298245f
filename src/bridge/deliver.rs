//! Deliveries of the ticket socket → the helpdesk, each once, worst first.
//!
//! The acknowledgement of one delivery is what asks the daemon for the next, so it is sent only when the helpdesk takes
//! another call: which ticket goes next is decided at that moment, by the daemon, among all that wait. The bridge has
//! no queue of its own. What is to be done about a delivery is [`job`]'s to say; here it is done.
//!
//! A helpdesk that is away, in maintenance or refuses our token takes nothing of anybody: the delivery is given back
//! after a wait that grows, everything stays pending with the daemon, and the worst goes first again. A single ticket
//! that it will not take is given back to come later, and others go on.
//!
//! It commits to its case store where it stands: it is to run on a thread of its own, where a slow disk delays nobody
//! else.

pub mod job;
mod target;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

pub use target::Target;

use self::job::{End, Job, Outcome, Step};
use super::helpdesk::Values;
use super::http::CallError;
use super::pace::Pace;
use super::text::{About, Language, Texts};
use crate::ledger::LedgerError;
use crate::ledger::cases::{Cases, Change as Fact, Origin};
use crate::source::backoff::Backoff;
use crate::ticket::TicketId;
use crate::ticket::proto::update::Change;
use crate::ticket::proto::{Delivery, Level, client_message, delivery};
use crate::wire::{Client, ClientError, Event};

/// Longest that calls under way are waited for when the connection is lost or the bridge is to end. What is cut off
/// then is looked for later, as after a crash.
const DRAIN_MAX: Duration = Duration::from_secs(40);
/// Waits between two tries to reach the daemon.
const CONNECT_WAIT_MIN: Duration = Duration::from_millis(500);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(30);
/// So many tickets refused in a row, and it is no ticket's fault.
const REFUSED_IN_ROW_MAX: u32 = 5;

/// What deliveries go by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// First wait after something went wrong.
    pub retry_min: Duration,
    /// Longest wait for a helpdesk that takes nothing.
    pub retry_max: Duration,
    /// What to do after an unclear end where the helpdesk cannot be asked what it has.
    pub when_unknown: WhenUnknown,
    /// Whether it can.
    pub can_find: bool,
    /// How long a ticket may exist before it says so.
    pub find_lag: Duration,
    /// Whether the text of one note can be taken out.
    pub can_erase_notes: bool,
    /// Since when the case store knows of every ticket; microseconds since 1970.
    pub cases_know_since_us: i64,
    /// When we began; likewise.
    pub started_at_us: i64,
}

/// What to do about a ticket that may have been made where nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnknown {
    /// Make it: there may be two of it.
    Again,
    /// Leave it: there may be none.
    Leave,
}

/// What has become of deliveries since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tickets that we have made and were told of.
    pub made: u64,
    /// Tickets that were found there after nobody knew.
    pub adopted: u64,
    /// Tickets found beside them.
    pub doubled: u64,
    /// Tickets of which nobody can know whether there are none, one or two.
    pub unknown: u64,
    /// Times that the helpdesk did not take a record, which is tried again.
    pub refused: u64,
    /// Tickets whose text was taken out.
    pub erased: u64,
    /// Changes done.
    pub changed: u64,
    /// Times that the daemon was told what has become of a ticket, and took it.
    pub reported: u64,
    /// Why the helpdesk takes nothing at present, or what it said last of a ticket that it did not take.
    pub last_error: Option<String>,
    /// Whether it takes nothing at present.
    pub is_held: bool,
}

impl Counts {
    fn wrote(&mut self, fact: &Fact) {
        match fact {
            Fact::Placed { place, others, .. } => {
                match place.origin {
                    Origin::Made => self.made += 1,
                    Origin::Found => self.adopted += 1,
                    Origin::Unknown => self.unknown += 1,
                }
                self.doubled += *others as u64;
            }
            Fact::Refused { .. } => self.refused += 1,
            Fact::Erased => self.erased += 1,
            _ => {}
        }
    }
}

/// Why a bridge ends.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Its case store cannot be used any more.
    #[error("{0}")]
    Cases(#[from] LedgerError),
    /// The daemon will not have it.
    #[error("{0}")]
    Daemon(ClientError),
}

/// What `vigie status` is told, and reports to be sent: what a bridge shares with others.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What it knows of each ticket.
    pub cases: Arc<Mutex<Cases>>,
    /// What has become of deliveries.
    pub counts: Arc<Mutex<Counts>>,
    /// When calls may be made.
    pub pace: Arc<Pace>,
}

/// How the connection to the daemon stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub is_up: bool,
    /// How many have been lost. What was sent over such a one may not have been taken.
    pub lost: u64,
}

/// Takes deliveries to a helpdesk.
pub struct Bridge<T> {
    name: String,
    target: T,
    shared: Shared,
    policy: Policy,
    texts: Texts,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    health: Mutex<Health>,
    link: watch::Sender<Link>,
}

/// How the helpdesk has been lately.
#[derive(Debug)]
struct Health {
    /// Calls in a row that nobody knows the end of, or that did not leave.
    failures: u32,
    /// Tickets in a row that it did not take.
    refused: u32,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Whether the operator has been told.
    is_told: bool,
}

/// How a delivery is answered.
#[derive(Debug, PartialEq)]
enum Reply {
    Ack,
    Nack(Duration, String),
}

/// One delivery worked off.
struct Worked {
    seq: u64,
    end: End,
    calls: u32,
}

impl<T: Target> Bridge<T> {
    /// A bridge of this name to this helpdesk, in these words; `clock` gives microseconds since 1970.
    pub fn new(
        name: &str,
        target: T,
        shared: Shared,
        policy: Policy,
        texts: Texts,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Bridge<T> {
        let health = Health {
            failures: 0,
            refused: 0,
            backoff: Backoff::new(policy.retry_min, policy.retry_max),
            random: fastrand::Rng::new(),
            is_told: false,
        };
        let name = name.to_owned();
        Bridge {
            name,
            target,
            shared,
            policy,
            texts,
            clock,
            health: Mutex::new(health),
            link: watch::Sender::default(),
        }
    }

    /// What it shares with others.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The helpdesk.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// How the connection to the daemon stands.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// Takes deliveries until `stop`, through restarts of the daemon; sends it `reports` on the same connection.
    ///
    /// # Errors
    ///
    /// The process is to end: the case store is broken, or the daemon refuses us for good.
    pub async fn run(
        &self,
        connect: impl AsyncFn() -> Result<Client, ClientError>,
        mut reports: mpsc::Receiver<client_message::Kind>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), BridgeError> {
        let mut backoff = Backoff::new(CONNECT_WAIT_MIN, CONNECT_WAIT_MAX);
        let mut random = fastrand::Rng::new();
        let mut is_told = false;
        // One that was under way when the connection broke.
        let mut unsent = None;
        loop {
            let connected = tokio::select! {
                connected = connect() => connected,
                () = stopped(&mut stop) => return Ok(()),
            };
            let ended = match connected {
                Ok(mut client) => {
                    info!(bridge = %self.name, pending = client.welcome().pending, "connected to the daemon");
                    is_told = false;
                    self.link.send_modify(|link| link.is_up = true);
                    let taken = self.take(&mut client, &mut reports, &mut unsent, &mut stop).await;
                    self.link.send_modify(|link| {
                        link.is_up = false;
                        link.lost += 1;
                    });
                    let taken = taken?;
                    match taken {
                        Ok(heard) => {
                            if heard {
                                backoff.reset();
                            }
                            return Ok(());
                        }
                        Err((heard, error)) => {
                            if heard {
                                backoff.reset();
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            if !ended.is_transient() {
                return Err(BridgeError::Daemon(ended));
            }
            if !is_told {
                warn!(bridge = %self.name, error = %ended, "the daemon is away; trying again");
                is_told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay(&mut random)) => {}
                () = stopped(&mut stop) => return Ok(()),
            }
        }
    }

    /// Takes deliveries over one connection. Gives whether any came, and why it is over: `Ok` where we are to stop.
    async fn take(
        &self,
        client: &mut Client,
        reports: &mut mpsc::Receiver<client_message::Kind>,
        unsent: &mut Option<client_message::Kind>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Result<bool, (bool, ClientError)>, BridgeError> {
        let mut working = FuturesUnordered::new();
        let mut waiting = FuturesUnordered::new();
        let mut heard = false;
        let mut reports_end = false;
        let ended = loop {
            let sent = tokio::select! {
                event = client.next_event() => match event {
                    Ok(Event::Delivery(delivery)) => {
                        heard = true;
                        working.push(self.work(*delivery));
                        Ok(())
                    }
                    Ok(Event::Acked(_)) => Ok(()),
                    Err(error) => Err(error),
                },
                Some(worked) = working.next() => {
                    waiting.push(self.wait(worked?));
                    Ok(())
                }
                Some((seq, reply)) = waiting.next() => answer(client, seq, reply).await,
                report = async { reports.recv().await }, if unsent.is_none() && !reports_end => {
                    reports_end = report.is_none();
                    *unsent = report;
                    Ok(())
                }
                () = async {}, if unsent.is_some() => {
                    let report = unsent.clone();
                    let sent = match report {
                        Some(report) => client.report(report).await,
                        None => Ok(()),
                    };
                    if sent.is_ok() {
                        *unsent = None;
                    }
                    sent
                }
                () = stopped(stop) => break Ok(heard),
            };
            if let Err(error) = sent {
                break Err((heard, error));
            }
        };
        // A delivery that came again while the first is under way would be made twice.
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            while let Some(worked) = working.next().await {
                let Worked { seq, end, .. } = worked?;
                if end == End::Ack && ended.is_ok() {
                    // If that does not arrive it comes again, and is known.
                    drop(client.ack(&[seq]).await);
                }
            }
            Ok::<(), LedgerError>(())
        });
        drained.await.unwrap_or(Ok(()))?;
        Ok(ended)
    }

    /// Waits until the next delivery may come.
    async fn wait(&self, worked: Worked) -> (u64, Reply) {
        let Worked { seq, end, calls } = worked;
        let reply = match end {
            End::Ack => Reply::Ack,
            End::Back(after, why) => {
                let pause = {
                    let mut health = self.health.lock();
                    let is_no_tickets_fault = health.refused >= REFUSED_IN_ROW_MAX;
                    is_no_tickets_fault.then(|| health.next_delay())
                };
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
                Reply::Nack(after, why)
            }
            End::Hold(error) => {
                let pause = match &error {
                    CallError::Limited { .. } => Duration::ZERO,
                    error => self.hold(error),
                };
                tokio::time::sleep(pause).await;
                Reply::Nack(Duration::ZERO, error.to_string())
            }
        };
        if calls > 0 {
            self.shared.pace.ready().await;
        }
        (seq, reply)
    }

    /// The helpdesk takes nothing: says so, once, and gives how long to wait.
    fn hold(&self, error: &CallError) -> Duration {
        let mut health = self.health.lock();
        if !health.is_told {
            health.is_told = true;
            warn!(bridge = %self.name, %error, "the helpdesk takes nothing; tickets wait");
        }
        let mut counts = self.shared.counts.lock();
        counts.is_held = true;
        counts.last_error = Some(error.to_string());
        health.next_delay()
    }

    /// Does all that is to be done about one delivery.
    ///
    /// Dropped at any moment it leaves what a crash would leave.
    async fn work(&self, delivery: Delivery) -> Result<Worked, LedgerError> {
        let mut calls = 0;
        let end = self.work_off(delivery.seq, delivery.record, &mut calls).await?;
        Ok(Worked { seq: delivery.seq, end, calls })
    }

    async fn work_off(
        &self,
        seq: u64,
        record: Option<delivery::Record>,
        calls: &mut u32,
    ) -> Result<End, LedgerError> {
        // What a newer daemon sends and we do not know is not ours to keep.
        let Some(record) = record else { return Ok(End::Ack) };
        let mut failed = None;
        let known = |id: TicketId| match self.shared.cases.lock().get(id) {
            Ok(entry) => entry,
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let language = match &record {
            delivery::Record::Ticket(ticket) => self.texts.language(ticket).tag(),
            delivery::Record::Update(_) => "",
        };
        // It may have forgotten something since we began.
        let cases_know_since_us = self.shared.cases.lock().knows_since_us();
        let policy = Policy { cases_know_since_us, ..self.policy };
        let job = Job::new(seq, record, language, known, policy);
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(mut job) = job else { return Ok(End::Ack) };
        let reference = job.ticket_id.to_string();
        let mut outcome = Outcome::Begun;
        loop {
            let failures = self.health.lock().failures;
            let step = job.next(outcome, (self.clock)(), failures);
            *calls += u32::from(!matches!(step, Step::Write(_) | Step::End(_)));
            outcome = match step {
                Step::Write(facts) => {
                    self.shared.cases.lock().apply(job.ticket_id, &facts, (self.clock)())?;
                    self.wrote(&job, &facts);
                    Outcome::Written
                }
                // Not to be able to look is no sign of life.
                Step::Find if !self.policy.can_find => Outcome::Found(None),
                Step::Find => self.heard(self.target.find(&reference).await.map(Outcome::Found)),
                Step::Create => match self.target.create(&self.values(&job, &reference)).await {
                    Ok(case) => self.heard(Ok(Outcome::Made(case))),
                    Err((error, case)) => {
                        self.heard(Err(error.clone()));
                        Outcome::Failed(error, case)
                    }
                },
                Step::Complete(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.complete(&case, &values).await.map(|()| Outcome::Done))
                }
                Step::Reprioritise(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.reprioritise(&case, &values).await.map(|()| Outcome::Done))
                }
                Step::Note(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.note(&case, &values).await.map(Outcome::Noted))
                }
                Step::Erase(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.erase(&case, &values).await.map(|()| Outcome::Done))
                }
                Step::EraseNote(case, note) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.erase_note(&case, &note, &values).await.map(|()| Outcome::Done))
                }
                Step::End(end) => {
                    self.ended(&job, &end);
                    return Ok(end);
                }
            };
        }
    }

    /// Takes note of how a call went.
    fn heard(&self, called: Result<Outcome, CallError>) -> Outcome {
        let mut health = self.health.lock();
        match &called {
            Ok(_) => {
                health.failures = 0;
                health.backoff.reset();
                if std::mem::take(&mut health.is_told) {
                    info!(bridge = %self.name, "the helpdesk takes tickets again");
                    self.shared.counts.lock().is_held = false;
                }
            }
            Err(CallError::Unclear(_) | CallError::NotSent(_)) => health.failures += 1,
            Err(CallError::Limited { .. }) => {}
            Err(CallError::Refused { .. } | CallError::Template(_)) => health.failures = 0,
        }
        match called {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(error, None),
        }
    }

    fn wrote(&self, job: &Job, facts: &[Fact]) {
        let mut counts = self.shared.counts.lock();
        for fact in facts {
            counts.wrote(fact);
            if let Fact::Placed { place, others, .. } = fact
                && *others > 0
            {
                let (ticket, case) = (job.ticket_id, &place.id);
                warn!(bridge = %self.name, %ticket, %case, others, "the helpdesk has this ticket more than once");
            }
        }
    }

    fn ended(&self, job: &Job, end: &End) {
        match end {
            End::Ack => {
                self.health.lock().refused = 0;
                if job.ticket().is_none() {
                    self.shared.counts.lock().changed += 1;
                }
            }
            End::Back(again, why) => {
                self.health.lock().refused += 1;
                self.shared.counts.lock().last_error = Some(why.clone());
                let again_s = again.as_secs();
                warn!(bridge = %self.name, ticket = %job.ticket_id, %why, again_s, "not taken; tried again later");
            }
            End::Hold(_) => {}
        }
    }

    /// What templates see of a delivery.
    fn values(&self, job: &Job, reference: &str) -> Values {
        let mut values = match &job.record {
            delivery::Record::Ticket(ticket) => self.texts.ticket(ticket),
            delivery::Record::Update(update) => {
                let language = Language::of(job.language());
                let about = About { reference, brand: job.brand(), language, level: None };
                let reason = match &update.change {
                    Some(Change::Erased(erased)) => &erased.reason,
                    _ => "",
                };
                let mut values = self.texts.erasure(&about, reason);
                values.extend(self.texts.update(&about, update));
                values
            }
        };
        // A ticket that comes late may have another level by now.
        let level = Level::try_from(job.level()).unwrap_or_default();
        values.insert("level".to_owned(), level.as_str_name().into());
        values.insert("level_value".to_owned(), self.texts.level(level));
        values
    }
}

impl Health {
    fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay(&mut self.random)
    }
}

async fn answer(client: &mut Client, seq: u64, reply: Reply) -> Result<(), ClientError> {
    match reply {
        Reply::Ack => client.ack(&[seq]).await,
        Reply::Nack(after, why) => client.nack(seq, &why, after).await,
    }
}

/// Waits until we are to stop; whoever could say so being gone says it, too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

#[cfg(test)]
mod tests;
