//! The flags that describe a fault, the same wherever one is described.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::Args;
use faultd_api::{
    fault::{Backend, Direction, FaultRequest},
    quantities::{QuantityError, parse_packets, parse_ports, parse_rate, parse_size},
    shape::{CorruptKind, Distribution, FaultShape, GilbertElliott, Unit},
    units::{nanoseconds, parse_delay, parse_duration, parse_share},
};

use crate::{
    command_error::CommandError,
    fault_files::{read_delays, read_trace},
    flag_values::{
        parse_channel, parse_correlation, parse_count, parse_cpus, parse_priority, parse_seed, parse_word,
    },
};

/// Kind, parameters, packets and the way a fault is carried out.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FaultFlags {
    /// One-way delay to add: 100us, 50ms, 1.5s.
    #[arg(long, value_name = "DURATION", value_parser = parse_delay, allow_hyphen_values = true)]
    pub(crate) delay: Option<Duration>,
    /// How far the delay varies: the standard deviation, or half of the width if uniform.
    #[arg(long, value_name = "DURATION", value_parser = parse_delay, allow_hyphen_values = true)]
    jitter: Option<Duration>,
    /// How it varies: uniform, normal, pareto, paretonormal [default: normal].
    #[arg(long, value_parser = parse_word::<Distribution>)]
    distribution: Option<Distribution>,
    /// Measured delays to follow, one a line, in milliseconds or with a unit; gives delay and jitter too.
    #[arg(long, value_name = "FILE", conflicts_with = "distribution")]
    delay_table: Option<PathBuf>,
    /// Correlation between the delays of successive packets, 0 to below 1.
    #[arg(long, value_name = "RATIO", value_parser = parse_correlation, allow_hyphen_values = true)]
    jitter_correlation: Option<f64>,
    /// Lets jitter make packets overtake each other.
    #[arg(long)]
    reorder: bool,
    /// Share of packets that leave at once while others wait: 25%.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, allow_hyphen_values = true)]
    reorder_share: Option<f64>,
    /// At least this many packets less one wait before one may leave at once [default: 1].
    #[arg(long, value_name = "COUNT", value_parser = parse_count, allow_hyphen_values = true)]
    reorder_gap: Option<u64>,
    /// Share of packets to drop: 20%, 0.5%.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, allow_hyphen_values = true)]
    pub(crate) loss: Option<f64>,
    /// Loss in bursts (Gilbert-Elliott): P,R or P,R,1-H or P,R,1-H,1-K in percent.
    #[arg(long, value_name = "P,R[,1-H[,1-K]]", value_parser = parse_channel, allow_hyphen_values = true)]
    loss_gemodel: Option<GilbertElliott>,
    /// Drops every n-th packet.
    #[arg(long, value_name = "COUNT", value_parser = parse_count, allow_hyphen_values = true)]
    loss_every: Option<u64>,
    /// Drops these packets, counted from 1: 3,17,40-50.
    #[arg(long, value_name = "LIST", value_parser = checked_packets)]
    loss_list: Option<String>,
    /// Drops the packets that a file of 0 and 1 marks with 1.
    #[arg(long, value_name = "FILE", conflicts_with = "loss_list")]
    loss_trace: Option<PathBuf>,
    /// Begins the trace again at its end.
    #[arg(long, requires = "loss_trace")]
    loss_trace_repeat: bool,
    /// Drops everything, both ways unless a direction is given.
    #[arg(long, conflicts_with = "loss")]
    partition: bool,
    /// Share of packets that arrive twice: 1%.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, allow_hyphen_values = true)]
    duplicate: Option<f64>,
    /// Share of packets that are spoilt: 1%.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, allow_hyphen_values = true)]
    corrupt: Option<f64>,
    /// detected has a wrong checksum, silent a right one [default: detected].
    #[arg(long, value_parser = parse_word::<CorruptKind>, requires = "corrupt")]
    corrupt_kind: Option<CorruptKind>,
    /// What passes a second: 10mbit, 500kbyte.
    #[arg(long, value_parser = parse_rate, allow_hyphen_values = true)]
    rate: Option<u64>,
    /// What passes at once after a pause [default: 1514].
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    burst: Option<u64>,
    /// What can wait; more is dropped [default: 50 ms worth, at least 64 KiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    queue: Option<u64>,
    /// Pauses the target's processes for so long, each time: 200ms. A fault of its own, not on packets.
    #[arg(long, value_name = "DURATION", value_parser = parse_delay, allow_hyphen_values = true, conflicts_with_all = ["cpus", "direction"])]
    pause: Option<Duration>,
    /// From the begin of one pause to that of the next: 1s [default: one pause alone].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    pause_every: Option<Duration>,
    /// Lets the target's processes use so many processors together: 0.2. A fault of its own, not on packets.
    #[arg(long, value_name = "COUNT", value_parser = parse_cpus, allow_hyphen_values = true, conflicts_with = "direction")]
    cpus: Option<f64>,
    /// What shares count: wire packets, or the larger ones of the kernel (skb) [default: wire].
    #[arg(long, value_parser = parse_word::<Unit>)]
    unit: Option<Unit>,
    /// Only packets of these peers: a target's name, an address or a network, each with :PORT if wanted.
    #[arg(long, value_name = "PEER[:PORT]", value_delimiter = ',')]
    to: Vec<String>,
    /// Only packets of these ports of the target: 2379 or 2379-2380.
    #[arg(long, value_name = "PORT", value_parser = checked_ports)]
    port: Option<String>,
    /// Only packets of this protocol: tcp, udp, icmp, icmpv6, sctp or a number.
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<String>,
    /// ARP and neighbour discovery as well, which are spared otherwise.
    #[arg(long)]
    include_neighbours: bool,
    /// Of faults that fit a packet, the one with the lowest number acts [default: 0].
    #[arg(long, value_parser = parse_priority, allow_hyphen_values = true)]
    priority: Option<u32>,
    /// egress leaves the target, ingress enters it, or both [default: egress].
    #[arg(long, value_parser = parse_word::<Direction>)]
    direction: Option<Direction>,
    /// auto takes what is best on this host, or name one: edt, netem, relay [default: auto].
    #[arg(long, value_parser = parse_word::<Backend>)]
    pub(crate) backend: Option<Backend>,
    /// Seed of everything random; chosen and shown when missing.
    #[arg(long, value_parser = parse_seed, allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,
}

impl FaultFlags {
    /// Whether they describe a fault at all.
    pub(crate) fn has_fault(&self) -> bool {
        self.delay.is_some()
            || self.loss_ratio().is_some()
            || self.delay_table.is_some()
            || self.loss_gemodel.is_some()
            || self.loss_every.is_some()
            || self.loss_list.is_some()
            || self.loss_trace.is_some()
            || self.duplicate.is_some()
            || self.corrupt.is_some()
            || self.rate.is_some()
            || self.pause.is_some()
            || self.cpus.is_some()
    }

    /// The pause in nanoseconds.
    pub(crate) fn pause_ns(&self) -> Option<u64> {
        self.pause.map(nanoseconds)
    }

    /// Processors that may be used.
    pub(crate) fn cpus(&self) -> Option<f64> {
        self.cpus
    }

    /// The delay in nanoseconds.
    pub(crate) fn delay_ns(&self) -> Option<u64> {
        self.delay.map(nanoseconds)
    }

    /// The share of packets to drop: all of them in a partition.
    pub(crate) fn loss_ratio(&self) -> Option<f64> {
        if self.partition { Some(1.0) } else { self.loss }
    }

    /// Packets concerned: a partition cuts both ways unless something else is said.
    pub(crate) fn direction(&self) -> Direction {
        self.direction.unwrap_or(if self.partition { Direction::Both } else { Direction::default() })
    }

    /// Everything beside delay and loss.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub(crate) fn shape(&self) -> Result<FaultShape, CommandError> {
        self.shape_from(FaultShape::default())
    }

    /// A fault as it is, changed by the flags that are given.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub(crate) fn change(&self, request: FaultRequest) -> Result<FaultRequest, CommandError> {
        Ok(FaultRequest {
            delay_ns: self.delay_ns().or(request.delay_ns),
            loss_ratio: self.loss_ratio().or(request.loss_ratio),
            shape: self.shape_from(request.shape.clone())?,
            ..request
        })
    }

    fn shape_from(&self, before: FaultShape) -> Result<FaultShape, CommandError> {
        let table = self.delay_table.as_deref().map(read_delays).transpose()?;
        let trace = self.loss_trace.as_deref().map(read_trace).transpose()?;
        let (trace, length) = trace.map_or((None, None), |trace| (Some(trace.packets), Some(trace.length)));
        let gap = self.reorder_gap.map(|gap| u32::try_from(gap).unwrap_or(u32::MAX));
        Ok(FaultShape {
            jitter_ns: self.jitter.map(nanoseconds).or(before.jitter_ns),
            distribution: self.distribution.or(before.distribution),
            delay_table_ms: table.unwrap_or(before.delay_table_ms),
            jitter_correlation: self.jitter_correlation.or(before.jitter_correlation),
            may_reorder: self.reorder || before.may_reorder,
            reorder_ratio: self.reorder_share.or(before.reorder_ratio),
            reorder_gap: gap.or(before.reorder_gap),
            loss_gilbert_elliott: self.loss_gemodel.or(before.loss_gilbert_elliott),
            loss_every: self.loss_every.or(before.loss_every),
            loss_packets: self.loss_list.clone().or(trace).or(before.loss_packets),
            loss_packets_repeat_after: length
                .filter(|_length| self.loss_trace_repeat)
                .or(before.loss_packets_repeat_after),
            duplicate_ratio: self.duplicate.or(before.duplicate_ratio),
            corrupt_ratio: self.corrupt.or(before.corrupt_ratio),
            corrupt_kind: self.corrupt_kind.unwrap_or(before.corrupt_kind),
            rate_bytes_per_second: self.rate.or(before.rate_bytes_per_second),
            burst_bytes: self.burst.or(before.burst_bytes),
            queue_bytes: self.queue.or(before.queue_bytes),
            unit: self.unit.unwrap_or(before.unit),
            to: if self.to.is_empty() { before.to } else { self.to.clone() },
            port: self.port.clone().or(before.port),
            protocol: self.proto.clone().or(before.protocol),
            neighbours: self.include_neighbours || before.neighbours,
            priority: self.priority.unwrap_or(before.priority),
            pause_ns: self.pause_ns().or(before.pause_ns),
            pause_every_ns: self.pause_every.map(nanoseconds).or(before.pause_every_ns),
            cpus: self.cpus.or(before.cpus),
        })
    }
}

/// Checked here, sent as it was written.
fn checked_packets(text: &str) -> Result<String, QuantityError> {
    parse_packets(text).map(|_ranges: Vec<RangeInclusive<u64>>| text.to_owned())
}

fn checked_ports(text: &str) -> Result<String, QuantityError> {
    parse_ports(text).map(|_range| text.to_owned())
}
