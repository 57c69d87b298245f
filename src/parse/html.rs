//! Mastodon's HTML → the text that people see, and the links in it.
//!
//! The instance sanitises `content` to a dozen elements, but what it says about itself is not to be relied
//! on: any bytes give some text, in time linear in their number, and what is no tag stays text (`1 < 2`).

use std::borrow::Cow;

/// The text of `html`. Links that are neither mention nor hashtag are appended to `links`.
///
/// `<br>` and the ends of paragraphs and other blocks become line breaks; character references are
/// resolved. Of a link's text the parts that Mastodon hides are left out and what it shortens ends in `…`,
/// so that a text reads as on the page; the whole target is in `links`.
pub(super) fn text<'h>(html: &'h str, links: &mut Vec<Cow<'h, str>>) -> Cow<'h, str> {
    if !html.contains(['<', '&']) {
        return Cow::Borrowed(html.trim());
    }
    let mut stripper = Stripper { out: String::with_capacity(html.len()), hidden_spans: 0, shortened: false };
    let mut rest = html;
    // A quote that never closes would otherwise be searched for from every later tag.
    let mut quotes_close = true;
    while let Some(start) = rest.find('<') {
        let (before, from_tag) = rest.split_at(start);
        if !opens_tag(from_tag) {
            stripper.push(before);
            stripper.push("<");
            rest = from_tag.get(1..).unwrap_or_default();
            continue;
        }
        let quoted_end = if quotes_close { end_outside_quotes(from_tag) } else { None };
        quotes_close &= quoted_end.is_some();
        let Some(end) = quoted_end.or_else(|| from_tag.find('>')) else {
            break;
        };
        stripper.push(before);
        stripper.tag(from_tag.get(1..end).unwrap_or_default(), links);
        rest = from_tag.get(end + 1..).unwrap_or_default();
    }
    stripper.push(rest);
    Cow::Owned(trimmed(stripper.out))
}

struct Stripper {
    out: String,
    /// How many `<span>` are open from an invisible one on, itself included; 0: text is seen.
    hidden_spans: usize,
    /// Whether the open span is shown as shortened.
    shortened: bool,
}

impl Stripper {
    fn push(&mut self, text: &str) {
        if self.hidden_spans == 0 {
            html_escape::decode_html_entities_to_string(text, &mut self.out);
        }
    }

    fn break_line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    fn tag<'h>(&mut self, tag: &'h str, links: &mut Vec<Cow<'h, str>>) {
        let closes = tag.starts_with('/');
        let tag = tag.trim_start_matches('/');
        let name_end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(name_end);
        let is = |element: &str| name.eq_ignore_ascii_case(element);
        if is("span") {
            if closes {
                self.close_span();
            } else {
                self.open_span(attributes);
            }
        } else if is("a") {
            // Spans end with their link at the latest: an unclosed one must not hide the rest of the post.
            (self.hidden_spans, self.shortened) = (0, false);
            if !closes {
                links.extend(link(attributes));
            }
        } else if is("br") {
            self.out.push('\n');
        } else if BLOCKS.iter().any(|block| is(block)) {
            (self.hidden_spans, self.shortened) = (0, false);
            self.break_line();
        }
    }

    fn open_span(&mut self, attributes: &str) {
        let class = attribute(attributes, "class").unwrap_or_default();
        let has = |name| class.split_ascii_whitespace().any(|class| class == name);
        if self.hidden_spans > 0 || has("invisible") {
            self.hidden_spans = self.hidden_spans.saturating_add(1);
        } else {
            self.shortened = has("ellipsis");
        }
    }

    fn close_span(&mut self) {
        if self.hidden_spans > 0 {
            self.hidden_spans -= 1;
        } else if std::mem::take(&mut self.shortened) {
            self.out.push('…');
        }
    }
}

/// Elements that stand on lines of their own, of those that Mastodon and its peers let through.
const BLOCKS: [&str; 14] =
    ["p", "div", "li", "ul", "ol", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "hr"];

/// Whether `html`, which begins with `<`, begins a tag or comment rather than a "less than".
fn opens_tag(html: &str) -> bool {
    matches!(html.as_bytes().get(1), Some(b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'!' | b'?'))
}

/// Where the `>` is that ends the tag at the start of `html`.
fn end_outside_quotes(html: &str) -> Option<usize> {
    let mut quote = None;
    html.bytes().position(|byte| match (quote, byte) {
        (None, b'>') => true,
        (None, b'"' | b'\'') => {
            quote = Some(byte);
            false
        }
        (Some(open), _) if open == byte => {
            quote = None;
            false
        }
        _ => false,
    })
}

/// The target of an anchor, unless it leads to a mention's profile or a hashtag's page.
fn link(attributes: &str) -> Option<Cow<'_, str>> {
    let class = attribute(attributes, "class").unwrap_or_default();
    if class.split_ascii_whitespace().any(|class| matches!(class, "mention" | "hashtag")) {
        return None;
    }
    let rel = attribute(attributes, "rel").unwrap_or_default();
    if rel.split_ascii_whitespace().any(|rel| rel == "tag") {
        return None;
    }
    let href = html_escape::decode_html_entities(attribute(attributes, "href")?);
    (href.starts_with("https://") || href.starts_with("http://")).then_some(href)
}

/// The value of the attribute `name` as written, without its quotes.
fn attribute<'h>(attributes: &'h str, name: &str) -> Option<&'h str> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        let key_end =
            rest.find(|c: char| c == '=' || c == '/' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (key, after_key) = rest.split_at(key_end);
        let Some(value) = after_key.trim_ascii_start().strip_prefix('=').map(str::trim_ascii_start) else {
            rest = after_key;
            continue;
        };
        let (value, after_value) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = value.get(1..).unwrap_or_default();
                inner.split_once(quote).unwrap_or((inner, ""))
            }
            _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after_value;
    }
}

/// `text` without white space around it, in its own allocation.
fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    let leading = text.len() - text.trim_start().len();
    text.drain(..leading);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(html: &str, expected: &str, expected_links: &[&str]) {
        let mut links = Vec::new();
        assert_eq!(text(html, &mut links), expected, "{html}");
        assert_eq!(links, expected_links, "{html}");
    }

    #[test]
    fn blocks_and_breaks_become_lines() {
        check("plain", "plain", &[]);
        check("<p>one</p>", "one", &[]);
        check("<p>one</p><p>two<br>three<br />four</p>", "one\ntwo\nthree\nfour", &[]);
        check("<p>list</p><ul><li>a</li><li>b</li></ul>", "list\na\nb", &[]);
        check("<P>upper<BR/>case</P>", "upper\ncase", &[]);
        check("", "", &[]);
        check("<p></p>", "", &[]);
    }

    #[test]
    fn character_references_are_resolved_once() {
        check("<p>a &amp; b &lt;c&gt; &#39;d&#39; &quot;e&quot; &eacute;</p>", "a & b <c> 'd' \"e\" é", &[]);
        check("&amp;lt;", "&lt;", &[]);
        check("&unknown; &#xD800; &", "&unknown; &#xD800; &", &[]);
    }

    #[test]
    fn links_read_as_on_the_page_and_are_kept_whole() {
        check(
            r#"<p>see <a href="https://example.org/a/long/path?x=1&amp;y=2" rel="nofollow"><span class="invisible">https://</span><span class="ellipsis">example.org/a/long</span><span class="invisible">/path?x=1&amp;y=2</span></a> now</p>"#,
            "see example.org/a/long… now",
            &["https://example.org/a/long/path?x=1&y=2"],
        );
        check(r"<a href='http://e.org'>e</a>", "e", &["http://e.org"]);
        check(r"<a href=http://e.org>e</a>", "e", &["http://e.org"]);
        check(r#"<a data-href="http://no" href="javascript:x()">e</a>"#, "e", &[]);
    }

    #[test]
    fn mentions_and_hashtags_are_no_links() {
        check(
            r#"<span class="h-card"><a href="https://e.org/@bob" class="u-url mention">@<span>bob</span></a></span> <a href="https://e.org/tags/x" class="mention hashtag" rel="tag">#<span>x</span></a> <a href="https://e.org/tag/y" rel="tag">#y</a>"#,
            "@bob #x #y",
            &[],
        );
    }

    #[test]
    fn an_unclosed_hidden_span_ends_with_its_link_or_paragraph() {
        check(r#"<a href="https://e"><span class="invisible">https://</a> seen"#, "seen", &["https://e"]);
        check(r#"<p><span class="invisible">hidden</p><p>seen</p>"#, "seen", &[]);
        check(r#"<span class="invisible">a<span>b</span>c</span>d"#, "d", &[]);
    }

    #[test]
    fn what_is_no_tag_stays_text() {
        check("1 < 2 <3 & 3 > 2", "1 < 2 <3 & 3 > 2", &[]);
        check("a <b", "a <b", &[]);
        check("<", "<", &[]);
        check(r#"<p title="a>b">c</p>"#, "c", &[]);
        check(r#"<p title="a>b</p><i>c</i>"#, "b\nc", &[]);
        check("<!-- gone -->kept", "kept", &[]);
    }

    #[test]
    fn a_million_hostile_bytes_are_read_in_one_go() {
        // Each would take minutes if its repeats were searched again from every tag.
        for part in [
            "<",
            "<a ",
            "<a \"",
            "<a '>",
            "<a '>'",
            "&",
            "&#",
            "&#x",
            "<span class=invisible>",
            "<a a=",
            "<!--",
        ] {
            let html = part.repeat(1_000_000 / part.len());
            assert!(text(&html, &mut Vec::new()).len() <= html.len());
        }
    }

    proptest! {
        #[test]
        fn any_string_gives_text(html in "[<>/a-p&;#x\"'= é]{0,200}|.{0,100}") {
            let mut links = Vec::new();
            let text = text(&html, &mut links);
            prop_assert_eq!(text.trim(), &*text);
        }
    }
}
