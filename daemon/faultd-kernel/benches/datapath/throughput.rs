//! What rules cost: bytes that one and eight TCP connections move in a fixed time, and the processor time
//! for each of them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use faultd_kernel::datapath::{Effects, HoldingKind, Hook, Loss, RulePlan, Selector};
use faultd_testkit::{
    hosts::VethPairHosts,
    rules::{delayed, lossy, rule},
};

use crate::{Bench, Target, median, yardstick::Yardstick};

const ROUNDS: usize = 5;
const SAMPLE: Duration = Duration::from_millis(700);
/// Round trips that a connection is given to find its pace, beside that.
const WARM_UP: u32 = 20;
/// The kernel counts processor time in hundredths of a second.
const TICKS_A_SECOND: f64 = 100.0;

enum How {
    Nothing,
    Rule(Box<RulePlan>),
    Netem,
}

struct Variant {
    name: String,
    how: How,
    delay: Duration,
    target: Option<Target>,
}

/// Gigabits a second, and seconds of processor time for each gigabyte.
type Sample = (f64, f64);

pub(crate) fn measure(bench: &mut Bench) {
    for connections in [1, 8] {
        let variants = variants(bench);
        let mut samples: Vec<Vec<Sample>> = variants.iter().map(|_variant| Vec::new()).collect();
        for _round in 0..ROUNDS {
            for (variant, samples) in variants.iter().zip(&mut samples) {
                samples.push(sample(bench, variant, connections));
            }
        }
        note(bench, &variants, &samples, connections);
    }
    compare_with_netem(bench);
}

fn variants(bench: &Bench) -> Vec<Variant> {
    let plan = |effects: Effects, kind| rule(&bench.hosts.left, Hook::Ingress, effects, kind);
    let elsewhere = Selector { peer_ports: 1..=1, ..Selector::default() };
    let not_matching = RulePlan { selector: elsewhere, ..plan(lossy(1.0), None) };
    let rare = Effects { loss: Some(Loss::Random(0.000_01)), ..Effects::default() };
    let variant =
        |name: &str, how, target| Variant { name: name.to_owned(), how, delay: Duration::ZERO, target };
    let by_rule = |plan| How::Rule(Box::new(plan));
    let mut variants = vec![
        variant("no rule", How::Nothing, None),
        variant("a rule that does not match", by_rule(not_matching), Some(Target::AtLeast(0.97))),
        variant("loss 0.001 %", by_rule(plan(rare, None)), Some(Target::AtLeast(0.95))),
    ];
    for milliseconds in [0, 1, 10, 100] {
        for kind in bench.kinds() {
            let target = (kind == HoldingKind::Relay && milliseconds == 0).then_some(Target::AtLeast(0.6));
            let how = by_rule(plan(delayed(milliseconds), Some(kind)));
            variants.push(delaying(&kind.to_string(), how, milliseconds, target));
        }
        if bench.kinds().contains(&HoldingKind::Netem) {
            variants.push(delaying("netem itself", How::Netem, milliseconds, None));
        }
    }
    variants
}

fn delaying(who: &str, how: How, milliseconds: u64, target: Option<Target>) -> Variant {
    let delay = Duration::from_millis(milliseconds);
    Variant { name: format!("{who}, {milliseconds} ms"), how, delay, target }
}

fn sample(bench: &Bench, variant: &Variant, connections: usize) -> Sample {
    let hosts = &bench.hosts;
    let warm_up = variant.delay * WARM_UP;
    match &variant.how {
        How::Nothing => transfer(hosts, connections, warm_up),
        How::Netem => {
            let _netem = Yardstick::delay(&bench.capabilities, &hosts.left, variant.delay);
            transfer(hosts, connections, warm_up)
        }
        How::Rule(plan) => {
            let id = bench.datapath.add_rule(RulePlan::clone(plan)).expect("a rule").id;
            let sample = transfer(hosts, connections, warm_up);
            bench.datapath.remove_rule(id).expect("removed");
            sample
        }
    }
}

fn note(bench: &mut Bench, variants: &[Variant], samples: &[Vec<Sample>], connections: usize) {
    let rates: Vec<f64> =
        samples.iter().map(|samples| median(samples.iter().map(|sample| sample.0).collect())).collect();
    let costs = samples.iter().map(|samples| median(samples.iter().map(|sample| sample.1).collect()));
    for ((variant, rate), cost) in variants.iter().zip(&rates).zip(costs) {
        let name = format!("{}, {connections} TCP", variant.name);
        bench.note(format!("{name}: throughput"), *rate, "Gbit/s", None);
        bench.note(format!("{name}: throughput / no rule"), rate / rates[0], "", variant.target);
        bench.note(format!("{name}: processor time"), cost, "s/GB", None);
    }
}

fn compare_with_netem(bench: &mut Bench) {
    for connections in [1, 8] {
        for (who, milliseconds, bound) in [("edt", 10, 1.0), ("edt", 100, 1.0), ("relay", 10, 0.8)] {
            let of =
                |who: &str| bench.value(&format!("{who}, {milliseconds} ms, {connections} TCP: throughput"));
            if let (Some(ours), Some(netem)) = (of(who), of("netem itself")) {
                let name =
                    format!("{who} / netem itself at {milliseconds} ms, {connections} TCP: throughput");
                bench.note(name, ours / netem, "", Some(Target::AtLeast(bound)));
            }
        }
    }
}

/// What so many connections move from left to right, in all, once they have found their pace.
pub(crate) fn gigabits(hosts: &VethPairHosts, connections: usize) -> f64 {
    transfer(hosts, connections, Duration::ZERO).0
}

fn transfer(hosts: &VethPairHosts, connections: usize, warm_up: Duration) -> Sample {
    let listener = hosts.right.namespace.run(|| TcpListener::bind((hosts.right.address, 0)));
    let listener = listener.expect("inside").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let counted_from = warm_up + SAMPLE / 10;
    let end = warm_up + SAMPLE;
    let sending: Vec<_> = (0..connections).map(|_connection| send(hosts, address, end)).collect();
    let receiving: Vec<_> =
        (0..connections).map(|_connection| receive(&listener, counted_from, end)).collect();
    thread::sleep(counted_from);
    let (start, busy) = (Instant::now(), busy_ticks());
    let bytes: f64 = receiving.into_iter().map(|thread| thread.join().expect("received")).sum();
    let busy_seconds = (busy_ticks() - busy) / TICKS_A_SECOND;
    let seconds = start.elapsed().as_secs_f64();
    sending.into_iter().for_each(|thread| thread.join().expect("sent"));
    (bytes * 8.0 / 1e9 / seconds, busy_seconds / (bytes / 1e9))
}

fn send(hosts: &VethPairHosts, address: SocketAddr, length: Duration) -> JoinHandle<()> {
    let stream = hosts.left.namespace.run(|| TcpStream::connect(address));
    let mut stream = stream.expect("inside").expect("a connection");
    thread::spawn(move || {
        let (start, block) = (Instant::now(), vec![0; 1 << 17]);
        // The receiver goes when it has seen enough.
        while start.elapsed() < length && stream.write_all(&block).is_ok() {}
    })
}

/// Counts what comes between two times from now.
fn receive(listener: &TcpListener, from: Duration, to: Duration) -> JoinHandle<f64> {
    let (mut stream, _peer) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        let (start, mut bytes) = (Instant::now(), 0_usize);
        while start.elapsed() < to {
            let count = stream.read(&mut buffer).unwrap_or(0);
            if start.elapsed() >= from {
                bytes += count;
            }
        }
        bytes as f64
    })
}

/// Processor time that the machine has spent on anything since it started.
fn busy_ticks() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("the kernel's counts");
    let line = text.lines().next().expect("a first line");
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // User, nice, system, idle, waiting, interrupts, soft interrupts: neither idle nor waiting.
    [0, 1, 2, 5, 6].into_iter().map(|place| fields[place]).sum()
}
