//! The one entry that every packet reads first.

use bytemuck::{Pod, Zeroable};

use crate::hash::FlowKey;

/// How many MAC addresses a node may answer to.
pub const MAX_MACS: usize = 8;

/// The node's own state as the packet path needs it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Control {
    /// [`ABI_VERSION`](super::ABI_VERSION) of the tables, 0 until userspace has filled them.
    pub abi_version: u32,
    /// Which half of [`Node::services`](super::node::Node::services) packets read: 0 or 1. The one word that puts a new
    /// service table into effect.
    pub active_half: u32,
    /// Destination MACs of frames that are for this node, as [`mac_word`] makes them; unused ones are [`NO_MAC`].
    pub macs: [u64; MAX_MACS],
    /// Key of the flow hash, the same on every node of a cluster and known to nobody else.
    pub flow_key: FlowKey,
    /// Seconds on userspace's clock: the age of remembered flows is told in it.
    pub tick_seconds: u32,
    /// Number of sets of the flow table less one; the number is a power of two.
    pub flow_set_mask: u32,
    /// The same for the table of fragments.
    pub fragment_set_mask: u32,
    /// Instances whose node is active, a bit each: for their VIPs ARP and neighbor solicitations are answered. The one word
    /// that a change of role stores.
    pub active_instances: u32,
    /// What is captured; see [`Capture`].
    pub capture: Capture,
    /// Index of the interface that has the MAC of the same place in [`Self::macs`]; 0 where there is none.
    pub interfaces: [u32; MAX_MACS],
    /// Zero.
    pub reserved: [u8; 16],
}

const _: () = assert!(size_of::<Control>() == 256);

/// Which packets are captured; the program looks only while the switch for it was set at load.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Capture {
    /// First slot of the service whose packets are wanted, plus one; 0 wants those of every service and of none.
    pub service: u32,
    /// [`counters`](super::counters) index of the reason that is wanted, plus one; 0 wants every fate.
    pub fate: u32,
    /// Leading bits of the source address that are compared.
    pub prefix_bits: u32,
    /// 4, 6, or 0 for both.
    pub family: u32,
    /// The source address that is compared, an IPv4 address in the first four bytes.
    pub source: [u8; 16],
}

/// A [`Control::macs`] entry that no frame matches: a MAC has 48 bits.
pub const NO_MAC: u64 = u64::MAX;

/// The six bytes of a MAC address as one number, first byte lowest, from its first four and its last two bytes.
#[inline(always)]
#[must_use]
pub const fn mac_word(low: [u8; 4], high: [u8; 2]) -> u64 {
    u32::from_le_bytes(low) as u64 | (u16::from_le_bytes(high) as u64) << 32
}

/// Whether a frame's destination, as [`mac_word`] makes it, is one of `macs`.
#[inline(always)]
#[must_use]
#[expect(clippy::manual_contains, reason = "`contains` compares in chunks made for SIMD, which BPF has not")]
pub fn holds(macs: &[u64; MAX_MACS], destination: u64) -> bool {
    macs.iter().any(|mac| *mac == destination)
}

/// The six bytes of what [`mac_word`] has made.
#[inline(always)]
#[must_use]
pub const fn mac_bytes(word: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, _, _] = word.to_le_bytes();
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_word_keeps_every_byte() {
        assert_eq!(mac_word([1, 2, 3, 4], [5, 6]), 0x0605_0403_0201);
        assert_eq!(mac_bytes(0x0605_0403_0201), [1, 2, 3, 4, 5, 6]);
        assert_ne!(mac_word([0xff; 4], [0xff; 2]), NO_MAC);
    }
}
