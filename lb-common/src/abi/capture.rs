//! A captured packet: as it came, and as it left.

use bytemuck::{Pod, Zeroable};

/// Bytes of a frame that are kept: all of one at the usual MTU, with tags and an outer header.
pub const SNAP_BYTES: usize = 1664;
/// Packets that are captured in a second, or nearly, on each CPU; more are lost, and counted.
pub const CAPTURES_A_SECOND: u64 = 1000;
/// Size of the ring that captured packets wait in, a power of two.
pub const CAPTURE_BYTES: u32 = 1 << 22;

/// One captured packet.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Captured {
    /// Nanoseconds on `CLOCK_MONOTONIC_COARSE`.
    pub at_ns: u64,
    /// Index of its counter in [`counters`](super::counters).
    pub fate: u32,
    /// Index of the interface that it came in by.
    pub interface: u32,
    /// First slot of its service plus one; 0 without one.
    pub service: u32,
    /// Index of the interface that it left by; 0 for none.
    pub egress: u32,
    /// Length as it came, in bytes.
    pub before_len: u32,
    /// Length as it left, in bytes; 0 when it did not.
    pub after_len: u32,
    /// The first bytes as it came.
    pub before: [u8; SNAP_BYTES],
    /// The first bytes as it left.
    pub after: [u8; SNAP_BYTES],
}

const _: () = assert!(size_of::<Captured>() == 32 + 2 * SNAP_BYTES);
