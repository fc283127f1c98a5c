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

pub use plan::{Error, Plan, Step, plan};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::backend::{Backend, BackendId};

use crate::dataplane::Grace;
use crate::desired::ServiceKey;
use allocate::{Ids, Ranges};

/// What the tables hold.
pub struct Installed {
    state: State,
    retired: Option<(Grace, Retired)>,
}

/// The tables' contents and who has which id and which slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    macs: Vec<[u8; 6]>,
    services: BTreeMap<ServiceKey, InstalledService>,
    ids: Ids,
    ranges: Ranges,
}

/// One service as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledService {
    base: u32,
    /// The backend of each slot; `None` without one.
    slots: Arc<[Option<BackendId>]>,
    /// What the slots were computed from, ordered by address.
    weights: Arc<[(IpAddr, u32)]>,
    backends: BTreeMap<IpAddr, InstalledBackend>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InstalledBackend {
    id: BackendId,
    entry: Backend,
}

impl InstalledService {
    /// Number of slots.
    #[must_use]
    pub fn slots_len(&self) -> usize {
        self.slots.len()
    }

    /// The id of a backend; `None` until it has had a next hop.
    #[must_use]
    pub fn backend(&self, address: IpAddr) -> Option<BackendId> {
        self.backends.get(&address).map(|backend| backend.id)
    }

    /// How many slots each backend has.
    #[must_use]
    pub fn slots_by_backend(&self) -> BTreeMap<BackendId, usize> {
        let mut counts = BTreeMap::new();
        for id in self.slots.iter().flatten() {
            *counts.entry(*id).or_insert(0) += 1;
        }
        counts
    }
}

/// What nothing names any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Retired {
    ids: Vec<BackendId>,
    ranges: Vec<(u32, u32)>,
}

impl Installed {
    /// Empty tables with room for `max_slots` slots.
    #[must_use]
    pub fn empty(max_slots: u32) -> Self {
        let state = State {
            macs: Vec::new(),
            services: BTreeMap::new(),
            ids: Ids::all(),
            ranges: Ranges::all(max_slots),
        };
        Self { state, retired: None }
    }

    /// A service as it is installed.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&InstalledService> {
        self.state.services.get(key)
    }

    /// How many slots are in use.
    #[must_use]
    pub fn slots_used(&self) -> u32 {
        self.state.ranges.used()
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
        }
    }
}

#[cfg(test)]
mod tests;
