//! Which slots one post fills, and which rules are therefore worth asking.

use super::rule::Slot;

/// Which slots a post fills and which rules that touches: four bytes a slot and a rule.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Counts posts, so that nothing need be cleared between them. A mark is of this post where it is equal.
    generation: u32,
    slots: Vec<u32>,
    rules: Vec<u32>,
    /// Rules with an anchor filled.
    pub(super) touched: Vec<u32>,
    /// Those of them that match, in config order.
    pub(super) matched: Vec<u32>,
}

impl Marks {
    /// Ready for the next post, of a prefilter with so many slots and rules.
    pub(super) fn begin(&mut self, slots: usize, rules: usize) {
        fit(&mut self.slots, slots);
        fit(&mut self.rules, rules);
        if self.generation == u32::MAX {
            // Marks of four billion posts ago would look like this post's.
            self.slots.fill(0);
            self.rules.fill(0);
            self.generation = 0;
        }
        self.generation += 1;
        self.touched.clear();
        self.matched.clear();
    }

    pub(super) fn fill(&mut self, slot: Slot, anchored: &[u32]) {
        let Some(mark) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        if std::mem::replace(mark, self.generation) == self.generation {
            return;
        }
        for rule_idx in anchored {
            if let Some(mark) = self.rules.get_mut(*rule_idx as usize)
                && std::mem::replace(mark, self.generation) != self.generation
            {
                self.touched.push(*rule_idx);
            }
        }
    }

    pub(super) fn is_filled(&self, slot: Slot) -> bool {
        self.slots.get(slot.0 as usize) == Some(&self.generation)
    }
}

/// Makes room for the marks of another prefilter, and no more than it needs. What stays of the old marks is of
/// posts before this one.
fn fit(marks: &mut Vec<u32>, count: usize) {
    if marks.len() != count {
        marks.resize(count, 0);
        marks.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_its_own_post_only() {
        let mut marks = Marks::default();
        marks.begin(2, 1);
        marks.fill(Slot(1), &[0]);
        marks.fill(Slot(1), &[0]);
        assert_eq!((marks.is_filled(Slot(1)), marks.touched.as_slice()), (true, &[0][..]));
        marks.begin(2, 1);
        assert!(!marks.is_filled(Slot(1)));
        // Another prefilter, then the first again.
        marks.fill(Slot(1), &[0]);
        marks.begin(1, 0);
        marks.begin(2, 1);
        assert!(!marks.is_filled(Slot(1)));
    }

    #[test]
    fn counting_posts_over_the_end_leaves_no_old_marks() {
        let mut marks = Marks::default();
        marks.begin(1, 1);
        marks.fill(Slot(0), &[0]);
        marks.generation = u32::MAX;
        marks.begin(1, 1);
        assert!(!marks.is_filled(Slot(0)));
        marks.fill(Slot(0), &[0]);
        assert_eq!(marks.touched, [0]);
    }
}
