//! When a packet that came to a holding device leaves it.

use aya_ebpf::programs::TcContext;
use faultd_abi::{
    JITTER_ONE, Purpose, RULE_DRAINS, RULE_MAY_REORDER, chance, correlated, jittered_delay_ns,
    serialization_ns, table_value, threshold_is_met, through_bottleneck,
};

use crate::{atomic, maps::JITTER_TABLES, slot::Slot};

/// Others may take the bottleneck's turn this often before a packet goes without waiting for its own.
const MOST_ATTEMPTS: u32 = 8;
/// The table of the normal distribution.
const NORMAL_TABLE: u32 = 0;
/// Normal deviates from -4 to 4 are spread over a table.
const DEVIATE_TO_POINT: u32 = 13;

/// When the packet of this number among those that are held leaves, on the monotonic clock; nothing where
/// it finds the bottleneck's queue full.
#[inline(always)]
pub fn due_ns(context: &TcContext, slot: Slot, number: u64, now_ns: u64) -> Option<u64> {
    if slot.has(RULE_DRAINS) {
        return Some(in_order(slot, now_ns));
    }
    let leaves_ns = pass_bottleneck(context, slot, now_ns)?;
    if leaves_at_once(slot, number) {
        slot.count(|counters| counters.reordered += 1);
        return Some(leaves_ns);
    }
    let due_ns = leaves_ns + delay_ns(slot, number);
    Some(in_order(slot, due_ns))
}

/// Not before any that came earlier, unless that is allowed.
#[inline(always)]
fn in_order(slot: Slot, due_ns: u64) -> u64 {
    let last_ns = atomic::fetch_and_raise(slot.last_departure(), due_ns);
    if last_ns > due_ns && !slot.has(RULE_MAY_REORDER) { last_ns } else { due_ns }
}

#[inline(always)]
fn pass_bottleneck(context: &TcContext, slot: Slot, now_ns: u64) -> Option<u64> {
    if slot.rule.byte_time == 0 {
        return Some(now_ns);
    }
    let own_ns = serialization_ns(slot.rule, u64::from(context.len()));
    let mut free_ns = atomic::read(slot.bottleneck_free());
    for _attempt in 0..MOST_ATTEMPTS {
        let (leaves_ns, free_again_ns) = through_bottleneck(slot.rule, free_ns, now_ns, own_ns)?;
        let found_ns = atomic::compare_and_exchange(slot.bottleneck_free(), free_ns, free_again_ns);
        if found_ns == free_ns {
            return Some(leaves_ns);
        }
        free_ns = found_ns;
    }
    Some(now_ns)
}

#[inline(always)]
fn leaves_at_once(slot: Slot, number: u64) -> bool {
    if slot.rule.reorder == 0 {
        return false;
    }
    let waited = atomic::read(slot.waited());
    let candidate = waited + 1 >= u64::from(slot.rule.reorder_gap);
    if candidate && threshold_is_met(chance(slot.rule.seed, Purpose::Reorder, number), slot.rule.reorder) {
        atomic::write(slot.waited(), 0);
        return true;
    }
    atomic::write(slot.waited(), waited + 1);
    false
}

#[inline(always)]
fn delay_ns(slot: Slot, number: u64) -> u64 {
    let rule = slot.rule;
    if rule.jitter_ns == 0 {
        return rule.delay_ns;
    }
    let drawn = (chance(rule.seed, Purpose::Jitter, number) >> 32) as u32;
    let point = if rule.correlation == 0 { drawn } else { correlated_point(slot, drawn) };
    let Some(table) = JITTER_TABLES.get(rule.jitter_table) else { return rule.delay_ns };
    jittered_delay_ns(rule.delay_ns, rule.jitter_ns, table_value(table, point))
}

/// Where in its table a jitter is that remembers the last one.
#[inline(always)]
fn correlated_point(slot: Slot, drawn: u32) -> u32 {
    let Some(normal) = JITTER_TABLES.get(NORMAL_TABLE) else { return drawn };
    let last = atomic::read(slot.deviate()).cast_signed();
    let deviate = correlated(slot.rule, last, table_value(normal, drawn));
    atomic::write(slot.deviate(), deviate.cast_unsigned());
    let point = (deviate + 4 * JITTER_ONE).cast_unsigned() << DEVIATE_TO_POINT;
    if point > u64::from(u32::MAX) { u32::MAX } else { point as u32 }
}
