//! Readers of flag values that are not plain delays, durations or shares.

use std::time::Duration;

use faultd_api::units::{UnitError, parse_duration};
use serde::de::{
    DeserializeOwned, IntoDeserializer,
    value::{Error as WordError, StrDeserializer},
};

/// A text that is no count.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no count: write a whole number of at least 1")]
pub(crate) struct NotACount(String);

/// A text that is no seed.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no seed: write a whole number of at least 0")]
pub(crate) struct NotASeed(String);

/// A duration that may be zero: a time on the run's clock, or a warm-up that is left out.
pub(crate) fn parse_duration_or_zero(text: &str) -> Result<Duration, UnitError> {
    match parse_duration(text) {
        Err(UnitError::TooShort(_)) if !text.starts_with('-') => Ok(Duration::ZERO),
        other => other,
    }
}

/// A whole number of at least 1.
pub(crate) fn parse_count(text: &str) -> Result<u64, NotACount> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| NotACount(text.to_owned()))
}

/// A whole number of at least 0.
pub(crate) fn parse_seed(text: &str) -> Result<u64, NotASeed> {
    text.parse().map_err(|_| NotASeed(text.to_owned()))
}

/// A word of the bus contract, such as a direction; its list of words is the only one.
pub(crate) fn parse_word<T: DeserializeOwned>(text: &str) -> Result<T, WordError> {
    let word: StrDeserializer<'_, WordError> = text.into_deserializer();
    T::deserialize(word)
}

#[cfg(test)]
mod tests {
    use faultd_api::fault::{Backend, Direction};

    use super::*;

    #[test]
    fn the_start_of_a_run_is_a_time_on_its_clock() {
        assert_eq!(parse_duration_or_zero("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration_or_zero("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration_or_zero("-1s"), Err(UnitError::TooShort("-1s".into())));
        assert_eq!(parse_duration_or_zero("0"), Err(UnitError::NotADuration("0".into())));
    }

    #[test]
    fn counts_begin_at_one_and_seeds_at_zero() {
        assert_eq!(parse_count("10"), Ok(10));
        assert_eq!(parse_count("0"), Err(NotACount("0".into())));
        assert_eq!(parse_count("-1"), Err(NotACount("-1".into())));
        assert_eq!(parse_seed("0"), Ok(0));
        assert_eq!(parse_seed("-1"), Err(NotASeed("-1".into())));
    }

    #[test]
    fn words_are_those_of_the_contract() {
        assert_eq!(parse_word::<Direction>("both").unwrap(), Direction::Both);
        assert_eq!(parse_word::<Backend>("relay").unwrap(), Backend::Relay);
        assert!(parse_word::<Direction>("up").unwrap_err().to_string().contains("`ingress`"));
    }
}
