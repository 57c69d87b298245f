//! One post being read: its words, the terms found among them, and what each of those is worth.

use std::ops::Range;

use super::compile::{Purpose, Tables, Use};
use super::dictionary::Hit;
use super::explain::{Field, Standing};
use super::fold;
use super::normalise::{Mentions, Opening, Words};
use super::rule::Condition;
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
    /// By brand: up to where the exclusion that began last, or before, reaches.
    excluded_until: Vec<u32>,
    /// The part whose spelling is being looked at, normalised with its origins.
    traced: Option<Field>,
    traced_words: Words,
    /// Room for an account's name in lower case.
    pub(super) lower: String,
}

#[derive(Debug, Default)]
struct OwnWords {
    links: bool,
    tags: bool,
    mentions: bool,
}

impl Reading {
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

    /// Calls `each` with every use of every hit, its part of the post, and whether it counts.
    pub(super) fn each_use(
        &mut self,
        tables: &Tables,
        post: &Post<'_>,
        mut each: impl FnMut(&Hit, Field, &Use, Standing),
    ) {
        self.excluded_until.clear();
        self.excluded_until.resize(tables.brands.len(), 0);
        let hits = std::mem::take(&mut self.hits);
        // Hits come in the order of their starts, so that an exclusion around a name is known by then.
        for group in hits.chunk_by(|one, next| one.start == next.start) {
            let field = self.field(group);
            let uses =
                || group.iter().flat_map(|hit| tables.uses(hit).iter().map(move |meaning| (hit, meaning)));
            for (hit, meaning) in uses().filter(|(_, meaning)| meaning.purpose == Purpose::Exclude) {
                let standing = self.standing(post, field, hit, meaning);
                if standing == Standing::Counts
                    && let Some(until) = self.excluded_until.get_mut(meaning.brand)
                {
                    *until = hit.end.max(*until);
                }
                each(hit, field, meaning, standing);
            }
            for (hit, meaning) in uses().filter(|(_, meaning)| meaning.purpose != Purpose::Exclude) {
                let standing = self.standing(post, field, hit, meaning);
                each(hit, field, meaning, standing);
            }
        }
        self.hits = hits;
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

    fn standing(&mut self, post: &Post<'_>, field: Field, hit: &Hit, meaning: &Use) -> Standing {
        if field == Field::Quoted && matches!(meaning.purpose, Purpose::Handle | Purpose::Hashtag) {
            return Standing::Quoted;
        }
        let excluded_until = self.excluded_until.get(meaning.brand).copied().unwrap_or(0);
        if meaning.purpose == Purpose::Name && hit.end <= excluded_until {
            return Standing::Excluded;
        }
        let Some(spelling) = &meaning.spelling else {
            return Standing::Counts;
        };
        let spelt = self.origin(post, field, hit).and_then(|span| part(post, field).get(span));
        if spelt.is_some_and(|spelt| fold::accented(spelt) == *spelling) {
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
