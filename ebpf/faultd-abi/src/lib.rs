//! The structs and constants that the eBPF programs and the daemon share: plain integers in C layout,
//! explicit padding, asserted sizes, and the arithmetic that decides a packet's fate, so that it can be
//! tested and repeated outside of the kernel. Nothing else crosses that boundary.
//!
//! ```text
//! INTERFACES[interface, hook] ─▶ any peer: RuleList ┐
//! PEERS[hook, address], NETWORKS[hook, prefix] ─────┴▶ slots by priority ─▶ RULES[slot], STATES[slot], COUNTERS[slot]
//! ```
#![no_std]

mod chance;
mod departure;
mod histogram;
mod loss;
#[cfg(feature = "user")]
mod pod;
#[cfg(test)]
mod properties;

pub use chance::{Purpose, chance, mix, threshold_is_met};
pub use departure::{
    JITTER_ONE, RATE_ONE, Sampled, TABLE_LENGTH, correlated, jittered_delay_ns, serialization_ns,
    table_value, through_bottleneck,
};
pub use histogram::{BUCKETS, bucket_of, upper_bound_of_bucket};
pub use loss::{GE_BAD, GE_GOOD, Loss, is_lost};

/// The bit of `skb->mark` that says "this packet has been treated already, let it pass".
///
/// Only the bits named here are set and cleared; the others stay as their owners left them.
pub const SECOND_PASS_MARK: u32 = 1 << 27;

/// The bit of `skb->mark` that is set beside [`SECOND_PASS_MARK`] on packets that come back from the
/// cutter without having been held, so that the hook can count them off.
pub const FROM_CUTTER_MARK: u32 = 1 << 26;

/// Slots are the numbers 1 to this one: they travel in 14 bits of a VLAN tag.
pub const LAST_SLOT: u32 = (1 << 14) - 1;

/// The bits of the VLAN tag that carry the slot.
pub const TAG_SLOT: u32 = LAST_SLOT;

/// The bit of the VLAN tag that tells the relay to spoil the packet.
pub const TAG_CORRUPT: u32 = 1 << 14;

/// The bit of the VLAN tag that tells the cutter's exit that the packet's fate is decided already.
pub const TAG_JUDGED: u32 = 1 << 15;

/// The bit of the VLAN tag that tells the programs at the ends of a holding device that the packet belongs
/// to the sample that is measured. The same as [`TAG_JUDGED`], which only the cutter's exit reads.
pub const TAG_SAMPLED: u32 = 1 << 15;

/// So many packets that a rule holds on one CPU are all measured; of later ones one in [`SAMPLED_LATER`],
/// because to note and find a packet costs as much as half of what else is done to it.
pub const ALL_SAMPLED: u64 = 4096;
/// See [`ALL_SAMPLED`].
pub const SAMPLED_LATER: u64 = 16;

/// How many hooks of interfaces one network namespace can have under fault.
pub const HOOK_COUNT: u32 = 4096;

/// How many peers (addresses and networks, each) the rules of one namespace can name.
pub const PEER_COUNT: u32 = 1 << 17;

/// How many rules can compete for the same packet.
pub const RULES_PER_LIST: usize = 64;

/// How many distinct tables of jitter one namespace can have.
pub const JITTER_TABLE_COUNT: u32 = 64;

/// How many words of 64 packets the loss traces of one namespace can have together.
pub const TRACE_WORD_COUNT: u32 = 1 << 18;

/// Length of what the program in front of a relay puts before a frame: when it is due (8 bytes), then
/// a number that decides which bit is spoilt (4 bytes), both in the byte order of the machine. The TAP
/// device inserts the VLAN tag after 12 bytes of what it takes for the link-layer header, so that the
/// tag comes next and the frame after it.
pub const RELAY_HEADER: usize = 12;

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

/// [`Rule::drop_mode`]: return the verdict "drop".
pub const DROP_BY_VERDICT: u32 = 0;

/// [`Rule::drop_mode`]: return the verdict "stolen" (clsact only), which a sender does not notice.
pub const DROP_BY_STEALING: u32 = 1;

/// [`Rule::drop_mode`]: redirect into [`Rule::sink_index`], where the packet ends, which a sender
/// does not notice.
pub const DROP_BY_REDIRECT: u32 = 2;

/// [`Rule::loss_model`].
pub const LOSS_NONE: u32 = 0;
/// [`Rule::loss_model`]: each packet with the probability `loss_a`.
pub const LOSS_RANDOM: u32 = 1;
/// [`Rule::loss_model`]: Gilbert-Elliott; `loss_a` good to bad, `loss_b` bad to good, `loss_c` lost
/// when good, `loss_d` lost when bad.
pub const LOSS_GILBERT_ELLIOTT: u32 = 2;
/// [`Rule::loss_model`]: every packet whose number, counted from 1, is a multiple of `loss_a`.
pub const LOSS_EVERY_NTH: u32 = 3;
/// [`Rule::loss_model`]: packets whose bit is set in the trace of `loss_a` packets, which repeats
/// where `loss_b` is not 0.
pub const LOSS_TRACE: u32 = 4;

/// [`Rule::flags`]: shares count packets of the wire, not super-packets of segmentation offload.
pub const RULE_COUNTS_WIRE_PACKETS: u32 = 1 << 0;
/// [`Rule::flags`]: each wire packet needs a departure of its own, so that super-packets are always cut.
pub const RULE_CUTS_ALWAYS: u32 = 1 << 1;
/// [`Rule::flags`]: packets may overtake each other.
pub const RULE_MAY_REORDER: u32 = 1 << 2;
/// [`Rule::flags`]: ARP and neighbour discovery are treated like any other packet.
pub const RULE_TAKES_NEIGHBOUR_DISCOVERY: u32 = 1 << 3;
/// [`Rule::flags`]: packets that are hit leave with a wrong checksum, which the relay makes.
pub const RULE_CORRUPTS_DETECTABLY: u32 = 1 << 4;
/// [`Rule::flags`]: the rule has ended; its packets only wait for those that were held before them.
pub const RULE_DRAINS: u32 = 1 << 5;

/// [`Hook::flags`]: some rule of the hook names addresses.
pub const HOOK_HAS_PEERS: u32 = 1 << 0;
/// [`Hook::flags`]: some rule of the hook names networks.
pub const HOOK_HAS_NETWORKS: u32 = 1 << 1;
/// [`Hook::flags`]: some rule of the hook names ports or a protocol.
pub const HOOK_NAMES_PORTS: u32 = 1 << 2;
/// [`Hook::flags`]: the hook is on the way out of the target, so that its peer is the destination.
pub const HOOK_LEAVES_TARGET: u32 = 1 << 3;

/// Key of the maps `INTERFACES` and `HOOK_STATES`. Interface indices repeat from namespace to
/// namespace, therefore each namespace has maps of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceKey {
    /// Interface index within the namespace.
    pub interface_index: u32,
    /// [`HOOK_INGRESS`] or [`HOOK_EGRESS`].
    pub hook: u32,
}

/// Slots in the order in which their rules are tried, 0 after the last: the first that is in force
/// and whose ports and protocol fit is the one that acts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleList {
    /// The slots.
    pub slots: [u32; RULES_PER_LIST],
}

/// Value of the map `INTERFACES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Number of the hook in the keys of `PEERS` and `NETWORKS`.
    pub hook_id: u32,
    /// `HOOK_` bits.
    pub flags: u32,
    /// The rules for packets whose peer is in neither map.
    pub any_peer: RuleList,
}

/// Value of the map `HOOK_STATES`: what the programs remember of a hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookState {
    /// Wire packets that are on their way through the cutter.
    pub in_cutter: u64,
    /// When a super-packet was last sent there to be cut.
    pub cut_at_ns: u64,
}

/// Key of the map `PEERS`: an address; IPv4 is written as IPv4-mapped IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// [`Hook::hook_id`].
    pub hook_id: u32,
    /// In network byte order.
    pub address: [u8; 16],
}

/// Data of a key of the map `NETWORKS`, a trie of prefixes: the hook's number counts as its first 32 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkKey {
    /// [`Hook::hook_id`] in network byte order.
    pub hook_id: [u8; 4],
    /// In network byte order.
    pub address: [u8; 16],
}

/// Value of the map `RULES`, by slot. The kernel replaces it as a whole, so that a change of its
/// parameters is atomic. Probabilities are 32-bit thresholds: see [`threshold_is_met`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The user's seed.
    pub seed: u64,
    /// Until when the rule may act, on the monotonic clock.
    pub deadline_ns: u64,
    /// First parameter of the loss model.
    pub loss_a: u64,
    /// Second parameter of the loss model.
    pub loss_b: u64,
    /// Third parameter of the loss model.
    pub loss_c: u64,
    /// Fourth parameter of the loss model.
    pub loss_d: u64,
    /// Probability of a second copy.
    pub duplicate: u64,
    /// Probability of a spoilt bit.
    pub corrupt: u64,
    /// Probability that a packet that would wait leaves at once instead.
    pub reorder: u64,
    /// Delay of every packet, or its mean with jitter.
    pub delay_ns: u64,
    /// Spread of the delay: what one unit of the jitter table stands for.
    pub jitter_ns: u64,
    /// Time that one byte takes through the bottleneck, in units of 1 / [`RATE_ONE`] ns; 0 without one.
    pub byte_time: u64,
    /// Time that the bottleneck's burst takes: packets within it do not wait.
    pub burst_ns: u64,
    /// The longest that packets wait at the bottleneck; those that would wait longer are dropped.
    pub queue_ns: u64,
    /// The interface under fault, to which a held packet returns.
    pub interface_index: u32,
    /// The hook under fault: [`HOOK_INGRESS`] or [`HOOK_EGRESS`].
    pub hook: u32,
    /// Index of the holding device, 0 without one.
    pub holding_index: u32,
    /// [`HOLD_NONE`], [`HOLD_REDIRECT`] or [`HOLD_CLONE`].
    pub holding_mode: u32,
    /// Index of the cutter's entrance, 0 without one.
    pub cutter_entrance: u32,
    /// Index of the cutter's exit, 0 without one.
    pub cutter_exit: u32,
    /// One of the `DROP_BY_` constants.
    pub drop_mode: u32,
    /// Index of the device at whose ingress dropped packets end.
    pub sink_index: u32,
    /// One of the `LOSS_` constants.
    pub loss_model: u32,
    /// `RULE_` bits.
    pub flags: u32,
    /// Index of the jitter table.
    pub jitter_table: u32,
    /// Correlation of successive jitters in units of 1 / [`JITTER_ONE`]; 0 for none.
    pub correlation: u32,
    /// What of a new draw enters a correlated jitter: the root of 1 - correlation², same unit.
    pub innovation: u32,
    /// At least this many packets wait before one may leave at once; 1 for any.
    pub reorder_gap: u32,
    /// IP protocol number, 0 for any.
    pub protocol: u32,
    /// First and last port of the target, 0 and 65535 for any.
    pub target_ports: [u16; 2],
    /// First and last port of the peer, 0 and 65535 for any.
    pub peer_ports: [u16; 2],
    /// Nothing.
    pub padding: u32,
}

/// Value of the map `STATES`, by slot: what the programs remember from packet to packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleState {
    /// Number of the next wire packet (or super-packet, where the rule counts those).
    pub packet_number: u64,
    /// Number of the next packet that is held.
    pub held_number: u64,
    /// The latest departure that was given to a packet.
    pub last_departure_ns: u64,
    /// When the bottleneck is free again.
    pub bottleneck_free_ns: u64,
    /// [`GE_GOOD`] or [`GE_BAD`].
    pub loss_state: u64,
    /// Packets that waited since one last left at once.
    pub waited: u64,
    /// The last jitter, in normal deviates times [`JITTER_ONE`].
    pub deviate: i64,
    /// When the first packet was affected, 0 before.
    pub first_affected_ns: u64,
}

/// Value of the map `COUNTERS`, by slot and CPU: what the programs did under one rule. Packets are
/// wire packets where the rule counts those.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// Packets to which the rule applies, while it was in force.
    pub matched: u64,
    /// Their bytes, link-layer headers included.
    pub matched_bytes: u64,
    /// Lost on purpose.
    pub dropped: u64,
    /// Lost because the queue of the bottleneck was full, which is on purpose too.
    pub overflowed: u64,
    /// Second copies that were made.
    pub duplicated: u64,
    /// Spoilt.
    pub corrupted: u64,
    /// Sent ahead of those that wait.
    pub reordered: u64,
    /// Super-packets that were cut into wire packets.
    pub cut: u64,
    /// Packets as the kernel sees them that were sent to the holding device.
    pub held: u64,
    /// Packets as the kernel sees them that came back from the holding device.
    pub returned: u64,
    /// Packets that passed because the deadline or the lease was over.
    pub expired: u64,
    /// Packets that could not be treated: those on their way out passed unharmed, those on their way
    /// back were lost.
    pub failed: u64,
}

/// Value of the map `PROOFS`, by slot and CPU: what held packets really went through, measured from
/// the holding device's entrance to its exit on a sample of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayProof {
    /// Packets in the sample.
    pub count: u64,
    /// Sum of their delays.
    pub delay_sum_ns: u64,
    /// How much later than due they came out, in all.
    pub late_sum_ns: u64,
    /// How many came out before they were due.
    pub early: u64,
    /// Their delays by [`bucket_of`].
    pub delays: [u32; BUCKETS],
    /// How much later than due they came out by [`bucket_of`].
    pub lateness: [u32; BUCKETS],
}

impl DelayProof {
    /// Nothing was measured yet.
    pub const EMPTY: Self = Self {
        count: 0,
        delay_sum_ns: 0,
        late_sum_ns: 0,
        early: 0,
        delays: [0; BUCKETS],
        lateness: [0; BUCKETS],
    };
}

/// Value of the map `SAMPLES`: a packet that is held.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldSample {
    /// When it was sent to the holding device.
    pub held_at_ns: u64,
    /// When it is due; 0 where only the device knows.
    pub due_ns: u64,
}

/// Value of the map `JITTER_TABLES`: inverse of a distribution in [`TABLE_LENGTH`] equal steps of
/// probability, or, for correlated jitter, of a normal deviate; in units of 1 / [`JITTER_ONE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterTable {
    /// The values; one more than steps, so that each step has two ends.
    pub values: [i32; TABLE_LENGTH + 1],
}

const _: () = assert!(size_of::<InterfaceKey>() == 8);
const _: () = assert!(size_of::<RuleList>() == 4 * RULES_PER_LIST);
const _: () = assert!(size_of::<Hook>() == 8 + 4 * RULES_PER_LIST);
const _: () = assert!(size_of::<HookState>() == 16);
const _: () = assert!(size_of::<PeerKey>() == 20);
const _: () = assert!(size_of::<NetworkKey>() == 20);
const _: () = assert!(size_of::<Rule>() == 14 * 8 + 15 * 4 + 8 + 4);
const _: () = assert!(size_of::<RuleState>() == 64);
const _: () = assert!(size_of::<RuleCounters>() == 96);
const _: () = assert!(size_of::<DelayProof>() == 32 + 8 * BUCKETS);
