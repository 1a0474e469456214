//! A real Redis on loopback, with a port and a folder of its own, gone when it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use faultd_plugin_host::Member;

use crate::etcd_cluster::free_addresses;

/// One server. Dropping it ends it and removes its folder, also when a test panics.
pub(crate) struct RedisServer {
    pub(crate) member: Member,
    directory: PathBuf,
    arguments: Vec<String>,
    process: Child,
}

impl RedisServer {
    /// A server with further arguments, which answers already.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("faultd-plugin-host-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let member = Member { name: name.to_owned(), address: free_addresses(1)[0] };
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = start_process(member.address, &directory, &arguments);
        let server = Self { member, directory, arguments, process };
        server.wait_until_it_answers();
        server
    }

    /// A server that copies another one.
    pub(crate) fn replica_of(master: &Self, name: &str) -> Self {
        let port = master.member.address.port().to_string();
        let replica = Self::start(name, &["--replicaof", "127.0.0.1", &port]);
        let up = || replica.ask("INFO replication").contains("master_link_status:up");
        wait("the replica does not follow", up);
        replica
    }

    /// Ends it.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after it was ended, on the same port and without its keys.
    pub(crate) fn start_again(&mut self) {
        self.process = start_process(self.member.address, &self.directory, &self.arguments);
        self.wait_until_it_answers();
    }

    /// The reply to a command without arguments that hold spaces; of arrays only the first line.
    pub(crate) fn ask(&self, command: &str) -> String {
        self.try_to_ask(command).unwrap()
    }

    fn try_to_ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.member.address)?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        let Some(length) = line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) else {
            return Ok(line.to_owned());
        };
        let mut value = vec![0; length];
        reader.read_exact(&mut value)?;
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    fn wait_until_it_answers(&self) {
        wait("Redis does not answer", || self.try_to_ask("PING").is_ok_and(|reply| !reply.is_empty()));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A server that a test has ended already cannot be ended again.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn wait(problem: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{problem}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test against a real Redis has to start it")]
fn start_process(address: SocketAddr, directory: &PathBuf, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.arg("--dir").arg(directory).args(["--save", "", "--repl-diskless-sync-delay", "0"]);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start redis-server (package redis-server): {error}"))
}
