//! Remembered flows: one word each, eight to a cache line.
//!
//! ```text
//!  63            32 31         17     16      15        0
//! +----------------+-------------+-------------+---------+
//! |      tag       |   backend   | established |   age   |
//! +----------------+-------------+-------------+---------+
//! ```
//!
//! The low half of the flow hash picks the set, the high half is the tag: two flows are taken for one with probability 2^-32
//! for each entry that is looked at. Service and slot follow from backend and tag, so nothing else is stored. A word
//! changes by compare-exchange, by packets on all CPUs and by userspace.
//!
//! The table of fragments has the same form; there the hash is that of addresses, protocol and identification, and ages are in
//! seconds since the machine was started.

use bytemuck::{Pod, Zeroable};

use super::backend::BackendId;

/// Entries of one set.
pub const WAYS: usize = 8;

/// One remembered flow; 0 is vacant.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowEntry(pub u64);

impl FlowEntry {
    const BACKEND_SHIFT: u32 = 17;
    const ESTABLISHED: u64 = 1 << 16;
    const AGE_MASK: u64 = 0xffff;

    /// Nobody's.
    pub const VACANT: Self = Self(0);

    /// A flow of a hash that goes to `backend`, last seen at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, backend: BackendId, established: bool, now: u16) -> Self {
        let established = if established { Self::ESTABLISHED } else { 0 };
        Self(
            hash & 0xffff_ffff_0000_0000
                | (backend.get() as u64) << Self::BACKEND_SHIFT
                | established
                | now as u64,
        )
    }

    /// The high half of the flow hash.
    #[inline(always)]
    #[must_use]
    pub const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The backend; `None` in a vacant entry.
    #[inline(always)]
    #[must_use]
    pub const fn backend(self) -> Option<BackendId> {
        BackendId::new(((self.0 >> Self::BACKEND_SHIFT) & 0x7fff) as u16)
    }

    /// Whether a packet was seen after the flow's first.
    #[inline(always)]
    #[must_use]
    pub const fn is_established(self) -> bool {
        self.0 & Self::ESTABLISHED != 0
    }

    /// Last 16 bits of the second at which a packet was seen.
    #[inline(always)]
    #[must_use]
    pub const fn last_seen(self) -> u16 {
        (self.0 & Self::AGE_MASK) as u16
    }

    /// Seconds since the last packet, modulo 2^16.
    #[inline(always)]
    #[must_use]
    pub const fn idle_seconds(self, now: u16) -> u16 {
        now.wrapping_sub(self.last_seen())
    }

    /// The same flow after a packet at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn seen(self, established: bool, now: u16) -> Self {
        let established = if established { Self::ESTABLISHED } else { 0 };
        Self(self.0 & !Self::AGE_MASK | established | now as u64)
    }

    /// The same flow with another backend.
    #[must_use]
    pub const fn with_backend(self, backend: BackendId) -> Self {
        Self(self.0 & !(0x7fff << Self::BACKEND_SHIFT) | (backend.get() as u64) << Self::BACKEND_SHIFT)
    }
}

/// One set.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowSet(pub [FlowEntry; WAYS]);

const _: () = assert!(size_of::<FlowSet>() == 64);

impl FlowSet {
    /// The entry of a hash; a vacant one where there is none.
    ///
    /// A function of its own, and without the place where it stands: a verifier that knew the place would walk through all that
    /// follows once for each.
    #[inline(never)]
    #[must_use]
    pub fn find(&self, hash: u64) -> FlowEntry {
        let mut way = 0;
        while way < WAYS {
            let entry = self.0[way];
            // A vacant entry has the tag of a hash whose high half is 0.
            if (entry.0 ^ hash) >> 32 == 0 && entry.backend().is_some() {
                return entry;
            }
            way += 1;
        }
        FlowEntry::VACANT
    }
}

/// Which set a flow belongs to.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the mask has 32 bits")]
pub const fn set_of(hash: u64, mask: u32) -> u32 {
    (hash & mask as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_do_not_overlap() {
        let backend = BackendId::new(0x7abc).unwrap();
        let entry = FlowEntry::new(0x1234_5678_9abc_def0, backend, false, 0xfedc);
        assert_eq!((entry.tag(), entry.backend(), entry.last_seen()), (0x1234_5678, Some(backend), 0xfedc));
        assert!(!entry.is_established());
        let later = entry.seen(true, 3);
        assert_eq!((later.tag(), later.backend(), later.last_seen()), (0x1234_5678, Some(backend), 3));
        assert!(later.is_established() && later.seen(false, 4).is_established());
        assert_eq!(entry.idle_seconds(2), 2_u16.wrapping_sub(0xfedc));
        let moved = later.with_backend(BackendId::new(1).unwrap());
        assert_eq!(
            (moved.tag(), moved.backend().map(BackendId::get), moved.last_seen()),
            (0x1234_5678, Some(1), 3)
        );
        assert_eq!(FlowEntry::VACANT.backend(), None);
    }
}
