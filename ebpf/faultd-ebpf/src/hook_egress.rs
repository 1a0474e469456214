//! The program for packets that go out through an interface (what a container behind it receives).

use aya_ebpf::{macros::classifier, programs::TcContext};
use faultd_abi::HOOK_EGRESS;

/// Applies the rules of the interface's egress hook.
#[classifier]
pub fn hook_egress(context: TcContext) -> i32 {
    crate::fault::apply(&context, HOOK_EGRESS)
}
