//! The load generators that are known, and how they are recognised.

use std::fmt;
use std::str::FromStr;

/// A load generator whose output can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Cassandra's `cassandra-stress` from 2.1 to 5.x, and Scylla's `cql-stress`.
    CassandraStress,
    /// etcd's `benchmark`.
    EtcdBenchmark,
    /// `etcdctl check perf`.
    EtcdctlCheckPerf,
    /// `ycsb run … -s`.
    Ycsb,
    /// `redis-benchmark`, and Valkey's.
    RedisBenchmark,
    /// `sysbench --report-interval=1`.
    Sysbench,
    /// `wrk` and `wrk2`.
    Wrk,
    /// Grafana's `k6`.
    K6,
    /// `kafka-producer-perf-test`.
    KafkaProducerPerfTest,
    /// `run_slowfollower.sh` and its kin, which put keys into etcd by `etcdctl` and print a summary.
    SlowFollowerScript,
}

/// A word that names no tool.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no load generator that is known: write one of {names}, or describe its output by a pattern", names = Tool::names())]
pub struct UnknownTool(pub String);

/// Each tool, its name, and the programs that print like it.
const TOOLS: [(Tool, &str, &[&str]); 10] = [
    (
        Tool::CassandraStress,
        "cassandra-stress",
        &["cassandra-stress", "cql-stress-cassandra-stress", "cql-stress"],
    ),
    (Tool::EtcdBenchmark, "etcd-benchmark", &["benchmark", "etcd-benchmark"]),
    (Tool::EtcdctlCheckPerf, "etcdctl-check-perf", &["etcdctl"]),
    (Tool::Ycsb, "ycsb", &["ycsb", "ycsb.sh", "ycsb.bat"]),
    (Tool::RedisBenchmark, "redis-benchmark", &["redis-benchmark", "valkey-benchmark"]),
    (Tool::Sysbench, "sysbench", &["sysbench"]),
    (Tool::Wrk, "wrk", &["wrk", "wrk2"]),
    (Tool::K6, "k6", &["k6"]),
    (
        Tool::KafkaProducerPerfTest,
        "kafka-producer-perf-test",
        &["kafka-producer-perf-test", "kafka-producer-perf-test.sh"],
    ),
    (
        Tool::SlowFollowerScript,
        "slow-follower-script",
        &["run_slowfollower.sh", "run_slowleader.sh", "slow-follower-script"],
    ),
];

impl Tool {
    /// All tools, in the order of their documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        TOOLS.iter().map(|(tool, _, _)| *tool)
    }

    /// The tool that a command starts, by the name of its program; none if it is not known, or if that program
    /// prints something else with these arguments.
    #[must_use]
    pub fn guess(command: &[String]) -> Option<Self> {
        let (path, arguments) = command.split_first()?;
        let program = path.rsplit('/').next()?;
        let (tool, _, _) = TOOLS.iter().find(|(_, _, programs)| programs.contains(&program))?;
        let has = |word: &str| arguments.iter().any(|argument| argument == word);
        match tool {
            Self::EtcdctlCheckPerf if !(has("check") && has("perf")) => None,
            _ => Some(*tool),
        }
    }

    /// The tool's name, as in experiment files.
    #[must_use]
    pub fn name(self) -> &'static str {
        TOOLS.iter().find(|(tool, _, _)| *tool == self).map_or("", |(_, name, _)| name)
    }

    fn names() -> String {
        TOOLS.map(|(_, name, _)| name).join(", ")
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Tool {
    type Err = UnknownTool;

    fn from_str(name: &str) -> Result<Self, UnknownTool> {
        let found = TOOLS.iter().find(|(_, known, _)| *known == name);
        found.map(|(tool, _, _)| *tool).ok_or_else(|| UnknownTool(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_read_back_from_its_name() {
        for tool in Tool::all() {
            assert_eq!(tool.to_string().parse(), Ok(tool));
        }
        let error = "locust".parse::<Tool>().unwrap_err().to_string();
        assert!(
            error.starts_with("'locust' is no load generator that is known: write one of cassandra-stress, ")
        );
        assert!(!error.contains('\n'));
    }

    #[test]
    fn a_tool_is_guessed_by_its_program() {
        let guess = |command: &str| {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            Tool::guess(&words)
        };
        assert_eq!(guess("/opt/cassandra/tools/bin/cassandra-stress write"), Some(Tool::CassandraStress));
        assert_eq!(guess("./bin/ycsb run cassandra-cql -s"), Some(Tool::Ycsb));
        assert_eq!(guess("kafka-producer-perf-test.sh --topic a"), Some(Tool::KafkaProducerPerfTest));
        assert_eq!(guess("etcdctl --endpoints=a check perf"), Some(Tool::EtcdctlCheckPerf));
        assert_eq!(guess("benchmark put"), Some(Tool::EtcdBenchmark));
        assert_eq!((guess("etcdctl put a b"), guess("sh -c wrk"), guess("")), (None, None, None));
    }
}
