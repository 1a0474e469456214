//! From the call to the first packet that meets the rule: on an interface that was made ready, and on one
//! that no rule was ever on.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use faultd_kernel::{
    clock,
    datapath::{Datapath, HoldingKind, Hook, RulePlan},
};
use faultd_testkit::{
    hosts::{Host, VethPairHosts},
    measure::bind_udp,
    rules::{delayed, lossy, rule},
};

use crate::{Bench, Target, quantile};

const REPEATS: u32 = 50;
const REPEATS_WITH_NEW_HOSTS: u32 = 15;
/// After this a datapath has loaded what it keeps for the next namespace.
const AT_REST: Duration = Duration::from_secs(1);
/// Within this the first packet has met the rule.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn measure(bench: &mut Bench) {
    let mut faults = vec![("loss 100 %".to_owned(), lossy(1.0), None)];
    let kinds = bench.kinds().into_iter().filter(|kind| *kind != HoldingKind::Netem);
    faults.extend(kinds.map(|kind| (format!("delay by {kind}"), delayed(1), Some(kind))));
    for (name, effects, kind) in faults {
        let plan = |host: &Host| rule(host, Hook::Ingress, effects.clone(), kind);
        let ready = on_one_interface(bench, &plan(&bench.hosts.left));
        note(bench, &format!("onset of {name}, made ready"), &ready);
        let new = on_new_interfaces(bench, &plan);
        note(bench, &format!("onset of {name}, on a new interface"), &new);
    }
}

fn note(bench: &mut Bench, name: &str, onsets: &[f64]) {
    bench.note(format!("{name}, half"), quantile(onsets, 0.5), "ms", None);
    bench.note(format!("{name}, 99 of 100"), quantile(onsets, 0.99), "ms", Some(Target::AtMost(5.0)));
}

fn on_one_interface(bench: &Bench, plan: &RulePlan) -> Vec<f64> {
    with_traffic(&bench.hosts, || (0..REPEATS).map(|_repeat| onset(&bench.datapath, plan)).collect())
}

fn on_new_interfaces(bench: &Bench, plan: &impl Fn(&Host) -> RulePlan) -> Vec<f64> {
    let once = |_repeat| {
        let hosts = VethPairHosts::create();
        std::thread::sleep(AT_REST);
        with_traffic(&hosts, || onset(&bench.datapath, &plan(&hosts.left)))
    };
    (0..REPEATS_WITH_NEW_HOSTS).map(once).collect()
}

/// Does something while packets go from left to right, one every 20 us or so.
fn with_traffic<T>(hosts: &VethPairHosts, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    let sender = bind_udp(&hosts.left);
    let receiver = bind_udp(&hosts.right);
    let address = receiver.local_addr().expect("an address");
    std::thread::scope(|scope| {
        scope.spawn(|| send_until(&stop, &sender, address));
        let _stopping = Stopping(&stop);
        std::thread::sleep(Duration::from_millis(10));
        work()
    })
}

/// Ends the traffic also where the work fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn send_until(stop: &AtomicBool, sender: &UdpSocket, address: std::net::SocketAddr) {
    while !stop.load(Ordering::Relaxed) {
        let _refused = sender.send_to(&[0; 64], address);
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// Milliseconds from the call to the first packet.
fn onset(datapath: &Datapath, plan: &RulePlan) -> f64 {
    let commanded_ns = clock::monotonic_ns();
    let id = datapath.add_rule(plan.clone()).expect("a rule").id;
    let give_up = Instant::now() + PATIENCE;
    let first = || datapath.report(id).expect("a report").first_affected_at_ns;
    while first().is_none() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(1));
    }
    let first_ns = datapath.remove_rule(id).expect("removed").report.first_affected_at_ns;
    first_ns.expect("a packet that met the rule").saturating_sub(commanded_ns) as f64 / 1e6
}
