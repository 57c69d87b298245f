//! A condition as people read it: `sentiment negative, tier gold or silver, followers from 1000`.

use std::fmt;

use super::{Field, Quantity, Question, When};

impl Field {
    /// As in config.
    pub fn name(self) -> &'static str {
        match self {
            Field::Brand => "brand",
            Field::Network => "network",
            Field::Language => "language",
            Field::Sentiment => "sentiment",
            Field::Intent => "intent",
            Field::Urgency => "urgency",
            Field::Tier => "tier",
            Field::Flag => "flag",
            Field::Topic => "topic",
            Field::Channel => "channel",
            Field::Sensitive => "sensitive",
        }
    }
}

impl Quantity {
    /// As in config, without `_min` or `_max`.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Priority => "priority",
            Quantity::Followers => "followers",
            Quantity::Value => "value",
            Quantity::Contacts => "contacts",
            Quantity::Bought => "bought_days",
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            write!(f, "{comma}{text}")?;
            comma = ", ";
            Ok::<(), fmt::Error>(())
        };
        for (field, words) in &self.words {
            part(f, format_args!("{} {}", field.name(), words.join(" or ")))?;
        }
        for (quantity, range) in &self.ranges {
            let (name, from, to) = (quantity.name(), range.start(), range.end());
            match *to {
                i64::MAX => part(f, format_args!("{name} from {from}"))?,
                to => part(f, format_args!("{name} {from} to {to}"))?,
            }
        }
        for (question, answer) in &self.answers {
            let not = if *answer { "" } else { "not " };
            let said = match question {
                Question::Customer => "a known customer",
                Question::Addressed => "addressed to us",
                Question::Verified => "verified",
            };
            part(f, format_args!("{not}{said}"))?;
        }
        if let Some((week, _)) = &self.hours {
            part(f, format_args!("hours {week}"))?;
        }
        if comma.is_empty() { f.write_str("everything") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_shown_in_words() {
        let when = When {
            words: vec![
                (Field::Sentiment, vec!["negative".into()]),
                (Field::Tier, vec!["gold".into(), "silver".into()]),
            ],
            ranges: vec![(Quantity::Followers, 1_000..=i64::MAX), (Quantity::Value, 0..=9)],
            answers: vec![(Question::Customer, true), (Question::Verified, false)],
            hours: Some(("mon 08:00-18:00".parse().unwrap(), jiff::tz::TimeZone::UTC)),
        };
        let shown = "sentiment negative, tier gold or silver, followers from 1000, value 0 to 9, a known customer, \
                     not verified, hours mon 08:00-18:00";
        assert_eq!(when.to_string(), shown);
        assert_eq!(When::default().to_string(), "everything");
    }
}
