//! The driver `redis` against a real Redis: a master and a replica.

use std::time::Duration;

use faultd_plugin_host::{ClientOptions, DriverClient, Failure, Member, MemberRole, Operation, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::{
    client, count, impatient, is_connection, options, read, refused, server_words, until, with_settings,
    write,
};
use crate::etcd_cluster::free_addresses;
use crate::redis_server::RedisServer;
use crate::servers::{answering, member};

async fn redis(members: &[Member], settings: &[(&str, &str)]) -> DriverClient {
    client("redis", with_settings(options(members), settings)).await
}

/// A master, a replica, and their members in this order.
fn pair() -> (RedisServer, RedisServer, Vec<Member>) {
    let master = RedisServer::start("first", &[]);
    let replica = RedisServer::replica_of(&master, "second");
    let members = vec![master.member.clone(), replica.member.clone()];
    (master, replica, members)
}

fn roles_are(wanted: [Role; 2]) -> impl Fn(&[MemberRole]) -> bool {
    move |roles| roles.iter().map(|member| member.role).eq(wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_set_and_read_and_kinds_are_told() {
    let server = RedisServer::start("alone", &[]);
    for value_bytes in [0, 64, 300_000] {
        let given = ClientOptions { value_bytes, ..options(std::slice::from_ref(&server.member)) };
        let mut client = client("redis", given).await;
        client.prepare().await.unwrap();
        for (reads, kind) in [(true, "get"), (false, "set"), (true, "get")] {
            let outcome = client.operate(Operation { key: 42, reads }).await.unwrap();
            assert_eq!((&*outcome.operation, outcome.failure), (kind, None));
        }
        assert_eq!(server.ask("STRLEN faultd:000000000042"), format!(":{value_bytes}"));
    }
    let statistics = server.ask("INFO stats");
    let (_, connections) = statistics.split_once("total_connections_received:").unwrap();
    let connections: u32 = connections.lines().next().unwrap().parse().unwrap();
    assert!(connections < 20, "{connections} connections for three clients and the questions of this test");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_filled_is_there_and_cleaning_takes_nothing_else() {
    let (master, replica, members) = pair();
    assert_eq!(master.ask("SET mine 1"), "+OK");
    let mut client = redis(&members, &[]).await;
    // More than one step of a scan finds.
    for first in [0, 3_000, 6_000, 9_000] {
        client.fill(first, 3_000).await.unwrap();
    }
    assert_eq!(master.ask("DBSIZE"), ":12001");
    client.clean().await.unwrap();
    assert_eq!([master.ask("DBSIZE"), master.ask("GET mine")], [":1", "1"]);
    client.clean().await.unwrap();
    drop(replica);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_thousand_keys_are_cleaned_within_the_limits_of_one_call() {
    let server = RedisServer::start("alone", &["--enable-debug-command", "yes"]);
    assert_eq!(server.ask("DEBUG POPULATE 300000 faultd 8"), "+OK");
    redis(std::slice::from_ref(&server.member), &[]).await.clean().await.unwrap();
    assert_eq!(server.ask("DBSIZE"), ":0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleaning_finds_the_master_whoever_serves_the_client() {
    let (master, _replica, mut members) = pair();
    redis(&members, &[]).await.fill(0, 10).await.unwrap();
    members.reverse();
    redis(&members, &[]).await.clean().await.unwrap();
    assert_eq!(master.ask("DBSIZE"), ":0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_follow_a_failover() {
    let (mut master, replica, members) = pair();
    let mut client = redis(&members, &[]).await;
    until(&mut client, roles_are([Role::Leader, Role::Follower])).await;
    master.kill();
    until(&mut client, roles_are([Role::Unknown, Role::Follower])).await;
    let nowhere = client.clean().await.unwrap_err().to_string();
    assert!(nowhere.contains("no member says that it is a master"), "{nowhere}");
    assert_eq!(replica.ask("REPLICAOF NO ONE"), "+OK");
    until(&mut client, roles_are([Role::Unknown, Role::Leader])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_serves_reads_and_the_failure_of_a_write_says_what_to_do() {
    let (_master, _replica, members) = pair();
    let mut client = client("redis", ClientOptions { serving: 1, ..options(&members) }).await;
    for _ in 0..2 {
        let words = server_words(write(&mut client, 1).await);
        assert!(words.contains("--via leader") && words.contains("READONLY"), "{words}");
        assert_eq!(read(&mut client, 1).await, None, "the connection is still good");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_with_a_member_that_comes_back() {
    let mut server = RedisServer::start("alone", &[]);
    let mut client = redis(&[server.member.clone()], &[]).await;
    assert_eq!(write(&mut client, 1).await, None);
    server.kill();
    for _ in 0..2 {
        let failure = write(&mut client, 1).await;
        assert!(is_connection(failure.as_ref()), "{failure:?}");
    }
    server.start_again();
    assert_eq!(write(&mut client, 1).await, None);
    assert_eq!(server.ask("DBSIZE"), ":1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_and_a_database_are_said_on_each_connection() {
    let server = RedisServer::start("alone", &["--requirepass", "secret"]);
    let members = [server.member.clone()];
    let mut without = redis(&members, &[]).await;
    assert!(server_words(write(&mut without, 1).await).starts_with("NOAUTH"));
    assert_eq!(count(&without.roles().await.unwrap(), Role::Unknown), 1);
    let mut wrong = redis(&members, &[("password", "wrong")]).await;
    assert!(server_words(write(&mut wrong, 1).await).starts_with("WRONGPASS"));
    let mut nowhere = redis(&members, &[("password", "secret"), ("database", "99")]).await;
    assert!(server_words(write(&mut nowhere, 1).await).contains("index"));
    let right = [("user", "default"), ("password", "secret"), ("database", "3")];
    let mut right = redis(&members, &right).await;
    assert_eq!([write(&mut right, 1).await, read(&mut right, 1).await], [None, None]);
    assert_eq!(count(&right.roles().await.unwrap(), Role::Leader), 1);
    let mut other = redis(&members, &[("password", "secret")]).await;
    other.fill(0, 5).await.unwrap();
    right.clean().await.unwrap();
    // Only database 3 was cleaned.
    other.clean().await.unwrap();
}

#[tokio::test]
async fn errors_keep_the_connection_and_what_is_no_redis_does_not() {
    let (loading, accepted) = answering(b"-LOADING Redis is loading\r\n", usize::MAX).await;
    let mut client1 = redis(&[loading], &[]).await;
    for key in 0..3 {
        assert_eq!(server_words(read(&mut client1, key).await), "LOADING Redis is loading");
    }
    assert_eq!(accepted.count(), 1);
    for strange in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b":1\r\n", b"$99999999999\r\n"] {
        let (strange, accepted) = answering(strange, usize::MAX).await;
        let mut client2 = redis(&[strange], &[]).await;
        for key in 0..2 {
            server_words(read(&mut client2, key).await);
        }
        assert_eq!(accepted.count(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next() {
    // The first answer takes longer than an operation may, the others come at once.
    let (late, accepted) = member(move |mut stream| async move {
        let mut request = [0; 4096];
        let mut wait = Duration::from_millis(300);
        while let Ok(1..) = stream.read(&mut request).await {
            tokio::time::sleep(std::mem::take(&mut wait)).await;
            if stream.write_all(b"+OK\r\n").await.is_err() {
                return;
            }
        }
    })
    .await;
    let mut client = client("redis", impatient(options(&[late]))).await;
    for _ in 0..2 {
        assert_eq!(write(&mut client, 1).await, Some(Failure::Timeout));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(accepted.count(), 2);
}

#[tokio::test]
async fn settings_that_are_wrong_are_refused_in_one_line() {
    let given = options(&[Member { name: "nobody".to_owned(), address: free_addresses(1)[0] }]);
    let user = refused("redis", with_settings(given.clone(), &[("user", "u")])).await;
    assert_eq!(user, "plugin redis cannot start: setting user needs the setting password");
    let unknown = refused("redis", with_settings(given, &[("passwort", "x")])).await;
    assert!(unknown.contains("known are user, password, database"), "{unknown}");
}
