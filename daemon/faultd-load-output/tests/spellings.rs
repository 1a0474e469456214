//! What tools print in other versions, locales and situations than those of the samples.

mod reading;

use std::time::Duration;

use faultd_load_output::{End, Parser, Sample, Series, Stream, Tool};
use proptest::prelude::*;
use reading::{close, operations_each_second, read};

/// `(begin, end, operations, errors)` of each row about all operations.
fn rows(samples: &[Sample]) -> Vec<[f64; 4]> {
    let all = samples.iter().filter(|sample| sample.kind.is_none());
    all.map(|sample| [sample.begin_s, sample.end_s, sample.operations, sample.errors]).collect()
}

const STRESS_HEADER: &str = "type       total ops,    op/s,    pk/s,   row/s,    mean,     med,     .95,     .99,    \
                             .999,     max,   time,   stderr, errors,  gc: #,  max ms,  sum ms,  sdv ms,      mb";

#[test]
fn cassandra_stress_has_no_row_for_silent_seconds_and_the_series_has_zeros() {
    let text = format!(
        "{STRESS_HEADER}\n\
         total,   12,345,   12345,   12345,   12345,  1.8,  1.2,  4.9, 11.0, 17.0, 21.7,  1.0, 0.0, 5, 0, 0, 0, 0, 0\n\
         total,    22345,   10000,   10000,   10000,  NaN,  1.2,  4.9, 11.0, 17.0, 21.7,  2.0, NaN, 0, 0, 0, 0, 0, 0\n\
         total,    22845,     500,     500,     500,  1.8,  1.2,  4.9, 11.0, 17.0, 21.7,  6.0, 0.0, 0, 0, 0, 0, 0, 0\n"
    );
    let (samples, totals) = read(Tool::CassandraStress, &text);
    assert_eq!(rows(&samples)[0], [0.0, 1.0, 12340.0, 5.0]);
    close(&operations_each_second(&samples), &[12340.0, 10000.0, 0.0, 0.0, 0.0, 500.0]);
    assert_eq!((samples[1].latency.mean, samples[1].latency.p50), (None, Some(1.2)));
    assert_eq!((totals.overall.operations, totals.unread_rows), (Some(22845.0), 0));
}

#[test]
fn cassandra_stress_before_3_has_a_comma_more_and_results_without_units() {
    let text = "type,      total ops,    op/s,    pk/s,   row/s,    mean,     med,     .95,     .99,    .999,     max,   time,   stderr, errors,  gc: #,  max ms,  sum ms,  sdv ms,      mb\n\
                total,          3416,    3416,    3416,    3416,     0.3,     0.3,     0.4,     0.5,     1.5,     6.7,    1.0,  0.00000,      0,      0,       0,       0,       0,       0\n\
                total,          6940,    3516,    3516,    3516,     0.3,     0.3,     0.3,     0.4,     1.4,     7.4,    2.0,  0.01046,      0,      0,       0,       0,       0,       0\n\n\n\
                Results:\n\
                op rate                   : 16386 [WRITE:16386]\n\
                partition rate            : 16386 [WRITE:16386]\n\
                latency mean              : 0.3 [WRITE:0.3]\n\
                latency median            : 0.2 [WRITE:0.2]\n\
                latency 95th percentile   : 0.4 [WRITE:0.4]\n\
                latency 99th percentile   : 0.5 [WRITE:0.5]\n\
                latency 99.9th percentile : 1.5 [WRITE:1.5]\n\
                latency max               : 7.4 [WRITE:7.4]\n\
                Total errors              : 2 [WRITE:2]\n\
                Total operation time      : 01:02:03\nEND\n";
    let (samples, totals) = read(Tool::CassandraStress, text);
    assert_eq!(rows(&samples), [[0.0, 1.0, 3416.0, 0.0], [1.0, 2.0, 3524.0, 0.0]]);
    let overall = totals.overall;
    assert_eq!(
        (overall.operations_per_s, overall.duration_s, overall.errors),
        (Some(16386.0), Some(3723.0), Some(2.0))
    );
    let write = totals.kinds["WRITE"].latency;
    assert_eq!((write.mean, write.p50, write.p999, write.max), (Some(0.3), Some(0.2), Some(1.5), Some(7.4)));
}

#[test]
fn cql_stress_has_no_type_and_rows_of_zeros() {
    let text = "total ops ,    op/s,    mean,     med,     .95,     .99,    .999,     max,   time, errors\n\
                \x20     1000,    1000,     1.3,     0.9,     3.0,     6.8,    23.8,   116.9,    1.0,      0\n\
                \x20     1000,       0,     0.0,     0.0,     0.0,     0.0,     0.0,     0.0,    2.0,      0\n\
                \x20     1750,     750,     1.0,     1.0,     2.4,     3.1,     8.8,    99.8,    3.0,     50\n\
                Op rate                   :      583 op/s\nTotal operations          :       1750\n";
    let (samples, totals) = read(Tool::CassandraStress, text);
    assert_eq!(rows(&samples), [[0.0, 1.0, 1000.0, 0.0], [1.0, 2.0, 0.0, 0.0], [2.0, 3.0, 700.0, 50.0]]);
    assert_eq!((totals.overall.operations, totals.overall.operations_per_s), (Some(1750.0), Some(583.0)));
}

#[test]
fn cassandra_stress_in_a_locale_with_a_decimal_comma() {
    let text = format!(
        "{STRESS_HEADER}\n\
         total,   1000,    1000,    1000,    1000,     1,4,     1,3,     2,4,     5,6,    11,1,    17,3,    1,0,  0,09297,      0,      0,       0,       0,       0,       0\n\
         Op rate                   :    1.234,5 op/s  [READ: 1.234 op/s]\nLatency mean              :    6,1 ms\n"
    );
    let (samples, totals) = read(Tool::CassandraStress, &text);
    assert_eq!(rows(&samples), [[0.0, 1.0, 1000.0, 0.0]]);
    assert_eq!((samples[0].latency.mean, samples[0].latency.max), (Some(1.4), Some(17.3)));
    assert_eq!((totals.overall.operations_per_s, totals.overall.latency.mean), (Some(1234.5), Some(6.1)));
}

#[test]
fn cassandra_stress_kinds_come_before_all_and_have_its_interval() {
    let row = |kind: &str, ops: u32, rate: u32, time: &str| {
        format!(
            "{kind},   {ops}, {rate}, {rate}, {rate}, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, {time}, 0.0, 0, 0, 0, 0, 0, 0\n"
        )
    };
    let text = [
        format!("{STRESS_HEADER}\n"),
        row("READ", 60, 60, "1.0"),
        row("WRITE", 40, 40, "0.7"),
        row("total", 100, 100, "1.0"),
        row("READ", 130, 70, "2.0"),
        row("WRITE", 70, 30, "1.7"),
        row("total", 200, 100, "2.0"),
    ];
    let (samples, _) = read(Tool::CassandraStress, &text.concat());
    let write: Vec<_> = samples.iter().filter(|sample| sample.kind.as_deref() == Some("WRITE")).collect();
    assert_eq!((write[1].begin_s, write[1].end_s, write[1].operations), (1.0, 2.0, 30.0));
    assert_eq!(operations_each_second(&samples), [100.0, 100.0]);
}

#[test]
fn cassandra_stress_with_automatic_threads_runs_several_times_and_compares_at_the_end() {
    let run = |threads: u32| {
        format!(
            "Running with {threads} threadCount\nRunning [insert] with {threads} threads for 100 iteration\n{STRESS_HEADER}\n\
             total,   50,   50,   50,   50, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,   1.0, 0.0, 0, 0, 0, 0, 0, 0\n\
             total,  120,   70,   70,   70, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,   2.0, 0.0, 0, 0, 0, 0, 0, 0\n"
        )
    };
    let table = "             id, type       total ops,    op/s,    pk/s,   row/s,    mean,     med,     .95,     .99,    .999,     max,   time,   stderr, errors,  gc: #,  max ms,  sum ms,  sdv ms,      mb\n\
                 4 threadCount, total,   120,   70,   70,   70, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,   2.0, 0.0, 0, 0, 0, 0, 0, 0\n";
    let mut parser = Parser::new(Tool::CassandraStress);
    let mut samples = parser.push(Stream::Output, run(4).as_bytes(), Duration::from_secs(7));
    samples.extend(parser.push(Stream::Output, run(8).as_bytes(), Duration::from_secs(12)));
    samples.extend(parser.push(Stream::Output, table.as_bytes(), Duration::from_secs(13)));
    // The second run's rows arrived five seconds after those of the first.
    let begins: Vec<f64> = samples.iter().map(|sample| sample.end_s).collect();
    assert_eq!(begins, [1.0, 2.0, 7.0, 8.0]);
    assert_eq!(operations_each_second(&samples), [50.0, 70.0, 0.0, 0.0, 0.0, 0.0, 50.0, 70.0]);
}

#[test]
fn the_series_knows_when_its_zero_was() {
    let mut parser = Parser::new(Tool::Sysbench);
    let mut series = Series::new();
    for (line, at_ms) in [("[ 1s ] eps: 5.0", 4300), ("[ 2s ] eps: 5.0", 5100), ("[ 3s ] eps: 5.0", 6200)] {
        for sample in
            parser.push(Stream::Output, format!("{line}\n").as_bytes(), Duration::from_millis(at_ms))
        {
            series.add(&sample);
        }
    }
    close(&[series.offset_s()], &[3.1]);
}

#[test]
fn sysbench_prints_transactions_and_older_versions_print_otherwise() {
    let text = "[ 1s ] thds: 4 tps: 120.9 qps: 2418.1 (r/w/o: 1692.7/483.6/241.8) lat (ms,95%): 41.85 err/s: 2.00 reconn/s: 0.00\n\
                [   3s] threads: 4, tps: 100.00, reads: 1.0, writes: 2.0, response time: 52.5ms (99%), errors: 1.00, reconnects:  0.00\n\
                [ 4s ] thds: 4 tps: nan qps: 0.00\n\
                \x20   transactions:                        1209   (120.90 per sec.)\n\
                \x20   ignored errors:                      7      (0.70 per sec.)\n\
                \x20        max:                                 102.50ms\n\
                \x20        approx.  95 percentile:               41.85ms\n";
    let (samples, totals) = read(Tool::Sysbench, text);
    assert_eq!(rows(&samples), [[0.0, 1.0, 120.9, 2.0], [1.0, 3.0, 200.0, 2.0]]);
    assert_eq!((samples[0].latency.p95, samples[1].latency.p99), (Some(41.85), Some(52.5)));
    assert_eq!(totals.unread_rows, 1);
    let overall = totals.overall;
    assert_eq!((overall.latency.p95, overall.latency.max), (Some(41.85), Some(102.5)));
    assert_eq!(
        (overall.operations, overall.operations_per_s, overall.errors),
        (Some(1209.0), Some(120.9), Some(7.0))
    );
}

#[test]
fn ycsb_counts_failed_operations_as_such_and_reads_the_clock_precisely() {
    let text = "2020-01-10 23:59:59:000 0 sec: 0 operations; est completion in 106751991167300 days 15 hours \n\
                2020-01-11 00:00:00:002 1 sec: 100 operations; 99,8 current ops/sec; est completion in 9 second [READ: Count=90, Max=10, Min=1, Avg=5,5, 50=4, 90=5, 99=6, 99.9=7, 99.99=8] [READ-FAILED: Count=10, Max=99, Min=1, Avg=50, 90=5, 99=6, 99.9=7, 99.99=8]\n\
                2020-01-11 00:00:00:998 1 sec: 300 operations; 200 current ops/sec; [READ: Count=200, Max=10, Min=1, Avg=5.5, 90=5, 99=6, 99.9=7, 99.99=8] [CLEANUP: Count=1, Max=9000, Min=1, Avg=9000, 90=5, 99=6, 99.9=7, 99.99=8]\n\
                [OVERALL], Throughput(ops/sec), 150,25\n[READ], Operations, 300\n[READ], Return=OK, 290\n[READ], Return=ERROR, 10\n[CLEANUP], Operations, 1\n";
    let (samples, totals) = read(Tool::Ycsb, text);
    let found = rows(&samples);
    close(&found.concat(), &[0.0, 1.002, 90.0, 10.0, 1.002, 1.998, 200.0, 0.0]);
    assert_eq!(samples[0].latency.p50, Some(0.004));
    let overall = totals.overall;
    assert_eq!(
        (overall.operations, overall.errors, overall.operations_per_s),
        (Some(300.0), Some(10.0), Some(150.25))
    );
    assert_eq!(totals.kinds["READ"].errors, Some(10.0));
}

#[test]
fn ycsb_status_on_both_streams_is_counted_once() {
    let mut parser = Parser::new(Tool::Ycsb);
    let lines =
        ["1 sec: 100 operations; 100 current ops/sec;\n", "2 sec: 300 operations; 200 current ops/sec;\n"];
    let mut samples = parser.push(Stream::Error, lines.concat().as_bytes(), Duration::from_secs(2));
    samples.extend(parser.push(Stream::Output, lines.concat().as_bytes(), Duration::from_secs(3)));
    assert_eq!(operations_each_second(&samples), [100.0, 200.0]);
}

#[test]
fn kafka_counts_stack_traces_and_sees_what_came_before_the_first_row() {
    let text = "org.apache.kafka.common.errors.TimeoutException: Expiring 3 record(s) for t-0\n\
                org.apache.kafka.common.errors.TimeoutException: Expiring 3 record(s) for t-0\n\
                \tat java.base/java.lang.Thread.run(Thread.java:829)\nCaused by: org.apache.kafka.common.errors.X: y\n\
                501 records sent, 100.2 records/sec (0.01 MB/sec), 4.1 ms avg latency, 284.0 ms max latency.\n";
    let mut parser = Parser::new(Tool::KafkaProducerPerfTest);
    let samples = parser.push(Stream::Output, text.as_bytes(), Duration::from_millis(7200));
    close(&rows(&samples).concat(), &[2.2, 7.2, 501.0, 2.0]);
    let totals = parser.finish(End::ByItself).totals;
    assert_eq!((totals.overall.errors, totals.error_messages["TimeoutException"]), (Some(2.0), 2));
}

#[test]
fn k6_shows_iterations_while_it_runs() {
    let text = "running (0m01.0s), 10/10 VUs, 8 complete and 0 interrupted iterations\n\
                default   [  10% ] 10 VUs  01.0s/10s\n\
                running (0m02.0s), 10/10 VUs, 20 complete and 1 interrupted iterations\n\
                iterations.....................: 20 10.0/s\n\
                http_req_failed................: 6.75%  \u{2713} 10        \u{2717} 138\n\
                iteration_duration.............: avg=1.03s   min=1s     med=1.02s   max=1m2.5s    p(99.9)=900\u{b5}s\n";
    let (samples, totals) = read(Tool::K6, text);
    assert_eq!(rows(&samples), [[0.0, 1.0, 8.0, 0.0], [1.0, 2.0, 12.0, 1.0]]);
    let overall = totals.overall;
    assert_eq!(
        (overall.operations, overall.operations_per_s, overall.errors),
        (Some(20.0), Some(10.0), Some(10.0))
    );
    assert_eq!((overall.latency.p50, overall.latency.max), (Some(1020.0), Some(62_500.0)));
    close(&[overall.latency.p999.unwrap()], &[0.9]);
}

#[test]
fn wrk_counts_errors_of_sockets_and_answers() {
    let text = "  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   940.20us    1.43ms   1.05m   70.13%\n\
                \x20   Req/Sec     0.98k   135.17     1.20k    65.00%\n\
                \x20 Latency Distribution (HdrHistogram - Recorded Latency)\n 50.000%    1.22ms\n 99.900%    2.5s\n\
                \x20 1949 requests in 1.50m, 0.99MB read\n\
                \x20 Socket errors: connect 1, read 2, write 0, timeout 30\n  Non-2xx or 3xx responses: 400\nRequests/sec:   1234.5\n";
    let overall = read(Tool::Wrk, text).1.overall;
    close(&[overall.latency.mean.unwrap(), overall.latency.max.unwrap()], &[0.9402, 63_000.0]);
    assert_eq!((overall.latency.p50, overall.latency.p999), (Some(1.22), Some(2500.0)));
    assert_eq!(
        (overall.errors, overall.duration_s, overall.operations_per_s),
        (Some(433.0), Some(90.0), Some(1234.5))
    );
}

#[test]
fn the_script_of_the_paper_has_two_spellings() {
    let summary = |throughput: &str| {
        let text = format!(
            "[INFO] Fault Mode/Value : loss 10%\nLatency median (p50) : 107 ms\nLatency 95th percentile : 222 ms\n\
             Latency 99th percentile : 327 ms\nLatency max : 1549 ms\nTotal puts : 10000\nElapsed (ms) : 116817\n{throughput}\n"
        );
        read(Tool::SlowFollowerScript, &text).1.overall
    };
    let overall = summary("Avg throughput (ops/sec) : 85");
    assert_eq!((overall.operations, overall.operations_per_s), (Some(10000.0), Some(85.0)));
    close(&[overall.duration_s.unwrap()], &[116.817]);
    let latency = overall.latency;
    assert_eq!([latency.p50, latency.p95, latency.p99, latency.max], [107.0, 222.0, 327.0, 1549.0].map(Some));
    assert_eq!(summary("Throughput (ops/sec) : 67").operations_per_s, Some(67.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cassandra_stress_columns_are_found_by_their_names(
        order in Just(vec![
            ("type", "total"), ("total ops", "12345"), ("op/s", "12345"), ("pk/s", "1"), ("row/s", "2"), ("mean", "3.5"),
            ("med", "4.5"), (".95", "5.5"), (".99", "6.5"), (".999", "7.5"), ("max", "8.5"), ("time", "1.0"),
            ("stderr", "0.5"), ("errors", "45"), ("gc: #", "9"), ("max ms", "10"), ("sum ms", "11"), ("mb", "12"),
        ]).prop_shuffle()
    ) {
        let line = |of: fn(&(&'static str, &'static str)) -> &'static str| {
            order.iter().map(of).collect::<Vec<_>>().join(",   ")
        };
        // Only a header that begins with the type may lack its comma.
        let text = format!("{}\n{}\n", line(|(name, _)| name), line(|(_, cell)| cell));
        let (samples, totals) = read(Tool::CassandraStress, &text);
        prop_assert_eq!(rows(&samples), vec![[0.0, 1.0, 12300.0, 45.0]]);
        let latency = samples[0].latency;
        prop_assert_eq!(
            [latency.mean, latency.p50, latency.p95, latency.p99, latency.p999, latency.max],
            [3.5, 4.5, 5.5, 6.5, 7.5, 8.5].map(Some)
        );
        prop_assert_eq!(totals.unread_rows, 0);
    }
}
