//! Rows of token ids → batches of one width each, with little padding.
//!
//! A graph runs on a rectangle, so short rows are filled up to the longest one of their batch, and that one to
//! a multiple of [`WIDTH_MULTIPLE`], which a graph may rely on. Rows are
//! sorted by length and cut where filling up would cost more than another run; the caller gets back which
//! row went where, and restores the order.

use std::num::NonZeroUsize;
use std::ops::Range;

/// Every batch is as wide as a multiple of this: a graph may halve the token axis twice.
pub(super) const WIDTH_MULTIPLE: usize = 4;

/// Token ids and mask of some posts, `[posts, tokens]`, row by row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    posts: usize,
    tokens: usize,
    ids: Vec<i64>,
    mask: Vec<i64>,
}

impl Batch {
    /// Replaces what is in the batch by `rows`, each filled up with `pad_id` to the longest, that one to a
    /// multiple of [`WIDTH_MULTIPLE`].
    pub(super) fn fill<'r>(&mut self, rows: impl Iterator<Item = &'r [u32]> + Clone, pad_id: u32) {
        self.posts = 0;
        self.tokens = rows.clone().map(<[u32]>::len).max().unwrap_or(0).next_multiple_of(WIDTH_MULTIPLE);
        self.ids.clear();
        self.mask.clear();
        for row in rows {
            self.posts += 1;
            let end = self.posts * self.tokens;
            self.ids.extend(row.iter().map(|&id| i64::from(id)));
            self.ids.resize(end, i64::from(pad_id));
            self.mask.resize(end - self.tokens + row.len(), 1);
            self.mask.resize(end, 0);
        }
    }

    /// How many rows.
    pub(super) fn posts(&self) -> usize {
        self.posts
    }

    /// How long every row is.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Token ids, `[posts, tokens]`.
    pub(super) fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// 1 where there is a token, 0 where there is padding, `[posts, tokens]`.
    pub(super) fn mask(&self) -> &[i64] {
        &self.mask
    }
}

/// Sorts rows by length, longest first, and cuts them into batches.
///
/// `order` receives the indices of `lengths` in the new order, `batches` the ranges of `order` that belong
/// together: at most `posts_max` rows each, at most `run_cost_tokens` of padding up to the longest row, which is
/// what one more run of the graph costs. Both are cleared first. The same lengths give the same batches.
pub(super) fn cut(
    lengths: &[usize],
    posts_max: NonZeroUsize,
    run_cost_tokens: usize,
    order: &mut Vec<usize>,
    batches: &mut Vec<Range<usize>>,
) {
    let length = |idx: &usize| lengths.get(*idx).copied().unwrap_or(0);
    order.clear();
    order.extend(0..lengths.len());
    order.sort_by_key(|idx| std::cmp::Reverse(length(idx)));
    batches.clear();
    let (mut start, mut width, mut padding) = (0, 0, 0);
    for (place, idx) in order.iter().enumerate() {
        padding += width - length(idx).min(width);
        if place == start || place - start == posts_max.get() || padding > run_cost_tokens {
            if place > start {
                batches.push(start..place);
            }
            (start, width, padding) = (place, length(idx), 0);
        }
    }
    if start < order.len() {
        batches.push(start..order.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_is_filled_up_to_a_multiple_of_four_and_masked() {
        let mut batch = Batch::default();
        batch.fill([&[5, 6, 7][..], &[], &[8]].into_iter(), 1);
        assert_eq!((batch.posts(), batch.tokens()), (3, 4));
        assert_eq!(batch.ids(), [5, 6, 7, 1, 1, 1, 1, 1, 8, 1, 1, 1]);
        assert_eq!(batch.mask(), [1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        batch.fill([&[9][..]].into_iter(), 0);
        assert_eq!((batch.posts(), batch.ids(), batch.mask()), (1, &[9, 0, 0, 0][..], &[1, 0, 0, 0][..]));
        batch.fill([&[2; 4][..]].into_iter(), 0);
        assert_eq!((batch.tokens(), batch.ids()), (4, &[2; 4][..]));
    }

    fn check(lengths: &[usize], posts_max: usize, expected: &[&[usize]]) {
        let (mut order, mut batches) = (vec![9], Vec::from([0..9, 9..9]));
        cut(lengths, NonZeroUsize::new(posts_max).unwrap(), 32, &mut order, &mut batches);
        let found: Vec<&[usize]> = batches.iter().map(|range| &order[range.clone()]).collect();
        assert_eq!(found, expected, "lengths {lengths:?}");
    }

    #[test]
    fn rows_of_like_length_share_a_batch() {
        check(&[], 32, &[]);
        check(&[7], 32, &[&[0]]);
        check(&[5, 96, 6, 90], 32, &[&[1, 3], &[2, 0]]);
        check(&[8, 8, 8, 8, 8], 2, &[&[0, 1], &[2, 3], &[4]]);
        check(&[8, 8, 8], 1, &[&[0], &[1], &[2]]);
        check(&[10, 2, 9, 3], 32, &[&[0, 2, 3, 1]]);
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_batch_with_little_padding(
            lengths in prop::collection::vec(0usize..130, 0..200),
            posts_max in 1usize..40,
            run_cost_tokens in 0usize..100,
        ) {
            let (mut order, mut batches) = (Vec::new(), Vec::new());
            let posts_max = NonZeroUsize::new(posts_max).unwrap();
            cut(&lengths, posts_max, run_cost_tokens, &mut order, &mut batches);
            let mut seen: Vec<usize> = batches.iter().flat_map(|range| order[range.clone()].to_vec()).collect();
            for range in &batches {
                let rows: Vec<usize> = order[range.clone()].iter().map(|&idx| lengths[idx]).collect();
                let width = *rows.iter().max().unwrap();
                prop_assert!(rows.len() <= posts_max.get());
                prop_assert!(rows.iter().map(|row| width - row).sum::<usize>() <= run_cost_tokens);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
