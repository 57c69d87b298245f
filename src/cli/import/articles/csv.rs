//! A CSV with a header of `title`, `url`, `text`, `lang` and `brand`, in any order; `title` and `text` are required.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, anyhow};
use csv::{ByteRecord, ReaderBuilder};

use super::{Intake, decoded};
use crate::cli::Failure;
use crate::ledger::articles::Article;

/// Largest file: a quote that is never closed makes one record of all that follows, and that is held in memory.
const FILE_BYTES_MAX: u64 = 256 << 20;

pub(super) fn read(path: &Path, intake: &mut Intake) -> Result<(), Failure> {
    let shown = path.display();
    let file = File::open(path).with_context(|| shown.to_string())?;
    if file.metadata().with_context(|| shown.to_string())?.len() > FILE_BYTES_MAX {
        return Err(Failure::Mistake(anyhow!(
            "{shown}: larger than {FILE_BYTES_MAX} bytes: export it as .ndjson"
        )));
    }
    let mut file = BufReader::new(file);
    let begin = file.fill_buf().with_context(|| shown.to_string())?;
    let first = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = delimiter(first);
    let has_mark = begin.starts_with(b"\xEF\xBB\xBF");
    file.consume(if has_mark { 3 } else { 0 });
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(file);
    let header =
        reader.byte_headers().map_err(|error| Failure::Mistake(anyhow!("{shown}: {error}")))?.clone();
    let column = |names: &[&str]| {
        header.iter().position(|name| {
            names.iter().any(|known| name.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
        })
    };
    let (title, text) = match (column(&["title"]), column(&["text", "body"])) {
        (Some(title), Some(text)) => (title, text),
        _ => {
            let found: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
            let found = found.join(", ");
            return Err(Failure::Mistake(anyhow!(
                "{shown}: the first line must name title and text, with , or ; or a tab between; it names {found:?}"
            )));
        }
    };
    let (url, language, brand) = (column(&["url"]), column(&["lang", "language"]), column(&["brand"]));
    let mut record = ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut record);
        let line = record.position().map_or(0, csv::Position::line);
        let place = format!("{shown}:{line}");
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // The disk, since no text is wrong for a flexible reader: what was read so far is not the set.
            Err(error) => return Err(Failure::Fault(anyhow!("{place}: {error}"))),
        }
        let field = |idx: Option<usize>| {
            let bytes = idx.and_then(|idx| record.get(idx)).unwrap_or_default();
            decoded(bytes.to_vec())
        };
        let fields = [Some(title), url, language, brand, Some(text)].map(field);
        match fields {
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

/// What stands between the names of the first line: a comma, unless there are more of another.
fn delimiter(first: &[u8]) -> u8 {
    let count = |delimiter: u8| first.iter().filter(|byte| **byte == delimiter).count();
    b",;\t".iter().copied().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_stands_between_fields() {
        assert_eq!(delimiter(b"title,url,text"), b',');
        assert_eq!(delimiter(b"title;url;text"), b';');
        assert_eq!(delimiter(b"title\turl\ttext"), b'\t');
        assert_eq!(delimiter(b"title"), b',');
    }
}
