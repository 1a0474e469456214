//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use faultd_abi::{LAST_SLOT, RELAY_HEADER};

use crate::{holding::relay::unwrap_frame, process::parse_stat};

/// A frame as a TAP device hands it to the relay: whoever may send on that device chooses its bytes.
pub fn relay_frame(bytes: &[u8]) -> bool {
    let mut buffer = bytes.to_vec();
    let Some(held) = unwrap_frame(&mut buffer) else { return false };
    assert!(held.slot <= LAST_SLOT, "slot {}", held.slot);
    let frame = buffer.get(held.start..).unwrap_or_default();
    assert_eq!(frame.len(), bytes.len().saturating_sub(RELAY_HEADER), "nothing but our header goes");
    true
}

/// `/proc/PID/stat`, in which the name of the program is its own to choose.
pub fn process_stat(bytes: &[u8]) -> bool {
    parse_stat(&String::from_utf8_lossy(bytes)).is_some()
}

#[cfg(test)]
mod tests {
    use super::{process_stat, relay_frame};
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("relay_frame", relay_frame);
        exercise("process_stat", process_stat);
    }
}
