//! Random histories against an independent reading of the tables, and the exact order of what is written.
//!
//! Every entry carries the number of its service in `interface`, so that the tables alone tell whether a packet can reach a
//! backend of somebody else, also between two steps of a plan.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lb_common::abi::counters::{self, Counter};
use lb_common::abi::features::Features;
use lb_common::abi::service::{Address, Endpoint, ServiceEntry, ServiceTable, filter};
use lb_common::abi::slot::{SLOTS_PER_LINE, Slot};
use lb_common::hash::FlowKey;
use lb_common::maglev;
use lb_common::parse::protocol;
use proptest::prelude::*;

use super::*;
use crate::dataplane::memory::Memory;
use crate::dataplane::tables::{Sizes, Tables};
use crate::dataplane::{Dataplane, IsOver};
use crate::desired::{Desired, DesiredBackend, DesiredService, TableSize};
use crate::model::Protocol;

/// Services that a history may have.
const SERVICES: u8 = 4;
/// Backends that a service may have; fewer than the slots of the smallest table.
const BACKENDS: u8 = 10;
/// More slots than any history needs.
const ROOM: u32 = 4096;
/// The second at which everything happens where time does not matter.
const NOW: u64 = 1000;

// ---------------------------------------------------------------- a data plane that remembers what it was told

#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    Interfaces(usize),
    Listed(u32),
    Unlisted(u32),
    Server(u16, Option<u16>),
    Sources { base: u32, len: usize },
    Cleared(u16),
    Backend(u16),
    Slots { base: u32, len: usize },
    Published,
    Grace,
}

/// Memory with counters of its own, a record of every write, and a look at the tables after each.
struct Recorder {
    memory: Memory,
    counters: HashMap<u32, Counter>,
    writes: Vec<Write>,
    /// Set when the grace period that began last is over.
    grace_over: Arc<AtomicBool>,
    grace_length: Option<Duration>,
}

fn memory(max_slots: u32) -> Memory {
    let sizes = Sizes { slots: max_slots, flows: 1024, fragments: 8, connections: 8 };
    Memory::new(&sizes, FlowKey::from_secret([7; 16])).unwrap()
}

impl Recorder {
    fn new(max_slots: u32) -> Self {
        Self {
            memory: memory(max_slots),
            counters: HashMap::new(),
            writes: Vec::new(),
            grace_over: Arc::default(),
            grace_length: None,
        }
    }

    fn record(&mut self, write: Write) {
        self.writes.push(write);
        nobody_reaches_a_stranger(self.memory.tables());
    }

    fn take_writes(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.writes)
    }
}

impl Dataplane for Recorder {
    fn tables(&self) -> &Tables {
        self.memory.tables()
    }

    fn tables_mut(&mut self) -> &mut Tables {
        self.memory.tables_mut()
    }

    fn counter(&self, index: u32) -> io::Result<Counter> {
        Ok(self.counters.get(&index).copied().unwrap_or_default())
    }

    fn clear_counter(&mut self, index: u32) -> io::Result<()> {
        self.counters.remove(&index);
        let id = index - counters::of_backend(BackendId::new(1).unwrap()) + 1;
        self.record(Write::Cleared(u16::try_from(id).unwrap()));
        Ok(())
    }

    fn grace(&self) -> Grace {
        let Some(length) = self.grace_length else { return self.memory.grace() };
        let over = Arc::clone(&self.grace_over);
        over.store(false, Ordering::SeqCst);
        Grace::of(std::thread::spawn(move || {
            let (_packet, done) = std::sync::mpsc::channel::<()>();
            assert!(done.recv_timeout(length).is_err());
            over.store(true, Ordering::SeqCst);
        }))
    }

    fn set_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()> {
        self.record(Write::Listed(number));
        self.memory.set_list(number, list)
    }

    fn clear_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()> {
        self.record(Write::Unlisted(number));
        self.memory.clear_list(number, list)
    }

    fn set_server(&mut self, number: u32, server_id: u16, id: Option<BackendId>) -> io::Result<()> {
        self.record(Write::Server(server_id, id.map(BackendId::get)));
        self.memory.set_server(number, server_id, id)
    }

    fn set_features(&mut self, features: Features) -> io::Result<()> {
        self.memory.set_features(features)
    }

    fn sweep_connections(&mut self, is_over: IsOver) {
        self.memory.sweep_connections(is_over);
    }

    fn connections(&self) -> u64 {
        self.memory.connections()
    }

    fn set_interfaces(&mut self, interfaces: &[(u32, [u8; 6])]) {
        self.memory.set_interfaces(interfaces);
        self.record(Write::Interfaces(interfaces.len()));
    }

    fn set_sources(&mut self, base: u32, addresses: &[[u8; 16]]) {
        self.memory.set_sources(base, addresses);
        self.record(Write::Sources { base, len: addresses.len() });
    }

    fn set_backend(&mut self, id: BackendId, backend: &Backend) {
        self.memory.set_backend(id, backend);
        self.record(Write::Backend(id.get()));
    }

    fn set_slots(&mut self, base: u32, slots: &[Slot]) {
        self.memory.set_slots(base, slots);
        self.record(Write::Slots { base, len: slots.len() });
    }

    fn publish(&mut self, table: &ServiceTable) {
        self.memory.publish(table);
        self.record(Write::Published);
    }
}

fn active(tables: &Tables) -> &ServiceTable {
    let node = tables.node().unwrap();
    &node.services[node.control.active_half as usize]
}

fn slots_of(tables: &Tables, entry: &ServiceEntry) -> Vec<Option<BackendId>> {
    let slots = entry.slots_base..entry.slots_base + entry.slots_len;
    slots
        .map(|index| tables.slot(index).unwrap())
        .inspect(|slot| assert!(!slot.is_tracked()))
        .map(Slot::current)
        .collect()
}

/// What holds between any two writes: a slot of a published service names a backend of this very service.
fn nobody_reaches_a_stranger(tables: &Tables) {
    let (node, table) = (tables.node().unwrap(), active(tables));
    for entry in &table.entries {
        for id in slots_of(tables, entry).into_iter().flatten() {
            let (vip, endpoint) = entry.key();
            let number = u32::from((0..SERVICES).find(|n| place(*n) == (vip, endpoint)).unwrap());
            assert_eq!(node.backends[id.index()].interface / 1000, number, "backend {}", id.get());
        }
    }
}

// ---------------------------------------------------------------- what a history is made of

/// Two services on each of two addresses, one of them UDP.
fn key(service: u8) -> ServiceKey {
    ServiceKey {
        address: Ipv4Addr::new(192, 0, 2, service / 2).into(),
        port: 80,
        protocol: if service.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp },
    }
}

fn place(service: u8) -> (Address, Endpoint) {
    let protocol = if service.is_multiple_of(2) { protocol::TCP } else { protocol::UDP };
    (Address::v4([192, 0, 2, service / 2]), Endpoint::new(80, protocol))
}

/// The same servers stand behind all services.
fn server(backend: u8) -> Server {
    Server { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, backend)), port: 0 }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Path {
    mac: u8,
    interface: u8,
    outer: u8,
}

#[derive(Clone, Debug)]
struct Member {
    weight: u32,
    path: Option<Path>,
}

#[derive(Clone, Debug)]
struct Group {
    /// `None` lets the size follow the number of backends.
    fixed: Option<u32>,
    members: BTreeMap<u8, Member>,
}

fn entry(service: u8, path: Path) -> Backend {
    let mut template = [0; 40];
    template[19] = path.outer;
    Backend {
        next_hop_mac: [2, 0, 0, 0, 0, path.mac],
        source_mac: [2, 0, 0, 0, 1, path.mac],
        interface: u32::from(service) * 1000 + u32::from(path.interface),
        mode: 1,
        flags: 0,
        mtu_bytes: 1500,
        sum: 0,
        bits: 0,
        template,
    }
}

type World = BTreeMap<u8, Group>;

fn desired(world: &World) -> Desired {
    let services = world.iter().map(|(number, group)| {
        let backends: Vec<_> = group
            .members
            .iter()
            .map(|(backend, member)| DesiredBackend {
                server: server(*backend),
                weight: if member.path.is_some() { member.weight } else { 0 },
                down: member.path.is_none(),
                server_id: None,
                entry: member.path.map(|path| entry(*number, path)),
            })
            .collect();
        let weighted = u32::try_from(backends.iter().filter(|b| b.weight > 0).count()).unwrap();
        let grown = maglev::next_prime(weighted.max(3) * 6).unwrap();
        let size = group.fixed.map_or(TableSize::AtLeast(grown), TableSize::Fixed);
        DesiredService {
            name: format!("s{number}"),
            key: key(*number),
            size,
            settings: Settings::PLAIN,
            backends,
        }
    });
    Desired { interfaces: vec![(1, [2; 6])], services: services.collect() }
}

#[derive(Clone, Debug)]
enum Change {
    AddService(u8, Option<u32>, Vec<u32>),
    RemoveService(u8),
    Resize(u8, Option<u32>),
    AddBackend(u8, u8, u32),
    RemoveBackend(u8, u8),
    Weigh(u8, u8, u32),
    Lose(u8, u8),
    Find(u8, u8, Path),
    MoveMac(u8, u8, u8),
}

impl Change {
    /// A change of what is not there changes nothing.
    fn make(&self, world: &mut World) {
        fn member(world: &mut World, service: u8, backend: u8) -> Option<&mut Member> {
            world.get_mut(&service)?.members.get_mut(&backend)
        }
        let found = |weight| Member { weight, path: Some(Path::default()) };
        match *self {
            Self::AddService(service, fixed, ref weights) => {
                let members = (0..).zip(weights).map(|(backend, weight)| (backend, found(*weight))).collect();
                world.entry(service).or_insert(Group { fixed, members });
            }
            Self::RemoveService(service) => drop(world.remove(&service)),
            Self::Resize(service, fixed) => {
                if let Some(group) = world.get_mut(&service) {
                    group.fixed = fixed;
                }
            }
            Self::AddBackend(service, backend, weight) => {
                if let Some(group) = world.get_mut(&service) {
                    group.members.entry(backend).or_insert(found(weight));
                }
            }
            Self::RemoveBackend(service, backend) => {
                if let Some(group) = world.get_mut(&service) {
                    group.members.remove(&backend);
                }
            }
            Self::Weigh(service, backend, weight) => {
                if let Some(member) = member(world, service, backend) {
                    member.weight = weight;
                }
            }
            Self::Lose(service, backend) => {
                if let Some(member) = member(world, service, backend) {
                    member.path = None;
                }
            }
            Self::Find(service, backend, path) => {
                if let Some(member) = member(world, service, backend) {
                    member.path = Some(path);
                }
            }
            Self::MoveMac(service, backend, mac) => {
                if let Some(path) = member(world, service, backend).and_then(|member| member.path.as_mut()) {
                    path.mac = mac;
                }
            }
        }
    }
}

fn weights() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0u32), Just(1), 1..10u32, Just(1000)]
}

fn sizes() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), Just(Some(11)), Just(Some(53)), Just(Some(101))]
}

fn change() -> impl Strategy<Value = Change> {
    let (service, backend) = (|| 0..SERVICES, || 0..BACKENDS);
    let path = (0..3u8, 0..3u8, 0..3u8).prop_map(|(mac, interface, outer)| Path { mac, interface, outer });
    let members = prop::collection::vec(weights(), 0..=usize::from(BACKENDS));
    prop_oneof![
        2 => (service(), sizes(), members).prop_map(|(s, size, m)| Change::AddService(s, size, m)),
        1 => service().prop_map(Change::RemoveService),
        1 => (service(), sizes()).prop_map(|(s, size)| Change::Resize(s, size)),
        3 => (service(), backend(), weights()).prop_map(|(s, b, w)| Change::AddBackend(s, b, w)),
        2 => (service(), backend()).prop_map(|(s, b)| Change::RemoveBackend(s, b)),
        3 => (service(), backend(), weights()).prop_map(|(s, b, w)| Change::Weigh(s, b, w)),
        1 => (service(), backend()).prop_map(|(s, b)| Change::Lose(s, b)),
        2 => (service(), backend(), path).prop_map(|(s, b, p)| Change::Find(s, b, p)),
        2 => (service(), backend(), 0..3u8).prop_map(|(s, b, mac)| Change::MoveMac(s, b, mac)),
    ]
}

/// Bursts of changes; the tables follow after each burst.
fn history() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let first =
        (0..SERVICES).map(|service| Change::AddService(service, None, vec![1, 2, 3])).collect::<Vec<_>>();
    prop::collection::vec(prop::collection::vec(change(), 1..5), 1..16).prop_map(move |mut bursts| {
        bursts.insert(0, first.clone());
        bursts
    })
}

// ---------------------------------------------------------------- what has to hold

/// Reads the tables as a packet would and compares them with what was desired.
fn assert_tables_hold(tables: &Tables, installed: &Installed, desired: &Desired) {
    let (node, table) = (tables.node().unwrap(), active(tables));
    let mut lines = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for service in &desired.services {
        let number = (0..SERVICES).find(|n| key(*n) == service.key).unwrap();
        let (vip, endpoint) = place(number);
        assert_eq!(table.may_be(vip) & filter::VIP, filter::VIP);
        assert!(table.find(vip, Endpoint::VIP).is_some());
        let entry = table.find(vip, endpoint).unwrap();
        for line in
            entry.slots_base / SLOTS_PER_LINE..(entry.slots_base + entry.slots_len).div_ceil(SLOTS_PER_LINE)
        {
            assert!(lines.insert(line), "{}: line {line} of the slots has two services", service.name);
        }
        let mut counts: BTreeMap<Option<BackendId>, u64> = BTreeMap::new();
        for id in slots_of(tables, entry) {
            *counts.entry(id).or_default() += 1;
        }
        let known = installed.service(&service.key).unwrap();
        assert_eq!(known.slots_len(), entry.slots_len as usize);
        let mut shares = Vec::new();
        for backend in &service.backends {
            let id = known.backend(backend.server);
            assert!(id.is_none_or(|id| ids.insert(id)), "{}: id {id:?} has two backends", service.name);
            if let Some(wanted) = backend.entry {
                assert_eq!(node.backends[id.unwrap().index()], wanted);
            }
            let slots = id.and_then(|id| counts.remove(&Some(id))).unwrap_or(0);
            shares.push((u64::from(backend.weight), slots));
        }
        let empty = counts.remove(&None).unwrap_or(0);
        assert_eq!(counts, BTreeMap::new(), "{}: slots of nobody that it knows", service.name);
        match service.size {
            TableSize::Fixed(len) => assert_eq!(entry.slots_len, len),
            TableSize::AtLeast(len) => assert!(entry.slots_len >= len),
        }
        assert_shares(u64::from(entry.slots_len), empty, &shares);
    }
    let vips: BTreeSet<_> = desired.services.iter().map(|service| service.key.address).collect();
    let used = table.entries.iter().filter(|entry| !entry.is_vacant()).count();
    assert_eq!(used, desired.services.len() + vips.len(), "services in the table that nobody wants");
    let retired = installed.retired.iter().flat_map(|(_, retired)| &retired.ranges);
    let retired: u32 = retired.map(|(_, len)| len.next_multiple_of(SLOTS_PER_LINE)).sum();
    assert_eq!(installed.slots_used() - retired, u32::try_from(lines.len()).unwrap() * SLOTS_PER_LINE);
}

/// Largest remainder, and a single slot for whom it would give none; those come from the largest shares.
fn assert_shares(len: u64, empty: u64, shares: &[(u64, u64)]) {
    let sum: u64 = shares.iter().map(|(weight, _)| weight).sum();
    if sum == 0 {
        assert_eq!((empty, shares.iter().map(|(_, slots)| slots).sum()), (len, 0u64));
        return;
    }
    assert_eq!(empty, 0);
    let starved = shares.iter().filter(|(weight, _)| *weight > 0 && len * weight < sum).count();
    for (weight, slots) in shares {
        let whole = len * weight / sum;
        if *weight == 0 {
            assert_eq!(*slots, 0, "weight 0 has slots: {shares:?}");
        } else if whole == 0 {
            assert_eq!(*slots, 1, "{shares:?}");
        } else if starved == 0 {
            assert!(
                (whole..=whole + 1).contains(slots),
                "{slots} slots for {weight}/{sum} of {len}: {shares:?}"
            );
        } else {
            let given_up = u64::try_from(starved).unwrap();
            assert!((whole.saturating_sub(given_up).max(1)..=whole + 1).contains(slots), "{shares:?}");
        }
    }
    if starved == 0 {
        let remainders = |rounded_up| {
            let of = move |(weight, slots): &&(u64, u64)| (*slots > len * weight / sum) == rounded_up;
            shares.iter().filter(of).map(|(weight, _)| len * weight % sum)
        };
        let (up, down) = (remainders(true).min(), remainders(false).max());
        assert!(up.is_none() || up >= down, "rounded up with the smaller remainder: {shares:?}");
    }
}

/// Where everything stands.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    ids: BTreeMap<(ServiceKey, Server), (BackendId, Backend)>,
    ranges: BTreeMap<ServiceKey, (u32, usize)>,
}

fn standing(installed: &Installed) -> Standing {
    let services = &installed.state.services;
    let of_service = |(key, service): (&ServiceKey, &InstalledService)| {
        let key = *key;
        service
            .backends
            .iter()
            .map(move |(address, b)| ((key, *address), (b.id, b.entry)))
            .collect::<Vec<_>>()
    };
    Standing {
        ids: services.iter().flat_map(of_service).collect(),
        ranges: services.iter().map(|(key, service)| (*key, (service.base, service.slots.len()))).collect(),
    }
}

/// An id stays through a change of MAC addresses, and is another after any other change; what one plan gives up, the same
/// plan gives to nobody, because packets may still hold it.
fn assert_identities(before: &Standing, after: &Standing, cleared: &[u16]) {
    let used: BTreeSet<BackendId> = before.ids.values().map(|(id, _)| *id).collect();
    let mut fresh = Vec::new();
    for (who, (id, entry)) in &after.ids {
        let kept = before.ids.get(who).filter(|(_, old)| {
            let (next_hop_mac, source_mac, flags) = (old.next_hop_mac, old.source_mac, old.flags);
            let same_mac = Backend { next_hop_mac, source_mac, flags, ..*entry };
            same_mac == *old
        });
        if let Some((old, _)) = kept {
            assert_eq!(id, old, "{who:?} has lost its id");
        } else {
            assert!(!used.contains(id), "{who:?} got id {} while it was in use", id.get());
            fresh.push(id.get());
        }
    }
    fresh.sort_unstable();
    let mut cleared = cleared.to_vec();
    cleared.sort_unstable();
    assert_eq!(cleared, fresh, "counters of exactly the fresh ids start at zero");
    for (who, (base, len)) in &after.ranges {
        if before.ranges.get(who) != Some(&(*base, *len)) {
            let end = base + u32::try_from(*len).unwrap();
            let clash =
                before.ranges.values().find(|(b, l)| *base < b + u32::try_from(*l).unwrap() && *b < end);
            assert_eq!(clash, None, "{who:?} writes over slots that are in use");
        }
    }
}

/// Entries, then slots, then services, then the wait: each at most once in this order.
fn assert_order(writes: &[Write]) {
    let rank = |write: &Write| match write {
        Write::Interfaces(_) | Write::Listed(_) | Write::Sources { .. } => 0,
        Write::Cleared(_) | Write::Backend(_) | Write::Server(_, Some(_)) => 1,
        Write::Slots { .. } => 2,
        Write::Published => 3,
        Write::Server(_, None) | Write::Unlisted(_) => 4,
        Write::Grace => 5,
    };
    assert!(writes.is_sorted_by_key(rank), "{writes:?}");
}

fn follow(dataplane: &mut Recorder, installed: &mut Installed, desired: &Desired) -> Result<(), Error> {
    plan(installed, desired, NOW)?.apply(dataplane, installed).unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn tables_hold_what_was_desired_after_every_change(history in history()) {
        let (mut dataplane, mut installed) = (Recorder::new(ROOM), Installed::empty(ROOM));
        let mut world = World::new();
        for burst in history {
            burst.iter().for_each(|change| change.make(&mut world));
            let (desired, before) = (desired(&world), standing(&installed));
            follow(&mut dataplane, &mut installed, &desired).unwrap();
            let writes = dataplane.take_writes();
            assert_order(&writes);
            let cleared = |write: &Write| if let Write::Cleared(id) = write { Some(*id) } else { None };
            let cleared: Vec<u16> = writes.iter().filter_map(cleared).collect();
            assert_tables_hold(dataplane.tables(), &installed, &desired);
            assert_identities(&before, &standing(&installed), &cleared);
            prop_assert!(plan(&mut installed, &desired, NOW).unwrap().steps().is_empty());
        }
    }

    #[test]
    fn a_plan_that_fails_changes_nothing(history in history(), lines in 4..24u32) {
        let room = lines * SLOTS_PER_LINE;
        let (mut dataplane, mut installed) = (Recorder::new(room), Installed::empty(room));
        let (mut world, mut have) = (World::new(), desired(&World::new()));
        follow(&mut dataplane, &mut installed, &have).unwrap();
        for burst in history {
            burst.iter().for_each(|change| change.make(&mut world));
            let want = desired(&world);
            installed.reclaim();
            let before = installed.state.clone();
            dataplane.take_writes();
            match follow(&mut dataplane, &mut installed, &want) {
                Ok(()) => have = want,
                Err(error) => {
                    prop_assert!(matches!(error, Error::NoSlots { .. }), "{}", error);
                    prop_assert!(dataplane.writes.is_empty());
                    prop_assert!(installed.state == before);
                    prop_assert!(plan(&mut installed, &have, NOW).unwrap().steps().is_empty());
                }
            }
            assert_tables_hold(dataplane.tables(), &installed, &have);
        }
    }
}

// ---------------------------------------------------------------- exact expectations

/// One service of 11 slots (a line of 16) with two backends of equal weight.
fn pair() -> World {
    let member = Member { weight: 1, path: Some(Path::default()) };
    World::from([(0, Group { fixed: Some(11), members: BTreeMap::from([(0, member.clone()), (1, member)]) })])
}

fn with_pair() -> (Recorder, Installed) {
    let (mut dataplane, mut installed) = (Recorder::new(ROOM), Installed::empty(ROOM));
    follow(&mut dataplane, &mut installed, &desired(&pair())).unwrap();
    (dataplane, installed)
}

/// What is written when the pair changes like this.
fn writes_of(change: impl FnOnce(&mut World)) -> Vec<Write> {
    let (mut dataplane, mut installed) = with_pair();
    dataplane.take_writes();
    let mut world = pair();
    change(&mut world);
    follow(&mut dataplane, &mut installed, &desired(&world)).unwrap();
    if installed.retired.is_some() {
        dataplane.record(Write::Grace);
    }
    dataplane.take_writes()
}

fn slots_written(writes: &[Write]) -> usize {
    writes.iter().map(|write| if let Write::Slots { len, .. } = write { *len } else { 0 }).sum()
}

#[test]
fn a_first_install_writes_entries_then_slots_then_services() {
    let (mut dataplane, installed) = with_pair();
    let expected = [
        Write::Interfaces(1),
        Write::Cleared(1),
        Write::Backend(1),
        Write::Cleared(2),
        Write::Backend(2),
        Write::Slots { base: 0, len: 11 },
        Write::Published,
    ];
    assert_eq!(dataplane.take_writes(), expected);
    assert_eq!(installed.slots_used(), 16);
    assert!(installed.retired.is_some(), "the other half of the service table may still be read");
}

#[test]
fn nothing_to_do_writes_nothing() {
    assert_eq!(writes_of(|_| {}), []);
}

#[test]
fn a_new_mac_is_one_write() {
    let path = Path { mac: 9, ..Path::default() };
    assert_eq!(writes_of(|world| Change::Find(0, 0, path).make(world)), [Write::Backend(1)]);
}

#[test]
fn another_way_to_a_backend_is_another_id() {
    for path in [Path { interface: 1, ..Path::default() }, Path { outer: 1, ..Path::default() }] {
        let writes = writes_of(|world| Change::Find(0, 0, path).make(world));
        let [Write::Cleared(3), Write::Backend(3), slots @ .., Write::Grace] = &writes[..] else {
            panic!("{writes:?}")
        };
        assert!(slots.iter().all(|write| matches!(write, Write::Slots { .. })), "{writes:?}");
        // Half of 11, whoever got the odd one.
        assert!((5..=6).contains(&slots_written(slots)), "{writes:?}");
    }
}

#[test]
fn a_drained_backend_loses_its_slots_and_keeps_its_id() {
    let writes = writes_of(|world| Change::Weigh(0, 1, 0).make(world));
    assert!(writes.iter().all(|write| matches!(write, Write::Slots { .. })), "{writes:?}");
    assert!((5..=6).contains(&slots_written(&writes)), "{writes:?}");
}

#[test]
fn a_lost_neighbor_costs_the_slots_and_not_the_id() {
    let (mut dataplane, mut installed) = with_pair();
    let id = installed.service(&key(0)).unwrap().backend(server(0));
    let mut world = pair();
    for change in [Change::Lose(0, 0), Change::Find(0, 0, Path { mac: 4, ..Path::default() })] {
        change.make(&mut world);
        dataplane.take_writes();
        follow(&mut dataplane, &mut installed, &desired(&world)).unwrap();
        assert_eq!(installed.service(&key(0)).unwrap().backend(server(0)), id);
    }
    assert_eq!(dataplane.writes[0], Write::Backend(1), "the new MAC stands before a slot leads to it");
    assert!(dataplane.writes[1..].iter().all(|write| matches!(write, Write::Slots { .. })));
}

#[test]
fn a_removed_backend_leaves_the_slots_and_then_waits() {
    let writes = writes_of(|world| Change::RemoveBackend(0, 1).make(world));
    let [slots @ .., Write::Grace] = &writes[..] else { panic!("{writes:?}") };
    assert!(slots.iter().all(|write| matches!(write, Write::Slots { .. })), "{writes:?}");
}

#[test]
fn another_size_is_written_beside_the_old_one() {
    let writes = writes_of(|world| Change::Resize(0, Some(17)).make(world));
    assert_eq!(writes, [Write::Slots { base: 16, len: 17 }, Write::Published, Write::Grace]);
}

#[test]
fn one_service_for_another_shares_nothing_with_it() {
    let writes = writes_of(|world| {
        Change::RemoveService(0).make(world);
        Change::AddService(1, Some(11), vec![1]).make(world);
    });
    let expected = [
        Write::Cleared(3),
        Write::Backend(3),
        Write::Slots { base: 16, len: 11 },
        Write::Published,
        Write::Grace,
    ];
    assert_eq!(writes, expected);
}

#[test]
fn a_fresh_id_counts_from_zero_and_a_new_mac_counts_on() {
    let (mut dataplane, mut installed) = with_pair();
    let id = |number| BackendId::new(number).unwrap();
    let counted = Counter { packets: 5, bytes: 500, new_flows: 2 };
    // Id 3 belonged to somebody in an earlier life.
    dataplane.counters.extend([1, 2, 3].map(|number| (counters::of_backend(id(number)), counted)));
    let mut world = pair();
    Change::MoveMac(0, 0, 9).make(&mut world);
    Change::Find(0, 1, Path { interface: 1, ..Path::default() }).make(&mut world);
    follow(&mut dataplane, &mut installed, &desired(&world)).unwrap();
    assert_eq!(dataplane.forwarded(id(1)).unwrap(), counted);
    assert_eq!(installed.service(&key(0)).unwrap().backend(server(1)), Some(id(3)));
    assert_eq!(dataplane.forwarded(id(3)).unwrap(), Counter::default());
}

#[test]
fn what_is_given_back_does_not_run_out() {
    let (mut dataplane, mut installed) = (memory(64), Installed::empty(64));
    let mut full = World::new();
    Change::AddService(0, Some(11), vec![1; usize::from(BACKENDS)]).make(&mut full);
    let full = desired(&full);
    let mut without_backends = full.clone();
    without_backends.services[0].backends.clear();
    let mut follow = |desired| {
        plan(&mut installed, desired, NOW).unwrap().apply(&mut dataplane, &mut installed).unwrap();
    };
    // 10 ids a round: more rounds than there are ids for, had none come back.
    for _ in 0..4000 {
        follow(&full);
        follow(&without_backends);
    }
    follow(&desired(&World::new()));
    installed.reclaim();
    assert_eq!(installed.slots_used(), 0);
}

#[test]
fn the_next_plan_waits_for_the_packets_of_the_last() {
    let (mut dataplane, mut installed) = with_pair();
    dataplane.grace_length = Some(Duration::from_millis(30));
    for world in [World::new(), pair()] {
        follow(&mut dataplane, &mut installed, &desired(&world)).unwrap();
        let slots_in_use = 16;
        assert_eq!(installed.slots_used(), slots_in_use, "given back before the wait");
        assert!(!dataplane.grace_over.load(Ordering::SeqCst));
        let _ = plan(&mut installed, &desired(&world), NOW).unwrap();
        assert!(dataplane.grace_over.load(Ordering::SeqCst), "the plan did not wait");
    }
}

#[test]
fn a_refusal_says_what_is_missing() {
    let mut installed = Installed::empty(32);
    let mut world = pair();
    world.get_mut(&0).unwrap().fixed = Some(37);
    let refused = plan(&mut installed, &desired(&world), NOW).err();
    let expected = Error::NoSlots { service: "s0".to_owned(), wanted: 37, used: 0, max: 32 };
    assert_eq!(refused, Some(expected));
    world.get_mut(&0).unwrap().fixed = Some(12);
    let refused = plan(&mut installed, &desired(&world), NOW).err();
    assert_eq!(refused, Some(Error::Table { service: "s0".to_owned(), slots: 12, backends: 2 }));
}
