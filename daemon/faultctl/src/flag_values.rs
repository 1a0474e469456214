//! Readers of flag values that are not plain delays, durations or shares.

use std::time::Duration;

use faultd_api::{
    shape::GilbertElliott,
    units::{UnitError, parse_duration},
};
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

/// A text that is no correlation.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no correlation: write a number from 0 to below 1, as in 0.25")]
pub(crate) struct NotACorrelation(String);

/// A text that describes no channel.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no channel: write P,R or P,R,1-H or P,R,1-H,1-K in percent, as in 1%,10%,100%,0%")]
pub(crate) struct NotAChannel(String);

/// A text that is no priority.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no priority: write a whole number of at least 0")]
pub(crate) struct NotAPriority(String);

/// A text that is no rate of arrivals.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no number of operations a second: write one of more than 0, as in 500")]
pub(crate) struct NotARate(String);

/// A text that is no number of processors.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no number of processors: write one of at least 0.01, as in 0.2")]
pub(crate) struct NotCpus(String);

/// A number of processors; how few or many can be is for the daemon to say.
pub(crate) fn parse_cpus(text: &str) -> Result<f64, NotCpus> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| NotCpus(text.to_owned()))
}

/// A text that is no setting.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("'{0}' is no setting: write NAME=VALUE, as in period=2s")]
pub(crate) struct NotASetting(String);

/// A number of more than 0.
pub(crate) fn parse_arrivals(text: &str) -> Result<f64, NotARate> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| NotARate(text.to_owned()))
}

/// A name and its value.
pub(crate) fn parse_setting(text: &str) -> Result<(String, String), NotASetting> {
    let parts = text.split_once('=').filter(|(name, _)| !name.trim().is_empty());
    let (name, value) = parts.ok_or_else(|| NotASetting(text.to_owned()))?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

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

/// A number from 0 to below 1.
pub(crate) fn parse_correlation(text: &str) -> Result<f64, NotACorrelation> {
    let number = text.parse().ok().filter(|number| (0.0..1.0).contains(number));
    number.ok_or_else(|| NotACorrelation(text.to_owned()))
}

/// The parameters of the Gilbert-Elliott model, as tc wants them: without the last two, a bad channel
/// loses everything and a good one nothing.
pub(crate) fn parse_channel(text: &str) -> Result<GilbertElliott, NotAChannel> {
    let ratio = |part: &str| {
        let percent: f64 = part.trim().trim_end_matches('%').parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
    };
    let ratios: Option<Vec<f64>> = text.split(',').map(ratio).collect();
    let [good_to_bad, bad_to_good, rest @ ..] = ratios.as_deref().unwrap_or_default() else {
        return Err(NotAChannel(text.to_owned()));
    };
    let (lost_when_bad, lost_when_good) = match rest {
        [] => (1.0, 0.0),
        [bad] => (*bad, 0.0),
        [bad, good] => (*bad, *good),
        _ => return Err(NotAChannel(text.to_owned())),
    };
    let (good_to_bad, bad_to_good) = (*good_to_bad, *bad_to_good);
    Ok(GilbertElliott { good_to_bad, bad_to_good, lost_when_bad, lost_when_good })
}

/// A whole number of at least 0.
pub(crate) fn parse_priority(text: &str) -> Result<u32, NotAPriority> {
    text.parse().map_err(|_| NotAPriority(text.to_owned()))
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
    fn a_channel_is_written_as_for_tc() {
        let channel = parse_channel("1%,10%").unwrap();
        assert_eq!((channel.good_to_bad, channel.lost_when_bad, channel.lost_when_good), (0.01, 1.0, 0.0));
        assert_eq!(parse_channel("1,10,70,5").unwrap().lost_when_good, 0.05);
        for wrong in ["", "1%", "1,2,3,4,5", "101%,1%", "-1,1", "a,b", "NaN,1"] {
            assert_eq!(parse_channel(wrong), Err(NotAChannel(wrong.into())));
        }
        assert!(parse_correlation("1").is_err() && parse_correlation("0.9").is_ok());
    }

    #[test]
    fn words_are_those_of_the_contract() {
        assert_eq!(parse_word::<Direction>("both").unwrap(), Direction::Both);
        assert_eq!(parse_word::<Backend>("relay").unwrap(), Backend::Relay);
        assert!(parse_word::<Direction>("up").unwrap_err().to_string().contains("`ingress`"));
    }
}
