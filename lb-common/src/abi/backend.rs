//! What sending a packet to a backend needs, in one cache line.
//!
//! An entry belongs to one backend of one service: a server behind two services has two. Userspace keeps addresses,
//! names and states; here is only what the packet path writes into a frame.

use core::num::NonZeroU16;

use bytemuck::{Pod, Zeroable};

/// Number of entries, and so one more than the largest [`BackendId`]: ids have 15 bits in a slot's `owner`.
pub const MAX_BACKENDS: u32 = 1 << 15;

/// Index of a [`Backend`] in its table, 1 to 32,767; 0 stands for "none" in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(NonZeroU16);

impl BackendId {
    /// `None` for 0 and for what does not fit in 15 bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if (id.get() as u32) < MAX_BACKENDS => Some(Self(id)),
            Some(_) | None => None,
        }
    }

    /// The place in the table. The mask says nothing new: it lets the verifier see what `new` has checked.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0.get() as u32 & (MAX_BACKENDS - 1)) as usize
    }

    /// The number itself.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// How a packet is changed on its way to a backend. The number is [`Backend::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// New MAC addresses, nothing else.
    Dsr = 1,
    /// An outer IPv4 header (RFC 2003 around IPv4, RFC 4213 around IPv6).
    IpipV4 = 2,
    /// An outer IPv6 header (RFC 2473).
    IpipV6 = 3,
    /// Outer IPv4 and UDP headers, the packet right behind them (GUE, variant 1).
    GueV4 = 4,
    /// The same with IPv6.
    GueV6 = 5,
    /// Destination address and port of the backend.
    Nat = 6,
    /// The same, and a source address and port of our own.
    Fullnat = 7,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 7] =
        [Self::Dsr, Self::IpipV4, Self::IpipV6, Self::GueV4, Self::GueV6, Self::Nat, Self::Fullnat];

    /// `None` for a number that no mode has: the entry is not in use.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(mode: u8) -> Option<Self> {
        match mode {
            1 => Some(Self::Dsr),
            2 => Some(Self::IpipV4),
            3 => Some(Self::IpipV6),
            4 => Some(Self::GueV4),
            5 => Some(Self::GueV6),
            6 => Some(Self::Nat),
            7 => Some(Self::Fullnat),
            _ => None,
        }
    }

    /// Bytes that the packet grows by.
    #[inline(always)]
    #[must_use]
    pub const fn overhead_bytes(self) -> u16 {
        match self {
            Self::Dsr | Self::Nat | Self::Fullnat => 0,
            Self::IpipV4 => 20,
            Self::IpipV6 => 40,
            Self::GueV4 => 28,
            Self::GueV6 => 48,
        }
    }

    /// Whether addresses or ports of the packet itself change.
    #[inline(always)]
    #[must_use]
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::Fullnat)
    }
}

/// Bits of [`Backend::flags`].
pub mod backend_flags {
    /// The backend is dead and its flows with it: whoever is remembered to be there counts as unknown.
    pub const DOWN: u8 = 1;
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
    /// Bits of [`backend_flags`].
    pub flags: u8,
    /// Largest IP packet, outer header included, that the egress interface takes, in bytes.
    pub mtu_bytes: u16,
    /// One's complement sum, folded, of what the packet path adds to: with an outer IPv4 header of that header; with outer
    /// IPv6 and UDP headers of the addresses, the protocol and the destination port; when translating of new less old
    /// destination address and port.
    pub sum: u16,
    /// With an outer header, which of the last 16 bits of its source address follow the flow hash, so that a receiver spreads
    /// flows over its queues (those bits are zero in [`Self::template`]); when translating, the one's complement sum of new
    /// less old destination address alone.
    pub bits: u16,
    /// What is written. An outer header with length, type of service (traffic class), checksum and varying bits zero: 20
    /// bytes IPv4 and for GUE 8 bytes UDP, or 40 bytes IPv6, where for GUE the destination port stands in the place of the
    /// length; or a [`Translation`].
    pub template: [u8; 40],
}

const _: () = assert!(size_of::<Backend>() == 64);

/// What [`Backend::template`] is in modes `nat` and `fullnat`: wire bytes, an IPv4 address in the first four.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Translation {
    /// The backend's address.
    pub address: [u8; 16],
    /// The service's.
    pub vip: [u8; 16],
    /// The backend's port.
    pub port: [u8; 2],
    /// The service's.
    pub vip_port: [u8; 2],
    /// First source address of mode `fullnat` in [`Node::sources`](super::node::Node::sources), and their number, each as the
    /// bytes of a `u16`: a template has no alignment.
    pub pool: [[u8; 2]; 2],
}

const _: () = assert!(size_of::<Translation>() == 40 && align_of::<Translation>() == 1);

impl Backend {
    /// The template of a mode that translates.
    #[inline(always)]
    #[must_use]
    pub fn translation(&self) -> &Translation {
        bytemuck::cast_ref(&self.template)
    }
}

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
        for mode in Mode::ALL {
            assert_eq!(Mode::from_u8(mode as u8), Some(mode));
        }
        assert_eq!(Mode::from_u8(0), None);
        assert_eq!(Mode::from_u8(8), None);
    }
}
