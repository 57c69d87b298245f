//! Rules and texts made at random, found by both.

use proptest::prelude::*;

use super::super::trial::PIECES;
use super::super::{Brand, Config, Prefilter, Scan, Scratch};
use super::*;
use crate::parse::{Author, Network, Post};

fn term() -> impl Strategy<Value = Tree> {
    prop::sample::select(&TERMS[..]).prop_map(Tree::Term)
}

fn tree() -> impl Strategy<Value = Tree> {
    let tree = term().prop_recursive(4, 12, 3, |part| {
        prop_oneof![
            part.clone().prop_map(|part| Tree::Not(Box::new(part))),
            prop::collection::vec(part.clone(), 1..4).prop_map(Tree::All),
            prop::collection::vec(part, 1..4).prop_map(Tree::Any),
        ]
    });
    // Most trees with a negation need a term beside it to be allowed.
    prop_oneof![tree.clone(), (term(), tree).prop_map(|(term, tree)| Tree::All(vec![term, tree]))]
}

fn text() -> impl Strategy<Value = String> {
    // Whole terms half of the time, so that several meet in one text.
    let piece = prop_oneof![
        prop::sample::select(&PIECES[..]).prop_map(String::from),
        prop::sample::select(&TERMS[..]).prop_map(|term| format!(" {term} ")),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

fn post(text: &str) -> Post<'_> {
    Post::new(Network::Plain, "1".into(), Author::default(), text.into())
}

fn config() -> Config {
    // The built-in words are many, and another test's.
    Config { builtin_triggers: false, ..Config::default() }
}

proptest! {
    #[test]
    fn literal_rules_never_miss_what_a_naive_search_finds(
        rules in prop::collection::vec(tree(), 1..4),
        texts in prop::collection::vec(text(), 1..8),
    ) {
        let brand = |rule: &Tree| Brand {
            name: format!("b{}", rule.text()),
            listen: rule.text(),
            ..Brand::default()
        };
        // A rule that needs no term is refused, and so is nothing else.
        let (kept, refused): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| {
            Prefilter::build(&Config { brands: vec![brand(rule)], ..config() }).is_ok()
        });
        for rule in &refused {
            prop_assert!(rule.text().contains('-'), "{} is refused", rule.text());
        }
        let mut scratch = Scratch::default();
        let rules = kept.iter().map(Tree::text).collect();
        let all = Brand { name: "zz".into(), listen: "handle".into(), rules, ..Brand::default() };
        let prefilter = Prefilter::build(&Config { brands: vec![all], ..config() }).unwrap();
        for text in &texts {
            let expected: Vec<bool> = kept.iter().map(|rule| rule.matches(text)).collect();
            let explained = prefilter.explain(&post(text));
            let found: Vec<bool> = explained.brands[0].rules[1..].iter().map(|rule| rule.matched).collect();
            prop_assert_eq!(&found, &expected, "{:?} in {:?}", &kept, text);
            let candidate = prefilter.scan(&post(text), &mut scratch) != Scan::Unmatched;
            prop_assert_eq!(candidate, expected.contains(&true), "{:?} in {:?}", &kept, text);
            prop_assert!(!(candidate && prefilter.passes_over(&post(text), &mut scratch)), "{:?} in {:?}", &kept, text);
        }
    }

    #[test]
    fn any_text_is_scanned(text in "\\PC{0,60}|[a-z@#._: \u{301}\u{3099}ｶﾞが한-]{0,40}", other in "\\PC{0,9}") {
        let brand = Brand {
            name: "Lumio".into(),
            handles: vec!["lumio".into()],
            rules: TERMS.map(|term| format!("\"{term}\"")).to_vec(),
            fold_accents: false,
            ..Brand::default()
        };
        let prefilter = Prefilter::build(&Config { brands: vec![brand], ..config() }).unwrap();
        let post = Post {
            quoted_text: Some(other.as_str().into()),
            hashtags: vec![other.as_str().into()],
            mentions: vec![other.as_str().into()],
            ..post(&text)
        };
        let scan = prefilter.scan(&post, &mut Scratch::default());
        let passed_over = prefilter.passes_over(&post, &mut Scratch::default());
        prop_assert!(!passed_over || scan == Scan::Unmatched);
        let explained = prefilter.explain(&post);
        prop_assert_eq!(matches!(scan, Scan::Candidate(_)), explained.winner.is_some());
    }

    /// Hundreds of terms made of few words begin and end like one another, which is what the dictionary's
    /// filters and its shared rules must get right.
    #[test]
    fn of_many_terms_with_shared_words_none_is_missed(
        names in prop::collection::hash_set(phrase(), 1..120),
        rules in prop::collection::vec(many_rule(), 1..60),
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12), 1..6),
        brands in 1..4_usize,
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let brands: Vec<Brand> = (0..brands)
            .map(|idx| Brand {
                name: format!("zz{idx}"),
                listen: "name".into(),
                names: names.iter().skip(idx * names.len() / 4).cloned().collect(),
                rules: rules.iter().skip(idx).map(Tree::text).collect(),
                ..Brand::default()
            })
            .collect();
        let prefilter = Prefilter::build(&Config { brands: brands.clone(), ..config() }).unwrap();
        let mut scratch = Scratch::default();
        for words in &texts {
            let text = words.join(" ");
            let explained = prefilter.explain(&post(&text));
            let mut any = false;
            for (idx, (brand, found)) in brands.iter().zip(&explained.brands).enumerate() {
                let named = brand.names.iter().any(|name| holds(&text, name));
                let ruled = rules.iter().skip(idx).map(|rule| rule.matches(&text));
                let expected: Vec<bool> = std::iter::once(named).chain(ruled).collect();
                let found: Vec<bool> = found.rules.iter().map(|rule| rule.matched).collect();
                any |= expected.contains(&true);
                prop_assert_eq!(found, expected, "{:?} in {:?}", brand, text);
            }
            prop_assert_eq!(prefilter.scan(&post(&text), &mut scratch) != Scan::Unmatched, any, "{:?}", text);
        }
    }
}

/// Words that begin and end alike, longer and shorter than the eight bytes that a hash looks at.
const WORDS: [&str; 13] = [
    "la",
    "le",
    "lumio",
    "lumiobox",
    "mobile",
    "internationale",
    "internationaux",
    "international",
    "télé",
    "tele",
    "box",
    "ルミ",
    "オ",
];

fn phrase() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 1..4).prop_map(|words| words.join(" "))
}

/// A term that is needed, and what may stand beside it.
fn many_rule() -> impl Strategy<Value = Tree> {
    let term = || prop::sample::select(&WORDS[..]).prop_map(Tree::Term);
    (term(), term(), term(), 0..4).prop_map(|(needed, one, other, form)| {
        let beside = match form {
            0 => return needed,
            1 => Tree::Not(Box::new(one)),
            2 => Tree::Any(vec![one, Tree::Not(Box::new(other))]),
            _ => Tree::Any(vec![one, other]),
        };
        Tree::All(vec![needed, beside])
    })
}
