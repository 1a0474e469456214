//! Which rule applies to a packet.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns, macros::map, maps::PerCpuArray, maps::lpm_trie::Key, programs::TcContext,
};
use faultd_abi::{
    HOOK_HAS_NETWORKS, HOOK_HAS_PEERS, HOOK_LEAVES_TARGET, HOOK_NAMES_PORTS, Hook, NetworkKey, PeerKey,
    RULE_TAKES_NEIGHBOUR_DISCOVERY, RULES_PER_LIST, Rule, RuleList,
};

use crate::{
    maps::{LEASE, NETWORKS, PEERS, RULES},
    packet::{self, Kind, NO_PORT},
    slot::Slot,
};

/// Bits of a whole key of the trie.
const WHOLE_KEY: u32 = 32 + 128;
/// Stands for a protocol that was not looked for or not found.
const NO_PROTOCOL: u32 = 1 << 8;

/// What rules ask of a packet beside its peer's address.
///
/// It is kept in a map and not on the stack, because the verifier knows nothing of what comes out of a
/// map: whatever way led here, it follows the loop over the rules only once.
#[repr(C)]
#[derive(Clone, Copy)]
struct Traits {
    neighbour_discovery: u32,
    protocol: u32,
    target_port: u32,
    peer_port: u32,
    now_ns: u64,
    lease_ns: u64,
}

#[map]
static TRAITS: PerCpuArray<Traits> = PerCpuArray::with_max_entries(1, 0);

/// The first rule that fits the packet and is in force.
#[inline(always)]
pub fn select(context: &TcContext, hook: &Hook, kind: Kind, now_ns: u64) -> Option<Slot> {
    let traits = TRAITS.get_ptr_mut(0)?;
    let transport = if hook.flags & HOOK_NAMES_PORTS == 0 { None } else { packet::transport(context, kind) };
    let (protocol, [source, destination]) = match transport {
        Some(transport) => (u32::from(transport.protocol), packet::ports(context, transport)),
        None => (NO_PROTOCOL, [NO_PORT; 2]),
    };
    let leaves = hook.flags & HOOK_LEAVES_TARGET != 0;
    let found = Traits {
        neighbour_discovery: u32::from(kind == Kind::NeighbourDiscovery),
        protocol,
        target_port: if leaves { source } else { destination },
        peer_port: if leaves { destination } else { source },
        now_ns,
        lease_ns: LEASE.get_ptr(0).map_or(0, |lease| crate::atomic::read(lease)),
    };
    // SAFETY: a live entry of this CPU, on which no other program runs meanwhile.
    unsafe { traits.write(found) };
    Slot::find(first_that_fits(list_for_peer(context, hook, kind), traits))
}

/// The time, on the clock of deadlines.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: this helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn list_for_peer(context: &TcContext, hook: &Hook, kind: Kind) -> *const RuleList {
    let any_peer = core::ptr::from_ref(&hook.any_peer);
    if hook.flags & (HOOK_HAS_PEERS | HOOK_HAS_NETWORKS) == 0 {
        return any_peer;
    }
    let leaves_target = hook.flags & HOOK_LEAVES_TARGET != 0;
    let Some(address) = packet::address(context, kind, leaves_target) else { return any_peer };
    if let Some(list) = PEERS.get_ptr(PeerKey { hook_id: hook.hook_id, address }) {
        return list;
    }
    if hook.flags & HOOK_HAS_NETWORKS == 0 {
        return any_peer;
    }
    let key = Key::new(WHOLE_KEY, NetworkKey { hook_id: hook.hook_id.to_be_bytes(), address });
    NETWORKS.get(key).map_or(any_peer, core::ptr::from_ref)
}

/// The slot of the first rule in the list that fits, 0 if none does.
#[inline(never)]
fn first_that_fits(list: *const RuleList, traits: *const Traits) -> u32 {
    // SAFETY: the caller's pointers are to live map values; the daemon replaces whole lists.
    let (list, traits) = unsafe { (&*list, &*traits) };
    for index in 0..RULES_PER_LIST {
        let number = list.slots[index];
        if number == 0 {
            return 0;
        }
        // SAFETY: the daemon replaces whole rules, so the one read here is never half written.
        let Some(rule) = (unsafe { RULES.get(number) }) else { continue };
        if !fits(rule, traits) {
            continue;
        }
        if traits.now_ns <= rule.deadline_ns && traits.now_ns <= traits.lease_ns {
            return number;
        }
        if let Some(slot) = Slot::find(number) {
            slot.count(|counters| counters.expired += 1);
        }
    }
    0
}

#[inline(always)]
fn fits(rule: &Rule, traits: &Traits) -> bool {
    if traits.neighbour_discovery != 0 && rule.flags & RULE_TAKES_NEIGHBOUR_DISCOVERY == 0 {
        return false;
    }
    if rule.protocol != 0 && rule.protocol != traits.protocol {
        return false;
    }
    is_within(traits.target_port, rule.target_ports) && is_within(traits.peer_port, rule.peer_ports)
}

/// Whether a port is in a range. Every port is, and none as well, in the range of all.
#[inline(always)]
fn is_within(port: u32, range: [u16; 2]) -> bool {
    range == [0, u16::MAX] || (u32::from(range[0]) <= port && port <= u32::from(range[1]))
}
