//! Clients of a cluster, and what becomes of their operations.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faultd_plugin_host::{
    ClientOptions, ConnectFuture, Connector, DriverClient, DriverPlugin, Failure, LogLevel, Member,
    Operation, PluginEngine,
};
use tokio::net::TcpStream;

/// How many keys there are.
pub(crate) const KEYS: u64 = 500;

/// Connects as any program does.
struct Loopback;

impl Connector for Loopback {
    fn connect(&self, address: SocketAddr) -> ConnectFuture {
        Box::pin(TcpStream::connect(address))
    }
}

/// The component that `cargo xtask plugins` has built, and what it logs.
pub(crate) struct Plugin {
    plugin: DriverPlugin,
    log: Arc<Mutex<Vec<String>>>,
}

impl Plugin {
    pub(crate) fn load() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins/cassandra-cql.wasm");
        let component = std::fs::read(&file).unwrap_or_else(|error| {
            panic!("{}: {error}: run `cargo xtask plugins` first, which builds it", file.display())
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let sink = move |_: LogLevel, line: &str| lines.lock().unwrap().push(line.to_owned());
        let plugin = PluginEngine::new().unwrap().load_driver("cassandra-cql", &component).unwrap();
        Self { plugin: plugin.with_log(Arc::new(sink)), log }
    }

    /// A client with the given settings, as `name=value`.
    pub(crate) async fn client(&self, members: &[Member], serving: usize, settings: &[&str]) -> DriverClient {
        let pair = |setting: &&str| {
            let (name, value) = setting.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let options = ClientOptions {
            members: members.to_vec(),
            serving,
            keys: KEYS,
            value_bytes: 256,
            settings: settings.iter().map(pair).collect(),
            seed: 1,
            // More than the 5 s of a range and the 2 s of a write after which a coordinator gives up.
            operation_timeout: Duration::from_secs(6),
            connector: Arc::new(Loopback),
        };
        self.plugin.client(options).await.unwrap()
    }

    /// What its clients have logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

/// Writes one key.
pub(crate) async fn write(client: &mut DriverClient, key: u64) -> Result<(), Failure> {
    operate(client, key, false).await
}

/// Reads one key.
pub(crate) async fn read(client: &mut DriverClient, key: u64) -> Result<(), Failure> {
    operate(client, key, true).await
}

async fn operate(client: &mut DriverClient, key: u64, reads: bool) -> Result<(), Failure> {
    let outcome = client.operate(Operation { key, reads }).await.unwrap();
    assert_eq!(&*outcome.operation, if reads { "read" } else { "write" });
    outcome.failure.map_or(Ok(()), Err)
}

/// Whether a failure is one of the server that begins with a name.
pub(crate) fn is_server(result: &Result<(), Failure>, name: &str) -> bool {
    matches!(result, Err(Failure::Server(text)) if text.starts_with(&format!("{name}: ")))
}
