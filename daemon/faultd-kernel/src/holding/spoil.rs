//! Spoils a frame such that the receiver's kernel notices: the checksum is completed as for the
//! unspoilt packet, then a bit is flipped.

use crate::tap::OFFLOAD_HEADER;

/// Bit of the offload header's first byte: the checksum is still to be filled in.
const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_START: usize = 6;
const CHECKSUM_OFFSET: usize = 8;

/// Spoils the bit that `chance` says of a frame with its offload header; false where the frame has
/// nothing that a checksum covers.
pub(super) fn spoil(frame: &mut [u8], chance: u32) -> bool {
    let Some(covered) = complete_checksum(frame) else { return spoil_what_is_complete(frame, chance) };
    flip(frame, covered, chance)
}

/// Fills in a checksum that was left to the device; where what it covers begins.
fn complete_checksum(frame: &mut [u8]) -> Option<usize> {
    if frame.first()? & NEEDS_CHECKSUM == 0 {
        return None;
    }
    let start = OFFLOAD_HEADER.checked_add(number_at(frame, CHECKSUM_START)?)?;
    let place = start.checked_add(number_at(frame, CHECKSUM_OFFSET)?)?;
    // The field holds the sum of the pseudo header already.
    let sum = internet_checksum(frame.get(start..)?);
    frame.get_mut(place..place.checked_add(2)?)?.copy_from_slice(&sum.to_be_bytes());
    *frame.first_mut()? &= !NEEDS_CHECKSUM;
    Some(start)
}

/// A frame whose checksums are filled in: behind the headers of Ethernet, our tag and IP.
fn spoil_what_is_complete(frame: &mut [u8], chance: u32) -> bool {
    const BEHIND_IPV6: usize = OFFLOAD_HEADER + 14 + 4 + 40;
    flip(frame, BEHIND_IPV6, chance)
}

fn flip(frame: &mut [u8], from: usize, chance: u32) -> bool {
    let Some(covered) = frame.get_mut(from..).filter(|covered| !covered.is_empty()) else { return false };
    let bits = covered.len().saturating_mul(8);
    let bit = usize::try_from(chance).unwrap_or(0) % bits;
    if let Some(byte) = covered.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    true
}

fn number_at(frame: &[u8], offset: usize) -> Option<usize> {
    let bytes = frame.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?).into())
}

/// The ones' complement of the ones' complement sum (RFC 1071).
fn internet_checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2).map(|pair| {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        u64::from(u16::from_be_bytes([high, low]))
    });
    let mut sum: u64 = pairs.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let folded = u16::try_from(sum).unwrap_or(u16::MAX);
    // UDP writes a sum of 0 as its complement, which means the same.
    if folded == u16::MAX { u16::MAX } else { !folded }
}

#[cfg(test)]
mod tests {
    use super::{NEEDS_CHECKSUM, OFFLOAD_HEADER, internet_checksum, spoil};

    /// Ten bytes that a checksum covers, its field at 6, which holds the sum of a pseudo header.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; OFFLOAD_HEADER + 34];
        frame[0] = NEEDS_CHECKSUM;
        frame[6..8].copy_from_slice(&34_u16.to_ne_bytes());
        frame[8..10].copy_from_slice(&6_u16.to_ne_bytes());
        frame.extend([1, 2, 3, 4, 5, 6, 0x12, 0x34, 9, 10]);
        frame
    }

    #[test]
    fn the_checksum_is_completed_and_then_wrong_by_one_bit() {
        for chance in [0, 79, 12_345_678] {
            let mut spoilt = frame();
            assert!(spoil(&mut spoilt, chance));
            assert_eq!(spoilt[0], 0, "nobody fills the checksum in again");
            let covered = &mut spoilt[OFFLOAD_HEADER + 34..].to_vec();
            let bit = chance as usize % 80;
            covered[bit / 8] ^= 1 << (bit % 8);
            let sum = internet_checksum(&frame()[OFFLOAD_HEADER + 34..]);
            assert_eq!(covered[6..8], sum.to_be_bytes(), "without the flipped bit it is right");
        }
    }

    #[test]
    fn the_checksum_of_rfc_1071_is_right() {
        assert_eq!(internet_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn a_frame_with_nothing_to_spoil_or_with_nonsense_in_its_header_stays() {
        assert!(!spoil(&mut [0; OFFLOAD_HEADER + 20], 7));
        let mut nonsense = frame();
        nonsense[6..8].copy_from_slice(&u16::MAX.to_ne_bytes());
        let before = nonsense.clone();
        assert!(!spoil(&mut nonsense, 7));
        assert_eq!(nonsense, before);
    }
}
