//! The flags that describe a fault, the same wherever one is described, and its words.

use std::time::Duration;

use clap::Args;
use faultd_api::{
    fault::{Backend, Direction},
    units::{duration_text, nanoseconds, parse_delay, parse_share, share_text},
};

use crate::flag_values::{parse_seed, parse_word};

/// Kind, parameters and the way a fault is carried out.
#[derive(Debug, Clone, Args)]
pub(crate) struct FaultFlags {
    /// One-way delay to add: 100us, 50ms, 1.5s.
    #[arg(long, value_name = "DURATION", value_parser = parse_delay, allow_hyphen_values = true)]
    pub(crate) delay: Option<Duration>,
    /// Share of packets to drop: 20%, 0.5%.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, allow_hyphen_values = true)]
    pub(crate) loss: Option<f64>,
    /// egress leaves the target, ingress enters it, or both [default: egress].
    #[arg(long, value_parser = parse_word::<Direction>)]
    pub(crate) direction: Option<Direction>,
    /// auto takes what is best on this host, or name one: relay, netem [default: auto].
    #[arg(long, value_parser = parse_word::<Backend>)]
    pub(crate) backend: Option<Backend>,
    /// Seed of everything random; chosen and shown when missing.
    #[arg(long, value_parser = parse_seed, allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,
}

impl FaultFlags {
    /// Whether they describe a fault at all.
    pub(crate) fn has_fault(&self) -> bool {
        self.delay.is_some() || self.loss.is_some()
    }

    /// The delay in nanoseconds.
    pub(crate) fn delay_ns(&self) -> Option<u64> {
        self.delay.map(nanoseconds)
    }
}

/// A fault's parameters in words: `delay 50ms, loss 5%`.
pub(crate) fn fault_text(delay_ns: Option<u64>, loss_ratio: Option<f64>) -> String {
    let delay = delay_ns.map(|delay| format!("delay {}", duration_text(delay)));
    let loss = loss_ratio.map(|loss| format!("loss {}", share_text(loss)));
    delay.into_iter().chain(loss).collect::<Vec<_>>().join(", ")
}
