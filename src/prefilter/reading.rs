//! One post being read: its words, the terms found among them, and what each of those is worth.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::dictionary::Hit;
use super::explain::{Field, Standing};
use super::fold;
use super::normalise::{Mentions, Opening, Words};
use super::probe;
use super::rule::Condition;
use super::tables::{Meaning, Purpose, Tables};
use crate::parse::{Network, Post};

/// A post's words and the terms among them.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) words: Words,
    /// Where each segment of `words` begins, and which part of the post it is.
    segments: Vec<(u32, Field)>,
    /// What the post's own text holds, without what it quotes.
    own_words: OwnWords,
    pub(super) hits: Vec<Hit>,
    /// Brands with an exclusion in the post: up to where the one that began last, or before, reaches.
    excluded_until: FxHashMap<usize, u32>,
    /// The part whose spelling is being looked at, normalised with its origins.
    traced: Option<Field>,
    traced_words: Words,
    /// Room for an account's name in lower case.
    pub(super) lower: String,
}

/// One meaning of a hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) hit: Hit,
    /// The part of the post that it is in.
    pub(super) field: Field,
    pub(super) meaning: Meaning,
    pub(super) standing: Standing,
    /// The post's words, which the hit is among.
    bytes: &'s [u8],
}

impl<'s> Seen<'s> {
    /// The term as configured.
    pub(super) fn shown(&self, tables: &'s Tables) -> Cow<'s, str> {
        tables.shown(&self.hit, self.meaning.shown, self.bytes)
    }
}

#[derive(Debug, Default)]
struct OwnWords {
    links: bool,
    tags: bool,
    mentions: bool,
}

impl Reading {
    /// Whether any part of `post` that is searched may hold an anchor: `false` is sure, and spares the rest.
    pub(super) fn may_hold_anchor(&mut self, post: &Post<'_>, tables: &Tables) -> bool {
        let Reading { traced_words: room, traced, .. } = self;
        *traced = None;
        let mut may_begin = |field| {
            probe::may_begin(part(post, field), opening(field), mentions(post), room, |hash, kind| {
                tables.dictionary.may_anchor(hash, kind)
            })
        };
        may_begin(Field::Text)
            || (0..post.hashtags.len()).any(|idx| may_begin(Field::Hashtag(idx)))
            || (0..post.mentions.len()).any(|idx| may_begin(Field::Mention(idx)))
            || (post.quoted_text.is_some() && may_begin(Field::Quoted))
    }

    /// Takes in the words of every part of `post` that is searched.
    pub(super) fn normalise(&mut self, post: &Post<'_>) {
        self.words.clear();
        self.segments.clear();
        self.segments.shrink_to(KEPT_ITEMS_MAX);
        self.hits.clear();
        self.hits.shrink_to(KEPT_ITEMS_MAX);
        self.traced = None;
        let mut push = |words: &mut Words, field| {
            let place = words.push(part(post, field), opening(field), mentions(post));
            self.segments.push((place.start, field));
        };
        push(&mut self.words, Field::Text);
        let Words { has_link, has_tag, has_mention, .. } = self.words;
        self.own_words = OwnWords { links: has_link, tags: has_tag, mentions: has_mention };
        (0..post.hashtags.len()).for_each(|idx| push(&mut self.words, Field::Hashtag(idx)));
        (0..post.mentions.len()).for_each(|idx| push(&mut self.words, Field::Mention(idx)));
        if post.quoted_text.is_some() {
            push(&mut self.words, Field::Quoted);
        }
    }

    /// Calls `each` with everything that every hit means, its part of the post, and whether it counts.
    pub(super) fn each_meaning(&mut self, tables: &Tables, post: &Post<'_>, mut each: impl FnMut(&Seen<'_>)) {
        self.excluded_until.clear();
        self.excluded_until.shrink_to(KEPT_ITEMS_MAX);
        let (hits, words) = (std::mem::take(&mut self.hits), std::mem::take(&mut self.words));
        let bytes = words.bytes();
        // Hits come in the order of their starts, so that an exclusion around a name is known by then.
        for group in hits.chunk_by(|one, next| one.start == next.start) {
            let field = self.field(group);
            let meanings =
                || group.iter().flat_map(|hit| tables.meanings(hit).map(move |meaning| (hit, meaning)));
            for (hit, meaning) in meanings().filter(|(_, meaning)| meaning.purpose == Purpose::Exclude) {
                let standing = self.standing(tables, post, field, hit, &meaning, bytes);
                if let (Standing::Counts, Some(brand)) = (standing, meaning.brand) {
                    let until = self.excluded_until.entry(brand).or_default();
                    *until = hit.end.max(*until);
                }
                each(&Seen { hit: *hit, field, meaning, standing, bytes });
            }
            for (hit, meaning) in meanings().filter(|(_, meaning)| meaning.purpose != Purpose::Exclude) {
                let standing = self.standing(tables, post, field, hit, &meaning, bytes);
                each(&Seen { hit: *hit, field, meaning, standing, bytes });
            }
        }
        (self.hits, self.words) = (hits, words);
    }

    /// Whether `post` says this of itself.
    pub(super) fn holds(&self, condition: &Condition, post: &Post<'_>) -> bool {
        match condition {
            Condition::Reply => post.reply_to.is_some(),
            Condition::Quote => post.quote_of.is_some() || post.quoted_text.is_some(),
            Condition::Repost => post.reposted_by.is_some(),
            Condition::Verified => post.author.verified,
            Condition::Links => !post.links.is_empty() || self.own_words.links,
            Condition::Hashtags => !post.hashtags.is_empty() || self.own_words.tags,
            Condition::Mentions => !post.mentions.is_empty() || self.own_words.mentions,
            Condition::Media => post.has_media,
            // X calls a language that nobody could tell `und`.
            Condition::Language(language) => post.language.as_deref().map_or(language == "und", |claimed| {
                claimed.split(['-', '_']).next().is_some_and(|claimed| claimed.eq_ignore_ascii_case(language))
            }),
        }
    }

    fn field(&self, group: &[Hit]) -> Field {
        let at = group.first().map_or(0, |hit| hit.start);
        let behind = self.segments.partition_point(|(start, _)| *start <= at);
        behind.checked_sub(1).and_then(|idx| self.segments.get(idx)).map_or(Field::Text, |(_, field)| *field)
    }

    fn standing(
        &mut self,
        tables: &Tables,
        post: &Post<'_>,
        field: Field,
        hit: &Hit,
        meaning: &Meaning,
        bytes: &[u8],
    ) -> Standing {
        if field == Field::Quoted && matches!(meaning.purpose, Purpose::Handle | Purpose::Hashtag) {
            return Standing::Quoted;
        }
        if meaning.purpose == Purpose::Name
            && let Some(until) = meaning.brand.and_then(|brand| self.excluded_until.get(&brand))
            && hit.end <= *until
        {
            return Standing::Excluded;
        }
        if !meaning.exact {
            return Standing::Counts;
        }
        let spelling = tables.spelling(hit, meaning.shown, bytes);
        let spelt = self.origin(post, field, hit).and_then(|span| part(post, field).get(span));
        if spelt.is_some_and(|spelt| fold::accented(spelt) == spelling) {
            Standing::Counts
        } else {
            Standing::OtherAccents
        }
    }

    /// Where in its part of the post a hit stood, in bytes.
    pub(super) fn origin(&mut self, post: &Post<'_>, field: Field, hit: &Hit) -> Option<Range<usize>> {
        if self.traced != Some(field) {
            self.traced_words.clear();
            self.traced_words.push_traced(part(post, field), opening(field), mentions(post));
            self.traced = Some(field);
        }
        let (segment, _) = self.segments.iter().find(|(_, other)| *other == field)?;
        let [start, end] = [hit.start, hit.end].map(|at| at.saturating_sub(*segment) as usize);
        self.traced_words.origin(start..end)
    }
}

/// Items kept between posts in each list of a scratch; real posts stay far below.
const KEPT_ITEMS_MAX: usize = 4_096;

fn part<'p>(post: &'p Post<'_>, field: Field) -> &'p str {
    match field {
        Field::Text => &post.text,
        Field::Quoted => post.quoted_text.as_deref().unwrap_or_default(),
        Field::Hashtag(idx) => post.hashtags.get(idx).map_or("", |tag| tag.trim_start_matches('#')),
        Field::Mention(idx) => post.mentions.get(idx).map_or("", |mention| mention.trim_start_matches('@')),
    }
}

fn opening(field: Field) -> Opening {
    match field {
        Field::Text | Field::Quoted => Opening::Text,
        Field::Hashtag(_) => Opening::Tag,
        Field::Mention(_) => Opening::Mention,
    }
}

fn mentions(post: &Post<'_>) -> Mentions {
    if post.network == Network::X { Mentions::Bare } else { Mentions::Dotted }
}
