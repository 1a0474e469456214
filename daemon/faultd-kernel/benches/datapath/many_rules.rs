//! What 100 and 10 000 rules for as many peers cost, against one.

use std::{net::Ipv4Addr, time::Instant};

use faultd_kernel::datapath::{Hook, Network, RuleId, RulePlan, Selector};
use faultd_testkit::{
    measure::EchoServer,
    rules::{lossy, rule},
};

use crate::{Bench, Target, median, quantile, throughput::gigabits};

const ROUNDS: usize = 5;
const TRIPS: u32 = 1000;
const CONNECTIONS: usize = 1;

pub(crate) fn measure(bench: &mut Bench) {
    for count in [100, 10_000] {
        compare(bench, count);
    }
}

/// One rule and many take turns, and medians are compared.
fn compare(bench: &mut Bench, count: u32) {
    let server = EchoServer::start(&bench.hosts.right);
    let [mut trips, mut rates] = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    let mut seconds = Vec::new();
    for _round in 0..ROUNDS {
        for (place, number) in [1, count].into_iter().enumerate() {
            let start = Instant::now();
            let rules = add(bench, number);
            if place == 1 {
                seconds.push(start.elapsed().as_secs_f64());
            }
            let times = server.round_trips(&bench.hosts.left, TRIPS);
            trips[place]
                .push(quantile(&times.iter().map(std::time::Duration::as_secs_f64).collect::<Vec<_>>(), 0.5));
            rates[place].push(gigabits(&bench.hosts, CONNECTIONS));
            rules.into_iter().for_each(|id| drop(bench.datapath.remove_rule(id).expect("removed")));
        }
    }
    let [one, many] = trips.map(median);
    bench.note(format!("{count} rules / one: round trip"), many / one, "", Some(Target::AtMost(1.05)));
    let [one, many] = rates.map(median);
    bench.note(format!("{count} rules / one: throughput"), many / one, "", Some(Target::AtLeast(0.95)));
    bench.note(format!("{count} rules: added in"), median(seconds), "s", None);
}

/// Each rule loses everything to a peer that nobody talks to.
fn add(bench: &Bench, count: u32) -> Vec<RuleId> {
    let plan = |number| RulePlan {
        selector: Selector {
            peers: vec![Network::host(Ipv4Addr::from_bits(0x0a00_0000 + number).into())],
            ..Selector::default()
        },
        ..rule(&bench.hosts.left, Hook::Ingress, lossy(1.0), None)
    };
    (0..count).map(|number| bench.datapath.add_rule(plan(number)).expect("a rule").id).collect()
}
