//! Built-in lists and what they find.

use std::collections::HashMap;

use super::*;

fn found(topics: &Topics, text: &str) -> Vec<(String, Vec<String>)> {
    let (names, hits) = topics.read(text);
    let of_topic = |topic: &String| {
        let words = hits.iter().filter(|hit| *hit.topic == **topic).map(|hit| hit.phrase.to_string());
        (topic.clone(), words.collect())
    };
    names.iter().map(of_topic).collect()
}

/// `expected`: `topic: word, word; topic: word`.
fn check(topics: &Topics, text: &str, expected: &str) {
    let found =
        found(topics, text).into_iter().map(|(topic, words)| format!("{topic}: {}", words.join(", ")));
    assert_eq!(found.collect::<Vec<_>>().join("; "), expected, "{text:?}");
}

#[test]
fn words_of_the_companys_own_come_beside_the_built_in_ones() {
    let mut topics = builtin();
    topics
        .iter_mut()
        .filter(|topic| topic.name == "safety")
        .for_each(|topic| topic.words.push("box qui chauffe".to_owned()));
    check(&Topics::new(topics), "box qui chauffe, it caught fire", "safety: box qui chauffe, caught fire");
}

#[test]
fn built_in_words_are_found_in_both_languages() {
    let topics = Topics::default();
    check(&topics, "Your charger caught fire and burned my hand!", "safety: caught fire, burned my hand");
    check(&topics, "Ma box a PRIS FEU cette nuit", "safety: a pris feu");
    check(&topics, "je vais prendre un avocat et saisir la CNIL", "legal: avocat; regulator: cnil");
    check(&topics, "Talk to my lawyer. I am a journalist, by the way", "legal: lawyer; press: journalist");
    check(&topics, "aidez-moi, j’ai envie de mourir", "selfharm: envie de mourir");
    check(&topics, "my account was HACKED and my #identitytheft", "security: hacked");
    check(&topics, "mon compte a été piraté", "security: compte a été piraté");
    check(&topics, "I was charged fraudulently", "fraud: fraudulently");
    check(&topics, "", "");
}

#[test]
fn danger_is_found_in_the_plain_words_of_whoever_is_in_it() {
    for text in [
        "@lumio my box is on fire",
        "flames coming out of the router",
        "our garage burned down because of your box",
        "my son got zapped by the plug",
        "got a shock when I touched the box",
        "my kid swallowed the small battery",
        "the battery is swollen",
        "ma box est en feu",
        "au feu ! ma box brûle",
        "il y a le feu dans mon compteur",
        "des flammes sortent du boîtier",
        "il y a de la fumée dans le garage",
        "j'ai pris le jus en touchant la prise",
        "j'ai pris une décharge en touchant la borne",
        "je me suis électrisé",
        "mon bébé a touché un câble nu",
        "câble fondu, ça sent le brûlé",
        "mon père est sous respirateur et le courant est coupé",
    ] {
        assert!(found(&Topics::default(), text).iter().any(|(topic, _)| topic == "safety"), "{text}");
    }
    for text in ["je veux en finir", "plus la force de vivre", "I don't want to live anymore"] {
        assert!(found(&Topics::default(), text).iter().any(|(topic, _)| topic == "selfharm"), "{text}");
    }
    for text in [
        "je veux en finir avec ce contrat",
        "à droite au feu rouge",
        "the team is on fire today",
        "c'est le feu votre box",
        "le public est en feu",
    ] {
        assert_eq!(found(&Topics::default(), text), [], "{text}");
    }
}

#[test]
fn figures_of_speech_touch_no_topic() {
    let topics = Topics::default();
    for text in [
        "je suis mort de rire",
        "cette app me tue",
        "this album is fire, he is on fire today",
        "Sue says the new phone is dead good",
        "press the reset button, then press again",
        "je presse le bouton et rien ne se passe",
        "my Fire TV stick does not start",
        "Suicide Squad freezes at minute 12",
        "your stock going down would be commercial suicide",
        "insult to injury: no signal at all",
        "I choked on my coffee when I saw the bill",
        "un avocat toast et un café",
        "envie de mourir de rire",
        "quelle arnaque, votre forfait",
        "Pirates of the Caribbean keeps buffering",
        "God blesses those who wait for your hotline",
        "the fraud department called me back, thanks",
        "bug about to drive me insane",
        "end of life support for this model?",
        "the attorney general spoke about illegal immigration",
    ] {
        let (names, _) = topics.read(text);
        // The attorney general is a regulator to customers, and no lawyer of theirs.
        let names: Vec<_> = names.into_iter().filter(|name| name != "regulator").collect();
        assert!(names.is_empty(), "{text:?} touches {names:?}");
    }
}

#[test]
fn an_excluded_phrase_takes_away_only_what_lies_inside_it() {
    let topics = Topics::new(vec![Topic {
        name: "heat".into(),
        builtin: false,
        words: ["fire", "oven", "fire alarm"].map(String::from).to_vec(),
        exclude: ["fire stick".into(), "oven glove".into()].to_vec(),
    }]);
    check(&topics, "the fire stick", "");
    check(&topics, "the fire stick is on fire", "heat: fire");
    check(&topics, "the FIRE-ALARM near the oven, fire!", "heat: fire alarm, oven, fire");
    check(&topics, "campfire", "");
    check(&topics, "caught fire", "heat: fire");
}

#[test]
fn a_reason_names_few_words_and_none_twice() {
    let words = ["one", "two", "three", "four"].map(String::from);
    let topics = Topics::new(vec![Topic {
        name: "count".into(),
        builtin: false,
        words: words.to_vec(),
        exclude: Vec::new(),
    }]);
    check(&topics, "one one two three four", "count: one, two, three");
}

#[test]
fn every_built_in_topic_has_words_in_both_languages_and_none_twice() {
    for list in [ENGLISH, FRENCH] {
        let headers: Vec<_> =
            list.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')).collect();
        let mut names: Vec<_> = BUILTIN.iter().map(|topic| topic.name).collect();
        let mut found = headers.clone();
        names.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, names, "each topic once, and no other");
        let (mut topic, mut seen) = ("", HashMap::new());
        for line in list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                topic = name;
                continue;
            }
            let word = line.strip_prefix("- ").unwrap_or(line);
            let key = key(word).unwrap_or_else(|| panic!("{word:?} can be in no text"));
            if let Some(other) = seen.insert((topic, key), word) {
                panic!("{topic}: {word:?} and {other:?} read the same");
            }
        }
        assert!(seen.len() > 250, "{} words", seen.len());
    }
}

#[test]
fn every_excluded_phrase_holds_a_word_of_its_topic() {
    for topic in BUILTIN.map(|topic| topic.name) {
        let words: Vec<_> = builtin_words(topic).filter(|(is_excluded, _)| !is_excluded).collect();
        let only = Topics::new(vec![Topic {
            name: topic.into(),
            builtin: false,
            words: words.iter().map(|(_, word)| (*word).to_owned()).collect(),
            exclude: Vec::new(),
        }]);
        for (_, phrase) in builtin_words(topic).filter(|(is_excluded, _)| *is_excluded) {
            assert!(!only.read(phrase).0.is_empty(), "{topic}: {phrase:?} takes nothing away");
        }
    }
}

#[test]
fn danger_is_near_by_who_speaks_or_in_a_few_words_by_a_thing_that_is_no_news() {
    let check = |expected: bool, text: &str| assert_eq!(is_near(text), expected, "{text}");
    check(true, "my charger caught fire, the police said");
    check(true, "en feu, aidez nous");
    check(false, "raconte notre guide");
    check(true, "notre guide dit que notre box prend feu");
    check(
        true,
        "lumio fuite de gaz dans la cave, ça sent jusque dans l'escalier !!! https://lumio.example/x",
    );
    check(false, "lumio fuite de gaz dans la cave, ça sent jusque dans tout l'escalier de pierre");
    check(false, "feu à la cave, selon les pompiers");
    check(false, "lumio plant on fire");
}
