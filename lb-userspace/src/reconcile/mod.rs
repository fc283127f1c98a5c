//! From what is installed to what is desired, in an order that no packet notices.
//!
//! [`plan`] compares and allocates, and changes nothing; [`Plan::apply`] carries out. Between the two nothing can fail but the
//! machine: everything that can be refused (no room, a table that does not fit) is refused by `plan`.
//!
//! The order of a plan: entries of backends that are new or have moved; slots, which may name them now; the service table,
//! which may name the slots. What nothing names any more is kept until a grace period is over, because a packet may still be
//! holding it, and is free for reuse after that.

mod allocate;
mod plan;
mod slots;
pub mod sweep;

pub use plan::{Error, Plan, Step, plan, settle};
pub use sweep::{Owner, Sweep};

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_common::abi::backend::{Backend, BackendId, MAX_BACKENDS, backend_flags};
use lb_common::abi::node::MAX_SOURCES;

use crate::dataplane::Grace;
use crate::desired::{Server, ServiceKey, Settings};
use crate::model::Prefix;
use allocate::{Ids, Numbers, Ranges};

/// What the tables hold.
pub struct Installed {
    state: State,
    retired: Option<(Grace, Retired)>,
    /// Lists that no packet looks at any more, and that still stand in their map.
    unread_lists: Vec<(u32, BTreeMap<Prefix, bool>)>,
}

/// The tables' contents and who has which id and which slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    interfaces: Vec<(u32, [u8; 6])>,
    services: BTreeMap<ServiceKey, InstalledService>,
    servers: BTreeMap<(u32, u16), BackendId>,
    ids: Ids,
    ranges: Ranges,
    numbers: Numbers,
    sources: Ranges,
}

/// One service as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledService {
    base: u32,
    /// Number of its list and its limits.
    number: u32,
    slots: Arc<[slots::State]>,
    /// The table before this one, while flows may follow it.
    old: Option<OldTable>,
    /// What the slots were computed from, ordered by server.
    weights: Arc<[(Server, u32)]>,
    backends: BTreeMap<Server, InstalledBackend>,
    settings: Settings,
    /// First of its source addresses, in mode `fullnat`.
    sources_base: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct OldTable {
    base: u32,
    slots: Arc<[slots::State]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InstalledBackend {
    id: BackendId,
    entry: Backend,
}

/// How the slots of a service stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Every packet goes to one backend.
    pub settled: usize,
    /// Flows are told apart.
    pub tracked: usize,
}

impl InstalledService {
    /// Number of slots.
    #[must_use]
    pub fn slots_len(&self) -> usize {
        self.slots.len()
    }

    /// First slot in the slot array.
    #[must_use]
    pub const fn slots_base(&self) -> u32 {
        self.base
    }

    /// How many of them are settled, and how many tracked.
    #[must_use]
    pub fn slot_counts(&self) -> SlotCounts {
        let tracked = self.slots.iter().filter(|state| state.slot.is_tracked()).count();
        SlotCounts { settled: self.slots.len() - tracked, tracked }
    }

    /// The id of a backend; `None` until it has had a next hop.
    #[must_use]
    pub fn backend(&self, server: Server) -> Option<BackendId> {
        self.backends.get(&server).map(|backend| backend.id)
    }

    /// How many slots send new flows to each backend.
    #[must_use]
    pub fn slots_by_backend(&self) -> BTreeMap<BackendId, usize> {
        let mut counts = BTreeMap::new();
        for id in self.slots.iter().filter_map(|state| state.slot.current()) {
            *counts.entry(id).or_insert(0) += 1;
        }
        counts
    }

    /// Whether a packet could still be sent to a backend because of a slot.
    #[must_use]
    pub fn names(&self, id: BackendId) -> bool {
        let old = self.old.iter().flat_map(|old| old.slots.iter());
        self.slots.iter().chain(old).any(|state| state.names(id))
    }
}

/// What nothing names any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Retired {
    ids: Vec<BackendId>,
    ranges: Vec<(u32, u32)>,
    sources: Vec<(u32, u32)>,
    /// Numbers of services that are gone, or have another list, and the lists.
    lists: Vec<(u32, BTreeMap<Prefix, bool>)>,
}

impl Installed {
    /// Empty tables with room for `max_slots` slots.
    #[must_use]
    pub fn empty(max_slots: u32) -> Self {
        let state = State {
            interfaces: Vec::new(),
            services: BTreeMap::new(),
            servers: BTreeMap::new(),
            ids: Ids::all(),
            ranges: Ranges::all(max_slots),
            numbers: Numbers::all(),
            sources: Ranges::all(MAX_SOURCES),
        };
        Self { state, retired: None, unread_lists: Vec::new() }
    }

    /// A service as it is installed.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&InstalledService> {
        self.state.services.get(key)
    }

    /// How many slots are in use.
    #[cfg(test)]
    fn slots_used(&self) -> u32 {
        self.state.ranges.used()
    }

    /// Whom the entries of the flow table belong to, by backend id.
    #[must_use]
    pub fn owners(&self) -> Vec<Option<Owner<'_>>> {
        let mut owners = vec![None; MAX_BACKENDS as usize];
        for (key, service) in &self.state.services {
            for backend in service.backends.values() {
                let is_down = backend.entry.flags & backend_flags::DOWN != 0;
                owners[backend.id.index()] = Some(Owner {
                    key: *key,
                    slots: &service.slots,
                    idle: service.settings.idle_seconds,
                    is_down,
                });
            }
        }
        owners
    }

    /// Takes back what was retired by the last change, once no packet can hold it.
    fn reclaim(&mut self) {
        if let Some((grace, retired)) = self.retired.take() {
            grace.wait();
            for id in retired.ids {
                self.state.ids.release(id);
            }
            for (base, len) in retired.ranges {
                self.state.ranges.release(base, len);
            }
            for (base, len) in retired.sources {
                self.state.sources.release(base, len);
            }
            self.unread_lists.extend(retired.lists);
        }
    }
}

#[cfg(test)]
mod tests;
