//! A post's text → the text that models are given, by the very rules they were trained with.
//!
//! In this order: each link becomes `http`, each mention `@user`, or `@support` where the handle says that
//! it is a company's support account, runs of white space one space, none at either end. The classes are those
//! of Unicode Technical Standard 18 as the `regex` crate has them; the training side (`models/train/text.py`)
//! spells out the same sets.

use regex::Regex;

/// Longest text that is looked at, in bytes; the rest is ignored, at a character's boundary.
///
/// The full model's 96 tokens are used up after about 500 letters. Longer posts are allowed (some Mastodon
/// servers take 10,000 characters, X 25,000) and say in their first paragraph what they want. The limit also
/// bounds the time that a megabyte takes.
pub const TEXT_BYTES_MAX: usize = 4_000;

/// What stands for a link.
pub(super) const LINK: &str = "http";
/// What stands for a mention.
pub(super) const MENTION: &str = "@user";
/// What stands for a mention of a support account.
pub(super) const SUPPORT_MENTION: &str = "@support";

/// What companies put into the handles of their support accounts, in both languages.
const SUPPORT_WORDS: [&str; 6] = ["support", "help", "service", "assist", "client", "conseil"];
/// What such handles start with; inside other words it is common (task, plaider).
const SUPPORT_STARTS: [&str; 2] = ["ask", "aide"];
/// What the first label of such handles ends in; inside other words it is common (scarecrow, savour).
const SUPPORT_ENDS: [&str; 4] = ["sav", "care", "cares", "aide"];

/// The two patterns, with the buffers that are reused from text to text.
#[derive(Debug)]
pub struct Normaliser {
    link: Regex,
    mention: Regex,
    without_links: String,
    without_mentions: String,
    normalised: String,
}

impl Default for Normaliser {
    fn default() -> Self {
        let compiled = |pattern| Regex::new(pattern).expect("the pattern is a constant, and tested");
        Self {
            link: compiled(r"https?://\S+"),
            mention: compiled(r"@[\w.\-]+(?:@[\w.\-]+)?"),
            without_links: String::new(),
            without_mentions: String::new(),
            normalised: String::new(),
        }
    }
}

impl Normaliser {
    /// `text` without its links, mentions and surplus white space. Only the first [`TEXT_BYTES_MAX`] bytes are
    /// read.
    pub fn normalise(&mut self, text: &str) -> &str {
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text);
        let text = replaced(&self.link, text, |_| LINK, &mut self.without_links);
        let text = replaced(&self.mention, text, mention, &mut self.without_mentions);
        self.normalised.clear();
        // `char::is_whitespace` and the `\s` of regular expressions are both Unicode's White_Space.
        for word in text.split_whitespace() {
            if !self.normalised.is_empty() {
                self.normalised.push(' ');
            }
            self.normalised.push_str(word);
        }
        &self.normalised
    }
}

/// What stands for a mention, which begins with its `@`.
fn mention(found: &str) -> &'static str {
    // The account's own name: what its server is called says nothing of it, and a full stop ends a sentence.
    let handle = found.trim_start_matches('@').split('@').next().unwrap_or_default();
    let name = handle.trim_end_matches(['.', '-', '_']).as_bytes();
    let first_label = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is = |part: &[u8], word: &str| part.eq_ignore_ascii_case(word.as_bytes());
    let starts = |word: &str| name.get(..word.len()).is_some_and(|part| is(part, word));
    let ends = |word: &str| first_label.rchunks(word.len()).next().is_some_and(|part| is(part, word));
    let has = |word: &str| name.windows(word.len()).any(|part| is(part, word));
    let is_support = SUPPORT_STARTS.into_iter().any(starts)
        || SUPPORT_ENDS.into_iter().any(ends)
        || SUPPORT_WORDS.into_iter().any(has);
    if is_support { SUPPORT_MENTION } else { MENTION }
}

/// `text` with every match of `pattern` replaced, in `buffer` if there was any.
fn replaced<'t>(
    pattern: &Regex,
    text: &'t str,
    by: impl Fn(&str) -> &'static str,
    buffer: &'t mut String,
) -> &'t str {
    buffer.clear();
    let mut kept = 0;
    for found in pattern.find_iter(text) {
        buffer.push_str(text.get(kept..found.start()).unwrap_or_default());
        buffer.push_str(by(found.as_str()));
        kept = found.end();
    }
    if kept == 0 {
        return text;
    }
    buffer.push_str(text.get(kept..).unwrap_or_default());
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_normalised_as_in_training() {
        let mut normaliser = Normaliser::default();
        let mut check = |text: &str, expected: &str| {
            assert_eq!(normaliser.normalise(text), expected, "from {text:?}");
        };
        check("", "");
        check(" \t\r\n\u{3000}", "");
        check("  a \u{a0}\u{2028} b  ", "a b");
        check("voir https://a.example/x?y=@z) ici", "voir http ici");
        check("http:// HTTPS://A.example https://", "http:// HTTPS://A.example https://");
        check("http://é\u{3000}x", "http x");
        check("@a @a.b-c @a@b.example @ a@b", "@user @user @user @ a@user");
        check("@@a, .@a: @élise_3!", "@@user, .@user: @user!");
        check("@a@b@c", "@user@user");
        check("@e\u{301}x @½ @\u{200d}", "@user @½ @user");
        check("@AcmeHelp .@askAcme @acme_SAV: @lesav2 @task", "@support .@support @support: @user @user");
        // A replaced link may become part of a mention, as it does in training.
        check("@https://x", "@user");
        check("a\u{0}b\u{202e}c\u{200b}d", "a\u{0}b\u{202e}c\u{200b}d");
    }

    #[test]
    fn only_an_accounts_own_name_tells_that_it_gives_support() {
        let mut normaliser = Normaliser::default();
        let mut check = |handles: &[&str], expected: &str| {
            handles.iter().for_each(|handle| assert_eq!(normaliser.normalise(handle), expected, "{handle}"));
        };
        check(&["@AskAcme", "@aide.acme@b.example", "@AIDE_acme"], "@support");
        check(&["@lumio_SAV", "@lumio_SAV.", "@lumio_sav-_.", "@acmesav@b.example"], "@support");
        check(&["@XboxCares", "@acmecare", "@acme_aide", "@acmeCare.bsky.social"], "@support");
        check(
            &["@acmeHELPs", "@a.support.b", "@relation_clients", "@conseillers", "@a_Service_b"],
            "@support",
        );
        check(&["@jean", "@jean@helpers.social", "@jean@aide.example", "@jean@acme.care"], "@user");
        check(&["@scarecrow", "@oscarelli", "@CaReless", "@task", "@lesav2", "@savour", "@laides"], "@user");
        check(&["@jean.care", "@acme.sav", "@sa", "@.", "@_", "@é"], "@user");
    }

    #[test]
    fn only_the_first_bytes_are_read_and_no_character_is_cut() {
        let mut normaliser = Normaliser::default();
        assert_eq!(normaliser.normalise(&"é".repeat(TEXT_BYTES_MAX)), "é".repeat(TEXT_BYTES_MAX / 2));
        let odd = format!("a{}", "é".repeat(TEXT_BYTES_MAX));
        assert_eq!(normaliser.normalise(&odd).len(), TEXT_BYTES_MAX - 1);
    }
}
