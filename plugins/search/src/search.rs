//! The core of the search: which severity is probed next, and what all probes say.

use crate::fit::{Fit, Node, Probe};
use crate::noise::{Stretch, median, of_stretches};

/// Standard deviations of a 95 % confidence interval; a little more than 1.96, since the noise is estimated too.
const CONFIDENT: f64 = 2.1;

/// Standard deviations from which on a probe is taken to be clearly above or below a level.
const CLEAR: f64 = 3.0;

/// The search stops when intervals are this much narrower than asked for: looking again and again until an
/// interval is narrow favours those that are narrow by chance.
const MARGIN: f64 = 0.9;

/// More probes than this are not made.
const MOST_PROBES: usize = 120;

/// Probes in which the logarithm of throughput fell by more, to less than a tenth, only say "above".
const MOST_FITTED: f64 = 2.3;

/// So often severity 1 and the lowest are probed before they are said to be unclear.
const ATTEMPTS: usize = 4;

/// One of the two ends of a danger zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Degradation reaches 10 %.
    Ten,
    /// Degradation reaches 50 %.
    Fifty,
}

impl Level {
    /// Both, from the lower to the higher.
    pub const BOTH: [Self; 2] = [Self::Ten, Self::Fifty];

    /// The degradation, as a share.
    #[must_use]
    pub fn degradation(self) -> f64 {
        match self {
            Self::Ten => 0.1,
            Self::Fifty => 0.5,
        }
    }

    /// By how much the logarithm of throughput has fallen there.
    fn drop(self) -> f64 {
        -(-self.degradation()).ln_1p()
    }
}

/// What is searched, and how precisely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The lowest severity that is looked at, above 0 and below 1.
    pub lowest: f64,
    /// How far an estimate may be off, as a share of it.
    pub precision: f64,
    /// Fewest seconds of a probe.
    pub shortest: usize,
    /// Most seconds of a probe.
    pub longest: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { lowest: 0.001, precision: 0.05, shortest: 3, longest: 20 }
    }
}

/// Throughput of the seconds of one probe, in any unit that is the same in all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// Seconds without the fault before it. Empty if the seconds after the last probe are these, in the same
    /// run.
    pub before: Vec<f64>,
    /// Seconds with the fault.
    pub slow: Vec<f64>,
    /// Seconds without the fault after it; may be empty.
    pub after: Vec<f64>,
}

/// A severity with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The severity.
    pub severity: f64,
    /// It lies from here...
    pub low: f64,
    /// ...to here.
    pub high: f64,
}

impl Estimate {
    /// Half of the interval, as a share of the severity.
    #[must_use]
    pub fn uncertainty(&self) -> f64 {
        (self.high / self.low).ln() / 2.0
    }
}

/// What is known of where degradation reaches a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reached {
    /// Not enough has been measured yet.
    Unknown,
    /// Probes at an end of the range cannot tell on which side of the level they are: too much noise.
    Unclear,
    /// There.
    At(Estimate),
    /// Not even at severity 1.
    Never,
    /// Already at the lowest severity.
    BelowLowest,
}

/// A probe as it was recorded: logarithms of throughput.
#[derive(Debug, Clone)]
struct Record {
    place: f64,
    slow: Vec<f64>,
    nodes: (usize, usize),
}

/// Seconds without a fault as they were recorded.
#[derive(Debug, Clone)]
struct Normal {
    seconds: Vec<f64>,
    /// Seconds from the middle of the stretch before to the middle of this one; missing at the start of a run.
    since_last: Option<f64>,
}

/// What the probes at one severity say by themselves.
#[derive(Debug, Clone, Copy)]
struct Reading {
    place: f64,
    /// By how much the logarithm of throughput fell.
    drop: f64,
    /// Its standard deviation.
    error: f64,
    attempts: usize,
}

/// A search for both ends of a danger zone.
#[derive(Debug, Clone)]
pub struct Search {
    options: Options,
    records: Vec<Record>,
    normals: Vec<Normal>,
    readings: Vec<Reading>,
    noise: Noise,
    fit: Option<Fit>,
}

/// Standard deviation of one second.
#[derive(Debug, Clone, Copy)]
struct Noise {
    normal: f64,
    slow: f64,
}

impl Search {
    /// A search that has no probes yet.
    ///
    /// # Errors
    /// One line that says what cannot be.
    pub fn new(options: Options) -> Result<Self, String> {
        if !(options.lowest > 0.0 && options.lowest < 0.5) {
            return Err("the lowest severity is above 0 and below 0.5".to_owned());
        }
        if !(0.005..=0.5).contains(&options.precision) {
            return Err("the precision is between 0.5% and 50%".to_owned());
        }
        if options.shortest < 2 || options.longest < options.shortest {
            return Err(
                "a probe has at least 2 seconds, and its longest is not below its shortest".to_owned()
            );
        }
        let noise = Noise { normal: 0.05, slow: 0.05 };
        let (records, normals, readings) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { options, records, normals, readings, noise, fit: None })
    }

    /// The severity to be probed next; nothing if there is no more to be found out.
    #[must_use]
    pub fn next_probe(&self) -> Option<f64> {
        if self.records.len() >= MOST_PROBES {
            return None;
        }
        if self.readings.is_empty() {
            return Some(1.0);
        }
        // The level that is known worst, of those that can be known better.
        let open = Level::BOTH.into_iter().filter_map(|level| Some((level, self.openness(level)?)));
        let (level, _) = open.max_by(|one, other| one.1.total_cmp(&other.1))?;
        Some(self.place_for(level).clamp(self.options.lowest.ln(), 0.0).exp())
    }

    /// Takes what was measured at a severity. Samples without slow seconds, or without any normal ones yet, are
    /// left out.
    pub fn record(&mut self, severity: f64, samples: &Samples) {
        let usable = severity > 0.0 && !samples.slow.is_empty();
        if !usable || (samples.before.is_empty() && self.normals.is_empty()) {
            return;
        }
        if !samples.before.is_empty() {
            self.normals.push(Normal { seconds: logarithms(&samples.before), since_last: None });
        }
        let before = self.normals.len().saturating_sub(1);
        if !samples.after.is_empty() {
            let last = self.normals.last().map_or(0, |normal| normal.seconds.len());
            let apart = samples.slow.len() as f64 + (last + samples.after.len()) as f64 / 2.0;
            self.normals.push(Normal { seconds: logarithms(&samples.after), since_last: Some(apart) });
        }
        let nodes = (before, self.normals.len().saturating_sub(1));
        self.records.push(Record { place: severity.ln(), slow: logarithms(&samples.slow), nodes });
        self.look_at_everything();
    }

    /// How many probes have been recorded.
    #[must_use]
    pub fn probes(&self) -> usize {
        self.records.len()
    }

    /// Whether the probe that is being made at a severity has enough seconds: as soon as degradation is clearly
    /// on one side of both levels, or as well known as it need be.
    #[must_use]
    pub fn has_enough(&self, severity: f64, normal: &[f64], slow: &[f64]) -> bool {
        if slow.len() < self.options.shortest {
            return false;
        }
        if slow.len() >= self.options.longest {
            return true;
        }
        let base = Stretch::of(&logarithms(normal), self.noise.normal);
        let slow_now = logarithms(slow);
        let noise = of_stretches([slow_now.as_slice()].into_iter()).unwrap_or(0.0).max(self.noise.slow);
        let stretch = Stretch::of(&slow_now, noise);
        let drop = base.mean - stretch.mean;
        let error = self.noise.normal.hypot(noise) / base.seconds.min(stretch.seconds).sqrt();
        // Near the zone every second serves the fit.
        let in_zone = self.fit.is_some() && (0.03..1.2).contains(&drop);
        let is_clear = |level: Level| (drop - level.drop()).abs() > CLEAR * error;
        if !in_zone {
            return Level::BOTH.into_iter().all(is_clear);
        }
        let slope = self.fit.as_ref().map_or(1.0, |fit| fit.curve.slope());
        let degradation = -(-self.fit.as_ref().map_or(drop, |fit| fit.curve.drop_at(severity.ln()))).exp_m1();
        let place_error = noise / stretch.seconds.sqrt() / (slope * degradation.max(0.01));
        CONFIDENT * place_error < self.options.precision / 3.0
    }

    /// How many normal seconds are worth measuring after a probe of so many seconds.
    #[must_use]
    pub fn normal_seconds_after(&self, slow: usize) -> usize {
        (slow * 3 / 4).clamp(self.options.shortest, self.options.longest)
    }

    /// What is known of a level, from all probes.
    #[must_use]
    pub fn reached(&self, level: Level) -> Reached {
        let sides = self.sides(level);
        match sides.highest {
            None => return Reached::Unknown,
            Some(Side::Below) => return Reached::Never,
            Some(Side::Unclear { attempts }) if attempts >= ATTEMPTS => return Reached::Unclear,
            Some(_) => {}
        }
        match sides.lowest {
            Some(Side::Above) => return Reached::BelowLowest,
            Some(Side::Unclear { attempts }) if attempts >= ATTEMPTS => return Reached::Unclear,
            _ => {}
        }
        self.estimate(level).map_or(Reached::Unknown, Reached::At)
    }

    /// What is known of both levels, 10 % first.
    #[must_use]
    pub fn estimates(&self) -> [(Level, Reached); 2] {
        Level::BOTH.map(|level| (level, self.reached(level)))
    }

    /// Whether a level is known as precisely as asked for.
    #[must_use]
    pub fn is_precise(&self, level: Level) -> bool {
        match self.reached(level) {
            Reached::At(estimate) => estimate.uncertainty() <= self.options.precision,
            _ => false,
        }
    }

    /// The curve's estimate or the bracket's, whichever is narrower.
    fn estimate(&self, level: Level) -> Option<Estimate> {
        let fitted = self.fit.as_ref().map(|fit| fit.place_of(level.degradation()));
        let fitted = fitted.map(|(place, error)| (place, CONFIDENT * error));
        let (low, high) = self.bracket(level);
        let bracketed = low.zip(high).map(|(low, high)| (f64::midpoint(low, high), (high - low) / 2.0));
        let narrower = |one: &(f64, f64), other: &(f64, f64)| one.1.total_cmp(&other.1);
        let (place, half) = fitted.into_iter().chain(bracketed).min_by(narrower)?;
        Some(Estimate { severity: place.exp(), low: (place - half).exp(), high: (place + half).exp() })
    }

    /// How badly a level is known, in units of what is asked for; nothing if it need not be known better.
    fn openness(&self, level: Level) -> Option<f64> {
        match self.reached(level) {
            Reached::Unclear | Reached::Never | Reached::BelowLowest => None,
            Reached::Unknown => Some(f64::INFINITY),
            Reached::At(estimate) => {
                let openness = estimate.uncertainty() / self.options.precision;
                (openness > MARGIN).then_some(openness)
            }
        }
    }

    /// Where a level is probed next, as logarithm of the severity.
    fn place_for(&self, level: Level) -> f64 {
        if let Some(Side::Unclear { .. }) = self.sides(level).highest {
            return 0.0;
        }
        let lowest = self.options.lowest.ln();
        let (known_low, high) = self.bracket(level);
        let (low, high) = (known_low.unwrap_or(lowest), high.unwrap_or(0.0));
        let fitted = self.fit.as_ref().map(|fit| fit.place_of(level.degradation()).1 * CONFIDENT);
        if fitted.is_some_and(|half| half < (high - low) / 2.0 && half < 1.5) {
            return self.place_on_curve(level);
        }
        // Near the lowest severity it has to be looked at itself.
        if known_low.is_none() && high - low < 1.0 {
            return lowest;
        }
        let mut parts = [0.5, 0.3, 0.7, 0.4, 0.6, 0.2, 0.8].map(|part| low + (high - low) * part).into_iter();
        let is_new = |place: &f64| self.readings.iter().all(|reading| (reading.place - place).abs() > 0.01);
        parts.find(is_new).unwrap_or_else(|| f64::midpoint(low, high))
    }

    /// Where a probe says most of a level, by the curve. For 10 % that is a little above: there the noise is the
    /// same and the effect larger.
    fn place_on_curve(&self, level: Level) -> f64 {
        let turn = self.records.len() % 3;
        let wanted = match (level, turn) {
            (Level::Ten, 0) => 0.12,
            (Level::Ten, 1) => 0.15,
            (Level::Ten, _) => 0.18,
            (Level::Fifty, 0) => 0.45,
            (Level::Fifty, 1) => 0.5,
            (Level::Fifty, _) => 0.55,
        };
        self.fit.as_ref().map_or(0.0, |fit| fit.curve.place_of(wanted))
    }

    /// The closest severities that are clearly below and clearly above a level.
    fn bracket(&self, level: Level) -> (Option<f64>, Option<f64>) {
        let on = |side: fn(&Side) -> bool| {
            let places = self.readings.iter().filter(move |reading| side(&reading.side(level)));
            places.map(|reading| reading.place)
        };
        let high = on(|side| matches!(side, Side::Above)).min_by(f64::total_cmp);
        let is_lower = |place: &f64| high.is_none_or(|high| *place < high);
        let low = on(|side| matches!(side, Side::Below)).filter(is_lower).max_by(f64::total_cmp);
        (low, high)
    }

    /// On which side of a level severity 1 and the lowest are.
    fn sides(&self, level: Level) -> Sides {
        let at = |wanted: f64| {
            let mut found = self.readings.iter().filter(|reading| (reading.place - wanted).abs() < 1e-6);
            found.next().map(|reading| reading.side(level))
        };
        Sides { highest: at(0.0), lowest: at(self.options.lowest.ln()) }
    }

    fn look_at_everything(&mut self) {
        let normal = of_stretches(self.normals.iter().map(|normal| normal.seconds.as_slice()));
        let slow = of_stretches(self.records.iter().map(|record| record.slow.as_slice()));
        let normal = normal.or(slow).unwrap_or(0.05);
        self.noise = Noise { normal, slow: slow.unwrap_or(normal) };
        let nodes: Vec<Node> = self.normals.iter().map(|normal| self.node(normal)).collect();
        let probes: Vec<(Probe, Reading)> = self.records.iter().map(|one| self.probe(one, &nodes)).collect();
        self.readings = pooled(probes.iter().map(|(_, reading)| *reading));
        let in_zone = |reading: &Reading| (0.03..1.6).contains(&reading.drop) && reading.error < 0.15;
        let can_fit = self.readings.iter().filter(|reading| in_zone(reading)).count() >= 2;
        // Of a system that hardly works the curve says nothing.
        let works = |(probe, reading): (Probe, Reading)| (reading.drop < MOST_FITTED).then_some(probe);
        let probes: Vec<Probe> = probes.into_iter().filter_map(works).collect();
        let range = (self.options.lowest.ln(), 0.0);
        self.fit = if can_fit { Fit::of(&nodes, &probes, range) } else { None };
    }

    fn node(&self, normal: &Normal) -> Node {
        // The baseline may wander by as much as a tenth of a second's noise in a second; between runs by more.
        const WANDER: f64 = 0.07;
        const BETWEEN_RUNS: f64 = 20.0;
        let stretch = Stretch::of(&normal.seconds, self.noise.normal);
        let error = self.noise.normal / stretch.seconds.sqrt();
        let drift = self.noise.normal * normal.since_last.map_or(BETWEEN_RUNS, |apart| WANDER * apart.sqrt());
        Node { stretch, error, drift }
    }

    fn probe(&self, record: &Record, nodes: &[Node]) -> (Probe, Reading) {
        let own_noise = of_stretches([record.slow.as_slice()].into_iter()).unwrap_or(0.0);
        // A fault may make seconds noisier at one severity than at others.
        let noise = self.noise.slow.max(if record.slow.len() > 5 { own_noise * 0.7 } else { 0.0 });
        let stretch = Stretch::of(&record.slow, noise);
        let slow_error = noise / stretch.seconds.sqrt();
        let base = nodes.get(record.nodes.0..=record.nodes.1).unwrap_or_default();
        let count = base.len().max(1) as f64;
        let mean = base.iter().map(|node| node.stretch.mean).sum::<f64>() / count;
        let base_error = base.iter().map(|node| node.error * node.error).sum::<f64>().sqrt() / count;
        let drop = mean - stretch.mean;
        // Far above the zone the curve need not be a good description.
        let unbelieved = 0.1 * (drop - 1.2).max(0.0);
        let error = slow_error.hypot(unbelieved);
        let probe = Probe { place: record.place, mean: stretch.mean, error, nodes: record.nodes };
        let error = slow_error.hypot(base_error);
        (probe, Reading { place: record.place, drop, error, attempts: 1 })
    }
}

/// On which side of a level a reading is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Below,
    Unclear { attempts: usize },
    Above,
}

struct Sides {
    highest: Option<Side>,
    lowest: Option<Side>,
}

impl Reading {
    fn side(&self, level: Level) -> Side {
        let distance = (self.drop - level.drop()) / self.error;
        if distance > CLEAR {
            Side::Above
        } else if distance < -CLEAR {
            Side::Below
        } else {
            Side::Unclear { attempts: self.attempts }
        }
    }

    /// Both readings of one severity together.
    fn and(&self, other: &Self) -> Self {
        let weights = (self.error.powi(-2), other.error.powi(-2));
        let sum = weights.0 + weights.1;
        let drop = (self.drop * weights.0 + other.drop * weights.1) / sum;
        Self { place: self.place, drop, error: sum.powf(-0.5), attempts: self.attempts + other.attempts }
    }
}

/// One reading for each severity.
fn pooled(readings: impl Iterator<Item = Reading>) -> Vec<Reading> {
    readings.fold(Vec::new(), |mut pooled: Vec<Reading>, reading| {
        match pooled.iter_mut().find(|known| (known.place - reading.place).abs() < 1e-6) {
            Some(known) => *known = known.and(&reading),
            None => pooled.push(reading),
        }
        pooled
    })
}

/// Logarithms of throughput. A second without any operation counts as a thousandth of the usual.
fn logarithms(throughput: &[f64]) -> Vec<f64> {
    let floor = (median(throughput.to_vec()) / 1000.0).max(1e-6);
    throughput.iter().map(|value| value.max(floor).ln()).collect()
}
