//! What must hold of any rule and any text.

use super::naive::{TERMS, Tree};
use super::{Brand, Config, Prefilter, Scan, Scratch};
use crate::parse::{Author, Network, Post};
use crate::trials::Bytes;

/// A rule is refused with its place, or compiles; then scan, explanation and the shortcut agree on any post.
///
/// The input is a rule, a 0, a text, a 0 and a tag.
pub(crate) fn rule(data: &[u8]) {
    let Ok(data) = std::str::from_utf8(data) else { return };
    let mut parts = data.split('\0');
    let (rule, text, tag) =
        (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let rule = rule.unwrap_or_default();
    let brand = Brand {
        name: "Lumio".into(),
        handles: vec!["lumio".into()],
        names: vec!["lumio".into()],
        rules: vec![rule.to_owned()],
        ..Brand::default()
    };
    // The built-in words are many, and another trial's.
    let config = Config { brands: vec![brand], builtin_triggers: false, ..Config::default() };
    let prefilter = match (Prefilter::build(&config), Prefilter::check(&config)) {
        (Ok(prefilter), Ok(())) => prefilter,
        (Err(built), Err(checked)) => {
            assert_eq!(built, checked);
            assert!(!built.is_empty());
            for mistake in built {
                assert!(mistake.position.is_none_or(|at| at <= mistake.value.chars().count()), "{mistake:?}");
                assert!(!mistake.message.is_empty());
            }
            return;
        }
        (built, checked) => panic!("built: {built:?}, checked: {checked:?}"),
    };
    let author = Author { id: tag.into(), ..Author::default() };
    let mut post = Post::new(Network::Plain, "1".into(), author, text.into());
    post.hashtags.push(tag.into());
    post.mentions.push(tag.into());
    post.quoted_text = Some(tag.into());
    agree(&prefilter, &post, &mut Scratch::default());
}

/// Rules over a few terms find in a text what a naive search of it finds.
pub(crate) fn matches(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let rules: Vec<Tree> = (0..1 + bytes.under(3)).map(|_| tree(&mut bytes, 4)).collect();
    let brand = |idx: usize, rule: &Tree| Brand {
        name: format!("b{idx}"),
        listen: "handle".into(),
        rules: vec![rule.text()],
        ..Brand::default()
    };
    let config = |brands| Config { brands, builtin_triggers: false, ..Config::default() };
    // A rule that needs no term is refused, and so is nothing else.
    let (kept, refused): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| Prefilter::check(&config(vec![brand(0, rule)])).is_ok());
    assert!(refused.iter().all(|rule| rule.text().contains('-')), "{refused:?} is refused");
    let brands = kept.iter().enumerate().map(|(idx, rule)| brand(idx, rule)).collect();
    let Ok(prefilter) = Prefilter::build(&config(brands)) else { panic!("{kept:?} does not build") };
    let mut scratch = Scratch::default();
    for _ in 0..1 + bytes.under(3) {
        let text = text(&mut bytes);
        let post = Post::new(Network::Plain, "1".into(), Author::default(), text.as_str().into());
        let expected: Vec<bool> = kept.iter().map(|rule| rule.matches(&text)).collect();
        let explained = prefilter.explain(&post).brands;
        let found: Vec<bool> = explained.iter().map(|brand| brand.rules[1].matched).collect();
        assert_eq!(found, expected, "{kept:?} in {text:?}");
        assert_eq!(agree(&prefilter, &post, &mut scratch), expected.contains(&true), "{kept:?} in {text:?}");
    }
}

/// Whether the post is a candidate, as all ways to ask say.
fn agree(prefilter: &Prefilter, post: &Post<'_>, scratch: &mut Scratch) -> bool {
    let scan = prefilter.scan(post, scratch);
    let passed_over = prefilter.passes_over(post, scratch);
    assert!(!passed_over || scan == Scan::Unmatched, "{post:?} is passed over");
    let explained = prefilter.explain(post);
    assert_eq!(explained.own, scan == Scan::Own);
    let is_candidate = matches!(scan, Scan::Candidate(_));
    assert!(explained.own || is_candidate == explained.winner.is_some(), "{explained:?}");
    if let Scan::Candidate(candidate) = scan {
        assert_eq!(Some(&candidate.brand), explained.winner.as_ref());
        assert_eq!(candidate.post, post.clone().into_owned());
    }
    is_candidate
}

fn tree(bytes: &mut Bytes<'_>, depth: usize) -> Tree {
    let kind = if depth == 0 { 0 } else { bytes.byte() % 5 };
    let parts = |bytes: &mut Bytes<'_>| (0..1 + bytes.under(3)).map(|_| tree(bytes, depth - 1)).collect();
    match kind {
        2 => Tree::Not(Box::new(tree(bytes, depth - 1))),
        3 => Tree::All(parts(bytes)),
        4 => Tree::Any(parts(bytes)),
        _ => Tree::Term(TERMS[bytes.under(TERMS.len())]),
    }
}

/// Pieces of the terms, other spellings of them, and what stands between words.
pub(super) const PIECES: [&str; 40] = [
    "lumio",
    "LUMIO",
    "Ｌｕｍｉｏ",
    "lu\u{200B}mio",
    "Box",
    "box",
    "été",
    "E\u{301}TE\u{301}",
    "ete",
    "l'",
    "l’",
    "d",
    "ne",
    "marche",
    "plus",
    "Plus.",
    "ルミオ",
    "が",
    "オ",
    "루미오",
    "가",
    "cœur",
    "COEUR",
    "4G",
    "4",
    "😡",
    "\u{FE0F}",
    "\u{AD}",
    " ",
    " ",
    " ",
    " ",
    "-",
    "…",
    "\u{A0}",
    "!",
    "\n",
    "#",
    "x",
    "œ",
];

fn text(bytes: &mut Bytes<'_>) -> String {
    let piece = |bytes: &mut Bytes<'_>| match bytes.under(PIECES.len() + TERMS.len() + 4) {
        piece if piece < PIECES.len() => PIECES[piece].to_owned(),
        term if term < PIECES.len() + TERMS.len() => format!(" {} ", TERMS[term - PIECES.len()]),
        _ => char::from(b'a' + bytes.byte() % 26).to_string(),
    };
    (0..bytes.under(16)).map(|_| piece(bytes)).collect()
}
