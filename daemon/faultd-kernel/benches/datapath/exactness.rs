//! How much longer than asked for a round trip takes, and how many packets are lost of those that should be.

use std::time::Duration;

use faultd_kernel::datapath::{Effects, HoldingKind, Hook, Loss};
use faultd_testkit::{
    flight::{Flight, fits},
    measure::EchoServer,
    rules::{delayed, holding_kinds, rule},
};

use crate::{Bench, Target, quantile};

const TRIPS: u32 = 200;
const LOST_AMONG: u32 = 100_000;

pub(crate) fn measure(bench: &mut Bench) {
    for kind in holding_kinds(&bench.capabilities) {
        for milliseconds in [1, 10, 100] {
            delay_error(bench, kind, milliseconds);
        }
    }
    for kind in holding_kinds(&bench.capabilities) {
        for ratio in [0.2, 0.01] {
            loss_share(bench, kind, ratio);
        }
    }
}

fn delay_error(bench: &mut Bench, kind: HoldingKind, milliseconds: u64) {
    let server = EchoServer::start(&bench.hosts.right);
    let trips = if milliseconds > 50 { TRIPS / 4 } else { TRIPS };
    let base = server.median_round_trip(&bench.hosts.left, trips).as_secs_f64();
    let plan = rule(&bench.hosts.left, Hook::Ingress, delayed(milliseconds), Some(kind));
    let id = bench.datapath.add_rule(plan).expect("a rule").id;
    let asked = milliseconds as f64 / 1e3;
    let trips = server.round_trips(&bench.hosts.left, trips);
    let errors: Vec<f64> = trips.into_iter().map(|trip| (trip.as_secs_f64() - base - asked) * 1e6).collect();
    bench.datapath.remove_rule(id).expect("removed");
    // The bounds are for the relay on an idle host with TCX; elsewhere they are only shown.
    let is_bound = kind == HoldingKind::Relay && holding_kinds(&bench.capabilities).len() == 1;
    let target = |bound| is_bound.then_some(Target::AtMost(bound));
    let name = format!("{kind}, {milliseconds} ms: error of the delay");
    bench.note(format!("{name}, half"), quantile(&errors, 0.5), "us", target(60.0));
    bench.note(format!("{name}, 99 of 100"), quantile(&errors, 0.99), "us", target(300.0));
}

fn loss_share(bench: &mut Bench, kind: HoldingKind, ratio: f64) {
    let effects = Effects { loss: Some(Loss::Random(ratio)), ..delayed(1) };
    let id = bench.datapath.add_rule(rule(&bench.hosts.left, Hook::Ingress, effects, Some(kind)));
    let id = id.expect("a rule").id;
    let flight = Flight { count: LOST_AMONG, interval: Duration::ZERO, quiet: Duration::from_millis(300) };
    flight.run(&bench.hosts.left, &bench.hosts.right);
    let counters = bench.datapath.remove_rule(id).expect("removed").report.counters;
    let inside = fits(counters.dropped, counters.matched, ratio) && counters.unintended == 0;
    let found = counters.dropped as f64 / counters.matched as f64;
    let name = format!("{kind}, loss {ratio}: lost of {} (1 = inside 99.9 %)", counters.matched);
    bench.note(format!("{name}: {found:.5}"), f64::from(u8::from(inside)), "", Some(Target::AtLeast(1.0)));
}
