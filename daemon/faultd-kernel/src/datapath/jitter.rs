//! Shapes of jitter as tables: the inverse of each distribution in equal steps of probability, in units
//! of its spread. Pure.

use faultd_abi::{JITTER_ONE, JITTER_TABLE_COUNT, JitterTable, TABLE_LENGTH};

use super::{DatapathError, Distribution, Jitter};

/// Shape of the Pareto distribution: its variance is finite, that of the next steeper power is not.
const PARETO_SHAPE: f64 = 3.0;
/// What cannot be told from the ends of a probability.
const NEAR_ZERO: f64 = 1e-9;
/// Correlated jitter is a function of a normal deviate between -4 and 4.
const LARGEST_DEVIATE: f64 = 4.0;
/// Values beyond this many spreads do not fit.
const LARGEST_VALUE: f64 = 32_000.0;

/// The tables in use: each shape once, the normal distribution always first.
pub(super) struct JitterTables {
    shapes: Vec<Option<(Shape, usize)>>,
}

/// What makes a table.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    distribution: Distribution,
    /// Over normal deviates instead of probabilities.
    over_deviates: bool,
}

impl JitterTables {
    /// Only the normal distribution.
    pub(super) fn new() -> (Self, JitterTable) {
        let normal = Shape { distribution: Distribution::Normal, over_deviates: false };
        let table = normal.table();
        (Self { shapes: vec![Some((normal, 1))] }, table)
    }

    /// The index of a jitter's table, and the table itself where it is to be written first.
    pub(super) fn claim(&mut self, jitter: &Jitter) -> Result<(u32, Option<JitterTable>), DatapathError> {
        let shape = Shape::of(jitter);
        for (index, entry) in self.shapes.iter_mut().enumerate() {
            if let Some((_same, users)) = entry.as_mut().filter(|(known, _users)| *known == shape) {
                *users = users.saturating_add(1);
                return Ok((index_number(index), None));
            }
        }
        let table = shape.table();
        let free = self.shapes.iter().position(Option::is_none).unwrap_or(self.shapes.len());
        if index_number(free) >= JITTER_TABLE_COUNT {
            return Err(DatapathError::TooManyJitterTables(JITTER_TABLE_COUNT));
        }
        if free == self.shapes.len() {
            self.shapes.push(None);
        }
        if let Some(entry) = self.shapes.get_mut(free) {
            *entry = Some((shape, 1));
        }
        Ok((index_number(free), Some(table)))
    }

    /// Ends one use of a table.
    pub(super) fn give_back(&mut self, index: u32) {
        let Some(entry) = usize::try_from(index).ok().and_then(|index| self.shapes.get_mut(index)) else {
            return;
        };
        if let Some((_shape, users)) = entry {
            *users = users.saturating_sub(1);
            if *users == 0 {
                *entry = None;
            }
        }
    }
}

fn index_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Shape {
    fn of(jitter: &Jitter) -> Self {
        Self { distribution: jitter.distribution.clone(), over_deviates: jitter.correlation > 0.0 }
    }

    fn table(&self) -> JitterTable {
        let mut values = [0; TABLE_LENGTH + 1];
        for (step, value) in values.iter_mut().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand steps")]
            let point = step as f64 / TABLE_LENGTH as f64;
            let probability = if self.over_deviates {
                normal_probability((2.0 * point - 1.0) * LARGEST_DEVIATE)
            } else {
                // The ends of most distributions are infinite: half a step in is where the table ends.
                #[expect(clippy::cast_precision_loss, reason = "as above")]
                let half_a_step = 0.5 / TABLE_LENGTH as f64;
                point.clamp(half_a_step, 1.0 - half_a_step)
            };
            *value = fixed_point(quantile(&self.distribution, probability));
        }
        JitterTable { values }
    }
}

/// What netem wants: deviations in units of the spread, at even steps of probability.
pub(crate) fn sampled(distribution: &Distribution, count: usize) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand steps")]
    let middle_of = |step: usize| (step as f64 + 0.5) / count as f64;
    (0..count).map(|step| quantile(distribution, middle_of(step))).collect()
}

/// The value that this ratio of all values stays below, in units of the spread.
fn quantile(distribution: &Distribution, probability: f64) -> f64 {
    let probability = probability.clamp(NEAR_ZERO, 1.0 - NEAR_ZERO);
    match distribution {
        Distribution::Uniform => 2.0 * probability - 1.0,
        Distribution::Normal => normal_quantile(probability),
        Distribution::Pareto => pareto_quantile(probability),
        Distribution::ParetoNormal => {
            0.25 * normal_quantile(probability) + 0.75 * pareto_quantile(probability)
        }
        Distribution::Measured(values) => measured_quantile(values, probability),
    }
}

/// Pareto of mean 0 and standard deviation 1.
fn pareto_quantile(probability: f64) -> f64 {
    let mean = PARETO_SHAPE / (PARETO_SHAPE - 1.0);
    let deviation = (PARETO_SHAPE / (PARETO_SHAPE - 2.0)).sqrt() / (PARETO_SHAPE - 1.0);
    ((1.0 - probability).powf(-1.0 / PARETO_SHAPE) - mean) / deviation
}

fn measured_quantile(values: &[f64], probability: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    #[expect(clippy::cast_precision_loss, reason = "the number of measured values")]
    let place = probability * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the last index")]
    let below = (place.floor() as usize).min(last);
    let low = values.get(below).copied().unwrap_or_default();
    let high = values.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * place.fract()
}

/// The ratio of normal deviates below this one (Abramowitz and Stegun 7.1.26, error below 1.5e-7).
fn normal_probability(deviate: f64) -> f64 {
    let x = deviate.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let error_function = 1.0 - polynomial * (-x * x).exp();
    if deviate < 0.0 { 0.5 * (1.0 - error_function) } else { 0.5 * (1.0 + error_function) }
}

/// The deviate below which this ratio of normal deviates is: the root of [`normal_probability`], found
/// by halving, because tables are built rarely.
fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _halving in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal_probability(middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn fixed_point(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "clamped to what fits")]
    let fixed = (value.clamp(-LARGEST_VALUE, LARGEST_VALUE) * JITTER_ONE as f64).round() as i32;
    fixed
}

/// A correlation and its complement in fixed point: what of the last jitter stays, what of a new one enters.
pub(super) fn correlation_parts(correlation: f64) -> (u32, u32) {
    let part = |ratio: f64| fixed_point(ratio).unsigned_abs();
    (part(correlation), part((1.0 - correlation * correlation).sqrt()))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{
        Distribution, Jitter, JitterTables, TABLE_LENGTH, correlation_parts, normal_probability,
        normal_quantile, sampled,
    };

    fn moments(distribution: &Distribution) -> (f64, f64) {
        let values = sampled(distribution, 1 << 16);
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
    }

    #[test]
    fn normal_deviates_and_probabilities_belong_together() {
        for (deviate, probability) in
            [(0.0, 0.5), (1.0, 0.841_344_7), (-1.959_964, 0.025), (3.0, 0.998_650_1)]
        {
            assert!((normal_probability(deviate) - probability).abs() < 1e-6, "{deviate}");
            assert!((normal_quantile(probability) - deviate).abs() < 1e-4, "{probability}");
        }
    }

    #[test]
    fn distributions_have_the_mean_0_and_the_spread_1() {
        for distribution in [Distribution::Normal, Distribution::Pareto] {
            let (mean, deviation) = moments(&distribution);
            assert!(mean.abs() < 0.01, "{distribution:?}: mean {mean}");
            assert!((0.9..1.01).contains(&deviation), "{distribution:?}: deviation {deviation}");
        }
        let uniform = sampled(&Distribution::Uniform, 1000);
        assert!((-1.0..-0.99).contains(&uniform[0]) && (0.99..1.0).contains(&uniform[999]));
    }

    #[test]
    fn measured_values_come_back_as_they_were() {
        let measured = Distribution::Measured(Arc::from([-1.0, 0.0, 3.0]));
        let values = sampled(&measured, 4);
        assert_eq!(values, [-0.75, -0.25, 0.75, 2.25]);
    }

    #[test]
    fn tables_are_shared_and_given_back() {
        let jitter = |distribution: Distribution, correlation| Jitter {
            spread: Duration::from_millis(1),
            distribution,
            correlation,
        };
        let (mut tables, normal) = JitterTables::new();
        assert!(normal.values[TABLE_LENGTH / 2].abs() < 100, "the middle is the mean");
        let claim = |tables: &mut JitterTables, jitter: &Jitter| {
            let (index, table) = tables.claim(jitter).expect("a table");
            (index, table.is_some())
        };
        assert_eq!(claim(&mut tables, &jitter(Distribution::Normal, 0.0)), (0, false));
        assert_eq!(claim(&mut tables, &jitter(Distribution::Pareto, 0.0)), (1, true));
        assert_eq!(claim(&mut tables, &jitter(Distribution::Pareto, 0.0)), (1, false));
        assert_eq!(claim(&mut tables, &jitter(Distribution::Pareto, 0.5)), (2, true));
        tables.give_back(1);
        tables.give_back(1);
        tables.give_back(0);
        assert_eq!(claim(&mut tables, &jitter(Distribution::Uniform, 0.0)), (1, true));
        assert_eq!(claim(&mut tables, &jitter(Distribution::Normal, 0.0)), (0, false));
    }

    #[test]
    fn the_parts_of_a_correlation_are_on_a_circle() {
        assert_eq!(correlation_parts(0.0), (0, 65_536));
        assert_eq!(correlation_parts(0.6), (39_322, 52_429));
    }
}
