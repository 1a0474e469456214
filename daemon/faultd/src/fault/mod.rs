//! Faults as checked values: one kind, one file. Pure: no I/O, no clock, no kernel.
//!
//! ```text
//! FaultRequest (anybody's) ──checked──▶ FaultSpec ──choose──▶ BackendChoice ──▶ engine
//! ```

pub mod backend;
mod delay;
mod loss;

use std::time::Duration;

use faultd_api::{
    fault::{Backend, Direction, FaultRequest},
    units::{LONGEST_DURATION, duration_text, nanoseconds, share_text},
};

pub use self::{delay::Delay, loss::Loss};

/// Why a request is no fault.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FaultError {
    /// Neither delay nor loss.
    #[error("no fault was given: ask for a delay (--delay 50ms), a loss (--loss 5%) or both")]
    Nothing,
    /// No target.
    #[error("no target was given")]
    NoTarget,
    /// Zero or too long.
    #[error("a delay of {0} ns is out of range: more than 0, at most {max}", max = duration_text(nanoseconds(faultd_api::units::LONGEST_DELAY)))]
    DelayOutOfRange(u64),
    /// Not in 0 < ratio <= 1.
    #[error("a loss of {text} is out of range: more than 0%, at most 100%", text = share_text(*.0))]
    LossOutOfRange(f64),
    /// Zero or too long.
    #[error("a fault for {0} ns is out of range: more than 0, at most 7 days")]
    HoldOutOfRange(u64),
}

/// A checked fault on one target, whatever that turns out to be.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultSpec {
    /// The target's name as it was given.
    pub target: String,
    /// Delay to add.
    pub delay: Option<Delay>,
    /// Share to drop.
    pub loss: Option<Loss>,
    /// Packets concerned.
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
        let spec = Self {
            target: request.target.clone(),
            delay: request.delay_ns.map(Delay::checked).transpose()?,
            loss: request.loss_ratio.map(Loss::checked).transpose()?,
            direction: request.direction,
            backend: request.backend,
            hold_for: request.hold_for_ns.map(checked_hold).transpose()?,
            seed: request.seed,
        };
        if spec.delay.is_none() && spec.loss.is_none() { Err(FaultError::Nothing) } else { Ok(spec) }
    }

    /// `delay`, `loss` or `delay+loss`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (self.delay, self.loss) {
            (Some(_), Some(_)) => "delay+loss",
            (Some(_), None) => "delay",
            (None, _) => "loss",
        }
    }

    /// For people: `delay 100ms, loss 5%`.
    #[must_use]
    pub fn text(&self) -> String {
        let parts: Vec<String> =
            [self.delay.map(Delay::text), self.loss.map(Loss::text)].into_iter().flatten().collect();
        parts.join(", ")
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
        assert_eq!((spec.kind(), spec.text().as_str()), ("delay+loss", "delay 50ms, loss 5%"));
    }

    #[test]
    fn a_fault_does_not_hold_for_ever_by_accident() {
        let endless = FaultRequest { hold_for_ns: Some(u64::MAX), ..request() };
        assert_eq!(FaultSpec::checked(&endless), Err(FaultError::HoldOutOfRange(u64::MAX)));
        let never = FaultRequest { hold_for_ns: Some(0), ..request() };
        assert_eq!(FaultSpec::checked(&never), Err(FaultError::HoldOutOfRange(0)));
    }
}
