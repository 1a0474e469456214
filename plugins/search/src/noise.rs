//! Means and noise of stretches of seconds, not led astray by a few seconds that went wrong.

/// Noise below this is not believed: a share of throughput.
const LEAST_NOISE: f64 = 0.002;

/// How many standard deviations from the median a second may lie before it is left out.
const OUTLIER: f64 = 3.5;

/// The middle value; 0 if there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = values.get(middle.wrapping_sub(1)).copied().unwrap_or(0.0);
    f64::midpoint(lower, upper)
}

/// The standard deviation of one second within stretches: from the differences of neighbours, so that drift
/// does not count, and from their median, so that outliers do not.
pub(crate) fn of_stretches<'a>(stretches: impl Iterator<Item = &'a [f64]>) -> Option<f64> {
    /// Of normal values, half of the differences are smaller than this many standard deviations of one value.
    const HALF_OF_DIFFERENCES: f64 = 0.674_489_75 * std::f64::consts::SQRT_2;
    let neighbours = |stretch: &'a [f64]| stretch.iter().zip(stretch.iter().skip(1));
    let differences: Vec<f64> =
        stretches.flat_map(neighbours).map(|(one, next)| (one - next).abs()).collect();
    (!differences.is_empty()).then(|| (median(differences) / HALF_OF_DIFFERENCES).max(LEAST_NOISE))
}

/// A stretch of seconds in which the same held, as the logarithm of throughput.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    /// Mean of the seconds that are no outliers.
    pub(crate) mean: f64,
    /// How many these are.
    pub(crate) seconds: f64,
}

impl Stretch {
    /// The stretch of these seconds, where one has this noise.
    pub(crate) fn of(seconds: &[f64], noise: f64) -> Self {
        let middle = median(seconds.to_vec());
        let good: Vec<f64> =
            seconds.iter().copied().filter(|value| (value - middle).abs() <= OUTLIER * noise).collect();
        // With few seconds the median may be no second at all, and all of them be far from it.
        if good.is_empty() {
            return Self { mean: middle, seconds: 1.0 };
        }
        let count = good.len() as f64;
        Self { mean: good.iter().sum::<f64>() / count, seconds: count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_neither_move_the_mean_nor_the_noise() {
        let seconds = [1.0, 1.02, 0.98, 1.01, -3.0, 0.99, 1.0];
        let noise = of_stretches([seconds.as_slice()].into_iter()).unwrap();
        assert!(noise < 0.05, "{noise}");
        let stretch = Stretch::of(&seconds, noise);
        assert!((stretch.mean - 1.0).abs() < 0.01 && stretch.seconds == 6.0, "{stretch:?}");
    }

    #[test]
    fn medians_of_few_values() {
        assert_eq!([median(vec![]), median(vec![2.0]), median(vec![3.0, 1.0])], [0.0, 2.0, 2.0]);
    }
}
