//! Real output of each tool (`samples/`, as it was printed) and the exact numbers that it holds.

mod reading;

use faultd_load_output::{Clock, Latency, Parser, Sample, Stream, Tool};
use reading::{close, operations_each_second, read, read_sample};
use std::time::Duration;

fn about_all(samples: &[Sample]) -> Vec<&Sample> {
    samples.iter().filter(|sample| sample.kind.is_none()).collect()
}

#[test]
fn cassandra_stress_rows_cover_what_their_rate_says_and_the_rest_of_a_gap_is_silent() {
    let (samples, totals) = read_sample(Tool::CassandraStress, "cassandra-stress-4.0.txt");
    let found: Vec<_> =
        samples.iter().map(|sample| (sample.end_s, sample.operations, sample.errors)).collect();
    assert_eq!(found, [(35.0, 13470.0, 0.0), (50.0, 9541.0, 0.0), (51.8, 1989.0, 0.0)]);
    let lengths = samples.iter().map(|sample| sample.end_s - sample.begin_s);
    close(&lengths.collect::<Vec<_>>(), &[13470.0 / 422.0, 9541.0 / 1044.0, 1989.0 / 1232.0]);
    assert_eq!(
        samples[0].latency,
        Latency {
            mean: Some(7.1),
            p50: Some(0.5),
            p95: Some(68.2),
            p99: Some(100.1),
            p999: Some(100.1),
            max: Some(100.1)
        }
    );
    assert!(samples.iter().all(|sample| sample.clock == Clock::Tool && sample.kind.is_none()));
    let seconds = operations_each_second(&samples);
    assert_eq!(seconds.len(), 52);
    close(
        &seconds[34..42],
        &[422.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1044.0 * (41.0 - (50.0 - 9541.0 / 1044.0)), 1044.0],
    );
    close(&[seconds.iter().sum()], &[25000.0]);

    let overall = totals.overall;
    assert_eq!((overall.operations, overall.errors), (Some(25000.0), Some(0.0)));
    assert_eq!((overall.operations_per_s, overall.duration_s), (Some(483.0), Some(51.0)));
    let latency = overall.latency;
    assert_eq!((latency.mean, latency.p50, latency.max), (Some(6.1), Some(0.6), Some(193.5)));
    assert_eq!((latency.p95, latency.p99, latency.p999), (Some(83.8), Some(92.8), Some(100.0)));
    assert_eq!(totals.kinds["WRITE"].operations_per_s, Some(483.0));
    assert_eq!((totals.unread_rows, totals.cut_lines), (0, 0));
}

#[test]
fn etcd_benchmark_has_a_bar_while_it_runs_and_a_table_at_the_end() {
    let (samples, totals) = read_sample(Tool::EtcdBenchmark, "etcd-benchmark-put.from-source.txt");
    let [bar, second] = samples.as_slice() else { panic!("{samples:?}") };
    assert_eq!((bar.kind.as_deref(), bar.operations, bar.clock), (Some("progress"), 10000.0, Clock::Command));
    assert_eq!((second.begin_s, second.end_s, second.operations), (0.0, 1.0, 86.0));
    assert_eq!((second.latency.mean, second.latency.max), (Some(105.113), Some(222.01)));
    assert_eq!(operations_each_second(&samples), [86.0]);
    let overall = totals.overall;
    close(&[overall.duration_s.unwrap(), overall.operations_per_s.unwrap()], &[116.817, 85.604]);
    assert_eq!((overall.operations, overall.errors), (Some(10000.0), Some(3.0)));
    let latency = overall.latency;
    close(
        &[latency.mean, latency.p50, latency.p95, latency.p99, latency.p999, latency.max].map(Option::unwrap),
        &[107.0, 107.0, 222.0, 327.0, 1101.0, 1549.0],
    );
    assert_eq!(totals.error_messages["etcdserver: request timed out"], 3);
}

#[test]
fn etcd_benchmark_rows_are_placed_by_the_start_of_the_command() {
    let mut parser = Parser::new(Tool::EtcdBenchmark).started_at_unix_s(1_753_646_803.25);
    let rows = b"UNIX-SECOND,AVG-THROUGHPUT,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS\n\
                 1753646805,2,900\xc2\xb5s,1m1.5s,2m0s\n1753646806,0,0s,0s,0s\n";
    let samples = parser.push(Stream::Output, rows, Duration::from_secs(9));
    assert_eq!((samples[0].begin_s, samples[0].end_s, samples[0].clock), (1.75, 2.75, Clock::Command));
    assert_eq!((samples[0].latency.mean, samples[0].latency.max), (Some(61_500.0), Some(120_000.0)));
    assert_eq!((samples[1].operations, samples[1].latency.is_empty()), (0.0, true));
}

#[test]
fn etcdctl_gives_a_verdict_with_its_reasons() {
    let (samples, totals) = read_sample(Tool::EtcdctlCheckPerf, "etcd-perf.txt");
    assert_eq!(samples, []);
    let verdict = totals.verdict.unwrap();
    let checks: Vec<_> = verdict.checks.iter().map(|check| (check.passed, check.text.as_str())).collect();
    assert_eq!(verdict.passed, Some(true));
    assert_eq!(
        checks,
        [
            (true, "Throughput is 150 writes/s"),
            (true, "Slowest request took 0.021353s"),
            (true, "Stddev is 0.000512s")
        ]
    );
    assert_eq!(totals.overall.operations_per_s, Some(150.0));
    close(&[totals.overall.latency.max.unwrap()], &[21.353]);

    let failed = "FAIL: too many errors\nFAIL: ERROR(etcdserver: request timed out) -> 7\n\
                  FAIL: Throughput too low: 98 writes/s\nSlowest request took too long: 1.2s\nFAIL\n";
    let totals = read(Tool::EtcdctlCheckPerf, failed).1;
    let verdict = totals.verdict.unwrap();
    assert_eq!(verdict.passed, Some(false));
    assert!(verdict.checks.len() == 4 && verdict.checks.iter().all(|check| !check.passed));
    assert_eq!((totals.overall.operations_per_s, totals.overall.latency.max), (Some(98.0), Some(1200.0)));
    assert_eq!(
        (totals.overall.errors, totals.error_messages["etcdserver: request timed out"]),
        (Some(7.0), 7)
    );
}

#[test]
fn ycsb_status_lines_count_everything_once_in_any_locale() {
    let (samples, totals) = read_sample(Tool::Ycsb, "ycsb.txt");
    let all = about_all(&samples);
    let found: Vec<_> = all.iter().map(|sample| (sample.begin_s, sample.end_s, sample.operations)).collect();
    assert_eq!(found, [(0.0, 10.0, 15451.0), (10.0, 40.0, 8_898_270.0 - 15451.0)]);
    // One kind: its percentiles are those of all. Two kinds: only mean and maximum can be put together.
    let first = all[0].latency;
    close(&[first.mean.unwrap(), first.max.unwrap()], &[2.31221, 120.319]);
    assert_eq!((first.p50, first.p99, first.p999), (None, Some(7.915), Some(19.551)));
    let mean = (452_553.0 * 19.59 + 452_135.0 * 87.65) / (452_553.0 + 452_135.0) / 1e3;
    close(&[all[1].latency.mean.unwrap(), all[1].latency.max.unwrap()], &[mean, 404.479]);
    assert_eq!(all[1].latency.p99, None);
    let read: Vec<_> = samples.iter().filter(|sample| sample.kind.as_deref() == Some("READ")).collect();
    assert_eq!((read.len(), read[0].operations, read[0].latency.p99), (1, 452_553.0, Some(0.069)));
    close(&[read[0].latency.mean.unwrap()], &[0.01959]);
    let seconds = operations_each_second(&samples);
    close(&[seconds[0], seconds[9], seconds.iter().sum()], &[1545.1, 1545.1, 8_898_270.0]);

    let overall = totals.overall;
    close(&[overall.operations_per_s.unwrap(), overall.duration_s.unwrap()], &[9777.990720686807, 1022.705]);
    assert_eq!((overall.operations, overall.errors), (Some(475_131.0), None));
    let read = totals.kinds["READ"].latency;
    assert_eq!(
        (read.mean, read.p95, read.p99, read.max),
        (Some(1.4562), Some(2.615), Some(4.007), Some(47.519))
    );
}

#[test]
fn redis_benchmark_shows_its_rate_and_its_report_has_the_remainder() {
    let (samples, totals) = read_sample(Tool::RedisBenchmark, "redis-default.txt");
    let found: Vec<_> =
        samples.iter().map(|sample| (sample.kind.as_deref().unwrap(), sample.operations)).collect();
    assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["SET", "SET", "GET", "GET"]);
    close(&found.iter().map(|(_, count)| *count).collect::<Vec<_>>(), &[16057.0, 3943.0, 10634.0, 9366.0]);
    let ends: Vec<_> = samples.iter().flat_map(|sample| [sample.begin_s, sample.end_s]).collect();
    let tick_s = 10634.0 / 57481.1;
    close(&ends, &[0.0, 0.25, 0.25, 0.31, 0.31, 0.31 + tick_s, 0.31 + tick_s, 0.62]);
    assert_eq!(samples[0].latency, Latency { mean: Some(0.092), ..Latency::default() });
    close(&operations_each_second(&samples), &[40000.0]);
    let set = totals.kinds["SET"];
    assert_eq!((set.operations, set.duration_s), (Some(20000.0), Some(0.31)));
    assert_eq!(set.operations_per_s, Some(63694.27));
    assert_eq!(
        set.latency,
        Latency {
            mean: Some(0.092),
            p50: Some(0.087),
            p95: Some(0.143),
            p99: Some(0.231),
            p999: Some(0.927),
            max: Some(1.207)
        }
    );
    assert_eq!(totals.kinds["GET"].latency.p999, Some(0.871));
    assert_eq!((totals.overall.operations, totals.overall.duration_s), (Some(40000.0), Some(0.62)));
}

#[test]
fn redis_benchmark_is_read_when_quiet_and_as_a_table() {
    let (samples, totals) = read_sample(Tool::RedisBenchmark, "redis-q.txt");
    let found: Vec<_> = samples.iter().map(|sample| (sample.operations, sample.latency.mean)).collect();
    close(&[found[0].0], &[77808.8 / 4.0]);
    assert_eq!((found.len(), found[0].1), (1, Some(0.074)));
    assert_eq!(totals.overall.operations_per_s, Some(75187.97));
    assert_eq!((totals.overall.latency.p50, totals.kinds.len()), (Some(0.071), 1));

    let (samples, totals) = read_sample(Tool::RedisBenchmark, "redis-csv.txt");
    assert_eq!((samples.len(), totals.kinds.len()), (0, 2));
    let get = totals.kinds["GET"];
    assert_eq!(
        (get.operations_per_s, get.latency.mean, get.latency.max),
        (Some(82644.62), Some(0.074), Some(6.039))
    );
    assert_eq!((get.latency.p50, get.latency.p95, get.latency.p99), (Some(0.071), Some(0.111), Some(0.199)));
}

#[test]
fn redis_benchmark_rows_are_placed_by_their_arrival() {
    let mut parser = Parser::new(Tool::RedisBenchmark);
    let mut samples = Vec::new();
    let rows =
        ["0.0 (overall: -nan)", "100.0 (overall: 100.0)", "0.0 (overall: 50.0)", "40.0 (overall: 40.0)"];
    for (row, at_ms) in rows.iter().zip([1000, 1251, 1502, 2502]) {
        let line = format!("SET: rps={row} avg_msec=1.0 (overall: 1.0)\r");
        samples.extend(parser.push(Stream::Output, line.as_bytes(), Duration::from_millis(at_ms)));
    }
    let found: Vec<_> = samples.iter().flat_map(|row| [row.begin_s, row.end_s, row.operations]).collect();
    close(&found, &[1.001, 1.251, 25.0, 1.251, 1.502, 0.0, 1.502, 2.502, 40.0]);
}

#[test]
fn sysbench_rows_and_report_are_read() {
    let (samples, totals) = read_sample(Tool::Sysbench, "sysbench-cpu.txt");
    close(&operations_each_second(&samples), &[8122.46, 8389.45, 8577.70]);
    let p95: Vec<_> = samples.iter().map(|sample| sample.latency.p95.unwrap()).collect();
    close(&p95, &[0.29, 0.28, 0.27]);
    let overall = totals.overall;
    assert_eq!((overall.operations, overall.operations_per_s), (Some(25094.0), Some(8359.88)));
    close(&[overall.duration_s.unwrap()], &[3.0013]);
    let latency = overall.latency;
    assert_eq!((latency.mean, latency.p95, latency.max), (Some(0.24), Some(0.28), Some(8.27)));
}

#[test]
fn wrk_has_a_summary() {
    let (samples, totals) = read_sample(Tool::Wrk, "wrk.txt");
    assert_eq!(samples, []);
    let overall = totals.overall;
    assert_eq!((overall.operations, overall.duration_s), (Some(1949.0), Some(2.0)));
    assert_eq!((overall.operations_per_s, overall.errors), (Some(974.31), None));
    let latency = overall.latency;
    assert_eq!(
        (latency.mean, latency.p50, latency.p99, latency.max),
        (Some(3.99), Some(3.84), Some(7.92), Some(11.4))
    );
}

#[test]
fn k6_has_a_summary_of_requests() {
    let (samples, totals) = read_sample(Tool::K6, "k6-v1-v2-summary.txt");
    assert_eq!(samples, []);
    let overall = totals.overall;
    assert_eq!((overall.operations, overall.errors), (Some(148.0), Some(10.0)));
    assert_eq!(overall.operations_per_s, Some(4.775_025));
    let latency = overall.latency;
    assert_eq!((latency.mean, latency.p50), (Some(34.8), Some(20.97)));
    assert_eq!((latency.p95, latency.max, latency.p99), (Some(31.5), Some(925.05), None));
}

#[test]
fn kafka_rows_cover_records_divided_by_rate_and_the_total_has_the_remainder() {
    let (samples, totals) = read_sample(Tool::KafkaProducerPerfTest, "kafka-producer-perf.txt");
    let found: Vec<_> = samples.iter().map(|sample| sample.operations).collect();
    assert_eq!(found, [501.0, 6.0, 999_493.0]);
    let times: Vec<_> = samples.iter().flat_map(|sample| [sample.begin_s, sample.end_s]).collect();
    close(&times, &[0.0, 5.0, 5.0, 12.5, 12.5, 1e6 / 41893.6]);
    assert_eq!((samples[0].latency.mean, samples[0].latency.max), (Some(4.1), Some(284.0)));
    assert_eq!((samples[1].latency.mean, samples[1].latency.max), (Some(1198.5), Some(6632.0)));
    let overall = totals.overall;
    assert_eq!((overall.operations, overall.operations_per_s), (Some(1e6), Some(41893.6)));
    assert_eq!(
        overall.latency,
        Latency {
            mean: Some(602.63),
            p50: Some(590.0),
            p95: Some(1010.0),
            p99: Some(1150.0),
            p999: Some(1200.0),
            max: Some(1204.0)
        }
    );
}
