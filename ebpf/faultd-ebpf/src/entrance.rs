//! The programs at the entrances of holding devices, where packets go out into them.

use aya_ebpf::{EbpfContext as _, helpers::bpf_skb_change_head, macros::classifier, programs::TcContext};
use faultd_abi::{Purpose, RELAY_HEADER, chance};

use crate::{
    departure, proof,
    route::{self, DROP, PASS},
    select::now_ns,
    slot::Slot,
};

/// In front of fq: writes the time of departure into the packet.
#[classifier]
pub fn edt_entrance(context: TcContext) -> i32 {
    let Some((tag, slot)) = route::tag(&context) else { return DROP };
    let (number, now_ns) = (slot.take_held_number(), now_ns());
    let Some(due_ns) = due_ns(&context, slot, number, now_ns) else { return DROP };
    proof::enters(&context, slot, tag, now_ns, due_ns);
    // SAFETY: the kernel hands a valid context to the program; the field may be written here.
    unsafe { (*context.skb.skb).tstamp = due_ns };
    PASS
}

/// In front of netem, which keeps its own time: only notes when packets came.
#[classifier]
pub fn netem_entrance(context: TcContext) -> i32 {
    let Some((tag, slot)) = route::tag(&context) else { return DROP };
    let now_ns = now_ns();
    let fixed = slot.rule.jitter_ns == 0 && slot.rule.reorder == 0;
    proof::enters(&context, slot, tag, now_ns, if fixed { now_ns + slot.rule.delay_ns } else { 0 });
    PASS
}

/// In front of a TAP device: writes the time of departure before the frame.
#[classifier]
pub fn relay_entrance(context: TcContext) -> i32 {
    let Some((tag, slot)) = route::tag(&context) else { return DROP };
    let (number, now_ns) = (slot.take_held_number(), now_ns());
    let Some(due_ns) = due_ns(&context, slot, number, now_ns) else { return DROP };
    proof::enters(&context, slot, tag, now_ns, due_ns);
    let chance = chance(slot.rule.seed, Purpose::CorruptBit, number) as u32;
    if write_header(&context, due_ns, chance) {
        PASS
    } else {
        slot.count(|counters| counters.failed += 1);
        DROP
    }
}

#[inline(always)]
fn due_ns(context: &TcContext, slot: Slot, number: u64, now_ns: u64) -> Option<u64> {
    let due_ns = departure::due_ns(context, slot, number, now_ns);
    if due_ns.is_none() {
        slot.count(|counters| counters.overflowed += 1);
    }
    due_ns
}

#[inline(always)]
fn write_header(context: &TcContext, due_ns: u64, chance: u32) -> bool {
    // SAFETY: the context is valid; the helper checks its arguments.
    let failed = unsafe { bpf_skb_change_head(context.as_ptr().cast(), RELAY_HEADER as u32, 0) };
    failed == 0 && context.store(0, &due_ns, 0).is_ok() && context.store(8, &chance, 0).is_ok()
}
