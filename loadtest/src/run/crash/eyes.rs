//! Sees from outside what a daemon is doing, to the millisecond: in its log, its open files, the ledger's
//! write-ahead log, and at its helpdesk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::moment::{Moment, Phase};
use crate::run::daemon::{Daemon, Log};
use crate::run::subscriber::{Happened, Subscriber};

/// Longest wait for what is to be seen; then the daemon is killed all the same, and that is counted.
const SEEN_MAX: Duration = Duration::from_secs(120);
/// Between two looks: a fraction of what any phase lasts.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// Where to look.
pub(super) struct Eyes {
    pid: u32,
    log: Log,
    wal: PathBuf,
    happened: watch::Receiver<Happened>,
    leave: Arc<Notify>,
}

impl Eyes {
    /// On a daemon that was just started.
    pub(super) fn new(daemon: &Daemon, wal: PathBuf, helpdesk: &Subscriber) -> Eyes {
        let (happened, leave) = (helpdesk.happened(), helpdesk.leave());
        Eyes { pid: daemon.pid(), log: daemon.log().clone(), wal, happened, leave }
    }

    /// Waits until the moment has come, but for telling the daemon to drain; whether what it waits for was seen.
    pub(super) async fn wait_for(&mut self, moment: &Moment) -> bool {
        let seen = match moment.phase {
            Phase::Start | Phase::Any => true,
            Phase::Ledger => {
                let (fds, wal) = (PathBuf::from(format!("/proc/{}/fd", self.pid)), self.wal.clone());
                look(move || has_open(&fds, &wal)).await
            }
            Phase::Running => self.logged(&[" running"]).await,
            Phase::Subscribe => self.happens(|happened| happened.hellos).await,
            Phase::Rewind => self.logged(&[" connected", "cursor="]).await,
            Phase::Commit => {
                self.lives(moment).await && {
                    let wal = self.wal.clone();
                    let before = written(&wal);
                    look(move || written(&wal) != before).await
                }
            }
            Phase::Delivery => self.lives(moment).await && self.happens(|happened| happened.deliveries).await,
            Phase::Ack => self.lives(moment).await && self.happens(|happened| happened.acks).await,
            Phase::Acked => self.lives(moment).await && self.happens(|happened| happened.confirmations).await,
            Phase::Departure => {
                self.lives(moment).await && {
                    self.leave.notify_one();
                    self.happens(|happened| happened.departures).await
                }
            }
            Phase::Drain => self.lives(moment).await,
        };
        if moment.phase != Phase::Drain {
            sleep(moment.then).await;
        }
        seen
    }

    /// Waits until it runs, and so long after that.
    async fn lives(&self, moment: &Moment) -> bool {
        let runs = self.logged(&[" running"]).await;
        sleep(moment.life).await;
        runs
    }

    /// Waits for a line of its log with all of these.
    async fn logged(&self, texts: &'static [&'static str]) -> bool {
        let log = self.log.clone();
        look(move || log.read().lines().any(|line| texts.iter().all(|text| line.contains(text)))).await
    }

    /// Waits until a count is greater than now.
    async fn happens(&mut self, count: fn(&Happened) -> u64) -> bool {
        let before = count(&self.happened.borrow());
        let grown = self.happened.wait_for(|happened| count(happened) > before);
        matches!(timeout(SEEN_MAX, grown).await, Ok(Ok(_)))
    }
}

/// Looks again and again, on a thread that may block.
async fn look(mut is_there: impl FnMut() -> bool + Send + 'static) -> bool {
    let until = Instant::now() + SEEN_MAX;
    let looking = tokio::task::spawn_blocking(move || {
        while !is_there() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    });
    looking.await.unwrap_or(false)
}

/// Whether one of these descriptors is of this file.
fn has_open(descriptors: &Path, file: &Path) -> bool {
    let descriptors = fs::read_dir(descriptors).into_iter().flatten().flatten();
    descriptors
        .map(|descriptor| fs::read_link(descriptor.path()))
        .any(|target| target.is_ok_and(|to| to == file))
}

/// When a file was last written and how long it is: the write-ahead log is written from its beginning again after
/// a checkpoint.
fn written(file: &Path) -> Option<(i64, i64, u64)> {
    let file = fs::metadata(file).ok()?;
    Some((file.mtime(), file.mtime_nsec(), file.len()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_open_file_is_seen_among_the_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("ledger.sqlite-wal");
        let own = Path::new("/proc/self/fd");
        assert!(!has_open(own, &path));
        let file = fs::File::create(&path).unwrap();
        assert!(has_open(own, &path));
        drop(file);
        assert!(!has_open(own, &path));
    }

    #[test]
    fn a_write_is_seen_even_where_the_length_stays() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"ab").unwrap();
        let before = written(file.path());
        assert!(before.is_some());
        let mut looks = 0;
        // The clock of file times goes by the kernel's ticks: until it has moved, a write leaves no trace.
        while written(file.path()) == before && looks < 10_000 {
            std::os::unix::fs::FileExt::write_all_at(file.as_file(), b"c", 0).unwrap();
            std::thread::sleep(LOOK_EVERY);
            looks += 1;
        }
        assert_ne!(written(file.path()), before);
        assert_eq!(written(Path::new("/nowhere")), None);
    }

    #[tokio::test]
    async fn what_happened_before_is_not_waited_for() {
        let (happens, happened) = watch::channel(Happened { deliveries: 3, ..Happened::default() });
        let log = Log::of(PathBuf::from("/nowhere"));
        let mut eyes = Eyes { pid: 0, log, wal: PathBuf::new(), happened, leave: Arc::default() };
        let waiting = tokio::spawn(async move { eyes.happens(|happened| happened.deliveries).await });
        happens.send_modify(|happened| happened.acks += 1);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // Only what is counted after the wait began ends it; the task may begin late, so it goes on happening.
        while !waiting.is_finished() {
            happens.send_modify(|happened| happened.deliveries += 1);
            tokio::task::yield_now().await;
        }
        assert!(waiting.await.unwrap());
    }
}
