//! What a client makes of members that behave oddly.

use std::time::Duration;

use faultd_plugin_host::{
    ClientOptions, DriverClient, Failure, Member, Operation, PluginEngine, PluginError, PluginLimits, Problem,
};
use tokio::time::timeout;

use crate::built::shipped;
use crate::clients::{client, impatient, is_connection, options, read, server_words, with_settings};
use crate::servers::{Answer, answering, http2_member, silent};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// The settings that make the driver `http` speak each version.
const HTTP1: &[(&str, &str)] = &[];
const HTTP2: &[(&str, &str)] = &[("version", "http2")];

/// All ways to reach a member: a driver and its settings.
const WAYS: [(&str, &[(&str, &str)]); 5] =
    [("http", HTTP1), ("http", HTTP2), ("tcp-echo", &[]), ("redis", &[]), ("etcd-kv", &[])];

async fn http(settings: &[(&str, &str)], member: Member) -> DriverClient {
    client("http", with_settings(options(&[member]), settings)).await
}

fn impatiently(settings: &[(&str, &str)], member: Member) -> ClientOptions {
    impatient(with_settings(options(&[member]), settings))
}

#[tokio::test]
async fn all_operations_of_a_client_share_one_connection() {
    let (member1, accepted1) = answering(ANSWER, usize::MAX).await;
    let (member2, accepted2) = http2_member(Answer { body: b"{}", ..Answer::default() }).await;
    for (settings, member, accepted) in [(HTTP1, member1, accepted1), (HTTP2, member2, accepted2)] {
        let mut client = http(settings, member).await;
        for key in 0..50 {
            assert_eq!(read(&mut client, key).await, None);
        }
        assert_eq!(accepted.count(), 1, "{settings:?}");
    }
}

#[tokio::test]
async fn a_connection_that_the_member_closed_is_opened_again_without_a_failure() {
    let (member1, accepted1) = answering(ANSWER, 1).await;
    let (member2, accepted2) = http2_member(Answer { per_connection: 1, ..Answer::default() }).await;
    for (settings, member, accepted) in [(HTTP1, member1, accepted1), (HTTP2, member2, accepted2)] {
        let mut client = http(settings, member).await;
        for key in 0..3 {
            assert_eq!(read(&mut client, key).await, None, "{settings:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(accepted.count(), 3, "{settings:?}");
    }
}

#[tokio::test]
async fn a_member_that_says_nothing_is_a_timeout_and_gets_a_new_connection() {
    for (driver, settings) in WAYS {
        let (member, accepted) = silent().await;
        let mut client = client(driver, impatiently(settings, member)).await;
        for key in 0..2 {
            assert_eq!(read(&mut client, key).await, Some(Failure::Timeout), "{driver} {settings:?}");
        }
        assert_eq!(accepted.count(), 2, "{driver} {settings:?}");
    }
}

#[tokio::test]
async fn a_member_that_closes_is_a_connection_failure_and_gets_a_new_connection() {
    for (driver, settings) in WAYS {
        let (member, accepted) = answering(b"", 1).await;
        let mut client = client(driver, impatiently(settings, member)).await;
        for key in 0..2 {
            let failure = read(&mut client, key).await;
            assert!(is_connection(failure.as_ref()), "{driver} {settings:?}: {failure:?}");
        }
        assert_eq!(accepted.count(), 2, "{driver} {settings:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_an_error_is_a_server_failure() {
    const ERROR: &[u8] = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 2\r\n\r\nno";
    for (answer, text) in [(&b"220 smtp ready\r\n\r\n"[..], "invalid HTTP"), (ERROR, "status 503")] {
        let (member, _) = answering(answer, usize::MAX).await;
        let words = server_words(read(&mut http(HTTP1, member).await, 1).await);
        assert!(words.contains(text), "{words}");
    }
    let (member, _) = answering(ERROR, usize::MAX).await;
    let failure = read(&mut http(HTTP2, member).await, 1).await;
    assert!(is_connection(failure.as_ref()), "a member that knows no HTTP/2: {failure:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let limits = PluginLimits { response_bytes: 1, ..PluginLimits::default() };
    let engine = PluginEngine::with_limits(limits).unwrap();
    let plugin = engine.load_driver("http", &shipped("http")).unwrap();
    let (member1, _) = answering(ANSWER, usize::MAX).await;
    let (member2, _) = http2_member(Answer { body: b"{}", ..Answer::default() }).await;
    for (settings, member) in [(HTTP1, member1), (HTTP2, member2)] {
        let mut client = plugin.client(with_settings(options(&[member]), settings)).await.unwrap();
        let words = server_words(read(&mut client, 1).await);
        assert_eq!(words, "the answer is longer than 1 bytes", "{settings:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, followed) = answering(ANSWER, usize::MAX).await;
    let answer =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", elsewhere.address);
    let (member, _) = answering(answer.leak().as_bytes(), usize::MAX).await;
    // Both are members: what is tested is not that the other cannot be reached.
    let both = options(&[member, elsewhere]);
    let mut client1 = client("http", both.clone()).await;
    assert_eq!(server_words(read(&mut client1, 1).await), "status 302");
    let mut client2 = client("http", with_settings(both, &[("expect", "302")])).await;
    assert_eq!(read(&mut client2, 1).await, None);
    assert_eq!(followed.count(), 0);
}

#[tokio::test]
async fn a_dropped_operation_closes_its_connection_and_makes_the_client_unusable() {
    let (member, _) = silent().await;
    let mut client = http(HTTP1, member).await;
    let operation = Operation { key: 1, reads: true };
    assert!(timeout(Duration::from_millis(50), client.operate(operation)).await.is_err());
    let PluginError::Plugin { problem, .. } = client.operate(operation).await.unwrap_err() else { panic!() };
    assert_eq!(problem, Problem::Unusable);
}
