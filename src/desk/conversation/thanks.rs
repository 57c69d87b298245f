//! Whether a post says thanks, so that nobody waits any more, or only speaks politely.
//!
//! Taking a complaint for thanks costs the person who complains; thanks that are taken for a complaint cost a look. So
//! whatever else a post says counts against it: a denial, a request, a question, a bad verdict, a sensitive word.

use std::sync::LazyLock;

use crate::classify::{INTENTS, SENTIMENTS, Verdict, best};
use crate::desk::sensitive::Topics;
use crate::prefilter::phrases::Phrases;

/// Words of thanks, and of what works again.
const THANKS: &[&str] = &[
    "merci",
    "mercii",
    "merci beaucoup",
    "remercie",
    "ça remarche",
    "ça refonctionne",
    "ça marche maintenant",
    "ça fonctionne maintenant",
    "c'est bon maintenant",
    "c'est réglé",
    "c'est résolu",
    "problème réglé",
    "problème résolu",
    "thank you",
    "thank u",
    "thanks",
    "thankyou",
    "thx",
    "tysm",
    "works again",
    "works now",
    "it works",
    "working again",
    "solved",
    "fixed now",
    "sorted now",
];

/// Words with which those are no thanks: denials, what lasts, requests, and thanks in anger or beforehand.
const AGAINST: &[&str] = &[
    // French.
    "pas",
    "plus",
    "jamais",
    "rien",
    "aucun",
    "aucune",
    "toujours",
    "encore",
    "sans",
    "mais",
    "depuis",
    "panne",
    "problème",
    "merci de",
    "merci d",
    "merci d'avance",
    "avance",
    "svp",
    "stp",
    "s'il vous plaît",
    "s'il te plaît",
    "merci pour rien",
    "quand",
    "pourquoi",
    // English.
    "not",
    "no",
    "never",
    "nothing",
    "nobody",
    "none",
    "neither",
    "nor",
    "without",
    "still",
    "yet",
    "but",
    "since",
    "unsolved",
    "unresolved",
    "please",
    "pls",
    "plz",
    "asap",
    "in advance",
    "when",
    "why",
    "don't",
    "doesn't",
    "didn't",
    "isn't",
    "wasn't",
    "won't",
    "can't",
    "cannot",
    "couldn't",
    "haven't",
    "hasn't",
    "aren't",
    "wouldn't",
    "ain't",
];

/// What of [`AGAINST`] belongs to thanks all the same.
const PARDONED: &[&str] = &[
    "problème réglé",
    "problème résolu",
    "plus de problème",
    "encore merci",
    "merci encore",
    "no more problem",
];

/// Intents of people who wait for something.
const WAITING: [&str; 5] = ["churn", "problem", "help", "question", "complaint"];

/// Whether a post says thanks, and so raises nothing: by its words in French or English, or by what the model says.
pub fn is_thanks(text: &str, verdict: &Verdict, topics: &Topics) -> bool {
    let (sentiment, intent) = (SENTIMENTS[best(&verdict.sentiment)], INTENTS[best(&verdict.intent)]);
    if sentiment == "negative" || WAITING.contains(&intent) || text.contains(['?', '？']) {
        return false;
    }
    let said = said(text);
    let is_said = said.thanks || intent == "praise" || sentiment == "positive";
    is_said && !said.against && topics.read(text).0.is_empty()
}

struct Said {
    thanks: bool,
    against: bool,
}

fn said(text: &str) -> Said {
    static WORDS: LazyLock<Phrases> =
        LazyLock::new(|| Phrases::compile(THANKS.iter().chain(AGAINST).chain(PARDONED).copied()));
    let found = WORDS.find(text);
    let pardons: Vec<_> = found.iter().filter(|found| found.phrase >= THANKS.len() + AGAINST.len()).collect();
    let is_against = |place: usize| (THANKS.len()..THANKS.len() + AGAINST.len()).contains(&place);
    Said {
        thanks: found.iter().any(|found| found.phrase < THANKS.len()),
        against: found
            .iter()
            .filter(|found| is_against(found.phrase))
            .any(|word| !pardons.iter().any(|pardon| pardon.start <= word.start && word.end <= pardon.end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Language;

    const CALM: Verdict = Verdict {
        sentiment: [0.0, 1.0, 0.0],
        intent: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        urgency: [1.0, 0.0, 0.0],
        language: Language::UNCLEAR,
    };

    #[test]
    fn thanks_are_thanks_and_complaints_and_polite_requests_are_none() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_thanks(text, &CALM, &Topics::default()), expected, "{text}");
            // Nor does the model alone decide what the words deny.
            let praise = Verdict { sentiment: [0.0, 0.0, 1.0], ..CALM };
            assert_eq!(is_thanks(text, &praise, &Topics::default()), expected, "{text}, read as positive");
        };
        for text in [
            "merci beaucoup !",
            "Merci",
            "merci beaucoup, ça remarche !",
            "MERCI, tout est rentré dans l'ordre",
            "problème résolu, merci",
            "c'est réglé, merci encore",
            "thank you, it works now",
            "Thanks a lot!",
            "thx",
            "solved :)",
        ] {
            check(text, true);
        }
        for text in [
            "ça marche pas",
            "ça marche plus du tout",
            "unsolved since monday",
            "not solved",
            "it still isn't solved",
            "please fix it asap, thank you",
            "merci de me rappeler, plus d'internet depuis 3 jours",
            "merci d'avance",
            "il y a le feu, merci d'envoyer quelqu'un",
            "merci pour rien",
            "thanks for nothing",
            "no thanks",
            "merci mais ça ne fonctionne pas",
            "thanks, but when?",
            "it works? no",
            "ok merci, et mon remboursement ?",
            "it doesn’t work, thanks",
        ] {
            check(text, false);
        }
    }

    #[test]
    fn a_text_can_hold_every_word_of_the_lists() {
        for word in THANKS.iter().chain(AGAINST).chain(PARDONED) {
            assert_eq!(Phrases::check(word), Ok(()), "{word}");
        }
    }

    #[test]
    fn whoever_waits_or_touches_a_sensitive_topic_has_said_no_thanks() {
        let says = |verdict: &Verdict, text: &str| is_thanks(text, verdict, &Topics::default());
        assert!(says(&CALM, "merci"));
        assert!(!says(&Verdict { sentiment: [1.0, 0.0, 0.0], ..CALM }, "merci"));
        for waiting in [0, 1, 2, 4, 5] {
            let mut verdict = CALM;
            verdict.intent = [0.0; 8];
            verdict.intent[waiting] = 1.0;
            assert!(!says(&verdict, "merci"), "{}", INTENTS[waiting]);
        }
        let mut praise = CALM;
        praise.intent = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        assert!(says(&praise, "great service"));
        assert!(!says(&praise, "great service, the box has caught fire"));
    }
}
