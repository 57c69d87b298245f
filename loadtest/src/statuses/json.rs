//! JSON strings as X writes them.

use std::fmt::Write;

/// Appends `text` as a JSON string; with `escapes` everything but ASCII, `/`, `<` and `>` as escapes, as X does.
pub(super) fn string(text: &str, escapes: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '/' if escapes => out.push_str("\\/"),
            '<' | '>' if escapes => unit(c as u16, out),
            _ if c.is_control() => unit(c as u16, out),
            _ if c.is_ascii() || !escapes => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|half| unit(*half, out)),
        }
    }
    out.push('"');
}

fn unit(unit: u16, out: &mut String) {
    let _ = write!(out, "\\u{unit:04x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_reads_as_what_it_was_and_escapes_as_x_does() {
        let text = "Été \"ça\" \\ <a href=x>/ 🎲\n\u{7}\u{85}";
        for escapes in [true, false] {
            let mut out = String::new();
            string(text, escapes, &mut out);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
            assert_eq!(out.is_ascii(), escapes);
        }
        let mut out = String::new();
        string("</é🎲", true, &mut out);
        assert_eq!(out, r#""\u003c\/\u00e9\ud83c\udfb2""#);
    }
}
