//! The structs and constants that the eBPF programs and the daemon share: plain integers in C layout,
//! explicit padding, asserted sizes. Nothing else crosses that boundary.
#![no_std]

/// The bit of `skb->mark` that says "this packet has been held already, let it pass".
///
/// Only this bit is set and cleared; the others stay as their owners left them.
pub const SECOND_PASS_MARK: u32 = 1 << 27;

/// How many rules one hook of one interface can carry.
pub const RULES_PER_HOOK: usize = 8;

/// Slots are the numbers 1 to this one: they travel as VLAN ids, of which 0 and 4095 are reserved.
pub const LAST_SLOT: u32 = 4094;

/// Length of the per-slot maps (slot 0 is never used).
pub const SLOT_COUNT: u32 = LAST_SLOT + 1;

/// How many hooks of interfaces one network namespace can have under fault.
pub const HOOK_COUNT: u32 = 2048;

/// [`InterfaceKey::hook`]: packets that come in through the interface.
pub const HOOK_INGRESS: u32 = 1;

/// [`InterfaceKey::hook`]: packets that go out through the interface.
pub const HOOK_EGRESS: u32 = 2;

/// [`Rule::holding_mode`]: the rule holds nothing.
pub const HOLD_NONE: u32 = 0;

/// [`Rule::holding_mode`]: redirect the packet itself (TUN devices orphan it from its socket).
pub const HOLD_REDIRECT: u32 = 1;

/// [`Rule::holding_mode`]: send a clone, which has no socket, and drop the original, because a
/// packet that waits while its socket is charged for it throttles TCP (small queues).
pub const HOLD_CLONE: u32 = 2;

/// [`Rule::loss_threshold`] at which every packet is dropped.
pub const LOSS_ALWAYS: u64 = 1 << 32;

/// Key of the map `INTERFACES`. Interface indices repeat from namespace to namespace, therefore
/// each namespace has maps of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceKey {
    /// Interface index within the namespace.
    pub interface_index: u32,
    /// [`HOOK_INGRESS`] or [`HOOK_EGRESS`].
    pub hook: u32,
}

/// Value of the map `INTERFACES`: the slots of the rules on this hook in order, 0 after the last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleList {
    /// The first rule that has not expired is the one that acts.
    pub slots: [u32; RULES_PER_HOOK],
}

/// Value of the map `RULES`, by slot. Never changed while the rule is listed in `INTERFACES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// State of the loss generator before the first packet.
    pub loss_seed: u64,
    /// A packet is lost if 32 random bits are below this: 0 never, [`LOSS_ALWAYS`] always.
    pub loss_threshold: u64,
    /// The interface under fault, to which a held packet returns.
    pub interface_index: u32,
    /// The hook under fault: [`HOOK_INGRESS`] or [`HOOK_EGRESS`].
    pub hook: u32,
    /// Index of the holding device, 0 without one.
    pub holding_index: u32,
    /// [`HOLD_NONE`], [`HOLD_REDIRECT`] or [`HOLD_CLONE`].
    pub holding_mode: u32,
}

/// Value of the map `COUNTERS`, by slot and CPU: what the programs did under one rule, in packets
/// as the kernel sees them (a segmentation-offload super-packet counts once).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// Packets that the rule looked at, its own second passes excluded.
    pub seen: u64,
    /// Of those seen: IPv4 or IPv6, no neighbour discovery, rule in force.
    pub matched: u64,
    /// Bytes of the matched packets, link-layer header included.
    pub matched_bytes: u64,
    /// Of those matched: lost on purpose.
    pub dropped: u64,
    /// Of those matched: sent to the holding device.
    pub delayed: u64,
    /// Packets that passed because the deadline was over.
    pub expired: u64,
    /// Packets that came back from the holding device.
    pub returned: u64,
    /// Packets that could not be sent to the holding device or back; those on their way out passed
    /// unharmed, those on their way back were lost.
    pub failed: u64,
}

const _: () = assert!(size_of::<InterfaceKey>() == 8);
const _: () = assert!(size_of::<RuleList>() == 32);
const _: () = assert!(size_of::<Rule>() == 32);
const _: () = assert!(size_of::<RuleCounters>() == 64);

/// The finalizer of the splitmix64 generator: spreads any change of the input over all bits.
pub const fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether the matched packet of this number is lost, counted from 0 since the rule began.
///
/// `loss_seed` is [`Rule::loss_seed`]: the user's seed after [`mix`], so that neighbouring seeds do
/// not give the same draws in another order.
pub const fn is_lost(loss_seed: u64, packet_number: u64, loss_threshold: u64) -> bool {
    (mix(loss_seed ^ packet_number) >> 32) < loss_threshold
}

#[cfg(feature = "user")]
mod user {
    use super::{InterfaceKey, Rule, RuleCounters, RuleList};

    // SAFETY: repr(C), integers only, and the asserted sizes leave no room for implicit padding.
    unsafe impl aya::Pod for InterfaceKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Rule {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RuleList {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RuleCounters {}
}

#[cfg(test)]
mod tests {
    use super::{LOSS_ALWAYS, is_lost, mix};

    #[test]
    fn full_loss_drops_everything_and_no_loss_drops_nothing() {
        assert!((0..10_000).all(|number| is_lost(mix(1), number, LOSS_ALWAYS)));
        assert!(!(0..10_000).any(|number| is_lost(mix(1), number, 0)));
    }

    #[test]
    fn the_share_of_lost_packets_is_close_to_the_ratio() {
        let lost = (0..100_000).filter(|&number| is_lost(mix(7), number, LOSS_ALWAYS / 5)).count();
        assert!((19_500..20_500).contains(&lost), "{lost} of 100000 at 20 %");
    }

    #[test]
    fn neighbouring_seeds_lose_different_packets() {
        let same = (0..10_000)
            .filter(|&n| is_lost(mix(1), n, LOSS_ALWAYS / 2) == is_lost(mix(2), n, LOSS_ALWAYS / 2));
        let same = same.count();
        assert!((4_700..5_300).contains(&same), "{same} of 10000 draws agree");
    }
}
