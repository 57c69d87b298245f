//! A helpdesk on the ticket socket, and what it got.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::conservation::id_of;
use super::scenario::Helpdesk;
use crate::client::proto::{self, Delivery, Ticket, delivery::Record, update, update::Change};
use crate::client::{Address, Client, ClientError, Socket};
use crate::script::dice::{Dice, Purpose};

/// Deliveries unanswered at once for a helpdesk that acknowledges at once.
const WINDOW: u32 = 1_000;
/// Deliveries acknowledged in one message, at most, and how long the first of them waits.
const ACKS_MAX: usize = 64;
const ACK_DELAY: Duration = Duration::from_millis(2);
/// Between two tries to connect.
const CONNECT_RETRY: Duration = Duration::from_millis(50);
/// The same for who measures how fast a daemon is back.
const CONNECT_RETRY_ERRATIC: Duration = Duration::from_millis(2);
/// Of a hundred connections of an erratic helpdesk so many end in the middle of its work, after up to so long.
const LEAVES_PERCENT: u32 = 25;
const STAY_MS_MAX: u32 = 1_500;
/// Why connections ended is noted so often.
const TROUBLES_MAX: usize = 1_000;
/// How long a flighty helpdesk stays away.
const AWAY: Duration = Duration::from_millis(500);

/// A ticket's identity: 16 bytes.
pub(super) type TicketId = [u8; 16];

/// A ticket's id as people and helpdesks see it: 32 hexadecimal digits.
pub(super) fn hex(id: &TicketId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

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
    /// Its author had taken it back by then: nobody need make a ticket of it.
    pub(super) is_erased: bool,
    /// When it came, by our clock.
    pub(super) at_us: i64,
    /// Since when the daemon may have chosen it: when the client last made room.
    pub(super) room_at_us: i64,
}

/// A post that joined a ticket.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Joined {
    pub(super) ticket: TicketId,
    pub(super) post: Taken,
}

/// A ticket that came to matter more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Raise {
    pub(super) ticket: TicketId,
    /// From then on.
    pub(super) priority: u32,
    /// When that came, by our clock.
    pub(super) at_us: i64,
}

/// Everything that came on one subscription.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Each ticket once, in the order in which they came.
    pub(super) tickets: Vec<Taken>,
    /// Posts that joined one, each once: by the ids that tickets of theirs would have, with the ticket's new priority.
    pub(super) joined: Vec<Joined>,
    /// By posts that joined, and by what their authors made of posts afterwards.
    pub(super) raises: Vec<Raise>,
    pub(super) updates: u64,
    /// Updates that tell of a verdict that was made again.
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
    /// What their authors did to posts of tickets, each with how many updates have said so.
    pub(super) changes: HashMap<(TicketId, PostChange), u64>,
    /// Tickets among `duplicates`.
    pub(super) repeated: Vec<TicketId>,
    /// When the first delivery of each connection came that had one.
    pub(super) firsts_us: Vec<i64>,
    ids: HashSet<TicketId>,
    /// Where each ticket's post is.
    networks: HashMap<TicketId, String>,
    seqs: HashMap<u64, TicketId>,
    confirmed: HashSet<u64>,
}

/// What an author did to a post afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum PostChange {
    Erased,
    Edited,
}

impl Intake {
    /// Records that came although an earlier taker of the same subscription had confirmed them.
    pub(super) fn again_after(&self, earlier: &Intake) -> u64 {
        self.seqs.keys().filter(|seq| earlier.confirmed.contains(*seq)).count() as u64
    }

    /// Takes a ticket once more whose acknowledgement was confirmed, as if the daemon had sent it again.
    pub(super) fn repeat_one(&mut self) {
        let mut confirmed = self.tickets.iter().filter(|ticket| self.confirmed.contains(&ticket.seq));
        let Some(Taken { id, seq, .. }) = confirmed.next() else { return };
        let ticket = Ticket { id: id.to_vec(), ..Ticket::default() };
        let delivery =
            Delivery { seq: *seq, attempt: 2, record: Some(Record::Ticket(ticket)), ..Delivery::default() };
        self.add(delivery, now_us(), now_us());
    }

    fn repeated(&mut self, id: TicketId) {
        self.duplicates += 1;
        self.repeated.push(id);
    }

    fn add(&mut self, delivery: Delivery, at_us: i64, room_at_us: i64) {
        let seq = delivery.seq;
        let id = match &delivery.record {
            Some(Record::Ticket(ticket)) => &ticket.id[..],
            Some(Record::Update(update)) => &update.ticket_id,
            None => &[],
        };
        // What is no id is nobody's: the comparison with the posts shows it.
        let id = TicketId::try_from(id).unwrap_or_default();
        if self.confirmed.contains(&seq) {
            self.repeated(id);
            return;
        }
        match self.seqs.insert(seq, id) {
            None => {}
            Some(before) if before == id => {
                self.again += 1;
                return;
            }
            // The number of one record was given to another.
            Some(_) => {
                self.repeated(id);
                return;
            }
        }
        match delivery.record {
            Some(Record::Ticket(ticket)) => {
                let taken = taken(ticket, seq, at_us, room_at_us);
                if self.ids.insert(taken.id) {
                    self.networks.insert(taken.id, taken.network.clone());
                    self.tickets.push(taken);
                } else {
                    self.repeated(taken.id);
                }
            }
            Some(Record::Update(update)) => {
                self.updates += 1;
                let is_read_again =
                    matches!(&update.change, Some(Change::Rescored(rescored)) if !rescored.edited);
                self.rescored += u64::from(is_read_again);
                let change = match &update.change {
                    Some(Change::Erased(_)) => Some((String::new(), PostChange::Erased)),
                    Some(Change::PostErased(erased)) => Some((erased.post_id.clone(), PostChange::Erased)),
                    Some(Change::Edited(edited)) => Some((edited.post_id.clone(), PostChange::Edited)),
                    _ => None,
                };
                if let Some((post_id, change)) = change {
                    // Of what was erased before it came, the network's id says which post it was.
                    let network = self.networks.get(&id).map_or("", String::as_str);
                    let post = if post_id.is_empty() { id } else { id_of(network, &post_id) };
                    *self.changes.entry((post, change)).or_default() += 1;
                }
                let priority = match &update.change {
                    Some(Change::FollowedUp(followed)) => Some(followed.priority),
                    Some(Change::Rescored(rescored)) if rescored.edited => Some(rescored.priority),
                    _ => None,
                };
                self.raises.extend(priority.map(|priority| Raise { ticket: id, priority, at_us }));
                if let Some(Change::FollowedUp(followed)) = &update.change {
                    let joined = joined(followed, update.at_us, seq, at_us, room_at_us);
                    if self.ids.insert(joined.id) {
                        self.joined.push(Joined { ticket: id, post: joined });
                    } else {
                        self.repeated(joined.id);
                    }
                }
                let takes_back = match &update.change {
                    Some(Change::Erased(_)) => true,
                    Some(Change::Rescored(rescored)) => rescored.unsupported,
                    _ => false,
                };
                if takes_back {
                    self.withdrawn.insert(id);
                }
            }
            None => {}
        }
    }
}

fn taken(ticket: Ticket, seq: u64, at_us: i64, room_at_us: i64) -> Taken {
    let post = ticket.post.unwrap_or_default();
    Taken {
        is_erased: ticket.erased,
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

/// The post as if it had made a ticket of its own.
fn joined(followed: &update::FollowedUp, created_at_us: i64, seq: u64, at_us: i64, room_at_us: i64) -> Taken {
    let post = followed.post.clone().unwrap_or_default();
    Taken {
        is_erased: false,
        id: id_of(&post.network, &post.id),
        seq,
        network: post.network,
        post_id: post.id,
        seen_at_us: post.seen_at_us,
        created_at_us,
        due_at_us: 0,
        priority: followed.priority,
        model: followed.verdict.clone().map(|verdict| verdict.model).unwrap_or_default(),
        at_us,
        room_at_us,
    }
}

/// How often each thing has happened on a subscription, for whoever waits for the next time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Happened {
    /// A connection was made to the socket; nothing is said yet.
    pub(super) hellos: u64,
    pub(super) deliveries: u64,
    /// Acknowledgements were sent.
    pub(super) acks: u64,
    /// Acknowledgements were answered as durable.
    pub(super) confirmations: u64,
    /// The helpdesk has dropped a connection in the middle of its work.
    pub(super) departures: u64,
}

/// A subscription that is being served.
pub(super) struct Subscriber {
    intake: Arc<Mutex<Intake>>,
    happened: watch::Receiver<Happened>,
    leave: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes under `name`, again and again if the connection ends.
    pub(super) fn start(socket: PathBuf, name: &'static str, helpdesk: Helpdesk) -> Subscriber {
        let intake = Arc::<Mutex<Intake>>::default();
        let (stop, stopped) = watch::channel(false);
        let (happens, happened) = watch::channel(Happened::default());
        let address = Address::Unix(socket);
        let leave = Arc::<Notify>::default();
        let worker =
            Worker { address, name, helpdesk, intake: intake.clone(), happens, leave: leave.clone() };
        Subscriber { intake, happened, leave, stop, task: tokio::spawn(worker.run(stopped)) }
    }

    /// Notifying this has a helpdesk that acknowledges at once drop its connection, or its next one.
    pub(super) fn leave(&self) -> Arc<Notify> {
        self.leave.clone()
    }

    /// Tells what happens.
    pub(super) fn happened(&self) -> watch::Receiver<Happened> {
        self.happened.clone()
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
    happens: watch::Sender<Happened>,
    leave: Arc<Notify>,
}

impl Worker {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut connections = 0_u64;
        while !*stopped.borrow() {
            let erratic = matches!(self.helpdesk, Helpdesk::Erratic(_));
            let pause = match self.connect(&mut connections, &mut stopped).await {
                Ok(()) if !erratic => AWAY,
                Err(error) if !erratic => {
                    let goodbye = matches!(error, ClientError::Goodbye { .. });
                    // Before the first connection the daemon may not listen yet.
                    if connections > 0 || goodbye {
                        self.trouble(&error);
                    }
                    CONNECT_RETRY
                }
                // The daemon is gone, again and again; but what it says must be right.
                Err(
                    error @ (ClientError::Frame(_) | ClientError::Message(_) | ClientError::Unexpected(_)),
                ) => {
                    self.trouble(&error);
                    CONNECT_RETRY_ERRATIC
                }
                _ => CONNECT_RETRY_ERRATIC,
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
        let connecting = async {
            let socket = Socket::open(&self.address).await?;
            self.happens.send_modify(|happened| happened.hellos += 1);
            let subscription = proto::Subscription { name: self.name.to_owned(), ..Default::default() };
            Client::over(socket, subscription, window).await
        };
        let mut client = tokio::select! {
            biased;
            () = told(stopped) => return Ok(()),
            client = connecting => client?,
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
                Helpdesk::Erratic(seed) => {
                    let stay = stay(seed, *connections).map(|stay| Instant::now() + stay);
                    self.take(&mut client, stay).await
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = told(stopped) => Ok(()),
            ended = served => ended,
        };
        // However it ended: what was confirmed must not come to the next connection.
        lock(&self.intake).confirmed.extend(client.take_confirmed());
        drop(client);
        if ended.is_ok() {
            self.happens.send_modify(|happened| happened.departures += 1);
        }
        ended
    }

    /// Takes everything and acknowledges it at once, until the deadline.
    async fn take(&self, client: &mut Client, until: Option<Instant>) -> Result<(), ClientError> {
        let mut acks: Vec<u64> = Vec::with_capacity(ACKS_MAX);
        let mut acks_due = Instant::now();
        let mut room_at_us = now_us();
        let mut first = true;
        loop {
            tokio::select! {
                biased;
                // What was taken and is not acknowledged yet is left so, as when a helpdesk crashes.
                () = sleep_until(until.unwrap_or(acks_due)), if until.is_some() => return Ok(()),
                () = self.leave.notified() => return Ok(()),
                () = sleep_until(acks_due), if !acks.is_empty() => {
                    // Before it is written: the daemon may choose as soon as it has it.
                    room_at_us = now_us();
                    self.ack(client, &mut acks).await?;
                }
                heard = client.hear() => {
                    let Some(delivery) = heard? else {
                        self.note_confirmed(client);
                        continue;
                    };
                    if acks.is_empty() {
                        acks_due = Instant::now() + ACK_DELAY;
                    }
                    acks.push(delivery.seq);
                    if std::mem::take(&mut first) {
                        lock(&self.intake).firsts_us.push(now_us());
                    }
                    self.note(client, delivery, room_at_us);
                    if acks.len() == ACKS_MAX {
                        room_at_us = now_us();
                        self.ack(client, &mut acks).await?;
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
    async fn ack(&self, client: &mut Client, seqs: &mut Vec<u64>) -> Result<(), ClientError> {
        client.ack(std::mem::take(seqs)).await?;
        self.happens.send_modify(|happened| happened.acks += 1);
        Ok(())
    }

    fn note(&self, client: &mut Client, delivery: Delivery, room_at_us: i64) {
        self.note_confirmed(client);
        lock(&self.intake).add(delivery, now_us(), room_at_us);
        self.happens.send_modify(|happened| happened.deliveries += 1);
    }

    fn note_confirmed(&self, client: &mut Client) {
        let confirmed = client.take_confirmed();
        if !confirmed.is_empty() {
            lock(&self.intake).confirmed.extend(confirmed);
            self.happens.send_modify(|happened| happened.confirmations += 1);
        }
    }

    fn trouble(&self, error: &ClientError) {
        let troubles = &mut lock(&self.intake).troubles;
        if troubles.len() < TROUBLES_MAX {
            troubles.push(error.to_string());
        }
    }
}

/// How long an erratic helpdesk keeps its `n`th connection; `None`: as long as the daemon does.
fn stay(seed: u64, n: u64) -> Option<Duration> {
    let mut dice = Dice::new(seed, n, Purpose::Stay);
    let leaves = dice.percent(LEAVES_PERCENT);
    leaves.then(|| Duration::from_millis(dice.below(STAY_MS_MAX).into()))
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
        Delivery { seq, attempt: 1, record: Some(Record::Ticket(ticket)), ..Delivery::default() }
    }

    fn update(seq: u64, change: Option<Change>) -> Delivery {
        let update = Update { ticket_id: vec![1; 16], at_us: 0, change };
        Delivery { seq, attempt: 1, record: Some(Record::Update(update)), ..Delivery::default() }
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
    fn a_number_that_is_given_to_another_ticket_is_seen() {
        let mut intake = Intake::default();
        intake.add(ticket(1, 1), 0, 0);
        intake.add(ticket(1, 2), 0, 0);
        assert_eq!((intake.again, intake.duplicates), (0, 1));
        assert_eq!(intake.repeated, [[2; 16]]);
    }

    #[test]
    fn one_that_is_taken_again_on_purpose_was_confirmed_before() {
        let mut intake = Intake::default();
        intake.add(ticket(1, 1), 0, 0);
        intake.repeat_one();
        assert_eq!(intake.duplicates, 0, "nothing is confirmed");
        intake.confirmed.insert(1);
        intake.repeat_one();
        assert_eq!((intake.duplicates, &intake.repeated[..]), (1, &[[1; 16]][..]));
    }

    #[test]
    fn every_change_of_a_post_is_counted() {
        let mut intake = Intake::default();
        for seq in [1, 2, 2] {
            intake.add(update(seq, Some(Change::Edited(update::Edited::default()))), 0, 0);
        }
        intake.add(update(3, Some(Change::Erased(update::Erased::default()))), 0, 0);
        let expected = [(([1; 16], PostChange::Edited), 2), (([1; 16], PostChange::Erased), 1)];
        assert_eq!(intake.changes, expected.into());
    }

    #[test]
    fn an_erratic_helpdesk_leaves_one_connection_in_four() {
        let stays: Vec<_> = (0..1_000).filter_map(|n| stay(7, n)).collect();
        assert!((200..300).contains(&stays.len()), "{}", stays.len());
        assert!(stays.iter().all(|stay| *stay < Duration::from_millis(STAY_MS_MAX.into())));
    }

    #[test]
    fn updates_are_counted_and_make_no_ticket() {
        let mut intake = Intake::default();
        intake.add(update(1, Some(Change::Erased(update::Erased::default()))), 0, 0);
        intake.add(update(2, Some(Change::Rescored(update::Rescored::default()))), 0, 0);
        intake.add(update(3, Some(Change::Overdue(update::Overdue::default()))), 0, 0);
        intake.add(update(4, None), 0, 0);
        assert_eq!((intake.tickets.len(), intake.updates, intake.rescored), (0, 4, 1));
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
