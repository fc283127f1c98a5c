//! Who has which backend id and which slots.

use std::collections::{BTreeMap, VecDeque};

use lb_common::abi::backend::{BackendId, MAX_BACKENDS};
use lb_common::abi::slot::SLOTS_PER_LINE;

/// Free backend ids; the one that was free longest is taken first, so that a number comes back as late as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids(VecDeque<BackendId>);

impl Ids {
    pub(super) fn all() -> Self {
        Self((0..MAX_BACKENDS).filter_map(|id| BackendId::new(u16::try_from(id).ok()?)).collect())
    }

    pub(super) fn take(&mut self) -> Option<BackendId> {
        self.0.pop_front()
    }

    pub(super) fn release(&mut self, id: BackendId) {
        self.0.push_back(id);
    }
}

/// Free numbers of services; 0 is the node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    next: u32,
    free: VecDeque<u32>,
}

impl Numbers {
    pub(super) const fn all() -> Self {
        Self { next: 1, free: VecDeque::new() }
    }

    pub(super) fn take(&mut self) -> u32 {
        self.free.pop_front().unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            number
        })
    }

    pub(super) fn release(&mut self, number: u32) {
        self.free.push_back(number);
    }
}

/// Free ranges of slots, by their first slot. Every range begins with a line of the slot array, so that a table touches as few
/// cache lines as it can and no two tables share a stored word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges {
    free: BTreeMap<u32, u32>,
    total: u32,
}

impl Ranges {
    pub(super) fn all(slots: u32) -> Self {
        let total = slots - slots % SLOTS_PER_LINE;
        Self { free: BTreeMap::from([(0, total)]), total }
    }

    /// The first free range that is long enough; `None` when there is none.
    pub(super) fn take(&mut self, len: u32) -> Option<u32> {
        let len = whole_lines(len)?;
        let (base, free) =
            self.free.iter().find(|(_, free)| **free >= len).map(|(base, free)| (*base, *free))?;
        self.free.remove(&base);
        if free > len {
            self.free.insert(base + len, free - len);
        }
        Some(base)
    }

    /// Gives a range back and joins it with its neighbors.
    pub(super) fn release(&mut self, base: u32, len: u32) {
        let Some(mut len) = whole_lines(len) else { return };
        let mut base = base;
        if let Some(after) = self.free.remove(&(base + len)) {
            len += after;
        }
        if let Some((before, before_len)) = self.free.range(..base).next_back().map(|(b, l)| (*b, *l))
            && before + before_len == base
        {
            self.free.remove(&before);
            base = before;
            len += before_len;
        }
        self.free.insert(base, len);
    }

    /// All slots, free or not.
    pub(super) const fn total(&self) -> u32 {
        self.total
    }

    /// Slots that are not free.
    pub(super) fn used(&self) -> u32 {
        self.total - self.free.values().sum::<u32>()
    }
}

fn whole_lines(len: u32) -> Option<u32> {
    len.checked_next_multiple_of(SLOTS_PER_LINE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_come_back_last() {
        let mut ids = Ids::all();
        let first = ids.take().unwrap();
        assert_eq!(first.get(), 1);
        ids.release(first);
        let rest: Vec<_> = std::iter::from_fn(|| ids.take()).collect();
        assert_eq!(rest.len(), 32_767);
        assert_eq!(rest.last(), Some(&first));
        assert_eq!(ids.take(), None);
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_nothing_is_lost(lens in prop::collection::vec(1u32..200, 1..40), order in any::<u64>()) {
            let mut ranges = Ranges::all(4096);
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for len in lens {
                let Some(base) = ranges.take(len) else { continue };
                prop_assert!(base % 16 == 0 && base + len <= 4096);
                prop_assert!(taken.iter().all(|(b, l)| base + len <= *b || b + l <= base));
                taken.push((base, len));
            }
            while !taken.is_empty() {
                let index = usize::try_from(order % 7).unwrap() % taken.len();
                let (base, len) = taken.swap_remove(index);
                ranges.release(base, len);
            }
            prop_assert_eq!(ranges, Ranges::all(4096));
        }
    }
}
