//! Which articles of the company's knowledge base may answer a post.
//!
//! The words that count are chosen here, for articles and posts alike ([`words`]); the ledger finds who has them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::parse::Post;
use crate::prefilter::Brand;
use crate::ticket::proto;

pub mod words;

use words::Term;

/// Articles that a ticket carries at most.
pub const ARTICLES_MAX: usize = 3;
/// Distinct terms of a post that are looked up at most: the rarest.
pub const TERMS_MAX: usize = 12;
/// Bytes of a post that are read: the longest of any network in view, and no book.
const QUESTION_BYTES_MAX: usize = 4096;

/// Whether and how articles are proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Whether new tickets get articles.
    pub enabled: bool,
    /// Least score of an article: about how many rare words of the post it must have, in its title for choice.
    pub score_min: f32,
    /// Folded words that name brands: everybody says them, so they say nothing.
    pub weightless: Arc<BTreeSet<String>>,
}

impl Default for Config {
    fn default() -> Config {
        Config { enabled: true, score_min: SCORE_MIN, weightless: Arc::default() }
    }
}

/// Chosen on half of the questions of `tests/data/articles.tsv`, whose posts that ask nothing get nothing.
pub const SCORE_MIN: f32 = 0.9;

/// The words that name these brands: their names as the config has them, and of names in several words the brand's own.
pub fn weightless(brands: &[Brand]) -> Arc<BTreeSet<String>> {
    let mut weightless = BTreeSet::new();
    for brand in brands {
        weightless.extend(words::folded(&brand.name));
        // A name that holds another word, as `lumio mobile`, says what it is about with that word.
        let alone =
            brand.names.iter().chain(&brand.handles).map(|name| words::folded(name.trim_start_matches('@')));
        weightless.extend(alone.filter(|words| words.len() == 1).flatten());
    }
    Arc::new(weightless)
}

/// What is looked up for a post.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Distinct terms in the order of the post.
    pub terms: Vec<Term>,
    /// Two letters; empty if unknown.
    pub language: String,
    /// As in config.
    pub brand: Arc<str>,
    /// As [`Config::score_min`].
    pub score_min: f32,
}

impl Question {
    /// What this post asks about its ticket's `brand`, in `language` as a detector tells it (`und` if unknown).
    pub fn of(post: &Post<'_>, brand: &str, language: &str, config: &Config) -> Question {
        let detected = Some(language).filter(|language| *language != "und");
        let language = detected.or(post.language.as_deref()).unwrap_or_default();
        Question::in_text(&post.text, language, brand.into(), config)
    }

    /// What this text asks.
    pub fn in_text(text: &str, language: &str, brand: Arc<str>, config: &Config) -> Question {
        let text = text.get(..text.floor_char_boundary(QUESTION_BYTES_MAX)).unwrap_or_default();
        let mut terms = words::terms(text, &config.weightless);
        let mut known = HashSet::new();
        terms.retain(|term| known.insert(term.term.clone()));
        Question { terms, language: language.to_owned(), brand, score_min: config.score_min }
    }
}

/// An article that may answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// As the ticket carries it.
    pub article: proto::Article,
    /// The post's words that it has, folded, those that weigh most first.
    pub words: Vec<String>,
}

/// What a look-up saw, for people who ask why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sought {
    /// How many articles there are.
    pub articles: usize,
    /// As [`Articles::find`] gives them.
    pub found: Vec<Match>,
    /// The best of the others, where there was room for one more, and why it does not fit.
    pub next: Option<(Match, Unfit)>,
}

/// Why an article that shares words with a post is not proposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unfit {
    /// One word in common is chance.
    OneWord,
    /// Its score is under [`Config::score_min`].
    Weak,
    /// Its score is under this, a share of the best one's.
    Behind(f32),
}

/// Where articles are found.
pub trait Articles: Send {
    /// At most [`ARTICLES_MAX`], the best first; none that scores under the question's least.
    fn find(&mut self, question: &Question) -> Vec<Match> {
        self.seek(question, false).found
    }

    /// The same, and the next best one where it is asked for.
    fn seek(&mut self, question: &Question, wants_next: bool) -> Sought;
}

/// No knowledge base.
#[derive(Debug, Clone, Copy)]
pub struct NoArticles;

impl Articles for NoArticles {
    fn seek(&mut self, _: &Question, _: bool) -> Sought {
        Sought::default()
    }
}
