//! The program at the exit of a holding device: sends each packet back to the hook it was taken from.

use aya_ebpf::{macros::classifier, programs::TcContext};

use crate::{
    proof,
    route::{self, DROP},
};

/// Returns a packet that was held. Nothing but held packets has a place on a holding device, so
/// whatever comes without a slot is dropped.
#[classifier]
pub fn hold_return(context: TcContext) -> i32 {
    let Some((tag, slot)) = route::tag(&context) else { return DROP };
    if !route::pop_tag(&context) {
        slot.count(|counters| counters.failed += 1);
        return DROP;
    }
    proof::comes_out(&context, slot, tag);
    slot.count(|counters| counters.returned += 1);
    route::send_back(&context, slot.rule, 0)
}
