//! Holding devices: interfaces of our own to which the programs send packets that must wait, and
//! from which they come back. A backend is nothing but one of these.

mod cutter;
mod delay_line;
#[cfg(test)]
mod delay_line_properties;
mod edt;
mod netem;
mod pair;
pub(crate) mod relay;
mod spoil;
mod wake_ahead;

use std::{fmt, io, time::Duration};

use thiserror::Error;

use crate::{datapath::Effects, namespace::NamespaceError, netlink::NetlinkError};

pub(crate) use cutter::Cutter;
pub(crate) use edt::EdtPair;
pub(crate) use netem::NetemPair;
use pair::DevicePair;
pub(crate) use relay::Relay;

/// Largest packet that a holding device takes: segmentation-offload packets are not cut up.
const DEVICE_MTU: u32 = 65_000;

/// Length of a holding device's transmit queue in packets.
const DEVICE_QUEUE: u32 = 32_768;

/// Which device makes packets wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldingKind {
    /// A veth pair with fq on one end: our program sets each packet's time of departure.
    Edt,
    /// A veth pair with netem on one end: netem decides how long packets wait.
    Netem,
    /// A TAP device whose packets wait in this process: needs neither fq nor netem.
    Relay,
}

impl HoldingKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Edt, Self::Netem, Self::Relay];

    /// What of these effects the device cannot do, after "cannot"; nothing if it can do all of them.
    #[must_use]
    pub fn cannot(self, effects: &Effects) -> Option<&'static str> {
        if effects.needs_relay() && self != Self::Relay {
            return Some("make a checksum wrong: only the relay can");
        }
        if self != Self::Netem {
            return None;
        }
        if effects.rate.is_some() {
            return Some("limit a rate as asked: it knows no burst and counts its queue in packets");
        }
        let jitter = effects.delay.as_ref()?.jitter.as_ref()?;
        if jitter.spread > netem::LARGEST_SPREAD {
            return Some("spread jitter that far: it counts in 31 bits");
        }
        (jitter.correlation > 0.0).then_some("correlate jitter: its correlation is broken")
    }
}

impl fmt::Display for HoldingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Edt => "edt",
            Self::Netem => "netem",
            Self::Relay => "relay",
        })
    }
}

/// What can go wrong with a holding device.
#[derive(Debug, Error)]
pub enum HoldingError {
    /// The TAP device could not be made.
    #[error("cannot create a TAP device (this needs /dev/net/tun and CAP_NET_ADMIN)")]
    Tap(#[source] io::Error),
    /// The relay's thread could not be started or set up.
    #[error("cannot start the relay")]
    Relay(#[source] io::Error),
    /// A link or queueing discipline could not be made or removed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// What a holding device did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldingStatistics {
    /// Packets that wait at this moment.
    pub waiting: u64,
    /// Packets that were sent back (relay only).
    pub returned: u64,
    /// Packets that were lost although no rule asked for it: queue full, memory bound, refused.
    pub unintended_drops: u64,
    /// The most that a packet was sent back too late, in nanoseconds (relay only).
    pub lateness_max_ns: u64,
    /// How late packets were sent back on average, in nanoseconds (relay only).
    pub lateness_mean_ns: u64,
}

/// When the packets of a slot are gone from a device that released them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Now: they were sent back at once, in order.
    Now,
    /// When the latest departure that was given to one of them is over.
    WhenDue,
    /// When nothing waits in the device any more, at the latest after that time.
    WhenEmpty {
        /// The longest that a packet may be in it.
        within: Duration,
    },
}

/// Where packets go into a device and come out of it, and what is done to them there.
pub(crate) struct Terminals {
    /// Name of the device that takes packets.
    pub(crate) name: String,
    /// Index of the link that packets are sent to.
    pub(crate) entrance_index: u32,
    /// Index of the link at whose ingress they come out again.
    pub(crate) exit_index: u32,
    /// How packets are to be sent there: a `HOLD_` constant of the ABI.
    pub(crate) mode: u32,
    /// Name of the program at the entrance, which gives packets their time of departure or notes
    /// when they came.
    pub(crate) entrance_program: &'static str,
}

/// A device that makes packets wait. The engine of rules calls in this order: `admit` before the
/// first packet of a slot and whenever its effects change, `release` before and once more after the
/// last one, `remove` when no slot is left and nothing of it can be inside.
pub(crate) trait HoldingDevice: Send {
    /// Where packets go in and come out.
    fn terminals(&self) -> &Terminals;

    /// Gets ready for packets with these effects.
    fn admit(&mut self, slot: u32, effects: &Effects) -> Result<(), HoldingError>;

    /// Makes packets of the slot go as far as that is possible.
    fn release(&mut self, slot: u32) -> Drained;

    /// Packets of the slot that were lost since the device is there although nobody asked for it, as far
    /// as the device can tell whose they were.
    fn drops_of(&self, _slot: u32) -> u64 {
        0
    }

    /// Packets that were lost likewise and may have been anybody's. The kernel has to be asked.
    fn drops_of_anybody(&self) -> u64;

    /// What the device did so far.
    fn statistics(&self) -> HoldingStatistics;

    /// Takes the device down. Packets that still wait are lost.
    fn remove(self: Box<Self>) -> Result<(), HoldingError>;
}

/// The packet rate for which queues have room. What is above netem's own limit of 1000 packets, which
/// is reached at 10 000 packets/s and 100 ms, would be lost in silence.
const PACKETS_PER_SECOND: u64 = 500_000;
const LEAST_QUEUE: u32 = 10_000;
const LARGEST_QUEUE: u32 = 2_000_000;
/// Jitter beyond this many spreads is too rare to need room.
const SPREADS_WITH_ROOM: u32 = 8;

/// Packets that may wait at a time, for a wait.
fn packets_that_wait(wait: Duration) -> u32 {
    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let packets = PACKETS_PER_SECOND.saturating_mul(milliseconds) / 1000;
    u32::try_from(packets).unwrap_or(u32::MAX).clamp(LEAST_QUEUE, LARGEST_QUEUE)
}

/// How long packets with these effects wait, but for rare ones.
fn longest_wait(effects: &Effects) -> Duration {
    let delay = effects.delay.as_ref();
    let jitter = delay.and_then(|delay| delay.jitter.as_ref());
    let base = delay.map_or(Duration::ZERO, |delay| delay.base);
    let spread = jitter.map_or(Duration::ZERO, |jitter| jitter.spread.saturating_mul(SPREADS_WITH_ROOM));
    let queue = effects.rate.map_or(Duration::ZERO, |rate| rate.longest_wait());
    base.saturating_add(spread).saturating_add(queue)
}

/// Keeps a link of the calling thread's namespace silent: without this, IPv6 would announce itself
/// on it. Kernels without IPv6 have no such file, and need none.
fn disable_ipv6(link_name: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{link_name}/disable_ipv6");
    if let Err(error) = std::fs::write(&path, "1")
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%path, %error, "IPv6 stays enabled on a holding device");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::packets_that_wait;

    #[test]
    fn queues_have_room_for_the_rate_times_the_wait() {
        assert_eq!(packets_that_wait(Duration::from_millis(1)), 10_000);
        assert_eq!(packets_that_wait(Duration::from_millis(100)), 50_000);
        assert_eq!(packets_that_wait(Duration::from_secs(3600)), 2_000_000);
    }
}
