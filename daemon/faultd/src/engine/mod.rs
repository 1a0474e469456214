//! The one owner of all faults: a thread that applies, watches and removes them.
//!
//! ```text
//!            Command                        carriers
//! bus, runs ────────▶ owner (this thread) ──┬─ RulePort ────▶ faultd-kernel: packets
//!           ◀──────── reply, when the       └─ ProcessPort ─▶ faultd-kernel: processes, and their guard
//!                     kernel confirmed
//! ```
//!
//! A fault ends by the first of: its removal, its deadline, the end of its owner (a connection or a
//! run), the end of the daemon. The kernel program compares the deadline itself, so that a fault
//! ends on time even if this thread does not run. A fault on a container that does not run is *away*: it has
//! nothing in the kernel, but keeps its place, its seed and its deadline until the container is back.

mod active;
mod budget;
mod carrier;
mod following;
mod handle;
mod moving;
mod owner;
mod port;
mod queue;
mod report;
#[cfg(test)]
mod tests;

pub use self::{
    active::{Applied, Cleared, FaultOwner},
    budget::{Budget, ClusterBudget},
    handle::{Application, Asked, EngineError, EngineHandle, FollowedContainers, Selection},
    owner::start,
    port::{ProcessPort, RulePort},
};
