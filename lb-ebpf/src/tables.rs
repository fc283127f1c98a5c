//! `lb_common`'s view of the tables, over the maps.

#![expect(unsafe_code, reason = "reads a load-time constant, exchanges words of maps, calls helpers")]

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::backend::BackendId;
use lb_common::abi::connection::{Connection, LimitKey, ListKey, ServerKey, Tuple};
use lb_common::abi::counters;
use lb_common::abi::features::Features;
use lb_common::abi::flow::{FlowEntry, FlowSet};
use lb_common::abi::node::Node;
use lb_common::abi::slot::{SLOTS_PER_LINE, Slot};
use lb_common::commit::{Entered, State};
use lb_common::decide::Tables;
use lb_common::reason::Event;

use crate::count::count_event;
use crate::maps::{CONNECTIONS, FLOWS, FRAGMENTS, LIMITS, LISTS, NODE, NUMBER, SERVERS, SLOTS};

/// Set at load: bits of `lb_common::abi::features`. The verifier removes the code of those that are off.
#[unsafe(no_mangle)]
static FEATURES: u32 = 0;

/// What this program can do.
#[inline(always)]
pub fn features() -> Features {
    // SAFETY: a static of this object; volatile, so that the value of the loaded object is read and not today's initializer.
    Features(unsafe { core::ptr::read_volatile(&raw const FEATURES) })
}

/// The live tables, for one frame.
pub struct KernelTables<'a>(pub &'a XdpContext);

impl Tables for KernelTables<'_> {
    #[inline(always)]
    fn features(&self) -> Features {
        features()
    }

    #[inline(always)]
    fn node(&self) -> Option<&Node> {
        NODE.get(0)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        let line = SLOTS.get(index / SLOTS_PER_LINE)?;
        Some(line.0[(index % SLOTS_PER_LINE) as usize])
    }

    #[inline(always)]
    fn flows(&self, set: u32) -> Option<&FlowSet> {
        FLOWS.get(set)
    }

    #[inline(always)]
    fn fragments(&self, set: u32) -> Option<&FlowSet> {
        FRAGMENTS.get(set)
    }

    #[inline(always)]
    fn listed(&self, key: &ListKey) -> Option<u32> {
        LISTS.get(&Key::new(ListKey::BITS, *key)).copied()
    }

    #[inline(always)]
    fn server(&self, key: &ServerKey) -> Option<BackendId> {
        // SAFETY: a value of one word; userspace replaces it as a whole.
        let id = unsafe { SERVERS.get(key) }?;
        BackendId::new((*id & 0x7fff) as u16)
    }

    #[inline(always)]
    fn connection(&self, key: &Tuple) -> Option<Connection> {
        // SAFETY: what changes in place is read as single words.
        unsafe { CONNECTIONS.get(key) }.copied()
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "BPF has 64-bit addresses")]
    fn opaque(&self, number: usize) -> usize {
        let Some(place) = NUMBER.get_ptr_mut(0) else { return number };
        // SAFETY: the element is this CPU's own; volatile, so that it is really written and read.
        unsafe {
            place.write_volatile(number as u64);
            place.read_volatile() as usize
        }
    }

    #[inline(always)]
    fn now_us(&self) -> u64 {
        // SAFETY: a plain helper call.
        unsafe { bpf_ktime_get_coarse_ns() / 1000 }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the index of an interface")]
    fn ingress(&self) -> u32 {
        self.0.ingress_ifindex() as u32
    }
}

/// Whether nothing may be written.
#[inline(always)]
fn is_dry() -> bool {
    features().has(Features::DRY_RUN)
}

/// In a dry run every write succeeds as far as a look can tell, and does nothing.
impl State for KernelTables<'_> {
    #[inline(always)]
    fn swap_flow(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
        is_dry() || FLOWS.get_ptr_mut(set).is_some_and(|entries| swap(entries, way, old, new))
    }

    #[inline(always)]
    fn swap_fragment(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
        is_dry() || FRAGMENTS.get_ptr_mut(set).is_some_and(|entries| swap(entries, way, old, new))
    }

    #[inline(always)]
    fn earned_us(&self, key: &LimitKey) -> Option<u64> {
        // SAFETY: a value of one word.
        unsafe { LIMITS.get(key) }.copied()
    }

    #[inline(always)]
    fn set_earned_us(&self, key: &LimitKey, at_us: u64) {
        if !is_dry() {
            // Without memory the source is not limited.
            let _ = LIMITS.insert(key, at_us, 0);
        }
    }

    #[inline(always)]
    fn enter(&self, key: &Tuple, connection: &Connection) -> Entered {
        // From asm-generic/errno-base.h.
        const EEXIST: i32 = -17;
        if is_dry() {
            return if CONNECTIONS.get_ptr(key).is_some() { Entered::Taken } else { Entered::Yes };
        }
        match CONNECTIONS.insert(key, connection, u64::from(BPF_NOEXIST)) {
            Ok(()) => Entered::Yes,
            Err(EEXIST) => Entered::Taken,
            Err(_) => Entered::Full,
        }
    }

    #[inline(always)]
    fn renew(&self, key: &Tuple, last_seen: u32, seen: u8) {
        if !is_dry()
            && let Some(connection) = CONNECTIONS.get_ptr_mut(key)
        {
            // SAFETY: the element lives as long as this program runs (RCU); both fields are single words.
            let connection = unsafe { &mut *connection };
            if connection.last_seen != last_seen {
                connection.last_seen = last_seen;
            }
            if connection.seen & seen != seen {
                connection.seen |= seen;
            }
        }
    }

    #[inline(always)]
    fn leave(&self, key: &Tuple) {
        if !is_dry() {
            // It was entered just now by this very packet.
            let _ = CONNECTIONS.remove(key);
        }
    }

    #[inline(always)]
    fn count_event(&self, event: Event) {
        count_event(counters::of_event(event));
    }
}

#[inline(always)]
fn swap(entries: *mut FlowSet, way: u32, old: FlowEntry, new: FlowEntry) -> bool {
    // SAFETY: the mask keeps the word inside the set, which is an element of a map; others change it by the same instruction.
    let word = unsafe { entries.cast::<u64>().add((way & 7) as usize) };
    // SAFETY: as above. The target's `core` has no compare-exchange of its own.
    let (_, swapped) = unsafe {
        core::intrinsics::atomic_cxchg::<
            u64,
            { core::intrinsics::AtomicOrdering::SeqCst },
            { core::intrinsics::AtomicOrdering::SeqCst },
        >(word, old.0, new.0)
    };
    swapped
}
