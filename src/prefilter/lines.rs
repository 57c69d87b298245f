//! Terms or rules in a file of their own, one a line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The text of a file that a config names: one name or rule a line.
///
/// White space around a line does not count, nor do blank lines and those that begin with `#`. A line of rules
/// may be meant to begin with a hashtag: it is a comment only where a space, another `#`, or nothing follows the
/// first, and a mistake otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lines {
    path: PathBuf,
    text: Arc<str>,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// From 1.
    pub(super) number: u32,
    pub(super) text: &'l str,
}

impl Lines {
    /// The text of the file at `path`, which is only named in mistakes.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Lines {
        Lines { path: path.into(), text: text.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that are not blank.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        // Some editors mark UTF-8 at the beginning.
        let text = self.text.strip_prefix('\u{FEFF}').unwrap_or(&self.text);
        let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, text)| !text.is_empty());
        lines.map(|(number, text)| Line { number, text })
    }

    /// File and line, for mistakes.
    pub(super) fn place(&self, line: u32) -> String {
        format!("{}:{line}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let lines = Lines::new("names.txt", "\u{FEFF}Lumio\r\n\n  # ours \n\tlumio box ");
        let found: Vec<_> = lines.lines().map(|line| (line.number, line.text)).collect();
        assert_eq!(found, [(1, "Lumio"), (3, "# ours"), (4, "lumio box")]);
        assert_eq!(lines.place(4), "names.txt:4");
    }
}
