//! The maps, as `lb_common::abi` lays them out. Their names are in `abi::map`.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::counters::{Counter, MAX_COUNTERS};
use lb_common::abi::node::Node;
use lb_common::abi::slot::SlotLine;

/// Userspace changes these by plain stores into the mapped memory: one word is one change, without a system call.
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// Everything of fixed size, one entry.
#[btf_map]
pub static NODE: Array<Node, 1, MMAPABLE> = Array::new();

/// All Maglev tables behind each other; userspace sets the number of entries at load.
#[btf_map]
pub static SLOTS: Array<SlotLine, 64, MMAPABLE> = Array::new();

/// What happened to how many packets.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, { MAX_COUNTERS as usize }> = PerCpuArray::new();
