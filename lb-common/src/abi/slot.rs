//! One cell of a Maglev table, and the lines that the slot array is made of.
//!
//! ```text
//!  31        30          16 15  14         0
//! +---------+--------------+---+------------+
//! | tracked |    owner     | 0 |  current   |
//! +---------+--------------+---+------------+
//! ```
//!
//! A settled slot (`tracked` = 0) sends every packet to `current`. A tracked slot remembers, in `owner`, the backend that
//! had it before: flows that are not remembered are its. `owner` = 0 in a tracked slot says that the flows are those of the
//! service's table before this one. The transitions are userspace's.

use bytemuck::{Pod, Zeroable};

use super::backend::BackendId;

/// A slot as the tables hold it: 32 bits that change with one store.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Slot(u32);

impl Slot {
    /// A slot without a backend: packets that fall into it are dropped.
    pub const EMPTY: Self = Self(0);

    const CURRENT_MASK: u32 = 0x7fff;
    const OWNER_SHIFT: u32 = 16;
    const OWNER_MASK: u32 = 0x7fff;
    const TRACKED: u32 = 1 << 31;

    /// A slot whose packets all go to `current`.
    #[inline(always)]
    #[must_use]
    pub const fn settled(current: BackendId) -> Self {
        Self(current.get() as u32)
    }

    /// A slot whose new flows go to `current`, and whose unknown ones to `owner`, or, without one, to whom the table before
    /// this one says.
    #[must_use]
    pub const fn tracked(current: Option<BackendId>, owner: Option<BackendId>) -> Self {
        let current = match current {
            Some(id) => id.get() as u32,
            None => 0,
        };
        let owner = match owner {
            Some(id) => id.get() as u32,
            None => 0,
        };
        Self(Self::TRACKED | owner << Self::OWNER_SHIFT | current)
    }

    /// The backend of new flows; `None` where the service has none.
    #[inline(always)]
    #[must_use]
    pub const fn current(self) -> Option<BackendId> {
        BackendId::new((self.0 & Self::CURRENT_MASK) as u16)
    }

    /// The backend of flows older than the last change; `None` in a settled slot, or where the table before tells it.
    #[inline(always)]
    #[must_use]
    pub const fn owner(self) -> Option<BackendId> {
        BackendId::new(((self.0 >> Self::OWNER_SHIFT) & Self::OWNER_MASK) as u16)
    }

    /// Whether flows of this slot have to be looked up.
    #[inline(always)]
    #[must_use]
    pub const fn is_tracked(self) -> bool {
        self.0 & Self::TRACKED != 0
    }
}

/// Slots in one element of the slot array: the kernel pads array elements to 8 bytes, and 16 slots fill a cache line.
pub const SLOTS_PER_LINE: u32 = 16;

/// One element of the slot array. Slot `i` of the whole array is `lines[i / 16].0[i % 16]`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct SlotLine(pub [Slot; SLOTS_PER_LINE as usize]);

const _: () = assert!(size_of::<SlotLine>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_slot_has_a_current_backend_only() {
        let id = BackendId::new(0x7abc).unwrap();
        let slot = Slot::settled(id);
        assert_eq!(slot.current(), Some(id));
        assert_eq!(slot.owner(), None);
        assert!(!slot.is_tracked());
    }

    #[test]
    fn the_fields_do_not_overlap() {
        let slot = Slot::tracked(BackendId::new(0x7fff), BackendId::new(0x1234));
        assert_eq!(slot.current().map(BackendId::get), Some(0x7fff));
        assert_eq!(slot.owner().map(BackendId::get), Some(0x1234));
        assert!(slot.is_tracked());
        assert_eq!(Slot::EMPTY.current(), None);
    }
}
