//! A small symmetric matrix: as much linear algebra as a fit of a few dozen unknowns takes.

/// A square matrix.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    size: usize,
    cells: Vec<f64>,
}

impl Matrix {
    /// All zeros.
    pub(crate) fn new(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size] }
    }

    /// The value in a row and a column; 0 outside.
    pub(crate) fn get(&self, row: usize, column: usize) -> f64 {
        self.cells.get(row * self.size + column).copied().unwrap_or(0.0)
    }

    /// Adds to the value in a row and a column.
    pub(crate) fn add(&mut self, row: usize, column: usize, value: f64) {
        if let Some(cell) = self.cells.get_mut(row * self.size + column) {
            *cell += value;
        }
    }

    /// The lower triangle whose product with its own transpose is this matrix; nothing if there is none.
    pub(crate) fn factor(&self) -> Option<Factor> {
        let mut lower = Self::new(self.size);
        for row in 0..self.size {
            for column in 0..=row {
                let known: f64 = (0..column).map(|k| lower.get(row, k) * lower.get(column, k)).sum();
                let rest = self.get(row, column) - known;
                let value = if row == column {
                    if rest <= 0.0 || !rest.is_finite() {
                        return None;
                    }
                    rest.sqrt()
                } else {
                    rest / lower.get(column, column)
                };
                lower.add(row, column, value);
            }
        }
        Some(Factor { lower })
    }
}

/// A matrix that was factored, ready to solve equations with.
#[derive(Debug, Clone)]
pub(crate) struct Factor {
    lower: Matrix,
}

impl Factor {
    /// What the matrix has to be multiplied with to give `right`.
    pub(crate) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let lower = &self.lower;
        let mut halfway: Vec<f64> = Vec::with_capacity(lower.size);
        for (row, value) in right.iter().enumerate() {
            let known: f64 = halfway.iter().enumerate().map(|(k, found)| lower.get(row, k) * found).sum();
            halfway.push((value - known) / lower.get(row, row));
        }
        // The second half is found from the end: `reversed` holds the last unknown first.
        let mut reversed: Vec<f64> = Vec::with_capacity(lower.size);
        for (row, value) in halfway.iter().enumerate().rev() {
            let later = reversed.iter().rev().enumerate();
            let known: f64 = later.map(|(k, found)| lower.get(row + 1 + k, row) * found).sum();
            reversed.push((value - known) / lower.get(row, row));
        }
        reversed.reverse();
        reversed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let mut matrix = Matrix::new(3);
        let cells = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]];
        for (row, values) in cells.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                matrix.add(row, column, *value);
            }
        }
        let wanted = [1.0, -2.0, 3.0];
        let right: Vec<f64> =
            cells.iter().map(|row| row.iter().zip(wanted).map(|(cell, value)| cell * value).sum()).collect();
        let found = matrix.factor().unwrap().solve(&right);
        assert!(found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn what_has_no_single_solution_is_told() {
        assert!(Matrix::new(2).factor().is_none());
    }
}
