//! The ordered difference between installed and desired, and how it is carried out.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::backend::{Backend, BackendId, Mode, Translation, backend_flags};
use lb_common::abi::counters;
use lb_common::abi::service::{Address, Endpoint, ServiceEntry, ServiceTable, filter, service_flags};
use lb_common::abi::slot::Slot;
use lb_common::hash::mix;
use lb_common::maglev::{self, Candidate, NOBODY, Work};

use super::{Installed, InstalledBackend, InstalledService, OldTable, Retired, State, Sweep, slots, sweep};
use crate::dataplane::services::{Entry, TableError, build};
use crate::dataplane::{Dataplane, Grace};
use crate::desired::{Desired, DesiredService, Server, ServiceKey, Settings, TableSize, wire};
use crate::model::{Prefix, Protocol, Tracking};

/// One thing to write.
#[derive(Clone, Debug)]
pub enum Step {
    /// The node's interfaces and their MAC addresses.
    SetInterfaces(Vec<(u32, [u8; 6])>),
    /// Source addresses of mode `fullnat`, from a place on.
    SetSources {
        /// The first place.
        base: u32,
        /// Wire bytes, an IPv4 address in the first four.
        addresses: Vec<[u8; 16]>,
    },
    /// The list of a service, under a number that nobody reads yet.
    SetList {
        /// The number.
        number: u32,
        /// Sources, and whether they are let in.
        list: BTreeMap<Prefix, bool>,
    },
    /// A backend's entry; a `fresh` one starts to count at zero.
    SetBackend {
        /// Whose.
        id: BackendId,
        /// What packets to it get.
        entry: Box<Backend>,
        /// Whether the id was not in use before.
        fresh: bool,
    },
    /// The backend that a QUIC server ID names; `None` for none.
    SetServer {
        /// Number of the service.
        number: u32,
        /// The server ID.
        server_id: u16,
        /// The backend.
        id: Option<BackendId>,
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
    /// A backend has another id: its remembered flows get it as well.
    Renumber {
        /// The old one.
        from: BackendId,
        /// The new one.
        to: BackendId,
    },
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
    /// More source addresses than there is room for.
    #[error("service {service}: there is no room for its source_addresses: one node can have 4096 of them")]
    NoSources {
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

/// Computes how to get from `installed` to `desired` at `now`, in seconds. Takes back first what the change before has retired,
/// for which it may wait some milliseconds.
///
/// # Errors
/// When the desired state cannot be had; `installed` then still is.
pub fn plan(installed: &mut Installed, desired: &Desired, now: u64) -> Result<Plan, Error> {
    installed.reclaim();
    let mut planner = Planner::new(installed, now);
    let keys: HashSet<ServiceKey> = desired.services.iter().map(|service| service.key).collect();
    let gone: Vec<ServiceKey> =
        planner.next.services.keys().filter(|key| !keys.contains(key)).copied().collect();
    for key in gone {
        planner.remove_service(&key);
    }
    for service in &desired.services {
        planner.set_service(service)?;
    }
    if planner.next.interfaces != desired.interfaces {
        planner.next.interfaces.clone_from(&desired.interfaces);
        planner.before.push(Step::SetInterfaces(desired.interfaces.clone()));
    }
    planner.set_servers(desired);
    planner.finish(installed)
}

/// Computes which slots have learned all their flows, and which need no tracking any more. `refused` is the second at which a
/// flow was last not remembered.
///
/// # Errors
/// As [`plan`].
pub fn settle(installed: &mut Installed, sweep: &Sweep, refused: u64, now: u64) -> Result<Plan, Error> {
    installed.reclaim();
    let mut planner = Planner::new(installed, now);
    let keys: Vec<ServiceKey> = planner.next.services.keys().copied().collect();
    for key in keys {
        planner.settle(key, sweep, refused);
    }
    planner.finish(installed)
}

impl Plan {
    /// What will be written; empty when the desired state is installed.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many slots are written.
    #[must_use]
    pub fn slots_written(&self) -> usize {
        self.steps
            .iter()
            .map(|step| if let Step::SetSlots { slots, .. } = step { slots.len() } else { 0 })
            .sum()
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When a counter cannot be cleared, or a map is full; slots and services are right nevertheless.
    pub fn apply(self, dataplane: &mut impl Dataplane, installed: &mut Installed) -> io::Result<()> {
        let mut result = Ok(());
        let published = self.steps.iter().any(|step| matches!(step, Step::Publish(_)));
        for step in self.steps {
            let done = match step {
                Step::SetInterfaces(interfaces) => {
                    dataplane.set_interfaces(&interfaces);
                    Ok(())
                }
                Step::SetSources { base, addresses } => {
                    dataplane.set_sources(base, &addresses);
                    Ok(())
                }
                Step::SetList { number, list } => dataplane.set_list(number, &list),
                Step::SetBackend { id, entry, fresh } => {
                    let done = if fresh { dataplane.clear_counter(counters::of_backend(id)) } else { Ok(()) };
                    dataplane.set_backend(id, &entry);
                    done
                }
                Step::SetServer { number, server_id, id } => dataplane.set_server(number, server_id, id),
                Step::SetSlots { base, slots } => {
                    dataplane.set_slots(base, &slots);
                    Ok(())
                }
                Step::Publish(table) => {
                    dataplane.publish(&table);
                    Ok(())
                }
                Step::Renumber { from, to } => {
                    sweep::renumber(dataplane.tables(), from, to);
                    Ok(())
                }
            };
            result = result.and(done);
        }
        installed.state = self.next;
        for (number, list) in std::mem::take(&mut installed.unread_lists) {
            result = result.and(dataplane.clear_list(number, &list));
            installed.state.numbers.release(number);
        }
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
    now: u64,
    /// Interfaces, source addresses and lists.
    before: Vec<Step>,
    backends: Vec<Step>,
    slots: Vec<Step>,
    /// What comes once nobody is sent by the old state any more.
    after: Vec<Step>,
    retired: Retired,
}

impl Planner {
    fn new(installed: &Installed, now: u64) -> Self {
        Self {
            next: installed.state.clone(),
            now,
            before: Vec::new(),
            backends: Vec::new(),
            slots: Vec::new(),
            after: Vec::new(),
            retired: Retired::default(),
        }
    }

    fn finish(self, installed: &Installed) -> Result<Plan, Error> {
        let Self { next, before, backends, slots, after, retired, .. } = self;
        let mut steps = before;
        steps.extend(backends);
        steps.extend(slots);
        let entries = table_entries(&next);
        if entries != table_entries(&installed.state) {
            steps.push(Step::Publish(build(&entries)?));
        }
        steps.extend(after);
        Ok(Plan { steps, next, retired })
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(service) = self.next.services.remove(key) {
            self.retired.ids.extend(service.backends.values().map(|backend| backend.id));
            self.retire_slots(service.base, &service.slots);
            if let Some(old) = service.old {
                self.retire_slots(old.base, &old.slots);
            }
            self.retire_sources(service.sources_base, &service.settings);
            self.retired.lists.push((service.number, service.settings.list));
        }
    }

    fn retire_slots(&mut self, base: u32, slots: &[slots::State]) {
        self.retired.ranges.push((base, len_u32(slots)));
    }

    fn retire_sources(&mut self, base: u32, settings: &Settings) {
        if !settings.sources.is_empty() {
            let len = u32::try_from(settings.sources.len()).unwrap_or(u32::MAX);
            self.retired.sources.push((base, len));
        }
    }

    fn set_service(&mut self, service: &DesiredService) -> Result<(), Error> {
        let mut before = self.next.services.get(&service.key).cloned();
        let (number, sources_base) = self.set_settings(service, before.as_ref())?;
        let backends = self.set_backends(service, before.as_mut(), sources_base)?;
        let adaptive = service.settings.tracking == Tracking::Adaptive;
        // Ids of backends of the new state that are not dead.
        let alive: HashSet<BackendId> = backends
            .values()
            .filter(|backend| backend.entry.flags & backend_flags::DOWN == 0)
            .map(|backend| backend.id)
            .collect();
        let is_dead = |id: BackendId| !alive.contains(&id);
        let weights: Arc<[(Server, u32)]> = {
            let mut weights: Vec<_> = service.backends.iter().map(|b| (b.server, b.weight)).collect();
            weights.sort_unstable();
            weights.into()
        };
        let len = self.len_of(service, before.as_ref());
        let wanted = maglev_slots(service, len, &weights, &backends)?;
        let now = self.now;
        let (base, slots, old) = match before {
            Some(before) if len_u32(&before.slots) == len => {
                let slots: Arc<[slots::State]> = before
                    .slots
                    .iter()
                    .zip(&wanted)
                    .map(|(state, to)| {
                        if state.slot.current() == *to && (adaptive || !state.slot.is_tracked()) {
                            state.without(is_dead)
                        } else {
                            state.change(*to, adaptive, is_dead, now)
                        }
                    })
                    .collect();
                self.change_slots(before.base, &before.slots, &slots);
                (before.base, slots, before.old)
            }
            before => {
                let base = self.take_slots(service, len)?;
                let follows = before.as_ref().filter(|before| adaptive && has_flows(before, is_dead));
                let slots: Arc<[slots::State]> = wanted
                    .iter()
                    .map(|to| match follows {
                        Some(_) => slots::State::after_old_table(*to, now),
                        None => slots::State::new(*to),
                    })
                    .collect();
                self.slots
                    .push(Step::SetSlots { base, slots: slots.iter().map(|state| state.slot).collect() });
                let follows = follows.is_some();
                let old = before.and_then(|before| {
                    if let Some(older) = &before.old {
                        self.retire_slots(older.base, &older.slots);
                    }
                    if follows {
                        return Some(OldTable { base: before.base, slots: before.slots });
                    }
                    self.retire_slots(before.base, &before.slots);
                    None
                });
                (base, slots, old)
            }
        };
        let settings = service.settings.clone();
        let installed =
            InstalledService { base, number, slots, old, weights, backends, settings, sources_base };
        self.next.services.insert(service.key, installed);
        Ok(())
    }

    /// How many slots the service gets now: another number waits until the table before the one before is nobody's any more.
    fn len_of(&self, service: &DesiredService, before: Option<&InstalledService>) -> u32 {
        let weighted = service.backends.iter().filter(|backend| backend.weight > 0).count();
        match before {
            Some(before) if before.old.is_some() && weighted <= before.slots.len() => len_u32(&before.slots),
            before => match (service.size, before) {
                (TableSize::Fixed(len), _) => len,
                (TableSize::AtLeast(len), Some(before)) => len.max(len_u32(&before.slots)),
                (TableSize::AtLeast(len), None) => len,
            },
        }
    }

    /// Number and source addresses of a service: another list has another number, so that no packet sees half of it.
    fn set_settings(
        &mut self,
        service: &DesiredService,
        before: Option<&InstalledService>,
    ) -> Result<(u32, u32), Error> {
        let settings = &service.settings;
        let number = match before {
            Some(before) if before.settings.list == settings.list => before.number,
            before => {
                if let Some(before) = before {
                    self.retired.lists.push((before.number, before.settings.list.clone()));
                }
                let number = self.next.numbers.take();
                if !settings.list.is_empty() {
                    self.before.push(Step::SetList { number, list: settings.list.clone() });
                }
                number
            }
        };
        let sources_base = match before {
            Some(before) if before.settings.sources == settings.sources => before.sources_base,
            before => {
                if let Some(before) = before {
                    self.retire_sources(before.sources_base, &before.settings);
                }
                self.take_sources(service)?
            }
        };
        Ok((number, sources_base))
    }

    fn take_sources(&mut self, service: &DesiredService) -> Result<u32, Error> {
        let addresses: Vec<[u8; 16]> =
            service.settings.sources.iter().map(|address| wire(*address)).collect();
        if addresses.is_empty() {
            return Ok(0);
        }
        let len = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let base = self.next.sources.take(len);
        let base = base.ok_or_else(|| Error::NoSources { service: service.name.clone() })?;
        self.before.push(Step::SetSources { base, addresses });
        Ok(base)
    }

    fn set_backends(
        &mut self,
        service: &DesiredService,
        mut before: Option<&mut InstalledService>,
        sources_base: u32,
    ) -> Result<BTreeMap<Server, InstalledBackend>, Error> {
        let mut backends = BTreeMap::new();
        for backend in &service.backends {
            let known = before.as_ref().and_then(|before| before.backends.get(&backend.server)).copied();
            let flags = if backend.down { backend_flags::DOWN } else { 0 };
            let entry =
                backend.entry.map(|entry| Backend { flags, ..with_pool(entry, service, sources_base) });
            let installed = match (known, entry) {
                (Some(known), Some(entry)) if may_replace(&known.entry, &entry) => {
                    self.set_backend(known, entry)
                }
                // Without a next hop it has no slots, and its entry can stay until it has one again.
                (Some(known), None) => self.set_backend(known, Backend { flags, ..known.entry }),
                (known, Some(entry)) => {
                    let id =
                        self.next.ids.take().ok_or_else(|| Error::NoIds { service: service.name.clone() })?;
                    self.backends.push(Step::SetBackend { id, entry: Box::new(entry), fresh: true });
                    if let (Some(known), Some(before)) = (known, before.as_mut()) {
                        self.renumber(before, known.id, id);
                    }
                    InstalledBackend { id, entry }
                }
                (None, None) => continue,
            };
            backends.insert(backend.server, installed);
        }
        let gone = before.iter().flat_map(|before| &before.backends);
        self.retired
            .ids
            .extend(gone.filter(|(server, _)| !backends.contains_key(server)).map(|(_, backend)| backend.id));
        Ok(backends)
    }

    fn set_backend(&mut self, known: InstalledBackend, entry: Backend) -> InstalledBackend {
        if known.entry != entry {
            self.backends.push(Step::SetBackend { id: known.id, entry: Box::new(entry), fresh: false });
        }
        InstalledBackend { entry, ..known }
    }

    /// The same backend under another id: its slots and flows go with it.
    fn renumber(&mut self, service: &mut InstalledService, from: BackendId, to: BackendId) {
        self.retired.ids.push(from);
        let new: Arc<[slots::State]> = service.slots.iter().map(|state| state.renumber(from, to)).collect();
        self.change_slots(service.base, &service.slots, &new);
        service.slots = new;
        if let Some(old) = &mut service.old {
            let new: Arc<[slots::State]> = old.slots.iter().map(|state| state.renumber(from, to)).collect();
            change_slots(&mut self.slots, old.base, &old.slots, &new);
            old.slots = new;
        }
        if service.settings.tracking != Tracking::Off {
            self.after.push(Step::Renumber { from, to });
        }
    }

    fn settle(&mut self, key: ServiceKey, sweep: &Sweep, refused: u64) {
        let Some(mut service) = self.next.services.get(&key).cloned() else { return };
        let idle = u64::from(service.settings.idle_seconds);
        let now = self.now;
        if service.slots.iter().any(|state| state.slot.is_tracked()) {
            let slots: Arc<[slots::State]> = (0..)
                .zip(service.slots.iter())
                .map(|(index, state)| state.settle(idle, refused, sweep.busy.contains(&(key, index)), now))
                .collect();
            self.change_slots(service.base, &service.slots, &slots);
            service.slots = slots;
        }
        if !service.slots.iter().any(|state| state.follows_old_table())
            && let Some(old) = service.old.take()
        {
            self.retire_slots(old.base, &old.slots);
        }
        self.next.services.insert(key, service);
    }

    /// Which backends QUIC server IDs name.
    fn set_servers(&mut self, desired: &Desired) {
        let mut servers = BTreeMap::new();
        for service in desired.services.iter().filter(|service| service.settings.quic) {
            let Some(installed) = self.next.services.get(&service.key) else { continue };
            for backend in &service.backends {
                if let (Some(server_id), Some(id)) = (backend.server_id, installed.backend(backend.server)) {
                    servers.insert((installed.number, server_id), id);
                }
            }
        }
        let before = std::mem::replace(&mut self.next.servers, servers);
        let next = &self.next.servers;
        for (number, server_id) in before.keys().filter(|key| !next.contains_key(key)) {
            self.after.push(Step::SetServer { number: *number, server_id: *server_id, id: None });
        }
        for ((number, server_id), id) in next.iter().filter(|(key, id)| before.get(key) != Some(id)) {
            let (number, server_id, id) = (*number, *server_id, Some(*id));
            self.backends.push(Step::SetServer { number, server_id, id });
        }
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

    fn change_slots(&mut self, base: u32, before: &[slots::State], after: &[slots::State]) {
        change_slots(&mut self.slots, base, before, after);
    }
}

/// Steps for the runs of slots that change, one for each.
fn change_slots(steps: &mut Vec<Step>, base: u32, before: &[slots::State], after: &[slots::State]) {
    let mut run: Option<(u32, Vec<Slot>)> = None;
    for ((index, before), after) in (base..).zip(before).zip(after) {
        if before.slot == after.slot {
            steps.extend(run.take().map(|(base, slots)| Step::SetSlots { base, slots }));
        } else {
            run.get_or_insert_with(|| (index, Vec::new())).1.push(after.slot);
        }
    }
    steps.extend(run.map(|(base, slots)| Step::SetSlots { base, slots }));
}

/// Whether a table has flows that another size could move.
fn has_flows(service: &InstalledService, is_dead: impl Fn(BackendId) -> bool) -> bool {
    let old = service.old.iter().flat_map(|old| old.slots.iter());
    let mut named =
        service.slots.iter().chain(old).flat_map(|state| [state.slot.current(), state.slot.owner()]);
    named.any(|id| id.is_some_and(|id| !is_dead(id)))
}

/// In mode `fullnat`, which source addresses a backend's packets get.
fn with_pool(entry: Backend, service: &DesiredService, base: u32) -> Backend {
    if entry.mode != Mode::Fullnat as u8 {
        return entry;
    }
    let len = u16::try_from(service.settings.sources.len()).unwrap_or(u16::MAX);
    let pool = [u16::try_from(base).unwrap_or(u16::MAX), len].map(u16::to_ne_bytes);
    Backend { template: bytemuck::cast(Translation { pool, ..*entry.translation() }), ..entry }
}

/// Whether an entry may be replaced under packets that read it: a MAC address more or less is a neighbor that has moved, but
/// half of one outer header and half of another, or one interface's MAC on another, is nobody's. Such a backend gets
/// another id.
fn may_replace(before: &Backend, after: &Backend) -> bool {
    let (next_hop_mac, source_mac, flags) = (after.next_hop_mac, after.source_mac, after.flags);
    Backend { next_hop_mac, source_mac, flags, ..*before } == *after
}

fn maglev_slots(
    service: &DesiredService,
    len: u32,
    weights: &[(Server, u32)],
    backends: &BTreeMap<Server, InstalledBackend>,
) -> Result<Vec<Option<BackendId>>, Error> {
    let candidates: Vec<Candidate> = weights
        .iter()
        .map(|(server, weight)| Candidate { identity: identity(*server), weight: *weight })
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
        weights.iter().map(|(server, _)| backends.get(server).map(|backend| backend.id)).collect();
    Ok(table.iter().map(|owner| ids.get(usize::from(*owner)).copied().flatten()).collect())
}

fn identity(server: Server) -> u64 {
    let mapped = match server.address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    match server.port {
        0 => maglev::identity(mapped),
        port => mix(maglev::identity(mapped) ^ u64::from(port)),
    }
}

/// The whole service table: services, their VIPs, nat backends and source addresses.
fn table_entries(state: &State) -> Vec<Entry> {
    let mut entries = BTreeMap::new();
    for (key, service) in &state.services {
        let vip = address(key.address);
        let mut entry = ServiceEntry::new(vip, Endpoint::new(key.port, protocol_number(key.protocol)));
        let settings = &service.settings;
        let flags = [
            (settings.tracking == Tracking::Full, service_flags::FULL),
            (!settings.list.is_empty(), service_flags::LISTED),
            (settings.deny_unlisted, service_flags::LISTED | service_flags::DENY_UNLISTED),
            (settings.limit.is_some(), service_flags::LIMITED),
            (settings.quic, service_flags::QUIC),
            (!settings.sources.is_empty(), service_flags::FULLNAT),
        ];
        entry.flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        (entry.slots_base, entry.slots_len) = (service.base, len_u32(&service.slots));
        if let Some(old) = &service.old {
            (entry.old_base, entry.old_len) = (old.base, len_u32(&old.slots));
        }
        entry.number = service.number;
        (entry.limit_interval_us, entry.limit_burst) = settings.limit.unwrap_or_default();
        entries.insert(
            (key.address, Some((key.port, key.protocol)), false),
            Entry { entry, filter: filter::VIP },
        );
        let vip = Entry { entry: ServiceEntry::new(vip, Endpoint::VIP), filter: filter::VIP };
        entries.insert((key.address, None, false), vip);
        for source in &settings.sources {
            let mut entry = ServiceEntry::new(address(*source), Endpoint::VIP);
            entry.flags = service_flags::POOL;
            entries.insert((*source, None, false), Entry { entry, filter: filter::POOL });
        }
        for (server, backend) in service.backends.iter().filter(|_| settings.replies) {
            let endpoint = Endpoint::new(server.port, protocol_number(key.protocol));
            let mut entry = ServiceEntry::new(address(server.address).as_source(), endpoint);
            entry.backend = backend.id.get();
            let key = (server.address, Some((server.port, key.protocol)), true);
            entries.insert(key, Entry { entry, filter: filter::BACKEND });
        }
    }
    entries.into_values().collect()
}

const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => lb_common::parse::protocol::TCP,
        Protocol::Udp => lb_common::parse::protocol::UDP,
    }
}

fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::v4(address.octets()),
        IpAddr::V6(address) => Address::v6(&address.octets()),
    }
}

/// Tables were made from a `u32` size.
fn len_u32(slots: &[slots::State]) -> u32 {
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}
