//! What a fault does beside a delay and a loss, and to which packets.

use serde::{Deserialize, Serialize};

/// The shape of jitter.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Every delay within the jitter is as likely.
    Uniform,
    /// The bell: the jitter is its standard deviation.
    Normal,
    /// Pareto of shape 3: mostly a little below the mean, now and then far above it.
    Pareto,
    /// A quarter of normal, three quarters of Pareto.
    Paretonormal,
}

/// Whether a receiver can notice that a packet was spoilt.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CorruptKind {
    /// The checksum is wrong: the receiver's kernel drops the packet.
    #[default]
    Detected,
    /// The checksum is right: the receiving program gets the spoilt payload.
    Silent,
}

/// What shares count.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Packets as they would be on a wire.
    #[default]
    Wire,
    /// Packets as the kernel handles them, up to 64 KiB large: cheaper, and coarser.
    Skb,
}

/// Loss in bursts: a channel that is now good, now bad. All are ratios from 0 to 1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GilbertElliott {
    /// Probability, per packet, that a good channel turns bad (p).
    pub good_to_bad: f64,
    /// Probability, per packet, that a bad channel turns good (r).
    pub bad_to_good: f64,
    /// Loss while the channel is bad (1 - h).
    pub lost_when_bad: f64,
    /// Loss while the channel is good (1 - k).
    pub lost_when_good: f64,
}

/// Everything about a fault beside its delay and its random loss, which schedules may vary. What is
/// missing is not done, and not selected by.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FaultShape {
    /// How far delays vary, in nanoseconds. Needs a delay, or a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ns: Option<u64>,
    /// How they vary; normal when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Measured delays in milliseconds, instead of a distribution: their shape; where no delay and no
    /// jitter are given, also their mean and standard deviation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delay_table_ms: Vec<f64>,
    /// Correlation between the delays of successive packets, 0 to below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_correlation: Option<f64>,
    /// Whether jitter may make packets overtake each other.
    #[serde(skip_serializing_if = "is_false")]
    pub may_reorder: bool,
    /// Share of packets that leave at once while others wait, more than 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder_ratio: Option<f64>,
    /// At least this many packets less one wait before one may leave at once; 1 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder_gap: Option<u32>,
    /// Loss in bursts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_gilbert_elliott: Option<GilbertElliott>,
    /// Loss of every packet whose number is a multiple of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_every: Option<u64>,
    /// Loss of these packets, counted from 1: numbers and ranges, as in `3,17,40-50`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_packets: Option<String>,
    /// After so many packets the list of lost ones begins again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_packets_repeat_after: Option<u64>,
    /// Share of packets that arrive twice, more than 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_ratio: Option<f64>,
    /// Share of packets that are spoilt, more than 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt_ratio: Option<f64>,
    /// How they are spoilt.
    #[serde(skip_serializing_if = "is_default")]
    pub corrupt_kind: CorruptKind,
    /// What passes a second, in bytes, link-layer headers included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_second: Option<u64>,
    /// What passes at once after a pause, in bytes; one full packet when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_bytes: Option<u64>,
    /// What can wait, in bytes; 50 ms worth, but at least 64 KiB, when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_bytes: Option<u64>,
    /// What shares count.
    #[serde(skip_serializing_if = "is_default")]
    pub unit: Unit,
    /// Whose packets: names of targets, addresses or networks, each with a port or range if wanted, as in
    /// `etcd1:2380`, `10.0.0.0/8`, `[fd00::1]:2379-2380`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The target's own port or range of ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp` or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Treat ARP and neighbour discovery like any other packet.
    #[serde(skip_serializing_if = "is_false")]
    pub neighbours: bool,
    /// Of faults that fit a packet, the one with the lowest number acts.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: u32,
    /// How long the target's processes stand still each time, in nanoseconds. A fault on processes has nothing of
    /// one on packets, and the other way round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ns: Option<u64>,
    /// From the begin of one pause to that of the next, in nanoseconds; one pause alone when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_every_ns: Option<u64>,
    /// Processors that the target's processes may use together: 0.2 is a fifth of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
}

impl FaultShape {
    /// Whether it does anything, and not only selects packets.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        self.is_on_processes()
            || self.rate_bytes_per_second.is_some()
            || self.duplicate_ratio.is_some()
            || self.corrupt_ratio.is_some()
            || self.loss_gilbert_elliott.is_some()
            || self.loss_every.is_some()
            || self.loss_packets.is_some()
            || !self.delay_table_ms.is_empty()
    }

    /// Whether it is about the processes of the target, and not about its packets.
    #[must_use]
    pub fn is_on_processes(&self) -> bool {
        self.pause_ns.is_some() || self.pause_every_ns.is_some() || self.cpus.is_some()
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary;

    #[test]
    fn a_shape_travels_and_an_empty_one_says_nothing() {
        assert!(dictionary::encode(&FaultShape::default()).unwrap().is_empty());
        let shape = FaultShape {
            distribution: Some(Distribution::Paretonormal),
            delay_table_ms: vec![1.0, 2.5],
            loss_gilbert_elliott: Some(GilbertElliott {
                good_to_bad: 0.1,
                bad_to_good: 0.2,
                lost_when_bad: 1.0,
                lost_when_good: 0.0,
            }),
            to: vec!["etcd1:2380".into()],
            priority: 3,
            unit: Unit::Skb,
            pause_ns: Some(200_000_000),
            cpus: Some(0.25),
            ..FaultShape::default()
        };
        let travelled = dictionary::decode::<FaultShape>(dictionary::encode(&shape).unwrap());
        assert_eq!(travelled.unwrap(), shape);
    }
}
