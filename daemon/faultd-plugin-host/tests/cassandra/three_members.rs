//! Three members, three copies: what each level of consistency makes of members that are gone or stand still.

use std::time::Duration;

use faultd_plugin_host::{DriverClient, Failure, Role};

use crate::clients::{KEYS, Plugin, is_server, read, write};
use crate::cluster::CassandraCluster;

/// All levels that need no more than three replicas.
const LEVELS: [&str; 8] = ["any", "one", "two", "three", "quorum", "all", "local_quorum", "local_one"];

/// One cluster for all of it: it takes a minute to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "optional: needs a Cassandra, which `make test-cassandra` fetches"]
async fn a_run_on_three_members_from_prepare_to_clean() {
    let mut cluster = CassandraCluster::start(3, &[]);
    let plugin = Plugin::load();
    before_prepare(&plugin, &cluster).await;
    let mut clients = prepared_and_filled(&plugin, &cluster).await;
    all_levels(&plugin, &cluster).await;
    a_statement_is_forgotten(&mut clients).await;
    a_member_stands_still(&plugin, &cluster).await;
    a_member_is_killed(&plugin, &mut cluster).await;
    cleaned(&plugin, &cluster, &mut clients).await;
}

/// Nothing is there, which is told in Cassandra's words; the same client is fine later.
async fn before_prepare(plugin: &Plugin, cluster: &CassandraCluster) {
    let mut client = plugin.client(&cluster.members, 0, &[]).await;
    let refused = write(&mut client, 1).await;
    assert!(is_server(&refused, "Invalid"), "{refused:?}");
    client.prepare().await.unwrap();
    write(&mut client, 1).await.unwrap();
    client.clean().await.unwrap();
}

/// A client on each member, each of which can read all keys right away.
async fn prepared_and_filled(plugin: &Plugin, cluster: &CassandraCluster) -> Vec<DriverClient> {
    let mut clients = Vec::new();
    for serving in 0..3 {
        clients.push(plugin.client(&cluster.members, serving, &["consistency=quorum"]).await);
    }
    clients[1].prepare().await.unwrap();
    // An earlier run may have left everything behind.
    clients[2].prepare().await.unwrap();
    clients[0].fill(0, KEYS / 2).await.unwrap();
    clients[2].fill(KEYS / 2, KEYS - KEYS / 2).await.unwrap();
    for client in &mut clients {
        for key in 0..KEYS {
            read(client, key).await.unwrap();
        }
        let roles = client.roles().await.unwrap();
        assert_eq!(roles.iter().map(|member| member.role).collect::<Vec<_>>(), [Role::Unknown; 3]);
    }
    assert_eq!(plugin.log(), "");
    clients
}

async fn all_levels(plugin: &Plugin, cluster: &CassandraCluster) {
    for level in LEVELS {
        let mut client = plugin.client(&cluster.members, 0, &[&format!("consistency={level}")]).await;
        for key in 0..20 {
            write(&mut client, key).await.unwrap_or_else(|failure| panic!("{level}: {failure}"));
            read(&mut client, key).await.unwrap_or_else(|failure| panic!("{level}: {failure}"));
        }
    }
}

/// Another client makes the table anew, and the members forget what was prepared for the old one.
async fn a_statement_is_forgotten(clients: &mut [DriverClient]) {
    clients[0].clean().await.unwrap();
    clients[0].prepare().await.unwrap();
    for client in clients {
        write(client, 1).await.unwrap();
        read(client, 1).await.unwrap();
    }
}

/// The coordinator waits for a replica that is still thought to be alive, and says so; a client of the member
/// itself hears nothing at all. Both are fine again after it.
async fn a_member_stands_still(plugin: &Plugin, cluster: &CassandraCluster) {
    let mut all = plugin.client(&cluster.members, 0, &["consistency=all"]).await;
    let mut quorum = plugin.client(&cluster.members, 0, &["consistency=quorum"]).await;
    let mut its_own = plugin.client(&cluster.members, 2, &[]).await;
    for client in [&mut all, &mut quorum, &mut its_own] {
        write(client, 1).await.unwrap();
    }
    cluster.pause(2);
    let timed_out = write(&mut all, 1).await;
    assert!(is_server(&timed_out, "WriteTimeout"), "{timed_out:?}");
    let timed_out = read(&mut all, 1).await;
    assert!(is_server(&timed_out, "ReadTimeout") || is_server(&timed_out, "Unavailable"), "{timed_out:?}");
    assert_eq!(write(&mut quorum, 1).await, Ok(()));
    assert_eq!(read(&mut quorum, 1).await, Ok(()));
    assert_eq!(read(&mut its_own, 1).await, Err(Failure::Timeout));
    cluster.resume(2);
    until_it_succeeds(&mut all).await;
    until_it_succeeds(&mut its_own).await;
}

async fn until_it_succeeds(client: &mut DriverClient) {
    for _ in 0..150 {
        if write(client, 1).await.is_ok() && read(client, 1).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("operations fail though all members are there again: {:?}", write(client, 1).await);
}

/// Two of three replicas are a quorum and not all, and the coordinator knows that at once.
async fn a_member_is_killed(plugin: &Plugin, cluster: &mut CassandraCluster) {
    let mut its_own = plugin.client(&cluster.members, 2, &[]).await;
    write(&mut its_own, 1).await.unwrap();
    let address = cluster.members[2].address.ip();
    let is_down = format!("{address}:17000 is now DOWN");
    let before = cluster.in_log(0, &is_down);
    cluster.kill(2);
    let broken = write(&mut its_own, 1).await;
    assert!(matches!(broken, Err(Failure::Connection(_))), "{broken:?}");
    cluster.wait_for_log(0, &is_down, before + 1);
    let mut all = plugin.client(&cluster.members, 0, &["consistency=all"]).await;
    let mut quorum = plugin.client(&cluster.members, 0, &["consistency=quorum"]).await;
    for key in 0..20 {
        let refused = [write(&mut all, key).await, read(&mut all, key).await];
        let said = |refusal| is_server(refusal, "Unavailable");
        assert!(refused.iter().all(said), "{refused:?}");
        assert_eq!(write(&mut quorum, key).await, Ok(()));
        assert_eq!(read(&mut quorum, key).await, Ok(()));
    }
    assert!(matches!(&refused_text(&mut all).await, text if text.ends_with("(2 of 3 replicas are alive)")));
    // The next run begins while a member is down: it is not waited for.
    quorum.prepare().await.unwrap();
    assert!(plugin.log().contains("member 2 is not waited for: connection failed"), "{}", plugin.log());
}

async fn refused_text(client: &mut DriverClient) -> String {
    match write(client, 1).await {
        Err(Failure::Server(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The keyspace is gone, and cleaning once more is no error.
async fn cleaned(plugin: &Plugin, cluster: &CassandraCluster, clients: &mut [DriverClient]) {
    clients[0].clean().await.unwrap();
    clients[1].clean().await.unwrap();
    let mut client = plugin.client(&cluster.members, 0, &[]).await;
    for client in [&mut client, &mut clients[0]] {
        let gone = write(client, 1).await;
        assert!(
            matches!(&gone, Err(Failure::Server(text)) if text.contains("keyspace faultd does not exist")),
            "{gone:?}"
        );
    }
}
