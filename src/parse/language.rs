//! Language tags as authors and networks write them → a primary subtag to compare.

use std::borrow::Cow;

/// Primary subtag of `tag` in lower case: `fr` of `fr-CA` and of `FR`.
///
/// `None` for what names no language: the codes for undetermined, none, many and uncoded (ISO 639-2 `und`,
/// `zxx`, `mul`, `mis`), the private range `qaa` to `qtz` in which X marks posts of only hashtags or media,
/// X's `art`, and anything that is no subtag (RFC 5646: two to eight letters).
pub(crate) fn primary(tag: &str) -> Option<Cow<'_, str>> {
    let subtag = tag.split(['-', '_']).next()?;
    if !(2..=8).contains(&subtag.len()) || !subtag.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let subtag = if subtag.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(subtag.to_ascii_lowercase())
    } else {
        Cow::Borrowed(subtag)
    };
    match subtag.as_bytes() {
        b"und" | b"zxx" | b"mul" | b"mis" | b"art" | [b'q', b'a'..=b't', _] => None,
        // X still writes codes that ISO 639-1 withdrew in 1989.
        b"in" => Some("id".into()),
        b"iw" => Some("he".into()),
        b"ji" => Some("yi".into()),
        _ => Some(subtag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tag: &str, expected: Option<&str>) {
        assert_eq!(primary(tag).as_deref(), expected, "{tag}");
    }

    #[test]
    fn the_primary_subtag_is_kept_in_lower_case() {
        check("fr", Some("fr"));
        check("FR", Some("fr"));
        check("en-US", Some("en"));
        check("pt_BR", Some("pt"));
        check("zh-Hant-TW", Some("zh"));
        check("ckb", Some("ckb"));
        check("iw", Some("he"));
        check("in", Some("id"));
    }

    #[test]
    fn what_names_no_language_is_none() {
        for tag in
            ["", "und", "zxx", "qme", "qht", "art", "mul", "x", "-fr", "français", "1234", "languages1"]
        {
            check(tag, None);
        }
        check("qu", Some("qu"));
    }
}
