//! faultd: makes containers and other hosts slow or lossy, exactly as asked and no longer than asked,
//! while a workload runs, and shows what that did.
//!
//! ```text
//! bus ─▶ fault (checked spec, backend) ─▶ engine ─▶ faultd-kernel ─▶ tc eBPF ─▶ holding device
//!  │         ▲                           ▲  │
//!  ├─▶ lab ──┼─ target ─▶ follow ────────┘  └──▶ metrics ─▶ /metrics
//!  └─▶ run ──┘     ▲                                 ▲
//!       │  schedule plugin (proposes)                │
//!       └─ driver plugin (load) ──▶ record ──▶ results folder
//! ```
//!
//! Nothing here opens netlink, a bpf descriptor or a TAP: that is `faultd-kernel`. Nothing here
//! starts a process but the members of a lab and the guard of control groups, which `faultd-kernel` starts too.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bus;
pub mod cluster;
pub mod container_cluster;
pub mod doctor;
pub mod engine;
pub mod fault;
pub mod follow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod inventory;
pub mod jobs;
pub mod lab;
pub mod leftovers;
pub mod manual;
pub mod metrics;
pub mod plugins;
pub mod policy;
pub mod readiness;
pub mod run;
pub mod service_manager;
pub mod target;

/// An error with its causes in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A seed for those who did not give one; it is shown, so that the run can be repeated.
#[must_use]
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library's hash keys are random, from the kernel, for each process and instance.
    RandomState::new().build_hasher().finish()
}
