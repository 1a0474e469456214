//! How many packets are lost of those that should be.

use std::time::Duration;

use faultd_kernel::datapath::{Effects, HoldingKind, Hook, Loss};
use faultd_testkit::{
    flight::{Flight, fits},
    rules::{delayed, rule},
};

use crate::{Bench, Target};

const LOST_AMONG: u32 = 100_000;

pub(crate) fn measure(bench: &mut Bench) {
    let devices: Vec<Option<HoldingKind>> =
        std::iter::once(None).chain(bench.kinds().into_iter().map(Some)).collect();
    for device in devices {
        for ratio in [0.2, 0.01] {
            share(bench, device, ratio);
        }
    }
}

fn share(bench: &mut Bench, device: Option<HoldingKind>, ratio: f64) {
    let held = device.map_or_else(Effects::default, |_kind| delayed(1));
    let effects = Effects { loss: Some(Loss::Random(ratio)), ..held };
    let plan = rule(&bench.hosts.left, Hook::Ingress, effects, device);
    let id = bench.datapath.add_rule(plan).expect("a rule").id;
    let flight = Flight { count: LOST_AMONG, interval: Duration::ZERO, quiet: Duration::from_millis(300) };
    let arrived = flight.run(&bench.hosts.left, &bench.hosts.right).len();
    let counters = bench.datapath.remove_rule(id).expect("removed").report.counters;
    let arrived = u64::try_from(arrived).expect("a count");
    // What neither arrived nor was dropped on purpose was lost by the way.
    let unasked = counters.matched.saturating_sub(counters.dropped).saturating_sub(arrived);
    let inside = fits(counters.dropped, counters.matched, ratio) && counters.unintended == 0;
    let found = counters.dropped as f64 / counters.matched as f64;
    let by = device.map_or("ebpf".to_owned(), |kind| kind.to_string());
    let name = format!("{by}, loss {ratio}: lost of {} (1 = inside 99.9 %)", counters.matched);
    bench.note(format!("{name}: {found:.5}"), f64::from(u8::from(inside)), "", Some(Target::AtLeast(1.0)));
    bench.note(
        format!("{by}, loss {ratio}: lost unasked, uncounted"),
        uncounted(unasked, counters.unintended),
        "",
        Some(Target::AtMost(0.0)),
    );
}

fn uncounted(unasked: u64, counted: u64) -> f64 {
    unasked.saturating_sub(counted) as f64
}
