//! The maps through which the daemon tells the programs what to do, and learns what they did.
//!
//! What belongs to a slot is in hashes that take memory only for slots in use, and whose values the
//! kernel replaces as a whole, so that no packet ever sees half of a changed rule.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap},
};
use faultd_abi::{
    DelayProof, HOOK_COUNT, HeldSample, Hook, HookState, InterfaceKey, JITTER_TABLE_COUNT, JitterTable,
    LAST_SLOT, NetworkKey, PEER_COUNT, PeerKey, Rule, RuleCounters, RuleList, RuleState, TRACE_WORD_COUNT,
};

/// Held packets that are measured at a time; where more are held, the oldest are forgotten.
const SAMPLE_COUNT: u32 = 1 << 14;

/// Which rules apply at which hook.
#[map]
pub static INTERFACES: HashMap<InterfaceKey, Hook> = HashMap::with_max_entries(HOOK_COUNT, BPF_F_NO_PREALLOC);

/// What the programs remember of a hook.
#[map]
pub static HOOK_STATES: HashMap<InterfaceKey, HookState> =
    HashMap::with_max_entries(HOOK_COUNT, BPF_F_NO_PREALLOC);

/// Packets that each hook saw, by its number.
#[map]
pub static SEEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(HOOK_COUNT, 0);

/// Which rules apply to packets of one peer.
#[map]
pub static PEERS: HashMap<PeerKey, RuleList> = HashMap::with_max_entries(PEER_COUNT, BPF_F_NO_PREALLOC);

/// Which rules apply to packets of peers in one network; the longest prefix counts.
#[map]
pub static NETWORKS: LpmTrie<NetworkKey, RuleList> = LpmTrie::with_max_entries(PEER_COUNT, BPF_F_NO_PREALLOC);

/// The rules by slot.
#[map]
pub static RULES: HashMap<u32, Rule> = HashMap::with_max_entries(LAST_SLOT, BPF_F_NO_PREALLOC);

/// What the programs remember of each rule.
#[map]
pub static STATES: HashMap<u32, RuleState> = HashMap::with_max_entries(LAST_SLOT, BPF_F_NO_PREALLOC);

/// What happened under each rule.
#[map]
pub static COUNTERS: PerCpuHashMap<u32, RuleCounters> =
    PerCpuHashMap::with_max_entries(LAST_SLOT, BPF_F_NO_PREALLOC);

/// How long packets were really held; only of rules that hold.
#[map]
pub static PROOFS: PerCpuHashMap<u32, DelayProof> =
    PerCpuHashMap::with_max_entries(LAST_SLOT, BPF_F_NO_PREALLOC);

/// The packets that are held, by what they look like.
#[map]
pub static SAMPLES: LruHashMap<u64, HeldSample> = LruHashMap::with_max_entries(SAMPLE_COUNT, 0);

/// Shapes of jitter. The first is the normal distribution.
#[map]
pub static JITTER_TABLES: Array<JitterTable> = Array::with_max_entries(JITTER_TABLE_COUNT, 0);

/// Words of 64 packets of loss traces: slot in the upper half of the key, word in the lower.
#[map]
pub static TRACES: HashMap<u64, u64> = HashMap::with_max_entries(TRACE_WORD_COUNT, BPF_F_NO_PREALLOC);

/// Until when any rule may act, on the monotonic clock in nanoseconds: the daemon moves it several
/// times a second, so that everything ends soon after it has died or was stopped.
#[map]
pub static LEASE: Array<u64> = Array::with_max_entries(1, 0);
