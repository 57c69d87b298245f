//! Post → articles: BM25 over the terms that FTS5 keeps, with a post's own troubles in mind.
//!
//! Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond*, 2009: a term weighs by how few
//! articles have it, and in an article by where it stands. How often it stands there is not counted: support articles
//! are short, and the long ones repeat themselves. A score is in units of a term that one article alone has.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustc_hash::FxHashMap;
use tracing::warn;

use super::generation;
use crate::desk::articles::{self, Articles, Match, Question, Sought, TERMS_MAX, Unfit, words};
use crate::ledger::{LedgerError, schema};
use crate::ticket::proto;

/// What a term weighs where it stands: title, headings, text.
const TITLE: f32 = 3.0;
const HEADINGS: f32 = 1.5;
const TEXT: f32 = 1.0;
/// BM25's k1: how soon more of the same says no more.
const SATURATION: f32 = 1.2;
/// BM25's b: how much a long article's terms weigh less.
const LENGTH: f32 = 0.3;
/// What a word weighs that is only like one of an article.
const MISSPELT: f32 = 0.7;
/// What an article in another language is worth: the last resort.
const OTHER_LANGUAGE: f32 = 0.6;
/// Against the best one's score: what is further behind only shares a word with it.
const BEHIND_THE_BEST: f32 = 0.4;

/// A smaller set is weighed as part of one of this size: of five articles all may be about bills, and still answer.
const ARTICLES_TAKEN_MIN: usize = 100;

/// Terms that misspelt words are compared with: the most frequent, in some megabytes.
const VOCABULARY_MAX: i64 = 100_000;
/// Letters of a word at least before another word with one letter different is taken for it.
const MISSPELT_LETTERS_MIN: usize = 5;
/// Words of one post that are looked at as misspelt ones, the first ones: each is compared with some thousand others.
const MISSPELT_MAX: usize = TERMS_MAX;
/// Articles that the terms of one post name together at most; the rarest terms come first, and two are always read.
const PLACES_MAX: u32 = 4_000;

/// Finds articles in a ledger. A connection of its own, for one thread.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    set: Set,
    /// By article: score and the terms that it has, one bit each. Kept for its memory.
    scores: Vec<(f32, u32)>,
    found: Vec<usize>,
    /// Whether the last look-up failed, and was told of.
    has_failed: bool,
}

/// What is kept in memory of the set in use.
#[derive(Debug, Default)]
struct Set {
    generation: Option<i64>,
    articles: Vec<Known>,
    terms_mean: f32,
    /// How many articles have a term, about.
    vocabulary: FxHashMap<Box<str>, u32>,
    /// Words by first letter and length: what a misspelt word may stand for, and the term that it then is.
    words: FxHashMap<(char, usize), Vec<Spelling>>,
}

/// A word as it is written, and the term that it is looked up by.
type Spelling = (Box<str>, Box<str>);

#[derive(Debug)]
struct Known {
    language: Box<str>,
    brand: Box<str>,
    terms: f32,
}

/// A term to look up.
struct Wanted {
    term: Box<str>,
    weight: f32,
    articles: u32,
    /// Of the question.
    idx: usize,
}

impl Reader {
    /// Opens the ledger for reading alone, beside a daemon or without one.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no ledger, or is of another version than this vigie's.
    pub fn open(path: &Path) -> Result<Reader, LedgerError> {
        let (_, found) = crate::ledger::open_to_read(path)?;
        if found < schema::VERSION {
            return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        // A commit keeps nobody from reading; where something does, a ticket goes without articles.
        connection.busy_timeout(std::time::Duration::ZERO).map_err(failed)?;
        Ok(Reader {
            connection,
            set: Set::default(),
            scores: Vec::new(),
            found: Vec::new(),
            has_failed: false,
        })
    }

    /// As [`Articles::find`], with what went wrong.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn try_find(&mut self, question: &Question) -> rusqlite::Result<Vec<Match>> {
        Ok(self.try_seek(question, false)?.found)
    }

    /// As [`Articles::seek`], with what went wrong.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn try_seek(&mut self, question: &Question, wants_next: bool) -> rusqlite::Result<Sought> {
        if question.terms.is_empty() && !wants_next {
            return Ok(Sought::default());
        }
        // One state of the file for all of it: an import may change sides in between.
        let transaction = self.connection.unchecked_transaction()?;
        let generation = generation(&transaction)?;
        if self.set.generation != Some(generation) {
            self.set = Set::read(&transaction, generation)?;
        }
        let set = &self.set;
        if set.articles.is_empty() {
            return Ok(Sought::default());
        }
        let wanted = set.wanted(question);
        self.scores.clear();
        self.scores.resize(set.articles.len(), (0.0, 0));
        self.found.clear();
        let articles = set.articles.len().max(ARTICLES_TAKEN_MIN) as f32;
        let rarest = rarity(articles, 1.0);
        let places = format!("SELECT doc, col FROM article_has_{} WHERE term = ?1", generation & 1);
        let mut places = transaction.prepare_cached(&places)?;
        let mut postings: Vec<(usize, f32)> = Vec::new();
        for (bit, wanted) in wanted.iter().enumerate() {
            postings.clear();
            let mut rows = places.query([&*wanted.term])?;
            while let Some(row) = rows.next()? {
                let article = usize::try_from(row.get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
                let weight = match row.get_ref(1)?.as_str().unwrap_or_default() {
                    "title" => TITLE,
                    "headings" => HEADINGS,
                    _ => TEXT,
                };
                match postings.last_mut() {
                    Some((last, sum)) if *last == article => *sum += weight,
                    _ => postings.push((article, weight)),
                }
            }
            let rarity = rarity(articles, postings.len() as f32) / rarest * wanted.weight;
            for (article, weight) in &postings {
                let (Some(known), Some(score)) = (set.articles.get(*article), self.scores.get_mut(*article))
                else {
                    continue;
                };
                if !known.brand.is_empty() && *known.brand != *question.brand {
                    continue;
                }
                if score.1 == 0 {
                    self.found.push(*article);
                }
                let length = 1.0 - LENGTH + LENGTH * known.terms / set.terms_mean;
                score.0 += rarity * weight * (SATURATION + 1.0) / (weight + SATURATION * length);
                score.1 |= 1 << bit;
            }
        }
        // One word in common is chance, unless the post says little else.
        let asked = question.terms.len();
        let by_words =
            |idx: usize| self.scores.get(idx).is_some_and(|score| score.1.count_ones() >= 2 || asked <= 2);
        let weighed = self.found.iter().filter_map(|idx| self.score(*idx, question));
        let (mut best, chance): (Vec<_>, Vec<_>) = weighed.partition(|(_, idx)| by_words(*idx));
        // Equal ones in the order of the import, so that a replay gives the same.
        let order =
            |one: &(f32, usize), other: &(f32, usize)| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1));
        best.sort_unstable_by(order);
        let least = best.first().map_or(0.0, |best| best.0 * BEHIND_THE_BEST);
        let fit =
            best.iter().take_while(|(score, _)| *score >= question.score_min && *score >= least).count();
        let next = (wants_next && fit < articles::ARTICLES_MAX).then(|| {
            let unfit =
                |score: f32| if score < question.score_min { Unfit::Weak } else { Unfit::Behind(least) };
            let chance = chance.into_iter().min_by(order).map(|one| (one, Unfit::OneWord));
            let behind = best.get(fit).map(|one| (*one, unfit(one.0)));
            behind.into_iter().chain(chance).min_by(|(one, _), (other, _)| order(one, other))
        });
        best.truncate(fit.min(articles::ARTICLES_MAX));
        let side = generation & 1;
        let mut article =
            transaction.prepare_cached("SELECT title, url FROM article WHERE side = ?1 AND id = ?2")?;
        let mut matched = |(score, idx): (f32, usize)| -> rusqlite::Result<Match> {
            let article = article.query_row([side, idx as i64 + 1], |row| {
                Ok(proto::Article { title: row.get(0)?, url: row.get(1)?, score })
            })?;
            let has = self.scores.get(idx).map_or(0, |score| score.1);
            let words = wanted.iter().enumerate().filter(|(bit, _)| has & (1 << bit) != 0);
            let words =
                words.filter_map(|(_, wanted)| question.terms.get(wanted.idx)).map(|term| term.words.clone());
            Ok(Match { article, words: words.collect() })
        };
        Ok(Sought {
            articles: set.articles.len(),
            found: best.into_iter().map(&mut matched).collect::<rusqlite::Result<_>>()?,
            next: match next.flatten() {
                Some((one, unfit)) => Some((matched(one)?, unfit)),
                None => None,
            },
        })
    }

    fn score(&self, idx: usize, question: &Question) -> Option<(f32, usize)> {
        let (known, (score, _)) = (self.set.articles.get(idx)?, self.scores.get(idx)?);
        let is_other = !known.language.is_empty()
            && !question.language.is_empty()
            && *known.language != *question.language;
        Some((if is_other { score * OTHER_LANGUAGE } else { *score }, idx))
    }
}

impl Articles for Reader {
    fn seek(&mut self, question: &Question, wants_next: bool) -> Sought {
        match self.try_seek(question, wants_next) {
            Ok(sought) => {
                self.has_failed = false;
                sought
            }
            Err(error) => {
                // A ticket without articles is worth more than none; a disk that fails ends the daemon elsewhere.
                if !std::mem::replace(&mut self.has_failed, true) {
                    warn!(%error, "articles cannot be read: tickets go without them");
                }
                Sought::default()
            }
        }
    }
}

/// How much a term tells that `having` of so many articles have.
fn rarity(articles: f32, having: f32) -> f32 {
    (1.0 + (articles - having + 0.5) / (having + 0.5)).ln()
}

impl Set {
    fn read(connection: &Connection, generation: i64) -> rusqlite::Result<Set> {
        let side = generation & 1;
        let mut statement =
            connection.prepare("SELECT language, brand, terms FROM article WHERE side = ?1 ORDER BY id")?;
        let articles = statement.query_map([side], |row| {
            let terms: i64 = row.get(2)?;
            Ok(Known { language: row.get(0)?, brand: row.get(1)?, terms: terms as f32 })
        })?;
        let articles: Vec<Known> = articles.collect::<rusqlite::Result<_>>()?;
        let terms: f32 = articles.iter().map(|article| article.terms).sum();
        let terms_mean = (terms / (articles.len() as f32).max(1.0)).max(1.0);
        let mut set = Set { generation: Some(generation), articles, terms_mean, ..Set::default() };
        let terms = format!("SELECT term, doc FROM article_term_{side} ORDER BY doc DESC, term LIMIT ?1");
        let mut statement = connection.prepare(&terms)?;
        let mut rows = statement.query([VOCABULARY_MAX])?;
        while let Some(row) = rows.next()? {
            let term: Box<str> = row.get(0)?;
            let articles: i64 = row.get(1)?;
            if !words::is_concept(&term) {
                set.remember(&term, &term);
            }
            set.vocabulary.insert(term, u32::try_from(articles).unwrap_or(u32::MAX));
        }
        for (stem, term) in words::concept_stems() {
            if set.vocabulary.contains_key(term.as_str()) {
                set.remember(stem, &term);
            }
        }
        set.words.values_mut().for_each(|words| words.sort_unstable());
        Ok(set)
    }

    fn remember(&mut self, word: &str, term: &str) {
        let letters = word.chars().count();
        if let Some(first) = word.chars().next().filter(|_| letters >= MISSPELT_LETTERS_MIN) {
            self.words.entry((first, letters)).or_default().push((word.into(), term.into()));
        }
    }

    /// The question's terms that any article has, the rarest first.
    fn wanted(&self, question: &Question) -> Vec<Wanted> {
        let mut misspelt = 0;
        let known = question.terms.iter().enumerate().filter_map(|(idx, term)| {
            let (term, weight) = match self.vocabulary.get(term.term.as_str()) {
                Some(_) => (term.term.as_str(), 1.0),
                None if misspelt == MISSPELT_MAX => return None,
                None => {
                    misspelt += 1;
                    (self.alike(&term.term)?, MISSPELT)
                }
            };
            let articles = self.vocabulary.get(term).copied()?;
            Some(Wanted { term: term.into(), weight, articles, idx })
        });
        let mut wanted: Vec<Wanted> = known.collect();
        wanted.sort_by_key(|wanted| wanted.articles);
        // A word and its misspelling are one.
        let mut terms = Vec::new();
        wanted.retain(|wanted| {
            !terms.contains(&wanted.term) && {
                terms.push(wanted.term.clone());
                true
            }
        });
        wanted.truncate(TERMS_MAX);
        let (mut places, mut kept) = (0_u32, 0);
        wanted.retain(|wanted| {
            places = places.saturating_add(wanted.articles);
            kept += 1;
            kept <= 2 || places <= PLACES_MAX
        });
        wanted
    }

    /// The term whose word differs from this one in one letter, left out, put in, changed or swapped.
    fn alike(&self, word: &str) -> Option<&str> {
        let (letters, first) = (word.chars().count(), word.chars().next()?);
        if letters < MISSPELT_LETTERS_MIN {
            return None;
        }
        let lengths = [letters, letters + 1, letters - 1].into_iter();
        let candidates = lengths.filter_map(|letters| self.words.get(&(first, letters))).flatten();
        let mut alike = candidates.filter(|(known, _)| strsim::osa_distance(known, word) == 1);
        alike.next().map(|(_, term)| &**term)
    }
}
