//! A cluster that wants to know who asks.

use std::time::{Duration, Instant};

use faultd_plugin_host::Failure;

use crate::clients::{Plugin, is_server, read, write};
use crate::cluster::CassandraCluster;

const USER: &str = "user=cassandra";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "optional: needs a Cassandra, which `make test-cassandra` fetches"]
async fn a_client_with_the_right_password_is_let_in_and_no_other() {
    let lines = ["authenticator: PasswordAuthenticator", "authorizer: CassandraAuthorizer"];
    let cluster = CassandraCluster::start(1, &lines);
    let plugin = Plugin::load();
    let mut client = plugin.client(&cluster.members, 0, &[USER, "password=cassandra"]).await;
    // Its first user is made only after it serves.
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = client.prepare().await {
        assert!(error.to_string().contains("AuthenticationError"), "{error}");
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    write(&mut client, 1).await.unwrap();
    read(&mut client, 1).await.unwrap();

    let mut wrong = plugin.client(&cluster.members, 0, &[USER, "password=guess"]).await;
    let refused = write(&mut wrong, 1).await;
    assert!(is_server(&refused, "AuthenticationError"), "{refused:?}");
    let mut nobody = plugin.client(&cluster.members, 0, &[]).await;
    let refused = read(&mut nobody, 1).await;
    let said = "give the settings user and password";
    assert!(matches!(&refused, Err(Failure::Server(text)) if text.contains(said)), "{refused:?}");
    assert!(!plugin.log().contains("guess"));
    client.clean().await.unwrap();
}
