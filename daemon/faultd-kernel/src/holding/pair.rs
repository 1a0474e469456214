//! A veth pair of our own, both ends in one namespace: what goes into one end comes out of the other.

use faultd_abi::HOLD_CLONE;

use super::{DEVICE_MTU, DEVICE_QUEUE, HoldingError, HoldingStatistics, Terminals, disable_ipv6};
use crate::{
    link::{self, Link},
    namespace::Namespace,
    netlink::{Netlink, NetlinkError},
    traffic_control,
};

/// The pair; it is removed when this is dropped.
pub(crate) struct DevicePair {
    namespace: Namespace,
    entrance: Link,
    exit: Link,
    removed: bool,
}

impl DevicePair {
    /// Makes the pair `NAMEa`, `NAMEb`, both switched off.
    pub(crate) fn create(namespace: &Namespace, name: &str) -> Result<Self, HoldingError> {
        let (entrance_name, exit_name) = (format!("{name}a"), format!("{name}b"));
        let entrance = link::create_veth(namespace, &entrance_name, namespace, &exit_name)?;
        // From here on the guard removes the pair, whatever fails.
        let mut pair =
            Self { namespace: namespace.clone(), exit: entrance.clone(), entrance, removed: false };
        let found = link::find(namespace, &exit_name)?;
        pair.exit = found.ok_or_else(|| NetlinkError::Missing(format!("veth {exit_name}")))?;
        namespace.run(|| [&entrance_name, &exit_name].map(|name| disable_ipv6(name)))?;
        for end in [&pair.entrance, &pair.exit] {
            link::set_sizes(namespace, end.index, DEVICE_MTU, DEVICE_QUEUE)?;
        }
        Ok(pair)
    }

    /// Switches both ends on.
    pub(crate) fn switch_on(&self) -> Result<(), HoldingError> {
        for end in [&self.entrance, &self.exit] {
            link::set_up(&self.namespace, end.index)?;
        }
        Ok(())
    }

    /// The pair as a holding device. A packet that waits while its socket is charged for it throttles
    /// TCP, so that clones are sent there.
    pub(crate) fn terminals(&self, entrance_program: &'static str) -> Terminals {
        Terminals {
            name: self.entrance.name.clone(),
            entrance_index: self.entrance.index,
            exit_index: self.exit.index,
            mode: HOLD_CLONE,
            entrance_program,
        }
    }

    /// Index of the end that takes packets.
    pub(crate) fn entrance_index(&self) -> u32 {
        self.entrance.index
    }

    /// Index of the end at whose ingress they come out.
    pub(crate) fn exit_index(&self) -> u32 {
        self.exit.index
    }

    /// Netlink of its namespace.
    pub(crate) fn netlink(&self) -> Netlink {
        Netlink::of(&self.namespace)
    }

    /// Packets that the pair itself dropped.
    pub(crate) fn drops(&self) -> u64 {
        link::transmit_drops(&self.namespace, &[self.entrance.index, self.exit.index])
    }

    /// Packets that wait at the entrance, and those that were lost there or on the way through.
    pub(crate) fn statistics(&self) -> HoldingStatistics {
        // None where the pair is gone.
        let queue = traffic_control::root_queue(&self.netlink(), self.entrance.index).unwrap_or_default();
        HoldingStatistics {
            waiting: queue.waiting,
            unintended_drops: self.drops().saturating_add(queue.drops),
            ..HoldingStatistics::default()
        }
    }

    /// Removes the pair.
    pub(crate) fn remove(mut self) -> Result<(), HoldingError> {
        self.delete()
    }

    fn delete(&mut self) -> Result<(), HoldingError> {
        self.removed = true;
        Ok(link::delete(&self.namespace, self.entrance.index)?)
    }
}

impl Drop for DevicePair {
    fn drop(&mut self) {
        if !self.removed
            && let Err(error) = self.delete()
        {
            tracing::error!(%error, device = self.entrance.name, "cannot remove a holding device");
        }
    }
}
