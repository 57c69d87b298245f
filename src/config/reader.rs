//! Reads TOML key by key and remembers every mistake with its line, key, value and accepted range.
//!
//! Not serde: that stops at the first mistake, and an operator on a Friday wants them all at once.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::prefilter::Lines;

/// One mistake in the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the file, from 1.
    pub line: usize,
    /// `classify.batch_posts_max = 0: must be 1 to 1024`.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// A file being read.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// What files that it names are relative to.
    folder: &'t Path,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, folder: &'t Path) -> Reader<'t> {
        Reader { text, folder, mistakes: RefCell::default() }
    }

    /// The file's table; `None`, and the first mistake is noted, where it is no TOML: what could be read of such a
    /// file is not what its author wrote, and would only bring mistakes that nobody has made.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'t>>> {
        let noted = |error: toml::de::Error| {
            self.mistake(error.span().map_or(0, |span| span.start), error.message().to_owned());
        };
        DeTable::parse(self.text).map_err(noted).ok()
    }

    pub(super) fn root<'r>(&'r self, table: &'r Spanned<DeTable<'t>>) -> Section<'r, 't> {
        Section {
            reader: self,
            path: String::new(),
            place: 0,
            table: Some(table.get_ref()),
            seen: RefCell::default(),
        }
    }

    pub(super) fn mistake(&self, place: usize, text: String) {
        let line = self.line_of(place);
        self.mistakes.borrow_mut().push(Mistake { line, text });
    }

    fn line_of(&self, place: usize) -> usize {
        let before = self.text.get(..place).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }
}

/// One table of the file. Every key that is asked for is known; [`Section::refuse_unknown`] refuses the others.
pub(super) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    place: usize,
    table: Option<&'r DeTable<'t>>,
    seen: RefCell<Vec<&'static str>>,
}

/// A value with its place, for mistakes that only a later check finds.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: usize,
    pub(super) key: String,
}

impl<'r, 't> Section<'r, 't> {
    fn get(&self, key: &'static str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.know(key);
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn full_key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes that `key` must be something else.
    fn refuse(&self, key: &str, value: &Spanned<DeValue<'t>>, must: impl fmt::Display) {
        let text = format!("{} = {}: {must}", self.full_key(key), shown(value.get_ref()));
        self.reader.mistake(value.span().start, text);
    }

    /// Notes a mistake about the section as a whole.
    pub(super) fn mistake(&self, text: impl fmt::Display) {
        let text = if self.path.is_empty() { text.to_string() } else { format!("{}: {text}", self.path) };
        self.reader.mistake(self.place, text);
    }

    /// Notes a mistake about a value read before.
    pub(super) fn mistake_at<T>(&self, placed: &Placed<T>, text: impl fmt::Display) {
        self.reader.mistake(placed.place, format!("{}: {text}", placed.key));
    }

    /// Notes a mistake about what `key` names: a value as `name`, an item of a list as `names[2]`, counted from 0. Its
    /// place is the section's where that is not in the file.
    pub(super) fn mistake_in(&self, key: &str, text: impl fmt::Display) {
        let (name, item) = match key.strip_suffix(']').and_then(|key| key.split_once('[')) {
            Some((name, item)) => (name, item.parse::<usize>().ok()),
            None => (key, None),
        };
        let value = self.table.and_then(|table| table.iter().find(|(known, _)| known.get_ref() == name));
        let value = value.map(|(_, value)| value);
        let item = value.zip(item).and_then(|(list, item)| list.get_ref().as_array()?.get(item));
        let place = item.or(value).map_or(self.place, |value| value.span().start);
        self.reader.mistake(place, format!("{}: {text}", self.path));
    }

    /// A warning about a value read before: `line 7: priority.tier.gold = 1000: …`.
    pub(super) fn warning_at<T>(&self, placed: &Placed<T>, text: impl fmt::Display) -> String {
        format!("line {}: {}: {text}", self.reader.line_of(placed.place), placed.key)
    }

    /// The whole numbers in the table `key`, or the one that `key` is itself, with the place of each.
    pub(super) fn numbers(&self, key: &str) -> Vec<Placed<i64>> {
        let value = self.table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == key));
        let Some((_, value)) = value else { return Vec::new() };
        let placed = |key: String, value: &Spanned<DeValue<'_>>| {
            Some(Placed { value: whole(value.get_ref())?, place: value.span().start, key })
        };
        match value.get_ref().as_table() {
            None => placed(self.full_key(key), value).into_iter().collect(),
            Some(table) => {
                let key_of = |name: &str| format!("{}.{name}", self.full_key(key));
                table.iter().filter_map(|(name, value)| placed(key_of(name.get_ref()), value)).collect()
            }
        }
    }

    /// Whether this is a table of the file without a key: what is said of its keys would be said twice.
    pub(super) fn is_blank(&self) -> bool {
        self.table.is_some_and(|table| table.is_empty())
    }

    /// Mistakes that are noted by now.
    pub(super) fn mistakes(&self) -> usize {
        self.reader.mistakes.borrow().len()
    }

    /// A warning about the section as a whole, with its line.
    pub(super) fn warning(&self, text: impl fmt::Display) -> String {
        format!("line {}: {}: {text}", self.reader.line_of(self.place), self.path)
    }

    /// The keys of every table called `name` in this one, however deep.
    pub(super) fn keys_of(&self, name: &str) -> Vec<Placed<()>> {
        let mut keys = Vec::new();
        if let Some(table) = self.table {
            keys_of(name, table, &self.path, &mut keys);
        }
        keys
    }

    /// Whether the file has this key, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.keys().any(|name| name.get_ref() == key))
    }

    pub(super) fn string(&self, key: &'static str) -> Option<Placed<String>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.refuse(key, value, "must be a text in quotes");
            return None;
        };
        Some(Placed { value: text.to_owned(), place: value.span().start, key: self.full_key(key) })
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let chosen = value.get_ref().as_str().and_then(|text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| choice.clone())
        });
        if chosen.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.refuse(key, value, format_args!("must be {}", names.join(" or ")));
        }
        chosen
    }

    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.file(key).map(|path| PathBuf::from(path.value))
    }

    /// A path with its place, for what only opening it can tell.
    pub(super) fn file(&self, key: &'static str) -> Option<Placed<String>> {
        let path = self.string(key)?;
        if path.value.is_empty() {
            self.mistake_at(&path, "must name a file");
            return None;
        }
        Some(path)
    }

    /// The text of a file of one item a line.
    pub(super) fn lines(&self, key: &'static str) -> Option<Lines> {
        let named = self.string(key)?;
        let path = self.reader.folder.join(&named.value);
        let text = text_of(&path, LINES_BYTES_MAX);
        match text {
            Ok(text) => Some(Lines::new(path, text)),
            Err(error) => {
                self.mistake_at(&named, format_args!("{}: {error}", path.display()));
                None
            }
        }
    }

    /// The text of a file, with the place at which it is named.
    pub(super) fn text_file(&self, key: &'static str, bytes_max: u64) -> Option<(Placed<String>, String)> {
        let named = self.string(key)?;
        let path = self.reader.folder.join(&named.value);
        match text_of(&path, bytes_max) {
            Ok(text) => Some((named, text)),
            Err(error) => {
                self.mistake_at(&named, format_args!("{}: {error}", path.display()));
                None
            }
        }
    }

    /// Every other key of the section, with its value, which must be a text, a number or a flag: for tables whose keys
    /// somebody else invents.
    pub(super) fn other_scalars(&self) -> Vec<Placed<serde_json::Value>> {
        let others = self.others().into_iter();
        others
            .filter_map(|(key, value)| {
                let scalar = scalar(value.get_ref());
                if scalar.is_none() {
                    self.refuse(key, value, "must be a text in quotes, a number, or true or false");
                }
                Some(Placed { value: scalar?, place: value.span().start, key: key.to_owned() })
            })
            .collect()
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.refuse(key, value, "must be true or false");
            default
        })
    }

    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<i64>, default: i64) -> i64 {
        let Some(value) = self.get(key) else { return default };
        match whole(value.get_ref()) {
            Some(number) if range.contains(&number) => number,
            _ => {
                self.refuse(
                    key,
                    value,
                    format_args!("must be a whole number from {} to {}", range.start(), range.end()),
                );
                default
            }
        }
    }

    /// Every other key of the section as points: for tables whose keys the operator invents.
    pub(super) fn other_points(&self) -> Vec<Placed<i32>> {
        let others = self.others().into_iter();
        others
            .filter_map(|(key, value)| {
                let number = whole(value.get_ref()).and_then(|number| i32::try_from(number).ok());
                let points = number.filter(|points| POINTS.contains(&i64::from(*points)));
                if points.is_none() {
                    let (least, most) = (POINTS.start(), POINTS.end());
                    let must = format_args!("must be a whole number from {least} to {most}");
                    self.refuse(key, value, must);
                }
                Some(Placed { value: points?, place: value.span().start, key: key.to_owned() })
            })
            .collect()
    }

    /// Every other key of the section as a table, with its name.
    pub(super) fn other_sections(&self) -> Vec<(String, Section<'r, 't>)> {
        let section = |(key, value): (&str, &'r Spanned<DeValue<'t>>)| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.refuse(key, value, format_args!("must be a table: [{}]", self.full_key(key)));
            }
            let (path, place) = (self.full_key(key), value.span().start);
            (key.to_owned(), Section { reader: self.reader, path, place, table, seen: RefCell::default() })
        };
        self.others().into_iter().map(section).collect()
    }

    /// What nobody has asked for yet.
    fn others(&self) -> Vec<(&'r str, &'r Spanned<DeValue<'t>>)> {
        let seen = self.seen.borrow();
        let entries = self.table.into_iter().flatten().map(|(name, value)| (name.get_ref().as_ref(), value));
        entries.filter(|(name, _)| !seen.contains(name)).collect()
    }

    /// A number, with or without a decimal point, within a range.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?;
        let number = real(value.get_ref()).filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(
                key,
                value,
                format_args!("must be a number from {:?} to {:?}", range.start(), range.end()),
            );
        }
        number
    }

    /// A list of pairs of numbers, `[[at, points], …]`, with the place of each.
    pub(super) fn pairs(&self, key: &'static str) -> Option<Vec<Placed<(f64, f64)>>> {
        let value = self.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(key, value, "must be a list of pairs: [[1, 20], [5, 60]]");
            return None;
        };
        let mut pairs = Vec::new();
        for item in items.iter() {
            let pair = item.get_ref().as_array().and_then(|pair| {
                let mut numbers = pair.iter().map(|number| real(number.get_ref()));
                match (numbers.next(), numbers.next(), numbers.next()) {
                    (Some(Some(one)), Some(Some(other)), None) => Some((one, other)),
                    _ => None,
                }
            });
            match pair {
                Some(value) => {
                    pairs.push(Placed { value, place: item.span().start, key: self.full_key(key) });
                }
                None => self.refuse(key, item, "each item of the list must be a pair of numbers: [5, 60]"),
            }
        }
        Some(pairs)
    }

    /// What mistakes and warnings call this section.
    pub(super) fn path_in_file(&self) -> &str {
        &self.path
    }

    /// Points of a priority factor.
    pub(super) fn points(&self, key: &'static str, default: i32) -> i32 {
        i32::try_from(self.integer(key, POINTS, default.into())).unwrap_or(default)
    }

    pub(super) fn count(
        &self,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> NonZeroUsize {
        let bound = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let number = self.integer(key, bound(*range.start())..=bound(*range.end()), bound(default));
        // Every range of a count starts at 1 or above.
        usize::try_from(number).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
    }

    /// A key that ends in `_ms`.
    pub(super) fn milliseconds(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let default = i64::try_from(default.as_millis()).unwrap_or(i64::MAX);
        let number = self.integer(key, bound(*range.start())..=bound(*range.end()), default);
        Duration::from_millis(number.unsigned_abs())
    }

    /// A share from 0 to 1.
    pub(super) fn share(&self, key: &'static str, default: f32) -> f32 {
        self.number(key, 0.0..=1.0).map_or(default, |share| share as f32)
    }

    /// A list of texts; absent is empty.
    pub(super) fn strings(&self, key: &'static str) -> Vec<String> {
        self.get(key).map(|value| self.texts(key, value)).unwrap_or_default()
    }

    /// One text, or a list of them; absent is empty.
    pub(super) fn string_or_strings(&self, key: &'static str) -> Vec<Placed<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let placed = |text: &str, place| Placed { value: text.to_owned(), place, key: self.full_key(key) };
        let mut texts = Vec::new();
        match value.get_ref() {
            DeValue::String(text) => texts.push(placed(text, value.span().start)),
            DeValue::Array(items) => {
                for item in items.iter() {
                    match item.get_ref().as_str() {
                        Some(text) => texts.push(placed(text, item.span().start)),
                        None => self.refuse(key, item, "each item of the list must be a text in quotes"),
                    }
                }
            }
            _ => self.refuse(key, value, "must be a text in quotes, or a list of such: [\"…\", \"…\"]"),
        }
        texts
    }

    /// A list of so many texts, numbers or flags, of which the caller says what it takes; absent is `None`, and so is any other, which is a mistake.
    pub(super) fn scalars<const N: usize>(
        &self,
        key: &'static str,
        must: impl fmt::Display,
    ) -> Option<[serde_json::Value; N]> {
        let value = self.get(key)?;
        let items = value.get_ref().as_array().map(|items| items.iter().map(|item| scalar(item.get_ref())));
        let items: Option<Vec<_>> = items.and_then(Iterator::collect);
        let items = items.and_then(|items| items.try_into().ok());
        if items.is_none() {
            self.refuse(key, value, must);
        }
        items
    }

    /// Makes this key a known one that is not read here.
    pub(super) fn know(&self, key: &'static str) {
        let mut seen = self.seen.borrow_mut();
        if !seen.contains(&key) {
            seen.push(key);
        }
    }

    fn texts(&self, key: &str, value: &Spanned<DeValue<'t>>) -> Vec<String> {
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(key, value, "must be a list of texts: [\"…\", \"…\"]");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.refuse(key, item, "each item of the list must be a text in quotes"),
            }
        }
        texts
    }

    /// Every other key of the section as a list of texts: for tables whose keys the operator invents.
    pub(super) fn other_strings(&self) -> Vec<Placed<String>> {
        let mut texts = Vec::new();
        for (name, value) in self.others() {
            let places = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
            let places = places.filter(|item| item.get_ref().is_str()).map(|item| item.span().start);
            let read = self.texts(name, value).into_iter().zip(places);
            texts.extend(read.map(|(value, place)| Placed { value, place, key: self.full_key(name) }));
        }
        texts
    }

    /// A table of its own; absent is an empty one.
    pub(super) fn section(&self, key: &'static str) -> Section<'r, 't> {
        let value = self.get(key);
        let table = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.refuse(key, value, format_args!("must be a table: [{}]", self.full_key(key)));
            }
            table
        });
        let place = value.map_or(self.place, |value| value.span().start);
        Section { reader: self.reader, path: self.full_key(key), place, table, seen: RefCell::default() }
    }

    /// A list of tables, `[[key]]`; absent is an empty list.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'r, 't>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(key, value, format_args!("must be tables: [[{}]]", self.full_key(key)));
            return Vec::new();
        };
        let count = Cell::new(0);
        items
            .iter()
            .map(|item| {
                count.set(count.get() + 1);
                let table = item.get_ref().as_table();
                if table.is_none() {
                    self.refuse(key, item, format_args!("must be a table: [[{}]]", self.full_key(key)));
                }
                let path = format!("{}[{}]", self.full_key(key), count.get());
                Section {
                    reader: self.reader,
                    path,
                    place: item.span().start,
                    table,
                    seen: RefCell::default(),
                }
            })
            .collect()
    }

    /// Refuses every key that nobody asked for.
    pub(super) fn refuse_unknown(&self) {
        let seen = self.seen.borrow();
        for (name, value) in self.table.into_iter().flatten() {
            let name = name.get_ref().as_ref();
            if !seen.contains(&name) {
                let mut text = format!("{} = {}: unknown key", self.full_key(name), shown(value.get_ref()));
                if let Some(near) = nearest(name, &seen) {
                    text.push_str(&format!("; did you mean {near}?"));
                } else {
                    text.push_str(&format!("; known here: {}", seen.join(", ")));
                }
                self.reader.mistake(value.span().start, text);
            }
        }
    }
}

fn keys_of(name: &str, table: &DeTable<'_>, path: &str, keys: &mut Vec<Placed<()>>) {
    for (key, value) in table {
        let path = format!("{path}.{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) if key.get_ref() == name => {
                let placed = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Placed {
                    value: (),
                    place: value.span().start,
                    key: format!("{path}.{}", key.get_ref()),
                };
                keys.extend(table.iter().map(placed));
            }
            DeValue::Table(table) => keys_of(name, table, &path, keys),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let DeValue::Table(table) = item.get_ref() {
                        keys_of(name, table, &format!("{path}[{}]", at + 1), keys);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What one factor, word or class may give.
pub(super) const POINTS: RangeInclusive<i64> = -1000..=1000;

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

fn real(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
        value => whole(value).map(|number| number as f64),
    }
}

/// A text, a number or a flag.
fn scalar(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::String(text) => Some(text.to_string().into()),
        DeValue::Boolean(flag) => Some((*flag).into()),
        DeValue::Integer(_) => whole(value).map(serde_json::Value::from),
        DeValue::Float(_) => real(value).map(serde_json::Value::from),
        _ => None,
    }
}

/// What a file holds, in UTF-8.
fn text_of(path: &Path, bytes_max: u64) -> Result<String, String> {
    // What a terminal or a pipe would give never ends.
    let bytes = std::fs::metadata(path).and_then(|metadata| match metadata.len() {
        _ if !metadata.is_file() => Err(io::Error::other("is no file")),
        bytes if bytes > bytes_max => Err(io::Error::other(format!("has more than {bytes_max} bytes"))),
        _ => std::fs::read(path),
    });
    bytes.map_err(|error| error.to_string()).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = before.filter(|byte| **byte == b'\n').count() + 1;
            format!("line {line} is not UTF-8")
        })
    })
}

/// Longest file of names or rules: four million names as people write them.
const LINES_BYTES_MAX: u64 = 64 << 20;

/// A value as one would write it, cut to a readable length.
fn shown(value: &DeValue<'_>) -> String {
    const CHARS_MAX: usize = 60;
    let text = match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "[…]".to_owned(),
        DeValue::Table(_) => "{…}".to_owned(),
    };
    if text.chars().count() <= CHARS_MAX {
        text
    } else {
        text.chars().take(CHARS_MAX).chain(['…']).collect()
    }
}

/// The known key that was probably meant.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| known)
}
