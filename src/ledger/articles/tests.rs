use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::desk::articles::{self, Question};
use crate::ledger::Retention;

fn config(path: &Path) -> Config {
    Config {
        path: path.to_owned(),
        bookkeeping_delay_max: Duration::ZERO,
        ageing_points_per_hour: 0,
        retention: Retention::default(),
    }
}

fn article(title: &str, language: &str, brand: &str) -> Article {
    let (title, language, brand) = (title.to_owned(), language.to_owned(), brand.to_owned());
    Article { title, language, brand, text: "lorem".into(), ..Article::default() }
}

fn import(path: &Path, articles: Vec<Article>) -> usize {
    let mut import = Import::begin(config(path)).unwrap();
    articles.into_iter().for_each(|article| import.add(article).unwrap());
    import.finish().unwrap()
}

fn found(reader: &mut Reader, text: &str, language: &str) -> Vec<String> {
    let weightless = Arc::new(BTreeSet::from(["lumio".to_owned()]));
    let config = articles::Config { weightless, score_min: 0.5, ..articles::Config::default() };
    let question = Question::in_text(text, language, Arc::from("Lumio"), &config);
    let found = reader.try_find(&question).unwrap();
    found.into_iter().map(|found| found.article.title).collect()
}

fn ledger() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    (folder, path)
}

#[test]
fn a_reader_sees_the_old_set_until_all_of_the_new_one_is_there() {
    let (_folder, path) = ledger();
    import(&path, vec![article("Ma facture", "fr", "")]);
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(found(&mut reader, "facture ?", "fr"), ["Ma facture"]);
    for round in 0..3 {
        let mut import = Import::begin(config(&path)).unwrap();
        for number in 0..3 * CHUNK_ARTICLES {
            import.add(article(&format!("Colis {round} {number}"), "fr", "")).unwrap();
        }
        let before = found(&mut reader, "facture ?", "fr");
        assert_eq!(before.is_empty(), round > 0, "most of the new set is on disk, and nobody sees it");
        assert_eq!(import.finish().unwrap(), 3 * CHUNK_ARTICLES);
        assert_eq!(found(&mut reader, "facture ?", "fr"), [""; 0]);
        assert_eq!(found(&mut reader, "colis 17", "fr")[0], format!("Colis {round} 17"));
    }
    let connection = Connection::open(&path).unwrap();
    let rows: isize = connection.query_row("SELECT count(*) FROM article", [], |row| row.get(0)).unwrap();
    assert_eq!(rows.cast_unsigned(), 3 * CHUNK_ARTICLES, "the sets before are gone");
}

#[test]
fn an_import_that_is_cut_short_leaves_the_old_set_and_the_next_one_works() {
    let (_folder, path) = ledger();
    import(&path, vec![article("Ma facture", "fr", "")]);
    let mut cut = Import::begin(config(&path)).unwrap();
    for number in 0..2 * CHUNK_ARTICLES {
        cut.add(article(&format!("Facture {number}"), "fr", "")).unwrap();
    }
    drop(cut);
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(found(&mut reader, "facture 7", "fr"), ["Ma facture"]);
    import(&path, vec![article("Facture 7", "fr", "")]);
    assert_eq!(found(&mut reader, "facture 7", "fr"), ["Facture 7"]);
}

#[test]
fn two_imports_at_once_are_one_too_many() {
    let (_folder, path) = ledger();
    let first = Import::begin(config(&path)).unwrap();
    let second = Import::begin(config(&path)).unwrap_err();
    assert!(second.to_string().contains("another import (process"), "{second}");
    drop(first);
    assert!(Import::begin(config(&path)).is_ok());
}

#[test]
fn another_brands_articles_are_not_for_this_one_and_another_languages_come_last() {
    let (_folder, path) = ledger();
    let titles = [
        ("My invoice", "en", ""),
        ("Ma facture", "fr", "Lumio"),
        ("Facture Autre", "fr", "Other"),
        ("Box", "", ""),
    ];
    import(&path, titles.map(|(title, language, brand)| article(title, language, brand)).to_vec());
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(found(&mut reader, "facture ?", "fr"), ["Ma facture", "My invoice"]);
    assert_eq!(found(&mut reader, "my bill", "en"), ["My invoice", "Ma facture"]);
    // Nobody has said what language it is.
    assert_eq!(found(&mut reader, "bill", "").len(), 2);
}

#[test]
fn misspelt_words_are_taken_for_those_that_articles_have() {
    let (_folder, path) = ledger();
    let titles = ["Antenne parabolique", "Remboursement", "Horaires du magasin"];
    import(&path, titles.map(|title| article(title, "fr", "")).to_vec());
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(found(&mut reader, "parabloique ?", "fr"), ["Antenne parabolique"]);
    assert_eq!(found(&mut reader, "rembourssement !!", "fr"), ["Remboursement"]);
    assert_eq!(found(&mut reader, "rembuorsement", "fr"), ["Remboursement"]);
    assert_eq!(found(&mut reader, "paraplegique", "fr"), [""; 0]);
}

#[test]
fn one_word_among_many_others_is_no_answer() {
    let (_folder, path) = ledger();
    import(&path, ["Facture", "Antenne", "Colis"].map(|title| article(title, "fr", "")).to_vec());
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(found(&mut reader, "facture", "fr"), ["Facture"]);
    assert_eq!(found(&mut reader, "la chorale chantera une facture dimanche", "fr"), [""; 0]);
    assert_eq!(found(&mut reader, "", "fr"), [""; 0]);
}

#[test]
fn what_lies_beyond_the_limit_of_a_text_is_not_found() {
    let (_folder, path) = ledger();
    let text = |lead: usize| format!("{}é antenne parabolique", "mot ".repeat(lead / 4));
    let long = Article { text: text(TEXT_BYTES_MAX), ..article("Long", "fr", "") };
    let short = Article { text: text(TEXT_BYTES_MAX / 2), ..article("Court", "fr", "") };
    import(&path, vec![long, short]);
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(found(&mut reader, "antenne parabolique", "fr"), ["Court"]);
}

#[test]
fn only_the_first_unknown_words_of_a_post_are_compared_with_others() {
    let (_folder, path) = ledger();
    import(&path, vec![article("Parabolique remboursement", "fr", "")]);
    let mut reader = Reader::open(&path).unwrap();
    let unknown: String =
        (b'a'..=b'z').map(|letter| format!("{}zzzz ", char::from(letter).to_string().repeat(4))).collect();
    assert_eq!(found(&mut reader, &format!("parabloique rembuorsement {unknown}"), "fr").len(), 1);
    assert_eq!(found(&mut reader, &format!("{unknown} parabloique rembuorsement"), "fr").len(), 0);
}

#[test]
fn retention_by_size_takes_no_article_for_a_ticket() {
    let (_folder, path) = ledger();
    let set = |articles| {
        let word = |number: usize| {
            [17_576, 676, 26, 1]
                .map(|place| char::from(b'a' + (number / place % 26) as u8))
                .iter()
                .collect::<String>()
        };
        let text = |number: usize| (0..300).map(|at| word(number * 300 + at) + " ").collect();
        let article = |number| Article { text: text(number), ..article("Facture", "fr", "") };
        let mut import = Import::begin(config(&path)).unwrap();
        (0..articles).for_each(|number| import.add(article(number)).unwrap());
        import.write_chunk().unwrap();
        import
    };
    let bytes = || size::bytes(&Connection::open(&path).unwrap()).unwrap();
    let under_way = set(500);
    let written = bytes();
    assert!(written > 500 * 1000, "{written}: what is written counts, whatever becomes of the import");
    drop(under_way);
    assert_eq!(bytes(), written);
    set(0).finish().unwrap();
    assert!(bytes() < written / 10, "{}: what is removed counts no more", bytes());
}
