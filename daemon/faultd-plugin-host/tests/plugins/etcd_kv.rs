//! The driver `etcd-kv` against a real etcd.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultd_plugin_host::{
    ClientOptions, ConnectFuture, Connector, DriverClient, DriverPlugin, Failure, Member, MemberRole,
    PluginEngine, Role,
};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::built::shipped;
use crate::etcd_cluster::{EtcdCluster, free_addresses};

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
        key_space: 100,
        value_bytes: 64,
        read_share: 0.5,
        settings: Vec::new(),
        seed: 1,
        request_timeout: Duration::from_secs(2),
        connector: Arc::new(Loopback),
    }
}

pub(crate) fn etcd_kv() -> DriverPlugin {
    PluginEngine::new().unwrap().load_driver("etcd-kv", &shipped("etcd-kv")).unwrap()
}

/// Waits, within 20 s, until the roles are as wanted.
async fn until(client: &mut DriverClient, wanted: impl Fn(&[MemberRole]) -> bool) -> Vec<MemberRole> {
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

fn count(roles: &[MemberRole], role: Role) -> usize {
    roles.iter().filter(|member| member.role == role).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_operations_succeeds_and_is_counted_by_kind() {
    let cluster = EtcdCluster::start(1);
    let mut client = etcd_kv().client(options(&cluster.members)).await.unwrap();
    until(&mut client, |roles| count(roles, Role::Leader) == 1).await;
    let mut kinds: HashMap<Arc<str>, u32> = HashMap::new();
    for _ in 0..100 {
        let outcome = client.operate().await.unwrap();
        assert_eq!(outcome.failure, None);
        *kinds.entry(outcome.operation).or_default() += 1;
    }
    assert!(kinds["put"] > 20 && kinds["get"] > 20, "{kinds:?}");
    assert!(keys_in(&cluster.members[0]).await > 10);
}

/// How many keys of the driver etcd has, by a request of our own.
async fn keys_in(member: &Member) -> u64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(member.address).await.unwrap();
    // All keys from `faultd/` to `faultd0`, in base64.
    let body = r#"{"key":"ZmF1bHRkLw==","range_end":"ZmF1bHRkMA==","count_only":true}"#;
    let head = format!("POST /v3/kv/range HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["count"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_told_also_when_the_leader_dies() {
    let mut cluster = EtcdCluster::start(3);
    let mut client = etcd_kv().client(options(&cluster.members)).await.unwrap();
    let settled = |roles: &[MemberRole]| count(roles, Role::Leader) == 1 && count(roles, Role::Follower) == 2;
    let roles = until(&mut client, settled).await;
    let leader = roles.iter().position(|member| member.role == Role::Leader).unwrap();
    cluster.kill(leader);
    let settled = |roles: &[MemberRole]| count(roles, Role::Leader) == 1 && count(roles, Role::Follower) == 1;
    let roles = until(&mut client, settled).await;
    assert_eq!(roles[leader], MemberRole { member: format!("etcd{leader}"), role: Role::Unknown });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_on_a_member_that_died_is_a_connection_failure() {
    let mut cluster = EtcdCluster::start(1);
    let mut client = etcd_kv().client(options(&cluster.members)).await.unwrap();
    until(&mut client, |roles| count(roles, Role::Leader) == 1).await;
    assert_eq!(client.operate().await.unwrap().failure, None);
    cluster.kill(0);
    for _ in 0..2 {
        let failure = client.operate().await.unwrap().failure;
        assert!(matches!(failure, Some(Failure::Connection(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn settings_that_are_wrong_are_refused_in_one_line() {
    let member = Member { name: "nobody".to_owned(), address: free_addresses(1)[0] };
    let plugin = etcd_kv();
    let setting = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let refused = async |change: ClientOptions| plugin.client(change).await.err().unwrap().to_string();
    let given = options(&[member]);
    let unknown = refused(ClientOptions { settings: setting("serialisable", "true"), ..given.clone() }).await;
    assert_eq!(
        unknown,
        r#"plugin etcd-kv cannot start: unknown setting "serialisable": known are serializable"#
    );
    let value = refused(ClientOptions { settings: setting("serializable", "yes"), ..given.clone() }).await;
    assert!(value.contains("true or false"), "{value}");
    let share = refused(ClientOptions { read_share: 1.5, ..given.clone() }).await;
    assert!(share.contains("0.0 to 1.0"), "{share}");
    // Nobody answers, so nothing is known; that is not an error.
    let mut client = plugin.client(given).await.unwrap();
    assert_eq!(count(&client.roles().await.unwrap(), Role::Unknown), 1);
}
