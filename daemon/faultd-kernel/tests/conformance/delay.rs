//! Delay, jitter and reordering.

use std::{sync::Arc, time::Duration};

use faultd_kernel::datapath::{Delay, Distribution, Effects, Jitter, Reorder, RulePlan};
use faultd_testkit::{
    flight::{Arrival, Flight, correlation, fits, in_order, moments},
    rules::delayed,
};

use crate::{flight, on_every_backend};

/// Delays may be longer on a busy machine, never shorter.
const LATE_MS: f64 = 150.0;

fn jittered(base_ms: u64, spread_ms: u64, distribution: Distribution, correlation: f64) -> Effects {
    let spread = Duration::from_millis(spread_ms);
    let jitter = Some(Jitter { spread, distribution, correlation });
    let delay = Some(Delay { base: Duration::from_millis(base_ms), jitter });
    Effects { delay, may_reorder: true, ..Effects::default() }
}

fn percentile(arrivals: &[Arrival], percent: usize) -> f64 {
    let mut delays: Vec<Duration> = arrivals.iter().map(|arrival| arrival.delay).collect();
    delays.sort_unstable();
    delays[(delays.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

#[test]
fn every_packet_is_late_by_the_delay_and_in_order() {
    on_every_backend("delay", &delayed(20), |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(delayed(20), Some(kind)), flight(300, 1000));
        assert_eq!(arrivals.len(), 300, "{counters:?}");
        assert!(in_order(&arrivals));
        let earliest = arrivals.iter().map(|arrival| arrival.delay).min().unwrap();
        let middle = percentile(&arrivals, 50);
        println!("  earliest {earliest:?}, median {middle:.3} ms");
        assert!(earliest >= Duration::from_millis(20), "{earliest:?}");
        assert!(middle < 20.0 + LATE_MS, "{middle} ms");
        assert_eq!((counters.delayed, counters.returned, counters.unintended), (300, 300, 0));
    });
}

#[test]
fn delays_below_a_millisecond_and_beyond_ten_seconds_are_delays_too() {
    let short = |base| Effects { delay: Some(Delay { base, jitter: None }), ..Effects::default() };
    on_every_backend("short and long delay", &delayed(1), |scene, kind| {
        let short = short(Duration::from_micros(200));
        let (arrivals, _counters) = scene.fly(scene.plan(short, Some(kind)), flight(200, 500));
        let earliest = arrivals.iter().map(|arrival| arrival.delay).min().unwrap();
        assert!(earliest >= Duration::from_micros(200), "{earliest:?}");
        // A naive fq drops what waits for more than ten seconds.
        let rule = scene.datapath.add_rule(scene.plan(delayed(11_000), Some(kind))).expect("a rule").id;
        let mut long = flight(5, 1000);
        long.quiet = Duration::from_secs(14);
        let arrivals = long.run(&scene.hosts.left, &scene.hosts.right);
        assert_eq!(arrivals.len(), 5, "{:?}", scene.datapath.report(rule));
        assert!(arrivals.iter().all(|arrival| arrival.delay >= Duration::from_secs(11)));
        scene.datapath.remove_rule(rule).expect("removed");
    });
}

#[test]
fn what_was_really_added_is_measured_by_the_programs() {
    on_every_backend("proof", &delayed(30), |scene, kind| {
        let rule = scene.datapath.add_rule(scene.plan(delayed(30), Some(kind))).expect("a rule").id;
        flight(200, 1000).run(&scene.hosts.left, &scene.hosts.right);
        let report = scene.datapath.remove_rule(rule).expect("removed").report;
        let delay = report.delay.expect("measured");
        println!("  {} packets, mean {:?}, late {:?}", delay.count, delay.mean, delay.mean_lateness);
        assert_eq!(delay.count, 200);
        assert_eq!(delay.early, 0);
        assert!(
            delay.mean >= Duration::from_millis(30) && delay.mean < Duration::from_millis(55),
            "{delay:?}"
        );
        let median = delay.lateness.quantile(0.5).expect("counted");
        assert!(median < Duration::from_millis(100), "{median:?}");
        assert!(report.first_affected_at_ns.is_some());
    });
}

#[test]
fn jitter_has_the_shape_that_was_asked_for() {
    // Half of what lies between the 16th and the 84th of a hundred: the deviation, for a normal distribution.
    // What a busy machine adds to a few packets does not count.
    let cases = [
        (Distribution::Normal, 8.0),
        (Distribution::Uniform, 8.0 * 0.68),
        (Distribution::Measured(Arc::from([-1.0, -1.0, 1.0, 1.0])), 8.0),
    ];
    for (distribution, expected) in cases {
        let effects = jittered(60, 8, distribution.clone(), 0.0);
        on_every_backend("jitter", &effects, |scene, kind| {
            let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(1500, 700));
            let middle = percentile(&arrivals, 50);
            let spread = (percentile(&arrivals, 84) - percentile(&arrivals, 16)) / 2.0;
            println!("  {distribution:?}: median {middle:.2} ms, spread {spread:.2} ms");
            assert_eq!(arrivals.len(), 1500, "{counters:?}");
            assert!((50.0..61.0 + LATE_MS).contains(&middle), "{middle} ms");
            assert!((expected * 0.8..expected + LATE_MS).contains(&spread), "{spread} ms");
            assert!(!in_order(&arrivals), "this much jitter reorders where it may");
        });
    }
}

#[test]
fn jitter_keeps_the_order_unless_it_may_reorder() {
    let effects = Effects { may_reorder: false, ..jittered(30, 10, Distribution::Normal, 0.0) };
    on_every_backend("jitter in order", &effects, |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(1000, 3000));
        assert_eq!(arrivals.len(), 1000, "{counters:?}");
        assert!(in_order(&arrivals));
        let (_mean, deviation) = moments(&arrivals);
        assert!(deviation > 1.0, "{deviation} ms");
    });
}

#[test]
fn correlated_jitter_is_correlated() {
    let effects = jittered(60, 8, Distribution::Normal, 0.9);
    on_every_backend("correlated jitter", &effects, |scene, kind| {
        // Further apart than the jitter of neighbours, so that the order of arrival is that of sending.
        let (mut arrivals, _counters) =
            scene.fly(scene.plan(effects.clone(), Some(kind)), flight(1500, 1000));
        arrivals.sort_by_key(|arrival| arrival.number);
        let (_mean, deviation) = moments(&arrivals);
        let found = correlation(&arrivals);
        println!("  deviation {deviation:.2} ms, correlation {found:.3}");
        assert!(deviation > 5.0, "{deviation} ms");
        assert!((0.5..0.999).contains(&found), "{found}");
    });
}

#[test]
fn a_share_of_packets_overtakes_those_that_wait() {
    // What is ahead has not waited at all, but for what a slow machine's relay adds.
    const WAIT_MS: u64 = 400;
    let reorder = Some(Reorder { ratio: 0.25, gap: 1 });
    let effects = Effects { reorder, ..delayed(WAIT_MS) };
    on_every_backend("reorder", &effects, |scene, kind| {
        let flight = Flight { quiet: Duration::from_secs(1), ..flight(1000, 2000) };
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight);
        let waited = |arrival: &&Arrival| arrival.delay >= Duration::from_millis(WAIT_MS);
        let ahead = (arrivals.len() - arrivals.iter().filter(waited).count()) as u64;
        println!("  {ahead} of {} ahead", arrivals.len());
        assert_eq!(arrivals.len(), 1000);
        assert!(fits(ahead, 1000, 0.25), "{ahead} of 1000 ahead, {counters:?}");
        assert!(!in_order(&arrivals));
    });
}

#[test]
fn the_same_seed_gives_the_same_packets_the_same_jitter() {
    // Far more than what a busy machine adds.
    let effects = jittered(300, 60, Distribution::Normal, 0.0);
    let rank = |delays: &[Arrival]| {
        let mut longest: Vec<_> = delays.iter().map(|arrival| (arrival.delay, arrival.number)).collect();
        longest.sort();
        longest
            .into_iter()
            .rev()
            .take(30)
            .map(|(_delay, number)| number)
            .collect::<std::collections::BTreeSet<_>>()
    };
    on_every_backend("seeded jitter", &effects, |scene, kind| {
        if kind == faultd_kernel::datapath::HoldingKind::Netem {
            return println!("  netem draws for itself");
        }
        let run = |seed| {
            let plan = RulePlan { seed, ..scene.plan(effects.clone(), Some(kind)) };
            rank(&scene.fly(plan, Flight { quiet: Duration::from_secs(1), ..flight(300, 1000) }).0)
        };
        let (first, again, other) = (run(1), run(1), run(2));
        let same = first.intersection(&again).count();
        println!(
            "  {same} of the 30 longest are the same, {} with another seed",
            first.intersection(&other).count()
        );
        assert!(same >= 15, "{same} of the 30 longest delays are the same");
        assert!(first.intersection(&other).count() < 13);
    });
}
