//! What must hold of any text that is looked up, and of any that is imported.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Article, Import, Reader};
use crate::desk::articles::{self, ARTICLES_MAX, Question};
use crate::ledger::{Config, Retention};

/// A ledger that is removed with the process.
static SET: LazyLock<Mutex<(tempfile::TempDir, Reader)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.sqlite");
    let config = Config {
        path: path.clone(),
        bookkeeping_delay_max: Duration::ZERO,
        ageing_points_per_hour: 0,
        retention: Retention::default(),
    };
    let mut import = Import::begin(config).expect("a ledger");
    for text in ["internet panne \"OR\" NEAR(a b) title:box", "facture * ^ -", "ルミオ été"] {
        let article = Article { title: text.into(), text: text.into(), ..Article::default() };
        import.add(article).expect("an article");
    }
    import.finish().expect("a set");
    let reader = Reader::open(&path).expect("a set");
    Mutex::new((folder, reader))
});

/// Any text is looked up without an error, the same each time, and finds no more than it may.
pub(crate) fn question(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let config = articles::Config { score_min: 0.0, ..articles::Config::default() };
    let question = Question::in_text(&text, "fr", Arc::from("Lumio"), &config);
    for term in &question.terms {
        assert!(term.term.chars().all(char::is_alphanumeric) && !term.term.is_empty(), "{term:?}");
    }
    let reader = &mut SET.lock().1;
    let found = reader.try_find(&question).expect("any text can be looked up");
    assert!(found.len() <= ARTICLES_MAX);
    assert!(
        found.iter().all(|found| found.article.score.is_finite() && !found.words.is_empty()),
        "{found:?}"
    );
    assert_eq!(found, reader.try_find(&question).expect("and again"));
}
