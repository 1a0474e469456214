//! Plugins as the daemon runs them: the ones that ship, against a real etcd, and hostile ones.
#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is test code, also what is outside of the test functions"
)]

mod built;
mod etcd_cluster;
mod etcd_kv;
mod hostile;
mod members;
mod window;
