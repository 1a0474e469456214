//! The driver `tcp-echo` against servers that echo, and some that do not.

use faultd_plugin_host::{ClientOptions, DriverClient, Member, Operation, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::{
    client, count, is_connection, options, read, refused, server_words, with_settings, write,
};
use crate::servers::{Accepted, answering, member};

/// A server that echoes what comes, and closes after so many bytes.
async fn echo_server(closes_after: usize) -> (Member, Accepted) {
    member(move |mut stream| async move {
        let (mut buffer, mut left) = (vec![0; 16 << 10], closes_after);
        while left > 0 {
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            stream.write_all(&buffer[..count]).await.unwrap();
            left = left.saturating_sub(count);
        }
    })
    .await
}

async fn echo_client(member: Member, value_bytes: u32) -> DriverClient {
    client("tcp-echo", ClientOptions { value_bytes, ..options(&[member]) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_all_sizes_come_back_on_one_connection() {
    for value_bytes in [0, 1, 1024, 100_000, 4 << 20] {
        let (member, accepted) = echo_server(usize::MAX).await;
        let mut client = echo_client(member, value_bytes).await;
        for key in 0..5 {
            let outcome = client.operate(Operation { key, reads: false }).await.unwrap();
            assert_eq!((&*outcome.operation, outcome.failure), ("echo", None), "{value_bytes} bytes");
        }
        assert_eq!(read(&mut client, 1).await, None);
        assert_eq!(accepted.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_connection_is_made_after_a_failure() {
    // A message is 8 + 92 bytes.
    let (member, accepted) = echo_server(100).await;
    let mut client = echo_client(member, 92).await;
    assert_eq!(write(&mut client, 1).await, None);
    let failure = write(&mut client, 1).await;
    assert!(is_connection(failure.as_ref()), "{failure:?}");
    assert_eq!(write(&mut client, 1).await, None);
    assert_eq!(accepted.count(), 2);
}

#[tokio::test]
async fn something_else_is_a_failure_of_the_server() {
    let (member, accepted) = answering(&[b'x'; 72], usize::MAX).await;
    let mut client = echo_client(member, 64).await;
    for _ in 0..2 {
        let words = server_words(write(&mut client, 1).await);
        assert!(words.contains("from byte 0 on"), "{words}");
    }
    assert_eq!(accepted.count(), 2, "what else came is not taken for the next answer");
}

#[tokio::test]
async fn it_has_no_roles_no_settings_and_nothing_to_fill_or_clean() {
    let (member, accepted) = echo_server(usize::MAX).await;
    let given = options(&[member.clone(), member]);
    let mut client = client("tcp-echo", given.clone()).await;
    assert_eq!(count(&client.roles().await.unwrap(), Role::Unknown), 2);
    client.prepare().await.unwrap();
    client.fill(0, 1_000_000).await.unwrap();
    client.clean().await.unwrap();
    assert_eq!(accepted.count(), 0);
    let unknown = refused("tcp-echo", with_settings(given, &[("size", "1")])).await;
    assert!(unknown.contains("this plugin has none"), "{unknown}");
}
