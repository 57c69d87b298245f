//! Every key of a config file with a digest of its value: which ones differ between two files.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use toml::de::{DeTable, DeValue};

/// Which keys a file sets, and to what. Holds no values: a list may have a million names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, u64>);

/// Sections whose keys a reload takes, and what in them it cannot take.
const RELOADED: [&str; 18] = [
    "brand",
    "triggers",
    "priority",
    "sensitive",
    "answer_within",
    "expectation",
    "calendar",
    "desk",
    "conversation",
    "helpers",
    "articles",
    "route",
    "routing",
    "team",
    "log",
    "token",
    "tls",
    "wire.token_file",
];
const NOT_RELOADED: [&str; 1] = ["priority.waiting"];

impl Keys {
    pub(super) fn of(table: &DeTable<'_>) -> Keys {
        let mut keys = Keys::default();
        keys.visit("", table);
        keys
    }

    fn visit(&mut self, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match path {
                "" => name.get_ref().to_string(),
                path => format!("{path}.{}", name.get_ref()),
            };
            match value.get_ref() {
                DeValue::Table(table) => self.visit(&key, table),
                // Sections of one name are counted from 1, as mistakes are.
                DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                    for (index, item) in items.iter().enumerate() {
                        if let Some(table) = item.get_ref().as_table() {
                            self.visit(&format!("{key}[{}]", index + 1), table);
                        }
                    }
                }
                value => _ = self.0.insert(key, digest(value)),
            }
        }
    }

    /// Keys that only a restart would take, and that `other` sets otherwise than `self`, sets alone, or no longer
    /// sets. A key that is set to its default counts as set.
    pub fn taking_a_restart(&self, other: &Keys) -> Vec<String> {
        let all = self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(*key)));
        let mut changed: Vec<_> =
            all.filter(|key| !is_reloaded(key) && self.0.get(*key) != other.0.get(*key)).cloned().collect();
        changed.sort();
        changed
    }
}

fn is_reloaded(key: &str) -> bool {
    let is_in = |section: &&str| {
        key.strip_prefix(*section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    RELOADED.iter().any(is_in) && !NOT_RELOADED.iter().any(is_in)
}

fn digest(value: &DeValue<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    fn add(value: &DeValue<'_>, hasher: &mut DefaultHasher) {
        match value {
            DeValue::Array(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| add(item.get_ref(), hasher));
            }
            DeValue::String(text) => text.hash(hasher),
            // Numbers as written, flags, dates. Spans are not part of it: they are places in the file.
            value => format!("{value:?}").hash(hasher),
        }
    }
    add(value, &mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::of(DeTable::parse(text).unwrap().get_ref())
    }

    #[test]
    fn keys_that_take_a_restart_are_named_and_the_others_are_not() {
        let before = "[[source]]\nkind = \"jetstream\"\nurl = \"a\"\n[[brand]]\nname = \"a\"\nnames = [\"a\", \"b\"]\n\
            [engine]\nlanes = 1\n[priority]\nwaiting = { points_per_hour = 5 }\n[log]\nlevel = \"info\"\n";
        let check = |from: &str, to: &str, expected: &[&str]| {
            let after = before.replace(from, to);
            assert_ne!(before, after);
            assert_eq!(keys(before).taking_a_restart(&keys(&after)), expected, "{from} → {to}");
            assert_eq!(keys(&after).taking_a_restart(&keys(before)), expected, "{to} → {from}");
        };
        check("lanes = 1", "lanes = 2", &["engine.lanes"]);
        check("lanes = 1\n", "\n# nothing\n", &["engine.lanes"]);
        check("url = \"a\"", "url = \"b\"\nname = \"c\"", &["source[1].name", "source[1].url"]);
        check("points_per_hour = 5", "points_per_hour = 6", &["priority.waiting.points_per_hour"]);
        check("[\"a\", \"b\"]", "[\"a\"]", &[]);
        check("\"info\"", "\"debug\"", &[]);
        check("[log]", "[conversation]\njoin_hours = 3\n[helpers]\nthanked_min = 2\n[log]", &[]);
        check("[log]", "[priority.intent]\nhelp = 3\n[log]", &[]);
        check("[engine]", "# moved\n\n[[source]]\nkind = \"x\"\n[engine]", &["source[2].kind"]);
    }
}
