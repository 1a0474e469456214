//! What becomes of a packet, by chance that can be repeated.

use aya_ebpf::{EbpfContext as _, helpers::bpf_skb_store_bytes, programs::TcContext};
use faultd_abi::{
    LOSS_EVERY_NTH, LOSS_GILBERT_ELLIOTT, LOSS_NONE, LOSS_RANDOM, LOSS_TRACE, Purpose, RULE_CUTS_ALWAYS,
    Rule, RuleState, chance, is_lost, mix, threshold_is_met,
};

use crate::{
    atomic,
    maps::TRACES,
    packet,
    slot::{self, Slot},
};

/// Super-packets of more wire packets than this are cut without a look at their fate. 64 KiB in packets
/// of 1448 bytes are 46.
const MOST_LOOKED_AT: u64 = 48;
const ALWAYS: u64 = 1 << 32;
/// `BPF_F_RECOMPUTE_CSUM` of `bpf_skb_store_bytes`.
const RECOMPUTE_CHECKSUM: u64 = 1;
/// `BPF_F_MARK_MANGLED_0` of `bpf_l4_csum_replace`, with the size of what is replaced.
const MAY_LACK_CHECKSUM: u64 = 0x20 | 2;
const TWO_BYTES: u64 = 2;

/// What becomes of one packet, in bits: three that say what happens, above them the packet's number.
///
/// A plain number, of which the verifier knows nothing, instead of a structure whose every combination
/// it would follow on its own.
#[derive(Clone, Copy)]
pub struct Fate(u64);

const LOST: u64 = 1 << 0;
const DOUBLED: u64 = 1 << 1;
const SPOILT: u64 = 1 << 2;
const NUMBER_SHIFT: u32 = 3;

impl Fate {
    /// It ends here.
    #[inline(always)]
    pub fn is_lost(self) -> bool {
        self.0 & LOST != 0
    }

    /// It arrives twice.
    #[inline(always)]
    pub fn is_doubled(self) -> bool {
        self.0 & DOUBLED != 0
    }

    /// It arrives spoilt.
    #[inline(always)]
    pub fn is_spoilt(self) -> bool {
        self.0 & SPOILT != 0
    }

    /// What decides which bit is spoilt.
    #[inline(always)]
    pub fn chance_of_bit(self, slot: Slot) -> u64 {
        chance(slot.rule.seed, Purpose::CorruptBit, self.0 >> NUMBER_SHIFT)
    }
}

/// What becomes of the wire packets of a super-packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FateOfMany {
    /// Nothing happens to any of them.
    Spared,
    /// All of them are lost.
    Lost,
    /// They have to be looked at one by one.
    Mixed,
}

/// Decides about one packet.
#[inline(always)]
pub fn of_one(slot: Slot) -> Fate {
    Fate(decide(slot.number, slot.rule, slot.state()))
}

#[inline(never)]
fn decide(slot_number: u32, rule: &Rule, state: *mut RuleState) -> u64 {
    let number = slot::take_numbers(state, 1);
    let happens = |purpose, threshold| {
        u64::from(threshold != 0 && threshold_is_met(chance(rule.seed, purpose, number), threshold))
    };
    let lost = u64::from(rule.loss_model != LOSS_NONE && is_lost_now(slot_number, rule, state, number));
    let doubled = happens(Purpose::Duplicate, rule.duplicate);
    let spoilt = happens(Purpose::Corrupt, rule.corrupt);
    lost * LOST | doubled * DOUBLED | spoilt * SPOILT | number << NUMBER_SHIFT
}

#[inline(always)]
fn is_lost_now(slot_number: u32, rule: &Rule, state: *mut RuleState, number: u64) -> bool {
    let word = |index: u32| {
        let key = u64::from(slot_number) << 32 | u64::from(index);
        // SAFETY: words are written before the rule is in force and not changed.
        unsafe { TRACES.get(key) }.copied().unwrap_or(0)
    };
    let model = slot::loss_state(state);
    let before = atomic::read(model);
    let loss = is_lost(rule, number, before, word);
    if loss.state != before {
        atomic::write(model, loss.state);
    }
    loss.lost
}

/// Looks at what would become of the next packets, without taking their numbers.
#[inline(always)]
pub fn of_many(slot: Slot, count: u64) -> FateOfMany {
    let rule = slot.rule;
    let in_sequence = matches!(rule.loss_model, LOSS_GILBERT_ELLIOTT | LOSS_TRACE);
    if rule.flags & RULE_CUTS_ALWAYS != 0 || in_sequence || count > MOST_LOOKED_AT {
        return FateOfMany::Mixed;
    }
    if rule.loss_model == LOSS_RANDOM && rule.loss_a >= ALWAYS {
        return FateOfMany::Lost;
    }
    let first = slot.next_number();
    let mut hits = hits(rule.seed, Purpose::Duplicate, rule.duplicate, first, count)
        | hits(rule.seed, Purpose::Corrupt, rule.corrupt, first, count);
    hits |= match rule.loss_model {
        LOSS_RANDOM => hits_of(mix(rule.seed ^ Purpose::Loss as u64), rule.loss_a, first, count),
        LOSS_EVERY_NTH if rule.loss_a != 0 => (first + count) / rule.loss_a - first / rule.loss_a,
        _ => 0,
    };
    if hits == 0 { FateOfMany::Spared } else { FateOfMany::Mixed }
}

#[inline(always)]
fn hits(seed: u64, purpose: Purpose, threshold: u64, first: u64, count: u64) -> u64 {
    if threshold == 0 { 0 } else { hits_of(mix(seed ^ purpose as u64), threshold, first, count) }
}

/// Not 0 if any of the packets is hit. Without a branch that depends on the packets, not even for their
/// number: the verifier would follow every combination, and remember every number.
#[inline(never)]
fn hits_of(mixed_seed: u64, threshold: u64, first: u64, count: u64) -> u64 {
    let mut hits = 0_u64;
    let mut number = 0;
    while number < MOST_LOOKED_AT {
        let drawn = mix(mixed_seed ^ (first + number)) >> 32;
        // The signs of the differences.
        let is_hit = atomic::hidden(drawn.wrapping_sub(threshold)) >> 63;
        let is_there = atomic::hidden(number.wrapping_sub(count)) >> 63;
        hits |= is_hit & is_there;
        number += 1;
    }
    hits
}

/// Flips a bit of the payload and mends the checksum, so that nobody notices; false where there is no
/// payload of TCP or UDP in this packet.
#[inline(always)]
pub fn spoil(context: &TcContext, chance: u64) -> bool {
    let kind = packet::kind(context);
    let Some(transport) = packet::transport(context, kind) else { return false };
    let Some(payload) = packet::payload(context, transport) else { return false };
    let pairs = packet::end(context, kind).saturating_sub(payload.offset) / 2;
    if pairs == 0 {
        return false;
    }
    // Checksums add up pairs of bytes from the start of the transport header, which is even.
    let offset = payload.offset + (chance >> 32) as u32 % pairs * 2;
    let Ok(before) = context.load::<u16>(offset as usize) else { return false };
    let after = before ^ 1 << (chance & 15);
    let checksum = context.load::<u16>(payload.checksum as usize).unwrap_or(0);
    let flags = if payload.may_lack_checksum { MAY_LACK_CHECKSUM } else { TWO_BYTES };
    if !(payload.may_lack_checksum && checksum == 0) {
        // A checksum that the device is still to fill in is left alone by the helper.
        let _ =
            context.l4_csum_replace(payload.checksum as usize, u64::from(before), u64::from(after), flags);
    }
    let bytes = after.to_ne_bytes();
    // SAFETY: the helper reads two bytes from an array of two and checks the offset.
    unsafe {
        bpf_skb_store_bytes(context.as_ptr().cast(), offset, bytes.as_ptr().cast(), 2, RECOMPUTE_CHECKSUM)
            == 0
    }
}
