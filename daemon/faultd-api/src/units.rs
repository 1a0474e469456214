//! Text to numbers with units, checked at the edge: `50ms`, `100us`, `2m`, `20%`.

use std::time::Duration;

/// The longest delay that a rule may add.
pub const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// The longest run, window or lease.
pub const LONGEST_DURATION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a text is no delay, duration or share.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum UnitError {
    /// Not a number followed by a unit of time.
    #[error("'{0}' is no duration: write a number and a unit, as in 100us, 50ms, 1.5s or 2m")]
    NotADuration(String),
    /// A duration of zero, or below a nanosecond.
    #[error("'{0}' is too short: it must be more than zero")]
    TooShort(String),
    /// A duration above the bound.
    #[error("'{text}' is too long: at most {longest}")]
    TooLong {
        /// What was typed.
        text: String,
        /// The bound, as people write it.
        longest: String,
    },
    /// Not a percentage.
    #[error("'{0}' is no share: write a percentage, as in 20% or 0.5%")]
    NotAShare(String),
    /// A percentage outside of 0 < x <= 100.
    #[error("'{0}' is out of range: a share is more than 0% and at most 100%")]
    ShareOutOfRange(String),
}

/// Parses a delay: more than zero, at most [`LONGEST_DELAY`].
///
/// # Errors
/// When the text has no unit, is negative, zero or too long.
pub fn parse_delay(text: &str) -> Result<Duration, UnitError> {
    parse_bounded(text, LONGEST_DELAY)
}

/// Parses a duration: more than zero, at most [`LONGEST_DURATION`].
///
/// # Errors
/// When the text has no unit, is negative, zero or too long.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse_bounded(text, LONGEST_DURATION)
}

/// Parses a percentage into a ratio, `20%` into 0.2: more than 0, at most 1.
///
/// # Errors
/// When the text has no percent sign, is no number or is out of range.
pub fn parse_share(text: &str) -> Result<f64, UnitError> {
    let number = text.strip_suffix('%').ok_or_else(|| UnitError::NotAShare(text.to_owned()))?;
    let percent: f64 = number.trim().parse().map_err(|_| UnitError::NotAShare(text.to_owned()))?;
    if percent > 0.0 && percent <= 100.0 {
        Ok(percent / 100.0)
    } else {
        Err(UnitError::ShareOutOfRange(text.to_owned()))
    }
}

/// Nanoseconds of a duration; durations here are bounded far below the range of `u64`.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration as people write it: `100ms`, `1.5s`, `2m`.
#[must_use]
pub fn duration_text(nanoseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    for (size, unit) in UNITS {
        // A minute is only written as such when it is whole: 90 s says more than 1.5 m.
        if nanoseconds >= size && (unit != "m" || nanoseconds.is_multiple_of(size)) {
            let whole = nanoseconds / size;
            let thousandths = nanoseconds % size * 1000 / size;
            let text = format!("{whole}.{thousandths:03}");
            return format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    format!("{nanoseconds}ns")
}

/// A ratio as a percentage without needless zeros: 0.2 as `20%`.
#[must_use]
pub fn share_text(ratio: f64) -> String {
    let text = format!("{:.4}", ratio * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn parse_bounded(text: &str, longest: Duration) -> Result<Duration, UnitError> {
    let not_a_duration = || UnitError::NotADuration(text.to_owned());
    let split = text.find(|c: char| c.is_alphabetic()).ok_or_else(not_a_duration)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| not_a_duration())?;
    let seconds_of_unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(not_a_duration()),
    };
    let seconds = number * seconds_of_unit;
    if seconds < 1e-9 {
        return Err(UnitError::TooShort(text.to_owned()));
    }
    if !seconds.is_finite() || seconds > longest.as_secs_f64() {
        let longest = duration_text(nanoseconds(longest));
        return Err(UnitError::TooLong { text: text.to_owned(), longest });
    }
    // Through whole nanoseconds, so that 0.1 s is 100 ms and not 100.000000005 ms.
    Ok(Duration::from_nanos(Duration::from_secs_f64(seconds).as_nanos().try_into().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read_with_their_unit() {
        assert_eq!(parse_delay("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_delay("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(parse_delay("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_delay("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn absurd_delays_are_refused_with_the_reason() {
        assert_eq!(parse_delay("-1ms"), Err(UnitError::TooShort("-1ms".into())));
        assert_eq!(parse_delay("0s"), Err(UnitError::TooShort("0s".into())));
        assert_eq!(parse_delay("50"), Err(UnitError::NotADuration("50".into())));
        assert_eq!(parse_delay("fast"), Err(UnitError::NotADuration("fast".into())));
        assert_eq!(
            parse_delay("9999h").map_err(|e| e.to_string()),
            Err("'9999h' is too long: at most 10m".into())
        );
        assert_eq!(parse_delay("NaNs"), Err(UnitError::NotADuration("NaNs".into())));
    }

    #[test]
    fn shares_are_percentages_above_zero_and_up_to_a_hundred() {
        assert_eq!(parse_share("20%"), Ok(0.2));
        assert_eq!(parse_share("100%"), Ok(1.0));
        assert_eq!(parse_share("101%"), Err(UnitError::ShareOutOfRange("101%".into())));
        assert_eq!(parse_share("-1%"), Err(UnitError::ShareOutOfRange("-1%".into())));
        assert_eq!(parse_share("0%"), Err(UnitError::ShareOutOfRange("0%".into())));
        assert_eq!(parse_share("0.2"), Err(UnitError::NotAShare("0.2".into())));
        assert_eq!(parse_share("NaN%"), Err(UnitError::ShareOutOfRange("NaN%".into())));
    }

    #[test]
    fn durations_are_written_the_way_they_are_read() {
        for text in ["100us", "50ms", "1.5s", "2m", "90s", "10m"] {
            assert_eq!(duration_text(nanoseconds(parse_duration(text).unwrap())), text);
        }
        assert_eq!(share_text(0.2), "20%");
        assert_eq!(share_text(0.005), "0.5%");
    }
}
