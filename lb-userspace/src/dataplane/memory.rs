//! The tables without a kernel: for tests, and for deciding about a packet on the host.

use std::io;

use lb_common::abi::counters::{Counter, MAX_COUNTERS};
use lb_common::hash::FlowKey;

use super::region::Region;
use super::tables::{Maps, Tables};
use super::{Dataplane, Grace};

/// Plain memory in the layout of the maps.
pub struct Memory {
    tables: Tables,
    counters: Vec<Counter>,
}

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
    /// Tables with room for `max_slots` slots, in which nothing stands yet.
    ///
    /// # Errors
    /// When there is not that much memory.
    pub fn new(max_slots: u32, flow_key: FlowKey) -> io::Result<Self> {
        let mut tables = Tables::over(&Anonymous, max_slots)?;
        tables.initialize(flow_key);
        Ok(Self { tables, counters: vec![Counter::default(); MAX_COUNTERS as usize] })
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
        self.counters.get(index as usize).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn clear_counter(&mut self, index: u32) -> io::Result<()> {
        let counter = self.counters.get_mut(index as usize).ok_or(io::ErrorKind::NotFound)?;
        *counter = Counter::default();
        Ok(())
    }

    fn grace(&self) -> Grace {
        Grace::over()
    }
}
