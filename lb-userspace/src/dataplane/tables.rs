//! The tables as the control plane writes them, over mapped BPF maps or over plain memory.
//!
//! Both are the same bytes in the layout of `lb_common::abi`, so `decide` can read them as the kernel does.

use std::io;
use std::mem::offset_of;

use bytemuck::Zeroable;
use lb_common::abi::ABI_VERSION;
use lb_common::abi::backend::{Backend, BackendId};
use lb_common::abi::control::{Capture, Control, MAX_MACS, NO_MAC, mac_word};
use lb_common::abi::flow::{FlowEntry, FlowSet, WAYS};
use lb_common::abi::node::Node;
use lb_common::abi::service::ServiceTable;
use lb_common::abi::slot::{SLOTS_PER_LINE, Slot, SlotLine};
use lb_common::hash::FlowKey;

use super::region::Region;

/// The tables that are memory: all but the counters, and what the kernel keeps in hash maps.
pub struct Tables {
    node: Region<Node>,
    slots: Region<SlotLine>,
    flows: Region<FlowSet>,
    fragments: Region<FlowSet>,
}

/// How large the tables are whose size is chosen at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Slots of all Maglev tables together.
    pub slots: u32,
    /// Flows that can be remembered, a power of two and at least 8.
    pub flows: u32,
    /// Fragmented packets that can be remembered, a power of two and at least 8.
    pub fragments: u32,
    /// Connections of mode `fullnat`.
    pub connections: u32,
}

impl Sizes {
    /// Sets of a table of `entries`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "eight")]
    pub const fn sets(entries: u32) -> u32 {
        entries / (WAYS as u32)
    }
}

/// A place in the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPlace {
    set: usize,
    way: usize,
}

/// The maps behind the tables, ready to be mapped.
pub(super) trait Maps {
    /// Maps `len` entries of the map with that name.
    fn region<T>(&self, name: &'static str, len: usize) -> io::Result<Region<T>>
    where
        T: bytemuck::AnyBitPattern + bytemuck::NoUninit;
}

impl Tables {
    /// Over the given maps.
    pub(super) fn over(maps: &impl Maps, sizes: &Sizes) -> io::Result<Self> {
        use lb_common::abi::map;
        Ok(Self {
            node: maps.region(map::NODE, 1)?,
            slots: maps.region(map::SLOTS, slot_lines(sizes.slots) as usize)?,
            flows: maps.region(map::FLOWS, Sizes::sets(sizes.flows) as usize)?,
            fragments: maps.region(map::FRAGMENTS, Sizes::sets(sizes.fragments) as usize)?,
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
            tick_seconds: 0,
            flow_set_mask: mask(self.flows.len()),
            fragment_set_mask: mask(self.fragments.len()),
            active_instances: 1,
            capture: Capture::zeroed(),
            interfaces: [0; MAX_MACS],
            reserved: [0; 16],
        };
        self.write_node(offset_of!(Node, control), bytemuck::bytes_of(&control));
    }

    /// Sets the interfaces of this node and the MAC addresses that frames for it are sent to; those past [`MAX_MACS`] are left
    /// out.
    pub(super) fn set_interfaces(&mut self, interfaces: &[(u32, [u8; 6])]) {
        let mut words = [NO_MAC; MAX_MACS];
        let mut indices = [0_u32; MAX_MACS];
        for ((word, index), (interface, mac)) in words.iter_mut().zip(&mut indices).zip(interfaces) {
            let [a, b, c, d, e, f] = *mac;
            *word = mac_word([a, b, c, d], [e, f]);
            *index = *interface;
        }
        let control = offset_of!(Node, control);
        self.write_node(control + offset_of!(Control, macs), bytemuck::bytes_of(&words));
        self.write_node(control + offset_of!(Control, interfaces), bytemuck::bytes_of(&indices));
    }

    /// Sets the second that packets are seen at. The word beside it does not change.
    pub(super) fn set_tick(&mut self, tick_seconds: u32) {
        let words = [tick_seconds, mask(self.flows.len())];
        self.write_node(
            offset_of!(Node, control) + offset_of!(Control, tick_seconds),
            bytemuck::bytes_of(&words),
        );
    }

    /// Says which packets are captured.
    pub(super) fn set_capture(&mut self, capture: &Capture) {
        self.write_node(
            offset_of!(Node, control) + offset_of!(Control, capture),
            bytemuck::bytes_of(capture),
        );
    }

    /// Replaces source addresses of mode `fullnat` from `base` on.
    pub(super) fn set_sources(&mut self, base: u32, addresses: &[[u8; 16]]) {
        let offset = offset_of!(Node, sources) + base as usize * size_of::<[u8; 16]>();
        self.write_node(offset, bytemuck::cast_slice(addresses));
    }

    /// Calls `look` for every entry of the flow table that is not vacant.
    pub fn each_flow(&self, mut look: impl FnMut(FlowPlace, FlowEntry)) {
        for set in 0..self.flows.len() {
            let Some(entries) = self.flows.get(set).copied() else { continue };
            for (way, entry) in entries.0.into_iter().enumerate().filter(|(_, e)| *e != FlowEntry::VACANT) {
                look(FlowPlace { set, way }, entry);
            }
        }
    }

    /// Replaces an entry of the flow table, if it is still `old`.
    pub fn swap_flow_at(&self, place: FlowPlace, old: FlowEntry, new: FlowEntry) -> bool {
        self.flows.swap_word(place.set, place.way, old.0, new.0)
    }

    /// The same for a packet on the host.
    pub(super) fn swap_flow(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
        self.flows.swap_word(set as usize, way as usize, old.0, new.0)
    }

    /// The same in the table of fragments.
    pub(super) fn swap_fragment(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
        self.fragments.swap_word(set as usize, way as usize, old.0, new.0)
    }

    /// Everything of fixed size.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.node.get(0)
    }

    /// A slot by its index in the whole array.
    #[must_use]
    pub fn slot(&self, index: u32) -> Option<Slot> {
        let line = self.slots.get((index / SLOTS_PER_LINE) as usize)?;
        Some(line.0[(index % SLOTS_PER_LINE) as usize])
    }

    /// A set of remembered flows.
    #[must_use]
    pub fn flows(&self, set: u32) -> Option<&FlowSet> {
        self.flows.get(set as usize)
    }

    /// A set of remembered fragments.
    #[must_use]
    pub fn fragments(&self, set: u32) -> Option<&FlowSet> {
        self.fragments.get(set as usize)
    }

    /// Flows that there is room for.
    #[must_use]
    pub fn max_flows(&self) -> u64 {
        (self.flows.len() * WAYS) as u64
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

/// The mask of a number of sets, a power of two.
fn mask(sets: usize) -> u32 {
    u32::try_from(sets.saturating_sub(1)).unwrap_or(u32::MAX)
}
