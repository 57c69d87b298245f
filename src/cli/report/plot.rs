//! Plots over time as shapes in a drawing of [`WIDTH`] by [`HEIGHT`], which the page's template draws as SVG.

use serde::Serialize;

use super::figures::Figures;
use super::{duration, percent, signed};
use crate::cli::print::grouped;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 210.0;
/// Where the axes are.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 552.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 182.0;
/// Names below the axis; more would touch each other.
const NAMES_MAX: usize = 7;
/// Points that are marked each; of more only those that no line reaches.
const MARKED_MAX: usize = 40;

/// Times that an axis may have marks at.
const TIMES: [(u64, &str); 11] = [
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (6 * 3600, "6 h"),
    (24 * 3600, "1 d"),
    (7 * 24 * 3600, "7 d"),
    (30 * 24 * 3600, "30 d"),
    (365 * 24 * 3600, "1 year"),
    (3650 * 24 * 3600, "10 years"),
];

/// A plot with all that is said about it.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// The least and the most, in words.
    pub(super) about: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    marks: Vec<Mark>,
    names: Vec<Mark>,
    bars: Vec<Bar>,
    lines: Vec<Line>,
    /// Whether there is anything to draw.
    pub(super) has_data: bool,
}

/// A label at a place on an axis.
#[derive(Debug, Serialize)]
struct Mark {
    at: f64,
    label: String,
}

#[derive(Debug, Serialize)]
struct Bar {
    class: &'static str,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    tip: String,
}

#[derive(Debug, Serialize)]
struct Line {
    class: &'static str,
    label: &'static str,
    /// Path data: a stretch for each run of known values.
    path: String,
    dots: Vec<(f64, f64)>,
}

/// Where values are on the upright axis.
#[derive(Debug, Clone, Copy)]
struct Scale {
    least: f64,
    most: f64,
    is_logarithmic: bool,
}

impl Scale {
    fn y(self, value: f64) -> f64 {
        let place = |value: f64| if self.is_logarithmic { value.max(1.0).ln() } else { value };
        let (least, most) = (place(self.least), place(self.most));
        let part = ((place(value) - least) / (most - least)).clamp(0.0, 1.0);
        tenth(BOTTOM - part * (BOTTOM - TOP))
    }
}

/// The plots of a report over time; `period` is how long each of these stretches is.
pub(super) fn over_time(stretches: &[&Figures], period: &str) -> Vec<Plot> {
    vec![
        volumes(stretches, period),
        times(stretches),
        shares("in-time", "Answered in time", stretches, |stretch| stretch.in_time),
        shares("csat", "Satisfied customers (CSAT)", stretches, |stretch| stretch.csat),
        scores(stretches),
    ]
}

fn volumes(stretches: &[&Figures], period: &str) -> Plot {
    let most = stretches.iter().map(|stretch| stretch.tickets).max().unwrap_or(0);
    let (step, marks) = round_steps(most);
    let scale = Scale { least: 0.0, most: (step * marks) as f64, is_logarithmic: false };
    let marks = (0..=marks).map(|mark| mark * step);
    let marks = marks.map(|tickets| Mark { at: scale.y(tickets as f64), label: grouped(tickets) }).collect();
    let width = slot(stretches.len());
    let bar = |index: usize, class: &'static str, tickets: u64, stretch: &Figures| {
        let y = scale.y(tickets as f64);
        Bar {
            class,
            x: tenth(middle(index, stretches.len()) - 0.4 * width),
            y,
            width: tenth(0.8 * width),
            height: tenth(BOTTOM - y),
            tip: format!(
                "{}: {} tickets, {} answered",
                stretch.value,
                grouped(stretch.tickets),
                grouped(stretch.answered)
            ),
        }
    };
    let bars = stretches
        .iter()
        .enumerate()
        .flat_map(|(index, stretch)| {
            [bar(index, "all", stretch.tickets, stretch), bar(index, "answered", stretch.answered, stretch)]
        })
        .collect();
    let about = about(stretches, |stretch| Some(stretch.tickets as f64), |tickets| grouped(tickets as u64));
    let plot = Plot { marks, bars, has_data: most > 0, ..empty("volumes", stretches) };
    Plot { title: format!("Tickets, and those of them that are answered, per {period}"), about, ..plot }
}

fn times(stretches: &[&Figures]) -> Plot {
    let known =
        || stretches.iter().flat_map(|stretch| [stretch.p50_s, stretch.p90_s, stretch.p99_s]).flatten();
    let (least, most) = (known().min().unwrap_or(1), known().max().unwrap_or(1));
    let last = TIMES.len() - 1;
    let from = TIMES.iter().rposition(|(seconds, _)| *seconds <= least).unwrap_or(0).min(last - 1);
    let to = TIMES.iter().position(|(seconds, _)| *seconds >= most).unwrap_or(last).max(from + 1);
    let ticks = TIMES.get(from..=to).unwrap_or(&TIMES);
    let at = |index: usize| TIMES.get(index).map_or(1.0, |(seconds, _)| *seconds as f64);
    let scale = Scale { least: at(from), most: at(to), is_logarithmic: true };
    let marks = ticks
        .iter()
        .map(|(seconds, label)| Mark { at: scale.y(*seconds as f64), label: (*label).to_owned() })
        .collect();
    let line = |class, label, value: fn(&Figures) -> Option<u64>| {
        line(stretches, scale, class, label, &|stretch| value(stretch).map(|seconds| seconds as f64))
    };
    let lines = vec![
        line("third", "p99", |stretch| stretch.p99_s),
        line("second", "p90", |stretch| stretch.p90_s),
        line("first", "p50", |stretch| stretch.p50_s),
    ];
    let about = about(
        stretches,
        |stretch| stretch.p90_s.map(|seconds| seconds as f64),
        |seconds| format!("p90 {}", duration(seconds as u64)),
    );
    let plot = Plot { marks, lines, has_data: known().next().is_some(), ..empty("times", stretches) };
    Plot { title: "Time to the first answer".to_owned(), about, ..plot }
}

fn shares(
    id: &'static str,
    title: &str,
    stretches: &[&Figures],
    share: impl Fn(&Figures) -> Option<f64>,
) -> Plot {
    let scale = Scale { least: 0.0, most: 1.0, is_logarithmic: false };
    let marks = [0.0, 0.25, 0.5, 0.75, 1.0];
    let marks = marks.into_iter().map(|mark| Mark { at: scale.y(mark), label: percent(mark) }).collect();
    let lines = vec![line(stretches, scale, "first", "", &share)];
    let about = about(stretches, &share, percent);
    let has_data = stretches.iter().any(|stretch| share(stretch).is_some());
    Plot { title: title.to_owned(), about, marks, lines, has_data, ..empty(id, stretches) }
}

fn scores(stretches: &[&Figures]) -> Plot {
    let scale = Scale { least: -100.0, most: 100.0, is_logarithmic: false };
    let marks = [-100.0, -50.0, 0.0, 50.0, 100.0];
    let marks = marks.into_iter().map(|mark| Mark { at: scale.y(mark), label: signed(mark) }).collect();
    let lines = vec![line(stretches, scale, "first", "", &|stretch| stretch.nps)];
    let about = about(stretches, |stretch| stretch.nps, signed);
    let has_data = stretches.iter().any(|stretch| stretch.nps.is_some());
    let title = "Net promoter score (NPS)".to_owned();
    Plot { title, about, marks, lines, has_data, ..empty("nps", stretches) }
}

/// The drawing with the names of the stretches, before anything is in it.
fn empty(id: &'static str, stretches: &[&Figures]) -> Plot {
    let every = stretches.len().div_ceil(NAMES_MAX).max(1);
    let name = |(index, stretch): (usize, &&Figures)| Mark {
        at: tenth(middle(index, stretches.len())),
        label: short(&stretch.value).to_owned(),
    };
    Plot {
        id,
        title: String::new(),
        about: String::new(),
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: RIGHT,
        bottom: BOTTOM,
        marks: Vec::new(),
        names: stretches.iter().enumerate().step_by(every).map(name).collect(),
        bars: Vec::new(),
        lines: Vec::new(),
        has_data: false,
    }
}

fn line(
    stretches: &[&Figures],
    scale: Scale,
    class: &'static str,
    label: &'static str,
    value: &dyn Fn(&Figures) -> Option<f64>,
) -> Line {
    let points: Vec<Option<(f64, f64)>> = stretches
        .iter()
        .enumerate()
        .map(|(index, stretch)| Some((tenth(middle(index, stretches.len())), scale.y(value(stretch)?))))
        .collect();
    let (mut path, mut dots) = (String::new(), Vec::new());
    let mut is_drawing = false;
    for (index, point) in points.iter().enumerate() {
        let Some((x, y)) = point else {
            is_drawing = false;
            continue;
        };
        path.push_str(&format!("{}{x} {y}", if is_drawing { 'L' } else { 'M' }));
        let is_last = !matches!(points.get(index + 1), Some(Some(_)));
        if points.len() <= MARKED_MAX || (!is_drawing && is_last) {
            dots.push((*x, *y));
        }
        is_drawing = true;
    }
    Line { class, label, path, dots }
}

/// `lowest 3 % (2026-11-21), highest 97 % (2026-11-24)`; the earliest of several.
fn about(
    stretches: &[&Figures],
    value: impl Fn(&Figures) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> String {
    let known = || stretches.iter().filter_map(|stretch| Some((value(stretch)?, &stretch.value)));
    let least = known().min_by(|one, other| one.0.total_cmp(&other.0));
    let most = known().rev().max_by(|one, other| one.0.total_cmp(&other.0));
    match (least, most) {
        (Some((least, when)), Some((most, then))) if least < most => {
            format!("lowest {} ({when}), highest {} ({then})", show(least), show(most))
        }
        (Some((all, _)), _) => format!("{} throughout", show(all)),
        _ => String::new(),
    }
}

/// Round steps, at most five of them, that reach `most`: the step, and how many.
fn round_steps(most: u64) -> (u64, u64) {
    let mut unit = 1_u64;
    loop {
        for step in [1, 2, 5].map(|times| unit.saturating_mul(times)) {
            if most.div_ceil(step) <= 5 {
                return (step, most.div_ceil(step).max(1));
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// How wide each of so many stretches is, and where its middle is.
fn slot(stretches: usize) -> f64 {
    (RIGHT - LEFT) / stretches.max(1) as f64
}

fn middle(index: usize, stretches: usize) -> f64 {
    LEFT + (index as f64 + 0.5) * slot(stretches)
}

/// `11-27` of a day, `27 09:00` of an hour, `2026-11` of a month.
fn short(name: &str) -> &str {
    let skipped = match name.len() {
        16 | 23 => 8,
        10 => 5,
        _ => 0,
    };
    name.get(skipped..).unwrap_or(name)
}

fn tenth(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_few_and_reach_the_most() {
        let check = |most: u64, expected: (u64, u64)| assert_eq!(round_steps(most), expected, "{most}");
        check(0, (1, 1));
        check(1, (1, 1));
        check(5, (1, 5));
        check(6, (2, 3));
        check(10, (2, 5));
        check(11, (5, 3));
        check(101, (50, 3));
        check(1_000_000, (200_000, 5));
        for most in 1..5000 {
            let (step, steps) = round_steps(most);
            assert!(step * steps >= most && step * (steps - 1) < most && steps <= 5, "{most}");
        }
    }

    fn stretch(in_time: Option<f64>) -> Figures {
        Figures { by: "time", value: "2026-11-27".to_owned(), in_time, ..Figures::default() }
    }

    #[test]
    fn a_line_breaks_where_nothing_is_known_and_marks_what_it_does_not_reach() {
        let values = [Some(0.0), Some(1.0), None, Some(0.5)];
        let stretches: Vec<_> = values.into_iter().cycle().take(44).map(stretch).collect();
        let stretches: Vec<_> = stretches.iter().collect();
        let plots = over_time(&stretches, "day");
        let plot = plots.iter().find(|plot| plot.id == "in-time").unwrap();
        let path = &plot.lines[0].path;
        // 33 known: the first two, ten times three around where the values begin again, and the last alone.
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (12, 21), "{path}");
        assert!(path.starts_with(&format!("M{} {BOTTOM}L", tenth(middle(0, 44)))), "{path}");
        let y = tenth((TOP + BOTTOM) / 2.0);
        assert_eq!(plot.lines[0].dots, [(tenth(middle(43, 44)), y)], "the last is alone");
        assert_eq!(plot.about, "lowest 0 % (2026-11-27), highest 100 % (2026-11-27)");
        assert!(plot.has_data && plots.iter().filter(|plot| plot.has_data).count() == 1);
        assert!(plot.names.len() <= NAMES_MAX);
    }

    #[test]
    fn times_are_between_two_marks_whatever_they_are() {
        let check = |seconds: u64, labels: &[&str]| {
            let stretch = Figures { p50_s: Some(seconds), ..stretch(None) };
            let plot = times(&[&stretch]);
            let found: Vec<_> = plot.marks.iter().map(|mark| mark.label.as_str()).collect();
            assert_eq!(found, labels, "{seconds}");
            let (_, y) = plot.lines[2].dots[0];
            assert!((TOP..=BOTTOM).contains(&y), "{y}");
        };
        check(0, &["1 s", "10 s"]);
        check(1, &["1 s", "10 s"]);
        check(700, &["10 min", "1 h"]);
        check(u64::MAX, &["1 year", "10 years"]);
    }
}
