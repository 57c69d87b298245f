//! The labels of a file → classes of a head, of which one label may stand for several.

use crate::classify::{INTENTS, SENTIMENTS, URGENCIES, Verdict};

/// What of a verdict is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Head {
    Sentiment,
    Intent,
    Urgency,
}

impl Head {
    pub(super) fn name(self) -> &'static str {
        match self {
            Head::Sentiment => "sentiment",
            Head::Intent => "intent",
            Head::Urgency => "urgency",
        }
    }

    pub(super) fn labels(self) -> &'static [&'static str] {
        match self {
            Head::Sentiment => &SENTIMENTS,
            Head::Intent => &INTENTS,
            Head::Urgency => &URGENCIES,
        }
    }

    fn probabilities(self, verdict: &Verdict) -> &[f32] {
        match self {
            Head::Sentiment => &verdict.sentiment,
            Head::Intent => &verdict.intent,
            Head::Urgency => &verdict.urgency,
        }
    }
}

/// `LABEL=a+b+c`: a label of the file, and the labels of the head that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    label: String,
    parts: Vec<String>,
}

impl Mapping {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (label, parts) = text.split_once('=').ok_or("must be LABEL=a+b+c")?;
        let parts: Vec<_> = parts.split('+').map(|part| part.trim().to_owned()).collect();
        if label.is_empty() || parts.iter().any(String::is_empty) {
            return Err("must be LABEL=a+b+c, with no part empty".to_owned());
        }
        Ok(Self { label: label.to_owned(), parts })
    }
}

/// The classes that predictions are made among.
#[derive(Debug)]
pub(super) struct Classes {
    head: Head,
    /// Each with the places of its labels in the head.
    classes: Vec<(String, Vec<usize>)>,
}

impl Classes {
    /// The mapped labels, then the labels of the head that belong to none of them.
    ///
    /// # Errors
    ///
    /// When the mappings contradict the head or each other.
    pub(super) fn new(head: Head, mappings: &[Mapping]) -> Result<Self, String> {
        let labels = head.labels();
        let mut classes: Vec<(String, Vec<usize>)> = Vec::new();
        for Mapping { label, parts } in mappings {
            if classes.iter().any(|(known, _)| known == label) {
                return Err(format!("--map {label}: is given twice; join the parts with +"));
            }
            let mut places = Vec::new();
            for part in parts {
                let Some(place) = labels.iter().position(|known| known == part) else {
                    let (head, labels) = (head.name(), labels.join(", "));
                    return Err(format!("--map {label}: {part:?} is no {head}: must be one of {labels}"));
                };
                if places.contains(&place) || classes.iter().any(|(_, places)| places.contains(&place)) {
                    return Err(format!("--map {label}: {part:?} is part of a mapped label already"));
                }
                places.push(place);
            }
            classes.push((label.clone(), places));
        }
        for (place, label) in labels.iter().enumerate() {
            if classes.iter().any(|(_, places)| places.contains(&place)) {
                continue;
            }
            if classes.iter().any(|(known, _)| known == label) {
                let head = head.name();
                return Err(format!("--map {label}: is itself a label of {head}: name it among its parts"));
            }
            classes.push(((*label).to_owned(), vec![place]));
        }
        Ok(Self { head, classes })
    }

    /// The class of a label in the file.
    ///
    /// # Errors
    ///
    /// What would be accepted.
    pub(super) fn of_label(&self, label: &str) -> Result<usize, String> {
        self.classes.iter().position(|(known, _)| known == label).ok_or_else(|| {
            let labels = self.names().collect::<Vec<_>>().join(", ");
            format!("must be one of {labels}; or say what it stands for: --map '{label}=LABEL+LABEL'")
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.classes.iter().map(|(name, _)| name.as_str())
    }

    /// Replaces `probabilities` by those of the classes.
    pub(super) fn probabilities(&self, verdict: &Verdict, probabilities: &mut Vec<f32>) {
        let row = self.head.probabilities(verdict);
        let sum = |places: &[usize]| places.iter().filter_map(|place| row.get(*place)).sum::<f32>();
        probabilities.clear();
        probabilities.extend(self.classes.iter().map(|(_, places)| sum(places)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(head: Head, mappings: &[&str]) -> Result<Classes, String> {
        let mappings: Vec<_> = mappings.iter().map(|text| Mapping::parse(text).unwrap()).collect();
        Classes::new(head, &mappings)
    }

    #[test]
    fn a_mapped_label_stands_for_its_parts_and_the_others_compete() {
        let classes =
            classes(Head::Intent, &["complaint=churn+problem+complaint", "ask=help+question"]).unwrap();
        let names: Vec<_> = classes.names().collect();
        assert_eq!(names, ["complaint", "ask", "feature", "praise", "other"]);
        let verdict = Verdict {
            sentiment: [0.0, 0.0, 1.0],
            intent: [0.25, 0.125, 0.0625, 0.0, 0.0625, 0.125, 0.25, 0.125],
            urgency: [1.0, 0.0, 0.0],
            language: crate::classify::Language::UNCLEAR,
        };
        let mut probabilities = vec![9.0];
        classes.probabilities(&verdict, &mut probabilities);
        assert_eq!(probabilities, [0.5, 0.125, 0.0, 0.25, 0.125]);
        assert_eq!(classes.of_label("complaint"), Ok(0));
        assert_eq!(classes.of_label("other"), Ok(4));
        let refused = classes.of_label("churn").unwrap_err();
        assert!(
            refused.starts_with("must be one of complaint, ask, feature, praise, other; or say"),
            "{refused}"
        );
    }

    #[test]
    fn without_a_map_the_classes_are_the_heads_labels() {
        let check = |head: Head, labels: &[&str]| {
            assert_eq!(classes(head, &[]).unwrap().names().collect::<Vec<_>>(), labels);
        };
        check(Head::Sentiment, &SENTIMENTS);
        check(Head::Intent, &INTENTS);
        check(Head::Urgency, &URGENCIES);
    }

    #[test]
    fn a_map_that_contradicts_itself_is_named() {
        let check = |head: Head, mappings: &[&str], expected: &str| {
            assert_eq!(classes(head, mappings).unwrap_err(), expected);
        };
        check(
            Head::Sentiment,
            &["bad=negativ"],
            "--map bad: \"negativ\" is no sentiment: must be one of negative, neutral, positive",
        );
        let twice = "is part of a mapped label already";
        check(Head::Sentiment, &["bad=negative+negative"], &format!("--map bad: \"negative\" {twice}"));
        check(Head::Sentiment, &["a=negative", "b=negative"], &format!("--map b: \"negative\" {twice}"));
        check(
            Head::Sentiment,
            &["a=negative", "a=neutral"],
            "--map a: is given twice; join the parts with +",
        );
        check(
            Head::Sentiment,
            &["neutral=positive"],
            "--map neutral: is itself a label of sentiment: name it among its parts",
        );
        assert!(classes(Head::Sentiment, &["neutral=positive+neutral"]).is_ok());
        for wrong in ["bad", "=negative", "bad=", "bad=negative+"] {
            assert!(Mapping::parse(wrong).unwrap_err().starts_with("must be LABEL=a+b+c"), "{wrong}");
        }
    }
}
