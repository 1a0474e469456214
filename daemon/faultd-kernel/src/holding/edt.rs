//! A veth pair with fq on its entrance, one for all rules of a namespace: our program in front of it
//! writes into each packet when it is to leave, and fq keeps to that.

use std::time::Duration;

use super::{
    DevicePair, Drained, HoldingDevice, HoldingError, HoldingStatistics, Terminals, longest_wait,
    packets_that_wait,
};
use crate::{
    datapath::Effects,
    namespace::Namespace,
    traffic_control::{self, FqOptions},
};

/// The holding device that keeps packets in the kernel's fq.
pub(crate) struct EdtPair {
    pair: DevicePair,
    terminals: Terminals,
    limit: u32,
}

impl EdtPair {
    /// Makes the pair in `namespace`, with fq on its entrance.
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Result<Self, HoldingError> {
        let pair = DevicePair::create(namespace, name)?;
        let limit = packets_that_wait(Duration::ZERO);
        traffic_control::add_fq(&pair.netlink(), pair.entrance_index(), FqOptions { limit })?;
        pair.switch_on()?;
        Ok(Self { terminals: pair.terminals("edt_entrance"), pair, limit })
    }
}

impl HoldingDevice for EdtPair {
    fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    fn admit(&mut self, _slot: u32, effects: &Effects) -> Result<(), HoldingError> {
        let limit = packets_that_wait(longest_wait(effects));
        if limit > self.limit {
            let options = FqOptions { limit };
            traffic_control::change_fq(&self.pair.netlink(), self.pair.entrance_index(), options)?;
            self.limit = limit;
        }
        Ok(())
    }

    fn release(&mut self, _slot: u32) -> Drained {
        Drained::WhenDue
    }

    fn drops_of_anybody(&self) -> u64 {
        self.statistics().unintended_drops
    }

    fn statistics(&self) -> HoldingStatistics {
        self.pair.statistics()
    }

    fn remove(self: Box<Self>) -> Result<(), HoldingError> {
        self.pair.remove()
    }
}
