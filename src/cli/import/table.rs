//! Rows of a CSV or NDJSON file as texts by column: separators, quotes, encodings and headers end here.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow};

use super::csv::{Header, Splitter, miscounted, untaken};
use super::fields::number;
use super::lines::{Lines, Taken};
use super::{Encoding, FileFormat};

/// Read ahead.
const BUFFER_BYTES: usize = 256 * 1024;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The columns that a kind of file may have.
#[derive(Debug)]
pub(super) struct Columns {
    /// What the rows are.
    pub(super) what: &'static str,
    pub(super) names: &'static [&'static str],
    /// One of each of these must be there.
    pub(super) needed: &'static [&'static [&'static str]],
}

impl Columns {
    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// Words about a name that is none of ours.
    fn unknown(&self, name: &str) -> String {
        let near = self
            .names
            .iter()
            .map(|known| (strsim::damerau_levenshtein(name, known), *known))
            .filter(|(distance, known)| *distance <= 2.min(known.len() / 2))
            .min();
        match near {
            Some((_, near)) => format!("{name:?} (did you mean {near}?)"),
            None => format!("{name:?}"),
        }
    }
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// `None`: as its name or its first character says.
    pub(super) format: Option<FileFormat>,
    pub(super) encoding: Encoding,
    pub(super) ignore_unknown: bool,
}

/// One row's texts by column; kept from row to row for its buffers.
#[derive(Debug, Default)]
pub(super) struct Cells {
    line: u64,
    given: Vec<bool>,
    texts: Vec<String>,
}

impl Cells {
    /// The row's first line in the file.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum()
    }

    /// The text of a column, if the row has it.
    pub(super) fn get(&self, column: usize) -> Option<&str> {
        self.given
            .get(column)
            .copied()
            .unwrap_or_default()
            .then(|| self.texts.get(column).map(String::as_str))?
    }

    fn clear(&mut self, columns: usize) {
        self.given.clear();
        self.given.resize(columns, false);
        self.texts.resize(columns, String::new());
        self.texts.iter_mut().for_each(String::clear);
    }

    fn text(&mut self, column: usize) -> Option<&mut String> {
        *self.given.get_mut(column)? = true;
        self.texts.get_mut(column)
    }
}

/// A file being read.
pub(super) struct Table {
    lines: Lines<Box<dyn BufRead + Send>>,
    columns: &'static Columns,
    options: Options,
    record: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Ndjson,
    Csv(Box<Csv>),
}

struct Csv {
    separator: u8,
    separated_by: &'static str,
    splitter: Splitter,
    /// Where each field of a row goes; `None`: nowhere.
    places: Vec<Option<usize>>,
}

impl Table {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    ///
    /// The operator must mend something: the file, its header, or how it is to be read.
    pub(super) fn open(path: &Path, columns: &'static Columns, options: Options) -> anyhow::Result<Table> {
        let shown = path.display().to_string();
        let inner: Box<dyn Read + Send> = match shown.as_str() {
            "-" => Box::new(std::io::stdin()),
            _ => Box::new(File::open(path).with_context(|| shown.clone())?),
        };
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let by_name = match extension.as_deref() {
            Some("ndjson" | "jsonl" | "json") => Some(FileFormat::Ndjson),
            Some("csv" | "tsv" | "txt") => Some(FileFormat::Csv),
            _ => None,
        };
        let options = Options { format: options.format.or(by_name), ..options };
        Table::over(inner, columns, options).map_err(|error| error.context(shown))
    }

    /// The same over anything that gives bytes.
    pub(super) fn over(
        inner: impl Read + Send + 'static,
        columns: &'static Columns,
        options: Options,
    ) -> anyhow::Result<Table> {
        let mut inner = BufReader::with_capacity(BUFFER_BYTES, inner);
        let start = first_bytes(&mut inner)?;
        if start.is_empty() {
            return Err(anyhow!("the file is empty"));
        }
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(anyhow!("is UTF-16: save it as UTF-8 (in a spreadsheet: \"CSV UTF-8\")"));
        }
        if start.starts_with(b"PK\x03\x04") {
            return Err(anyhow!("is a spreadsheet or another archive: export it as CSV"));
        }
        let mark = if start.starts_with(UTF8_MARK) { UTF8_MARK.len() } else { 0 };
        let looks_like_json = start.get(mark..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
        let format =
            options.format.unwrap_or(if looks_like_json { FileFormat::Ndjson } else { FileFormat::Csv });
        inner.consume(mark);
        let mut lines: Lines<Box<dyn BufRead + Send>> = Lines::new(Box::new(inner));
        let kind = match format {
            FileFormat::Ndjson => Kind::Ndjson,
            FileFormat::Csv if looks_like_json => {
                return Err(anyhow!("line 1 begins with {{: if the file is NDJSON, say --format ndjson"));
            }
            FileFormat::Csv => Kind::Csv(Box::new(header(&mut lines, columns, options)?)),
        };
        Ok(Table { lines, columns, options, record: Vec::new(), kind })
    }

    /// What the file was taken for.
    pub(super) fn described(&self) -> String {
        match &self.kind {
            Kind::Ndjson => "NDJSON".to_owned(),
            Kind::Csv(csv) => format!("CSV separated by {}", csv.separated_by),
        }
    }

    /// What is wrong with a file of which there was no row.
    pub(super) fn without_rows(&self) -> &'static str {
        match self.kind {
            Kind::Ndjson => "the file holds no row",
            Kind::Csv(_) => "there is a header, and no row after it",
        }
    }

    /// The next row's texts into `cells`; the inner error is why the row is rejected. `None` at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be read any further.
    pub(super) fn next(&mut self, cells: &mut Cells) -> anyhow::Result<Option<Result<(), String>>> {
        loop {
            let separator = match &self.kind {
                Kind::Ndjson => None,
                Kind::Csv(csv) => Some(csv.separator),
            };
            let (line, taken) = match separator {
                None => self.lines.line(&mut self.record),
                Some(separator) => self.lines.record(&mut self.record, separator),
            }
            .context("cannot be read any further")?;
            cells.line = line;
            match taken {
                Taken::End => return Ok(None),
                Taken::Whole if self.record.trim_ascii().is_empty() => {}
                Taken::Whole => break,
                Taken::TooLong | Taken::Unclosed => {
                    return Ok(untaken(taken, self.lines.bytes_max()).map(Err));
                }
            }
        }
        cells.clear(self.columns.names.len());
        let Table { columns, options, record, kind, .. } = self;
        Ok(Some(match kind {
            Kind::Ndjson => object(columns, *options, record, cells),
            Kind::Csv(csv) => csv.row(record, options.encoding, cells),
        }))
    }
}

/// The bytes that the file begins with, without taking them.
fn first_bytes(inner: &mut BufReader<impl Read>) -> anyhow::Result<&[u8]> {
    inner.fill_buf().context("cannot be read")
}

/// Reads the header.
fn header(
    lines: &mut Lines<Box<dyn BufRead + Send>>,
    columns: &'static Columns,
    options: Options,
) -> anyhow::Result<Csv> {
    let decode = |bytes: &[u8]| decoded(bytes, options.encoding);
    let is_known = |name: &str| columns.find(name).is_some();
    let Header { separator, separated_by, names } = Header::read(lines, decode, is_known)?;
    let all = columns.names.join(", ");
    if !names.iter().any(|name| is_known(name)) {
        return Err(anyhow!(
            "the first line names no column of {}: {}; they are {all}",
            columns.what,
            names.iter().map(|name| columns.unknown(name)).collect::<Vec<_>>().join(", ")
        ));
    }
    let mut places: Vec<Option<usize>> = Vec::with_capacity(names.len());
    let mut unknown = Vec::new();
    for name in &names {
        let place = columns.find(name);
        if place.is_some() && places.contains(&place) {
            return Err(anyhow!("the column {name} is there twice"));
        }
        // A column without a name is a spreadsheet's: a separator at the end, or the numbers of its rows.
        if place.is_none() && !name.is_empty() && !options.ignore_unknown {
            unknown.push(columns.unknown(name));
        }
        places.push(place);
    }
    if !unknown.is_empty() {
        return Err(anyhow!(
            "unknown columns: {}; they are {all}; --ignore-unknown passes over others (separated by {separated_by})",
            unknown.join(", ")
        ));
    }
    let has = |name: &str| columns.find(name).is_some_and(|column| places.contains(&Some(column)));
    for needed in columns.needed {
        if !needed.iter().any(|name| has(name)) {
            return Err(anyhow!(
                "the column {} is missing (separated by {separated_by}: {})",
                needed.join(" or "),
                names.join(", ")
            ));
        }
    }
    Ok(Csv { separator, separated_by, splitter: Splitter::new(separator), places })
}

impl Csv {
    /// Splits a record into its fields.
    fn row(&mut self, record: &[u8], encoding: Encoding, cells: &mut Cells) -> Result<(), String> {
        // One more field than there should be is enough to know.
        let expected = self.places.len();
        let found = self.splitter.split(record, expected + 1);
        if found != Some(expected) {
            return Err(miscounted(found, expected));
        }
        for (field, place) in self.splitter.fields().zip(&self.places) {
            let Some(text) = place.and_then(|place| cells.text(place)) else { continue };
            match std::str::from_utf8(field) {
                Ok(field) => text.push_str(field),
                Err(_) => text.push_str(&decoded(field, encoding)?),
            }
        }
        Ok(())
    }
}

/// The text in these bytes.
fn decoded(bytes: &[u8], encoding: Encoding) -> Result<String, String> {
    match (std::str::from_utf8(bytes), encoding) {
        (Ok(text), _) => Ok(text.to_owned()),
        (Err(_), Encoding::Latin1) => Ok(bytes.iter().map(|byte| western(*byte)).collect()),
        (Err(error), Encoding::Utf8) => {
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            Err(format!(
                "is not UTF-8 (byte 0x{byte:02X}, in Latin-1 {:?}): if the file is Latin-1, say --encoding latin1",
                western(byte)
            ))
        }
    }
}

/// A byte of windows-1252, which is Latin-1 with letters where that has control characters.
fn western(byte: u8) -> char {
    const LETTERS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let letter = byte.checked_sub(0x80).and_then(|place| LETTERS.get(usize::from(place)).copied());
    letter.unwrap_or(char::from(byte))
}

/// Reads a line of NDJSON: texts, numbers and flags as they are, lists as a CSV field would hold them.
fn object(columns: &Columns, options: Options, record: &[u8], cells: &mut Cells) -> Result<(), String> {
    let text = decoded(record, options.encoding)?;
    let row: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text).map_err(|error| format!("is no JSON object: {error}"))?;
    for (name, value) in &row {
        let Some(column) = columns.find(name) else {
            if options.ignore_unknown {
                continue;
            }
            return Err(format!("unknown key: {}", columns.unknown(name)));
        };
        let Some(text) = cells.text(column) else { continue };
        write_value(text, value).map_err(|why| format!("{name}: {why}"))?;
    }
    for needed in columns.needed {
        let has = |name: &&str| columns.find(name).is_some_and(|column| cells.get(column).is_some());
        if !needed.iter().any(has) {
            return Err(format!("{} is missing", needed.join(" or ")));
        }
    }
    Ok(())
}

fn write_value(text: &mut String, value: &serde_json::Value) -> Result<(), String> {
    use serde_json::Value;
    match value {
        Value::Null => {}
        Value::String(given) => text.push_str(given),
        Value::Number(_) | Value::Bool(_) => text.push_str(&value.to_string()),
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(purchase) => {
                        if !text.is_empty() {
                            text.push('|');
                        }
                        write_purchase(text, purchase)?;
                    }
                    Value::Array(_) => return Err("a list in a list".to_owned()),
                    item => {
                        if !text.is_empty() {
                            text.push(' ');
                        }
                        write_value(text, item)?;
                    }
                }
            }
        }
        Value::Object(_) => return Err("an object, where a text or a list should be".to_owned()),
    }
    Ok(())
}

/// As a CSV field has it: DATE AMOUNT WHAT.
fn write_purchase(
    text: &mut String,
    purchase: &serde_json::Map<String, serde_json::Value>,
) -> Result<(), String> {
    if let Some(unknown) = purchase.keys().find(|key| !["at", "amount", "what"].contains(&key.as_str())) {
        return Err(format!("unknown key {unknown:?}: a purchase has at, amount and what"));
    }
    let part = |key: &str| -> Result<String, String> {
        let mut text = String::new();
        purchase.get(key).map_or(Ok(()), |value| write_value(&mut text, value))?;
        Ok(text.trim().replace('|', "/"))
    };
    let (at, amount, what) = (part("at")?, part("amount")?, part("what")?);
    let amount = match amount.as_str() {
        "" => "-".to_owned(),
        "-" => amount,
        given => number("amount", given, 0.0, f64::MAX)?.to_string(),
    };
    // Where the amount ends is known here: a tab never stands inside one.
    text.push_str(&format!("{} {amount}\t{what}", at.replace(' ', "T")));
    Ok(())
}
