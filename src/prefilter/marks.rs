//! Which slots one post fills, and which rules are therefore worth asking.

use super::rule::Slot;

/// Which slots a post fills and which rules that touches.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Counts posts, so that nothing need be cleared between them.
    generation: u64,
    slots: Vec<u64>,
    rules: Vec<u64>,
    /// Rules with an anchor filled.
    pub(super) touched: Vec<usize>,
    /// Those of them that match, in config order.
    pub(super) matched: Vec<usize>,
}

impl Marks {
    pub(super) fn begin(&mut self, slots: usize, rules: usize) {
        self.generation += 1;
        self.slots.resize(slots, 0);
        self.rules.resize(rules, 0);
        self.touched.clear();
        self.matched.clear();
    }

    pub(super) fn fill(&mut self, slot: Slot, anchored: &[usize]) {
        let Some(mark) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        if std::mem::replace(mark, self.generation) == self.generation {
            return;
        }
        for rule_idx in anchored {
            if let Some(mark) = self.rules.get_mut(*rule_idx)
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
