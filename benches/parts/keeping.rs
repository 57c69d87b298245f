//! A ledger in a file of its own with its thread, as the pipeline runs it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tempfile::TempDir;
use vigie::ledger::outbox::{AGEING_POINTS_PER_HOUR, Filter, Outbox};
use vigie::ledger::{
    Accounting, Config, Handle, Ledger, LedgerError, Records, Retention, Settlement, SubscriptionRequest,
};

use super::threads;

/// Whether a commit is on the disk when it returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    Durable,
    SwitchedOff,
}

/// A folder on the disk that the build is on: `/tmp` is memory on many machines, where durability is free.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's folder for tests can be written")
}

pub(crate) fn open(folder: &TempDir, commits: Commits) -> Ledger {
    let config = Config {
        path: folder.path().join("ledger.sqlite"),
        bookkeeping_delay_max: Duration::from_millis(200),
        ageing_points_per_hour: AGEING_POINTS_PER_HOUR,
        retention: Retention::default(),
    };
    let ledger = Ledger::open(config).expect("the ledger opens");
    match commits {
        Commits::Durable => ledger,
        Commits::SwitchedOff => ledger.without_durability().expect("SQLite obeys"),
    }
}

pub(crate) struct Keeping {
    pub(crate) settlements: Sender<Settlement>,
    pub(crate) handle: Handle,
    pub(crate) outbox: Arc<Mutex<Outbox>>,
    /// Hears of each commit that brought records.
    published: Receiver<()>,
    thread: JoinHandle<Result<(), LedgerError>>,
}

impl Keeping {
    pub(crate) fn start(ledger: Ledger) -> Keeping {
        let (settlements, settled) = bounded(64);
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let (writer, handle) = ledger.split(settled, outbox.clone()).expect("the ledger is read");
        let (publish, published) = bounded(1);
        // Whoever waits for a commit looks at the accounting: a second note while the first waits says nothing new.
        let publish = move || _ = publish.try_send(());
        let thread = threads::spawn("bench-ledger", move || writer.run(publish));
        Keeping { settlements, handle, outbox, published, thread }
    }

    /// Opens a subscription to everything, as a helpdesk does.
    pub(crate) fn subscribe(&self, name: &str) {
        let request =
            SubscriptionRequest { name: name.to_owned(), filter: Filter::default(), start_next: false };
        let answer = self.handle.subscribe(request).blocking_recv();
        answer.expect("the ledger answers").expect("the subscription opens");
    }

    /// Waits until so many frames are accounted for, the last of them in a commit with tickets.
    pub(crate) fn wait_for(&self, frames: u64) {
        while self.handle.accounting().total().received() < frames {
            self.published.recv().expect("the ledger's thread goes on");
        }
    }

    /// Commits what was handed over and ends.
    pub(crate) fn stop(self) -> Accounting {
        drop(self.settlements);
        self.handle.stop();
        self.thread.join().expect("the ledger's thread does not panic").expect("every commit succeeds");
        self.handle.accounting()
    }
}
