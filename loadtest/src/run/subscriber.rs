//! A helpdesk on the ticket socket, and what it got.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::scenario::Helpdesk;
use crate::client::proto::{Delivery, Ticket, delivery::Record, update::Change};
use crate::client::{Address, Client, ClientError};

/// Deliveries unanswered at once for a helpdesk that acknowledges at once.
const WINDOW: u32 = 1_000;
/// Deliveries acknowledged in one message, at most, and how long the first of them waits.
const ACKS_MAX: usize = 64;
const ACK_DELAY: Duration = Duration::from_millis(2);
/// Between two tries to connect.
const CONNECT_RETRY: Duration = Duration::from_millis(50);
/// How long a flighty helpdesk stays away.
const AWAY: Duration = Duration::from_millis(500);

/// A ticket's identity: 16 bytes.
pub(super) type TicketId = [u8; 16];

/// A ticket as it first came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    pub(super) id: TicketId,
    pub(super) seq: u64,
    pub(super) network: String,
    pub(super) post_id: String,
    /// The network's clock, microseconds since 1970.
    pub(super) seen_at_us: i64,
    pub(super) created_at_us: i64,
    pub(super) due_at_us: i64,
    pub(super) priority: u32,
    /// Name and version of the model that decided.
    pub(super) model: String,
    /// When it came, by our clock.
    pub(super) at_us: i64,
    /// Since when the daemon may have chosen it: when the client last made room.
    pub(super) room_at_us: i64,
}

/// Everything that came on one subscription.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Each ticket once, in the order in which they came.
    pub(super) tickets: Vec<Taken>,
    pub(super) updates: u64,
    /// Updates of a kind other than erased and edited: a verdict that was made again.
    pub(super) rescored: u64,
    /// Deliveries that came again because their acknowledgement was not confirmed.
    pub(super) again: u64,
    /// Tickets that came again although they were confirmed, or under another number.
    pub(super) duplicates: u64,
    /// Connections made after the first.
    pub(super) reconnects: u64,
    /// Why connections ended that we did not end.
    pub(super) troubles: Vec<String>,
    /// Tickets that an update has taken back: no customer message after all, or erased.
    pub(super) withdrawn: HashSet<TicketId>,
    ids: HashSet<TicketId>,
    seqs: HashSet<u64>,
    confirmed: HashSet<u64>,
}

impl Intake {
    /// Records that came although an earlier taker of the same subscription had confirmed them.
    pub(super) fn again_after(&self, earlier: &Intake) -> u64 {
        self.seqs.intersection(&earlier.confirmed).count() as u64
    }

    fn add(&mut self, delivery: Delivery, at_us: i64, room_at_us: i64) {
        let seq = delivery.seq;
        if self.confirmed.contains(&seq) {
            self.duplicates += 1;
            return;
        }
        if !self.seqs.insert(seq) {
            self.again += 1;
            return;
        }
        match delivery.record {
            Some(Record::Ticket(ticket)) => {
                let taken = taken(ticket, seq, at_us, room_at_us);
                if self.ids.insert(taken.id) {
                    self.tickets.push(taken);
                } else {
                    self.duplicates += 1;
                }
            }
            Some(Record::Update(update)) => {
                self.updates += 1;
                let changes_the_post = matches!(update.change, Some(Change::Erased(_) | Change::Edited(_)));
                self.rescored += u64::from(!changes_the_post);
                let takes_back = match &update.change {
                    Some(Change::Erased(_)) => true,
                    Some(Change::Rescored(rescored)) => rescored.unsupported,
                    _ => false,
                };
                if takes_back {
                    self.withdrawn.extend(TicketId::try_from(update.ticket_id));
                }
            }
            None => {}
        }
    }
}

fn taken(ticket: Ticket, seq: u64, at_us: i64, room_at_us: i64) -> Taken {
    let post = ticket.post.unwrap_or_default();
    Taken {
        // What is no id is nobody's: the comparison with the posts shows it.
        id: ticket.id.try_into().unwrap_or_default(),
        seq,
        network: post.network,
        post_id: post.id,
        seen_at_us: post.seen_at_us,
        created_at_us: ticket.created_at_us,
        due_at_us: ticket.due_at_us,
        priority: ticket.priority,
        model: ticket.verdict.map(|verdict| verdict.model).unwrap_or_default(),
        at_us,
        room_at_us,
    }
}

/// A subscription that is being served.
pub(super) struct Subscriber {
    intake: Arc<Mutex<Intake>>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes under `name`, again and again if the connection ends.
    pub(super) fn start(socket: PathBuf, name: &'static str, helpdesk: Helpdesk) -> Subscriber {
        let intake = Arc::<Mutex<Intake>>::default();
        let (stop, stopped) = watch::channel(false);
        let worker = Worker { address: Address::Unix(socket), name, helpdesk, intake: intake.clone() };
        Subscriber { intake, stop, task: tokio::spawn(worker.run(stopped)) }
    }

    /// Counts the tickets that have come so far.
    pub(super) fn counter(&self) -> impl Fn() -> u64 + Send + 'static {
        let intake = self.intake.clone();
        move || lock(&intake).tickets.len() as u64
    }

    /// Closes the connection and gives what came.
    pub(super) async fn stop(self) -> Intake {
        self.stop.send_replace(true);
        // The task neither panics nor is aborted.
        drop(self.task.await);
        std::mem::take(&mut lock(&self.intake))
    }
}

/// A panic elsewhere does not make the counts wrong: nothing panics between two changes of them.
fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker {
    address: Address,
    name: &'static str,
    helpdesk: Helpdesk,
    intake: Arc<Mutex<Intake>>,
}

impl Worker {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut connections = 0_u64;
        while !*stopped.borrow() {
            let pause = match self.connect(&mut connections, &mut stopped).await {
                Ok(()) => AWAY,
                Err(error) => {
                    let goodbye = matches!(error, ClientError::Goodbye { .. });
                    // Before the first connection the daemon may not listen yet.
                    if connections > 0 || goodbye {
                        lock(&self.intake).troubles.push(error.to_string());
                    }
                    CONNECT_RETRY
                }
            };
            tokio::select! {
                () = told(&mut stopped) => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// One connection, from its beginning to an end of our own, which may be that we are told to stop.
    async fn connect(
        &self,
        connections: &mut u64,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), ClientError> {
        let window = if matches!(self.helpdesk, Helpdesk::Slow(_)) { 1 } else { WINDOW };
        let mut client = tokio::select! {
            biased;
            () = told(stopped) => return Ok(()),
            client = Client::connect(&self.address, self.name, window) => client?,
        };
        *connections += 1;
        if *connections > 1 {
            lock(&self.intake).reconnects += 1;
        }
        let served = async {
            match self.helpdesk {
                Helpdesk::Slow(work) => self.work(&mut client, work).await,
                Helpdesk::Prompt => self.take(&mut client, None).await,
                Helpdesk::Flighty(lasts) => self.take(&mut client, Some(Instant::now() + lasts)).await,
            }
        };
        let ended = tokio::select! {
            biased;
            () = told(stopped) => Ok(()),
            ended = served => ended,
        };
        // However it ended: what was confirmed must not come to the next connection.
        lock(&self.intake).confirmed.extend(client.take_confirmed());
        ended
    }

    /// Takes everything and acknowledges it at once, until the deadline.
    async fn take(&self, client: &mut Client, until: Option<Instant>) -> Result<(), ClientError> {
        let mut acks: Vec<u64> = Vec::with_capacity(ACKS_MAX);
        let mut acks_due = Instant::now();
        let mut room_at_us = now_us();
        loop {
            tokio::select! {
                biased;
                // What was taken and is not acknowledged yet is left so, as when a helpdesk crashes.
                () = sleep_until(until.unwrap_or(acks_due)), if until.is_some() => return Ok(()),
                () = sleep_until(acks_due), if !acks.is_empty() => {
                    // Before it is written: the daemon may choose as soon as it has it.
                    room_at_us = now_us();
                    client.ack(std::mem::take(&mut acks)).await?;
                }
                delivery = client.next() => {
                    let delivery = delivery?;
                    if acks.is_empty() {
                        acks_due = Instant::now() + ACK_DELAY;
                    }
                    acks.push(delivery.seq);
                    self.note(client, delivery, room_at_us);
                    if acks.len() == ACKS_MAX {
                        room_at_us = now_us();
                        client.ack(std::mem::take(&mut acks)).await?;
                    }
                }
            }
        }
    }

    /// Works on one ticket at a time. Updates are no work.
    async fn work(&self, client: &mut Client, lasts: Duration) -> Result<(), ClientError> {
        let mut room_at_us = now_us();
        loop {
            let delivery = client.next().await?;
            let seq = delivery.seq;
            let is_ticket = matches!(delivery.record, Some(Record::Ticket(_)));
            self.note(client, delivery, room_at_us);
            if is_ticket {
                sleep(lasts).await;
            }
            room_at_us = now_us();
            client.ack(vec![seq]).await?;
        }
    }
}

impl Worker {
    fn note(&self, client: &mut Client, delivery: Delivery, room_at_us: i64) {
        let mut intake = lock(&self.intake);
        intake.confirmed.extend(client.take_confirmed());
        intake.add(delivery, now_us(), room_at_us);
    }
}

/// Waits until we are told to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // Nobody is left to say it once the sender is gone, which is the same.
    drop(stopped.wait_for(|stop| *stop).await);
}

pub(super) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proto::{Update, update};

    fn ticket(seq: u64, id: u8) -> Delivery {
        let ticket = Ticket { id: vec![id; 16], ..Ticket::default() };
        Delivery { seq, attempt: 1, record: Some(Record::Ticket(ticket)) }
    }

    fn update(seq: u64, change: Option<Change>) -> Delivery {
        let update = Update { ticket_id: vec![1; 16], at_us: 0, change };
        Delivery { seq, attempt: 1, record: Some(Record::Update(update)) }
    }

    #[test]
    fn a_ticket_that_comes_again_is_a_duplicate_only_once_it_was_confirmed() {
        let mut intake = Intake::default();
        intake.add(ticket(1, 1), 0, 0);
        intake.add(ticket(1, 1), 0, 0);
        assert_eq!((intake.tickets.len(), intake.again, intake.duplicates), (1, 1, 0));
        intake.confirmed.insert(1);
        intake.add(ticket(1, 1), 0, 0);
        assert_eq!((intake.tickets.len(), intake.again, intake.duplicates), (1, 1, 1));
        intake.add(ticket(2, 1), 0, 0);
        assert_eq!((intake.tickets.len(), intake.duplicates), (1, 2), "the same post under another number");
    }

    #[test]
    fn updates_are_counted_and_make_no_ticket() {
        let mut intake = Intake::default();
        intake.add(update(1, Some(Change::Erased(update::Erased::default()))), 0, 0);
        intake.add(update(2, None), 0, 0);
        assert_eq!((intake.tickets.len(), intake.updates, intake.rescored), (0, 2, 1));
        assert_eq!(intake.withdrawn, HashSet::from([[1; 16]]));
    }

    #[test]
    fn only_what_the_full_model_supports_no_more_is_withdrawn() {
        let withdrawn = |unsupported| {
            let mut intake = Intake::default();
            let rescored = update::Rescored { unsupported, ..update::Rescored::default() };
            intake.add(update(1, Some(Change::Rescored(rescored))), 0, 0);
            intake.withdrawn.len()
        };
        assert_eq!((withdrawn(true), withdrawn(false)), (1, 0));
    }

    #[test]
    fn what_one_taker_confirmed_must_not_come_to_the_next() {
        let (mut earlier, mut later) = (Intake::default(), Intake::default());
        earlier.confirmed.insert(1);
        later.add(ticket(1, 1), 0, 0);
        later.add(ticket(2, 2), 0, 0);
        assert_eq!(later.again_after(&earlier), 1);
    }
}
