//! Numbers as load generators print them: in any locale, with units, and at times not numbers at all.
//!
//! Everything that is read here is finite and not negative; `NaN`, `-nan` and `inf`, which tools print for
//! seconds without an operation, are none.

/// The largest number that is believed. Sums and products of such numbers stay finite.
pub const LARGEST: f64 = 1e15;

/// Milliseconds in each unit of time. Go, C and Java write the micro sign in three ways.
const UNITS: [(&str, f64); 22] = [
    ("ns", 1e-6),
    ("us", 1e-3),
    ("usec", 1e-3),
    ("\u{b5}s", 1e-3),
    ("\u{3bc}s", 1e-3),
    ("ms", 1.0),
    ("msec", 1.0),
    ("msecs", 1.0),
    ("millisecond", 1.0),
    ("milliseconds", 1.0),
    ("s", 1e3),
    ("sec", 1e3),
    ("secs", 1e3),
    ("second", 1e3),
    ("seconds", 1e3),
    ("m", 6e4),
    ("min", 6e4),
    ("mins", 6e4),
    ("minute", 6e4),
    ("minutes", 6e4),
    ("h", 3.6e6),
    ("d", 8.64e7),
];

/// Reads a number without a unit, whatever the locale that wrote it: `12,345` and `1.234.567` have thousands,
/// `19,59` and `1.234,5` a decimal comma, `1.234` a decimal point.
///
/// `1,234` can be both and is read with thousands, which is what English locales print; where a tool prints no
/// thousands, [`number_without_thousands`] is right in every locale.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    let (mantissa, exponent) = split_exponent(text.trim());
    let mantissa: String = mantissa.chars().filter(|letter| !is_group_space(*letter)).collect();
    let plain = match (mantissa.rfind('.'), mantissa.rfind(',')) {
        (None, None) => mantissa,
        (Some(point), Some(comma)) if point > comma => with_decimals(&mantissa, ',', '.')?,
        (Some(_), Some(_)) => with_decimals(&mantissa, '.', ',')?,
        (None, Some(_)) => without_groups(&mantissa, ',').or_else(|| with_decimals(&mantissa, '.', ','))?,
        (Some(_), None) if mantissa.matches('.').count() > 1 => without_groups(&mantissa, '.')?,
        (Some(_), None) => mantissa,
    };
    believed(&plain, exponent)
}

/// Reads a number of a tool that never prints thousands: a comma is a decimal comma.
#[must_use]
pub fn number_without_thousands(text: &str) -> Option<f64> {
    let (mantissa, exponent) = split_exponent(text.trim());
    believed(&mantissa.replacen(',', ".", 1), exponent)
}

/// Reads a time with its unit, into milliseconds: `4.1 ms`, `900µs`, `0.1070 secs.`, and Go's `1m2.5s`.
#[must_use]
pub fn milliseconds(text: &str) -> Option<f64> {
    let mut rest = text.trim().trim_end_matches('.');
    let mut sum = 0.0;
    loop {
        let digits = rest.find(char::is_alphabetic)?;
        let (value, behind) = rest.split_at(digits);
        let end = behind.find(|letter: char| !letter.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number(value)? * factor;
        rest = behind.trim_start();
        if rest.is_empty() {
            return (sum <= LARGEST).then_some(sum);
        }
    }
}

/// Reads `12:34:56`, `34:56` or `12:34:56.789` into seconds.
#[must_use]
pub fn hours_minutes_seconds(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut parts = 0;
    for part in text.trim().split(':') {
        seconds = seconds * 60.0 + number_without_thousands(part)?;
        parts += 1;
    }
    (parts == 2 || parts == 3).then_some(seconds).filter(|seconds| *seconds <= LARGEST)
}

/// Reads a number that may be in thousands (`k`), millions (`M`) or more (`G`).
#[must_use]
pub fn number_with_magnitude(text: &str) -> Option<f64> {
    let text = text.trim();
    let factor = match text.chars().next_back()? {
        'k' | 'K' => 1e3,
        'M' => 1e6,
        'G' => 1e9,
        _ => return number(text),
    };
    let mantissa = text.get(..text.len() - 1)?;
    number(mantissa).map(|number| number * factor).filter(|number| *number <= LARGEST)
}

/// Spaces that never break, and apostrophes, separate thousands in French, Swiss and other locales.
fn is_group_space(letter: char) -> bool {
    matches!(letter, '\u{a0}' | '\u{202f}' | '\'' | '\u{2019}')
}

fn split_exponent(text: &str) -> (&str, Option<&str>) {
    match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    }
}

fn without_groups(text: &str, separator: char) -> Option<String> {
    let mut groups = text.split(separator);
    let first = groups.next()?;
    let begins = (1..=3).contains(&first.len()) && !first.starts_with('0');
    (begins && groups.all(|group| group.len() == 3)).then(|| text.replace(separator, ""))
}

/// With the decimals behind a point. There may be groups before them, and no second decimal mark.
fn with_decimals(text: &str, group: char, mark: char) -> Option<String> {
    let (whole, decimals) = text.split_once(mark)?;
    if decimals.contains(['.', ',']) {
        return None;
    }
    let whole = if whole.contains(group) { without_groups(whole, group)? } else { whole.to_owned() };
    Some(format!("{whole}.{decimals}"))
}

/// The standard library would take signs, `inf` and `nan` too.
fn believed(mantissa: &str, exponent: Option<&str>) -> Option<f64> {
    let mantissa = mantissa.strip_prefix('+').unwrap_or(mantissa);
    if !mantissa.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.') {
        return None;
    }
    let number: f64 = match exponent {
        Some(exponent) => format!("{mantissa}e{exponent}").parse().ok()?,
        None => mantissa.parse().ok()?,
    };
    (number.is_finite() && number <= LARGEST).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_and_decimals_are_told_apart_in_every_locale() {
        let cases = [
            ("12,345", 12345.0),
            ("1,234,567", 1_234_567.0),
            ("1.234.567", 1_234_567.0),
            ("1.234,5", 1234.5),
            ("1,234.5", 1234.5),
            ("12\u{202f}345,5", 12345.5),
            ("12\u{a0}345", 12345.0),
            ("12'345.5", 12345.5),
            ("19,59", 19.59),
            ("0,123", 0.123),
            ("1.234", 1.234),
            ("7", 7.0),
            (".5", 0.5),
            ("  422 ", 422.0),
            ("+3", 3.0),
            ("1.5e3", 1500.0),
            ("1e-3", 0.001),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            ".",
            ",",
            "-1",
            "NaN",
            "-nan",
            "nan",
            "inf",
            "Infinity",
            "1.2.3",
            "1,2,3",
            "12,34,567",
            "1,234.5,6",
            "1.5x",
            "0x10",
            "1e",
            "1e400",
            "9999999999999999",
            "1 2",
            "--",
            "e5",
            "1e1e1",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn where_no_thousands_are_printed_a_comma_is_for_decimals() {
        assert_eq!(number_without_thousands("1545,125"), Some(1545.125));
        assert_eq!(number_without_thousands("1545.1"), Some(1545.1));
        assert_eq!(number_without_thousands("1,2,3"), None);
    }

    #[test]
    fn times_have_units() {
        let cases = [
            ("4.1 ms", 4.1),
            ("900\u{b5}s", 0.9),
            ("900\u{3bc}s", 0.9),
            ("500us", 0.5),
            ("1.5s", 1500.0),
            ("1m2.5s", 62_500.0),
            ("1h0m1s", 3_601_000.0),
            ("00m05.5s", 5500.0),
            ("0.1070 secs.", 107.0),
            ("0.071 msec", 0.071),
            ("250ns", 0.00025),
            ("19,5ms", 19.5),
        ];
        for (text, expected) in cases {
            let found = milliseconds(text).unwrap_or(f64::NAN);
            assert!((found - expected).abs() < 1e-9, "{text}: {found}");
        }
        for text in ["", "5", "ms", "5 parsecs", "-1ms", "NaNms", "1m2", "1s s", "+Infs"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }

    #[test]
    fn clock_times_and_magnitudes_are_read() {
        assert_eq!(hours_minutes_seconds("01:02:03.5"), Some(3723.5));
        assert_eq!(hours_minutes_seconds("00:51"), Some(51.0));
        for text in ["51", "1:2:3:4", "a:b", "1::2", "-1:00"] {
            assert_eq!(hours_minutes_seconds(text), None, "{text}");
        }
        assert_eq!(number_with_magnitude("0.98k"), Some(980.0));
        assert_eq!(number_with_magnitude("1.2M"), Some(1_200_000.0));
        assert_eq!(number_with_magnitude("135.17"), Some(135.17));
        assert_eq!((number_with_magnitude("k"), number_with_magnitude("")), (None, None));
    }
}
