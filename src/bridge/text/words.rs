//! The two languages that are built in: words for what tickets hold as keys, numbers and times.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What an agent reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// French.
    Fr,
}

impl Language {
    /// By the primary tag; `None` for any other language.
    pub fn of(tag: &str) -> Option<Language> {
        match tag {
            "en" => Some(Language::En),
            "fr" => Some(Language::Fr),
            _ => None,
        }
    }

    /// The primary tag.
    pub fn tag(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Fr => "fr",
        }
    }

    pub(super) fn say<'w>(self, en: &'w str, fr: &'w str) -> &'w str {
        match self {
            Language::En => en,
            Language::Fr => fr,
        }
    }

    /// A class of one of the model's heads.
    pub(super) fn class(self, label: &str) -> Option<&'static str> {
        Some(match label {
            "high" => self.say("it is urgent", "c'est urgent"),
            "normal" => self.say("it should not wait long", "cela ne devrait pas attendre"),
            "low" => self.say("there is no hurry", "rien ne presse"),
            "churn" => self.say("wants to leave us", "veut nous quitter"),
            "problem" => self.say("has a problem", "a un problème"),
            "help" => self.say("asks for help", "demande de l'aide"),
            "feature" => self.say("wishes for something new", "souhaite une nouveauté"),
            "question" => self.say("asks a question", "pose une question"),
            "complaint" => self.say("complains", "se plaint"),
            "praise" => self.say("says something kind", "nous félicite"),
            "other" => self.say("says something else", "parle d'autre chose"),
            "negative" => self.say("is unhappy", "exprime du mécontentement"),
            "neutral" => self.say("keeps to the facts", "reste factuel"),
            "positive" => self.say("is content", "exprime sa satisfaction"),
            _ => return None,
        })
    }

    /// A sensitive topic; one of the operator's own is its own word.
    pub(super) fn topic(self, topic: &str) -> &str {
        match topic {
            "selfharm" => self.say("self-harm", "mise en danger de soi"),
            "safety" => self.say("safety", "sécurité des personnes"),
            "child" => self.say("children", "enfants"),
            "health" => self.say("health and emergencies", "santé et secours"),
            "security" => self.say("accounts and data", "comptes et données"),
            "fraud" => self.say("fraud", "fraude"),
            "discrimination" => self.say("discrimination", "discrimination"),
            "legal" => self.say("lawyers and courts", "avocats et tribunaux"),
            "regulator" => self.say("regulators", "autorités"),
            "press" => self.say("press", "presse"),
            own => own,
        }
    }

    /// Through what somebody was in touch.
    pub(super) fn channel(self, channel: &str) -> &str {
        match channel {
            "phone" => self.say("phone", "téléphone"),
            "mail" | "email" => self.say("mail", "courriel"),
            "chat" => self.say("chat", "messagerie"),
            "shop" => self.say("shop", "boutique"),
            "visit" => self.say("visit", "visite"),
            "post" => self.say("post", "publication"),
            "" => self.say("contact", "contact"),
            own => own,
        }
    }

    /// `12,000`; `12 000`, with a space at which no line is broken.
    pub(super) fn count(self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push_str(self.say(",", "\u{a0}"));
            }
            text.push(digit);
        }
        text
    }

    /// As people write it: no decimals where there are none.
    pub(super) fn amount(self, number: f64) -> String {
        // Beyond 2^53 a float has no units to show.
        if number.fract() == 0.0 && (0.0..9e15).contains(&number) {
            return self.count(number as u64);
        }
        let text = format!("{number:.2}");
        match self {
            Language::En => text,
            Language::Fr => text.replace('.', ","),
        }
    }

    /// `Tue 24 Nov 2026, 14:05 CET`; empty for a time that is not known.
    pub(super) fn moment(self, at_us: i64, zone: &TimeZone) -> String {
        self.shown(at_us, zone, ", %H:%M %Z")
    }

    /// The same without the time of day.
    pub(super) fn day(self, at_us: i64, zone: &TimeZone) -> String {
        self.shown(at_us, zone, "")
    }

    fn shown(self, at_us: i64, zone: &TimeZone, clock: &str) -> String {
        const DAYS: [&str; 7] = ["lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."];
        const MONTHS: [&str; 12] = [
            "janv.", "févr.", "mars", "avril", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.",
            "déc.",
        ];
        if at_us == 0 {
            return String::new();
        }
        let Ok(at) = Timestamp::from_microsecond(at_us) else { return String::new() };
        let at = at.to_zoned(zone.clone());
        let name = |names: &[&'static str], number: i8| {
            usize::try_from(number - 1).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
        };
        match self {
            Language::En => at.strftime(&format!("%a %-d %b %Y{clock}")).to_string(),
            Language::Fr => {
                let day = name(&DAYS, at.weekday().to_monday_one_offset());
                let month = name(&MONTHS, at.month());
                at.strftime(&format!("{day} %-d {month} %Y{clock}")).to_string()
            }
        }
    }
}

/// As its people write it.
pub(super) fn network(name: &str) -> &str {
    match name {
        "bluesky" => "Bluesky",
        "mastodon" => "Mastodon",
        "x" => "X",
        "facebook" => "Facebook",
        "plain" => "",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_the_language_does() {
        assert_eq!(Language::En.count(1_234_567), "1,234,567");
        assert_eq!(Language::Fr.count(999), "999");
        assert_eq!(Language::Fr.amount(1_234.5), "1234,50");
        let zone = TimeZone::get("Europe/Paris").unwrap();
        assert_eq!(Language::En.moment(1_795_525_500_000_000, &zone), "Tue 24 Nov 2026, 14:05 CET");
        assert_eq!(Language::Fr.moment(1_795_525_500_000_000, &zone), "mar. 24 nov. 2026, 14:05 CET");
        assert_eq!(Language::Fr.day(1_795_525_500_000_000, &zone), "mar. 24 nov. 2026");
        assert_eq!(Language::En.moment(0, &zone), "");
        assert_eq!(Language::En.moment(i64::MAX, &zone), "");
    }

    #[test]
    fn every_class_of_the_model_and_every_built_in_topic_has_words() {
        use crate::classify::{INTENTS, SENTIMENTS, URGENCIES};
        for label in INTENTS.iter().chain(&SENTIMENTS).chain(&URGENCIES) {
            assert!(Language::Fr.class(label).is_some(), "{label}");
        }
        for topic in crate::desk::sensitive::BUILTIN.map(|topic| topic.name) {
            assert!(topic == "discrimination" || Language::Fr.topic(topic) != topic, "{topic}");
        }
    }
}
