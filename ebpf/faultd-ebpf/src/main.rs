//! The programs that faultd attaches: two at the interface under fault, one at the holding device.
//!
//! ```text
//! hook_ingress, hook_egress ── lost? drop ── delayed? tag with the slot, send to the holding device
//! hold_return ── read the slot, untag, mark as second pass, send back to the hook it came from
//! hook_ingress, hook_egress ── second pass? clear the mark, go on
//! ```
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod counters;
mod fault;
mod hold_return;
mod hook_egress;
mod hook_ingress;
mod maps;

/// Read by the loader: some of the helpers that are used here ask for it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Demanded by the language. The verifier refuses what could panic, so it is never reached.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
