//! Recorded posts as a source of the daemon: one file or standard input, read once to its end.
//!
//! A restart goes on after the last line that was read, if the file still holds the lines before it as they were.
//! If not, it is another file, whatever its name, length or inode, and is read from its start, so that no post is lost:
//! one that was in both makes no second ticket, and counts once more where it makes none. What was written into the one
//! before after our last look at it is nobody's but its owner's to replay. The file waits for us, so the source is
//! patient: it is slowed down under load, never shed.

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
mod place;

pub use lines::{Line, Lines, LinesError};
pub use place::lines_of;

use place::Place;

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

/// Hands the lines that were not read before to `out` until the file ends, `stop` turns true or the lanes are gone.
/// `position` is what the ledger stored.
///
/// Reads on one of the runtime's blocking threads. On a pipe or standard input that thread may outlive
/// this function, waiting for a writer: end the runtime with a time-out.
pub async fn run(
    config: Config,
    position: Option<i64>,
    out: BatchSender,
    health: Arc<Health>,
    mut stop: watch::Receiver<bool>,
) {
    let name = config.name.clone();
    let before = position.map(Place::of).unwrap_or_default();
    info!(source = %name, path = %config.path.display(), start_line = before.lines, "reading");
    health.update(|state| state.connected = true);

    // One batch on the way beside the one being read and those in the lanes' queue.
    let (batches, mut read) = mpsc::channel(1);
    let reading = {
        let stop = stop.clone();
        tokio::task::spawn_blocking(move || read_file(&config, before, &batches, &stop))
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
        let position = batch.position.map(lines_of);
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
    before: Place,
    batches: &mpsc::Sender<FrameBatch>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<u64>, LinesError> {
    let (mut lines, file) = open(config, before)?;
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
        batcher.reach(Place::after(file, lines.taken(), lines.digest()).position());
    };
    // If nobody takes it, nobody asks for the outcome either.
    hand_over(&mut batcher, batches);
    end.map(|()| Some(lines.taken()))
}

/// The file where reading it goes on, and how many there were before it under this source's name.
fn open(config: &Config, before: Place) -> Result<(Lines, u64), LinesError> {
    let lines = || Lines::open(&config.path, config.frame_bytes_max);
    // What comes through a pipe is never what came through it before, and cannot be read twice.
    let is_pipe = std::fs::metadata(&config.path).is_ok_and(|metadata| !metadata.is_file());
    if before.lines == 0 || is_pipe {
        return Ok((lines()?, before.file));
    }
    let mut old = lines()?;
    let there = old.skip(before.lines)?;
    let found = Place::after(before.file, there, old.digest());
    if there == before.lines && before.digest.is_none_or(|_| found == before) {
        return Ok((old, before.file));
    }
    let (path, lines_read_before) = (config.path.display(), before.lines);
    warn!(source = %config.name, %path, lines_read_before, "another file than was read before: reading it from its start");
    Ok((lines()?, before.file + 1))
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
        let lines: Vec<_> = positions.iter().map(|position| position.map(lines_of)).collect();
        assert_eq!(lines, [Some(3), Some(6), Some(9), Some(10)]);
        let sequences: Vec<_> = whole.batches.iter().map(|batch| batch.sequence).collect();
        assert_eq!(sequences, [0, 1, 2, 3]);
        let stored = positions.into_iter().flatten();
        // An older vigie stored the number of lines.
        for position in (0..=10).chain(stored) {
            let rest = read(&content, Some(position), |_| {}).await;
            assert_eq!(rest.frames(), whole.frames()[usize::try_from(lines_of(position)).unwrap()..]);
            assert!(rest.state.finished);
        }
    }

    /// Where reading a file of this content to its end comes to.
    async fn position_after(content: &str, position: Option<i64>) -> Option<i64> {
        read(content, position, |_| {}).await.batches.last().and_then(|batch| batch.position).or(position)
    }

    #[tokio::test]
    async fn a_file_that_took_the_place_of_another_is_read_from_its_start() {
        let position = position_after("one\ntwo\nthree\n", None).await;
        let check = async |what: &str, content: &str, expected: &[&str]| {
            let read = read(content, position, |_| {}).await;
            assert_eq!(read.frames(), expected, "{what}");
            assert!(read.state.finished && read.state.trouble.is_empty(), "{what}");
            // It is known again after the next restart, and the ledger takes no position that is less.
            let after = read.batches.last().and_then(|batch| batch.position).or(position);
            assert!(after >= position, "{what}");
            let more = format!("{content}more\n");
            assert_eq!(super::tests::read(&more, after, |_| {}).await.frames(), ["more"], "{what}");
        };
        check("the same", "one\ntwo\nthree\n", &[]).await;
        check("grown", "one\ntwo\nthree\nfour\n", &["four"]).await;
        check("as long", "uno\ndue\ntre\n", &["uno", "due", "tre"]).await;
        check("longer", "uno\ndue\ntre\nquattro\n", &["uno", "due", "tre", "quattro"]).await;
        check("shorter", "uno\n", &["uno"]).await;
        check("cut short", "one\ntwo\n", &["one", "two"]).await;
        check("rotated: it has lost its first lines", "three\nfour\nfive\n", &["three", "four", "five"])
            .await;
        check("with another last line", "one\ntwo\ntre\n", &["one", "two", "tre"]).await;
        check("with another first line, as long", "uno\ntwo\nthree\n", &["uno", "two", "three"]).await;
        check("with a line that ends elsewhere", "onet\nwo\nthree\n", &["onet", "wo", "three"]).await;
    }

    #[tokio::test]
    async fn the_last_line_is_the_same_with_its_end_and_without() {
        let position = position_after("one\ntwo", None).await;
        assert_eq!(read("one\ntwo\nthree\n", position, |_| {}).await.frames(), ["three"]);
        assert_eq!(read("one\ntwo\r\nthree\r\n", position, |_| {}).await.frames(), ["three"]);
    }

    #[tokio::test]
    async fn a_file_is_the_same_under_another_limit() {
        let content = "one\ntwo, which is longer\nthree\n";
        let limited = |config: &mut Config| config.frame_bytes_max = 8;
        let position = read(content, None, limited).await.batches.last().unwrap().position;
        assert_eq!(read(&format!("{content}four\n"), position, |_| {}).await.frames(), ["four"]);
    }

    #[tokio::test]
    async fn a_file_that_was_emptied_is_read_once_it_has_lines() {
        let position = position_after("one\ntwo\n", None).await;
        let empty = read("", position, |_| {}).await;
        assert!(empty.batches.is_empty() && empty.state.finished);
        assert_eq!(read("three\nfour\nfive\n", position, |_| {}).await.frames(), ["three", "four", "five"]);
    }

    #[tokio::test]
    async fn file_after_file_is_told_apart() {
        let mut position = None;
        for day in 0..5 {
            let content = format!("morning {day}\nevening {day}\n");
            let before = position;
            let read = read(&content, position, |_| {}).await;
            assert_eq!(read.frames().len(), 2, "day {day}");
            position = read.batches.last().unwrap().position;
            assert!(position > before, "day {day}");
            assert_eq!(read.state.position, Some(2));
        }
    }

    /// Somebody still writes the last line when it is read.
    #[tokio::test]
    async fn a_line_that_was_read_half_comes_whole_at_the_next_start() {
        let position = position_after("one\ntw", None).await;
        assert_eq!(read("one\ntwo\nthree\n", position, |_| {}).await.frames(), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_file_shorter_than_an_older_vigie_read_is_another() {
        let read = read("one\ntwo\n", Some(3), |_| {}).await;
        assert_eq!(read.frames(), ["one", "two"]);
        assert!(read.batches[0].position > Some(3));
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
        let source = tokio::spawn(run(config, Some(2), out, health.clone(), stopping));
        let mut writer = tokio::fs::OpenOptions::new().write(true).open(&path).await.unwrap();

        tokio::io::AsyncWriteExt::write_all(&mut writer, b"one\ntwo\nthr").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut writer).await.unwrap();
        let first = batch(&lanes).await;
        assert_eq!((first.bytes.as_slice(), first.position.map(lines_of)), (&b"onetwo"[..], Some(2)));
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"ee\n").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut writer).await.unwrap();
        let second = batch(&lanes).await;
        assert_eq!((second.bytes.as_slice(), second.position.map(lines_of)), (&b"three"[..], Some(3)));

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
        assert_eq!(batch(&lanes).await.position.map(lines_of), Some(1));
        stop.send(true).unwrap();
        let mut expected = 2;
        while !source.is_finished() {
            for batch in lanes.try_iter() {
                assert_eq!(batch.position.map(lines_of), Some(expected));
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
