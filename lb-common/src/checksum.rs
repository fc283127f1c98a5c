//! The Internet checksum (RFC 1071), as a sum of big-endian 16-bit words.
//!
//! Sums are kept in 32 bits and folded at the end: 65,536 words fit without a carry being lost. Everything here is in host
//! order; what goes into a header is `complement(..).to_be_bytes()`.

use crate::frame::Frame;

/// Sum of `bytes` as big-endian words, an odd last byte padded with zero. At most 128 KiB.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|word| match *word {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(high) << 8,
            _ => 0,
        })
        .sum()
}

/// Adds the carries back in (end-around carry): 32 bits to 16, the value of the sum in one's complement unchanged.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    // Two rounds: the first can carry once more.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) as u16
}

/// The checksum field for a sum.
#[inline(always)]
#[must_use]
pub const fn complement(sum: u32) -> u16 {
    !fold(sum)
}

/// Sum of four bytes as big-endian words.
#[inline(always)]
#[must_use]
pub const fn sum4(bytes: [u8; 4]) -> u32 {
    let word = u32::from_be_bytes(bytes);
    (word >> 16) + (word & 0xffff)
}

/// Sum of an address of sixteen bytes as big-endian words.
#[inline(always)]
#[must_use]
pub const fn sum16(bytes: &[u8; 16]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at < 16 {
        sum += sum4([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        at += 4;
    }
    sum
}

/// Bytes that are summed one by one at most: longer packets without a sum of their own are rare.
const MAX_SUMMED: usize = 2048;

/// Sum of `len` bytes of a frame from `at` on, folded; `None` for more than are summed, or for those of another piece of the frame.
#[inline(never)]
pub(crate) fn sum_in(frame: &Frame<'_>, at: usize, len: usize) -> Option<u16> {
    if len > MAX_SUMMED {
        return None;
    }
    let mut sum = 0;
    let mut done = 0;
    while done < MAX_SUMMED && done + 4 <= len {
        sum += sum4(*frame.get::<[u8; 4]>(at + done)?);
        done += 4;
    }
    if done + 2 <= len {
        sum += u32::from(u16::from_be_bytes(*frame.get::<[u8; 2]>(at + done)?));
        done += 2;
    }
    if done < len {
        sum += u32::from(*frame.get::<u8>(at + done)?) << 8;
    }
    Some(fold(sum))
}

/// What has to be added to a sum when words whose sum is `old` become words whose sum is `new` (RFC 1624).
#[inline(always)]
#[must_use]
pub const fn difference(old: u32, new: u32) -> u16 {
    fold(new + (!fold(old)) as u32)
}

/// A checksum field after the sum it covers has grown by `difference` (RFC 1624, equation 3).
#[inline(always)]
#[must_use]
pub const fn update(field: [u8; 2], difference: u16) -> [u8; 2] {
    complement((!u16::from_be_bytes(field)) as u32 + difference as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(complement(sum(&bytes)), 0x220d);
    }

    #[test]
    fn carries_of_carries_are_folded() {
        assert_eq!(fold(0xffff_ffff), 0xffff);
        assert_eq!(fold(0x0001_ffff), 0x0001);
        assert_eq!(fold(sum(&[0xff])), 0xff00);
    }

    #[test]
    fn an_updated_field_is_a_computed_one() {
        let mut header =
            [0x45, 0, 0, 0x3c, 0x1c, 0x46, 0x40, 0, 0x40, 6, 0xb1, 0xe6, 172, 16, 10, 99, 172, 16, 10, 12];
        let change = difference(sum4([172, 16, 10, 12]), sum4([10, 0, 255, 1]));
        let field = update([0xb1, 0xe6], change);
        header[16..].copy_from_slice(&[10, 0, 255, 1]);
        header[10..12].copy_from_slice(&field);
        assert_eq!(fold(sum(&header)), 0xffff);
        assert_eq!(sum16(&[0xff; 16]), 8 * 0xffff);
    }

    #[test]
    fn a_header_with_its_checksum_sums_to_all_ones() {
        let mut header =
            [0x45, 0, 0, 0x3c, 0x1c, 0x46, 0x40, 0, 0x40, 6, 0, 0, 172, 16, 10, 99, 172, 16, 10, 12];
        let field = complement(sum(&header)).to_be_bytes();
        assert_eq!(field, [0xb1, 0xe6]);
        header[10..12].copy_from_slice(&field);
        assert_eq!(fold(sum(&header)), 0xffff);
    }
}
