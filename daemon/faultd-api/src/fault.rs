//! Faults as people ask for them, and as they are shown.

use serde::{Deserialize, Serialize};

use crate::shape::FaultShape;

/// Which packets of the target a fault concerns.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// What probing finds best on this host.
    #[default]
    Auto,
    /// The kernel's `sch_fq`, told by a program of ours when each packet is to leave.
    Edt,
    /// A delay line of the daemon behind a TAP: works on every kernel.
    Relay,
    /// The kernel's `sch_netem` on a pair of devices of our own.
    Netem,
}

/// A fault to apply to one target.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// A lab host (`etcd/etcd0`, or `etcd0` where that is clear), a container's name or the beginning of its
    /// id, another selector that one container fits (see `SelectTargets`), `netns/NAME`, `pid/N` or
    /// `interface/NAME`.
    pub target: String,
    /// Of a container that is on several networks: the one whose packets are concerned; all when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// One-way delay to add, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<u64>,
    /// Share of packets to drop, more than 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// What it does beside that, and to which packets.
    #[serde(default, skip_serializing_if = "FaultShape::is_empty")]
    pub shape: FaultShape,
    /// Packets concerned.
    #[serde(default)]
    pub direction: Direction,
    /// Backend asked for.
    #[serde(default)]
    pub backend: Backend,
    /// For how long, in nanoseconds; without it until it is removed or its owner goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_for_ns: Option<u64>,
    /// When it begins, in nanoseconds on the monotonic clock of the daemon's host (see `Clock`): at most 60 s ahead,
    /// and at once when missing. Everything is made ready before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin_at_ns: Option<u64>,
    /// Seed of the loss pattern; chosen and shown when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Keep the fault when the caller's connection closes.
    #[serde(default)]
    pub detach: bool,
}

/// A fault that holds, as the kernel confirmed it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultStatus {
    /// Its id: `f1`, `f2` ...
    pub id: String,
    /// The target's full name.
    pub target: String,
    /// The network of the container whose packets are concerned; all when missing.
    #[serde(default)]
    pub network: Option<String>,
    /// What it does, in one word each: `delay`, `loss`, `delay+loss`, `rate`, `pause`, `cpu` ...
    pub kind: String,
    /// What it does to which packets, in words: `delay 100ms, loss 5% to etcd1`.
    pub text: String,
    /// One-way delay, in nanoseconds.
    pub delay_ns: Option<u64>,
    /// Share of packets dropped.
    pub loss_ratio: Option<f64>,
    /// What it does beside that, and to which packets.
    #[serde(default)]
    pub shape: FaultShape,
    /// The peers that are called by a name, with the addresses by which they are known now:
    /// `web: 172.17.0.2`.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Packets concerned; nothing for a fault on processes.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// How it is carried out: `ebpf`, `edt`, `netem`, `relay` or a combination; `cgroup` for a fault on processes.
    pub backend: String,
    /// Why that backend.
    pub backend_reason: String,
    /// The interface (or interfaces) whose packets are concerned; empty for a fault on processes.
    pub interface: String,
    /// Seed of the loss pattern.
    pub seed: u64,
    /// Id of the run that it belongs to.
    pub run: Option<String>,
    /// Time left, in nanoseconds; nothing for a fault without an end of its own.
    pub remaining_ns: Option<u64>,
    /// When the last of its rules was in the kernel, or its processes had been stopped or throttled, in nanoseconds on
    /// the monotonic clock of the daemon's host.
    #[serde(default)]
    pub begun_ns: Option<u64>,
    /// `effective` once packets matched, or processes stood still or used their share up; `ineffective` before;
    /// `degraded` when packets were lost that nobody asked to lose or were held much longer than asked, or pauses were
    /// not confirmed; `away` while the container that it is on does not run; `gone` when the interface or the control
    /// group of another target has disappeared and the fault with it, or what guards a fault on processes has ended.
    pub state: String,
    /// How many times it followed its container to other interfaces.
    #[serde(default)]
    pub follows: u64,
    /// How long after the request the first packet was affected, or the first pause confirmed or period cut short, in
    /// nanoseconds.
    pub onset_ns: Option<u64>,
    /// How long packets were really held; nothing where none was.
    pub held: Option<HeldTimes>,
    /// What the programs counted.
    pub packets: PacketCounts,
    /// What was measured of a fault on processes.
    #[serde(default)]
    pub processes: Option<ProcessCounts>,
}

impl FaultStatus {
    /// The direction, empty for a fault on processes.
    #[must_use]
    pub fn direction_text(&self) -> &'static str {
        self.direction.map_or("", Direction::text)
    }
}

/// What a fault on the processes of its target did, as the kernel confirmed it. All of it counts from the begin of the
/// fault on.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ProcessCounts {
    /// The control group, with the version of its hierarchy: `/docker/3f2a9c (cgroup v2)`.
    pub group: String,
    /// Pauses in which all processes stood still.
    pub pauses: u64,
    /// For how long they did in all, in nanoseconds.
    pub paused_ns: u64,
    /// Pauses that were ended because the kernel did not confirm that all processes stood still.
    pub unconfirmed_pauses: u64,
    /// Periods in which the processes had something to run.
    pub periods: u64,
    /// Those in which they used up their share of the processors.
    pub throttled_periods: u64,
    /// For how long they waited because of that, over all processors, in nanoseconds.
    pub throttled_ns: u64,
}

/// How long packets were really held, measured in the kernel on a sample of them. Nanoseconds;
/// quantiles are the upper ends of buckets that are an eighth wide.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HeldTimes {
    /// Packets in the sample.
    pub count: u64,
    /// Mean of their delays.
    pub mean_ns: u64,
    /// Half of them were held no longer.
    pub p50_ns: u64,
    /// 99 of 100 were held no longer.
    pub p99_ns: u64,
    /// How much later than due they left, on average.
    pub late_mean_ns: u64,
    /// Half of them left no later than that after they were due.
    pub late_p50_ns: u64,
    /// 99 of 100 left no later than that after they were due.
    pub late_p99_ns: u64,
    /// Packets that left before they were due.
    pub early: u64,
}

/// Packets of a fault by what became of them: wire packets, where it counts those.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PacketCounts {
    /// Packets, as the kernel handles them, that passed the hook while the rule was there.
    pub seen: u64,
    /// Packets that the rule applies to.
    pub matched: u64,
    /// Bytes of those.
    pub matched_bytes: u64,
    /// Packets, as the kernel handles them, held back to be delivered later.
    pub delayed: u64,
    /// Of those held back: delivered.
    pub returned: u64,
    /// Packets dropped as asked.
    pub dropped: u64,
    /// Packets dropped because the queue of the bottleneck was full, as asked.
    pub overflowed: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Packets spoilt.
    pub corrupted: u64,
    /// Packets sent ahead of those that wait.
    pub reordered: u64,
    /// Super-packets of segmentation offload that were cut, because some of their packets were hit.
    pub cut: u64,
    /// Packets that passed untouched because the lease was over.
    pub expired: u64,
    /// Packets lost that nobody asked to lose.
    pub unintended: u64,
}

/// What a fault would be: the reply of `PlanFault`.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultPlan {
    /// The full name of the target.
    pub target: String,
    /// What it would do: `delay`, `loss`, `delay+loss`, `pause` ...
    pub kind: String,
    /// The same for people: `delay 50ms, loss 5%`.
    pub text: String,
    /// Packets concerned; missing for a fault on processes.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// The interfaces at which packets would be caught.
    pub interfaces: Vec<String>,
    /// What would carry it out.
    pub backend: String,
    /// Why.
    pub backend_reason: String,
    /// For how long it would hold at most, policy included; missing means until its caller has gone or it is removed.
    #[serde(default)]
    pub hold_for_ns: Option<u64>,
    /// The peers by name whose packets are concerned.
    pub peers: Vec<String>,
    /// Packets that would be spared, as the policy wants it.
    pub spared: Vec<String>,
}
