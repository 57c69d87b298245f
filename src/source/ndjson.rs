//! Recorded posts as a source of the daemon: one file or standard input, read once to its end.
//!
//! A post's position is the number of its line, so a restart goes on where it stopped as long as nobody
//! changes what the file holds before that line. The file waits for us, so the source is patient: it is
//! slowed down under load, never shed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::batcher::{Arrival, Batcher, Limits};
use super::{BatchSender, FrameBatch, Health, Mistake, stopped};
use crate::parse::Format;

mod lines;

pub use lines::{Line, Lines, LinesError};

/// What to read.
#[derive(Debug, Clone)]
pub struct Config {
    /// The source's name in config, logs and metrics.
    pub name: Arc<str>,
    /// `-` for standard input; `.gz` and `.zst` are unpacked.
    pub path: PathBuf,
    /// How each line is encoded.
    pub format: Format,
    /// Longer lines are counted and dropped; 1 MiB.
    pub frame_bytes_max: usize,
    /// Lines in a batch; 512.
    pub batch_frames_max: usize,
    /// Bytes at which a batch is full; a buffer holds at most this and one frame. 1 MiB.
    pub batch_bytes_max: usize,
}

impl Config {
    /// Defaults for the file at `path`.
    pub fn new(name: impl Into<Arc<str>>, path: impl Into<PathBuf>, format: Format) -> Config {
        Config {
            name: name.into(),
            path: path.into(),
            format,
            frame_bytes_max: 1024 * 1024,
            batch_frames_max: 512,
            batch_bytes_max: 1024 * 1024,
        }
    }

    /// Everything that is wrong with values set after [`Config::new`]; empty if nothing is.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let path = self.path.display().to_string();
        let checks = [
            (!path.is_empty(), "path", format!("{path:?}"), "must be a file, or - for standard input"),
            (
                (1..=16 << 20).contains(&self.frame_bytes_max),
                "frame_bytes_max",
                self.frame_bytes_max.to_string(),
                "must be 1 to 16777216",
            ),
            (
                (1..=65_536).contains(&self.batch_frames_max),
                "batch_frames_max",
                self.batch_frames_max.to_string(),
                "must be 1 to 65536",
            ),
            (
                (1..=64 << 20).contains(&self.batch_bytes_max),
                "batch_bytes_max",
                self.batch_bytes_max.to_string(),
                "must be 1 to 67108864",
            ),
        ];
        let wrong = checks.into_iter().filter(|(is_right, ..)| !is_right);
        wrong.map(|(_, key, value, accepted)| Mistake { key, value, accepted: accepted.to_owned() }).collect()
    }
}

/// After `stop`, how long the reading thread may take to hand over what it has read. It has nothing in
/// hand whenever it waits for the file, so this is only ever spent on a pipe that nobody writes to.
const STOP_TIME_MAX: Duration = Duration::from_millis(250);

/// Hands the lines after the first `start_line` to `out` until the file ends, `stop` turns true or the
/// lanes are gone. `start_line` is the position that the ledger stored.
///
/// Reads on one of the runtime's blocking threads. On a pipe or standard input that thread may outlive
/// this function, waiting for a writer: end the runtime with a time-out.
pub async fn run(
    config: Config,
    start_line: Option<i64>,
    out: BatchSender,
    health: Arc<Health>,
    mut stop: watch::Receiver<bool>,
) {
    let name = config.name.clone();
    let start_line = start_line.and_then(|line| u64::try_from(line).ok()).unwrap_or(0);
    info!(source = %name, path = %config.path.display(), start_line, "reading");
    health.update(|state| state.connected = true);

    // One batch on the way beside the one being read and those in the lanes' queue.
    let (batches, mut read) = mpsc::channel(1);
    let reading = {
        let (stop, health) = (stop.clone(), health.clone());
        tokio::task::spawn_blocking(move || read_file(&config, start_line, &batches, &health, &stop))
    };
    let mut is_stopping = false;
    let is_cut_short = loop {
        let batch = if is_stopping {
            timeout(STOP_TIME_MAX, read.recv()).await.unwrap_or(None)
        } else {
            tokio::select! {
                biased;
                batch = read.recv() => batch,
                () = stopped(&mut stop) => { is_stopping = true; continue }
            }
        };
        let Some(batch) = batch else { break is_stopping };
        let position = batch.position;
        if out.send(batch).await.is_err() {
            break true;
        }
        health.update(|state| state.position = position);
    };
    // Where the thread is still at work, it notices at its next hand-over.
    drop(read);

    health.update(|state| state.connected = false);
    let trouble = match if is_cut_short { Ok(Ok(None)) } else { reading.await } {
        Ok(Ok(Some(lines))) => {
            info!(source = %name, lines, "read to the end");
            health.update(|state| state.finished = true);
            return;
        }
        Ok(Ok(None)) => {
            info!(source = %name, "source stopped");
            return;
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(fault) => fault.to_string(),
    };
    error!(source = %name, trouble, "source ended before its end");
    health.update(|state| state.trouble = trouble);
}

/// Reads the file and hands over its batches; the number of its last line, or `None` when it was told to
/// stop before.
///
/// A batch goes when it is full, and before each read that may wait: a line that was written into a pipe
/// never waits for the next one.
fn read_file(
    config: &Config,
    start_line: u64,
    batches: &mpsc::Sender<FrameBatch>,
    health: &Health,
    stop: &watch::Receiver<bool>,
) -> Result<Option<u64>, LinesError> {
    let mut lines = Lines::open(&config.path, config.frame_bytes_max)?;
    let skipped = lines.skip(start_line)?;
    if skipped < start_line {
        let path = config.path.display();
        warn!(source = %config.name, %path, lines = skipped, start_line, "file is shorter than it was");
        health.update(|state| {
            state.trouble = format!("{path} has {skipped} lines, and {start_line} were read before");
        });
    }

    let limits = Limits {
        frames_max: config.batch_frames_max,
        bytes_max: config.batch_bytes_max,
        delay_max: Duration::ZERO,
    };
    let mut batcher = Batcher::new(config.name.clone(), config.format, true, limits);
    let mut line = Vec::new();
    let mut arrival = Arrival::now();
    let end = loop {
        let is_due = batcher.is_full() || !lines.is_next_buffered();
        if is_due && (!hand_over(&mut batcher, batches) || is_stopped(stop)) {
            return Ok(None);
        }
        let next = lines.next_line(&mut line);
        if batcher.is_empty() {
            // Once for all lines that are in memory together.
            arrival = Arrival::now();
        }
        match next {
            Ok(None) => break Ok(()),
            Ok(Some(Line::Text)) => batcher.push(&line, arrival),
            Ok(Some(Line::Blank)) => batcher.push_heartbeat(arrival),
            Ok(Some(Line::Oversize)) => batcher.push_oversize(arrival),
            Err(error) => break Err(error),
        }
        batcher.reach(i64::try_from(lines.taken()).unwrap_or(i64::MAX));
    };
    // If nobody takes it, nobody asks for the outcome either.
    hand_over(&mut batcher, batches);
    end.map(|()| Some(lines.taken()))
}

/// Whether there is still somebody to read for.
fn hand_over(batcher: &mut Batcher, batches: &mpsc::Sender<FrameBatch>) -> bool {
    batcher.take().is_none_or(|batch| batches.blocking_send(batch).is_ok())
}

/// As [`stopped`], without waiting.
fn is_stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use crossbeam::channel::Receiver;

    use super::*;
    use crate::source::{HealthState, batch_queue};

    /// Tests that wait longer than this hang.
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Read {
        batches: Vec<FrameBatch>,
        state: HealthState,
    }

    impl Read {
        fn frames(&self) -> Vec<&str> {
            let frames = self.batches.iter().flat_map(|batch| {
                batch.frames.iter().map(|range| std::str::from_utf8(&batch.bytes[range.clone()]).unwrap())
            });
            frames.collect()
        }
    }

    /// Reads a file of this content to its end.
    async fn read(content: &str, start_line: Option<i64>, change: impl FnOnce(&mut Config)) -> Read {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posts.jsonl");
        std::fs::write(&path, content).unwrap();
        let mut config = Config::new("test", path, Format::Plain);
        change(&mut config);
        let (out, lanes) = batch_queue(NonZeroUsize::new(1_000).unwrap());
        let health = Arc::new(Health::default());
        let (_stop, stopping) = watch::channel(false);
        run(config, start_line, out, health.clone(), stopping).await;
        Read { batches: lanes.try_iter().collect(), state: health.read() }
    }

    async fn batch(lanes: &Receiver<FrameBatch>) -> FrameBatch {
        let lanes = lanes.clone();
        let batch = tokio::task::spawn_blocking(move || lanes.recv_timeout(PATIENCE)).await.unwrap();
        batch.expect("a batch in time")
    }

    #[tokio::test]
    async fn a_file_is_read_once_to_its_end() {
        let read = read("one\n\ntwo\r\nfar too long\nthree", None, |config| {
            config.frame_bytes_max = 8;
        })
        .await;
        assert_eq!(read.frames(), ["one", "two", "three"]);
        let counts = read.batches.iter().map(|batch| (batch.heartbeats, batch.oversize));
        assert_eq!(counts.fold((0, 0), |sum, (blank, long)| (sum.0 + blank, sum.1 + long)), (1, 1));
        assert!(read.batches.iter().all(|batch| batch.patient && batch.format == Format::Plain));
        assert!(read.state.finished && !read.state.connected && read.state.trouble.is_empty());
        assert_eq!(read.state.position, Some(5));
    }

    #[tokio::test]
    async fn each_batch_says_after_which_line_a_restart_goes_on() {
        let content: String = (1..=10).map(|line| format!("post {line}\n")).collect();
        let whole = read(&content, None, |config| config.batch_frames_max = 3).await;
        let positions: Vec<_> = whole.batches.iter().map(|batch| batch.position).collect();
        assert_eq!(positions, [Some(3), Some(6), Some(9), Some(10)]);
        let sequences: Vec<_> = whole.batches.iter().map(|batch| batch.sequence).collect();
        assert_eq!(sequences, [0, 1, 2, 3]);
        for position in 0..=10 {
            let rest = read(&content, Some(position), |_| {}).await;
            assert_eq!(rest.frames(), whole.frames()[usize::try_from(position).unwrap()..]);
            assert!(rest.state.finished);
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_reported() {
        let read = read("one\ntwo\n", Some(3), |_| {}).await;
        assert!(read.batches.is_empty());
        assert!(
            read.state.trouble.ends_with("posts.jsonl has 2 lines, and 3 were read before"),
            "{:?}",
            read.state
        );
        assert!(read.state.finished);
    }

    #[tokio::test]
    async fn a_broken_file_is_a_trouble_and_not_an_end() {
        let read = read("one\n", None, |config| {
            config.path.set_extension("gz");
        })
        .await;
        assert!(read.state.trouble.starts_with("cannot open "), "{:?}", read.state);
        assert!(!read.state.finished && !read.state.connected);
    }

    /// A named pipe holds the reader up wherever its writer pauses.
    #[tokio::test]
    async fn a_line_in_a_pipe_waits_neither_for_the_next_one_nor_does_stopping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        if !std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()) {
            println!("no mkfifo here: not tested");
            return;
        }
        let (out, lanes) = batch_queue(NonZeroUsize::new(10).unwrap());
        let health = Arc::new(Health::default());
        let (stop, stopping) = watch::channel(false);
        let config = Config::new("test", &path, Format::Plain);
        let source = tokio::spawn(run(config, None, out, health.clone(), stopping));
        let mut writer = tokio::fs::OpenOptions::new().write(true).open(&path).await.unwrap();

        tokio::io::AsyncWriteExt::write_all(&mut writer, b"one\ntwo\nthr").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut writer).await.unwrap();
        let first = batch(&lanes).await;
        assert_eq!((first.bytes.as_slice(), first.position), (&b"onetwo"[..], Some(2)));
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"ee\n").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut writer).await.unwrap();
        let second = batch(&lanes).await;
        assert_eq!((second.bytes.as_slice(), second.position), (&b"three"[..], Some(3)));

        stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, source).await.expect("an end in time").unwrap();
        assert!(!health.read().finished);
    }

    #[tokio::test]
    async fn stopping_ends_the_reading_of_a_file_without_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posts.jsonl");
        std::fs::write(&path, "post\n".repeat(1_000)).unwrap();
        let mut config = Config::new("test", path, Format::Plain);
        config.batch_frames_max = 1;
        // One batch at a time, so that the file cannot be read to its end before the stop.
        let (out, lanes) = batch_queue(NonZeroUsize::MIN);
        let (stop, stopping) = watch::channel(false);
        let health = Arc::new(Health::default());
        let source = tokio::spawn(run(config, None, out, health.clone(), stopping));
        assert_eq!(batch(&lanes).await.position, Some(1));
        stop.send(true).unwrap();
        let mut expected = 2;
        while !source.is_finished() {
            for batch in lanes.try_iter() {
                assert_eq!(batch.position, Some(expected));
                expected += 1;
            }
            tokio::task::yield_now().await;
        }
        assert!(expected < 1_000 && !health.read().finished);
    }

    #[tokio::test]
    async fn reading_ends_when_the_lanes_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posts.jsonl");
        std::fs::write(&path, "post\n").unwrap();
        let (out, lanes) = batch_queue(NonZeroUsize::MIN);
        drop(lanes);
        let health = Arc::new(Health::default());
        let (_stop, stopping) = watch::channel(false);
        run(Config::new("test", path, Format::Plain), None, out, health.clone(), stopping).await;
        assert!(!health.read().finished);
    }

    #[test]
    fn every_mistake_is_reported_with_its_key() {
        let mut config = Config::new("test", "posts.jsonl", Format::Plain);
        assert_eq!(config.mistakes(), []);
        config.path = PathBuf::new();
        config.frame_bytes_max = 0;
        config.batch_frames_max = 65_537;
        config.batch_bytes_max = 0;
        let keys: Vec<_> = config.mistakes().iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["path", "frame_bytes_max", "batch_frames_max", "batch_bytes_max"]);
    }
}
