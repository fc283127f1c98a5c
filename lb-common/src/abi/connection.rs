//! Connections of mode `fullnat`, and the limits of sources: kernel hash maps, because their keys are whole.
//!
//! A connection has two entries, one for packets of the client and one for those of the backend, each keyed by what such a
//! packet says and holding what it is to say instead.

use bytemuck::{Pod, Zeroable};

/// What a packet says: wire bytes, an IPv4 address in the first four. It is aligned because it stands on the kernel's stack,
/// where words are read at their own alignment only.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Tuple {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Source and destination port.
    pub ports: [u8; 4],
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<Tuple>() == 40);

/// What no packet says.
pub const NO_TUPLE: Tuple =
    Tuple { source: [0; 16], destination: [0; 16], ports: [0; 4], protocol: 0, family: 0, reserved: [0; 2] };

impl Tuple {
    /// What the answer says.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        let [a, b, c, d] = self.ports;
        Self { source: self.destination, destination: self.source, ports: [c, d, a, b], ..*self }
    }
}

/// Bits of [`Connection::seen`].
pub mod seen {
    /// A packet without SYN.
    pub const DATA: u8 = 1;
    /// A FIN.
    pub const FIN: u8 = 1 << 1;
    /// An RST.
    pub const RST: u8 = 1 << 2;
}

/// What a packet of a connection is to say instead.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Connection {
    /// Addresses and ports that leave.
    pub out: Tuple,
    /// Second of [`Control::tick_seconds`](super::control::Control::tick_seconds) of the last packet.
    pub last_seen: u32,
    /// The backend.
    pub backend: u16,
    /// Bits of [`mod@seen`].
    pub seen: u8,
    /// Whether this is the backend's side.
    pub reply: u8,
}

const _: () = assert!(size_of::<Connection>() == 48);

/// Whose new flows are limited: a source of a service.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct LimitKey {
    /// [`ServiceEntry::number`](super::service::ServiceEntry::number).
    pub service: u64,
    /// An IPv4 address in the first four bytes, or the first eight bytes of an IPv6 address: who has a network has all its
    /// addresses.
    pub source: [u8; 8],
}

const _: () = assert!(size_of::<LimitKey>() == 16);

/// A prefix of a service's list, as the kernel's longest-prefix trie wants it: number, then address, both in wire order. The
/// number of leading bits stands in front.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct ListKey {
    /// [`ServiceEntry::number`](super::service::ServiceEntry::number), big-endian.
    pub service: [u8; 4],
    /// An IPv4 address in the first four bytes.
    pub source: [u8; 16],
}

impl ListKey {
    /// Its length in bits, the longest prefix that can be looked up.
    pub const BITS: u32 = 160;
}

const _: () = assert!(size_of::<ListKey>() * 8 == ListKey::BITS as usize);

/// Prefixes that all lists of a node can have together.
pub const MAX_PREFIXES: u32 = 1 << 16;

/// What a list says about a prefix.
pub mod list {
    /// Let in.
    pub const ALLOW: u32 = 1;
    /// Kept out.
    pub const DENY: u32 = 2;
}

/// Which backend a QUIC connection ID names.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct ServerKey {
    /// [`ServiceEntry::number`](super::service::ServiceEntry::number).
    pub service: u32,
    /// The server ID.
    pub server_id: u32,
}

const _: () = assert!(size_of::<ServerKey>() == 8);
