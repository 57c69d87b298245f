//! What a scan saw and why it decided as it did, for `vigie explain`: the very same code, with nothing
//! left out.

use std::ops::Range;
use std::sync::Arc;

use super::dictionary::{Hit, Search};
use super::rule::Slot;
use super::tables::{Purpose, RulePlace, first_slot};
use super::{Prefilter, Scratch};
use crate::parse::Post;

/// Everything that [`Prefilter::scan`] looked at in one post.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Written by one of the brands' own accounts: no rule is asked then, and all below is what would be.
    pub own: bool,
    /// Every term found, in the order of the text.
    pub hits: Vec<HitExplained>,
    /// Every brand in config order.
    pub brands: Vec<BrandExplained>,
    /// The brand whose ticket it would be.
    pub winner: Option<Arc<str>>,
}

/// A term found.
#[derive(Debug, Clone, PartialEq)]
pub struct HitExplained {
    /// What the term is.
    pub kind: HitKind,
    /// Whose it is; `None` for triggers, which are everybody's.
    pub brand: Option<Arc<str>>,
    /// As configured.
    pub term: String,
    /// Where it was found.
    pub field: Field,
    /// In bytes of that part of the post.
    pub span: Range<usize>,
    /// Whether it counts.
    pub standing: Standing,
}

/// What a term is to the brand that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HitKind {
    /// One of [`Brand::handles`](super::Brand::handles).
    Handle,
    /// One of [`Brand::hashtags`](super::Brand::hashtags).
    Hashtag,
    /// One of [`Brand::names`](super::Brand::names).
    Name,
    /// One of [`Brand::exclude`](super::Brand::exclude).
    Exclude,
    /// A service word.
    Trigger,
    /// Written in a rule.
    Literal,
}

/// A part of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The text.
    Text,
    /// The text of the post it quotes.
    Quoted,
    /// One of the tags that the network names, by its index.
    Hashtag(usize),
    /// One of the mentions that the network names, by its index.
    Mention(usize),
}

/// Whether a hit counts, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Counts,
    /// A name inside an excluded phrase.
    Excluded,
    /// Spelled with other accents, where the brand says that they matter.
    OtherAccents,
    /// A handle or hashtag that only the quoted author used.
    Quoted,
}

/// What one brand's rules say.
#[derive(Debug, Clone, PartialEq)]
pub struct BrandExplained {
    /// The brand's name.
    pub brand: Arc<str>,
    /// Its rules, `listen` first.
    pub rules: Vec<RuleExplained>,
}

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleExplained {
    /// `listen`, `rules[0]`, or `file:17` for a line of [`Brand::rules_file`](super::Brand::rules_file).
    pub key: String,
    /// The rule as written.
    pub text: String,
    /// Whether it matches.
    pub matched: bool,
}

impl Prefilter {
    /// Scans `post` and keeps everything that was seen.
    pub fn explain(&self, post: &Post<'_>) -> Explanation {
        let mut scratch = Scratch::default();
        let own = self.is_own(post, &mut scratch);
        self.read(post, &mut scratch, Search::All);
        self.judge(post, &mut scratch);
        let winner = self.best(&scratch).and_then(|(_, brand_idx)| self.tables.brands.get(brand_idx));
        Explanation {
            own,
            brands: self.brands_explained(post, &scratch),
            winner: winner.map(|brand| brand.name.clone()),
            hits: self.hits_explained(post, &mut scratch),
        }
    }

    fn hits_explained(&self, post: &Post<'_>, scratch: &mut Scratch) -> Vec<HitExplained> {
        let mut explained = Vec::new();
        scratch.reading.each_meaning(&self.tables, post, |seen| {
            let meaning = seen.meaning;
            let brands = match meaning.purpose {
                Purpose::Literal => self.brands_asking(meaning.slot).into_iter().map(Some).collect(),
                _ => vec![meaning.brand],
            };
            let of = |brand: Option<usize>| HitExplained {
                kind: kind(meaning.purpose),
                brand: brand.and_then(|brand| self.tables.brands.get(brand)).map(|brand| brand.name.clone()),
                term: seen.shown(&self.tables).into_owned(),
                field: seen.field,
                // Known only once nothing else is read from the post.
                span: 0..0,
                standing: seen.standing,
            };
            explained.extend(brands.into_iter().map(|brand| (seen.hit, of(brand))));
        });
        let with_span = |(hit, explained): (Hit, HitExplained)| HitExplained {
            span: scratch.reading.origin(post, explained.field, &hit).unwrap_or_default(),
            ..explained
        };
        explained.into_iter().map(with_span).collect()
    }

    /// The brands with a rule that asks for this slot, in config order. Scans never need to know.
    fn brands_asking(&self, slot: Slot) -> Vec<usize> {
        let asking = self.tables.rules.iter().filter(|rule| {
            self.tables.code.slots(rule.start, first_slot(rule.brand as usize)).any(|asked| asked == slot)
        });
        let mut brands: Vec<_> = asking.map(|rule| rule.brand as usize).collect();
        brands.dedup();
        brands
    }

    fn brands_explained(&self, post: &Post<'_>, scratch: &Scratch) -> Vec<BrandExplained> {
        let explain = |(idx, brand): (usize, &super::tables::Watched)| {
            let rules = self.tables.rules_of(idx).map(|(rule_idx, rule)| RuleExplained {
                key: match rule.place {
                    RulePlace::Listen => "listen".into(),
                    RulePlace::Rules(idx) => format!("rules[{idx}]"),
                    RulePlace::File(line) => format!("file:{line}"),
                },
                text: self.tables.rule_texts.get(rule.text).into(),
                matched: self.matches(rule_idx, post, &scratch.reading, &scratch.marks),
            });
            BrandExplained { brand: brand.name.clone(), rules: rules.collect() }
        };
        self.tables.brands.iter().enumerate().map(explain).collect()
    }
}

fn kind(purpose: Purpose) -> HitKind {
    match purpose {
        Purpose::Handle => HitKind::Handle,
        Purpose::Hashtag => HitKind::Hashtag,
        Purpose::Name => HitKind::Name,
        Purpose::Exclude => HitKind::Exclude,
        Purpose::Trigger => HitKind::Trigger,
        Purpose::Literal => HitKind::Literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Author, Network};
    use crate::prefilter::{Brand, Config};

    #[test]
    fn every_hit_and_every_rule_is_told() {
        let text = "Élan fest ! L'élan, @elan en panne 😡";
        let post = Post {
            quoted_text: Some("#élan".into()),
            ..Post::new(Network::X, "1".into(), Author::default(), text.into())
        };
        let brand = Brand {
            name: "Élan".into(),
            handles: vec!["elan".into()],
            exclude: vec!["élan fest".into()],
            rules: vec!["😡 -panne".into(), "😡 lang:und".into()],
            ..Brand::default()
        };
        let config = Config {
            brands: vec![brand],
            triggers: vec!["en panne".into()],
            builtin_triggers: false,
            ..Config::default()
        };
        let explanation = Prefilter::build(&config).unwrap().explain(&post);
        let hits: Vec<_> = (explanation.hits.iter())
            .map(|hit| {
                let source = if hit.field == Field::Quoted { "#élan" } else { text };
                (hit.kind, source.get(hit.span.clone()).unwrap(), hit.standing)
            })
            .collect();
        assert_eq!(
            hits,
            [
                (HitKind::Exclude, "Élan fest", Standing::Counts),
                (HitKind::Name, "Élan", Standing::Excluded),
                (HitKind::Name, "élan", Standing::Counts),
                (HitKind::Handle, "@elan", Standing::Counts),
                (HitKind::Trigger, "en panne", Standing::Counts),
                (HitKind::Literal, "panne", Standing::Counts),
                (HitKind::Literal, "😡", Standing::Counts),
                (HitKind::Name, "élan", Standing::Counts),
                (HitKind::Hashtag, "élan", Standing::Quoted),
            ]
        );
        let rules: Vec<_> = explanation.brands.iter().flat_map(|brand| &brand.rules).collect();
        let told: Vec<_> = rules.iter().map(|rule| (rule.key.as_str(), rule.matched)).collect();
        assert_eq!(told, [("listen", true), ("rules[0]", false), ("rules[1]", true)]);
        assert_eq!(explanation.winner.as_deref(), Some("Élan"));
        assert!(!explanation.own);
    }
}
