//! A report as CSV, for spreadsheets: one line a group, factor or helper, told apart by the first column.

use std::io::{self, Write};

use super::figures::{FactorFigures, Figures, HelperFigures, Report};
use super::rank::Correlation;
use crate::cli::print::printable;

const COLUMNS: [&str; 27] = [
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
    "solved",
    "solve_p50_s",
    // Of factors alone.
    "late_with",
    "late_without",
    "satisfaction_with",
    "satisfaction_without",
    "time_r",
    "time_r_of",
    "satisfaction_r",
    "satisfaction_r_of",
    "foretells",
    // Of helpers alone.
    "network",
    "thanked",
    "last",
];

pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    let groups = report.groups.iter().map(group_cells);
    let factors = report.factors.iter().map(factor_cells);
    let helpers = report.helpers.iter().map(helper_cells);
    for cells in groups.chain(factors).chain(helpers) {
        let cell = |column| cells.iter().find(|(named, _)| *named == column).map_or("", |(_, cell)| cell);
        writer.write_record(COLUMNS.map(cell))?;
    }
    writer.flush()
}

type Cells = Vec<(&'static str, String)>;

fn group_cells(group: &Figures) -> Cells {
    let seconds = |seconds: Option<u64>| seconds.map_or(String::new(), |seconds| seconds.to_string());
    vec![
        ("by", group.by.to_owned()),
        ("value", text(&group.value)),
        ("tickets", group.tickets.to_string()),
        ("answered", group.answered.to_string()),
        ("p50_s", seconds(group.p50_s)),
        ("p90_s", seconds(group.p90_s)),
        ("p99_s", seconds(group.p99_s)),
        ("in_time", number(group.in_time)),
        ("rated", group.rated.to_string()),
        ("csat", number(group.csat)),
        ("satisfaction", number(group.satisfaction)),
        ("recommended", group.recommended.to_string()),
        ("nps", number(group.nps)),
        ("solved", group.solved.to_string()),
        ("solve_p50_s", seconds(group.solve_p50_s)),
    ]
}

fn factor_cells(factor: &FactorFigures) -> Cells {
    let rho = |found: Option<Correlation>| number(found.map(|found| found.rho));
    let of = |found: Option<Correlation>| found.map_or(String::new(), |found| found.tickets.to_string());
    vec![
        ("by", "factor".to_owned()),
        ("value", text(&factor.name)),
        ("tickets", factor.tickets.to_string()),
        ("late_with", number(factor.late_with)),
        ("late_without", number(factor.late_without)),
        ("satisfaction_with", number(factor.satisfaction_with)),
        ("satisfaction_without", number(factor.satisfaction_without)),
        ("time_r", rho(factor.time)),
        ("time_r_of", of(factor.time)),
        ("satisfaction_r", rho(factor.satisfaction)),
        ("satisfaction_r_of", of(factor.satisfaction)),
        ("foretells", factor.foretells.join(" ")),
    ]
}

fn helper_cells(helper: &HelperFigures) -> Cells {
    vec![
        ("by", "helper".to_owned()),
        ("value", text(&helper.account)),
        ("network", helper.network.to_owned()),
        ("thanked", helper.thanked.to_string()),
        ("last", helper.last.clone()),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.4}"))
}

/// A name from outside, so that no spreadsheet takes it for a formula: with an apostrophe before it, as OWASP's page on
/// CSV injection says. Some programs look past blanks.
fn text(name: &str) -> String {
    let shown = printable(name);
    let is_formula = name.starts_with(['\t', '\r', '\n'])
        || shown.trim_start().starts_with(['=', '+', '-', '@', '=', '+', '-', '@']);
    if is_formula { format!("'{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_spreadsheet_would_compute_is_defused() {
        let check = |name: &str, cell: &str| assert_eq!(text(name), cell);
        check("=1+1", "'=1+1");
        check("+33 1 23", "'+33 1 23");
        check("-Lumio", "'-Lumio");
        check("@lumio", "'@lumio");
        check("\tLumio", "' Lumio");
        check("\r=1", "' =1");
        check("  =1", "'  =1");
        check("\u{200f}=1", "'=1");
        check("=1", "'=1");
        check("Lumio = light", "Lumio = light");
        check("", "");
    }

    #[test]
    fn every_cell_has_its_column() {
        let figures = Figures {
            by: "team",
            value: "=A1".to_owned(),
            tickets: 3,
            answered: 2,
            p50_s: Some(60),
            p90_s: None,
            p99_s: None,
            in_time: Some(0.5),
            rated: 1,
            csat: Some(0.0),
            satisfaction: Some(2.0),
            recommended: 1,
            nps: Some(-100.0),
            solved: 2,
            solve_p50_s: Some(7200),
        };
        let correlation = Some(Correlation { rho: -0.25, tickets: 90 });
        let factor = FactorFigures {
            name: "@reach".to_owned(),
            tickets: 40,
            late_with: Some(0.25),
            late_without: None,
            satisfaction_with: Some(3.0),
            satisfaction_without: Some(4.0),
            time: correlation,
            satisfaction: None,
            foretells: vec!["quick", "bad"],
        };
        let helper = HelperFigures {
            network: "x",
            account: "-77".to_owned(),
            thanked: 4,
            last: "2026-11-27 09:00".to_owned(),
        };
        let report = Report {
            since: String::new(),
            until: String::new(),
            time_zone: String::new(),
            period: "day",
            groups: vec![figures],
            factors: vec![factor],
            helpers: vec![helper],
            helpers_beyond: 0,
        };
        let mut out = Vec::new();
        write(&mut out, &report).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[1], "team,'=A1,3,2,60,,,0.5000,1,0.0000,2.0000,1,-100.0000,2,7200,,,,,,,,,,,,");
        assert_eq!(lines[2], "factor,'@reach,40,,,,,,,,,,,,,0.2500,,3.0000,4.0000,-0.2500,90,,,quick bad,,,");
        assert_eq!(lines[3], "helper,'-77,,,,,,,,,,,,,,,,,,,,,,,x,4,2026-11-27 09:00");
    }
}
