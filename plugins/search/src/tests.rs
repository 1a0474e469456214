//! The search against simulated systems with a planted danger zone.

use super::*;

/// The tenth of a grid's cost is what the search may take.
const BUDGET: u32 = GRID_SECONDS / 10;

/// Random numbers for the simulation (SplitMix64).
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// How a simulated system degrades.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Logistic in the logarithm of the severity: where it is 50 %, and over how much it spreads.
    Logistic { fifty: f64, spread: f64 },
    /// As 1 − exp(−(severity / scale)^power): no logistic, and steeper above than below.
    Saturating { scale: f64, power: f64 },
    /// Not at all.
    Flat,
    /// Nothing below a severity and 90 % from there on.
    Cliff(f64),
}

impl Shape {
    fn degradation(self, severity: f64) -> f64 {
        match self {
            _ if severity <= 0.0 => 0.0,
            Self::Logistic { fifty, spread } => 1.0 / (1.0 + (-(severity / fifty).ln() / spread).exp()),
            Self::Saturating { scale, power } => -(-(severity / scale).powf(power)).exp_m1(),
            Self::Flat => 0.0,
            Self::Cliff(edge) => {
                if severity < edge {
                    0.0
                } else {
                    0.9
                }
            }
        }
    }

    fn truth(self, level: Level) -> f64 {
        match self {
            Self::Logistic { fifty, .. } if level == Level::Fifty => fifty,
            Self::Logistic { fifty, spread } => fifty * (spread * (1.0_f64 / 9.0).ln()).exp(),
            Self::Saturating { scale, power } => scale * (-(-level.degradation()).ln_1p()).powf(1.0 / power),
            Self::Cliff(edge) => edge,
            Self::Flat => f64::NAN,
        }
    }
}

struct System {
    dice: Dice,
    shape: Shape,
    noise: f64,
    drift: f64,
    wave: f64,
    outliers: f64,
    /// What still works from the second before.
    lasting: f64,
    /// Seconds that an outage lasts after the fault degraded by more than 90 %, and how many are left.
    outage: (u32, u32),
    /// How much of a second's noise stays in the next one.
    memory: f64,
    last_noise: f64,
}

impl System {
    fn second(&mut self, number: u32, severity: f64) -> f64 {
        // A part of the second sees what held before, and the system takes a second to follow.
        let degradation = self.lasting * 0.2 + self.shape.degradation(severity) * 0.8;
        self.lasting = self.shape.degradation(severity);
        let time = f64::from(number) / f64::from(BUDGET);
        let base = 1300.0 * (1.0 + self.drift * time + self.wave * (time * 9.0).sin());
        let outlier = if self.dice.uniform() < self.outliers { self.dice.between(0.2, 0.8) } else { 1.0 };
        if degradation > 0.9 {
            self.outage.1 = self.outage.0;
        } else if self.outage.1 > 0 {
            self.outage.1 -= 1;
        }
        let works = if self.outage.1 > 0 { 0.0 } else { 1.0 };
        let fresh = (1.0 - self.memory * self.memory).sqrt() * self.dice.normal();
        self.last_noise = self.memory * self.last_noise + fresh;
        let noise = 1.0 + self.noise * self.last_noise;
        (base * (1.0 - degradation) * noise * outlier * works).max(0.0)
    }
}

/// Any zone that fits between the lowest severity and 1.
fn any_system(seed: u64, largest_spread: f64) -> System {
    let mut dice = Dice(seed);
    let spread = dice.between(0.05, largest_spread);
    let width = 9.0_f64.ln() * spread;
    let fifty = dice.between(0.0015_f64.ln() + width, 0.7_f64.ln()).exp();
    let shape = Shape::Logistic { fifty, spread };
    let (noise, drift) = (dice.between(0.02, 0.03), dice.between(-0.1, 0.1));
    System {
        shape,
        noise,
        drift,
        wave: 0.01,
        outliers: 0.01,
        lasting: 0.0,
        outage: (0, 0),
        memory: 0.0,
        last_noise: 0.0,
        dice,
    }
}

fn search(system: &mut System, budget: u32) -> OneRun {
    let mut run = OneRun::new(Search::new(Options::default()).unwrap(), Timing::default(), 0);
    for number in 0..budget {
        let severity = match run.action() {
            Action::End => break,
            Action::Normal => 0.0,
            Action::Fault(severity) => severity,
        };
        let throughput = system.second(number, severity);
        run.second(number, throughput, number + 1);
    }
    run
}

fn at(run: &OneRun, level: Level) -> Option<Estimate> {
    match run.search().reached(level) {
        Reached::At(estimate) => Some(estimate),
        _ => None,
    }
}

/// Counts of many seeds.
#[derive(Debug, Default)]
struct Score {
    both_found: usize,
    covered: [usize; 2],
    seconds: Vec<u32>,
}

fn score(seeds: u64, system: impl Fn(u64) -> System) -> Score {
    let mut score = Score::default();
    for seed in 0..seeds {
        let mut system = system(seed);
        let run = search(&mut system, BUDGET);
        let mut both = true;
        for (index, level) in Level::BOTH.into_iter().enumerate() {
            let truth = system.shape.truth(level);
            let estimate = at(&run, level);
            both &= estimate.is_some_and(|found| (found.severity / truth - 1.0).abs() <= 0.05);
            let covers = |found: Estimate| (found.low..=found.high).contains(&truth);
            score.covered[index] += usize::from(estimate.is_some_and(covers));
        }
        score.both_found += usize::from(both);
        score.seconds.push(run.seconds_used());
    }
    score.seconds.sort_unstable();
    score
}

/// Zones up to as wide as that of a client who waits for one delayed answer at a time: spread 1, a factor of 9.
#[test]
fn both_ends_are_found_within_5_percent_in_a_tenth_of_the_grids_time() {
    let score = score(200, |seed| any_system(seed, 1.0));
    let (median, most) = (score.seconds[100], score.seconds[199]);
    println!("{} of 200, covered {:?}, {median} s, at most {most} s", score.both_found, score.covered);
    assert!(score.both_found >= 190, "found {}", score.both_found);
    assert!(score.covered.iter().all(|covered| *covered >= 180), "covered {:?}", score.covered);
    assert!(most <= BUDGET, "{most} s");
}

#[test]
fn narrow_zones_take_far_less_than_the_budget() {
    let score = score(100, |seed| any_system(seed, 0.3));
    assert!(score.both_found >= 95 && score.seconds[50] < 250, "{score:?}");
}

#[test]
fn a_curve_that_is_no_logistic_is_followed() {
    let shape = |seed: u64| Shape::Saturating { scale: 0.2, power: 1.0 + (seed % 20) as f64 / 10.0 };
    let score = score(100, |seed| System { shape: shape(seed), ..any_system(seed, 1.0) });
    assert!(score.both_found >= 85, "found {}", score.both_found);
    assert!(score.covered.iter().all(|covered| *covered >= 90), "covered {:?}", score.covered);
}

/// One run a probe: each brings its own baseline, which differs from run to run.
#[test]
fn probes_can_be_runs_of_their_own() {
    let mut system = System { drift: 0.0, wave: 0.0, ..any_system(3, 0.5) };
    let mut search = Search::new(Options { precision: 0.1, ..Options::default() }).unwrap();
    let mut runs = 0;
    while let Some(severity) = search.next_probe().filter(|_| runs < 60) {
        let level_of_run = system.dice.between(0.9, 1.1);
        let mut seconds = |severity: f64, count: u32| -> Vec<f64> {
            system.lasting = system.shape.degradation(severity);
            (0..count).map(|number| system.second(number, severity) * level_of_run).collect()
        };
        let (before, slow, after) = (seconds(0.0, 20), seconds(severity, 20), seconds(0.0, 20));
        search.record(severity, &Samples { before, slow, after });
        runs += 1;
    }
    assert!(runs < 40, "{runs}");
    for level in Level::BOTH {
        let Reached::At(found) = search.reached(level) else { panic!("{level:?}") };
        assert!((found.severity / system.shape.truth(level) - 1.0).abs() < 0.1, "{level:?} {found:?}");
    }
}

/// After the strongest probes the cluster is gone for longer than recovery is waited for.
#[test]
fn a_system_that_takes_long_to_come_back_does_not_lead_astray() {
    let score = score(100, |seed| System { outage: (18, 0), ..any_system(seed, 0.6) });
    assert!(score.both_found >= 95 && score.covered.iter().all(|covered| *covered >= 90), "{score:?}");
}

/// Seconds of real systems resemble the ones before them.
#[test]
fn noise_that_lasts_does_not_lead_astray() {
    let score = score(100, |seed| System { memory: 0.3, ..any_system(seed, 0.6) });
    assert!(score.both_found >= 93 && score.covered.iter().all(|covered| *covered >= 90), "{score:?}");
}

/// A fault that degrades by a quarter at most reaches one level and not the other.
#[test]
fn a_level_that_is_not_reached_does_not_keep_the_other_from_being_found() {
    let shape = Shape::Logistic { fifty: 2.0, spread: 0.5 };
    let mut system = System { shape, ..any_system(5, 1.0) };
    let run = search(&mut system, BUDGET);
    let found = at(&run, Level::Ten).unwrap();
    assert!((found.severity / shape.truth(Level::Ten) - 1.0).abs() < 0.05, "{found:?}");
    assert_eq!(run.search().reached(Level::Fifty), Reached::Never);
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (lowest, precision, shortest) in [(0.0, 0.05, 3), (0.5, 0.05, 3), (0.1, 0.0, 3), (0.1, 0.05, 21)] {
        assert!(Search::new(Options { lowest, precision, shortest, longest: 20 }).is_err());
    }
}

#[test]
fn a_system_without_throughput_ends_the_search() {
    let mut run = OneRun::new(Search::new(Options::default()).unwrap(), Timing::default(), 0);
    let actions: Vec<Action> = (0..10).map(|number| run.second(number, 0.0, number + 1)).collect();
    assert_eq!(actions.last(), Some(&Action::End));
}

#[test]
fn a_flat_system_has_no_zone_and_takes_little_time() {
    let mut system = System { shape: Shape::Flat, ..any_system(1, 1.0) };
    let run = search(&mut system, BUDGET);
    assert_eq!(run.search().estimates().map(|(_, reached)| reached), [Reached::Never; 2]);
    assert!(run.action() == Action::End && run.seconds_used() < 60, "{}", run.seconds_used());
}

#[test]
fn a_zone_below_the_lowest_severity_is_told() {
    let shape = Shape::Logistic { fifty: 0.0001, spread: 0.2 };
    let run = search(&mut System { shape, ..any_system(1, 1.0) }, BUDGET);
    assert_eq!(run.search().estimates().map(|(_, reached)| reached), [Reached::BelowLowest; 2]);
    assert_eq!(run.action(), Action::End);
}

#[test]
fn a_cliff_is_found() {
    for seed in 0..20 {
        let edge = Dice(seed).between(0.003_f64.ln(), -0.1).exp();
        let run = search(&mut System { shape: Shape::Cliff(edge), ..any_system(seed, 1.0) }, BUDGET);
        for level in Level::BOTH {
            let found = at(&run, level).unwrap();
            assert!((found.severity / edge - 1.0).abs() < 0.05, "{edge}: {found:?}");
        }
        assert!(run.action() == Action::End && run.seconds_used() < 250, "{}", run.seconds_used());
    }
}

#[test]
fn noise_in_which_nothing_can_be_seen_is_told() {
    for seed in 0..20 {
        let mut system = System { noise: 0.6, ..any_system(seed, 1.0) };
        let run = search(&mut system, BUDGET);
        assert!(Level::BOTH.into_iter().all(|level| !run.search().is_precise(level)), "{seed}");
    }
}
