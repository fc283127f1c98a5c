//! Which backend a flow has: its slot's, or the one that is remembered for it.
//!
//! ```text
//!                      | slot settled   | slot tracked
//! ---------------------+----------------+------------------------------------------------------
//! remembered           |                | its backend, unless that is dead
//! begins (SYN)         | current        | current; remembered if owner is another one
//! neither              |                | owner, for it is older than the change; remembered
//! ```
//!
//! A settled slot costs nothing. A service that remembers every flow looks there too, and what it does not know begins.

use super::{Memory, Packet, Tables, Task, View};
use crate::abi::backend::BackendId;
use crate::abi::features::Features;
use crate::abi::flow::{FlowEntry, set_of};
use crate::abi::service::{ServiceEntry, service_flags};
use crate::abi::slot::Slot;
use crate::hash::slot_of;
use crate::parse::protocol;

/// Where a flow's packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) id: BackendId,
    pub(super) memory: Memory,
    /// Whether the flow begins with the packet.
    pub(super) begins: bool,
}

/// The backend of a packet's flow; `None` when there is nobody.
#[inline(always)]
pub(super) fn aim<T: Tables>(view: &View<'_, T>, service: &ServiceEntry, packet: &Packet) -> Option<Aim> {
    let index = service.slots_base.wrapping_add(slot_of(packet.flow_hash, service.slots_len));
    let slot = view.tables.slot(index)?;
    if !view.can(Features::TRACKING) || !(slot.is_tracked() || service.has(service_flags::FULL)) {
        return Some(Aim { id: slot.current()?, memory: Memory::NOTHING, begins: packet.begins });
    }
    remembered(view, service, slot, packet)
}

/// The same where flows are remembered.
#[inline(always)]
fn remembered<T: Tables>(
    view: &View<'_, T>,
    service: &ServiceEntry,
    slot: Slot,
    packet: &Packet,
) -> Option<Aim> {
    let control = &view.node.control;
    let now = (control.tick_seconds & 0xffff) as u16;
    let set = set_of(packet.flow_hash, control.flow_set_mask);
    let old = view.tables.flows(set).map_or(FlowEntry::VACANT, |entries| entries.find(packet.flow_hash));
    if let Some(id) = old.backend()
        && view.is_alive(id)
    {
        let new = old.seen(!packet.begins, now);
        let task = if new == old { Task::Nothing } else { Task::Seen };
        let memory = Memory { task, set, old, new, ..Memory::NOTHING };
        return Some(Aim { id, memory, begins: false });
    }
    let full = service.has(service_flags::FULL);
    // UDP has no SYN: where every flow is remembered, one that is not begins.
    let begins = packet.begins || full && packet.protocol == protocol::UDP;
    let current = slot.current();
    let known = owner(view, service, slot, packet.flow_hash);
    let owner = known.filter(|id| view.is_alive(*id));
    // Where everybody is drained, nothing begins.
    let id = if begins { current } else { owner.or(current) }?;
    // Also where the owner is dead or there was none: it does not go with the next change of `current`.
    let moves = slot.is_tracked() && known != current;
    let task = if full || moves { Task::Remember } else { Task::Nothing };
    let new = FlowEntry::new(packet.flow_hash, id, false, now);
    let memory = Memory { task, set, new, evict: begins, otherwise: owner, ..Memory::NOTHING };
    Some(Aim { id, memory, begins })
}

/// The backend of the flows of a slot that are not remembered.
#[inline(always)]
fn owner<T: Tables>(view: &View<'_, T>, service: &ServiceEntry, slot: Slot, hash: u64) -> Option<BackendId> {
    if !slot.is_tracked() {
        return None;
    }
    if service.old_len == 0 || slot.owner().is_some() {
        return slot.owner();
    }
    let old = view.tables.slot(service.old_base.wrapping_add(slot_of(hash, service.old_len)))?;
    if old.is_tracked() { old.owner() } else { old.current() }
}
