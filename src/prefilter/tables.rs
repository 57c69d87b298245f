//! What a scan reads: flat arrays, immutable.
//!
//! Slots are numbered so that most of what a scan asks of one is arithmetic: slot 0 is the service words', then
//! come [`CLASSES`] slots for each brand, then those of words, accounts and DIDs in rules.

use std::borrow::Cow;
use std::sync::Arc;

use super::accounts::Accounts;
use super::dictionary::{Dictionary, Hit};
use super::rule::{Code, RuleStart, Slot};
use super::texts::Texts;
use super::uses::{Shown, Uses};

/// Filled by any service word.
pub(super) const TRIGGER: Slot = Slot(0);
/// Slots of a brand: of its handles, hashtags, names and exclusions. Rules call the first three by
/// [`TermClass`](super::rule::TermClass), which has the same order; nothing fills the last.
pub(super) const CLASSES: u32 = 4;

/// What a term is to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Handle,
    Hashtag,
    Name,
    Exclude,
    Trigger,
    Literal,
}

/// A term's meaning for one brand, or for all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meaning {
    pub(super) purpose: Purpose,
    /// Index into [`Tables::brands`]; of triggers and literals, which are not one brand's, none.
    pub(super) brand: Option<usize>,
    /// Filled by the term; by an exclusion to no effect.
    pub(super) slot: Slot,
    /// Whether a post must have the accents of what is shown.
    pub(super) exact: bool,
    pub(super) shown: Shown,
}

/// A brand as scans see it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: Arc<str>,
    /// Its `listen`; the others follow.
    pub(super) first_rule: u32,
}

/// The slot of one of a brand's classes.
pub(super) fn class_slot(brand_idx: usize, purpose: Purpose) -> Slot {
    let class = match purpose {
        Purpose::Handle => 0,
        Purpose::Hashtag => 1,
        Purpose::Name => 2,
        Purpose::Exclude => 3,
        Purpose::Trigger | Purpose::Literal => return TRIGGER,
    };
    Slot(first_slot(brand_idx).0 + class)
}

/// The first of a brand's slots.
pub(super) fn first_slot(brand_idx: usize) -> Slot {
    // Brands that would pass the last slot are refused when they are compiled.
    let before = u32::try_from(brand_idx).unwrap_or(u32::MAX).saturating_mul(CLASSES);
    Slot(before.saturating_add(TRIGGER.0 + 1))
}

/// Where a rule is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RulePlace {
    /// [`Brand::listen`](super::Brand::listen).
    Listen,
    /// Item of [`Brand::rules`](super::Brand::rules).
    Rules(u32),
    /// Line of [`Brand::rules_file`](super::Brand::rules_file), from 1.
    File(u32),
}

/// One of a brand's rules.
#[derive(Debug)]
pub(super) struct BrandRule {
    pub(super) brand: u32,
    pub(super) place: RulePlace,
    /// In [`Tables::rule_texts`].
    pub(super) text: u32,
    pub(super) start: RuleStart,
}

/// What a scan reads.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) dictionary: Dictionary,
    pub(super) uses: Uses,
    pub(super) accounts: Accounts,
    pub(super) brands: Vec<Watched>,
    /// In config order, each brand's `listen` first.
    pub(super) rules: Vec<BrandRule>,
    pub(super) rule_texts: Texts,
    pub(super) code: Code,
    pub(super) anchored: Anchored,
}

impl Tables {
    /// What a hit means.
    pub(super) fn meanings(&self, hit: &Hit) -> impl Iterator<Item = Meaning> {
        self.uses.of(hit.term).map(|meaning| {
            let (purpose, brand) = self.whose(meaning.slot);
            Meaning { purpose, brand, slot: meaning.slot, exact: meaning.exact, shown: meaning.shown }
        })
    }

    fn whose(&self, slot: Slot) -> (Purpose, Option<usize>) {
        let Some(behind) = slot.0.checked_sub(TRIGGER.0 + 1) else {
            return (Purpose::Trigger, None);
        };
        let brand = (behind / CLASSES) as usize;
        if brand >= self.brands.len() {
            return (Purpose::Literal, None);
        }
        let purpose = match behind % CLASSES {
            0 => Purpose::Handle,
            1 => Purpose::Hashtag,
            2 => Purpose::Name,
            _ => Purpose::Exclude,
        };
        (purpose, Some(brand))
    }

    /// The text as configured of a hit, which lies in `bytes` of the post's words.
    pub(super) fn shown<'t>(&'t self, hit: &Hit, shown: Shown, bytes: &'t [u8]) -> Cow<'t, str> {
        match shown {
            Shown::Text(_) => self.uses.text(shown, ""),
            Shown::Plain | Shown::Capitals => match key(hit, bytes) {
                Cow::Borrowed(key) => self.uses.text(shown, key),
                Cow::Owned(key) => self.uses.text(shown, &key).into_owned().into(),
            },
        }
    }

    /// How the post must spell a hit where accents count.
    pub(super) fn spelling(&self, hit: &Hit, shown: Shown, bytes: &[u8]) -> String {
        self.uses.spelling(shown, &key(hit, bytes))
    }

    /// A brand's rules, `listen` first, with their indices.
    pub(super) fn rules_of(&self, brand_idx: usize) -> impl Iterator<Item = (u32, &BrandRule)> {
        let first = self.brands.get(brand_idx).map_or(0, |brand| brand.first_rule);
        let rules = self.rules.get(first as usize..).unwrap_or_default();
        (first..).zip(rules.iter().take_while(move |rule| rule.brand as usize == brand_idx))
    }

    pub(super) fn rule(&self, rule_idx: u32) -> Option<&BrandRule> {
        self.rules.get(rule_idx as usize)
    }
}

/// A hit as the dictionary spells it.
fn key<'b>(hit: &Hit, bytes: &'b [u8]) -> Cow<'b, str> {
    let bytes = bytes.get(hit.start as usize..hit.end as usize).unwrap_or_default();
    let key = String::from_utf8_lossy(bytes);
    if hit.is_tag { format!("#{key}").into() } else { key }
}

/// By slot: the rules it is an anchor of.
#[derive(Debug, Default)]
pub(super) struct Anchored {
    /// Where each slot's rules end in `rules`.
    ends: Vec<u32>,
    rules: Vec<u32>,
}

impl Anchored {
    /// Of pairs of a slot and a rule, for so many slots.
    pub(super) fn of(mut pairs: Vec<(Slot, u32)>, slots: u32) -> Anchored {
        pairs.sort_unstable();
        let mut anchored = Anchored { ends: Vec::with_capacity(slots as usize), rules: Vec::new() };
        let mut end = 0;
        for slot in 0..slots {
            end += pairs.get(end..).unwrap_or_default().iter().take_while(|(of, _)| of.0 == slot).count();
            anchored.ends.push(u32::try_from(end).unwrap_or(u32::MAX));
        }
        anchored.rules = pairs.iter().map(|(_, rule)| *rule).collect();
        anchored
    }

    pub(super) fn by(&self, slot: Slot) -> &[u32] {
        let end_of = |slot: usize| self.ends.get(slot).map_or(0, |end| *end as usize);
        let slot = slot.0 as usize;
        let start = slot.checked_sub(1).map_or(0, end_of);
        self.rules.get(start..end_of(slot)).unwrap_or_default()
    }

    pub(super) fn slots(&self) -> usize {
        self.ends.len()
    }
}
