//! What is sent: a number and random bytes.

/// How much is sent before it is wanted back. Less than what any TCP keeps for a reader that is slow.
pub const PIECE_BYTES: usize = 32 << 10;

/// The messages of one client.
#[derive(Debug, Clone)]
pub struct Message {
    sequence: u64,
    bytes: Vec<u8>,
}

impl Message {
    /// Messages that all carry these bytes.
    pub fn new(value: &[u8]) -> Self {
        Self { sequence: 0, bytes: [&[0; size_of::<u64>()], value].concat() }
    }

    /// The next one, with its number in front.
    pub fn numbered(&mut self) -> &[u8] {
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(number) = self.bytes.first_chunk_mut() {
            *number = self.sequence.to_be_bytes();
        }
        &self.bytes
    }
}

/// Whether the same came back; if not, the place of the first difference.
pub fn compare(sent: &[u8], came: &[u8]) -> Result<(), String> {
    if sent == came {
        return Ok(());
    }
    let same = sent.iter().zip(came).take_while(|(sent, came)| sent == came).count();
    Err(format!("something else came back, from byte {same} on: not an echo server, or a damaged answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_numbered_and_carry_the_value() {
        let mut message = Message::new(b"ab");
        assert_eq!(message.numbered(), b"\0\0\0\0\0\0\0\x01ab");
        assert_eq!(message.numbered(), b"\0\0\0\0\0\0\0\x02ab");
        assert_eq!(Message::new(b"").numbered().len(), 8);
    }

    #[test]
    fn a_difference_is_found() {
        assert_eq!(compare(b"abc", b"abc"), Ok(()));
        assert!(compare(b"abc", b"abd").unwrap_err().contains("byte 2"));
    }
}
