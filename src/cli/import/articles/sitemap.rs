//! A site's export: a sitemap whose pages lie beside it, or one line of JSON a page.

use std::fs::File;
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Deserialize;

use super::{BufRead, Intake, Read, SOURCE_BYTES_MAX, decoded, html};
use crate::cli::Failure;
use crate::ledger::articles::Article;

/// Longest sitemap: twice what the protocol allows (sitemaps.org, 50 MB uncompressed).
const SITEMAP_BYTES_MAX: u64 = 100 << 20;

/// Each `<loc>` names a page, which is looked for beside the file: `https://e.org/aide/box` as `aide/box`,
/// `aide/box.html` or `aide/box/index.html`, below the folder or below a folder of the host's name.
pub(super) fn read(path: &Path, intake: &mut Intake) -> Result<(), Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| shown.to_string())?;
    let read = file.take(SITEMAP_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| shown.to_string())?;
    if read as u64 > SITEMAP_BYTES_MAX {
        return Err(Failure::Mistake(anyhow!("{shown}: larger than {SITEMAP_BYTES_MAX} bytes")));
    }
    let sitemap = decoded(bytes).map_err(|reason| Failure::Mistake(anyhow!("{shown}: {reason}")))?;
    if sitemap.contains("<sitemapindex") {
        return Err(Failure::Mistake(anyhow!(
            "{shown}: an index of sitemaps: import one of those that it names"
        )));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rest = sitemap.as_str();
    while let Some((_, found)) = rest.split_once("<loc>") {
        let Some((url, after)) = found.split_once("</loc>") else { break };
        rest = after;
        let url = html_escape::decode_html_entities(url.trim()).into_owned();
        let Some(page) = page(folder, &url) else {
            intake.reject(&url, "no page of it lies beside the sitemap: export the pages too")?;
            continue;
        };
        let Some(text) = intake.text_of(&page)? else { continue };
        intake.take(&page.display().to_string(), Article { url, ..html::article(&text) })?;
    }
    Ok(())
}

/// The file that holds the page of this address, never outside the folder.
fn page(folder: &Path, url: &str) -> Option<PathBuf> {
    let (_, place) = url.split_once("://")?;
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let is_below = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below(host) || !is_below(path) {
        return None;
    }
    let folders = [folder.to_owned(), folder.join(host)];
    let candidates = folders.iter().flat_map(|folder| {
        [folder.join(path), folder.join(format!("{path}.html")), folder.join(path).join("index.html")]
    });
    candidates.into_iter().find(|candidate| candidate.is_file())
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    title: String,
    #[serde(default)]
    url: String,
    #[serde(default, alias = "body")]
    text: String,
    #[serde(default, alias = "language")]
    lang: String,
    #[serde(default)]
    brand: String,
}

/// One JSON object a line with `title`, `url`, `text`, `lang`, `brand`; other keys are the exporter's.
pub(super) fn read_ndjson(path: &Path, intake: &mut Intake) -> Result<(), Failure> {
    let shown = path.display();
    let mut file = BufReader::new(File::open(path).with_context(|| shown.to_string())?);
    let mut bytes = Vec::new();
    for number in 1.. {
        let place = format!("{shown}:{number}");
        bytes.clear();
        let mut limited = (&mut file).take(SOURCE_BYTES_MAX);
        if limited.read_until(b'\n', &mut bytes).with_context(|| place.clone())? == 0 {
            break;
        }
        if bytes.len() as u64 == SOURCE_BYTES_MAX && !bytes.ends_with(b"\n") {
            file.skip_until(b'\n').with_context(|| place.clone())?;
            intake.reject(&place, &format!("longer than {SOURCE_BYTES_MAX} bytes"))?;
            continue;
        }
        match decoded(bytes.clone()) {
            Err(reason) => intake.reject(&place, &reason)?,
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => match serde_json::from_str::<Line>(&line) {
                Err(error) => intake.reject(&place, &format!("no JSON object of an article: {error}"))?,
                Ok(Line { title, url, text, lang, brand }) => {
                    let headings = String::new();
                    intake.take(&place, Article { title, url, language: lang, brand, headings, text })?;
                }
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_beside_the_sitemap_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["aide/box.html", "aide/wifi/index.html", "e.org/autre"] {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
        }
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(page(folder.path(), url), expected.map(|file| folder.path().join(file)), "{url}");
        };
        check("https://e.org/aide/box", Some("aide/box.html"));
        check("https://e.org/aide/box?a=1#b", Some("aide/box.html"));
        check("https://e.org/aide/wifi/", Some("aide/wifi/index.html"));
        check("https://e.org/autre", Some("e.org/autre"));
        check("https://e.org/../../etc/passwd", None);
        check("https://../etc/passwd", None);
        check("e.org/aide/box", None);
        check("https://e.org/", None);
    }
}
