//! What a client makes of members that behave oddly: servers of a few lines, on loopback.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use faultd_plugin_host::{ClientOptions, Failure, Member, PluginEngine, PluginError, PluginLimits, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::built::shipped;
use crate::etcd_kv::{etcd_kv, options};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// A member that gives `answer` to each request, on each connection to at most `per_connection` requests.
/// Also says how many connections it has accepted.
async fn member(answer: &'static [u8], per_connection: usize) -> (Member, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(stream, answer, per_connection));
        }
    });
    (Member { name: "odd".to_owned(), address }, accepted)
}

/// Requests are small enough to come in one piece.
async fn serve(mut stream: TcpStream, answer: &'static [u8], requests: usize) {
    let mut request = [0; 4096];
    for _ in 0..requests {
        match stream.read(&mut request).await {
            Ok(1..) => stream.write_all(answer).await.unwrap(),
            _ => return,
        }
    }
}

fn impatient(member: Member) -> ClientOptions {
    ClientOptions { request_timeout: Duration::from_millis(100), ..options(&[member]) }
}

#[tokio::test]
async fn all_operations_of_a_client_share_one_connection() {
    let (member, accepted) = member(ANSWER, usize::MAX).await;
    let mut client = etcd_kv().client(options(&[member])).await.unwrap();
    for _ in 0..50 {
        assert_eq!(client.operate().await.unwrap().failure, None);
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_the_member_closed_is_opened_again_without_a_failure() {
    let (member, accepted) = member(ANSWER, 1).await;
    let mut client = etcd_kv().client(options(&[member])).await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.operate().await.unwrap().failure, None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_member_that_says_nothing_is_a_timeout_and_gets_a_new_connection() {
    let (member, accepted) = member(b"", usize::MAX).await;
    let mut client = etcd_kv().client(impatient(member)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.operate().await.unwrap().failure, Some(Failure::Timeout));
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_an_error_is_a_server_failure() {
    const ERROR: &[u8] = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 2\r\n\r\nno";
    for (answer, text) in [(&b"220 smtp ready\r\n\r\n"[..], "invalid HTTP"), (ERROR, "status 503")] {
        let (member, _) = member(answer, usize::MAX).await;
        let mut client = etcd_kv().client(options(&[member])).await.unwrap();
        let failure = client.operate().await.unwrap().failure;
        assert!(matches!(&failure, Some(Failure::Server(said)) if said.contains(text)), "{failure:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let limits = PluginLimits { response_bytes: 1, ..PluginLimits::default() };
    let plugin =
        PluginEngine::with_limits(limits).unwrap().load_driver("etcd-kv", &shipped("etcd-kv")).unwrap();
    let (member, _) = member(ANSWER, usize::MAX).await;
    let mut client = plugin.client(options(&[member])).await.unwrap();
    let failure = client.operate().await.unwrap().failure;
    assert_eq!(failure, Some(Failure::Server("the answer is longer than 1 bytes".to_owned())));
}

#[tokio::test]
async fn a_dropped_operation_closes_its_connection_and_makes_the_client_unusable() {
    let (member, _) = member(b"", usize::MAX).await;
    let mut client = etcd_kv().client(options(&[member])).await.unwrap();
    assert!(timeout(Duration::from_millis(50), client.operate()).await.is_err());
    let PluginError::Plugin { problem, .. } = client.operate().await.unwrap_err() else { panic!() };
    assert_eq!(problem, Problem::Unusable);
}
