//! Sensitive words: what a text touches that must not wait in a queue, such as an injury, a lawyer, a suicide.
//!
//! A topic is a list of words and phrases, and of phrases that only look like them; French and English lists for ten
//! topics are built in, and the company adds its own words and topics. Words are compared as the prefilter does it:
//! folded, whole, however they are joined. Nothing is understood: "no injury" is an injury, and people decide.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::prefilter::phrases::{Found, Phrases};

#[cfg(test)]
mod tests;

/// What a built-in topic gives by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// What tickets and config call it.
    pub name: &'static str,
    /// `-1000..=1000`.
    pub points: i32,
    /// The least priority of its posts; others stay below.
    pub floor: Option<u16>,
}

/// The built-in topics, in the order in which tickets name them.
///
/// Somebody in danger comes first, however calmly they say it, and the model misses danger that is said calmly
/// (`models/README.md`, "Known failures"): a false alarm costs a glance. What carmakers, insurers, airlines and hospitals
/// read every day, an airbag or an ambulance, is `health` and no danger by itself. Who is hurt has called for help; who
/// wants to die may have told nobody else, and goes first.
pub const BUILTIN: [Builtin; 10] = [
    Builtin { name: "selfharm", points: 800, floor: Some(950) },
    Builtin { name: "safety", points: 800, floor: Some(900) },
    Builtin { name: "child", points: 500, floor: None },
    Builtin { name: "health", points: 120, floor: None },
    Builtin { name: "security", points: 120, floor: None },
    Builtin { name: "fraud", points: 120, floor: None },
    Builtin { name: "discrimination", points: 100, floor: None },
    Builtin { name: "legal", points: 100, floor: None },
    Builtin { name: "regulator", points: 100, floor: None },
    Builtin { name: "press", points: 80, floor: None },
];

/// What the model has to say about a topic's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Nothing: they count in full, whatever it takes the post for; only the floor is for messages.
    Always,
    /// They count little where it is sure that the post is no customer message.
    Message,
    /// As above, and the less the happier the post: an injured traveller who praises the crew is in no danger.
    Mood,
}

impl Care {
    /// Of this topic; of the company's own [`Care::Message`].
    pub fn of(topic: &str) -> Care {
        match topic {
            "selfharm" => Care::Always,
            "safety" | "child" | "health" => Care::Mood,
            _ => Care::Message,
        }
    }
}

/// Words of one topic that a ticket's reasons name.
const WORDS_SHOWN_MAX: usize = 3;

const ENGLISH: &str = include_str!("sensitive/words/en.txt");
const FRENCH: &str = include_str!("sensitive/words/fr.txt");
const NEAR: &str = include_str!("sensitive/words/near.txt");

/// A topic, as the company has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// In lower case; what tickets and rules call it.
    pub name: String,
    /// Whether the built-in words of this topic count, if there are any.
    pub builtin: bool,
    /// The company's own words and phrases.
    pub words: Vec<String>,
    /// Phrases that mean something else: words of this topic inside them do not count.
    pub exclude: Vec<String>,
}

/// A word of a topic that a text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Whose word.
    pub topic: Arc<str>,
    /// As the list has it.
    pub phrase: Arc<str>,
}

/// All topics, compiled; cheap to clone.
#[derive(Debug, Clone)]
pub struct Topics {
    topics: Arc<[Topic]>,
    compiled: Arc<Compiled>,
    /// Which team a topic goes to, for those that name one.
    pub teams: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Compiled {
    phrases: Phrases,
    /// What each phrase says.
    meanings: Vec<Meaning>,
}

#[derive(Debug)]
struct Meaning {
    /// In the order of the topics.
    topic: usize,
    is_excluded: bool,
    hit: Hit,
}

impl PartialEq for Topics {
    fn eq(&self, other: &Topics) -> bool {
        // What is compiled follows from the topics.
        self.topics == other.topics && self.teams == other.teams
    }
}

impl Default for Topics {
    /// The built-in ones.
    fn default() -> Topics {
        static BUILTIN: LazyLock<Topics> = LazyLock::new(|| Topics::new(builtin()));
        BUILTIN.clone()
    }
}

/// The built-in topics, without words of the company's.
pub fn builtin() -> Vec<Topic> {
    let topic = |topic: &Builtin| Topic {
        name: topic.name.to_owned(),
        builtin: true,
        words: Vec::new(),
        exclude: Vec::new(),
    };
    BUILTIN.iter().map(topic).collect()
}

/// What can be said against a word of a list, as a half sentence.
///
/// # Errors
///
/// No text can hold it.
pub fn check(phrase: &str) -> Result<(), String> {
    Phrases::check(phrase)
}

/// Words that read the same are the same word, whatever their case and accents; `None` for what is none.
pub fn key(phrase: &str) -> Option<String> {
    Phrases::key(phrase)
}

impl Topics {
    /// Compiles these, in this order. Words that no text can hold are left out: see [`check`].
    pub fn new(topics: Vec<Topic>) -> Topics {
        let mut words: Vec<(usize, bool, &str)> = Vec::new();
        for (idx, topic) in topics.iter().enumerate() {
            let own = topic.words.iter().map(|word| (idx, false, word.as_str()));
            words.extend(own.chain(topic.exclude.iter().map(|phrase| (idx, true, phrase.as_str()))));
            if topic.builtin {
                let builtin = builtin_words(&topic.name);
                words.extend(builtin.map(|(is_excluded, word)| (idx, is_excluded, word)));
            }
        }
        let names: Vec<Arc<str>> = topics.iter().map(|topic| topic.name.as_str().into()).collect();
        let meaning = |(topic, is_excluded, word): &(usize, bool, &str)| Meaning {
            topic: *topic,
            is_excluded: *is_excluded,
            hit: Hit { topic: names.get(*topic).cloned().unwrap_or_default(), phrase: (*word).into() },
        };
        let compiled = Compiled {
            phrases: Phrases::compile(words.iter().map(|(_, _, word)| *word)),
            meanings: words.iter().map(meaning).collect(),
        };
        Topics { topics: topics.into(), compiled: Arc::new(compiled), teams: BTreeMap::new() }
    }

    /// The names of all topics, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|topic| topic.name.as_str())
    }

    /// The words of this topic, those that the company has added among them.
    pub fn words_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let words = self.compiled.meanings.iter().filter(move |meaning| *meaning.hit.topic == *topic);
        words.filter(|meaning| !meaning.is_excluded).map(|meaning| &*meaning.hit.phrase)
    }

    /// The topics that this text touches, in their order, and the words that say so.
    pub fn read(&self, text: &str) -> (Vec<String>, Vec<Hit>) {
        let Compiled { phrases, meanings } = &*self.compiled;
        let found = phrases.find(text);
        let mut found: Vec<_> =
            found.iter().filter_map(|found| Some((found, meanings.get(found.phrase)?))).collect();
        if found.is_empty() {
            return (Vec::new(), Vec::new());
        }
        // By topic, then in the order of the text, the longest of what begins together first.
        found.sort_by_key(|(found, meaning)| (meaning.topic, found.start, std::cmp::Reverse(found.end)));
        let (mut topics, mut hits) = (Vec::new(), Vec::new());
        for same in found.chunk_by(|one, other| one.1.topic == other.1.topic) {
            let excluded = same.iter().filter(|(_, meaning)| meaning.is_excluded);
            let is_excluded = |word: &Found| excluded.clone().any(|(phrase, _)| lies_in(word, phrase));
            let mut counted: Vec<&Hit> = Vec::new();
            let mut last: Option<&Found> = None;
            for (word, meaning) in same.iter().filter(|(_, meaning)| !meaning.is_excluded) {
                // A part of a longer word of the same topic says nothing more.
                if is_excluded(word) || last.is_some_and(|last| lies_in(word, last)) {
                    continue;
                }
                last = Some(word);
                if counted.len() < WORDS_SHOWN_MAX
                    && !counted.iter().any(|hit| hit.phrase == meaning.hit.phrase)
                {
                    counted.push(&meaning.hit);
                }
            }
            if let Some(first) = counted.first() {
                topics.push(first.topic.to_string());
                hits.extend(counted.into_iter().cloned());
            }
        }
        (topics, hits)
    }
}

/// Words of a text in which a thing or a place is near: real danger in `tests/data/danger.tsv` that names nothing else has
/// 12 at most, news and tales mostly more.
const NEAR_WORDS_MAX: usize = 12;

/// Whether a text is of its author, or speaks to the company; or names, in a few words, a thing or a place that people have
/// before them, and no word of news: where words of danger are in it, that is rarely a tale. The words are French and
/// English alone.
pub fn is_near(text: &str) -> bool {
    static NEAR_PHRASES: LazyLock<(Phrases, Vec<(&str, bool)>)> = LazyLock::new(|| {
        let phrases = Phrases::compile(words_of_list(NEAR).map(|(_, _, word)| word));
        (phrases, words_of_list(NEAR).map(|(of, is_excluded, _)| (of, is_excluded)).collect())
    });
    let (phrases, meanings) = &*NEAR_PHRASES;
    let found = phrases.find(text);
    let of = |meaning| found.iter().filter(move |found| meanings.get(found.phrase) == Some(&meaning));
    let is_excluded = |word: &Found| of(("who", true)).any(|phrase| lies_in(word, phrase));
    let is_word = |word: &&str| word.contains(char::is_alphanumeric) && !word.starts_with("http");
    of(("who", false)).any(|word| !is_excluded(word))
        || of(("what", false)).next().is_some()
            && of(("news", false)).next().is_none()
            && text.split_whitespace().filter(is_word).count() <= NEAR_WORDS_MAX
}

fn lies_in(word: &Found, phrase: &Found) -> bool {
    phrase.start <= word.start && word.end <= phrase.end
}

/// The built-in words of a topic, with whether they are excluded phrases.
fn builtin_words(topic: &str) -> impl Iterator<Item = (bool, &'static str)> {
    words_of_list(ENGLISH)
        .chain(words_of_list(FRENCH))
        .filter(move |(of, _, _)| *of == topic)
        .map(|(_, is_excluded, word)| (is_excluded, word))
}

/// The words of a list, with their heading and whether they are excluded phrases.
fn words_of_list(list: &'static str) -> impl Iterator<Item = (&'static str, bool, &'static str)> {
    let mut current = "";
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = name;
            return None;
        }
        let word = line.strip_prefix("- ");
        Some((current, word.is_some(), word.unwrap_or(line)))
    })
}
