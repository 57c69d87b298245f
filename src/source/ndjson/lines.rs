//! Recorded posts, one a line, from a plain or compressed file or from standard input.
//!
//! Blocking, and never more than one line and one buffer in memory, however long a line is or however
//! far a file unpacks.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::place;

/// Reads lines.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    line_bytes_max: usize,
    /// Lines taken so far, skipped and blank ones too.
    taken: u64,
    /// What they held: see [`Lines::digest`].
    digest: u64,
}

/// What a line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The caller's buffer holds it, without its end.
    Text,
    /// Nothing but white space. Streams send such lines to keep a connection open, and recordings of
    /// streams hold them: they are heartbeats, not malformed posts.
    Blank,
    /// Longer than the limit. It was skipped to its end, and the buffer is empty.
    Oversize,
}

/// The file cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// Nothing was read.
    #[error("cannot open {}: {error}", named(path))]
    Open {
        /// As given.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The lines before were fine: a file that is cut or broken, a disk that fails.
    #[error("cannot read {} at line {line}: {error}", named(path))]
    Read {
        /// As given.
        path: PathBuf,
        /// The line that could not be read, counted from 1.
        line: u64,
        /// Why.
        error: io::Error,
    },
}

/// Bytes read ahead: few system calls for a file, and 256 posts of 1 KiB for one hand-over.
const BUFFER_BYTES: usize = 256 * 1024;

/// The mark that some editors and exports put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Lines {
    /// Opens `path`: `-` is standard input, `.gz` and `.zst` are unpacked, anything else is plain.
    /// Lines longer than `line_bytes_max` bytes, without their end, are [`Line::Oversize`].
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(path: &Path, line_bytes_max: usize) -> Result<Lines, LinesError> {
        if path == Path::new("-") {
            return Ok(Lines::new(path, Box::new(io::stdin()), line_bytes_max));
        }
        let open_error = |error| LinesError::Open { path: path.to_owned(), error };
        let file = File::open(path).map_err(open_error)?;
        let reader: Box<dyn Read + Send> = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Box::new(MultiGzDecoder::new(BufReader::new(file))),
            Some("zst") => Box::new(zstd::Decoder::new(file).map_err(open_error)?),
            _ => Box::new(file),
        };
        Ok(Lines::new(path, reader, line_bytes_max))
    }

    /// Reads from `reader`; `path` is for messages.
    fn new(path: &Path, reader: Box<dyn Read + Send>, line_bytes_max: usize) -> Lines {
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        Lines { path: path.to_owned(), reader, line_bytes_max, taken: 0, digest: 0 }
    }

    /// Reads the next line into `line`, replacing what it held; `None` at the end. Both `\n` and `\r\n`
    /// end a line, and the last one may lack its end.
    ///
    /// # Errors
    ///
    /// The file cannot be read any further. Asking again is pointless.
    pub fn next_line(&mut self, line: &mut Vec<u8>) -> Result<Option<Line>, LinesError> {
        line.clear();
        // Room for `\r\n`, or else for the proof that the line is too long. What is summed up is read whatever the limit.
        let room = self.line_bytes_max.max(place::FOLDED_BYTES_MAX).saturating_add(2);
        let read = (&mut self.reader).take(room as u64).read_until(b'\n', line);
        let read = read.map_err(|error| self.read_error(error))?;
        if read == 0 {
            return Ok(None);
        }
        let mut beyond = Beyond::default();
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if read == room {
            beyond = self.skip_rest().map_err(|error| self.read_error(error))?;
        }
        let mut line_bytes = line.len() + beyond.bytes;
        if beyond.last.or(line.last().copied()) == Some(b'\r') {
            line_bytes -= 1;
            line.truncate(line_bytes);
        }
        self.digest = place::fold(self.digest, line, line_bytes);
        if self.taken == 0 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        self.taken += 1;

        if line.len() > self.line_bytes_max || beyond.bytes > 0 {
            line.clear();
            Ok(Some(Line::Oversize))
        } else if line.trim_ascii().is_empty() {
            Ok(Some(Line::Blank))
        } else {
            Ok(Some(Line::Text))
        }
    }

    /// Skips up to `lines` lines, and says how many there were.
    ///
    /// # Errors
    ///
    /// The file cannot be read any further.
    pub fn skip(&mut self, lines: u64) -> Result<u64, LinesError> {
        let mut line = Vec::new();
        for skipped in 0..lines {
            if self.next_line(&mut line)?.is_none() {
                return Ok(skipped);
            }
        }
        Ok(lines)
    }

    /// How many lines were taken or skipped: the number, from 1, of the last one.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Sums up what those lines held, without their ends; of a long one, its beginning and its length.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether the next line is in memory as a whole: otherwise taking it may wait for whoever writes
    /// into the pipe.
    pub fn is_next_buffered(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// Skips what is left of the line.
    fn skip_rest(&mut self) -> io::Result<Beyond> {
        let mut beyond = Beyond::default();
        loop {
            let there = match self.reader.fill_buf() {
                Ok(there) => there,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = memchr::memchr(b'\n', there);
            let rest = there.get(..end.unwrap_or(there.len())).unwrap_or_default();
            let is_end = end.is_some() || there.is_empty();
            beyond.bytes += rest.len();
            beyond.last = rest.last().copied().or(beyond.last);
            let bytes = rest.len() + usize::from(end.is_some());
            self.reader.consume(bytes);
            if is_end {
                return Ok(beyond);
            }
        }
    }

    fn read_error(&self, error: io::Error) -> LinesError {
        LinesError::Read { path: self.path.clone(), line: self.taken + 1, error }
    }
}

/// What a line holds beyond what is in memory, without `\n`.
#[derive(Default)]
struct Beyond {
    bytes: usize,
    last: Option<u8>,
}

fn named(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 8;

    /// Everything that `lines` yields: text as it is, `~` for blank, `!` for too long.
    fn all(mut lines: Lines) -> Result<Vec<String>, LinesError> {
        let (mut seen, mut line) = (Vec::new(), b"left over".to_vec());
        while let Some(kind) = lines.next_line(&mut line)? {
            seen.push(match kind {
                Line::Text => String::from_utf8_lossy(&line).into_owned(),
                Line::Blank => "~".to_owned(),
                Line::Oversize => "!".to_owned(),
            });
        }
        assert_eq!(lines.taken(), seen.len() as u64);
        Ok(seen)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    fn zstandard(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("writing to memory")
    }

    fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file in it");
        (folder, path)
    }

    #[test]
    fn a_file_gives_the_same_lines_plain_and_packed() {
        let check = |content: &[u8], expected: &[&str]| {
            for (name, bytes) in [
                ("a.jsonl", content.to_vec()),
                ("a.jsonl.gz", gzip(content)),
                ("a.jsonl.zst", zstandard(content)),
            ] {
                let (_folder, path) = file(name, &bytes);
                let seen = all(Lines::open(&path, LIMIT).expect("it exists")).expect("it is whole");
                assert_eq!(seen, expected, "{name} of {:?}", content.escape_ascii().to_string());
            }
        };
        check(b"", &[]);
        check(b"a\nb\n", &["a", "b"]);
        check(b"a\nno end", &["a", "no end"]);
        check(b"a\r\nb\r\n", &["a", "b"]);
        check(b"a\r", &["a"]);
        check(b"\n\r\n \t\na\n", &["~", "~", "~", "a"]);
        check(b"12345678\n123456789\n1\n", &["12345678", "!", "1"]);
        check(b"12345678\r\n123456789\r\n1", &["12345678", "!", "1"]);
        check(b"1234567890\r\n1", &["!", "1"]);
        check(b"123456789\r0\n1", &["!", "1"]);
        check(b"12345678", &["12345678"]);
        check(b"123456789", &["!"]);
        check(b"1234567890", &["!"]);
        check(b"          \n", &["!"]);
        check(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", &["a", "\u{feff}b"]);
        check(b"\xff\n", &["\u{fffd}"]);
    }

    #[test]
    fn packed_files_may_be_joined() {
        for (name, pack) in [("a.gz", gzip as fn(&[u8]) -> Vec<u8>), ("a.zst", zstandard)] {
            let (_folder, path) = file(name, &[pack(b"a\nb"), pack(b"c\nd")].concat());
            let seen = all(Lines::open(&path, LIMIT).expect("it exists")).expect("it is whole");
            assert_eq!(seen, ["a", "bc", "d"], "{name}");
        }
    }

    #[test]
    fn a_long_line_is_never_held_in_memory() {
        let mut content = vec![b'x'; 3 * BUFFER_BYTES];
        content.extend_from_slice(b"\nshort\n");
        let (_folder, path) = file("a.zst", &zstandard(&content));
        let mut lines = Lines::open(&path, LIMIT).expect("it exists");
        let mut line = Vec::new();
        assert_eq!(lines.next_line(&mut line).expect("it is whole"), Some(Line::Oversize));
        assert!(line.is_empty() && line.capacity() < BUFFER_BYTES, "{}", line.capacity());
        assert_eq!(lines.next_line(&mut line).expect("it is whole"), Some(Line::Text));
        assert_eq!(line, b"short");
    }

    #[test]
    fn a_broken_file_is_named_with_the_line_it_breaks_at() {
        let check = |name: &str, bytes: &[u8], expected: &str| {
            let (_folder, path) = file(name, bytes);
            let error = Lines::open(&path, LIMIT).and_then(all).expect_err(name).to_string();
            assert!(error.starts_with("cannot read "), "{error}");
            assert!(error.contains(&format!("{name} at line {expected}: ")), "{error}");
        };
        check("plain.gz", b"{\"text\":\"not packed\"}\n", "1");
        check("plain.zst", b"{\"text\":\"not packed\"}\n", "1");
        // Stored and flushed, so that the first lines come out before the cut.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(b"a\nb\n").expect("writing to memory");
        encoder.flush().expect("writing to memory");
        check("cut.gz", encoder.get_ref(), "3");
        // Stored too, being too short to pack: the last byte is the end of the second line.
        let whole = zstandard(b"a\nb\n");
        check("cut.zst", &whole[..whole.len() - 1], "2");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Lines::open(Path::new("/no/such/file.jsonl"), LIMIT).err().expect("it is missing");
        assert!(error.to_string().starts_with("cannot open /no/such/file.jsonl: "), "{error}");
        assert_eq!(named(Path::new("-")), "standard input");
    }

    #[test]
    fn skipping_counts_the_lines_that_were_there() {
        let check = |skip: u64, skipped: u64, expected: &[&str]| {
            let (_folder, path) = file("a", b"a\n\nvery long line\nd");
            let mut lines = Lines::open(&path, LIMIT).expect("it exists");
            assert_eq!(lines.skip(skip).expect("it is whole"), skipped);
            assert_eq!(lines.taken(), skipped);
            let mut line = Vec::new();
            let mut seen = Vec::new();
            while lines.next_line(&mut line).expect("it is whole").is_some() {
                seen.push(String::from_utf8_lossy(&line).into_owned());
            }
            assert_eq!(seen, expected, "after {skip}");
        };
        check(0, 0, &["a", "", "", "d"]);
        check(3, 3, &["d"]);
        check(4, 4, &[]);
        check(5, 4, &[]);
    }

    #[test]
    fn the_digest_is_the_same_whatever_the_limit_and_the_ends_of_lines() {
        let digest = |content: &[u8], line_bytes_max: usize| {
            let (_folder, path) = file("a", content);
            let mut lines = Lines::open(&path, line_bytes_max).expect("it exists");
            lines.skip(u64::MAX).expect("it is whole");
            lines.digest()
        };
        let long = |bytes: usize, end: &str| format!("{}{end}", "x".repeat(bytes)).into_bytes();
        for bytes in [3, 9, 100, 65_534, 65_535, 65_536, 65_537, 65_538, 65_539, 300_000] {
            let known = digest(&long(bytes, ""), LIMIT);
            for limit in [1, 64, 1_000, 65_536, 1 << 20] {
                for end in ["", "\n", "\r", "\r\n"] {
                    assert_eq!(digest(&long(bytes, end), limit), known, "{bytes} {limit} {end:?}");
                }
                assert_ne!(digest(&long(bytes + 1, ""), limit), known, "{bytes} {limit}: still written");
                assert_eq!(digest(&long(bytes, "\r\r\n"), limit), digest(&long(bytes, "\r\r\n"), LIMIT));
            }
        }
    }

    /// Gives its pieces one read at a time, as a pipe does.
    struct Pipe(std::vec::IntoIter<Vec<u8>>);

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.next().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn a_line_is_buffered_only_with_its_end() {
        let pipe = Pipe(vec![b"a\nb\nhal".to_vec(), b"f\n".to_vec()].into_iter());
        let mut lines = Lines::new(Path::new("-"), Box::new(pipe), LIMIT);
        let mut seen = Vec::new();
        let mut line = Vec::new();
        loop {
            let buffered = lines.is_next_buffered();
            if lines.next_line(&mut line).expect("a pipe that works").is_none() {
                break;
            }
            seen.push((String::from_utf8_lossy(&line).into_owned(), buffered));
        }
        let expected = [("a", false), ("b", true), ("half", false)];
        assert_eq!(seen, expected.map(|(line, buffered)| (line.to_owned(), buffered)));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            content in "[a\r\n ]{0,60}",
            cuts in prop::collection::vec(1..9_usize, 0..40),
        ) {
            let mut pieces = Vec::new();
            let mut rest = content.as_bytes();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.extend((!piece.is_empty()).then(|| piece.to_vec()));
                rest = after;
            }
            pieces.extend((!rest.is_empty()).then(|| rest.to_vec()));
            let cut = all(Lines::new(Path::new("-"), Box::new(Pipe(pieces.into_iter())), LIMIT));

            let mut expected: Vec<&str> = content.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            let expected: Vec<&str> = expected
                .into_iter()
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .map(|line| match line {
                    line if line.len() > LIMIT => "!",
                    line if line.trim_ascii().is_empty() => "~",
                    line => line,
                })
                .collect();
            prop_assert_eq!(cut.expect("a pipe that works"), expected);
        }
    }
}
