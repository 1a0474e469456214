//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use faultd_api::{fault::Direction, quantities::parse_packets, shape::Distribution};

use crate::{
    connection::BusAddress,
    fault_files::{delays_of, trace_of},
    flag_values::{
        parse_channel, parse_correlation, parse_count, parse_cpus, parse_duration_or_zero, parse_priority,
        parse_seed, parse_word,
    },
};

/// A file of measured delays.
pub fn delay_table(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    delays_of(text).is_ok_and(|delays| {
        assert!(delays.iter().all(|delay| delay.is_finite() && *delay >= 0.0), "{delays:?}");
        !delays.is_empty()
    })
}

/// A file of lost packets: the list that is made of it is one that the daemon reads.
pub fn loss_trace(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    trace_of(text).is_ok_and(|trace| {
        let last =
            parse_packets(&trace.packets).ok().and_then(|ranges| ranges.last().map(|range| *range.end()));
        assert!(last.is_some_and(|last| last <= trace.length), "{trace:?}");
        true
    })
}

/// The value of a flag.
pub fn flag_value(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let channel = parse_channel(text).map(|channel| {
        let ratios =
            [channel.good_to_bad, channel.bad_to_good, channel.lost_when_bad, channel.lost_when_good];
        assert!(ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio)), "{channel:?}");
    });
    let correlation = parse_correlation(text).map(|number| assert!((0.0..1.0).contains(&number)));
    let cpus = parse_cpus(text).map(|cpus| assert!(cpus.is_finite() && cpus > 0.0, "{cpus}"));
    let numbers = parse_count(text).is_ok() || parse_seed(text).is_ok() || parse_priority(text).is_ok();
    let words = parse_word::<Direction>(text).is_ok() || parse_word::<Distribution>(text).is_ok();
    let others = parse_duration_or_zero(text).is_ok() || text.parse::<BusAddress>().is_ok();
    channel.is_ok() || correlation.is_ok() || cpus.is_ok() || numbers || words || others
}

#[cfg(test)]
mod tests {
    use super::{delay_table, flag_value, loss_trace};
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("delay_table", delay_table);
        exercise("loss_trace", loss_trace);
        exercise("flag_value", flag_value);
    }
}
