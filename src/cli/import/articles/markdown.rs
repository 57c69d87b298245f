//! A folder of Markdown files, one article each.
//!
//! Front matter between `---` lines may give `title`, `url`, `lang` and `brand`, one `key: value` a line; other keys
//! are the site generator's. Without a title the first heading is it. Markup is left in the text: the index knows words
//! alone, and addresses in it are none.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Intake;
use crate::cli::Failure;
use crate::ledger::articles::Article;

/// Folders in folders at most, so that a loop of links ends.
const DEPTH_MAX: usize = 8;

pub(super) fn read(folder: &Path, intake: &mut Intake) -> Result<(), Failure> {
    let mut files = Vec::new();
    walk(folder, DEPTH_MAX, &mut files)?;
    // The order of a folder is the file system's: equal articles would come in another one elsewhere.
    files.sort();
    files.iter().try_for_each(|file| read_one(file, intake))
}

pub(super) fn read_one(file: &Path, intake: &mut Intake) -> Result<(), Failure> {
    let Some(text) = intake.text_of(file)? else { return Ok(()) };
    intake.take(&file.display().to_string(), article(&text))
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("md")) {
            files.push(path);
        }
    }
    Ok(())
}

fn article(text: &str) -> Article {
    let mut article = Article::default();
    let mut lines = text.lines().peekable();
    if lines.next_if(|line| line.trim_end() == "---").is_some() {
        for line in lines.by_ref().take_while(|line| line.trim_end() != "---") {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match key.trim() {
                "title" => article.title = value,
                "url" => article.url = value,
                "lang" | "language" => article.language = value,
                "brand" => article.brand = value,
                _ => {}
            }
        }
    }
    for line in lines {
        let heading = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim());
        match heading.filter(|heading| !heading.is_empty()) {
            Some(heading) if article.title.is_empty() => article.title = heading.to_owned(),
            Some(heading) => {
                article.headings.push_str(heading);
                article.headings.push('\n');
            }
            None => {
                article.text.push_str(line);
                article.text.push('\n');
            }
        }
    }
    article
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_headings_and_text_are_told_apart() {
        let read = article(
            "---\ntitle: \"Panne : que faire\"\nurl: https://e.org/1\nlang: fr\nlayout: page\n---\n# Panne\nTexte\n## Box\nfin",
        );
        let expected = Article {
            title: "Panne : que faire".into(),
            url: "https://e.org/1".into(),
            language: "fr".into(),
            headings: "Panne\nBox\n".into(),
            text: "Texte\nfin\n".into(),
            ..Article::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_first_heading_is_the_title_where_nothing_else_is() {
        let read = article("intro\n# Titre\n## Autre\n");
        assert_eq!((read.title.as_str(), read.headings.as_str()), ("Titre", "Autre\n"));
        // Front matter that never ends takes all of the file, and leaves an article without a title.
        assert_eq!(article("---\nlang: fr\n# a\n").title, "");
    }
}
