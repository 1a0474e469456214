//! Clients of the drivers that ship, and what tests do with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultd_plugin_host::{
    ClientOptions, ConnectFuture, Connector, DriverClient, DriverPlugin, Failure, Member, MemberRole,
    Operation, PluginEngine, Role,
};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::built::shipped;

/// Connects as any program does.
pub(crate) struct Loopback;

impl Connector for Loopback {
    fn connect(&self, address: SocketAddr) -> ConnectFuture {
        Box::pin(TcpStream::connect(address))
    }
}

pub(crate) fn options(members: &[Member]) -> ClientOptions {
    ClientOptions {
        members: members.to_vec(),
        serving: 0,
        keys: 100,
        value_bytes: 64,
        settings: Vec::new(),
        seed: 1,
        operation_timeout: Duration::from_secs(2),
        connector: Arc::new(Loopback),
    }
}

/// The options with settings of the plugin.
pub(crate) fn with_settings(options: ClientOptions, settings: &[(&str, &str)]) -> ClientOptions {
    let owned = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ClientOptions { settings: owned.collect(), ..options }
}

/// The options of a client that does not wait long.
pub(crate) fn impatient(options: ClientOptions) -> ClientOptions {
    ClientOptions { operation_timeout: Duration::from_millis(100), ..options }
}

/// A driver that ships.
pub(crate) fn driver(name: &str) -> DriverPlugin {
    PluginEngine::new().unwrap().load_driver(name, &shipped(name)).unwrap()
}

/// One client of a driver that ships.
pub(crate) async fn client(name: &str, options: ClientOptions) -> DriverClient {
    driver(name).client(options).await.unwrap()
}

/// What a driver says to settings that it does not take.
pub(crate) async fn refused(name: &str, options: ClientOptions) -> String {
    let refusal = driver(name).client(options).await.err().unwrap().to_string();
    assert!(!refusal.contains('\n'), "{refusal}");
    refusal
}

pub(crate) async fn read(client: &mut DriverClient, key: u64) -> Option<Failure> {
    client.operate(Operation { key, reads: true }).await.unwrap().failure
}

pub(crate) async fn write(client: &mut DriverClient, key: u64) -> Option<Failure> {
    client.operate(Operation { key, reads: false }).await.unwrap().failure
}

/// The words of a failure that the member itself has told.
pub(crate) fn server_words(failure: Option<Failure>) -> String {
    match failure {
        Some(Failure::Server(words)) => words,
        other => panic!("not a failure of the server: {other:?}"),
    }
}

pub(crate) fn is_connection(failure: Option<&Failure>) -> bool {
    matches!(failure, Some(Failure::Connection(_)))
}

/// Waits, within 20 s, until the roles are as wanted.
pub(crate) async fn until(
    client: &mut DriverClient,
    wanted: impl Fn(&[MemberRole]) -> bool,
) -> Vec<MemberRole> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let roles = client.roles().await.unwrap();
        if wanted(&roles) {
            return roles;
        }
        assert!(Instant::now() < deadline, "the roles are {roles:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn count(roles: &[MemberRole], role: Role) -> usize {
    roles.iter().filter(|member| member.role == role).count()
}
