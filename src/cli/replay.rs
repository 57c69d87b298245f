//! `vigie replay`: recorded posts through the same stages, the same way every time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::{ConfigFile, Failure, print};
use crate::classify::Classifier;
use crate::desk::anew::CHANGED_MAX;
use crate::desk::{self, Desk};
use crate::ledger::{Outcome, Scratch};
use crate::parse::{Format, Frame, Parser, Post};
use crate::pipeline::lane::{Item, Lane, LaneOutput, MalformedFrame};
use crate::pipeline::model::Model;
use crate::pipeline::overload::Pace;
use crate::pipeline::settle::{Clock, settle};
use crate::prefilter::Prefilter;
use crate::prefilter::watched::Watched;
use crate::source::FrameBatch;
use crate::source::ndjson::{Line, Lines};
use crate::telemetry::log::complain;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket;

/// The keys of `--format plain`; `parse/plain.rs` has the rest.
const PLAIN_HELP: &str = "\
A line of the format plain is one JSON object:
  text*                       the post; all else may be absent
  created_at, at              when it was written, as 2026-11-02T10:00:00Z, Mon, 02 Nov 2026 10:00:00 +0000
                              or Mon Nov 02 10:00:00 +0000 2026
  id                          its own on its network; else one is made of author, text and time
  author                      a handle, or {\"id\", \"handle\", \"name\", \"followers\", \"verified\"}
  network                     bluesky, mastodon, x, facebook or plain (the default)
  lang, language              fr, en-US, ...
  reply_to                    the id of the post that it answers
  url                         where people read it
  mentions, hashtags, links   lists of texts
The same posts give the same tickets, whenever they are replayed: the time is the posts' own.";

#[derive(Debug, Args)]
#[command(after_help = PLAIN_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// What a line of the files is: jetstream, mastodon, x-v2, x-v1 or plain
    #[arg(long, value_name = "FORMAT", default_value = "jetstream", value_parser = super::format)]
    format: Format,
    #[command(flatten)]
    acquaintances: super::Acquaintances,
    /// Files of one post a line, plain, .gz or .zst; - is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Lines taken together; part of the output's definition, since the model sees them together.
const BATCH_LINES: usize = 1024;
/// Longest line, as a source's `frame_bytes_max`.
const LINE_BYTES_MAX: usize = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let prefilter = Prefilter::build(&config.prefilter)
        .map_err(|mistakes| Failure::Mistake(anyhow::anyhow!("{mistakes:?}")))?;
    let mut model = Model::new(Classifier::open(&config.classify)?);
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    let watched = Arc::<Watched>::default();
    let mut lane = Lane::watching(watched.clone());
    let mut desk = Desk::default();
    desk.conversations.watched_by(watched);
    let mut people = arguments.acquaintances.people(&config)?;
    if let Some(agents) = people.new_agents().map_err(anyhow::Error::from)? {
        desk.set_agents(&agents);
    }
    let mut articles = super::knowledge_base(&config, &arguments.acquaintances);
    let mut ledger = Scratch::new().map_err(anyhow::Error::from)?;
    let mut total = Buckets::default();
    let mut sequence = 0;
    let (mut timeless, mut unread) = (0, 0);
    let mut troubles = Troubles::default();
    let mut waiting = Waiting::default();
    for file in &arguments.files {
        let mut lines = Lines::open(file, LINE_BYTES_MAX).map_err(|error| Failure::Mistake(error.into()))?;
        while let Some((batch, numbers)) = next_batch(&mut lines, arguments.format, sequence)? {
            sequence += 1;
            troubles.first_line(&batch);
            let output_of_lane = lane.process(&prefilter, batch);
            troubles.tell(&output_of_lane, file, &numbers);
            let posts_without = output_of_lane.items.iter().filter_map(timeless_post);
            (timeless, unread) = posts_without.fold((timeless, unread), |(timeless, unread), post| {
                (timeless + 1, unread + usize::from(post.time_unread))
            });
            waiting.hear(&output_of_lane);
            let outputs: Vec<LaneOutput> = vec![output_of_lane];
            for decided in model.classify(Pace::Full, outputs).map_err(anyhow::Error::from)? {
                let mut written = Ok(());
                let settlement = settle(
                    &mut desk,
                    &config.desk,
                    people.as_mut(),
                    &mut *articles,
                    Clock::Posts,
                    decided,
                    |ticket| {
                        let line = ticket::to_json(ticket);
                        written =
                            std::mem::replace(&mut written, Ok(())).and_then(|()| writeln!(output, "{line}"));
                    },
                );
                written.context("stdout")?;
                let settlement = settlement.map_err(anyhow::Error::from)?;
                let (buckets, outcome) = ledger.settle(&settlement).map_err(anyhow::Error::from)?;
                take_note(&mut desk, &outcome, &mut output)?;
                decide_anew(&mut desk, &config.desk, &mut ledger, &mut output)?;
                waiting.assign(&mut desk, &config.desk, &mut ledger, &mut output)?;
                total.add(&buckets);
            }
        }
    }
    output.flush().context("stdout")?;
    if timeless > 0 {
        let of_them = match unread {
            0 => String::new(),
            unread => format!(
                " ({} of them in a form that cannot be read: 2026-11-02T10:00:00Z, Mon, 02 Nov 2026 10:00:00 +0000 and \
                 Mon Nov 02 10:00:00 +0000 2026 are)",
                print::grouped(unread as u64)
            ),
        };
        complain(&format!(
            "warning: {} no time that can be read{of_them}: taken as of 1970-01-01 00:00 UTC, so that due times, hours and \
             earlier contacts mean nothing; the format plain has created_at",
            print::counted(timeless as u64, "matching post says", "matching posts say")
        ));
    }
    troubles.end(&total);
    print::accounting(&mut anstream::stderr().lock(), &total).context("stderr")?;
    match troubles.nothing_read(&total, arguments.format) {
        Some(text) => Err(Failure::Mistake(anyhow::anyhow!(text))),
        None => Ok(()),
    }
}

/// Malformed lines that are told of; the others are counted.
const TOLD_MAX: u64 = 8;

/// What is wrong with lines.
#[derive(Debug, Default)]
struct Troubles {
    told: u64,
    /// The first line of all, for what its format may be.
    first: Option<Vec<u8>>,
}

impl Troubles {
    fn first_line(&mut self, batch: &FrameBatch) {
        if self.first.is_none() {
            self.first =
                batch.frames.first().and_then(|range| Some(batch.bytes.get(range.clone())?.to_vec()));
        }
    }

    /// `numbers`: the line of each frame.
    fn tell(&mut self, output: &LaneOutput, file: &Path, numbers: &[u64]) {
        for MalformedFrame { frame, why, .. } in &output.malformed {
            if self.told == TOLD_MAX {
                return;
            }
            self.told += 1;
            let file = if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() };
            let line = numbers.get(*frame).copied().unwrap_or_default();
            complain(&format!("{file}:{line}: malformed: {why}"));
        }
    }

    fn end(&self, total: &Buckets) {
        let malformed = total[Bucket::Malformed];
        if malformed > self.told && self.told > 0 {
            let others = malformed - self.told;
            let others = print::counted(others, "more malformed line", "more malformed lines");
            complain(&format!("{others}: `vigie explain` says of one post what is wrong with it"));
        }
    }

    /// What to say where no line held a post, or news of one.
    fn nothing_read(&self, total: &Buckets, format: Format) -> Option<String> {
        let received = total.received();
        let unreadable = total[Bucket::Malformed] + total[Bucket::Oversize];
        if received == 0 || unreadable + total[Bucket::Control] < received {
            return None;
        }
        let frames = print::counted(received, "line", "lines");
        let reads_as = |format: &Format| {
            let mut line = self.first.clone().unwrap_or_default();
            Parser::new(*format).parse(&mut line).is_ok_and(|parsed| matches!(parsed.frame, Frame::Post(_)))
        };
        // An object with a `text` may be of several.
        let meant: Vec<_> = Format::ALL.iter().filter(|other| **other != format && reads_as(other)).collect();
        // Likes and deletions alone are a recording like any other, unless another format finds posts there.
        if meant.is_empty() && unreadable < received {
            return None;
        }
        let meant: Vec<_> = meant.into_iter().rev().map(|meant| meant.name()).collect();
        let meant = match meant.is_empty() {
            true => String::new(),
            false => format!("; the first one reads as --format {}", meant.join(" or ")),
        };
        Some(format!("none of {frames} is a post of the format {}{meant}", format.name()))
    }
}

/// Decides again about the tickets that have changed, as the daemon does once they are durable; each at the moment of its
/// change.
fn decide_anew(
    desk: &mut Desk,
    config: &desk::Config,
    ledger: &mut Scratch,
    output: &mut impl Write,
) -> Result<(), Failure> {
    loop {
        let changed = ledger.changed(CHANGED_MAX).map_err(anyhow::Error::from)?;
        if changed.is_empty() {
            return Ok(());
        }
        let decided: Vec<_> =
            changed.iter().map(|changed| desk.decide_anew(config, changed, changed.at)).collect();
        let outcome = ledger.assign(&decided).map_err(anyhow::Error::from)?;
        take_note(desk, &outcome, output)?;
    }
}

/// When tickets without an agent are offered again: as in the daemon once a second, which here is one of the posts'.
#[derive(Debug, Default)]
struct Waiting {
    /// The newest post's.
    now: Timestamp,
    offered_at: Option<Timestamp>,
}

impl Waiting {
    fn hear(&mut self, output: &LaneOutput) {
        let at = output.items.iter().filter_map(|item| match item {
            Item::Candidate(candidate) | Item::Reply(candidate) => {
                Some(Clock::Posts.now(&candidate.post, output.received_at))
            }
            _ => None,
        });
        self.now = at.max().unwrap_or_default().max(self.now);
    }

    fn assign(
        &mut self,
        desk: &mut Desk,
        config: &desk::Config,
        ledger: &mut Scratch,
        output: &mut impl Write,
    ) -> Result<(), Failure> {
        let is_due = |offered_at| self.now.duration_since(offered_at) >= SignedDuration::from_secs(1);
        if !self.offered_at.is_none_or(is_due) {
            return Ok(());
        }
        self.offered_at = Some(self.now);
        loop {
            let given = desk.assign_waiting(config, self.now);
            if given.is_empty() {
                return Ok(());
            }
            let outcome = ledger.assign(&given).map_err(anyhow::Error::from)?;
            take_note(desk, &outcome, output)?;
        }
    }
}

/// Writes what has become of tickets, and lets the desk know what it must.
fn take_note(desk: &mut Desk, outcome: &Outcome, output: &mut impl Write) -> Result<(), Failure> {
    for made in &outcome.tickets {
        writeln!(output, "{}", ticket::to_json(made)).context("stdout")?;
    }
    for update in &outcome.updates {
        writeln!(output, "{}", ticket::update_to_json(update)).context("stdout")?;
    }
    outcome.told.iter().for_each(|told| desk.hear(told));
    Ok(())
}

/// The post, if it says neither when it was seen nor when it was written: a replay then has no time to decide at.
fn timeless_post(item: &Item) -> Option<&Post<'static>> {
    match item {
        Item::Candidate(candidate) | Item::Reply(candidate) => {
            Some(&candidate.post).filter(|post| post.seen_at.is_none() && post.written_at.is_none())
        }
        _ => None,
    }
}

/// The next lines, and the number of each that holds something.
fn next_batch(
    lines: &mut Lines,
    format: Format,
    sequence: u64,
) -> Result<Option<(FrameBatch, Vec<u64>)>, Failure> {
    let mut numbers = Vec::new();
    let mut batch = FrameBatch { patient: true, ..FrameBatch::empty(Arc::from("replay"), format, sequence) };
    let mut line = Vec::new();
    let mut read = 0;
    while read < BATCH_LINES {
        match lines.next_line(&mut line).map_err(anyhow::Error::from)? {
            None => break,
            Some(Line::Blank) => batch.heartbeats += 1,
            Some(Line::Oversize) => batch.oversize += 1,
            Some(Line::Text) => {
                batch.push(&line);
                numbers.push(lines.taken());
            }
        }
        read += 1;
    }
    Ok((read > 0).then_some((batch, numbers)))
}
