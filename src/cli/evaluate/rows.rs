//! A file of labelled posts → its rows, or the one thing that is wrong with it, by line, column and value.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

/// Largest file that is read, in bytes: a million posts of 250 bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One labelled post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Line in the file on which it begins, from 1.
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) label: String,
}

/// What of the file is wanted.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) text_column: &'a str,
    pub(super) label_column: &'a str,
    /// Columns and the values that they must have.
    pub(super) only: &'a [(String, String)],
}

/// The wanted rows, and how many others there were.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// Rows without a label.
    pub(super) unlabelled: u64,
    /// Rows skipped because their text is empty.
    pub(super) textless: u64,
    /// Rows with another value in a column of [`Wanted::only`].
    pub(super) left_out: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tsv,
    Csv,
    Ndjson,
}

/// Reads the rows of the file at `path`, or of stdin (as TSV) where that is `-`.
///
/// # Errors
///
/// The file is not what it should be: the person who wrote it must mend it.
pub(super) fn read(path: &Path, wanted: &Wanted<'_>) -> anyhow::Result<Rows> {
    let (stdin, name) = (is_stdin(path), name(path));
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let format = match extension.as_deref() {
        _ if stdin => Format::Tsv,
        Some("tsv") => Format::Tsv,
        Some("csv") => Format::Csv,
        Some("ndjson" | "jsonl") => Format::Ndjson,
        _ => bail!("{name}: its name must end in .tsv, .csv, .ndjson or .jsonl"),
    };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).with_context(|| name.clone())?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    if read.with_context(|| name.clone())? as u64 > FILE_BYTES_MAX {
        bail!("{name}: longer than the limit of {FILE_BYTES_MAX} bytes");
    }
    rows(&bytes, format, wanted).map_err(|error| anyhow!("{name}: {error}"))
}

/// How the file is called in reports and errors.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn rows(bytes: &[u8], format: Format, wanted: &Wanted<'_>) -> anyhow::Result<Rows> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        anyhow!("line {}: is not UTF-8", before.iter().filter(|byte| **byte == b'\n').count() + 1)
    })?;
    // Spreadsheets put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = Rows::default();
    match format {
        Format::Tsv => table(tsv(text), wanted, &mut rows)?,
        Format::Csv => {
            let records = csv(text)?;
            let records = records.iter().map(|(line, record)| (*line, record.iter().collect()));
            table(records, wanted, &mut rows)?;
        }
        Format::Ndjson => objects(text, wanted, &mut rows)?,
    }
    if rows.rows.is_empty() {
        let Rows { unlabelled, textless, left_out, .. } = rows;
        bail!(
            "no rows to evaluate: {unlabelled} without a label, {textless} without a text, {left_out} left out by --where"
        );
    }
    Ok(rows)
}

impl Rows {
    fn add(&mut self, line: u64, text: &str, label: &str, is_wanted: bool) {
        if !is_wanted {
            self.left_out += 1;
        } else if label.trim().is_empty() {
            self.unlabelled += 1;
        } else if text.trim().is_empty() {
            self.textless += 1;
        } else {
            self.rows.push(Row { line, text: text.to_owned(), label: label.trim().to_owned() });
        }
    }
}

/// Rows of fields, each with the line on which it begins; the first is the header.
fn table<'t>(
    mut records: impl Iterator<Item = (u64, Vec<&'t str>)>,
    wanted: &Wanted<'_>,
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let (line, header) = records.next().context("line 1: no header")?;
    let place = |column: &str| {
        let mut places =
            header.iter().enumerate().filter(|(_, name)| **name == column).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => Err(no_column(line, column, &header)),
            (Some(_), Some(_)) => Err(anyhow!("line {line}: column {column:?} is there more than once")),
        }
    };
    let (text_place, label_place) = (place(wanted.text_column)?, place(wanted.label_column)?);
    let only = wanted.only.iter().map(|(column, value)| Ok((place(column)?, value.as_str())));
    let only: Vec<(usize, &str)> = only.collect::<anyhow::Result<_>>()?;
    for (line, fields) in records {
        if fields.len() != header.len() {
            bail!("line {line}: has {} columns, but the header has {}", fields.len(), header.len());
        }
        let field = |place: usize| fields.get(place).copied().unwrap_or_default();
        let is_wanted = only.iter().all(|(place, value)| field(*place) == *value);
        rows.add(line, field(text_place), field(label_place), is_wanted);
    }
    Ok(())
}

/// One row a line, never quoted.
fn tsv(text: &str) -> impl Iterator<Item = (u64, Vec<&str>)> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty());
    lines.map(|(line, fields)| (line, fields.split('\t').collect()))
}

/// Rows by RFC 4180, quoted where they need it; between semicolons where the header has them and no comma, as
/// spreadsheets write it in countries with a decimal comma.
fn csv(text: &str) -> anyhow::Result<Vec<(u64, csv::StringRecord)>> {
    // The crate takes everything behind a quote that is never closed for one field, and says nothing.
    if !text.bytes().filter(|byte| *byte == b'"').count().is_multiple_of(2) {
        bail!("has an odd number of quotes: one of them is never closed");
    }
    let header = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let delimiter = if header.contains(';') && !header.contains(',') { b';' } else { b',' };
    let mut builder = csv::ReaderBuilder::new();
    let mut reader =
        builder.delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let (mut line, mut counted) = (1, 0);
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record?;
        // The reader places a record before the line ends that it skips in front of it.
        let at = record.position().map_or(0, csv::Position::byte);
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
        let bytes = text.as_bytes();
        let skipped = bytes.iter().skip(at).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let between = bytes.get(counted..at + skipped).unwrap_or_default();
        line += between.iter().filter(|byte| **byte == b'\n').count() as u64;
        counted = at + skipped;
        records.push((line, record));
    }
    Ok(records)
}

/// One JSON object a line, whose keys are the columns.
fn objects(text: &str, wanted: &Wanted<'_>, rows: &mut Rows) -> anyhow::Result<()> {
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| anyhow!("line {line}: is no JSON object: {error}"))?;
        let field = |column: &str| match object.get(column) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Null) => Ok(String::new()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(value) => Err(anyhow!("line {line}: column {column:?} = {value}: must be a text")),
            None => Err(no_column(line, column, object.keys())),
        };
        let mut is_wanted = true;
        for (column, value) in wanted.only {
            is_wanted &= field(column)? == *value;
        }
        rows.add(line, &field(wanted.text_column)?, &field(wanted.label_column)?, is_wanted);
    }
    Ok(())
}

fn no_column(line: u64, column: &str, columns: impl IntoIterator<Item = impl Display>) -> anyhow::Error {
    let mut columns = columns.into_iter();
    // A file of another format has a whole post for a header, which is nobody's business in a log.
    let shown = |column: String| match column.char_indices().nth(COLUMN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", column.get(..end).unwrap_or_default()),
        None => format!("{column:?}"),
    };
    let first: Vec<_> = columns.by_ref().take(COLUMNS_MAX).map(|column| shown(column.to_string())).collect();
    let more = if columns.next().is_some() { ", …" } else { "" };
    anyhow!("line {line}: no column {column:?}: there are {}{more}", first.join(", "))
}

/// Most columns that an error lists, and most characters of each.
const COLUMNS_MAX: usize = 30;
const COLUMN_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8], format: Format, only: &[(&str, &str)]) -> Result<Rows, String> {
        let owned = |(column, value): &(&str, &str)| ((*column).to_owned(), (*value).to_owned());
        let only: Vec<_> = only.iter().map(owned).collect();
        let wanted = Wanted { text_column: "text", label_column: "label", only: &only };
        rows(bytes, format, &wanted).map_err(|error| error.to_string())
    }

    fn check(format: Format, file: &str, expected: &[(u64, &str, &str)]) -> Rows {
        let found = said(file.as_bytes(), format, &[]).unwrap();
        let rows: Vec<_> =
            found.rows.iter().map(|row| (row.line, row.text.as_str(), row.label.as_str())).collect();
        assert_eq!(rows, expected, "from {file:?}");
        found
    }

    #[test]
    fn tabs_are_never_quoted_and_only_a_line_feed_ends_a_row() {
        check(
            Format::Tsv,
            "id\tlabel\ttext\n1\tgood\tsay \"hi\"\n2\tbad\t\"open\n\n3\tbad\ta\rb\n",
            &[(2, "say \"hi\"", "good"), (3, "\"open", "bad"), (5, "a\rb", "bad")],
        );
        check(Format::Tsv, "\u{feff}text\tlabel\r\nà\tgood\r\n\tbad\r\n", &[(2, "à", "good")]);
    }

    #[test]
    fn csv_is_quoted_as_rfc_4180_says() {
        check(
            Format::Csv,
            "label,text\r\ngood,\"a, \"\"b\"\"\nc\"\r\nbad,d\r\n",
            &[(2, "a, \"b\"\nc", "good"), (4, "d", "bad")],
        );
    }

    #[test]
    fn semicolons_separate_where_the_header_has_them_and_no_comma() {
        check(
            Format::Csv,
            "\u{feff}label;text\r\ngood;\"a; \"\"b\"\"\nc\"\r\nbad;29,99 €\r\n",
            &[(2, "a; \"b\"\nc", "good"), (4, "29,99 €", "bad")],
        );
        check(Format::Csv, "label,text,a;b\ngood,c;d,\n", &[(2, "c;d", "good")]);
    }

    #[test]
    fn objects_give_their_keys() {
        let found = check(
            Format::Ndjson,
            "{\"text\":\"a\",\"label\":\"good\"}\n\n{\"label\":1,\"text\":\"b\",\"x\":[]}\n{\"text\":\"c\",\"label\":null}\n",
            &[(1, "a", "good"), (3, "b", "1")],
        );
        assert_eq!(found.unlabelled, 1);
    }

    #[test]
    fn rows_without_a_label_and_those_left_out_are_counted() {
        let file = b"text\tlabel\tlang\na\tgood\tfr\nb\t \tfr\nc\tbad\ten\n";
        let found = said(file, Format::Tsv, &[("lang", "fr")]).unwrap();
        assert_eq!((found.rows.len(), found.unlabelled, found.left_out), (1, 1, 1));
        let file = br#"{"text":"a","label":"good","lang":"fr"}"#;
        let refused = said(file, Format::Ndjson, &[("lang", "en")]).unwrap_err();
        assert_eq!(
            refused,
            "no rows to evaluate: 0 without a label, 0 without a text, 1 left out by --where"
        );
    }

    #[test]
    fn rows_without_a_text_are_counted() {
        let found = said(b"text\tlabel\n \tpositive\na\tnegative\n", Format::Tsv, &[]).unwrap();
        assert_eq!((found.rows.len(), found.textless, found.unlabelled), (1, 1, 0));
        let found =
            said(b"{\"text\":null,\"label\":\"a\"}\n{\"text\":\"b\",\"label\":\"a\"}\n", Format::Ndjson, &[]);
        assert_eq!(found.unwrap().textless, 1);
    }

    #[test]
    fn a_quote_that_is_never_closed_swallows_no_rows() {
        let rows = b"text,label\n\"never closed,negative\na,negative\n\"x\",negative\n";
        let refused = said(rows, Format::Csv, &[]).err().unwrap();
        assert_eq!(refused, "has an odd number of quotes: one of them is never closed");
    }

    #[test]
    fn an_error_does_not_repeat_a_whole_post() {
        let refused = said(&[b'x'; 100_000], Format::Tsv, &[]).err().unwrap();
        assert_eq!(refused, format!("line 1: no column \"text\": there are {:?}…", "x".repeat(40)));
        let wide = vec!["a"; 1_000].join("\t");
        let refused = said(wide.as_bytes(), Format::Tsv, &[]).err().unwrap();
        assert!(refused.ends_with("\"a\", …") && refused.len() < 300, "{refused}");
    }

    #[test]
    fn a_mistake_in_the_file_is_named_by_its_line() {
        let check = |format: Format, file: &[u8], expected: &str| {
            let refused = said(file, format, &[("lang", "fr")]).unwrap_err();
            assert!(refused.contains(expected), "{refused:?} does not contain {expected:?}");
        };
        check(Format::Tsv, b"", "line 1: no header");
        check(Format::Tsv, b"text\tlabel\tlang\n", "no rows to evaluate");
        check(
            Format::Tsv,
            b"text\tmood\tlang\na\tb\tfr\n",
            "line 1: no column \"label\": there are \"text\", \"mood\", \"lang\"",
        );
        check(Format::Tsv, b"text\tlabel\na\tb\n", "line 1: no column \"lang\"");
        check(Format::Csv, b"text,label,text,lang\n", "line 1: column \"text\" is there more than once");
        check(
            Format::Tsv,
            b"text\tlabel\tlang\na\tb\tfr\na\tb\n",
            "line 3: has 2 columns, but the header has 3",
        );
        check(
            Format::Csv,
            b"text,label,lang\r\na,b,fr\r\n\r\n\"a\nb\",c,fr\r\n1,2,3,4\n",
            "line 6: has 4 columns",
        );
        check(Format::Tsv, b"text\tlabel\tlang\na\tb\tfr\n\xff\tb\tfr\n", "line 3: is not UTF-8");
        check(Format::Ndjson, b"{\"text\":\"a\"}\n", "line 1: no column \"lang\": there are \"text\"");
        check(Format::Ndjson, b"\n[1]\n", "line 2: is no JSON object: invalid type");
        check(
            Format::Ndjson,
            br#"{"text":["a"],"label":"b","lang":"fr"}"#,
            "line 1: column \"text\" = [\"a\"]: must be a text",
        );
    }

    #[test]
    fn a_file_of_another_kind_or_none_is_refused() {
        let wanted = Wanted { text_column: "text", label_column: "label", only: &[] };
        let check = |path: &str, expected: &str| {
            let refused = format!("{:#}", read(Path::new(path), &wanted).unwrap_err());
            assert!(refused.contains(expected), "{refused:?} does not contain {expected:?}");
        };
        check("/posts.xlsx", "/posts.xlsx: its name must end in .tsv, .csv, .ndjson or .jsonl");
        check("/absent/posts.tsv", "/absent/posts.tsv: No such file");
    }

    #[test]
    fn a_files_kind_is_told_by_its_name_in_any_case() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Wanted { text_column: "text", label_column: "label", only: &[] };
        let check = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path, &wanted).unwrap().rows.len(), 1, "of {name}");
        };
        check("posts.TSV", "text\tlabel\na\tgood\n");
        check("posts.Csv", "text,label\na,good\n");
        check("posts.NDJSON", "{\"text\":\"a\",\"label\":\"good\"}\n");
        check("posts.JsonL", "{\"text\":\"a\",\"label\":\"good\"}\n");
    }
}
