//! What must hold of any config file.

use super::Config;

/// A file gives a config, or mistakes that lie in it; and the same ones when it is read again.
///
/// Files that name other files are left out: what those hold is not in the input.
pub(crate) fn file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // An escape in a quoted key may spell any key.
    if ["file", "\\u", "\\U", "\\x"].iter().any(|part| text.contains(part)) {
        return;
    }
    // The built-in service words take twenty milliseconds to compile, and are the same in each.
    let with_few_words = format!("triggers.builtin = false\n{text}");
    let text = if text.contains("triggers") { text } else { &with_few_words };
    let (first, again) = (Config::parse(text), Config::parse(text));
    match (first, again) {
        (Ok(first), Ok(again)) => {
            assert_eq!(format!("{first:?}"), format!("{again:?}"));
            assert!(!first.sources.is_empty() && !first.prefilter.brands.is_empty());
            assert!(
                crate::prefilter::Prefilter::build(&first.prefilter).is_ok(),
                "checked, and does not build"
            );
        }
        (Err(first), Err(again)) => {
            assert_eq!(first, again);
            assert!(!first.is_empty(), "neither a config nor a mistake");
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            for mistake in first {
                assert!((1..=lines).contains(&mistake.line) && !mistake.text.is_empty(), "{mistake:?}");
            }
        }
        (first, again) => panic!("{first:?}, and again: {again:?}"),
    }
}
