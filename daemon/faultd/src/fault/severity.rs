//! How severe a fault is, in the terms in which an operator limits it.

use std::time::Duration;

use faultd_kernel::datapath::{Distribution, Loss as Pattern};

use super::{FaultSpec, ProcessFault};

impl FaultSpec {
    /// The longest delay of a packet as far as that can be named: the base and one spread of its jitter, or the
    /// longest of a table. Tails of a distribution may be beyond.
    #[must_use]
    pub fn longest_delay(&self) -> Duration {
        let Some(delay) = &self.effects.delay else { return Duration::ZERO };
        let Some(jitter) = &delay.jitter else { return delay.base };
        let spreads = match &jitter.distribution {
            Distribution::Measured(table) => table.iter().copied().fold(0.0, f64::max),
            _ => 1.0,
        };
        let spread = Duration::try_from_secs_f64(jitter.spread.as_secs_f64() * spreads);
        delay.base.saturating_add(spread.unwrap_or(Duration::MAX))
    }

    /// The share of packets that are lost in the long run, 0 to 1; of those that are spoilt or come twice, where that
    /// is more.
    #[must_use]
    pub fn share_of_packets(&self) -> f64 {
        let effects = &self.effects;
        let shares = [
            effects.loss.as_ref().map(lost_share),
            effects.duplicate,
            effects.corrupt.as_ref().map(|corrupt| corrupt.ratio),
        ];
        shares.into_iter().flatten().fold(0.0, f64::max)
    }

    /// The share of time in which its processes stand still, 0 to 1; one pause is all of the time.
    #[must_use]
    pub fn share_of_pauses(&self) -> f64 {
        match self.processes {
            Some(ProcessFault::Pause(pause)) => pause.share(),
            Some(ProcessFault::Cpu(_)) | None => 0.0,
        }
    }

    /// The processors that are left to its processes, where that is limited.
    #[must_use]
    pub fn processors_left(&self) -> Option<f64> {
        match self.processes {
            Some(ProcessFault::Cpu(share)) => Some(share.processors()),
            Some(ProcessFault::Pause(_)) | None => None,
        }
    }
}

fn lost_share(pattern: &Pattern) -> f64 {
    match pattern {
        Pattern::Random(ratio) => *ratio,
        Pattern::EveryNth(number) => 1.0 / precise(*number),
        Pattern::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad } => {
            let changes = good_to_bad + bad_to_good;
            // A channel that never changes stays good, as it begins.
            let bad = if changes > 0.0 { good_to_bad / changes } else { 0.0 };
            bad * lost_when_bad + (1.0 - bad) * lost_when_good
        }
        // A list is as severe as its own length.
        Pattern::Trace(trace) if trace.lost.is_empty() => 0.0,
        Pattern::Trace(trace) => {
            let lost = trace.lost.iter().filter(|lost| **lost).count();
            precise(lost as u64) / precise(trace.lost.len() as u64)
        }
    }
}

fn precise(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use faultd_api::{
        fault::FaultRequest,
        shape::{FaultShape, GilbertElliott},
    };

    use super::*;

    fn spec(change: impl FnOnce(&mut FaultRequest)) -> FaultSpec {
        let mut request = FaultRequest { target: "a".into(), ..FaultRequest::default() };
        change(&mut request);
        FaultSpec::checked(&request).unwrap()
    }

    fn of_shape(shape: FaultShape) -> FaultSpec {
        spec(|request| request.shape = shape)
    }

    #[test]
    fn a_delay_is_as_long_as_its_base_and_a_spread() {
        let delayed = spec(|request| {
            request.delay_ns = Some(50_000_000);
            request.shape.jitter_ns = Some(5_000_000);
        });
        assert_eq!(delayed.longest_delay(), Duration::from_millis(55));
        let table = of_shape(FaultShape { delay_table_ms: vec![1.0, 2.0, 300.0], ..FaultShape::default() });
        let longest = table.longest_delay().as_secs_f64();
        assert!((0.299..0.301).contains(&longest), "{longest}");
        assert_eq!(spec(|request| request.loss_ratio = Some(0.1)).longest_delay(), Duration::ZERO);
    }

    #[test]
    fn every_kind_of_loss_has_a_share() {
        assert_eq!(spec(|request| request.loss_ratio = Some(0.1)).share_of_packets(), 0.1);
        let every = of_shape(FaultShape { loss_every: Some(4), ..FaultShape::default() });
        assert_eq!(every.share_of_packets(), 0.25);
        let list = FaultShape { loss_packets: Some("1-2".into()), ..FaultShape::default() };
        assert_eq!(of_shape(list.clone()).share_of_packets(), 1.0);
        let repeated = FaultShape { loss_packets_repeat_after: Some(8), ..list };
        assert_eq!(of_shape(repeated).share_of_packets(), 0.25);
        let model =
            GilbertElliott { good_to_bad: 0.1, bad_to_good: 0.3, lost_when_bad: 1.0, lost_when_good: 0.0 };
        let bursts = FaultShape { loss_gilbert_elliott: Some(model), ..FaultShape::default() };
        assert_eq!(of_shape(bursts).share_of_packets(), 0.25);
        let twice = FaultShape { duplicate_ratio: Some(0.5), ..FaultShape::default() };
        assert_eq!(of_shape(twice).share_of_packets(), 0.5);
    }

    #[test]
    fn pauses_and_processors_are_shares_too() {
        let pauses = FaultShape {
            pause_ns: Some(200_000_000),
            pause_every_ns: Some(1_000_000_000),
            ..FaultShape::default()
        };
        assert_eq!(of_shape(pauses.clone()).share_of_pauses(), 0.2);
        assert_eq!(of_shape(FaultShape { pause_every_ns: None, ..pauses }).share_of_pauses(), 1.0);
        let slow = of_shape(FaultShape { cpus: Some(0.2), ..FaultShape::default() });
        assert_eq!((slow.processors_left(), slow.share_of_pauses()), (Some(0.2), 0.0));
    }
}
