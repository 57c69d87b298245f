//! Rules: what is parsed from the X filtered-stream syntax, compiled to something cheap to evaluate.
//!
//! Leaves that ask for a term become *slots*: numbers that a post's hits fill. Negations are pushed down
//! to the leaves, so that each rule has *anchors*: slots of which at least one is filled in every post that
//! the rule matches. A rule is evaluated only when an anchor is, and a rule without anchors is refused.
//!
//! All rules lie behind one another in one [`Code`], four bytes a leaf: a hundred thousand trees of their own
//! would be spread over the memory, and the few that a post touches would each be a walk through it.

pub(super) mod syntax;

use std::collections::BTreeSet;

pub(super) use syntax::{Condition, Dialect, Expression, Leaf, TermClass};

/// What a post's hits fill; counted from 0 over all brands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u32);

/// Slots, and words of one rule, that [`Code`] has room for: what three bits of kind leave of a word.
pub(super) const SLOTS_MAX: u32 = 1 << 29;

/// What a leaf asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// This slot.
    Slot(Slot),
    /// The brand's terms of a class, so that one code serves all brands with the same rule: the slot that
    /// stands so far behind the brand's first.
    Class(u32),
}

/// All rules, compiled.
///
/// Each is a word, and behind `ALL` and `ANY` their parts. A word is its kind in the lowest three bits and
/// above them a number: of the words that the parts take, a slot, how far a class is behind the brand's first
/// slot, or a condition.
#[derive(Debug, Default)]
pub(super) struct Code {
    words: Vec<u32>,
    conditions: Vec<Condition>,
}

const ALL: u32 = 0;
const ANY: u32 = 1;
const FILLED: u32 = 2;
const EMPTY: u32 = 3;
const CLASS_FILLED: u32 = 4;
const CLASS_EMPTY: u32 = 5;
const IS: u32 = 6;
const IS_NOT: u32 = 7;

/// Where a rule begins in [`Code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuleStart(u32);

impl Code {
    /// Compiles `expression`; `asked` says what each leaf asks for.
    pub(super) fn push(
        &mut self,
        expression: &Expression,
        asked: &mut dyn FnMut(&Leaf) -> Asked,
    ) -> RuleStart {
        let start = RuleStart(u32::try_from(self.words.len()).unwrap_or(u32::MAX));
        self.compile(expression, true, asked);
        start
    }

    fn compile(&mut self, expression: &Expression, wanted: bool, asked: &mut dyn FnMut(&Leaf) -> Asked) {
        let (kind, parts) = match expression {
            // Not (a and b) is not a or not b.
            Expression::All(parts) => (if wanted { ALL } else { ANY }, parts),
            Expression::Any(parts) => (if wanted { ANY } else { ALL }, parts),
            Expression::Not(inner) => return self.compile(inner, !wanted, asked),
            Expression::Leaf(leaf) => {
                let (kind, number) = match asked(leaf) {
                    Asked::Slot(slot) => (if wanted { FILLED } else { EMPTY }, slot.0),
                    Asked::Class(behind) => (if wanted { CLASS_FILLED } else { CLASS_EMPTY }, behind),
                };
                return self.words.push(kind | number << 3);
            }
            Expression::Is(condition) => {
                let number = self.condition(condition);
                return self.words.push(if wanted { IS } else { IS_NOT } | number << 3);
            }
        };
        let head = self.words.len();
        self.words.push(kind);
        parts.iter().for_each(|part| self.compile(part, wanted, asked));
        let len = self.words.len() - head - 1;
        if let Some(head) = self.words.get_mut(head) {
            // A rule has at most `RULE_CHARS_MAX` leaves.
            *head |= (len as u32) << 3;
        }
    }

    fn condition(&mut self, condition: &Condition) -> u32 {
        // There are a dozen, and as many languages as people write.
        let known = self.conditions.iter().position(|known| known == condition);
        let number = known.unwrap_or_else(|| {
            self.conditions.push(condition.clone());
            self.conditions.len() - 1
        });
        number as u32
    }

    /// Whether a rule of the brand whose first slot is `first` matches a post whose hits fill what `filled`
    /// says.
    pub(super) fn matches(
        &self,
        rule: RuleStart,
        first: Slot,
        filled: &impl Fn(Slot) -> bool,
        is: &impl Fn(&Condition) -> bool,
    ) -> bool {
        self.part_matches(self.from(rule), first, filled, is)
    }

    fn part_matches(
        &self,
        part: &[u32],
        first: Slot,
        filled: &impl Fn(Slot) -> bool,
        is: &impl Fn(&Condition) -> bool,
    ) -> bool {
        let Some((head, _)) = part.split_first() else { return false };
        let number = *head >> 3;
        let condition = || self.conditions.get(number as usize).is_some_and(is);
        match *head & 7 {
            ALL => parts(part).all(|part| self.part_matches(part, first, filled, is)),
            ANY => parts(part).any(|part| self.part_matches(part, first, filled, is)),
            FILLED => filled(Slot(number)),
            EMPTY => !filled(Slot(number)),
            CLASS_FILLED => filled(Slot(first.0 + number)),
            CLASS_EMPTY => !filled(Slot(first.0 + number)),
            IS => condition(),
            _ => !condition(),
        }
    }

    /// The cheapest slots of which at least one is filled in every post that the rule matches, where
    /// `cost` says how common a slot is; `None` where the rule can match a post without any.
    pub(super) fn anchors(
        &self,
        rule: RuleStart,
        first: Slot,
        cost: &impl Fn(Slot) -> u32,
    ) -> Option<BTreeSet<Slot>> {
        part_anchors(self.from(rule), first, cost)
    }

    /// Every slot that the rule asks for, more than once where it does so.
    pub(super) fn slots(&self, rule: RuleStart, first: Slot) -> impl Iterator<Item = Slot> {
        let rule = self.from(rule);
        let words = rule.get(..len(rule)).unwrap_or_default();
        words.iter().filter_map(move |word| match word & 7 {
            FILLED | EMPTY => Some(Slot(word >> 3)),
            CLASS_FILLED | CLASS_EMPTY => Some(Slot(first.0 + (word >> 3))),
            _ => None,
        })
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.words.shrink_to_fit();
    }

    fn from(&self, rule: RuleStart) -> &[u32] {
        self.words.get(rule.0 as usize..).unwrap_or_default()
    }
}

/// Words that the part at the beginning of `code` takes.
fn len(code: &[u32]) -> usize {
    code.first().map_or(0, |head| if matches!(head & 7, ALL | ANY) { 1 + (head >> 3) as usize } else { 1 })
}

/// The parts of an `ALL` or `ANY` at the beginning of `code`.
fn parts(code: &[u32]) -> impl Iterator<Item = &[u32]> {
    let mut left = code.get(1..len(code)).unwrap_or_default();
    std::iter::from_fn(move || {
        let (part, behind) = left.split_at_checked(len(left)).filter(|(part, _)| !part.is_empty())?;
        left = behind;
        Some(part)
    })
}

fn part_anchors(part: &[u32], first: Slot, cost: &impl Fn(Slot) -> u32) -> Option<BTreeSet<Slot>> {
    let (head, _) = part.split_first()?;
    let number = *head >> 3;
    match *head & 7 {
        FILLED => Some(BTreeSet::from([Slot(number)])),
        CLASS_FILLED => Some(BTreeSet::from([Slot(first.0 + number)])),
        ALL => parts(part)
            .filter_map(|part| part_anchors(part, first, cost))
            .min_by_key(|slots| slots.iter().map(|slot| u64::from(cost(*slot))).sum::<u64>()),
        ANY => parts(part).try_fold(BTreeSet::new(), |mut slots, part| {
            slots.append(&mut part_anchors(part, first, cost)?);
            Some(slots)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms `a`, `b`, … get slots 0, 1, …; `lang:` conditions hold for `fr`. Not the first rule in its code.
    fn compile(text: &str) -> (Code, RuleStart) {
        let mut code = Code::default();
        let mut start = RuleStart(0);
        for text in ["z lang:xx -(y OR x)", text] {
            let expression = syntax::parse(text, Dialect::Rule).unwrap();
            start = code.push(&expression, &mut |leaf| match leaf {
                Leaf::Term(term) => Asked::Slot(Slot(u32::from(term.key.as_bytes()[0] - b'a'))),
                other => panic!("{other:?}"),
            });
        }
        (code, start)
    }

    fn check(text: &str, present: &str, expected: bool) {
        let filled = |slot: Slot| present.bytes().any(|letter| u32::from(letter) == slot.0 + u32::from(b'a'));
        let is = |condition: &Condition| *condition == Condition::Language("fr".into());
        let (code, start) = compile(text);
        assert_eq!(code.matches(start, Slot(0), &filled, &is), expected, "{text} on {present:?}");
    }

    #[test]
    fn a_space_binds_tighter_than_or() {
        for (present, expected) in [("a", true), ("b", false), ("c", false), ("bc", true)] {
            check("a OR b c", present, expected);
        }
        for (present, expected) in [("a", false), ("ac", true), ("bc", true), ("ab", false)] {
            check("(a OR b) c", present, expected);
        }
    }

    #[test]
    fn a_minus_negates_what_it_touches() {
        for (present, expected) in [("a", true), ("ab", false), ("ac", false), ("", false)] {
            check("a -b -c", present, expected);
            check("a -(b OR c)", present, expected);
        }
        for (present, expected) in [("ab", true), ("abc", false), ("a", true)] {
            check("a -(b c)", present, expected);
        }
        check("a lang:fr", "a", true);
        check("a -lang:fr", "a", false);
        check("a lang:en", "a", false);
    }

    #[test]
    fn every_match_fills_an_anchor() {
        let cost = |slot: Slot| if slot.0 == 0 { 100 } else { 1 };
        for (text, expected) in [
            ("a", Some(vec![0])),
            ("a b", Some(vec![1])),
            ("a OR b", Some(vec![0, 1])),
            ("(a OR b) (c OR d)", Some(vec![2, 3])),
            ("a -b", Some(vec![0])),
            ("-a", None),
            ("a OR -b", None),
            ("a OR lang:fr", None),
            ("lang:fr is:reply", None),
            ("-(-a OR -b)", Some(vec![1])),
        ] {
            let (code, start) = compile(text);
            let anchors = code.anchors(start, Slot(0), &cost);
            let anchors = anchors.map(|slots| slots.iter().map(|slot| slot.0).collect());
            assert_eq!(anchors, expected, "{text}");
        }
    }

    #[test]
    fn one_code_serves_every_brand_with_the_rule() {
        let mut code = Code::default();
        let expression = syntax::parse("handle OR (name trigger)", Dialect::Listen).unwrap();
        let rule = code.push(&expression, &mut |leaf| match leaf {
            Leaf::Class(TermClass::Trigger) => Asked::Slot(Slot(0)),
            Leaf::Class(class) => Asked::Class(*class as u32),
            other => panic!("{other:?}"),
        });
        let (handle, name) = (TermClass::Handle as u32, TermClass::Name as u32);
        for first in [1, 5] {
            let matches =
                |slots: &[u32]| code.matches(rule, Slot(first), &|slot| slots.contains(&slot.0), &|_| false);
            assert!(matches(&[first + handle]) && matches(&[0, first + name]));
            assert!(!matches(&[first + name]) && !matches(&[0, 6 - first + handle, 6 - first + name]));
            let slots: Vec<_> = code.slots(rule, Slot(first)).map(|slot| slot.0).collect();
            assert_eq!(slots, [first + handle, first + name, 0]);
        }
    }
}
