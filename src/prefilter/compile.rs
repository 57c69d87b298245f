//! [`Config`] → what a scan needs, or every mistake in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::accounts::Accounts;
use super::dictionary::{Dictionary, Hit, TermId};
use super::rule::syntax::{self, TermClass};
use super::rule::{Dialect, Leaf, Rule, Slot};
use super::term::Term;
use super::{Brand, Config, triggers};

/// What is wrong with a config value, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The brand's name; `None` for the triggers, which are everybody's.
    pub brand: Option<String>,
    /// The key within the brand, as `rules[0]`.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// Where in the value, in characters before it, if at one place.
    pub position: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(brand) = &self.brand {
            write!(f, "brand {brand:?}: ")?;
        }
        write!(f, "{} = {:?}: ", self.key, self.value)?;
        if let Some(position) = self.position {
            write!(f, "at character {}: ", position + 1)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// Filled by any service word.
pub(super) const TRIGGER: Slot = Slot(0);
const NO_BRAND: usize = usize::MAX;
/// What a slot costs as an anchor: one that every tenth post fills is a bad reason to look closer.
const COST_TRIGGER: u32 = 1_000_000;
const COST_COMMON: u32 = 1_000;

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
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) purpose: Purpose,
    /// Index into [`Tables::brands`]; unused by triggers.
    pub(super) brand: usize,
    /// Unused by exclusions.
    pub(super) slot: Slot,
    /// Where accents count: how the post must spell it.
    pub(super) spelling: Option<String>,
    pub(super) shown: String,
}

/// A brand as scans see it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: Arc<str>,
    pub(super) handle: Slot,
    pub(super) hashtag: Slot,
    pub(super) name_slot: Slot,
}

/// One of a brand's rules.
#[derive(Debug)]
pub(super) struct BrandRule {
    pub(super) brand: usize,
    /// Its place in [`Brand::rules`]; `None` is [`Brand::listen`].
    pub(super) rule_idx: Option<usize>,
    pub(super) text: String,
    pub(super) rule: Rule,
}

/// What a scan reads, immutable.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) dictionary: Dictionary,
    /// By [`TermId`].
    uses: Vec<Vec<Use>>,
    pub(super) accounts: Accounts,
    pub(super) brands: Vec<Watched>,
    /// In config order, each brand's `listen` first.
    pub(super) rules: Vec<BrandRule>,
    /// By slot: the rules it is an anchor of.
    anchored: Vec<Vec<usize>>,
}

impl Tables {
    pub(super) fn uses(&self, hit: &Hit) -> &[Use] {
        let TermId(term) = hit.term;
        self.uses.get(term as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn anchored(&self, slot: Slot) -> &[usize] {
        self.anchored.get(slot.0 as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn slots(&self) -> usize {
        self.anchored.len()
    }
}

/// Builds the tables.
///
/// # Errors
///
/// Every mistake in `config`.
pub(super) fn compile(config: &Config) -> Result<Tables, Vec<Mistake>> {
    let mut compiler = Compiler { slots: TRIGGER.0 + 1, ..Compiler::default() };
    compiler.triggers(config);
    for (brand_idx, brand) in config.brands.iter().enumerate() {
        compiler.brand(brand_idx, brand, &config.brands);
    }
    compiler.finish()
}

#[derive(Default)]
struct Compiler {
    mistakes: Vec<Mistake>,
    uses: BTreeMap<String, Vec<Use>>,
    trigger_keys: HashSet<String>,
    /// Slots whose term is also a service word.
    common: HashSet<Slot>,
    slots: u32,
    /// A brand's words in rules share a slot: by brand, key and spelling.
    literals: HashMap<(usize, String, Option<String>), Slot>,
    accounts: Accounts,
    /// Which brand's a handle is.
    owners: HashMap<String, usize>,
    brands: Vec<Watched>,
    rules: Vec<BrandRule>,
}

impl Compiler {
    fn triggers(&mut self, config: &Config) {
        let builtin = if config.builtin_triggers { triggers::builtin() } else { Vec::new() };
        let own = config.triggers.iter().enumerate();
        let own = own.map(|(idx, text)| (format!("triggers[{idx}]"), text.as_str()));
        for (key, text) in builtin.into_iter().map(|text| ("builtin".into(), text)).chain(own) {
            match Term::phrase(text) {
                Ok(term) => {
                    if self.trigger_keys.insert(term.key.clone()) {
                        let (purpose, brand) = (Purpose::Trigger, NO_BRAND);
                        let shown = term.shown;
                        let meaning = Use { purpose, brand, slot: TRIGGER, spelling: None, shown };
                        self.uses.entry(term.key).or_default().push(meaning);
                    }
                }
                Err(message) => {
                    let value = text.into();
                    self.mistakes.push(Mistake { brand: None, key, value, position: None, message });
                }
            }
        }
    }

    fn brand(&mut self, brand_idx: usize, brand: &Brand, all: &[Brand]) {
        let [handle, hashtag, name_slot] = [(); 3].map(|()| self.slot());
        self.brands.push(Watched { name: brand.name.as_str().into(), handle, hashtag, name_slot });
        self.check_name(brand_idx, brand, all);
        for (idx, text) in brand.handles.iter().enumerate() {
            self.handle(brand_idx, brand, &format!("handles[{idx}]"), text, handle);
        }
        // A brand without names is called by its own.
        let names = if brand.names.is_empty() { std::slice::from_ref(&brand.name) } else { &brand.names };
        for (idx, text) in names.iter().enumerate() {
            let key = if brand.names.is_empty() { "name".into() } else { format!("names[{idx}]") };
            self.term(brand_idx, brand, &key, text, Term::phrase(text), Purpose::Name, name_slot);
        }
        for (idx, text) in brand.hashtags.iter().enumerate() {
            let key = format!("hashtags[{idx}]");
            self.term(brand_idx, brand, &key, text, Term::tag(text), Purpose::Hashtag, hashtag);
        }
        if brand.hashtags.is_empty() {
            for text in names.iter().chain([&brand.name]) {
                // What cannot be a name was said above; what cannot be a tag (`@lumio`) is none.
                let term = Term::phrase(text).and_then(|_| Term::tag(&without_spaces(text)));
                if let Ok(term) = term {
                    self.add(brand_idx, brand, term, Purpose::Hashtag, hashtag);
                }
            }
        }
        for (idx, text) in brand.exclude.iter().enumerate() {
            let key = format!("exclude[{idx}]");
            let term = Term::phrase(text);
            let hides = |name: &&String| {
                term.as_ref().is_ok_and(|term| Term::phrase(name).is_ok_and(|name| name.key == term.key))
            };
            if let Some(name) = names.iter().find(hides) {
                let message = format!("is the name {name:?} itself, which would then never count");
                self.mistake(brand, &key, text, None, message);
            }
            self.term(brand_idx, brand, &key, text, term, Purpose::Exclude, TRIGGER);
        }
        self.rule(brand_idx, brand, None, &brand.listen);
        for (idx, text) in brand.rules.iter().enumerate() {
            self.rule(brand_idx, brand, Some(idx), text);
        }
    }

    fn check_name(&mut self, brand_idx: usize, brand: &Brand, all: &[Brand]) {
        if brand.name.trim().is_empty() {
            self.mistake(brand, "name", &brand.name, None, "a brand has a name, for tickets to show".into());
            return;
        }
        let same = |other: &&Brand| other.name.trim().to_lowercase() == brand.name.trim().to_lowercase();
        if all.iter().take(brand_idx).any(|other| same(&other)) {
            let message = "another brand has this name: tickets could not tell them apart".into();
            self.mistake(brand, "name", &brand.name, None, message);
        }
    }

    fn handle(&mut self, brand_idx: usize, brand: &Brand, key: &str, text: &str, slot: Slot) {
        let name = super::term::account(text).to_lowercase();
        if let Some(owner) = self.owners.insert(name.clone(), brand_idx)
            && owner != brand_idx
        {
            let owner = self.brands.get(owner).map_or_else(String::new, |owner| owner.name.to_string());
            self.mistake(brand, key, text, None, format!("is brand {owner:?}'s handle already"));
        }
        if !name.is_empty() {
            self.accounts.add_own(text);
        }
        if !name.starts_with("did:") {
            self.term(brand_idx, brand, key, text, Term::mention(text), Purpose::Handle, slot);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a value, where it stands, and what it is for")]
    fn term(
        &mut self,
        brand_idx: usize,
        brand: &Brand,
        key: &str,
        text: &str,
        term: Result<Term, String>,
        purpose: Purpose,
        slot: Slot,
    ) {
        match term {
            Ok(term) => self.add(brand_idx, brand, term, purpose, slot),
            Err(message) => self.mistake(brand, key, text, None, message),
        }
    }

    fn add(&mut self, brand_idx: usize, brand: &Brand, term: Term, purpose: Purpose, slot: Slot) {
        let spelling = spelling(brand, &term);
        let uses = self.uses.entry(term.key).or_default();
        let known = uses.iter().any(|other| {
            (other.purpose, other.brand, other.slot) == (purpose, brand_idx, slot)
                && other.spelling == spelling
        });
        if !known {
            uses.push(Use { purpose, brand: brand_idx, slot, spelling, shown: term.shown });
        }
    }

    fn rule(&mut self, brand_idx: usize, brand: &Brand, rule_idx: Option<usize>, text: &str) {
        let key = rule_idx.map_or_else(|| "listen".into(), |idx| format!("rules[{idx}]"));
        let dialect = if rule_idx.is_none() { Dialect::Listen } else { Dialect::Rule };
        let expression = match syntax::parse(text, dialect) {
            Ok(expression) => expression,
            Err(problems) => {
                for problem in problems {
                    self.mistake(brand, &key, text, Some(problem.position), problem.message);
                }
                return;
            }
        };
        let rule = Rule::compile(expression, &mut |leaf| self.leaf(brand_idx, brand, leaf));
        if rule.anchors(&|_| 1).is_none() {
            let message = "would match posts that hold none of its terms: a negation, lang:, is: or has: \
                           cannot stand alone, nor as one side of an OR"
                .into();
            self.mistake(brand, &key, text, None, message);
            return;
        }
        self.rules.push(BrandRule { brand: brand_idx, rule_idx, text: text.into(), rule });
    }

    fn leaf(&mut self, brand_idx: usize, brand: &Brand, leaf: Leaf) -> Slot {
        // Reserved above: a brand's three classes come first.
        let watched = self.brands.last().map(|brand| [brand.handle, brand.hashtag, brand.name_slot]);
        let [handle, hashtag, name] = watched.unwrap_or([TRIGGER; 3]);
        match leaf {
            Leaf::Class(TermClass::Handle) => handle,
            Leaf::Class(TermClass::Hashtag) => hashtag,
            Leaf::Class(TermClass::Name) => name,
            Leaf::Class(TermClass::Trigger) => TRIGGER,
            Leaf::From(account) => {
                let slot = self.slot();
                self.accounts.add_from(&account, slot);
                slot
            }
            Leaf::ToDid(did) => {
                let slot = self.slot();
                self.accounts.add_to(&did, slot);
                slot
            }
            Leaf::Term(term) => {
                let identity = (brand_idx, term.key.clone(), spelling(brand, &term));
                if let Some(slot) = self.literals.get(&identity) {
                    return *slot;
                }
                let slot = self.slot();
                if self.trigger_keys.contains(&term.key) {
                    self.common.insert(slot);
                }
                self.literals.insert(identity, slot);
                self.add(brand_idx, brand, term, Purpose::Literal, slot);
                slot
            }
        }
    }

    fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }

    fn mistake(&mut self, brand: &Brand, key: &str, value: &str, position: Option<usize>, message: String) {
        let brand = Some(brand.name.clone());
        self.mistakes.push(Mistake { brand, key: key.into(), value: value.into(), position, message });
    }

    fn finish(mut self) -> Result<Tables, Vec<Mistake>> {
        let cost = |slot: Slot| match slot {
            TRIGGER => COST_TRIGGER,
            slot if self.common.contains(&slot) => COST_COMMON,
            _ => 1,
        };
        let mut anchored = vec![Vec::new(); self.slots as usize];
        for (rule_idx, brand_rule) in self.rules.iter().enumerate() {
            for slot in brand_rule.rule.anchors(&cost).into_iter().flatten() {
                if let Some(rules) = anchored.get_mut(slot.0 as usize) {
                    rules.push(rule_idx);
                }
            }
        }
        let is_anchor = |meaning: &Use| {
            meaning.purpose != Purpose::Exclude
                && anchored.get(meaning.slot.0 as usize).is_some_and(|rules: &Vec<usize>| !rules.is_empty())
        };
        let terms = self.uses.iter().map(|(key, uses)| (key.clone(), uses.iter().any(is_anchor))).collect();
        match Dictionary::build(&terms) {
            Ok(dictionary) if self.mistakes.is_empty() => Ok(Tables {
                dictionary,
                uses: self.uses.into_values().collect(),
                accounts: self.accounts,
                brands: self.brands,
                rules: self.rules,
                anchored,
            }),
            Ok(_) => Err(self.mistakes),
            Err(error) => {
                let (key, value, message) = ("names".into(), String::new(), error.to_string());
                self.mistakes.push(Mistake { brand: None, key, value, position: None, message });
                Err(self.mistakes)
            }
        }
    }
}

/// How a post must spell `term`, where the brand cares.
fn spelling(brand: &Brand, term: &Term) -> Option<String> {
    (!brand.fold_accents).then(|| term.spelling.clone())
}

/// `Lumio Mobile` → `lumiomobile`, `L'Oréal` → `loréal`.
fn without_spaces(name: &str) -> String {
    super::fold::accented(name).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(brand: Brand, expected: &[(&str, Option<usize>, &str)]) {
        let config = Config { brands: vec![brand], ..Config::default() };
        check_config(&config, expected);
    }

    fn check_config(config: &Config, expected: &[(&str, Option<usize>, &str)]) {
        let mistakes = compile(config).err().unwrap_or_default();
        let found: Vec<_> = mistakes.iter().map(|mistake| (mistake.key.as_str(), mistake.position)).collect();
        let wanted: Vec<_> = expected.iter().map(|(key, position, _)| (*key, *position)).collect();
        assert_eq!(found, wanted, "{mistakes:#?}");
        for (mistake, (_, _, part)) in mistakes.iter().zip(expected) {
            assert!(mistake.to_string().contains(part), "{mistake}");
        }
    }

    fn lumio() -> Brand {
        Brand { name: "Lumio".into(), ..Brand::default() }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).into()).collect()
    }

    #[test]
    fn a_name_alone_is_enough() {
        check(lumio(), &[]);
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let brand = Brand {
            handles: texts(&["@lumio", "lumio help", "did:plc:abc", "@"]),
            names: texts(&["lumio", "", "!!"]),
            hashtags: texts(&["#lumio", "#lumio box"]),
            exclude: texts(&["lumio lamp", "LUMIO", "?"]),
            listen: "handle OR (name".into(),
            rules: texts(&["lumio", "lang:fr", "lumio OR -lamp", "-lumio", "a sample:3 url:b"]),
            ..lumio()
        };
        check(
            brand,
            &[
                ("handles[1]", None, "brand \"Lumio\": handles[1] = \"lumio help\": an account"),
                ("handles[3]", None, "an account"),
                ("names[1]", None, "no letter"),
                ("names[2]", None, "no letter"),
                ("hashtags[1]", None, "one word"),
                ("exclude[1]", None, "would then never count"),
                ("exclude[2]", None, "no letter"),
                ("listen", Some(10), "at character 11: `(` is never closed"),
                ("rules[1]", None, "stand alone"),
                ("rules[2]", None, "stand alone"),
                ("rules[3]", None, "stand alone"),
                ("rules[4]", Some(2), "`sample:3` is not supported"),
                ("rules[4]", Some(11), "`url:b` is not supported"),
            ],
        );
    }

    #[test]
    fn brands_cannot_share_a_name_or_an_account() {
        let other = Brand { handles: texts(&["LUMIO"]), ..lumio() };
        let first = Brand { handles: texts(&["@lumio"]), ..lumio() };
        check_config(
            &Config { brands: vec![first, other], ..Config::default() },
            &[
                ("name", None, "another brand has this name"),
                ("handles[0]", None, "\"Lumio\"'s handle already"),
            ],
        );
        check(
            Brand { name: " ".into(), ..Brand::default() },
            &[("name", None, "has a name"), ("name", None, "no letter")],
        );
    }

    #[test]
    fn triggers_are_checked_too() {
        let config = Config { triggers: texts(&["à l'aide", "…"]), ..Config::default() };
        check_config(&config, &[("triggers[1]", None, "triggers[1] = \"…\": holds no letter")]);
    }
}
