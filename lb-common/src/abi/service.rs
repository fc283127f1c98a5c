//! The service table: which (address, port, protocol) is a service, and where its slots are.
//!
//! A two-choice cuckoo hash table that userspace builds as a whole and the packet path only reads: at most two probes, no
//! helper call. It is held twice; [`Control::active_half`](super::control::Control::active_half) says which half is read.
//! In front stands a filter, so that a packet that is not ours costs one byte. Every VIP also has an
//! entry without port and protocol: it tells an unused port of a VIP from an address that is nobody's business.

use bytemuck::{Pod, Zeroable};

/// Entries in one half.
pub const SERVICE_CAPACITY: usize = 16_384;
/// Services and VIPs together that one node can have. Below half full nearly every seed of a two-choice table fits, at half
/// full none does: three eighths keep away from that edge.
pub const MAX_SERVICES_AND_VIPS: usize = SERVICE_CAPACITY / 8 * 3;
/// Cells of a VIP filter.
pub const VIP_FILTER_SIZE: usize = 16_384;

/// A VIP as two words and a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vip {
    high: u64,
    low: u64,
    family: u32,
}

impl Vip {
    const V4: u32 = 1 << 8;
    const V6: u32 = 1 << 9;

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

    /// Cell of the VIP filter. The last bits of an address, where VIPs differ; an attacker who picks others of the same bits
    /// gets a packet looked up, and that is all.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the mask has 14 bits")]
    const fn filter_place(self) -> usize {
        (self.low & (VIP_FILTER_SIZE as u64 - 1)) as usize
    }

    /// The address in 32 bits: itself, or a hash under a table's seed.
    #[inline(always)]
    const fn word(self, seed: u64) -> u64 {
        if self.family == Self::V4 {
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
}

/// One service, or one VIP.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceEntry {
    vip_high: u64,
    vip_low: u64,
    /// Endpoint and family of the VIP; 0 in an entry that is not in use.
    tag: u32,
    /// First slot of the service in the slot array.
    pub slots_base: u32,
    /// Number of slots of the service: at least 1, also for one without backends, whose slots are empty. 0 for a VIP entry.
    pub slots_len: u32,
    /// Zero.
    pub reserved: [u32; 9],
}

const _: () = assert!(size_of::<ServiceEntry>() == 64);

impl ServiceEntry {
    /// An entry for an endpoint at an address, without slots.
    #[must_use]
    pub fn new(vip: Vip, endpoint: Endpoint) -> Self {
        Self { vip_high: vip.high, vip_low: vip.low, tag: endpoint.0 | vip.family, ..Self::zeroed() }
    }

    /// Whether this is the entry of that endpoint at that address.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, vip: Vip, endpoint: Endpoint) -> bool {
        // The tag tells the families apart, and an IPv4 address has no high half.
        self.tag == endpoint.0 | vip.family
            && self.vip_low == vip.low
            && (vip.family == Vip::V4 || self.vip_high == vip.high)
    }

    /// Whether nothing is stored here.
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        self.tag == 0
    }

    /// Address and endpoint of the entry.
    #[must_use]
    pub const fn key(&self) -> (Vip, Endpoint) {
        let families = Vip::V4 | Vip::V6;
        let vip = Vip { high: self.vip_high, low: self.vip_low, family: self.tag & families };
        (vip, Endpoint(self.tag & !families))
    }
}

/// One half. Few services touch few cache lines of it, whatever its size.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct ServiceTable {
    /// Seed of [`places`], an odd number; userspace takes another when entries do not fit.
    pub seed: u64,
    /// Zero.
    pub reserved: [u64; 7],
    /// 1 where a VIP leads, else 0. A byte each: bits would take four instructions more.
    filter: [u8; VIP_FILTER_SIZE],
    /// The entries.
    pub entries: [ServiceEntry; SERVICE_CAPACITY],
}

impl ServiceTable {
    /// Whether an address can be a VIP; `false` is certain, `true` is not.
    #[inline(always)]
    #[must_use]
    pub fn may_be_vip(&self, vip: Vip) -> bool {
        self.filter[vip.filter_place()] != 0
    }

    /// Makes [`Self::may_be_vip`] true for an address.
    pub fn admit_vip(&mut self, vip: Vip) {
        self.filter[vip.filter_place()] = 1;
    }

    /// The entry of an endpoint at an address.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, vip: Vip, endpoint: Endpoint) -> Option<&ServiceEntry> {
        let (first, second) = places(self.seed, vip, endpoint);
        let entry = &self.entries[first];
        if entry.is(vip, endpoint) {
            return Some(entry);
        }
        let entry = &self.entries[second];
        if entry.is(vip, endpoint) { Some(entry) } else { None }
    }
}

const _: () = assert!(size_of::<ServiceTable>() == 64 + VIP_FILTER_SIZE + 64 * SERVICE_CAPACITY);

/// The two places where an endpoint can stand: multiply-shift hashing (Dietzfelbinger et al., 1997), whose upper bits depend on
/// all bits of the key.
#[inline(always)]
#[must_use]
pub const fn places(seed: u64, vip: Vip, endpoint: Endpoint) -> (usize, usize) {
    const BITS: u32 = SERVICE_CAPACITY.ilog2();
    const MASK: u64 = SERVICE_CAPACITY as u64 - 1;
    let hash = (vip.word(seed) << 32 | endpoint.0 as u64).wrapping_mul(seed);
    ((hash >> (64 - BITS)) as usize, (hash >> (64 - 2 * BITS) & MASK) as usize)
}
