//! How many packets of 64 bytes a second go through each backend without one being lost unasked.

use std::{
    net::UdpSocket,
    thread::sleep,
    time::{Duration, Instant},
};

use faultd_kernel::datapath::{HoldingKind, Hook, RulePlan};
use faultd_testkit::{
    measure::bind_udp,
    rules::{delayed, rule},
};

use crate::{Bench, Target};

/// Packets a second that are tried, until some are lost.
const RATES: [u32; 12] =
    [20_000, 40_000, 60_000, 80_000, 100_000, 130_000, 160_000, 200_000, 240_000, 280_000, 340_000, 400_000];
const TRY: Duration = Duration::from_millis(700);
/// Packets come in bursts, one a millisecond.
const TICK: Duration = Duration::from_millis(1);
const DELAY_MS: u64 = 10;
/// Ethernet, IPv4 and UDP take 42 of the 64 bytes.
const PAYLOAD: [u8; 22] = [0; 22];

pub(crate) fn measure(bench: &mut Bench) {
    for kind in bench.kinds() {
        let best = RATES.into_iter().map_while(|rate| try_rate(bench, kind, rate)).last();
        let is_bound = kind == HoldingKind::Relay && bench.kinds().len() == 1;
        bench.note(
            format!("{kind}, {DELAY_MS} ms, 64 B: most packets a second with none lost unasked"),
            best.unwrap_or_default(),
            "1/s",
            is_bound.then_some(Target::AtLeast(200_000.0)),
        );
    }
}

/// The rate that was reached; nothing where packets were lost, or the sender could not keep the rate.
fn try_rate(bench: &Bench, kind: HoldingKind, rate: u32) -> Option<f64> {
    // Nobody reads: a reader would take processor time from what is measured.
    let receiver = bind_udp(&bench.hosts.right);
    let sender = bind_udp(&bench.hosts.left);
    sender.connect(receiver.local_addr().expect("an address")).expect("a peer");
    let plan: RulePlan = rule(&bench.hosts.left, Hook::Ingress, delayed(DELAY_MS), Some(kind));
    let id = bench.datapath.add_rule(plan).expect("a rule").id;
    let (sent, elapsed) = send(&sender, rate);
    sleep(Duration::from_millis(DELAY_MS + 50));
    let counters = bench.datapath.remove_rule(id).expect("removed").report.counters;
    let reached = f64::from(sent) / elapsed.as_secs_f64();
    let whole = counters.returned == counters.delayed && counters.unintended == 0;
    println!(
        "  {kind}: {reached:.0} a second, {} held, {} back, {} lost",
        counters.delayed, counters.returned, counters.unintended
    );
    (whole && reached > 0.97 * f64::from(rate)).then_some(reached)
}

fn send(sender: &UdpSocket, rate: u32) -> (u32, Duration) {
    let start = Instant::now();
    let mut sent = 0_u32;
    let mut tick = 1;
    while start.elapsed() < TRY {
        let due = (u64::from(rate) * u64::from(tick) / 1000) as u32;
        while sent < due {
            let _full = sender.send(&PAYLOAD);
            sent += 1;
        }
        sleep((TICK * tick).saturating_sub(start.elapsed()));
        tick += 1;
    }
    (sent, start.elapsed())
}
