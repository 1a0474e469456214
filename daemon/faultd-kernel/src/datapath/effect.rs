//! What a rule does to packets: parameters as numbers, checked before anything reaches the kernel.

use std::{sync::Arc, time::Duration};

use super::{DatapathError, rule::transfer_time};

/// Longest delay, jitter spread and wait in a queue.
const LONGEST_TIME: Duration = Duration::from_secs(3600);

/// Most packets that a loss trace may describe.
pub const LONGEST_TRACE: usize = 1 << 22;

/// Everything that happens to a packet of a rule, all at once. Without anything the rule only counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Which packets are lost.
    pub loss: Option<Loss>,
    /// How long those that are not lost wait.
    pub delay: Option<Delay>,
    /// Whether jitter may make packets overtake each other.
    pub may_reorder: bool,
    /// Which of those that would wait leave at once instead.
    pub reorder: Option<Reorder>,
    /// Through which bottleneck they have to go.
    pub rate: Option<Rate>,
    /// The ratio of packets that arrive twice, from 0 to 1.
    pub duplicate: Option<f64>,
    /// Which packets are spoilt.
    pub corrupt: Option<Corrupt>,
}

/// Which packets are lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Each with the same probability, from 0 to 1; 1 is a partition.
    Random(f64),
    /// In bursts: a channel that is now good, now bad. All from 0 to 1.
    GilbertElliott {
        /// Probability that a good channel turns bad, per packet.
        good_to_bad: f64,
        /// Probability that a bad channel turns good, per packet.
        bad_to_good: f64,
        /// Loss while the channel is good (1 - k).
        lost_when_good: f64,
        /// Loss while the channel is bad (1 - h).
        lost_when_bad: f64,
    },
    /// Every packet whose number, counted from 1, is a multiple of this.
    EveryNth(u64),
    /// Exactly these.
    Trace(LossTrace),
}

/// For each packet since the rule began, whether it is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossTrace {
    /// True is lost.
    pub lost: Arc<[bool]>,
    /// Begin again after the last, instead of losing nothing from there on.
    pub repeats: bool,
}

/// How long packets wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay {
    /// Of every packet; the mean, where there is jitter.
    pub base: Duration,
    /// How it varies from packet to packet.
    pub jitter: Option<Jitter>,
}

/// How a delay varies from packet to packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Jitter {
    /// Half of the width for [`Distribution::Uniform`], the standard deviation for all others.
    pub spread: Duration,
    /// Its shape.
    pub distribution: Distribution,
    /// Correlation between the delays of successive packets, from 0 to below 1.
    pub correlation: f64,
}

/// The shape of jitter. Delays that would be negative are none.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Every delay within the spread is as likely.
    Uniform,
    /// The bell.
    Normal,
    /// Pareto of shape 3, of mean 0 and standard deviation 1: mostly below the mean, now and then far above.
    Pareto,
    /// A quarter of normal and three quarters of Pareto.
    ParetoNormal,
    /// As measured: values in order, in units of the spread, 0 is the mean. At least two.
    Measured(Arc<[f64]>),
}

/// Which packets leave ahead of those that wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// Their ratio, from 0 to 1.
    pub ratio: f64,
    /// At least this many packets less one wait before one may leave at once; 1 for any.
    pub gap: u32,
}

/// A bottleneck with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What passes, link-layer headers included.
    pub bytes_per_second: u64,
    /// What passes at once after a pause.
    pub burst_bytes: u64,
    /// What can wait; more is dropped.
    pub queue_bytes: u64,
}

/// Which packets are spoilt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Corrupt {
    /// Their ratio, from 0 to 1. A packet without payload cannot be spoilt silently.
    pub ratio: f64,
    /// Whether the receiver can notice.
    pub kind: CorruptKind,
}

/// Whether a receiver can notice that a packet was spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorruptKind {
    /// The checksum is wrong: the receiver's kernel drops the packet.
    Detected,
    /// The checksum fits the spoilt payload: the receiving program gets it.
    Silent,
}

impl Effects {
    /// Whether packets have to be held for some time.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.delay.is_some() || self.rate.is_some()
    }

    /// Whether only a relay can do it, even if nothing waits.
    #[must_use]
    pub fn needs_relay(&self) -> bool {
        matches!(self.corrupt, Some(Corrupt { kind: CorruptKind::Detected, .. }))
    }

    /// Whether each wire packet leaves at a time of its own.
    pub(super) fn gives_each_packet_its_own_departure(&self) -> bool {
        let jitter = self.delay.as_ref().is_some_and(|delay| delay.jitter.is_some());
        jitter || self.rate.is_some() || self.reorder.is_some()
    }

    /// Whether all parameters are such that the programs can work with them.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), DatapathError> {
        self.loss.as_ref().map_or(Ok(()), Loss::check)?;
        self.delay.as_ref().map_or(Ok(()), Delay::check)?;
        self.rate.as_ref().map_or(Ok(()), Rate::check)?;
        let ratios = [
            self.duplicate,
            self.reorder.map(|reorder| reorder.ratio),
            self.corrupt.map(|corrupt| corrupt.ratio),
        ];
        ratios.into_iter().flatten().try_for_each(check_ratio)?;
        if self.reorder.is_some() && self.delay.is_none() {
            return Err(DatapathError::ReorderWithoutDelay);
        }
        Ok(())
    }
}

impl Loss {
    fn check(&self) -> Result<(), DatapathError> {
        match self {
            Self::Random(ratio) => check_ratio(*ratio),
            Self::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad } => {
                [good_to_bad, bad_to_good, lost_when_good, lost_when_bad]
                    .into_iter()
                    .copied()
                    .try_for_each(check_ratio)
            }
            Self::EveryNth(0) => Err(DatapathError::LossOfEveryZeroth),
            Self::EveryNth(_) => Ok(()),
            Self::Trace(trace) if trace.lost.is_empty() || trace.lost.len() > LONGEST_TRACE => {
                Err(DatapathError::TraceLength(trace.lost.len()))
            }
            Self::Trace(_) => Ok(()),
        }
    }
}

impl Delay {
    fn check(&self) -> Result<(), DatapathError> {
        check_time(self.base)?;
        let Some(jitter) = &self.jitter else { return Ok(()) };
        check_time(jitter.spread)?;
        if !(0.0..1.0).contains(&jitter.correlation) {
            return Err(DatapathError::InvalidCorrelation(jitter.correlation));
        }
        match &jitter.distribution {
            Distribution::Measured(values)
                if values.len() < 2 || !values.iter().all(|value| value.is_finite()) =>
            {
                Err(DatapathError::InvalidDistribution)
            }
            _ => Ok(()),
        }
    }
}

/// Below this the time that a packet takes does not fit into the programs' arithmetic.
const LEAST_RATE: u64 = 8;

impl Rate {
    fn check(&self) -> Result<(), DatapathError> {
        if self.bytes_per_second < LEAST_RATE { Err(DatapathError::InvalidRate) } else { Ok(()) }
    }

    /// How long the queue keeps a packet at most.
    pub(crate) fn longest_wait(&self) -> Duration {
        transfer_time(self.queue_bytes, self.bytes_per_second)
    }
}

fn check_ratio(ratio: f64) -> Result<(), DatapathError> {
    // Written so that NaN fails too.
    if (0.0..=1.0).contains(&ratio) { Ok(()) } else { Err(DatapathError::InvalidRatio(ratio)) }
}

fn check_time(time: Duration) -> Result<(), DatapathError> {
    if time > LONGEST_TIME { Err(DatapathError::TooLong(time)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{Corrupt, CorruptKind, DatapathError, Delay, Distribution, Effects, Jitter, Loss, Reorder};
    use std::{sync::Arc, time::Duration};

    #[test]
    fn ratios_outside_of_zero_to_one_are_refused_wherever_they_are() {
        for ratio in [-0.01, 1.01, f64::NAN, f64::INFINITY] {
            let corrupt = Corrupt { ratio, kind: CorruptKind::Silent };
            let delay = Some(Delay { base: Duration::from_millis(1), jitter: None });
            let reorder = Some(Reorder { ratio, gap: 1 });
            for effects in [
                Effects { loss: Some(Loss::Random(ratio)), ..Effects::default() },
                Effects { duplicate: Some(ratio), ..Effects::default() },
                Effects { corrupt: Some(corrupt), ..Effects::default() },
                Effects { delay, reorder, ..Effects::default() },
            ] {
                assert!(matches!(effects.check(), Err(DatapathError::InvalidRatio(_))), "{effects:?}");
            }
        }
    }

    #[test]
    fn nothing_can_be_reordered_where_nothing_waits() {
        let effects = Effects { reorder: Some(Reorder { ratio: 0.5, gap: 1 }), ..Effects::default() };
        assert!(matches!(effects.check(), Err(DatapathError::ReorderWithoutDelay)));
    }

    #[test]
    fn a_measured_distribution_needs_numbers() {
        for values in [vec![], vec![1.0], vec![0.0, f64::NAN]] {
            let distribution = Distribution::Measured(Arc::from(values));
            let jitter = Some(Jitter { spread: Duration::from_millis(1), distribution, correlation: 0.0 });
            let delay = Delay { base: Duration::from_millis(1), jitter };
            assert!(matches!(delay.check(), Err(DatapathError::InvalidDistribution)));
        }
    }
}
