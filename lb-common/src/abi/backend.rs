//! What sending a packet to a backend needs, in one cache line.
//!
//! An entry belongs to one backend of one service: a server behind two services has two. Userspace keeps addresses,
//! names and states; here is only what the packet path writes into a frame.

use bytemuck::{Pod, Zeroable};

/// Number of entries, and so one more than the largest [`BackendId`]: ids have 15 bits in a slot's `owner`.
pub const MAX_BACKENDS: u32 = 1 << 15;

/// Index of a [`Backend`] in its table, 1 to 32,767; 0 stands for "none" in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(u16);

impl BackendId {
    /// `None` for 0 and for what does not fit in 15 bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id == 0 || id as u32 >= MAX_BACKENDS { None } else { Some(Self(id)) }
    }

    /// The place in the table. The mask says nothing new: it lets the verifier see what `new` has checked.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 as u32 & (MAX_BACKENDS - 1)) as usize
    }

    /// The number itself.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// How a packet is changed on its way to a backend. The number is [`Backend::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// New MAC addresses, nothing else.
    Dsr = 1,
    /// An outer IPv4 header around an IPv4 packet (RFC 2003).
    IpipV4 = 2,
    /// An outer IPv6 header around an IPv6 packet (RFC 2473).
    IpipV6 = 3,
}

impl Mode {
    /// `None` for a number that no mode has: the entry is not in use.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(mode: u8) -> Option<Self> {
        match mode {
            1 => Some(Self::Dsr),
            2 => Some(Self::IpipV4),
            3 => Some(Self::IpipV6),
            _ => None,
        }
    }

    /// Bytes that the packet grows by.
    #[inline(always)]
    #[must_use]
    pub const fn overhead_bytes(self) -> u16 {
        match self {
            Self::Dsr => 0,
            Self::IpipV4 => 20,
            Self::IpipV6 => 40,
        }
    }
}

/// One entry of the backend table.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Backend {
    /// Destination MAC of the next hop.
    pub next_hop_mac: [u8; 6],
    /// MAC of the egress interface.
    pub source_mac: [u8; 6],
    /// Index of the egress interface.
    pub interface: u32,
    /// A [`Mode`]; 0 in an entry that is not in use.
    pub mode: u8,
    /// Zero.
    pub reserved: [u8; 1],
    /// Largest IP packet, outer header included, that the egress interface takes, in bytes.
    pub mtu_bytes: u16,
    /// Outer IPv4 only: one's complement sum of [`Self::outer`] as big-endian words, not folded to its complement; the
    /// packet path adds length, type of service and the varying source bits.
    pub outer_sum: u16,
    /// Which of the last 16 bits of the outer source address follow the flow hash, so that a receiver spreads flows over
    /// its queues; those bits are zero in [`Self::outer`].
    pub outer_source_mask: u16,
    /// The outer header with length, type of service (traffic class), checksum and varying bits zero: 20 bytes IPv4 and
    /// zeros, or 40 bytes IPv6.
    pub outer: [u8; 40],
}

const _: () = assert!(size_of::<Backend>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_15_bits_and_not_zero() {
        assert_eq!(BackendId::new(0), None);
        assert_eq!(BackendId::new(1).map(BackendId::get), Some(1));
        assert_eq!(BackendId::new(32_767).map(BackendId::get), Some(32_767));
        assert_eq!(BackendId::new(32_768), None);
    }

    #[test]
    fn a_mode_survives_its_number_and_zero_is_none() {
        for mode in [Mode::Dsr, Mode::IpipV4, Mode::IpipV6] {
            assert_eq!(Mode::from_u8(mode as u8), Some(mode));
        }
        assert_eq!(Mode::from_u8(0), None);
        assert_eq!(Mode::from_u8(4), None);
    }
}
