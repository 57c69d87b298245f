//! Line plots as SVG, drawn here so that a page needs nothing from anywhere.
//!
//! Colours, fonts and the two themes are the page's style sheet; a plot only names classes.

use std::fmt::Write as _;
use std::ops::Range;

/// Size of a plot in its own units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the axes' labels.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Points of one line, at most: more than the pixels of a screen would only make the page heavy.
const POINTS_MAX: usize = 720;

/// A line.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub(super) name: String,
    /// In the order of `x`.
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    pub(super) fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), points }
    }
}

/// How lines share the plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// Each by itself.
    #[default]
    Lines,
    /// As areas on top of each other; all have the same `x`.
    Stacked,
    /// Each by itself, on a logarithmic scale.
    Logarithmic,
}

/// A plot with one scale on each side.
#[derive(Debug, Clone, Default)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// What is read off it, for those who cannot see it and for those who do not read axes.
    pub(super) caption: String,
    pub(super) unit: &'static str,
    pub(super) style: Style,
    pub(super) series: Vec<Series>,
    /// The length of the stream, seconds: what comes after it is shaded.
    pub(super) streamed_s: f64,
    /// Until when anything was seen, seconds: where all plots of a page end.
    pub(super) seen_s: f64,
    /// Instants with a word, seconds.
    pub(super) marks: Vec<(f64, &'static str)>,
}

impl Plot {
    /// The figure, with title, legend and caption.
    pub(super) fn figure(&self) -> String {
        let mut out = String::new();
        let title = super::escaped(self.title);
        let _ = write!(out, "<figure><figcaption><h3>{title}</h3>");
        if self.series.len() > 1 {
            out.push_str("<ul class=\"legend\">");
            for (n, series) in self.series.iter().enumerate() {
                let _ =
                    write!(out, "<li><i class=\"key s{}\"></i>{}</li>", n % 8, super::escaped(&series.name));
            }
            out.push_str("</ul>");
        }
        out.push_str("</figcaption>");
        self.draw(&mut out);
        let _ = write!(out, "<p class=\"caption\">{}</p></figure>", super::escaped(&self.caption));
        out
    }

    fn draw(&self, out: &mut String) {
        let layers = self.layers();
        let logarithmic = self.style == Style::Logarithmic;
        let scale = Scale { x: self.x_range(), y: self.y_range(&layers), logarithmic };
        let (title, caption) = (super::escaped(self.title), super::escaped(&self.caption));
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {caption}\"><title>{title}</title>"
        );
        if scale.x.end > self.streamed_s {
            let from = scale.x(self.streamed_s);
            let width = scale.x(scale.x.end) - from;
            let height = HEIGHT - TOP - BOTTOM;
            let _ = write!(
                out,
                "<rect class=\"after\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"/>"
            );
        }
        self.axes(&scale, out);
        for (at_s, word) in &self.marks {
            let at = scale.x(*at_s);
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"><title>{}</title></line>",
                HEIGHT - BOTTOM,
                super::escaped(word)
            );
        }
        for (n, layer) in layers.iter().enumerate().rev() {
            self.line(n, layer, &scale, out);
        }
        out.push_str("</svg>");
    }

    /// The lines as drawn: thinned out, and where they are stacked each on the sum of those before.
    fn layers(&self) -> Vec<Vec<(f64, f64)>> {
        let mut layers: Vec<Vec<(f64, f64)>> =
            self.series.iter().map(|series| thinned(&series.points)).collect();
        if self.style == Style::Stacked {
            for n in 1..layers.len() {
                let (below, above) = layers.split_at_mut(n);
                for (point, (_, base)) in above[0].iter_mut().zip(&below[n - 1]) {
                    point.1 += base;
                }
            }
        }
        layers
    }

    fn x_range(&self) -> Range<f64> {
        let last = |series: &Series| series.points.last().map_or(0.0, |(x, _)| *x);
        0.0..self
            .series
            .iter()
            .map(last)
            .fold(self.streamed_s.max(self.seen_s).max(f64::MIN_POSITIVE), f64::max)
    }

    fn y_range(&self, layers: &[Vec<(f64, f64)>]) -> Range<f64> {
        let values = || layers.iter().flatten().map(|(_, y)| *y);
        let most = values().fold(0.0, f64::max);
        if self.style == Style::Logarithmic {
            let least = values().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min).min(most.max(1.0));
            let low = 10_f64.powf(least.max(0.001).log10().floor());
            return low..10_f64.powf(most.max(low * 10.0).log10().ceil());
        }
        // A little air above the highest point, up to the next tick.
        let step = step(most.max(f64::MIN_POSITIVE), 5);
        0.0..if most > 0.0 { (most / step).ceil() * step } else { 1.0 }
    }

    fn axes(&self, scale: &Scale, out: &mut String) {
        let bottom = HEIGHT - BOTTOM;
        for y in scale.y_ticks() {
            let at = scale.y(y);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"tick y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                short(y)
            );
        }
        for x in ticks(scale.x.clone(), 8) {
            let at = scale.x(x);
            let _ = write!(
                out,
                "<text class=\"tick x\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 16.0,
                short(x)
            );
        }
        let _ = write!(
            out,
            "<text class=\"label x\" x=\"{:.1}\" y=\"{:.1}\">seconds since the stream began</text>\
             <text class=\"label y\" transform=\"translate(14 {:.1}) rotate(-90)\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            (TOP + bottom) / 2.0,
            super::escaped(self.unit)
        );
    }

    fn line(&self, n: usize, points: &[(f64, f64)], scale: &Scale, out: &mut String) {
        let class = n % 8;
        let place = |(x, y): &(f64, f64)| format!("{:.1} {:.1}", scale.x(*x), scale.y(*y));
        let path: Vec<String> = points.iter().map(place).collect();
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let path = path.join(" L");
        if self.style == Style::Stacked {
            let floor = HEIGHT - BOTTOM;
            let _ = write!(
                out,
                "<path class=\"area s{class}\" d=\"M{:.1} {floor} L{path} L{:.1} {floor} Z\"/>",
                scale.x(first.0),
                scale.x(last.0)
            );
        } else {
            let _ = write!(out, "<path class=\"line s{class}\" d=\"M{path}\"/>");
        }
    }
}

/// From values to places.
struct Scale {
    x: Range<f64>,
    y: Range<f64>,
    logarithmic: bool,
}

impl Scale {
    fn x(&self, x: f64) -> f64 {
        let part = (x - self.x.start) / (self.x.end - self.x.start);
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        let part = if self.logarithmic {
            let of = |y: f64| y.max(self.y.start).log10();
            (of(y) - of(self.y.start)) / (of(self.y.end) - of(self.y.start))
        } else {
            (y - self.y.start) / (self.y.end - self.y.start)
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn y_ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return ticks(self.y.clone(), 5);
        }
        let decades = self.y.start.log10().round() as i32..=self.y.end.log10().round() as i32;
        decades.map(|decade| 10_f64.powi(decade)).collect()
    }
}

/// One, two or five times a power of ten, such that about `count` of them make `span`.
fn step(span: f64, count: u32) -> f64 {
    let raw = span / f64::from(count);
    let power = 10_f64.powf(raw.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| raw <= times * power * 1.000_001);
    times.unwrap_or(10.0) * power
}

/// Round values within a range.
fn ticks(range: Range<f64>, count: u32) -> Vec<f64> {
    let step = step(range.end - range.start, count);
    let first = (range.start / step).ceil() as i64;
    let last = (range.end / step * 1.000_001).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// At most [`POINTS_MAX`] points; of each group the highest, so that no peak is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(POINTS_MAX).max(1);
    let highest = |group: &[(f64, f64)]| group.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(group).filter_map(highest).collect()
}

/// A number in few characters: 143k, 1.5M, 0.25.
pub(super) fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0..60.0, 8), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(ticks(0.0..1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0..143_199.0, 5), [0.0, 50_000.0, 100_000.0]);
    }

    #[test]
    fn numbers_are_short() {
        let check = |value, expected: &str| assert_eq!(short(value), expected);
        check(0.0, "0");
        check(0.25, "0.25");
        check(6_000.0, "6000");
        check(143_199.0, "143.199k");
        check(1_500_000.0, "1.5M");
    }

    #[test]
    fn thinning_keeps_the_peaks() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|n| (f64::from(n), 1.0)).collect();
        points[7_777].1 = 99.0;
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS_MAX);
        assert!(thin.contains(&(7_777.0, 99.0)));
    }

    #[test]
    fn stacked_lines_lie_on_each_other_and_nothing_leaves_the_plane() {
        let series = ["a", "b"].map(|name| Series::new(name, vec![(0.0, 1.0), (10.0, 2.0)]));
        let plot = Plot { style: Style::Stacked, series: series.into(), streamed_s: 10.0, ..Plot::default() };
        assert_eq!(plot.layers()[1], [(0.0, 2.0), (10.0, 4.0)]);
        let scale = Scale { x: 0.0..10.0, y: 0.0..4.0, logarithmic: false };
        assert_eq!((scale.x(20.0), scale.y(-1.0)), (WIDTH - RIGHT, HEIGHT - BOTTOM));
        let figure = plot.figure();
        assert!(figure.contains("role=\"img\"") && figure.contains("seconds since the stream began"));
        assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
    }

    #[test]
    fn a_plot_of_nothing_is_drawn_all_the_same() {
        for style in [Style::Lines, Style::Stacked, Style::Logarithmic] {
            let plot = Plot { style, series: vec![Series::default()], ..Plot::default() };
            let figure = plot.figure();
            assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
        }
    }
}
