//! The company's knowledge base: replaced whole by `vigie import articles`, read for each new ticket.
//!
//! SQLite's FTS5 keeps which article has which term; the terms are ours (`desk::articles::words`), and so is the
//! weighing ([`Reader`]): its own `bm25` gives no weight to what half of the articles say, which is right for thousands
//! and wrong for five, and its query language is never asked. There are two sides. An import fills the one that nobody
//! reads, in transactions of some milliseconds beside a running daemon, and then changes sides in one row: readers see
//! the old set or the new one.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::context::size;
use super::{Config, Ledger, LedgerError, importing, schema, wal};
use crate::desk::articles::words::{self, Term};

mod reader;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

pub use reader::Reader;

/// Articles in a set at most: the reader keeps some bytes of each in memory.
pub const ARTICLES_MAX: usize = 20_000;
/// Bytes of an article's text that are indexed.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for the daemon, which writes for milliseconds.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(60);
/// What goes into one transaction at most, but for a single longer article: some 10 ms of work.
const CHUNK_ARTICLES: usize = 64;
const CHUNK_BYTES: usize = 128 * 1024;

pub(super) const TABLES: &str = "
    -- The articles with `side = generation & 1` are those in use.
    CREATE TABLE article_set (
        id          INTEGER PRIMARY KEY CHECK (id = 1),
        generation  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO article_set (id, generation) VALUES (1, 0);

    CREATE TABLE article (
        side      INTEGER NOT NULL,
        id        INTEGER NOT NULL,        -- counts from 1; the rowid in the side's index
        title     TEXT NOT NULL,
        url       TEXT NOT NULL,           -- may be empty
        language  TEXT NOT NULL,           -- two letters; empty: any
        brand     TEXT NOT NULL,           -- empty: any
        terms     INTEGER NOT NULL,        -- its length
        PRIMARY KEY (side, id)
    ) STRICT, WITHOUT ROWID;

    -- Which terms an article has in which column. The columns hold terms with spaces between, not text.
    CREATE VIRTUAL TABLE article_index_0 USING fts5 (title, headings, body, content='', tokenize='ascii', detail=column);
    CREATE VIRTUAL TABLE article_index_1 USING fts5 (title, headings, body, content='', tokenize='ascii', detail=column);
    CREATE VIRTUAL TABLE article_has_0 USING fts5vocab (article_index_0, instance);
    CREATE VIRTUAL TABLE article_has_1 USING fts5vocab (article_index_1, instance);
    CREATE VIRTUAL TABLE article_term_0 USING fts5vocab (article_index_0, row);
    CREATE VIRTUAL TABLE article_term_1 USING fts5vocab (article_index_1, row);
";

/// An article as it is imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Article {
    /// As agents see it.
    pub title: String,
    /// Where it is read; may be empty.
    pub url: String,
    /// Primary tag; empty: the article is for every language.
    pub language: String,
    /// As in config; empty: the article is for every brand.
    pub brand: String,
    /// The headings of its parts, one a line.
    pub headings: String,
    /// The rest of it.
    pub text: String,
}

/// A set on its way into the ledger; what is not finished changes nothing that is seen.
#[derive(Debug)]
pub struct Import {
    path: PathBuf,
    connection: Connection,
    /// Keeps a second import away.
    _lock: File,
    generation: i64,
    articles: usize,
    chunk: Vec<Article>,
    chunk_bytes: usize,
}

impl Import {
    /// Begins beside a daemon, or without one: the ledger is then made, or brought to this vigie's version.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written, is of another version, or another import is under way.
    pub fn begin(config: Config) -> Result<Import, LedgerError> {
        let path = config.path.clone();
        let path = path.as_path();
        match Ledger::open(config) {
            // Whoever uses it has done that.
            Ok(_) | Err(LedgerError::InUse(_)) => {}
            Err(error) => return Err(error),
        }
        let (_, found) = super::open_to_read(path)?;
        if found < schema::VERSION {
            return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
        }
        let lock = importing::lock(path)?;
        let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
        let mut connection = Connection::open(path).map_err(failed)?;
        schema::leave_log_on_close(&connection).map_err(failed)?;
        schema::prepare(&mut connection).map_err(failed)?;
        wal::wait_for_others(&mut connection, BUSY_WAIT_MAX).map_err(failed)?;
        // Nobody's secrets: to write zeros over an old set took 3 s and 96 MB of log where this takes 0.3 s and 1 MB.
        connection.pragma_update(None, "secure_delete", "FAST").map_err(failed)?;
        let generation = 1 + generation(&connection).map_err(failed)?;
        let (articles, chunk, chunk_bytes) = (0, Vec::new(), 0);
        let path = path.to_owned();
        let mut import = Import { path, connection, _lock: lock, generation, articles, chunk, chunk_bytes };
        // What an import that was cut short has left.
        import.clear(generation & 1).map_err(|error| import.failed(error))?;
        Ok(import)
    }

    /// Takes an article into the set; `text` beyond [`TEXT_BYTES_MAX`] is not indexed.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    ///
    /// # Panics
    ///
    /// There are [`ARTICLES_MAX`] already: the caller counts.
    pub fn add(&mut self, article: Article) -> Result<(), LedgerError> {
        assert!(self.articles + self.chunk.len() < ARTICLES_MAX, "more articles than a set may have");
        self.chunk_bytes += article.title.len() + article.headings.len() + article.text.len();
        self.chunk.push(article);
        if self.chunk.len() >= CHUNK_ARTICLES || self.chunk_bytes >= CHUNK_BYTES {
            self.write_chunk().map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Puts the new set in the place of the old one, and gives how many articles it has.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written: the old set stays.
    pub fn finish(mut self) -> Result<usize, LedgerError> {
        self.write_chunk().map_err(|error| self.failed(error))?;
        self.change_sides().map_err(|error| self.failed(error))?;
        Ok(self.articles)
    }

    fn change_sides(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("UPDATE article_set SET generation = ?1 WHERE id = 1", [self.generation])?;
        transaction.commit()?;
        self.clear(1 - (self.generation & 1))?;
        // The write-ahead log is the daemon's to keep short; without one it would stay as long as the set is.
        wal::copy_log(&self.connection)
    }

    fn write_chunk(&mut self) -> rusqlite::Result<()> {
        let side = self.generation & 1;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = size::Before::measure(&transaction, size::Part::Articles)?;
        for article in self.chunk.drain(..) {
            self.articles += 1;
            let id = self.articles.cast_signed();
            let end = article.text.floor_char_boundary(TEXT_BYTES_MAX);
            let title = terms_of(&article.title);
            let headings = terms_of(&article.headings);
            let body = terms_of(article.text.get(..end).unwrap_or_default());
            let terms = title.len() + headings.len() + body.len();
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO article_index_{side} (rowid, title, headings, body) VALUES (?1, ?2, ?3, ?4)"
                ))?
                .execute(params![id, joined(&title), joined(&headings), joined(&body)])?;
            transaction.prepare_cached("INSERT INTO article VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
                params![
                    side,
                    id,
                    article.title,
                    article.url,
                    article.language,
                    article.brand,
                    terms.cast_signed(),
                ],
            )?;
        }
        self.chunk_bytes = 0;
        // FTS5 takes pages for what it was given when somebody may want to come back to here, or at the commit.
        transaction.execute_batch("SAVEPOINT indexed; RELEASE indexed")?;
        before.account(&transaction)?;
        transaction.commit()
    }

    /// Removes the side that nobody reads. FTS5 does so in one transaction, in which the daemon waits to commit.
    fn clear(&mut self, side: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = size::Before::measure(&transaction, size::Part::Articles)?;
        let index = format!("INSERT INTO article_index_{side} (article_index_{side}) VALUES ('delete-all')");
        transaction.execute(&index, [])?;
        transaction.execute("DELETE FROM article WHERE side = ?1", [side])?;
        before.account(&transaction)?;
        transaction.commit()
    }

    fn failed(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.path.clone(), error }
    }
}

fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT generation FROM article_set WHERE id = 1")?
        .query_row([], |row| row.get(0))
}

/// Brands may call themselves by words that say what an article is about: only posts leave them out.
fn terms_of(text: &str) -> Vec<Term> {
    words::terms(text, &std::collections::BTreeSet::new())
}

fn joined(terms: &[Term]) -> String {
    terms.iter().map(|term| term.term.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
