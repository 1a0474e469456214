//! Access to the counters of one rule on this CPU.

use faultd_abi::RuleCounters;

use crate::maps::COUNTERS;

/// Lets `change` update the counters of the rule in `slot`.
#[inline(always)]
pub fn count(slot: u32, change: impl FnOnce(&mut RuleCounters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(slot) {
        // SAFETY: the lookup gave a valid entry of this CPU, and programs of this kind run with
        // bottom halves disabled, so nothing else on this CPU holds a reference to it.
        change(unsafe { &mut *counters });
    }
}
