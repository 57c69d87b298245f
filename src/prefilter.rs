//! Post → [`Candidate`]: which posts may be for one of our brands.
//!
//! Walks one FST of all brands' terms from every word start and evaluates the brands' rules on what it
//! found. May let through a post that does not matter; never misses one that a rule matches.

mod accounts;
mod bloom;
mod compile;
mod dictionary;
mod explain;
mod fold;
mod lines;
mod marks;
#[cfg(any(test, fuzzing))]
mod naive;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
mod normalise;
pub(crate) mod phrases;
mod probe;
mod reading;
mod rule;
mod tables;
mod term;
mod texts;
mod triggers;
mod uses;
mod vocabulary;
pub mod watched;

pub use compile::Mistake;
pub use explain::{BrandExplained, Explanation, Field, HitExplained, HitKind, RuleExplained, Standing};
pub use lines::Lines;

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::parse::{Network, Post};
use dictionary::Search;
use marks::Marks;
use phrases::Phrases;
use reading::{Reading, Seen};
use tables::{BrandRule, Purpose, RulePlace, Tables, class_slot, first_slot};

/// What to listen for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// In the config file's order: the first of equally good matches wins.
    pub brands: Vec<Brand>,
    /// The company's own service words, in any language, beside the built-in ones.
    pub triggers: Vec<String>,
    /// Whether the built-in French and English service words are used. Default true.
    pub builtin_triggers: bool,
    /// Words of danger: service words like the others, and whoever says one in a thread with us is heard, to whomever they
    /// speak.
    pub danger: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config { brands: Vec::new(), triggers: Vec::new(), builtin_triggers: true, danger: Vec::new() }
    }
}

impl Config {
    /// Tells this config from others, without keeping a million names to compare.
    pub fn digest(&self) -> Digest {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        Digest(hasher.finish())
    }
}

/// Which config a [`Prefilter`] was built from, as far as 64 bits tell; of this build of vigie only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

/// One brand as checked config.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Brand {
    /// As tickets show it.
    pub name: String,
    /// Our own accounts, with or without `@`: mentions of them count, posts by them are never tickets.
    /// A `did:…` is matched against the author only.
    pub handles: Vec<String>,
    /// With or without `#`; empty: made from `names` and the brand's name by leaving out spaces.
    pub hashtags: Vec<String>,
    /// How people call the brand and its products; none here nor in `names_file`: the brand's name.
    pub names: Vec<String>,
    /// More names, one a line.
    pub names_file: Option<Lines>,
    /// Phrases that contain a name but mean something else.
    pub exclude: Vec<String>,
    /// A rule that may also use the words `handle`, `hashtag`, `name` and `trigger`.
    pub listen: String,
    /// Further rules in the X filtered-stream syntax; any match is enough.
    pub rules: Vec<String>,
    /// More rules, one a line.
    pub rules_file: Option<Lines>,
    /// Whether `é` and `e` are the same letter. Default true.
    pub fold_accents: bool,
}

impl Default for Brand {
    /// A brand without a name, which is a mistake, and every other default.
    fn default() -> Brand {
        Brand {
            name: String::new(),
            handles: Vec::new(),
            hashtags: Vec::new(),
            names: Vec::new(),
            names_file: None,
            exclude: Vec::new(),
            listen: LISTEN_DEFAULT.into(),
            rules: Vec::new(),
            rules_file: None,
            fold_accents: true,
        }
    }
}

/// The default of [`Brand::listen`].
pub const LISTEN_DEFAULT: &str = "handle OR hashtag OR (name trigger)";

/// A post that at least one rule matched.
///
/// Only [`Prefilter::scan`] makes one, so no later stage can be handed a post that was never filtered; but for
/// [`Candidate::in_thread`], and of a ticket [`Recorded`](crate::desk::Recorded) makes it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The post, no longer borrowing from its frame.
    pub post: Post<'static>,
    /// The best-matching brand's name.
    pub brand: std::sync::Arc<str>,
    /// The other brands that it names, of a post that [only names](Candidate::only_named) them, in config order.
    pub also_named: Vec<std::sync::Arc<str>>,
    /// What matched, for people: `@lumio`, `#lumio`, `lumiobox + panne`, `rule: …`.
    pub hits: Vec<String>,
    /// Whether one of the brand's handles was mentioned: the poster speaks to us.
    pub addressed: bool,
    /// What losing it would cost, to choose what is shed first: 3 where a handle was mentioned, 2 for a
    /// hashtag or a rule of the brand's, 1 for a name, 0 where [no rule matches](Candidate::only_named).
    pub value: u8,
}

impl Candidate {
    /// A post that no rule matches, in a thread that is [`watched`], or of a ticket before it was changed: it has no brand of
    /// its own.
    pub fn in_thread(post: Post<'static>) -> Candidate {
        Candidate { value: 1, ..Candidate::only_named(post, "".into(), Vec::new()) }
    }

    /// A post that names these brands and nothing else that a rule asks for, by an author who is [`watched`]: it may go on
    /// with what they have begun of any of them, and begins nothing.
    pub fn only_named(
        post: Post<'static>,
        brand: std::sync::Arc<str>,
        also_named: Vec<std::sync::Arc<str>>,
    ) -> Candidate {
        Candidate { post, brand, also_named, hits: Vec::new(), addressed: false, value: 0 }
    }

    /// Whether it names no brand.
    pub fn is_of_thread(&self) -> bool {
        self.brand.is_empty()
    }

    /// Whether it is that because its author has changed it.
    pub fn is_edit_of_thread(&self) -> bool {
        self.is_of_thread() && self.post.edited
    }

    /// Whether it names a brand, and no rule has matched.
    pub fn is_only_named(&self) -> bool {
        self.value == 0
    }
}

/// What the prefilter says of a post.
#[derive(Debug, Clone, PartialEq)]
pub enum Scan {
    /// Written by one of the brands' own accounts.
    Own,
    /// No rule of any brand matches.
    Unmatched,
    /// At least one rule matches.
    Candidate(Box<Candidate>),
}

/// All brands' terms and rules, immutable: a reload builds another one.
#[derive(Debug)]
pub struct Prefilter {
    tables: Tables,
    danger: Phrases,
}

/// What a lane's scans work in, reused from post to post. Fits any [`Prefilter`].
#[derive(Debug, Default)]
pub struct Scratch {
    reading: Reading,
    marks: Marks,
}

impl Prefilter {
    /// Compiles what `config` says to listen for.
    ///
    /// # Errors
    ///
    /// Every mistake in `config`, each with its place: show them all, and keep what ran before.
    pub fn build(config: &Config) -> Result<Prefilter, Vec<Mistake>> {
        let danger = Phrases::compile(config.danger.iter().map(String::as_str));
        Ok(Prefilter { tables: compile::compile(config)?, danger })
    }

    /// Whether this text holds a word of [`Config::danger`].
    pub fn speaks_of_danger(&self, text: &str) -> bool {
        !self.danger.find(text).is_empty()
    }

    /// Finds the mistakes that [`Prefilter::build`] would, in less time and memory.
    ///
    /// # Errors
    ///
    /// As those of [`Prefilter::build`], but that a dictionary is too large is only known when it is built.
    pub fn check(config: &Config) -> Result<(), Vec<Mistake>> {
        compile::check(config)
    }

    /// Says whether `post` may be for one of the brands, and for which.
    ///
    /// Searched are the text, the quoted text, and the tags and mentions that the network names; links are
    /// not. A mention or tag in a quoted text is the quoted author's: rules see it, `handle` and `hashtag`
    /// do not. Of several brands that match wins the one whose handle was mentioned, then whose hashtag,
    /// then whose rule matched, then whose name was said; of equals the first in config.
    ///
    /// A post that holds nothing any rule needs costs no allocation once `scratch` has grown.
    pub fn scan(&self, post: &Post<'_>, scratch: &mut Scratch) -> Scan {
        if self.is_own(post, scratch) {
            return Scan::Own;
        }
        if !self.read(post, scratch, Search::Anchors) {
            return Scan::Unmatched;
        }
        self.judge(post, scratch);
        match self.best(scratch) {
            Some(best) => Scan::Candidate(Box::new(self.candidate(post, scratch, best))),
            None => Scan::Unmatched,
        }
    }

    /// The brands that the post names which [`Prefilter::scan`] has just called [`Scan::Unmatched`], in config order; of
    /// those whose rules ask for names.
    ///
    /// Costs nothing where no rule came into question.
    pub fn named(&self, scratch: &Scratch) -> Vec<std::sync::Arc<str>> {
        let Scratch { marks, .. } = scratch;
        let brands =
            marks.touched.iter().filter_map(|rule_idx| Some(self.tables.rule(*rule_idx)?.brand as usize));
        let mut named: Vec<usize> =
            brands.filter(|brand| marks.is_filled(class_slot(*brand, Purpose::Name))).collect();
        named.sort_unstable();
        named.dedup();
        named.iter().filter_map(|brand| Some(self.tables.brands.get(*brand)?.name.clone())).collect()
    }

    /// Whether [`Prefilter::scan`] is sure to say [`Scan::Unmatched`], found out at a fraction of its cost; `false`
    /// is not sure.
    ///
    /// Looks at the author, the parent, and what is searched, and at nothing else of `post`.
    pub fn passes_over(&self, post: &Post<'_>, scratch: &mut Scratch) -> bool {
        let mut is_named = false;
        let lower = &mut scratch.reading.lower;
        self.tables.accounts.slots(post, lower, |_| is_named = true);
        !is_named && !self.is_own(post, scratch) && !scratch.reading.may_hold_anchor(post, &self.tables)
    }

    fn is_own(&self, post: &Post<'_>, scratch: &mut Scratch) -> bool {
        self.tables.accounts.is_own(post, &mut scratch.reading.lower)
    }

    /// Normalises `post` and finds its terms: all of them, or none if no rule can match and `least` allows.
    /// Gives whether terms were found.
    fn read(&self, post: &Post<'_>, scratch: &mut Scratch, least: Search) -> bool {
        let Scratch { reading, marks } = scratch;
        marks.begin(self.tables.anchored.slots(), self.tables.rules.len());
        self.tables.accounts.slots(post, &mut reading.lower, |slot| {
            marks.fill(slot, self.tables.anchored.by(slot));
        });
        if least == Search::Anchors
            && marks.touched.is_empty()
            && !reading.may_hold_anchor(post, &self.tables)
        {
            return false;
        }
        reading.normalise(post);
        // Most posts hold no term that a rule cannot do without: look for the others only behind those.
        let dots_end = matches!(post.network, Network::Plain | Network::Facebook);
        let mut search = |search| {
            reading.hits.clear();
            self.tables.dictionary.find(&reading.words, search, dots_end, &mut reading.hits);
            !reading.hits.is_empty()
        };
        if least == Search::Anchors && marks.touched.is_empty() && !search(Search::Anchors) {
            return false;
        }
        search(Search::All) || !marks.touched.is_empty()
    }

    /// Fills the slots of what was read and leaves the rules that match in `marks.matched`.
    fn judge(&self, post: &Post<'_>, scratch: &mut Scratch) {
        let Scratch { reading, marks } = scratch;
        reading.each_meaning(&self.tables, post, |Seen { meaning, standing, .. }| {
            if *standing == Standing::Counts && meaning.purpose != Purpose::Exclude {
                marks.fill(meaning.slot, self.tables.anchored.by(meaning.slot));
            }
        });
        let Marks { touched, matched, .. } = marks;
        let mut touched = std::mem::take(touched);
        let mut matched = std::mem::take(matched);
        touched.sort_unstable();
        matched.clear();
        matched
            .extend(touched.iter().copied().filter(|rule_idx| self.matches(*rule_idx, post, reading, marks)));
        (marks.touched, marks.matched) = (touched, matched);
    }

    fn matches(&self, rule_idx: u32, post: &Post<'_>, reading: &Reading, marks: &Marks) -> bool {
        self.tables.rule(rule_idx).is_some_and(|rule| {
            let first = first_slot(rule.brand as usize);
            let (filled, holds) =
                (|slot| marks.is_filled(slot), |condition: &_| reading.holds(condition, post));
            self.tables.code.matches(rule.start, first, &filled, &holds)
        })
    }

    /// The best-matching brand and how it matched.
    fn best(&self, scratch: &Scratch) -> Option<(Reason, usize)> {
        let marks = &scratch.marks;
        let reasons = marks.matched.iter().filter_map(|rule_idx| {
            let rule = self.tables.rule(*rule_idx)?;
            let brand = rule.brand as usize;
            let is_filled = |purpose| marks.is_filled(class_slot(brand, purpose));
            let reason = if is_filled(Purpose::Handle) {
                Reason::Handle
            } else if is_filled(Purpose::Hashtag) {
                Reason::Hashtag
            } else if rule.place != RulePlace::Listen || !is_filled(Purpose::Name) {
                Reason::Rule
            } else {
                Reason::Name
            };
            Some((reason, brand))
        });
        reasons.min()
    }

    fn candidate(
        &self,
        post: &Post<'_>,
        scratch: &mut Scratch,
        (reason, brand_idx): (Reason, usize),
    ) -> Candidate {
        let brand = self.tables.brands.get(brand_idx).map_or_else(|| "".into(), |brand| brand.name.clone());
        let hits = self.hits_shown(post, scratch, brand_idx);
        Candidate {
            post: post.clone().into_owned(),
            brand,
            also_named: Vec::new(),
            hits,
            addressed: reason == Reason::Handle,
            value: match reason {
                Reason::Handle => 3,
                Reason::Hashtag | Reason::Rule => 2,
                Reason::Name => 1,
            },
        }
    }

    /// What matched, for people: at most [`HITS_SHOWN_MAX`], the strongest first.
    fn hits_shown(&self, post: &Post<'_>, scratch: &mut Scratch, brand_idx: usize) -> Vec<String> {
        let Scratch { reading, marks } = scratch;
        let [mut handles, mut hashtags, mut names, mut triggers] = [const { Vec::<String>::new() }; 4];
        reading.each_meaning(&self.tables, post, |seen| {
            let shown = match seen.meaning.purpose {
                Purpose::Trigger => &mut triggers,
                _ if seen.meaning.brand != Some(brand_idx) => return,
                Purpose::Handle => &mut handles,
                Purpose::Hashtag => &mut hashtags,
                Purpose::Name => &mut names,
                Purpose::Exclude | Purpose::Literal => return,
            };
            if seen.standing == Standing::Counts && shown.len() < HITS_SHOWN_MAX {
                let text = seen.shown(&self.tables);
                if !shown.iter().any(|known| *known == text) {
                    shown.push(text.into_owned());
                }
            }
        });
        let rule_text = |rule: &BrandRule| self.tables.rule_texts.get(rule.text);
        let rules = marks.matched.iter().filter_map(|rule_idx| {
            let rule = self.tables.rule(*rule_idx).filter(|rule| rule.brand as usize == brand_idx)?;
            (rule.place != RulePlace::Listen).then(|| format!("rule: {}", rule_text(rule)))
        });
        let mut shown: Vec<String> = handles.into_iter().chain(hashtags).chain(rules).collect();
        match triggers.first() {
            Some(trigger) => shown.extend(names.iter().map(|name| format!("{name} + {trigger}"))),
            // A tag is a name too: beside the tag it says nothing new.
            None if shown.is_empty() => shown.extend(names),
            None => {}
        }
        // A `listen` that asks for none of these has matched by words of its own.
        if shown.is_empty() {
            let listen = self.tables.rules_of(brand_idx).next();
            shown.extend(listen.map(|(_, listen)| format!("listen: {}", rule_text(listen))));
        }
        shown.truncate(HITS_SHOWN_MAX);
        shown
    }
}

/// Hits shown on a ticket: more than fit its line would only be noise.
const HITS_SHOWN_MAX: usize = 8;

/// Why a brand matches, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Handle,
    Hashtag,
    Rule,
    Name,
}

#[cfg(test)]
mod tests;
