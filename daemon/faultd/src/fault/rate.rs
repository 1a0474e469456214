//! A bottleneck: so many bytes a second, with a burst and a queue.

use faultd_api::{quantities::rate_text, shape::FaultShape};
use faultd_kernel::datapath::Rate;

use super::FaultError;

/// The least rate: below this a full packet takes a quarter of a minute.
const LEAST_RATE: u64 = 100;
/// A full packet of Ethernet.
const FULL_PACKET: u64 = 1514;
const LEAST_QUEUE: u64 = 64 << 10;
/// Without another wish, the queue holds what passes in a twentieth of a second.
const QUEUES_IN_SECOND: u64 = 20;

/// The bottleneck that is asked for.
///
/// # Errors
/// When the rate is too low, or burst and queue are given without one.
pub fn checked(shape: &FaultShape) -> Result<Option<Rate>, FaultError> {
    let Some(bytes_per_second) = shape.rate_bytes_per_second else {
        let alone = shape.burst_bytes.is_some() || shape.queue_bytes.is_some();
        return if alone { Err(FaultError::BurstWithoutRate) } else { Ok(None) };
    };
    if bytes_per_second < LEAST_RATE {
        return Err(FaultError::RateOutOfRange(bytes_per_second));
    }
    let queue = (bytes_per_second / QUEUES_IN_SECOND).max(LEAST_QUEUE);
    Ok(Some(Rate {
        bytes_per_second,
        burst_bytes: shape.burst_bytes.unwrap_or(FULL_PACKET),
        queue_bytes: shape.queue_bytes.unwrap_or(queue),
    }))
}

/// For people: `rate 10mbit`.
#[must_use]
pub fn text(rate: Rate) -> String {
    format!("rate {}", rate_text(rate.bytes_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_and_queue_have_defaults_and_need_a_rate() {
        let shape = FaultShape { rate_bytes_per_second: Some(10_000_000), ..FaultShape::default() };
        let rate = checked(&shape).unwrap().unwrap();
        assert_eq!((rate.burst_bytes, rate.queue_bytes), (1514, 500_000));
        assert_eq!(text(rate), "rate 80mbit");
        let alone = FaultShape { queue_bytes: Some(1), ..FaultShape::default() };
        assert_eq!(checked(&alone), Err(FaultError::BurstWithoutRate));
        let crawl = FaultShape { rate_bytes_per_second: Some(1), ..FaultShape::default() };
        assert_eq!(checked(&crawl), Err(FaultError::RateOutOfRange(1)));
    }
}
