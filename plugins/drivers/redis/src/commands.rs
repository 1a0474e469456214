//! Commands as Redis wants them: arrays of bytes, each with its length.

/// How many keys Redis looks at in one step of a scan: some milliseconds of its time.
const KEYS_IN_STEP: &[u8] = b"5000";

/// A command and its arguments.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Keys have one length, so that every operation costs the same.
pub fn key_name(key: u64) -> String {
    format!("faultd:{key:012}")
}

/// The next step through the keys of this driver.
pub fn scan(cursor: &[u8]) -> Vec<u8> {
    command(&[b"SCAN", cursor, b"MATCH", b"faultd:*", b"COUNT", KEYS_IN_STEP])
}

/// Removes keys. Redis frees their memory afterwards, without making others wait.
pub fn unlink(keys: &[Vec<u8>]) -> Vec<u8> {
    let words = std::iter::once(&b"UNLINK"[..]).chain(keys.iter().map(Vec::as_slice));
    command(&words.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bytes_with_lengths() {
        let set = command(&[b"SET", key_name(42).as_bytes(), b"\r\n"]);
        assert_eq!(set, b"*3\r\n$3\r\nSET\r\n$19\r\nfaultd:000000000042\r\n$2\r\n\r\n\r\n");
        assert_eq!(unlink(&[b"a".to_vec()]), b"*2\r\n$6\r\nUNLINK\r\n$1\r\na\r\n");
    }
}
