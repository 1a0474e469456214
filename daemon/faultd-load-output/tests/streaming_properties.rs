//! Properties of reading: pieces make no difference, nothing panics, memory stays bounded.

mod reading;

use std::time::Duration;

use faultd_load_output::{End, Parser, Pattern, PatternSpec, Sample, Series, Stream, Tool, Totals};
use proptest::prelude::*;
use proptest::sample::Index;
use reading::sample_file;

const SAMPLES: [(Tool, &str); 11] = [
    (Tool::CassandraStress, "cassandra-stress-4.0.txt"),
    (Tool::EtcdBenchmark, "etcd-benchmark-put.from-source.txt"),
    (Tool::EtcdctlCheckPerf, "etcd-perf.txt"),
    (Tool::Ycsb, "ycsb.txt"),
    (Tool::RedisBenchmark, "redis-default.txt"),
    (Tool::RedisBenchmark, "redis-q.txt"),
    (Tool::RedisBenchmark, "redis-csv.txt"),
    (Tool::Sysbench, "sysbench-cpu.txt"),
    (Tool::Wrk, "wrk.txt"),
    (Tool::K6, "k6-v1-v2-summary.txt"),
    (Tool::KafkaProducerPerfTest, "kafka-producer-perf.txt"),
];

fn read_pieces<'bytes>(tool: Tool, pieces: impl IntoIterator<Item = &'bytes [u8]>) -> (Vec<Sample>, Totals) {
    let mut parser = Parser::new(tool);
    let mut samples = Vec::new();
    for piece in pieces {
        samples.extend(parser.push(Stream::Output, piece, Duration::from_secs(60)));
    }
    let finished = parser.finish(End::ByItself);
    samples.extend(finished.samples);
    (samples, finished.totals)
}

#[test]
fn byte_by_byte_is_the_same_as_at_once() {
    for (tool, name) in SAMPLES {
        let bytes = sample_file(name);
        assert_eq!(read_pieces(tool, bytes.chunks(1)), read_pieces(tool, [bytes.as_slice()]), "{name}");
    }
}

#[test]
fn windows_line_ends_and_colours_make_no_difference() {
    for (tool, name) in SAMPLES {
        let text = String::from_utf8(sample_file(name)).unwrap();
        let dressed = text.replace('\n', "\x1b[0m\r\n\x1b[2K\x1b[1;32m");
        assert_eq!(read_pieces(tool, [dressed.as_bytes()]), read_pieces(tool, [text.as_bytes()]), "{name}");
    }
}

#[test]
fn a_line_without_end_is_cut_and_what_follows_is_read() {
    let mut parser = Parser::new(Tool::Sysbench);
    for _ in 0..100 {
        assert_eq!(parser.push(Stream::Output, &[b'x'; 10_000], Duration::ZERO), []);
    }
    assert_eq!(parser.push(Stream::Output, b"\n[ 1s ] eps: 5.0\n", Duration::ZERO).len(), 1);
    assert_eq!(parser.finish(End::ByItself).totals.cut_lines, 1);
}

#[test]
fn streams_do_not_cut_into_each_others_lines() {
    let mut parser = Parser::new(Tool::Sysbench);
    assert_eq!(parser.push(Stream::Output, b"[ 1s ] ep", Duration::ZERO), []);
    assert_eq!(parser.push(Stream::Error, b"warning: [", Duration::ZERO), []);
    assert_eq!(parser.push(Stream::Output, b"s: 5.0\n", Duration::ZERO).len(), 1);
    assert_eq!(parser.finish(End::ByItself).totals.lines, 2);
}

#[test]
fn the_rest_of_a_line_is_only_read_if_the_tool_ended_by_itself() {
    let finish = |end: End| {
        let mut parser = Parser::new(Tool::Sysbench);
        assert_eq!(parser.push(Stream::Output, b"[ 1s ] thds: 2 eps: 81", Duration::ZERO), []);
        parser.finish(end).samples.len()
    };
    assert_eq!((finish(End::ByItself), finish(End::Killed)), (1, 0));
}

fn any_tool() -> impl Strategy<Value = Tool> {
    proptest::sample::select(Tool::all().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_size_are_the_same_as_at_once(
        sample in 0..SAMPLES.len(), cuts in proptest::collection::vec(any::<Index>(), 0..30)
    ) {
        let (tool, name) = SAMPLES[sample];
        let bytes = sample_file(name);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(read_pieces(tool, pieces), read_pieces(tool, [bytes.as_slice()]));
    }

    #[test]
    fn any_bytes_are_read_by_any_tool(tool in any_tool(), bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let (samples, totals) = read_pieces(tool, bytes.chunks(7));
        prop_assert!(samples.len() <= bytes.len() && totals.lines <= bytes.len() as u64);
    }

    /// Samples with spoilt bytes, at times that jump.
    #[test]
    fn what_is_spoilt_never_becomes_negative_or_endless(
        sample in 0..SAMPLES.len(),
        changes in proptest::collection::vec((any::<Index>(), proptest::sample::select(b"0199.,:/[]{}\"'=\n\r -%e".to_vec())), 0..40),
        times in proptest::collection::vec(0..100_000_u64, 1..10),
    ) {
        let (tool, name) = SAMPLES[sample];
        let mut bytes = sample_file(name);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut parser = Parser::new(tool);
        let mut series = Series::new();
        let mut samples = Vec::new();
        for (piece, at_ms) in bytes.chunks(bytes.len() / 8).zip(times.iter().cycle()) {
            samples.extend(parser.push(Stream::Output, piece, Duration::from_millis(*at_ms)));
        }
        samples.extend(parser.finish(End::ByItself).samples);
        for sample in &samples {
            prop_assert!(sample.begin_s <= sample.end_s, "{:?}", sample);
            prop_assert!(sample.operations.is_finite() && sample.operations >= 0.0, "{:?}", sample);
            prop_assert!(sample.errors.is_finite() && sample.errors >= 0.0, "{:?}", sample);
            series.add(sample);
        }
        prop_assert!(series.seconds().all(|second| second.operations.is_finite() && second.operations >= 0.0));
    }

    #[test]
    fn any_expression_compiles_or_has_one_line_to_say(expression in "\\PC{0,60}", text in "\\PC{0,200}") {
        match Pattern::checked(PatternSpec::of(&expression)) {
            Ok(pattern) => {
                let _ = reading::read_with(Parser::with_pattern(pattern), &text);
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
