//! The driver `http` against servers that keep what they were asked.

use std::sync::{Arc, Mutex};

use faultd_plugin_host::{DriverClient, Member, Operation, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::{client, count, options, read, refused, server_words, with_settings, write};
use crate::servers::{Answer, answering, http2_member, member};

/// A server of HTTP/1.1, and the requests that it has got, as they came.
async fn keeping() -> (Member, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    let (member, _) = member(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut request = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut request).await {
                kept.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    (member, requests)
}

async fn http(member: Member, settings: &[(&str, &str)]) -> DriverClient {
    client("http", with_settings(options(&[member]), settings)).await
}

#[tokio::test]
async fn one_request_is_sent_over_and_over_with_the_key_in_its_place() {
    let (member, requests) = keeping().await;
    let settings = [("path", "/items/{key}?full=1"), ("header.X-Load", "yes"), ("header.accept", "*/*")];
    let mut client = http(member, &settings).await;
    for (key, reads) in [(7, true), (8, false)] {
        let outcome = client.operate(Operation { key, reads }).await.unwrap();
        assert_eq!((&*outcome.operation, outcome.failure), ("request", None));
    }
    client.fill(0, 1_000_000).await.unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2, "there is nothing to fill where nothing writes");
    assert!(requests[0].starts_with("GET /items/000000000007?full=1 HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[1].starts_with("GET /items/000000000008?full=1 HTTP/1.1\r\n"), "{requests:?}");
    assert!(
        requests.iter().all(|request| request.contains("x-load: yes\r\naccept: */*\r\n")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn reads_and_writes_can_be_requests_of_their_own() {
    let (member, requests) = keeping().await;
    let settings = [("path", "/{key}"), ("write-method", "POST"), ("write-body", r#"{"{key}":"{value}"}"#)];
    let mut client = http(member, &settings).await;
    for (reads, kind) in [(true, "read"), (false, "write")] {
        let outcome = client.operate(Operation { key: 1, reads }).await.unwrap();
        assert_eq!((&*outcome.operation, outcome.failure), (kind, None));
    }
    client.fill(5, 2).await.unwrap();
    let requests = requests.lock().unwrap();
    let lines: Vec<_> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    let expected = ["GET /000000000001", "POST /000000000001", "POST /000000000005", "POST /000000000006"];
    assert_eq!(lines, expected.map(|line| format!("{line} HTTP/1.1")));
    let (_, body) = requests[1].split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["000000000001"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn the_statuses_that_are_a_success_can_be_chosen() {
    const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let (member, _) = answering(NOT_FOUND, usize::MAX).await;
    let mut client1 = http(member.clone(), &[]).await;
    assert_eq!(server_words(read(&mut client1, 1).await), "status 404");
    let mut client2 = http(member, &[("expect", "200-299,404")]).await;
    assert_eq!(read(&mut client2, 1).await, None);
    let (member, _) = http2_member(Answer { status: 404, ..Answer::default() }).await;
    let mut client3 = http(member.clone(), &[("version", "http2")]).await;
    assert_eq!(server_words(read(&mut client3, 1).await), "status 404");
    let with_body = [("version", "http2"), ("expect", "404"), ("write-path", "/x")];
    assert_eq!(write(&mut http(member, &with_body).await, 1).await, None);
}

#[tokio::test]
async fn it_has_no_roles_and_refuses_settings_that_cannot_be() {
    let (member, _) = keeping().await;
    let given = options(&[member]);
    assert_eq!(count(&client("http", given.clone()).await.roles().await.unwrap(), Role::Unknown), 1);
    let host = refused("http", with_settings(given.clone(), &[("header.host", "x")])).await;
    assert!(host.contains("by the daemon itself"), "{host}");
    let path = refused("http", with_settings(given, &[("path", "http://10.0.0.1/")])).await;
    assert!(path.contains("begins with /"), "{path}");
}
