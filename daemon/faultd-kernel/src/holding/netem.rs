//! A veth pair with netem on one end, one for each delay: packets go in there and come out of the other end.

use std::time::Duration;

use faultd_abi::HOLD_CLONE;

use super::{DEVICE_MTU, DEVICE_QUEUE, HoldingDevice, HoldingError, HoldingStatistics, disable_ipv6};
use crate::{
    link::{self, Link},
    namespace::Namespace,
    netlink::Netlink,
    traffic_control,
};

/// Beyond its delay a packet may take this long through the pair.
const DRAIN_MARGIN: Duration = Duration::from_millis(50);

/// The packet rate for which the queue has room. netem's own limit of 1000 packets is reached at
/// 10 000 packets/s and 100 ms, and what is above it would be lost in silence.
const PACKETS_PER_SECOND: u64 = 500_000;

const LEAST_QUEUE: u32 = 10_000;
const LARGEST_QUEUE: u32 = 2_000_000;

/// The holding device that keeps packets in the kernel's netem.
pub(crate) struct NetemPair {
    namespace: Namespace,
    entrance: Link,
    exit: Link,
    delay: Duration,
    removed: bool,
}

impl NetemPair {
    /// Makes the pair `NAMEa`, `NAMEb` in `namespace`, with netem on the first.
    pub(crate) fn start(namespace: &Namespace, name: &str, delay: Duration) -> Result<Self, HoldingError> {
        let (entrance_name, exit_name) = (format!("{name}a"), format!("{name}b"));
        let entrance = link::create_veth(namespace, &entrance_name, namespace, &exit_name)?;
        // From here on the guard removes the pair, whatever fails.
        let mut pair =
            Self { namespace: namespace.clone(), exit: entrance.clone(), entrance, delay, removed: false };
        let found = link::find(namespace, &exit_name)?;
        pair.exit =
            found.ok_or_else(|| crate::netlink::NetlinkError::Missing(format!("veth {exit_name}")))?;
        namespace.run(|| [&entrance_name, &exit_name].map(|name| disable_ipv6(name)))?;
        let limit = queue_limit(delay);
        for end in [&pair.entrance, &pair.exit] {
            link::set_sizes(namespace, end.index, DEVICE_MTU, DEVICE_QUEUE)?;
        }
        traffic_control::add_netem(&Netlink::of(namespace), pair.entrance.index, delay, limit)?;
        for end in [&pair.entrance, &pair.exit] {
            link::set_up(namespace, end.index)?;
        }
        Ok(pair)
    }

    fn delete(&mut self) -> Result<(), HoldingError> {
        self.removed = true;
        Ok(link::delete(&self.namespace, self.entrance.index)?)
    }
}

impl HoldingDevice for NetemPair {
    fn name(&self) -> &str {
        &self.entrance.name
    }

    fn entrance_index(&self) -> u32 {
        self.entrance.index
    }

    fn exit_index(&self) -> u32 {
        self.exit.index
    }

    fn mode(&self) -> u32 {
        HOLD_CLONE
    }

    fn admit(&mut self, _slot: u32, _delay: Duration) {}

    fn release(&mut self, _slot: u32) -> Duration {
        self.delay.saturating_add(DRAIN_MARGIN)
    }

    fn unintended_drops(&self, _slot: u32) -> u64 {
        0
    }

    fn statistics(&self) -> HoldingStatistics {
        let netlink = Netlink::of(&self.namespace);
        let queue = traffic_control::root_queue(&netlink, self.entrance.index).unwrap_or_default();
        let device_drops = [&self.entrance, &self.exit]
            .map(|end| link::by_index(&self.namespace, end.index).map_or(0, |link| link.transmit_drops));
        HoldingStatistics {
            waiting: queue.waiting,
            unintended_drops: device_drops.iter().sum::<u64>().saturating_add(queue.drops),
            ..HoldingStatistics::default()
        }
    }

    fn remove(mut self: Box<Self>) -> Result<(), HoldingError> {
        self.delete()
    }
}

impl Drop for NetemPair {
    fn drop(&mut self) {
        if !self.removed
            && let Err(error) = self.delete()
        {
            tracing::error!(%error, device = self.entrance.name, "cannot remove a holding device");
        }
    }
}

/// Packets that may wait at a time, for a delay.
fn queue_limit(delay: Duration) -> u32 {
    let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let packets = PACKETS_PER_SECOND.saturating_mul(milliseconds) / 1000;
    u32::try_from(packets).unwrap_or(u32::MAX).clamp(LEAST_QUEUE, LARGEST_QUEUE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::queue_limit;

    #[test]
    fn the_queue_has_room_for_the_rate_times_the_delay() {
        assert_eq!(queue_limit(Duration::from_millis(1)), 10_000);
        assert_eq!(queue_limit(Duration::from_millis(100)), 50_000);
        assert_eq!(queue_limit(Duration::from_secs(3600)), 2_000_000);
    }
}
