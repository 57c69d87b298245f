//! A file's lines, and the records of a CSV file, of which one may go over several lines.
//!
//! Bounded whatever the file holds: a quote that is never closed costs one line, and the next ones are read on their
//! own. So does one that is closed by the quote that opens a later field: what stands behind a closing quote must be a
//! separator.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use memchr::memchr;

/// Longest record of a table, in bytes: far above what the longest right row takes.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Lines of one record; a note may hold a letter.
const RECORD_LINES_MAX: usize = 200;

/// Reads lines and records.
pub(super) struct Lines<R> {
    inner: R,
    /// Longest line, and longest record unless its last line makes it longer.
    bytes_max: usize,
    /// Most lines of a record.
    lines_max: usize,
    /// The line read last, from 1.
    line: u64,
    /// Lines that come again, before those of the file.
    again: VecDeque<Again>,
}

/// A line that was read already.
#[derive(Debug)]
enum Again {
    Line(Vec<u8>),
    TooLong,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The buffer holds it, with its line ends.
    Whole,
    /// A line longer than [`Lines::bytes_max`]; it was passed over.
    TooLong,
    /// A quote that is opened in its first line, which the buffer holds, is not closed.
    Unclosed,
    /// The file is at its end.
    End,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(inner: R) -> Lines<R> {
        Lines::within(inner, RECORD_BYTES_MAX, RECORD_LINES_MAX)
    }

    /// With limits of one's own.
    pub(super) fn within(inner: R, bytes_max: usize, lines_max: usize) -> Lines<R> {
        Lines { inner, bytes_max, lines_max, line: 0, again: VecDeque::new() }
    }

    /// Longest line, in bytes.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The next line into `buffer`. Gives its number, or that of the last line at the end.
    pub(super) fn line(&mut self, buffer: &mut Vec<u8>) -> io::Result<(u64, Taken)> {
        buffer.clear();
        let taken = self.append(buffer)?;
        Ok((self.line, taken))
    }

    /// The next record into `buffer`, and the number of its first line.
    pub(super) fn record(&mut self, buffer: &mut Vec<u8>, separator: u8) -> io::Result<(u64, Taken)> {
        let (first, taken) = self.line(buffer)?;
        // Most lines hold no quote at all.
        if taken != Taken::Whole || memchr(b'"', buffer).is_none() {
            return Ok((first, taken));
        }
        let mut quotes = Quotes::FieldStart.after(buffer, separator);
        let mut ends = vec![buffer.len()];
        let mut last = Taken::Whole;
        while quotes == Quotes::Open && ends.len() <= self.lines_max && buffer.len() <= self.bytes_max {
            let begin = buffer.len();
            last = self.append(buffer)?;
            if last != Taken::Whole {
                break;
            }
            quotes = quotes.after(buffer.get(begin..).unwrap_or_default(), separator);
            ends.push(buffer.len());
        }
        if !matches!(quotes, Quotes::Open | Quotes::Wrong) {
            return Ok((first, Taken::Whole));
        }
        self.line = first;
        if last == Taken::TooLong {
            self.again.push_front(Again::TooLong);
        }
        for (from, to) in ends.iter().zip(ends.iter().skip(1)).rev() {
            self.again.push_front(Again::Line(buffer.get(*from..*to).unwrap_or_default().to_vec()));
        }
        buffer.truncate(ends.first().copied().unwrap_or_default());
        Ok((first, Taken::Unclosed))
    }

    /// Lets the lines of a record that was read last come again.
    pub(super) fn unread(&mut self, record: &[u8]) {
        for line in record.split_inclusive(|byte| *byte == b'\n').rev() {
            self.again.push_front(Again::Line(line.to_vec()));
            self.line -= 1;
        }
    }

    /// Appends the next line.
    fn append(&mut self, buffer: &mut Vec<u8>) -> io::Result<Taken> {
        if let Some(again) = self.again.pop_front() {
            self.line += 1;
            return Ok(match again {
                Again::Line(line) => {
                    buffer.extend_from_slice(&line);
                    Taken::Whole
                }
                Again::TooLong => Taken::TooLong,
            });
        }
        let begin = buffer.len();
        let mut is_too_long = false;
        loop {
            let there = match self.inner.fill_buf() {
                Ok(there) => there,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if there.is_empty() {
                let is_end = buffer.len() == begin && !is_too_long;
                self.line += u64::from(!is_end);
                return Ok(if is_end { Taken::End } else { taken(is_too_long) });
            }
            let (bytes, is_whole) = memchr(b'\n', there).map_or((there.len(), false), |end| (end + 1, true));
            is_too_long |= buffer.len() - begin + bytes > self.bytes_max;
            if is_too_long {
                buffer.truncate(begin);
            } else {
                buffer.extend_from_slice(there.get(..bytes).unwrap_or_default());
            }
            self.inner.consume(bytes);
            if is_whole {
                self.line += 1;
                return Ok(taken(is_too_long));
            }
        }
    }
}

fn taken(is_too_long: bool) -> Taken {
    if is_too_long { Taken::TooLong } else { Taken::Whole }
}

/// Where a record stands as for quotes (RFC 4180; a quote inside a field that begins without one is a letter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    FieldStart,
    /// In a field without quotes.
    Bare,
    /// Between the quotes of a field.
    Open,
    /// Behind them.
    Closed,
    /// Something else than a separator came behind them.
    Wrong,
}

impl Quotes {
    /// Where it stands after this line.
    fn after(self, line: &[u8], separator: u8) -> Quotes {
        let mut quotes = self;
        let mut bytes = line.iter().peekable();
        while let Some(byte) = bytes.next() {
            quotes = match quotes {
                Quotes::Open if *byte != b'"' || bytes.next_if(|next| **next == b'"').is_some() => {
                    Quotes::Open
                }
                Quotes::Open => Quotes::Closed,
                _ if *byte == separator || *byte == b'\n' => Quotes::FieldStart,
                Quotes::FieldStart if *byte == b'"' => Quotes::Open,
                Quotes::FieldStart | Quotes::Bare => Quotes::Bare,
                Quotes::Closed if matches!(byte, b' ' | b'\r') => Quotes::Closed,
                Quotes::Closed | Quotes::Wrong => return Quotes::Wrong,
            };
        }
        quotes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(text: &str) -> Vec<(u64, Taken, String)> {
        let mut lines = Lines::new(text.as_bytes());
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            let (line, taken) = lines.record(&mut buffer, b',').unwrap();
            if taken == Taken::End {
                return found;
            }
            let text = if taken == Taken::Whole {
                String::from_utf8(buffer.clone()).unwrap()
            } else {
                String::new()
            };
            found.push((line, taken, text));
        }
    }

    #[test]
    fn a_record_may_go_over_lines_and_counts_from_its_first() {
        let whole = |line, text: &str| (line, Taken::Whole, text.to_owned());
        let found = records("a,b\n\"x\ny\",\"say \"\"hi\"\"\"\r\n12\" pipe,c\nlast");
        let expected = [
            whole(1, "a,b\n"),
            whole(2, "\"x\ny\",\"say \"\"hi\"\"\"\r\n"),
            whole(4, "12\" pipe,c\n"),
            whole(5, "last"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line_alone() {
        let many = "c,d\n".repeat(RECORD_LINES_MAX * 2);
        let found = records(&format!("a,b\n\"x,y\n{many}"));
        assert_eq!(found.len(), 2 + RECORD_LINES_MAX * 2);
        assert_eq!(found[1], (2, Taken::Unclosed, String::new()));
        assert_eq!(found[2], (3, Taken::Whole, "c,d\n".to_owned()));
        let last = found.last().unwrap();
        assert_eq!((last.0, last.1), (2 + RECORD_LINES_MAX as u64 * 2, Taken::Whole));
    }

    #[test]
    fn a_quote_is_not_closed_by_the_one_that_opens_a_later_field() {
        let found = records("a,\"b\nc,d\ne,\"f\"\n\"12\" pipe\",x\n\"y\" ,\"z\nz\" \r\n");
        let whole = |line, text: &str| (line, Taken::Whole, text.to_owned());
        let unclosed = |line| (line, Taken::Unclosed, String::new());
        let expected = [
            unclosed(1),
            whole(2, "c,d\n"),
            whole(3, "e,\"f\"\n"),
            unclosed(4),
            whole(5, "\"y\" ,\"z\nz\" \r\n"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_behind_a_quote_that_is_never_closed() {
        let long = "x".repeat(RECORD_BYTES_MAX + 1);
        let found = records(&format!("a,b\n\"C0,x\nC1,y\n{long}\nC2,z\nlast"));
        assert_eq!(
            found.iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(),
            [
                (1, Taken::Whole),
                (2, Taken::Unclosed),
                (3, Taken::Whole),
                (4, Taken::TooLong),
                (5, Taken::Whole),
                (6, Taken::Whole)
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_passed_over_in_bounded_memory() {
        let long = "x".repeat(RECORD_BYTES_MAX * 4);
        let found = records(&format!("a\n{long}\nb\n"));
        assert_eq!(
            found.iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(),
            [(1, Taken::Whole), (2, Taken::TooLong), (3, Taken::Whole)]
        );
    }

    proptest! {
        /// In the order of the file and with its number, alone or in a record, and whatever was read ahead.
        #[test]
        fn every_line_comes_once(text in "[\",a \n]{0,60}", lines_max in 1..4_usize, unreads in any::<bool>()) {
            const BYTES_MAX: usize = 8;
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            let mut lines = Lines::within(text.as_bytes(), BYTES_MAX, lines_max);
            let (mut buffer, mut next) = (Vec::new(), 0);
            loop {
                let (mut first, mut taken) = lines.record(&mut buffer, b';').unwrap();
                if unreads && matches!(taken, Taken::Whole | Taken::Unclosed) {
                    lines.unread(&buffer);
                    (first, taken) = lines.record(&mut buffer, b',').unwrap();
                }
                if taken == Taken::End {
                    break;
                }
                prop_assert_eq!(first, next as u64 + 1);
                let came = String::from_utf8(buffer.clone()).unwrap();
                let count = if taken == Taken::Whole { came.split_inclusive('\n').count() } else { 1 };
                match taken {
                    Taken::TooLong => prop_assert!(all[next].len() > BYTES_MAX),
                    _ => prop_assert_eq!(came, all[next..next + count].concat()),
                }
                prop_assert!(count <= lines_max + 1);
                next += count;
            }
            prop_assert_eq!(next, all.len());
        }
    }
}
