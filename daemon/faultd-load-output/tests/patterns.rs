//! Tools that an experiment file describes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod reading;

use std::time::Duration;

use faultd_load_output::pattern::{Counting, LatencyUnit, TimeOf};
use faultd_load_output::{Clock, Parser, Pattern, PatternSpec, Sample, Stream};
use reading::{close, operations_each_second, read_with};

fn spec(expression: &str) -> PatternSpec {
    PatternSpec::of(expression)
}

fn read(spec: PatternSpec, text: &str) -> Vec<Sample> {
    read_with(Parser::with_pattern(Pattern::checked(spec).unwrap()), text).0
}

fn error(expression: &str) -> String {
    Pattern::checked(spec(expression)).unwrap_err().to_string()
}

#[test]
fn rates_are_spread_over_the_time_since_the_row_before() {
    let text = "t=1 100 ops/s p99=1.5\nnoise\nt=3 1,200.5 ops/s p99=900us\n";
    let samples = read(spec(r"t=(?<time>\S+) (?<ops_per_s>\S+) ops/s p99=(?<p99>\S+)"), text);
    assert_eq!(operations_each_second(&samples), [100.0, 1200.5, 1200.5]);
    assert_eq!((samples[0].latency.p99, samples[1].latency.p99), (Some(1.5), Some(0.9)));
}

#[test]
fn counts_may_be_since_the_start_and_latencies_of_any_unit() {
    let mut cumulative = spec(r"(?<time>[\d:.]+) (?<operations>\d+) (?<errors>\d+) (?<mean>\S+)");
    cumulative.counting = Counting::Cumulative;
    cumulative.latency_unit = LatencyUnit::Seconds;
    let samples = read(cumulative, "00:00:01 100 0 0.5\n00:00:02 250 3 nan\n00:00:03 40 3 1\n");
    assert_eq!(operations_each_second(&samples), [100.0, 150.0, 40.0]);
    assert_eq!(samples.iter().map(|sample| sample.errors).collect::<Vec<_>>(), [0.0, 3.0, 0.0]);
    assert_eq!((samples[0].latency.mean, samples[1].latency.mean), (Some(500.0), None));
}

#[test]
fn times_of_a_clock_begin_with_the_first_arrival_and_go_past_midnight() {
    let mut of_clock = spec(r"(?<time>\S+) (?<operations>\d+)");
    of_clock.time_of = TimeOf::Clock;
    of_clock.interval_s = Some(1.0);
    let mut parser = Parser::with_pattern(Pattern::checked(of_clock).unwrap());
    let samples =
        parser.push(Stream::Output, b"23:59:58 5\n23:59:59 6\n00:00:02 7\n", Duration::from_secs(3));
    let times: Vec<f64> = samples.iter().flat_map(|sample| [sample.begin_s, sample.end_s]).collect();
    close(&times, &[2.0, 3.0, 3.0, 4.0, 6.0, 7.0]);
    assert!(samples.iter().all(|sample| sample.clock == Clock::Command));
    assert_eq!(operations_each_second(&samples), [0.0, 0.0, 5.0, 6.0, 0.0, 0.0, 7.0]);
}

#[test]
fn rows_without_a_time_are_placed_by_arrival_and_kinds_are_kept_apart() {
    let pattern = Pattern::checked(spec(r"(?<kind>\w+)=(?<operations>\d+)")).unwrap();
    let mut parser = Parser::with_pattern(pattern);
    let mut samples = parser.push(Stream::Error, b"get=10\nput=20\n", Duration::from_secs(2));
    samples.extend(parser.push(Stream::Error, b"get=30\nput=40\n", Duration::from_secs(4)));
    assert_eq!(operations_each_second(&samples), [15.0, 15.0, 35.0, 35.0]);
    assert_eq!(samples[2].kind.as_deref(), Some("get"));
}

#[test]
fn a_row_whose_number_cannot_be_read_is_counted() {
    let parser = Parser::with_pattern(Pattern::checked(spec(r"ops=(?<ops_per_s>\S+)")).unwrap());
    let (samples, totals) = read_with(parser, "ops=nan\nops=many\nops=\n");
    assert_eq!((samples.len(), totals.unread_rows), (0, 2));
}

#[test]
fn errors_are_one_line() {
    assert_eq!(error("(?<ops_per_s>"), "the expression is no regular expression: unclosed group");
    assert_eq!(
        error(r"(\d+) ops"),
        "the expression has no group for operations: name one (?<ops_per_s>…) or (?<operations>…)"
    );
    assert_eq!(
        error(r"(?<ops_per_s>\d+) (?<p90>\d+)"),
        "the expression has a group 'p90': name groups one of time, ops_per_s, operations, errors, kind, mean, p50, p95, p99, p999, max"
    );
    assert!(error(r"(?<operations>\w{500}{500})").starts_with("the expression is too large"));
    let interval = PatternSpec { interval_s: Some(f64::NAN), ..spec("(?<operations>.)") };
    assert_eq!(
        Pattern::checked(interval).unwrap_err().to_string(),
        "interval_s must be more than 0 and at most 86400"
    );
}
