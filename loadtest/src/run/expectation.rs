//! The tickets that there ought to be: what `vigie replay` makes of the same posts.
//!
//! `replay` runs the daemon's own stages in one thread, without sockets, queues or time limits: whatever it makes
//! a ticket of must become one under load too. It is fed the mentions in the order of the stream; that the rest
//! of the stream makes no candidate is proved with every distinct background frame, once.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::conservation::id_of;
use super::feed::Feed;
use super::subscriber::TicketId;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What `replay` made of some frames.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Each ticket's id; and of each post that joined one the id that a ticket of its own would have.
    pub(super) tickets: BTreeSet<TicketId>,
    /// Frames by bucket.
    pub(super) buckets: HashMap<String, u64>,
    /// Frames it was fed.
    pub(super) frames: u64,
}

impl Replayed {
    /// Frames that matched a rule: those that ended in a bucket behind the prefilter.
    pub(super) fn candidates(&self) -> u64 {
        let buckets = ["unsupported", "merged", "ticketed", "duplicate", "erased"];
        buckets.iter().filter_map(|bucket| self.buckets.get(*bucket)).sum()
    }

    /// A replay that has not read everything is not worth comparing with.
    fn check(&self, meant: u64) -> anyhow::Result<()> {
        let (fed, ended) = (self.frames, self.buckets.values().sum::<u64>());
        anyhow::ensure!(fed == meant && ended == fed, "{meant} frames, {fed} fed, {ended} in its buckets");
        Ok(())
    }
}

/// Replays a feed's mentions.
///
/// # Errors
///
/// `replay` cannot be run, fails, or does not account for every mention.
pub(super) fn mentions(
    command: Command,
    feed: &Feed,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Replayed> {
    let served = feed.served();
    let events = feed.events();
    let total = events.clone().filter(|n| served.kind(*n).is_mention()).count() as u64;
    let frames = served.mentions(events).map(|(_, event)| event.frame);
    let what = format!("{total} mentions of {}", feed.name());
    replay(command, served.format(), frames, total, &what, progress)
}

/// Replays one frame of each kind of background that a feed has.
///
/// # Errors
///
/// As [`mentions`].
pub(super) fn background(command: Command, feed: &Feed) -> anyhow::Result<Replayed> {
    let served = feed.served();
    let frames = served.background_samples();
    let total = frames.len() as u64;
    replay(command, served.format(), frames.into_iter(), total, "background", &|_| ())
}

fn replay(
    mut command: Command,
    format: &str,
    frames: impl Iterator<Item = String> + Send,
    total: u64,
    what: &str,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Replayed> {
    command.args(["--format", format, "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        bail!("a child without pipes");
    };
    let fed = AtomicU64::new(0);
    let mut replayed = Replayed::default();
    let errors = std::thread::scope(|scope| {
        let feeder = Builder::new().name("replay-in".to_owned()).spawn_scoped(scope, || {
            let mut stdin = BufWriter::new(stdin);
            for frame in frames {
                writeln!(stdin, "{frame}")?;
                fed.fetch_add(1, Ordering::Relaxed);
            }
            stdin.flush()
        });
        let feeder = feeder.context("thread")?;
        let errors = Builder::new().name("replay-errors".to_owned()).spawn_scoped(scope, move || {
            let mut text = String::new();
            let mut stderr = stderr;
            stderr.read_to_string(&mut text).map(|_| text)
        });
        let errors = errors.context("thread")?;
        let mut told = Instant::now();
        for line in BufReader::new(stdout).lines() {
            replayed.tickets.extend(post_of(&line.context("replay's output")?)?);
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                progress(&format!("replay: {} of {what}", fed.load(Ordering::Relaxed)));
            }
        }
        let errors = errors.join().map_err(|_| anyhow::anyhow!("the reader of replay's errors panicked"))?;
        let feeding = feeder.join().map_err(|_| anyhow::anyhow!("the feeder of replay panicked"))?;
        anyhow::Ok((errors.context("replay's stderr")?, feeding))
    });
    let (errors, feeding) = errors?;
    let status = child.wait().context("replay")?;
    // Why it ended early stands on its stderr; that it did, in a pipe that broke.
    if !status.success() {
        bail!("vigie replay: {status}\n{errors}");
    }
    feeding.with_context(|| format!("vigie replay does not read all of {what}"))?;
    replayed.frames = fed.into_inner();
    replayed.buckets = errors.lines().filter_map(bucket).collect();
    replayed.check(total).with_context(|| format!("vigie replay of {what}"))?;
    Ok(replayed)
}

/// The id in a ticket's JSON, or that of the post that has joined one; `None`: it says something new of one that was printed.
fn post_of(line: &str) -> anyhow::Result<Option<TicketId>> {
    let ticket: serde_json::Value = serde_json::from_str(line).context("replay printed no JSON")?;
    let change = &ticket["update"]["change"];
    if change["assigned"].is_object() || change["rescored"].is_object() {
        return Ok(None);
    }
    let joined = &change["followed_up"]["post"];
    let joined = joined["network"].as_str().zip(joined["id"].as_str());
    let id = joined.map(|(network, id)| id_of(network, id)).or_else(|| ticket["id"].as_str().and_then(id));
    id.map(Some).with_context(|| format!("replay printed no ticket: {line}"))
}

/// Sixteen bytes in hexadecimal.
fn id(text: &str) -> Option<TicketId> {
    let mut id = TicketId::default();
    if text.len() != 2 * id.len() {
        return None;
    }
    for (byte, place) in id.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(id)
}

/// A row of the accounting table that `replay` prints: name, frames, what they are; but not the sum at its end.
fn bucket(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let name = words.next().filter(|name| *name != "received")?;
    Some((name.to_owned(), words.next()?.replace(',', "").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_its_sixteen_bytes() {
        assert_eq!(id("000102030405060708090a0b0c0d0eff").unwrap()[13..], [13, 14, 255]);
        for wrong in ["", "00", "000102030405060708090a0b0c0d0exx", "é00102030405060708090a0b0c0d0e"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
        assert!(post_of("{}").is_err());
        let line = r#"{"update":{"change":{"followed_up":{"post":{"network":"x","id":"7"}}}}}"#;
        assert_eq!(post_of(line).unwrap(), Some(id_of("x", "7")));
        for anew in [r#""assigned":{"team":"vip"}"#, r#""rescored":{"edited":true}"#] {
            let line = format!(r#"{{"update":{{"change":{{{anew}}},"ticket_id":"00"}}}}"#);
            assert_eq!(post_of(&line).unwrap(), None);
        }
    }

    #[test]
    fn a_row_of_the_table_is_a_bucket() {
        assert_eq!(bucket("  unmatched     12,345   99.0 %"), Some(("unmatched".to_owned(), 12_345)));
        assert_eq!(bucket("Where the frames ended"), None);
        assert_eq!(bucket("  received  12,345   the sum: every frame is above, once"), None);
    }

    #[test]
    fn a_replay_that_has_not_read_everything_is_not_believed() {
        let buckets = |frames| HashMap::from([("unmatched".to_owned(), frames)]);
        let replayed = |frames, ended| Replayed { frames, buckets: buckets(ended), ..Replayed::default() };
        assert!(replayed(3, 3).check(3).is_ok());
        for (replayed, meant) in [(replayed(0, 0), 3), (replayed(3, 2), 3), (replayed(2, 2), 3)] {
            assert!(replayed.check(meant).is_err(), "{replayed:?}");
        }
    }
}
