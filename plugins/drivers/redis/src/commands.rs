//! Commands as Redis wants them: arrays of bytes, each with its length.

use crate::replies::Found;

/// How many keys Redis looks at in one step of a scan: some milliseconds of its time.
const KEYS_IN_STEP: &[u8] = b"5000";

/// What ends a line and a word.
pub const END_OF_LINE: &[u8] = b"\r\n";

/// What usually stands around a word at most.
const LONGEST_FRAME: usize = 16;

/// A command and its arguments.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(words.iter().map(|word| word.len() + LONGEST_FRAME).sum());
    push_length(&mut bytes, b'*', words.len());
    for word in words {
        push_length(&mut bytes, b'$', word.len());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(END_OF_LINE);
    }
    bytes
}

/// A length and what it is of: `*` an array, `$` bytes.
pub fn push_length(bytes: &mut Vec<u8>, kind: u8, length: usize) {
    bytes.push(kind);
    bytes.extend_from_slice(length.to_string().as_bytes());
    bytes.extend_from_slice(END_OF_LINE);
}

/// Keys have one length, so that every operation costs the same.
pub fn key_name(key: u64) -> String {
    format!("faultd:{key:012}")
}

/// The next step through the keys of this driver.
pub fn scan(cursor: &[u8]) -> Vec<u8> {
    command(&[b"SCAN", cursor, b"MATCH", b"faultd:*", b"COUNT", KEYS_IN_STEP])
}

/// Removes keys, each given with its length, as a scan finds them. Redis frees their memory afterwards, without
/// making others wait.
pub fn unlink(found: &Found) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * LONGEST_FRAME + found.words.len());
    push_length(&mut bytes, b'*', found.count + 1);
    bytes.extend_from_slice(b"$6\r\nUNLINK\r\n");
    bytes.extend_from_slice(&found.words);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bytes_with_lengths() {
        let set = command(&[b"SET", key_name(42).as_bytes(), b"\r\n"]);
        assert_eq!(set, b"*3\r\n$3\r\nSET\r\n$19\r\nfaultd:000000000042\r\n$2\r\n\r\n\r\n");
        let found = Found { cursor: Vec::new(), count: 1, words: b"$1\r\na\r\n".to_vec() };
        assert_eq!(unlink(&found), b"*2\r\n$6\r\nUNLINK\r\n$1\r\na\r\n");
    }
}
