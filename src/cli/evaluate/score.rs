//! Predictions and the labels people gave → how good and how honest the model is.
//!
//! Accuracy, precision, recall, F1 and their macro means are as in scikit-learn with `zero_division=0`, the
//! means over the labels that occur. The expected calibration error is that of Guo et al., *On Calibration of
//! Modern Neural Networks*, ICML 2017, over ten bins of equal width.

use serde::Serialize;

use crate::classify::best;

/// Bins of the calibration, of equal width.
pub(super) const BINS: usize = 10;

/// What was predicted so far, beside what was so.
#[derive(Debug)]
pub(super) struct Score {
    classes: usize,
    /// Rows by actual and predicted class, `[actual, predicted]`.
    confusion: Vec<u64>,
    bins: [Bin; BINS],
}

/// The rows whose most probable class had a probability in one range.
#[derive(Debug, Default, Clone, Copy)]
struct Bin {
    rows: u64,
    right: u64,
    confidence_sum: f64,
}

/// How well one class is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct ClassScore {
    /// Rows of this class.
    pub(super) rows: u64,
    /// Of the rows predicted to be of this class, those that are; 0 if none was predicted.
    pub(super) precision: f64,
    /// Of the rows of this class, those predicted to be; 0 if there is none.
    pub(super) recall: f64,
    /// Harmonic mean of both.
    pub(super) f1: f64,
}

/// One bin of the calibration that has rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct BinScore {
    /// Least confidence of the bin; it reaches a tenth further.
    pub(super) from: f64,
    /// Its rows.
    pub(super) rows: u64,
    /// Mean probability of their most probable class.
    pub(super) confidence: f64,
    /// Share of them that were right.
    pub(super) accuracy: f64,
}

impl Score {
    pub(super) fn new(classes: usize) -> Self {
        Self { classes, confusion: vec![0; classes * classes], bins: [Bin::default(); BINS] }
    }

    /// Counts one row: its actual class and the probability of every class.
    ///
    /// Of equally probable classes the first is the prediction.
    pub(super) fn add(&mut self, actual: usize, probabilities: &[f32]) {
        let predicted = best(probabilities);
        let confidence = probabilities.get(predicted).copied().unwrap_or_default();
        assert!(actual < self.classes && predicted < self.classes, "a class is one of those told");
        if let Some(count) = self.confusion.get_mut(actual * self.classes + predicted) {
            *count += 1;
        }
        // A probability of 1 belongs to the last bin; the cast is cut to the bins, so it cannot be wrong.
        let bin = ((f64::from(confidence) * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = self.bins.get_mut(bin) {
            bin.rows += 1;
            bin.right += u64::from(actual == predicted);
            bin.confidence_sum += f64::from(confidence);
        }
    }

    /// How many rows were counted.
    pub(super) fn rows(&self) -> u64 {
        self.confusion.iter().sum()
    }

    /// Rows of `actual` that were predicted to be `predicted`.
    pub(super) fn confused(&self, actual: usize, predicted: usize) -> u64 {
        self.confusion.get(actual * self.classes + predicted).copied().unwrap_or(0)
    }

    /// Share of rows that were right.
    pub(super) fn accuracy(&self) -> f64 {
        ratio((0..self.classes).map(|class| self.confused(class, class)).sum(), self.rows())
    }

    /// One for each class, in their order.
    pub(super) fn classes(&self) -> Vec<ClassScore> {
        let class = |class| {
            let right = self.confused(class, class);
            let rows = (0..self.classes).map(|other| self.confused(class, other)).sum();
            let predicted: u64 = (0..self.classes).map(|other| self.confused(other, class)).sum();
            ClassScore {
                rows,
                precision: ratio(right, predicted),
                recall: ratio(right, rows),
                f1: ratio(2 * right, rows + predicted),
            }
        };
        (0..self.classes).map(class).collect()
    }

    /// Mean of F1 over the classes that occur.
    pub(super) fn macro_f1(&self) -> f64 {
        self.mean(|class| class.f1)
    }

    /// Mean of recall over the classes that occur.
    pub(super) fn macro_recall(&self) -> f64 {
        self.mean(|class| class.recall)
    }

    fn mean(&self, of: impl Fn(&ClassScore) -> f64) -> f64 {
        let occurring: Vec<f64> = self.classes().iter().filter(|class| class.rows > 0).map(of).collect();
        if occurring.is_empty() { 0.0 } else { occurring.iter().sum::<f64>() / occurring.len() as f64 }
    }

    /// The bins that have rows, least confident first.
    pub(super) fn bins(&self) -> Vec<BinScore> {
        let bins = self.bins.iter().enumerate().filter(|(_, bin)| bin.rows > 0);
        bins.map(|(idx, bin)| BinScore {
            from: idx as f64 / BINS as f64,
            rows: bin.rows,
            confidence: bin.confidence_sum / bin.rows as f64,
            accuracy: ratio(bin.right, bin.rows),
        })
        .collect()
    }

    /// How far confidence and accuracy are apart, mean over the rows: 0 is honest.
    pub(super) fn calibration_error(&self) -> f64 {
        let apart = |bin: BinScore| bin.rows as f64 * (bin.accuracy - bin.confidence).abs();
        self.bins().into_iter().map(apart).sum::<f64>() / (self.rows().max(1) as f64)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(classes: usize, rows: &[(usize, &[f32])]) -> Score {
        let mut score = Score::new(classes);
        rows.iter().for_each(|(actual, probabilities)| score.add(*actual, probabilities));
        score
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    /// Class 0: 3 rows, 2 found; class 1: 2 rows, 1 found; class 2 never occurs and is predicted once.
    fn worked() -> Score {
        score(
            3,
            &[
                (0, &[0.75, 0.25, 0.0]),
                (0, &[0.5, 0.25, 0.25]),
                (0, &[0.25, 0.5, 0.25]),
                (1, &[0.0, 1.0, 0.0]),
                (1, &[0.0, 0.25, 0.75]),
            ],
        )
    }

    #[test]
    fn scores_are_those_computed_by_hand() {
        let score = worked();
        assert_eq!(score.rows(), 5);
        close(score.accuracy(), 3.0 / 5.0);
        let expected = [(3, 1.0, 2.0 / 3.0, 0.8), (2, 0.5, 0.5, 0.5), (0, 0.0, 0.0, 0.0)];
        for (class, (rows, precision, recall, f1)) in score.classes().into_iter().zip(expected) {
            assert_eq!(class.rows, rows);
            close(class.precision, precision);
            close(class.recall, recall);
            close(class.f1, f1);
        }
        // Over the two classes that occur.
        close(score.macro_f1(), (0.8 + 0.5) / 2.0);
        close(score.macro_recall(), (2.0 / 3.0 + 0.5) / 2.0);
        let confused = |actual| [0, 1, 2].map(|predicted| score.confused(actual, predicted));
        assert_eq!([confused(0), confused(1), confused(2)], [[2, 1, 0], [0, 1, 1], [0, 0, 0]]);
    }

    #[test]
    fn calibration_is_that_computed_by_hand() {
        let score = worked();
        let found: Vec<_> = score.bins().iter().map(|bin| (bin.from, bin.rows, bin.confidence)).collect();
        assert_eq!(found, [(0.5, 2, 0.5), (0.7, 2, 0.75), (0.9, 1, 1.0)]);
        let accuracies: Vec<_> = score.bins().iter().map(|bin| bin.accuracy).collect();
        assert_eq!(accuracies, [0.5, 0.5, 1.0]);
        // |0.5 - 0.5| x 2/5 + |0.5 - 0.75| x 2/5 + |1 - 1| x 1/5.
        close(score.calibration_error(), 0.1);
    }

    #[test]
    fn of_equally_probable_classes_the_first_is_the_prediction() {
        assert_eq!(score(2, &[(0, &[0.5, 0.5])]).confused(0, 0), 1);
        assert_eq!(score(3, &[(0, &[0.0, 0.5, 0.5])]).confused(0, 1), 1);
    }

    #[test]
    fn no_rows_and_sums_above_one_are_no_trouble() {
        let none = Score::new(3);
        assert_eq!((none.accuracy(), none.macro_f1(), none.calibration_error()), (0.0, 0.0, 0.0));
        assert!(none.bins().is_empty());
        let bins = score(2, &[(0, &[1.000_001, 0.0])]).bins();
        assert_eq!((bins.len(), bins[0].from, bins[0].rows), (1, 0.9, 1));
    }
}
