//! Many short texts in one: four bytes each beside their letters, where a `String` takes 24 and an allocation.

/// Texts by number, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Texts {
    joined: String,
    /// In bytes of `joined`. Texts of more than 4 GiB together are more than a config can name.
    ends: Vec<u32>,
}

impl Texts {
    /// Adds a text; gives its number.
    pub(super) fn push(&mut self, text: &str) -> u32 {
        self.joined.push_str(text);
        self.ends.push(u32::try_from(self.joined.len()).unwrap_or(u32::MAX));
        u32::try_from(self.ends.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let end_of = |number: usize| self.ends.get(number).map_or(self.joined.len(), |end| *end as usize);
        let start = number.checked_sub(1).map_or(0, end_of);
        self.joined.get(start..end_of(number)).unwrap_or_default()
    }

    /// Gives back what was kept for more of them.
    pub(super) fn shrink_to_fit(&mut self) {
        self.joined.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let mut texts = Texts::default();
        for (number, text) in ["a", "", "été\n", "b"].into_iter().enumerate() {
            assert_eq!(texts.push(text) as usize, number);
        }
        texts.shrink_to_fit();
        assert_eq!([0, 1, 2, 3, 4].map(|number| texts.get(number)), ["a", "", "été\n", "b", ""]);
    }
}
