//! `vigie report`: volumes, response times, service levels and satisfaction, and which factors foretold them.

use std::io::Write;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use super::print::{grouped, printable};
use super::{ConfigFile, Failure};
use crate::ledger::report::outcomes;

mod sums;

use sums::{Factor, Group, Sums};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Tickets made since then: 12h, 7d or 4w
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = seconds)]
    since: i64,
    /// What to tell apart, joined by commas
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        default_value = "brand,network,team,agent,intent"
    )]
    by: Vec<By>,
    /// As CSV: one line a group, then one a factor
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What groups of tickets have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    Brand,
    Network,
    Team,
    Agent,
    Intent,
    /// Hour of the week in UTC, as `mon 09`
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
            By::Hour => "hour",
        }
    }
}

fn seconds(text: &str) -> Result<i64, String> {
    let unit = match text.chars().last() {
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        Some('w') => 7 * 24 * 3600,
        _ => return Err("must be a number with h, d or w, as 7d".to_owned()),
    };
    let number = text.get(..text.len() - 1).and_then(|number| number.parse::<u32>().ok());
    number
        .filter(|number| *number > 0)
        .map(|number| i64::from(number) * unit)
        .ok_or("must be as 7d".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.file.load()?;
    let now_us = Timestamp::now().as_microsecond();
    let since_us = now_us.saturating_sub(arguments.since.saturating_mul(1_000_000));
    let mut sums = Sums::new(&arguments.by, now_us);
    let read = outcomes(&config.ledger.path, since_us, |outcome| sums.add(&outcome));
    read.map_err(|error| Failure::Fault(anyhow!(error)))?;
    let mut out = anstream::stdout().lock();
    let written = if arguments.json {
        writeln!(out, "{}", json_of(&sums))
    } else if arguments.csv {
        csv(&mut out, &sums)
    } else {
        table(&mut out, &sums)
    };
    Ok(written.context("stdout")?)
}

/// The groups to show, by what they share: all tickets first.
fn groups(sums: &Sums) -> impl Iterator<Item = (&'static str, &str, &Group)> {
    std::iter::once(("all", "all", &sums.all)).chain(
        sums.by.iter().flat_map(|(by, groups)| {
            groups.iter().map(move |(value, group)| (by.name(), value.as_str(), group))
        }),
    )
}

fn table(out: &mut impl Write, sums: &Sums) -> std::io::Result<()> {
    let mut kind = "";
    for (by, value, group) in groups(sums) {
        if by != kind {
            kind = by;
            writeln!(
                out,
                "{}{by:<24}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}{:>6}",
                if by == "all" { "" } else { "\n" },
                "tickets",
                "answered",
                "p50",
                "p90",
                "p99",
                "in time",
                "rated",
                "CSAT",
                "mean"
            )?;
        }
        let value = if value.is_empty() { "(none)".to_owned() } else { printable(value) };
        let time = |share| group.seconds(share).map_or("-".to_owned(), duration);
        let percent =
            |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
        writeln!(
            out,
            "{value:<24}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}{:>6}",
            grouped(group.tickets),
            grouped(group.answered),
            time(0.5),
            time(0.9),
            time(0.99),
            percent(group.in_time()),
            grouped(group.rated),
            percent(group.csat()),
            group.satisfaction().map_or("-".to_owned(), |mean| format!("{mean:.1}")),
        )?;
    }
    writeln!(
        out,
        "\n{:<24}{:>10}{:>19}{:>20}{:>8}",
        "factor", "tickets", "late with/without", "rating with/without", "r"
    )?;
    for (name, factor) in &sums.factors {
        let pair = |(with, without): (Option<f64>, Option<f64>), scale: f64, digits: usize| {
            let show = |value: Option<f64>| {
                value.map_or("-".to_owned(), |value| format!("{:.digits$}", scale * value))
            };
            format!("{} / {}", show(with), show(without))
        };
        writeln!(
            out,
            "{:<24}{:>10}{:>19}{:>20}{:>8}{}",
            printable(name),
            grouped(factor.tickets),
            pair(factor.late(&sums.all), 100.0, 0) + " %",
            pair(factor.ratings(&sums.all), 1.0, 2),
            factor.correlation(&sums.all).map_or("-".to_owned(), |r| format!("{r:+.2}")),
            if factor.is_telling(&sums.all) { "  look at its points" } else { "" },
        )?;
    }
    writeln!(
        out,
        "\nr: of a factor's points with being late, -1 to 1. Marked: 30 tickets with and without, and late 10 points apart."
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {:02}", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn csv(out: &mut impl Write, sums: &Sums) -> std::io::Result<()> {
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record([
        "by",
        "value",
        "tickets",
        "answered",
        "p50_s",
        "p90_s",
        "p99_s",
        "in_time",
        "rated",
        "csat",
        "satisfaction",
    ])?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    for (by, value, group) in groups(sums) {
        let time = |share| group.seconds(share).map_or(String::new(), |seconds| seconds.to_string());
        writer.write_record([
            by.to_owned(),
            value.to_owned(),
            group.tickets.to_string(),
            group.answered.to_string(),
            time(0.5),
            time(0.9),
            time(0.99),
            number(group.in_time()),
            group.rated.to_string(),
            number(group.csat()),
            number(group.satisfaction()),
        ])?;
    }
    writer.flush()
}

fn json_of(sums: &Sums) -> serde_json::Value {
    let group = |(by, value, group): (&str, &str, &Group)| {
        json!({
            "by": by, "value": value, "tickets": group.tickets, "answered": group.answered,
            "p50_s": group.seconds(0.5), "p90_s": group.seconds(0.9), "p99_s": group.seconds(0.99),
            "in_time": group.in_time(), "rated": group.rated, "csat": group.csat(),
            "satisfaction": group.satisfaction(),
        })
    };
    let factor = |(name, factor): (&String, &Factor)| {
        let ((late_with, late_without), (with, without)) =
            (factor.late(&sums.all), factor.ratings(&sums.all));
        json!({
            "name": name, "tickets": factor.tickets, "late_with": late_with, "late_without": late_without,
            "satisfaction_with": with, "satisfaction_without": without,
            "correlation": factor.correlation(&sums.all), "look_at": factor.is_telling(&sums.all),
        })
    };
    json!({
        "groups": groups(sums).map(group).collect::<Vec<_>>(),
        "factors": sums.factors.iter().map(factor).collect::<Vec<_>>(),
    })
}
