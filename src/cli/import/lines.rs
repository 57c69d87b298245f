//! A file's lines, and the records of a CSV file, of which one may go over several lines.
//!
//! Bounded whatever the file holds: a quote that is never closed costs one line, and the next ones are read on their
//! own.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use memchr::memchr;

/// Longest record, in bytes: far above what the longest right row takes.
pub(super) const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Lines of one record; a note may hold a letter.
const RECORD_LINES_MAX: usize = 200;

/// Reads lines and records.
pub(super) struct Lines<R> {
    inner: R,
    /// The line read last, from 1.
    line: u64,
    /// Lines that come again, before those of the file.
    again: VecDeque<Vec<u8>>,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The buffer holds it, with its line ends.
    Whole,
    /// Longer than [`RECORD_BYTES_MAX`]; it was passed over.
    TooLong,
    /// A quote that is opened in its first line is not closed.
    Unclosed,
    /// The file is at its end.
    End,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(inner: R) -> Lines<R> {
        Lines { inner, line: 0, again: VecDeque::new() }
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
        if taken != Taken::Whole || memchr(b'"', buffer).is_none() || is_closed(buffer, separator) {
            return Ok((first, taken));
        }
        let mut ends = vec![buffer.len()];
        loop {
            let end = *ends.last().unwrap_or(&0);
            let taken = self.append(buffer)?;
            if taken == Taken::Whole && is_closed(buffer, separator) {
                return Ok((first, Taken::Whole));
            }
            let is_over =
                taken != Taken::Whole || ends.len() >= RECORD_LINES_MAX || buffer.len() > RECORD_BYTES_MAX;
            if taken == Taken::TooLong {
                buffer.truncate(end);
            }
            ends.push(buffer.len());
            if is_over {
                let starts = ends.iter().zip(ends.iter().skip(1));
                let rest: Vec<_> = starts
                    .filter(|(from, to)| from < to)
                    .map(|(from, to)| buffer.get(*from..*to).unwrap_or_default().to_vec())
                    .collect();
                self.line = first + u64::from(taken == Taken::TooLong);
                rest.into_iter().rev().for_each(|line| self.again.push_front(line));
                return Ok((first, Taken::Unclosed));
            }
        }
    }

    /// Appends the next line.
    fn append(&mut self, buffer: &mut Vec<u8>) -> io::Result<Taken> {
        if let Some(again) = self.again.pop_front() {
            self.line += 1;
            buffer.extend_from_slice(&again);
            return Ok(Taken::Whole);
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
            is_too_long |= buffer.len() - begin + bytes > RECORD_BYTES_MAX;
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

/// Whether every quoted field ends in `record` (RFC 4180; a quote inside a field that begins without one is a letter).
fn is_closed(record: &[u8], separator: u8) -> bool {
    let (mut is_quoted, mut is_at_start) = (false, true);
    let mut bytes = record.iter().peekable();
    while let Some(byte) = bytes.next() {
        if is_quoted {
            if *byte == b'"' && bytes.next_if(|next| **next == b'"').is_none() {
                is_quoted = false;
            }
        } else if *byte == b'"' && is_at_start {
            is_quoted = true;
        }
        is_at_start = !is_quoted && (*byte == separator || *byte == b'\n');
    }
    !is_quoted
}

#[cfg(test)]
mod tests {
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
    fn a_line_without_end_is_passed_over_in_bounded_memory() {
        let long = "x".repeat(RECORD_BYTES_MAX * 4);
        let found = records(&format!("a\n{long}\nb\n"));
        assert_eq!(
            found.iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(),
            [(1, Taken::Whole), (2, Taken::TooLong), (3, Taken::Whole)]
        );
    }
}
