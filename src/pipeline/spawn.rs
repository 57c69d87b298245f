//! Threads and tasks that report how they end.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Starts threads and tasks, and reports those that end badly.
pub(super) struct Spawn {
    pub(super) faults: mpsc::UnboundedSender<String>,
}

impl Spawn {
    pub(super) fn thread(
        &self,
        name: &str,
        run: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let report = Report { name: name.to_owned(), faults: self.faults.clone() };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(fault) = run() {
                report.fault(&fault);
            }
        })
    }

    pub(super) fn task(
        &self,
        runtime: &Runtime,
        name: &str,
        run: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let report = Report { name: name.to_owned(), faults: self.faults.clone() };
        runtime.spawn(async move {
            if let Err(fault) = run.await {
                report.fault(&fault);
            }
        })
    }
}

/// Tells of a fault, and of a panic by being dropped during one.
struct Report {
    name: String,
    faults: mpsc::UnboundedSender<String>,
}

impl Report {
    fn fault(&self, fault: &str) {
        // Nobody listens only when the daemon ends anyway.
        drop(self.faults.send(format!("{}: {fault}", self.name)));
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fault("panicked; this is a bug in vigie");
        }
    }
}

/// Waits for a thread without blocking the executor. A panic was reported by the thread itself.
pub(super) async fn join(thread: JoinHandle<()>) {
    drop(tokio::task::spawn_blocking(move || thread.join()).await);
}
