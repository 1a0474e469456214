//! One fault that holds: its rules, its owner and until when.

use std::time::Duration;

use faultd_api::{fault::FaultStatus, units::nanoseconds};
use tokio::time::Instant;

use super::{carrier::Carried, handle::Application, report::FaultReport};
use crate::target::FoundPeer;

/// Whose end is the end of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultOwner {
    /// A caller's connection, by its name: that on the system bus, or a number of the private socket.
    Connection(String),
    /// A run, by its id.
    Run(String),
    /// Nobody: it ends by its deadline, its removal or with the daemon.
    Daemon,
}

/// What applying a fault gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The fault as it holds now.
    pub status: FaultStatus,
    /// When the engine was told, on the monotonic clock.
    pub commanded_ns: u64,
    /// When the last of its rules was in the kernel, or its processes had been stopped or throttled.
    pub effective_ns: u64,
}

/// What removing a fault gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleared {
    /// The fault with its last counts.
    pub status: FaultStatus,
    /// When the engine was told, or noticed, that it ends.
    pub commanded_ns: u64,
    /// When the last of its rules was out of the kernel, or its processes ran as before.
    pub cleared_ns: u64,
    /// What could not be cleaned up, one line each; the fault does not hold any more even then.
    pub failures: Vec<String>,
}

/// A fault in the engine's table.
pub(super) struct ActiveFault {
    pub(super) id: String,
    pub(super) application: Application,
    /// What it has in the kernel.
    pub(super) carried: Carried,
    /// What that did which it has no more, because its target has moved.
    pub(super) kept: FaultReport,
    /// Whether its target is away, so that it has nothing in the kernel.
    pub(super) away: bool,
    /// How many times it followed its target.
    pub(super) follows: u64,
    pub(super) seed: u64,
    pub(super) deadline: Option<Instant>,
    /// The same for the kernel, on the monotonic clock.
    pub(super) deadline_ns: Option<u64>,
    /// Whether it could not follow its peers or its target, which is logged once.
    pub(super) refused_to_follow: bool,
    /// When it was asked for, on the monotonic clock.
    pub(super) commanded_ns: u64,
    /// When the kernel had confirmed it.
    pub(super) begun_ns: u64,
}

impl ActiveFault {
    pub(super) fn status(&self, report: &FaultReport) -> FaultStatus {
        let Application { spec, target, peers, backend, owner, .. } = &self.application;
        let is_on_packets = spec.processes.is_none();
        let interfaces = target.interfaces.iter().filter(|_interface| is_on_packets);
        let interfaces: Vec<&str> = interfaces.map(|interface| interface.name.as_str()).collect();
        let remaining = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        FaultStatus {
            id: self.id.clone(),
            target: target.name.clone(),
            network: spec.network.clone(),
            kind: spec.kind(),
            text: spec.text(),
            delay_ns: spec.delay.map(|delay| nanoseconds(delay.duration())),
            loss_ratio: spec.loss.map(super::super::fault::Loss::ratio),
            shape: spec.shape.clone(),
            peers: peers.iter().map(|(name, peer)| peer_text(name, peer)).collect(),
            direction: is_on_packets.then_some(spec.direction),
            backend: backend.name.clone(),
            backend_reason: backend.reason.clone(),
            interface: interfaces.join(","),
            seed: self.seed,
            run: if let FaultOwner::Run(run) = owner { Some(run.clone()) } else { None },
            remaining_ns: remaining.map(nanoseconds),
            begun_ns: Some(self.begun_ns),
            state: report
                .state(spec.processes, spec.delay.map(super::super::fault::Delay::duration))
                .to_owned(),
            follows: self.follows,
            onset_ns: report.first_affected_ns.map(|first_ns| first_ns.saturating_sub(self.commanded_ns)),
            held: report.held(),
            packets: report.packets,
            processes: spec.processes.map(|_| report.processes.clone().unwrap_or_default().counts()),
        }
    }

    /// What it is called when its target's interfaces are not there.
    pub(super) fn absence(&self) -> &'static str {
        if self.application.target.container.is_some() { "away" } else { "gone" }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(super) fn deadline_in(hold_for: Option<Duration>) -> Option<Instant> {
        hold_for.map(|hold| Instant::now() + hold)
    }
}

/// A peer and where it is: `etcd1: 10.213.0.2`.
fn peer_text(name: &str, peer: &FoundPeer) -> String {
    if peer.addresses.is_empty() {
        return format!("{name}: away");
    }
    let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
    format!("{name}: {}", addresses.join(", "))
}
