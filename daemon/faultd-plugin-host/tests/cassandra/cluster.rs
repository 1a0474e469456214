//! A real Cassandra on loopback, with a data directory of its own, gone when it is dropped.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use faultd_plugin_host::Member;

/// How long a cluster may take until all of it serves clients: a minute on a slow machine that is busy.
const UNTIL_SERVING: Duration = Duration::from_secs(180);

/// Members of one cluster. Dropping it ends them and removes what they wrote, also when a test panics.
pub(crate) struct CassandraCluster {
    pub(crate) members: Vec<Member>,
    processes: Vec<Child>,
    directory: PathBuf,
}

impl CassandraCluster {
    /// Starts members and waits until each serves clients. `lines` are added to their `cassandra.yaml`.
    pub(crate) fn start(count: usize, lines: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("faultd-cassandra-{}", std::process::id()));
        let mut cluster = Self { members: Vec::new(), processes: Vec::new(), directory };
        for number in 1..=count {
            let folder = cluster.directory.join(number.to_string());
            cluster.processes.push(start_member(number, &folder, lines));
            // As xtask/cassandra.sh has it.
            let address = format!("127.0.0.1{number}:19042").parse().unwrap();
            cluster.members.push(Member { name: format!("cassandra{number}"), address });
        }
        cluster.wait_until_serving();
        cluster
    }

    /// Ends one member at once.
    pub(crate) fn kill(&mut self, index: usize) {
        self.processes[index].kill().unwrap();
        self.processes[index].wait().unwrap();
    }

    /// Stops one member without ending it: its connections stay, and nothing answers.
    pub(crate) fn pause(&self, index: usize) {
        self.signal(index, "-STOP");
    }

    /// Lets a paused member go on.
    pub(crate) fn resume(&self, index: usize) {
        self.signal(index, "-CONT");
    }

    /// Waits until the log of a member has `text` `times` times.
    pub(crate) fn wait_for_log(&self, index: usize, text: &str, times: usize) {
        let deadline = Instant::now() + UNTIL_SERVING;
        while self.log(index).matches(text).count() < times {
            assert!(Instant::now() < deadline, "{text:?} is not {times} times in {}", self.log(index));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How often the log of a member has `text`.
    pub(crate) fn in_log(&self, index: usize, text: &str) -> usize {
        self.log(index).matches(text).count()
    }

    fn log(&self, index: usize) -> String {
        let file = self.directory.join((index + 1).to_string()).join("system.log");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    fn wait_until_serving(&mut self) {
        let deadline = Instant::now() + UNTIL_SERVING;
        for index in 0..self.members.len() {
            while !serves(self.members[index].address) {
                if let Some(status) = self.processes[index].try_wait().unwrap() {
                    panic!("a member has ended with {status}: {}", self.output(index));
                }
                assert!(Instant::now() < deadline, "a member does not serve: {}", self.output(index));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        // Members that serve may not have heard of each other yet.
        for index in 0..self.members.len() {
            for other in self.members.iter().enumerate().filter(|(other, _)| *other != index) {
                self.wait_for_log(index, &format!("{}:17000 is now UP", other.1.address.ip()), 1);
            }
        }
    }

    /// The end of what a member has written.
    fn output(&self, index: usize) -> String {
        let file = self.directory.join((index + 1).to_string()).join("output");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        written.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    #[expect(clippy::disallowed_methods, reason = "std has no signals but the one that kills")]
    fn signal(&self, index: usize, signal: &str) {
        let id = self.processes[index].id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for CassandraCluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // A member that a test has ended already cannot be ended again.
            drop(process.kill());
            drop(process.wait());
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn serves(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// The script becomes the member, so that the child's id is the member's. A member ends with this process, even
/// if that is killed and drops nothing.
#[expect(clippy::disallowed_methods, reason = "a test against a real Cassandra has to start it")]
fn start_member(number: usize, folder: &Path, lines: &[&str]) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/cassandra.sh");
    std::fs::create_dir_all(folder).unwrap();
    let output = std::fs::File::create(folder.join("output")).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(script);
    command.arg("node").arg(number.to_string()).arg(folder).args(lines);
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    command.spawn().unwrap()
}
