//! etcd's JSON gateway. Bytes are base64 there, and 64-bit numbers decimal text.

use base64::prelude::{BASE64_STANDARD, Engine};
use faultd_plugin_sdk::driver::{Failure, post_json};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::status::Status;
use crate::transport::Transport;

/// Speaks JSON over HTTP/1.1.
pub struct Gateway {
    /// Encoded once for all puts.
    value: String,
}

impl Gateway {
    /// With the value that puts write.
    pub fn new(value: &[u8]) -> Self {
        Self { value: BASE64_STANDARD.encode(value) }
    }
}

impl Transport for Gateway {
    fn put(&self, member: u32, key: &str) -> Result<(), Failure> {
        post(member, "/v3/kv/put", &put(key, &self.value)).map(drop)
    }

    fn get(&self, member: u32, key: &str, serializable: bool) -> Result<(), Failure> {
        post(member, "/v3/kv/range", &range(key, serializable)).map(drop)
    }

    fn delete(&self, member: u32, from: &str, to: &str) -> Result<(), Failure> {
        post(member, "/v3/kv/deleterange", &delete_range(from, to)).map(drop)
    }

    fn status(&self, member: u32) -> Result<Status, Failure> {
        let body = post(member, "/v3/maintenance/status", "{}")?;
        parsed::<StatusDocument>(&body).and_then(StatusDocument::status).map_err(Failure::Server)
    }
}

fn post(member: u32, path: &str, document: &str) -> Result<Vec<u8>, Failure> {
    let response = post_json(member, path, document)?;
    check(response.status, &response.body).map_err(Failure::Server)?;
    Ok(response.body)
}

/// Whether etcd did what it was asked to; if not, etcd's own words, or the status where it has none.
fn check(status: u16, body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    if status == 200 {
        return Ok(());
    }
    Err(parsed(body).map_or_else(|_| format!("status {status}"), |Refusal { message }| message))
}

/// `value` is encoded already.
fn put(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{}","value":"{value}"}}"#, BASE64_STANDARD.encode(key))
}

fn range(key: &str, serializable: bool) -> String {
    format!(r#"{{"key":"{}","serializable":{serializable}}}"#, BASE64_STANDARD.encode(key))
}

fn delete_range(from: &str, to: &str) -> String {
    let [from, to] = [from, to].map(|key| BASE64_STANDARD.encode(key));
    format!(r#"{{"key":"{from}","range_end":"{to}"}}"#)
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer is not understood: {error}"))
}

#[derive(Deserialize)]
struct StatusDocument {
    header: Header,
    /// Absent while there is none.
    #[serde(default)]
    leader: String,
    #[serde(default, rename = "raftTerm")]
    raft_term: String,
}

#[derive(Deserialize)]
struct Header {
    member_id: String,
}

impl StatusDocument {
    fn status(self) -> Result<Status, String> {
        Ok(Status {
            member: number(&self.header.member_id)?,
            leader: number(&self.leader)?,
            term: number(&self.raft_term)?,
        })
    }
}

/// A number that is written as text; nothing is 0, as everywhere in these messages.
fn number(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_that_holds_the_key_in_base64() {
        let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let put = json(put("faultd/1", "dg=="));
        assert_eq!(put["value"], "dg==");
        assert_eq!(BASE64_STANDARD.decode(put["key"].as_str().unwrap()).unwrap(), b"faultd/1");
        let range = json(range("faultd/1", true));
        assert_eq!((&range["key"], &range["serializable"]), (&put["key"], &true.into()));
        let delete = json(delete_range("faultd/", "faultd0"));
        assert_eq!((&delete["key"], &delete["range_end"]), (&"ZmF1bHRkLw==".into(), &"ZmF1bHRkMA==".into()));
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_etcd() {
        assert_eq!(check(200, b"{}"), Ok(()));
        let body = br#"{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}"#;
        assert_eq!(check(503, body), Err("etcdserver: no leader".to_owned()));
        assert_eq!(check(404, b"404 page not found"), Err("status 404".to_owned()));
    }

    #[test]
    fn the_status_of_etcd_3_4_is_understood() {
        let body = br#"{"header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437",
            "revision":"1","raft_term":"2"},"version":"3.4.23","dbSize":"20480","leader":"10276657743932975437",
            "raftIndex":"4","raftTerm":"2","raftAppliedIndex":"4","dbSizeInUse":"16384"}"#;
        let status = parsed::<StatusDocument>(body).unwrap().status();
        let id = 10_276_657_743_932_975_437;
        assert_eq!(status, Ok(Status { member: id, leader: id, term: 2 }));
    }

    #[test]
    fn a_member_that_knows_no_leader_says_nothing_of_one() {
        let status = parsed::<StatusDocument>(br#"{"header":{"member_id":"3"}}"#).unwrap().status();
        assert_eq!(status, Ok(Status { member: 3, leader: 0, term: 0 }));
        assert!(parsed::<StatusDocument>(b"<html>").is_err());
        let wrong = parsed::<StatusDocument>(br#"{"header":{"member_id":"x"}}"#).unwrap().status();
        assert_eq!(wrong, Err(r#""x" is no number"#.to_owned()));
    }
}
