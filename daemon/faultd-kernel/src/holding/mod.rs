//! Holding devices: interfaces of our own to which the programs send packets that must wait, and
//! from which they come back. A backend is nothing but one of these.

mod delay_line;
mod netem;
mod relay;

use std::{io, time::Duration};

use thiserror::Error;

use crate::{namespace::NamespaceError, netlink::NetlinkError};

pub(crate) use netem::NetemPair;
pub(crate) use relay::Relay;

/// Largest packet that a holding device takes: segmentation-offload packets are not cut up.
const DEVICE_MTU: u32 = 65_000;

/// Length of a holding device's transmit queue in packets.
const DEVICE_QUEUE: u32 = 10_000;

/// Which device makes packets wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldingKind {
    /// A TAP device whose packets wait in this process: needs neither fq nor netem.
    Relay,
    /// A veth pair with netem on one end: packets wait in the kernel.
    Netem,
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

/// A device that makes packets wait. The engine of rules calls in this order: `admit` before the
/// first packet of a slot, `release` before and once more after the last one, `remove` when no slot
/// is left and the time that `release` asked for is over.
pub(crate) trait HoldingDevice: Send {
    /// Name of the device that takes packets.
    fn name(&self) -> &str;

    /// Index of the link that packets are sent to.
    fn entrance_index(&self) -> u32;

    /// Index of the link at whose ingress they come out again.
    fn exit_index(&self) -> u32;

    /// How packets are to be sent there: a `HOLD_` constant of the ABI.
    fn mode(&self) -> u32;

    /// Makes packets of a slot wait from now on.
    fn admit(&mut self, slot: u32, delay: Duration);

    /// Lets packets of a slot go as far as that is possible, and tells how long some may still come.
    fn release(&mut self, slot: u32) -> Duration;

    /// Packets of the slot that were lost although nobody asked for it, as far as that is known.
    fn unintended_drops(&self, slot: u32) -> u64;

    /// What the device did so far.
    fn statistics(&self) -> HoldingStatistics;

    /// Takes the device down. Packets that still wait are lost.
    fn remove(self: Box<Self>) -> Result<(), HoldingError>;
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
