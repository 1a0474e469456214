//! What a plugin can do instead of answering.

use std::hint::black_box;

use faultd_plugin_sdk::schedule::Decision;
use faultd_plugin_sdk::{Level, log};

pub(crate) fn compute_forever() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

pub(crate) fn recurse_forever() -> Decision {
    Decision::nothing(Some(depth_below(1)))
}

/// The sum after the call keeps the compiler from making a loop of it.
#[expect(unconditional_recursion, reason = "it is what this is for")]
fn depth_below(depth: u64) -> u64 {
    black_box(depth_below(black_box(depth + 1))) + 1
}

pub(crate) fn take_all_memory() -> ! {
    const BLOCK: usize = 1 << 20;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        blocks.push(black_box(vec![1; BLOCK]));
    }
}

#[expect(clippy::panic, reason = "it is what this is for")]
pub(crate) fn break_down(place: &str) -> ! {
    panic!("broken down on purpose in {place}")
}

/// Without the allocator and the message of a panic.
pub(crate) fn trap() -> Decision {
    std::process::abort()
}

pub(crate) fn log_ten_million_lines() -> Decision {
    for _ in 0..10_000_000 {
        log(Level::Info, "a line");
    }
    Decision::nothing(None)
}

pub(crate) fn log_ten_megabytes() -> Decision {
    log(Level::Info, &"long\n".repeat(2_000_000));
    Decision::nothing(None)
}

/// Costs the guest next to nothing, and the host a copy of each.
pub(crate) fn log_megabytes_for_ever() -> Decision {
    let line = "x".repeat(10_000_000);
    loop {
        log(Level::Info, &line);
    }
}
