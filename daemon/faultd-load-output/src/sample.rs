//! What one row of a tool's output says about one interval.

use serde::Serialize;

/// Latencies in milliseconds; none where the tool does not print it, or prints that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Latency {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// The slowest operation.
    pub max: Option<f64>,
}

impl Latency {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The place for a percentile, 99.9 say; none for those that are not kept.
    pub(crate) fn percentile(&mut self, percent: f64) -> Option<&mut Option<f64>> {
        let places =
            [(50.0, &mut self.p50), (95.0, &mut self.p95), (99.0, &mut self.p99), (99.9, &mut self.p999)];
        places.into_iter().find(|(kept, _)| (kept - percent).abs() < 1e-6).map(|(_, place)| place)
    }

    /// Notes a percentile if it is one of those that are kept.
    pub(crate) fn set_percentile(&mut self, percent: f64, milliseconds: Option<f64>) {
        if let Some(place) = self.percentile(percent) {
            *place = milliseconds;
        }
    }
}

/// Which clock the times of a sample are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Seconds since the command's start: the tool prints no time, or one whose zero is known.
    Command,
    /// Seconds of the tool's own time column. Its zero is some time after the command's start: tools connect,
    /// make tables and warm up first.
    Tool,
}

/// What a tool says about one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Begin of the interval in seconds of `clock`; not before the end of the previous one of the same kind.
    pub begin_s: f64,
    /// End of the interval in seconds of `clock`; not before the begin.
    pub end_s: f64,
    /// When the row arrived, in seconds since the command's start.
    pub arrived_s: f64,
    /// What the interval's times are counted from.
    pub clock: Clock,
    /// Operations that succeeded within the interval. Where a tool counts failed ones along, and says how many
    /// they are, they are taken away.
    pub operations: f64,
    /// Operations that failed within the interval, as far as the tool says.
    pub errors: f64,
    /// Of the operations of the interval.
    pub latency: Latency,
    /// Which operations, in the tool's words (`READ`, `SET`); none where the row is about all of them.
    pub kind: Option<String>,
}

impl Sample {
    /// Where a tool says nothing but how many operations of a kind there were, on the command's clock.
    pub(crate) fn of_operations(
        begin_s: f64,
        end_s: f64,
        arrived_s: f64,
        operations: f64,
        kind: String,
    ) -> Self {
        Self {
            begin_s,
            end_s,
            arrived_s,
            clock: Clock::Command,
            operations,
            errors: 0.0,
            latency: Latency::default(),
            kind: Some(kind),
        }
    }
}
