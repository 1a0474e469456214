//! A veth pair with fq on its entrance, one for all rules of a namespace: our program in front of it
//! writes into each packet when it is to leave, and fq keeps to that.

use std::{collections::HashMap, time::Duration};

use faultd_abi::HOLD_CLONE;

use super::{
    DevicePair, Drained, HoldingDevice, HoldingError, HoldingStatistics, longest_wait, packets_that_wait,
};
use crate::{
    datapath::Effects,
    namespace::Namespace,
    traffic_control::{self, FqOptions},
};

/// The holding device that keeps packets in the kernel's fq.
pub(crate) struct EdtPair {
    pair: DevicePair,
    limit: u32,
    /// What the device had lost when each slot was admitted.
    lost_before: HashMap<u32, u64>,
}

impl EdtPair {
    /// Makes the pair in `namespace`, with fq on its entrance.
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Result<Self, HoldingError> {
        let pair = DevicePair::create(namespace, name)?;
        let limit = packets_that_wait(Duration::ZERO);
        traffic_control::add_fq(&pair.netlink(), pair.entrance_index(), FqOptions { limit })?;
        pair.switch_on()?;
        Ok(Self { pair, limit, lost_before: HashMap::new() })
    }

    fn lost(&self) -> u64 {
        let queue = traffic_control::root_queue(&self.pair.netlink(), self.pair.entrance_index());
        queue.unwrap_or_default().drops.saturating_add(self.pair.drops())
    }
}

impl HoldingDevice for EdtPair {
    fn name(&self) -> &str {
        self.pair.name()
    }

    fn entrance_index(&self) -> u32 {
        self.pair.entrance_index()
    }

    fn exit_index(&self) -> u32 {
        self.pair.exit_index()
    }

    fn mode(&self) -> u32 {
        HOLD_CLONE
    }

    fn entrance_program(&self) -> &'static str {
        "edt_entrance"
    }

    fn admit(&mut self, slot: u32, effects: &Effects) -> Result<(), HoldingError> {
        let limit = packets_that_wait(longest_wait(effects));
        if limit > self.limit {
            let options = FqOptions { limit };
            traffic_control::change_fq(&self.pair.netlink(), self.pair.entrance_index(), options)?;
            self.limit = limit;
        }
        let lost = self.lost();
        self.lost_before.entry(slot).or_insert(lost);
        Ok(())
    }

    fn release(&mut self, slot: u32) -> Drained {
        self.lost_before.remove(&slot);
        Drained::WhenDue
    }

    /// The device does not tell whose packets it lost: all rules that use it are told of each.
    fn unintended_drops(&self, slot: u32) -> u64 {
        self.lost_before.get(&slot).map_or(0, |before| self.lost().saturating_sub(*before))
    }

    fn statistics(&self) -> HoldingStatistics {
        let queue = traffic_control::root_queue(&self.pair.netlink(), self.pair.entrance_index());
        HoldingStatistics {
            waiting: queue.unwrap_or_default().waiting,
            unintended_drops: self.lost(),
            ..HoldingStatistics::default()
        }
    }

    fn remove(self: Box<Self>) -> Result<(), HoldingError> {
        self.pair.remove()
    }
}
