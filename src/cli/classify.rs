//! `vigie classify`: texts in, probabilities out, in the same order.

use std::io::{BufRead, BufReader, Stdin, Write};

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};

use super::Failure;
use super::model::ModelArguments;
use crate::classify::{Classifier, INTENTS, SENTIMENTS, URGENCIES, Verdict, best};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
}

/// Lines classified together; stdin that comes slowly is answered line by line.
const LINES_MAX: usize = 256;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut classifier = arguments.model.open()?;
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
        "lang": verdict.language.code(),
        "model": model,
    })
}

fn head(labels: &[&str], probabilities: &[f32]) -> Value {
    let mut object = Map::new();
    object.insert("label".to_owned(), json!(labels.get(best(probabilities))));
    for (label, probability) in labels.iter().zip(probabilities) {
        object.insert((*label).to_owned(), json!((f64::from(*probability) * 1e4).round() / 1e4));
    }
    Value::Object(object)
}
