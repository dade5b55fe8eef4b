//! Confusion matrices.

use crate::MetricsError;
use serde::{Deserialize, Serialize};

/// Counts of clips: rows are true classes, columns are predicted ones.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "Vec<Vec<usize>>", into = "Vec<Vec<usize>>")]
pub struct ConfusionMatrix {
    rows: Vec<Vec<usize>>,
}

impl ConfusionMatrix {
    /// A matrix of zeros, `[classes, classes]`.
    pub fn new(classes: usize) -> Self {
        Self { rows: vec![vec![0; classes]; classes] }
    }

    /// Adds one clip.
    ///
    /// # Panics
    ///
    /// If a label is out of range.
    pub fn count(&mut self, truth: usize, predicted: usize) {
        self.rows[truth][predicted] += 1;
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.rows.len()
    }

    /// The counts, a row per true class.
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// Number of clips counted.
    pub fn clips(&self) -> usize {
        self.rows.iter().flatten().sum()
    }

    /// Number of correctly classified clips.
    pub fn trace(&self) -> usize {
        (0..self.classes()).map(|class| self.rows[class][class]).sum()
    }

    /// For every class, the fraction of its clips that are correct; `None` for a class without
    /// clips.
    pub fn per_class_accuracy(&self) -> Vec<Option<f64>> {
        let accuracy = |(class, row): (usize, &Vec<usize>)| {
            let clips: usize = row.iter().sum();
            (clips > 0).then(|| row[class] as f64 / clips as f64)
        };
        self.rows.iter().enumerate().map(accuracy).collect()
    }

    /// Mean of [`per_class_accuracy`](Self::per_class_accuracy) over the classes that have clips;
    /// `None` if no class has any.
    pub fn mean_class_accuracy(&self) -> Option<f64> {
        let known: Vec<f64> = self.per_class_accuracy().into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

impl TryFrom<Vec<Vec<usize>>> for ConfusionMatrix {
    type Error = MetricsError;

    fn try_from(rows: Vec<Vec<usize>>) -> Result<Self, MetricsError> {
        let classes = rows.len();
        match rows.iter().position(|row| row.len() != classes) {
            Some(row) => Err(MetricsError::NotSquare { row, got: rows[row].len(), classes }),
            None => Ok(Self { rows }),
        }
    }
}

impl From<ConfusionMatrix> for Vec<Vec<usize>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 0 has three clips, two correct; class 1 one, wrong; class 2 none. Mean (2/3 + 0) / 2.
    #[test]
    fn rows_are_true_classes() {
        let mut m = ConfusionMatrix::new(3);
        [(0, 0), (0, 0), (0, 1), (1, 2)].into_iter().for_each(|(truth, predicted)| m.count(truth, predicted));
        assert_eq!(m.rows(), [vec![2, 1, 0], vec![0, 0, 1], vec![0, 0, 0]]);
        assert_eq!(m.per_class_accuracy(), [Some(2.0 / 3.0), Some(0.0), None]);
        assert!((m.mean_class_accuracy().unwrap() - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!((m.clips(), m.trace(), m.classes()), (4, 2, 3));
        assert_eq!(ConfusionMatrix::new(2).mean_class_accuracy(), None);
    }

    #[test]
    fn rows_of_another_length_are_refused() {
        let ragged = ConfusionMatrix::try_from(vec![vec![0, 0], vec![0]]).unwrap_err();
        assert_eq!(ragged, MetricsError::NotSquare { row: 1, got: 1, classes: 2 });
    }
}
