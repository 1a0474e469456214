//! Leave for the daemon's eBPF library to copy the shared structs as bytes.

use crate::{
    DelayProof, HeldSample, Hook, HookState, InterfaceKey, JitterTable, NetworkKey, PeerKey, Rule,
    RuleCounters, RuleList, RuleState,
};

// SAFETY: repr(C), integers only, and the asserted sizes leave no room for implicit padding.
unsafe impl aya::Pod for InterfaceKey {}
// SAFETY: as above.
unsafe impl aya::Pod for RuleList {}
// SAFETY: as above.
unsafe impl aya::Pod for Hook {}
// SAFETY: as above.
unsafe impl aya::Pod for HookState {}
// SAFETY: as above.
unsafe impl aya::Pod for PeerKey {}
// SAFETY: as above.
unsafe impl aya::Pod for NetworkKey {}
// SAFETY: as above.
unsafe impl aya::Pod for Rule {}
// SAFETY: as above.
unsafe impl aya::Pod for RuleState {}
// SAFETY: as above.
unsafe impl aya::Pod for RuleCounters {}
// SAFETY: as above.
unsafe impl aya::Pod for DelayProof {}
// SAFETY: as above.
unsafe impl aya::Pod for HeldSample {}
// SAFETY: as above; a single array.
unsafe impl aya::Pod for JitterTable {}
