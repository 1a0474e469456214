//! The cutter: a pair whose entrance takes no super-packets, so that the kernel cuts them on the way in,
//! in order, and wire packets come out.

use super::{DevicePair, HoldingError};
use crate::{link, namespace::Namespace};

/// The device that cuts.
pub(crate) struct Cutter {
    pair: DevicePair,
}

impl Cutter {
    /// Makes the device in `namespace`.
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Result<Self, HoldingError> {
        let pair = DevicePair::create(namespace, name)?;
        link::set_no_segmentation_offload(namespace, pair.entrance_index())?;
        pair.switch_on()?;
        Ok(Self { pair })
    }

    pub(crate) fn entrance_index(&self) -> u32 {
        self.pair.entrance_index()
    }

    pub(crate) fn exit_index(&self) -> u32 {
        self.pair.exit_index()
    }

    /// Packets that it lost: more came out of a few super-packets than the kernel's backlog takes.
    pub(crate) fn drops(&self) -> u64 {
        self.pair.drops()
    }

    pub(crate) fn remove(self) -> Result<(), HoldingError> {
        self.pair.remove()
    }
}
