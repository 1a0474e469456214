//! Rules as tests want them: on what leaves or enters a host, with some effects.

use std::time::Duration;

use faultd_kernel::{
    datapath::{Delay, Effects, HoldingKind, Hook, Loss, RulePlan},
    probe::{Capabilities, Support},
};

use crate::hosts::Host;

/// A rule for all packets at one side of a host's outer interface: what leaves the host is caught at
/// ingress.
pub fn rule(host: &Host, hook: Hook, effects: Effects, holding: Option<HoldingKind>) -> RulePlan {
    RulePlan { effects, holding, seed: 1, ..RulePlan::new(host.outside.clone(), hook) }
}

/// A fixed delay.
pub fn delayed(milliseconds: u64) -> Effects {
    let delay = Some(Delay { base: Duration::from_millis(milliseconds), jitter: None });
    Effects { delay, ..Effects::default() }
}

/// Random loss.
pub fn lossy(ratio: f64) -> Effects {
    Effects { loss: Some(Loss::Random(ratio)), ..Effects::default() }
}

/// The devices that this kernel has, best first.
pub fn holding_kinds(capabilities: &Capabilities) -> Vec<HoldingKind> {
    let available = |kind: &HoldingKind| {
        let support = match kind {
            HoldingKind::Edt => &capabilities.fq,
            HoldingKind::Netem => &capabilities.netem,
            HoldingKind::Relay => &capabilities.tap,
        };
        *support == Support::Available
    };
    HoldingKind::ALL.into_iter().filter(available).collect()
}
