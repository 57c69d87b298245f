//! A report for a terminal.

use std::io::{self, Write};

use super::figures::{FactorFigures, Figures, Report};
use super::rank::{Correlation, TICKETS_MIN};
use super::{duration, percent, signed};
use crate::cli::print::{grouped, printable};

pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "tickets from {} to {}, {}\n", report.since, report.until, report.time_zone)?;
    let mut kind = "";
    for group in &report.groups {
        if group.by != kind {
            kind = group.by;
            let title = if kind == "time" { report.period } else { kind };
            writeln!(
                out,
                "{}{title:<24}{:>10}{:>10}{:>11}{:>11}{:>11}{:>9}{:>8}{:>7}{:>6}{:>6}{:>9}{:>11}",
                if kind == "all" { "" } else { "\n" },
                "tickets",
                "answered",
                "p50",
                "p90",
                "p99",
                "in time",
                "rated",
                "CSAT",
                "mean",
                "NPS",
                "solved",
                "solved p50"
            )?;
        }
        row(out, group)?;
    }
    writeln!(
        out,
        "\n{:<24}{:>10}{:>19}{:>20}{:>17}{:>17}",
        "factor", "tickets", "late with/without", "rating with/without", "time r (of)", "rating r (of)"
    )?;
    report.factors.iter().try_for_each(|factor| factor_row(out, factor))?;
    writeln!(
        out,
        "\nr: rank correlation of a factor's points, -1 to 1. Time above 0: the more points, the longer the answer took of \
         the time it had; rating below 0: the worse it was rated. Slow or bad is said where that is no chance: look at \
         those points. That two things go together does not say why. -: fewer than {TICKETS_MIN} tickets, or all ended \
         alike."
    )?;
    helpers(out, report)
}

fn row(out: &mut impl Write, group: &Figures) -> io::Result<()> {
    let time = |seconds: Option<u64>| or_dash(seconds.map(duration));
    writeln!(
        out,
        "{:<24}{:>10}{:>10}{:>11}{:>11}{:>11}{:>9}{:>8}{:>7}{:>6}{:>6}{:>9}{:>11}",
        if group.value.is_empty() { "(none)".to_owned() } else { printable(&group.value) },
        grouped(group.tickets),
        grouped(group.answered),
        time(group.p50_s),
        time(group.p90_s),
        time(group.p99_s),
        or_dash(group.in_time.map(percent)),
        grouped(group.rated),
        or_dash(group.csat.map(percent)),
        or_dash(group.satisfaction.map(|mean| format!("{mean:.1}"))),
        or_dash(group.nps.map(signed)),
        grouped(group.solved),
        time(group.solve_p50_s),
    )
}

fn factor_row(out: &mut impl Write, factor: &FactorFigures) -> io::Result<()> {
    let late = |share: Option<f64>| or_dash(share.map(|share| format!("{:.0}", 100.0 * share)));
    let rating = |mean: Option<f64>| or_dash(mean.map(|mean| format!("{mean:.2}")));
    let correlation = |found: Option<Correlation>| {
        or_dash(found.map(|found| format!("{:+.2} ({})", found.rho, grouped(found.tickets))))
    };
    writeln!(
        out,
        "{:<24}{:>10}{:>19}{:>20}{:>17}{:>17}  {}",
        printable(&factor.name),
        grouped(factor.tickets),
        format!("{} / {} %", late(factor.late_with), late(factor.late_without)),
        format!("{} / {}", rating(factor.satisfaction_with), rating(factor.satisfaction_without)),
        correlation(factor.time),
        correlation(factor.satisfaction),
        factor.foretells.join(", "),
    )
}

fn helpers(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.helpers.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{:>8}  {:<17}  {:<10}  helper", "thanked", "last", "network")?;
    for helper in &report.helpers {
        let account = printable(&helper.account);
        writeln!(out, "{:>8}  {:<17}  {:<10}  {account}", helper.thanked, helper.last, helper.network)?;
    }
    match report.helpers_beyond {
        0 => Ok(()),
        beyond => writeln!(out, "and {beyond} more: `vigie helpers`"),
    }
}

fn or_dash(shown: Option<String>) -> String {
    shown.unwrap_or_else(|| "-".to_owned())
}
