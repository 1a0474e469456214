//! What rules cost: bytes that one TCP connection moves in a fixed time, and packets a second.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use faultd_kernel::datapath::{Delay, Effects, HoldingKind, Hook, Loss, RulePlan, Selector};
use faultd_testkit::{
    flight::Flight,
    hosts::VethPairHosts,
    rules::{holding_kinds, lossy, rule},
};

use crate::{Bench, Target, median};

const ROUNDS: usize = 5;
const SAMPLE: Duration = Duration::from_millis(700);

struct Variant {
    name: String,
    plan: Option<RulePlan>,
    target: Option<Target>,
}

pub(crate) fn measure(bench: &mut Bench) {
    let variants = variants(bench);
    let mut samples: Vec<Vec<f64>> = variants.iter().map(|_variant| Vec::new()).collect();
    for _round in 0..ROUNDS {
        for (variant, samples) in variants.iter().zip(&mut samples) {
            let id = variant.plan.clone().map(|plan| bench.datapath.add_rule(plan).expect("a rule").id);
            samples.push(gigabits(&bench.hosts));
            if let Some(id) = id {
                bench.datapath.remove_rule(id).expect("removed");
            }
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(median).collect();
    bench.note("no rule: throughput of one connection", medians[0], "Gbit/s", None);
    for (variant, value) in variants.iter().zip(&medians).skip(1) {
        bench.note(format!("{}: throughput / no rule", variant.name), value / medians[0], "", variant.target);
    }
    compare_with_netem(bench, &variants, &medians);
    small_packets(bench);
}

fn variants(bench: &Bench) -> Vec<Variant> {
    let plan = |effects: Effects, kind| rule(&bench.hosts.left, Hook::Ingress, effects, kind);
    let elsewhere = Selector { peer_ports: 1..=1, ..Selector::default() };
    let rare = Effects { loss: Some(Loss::Random(0.000_01)), ..Effects::default() };
    let variant = |name: &str, plan, target| Variant { name: name.to_owned(), plan, target };
    let not_matching = RulePlan { selector: elsewhere, ..plan(lossy(1.0), None) };
    let mut variants = vec![
        variant("no rule", None, None),
        variant("a rule that does not match", Some(not_matching), Some(Target::AtLeast(0.97))),
        variant("loss 0.001 %", Some(plan(rare, None)), Some(Target::AtLeast(0.95))),
    ];
    for kind in holding_kinds(&bench.capabilities) {
        for milliseconds in [0, 1, 10, 100] {
            let delay = Some(Delay { base: Duration::from_millis(milliseconds), jitter: None });
            let effects = Effects { delay, ..Effects::default() };
            let undelayed_relay = kind == HoldingKind::Relay && milliseconds == 0;
            let target = undelayed_relay.then_some(Target::AtLeast(0.6));
            variants.push(variant(&name(kind, milliseconds), Some(plan(effects, Some(kind))), target));
        }
    }
    variants
}

fn name(kind: HoldingKind, milliseconds: u64) -> String {
    format!("{kind}, {milliseconds} ms")
}

fn compare_with_netem(bench: &mut Bench, variants: &[Variant], medians: &[f64]) {
    let of = |kind, milliseconds| {
        let wanted = name(kind, milliseconds);
        variants.iter().position(|variant| variant.name == wanted).map(|place| medians[place])
    };
    let cases = [(HoldingKind::Edt, 10, 1.0), (HoldingKind::Edt, 100, 1.0), (HoldingKind::Relay, 10, 0.8)];
    for (kind, milliseconds, bound) in cases {
        if let (Some(ours), Some(netem)) = (of(kind, milliseconds), of(HoldingKind::Netem, milliseconds)) {
            let name = format!("{kind} / netem at {milliseconds} ms: throughput");
            bench.note(name, ours / netem, "", Some(Target::AtLeast(bound)));
        }
    }
}

/// One connection from left to right, its first tenth not counted.
fn gigabits(hosts: &VethPairHosts) -> f64 {
    let listener = hosts.right.namespace.run(|| TcpListener::bind((hosts.right.address, 0)));
    let listener = listener.expect("inside").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let receiving = std::thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().expect("a connection");
        let mut buffer = vec![0; 1 << 20];
        let (start, mut bytes) = (Instant::now(), 0_usize);
        let mut counted_from = (Duration::ZERO, 0_usize);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            bytes += count;
            if counted_from.1 == 0 && start.elapsed() > SAMPLE / 10 {
                counted_from = (start.elapsed(), bytes);
            }
        }
        (bytes - counted_from.1) as f64 * 8.0 / 1e9 / (start.elapsed() - counted_from.0).as_secs_f64()
    });
    let stream = hosts.left.namespace.run(|| TcpStream::connect(address));
    let mut stream = stream.expect("inside").expect("a connection");
    let (start, block) = (Instant::now(), vec![0; 1 << 17]);
    while start.elapsed() < SAMPLE {
        stream.write_all(&block).expect("sent");
    }
    drop(stream);
    receiving.join().expect("received")
}

/// Small packets through the relay, as fast as they can be sent.
fn small_packets(bench: &mut Bench) {
    const COUNT: u32 = 200_000;
    if !holding_kinds(&bench.capabilities).contains(&HoldingKind::Relay) {
        return;
    }
    let delay = Some(Delay { base: Duration::from_millis(10), jitter: None });
    let plan = rule(
        &bench.hosts.left,
        Hook::Ingress,
        Effects { delay, ..Effects::default() },
        Some(HoldingKind::Relay),
    );
    let id = bench.datapath.add_rule(plan).expect("a rule").id;
    let flight =
        Flight { count: COUNT, interval: Duration::from_nanos(1), quiet: Duration::from_millis(300) };
    let start = Instant::now();
    flight.run(&bench.hosts.left, &bench.hosts.right);
    let elapsed = start.elapsed().saturating_sub(flight.quiet).as_secs_f64();
    let counters = bench.datapath.remove_rule(id).expect("removed").report.counters;
    bench.note(
        "relay, 64 B: packets a second",
        f64::from(COUNT) / elapsed,
        "1/s",
        Some(Target::AtLeast(200_000.0)),
    );
    bench.note("relay, 64 B: lost unintendedly", counters.unintended as f64, "", Some(Target::AtMost(0.0)));
}
