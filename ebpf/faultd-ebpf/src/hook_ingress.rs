//! The program for packets that come in through an interface (what a container behind it sends).

use aya_ebpf::{macros::classifier, programs::TcContext};
use faultd_abi::HOOK_INGRESS;

/// Applies the rules of the interface's ingress hook.
#[classifier]
pub fn hook_ingress(context: TcContext) -> i32 {
    crate::fault::apply(&context, HOOK_INGRESS)
}
