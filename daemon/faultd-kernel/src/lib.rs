//! Everything of faultd that talks to the kernel: the only crate with netlink, bpf file descriptors,
//! TAP devices, and `unsafe`.
//!
//! The calls are synchronous and may be made from any thread. What depends on a network namespace
//! is done by a thread of its own, which enters the namespace and ends.
//!
//! ```text
//! datapath ── one instance of the eBPF object for each namespace, its rules, their leases
//!    ├── holding ── the devices that make packets wait: relay (TAP), netem (veth pair)
//!    └── netlink, traffic_control, link, namespace
//! control_group ── processes that are paused or throttled, and the guard that undoes it
//! process ── the members of a lab        probe ── what this kernel can do
//! journal ── what is to be undone, on disk before it is done        recovery, residue ── what is left over
//! ```

pub mod clock;
pub mod control_group;
pub mod datapath;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod holding;
pub mod journal;
pub mod kill_points;
pub mod link;
pub mod namespace;
pub mod netlink;
pub mod probe;
pub mod process;
mod punctual;
pub mod recovery;
pub mod residue;
mod tap;
mod traffic_control;

/// Names of all links that faultd makes for itself start with this.
pub const LINK_NAME_PREFIX: &str = "fltd-";

/// Names of all network namespaces that faultd makes start with this.
pub const NAMESPACE_NAME_PREFIX: &str = "faultd-";
