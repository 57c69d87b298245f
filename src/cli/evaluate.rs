//! `vigie evaluate`: how good the model is on posts that people have labelled.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;

use super::Failure;
use super::model::ModelArguments;
use crate::classify::Spent;

mod classes;
mod report;
mod rows;
mod score;

use classes::{Classes, Head, Mapping};
use report::Report;
use rows::{Rows, Wanted};
use score::Score;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: tweets labelled as complaint or not, judged by what the model takes for one:\n  \
    vigie evaluate tweets.tsv --head intent --map complaint=churn+problem+complaint \\\n    \
    --map none=help+feature+question+praise+other"
)]
pub(super) struct Arguments {
    /// Labelled posts: .tsv (with a header, never quoted), .csv (with a header, commas or semicolons), .ndjson or .jsonl (one object a
    /// line), or - for TSV on stdin
    file: PathBuf,
    /// Column with the text
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    text_column: String,
    /// Column with the label
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label_column: String,
    /// What the labels are about
    #[arg(long, value_enum, default_value = "sentiment")]
    head: Head,
    /// A label of the file that stands for several of the model's: the prediction is then among such labels
    #[arg(long, value_name = "LABEL=a+b+c", value_parser = Mapping::parse)]
    map: Vec<Mapping>,
    /// Only rows with this value in this column
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = condition)]
    only: Vec<(String, String)>,
    #[command(flatten)]
    model: ModelArguments,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn condition(text: &str) -> Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or("must be COLUMN=VALUE")?;
    Ok((column.to_owned(), value.to_owned()))
}

/// Rows classified together: enough that every batch has rows of like length.
const ROWS_MAX: usize = 1024;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mistaken = |reason: String| Failure::Mistake(anyhow!("{reason}"));
    let Arguments { file, text_column, label_column, head, map, only, model, json } = arguments;
    let classes = Classes::new(*head, map).map_err(mistaken)?;
    let wanted = Wanted { text_column, label_column, only };
    let Rows { rows, unlabelled, textless, left_out } =
        rows::read(file, &wanted).map_err(Failure::Mistake)?;
    let actual = rows.iter().map(|row| {
        let wrong = |must| format!("line {}: {label_column} = {:?}: {must}", row.line, row.label);
        classes.of_label(&row.label).map_err(wrong)
    });
    let actual: Vec<usize> = actual
        .collect::<Result<_, _>>()
        .map_err(|reason| mistaken(format!("{}: {reason}", rows::name(file))))?;

    let mut classifier = model.open()?;
    let mut score = Score::new(classes.names().count());
    let (mut verdicts, mut probabilities) = (Vec::new(), Vec::new());
    let mut took = Duration::ZERO;
    for (rows, actual) in rows.chunks(ROWS_MAX).zip(actual.chunks(ROWS_MAX)) {
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        verdicts.clear();
        let began = Instant::now();
        classifier.classify(&texts, &mut verdicts).map_err(anyhow::Error::from)?;
        took += began.elapsed();
        for (verdict, actual) in verdicts.iter().zip(actual) {
            classes.probabilities(verdict, &mut probabilities);
            score.add(*actual, &probabilities);
        }
    }
    let Spent { reading, network } = classifier.spent();
    let report = Report {
        file: rows::name(file),
        head: head.name(),
        rows: score.rows(),
        unlabelled,
        textless,
        left_out,
        model: classifier.model().to_owned(),
        runtime: classifier.runtime().to_owned(),
        accuracy: score.accuracy(),
        macro_f1: score.macro_f1(),
        macro_recall: score.macro_recall(),
        classes: report::classes(classes.names(), &score),
        expected_calibration_error: score.calibration_error(),
        calibration: score.bins(),
        posts_per_s: report::Rates::new(score.rows(), took, reading, network),
    };
    if *json {
        let json = serde_json::to_string_pretty(&report).context("report")?;
        writeln!(std::io::stdout(), "{json}").context("stdout")?;
    } else {
        report.print(&mut anstream::stdout().lock()).context("stdout")?;
    }
    Ok(())
}
