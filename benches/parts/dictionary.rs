//! Priorities that ask everything.

use vigie::desk::priority::{Combination, Curve, Group};
use vigie::desk::when::{Field, Quantity, Question};
use vigie::desk::{Config, When};

/// A dictionary that asks everything.
pub(crate) fn everything() -> Config {
    let mut config = Config::default();
    let factors = &mut config.factors;
    factors.verified = 10;
    factors.tier.points = [("gold".to_owned(), 100), ("silver".to_owned(), 40)].into();
    factors.flag.points = [("press".to_owned(), 80), ("vulnerable".to_owned(), 150)].into();
    factors.contacts.half_life_hours = 24;
    factors.contacts.count = Curve::steps(&[(2.0, 20), (5.0, 60)]);
    Group::ALL.into_iter().for_each(|group| factors.caps.set(group, 500));
    let combination = |number: usize| {
        let when = When {
            // Half of them hold of a problem.
            words: vec![
                (Field::Intent, vec![if number.is_multiple_of(2) { "problem" } else { "praise" }.to_owned()]),
                (Field::Sentiment, vec!["negative".to_owned()]),
            ],
            ranges: vec![(Quantity::Contacts, 0..=i64::MAX)],
            answers: vec![(Question::Verified, false)],
            hours: None,
        };
        Combination::new(format!("combination {number}"), when, 1)
    };
    factors.combinations = (0..20).map(combination).collect();
    config
}
