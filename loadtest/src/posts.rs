//! What people write: templates of support posts for the fictitious brand Lumio, and everything else.
//!
//! The texts in `posts/` are embedded; recorded streams may take the place of the background texts. Records
//! are encoded here, once, except for what differs from one event to the next.

mod record;
mod template;

pub(crate) use record::{Conversation, Record, Reference};
pub(crate) use template::Template;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::plot::{Incident, Reports};
use crate::script::dice::{Dice, Purpose};

/// Longest line of a recorded stream, in bytes: Jetstream's own limit for a client is 10 MB.
const STREAM_LINE_BYTES_MAX: u64 = 10_000_000;
/// Most bytes of recorded posts held in memory: half a million posts of 800 bytes.
const STREAM_BYTES_MAX: usize = 400_000_000;

/// All texts that a script draws from.
#[derive(Debug)]
pub(crate) struct Posts {
    support: Vec<Template>,
    /// The support templates that report a problem somewhere: what an outage makes people write.
    local_problems: Vec<usize>,
    /// Those that name a city, whatever they want.
    local: Vec<usize>,
    confusing: Vec<Record>,
    cities: template::Cities,
}

impl Posts {
    /// Reads the embedded texts, and apart from them what is not about the brand: the embedded texts or the
    /// recorded posts of `streams`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, holds a line that is no Jetstream event, or no post at all.
    pub(crate) fn load(streams: &[PathBuf]) -> anyhow::Result<(Posts, Vec<Record>)> {
        let support = rows(include_str!("../posts/support.tsv"))
            .map(|row| Template::parse(row).context("posts/support.tsv"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let which = |test: fn(&Template) -> bool| -> Vec<usize> {
            support.iter().enumerate().filter(|(_, template)| test(template)).map(|(idx, _)| idx).collect()
        };
        let (local_problems, local) = (which(Template::is_local_problem), which(Template::is_local));
        let confusing = plain(include_str!("../posts/confusing.tsv")).context("posts/confusing.tsv")?;
        let background = match streams {
            [] => plain(include_str!("../posts/background.tsv")).context("posts/background.tsv")?,
            files => recorded(files)?,
        };
        let cities = template::Cities::new(include_str!("../posts/cities.txt"));
        ensure!(!support.is_empty() && !local_problems.is_empty(), "posts/support.tsv has too few rows");
        ensure!(!confusing.is_empty() && !background.is_empty(), "posts/ has an empty file");
        Ok((Posts { support, local_problems, local, confusing, cities }, background))
    }

    /// The support post of event `n`, written in the time of `incident`, if there is trouble then.
    pub(crate) fn support(&self, seed: u64, n: u64, incident: Option<&Incident>) -> (&Template, String) {
        let mut dice = Dice::new(seed, n, Purpose::Text);
        let of = |idx: Option<&usize>| idx.and_then(|idx| self.support.get(*idx));
        let drawn = match incident.map(|incident| incident.reports) {
            None => dice.pick(&self.support),
            Some(Reports::Problems) => of(dice.pick(&self.local_problems)),
            // Half of the texts that name a city are problems; most people write because they have one.
            Some(Reports::FirstHand) if dice.percent(60) => of(dice.pick(&self.local_problems)),
            Some(Reports::FirstHand) => of(dice.pick(&self.local)),
        };
        let template = drawn.expect("`load` refuses an empty table");
        let city = incident.map(|incident| incident.city.as_str());
        (template, template.fill(seed, n, &self.cities, city))
    }

    /// A mention that needs nothing.
    pub(crate) fn confusing(&self, dice: &mut Dice) -> &Record {
        dice.pick(&self.confusing).expect("`load` refuses an empty table")
    }

    /// One city of all.
    pub(crate) fn city(&self, dice: &mut Dice) -> &str {
        self.cities.any(dice)
    }
}

/// The rows of a table, less its header and empty lines.
fn rows(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter(|row| !row.is_empty())
}

fn plain(table: &str) -> anyhow::Result<Vec<Record>> {
    let record = |row: &str| {
        let (language, text) = row.split_once('\t').with_context(|| format!("{row:?} has no tab"))?;
        Ok(Record::of_text(language, text))
    };
    rows(table).map(record).collect()
}

fn recorded(files: &[PathBuf]) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut bytes = 0;
    for file in files {
        read_stream(file, &mut records, &mut bytes).with_context(|| format!("stream {}", file.display()))?;
    }
    ensure!(!records.is_empty(), "no post in any of the {} stream files", files.len());
    Ok(records)
}

fn read_stream(file: &Path, records: &mut Vec<Record>, bytes: &mut usize) -> anyhow::Result<()> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        if (&mut reader).take(STREAM_LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let event: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("line {number} is no event"))?;
        if !event.is_object() || event.get("kind").is_none() {
            bail!("line {number} is no Jetstream event: it has no \"kind\"");
        }
        if let Some(record) = Record::of_event(event) {
            *bytes += record.bytes();
            ensure!(
                *bytes <= STREAM_BYTES_MAX,
                "more than {STREAM_BYTES_MAX} bytes of posts at line {number}"
            );
            records.push(record);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_fills_without_leftover_braces() {
        let (posts, _) = Posts::load(&[]).unwrap();
        for (idx, template) in posts.support.iter().enumerate() {
            for n in 0..20 {
                let filled = template.fill(idx as u64, n, &posts.cities, None);
                assert!(!filled.contains(['{', '}']), "{filled}");
                assert!(filled.chars().count() <= 300, "longer than a Bluesky post: {filled}");
            }
        }
    }

    #[test]
    fn a_broken_stream_file_is_named_with_its_line() {
        let directory = std::env::temp_dir().join(format!("firehose-posts-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let check = |content: &str, expected: &str| {
            let file = directory.join("stream.jsonl");
            std::fs::write(&file, content).unwrap();
            let error = format!("{:#}", Posts::load(&[file]).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("{\"kind\":\"account\"}\nnonsense\n", "line 2 is no event");
        check("[]\n", "line 1 is no Jetstream event");
        check("{\"kind\":\"account\"}\n", "no post in any of the 1 stream files");
        let missing = Posts::load(&[directory.join("missing.jsonl")]).unwrap_err();
        assert!(format!("{missing:#}").contains("missing.jsonl"), "{missing:#}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
