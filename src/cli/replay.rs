//! `vigie replay`: recorded posts through the same stages, the same way every time.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::{ConfigFile, Failure, print};
use crate::classify::Classifier;
use crate::desk::anew::CHANGED_MAX;
use crate::desk::{self, Desk};
use crate::ledger::{Outcome, Scratch};
use crate::parse::Format;
use crate::pipeline::lane::{Item, Lane, LaneOutput};
use crate::pipeline::model::Model;
use crate::pipeline::overload::Pace;
use crate::pipeline::settle::{Clock, settle};
use crate::prefilter::Prefilter;
use crate::prefilter::watched::Watched;
use crate::source::FrameBatch;
use crate::source::ndjson::{Line, Lines};
use crate::telemetry::Buckets;
use crate::telemetry::log::complain;
use crate::ticket;

/// The keys of `--format plain`; `parse/plain.rs` has the rest.
const PLAIN_HELP: &str = "\
A line of the format plain is one JSON object:
  text*                       the post; all else may be absent
  created_at, at              when it was written, as 2026-11-02T10:00:00Z
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
    let mut timeless = 0;
    for file in &arguments.files {
        let mut lines = Lines::open(file, LINE_BYTES_MAX).map_err(|error| Failure::Mistake(error.into()))?;
        while let Some(batch) = next_batch(&mut lines, arguments.format, sequence)? {
            sequence += 1;
            let output_of_lane = lane.process(&prefilter, batch);
            timeless += output_of_lane.items.iter().filter(|item| is_timeless(item)).count();
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
                total.add(&buckets);
            }
        }
    }
    output.flush().context("stdout")?;
    if timeless > 0 {
        let timeless = print::grouped(timeless as u64);
        complain(&format!(
            "warning: {timeless} matching posts say no time: they are taken as of 1970-01-01 00:00 UTC, so that what they \
             are due at, hours and earlier contacts mean nothing; the format plain has created_at"
        ));
    }
    print::accounting(&mut anstream::stderr().lock(), &total).context("stderr")?;
    Ok(())
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

/// Writes what has become of tickets, and lets the desk know what it must.
fn take_note(desk: &mut Desk, outcome: &Outcome, output: &mut impl Write) -> Result<(), Failure> {
    for update in &outcome.updates {
        writeln!(output, "{}", ticket::update_to_json(update)).context("stdout")?;
    }
    outcome.told.iter().for_each(|told| desk.hear(told));
    Ok(())
}

/// Whether a post says neither when it was seen nor when it was written: a replay then has no time to decide at.
fn is_timeless(item: &Item) -> bool {
    match item {
        Item::Candidate(candidate) | Item::Reply(candidate) => {
            candidate.post.seen_at.is_none() && candidate.post.written_at.is_none()
        }
        _ => false,
    }
}

fn next_batch(lines: &mut Lines, format: Format, sequence: u64) -> Result<Option<FrameBatch>, Failure> {
    let mut batch = FrameBatch { patient: true, ..FrameBatch::empty(Arc::from("replay"), format, sequence) };
    let mut line = Vec::new();
    let mut read = 0;
    while read < BATCH_LINES {
        match lines.next_line(&mut line).map_err(anyhow::Error::from)? {
            None => break,
            Some(Line::Blank) => batch.heartbeats += 1,
            Some(Line::Oversize) => batch.oversize += 1,
            Some(Line::Text) => batch.push(&line),
        }
        read += 1;
    }
    Ok((read > 0).then_some(batch))
}
