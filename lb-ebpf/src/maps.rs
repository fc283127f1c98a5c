//! The maps, as `lb_common::abi` lays them out. Their names are in `abi::map`.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use core::mem::MaybeUninit;

use aya_ebpf::macros::btf_map;
use lb_common::abi::capture::{CAPTURE_BYTES, Captured};
use lb_common::abi::connection::{Connection, LimitKey, ListKey, MAX_PREFIXES, ServerKey, Tuple};
use lb_common::abi::counters::{Counter, MAX_COUNTERS};
use lb_common::abi::flow::FlowSet;
use lb_common::abi::node::Node;
use lb_common::abi::slot::SlotLine;
use lb_common::decide::Work;

use crate::capture::Taken;
use crate::route::{ROUTES_KEPT, Route};

/// Userspace changes these by plain stores into the mapped memory: one word is one change, without a system call.
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// Everything of fixed size, one entry.
#[btf_map]
pub static NODE: Array<Node, 1, MMAPABLE> = Array::new();

/// All Maglev tables behind each other; userspace sets the number of entries at load.
#[btf_map]
pub static SLOTS: Array<SlotLine, 64, MMAPABLE> = Array::new();

/// Remembered flows; userspace sets the number of entries at load, a power of two.
#[btf_map]
pub static FLOWS: Array<FlowSet, 64, MMAPABLE> = Array::new();

/// Remembered fragmented packets; userspace sets the number of entries at load, a power of two.
#[btf_map]
pub static FRAGMENTS: Array<FlowSet, 64, MMAPABLE> = Array::new();

/// What happened to how many packets.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, { MAX_COUNTERS as usize }> = PerCpuArray::new();

/// Connections of mode `fullnat`, both sides of each; userspace sets the number of entries at load.
#[btf_map]
pub static CONNECTIONS: HashMap<Tuple, Connection, 64> = HashMap::new();

/// Prefixes of sources.
#[btf_map]
pub static LISTS: LpmTrie<ListKey, u32, { MAX_PREFIXES as usize }> = LpmTrie::new();

/// When sources have earned back what they used, those seen lately.
#[btf_map]
pub static LIMITS: LruHashMap<LimitKey, u64, 65_536> = LruHashMap::new();

/// Backends by QUIC server ID.
#[btf_map]
pub static SERVERS: HashMap<ServerKey, u32, 32_768, 1> = HashMap::new();

/// The programs that others go on in, at the places of `abi::program`.
#[btf_map]
pub static PROGRAMS: ProgramArray<8> = ProgramArray::new();

/// What is known of the packet that a CPU works on, one entry.
#[btf_map]
pub static WORK: PerCpuArray<Place, 1> = PerCpuArray::new();

/// In a dry run the counter that would have been moved last, plus one.
#[btf_map]
pub static FATE: PerCpuArray<u32, 1> = PerCpuArray::new();

/// A number on its way from one place of a program to another.
#[btf_map]
pub static NUMBER: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Where a CPU has lately sent replies.
#[btf_map]
pub static ROUTES: PerCpuArray<Route, ROUTES_KEPT> = PerCpuArray::new();

/// Room for a packet's work.
#[repr(transparent)]
pub struct Place(pub MaybeUninit<Work>);

/// What is kept of a packet for a capture, one entry.
#[btf_map]
pub static TAKEN: PerCpuArray<Taken, 1> = PerCpuArray::new();

/// Captured packets.
#[btf_map]
pub static CAPTURES: RingBuf<Captured, { CAPTURE_BYTES as usize }> = RingBuf::new();
