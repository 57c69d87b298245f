//! What `vigie evaluate` found, for people and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use serde::Serialize;

use super::score::{BINS, BinScore, ClassScore, Score};

const BOLD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();

/// Everything that is printed; as JSON the keys are the fields' names.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) file: String,
    pub(super) head: &'static str,
    pub(super) rows: u64,
    pub(super) unlabelled: u64,
    pub(super) textless: u64,
    pub(super) left_out: u64,
    pub(super) model: String,
    pub(super) runtime: String,
    pub(super) accuracy: f64,
    pub(super) macro_f1: f64,
    pub(super) macro_recall: f64,
    pub(super) classes: Vec<Class>,
    pub(super) expected_calibration_error: f64,
    pub(super) calibration: Vec<BinScore>,
    pub(super) posts_per_s: Rates,
}

/// One class with what its rows were taken for.
#[derive(Debug, Serialize)]
pub(super) struct Class {
    label: String,
    #[serde(flatten)]
    score: ClassScore,
    predicted: BTreeMap<String, u64>,
}

/// Posts per second; 0 where no time was measured.
#[derive(Debug, Serialize)]
pub(super) struct Rates {
    /// Of the whole classifier.
    whole: f64,
    /// Of normalising, telling the language and making ids.
    reading: f64,
    /// Of the graph.
    network: f64,
}

impl Rates {
    pub(super) fn new(posts: u64, whole: Duration, reading: Duration, network: Duration) -> Self {
        let rate = |took: Duration| if took.is_zero() { 0.0 } else { posts as f64 / took.as_secs_f64() };
        Self { whole: rate(whole), reading: rate(reading), network: rate(network) }
    }
}

/// The classes in their order.
pub(super) fn classes<'n>(names: impl Iterator<Item = &'n str> + Clone, score: &Score) -> Vec<Class> {
    let all = names.clone();
    let class = |(actual, (name, of_class)): (usize, (&str, ClassScore))| Class {
        label: name.to_owned(),
        score: of_class,
        predicted: all
            .clone()
            .enumerate()
            .map(|(predicted, name)| (name.to_owned(), score.confused(actual, predicted)))
            .collect(),
    };
    names.zip(score.classes()).enumerate().map(class).collect()
}

impl Report {
    /// Writes it as tables.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { file, head, rows, unlabelled, textless, left_out, model, runtime, .. } = self;
        writeln!(out, "{BOLD}{file}{BOLD:#}  {head} of {rows} rows, by {model} on {runtime}")?;
        if *unlabelled > 0 {
            writeln!(out, "  {unlabelled} rows skipped: their label is empty")?;
        }
        if *textless > 0 {
            writeln!(out, "  {textless} rows skipped: their text is empty")?;
        }
        if *left_out > 0 {
            writeln!(out, "  {left_out} rows left out by --where")?;
        }
        let occur = self.classes.iter().filter(|class| class.score.rows > 0).count();
        let mean = format!("{QUIET}mean over the {occur} labels that occur{QUIET:#}");
        writeln!(out, "\n  accuracy      {:.3}", self.accuracy)?;
        writeln!(out, "  macro F1      {:.3}   {mean}", self.macro_f1)?;
        writeln!(out, "  macro recall  {:.3}   {mean}", self.macro_recall)?;
        self.classes(out)?;
        self.confusion(out)?;
        self.calibration(out)?;
        let Rates { whole, reading, network } = self.posts_per_s;
        writeln!(
            out,
            "\n{BOLD}speed{BOLD:#}   {whole:.0} posts/s   {QUIET}reading alone {reading:.0}, network alone {network:.0}{QUIET:#}"
        )
    }

    /// Wide enough for the longest label.
    fn width(&self) -> usize {
        self.classes.iter().map(|class| class.label.chars().count()).max().unwrap_or(0).max("label".len())
    }

    fn classes(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self.width();
        writeln!(out, "\n  {BOLD}{:<width$}{BOLD:#}    rows  precision  recall     F1", "label")?;
        for Class { label, score: ClassScore { rows, precision, recall, f1 }, .. } in &self.classes {
            writeln!(out, "  {label:<width$}  {rows:>6}  {precision:>9.3}  {recall:>6.3}  {f1:>5.3}")?;
        }
        Ok(())
    }

    fn confusion(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self.width();
        write!(out, "\n  {BOLD}{:<width$}{BOLD:#}", "found")?;
        let columns: Vec<(&str, usize)> = self
            .classes
            .iter()
            .map(|class| (class.label.as_str(), class.label.chars().count().max(6)))
            .collect();
        for (label, width) in &columns {
            write!(out, "  {label:>width$}")?;
        }
        writeln!(out, "   {QUIET}a row for each label in the file, a column for each prediction{QUIET:#}")?;
        for class in &self.classes {
            write!(out, "  {:<width$}", class.label)?;
            for (label, width) in &columns {
                write!(out, "  {:>width$}", class.predicted.get(*label).copied().unwrap_or(0))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn calibration(&self, out: &mut impl Write) -> io::Result<()> {
        let error = self.expected_calibration_error;
        writeln!(out, "\n{BOLD}calibration{BOLD:#}   expected calibration error {error:.3}")?;
        writeln!(out, "  confidence    rows    mean  accuracy")?;
        for BinScore { from, rows, confidence, accuracy } in &self.calibration {
            let to = from + 1.0 / BINS as f64;
            writeln!(out, "  {from:.1} to {to:.1}  {rows:>6}  {confidence:>6.3}  {accuracy:>8.3}")?;
        }
        Ok(())
    }
}
