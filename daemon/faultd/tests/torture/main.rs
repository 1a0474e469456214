//! What must not happen to a host, tried: the daemon killed at every step, stopped, flooded, left alone by what it
//! depends on, asked anything by anybody, for a long time. Short in `make test`, long in `make torture`.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod arena;
mod callers;
mod chance;
mod crowd;
mod denied;
mod disks;
mod generator;
mod gone;
mod introspected;
mod killed_labs;
mod killed_runs;
mod kills;
mod length;
#[path = "../networks/mod.rs"]
mod networks;
mod random_calls;
mod soak;
mod stopped;

use std::sync::{Mutex, MutexGuard, PoisonError};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// These tests measure how soon things are as before, and load the machine: one goes on at a time.
fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
#[ignore = "started by other tests"]
fn spins() {
    faultd_testkit::spinning::spin();
}
