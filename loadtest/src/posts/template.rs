//! One row of `support.tsv` and how it becomes a text: slots filled, sometimes a greeting, a sign, a hashtag.

use anyhow::{Context, bail};

use crate::script::dice::{Dice, Purpose};

/// The first city of `cities.txt` whose people write English; those before write French.
const FIRST_ENGLISH_CITY: &str = "Ottawa";

const GREETINGS_FR: &[&str] = &["Bonjour, ", "Bonsoir, ", "Salut, ", "Coucou "];
const GREETINGS_EN: &[&str] = &["Hi, ", "Hello, ", "Hey ", "Good evening, "];
const WEEKDAYS_FR: &[&str] =
    &["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche", "lundi matin", "jeudi soir"];
const WEEKDAYS_EN: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday morning",
    "Friday night",
];
const SIGNS_NEGATIVE: &[&str] = &[" 😡", " 😤", " 🙄", " 😩", " 🤬", " 😭", " 👎"];
const SIGNS_NEUTRAL: &[&str] = &[" 🤔", " 🙏", " 🙂"];
const SIGNS_POSITIVE: &[&str] = &[" 🎉", " 👏", " 😊", " 💙", " 👍"];

/// A row of the table of support posts.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) language: String,
    pub(crate) intent: String,
    pub(crate) sentiment: String,
    pub(crate) urgency: String,
    segments: Vec<Segment>,
}

#[derive(Debug, PartialEq)]
enum Segment {
    Text(String),
    Slot(Slot),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    City,
    Days,
    Hours,
    Hour,
    Amount,
    Speed,
    Order,
    Since,
}

/// Where people live, by the language they write.
#[derive(Debug)]
pub(crate) struct Cities {
    names: Vec<String>,
    french: usize,
}

impl Cities {
    /// One name a line.
    pub(crate) fn new(lines: &str) -> Cities {
        let names: Vec<String> = lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let french = names.iter().position(|name| name == FIRST_ENGLISH_CITY).unwrap_or(names.len());
        Cities { names, french }
    }

    /// One of all.
    pub(crate) fn any(&self, dice: &mut Dice) -> &str {
        dice.pick(&self.names).map_or("Paris", String::as_str)
    }

    fn of_language(&self, language: &str, dice: &mut Dice) -> &str {
        let (french, english) = self.names.split_at(self.french);
        let names = if language == "fr" { french } else { english };
        dice.pick(names).map_or_else(|| self.any(dice), String::as_str)
    }
}

impl Template {
    /// Reads `lang intent sentiment urgency text`, separated by tabs.
    pub(crate) fn parse(row: &str) -> anyhow::Result<Template> {
        let columns: Vec<&str> = row.split('\t').collect();
        let [language, intent, sentiment, urgency, text] = columns[..] else {
            bail!("{row:?} has {} columns, not 5", columns.len());
        };
        let segments = segments(text).with_context(|| format!("{text:?}"))?;
        let owned = str::to_owned;
        Ok(Template {
            language: owned(language),
            intent: owned(intent),
            sentiment: owned(sentiment),
            urgency: owned(urgency),
            segments,
        })
    }

    /// Whether it reports a problem and names a city.
    pub(crate) fn is_local_problem(&self) -> bool {
        self.intent == "problem" && self.is_local()
    }

    /// Whether it names a city.
    pub(crate) fn is_local(&self) -> bool {
        self.segments.contains(&Segment::Slot(Slot::City))
    }

    /// The text that event `n` writes. A slot that comes twice has the same value twice.
    pub(crate) fn fill(&self, seed: u64, n: u64, cities: &Cities, city: Option<&str>) -> String {
        let mut body = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => body.push_str(text),
                Segment::Slot(Slot::City) if city.is_some() => body.push_str(city.unwrap_or_default()),
                Segment::Slot(slot) => {
                    let mut dice = Dice::new(seed, n, Purpose::Slot(*slot as u8));
                    body.push_str(&self.value(*slot, &mut dice, cities));
                }
            }
        }
        self.decorate(&body, &mut Dice::new(seed, n, Purpose::Slot(u8::MAX)))
    }

    /// What the author adds when editing the post later.
    pub(crate) fn afterthought(&self) -> &'static str {
        match (self.language.as_str(), self.sentiment.as_str()) {
            ("fr", "positive") => " EDIT : encore merci",
            ("fr", _) => " EDIT : toujours rien",
            (_, "positive") => " EDIT: thanks again",
            _ => " EDIT: still nothing",
        }
    }

    /// What the author answers to the own post later.
    pub(crate) fn complaint(&self) -> &'static str {
        if self.is_french() { "toujours rien, personne ne répond" } else { "still nothing, nobody answers" }
    }

    fn is_french(&self) -> bool {
        self.language == "fr"
    }

    fn value(&self, slot: Slot, dice: &mut Dice, cities: &Cities) -> String {
        match slot {
            Slot::City => cities.of_language(&self.language, dice).to_owned(),
            // At least 2: the texts have the plural.
            Slot::Days => (2 + dice.below(14)).to_string(),
            Slot::Hours => (2 + dice.below(8)).to_string(),
            Slot::Hour => (8 + dice.below(15)).to_string(),
            Slot::Amount => {
                let separator = if self.is_french() { ',' } else { '.' };
                let cents = dice.pick(&["99", "90", "50", "00", "49"]).copied().unwrap_or("99");
                format!("{}{separator}{cents}", 9 + dice.below(140))
            }
            // People praise hundreds and complain about a few.
            Slot::Speed if self.sentiment == "positive" => (300 + 10 * dice.below(65)).to_string(),
            Slot::Speed => (1 + dice.below(9)).to_string(),
            Slot::Order => format!("LM-{}", 100_000 + dice.below(900_000)),
            Slot::Since => {
                let weekdays = if self.is_french() { WEEKDAYS_FR } else { WEEKDAYS_EN };
                dice.pick(weekdays).copied().unwrap_or_default().to_owned()
            }
        }
    }

    fn decorate(&self, body: &str, dice: &mut Dice) -> String {
        let mut text = String::with_capacity(body.len() + 32);
        let greetings = if self.is_french() { GREETINGS_FR } else { GREETINGS_EN };
        if dice.percent(12) && !greets(body) {
            text.push_str(dice.pick(greetings).copied().unwrap_or_default());
        }
        text.push_str(body);
        let signs = match self.sentiment.as_str() {
            "negative" => SIGNS_NEGATIVE,
            "positive" => SIGNS_POSITIVE,
            _ => SIGNS_NEUTRAL,
        };
        if dice.percent(12) {
            text.push_str(dice.pick(signs).copied().unwrap_or_default());
        }
        let hashtags: &[&str] = match (self.intent.as_str(), self.is_french()) {
            ("problem", true) => &[" #panne", " #lumio", " #internet"],
            ("problem", false) => &[" #outage", " #lumio", " #broadband"],
            _ => &[" #lumio", " #internet"],
        };
        if dice.percent(8) {
            text.push_str(dice.pick(hashtags).copied().unwrap_or_default());
        }
        text
    }
}

fn greets(text: &str) -> bool {
    let first: String = text.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    matches!(
        first.as_str(),
        "bonjour" | "bonsoir" | "salut" | "coucou" | "hi" | "hello" | "hey" | "good" | "bjr"
    )
}

fn segments(text: &str) -> anyhow::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').context("a brace is not closed")?;
        let slot = match name {
            "city" => Slot::City,
            "days" => Slot::Days,
            "hours" => Slot::Hours,
            "hour" => Slot::Hour,
            "amount" => Slot::Amount,
            "speed" => Slot::Speed,
            "order" => Slot::Order,
            "since" => Slot::Since,
            unknown => bail!("no slot is called {unknown:?}"),
        };
        if !before.is_empty() {
            segments.push(Segment::Text(before.to_owned()));
        }
        segments.push(Segment::Slot(slot));
        rest = after;
    }
    if rest.contains('}') {
        bail!("a brace is not opened");
    }
    if !rest.is_empty() {
        segments.push(Segment::Text(rest.to_owned()));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(language: &str, sentiment: &str, text: &str) -> Template {
        Template::parse(&format!("{language}\tproblem\t{sentiment}\thigh\t{text}")).unwrap()
    }

    #[test]
    fn a_slot_that_comes_twice_has_one_value() {
        let cities = Cities::new("Paris\nOttawa\n");
        let template = template("fr", "negative", "<{days}|{days}>");
        for n in 0..50 {
            let text = template.fill(1, n, &cities, None);
            let (_, rest) = text.split_once('<').unwrap();
            let (first, rest) = rest.split_once('|').unwrap();
            assert_eq!(rest.split_once('>').unwrap().0, first, "{text}");
        }
    }

    #[test]
    fn a_row_is_filled_in_its_own_language() {
        let cities = Cities::new("Paris\nOttawa\n");
        for n in 0..50 {
            let french = template("fr", "negative", "{since} {city} {amount}").fill(1, n, &cities, None);
            assert!(french.contains("Paris") && french.contains(','), "{french}");
            assert!(WEEKDAYS_FR.iter().any(|day| french.contains(day)), "{french}");
            let english = template("en", "negative", "{since} {city}").fill(1, n, &cities, None);
            assert!(english.contains("Ottawa"), "{english}");
            assert!(WEEKDAYS_EN.iter().any(|day| english.contains(day)), "{english}");
            let outage = template("en", "negative", "{city}").fill(1, n, &cities, Some("Lyon"));
            assert!(outage.contains("Lyon"), "{outage}");
        }
    }

    #[test]
    fn a_wrong_row_says_what_is_wrong() {
        let check = |row: &str, expected: &str| {
            let error = format!("{:#}", Template::parse(row).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("fr\tproblem", "2 columns, not 5");
        check("fr\tproblem\tnegative\thigh\t{town}", "no slot is called \"town\"");
        check("fr\tproblem\tnegative\thigh\t{city", "not closed");
        check("fr\tproblem\tnegative\thigh\tcity}", "not opened");
    }

    #[test]
    fn some_posts_are_decorated_and_most_are_not() {
        let cities = Cities::new("Paris\n");
        let template = template("fr", "negative", "rien ne marche");
        let plain = (0..1_000).filter(|n| template.fill(1, *n, &cities, None) == "rien ne marche").count();
        assert!((650..780).contains(&plain), "{plain}");
        let greeted = Template::parse("fr\thelp\tneutral\tlow\tBonjour à tous").unwrap();
        assert!((0..1_000).all(|n| greeted.fill(1, n, &cities, None).matches("onjour").count() == 1));
    }
}
