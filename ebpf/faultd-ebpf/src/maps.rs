//! The maps through which the daemon tells the programs what to do, and learns what they did.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use faultd_abi::{HOOK_COUNT, InterfaceKey, Rule, RuleCounters, RuleList, SLOT_COUNT};

/// Which rules apply at which hook.
#[map]
pub static INTERFACES: HashMap<InterfaceKey, RuleList> = HashMap::with_max_entries(HOOK_COUNT, 0);

/// The rules by slot.
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(SLOT_COUNT, 0);

/// Until when each rule may act, on the monotonic clock in nanoseconds. Apart from `RULES` because
/// the daemon moves it several times a second.
#[map]
pub static DEADLINES: Array<u64> = Array::with_max_entries(SLOT_COUNT, 0);

/// The number of the next matched packet of each rule, from which its loss draw is made.
#[map]
pub static PACKET_NUMBERS: Array<u64> = Array::with_max_entries(SLOT_COUNT, 0);

/// What happened under each rule.
#[map]
pub static COUNTERS: PerCpuArray<RuleCounters> = PerCpuArray::with_max_entries(SLOT_COUNT, 0);
