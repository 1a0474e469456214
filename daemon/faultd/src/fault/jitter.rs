//! Jitter: delays that vary from packet to packet, by a named distribution or a measured table.

use std::{sync::Arc, time::Duration};

use faultd_api::{
    shape::{Distribution as Named, FaultShape},
    units::{LONGEST_DELAY, duration_text, nanoseconds},
};
use faultd_kernel::datapath::{Delay as HeldFor, Distribution, Jitter};

use super::{Delay, FaultError};

/// The most values of a measured table.
const MOST_VALUES: usize = 100_000;

/// The delay with its jitter, if a delay or a table is asked for.
///
/// # Errors
/// When jitter has nothing to vary, or a parameter is out of its range.
pub fn checked(delay: Option<Delay>, shape: &FaultShape) -> Result<Option<HeldFor>, FaultError> {
    if !shape.delay_table_ms.is_empty() {
        return measured(delay, shape).map(Some);
    }
    let Some(delay) = delay else {
        let needs_one = shape.jitter_ns.is_some() || shape.distribution.is_some();
        return if needs_one { Err(FaultError::JitterWithoutDelay) } else { Ok(None) };
    };
    let base = delay.duration();
    let Some(spread) = shape.jitter_ns.map(checked_spread).transpose()? else {
        let alone = shape.distribution.is_some() || shape.jitter_correlation.is_some() || shape.may_reorder;
        let held_for = HeldFor { base, jitter: None };
        return if alone { Err(FaultError::DistributionWithoutJitter) } else { Ok(Some(held_for)) };
    };
    let distribution = named(shape.distribution.unwrap_or(Named::Normal));
    let jitter = Some(Jitter { spread, distribution, correlation: correlation(shape)? });
    Ok(Some(HeldFor { base, jitter }))
}

fn checked_spread(jitter_ns: u64) -> Result<Duration, FaultError> {
    let spread = Duration::from_nanos(jitter_ns);
    if spread.is_zero() || spread > LONGEST_DELAY {
        Err(FaultError::JitterOutOfRange(jitter_ns))
    } else {
        Ok(spread)
    }
}

fn correlation(shape: &FaultShape) -> Result<f64, FaultError> {
    let correlation = shape.jitter_correlation.unwrap_or(0.0);
    if (0.0..1.0).contains(&correlation) {
        Ok(correlation)
    } else {
        Err(FaultError::CorrelationOutOfRange(correlation))
    }
}

fn named(distribution: Named) -> Distribution {
    match distribution {
        Named::Uniform => Distribution::Uniform,
        Named::Normal => Distribution::Normal,
        Named::Pareto => Distribution::Pareto,
        Named::Paretonormal => Distribution::ParetoNormal,
    }
}

/// The table gives the shape; a delay and a jitter that are given move and stretch it.
fn measured(delay: Option<Delay>, shape: &FaultShape) -> Result<HeldFor, FaultError> {
    let values = &shape.delay_table_ms;
    let sound = values.iter().all(|value| value.is_finite() && *value >= 0.0 && *value <= 600_000.0);
    if values.len() < 2 || values.len() > MOST_VALUES || !sound {
        return Err(FaultError::BadTable);
    }
    #[expect(clippy::cast_precision_loss, reason = "the number of values")]
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    if deviation == 0.0 {
        return Err(FaultError::BadTable);
    }
    let milliseconds = |value: f64| Duration::from_secs_f64(value / 1e3);
    let base = delay.map_or_else(|| milliseconds(mean), Delay::duration);
    let spread = shape.jitter_ns.map_or(Ok(milliseconds(deviation)), checked_spread)?;
    let mut scaled: Vec<f64> = values.iter().map(|value| (value - mean) / deviation).collect();
    scaled.sort_by(f64::total_cmp);
    let distribution = Distribution::Measured(Arc::from(scaled));
    Ok(HeldFor { base, jitter: Some(Jitter { spread, distribution, correlation: correlation(shape)? }) })
}

/// For people: `jitter 5ms normal`.
#[must_use]
pub fn text(held_for: &HeldFor) -> Option<String> {
    let jitter = held_for.jitter.as_ref()?;
    let name = match jitter.distribution {
        Distribution::Uniform => "uniform",
        Distribution::Normal => "normal",
        Distribution::Pareto => "pareto",
        Distribution::ParetoNormal => "paretonormal",
        Distribution::Measured(_) => "measured",
    };
    let text = format!("jitter {} {name}", duration_text(nanoseconds(jitter.spread)));
    Some(if jitter.correlation > 0.0 { format!("{text}, correlation {}", jitter.correlation) } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay() -> Option<Delay> {
        Some(Delay::checked(50_000_000).unwrap())
    }

    #[test]
    fn jitter_is_normal_unless_something_else_is_said() {
        let shape = FaultShape { jitter_ns: Some(5_000_000), ..FaultShape::default() };
        let held_for = checked(delay(), &shape).unwrap().unwrap();
        assert_eq!(text(&held_for).as_deref(), Some("jitter 5ms normal"));
        assert_eq!(checked(None, &shape), Err(FaultError::JitterWithoutDelay));
        let alone = FaultShape { distribution: Some(Named::Pareto), ..FaultShape::default() };
        assert_eq!(checked(delay(), &alone), Err(FaultError::DistributionWithoutJitter));
        let closed = FaultShape { jitter_correlation: Some(1.0), ..shape };
        assert_eq!(checked(delay(), &closed), Err(FaultError::CorrelationOutOfRange(1.0)));
    }

    #[test]
    fn a_table_brings_its_own_mean_and_spread() {
        let shape = FaultShape { delay_table_ms: vec![30.0, 10.0], ..FaultShape::default() };
        let held_for = checked(None, &shape).unwrap().unwrap();
        let jitter = held_for.jitter.unwrap();
        assert_eq!((held_for.base, jitter.spread), (Duration::from_millis(20), Duration::from_millis(10)));
        assert_eq!(jitter.distribution, Distribution::Measured(Arc::from([-1.0, 1.0])));
        for bad in [vec![1.0], vec![1.0, f64::NAN], vec![-1.0, 1.0], vec![2.0, 2.0]] {
            let shape = FaultShape { delay_table_ms: bad, ..FaultShape::default() };
            assert_eq!(checked(None, &shape), Err(FaultError::BadTable));
        }
    }
}
