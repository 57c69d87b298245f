//! Post → [`Candidate`]: which posts may be for one of our brands.
//!
//! Walks one FST of all brands' terms from every word start and evaluates the brands' rules on what it
//! found. May let through a post that does not matter; never misses one that a rule matches.

use crate::parse::Post;

/// What to listen for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// In the config file's order: the first of equally good matches wins.
    pub brands: Vec<Brand>,
    /// The company's own service words, in any language, beside the built-in ones.
    pub triggers: Vec<String>,
    /// Whether the built-in French and English service words are used. Default true.
    pub builtin_triggers: bool,
}

/// One brand as checked config.
#[derive(Debug, Clone, PartialEq)]
pub struct Brand {
    /// As tickets show it.
    pub name: String,
    /// Our own accounts, with or without `@`: mentions of them count, posts by them are never tickets.
    /// A `did:…` is matched against the author only.
    pub handles: Vec<String>,
    /// With or without `#`; empty: made from `names` and the brand's name by leaving out spaces.
    pub hashtags: Vec<String>,
    /// How people call the brand and its products.
    pub names: Vec<String>,
    /// Phrases that contain a name but mean something else.
    pub exclude: Vec<String>,
    /// A rule that may also use the words `handle`, `hashtag`, `name` and `trigger`.
    pub listen: String,
    /// Further rules in the X filtered-stream syntax; any match is enough.
    pub rules: Vec<String>,
    /// Whether `é` and `e` are the same letter. Default true.
    pub fold_accents: bool,
}

/// The default of [`Brand::listen`].
pub const LISTEN_DEFAULT: &str = "handle OR hashtag OR (name trigger)";

/// A post that at least one rule matched.
///
/// Only [`Prefilter::scan`] makes one, so no later stage can be handed a post that was never filtered.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The post, no longer borrowing from its frame.
    pub post: Post<'static>,
    /// The best-matching brand's name.
    pub brand: std::sync::Arc<str>,
    /// What matched, for people: `@lumio`, `#lumio`, `lumiobox + panne`, `rule: …`.
    pub hits: Vec<String>,
    /// Whether one of the brand's handles was mentioned: the poster speaks to us.
    pub addressed: bool,
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
