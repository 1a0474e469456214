//! The driver `etcd-kv` against a real etcd, over both of its transports.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use faultd_plugin_host::{ClientOptions, DriverClient, Failure, Member, MemberRole, Operation, Role};
use tokio::net::TcpStream;

use crate::clients::{
    client, count, is_connection, options, read, refused, server_words, until, with_settings, write,
};
use crate::etcd_cluster::{EtcdCluster, free_addresses};
use crate::servers::{Answer, http2_member};

const TRANSPORTS: [&str; 2] = ["grpc", "gateway"];

/// Patient, since a disk that others use as well may hold etcd up for seconds.
fn through(transport: &str, members: &[Member]) -> ClientOptions {
    let patient = ClientOptions { operation_timeout: Duration::from_secs(5), ..options(members) };
    with_settings(patient, &[("transport", transport)])
}

/// One member that leads, and a client of it.
async fn alone(transport: &str) -> (EtcdCluster, DriverClient) {
    let cluster = EtcdCluster::start(1);
    let mut client = client("etcd-kv", through(transport, &cluster.members)).await;
    until(&mut client, |roles| count(roles, Role::Leader) == 1).await;
    (cluster, client)
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
    // A count of 0 is left out.
    body["count"].as_str().map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_operations_succeeds_and_is_counted_by_kind() {
    for transport in TRANSPORTS {
        let (cluster, mut client) = alone(transport).await;
        client.prepare().await.unwrap();
        let mut kinds: HashMap<Arc<str>, u32> = HashMap::new();
        for number in 0..100 {
            let operation = Operation { key: number / 2, reads: number % 2 == 1 };
            let outcome = client.operate(operation).await.unwrap();
            assert_eq!(outcome.failure, None, "{transport}");
            *kinds.entry(outcome.operation).or_default() += 1;
        }
        assert_eq!(kinds, HashMap::from([("put".into(), 50), ("get".into(), 50)]), "{transport}");
        assert_eq!(keys_in(&cluster.members[0]).await, 50, "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_filled_is_there_and_is_gone_when_cleaned() {
    for transport in TRANSPORTS {
        let (cluster, mut client) = alone(transport).await;
        client.fill(10, 30).await.unwrap();
        assert_eq!(keys_in(&cluster.members[0]).await, 30, "{transport}");
        // A key of another run, beyond the number of keys of this one.
        assert_eq!(write(&mut client, 1_000_000).await, None);
        client.clean().await.unwrap();
        assert_eq!(keys_in(&cluster.members[0]).await, 0, "{transport}");
        client.clean().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_told_also_when_the_leader_dies() {
    for transport in TRANSPORTS {
        let mut cluster = EtcdCluster::start(3);
        let mut client = client("etcd-kv", through(transport, &cluster.members)).await;
        let followers = |wanted| {
            move |roles: &[MemberRole]| {
                count(roles, Role::Leader) == 1 && count(roles, Role::Follower) == wanted
            }
        };
        let roles = until(&mut client, followers(2)).await;
        let leader = roles.iter().position(|member| member.role == Role::Leader).unwrap();
        cluster.kill(leader);
        let roles = until(&mut client, followers(1)).await;
        let dead = MemberRole { member: format!("etcd{leader}"), role: Role::Unknown };
        assert_eq!(roles[leader], dead, "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_a_majority_serves_serializable_reads_alone() {
    let mut cluster = EtcdCluster::start(3);
    let members = cluster.members.clone();
    let mut linearizable = client("etcd-kv", through("grpc", &members)).await;
    until(&mut linearizable, |roles| count(roles, Role::Leader) + count(roles, Role::Follower) == 3).await;
    assert_eq!(write(&mut linearizable, 0).await, None);
    cluster.kill(1);
    cluster.kill(2);
    assert!(read(&mut linearizable, 0).await.is_some());
    for transport in TRANSPORTS {
        let settings = [("transport", transport), ("serializable", "true")];
        let mut serializable = client("etcd-kv", with_settings(options(&members), &settings)).await;
        assert_eq!(read(&mut serializable, 0).await, None, "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_on_a_member_that_died_is_a_connection_failure() {
    for transport in TRANSPORTS {
        let (mut cluster, mut client) = alone(transport).await;
        assert_eq!(write(&mut client, 1).await, None);
        cluster.kill(0);
        for _ in 0..2 {
            let failure = write(&mut client, 1).await;
            assert!(is_connection(failure.as_ref()), "{transport}: {failure:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_etcd_is_told_in_its_own_words_and_the_next_operation_succeeds() {
    for transport in TRANSPORTS {
        let (cluster, mut small) = alone(transport).await;
        // Larger than etcd takes, not larger than its gRPC takes.
        let value_bytes = 1_600 << 10;
        let mut large =
            client("etcd-kv", ClientOptions { value_bytes, ..through(transport, &cluster.members) }).await;
        let words = server_words(write(&mut large, 1).await);
        assert_eq!(words, "etcdserver: request is too large", "{transport}");
        let said = large.fill(7, 1).await.unwrap_err().to_string();
        assert_eq!(said, "plugin etcd-kv cannot fill: key 7: etcdserver: request is too large");
        assert_eq!([read(&mut large, 1).await, write(&mut small, 1).await], [None, None]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_errors_are_understood_in_trailers_and_without_a_body() {
    const NO_LEADER: &[(&str, &str)] = &[("grpc-status", "14"), ("grpc-message", "etcdserver: no%20leader")];
    let in_headers = Answer { headers: NO_LEADER, ..Answer::default() };
    let in_trailers = Answer { trailers: NO_LEADER, ..Answer::default() };
    for answer in [in_headers, in_trailers] {
        let (member, accepted) = http2_member(answer).await;
        let mut client = client("etcd-kv", options(&[member])).await;
        for _ in 0..3 {
            assert_eq!(server_words(write(&mut client, 1).await), "etcdserver: no leader");
        }
        assert_eq!(count(&client.roles().await.unwrap(), Role::Unknown), 1);
        assert_eq!(accepted.count(), 1, "an error in an answer is no reason for a new connection");
    }
    let (member, _) = http2_member(Answer { status: 503, ..Answer::default() }).await;
    let mut client = client("etcd-kv", options(&[member])).await;
    assert_eq!(server_words(read(&mut client, 1).await), "status 503");
}

#[tokio::test]
async fn settings_that_are_wrong_are_refused_in_one_line() {
    let member = Member { name: "nobody".to_owned(), address: free_addresses(1)[0] };
    let given = options(&[member]);
    let with = |name: &str, value: &str| with_settings(given.clone(), &[(name, value)]);
    assert_eq!(
        refused("etcd-kv", with("serialisable", "true")).await,
        r#"plugin etcd-kv does not take that: unknown setting "serialisable": known are transport, serializable"#
    );
    let value = refused("etcd-kv", with("serializable", "yes")).await;
    assert!(value.contains("true or false"), "{value}");
    let transport = refused("etcd-kv", with("transport", "http")).await;
    assert!(transport.contains("grpc or gateway"), "{transport}");
}

#[tokio::test]
async fn a_cluster_that_is_down_has_no_roles_and_that_is_no_error() {
    let members = [Member { name: "nobody".to_owned(), address: free_addresses(1)[0] }];
    for transport in TRANSPORTS {
        let mut client = client("etcd-kv", through(transport, &members)).await;
        assert_eq!(count(&client.roles().await.unwrap(), Role::Unknown), 1);
        let cleaned = client.clean().await.unwrap_err().to_string();
        assert!(cleaned.contains("cannot clean: connection failed"), "{cleaned}");
        assert!(matches!(read(&mut client, 1).await, Some(Failure::Connection(_))));
    }
}
