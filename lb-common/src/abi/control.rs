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
    /// Zero.
    pub reserved: [u8; 32],
}

const _: () = assert!(size_of::<Control>() == 192);

/// A [`Control::macs`] entry that no frame matches: a MAC has 48 bits.
pub const NO_MAC: u64 = u64::MAX;

/// The six bytes of a MAC address as one number, first byte lowest, from its first four and its last two bytes.
#[inline(always)]
#[must_use]
pub const fn mac_word(low: [u8; 4], high: [u8; 2]) -> u64 {
    u32::from_le_bytes(low) as u64 | (u16::from_le_bytes(high) as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_word_keeps_every_byte() {
        assert_eq!(mac_word([1, 2, 3, 4], [5, 6]), 0x0605_0403_0201);
        assert_ne!(mac_word([0xff; 4], [0xff; 2]), NO_MAC);
    }
}
