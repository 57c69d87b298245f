//! Topics that conditions ask for, as words of a text: `topic = ["facture", "carte sim"]`.
//!
//! Looked for as the prefilter looks for names: folded, whole words, however they are joined. What else is a topic, that
//! which matched and the post's hashtags, conditions compare by themselves. All words of a config are one automaton, and a
//! text is read once, however many conditions there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Config;
use super::when::{Field, When};
use crate::prefilter::phrases::Phrases;

/// The words that a config's conditions ask for as topics, compiled; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Words(Option<Arc<Compiled>>);

#[derive(Debug)]
struct Compiled {
    /// As conditions have them, sorted.
    words: Vec<Arc<str>>,
    phrases: Phrases,
}

impl PartialEq for Words {
    fn eq(&self, other: &Words) -> bool {
        // What is compiled follows from the words.
        self.list() == other.list()
    }
}

impl Words {
    /// The words that these conditions ask for.
    pub fn of<'w>(conditions: impl Iterator<Item = &'w When>) -> Words {
        let asked = conditions.flat_map(|when| &when.words).filter(|(field, _)| *field == Field::Topic);
        let words: BTreeSet<&str> = asked.flat_map(|(_, words)| words).map(String::as_str).collect();
        if words.is_empty() {
            return Words::default();
        }
        let phrases = Phrases::compile(words.iter().copied());
        Words(Some(Arc::new(Compiled { words: words.into_iter().map(Arc::from).collect(), phrases })))
    }

    fn list(&self) -> &[Arc<str>] {
        self.0.as_ref().map_or(&[], |compiled| &compiled.words)
    }

    /// Those that this text says, each once.
    pub fn read(&self, text: &str) -> Vec<Arc<str>> {
        // Most companies route by other things: no text is read for nothing.
        let Some(compiled) = &self.0 else { return Vec::new() };
        let mut said: Vec<usize> = compiled.phrases.find(text).iter().map(|found| found.phrase).collect();
        said.sort_unstable();
        said.dedup();
        said.into_iter().filter_map(|place| compiled.words.get(place)).cloned().collect()
    }
}

impl Config {
    /// The same, with the topics that its conditions ask for compiled: to be called once all of them are known.
    #[must_use]
    pub fn with_topic_words(mut self) -> Config {
        let of_brands = self.brands.values().flat_map(|own| &own.factors.combinations);
        let combinations = self.factors.combinations.iter().chain(of_brands).map(|one| one.when());
        let routes = self.routes.rules.iter().map(|rule| &rule.when);
        let expectations = self.expectations.rules.iter().map(|(when, _)| when);
        self.topic_words = Words::of(combinations.chain(routes).chain(expectations));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::case::Case;
    use crate::desk::{Changed, Decision, Desk, Opinion, Recorded, Strangers, Whose};
    use crate::parse::Network;
    use crate::ticket::{TicketId, proto};

    fn words(topics: &[&str]) -> Words {
        let topics = topics.iter().map(|word| (*word).to_owned()).collect();
        Words::of([&When { words: vec![(Field::Topic, topics)], ..When::default() }].into_iter())
    }

    #[test]
    fn topics_are_whole_words_of_the_text_however_they_are_written() {
        let words = words(&["facture", "carte sim", "déménagement", "parcel"]);
        let check = |text: &str, expected: &[&str]| {
            let said = words.read(text);
            assert_eq!(said.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), expected, "{text:?}");
        };
        check("Ma FACTURE est fausse, cette facture !", &["facture"]);
        check("la carte-SIM et mon demenagement", &["carte sim", "déménagement"]);
        check("#facture", &["facture"]);
        check("les factures, la carte, un parcelle", &[]);
        check("https://e.example/facture", &[]);
        check("", &[]);
    }

    #[test]
    fn only_topics_are_looked_for_and_nothing_costs_nothing() {
        let tier = When { words: vec![(Field::Tier, vec!["gold".to_owned()])], ..When::default() };
        assert!(Words::of([&tier].into_iter()).0.is_none());
        assert_ne!(words(&["facture"]), Words::default());
        assert_eq!(words(&["facture"]), words(&["facture"]));
    }

    const CONFIG: &str = r#"
        [[source]]
        kind = "ndjson"
        path = "-"
        [[brand]]
        name = "Lumio"
        names = ["lumio"]
        [routing]
        default_team = "Frontline"
        [[team]]
        name = "Frontline"
        [[team]]
        name = "Billing"
        [[route]]
        when = { topic = ["Facture", "invoice"] }
        team = "Billing"
        [[priority.combination]]
        name = "a move"
        when = { topic = "déménagement" }
        points = 77
        [[expectation]]
        when = { topic = "carte sim" }
        answer_min = 15
    "#;

    fn ticket(desk: &mut Desk, config: &Config, id: &str, text: &str) -> proto::Ticket {
        let mut case = Case::new(id);
        (case.candidate.post.id, case.candidate.post.text) = (id.to_owned().into(), text.to_owned().into());
        let opinion = Opinion { model: "model 1", provisional: false };
        let decided =
            desk.decide(config, &case.candidate, &case.verdict, opinion, &mut Strangers, case.now).unwrap();
        let Decision::Ticket(ticket) = decided else { panic!("{decided:?}") };
        *ticket
    }

    fn gives(factors: &[proto::Factor]) -> bool {
        factors.iter().any(|factor| factor.name == "a move" && factor.points == 77)
    }

    #[test]
    fn words_of_the_text_route_give_points_and_say_when_an_answer_is_due() {
        let (mut desk, config) = (Desk::default(), crate::config::Config::parse(CONFIG).unwrap().desk);
        let mut n = 0;
        let mut check = |text: &str, team: &str, points: bool, minutes: i64| {
            n += 1;
            let ticket = ticket(&mut desk, &config, &n.to_string(), text);
            let due_min = (ticket.due_at_us - ticket.created_at_us) / 60_000_000;
            let got = (&*ticket.route, gives(&ticket.factors), due_min);
            assert_eq!(got, (team, points, minutes), "{text}");
            // As `priorities simulate` and a second reading see it.
            let recorded = Recorded::of(&ticket, &config.topic_words);
            assert_eq!(gives(&config.score(&recorded.facts()).0.factors), points, "{text}");
            let (factors, _) = config.priorities("Lumio");
            let verdict = Case::new("ana").verdict;
            let again = factors.rescore(&ticket, &verdict, &config.topic_words, &config.sensitive, false);
            assert_eq!(gives(&again.factors), points);
        };
        check("lumio, où est ma facture ?", "Billing", false, 120);
        check("lumio mon demenagement", "Frontline", true, 120);
        check("carte-SIM perdue, lumio", "Frontline", false, 15);
        check("lumio en panne", "Frontline", false, 120);
    }

    #[test]
    fn what_posts_that_join_say_counts_when_a_ticket_is_routed_anew() {
        let (mut desk, config) = (Desk::default(), crate::config::Config::parse(CONFIG).unwrap().desk);
        let ticket = ticket(&mut desk, &config, "1", "lumio en panne");
        let now = Case::new("ana").now;
        let changed = |further: &str| Changed {
            ticket_id: TicketId::of_post(Network::X, "1"),
            verdict: ticket.verdict.clone().unwrap(),
            ticket: ticket.clone(),
            further: vec![further.to_owned()],
            at: now,
            change: 1,
            whose: Whose::Ours,
            is_answered: false,
            danger_at: None,
            own_is_erased: false,
        };
        assert_eq!(desk.decide_anew(&config, &changed("toujours en panne"), now).assignment, None);
        let assignment = desk.decide_anew(&config, &changed("et ma facture ?"), now).assignment.unwrap();
        assert_eq!(assignment.team, "Billing");
        assert_eq!(assignment.reasons[0], "route 1: topic facture or invoice");
    }
}
