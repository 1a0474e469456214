//! The curve of degradation over severity, fitted to all probes together with a baseline that drifts.

use crate::matrix::{Factor, Matrix};
use crate::noise::Stretch;

/// Where the curve's middle lies: half-way between the logits of 10 % and of 50 % degradation.
const MIDDLE_LOGIT: f64 = -1.098_612_288_668_109_8;

/// How much of its slope the curve may be expected to gain on one side of the middle and to lose on the other.
const USUAL_BEND: f64 = 0.1;

/// The parameters of the curve come first among the unknowns, then the baseline at each node.
const CURVE: usize = 3;

/// A logistic curve over the logarithm of the severity that may be steeper on one side of its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Curve {
    /// Logarithm of the severity in the middle.
    middle: f64,
    /// Logarithm of the slope there.
    log_slope: f64,
    /// How much steeper the upper side is.
    bend: f64,
}

impl Curve {
    fn logit_at(self, place: f64) -> f64 {
        let distance = (place - self.middle) * self.log_slope.exp();
        MIDDLE_LOGIT + distance * (1.0 + self.bend * distance.tanh())
    }

    /// The slope of the logit, about the middle.
    pub(crate) fn slope(self) -> f64 {
        self.log_slope.exp()
    }

    /// By how much the logarithm of throughput has fallen at the logarithm of a severity.
    pub(crate) fn drop_at(self, place: f64) -> f64 {
        softplus(self.logit_at(place))
    }

    /// The logarithm of the severity at which degradation is `level`.
    pub(crate) fn place_of(self, level: f64) -> f64 {
        let wanted = (level / (1.0 - level)).ln() - MIDDLE_LOGIT;
        let nearer = |distance: f64, _| wanted / (1.0 + self.bend * distance.tanh());
        self.middle + (0..40).fold(wanted, nearer) / self.slope()
    }

    fn from_unknowns(unknowns: &[f64]) -> Self {
        let at = |index: usize| unknowns.get(index).copied().unwrap_or(0.0);
        Self { middle: at(0), log_slope: at(1).clamp(-3.0, 6.0), bend: at(2).clamp(-0.35, 0.35) }
    }

    /// The same curve with one of its parameters moved.
    fn moved(self, index: usize, by: f64) -> Self {
        match index {
            0 => Self { middle: self.middle + by, ..self },
            1 => Self { log_slope: self.log_slope + by, ..self },
            _ => Self { bend: self.bend + by, ..self },
        }
    }
}

fn softplus(value: f64) -> f64 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}

/// A stretch without a fault: a node of the baseline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// What was measured, as logarithm of throughput.
    pub(crate) stretch: Stretch,
    /// Standard deviation of the mean.
    pub(crate) error: f64,
    /// How far the baseline may have drifted since the node before.
    pub(crate) drift: f64,
}

/// A stretch with the fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    /// Logarithm of the severity.
    pub(crate) place: f64,
    /// What was measured, as logarithm of throughput.
    pub(crate) mean: f64,
    /// Standard deviation of the mean, with how far the curve is not to be believed there.
    pub(crate) error: f64,
    /// The nodes before and after it; the same twice if there is only one.
    pub(crate) nodes: (usize, usize),
}

/// One thing that the unknowns should agree with, divided by its standard deviation.
struct Row {
    rest: f64,
    gradient: Vec<(usize, f64)>,
}

/// The best curve, and how well it is known.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    /// The curve.
    pub(crate) curve: Curve,
    factor: Factor,
    unknowns: usize,
    /// By how much errors are larger than the noise of seconds explains.
    inflation: f64,
}

impl Fit {
    /// The best curve for these stretches. `range` is where the middle may lie.
    pub(crate) fn of(nodes: &[Node], probes: &[Probe], range: (f64, f64)) -> Option<Self> {
        let mut unknowns = first_guess(nodes, probes, range);
        let mut cost = cost_of(&rows(nodes, probes, &unknowns));
        let mut damping = 1e-3;
        for _ in 0..60 {
            let (matrix, slope) = normal_equations(&rows(nodes, probes, &unknowns), unknowns.len(), damping);
            let step = matrix.factor()?.solve(&slope);
            let moved: Vec<f64> = unknowns.iter().zip(&step).map(|(value, step)| value - step).collect();
            let new_cost = cost_of(&rows(nodes, probes, &moved));
            if new_cost > cost || !new_cost.is_finite() {
                damping *= 8.0;
                if damping > 1e8 {
                    break;
                }
                continue;
            }
            let gain = cost - new_cost;
            (unknowns, cost, damping) = (moved, new_cost, (damping / 4.0).max(1e-9));
            if gain < 1e-9 * (1.0 + cost) {
                break;
            }
        }
        let (matrix, _) = normal_equations(&rows(nodes, probes, &unknowns), unknowns.len(), 0.0);
        // Each probe adds one thing to agree with, the curve takes about two to describe.
        let freedom = (probes.len() as f64 - 2.0).max(1.0);
        let curve = Curve::from_unknowns(&unknowns);
        let inflation = (cost / freedom).max(1.0).sqrt();
        Some(Self { curve, factor: matrix.factor()?, unknowns: unknowns.len(), inflation })
    }

    /// The logarithm of the severity at which degradation is `level`, and its standard deviation.
    pub(crate) fn place_of(&self, level: f64) -> (f64, f64) {
        const STEP: f64 = 1e-5;
        let place = self.curve.place_of(level);
        let change = |index| (self.curve.moved(index, STEP).place_of(level) - place) / STEP;
        let gradient: Vec<f64> = (0..CURVE).map(change).collect();
        let mut right = gradient.clone();
        right.resize(self.unknowns, 0.0);
        let spread: f64 =
            self.factor.solve(&right).iter().zip(&gradient).map(|(one, other)| one * other).sum();
        (place, spread.max(0.0).sqrt() * self.inflation)
    }
}

/// The best of a coarse grid of curves, with the baseline as it was measured.
fn first_guess(nodes: &[Node], probes: &[Probe], range: (f64, f64)) -> Vec<f64> {
    let baseline: Vec<f64> = nodes.iter().map(|node| node.stretch.mean).collect();
    let with_baseline = |middle: f64, log_slope: f64| -> Vec<f64> {
        [middle, log_slope, 0.0].into_iter().chain(baseline.iter().copied()).collect()
    };
    let places = (0..=40).map(|step| range.0 + (range.1 - range.0) * f64::from(step) / 40.0);
    let curves = places.flat_map(|place| (-2..=8).map(move |slope| (place, f64::from(slope) * 0.5)));
    let guesses = curves.map(|(middle, log_slope)| with_baseline(middle, log_slope));
    let costs = guesses.map(|guess| (cost_of(&rows(nodes, probes, &guess)), guess));
    costs.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, guess)| guess).unwrap_or_default()
}

fn cost_of(rows: &[Row]) -> f64 {
    rows.iter().map(|row| row.rest * row.rest).sum()
}

/// Everything that the unknowns should agree with: the baseline as measured, that it drifts little, the
/// probes, and that curves are usually neither bent nor extremely flat or steep.
fn rows(nodes: &[Node], probes: &[Probe], unknowns: &[f64]) -> Vec<Row> {
    let at = |index: usize| unknowns.get(index).copied().unwrap_or(0.0);
    let mut rows = vec![
        Row { rest: at(2) / USUAL_BEND, gradient: vec![(2, 1.0 / USUAL_BEND)] },
        Row { rest: at(1) / 2.0, gradient: vec![(1, 0.5)] },
    ];
    for (index, node) in nodes.iter().enumerate() {
        let unknown = CURVE + index;
        let rest = (at(unknown) - node.stretch.mean) / node.error;
        rows.push(Row { rest, gradient: vec![(unknown, 1.0 / node.error)] });
        if index > 0 {
            let rest = (at(unknown) - at(unknown - 1)) / node.drift;
            let gradient = vec![(unknown, 1.0 / node.drift), (unknown - 1, -1.0 / node.drift)];
            rows.push(Row { rest, gradient });
        }
    }
    let curve = Curve::from_unknowns(unknowns);
    rows.extend(probes.iter().map(|probe| probe_row(curve, probe, &at)));
    rows
}

fn probe_row(curve: Curve, probe: &Probe, at: &impl Fn(usize) -> f64) -> Row {
    const STEP: f64 = 1e-5;
    let (before, after) = (CURVE + probe.nodes.0, CURVE + probe.nodes.1);
    let drop = curve.drop_at(probe.place);
    let change = |index| (curve.moved(index, STEP).drop_at(probe.place) - drop) / STEP;
    let half = 0.5 / probe.error;
    let mut gradient: Vec<(usize, f64)> =
        (0..CURVE).map(|index| (index, change(index) / probe.error)).collect();
    gradient.extend([(before, -half), (after, -half)]);
    Row { rest: (probe.mean - f64::midpoint(at(before), at(after)) + drop) / probe.error, gradient }
}

/// The linear equations for the next step, damped.
fn normal_equations(rows: &[Row], size: usize, damping: f64) -> (Matrix, Vec<f64>) {
    let mut matrix = Matrix::new(size);
    let mut right = vec![0.0; size];
    for row in rows {
        for (index, value) in &row.gradient {
            if let Some(cell) = right.get_mut(*index) {
                *cell += value * row.rest;
            }
            row.gradient.iter().for_each(|(other, factor)| matrix.add(*index, *other, value * factor));
        }
    }
    for index in 0..size {
        matrix.add(index, index, 1e-9 + damping * matrix.get(index, index));
    }
    (matrix, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_that_is_measured_exactly_is_found() {
        let truth = Curve { middle: -2.0, log_slope: 0.3, bend: 0.0 };
        let node = |_| Node { stretch: Stretch { mean: 5.0, seconds: 100.0 }, error: 1e-3, drift: 1e-3 };
        let nodes: Vec<Node> = (0..2).map(node).collect();
        let probe =
            |place: f64| Probe { place, mean: 5.0 - truth.drop_at(place), error: 1e-3, nodes: (0, 1) };
        let probes = [-4.0, -3.0, -2.5, -2.0, -1.0, 0.0].map(probe);
        let fit = Fit::of(&nodes, &probes, (-7.0, 0.0)).unwrap();
        for level in [0.1, 0.5] {
            let (place, error) = fit.place_of(level);
            assert!((place - truth.place_of(level)).abs() < 0.01 && error < 0.05, "{level}: {place} {error}");
        }
    }

    #[test]
    fn the_place_of_a_level_is_where_the_curve_has_it() {
        let curve = Curve { middle: -3.0, log_slope: 0.5, bend: 0.2 };
        for level in [0.1_f64, 0.3, 0.5] {
            let drop = curve.drop_at(curve.place_of(level));
            assert!((1.0 - (-drop).exp() - level).abs() < 1e-6, "{level}");
        }
    }
}
