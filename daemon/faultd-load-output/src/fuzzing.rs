//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use std::time::Duration;

use crate::parser::{End, Finished, Parser, Stream};
use crate::pattern::{Counting, Pattern, PatternSpec, TimeOf};
use crate::sample::{Latency, Sample};
use crate::series::Series;
use crate::tool::Tool;
use crate::totals::{MOST_NAMES, Summary};

/// The first line is a tool's name, or an expression; what follows is output, read at once and in pieces.
pub fn load_output(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(first), Some(output)) = (parts.next(), parts.next()) else { return false };
    let first = String::from_utf8_lossy(first);
    let first = first.trim();
    if let Ok(tool) = first.parse::<Tool>() {
        return both_ways(|| Parser::new(tool), output);
    }
    let mut spec = PatternSpec::of(first);
    if output.len() % 2 == 1 {
        (spec.counting, spec.time_of) = (Counting::Cumulative, TimeOf::Clock);
    }
    match Pattern::checked(spec) {
        Ok(pattern) => both_ways(|| Parser::with_pattern(pattern.clone()), output),
        Err(error) => {
            assert!(!error.to_string().contains('\n'));
            false
        }
    }
}

/// Pieces make no difference, and whatever is read can be believed.
fn both_ways(parser: impl Fn() -> Parser, output: &[u8]) -> bool {
    let (samples, finished) = read(parser(), &[output]);
    let piece = 1 + output.len() % 7;
    let pieces: Vec<&[u8]> = output.chunks(piece).collect();
    assert!((samples.clone(), finished.clone()) == read(parser(), &pieces), "pieces make a difference");
    let mut series = Series::new();
    for sample in &samples {
        check_sample(sample);
        series.add(sample);
    }
    for second in series.seconds() {
        let numbers = [second.operations, second.errors];
        assert!(numbers.into_iter().chain(latencies(&second.latency)).all(is_believable));
    }
    let totals = &finished.totals;
    assert!(totals.kinds.len() <= MOST_NAMES && totals.error_messages.len() <= MOST_NAMES);
    totals.kinds.values().chain([&totals.overall]).for_each(check_summary);
    !samples.is_empty() || totals.verdict.is_some() || totals.overall != Summary::default()
}

/// Samples include those of the end.
fn read(mut parser: Parser, pieces: &[&[u8]]) -> (Vec<Sample>, Finished) {
    let at = Duration::from_secs(5);
    let mut samples = Vec::new();
    for piece in pieces {
        samples.extend(parser.push(Stream::Output, piece, at));
    }
    let finished = parser.finish(End::ByItself);
    samples.extend(finished.samples.iter().cloned());
    (samples, Finished { samples: Vec::new(), ..finished })
}

fn check_sample(sample: &Sample) {
    assert!(sample.begin_s <= sample.end_s && sample.end_s.is_finite() && sample.begin_s.is_finite());
    let numbers = [sample.operations, sample.errors];
    assert!(numbers.into_iter().chain(latencies(&sample.latency)).all(is_believable), "{sample:?}");
}

fn check_summary(summary: &Summary) {
    let numbers = [summary.operations, summary.errors, summary.duration_s, summary.operations_per_s];
    assert!(
        numbers.into_iter().flatten().chain(latencies(&summary.latency)).all(is_believable),
        "{summary:?}"
    );
}

fn latencies(latency: &Latency) -> impl Iterator<Item = f64> {
    [latency.mean, latency.p50, latency.p95, latency.p99, latency.p999, latency.max].into_iter().flatten()
}

fn is_believable(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

#[cfg(test)]
mod tests {
    use super::load_output;
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("load_output", load_output);
    }
}
