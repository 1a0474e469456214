//! Reading the settings that the user wrote for a plugin: name and value, both text.

/// The values of the known settings, in the order of `known`; the last one wins where one is given twice.
///
/// # Errors
/// Names the first setting that is not known, and those that are.
pub fn read<const COUNT: usize>(
    settings: &[(String, String)],
    known: [&str; COUNT],
) -> Result<[Option<String>; COUNT], String> {
    if let Some((name, _)) = settings.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(match known.as_slice() {
            [] => format!("unknown setting {name:?}: this plugin has none"),
            _ => format!("unknown setting {name:?}: known are {}", known.join(", ")),
        });
    }
    Ok(known
        .map(|wanted| settings.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())))
}

/// A setting that is `true` or `false`; missing is `false`.
///
/// # Errors
/// Says what the setting may be.
pub fn flag(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("setting {name} is true or false, not {other:?}")),
    }
}

/// A setting that is a number; missing is `default`.
///
/// # Errors
/// Says what is no number.
pub fn number(name: &str, value: Option<&str>, default: f64) -> Result<f64, String> {
    let Some(value) = value else { return Ok(default) };
    let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("setting {name} is a number, not {value:?}"))
}

/// A setting that is a share, `0.25` or `25%`; missing is `default`.
///
/// # Errors
/// Says what is no share between 0 and 1.
pub fn share(name: &str, value: Option<&str>, default: f64) -> Result<f64, String> {
    let Some(value) = value else { return Ok(default) };
    parse_share(value).ok_or_else(|| format!("setting {name} is a share such as 0.25 or 25%, not {value:?}"))
}

/// A share, `0.25` or `25%`, from 0 to 1.
pub fn parse_share(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&number).then_some(number)
}

/// A setting that is a length of time, such as `1.5s`, in nanoseconds; missing is `default_ns`.
///
/// # Errors
/// Says what is no length of time.
pub fn duration_ns(name: &str, value: Option<&str>, default_ns: u64) -> Result<u64, String> {
    let Some(value) = value else { return Ok(default_ns) };
    let wrong = || format!("setting {name} is a length of time such as 500ms, 1.5s or 2m, not {value:?}");
    parse_duration_ns(value).ok_or_else(wrong)
}

/// A length of time with its unit (`ns`, `us`, `ms`, `s`, `m`, `h`), in nanoseconds; at most a year.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and at most a year"
)]
pub fn parse_duration_ns(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 6] =
        [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
    const YEAR_NS: f64 = 365.0 * 24.0 * 3.6e12;
    let text = text.trim();
    let begin_of_unit = text.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(begin_of_unit);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let ns = number.trim_end().parse::<f64>().ok()? * factor;
    (0.0..=YEAR_NS).contains(&ns).then(|| ns.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn known_settings_are_found_and_the_last_one_wins() {
        let [mode, size] = read(&pairs(&[("mode", "a"), ("mode", "b")]), ["mode", "size"]).unwrap();
        assert_eq!((mode.as_deref(), size), (Some("b"), None));
    }

    #[test]
    fn an_unknown_setting_is_named_with_the_known_ones() {
        let error = read(&pairs(&[("sise", "1")]), ["mode", "size"]).unwrap_err();
        assert_eq!(error, r#"unknown setting "sise": known are mode, size"#);
        assert_eq!(
            read(&pairs(&[("x", "")]), []).unwrap_err(),
            r#"unknown setting "x": this plugin has none"#
        );
    }

    #[test]
    fn a_flag_is_true_or_false() {
        assert_eq!(
            [flag("f", None), flag("f", Some("false")), flag("f", Some("true"))],
            [Ok(false), Ok(false), Ok(true)]
        );
        assert!(flag("f", Some("yes")).unwrap_err().contains("yes"));
    }

    #[test]
    fn numbers_and_shares_are_read_and_what_is_none_is_told() {
        assert_eq!(number("n", None, 3.0), Ok(3.0));
        assert_eq!(number("n", Some(" 2.5 "), 3.0), Ok(2.5));
        assert!(["x", "", "inf", "NaN"].iter().all(|text| number("n", Some(text), 0.0).is_err()));
        assert_eq!([share("s", Some("25%"), 0.0), share("s", Some("0.25"), 0.0)], [Ok(0.25), Ok(0.25)]);
        assert!(["-1", "101%", "1.1", "%", "NaN"].iter().all(|text| share("s", Some(text), 0.0).is_err()));
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        let parsed = ["1.5s", "20 ms", "3us", "0s", "2m", "1h"].map(parse_duration_ns);
        let expected = [1_500_000_000, 20_000_000, 3_000, 0, 120_000_000_000, 3_600_000_000_000].map(Some);
        assert_eq!(parsed, expected);
        assert!(
            ["", "5", "s", "-1s", "1x", "1e300s", "NaNs"].map(parse_duration_ns).iter().all(Option::is_none)
        );
        assert!(duration_ns("period", Some("5"), 0).unwrap_err().contains("period"));
    }
}
