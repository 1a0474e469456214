//! Files that describe a fault: measured delays, traces of lost packets.

use std::{fs, path::Path};

use faultd_api::{quantities::packets_text, units::parse_duration};

use crate::command_error::CommandError;

/// Which packets a trace loses, and after how many it ends.
#[derive(Debug, PartialEq)]
pub(crate) struct Trace {
    /// As a list of packets.
    pub(crate) packets: String,
    /// How many packets it tells of.
    pub(crate) length: u64,
}

/// Reads delays in milliseconds, one a line; empty lines and what follows a `#` do not count.
///
/// # Errors
/// When the file cannot be read or a line is no delay.
pub(crate) fn read_delays(path: &Path) -> Result<Vec<f64>, CommandError> {
    delays_of(&read(path)?).map_err(|what| CommandError::Usage(format!("{}, {what}", path.display())))
}

/// The delays of a text, or what is wrong with it.
pub(crate) fn delays_of(text: &str) -> Result<Vec<f64>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let numbered = (1..).zip(lines).filter(|(_, line)| !line.is_empty());
    let delay = |(number, line): (u32, &str)| {
        milliseconds(line).ok_or_else(|| format!("line {number}: '{line}' is no delay: write 12.5 or 12.5ms"))
    };
    numbered.map(delay).collect()
}

fn milliseconds(text: &str) -> Option<f64> {
    match text.parse::<f64>() {
        Ok(number) => Some(number).filter(|number| number.is_finite() && *number >= 0.0),
        Err(_) => parse_duration(text).ok().map(|duration| duration.as_secs_f64() * 1e3),
    }
}

/// Reads a trace: 0 is a packet that arrives, 1 one that is lost; white space does not count.
///
/// # Errors
/// When the file cannot be read, holds something else, or loses nothing.
pub(crate) fn read_trace(path: &Path) -> Result<Trace, CommandError> {
    trace_of(&read(path)?).map_err(|what| CommandError::Usage(format!("{}: {what}", path.display())))
}

/// The trace of a text, or what is wrong with it.
pub(crate) fn trace_of(text: &str) -> Result<Trace, String> {
    let marks = text.chars().filter(|mark| !mark.is_whitespace());
    let lost: Vec<bool> = marks
        .map(|mark| match mark {
            '0' => Ok(false),
            '1' => Ok(true),
            other => Err(format!("'{other}' is no mark of a trace: write 0 and 1")),
        })
        .collect::<Result<_, _>>()?;
    if !lost.contains(&true) {
        return Err("this trace loses no packet: mark lost ones with 1".to_owned());
    }
    let length = u64::try_from(lost.len()).unwrap_or(u64::MAX);
    Ok(Trace { packets: packets_text(&lost), length })
}

fn read(path: &Path) -> Result<String, CommandError> {
    fs::read_to_string(path)
        .map_err(|error| CommandError::Usage(format!("{} cannot be read: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file<T>(name: &str, text: &str, work: impl FnOnce(&Path) -> T) -> T {
        let path = std::env::temp_dir().join(format!("faultctl-test-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        let result = work(&path);
        fs::remove_file(path).unwrap();
        result
    }

    #[test]
    fn delays_are_milliseconds_unless_they_have_a_unit() {
        let text = "# measured\n12.5\n\n1.5s # late\n800us\n";
        assert_eq!(with_file("delays", text, read_delays).unwrap(), [12.5, 1500.0, 0.8]);
        let error = with_file("wrong-delays", "1\nlate\n", read_delays).unwrap_err().to_string();
        assert!(error.ends_with("line 2: 'late' is no delay: write 12.5 or 12.5ms"), "{error}");
    }

    #[test]
    fn a_trace_is_noughts_and_ones() {
        let trace = with_file("trace", "0110\n 0001\n", read_trace).unwrap();
        assert_eq!(trace, Trace { packets: "2-3,8".into(), length: 8 });
        for wrong in ["", "0000", "01x"] {
            assert!(with_file("wrong-trace", wrong, read_trace).is_err(), "{wrong}");
        }
    }
}
