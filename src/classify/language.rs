//! The language of a post, as far as its text tells, and what it means for a verdict.
//!
//! `whichlang` guesses among sixteen languages in about a microsecond, and always guesses. Links and mentions
//! are kept from it, and its guess counts only where there are letters enough, of the script that the language
//! is written in. Measured by the test at the end of this file on UMSAB (Barbieri et al. 2022; tweets and
//! headlines, 2,059 to 2,163 a language):
//!
//! | posts in | en | fr | ar | de | es | hi | it | pt |
//! |---|---|---|---|---|---|---|---|---|
//! | told to be neither English nor French, % | 0.1 | 0.8 | 99.9 | 85.1 | 95.9 | 22.9 | 93.3 | 95.4 |
//! | not told, % | 0.1 | 0.7 | 0.1 | 11.9 | 3.7 | 17.9 | 5.6 | 1.6 |
//!
//! Nearly all of the Hindi posts are in Latin letters, and many half English. Of our own posts, short ones written
//! for vigie's training in English and French, 0.2 % are told to be in another language.
//! Asking for common words of that language, or for the absence of English and French ones, is not needed.

use super::Verdict;
use super::normalise::{LINK, MENTION, SUPPORT_MENTION};

/// Fewest Latin letters of which a language is told.
///
/// Below, one English or French post in five would be taken for another language ("DM me pls" for Portuguese);
/// with 20 to 29 it is one in thirty-four, from 30 on one in 400.
const LATIN_LETTERS_MIN: usize = 20;

/// Fewest letters of another script that tell that a text is in it: a smiley has up to three.
const OTHER_LETTERS_MIN: usize = 4;

/// The share of a verdict that is replaced by not knowing, where the model was not trained for the language.
///
/// The most probable class stays the same, and every lead shrinks to six tenths. At 0.4 a verdict of `other` can
/// still reach 0.65, above the desk's default `unsupported_min` of 0.6: a post of another language is refused
/// only where the model is almost certain (0.92 and more) and nobody of ours is addressed; where somebody is, the
/// least is 0.9, which no such verdict reaches. Everything else becomes a ticket.
const DOUBT: f32 = 0.4;

/// A language that can be told, or why none can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By its ISO 639-1 code, one of [`KNOWN`].
    Known(&'static str),
    /// Too few letters, or Latin letters that could be of many languages.
    Unclear,
    /// Letters of a script that is not Latin, and of no language we know.
    OtherScript,
}

/// The languages that can be told.
const KNOWN: [&str; 16] =
    ["ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "sv", "tr", "vi", "zh"];

impl Language {
    /// A language that cannot be told.
    pub const UNCLEAR: Language = Language(Kind::Unclear);

    /// The language of this ISO 639-1 code, if it can be told.
    pub fn from_code(code: &str) -> Option<Language> {
        KNOWN.into_iter().find(|known| *known == code).map(|known| Language(Kind::Known(known)))
    }

    /// The codes of all languages that can be told.
    pub fn codes() -> &'static [&'static str] {
        &KNOWN
    }

    /// ISO 639-1, `und` if unknown.
    pub fn code(self) -> &'static str {
        match self.0 {
            Kind::Known(code) => code,
            Kind::Unclear | Kind::OtherScript => "und",
        }
    }

    /// Whether a text in it is surely in none of `languages`.
    pub(super) fn is_outside(self, languages: &[Language]) -> bool {
        match self.0 {
            Kind::Known(_) => !languages.contains(&self),
            Kind::Unclear => false,
            Kind::OtherScript => true,
        }
    }
}

/// Tells languages; holds the buffer that is reused from text to text.
#[derive(Debug, Default)]
pub(super) struct Teller {
    words: String,
}

impl Teller {
    /// The language of a normalised text.
    pub(super) fn tell(&mut self, normalised: &str) -> Language {
        self.words.clear();
        let is_replaced = |word: &str| [LINK, MENTION, SUPPORT_MENTION].iter().any(|by| word.contains(by));
        for word in normalised.split(' ').filter(|word| !is_replaced(word)) {
            if !self.words.is_empty() {
                self.words.push(' ');
            }
            self.words.push_str(word);
        }
        let letters = || self.words.chars().filter(|c| c.is_alphabetic());
        let (latin, other) = letters().fold((0, 0), |(latin, other), c| match is_latin(c) {
            true => (latin + 1, other),
            false => (latin, other + 1),
        });
        let mostly_latin = latin >= other;
        let (found, least) =
            if mostly_latin { (latin, LATIN_LETTERS_MIN) } else { (other, OTHER_LETTERS_MIN) };
        if found < least {
            return Language::UNCLEAR;
        }
        let (code, is_of_script) = guess(&self.words);
        let fitting = letters().filter(|c| is_of_script(*c)).count();
        match (fitting * 2 > latin + other, mostly_latin) {
            (true, _) => Language(Kind::Known(code)),
            (false, true) => Language::UNCLEAR,
            (false, false) => Language(Kind::OtherScript),
        }
    }
}

/// whichlang's guess, and whether a letter is of the script in which that language is written.
fn guess(words: &str) -> (&'static str, fn(char) -> bool) {
    use whichlang::Lang;
    match whichlang::detect_language(words) {
        Lang::Deu => ("de", is_latin),
        Lang::Eng => ("en", is_latin),
        Lang::Fra => ("fr", is_latin),
        Lang::Ita => ("it", is_latin),
        Lang::Nld => ("nl", is_latin),
        Lang::Por => ("pt", is_latin),
        Lang::Spa => ("es", is_latin),
        Lang::Swe => ("sv", is_latin),
        Lang::Tur => ("tr", is_latin),
        Lang::Vie => ("vi", is_latin),
        Lang::Ara => {
            ("ar", |c| matches!(c, '\u{600}'..='\u{77f}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'))
        }
        Lang::Hin => ("hi", |c| matches!(c, '\u{900}'..='\u{97f}')),
        Lang::Rus => ("ru", |c| matches!(c, '\u{400}'..='\u{4ff}')),
        Lang::Kor => (
            "ko",
            |c| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}'),
        ),
        Lang::Cmn => ("zh", is_han),
        Lang::Jpn => ("ja", |c| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9d}') || is_han(c)),
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}')
}

/// Whether a letter is Latin, or one of the signs that people write Latin letters with: full-width, small,
/// circled, mathematical.
fn is_latin(c: char) -> bool {
    matches!(c,
        '\0'..='\u{2ff}' | '\u{1d00}'..='\u{1dbf}' | '\u{1e00}'..='\u{1eff}' | '\u{2070}'..='\u{218f}'
        | '\u{2460}'..='\u{24ff}' | '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' | '\u{fb00}'..='\u{fb06}'
        | '\u{ff21}'..='\u{ff5a}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}')
}

impl Verdict {
    /// The verdict with [`DOUBT`] in it: each head mixed with an even one, so that it still sums to 1.
    pub(crate) fn doubted(self) -> Verdict {
        Verdict {
            sentiment: mixed(self.sentiment),
            intent: mixed(self.intent),
            urgency: mixed(self.urgency),
            language: self.language,
        }
    }
}

fn mixed<const N: usize>(row: [f32; N]) -> [f32; N] {
    row.map(|p| (1.0 - DOUBT) * p + DOUBT / N as f32)
}

#[cfg(test)]
mod tests {
    use super::super::normalise::Normaliser;
    use super::*;
    use std::collections::BTreeMap;

    fn tell(text: &str) -> Language {
        Teller::default().tell(Normaliser::default().normalise(text))
    }

    #[test]
    fn a_language_is_told_where_there_are_letters_enough() {
        let check = |text: &str, expected: &str| assert_eq!(tell(text).code(), expected, "of {text:?}");
        check("my internet has been down since this morning", "en");
        check("plus de réseau depuis ce matin, merci", "fr");
        check("Meine Internetverbindung ist seit gestern tot", "de");
        check("llevo tres días sin internet y nadie contesta", "es");
        check("sono senza connessione da ieri mattina", "it");
        check("estou sem internet desde ontem e ninguém responde", "pt");
        check("mijn internet doet het sinds gisteren niet meer", "nl");
        check("الإنترنت لا يعمل منذ الصباح", "ar");
        check("सुबह से इंटरनेट नहीं चल रहा है", "hi");
        check("интернет не работает с утра", "ru");
        check("今朝からネットがつながりません", "ja");
        check("从早上开始就没有网络了", "zh");
        check("아침부터 인터넷이 안 돼요", "ko");
    }

    #[test]
    fn few_letters_links_and_mentions_tell_nothing() {
        let check = |text: &str| assert_eq!(tell(text), Language::UNCLEAR, "of {text:?}");
        check("");
        check("🙂🙂🙂");
        check("DM me pls");
        check("zéro pointé");
        check(
            "@lumio_help @lumio_help @lumio_help @lumio_help merci https://lumio.example/a/long/path/to/it",
        );
        check("14.3.1, M1 Max, 64 gigs 0123456789 0123456789");
        check("ノリ ok");
        check("\u{202e}\u{2066}\u{0}\u{200b}");
        // Letters that only look otherwise.
        check("𝐦𝐞𝐫𝐜𝐢 ⓜⓔⓡⓒⓘ");
    }

    #[test]
    fn a_script_that_no_known_language_has_is_no_latin_text() {
        let check = |text: &str| assert_eq!(tell(text), Language(Kind::OtherScript), "of {text:?}");
        check("האינטרנט לא עובד מהבוקר");
        check("το ίντερνετ δεν δουλεύει από το πρωί");
        check("อินเทอร์เน็ตใช้ไม่ได้ตั้งแต่เช้า");
        check("ინტერნეტი დილიდან არ მუშაობს @lumio_help");
        assert_eq!(tell("האינטרנט לא עובד").code(), "und");
    }

    #[test]
    fn only_what_is_surely_another_language_is_outside() {
        let served = ["en", "fr"].map(|code| Language::from_code(code).unwrap());
        assert!(!tell("plus de réseau depuis ce matin, merci").is_outside(&served));
        assert!(!tell("ok").is_outside(&served));
        assert!(tell("Meine Internetverbindung ist seit gestern tot").is_outside(&served));
        assert!(tell("האינטרנט לא עובד").is_outside(&served));
        assert_eq!(Language::from_code("el"), None);
        assert_eq!(Language::from_code("und"), None);
    }

    #[test]
    fn doubt_shrinks_every_lead_and_keeps_the_sum() {
        let verdict = Verdict {
            sentiment: [1.0, 0.0, 0.0],
            intent: [0.5, 0.25, 0.125, 0.125, 0.0, 0.0, 0.0, 0.0],
            urgency: [0.0, 0.25, 0.75],
            language: Language::UNCLEAR,
        };
        let found = verdict.doubted();
        let close = |found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{found:?}"));
        };
        let even = 0.4 / 3.0;
        close(&found.sentiment, &[0.6 + even, even, even]);
        close(&found.intent, &[0.35, 0.2, 0.125, 0.125, 0.05, 0.05, 0.05, 0.05]);
        close(&found.urgency, &[even, 0.15 + even, 0.45 + even]);
    }

    /// The figures in this file's opening; the posts are not ours to keep, so only where they are.
    #[test]
    fn english_and_french_are_hardly_ever_taken_for_another_language() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/unclear/sentiment_umsab_multi.tsv");
        let Ok(file) = std::fs::read_to_string(path) else {
            assert!(std::env::var_os("VIGIE_TEST_NO_SKIP").is_none(), "{path} is absent");
            println!("skipped: {path} is absent");
            return;
        };
        let served = ["en", "fr"].map(|code| Language::from_code(code).unwrap());
        let header: Vec<&str> = file.lines().next().unwrap().split('\t').collect();
        let place = |column: &str| header.iter().position(|name| *name == column).unwrap();
        let (language_place, text_place) = (place("lang"), place("text"));
        let (mut normaliser, mut teller) = (Normaliser::default(), Teller::default());
        let mut counts: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
        for line in file.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let told = teller.tell(normaliser.normalise(fields[text_place]));
            let is = [true, told.is_outside(&served), told == Language::UNCLEAR].map(u32::from);
            let counts = counts.entry(fields[language_place]).or_default();
            counts.iter_mut().zip(is).for_each(|(count, is)| *count += is);
        }
        for (language, [posts, outside, unclear]) in &counts {
            let share = |part: &u32| 100.0 * f64::from(*part) / f64::from(*posts);
            let (outside, unclear) = (share(outside), share(unclear));
            println!("{language}: {posts} posts, {outside:.1} % outside, {unclear:.1} % unclear");
            let is_served = ["en", "fr"].contains(language);
            assert!(if is_served { outside < 1.0 } else { outside > 20.0 }, "{language}");
        }
        assert!(counts.len() >= 8);
    }
}
