//! Going through the flow table: whose time is over, who has which flows, which slots still have flows elsewhere.
//!
//! The table is memory, so this costs no system call: 8 MB a million flows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lb_common::abi::backend::BackendId;
use lb_common::abi::flow::FlowEntry;
use lb_common::hash::slot_of;

use super::slots;
use crate::dataplane::tables::Tables;
use crate::desired::ServiceKey;

/// Whom a remembered flow belongs to.
#[derive(Clone, Debug)]
pub struct Owner<'i> {
    pub(super) key: ServiceKey,
    pub(super) slots: &'i Arc<[slots::State]>,
    pub(super) idle: u16,
    pub(super) is_down: bool,
}

impl Owner<'_> {
    /// After how many silent seconds a flow of its backend has ended; `None` when the backend is dead.
    #[must_use]
    pub fn live_idle_seconds(&self) -> Option<u64> {
        (!self.is_down).then_some(u64::from(self.idle))
    }
}

/// What one look at the flow table has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Remembered flows of each backend.
    pub flows: BTreeMap<BackendId, u64>,
    /// All of them.
    pub live: u64,
    /// Slots with a remembered flow that goes elsewhere than to `current`.
    pub(super) busy: BTreeSet<(ServiceKey, u32)>,
}

/// Looks at every remembered flow, and forgets those whose time is over.
#[must_use]
pub fn sweep(tables: &Tables, owners: &[Option<Owner<'_>>], now: u64) -> Sweep {
    let mut found = Sweep::default();
    let second = u16::try_from(now & 0xffff).unwrap_or_default();
    tables.each_flow(|place, entry| {
        let Some(id) = entry.backend() else { return };
        match &owners[id.index()] {
            Some(owner) if !owner.is_down && entry.idle_seconds(second) <= owner.idle => {
                *found.flows.entry(id).or_default() += 1;
                found.live += 1;
                let len = u32::try_from(owner.slots.len()).unwrap_or(u32::MAX);
                let slot = slot_of(u64::from(entry.tag()) << 32, len);
                let state = &owner.slots[slot as usize];
                if state.slot.is_tracked() && state.slot.current() != Some(id) {
                    found.busy.insert((owner.key, slot));
                }
            }
            // A packet that comes in between has made it another entry.
            Some(_) | None => {
                let _ = tables.swap_flow_at(place, entry, FlowEntry::VACANT);
            }
        }
    });
    found
}

/// Gives the flows of one backend id to another.
pub fn renumber(tables: &Tables, from: BackendId, to: BackendId) {
    /// A packet that comes in between renews an entry at most once a second.
    const PASSES: usize = 3;
    for _ in 0..PASSES {
        let mut missed = false;
        tables.each_flow(|place, entry| {
            if entry.backend() == Some(from) {
                missed |= !tables.swap_flow_at(place, entry, entry.with_backend(to));
            }
        });
        if !missed {
            break;
        }
    }
}
