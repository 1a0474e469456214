//! A veth pair of our own, both ends in one namespace: what goes into one end comes out of the other.

use super::{DEVICE_MTU, DEVICE_QUEUE, HoldingError, disable_ipv6};
use crate::{
    link::{self, Link},
    namespace::Namespace,
    netlink::{Netlink, NetlinkError},
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

    /// Name of the end that takes packets.
    pub(crate) fn name(&self) -> &str {
        &self.entrance.name
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
        let drops =
            |end: &Link| link::by_index(&self.namespace, end.index).map_or(0, |link| link.transmit_drops);
        drops(&self.entrance).saturating_add(drops(&self.exit))
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
