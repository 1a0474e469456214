//! Faults as people ask for them, and as they are shown.

use serde::{Deserialize, Serialize};

/// Which packets of the target a fault concerns.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Packets that leave the target: what `tc` inside of a container shapes.
    #[default]
    Egress,
    /// Packets that enter the target: what `tc` on the host's veth shapes.
    Ingress,
    /// Both, each with the full parameters.
    Both,
}

impl Direction {
    /// As it is written everywhere: `egress`, `ingress` or `both`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
            Direction::Both => "both",
        }
    }
}

/// How a rule is to be carried out.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// What probing finds best on this host.
    #[default]
    Auto,
    /// A delay line of the daemon behind a TAP: works on every kernel.
    Relay,
    /// The kernel's `sch_netem` on a pair of devices of our own.
    Netem,
}

/// A fault to apply to one target.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// A lab host (`etcd/etcd0`, or `etcd0` where that is clear) or the name of a container.
    pub target: String,
    /// One-way delay to add, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<u64>,
    /// Share of packets to drop, more than 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// Packets concerned.
    #[serde(default)]
    pub direction: Direction,
    /// Backend asked for.
    #[serde(default)]
    pub backend: Backend,
    /// For how long, in nanoseconds; without it until it is removed or its owner goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_for_ns: Option<u64>,
    /// Seed of the loss pattern; chosen and shown when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Keep the fault when the caller's connection closes.
    #[serde(default)]
    pub detach: bool,
}

/// A fault that holds, as the kernel confirmed it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct FaultStatus {
    /// Its id: `f1`, `f2` ...
    pub id: String,
    /// The target's full name.
    pub target: String,
    /// `delay`, `loss` or `delay+loss`.
    pub kind: String,
    /// One-way delay, in nanoseconds.
    pub delay_ns: Option<u64>,
    /// Share of packets dropped.
    pub loss_ratio: Option<f64>,
    /// Packets concerned.
    pub direction: Direction,
    /// How it is carried out: `ebpf`, `relay`, `netem` or a combination.
    pub backend: String,
    /// Why that backend.
    pub backend_reason: String,
    /// The interface (or interfaces) whose packets are concerned.
    pub interface: String,
    /// Seed of the loss pattern.
    pub seed: u64,
    /// Id of the run that it belongs to.
    pub run: Option<String>,
    /// Time left, in nanoseconds; nothing for a fault without an end of its own.
    pub remaining_ns: Option<u64>,
    /// `effective` once packets matched, `ineffective` before, `gone` when the target's interface has
    /// disappeared and the rule with it.
    pub state: String,
    /// What the programs counted.
    pub packets: PacketCounts,
}

/// Packets of a fault by what became of them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct PacketCounts {
    /// Packets that passed the hook while the rule was there.
    pub seen: u64,
    /// Packets that the rule applies to.
    pub matched: u64,
    /// Packets held back and delivered later.
    pub delayed: u64,
    /// Packets dropped as asked.
    pub dropped: u64,
    /// Packets that passed untouched because the lease was over.
    pub expired: u64,
    /// Packets lost that nobody asked to lose.
    pub unintended: u64,
}
