//! The tables of the receiving side: what `xlb decap` tells its program, and what that counts.

use bytemuck::{Pod, Zeroable};

use super::control::MAX_MACS;
use crate::decap::{DropReason, PassReason};

/// Names of the maps in the object `decap`.
pub mod map {
    /// [`Config`](super::Config), one entry.
    pub const CONFIG: &str = "CONFIG";
    /// Prefixes of outer sources, by [`SourceKey`](super::SourceKey); the number of entries is chosen at load.
    pub const SOURCES: &str = "SOURCES";
    /// Inner destinations, by [`VipKey`](super::VipKey); the number of entries is chosen at load.
    pub const VIPS: &str = "VIPS";
    /// [`Counter`](crate::abi::counters::Counter)s per CPU.
    pub const COUNTERS: &str = "COUNTERS";
}

/// What every packet reads first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    /// Destination MACs of frames that are for this host, as [`mac_word`](super::control::mac_word) makes them; unused ones are
    /// [`NO_MAC`](super::control::NO_MAC).
    pub macs: [u64; MAX_MACS],
    /// Destination port of GUE, wire bytes.
    pub gue_port: [u8; 2],
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<Config>() == 72);

/// Families, as keys tell them.
pub mod family {
    /// IPv4.
    pub const V4: u32 = 4;
    /// IPv6.
    pub const V6: u32 = 6;
}

/// An address in a key: its wire bytes, eight at a time, an IPv4 address in the first four and zeros behind it. Words as wide as the
/// kernel's stack has them: narrower ones are written there two at once, and across their alignment.
pub type Words = [u64; 2];

/// The IPv6 address of these wire bytes.
#[inline(always)]
#[must_use]
pub const fn words(address: [u8; 16]) -> Words {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
}

/// The IPv4 address of these wire bytes.
#[inline(always)]
#[must_use]
pub const fn words_v4(address: [u8; 4]) -> Words {
    let [a, b, c, d] = address;
    [u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]), 0]
}

/// The source of an outer header as the kernel's longest-prefix trie wants it: family, all of whose bits count, then address. The
/// number of leading bits stands in front, counts the family's 32, and makes the address begin at a multiple of eight bytes.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SourceKey {
    /// One of [`mod@family`].
    pub family: u32,
    /// The address.
    pub address: Words,
}

const _: () = assert!(size_of::<SourceKey>() == 20);

impl SourceKey {
    /// How many bits a key has whose address is whole.
    pub const BITS: u32 = 160;
}

/// The destination of an inner packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VipKey {
    /// The address.
    pub address: Words,
    /// One of [`mod@family`].
    pub family: u64,
}

const _: () = assert!(size_of::<VipKey>() == 24);

/// Entries kept for pass reasons.
const MAX_PASS: u32 = 31;
/// Entry of the packets whose outer header was taken off.
pub const DECAPSULATED: u32 = 0;
/// Entries of the counter table.
pub const MAX_COUNTERS: u32 = 48;

/// Entry of a pass reason.
#[inline(always)]
#[must_use]
pub const fn of_pass(reason: PassReason) -> u32 {
    1 + reason as u32
}

/// Entry of a drop reason.
#[inline(always)]
#[must_use]
pub const fn of_drop(reason: DropReason) -> u32 {
    1 + MAX_PASS + reason as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_fates_share_a_counter() {
        let mut seen = std::collections::HashSet::from([DECAPSULATED]);
        assert!(PassReason::ALL.iter().all(|reason| seen.insert(of_pass(*reason))));
        assert!(DropReason::ALL.iter().all(|reason| seen.insert(of_drop(*reason))));
        assert!(seen.iter().all(|index| *index < MAX_COUNTERS));
    }
}
