//! From the call to the first packet that meets the rule, on an interface that was made ready.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use faultd_kernel::{
    clock,
    datapath::{HoldingKind, Hook, Network, RulePlan, Selector},
};
use faultd_testkit::{
    measure::{EchoServer, bind_udp},
    rules::{delayed, holding_kinds, lossy, rule},
};

use crate::{Bench, Target, median, quantile};

const REPEATS: u32 = 50;
const MANY: u32 = 10_000;

pub(crate) fn measure(bench: &mut Bench) {
    let kinds = holding_kinds(&bench.capabilities);
    let loss = rule(&bench.hosts.left, Hook::Ingress, lossy(1.0), None);
    onset(bench, "loss 100 %", &loss);
    for kind in kinds.into_iter().filter(|kind| *kind != HoldingKind::Netem) {
        let plan = rule(&bench.hosts.left, Hook::Ingress, delayed(1), Some(kind));
        onset(bench, &format!("delay by {kind}"), &plan);
    }
    many_rules(bench);
}

fn onset(bench: &mut Bench, name: &str, plan: &RulePlan) {
    let stop = AtomicBool::new(false);
    let sender = bind_udp(&bench.hosts.left);
    let address = (bench.hosts.right.address, 9);
    let mut onsets = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _refused = sender.send_to(&[0; 64], address);
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        for _repeat in 0..REPEATS {
            let commanded_ns = clock::monotonic_ns();
            let id = bench.datapath.add_rule(plan.clone()).expect("a rule").id;
            std::thread::sleep(Duration::from_millis(5));
            let report = bench.datapath.remove_rule(id).expect("removed").report;
            let first_ns = report.first_affected_at_ns.expect("a packet");
            onsets.push(first_ns.saturating_sub(commanded_ns) as f64 / 1e6);
        }
        stop.store(true, Ordering::Relaxed);
    });
    bench.note(format!("onset of {name}, half"), quantile(&onsets, 0.5), "ms", None);
    bench.note(
        format!("onset of {name}, 99 of 100"),
        quantile(&onsets, 0.99),
        "ms",
        Some(Target::AtMost(5.0)),
    );
}

/// Round trips under one of 10 000 rules, each for another peer, against those under one alone.
fn many_rules(bench: &mut Bench) {
    let server = EchoServer::start(&bench.hosts.right);
    let peer = |number: u32| Network::host(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into());
    let plan = |number| RulePlan {
        selector: Selector { peers: vec![peer(number)], ..Selector::default() },
        ..rule(&bench.hosts.left, Hook::Ingress, lossy(1.0), None)
    };
    let trip = |bench: &Bench| {
        let trips = server.round_trips(&bench.hosts.left, 2000);
        median(trips.into_iter().map(|trip| trip.as_secs_f64() * 1e6).collect())
    };
    let first = bench.datapath.add_rule(plan(0)).expect("a rule").id;
    let alone = trip(bench);
    let start = std::time::Instant::now();
    let others: Vec<_> =
        (1..MANY).map(|number| bench.datapath.add_rule(plan(number)).expect("a rule").id).collect();
    let added = start.elapsed().as_secs_f64();
    let among = trip(bench);
    for id in others.into_iter().chain([first]) {
        bench.datapath.remove_rule(id).expect("removed");
    }
    bench.note(
        "10 000 rules: round trip / that under one rule",
        among / alone,
        "",
        Some(Target::AtMost(1.05)),
    );
    bench.note("10 000 rules: added in", added, "s", None);
}
