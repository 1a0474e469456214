//! The eBPF object, loaded: its programs and its maps with their types.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
        lpm_trie::Key,
    },
};
use faultd_abi::{
    DelayProof, Hook as AbiHook, HookState, InterfaceKey, JitterTable, NetworkKey, PeerKey, Rule, RuleList,
    RuleState,
};

use super::{DatapathError, Network, attachment::load_program};

pub(crate) const INGRESS_PROGRAM: &str = "hook_ingress";
pub(crate) const EGRESS_PROGRAM: &str = "hook_egress";
pub(crate) const RETURN_PROGRAM: &str = "hold_return";
pub(crate) const CUT_RETURN_PROGRAM: &str = "cut_return";

/// How often and how long [`patiently`] waits.
const MOST_ATTEMPTS: u32 = 100;
const STOCK_FILLS_UP: Duration = Duration::from_millis(2);

const PROGRAMS: [&str; 7] = [
    INGRESS_PROGRAM,
    EGRESS_PROGRAM,
    RETURN_PROGRAM,
    CUT_RETURN_PROGRAM,
    "edt_entrance",
    "netem_entrance",
    "relay_entrance",
];

/// Until when any rule of an object may act: moved by the lease keeper's thread.
pub(super) type Lease = Arc<Mutex<Array<MapData, u64>>>;

/// The maps of one loaded object.
pub(super) struct Maps {
    interfaces: HashMap<MapData, InterfaceKey, AbiHook>,
    hook_states: HashMap<MapData, InterfaceKey, HookState>,
    seen: PerCpuArray<MapData, u64>,
    peers: HashMap<MapData, PeerKey, RuleList>,
    networks: LpmTrie<MapData, NetworkKey, RuleList>,
    rules: HashMap<MapData, u32, Rule>,
    states: HashMap<MapData, u32, RuleState>,
    counters: PerCpuHashMap<MapData, u32, faultd_abi::RuleCounters>,
    proofs: PerCpuHashMap<MapData, u32, DelayProof>,
    jitter_tables: Array<MapData, JitterTable>,
    traces: HashMap<MapData, u64, u64>,
    lease: Lease,
    cpus: usize,
}

/// Loads the object and all of its programs into the kernel, attached to nothing.
pub(crate) fn load_object(object: &[u8]) -> Result<Ebpf, DatapathError> {
    let loaded = EbpfLoader::new().load(object);
    let mut ebpf = loaded.map_err(|error| DatapathError::Load(Box::new(error)))?;
    for program in PROGRAMS {
        load_program(&mut ebpf, program)?;
    }
    Ok(ebpf)
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let cpus = aya::util::nr_cpus().map_err(|(_file, error)| DatapathError::Counters(error))?;
        Ok(Self {
            interfaces: take_map(ebpf, "INTERFACES")?,
            hook_states: take_map(ebpf, "HOOK_STATES")?,
            seen: take_map(ebpf, "SEEN")?,
            peers: take_map(ebpf, "PEERS")?,
            networks: take_map(ebpf, "NETWORKS")?,
            rules: take_map(ebpf, "RULES")?,
            states: take_map(ebpf, "STATES")?,
            counters: take_map(ebpf, "COUNTERS")?,
            proofs: take_map(ebpf, "PROOFS")?,
            jitter_tables: take_map(ebpf, "JITTER_TABLES")?,
            traces: take_map(ebpf, "TRACES")?,
            lease: Arc::new(Mutex::new(take_map(ebpf, "LEASE")?)),
            cpus,
        })
    }

    pub(super) fn lease(&self) -> Lease {
        Arc::clone(&self.lease)
    }

    /// Gives a slot an empty memory, counters, and, where it holds, a place for what is measured.
    pub(super) fn open_slot(&mut self, slot: u32, holds: bool) -> Result<(), DatapathError> {
        let state = RuleState::default();
        patiently(|| self.states.insert(slot, state, 0)).map_err(DatapathError::map("STATES"))?;
        // What is inserted is consumed, so that each attempt makes it anew.
        let zeros = faultd_abi::RuleCounters::default();
        self.insert_on_every_cpu("COUNTERS", zeros, |maps, zeros| maps.counters.insert(slot, zeros, 0))?;
        if holds { self.open_proof(slot) } else { Ok(()) }
    }

    /// Gives a slot a place for what is measured, if it has none.
    pub(super) fn open_proof(&mut self, slot: u32) -> Result<(), DatapathError> {
        if self.proofs.get(&slot, 0).is_ok() {
            return Ok(());
        }
        self.insert_on_every_cpu("PROOFS", DelayProof::EMPTY, |maps, empty| {
            maps.proofs.insert(slot, empty, 0)
        })
    }

    fn insert_on_every_cpu<T: Copy + aya::Pod>(
        &mut self,
        map: &'static str,
        value: T,
        mut insert: impl FnMut(&mut Self, PerCpuValues<T>) -> Result<(), MapError>,
    ) -> Result<(), DatapathError> {
        let cpus = self.cpus;
        let attempt = || {
            let values = PerCpuValues::try_from(vec![value; cpus]).map_err(MapError::IoError)?;
            insert(self, values)
        };
        patiently(attempt).map_err(DatapathError::map(map))
    }

    /// Takes everything of a slot away. What is not there is no error.
    pub(super) fn close_slot(&mut self, slot: u32) -> Vec<DatapathError> {
        let results = [
            absent_is_fine("RULES", self.rules.remove(&slot)),
            absent_is_fine("STATES", self.states.remove(&slot)),
            absent_is_fine("COUNTERS", self.counters.remove(&slot)),
            absent_is_fine("PROOFS", self.proofs.remove(&slot)),
        ];
        results.into_iter().filter_map(Result::err).collect()
    }

    /// Writes a rule's parameters: at once and as a whole.
    pub(super) fn set_rule(&mut self, slot: u32, rule: Rule) -> Result<(), DatapathError> {
        patiently(|| self.rules.insert(slot, rule, 0)).map_err(DatapathError::map("RULES"))
    }

    pub(super) fn rule(&self, slot: u32) -> Result<Rule, DatapathError> {
        self.rules.get(&slot, 0).map_err(DatapathError::map("RULES"))
    }

    pub(super) fn state(&self, slot: u32) -> Result<RuleState, DatapathError> {
        self.states.get(&slot, 0).map_err(DatapathError::map("STATES"))
    }

    pub(super) fn counters(
        &self,
        slot: u32,
    ) -> Result<PerCpuValues<faultd_abi::RuleCounters>, DatapathError> {
        self.counters.get(&slot, 0).map_err(DatapathError::map("COUNTERS"))
    }

    /// What was measured of held packets; nothing for a slot that never held any.
    pub(super) fn proofs(&self, slot: u32) -> Result<Option<PerCpuValues<DelayProof>>, DatapathError> {
        match self.proofs.get(&slot, 0) {
            Ok(parts) => Ok(Some(parts)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(DatapathError::map("PROOFS")(error)),
        }
    }

    /// Packets that a hook saw.
    pub(super) fn seen(&self, hook_id: u32) -> Result<u64, DatapathError> {
        let parts = self.seen.get(&hook_id, 0).map_err(DatapathError::map("SEEN"))?;
        Ok(parts.iter().fold(0, |sum, part| sum.wrapping_add(*part)))
    }

    /// Writes the list for packets of no named peer, and what the hook is.
    pub(super) fn set_hook(&mut self, key: InterfaceKey, hook: AbiHook) -> Result<(), DatapathError> {
        if self.hook_states.get(&key, 0).is_err() {
            let written = patiently(|| self.hook_states.insert(key, HookState::default(), 0));
            written.map_err(DatapathError::map("HOOK_STATES"))?;
        }
        patiently(|| self.interfaces.insert(key, hook, 0)).map_err(DatapathError::map("INTERFACES"))
    }

    #[cfg(test)]
    pub(super) fn hook_state(&self, key: InterfaceKey) -> Result<HookState, DatapathError> {
        self.hook_states.get(&key, 0).map_err(DatapathError::map("HOOK_STATES"))
    }

    pub(super) fn remove_hook(&mut self, key: InterfaceKey) -> Result<(), DatapathError> {
        absent_is_fine("INTERFACES", self.interfaces.remove(&key))?;
        absent_is_fine("HOOK_STATES", self.hook_states.remove(&key))
    }

    /// Writes the list for packets of peers in a network; an empty one takes the network away.
    pub(super) fn set_network(
        &mut self,
        hook_id: u32,
        network: Network,
        list: Option<RuleList>,
    ) -> Result<(), DatapathError> {
        let address = network.octets();
        if network.is_host() {
            let key = PeerKey { hook_id, address };
            return match list {
                Some(list) => {
                    patiently(|| self.peers.insert(key, list, 0)).map_err(DatapathError::map("PEERS"))
                }
                None => absent_is_fine("PEERS", self.peers.remove(&key)),
            };
        }
        let data = NetworkKey { hook_id: hook_id.to_be_bytes(), address };
        let key = Key::new(32 + u32::from(network.prefix_length()), data);
        match list {
            Some(list) => {
                patiently(|| self.networks.insert(&key, list, 0)).map_err(DatapathError::map("NETWORKS"))
            }
            None => absent_is_fine("NETWORKS", self.networks.remove(&key)),
        }
    }

    pub(super) fn set_jitter_table(&mut self, index: u32, table: JitterTable) -> Result<(), DatapathError> {
        self.jitter_tables.set(index, table, 0).map_err(DatapathError::map("JITTER_TABLES"))
    }

    /// Writes a word of 64 packets of a slot's loss trace; no word means that none of them is lost.
    pub(super) fn set_trace_word(&mut self, slot: u32, index: u32, word: u64) -> Result<(), DatapathError> {
        let key = trace_key(slot, index);
        patiently(|| self.traces.insert(key, word, 0)).map_err(DatapathError::map("TRACES"))
    }

    pub(super) fn remove_trace_word(&mut self, slot: u32, index: u32) -> Result<(), DatapathError> {
        absent_is_fine("TRACES", self.traces.remove(&trace_key(slot, index)))
    }
}

fn trace_key(slot: u32, index: u32) -> u64 {
    u64::from(slot) << 32 | u64::from(index)
}

/// Waits and tries again where the kernel has no memory at hand: it keeps a small stock for maps, which
/// it fills up in the background.
fn patiently(mut insert: impl FnMut() -> Result<(), MapError>) -> Result<(), MapError> {
    for _attempt in 0..MOST_ATTEMPTS {
        match insert() {
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::OutOfMemory =>
            {
                std::thread::sleep(STOCK_FILLS_UP);
            }
            result => return result,
        }
    }
    insert()
}

fn absent_is_fine(map: &'static str, result: Result<(), MapError>) -> Result<(), DatapathError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        // The trie says it with the kernel's own words.
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(DatapathError::map(map)),
    }
}

fn take_map<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, DatapathError> {
    let map = ebpf.take_map(name).ok_or(DatapathError::MissingInObject(name))?;
    M::try_from(map).map_err(DatapathError::map(name))
}
