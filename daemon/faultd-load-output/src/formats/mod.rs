//! One file for each tool's output. A format sees whole lines, one after the other, and notes what they say.

mod cassandra_stress;
mod etcd_benchmark;
mod etcdctl_check_perf;
mod k6;
mod kafka_producer_perf_test;
mod redis_benchmark;
mod slow_follower_script;
mod sysbench;
mod wrk;
mod ycsb;

use std::fmt;

use crate::parser::Stream;
use crate::sample::Sample;
use crate::tool::Tool;
use crate::totals::Totals;

/// A line without its end, and not empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'output> {
    pub(crate) text: &'output str,
    pub(crate) stream: Stream,
    /// In seconds since the command's start; does not go back.
    pub(crate) arrived_s: f64,
}

/// What the lines have said.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) samples: Vec<Sample>,
    pub(crate) totals: Totals,
    pub(crate) started_at_unix_s: Option<f64>,
}

/// The reader of one tool's lines. What it does not know it passes over: other programs may write in between.
pub(crate) trait Format: fmt::Debug + Send {
    /// Reads the next line.
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings);

    /// There is no further line.
    fn end(&mut self, _findings: &mut Findings) {}
}

/// The format of a tool.
pub(crate) fn of(tool: Tool) -> Box<dyn Format> {
    match tool {
        Tool::CassandraStress => Box::<cassandra_stress::CassandraStress>::default(),
        Tool::EtcdBenchmark => Box::<etcd_benchmark::EtcdBenchmark>::default(),
        Tool::EtcdctlCheckPerf => Box::<etcdctl_check_perf::EtcdctlCheckPerf>::default(),
        Tool::Ycsb => Box::<ycsb::Ycsb>::default(),
        Tool::RedisBenchmark => Box::<redis_benchmark::RedisBenchmark>::default(),
        Tool::Sysbench => Box::<sysbench::Sysbench>::default(),
        Tool::Wrk => Box::<wrk::Wrk>::default(),
        Tool::K6 => Box::<k6::K6>::default(),
        Tool::KafkaProducerPerfTest => Box::<kafka_producer_perf_test::KafkaProducerPerfTest>::default(),
        Tool::SlowFollowerScript => Box::<slow_follower_script::SlowFollowerScript>::default(),
    }
}
