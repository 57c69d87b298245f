//! `vigie report`: volumes, response times, service levels and satisfaction, and which factors foretold them.

use std::io::Write;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use super::{Failure, LedgerFile};
use crate::ledger::conversations::timeline::list_helpers;
use crate::ledger::report::outcomes;

mod periods;
mod rank;
mod factors;
mod sums;
mod figures;
mod table;
mod sheet;
mod plot;
mod page;

use figures::Report;
use periods::Periods;
use sums::Sums;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    ledger: LedgerFile,
    /// Tickets made since then: 90m, 12h, 7d or 4w
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = super::since::span)]
    since: SignedDuration,
    /// What to tell apart, joined by commas
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        default_value = "brand,network,team,agent,intent"
    )]
    by: Vec<By>,
    /// As CSV: one line a group, factor or helper. Names that begin with = + - @ or a tab get an apostrophe before them:
    /// spreadsheets would compute them
    #[arg(long, group = "form")]
    csv: bool,
    /// As one JSON object
    #[arg(long, group = "form")]
    json: bool,
    /// As a page with plots, in one file for a browser or a printer: `vigie report --html > report.html`
    #[arg(long, group = "form")]
    html: bool,
}

/// What groups of tickets have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    Brand,
    Network,
    Team,
    Agent,
    Intent,
    /// Hours, days, weeks or months, as long as the time that is asked for
    Time,
    /// Hour of the week by the clock of [desk] time_zone, as `mon 09`
    Hour,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Brand => "brand",
            By::Network => "network",
            By::Team => "team",
            By::Agent => "agent",
            By::Intent => "intent",
            By::Time => "time",
            By::Hour => "hour",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.ledger.load()?;
    let now = Timestamp::now();
    let since = now.saturating_sub(arguments.since).unwrap_or(Timestamp::UNIX_EPOCH);
    let zone = config.desk.expectations.zone.clone();
    let by = asked(arguments);
    let mut sums = Sums::new(&by, Periods::new(since, now, zone.clone()), now.as_microsecond());
    let since_us = since.as_microsecond();
    let read = outcomes(&config.ledger.path, since_us, |outcome| sums.add(&outcome));
    read.map_err(|error| Failure::Fault(anyhow!(error)))?;
    let helpers = match config.desk.conversation.thanked_min {
        // Nobody counts as one.
        0 => Vec::new(),
        least => list_helpers(&config.ledger.path, least.into(), since).map_err(|error| anyhow!(error))?,
    };
    let report = Report::new(&sums, &by, (since, now), &zone, &helpers);
    let mut out = std::io::stdout().lock();
    let written = if arguments.html {
        out.write_all(page::render(&report)?.as_bytes())
    } else if arguments.json {
        serde_json::to_writer(&mut out, &report).map_err(Into::into).and_then(|()| writeln!(out))
    } else if arguments.csv {
        sheet::write(&mut out, &report)
    } else {
        table::write(&mut out, &report)
    };
    Ok(written.and_then(|()| out.flush()).context("stdout")?)
}

/// What to tell apart, each once; a page has always plots over time and over the week.
fn asked(arguments: &Arguments) -> Vec<By> {
    let of_page: &[By] = if arguments.html { &[By::Time, By::Hour] } else { &[] };
    let mut asked = Vec::new();
    for by in arguments.by.iter().chain(of_page) {
        if !asked.contains(by) {
            asked.push(*by);
        }
    }
    asked
}

/// In two units, so that what is cut is less than a percentile is off by itself.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02}", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {:02}", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn signed(score: f64) -> String {
    // Never `-0`.
    format!("{:+.0}", score.round() + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_two_units() {
        let check = |seconds: u64, shown: &str| assert_eq!(duration(seconds), shown);
        check(59, "59 s");
        check(60, "1 min 00");
        check(119, "1 min 59");
        check(3599, "59 min 59");
        check(3600, "1 h 00");
        check(71 * 3600, "2 d 23 h");
        check(30 * 86_400 + 7200, "30 d 02 h");
    }
}
