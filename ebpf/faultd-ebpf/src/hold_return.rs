//! The program at the ingress of a holding device: sends each packet back to the hook it was taken from.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_INGRESS, TC_ACT_SHOT},
    helpers::{bpf_redirect, bpf_skb_vlan_pop},
    macros::classifier,
    programs::TcContext,
};
use faultd_abi::{HOOK_INGRESS, Rule, SECOND_PASS_MARK};

use crate::{counters::count, maps::RULES};

const DROP: i32 = TC_ACT_SHOT as i32;
const VLAN_ID_MASK: u32 = 0x0fff;

/// Returns a packet that was held. Nothing but held packets has a place on a holding device, so
/// whatever comes without a slot is dropped.
#[classifier]
pub fn hold_return(context: TcContext) -> i32 {
    // SAFETY: the kernel hands a valid context to the program; the verifier checks the field access.
    let (tagged, tag) = unsafe { ((*context.skb.skb).vlan_present, (*context.skb.skb).vlan_tci) };
    let slot = tag & VLAN_ID_MASK;
    match RULES.get(slot) {
        Some(rule) if tagged != 0 && rule.interface_index != 0 => send_back(&context, slot, rule),
        _ => DROP,
    }
}

#[inline(always)]
fn send_back(context: &TcContext, slot: u32, rule: &Rule) -> i32 {
    // SAFETY: the context is valid; the helper has no other argument.
    if unsafe { bpf_skb_vlan_pop(context.as_ptr().cast()) } != 0 {
        count(slot, |counters| counters.failed += 1);
        return DROP;
    }
    // SAFETY: as in `hold_return`.
    let mark = unsafe { (*context.skb.skb).mark };
    context.set_mark(mark | SECOND_PASS_MARK);
    count(slot, |counters| counters.returned += 1);
    let flags = if rule.hook == HOOK_INGRESS { u64::from(BPF_F_INGRESS) } else { 0 };
    // SAFETY: the helper takes plain numbers and checks them.
    unsafe { bpf_redirect(rule.interface_index, flags) as i32 }
}
