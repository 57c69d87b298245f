//! `vigie classify`: texts in, probabilities out, in the same order.

use std::io::{BufRead, BufReader, Stdin, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};

use super::Failure;
use crate::classify::{self, Classifier, INTENTS, SENTIMENTS, URGENCIES, Verdict};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A folder with a model of your own (see models/README.md); the built-in one otherwise
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// ONNX Runtime's shared library; found by itself in the usual places
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn open(&self) -> Result<Classifier, Failure> {
        let config = classify::Config {
            model: self.model.clone(),
            library: self.library.clone(),
            ..classify::Config::default()
        };
        Ok(Classifier::open(&config)?)
    }
}

/// Lines classified together; stdin that comes slowly is answered line by line.
const LINES_MAX: usize = 256;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut classifier = arguments.open()?;
    let mut input = BufReader::new(std::io::stdin());
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    let mut texts = Vec::new();
    loop {
        texts.clear();
        let more = read_texts(&mut input, &mut texts)?;
        answer(&mut classifier, &texts, &mut output)?;
        if !more {
            return Ok(());
        }
    }
}

/// Reads one line and the whole lines that are there already; `false` at the end.
fn read_texts(input: &mut BufReader<Stdin>, texts: &mut Vec<String>) -> Result<bool, Failure> {
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).context("stdin")? == 0 {
            return Ok(false);
        }
        texts.push(text_of(&line));
        if texts.len() == LINES_MAX || !input.buffer().contains(&b'\n') {
            return Ok(true);
        }
    }
}

/// The line, or its `text` where the line is a JSON object with one.
fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(object)) => match object.get("text") {
            Some(Value::String(text)) => text.clone(),
            _ => String::from_utf8_lossy(line).into_owned(),
        },
        _ => String::from_utf8_lossy(line).into_owned(),
    }
}

fn answer(classifier: &mut Classifier, texts: &[String], output: &mut impl Write) -> Result<(), Failure> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut verdicts = Vec::with_capacity(texts.len());
    classifier.classify(&texts, &mut verdicts).map_err(anyhow::Error::from)?;
    for verdict in &verdicts {
        let line = to_json(verdict, classifier.model());
        writeln!(output, "{line}").context("stdout")?;
    }
    output.flush().context("stdout")?;
    Ok(())
}

/// The verdict as JSON: for each head its most probable label and every probability.
pub(super) fn to_json(verdict: &Verdict, model: &str) -> Value {
    json!({
        "sentiment": head(&SENTIMENTS, &verdict.sentiment),
        "intent": head(&INTENTS, &verdict.intent),
        "urgency": head(&URGENCIES, &verdict.urgency),
        "model": model,
    })
}

fn head(labels: &[&str], probabilities: &[f32]) -> Value {
    let mut object = Map::new();
    let best = labels.iter().zip(probabilities).max_by(|a, b| a.1.total_cmp(b.1));
    object.insert("label".to_owned(), json!(best.map(|(label, _)| label)));
    for (label, probability) in labels.iter().zip(probabilities) {
        object.insert((*label).to_owned(), json!((f64::from(*probability) * 1e4).round() / 1e4));
    }
    Value::Object(object)
}
