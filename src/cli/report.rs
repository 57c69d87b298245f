//! `vigie report`: volumes, response times, service levels and satisfaction, and which factors foretold them.

use std::io::Write;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::print::{grouped, printable};
use super::{ConfigFile, Failure};
use crate::ledger::report::outcomes;

mod factors;
mod periods;
mod rank;
mod sums;

use factors::Factor;
use periods::{Periods, hour_name};
use rank::Correlation;
use sums::{Group, Sums};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
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
    /// As CSV: one line a group
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
    let config = arguments.file.load()?;
    let now = Timestamp::now();
    let since = now.saturating_sub(arguments.since).unwrap_or(Timestamp::UNIX_EPOCH);
    let zone = config.desk.expectations.zone.clone();
    let said = Said::new(since, now, &zone);
    let mut sums = Sums::new(&arguments.by, Periods::new(since, now, zone), now.as_microsecond());
    let since_us = since.as_microsecond();
    let read = outcomes(&config.ledger.path, since_us, |outcome| sums.add(&outcome));
    read.map_err(|error| Failure::Fault(anyhow!(error)))?;
    let mut out = anstream::stdout().lock();
    let written = if arguments.json {
        writeln!(out, "{}", json_of(&sums, &arguments.by, &said))
    } else if arguments.csv {
        csv(&mut out, &sums, &arguments.by)
    } else {
        table(&mut out, &sums, &arguments.by, &said)
    };
    Ok(written.context("stdout")?)
}

/// What time a report is about, by whose clock.
struct Said {
    since: String,
    until: String,
    zone: String,
}

impl Said {
    fn new(since: Timestamp, until: Timestamp, zone: &jiff::tz::TimeZone) -> Said {
        let show = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        Said { since: show(since), until: show(until), zone: zone.iana_name().unwrap_or("UTC").to_owned() }
    }
}

/// The groups to show, by what they share: all tickets first, hours in the order of the week.
fn groups<'s>(sums: &'s Sums, by: &[By]) -> Vec<(&'static str, String, &'s Group)> {
    let mut groups = vec![("all", "all".to_owned(), &sums.all)];
    for by in by {
        match by {
            By::Time => {
                let unit = sums.periods.unit();
                let named = sums.periods.names().zip(&sums.over_time);
                groups.extend(named.map(|(name, group)| (unit, name, group)));
            }
            By::Hour => {
                let hours = sums.hours.iter().enumerate().filter(|(_, group)| group.tickets > 0);
                groups.extend(hours.map(|(hour, group)| ("hour", hour_name(hour), group)));
            }
            _ => {
                let kind = sums.by.iter().find(|(kind, _)| kind == by);
                let named = kind.into_iter().flat_map(|(_, groups)| groups);
                groups.extend(named.map(|(name, group)| (by.name(), name.clone(), group)));
            }
        }
    }
    groups
}

fn table(out: &mut impl Write, sums: &Sums, by: &[By], said: &Said) -> std::io::Result<()> {
    writeln!(out, "tickets from {} to {}, {}\n", said.since, said.until, said.zone)?;
    let mut kind = "";
    for (by, value, group) in groups(sums, by) {
        if by != kind {
            kind = by;
            writeln!(
                out,
                "{}{by:<24}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}{:>6}{:>6}",
                if by == "all" { "" } else { "\n" },
                "tickets",
                "answered",
                "p50",
                "p90",
                "p99",
                "in time",
                "rated",
                "CSAT",
                "mean",
                "NPS"
            )?;
        }
        let value = if value.is_empty() { "(none)".to_owned() } else { printable(&value) };
        let time = |share| group.seconds(share).map_or("-".to_owned(), duration);
        let percent =
            |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
        writeln!(
            out,
            "{value:<24}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}{:>6}{:>6}",
            grouped(group.tickets),
            grouped(group.answered),
            time(0.5),
            time(0.9),
            time(0.99),
            percent(group.in_time()),
            grouped(group.rated),
            percent(group.csat()),
            group.satisfaction().map_or("-".to_owned(), |mean| format!("{mean:.1}")),
            group.nps().map_or("-".to_owned(), |score| format!("{score:+.0}")),
        )?;
    }
    writeln!(
        out,
        "\n{:<24}{:>10}{:>19}{:>20}{:>17}{:>17}",
        "factor", "tickets", "late with/without", "rating with/without", "time r (of)", "rating r (of)"
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
            "{:<24}{:>10}{:>19}{:>20}{:>17}{:>17}  {}",
            printable(name),
            grouped(factor.tickets),
            pair(factor.late(&sums.all), 100.0, 0) + " %",
            pair(factor.ratings(&sums.all), 1.0, 2),
            correlation(factor.time(&sums.times)),
            correlation(factor.rating(&sums.ratings)),
            foretells(factor, sums).join(", "),
        )?;
    }
    writeln!(
        out,
        "\nr: rank correlation of a factor's points, -1 to 1. Time above 0: the more points, the longer the answer took of \
         the time it had; rating below 0: the worse it was rated. Slow or bad is said where that is no chance: look at \
         those points. That two things go together does not say why. -: fewer than {} tickets, or all ended alike.",
        rank::TICKETS_MIN
    )
}

fn correlation(found: Option<Correlation>) -> String {
    found.map_or("-".to_owned(), |found| format!("{:+.2} ({})", found.rho, grouped(found.tickets)))
}

/// What more points of a factor went with, where that is telling.
fn foretells(factor: &Factor, sums: &Sums) -> Vec<&'static str> {
    let word = |found: Option<Correlation>, above: &'static str, below: &'static str| {
        found.filter(|found| found.is_telling()).map(|found| if found.rho > 0.0 { above } else { below })
    };
    let time = word(factor.time(&sums.times), "slow", "quick");
    time.into_iter().chain(word(factor.rating(&sums.ratings), "good", "bad")).collect()
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {:02}", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn csv(out: &mut impl Write, sums: &Sums, by: &[By]) -> std::io::Result<()> {
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
        "recommended",
        "nps",
    ])?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    for (by, value, group) in groups(sums, by) {
        let time = |share| group.seconds(share).map_or(String::new(), |seconds| seconds.to_string());
        writer.write_record([
            by.to_owned(),
            value,
            group.tickets.to_string(),
            group.answered.to_string(),
            time(0.5),
            time(0.9),
            time(0.99),
            number(group.in_time()),
            group.rated.to_string(),
            number(group.csat()),
            number(group.satisfaction()),
            group.recommended.to_string(),
            number(group.nps()),
        ])?;
    }
    writer.flush()
}

fn json_of(sums: &Sums, by: &[By], said: &Said) -> serde_json::Value {
    let group = |(by, value, group): (&str, String, &Group)| {
        json!({
            "by": by, "value": value, "tickets": group.tickets, "answered": group.answered,
            "p50_s": group.seconds(0.5), "p90_s": group.seconds(0.9), "p99_s": group.seconds(0.99),
            "in_time": group.in_time(), "rated": group.rated, "csat": group.csat(),
            "satisfaction": group.satisfaction(), "recommended": group.recommended, "nps": group.nps(),
        })
    };
    let factor = |(name, factor): (&String, &Factor)| {
        let ((late_with, late_without), (with, without)) =
            (factor.late(&sums.all), factor.ratings(&sums.all));
        json!({
            "name": name, "tickets": factor.tickets, "late_with": late_with, "late_without": late_without,
            "satisfaction_with": with, "satisfaction_without": without,
            "time": factor.time(&sums.times), "satisfaction": factor.rating(&sums.ratings),
            "foretells": foretells(factor, sums),
        })
    };
    json!({
        "since": said.since, "until": said.until, "time_zone": said.zone,
        "groups": groups(sums, by).into_iter().map(group).collect::<Vec<_>>(),
        "factors": sums.factors.iter().map(factor).collect::<Vec<_>>(),
    })
}
