//! A veth pair with netem on its entrance, one for each rule, because netem knows one set of parameters.

use std::time::Duration;

use super::{
    DevicePair, Drained, HoldingDevice, HoldingError, HoldingStatistics, Terminals, longest_wait,
    packets_that_wait,
};
use crate::{
    datapath::{Distribution, Effects, sampled_distribution},
    namespace::Namespace,
    traffic_control::{self, NetemOptions},
};

/// Steps of the tables that netem gets.
const TABLE_LENGTH: usize = 4096;
/// Tables reach from -4 to 4 units; with a unit of this many spreads they reach far enough.
const SPREADS_IN_UNIT: u32 = 8;
/// The longest unit that netem takes; a longer one would be cut in silence.
const LONGEST_UNIT: Duration = Duration::from_nanos(i32::MAX as u64);
/// The largest spread of jitter that netem can be given.
pub(crate) const LARGEST_SPREAD: Duration = Duration::from_nanos(i32::MAX as u64 / SPREADS_IN_UNIT as u64);

/// The holding device that keeps packets in the kernel's netem.
pub(crate) struct NetemPair {
    pair: DevicePair,
    terminals: Terminals,
    options: NetemOptions,
}

impl NetemPair {
    /// Makes the pair in `namespace`, with netem on its entrance.
    pub(crate) fn start(namespace: &Namespace, name: &str, effects: &Effects) -> Result<Self, HoldingError> {
        let pair = DevicePair::create(namespace, name)?;
        let options = options(effects);
        traffic_control::add_netem(&pair.netlink(), pair.entrance_index(), &options)?;
        pair.switch_on()?;
        Ok(Self { terminals: pair.terminals("netem_entrance"), pair, options })
    }

    fn change(&mut self, options: NetemOptions) -> Result<(), HoldingError> {
        if options != self.options {
            traffic_control::change_netem(&self.pair.netlink(), self.pair.entrance_index(), &options)?;
            self.options = options;
        }
        Ok(())
    }
}

/// What netem is told. Its own loss, duplicates and corruption are not used: those are decided before.
fn options(effects: &Effects) -> NetemOptions {
    let wait = longest_wait(effects);
    let mut options = NetemOptions {
        limit: packets_that_wait(wait),
        keeps_order: !effects.may_reorder && effects.reorder.is_none(),
        reorder: effects.reorder.map(|reorder| (reorder.ratio, reorder.gap)),
        ..NetemOptions::default()
    };
    let Some(delay) = &effects.delay else { return options };
    options.delay = delay.base;
    if let Some(jitter) = &delay.jitter {
        options.jitter = (jitter.spread * SPREADS_IN_UNIT).min(LONGEST_UNIT);
        options.distribution = table(&jitter.distribution);
    }
    options
}

fn table(distribution: &Distribution) -> Vec<f64> {
    let values = sampled_distribution(distribution, TABLE_LENGTH);
    values.into_iter().map(|value| value / f64::from(SPREADS_IN_UNIT)).collect()
}

impl HoldingDevice for NetemPair {
    fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    fn admit(&mut self, _slot: u32, effects: &Effects) -> Result<(), HoldingError> {
        self.change(options(effects))
    }

    /// Later packets wait for those that are held, and no longer.
    fn release(&mut self, slot: u32) -> Drained {
        let longest = self.options.delay + self.options.jitter * 4;
        let options =
            NetemOptions { keeps_order: true, limit: self.options.limit, ..NetemOptions::default() };
        if let Err(error) = self.change(options) {
            tracing::warn!(%error, slot, "held packets may be overtaken");
        }
        Drained::WhenEmpty { within: longest }
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
