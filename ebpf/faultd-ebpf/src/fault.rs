//! What happens to a packet at a hook under fault: which rule acts, whether it loses or holds the packet.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_ktime_get_ns, bpf_redirect, bpf_skb_vlan_push},
    programs::TcContext,
};
use faultd_abi::{
    HOLD_CLONE, HOLD_NONE, InterfaceKey, RULES_PER_HOOK, Rule, RuleList, SECOND_PASS_MARK, is_lost,
};

use crate::{
    counters::count,
    maps::{DEADLINES, INTERFACES, PACKET_NUMBERS, RULES},
};

/// Let the packet go on to whatever comes next: `TCX_NEXT` has the same value. `TC_ACT_OK` would
/// end the chain and skip the programs of others.
const PASS: i32 = TC_ACT_UNSPEC;
const DROP: i32 = TC_ACT_SHOT as i32;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const IPV6_NEXT_HEADER: usize = 6;
const PROTOCOL_IPV4: u32 = 0x0800_u16.to_be() as u32;
const PROTOCOL_IPV6: u32 = 0x86dd_u16.to_be() as u32;
const PROTOCOL_VLAN: u16 = 0x8100_u16.to_be();
const NEXT_HEADER_ICMPV6: u8 = 58;
const FIRST_NEIGHBOUR_DISCOVERY: u8 = 133;
const LAST_NEIGHBOUR_DISCOVERY: u8 = 137;

/// Applies the first rule in force at this hook of the packet's interface.
#[inline(always)]
pub fn apply(context: &TcContext, hook: u32) -> i32 {
    // SAFETY: the kernel hands a valid context to the program; the verifier checks the field access.
    let (mark, interface_index) = unsafe { ((*context.skb.skb).mark, (*context.skb.skb).ifindex) };
    if mark & SECOND_PASS_MARK != 0 {
        context.set_mark(mark & !SECOND_PASS_MARK);
        return PASS;
    }
    // SAFETY: the daemon replaces whole entries, so the list read here is never half written.
    match unsafe { INTERFACES.get(InterfaceKey { interface_index, hook }) } {
        Some(list) => apply_first_in_force(context, list),
        None => PASS,
    }
}

#[inline(always)]
fn apply_first_in_force(context: &TcContext, list: &RuleList) -> i32 {
    // SAFETY: this helper takes no argument and has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    for index in 0..RULES_PER_HOOK {
        let slot = list.slots[index];
        if slot == 0 {
            return PASS;
        }
        let (Some(rule), Some(deadline)) = (RULES.get(slot), DEADLINES.get_ptr(slot)) else { return PASS };
        count(slot, |counters| counters.seen += 1);
        // SAFETY: a live map value; volatile because the daemon moves it under our feet. Eight aligned
        // bytes are read at once (the target's backend knows no atomic load).
        if now <= unsafe { deadline.read_volatile() } {
            return apply_rule(context, slot, rule);
        }
        count(slot, |counters| counters.expired += 1);
    }
    PASS
}

#[inline(always)]
fn apply_rule(context: &TcContext, slot: u32, rule: &Rule) -> i32 {
    if !can_be_faulted(context) {
        return PASS;
    }
    count(slot, |counters| {
        counters.matched += 1;
        counters.matched_bytes += u64::from(context.len());
    });
    if rule.loss_threshold != 0 && draw_is_lost(slot, rule) {
        count(slot, |counters| counters.dropped += 1);
        return DROP;
    }
    if rule.holding_mode == HOLD_NONE { PASS } else { hold(context, slot, rule) }
}

/// Only IPv4 and IPv6 are faulted. Neighbour discovery, like ARP, passes: with it lost or late,
/// hosts would look absent rather than slow.
#[inline(always)]
fn can_be_faulted(context: &TcContext) -> bool {
    // SAFETY: as in `apply`.
    match unsafe { (*context.skb.skb).protocol } {
        PROTOCOL_IPV4 => true,
        PROTOCOL_IPV6 => !is_neighbour_discovery(context),
        _ => false,
    }
}

#[inline(always)]
fn is_neighbour_discovery(context: &TcContext) -> bool {
    let next_header = context.load::<u8>(ETHERNET_HEADER + IPV6_NEXT_HEADER);
    if next_header != Ok(NEXT_HEADER_ICMPV6) {
        return false;
    }
    context
        .load::<u8>(ETHERNET_HEADER + IPV6_HEADER)
        .is_ok_and(|kind| (FIRST_NEIGHBOUR_DISCOVERY..=LAST_NEIGHBOUR_DISCOVERY).contains(&kind))
}

#[inline(always)]
fn draw_is_lost(slot: u32, rule: &Rule) -> bool {
    let Some(next) = PACKET_NUMBERS.get_ptr_mut(slot) else { return false };
    is_lost(rule.loss_seed, fetch_and_increment(next), rule.loss_threshold)
}

/// Two packets on two CPUs must not make the same draw. The kernel can fetch and add from 5.12 on,
/// but the compiler's description of the target does not know it, so the instruction is spelt out.
#[inline(always)]
fn fetch_and_increment(number: *mut u64) -> u64 {
    let mut value = 1_u64;
    // SAFETY: the pointer is to a live map value of eight aligned bytes.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({pointer} + 0), {value})",
            value = inout(reg) value,
            pointer = in(reg) number,
        );
    }
    value
}

/// Sends the packet to the holding device, its slot in a VLAN tag.
#[inline(always)]
fn hold(context: &TcContext, slot: u32, rule: &Rule) -> i32 {
    // SAFETY: the context is valid; the helper checks its arguments.
    if unsafe { bpf_skb_vlan_push(context.as_ptr().cast(), PROTOCOL_VLAN, slot as u16) } != 0 {
        count(slot, |counters| counters.failed += 1);
        return PASS;
    }
    count(slot, |counters| counters.delayed += 1);
    if rule.holding_mode != HOLD_CLONE {
        // SAFETY: the helper takes plain numbers and checks them.
        return unsafe { bpf_redirect(rule.holding_index, 0) } as i32;
    }
    if context.clone_redirect(rule.holding_index, 0).is_err() {
        count(slot, |counters| counters.failed += 1);
    }
    DROP
}
