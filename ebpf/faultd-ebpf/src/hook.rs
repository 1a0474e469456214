//! The programs at the interface under fault: one for packets that come in through it (what a container
//! behind it sends), one for those that go out (what a container behind it receives).

use core::ptr::addr_of_mut;

use aya_ebpf::{bindings::BPF_F_INGRESS, macros::classifier, programs::TcContext};
use faultd_abi::{
    FROM_CUTTER_MARK, HOLD_NONE, HOOK_EGRESS, HOOK_INGRESS, HookState, InterfaceKey,
    RULE_CORRUPTS_DETECTABLY, RULE_COUNTS_WIRE_PACKETS, RULE_DRAINS, SECOND_PASS_MARK, TAG_CORRUPT,
    TAG_JUDGED,
};

use crate::{
    atomic,
    fate::{self, Fate, FateOfMany},
    maps::{HOOK_STATES, INTERFACES, SEEN},
    packet::{self, Kind},
    proof,
    route::{self, PASS},
    select::{now_ns, select},
    slot::Slot,
};

/// Packets are through the cutter long before this time is over: what is still counted as inside
/// then was lost there, and does not keep others on the detour.
const LONGEST_CUT_NS: u64 = 5_000_000;

/// Packets that come in through the interface.
#[classifier]
pub fn hook_ingress(context: TcContext) -> i32 {
    apply(&context, HOOK_INGRESS)
}

/// Packets that go out through the interface.
#[classifier]
pub fn hook_egress(context: TcContext) -> i32 {
    apply(&context, HOOK_EGRESS)
}

#[inline(always)]
fn apply(context: &TcContext, hook: u32) -> i32 {
    // SAFETY: the kernel hands a valid context to the program; the verifier checks the field access.
    let (mark, interface_index) = unsafe { ((*context.skb.skb).mark, (*context.skb.skb).ifindex) };
    let key = InterfaceKey { interface_index, hook };
    if mark & SECOND_PASS_MARK != 0 {
        return let_pass_again(context, mark, key);
    }
    // SAFETY: the daemon replaces whole values, so the one read here is never half written.
    let Some(hook) = (unsafe { INTERFACES.get(key) }) else { return PASS };
    if let Some(seen) = SEEN.get_ptr_mut(hook.hook_id) {
        // SAFETY: a live entry of this CPU, on which nothing else runs meanwhile.
        unsafe { *seen += 1 };
    }
    let kind = packet::kind(context);
    if kind == Kind::Other {
        return PASS;
    }
    let now_ns = now_ns();
    match select(context, hook, kind, now_ns) {
        Some(slot) => treat(context, slot, key, now_ns),
        None => PASS,
    }
}

#[inline(always)]
fn let_pass_again(context: &TcContext, mark: u32, key: InterfaceKey) -> i32 {
    if mark & FROM_CUTTER_MARK != 0 {
        count_off(key);
    }
    context.set_mark(mark & !(SECOND_PASS_MARK | FROM_CUTTER_MARK));
    PASS
}

/// A packet that went to the cutter has left it.
#[inline(always)]
pub fn count_off(key: InterfaceKey) {
    if let Some(state) = HOOK_STATES.get_ptr_mut(key) {
        // SAFETY: a field of a live map value.
        let inside = unsafe { addr_of_mut!((*state).in_cutter) };
        atomic::fetch_and_add(inside, u64::MAX);
    }
}

#[inline(always)]
fn treat(context: &TcContext, slot: Slot, key: InterfaceKey, now_ns: u64) -> i32 {
    if slot.has(RULE_DRAINS) {
        return if route::push_tag(context, slot.number) { hold(context, slot) } else { PASS };
    }
    let counts_wire = slot.has(RULE_COUNTS_WIRE_PACKETS);
    let packets = if counts_wire { packet::wire_packets(context) } else { 1 };
    slot.count(|counters| {
        counters.matched += packets;
        counters.matched_bytes += u64::from(context.len());
    });
    if slot.rule.cutter_entrance != 0 {
        return treat_with_cutter(context, slot, key, packets, now_ns);
    }
    // A rule without a cutter treats all wire packets of a super-packet alike, or counts it as one.
    slot.take_numbers(packets - 1);
    carry_out(context, slot, fate::of_one(slot), packets, now_ns)
}

/// For rules that may treat the packets of a super-packet differently. While some are in the cutter,
/// those that come after them go the same way, or they would overtake.
#[inline(always)]
fn treat_with_cutter(context: &TcContext, slot: Slot, key: InterfaceKey, packets: u64, now_ns: u64) -> i32 {
    let Some(state) = HOOK_STATES.get_ptr_mut(key) else { return PASS };
    // SAFETY: fields of a live map value.
    let follows = unsafe { follows_cut_ones(state, now_ns) };
    if packets == 1 {
        if follows {
            return send_through_cutter(context, slot, state, slot.rule.cutter_exit, slot.number, 1);
        }
        return carry_out(context, slot, fate::of_one(slot), 1, now_ns);
    }
    match fate::of_many(slot, packets) {
        FateOfMany::Lost => {
            slot.take_numbers(packets);
            slot.note_affected(now_ns);
            slot.count(|counters| counters.dropped += packets);
            route::drop_unnoticed(slot.rule)
        }
        FateOfMany::Spared => {
            slot.take_numbers(packets);
            let tag = slot.number | TAG_JUDGED;
            if follows {
                return send_through_cutter(context, slot, state, slot.rule.cutter_exit, tag, 1);
            }
            pass_or_hold(context, slot, now_ns)
        }
        FateOfMany::Mixed => {
            slot.count(|counters| counters.cut += 1);
            // SAFETY: as above.
            atomic::write(unsafe { addr_of_mut!((*state).cut_at_ns) }, now_ns);
            let entrance = slot.rule.cutter_entrance;
            send_through_cutter(context, slot, state, entrance, slot.number, packets)
        }
    }
}

/// Whether packets are in the cutter. Those that stay there too long were lost.
#[inline(always)]
unsafe fn follows_cut_ones(state: *mut HookState, now_ns: u64) -> bool {
    // SAFETY: the caller's pointer is to a live map value.
    let (inside, cut_at) = unsafe { (addr_of_mut!((*state).in_cutter), addr_of_mut!((*state).cut_at_ns)) };
    let count = atomic::read(inside);
    if count == 0 {
        return false;
    }
    if now_ns.saturating_sub(atomic::read(cut_at)) < LONGEST_CUT_NS {
        return true;
    }
    atomic::compare_and_exchange(inside, count, 0);
    false
}

/// Sends a packet into the cutter, or past it straight to its exit.
#[inline(always)]
fn send_through_cutter(
    context: &TcContext,
    slot: Slot,
    state: *mut HookState,
    index: u32,
    tag: u32,
    packets: u64,
) -> i32 {
    if !route::push_tag(context, tag) {
        slot.count(|counters| counters.failed += packets);
        return PASS;
    }
    // SAFETY: a field of a live map value.
    atomic::fetch_and_add(unsafe { addr_of_mut!((*state).in_cutter) }, packets);
    let past = index == slot.rule.cutter_exit;
    route::redirect(index, if past { u64::from(BPF_F_INGRESS) } else { 0 })
}

#[inline(always)]
fn pass_or_hold(context: &TcContext, slot: Slot, now_ns: u64) -> i32 {
    if slot.rule.holding_mode == HOLD_NONE {
        return PASS;
    }
    if !route::push_tag(context, slot.number | proof::sampled(slot)) {
        slot.count(|counters| counters.failed += 1);
        return PASS;
    }
    slot.note_affected(now_ns);
    hold(context, slot)
}

#[inline(always)]
fn hold(context: &TcContext, slot: Slot) -> i32 {
    route::hold(context, slot, route::drop_unnoticed(slot.rule))
}

/// Lets a packet of `packets` wire packets meet its fate at the hook.
#[inline(always)]
fn carry_out(context: &TcContext, slot: Slot, fate: Fate, packets: u64, now_ns: u64) -> i32 {
    if fate.is_lost() {
        slot.note_affected(now_ns);
        slot.count(|counters| counters.dropped += packets);
        return route::drop_unnoticed(slot.rule);
    }
    let tag = slot.number | spoil(context, slot, fate, now_ns);
    let holds = slot.rule.holding_mode != HOLD_NONE;
    if holds && !route::push_tag(context, tag | proof::sampled(slot)) {
        slot.count(|counters| counters.failed += 1);
        return PASS;
    }
    if fate.is_doubled() {
        let sent =
            if holds { route::hold_copy(context, slot) } else { route::send_copy_back(context, slot.rule) };
        count_copy(slot, sent, now_ns);
    }
    if !holds {
        return PASS;
    }
    slot.note_affected(now_ns);
    hold(context, slot)
}

/// Spoils a packet if that is its fate; the bit of the tag by which the relay is told to do it.
#[inline(always)]
pub fn spoil(context: &TcContext, slot: Slot, fate: Fate, now_ns: u64) -> u32 {
    if !fate.is_spoilt() {
        return 0;
    }
    if slot.has(RULE_CORRUPTS_DETECTABLY) {
        slot.note_affected(now_ns);
        slot.count(|counters| counters.corrupted += 1);
        return TAG_CORRUPT;
    }
    if fate::spoil(context, fate.chance_of_bit(slot)) {
        slot.note_affected(now_ns);
        slot.count(|counters| counters.corrupted += 1);
    }
    0
}

/// Counts a second copy that was sent, or could not be.
#[inline(always)]
pub fn count_copy(slot: Slot, sent: bool, now_ns: u64) {
    if sent {
        slot.note_affected(now_ns);
    }
    slot.count(|counters| if sent { counters.duplicated += 1 } else { counters.failed += 1 });
}
