//! A report as one page: it opens from disk, asks nothing of the network, and runs no script.
//!
//! Whatever comes from outside (names of brands, teams, agents, factors and accounts) is escaped by the template engine
//! and stands in a `<bdi>`, so that it can neither become markup nor turn the text around it. Each figure is a
//! `<data value="…">` with the very number of `--json`.

use anyhow::Context;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::figures::{Figures, Report};
use super::periods::{HOURS, hour_name};
use super::plot::{self, Plot};
use super::{duration, percent, signed};
use crate::cli::print::{grouped, printable};

/// The `.html` of its name is what turns escaping on.
const NAME: &str = "report.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Rows of a table that are in sight; the rest is a click away.
const ROWS_IN_SIGHT: usize = 25;
/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 100;
/// Shades of the hour-of-week map above none.
const SHADES: u64 = 7;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What the template reads.
#[derive(Serialize)]
struct Page<'r> {
    style: &'static str,
    report: &'r Report,
    all: &'r Figures,
    plots: Vec<Plot>,
    stretches: Vec<&'r Figures>,
    hours: Vec<&'r Figures>,
    week: Vec<Day>,
    busiest: Option<&'r Figures>,
    kinds: Vec<Kind<'r>>,
    tickets_min: u64,
    rows_in_sight: usize,
}

#[derive(Serialize)]
struct Day {
    name: &'static str,
    hours: Vec<Hour>,
}

#[derive(Serialize)]
struct Hour {
    tickets: u64,
    /// 0: none, to [`SHADES`]: as many as in the busiest hour.
    shade: u64,
}

/// The groups of one kind, the largest first.
#[derive(Serialize)]
struct Kind<'r> {
    by: &'static str,
    title: String,
    most: u64,
    groups: Vec<&'r Figures>,
}

/// The whole page.
///
/// # Errors
///
/// Only a mistake in our own template.
pub(super) fn render(report: &Report) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.context("page")?);
    environment.add_filter("grouped", grouped);
    environment.add_filter("duration", duration);
    environment.add_filter("percent", percent);
    environment.add_filter("signed", signed);
    environment.add_filter("fixed", |value: f64, digits: usize| format!("{value:.digits$}"));
    environment.add_filter("rho", |value: f64| format!("{:+.2}", (100.0 * value).round() / 100.0 + 0.0));
    environment.add_filter("name", name);
    environment.add_template(NAME, TEMPLATE).context("page")?;
    let page = Page::new(report).context("a report of no tickets at all has a line for them")?;
    environment
        .get_template(NAME)
        .and_then(|page_of| page_of.render(Value::from(Serde(page))))
        .context("page")
}

impl<'r> Page<'r> {
    fn new(report: &'r Report) -> Option<Page<'r>> {
        let of = |by: &str| report.groups.iter().filter(|group| group.by == by).collect::<Vec<_>>();
        let (stretches, hours) = (of("time"), of("hour"));
        // The first of the busiest.
        let busiest = hours.iter().rev().max_by_key(|hour| hour.tickets).copied();
        let mut kinds: Vec<Kind<'r>> = Vec::new();
        for group in &report.groups {
            if ["all", "time", "hour"].contains(&group.by) {
                continue;
            }
            match kinds.last_mut().filter(|kind| kind.by == group.by) {
                Some(kind) => kind.groups.push(group),
                None => {
                    let title = format!("By {}", group.by);
                    kinds.push(Kind { by: group.by, title, most: 1, groups: vec![group] });
                }
            }
        }
        for kind in &mut kinds {
            kind.groups.sort_by_key(|group| std::cmp::Reverse(group.tickets));
            kind.most = kind.groups.first().map_or(1, |group| group.tickets.max(1));
        }
        Some(Page {
            style: STYLE,
            report,
            all: report.groups.first()?,
            plots: plot::over_time(&stretches, report.period),
            week: week(&hours, busiest.map_or(1, |hour| hour.tickets.max(1))),
            stretches,
            hours,
            busiest,
            kinds,
            tickets_min: super::rank::TICKETS_MIN,
            rows_in_sight: ROWS_IN_SIGHT,
        })
    }
}

/// All hours of a week; those without tickets have no figures.
fn week(hours: &[&Figures], most: u64) -> Vec<Day> {
    let hour = |hour: usize| {
        let name = hour_name(hour);
        let tickets = hours.iter().find(|figures| figures.value == name).map_or(0, |figures| figures.tickets);
        Hour { tickets, shade: tickets.saturating_mul(SHADES).div_ceil(most) }
    };
    let day = |(day, name): (usize, &'static str)| Day {
        name,
        hours: (day * HOURS / 7..(day + 1) * HOURS / 7).map(hour).collect(),
    };
    DAYS.into_iter().enumerate().map(day).collect()
}

/// A name from outside as it is shown: without what would steer the text, and not for ever.
fn name(text: &str) -> String {
    let mut shown = printable(text);
    if let Some((cut, _)) = shown.char_indices().nth(NAME_CHARS_MAX) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_none_to_the_busiest_hour() {
        let check = |tickets: u64, most: u64, shade: u64| {
            let hour = Figures { tickets, ..figures("hour", "tue 09") };
            assert_eq!(week(&[&hour], most)[1].hours[9].shade, shade, "{tickets} of {most}");
        };
        check(0, 70, 0);
        check(1, 70, 1);
        check(10, 70, 1);
        check(11, 70, 2);
        check(70, 70, 7);
        assert!(week(&[], 1).iter().all(|day| day.hours.len() == 24));
    }

    #[test]
    fn names_from_outside_become_text_and_nothing_else() {
        let hostile = "</td><script>alert(1)</script>\" onload='x' \u{202e}&amp;";
        let mut report = Report {
            since: "2026-11-20 09:00".to_owned(),
            until: "2026-11-27 09:00".to_owned(),
            time_zone: "UTC".to_owned(),
            period: "day",
            groups: vec![figures("all", "all"), figures("team", hostile), figures("brand", "{{ 7 * 7 }}")],
            factors: Vec::new(),
            helpers: Vec::new(),
            helpers_beyond: 0,
        };
        report.helpers.push(super::super::figures::HelperFigures {
            network: "x",
            account: hostile.to_owned(),
            thanked: 3,
            last: String::new(),
        });
        let page = render(&report).unwrap();
        let text = "<bdi>&lt;&#x2f;td&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;&quot; onload=&#x27;x&#x27; &amp;amp;</bdi>";
        assert_eq!(page.matches(text).count(), 2, "{page}");
        assert!(page.contains("<bdi>{{ 7 * 7 }}</bdi>"), "a name is no template");
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
        assert!(name(&"x".repeat(1000)).chars().count() == NAME_CHARS_MAX + 1);
    }

    fn figures(by: &'static str, value: &str) -> Figures {
        Figures { by, value: value.to_owned(), ..Figures::default() }
    }
}
