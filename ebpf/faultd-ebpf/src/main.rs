//! The programs that faultd attaches: two at the interface under fault, two at each holding device, one
//! at the exit of the cutter.
//!
//! ```text
//! hook ── select a rule ── fate: lost? spoilt? doubled? ── pass
//!   │                        │                    └─ waits? ─▶ entrance ── departure ─▶ fq │ netem │ TAP
//!   │                        └─ super-packet, mixed fate ─▶ cutter ─▶ cut_return ── fate of each ─┘   │
//!   └◀─ second pass: clear the mark, go on ◀──────────── hold_return ── untag, mark, send back ◀──────┘
//! ```
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod cut_return;
mod departure;
mod entrance;
mod fate;
mod hold_return;
mod hook;
mod maps;
mod packet;
mod proof;
mod route;
mod select;
mod slot;

/// Read by the loader: some of the helpers that are used here ask for it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Demanded by the language. The verifier refuses what could panic, so it is never reached.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
