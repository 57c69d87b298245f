//! A page as HTML → the article in it. No page is ever shown: what is no tag is words, and wrong markup only words
//! in the wrong column.

use crate::ledger::articles::Article;

/// Elements whose content nobody reads, or that stands on every page; and `header`, unless it is an article's own.
const SKIPPED: [&str; 8] = ["script", "style", "nav", "footer", "noscript", "template", "svg", "form"];

pub(super) fn article(page: &str) -> Article {
    let mut article = Article::default();
    let mut title = String::new();
    let mut first_heading = String::new();
    let mut rest = page;
    // The element whose text comes now: the document's title, a heading, or the body.
    let mut inside = Inside::Text;
    // Elements `article` and `main` that are open.
    let mut articles = 0_usize;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        push(before, inside, &mut title, &mut first_heading, &mut article);
        if let Some(comment) = tag.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let is_tag = tag
            .as_bytes()
            .get(1)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!'));
        if !is_tag {
            push("<", inside, &mut title, &mut first_heading, &mut article);
            rest = tag.get(1..).unwrap_or_default();
            continue;
        }
        let Some(end) = tag.find('>').map(|end| end + 1) else {
            rest = "";
            break;
        };
        let name = tag.get(1..end).unwrap_or_default();
        let is_end = name.starts_with('/');
        let attributes = name.trim_start_matches('/');
        let is_whole = attributes.ends_with("/>");
        let name = attributes
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        rest = tag.get(end..).unwrap_or_default();
        match name.as_str() {
            "title" => inside = if is_end { Inside::Text } else { Inside::Title },
            "h1" if !is_end => {
                inside = if first_heading.is_empty() { Inside::FirstHeading } else { Inside::Heading };
            }
            "h2" | "h3" | "h4" if !is_end => inside = Inside::Heading,
            "h1" | "h2" | "h3" | "h4" => inside = Inside::Text,
            "html" if !is_end && article.language.is_empty() => article.language = lang(attributes),
            "article" | "main" if is_end => articles = articles.saturating_sub(1),
            "article" | "main" => articles += usize::from(!is_whole),
            "header" if articles > 0 => {}
            skipped if !is_end && !is_whole && (skipped == "header" || SKIPPED.contains(&skipped)) => {
                rest = after(rest, skipped);
            }
            _ => {}
        }
        // Elements part words, but for those within a line.
        if !matches!(name.as_str(), "a" | "b" | "i" | "em" | "strong" | "span" | "u" | "sub" | "sup" | "mark")
        {
            push(" ", inside, &mut title, &mut first_heading, &mut article);
        }
    }
    push(rest, inside, &mut title, &mut first_heading, &mut article);
    // A page's first heading is the article's; its title has the site's name behind it.
    article.title = if first_heading.trim().is_empty() { title } else { first_heading };
    article
}

#[derive(Debug, Clone, Copy)]
enum Inside {
    Title,
    FirstHeading,
    Heading,
    Text,
}

fn push(text: &str, inside: Inside, title: &mut String, first_heading: &mut String, article: &mut Article) {
    let text = html_escape::decode_html_entities(text);
    match inside {
        Inside::Title => title.push_str(&text),
        Inside::FirstHeading => first_heading.push_str(&text),
        Inside::Heading => article.headings.push_str(&text),
        Inside::Text => article.text.push_str(&text),
    }
}

/// What comes behind the end of an element; nothing where it has none.
fn after<'p>(page: &'p str, element: &str) -> &'p str {
    let mut at = 0;
    while let Some(found) = page.get(at..).and_then(|rest| rest.find("</")) {
        at += found + 2;
        let name = page.as_bytes().get(at..at + element.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(element.as_bytes()) {
            let rest = page.get(at..).unwrap_or_default();
            return rest.split_once('>').map_or("", |(_, rest)| rest);
        }
    }
    ""
}

fn lang(attributes: &str) -> String {
    let value = attributes.split_once("lang=").map_or("", |(_, value)| value).trim_start_matches(['"', '\'']);
    value.chars().take_while(char::is_ascii_alphabetic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_its_heading_parts_and_text_and_leaves_its_frame() {
        let read = article(
            "<!doctype html><html lang=\"fr-FR\"><head><title>Panne | Lumio</title><style>p{}</style></head>\
             <body><NAV><a>Accueil</a></NAV><h1>Panne &amp; coupure</h1><p>Deux<b>mots</b>.<br>Fin 1 < 2</p>\
             <h2>Box</h2><!-- non --><script>let x = '<p>';</script><p>Texte</p></body></html>",
        );
        assert_eq!(read.title.trim(), "Panne & coupure");
        assert_eq!(read.language, "fr");
        assert_eq!(read.headings.trim(), "Box");
        let words: Vec<_> = read.text.split_whitespace().collect();
        assert_eq!(words.join(" "), "Deuxmots. Fin 1 < 2 Texte");
        assert_eq!(article("<title>Seul</title>").title.trim(), "Seul");
    }

    #[test]
    fn the_header_of_an_article_is_no_frame_of_the_site() {
        let read = article(
            "<body><header><h1>Lumio</h1></header><Main><article><HEADER><h1>Panne</h1><p>En bref</p></HEADER>\
             <p>Texte</p></article></Main><header>Menu</header><article/><p>Fin</p>",
        );
        assert_eq!(read.title.trim(), "Panne");
        let words: Vec<_> = read.text.split_whitespace().collect();
        assert_eq!(words.join(" "), "En bref Texte Fin");
    }

    #[test]
    fn what_comes_before_a_tag_without_end_is_read_once() {
        let read = article("<h1>Box</h1><p>Texte <a href=\"/x");
        assert_eq!(read.text.split_whitespace().collect::<Vec<_>>(), ["Texte"]);
    }

    #[test]
    fn broken_pages_give_what_they_have_in_one_go() {
        for part in ["<", "<script>", "</", "<!--", "<h1>", "<a ", "</scrip", "<nav></na"] {
            let page = part.repeat(200_000 / part.len());
            let read = article(&page);
            assert!(read.text.len() + read.title.len() + read.headings.len() <= 2 * page.len(), "{part}");
        }
    }
}
