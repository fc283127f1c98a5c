//! The tables without a kernel: for tests, and for deciding about a packet on the host.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;

use lb_common::abi::backend::BackendId;
use lb_common::abi::capture::Captured;
use lb_common::abi::connection::{Connection, LimitKey, ListKey, ServerKey, Tuple, list};
use lb_common::abi::counters::{self, Counter, MAX_COUNTERS};
use lb_common::abi::features::Features;
use lb_common::abi::flow::{FlowEntry, FlowSet};
use lb_common::abi::node::Node;
use lb_common::abi::slot::Slot;
use lb_common::commit::{Entered, State};
use lb_common::decide::{self, Decision};
use lb_common::hash::FlowKey;
use lb_common::reason::Event;

use super::captured::Capturing;
use super::dry_run::{DryRun, Ran};
use super::host::{self, Outcome};
use super::region::Region;
use super::tables::{Maps, Sizes, Tables};
use super::{Dataplane, Grace, IsOver, list_key};
use crate::model::Prefix;

/// Plain memory in the layout of the maps, and what the kernel keeps in hash maps. A packet changes those too, and only one is
/// worked on at a time.
pub struct Memory {
    tables: Tables,
    features: Features,
    counters: RefCell<Vec<Counter>>,
    connections: RefCell<HashMap<Tuple, Connection>>,
    max_connections: usize,
    lists: HashMap<(u32, ListKey), u32>,
    limits: RefCell<HashMap<LimitKey, u64>>,
    servers: HashMap<ServerKey, BackendId>,
    now_us: u64,
}

/// Index of the interface that packets come in by: that of the loopback, as of a test run in the kernel.
pub const INGRESS: u32 = 1;

struct Anonymous;

impl Maps for Anonymous {
    fn region<T>(&self, _name: &'static str, len: usize) -> io::Result<Region<T>>
    where
        T: bytemuck::AnyBitPattern + bytemuck::NoUninit,
    {
        Region::anonymous(len)
    }
}

impl Memory {
    /// Tables in which nothing stands yet, for a program that can do everything.
    ///
    /// # Errors
    /// When there is not that much memory.
    pub fn new(sizes: &Sizes, flow_key: FlowKey) -> io::Result<Self> {
        let mut tables = Tables::over(&Anonymous, sizes)?;
        tables.initialize(flow_key);
        Ok(Self {
            tables,
            features: Features::ALL,
            counters: RefCell::new(vec![Counter::default(); MAX_COUNTERS as usize]),
            connections: RefCell::default(),
            max_connections: sizes.connections as usize,
            lists: HashMap::new(),
            limits: RefCell::default(),
            servers: HashMap::new(),
            now_us: 1_000_000,
        })
    }

    /// Sets the time that packets see, in microseconds.
    pub fn set_now_us(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// Does with a frame what the kernel's programs do, as [`host::run`], and counts it.
    pub fn run(&self, frame: &[u8]) -> Outcome {
        let (work, outcome) = host::run(self, frame);
        let begins = matches!(&work.decision, Decision::Forward(forward) if forward.packet.begins);
        self.count(outcome.counter, frame.len() as u64, begins);
        outcome
    }

    fn count(&self, index: u32, bytes: u64, begins: bool) {
        if let Some(counter) = self.counters.borrow_mut().get_mut(index as usize) {
            counter.packets += 1;
            counter.bytes += bytes;
            counter.new_flows += u64::from(begins);
        }
    }
}

impl decide::Tables for Memory {
    fn features(&self) -> Features {
        self.features
    }

    fn node(&self) -> Option<&Node> {
        self.tables.node()
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        self.tables.slot(index)
    }

    fn flows(&self, set: u32) -> Option<&FlowSet> {
        self.tables.flows(set)
    }

    fn fragments(&self, set: u32) -> Option<&FlowSet> {
        self.tables.fragments(set)
    }

    fn listed(&self, key: &ListKey) -> Option<u32> {
        // The longest prefix first; nobody waits for it here.
        let service = u32::from_be_bytes(key.service);
        let source = u128::from_be_bytes(key.source);
        (0..=128_u32).rev().find_map(|bits| {
            let masked = if bits == 0 { 0 } else { source & (u128::MAX << (128 - bits)) };
            let key = ListKey { service: service.to_be_bytes(), source: masked.to_be_bytes() };
            self.lists.get(&(u32::BITS + bits, key)).copied()
        })
    }

    fn server(&self, key: &ServerKey) -> Option<BackendId> {
        self.servers.get(key).copied()
    }

    fn connection(&self, key: &Tuple) -> Option<Connection> {
        self.connections.borrow().get(key).copied()
    }

    fn opaque(&self, number: usize) -> usize {
        number
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn ingress(&self) -> u32 {
        INGRESS
    }
}

impl State for Memory {
    fn swap_flow(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
        self.tables.swap_flow(set, way, old, new)
    }

    fn swap_fragment(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
        self.tables.swap_fragment(set, way, old, new)
    }

    fn earned_us(&self, key: &LimitKey) -> Option<u64> {
        self.limits.borrow().get(key).copied()
    }

    fn set_earned_us(&self, key: &LimitKey, at_us: u64) {
        self.limits.borrow_mut().insert(*key, at_us);
    }

    fn enter(&self, key: &Tuple, connection: &Connection) -> Entered {
        let mut connections = self.connections.borrow_mut();
        if connections.contains_key(key) {
            return Entered::Taken;
        }
        if connections.len() >= self.max_connections {
            return Entered::Full;
        }
        connections.insert(*key, *connection);
        Entered::Yes
    }

    fn renew(&self, key: &Tuple, last_seen: u32, seen: u8) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(key) {
            connection.last_seen = last_seen;
            connection.seen |= seen;
        }
    }

    fn leave(&self, key: &Tuple) {
        self.connections.borrow_mut().remove(key);
    }

    fn count_event(&self, event: Event) {
        self.count(counters::of_event(event), 0, false);
    }
}

impl Dataplane for Memory {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn counter(&self, index: u32) -> io::Result<Counter> {
        self.counters.borrow().get(index as usize).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn clear_counter(&mut self, index: u32) -> io::Result<()> {
        let counters = self.counters.get_mut();
        *counters.get_mut(index as usize).ok_or(io::ErrorKind::NotFound)? = Counter::default();
        Ok(())
    }

    fn grace(&self) -> Grace {
        Grace::over()
    }

    fn set_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()> {
        let verdict = |is_let_in: &bool| if *is_let_in { list::ALLOW } else { list::DENY };
        self.lists
            .extend(list.iter().map(|(prefix, is_let_in)| (list_key(number, prefix), verdict(is_let_in))));
        Ok(())
    }

    fn clear_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()> {
        for prefix in list.keys() {
            self.lists.remove(&list_key(number, prefix));
        }
        Ok(())
    }

    fn set_server(&mut self, number: u32, server_id: u16, id: Option<BackendId>) -> io::Result<()> {
        let key = ServerKey { service: number, server_id: u32::from(server_id) };
        match id {
            Some(id) => drop(self.servers.insert(key, id)),
            None => drop(self.servers.remove(&key)),
        }
        Ok(())
    }

    fn set_features(&mut self, features: Features) -> io::Result<()> {
        self.features = features;
        Ok(())
    }

    fn sweep_connections(&mut self, is_over: IsOver) {
        let connections = self.connections.get_mut();
        let over: Vec<(Tuple, Tuple)> = connections
            .iter()
            .filter(|(_, one)| one.reply == 0)
            .map(|(key, one)| (*key, one.out.reversed()))
            .filter(|(key, reply)| {
                connections.get(key).is_some_and(|one| is_over(one, connections.get(reply)))
            })
            .collect();
        for (key, reply) in over {
            connections.remove(&key);
            connections.remove(&reply);
        }
    }

    fn connections(&self) -> u64 {
        self.connections.borrow().values().filter(|one| one.reply == 0).count() as u64
    }
}

impl DryRun for Memory {
    fn earned_back_us(&self, key: &LimitKey) -> Option<u64> {
        self.earned_us(key)
    }

    fn dry_run(&mut self, _frame: &[u8], _interface: u32) -> io::Result<Ran> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "there is no program behind these tables"))
    }
}

/// Nobody captures packets here.
impl Capturing for Memory {
    fn next_captured(&mut self) -> Option<Box<Captured>> {
        None
    }
}
