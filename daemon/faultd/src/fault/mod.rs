//! Faults as checked values: one kind, one file. Pure: no I/O, no clock, no kernel.
//!
//! ```text
//! FaultRequest (anybody's) ──checked──▶ FaultSpec ──choose──▶ ChosenBackend ──▶ engine
//! ```

pub mod backend;
mod delay;
mod jitter;
mod loss;
mod loss_pattern;
mod pause;
mod processes;
mod processor_share;
#[cfg(test)]
mod properties;
mod rate;
mod selection;
mod severity;
mod share;

use std::time::Duration;

use faultd_api::{
    fault::{Backend, Direction, FaultRequest},
    quantities::QuantityError,
    shape::{FaultShape, Unit as AskedUnit},
    units::{LONGEST_DURATION, duration_text, nanoseconds, share_text},
};
use faultd_kernel::datapath::{Effects, Unit};

pub use self::{
    delay::Delay,
    loss::Loss,
    pause::Pause,
    processes::ProcessFault,
    processor_share::ProcessorShare,
    selection::{Peer, Selection, network},
};

/// Why a request is no fault.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FaultError {
    /// Nothing is to happen.
    #[error(
        "no fault was given: ask for a delay (--delay 50ms), a loss (--loss 5%), a rate, a pause or another"
    )]
    Nothing,
    /// No target.
    #[error("no target was given")]
    NoTarget,
    /// A network without a name.
    #[error("no network was given: write its name as in --network backend, or leave --network out")]
    NoNetwork,
    /// Zero or too long.
    #[error("a delay of {0} ns is out of range: more than 0, at most {max}", max = duration_text(nanoseconds(faultd_api::units::LONGEST_DELAY)))]
    DelayOutOfRange(u64),
    /// Not in 0 < ratio <= 1.
    #[error("a loss of {text} is out of range: more than 0%, at most 100%", text = share_text(*.0))]
    LossOutOfRange(f64),
    /// Zero or too long.
    #[error("a jitter of {0} ns is out of range: more than 0, at most {max}", max = duration_text(nanoseconds(faultd_api::units::LONGEST_DELAY)))]
    JitterOutOfRange(u64),
    /// Jitter of nothing.
    #[error("jitter varies a delay: give --delay too, or a table of delays")]
    JitterWithoutDelay,
    /// The shape of nothing.
    #[error("a distribution, a correlation or --reorder is about jitter: give --jitter too")]
    DistributionWithoutJitter,
    /// Not from 0 to below 1.
    #[error("a correlation of {0} is out of range: at least 0, below 1")]
    CorrelationOutOfRange(f64),
    /// Too few, too many, the same, negative or no numbers.
    #[error("a table of delays needs from 2 to 100000 different numbers of milliseconds, none below 0")]
    BadTable,
    /// More than one kind of loss.
    #[error("only one loss at a time: random, in bursts, every n-th or a list")]
    SeveralLosses,
    /// Every zeroth packet.
    #[error("every 0th packet is none: say every how many packets one is lost")]
    EveryZeroth,
    /// A list that begins again before its end.
    #[error("a list of packets cannot begin again after {0}: its own length is the least, 4194304 the most")]
    RepeatOutOfRange(u64),
    /// A share that is none.
    #[error("{what} of {text} are out of range: more than 0%, at most 100%", text = share_text(*.ratio))]
    ShareOutOfRange {
        /// Of what.
        what: &'static str,
        /// The share.
        ratio: f64,
    },
    /// Reordering without anything that waits, or with a gap of 0.
    #[error("packets can only overtake others that wait: give --delay and a gap of at least 1")]
    ReorderWithoutDelay,
    /// Too slow.
    #[error("a rate of {0} bytes a second is out of range: at least 100")]
    RateOutOfRange(u64),
    /// Parts of a rate without one.
    #[error("burst and queue are parts of a rate: give --rate too")]
    BurstWithoutRate,
    /// Not an address, network or name.
    #[error("'{0}' is no peer: write a target's name, an address or a network, with :PORT if wanted")]
    Peer(String),
    /// Too many of them.
    #[error("{0} peers are too many for one fault: at most 20000")]
    TooManyPeers(usize),
    /// Not a protocol.
    #[error("'{0}' is no protocol: write tcp, udp, icmp, icmpv6, sctp or a number from 1 to 255")]
    Protocol(String),
    /// Too short or too long.
    #[error("a pause of {text} is out of range: at least 1ms, at most {max}", text = duration_text(*.0), max = duration_text(nanoseconds(faultd_api::units::LONGEST_DELAY)))]
    PauseOutOfRange(u64),
    /// The next pause would begin before the last is over, or never.
    #[error("a pause of {} begins again after a longer time, and at most 1h (--pause-every)", duration_text(*length_ns))]
    PausePeriodOutOfRange {
        /// How long each pause is.
        length_ns: u64,
    },
    /// An interval of nothing.
    #[error("pauses that begin again have a length: give --pause too")]
    PeriodWithoutPause,
    /// Too little, too much, or no number.
    #[error("{0} processors are out of range: at least 0.01, at most 4096")]
    ProcessorsOutOfRange(f64),
    /// Two kinds of faults on processes in one.
    #[error("a pause and a share of the processors are two faults: add each of them")]
    PauseAndShare,
    /// A fault on processes that has something of one on packets.
    #[error(
        "a fault of the kind {0} is on processes, which have no delay, loss, direction, network, peers, ports or backend: add two faults"
    )]
    PacketsAndProcesses(&'static str),
    /// A text that is no quantity.
    #[error(transparent)]
    Quantity(QuantityError),
    /// Zero or too long.
    #[error("a fault for {0} ns is out of range: more than 0, at most 7 days")]
    HoldOutOfRange(u64),
}

/// A checked fault on one target, whatever that turns out to be.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultSpec {
    /// The target's name as it was given.
    pub target: String,
    /// The network of a container whose packets are concerned; all when missing.
    pub network: Option<String>,
    /// Delay to add.
    pub delay: Option<Delay>,
    /// Share to drop.
    pub loss: Option<Loss>,
    /// What else it does, and to which packets, as it was asked for.
    pub shape: FaultShape,
    /// All that it does to packets, delay and loss included.
    pub effects: Effects,
    /// What it does to processes; then it does nothing to packets.
    pub processes: Option<ProcessFault>,
    /// To which packets.
    pub selection: Selection,
    /// What shares count.
    pub unit: Unit,
    /// Packets concerned, of a fault on packets.
    pub direction: Direction,
    /// Backend asked for.
    pub backend: Backend,
    /// For how long.
    pub hold_for: Option<Duration>,
    /// Seed of the loss pattern.
    pub seed: Option<u64>,
}

impl FaultSpec {
    /// Checks a request.
    ///
    /// # Errors
    /// When it has no target, no effect, or a parameter out of its range.
    pub fn checked(request: &FaultRequest) -> Result<Self, FaultError> {
        if request.target.is_empty() {
            return Err(FaultError::NoTarget);
        }
        if request.network.as_deref() == Some("") {
            return Err(FaultError::NoNetwork);
        }
        let delay = request.delay_ns.map(Delay::checked).transpose()?;
        let loss = request.loss_ratio.map(Loss::checked).transpose()?;
        let spec = Self {
            target: request.target.clone(),
            network: request.network.clone(),
            delay,
            loss,
            shape: request.shape.clone(),
            effects: checked_effects(delay, loss, &request.shape)?,
            processes: ProcessFault::checked(request)?,
            selection: Selection::checked(&request.shape)?,
            unit: match request.shape.unit {
                AskedUnit::Wire => Unit::WirePacket,
                AskedUnit::Skb => Unit::KernelPacket,
            },
            direction: request.direction,
            backend: request.backend,
            hold_for: request.hold_for_ns.map(checked_hold).transpose()?,
            seed: request.seed,
        };
        let does_nothing = spec.effects == Effects::default() && spec.processes.is_none();
        if does_nothing { Err(FaultError::Nothing) } else { Ok(spec) }
    }

    /// One word for each thing that it does: `delay`, `loss`, `delay+loss`, `rate`, `pause` ...
    #[must_use]
    pub fn kind(&self) -> String {
        if let Some(processes) = self.processes {
            return processes.kind().to_owned();
        }
        let effects = &self.effects;
        let jitter = effects.delay.as_ref().is_some_and(|delay| delay.jitter.is_some());
        let words = [
            ("delay", effects.delay.is_some()),
            ("jitter", jitter),
            ("loss", effects.loss.is_some()),
            ("rate", effects.rate.is_some()),
            ("duplicate", effects.duplicate.is_some()),
            ("corrupt", effects.corrupt.is_some()),
            ("reorder", effects.reorder.is_some()),
        ];
        let done = words.into_iter().filter(|(_, is_done)| *is_done).map(|(word, _)| word);
        done.collect::<Vec<_>>().join("+")
    }

    /// For people: `delay 100ms, loss 5% to etcd1`.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(processes) = self.processes {
            return processes.text();
        }
        let Effects { delay, loss, reorder, rate, duplicate, corrupt, .. } = &self.effects;
        let base = delay.as_ref().map(|delay| format!("delay {}", duration_text(nanoseconds(delay.base))));
        let jitter = delay.as_ref().and_then(jitter::text);
        let loss = loss.as_ref().map(loss_pattern::text);
        let parts = [base, jitter, loss, rate.map(rate::text)].into_iter().flatten();
        let mut text =
            parts.chain(share::texts(*duplicate, *corrupt, *reorder)).collect::<Vec<_>>().join(", ");
        let among = [
            (!self.shape.to.is_empty()).then(|| format!("to {}", peers_text(&self.shape.to))),
            self.shape.port.as_ref().map(|port| format!("port {port}")),
            self.shape.protocol.clone(),
            self.network.as_ref().map(|network| format!("on network {network}")),
        ];
        for condition in among.into_iter().flatten() {
            text.push(' ');
            text.push_str(&condition);
        }
        text
    }
}

fn checked_effects(
    delay: Option<Delay>,
    loss: Option<Loss>,
    shape: &FaultShape,
) -> Result<Effects, FaultError> {
    let delay = jitter::checked(delay, shape)?;
    Ok(Effects {
        loss: loss_pattern::checked(loss, shape)?,
        may_reorder: shape.may_reorder,
        reorder: share::reorder(shape, delay.is_some())?,
        rate: rate::checked(shape)?,
        duplicate: share::duplicate(shape)?,
        corrupt: share::corrupt(shape)?,
        delay,
    })
}

/// The first few, and how many more.
fn peers_text(peers: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = peers.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(",");
    match peers.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn checked_hold(hold_ns: u64) -> Result<Duration, FaultError> {
    let hold = Duration::from_nanos(hold_ns);
    if hold.is_zero() || hold > LONGEST_DURATION {
        return Err(FaultError::HoldOutOfRange(hold_ns));
    }
    Ok(hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> FaultRequest {
        FaultRequest { target: "etcd0".into(), delay_ns: Some(50_000_000), ..FaultRequest::default() }
    }

    #[test]
    fn a_fault_needs_a_target_and_an_effect() {
        assert!(FaultSpec::checked(&request()).is_ok());
        let no_target = FaultRequest { target: String::new(), ..request() };
        assert_eq!(FaultSpec::checked(&no_target), Err(FaultError::NoTarget));
        let nothing = FaultRequest { delay_ns: None, ..request() };
        assert_eq!(FaultSpec::checked(&nothing), Err(FaultError::Nothing));
    }

    #[test]
    fn both_effects_are_named_in_one_line() {
        let both = FaultRequest { loss_ratio: Some(0.05), ..request() };
        let spec = FaultSpec::checked(&both).unwrap();
        assert_eq!((spec.kind().as_str(), spec.text().as_str()), ("delay+loss", "delay 50ms, loss 5%"));
    }

    #[test]
    fn everything_at_once_is_still_one_line() {
        let shape = FaultShape {
            jitter_ns: Some(5_000_000),
            rate_bytes_per_second: Some(1_250_000),
            duplicate_ratio: Some(0.01),
            corrupt_ratio: Some(0.02),
            to: vec!["etcd1:2380".into()],
            port: Some("2379".into()),
            protocol: Some("tcp".into()),
            ..FaultShape::default()
        };
        let spec = FaultSpec::checked(&FaultRequest { loss_ratio: Some(0.05), shape, ..request() }).unwrap();
        assert_eq!(spec.kind(), "delay+jitter+loss+rate+duplicate+corrupt");
        let text = "delay 50ms, jitter 5ms normal, loss 5%, rate 10mbit, duplicate 1%, corrupt 2% to etcd1:2380 port 2379 tcp";
        assert_eq!(spec.text(), text);
    }

    #[test]
    fn a_fault_does_not_hold_for_ever_by_accident() {
        let endless = FaultRequest { hold_for_ns: Some(u64::MAX), ..request() };
        assert_eq!(FaultSpec::checked(&endless), Err(FaultError::HoldOutOfRange(u64::MAX)));
        let never = FaultRequest { hold_for_ns: Some(0), ..request() };
        assert_eq!(FaultSpec::checked(&never), Err(FaultError::HoldOutOfRange(0)));
    }
}
