//! The quota of a group: so much time on processors in each period, of all its processes together.

use std::{fs, io, path::PathBuf};

use super::{
    ControlGroupError,
    finding::{ControlGroup, Controller, Version},
    undo::Undo,
};

pub(super) const QUOTA_V1: &str = "cpu.cfs_quota_us";
const PERIOD_V1: &str = "cpu.cfs_period_us";
pub(super) const MAX_V2: &str = "cpu.max";
const STATISTICS: &str = "cpu.stat";
/// The kernel refuses less (`min_cfs_quota_period` in `kernel/sched/core.c`).
const LEAST_QUOTA_US: f64 = 1000.0;

/// A quota that is to be set, and what is there instead now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QuotaPlan {
    pub(super) undo: Undo,
    /// Where the kernel counts.
    pub(super) statistics: PathBuf,
}

impl QuotaPlan {
    /// What a group is to get, within the period that it has. One that may use no more already is refused.
    pub(super) fn of(group: &ControlGroup, processors: f64) -> Result<Self, ControlGroupError> {
        let now = Quota::read(group)?;
        now.plan(group, processors, &now.text(group.version))
    }

    /// Another share of the same group: what was there at first stays what is restored.
    pub(super) fn changed(&self, group: &ControlGroup, processors: f64) -> Result<Self, ControlGroupError> {
        let file = self.undo.file.clone();
        let unknown = || io::Error::from(io::ErrorKind::InvalidData);
        let now = Quota::read(group)?;
        let first = Quota::parse(&self.undo.restore, now.period_us)
            .ok_or_else(|| ControlGroupError::File { file, source: unknown() })?;
        first.plan(group, processors, &self.undo.restore)
    }
}

/// Time in each period; no limit where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Quota {
    quota_us: Option<u64>,
    period_us: u64,
}

impl Quota {
    fn read(group: &ControlGroup) -> Result<Self, ControlGroupError> {
        let read = |name: &str| {
            let file = group.directory.join(name);
            fs::read_to_string(&file).map_err(ControlGroupError::file(file))
        };
        let (file, text, period) = match group.version {
            Version::One => (QUOTA_V1, read(QUOTA_V1)?, read(PERIOD_V1)?.trim().parse().ok()),
            Version::Two => (MAX_V2, read(MAX_V2)?, None),
        };
        Self::parse(&text, period.unwrap_or_default()).ok_or_else(|| ControlGroupError::File {
            file: group.directory.join(file),
            source: io::Error::from(io::ErrorKind::InvalidData),
        })
    }

    /// `-1` or `20000` of version 1, whose period is in a file of its own; `max 100000` or `20000 100000` of version 2.
    fn parse(text: &str, period_us: u64) -> Option<Self> {
        let mut words = text.split_whitespace();
        let quota = words.next()?;
        let period_us = words.next().map_or(Some(period_us), |period| period.parse().ok())?;
        let quota_us = if matches!(quota, "max" | "-1") { None } else { Some(quota.parse().ok()?) };
        (period_us > 0).then_some(Self { quota_us, period_us })
    }

    fn text(self, version: Version) -> String {
        let period = self.period_us;
        match (version, self.quota_us) {
            (Version::One, None) => "-1".to_owned(),
            (Version::One, Some(quota)) => quota.to_string(),
            (Version::Two, None) => format!("max {period}"),
            (Version::Two, Some(quota)) => format!("{quota} {period}"),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a period of at most a second")]
    fn plan(
        self,
        group: &ControlGroup,
        processors: f64,
        restore: &str,
    ) -> Result<QuotaPlan, ControlGroupError> {
        let period = self.period_us as f64;
        if let Some(quota) = self.quota_us
            && processors >= quota as f64 / period
        {
            return Err(ControlGroupError::NotSlower { allowed: quota as f64 / period, asked: processors });
        }
        let quota = (processors * period).round();
        if quota < LEAST_QUOTA_US {
            return Err(ControlGroupError::PeriodTooShort { asked: processors, period_us: self.period_us });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be above 1000"
        )]
        let ours = Self { quota_us: Some(quota as u64), ..self };
        Ok(QuotaPlan {
            undo: Undo {
                file: group.directory.join(Controller::Cpu.file(group.version)),
                restore: restore.to_owned(),
                ours: Some(ours.text(group.version)),
            },
            statistics: group.directory.join(STATISTICS),
        })
    }
}

/// What the kernel counted of a group since that was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Throttling {
    /// Periods in which it had something to run.
    pub(super) periods: u64,
    /// Those in which it used its quota up.
    pub(super) throttled_periods: u64,
    /// For how long it stood still because of that, over all processors.
    pub(super) throttled_ns: u64,
}

impl Throttling {
    /// Reads `cpu.stat`: `throttled_time` in nanoseconds of version 1, `throttled_usec` of version 2.
    pub(super) fn parse(text: &str) -> Self {
        let mut sum = Self::default();
        for line in text.lines() {
            let Some((name, Ok(number))) =
                line.split_once(' ').map(|(name, number)| (name, number.parse::<u64>()))
            else {
                continue;
            };
            match name {
                "nr_periods" => sum.periods = number,
                "nr_throttled" => sum.throttled_periods = number,
                "throttled_time" => sum.throttled_ns = number,
                "throttled_usec" => sum.throttled_ns = number.saturating_mul(1000),
                _ => {}
            }
        }
        sum
    }

    /// What was counted since then.
    pub(super) fn since(self, then: Self) -> Self {
        Self {
            periods: self.periods.saturating_sub(then.periods),
            throttled_periods: self.throttled_periods.saturating_sub(then.throttled_periods),
            throttled_ns: self.throttled_ns.saturating_sub(then.throttled_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(version: Version) -> ControlGroup {
        ControlGroup { version, path: "/g".into(), directory: "/groups/g".into() }
    }

    #[test]
    fn a_share_is_a_quota_within_the_period_that_is_there() {
        let one = Quota::parse("-1\n", 100_000).unwrap();
        let plan = one.plan(&group(Version::One), 0.2, "-1").unwrap();
        let file = "/groups/g/cpu.cfs_quota_us".into();
        assert_eq!(plan.undo, Undo { file, restore: "-1".into(), ours: Some("20000".into()) });
        let two = Quota::parse("max 50000\n", 0).unwrap();
        let plan = two.plan(&group(Version::Two), 1.5, &two.text(Version::Two)).unwrap();
        let file = "/groups/g/cpu.max".into();
        assert_eq!(plan.undo, Undo { file, restore: "max 50000".into(), ours: Some("75000 50000".into()) });
    }

    #[test]
    fn what_would_not_be_slower_or_is_too_little_is_refused() {
        let limited = Quota::parse("50000 100000", 0).unwrap();
        let plan = |processors| limited.plan(&group(Version::Two), processors, "50000 100000");
        assert!(plan(0.4).is_ok());
        assert!(matches!(plan(0.5), Err(ControlGroupError::NotSlower { .. })));
        assert!(matches!(plan(0.001), Err(ControlGroupError::PeriodTooShort { .. })));
        for wrong in ["", "x", "1 0", "-2 1", "1 x"] {
            assert_eq!(Quota::parse(wrong, 0), None, "{wrong}");
        }
    }

    #[test]
    fn the_kernel_counts_in_words_of_both_versions() {
        let one = Throttling::parse("nr_periods 5\nnr_throttled 3\nthrottled_time 7000\n");
        let two = Throttling::parse("usage_usec 9\nnr_periods 5\nnr_throttled 3\nthrottled_usec 7\nx y\n");
        assert_eq!((one, one.since(two)), (two, Throttling::default()));
        assert_eq!(one.throttled_ns, 7000);
    }
}
