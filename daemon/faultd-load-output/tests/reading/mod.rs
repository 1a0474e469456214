//! Reading text as a tool's output, for tests.
#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests, each of which uses a part"
)]

use std::time::Duration;

use faultd_load_output::{End, Parser, Sample, Series, Stream, Tool, Totals};

/// Everything at once, at the command's start: there are no arrivals to go by.
pub fn read(tool: Tool, text: &str) -> (Vec<Sample>, Totals) {
    read_with(Parser::new(tool), text)
}

pub fn read_with(mut parser: Parser, text: &str) -> (Vec<Sample>, Totals) {
    let mut samples = parser.push(Stream::Output, text.as_bytes(), Duration::ZERO);
    let finished = parser.finish(End::ByItself);
    samples.extend(finished.samples);
    (samples, finished.totals)
}

pub fn sample_file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn read_sample(tool: Tool, name: &str) -> (Vec<Sample>, Totals) {
    read(tool, &String::from_utf8(sample_file(name)).unwrap())
}

pub fn operations_each_second(samples: &[Sample]) -> Vec<f64> {
    let mut series = Series::new();
    samples.iter().for_each(|sample| series.add(sample));
    series.seconds().map(|second| second.operations).collect()
}

#[track_caller]
pub fn close(found: &[f64], expected: &[f64]) {
    let near = |(found, expected): (&f64, &f64)| (found - expected).abs() <= 1e-6 * expected.abs().max(1e-3);
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(near),
        "found {found:?}, expected {expected:?}"
    );
}
