//! The documents of etcd's JSON gateway. Bytes are base64 there.

use base64::prelude::{BASE64_STANDARD, Engine};
use faultd_plugin_sdk::random::Random;
use serde::Deserialize;

/// The body of `/v3/kv/put`. `value` is encoded already.
pub fn put(key: u64, value: &str) -> String {
    format!(r#"{{"key":"{}","value":"{value}"}}"#, encoded_key(key))
}

/// The body of `/v3/kv/range` for one key.
pub fn range(key: u64, serializable: bool) -> String {
    format!(r#"{{"key":"{}","serializable":{serializable}}}"#, encoded_key(key))
}

/// A value of `bytes` random bytes, encoded. Random, since a store may compress.
pub fn random_value(random: &mut Random, bytes: u32) -> String {
    let words = (0..bytes.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    BASE64_STANDARD.encode(words.take(length).collect::<Vec<u8>>())
}

/// Whether etcd did what it was asked to.
///
/// # Errors
/// etcd's own words, or the status where it has none.
pub fn check(status: u16, body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    if status == 200 {
        return Ok(());
    }
    match serde_json::from_slice(body) {
        Ok(Refusal { message }) => Err(message),
        Err(_) => Err(format!("status {status}")),
    }
}

/// Keys have one length, so that every operation costs the same.
fn encoded_key(key: u64) -> String {
    BASE64_STANDARD.encode(format!("faultd/{key:012}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_that_holds_the_key_in_base64() {
        let put: serde_json::Value = serde_json::from_str(&put(42, "dg==")).unwrap();
        assert_eq!(put["value"], "dg==");
        let key = BASE64_STANDARD.decode(put["key"].as_str().unwrap()).unwrap();
        assert_eq!(key, b"faultd/000000000042");
        let range: serde_json::Value = serde_json::from_str(&range(42, true)).unwrap();
        assert_eq!((&range["key"], &range["serializable"]), (&put["key"], &true.into()));
    }

    #[test]
    fn a_value_has_the_size_that_was_asked_for() {
        for bytes in [0, 1, 7, 8, 9, 1024] {
            let value = BASE64_STANDARD.decode(random_value(&mut Random::from_seed(1), bytes)).unwrap();
            assert_eq!(u32::try_from(value.len()), Ok(bytes));
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_etcd() {
        assert_eq!(check(200, b"{}"), Ok(()));
        let body = br#"{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}"#;
        assert_eq!(check(503, body), Err("etcdserver: no leader".to_owned()));
        assert_eq!(check(404, b"404 page not found"), Err("status 404".to_owned()));
    }
}
