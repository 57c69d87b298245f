//! A CSV with a header of `title`, `url`, `text`, `lang` and `brand`, in any order; `title` and `text` are required.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, anyhow};

use super::{Intake, SOURCE_BYTES_MAX, decoded};
use crate::cli::Failure;
use crate::cli::import::csv::{Header, Splitter, miscounted, untaken};
use crate::cli::import::lines::{Lines, Taken};
use crate::ledger::articles::Article;

/// Longest article, in lines: a quote that is never closed is looked for so far.
const LINES_MAX: usize = 10_000;
const TITLE: [&str; 1] = ["title"];
const TEXT: [&str; 2] = ["text", "body"];
const URL: [&str; 1] = ["url"];
const LANGUAGE: [&str; 2] = ["lang", "language"];
const BRAND: [&str; 1] = ["brand"];

pub(super) fn read(path: &Path, intake: &mut Intake) -> Result<(), Failure> {
    let shown = path.display();
    let mut file = BufReader::new(File::open(path).with_context(|| shown.to_string())?);
    let has_mark = file.fill_buf().with_context(|| shown.to_string())?.starts_with(b"\xEF\xBB\xBF");
    file.consume(if has_mark { 3 } else { 0 });
    let bytes_max = usize::try_from(SOURCE_BYTES_MAX).unwrap_or(usize::MAX);
    let mut lines = Lines::within(file, bytes_max, LINES_MAX);
    // A name that is none of ours may be in any encoding.
    let decode = |name: &[u8]| Ok(String::from_utf8_lossy(name).into_owned());
    let known: [&[&str]; 5] = [&TITLE, &TEXT, &URL, &LANGUAGE, &BRAND];
    let is_known = |name: &str| known.iter().any(|names| names.contains(&name));
    let header = Header::read(&mut lines, decode, is_known)
        .map_err(|error| Failure::Mistake(error.context(shown.to_string())))?;
    let column = |names: &[&str]| header.names.iter().position(|name| names.contains(&name.as_str()));
    let (Some(title), Some(text)) = (column(&TITLE), column(&TEXT)) else {
        let found = header.names.join(", ");
        return Err(Failure::Mistake(anyhow!(
            "{shown}: the first line must name title and text, with , or ; or | or a tab between; it names {found:?}"
        )));
    };
    let columns = [Some(title), column(&URL), column(&LANGUAGE), column(&BRAND), Some(text)];
    let expected = header.names.len();
    let (mut record, mut splitter) = (Vec::new(), Splitter::new(header.separator));
    loop {
        // What was read until the disk failed is not the set.
        let (line, taken) = lines.record(&mut record, header.separator).with_context(|| shown.to_string())?;
        let place = format!("{shown}:{line}");
        if taken == Taken::End {
            return Ok(());
        }
        if let Some(reason) = untaken(taken, bytes_max) {
            intake.reject(&place, &reason)?;
            continue;
        }
        if record.trim_ascii().is_empty() {
            continue;
        }
        let found = splitter.split(&record, expected + 1);
        if found != Some(expected) {
            intake.reject(&place, &miscounted(found, expected))?;
            continue;
        }
        let field = |column: Option<usize>| {
            let bytes = column.and_then(|column| splitter.fields().nth(column)).unwrap_or_default();
            decoded(bytes.to_vec())
        };
        match columns.map(field) {
            [Ok(title), Ok(url), Ok(language), Ok(brand), Ok(text)] => {
                let headings = String::new();
                intake.take(&place, Article { title, url, language, brand, headings, text })?;
            }
            fields => {
                let reason = fields.into_iter().find_map(Result::err).unwrap_or_default();
                intake.reject(&place, &reason)?;
            }
        }
    }
}
