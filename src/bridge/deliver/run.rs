//! Deliveries of one connection after the other, each answered when the helpdesk takes another call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::job::{AGAIN_MAX, End};
use super::{Bridge, BridgeError, Health, Target, Worked};
use crate::bridge::http::CallError;
use crate::ledger::LedgerError;
use crate::source::backoff::Backoff;
use crate::ticket::proto::client_message;
use crate::wire::{Client, ClientError, Event};

/// Longest that calls under way are waited for when the connection is lost or the bridge is to end. What is cut off
/// then is looked for later, as after a crash.
const DRAIN_MAX: Duration = Duration::from_secs(40);
/// Waits between two tries to reach the daemon.
const CONNECT_WAIT_MIN: Duration = Duration::from_millis(500);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(30);
/// So many tickets refused in a row, and it is no ticket's fault.
pub(super) const REFUSED_IN_ROW_MAX: usize = 5;
/// How a delivery is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Ack,
    Nack(Duration, String),
}

impl<T: Target> Bridge<T> {
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
        match drained.await {
            Ok(drained) => drained?,
            Err(_) => self.cut_off_us.store((self.clock)(), Ordering::Relaxed),
        }
        Ok(ended)
    }

    /// Waits until the next delivery may come.
    pub(super) async fn wait(&self, worked: Worked) -> (u64, Reply) {
        let Worked { seq, end, calls } = worked;
        let reply = match end {
            End::Ack => Reply::Ack,
            End::Back(after, why) => {
                let pause = {
                    let mut health = self.health.lock();
                    let is_no_tickets_fault = health.refused.len() >= REFUSED_IN_ROW_MAX;
                    is_no_tickets_fault.then(|| health.next_delay())
                };
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
                Reply::Nack(after, why)
            }
            End::Early(after) => Reply::Nack(after, "the helpdesk may not know it yet".to_owned()),
            End::Hold(error) => {
                let pause = match error.asks_to_wait() && !error.is_limit_of_one() {
                    true => Duration::ZERO,
                    // A limit that is not the account's has not slowed the pace.
                    false => {
                        let unsaid = self.hold(&error);
                        error.wait().map_or(unsaid, |wait| wait.min(AGAIN_MAX))
                    }
                };
                tokio::time::sleep(pause).await;
                Reply::Nack(Duration::ZERO, error.in_short())
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
            let why = error.in_short();
            warn!(bridge = %self.name, %why, "the helpdesk takes nothing; tickets wait");
        }
        self.shared.counts.lock().is_held = true;
        health.next_delay()
    }
}

impl Health {
    pub(super) fn next_delay(&mut self) -> Duration {
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
