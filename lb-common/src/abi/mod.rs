//! The layout of the tables that kernel and userspace share.
//!
//! Every type is `repr(C)`, a bytemuck `Pod` with its padding spelled out, and its size is asserted. A change to any of
//! them, or to what a value means, goes with a new [`ABI_VERSION`]. Integers in tables are in the machine's own byte
//! order unless a field is named as wire bytes; enums exist only outside the tables.

pub mod backend;
pub mod control;
pub mod counters;
pub mod node;
pub mod service;
pub mod slot;

/// Version of everything in this module, for whoever finds tables that another build has filled.
pub const ABI_VERSION: u32 = 1;

/// Names of the maps in the BPF object.
pub mod map {
    /// [`Node`](super::node::Node), one entry.
    pub const NODE: &str = "NODE";
    /// [`SlotLine`](super::slot::SlotLine)s; the number of entries is chosen at load.
    pub const SLOTS: &str = "SLOTS";
    /// [`Counter`](super::counters::Counter)s per CPU.
    pub const COUNTERS: &str = "COUNTERS";
}
