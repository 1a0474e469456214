//! A real etcd on loopback, with a data directory and ports of its own, gone when it is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use faultd_plugin_host::Member;

/// Members of one cluster. Dropping it ends them and removes what they wrote, also when a test panics.
pub(crate) struct EtcdCluster {
    pub(crate) members: Vec<Member>,
    processes: Vec<Child>,
    directory: PathBuf,
}

impl EtcdCluster {
    pub(crate) fn start(count: usize) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("faultd-plugin-host-{}-{number}", std::process::id()));
        let (clients, peers) = (free_addresses(count), free_addresses(count));
        let names: Vec<String> = (0..count).map(|index| format!("etcd{index}")).collect();
        let initial = names.iter().zip(&peers).map(|(name, peer)| format!("{name}=http://{peer}"));
        let initial = initial.collect::<Vec<_>>().join(",");
        let mut cluster = Self { members: Vec::new(), processes: Vec::new(), directory };
        for ((name, address), peer) in names.into_iter().zip(clients).zip(peers) {
            let data = cluster.directory.join(&name);
            cluster.processes.push(start_member(&name, address, peer, &initial, &data));
            cluster.members.push(Member { name, address });
        }
        cluster
    }

    /// Ends one member.
    pub(crate) fn kill(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // A member that a test has ended already cannot be ended again.
            drop(process.kill());
            drop(process.wait());
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test against a real etcd has to start it")]
fn start_member(name: &str, client: SocketAddr, peer: SocketAddr, initial: &str, data: &PathBuf) -> Child {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(data).args(["--name", name, "--initial-cluster", initial]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("cannot start etcd (package etcd-server): {error}"))
}

/// Addresses on loopback that nobody uses, all different.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}
