//! Lists of statuses such as `200-299,404`.

use std::ops::RangeInclusive;

/// Some statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses {
    ranges: Vec<RangeInclusive<u16>>,
}

impl Statuses {
    /// Those that HTTP itself calls a success.
    pub fn successes() -> Self {
        Self { ranges: vec![200..=299] }
    }

    /// From what the user wrote.
    pub fn parse(text: &str) -> Result<Self, String> {
        let ranges = text.split(',').map(|part| range(part.trim())).collect::<Option<Vec<_>>>();
        let wrong = || format!("setting expect is a list of statuses such as 200-299,404, not {text:?}");
        Ok(Self { ranges: ranges.ok_or_else(wrong)? })
    }

    /// Whether it is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&status))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = status(first.trim())?..=status(last.trim())?;
    (!range.is_empty()).then_some(range)
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (100..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_ranges_are_read() {
        let statuses = Statuses::parse("200-299, 404").unwrap();
        assert!([200, 250, 299, 404].iter().all(|status| statuses.contains(*status)));
        assert!(![199, 300, 403, 405].iter().any(|status| statuses.contains(*status)));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in ["", "ok", "200,", "299-200", "99", "600", "200-", "2xx"] {
            assert!(Statuses::parse(text).is_err(), "{text}");
        }
    }
}
