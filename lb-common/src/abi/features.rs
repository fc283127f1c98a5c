//! What a loaded program can do: a constant that is set at load, so that the verifier removes the code of what is off.

use bytemuck::{Pod, Zeroable};

use super::backend::Mode;

/// A set of features, one bit each.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Features(pub u32);

impl Features {
    /// Nothing but mode `dsr` and settled slots.
    pub const NONE: Self = Self(0);
    /// Tracked slots, and services that remember every flow.
    pub const TRACKING: Self = Self(1);
    /// Mode `ipip`.
    pub const IPIP: Self = Self(1 << 1);
    /// Mode `gue`.
    pub const GUE: Self = Self(1 << 2);
    /// Mode `nat`, and replies of its backends.
    pub const NAT: Self = Self(1 << 3);
    /// Mode `fullnat`.
    pub const FULLNAT: Self = Self(1 << 4);
    /// Lists of sources.
    pub const LISTS: Self = Self(1 << 5);
    /// Limits of new flows.
    pub const LIMITS: Self = Self(1 << 6);
    /// QUIC connection IDs.
    pub const QUIC: Self = Self(1 << 7);
    /// ARP and neighbor solicitations for VIPs.
    pub const NEIGHBORS: Self = Self(1 << 8);
    /// Capturing packets.
    pub const CAPTURE: Self = Self(1 << 9);
    /// Counts, remembers, limits and enters nothing, and tells in the map `FATE` what it would have counted: for asking what
    /// would be.
    pub const DRY_RUN: Self = Self(1 << 10);
    /// Everything that a packet can meet.
    pub const ALL: Self = Self((1 << 9) - 1);

    /// Modes whose backends' replies come through this node.
    pub const REPLIES: Self = Self::NAT.with(Self::FULLNAT);

    /// What a mode takes.
    #[inline(always)]
    #[must_use]
    pub const fn of_mode(mode: Mode) -> Self {
        match mode {
            Mode::Dsr => Self::NONE,
            Mode::IpipV4 | Mode::IpipV6 => Self::IPIP,
            Mode::GueV4 | Mode::GueV6 => Self::GUE,
            Mode::Nat => Self::NAT,
            Mode::Fullnat => Self::FULLNAT,
        }
    }

    /// Whether a feature of `other` is here.
    #[inline(always)]
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every feature of `other` is here.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
