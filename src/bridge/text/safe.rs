//! What strangers write, made fit for a helpdesk: no control characters, no text that shows itself in another order than
//! it is, no more of it than fits.

use std::fmt::Write as _;

use super::QUOTE;

/// What becomes of characters beyond U+FFFF, emoji above all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FourByte {
    /// They stay.
    #[default]
    Keep,
    /// They become `�`: the helpdesk's database would cut the text at the first of them, or refuse it, as MySQL does
    /// with its three-byte `utf8`.
    Replace,
}

/// Several lines: line breaks and tabs stay, everything else that shows nothing and does something goes.
pub(super) fn lines(text: &str, four_byte: FourByte) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\t' => clean.push('\t'),
            c if c.is_control() || turns(c) => {}
            '\u{10000}'.. if four_byte == FourByte::Replace => clean.push(char::REPLACEMENT_CHARACTER),
            c => clean.push(c),
        }
    }
    clean
}

/// The same on one line, with single spaces.
pub(super) fn line(text: &str, four_byte: FourByte) -> String {
    let clean = lines(text, four_byte);
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Embeddings, overrides and isolates, which show what follows in another order ("Trojan Source", CVE-2021-42574), and
/// the byte order mark. Arabic and Hebrew do without them.
fn turns(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

/// At most `chars_max` characters, the mark of what is missing among them.
pub(super) fn cut(text: &str, chars_max: usize, mark: impl FnOnce(usize) -> String) -> String {
    let chars = text.chars().count();
    if chars <= chars_max {
        return text.to_owned();
    }
    // The number in the mark is of what is left out at least; its own length may cost a few more.
    let mark = mark(chars - chars_max);
    let kept = chars_max.saturating_sub(mark.chars().count());
    let kept: String = text.chars().take(kept).collect();
    format!("{}{mark}", kept.trim_end())
}

/// Each line of it marked as somebody else's: none can be mistaken for one of ours.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 16);
    for line in text.trim().lines() {
        let space = if line.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        _ = writeln!(quoted, "{QUOTE}{space}{line}");
    }
    quoted.truncate(quoted.trim_end_matches('\n').len());
    quoted
}

/// A text of ours as HTML: quotations, lists and paragraphs are what they look like. Everything is escaped, and only
/// addresses outside of quotations become links: nobody clicks on a stranger's link because we made it one.
pub(super) fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() * 2);
    let mut open = Block::None;
    for line in text.lines() {
        let (block, line) = match line {
            "" => (Block::None, ""),
            line => match (line.strip_prefix(QUOTE), line.strip_prefix("- ")) {
                (Some(quoted), _) => (Block::Quote, quoted.strip_prefix(' ').unwrap_or(quoted)),
                (_, Some(item)) => (Block::List, item),
                _ => (Block::Paragraph, line),
            },
        };
        if block != open {
            html.push_str(open.end());
            html.push_str(block.begin());
        } else if matches!(block, Block::Quote | Block::Paragraph) {
            html.push_str("<br>");
        }
        open = block;
        match block {
            Block::None => {}
            Block::Quote => escape(&mut html, line),
            Block::List => {
                html.push_str("<li>");
                with_links(&mut html, line);
                html.push_str("</li>");
            }
            Block::Paragraph => with_links(&mut html, line),
        }
    }
    html.push_str(open.end());
    html
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Paragraph,
    Quote,
    List,
}

impl Block {
    fn begin(self) -> &'static str {
        match self {
            Block::None => "",
            Block::Paragraph => "<p>",
            Block::Quote => "<blockquote>",
            Block::List => "<ul>",
        }
    }

    fn end(self) -> &'static str {
        match self {
            Block::None => "",
            Block::Paragraph => "</p>",
            Block::Quote => "</blockquote>",
            Block::List => "</ul>",
        }
    }
}

fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

fn with_links(html: &mut String, text: &str) {
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            html.push(' ');
        }
        let opened = word.trim_start_matches(['(', '<', '[']);
        let address = opened.trim_end_matches([')', '>', ']', '.', ',', ';', ':', '!', '?']);
        if !(address.starts_with("https://") || address.starts_with("http://")) {
            escape(html, word);
            continue;
        }
        let (before, after) = (word.len() - opened.len(), word.len() - opened.len() + address.len());
        escape(html, word.get(..before).unwrap_or_default());
        html.push_str("<a href=\"");
        escape(html, address);
        html.push_str("\" rel=\"noopener nofollow\">");
        escape(html, address);
        html.push_str("</a>");
        escape(html, word.get(after..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_and_does_something_goes() {
        let check =
            |text: &str, expected: &str| assert_eq!(lines(text, FourByte::Keep), expected, "{text:?}");
        check("a\u{1b}[31mb\0\u{7f}\u{9b}c", "a[31mbc");
        check("one\r\ntwo\rthree\u{2028}four\u{85}five\tsix", "one\ntwo\nthree\nfour\nfive\tsix");
        check("pay \u{202E}live\u{202C} \u{2066}now\u{2069}\u{FEFF}", "pay live now");
        check("שלום مرحبا 👩‍👩‍👧", "שלום مرحبا 👩‍👩‍👧");
        assert_eq!(lines("box 😡 𝐃 é\u{FFFF}", FourByte::Replace), "box � � é");
        assert_eq!(line(" a\n\n b\u{a0}\tc ", FourByte::Keep), "a b c");
    }

    #[test]
    fn a_cut_says_what_is_missing_and_stays_within_the_limit() {
        let mark = |missing: usize| format!(" [{missing} more]");
        assert_eq!(cut("éééééééééé", 10, mark), "éééééééééé");
        let text = "é".repeat(30);
        assert_eq!(cut(&text, 20, mark), format!("{} [10 more]", "é".repeat(10)));
    }

    #[test]
    fn a_strangers_line_never_looks_like_ours() {
        assert_eq!(quoted("\n a\n\nvigie-ref: 00\n│ b\n"), "│ a\n│\n│ vigie-ref: 00\n│ │ b");
        assert_eq!(quoted(""), "");
    }

    #[test]
    fn html_is_what_the_text_looks_like_and_nothing_else() {
        let text = "│ <script>a()</script>\n│ see https://evil.example/\n\nOn X: https://x.com/a?b=1&c=2.\nby \"Ana\"\n\n- one (http://a.example/)\n- two\nend";
        let expected = "<blockquote>&lt;script&gt;a()&lt;/script&gt;<br>see https://evil.example/</blockquote>\
            <p>On X: <a href=\"https://x.com/a?b=1&amp;c=2\" rel=\"noopener nofollow\">https://x.com/a?b=1&amp;c=2</a>.<br>\
            by &quot;Ana&quot;</p><ul><li>one (<a href=\"http://a.example/\" rel=\"noopener nofollow\">http://a.example/</a>)</li>\
            <li>two</li></ul><p>end</p>";
        assert_eq!(html(text), expected);
    }
}
