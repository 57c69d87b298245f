//! For tests: what a decision goes by, as few changes away from what a test is about.

use jiff::Timestamp;

use super::{Facts, Person};
use crate::classify::{Language, Verdict};
use crate::parse::{Author, Network, Post};
use crate::prefilter::Candidate;

/// A ticket's circumstances; a neutral question in an unknown language of somebody new.
pub(crate) struct Case {
    pub(crate) candidate: Candidate,
    pub(crate) verdict: Verdict,
    pub(crate) person: Person,
    pub(crate) sensitive: Vec<String>,
    pub(crate) priority: u16,
    pub(crate) now: Timestamp,
}

impl Case {
    pub(crate) fn new(author: &str) -> Case {
        let author = Author { id: author.to_owned().into(), ..Author::default() };
        Case {
            candidate: Candidate {
                post: Post::new(Network::X, "1".into(), author, "text".into()),
                brand: "Lumio".into(),
                also_named: Vec::new(),
                hits: Vec::new(),
                addressed: false,
                value: 1,
            },
            verdict: Verdict {
                sentiment: [0.1, 0.8, 0.1],
                intent: [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
                urgency: [0.0, 1.0, 0.0],
                language: Language::UNCLEAR,
            },
            person: Person::default(),
            sensitive: Vec::new(),
            priority: 100,
            // A Thursday.
            now: "2026-11-26T12:00:00Z".parse().unwrap(),
        }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        let new = Facts::new(&self.candidate, &self.verdict, &self.person, self.now);
        Facts { sensitive: &self.sensitive, priority: self.priority, ..new }
    }
}
