//! Measures how long packets are really held: noted where they enter a holding device, looked up where
//! they come out, told apart by what they look like.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_NOEXIST, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::bpf_skb_load_bytes_relative,
    programs::TcContext,
};
use faultd_abi::{ALL_SAMPLED, DelayProof, HeldSample, SAMPLED_LATER, TAG_SAMPLED, bucket_of, mix};

use crate::{
    atomic,
    maps::{PROOFS, SAMPLES},
    select::now_ns,
    slot::Slot,
};

/// The shortest packet of interest: headers of IPv4 and UDP. Longer ones are told apart by more.
const SHORT: usize = 28;
const LONG: usize = 48;

/// Whether the next packet that a rule holds on this CPU belongs to the sample: its bit of the tag.
#[inline(always)]
pub fn sampled(slot: Slot) -> u32 {
    let number = slot.held_here();
    // Without a branch, which the verifier would follow both ways from here on.
    let is_late = atomic::hidden(ALL_SAMPLED.wrapping_sub(number).wrapping_sub(1)) >> 63;
    let is_between = atomic::hidden((number % SAMPLED_LATER).wrapping_neg()) >> 63;
    ((1 - (is_late & is_between)) as u32) * TAG_SAMPLED
}

/// Notes a packet that enters a holding device, if it belongs to the sample. `due_ns` is 0 where only the
/// device knows.
#[inline(always)]
pub fn enters(context: &TcContext, slot: Slot, tag: u32, held_at_ns: u64, due_ns: u64) {
    if tag & TAG_SAMPLED == 0 {
        return;
    }
    if let Some(key) = look(context, slot) {
        // The first of several that look the same is the first that comes out.
        let _ = SAMPLES.insert(key, HeldSample { held_at_ns, due_ns }, u64::from(BPF_NOEXIST));
    }
}

/// Measures a packet that comes out of a holding device, if it belongs to the sample.
#[inline(always)]
pub fn comes_out(context: &TcContext, slot: Slot, tag: u32) {
    if tag & TAG_SAMPLED == 0 {
        return;
    }
    let Some(key) = look(context, slot) else { return };
    // SAFETY: values are written once; the copy is made before the entry is removed.
    let Some(sample) = (unsafe { SAMPLES.get(key) }).copied() else { return };
    let _ = SAMPLES.remove(key);
    if let Some(proof) = PROOFS.get_ptr_mut(slot.number) {
        // SAFETY: a live entry of this CPU, on which nothing else runs meanwhile.
        record(unsafe { &mut *proof }, sample, now_ns());
    }
}

#[inline(always)]
fn record(proof: &mut DelayProof, sample: HeldSample, now_ns: u64) {
    let delay_ns = now_ns.saturating_sub(sample.held_at_ns);
    proof.count += 1;
    proof.delay_sum_ns += delay_ns;
    if let Some(count) = proof.delays.get_mut(bucket_of(delay_ns)) {
        *count += 1;
    }
    if sample.due_ns == 0 {
        return;
    }
    if now_ns < sample.due_ns {
        proof.early += 1;
    }
    let late_ns = now_ns.saturating_sub(sample.due_ns);
    proof.late_sum_ns += late_ns;
    if let Some(count) = proof.lateness.get_mut(bucket_of(late_ns)) {
        *count += 1;
    }
}

/// A number for what the packet looks like: addresses, ports, sequence numbers.
#[inline(always)]
fn look(context: &TcContext, slot: Slot) -> Option<u64> {
    let mut words = [0_u64; LONG / 8];
    if !load(context, &mut words, LONG) && !load(context, &mut words, SHORT) {
        return None;
    }
    let mut look = u64::from(slot.number);
    let mut index = 0;
    while index < LONG / 8 {
        look = (look ^ words[index]).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        index += 1;
    }
    Some(mix(look))
}

#[inline(always)]
fn load(context: &TcContext, words: &mut [u64; LONG / 8], length: usize) -> bool {
    // SAFETY: the helper writes at most the length of the array and checks the packet's.
    unsafe {
        bpf_skb_load_bytes_relative(
            context.as_ptr(),
            0,
            words.as_mut_ptr().cast(),
            length as u32,
            BPF_HDR_START_NET,
        ) == 0
    }
}
