//! The service table: which (address, port, protocol) is a service, and where its slots are.
//!
//! A two-choice cuckoo hash table that userspace builds as a whole and the packet path only reads: at most two probes, no
//! helper call. It is held twice; [`Control::active_half`](super::control::Control::active_half) says which half is read.
//! In front stands a filter, so that a packet that is not ours costs one byte. Every VIP also has an
//! entry without port and protocol: it tells an unused port of a VIP from an address that is nobody's business. A backend of
//! mode `nat` has an entry that is found by the source of its replies.

use bytemuck::{Pod, Zeroable};

/// Entries in one half.
pub const SERVICE_CAPACITY: usize = 16_384;
/// Services and VIPs together that one node can have. Below half full nearly every seed of a two-choice table fits, at half
/// full none does: three eighths keep away from that edge.
pub const MAX_SERVICES_AND_VIPS: usize = SERVICE_CAPACITY / 8 * 3;
/// Cells of an address filter.
pub const FILTER_SIZE: usize = 16_384;

/// An IP address as two words and a family, the way tables are searched for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    high: u64,
    low: u64,
    family: u32,
}

impl Address {
    const V4: u32 = 1 << 8;
    const V6: u32 = 1 << 9;
    /// Added to the family in the key of a [`ServiceEntry`] that is found by a packet's source.
    const SOURCE: u32 = 1 << 10;

    /// From the four bytes of an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: [u8; 4]) -> Self {
        Self { high: 0, low: u32::from_be_bytes(address) as u64, family: Self::V4 }
    }

    /// From the sixteen bytes of an IPv6 address. `::ffff:192.0.2.1` is one of these, and another address than 192.0.2.1: a
    /// packet never gets an outer header of the other family by what its address looks like.
    #[inline(always)]
    #[must_use]
    pub const fn v6(address: &[u8; 16]) -> Self {
        match (address.first_chunk::<8>(), address.last_chunk::<8>()) {
            (Some(first), Some(last)) => {
                Self { high: u64::from_be_bytes(*first), low: u64::from_be_bytes(*last), family: Self::V6 }
            }
            // Sixteen bytes have both.
            _ => Self { high: 0, low: 0, family: Self::V6 },
        }
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.family == Self::V4
    }

    /// The four wire bytes of an IPv4 address; of an IPv6 address the last four.
    #[inline(always)]
    #[must_use]
    pub const fn octets_v4(self) -> [u8; 4] {
        ((self.low & 0xffff_ffff) as u32).to_be_bytes()
    }

    /// The sixteen wire bytes of an IPv6 address; an IPv4 address stands in the last four, behind zeros.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        ((self.high as u128) << 64 | self.low as u128).to_be_bytes()
    }

    /// An address that no packet may come from (RFC 6890): unspecified, "this network", loopback, multicast, class E and
    /// broadcast.
    #[inline(always)]
    #[must_use]
    pub const fn is_martian_source(self) -> bool {
        if self.is_v4() {
            let first = self.low >> 24;
            return first == 0 || first == 127 || first >= 224;
        }
        self.high >> 56 == 0xff || (self.high == 0 && self.low <= 1)
    }

    /// Whether a router may send a packet on to this address: not to a group, not to itself, and not to a link-local IPv6
    /// address, which means something on one link only (RFC 4291, 2.5.6).
    #[inline(always)]
    #[must_use]
    pub const fn is_forwardable(self) -> bool {
        !self.is_martian_source() && (self.is_v4() || self.high >> 54 != 0xfe80 >> 6)
    }

    /// Key under which an entry is found by a packet's source.
    #[inline(always)]
    #[must_use]
    pub const fn as_source(self) -> Self {
        Self { family: self.family | Self::SOURCE, ..self }
    }

    /// Cell of the address filter. The last bits of an address, where VIPs differ; an attacker who picks others of the same
    /// bits gets a packet looked up, and that is all.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the mask has 14 bits")]
    const fn filter_place(self) -> usize {
        (self.low & (FILTER_SIZE as u64 - 1)) as usize
    }

    /// The address in 32 bits: itself, or a hash under a table's seed.
    #[inline(always)]
    const fn word(self, seed: u64) -> u64 {
        if self.family & Self::V4 != 0 {
            return self.low;
        }
        let mixed = self.low.wrapping_mul(seed)
            ^ (self.high ^ seed.rotate_left(32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed >> 32
    }
}

/// Port and protocol of a service as one number; [`Endpoint::VIP`] is the VIP's own entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(u32);

impl Endpoint {
    /// The entry that says "this address is a VIP".
    pub const VIP: Self = Self(0);

    /// A service's port (host order) and IP protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn new(port: u16, protocol: u8) -> Self {
        let [high, low] = port.to_be_bytes();
        Self::of_packet([0, 0, high, low], protocol)
    }

    /// The same from both ports as they follow each other in a transport header, source first: the destination port stays
    /// where it stands in that word, and the protocol takes the place of the source port.
    #[inline(always)]
    #[must_use]
    pub const fn of_packet(ports: [u8; 4], protocol: u8) -> Self {
        Self(u32::from_le_bytes(ports) & 0xffff_0000 | protocol as u32)
    }

    /// The same from the source port of a packet.
    #[inline(always)]
    #[must_use]
    pub const fn of_source(ports: [u8; 4], protocol: u8) -> Self {
        let [high, low, _, _] = ports;
        Self::of_packet([0, 0, high, low], protocol)
    }
}

/// What a service, or a VIP, wants besides slots: bits of [`ServiceEntry::flags`].
pub mod service_flags {
    /// Every flow is remembered, not only those of tracked slots.
    pub const FULL: u32 = 1;
    /// Sources are looked up in the list of prefixes.
    pub const LISTED: u32 = 1 << 1;
    /// A source that no prefix covers is denied.
    pub const DENY_UNLISTED: u32 = 1 << 2;
    /// New flows of a source are limited.
    pub const LIMITED: u32 = 1 << 3;
    /// Connection IDs name the backend (QUIC).
    pub const QUIC: u32 = 1 << 4;
    /// Packets get a source address of our own (mode `fullnat`).
    pub const FULLNAT: u32 = 1 << 5;
    /// A VIP entry of a source address of mode `fullnat`: not a VIP, but replies come to it.
    pub const POOL: u32 = 1 << 6;
    /// What the program for any packet does, and the one for plain packets does not.
    pub const ANY: u32 = LISTED | LIMITED | QUIC | FULLNAT;
}

/// One service, one VIP, or one nat backend by which replies are recognised.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceEntry {
    address_high: u64,
    address_low: u64,
    /// Endpoint and family of the address; 0 in an entry that is not in use.
    tag: u32,
    /// First slot of the service in the slot array.
    pub slots_base: u32,
    /// Number of slots of the service: at least 1, also for one without backends, whose slots are empty. 0 for a VIP entry.
    pub slots_len: u32,
    /// Bits of [`service_flags`].
    pub flags: u32,
    /// First slot of the table that the service had before, while flows may still follow that.
    pub old_base: u32,
    /// Number of slots of it; 0 without one.
    pub old_len: u32,
    /// Number of the service's list of prefixes, and of its limits: never that of another service at the same time.
    pub number: u32,
    /// A new flow of one source is earned in this time, in microseconds.
    pub limit_interval_us: u32,
    /// New flows that one source can save up.
    pub limit_burst: u32,
    /// A nat backend's id, in the entry by which its replies are recognised.
    pub backend: u16,
    /// A VIP entry: number of the instance whose role says whether the node answers for the address, below 32.
    pub instance: u8,
    /// Zero.
    pub reserved: [u8; 9],
}

const _: () = assert!(size_of::<ServiceEntry>() == 64);

impl ServiceEntry {
    /// An entry for an endpoint at an address, without slots.
    #[must_use]
    pub fn new(address: Address, endpoint: Endpoint) -> Self {
        Self {
            address_high: address.high,
            address_low: address.low,
            tag: endpoint.0 | address.family,
            ..Self::zeroed()
        }
    }

    /// Whether this is the entry of that endpoint at that address.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, address: Address, endpoint: Endpoint) -> bool {
        // The tag tells the families apart, and an IPv4 address has no high half.
        self.tag == endpoint.0 | address.family
            && self.address_low == address.low
            && (address.family & Address::V4 != 0 || self.address_high == address.high)
    }

    /// Whether nothing is stored here.
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        self.tag == 0
    }

    /// Address and endpoint of the entry.
    #[must_use]
    pub const fn key(&self) -> (Address, Endpoint) {
        let families = Address::V4 | Address::V6 | Address::SOURCE;
        let address = Address { high: self.address_high, low: self.address_low, family: self.tag & families };
        (address, Endpoint(self.tag & !families))
    }

    /// Whether any bit of `flags` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}

/// What the filter knows about an address that shares its last bits with one of ours: bits of a cell.
pub mod filter {
    /// A VIP.
    pub const VIP: u8 = 1;
    /// A nat backend, whose replies are translated back.
    pub const BACKEND: u8 = 1 << 1;
    /// A source address of mode `fullnat`.
    pub const POOL: u8 = 1 << 2;
}

/// One half. Few services touch few cache lines of it, whatever its size.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct ServiceTable {
    /// Seed of [`places`], an odd number; userspace takes another when entries do not fit.
    pub seed: u64,
    /// Zero.
    pub reserved: [u64; 7],
    /// Bits of [`mod@filter`], a byte a cell: bits alone would take four instructions more.
    cells: [u8; FILTER_SIZE],
    /// The entries.
    pub entries: [ServiceEntry; SERVICE_CAPACITY],
}

impl ServiceTable {
    /// What an address can be; a bit that is not set is certain, one that is set is not.
    #[inline(always)]
    #[must_use]
    pub fn may_be(&self, address: Address) -> u8 {
        self.cells[address.filter_place()]
    }

    /// Sets bits of an address's cell.
    pub fn admit(&mut self, address: Address, bits: u8) {
        self.cells[address.filter_place()] |= bits;
    }

    /// The entry of an endpoint at an address.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, address: Address, endpoint: Endpoint) -> Option<&ServiceEntry> {
        let (first, second) = places(self.seed, address, endpoint);
        let entry = &self.entries[first];
        if entry.is(address, endpoint) {
            return Some(entry);
        }
        let entry = &self.entries[second];
        if entry.is(address, endpoint) { Some(entry) } else { None }
    }
}

const _: () = assert!(size_of::<ServiceTable>() == 64 + FILTER_SIZE + 64 * SERVICE_CAPACITY);

/// The two places where an endpoint can stand: multiply-shift hashing (Dietzfelbinger et al., 1997), whose upper bits depend on
/// all bits of the key.
#[inline(always)]
#[must_use]
pub const fn places(seed: u64, address: Address, endpoint: Endpoint) -> (usize, usize) {
    const BITS: u32 = SERVICE_CAPACITY.ilog2();
    const MASK: u64 = SERVICE_CAPACITY as u64 - 1;
    let hash = (address.word(seed) << 32 | endpoint.0 as u64).wrapping_mul(seed);
    ((hash >> (64 - BITS)) as usize, (hash >> (64 - 2 * BITS) & MASK) as usize)
}
