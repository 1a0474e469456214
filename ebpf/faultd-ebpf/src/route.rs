//! Where a packet goes from a program of ours: on, to an end, to a holding device, to the cutter, back.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_STOLEN, TC_ACT_UNSPEC},
    helpers::{bpf_redirect, bpf_skb_vlan_pop, bpf_skb_vlan_push},
    programs::TcContext,
};
use faultd_abi::{
    DROP_BY_REDIRECT, DROP_BY_STEALING, HOLD_CLONE, HOOK_INGRESS, Rule, SECOND_PASS_MARK, TAG_SLOT,
};

use crate::slot::Slot;

/// Let the packet go on to whatever comes next: `TCX_NEXT` has the same value. `TC_ACT_OK` would
/// end the chain and skip the programs of others.
pub const PASS: i32 = TC_ACT_UNSPEC;
/// The packet ends.
pub const DROP: i32 = TC_ACT_SHOT as i32;

const PROTOCOL_VLAN: u16 = 0x8100_u16.to_be();

/// Ends a packet at a hook under fault, such that its sender does not notice.
#[inline(always)]
pub fn drop_unnoticed(rule: &Rule) -> i32 {
    match rule.drop_mode {
        DROP_BY_STEALING => TC_ACT_STOLEN as i32,
        // Without a slot in a tag it ends there.
        DROP_BY_REDIRECT => redirect(rule.sink_index, u64::from(BPF_F_INGRESS)),
        _ => DROP,
    }
}

/// Writes a tag in front of the packet, which says where it belongs.
#[inline(always)]
pub fn push_tag(context: &TcContext, tag: u32) -> bool {
    // SAFETY: the context is valid; the helper checks its arguments.
    unsafe { bpf_skb_vlan_push(context.as_ptr().cast(), PROTOCOL_VLAN, tag as u16) == 0 }
}

/// Reads the tag that a packet carries, with its slot; nothing where it has none of ours.
#[inline(always)]
pub fn tag(context: &TcContext) -> Option<(u32, Slot)> {
    // SAFETY: the kernel hands a valid context to the program; the verifier checks the field access.
    let (tagged, tag) = unsafe { ((*context.skb.skb).vlan_present, (*context.skb.skb).vlan_tci) };
    if tagged == 0 {
        return None;
    }
    Slot::find(tag & TAG_SLOT).map(|slot| (tag, slot))
}

/// Takes the tag off.
#[inline(always)]
pub fn pop_tag(context: &TcContext) -> bool {
    // SAFETY: the context is valid; the helper has no other argument.
    unsafe { bpf_skb_vlan_pop(context.as_ptr().cast()) == 0 }
}

/// Sends a tagged packet to the rule's holding device.
#[inline(always)]
pub fn hold(context: &TcContext, slot: Slot, original_ends: i32) -> i32 {
    slot.count(|counters| counters.held += 1);
    if slot.rule.holding_mode != HOLD_CLONE {
        return redirect(slot.rule.holding_index, 0);
    }
    if !send_clone(context, slot.rule.holding_index, 0) {
        slot.count(|counters| counters.failed += 1);
    }
    original_ends
}

/// Whether a clone could be sent. What the device did with it is not asked: a full bottleneck drops on
/// purpose, and the device counts what it loses itself.
#[inline(always)]
fn send_clone(context: &TcContext, index: u32, flags: u64) -> bool {
    context.clone_redirect(index, flags).map_or_else(|error| error > 0, |()| true)
}

/// Sends a second copy of a tagged packet to the rule's holding device.
#[inline(always)]
pub fn hold_copy(context: &TcContext, slot: Slot) -> bool {
    let sent = send_clone(context, slot.rule.holding_index, 0);
    if sent {
        slot.count(|counters| counters.held += 1);
    }
    sent
}

/// Sends the packet to the hook under fault, which will let it pass because of its mark.
#[inline(always)]
pub fn send_back(context: &TcContext, rule: &Rule, marks: u32) -> i32 {
    set_marks(context, SECOND_PASS_MARK | marks);
    redirect(rule.interface_index, back_flags(rule))
}

/// Sends a second copy of an untagged packet to the hook under fault.
#[inline(always)]
pub fn send_copy_back(context: &TcContext, rule: &Rule) -> bool {
    let mark = set_marks(context, SECOND_PASS_MARK);
    let sent = send_clone(context, rule.interface_index, back_flags(rule));
    context.set_mark(mark);
    sent
}

/// Sends the packet into a device, or, with `BPF_F_INGRESS`, out of it.
#[inline(always)]
pub fn redirect(index: u32, flags: u64) -> i32 {
    // SAFETY: the helper takes plain numbers and checks them.
    unsafe { bpf_redirect(index, flags) as i32 }
}

#[inline(always)]
fn back_flags(rule: &Rule) -> u64 {
    if rule.hook == HOOK_INGRESS { u64::from(BPF_F_INGRESS) } else { 0 }
}

/// Sets bits of the mark and returns what it was.
#[inline(always)]
fn set_marks(context: &TcContext, marks: u32) -> u32 {
    // SAFETY: as in `tag`.
    let mark = unsafe { (*context.skb.skb).mark };
    context.set_mark(mark | marks);
    mark
}
