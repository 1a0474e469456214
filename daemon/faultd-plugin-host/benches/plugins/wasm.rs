//! The driver `etcd-kv` as a run plays it: one instance a client, one put at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultd_plugin_host::{
    ClientOptions, ConnectFuture, Connector, DriverClient, DriverPlugin, Member, Operation, Role,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Done, KEYS, VALUE_BYTES, next_key};

struct Loopback;

impl Connector for Loopback {
    fn connect(&self, address: SocketAddr) -> ConnectFuture {
        Box::pin(TcpStream::connect(address))
    }
}

fn options(members: &[Member], seed: u64) -> ClientOptions {
    ClientOptions {
        members: members.to_vec(),
        serving: 0,
        keys: KEYS,
        value_bytes: VALUE_BYTES,
        settings: Vec::new(),
        seed,
        operation_timeout: Duration::from_secs(5),
        connector: Arc::new(Loopback),
    }
}

/// Waits, within 20 s, until etcd has a leader.
pub(crate) async fn wait_until_it_serves(plugin: &DriverPlugin, members: &[Member]) {
    let mut client = plugin.client(options(members, 0)).await.expect("a client");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let roles = client.roles().await.expect("roles");
        if roles.iter().any(|member| member.role == Role::Leader) {
            return;
        }
        assert!(Instant::now() < deadline, "etcd does not serve");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) struct Clients {
    idle: Vec<(DriverClient, u64)>,
}

impl Clients {
    pub(crate) async fn new(plugin: &DriverPlugin, members: &[Member], count: usize) -> Self {
        let mut idle = Vec::new();
        for number in 0..count as u64 {
            idle.push((plugin.client(options(members, number)).await.expect("a client"), number));
        }
        Self { idle }
    }

    pub(crate) async fn work(&mut self, turn: Duration) -> Done {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for (client, key) in self.idle.drain(..) {
            tasks.spawn(work(client, key, began + turn));
        }
        let mut latencies = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (client, key, its) = ended.expect("a client");
            self.idle.push((client, key));
            latencies.extend(its);
        }
        Done::of(latencies, began.elapsed())
    }
}

async fn work(mut client: DriverClient, mut key: u64, until: Instant) -> (DriverClient, u64, Vec<Duration>) {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        key = next_key(key);
        let began = Instant::now();
        let outcome = client.operate(Operation { key, reads: false }).await.expect("an operation");
        latencies.push(began.elapsed());
        assert_eq!(outcome.failure, None);
    }
    (client, key, latencies)
}
