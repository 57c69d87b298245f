//! What each term of the dictionary means: to which slots it belongs, and how people wrote it.
//!
//! Nearly every term is one brand's name, written as the dictionary spells it or with capitals. That fits into
//! the number that the dictionary keeps for it. The others have a list of uses.

use std::borrow::Cow;

use super::fold;
use super::rule::Slot;
use super::texts::Texts;

/// What the dictionary keeps for a term: its one use, or the number of its list of uses.
///
/// The lowest two bits are one of [`PLAIN`], [`CAPITALS`], [`ONE`] and [`LIST`], the rest is a slot or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TermId(pub(super) u32);

/// The rest is the slot of the one use, which is shown as the dictionary spells it.
const PLAIN: u32 = 0;
/// The same, shown with capitals.
const CAPITALS: u32 = 1;
/// The rest is the place of the one use.
const ONE: u32 = 2;
/// The rest is the number of a list of uses.
const LIST: u32 = 3;

/// One use of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// Filled by the term.
    pub(super) slot: Slot,
    /// Whether the post must have the accents of what is shown.
    pub(super) exact: bool,
    pub(super) shown: Shown,
}

/// How people wrote a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As the dictionary spells it.
    Plain,
    /// The same with a capital at the beginning of each word.
    Capitals,
    /// Otherwise.
    Text(u32),
}

/// A [`Use`] as it is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    slot: Slot,
    /// Whether accents count in the lowest bit; above it 0 for plain, 1 for capitals, 2 and more for texts.
    shown: u32,
}

impl Kept {
    fn of(meaning: &Use) -> Kept {
        let shown = match meaning.shown {
            Shown::Plain => 0,
            Shown::Capitals => 1,
            // The letters of half so many texts would pass what `Texts` can hold.
            Shown::Text(number) => number.saturating_add(2),
        };
        Kept { slot: meaning.slot, shown: shown << 1 | u32::from(meaning.exact) }
    }

    fn meaning(self) -> Use {
        let shown = match self.shown >> 1 {
            0 => Shown::Plain,
            1 => Shown::Capitals,
            text => Shown::Text(text - 2),
        };
        Use { slot: self.slot, exact: self.shown & 1 == 1, shown }
    }
}

/// The uses of all terms.
#[derive(Debug, Default)]
pub(super) struct Uses {
    texts: Texts,
    /// Single ones.
    ones: Vec<Kept>,
    /// All lists behind one another.
    listed: Vec<Kept>,
    /// Where each list ends in `listed`.
    ends: Vec<u32>,
}

impl Uses {
    /// How to show a term that the dictionary spells `key`.
    pub(super) fn shown_as(&mut self, key: &str, shown: &str) -> Shown {
        if shown == key {
            Shown::Plain
        } else if shown == with_capitals(key) {
            Shown::Capitals
        } else {
            Shown::Text(self.texts.push(shown))
        }
    }

    /// Keeps the uses of one term.
    pub(super) fn keep(&mut self, uses: &[Use]) -> TermId {
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        match uses {
            [Use { slot, exact: false, shown: Shown::Plain }] => TermId(slot.0 << 2 | PLAIN),
            [Use { slot, exact: false, shown: Shown::Capitals }] => TermId(slot.0 << 2 | CAPITALS),
            [one] => {
                self.ones.push(Kept::of(one));
                TermId(number(self.ones.len() - 1) << 2 | ONE)
            }
            _ => {
                self.listed.extend(uses.iter().map(Kept::of));
                self.ends.push(number(self.listed.len()));
                TermId(number(self.ends.len() - 1) << 2 | LIST)
            }
        }
    }

    /// The uses of a term, in config order.
    pub(super) fn of(&self, TermId(id): TermId) -> impl Iterator<Item = Use> {
        let rest = id >> 2;
        let short = |shown| (Some(Use { slot: Slot(rest), exact: false, shown }), &[][..]);
        let (one, list) = match id & 3 {
            PLAIN => short(Shown::Plain),
            CAPITALS => short(Shown::Capitals),
            ONE => (self.ones.get(rest as usize).copied().map(Kept::meaning), &[][..]),
            _ => (None, self.list(rest as usize)),
        };
        one.into_iter().chain(list.iter().copied().map(Kept::meaning))
    }

    fn list(&self, list: usize) -> &[Kept] {
        let end_of = |list: usize| self.ends.get(list).map_or(0, |end| *end as usize);
        let start = list.checked_sub(1).map_or(0, end_of);
        self.listed.get(start..end_of(list)).unwrap_or_default()
    }

    /// The text that people wrote for a term that the dictionary spells `key`.
    pub(super) fn text<'t>(&'t self, shown: Shown, key: &'t str) -> Cow<'t, str> {
        match shown {
            Shown::Plain => key.into(),
            Shown::Capitals => with_capitals(key).into(),
            Shown::Text(number) => self.texts.get(number).into(),
        }
    }

    /// How a post must spell the term where accents count.
    pub(super) fn spelling(&self, shown: Shown, key: &str) -> String {
        fold::accented(&self.text(shown, key))
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.texts.shrink_to_fit();
        self.ones.shrink_to_fit();
        self.listed.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// `lumio mobile` → `Lumio Mobile`, for ASCII letters.
fn with_capitals(key: &str) -> String {
    let mut inside = false;
    let letters = key.chars().map(|letter| {
        let first = !std::mem::replace(&mut inside, letter.is_alphanumeric());
        if first { letter.to_ascii_uppercase() } else { letter }
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, shown: &str, is_short: bool) {
        let mut uses = Uses::default();
        // Not the first of its kind.
        uses.texts.push("x");
        uses.keep(&[]);
        let shown_as = uses.shown_as(key, shown);
        let plain = Use { slot: Slot(7), exact: false, shown: shown_as };
        let exact = Use { exact: true, ..plain };
        let [one, other, both] = [&[plain][..], &[exact], &[plain, exact]].map(|list| uses.keep(list));
        assert_eq!(one.0 & 2 == 0, is_short, "{shown}");
        for (id, expected) in [(one, vec![plain]), (other, vec![exact]), (both, vec![plain, exact])] {
            assert_eq!(uses.of(id).collect::<Vec<_>>(), expected, "{shown}");
        }
        assert_eq!(uses.text(shown_as, key), shown);
    }

    #[test]
    fn a_term_is_shown_as_it_was_written() {
        check("lumio", "lumio", true);
        check("lumio mobile", "Lumio Mobile", true);
        check("#lumiobox", "#Lumiobox", true);
        check("#lumiobox", "#LumioBox", false);
        check("l oreal", "L'Oréal", false);
        check("ルミオ", "ルミオ", true);
        check("a1 b", "A1 B", true);
    }
}
