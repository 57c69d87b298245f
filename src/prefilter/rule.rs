//! Rules: what is parsed from the X filtered-stream syntax, compiled to something cheap to evaluate.
//!
//! Leaves that ask for a term become *slots*: numbers that a post's hits fill. Negations are pushed down
//! to the leaves, so that each rule has *anchors*: slots of which at least one is filled in every post that
//! the rule matches. A rule is evaluated only when an anchor is, and a rule without anchors is refused.

pub(super) mod syntax;

use std::collections::BTreeSet;

pub(super) use syntax::{Condition, Dialect, Expression, Leaf};

/// What a post's hits fill; counted from 0 over all brands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u32);

/// A compiled rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Filled(Slot),
    Empty(Slot),
    Is(Condition),
    IsNot(Condition),
}

impl Rule {
    /// Compiles `expression`; `slot` gives each leaf's slot.
    pub(super) fn compile(expression: Expression, slot: &mut dyn FnMut(Leaf) -> Slot) -> Rule {
        Rule::compile_as(expression, true, slot)
    }

    fn compile_as(expression: Expression, wanted: bool, slot: &mut dyn FnMut(Leaf) -> Slot) -> Rule {
        let mut parts = |parts: Vec<Expression>| -> Vec<Rule> {
            parts.into_iter().map(|part| Rule::compile_as(part, wanted, slot)).collect()
        };
        match expression {
            Expression::All(all) if wanted => Rule::All(parts(all)),
            Expression::Any(any) if wanted => Rule::Any(parts(any)),
            // Not (a and b) is not a or not b.
            Expression::All(all) => Rule::Any(parts(all)),
            Expression::Any(any) => Rule::All(parts(any)),
            Expression::Not(inner) => Rule::compile_as(*inner, !wanted, slot),
            Expression::Leaf(leaf) if wanted => Rule::Filled(slot(leaf)),
            Expression::Leaf(leaf) => Rule::Empty(slot(leaf)),
            Expression::Is(condition) if wanted => Rule::Is(condition),
            Expression::Is(condition) => Rule::IsNot(condition),
        }
    }

    /// Whether the rule matches a post whose hits fill what `filled` says.
    pub(super) fn matches(&self, filled: &impl Fn(Slot) -> bool, is: &impl Fn(&Condition) -> bool) -> bool {
        match self {
            Rule::All(all) => all.iter().all(|rule| rule.matches(filled, is)),
            Rule::Any(any) => any.iter().any(|rule| rule.matches(filled, is)),
            Rule::Filled(slot) => filled(*slot),
            Rule::Empty(slot) => !filled(*slot),
            Rule::Is(condition) => is(condition),
            Rule::IsNot(condition) => !is(condition),
        }
    }

    /// The cheapest slots of which at least one is filled in every post that the rule matches, where
    /// `cost` says how common a slot is; `None` where the rule can match a post without any.
    pub(super) fn anchors(&self, cost: &impl Fn(Slot) -> u32) -> Option<BTreeSet<Slot>> {
        match self {
            Rule::Filled(slot) => Some(BTreeSet::from([*slot])),
            Rule::Empty(_) | Rule::Is(_) | Rule::IsNot(_) => None,
            Rule::All(all) => all
                .iter()
                .filter_map(|rule| rule.anchors(cost))
                .min_by_key(|slots| slots.iter().map(|slot| u64::from(cost(*slot))).sum::<u64>()),
            Rule::Any(any) => any.iter().try_fold(BTreeSet::new(), |mut slots, rule| {
                slots.append(&mut rule.anchors(cost)?);
                Some(slots)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms `a`, `b`, … get slots 0, 1, …; `lang:` conditions hold for `fr`.
    fn compile(text: &str) -> Rule {
        let expression = syntax::parse(text, Dialect::Rule).unwrap();
        Rule::compile(expression, &mut |leaf| match leaf {
            Leaf::Term(term) => Slot(u32::from(term.key.as_bytes()[0] - b'a')),
            other => panic!("{other:?}"),
        })
    }

    fn check(text: &str, present: &str, expected: bool) {
        let filled = |slot: Slot| present.bytes().any(|letter| u32::from(letter) == slot.0 + u32::from(b'a'));
        let is = |condition: &Condition| *condition == Condition::Language("fr".into());
        assert_eq!(compile(text).matches(&filled, &is), expected, "{text} on {present:?}");
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
            let anchors = compile(text).anchors(&cost).map(|slots| slots.iter().map(|slot| slot.0).collect());
            assert_eq!(anchors, expected, "{text}");
        }
    }
}
