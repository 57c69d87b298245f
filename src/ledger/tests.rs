//! The ledger against real files: what is committed, what comes back, what is refused.

use std::sync::Arc;

use crossbeam::channel::{Sender, bounded};
use parking_lot::Mutex;
use prost::Message;

use super::outbox::{ClientId, Filter, Outbox};
use super::*;
use crate::desk::told::Teller;
use crate::source::Durable;
use crate::telemetry::Bucket;
use crate::ticket::proto;

mod acknowledging;
mod assigning;
mod changes;
mod commits;
mod holes;
mod opening;
mod recall;
mod second_reading;
mod unnamed;

/// A ledger with its thread, as the pipeline runs it.
pub(super) struct Running {
    settlements: Option<Sender<Settlement>>,
    pub(super) handle: Handle,
    outbox: Arc<Mutex<Outbox>>,
    thread: Option<std::thread::JoinHandle<Result<(), LedgerError>>>,
}

pub(crate) fn config(folder: &Path) -> Config {
    Config {
        path: folder.join("ledger.sqlite"),
        bookkeeping_delay_max: Duration::from_millis(1),
        ageing_points_per_hour: 100,
        retention: Retention { age_max: None, live_bytes_max: None, contacts_age_max: None },
    }
}

impl Running {
    pub(super) fn start(folder: &Path) -> Running {
        Running::start_with(folder, config(folder).retention)
    }

    pub(super) fn start_with(folder: &Path, retention: Retention) -> Running {
        Running::start_telling(folder, retention, None)
    }

    pub(super) fn start_telling(folder: &Path, retention: Retention, teller: Option<Teller>) -> Running {
        let (settlements, receiver) = bounded(8);
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let ledger = Ledger::open(Config { retention, ..config(folder) }).unwrap();
        let (mut writer, handle) = ledger.split(receiver, outbox.clone()).unwrap();
        teller.into_iter().for_each(|teller| writer.tell(teller));
        let thread =
            std::thread::Builder::new().spawn(move || writer.run(|| ())).expect("a thread for the ledger");
        Running { settlements: Some(settlements), handle, outbox, thread: Some(thread) }
    }

    pub(super) fn settle(&self, settlement: Settlement) {
        self.settlements.as_ref().unwrap().send(settlement).unwrap();
    }

    pub(super) fn subscribe(&self, name: &str, start_next: bool) {
        let request = SubscriptionRequest { name: name.to_owned(), filter: Filter::default(), start_next };
        self.handle.subscribe(request).blocking_recv().unwrap().unwrap();
    }

    /// Subscribes without a name; gives the outbox's.
    pub(super) fn look(&self, client: u64, start_next: bool) -> String {
        let name = outbox::unnamed("", ClientId(client));
        assert!(self.outbox.lock().expect(&name));
        self.subscribe(&name, start_next);
        name
    }

    /// Takes everything that is pending, in order.
    pub(super) fn take(&self, name: &str) -> Vec<Seq> {
        let mut outbox = self.outbox.lock();
        std::iter::from_fn(|| outbox.take(name, ClientId(1), std::time::Instant::now()))
            .map(|taken| taken.seq)
            .collect()
    }

    pub(super) fn acknowledge(&self, name: &str, seqs: &[Seq]) {
        self.handle.acknowledge(name, seqs.to_vec()).blocking_recv().unwrap().unwrap();
        self.outbox.lock().acknowledge(name, seqs);
    }

    /// Everything handed over is committed; then the ledger is closed.
    pub(super) fn stop(mut self) -> Accounting {
        self.settlements.take();
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.handle.accounting()
    }
}

pub(super) fn terms() -> Terms {
    crate::desk::Config::default().terms("")
}

pub(crate) fn ticket(id: &str, priority: u16) -> Entry {
    let post = proto::Post { id: id.to_owned(), text: format!("text of {id}"), ..proto::Post::default() };
    let id = TicketId::of_post(Network::Bluesky, id);
    let message = proto::Ticket { id: id.as_bytes().to_vec(), post: Some(post), ..proto::Ticket::default() };
    Entry::Ticket(Box::new(NewTicket {
        id,
        author_id: "did:plc:author".to_owned(),
        traits: Traits {
            brand: Arc::from("Lumio"),
            network: Network::Bluesky,
            language: "fr".into(),
            intent: "problem".into(),
            priority,
            rescored: None,
        },
        created_at: Timestamp::UNIX_EPOCH,
        posted_at: Timestamp::UNIX_EPOCH,
        due_at_us: 7_200_000_000,
        at_risk_at_us: None,
        text_hash: 42,
        watch: 42,
        thread: None,
        provisional: false,
        assignee: None,
        body: message.encode_to_vec(),
    }))
}

/// Batch 0 of a source.
pub(crate) fn settlement(position: i64, unmatched: u64, entries: Vec<Entry>) -> Settlement {
    let mut buckets = Buckets::default();
    buckets[Bucket::Unmatched] = unmatched;
    Settlement {
        source: Arc::from("bluesky"),
        end_sequence: 1,
        position: Some(position),
        buckets,
        gaps: Vec::new(),
        recovered: Vec::new(),
        entries,
    }
}

pub(super) fn provisional(id: &str, priority: u16) -> Entry {
    let Entry::Ticket(ticket) = ticket(id, priority) else { unreachable!() };
    Entry::Ticket(Box::new(NewTicket { provisional: true, ..*ticket }))
}
