//! [`Config`] → what a scan needs, or every mistake in it.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use super::accounts::Accounts;
use super::lines::Line;
use super::rule::syntax;
use super::rule::{Asked, Code, Dialect, Leaf, RuleStart, SLOTS_MAX, Slot, TermClass};
use super::tables::{
    Anchored, BrandRule, CLASSES, Purpose, RulePlace, TRIGGER, Tables, Watched, class_slot, first_slot,
};
use super::term::Term;
use super::texts::Texts;
use super::vocabulary::Vocabulary;
use super::{Brand, Config, fold, triggers};

/// What is wrong with a config value, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The brand's name; `None` for the triggers, which are everybody's.
    pub brand: Option<String>,
    /// The key within the brand, as `rules[0]`, or file and line, as `/etc/vigie/names.txt:17`.
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

/// What a slot costs as an anchor: one that every tenth post fills is a bad reason to look closer.
const COST_TRIGGER: u32 = 1_000_000;
const COST_COMMON: u32 = 1_000;

/// Mistakes that are told one by one. A list of the wrong kind has one in each of its million lines.
const MISTAKES_MAX: usize = 1_000;

/// Builds the tables.
///
/// # Errors
///
/// Every mistake in `config`.
pub(super) fn compile(config: &Config) -> Result<Tables, Vec<Mistake>> {
    read(config)?.finish()
}

/// Finds the mistakes that [`compile`] would, but for a dictionary that is too large.
pub(super) fn check(config: &Config) -> Result<(), Vec<Mistake>> {
    read(config).map(drop)
}

fn read(config: &Config) -> Result<Compiler<'_>, Vec<Mistake>> {
    let brands = u32::try_from(config.brands.len()).ok().filter(|brands| *brands <= BRANDS_MAX);
    let Some(brands) = brands else {
        return Err(vec![whole("brand", format!("{} brands: at most {BRANDS_MAX}", config.brands.len()))]);
    };
    // Slots of words in rules come behind all brands' own.
    let mut compiler = Compiler { slots: first_slot(brands as usize).0, ..Compiler::default() };
    compiler.triggers(config);
    for (brand_idx, brand) in config.brands.iter().enumerate() {
        compiler.brand(brand_idx, brand);
    }
    if compiler.mistakes.is_empty() { Ok(compiler) } else { Err(compiler.told()) }
}

/// A fourth of the slots.
const BRANDS_MAX: u32 = SLOTS_MAX / CLASSES / 4;

/// A mistake of the config as a whole.
fn whole(key: &str, message: String) -> Mistake {
    Mistake { brand: None, key: key.into(), value: String::new(), position: None, message }
}

#[derive(Default)]
struct Compiler<'c> {
    mistakes: Vec<Mistake>,
    /// How many more there are.
    untold: usize,
    vocabulary: Vocabulary,
    trigger_keys: FxHashSet<Box<str>>,
    /// Slots whose term is also a service word.
    common: FxHashSet<Slot>,
    slots: u32,
    /// Slots of words in rules of the brand that is being read, by key and spelling: there, one slot has all
    /// ways to write a word.
    literals: FxHashMap<(String, Option<String>), Slot>,
    /// Slots of words in rules of all brands, by key, text as written, and whether accents count.
    shared_literals: FxHashMap<(Box<str>, Box<str>, bool), Slot>,
    accounts: Accounts,
    /// In lower case.
    names: FxHashSet<String>,
    brands: Vec<Watched>,
    rules: Vec<BrandRule>,
    rule_texts: Texts,
    code: Code,
    /// `listen` rules that ask for nothing but classes: most brands have the same.
    listens: FxHashMap<&'c str, (u32, RuleStart)>,
}

/// The brand that is being read.
#[derive(Clone, Copy)]
struct Reading<'c> {
    idx: usize,
    brand: &'c Brand,
}

impl<'c> Compiler<'c> {
    fn triggers(&mut self, config: &Config) {
        let builtin = if config.builtin_triggers { triggers::builtin() } else { Vec::new() };
        let own = config.triggers.iter().enumerate();
        let own = own.map(|(idx, text)| (format!("triggers[{idx}]"), text.as_str()));
        let danger = config.danger.iter().map(|text| ("danger".into(), text.as_str()));
        let builtin = builtin.into_iter().map(|text| ("builtin".into(), text));
        for (key, text) in builtin.chain(danger).chain(own) {
            match Term::phrase(text) {
                Ok(term) => {
                    if self.trigger_keys.insert(term.key.as_str().into()) {
                        self.vocabulary.add(&term, TRIGGER, false);
                    }
                }
                Err(message) => self.note(None, key, text, None, message),
            }
        }
    }

    fn brand(&mut self, brand_idx: usize, brand: &'c Brand) {
        let reading = Reading { idx: brand_idx, brand };
        let first_rule = number(self.rules.len());
        self.brands.push(Watched { name: brand.name.as_str().into(), first_rule });
        self.literals.clear();
        self.check_name(brand);
        for (idx, text) in brand.handles.iter().enumerate() {
            self.handle(reading, format!("handles[{idx}]"), text);
        }
        let hidden = hidden(brand);
        let mut hides = FxHashMap::default();
        each_name(brand, |place, name| match Term::phrase(name) {
            Ok(term) => {
                if let Some(hidden) = hidden.get(term.key.as_str()) {
                    hides.entry(hidden.as_str()).or_insert(name);
                }
                self.add(reading, &term, Purpose::Name);
                self.made_hashtag(reading, name);
            }
            Err(message) => self.mistake(brand, place(), name, None, message),
        });
        // A brand is called by its own name too, where people write it as a hashtag.
        if Term::phrase(&brand.name).is_ok() {
            self.made_hashtag(reading, &brand.name);
        }
        for (idx, text) in brand.hashtags.iter().enumerate() {
            self.term(reading, format!("hashtags[{idx}]"), text, Term::tag(text), Purpose::Hashtag);
        }
        for (idx, text) in brand.exclude.iter().enumerate() {
            let key = format!("exclude[{idx}]");
            let term = Term::phrase(text);
            if let Some(name) = term.as_ref().ok().and_then(|term| hides.get(term.key.as_str())) {
                let message = format!("is the name {name:?} itself, which would then never count");
                self.mistake(brand, key.clone(), text, None, message);
            }
            self.term(reading, key, text, term, Purpose::Exclude);
        }
        self.listen(reading);
        for (idx, text) in brand.rules.iter().enumerate() {
            self.rule(reading, RulePlace::Rules(number(idx)), format!("rules[{idx}]"), text);
        }
        for Line { number, text } in brand.rules_file.iter().flat_map(|file| file.lines()) {
            self.rule_line(reading, number, text);
        }
    }

    fn check_name(&mut self, brand: &Brand) {
        if brand.name.trim().is_empty() {
            self.mistake(
                brand,
                "name".into(),
                &brand.name,
                None,
                "a brand has a name, for tickets to show".into(),
            );
        } else if !self.names.insert(brand.name.trim().to_lowercase()) {
            let message = "another brand has this name: tickets could not tell them apart".into();
            self.mistake(brand, "name".into(), &brand.name, None, message);
        }
    }

    fn handle(&mut self, reading: Reading<'c>, key: String, text: &str) {
        let name = super::term::account(text).to_lowercase();
        if !name.is_empty()
            && let Some(owner) = self.accounts.add_own(text, number(reading.idx))
        {
            let owner =
                self.brands.get(owner as usize).map_or_else(String::new, |owner| owner.name.to_string());
            let message = format!("is brand {owner:?}'s handle already");
            self.mistake(reading.brand, key.clone(), text, None, message);
        }
        if !name.starts_with("did:") {
            self.term(reading, key, text, Term::mention(text), Purpose::Handle);
        }
    }

    /// The hashtag that a name makes where the brand says none. What cannot be a tag (`@lumio`) makes none.
    fn made_hashtag(&mut self, reading: Reading<'c>, name: &str) {
        if reading.brand.hashtags.is_empty()
            && let Ok(term) = Term::tag(&without_spaces(name))
        {
            self.add(reading, &term, Purpose::Hashtag);
        }
    }

    fn term(
        &mut self,
        reading: Reading<'c>,
        key: String,
        text: &str,
        term: Result<Term, String>,
        purpose: Purpose,
    ) {
        match term {
            Ok(term) => self.add(reading, &term, purpose),
            Err(message) => self.mistake(reading.brand, key, text, None, message),
        }
    }

    fn add(&mut self, Reading { idx, brand }: Reading<'c>, term: &Term, purpose: Purpose) {
        self.vocabulary.add(term, class_slot(idx, purpose), !brand.fold_accents);
    }

    fn rule_line(&mut self, reading: Reading<'c>, line: u32, text: &str) {
        let Some(file) = &reading.brand.rules_file else { return };
        let Some(behind) = text.strip_prefix('#') else {
            return self.rule(reading, RulePlace::File(line), file.place(line), text);
        };
        if !behind.is_empty() && !behind.starts_with(|next: char| next.is_whitespace() || next == '#') {
            let message =
                "a comment has a space behind its `#`; a rule that begins with a hashtag is written \
                           in brackets: (#tag)"
                    .into();
            self.mistake(reading.brand, file.place(line), text, Some(0), message);
        }
    }

    fn listen(&mut self, reading: Reading<'c>) {
        let text = reading.brand.listen.as_str();
        let brand = number(reading.idx);
        if let Some((text, start)) = self.listens.get(text) {
            self.rules.push(BrandRule { brand, place: RulePlace::Listen, text: *text, start: *start });
            return;
        }
        let slots = self.slots;
        let rules = self.rules.len();
        self.rule(reading, RulePlace::Listen, "listen".into(), text);
        // Words and accounts in it may be another brand's slot, or one that is new.
        if let Some(rule) = self.rules.get(rules)
            && self.literals.is_empty()
            && self.slots == slots
            && !text.contains(':')
        {
            self.listens.insert(text, (rule.text, rule.start));
        }
    }

    fn rule(&mut self, reading: Reading<'c>, place: RulePlace, key: String, text: &str) {
        let dialect = if place == RulePlace::Listen { Dialect::Listen } else { Dialect::Rule };
        let expression = match syntax::parse(text, dialect) {
            Ok(expression) => expression,
            Err(problems) => {
                for problem in problems {
                    self.mistake(reading.brand, key.clone(), text, Some(problem.position), problem.message);
                }
                return;
            }
        };
        let mut code = std::mem::take(&mut self.code);
        let start = code.push(&expression, &mut |leaf| self.asked(reading, leaf));
        self.code = code;
        if self.code.anchors(start, first_slot(reading.idx), &|_| 1).is_none() {
            let message = "would match posts that hold none of its terms: a negation, lang:, is: or has: \
                           cannot stand alone, nor as one side of an OR"
                .into();
            self.mistake(reading.brand, key, text, None, message);
            return;
        }
        let text = self.rule_texts.push(text);
        self.rules.push(BrandRule { brand: number(reading.idx), place, text, start });
    }

    fn asked(&mut self, reading: Reading<'c>, leaf: &Leaf) -> Asked {
        let slots = &mut self.slots;
        let new = || {
            *slots += 1;
            Slot(*slots - 1)
        };
        match leaf {
            Leaf::Class(TermClass::Trigger) => Asked::Slot(TRIGGER),
            Leaf::Class(class) => Asked::Class(*class as u32),
            Leaf::From(account) => Asked::Slot(self.accounts.from(account, new)),
            Leaf::ToDid(did) => Asked::Slot(self.accounts.to(did, new)),
            Leaf::Term(term) => Asked::Slot(self.literal(reading, term)),
        }
    }

    fn literal(&mut self, Reading { brand, .. }: Reading<'c>, term: &Term) -> Slot {
        let exact = !brand.fold_accents;
        let spelling = exact.then(|| fold::accented(&term.shown));
        let identity = (term.key.clone(), spelling);
        if let Some(slot) = self.literals.get(&identity) {
            return *slot;
        }
        let shared = (term.key.as_str().into(), term.shown.as_str().into(), exact);
        let slot = *self.shared_literals.entry(shared).or_insert_with(|| {
            let slot = Slot(self.slots);
            self.slots += 1;
            if self.trigger_keys.contains(term.key.as_str()) {
                self.common.insert(slot);
            }
            self.vocabulary.add(term, slot, exact);
            slot
        });
        self.literals.insert(identity, slot);
        slot
    }

    fn mistake(&mut self, brand: &Brand, key: String, value: &str, position: Option<usize>, message: String) {
        self.note(Some(brand.name.clone()), key, value, position, message);
    }

    fn note(
        &mut self,
        brand: Option<String>,
        key: String,
        value: &str,
        position: Option<usize>,
        message: String,
    ) {
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push(Mistake { brand, key, value: value.into(), position, message });
        } else {
            self.untold += 1;
        }
    }

    fn told(mut self) -> Vec<Mistake> {
        if self.untold > 0 {
            let message = format!("and {} mistakes more", self.untold);
            self.mistakes.push(whole("…", message));
        }
        self.mistakes
    }

    fn finish(self) -> Result<Tables, Vec<Mistake>> {
        let Compiler {
            slots,
            common,
            mut code,
            mut rules,
            mut rule_texts,
            mut accounts,
            brands,
            vocabulary,
            ..
        } = self;
        if slots > SLOTS_MAX {
            return Err(vec![whole(
                "rules",
                format!("{slots} brands, words and accounts: at most {SLOTS_MAX}"),
            )]);
        }
        let first = |rule: &BrandRule| first_slot(rule.brand as usize);
        // A word that many rules ask for is probably one that many posts hold.
        let mut asked = vec![0_u32; slots as usize];
        for slot in rules.iter().flat_map(|rule| code.slots(rule.start, first(rule))) {
            if let Some(asked) = asked.get_mut(slot.0 as usize) {
                *asked = asked.saturating_add(1);
            }
        }
        let cost = |slot: Slot| match slot {
            TRIGGER => COST_TRIGGER,
            slot if common.contains(&slot) => COST_COMMON,
            slot => asked.get(slot.0 as usize).map_or(1, |asked| 1.max(*asked).min(COST_COMMON)),
        };
        let pairs = rules.iter().zip(0..).flat_map(|(rule, rule_idx)| {
            let anchors = code.anchors(rule.start, first(rule), &cost);
            anchors.into_iter().flatten().map(move |slot| (slot, rule_idx))
        });
        let anchored = Anchored::of(pairs.collect(), slots);
        let built = vocabulary.build(|slot| !anchored.by(slot).is_empty());
        let (dictionary, uses) = built.map_err(|error| vec![whole("names", error.to_string())])?;
        code.shrink_to_fit();
        rules.shrink_to_fit();
        rule_texts.shrink_to_fit();
        accounts.shrink_to_fit();
        Ok(Tables { dictionary, uses, accounts, brands, rules, rule_texts, code, anchored })
    }
}

/// An index as it is kept. Lists of four billion do not fit a machine that would run this.
fn number(idx: usize) -> u32 {
    u32::try_from(idx).unwrap_or(u32::MAX)
}

/// Calls `each` with every name of a brand and where it stands; a brand without names is called by its own.
fn each_name<'c>(brand: &'c Brand, mut each: impl FnMut(&dyn Fn() -> String, &'c str)) {
    for (idx, name) in brand.names.iter().enumerate() {
        each(&|| format!("names[{idx}]"), name);
    }
    let mut any = !brand.names.is_empty();
    if let Some(file) = &brand.names_file {
        for Line { number, text } in file.lines().filter(|line| !line.text.starts_with('#')) {
            any = true;
            each(&|| file.place(number), text);
        }
    }
    if !any {
        each(&|| "name".into(), &brand.name);
    }
}

/// The exclusions of a brand as the dictionary spells them.
fn hidden(brand: &Brand) -> FxHashSet<String> {
    brand.exclude.iter().filter_map(|text| Term::phrase(text).ok()).map(|term| term.key).collect()
}

/// `Lumio Mobile` → `lumiomobile`, `L'Oréal` → `loréal`.
fn without_spaces(name: &str) -> String {
    fold::accented(name).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefilter::Lines;

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

    #[test]
    fn a_mistake_in_a_file_names_it_and_the_line() {
        let brand = Brand {
            names: texts(&["lumio"]),
            names_file: Some(Lines::new("/etc/names.txt", "# ours\nlumio box\n\n!!\n#lumio\n  lumio fibre ")),
            exclude: texts(&["Lumio Fibre"]),
            rules_file: Some(Lines::new(
                "rules.txt",
                "lumio\n#\n## x\n# a comment (\n#tag a\n\n a sample:3 b ",
            )),
            ..lumio()
        };
        check(
            brand,
            &[
                ("/etc/names.txt:4", None, "brand \"Lumio\": /etc/names.txt:4 = \"!!\": holds no letter"),
                ("exclude[0]", None, "is the name \"lumio fibre\" itself"),
                ("rules.txt:5", Some(0), "in brackets: (#tag)"),
                ("rules.txt:7", Some(2), "`sample:3` is not supported"),
            ],
        );
    }

    #[test]
    fn of_very_many_mistakes_the_first_are_told_and_the_rest_counted() {
        let brand = Brand { names: vec!["?".into(); MISTAKES_MAX + 5], ..lumio() };
        let config = Config { brands: vec![brand], ..Config::default() };
        let mistakes = compile(&config).err().unwrap();
        assert_eq!(mistakes.len(), MISTAKES_MAX + 1);
        assert_eq!(mistakes.last().unwrap().message, "and 5 mistakes more");
        assert_eq!(check_only(&config), mistakes);
    }

    fn check_only(config: &Config) -> Vec<Mistake> {
        super::check(config).err().unwrap_or_default()
    }

    #[test]
    fn brands_with_the_same_rules_share_their_code_and_words() {
        let brands = |count: usize| -> Vec<Brand> {
            let brand = |idx| Brand { name: format!("b{idx}"), rules: texts(&["panne internet"]), ..lumio() };
            (0..count).map(brand).collect()
        };
        let slots =
            |count| compile(&Config { brands: brands(count), ..Config::default() }).unwrap().anchored.slots();
        assert_eq!(slots(3) - slots(2), CLASSES as usize);
    }
}
