//! A condition: which posts a rule speaks of, as one table of the config.
//!
//! `{ sentiment = "negative", tier = ["gold", "silver"], hours = "mon-fri 08:00-18:00", followers_min = 1000 }`:
//! every key must hold, and within a list one value is enough. There is no "or" and no "not": two rules say the
//! first, an earlier rule the second. Because of that [`When::covers`] can tell which rules never get a turn.

mod shown;

use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::person::Person;
use super::sensitive::Hit;
use super::week::Week;
use crate::classify::{INTENTS, SENTIMENTS, URGENCIES, Verdict, best};
use crate::prefilter::Candidate;

/// All that is known of a post when it is decided about.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The post, its brand, and what matched.
    pub candidate: &'a Candidate,
    /// What the model says.
    pub verdict: &'a Verdict,
    /// Who wrote it.
    pub person: &'a Person,
    /// The sensitive topics that its text touches.
    pub sensitive: &'a [String],
    /// Which words made it so, in the order of the topics; only for people to read.
    pub sensitive_words: &'a [Hit],
    /// The topics of conditions that its text says; see [`topic`](super::topic).
    pub said: &'a [Arc<str>],
    /// Posts that have joined the ticket of this one since.
    pub follow_ups: u32,
    /// `0..=1000`, once it is known; conditions of factors are asked before and see 0.
    pub priority: u16,
    /// Whether the model is sure that it is no customer message, though nothing else speaks for that it is one: see
    /// [`Config::is_noise`](super::Config::is_noise).
    pub is_noise: bool,
    /// The moment of the decision.
    pub now: Timestamp,
}

/// What a list of words in a condition is compared with. Words are compared without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// As named in the config.
    Brand,
    /// `bluesky`, `mastodon`, `x`, `facebook`, `plain`.
    Network,
    /// Of the text, as the model saw it, or as the post says: primary subtag.
    Language,
    /// The most probable class.
    Sentiment,
    /// The most probable class.
    Intent,
    /// The most probable class.
    Urgency,
    /// The customer's.
    Tier,
    /// The customer's.
    Flag,
    /// What matched (names, hashtags, rules), the post's hashtags, and words and phrases of its text.
    Topic,
    /// Through which the person has been in touch.
    Channel,
    /// Sensitive topics.
    Sensitive,
}

/// What a range in a condition is compared with. What is not known lies in no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// `0..=1000`.
    Priority,
    /// The author's.
    Followers,
    /// The customer's, in whole units.
    Value,
    /// Earlier contacts that are known.
    Contacts,
    /// Whole days since the customer last bought something.
    Bought,
}

/// What is asked with yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Whether the company knows the author as a customer.
    Customer,
    /// Whether the post names one of our handles.
    Addressed,
    /// Whether the network has verified the author.
    Verified,
}

/// The condition; one that asks nothing always holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct When {
    /// One of the words, in lower case, must be there; each list sorted.
    pub words: Vec<(Field, Vec<String>)>,
    /// The quantity must lie there.
    pub ranges: Vec<(Quantity, RangeInclusive<i64>)>,
    /// The answer must be this.
    pub answers: Vec<(Question, bool)>,
    /// The wall clock must show one of these hours.
    pub hours: Option<(Week, TimeZone)>,
}

impl When {
    /// Whether the condition asks for anything.
    pub fn asks_nothing(&self) -> bool {
        *self == When::default()
    }

    /// Whether it asks for what is said: a topic, or words that make a text sensitive.
    pub fn is_by_text(&self) -> bool {
        self.words.iter().any(|(field, _)| matches!(field, Field::Topic | Field::Sensitive))
    }

    /// Whether it asks for what the company knows of a customer; earlier contacts are not that, nor among its factors.
    pub fn is_by_customer(&self) -> bool {
        self.words.iter().any(|(field, _)| matches!(field, Field::Tier | Field::Flag))
            || self.ranges.iter().any(|(of, _)| matches!(of, Quantity::Value | Quantity::Bought))
            || self.answers.contains(&(Question::Customer, true))
    }

    /// Whether it asks for what makes a ticket press: sensitive words, a high urgency, or a priority from some point on.
    pub fn presses(&self) -> bool {
        let is_high = |words: &[String]| words.iter().any(|word| word == "high");
        self.words
            .iter()
            .any(|(field, words)| *field == Field::Sensitive || *field == Field::Urgency && is_high(words))
            || self.ranges.iter().any(|(of, range)| *of == Quantity::Priority && *range.start() > 0)
    }

    /// Whether it holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.answers.iter().all(|(question, expected)| facts.answer(*question) == *expected)
            && self.ranges.iter().all(|(quantity, range)| {
                facts.quantity(*quantity).is_some_and(|quantity| range.contains(&quantity))
            })
            && self.words.iter().all(|(field, words)| facts.has_any(*field, words))
            && self.hours.as_ref().is_none_or(|(week, zone)| week.contains(zone.to_datetime(facts.now)))
    }

    /// Whether it holds wherever `other` does: after a rule with this condition one with the other is never asked.
    ///
    /// `false` where that cannot be told from the conditions alone.
    pub fn covers(&self, other: &When) -> bool {
        let words = self.words.iter().all(|(field, ours)| {
            let mut same = other.words.iter().filter(|(theirs, _)| theirs == field);
            same.any(|(_, theirs)| theirs.iter().all(|word| ours.contains(word)))
        });
        let ranges = self.ranges.iter().all(|(quantity, ours)| {
            let mut same = other.ranges.iter().filter(|(theirs, _)| theirs == quantity);
            same.any(|(_, theirs)| ours.start() <= theirs.start() && theirs.end() <= ours.end())
        });
        let answers = self.answers.iter().all(|answer| other.answers.contains(answer));
        let hours = match (&self.hours, &other.hours) {
            (None, _) => true,
            (Some((ours, zone)), Some((theirs, other))) => zone == other && ours.covers(theirs),
            (Some((ours, _)), None) => *ours == Week::always(),
        };
        words && ranges && answers && hours
    }
}

/// Which conditions never get a turn in a list of which the first that holds counts: the places of an earlier one that
/// covers it, and its own.
pub fn shadowed<'w>(conditions: impl IntoIterator<Item = &'w When>) -> Vec<(usize, usize)> {
    let conditions: Vec<&When> = conditions.into_iter().collect();
    let covering = |later: usize| conditions.iter().take(later).position(|one| one.covers(conditions[later]));
    (0..conditions.len()).filter_map(|later| Some((covering(later)?, later))).collect()
}

impl<'a> Facts<'a> {
    /// What is known of a new post before its words are read and its priority is known.
    pub fn new(
        candidate: &'a Candidate,
        verdict: &'a Verdict,
        person: &'a Person,
        now: Timestamp,
    ) -> Facts<'a> {
        Facts {
            candidate,
            verdict,
            person,
            sensitive: &[],
            sensitive_words: &[],
            said: &[],
            follow_ups: 0,
            priority: 0,
            is_noise: false,
            now,
        }
    }
}

impl Facts<'_> {
    fn answer(&self, question: Question) -> bool {
        match question {
            Question::Customer => self.person.customer.is_some(),
            Question::Addressed => self.candidate.addressed,
            Question::Verified => self.candidate.post.author.verified,
        }
    }

    fn quantity(&self, quantity: Quantity) -> Option<i64> {
        match quantity {
            Quantity::Priority => Some(self.priority.into()),
            Quantity::Followers => {
                self.candidate.post.author.followers.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
            }
            // A finite number: the cast saturates.
            Quantity::Value => self.person.customer.as_ref()?.value.map(|value| value as i64),
            Quantity::Contacts => i64::try_from(self.person.touchpoints.len()).ok(),
            Quantity::Bought => {
                let bought = self.person.customer.as_ref()?.purchases.iter().map(|purchase| purchase.at);
                let last = bought.filter(|at| *at <= self.now).max()?;
                Some((self.now.as_second() - last.as_second()) / (24 * 3600))
            }
        }
    }

    fn has_any(&self, field: Field, words: &[String]) -> bool {
        let has = |text: &str| is_among(words, text);
        let customer = self.person.customer.as_deref();
        match field {
            Field::Brand => has(&self.candidate.brand),
            Field::Network => has(self.candidate.post.network.name()),
            Field::Language => has(self.verdict.language.code()) || self.language_said().is_some_and(has),
            Field::Sentiment => has(SENTIMENTS[best(&self.verdict.sentiment)]),
            Field::Intent => has(INTENTS[best(&self.verdict.intent)]),
            Field::Urgency => has(URGENCIES[best(&self.verdict.urgency)]),
            Field::Tier => customer.is_some_and(|customer| has(&customer.tier)),
            Field::Flag => customer.is_some_and(|customer| customer.flags.iter().any(|flag| has(flag))),
            Field::Topic => {
                self.candidate.hits.iter().any(|hit| has(hit) || without_mark(hit).is_some_and(has))
                    || self.candidate.post.hashtags.iter().any(|tag| has(tag))
                    || self.said.iter().any(|word| words.iter().any(|asked| **asked == **word))
            }
            Field::Channel => self.person.touchpoints.iter().any(|touchpoint| has(&touchpoint.channel)),
            Field::Sensitive => self.sensitive.iter().any(|topic| has(topic)),
        }
    }

    fn language_said(&self) -> Option<&str> {
        self.candidate.post.language.as_deref()
    }
}

/// The words are in lower case. This is most of what a route of 200 rules costs: the text is looked at once, and lowered
/// at most once, however many words there are.
fn is_among(words: &[String], text: &str) -> bool {
    let is_there = |text: &str| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if text.is_ascii() { is_there(text) } else { is_there(text) || words.contains(&text.to_lowercase()) }
}

/// A hashtag or handle without what makes it one; `None` if it is neither.
fn without_mark(hit: &str) -> Option<&str> {
    let is_marked = matches!(hit.as_bytes().first(), Some(b'#' | b'@'));
    is_marked.then(|| hit.trim_start_matches(['#', '@']))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::desk::case::Case;
    use crate::desk::person::{Customer, Purchase, Touchpoint};

    fn words(field: Field, words: &[&str]) -> When {
        When {
            words: vec![(field, words.iter().map(|word| (*word).to_owned()).collect())],
            ..When::default()
        }
    }

    fn hours(text: &str) -> When {
        When { hours: Some((text.parse().unwrap(), TimeZone::UTC)), ..When::default() }
    }

    fn range(quantity: Quantity, range: RangeInclusive<i64>) -> When {
        When { ranges: vec![(quantity, range)], ..When::default() }
    }

    fn both(one: When, other: When) -> When {
        When {
            words: [one.words, other.words].concat(),
            ranges: [one.ranges, other.ranges].concat(),
            answers: [one.answers, other.answers].concat(),
            hours: one.hours.or(other.hours),
        }
    }

    #[test]
    fn every_key_must_hold_and_one_word_of_a_list_is_enough() {
        // On a Thursday, 12:00 UTC.
        let mut case = Case::new("ana");
        case.candidate.post.author.followers = Some(500);
        case.candidate.post.hashtags = vec!["Panne".into()];
        case.candidate.brand = "Lumio Énergie".into();
        case.candidate.hits = vec!["@Lumio_help".to_owned()];
        case.candidate.addressed = true;
        case.verdict.sentiment = [0.8, 0.1, 0.1];
        case.verdict.intent = [0.0, 0.9, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0];
        case.verdict.urgency = [0.0, 0.2, 0.8];
        case.person = Person {
            customer: Some(Arc::new(Customer {
                tier: "gold".to_owned(),
                value: Some(1200.9),
                flags: vec!["press".to_owned()],
                purchases: [-1, 75, 500]
                    .map(|hours| Purchase {
                        at: case.now - SignedDuration::from_hours(hours),
                        date: None,
                        amount: None,
                        what: String::new(),
                    })
                    .into(),
                ..Customer::default()
            })),
            touchpoints: vec![Touchpoint { at: case.now, channel: "phone".to_owned(), note: String::new() }],
        };
        case.sensitive = vec!["safety".to_owned()];
        case.priority = 640;
        let facts = case.facts();
        let check = |when: When, expected: bool| assert_eq!(when.holds(&facts), expected, "{when:?}");
        check(When::default(), true);
        for (field, word) in [
            (Field::Brand, "lumio énergie"),
            (Field::Network, "x"),
            (Field::Sentiment, "negative"),
            (Field::Intent, "problem"),
            (Field::Urgency, "high"),
            (Field::Tier, "gold"),
            (Field::Flag, "press"),
            (Field::Topic, "panne"),
            (Field::Topic, "lumio_help"),
            (Field::Channel, "phone"),
            (Field::Sensitive, "safety"),
            (Field::Language, "und"),
        ] {
            check(words(field, &["another", word]), true);
            check(words(field, &["another"]), false);
            check(both(words(field, &[word]), words(Field::Tier, &["silver"])), false);
        }
        for (quantity, exact) in [
            (Quantity::Priority, 640),
            (Quantity::Followers, 500),
            (Quantity::Value, 1200),
            (Quantity::Contacts, 1),
            (Quantity::Bought, 3),
        ] {
            check(range(quantity, exact..=exact), true);
            check(range(quantity, exact + 1..=i64::MAX), false);
        }
        for question in [Question::Customer, Question::Addressed] {
            check(When { answers: vec![(question, true)], ..When::default() }, true);
            check(When { answers: vec![(question, false)], ..When::default() }, false);
        }
        check(When { answers: vec![(Question::Verified, false)], ..When::default() }, true);
        check(hours("thu 12-13"), true);
        check(hours("thu 13-14"), false);
        let paris = TimeZone::get("Europe/Paris").unwrap();
        check(When { hours: Some(("thu 13-14".parse().unwrap(), paris)), ..When::default() }, true);
    }

    #[test]
    fn only_what_makes_a_ticket_matter_more_presses() {
        let check = |when: When, expected: bool| assert_eq!(when.presses(), expected, "{when:?}");
        check(words(Field::Sensitive, &["legal"]), true);
        check(words(Field::Urgency, &["high"]), true);
        check(words(Field::Urgency, &["high", "normal"]), true);
        check(words(Field::Urgency, &["low"]), false);
        check(words(Field::Topic, &["high"]), false);
        check(range(Quantity::Priority, 1..=i64::MAX), true);
        check(range(Quantity::Priority, 0..=i64::MAX), false);
        check(range(Quantity::Priority, i64::MIN..=200), false);
        check(range(Quantity::Followers, 1_000..=i64::MAX), false);
    }

    #[test]
    fn what_is_not_known_lies_in_no_range() {
        let case = Case::new("ana");
        for quantity in [Quantity::Followers, Quantity::Value, Quantity::Bought] {
            assert!(!range(quantity, i64::MIN..=i64::MAX).holds(&case.facts()), "{quantity:?}");
        }
    }

    #[test]
    fn a_condition_covers_what_asks_for_all_that_it_asks_for_and_more() {
        let check = |one: &When, other: &When, expected: bool| {
            assert_eq!(one.covers(other), expected, "{one:?} over {other:?}");
        };
        let (all, gold) = (When::default(), words(Field::Tier, &["gold"]));
        let either = words(Field::Tier, &["gold", "silver"]);
        let rich = range(Quantity::Value, 1_000..=i64::MAX);
        check(&all, &gold, true);
        check(&gold, &all, false);
        check(&either, &gold, true);
        check(&gold, &either, false);
        check(&gold, &both(gold.clone(), rich.clone()), true);
        check(&both(gold.clone(), rich.clone()), &gold, false);
        check(&rich, &range(Quantity::Value, 2_000..=3_000), true);
        check(&rich, &range(Quantity::Value, 0..=3_000), false);
        check(&rich, &range(Quantity::Followers, 2_000..=3_000), false);
        check(&hours("mon-fri 8-18"), &hours("tue 9-10"), true);
        check(&hours("tue 9-10"), &hours("mon-fri 8-18"), false);
        check(&hours("always"), &all, true);
        check(&hours("tue 9-10"), &all, false);
        let known = |answer| When { answers: vec![(Question::Customer, answer)], ..When::default() };
        check(&known(true), &both(known(true), gold), true);
        check(&known(true), &known(false), false);
    }

    #[test]
    fn a_condition_behind_one_that_covers_it_is_named_with_that() {
        let (all, gold) = (When::default(), words(Field::Tier, &["gold"]));
        let (silver, either) = (words(Field::Tier, &["silver"]), words(Field::Tier, &["gold", "silver"]));
        assert_eq!(shadowed([&gold, &silver, &either, &all]), []);
        assert_eq!(shadowed([&either, &gold, &range(Quantity::Value, 1..=2), &silver]), [(0, 1), (0, 3)]);
        assert_eq!(shadowed([&silver, &all, &gold]), [(1, 2)]);
    }
}
