//! The brands that a grant is limited to, and when two names are the same brand.

use std::sync::Arc;

/// Whether two names are those of one brand, or team: case is ignored, and this is the only place that says how.
pub fn is_same(one: &str, other: &str) -> bool {
    fn lowercase(text: &str) -> impl Iterator<Item = char> {
        text.chars().flat_map(char::to_lowercase)
    }
    lowercase(one).eq(lowercase(other))
}

/// One brand or more. None at all would read like "all" to whoever takes an empty list for no limit, so there is no
/// such value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brands(Arc<[String]>);

impl Brands {
    /// These brands; `None` if they are none.
    pub fn new(names: impl IntoIterator<Item = String>) -> Option<Brands> {
        let names: Arc<[String]> = names.into_iter().collect();
        (!names.is_empty()).then_some(Brands(names))
    }

    /// Whether this is one of them.
    pub fn has(&self, brand: &str) -> bool {
        self.0.iter().any(|ours| is_same(ours, brand))
    }

    /// Whether all of `others` are among them. A list that names none asks for every brand, and is not.
    pub fn hold(&self, others: &[String]) -> bool {
        !others.is_empty() && others.iter().all(|brand| self.has(brand))
    }

    /// Their names, as in config.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brands(names: &[&str]) -> Option<Brands> {
        Brands::new(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn brands_are_compared_without_case_and_in_one_way() {
        for (one, other, same) in [
            ("Lumio", "LUMIO", true),
            ("École", "éCOLE", true),
            // The last letter of a word has a small form of its own, which a whole text and its letters fold to
            // differently.
            ("ΚΩΣΜΟΣ", "κωσμοσ", true),
            ("Lumio", "Lumios", false),
            ("Lumio", "", false),
        ] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
            assert_eq!(brands(&[one]).unwrap().has(other), same, "{one} {other}");
        }
    }

    #[test]
    fn no_brand_at_all_is_no_limit_and_lies_within_none() {
        assert_eq!(brands(&[]), None);
        let limit = brands(&["Lumio", "Volt"]).unwrap();
        let hold =
            |names: &[&str]| limit.hold(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(hold(&["volt"]) && hold(&["LUMIO", "Volt"]));
        assert!(!hold(&["volt", "Acme"]) && !hold(&[]), "an empty filter asks for every brand");
    }
}
