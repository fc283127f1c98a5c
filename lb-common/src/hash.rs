//! The flow hash: one keyed 64-bit hash of a flow's addresses, ports and protocol.
//!
//! Multilinear-HM (Lemire and Kaser, "Strongly universal string hashing is fast", 2012) over 32-bit words: with a key that
//! is not known outside, two flows fall together in the high half with probability 2^-32, whatever an attacker picks;
//! half a multiplication a word, no dependency between them. The high half picks the slot and stays as the family gives
//! it; the low half is mixed once more, because the low bits of a product are weak.

use bytemuck::{Pod, Zeroable};

use crate::abi::service::Address;

/// The expanded key: one word to start from, one for each 32-bit word of an IPv6 flow (addresses, ports, protocol).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowKey([u64; 11]);

impl FlowKey {
    /// Expands a 128-bit secret with two SplitMix64 generators (Steele, Lea and Flood, 2014), one for each half.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 64 bits")]
    pub fn from_secret(secret: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(secret);
        let mut low = (whole & u128::from(u64::MAX)) as u64;
        let mut high = (whole >> 64) as u64;
        Self(core::array::from_fn(|_| split_mix(&mut low) ^ split_mix(&mut high).rotate_left(32)))
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `word`, and nothing is lost.
#[must_use]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Hash of an IPv4 flow: wire bytes of the addresses, source and destination port as they follow each other in the
/// transport header, IP protocol number.
#[inline(always)]
#[must_use]
pub const fn flow_v4(
    key: &FlowKey,
    source: [u8; 4],
    destination: [u8; 4],
    ports: [u8; 4],
    protocol: u8,
) -> u64 {
    let k = &key.0;
    finish(k[0].wrapping_add(pair(k, 1, word(source), word(destination))).wrapping_add(pair(
        k,
        3,
        word(ports),
        protocol as u32,
    )))
}

/// Hash of an IPv6 flow; as [`flow_v4`].
#[inline(always)]
#[must_use]
pub const fn flow_v6(
    key: &FlowKey,
    source: &[u8; 16],
    destination: &[u8; 16],
    ports: [u8; 4],
    protocol: u8,
) -> u64 {
    let k = &key.0;
    let (source, destination) = (halves(source), halves(destination));
    finish(
        k[0].wrapping_add(pair_in(k, 1, source.0))
            .wrapping_add(pair_in(k, 3, source.1))
            .wrapping_add(pair_in(k, 5, destination.0))
            .wrapping_add(pair_in(k, 7, destination.1))
            .wrapping_add(pair(k, 9, word(ports), protocol as u32)),
    )
}

/// Hash of a flow of either family: that of [`flow_v4`] or [`flow_v6`].
#[inline(always)]
#[must_use]
pub fn flow(key: &FlowKey, source: Address, destination: Address, ports: [u8; 4], protocol: u8) -> u64 {
    if destination.is_v4() {
        return flow_v4(key, source.octets_v4(), destination.octets_v4(), ports, protocol);
    }
    flow_v6(key, &source.octets(), &destination.octets(), ports, protocol)
}

/// Which of `len` slots a flow falls into: the high half scaled to `len`, without a division.
#[inline(always)]
#[must_use]
pub const fn slot_of(flow_hash: u64, len: u32) -> u32 {
    // Below `len`, which has 32 bits.
    (((flow_hash >> 32) * len as u64) >> 32) as u32
}

#[inline(always)]
const fn pair(key: &[u64; 11], at: usize, first: u32, second: u32) -> u64 {
    key[at].wrapping_add(first as u64).wrapping_mul(key[at + 1].wrapping_add(second as u64))
}

#[inline(always)]
const fn finish(sum: u64) -> u64 {
    let low = (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (sum & 0xffff_ffff_0000_0000) | low
}

#[inline(always)]
const fn word(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// Both words of eight bytes.
#[inline(always)]
const fn pair_in(key: &[u64; 11], at: usize, words: u64) -> u64 {
    pair(key, at, (words & 0xffff_ffff) as u32, (words >> 32) as u32)
}

/// An address as two numbers, each read with one load.
#[inline(always)]
const fn halves(address: &[u8; 16]) -> (u64, u64) {
    match (address.first_chunk::<8>(), address.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        // Sixteen bytes have both.
        _ => (0, 0),
    }
}
