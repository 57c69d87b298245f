//! Letter → the letter that the dictionary knows: lower case, without accents, of ordinary width.
//!
//! Folding is NFKD, minus accents, lower case, NFC, and then the few letters that Unicode does not take
//! apart (`œ`, `ß`, `ø`). It also says what a folded letter is to the search: part of a word, a sign of a
//! script that writes words without spaces, a break, or nothing at all.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// What a folded letter is to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Part of a word of a script that puts spaces between words.
    Word,
    /// Stands for itself: a term may begin and end at it wherever it is. Scripts without spaces, Hangul
    /// (whose particles cling to the word) and emoji.
    Free,
    /// Between words.
    Break,
    /// As if it was not there: zero-width characters, soft hyphens, variation and direction marks.
    Dropped,
}

/// What `letter`, already folded, is to the search.
pub(super) fn class(letter: char) -> Class {
    if letter.is_ascii() {
        return if letter.is_ascii_alphanumeric() { Class::Word } else { Class::Break };
    }
    if is_dropped(letter) {
        Class::Dropped
    } else if is_free(letter) {
        Class::Free
    } else if is_combining_mark(letter) || (letter.is_alphanumeric() && !is_apostrophe(letter)) {
        Class::Word
    } else {
        Class::Break
    }
}

/// Whether a text reads the same with and without this character.
pub(super) fn is_dropped(letter: char) -> bool {
    matches!(letter,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{E0000}'..='\u{E0FFF}')
}

fn is_free(letter: char) -> bool {
    if matches!(letter, '\u{30A0}' | '\u{30FB}') {
        return false; // Katakana's double hyphen and middle dot stand between words.
    }
    matches!(letter,
        '\u{E00}'..='\u{EFF}' // Thai, Lao
        | '\u{1000}'..='\u{109F}' // Myanmar
        | '\u{1100}'..='\u{11FF}' | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}' // Hangul
        | '\u{1780}'..='\u{17FF}' | '\u{1950}'..='\u{19DF}' | '\u{1A20}'..='\u{1AAF}' // Khmer, Tai
        | '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{1B000}'..='\u{1B16F}' | '\u{20000}'..='\u{3FFFF}' // Han, kana, bopomofo
        | '\u{2300}'..='\u{23FF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}'
        | '\u{1F000}'..='\u{1FAFF}') // emoji
}

/// Apostrophes that Unicode counts as letters.
fn is_apostrophe(letter: char) -> bool {
    matches!(letter, '\u{2BB}'..='\u{2BD}')
}

/// NFKC writes ™ and ℠ as letters, but `Lumio™` is not `lumiotm`.
fn without_signs(letter: char) -> char {
    if matches!(letter, '\u{2120}' | '\u{2122}') { ' ' } else { letter }
}

/// Whether this mark only changes how the letter under it is written: it goes when accents go.
///
/// By combining class: 200 and above sit above or below Latin, Greek and Cyrillic letters; 10 to 35 are
/// Hebrew's and Arabic's vowels. Kana's voicing (8) and the vowels of Indic scripts (0) make another letter.
fn is_accent(letter: char) -> bool {
    matches!(canonical_combining_class(letter), 10..=35 | 200..)
}

/// Whether `letter` may melt into the one before it, so that both must be folded together.
pub(super) fn continues(letter: char) -> bool {
    !letter.is_ascii()
        && (is_combining_mark(letter) || matches!(letter, '\u{1160}'..='\u{11FF}' | '\u{FF9E}' | '\u{FF9F}'))
}

/// Folds a letter with the marks that follow it, handing each resulting letter to `emit`.
pub(super) fn fold(cluster: &str, mut emit: impl FnMut(char)) {
    if cluster.chars().all(is_accent) {
        return;
    }
    let letters = cluster.chars().map(without_signs).nfkd().filter(|letter| !is_accent(*letter));
    let letters = letters.flat_map(char::to_lowercase).nfc();
    for letter in letters {
        match letter {
            'ß' => ['s', 's'].into_iter().for_each(&mut emit),
            'æ' => ['a', 'e'].into_iter().for_each(&mut emit),
            'œ' => ['o', 'e'].into_iter().for_each(&mut emit),
            'þ' => ['t', 'h'].into_iter().for_each(&mut emit),
            'ø' => emit('o'),
            'ł' => emit('l'),
            'đ' | 'ð' => emit('d'),
            'ħ' => emit('h'),
            'ı' => emit('i'),
            'ς' => emit('σ'),
            other => emit(other),
        }
    }
}

/// `text` in lower case and ordinary width with its accents, words separated by one space: what two
/// spellings are compared by where a brand says that `é` is not `e`.
pub(super) fn accented(text: &str) -> String {
    let mut spelling = String::with_capacity(text.len());
    for letter in text.chars().map(without_signs).nfkd().flat_map(char::to_lowercase).nfc() {
        match class(letter) {
            Class::Dropped => {}
            Class::Word | Class::Free => spelling.push(letter),
            Class::Break if spelling.is_empty() || spelling.ends_with(' ') => {}
            Class::Break => spelling.push(' '),
        }
    }
    spelling.truncate(spelling.trim_end().len());
    spelling
}

/// The ASCII character that `letter` is a full-width or small form of.
pub(super) fn narrow(letter: char) -> Option<u8> {
    match letter {
        '\u{FF01}'..='\u{FF5E}' => u8::try_from(letter as u32 - 0xFEE0).ok(),
        '\u{FE6B}' => Some(b'@'),
        '\u{FE5F}' => Some(b'#'),
        _ => None,
    }
}

/// The folded form of U+00C0 to U+024F, most of what is not ASCII in a European post: up to two ASCII
/// letters, none where the character is a break. Anything else there takes the way through [`fold`].
pub(super) fn latin(letter: char) -> Option<&'static [u8]> {
    /// The letters, and how many they are.
    type Folded = ([u8; 2], usize);
    static LATIN: LazyLock<Vec<Option<Folded>>> = LazyLock::new(|| {
        ('\u{C0}'..='\u{24F}')
            .map(|letter| {
                let mut folded = String::new();
                fold(letter.encode_utf8(&mut [0; 4]), |letter| folded.push(letter));
                match folded.as_bytes() {
                    [one] if one.is_ascii_alphanumeric() => Some(([*one, 0], 1)),
                    [one, two] if one.is_ascii_alphanumeric() && two.is_ascii_alphanumeric() => {
                        Some(([*one, *two], 2))
                    }
                    _ => None,
                }
            })
            .collect()
    });
    let place = (letter as usize).checked_sub(0xC0)?;
    let (bytes, len) = LATIN.get(place)?.as_ref()?;
    bytes.get(..*len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = String::new();
        fold(text, |letter| folded.push(letter));
        folded
    }

    #[test]
    fn letters_lose_case_accents_and_width() {
        for (letter, expected) in [
            ("É", "e"),
            ("e\u{301}", "e"),
            ("ç", "c"),
            ("Œ", "oe"),
            ("æ", "ae"),
            ("ẞ", "ss"),
            ("ﬁ", "fi"),
            ("İ", "i"),
            ("ı", "i"),
            ("Ø", "o"),
            ("Ё", "е"),
            ("Σ", "σ"),
            ("ς", "σ"),
            ("𝐋", "l"),
            ("Ｌ", "l"),
            ("ｶﾞ", "ガ"),
            ("カ\u{3099}", "ガ"),
            ("ガ", "ガ"),
            ("한", "한"),
            ("\u{1112}\u{1161}\u{11AB}", "한"),
            ("हिन्दी", "हिन्दी"),
            ("مُ", "م"),
            ("™", " "),
        ] {
            assert_eq!(folded(letter), expected, "{letter}");
        }
    }

    #[test]
    fn the_latin_table_agrees_with_folding() {
        for letter in '\u{C0}'..='\u{24F}' {
            if let Some(bytes) = latin(letter) {
                assert_eq!(folded(&letter.to_string()).as_bytes(), bytes, "{letter}");
            }
        }
        assert_eq!(latin('É'), Some(b"e".as_slice()));
        assert_eq!(latin('×'), None);
    }

    #[test]
    fn spellings_keep_accents_and_lose_the_rest() {
        for (text, spelling) in [
            ("L'Élan", "l élan"),
            ("e\u{301}lan !", "élan"),
            ("  Ｌｕｍｉｏ\u{200B}Box ", "lumiobox"),
            ("œuf", "œuf"),
        ] {
            assert_eq!(accented(text), spelling, "{text}");
        }
    }
}
