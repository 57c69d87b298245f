//! CSV: what separates a file's fields, the names in its header, and the fields of a record.

use std::io::BufRead;

use anyhow::{Context, anyhow};

use super::lines::{Lines, Taken};

/// Columns of a file at most, known or not.
const COLUMNS_MAX: usize = 1024;
/// What fields may be separated by.
const SEPARATORS: [(u8, &str); 4] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs"), (b'|', "bars")];

/// A header, and with it how the records after it are to be read.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) separator: u8,
    /// The same in words.
    pub(super) separated_by: &'static str,
    /// In lower case, without the spaces around them; a column may have none.
    pub(super) names: Vec<String>,
}

impl Header {
    /// Reads the header, the first record that is not blank, and finds out what separates fields: whatever makes the most
    /// names that are known.
    ///
    /// # Errors
    ///
    /// The file is empty or cannot be read, or what it begins with is no header.
    pub(super) fn read(
        lines: &mut Lines<impl BufRead>,
        decode: impl Fn(&[u8]) -> Result<String, String>,
        is_known: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Header> {
        let mut record = Vec::new();
        loop {
            let (line, taken) = lines.line(&mut record).context("cannot be read")?;
            match taken {
                Taken::End => return Err(anyhow!("the file is empty")),
                Taken::TooLong => {
                    return Err(anyhow!("line {line} has more than {} bytes: no header", lines.bytes_max()));
                }
                _ if record.trim_ascii().is_empty() => {}
                _ => break,
            }
        }
        lines.unread(&record);
        // The same lines as each separator reads them: with quotes, each may make another record of them.
        let mut readings = Vec::with_capacity(SEPARATORS.len());
        for (separator, _) in SEPARATORS {
            let (line, taken) = lines.record(&mut record, separator).context("cannot be read")?;
            readings.push((separator, names(&record, separator, &decode), line, taken));
            lines.unread(&record);
        }
        let split = |separator: u8| -> &[String] {
            let reading = readings.iter().find(|(other, ..)| *other == separator);
            reading.and_then(|(_, names, ..)| names.as_deref().ok()).unwrap_or_default()
        };
        let known = |separator: u8| split(separator).iter().filter(|name| is_known(name)).count();
        let (separator, separated_by) = SEPARATORS
            .into_iter()
            .rev()
            .max_by_key(|(separator, _)| known(*separator))
            .unwrap_or((b',', "commas"));
        lines.record(&mut record, separator).context("cannot be read")?;
        let reading = readings.into_iter().find(|(other, ..)| *other == separator);
        let (_, names, line, taken) = reading.context("the file is empty")?;
        if taken == Taken::Unclosed {
            return Err(anyhow!("line {line}: a quote that is opened in the header is never closed"));
        }
        Ok(Header { separator, separated_by, names: names.map_err(|why| anyhow!("header: {why}"))? })
    }
}

/// The names in a header, or what is wrong with it.
fn names(
    record: &[u8],
    separator: u8,
    decode: impl Fn(&[u8]) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let mut splitter = Splitter::new(separator);
    if splitter.split(record, COLUMNS_MAX).is_none() {
        return Err(format!("more than {COLUMNS_MAX} columns"));
    }
    let name = |field| Ok(decode(field)?.trim().trim_matches('"').trim().to_lowercase());
    splitter.fields().map(name).collect()
}

/// Splits records into their fields; kept from record to record for its buffers.
#[derive(Debug)]
pub(super) struct Splitter {
    parser: csv_core::Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Fields of the record split last.
    count: usize,
}

impl Splitter {
    pub(super) fn new(separator: u8) -> Splitter {
        let parser = csv_core::ReaderBuilder::new().delimiter(separator).build();
        Splitter { parser, fields: Vec::new(), ends: Vec::new(), count: 0 }
    }

    /// Splits a record. Gives how many fields it has; `None` if there are more than `fields_max`.
    pub(super) fn split(&mut self, record: &[u8], fields_max: usize) -> Option<usize> {
        // Fields never take more than the record they are in.
        self.fields.resize(record.len(), 0);
        self.ends.resize(fields_max, 0);
        self.count = 0;
        self.parser.reset();
        let (mut taken, mut written) = (0, 0);
        loop {
            let input = record.get(taken..).unwrap_or_default();
            let output = self.fields.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(self.count..).unwrap_or_default();
            let (result, bytes, wrote, found) = self.parser.read_record(input, output, ends);
            (taken, written, self.count) = (taken + bytes, written + wrote, self.count + found);
            match result {
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => {
                    return Some(self.count);
                }
                csv_core::ReadRecordResult::OutputFull | csv_core::ReadRecordResult::OutputEndsFull => {
                    return None;
                }
            }
        }
    }

    /// The fields of the record split last, without the quotes around them.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().take(self.count).map(move |end| {
            let field = self.fields.get(begin..*end).unwrap_or_default();
            begin = *end;
            field
        })
    }
}

/// Why a record is rejected that has another number of fields than the header; `found` as [`Splitter::split`] gives it,
/// asked for one field more than there should be.
pub(super) fn miscounted(found: Option<usize>, expected: usize) -> String {
    let found = found.map_or_else(|| format!("more than {}", expected + 1), |found| found.to_string());
    format!("has {found} fields, and the header {expected}: a field that holds a separator needs quotes")
}

/// Why a record is rejected that could not be taken whole; nothing where it could.
pub(super) fn untaken(taken: Taken, bytes_max: usize) -> Option<String> {
    match taken {
        Taken::TooLong => Some(format!("the row has more than {bytes_max} bytes")),
        Taken::Unclosed => Some(
            "a quote that is opened in this line is never closed (one within quotes is written twice)"
                .to_owned(),
        ),
        Taken::Whole | Taken::End => None,
    }
}
