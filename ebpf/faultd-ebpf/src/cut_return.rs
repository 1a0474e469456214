//! The program at the exit of the cutter, a veth pair whose entrance takes no super-packets: the wire
//! packets that come out meet their fate one by one and go where they would have gone from the hook.

use aya_ebpf::{macros::classifier, programs::TcContext};
use faultd_abi::{FROM_CUTTER_MARK, HOLD_NONE, InterfaceKey, TAG_JUDGED};

use crate::{
    fate,
    hook::{count_copy, count_off, spoil},
    proof,
    route::{self, DROP},
    select::now_ns,
    slot::Slot,
};

/// Treats a packet of the cutter. Nothing but what the hooks sent has a place here: whatever comes
/// without a slot ends.
#[classifier]
pub fn cut_return(context: TcContext) -> i32 {
    let Some((tag, slot)) = route::tag(&context) else { return DROP };
    if !route::pop_tag(&context) {
        slot.count(|counters| counters.failed += 1);
        return DROP;
    }
    let key = InterfaceKey { interface_index: slot.rule.interface_index, hook: slot.rule.hook };
    let now_ns = now_ns();
    if tag & TAG_JUDGED != 0 {
        return go_on(&context, slot, slot.number, key);
    }
    let fate = fate::of_one(slot);
    if fate.is_lost() {
        slot.note_affected(now_ns);
        slot.count(|counters| counters.dropped += 1);
        count_off(key);
        return DROP;
    }
    let tag = slot.number | spoil(&context, slot, fate, now_ns);
    if fate.is_doubled() {
        let sent = if slot.rule.holding_mode == HOLD_NONE {
            route::send_copy_back(&context, slot.rule)
        } else {
            // The copy needs a tag of its own: it is taken off again for the original.
            let sent = route::push_tag(&context, tag) && route::hold_copy(&context, slot);
            route::pop_tag(&context);
            sent
        };
        count_copy(slot, sent, now_ns);
    }
    go_on(&context, slot, tag, key)
}

#[inline(always)]
fn go_on(context: &TcContext, slot: Slot, tag: u32, key: InterfaceKey) -> i32 {
    if slot.rule.holding_mode == HOLD_NONE {
        return route::send_back(context, slot.rule, FROM_CUTTER_MARK);
    }
    count_off(key);
    if !route::push_tag(context, tag | proof::sampled(slot)) {
        slot.count(|counters| counters.failed += 1);
        return DROP;
    }
    slot.note_affected(now_ns());
    route::hold(context, slot, DROP)
}
