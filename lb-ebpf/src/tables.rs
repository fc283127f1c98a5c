//! `lb_common`'s view of the tables, over the maps.

use lb_common::abi::node::Node;
use lb_common::abi::slot::{SLOTS_PER_LINE, Slot};
use lb_common::decide::Tables;

use crate::maps::{NODE, SLOTS};

/// The live tables.
pub struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn node(&self) -> Option<&Node> {
        NODE.get(0)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        let line = SLOTS.get(index / SLOTS_PER_LINE)?;
        Some(line.0[(index % SLOTS_PER_LINE) as usize])
    }
}
