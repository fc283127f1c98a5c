//! The tables as the control plane writes them, over mapped BPF maps or over plain memory.
//!
//! Both are the same bytes in the layout of `lb_common::abi`; and because these tables can be read like the kernel reads
//! them, `decide` runs over them too.

use std::io;
use std::mem::offset_of;

use lb_common::abi::ABI_VERSION;
use lb_common::abi::backend::{Backend, BackendId};
use lb_common::abi::control::{Control, MAX_MACS, NO_MAC, mac_word};
use lb_common::abi::node::Node;
use lb_common::abi::service::ServiceTable;
use lb_common::abi::slot::{SLOTS_PER_LINE, Slot, SlotLine};
use lb_common::decide;
use lb_common::hash::FlowKey;

use super::region::Region;

/// All tables but the counters.
pub struct Tables {
    node: Region<Node>,
    slots: Region<SlotLine>,
}

/// The maps behind the tables, ready to be mapped.
pub(super) trait Maps {
    /// Maps `len` entries of the map with that name.
    fn region<T>(&self, name: &'static str, len: usize) -> io::Result<Region<T>>
    where
        T: bytemuck::AnyBitPattern + bytemuck::NoUninit;
}

impl Tables {
    /// Over the given maps, with room for `max_slots` slots.
    pub(super) fn over(maps: &impl Maps, max_slots: u32) -> io::Result<Self> {
        use lb_common::abi::map;
        Ok(Self {
            node: maps.region(map::NODE, 1)?,
            slots: maps.region(map::SLOTS, slot_lines(max_slots) as usize)?,
        })
    }

    /// How many slots there is room for.
    #[must_use]
    pub fn max_slots(&self) -> u32 {
        u32::try_from(self.slots.len()).map_or(u32::MAX, |lines| lines.saturating_mul(SLOTS_PER_LINE))
    }

    /// Makes the tables valid: no MACs, no services, packets pass.
    pub(super) fn initialize(&mut self, flow_key: FlowKey) {
        let control = Control {
            abi_version: ABI_VERSION,
            active_half: 0,
            macs: [NO_MAC; MAX_MACS],
            flow_key,
            reserved: [0; 32],
        };
        self.write_node(offset_of!(Node, control), bytemuck::bytes_of(&control));
    }

    /// Sets the MAC addresses that frames for this node are sent to; those past [`MAX_MACS`] are left out.
    pub(super) fn set_macs(&mut self, macs: &[[u8; 6]]) {
        let mut words = [NO_MAC; MAX_MACS];
        for (word, mac) in words.iter_mut().zip(macs) {
            let [a, b, c, d, e, f] = *mac;
            *word = mac_word([a, b, c, d], [e, f]);
        }
        let offset = offset_of!(Node, control) + offset_of!(Control, macs);
        self.write_node(offset, bytemuck::bytes_of(&words));
    }

    /// Replaces a backend's entry.
    pub(super) fn set_backend(&mut self, id: BackendId, backend: &Backend) {
        let offset = offset_of!(Node, backends) + id.index() * size_of::<Backend>();
        self.write_node(offset, bytemuck::bytes_of(backend));
    }

    /// Replaces slots from `base` on. Two slots share a word, so a neighbor is stored again with the value it has.
    pub(super) fn set_slots(&mut self, base: u32, slots: &[Slot]) {
        let mut index = base;
        let mut rest = slots;
        while let [first, ..] = rest {
            let offset = index % SLOTS_PER_LINE;
            let count = rest.len().min((SLOTS_PER_LINE - offset) as usize);
            let line = (index / SLOTS_PER_LINE) as usize;
            let mut value = self.slots.get(line).copied().unwrap_or(SlotLine([*first; 16]));
            value.0[offset as usize..][..count].copy_from_slice(&rest[..count]);
            self.slots.write(line, &value);
            rest = &rest[count..];
            // At most 16.
            index += u32::try_from(count).unwrap_or(SLOTS_PER_LINE);
        }
    }

    /// Puts another service table into effect: written into the half that nobody reads, then switched to by one store.
    pub(super) fn publish(&mut self, table: &ServiceTable) {
        let half = 1 - (self.active_half() & 1);
        let offset = offset_of!(Node, services) + half as usize * size_of::<ServiceTable>();
        self.write_node(offset, bytemuck::bytes_of(table));
        let words: [u32; 2] = [ABI_VERSION, half];
        self.write_node(offset_of!(Node, control), bytemuck::bytes_of(&words));
    }

    fn active_half(&self) -> u32 {
        self.node.get(0).map_or(0, |node| node.control.active_half)
    }

    fn write_node(&mut self, offset_bytes: usize, bytes: &[u8]) {
        self.node.write_words(0, offset_bytes, bytes);
    }
}

/// Elements of the slot array for `slots` slots.
pub(super) const fn slot_lines(slots: u32) -> u32 {
    slots.div_ceil(SLOTS_PER_LINE)
}

impl decide::Tables for Tables {
    fn node(&self) -> Option<&Node> {
        self.node.get(0)
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        let line = self.slots.get((index / SLOTS_PER_LINE) as usize)?;
        Some(line.0[(index % SLOTS_PER_LINE) as usize])
    }
}
