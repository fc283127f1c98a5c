//! The ordered difference between installed and desired, and how it is carried out.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::backend::{Backend, BackendId};
use lb_common::abi::counters;
use lb_common::abi::service::{Endpoint, ServiceTable, Vip};
use lb_common::abi::slot::Slot;
use lb_common::maglev::{self, Candidate, NOBODY, Work};

use super::{Installed, InstalledBackend, InstalledService, Retired, State};
use crate::dataplane::services::{Entry, TableError, build};
use crate::dataplane::{Dataplane, Grace};
use crate::desired::{Desired, DesiredService, ServiceKey, TableSize};
use crate::model::Protocol;

/// One thing to write.
#[derive(Clone, Debug)]
pub enum Step {
    /// The node's MAC addresses.
    SetMacs(Vec<[u8; 6]>),
    /// A backend's entry; a `fresh` one starts to count at zero.
    SetBackend {
        /// Whose.
        id: BackendId,
        /// What packets to it get.
        entry: Box<Backend>,
        /// Whether the id was not in use before.
        fresh: bool,
    },
    /// Slots of a service, from an index of the whole array on.
    SetSlots {
        /// The first one.
        base: u32,
        /// What they become.
        slots: Vec<Slot>,
    },
    /// The service table.
    Publish(Box<ServiceTable>),
}

/// Why the desired state cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The slot array is too small.
    #[error(
        "service {service}: no room for {wanted} slots: {used} of {max} are in use: raise max_slots in [node]"
    )]
    NoSlots {
        /// Which service.
        service: String,
        /// How many it needs.
        wanted: u32,
        /// How many are taken.
        used: u32,
        /// How many there are.
        max: u32,
    },
    /// All ids are taken.
    #[error(
        "service {service}: there are more backends than the 32767 that one node can have: spread services over more nodes"
    )]
    NoIds {
        /// Which service.
        service: String,
    },
    /// The number of slots does not suit the backends.
    #[error("service {service}: {slots} slots do not make a Maglev table for {backends} backends")]
    Table {
        /// Which service.
        service: String,
        /// How many slots.
        slots: u32,
        /// How many backends.
        backends: usize,
    },
    /// Too many services.
    #[error(transparent)]
    Services(#[from] TableError),
}

/// What to write, in this order.
#[must_use]
pub struct Plan {
    steps: Vec<Step>,
    next: State,
    retired: Retired,
}

/// Computes how to get from `installed` to `desired`. Takes back first what the change before has retired, for which it may
/// wait some milliseconds.
///
/// # Errors
/// When the desired state cannot be had; `installed` then still is.
pub fn plan(installed: &mut Installed, desired: &Desired) -> Result<Plan, Error> {
    installed.reclaim();
    let mut planner = Planner {
        next: installed.state.clone(),
        backends: Vec::new(),
        slots: Vec::new(),
        retired: Retired::default(),
    };
    let keys: HashMap<ServiceKey, &DesiredService> =
        desired.services.iter().map(|service| (service.key, service)).collect();
    let gone: Vec<ServiceKey> =
        planner.next.services.keys().filter(|key| !keys.contains_key(key)).copied().collect();
    for key in gone {
        planner.remove_service(&key);
    }
    for service in &desired.services {
        planner.set_service(service)?;
    }
    let mut steps = Vec::new();
    if planner.next.macs != desired.macs {
        planner.next.macs.clone_from(&desired.macs);
        steps.push(Step::SetMacs(desired.macs.clone()));
    }
    steps.append(&mut planner.backends);
    steps.append(&mut planner.slots);
    let places = |state: &State| -> Vec<Entry> { state.services.iter().map(table_entry).collect() };
    let entries = places(&planner.next);
    if entries != places(&installed.state) {
        steps.push(Step::Publish(build(&entries)?));
    }
    Ok(Plan { steps, next: planner.next, retired: planner.retired })
}

impl Plan {
    /// What will be written; empty when the desired state is installed.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many slots get another backend.
    #[must_use]
    pub fn slots_written(&self) -> usize {
        let written = |step: &Step| match step {
            Step::SetSlots { slots, .. } => slots.len(),
            Step::SetMacs(_) | Step::SetBackend { .. } | Step::Publish(_) => 0,
        };
        self.steps.iter().map(written).sum()
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When a counter cannot be cleared; the tables are right nevertheless.
    pub fn apply(self, dataplane: &mut impl Dataplane, installed: &mut Installed) -> io::Result<()> {
        let mut result = Ok(());
        let published = self.steps.iter().any(|step| matches!(step, Step::Publish(_)));
        for step in self.steps {
            match step {
                Step::SetMacs(macs) => dataplane.set_macs(&macs),
                Step::SetBackend { id, entry, fresh } => {
                    if fresh {
                        result = result.and(dataplane.clear_counter(counters::of_backend(id)));
                    }
                    dataplane.set_backend(id, &entry);
                }
                Step::SetSlots { base, slots } => dataplane.set_slots(base, &slots),
                Step::Publish(table) => dataplane.publish(&table),
            }
        }
        installed.state = self.next;
        // The half of the service table that was read until now is written next time: not before nobody reads it.
        if published || self.retired != Retired::default() {
            let grace: Grace = dataplane.grace();
            installed.retired = Some((grace, self.retired));
        }
        result
    }
}

/// Collects steps while the next state takes shape.
struct Planner {
    next: State,
    backends: Vec<Step>,
    slots: Vec<Step>,
    retired: Retired,
}

impl Planner {
    fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(service) = self.next.services.remove(key) {
            self.retired.ids.extend(service.backends.values().map(|backend| backend.id));
            self.retired.ranges.push((service.base, len_u32(&service.slots)));
        }
    }

    fn set_service(&mut self, service: &DesiredService) -> Result<(), Error> {
        let before = self.next.services.get(&service.key).cloned();
        let backends = self.set_backends(service, before.as_ref())?;
        let weights: Arc<[(IpAddr, u32)]> = {
            let mut weights: Vec<_> = service.backends.iter().map(|b| (b.address, b.weight)).collect();
            weights.sort_unstable();
            weights.into()
        };
        let len = match (service.size, &before) {
            (TableSize::Fixed(len), _) => len,
            (TableSize::AtLeast(len), Some(before)) => len.max(len_u32(&before.slots)),
            (TableSize::AtLeast(len), None) => len,
        };
        let installed = match before {
            Some(before) if len_u32(&before.slots) == len => {
                let slots = if before.weights == weights && same_ids(&before.backends, &backends) {
                    Arc::clone(&before.slots)
                } else {
                    let slots = maglev_slots(service, len, &weights, &backends)?;
                    self.change_slots(before.base, &before.slots, &slots);
                    slots
                };
                InstalledService { base: before.base, slots, weights, backends }
            }
            other => {
                let slots = maglev_slots(service, len, &weights, &backends)?;
                let base = self.take_slots(service, len)?;
                self.slots.push(Step::SetSlots { base, slots: slots.iter().map(|id| slot(*id)).collect() });
                if let Some(before) = other {
                    self.retired.ranges.push((before.base, len_u32(&before.slots)));
                }
                InstalledService { base, slots, weights, backends }
            }
        };
        self.next.services.insert(service.key, installed);
        Ok(())
    }

    fn set_backends(
        &mut self,
        service: &DesiredService,
        before: Option<&InstalledService>,
    ) -> Result<BTreeMap<IpAddr, InstalledBackend>, Error> {
        let mut backends = BTreeMap::new();
        for backend in &service.backends {
            let known = before.and_then(|before| before.backends.get(&backend.address)).copied();
            let known = known.filter(|known| {
                let keeps_id = backend.entry.is_none_or(|entry| only_macs_differ(&known.entry, &entry));
                if !keeps_id {
                    self.retired.ids.push(known.id);
                }
                keeps_id
            });
            let installed = match (known, backend.entry) {
                (Some(known), Some(entry)) if known.entry != entry => {
                    self.backends.push(Step::SetBackend {
                        id: known.id,
                        entry: Box::new(entry),
                        fresh: false,
                    });
                    InstalledBackend { entry, ..known }
                }
                // Without a next hop it has no slots, and its entry can stay until it has one again.
                (Some(known), Some(_) | None) => known,
                (None, Some(entry)) => {
                    let id =
                        self.next.ids.take().ok_or_else(|| Error::NoIds { service: service.name.clone() })?;
                    self.backends.push(Step::SetBackend { id, entry: Box::new(entry), fresh: true });
                    InstalledBackend { id, entry }
                }
                (None, None) => continue,
            };
            backends.insert(backend.address, installed);
        }
        let gone = before.into_iter().flat_map(|before| &before.backends);
        self.retired.ids.extend(
            gone.filter(|(address, _)| !backends.contains_key(address)).map(|(_, backend)| backend.id),
        );
        Ok(backends)
    }

    fn take_slots(&mut self, service: &DesiredService, len: u32) -> Result<u32, Error> {
        let ranges = &mut self.next.ranges;
        ranges.take(len).ok_or_else(|| Error::NoSlots {
            service: service.name.clone(),
            wanted: len,
            used: ranges.used(),
            max: ranges.total(),
        })
    }

    /// Steps for the runs of slots that change, one for each.
    fn change_slots(&mut self, base: u32, before: &[Option<BackendId>], after: &[Option<BackendId>]) {
        let mut run: Option<(u32, Vec<Slot>)> = None;
        for ((index, before), after) in (base..).zip(before).zip(after) {
            if before == after {
                self.slots.extend(run.take().map(|(base, slots)| Step::SetSlots { base, slots }));
            } else {
                run.get_or_insert_with(|| (index, Vec::new())).1.push(slot(*after));
            }
        }
        self.slots.extend(run.map(|(base, slots)| Step::SetSlots { base, slots }));
    }
}

/// Whether an entry may be replaced under packets that read it: a MAC address more or less is a neighbor that has moved, but
/// half of one outer header and half of another, or one interface's MAC on another, is nobody's. Such a backend gets
/// another id.
fn only_macs_differ(before: &Backend, after: &Backend) -> bool {
    Backend { next_hop_mac: after.next_hop_mac, source_mac: after.source_mac, ..*before } == *after
}

fn same_ids(before: &BTreeMap<IpAddr, InstalledBackend>, after: &BTreeMap<IpAddr, InstalledBackend>) -> bool {
    after.iter().all(|(address, backend)| before.get(address).is_some_and(|known| known.id == backend.id))
}

fn maglev_slots(
    service: &DesiredService,
    len: u32,
    weights: &[(IpAddr, u32)],
    backends: &BTreeMap<IpAddr, InstalledBackend>,
) -> Result<Arc<[Option<BackendId>]>, Error> {
    let candidates: Vec<Candidate> = weights
        .iter()
        .map(|(address, weight)| Candidate { identity: maglev::identity(mapped(*address)), weight: *weight })
        .collect();
    let mut table = vec![NOBODY; len as usize];
    let mut work = vec![Work::default(); candidates.len()];
    maglev::fill(&mut table, &candidates, &mut work).map_err(|_| Error::Table {
        service: service.name.clone(),
        slots: len,
        backends: candidates.len(),
    })?;
    // A backend with a weight has a next hop, and so an id.
    let ids: Vec<Option<BackendId>> =
        weights.iter().map(|(address, _)| backends.get(address).map(|backend| backend.id)).collect();
    Ok(table.iter().map(|owner| ids.get(usize::from(*owner)).copied().flatten()).collect())
}

fn slot(id: Option<BackendId>) -> Slot {
    id.map_or(Slot::EMPTY, Slot::settled)
}

fn table_entry((key, service): (&ServiceKey, &InstalledService)) -> Entry {
    let vip = match key.address {
        IpAddr::V4(address) => Vip::v4(address.octets()),
        IpAddr::V6(address) => Vip::v6(&address.octets()),
    };
    let protocol = match key.protocol {
        Protocol::Tcp => lb_common::parse::protocol::TCP,
        Protocol::Udp => lb_common::parse::protocol::UDP,
    };
    Entry {
        vip,
        endpoint: Endpoint::new(key.port, protocol),
        slots_base: service.base,
        slots_len: len_u32(&service.slots),
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Tables were made from a `u32` size.
fn len_u32(slots: &[Option<BackendId>]) -> u32 {
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}
