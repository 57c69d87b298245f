//! `vigie import articles`: the company's support articles, whole, into the ledger.
//!
//! The old set stays until all of the new one is read; what cannot be taken is named with its reason and costs the
//! others nothing. Nothing is fetched from anywhere.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;

use crate::cli::print::{grouped, printable};
use crate::cli::{Failure, LedgerFile};
use crate::config::Config;
use crate::ledger::articles::{ARTICLES_MAX, Article, Import, TEXT_BYTES_MAX};
use crate::ledger::{self, Retention};

mod csv;
mod html;
mod markdown;
mod sitemap;

/// Longest file or line of one article. Its text is cut long before, but a page's markup comes with it.
const SOURCE_BYTES_MAX: u64 = 4 << 20;
/// Longest title: what agents read in one line.
const TITLE_BYTES_MAX: usize = 300;
/// Longest address.
const URL_BYTES_MAX: usize = 2000;
/// Articles that are named with what is wrong; more are only counted.
const NAMED_MAX: u64 = 100;

#[derive(Debug, Args)]
#[command(
    after_help = "Articles that are right are taken over even if others are rejected; then the exit code is 1."
)]
pub(in crate::cli) struct Arguments {
    /// A folder of Markdown files; a .csv with title, url, text, lang, brand; a .ndjson with the same; or a sitemap.xml
    /// whose pages lie beside it as HTML files
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    ledger: LedgerFile,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (ledger, brands) = match &arguments.ledger.ledger {
        Some(path) => (config_of(path), None),
        None => {
            let Config { ledger, prefilter, .. } = arguments.ledger.load()?;
            (ledger, Some(prefilter.brands.into_iter().map(|brand| brand.name).collect()))
        }
    };
    let read = source(&arguments.path).map_err(Failure::Mistake)?;
    let mut intake = Intake {
        import: Import::begin(ledger).map_err(anyhow::Error::new)?,
        brands,
        urls: HashSet::new(),
        taken: 0,
        cut: 0,
        rejected: 0,
        named: 0,
    };
    read(&arguments.path, &mut intake)?;
    let Intake { import, taken, cut, rejected, named, .. } = intake;
    if cut + rejected > named {
        writeln!(std::io::stderr(), "... and {} more", grouped(cut + rejected - named)).context("stderr")?;
    }
    if taken == 0 {
        let path = arguments.path.display();
        return Err(Failure::Mistake(anyhow!(
            "{path}: no article in it; the knowledge base is left as it was"
        )));
    }
    let articles = import.finish().map_err(anyhow::Error::new)?;
    let said = if articles == 1 { "article is" } else { "articles are" };
    let read = grouped(articles as u64 + rejected);
    let (articles, shown, cut) = (grouped(articles as u64), grouped(rejected), grouped(cut));
    writeln!(std::io::stdout(), "{articles} {said} the knowledge base now; {shown} rejected, {cut} cut")
        .context("stdout")?;
    if rejected > 0 {
        return Err(Failure::Fault(anyhow!("{shown} of {read} articles were rejected")));
    }
    Ok(())
}

/// A ledger without the rest of a config, for whoever only has its file.
fn config_of(path: &Path) -> ledger::Config {
    ledger::Config {
        path: path.to_owned(),
        bookkeeping_delay_max: std::time::Duration::from_millis(200),
        ageing_points_per_hour: ledger::outbox::AGEING_POINTS_PER_HOUR,
        retention: Retention::default(),
    }
}

/// Reads articles from a path into the set.
type Source = fn(&Path, &mut Intake) -> Result<(), Failure>;

fn source(path: &Path) -> anyhow::Result<Source> {
    let about = path.metadata().with_context(|| path.display().to_string())?;
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    Ok(match ending.as_str() {
        _ if about.is_dir() => markdown::read,
        "csv" => csv::read,
        "ndjson" | "jsonl" => sitemap::read_ndjson,
        "xml" => sitemap::read,
        "md" => markdown::read_one,
        _ => {
            return Err(anyhow!(
                "{}: must be a folder of .md files, a .csv, a .ndjson or a sitemap .xml",
                path.display()
            ));
        }
    })
}

/// What becomes of the articles that are read.
struct Intake {
    import: Import,
    /// Of the config; `None` where there is none.
    brands: Option<Vec<String>>,
    urls: HashSet<String>,
    taken: usize,
    cut: u64,
    rejected: u64,
    named: u64,
}

impl Intake {
    /// Takes an article, or says why not. `place`: the file or line that it comes from.
    fn take(&mut self, place: &str, mut article: Article) -> Result<(), Failure> {
        for text in [&mut article.title, &mut article.url, &mut article.brand] {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        article.language = article.language.trim().to_lowercase();
        article.language.truncate(article.language.find(['-', '_']).unwrap_or(article.language.len()));
        let known = self.brands.as_ref().is_none_or(|brands| {
            let brand = brands.iter().find(|brand| brand.to_lowercase() == article.brand.to_lowercase());
            brand.map(|brand| article.brand.clone_from(brand)).is_some() || article.brand.is_empty()
        });
        let is_web =
            article.url.is_empty() || ["https://", "http://"].iter().any(|web| article.url.starts_with(web));
        let refused = if article.title.is_empty() {
            Some("no title".to_owned())
        } else if article.text.trim().is_empty() && article.headings.trim().is_empty() {
            Some("empty: there is nothing but the title".to_owned())
        } else if !known {
            Some(format!("brand {:?} is none of the config's", printable(&article.brand)))
        } else if !is_web || article.url.len() > URL_BYTES_MAX {
            Some(format!("url is not http(s):// with at most {URL_BYTES_MAX} bytes"))
        } else if !article.url.is_empty() && !self.urls.insert(article.url.clone()) {
            Some(format!("duplicate: another article before has the url {}", printable(&article.url)))
        } else if self.taken >= ARTICLES_MAX {
            Some(format!("too many: a knowledge base has at most {ARTICLES_MAX} articles"))
        } else {
            None
        };
        if let Some(reason) = refused {
            return self.reject(place, &reason);
        }
        if article.title.len() > TITLE_BYTES_MAX {
            article.title.truncate(article.title.floor_char_boundary(TITLE_BYTES_MAX));
            article.title.push('…');
        }
        if article.text.len() > TEXT_BYTES_MAX {
            self.cut += 1;
            let bytes = article.text.len();
            self.name(place, &format!("long: the first {TEXT_BYTES_MAX} of {bytes} bytes are indexed"))?;
        }
        self.taken += 1;
        Ok(self.import.add(article).map_err(anyhow::Error::new)?)
    }

    /// Counts what cannot be taken, and says so.
    fn reject(&mut self, place: &str, reason: &str) -> Result<(), Failure> {
        self.rejected += 1;
        self.name(place, reason)
    }

    fn name(&mut self, place: &str, reason: &str) -> Result<(), Failure> {
        if self.named < NAMED_MAX {
            self.named += 1;
            writeln!(std::io::stderr(), "{}: {reason}", printable(place)).context("stderr")?;
        }
        Ok(())
    }

    /// A whole file as text; `None`, and named, where it cannot be had or is too large.
    fn text_of(&mut self, path: &Path) -> Result<Option<String>, Failure> {
        let place = path.display().to_string();
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match (read, decoded(bytes)) {
            (Err(error), _) => self.reject(&place, &error.to_string())?,
            (Ok(bytes), _) if bytes as u64 > SOURCE_BYTES_MAX => {
                self.reject(&place, &format!("larger than {SOURCE_BYTES_MAX} bytes"))?;
            }
            (_, Err(reason)) => self.reject(&place, &reason)?,
            (_, Ok(text)) => return Ok(Some(text)),
        }
        Ok(None)
    }
}

/// UTF-8 without a byte order mark, or what is wrong.
fn decoded(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("not UTF-8 at byte {at}: save it as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text))
}
