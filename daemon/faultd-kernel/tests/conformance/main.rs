//! Every fault, on every backend that this kernel has, between two real hosts: the same cases on all of them.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    reason = "what a test needs and does not get is a failure of the test"
)]

mod change;
mod corrupt;
mod delay;
mod duplicate;
mod loss;
mod rate;
mod selector;
mod wire_unit;

use std::time::Duration;

use faultd_kernel::{
    datapath::{Datapath, Effects, HoldingKind, Hook, RuleCounters, RulePlan},
    journal::Journal,
    probe::Capabilities,
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    flight::{Arrival, Flight},
    hosts::VethPairHosts,
    rules::{holding_kinds, rule},
};

/// A datapath and two hosts.
struct Scene {
    datapath: Datapath,
    hosts: VethPairHosts,
    capabilities: Capabilities,
}

impl Scene {
    /// Nothing, and a counted skip, where faultd cannot work at all.
    fn set_up(test_name: &str) -> Option<Self> {
        let capabilities = capabilities(test_name)?;
        let datapath =
            Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath");
        let hosts = VethPairHosts::create();
        Some(Self { datapath, hosts, capabilities })
    }

    /// A rule for what leaves the left host.
    fn plan(&self, effects: Effects, holding: Option<HoldingKind>) -> RulePlan {
        rule(&self.hosts.left, Hook::Ingress, effects, holding)
    }

    /// What arrives of a flight from left to right under a rule, and what the rule counted.
    fn fly(&self, plan: RulePlan, flight: Flight) -> (Vec<Arrival>, RuleCounters) {
        let rule = self.datapath.add_rule(plan).expect("a rule").id;
        let arrivals = flight.run(&self.hosts.left, &self.hosts.right);
        (arrivals, self.datapath.remove_rule(rule).expect("removed").report.counters)
    }
}

/// Runs a case on every backend of this kernel that can do it.
fn on_every_backend(test_name: &str, effects: &Effects, case: impl Fn(&Scene, HoldingKind)) {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up(test_name) else { return };
    for kind in holding_kinds(&scene.capabilities) {
        match kind.cannot(effects) {
            None => {
                println!("{test_name} on {kind}");
                case(&scene, kind);
            }
            Some(what) => println!("{test_name}: {kind} cannot {what}"),
        }
    }
    scene.datapath.shutdown().expect("a clean end");
}

/// So many packets, one every so many microseconds.
fn flight(count: u32, microseconds: u64) -> Flight {
    Flight { count, interval: Duration::from_micros(microseconds), quiet: Duration::from_millis(600) }
}
