//! How much longer than asked for packets take: from end to end, and inside of the kernel.

use std::time::Duration;

use faultd_kernel::datapath::{HoldingKind, Hook};
use faultd_testkit::{
    measure::EchoServer,
    rules::{delayed, rule},
};

use crate::{Bench, Target, quantile, yardstick::Yardstick};

const DELAYS_MS: [u64; 4] = [0, 1, 10, 100];

pub(crate) fn measure(bench: &mut Bench) {
    for milliseconds in DELAYS_MS {
        let base = base(bench, milliseconds);
        for kind in bench.kinds() {
            by_rule(bench, kind, milliseconds, base);
        }
        by_yardstick(bench, milliseconds, base);
    }
    compare_with_netem(bench);
}

/// Fewer where each of them takes long.
fn trips(milliseconds: u64) -> u32 {
    if milliseconds > 50 { 60 } else { 250 }
}

/// The median round trip without a rule on a machine that rests meanwhile for as long as the delay that is
/// to come: one that rests for longer takes longer to wake.
fn base(bench: &Bench, milliseconds: u64) -> f64 {
    let server = EchoServer::start(&bench.hosts.right);
    let rest = Duration::from_millis(milliseconds);
    let trips = server.round_trips_with_rests(&bench.hosts.left, trips(milliseconds), rest);
    quantile(&seconds(&trips), 0.5)
}

fn seconds(trips: &[Duration]) -> Vec<f64> {
    trips.iter().map(Duration::as_secs_f64).collect()
}

fn by_rule(bench: &mut Bench, kind: HoldingKind, milliseconds: u64, base: f64) {
    let plan = rule(&bench.hosts.left, Hook::Ingress, delayed(milliseconds), Some(kind));
    let id = bench.datapath.add_rule(plan).expect("a rule").id;
    let errors = errors(bench, milliseconds, base);
    let report = bench.datapath.remove_rule(id).expect("removed").report;
    let bound = |bound| is_bound(bench, kind, milliseconds).then_some(Target::AtMost(bound));
    let bounds = [bound(60.0), bound(300.0)];
    let name = format!("{kind}, {milliseconds} ms: round trip later than asked");
    note_errors(bench, &name, &errors, bounds);
    let Some(lateness) = report.delay.map(|delay| delay.lateness) else { return };
    for (words, ratio, bound) in [("half", 0.5, bounds[0]), ("99 of 100", 0.99, bounds[1])] {
        let late = lateness.quantile(ratio).unwrap_or_default().as_secs_f64() * 1e6;
        bench.note(format!("{kind}, {milliseconds} ms: left later than due, {words}"), late, "us", bound);
    }
}

/// The bounds are for the relay on the machine's own kernel; elsewhere they are only shown.
fn is_bound(bench: &Bench, kind: HoldingKind, milliseconds: u64) -> bool {
    kind == HoldingKind::Relay && milliseconds > 0 && bench.kinds().len() == 1
}

/// netem on the sender's own interface, as everybody does it.
fn by_yardstick(bench: &mut Bench, milliseconds: u64, base: f64) {
    let delay = Duration::from_millis(milliseconds);
    let Some(_netem) = Yardstick::delay(&bench.capabilities, &bench.hosts.left, delay) else { return };
    let errors = errors(bench, milliseconds, base);
    let name = format!("netem itself, {milliseconds} ms: round trip later than asked");
    note_errors(bench, &name, &errors, [None, None]);
}

fn errors(bench: &Bench, milliseconds: u64, base: f64) -> Vec<f64> {
    let server = EchoServer::start(&bench.hosts.right);
    let asked = milliseconds as f64 / 1e3;
    let trips = server.round_trips(&bench.hosts.left, trips(milliseconds));
    seconds(&trips).into_iter().map(|trip| (trip - base - asked) * 1e6).collect()
}

fn note_errors(bench: &mut Bench, name: &str, errors: &[f64], [half, most]: [Option<Target>; 2]) {
    bench.note(format!("{name}, half"), quantile(errors, 0.5), "us", half);
    bench.note(format!("{name}, 99 of 100"), quantile(errors, 0.99), "us", most);
    bench.note(format!("{name}, all"), quantile(errors, 1.0), "us", None);
}

/// An error counts by its size, early or late.
fn compare_with_netem(bench: &mut Bench) {
    for milliseconds in [10, 100] {
        let of = |who: &str| {
            bench.value(&format!("{who}, {milliseconds} ms: round trip later than asked, half")).map(f64::abs)
        };
        if let (Some(ours), Some(netem)) = (of("edt"), of("netem itself")) {
            let name = format!("edt / netem itself at {milliseconds} ms: median error");
            bench.note(name, ours / netem, "", Some(Target::AtMost(1.0)));
        }
    }
}
