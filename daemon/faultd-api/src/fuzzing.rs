//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use serde::{Serialize, de::DeserializeOwned};
use zbus::wire::{
    LE,
    serialized::{Context, Data},
};

use crate::{
    dictionary::{self, Dictionary},
    doctor::DoctorReport,
    fault::{FaultRequest, FaultStatus},
    lab::{LabRequest, LabStatus},
    prometheus_address::PrometheusAddress,
    quantities::{parse_packets, parse_ports, parse_rate, parse_size, rate_text},
    run::{RunProgress, RunRequest, RunResult},
    stop_condition::StopCondition,
    target::{SelectRequest, SelectedTargets, TargetStatus},
    units::{duration_text, nanoseconds, parse_delay, parse_duration, parse_share, share_text},
};

/// A dictionary (`a{sv}`) as it comes from the bus, into everything that travels as one.
pub fn bus_dictionary(bytes: &[u8]) -> bool {
    let data = Data::new(bytes, Context::new(LE, 0));
    let Ok((dictionary, _length)) = data.deserialize::<Dictionary>() else { return false };
    let decoded = [
        travels::<FaultRequest>(&dictionary),
        travels::<FaultStatus>(&dictionary),
        travels::<LabRequest>(&dictionary),
        travels::<LabStatus>(&dictionary),
        travels::<RunRequest>(&dictionary),
        travels::<RunProgress>(&dictionary),
        travels::<RunResult>(&dictionary),
        travels::<TargetStatus>(&dictionary),
        travels::<SelectRequest>(&dictionary),
        travels::<SelectedTargets>(&dictionary),
        travels::<DoctorReport>(&dictionary),
    ];
    decoded.contains(&true)
}

/// Decodes a dictionary; what is understood must travel again and come back the same.
fn travels<T: Serialize + DeserializeOwned>(dictionary: &Dictionary) -> bool {
    let Ok(copy) = dictionary
        .iter()
        .map(|(key, value)| Ok((key.clone(), value.try_clone()?)))
        .collect::<zbus::Result<_>>()
    else {
        return false;
    };
    let Ok(value) = dictionary::decode::<T>(copy) else { return false };
    let again = dictionary::encode(&value).and_then(dictionary::decode::<T>);
    let [before, after] =
        [Ok(value), again].map(|value| value.ok().and_then(|value| serde_json::to_string(&value).ok()));
    assert_eq!(before, after);
    true
}

/// A text that stands for a quantity: whatever is read is within its range, and is read back as it is written.
pub fn quantity(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let rate = parse_rate(text).map(|rate| assert_eq!(parse_rate(&rate_text(rate)), Ok(rate)));
    let share =
        parse_share(text).map(|share| assert!(share > 0.0 && share <= 1.0 && !share_text(share).is_empty()));
    let duration = parse_duration(text).map(|duration| {
        let written = duration_text(nanoseconds(duration));
        assert!(parse_duration(&written).is_ok_and(|read| read <= duration), "{written}");
    });
    let _ = (parse_delay(text), parse_size(text), parse_ports(text));
    let packets = parse_packets(text).map(|ranges| assert!(!ranges.is_empty()));
    rate.is_ok() || share.is_ok() || duration.is_ok() || packets.is_ok()
}

/// A stop condition, or the address of a Prometheus: what is read is written, and read again the same, in one line.
pub fn stop_condition(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(address) = text.parse::<PrometheusAddress>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
        return true;
    }
    match text.parse::<StopCondition>() {
        Ok(condition) => {
            let written = condition.to_string();
            assert!(
                !written.contains(char::is_control) && written.starts_with(condition.word()),
                "{written}"
            );
            assert!(!condition.held_for().is_zero() && condition.held_for().subsec_nanos() == 0, "{written}");
            assert_eq!(written.parse().as_ref(), Ok(&condition), "{written}");
            true
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bus_dictionary, quantity, stop_condition};
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("bus_dictionary", bus_dictionary);
        exercise("quantity", quantity);
        exercise("stop_condition", stop_condition);
    }
}
